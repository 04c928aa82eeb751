//! Files of every kind to tables.

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

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, fn() -> Outcome); 28] = [
        ("parquet", parquet),
        ("arrow_files_and_streams", arrow_files_and_streams),
        ("csv", csv),
        ("ndjson", ndjson),
        ("formats_side_by_side", formats_side_by_side),
        ("canonical_types", canonical_types),
        ("nested_types", nested_types),
        ("added_columns_and_wider_integers_unify", added_columns_and_wider_integers_unify),
        ("conflicts_name_both_files", conflicts_name_both_files),
        ("a_declaration_settles_a_conflict", a_declaration_settles_a_conflict),
        ("folders_hold_columns", folders_hold_columns),
        ("globs_and_lists", globs_and_lists),
        ("declared_types", declared_types),
        ("naive_timestamps", naive_timestamps),
        ("times_are_floored", times_are_floored),
        ("weird_names", weird_names),
        ("missing_and_empty_sources", missing_and_empty_sources),
        ("empty_tables_may_be_allowed", empty_tables_may_be_allowed),
        ("broken_files", broken_files),
        ("a_file_that_vanishes", a_file_that_vanishes),
        ("mappings", mappings),
        ("memory_tables", memory_tables),
        ("conditions_skip_row_groups", conditions_skip_row_groups),
        ("only_wanted_columns_are_read", only_wanted_columns_are_read),
        ("http", http),
        ("scans_are_counted", scans_are_counted),
        ("profiles", profiles),
        ("profiles_of_json_and_maps", profiles_of_json_and_maps),
    ];
    tests.into_iter().map(|(name, test)| Trial::test(format!("sources::{name}"), test)).collect()
}

// Tables under test.

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

// Files.

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

// Formats.

fn parquet() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("users.parquet"), &people());
    let tables = open(&users("users.parquet", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: integer", "name: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "2 | -"]);
    let url = format!("file://{}/users.parquet", folder.path().display());
    assert_eq!(rows(&open(&users(&url, ""), Path::new("/"))?, TableRole::Users), ["1 | Ada", "2 | -"]);
    Ok(())
}

fn arrow_files_and_streams() -> Outcome {
    let folder = TempDir::new()?;
    let people = people();
    for compression in [None, Some(arrow_ipc::CompressionType::LZ4_FRAME), Some(arrow_ipc::CompressionType::ZSTD)] {
        let options = arrow_ipc::writer::IpcWriteOptions::default().try_with_compression(compression)?;
        let path = folder.path().join("users.feather");
        let mut writer = arrow_ipc::writer::FileWriter::try_new_with_options(fs::File::create(&path)?, &people.schema(), options)?;
        writer.write(&people)?;
        writer.write(&people)?;
        writer.finish()?;
        let tables = open(&users("users.feather", ""), folder.path())?;
        assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "1 | Ada", "2 | -", "2 | -"]);
    }
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(fs::File::create(folder.path().join("users.arrows"))?, &people.schema())?;
    writer.write(&people)?;
    writer.finish()?;
    assert_eq!(rows(&open(&users("users.arrows", ""), folder.path())?, TableRole::Users), ["1 | Ada", "2 | -"]);
    Ok(())
}

