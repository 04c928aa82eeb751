//! Reading: each question is one statement, which sees whole runs only.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray as _, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use uuid::Uuid;

use super::ddl::{CHANGES, HISTORY, LOG};
use super::log::{KeptSnapshot, Tenants, commits, damaged, named, records, states};
use super::server::{SEGMENTS_AT_ONCE, Server, uuids};
use crate::backend::attributes::{Order, OrderBy, column_of};
use crate::backend::clickhouse::MEMBERS;
use crate::clickhouse::{Statement, quoted};
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::PublicTable;
use crate::store::rows::{change_schema, history_schema, membership_schema};
use crate::store::{Audience, LedgerError, Membership, ReadFilter, RowStream, SetOperation};

/// What is asked of an audience.
#[derive(Debug)]
pub struct Arranged<'a> {
    /// Who.
    pub audience: &'a Audience,
    /// What stands beside each member.
    pub beside: Option<Beside>,
    /// What the rows are put in order by.
    pub order: &'a [Order],
    /// At most so many.
    pub limit: Option<u64>,
}

/// What stands beside members.
#[derive(Debug)]
pub struct Beside {
    /// Rows of `id`, and `attribute 0`, `attribute 1`, ...; at most one for each id. Its parameters are named `p1`, `p2`, ...
    pub statement: Statement,
    /// The columns of the attributes.
    pub fields: Vec<Field>,
}

/// The current snapshots of a tenant: `segment_id, snapshot`.
pub(super) fn snapshots() -> String {
    format!("SELECT segment_id, snapshot FROM ({}) WHERE kind = 'state'", states(LOG, Tenants::One))
}

/// That a row is of a commit that counts.
pub(super) fn is_committed(rows: &str) -> String {
    format!("({rows}.commit_number, {rows}.run_id) IN (SELECT commit_number, run_id FROM ({}))", commits(LOG, Tenants::One))
}

