//! The embedded backend: logical plans of DataFusion over files.

mod mapping;
mod profile;
mod session;
mod source;
mod tables;

pub use profile::{SAMPLE_FILES, SAMPLE_ROWS, profile};
pub use session::session;
pub use tables::{MemoryTables, Tables};
