//! Faults of operators of ours.

use datafusion::common::DataFusionError;

/// An error of ours.
pub(super) fn internal(problem: &str) -> DataFusionError {
    DataFusionError::Internal(problem.to_owned())
}

/// More of something than can be numbered.
pub(super) fn too_many(what: &str) -> DataFusionError {
    DataFusionError::ResourcesExhausted(format!("there are more than 2^32 {what}"))
}
