//! Evaluates a batch: the trait [`Backend`] and what it returns. Each backend reads its own tables and keeps the members it finds
//! in its own place; only the ledger of the same place looks inside them.
//!
//! # Contract
//! A backend is one tenant's tables, opened for one run: what it lists and the schemas it found do not change during its life.
//! Given the same tables, batch and given members, every backend yields the same members, on any number of threads. A source
//! that vanishes or cannot be read is an error; a value that does not fit its reading is missing and counted as an
//! [`Observation`], never an error.

pub mod attributes;
mod heads;
mod mapping;
mod members;
mod profile;
mod role;

mod bounds;
pub mod clickhouse;
pub mod datafusion;
pub mod sets;
pub mod tables;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bigdecimal::{BigDecimal, RoundingMode};

use crate::check::Reading;
use crate::model::catalog::Catalog;
use crate::model::scoring::Score;
use crate::plan::{Batch, Leaf};

use tables::Declared;

pub(crate) use heads::{Heads, part_of, shared_prefix, told};
pub use members::{LocalMembers, MemberSet, NotSorted, SortedIds};
pub use role::TableRole;

/// One tenant's tables, opened for one run.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The members of a segment, in this backend's place.
    type Members: MemberSet;

    /// The tables, as they were found when the backend was opened.
    fn catalog(&self) -> &Catalog;

    /// The members of every output of the batch. `given` holds the members of [`Batch::given`], in that order; those that are not in
    /// the universe are not matched.
    ///
    /// # Errors
    /// When a table cannot be read, has no row where rows are required, or identifies a subject twice.
    async fn evaluate(&self, batch: &Batch, given: &[Self::Members]) -> Result<Evaluation<Self::Members>, BackendError>;

    /// What one subject looks like to the batch, reading only what that needs. `given` as in [`Backend::evaluate`].
    ///
    /// # Errors
    /// As [`Backend::evaluate`].
    async fn inspect(&self, batch: &Batch, given: &[Self::Members], subject_id: &str) -> Result<Inspection, BackendError>;

    /// What [`Backend::evaluate`] would execute, as text for people; deterministic.
    ///
    /// # Errors
    /// As [`Backend::evaluate`].
    async fn show_plan(&self, batch: &Batch) -> Result<String, BackendError>;

    /// What the tables hold, for authors: types, JSON paths, frequent values, missing shares.
    ///
    /// # Errors
    /// As [`Backend::evaluate`].
    async fn profile(&self, table: TableRole) -> Result<TableProfile, BackendError>;
}

/// What a batch came to.
#[derive(Debug)]
pub struct Evaluation<M> {
    /// Every subject that a segment can contain.
    pub universe: M,
    /// The members of each output, in the order of the batch; those of one that scores with their scores.
    pub outputs: Vec<M>,
    /// What was left out or did not fit, in a stable order, without zeros.
    pub observations: Vec<Observation>,
    /// What the execution read.
    pub scans: Vec<Scan>,
    /// What was shared, and where the time went.
    pub effort: Effort,
}

/// What an evaluation shared, and where its time went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effort {
    /// How often the outputs test features: what there would be to compute if nothing were shared.
    pub tests: usize,
    /// Distinct features.
    pub features: usize,
    /// Measures over events that are computed for those: features that differ in their windows alone are one.
    pub measures: usize,
    /// How often the events were read: once, unless the memory did not suffice for all subjects at the same time.
    pub passes: usize,
    /// The stages, in the order in which they begin. What several threads did is added up.
    pub stages: Vec<Stage>,
    /// What a server read, where one evaluated.
    pub server: Option<ServerRead>,
}

impl Effort {
    /// What a batch asks for, before anything is known of how it was done.
    fn of(batch: &Batch) -> Self {
        let mut tests = 0;
        for output in &batch.outputs {
            output.formula.for_each_leaf(&mut |leaf| tests += usize::from(!matches!(leaf, Leaf::Output(_) | Leaf::Given(_))));
        }
        Self { tests, features: batch.features.len(), ..Self::default() }
    }
}

/// What a server read for an evaluation, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerRead {
    /// Rows of all tables.
    pub rows: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// How long that took with everything else.
    pub time: Duration,
}

/// A stage of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// How long.
    pub time: Duration,
}

/// How much of a table one execution read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The table.
    pub table: TableRole,
    /// How often the plan scans it.
    pub passes: usize,
    /// Rows that left the scan.
    pub rows: u64,
    /// Columns that were read, each once.
    pub columns: usize,
    /// Bytes of files, where the reader counts them.
    pub bytes: u64,
}

/// Something in the data that was left out or did not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    /// Where.
    pub table: TableRole,
    /// What.
    pub kind: ObservationKind,
    /// How many rows, of those that were read.
    pub count: u64,
}

