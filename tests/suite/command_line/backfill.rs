//! `backfill`: against previews at the same instants, and that the present stays as it is.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::{BUYERS, Project};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 8] = [
        ("a backfill is what previews say", a_backfill_is_what_previews_say),
        ("a backfill goes on where it stopped", a_backfill_goes_on_where_it_stopped),
        ("a backfill of the examples reads the events once", a_backfill_of_the_examples_reads_the_events_once),
        ("a backfill that does not fit into memory takes fewer instants at a time", few_instants_at_a_time_where_memory_is_short),
        ("a backfill tells what makes no sense", a_backfill_tells_what_makes_no_sense),
        ("members of the past are what previews say", members_of_the_past_are_what_previews_say),
        ("a backfill leaves snapshots", a_backfill_leaves_snapshots),
        ("what a definition refers to is as it was", what_a_definition_refers_to_is_as_it_was),
    ];
    super::named("command_line::backfill::", trials)
}

fn rows(answer: &Value) -> Vec<(String, String, [u64; 3])> {
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("segment_id"), text("as_of"), ["members", "entered", "left"].map(|name| row[name].as_u64().unwrap()))
    };
    answer["rows"].as_array().unwrap().iter().map(row).collect()
}

/// The history rows of the past: instant, local day, count, who entered, who left.
fn recorded(project: &Project, segment: &str) -> Vec<String> {
    let history = project.run(&["history", segment, "--kind", "backfill", "--format", "json"]).ok().json();
    let row = |row: &Value| {
        let [count, added, removed] = ["member_count", "added_count", "removed_count"].map(|name| row[name].as_u64().unwrap());
        format!("{} {} {count} {added} {removed}", row["as_of"].as_str().unwrap(), row["evaluation_date"].as_str().unwrap())
    };
    history.as_array().unwrap().iter().map(row).collect()
}

fn a_backfill_is_what_previews_say() {
    let project = Project::refreshed();
    let before = [project.run(&["members", BUYERS, "--format", "csv"]).stdout, project.run(&["list", "--format", "json"]).stdout];
    let range = ["--from", "2025-11-30T00:00:00Z", "--to", "2026-01-01T00:00:00Z", "--step", "8d"];
    let arguments: Vec<&str> =
        ["backfill", BUYERS, "no-orders"].iter().chain(&range).chain(&["--format", "json"]).copied().collect();
    let answer = project.run(&arguments).ok().json();
    let found = rows(&answer);
    assert_eq!(found.len(), 10);
    let mut previous: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for (segment, as_of, [members, entered, left]) in &found {
        let preview = project.run(&["preview", segment, "--as-of", as_of, "--format", "json"]).ok().json();
        assert_eq!(preview["count"], *members, "{segment} as of {as_of}");
        let before = previous.insert(segment.clone(), *members).unwrap_or(0);
        assert_eq!(before + entered, members + left, "{segment} as of {as_of}");
    }
    assert!(found.iter().any(|(_, _, [_, _, left])| *left > 0), "someone left: {found:?}");
    assert_eq!(
        recorded(&project, BUYERS),
        [
            "2025-11-30T00:00:00Z 2025-11-30 0 0 0",
            "2025-12-08T00:00:00Z 2025-12-08 1 1 0",
            "2025-12-16T00:00:00Z 2025-12-16 2 1 0",
            "2025-12-24T00:00:00Z 2025-12-24 2 0 0",
            "2026-01-01T00:00:00Z 2026-01-01 3 1 0",
        ]
    );
    let after = [project.run(&["members", BUYERS, "--format", "csv"]).stdout, project.run(&["list", "--format", "json"]).stdout];
    assert_eq!(after, before, "the present is not touched");
    project.run(&["verify"]).ok();
    project.run(&["refresh", "--all"]).ok();
    project.run(&["verify"]).ok();
}

