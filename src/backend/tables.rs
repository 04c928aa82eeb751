//! What stands in the configuration of a tenant's tables: where they are and which column plays which part. Plain data; nothing here
//! opens a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

use super::TableRole;
use crate::model::catalog::{ColumnType, Universe};
use crate::model::id::TenantId;

/// The tables of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantTables {
    /// IANA name of the timezone of local days.
    pub timezone: String,
    /// The users table.
    pub users: Option<SubjectSource>,
    /// The events table.
    pub events: Option<EventSource>,
    /// The products table.
    pub products: Option<SubjectSource>,
}

/// A table of users or products.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectSource {
    /// Where the files are; not needed where the table is on a server.
    #[serde(default)]
    pub source: Locations,
    /// Path of the property that identifies the subject.
    pub key: String,
    /// Path of the property that says which of several rows of one subject wins.
    pub version: Option<String>,
    /// Which subjects a segment can contain.
    #[serde(default)]
    pub universe: Universe,
    /// The JSON column in which names that are no column are looked up.
    pub data: Option<String>,
    /// The types of columns, where they are not those of the files.
    #[serde(default)]
    pub columns: IndexMap<String, Declared>,
    /// IANA name of the timezone of timestamps without one; UTC when absent.
    pub naive_timezone: Option<String>,
    /// Whether the table may have no file and no row.
    #[serde(default)]
    pub allow_empty: bool,
    /// The format of all files; by their names when absent.
    pub format: Option<Format>,
    /// What separates the fields of CSV; a comma, or in `.tsv` files a tab, when absent.
    pub delimiter: Option<char>,
    /// The table on the server, where that evaluates; `T_users` and so on for a tenant `T` when absent.
    pub table: Option<String>,
    /// The database that the table is in; that of the connection when absent.
    pub database: Option<String>,
    /// The column that says which tenant's a row is, where several share the table.
    pub tenant_column: Option<String>,
}

/// The table of events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// Where the files are; not needed where the table is on a server.
    #[serde(default)]
    pub source: Locations,
    /// Path of the property that names the user of an event.
    pub user_key: Option<String>,
    /// Path of the property that names the product of an event.
    pub product_key: Option<String>,
    /// Path of the property that names the type of an event.
    pub event_type: Option<String>,
    /// Path of the property that says when an event happened.
    pub timestamp: String,
    /// Path of the property that identifies an event.
    pub event_id: Option<String>,
    /// Whether events of the same subject, type and id count once.
    #[serde(default)]
    pub deduplicate: bool,
    /// The JSON column in which names that are no column are looked up.
    pub data: Option<String>,
    /// The types of columns, where they are not those of the files.
    #[serde(default)]
    pub columns: IndexMap<String, Declared>,
    /// IANA name of the timezone of timestamps without one; UTC when absent.
    pub naive_timezone: Option<String>,
    /// Whether the table may have no file and no row.
    #[serde(default)]
    pub allow_empty: bool,
    /// The format of all files; by their names when absent.
    pub format: Option<Format>,
    /// What separates the fields of CSV; a comma, or in `.tsv` files a tab, when absent.
    pub delimiter: Option<char>,
    /// The table on the server, where that evaluates; `T_users` and so on for a tenant `T` when absent.
    pub table: Option<String>,
    /// The database that the table is in; that of the connection when absent.
    pub database: Option<String>,
    /// The column that says which tenant's a row is, where several share the table.
    pub tenant_column: Option<String>,
}

/// What the configuration says of a table that is on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTable<'a> {
    /// Its part.
    pub role: TableRole,
    /// Its name, when one is given.
    pub table: Option<&'a str>,
    /// Its database, when one is given.
    pub database: Option<&'a str>,
    /// The column that says whose a row is, where tenants share the table.
    pub tenant_column: Option<&'a str>,
}

impl ServerTable<'_> {
    /// The database and the table: those that are given, or the one of the connection and `T_users` and so on for a tenant `T`.
    #[must_use]
    pub fn name(&self, tenant: &TenantId, database: &str) -> (String, String) {
        let table = self.table.map_or_else(|| format!("{tenant}_{}", self.role), str::to_owned);
        (self.database.unwrap_or(database).to_owned(), table)
    }
}

