//! The real program over a small project: that the wiring is right, with every command, format and exit code.

mod at_once;
mod backfill;
mod clickhouse;
mod foreign;
mod init;
mod object_store;
mod overrides;
mod project;
mod reading;
mod scored;
mod whatif;

use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use project::{Answer, BIG, BUYERS, NO_ORDERS, Project, UNCHANGED_IN_FRANCE};

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 25] = [
        ("help and version answer, wrong usage is told", help_and_version_answer_and_wrong_usage_is_told),
        ("a refresh commits and tells what it did", a_refresh_commits_and_tells_what_it_did),
        ("members come in every format", members_come_in_every_format),
        ("members come in pages", members_come_in_pages),
        ("a preview counts, samples and breaks down", a_preview_counts_samples_and_breaks_down),
        ("a preview takes an expression", a_preview_takes_an_expression),
        ("an explanation shows every value", an_explanation_shows_every_value),
        ("an evaluation agrees with the memberships", an_evaluation_agrees_with_the_memberships),
        ("validation tells every error with its place", validation_tells_every_error_with_its_place),
        ("validation works without the tables", validation_works_without_the_tables),
        ("validation warns of what is doubtful", validation_warns_of_what_is_doubtful),
        ("the examples of the repository raise few warnings", the_examples_raise_few_warnings),
        ("a refresh with an invalid definition runs nothing", a_refresh_with_an_invalid_definition_runs_nothing),
        ("a definition that no longer fits fails alone", a_definition_that_no_longer_fits_fails_alone),
        ("an accident in the sources or definitions changes nothing", an_accident_changes_nothing),
        ("changes and history tell what happened", changes_and_history_tell_what_happened),
        ("a list shows the state of every segment", a_list_shows_the_state_of_every_segment),
        ("a segment ends unless others refer to it", a_segment_ends_unless_others_refer_to_it),
        ("what breaks the laws of the store is told", what_breaks_the_laws_of_the_store_is_told),
        ("the store is looked after", the_store_is_looked_after),
        ("tables are described and plans shown", tables_are_described_and_plans_shown),
        ("schema, completions and data are made without a project", what_needs_no_project),
        ("the scheduler works until a signal and is the only one", the_scheduler_works_until_a_signal),
        ("the scheduler goes on from run to run", the_scheduler_goes_on_from_run_to_run),
        ("a reader that goes away is no failure", a_reader_that_goes_away_is_no_failure),
    ];
    let demo = Trial::test("command_line::the demo of the repository works from the first command", || {
        the_demo_works();
        Ok(())
    });
    let mut all = vec![demo];
    all.extend(named("command_line::", trials));
    all.extend(at_once::trials());
    all.extend(backfill::trials());
    all.extend(clickhouse::trials());
    all.extend(foreign::trials());
    all.extend(scored::trials());
    all.extend(init::trials());
    all.extend(object_store::trials());
    all.extend(overrides::trials());
    all.extend(reading::trials());
    all.extend(whatif::trials());
    all
}

/// Tests with their names behind that of their area.
fn named<const N: usize>(area: &str, trials: [(&str, fn()); N]) -> Vec<Trial> {
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("{area}{name}"), move || {
            test();
            Ok(())
        })
    };
    trials.into_iter().map(trial).collect()
}

fn help_and_version_answer_and_wrong_usage_is_told() {
    let project = Project::new();
    let help = project.run(&["--help"]).ok();
    for command in [
        "init",
        "validate",
        "describe",
        "preview",
        "diff",
        "overlap",
        "explain",
        "evaluate",
        "plan",
        "refresh",
        "run",
        "list",
        "show",
        "members",
        "changes",
        "history",
        "segments-of",
        "delete",
        "generate",
        "import",
        "export",
        "clickhouse",
        "schema",
        "completions",
    ] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command} is missing in {}", help.stdout);
        project.run(&[command, "--help"]).ok();
    }
    assert_eq!(project.run(&["--version"]).ok().stdout, format!("segmenta {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&["refesh"][..], &["members"], &["preview", "a", "--sample", "some"], &["refresh", "--due", "--all"]] {
        let answer = project.run(wrong).exits(2);
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty());
    }
    let unknown = project.run(&["members", "buyrs"]).exits(2);
    assert!(unknown.stderr.starts_with("error: tenant `shop` has no segment `buyrs`"), "{}", unknown.stderr);
    project.run(&["list", "--tenant", "shp"]).exits(2);
    project.run_in("/", &["list"]).exits(2);
}

