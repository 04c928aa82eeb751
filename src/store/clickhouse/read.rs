//! Reading: each question is one statement, which sees whole runs only.

use jiff::Timestamp;

use super::ddl::{CHANGES, HISTORY, LOG};
use super::log::{Tenants, commits, damaged, states};
use super::server::Server;
use crate::backend::clickhouse::MEMBERS;
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::rows::{change_schema, history_schema, membership_schema};
use crate::store::{LedgerError, Membership, ReadFilter, RowStream};

/// The current snapshots of a tenant: `segment_id, snapshot`.
pub(super) fn snapshots() -> String {
    format!("SELECT segment_id, snapshot FROM ({}) WHERE kind = 'state'", states(LOG, Tenants::One))
}

/// That a row is of a commit that counts.
pub(super) fn is_committed(rows: &str) -> String {
    format!("({rows}.commit_number, {rows}.run_id) IN (SELECT commit_number, run_id FROM ({}))", commits(LOG, Tenants::One))
}

/// The current members of the segment of the parameter `segment`.
fn current() -> String {
    let snapshots = snapshots();
    format!(
        "FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.segment_id = {{segment:String}}
    AND members.run_id IN (SELECT snapshot FROM ({snapshots}) WHERE segment_id = {{segment:String}})"
    )
}

pub(super) async fn members(server: &Server, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
    let text = format!(
        "SELECT tenant, segment_id, subject_id, entered_at, score, confidence, reason, toString(members.run_id), as_of
{}
ORDER BY subject_id",
        current()
    );
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str());
    server.stream("read the members", statement, membership_schema()).await
}

pub(super) async fn recount(server: &Server, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
    let text = format!("SELECT count() {}", current());
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str());
    Ok(server.row::<(u64,)>("count the members", statement).await?.0)
}

pub(super) async fn changes(server: &Server, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
    let (mut conditions, mut statement) = selected(filter, "changes.at");
    if let Some(subject) = &filter.subject {
        conditions += " AND changes.subject_id = {subject:String}";
        statement = statement.text("subject", subject);
    }
    changes_where(server, tenant, &conditions, statement).await
}

/// The changes of a commit.
pub(super) async fn changes_of(server: &Server, tenant: &TenantId, number: u64) -> Result<RowStream, LedgerError> {
    let (conditions, statement) = of_commit(number);
    changes_where(server, tenant, conditions, statement).await
}

async fn changes_where(
    server: &Server,
    tenant: &TenantId,
    conditions: &str,
    mut statement: Statement,
) -> Result<RowStream, LedgerError> {
    statement.text = format!(
        "SELECT tenant, segment_id, subject_id, change, at, reason, score, definition_hash, toString(changes.run_id)
FROM {CHANGES} AS changes
WHERE changes.tenant = {{tenant:String}}{conditions} AND {}
ORDER BY commit_number, position, subject_id",
        is_committed("changes")
    );
    server.stream("read the changes", statement.text("tenant", tenant.as_str()), change_schema()).await
}

pub(super) async fn history(server: &Server, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
    let (conditions, statement) = selected(filter, "history.as_of");
    history_where(server, tenant, &conditions, statement).await
}

/// The history rows of a commit.
pub(super) async fn history_of(server: &Server, tenant: &TenantId, number: u64) -> Result<RowStream, LedgerError> {
    let (conditions, statement) = of_commit(number);
    history_where(server, tenant, conditions, statement).await
}

async fn history_where(
    server: &Server,
    tenant: &TenantId,
    conditions: &str,
    mut statement: Statement,
) -> Result<RowStream, LedgerError> {
    statement.text = format!(
        "SELECT tenant, segment_id, toString(history.run_id), kind, as_of, evaluation_date, status, member_count, added_count,
    removed_count, duration_ms, definition_hash, error
FROM {HISTORY} AS history
WHERE history.tenant = {{tenant:String}}{conditions} AND {}
ORDER BY commit_number, position",
        is_committed("history")
    );
    server.stream("read the history", statement.text("tenant", tenant.as_str()), history_schema()).await
}

/// The rows of a commit alone, with its number bound.
fn of_commit(number: u64) -> (&'static str, Statement) {
    (" AND commit_number = {number:UInt64}", Statement::default().number("number", "UInt64", number))
}

/// What a filter says of the segment and the instant of a row, with its values bound.
fn selected(filter: &ReadFilter, at: &str) -> (String, Statement) {
    let (mut conditions, mut statement) = (String::new(), Statement::default());
    if let Some(segment) = &filter.segment {
        conditions += " AND segment_id = {segment:String}";
        statement = statement.text("segment", segment.as_str());
    }
    for (name, compares, instant) in [("from", ">=", filter.from), ("to", "<", filter.to)] {
        if let Some(instant) = instant {
            conditions += &format!(" AND {at} {compares} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')");
            statement = statement.number(name, "Int64", instant.as_microsecond());
        }
    }
    (conditions, statement)
}

pub(super) async fn segments_of(server: &Server, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
    let text = format!(
        "SELECT segment_id, toUnixTimestamp64Micro(entered_at), score, reason
FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.subject_id = {{subject:String}}
    AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({}))
ORDER BY segment_id",
        snapshots()
    );
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("subject", subject_id);
    let found = server.rows::<(String, i64, Option<f64>, String)>("read the members", statement).await?;
    let membership = |(segment, entered_at, score, reason): (String, i64, Option<f64>, String)| {
        Ok(Membership {
            entered_at: Timestamp::from_microsecond(entered_at).map_err(|error| damaged(&segment, &error))?,
            segment_id: segment.parse().map_err(|_| damaged(&segment, &"it is no segment"))?,
            score,
            reason,
        })
    };
    found.into_iter().map(membership).collect()
}
