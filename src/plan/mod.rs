//! Many segments, one batch: every feature once, whoever asks for it; every date an instant; segments in the order of their
//! references. A batch is what a backend executes.

mod batch;
mod planner;

pub use batch::{
    Batch, BatchComparison, BatchFeature, BatchMeasure, BatchRanking, BatchRowTest, BatchSequence, BatchSignal, BatchStep,
    BatchTest, BatchValue, Given, GivenSet, Leaf, Output, OutputName,
};
pub(crate) use planner::bind_date;
pub use planner::{Overridden, PlanError, Population, Question, Reference, Request, plan, plan_all};
