//! The embedded backend: logical plans of DataFusion over files.

mod session;
mod source;
