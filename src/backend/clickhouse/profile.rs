//! What a table on the server holds, for authors: counted there, and a closer look at some rows, which come here.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;

use super::load::order_of;
use super::reads::{Reads, is_there};
use super::sql::{Expr, Query, Source, formula};
use super::tables::{Tables, failure};
use super::time::Times;
use crate::backend::profile::{Counts, EVENT_TYPES, SAMPLE_ROWS, Sample, absent, instant, parts, properties};
use crate::backend::{BackendError, TableProfile, TableRole};
use crate::check::Reading;
use crate::clickhouse::Connection;
use crate::model::catalog::{Access, ColumnType, Table};

const OPERATION: &str = "looking into a table";

/// What a table holds. Rows, missing values, event types and the range of times are those of all rows.
pub(super) async fn profile(
    connection: &Connection,
    tables: &Tables,
    times: &Times,
    role: TableRole,
) -> Result<TableProfile, BackendError> {
    let (table, time, event_type) = parts(&tables.catalog, role)?;
    let rows = &tables.of(role).ok_or_else(|| absent(role))?.rows;
    let telling = order_of(&tables.catalog, role);
    let failed = |error| failure(OPERATION, error);
    let counting = Counting::new(table, times, time);
    let row = connection.row::<(u64, Vec<u64>, Option<i64>, Option<i64>)>(counting.query(rows).print()).await;
    let (count, present, first, last) = row.map_err(failed)?;
    let counts = Counts { rows: count, present: counting.paths.into_iter().zip(present).collect() };
    let event_types = match event_type {
        Some(access) => connection.rows::<(String, u64)>(types_of(table, times, access, rows).print()).await.map_err(failed)?.rows,
        None => Vec::new(),
    };
    let (_, batches) = connection.stream(sampled(table, rows, counts.rows, &telling).print()).await.map_err(failed)?;
    let mut batches = batches.map_err(failed);
    let mut sample = Sample::default();
    while let Some(batch) = batches.try_next().await? {
        let added = with_views(&batch).and_then(|batch| sample.add(&batch, table));
        added.map_err(|error| BackendError::Engine { operation: OPERATION, source: Box::new(error) })?;
    }
    Ok(TableProfile {
        table: role,
        rows: counts.rows,
        files: None,
        sampled_rows: sample.rows(),
        time_range: first.and_then(instant).zip(last.and_then(instant)),
        more_event_types: event_types.len() >= EVENT_TYPES,
        event_types,
        properties: properties(table, &counts, &sample),
        crowded: sample.crowded(),
    })
}

/// What is counted over all rows.
struct Counting<'a> {
    reads: Reads<'a>,
    /// Columns, and fields of tuples.
    paths: Vec<Vec<String>>,
    present: Vec<Expr>,
    time: Expr,
}

impl<'a> Counting<'a> {
    fn new(table: &'a Table, times: &'a Times, time: Option<&Access>) -> Self {
        let mut reads = Reads::new(table, times);
        let time = time.map_or_else(|| formula!("CAST(NULL AS Nullable(Int64))"), |access| reads.time(access));
        let mut counting = Self { reads, paths: Vec::new(), present: Vec::new(), time };
        for (name, stored) in &table.columns {
            counting.add(vec![name.clone()], stored, &Expr::column(name));
        }
        counting
    }

    fn add(&mut self, path: Vec<String>, stored: &ColumnType, value: &Expr) {
        match stored {
            ColumnType::Struct(fields) => {
                for (name, field) in fields {
                    let below = path.iter().cloned().chain([name.clone()]).collect();
                    self.add(below, field, &formula!("tupleElement({0}, {1})", value, Expr::text(name)));
                }
            }
            // A column that is of no use here may be of any type.
            ColumnType::Other(_) => {}
            _ => {
                self.present.push(formula!("countIf({0})", is_there(stored, value)));
                self.paths.push(path);
            }
        }
    }

    fn query(&self, rows: &Source) -> Query {
        let columns = vec![
            (formula!("count()"), "rows".to_owned()),
            (formula!("CAST({0} AS Array(UInt64))", Expr::array(self.present.iter().cloned())), "present".to_owned()),
            (formula!("minOrNull({0})", self.time), "first".to_owned()),
            (formula!("maxOrNull({0})", self.time), "last".to_owned()),
        ];
        self.reads.lets_so_far().beneath(Query { columns, ..Query::default() }, rows)
    }
}

/// The types of events with how many have each, most frequent first.
fn types_of(table: &Table, times: &Times, access: &Access, rows: &Source) -> Query {
    let mut reads = Reads::new(table, times);
    let name = reads.stored(access, Reading::Text).expr;
    let columns = vec![(formula!("assumeNotNull({0})", name), "name".to_owned()), (formula!("count()"), "rows".to_owned())];
    let query = Query {
        columns,
        filter: Some(formula!("isNotNull({0})", name)),
        group: vec![name.clone()],
        order: vec![(formula!("count()"), true), (name, false)],
        limit: Some(EVENT_TYPES as u64),
        ..Query::default()
    };
    reads.finish().beneath(query, rows)
}

/// Some of so many rows, with instants and days in the types that are read here. They are chosen by a hash of columns that tell rows apart,
/// so that they are spread over the table, whatever its order, and are the same ones each time.
fn sampled(table: &Table, rows: &Source, count: u64, telling: &[String]) -> Query {
    let columns = table.columns.iter().filter(|(_, stored)| !matches!(stored, ColumnType::Other(_)));
    let columns = columns.map(|(name, stored)| {
        let column = Expr::column(name);
        let read = match stored {
            ColumnType::Timestamp => formula!("toDateTime64({0}, 6, 'UTC')", column),
            ColumnType::Date => formula!("toDate32({0})", column),
            _ => column,
        };
        (read, name.clone())
    });
    // Under names of their own first, so that no name means two things.
    let (reads, names): (Vec<_>, Vec<_>) = columns.unzip();
    let inner = reads.into_iter().enumerate().map(|(number, read)| (read, format!("column {number}"))).collect();
    let share = count.div_ceil(SAMPLE_ROWS as u64);
    let chosen = (share > 1 && !telling.is_empty()).then(|| {
        let told = Expr::Call("tuple", telling.iter().map(Expr::column).collect());
        formula!("cityHash64(toString({0})) % {1} = 0", told, Expr::number("UInt64", share))
    });
    let inner = Query { filter: chosen, limit: Some(SAMPLE_ROWS as u64), ..Query::select(inner, rows.clone()) };
    let outer = names.into_iter().enumerate().map(|(number, name)| (Expr::column(format!("column {number}")), name)).collect();
    Query::select(outer, Source::Query(Box::new(inner)))
}

/// The rows with texts in the form in which samples are looked at.
fn with_views(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<FieldRef> = batch.schema().fields().iter().map(with_view).collect();
    let columns = batch.columns().iter().zip(&fields).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn with_view(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::List(element) => DataType::List(with_view(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_view).collect()),
        DataType::Map(entries, sorted) => DataType::Map(with_view(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
