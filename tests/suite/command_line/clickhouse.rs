//! The program with its tables and members on a ClickHouse server: every command does there what it does on files, and nothing that it
//! prints holds the password.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use libtest_mimic::Trial;
use segmenta::clickhouse::{Connection, Settings, Statement, quoted};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::project::{Answer, PROGRAM};
use crate::clickhouse::{Server, trial};

/// What is asked of a server.
type Test = fn(&'static Server);

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 8] = [
        ("every command does what it does on files", every_command_does_what_it_does_on_files),
        ("what people decide wins as on files", what_people_decide_wins_as_on_files),
        ("the past is kept as on files", the_past_is_kept_as_on_files),
        ("attributes are of the row that counts", attributes_are_of_the_row_that_counts),
        ("tables are loaded once, or replaced", tables_are_loaded_once_or_replaced),
        ("what is wrong is told with what to do", what_is_wrong_is_told_with_what_to_do),
        ("nothing that was evaluated stays", nothing_that_was_evaluated_stays),
        ("public files follow what is committed", public_files_follow_what_is_committed),
    ];
    let on_server = |(name, test): (&str, fn(&'static Server))| {
        trial(format!("command_line::clickhouse::{name}"), move |server| {
            test(server);
            Ok(())
        })
    };
    let alone: [(&str, fn()); 2] = [
        ("statements are shown without a server", statements_are_shown_without_a_server),
        ("a signal stops what runs on the server", a_signal_stops_what_runs_on_the_server),
    ];
    tests.into_iter().map(on_server).chain(super::named("command_line::clickhouse::", alone)).collect()
}

/// A project as `init` makes it, with one configuration for files and one for a server.
struct Shop {
    folder: TempDir,
    server: &'static Server,
    settings: Settings,
    runtime: Runtime,
}

impl Shop {
    /// In a database that is not there yet.
    fn new(server: &'static Server, templates: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settings = server.database(&runtime).unwrap();
        let shop = Self { folder: TempDir::new().unwrap(), server, settings, runtime };
        shop.drop_database();
        Answer::of(Command::new(PROGRAM).current_dir(shop.folder.path()).args(["init", "--template", templates])).ok();
        fs::copy(shop.folder.path().join("scheduler.toml"), shop.folder.path().join("files.toml")).unwrap();
        shop.configure(&[]);
        shop
    }

    /// After `clickhouse init` and `clickhouse load`.
    fn ready(server: &'static Server, templates: &str) -> Self {
        let shop = Self::new(server, templates);
        shop.run(&["clickhouse", "init"]).ok();
        shop.run(&["clickhouse", "load"]).ok();
        shop
    }

    /// Writes the configuration for the server, with texts replaced.
    fn configure(&self, changes: &[(&str, &str)]) {
        let Settings { url, database, user, .. } = &self.settings;
        let section = format!(
            "[clickhouse]\nurl = \"{url}\"\ndatabase = \"{database}\"\nuser = \"{user}\"\npassword = \"${{PASSWORD}}\"\nretries = 0\n\n[scheduler]"
        );
        let text = fs::read_to_string(self.folder.path().join("files.toml")).unwrap();
        let mut text = text.replacen("[engine]", "[engine]\nbackend = \"clickhouse\"", 1).replacen("[scheduler]", &section, 1);
        for (from, to) in changes {
            assert!(text.contains(from), "{from} is not in {text}");
            text = text.replacen(from, to, 1);
        }
        fs::write(self.folder.path().join("scheduler.toml"), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.run_as(&self.server.password, arguments)
    }

    #[track_caller]
    fn run_as(&self, password: &str, arguments: &[&str]) -> Answer {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.folder.path()).env_remove("SEGMENTA_CONFIG").env_remove("SEGMENTA_TENANT");
        let answer = Answer::of(command.env("PASSWORD", password).args(arguments));
        for printed in [&answer.stdout, &answer.stderr] {
            let is_shown = !password.is_empty() && (printed.contains(password) || printed.contains(&password.replace(' ', "%20")));
            assert!(!is_shown, "the password stands in {printed}");
        }
        answer
    }

    /// What a command answers on files, and on the server.
    fn both(&self, arguments: &[&str]) -> [Answer; 2] {
        let on_files: Vec<&str> = ["--config", "files.toml"].iter().chain(arguments).copied().collect();
        [self.run(&on_files).ok(), self.run(arguments).ok()]
    }

