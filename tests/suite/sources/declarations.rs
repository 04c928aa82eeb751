//! Values that do not fit the type that their column is declared to have: each is counted, in whatever format it is stored.

use segmenta::backend::datafusion::DataFusionBackend;
use segmenta::backend::{Backend, Evaluation, LocalMembers, ObservationKind};
use segmenta::check::Reading;
use segmenta::ir::{Aggregate, Formula, RowTest, Test as Condition, Value};
use segmenta::model::catalog::{Access, Table};
use segmenta::model::condition::Subject;
use segmenta::model::path::DocPath;
use segmenta::model::window::Interval;
use segmenta::plan::{Batch, BatchFeature, BatchMeasure, BatchTest, BatchValue, Leaf, Output, OutputName};

use super::*;

/// Every declared type under which a value can be lost, and two under which none of these is.
const DECLARED: &str = "columns = { n = \"integer\", f = \"float\", ok = \"boolean\", amount = \"decimal(6,2)\", day = \"date\", \
                        at = \"timestamp\", s = \"timestamp[s]\", zip = \"string\", props = \"json\" }";

const COLUMNS: [&str; 9] = ["n", "f", "ok", "amount", "day", "at", "s", "zip", "props"];

/// Of [`COLUMNS`] in these tests: two values of each that do not fit, one that does, and two that are missing.
const LOST: [&str; 7] =
    ["amount decimal(6,2) 2", "at timestamp 2", "day date 2", "f float 2", "n integer 2", "ok boolean 2", "s timestamp[s] 2"];

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("csv_that_does_not_fit_is_counted", csv),
        ("ndjson_that_does_not_fit_is_counted", ndjson),
        ("parquet_that_does_not_fit_is_counted", parquet),
        ("stored_types_that_do_not_fit_are_counted", stored_types),
        ("folders_that_do_not_fit_are_counted", folders),
        ("misfits_are_counted_in_every_partition", partitions),
        ("json_below_a_lost_value_is_counted", json_below),
        ("lost_times_and_keys_are_counted_once", times_and_keys),
        ("only_what_is_read_is_counted", only_what_is_read),
        ("a_table_has_no_further_columns", no_further_columns),
        ("misfits_of_events_that_measures_read", measures),
    ])
}

fn csv() -> Outcome {
    let folder = TempDir::new()?;
    let lines = [
        "id,n,f,ok,amount,day,at,s,zip,props",
        "1,7,0.5,TRUE,12.30,2024-02-29,2024-01-01T00:00:00Z,1700000000,01234,{}",
        "2,7.5,inf,yes,12.345,2023-02-29,noon,noon,x,x",
        "3,9223372036854775808,1e999,1,12345.00,today,2024-13-01,99999999999999999,y,[",
        "4,,,,,,,,,",
        "5,\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"",
    ];
    write(&folder.path().join("users.csv"), &lines.join("\n"));
    let tables = open(&users("users.csv", DECLARED), folder.path())?;
    assert_eq!(lost_of_users(tables, &COLUMNS), LOST);
    Ok(())
}

fn ndjson() -> Outcome {
    let folder = TempDir::new()?;
    let lines = [
        r#"{"id":"1","n":7,"f":"0.5","ok":true,"amount":12.3,"day":"2024-02-29","at":"2024-01-01","s":1700000000,"zip":1,"props":{}}"#,
        r#"{"id":"2","n":"x","f":[],"ok":1,"amount":{},"day":20240229,"at":"noon","s":true,"zip":[],"props":"x"}"#,
        r#"{"id":"3","n":1.5,"f":"","ok":"","amount":12.345,"day":"","at":"","s":"","zip":"","props":""}"#,
        r#"{"id":"4","n":null,"f":null,"ok":null,"amount":null,"day":null,"at":null,"s":null,"zip":null,"props":null}"#,
        r#"{"id":"5"}"#,
    ];
    write(&folder.path().join("users.ndjson"), &lines.join("\n"));
    let tables = open(&users("users.ndjson", DECLARED), folder.path())?;
    assert_eq!(lost_of_users(tables, &COLUMNS), LOST);
    Ok(())
}

