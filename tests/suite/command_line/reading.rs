//! What reads the store: history by run and day, changes with filters, segments of a subject, sets of several segments with attributes, and
//! results that go to a file.

use std::collections::BTreeMap;
use std::fs;

use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::{Answer, BIG, BUYERS, NO_ORDERS, Project, UNCHANGED_IN_FRANCE};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 13] = [
        ("the history of days follows from that of runs", the_history_of_days_follows_from_that_of_runs),
        ("a date stands for a day of the tenant", a_date_stands_for_a_day_of_the_tenant),
        ("changes are told by segment, direction and reason", changes_are_told_by_segment_direction_and_reason),
        ("history is told by kind and status", history_is_told_by_kind_and_status),
        ("a subject is told since when", a_subject_is_told_since_when),
        ("segments are put together", segments_are_put_together),
        ("attributes stand beside members", attributes_stand_beside_members),
        ("columns keep their types", columns_keep_their_types),
        ("members are sorted", members_are_sorted),
        ("pages are stable", pages_are_stable),
        ("results go to a file", results_go_to_a_file),
        ("a file that is there stays", a_file_that_is_there_stays),
        ("what makes no sense is told", what_makes_no_sense_is_told),
    ];
    super::named("command_line::reading::", trials)
}

/// Users with columns of many types; the order of their rows is none, and `u3` stands twice, of which the greater version counts.
const USERS: &str = r#"{"user_id": "u3", "country": "DE", "plan": "free", "age": 51, "version": 1}
{"user_id": "u4", "country": "FR", "age": 40, "spent": 0.5, "born": "1985-02-03", "tags": [], "profile": {"a": {"b": [1, null]}, "n": 7}}
{"user_id": "u1", "country": "FR", "plan": "gold", "age": 31, "spent": 12.25, "born": "1994-12-31", "tags": ["x", "y,z"], "address": {"city": "Lyon", "zip": "69001"}, "profile": {"a": {"b": "ü"}, "n": 10}, "reason": "theirs"}
{"user_id": "u3", "country": "DE", "plan": "free", "age": 52, "version": 2, "address": {"city": "Köln"}}
{"user_id": "u2", "country": "DE", "profile": "none"}
"#;

/// A project with users of many columns and with products.
fn rich() -> Project {
    let project = Project::new();
    project.write("users.ndjson", USERS);
    project.write("products.csv", "product_id,stock\np1,3\np2,0\n");
    let users = r#"source = "users.ndjson"
key = "user_id"
version = "version"
columns = { age = "integer", spent = "decimal(9,2)", born = "date", profile = "json", version = "integer" }

[tenants.products]
source = "products.csv"
key = "product_id"
"#;
    let config = project.read("scheduler.toml").replace("source = \"users.csv\"\nkey = \"user_id\"\n", users);
    project.write("scheduler.toml", &config);
    project.write(
        "queries/shelf.json",
        r#"{"id": "shelf", "subject": "product", "logic": "and", "conditions": [{"type": "everyone"}]}"#,
    );
    project.run(&["refresh", "--all"]).ok();
    project
}

fn rows(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
    project.run(&arguments).ok().json().as_array().unwrap().clone()
}

fn ids(project: &Project, arguments: &[&str]) -> Vec<String> {
    rows(project, arguments).iter().map(|row| row["subject_id"].as_str().unwrap().to_owned()).collect()
}

fn told(row: &Value, columns: &[&str]) -> Vec<Value> {
    columns.iter().map(|column| row[*column].clone()).collect()
}

/// Runs on three days: the first with two runs, then a day without any.
fn lived() -> Project {
    let project = Project::refreshed();
    project.append_order("u4", "2026-01-01T12:00:00Z", 5);
    project.run(&["refresh", "--all", "--as-of", "2026-01-01T13:00:00Z"]).ok();
    project.write("queries/buyers.json", &project.read("queries/buyers.json").replace("\"value\": 1}", "\"value\": 2}"));
    project.run(&["refresh", "--all", "--as-of", "2026-01-03T09:00:00Z"]).ok();
    project
}