fn csv() -> Outcome {
    let folder = TempDir::new()?;
    write(&folder.path().join("u/1.csv"), "\u{feff}id,name,note\r\n1,Ada,\"a \"\"b\"\",\nc\"\r\n2,,x");
    write(&folder.path().join("u/2.csv"), "name,id\nBob,3\n");
    write(&folder.path().join("u/3.csv"), "id\n");
    let tables = open(&users("u", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: text", "name: text", "note: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada | a \"b\",\nc", "2 | - | x", "3 | Bob | -"]);
    write(&folder.path().join("users.txt"), "id;name\n1;A,B\n");
    let tables = open(&users("users.txt", "format = \"csv\"\ndelimiter = \";\""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | A,B"]);
    write(&folder.path().join("users.tsv"), "id\tname\n1\tA,B\n");
    assert_eq!(rows(&open(&users("users.tsv", ""), folder.path())?, TableRole::Users), ["1 | A,B"]);
    Ok(())
}

fn ndjson() -> Outcome {
    let folder = TempDir::new()?;
    let lines =
        "{\"id\":\"a\",\"age\":30,\"address\":{\"city\":\"Bonn\"},\"vip\":true}\n{\"id\":\"b\",\"age\":null,\"tags\":[1, \"x\"]}\n";
    write(&folder.path().join("users.ndjson"), lines);
    let tables = open(&users("users.ndjson", "columns = { late = \"integer\", age = \"integer\" }"), folder.path())?;
    assert_eq!(columns(&tables), ["id: text", "age: integer", "address: json", "vip: json", "tags: json", "late: integer"]);
    assert_eq!(rows(&tables, TableRole::Users), ["a | 30 | {\"city\":\"Bonn\"} | true | - | -", "b | - | - | - | [1, \"x\"] | -"]);
    Ok(())
}

fn formats_side_by_side() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/1.parquet"), &batch(vec![("id", texts(&["1"])), ("n", ints(&[5]))]));
    write(&folder.path().join("u/2.csv"), "n,id\n6,2\n");
    write(&folder.path().join("u/3.jsonl"), "{\"id\":\"3\",\"n\":7}\n");
    write(&folder.path().join("u/_SUCCESS"), "");
    write(&folder.path().join("u/.hidden.csv"), "x\n1\n");
    write(&folder.path().join("u/README.md"), "no data");
    let tables = open(&users("u", "columns = { n = \"integer\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 5", "2 | 6", "3 | 7"]);
    assert_eq!(tables.files(TableRole::Users)?, 3);
    Ok(())
}

// Types.

fn canonical_types() -> Outcome {
    let folder = TempDir::new()?;
    let dictionary: DictionaryArray<Int32Type> = vec!["x", "y"].into_iter().collect();
    let stored = batch(vec![
        ("id", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        ("i8", Arc::new(Int8Array::from(vec![1, -1]))),
        ("u32", Arc::new(UInt32Array::from(vec![1, u32::MAX]))),
        ("u64", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
        ("f32", Arc::new(Float32Array::from(vec![0.5, -0.0]))),
        ("dict", Arc::new(dictionary)),
        ("d64", Arc::new(Date64Array::from(vec![86_400_000, -1]))),
        ("dec", Arc::new(Decimal128Array::from(vec![1, 250]).with_precision_and_scale(10, 2)?)),
        ("bin", Arc::new(BinaryArray::from(vec![b"x".as_ref(), b"y".as_ref()]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![1, i64::MAX]).with_timezone("+05:00"))),
    ]);
    write_parquet(&folder.path().join("users.parquet"), &stored);
    let from_file = open(&users("users.parquet", ""), folder.path())?;
    let expected = [
        "id: text",
        "i8: integer",
        "u32: integer",
        "u64: unsigned integer",
        "f32: float",
        "dict: text",
        "d64: date",
        "dec: decimal(10,2)",
        "bin: Binary",
        "at: timestamp",
    ];
    assert_eq!(columns(&from_file), expected);
    let from_memory = memory_users(vec![stored], "")?;
    for tables in [from_file, from_memory] {
        let scanned = frame(&tables, TableRole::Users);
        let types: Vec<_> = scanned.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        let canonical = [
            "Utf8View",
            "Int64",
            "Int64",
            "UInt64",
            "Float64",
            "Utf8View",
            "Date32",
            "Decimal128(10, 2)",
            "Timestamp(µs, \"UTC\")",
        ];
        assert_eq!(types, canonical);
        assert_eq!(
            rows_of(scanned),
            [
                "a | 1 | 1 | 1 | 0.5 | x | 1970-01-02 | 0.01 | 1970-01-01T00:00:00.001Z",
                "b | -1 | 4294967295 | 18446744073709551615 | -0.0 | y | 1969-12-31 | 2.50 | -"
            ]
        );
    }
    Ok(())
}

fn memory_users(batches: Vec<RecordBatch>, rest: &str) -> Result<Tables, BackendError> {
    let batches = MemoryTables { users: batches, ..MemoryTables::default() };
    run(Tables::from_batches(&users("", rest), &batches, &EngineSettings::default()))
}

fn nested_types() -> Outcome {
    let folder = TempDir::new()?;
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("city", DataType::Utf8, true)), texts(&["Bonn", "Köln"])),
        (Arc::new(Field::new("zip", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
    ]);
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let pair = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), Some(2)]), None], 2);
    let mut rates = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    rates.keys().append_value("k");
    rates.values().append_value("v");
    rates.append(true)?;
    rates.append(false)?;
    let one = batch(vec![
        ("id", ints(&[1, 2])),
        ("address", Arc::new(inner)),
        ("tags", Arc::new(tags)),
        ("pair", Arc::new(pair)),
        ("rates", Arc::new(rates.finish())),
    ]);
    let fields = Fields::from(vec![Field::new("zip", DataType::Int64, true), Field::new("street", DataType::Utf8, true)]);
    let other = StructArray::new(fields, vec![ints(&[3]), texts(&["Ring"])], None);
    write_parquet(&folder.path().join("u/1.parquet"), &one);
    write_parquet(&folder.path().join("u/2.parquet"), &batch(vec![("id", ints(&[3])), ("address", Arc::new(other))]));
    let tables = open(&users("u", ""), folder.path())?;
    let scanned = frame(&tables, TableRole::Users);
    let types: Vec<_> = scanned.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert!(matches!(&types[1], DataType::Struct(fields) if fields.len() == 3 && fields[1].data_type() == &DataType::Int64));
    assert!(matches!(&types[2], DataType::List(element) if element.data_type() == &DataType::Int64));
    let expected = [
        "1 | {city: Bonn, zip: 1, street: -} | [1, -] | [1, 2] | {k: v}",
        "2 | {city: Köln, zip: 2, street: -} | - | - | -",
        "3 | {city: -, zip: 3, street: Ring} | - | - | -",
    ];
    assert_eq!(rows_of(scanned), expected);
    assert_eq!(rows(&memory_users(vec![one], "")?, TableRole::Users).len(), 2);
    Ok(())
}

