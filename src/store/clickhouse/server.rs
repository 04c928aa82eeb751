//! [`Server`]: statements of the ledger on their way, with what was being done when one fails.

use datafusion::arrow::array::{ArrayRef, RecordBatchOptions, StringArray, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::Times;
use crate::clickhouse::{Connection, Error, Statement, Value};
use crate::clock::SharedClock;
use crate::store::{LedgerError, RowStream};

/// Segments in one statement: what is bound has its limits.
pub(super) const SEGMENTS_AT_ONCE: usize = 500;

/// What is meant with every statement of the ledger. Those of copies of tables mean nothing where there are none: what was written is read
/// back by whoever asks next, on whichever server, and inserts come one after the other, so that block numbers tell their order.
const MEANING: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("insert_deduplicate", "0"),
    ("insert_quorum", "auto"),
    ("insert_quorum_parallel", "0"),
    ("select_sequential_consistency", "1"),
    ("mutations_sync", "2"),
    ("lightweight_deletes_sync", "2"),
    // What is deleted by a list of others is the same on every copy of a table, whenever it is done.
    ("allow_nondeterministic_mutations", "1"),
];

/// What groups and sorts go to the server's disk beyond. Reading them back takes memory too: a part of what a query may use.
const SPILLED: [&str; 2] = ["max_bytes_before_external_group_by", "max_bytes_before_external_sort"];

/// How many bytes that is when a query has no limit.
const SPILL_BYTES: u64 = 1024 * 1024 * 1024;

/// Which part of its limit it is when it has one.
const SPILL_PART: u64 = 4;

/// Numbers of the server's errors: no such table, no such database.
const ABSENT: [u32; 2] = [60, 81];

/// The server, and the time that counts there.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) connection: Connection,
    pub(super) clock: SharedClock,
    times: Times,
}

impl Server {
    pub(super) fn new(connection: &Connection, clock: SharedClock, times: Times) -> Self {
        let spill = connection.memory_limit().map_or(SPILL_BYTES, |limit| (limit / SPILL_PART).max(1)).to_string();
        let spilled = SPILLED.map(|name| (name, spill.as_str()));
        Self { connection: connection.with_settings(MEANING).with_settings(&spilled), clock, times }
    }

    /// The same for the statements of a run, whose ids name it.
    pub(super) fn for_run(&self, run: uuid::Uuid) -> Self {
        Self { connection: self.connection.for_run(run), ..self.clone() }
    }

    /// The present, as SQL. Its statement goes through [`Server::timed`].
    pub(super) fn now(&self) -> &'static str {
        match self.times {
            Times::Server => "now64(6, 'UTC')",
            Times::Clock => "fromUnixTimestamp64Micro({now:Int64}, 'UTC')",
        }
    }

    /// Binds the present where it is not the server's.
    pub(super) fn timed(&self, statement: Statement) -> Statement {
        match self.times {
            Times::Server => statement,
            Times::Clock => statement.number("now", "Int64", self.clock.now().as_microsecond()),
        }
    }

    /// The present for a row; `None` when the server puts it there.
    pub(super) fn written_at(&self) -> Option<Timestamp> {
        match self.times {
            Times::Server => None,
            Times::Clock => Some(self.clock.now()),
        }
    }

    pub(super) async fn rows<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        statement: Statement,
    ) -> Result<Vec<T>, LedgerError> {
        let answer = self.connection.rows(statement).await;
        answer.map(|answer| answer.rows).map_err(|error| self.failed(operation, error))
    }

    pub(super) async fn row<T: DeserializeOwned>(&self, operation: &'static str, statement: Statement) -> Result<T, LedgerError> {
        self.connection.row(statement).await.map_err(|error| self.failed(operation, error))
    }

    /// Does a statement that may be done twice.
    pub(super) async fn execute(&self, operation: &'static str, statement: Statement) -> Result<(), LedgerError> {
        self.connection.execute(statement).await.map(drop).map_err(|error| self.failed(operation, error))
    }

    pub(super) async fn execute_once(&self, operation: &'static str, statement: Statement) -> Result<(), LedgerError> {
        self.connection.execute_once(statement).await.map(drop).map_err(|error| self.failed(operation, error))
    }

    /// Puts rows into columns of the same names. They are one block, which is there whole or not at all.
    pub(super) async fn insert(&self, operation: &'static str, table: &str, rows: RecordBatch) -> Result<(), LedgerError> {
        let schema = rows.schema();
        let batches = futures::stream::iter([Ok::<_, Error>(rows)]).boxed();
        self.connection.insert(table, &schema, batches).await.map(drop).map_err(|error| self.failed(operation, error))
    }

    /// The rows of a query in the columns of a schema, by their places.
    pub(super) async fn stream(
        &self,
        operation: &'static str,
        statement: Statement,
        schema: SchemaRef,
    ) -> Result<RowStream, LedgerError> {
        let (_, batches) = self.connection.stream(statement).await.map_err(|error| self.failed(operation, error))?;
        let server = self.clone();
        let cast = batches.map(move |batch| {
            let batch = batch.map_err(|error| server.failed(operation, error))?;
            cast_batch(&batch, &schema).map_err(|error| {
                let source = Error::Answer { source: Box::new(error) };
                LedgerError::Server { operation, source: Box::new(source) }
            })
        });
        Ok(cast.boxed())
    }

    pub(super) fn failed(&self, operation: &'static str, source: Error) -> LedgerError {
        match source.code() {
            Some(code) if ABSENT.contains(&code) => {
                LedgerError::Uninitialised { database: self.connection.database().to_owned(), source: Box::new(source) }
            }
            Some(_) | None => LedgerError::Server { operation, source: Box::new(source) },
        }
    }
}

/// A list of UUIDs as the value of an `Array(UUID)`.
pub(super) fn uuids(ids: impl IntoIterator<Item = uuid::Uuid>) -> Value {
    Value::Texts(ids.into_iter().map(|id| id.to_string()).collect())
}

/// Rows of columns with their names.
pub(super) fn batch(operation: &'static str, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, LedgerError> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| {
        let nullable = column.null_count() > 0;
        (name, column, nullable)
    }))
    .map_err(|error| LedgerError::Server { operation, source: Box::new(Error::Answer { source: Box::new(error) }) })
}

pub(super) fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(super) fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn cast_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}
