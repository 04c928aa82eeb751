//! What a table holds, for authors: what is counted over all rows, beside a closer look at a sample of them.

mod paths;
mod tally;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{BackendError, PropertyProfile, TableRole};
use crate::model::catalog::{Access, Catalog, ColumnType, Table};
use crate::model::property::PropertyPath;

pub(super) use self::paths::Sample;
pub(super) use self::tally::Tally;

/// Rows of the sample.
pub(super) const SAMPLE_ROWS: usize = 100_000;

/// Event types that are counted; in a table with more, the first of them.
pub(super) const EVENT_TYPES: usize = 10_000;

/// What is counted over all rows.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    /// Rows with a value, by the path of a column or of a field in a struct.
    pub(super) present: BTreeMap<Vec<String>, u64>,
}

/// The columns of a table, and what says when and what its events are.
pub(super) type Parts<'a> = (&'a Table, Option<&'a Access>, Option<&'a Access>);

/// The parts of a table.
///
/// # Errors
/// When the tenant has none.
pub(super) fn parts(catalog: &Catalog, role: TableRole) -> Result<Parts<'_>, BackendError> {
    let found = match role {
        TableRole::Users => catalog.users.as_ref().map(|users| (&users.table, None, None)),
        TableRole::Products => catalog.products.as_ref().map(|products| (&products.table, None, None)),
        TableRole::Events => {
            catalog.events.as_ref().map(|events| (&events.table, Some(&events.timestamp), events.event_type.as_ref()))
        }
    };
    found.ok_or_else(|| absent(role))
}

/// That a tenant has no such table.
pub(super) fn absent(table: TableRole) -> BackendError {
    BackendError::Mapping { table, problem: "the tenant has no such table".to_owned(), help: None }
}

/// The properties of a table in the order of its columns, and what was found below those.
pub(super) fn properties(table: &Table, counts: &Counts, sample: &Sample) -> Vec<PropertyProfile> {
    let mut found = Vec::new();
    for (name, stored) in &table.columns {
        describe(std::slice::from_ref(name), stored, counts, sample, &mut found);
    }
    found
}

/// The property at a path, and those below it.
fn describe(path: &[String], stored: &ColumnType, counts: &Counts, sample: &Sample, found: &mut Vec<PropertyProfile>) {
    if let ColumnType::Struct(fields) = stored {
        for (name, field) in fields {
            let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            describe(&path, field, counts, sample, found);
        }
        return;
    }
    let missing = counts.rows.saturating_sub(counts.present.get(path).copied().unwrap_or(0));
    let top = sample.top(path);
    found.push(PropertyProfile { property: written(path), type_name: stored.to_string(), missing, looked_at: counts.rows, top });
    for (below, type_name, missing, top) in sample.below(path) {
        found.push(PropertyProfile { property: written(below), type_name, missing, looked_at: sample.rows(), top });
    }
}

fn written(path: &[String]) -> String {
    PropertyPath::from_keys(path.to_vec()).map(|path| path.to_string()).unwrap_or_default()
}

/// An instant in microseconds as it is shown.
pub(super) fn instant(micros: i64) -> Option<String> {
    Timestamp::from_microsecond(micros).ok().map(|at| at.to_string())
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