fn a_refresh_commits_and_tells_what_it_did() {
    let project = Project::new();
    let table = project.run(&["refresh", "--all"]).ok();
    assert!(table.stdout.starts_with("segment id"), "{}", table.stdout);
    let line = table.stdout.lines().find(|line| line.starts_with(BUYERS)).unwrap();
    assert!(line.contains("75.0 %") && line.contains("ok"), "{line}");
    let again = project.run(&["refresh", "--all", "--format", "json"]).ok().json();
    let buyers = again["segments"].as_array().unwrap().iter().find(|row| row["segment_id"] == BUYERS).unwrap();
    let figures = ["members", "entered", "left"].map(|name| buyers[name].as_u64().unwrap());
    assert_eq!(figures, [3, 0, 0], "a second run changes nothing");
    assert_eq!(again["as_of"], "2026-01-01T00:00:00Z");
    let due = project.run(&["refresh"]).ok();
    assert!(due.stderr.contains("nothing is due"), "{}", due.stderr);
    let named = project.run(&["refresh", BIG, "--format", "json"]).ok().json();
    assert_eq!(named["segments"].as_array().unwrap().len(), 1);
    let past = project.run(&["refresh", BIG, "--as-of", "2025-06-01T00:00:00Z"]).exits(1);
    assert!(past.stderr.contains("later"), "{}", past.stderr);
}

