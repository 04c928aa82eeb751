//! The embedded backend: logical plans of DataFusion over files.

mod mapping;
mod session;
mod source;
mod tables;

pub use session::session;
pub use tables::{MemoryTables, Tables};