/// The snapshots of a tenant that replays begin with: `segment_id, snapshot`.
pub(super) fn baselines() -> String {
    format!("SELECT segment_id, snapshot FROM ({}) WHERE kind = 'kept' AND JSONExtractBool(state, 'is_baseline')", records())
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

/// The members of a snapshot of the past, as its run left them.
pub(super) async fn kept(server: &Server, tenant: &TenantId, kept: &KeptSnapshot) -> Result<RowStream, LedgerError> {
    let text = format!(
        "SELECT tenant, segment_id, subject_id, entered_at, score, confidence, reason, {{run:String}},
    fromUnixTimestamp64Micro({{at:Int64}}, 'UTC')
FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.segment_id = {{segment:String}} AND members.run_id = {{snapshot:UUID}}
ORDER BY subject_id"
    );
    let statement = Statement::new(text)
        .text("tenant", tenant.as_str())
        .text("segment", kept.segment.as_str())
        .uuid("snapshot", kept.snapshot)
        .text("run", kept.record.run_id.to_string())
        .number("at", "Int64", kept.record.at.as_microsecond());
    server.stream("read the members", statement, membership_schema()).await
}

/// The instants of the runs that wrote snapshots; none for one without members.
pub(super) async fn instants_of(
    server: &Server,
    tenant: &TenantId,
    snapshots: &[(&SegmentId, Uuid)],
) -> Result<BTreeMap<SegmentId, Timestamp>, LedgerError> {
    let text = format!(
        "SELECT members.segment_id, toUnixTimestamp64Micro(any(members.as_of)) FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.segment_id IN {{segments:Array(String)}} AND members.run_id IN {{snapshots:Array(UUID)}}
    AND members.run_id = toUUID(transform(members.segment_id, {{segments:Array(String)}}, {{written:Array(String)}}, {{nil:String}}))
GROUP BY members.segment_id"
    );
    let mut instants = BTreeMap::new();
    for snapshots in snapshots.chunks(SEGMENTS_AT_ONCE) {
        let statement = Statement::new(text.as_str())
            .text("tenant", tenant.as_str())
            .texts("segments", snapshots.iter().map(|(segment, _)| segment.as_str()))
            .bind("snapshots", "Array(UUID)", uuids(snapshots.iter().map(|(_, snapshot)| *snapshot)))
            .texts("written", snapshots.iter().map(|(_, snapshot)| snapshot.to_string()))
            .text("nil", Uuid::nil().to_string());
        for (segment, at) in server.rows::<(String, i64)>("read the members", statement).await? {
            let at = Timestamp::from_microsecond(at).map_err(|error| damaged(&segment, &error))?;
            instants.insert(named(&segment)?, at);
        }
    }
    Ok(instants)
}

/// How many members of each segment a run has written.
pub(super) async fn written(server: &Server, tenant: &TenantId, run: Uuid) -> Result<BTreeMap<SegmentId, u64>, LedgerError> {
    let text = format!(
        "SELECT segment_id, count() FROM {MEMBERS} WHERE tenant = {{tenant:String}} AND run_id = {{run:UUID}} GROUP BY segment_id"
    );
    let statement = Statement::new(text).text("tenant", tenant.as_str()).uuid("run", run);
    let counted = |(segment, count): (String, u64)| Ok((named(&segment)?, count));
    server.rows::<(String, u64)>("count the members", statement).await?.into_iter().map(counted).collect()
}

/// Whom an audience contains, in an order, with what stands beside each.
pub(super) async fn audience(server: &Server, tenant: &TenantId, asked: &Arranged<'_>) -> Result<RowStream, LedgerError> {
    let Arranged { audience, beside, order, limit } = asked;
    let mut statement = of_audience(audience).text("tenant", tenant.as_str());
    let mut fields: Vec<FieldRef> = audience.schema().fields().iter().cloned().collect();
    if let Some(Beside { statement: attributes, fields: columns }) = beside {
        let own = fields.iter().map(|field| format!("`rows`.{}", quoted(field.name())));
        let others = (0..columns.len()).map(|number| format!("`attributes`.{}", quoted(&column_of(number))));
        let selected: Vec<String> = own.chain(others).collect();
        let text = format!(
            "SELECT {}\nFROM (\n{}\n) AS `rows`\nLEFT JOIN (\n{}\n) AS `attributes` ON `attributes`.`id` = `rows`.`subject_id`",
            selected.join(", "),
            statement.text,
            attributes.text
        );
        // Those of attributes have names of their own: p1, p2, ...
        let parameters = statement.parameters.into_iter().chain(attributes.parameters.iter().cloned()).collect();
        statement = Statement { text, parameters };
        fields.extend(columns.iter().cloned().map(FieldRef::new));
    }
    let direction = |descends: bool| if descends { "DESC" } else { "ASC" };
    let mut keys: Vec<String> = Vec::new();
    for Order { by, descends } in *order {
        let column = match by {
            OrderBy::Column(name) => quoted(name),
            OrderBy::Attribute(number) => format!("`attributes`.{}", quoted(&column_of(*number))),
        };
        keys.push(format!("{column} {} NULLS LAST", direction(*descends)));
    }
    keys.push("`subject_id`".to_owned());
    statement.text += &format!("\nORDER BY {}", keys.join(", "));
    if let Some(limit) = limit {
        statement.text += "\nLIMIT {limit:UInt64}";
        statement = statement.number("limit", "UInt64", limit);
    }
    server.stream("read the members", statement, Arc::new(Schema::new(fields))).await
}

/// What stands beside members, by their ids.
pub(super) async fn beside(server: &Server, beside: Beside) -> Result<RowStream, LedgerError> {
    let Beside { statement: Statement { text, parameters }, fields } = beside;
    let columns: Vec<String> = (0..fields.len()).map(|number| quoted(&column_of(number))).collect();
    let text = format!("SELECT `id`, {} FROM (\n{text}\n) ORDER BY `id`", columns.join(", "));
    let id = Field::new("id", DataType::Utf8, false);
    let schema = Schema::new([vec![id], fields].concat());
    server.stream("read attributes", Statement { text, parameters }, Arc::new(schema)).await
}

/// The rows of an audience, in no order, but for the tenant.
fn of_audience(audience: &Audience) -> Statement {
    let mut statement = Statement::default();
    let mut after = String::new();
    if let Some(id) = &audience.after {
        after += " AND subject_id > {after:String}";
        statement = statement.text("after", id);
    }
    if let Some(segment) = audience.only() {
        statement.text = format!(
            "SELECT tenant, segment_id, subject_id, entered_at, score, confidence, reason, toString(members.run_id) AS run_id, as_of
{}{after}",
            current()
        );
        return statement.text("segment", segment.as_str());
    }
    let (since, condition) = match audience.operation {
        SetOperation::Union => ("min(members.entered_at)", ""),
        SetOperation::Intersection => {
            ("max(members.entered_at)", "\nHAVING uniqExact(members.segment_id) = length({segments:Array(String)})")
        }
        SetOperation::Difference => (
            "any(members.entered_at)",
            "\nHAVING count() = 1 AND any(members.segment_id) = arrayElement({segments:Array(String)}, 1)",
        ),
    };
    let snapshots = snapshots();
    statement.text = format!(
        "SELECT subject_id, {since} AS entered_at
FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.segment_id IN ({{segments:Array(String)}})
    AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({snapshots})){after}
GROUP BY subject_id{condition}"
    );
    statement.texts("segments", audience.segments.iter().map(SegmentId::as_str))
}