fn members_come_in_every_format() {
    let project = Project::refreshed();
    let expected = ["u1", "u2", "u3"];
    let ids = |rows: &[Value]| rows.iter().map(|row| row["subject_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let of = |format: &str| project.run(&["members", BUYERS, "--format", format]).ok();
    assert_eq!(ids(of("json").json().as_array().unwrap()), expected);
    let lines: Vec<Value> = of("ndjson").stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids(&lines), expected);
    assert_eq!(lines[0]["reason"], "rule_match");
    let csv = of("csv").stdout;
    let csv: Vec<&str> = csv.lines().collect();
    assert!(csv[0].starts_with("tenant,segment_id,subject_id,entered_at"), "{}", csv[0]);
    assert_eq!(csv.len(), 4);
    assert!(csv[1].starts_with("shop,buyers,u1,2026-01-01T00:00:00"), "{}", csv[1]);
    let parquet = bytes::Bytes::from(of("parquet").bytes);
    let rows: usize =
        ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);
    let arrow = of("arrow").bytes;
    let rows: usize = StreamReader::try_new(arrow.as_slice(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);
    let table = of("table").stdout;
    assert!(table.lines().count() == 4 && table.contains("u2"), "{table}");
}

fn members_come_in_pages() {
    let project = Project::refreshed();
    let page = |options: &[&str]| {
        let arguments: Vec<&str> = ["members", BUYERS, "--format", "json"].iter().chain(options).copied().collect();
        let rows = project.run(&arguments).ok().json();
        rows.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page(&["--limit", "2"]), ["u1", "u2"]);
    assert_eq!(page(&["--limit", "2", "--after", "u2"]), ["u3"]);
    assert_eq!(page(&["--after", "u15"]), ["u2", "u3"]);
    assert!(page(&["--after", "u3"]).is_empty());
    assert!(page(&["--limit", "0"]).is_empty());
}

fn a_preview_counts_samples_and_breaks_down() {
    let project = Project::new();
    let preview = project.run(&["preview", BUYERS, "--sample", "all", "--format", "json"]).ok().json();
    let sample = ["u1", "u2", "u3"].map(|id| json!({ "subject_id": id }));
    let expected = json!({
        "segment_id": BUYERS, "as_of": "2026-01-01T00:00:00Z", "count": 3, "universe": 4, "sample": sample,
    });
    assert_eq!(preview, expected);
    let two = project.run(&["preview", BUYERS, "--sample", "2", "--format", "json"]).ok().json();
    let two: Vec<&str> = two["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect();
    let mut least = ["u1", "u2", "u3"];
    least.sort_by_key(|id| xxhash_rust::xxh3::xxh3_64(id.as_bytes()));
    let mut least = least[..2].to_vec();
    least.sort_unstable();
    assert_eq!(two, least);
    let draft = project.write(
        "draft.json",
        r#"{"id": "draft", "logic": "and", "conditions": [{"type": "segment", "segment_id": "buyers"},
            {"type": "user_attribute", "property": "country", "operator": "neq", "value": "FR"}]}"#,
    );
    let broken_down = project.run(&["preview", &draft, "--breakdown", "--format", "json"]).ok().json();
    let counts: Vec<(&str, u64)> = broken_down["breakdown"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["path"].as_str().unwrap(), node["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("", 2), ("/conditions/0", 3), ("/conditions/1", 2)]);
    let earlier = project.run(&["preview", BUYERS, "--as-of", "2025-12-02T00:00:00Z", "--format", "json"]).ok().json();
    assert_eq!(earlier["count"], 1);
    assert!(!project.path("out").join("memberships").exists(), "a preview writes nothing");
}

fn a_preview_takes_an_expression() {
    let project = Project::new();
    let members = |expression: &str| {
        let preview = project.run(&["preview", "--where", expression, "--sample", "all", "--format", "json"]).ok().json();
        let ids = preview["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap().to_owned());
        (preview["segment_id"].as_str().unwrap().to_owned(), ids.collect::<Vec<_>>().join(" "))
    };
    let of_where = |ids: &str| ("where".to_owned(), ids.to_owned());
    assert_eq!(members("country = 'FR' AND NOT events('order')"), of_where("u4"));
    assert_eq!(members("in_segment('buyers') AND plan <> 'gold'"), of_where("u2 u3"));
    assert_eq!(members("-- big ones\nevents('order', sum => amount) >= 49.99 OR age = 40"), of_where("u1 u3 u4"));
    let wrong = project.run(&["preview", "--where", "contry = 'FR' AND evnts('order')"]).exits(3);
    for part in ["--where:1:1", "Did you mean `country`?", "--where:1:19", "Did you mean `events`?", "2 errors"] {
        assert!(wrong.stderr.contains(part), "{part} in {}", wrong.stderr);
    }
    let unfinished = project.run(&["preview", "--where", "country = "]).exits(3);
    assert!(unfinished.stderr.contains("found the end"), "{}", unfinished.stderr);
    let products = project.run(&["preview", "--where", "everyone()", "--of", "products"]).exits(3);
    assert!(products.stderr.contains("missing-table"), "{}", products.stderr);
    project.run(&["preview", BUYERS, "--where", "everyone()"]).exits(2);
    project.run(&["preview", BUYERS, "--of", "products"]).exits(2);
    project.run(&["preview"]).exits(2);
    project.write(
        "queries/where.json",
        r#"{"id": "where", "logic": "and", "conditions": [{"type": "segment", "segment_id": "big"}]}"#,
    );
    assert_eq!(members("in_segment('where')"), ("where-2".to_owned(), "u1".to_owned()));
    let shown = |format: &str| project.run(&["show", BIG, "--format", format]).ok();
    let expression = shown("json").json()["where"].as_str().unwrap().to_owned();
    assert_eq!(expression, "in_segment('buyers') AND events('order', sum => 'amount') >= 50");
    assert_eq!(members(&expression).1, "u1");
    assert!(shown("table").stdout.contains(&expression));
}

fn an_explanation_shows_every_value() {
    let project = Project::new();
    let explain = |subject: &str| project.run(&["explain", NO_ORDERS, "--subject", subject, "--format", "json"]).ok().json();
    let without = explain("u4");
    assert_eq!((&without["member"], &without["in_universe"]), (&json!(true), &json!(true)));
    let leaves = without["rule"]["children"].as_array().unwrap();
    assert_eq!((&leaves[0]["holds"], &leaves[0]["value"]), (&json!(true), &json!("0")), "{leaves:?}");
    assert_eq!((&leaves[1]["holds"], &leaves[1]["true_because_missing"]), (&json!(true), &json!(true)), "{leaves:?}");
    let with = explain("u1");
    assert_eq!(with["member"], json!(false));
    assert_eq!(with["rule"]["children"][0]["value"], json!("2"));
    let nobody = explain("u9");
    assert_eq!((&nobody["member"], &nobody["in_universe"]), (&json!(false), &json!(false)));
    let text = project.run(&["explain", NO_ORDERS, "--subject", "u4"]).ok().stdout;
    assert!(text.contains("user `u4` is in `no-orders`") && text.contains("true because missing"), "{text}");
}

fn an_evaluation_agrees_with_the_memberships() {
    let project = Project::refreshed();
    for subject in ["u1", "u2", "u3", "u4"] {
        let evaluated = project.run(&["evaluate", "--subject", subject, "--format", "json"]).ok().json();
        let matching: Vec<&Value> =
            evaluated.as_array().unwrap().iter().filter(|row| row["matches"] == true).map(|row| &row["segment_id"]).collect();
        let stored = project.run(&["segments-of", subject, "--format", "json"]).ok().json();
        let stored: Vec<&Value> = stored.as_array().unwrap().iter().map(|row| &row["segment_id"]).collect();
        assert_eq!(matching, stored, "{subject}");
    }
    let named = project.run(&["evaluate", "--subject", "u4", BUYERS, "--format", "json"]).ok().json();
    assert_eq!(named, json!([{ "segment_id": BUYERS, "subject": "user", "matches": false, "score": null }]));
    // A paused segment has the members that it has, whatever its rule says, and so has it for those that refer to it.
    let paused = r#"{"id": "buyers", "status": "paused", "logic": "and", "conditions": [{"not": {"type": "everyone"}}]}"#;
    project.write("queries/buyers.json", paused);
    for asked in [[BIG, BUYERS], [BUYERS, BIG]] {
        let found = project.run(&["evaluate", "--subject", "u1", asked[0], asked[1], "--format", "json"]).ok().json();
        let row = |id: &str| json!({ "segment_id": id, "subject": "user", "matches": true, "score": null });
        assert_eq!(found, json!([row(BIG), row(BUYERS)]));
    }
}

fn validation_tells_every_error_with_its_place() {
    let project = Project::new();
    project.run(&["validate"]).ok();
    project.write(
        "queries/wrong.yaml",
        "id: wrong\nlogic: and\nconditions:\n  - type: user_attribute\n    property: contry\n    operator: eq\n    value: FR\n",
    );
    project.write("queries/broken.toml", "id = \"broken\"\nlogic = \"and\"\nconditions = [\n");
    let text = project.run(&["validate"]).exits(3);
    for part in ["wrong.yaml:5", "contry", "country", "broken.toml"] {
        assert!(text.stdout.contains(part), "{part} is missing in {}", text.stdout);
    }
    let data = project.run(&["validate", "--format", "json"]).exits(3).json();
    let wrong = data.as_array().unwrap().iter().find(|finding| finding["file"].as_str().unwrap().ends_with("wrong.yaml")).unwrap();
    assert_eq!((&wrong["line"], &wrong["severity"]), (&json!(5), &json!("error")));
    assert!(wrong["help"].as_str().unwrap().contains("country"), "{wrong}");
    let lines = project.run(&["validate", "--format", "ndjson"]).exits(3).stdout;
    assert_eq!(lines.lines().count(), data.as_array().unwrap().len());
    let alone = project.run(&["validate", &project.text_path("queries/buyers.json")]).ok();
    assert!(alone.stderr.contains("1 definition checked"), "the errors of other files are not those of this one: {}", alone.stderr);
}

fn validation_works_without_the_tables() {
    let project = Project::new();
    let early = project.run(&["validate", "--offline"]).exits(2);
    assert!(early.stderr.contains("--offline"), "{}", early.stderr);
    project.run(&["refresh", "--all"]).ok();
    project.remove("users.csv");
    project.run(&["validate"]).exits(1);
    project.run(&["validate", "--offline"]).ok();
    project.write("queries/wrong.json", r#"{"id": "wrong", "logic": "and", "conditions": [{"type": "user_attribute", "property": "contry", "operator": "is_set"}]}"#);
    project.run(&["validate", "--offline"]).exits(3);
}

fn validation_warns_of_what_is_doubtful() {
    let project = Project::new();
    project.write(
        "queries/doubtful.json",
        r#"{"id": "doubtful", "logic": "and", "conditions": [
            {"type": "user_attribute", "property": "country", "operator": "eq", "value": "FR"},
            {"type": "user_attribute", "property": "country", "operator": "eq", "value": "DE"},
            {"type": "event", "event_type": "ordr", "window": {"last": "90d"}}]}"#,
    );
    let codes = |arguments: &[&str]| {
        let all: Vec<&str> = ["validate", "--format", "json"].iter().chain(arguments).copied().collect();
        let findings = project.run(&all).ok().json();
        let told = |finding: &Value| (finding["code"].as_str().unwrap().to_owned(), finding["line"].as_u64().unwrap());
        findings.as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    let with_data = ["never-holds", "unseen-event-type", "long-window"];
    let expected: Vec<(String, u64)> = with_data.iter().zip([3, 4, 4]).map(|(code, line)| ((*code).to_owned(), line)).collect();
    assert_eq!(codes(&[]), expected[..1]);
    assert_eq!(codes(&["--data"]), expected);
    assert_eq!(codes(&["queries/doubtful.json", "--data"]), expected);
    assert_eq!(codes(&["queries/buyers.json", "--data"]), []);
    let text = project.run(&["validate", "--data"]).ok();
    for part in
        ["queries/doubtful.json:3:13", "exclude each other", "Did you mean `order`?", "The events of the data begin on 2025-12-01."]
    {
        assert!(text.stdout.contains(part), "{part} is missing in {}", text.stdout);
    }
    assert!(text.stderr.contains("6 definitions checked: 0 errors, 3 warnings"), "{}", text.stderr);
    assert!(!project.path("out").exists(), "a validation writes nothing");
    let both = project.run(&["validate", "--offline", "--data"]).exits(2);
    assert!(both.stderr.contains("'--offline' cannot be used with '--data'"), "{}", both.stderr);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(codes(&["--offline"]), expected[..1]);

    let or_of_one_group = r#"{"name": "Here or There", "rulesOperator": "OR", "rules": [
        {"groupIndex": 0, "field": "country", "operator": "equals", "value": "FR"},
        {"groupIndex": 0, "field": "country", "operator": "equals", "value": "DE"}]}"#;
    project.write("foreign.json", or_of_one_group);
    let foreign = codes(&["--dialect", "groups", "foreign.json"]);
    assert_eq!(foreign, [("single-alternative".to_owned(), 1), ("never-holds".to_owned(), 3)]);
    let imported = project.run(&["import", "--dialect", "groups", "foreign.json"]).ok();
    assert!(imported.stderr.contains("single-alternative"), "{}", imported.stderr);
}

fn the_examples_raise_few_warnings() {
    let project = Project::of_the_repository();
    let findings = project.run(&["validate", "--data", "--format", "json"]).ok().json();
    let told: Vec<String> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let file = finding["file"].as_str().unwrap().rsplit('/').next().unwrap();
            format!("{file} {} {}", finding["code"].as_str().unwrap(), finding["path"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, Vec::<String>::new());
}

fn a_refresh_with_an_invalid_definition_runs_nothing() {
    let project = Project::refreshed();
    let buyers = project.read("queries/buyers.json");
    project.write("queries/buyers.json", &buyers.replace("gte", "gt_or_so"));
    let refused = project.run(&["refresh", "--all"]).exits(3);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("gt_or_so"), "{}", refused.stderr);
    let history = project.run(&["history", BUYERS, "--format", "ndjson"]).ok().stdout;
    assert_eq!(history.lines().count(), 1, "nothing ran");
    let skipped = project.run(&["refresh", "--all", "--skip-invalid"]).ok();
    assert!(skipped.stderr.contains("last valid form"), "{}", skipped.stderr);
    let history = project.run(&["history", BUYERS, "--format", "ndjson"]).ok().stdout;
    assert_eq!(history.lines().count(), 2, "the last valid form was run");
    let list = project.list();
    assert!(list[BUYERS]["note"].as_str().unwrap().starts_with("invalid"), "{}", list[BUYERS]);
    project.write("queries/buyers.json", &buyers);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(project.list()[BUYERS]["note"], Value::Null);
}

fn a_definition_that_no_longer_fits_fails_alone() {
    let project = Project::refreshed();
    let users = project.read("users.csv");
    project.write("users.csv", &users.replace("country", "land"));
    let answer = project.run(&["refresh", "--all", "--format", "json"]).exits(1);
    let report = answer.json();
    let status = |segment: &str| {
        let rows = report["segments"].as_array().unwrap();
        let row = rows.iter().find(|row| row["segment_id"] == segment).unwrap();
        (row["status"].as_str().unwrap().to_owned(), row["members"].as_u64().unwrap())
    };
    assert_eq!(status(UNCHANGED_IN_FRANCE), ("failed".to_owned(), 2), "it keeps its members");
    assert_eq!(status(BUYERS), ("ok".to_owned(), 3));
    let history = project.run(&["history", UNCHANGED_IN_FRANCE, "--format", "json"]).ok().json();
    let last = history.as_array().unwrap().last().unwrap();
    assert_eq!(last["status"], "failed");
    assert!(last["error"].as_str().unwrap().contains("country"), "{last}");
    project.write("users.csv", &users);
    project.run(&["refresh", "--all"]).ok();
}

fn an_accident_changes_nothing() {
    let project = Project::refreshed();
    let before = project.run(&["history", "--format", "csv"]).ok().stdout;
    let users = project.read("users.csv");
    let fails = |what: &str, named: &str| {
        let answer = project.run(&["refresh", "--all"]).exits(1);
        assert!(answer.stderr.contains(named), "{what}: {}", answer.stderr);
        assert_eq!(project.run(&["history", "--format", "csv"]).ok().stdout, before, "{what}");
    };
    project.write("users.csv", users.lines().next().unwrap());
    fails("a source without rows", "users.csv");
    project.remove("users.csv");
    fails("a source that is gone", "users.csv");
    project.write("users.csv", &format!("{users}u1,DE,,\n"));
    fails("a key with two rows", "u1");
    project.write("users.csv", &users);
    std::fs::rename(project.path("queries"), project.path("elsewhere")).unwrap();
    fails("a folder of definitions that is gone", "queries");
    std::fs::create_dir(project.path("queries")).unwrap();
    fails("a folder without definitions", "queries");
}

fn changes_and_history_tell_what_happened() {
    let project = Project::refreshed();
    project.append_order("u4", "2026-01-01T12:00:00Z", 5);
    project.run(&["refresh", "--all", "--as-of", "2026-01-02T00:00:00Z"]).ok();
    let rows = |arguments: &[&str]| project.run(arguments).ok().json().as_array().unwrap().clone();
    let changes = rows(&["changes", BUYERS, "--format", "json"]);
    let told: Vec<[&str; 3]> =
        changes.iter().map(|row| ["subject_id", "change", "reason"].map(|name| row[name].as_str().unwrap())).collect();
    let initial = ["u1", "u2", "u3"].map(|id| [id, "enter", "initial"]);
    assert_eq!(told, [initial.to_vec(), vec![["u4", "enter", "rule_match"]]].concat());
    assert_eq!(rows(&["changes", "--subject", "u4", "--from", "2026-01-02T00:00:00Z", "--format", "json"]).len(), 2);
    assert_eq!(rows(&["changes", BUYERS, "--limit", "1", "--format", "json"])[0]["subject_id"], "u4");
    let history = rows(&["history", BUYERS, "--format", "json"]);
    let figures: Vec<[u64; 3]> = history
        .iter()
        .map(|row| ["member_count", "added_count", "removed_count"].map(|name| row[name].as_u64().unwrap()))
        .collect();
    assert_eq!(figures, [[3, 3, 0], [4, 1, 0]]);
    let table = project.run(&["history", BUYERS]).ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("segment id"), "a header and a line a run: {table}");
    assert!(lines[1..].iter().all(|line| line.find("run") == lines[0].find("kind")), "columns stand below their names: {table}");
    project.run(&["history", "nothing-like-it"]).exits(2);
}

