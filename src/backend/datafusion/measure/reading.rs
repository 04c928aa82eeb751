//! Events on their way to a pass: threads that read them, ahead of the subjects where these take longer.

use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;
use tokio::sync::watch;

use super::machine::Machine;
use super::worker::{Counted, Look, Pass, Worker};
use crate::backend::datafusion::failure::internal;

/// Whether an input was read before in this execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    First,
    Later,
}

/// The events of a program, which are being read. Until the pass is there that they are read for, each thread puts by a few of those
/// that some measure takes.
pub(super) struct Reading {
    tasks: Vec<SpawnedTask<Result<Worker>>>,
    pass: watch::Sender<Option<Arc<Pass>>>,
}

/// Bytes of events that a thread puts by.
const AHEAD: usize = 32 * 1024 * 1024;

impl Reading {
    /// Begins to read.
    pub(super) fn start(
        input: &Arc<dyn ExecutionPlan>,
        machine: &Arc<Machine>,
        counted: &Arc<Counted>,
        round: Round,
        context: &Arc<TaskContext>,
    ) -> Result<Self> {
        let input = match round {
            Round::First => Arc::clone(input),
            Round::Later => reset_plan_states(Arc::clone(input))?,
        };
        let (pass, ready) = watch::channel(None);
        let tasks = (0..input.output_partitioning().partition_count()).map(|partition| {
            let events = input.execute(partition, Arc::clone(context))?;
            let reserved = MemoryConsumer::new("events that wait").register(context.memory_pool());
            let worker = Worker::new(Arc::clone(machine), Arc::clone(counted), reserved);
            Ok(SpawnedTask::spawn(Self::read(events, worker, Arc::clone(counted), ready.clone())))
        });
        Ok(Self { tasks: tasks.collect::<Result<_>>()?, pass })
    }

    /// What one thread does.
    async fn read(
        mut events: SendableRecordBatchStream,
        mut worker: Worker,
        counted: Arc<Counted>,
        mut ready: watch::Receiver<Option<Arc<Pass>>>,
    ) -> Result<Worker> {
        let mut next = async || {
            let _scanning = counted.times.scan.timer();
            events.try_next().await
        };
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        while bytes < AHEAD && ready.borrow().is_none() {
            let Some(batch) = next().await? else { break };
            let sifted = worker.sift(batch)?.compact()?;
            bytes += sifted.batch.get_array_memory_size();
            waiting.push(sifted);
        }
        let pass = ready.wait_for(Option::is_some).await.map_err(|_| internal("a pass that was called off"))?.clone();
        let pass = pass.ok_or_else(|| internal("a pass that is not there"))?;
        for sifted in waiting {
            worker.meet(&pass, sifted)?;
        }
        while let Some(batch) = next().await? {
            let sifted = worker.sift(batch)?;
            worker.meet(&pass, sifted)?;
        }
        worker.tally(&pass)?;
        Ok(worker)
    }

    /// Lets the events meet the tallies of a pass, all of them.
    pub(super) async fn finish(self, pass: &Arc<Pass>, look: Look) -> Result<()> {
        self.pass.send_replace(Some(Arc::clone(pass)));
        let mut workers = Vec::new();
        for task in self.tasks {
            workers.push(task.join().await.map_err(ended)??);
        }
        workers.into_iter().for_each(|worker| worker.end(look));
        Ok(())
    }
}

/// A thread that did not come to its end.
pub(super) fn ended(error: tokio::task::JoinError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