    fn ask(&self, text: &str) -> Vec<(String,)> {
        let connection = Connection::new(self.settings.clone(), Uuid::nil());
        self.runtime.block_on(connection.rows(Statement::new(text))).unwrap().rows
    }

    fn drop_database(&self) {
        let connection = Connection::new(self.server.settings().clone(), Uuid::nil());
        let drop = Statement::new(format!("DROP DATABASE IF EXISTS {} SYNC", quoted(&self.settings.database)));
        self.runtime.block_on(connection.execute(drop)).unwrap();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.drop_database();
        }
    }
}

/// The figures of a refresh, by segment.
fn figures(answer: &Answer) -> BTreeMap<String, [Value; 4]> {
    let report = answer.json();
    let of = |row: &Value| ["members", "entered", "left", "status"].map(|name| row[name].clone());
    let rows = report["segments"].as_array().unwrap().iter();
    rows.map(|row| (row["segment_id"].as_str().unwrap().to_owned(), of(row))).collect()
}

fn what_people_decide_wins_as_on_files(server: &'static Server) {
    let shop = Shop::ready(server, "vip-customers,advisory-board,win-back");
    shop.both(&["refresh", "--all"]);
    let list = |segment: &str| {
        let [files, remote] = shop.both(&["members", segment, "--format", "csv"]).map(|answer| {
            let lines = answer.stdout.lines().map(|line| line.split(',').enumerate().filter(|(column, _)| *column != 7));
            lines.map(|line| line.map(|(_, value)| value.to_owned()).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
        });
        assert_eq!(remote, files);
        files
    };
    let before = list("vip-customers").len();
    fs::write(shop.folder.path().join("list.csv"), "user_id\nu000001\nu000002\nnobody\nu000031\nu000001\n").unwrap();
    for edit in [
        &["override", "add", "vip-customers", "--file", "list.csv", "--skip-unknown", "--format", "json"][..],
        &["override", "add", "advisory-board", "--subject", "u000005", "--subject", "ghost", "--keep-unknown", "--format", "json"],
        &["override", "remove", "vip-customers", "--subject", "u000002", "--format", "json"],
        &["override", "clear", "vip-customers", "--subject", "u000031", "--format", "json"],
    ] {
        let [files, remote] = shop.both(edit).map(|answer| {
            let json = answer.json();
            ["subjects", "unknown", "members", "entered", "left", "unknown_subjects"].map(|name| json[name].clone())
        });
        assert_eq!(remote, files, "{edit:?}");
        list("vip-customers");
        list("advisory-board");
    }
    for refused in [
        &["override", "add", "vip-customers", "--file", "list.csv"][..],
        &["override", "clear", "vip-customers", "--subject", "u000999"],
    ] {
        let on_files: Vec<&str> = ["--config", "files.toml"].iter().chain(refused).copied().collect();
        assert_eq!(shop.run(refused).exits(1).stderr, shop.run(&on_files).exits(1).stderr);
    }
    assert!(list("vip-customers").iter().any(|line| line.contains("import")), "{before} members before");
    shop.both(&["refresh", "--all"]);
    list("vip-customers");
    for same in [
        &["explain", "vip-customers", "--subject", "u000001", "--format", "json"][..],
        &["explain", "vip-customers", "--subject", "u000002"],
        &["preview", "vip-customers", "--sample", "all", "--format", "json"],
        &["verify"],
    ] {
        let [files, remote] = shop.both(same);
        assert_eq!(remote.stdout, files.stdout, "{same:?}");
    }
    // What people had decided counts at instants of the past, many of them in one statement.
    let range = ["--from", "2025-12-28T00:00:00Z", "--to", "2026-01-01T00:00:00Z", "--step", "1d", "--format", "json"];
    let past: Vec<&str> = ["backfill", "vip-customers", "win-back", "advisory-board"].iter().chain(&range).copied().collect();
    let [files, remote] = shop.both(&past);
    assert_eq!(remote.json()["rows"], files.json()["rows"]);
    for as_of in ["2025-12-31T12:00:00Z", "2026-01-01T00:00:00Z"] {
        let lines = |answer: Answer| {
            answer.stdout.lines().map(|line| line.split(',').take(7).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
        };
        let [files, remote] = shop.both(&["members", "vip-customers", "--as-of", as_of, "--format", "csv"]).map(lines);
        assert_eq!(remote, files, "as of {as_of}");
        assert!(files.len() > 10);
    }
    let [files, remote] = shop.both(&past);
    assert_eq!((&remote.json()["known"], &files.json()["known"]), (&Value::from(15), &Value::from(15)));
    shop.both(&["verify"]);
    let [files, remote] = shop.both(&["override", "list", "--all", "--format", "json"]).map(|answer| {
        let rows = answer.json();
        let row = |row: &Value| ["segment_id", "subject_id", "override", "reason"].map(|name| row[name].clone());
        rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    });
    assert_eq!(remote, files);
    assert!(files.len() > 3, "{files:?}");

    // What a definition refers to is as it was.
    let of_board = r#"{"id": "of-board", "logic": "and", "conditions": [{"type": "segment", "segment_id": "advisory-board"}]}"#;
    fs::write(shop.folder.path().join("segments/of-board.json"), of_board).unwrap();
    let files = fs::read_to_string(shop.folder.path().join("files.toml")).unwrap();
    fs::write(shop.folder.path().join("files.toml"), files.replacen("2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z", 1)).unwrap();
    shop.configure(&[]);
    shop.both(&["override", "remove", "advisory-board", "--subject", "u000005"]);
    for (as_of, expected) in
        [("2025-12-31T00:00:00Z", vec![]), ("2026-01-03T00:00:00Z", vec!["u000005"]), ("2026-01-05T00:00:00Z", vec![])]
    {
        for answer in shop.both(&["preview", "of-board", "--as-of", as_of, "--sample", "all", "--format", "json"]) {
            let sample = answer.json()["sample"].clone();
            let ids: Vec<&str> = sample.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect();
            assert_eq!(ids, expected, "as of {as_of}");
        }
    }
}

fn the_past_is_kept_as_on_files(server: &'static Server) {
    let shop = Shop::ready(server, "vip-customers,win-back");
    shop.both(&["refresh", "--all"]);
    let told = |arguments: &[&str], columns: usize| {
        let [files, remote] = shop.both(arguments).map(|answer| {
            let lines = answer.stdout.lines().map(|line| line.split(',').take(columns).collect::<Vec<_>>().join(","));
            (lines.collect::<Vec<_>>(), answer.stderr)
        });
        assert_eq!(remote.0, files.0, "{arguments:?}");
        remote
    };
    let range = ["--from", "2025-12-28T00:00:00Z", "--to", "2025-12-31T00:00:00Z", "--snapshots", "--format", "json"];
    let past: Vec<&str> = ["backfill", "vip-customers", "win-back"].iter().chain(&range).copied().collect();
    for snapshots in [8, 0] {
        let [files, remote] = shop.both(&past).map(|answer| answer.json());
        assert_eq!(remote, files);
        assert_eq!(remote["snapshots"], snapshots);
    }
    // Who is in for days has been in since the first of them.
    let (members, said) = told(&["members", "win-back", "--as-of", "2025-12-30T00:00:00Z", "--format", "csv"], 7);
    assert!(said.contains("from the snapshot of a backfill"), "{said}");
    let since: BTreeSet<&str> = members.iter().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    assert!(since.len() > 1 && members.len() > 3, "{members:?}");

    // Changes that are kept no longer are gone, and what they came to is still known.
    let files = fs::read_to_string(shop.folder.path().join("files.toml")).unwrap();
    let pinned = files.lines().find(|line| line.starts_with("as_of")).unwrap().to_owned();
    let later = "as_of = \"2026-01-05T00:00:00Z\"\nkeep_changes = \"1d\"\nkeep_history = \"1d\"";
    fs::write(shop.folder.path().join("files.toml"), files.replacen(&pinned, later, 1)).unwrap();
    shop.configure(&[]);
    shop.both(&["refresh", "--all"]);
    let before = told(&["changes", "--format", "csv"], 6).0.len();
    shop.both(&["compact"]);
    let (kept, _) = told(&["changes", "--format", "csv"], 6);
    assert!(kept.len() < before, "{before} changes before");
    told(&["history", "win-back", "--format", "csv"], 2);
    told(&["members", "win-back", "--format", "csv"], 7);
    told(&["members", "win-back", "--as-of", "2026-01-03T00:00:00Z", "--format", "csv"], 4);
    for upkeep in [&["gc", "--dry-run"][..], &["gc"], &["verify", "--repair"], &["verify"]] {
        shop.both(upkeep);
    }
    let (again, said) = told(&["members", "win-back", "--as-of", "2025-12-30T00:00:00Z", "--format", "csv"], 7);
    assert!(again == members && said.contains("from the snapshot of a backfill"), "{said}");
    let [files, remote] = shop.both(&["erase", "--subject", "u000001", "--format", "json"]).map(|answer| answer.json());
    let touched = |answer: &Value| {
        let rows = answer["segments"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| ["segment_id", "was_member", "changes", "snapshots"].map(|name| row[name].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(touched(&remote), touched(&files), "{remote}");
    shop.both(&["verify"]);
}

/// Columns of many types of the demo's users. A list that is missing is an empty one on the server.
const DEMO_COLUMNS: &str = "country,lifetime_value,email,email_verified,birthday,created_at,interests.beauty,affinities.gadgets,\
                            attributes.loyalty.tier,attributes.nps,attributes.devices";

/// Before the instant of the demo, so that nothing but an evaluation tells of it.
const THEN: &str = "2025-12-20T00:00:00Z";

fn every_command_does_what_it_does_on_files(server: &'static Server) {
    let shop = Shop::ready(server, "all");
    for selection in ["--all", "--due"] {
        let [files, remote] = shop.both(&["refresh", selection, "--format", "json"]);
        let (files, remote) = (figures(&files), figures(&remote));
        assert!(selection == "--due" || files.len() > 100, "{} segments", files.len());
        assert_eq!(remote, files);
    }
    let same: [&[&str]; 30] = [
        &["preview", "vip-customers", "--breakdown", "--sample", "5"],
        &["preview", "high-value", "--sample", "all"],
        &["preview", "bestsellers", "--sample", "3"],
        &["preview", "--where", "country = 'US' AND in_segment('vip-customers')", "--sample", "0"],
        &["overlap", "vip-customers", "repeat-buyers", "win-back"],
        &["overlap", "vip-customers", "repeat-buyers", "win-back", "--evaluate"],
        &["diff", "vip-customers", "--where", "lifetime_value >= 2000", "--sample", "3"],
        &["diff", "vip-customers", "segments/win-back.json", "--against", "stored", "--sample", "all"],
        &["segments-of", "u000001"],
        &["members", "high-value", "--limit", "5"],
        &["members", "vip-customers", "--after", "u000100", "--with", DEMO_COLUMNS, "--limit", "20"],
        &["members", "vip-customers", "repeat-buyers", "--union", "--sort", "entered_at,-subject_id", "--limit", "30"],
        &["members", "vip-customers", "repeat-buyers", "win-back", "--intersect"],
        &["members", "repeat-buyers", "vip-customers", "win-back", "--except", "--after", "u000010"],
        &["members", "repeat-buyers", "vip-customers", "--union", "--with", "lifetime_value,country", "--sort", "-lifetime_value"],
        &["members", "bestsellers", "--with", "data.brand,data", "--limit", "20"],
        &["members", "high-value", "--sort", "-score", "--limit", "9"],
        &["members", "high-value", "--as-of", THEN, "--with", DEMO_COLUMNS, "--sort", "country,-score", "--limit", "20"],
        &[
            "members",
            "repeat-buyers",
            "vip-customers",
            "--union",
            "--as-of",
            THEN,
            "--with",
            "lifetime_value",
            "--after",
            "u000010",
        ],
        &["members", "bestsellers", "--as-of", "2026-01-01T00:00:00Z", "--with", "data.brand,data", "--limit", "20"],
        &["changes", "vip-customers", "win-back", "--change", "enter", "--reason", "initial", "--subject", "u000001"],
        &["history", "vip-customers", "--daily"],
        &["history", "--kind", "run", "--status", "ok", "--from", "2020-01-01"],
        &["explain", "vip-customers", "--subject", "u000001"],
        &["explain", "bestsellers", "--subject", "p0001"],
        &["evaluate", "--subject", "u000001"],
        &["validate", "--offline"],
        &["validate", "--data"],
        &["verify"],
        &["list"],
    ];
    for arguments in same {
        let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
        let [files, remote] = shop.both(&arguments).map(|answer| without_runs(answer.json()));
        assert_eq!(remote, files, "{arguments:?}");
    }
    for table in ["users", "events", "products"] {
        let [files, remote] = shop.both(&["describe", table, "--format", "json"]).map(|answer| answer.json()[0].clone());
        for counted in ["rows", "time_range", "event_types"] {
            assert_eq!(remote[counted], files[counted], "{table}");
        }
        let is_sample_whole = files["sampled_rows"] == files["rows"];
        let told = |profile: &Value| -> Vec<Value> { profile["properties"].as_array().unwrap().iter().map(known).collect() };
        if is_sample_whole {
            assert_eq!(told(&remote), told(&files), "{table}");
        }
        assert_eq!(is_sample_whole, table != "events");
    }
    let columns = |answer: &Answer| answer.stdout.lines().map(|line| line.split(',').take(6).collect()).collect::<Vec<String>>();
    let [files, remote] = shop.both(&["changes", "vip-customers", "--format", "csv"]);
    assert_eq!(columns(&remote), columns(&files));
    let history = shop.run(&["history", "vip-customers", "--format", "json"]).ok().json();
    assert_eq!((history[0]["kind"].as_str(), history[0]["status"].as_str()), (Some("run"), Some("ok")));
    let shown = shop.run(&["show", "vip-customers"]).ok().stdout;
    assert!(shown.contains("lifetime_value >= 1500"), "{shown}");
    // Where the names of tables are the same, a plan needs no server.
    let online = shop.run(&["plan", "vip-customers", "bestsellers"]).ok().stdout;
    let database = format!("`{}`", shop.settings.database);
    let offline =
        shop.run(&["--config", "files.toml", "plan", "vip-customers", "bestsellers", "--backend", "clickhouse"]).ok().stdout;
    assert!(online.contains(&format!("FROM {database}.`demo_users`")), "{online}");
    assert_eq!(online.replace(&database, "`default`"), offline);
    let refused = shop.run(&["plan", "vip-customers", "--backend", "datafusion"]).exits(2);
    assert!(refused.stderr.contains("`datafusion` reads files") && refused.stderr.contains("help: "), "{}", refused.stderr);
    // The segment ends, and the views that analysts read tell the same.
    fs::remove_file(shop.folder.path().join("segments/win-back.json")).unwrap();
    fs::remove_file(shop.folder.path().join("segments/needs-attention.json")).unwrap();
    let [files, remote] = shop.both(&["delete", "win-back", "--format", "json"]).map(|answer| answer.json());
    assert_eq!(remote, files);
    assert!(shop.ask("SELECT subject_id FROM segment_memberships WHERE segment_id = 'win-back'").is_empty());
    assert!(!shop.ask("SELECT subject_id FROM segment_memberships WHERE segment_id = 'vip-customers'").is_empty());
}

/// Of several rows of a subject the greatest version counts; where none does, that is told before a row is shown.
fn attributes_are_of_the_row_that_counts(server: &'static Server) {
    let shop = Shop::ready(server, "vip-customers");
    shop.run(&["refresh", "--all"]).ok();
    let with = ["members", "vip-customers", "--with", "country,email", "--format", "csv"];
    let before = shop.run(&with).ok().stdout;
    assert!(before.lines().count() > 10, "{before}");
    shop.configure(&[("[tenants.users]", "[tenants.users]\nversion = \"created_at\"")]);
    assert_eq!(shop.run(&with).ok().stdout, before);
    let add = |replaced: &str| {
        let text =
            format!("INSERT INTO demo_users SELECT * REPLACE ({replaced}) FROM demo_users ORDER BY user_id LIMIT 1 BY user_id");
        let connection = Connection::new(shop.settings.clone(), Uuid::nil());
        shop.runtime.block_on(connection.execute_once(Statement::new(text))).unwrap();
    };
    add("'ZZ' AS country, created_at - INTERVAL 1 DAY AS created_at");
    assert_eq!(shop.run(&with).ok().stdout, before, "an older row changes nothing");
    add("'AA' AS country, created_at + INTERVAL 9 DAY AS created_at");
    let newer = shop.run(&with).ok().stdout;
    assert_eq!(newer.lines().count(), before.lines().count());
    assert!(newer.lines().skip(1).all(|line| line.contains(",AA,")), "{newer}");
    shop.configure(&[]);
    let doubled = shop.run(&with).exits(1);
    assert!(doubled.stdout.is_empty() && doubled.stderr.contains("with more than one row"), "{}", doubled.stderr);
}

/// What is told of a property on files and on the server: a list or map that is missing is an empty one there.
fn known(property: &Value) -> Value {
    let mut property = property.clone();
    let is_container = ["list", "map"].iter().any(|kind| property["type"].as_str().unwrap().starts_with(kind));
    property.as_object_mut().unwrap().retain(|name, _| !is_container || name != "missing");
    property
}

/// The same without the ids of runs, which differ, and what takes its time.
fn without_runs(mut answer: Value) -> Value {
    for row in answer.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        row.retain(|name, _| name != "run_id" && name != "duration_ms");
    }
    answer
}

fn tables_are_loaded_once_or_replaced(server: &'static Server) {
    let shop = Shop::new(server, "vip-customers");
    let early = shop.run(&["list"]).exits(1);
    assert!(early.stderr.contains("`segmenta clickhouse init` makes one"), "{}", early.stderr);
    let state = |answer: Answer| answer.ok().json()[0]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(shop.run(&["clickhouse", "init", "--format", "json"])), "created");
    assert_eq!(state(shop.run(&["clickhouse", "init", "--format", "json"])), "was there");
    let unloaded = shop.run(&["preview", "vip-customers"]).exits(1);
    assert!(unloaded.stderr.contains("`segmenta clickhouse load` makes the tables"), "{}", unloaded.stderr);
    let rows = |answer: Answer| {
        let rows = answer.ok().json();
        rows.as_array().unwrap().iter().map(|row| row["rows"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rows(shop.run(&["clickhouse", "load", "--format", "json"])), [1_000, 20_000, 200]);
    let twice = shop.run(&["clickhouse", "load"]).exits(1);
    assert!(twice.stderr.contains("is on the server already") && twice.stderr.contains("`--replace`"), "{}", twice.stderr);
    assert_eq!(rows(shop.run(&["clickhouse", "load", "--replace", "--format", "json"])), [1_000, 20_000, 200]);
    let tables =
        shop.ask("SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'demo_') ORDER BY name");
    assert_eq!(tables.iter().map(|(name,)| name.as_str()).collect::<Vec<_>>(), ["demo_events", "demo_products", "demo_users"]);
    let made = shop.ask("SELECT concat(name, ' ', type) FROM system.columns WHERE database = currentDatabase() AND is_in_sorting_key = 1 AND startsWith(table, 'demo_') ORDER BY table, position");
    let made: Vec<&str> = made.iter().map(|(column,)| column.as_str()).collect();
    assert!(
        made.contains(&"timestamp DateTime64(6, 'UTC')") && made.ends_with(&["product_id String", "user_id String"]),
        "{made:?}"
    );
    let event_type = made.iter().find(|column| column.starts_with("event_type")).unwrap();
    assert!(event_type.contains("LowCardinality("), "{event_type}");
    // What cannot be read leaves the table as it is.
    shop.configure(&[("data/users.parquet", "data/nowhere.parquet")]);
    shop.run(&["clickhouse", "load", "--replace"]).exits(1);
    shop.configure(&[]);
    shop.run(&["preview", "vip-customers"]).ok();
}

fn what_is_wrong_is_told_with_what_to_do(server: &'static Server) {
    let shop = Shop::ready(server, "vip-customers");
    let told = |answer: Answer, parts: &[&str]| {
        for part in parts {
            assert!(answer.stderr.contains(part), "{part} is not in {}", answer.stderr);
        }
    };
    let user = format!("does not accept the user `{}`", shop.settings.user);
    for arguments in [&["list"][..], &["preview", "vip-customers"], &["clickhouse", "init"], &["clickhouse", "load", "--replace"]] {
        told(shop.run_as("not the right one", arguments).exits(1), &[&user, "help: Look at `user` and `password`"]);
    }
    let url = shop.settings.url.clone();
    shop.configure(&[(&url, "http://127.0.0.1:1")]);
    for arguments in [&["list"][..], &["clickhouse", "init"], &["clickhouse", "load"]] {
        told(shop.run(arguments).exits(1), &["http://127.0.0.1:1 cannot be reached", "help: Look at `url`"]);
    }
    shop.configure(&[(&url, &url.replacen("://", "://me:secret@", 1))]);
    let refused = shop.run(&["list"]).exits(1);
    assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    told(refused, &["`url` holds credentials", "help: Put them into `user` and `password`"]);
    shop.configure(&[("[tenants.users]", "[tenants.users]\ntable = \"nowhere\"")]);
    told(shop.run(&["refresh", "--all"]).exits(1), &["nowhere` does not exist on the server", "help: Look at `table`"]);
    shop.configure(&[("timestamp = \"timestamp\"", "timestamp = \"happened\"")]);
    told(shop.run(&["refresh", "--all"]).exits(1), &["there is no column `happened`", "help: There is `event_id`"]);
    shop.configure(&[("[tenants.users]", "[tenants.users]\ntenant_column = \"user_id\"")]);
    told(
        shop.run(&["clickhouse", "load", "--replace"]).exits(1),
        &["a table that tenants share", "help: Leave out `tenant_column"],
    );
    shop.configure(&[]);
    shop.configure(&[("retries = 0", "retries = 0\npublish_parquet = true")]);
    shop.run(&["--config", "files.toml", "refresh", "--all"]).ok();
    told(shop.run(&["refresh", "--all"]).exits(1), &["a store of files is kept there", "name another folder"]);
    shop.configure(&[("retries = 0", "retries = 0\npublish_parquet = true"), ("[store]\nurl = ", "# ")]);
    told(shop.run(&["list"]).exits(1), &["`publish_parquet` needs a place", "help: Add `[store]`"]);
    shop.configure(&[("[clickhouse]", "[clickhouse]\nsettings = { no_such_setting = 1 }")]);
    told(shop.run(&["list"]).exits(1), &["no_such_setting"]);
}

fn nothing_that_was_evaluated_stays(server: &'static Server) {
    let shop = Shop::ready(server, "vip-customers,win-back");
    let commands: [&[&str]; 4] = [
        &["refresh", "--all"],
        &["preview", "vip-customers"],
        &["diff", "vip-customers", "segments/win-back.json"],
        &["overlap", "vip-customers", "win-back", "--evaluate"],
    ];
    for arguments in commands {
        shop.run(arguments).ok();
        assert!(shop.ask("SELECT DISTINCT toString(evaluation) FROM segmenta_evaluations").is_empty(), "{arguments:?}");
    }
    let effort = shop.run(&["preview", "vip-customers", "-v"]).ok().stderr;
    let read = effort.lines().find_map(|line| line.strip_prefix("users: the server read ")?.split(' ').next()?.parse::<u64>().ok());
    assert!(read.is_some_and(|rows| rows > 0), "{effort}");
    // The queries of a run are named after it.
    let run = shop.run(&["history", "vip-customers", "--format", "json"]).ok().json()[0]["run_id"].as_str().unwrap().to_owned();
    let run = run.parse::<Uuid>().unwrap();
    if server.is_engine {
        let log = shop.runtime.block_on(log(&shop.settings.url));
        assert!(log.contains(&format!("\"segmenta-{run}-")), "no query of the run {run}");
    }
}

fn public_files_follow_what_is_committed(server: &'static Server) {
    let shop = Shop::ready(server, "all");
    let published = [("retries = 0", "retries = 0\npublish_parquet = true"), ("url = \"./out\"", "url = \"./public\"")];
    let names = |folder: &str| -> BTreeMap<String, PathBuf> {
        let root = shop.folder.path().join(folder);
        let mut found = BTreeMap::new();
        let mut folders = vec![root.join("memberships"), root.join("changes"), root.join("history")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // The names of changes and history end with the run.
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let known = if name.starts_with("memberships") { name.len() } else { name.find('-').unwrap() + 19 };
                found.insert(name.chars().take(known).collect(), path);
            }
        }
        found
    };
    let compare = || {
        let (expected, found) = (names("out"), names("public"));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, path) in &expected {
            assert_eq!(rows_of(&found[name]), rows_of(path), "{name}");
        }
        expected.len()
    };
    // The first run goes by without files, so that the second has to write what is missing of both.
    shop.both(&["refresh", "--all"]);
    shop.configure(&published);
    fs::remove_file(shop.folder.path().join("segments/win-back.json")).unwrap();
    fs::remove_file(shop.folder.path().join("segments/needs-attention.json")).unwrap();
    shop.both(&["refresh", "vip-customers", "--as-of", "2026-01-20T00:00:00Z"]);
    let count = compare();
    assert!(count > 100, "{count} files");
    shop.both(&["delete", "win-back"]);
    assert!(compare() > count);
    assert!(!names("public").contains_key("memberships/demo/win-back.parquet"));
    let holding = |folder: &str, subject: &str| names(folder).into_values().filter(|path| rows_of(path).contains(subject)).count();
    let subject =
        &shop.ask("SELECT subject_id FROM segment_changes GROUP BY subject_id ORDER BY count() DESC, subject_id LIMIT 1")[0].0;
    assert!(holding("public", subject) > 2);
    let [files, server] = shop.both(&["erase", "--subject", subject, "--format", "json"]);
    assert_eq!(server.json(), files.json());
    assert_eq!((holding("out", subject), holding("public", subject)), (0, 0));
    let left = "SELECT toString(count()) FROM segmenta_members AS m FULL JOIN segmenta_changes AS c ON m.subject_id = c.subject_id";
    assert_eq!(shop.ask(&format!("{left} WHERE m.subject_id = '{subject}' OR c.subject_id = '{subject}'")), [("0".to_owned(),)]);
    shop.both(&["verify"]);
    compare();
}

/// The rows of a file without the ids of runs, which differ, and what takes its time.
fn rows_of(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches = batches.map(|batch| {
        let batch = batch.unwrap();
        let schema = batch.schema();
        let is_kept = |name: &str| name != "run_id" && name != "duration_ms";
        let kept = schema.fields().iter().enumerate().filter(|(_, field)| is_kept(field.name()));
        batch.project(&kept.map(|(place, _)| place).collect::<Vec<_>>()).unwrap()
    });
    pretty_format_batches(&batches.collect::<Vec<_>>()).unwrap().to_string()
}

/// A server that answers nothing but that a query is stopped.
fn a_signal_stops_what_runs_on_the_server() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let asked = asked.clone();
                std::thread::spawn(move || answer_stops(stream.unwrap(), &asked));
            }
        });
        let folder = TempDir::new().unwrap();
        Answer::of(Command::new(PROGRAM).current_dir(folder.path()).args(["init"])).ok();
        let config = fs::read_to_string(folder.path().join("scheduler.toml")).unwrap();
        let config = config.replacen("[engine]", "[engine]\nbackend = \"clickhouse\"", 1);
        fs::write(folder.path().join("scheduler.toml"), format!("{config}\n[clickhouse]\nurl = \"{url}\"\n")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder.path()).args(["list"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.spawn().unwrap();
        let query = requests.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(query.contains("SELECT"), "{query}");
        assert!(Command::new("kill").args([signal, &program.id().to_string()]).status().unwrap().success());
        let stop = requests.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(stop.contains("KILL QUERY") && stop.contains("segmenta-"), "{stop}");
        let output = program.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).contains("stopped by a signal"));
    }
}

