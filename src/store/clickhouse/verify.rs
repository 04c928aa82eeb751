//! Checks that the laws of the ledger hold. Changes and members are compared on the server; what comes back is a row for each segment.

use std::collections::{BTreeMap, BTreeSet};

use super::ddl::{CHANGES, HISTORY};
use super::log::{self, Base, records};
use super::read::{baselines, is_committed, snapshots};
use super::server::Server;
use crate::backend::clickhouse::MEMBERS;
use crate::clickhouse::Statement;
use crate::model::id::TenantId;
use crate::store::{Fault, LedgerError, RunKind};

/// How often the whole is looked at again when something was committed meanwhile.
const ATTEMPTS: usize = 5;

pub(super) async fn verify(server: &Server, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
    let mut base = log::read(server, tenant).await?;
    let mut faults = laws(server, tenant, &base).await?;
    for _ in 1..ATTEMPTS {
        // One statement sees what was committed between it and the one before.
        let after = log::read(server, tenant).await?;
        if faults.is_empty() || after.commit_number == base.commit_number {
            break;
        }
        base = after;
        faults = laws(server, tenant, &base).await?;
    }
    Ok(faults)
}

async fn laws(server: &Server, tenant: &TenantId, base: &Base) -> Result<Vec<Fault>, LedgerError> {
    let mut faults = breaks(server, tenant).await?;
    let counted = last_counts(server, tenant).await?;
    let rows = row_counts(server, tenant).await?;
    let mut differing = differing(server, tenant).await?;
    for (segment, entry) in &base.segments {
        let id = segment.as_str();
        let (rows, recorded) = (rows.get(id).copied().unwrap_or(0), entry.record.state.member_count);
        if rows != recorded {
            faults.push(Fault::of_segment(segment, format!("the snapshot has {rows} rows, and the recorded count is {recorded}")));
        }
        match counted.get(id) {
            Some(&count) if count != rows => {
                let problem = format!("the snapshot has {rows} rows, and the last history row says {count}");
                faults.push(Fault::of_segment(segment, problem));
            }
            Some(_) | None => {}
        }
        if let Some(subject) = differing.remove(id) {
            let problem = format!("the changes of subject `{subject}` do not give its row of the snapshot");
            faults.push(Fault::of_segment(segment, problem));
        }
    }
    let gone: BTreeSet<String> = differing.into_keys().collect();
    let left = "it was deleted, and its changes leave members behind";
    faults.extend(gone.iter().map(|segment| fault_of(segment, left.to_owned())));
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

/// Of each segment whose changes do not give its snapshot, the first subject that shows it.
async fn differing(server: &Server, tenant: &TenantId) -> Result<BTreeMap<String, String>, LedgerError> {
    let text = format!(
        "SELECT segment_id, min(subject_id) FROM (
    SELECT segment_id, subject_id FROM (
        SELECT changes.segment_id AS segment_id, changes.subject_id AS subject_id, 'changes' AS side, changes.at AS at,
            toString(changes.change) AS change, changes.commit_number AS commit_number
        FROM {CHANGES} AS changes LEFT JOIN ({}) AS cuts ON changes.segment_id = cuts.segment_id
        WHERE changes.tenant = {{tenant:String}} AND {} AND changes.commit_number > ifNull(cuts.changes, 0)
        UNION ALL
        SELECT members.segment_id, members.subject_id, 'changes', members.entered_at, 'enter', toUInt64(0)
        FROM {MEMBERS} AS members
        WHERE members.tenant = {{tenant:String}} AND (members.segment_id, members.run_id) IN ({})
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
        cuts(),
        is_committed("changes"),
        baselines(),
        current()
    );
    Ok(server.rows("check the members", bound(text, tenant)).await?.into_iter().collect())
}

fn bound(text: String, tenant: &TenantId) -> Statement {
    Statement::new(text).text("tenant", tenant.as_str())
}
