//! When and what: configuration, which segments are due, one run of a tenant, and the loop around it. The only floor that joins a
//! backend with the ledger of its place.

pub mod audience;
pub mod backfill;
pub mod config;
pub mod definitions;
pub mod due;
pub mod end;
mod error;
pub mod jobs;
pub mod load;
pub mod local;
pub mod overrides;
pub mod place;
pub mod run;
pub mod scheduler;
pub mod server;
pub mod upkeep;

pub use error::{Error, ErrorKind};