/// Sends what is asked; answers only where a query is to be stopped.
fn answer_stops(mut stream: TcpStream, asked: &mpsc::Sender<String>) {
    let (mut request, mut part) = (Vec::new(), [0; 8192]);
    while let Ok(read @ 1..) = stream.read(&mut part) {
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.contains("KILL QUERY") && text.contains("segmenta-") {
            asked.send(text).ok();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            request.clear();
        } else if text.contains("SELECT") {
            asked.send(text).ok();
            request.clear();
        }
    }
}

/// What the engine of the tests keeps in the place of `system.query_log`.
async fn log(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"GET /log HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn statements_are_shown_without_a_server() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| Answer::of(Command::new(PROGRAM).current_dir(folder.path()).args(arguments));
    run(&["init"]).ok();
    let plan = run(&["plan", "vip-customers", "--backend", "clickhouse"]).ok().stdout;
    assert!(plan.contains("FROM `default`.`demo_users`") && plan.contains("-- p1 "), "{plan}");
    let unconfigured = run(&["clickhouse", "init", "--print"]).exits(2);
    assert!(unconfigured.stderr.contains("has no `[clickhouse]`"), "{}", unconfigured.stderr);
    let config = fs::read_to_string(folder.path().join("scheduler.toml")).unwrap();
    let section = "\n[clickhouse]\nurl = \"http://127.0.0.1:1\"\ndatabase = \"marketing\"\ncluster = \"main\"\nreplicated = true\n";
    fs::write(folder.path().join("scheduler.toml"), config + section).unwrap();
    let ddl = run(&["clickhouse", "init", "--print"]).ok().stdout;
    assert!(ddl.starts_with("CREATE DATABASE IF NOT EXISTS `marketing` ON CLUSTER `main`;"), "{ddl}");
    assert!(ddl.contains("ENGINE = ReplicatedMergeTree") && !ddl.contains("ENGINE = MergeTree"), "{ddl}");
    let plan = run(&["plan", "vip-customers", "--backend", "clickhouse"]).ok().stdout;
    assert!(plan.contains("FROM `marketing`.`demo_users`"), "{plan}");
}