fn added_columns_and_wider_integers_unify() -> Outcome {
    let folder = TempDir::new()?;
    let old = batch(vec![("id", Arc::new(Int16Array::from(vec![1])) as ArrayRef), ("same", texts(&["a"]))]);
    let new = batch(vec![("plan", texts(&["pro"])), ("same", texts(&["b"])), ("id", ints(&[1 << 40]))]);
    write_parquet(&folder.path().join("u/2023.parquet"), &old);
    write_parquet(&folder.path().join("u/2024.parquet"), &new);
    let tables = open(&users("u/", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: integer", "same: text", "plan: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | a | -", "1099511627776 | b | pro"]);
    Ok(())
}

fn conflicts_name_both_files() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/a.parquet"), &batch(vec![("id", ints(&[1])), ("amount", ints(&[1]))]));
    write_parquet(&folder.path().join("u/b.parquet"), &batch(vec![("id", ints(&[2])), ("amount", texts(&["1"]))]));
    let text = refusal(open(&users("u", ""), folder.path()));
    expect_in(&text, &["u/a.parquet", "u/b.parquet", "`amount`", "as text", "as integer", "`columns`"]);
    let nested =
        |values: ArrayRef| StructArray::from(vec![(Arc::new(Field::new("x.y", values.data_type().clone(), true)), values)]);
    write_parquet(&folder.path().join("n/a.parquet"), &batch(vec![("id", ints(&[1])), ("s", Arc::new(nested(ints(&[1]))))]));
    write_parquet(&folder.path().join("n/b.parquet"), &batch(vec![("id", ints(&[1])), ("s", Arc::new(nested(texts(&["1"]))))]));
    expect_in(&refusal(open(&users("n", ""), folder.path())), &["`s[\"x.y\"]`", "n/a.parquet", "n/b.parquet"]);
    Ok(())
}

fn a_declaration_settles_a_conflict() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/a.parquet"), &batch(vec![("id", ints(&[1])), ("amount", ints(&[1]))]));
    write_parquet(&folder.path().join("u/b.parquet"), &batch(vec![("id", ints(&[2])), ("amount", texts(&[" 1.5 "]))]));
    let tables = open(&users("u", "columns = { amount = \"decimal(12,2)\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 1.00", "2 | 1.50"]);
    Ok(())
}

// Places.

fn folders_hold_columns() -> Outcome {
    let folder = TempDir::new()?;
    let file = |day: &str, city: &str| folder.path().join(format!("e/day={day}/city={city}/part.parquet"));
    let at = |micros: i64| Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")) as ArrayRef;
    write_parquet(&file("2024-01-01", "New%20York"), &batch(vec![("id", ints(&[1])), ("at", at(0))]));
    write_parquet(&file("soon", "__HIVE_DEFAULT_PARTITION__"), &batch(vec![("id", ints(&[2])), ("at", at(1))]));
    write(&folder.path().join("e/day=2024-01-03/x.csv"), "id,at\n3,1970-01-01T00:00:00Z\n");
    let declared = "columns = { day = \"date\", id = \"integer\", at = \"timestamp\" }";
    let tables = open(&events("e", declared), folder.path())?;
    let expected = [
        "1 | 1970-01-01T00:00:00Z | 2024-01-01 | New York",
        "2 | 1970-01-01T00:00:00.000001Z | - | -",
        "3 | 1970-01-01T00:00:00Z | 2024-01-03 | -",
    ];
    assert_eq!(rows(&tables, TableRole::Events), expected);
    let one = frame(&tables, TableRole::Events).filter(column("city").eq(lit("New York")))?.select(vec![column("id")])?;
    assert_eq!(rows_of(one), ["1"]);
    Ok(())
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn globs_and_lists() -> Outcome {
    let folder = TempDir::new()?;
    for (number, path) in ["a/x-1.parquet", "a/x-2.parquet", "a/deep/x-3.parquet", "b[1]/y.parquet"].iter().enumerate() {
        let number = i64::try_from(number)? + 1;
        write_parquet(&folder.path().join(path), &batch(vec![("id", ints(&[number]))]));
    }
    let ids = |source: &str| Ok::<_, Failed>(rows(&open(&users(source, ""), folder.path())?, TableRole::Users));
    assert_eq!(ids("a/*.parquet")?, ["1", "2"]);
    assert_eq!(ids("a/**/*.parquet")?, ["1", "2", "3"]);
    assert_eq!(ids("a/x-[23].parquet")?, ["2"]);
    assert_eq!(ids("*/")?, ["1", "2", "3", "4"]);
    assert_eq!(ids("b[1]/y.parquet")?, ["4"]);
    let list = TenantTables {
        timezone: "UTC".to_owned(),
        users: Some(toml::from_str("source = [\"a/x-1.parquet\", \"a/deep\"]\nkey = \"id\"")?),
        ..TenantTables::default()
    };
    assert_eq!(rows(&open(&list, folder.path())?, TableRole::Users), ["1", "3"]);
    expect_in(&refusal(open(&users("a/*.csv", ""), folder.path())), &["`a/*.csv`", "holds no file", "allow_empty"]);
    Ok(())
}

fn http() -> Outcome {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let body = "id,name\n1,Ada\n";
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let head = request[..length].starts_with(b"HEAD");
            let date = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"1\"\r\nConnection: close";
            let text = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            let answer = if text.contains("\nrange:") {
                format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{}/{}\r\n", body.len() - 1, body.len())
            } else {
                "HTTP/1.1 200 OK\r\n".to_owned()
            };
            let shown = if head { "" } else { body };
            write!(stream, "{answer}Content-Length: {}\r\n{date}\r\n\r\n{shown}", body.len()).unwrap();
        }
    });
    let tables = open(&users(&format!("http://{address}/data/users.csv"), ""), Path::new("/"))?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada"]);
    Ok(())
}

