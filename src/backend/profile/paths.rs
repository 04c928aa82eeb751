//! Looks closely at some rows: frequent values of columns, and what stands below JSON and map columns.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use super::count;
use super::tally::Tally;
use crate::model::catalog::{ColumnType, Table};

/// Values that are shown of a property.
const SHOWN: usize = 5;

/// Distinct values that are counted of a property.
const COUNTED: usize = 10_000;

/// Paths that are kept below one column.
const PATHS: usize = 200;

/// Keys of objects that are followed, one below the other.
const DEPTH: usize = 8;

/// Characters that are shown of a value.
const SHOWN_CHARACTERS: usize = 80;

/// What was seen in some rows.
#[derive(Debug, Default)]
pub(in crate::backend) struct Sample {
    rows: u64,
    properties: BTreeMap<Vec<String>, Seen>,
    /// Paths below each column.
    below: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Seen {
    rows: u64,
    types: Tally,
    values: Tally,
}

impl Seen {
    fn new() -> Self {
        Self { rows: 0, types: Tally::new(COUNTED), values: Tally::new(COUNTED) }
    }
}

impl Sample {
    /// How many rows were looked at.
    pub(in crate::backend) fn rows(&self) -> u64 {
        self.rows
    }

    /// The frequent values of a property; none when no value occurs twice in many.
    pub(in crate::backend) fn top(&self, path: &[String]) -> Vec<(String, u64)> {
        self.properties.get(path).map(frequent).unwrap_or_default()
    }

    /// What stands below a JSON or map column: each path with its types, the sampled rows without it, and its frequent values.
    pub(in crate::backend) fn below(&self, path: &[String]) -> impl Iterator<Item = (&[String], String, u64, Vec<(String, u64)>)> {
        let below = self.properties.iter().filter(move |(found, _)| found.len() > path.len() && found.starts_with(path));
        below.map(|(found, seen)| {
            let types: Vec<_> = seen.types.most_frequent(COUNTED).into_iter().map(|(name, _)| name).collect();
            (found.as_slice(), types.join(" or "), self.rows - seen.rows, frequent(seen))
        })
    }

    /// Columns below which there may be more paths than are kept.
    pub(in crate::backend) fn crowded(&self) -> Vec<String> {
        self.below.iter().filter(|(_, paths)| **paths >= PATHS).map(|(column, _)| column.clone()).collect()
    }

    pub(in crate::backend) fn add(&mut self, batch: &RecordBatch, table: &Table) -> Result<(), ArrowError> {
        self.rows += count(batch.num_rows());
        for (name, stored) in &table.columns {
            if let Some(column) = batch.column_by_name(name) {
                self.add_column(&mut vec![name.clone()], column, stored)?;
            }
        }
        Ok(())
    }

    fn add_column(&mut self, path: &mut Vec<String>, values: &ArrayRef, stored: &ColumnType) -> Result<(), ArrowError> {
        match stored {
            ColumnType::Struct(fields) => {
                let Some(structs) = values.as_struct_opt() else { return Ok(()) };
                for (name, field) in fields {
                    if let Some(column) = structs.column_by_name(name) {
                        path.push(name.clone());
                        self.add_column(path, column, field)?;
                        path.pop();
                    }
                }
                Ok(())
            }
            ColumnType::Json => {
                for text in values.as_string_view_opt().into_iter().flatten().flatten() {
                    if let Ok(value @ Value::Object(_)) = serde_json::from_str(text) {
                        self.add_json(path, &value);
                    }
                }
                Ok(())
            }
            ColumnType::Map(value) => self.add_map(path, values, value),
            ColumnType::List(_) | ColumnType::Other(_) => Ok(()),
            ColumnType::Boolean
            | ColumnType::Integer
            | ColumnType::Unsigned
            | ColumnType::Float
            | ColumnType::Decimal { .. }
            | ColumnType::Text
            | ColumnType::Date
            | ColumnType::Timestamp => {
                let formatter = ArrayFormatter::try_new(values, &FormatOptions::default())?;
                for row in (0..values.len()).filter(|&row| values.is_valid(row)) {
                    let text = formatter.value(row).try_to_string()?;
                    self.see(path, &stored.to_string(), Some(&text));
                }
                Ok(())
            }
        }
    }

    fn add_map(&mut self, path: &mut Vec<String>, values: &ArrayRef, value: &ColumnType) -> Result<(), ArrowError> {
        let Some(maps) = values.as_map_opt() else { return Ok(()) };
        let Some(keys) = maps.keys().as_string_view_opt() else { return Ok(()) };
        let formatter = ArrayFormatter::try_new(maps.values(), &FormatOptions::default())?;
        let entries = maps.value_offsets().windows(2).enumerate().filter(|(row, _)| maps.is_valid(*row));
        for entry in entries.flat_map(|(_, ends)| ends.first().copied().unwrap_or(0)..ends.last().copied().unwrap_or(0)) {
            let Ok(entry) = usize::try_from(entry) else { continue };
            if maps.values().is_valid(entry) {
                path.push(keys.value(entry).to_owned());
                self.see(path, &value.to_string(), Some(&formatter.value(entry).try_to_string()?));
                path.pop();
            }
        }
        Ok(())
    }

    fn add_json(&mut self, path: &mut Vec<String>, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(truth) => self.see(path, "boolean", Some(&truth.to_string())),
            Value::Number(number) => self.see(path, "number", Some(&number.to_string())),
            Value::String(text) => self.see(path, "text", Some(text)),
            Value::Array(_) => self.see(path, "array", None),
            // Nothing stands below it, so that it is a value itself.
            Value::Object(members) if members.is_empty() && path.len() > 1 => self.see(path, "object", None),
            Value::Object(members) if path.len() <= DEPTH => {
                for (key, member) in members {
                    path.push(key.clone());
                    self.add_json(path, member);
                    path.pop();
                }
            }
            Value::Object(_) => self.see(path, "object", None),
        }
    }

    fn see(&mut self, path: &[String], type_name: &str, value: Option<&str>) {
        if !self.properties.contains_key(path) {
            let paths = self.below.entry(path.first().cloned().unwrap_or_default()).or_default();
            if *paths >= PATHS {
                return;
            }
            *paths += 1;
            self.properties.insert(path.to_vec(), Seen::new());
        }
        if let Some(seen) = self.properties.get_mut(path) {
            seen.rows += 1;
            seen.types.add(type_name);
            if let Some(value) = value {
                seen.values.add(&value.chars().take(SHOWN_CHARACTERS).collect::<String>());
            }
        }
    }
}

fn frequent(seen: &Seen) -> Vec<(String, u64)> {
    let few = seen.values.distinct() <= SHOWN;
    let top = seen.values.most_frequent(SHOWN).into_iter();
    top.filter(|(_, rows)| few || *rows > 1).collect()
}