fn a_list_shows_the_state_of_every_segment() {
    let project = Project::new();
    let new = project.list();
    assert_eq!((&new[BUYERS]["members"], &new[BUYERS]["stale"]), (&Value::Null, &json!(true)));
    assert_eq!(new["rests"]["status"], "paused");
    project.run(&["refresh", "--all"]).ok();
    let list = project.list();
    assert_eq!((&list[BUYERS]["members"], &list[BUYERS]["stale"]), (&json!(3), &json!(false)));
    assert_eq!(list[BUYERS]["computed_at"], "2026-01-01T00:00:00Z");
    assert_eq!(list[BUYERS]["next_due"], "2026-01-01T00:01:00Z");
    assert_eq!(list["rests"]["next_due"], Value::Null);
    project.remove("queries/big.json");
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(project.list()[BIG]["note"], "missing");
    let shown = project.run(&["show", BUYERS, "--format", "json"]).ok().json();
    assert_eq!((&shown["definition"]["id"], &shown["members"]), (&json!(BUYERS), &json!(3)));
    assert!(project.run(&["show", BUYERS]).ok().stdout.contains("\"conditions\""));
    let busy = project.run(&["refresh", "rests"]).exits(1);
    assert!(busy.stderr.contains("paused"), "{}", busy.stderr);
}

