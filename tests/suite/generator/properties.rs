//! What a condition can look at, and which literals it may be compared with.

use segmenta::model::catalog::{ColumnType, Table};
use segmenta::model::operator::ValueType;

use super::dice::Dice;
use super::values;
use crate::reference::value::{Row, Value};

/// A property as a definition names it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The path as it is written.
    pub(crate) path: String,
    /// What stands there.
    pub(crate) kind: Kind,
}

/// What stands at a property.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A value of a column's type.
    Column(ColumnType),
    /// Whatever JSON holds there.
    Json,
}

/// Every property of a table, columns inside others and JSON paths included.
pub(crate) fn candidates(table: &Table) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (name, column_type) in &table.columns {
        add(&mut found, name, column_type);
        if name == "raw" {
            add_json(&mut found, name);
        }
    }
    if table.data.is_some() {
        for key in values::JSON_KEYS.iter().filter(|key| !table.columns.contains_key(**key)) {
            found.push(Candidate { path: (*key).to_owned(), kind: Kind::Json });
        }
    }
    found
}

fn add(found: &mut Vec<Candidate>, path: &str, column_type: &ColumnType) {
    match column_type {
        ColumnType::Struct(fields) => {
            for (name, field) in fields {
                add(found, &format!("{path}.{name}"), field);
            }
        }
        ColumnType::Map(value) => {
            for key in ["a", "[\"x.y\"]", "absent"] {
                let dot = if key.starts_with('[') { "" } else { "." };
                add(found, &format!("{path}{dot}{key}"), value);
            }
        }
        ColumnType::Json => {
            found.push(Candidate { path: path.to_owned(), kind: Kind::Json });
            add_json(found, path);
        }
        ColumnType::Boolean
        | ColumnType::Integer
        | ColumnType::Unsigned
        | ColumnType::Float
        | ColumnType::Decimal { .. }
        | ColumnType::Text
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::List(_) => found.push(Candidate { path: path.to_owned(), kind: Kind::Column(column_type.clone()) }),
        ColumnType::Other(_) => {}
    }
}

fn add_json(found: &mut Vec<Candidate>, path: &str) {
    for key in values::JSON_KEYS {
        found.push(Candidate { path: format!("{path}.{key}"), kind: Kind::Json });
    }
    for deeper in ["o.x", "o[\"y.z\"]", "n.x", "a.x", "absent"] {
        found.push(Candidate { path: format!("{path}.{deeper}"), kind: Kind::Json });
    }
}

/// Whether values of this kind can be read as the type.
pub(crate) fn fits(kind: &Kind, value_type: ValueType) -> bool {
    use ValueType as V;
    match kind {
        Kind::Json | Kind::Column(ColumnType::Text | ColumnType::Json) => true,
        Kind::Column(ColumnType::Boolean) => matches!(value_type, V::Boolean | V::Array),
        Kind::Column(ColumnType::Integer | ColumnType::Unsigned) => {
            matches!(value_type, V::Number | V::Price | V::String | V::Date | V::Array)
        }
        Kind::Column(ColumnType::Float | ColumnType::Decimal { .. }) => matches!(value_type, V::Number | V::Price | V::Array),
        Kind::Column(ColumnType::Date | ColumnType::Timestamp) => value_type == V::Date,
        Kind::Column(ColumnType::List(_)) => value_type == V::Array,
        Kind::Column(ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_)) => false,
    }
}

/// The type that a column's values are read as when a condition says none.
pub(crate) fn default_type(kind: &Kind) -> Option<ValueType> {
    match kind {
        Kind::Json => None,
        Kind::Column(column_type) => match column_type {
            ColumnType::Boolean => Some(ValueType::Boolean),
            ColumnType::Integer | ColumnType::Unsigned | ColumnType::Float | ColumnType::Decimal { .. } => Some(ValueType::Number),
            ColumnType::Text => Some(ValueType::String),
            ColumnType::Date | ColumnType::Timestamp => Some(ValueType::Date),
            ColumnType::List(_) => Some(ValueType::Array),
            ColumnType::Json | ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_) => None,
        },
    }
}

/// A text that stands at the top of some row, or one of the usual.
pub(crate) fn text_of(dice: &mut Dice, candidate: &Candidate, rows: &[Row]) -> String {
    let stored = rows.iter().filter_map(|row| match row.get(&candidate.path) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::I64(value)) => Some(value.to_string()),
        Some(Value::U64(value)) => Some(value.to_string()),
        _ => None,
    });
    let stored: Vec<String> = stored.collect();
    if stored.is_empty() || dice.chance(30) { values::text(dice) } else { dice.pick_owned(&stored) }
}

/// A number, as a decimal: one that stands in the data, or one of the usual.
pub(crate) fn number_of(dice: &mut Dice, candidate: &Candidate, rows: &[Row]) -> String {
    let stored = rows.iter().filter_map(|row| match row.get(&candidate.path) {
        Some(Value::I64(value)) => Some(value.to_string()),
        Some(Value::U64(value)) => Some(value.to_string()),
        Some(Value::F64(value)) if value.is_finite() => Some(format!("{value:?}")),
        Some(Value::Decimal { unscaled, scale }) => Some(bigdecimal::BigDecimal::new(unscaled.clone(), *scale).to_plain_string()),
        _ => None,
    });
    let stored: Vec<String> = stored.collect();
    match dice.below(6) {
        0 => dice.between(-2, 10).to_string(),
        1 => (*dice.pick(&values::JSON_NUMBERS[..24])).to_owned(),
        2 => (*dice.pick(&["9007199254740993", "0.1", "19.985", "-0", "1e3", "0.30000000000000004", "18446744073709551616"]))
            .to_owned(),
        _ if stored.is_empty() => values::integer(dice).to_string(),
        _ => dice.pick_owned(&stored),
    }
}
