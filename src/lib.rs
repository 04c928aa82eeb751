//! Audience segmentation over columnar tables: who is in which segment, since when, and why.
//!
//! A segment denotes a set of subjects (users or products). The code is one line of named steps, each with its own type and floor:
//!
//! ```text
//! parse  ->  check  ->  lower  ->  normalize  ->  plan  ->  run  ->  commit
//! syntax     check      ir         ir             plan      backend  store      with `refresh` deciding when
//! ```
//!
//! The modules stand in the order of the floors: each uses only those above it.

pub mod clickhouse;
pub mod clock;
pub mod diagnostic;
pub mod model;
pub mod generate;
pub mod syntax;
pub mod check;
pub mod ir;
pub mod plan;
pub mod lint;
pub mod backend;
pub mod store;
pub mod refresh;
pub mod cli;
