//! Executes a plan and takes its rows apart: ids, one bitmap per output, counts, and what was scanned.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayBuilder, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, StringBuilder};
use datafusion::arrow::compute::filter;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use roaring::RoaringBitmap;

use super::assembly::{Assembled, IN_UNIVERSE, Observed, SUBJECT};
use super::function::text_argument;
use super::measure::{Seen, SubjectsExec};
use super::outputs::{Found, Outputs};
use super::tables::Tables;
use crate::backend::{Effort, Evaluation, LocalMembers, Observation, ObservationKind, Scan, SortedIds, Stage, TableRole};
use crate::model::scoring::Score;
use crate::plan::Batch;

/// Executes the plan and collects the members of its outputs.
pub(super) async fn members(
    tables: &Tables,
    assembled: &Assembled,
    batch: &Batch,
    given: &[LocalMembers],
) -> Result<Evaluation<LocalMembers>> {
    let state = state(tables);
    let (planning, running) = (Time::new(), Time::new());
    let timer = planning.timer();
    let physical = state.create_physical_plan(&assembled.plan).await?;
    drop(timer);
    let timer = running.timer();
    let mut rows = execute_stream(Arc::clone(&physical), state.task_ctx())?;
    let evaluator = Outputs::new(batch, given);
    let telling = Time::new();
    let mut members = Members {
        ids: StringBuilder::new(),
        settled: 0,
        outputs: batch
            .outputs
            .iter()
            .map(|output| Output {
                selected: RoaringBitmap::new(),
                last: BooleanBufferBuilder::new(RUN),
                score: output.score,
                scores: Vec::new(),
            })
            .collect(),
    };
    while let Some(batch) = rows.try_next().await? {
        let _telling = telling.timer();
        let found = evaluator.evaluate(&batch)?;
        members.add(&batch, &found)?;
    }
    drop((rows, timer));
    let stage = |name, time: &Time| Stage { name, time: Duration::from_nanos(time.value() as u64) };
    let mut effort = effort(batch, &physical);
    effort.stages.insert(0, stage("plan", &planning));
    effort.stages.push(stage("tell members", &telling));
    effort.stages.push(stage("evaluate, from scan to members", &running));
    members.finish(observations(&assembled.observations, &physical), tables.scans(&physical), effort)
}

/// What an executed plan shared, and where its time went.
fn effort(batch: &Batch, plan: &Arc<dyn ExecutionPlan>) -> Effort {
    let mut effort = Effort::of(batch);
    let visited = plan.apply(|node| {
        let Some(subjects) = node.downcast_ref::<SubjectsExec>() else { return Ok(TreeNodeRecursion::Continue) };
        effort.measures = subjects.measures();
        effort.passes = subjects.passes();
        effort.stages = subjects.stages();
        Ok(TreeNodeRecursion::Stop)
    });
    debug_assert!(visited.is_ok(), "the visit cannot fail");
    effort
}

