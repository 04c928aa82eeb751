//! The embedded backend: logical plans of DataFusion over files.
//!
//! ```text
//! scan events -> read values -> conditions -> aggregate by subject -> tests ┐
//! scan subjects -> read values ----------------------------------> tests ┴ full join -> samples, rankings -> scores, outputs -> sort
//! ```
//!
//! A batch is one plan: its events are scanned once, however many segments look at them. What a definition says stands in the plan as
//! DataFusion's own expressions; functions of ours only read values.

mod pool;
mod session;
mod source;
mod tables;
mod rows;
mod profile;
mod form;
mod function;
mod text;
mod scalar;
mod number;
mod quotient;
mod bounds;
mod date;
mod elements;
mod json;
mod hash;
mod ranking;
mod score;
mod compare;
mod members;
mod failure;
mod step_mask;
mod measure;
mod order;
mod predicate;
mod reads;
mod subjects;
mod events;
mod assembly;
mod outputs;
mod collect;
mod backend;
mod audience;

pub use audience::{ArrangedRows, MemberRows, in_order};
pub use backend::DataFusionBackend;
pub use profile::{SAMPLE_FILES, profile};
pub use rows::Rows;
pub use session::session;
pub use tables::{MemoryTables, Tables};

#[cfg(test)]
mod tests;
