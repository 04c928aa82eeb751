//! Whole batches over small tables in memory.

mod attributes;
mod measures;
mod universe;

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    UInt64Array,
};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use indexmap::IndexMap;
use jiff::Timestamp;

use super::{DataFusionBackend, MemoryTables, Tables};
use crate::backend::tables::{Declared, EngineSettings, EventSource, SubjectSource, TenantTables};
use crate::backend::{Backend, Evaluation, LocalMembers, TableRole};
use crate::check::Reading;
use crate::ir::{Comparator, Formula, NumberTest, Test, TextMatch, TextTest, Value};
use crate::model::catalog::{Access, ColumnType, Universe};
use crate::model::condition::Subject;
use crate::model::decimal::Decimal;
use crate::model::path::DocPath;
use crate::model::window::Interval;
use crate::plan::{Batch, BatchFeature, BatchTest, BatchValue, Leaf, Output, OutputName};

/// The instant of all tests.
pub(super) const AS_OF: &str = "2026-03-30T10:00:00Z";

/// A column of a test's table.
pub(super) type TestColumn = (&'static str, ColumnType, ArrayRef);

/// The tables of a test. The first column of the users is `id`; events have `user`, `at`, `type` and `event_id` as far as they are
/// given.
#[derive(Default)]
pub(super) struct World {
    pub(super) users: Vec<TestColumn>,
    pub(super) events: Vec<TestColumn>,
    pub(super) universe: Universe,
    pub(super) version: Option<&'static str>,
    pub(super) deduplicate: bool,
    pub(super) timezone: Option<&'static str>,
}

impl World {
    pub(super) async fn backend(&self) -> DataFusionBackend {
        // Several threads, so that they meet.
        self.backend_with(&EngineSettings { threads: 3, ..EngineSettings::default() }).await
    }

    pub(super) async fn backend_with(&self, settings: &EngineSettings) -> DataFusionBackend {
        let has = |name: &str| self.events.iter().any(|(column, ..)| *column == name).then(|| name.to_owned());
        let users = SubjectSource {
            key: "id".to_owned(),
            version: self.version.map(str::to_owned),
            universe: self.universe,
            columns: declared(&self.users),
            ..SubjectSource::default()
        };
        let events = EventSource {
            user_key: has("user"),
            event_type: has("type"),
            timestamp: "at".to_owned(),
            event_id: has("event_id"),
            deduplicate: self.deduplicate,
            columns: declared(&self.events),
            ..EventSource::default()
        };
        let tables = TenantTables {
            timezone: self.timezone().to_owned(),
            users: Some(users).filter(|_| !self.users.is_empty()),
            events: Some(events).filter(|_| !self.events.is_empty()),
            products: None,
        };
        let rows = MemoryTables { users: batches(&self.users), events: batches(&self.events), products: Vec::new() };
        DataFusionBackend::new(Tables::from_batches(&tables, &rows, settings).await.unwrap())
    }

    pub(super) fn timezone(&self) -> &'static str {
        self.timezone.unwrap_or("UTC")
    }

    /// The members of one output per test, each as `a b c`.
    pub(super) async fn members(&self, tests: Vec<(BatchFeature, Test<Interval>)>) -> Vec<String> {
        shown(&self.evaluate(&self.batch(tests)).await)
    }

    pub(super) async fn evaluate(&self, batch: &Batch) -> Evaluation<LocalMembers> {
        self.backend().await.evaluate(batch, &[]).await.unwrap()
    }

    /// A batch of one output per test.
    pub(super) fn batch(&self, tests: Vec<(BatchFeature, Test<Interval>)>) -> Batch {
        let outputs = (0..tests.len()).map(|test| output(Formula::Leaf(Leaf::Test(test)))).collect();
        let (features, tests): (Vec<_>, Vec<_>) = tests.into_iter().unzip();
        let tests = tests.into_iter().enumerate().map(|(feature, test)| BatchTest { feature, test }).collect();
        Batch {
            rankings: Vec::new(),
            scores: Vec::new(),
            subject: Subject::User,
            as_of: instant(AS_OF),
            timezone: self.timezone().to_owned(),
            features,
            tests,
            comparisons: Vec::new(),
            given: Vec::new(),
            outputs,
        }
    }
}

/// A value as it is seen from the instant of the tests.
pub(super) fn seen(value: Value) -> BatchValue {
    BatchValue::new(value, instant(AS_OF))
}

pub(super) fn output(formula: Formula<Leaf>) -> Output {
    Output { name: OutputName::Node("s".parse().unwrap(), DocPath::root()), as_of: instant(AS_OF), formula, score: None }
}

