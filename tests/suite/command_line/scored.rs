//! A segment that scores, with every command that shows what came of it.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::{BUYERS, Project};

const HABIT: &str = "habit";

/// How much was spent, and how often: `u1` 0.944, `u3` 0.875, `u2` 0.4; `u4` spent nothing, and scores 0.25.
const DEFINITION: &str = r#"{"id": "habit", "scoring": {"threshold": 0.37, "rules": [
    {"condition": {"type": "event", "event_type": "order", "measure": {"sum": "amount"}, "operator": "gte", "value": 60},
     "weight": 3, "description": "Spends"},
    {"condition": {"logic": "or", "conditions": [
        {"type": "event", "event_type": "order", "operator": "gte", "value": 2},
        {"type": "user_attribute", "property": "plan", "operator": "neq", "value": "gold"}]}}]}}"#;

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 4] = [
        ("a score is shown by every command", a_score_is_shown_by_every_command),
        ("another score rewrites the members and is no entry", another_score_is_no_entry),
        ("another weight is another definition", another_weight_is_another_definition),
        ("others refer to a segment that scores", others_refer_to_a_segment_that_scores),
    ];
    super::named("command_line::scored: ", trials)
}

fn project() -> Project {
    let project = Project::new();
    project.write("queries/habit.json", DEFINITION);
    project
}

fn a_score_is_shown_by_every_command() {
    let project = project();
    project.run(&["validate"]).ok();
    project.run(&["refresh", "--all"]).ok();

    let members = project.run(&["members", HABIT, "--format", "json"]).ok().json();
    let shown: Vec<Value> =
        members.as_array().unwrap().iter().map(|row| json!([row["subject_id"], row["score"], row["confidence"]])).collect();
    // 55.5 of 60, 12 of 60, 49.99 of 60; the other rule holds for all: two orders, or no plan that is gold.
    let expected = json!([["u1", 0.944, "Very High"], ["u2", 0.4, "Medium"], ["u3", 0.875, "Very High"]]);
    assert_eq!(json!(shown), expected);
    let table = project.run(&["members", HABIT]).ok().stdout;
    assert!(table.contains("score") && table.contains("0.944") && table.contains("Very High"), "{table}");
    let table = project.run(&["members", BUYERS]).ok().stdout;
    assert!(!table.contains("score") && !table.contains("confidence"), "{table}");

    let evaluated = project.run(&["evaluate", "--subject", "u4", HABIT, "--format", "json"]).ok().json();
    assert_eq!(evaluated, json!([{"segment_id": HABIT, "subject": "user", "matches": false, "score": 0.25}]));
    let segments = project.run(&["segments-of", "u3", "--format", "json"]).ok().json();
    let habit = segments.as_array().unwrap().iter().find(|row| row["segment_id"] == HABIT).unwrap();
    assert_eq!(habit["score"], 0.875);
    let changes = project.run(&["changes", HABIT, "--format", "json"]).ok().json();
    assert_eq!(changes.as_array().unwrap().iter().map(|row| row["score"].clone()).collect::<Vec<_>>(), [0.944, 0.4, 0.875]);

    let preview = project.run(&["preview", HABIT, "--sample", "all", "--format", "json"]).ok().json();
    assert_eq!((&preview["count"], &preview["universe"]), (&json!(3), &json!(4)));
    assert_eq!(preview["sample"][1], json!({"subject_id": "u2", "score": 0.4}));
    let plan = project.run(&["plan", HABIT]).ok().stdout;
    assert!(plan.contains("score 0 := weighted(3 * ") && plan.contains(">= 0.37"), "{plan}");

    let explained = project.run(&["explain", HABIT, "--subject", "u2", "--format", "json"]).ok().json();
    for (key, value) in
        [("member", json!(true)), ("score", json!(0.4)), ("threshold", json!(0.37)), ("confidence", json!("Medium"))]
    {
        assert_eq!(explained[key], value, "{key}");
    }
    let spends = &explained["rule"]["children"][0];
    assert_eq!(
        (&spends["holds"], &spends["degree"], &spends["weight"], &spends["value"]),
        (&json!(false), &json!(0.2), &json!(3.0), &json!("12"))
    );
    let mut text = String::new();
    for arguments in
        [&["explain", HABIT, "--subject", "u2"][..], &["explain", HABIT, "--subject", "u4"], &["preview", HABIT, "--breakdown"]]
    {
        text += &format!("$ segmenta {}\n{}\n", arguments.join(" "), project.run(arguments).ok().stdout);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("command-line.scored", text));
}