fn the_history_of_days_follows_from_that_of_runs() {
    let project = lived();
    let days = rows(&project, &["history", BUYERS, "--daily"]);
    let columns = ["tenant", "segment_id", "evaluation_date", "member_count", "added_count", "removed_count"];
    assert_eq!(days[0].as_object().unwrap().keys().collect::<Vec<_>>(), columns);
    let figures: Vec<Value> = days.iter().map(|day| json!(told(day, &columns[2..]))).collect();
    assert_eq!(json!(figures), json!([["2026-01-01", 4, 4, 0], ["2026-01-02", 4, 0, 0], ["2026-01-03", 1, 0, 3]]));

    // Of every segment, against the rows of runs.
    let (runs, days) = (rows(&project, &["history"]), rows(&project, &["history", "--daily"]));
    let mut by_segment: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for day in &days {
        by_segment.entry(day["segment_id"].as_str().unwrap()).or_default().push(day);
    }
    assert_eq!(by_segment.len(), 4);
    for (segment, days) in by_segment {
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
        let mut before = 0;
        for day in &days {
            assert_eq!(
                before + number(day, "added_count"),
                number(day, "member_count") + number(day, "removed_count"),
                "{segment}"
            );
            before = number(day, "member_count");
        }
        let own: Vec<&Value> = runs.iter().filter(|row| row["segment_id"] == segment).collect();
        assert_eq!((own.len(), days.len()), (3, 3));
        assert_eq!(own[2]["member_count"], before);
    }
    let of_second = rows(&project, &["history", BUYERS, "--daily", "--from", "2026-01-02", "--to", "2026-01-02"]);
    assert_eq!(told(&of_second[0], &columns[2..4]), [json!("2026-01-02"), json!(4)]);
    assert_eq!((of_second.len(), rows(&project, &["history", BUYERS, "--daily", "--limit", "1"]).len()), (1, 1));
    let to_noon = rows(&project, &["history", BUYERS, "--daily", "--to", "2026-01-02T00:00:00Z"]);
    assert_eq!(to_noon.len(), 1, "an instant ends the range before it");

    let table = project.run(&["history", BUYERS, "--daily"]).ok().stdout;
    assert!(table.starts_with("segment id  evaluation date  member count"), "{table}");
    let refused = project.run(&["history", BUYERS, "--daily", "--kind", "run"]).exits(2);
    assert!(refused.stderr.contains("--kind backfill"), "{}", refused.stderr);
    assert!(rows(&project, &["history", BUYERS, "--daily", "--kind", "backfill"]).is_empty());
    project.run(&["history", BUYERS, "--daily", "--status", "ok"]).exits(2);
}

fn a_date_stands_for_a_day_of_the_tenant() {
    let project = Project::new();
    let config = project.read("scheduler.toml").replace("definitions = [", "timezone = \"America/New_York\"\ndefinitions = [");
    project.write("scheduler.toml", &config);
    // Half past eleven in the evening of the last day of the year, and half an hour later.
    for at in ["2026-01-01T04:30:00Z", "2026-01-01T05:00:00Z"] {
        project.run(&["refresh", BIG, "--as-of", at]).ok();
    }
    let of = |range: &[&str]| {
        let arguments: Vec<&str> = ["history", BIG].iter().chain(range).copied().collect();
        rows(&project, &arguments).iter().map(|row| row["as_of"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&["--to", "2025-12-31"]), ["2026-01-01T04:30:00Z"]);
    assert_eq!(of(&["--from", "2026-01-01"]), ["2026-01-01T05:00:00Z"]);
    assert_eq!(of(&["--from", "2025-12-31", "--to", "2026-01-01"]).len(), 2);
    assert_eq!(of(&["--from", "2025-12-31", "--to", "2026-01-01T05:00:00Z"]).len(), 1);
    let days = rows(&project, &["history", BIG, "--daily"]);
    assert_eq!(days.iter().map(|day| &day["evaluation_date"]).collect::<Vec<_>>(), ["2025-12-31", "2026-01-01"]);
    let empty = project.run(&["changes", "--from", "2026-01-02", "--to", "2026-01-01"]).exits(2);
    assert!(
        empty.stderr.contains("nothing is at or after 2026-01-02T05:00:00Z and before 2026-01-02T05:00:00Z"),
        "{}",
        empty.stderr
    );
    for wrong in ["2026-13-01", "2026-01-01T00:00", "yesterday-ish"] {
        let refused = project.run(&["changes", "--from", wrong]).exits(2);
        assert!(refused.stderr.contains("or a date, such as 2026-01-01"), "{}", refused.stderr);
    }
}

fn changes_are_told_by_segment_direction_and_reason() {
    let project = lived();
    let of = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["changes"].iter().chain(arguments).copied().collect();
        let rows = rows(&project, &arguments);
        rows.iter()
            .map(|row| ["segment_id", "subject_id", "change", "reason"].map(|name| row[name].as_str().unwrap()).join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&[BUYERS, "--change", "exit"]),
        ["buyers u2 exit definition_changed", "buyers u3 exit definition_changed", "buyers u4 exit definition_changed"]
    );
    assert_eq!(
        of(&[BUYERS, NO_ORDERS, "--reason", "rule_match,rule_ended"]),
        ["buyers u4 enter rule_match", "no-orders u4 exit rule_ended"]
    );
    assert_eq!(of(&[BUYERS, "--subject", "u4", "--from", "2026-01-02"]), ["buyers u4 exit definition_changed"]);
    assert_eq!(of(&["--subject", "u4", "--change", "enter", "--to", "2025-12-31"]), Vec::<String>::new());
    assert_eq!(of(&["--reason", "manual"]), Vec::<String>::new());
    let wrong = project.run(&["changes", "--reason", "manuel"]).exits(2);
    assert!(wrong.stderr.contains("segment_deleted"), "{}", wrong.stderr);
    project.run(&["changes", BUYERS, "nothing-like-it"]).exits(2);
}