// Configuration.

fn declared_types() -> Outcome {
    let folder = TempDir::new()?;
    let header = "id,zip,amount,at,props,n,f,ok,day,when";
    let good = "1,01234,12.30,1700000000,\"{\"\"a\"\":1}\",7,0.5,TRUE,2024-02-29,2024-01-01T00:00:00+01:00";
    let bad = "2,,12.345,noon,x,7.5,inf,yes,2023-02-29,2024-01-01T00:00:00.1234567Z";
    write(&folder.path().join("users.csv"), &format!("{header}\n{good}\n{bad}\n"));
    let declared = "columns = { zip = \"string\", amount = \"decimal(12,2)\", at = \"timestamp[s]\", props = \"json\", \
                    n = \"integer\", f = \"float\", ok = \"boolean\", day = \"date\", when = \"timestamp\" }";
    let tables = open(&users("users.csv", declared), folder.path())?;
    let expected = [
        "1 | 01234 | 12.30 | 2023-11-14T22:13:20Z | {\"a\":1} | 7 | 0.5 | true | 2024-02-29 | 2023-12-31T23:00:00Z",
        "2 | - | - | - | x | - | - | - | - | 2024-01-01T00:00:00.123456Z",
    ];
    assert_eq!(rows(&tables, TableRole::Users), expected);
    write_parquet(
        &folder.path().join("users.parquet"),
        &batch(vec![("id", ints(&[1])), ("zip", ints(&[10_115])), ("at", ints(&[1_700_000_000]))]),
    );
    let tables = open(&users("users.parquet", "columns = { zip = \"string\", at = \"timestamp[s]\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 10115 | 2023-11-14T22:13:20Z"]);
    let text = refusal(open(&users("users.parquet", "columns = { zpi = \"string\" }"), folder.path()));
    expect_in(&text, &["no column `zpi`", "Did you mean `zip`?"]);
    let text = refusal(open(&users("users.parquet", "columns = { zip = \"boolean\" }"), folder.path()));
    expect_in(&text, &["users.parquet", "`zip` as integer", "cannot be declared as boolean"]);
    Ok(())
}

fn naive_timestamps() -> Outcome {
    let folder = TempDir::new()?;
    let hour = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let local = ["2024-03-31T02:30:00", "2024-10-27T02:30:00", "2024-07-01T12:00:00"].map(hour);
    let naive =
        Arc::new(TimestampNanosecondArray::from_iter_values(local.iter().map(|at| i64::try_from(at.as_nanosecond()).unwrap())))
            as ArrayRef;
    let zoned = Arc::new(TimestampSecondArray::from_iter_values(local.iter().map(|at| at.as_second())).with_timezone("Asia/Tokyo"));
    write_parquet(&folder.path().join("e.parquet"), &batch(vec![("id", ints(&[1, 2, 3])), ("at", naive), ("zoned", zoned)]));
    let tables = open(&events("e.parquet", "naive_timezone = \"Europe/Berlin\""), folder.path())?;
    assert_eq!(
        rows(&tables, TableRole::Events),
        [
            "1 | 2024-03-31T01:30:00Z | 2024-03-31T02:30:00Z",
            "2 | 2024-10-27T00:30:00Z | 2024-10-27T02:30:00Z",
            "3 | 2024-07-01T10:00:00Z | 2024-07-01T12:00:00Z"
        ]
    );
    let tables = open(&events("e.parquet", ""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Events)[0], "1 | 2024-03-31T02:30:00Z | 2024-03-31T02:30:00Z");
    let text = refusal(open(&events("e.parquet", "naive_timezone = \"Europe/Berlim\""), folder.path()));
    expect_in(&text, &["no timezone `Europe/Berlim`", "IANA"]);
    Ok(())
}