fn a_backfill_goes_on_where_it_stopped() {
    let project = Project::new();
    let run = |from: &str, to: &str| {
        project.run(&["backfill", BUYERS, "--from", from, "--to", to, "--step", "1d", "--format", "json"]).ok().json()
    };
    // What an interruption leaves: the first days.
    let first = run("2025-12-01T00:00:00Z", "2025-12-10T00:00:00Z");
    assert_eq!((rows(&first).len(), &first["known"]), (10, &json!(0)));
    let rest = run("2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!((rows(&rest).len(), &rest["known"]), (22, &json!(10)));
    assert_eq!(rows(&rest)[0].2, [2, 1, 0], "who entered since the day before, which was recorded earlier");
    let again = run("2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!((rows(&again).len(), &again["known"]), (0, &json!(32)));
    let recorded = recorded(&project, BUYERS);
    assert_eq!(recorded.len(), 32);
    let entered: u64 = recorded.iter().map(|row| row.split(' ').nth(3).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(entered, 3, "{recorded:?}");
    // Another definition has a past of its own.
    let changed = project.read("queries/buyers.json").replace("\"value\": 1", "\"value\": 2");
    project.write("queries/buyers.json", &changed);
    let other = run("2025-12-30T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!(rows(&other).iter().map(|row| row.2).collect::<Vec<_>>(), [[1, 1, 0], [1, 0, 0], [1, 0, 0]]);
}

fn a_backfill_of_the_examples_reads_the_events_once() {
    let project = Project::of_the_repository();
    let list = project.run(&["list", "--format", "json"]).ok().json();
    let ids: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["subject"] == "user" && row["status"] == "active" && row["kind"] == "dynamic")
        .map(|row| row["segment_id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() > 30, "{}", ids.len());
    let mut arguments = vec!["backfill"];
    arguments.extend(ids.iter().map(String::as_str));
    arguments.extend(["--from", "2025-12-25T00:00:00Z", "--to", "2025-12-31T00:00:00Z", "--step", "2d", "-v", "--format", "json"]);
    let answer = project.run(&arguments).ok();
    let passes: Vec<&str> = answer.stderr.lines().filter(|line| line.contains("events: ") && line.contains("pass")).collect();
    assert!(passes.len() == 1 && passes[0].contains("events: one pass"), "{passes:?}\n{}", answer.stderr);
    let found = rows(&answer.json());
    assert_eq!(found.len(), ids.len() * 4);
    // Of some of them, another way.
    for (segment, as_of, [members, ..]) in found.iter().step_by(23) {
        let preview = project.run(&["preview", segment, "--as-of", as_of, "--format", "json"]).ok().json();
        assert_eq!(preview["count"], *members, "{segment} as of {as_of}");
    }
}

/// So many rankings have to be sorted together as there are instants.
fn few_instants_at_a_time_where_memory_is_short() {
    const USERS: usize = 2_000;
    let project = Project::new();
    let users: String = (0..USERS).map(|user| format!("u{user:04},FR,free,{}\n", 18 + user % 60)).collect();
    project.write("users.csv", &format!("user_id,country,plan,age\n{users}"));
    let event = |event: usize| {
        let (user, day, amount) = (event * 7_919 % USERS, 1 + event * 104_729 % 30, event % 97);
        format!(
            "{{\"user_id\": \"u{user:04}\", \"type\": \"order\", \"at\": \"2025-12-{day:02}T10:00:00Z\", \"amount\": {amount}}}\n"
        )
    };
    project.write("events.ndjson", &(0..USERS * 2).map(event).collect::<String>());
    let best = r#"{"id": "best", "logic": "and", "conditions": [
        {"type": "top", "by": {"type": "event", "event_type": "order", "measure": {"sum": "amount"}, "window": {"last": "20d"}}, "percent": 10}]}"#;
    project.write("queries/best.json", best);
    let config = project.read("scheduler.toml");
    let backfilled = |engine: &str| {
        let _store = std::fs::remove_dir_all(project.path("out"));
        project.write("scheduler.toml", &format!("{config}\n[engine]\nthreads = 2\n{engine}\n"));
        let range = ["--from", "2025-12-02T00:00:00Z", "--to", "2025-12-31T00:00:00Z", "--step", "1d", "-v", "--format", "json"];
        let answer = project.run(&[&["backfill", BUYERS, "best"][..], &range].concat()).ok();
        let evaluations = answer.stderr.lines().filter(|line| line.contains("events: ") && line.contains("pass")).count();
        let halvings = answer.stderr.matches("so many instants do not fit into memory together").count();
        (rows(&answer.json()), evaluations, halvings)
    };
    let (whole, evaluations, halvings) = backfilled("");
    assert_eq!((whole.len(), evaluations, halvings), (60, 1, 0));
    assert!(whole.iter().any(|(_, _, [members, entered, left])| *members > 100 && *entered > 0 && *left > 0), "{whole:?}");
    // Sorts that hold nothing at the moment take nothing away from those that do.
    assert_eq!(backfilled("memory_limit = \"8MiB\""), (whole.clone(), 1, 0));
    let (parts, evaluations, halvings) = backfilled("memory_limit = \"1MiB\"");
    assert_eq!(parts, whole);
    assert!(halvings > 0 && evaluations > 1, "{evaluations} evaluations, {halvings} halvings");
    // What did not fit once is not tried again, whatever is left to be done.
    assert!(1 << halvings < 2 * evaluations, "{evaluations} evaluations, {halvings} halvings");
}

fn a_backfill_tells_what_makes_no_sense() {
    let project = Project::new();
    for (range, message) in [
        (["--from", "2025-12-02T00:00:00Z", "--to", "2025-12-01T00:00:00Z", "--step", "1d"], "is after"),
        (["--from", "2025-12-02T00:00:00Z", "--to", "2026-02-01T00:00:00Z", "--step", "1d"], "is not over"),
        (["--from", "2020-12-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z", "--step", "1s"], "more than 100000 instants"),
    ] {
        let arguments: Vec<&str> = ["backfill", BUYERS].iter().chain(&range).copied().collect();
        let refused = project.run(&arguments).exits(1);
        assert!(refused.stderr.contains(message) && refused.stderr.contains("help: "), "{}", refused.stderr);
    }
    let range = ["--from", "2025-12-01T00:00:00Z", "--to", "2025-12-02T00:00:00Z"];
    let of = |segment: &str| {
        let arguments: Vec<&str> = ["backfill", segment].iter().chain(&range).copied().collect();
        project.run(&arguments)
    };
    assert!(of("buyer").exits(2).stderr.contains("Did you mean `buyers`?"));
    assert!(!project.path("out").exists(), "nothing was written");
}

fn members_of_the_past_are_what_previews_say() {
    let project = Project::new();
    let runs = ["2025-12-05T00:00:00Z", "2025-12-15T00:00:00Z", "2026-01-01T00:00:00Z"];
    for run in runs {
        project.run(&["refresh", "--all", "--as-of", run]).ok();
    }
    let members = |as_of: &str, more: &[&str]| {
        let arguments: Vec<&str> = ["members", BUYERS, "--as-of", as_of, "--format", "json"].iter().chain(more).copied().collect();
        let answer = project.run(&arguments).ok();
        let rows = answer.json();
        let row = |row: &Value| (row["subject_id"].as_str().unwrap().to_owned(), row["entered_at"].clone());
        (rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>(), answer.stderr)
    };
    let previewed = |as_of: &str| {
        let preview = project.run(&["preview", BUYERS, "--as-of", as_of, "--sample", "all", "--format", "json"]).ok().json();
        let ids = preview["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    for run in runs {
        let (rows, _) = members(run, &[]);
        assert_eq!(rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), previewed(run), "as of {run}");
    }
    // Between runs they are those of the run before.
    let (rows, said) = members("2025-12-20T00:00:00Z", &[]);
    assert_eq!(rows, [("u1".to_owned(), json!(runs[0])), ("u2".to_owned(), json!(runs[1]))]);
    assert!(said.contains("`buyers` as of 2025-12-20T00:00:00Z, from 2 changes from the beginning"), "{said}");
    let (_, said) = members("2026-01-01T00:00:00Z", &[]);
    assert!(said.contains("from the current members, who have not changed since"), "{said}");
    // Before the first run only an evaluation can tell, and not since when.
    let (rows, said) = members("2025-12-02T00:00:00Z", &[]);
    assert_eq!(rows, [("u1".to_owned(), Value::Null)]);
    assert!(said.contains("by evaluation: the records do not reach back"), "{said}");
    assert_eq!(members("2026-01-01T00:00:00Z", &["--after", "u1", "--limit", "1"]).0[0].0, "u2");

    let of = |as_of: &str| {
        let rows = project.run(&["segments-of", "u1", "--as-of", as_of, "--format", "json"]).ok().json();
        rows.as_array().unwrap().iter().map(|row| row["segment_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("2025-12-06T00:00:00Z"), ["buyers", "in-france"]);
    assert_eq!(of("2026-01-01T00:00:00Z"), ["big", "buyers", "in-france"]);
    let early = project.run(&["segments-of", "u1", "--as-of", "2025-11-01T00:00:00Z"]).ok();
    assert!(early.stderr.contains("do not reach back"), "{}", early.stderr);
    // A backfill of the past is no run.
    project.run(&["backfill", BUYERS, "--from", "2025-11-01T00:00:00Z", "--to", "2025-11-03T00:00:00Z"]).ok();
    assert!(members("2025-11-02T00:00:00Z", &[]).1.contains("by evaluation"));
    // Several segments, each from where it is known, with attributes, in an order.
    let together = |as_of: &str, more: &[&str]| {
        let arguments: Vec<&str> =
            ["members", BUYERS, "in-france", "--as-of", as_of, "--format", "csv"].iter().chain(more).copied().collect();
        project.run(&arguments).ok().stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let row = |id: &str, run: usize, more: &str| format!("{id},{}{more}", runs[run]);
    let [first, second] = ["2025-12-14T00:00:00Z", "2025-12-20T00:00:00Z"];
    assert_eq!(together(second, &["--union"]), [row("u1", 0, ""), row("u2", 1, ""), row("u4", 0, "")]);
    assert_eq!(together(second, &["--intersect"]), [row("u1", 0, "")]);
    assert_eq!(together(second, &["--except"]), [row("u2", 1, "")]);
    assert_eq!(together(first, &["--union", "--after", "u1"]), [row("u4", 0, "")]);
    assert_eq!(
        together(second, &["--union", "--with", "age,country", "--sort", "-age", "--limit", "2"]),
        [row("u4", 0, ",40,FR"), row("u1", 0, ",31,FR")]
    );
    assert_eq!(together("2025-12-02T00:00:00Z", &["--union", "--sort", "-subject_id"]), ["u4,", "u1,"], "by evaluation");
    let path = project.text_path("then.parquet");
    let written = project.run(&["members", BUYERS, "--as-of", second, "--with", "country", "--output", &path]).ok();
    assert!(written.stderr.contains("2 rows written"), "{}", written.stderr);
}

fn a_backfill_leaves_snapshots() {
    let project = Project::new();
    let range = ["--from", "2025-12-01T12:00:00Z", "--to", "2025-12-31T12:00:00Z", "--step", "10d"];
    let run = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["backfill", BUYERS].iter().chain(&range).chain(more).chain(&["--format", "json"]).copied().collect();
        project.run(&arguments).ok()
    };
    let snapshots = || {
        let files = std::fs::read_dir(project.path("out/snapshots/shop/buyers"));
        let mut names: Vec<String> =
            files.map(|files| files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()).unwrap_or_default();
        names.sort();
        names
    };
    assert_eq!((rows(&run(&[]).json()).len(), snapshots().len()), (4, 0));
    let answer = run(&["--snapshots"]);
    assert!(answer.stderr.contains("4 snapshots were written"), "{}", answer.stderr);
    assert_eq!((rows(&answer.json()).len(), &answer.json()["snapshots"]), (0, &json!(4)), "the figures were there");
    let days: Vec<String> = snapshots().iter().map(|name| name.split("-backfill-").next().unwrap().to_owned()).collect();
    assert_eq!(days, ["01", "11", "21", "31"].map(|day| format!("202512{day}T120000.000000Z")));

    let told = |as_of: &str| {
        let answer = project.run(&["members", BUYERS, "--as-of", as_of, "--format", "json"]).ok();
        let rows = answer.json();
        let row = |row: &Value| ["subject_id", "entered_at"].map(|name| row[name].as_str().unwrap_or_default().to_owned());
        (rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>(), answer.stderr)
    };
    let (members, said) = told("2025-12-21T12:00:00Z");
    let expected = [["u1", "2025-12-01T12:00:00Z"], ["u2", "2025-12-11T12:00:00Z"]].map(|row| row.map(str::to_owned));
    assert_eq!(members, expected);
    assert!(said.contains("from the snapshot of a backfill"), "{said}");
    let of_u2 = project.run(&["segments-of", "u2", "--as-of", "2025-12-11T12:00:00Z", "--format", "json"]).ok().json();
    assert_eq!(of_u2, json!([]), "a segment that was never run is none of the store");

    // Each instant has what its preview says; a run tells of the present, and of nothing before it.
    project.run(&["refresh", "--all"]).ok();
    let again = run(&["--snapshots"]).json();
    assert_eq!((rows(&again).len(), &again["snapshots"]), (0, &json!(0)));
    for day in ["01", "11", "21", "31"] {
        let as_of = format!("2025-12-{day}T12:00:00Z");
        let preview = project.run(&["preview", BUYERS, "--as-of", &as_of, "--sample", "all", "--format", "json"]).ok().json();
        let previewed: Vec<&str> =
            preview["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect();
        assert_eq!(told(&as_of).0.iter().map(|[id, _]| id.as_str()).collect::<Vec<_>>(), previewed, "as of {as_of}");
    }
    let of_u2 = project.run(&["segments-of", "u2", "--as-of", "2025-12-11T12:00:00Z", "--format", "json"]).ok().json();
    assert_eq!((&of_u2[0]["segment_id"], &of_u2[0]["entered_at"]), (&json!("buyers"), &json!("2025-12-11T12:00:00Z")));
    project.run(&["verify"]).ok();

    // Another definition takes the place of what the first one left; upkeep lets go of that.
    let changed = project.read("queries/buyers.json").replace("\"value\": 1", "\"value\": 2");
    project.write("queries/buyers.json", &changed);
    assert_eq!(run(&["--snapshots"]).json()["snapshots"], json!(4));
    assert_eq!(told("2025-12-11T12:00:00Z").0, Vec::<[String; 2]>::new());
    assert_eq!(told("2025-12-21T12:00:00Z").0, [["u1", "2025-12-21T12:00:00Z"].map(str::to_owned)]);
    assert_eq!(snapshots().len(), 8);
    project.run(&["compact"]).ok();
    assert_eq!(snapshots().len(), 4);
    project.run(&["verify"]).ok();
    assert_eq!(told("2025-12-21T12:00:00Z").0.len(), 1);
}

fn what_a_definition_refers_to_is_as_it_was() {
    let project = Project::new();
    let at = |instant: &str| {
        let config = project.read("scheduler.toml");
        let line = config.lines().find(|line| line.starts_with("as_of")).unwrap().to_owned();
        project.write("scheduler.toml", &config.replace(&line, &format!("as_of = \"{instant}\"")));
    };
    let refers = |id: &str, to: &str| {
        let text = format!(
            r#"{{"id": "{id}", "logic": "and", "conditions": [{{"type": "segment", "segment_id": "{to}"}},
                {{"type": "event", "event_type": "order", "operator": "gte", "value": 1}}]}}"#
        );
        project.write(&format!("queries/{id}.json"), &text);
    };
    project.write("queries/board.json", r#"{"id": "board", "kind": "static"}"#);
    refers("of-board", "board");
    refers("of-buyers", BUYERS);
    // Everybody who bought by the 15th is a buyer for good: the segment is paused then.
    at("2025-12-15T00:00:00Z");
    project.run(&["refresh", "--all"]).ok();
    project.run(&["override", "add", "board", "--subject", "u1"]).ok();
    let paused = project.read("queries/buyers.json").replace("\"id\": \"buyers\"", "\"id\": \"buyers\", \"status\": \"paused\"");
    project.write("queries/buyers.json", &paused);
    at("2025-12-25T00:00:00Z");
    project.run(&["override", "add", "board", "--subject", "u2"]).ok();
    project.run(&["override", "remove", "board", "--subject", "u1"]).ok();
    project.run(&["override", "add", BUYERS, "--subject", "u3"]).ok();
    at("2026-01-01T00:00:00Z");
    project.run(&["refresh", "--all"]).ok();

    let previewed = |id: &str, as_of: &str| {
        let preview = project.run(&["preview", id, "--as-of", as_of, "--sample", "all", "--format", "json"]).ok().json();
        let ids = preview["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    let instants = ["2025-12-05T00:00:00Z", "2025-12-20T00:00:00Z", "2025-12-28T00:00:00Z", "2026-01-01T00:00:00Z"];
    for (id, expected) in [
        // Nobody was added before the 15th. The u3 whom people added on the 25th bought on the 31st.
        ("of-board", ["", "u1", "u2", "u2"]),
        // Before the first run the rule tells.
        ("of-buyers", ["u1", "u1 u2", "u1 u2", "u1 u2 u3"]),
    ] {
        assert_eq!(instants.map(|as_of| previewed(id, as_of)), expected, "{id}");
        let evaluated = |subject: &str, as_of: &str| {
            let rows = project.run(&["evaluate", "--subject", subject, id, "--as-of", as_of, "--format", "json"]).ok().json();
            rows[0]["matches"].as_bool().unwrap()
        };
        for (as_of, expected) in instants.iter().zip(expected) {
            assert_eq!(evaluated("u1", as_of), expected.contains("u1"), "{id} as of {as_of}");
        }
    }
    for id in ["of-board", "of-buyers"] {
        let range = ["--from", instants[0], "--to", "2026-01-01T00:00:00Z", "--step", "1d", "--format", "json"];
        let arguments: Vec<&str> = ["backfill", id].iter().chain(&range).copied().collect();
        let found = rows(&project.run(&arguments).ok().json());
        for as_of in instants {
            let (.., [members, ..]) = found.iter().find(|(_, at, _)| *at == as_of).unwrap();
            assert_eq!(*members, previewed(id, as_of).split_whitespace().count() as u64, "{id} as of {as_of}");
        }
    }
    project.run(&["verify"]).ok();
}