fn history_is_told_by_kind_and_status() {
    let project = lived();
    project.write("users.csv", &project.read("users.csv").replace("country", "land"));
    project.run(&["refresh", UNCHANGED_IN_FRANCE, "--as-of", "2026-01-04T00:00:00Z"]).exits(1);
    let failed = rows(&project, &["history", "--status", "failed"]);
    assert_eq!((failed.len(), &failed[0]["segment_id"]), (1, &json!(UNCHANGED_IN_FRANCE)));
    assert_eq!(rows(&project, &["history", "--kind", "run", "--status", "ok"]).len(), 12);
    assert!(rows(&project, &["history", "--kind", "daily,backfill"]).is_empty());
}

fn a_subject_is_told_since_when() {
    let project = lived();
    let config = project.read("scheduler.toml").replace("as_of = \"2026-01-01T00:00:00Z\"", "as_of = \"2026-01-13T03:00:59Z\"");
    project.write("scheduler.toml", &config);
    let found = rows(&project, &["segments-of", "u1"]);
    let columns = ["segment_id", "entered_at", "duration", "score", "confidence", "reason"];
    let expected = |id: &str| json!([id, "2026-01-01T00:00:00Z", (12 * 24 + 3) * 3_600 + 59, null, null, "rule_match"]);
    assert_eq!(json!(told(&found[0], &columns)), expected(BIG));
    let table = project.run(&["segments-of", "u1"]).ok().stdout;
    assert!(table.contains("12 d 3 h") && !table.contains("confidence"), "{table}");
    project.run(&["segments-of", "u1", "--output", "of.csv"]).ok();
    assert!(project.read("of.csv").starts_with("segment_id,entered_at,duration,score,confidence,reason\nbig,2026-01-01T00:00:00"));
    assert_eq!(project.run(&["segments-of", "nobody"]).ok().stdout, "nothing\n");
}