fn times_are_floored() -> Outcome {
    let folder = TempDir::new()?;
    let at = Arc::new(TimestampNanosecondArray::from(vec![-1, -1_000, -1_001, 1_999]).with_timezone("UTC")) as ArrayRef;
    write_parquet(&folder.path().join("e.parquet"), &batch(vec![("id", ints(&[1, 2, 3, 4])), ("at", at)]));
    let tables = open(&events("e.parquet", ""), folder.path())?;
    assert_eq!(
        rows(&tables, TableRole::Events),
        [
            "1 | 1969-12-31T23:59:59.999999Z",
            "2 | 1969-12-31T23:59:59.999999Z",
            "3 | 1969-12-31T23:59:59.999998Z",
            "4 | 1970-01-01T00:00:00.000001Z"
        ]
    );
    let instant = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    for (condition, expected) in [
        (column("at").eq(instant(-1)), vec!["1", "2"]),
        (column("at").gt_eq(instant(-1)), vec!["1", "2", "4"]),
        (column("at").gt(instant(-1)), vec!["4"]),
        (column("at").lt(instant(-1)), vec!["3"]),
        (column("at").lt_eq(instant(-1)), vec!["1", "2", "3"]),
        (instant(1).eq(column("at")), vec!["4"]),
    ] {
        let found = frame(&tables, TableRole::Events).filter(condition)?.select(vec![column("id")])?;
        assert_eq!(rows_of(found), expected);
    }
    Ok(())
}

