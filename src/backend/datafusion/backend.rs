//! [`DataFusionBackend`]: a batch to a plan, a plan to members.

use std::collections::BTreeSet;
use std::error::Error;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::LogicalPlanBuilder;

use super::assembly::{Assembled, Detail, Sides, assemble, count_column, test_column, value_column};
use super::assembly::{IN_UNIVERSE, SUBJECT};
use super::collect::{booleans, column, members, rows, state};
use super::date::Local;
use super::events::{Asked, Grouping, Scope, events};
use super::measure::{Duplicates, Existence};
use super::outputs::{Found, Outputs, described};
use super::reads::named;
use super::subjects::subjects;
use super::tables::Tables;
use super::text::text_literal;
use crate::backend::{Backend, BackendError, Evaluation, Inspection, LocalMembers, TableProfile, TableRole};
use crate::model::calendar::Calendar;
use crate::model::catalog::{Access, Catalog, EventTable, Universe};
use crate::model::condition::Subject;
use crate::model::scoring::Score;
use crate::plan::{Batch, BatchFeature, Output};

/// Evaluates batches over files, in this process.
pub struct DataFusionBackend {
    tables: Tables,
}

impl DataFusionBackend {
    /// The backend of these tables.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self { tables }
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The plan of a batch, of one subject or of all.
    fn plan(
        &self,
        batch: &Batch,
        given: &[LocalMembers],
        subject_id: Option<&str>,
        detail: Detail,
    ) -> Result<Assembled, BackendError> {
        let catalog = self.tables.catalog();
        let role = TableRole::of(batch.subject);
        // The place of one subject in a ranking depends on all others.
        let scanned = subject_id.filter(|_| batch.rankings.is_empty());
        let table = catalog.subjects(batch.subject);
        let universe = table.map_or(Universe::Events, |table| table.universe);
        let key = catalog.events.as_ref().and_then(|events| events.key(batch.subject));
        let by_subject = |feature: &BatchFeature| match feature {
            BatchFeature::Measure(_) | BatchFeature::Sequence(_) => true,
            // Where the mapped key is what the signal reads, it is one of the measures of the subject.
            BatchFeature::Signal(signal) => key == Some(&signal.product),
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => false,
        };
        let measured = batch.features.iter().any(by_subject);
        let existence = match universe {
            Universe::Table => Existence::Ignored,
            Universe::Events | Universe::Union => Existence::Counts,
        };
        let needs_events = measured || existence == Existence::Counts;
        let needs_table =
            universe != Universe::Events || batch.features.iter().any(|feature| matches!(feature, BatchFeature::Attribute(_)));

        let calendar = Calendar::new(batch.as_of, &batch.timezone)
            .map_err(|error| BackendError::Engine { operation: "looking up the timezone", source: Box::new(error) })?;
        let local = Local { timezone: batch.timezone.clone(), calendar };
        let planning = |error| self.tables.failure("planning", error);
        let scan_events = |needed| self.tables.counted_scan(TableRole::Events, needed);
        let mut sides = Sides { subjects: None, events: None, signals: Vec::new(), universe };
        if let Some(table) = table.filter(|_| needs_table) {
            let scan = self.tables.counted_scan(role, Vec::new())?;
            sides.subjects = Some((role, subjects(scan, table, batch, &local, scanned).map_err(planning)?));
        }
        if needs_events {
            let (table, key) = self.events_of(batch.subject)?;
            let scope = Scope { subject_id: scanned, existence };
            let asked = Asked { batch, given, local: &local, grouping: Grouping::Subject(key), scope };
            sides.events = Some(events(scan_events, table, asked)?.map_err(planning)?);
        }
        let others: BTreeSet<&Access> = batch
            .features
            .iter()
            .filter_map(|feature| if let BatchFeature::Signal(signal) = feature { Some(&signal.product) } else { None })
            .filter(|product| key != Some(*product))
            .collect();
        for product in others {
            let (table, _) = self.events_of(Subject::User)?;
            let scope = Scope { subject_id: scanned, existence: Existence::Ignored };
            let asked = Asked { batch, given, local: &local, grouping: Grouping::Product(product), scope };
            let mut side = events(scan_events, table, asked)?.map_err(planning)?;
            // Most events name no product at all, and what else does not fit is told by those who read it.
            side.observations.clear();
            sides.signals.push(side);
        }
        let mut assembled = assemble(batch, sides, detail).map_err(planning)?;
        // A scan leaves out others as far as its columns allow.
        if let Some(subject_id) = subject_id {
            let only = named(SUBJECT).eq(text_literal(subject_id));
            let plan = LogicalPlanBuilder::from(assembled.plan).filter(only).and_then(LogicalPlanBuilder::build);
            assembled.plan = plan.map_err(planning)?;
        }
        Ok(assembled)
    }

