//! Files of every kind to one table of canonical types. Knows nothing of segments: it lists files, unifies what they hold, and reads
//! it as a table of the engine.
//!
//! ```text
//! locate    texts of the configuration -> files         parquet     how the engine's own reader delivers columns
//! inspect   file -> names, types, whether a row         sequential  every other format, by ipc, delimited and ndjson
//! columns   those of all files -> columns               convert     stored -> canonical values, by instant and declare
//! provider  all of it as a table, for plans
//! ```

mod columns;
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
mod parquet;
mod provider;
mod sequential;
mod types;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Expr;
use indexmap::IndexMap;

pub(super) use columns::Presence;
pub(super) use fault::fault;
pub(super) use instant::{Zones, count_to_micros, text_to_micros};
pub(super) use provider::scanned_table;

use columns::columns;
use inspect::{Rows, inspect};
use locate::Listing;
use provider::FileTable;

use crate::backend::tables::{Declared, Format};
use crate::backend::{BackendError, TableRole};
use crate::model::catalog::ColumnType;
use crate::model::property::PropertyPath;

/// What the configuration says of a source, whatever its table is for.
pub(super) struct Settings<'a> {
    pub(super) table: TableRole,
    pub(super) source: &'a [String],
    pub(super) columns: &'a IndexMap<String, Declared>,
    /// Columns that a table without any file has, since the configuration names them.
    pub(super) implied: Vec<(&'a str, Declared)>,
    pub(super) zones: Arc<Zones>,
    pub(super) empty: Empty,
    pub(super) format: Option<Format>,
    pub(super) delimiter: Option<char>,
}

/// Whether a table may have no file and no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    Allowed,
    Refused,
}

/// A source, opened.
pub(super) struct Opened {
    table: Arc<FileTable>,
    /// Every column, those that are not read included.
    pub(super) columns: IndexMap<String, ColumnType>,
    pub(super) files: Vec<Placed>,
    /// The zones of times without one.
    pub(super) zones: Arc<Zones>,
    /// How many scans it takes to read all of it: one for the files of a format in a store.
    pub(super) parts: usize,
}

impl Opened {
    /// All rows.
    pub(super) fn provider(&self) -> Arc<dyn TableProvider> {
        Arc::clone(&self.table) as Arc<dyn TableProvider>
    }

    /// All rows, with the [presences](Opened::presences) as further columns. Files may be skipped that hold no row for which all of
    /// the conditions hold, and parts of files.
    pub(super) fn provider_with_presences(&self, needed: Vec<Expr>) -> Arc<dyn TableProvider> {
        Arc::new(self.table.with_presences(needed))
    }

    /// Where values are that may be lost to what their columns were declared to be.
    pub(super) fn presences(&self) -> &[Presence] {
        self.table.presences()
    }

    /// The rows of the file at a position, as a table of the same columns.
    pub(super) fn file(&self, position: usize) -> Option<Arc<dyn TableProvider>> {
        Some(Arc::new(self.table.only(position)?))
    }
}

/// Where a file is.
pub(super) struct Placed {
    /// In its store.
    pub(super) place: object_store::path::Path,
    /// For people.
    pub(super) location: String,
}

/// Lists a source anew, looks into its files and unifies what they hold.
pub(super) async fn open(settings: &Settings<'_>, base: &Path, runtime: &RuntimeEnv) -> Result<Opened, BackendError> {
    let table = settings.table;
    let listing = Listing { table, base, format: settings.format, runtime };
    let mut files = Vec::new();
    for source in settings.source {
        let found = listing.files(source).await?;
        if found.is_empty() && settings.empty == Empty::Refused {
            let none = fault(table, source, "holds no file");
            let help = "Parquet, Arrow IPC, CSV and NDJSON files count, by their names; set `allow_empty = true` if none is right.";
            return Err(none.help(help).into());
        }
        files.extend(found);
    }
    let contents = inspect(table, &files, settings.delimiter, runtime).await?;
    if settings.empty == Empty::Refused && contents.iter().all(|contents| contents.rows == Rows::Exactly(0)) {
        let none = fault(table, settings.source.join("`, `"), "holds no row");
        return Err(none.help("Set `allow_empty = true` if that is right.").into());
    }
    let files: Vec<_> = files.into_iter().zip(contents).collect();
    let mut declared = settings.columns.clone();
    if files.is_empty() {
        for (path, stored) in &settings.implied {
            let column = path.parse().ok().and_then(|path: PropertyPath| path.keys().first().cloned());
            if let Some(column) = column {
                declared.entry(column).or_insert(*stored);
            }
        }
    }
    let columns = columns(table, &files, &declared, &settings.zones)?;
    let types = columns.types.clone();
    let placed =
        files.iter().map(|(file, _)| Placed { place: file.meta.location.clone(), location: file.location.clone() }).collect();
    let parts: BTreeSet<_> = files.iter().map(|(file, _)| (file.store.as_str().to_owned(), file.format)).collect();
    let files = files.into_iter().map(|(file, contents)| (file, contents.rows)).collect();
    let table = Arc::new(FileTable::new(table, files, columns, settings.delimiter));
    Ok(Opened { table, columns: types, files: placed, zones: Arc::clone(&settings.zones), parts: parts.len() })
}

/// Delivered values, read as times where they can be.
pub(super) fn times(values: &ArrayRef, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    declare::read_as(values, Declared::Timestamp(None), &types::instant(), zones)
}