fn weird_names() -> Outcome {
    let folder = TempDir::new()?;
    let names = ["id", "User.Name", "quo\"te", "it's", "a b", "ÄÖ", "id ", "SELECT", "x=y", "", "back\\slash", "star*"];
    let columns = names.iter().enumerate().map(|(at, name)| (*name, ints(&[i64::try_from(at).unwrap()]))).collect();
    write_parquet(&folder.path().join("we ird/50% #1?.parquet"), &batch(columns));
    let tables = open(&users("we ird", ""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11"]);
    for (at, name) in names.iter().enumerate() {
        let condition = column(name).eq(lit(i64::try_from(at)?));
        let found = frame(&tables, TableRole::Users).filter(condition)?.select(vec![column(name)])?;
        assert_eq!(rows_of(found), [at.to_string()]);
    }
    Ok(())
}

fn missing_and_empty_sources() -> Outcome {
    let folder = TempDir::new()?;
    expect_in(
        &refusal(open(&users("none.parquet", ""), folder.path())),
        &["users source", "none.parquet", "does not exist", "relative"],
    );
    fs::create_dir(folder.path().join("hollow"))?;
    expect_in(&refusal(open(&users("hollow", ""), folder.path())), &["`hollow` holds no file", "allow_empty"]);
    write_parquet(&folder.path().join("z/0.parquet"), &people().slice(0, 0));
    write(&folder.path().join("z/1.csv"), "id,name\n");
    write(&folder.path().join("z/2.ndjson"), "\n\n");
    write(&folder.path().join("z/3.csv"), "");
    expect_in(&refusal(open(&users("z", "columns = { id = \"integer\" }"), folder.path())), &["`z` holds no row", "allow_empty"]);
    expect_in(&refusal(open(&users("users.dat", ""), folder.path())), &["does not exist"]);
    write(&folder.path().join("users.dat"), "id\n1\n");
    expect_in(&refusal(open(&users("users.dat", ""), folder.path())), &["users.dat", "tells no format", "`format`"]);
    expect_in(&refusal(open(&users("ftp://host/x.csv", ""), folder.path())), &["ftp://host/x.csv", "s3://"]);
    Ok(())
}

fn empty_tables_may_be_allowed() -> Outcome {
    let folder = TempDir::new()?;
    fs::create_dir(folder.path().join("e"))?;
    let allowed = "allow_empty = true\nevent_type = \"kind\"\ndata = \"props\"\ncolumns = { price = \"float\" }";
    let tables = open(&events("e", allowed), folder.path())?;
    assert!(rows(&tables, TableRole::Events).is_empty());
    let columns: Vec<_> = tables.catalog().events.as_ref().unwrap().table.columns.keys().cloned().collect();
    assert_eq!(columns, ["price", "props", "at", "id", "kind"]);
    write_parquet(&folder.path().join("z.parquet"), &people().slice(0, 0));
    assert!(rows(&open(&users("z.parquet", "allow_empty = true"), folder.path())?, TableRole::Users).is_empty());
    Ok(())
}

fn broken_files() -> Outcome {
    let folder = TempDir::new()?;
    let whole = folder.path().join("whole.parquet");
    write_parquet(&whole, &people());
    let bytes = fs::read(&whole)?;
    fs::write(folder.path().join("cut.parquet"), &bytes[..bytes.len() - 20])?;
    fs::write(folder.path().join("none.parquet"), "")?;
    fs::write(folder.path().join("text.parquet"), "id,name\n1,Ada\n")?;
    for name in ["cut.parquet", "none.parquet", "text.parquet"] {
        expect_in(&refusal(open(&users(name, ""), folder.path())), &[name, "cannot be read as Parquet", "truncated"]);
    }
    let path = folder.path().join("whole.arrow");
    let mut writer = arrow_ipc::writer::FileWriter::try_new(fs::File::create(&path)?, &people().schema())?;
    writer.write(&people())?;
    writer.finish()?;
    let bytes = fs::read(&path)?;
    for cut in [3, 20, bytes.len() / 2, bytes.len() - 1] {
        fs::write(folder.path().join("cut.arrow"), &bytes[..cut])?;
        expect_in(&refusal(open(&users("cut.arrow", ""), folder.path())), &["cut.arrow", "cannot be read as Arrow IPC"]);
    }
    write(&folder.path().join("bad.ndjson"), "{\"id\":1}\n{\"id\":\n");
    expect_in(&refusal(open(&users("bad.ndjson", ""), folder.path())), &["bad.ndjson", "cannot be read as NDJSON"]);
    write(&folder.path().join("twice.csv"), "id,id\n1,2\n");
    expect_in(&refusal(open(&users("twice.csv", ""), folder.path())), &["twice.csv", "two columns named `id`"]);
    write(&folder.path().join("ragged.csv"), "id,name\n1,Ada\n2\n");
    let tables = open(&users("ragged.csv", ""), folder.path())?;
    let failure = run(frame(&tables, TableRole::Users).collect()).unwrap_err();
    let error = tables.failure("reading", failure).to_string();
    expect_in(&error, &["users source", "ragged.csv", "cannot be read to its end"]);
    Ok(())
}

fn a_file_that_vanishes() -> Outcome {
    let folder = TempDir::new()?;
    for format in ["parquet", "csv"] {
        let path = folder.path().join(format!("gone.{format}"));
        if format == "csv" {
            write(&path, "id\n1\n");
        } else {
            write_parquet(&path, &people());
        }
        let tables = open(&users(&format!("gone.{format}"), ""), folder.path())?;
        fs::remove_file(&path)?;
        let failure = run(frame(&tables, TableRole::Users).collect()).unwrap_err();
        let error = tables.failure("reading", failure);
        assert!(matches!(&error, BackendError::Source { table: TableRole::Users, .. }), "{error:?}");
        expect_in(&error.to_string(), &[&path.display().to_string(), "vanished"]);
    }
    Ok(())
}

fn mappings() -> Outcome {
    let folder = TempDir::new()?;
    let stored = batch(vec![
        ("user_id", ints(&[1])),
        ("score", Arc::new(Float32Array::from(vec![1.0]))),
        ("a.b", ints(&[1])),
        ("props", texts(&["{}"])),
        ("at", ints(&[0])),
    ]);
    write_parquet(&folder.path().join("t.parquet"), &stored);
    let users = |text: &str| TenantTables {
        timezone: "UTC".to_owned(),
        users: Some(toml::from_str(&format!("source = \"t.parquet\"\n{text}")).unwrap()),
        ..TenantTables::default()
    };
    let refused = |text: &str| refusal(open(&users(text), folder.path()));
    expect_in(&refused("key = \"usr_id\""), &["users", "`key` is `usr_id`", "no column `usr_id`", "Did you mean `user_id`?"]);
    expect_in(&refused("key = \"usr_id\"\ndata = \"props\""), &["no column `usr_id`"]);
    expect_in(&refused("key = \"a.b\""), &["Did you mean `[\"a.b\"]`?"]);
    expect_in(&refused("key = \"score\""), &["`score`, which holds float", "score = \"string\""]);
    expect_in(&refused("key = \"user_id\"\nversion = \"vresion\""), &["`version` is `vresion`"]);
    expect_in(&refused("key = \"user_id\"\ndata = \"prosp\""), &["`prosp`", "Did you mean `props`?"]);
    expect_in(&refused("key = \"user_id\"\ndata = \"score\""), &["`score`, which holds float"]);
    expect_in(&refused("key = \"a..b\""), &["`key`", "a key is empty"]);
    let tables = open(&users("key = \"props.account.id\"\nversion = \"score\"\ndata = \"props\""), folder.path())?;
    let found = tables.catalog().users.as_ref().unwrap();
    assert_eq!(found.key.to_string(), "props.account.id");
    assert_eq!(found.key.json.as_deref(), Some(["account".to_owned(), "id".to_owned()].as_slice()));
    assert_eq!(found.table.columns["props"].to_string(), "json");
    let no_key = TenantTables {
        timezone: "UTC".to_owned(),
        events: Some(toml::from_str("source = \"t.parquet\"\ntimestamp = \"at\"")?),
        ..TenantTables::default()
    };
    expect_in(&refusal(open(&no_key, folder.path())), &["`user_key`", "`product_key`"]);
    Ok(())
}

// Plans.

fn memory_tables() -> Outcome {
    let batches = MemoryTables { users: vec![people(), people()], events: Vec::new(), products: Vec::new() };
    let tables = run(Tables::from_batches(&users("is not looked at", ""), &batches, &EngineSettings::default()))?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "1 | Ada", "2 | -", "2 | -"]);
    let Err(error) = tables.scan(TableRole::Products) else { panic!("there are no products") };
    expect_in(&error.to_string(), &["products", "no such table"]);
    Ok(())
}

