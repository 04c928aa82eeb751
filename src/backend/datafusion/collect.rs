//! Executes a plan and takes its rows apart: ids, one bitmap per output, counts, and what was scanned.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayBuilder, ArrayRef, AsArray, BooleanArray, Int64Array, StringBuilder};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use roaring::RoaringBitmap;

use super::assembly::{Assembled, IN_UNIVERSE, SUBJECT, observation_column, output_column};
use super::function::text_argument;
use super::score::score_column;
use super::tables::Tables;
use crate::backend::{Evaluation, LocalMembers, Observation, Scan, SortedIds};
use crate::model::scoring::Score;
use crate::plan::Batch;

/// Keys that an error about duplicates names.
const EXAMPLES: usize = 3;

/// What a plan came to.
#[derive(Debug)]
pub(super) enum Collected {
    /// Its members.
    Evaluation(Evaluation<LocalMembers>),
    /// The subjects table has several rows of one subject.
    Duplicates {
        /// How many subjects.
        count: u64,
        /// The first of them.
        examples: Vec<String>,
    },
}

/// Executes the plan and collects the members of its outputs.
pub(super) async fn members(tables: &Tables, assembled: &Assembled, batch: &Batch) -> Result<Collected> {
    let state = state(tables);
    let physical = state.create_physical_plan(&assembled.plan).await?;
    let mut rows = execute_stream(Arc::clone(&physical), state.task_ctx())?;
    let mut members = Members {
        ids: StringBuilder::new(),
        last: None,
        duplicates: 0,
        last_duplicate: None,
        examples: Vec::new(),
        outputs: batch
            .outputs
            .iter()
            .map(|output| Output { selected: RoaringBitmap::new(), score: output.score(), scores: Vec::new() })
            .collect(),
        observed: vec![0; assembled.observations.len()],
    };
    while let Some(batch) = rows.try_next().await? {
        members.add(&batch)?;
    }
    drop(rows);
    members.finish(assembled, tables.scans(&physical))
}

/// Executes the plan and collects its rows.
pub(super) async fn rows(tables: &Tables, assembled: &Assembled) -> Result<Vec<RecordBatch>> {
    let state = state(tables);
    let physical = state.create_physical_plan(&assembled.plan).await?;
    datafusion::physical_plan::collect(physical, state.task_ctx()).await
}

/// The state in which plans are optimised and run.
pub(super) fn state(tables: &Tables) -> SessionState {
    let mut state = tables.session().state();
    // DataFusion's `IS TRUE` is never NULL in a logical plan and may be in the physical one: the check would refuse every aggregate.
    state.config_mut().options_mut().execution.skip_physical_aggregate_schema_check = true;
    state
}

/// A column of a result.
pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| DataFusionError::Internal(format!("the result has no column `{name}`")))
}

/// A boolean column of a result.
pub(super) fn booleans<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray> {
    column(batch, name)?.as_boolean_opt().ok_or_else(|| DataFusionError::Internal(format!("column `{name}` is not boolean")))
}

/// The scores of the batch, in billionths.
pub(super) fn scores(batch: &RecordBatch, index: usize) -> Result<&Int64Array> {
    let name = score_column(index);
    column(batch, &name)?.as_primitive_opt().ok_or_else(|| DataFusionError::Internal(format!("column `{name}` holds no scores")))
}

/// What was found of one output.
struct Output {
    selected: RoaringBitmap,
    /// By which of the batch's scores its members are told, when by one.
    score: Option<usize>,
    /// Of each member, ascending.
    scores: Vec<Score>,
}

impl Output {
    fn members(self, ids: &Arc<SortedIds>) -> LocalMembers {
        let members = LocalMembers::new(Arc::clone(ids), self.selected);
        if self.score.is_some() { members.with_scores(self.scores) } else { members }
    }
}

struct Members {
    ids: StringBuilder,
    last: Option<String>,
    duplicates: u64,
    last_duplicate: Option<String>,
    examples: Vec<String>,
    outputs: Vec<Output>,
    observed: Vec<u64>,
}

impl Members {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let subjects = text_argument(&[Arc::clone(column(batch, SUBJECT)?)], 0)?;
        let in_universe = booleans(batch, IN_UNIVERSE)?;
        for (index, total) in self.observed.iter_mut().enumerate() {
            let counts = column(batch, &observation_column(index))?.as_primitive::<Int64Type>();
            *total += counts.iter().flatten().map(i64::unsigned_abs).sum::<u64>();
        }
        let mut positions = vec![None; batch.num_rows()];
        for (row, position) in positions.iter_mut().enumerate() {
            if subjects.is_null(row) {
                continue;
            }
            let subject = subjects.value(row);
            if self.last.as_deref() == Some(subject) {
                self.duplicate(subject);
            } else if in_universe.value(row) {
                *position = Some(self.append(subject)?);
            }
            self.last = Some(subject.to_owned());
        }
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let holds = booleans(batch, &output_column(index))?;
            let scores = output.score.map(|index| scores(batch, index)).transpose()?;
            for (row, position) in positions.iter().enumerate() {
                if let Some(position) = position.filter(|_| holds.is_valid(row) && holds.value(row)) {
                    output.selected.insert(position);
                    output.scores.extend(scores.and_then(|scores| Score::of_billionths(scores.value(row))));
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, subject: &str) -> Result<u32> {
        let too_many = || DataFusionError::ResourcesExhausted("the ids of all subjects take more than 2 GiB".to_owned());
        let position = u32::try_from(self.ids.len()).map_err(|_| too_many())?;
        if self.ids.values_slice().len() + subject.len() > i32::MAX as usize {
            return Err(too_many());
        }
        self.ids.append_value(subject);
        Ok(position)
    }

    /// Counts each subject of several rows once: its rows stand together.
    fn duplicate(&mut self, subject: &str) {
        if self.last_duplicate.as_deref() == Some(subject) {
            return;
        }
        self.duplicates += 1;
        self.last_duplicate = Some(subject.to_owned());
        if self.examples.len() < EXAMPLES {
            self.examples.push(subject.to_owned());
        }
    }

    fn finish(mut self, assembled: &Assembled, scans: Vec<Scan>) -> Result<Collected> {
        if self.duplicates > 0 {
            return Ok(Collected::Duplicates { count: self.duplicates, examples: self.examples });
        }
        let ids = SortedIds::new(self.ids.finish()).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let ids = Arc::new(ids);
        let mut observations: Vec<Observation> = assembled
            .observations
            .iter()
            .zip(self.observed)
            .filter(|(_, count)| *count > 0)
            .map(|((table, kind), count)| Observation { table: *table, kind: kind.clone(), count })
            .collect();
        observations.sort();
        Ok(Collected::Evaluation(Evaluation {
            universe: LocalMembers::all(Arc::clone(&ids)),
            outputs: self.outputs.into_iter().map(|output| output.members(&ids)).collect(),
            observations,
            scans,
        }))
    }
}