pub(super) async fn recount(server: &Server, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
    let text = format!("SELECT count() {}", current());
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str());
    Ok(server.row::<(u64,)>("count the members", statement).await?.0)
}

pub(super) async fn changes(server: &Server, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
    let (conditions, statement) = selected(filter, "changes", "at", &filter.texts_of_changes());
    changes_where(server, tenant, &conditions, statement).await
}

/// The changes of a segment by the commits after a number, up to another.
pub(super) async fn changes_between(
    server: &Server,
    tenant: &TenantId,
    segment: &SegmentId,
    after: u64,
    last: u64,
) -> Result<RowStream, LedgerError> {
    let conditions =
        " AND changes.segment_id = {segment:String} AND commit_number > {after:UInt64} AND commit_number <= {last:UInt64}";
    let statement =
        Statement::default().text("segment", segment.as_str()).number("after", "UInt64", after).number("last", "UInt64", last);
    changes_where(server, tenant, conditions, statement).await
}

/// Rows of a table that conditions select, which follow on others.
pub(super) async fn rows_where(
    server: &Server,
    tenant: &TenantId,
    table: PublicTable,
    conditions: &str,
    statement: Statement,
) -> Result<RowStream, LedgerError> {
    match table {
        PublicTable::Changes => changes_where(server, tenant, conditions, statement).await,
        PublicTable::History => history_where(server, tenant, conditions, statement).await,
    }
}

/// The rows of a commit in a table.
pub(super) async fn rows_of(server: &Server, tenant: &TenantId, table: PublicTable, number: u64) -> Result<RowStream, LedgerError> {
    let statement = Statement::default().number("number", "UInt64", number);
    rows_where(server, tenant, table, " AND commit_number = {number:UInt64}", statement).await
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
    let (conditions, statement) = selected(filter, "history", "as_of", &filter.texts_of_history());
    history_where(server, tenant, &conditions, statement).await
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

/// A column of text.
pub(super) fn texts_of<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, LedgerError> {
    let found = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let missing = || LedgerError::Corrupt { path: name.to_owned(), problem: "rows have no such column of text".to_owned() };
    found.ok_or_else(missing)
}

/// What a filter says of the instant and the texts of a row, with its values bound.
fn selected(filter: &ReadFilter, rows: &str, at: &str, texts: &[(&str, Vec<&str>)]) -> (String, Statement) {
    let (mut conditions, mut statement) = (String::new(), Statement::default());
    for (column, wanted) in texts {
        conditions += &format!(" AND {rows}.{column} IN ({{{column}:Array(String)}})");
        statement = statement.texts(column, wanted.iter().copied());
    }
    for (name, compares, instant) in [("from", ">=", filter.from), ("to", "<", filter.to)] {
        if let Some(instant) = instant {
            conditions += &format!(" AND {rows}.{at} {compares} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')");
            statement = statement.number(name, "Int64", instant.as_microsecond());
        }
    }
    (conditions, statement)
}

pub(super) async fn segments_of(server: &Server, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
    let text = format!(
        "SELECT segment_id, toUnixTimestamp64Micro(entered_at), score, toString(confidence), reason
FROM {MEMBERS} AS members
WHERE members.tenant = {{tenant:String}} AND members.subject_id = {{subject:String}}
    AND (members.segment_id, members.run_id) IN (SELECT segment_id, snapshot FROM ({}))
ORDER BY segment_id",
        snapshots()
    );
    let statement = Statement::new(text).text("tenant", tenant.as_str()).text("subject", subject_id);
    let found = server.rows::<(String, i64, Option<f64>, Option<String>, String)>("read the members", statement).await?;
    let membership = |(segment, entered_at, score, confidence, reason): (String, i64, Option<f64>, Option<String>, String)| {
        Ok(Membership {
            entered_at: Timestamp::from_microsecond(entered_at).map_err(|error| damaged(&segment, &error))?,
            segment_id: named(&segment)?,
            score,
            confidence,
            reason,
        })
    };
    found.into_iter().map(membership).collect()
}