impl TenantTables {
    /// The tables that there are, as they would be on a server.
    pub fn on_server(&self) -> impl Iterator<Item = ServerTable<'_>> {
        let users = self.users.as_ref().map(|users| users.on_server(TableRole::Users));
        let events = self.events.as_ref().map(EventSource::on_server);
        let products = self.products.as_ref().map(|products| products.on_server(TableRole::Products));
        [users, events, products].into_iter().flatten()
    }
}

impl SubjectSource {
    /// The table as it would be on a server.
    #[must_use]
    pub fn on_server(&self, role: TableRole) -> ServerTable<'_> {
        let Self { table, database, tenant_column, .. } = self;
        ServerTable { role, table: table.as_deref(), database: database.as_deref(), tenant_column: tenant_column.as_deref() }
    }
}

impl EventSource {
    /// The table as it would be on a server.
    #[must_use]
    pub fn on_server(&self) -> ServerTable<'_> {
        let Self { table, database, tenant_column, .. } = self;
        ServerTable {
            role: TableRole::Events,
            table: table.as_deref(),
            database: database.as_deref(),
            tenant_column: tenant_column.as_deref(),
        }
    }
}

/// Paths, globs or URLs; written as one text or as a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locations(pub Vec<String>);

impl<'de> Deserialize<'de> for Locations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a path, glob or URL, or a list of them")]
        enum Written {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::One(location) => vec![location],
            Written::Many(locations) => locations,
        }))
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Parquet.
    Parquet,
    /// Arrow IPC, as a file or as a stream.
    Arrow,
    /// Text with a line of column names and a record a line.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that a file's extension stands for.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "parquet" | "parq" | "pq" => Some(Self::Parquet),
            "arrow" | "arrows" | "ipc" | "feather" => Some(Self::Arrow),
            "csv" | "tsv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// The type that a column is declared to have. A value that does not fit it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Declared {
    /// `string`.
    Text,
    /// `integer`.
    Integer,
    /// `float`.
    Float,
    /// `boolean`.
    Boolean,
    /// `decimal(precision,scale)`.
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point, at most the precision.
        scale: i8,
    },
    /// `date`.
    Date,
    /// `timestamp`, or `timestamp[unit]` for numbers that count the units since 1970; milliseconds when it has no unit.
    Timestamp(Option<EpochUnit>),
    /// `json`: text that holds JSON.
    Json,
}

impl Declared {
    /// The type of the column, as definitions see it.
    #[must_use]
    pub fn column_type(self) -> ColumnType {
        match self {
            Self::Text => ColumnType::Text,
            Self::Integer => ColumnType::Integer,
            Self::Float => ColumnType::Float,
            Self::Boolean => ColumnType::Boolean,
            Self::Decimal { precision, scale } => ColumnType::Decimal { precision, scale },
            Self::Date => ColumnType::Date,
            Self::Timestamp(_) => ColumnType::Timestamp,
            Self::Json => ColumnType::Json,
        }
    }
}

/// The type, as the configuration writes it.
impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("string"),
            Self::Integer => f.write_str("integer"),
            Self::Float => f.write_str("float"),
            Self::Boolean => f.write_str("boolean"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp(None) => f.write_str("timestamp"),
            Self::Timestamp(Some(EpochUnit::Second)) => f.write_str("timestamp[s]"),
            Self::Timestamp(Some(EpochUnit::Millisecond)) => f.write_str("timestamp[ms]"),
            Self::Timestamp(Some(EpochUnit::Microsecond)) => f.write_str("timestamp[us]"),
            Self::Timestamp(Some(EpochUnit::Nanosecond)) => f.write_str("timestamp[ns]"),
            Self::Json => f.write_str("json"),
        }
    }
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EpochUnit {
    /// `s`.
    Second,
    /// `ms`.
    Millisecond,
    /// `us`.
    Microsecond,
    /// `ns`.
    Nanosecond,
}

/// A text that is no type of a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a column type; use string, integer, float, boolean, decimal(precision,scale), date, timestamp, timestamp[s], \
     timestamp[ms], timestamp[us], timestamp[ns] or json"
)]
pub struct InvalidColumnType(String);

