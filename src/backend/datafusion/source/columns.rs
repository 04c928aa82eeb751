//! The columns of a table: what its files hold, unified by name, and what the configuration declares.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use indexmap::IndexMap;

use super::convert::Conversion;
use super::declare::{can_read, may_lose};
use super::fault::fault;
use super::inspect::Contents;
use super::instant::Zones;
use super::locate::File;
use super::types::{Clash, arrow_type, settle, unify};
use crate::backend::tables::{Declared, Format};
use crate::backend::{BackendError, TableRole};
use crate::diagnostic::nearest;
use crate::model::catalog::ColumnType;
use crate::model::property::PropertyPath;

/// The columns of a table and how each becomes what is delivered.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Every column, those that are not read included: of files in the order of their first appearance, then of folders.
    pub(super) types: IndexMap<String, ColumnType>,
    /// The columns of files that are read.
    pub(super) file_schema: SchemaRef,
    /// The columns that the names of folders hold.
    pub(super) partitions: Vec<FieldRef>,
    /// Of the columns that may lose a value to their declaration.
    pub(super) presences: Vec<Presence>,
    conversions: BTreeMap<String, Conversion>,
}

/// A column of booleans beside a declared one: whether a value is stored there. Where one is and none is delivered, it did not fit.
/// It is no column of the table: only who counts what did not fit asks a scan for it.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// Its own name, which no column of the table has.
    pub(crate) name: String,
    /// The declared column.
    pub(crate) column: String,
    /// What that is declared to be.
    pub(crate) declared: Declared,
}

impl Presence {
    /// It as a field of a schema.
    pub(super) fn field(&self) -> FieldRef {
        Arc::new(Field::new(&self.name, DataType::Boolean, true))
    }
}

impl Columns {
    /// The presence of that name.
    pub(super) fn presence(&self, name: &str) -> Option<&Presence> {
        self.presences.iter().find(|presence| presence.name == name)
    }

    /// How a column that is read becomes what is delivered.
    pub(super) fn conversion(&self, name: &str) -> Option<&Conversion> {
        self.conversions.get(name)
    }
}

/// Unifies what the files hold under each name.
pub(super) fn columns(
    table: TableRole,
    files: &[(File, Contents)],
    declared: &IndexMap<String, Declared>,
    zones: &Arc<Zones>,
) -> Result<Columns, BackendError> {
    let mut found: IndexMap<&str, (ColumnType, &File)> = IndexMap::new();
    for (file, contents) in files {
        for (name, stored) in &contents.columns {
            if let Some(&declared) = declared.get(name) {
                if !can_read(&settle(stored.clone()), declared) {
                    return Err(unreadable(table, file, name, stored, declared));
                }
                found.entry(name).or_insert_with(|| (declared.column_type(), file));
                continue;
            }
            match found.get_mut(name.as_str()) {
                Some((known, first)) => {
                    *known = unify(known, stored).map_err(|clash| conflict(table, name, &clash, first, file))?
                }
                None => {
                    found.insert(name, (stored.clone(), file));
                }
            }
        }
    }
    let mut types: IndexMap<String, ColumnType> =
        found.into_iter().map(|(name, (stored, _))| (name.to_owned(), settle(stored))).collect();
    let folders = folder_columns(files, &types);
    // Lines of NDJSON need not name every column, nor does a table without files: a declaration there says that the column exists.
    let open = files.iter().all(|(file, _)| file.format == Format::Ndjson);
    for (name, declared) in declared {
        if types.contains_key(name) || folders.contains(name) {
            continue;
        }
        if open {
            types.insert(name.clone(), declared.column_type());
        } else {
            // A column may vanish from the data: what reads it fails, everything else goes on.
            warn_of_absent(table, name, types.keys().chain(&folders));
        }
    }
    let mut conversions = BTreeMap::new();
    let mut field = |name: &String, stored: &ColumnType| {
        let target = arrow_type(stored)?;
        let conversion = Conversion { target: target.clone(), declared: declared.get(name).copied(), zones: Arc::clone(zones) };
        conversions.insert(name.clone(), conversion);
        Some(Arc::new(Field::new(name, target, true)))
    };
    let file_fields: Vec<FieldRef> = types.iter().filter_map(|(name, stored)| field(name, stored)).collect();
    let folders = folders.into_iter().map(|name| {
        let stored = declared.get(&name).map_or(ColumnType::Text, |declared| declared.column_type());
        (name, stored)
    });
    let folders: Vec<_> = folders.collect();
    let partitions = folders.iter().filter_map(|(name, stored)| field(name, stored)).collect();
    types.extend(folders);
    let presences = presences(files, declared, &types);
    Ok(Columns { types, file_schema: Arc::new(Schema::new(file_fields)), partitions, presences, conversions })
}

/// A presence for each declared column that may lose a value.
fn presences(
    files: &[(File, Contents)],
    declared: &IndexMap<String, Declared>,
    types: &IndexMap<String, ColumnType>,
) -> Vec<Presence> {
    let lossy = declared.iter().filter(|(name, declared)| files.iter().any(|file| loses(file, name, **declared)));
    let presences = lossy.map(|(column, &declared)| {
        let mut name = format!("{column} is there");
        while types.contains_key(&name) {
            name.push('\'');
        }
        Presence { name, column: column.clone(), declared }
    });
    presences.collect()
}

/// Whether a file may hold a value that does not fit the declared type of its column.
fn loses((file, contents): &(File, Contents), name: &str, declared: Declared) -> bool {
    // NDJSON is read as text, and may name a column in any line. So is what folders are named.
    if file.format == Format::Ndjson || file.partitions.iter().any(|(folder, _)| folder == name) {
        return may_lose(&ColumnType::Text, declared);
    }
    contents.columns.iter().any(|(column, stored)| column == name && may_lose(&settle(stored.clone()), declared))
}

/// The columns that only the names of folders hold.
fn folder_columns(files: &[(File, Contents)], in_files: &IndexMap<String, ColumnType>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in files.iter().flat_map(|(file, _)| &file.partitions) {
        if !in_files.contains_key(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn conflict(table: TableRole, name: &str, clash: &Clash, first: &File, other: &File) -> BackendError {
    let keys = std::iter::once(name.to_owned()).chain(clash.keys.iter().cloned()).collect();
    let path = PropertyPath::from_keys(keys).map(|path| path.to_string()).unwrap_or_default();
    let (Clash { left, right, .. }, first) = (clash, &first.location);
    let conflict = fault(table, &other.location, format!("holds `{path}` as {right}, where `{first}` holds it as {left}"));
    conflict.help("Write one of the files again, or declare a type for the column under `columns`.").into()
}

fn unreadable(table: TableRole, file: &File, name: &str, stored: &ColumnType, declared: Declared) -> BackendError {
    let declared = declared.column_type();
    BackendError::Mapping {
        table,
        problem: format!("`{}` holds `{name}` as {stored}, which cannot be declared as {declared}", file.location),
        help: Some("Take the column out of `columns`, or declare a type that its values can be read as.".to_owned()),
    }
}

fn warn_of_absent<'a>(table: TableRole, name: &str, columns: impl Iterator<Item = &'a String>) {
    let help = match nearest(name, columns.map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "nothing that reads it can be evaluated".to_owned(),
    };
    tracing::warn!(%table, column = name, "there is no column `{name}` to declare a type for: {help}");
}
