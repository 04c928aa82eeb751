//! [`Catalog`]: which tables a tenant has, with which columns, and which roles they play. Filled by a backend from the sources;
//! everything that reads a definition's names resolves them here.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::condition::Subject;

/// The tables of one tenant, as `check` and the planner see them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// IANA name of the timezone of local days.
    pub timezone: String,
    /// The users table, when there is one.
    pub users: Option<SubjectTable>,
    /// The products table, when there is one.
    pub products: Option<SubjectTable>,
    /// The events table, when there is one.
    pub events: Option<EventTable>,
}

impl Catalog {
    /// The table of a subject.
    #[must_use]
    pub fn subjects(&self, subject: Subject) -> Option<&SubjectTable> {
        match subject {
            Subject::User => self.users.as_ref(),
            Subject::Product => self.products.as_ref(),
        }
    }
}

/// A table of users or products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectTable {
    /// Its columns.
    pub table: Table,
    /// The property that identifies the subject.
    pub key: Access,
    /// The property that says which of several rows of one subject wins.
    pub version: Option<Access>,
    /// Which subjects a segment can contain.
    pub universe: Universe,
}

/// Which subjects a segment can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Universe {
    /// The rows of the subjects table.
    #[default]
    Table,
    /// The distinct ids in the events before `as_of`.
    Events,
    /// Both.
    Union,
}

/// The table of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventTable {
    /// Its columns.
    pub table: Table,
    /// The property that names the user of an event.
    pub user_key: Option<Access>,
    /// The property that names the product of an event.
    pub product_key: Option<Access>,
    /// The property that names the type of an event.
    pub event_type: Option<Access>,
    /// The property that says when an event happened.
    pub timestamp: Access,
    /// The property that identifies an event.
    pub event_id: Option<Access>,
    /// Events of the same subject, type and id count once.
    pub deduplicate: bool,
}

impl EventTable {
    /// The property that names the subject of an event.
    #[must_use]
    pub fn key(&self, subject: Subject) -> Option<&Access> {
        match subject {
            Subject::User => self.user_key.as_ref(),
            Subject::Product => self.product_key.as_ref(),
        }
    }
}

/// The columns of a table, in the order of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Every column with its type.
    pub columns: IndexMap<String, ColumnType>,
    /// The JSON column in which names that are no column are looked up.
    pub data: Option<String>,
}

/// What a column holds, after the reader made timestamps UTC and unpacked dictionaries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// A signed integer of at most 64 bits.
    Integer,
    /// An unsigned integer of 64 bits.
    Unsigned,
    /// A double.
    Float,
    /// A decimal of fixed scale.
    Decimal {
        /// Digits in all, at most 76.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// Text; a path into it reads it as JSON.
    Text,
    /// A calendar day.
    Date,
    /// An instant, UTC, microseconds.
    Timestamp,
    /// Text that was declared to hold JSON.
    Json,
    /// A list.
    List(Box<Self>),
    /// Named fields.
    Struct(Vec<(String, Self)>),
    /// Keys of text to values of one type.
    Map(Box<Self>),
    /// A type that no condition reads; its Arrow name.
    Other(String),
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Integer => f.write_str("integer"),
            Self::Unsigned => f.write_str("unsigned integer"),
            Self::Float => f.write_str("float"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Text => f.write_str("text"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Json => f.write_str("json"),
            Self::List(element) => write!(f, "list of {element}"),
            Self::Struct(_) => f.write_str("struct"),
            Self::Map(value) => write!(f, "map of {value}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A property path resolved against a table: how to get from a row to the stored value.
///
/// The value is `column`, then `fields` of structs or maps, then `json` keys into the text that stands there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Access {
    /// The column of the source.
    pub column: String,
    /// Keys into nested structs and maps, outermost first.
    pub fields: Vec<String>,
    /// Keys into JSON text, outermost first; empty for the whole of a JSON column; `None` when the stored value is no JSON.
    pub json: Option<Vec<String>>,
    /// The type at the end of `column` and `fields`: the stored value's, or that of the text that holds the JSON.
    pub stored: ColumnType,
}

impl Access {
    /// A plain column.
    #[must_use]
    pub fn column(name: impl Into<String>, stored: ColumnType) -> Self {
        let json = if stored == ColumnType::Json { Some(Vec::new()) } else { None };
        Self { column: name.into(), fields: Vec::new(), json, stored }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = std::iter::once(&self.column).chain(&self.fields).chain(self.json.iter().flatten()).cloned().collect();
        match super::property::PropertyPath::from_keys(keys) {
            Some(path) => write!(f, "{path}"),
            None => Ok(()),
        }
    }
}
