//! `override`, and results that are held: what people decide wins over what rules say, on files and on a server.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::{Answer, BIG, BUYERS, Project};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 7] = [
        ("what people decide wins over the rule", what_people_decide_wins_over_the_rule),
        ("decisions count in references", decisions_count_in_references),
        ("a static segment has whom people added", a_static_segment_has_whom_people_added),
        ("a paused segment takes decisions without its rule", a_paused_segment_takes_decisions),
        ("a file of subjects is taken whole or not at all", a_file_of_subjects_is_taken_whole),
        ("a scored segment keeps the score of whom people added", a_scored_segment_keeps_scores),
        ("a result that changes too much is held", a_result_that_changes_too_much_is_held),
    ];
    super::named("command_line::overrides::", trials)
}

/// The members of a segment with their reasons.
fn members(project: &Project, id: &str) -> Vec<String> {
    let rows = project.run(&["members", id, "--format", "json"]).ok().json();
    let row = |row: &Value| format!("{} {}", row["subject_id"].as_str().unwrap(), row["reason"].as_str().unwrap());
    rows.as_array().unwrap().iter().map(row).collect()
}

/// What a command did with subjects: of how many something was decided, how many were unknown, members, who entered, who left.
fn done(answer: &Answer) -> [u64; 5] {
    let answer = answer.json();
    ["subjects", "unknown", "members", "entered", "left"].map(|name| answer[name].as_u64().unwrap())
}

fn edit(project: &Project, arguments: &[&str]) -> Answer {
    let arguments: Vec<&str> = ["override"].iter().chain(arguments).chain(&["--format", "json"]).copied().collect();
    project.run(&arguments)
}

fn what_people_decide_wins_over_the_rule() {
    let project = Project::refreshed();
    assert_eq!(done(&edit(&project, &["add", BUYERS, "--subject", "u4", "--subject", "u1"]).ok()), [2, 0, 4, 1, 0]);
    assert_eq!(done(&edit(&project, &["remove", BUYERS, "--subject", "u2"]).ok()), [1, 0, 3, 0, 1]);
    let decided = ["u1 manual", "u3 rule_match", "u4 manual"];
    assert_eq!(members(&project, BUYERS), decided);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(members(&project, BUYERS), decided, "a refresh keeps what is decided");

    let explained = |subject: &str| project.run(&["explain", BUYERS, "--subject", subject]).ok().stdout;
    let since = "on 2026-01-01T00:00:00Z";
    assert!(explained("u4").contains(&format!("is in `buyers` as of 2026-01-01T00:00:00Z, added by hand {since}")));
    assert!(explained("u2").contains(&format!("is not in `buyers` as of 2026-01-01T00:00:00Z, removed by hand {since}")));
    assert!(!explained("u3").contains("by hand"));
    let json = project.run(&["explain", BUYERS, "--subject", "u4", "--format", "json"]).ok().json();
    assert_eq!((&json["member"], &json["rule"]["holds"]), (&json!(true), &json!(false)), "the tree tells what the rule says");
    assert_eq!(json["override"], json!({"action": "add", "reason": "manual", "since": "2026-01-01T00:00:00Z"}));
    let before = project.run(&["explain", BUYERS, "--subject", "u4", "--as-of", "2025-12-31T00:00:00Z"]).ok().stdout;
    assert!(before.contains("is not in `buyers`"), "it was not decided then: {before}");
    let preview = |arguments: &[&str]| project.run(arguments).ok().json()["count"].as_u64();
    assert_eq!(preview(&["preview", BUYERS, "--format", "json"]), Some(3));
    assert_eq!(preview(&["preview", BUYERS, "--as-of", "2025-12-31T00:00:00Z", "--format", "json"]), Some(2));

    let listed = project.run(&["override", "list", BUYERS, "--format", "json"]).ok().json();
    let row = |row: &Value| ["subject_id", "override", "reason"].map(|name| row[name].as_str().unwrap().to_owned()).join(" ");
    let listed: Vec<String> = listed.as_array().unwrap().iter().map(row).collect();
    assert_eq!(listed, ["u1 add manual", "u2 remove manual", "u4 add manual"]);
    assert_eq!(project.list()[BUYERS]["overrides"], 3);

    assert_eq!(done(&edit(&project, &["clear", BUYERS, "--subject", "u4", "--subject", "u2"]).ok()), [2, 0, 3, 1, 1]);
    assert_eq!(members(&project, BUYERS), ["u1 manual", "u2 rule_match", "u3 rule_match"]);
    let refused = edit(&project, &["clear", BUYERS, "--subject", "u3", "--subject", "u1"]).exits(1);
    assert!(refused.stderr.contains("nothing is decided by hand about 1 subject of segment `buyers`: `u3`"), "{}", refused.stderr);
    assert_eq!(members(&project, BUYERS)[0], "u1 manual", "nothing of it was done");
    assert_eq!(project.run(&["override", "list", "--all", "--format", "csv"]).ok().stdout.lines().count(), 4);

    let changes = project.run(&["changes", BUYERS, "--format", "json"]).ok().json();
    let changes: Vec<String> = changes.as_array().unwrap()[3..]
        .iter()
        .map(|row| ["subject_id", "change", "reason"].map(|name| row[name].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(changes, ["u4 enter manual", "u2 exit manual", "u2 enter manual", "u4 exit manual"]);
    let history = project.run(&["history", BUYERS, "--format", "json"]).ok().json();
    let kinds: Vec<&str> = history.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "manual", "manual", "run", "manual"]);
    project.run(&["verify"]).ok();
    assert!(project.path("out/overrides/shop/buyers.parquet").exists(), "analysts can read it");
}

