//! [`Catalog`]: which tables a tenant has, with which columns, and which roles they play. Filled by a backend from the sources;
//! everything that reads a definition's names resolves them here.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::condition::Subject;
use super::operator::ValueType;
use super::property::PropertyPath;

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

impl Table {
    /// How to get to the value at a path: through structs and maps, then through JSON where text or a JSON column stands. A first
    /// key that is no column is looked up in the [`Table::data`] column.
    ///
    /// ```
    /// use segmenta::model::catalog::{ColumnType, Table};
    /// let table = Table { columns: [("props".to_owned(), ColumnType::Json)].into(), data: Some("props".to_owned()) };
    /// let access = table.resolve(&"color.name".parse().unwrap()).unwrap();
    /// assert_eq!(access.to_string(), "props.color.name");
    /// ```
    ///
    /// # Errors
    /// [`ResolveError`] when a name does not exist, or the path leads into a value that has no keys or that nothing reads.
    pub fn resolve(&self, path: &PropertyPath) -> Result<Access, ResolveError> {
        let Some((first, rest)) = path.keys().split_first() else {
            return Err(ResolveError::UnknownColumn { name: String::new(), columns: self.column_paths() });
        };
        if let Some(stored) = self.columns.get(first) {
            return descend(first, stored, rest);
        }
        match self.data.as_ref().and_then(|data| self.columns.get_key_value(data)) {
            Some((data, stored)) => descend(data, stored, path.keys()),
            None => Err(ResolveError::UnknownColumn { name: first.clone(), columns: self.column_paths() }),
        }
    }

    fn column_paths(&self) -> Vec<String> {
        self.columns.keys().map(|column| written([column])).collect()
    }
}

fn descend(column: &str, stored: &ColumnType, keys: &[String]) -> Result<Access, ResolveError> {
    let mut stored = stored;
    for (depth, key) in keys.iter().enumerate() {
        let (passed, left) = keys.split_at(depth);
        let here = || written(std::iter::once(column).chain(passed.iter().map(String::as_str)));
        stored = match stored {
            ColumnType::Struct(fields) => match fields.iter().find(|(name, _)| name == key) {
                Some((_, field)) => field,
                None => {
                    let fields = fields.iter().map(|(name, _)| written([name])).collect();
                    return Err(ResolveError::UnknownField { parent: here(), name: key.clone(), fields });
                }
            },
            ColumnType::Map(value) => value,
            ColumnType::Json | ColumnType::Text => {
                let (column, fields) = (column.to_owned(), passed.to_vec());
                return Ok(Access { column, fields, json: Some(left.to_vec()), stored: stored.clone() });
            }
            ColumnType::Boolean
            | ColumnType::Integer
            | ColumnType::Unsigned
            | ColumnType::Float
            | ColumnType::Decimal { .. }
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::List(_)
            | ColumnType::Other(_) => {
                return Err(ResolveError::NoKeys { parent: here(), stored: stored.clone(), key: key.clone() });
            }
        };
    }
    if let ColumnType::Other(type_name) = stored {
        let path = written(std::iter::once(column).chain(keys.iter().map(String::as_str)));
        return Err(ResolveError::Unreadable { path, type_name: type_name.clone() });
    }
    Ok(Access { fields: keys.to_vec(), ..Access::column(column, stored.clone()) })
}

fn written<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> String {
    PropertyPath::from_keys(keys.into_iter().map(Into::into).collect()).map(|path| path.to_string()).unwrap_or_default()
}

/// Why a property path leads nowhere. Names that could be meant are in the form of a path, quoted where that needs it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The table has no such column.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// What was asked for.
        name: String,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// The struct has no such field.
    #[error("`{parent}` has no field `{name}`")]
    UnknownField {
        /// The path of the struct.
        parent: String,
        /// What was asked for.
        name: String,
        /// The fields that there are.
        fields: Vec<String>,
    },
    /// The path goes on after a value that has no keys.
    #[error("`{parent}` holds {stored}, which has no key `{key}`")]
    NoKeys {
        /// The path of the value.
        parent: String,
        /// What it holds.
        stored: ColumnType,
        /// The key after it.
        key: String,
    },
    /// The value is of a type that nothing reads.
    #[error("`{path}` holds {type_name}, which cannot be read")]
    Unreadable {
        /// The path of the value.
        path: String,
        /// The name of its type.
        type_name: String,
    },
}

