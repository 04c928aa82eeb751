//! Files of every kind to tables.

mod buckets;
mod declarations;
mod formats;
mod places;
mod plans;
mod profiles;
mod types;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use segmenta::backend::datafusion::{MemoryTables, Tables, profile};
use segmenta::backend::tables::{EngineSettings, EventSource, SubjectSource, TenantTables};
use segmenta::backend::{BackendError, TableRole};

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Date64Array, Decimal128Array, DictionaryArray, FixedSizeListArray, Float32Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, lit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::displayable;
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use tempfile::TempDir;

type Outcome = Result<(), Failed>;

type Test = fn() -> Outcome;

pub(crate) fn trials() -> Vec<Trial> {
    let all = [
        formats::trials(),
        types::trials(),
        declarations::trials(),
        places::trials(),
        plans::trials(),
        profiles::trials(),
        buckets::trials(),
    ];
    all.into_iter().flatten().collect()
}

fn named(tests: &[(&str, Test)]) -> Vec<Trial> {
    tests.iter().map(|&(name, test)| Trial::test(format!("sources::{name}"), test)).collect()
}

fn users(source: &str, rest: &str) -> TenantTables {
    let text = format!("source = {source:?}\nkey = \"id\"\n{rest}");
    let users: SubjectSource = toml::from_str(&text).unwrap();
    TenantTables { timezone: "UTC".to_owned(), users: Some(users), ..TenantTables::default() }
}

fn events(source: &str, rest: &str) -> TenantTables {
    let text = format!("source = {source:?}\nuser_key = \"id\"\ntimestamp = \"at\"\n{rest}");
    let events: EventSource = toml::from_str(&text).unwrap();
    TenantTables { timezone: "UTC".to_owned(), events: Some(events), ..TenantTables::default() }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn open(tables: &TenantTables, base: &Path) -> Result<Tables, BackendError> {
    run(Tables::open(tables, base, &EngineSettings { threads: 2, ..EngineSettings::default() }))
}

fn frame(tables: &Tables, table: TableRole) -> DataFrame {
    DataFrame::new(tables.session().state(), tables.scan(table).unwrap().build().unwrap())
}

fn rows_of(frame: DataFrame) -> Vec<String> {
    let batches = run(frame.collect()).unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let options = FormatOptions::new().with_null("-");
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | "));
        }
    }
    rows.sort();
    rows
}

fn rows(tables: &Tables, table: TableRole) -> Vec<String> {
    rows_of(frame(tables, table))
}

/// The columns of the users table in the catalog, as `name: type`.
fn columns(tables: &Tables) -> Vec<String> {
    let users = tables.catalog().users.as_ref().unwrap();
    users.table.columns.iter().map(|(name, stored)| format!("{name}: {stored}")).collect()
}

fn refusal(opened: Result<Tables, BackendError>) -> String {
    let Err(error) = opened else { panic!("was opened") };
    match &error {
        BackendError::Source { help, .. } | BackendError::Mapping { help, .. } => match help {
            Some(help) => format!("{error}. {help}"),
            None => error.to_string(),
        },
        other => panic!("another error: {other:?}"),
    }
}

fn expect_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn write_parquet(path: &Path, batch: &RecordBatch) {
    write_parquet_in_groups(path, batch, 1024);
}

fn write_parquet_in_groups(path: &Path, batch: &RecordBatch, rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn people() -> RecordBatch {
    batch(vec![("id", ints(&[1, 2])), ("name", Arc::new(StringArray::from(vec![Some("Ada"), None])))])
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn memory_users(batches: Vec<RecordBatch>, rest: &str) -> Result<Tables, BackendError> {
    let batches = MemoryTables { users: batches, ..MemoryTables::default() };
    run(Tables::from_batches(&users("", rest), &batches, &EngineSettings::default()))
}