fn a_segment_ends_unless_others_refer_to_it() {
    let project = Project::refreshed();
    let refused = project.run(&["delete", BUYERS]).exits(1);
    assert!(refused.stderr.contains("`big`"), "{}", refused.stderr);
    assert_eq!(project.list()[BUYERS]["members"], 3);
    project.remove("queries/big.json");
    project.run(&["refresh", "--all"]).ok();
    let ended = project.run(&["delete", BIG, "--format", "json"]).ok().json();
    assert_eq!(ended, json!([{ "segment_id": BIG, "left": 1 }]));
    assert!(!project.list().contains_key(BIG));
    assert!(!project.path("out/memberships/shop/big.parquet").exists());
    let changes = project.run(&["changes", BIG, "--format", "json"]).ok().json();
    assert_eq!(changes.as_array().unwrap().last().unwrap()["reason"], "segment_deleted");
    project.run(&["delete", BIG]).exits(2);
}

fn tables_are_described_and_plans_shown() {
    let project = Project::new();
    let described = project.run(&["describe", "--format", "json"]).ok().json();
    let tables: Vec<&str> = described.as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["users", "events"]);
    assert!(project.run(&["describe", "users"]).ok().stdout.contains("country"));
    project.run(&["describe", "products"]).exits(2);
    let plan = project.run(&["plan", BUYERS, BIG, "--format", "json"]).ok().json();
    let plans = plan["plans"].as_array().unwrap();
    assert_eq!((plans.len(), &plans[0]["segments"]), (1, &json!("big, buyers")));
    assert_eq!(plans[0]["plan"].as_str().unwrap().matches("TableScan: events").count(), 1, "{}", plans[0]["plan"]);
    // What a server would execute is shown without one.
    let statement = project.run(&["plan", BUYERS, "--backend", "clickhouse"]).ok().stdout;
    assert!(statement.contains("GROUP BY") && statement.contains("{p1:") && !statement.contains("TableScan"), "{statement}");
    project.run(&["plan", BUYERS, "--backend", "duckdb"]).exits(2);
}

