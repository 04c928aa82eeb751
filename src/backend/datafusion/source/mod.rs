//! Files of every kind to one table of canonical types. Knows nothing of segments: it lists files, unifies what they hold, and reads
//! it as a table of the engine.
//!
//! ```text
//! locate: texts of the configuration -> files      inspect: file -> names and types      unify: those of all files -> columns
//! provider: the table, for plans                   parquet, sequential: how files are read      convert: stored -> canonical values
//! ```

mod convert;
mod declare;
mod decode;
mod delimited;
mod fault;
mod inspect;
mod instant;
mod ipc;
mod locate;
mod ndjson;
mod types;

use fault::fault;