fn parquet() -> Outcome {
    let folder = TempDir::new()?;
    let column = |values: [Option<&str>; 5]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let dictionary: DictionaryArray<Int32Type> = [Some("TRUE"), Some("yes"), Some(""), None, None].into_iter().collect();
    let stored = batch(vec![
        ("id", ints(&[1, 2, 3, 4, 5])),
        ("n", column([Some("7"), Some("7.5"), Some(""), None, None])),
        ("f", column([Some("0.5"), Some("inf"), Some("x"), None, None])),
        ("ok", Arc::new(dictionary)),
        (
            "amount",
            Arc::new(
                Decimal128Array::from(vec![Some(12_300), Some(12_345), Some(10_000_000), None, None])
                    .with_precision_and_scale(20, 3)?,
            ),
        ),
        ("day", column([Some("2024-02-29"), Some("2023-02-29"), Some("x"), None, None])),
        ("at", ints_or_none(&[Some(0), Some(i64::MAX), Some(i64::MIN), None, None])),
        ("s", ints_or_none(&[Some(0), Some(i64::MAX), Some(i64::MIN), None, None])),
        ("zip", ints_or_none(&[Some(0), Some(i64::MAX), Some(i64::MIN), None, None])),
        ("props", column([Some("{}"), Some("x"), Some("["), None, None])),
    ]);
    write_parquet_in_groups(&folder.path().join("users.parquet"), &stored, 2);
    let tables = open(&users("users.parquet", DECLARED), folder.path())?;
    assert_eq!(lost_of_users(tables, &COLUMNS), LOST);
    let tables = memory_users(vec![stored], DECLARED)?;
    assert_eq!(lost_of_users(tables, &COLUMNS), LOST);
    Ok(())
}

fn stored_types() -> Outcome {
    let floats = Float32Array::from(vec![Some(1.0), Some(0.5), Some(f32::NAN), None]);
    let large = UInt64Array::from(vec![Some(1), Some(u64::MAX), None, Some(2)]);
    let stored = batch(vec![
        ("id", ints(&[1, 2, 3, 4])),
        ("zip", Arc::new(floats.clone())),
        ("n", Arc::new(large.clone())),
        ("same", Arc::new(large)),
        ("kept", Arc::new(floats)),
    ]);
    // A file that lacks the columns has no value that does not fit.
    let without = batch(vec![("id", ints(&[5, 6]))]);
    let declared = "columns = { zip = \"string\", n = \"integer\", same = \"string\", kept = \"float\" }";
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/1.parquet"), &stored);
    write_parquet(&folder.path().join("u/2.parquet"), &without);
    let from_files = open(&users("u", declared), folder.path())?;
    for tables in [from_files, memory_users(vec![stored, without], declared)?] {
        assert_eq!(lost_of_users(tables, &["zip", "n", "same"]), ["n integer 1", "zip string 2"]);
    }
    Ok(())
}

fn folders() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/day=2024-01-01/1.parquet"), &people());
    write_parquet(&folder.path().join("u/day=soon/2.parquet"), &batch(vec![("id", ints(&[3, 4, 5]))]));
    write(&folder.path().join("u/day=later/3.csv"), "id\n6\n");
    write(&folder.path().join("u/day=__HIVE_DEFAULT_PARTITION__/4.csv"), "id\n7\n");
    write(&folder.path().join("u/5.csv"), "id\n8\n");
    let tables = open(&users("u", "columns = { day = \"date\", id = \"string\" }"), folder.path())?;
    assert_eq!(lost_of_users(tables, &["day"]), ["day date 4"]);
    Ok(())
}

fn partitions() -> Outcome {
    let folder = TempDir::new()?;
    let mut expected = 0;
    for file in 0..5_i64 {
        let texts: Vec<String> =
            (0..1_000).map(|row| if row % (file + 2) == 0 { format!("{row}") } else { "x".to_owned() }).collect();
        expected += texts.iter().filter(|text| *text == "x").count();
        let values: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let first = file * 1_000;
        write_parquet_in_groups(
            &folder.path().join(format!("u/{file}.parquet")),
            &batch(vec![("id", ints(&(first..first + 1_000).collect::<Vec<_>>())), ("n", values)]),
            100,
        );
        let lines: Vec<String> = texts.iter().enumerate().map(|(row, text)| format!("c{file}-{row},{text}")).collect();
        write(&folder.path().join(format!("u/{file}.csv")), &format!("id,n\n{}\n", lines.join("\n")));
    }
    for threads in [1, 4] {
        let settings = EngineSettings { threads, ..EngineSettings::default() };
        let configuration = users("u", "columns = { n = \"integer\", id = \"string\" }");
        let tables = run(Tables::open(&configuration, folder.path(), &settings))?;
        assert_eq!(lost_of_users(tables, &["n"]), [format!("n integer {}", 2 * expected)]);
    }
    Ok(())
}