fn what_needs_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| Answer::of(std::process::Command::new(project::PROGRAM).current_dir(here).args(arguments));
    assert!(run(&["schema"]).ok().json()["$schema"].as_str().unwrap().contains("2020-12"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).ok().stdout.contains("segments-of"));
    }
    let size = ["--users", "50", "--events", "500", "--days", "3", "--products", "20"];
    let arguments: Vec<&str> = ["generate", "--out", "data", "--format", "json"].iter().chain(&size).copied().collect();
    let made = run(&arguments).ok().json();
    assert_eq!((&made["users"], &made["events"], &made["products"]), (&json!(50), &json!(500), &json!(20)));
    assert!(folder.path().join("data/users.parquet").exists());
    run(&arguments).exits(1);
}

fn the_scheduler_works_until_a_signal() {
    let project = Project::new();
    let mut scheduler = project.spawn(&["run", "--log-format", "json"]);
    project.wait_for("out/memberships/shop/buyers.parquet", &mut scheduler);
    let second = project.run(&["run"]).exits(1);
    assert!(second.stderr.contains("held by") && second.stderr.contains(&scheduler.id().to_string()), "{}", second.stderr);
    project.run(&["refresh", "--all"]).ok();
    let answer = project::terminate(scheduler).ok();
    let logged: Vec<Value> = answer.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let computed = logged.iter().find(|line| line["message"] == "segment computed" && line["segment"] == BUYERS).unwrap();
    assert_eq!((&computed["tenant"], &computed["members"]), (&json!("shop"), &json!(3)));
    assert!(computed["run_id"].as_str().is_some_and(|id| id.len() == 36));
    assert_eq!(logged.last().unwrap()["message"], "scheduler stopped");
    let mut third = project.spawn(&["run"]);
    project.write("queries/new.json", r#"{"id": "new", "logic": "and", "conditions": [{"type": "everyone"}]}"#);
    project.wait_for("out/memberships/shop/new.parquet", &mut third);
    project::terminate(third).ok();
}

/// Time passes while the program works: what it committed lies after the look that started it.
fn the_scheduler_goes_on_from_run_to_run() {
    let project = Project::new();
    let config = project.read("scheduler.toml").replace("as_of = \"2026-01-01T00:00:00Z\"", "");
    project.write("scheduler.toml", &format!("{config}\n[scheduler]\ndefault_refresh_interval = \"1s\"\n"));
    let mut scheduler = project.spawn(&["run"]);
    project.wait_for("out/memberships/shop/buyers.parquet", &mut scheduler);
    let runs = || {
        let rows = project.run(&["history", BUYERS, "--format", "ndjson"]).ok().stdout;
        rows.lines().count()
    };
    let enough = (0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        runs() >= 4
    });
    let answer = project::terminate(scheduler).ok();
    assert!(enough, "only {} runs: {}", runs(), answer.stderr);
}

