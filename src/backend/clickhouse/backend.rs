//! [`ClickHouseBackend`]: a batch to a statement, which the server executes and whose rows it keeps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::evaluations::Evaluations;
use super::inspect::Row;
use super::members::{EVALUATIONS, Kept, RemoteMembers};
use super::predicate::Unsuited;
use super::profile::profile;
use super::sql::{Query, TableName};
use super::statement::{self, Compiled, OBSERVED, UNIVERSE, compile};
use super::tables::{Tables, failure};
use super::time::Times;
use crate::backend::tables::TenantTables;
use crate::backend::{
    Backend, BackendError, Effort, Evaluation, Inspection, Observation, ObservationKind, ServerRead, TableProfile, TableRole,
};
use crate::clickhouse::{self, Connection, Statement};
use crate::model::calendar::Calendar;
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::TenantId;
use crate::plan::{Batch, BatchFeature};

/// Evaluates batches where the tables are, on a server. Members stay there.
#[derive(Debug)]
pub struct ClickHouseBackend {
    connection: Connection,
    tables: Tables,
    /// What it evaluates is noted here.
    evaluations: Evaluations,
}

impl ClickHouseBackend {
    /// Looks at the tables of a tenant as they are now. What is evaluated is noted, to be forgotten when it is not needed any more.
    ///
    /// # Errors
    /// When the server cannot be reached, or a table is missing, empty, or not as the configuration has it.
    pub async fn open(
        connection: Connection,
        tenant: &TenantId,
        tables: &TenantTables,
        evaluations: Evaluations,
    ) -> Result<Self, BackendError> {
        connection.check().await.map_err(|error| failure("connecting", error))?;
        let tables = Tables::open(&connection, tenant, tables).await?;
        Ok(Self { connection, tables, evaluations })
    }

    /// The statement of a batch.
    fn compile(&self, batch: &Batch, given: &[RemoteMembers]) -> Result<Compiled, BackendError> {
        compile(batch, &self.compiled_tables(batch, given, None), &times(batch)?).map_err(unplanned)
    }

    /// What statements of a batch read. The place of one subject in a ranking depends on all others.
    fn compiled_tables<'a>(&'a self, batch: &Batch, given: &[RemoteMembers], subject_id: Option<&'a str>) -> statement::Tables<'a> {
        statement::Tables {
            catalog: &self.tables.catalog,
            subjects: self.tables.of(TableRole::of(batch.subject)).map(|found| found.rows.clone()),
            events: self.tables.events.as_ref().map(|found| found.rows.clone()),
            given: given.iter().map(|members| members.ids(self.connection.database())).collect(),
            subject_id: subject_id.filter(|_| batch.rankings.is_empty()),
        }
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// A clock for what depends on no instant.
    pub(super) fn timeless(&self) -> Result<Times, BackendError> {
        clock(Timestamp::UNIX_EPOCH, &self.tables.catalog.timezone)
    }

    fn evaluations_table(&self) -> String {
        TableName { database: self.connection.database().to_owned(), table: EVALUATIONS.to_owned() }.qualified()
    }

    /// Keeps ids on the server, as members that a batch can be given.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn keep(&self, ids: &[&str]) -> Result<RemoteMembers, BackendError> {
        let evaluation = Uuid::now_v7();
        let text = format!(
            "INSERT INTO {} (evaluation, output, subject_id) SELECT {{evaluation:UUID}}, 0, arrayJoin({{ids:Array(String)}})",
            self.evaluations_table()
        );
        let statement = Statement::new(text).uuid("evaluation", evaluation).texts("ids", ids.iter().copied());
        self.connection.execute_once(statement).await.map_err(|error| failure("keeping members", error))?;
        Ok(RemoteMembers::new(Kept::Evaluated { evaluation, output: 0 }, ids.len() as u64))
    }

    /// Fails when subjects have several rows that count; returns how many rows have no key.
    pub(super) async fn look_at_keys(&self, subject: Subject, keys: &Query) -> Result<u64, BackendError> {
        let statement = keys.print().within(
            "SELECT countIf(isNotNull(id) AND winners > 1), arraySlice(arraySort(groupArrayIf(100)(id, isNotNull(id) AND winners > 1)), 1, 3), \
             sumIf(rows, isNull(id)) FROM ",
            "",
        );
        let found = self.connection.row::<(u64, Vec<String>, u64)>(statement).await;
        let (count, examples, keyless) = found.map_err(|error| failure("looking at the keys of subjects", error))?;
        if count == 0 {
            return Ok(keyless);
        }
        let examples: Vec<String> = examples.iter().map(|key| format!("`{key}`")).collect();
        Err(BackendError::DuplicateKeys { table: TableRole::of(subject), count, examples: examples.join(", ") })
    }
}

#[async_trait]
impl Backend for ClickHouseBackend {
    type Members = RemoteMembers;

    fn catalog(&self) -> &Catalog {
        &self.tables.catalog
    }

