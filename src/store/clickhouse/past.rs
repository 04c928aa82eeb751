//! The members of a segment at an instant of the past: the nearest snapshot before it that is kept, with the changes after it.

use futures::TryStreamExt as _;
use jiff::Timestamp;

use super::ddl::HISTORY;
use super::log::{self, KeptSnapshot, Records};
use super::read::{self, is_committed};
use super::server::Server;
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::replay::Folded;
use crate::store::{LedgerError, Past, Provenance, RunKind};

/// How often a reader starts over when rows that it reads were let go of meanwhile.
const ATTEMPTS: usize = 5;

pub(super) async fn members_at(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
) -> Result<Past, LedgerError> {
    let base = log::read(server, tenant).await?;
    if let Some(snapshot) = base.segments.get(segment).and_then(|entry| entry.snapshot) {
        let written = read::instants_of(server, tenant, &[(segment, snapshot)]).await?;
        if written.get(segment).is_some_and(|written| *written <= at) {
            return Ok(Past::Members { rows: read::members(server, tenant, segment).await?, provenance: Provenance::Current });
        }
    }
    let mut records = log::read_records(server, tenant).await?;
    for _ in 0..ATTEMPTS {
        let past = told(server, tenant, segment, at, &records).await?;
        // Rows are deleted after the commit that says that they are kept no longer.
        let after = log::read_records(server, tenant).await?;
        if after.cut(segment) == records.cut(segment) {
            return Ok(past);
        }
        records = after;
    }
    let problem = "rows were let go of again and again while they were read".to_owned();
    Err(LedgerError::Corrupt { path: format!("the changes of segment `{segment}`"), problem })
}

async fn told(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
    records: &Records,
) -> Result<Past, LedgerError> {
    let last = last_run(server, tenant, at).await?;
    let kept = || records.recorded(segment);
    let baseline = records.baseline(segment).map(|kept| kept.record.number);
    let reached = last.filter(|last| baseline.is_none_or(|baseline| *last >= baseline));
    let start = match reached {
        // Its run is at or before the instant, so it is the last one or one before it; nobody entered or left between the run and the
        // number.
        Some(_) => kept().rfind(|kept| kept.record.at <= at && Some(kept.record.number) >= baseline),
        // Its changes are kept no longer: only a snapshot that stood at that instant tells of it.
        None => kept().find(|kept| stood_at(kept, at, last)),
    };
    if start.is_none() && (reached.is_none() || baseline.is_some()) {
        return backfilled_at(server, tenant, segment, at, records).await;
    }
    let mut folded = Folded::default();
    if let Some(last) = reached {
        let after = start.map_or(0, |kept| kept.record.number);
        let mut rows = read::changes_between(server, tenant, segment, after, last).await?;
        while let Some(batch) = rows.try_next().await? {
            folded.add(&batch)?;
        }
    }
    let changes = folded.changes;
    // Of nobody it cannot be told whether the segment was empty, or not there yet.
    if start.is_none() && changes == 0 && !was_there(server, tenant, segment, at, records).await? {
        return backfilled_at(server, tenant, segment, at, records).await;
    }
    let provenance = start.map_or(Provenance::Replayed { changes }, |kept| Provenance::Kept { at: kept.record.at, changes });
    let before = match start {
        Some(kept) => Some(read::kept(server, tenant, kept).await?),
        None => None,
    };
    Ok(Past::Members { rows: folded.over(before, tenant, segment), provenance })
}

/// What a backfill found at just that instant, the last one of several.
async fn backfilled_at(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
    records: &Records,
) -> Result<Past, LedgerError> {
    let Some(kept) = records.backfilled(segment).rfind(|kept| kept.record.at == at) else { return Ok(Past::Unknown) };
    Ok(Past::Members { rows: read::kept(server, tenant, kept).await?, provenance: Provenance::Backfilled })
}

fn stood_at(kept: &KeptSnapshot, at: Timestamp, last: Option<u64>) -> bool {
    let record = &kept.record;
    record.at <= at
        && (record.until.is_some_and(|until| at < until) || (record.is_baseline && last.is_none_or(|last| last <= record.number)))
}

/// The last run at or before an instant. Who evaluates the past changes no members.
async fn last_run(server: &Server, tenant: &TenantId, at: Timestamp) -> Result<Option<u64>, LedgerError> {
    let text = format!("SELECT max(commit_number) FROM ({}) WHERE is_present AND as_of <= {{at:Int64}}", log::runs());
    let asked = Statement::new(text).text("tenant", tenant.as_str()).number("at", "Int64", at.as_microsecond());
    Ok(Some(server.row::<(u64,)>("read the log", asked).await?.0).filter(|number| *number > 0))
}

/// Whether a segment was evaluated at an instant, or before.
async fn was_there(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
    records: &Records,
) -> Result<bool, LedgerError> {
    if records.cut(segment).count.is_some() {
        return Ok(true);
    }
    let text = format!(
        "SELECT count() FROM {HISTORY} AS history
WHERE history.tenant = {{tenant:String}} AND history.segment_id = {{segment:String}} AND history.kind != '{}'
    AND history.as_of <= fromUnixTimestamp64Micro({{at:Int64}}, 'UTC') AND {}",
        RunKind::Backfill.keyword(),
        is_committed("history")
    );
    let asked = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str()).number(
        "at",
        "Int64",
        at.as_microsecond(),
    );
    Ok(server.row::<(u64,)>("read the history", asked).await?.0 > 0)
}