fn a_reader_that_goes_away_is_no_failure() {
    let project = Project::refreshed();
    for format in ["table", "json", "ndjson", "csv", "parquet", "arrow"] {
        let answer = project.run_without_reader(&["members", BUYERS, "--format", format]).ok();
        assert!(answer.stderr.is_empty(), "{format}: {}", answer.stderr);
    }
    project.run_without_reader(&["--help"]).ok();
}

fn the_demo_works() {
    let project = Project::of_the_repository();
    let report = project.run(&["refresh", "--all", "--format", "json"]).ok().json();
    let rows = report["segments"].as_array().unwrap();
    assert!(rows.len() >= 25);
    assert!(rows.iter().all(|row| row["status"] == "ok"), "{report}");
    let partly = rows.iter().filter(|row| row["share"].as_f64().is_some_and(|share| share > 0.0 && share < 1.0)).count();
    assert!(partly * 10 >= rows.len() * 9, "only {partly} of {} segments tell anyone apart", rows.len());
}

fn what_breaks_the_laws_of_the_store_is_told() {
    let project = Project::refreshed();
    let sound = project.run(&["verify"]).ok().stdout;
    assert!(sound.starts_with("the records of ") && sound.ends_with("segments of 1 tenant are in order\n"), "{sound}");
    assert_eq!(project.run(&["verify", "--format", "json"]).ok().json(), serde_json::json!([]));
    let public = std::fs::read_dir(project.path("out/memberships/shop")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&public).unwrap();
    std::fs::write(&public, "not what was committed").unwrap();
    let damaged = project.run(&["verify", "--format", "json"]).exits(1);
    let faults = damaged.json();
    assert_eq!(faults.as_array().unwrap().len(), 1, "{faults}");
    assert_eq!(faults[0]["tenant"], "shop");
    let name = public.file_name().unwrap().to_str().unwrap();
    assert!(faults[0]["fault"].as_str().unwrap().contains(name), "{faults}");
    assert!(damaged.stderr.contains("the store breaks its laws in 1 place"), "{}", damaged.stderr);
    assert_eq!(faults[0]["repair"], "possible");
    let repaired = project.run(&["verify", "--repair", "--format", "json"]).ok().json();
    assert_eq!((&repaired[0]["fault"], &repaired[0]["repair"]), (&faults[0]["fault"], &serde_json::json!("done")));
    project.run(&["verify"]).ok();
}

