//! What people decided by hand: every edit is rows of a table, and what holds of a subject is what the last of them says.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, TimestampMicrosecondArray};
use jiff::Timestamp;
use uuid::Uuid;

use super::log::named;
use super::read::is_committed;
use super::server::{Server, batch, numbers, texts, uuids};
use crate::backend::clickhouse::{Edits, Kept, OVERRIDES, RemoteMembers};
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::model::manual::Override;
use crate::store::rows::override_schema;
use crate::store::{EditAction, Edited, LedgerError, OverrideEdit, Overrides, ReadFilter, RowStream, Run};

/// Rows of one insert.
const AT_ONCE: usize = 64 * 1024;

/// What people had decided at an instant, by segment.
pub(super) async fn at(
    server: &Server,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<BTreeMap<SegmentId, Overrides<RemoteMembers>>, LedgerError> {
    let committed = is_committed("overrides");
    let runs = format!(
        "SELECT segment_id, arraySort(groupUniqArray(toString(run_id))) FROM {OVERRIDES} AS overrides
WHERE overrides.tenant = {{tenant:String}} AND {committed} GROUP BY segment_id"
    );
    let of_tenant = |text: String| Statement::new(text).text("tenant", tenant.as_str());
    let mut found = BTreeMap::new();
    for (segment, runs) in server.rows::<(String, Vec<Uuid>)>("read the overrides", of_tenant(runs)).await? {
        let segment = named(&segment)?;
        let overrides = sets(server, tenant, &segment, at, runs).await?;
        if !overrides.is_empty() {
            found.insert(segment, overrides);
        }
    }
    Ok(found)
}

/// What the edits of some runs say of a segment at an instant.
async fn sets(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    at: Timestamp,
    runs: Vec<Uuid>,
) -> Result<Overrides<RemoteMembers>, LedgerError> {
    let text = format!(
        "SELECT decision, count() FROM (
    SELECT subject_id, argMax(concat(action, ' ', reason), commit_number) AS decision FROM {OVERRIDES}
    WHERE tenant = {{tenant:String}} AND segment_id = {{segment:String}} AND run_id IN {{runs:Array(UUID)}}
        AND since <= fromUnixTimestamp64Micro({{at:Int64}}, 'UTC')
    GROUP BY subject_id
) GROUP BY decision"
    );
    let statement = Statement::new(text)
        .text("tenant", tenant.as_str())
        .text("segment", segment.as_str())
        .number("at", "Int64", at.as_microsecond())
        .bind("runs", "Array(UUID)", uuids(runs.iter().copied()));
    let counts: BTreeMap<String, u64> = server.rows::<(String, u64)>("read the overrides", statement).await?.into_iter().collect();
    let edits = Arc::new(Edits { tenant: tenant.clone(), segment: segment.clone(), at, runs });
    Ok(Overrides::new(Override::ALL.into_iter().map(|decision| {
        let count = counts.get(&word_of(decision)).copied().unwrap_or_default();
        (decision, RemoteMembers::new(Kept::Decided { edits: Arc::clone(&edits), decision: Some(decision) }, count))
    })))
}

/// A decision as the statements put it together.
fn word_of(decision: Override) -> String {
    format!("{} {}", decision.verdict.keyword(), decision.origin.keyword())
}

/// Writes an edit of a run; nobody sees it before the run is committed.
pub(super) async fn edit(
    server: &Server,
    run: &Run,
    commit_number: u64,
    segment: &SegmentId,
    edit: &OverrideEdit,
) -> Result<Edited<RemoteMembers>, LedgerError> {
    let subjects: Vec<&str> = edit.subjects.iter().map(String::as_str).collect();
    for subjects in subjects.chunks(AT_ONCE) {
        let operation = "write the overrides";
        let since = TimestampMicrosecondArray::from_value(run.as_of.as_microsecond(), subjects.len()).with_timezone("UTC");
        let same = |text: &str| texts(subjects.iter().map(|_| text));
        let rows = batch(
            operation,
            vec![
                ("tenant", same(run.tenant.as_str())),
                ("segment_id", same(segment.as_str())),
                ("subject_id", texts(subjects)),
                ("action", same(edit.action.keyword())),
                ("reason", same(edit.origin.keyword())),
                ("since", Arc::new(since) as ArrayRef),
                ("run_id", same(&run.run_id.to_string())),
                ("commit_number", numbers(subjects.iter().map(|_| commit_number))),
            ],
        )?;
        server.insert(operation, OVERRIDES, rows).await?;
    }
    let mut runs = runs_of(server, &run.tenant, segment).await?;
    let undecided = match edit.action {
        EditAction::Decide(_) => Vec::new(),
        EditAction::Clear => undecided(server, run, segment, &runs).await?,
    };
    runs.push(run.run_id);
    let own = Edits { tenant: run.tenant.clone(), segment: segment.clone(), at: run.as_of, runs: vec![run.run_id] };
    let edited = Kept::Decided { edits: Arc::new(own), decision: None };
    let edited = RemoteMembers::new(edited, edit.subjects.len() as u64);
    let overrides = sets(server, &run.tenant, segment, run.as_of, runs).await?;
    Ok(Edited { overrides, subjects: edited, undecided })
}

