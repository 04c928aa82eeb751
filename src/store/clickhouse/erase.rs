//! The erasure of a subject: what is visible without it is committed first, then the files of other tools are written anew, and the rows
//! go last, so that who tries again after a failure still finds what is left to do.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::compute::filter_record_batch;
use futures::{StreamExt as _, future};
use uuid::Uuid;

use super::ddl::CHANGES;
use super::log::KeptSnapshot;
use super::read::{self, is_committed, snapshots};
use super::server::Server;
use super::{ClickHouseLedger, log, overrides};
use crate::backend::clickhouse::{MEMBERS, OVERRIDES};
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicFiles, PublicTable};
use crate::store::{Erased, ErasedFrom, Lease, Ledger as _, LedgerError, ReadFilter, RowStream, Run, Transaction as _};

/// The tables whose rows are of subjects. What evaluations found is gone when they end, after a day at the latest.
const TABLES: [&str; 3] = [MEMBERS, CHANGES, OVERRIDES];

/// What the rest of a segment is without the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rest {
    erased: ErasedFrom,
    /// Rows of the current snapshot; `None` when the subject is not in it.
    members: Option<u64>,
    /// Of how many others people decide; `None` when they never decided of the subject.
    overrides: Option<u64>,
}

pub(super) async fn erase(ledger: &ClickHouseLedger, lease: &Lease, run: &Run, subject: &str) -> Result<Erased, LedgerError> {
    let (server, tenant) = (&ledger.server, &run.tenant);
    let mut transaction = ledger.begin(lease, run.clone()).await?;
    let mut rests = rests(server, tenant, subject).await?;
    let kept = kept(server, tenant, subject).await?;
    for kept in &kept {
        rests.entry(kept.segment.clone()).or_default().erased.snapshots += 1;
    }
    let of_subject = |text: String| Statement::new(text).text("tenant", tenant.as_str()).text("subject", subject);
    if !rests.is_empty() {
        let commits = format!(
            "SELECT DISTINCT changes.commit_number FROM {CHANGES} AS changes
WHERE changes.tenant = {{tenant:String}} AND changes.subject_id = {{subject:String}} AND {}",
            is_committed("changes")
        );
        let commits = server.rows::<(u64,)>("look for the subject", of_subject(commits)).await?;
        for (segment, rest) in &rests {
            transaction.forget(segment, rest.members, rest.overrides);
        }
        transaction.commit().await?;
        if let Some(files) = &ledger.files {
            let numbers = commits.into_iter().map(|(number,)| number).collect();
            publish_without(server, files, tenant, subject, &rests, &kept, &numbers).await?;
        }
    }
    // Rows that nobody sees may be of the subject as well.
    for table in TABLES {
        let text = format!(
            "ALTER TABLE {table} DELETE WHERE tenant = {{tenant:String}} AND subject_id = {{subject:String}} SETTINGS mutations_sync = 2"
        );
        server.execute("delete the rows of the subject", of_subject(text)).await?;
    }
    Ok(Erased { segments: rests.into_iter().map(|(segment, rest)| (segment, rest.erased)).collect(), files: 0 })
}

