//! The members of a segment at an instant of the past: the nearest snapshot before it that is kept, with the changes after it.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;

use super::read::{self, Rows, run_table};
use super::record::{Index, KeptSnapshot, RunFiles};
use super::table::Table;
use super::{ObjectLedger, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::replay::Folded;
use crate::store::{LedgerError, Past, Provenance, ReadFilter, RunKind};

/// How often a reader starts over when files that it was told of are gone, because others have taken their place.
const ATTEMPTS: usize = 5;

pub(super) async fn members_at(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
) -> Result<Past, LedgerError> {
    if let Some(current) = read::current(ledger, tenant, segment).await?
        && let Some(written) = current.instant_of_all("as_of").await?
        && written <= at.as_microsecond()
    {
        return Ok(Past::Members { rows: current.all_rows().await?, provenance: Provenance::Current });
    }
    let mut missing = layout::indexes();
    for _ in 0..ATTEMPTS {
        let index = read::index(ledger, tenant).await?;
        match replayed(ledger, segment, at, &index).await? {
            Found::Gone(path) => missing = path,
            Found::Start { kept, table, folded } => {
                let changes = folded.changes;
                // Of nobody it cannot be told whether the segment was empty, or not there yet.
                if kept.is_none() && changes == 0 && !was_there(ledger, tenant, segment, at, &index).await? {
                    return backfilled_at(ledger, segment, at, &index).await;
                }
                let provenance = kept.map_or(Provenance::Replayed { changes }, |kept| Provenance::Kept { at: kept.at, changes });
                let before = match table {
                    Some(table) => Some(table.all_rows().await?),
                    None => None,
                };
                return Ok(Past::Members { rows: folded.over(before, tenant, segment), provenance });
            }
            Found::Nothing => return backfilled_at(ledger, segment, at, &index).await,
        }
    }
    Err(LedgerError::Corrupt { path: missing.to_string(), problem: "it is missing".to_owned() })
}

/// What a backfill found at just that instant, the last one of several.
async fn backfilled_at(ledger: &ObjectLedger, segment: &SegmentId, at: Timestamp, index: &Index) -> Result<Past, LedgerError> {
    let of_then = |kept: &&KeptSnapshot| kept.segment == *segment && !kept.is_recorded() && kept.at == at;
    let Some(kept) = index.kept.iter().filter(of_then).max_by_key(|kept| kept.number) else { return Ok(Past::Unknown) };
    // One that is gone meanwhile is kept no longer: it can be evaluated again.
    let Some(table) = run_table(ledger.place(), &Path::from(kept.public.as_str()), &kept.file).await? else {
        return Ok(Past::Unknown);
    };
    Ok(Past::Members { rows: table.all_rows().await?, provenance: Provenance::Backfilled })
}

/// The instants of which a backfill by a definition left a snapshot.
pub(super) async fn backfilled(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    segment: &SegmentId,
    definition_hash: &str,
) -> Result<BTreeSet<Timestamp>, LedgerError> {
    let index = read::index(ledger, tenant).await?;
    let by_it = |kept: &&KeptSnapshot| kept.segment == *segment && kept.backfilled_by.as_deref() == Some(definition_hash);
    Ok(index.kept.iter().filter(by_it).map(|kept| kept.at).collect())
}

/// The snapshot that a backfill by a definition left of an instant, by the index of its tenant.
pub(super) async fn backfilled_table(
    ledger: &ObjectLedger,
    index: &Index,
    (segment, definition_hash): (&SegmentId, &str),
    at: Timestamp,
) -> Result<Option<Table>, LedgerError> {
    let of_then =
        |kept: &&KeptSnapshot| kept.segment == *segment && kept.at == at && kept.backfilled_by.as_deref() == Some(definition_hash);
    let Some(kept) = index.kept.iter().rfind(of_then) else { return Ok(None) };
    run_table(ledger.place(), &Path::from(kept.public.as_str()), &kept.file).await
}

/// What the records say of an instant.
enum Found<'a> {
    /// They do not reach back that far.
    Nothing,
    /// A file is gone, because others have taken its place.
    Gone(Path),
    /// What to begin with, and what changed after it.
    Start { kept: Option<&'a KeptSnapshot>, table: Option<Table>, folded: Folded },
}

async fn replayed<'a>(
    ledger: &ObjectLedger,
    segment: &SegmentId,
    at: Timestamp,
    index: &'a Index,
) -> Result<Found<'a>, LedgerError> {
    let place = ledger.place();
    let kept = || index.kept.iter().filter(|kept| kept.segment == *segment && kept.is_recorded());
    let baseline = kept().filter(|kept| kept.is_baseline).map(|kept| kept.number).max();
    // Who evaluates the past changes no members.
    let last = index.runs.iter().filter(|run| run.kind != RunKind::Backfill).rfind(|run| run.from() <= at);
    let reached =
        last.filter(|last| baseline.is_none_or(|baseline| last.number > baseline || (last.number == baseline && last.as_of <= at)));
    let start = match reached {
        Some(_) => {
            // Its run is at or before the instant, so it is the last one or one before it; nobody entered or left between the run and
            // the number. So what the number is beyond the last run needs no changes.
            let of_then = |kept: &&KeptSnapshot| kept.at <= at && Some(kept.number) >= baseline;
            kept().filter(of_then).max_by_key(|kept| kept.number)
        }
        // Its changes are kept no longer: only a snapshot that stood at that instant tells of it.
        None => kept().find(|kept| {
            kept.at <= at
                && (kept.until.is_some_and(|until| at < until)
                    || (kept.is_baseline && last.is_none_or(|last| last.number <= kept.number)))
        }),
    };
    if start.is_none() && (reached.is_none() || baseline.is_some()) {
        return Ok(Found::Nothing);
    }
    let table = match start {
        Some(kept) => match run_table(place, &Path::from(kept.public.as_str()), &kept.file).await? {
            Some(table) => Some(table),
            None => return Ok(Found::Gone(Path::from(kept.public.as_str()))),
        },
        None => None,
    };
    let mut folded = Folded::default();
    let Some(last) = reached else { return Ok(Found::Start { kept: start, table, folded }) };
    let filter = ReadFilter::of(segment);
    let after = start.map_or(0, |kept| kept.number);
    for run in index.runs.iter().filter(|run| run.number > after && run.number <= last.number) {
        let Some(file) = run.changes.as_ref().filter(|_| Rows::Changes.may_tell_of(run, std::slice::from_ref(segment))) else {
            continue;
        };
        let public = Rows::Changes.public(run);
        let Some(table) = run_table(place, &public, file).await? else { return Ok(Found::Gone(public)) };
        let filter = part_of(run, last, start, at, &filter);
        let mut rows = table.all_rows().await?;
        while let Some(batch) = rows.try_next().await? {
            folded.add(&read::select(&public, Rows::Changes, &filter, run.merged.is_some(), &batch)?)?;
        }
    }
    Ok(Found::Start { kept: start, table, folded })
}

/// Which rows of a run count: none that the snapshot contains, none after the instant. Within a file instants do not go back.
fn part_of(run: &RunFiles, last: &RunFiles, start: Option<&KeptSnapshot>, at: Timestamp, filter: &ReadFilter) -> ReadFilter {
    let after = |at: Timestamp| at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX);
    let from = start.filter(|kept| run.first() <= kept.number).map(|kept| after(kept.at));
    let to = (run.number == last.number).then(|| after(at));
    ReadFilter { from, to, ..filter.clone() }
}

/// Whether a segment was evaluated at an instant, or before.
async fn was_there(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
    index: &Index,
) -> Result<bool, LedgerError> {
    if index.counts.contains_key(segment) {
        return Ok(true);
    }
    let to = at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX);
    // Evaluations of the past change no members.
    let kinds = RunKind::ALL.into_iter().filter(|kind| *kind != RunKind::Backfill).collect();
    let filter = ReadFilter { to: Some(to), kinds, ..ReadFilter::of(segment) };
    let mut rows = read::rows(ledger, tenant, Rows::History, &filter).await?;
    while let Some(batch) = rows.try_next().await? {
        if batch.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