/// What was left out or did not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObservationKind {
    /// Rows whose subject key is NULL or empty; left out.
    MissingKey,
    /// Events without a time; left out.
    MissingTime,
    /// Values of a property that are there and are not what they were read as; missing.
    Misfit {
        /// The property, as a path.
        property: String,
        /// What it was read as.
        reading: Reading,
    },
    /// Values of a column that are there and do not fit the type that the configuration declares; missing, whatever they are read as.
    DeclaredMisfit {
        /// The column.
        column: String,
        /// Its declared type.
        declared: Declared,
    },
    /// Text of a JSON column that is not one valid JSON value; it has no paths.
    InvalidJson {
        /// The column.
        column: String,
    },
}

/// One subject, as a batch sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Whether the subject is in the universe. When not, no output holds and every value is missing.
    pub in_universe: bool,
    /// The value of each feature of the batch, in its order.
    pub values: Vec<Datum>,
    /// Whether each test of the batch passes, in its order.
    pub tests: Vec<bool>,
    /// Whether each output of the batch holds, in its order.
    pub outputs: Vec<bool>,
    /// The score of each output of the batch that scores, in its order, be it enough or not.
    pub scores: Vec<Option<Score>>,
}

/// The value of a feature, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Datum {
    /// None.
    Missing,
    /// A boolean.
    Boolean(bool),
    /// A number, in its shortest exact decimal form.
    Number(String),
    /// A text.
    Text(String),
    /// An instant, RFC 3339, UTC.
    Instant(String),
    /// An array, each element as text.
    List(Vec<String>),
}

/// As an element of a list.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(text) | Self::Text(text) | Self::Instant(text) => f.write_str(text),
            Self::List(texts) => write!(f, "[{}]", texts.join(", ")),
        }
    }
}

/// Microseconds of a day of 24 hours.
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// The digits after the point with which people see quotients that do not end.
const SHOWN_DIGITS: i64 = 9;

/// A quotient for people: exact when it ends, else half-even at the digits that are shown.
pub(crate) fn shown_quotient(dividend: &BigDecimal, divisor: &BigDecimal) -> String {
    (dividend / divisor).with_scale_round(SHOWN_DIGITS, RoundingMode::HalfEven).normalized().to_plain_string()
}

impl Inspection {
    /// What a subject outside the universe looks like.
    #[must_use]
    pub fn outside(batch: &Batch) -> Self {
        Self {
            in_universe: false,
            values: vec![Datum::Missing; batch.features.len()],
            tests: vec![false; batch.tests.len()],
            outputs: vec![false; batch.outputs.len()],
            scores: vec![None; batch.outputs.len()],
        }
    }
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TableProfile {
    /// Which table.
    pub table: TableRole,
    /// How many rows.
    pub rows: u64,
    /// How many files; none of a table on a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// In how many of the rows frequent values, and paths below JSON and map columns, were looked for.
    pub sampled_rows: u64,
    /// The earliest and latest time of the events, RFC 3339.
    pub time_range: Option<(String, String)>,
    /// The event types, most frequent first.
    pub event_types: Vec<(String, u64)>,
    /// There are as many event types as are counted: there may be more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_event_types: bool,
    /// The columns and, below JSON columns, the paths found.
    pub properties: Vec<PropertyProfile>,
    /// Columns below which as many paths were found as are kept: there may be more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crowded: Vec<String>,
}

/// What a property holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PropertyProfile {
    /// As a definition writes it.
    pub property: String,
    /// What it holds: a column's type, or the types of the JSON values there, most frequent first.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Rows without a value, of those that were looked at.
    pub missing: u64,
    /// How many rows were looked at for a value: all, or for a path below a JSON or map column the sampled ones.
    pub looked_at: u64,
    /// The most frequent values with their sampled rows, most frequent first.
    pub top: Vec<(String, u64)>,
}

/// Why a batch could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A source is missing, empty, unreadable or not what it should be. The text says which and why.
    #[error("the {table} source `{location}` {problem}")]
    Source {
        /// The table.
        table: TableRole,
        /// Its path or URL.
        location: String,
        /// What is wrong, to be read after the location.
        problem: String,
        /// What to do.
        help: Option<String>,
        /// The cause below.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The configuration of a table does not fit its source.
    #[error("the {table} table cannot be read as configured: {problem}")]
    Mapping {
        /// The table.
        table: TableRole,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: Option<String>,
    },
    /// Several rows of a subjects table have one key.
    #[error("the {table} table has {count} keys with more than one row, such as {examples}")]
    DuplicateKeys {
        /// The table.
        table: TableRole,
        /// How many keys.
        count: u64,
        /// A few of them, quoted.
        examples: String,
    },
    /// The memory limit does not suffice.
    #[error("the evaluation needs more memory than `memory_limit` allows")]
    Memory {
        /// The cause below.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server that evaluates says no.
    #[error("the server failed while it was {operation}")]
    Server {
        /// What it was doing.
        operation: &'static str,
        /// What to do.
        help: Option<String>,
        /// The cause below.
        #[source]
        source: Box<crate::clickhouse::Error>,
    },
    /// The engine failed.
    #[error("the engine failed while it was {operation}")]
    Engine {
        /// What it was doing.
        operation: &'static str,
        /// The cause below.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
