//! Measures over events, in one pass: an operator of ours in the engine's plans, because its aggregates with a filter cost something
//! for each measure and row, and here a row costs something only for the measures of its own event type.
//!
//! ```text
//! batch of events -> who, when, which type -> by route and shard -> values, filters -> tallies of each shard -> columns of subjects
//!                     sieve, numbering         router, shards        machine            tally, bands
//! ```
//!
//! - A *measure* is a set of event types, a filter and an aggregate with all of its windows: windows are runs of bands of time, and an
//!   event falls into one band.
//! - A *route* is the set of measures that look at events of a type: an event is read once, for those alone.
//! - Subjects are numbered in the order of their ids, so that the join with the subjects table, and the order of the result, cost
//!   nothing more.
//! - A *shard* is a run of subjects with tallies of its own. Threads meet in shards, and when memory does not suffice for all of them,
//!   the last ones are given up, and computed in a further pass.

mod bands;
mod bucket;
mod compile;
mod exec;
mod machine;
mod node;
mod numbering;
mod program;
mod reading;
mod router;
mod shards;
mod sieve;
mod tally;
mod universe;
mod worker;

pub(super) use exec::{Duplicates, SubjectsExec};
pub(super) use node::{OutputColumn, Side, Spec, SubjectReads, SubjectsNode, SubjectsPlanner};
pub(super) use numbering::{Numbering, UNKNOWN};
pub(super) use program::{Existence, MeasureColumns, Met, Places, PlannedMeasure, Program, Route, Routes};
pub(super) use tally::{End, Kind, Pattern};
pub(super) use worker::Seen;