/// What an executed plan counted.
fn observations(observed: &Observed, plan: &Arc<dyn ExecutionPlan>) -> Vec<Observation> {
    let mut found = Vec::new();
    let mut observe = |table: TableRole, kind: &ObservationKind, count: u64| {
        if count > 0 {
            found.push(Observation { table, kind: kind.clone(), count });
        }
    };
    let visited = plan.apply(|node| {
        let Some(subjects) = node.downcast_ref::<SubjectsExec>() else { return Ok(TreeNodeRecursion::Continue) };
        if let Some(role) = observed.role {
            let Seen { keyless, counts, .. } = subjects.observed();
            observe(role, &ObservationKind::MissingKey, keyless);
            observed.subjects.iter().zip(counts).for_each(|(kind, count)| observe(role, kind, count));
        }
        if let Some(kinds) = &observed.events {
            let Seen { keyless, timeless, counts } = subjects.observed_of(0);
            observe(TableRole::Events, &ObservationKind::MissingKey, keyless);
            observe(TableRole::Events, &ObservationKind::MissingTime, timeless);
            kinds.iter().zip(counts).for_each(|(kind, count)| observe(TableRole::Events, kind, count));
        }
        Ok(TreeNodeRecursion::Stop)
    });
    debug_assert!(visited.is_ok(), "the visit cannot fail");
    found.sort();
    found
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

/// Positions that are kept as bits before they go into sets, which hold runs of so many.
const RUN: usize = 1 << 16;

/// What was found of one output.
struct Output {
    selected: RoaringBitmap,
    /// Of the last subjects, whether each is in it.
    last: BooleanBufferBuilder,
    /// By which of the batch's scores its members are told, when by one.
    score: Option<usize>,
    /// Of each member, ascending.
    scores: Vec<Score>,
}

impl Output {
    /// Takes the bits of the last subjects, the first of which has this position; positions are taken by eights.
    fn settle(&mut self, first: usize) -> Result<()> {
        let first = u32::try_from(first).map_err(|_| too_many())?;
        self.selected |= RoaringBitmap::from_lsb0_bytes(first, self.last.as_slice());
        self.last.truncate(0);
        Ok(())
    }

    fn members(self, ids: &Arc<SortedIds>) -> LocalMembers {
        let members = LocalMembers::new(Arc::clone(ids), self.selected);
        if self.score.is_some() { members.with_scores(self.scores) } else { members }
    }
}

struct Members {
    ids: StringBuilder,
    /// How many subjects are in the bitmaps.
    settled: usize,
    outputs: Vec<Output>,
}

impl Members {
    fn add(&mut self, batch: &RecordBatch, found: &Found) -> Result<()> {
        let subjects = text_argument(&[Arc::clone(column(batch, SUBJECT)?)], 0)?;
        let in_universe = booleans(batch, IN_UNIVERSE)?;
        let rows = if in_universe.true_count() == batch.num_rows() { None } else { Some(in_universe) };
        for row in (0..batch.num_rows()).filter(|row| rows.is_none_or(|rows| rows.is_valid(*row) && rows.value(*row))) {
            self.append(subjects.value(row))?;
        }
        for (output, holds) in self.outputs.iter_mut().zip(&found.outputs) {
            let holds = match rows {
                Some(rows) => filter(&BooleanArray::new(holds.clone(), None), rows)?.as_boolean().values().clone(),
                None => holds.clone(),
            };
            output.last.append_buffer(&holds);
            if let Some(scores) = output.score.and_then(|score| found.scores.get(score)).and_then(Option::as_ref) {
                let scores = rows.map_or_else(|| Ok(Arc::clone(scores)), |rows| filter(scores, rows))?;
                let scores = scores.as_primitive::<Int64Type>();
                output.scores.extend(holds.set_indices().filter_map(|row| Score::of_billionths(scores.value(row))));
            }
        }
        self.settle(RUN)
    }

    /// Puts what was found of the last subjects into the sets when there are so many of them, and they end with a whole byte.
    fn settle(&mut self, least: usize) -> Result<()> {
        let last = self.ids.len() - self.settled;
        if last < least || (least > 0 && !last.is_multiple_of(8)) {
            return Ok(());
        }
        for output in &mut self.outputs {
            output.settle(self.settled)?;
        }
        self.settled += last;
        Ok(())
    }

    fn append(&mut self, subject: &str) -> Result<()> {
        if u32::try_from(self.ids.len() + 1).is_err() || self.ids.values_slice().len() + subject.len() > i32::MAX as usize {
            return Err(too_many());
        }
        self.ids.append_value(subject);
        Ok(())
    }

    fn finish(mut self, observations: Vec<Observation>, scans: Vec<Scan>, effort: Effort) -> Result<Evaluation<LocalMembers>> {
        self.settle(0)?;
        let ids = SortedIds::new(self.ids.finish()).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let ids = Arc::new(ids);
        Ok(Evaluation {
            universe: LocalMembers::all(Arc::clone(&ids)),
            outputs: self.outputs.into_iter().map(|output| output.members(&ids)).collect(),
            observations,
            scans,
            effort,
        })
    }
}

fn too_many() -> DataFusionError {
    DataFusionError::ResourcesExhausted("the ids of all subjects take more than 2 GiB".to_owned())
}