fn decisions_count_in_references() {
    let project = Project::refreshed();
    assert_eq!(members(&project, BIG), ["u1 rule_match"]);
    edit(&project, &["remove", BUYERS, "--subject", "u1"]).ok();
    assert_eq!(members(&project, BIG), ["u1 rule_match"], "an edit is of one segment");
    project.run(&["refresh", BIG]).ok();
    assert!(members(&project, BIG).is_empty());
    let matches = project.run(&["evaluate", "--subject", "u1", BUYERS, BIG, "--format", "json"]).ok().json();
    assert!(matches.as_array().unwrap().iter().all(|row| row["matches"] == false), "{matches}");
    project.write("draft.json", r#"{"id": "x", "logic": "and", "conditions": [{"type": "everyone"}]}"#);
    let diff = project.run(&["diff", BUYERS, "draft.json", "--format", "json"]).ok().json();
    assert_eq!((&diff["before"], &diff["after"]), (&json!(2), &json!(3)), "whom people removed is out before and after");
}

fn a_static_segment_has_whom_people_added() {
    let project = Project::refreshed();
    project.write("queries/board.json", r#"{"id": "board", "kind": "static"}"#);
    project.write(
        "queries/of-board.json",
        r#"{"id": "of-board", "logic": "and", "conditions": [{"type": "segment", "segment_id": "board"}]}"#,
    );
    assert_eq!(done(&edit(&project, &["add", "board", "--subject", "u4", "--subject", "u2"]).ok()), [2, 0, 2, 2, 0]);
    assert_eq!(members(&project, "board"), ["u2 manual", "u4 manual"]);
    let refused = edit(&project, &["add", "board", "--subject", "u9", "--subject", "u1"]).exits(1);
    let problem = "1 subject is not in the universe of segment `board`: `u9`";
    assert!(refused.stderr.contains(problem), "{}", refused.stderr);
    assert_eq!(members(&project, "board").len(), 2, "all or nothing");
    assert_eq!(
        done(&edit(&project, &["add", "board", "--subject", "u9", "--subject", "u1", "--skip-unknown"]).ok()),
        [1, 1, 3, 1, 0]
    );
    assert_eq!(done(&edit(&project, &["add", "board", "--subject", "u8", "--keep-unknown"]).ok()), [1, 1, 3, 0, 0]);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(members(&project, "board").len(), 3);
    // The one who was decided about appears, another one is gone.
    let users = project.read("users.csv").replace("u4,FR,,40\n", "u8,FR,,40\n");
    project.write("users.csv", &users);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(members(&project, "board"), ["u1 manual", "u2 manual", "u8 manual"]);
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(members(&project, "of-board"), ["u1 rule_match", "u2 rule_match", "u8 rule_match"]);
    let changes = project.run(&["changes", "board", "--format", "json"]).ok().json();
    let last: Vec<String> = changes.as_array().unwrap()[3..]
        .iter()
        .map(|row| ["subject_id", "change", "reason"].map(|name| row[name].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(last, ["u4 exit left_universe", "u8 enter manual"]);
    project.run(&["verify"]).ok();
}

fn a_paused_segment_takes_decisions() {
    let project = Project::refreshed();
    let paused = project.read("queries/buyers.json").replace("\"id\": \"buyers\"", "\"id\": \"buyers\", \"status\": \"paused\"");
    project.write("queries/buyers.json", &paused);
    project.append_order("u4", "2025-12-30T00:00:00Z", 10);
    assert_eq!(done(&edit(&project, &["remove", BUYERS, "--subject", "u1"]).ok()), [1, 0, 2, 0, 1]);
    assert_eq!(members(&project, BUYERS), ["u2 rule_match", "u3 rule_match"], "its rule is not evaluated");
    assert_eq!(done(&edit(&project, &["add", BUYERS, "--subject", "u4"]).ok()), [1, 0, 3, 1, 0]);
    assert_eq!(done(&edit(&project, &["clear", BUYERS, "--subject", "u1", "--subject", "u4"]).ok()), [2, 0, 2, 0, 1]);
    project.write("queries/buyers.json", &paused.replace(", \"status\": \"paused\"", ""));
    project.run(&["refresh", "--all"]).ok();
    assert_eq!(members(&project, BUYERS).len(), 4, "the rule decides again");
    project.run(&["verify"]).ok();
}

fn a_file_of_subjects_is_taken_whole() {
    let project = Project::refreshed();
    project.write("list.csv", "\u{feff}name,\"user_id\"\r\nann,u4\r\nbob,\"u9\"\r\ncid,u4\r\ndan,u8\r\n");
    let refused = edit(&project, &["add", BUYERS, "--file", "list.csv"]).exits(1);
    let expected = "2 subjects are not in the universe of segment `buyers`: `u8`, `u9`; line 3: `u9`, line 5: `u8`";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("subjects that stand in the file again, on 1 line, count once: line 4: `u4`"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("--skip-unknown"), "{}", refused.stderr);
    assert_eq!(members(&project, BUYERS).len(), 3, "all or nothing");
    let skipped = edit(&project, &["add", BUYERS, "--file", "list.csv", "--skip-unknown"]).ok();
    assert_eq!(done(&skipped), [1, 2, 4, 1, 0]);
    assert!(skipped.stderr.contains("2 not in the universe, left out: line 3: `u9`, line 5: `u8`"), "{}", skipped.stderr);
    assert_eq!(members(&project, BUYERS)[3], "u4 import");
    project.write("bare.csv", "u1;x\nu2;y\n");
    let bare = ["remove", BUYERS, "--file", "bare.csv", "--no-header", "--column", "1", "--delimiter", ";"];
    assert_eq!(done(&edit(&project, &bare).ok()), [2, 0, 2, 0, 2]);
    for (arguments, message) in [
        (vec!["add", BUYERS, "--file", "gone.csv"], "cannot read `gone.csv`"),
        (vec!["add", BUYERS, "--file", "list.csv", "--column", "user"], "has no column `user`"),
        (vec!["add", "buyer", "--subject", "u1"], "Did you mean `buyers`?"),
        (vec!["add", BUYERS], "--subject"),
        (vec!["add", BUYERS, "--subject", ""], "not empty"),
    ] {
        let refused = edit(&project, &arguments);
        assert_ne!(refused.code, Some(0), "{arguments:?}");
        assert!(refused.stderr.contains(message), "{arguments:?}: {}", refused.stderr);
    }
    project.run(&["verify"]).ok();
}

fn a_scored_segment_keeps_scores() {
    let project = Project::new();
    let scored = r#"{"id": "older", "scoring": {"threshold": 0.9, "rules": [
        {"condition": {"type": "user_attribute", "property": "age", "operator": "gte", "value": 50, "value_type": "number"}}]}}"#;
    project.write("queries/older.json", scored);
    project.run(&["refresh", "--all"]).ok();
    edit(&project, &["add", "older", "--subject", "u4"]).ok();
    let rows = project.run(&["members", "older", "--format", "json"]).ok().json();
    let row = |row: &Value| (row["subject_id"].clone(), row["score"].clone(), row["reason"].clone());
    let rows: Vec<_> = rows.as_array().unwrap().iter().map(row).collect();
    let expected = [(json!("u3"), json!(1.0), json!("rule_match")), (json!("u4"), json!(0.8), json!("manual"))];
    assert_eq!(rows, expected, "who is added has the score that the rule gives");
    project.run(&["refresh", "--all"]).ok();
    edit(&project, &["remove", "older", "--subject", "u3"]).ok();
    assert_eq!(members(&project, "older"), ["u4 manual"]);
}

fn a_result_that_changes_too_much_is_held() {
    let project = Project::refreshed();
    project.write("scheduler.toml", &project.read("scheduler.toml").replace("as_of =", "max_change = \"50%\"\nas_of ="));
    let everyone = project.read("queries/buyers.json").replace("\"gte\", \"value\": 1", "\"eq\", \"value\": 0");
    let before = project.read("queries/buyers.json");
    project.write("queries/buyers.json", &everyone);
    let held = project.run(&["refresh", "--all", "--format", "json"]).exits(1);
    let reason = "1 would enter and 3 leave, of 3 members before, more than `max_change` = 50%";
    let row = held.json()["segments"].as_array().unwrap().iter().find(|row| row["segment_id"] == BUYERS).cloned().unwrap();
    assert_eq!((&row["status"], &row["members"], &row["error"]), (&json!("held"), &json!(3), &json!(reason)));
    assert!(held.stderr.contains("the results of") && held.stderr.contains("--accept"), "{}", held.stderr);
    assert_eq!(members(&project, BUYERS).len(), 3);
    assert_eq!(project.list()[BUYERS]["note"], format!("held: {reason}"));
    let history = project.run(&["history", BUYERS, "--format", "json"]).ok().json();
    let last = history.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["status"], &last["error"], &last["member_count"]), (&json!("held"), &json!(reason), &json!(3)));

    project.run(&["refresh", BUYERS]).exits(1);
    let accepted = project.run(&["refresh", "--accept", "--format", "json"]).ok().json();
    let accepted: Vec<&str> =
        accepted["segments"].as_array().unwrap().iter().map(|row| row["segment_id"].as_str().unwrap()).collect();
    assert!(accepted.contains(&BUYERS), "{accepted:?}");
    assert_eq!(members(&project, BUYERS), ["u4 rule_match"]);
    let changes = project.run(&["changes", BUYERS, "--format", "json"]).ok().json();
    let reasons: Vec<&str> = changes.as_array().unwrap()[3..].iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["definition_changed"; 4]);
    assert!(project.run(&["refresh", "--accept"]).ok().stderr.contains("the result of no segment is held"));

    // What a segment says itself goes before what its tenant says.
    project.write("queries/buyers.json", &before.replace("\"id\": \"buyers\"", "\"id\": \"buyers\", \"max_change\": \"none\""));
    project.run(&["refresh", BUYERS]).ok();
    assert_eq!(members(&project, BUYERS).len(), 3);
    edit(&project, &["remove", BUYERS, "--subject", "u1", "--subject", "u2"]).ok();
    project.run(&["verify"]).ok();
}