fn the_store_is_looked_after() {
    let project = Project::refreshed();
    let files = || {
        let days = std::fs::read_dir(project.path("out/history/shop")).unwrap();
        days.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count()).collect::<Vec<_>>()
    };
    project.run(&["refresh", "--all", "--full"]).ok();
    let history = project.run(&["history", "--format", "json"]).ok().json();
    let before: usize = files().iter().sum();
    assert!(before > 1);
    let compacted = project.run(&["compact", "--format", "json"]).ok().json();
    let replaced = compacted[0]["replaced"].as_u64().unwrap();
    // The clock of this project stands still, on a day that is not over.
    assert_eq!((compacted[0]["tenant"].as_str(), replaced, files()), (Some("shop"), 0, vec![before]), "{compacted}");
    std::fs::write(project.path("out/history/shop/notes.txt"), "mine").unwrap();
    std::fs::create_dir_all(project.path("out/log/files/shop/000000000001-000009")).unwrap();
    std::fs::write(project.path("out/log/files/shop/000000000001-000009/changes.parquet"), "orphan").unwrap();
    let orphan = "log/files/shop/000000000001-000009/changes.parquet";
    let dry = project.run(&["gc", "--dry-run", "--format", "json"]).ok();
    assert!(dry.json().as_array().unwrap().iter().any(|row| row["path"] == orphan), "{}", dry.stdout);
    assert!(dry.stderr.contains("`history/shop/notes.txt` is not of segmenta, and stays"), "{}", dry.stderr);
    assert!(project.path("out").join(orphan).exists());
    project.run(&["gc", "--grace", "0"]).ok();
    assert!(!project.path("out").join(orphan).exists() && project.path("out/history/shop/notes.txt").exists());
    assert_eq!(project.run(&["history", "--format", "json"]).ok().json(), history);
    project.run(&["verify"]).ok();
    let members = || project.run(&["members", BUYERS, "--format", "json"]).ok().json();
    let (before, someone) = (members(), members()[0]["subject_id"].as_str().unwrap().to_owned());
    let erased = project.run(&["erase", "--subject", &someone, "--format", "json"]).ok().json();
    let row = erased.as_array().unwrap().iter().find(|row| row["segment_id"] == BUYERS).unwrap();
    assert_eq!((&row["was_member"], &row["changes"]), (&serde_json::json!(true), &serde_json::json!(1)), "{erased}");
    assert_eq!(members().as_array().unwrap().len(), before.as_array().unwrap().len() - 1);
    assert_eq!(project.run(&["changes", "--subject", &someone, "--format", "json"]).ok().json(), serde_json::json!([]));
    project.run(&["verify"]).ok();
}