fn json_below() -> Outcome {
    let props = Float32Array::from(vec![Some(0.5), Some(1.0), None]);
    let stored = batch(vec![("id", ints(&[1, 2, 3])), ("props", Arc::new(props))]);
    let tables = memory_users(vec![stored], "columns = { props = \"string\" }\ndata = \"props\"")?;
    assert_eq!(lost_of_users(tables, &["props.a"]), ["props string 1"]);
    Ok(())
}

fn times_and_keys() -> Outcome {
    let folder = TempDir::new()?;
    write(&folder.path().join("e.csv"), "id,at,x\n1,2024-01-01,1\n1,noon,2\n1,,3\nx,2024-01-01,4\n,2024-01-01,5\n");
    let opened = || open(&events("e.csv", "columns = { at = \"timestamp\", id = \"integer\", x = \"integer\" }"), folder.path());
    let count = |filter| BatchMeasure { event_type: None, filter, window: always(), aggregate: Aggregate::Count, as_of: None };
    let table = |tables: &Tables| tables.catalog().events.clone().unwrap().table;
    let tables = opened()?;
    let counted = observed(tables, vec![BatchFeature::Measure(count(Formula::Constant(true)))]);
    assert_eq!(counted, ["events: missing key 2", "events: missing time 2"]);

    let tables = opened()?;
    let at = Value::DaysSince(access(&table(&tables), "at"));
    let recent = Formula::Leaf(RowTest { value: BatchValue { value: at, as_of: None }, test: Condition::IsSet });
    // An event without a time does not exist: nothing is read of it that could not fit as well.
    let counted = observed(tables, vec![BatchFeature::Measure(count(recent))]);
    assert_eq!(counted, ["events: missing key 2", "events: missing time 2"]);
    Ok(())
}

fn only_what_is_read() -> Outcome {
    let folder = TempDir::new()?;
    write(&folder.path().join("users.csv"), "id,n,m,n is there\n1,x,x,yes\n2,1,y,\n");
    write_parquet(
        &folder.path().join("users.parquet"),
        &batch(vec![
            ("id", ints(&[1, 2])),
            ("n", texts(&["x", "1"])),
            ("m", texts(&["x", "y"])),
            ("n is there", texts(&["yes", ""])),
        ]),
    );
    for source in ["users.csv", "users.parquet"] {
        let opened = || open(&users(source, "columns = { n = \"integer\", m = \"integer\" }"), folder.path());
        assert_eq!(lost_of_users(opened()?, &["n", "n is there"]), ["n integer 1"]);
        assert_eq!(lost_of_users(opened()?, &["id"]), Vec::<String>::new());
        let plan = |columns: &[&str]| {
            let tables = opened().unwrap();
            let batch = batch_of(attributes(&tables.catalog().users.as_ref().unwrap().table, columns));
            run(DataFusionBackend::new(tables).show_plan(&batch)).unwrap()
        };
        expect_in(&plan(&["n"]), &["projection=[id, n, n is there']"]);
        let other = plan(&["n is there"]);
        expect_in(&other, &["projection=[id, n is there]"]);
        assert!(!other.contains("n is there'") && !other.contains("m is there"), "{other}");
    }
    Ok(())
}