    /// What a failure means: subjects that have several rows, or what it means to the tables.
    fn failure(&self, subject: Subject, operation: &'static str, failure: DataFusionError) -> BackendError {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&failure);
        while let Some(error) = cause {
            if let Some(Duplicates { count, examples }) = error.downcast_ref() {
                let examples: Vec<String> = examples.iter().map(|key| format!("`{key}`")).collect();
                return BackendError::DuplicateKeys { table: TableRole::of(subject), count: *count, examples: examples.join(", ") };
            }
            cause = error.source();
        }
        self.tables.failure(operation, failure)
    }

    fn events_of(&self, subject: Subject) -> Result<(&EventTable, &Access), BackendError> {
        let missing = |problem: String| BackendError::Mapping { table: TableRole::Events, problem, help: None };
        let table = self.tables.catalog().events.as_ref().ok_or_else(|| missing("there is no table of events".to_owned()))?;
        let key = table.key(subject).ok_or_else(|| missing(format!("no column names the {} of an event", subject.keyword())))?;
        Ok((table, key))
    }
}

#[async_trait]
impl Backend for DataFusionBackend {
    type Members = LocalMembers;

    fn catalog(&self) -> &Catalog {
        self.tables.catalog()
    }

    async fn evaluate(&self, batch: &Batch, given: &[LocalMembers]) -> Result<Evaluation<LocalMembers>, BackendError> {
        let assembled = self.plan(batch, given, None, Detail::Outputs)?;
        let collected = members(&self.tables, &assembled, batch, given).await;
        collected.map_err(|error| self.failure(batch.subject, "evaluating segments", error))
    }

    async fn inspect(&self, batch: &Batch, given: &[LocalMembers], subject_id: &str) -> Result<Inspection, BackendError> {
        let assembled = self.plan(batch, given, Some(subject_id), Detail::Values)?;
        let failure = |error| self.failure(batch.subject, "inspecting a subject", error);
        let found = rows(&self.tables, &assembled).await.map_err(failure)?;
        let outputs = Outputs::new(batch, given);
        let mut inspection = None;
        for batch_of_rows in &found {
            let told = outputs.evaluate(batch_of_rows).map_err(failure)?;
            let subjects = column(batch_of_rows, SUBJECT).map_err(failure)?;
            for row in (0..batch_of_rows.num_rows()).filter(|row| subjects.is_valid(*row)) {
                inspection = Some(inspected(batch, &assembled, batch_of_rows, &told, row).map_err(failure)?);
            }
        }
        Ok(inspection.filter(|inspection| inspection.in_universe).unwrap_or_else(|| Inspection::outside(batch)))
    }

    async fn show_plan(&self, batch: &Batch) -> Result<String, BackendError> {
        let assembled = self.plan(batch, &[], None, Detail::Outputs)?;
        let optimized = state(&self.tables).optimize(&assembled.plan);
        let optimized = optimized.map_err(|error| self.tables.failure("planning", error))?;
        Ok(format!("{}{}", described(batch), optimized.display_indent()))
    }

    async fn profile(&self, table: TableRole) -> Result<TableProfile, BackendError> {
        super::profile::profile(&self.tables, table).await
    }
}

fn inspected(batch: &Batch, assembled: &Assembled, rows: &RecordBatch, told: &Found, row: usize) -> DataFusionResult<Inspection> {
    let holds = |name: String| booleans(rows, &name).map(|column| column.is_valid(row) && column.value(row));
    let values = assembled.values.iter().enumerate().map(|(index, form)| {
        let count = rows.column_by_name(&count_column(index)).map(|counts| counts.as_primitive::<Int64Type>().value(row));
        form.show(column(rows, &value_column(index))?, row, count)
    });
    Ok(Inspection {
        in_universe: holds(IN_UNIVERSE.to_owned())?,
        values: values.collect::<DataFusionResult<_>>()?,
        tests: (0..batch.tests.len()).map(|index| holds(test_column(index))).collect::<DataFusionResult<_>>()?,
        outputs: told.outputs.iter().map(|holds| holds.value(row)).collect(),
        scores: batch.outputs.iter().map(|output| score_of(output, told, row)).collect(),
    })
}

fn score_of(output: &Output, told: &Found, row: usize) -> Option<Score> {
    let scores = told.scores.get(output.score?)?.as_ref()?;
    Score::of_billionths(scores.as_primitive::<Int64Type>().value(row))
}