pub(super) fn shown(evaluation: &Evaluation<LocalMembers>) -> Vec<String> {
    evaluation.outputs.iter().map(|members| members.iter().collect::<Vec<_>>().join(" ")).collect()
}

fn declared(columns: &[TestColumn]) -> IndexMap<String, Declared> {
    let json = columns.iter().filter(|(_, column_type, _)| *column_type == ColumnType::Json);
    json.map(|(name, ..)| ((*name).to_owned(), Declared::Json)).collect()
}

/// The rows as two files.
fn batches(columns: &[TestColumn]) -> Vec<RecordBatch> {
    if columns.is_empty() {
        return Vec::new();
    }
    let fields: Vec<Field> = columns.iter().map(|(name, _, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    let values = columns.iter().map(|(_, _, values)| Arc::clone(values)).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap();
    let half = rows.num_rows() / 2;
    vec![rows.slice(0, half), rows.slice(half, rows.num_rows() - half)]
}

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn texts(name: &'static str, values: &[Option<&str>]) -> TestColumn {
    (name, ColumnType::Text, Arc::new(values.iter().copied().collect::<StringViewArray>()))
}

pub(super) fn json(name: &'static str, values: &[Option<&str>]) -> TestColumn {
    (name, ColumnType::Json, texts(name, values).2)
}

/// A text column of one letter per row: `a`, `b`, ...
pub(super) fn letters(name: &'static str, rows: usize) -> TestColumn {
    let values: StringViewArray = ('a'..='z').take(rows).map(|letter| Some(letter.to_string())).collect();
    (name, ColumnType::Text, Arc::new(values))
}

pub(super) fn integers(name: &'static str, values: &[Option<i64>]) -> TestColumn {
    (name, ColumnType::Integer, Arc::new(values.iter().copied().collect::<Int64Array>()))
}

pub(super) fn unsigned(name: &'static str, values: &[Option<u64>]) -> TestColumn {
    (name, ColumnType::Unsigned, Arc::new(values.iter().copied().collect::<UInt64Array>()))
}

pub(super) fn floats(name: &'static str, values: &[Option<f64>]) -> TestColumn {
    (name, ColumnType::Float, Arc::new(values.iter().copied().collect::<Float64Array>()))
}

pub(super) fn decimals(name: &'static str, precision: u8, scale: i8, values: &[Option<i128>]) -> TestColumn {
    let values: Decimal128Array = values.iter().copied().collect();
    (name, ColumnType::Decimal { precision, scale }, Arc::new(values.with_precision_and_scale(precision, scale).unwrap()))
}

pub(super) fn booleans(name: &'static str, values: &[Option<bool>]) -> TestColumn {
    (name, ColumnType::Boolean, Arc::new(values.iter().copied().collect::<BooleanArray>()))
}

pub(super) fn instants(name: &'static str, values: &[Option<&str>]) -> TestColumn {
    let micros: TimestampMicrosecondArray = values.iter().map(|value| value.map(|value| instant(value).as_microsecond())).collect();
    (name, ColumnType::Timestamp, Arc::new(micros.with_timezone("UTC")))
}

pub(super) fn dates(name: &'static str, values: &[Option<i32>]) -> TestColumn {
    (name, ColumnType::Date, Arc::new(values.iter().copied().collect::<Date32Array>()))
}

/// The attribute in a column, read as stated.
pub(super) fn attribute(column: &TestColumn, reading: Reading) -> BatchFeature {
    BatchFeature::Attribute(seen(Value::Stored(Access { json: None, ..Access::column(column.0, column.1.clone()) }, reading)))
}

/// The attribute at a path of a JSON or text column.
pub(super) fn at_path(column: &str, path: &str, reading: Reading) -> BatchFeature {
    BatchFeature::Attribute(seen(Value::Stored(json_access(column, path), reading)))
}

pub(super) fn json_access(column: &str, path: &str) -> Access {
    let keys = path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect();
    Access { column: column.to_owned(), fields: Vec::new(), json: Some(keys), stored: ColumnType::Json }
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn compare(comparator: Comparator, value: &str) -> Test<Interval> {
    Test::Number(NumberTest::Compare(comparator, decimal(value)))
}

pub(super) fn equals(value: &str) -> Test<Interval> {
    compare(Comparator::Eq, value)
}

pub(super) fn text(matches: TextMatch) -> Test<Interval> {
    Test::Text(TextTest { matches, ignore_case: false })
}

pub(super) fn is(value: &str) -> Test<Interval> {
    text(TextMatch::OneOf(vec![value.to_owned()]))
}