/// What segments know of a subject, by segment.
async fn rests(server: &Server, tenant: &TenantId, subject: &str) -> Result<BTreeMap<SegmentId, Rest>, LedgerError> {
    let mut rests = BTreeMap::<SegmentId, Rest>::new();
    let asked = |text: String| Statement::new(text).text("tenant", tenant.as_str()).text("subject", subject);
    let operation = "look for the subject";
    let members = format!(
        "SELECT members.segment_id, countIf(members.subject_id != {{subject:String}}) FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({}))
GROUP BY members.segment_id HAVING countIf(members.subject_id = {{subject:String}}) > 0",
        snapshots()
    );
    for (segment, others) in server.rows::<(String, u64)>(operation, asked(members)).await? {
        let rest = rests.entry(log::named(&segment)?).or_default();
        rest.members = Some(others);
        rest.erased.was_member = true;
    }
    let changes = format!(
        "SELECT changes.segment_id, count() FROM {CHANGES} AS changes
WHERE changes.tenant = {{tenant:String}} AND changes.subject_id = {{subject:String}} AND {} GROUP BY changes.segment_id",
        is_committed("changes")
    );
    for (segment, count) in server.rows::<(String, u64)>(operation, asked(changes)).await? {
        rests.entry(log::named(&segment)?).or_default().erased.changes = count;
    }
    let decisions = format!(
        "SELECT segment_id, sumIf(decided, subject_id = {{subject:String}}), countIf(subject_id != {{subject:String}} AND last != 'clear')
FROM (
    SELECT overrides.segment_id AS segment_id, overrides.subject_id AS subject_id, countIf(overrides.action != 'clear') AS decided,
        argMax(overrides.action, overrides.commit_number) AS last
    FROM {OVERRIDES} AS overrides WHERE overrides.tenant = {{tenant:String}} AND {}
    GROUP BY overrides.segment_id, overrides.subject_id
)
GROUP BY segment_id HAVING countIf(subject_id = {{subject:String}}) > 0",
        is_committed("overrides")
    );
    for (segment, count, others) in server.rows::<(String, u64, u64)>(operation, asked(decisions)).await? {
        let rest = rests.entry(log::named(&segment)?).or_default();
        rest.erased.overrides = count;
        rest.overrides = Some(others);
    }
    Ok(rests)
}

/// The snapshots of the past that a subject is in.
async fn kept(server: &Server, tenant: &TenantId, subject: &str) -> Result<Vec<KeptSnapshot>, LedgerError> {
    let mut kept = log::read_records(server, tenant).await?.kept;
    let text = format!(
        "SELECT members.segment_id, toString(members.run_id) FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.subject_id = {{subject:String}}
    AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({}) WHERE kind = 'kept' AND state != '')",
        log::records()
    );
    let asked = Statement::new(text).text("tenant", tenant.as_str()).text("subject", subject);
    let found: BTreeSet<(String, Uuid)> = server.rows("look for the subject", asked).await?.into_iter().collect();
    kept.retain(|kept| found.contains(&(kept.segment.to_string(), kept.snapshot)));
    Ok(kept)
}

/// Writes the files anew that hold the subject, without it. The history was published with the commit.
async fn publish_without(
    server: &Server,
    files: &PublicFiles,
    tenant: &TenantId,
    subject: &str,
    rests: &BTreeMap<SegmentId, Rest>,
    kept: &[KeptSnapshot],
    commits: &BTreeSet<u64>,
) -> Result<(), LedgerError> {
    for (segment, rest) in rests {
        if rest.erased.was_member {
            let rows = read::members(server, tenant, segment).await?;
            files.put_members(tenant, segment, without(rows, subject)).await?;
        }
        if rest.erased.overrides > 0 {
            let rows = overrides::read(server, tenant, &ReadFilter::of(segment)).await?;
            files.put_overrides(tenant, segment, without(rows, subject)).await?;
        }
    }
    for kept in kept {
        files.put_kept(tenant, kept.public(), without(read::kept(server, tenant, kept).await?, subject)).await?;
    }
    if commits.is_empty() {
        return Ok(());
    }
    // Where they are is told by what is there: history rows, which know their days, may be kept no longer.
    let there = files.of_commits(tenant, PublicTable::Changes).await?;
    for (number, file) in there.iter().filter(|(number, _)| commits.contains(*number)) {
        let rows = read::rows_of(server, tenant, PublicTable::Changes, *number).await?;
        files.put_again(PublicTable::Changes, file, without(rows, subject)).await?;
    }
    Ok(())
}

/// The rows of everyone else.
fn without(rows: RowStream, subject: &str) -> RowStream {
    let subject = subject.to_owned();
    let others = rows.map(move |batch| {
        let batch = batch?;
        let unread = |problem: String| LedgerError::Corrupt { path: MEMBERS.to_owned(), problem };
        let ids = read::texts_of(&batch, "subject_id")?;
        let others: BooleanArray = ids.iter().map(|id| Some(id != Some(subject.as_str()))).collect();
        filter_record_batch(&batch, &others).map_err(|error| unread(error.to_string()))
    });
    others.filter(|batch| future::ready(batch.as_ref().map_or(true, |batch| batch.num_rows() > 0))).boxed()
}
