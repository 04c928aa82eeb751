//! What a table holds, for authors.

use super::tables::Tables;
use crate::backend::{BackendError, TableProfile, TableRole};

/// The profile of a table.
pub(super) async fn profile(tables: &Tables, table: TableRole) -> Result<TableProfile, BackendError> {
    let rows = tables.scan(table)?;
    Err(BackendError::Mapping { table, problem: format!("no profile of {} columns", rows.schema().fields().len()), help: None })
}