/// The runs whose edits of a segment are committed.
async fn runs_of(server: &Server, tenant: &TenantId, segment: &SegmentId) -> Result<Vec<Uuid>, LedgerError> {
    let text = format!(
        "SELECT DISTINCT toString(run_id) FROM {OVERRIDES} AS overrides
WHERE overrides.tenant = {{tenant:String}} AND overrides.segment_id = {{segment:String}} AND {}",
        is_committed("overrides")
    );
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str());
    Ok(server.rows::<(Uuid,)>("read the overrides", statement).await?.into_iter().map(|(run,)| run).collect())
}

/// Subjects of the edit of a run of whom nothing was decided before.
async fn undecided(server: &Server, run: &Run, segment: &SegmentId, runs: &[Uuid]) -> Result<Vec<String>, LedgerError> {
    let text = format!(
        "SELECT subject_id FROM {OVERRIDES}
WHERE tenant = {{tenant:String}} AND segment_id = {{segment:String}} AND (run_id = {{run:UUID}} OR run_id IN {{runs:Array(UUID)}})
GROUP BY subject_id
HAVING countIf(run_id = {{run:UUID}}) > 0 AND argMaxIf(action, commit_number, run_id != {{run:UUID}}) IN ('', 'clear')
ORDER BY subject_id"
    );
    let statement = Statement::new(text)
        .text("tenant", run.tenant.as_str())
        .text("segment", segment.as_str())
        .uuid("run", run.run_id)
        .bind("runs", "Array(UUID)", uuids(runs.iter().copied()));
    Ok(server.rows::<(String,)>("read the overrides", statement).await?.into_iter().map(|(subject,)| subject).collect())
}

/// Leaves everyone of a segment that is deleted to no rule any more: were it defined again, it would begin anew.
pub(super) async fn clear_all(server: &Server, run: &Run, commit_number: u64, segment: &SegmentId) -> Result<(), LedgerError> {
    let text = format!(
        "INSERT INTO {OVERRIDES} (tenant, segment_id, subject_id, action, reason, since, run_id, commit_number)
SELECT tenant, segment_id, subject_id, 'clear', 'manual', fromUnixTimestamp64Micro({{at:Int64}}, 'UTC'), {{run:UUID}}, {{commit:UInt64}}
FROM {OVERRIDES} AS overrides
WHERE overrides.tenant = {{tenant:String}} AND overrides.segment_id = {{segment:String}} AND {}
GROUP BY tenant, segment_id, subject_id
HAVING argMax(action, commit_number) != 'clear'",
        is_committed("overrides")
    );
    let statement = Statement::new(text)
        .text("tenant", run.tenant.as_str())
        .text("segment", segment.as_str())
        .number("at", "Int64", run.as_of.as_microsecond())
        .uuid("run", run.run_id)
        .number("commit", "UInt64", commit_number);
    server.execute_once("write the overrides", statement).await
}

/// Every decision with the time in which it holds, of the committed edits that a condition selects: in the columns of
/// [`override_schema`].
pub(super) fn decisions(table: &str, condition: &str) -> String {
    format!(
        "SELECT tenant, segment_id, subject_id, action AS override, reason, since, if(isNull(next), NULL, greatest(next, since)) AS until,
    run_id
FROM (
    SELECT overrides.tenant AS tenant, overrides.segment_id AS segment_id, overrides.subject_id AS subject_id,
        overrides.action AS action, overrides.reason AS reason, overrides.since AS since, toString(overrides.run_id) AS run_id,
        leadInFrame(toNullable(overrides.since), 1, NULL) OVER (
            PARTITION BY overrides.tenant, overrides.segment_id, overrides.subject_id ORDER BY overrides.commit_number
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS next
    FROM {table} AS overrides WHERE {condition}
)
WHERE action != 'clear'"
    )
}

pub(super) async fn read(server: &Server, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
    let mut condition = format!("overrides.tenant = {{tenant:String}} AND {}", is_committed("overrides"));
    let mut statement = Statement::default().text("tenant", tenant.as_str());
    for (column, wanted) in filter.texts_of_overrides() {
        condition += &format!(" AND overrides.{column} IN {{{column}:Array(String)}}");
        statement = statement.texts(column, wanted);
    }
    statement.text = format!("{}\nORDER BY segment_id, subject_id, since", decisions(OVERRIDES, &condition));
    server.stream("read the overrides", statement, override_schema()).await
}