fn conditions_skip_row_groups() -> Outcome {
    let folder = TempDir::new()?;
    let count = 4_000;
    let seconds = || (0..count).map(|second| second * 60);
    let types: Vec<_> = (0..count).map(|at| if at < 1_000 { "view" } else { "order" }).collect();
    let units: [(&str, ArrayRef); 5] = [
        ("s", Arc::new(TimestampSecondArray::from_iter_values(seconds()))),
        ("ms", Arc::new(TimestampMillisecondArray::from_iter_values(seconds().map(|at| at * 1_000)).with_timezone("Asia/Tokyo"))),
        ("us", Arc::new(TimestampMicrosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000)))),
        ("utc", Arc::new(TimestampMicrosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000)).with_timezone("UTC"))),
        ("ns", Arc::new(TimestampNanosecondArray::from_iter_values(seconds().map(|at| at * 1_000_000_000)))),
    ];
    for (unit, at) in units {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..i32::try_from(count)?));
        let kinds: ArrayRef = Arc::new(types.iter().copied().collect::<DictionaryArray<Int32Type>>());
        let path = folder.path().join(format!("{unit}.parquet"));
        write_parquet_in_groups(&path, &batch(vec![("id", ids), ("at", at), ("kind", kinds)]), 500);
        let tables = open(&events(&format!("{unit}.parquet"), ""), folder.path())?;
        let last = ScalarValue::TimestampMicrosecond(Some(3_600 * 60 * 1_000_000), Some("UTC".into()));
        for (condition, groups, matching) in [
            (column("at").gt_eq(lit(last)), "8 total → 1 matched", 400),
            (column("kind").eq(lit("view")), "8 total → 2 matched", 1_000),
            (column("id").lt(lit(10_i64)), "8 total → 1 matched", 10),
        ] {
            let filtered = frame(&tables, TableRole::Events).filter(condition)?.select(vec![column("id")])?;
            let plan = run(filtered.create_physical_plan())?;
            let context = tables.session().task_ctx();
            let found = run(datafusion::physical_plan::collect(Arc::clone(&plan), context))?;
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), matching);
            let metrics = DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(true).to_string();
            assert!(metrics.contains(&format!("row_groups_pruned_statistics={groups}")), "{unit}: {metrics}");
        }
    }
    Ok(())
}

fn only_wanted_columns_are_read() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("users.parquet"), &people());
    let tables = open(&users("users.parquet", ""), folder.path())?;
    let plan = run(frame(&tables, TableRole::Users).select(vec![column("id")])?.create_physical_plan())?;
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(shown.contains("projection=[id]") && shown.lines().count() == 1, "{shown}");
    let counted = run(frame(&tables, TableRole::Users).count())?;
    assert_eq!(counted, 2);
    write(&folder.path().join("users.csv"), "id,name\n1,Ada\n2,\n");
    assert_eq!(run(frame(&open(&users("users.csv", ""), folder.path())?, TableRole::Users).count())?, 2);
    Ok(())
}

