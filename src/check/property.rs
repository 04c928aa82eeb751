//! Resolves a path against the columns of a table.

use crate::diagnostic::{Code, Finding, nearest};
use crate::model::catalog::{Access, ColumnType, Table};
use crate::model::property::PropertyPath;

/// How many names of columns a help text lists.
const LISTED: usize = 12;

/// Where the value at a path is stored. `noun` names what a row of the table is, in the plural.
///
/// # Errors
/// The path leads nowhere that the types of the columns know of. What stands inside JSON is not known.
pub(super) fn resolve(path: &PropertyPath, table: &Table, noun: &str) -> Result<Access, Finding> {
    let [first, rest @ ..] = path.keys() else {
        return Err(Finding::new(Code::InvalidPath, "a path has no keys"));
    };
    if let Some(column) = table.columns.get(first) {
        return walk(path, first, column, rest);
    }
    match table.data.as_ref().and_then(|data| table.columns.get_key_value(data)) {
        Some((data, column)) => walk(path, data, column, path.keys()),
        None => Err(unknown(path, 0, table.columns.keys().map(String::as_str), &format!("The {noun} have the columns"))),
    }
}

fn walk(path: &PropertyPath, column: &str, column_type: &ColumnType, keys: &[String]) -> Result<Access, Finding> {
    let unsuitable = |message: String| Finding::new(Code::UnsuitableProperty, message);
    let mut stored = column_type;
    let mut fields = Vec::new();
    let mut rest = keys;
    loop {
        let here = path.keys().len() - rest.len();
        match stored {
            ColumnType::Struct(members) => {
                let names = members.iter().map(|(name, _)| name.as_str());
                let Some((key, after)) = rest.split_first() else {
                    let finding = unsuitable(format!("`{path}` is a struct, not a value"));
                    return Err(finding.with_help(format!("Name one of its fields: {}.", listed(names))));
                };
                match members.iter().find(|(name, _)| name == key) {
                    Some((_, member)) => stored = member,
                    None => return Err(unknown(path, here, names, &format!("`{}` has the fields", prefix(path, here)))),
                }
                fields.push(key.clone());
                rest = after;
            }
            ColumnType::Map(value) => {
                let Some((key, after)) = rest.split_first() else {
                    let finding = unsuitable(format!("`{path}` is a map, not a value"));
                    return Err(finding.with_help(format!("Name one of its keys, such as `{path}.key`.")));
                };
                stored = value;
                fields.push(key.clone());
                rest = after;
            }
            ColumnType::Json => {
                return Ok(Access { column: column.to_owned(), fields, json: Some(rest.to_vec()), stored: stored.clone() });
            }
            ColumnType::Text => {
                let json = if rest.is_empty() { None } else { Some(rest.to_vec()) };
                return Ok(Access { column: column.to_owned(), fields, json, stored: stored.clone() });
            }
            ColumnType::Other(name) => {
                return Err(unsuitable(format!("`{}` is of type {name}, which no condition reads", prefix(path, here))));
            }
            ColumnType::Boolean
            | ColumnType::Integer
            | ColumnType::Unsigned
            | ColumnType::Float
            | ColumnType::Decimal { .. }
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::List(_) => {
                if rest.is_empty() {
                    return Ok(Access { column: column.to_owned(), fields, json: None, stored: stored.clone() });
                }
                return Err(unsuitable(format!("`{path}` leads nowhere: `{}` is of type {stored}", prefix(path, here))));
            }
        }
    }
}

/// The first keys of a path, as a path.
fn prefix(path: &PropertyPath, keys: usize) -> String {
    let keys = path.keys().get(..keys.max(1)).unwrap_or_default();
    PropertyPath::from_keys(keys.to_vec()).map(|prefix| prefix.to_string()).unwrap_or_default()
}

/// No name of a table is the key of a path at `position`.
fn unknown<'a>(path: &PropertyPath, position: usize, names: impl Iterator<Item = &'a str> + Clone, these: &str) -> Finding {
    let finding = Finding::new(Code::UnknownProperty, format!("unknown property `{path}`"));
    let wrong = path.keys().get(position).map(String::as_str).unwrap_or_default();
    let Some(near) = nearest(wrong, names.clone()) else {
        return finding.with_help(format!("{these} {}.", listed(names)));
    };
    let mut keys = path.keys().to_vec();
    if let Some(key) = keys.get_mut(position) {
        near.clone_into(key);
    }
    match PropertyPath::from_keys(keys) {
        Some(meant) => finding.with_help(format!("Did you mean `{meant}`?")),
        None => finding,
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let shown: Vec<String> = names.clone().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.count().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