fn segments_are_put_together() {
    let project = lived();
    let first = "2026-01-01T00:00:00Z";
    let of = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["members"].iter().chain(arguments).copied().collect();
        let rows = rows(&project, &arguments);
        rows.iter().map(|row| ["subject_id", "entered_at"].map(|name| row[name].as_str().unwrap()).join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(of(&[BUYERS, UNCHANGED_IN_FRANCE, "--union"]), [format!("u1 {first}"), format!("u4 {first}")]);
    assert_eq!(of(&[UNCHANGED_IN_FRANCE, BUYERS, "--intersect"]), [format!("u1 {first}")]);
    assert_eq!(of(&["--except", UNCHANGED_IN_FRANCE, BUYERS, NO_ORDERS]), [format!("u4 {first}")]);
    assert_eq!(of(&[UNCHANGED_IN_FRANCE, BUYERS, "--union", "--after", "u1", "--limit", "1"]), [format!("u4 {first}")]);
    let csv = project.run(&["members", BUYERS, UNCHANGED_IN_FRANCE, "--union", "--format", "csv"]).ok().stdout;
    assert!(csv.starts_with("subject_id,entered_at\nu1,2026-01-01T00:00:00"), "{csv}");
    // One that is defined and was never computed is empty.
    let with_paused = project.run(&["members", BUYERS, "rests", "--union", "--format", "json"]).ok();
    assert!(with_paused.stderr.contains("`rests` was not computed yet"), "{}", with_paused.stderr);
    assert_eq!(with_paused.json().as_array().unwrap().len(), 1);
}

fn attributes_stand_beside_members() {
    let project = rich();
    let with = |arguments: &[&str], columns: &str| {
        let arguments: Vec<&str> = ["members"].iter().chain(arguments).chain(&["--with", columns]).copied().collect();
        let names: Vec<&str> = columns.split(',').collect();
        json!(
            rows(&project, &arguments)
                .iter()
                .map(|row| told(row, &[&["subject_id"], names.as_slice()].concat()))
                .collect::<Vec<_>>()
        )
    };
    assert_eq!(
        with(&[BUYERS], "country,plan,age,spent,born"),
        json!([
            ["u1", "FR", "gold", 31, 12.25, "1994-12-31"],
            ["u2", "DE", null, null, null, null],
            ["u3", "DE", "free", 52, null, null]
        ])
    );
    assert_eq!(
        with(&[BUYERS, UNCHANGED_IN_FRANCE, "--union"], "tags,address.city,profile.a.b,profile.n"),
        json!([
            ["u1", r#"["x","y,z"]"#, "Lyon", "ü", "10"],
            ["u2", null, null, null, null],
            ["u3", null, "Köln", null, null],
            ["u4", "[]", null, "[1,null]", "7"],
        ])
    );
    assert_eq!(with(&[BUYERS, "--after", "u1", "--limit", "1"], "age"), json!([["u2", null]]));
    assert_eq!(
        with(&[BUYERS, UNCHANGED_IN_FRANCE, "--union", "--limit", "3"], "age"),
        json!([["u1", 31], ["u2", null], ["u3", 52]])
    );
    // What bears the name of a column of the members is told from it.
    let named = rows(&project, &["members", BIG, "--with", "reason"]);
    assert_eq!(told(&named[0], &["reason", "users.reason"]), [json!("rule_match"), json!("theirs")]);
    let shelf = rows(&project, &["members", "shelf", "--with", "stock"]);
    assert_eq!(told(&shelf[1], &["subject_id", "stock"]), [json!("p2"), json!("0")]);

    let csv = project.run(&["members", BIG, "--with", "tags,spent", "--format", "csv"]).ok().stdout;
    assert!(csv.trim_end().ends_with(r#","[""x"",""y,z""]",12.25"#), "{csv}");
    let parquet = bytes::Bytes::from(project.run(&["members", BIG, "--with", "age,born,spent", "--format", "parquet"]).ok().bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    let types: Vec<String> = reader.schema().fields().iter().skip(9).map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Int64", "Date32", "Decimal128(9, 2)"]);

    let wrong = |columns: &str| project.run(&["members", BIG, "--with", columns]).exits(2).stderr;
    let missing = wrong("contry");
    assert!(missing.contains("there is no column `contry`") && missing.contains("Did you mean `country`?"), "{missing}");
    assert!(wrong("age.x").contains("which has no key `x`"));
    assert!(wrong("country,,plan").contains("is no column"));
    // A key that stands twice, without a version, is told and not doubled.
    let config = project.read("scheduler.toml").replace("version = \"version\"\n", "");
    project.write("scheduler.toml", &config);
    let doubled = project.run(&["members", BUYERS, "--with", "age"]).exits(1);
    assert!(doubled.stderr.contains("more than one row, such as `u3`"), "{}", doubled.stderr);
    let page = project.run(&["members", BUYERS, "--with", "age", "--limit", "3"]).exits(1);
    assert!(page.stderr.contains("more than one row, such as `u3`"), "{}", page.stderr);
    project.run(&["members", BUYERS, "--with", "age", "--sort", "-age", "--limit", "5"]).exits(1);
}

/// Rows of Parquet by subject, with columns as text.
fn by_subject(bytes: Vec<u8>, key: &str, columns: &[&str]) -> BTreeMap<String, Vec<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
    let mut found = BTreeMap::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |column: &str, row: usize| {
            let column = batch.column_by_name(column).unwrap();
            ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string()
        };
        found.extend((0..batch.num_rows()).map(|row| (text(key, row), columns.iter().map(|column| text(column, row)).collect())));
    }
    found
}

fn columns_keep_their_types() {
    let project = Project::of_the_repository();
    project.run(&["refresh", "vip-customers", "repeat-buyers"]).ok();
    let columns = ["tags", "email", "birthday", "created_at", "lifetime_value", "email_verified"];
    let list = columns.join(",");
    let file = project.text_path("members.parquet");
    project.run(&["members", "vip-customers", "repeat-buyers", "--union", "--with", &list, "--output", &file]).ok();
    let users = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/demo/users.parquet")).unwrap();
    let (members, users) = (by_subject(fs::read(&file).unwrap(), "subject_id", &columns), by_subject(users, "user_id", &columns));
    assert!(members.len() > 20 && members.iter().all(|(id, row)| users[id] == *row), "{members:?}");

    let of = "vip-customers";
    let nested = "affinities.gadgets,interests.beauty,attributes.loyalty.tier";
    let parquet = project.run(&["members", of, "--with", nested, "--format", "parquet"]).ok().bytes;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(parquet)).unwrap();
    let types: Vec<String> = reader.schema().fields().iter().skip(9).map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Float64", "Float64", "Utf8"]);
    let csv = project.run(&["members", of, "--with", "tags", "--format", "csv"]).ok().stdout;
    assert!(csv.lines().skip(1).all(|line| line.ends_with(']') || line.ends_with("]\"") || line.ends_with(',')), "{csv}");
    let wrong = |columns: &str| project.run(&["members", of, "--with", columns]).exits(2).stderr;
    let field = wrong("affinities.gadget");
    assert!(field.contains("`affinities` has no field `gadget`") && field.contains("Did you mean `gadgets`?"), "{field}");
    assert!(wrong("affinities").contains("is not one value"));
    let unordered = project.run(&["members", of, "--with", "tags", "--sort", "tags"]).exits(2).stderr;
    assert!(unordered.contains("have no order, since they are list of text"), "{unordered}");
    let sorted = rows(&project, &["members", of, "--with", "lifetime_value", "--sort", "-lifetime_value", "--limit", "5"]);
    let values: Vec<f64> = sorted.iter().map(|row| row["lifetime_value"].as_f64().unwrap()).collect();
    assert!(values.len() == 5 && values.is_sorted_by(|one, other| one >= other), "{values:?}");
}

fn members_are_sorted() {
    let project = rich();
    let by = |arguments: &[&str]| ids(&project, &[&["members"], arguments].concat());
    let all = [BUYERS, UNCHANGED_IN_FRANCE, "--union"];
    let sorted = |arguments: &[&str]| by(&[&all, arguments].concat());
    assert_eq!(sorted(&["--with", "age", "--sort", "age"]), ["u1", "u4", "u3", "u2"], "who has none comes last");
    assert_eq!(sorted(&["--with", "age", "--sort", "-age"]), ["u3", "u4", "u1", "u2"]);
    assert_eq!(sorted(&["--with", "age,country", "--sort", "country,-age", "--limit", "3"]), ["u3", "u2", "u4"]);
    assert_eq!(sorted(&["--sort", "-subject_id"]), ["u4", "u3", "u2", "u1"]);
    assert_eq!(sorted(&["--sort", "entered_at", "--limit", "2"]), ["u1", "u2"], "ties are by id");
    assert_eq!(by(&[BUYERS, "--sort", "-score,entered_at"]), ["u1", "u2", "u3"]);
    assert_eq!(by(&[BUYERS, "--sort", "entered_at", "--limit", "0"]), Vec::<String>::new());
    let wrong = |arguments: &[&str]| project.run(&[&["members", BUYERS], arguments].concat()).exits(2).stderr;
    assert!(wrong(&["--sort", "entered"]).contains("there is nothing named `entered` to sort by"));
    assert!(wrong(&["--sort", "entered_at", "--after", "u1"]).contains("--after"));
    assert!(wrong(&["--with", "profile.n", "--sort", "profile.n"]).contains("have no order"));
    assert!(wrong(&["--with", "tags", "--sort", "tags"]).contains("have no order"));
}

fn pages_are_stable() {
    let project = rich();
    let all = [BUYERS, UNCHANGED_IN_FRANCE, "--union", "--with", "country"];
    let whole = ids(&project, &[&["members"], all.as_slice()].concat());
    let mut pages: Vec<String> = Vec::new();
    loop {
        let after = pages.last().cloned().unwrap_or_default();
        let page = ids(&project, &[&["members"], all.as_slice(), &["--limit", "3", "--after", &after]].concat());
        pages.extend(page.iter().cloned());
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!((pages, whole.len()), (whole.clone(), 4));
}

fn results_go_to_a_file() {
    let project = rich();
    let written = |arguments: &[&str], file: &str| -> Answer {
        let answer = project.run(&[arguments, &["--output", file]].concat()).ok();
        assert!(answer.stdout.is_empty());
        assert!(answer.stderr.contains(&format!("written to {file}")), "{}", answer.stderr);
        answer
    };
    let printed = |arguments: &[&str], format: &str| project.run(&[arguments, &["--format", format]].concat()).ok().bytes;
    let members = ["members", BUYERS, UNCHANGED_IN_FRANCE, "--union", "--with", "country,tags"];
    for (arguments, name) in
        [(&members[..], "members"), (&["changes"], "changes"), (&["history"], "history"), (&["history", "--daily"], "days")]
    {
        for format in ["csv", "ndjson", "json", "parquet", "arrow"] {
            let file = format!("{name}.{format}");
            written(arguments, &file);
            assert_eq!(fs::read(project.path(&file)).unwrap(), printed(arguments, format), "{file}");
        }
    }
    let bytes = bytes::Bytes::from(fs::read(project.path("members.parquet")).unwrap());
    let rows = |bytes: bytes::Bytes| -> usize {
        ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    };
    assert_eq!(rows(bytes), 4);
    let arrow = fs::read(project.path("members.arrow")).unwrap();
    let read: usize = StreamReader::try_new(arrow.as_slice(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(read, 4);
    // A format that is said goes before the name, and a URL of this machine is a file.
    written(&["members", BIG, "--format", "csv"], "big.data");
    assert!(project.read("big.data").starts_with("tenant,"));
    let url = format!("file://{}", project.text_path("by-url.ndjson"));
    project.run(&["members", BIG, "--output", &url]).ok();
    assert_eq!(project.read("by-url.ndjson").lines().count(), 1);
    let left: Vec<_> = fs::read_dir(project.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

fn a_file_that_is_there_stays() {
    let project = rich();
    project.write("out.csv", "mine");
    let refused = project.run(&["members", BIG, "--output", "out.csv"]).exits(2);
    assert!(refused.stderr.contains("`out.csv` is there already") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(project.read("out.csv"), "mine");
    // What fails in the middle leaves what was there as well.
    let config = project.read("scheduler.toml").replace("version = \"version\"\n", "");
    project.write("scheduler.toml", &config);
    project.run(&["members", BUYERS, "--with", "age", "--output", "out.csv", "--force"]).exits(1);
    project.run(&["members", BUYERS, "--with", "age", "--output", "new.csv"]).exits(1);
    assert_eq!(project.read("out.csv"), "mine");
    assert!(!project.path("new.csv").exists());
    project.run(&["members", BIG, "--output", "out.csv", "--force"]).ok();
    assert!(project.read("out.csv").starts_with("tenant,"));
    let nameless = project.run(&["members", BIG, "--output", "out.txt"]).exits(2);
    assert!(nameless.stderr.contains("does not tell its format"), "{}", nameless.stderr);
    let nowhere = project.run(&["members", BIG, "--output", "no/where.csv"]).exits(1);
    assert!(nowhere.stderr.contains("cannot write `no/where.csv`"), "{}", nowhere.stderr);
    project.run(&["members", BIG, "--output", "ftp://host/x.csv"]).exits(1);
    project.run(&["members", BIG, "--force"]).exits(2);
}

fn what_makes_no_sense_is_told() {
    let project = rich();
    let told = |arguments: &[&str], part: &str| {
        let answer = project.run(&[&["members"], arguments].concat()).exits(2);
        assert!(answer.stderr.contains(part), "{part} is not in {}", answer.stderr);
    };
    told(&[BUYERS, BIG], "nothing says how to put them together");
    told(&[BUYERS, "--union"], "one segment alone");
    told(&[BUYERS, BIG, "--union", "--except"], "cannot be used with");
    told(&[BUYERS, BUYERS, "--union"], "`buyers` is named twice");
    told(&[BUYERS, "shelf", "--intersect"], "`buyers` contains users, and `shelf` products");
    told(&[BUYERS, "buyrs", "--except"], "Did you mean `buyers`?");
}
