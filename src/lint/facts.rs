//! What the tables hold, as far as someone looked: plain data.

use jiff::Timestamp;

/// What the tables of a tenant hold. Nothing is said about a table that is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataFacts {
    /// The users.
    pub users: Option<TableFacts>,
    /// The products.
    pub products: Option<TableFacts>,
    /// The events.
    pub events: Option<EventFacts>,
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableFacts {
    /// How many rows.
    pub rows: u64,
    /// In how many of them the paths below JSON and map columns were looked for.
    pub sampled_rows: u64,
    /// The columns, the fields of structs, and the paths that were found below JSON and map columns.
    pub properties: Vec<PropertyFacts>,
    /// Columns below which there may be more paths than are listed.
    pub crowded: Vec<String>,
}

/// What stands at a path of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropertyFacts {
    /// The column, and the keys below it.
    pub keys: Vec<String>,
    /// Rows with a value, of those that were looked at.
    pub present: u64,
    /// How many rows were looked at.
    pub looked_at: u64,
    /// The paths below it were looked for: it is a JSON or map column.
    pub opened: bool,
}

/// What the events hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFacts {
    /// Their columns.
    pub table: TableFacts,
    /// The types that there are, most frequent first.
    pub event_types: Vec<String>,
    /// There may be more types than are listed.
    pub more_event_types: bool,
    /// The times of the first and the last of them.
    pub times: Option<(Timestamp, Timestamp)>,
}