fn scans_are_counted() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/1.parquet"), &people());
    write(&folder.path().join("u/2.csv"), "id,name\n3,Eve\n");
    let tables = open(&users("u", "columns = { id = \"integer\" }"), folder.path())?;
    let plan = run(frame(&tables, TableRole::Users).create_physical_plan())?;
    let read = run(datafusion::physical_plan::collect(Arc::clone(&plan), tables.session().task_ctx()))?;
    assert_eq!(concat_batches(&read[0].schema(), &read)?.num_rows(), 3);
    let scans = tables.scans(&plan);
    assert_eq!(scans.len(), 1);
    assert_eq!((scans[0].table, scans[0].passes, scans[0].rows), (TableRole::Users, 1, 3));
    Ok(())
}

/// The properties of a profile, as `property: type, missing; value×rows`.
fn shown(profile: &segmenta::backend::TableProfile) -> Vec<String> {
    let properties = profile.properties.iter().map(|property| {
        let top: Vec<_> = property.top.iter().map(|(value, rows)| format!("{value}×{rows}")).collect();
        format!("{}: {}, {} missing; {}", property.property, property.type_name, property.missing, top.join(" "))
    });
    properties.collect()
}

fn profiles() -> Outcome {
    let folder = TempDir::new()?;
    let day = |day: i64, kinds: Vec<Option<&str>>| {
        let rows = i64::try_from(kinds.len()).unwrap();
        let at = TimestampMillisecondArray::from_iter_values((0..rows).map(|row| day * 86_400_000 + row)).with_timezone("UTC");
        let ids: Vec<_> = (0..rows).collect();
        batch(vec![("id", ints(&ids)), ("at", Arc::new(at)), ("kind", Arc::new(StringArray::from(kinds)))])
    };
    write_parquet(&folder.path().join("e/1.parquet"), &day(1, vec![Some("view"), Some("order"), None]));
    write_parquet(&folder.path().join("e/2.parquet"), &day(0, vec![Some("view")]));
    let tables = open(&events("e", "event_type = \"kind\""), folder.path())?;
    let found = run(profile(&tables, TableRole::Events))?;
    assert_eq!((found.rows, found.files, found.sampled_rows), (4, 2, 4));
    assert_eq!(found.event_types, [("view".to_owned(), 2), ("order".to_owned(), 1)]);
    assert_eq!(found.time_range, Some(("1970-01-01T00:00:00Z".to_owned(), "1970-01-02T00:00:00.002Z".to_owned())));
    let expected = [
        "id: integer, 0 missing; 0×2 1×1 2×1",
        "at: timestamp, 0 missing; 1970-01-01T00:00:00Z×1 1970-01-02T00:00:00.001Z×1 1970-01-02T00:00:00.002Z×1 1970-01-02T00:00:00Z×1",
        "kind: text, 1 missing; view×2 order×1",
    ];
    assert_eq!(shown(&found), expected);
    Ok(())
}

fn profiles_of_json_and_maps() -> Outcome {
    let mut rates = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for key in ["gold", "x.y"] {
        rates.keys().append_value(key);
        rates.values().append_value("v");
        rates.append(true)?;
    }
    rates.append(false)?;
    let city = (Arc::new(Field::new("city", DataType::Utf8, true)), texts(&["Bonn", "Bonn", "Köln"]));
    let props = ["{\"kind\":\"view\",\"n\":1,\"deep\":{\"t\":[1]}}", "{\"kind\":\"view\",\"n\":\"1\",\"at\":0}", "no json"];
    let stored = batch(vec![
        ("id", ints(&[1, 2, 3])),
        ("at", texts(&["2024-01-01", "2023-12-31T00:00:00+01:00", "never"])),
        ("rates", Arc::new(rates.finish())),
        ("address", Arc::new(StructArray::from(vec![city]))),
        ("props", texts(&props)),
    ]);
    let batches = MemoryTables { events: vec![stored], ..MemoryTables::default() };
    let tables = run(Tables::from_batches(
        &events("", "event_type = \"props.kind\"\ndata = \"props\""),
        &batches,
        &EngineSettings::default(),
    ))?;
    let found = run(profile(&tables, TableRole::Events))?;
    assert_eq!(found.event_types, [("view".to_owned(), 2)]);
    assert_eq!(found.time_range, Some(("2023-12-30T23:00:00Z".to_owned(), "2024-01-01T00:00:00Z".to_owned())));
    let expected = [
        "id: integer, 0 missing; 1×1 2×1 3×1",
        "at: text, 0 missing; 2023-12-31T00:00:00+01:00×1 2024-01-01×1 never×1",
        "rates: map of text, 1 missing; ",
        "rates.gold: text, 2 missing; v×1",
        "rates[\"x.y\"]: text, 2 missing; v×1",
        "address.city: text, 0 missing; Bonn×2 Köln×1",
        "props: json, 0 missing; ",
        "props.at: number, 2 missing; 0×1",
        "props.deep.t: array, 2 missing; ",
        "props.kind: text, 1 missing; view×2",
        "props.n: number or text, 1 missing; 1×2",
    ];
    assert_eq!(shown(&found), expected);
    Ok(())
}