fn no_further_columns() -> Outcome {
    let folder = TempDir::new()?;
    write(&folder.path().join("u/day=x/users.csv"), "id,n\n1,x\n2,1\n");
    let tables = open(&users("u", "columns = { n = \"integer\", day = \"date\" }"), folder.path())?;
    assert_eq!(columns(&tables), ["id: text", "n: integer", "day: date"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | - | -", "2 | 1 | -"]);
    let profile = run(profile(&tables, TableRole::Users))?;
    let properties: Vec<_> = profile.properties.iter().map(|found| found.property.as_str()).collect();
    assert_eq!(properties, ["id", "n", "day"]);
    Ok(())
}

fn measures() -> Outcome {
    let folder = TempDir::new()?;
    let lines = ["id,at,event,amount", "1,2024-01-01,a,1.5", "1,2024-01-01,a,7", "1,2024-01-01,b,1.255", "2,2024-01-02,c,x"];
    write(&folder.path().join("e.csv"), &lines.join("\n"));
    // Events of one id count once, so that the second row is dropped; what did not fit in rows that are dropped does not count.
    write(&folder.path().join("e2.csv"), "id,at,event,amount\n1,2024-01-01,b,oops\n");
    let declared = "columns = { at = \"timestamp\", amount = \"decimal(12,2)\" }\nevent_id = \"event\"\ndeduplicate = true";
    let tables = open(&events("*.csv", declared), folder.path())?;
    let amount = access(&tables.catalog().events.as_ref().unwrap().table, "amount");
    let sum = |aggregate| {
        BatchFeature::Measure(BatchMeasure {
            event_type: None,
            filter: Formula::Constant(true),
            window: always(),
            aggregate,
            as_of: None,
        })
    };
    let features = vec![sum(Aggregate::Sum(amount.clone())), sum(Aggregate::Max(amount))];
    assert_eq!(observed(tables, features), ["events: amount decimal(12,2) 2"]);
    Ok(())
}

fn ints_or_none(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn always() -> Interval {
    Interval { from: None, to: Some("2026-01-01T00:00:00Z".parse().unwrap()) }
}

fn access(table: &Table, path: &str) -> Access {
    table.resolve(&path.parse().unwrap()).unwrap()
}

/// A feature for each path, read as it is stored.
fn attributes(table: &Table, paths: &[&str]) -> Vec<BatchFeature> {
    paths
        .iter()
        .map(|path| BatchFeature::Attribute(BatchValue { value: Value::Stored(access(table, path), Reading::Stored), as_of: None }))
        .collect()
}

/// A batch that asks whether each feature is set.
fn batch_of(features: Vec<BatchFeature>) -> Batch {
    let output = |test: usize| Output {
        name: OutputName::Node(format!("s{test}").parse().unwrap(), DocPath::root()),
        as_of: "2026-01-01T00:00:00Z".parse().unwrap(),
        formula: Formula::Leaf(Leaf::Test(test)),
        score: None,
    };
    Batch {
        rankings: Vec::new(),
        scores: Vec::new(),
        subject: Subject::User,
        as_of: "2026-01-01T00:00:00Z".parse().unwrap(),
        timezone: "UTC".to_owned(),
        tests: (0..features.len()).map(|feature| BatchTest { feature, test: Condition::IsSet }).collect(),
        comparisons: Vec::new(),
        given: Vec::new(),
        outputs: (0..features.len()).map(output).collect(),
        features,
    }
}

fn observed(tables: Tables, features: Vec<BatchFeature>) -> Vec<String> {
    let backend = DataFusionBackend::new(tables);
    let evaluation: Evaluation<LocalMembers> = run(backend.evaluate(&batch_of(features), &[])).unwrap();
    let observations = evaluation.observations.iter().map(|found| {
        let (table, count) = (found.table, found.count);
        match &found.kind {
            ObservationKind::MissingKey => format!("{table}: missing key {count}"),
            ObservationKind::MissingTime => format!("{table}: missing time {count}"),
            ObservationKind::DeclaredMisfit { column, declared } => format!("{table}: {column} {declared} {count}"),
            ObservationKind::Misfit { property, reading } => format!("{table}: {property} as {reading:?} {count}"),
            ObservationKind::InvalidJson { column } => format!("{table}: {column} is invalid {count}"),
        }
    });
    observations.collect()
}

/// What a batch that reads these columns of users finds of misfits of declarations.
fn lost_of_users(tables: Tables, columns: &[&str]) -> Vec<String> {
    let features = attributes(&tables.catalog().users.as_ref().unwrap().table, columns);
    let found = observed(tables, features).into_iter().filter_map(|found| Some(found.strip_prefix("users: ")?.to_owned()));
    found.filter(|found| !found.contains(" as ") && !found.contains("invalid")).collect()
}