/// The rows of the members, by what says when each came and how well it fits.
fn rows(project: &Project) -> Vec<(Value, Value, Value, Value)> {
    let members = project.run(&["members", HABIT, "--format", "json"]).ok().json();
    let row = |row: &Value| (row["subject_id"].clone(), row["score"].clone(), row["entered_at"].clone(), row["as_of"].clone());
    members.as_array().unwrap().iter().map(row).collect()
}

fn another_score_is_no_entry() {
    let project = project();
    let at = |day: &str| format!("2026-01-{day}T00:00:00Z");
    project.run(&["refresh", HABIT, "--as-of", &at("01")]).ok();
    let first = rows(&project);
    project.run(&["refresh", HABIT, "--as-of", &at("02")]).ok();
    assert_eq!(rows(&project), first, "nothing changed, so that nothing was written");

    project.append_order("u2", "2026-01-02T10:00:00Z", 18);
    let refreshed = project.run(&["refresh", HABIT, "--as-of", &at("03"), "--format", "json"]).ok().json();
    let figures = ["members", "entered", "left"].map(|name| refreshed["segments"][0][name].as_u64().unwrap());
    assert_eq!(figures, [3, 0, 0]);
    let second = rows(&project);
    assert_eq!((&second[1].0, &second[1].1), (&json!("u2"), &json!(0.625)));
    for (before, after) in first.iter().zip(&second) {
        assert_eq!((&before.0, &before.2), (&after.0, &after.2), "who stays keeps the instant of the entry");
        assert_ne!(before.3, after.3, "the file was written again");
    }
    assert_eq!(project.run(&["changes", HABIT, "--format", "json"]).ok().json().as_array().unwrap().len(), 3);

    let definition = DEFINITION.replace("0.37", "0.9");
    project.write("queries/habit.json", &definition);
    project.run(&["refresh", HABIT, "--as-of", &at("04")]).ok();
    let changes = project.run(&["changes", HABIT, "--format", "json"]).ok().json();
    let left: Vec<Value> = changes.as_array().unwrap()[3..]
        .iter()
        .map(|row| json!([row["subject_id"], row["change"], row["reason"], row["score"]]))
        .collect();
    assert_eq!(json!(left), json!([["u2", "exit", "definition_changed", 0.625], ["u3", "exit", "definition_changed", 0.875]]));
}

fn another_weight_is_another_definition() {
    let project = project();
    let hash_of = |definition: &str| {
        project.write("queries/habit.json", definition);
        project.run(&["refresh", HABIT]).ok();
        let history = project.run(&["history", HABIT, "--format", "json"]).ok().json();
        history.as_array().unwrap().last().unwrap()["definition_hash"].as_str().unwrap().to_owned()
    };
    let first = hash_of(DEFINITION);
    assert_eq!(hash_of(&DEFINITION.replace("Spends", "Spends well").replace("0.37", "0.370")), first);
    let different = [
        DEFINITION.replace("\"weight\": 3", "\"weight\": 4"),
        DEFINITION.replace("0.37", "0.38"),
        DEFINITION.replace("\"rules\"", "\"combination\": \"all\", \"rules\""),
        DEFINITION.replace("\"value\": 60", "\"value\": 61"),
    ];
    for definition in different {
        assert_ne!(hash_of(&definition), first, "{definition}");
    }
}

fn others_refer_to_a_segment_that_scores() {
    let project = project();
    project.write(
        "queries/habitual-french.json",
        r#"{"id": "habitual-french", "scoring": {"combination": "all", "threshold": 1, "rules": [
            {"condition": {"type": "segment", "segment_id": "habit"}},
            {"condition": {"type": "segment", "segment_id": "in-france"}}]}}"#,
    );
    let preview = project.run(&["preview", "habitual-french", "--format", "json"]).ok().json();
    assert_eq!(preview["sample"], json!([{"subject_id": "u1", "score": 1.0}]));
    let explained = project.run(&["explain", "habitual-french", "--subject", "u4", "--format", "json"]).ok().json();
    let degrees: Vec<&Value> = explained["rule"]["children"].as_array().unwrap().iter().map(|child| &child["degree"]).collect();
    assert_eq!(degrees, [&json!(0.0), &json!(1.0)]);
}
