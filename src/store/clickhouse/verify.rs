//! Checks that the laws of the ledger hold. Changes and members are compared on the server; what comes back is a row for each segment.

use std::collections::{BTreeMap, BTreeSet};

use super::ddl::{CHANGES, HISTORY};
use super::log::{self, Base, records};
use super::read::{baselines, is_committed, snapshots};
use super::server::Server;
use crate::backend::clickhouse::MEMBERS;
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicFiles, PublicTable};
use crate::store::{Fault, LedgerError, Remedy, RunKind};

/// How often the whole is looked at again when something was committed meanwhile.
const ATTEMPTS: usize = 5;

/// What puts a fault right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// A recorded count becomes that of the rows.
    Count(SegmentId, u64),
    /// Members come from the changes.
    Rebuild(SegmentId),
}

impl Fix {
    pub(super) fn segment(&self) -> &SegmentId {
        match self {
            Self::Count(segment, _) | Self::Rebuild(segment) => segment,
        }
    }

    /// What it does, in words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Count(..) => "set to the count of the rows",
            Self::Rebuild(_) => "rebuilt from the changes; scores are those of the entries",
        }
    }
}

/// What is wrong with the tables, and with the files of other tools.
pub(super) async fn verify(server: &Server, files: Option<&PublicFiles>, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
    let mut base = log::read(server, tenant).await?;
    let mut faults = of_all(server, files, tenant, &base).await?;
    for _ in 1..ATTEMPTS {
        // One statement sees what was committed between it and the one before.
        let after = log::read(server, tenant).await?;
        if faults.is_empty() || after.commit_number == base.commit_number {
            break;
        }
        base = after;
        faults = of_all(server, files, tenant, &base).await?;
    }
    Ok(faults)
}

async fn of_all(server: &Server, files: Option<&PublicFiles>, tenant: &TenantId, base: &Base) -> Result<Vec<Fault>, LedgerError> {
    let possible = |(fault, fix): (Fault, Option<Fix>)| fault.with(fix.map_or(Remedy::None, |fix| Remedy::Possible(fix.words())));
    let mut faults: Vec<Fault> = laws(server, tenant, base).await?.into_iter().map(possible).collect();
    if let Some(files) = files {
        let found = super::files::faults(server, files, tenant).await?;
        faults.extend(found.into_iter().map(|(fault, fix)| fault.with(Remedy::Possible(fix.words()))));
    }
    Ok(faults)
}

/// What is wrong with the tables, each with what puts it right.
pub(super) async fn laws(server: &Server, tenant: &TenantId, base: &Base) -> Result<Vec<(Fault, Option<Fix>)>, LedgerError> {
    let mut faults: Vec<(Fault, Option<Fix>)> = breaks(server, tenant).await?.into_iter().map(|fault| (fault, None)).collect();
    let counted = last_counts(server, tenant).await?;
    let rows = row_counts(server, tenant).await?;
    let mut differing = differing(server, tenant).await?;
    for (segment, entry) in &base.segments {
        let id = segment.as_str();
        let (rows, recorded) = (rows.get(id).copied().unwrap_or(0), entry.record.state.member_count);
        let (counted, differing) = (counted.get(id).copied(), differing.remove(id));
        // Where what is recorded, counted and changed says the same, rows are lost.
        let is_lost = rows != recorded
            && entry.snapshot.is_some()
            && counted.is_none_or(|count| count == recorded)
            && replayed_count(server, tenant, segment).await? == recorded;
        let is_miscounted = !is_lost && differing.is_none() && counted.is_none_or(|count| count == rows);
        let fix = || match (is_lost, is_miscounted) {
            (true, _) => Some(Fix::Rebuild(segment.clone())),
            (false, true) => Some(Fix::Count(segment.clone(), rows)),
            (false, false) => None,
        };
        if rows != recorded {
            let problem = format!("the snapshot has {rows} rows, and the recorded count is {recorded}");
            faults.push((Fault::of_segment(segment, problem), fix()));
        }
        if let Some(count) = counted.filter(|count| *count != rows) {
            let problem = format!("the snapshot has {rows} rows, and the last history row says {count}");
            faults.push((Fault::of_segment(segment, problem), fix()));
        }
        if let Some(subject) = differing {
            let problem = format!("the changes of subject `{subject}` do not give its row of the snapshot");
            faults.push((Fault::of_segment(segment, problem), fix()));
        }
    }
    let gone: BTreeSet<String> = differing.into_keys().collect();
    let left = "it was deleted, and its changes leave members behind";
    faults.extend(gone.iter().map(|segment| (fault_of(segment, left.to_owned()), None)));
    Ok(faults)
}

/// A fault of a segment as the server names it.
fn fault_of(segment: &str, problem: String) -> Fault {
    match segment.parse() {
        Ok(segment) => Fault::of_segment(&segment, problem),
        Err(_) => Fault::of_file(HISTORY, format!("`{segment}` is no segment")),
    }
}

/// The condition of history rows that count members.
fn counting() -> String {
    let kinds = RunKind::COUNTING.map(|kind| format!("'{}'", kind.keyword())).join(", ");
    format!("history.tenant = {{tenant:String}} AND history.kind IN ({kinds}) AND {}", is_committed("history"))
}

/// How far rows of each segment are gone, and what they counted last: `segment_id, changes, history, count`.
fn cuts() -> String {
    format!(
        "SELECT segment_id, JSONExtractUInt(state, 'changes') AS changes, JSONExtractUInt(state, 'history') AS history,
    JSONExtractUInt(state, 'count') AS count FROM ({}) WHERE kind = 'cut'",
        records()
    )
}

