//! The parts that properties of a table play, as the configuration names them: resolved, and of types that can play them.

use indexmap::IndexMap;

use crate::backend::tables::{EventSource, SubjectSource};
use crate::backend::{BackendError, TableRole};
use crate::diagnostic::nearest;
use crate::model::catalog::{Access, ColumnType, EventTable, SubjectTable, Table};
use crate::model::property::PropertyPath;

/// What a property is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It is read as text: an id, or the type of an event.
    Name,
    /// It is read as a date.
    Time,
    /// It is ordered.
    Version,
}

/// A table of users or products with these columns.
pub(super) fn subject_table(
    table: TableRole,
    source: &SubjectSource,
    columns: &IndexMap<String, ColumnType>,
) -> Result<SubjectTable, BackendError> {
    let found = table_of(table, columns, source.data.as_deref())?;
    let key = resolve(table, &found, "key", &source.key, Part::Name)?;
    let version = source.version.as_deref().map(|path| resolve(table, &found, "version", path, Part::Version)).transpose()?;
    Ok(SubjectTable { table: found, key, version, universe: source.universe })
}

/// The table of events with these columns.
pub(super) fn event_table(source: &EventSource, columns: &IndexMap<String, ColumnType>) -> Result<EventTable, BackendError> {
    let table = TableRole::Events;
    let found = table_of(table, columns, source.data.as_deref())?;
    if source.user_key.is_none() && source.product_key.is_none() {
        return Err(BackendError::Mapping {
            table,
            problem: "neither `user_key` nor `product_key` says whose events they are".to_owned(),
            help: Some("Set one of them, or both.".to_owned()),
        });
    }
    let name = |key, path: &Option<String>| path.as_deref().map(|path| resolve(table, &found, key, path, Part::Name)).transpose();
    let (user_key, product_key) = (name("user_key", &source.user_key)?, name("product_key", &source.product_key)?);
    let (event_type, event_id) = (name("event_type", &source.event_type)?, name("event_id", &source.event_id)?);
    let timestamp = resolve(table, &found, "timestamp", &source.timestamp, Part::Time)?;
    Ok(EventTable { user_key, product_key, event_type, timestamp, event_id, deduplicate: source.deduplicate, table: found })
}

fn table_of(table: TableRole, columns: &IndexMap<String, ColumnType>, data: Option<&str>) -> Result<Table, BackendError> {
    let mut columns = columns.clone();
    if let Some(name) = data {
        match columns.get_mut(name) {
            Some(stored @ ColumnType::Text) => *stored = ColumnType::Json,
            Some(ColumnType::Json | ColumnType::Struct(_) | ColumnType::Map(_)) => {}
            Some(other) => {
                let problem = format!("`data` names `{name}`, which holds {other}");
                return Err(BackendError::Mapping { table, problem, help: Some("Name a column of JSON.".to_owned()) });
            }
            None => {
                let problem = format!("`data` names `{name}`, and there is no such column");
                let help = did_you_mean(name, columns.keys().map(String::as_str));
                return Err(BackendError::Mapping { table, problem, help });
            }
        }
    }
    Ok(Table { columns, data: data.map(str::to_owned) })
}

fn resolve(table: TableRole, found: &Table, key: &str, path: &str, part: Part) -> Result<Access, BackendError> {
    let mapping = |problem: String, help| BackendError::Mapping { table, problem, help };
    let parsed: PropertyPath = path.parse().map_err(|error| mapping(format!("`{key}`: {error}"), None))?;
    // A slip in a name must not become a path into the JSON column, which would leave every row without a key.
    let columns_only = Table { columns: found.columns.clone(), data: None };
    let access = columns_only.resolve(&parsed).map_err(|error| {
        let whole =
            found.columns.keys().find(|column| *column == path).and_then(|column| PropertyPath::from_keys(vec![column.clone()]));
        let help = match whole {
            Some(whole) => Some(format!("Did you mean `{whole}`?")),
            None => {
                let last = parsed.keys().last().map_or(path, String::as_str);
                did_you_mean(last, error.candidates().iter().map(String::as_str))
            }
        };
        mapping(format!("`{key}` is `{path}`: {error}"), help)
    })?;
    if can_play(&access, part) {
        return Ok(access);
    }
    let declare = match part {
        Part::Name => "Declare the column, if its values are whole numbers or texts: `columns = { NAME = \"string\" }`.",
        Part::Time => "Declare the column, if its values are times: `columns = { NAME = \"timestamp[s]\" }`.",
        Part::Version => "Name a column of numbers, texts, dates or times.",
    };
    Err(mapping(format!("`{key}` is `{path}`, which holds {}", access.stored), Some(declare.replace("NAME", &access.column))))
}

fn can_play(access: &Access, part: Part) -> bool {
    match &access.stored {
        ColumnType::Text | ColumnType::Json => true,
        ColumnType::Integer | ColumnType::Unsigned => true,
        ColumnType::Date | ColumnType::Timestamp => part != Part::Name,
        ColumnType::Float | ColumnType::Decimal { .. } => part == Part::Version,
        ColumnType::Boolean | ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_) => false,
    }
}

fn did_you_mean<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    match nearest(name, candidates.clone()) {
        Some(meant) => Some(format!("Did you mean `{meant}`?")),
        None => {
            let names: Vec<_> = candidates.map(|name| format!("`{name}`")).collect();
            if names.is_empty() { None } else { Some(format!("There is {}.", names.join(", "))) }
        }
    }
}