impl ResolveError {
    /// The names that could have been meant.
    #[must_use]
    pub fn candidates(&self) -> &[String] {
        match self {
            Self::UnknownColumn { columns: names, .. } | Self::UnknownField { fields: names, .. } => names,
            Self::NoKeys { .. } | Self::Unreadable { .. } => &[],
        }
    }
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

impl ColumnType {
    /// What a condition reads such a column as unless it says otherwise; `None` for a type whose value none reads as a whole.
    #[must_use]
    pub fn value_type(&self) -> Option<ValueType> {
        match self {
            Self::Boolean => Some(ValueType::Boolean),
            Self::Integer | Self::Unsigned | Self::Float | Self::Decimal { .. } => Some(ValueType::Number),
            Self::Text => Some(ValueType::String),
            Self::Date | Self::Timestamp => Some(ValueType::Date),
            Self::List(_) => Some(ValueType::Array),
            Self::Json | Self::Struct(_) | Self::Map(_) | Self::Other(_) => None,
        }
    }
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

    /// The column, where the value is all that stands there.
    #[must_use]
    pub fn plain_column(&self) -> Option<&str> {
        (self.fields.is_empty() && self.json.is_none()).then_some(self.column.as_str())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(std::iter::once(&self.column).chain(&self.fields).chain(self.json.iter().flatten())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(data: Option<&str>) -> Table {
        let address = ColumnType::Struct(vec![
            ("city".to_owned(), ColumnType::Text),
            ("lines".to_owned(), ColumnType::List(Box::new(ColumnType::Text))),
        ]);
        let columns = [
            ("id", ColumnType::Integer),
            ("note", ColumnType::Text),
            ("address", address.clone()),
            ("rates", ColumnType::Map(Box::new(ColumnType::Float))),
            ("places", ColumnType::Map(Box::new(address))),
            ("props", ColumnType::Json),
            ("a.b", ColumnType::Boolean),
            ("blob", ColumnType::Other("Binary".to_owned())),
        ];
        let columns = columns.into_iter().map(|(name, stored)| (name.to_owned(), stored)).collect();
        Table { columns, data: data.map(str::to_owned) }
    }

    type Resolved = (String, Vec<String>, Option<Vec<String>>, ColumnType);

    fn resolve(path: &str, data: Option<&str>) -> Result<Resolved, String> {
        let access = table(data).resolve(&path.parse().unwrap()).map_err(|error| error.to_string())?;
        Ok((access.column, access.fields, access.json, access.stored))
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    #[test]
    fn walks_columns_structs_maps_and_json() {
        assert_eq!(resolve("id", None), Ok(("id".to_owned(), vec![], None, ColumnType::Integer)));
        assert_eq!(resolve(r#"["a.b"]"#, None), Ok(("a.b".to_owned(), vec![], None, ColumnType::Boolean)));
        assert_eq!(resolve("address.city", None), Ok(("address".to_owned(), keys(&["city"]), None, ColumnType::Text)));
        assert_eq!(resolve("rates.any", None), Ok(("rates".to_owned(), keys(&["any"]), None, ColumnType::Float)));
        assert_eq!(resolve("places.home.city", None), Ok(("places".to_owned(), keys(&["home", "city"]), None, ColumnType::Text)));
        assert_eq!(resolve("props", None), Ok(("props".to_owned(), vec![], Some(vec![]), ColumnType::Json)));
        assert_eq!(resolve("props.a.b", None), Ok(("props".to_owned(), vec![], Some(keys(&["a", "b"])), ColumnType::Json)));
        assert_eq!(resolve("note", None), Ok(("note".to_owned(), vec![], None, ColumnType::Text)));
        assert_eq!(resolve("note.a", None), Ok(("note".to_owned(), vec![], Some(keys(&["a"])), ColumnType::Text)));
        let nested = resolve("address.city.x.y", None);
        assert_eq!(nested, Ok(("address".to_owned(), keys(&["city"]), Some(keys(&["x", "y"])), ColumnType::Text)));
    }

    #[test]
    fn looks_up_in_the_data_column_what_is_no_column() {
        assert_eq!(
            resolve("brand.name", Some("props")),
            Ok(("props".to_owned(), vec![], Some(keys(&["brand", "name"])), ColumnType::Json))
        );
        assert_eq!(resolve("id", Some("props")), Ok(("id".to_owned(), vec![], None, ColumnType::Integer)));
        assert_eq!(resolve("city", Some("address")), Ok(("address".to_owned(), keys(&["city"]), None, ColumnType::Text)));
        assert_eq!(resolve("town", Some("address")), Err("`address` has no field `town`".to_owned()));
    }

    #[test]
    fn says_where_a_path_ends() {
        assert_eq!(resolve("idd", None), Err("there is no column `idd`".to_owned()));
        assert_eq!(resolve("id.x", None), Err("`id` holds integer, which has no key `x`".to_owned()));
        assert_eq!(resolve("address.lines.x", None), Err("`address.lines` holds list of text, which has no key `x`".to_owned()));
        assert_eq!(resolve("blob", None), Err("`blob` holds Binary, which cannot be read".to_owned()));
        let unknown = table(None).resolve(&"a".parse().unwrap()).unwrap_err();
        assert!(unknown.candidates().contains(&r#"["a.b"]"#.to_owned()));
    }
}