/// Where a count does not follow from the one before it.
async fn breaks(server: &Server, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
    let text = format!(
        "SELECT segment_id, toString(run_id), member_count, before FROM (
    SELECT history.segment_id AS segment_id, history.run_id AS run_id, history.member_count AS member_count,
        history.added_count AS added_count, history.removed_count AS removed_count, history.commit_number AS commit_number,
        history.position AS position, lagInFrame(history.member_count, 1, ifNull(cuts.count, 0)) OVER (
            PARTITION BY history.segment_id ORDER BY history.commit_number, history.position
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS before
    FROM {HISTORY} AS history LEFT JOIN ({}) AS cuts ON history.segment_id = cuts.segment_id
    WHERE {} AND history.commit_number > ifNull(cuts.history, 0)
)
WHERE before + added_count != member_count + removed_count
ORDER BY commit_number, position",
        cuts(),
        counting()
    );
    let found = server.rows::<(String, String, u64, u64)>("check the history", bound(text, tenant)).await?;
    let words = |(segment, run, count, before): (String, String, u64, u64)| {
        fault_of(&segment, format!("the count {count} of run {run} does not follow from {before} before it"))
    };
    Ok(found.into_iter().map(words).collect())
}

/// The last count of each segment.
async fn last_counts(server: &Server, tenant: &TenantId) -> Result<BTreeMap<String, u64>, LedgerError> {
    let text = format!(
        "SELECT segment_id, argMax(member_count, (commit_number, position)) FROM (
    SELECT history.segment_id AS segment_id, history.member_count AS member_count, history.commit_number AS commit_number,
        history.position AS position
    FROM {HISTORY} AS history WHERE {}
    UNION ALL
    SELECT segment_id, JSONExtractUInt(state, 'count'), toUInt64(0), toUInt32(0) FROM ({})
    WHERE kind = 'cut' AND JSONType(state, 'count') != 'Null'
)
GROUP BY segment_id",
        counting(),
        records()
    );
    Ok(server.rows("check the history", bound(text, tenant)).await?.into_iter().collect())
}

/// The rows of each snapshot.
async fn row_counts(server: &Server, tenant: &TenantId) -> Result<BTreeMap<String, u64>, LedgerError> {
    let text =
        format!("SELECT members.segment_id, count() FROM {MEMBERS} AS members WHERE {} GROUP BY members.segment_id", current());
    Ok(server.rows("check the members", bound(text, tenant)).await?.into_iter().collect())
}

fn current() -> String {
    format!(
        "members.tenant = {{tenant:String}} AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({}))",
        snapshots()
    )
}

/// What tells of members beside their rows, the snapshots that replays begin with included: `segment_id, subject_id, side, at, change,
/// commit_number`.
fn changed() -> String {
    format!(
        "SELECT changes.segment_id AS segment_id, changes.subject_id AS subject_id, 'changes' AS side, changes.at AS at,
            toString(changes.change) AS change, changes.commit_number AS commit_number
        FROM {CHANGES} AS changes LEFT JOIN ({}) AS cuts ON changes.segment_id = cuts.segment_id
        WHERE changes.tenant = {{tenant:String}} AND {} AND changes.commit_number > ifNull(cuts.changes, 0)
        UNION ALL
        SELECT members.segment_id, members.subject_id, 'changes', members.entered_at, 'enter', toUInt64(0)
        FROM {MEMBERS} AS members
        WHERE members.tenant = {{tenant:String}} AND (members.segment_id, members.run_id) IN ({})",
        cuts(),
        is_committed("changes"),
        baselines()
    )
}

/// How many members the changes of a segment give.
async fn replayed_count(server: &Server, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
    let text = format!(
        "SELECT count() FROM (
    SELECT subject_id FROM ({}) WHERE segment_id = {{segment:String}}
    GROUP BY subject_id HAVING argMax(change, commit_number) = 'enter'
)",
        changed()
    );
    let asked = bound(text, tenant).text("segment", segment.as_str());
    Ok(server.row::<(u64,)>("check the members", asked).await?.0)
}

/// The condition of rows that are kept, which follows on others: those that a commit let go of may be there for a while.
pub(super) fn is_left(table: PublicTable) -> String {
    let (name, column) = match table {
        PublicTable::Changes => (CHANGES, "changes"),
        PublicTable::History => (HISTORY, "history"),
    };
    format!(
        " AND (segment_id, commit_number) NOT IN (
    SELECT gone.segment_id, gone.commit_number FROM {name} AS gone INNER JOIN ({}) AS cuts ON gone.segment_id = cuts.segment_id
    WHERE gone.tenant = {{tenant:String}} AND gone.commit_number <= cuts.{column}
)",
        cuts()
    )
}

/// Of each segment whose changes do not give its snapshot, the first subject that shows it.
async fn differing(server: &Server, tenant: &TenantId) -> Result<BTreeMap<String, String>, LedgerError> {
    let text = format!(
        "SELECT segment_id, min(subject_id) FROM (
    SELECT segment_id, subject_id FROM (
        {}
        UNION ALL
        SELECT members.segment_id, members.subject_id, 'members', members.entered_at, '', 0
        FROM {MEMBERS} AS members WHERE {}
    )
    GROUP BY segment_id, subject_id
    HAVING (countIf(side = 'members') = 1) != (argMaxIf(change, commit_number, side = 'changes') = 'enter')
        OR countIf(side = 'members') > 1
        OR (countIf(side = 'members') = 1 AND argMaxIf(at, commit_number, side = 'changes') != maxIf(at, side = 'members'))
)
GROUP BY segment_id",
        changed(),
        current()
    );
    Ok(server.rows("check the members", bound(text, tenant)).await?.into_iter().collect())
}

fn bound(text: String, tenant: &TenantId) -> Statement {
    Statement::new(text).text("tenant", tenant.as_str())
}