impl FromStr for Declared {
    type Err = InvalidColumnType;

    fn from_str(text: &str) -> Result<Self, InvalidColumnType> {
        let invalid = || InvalidColumnType(text.to_owned());
        match text.trim() {
            "string" => Ok(Self::Text),
            "integer" => Ok(Self::Integer),
            "float" => Ok(Self::Float),
            "boolean" => Ok(Self::Boolean),
            "date" => Ok(Self::Date),
            "json" => Ok(Self::Json),
            "timestamp" => Ok(Self::Timestamp(None)),
            "timestamp[s]" => Ok(Self::Timestamp(Some(EpochUnit::Second))),
            "timestamp[ms]" => Ok(Self::Timestamp(Some(EpochUnit::Millisecond))),
            "timestamp[us]" => Ok(Self::Timestamp(Some(EpochUnit::Microsecond))),
            "timestamp[ns]" => Ok(Self::Timestamp(Some(EpochUnit::Nanosecond))),
            other => {
                let digits = other.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(invalid)?;
                let (precision, scale) = digits.split_once(',').ok_or_else(invalid)?;
                let precision: u8 = precision.trim().parse().map_err(|_| invalid())?;
                let scale: u8 = scale.trim().parse().map_err(|_| invalid())?;
                let fits = (1..=76).contains(&precision) && scale <= precision;
                let scale = i8::try_from(scale).map_err(|_| invalid())?;
                if fits { Ok(Self::Decimal { precision, scale }) } else { Err(invalid()) }
            }
        }
    }
}

impl TryFrom<String> for Declared {
    type Error = InvalidColumnType;

    fn try_from(text: String) -> Result<Self, InvalidColumnType> {
        text.parse()
    }
}

/// How the embedded engine works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineSettings {
    /// Bytes that one run may use for what it keeps in memory; beyond it, it spills. Without a limit when absent.
    pub memory_limit: Option<u64>,
    /// How many threads one run uses; 0 = all cores.
    pub threads: usize,
    /// Where it spills; a folder of the system for temporary files when absent.
    pub spill: Option<PathBuf>,
    /// How many rows are worked on at a time; 0 = as many as are fast. Changes no result.
    pub batch_rows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key_and_refuses_others() {
        let text = r#"
            source = ["a/*.parquet", "s3://bucket/b/"]
            user_key = "user.id"
            timestamp = "at"
            deduplicate = true
            allow_empty = true
            format = "csv"
            delimiter = ";"
            naive_timezone = "Europe/Berlin"
            columns = { zip = "string", amount = "decimal(12,2)", at = "timestamp[s]", props = "json" }
        "#;
        let source: EventSource = toml::from_str(text).unwrap();
        assert_eq!(source.source.0, ["a/*.parquet", "s3://bucket/b/"]);
        assert_eq!(source.columns["amount"], Declared::Decimal { precision: 12, scale: 2 });
        assert_eq!(source.columns["at"], Declared::Timestamp(Some(EpochUnit::Second)));
        assert_eq!((source.format, source.delimiter, source.deduplicate), (Some(Format::Csv), Some(';'), true));
        let unknown = toml::from_str::<SubjectSource>("source = \"a\"\nkey = \"id\"\nuniverze = \"table\"").unwrap_err();
        assert!(unknown.to_string().contains("universe"), "{unknown}");
        let wrong = toml::from_str::<SubjectSource>("source = 3\nkey = \"id\"").unwrap_err();
        assert!(wrong.to_string().contains("a path, glob or URL"), "{wrong}");
    }

    #[test]
    fn types_are_shown_as_they_are_written() {
        for text in [
            "string",
            "integer",
            "float",
            "boolean",
            "decimal(12,2)",
            "date",
            "timestamp",
            "timestamp[s]",
            "timestamp[ms]",
            "timestamp[us]",
            "timestamp[ns]",
            "json",
        ] {
            assert_eq!(text.parse::<Declared>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_type() {
        for text in ["text", "decimal", "decimal(2,3)", "decimal(77,0)", "decimal(0,0)", "decimal(-1,2)", "timestamp[m]", ""] {
            assert_eq!(text.parse::<Declared>(), Err(InvalidColumnType(text.to_owned())));
        }
    }
}
