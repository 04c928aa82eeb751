//! A ClickHouse server: what is said to it, over HTTP, and what may come of that. Both the backend and the ledger of ClickHouse stand on
//! this floor; it knows neither tables of tenants nor members.

mod answer;
mod codes;
mod connection;
mod error;
mod form;
mod settings;
mod statement;
mod types;

pub use connection::{Answer, Connection, Effort};
pub use error::Error;
pub(crate) use form::{FIELD, pieces};
pub use settings::{Secret, Settings};
pub use statement::{Bound, Statement, Value, quoted};
pub use types::{InvalidType, ServerType};