    async fn evaluate(&self, batch: &Batch, given: &[RemoteMembers]) -> Result<Evaluation<RemoteMembers>, BackendError> {
        let compiled = self.compile(batch, given)?;
        let keyless = match &compiled.keys {
            Some(keys) => self.look_at_keys(batch.subject, keys).await?,
            None => 0,
        };
        let evaluation = Uuid::now_v7();
        self.evaluations.note(&RemoteMembers::new(Kept::Evaluated { evaluation, output: UNIVERSE }, 0));
        let insert = format!(
            "INSERT INTO {} (evaluation, output, subject_id, score)\nSELECT {{evaluation:UUID}}, `output`, `id`, `score` FROM ",
            self.evaluations_table()
        );
        let statement = compiled.members.print().within(&insert, "").uuid("evaluation", evaluation);
        let effort = self.connection.execute_once(statement).await;
        let effort = effort.map_err(|error| failure("evaluating segments", error))?;
        let counts = format!(
            "SELECT output, count(), sumIf(ifNull(score, 0), output >= {OBSERVED}) FROM {} WHERE evaluation = {{evaluation:UUID}} GROUP BY output",
            self.evaluations_table()
        );
        let counts = Statement::new(counts).uuid("evaluation", evaluation);
        let counts =
            self.connection.rows::<(u32, u64, i64)>(counts).await.map_err(|error| failure("counting members", error))?.rows;
        let members = |output: u32| {
            let count = counts.iter().find(|(number, ..)| *number == output).map_or(0, |(_, count, _)| *count);
            RemoteMembers::new(Kept::Evaluated { evaluation, output }, count)
        };
        let outputs = (0..batch.outputs.len()).filter_map(|output| u32::try_from(output).ok()).map(members).collect();
        Ok(Evaluation {
            universe: members(UNIVERSE),
            outputs,
            observations: observed(keyless, batch.subject, compiled.observations, &counts),
            // The server does not say which table it read how often.
            scans: Vec::new(),
            effort: effort_of(batch, effort),
        })
    }

    async fn inspect(&self, batch: &Batch, given: &[RemoteMembers], subject_id: &str) -> Result<Inspection, BackendError> {
        let tables = self.compiled_tables(batch, given, Some(subject_id));
        let inspected = statement::inspect(batch, &tables, &times(batch)?, subject_id).map_err(unplanned)?;
        let rows = self.connection.rows::<Row>(inspected.query.print()).await;
        let row = rows.map_err(|error| failure("inspecting a subject", error))?.rows.pop();
        Ok(row.map_or_else(|| Inspection::outside(batch), |row| row.inspection(&inspected.forms)))
    }

    async fn show_plan(&self, batch: &Batch) -> Result<String, BackendError> {
        let nobody = vec![RemoteMembers::nobody(); batch.given.len()];
        Ok(self.compile(batch, &nobody)?.members.print().to_string())
    }

    async fn profile(&self, table: TableRole) -> Result<TableProfile, BackendError> {
        // No definition is asked about: the instant does not matter.
        profile(&self.connection, &self.tables, &self.timeless()?, table).await
    }
}

/// What a batch asked for and the server says that it took.
fn effort_of(batch: &Batch, took: clickhouse::Effort) -> Effort {
    let is_of_events = |feature: &&BatchFeature| !matches!(feature, BatchFeature::Attribute(_) | BatchFeature::Hash { .. });
    let clickhouse::Effort { rows, bytes, elapsed, .. } = took;
    Effort {
        measures: batch.features.iter().filter(is_of_events).count(),
        server: Some(ServerRead { rows, bytes, time: elapsed }),
        ..Effort::of(batch)
    }
}

/// What did not fit, from the rows that say how often each subject has it.
fn observed(
    keyless: u64,
    subject: Subject,
    kinds: Vec<(TableRole, ObservationKind)>,
    counts: &[(u32, u64, i64)],
) -> Vec<Observation> {
    let mut totals: BTreeMap<(TableRole, ObservationKind), u64> = BTreeMap::new();
    for (output, of) in (OBSERVED..).zip(kinds) {
        let count = counts.iter().find(|(number, ..)| *number == output).and_then(|(.., sum)| u64::try_from(*sum).ok());
        *totals.entry(of).or_default() += count.unwrap_or(0);
    }
    totals.insert((TableRole::of(subject), ObservationKind::MissingKey), keyless);
    let found = totals.into_iter().filter(|(_, count)| *count > 0);
    found.map(|((table, kind), count)| Observation { table, kind, count }).collect()
}

/// The local clock of a batch.
pub(super) fn times(batch: &Batch) -> Result<Times, BackendError> {
    clock(batch.as_of, &batch.timezone)
}

/// The local clock of a timezone at an instant.
fn clock(at: Timestamp, timezone: &str) -> Result<Times, BackendError> {
    let calendar = Calendar::new(at, timezone);
    let calendar =
        calendar.map_err(|error| BackendError::Engine { operation: "looking up the timezone", source: Box::new(error) })?;
    Ok(Times::new(calendar))
}

/// What it means that a batch has no statement.
pub(super) fn unplanned(error: Unsuited) -> BackendError {
    BackendError::Engine { operation: "planning", source: Box::new(error) }
}
