//! The one maker of sessions: threads, memory, spilling, and the few options of the engine that differ from its own defaults.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::measure::SubjectsPlanner;
use super::pool::HoldersPool;
use crate::backend::BackendError;
use crate::backend::tables::EngineSettings;

/// How many of the largest consumers an error about memory names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// Rows of a batch. Larger than the engine's own, since the events of a batch are sorted by route and
/// shard, and what is done for each of those should not show.
const BATCH_ROWS: usize = 32 * 1024;

/// Of the limit, the part that a sort keeps for putting together what it spilled, where that is less than the engine's own.
const MERGE_PART: usize = 32;

/// Files below this many bytes are not split between threads.
const SPLIT_FILES_FROM: usize = 1024 * 1024;

/// A session of the embedded engine; one serves one run.
///
/// # Errors
/// When there is no place to spill to.
pub fn session(settings: &EngineSettings) -> Result<SessionContext, BackendError> {
    let spill = match &settings.spill {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let mut runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(DiskManagerBuilder::default().with_mode(spill));
    if let Some(limit) = settings.memory_limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        runtime = runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(HoldersPool::new(limit), NAMED_CONSUMERS)));
    }
    let runtime = runtime
        .build_arc()
        .map_err(|source| BackendError::Engine { operation: "preparing its memory and spill folder", source: source.into() })?;
    let state = SessionStateBuilder::new_with_default_features().with_config(config(settings)).with_runtime_env(runtime);
    Ok(SessionContext::new_with_state(state.with_query_planner(Arc::new(Planner)).build()))
}

/// Makes plans physical, those with an operator of ours too.
#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SubjectsPlanner)]).create_physical_plan(plan, state).await
    }
}

fn config(settings: &EngineSettings) -> SessionConfig {
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads,
    };
    let batch_rows = if settings.batch_rows == 0 { BATCH_ROWS } else { settings.batch_rows };
    let mut config =
        SessionConfig::new().with_target_partitions(threads).with_batch_size(batch_rows).with_information_schema(false);
    let options = config.options_mut();
    options.optimizer.repartition_file_min_size = SPLIT_FILES_FROM;
    if let Some(limit) = settings.memory_limit {
        // Every thread of a sort takes as much beside its rows, and two sorts may be at work.
        let part = usize::try_from(limit).unwrap_or(usize::MAX) / MERGE_PART / threads.max(1);
        options.execution.sort_spill_reservation_bytes = options.execution.sort_spill_reservation_bytes.min(part);
    }
    // The oldest form of timestamps in Parquet counts nanoseconds, which overflow on dates that are merely far away, and its
    // writers mean instants.
    options.execution.parquet.coerce_int96 = Some("us".to_owned());
    options.execution.parquet.coerce_int96_tz = Some("UTC".to_owned());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_session() {
        let settings = EngineSettings { memory_limit: Some(1 << 20), threads: 3, batch_rows: 100, spill: None };
        let context = session(&settings).unwrap();
        assert_eq!(context.state().config().target_partitions(), 3);
        assert_eq!(context.state().config().batch_size(), 100);
        let limit = context.runtime_env().memory_pool.memory_limit();
        assert!(matches!(limit, datafusion::execution::memory_pool::MemoryLimit::Finite(1_048_576)));
        assert!(!context.state().config_options().execution.parquet.pushdown_filters);
        assert_eq!(context.state().config_options().execution.sort_spill_reservation_bytes, (1 << 20) / 32 / 3);
    }
}
