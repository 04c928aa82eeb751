//! Definitions of other systems on the command line.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::Project;

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 5] = [
        ("foreign definitions are imported, and nothing is replaced unasked", foreign_definitions_are_imported),
        ("what cannot be imported is told, the rest is written", what_cannot_be_imported_is_told),
        ("foreign definitions are validated and previewed", foreign_definitions_are_validated_and_previewed),
        ("names of foreign fields are configured", names_of_foreign_fields_are_configured),
        ("definitions are exported or refused", definitions_are_exported_or_refused),
    ];
    super::named("command_line::", trials)
}

const FRENCH: &str = r#"{"name": "French", "rules": [{"field": "country", "operator": "equals", "value": "FR"}]}"#;

fn foreign_definitions_are_imported() {
    let project = Project::refreshed();
    std::fs::create_dir(project.path("foreign")).unwrap();
    project.write("foreign/french.json", FRENCH);
    let listed = r#"[{"id": "grown", "rules": [{"field": "age", "operator": "gte", "value": 40, "dataType": "number"}]},
        {"id": "loyal", "rules": [{"field": "plan", "operator": "not_equals", "value": "free"}], "type": "dynamic"}]"#;
    project.write("foreign/listed.json", listed);
    let import = ["import", "--dialect", "groups", "foreign", "--format", "json"];
    let answer = project.run(&import).ok();
    let rows = answer.json();
    let row = |id: &str, from: &str| json!({"segment_id": id, "file": format!("queries/{id}.json"), "from": from});
    let expected = [row("french", "foreign/french.json"), row("grown", "foreign/listed.json"), row("loyal", "foreign/listed.json")];
    assert_eq!(rows, json!(expected));
    assert!(answer.stderr.contains("3 definitions written, nothing approximated"), "{}", answer.stderr);
    let written: Value = serde_json::from_str(&project.read("queries/french.json")).unwrap();
    assert_eq!(written["conditions"][0]["operator"], "eq");
    project.run(&["refresh", "--all"]).ok();
    let members = |id: &str| {
        let rows = project.run(&["members", id, "--format", "json"]).ok().json();
        rows.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (members("french"), members("grown"), members("loyal").len()),
        (members("in-france"), vec!["u3".into(), "u4".into()], 3)
    );

    project.write("queries/french.json", "mine");
    let again = project.run(&import).exits(2);
    assert!(
        again.stderr.contains("`queries/french.json` and 2 more files would be overwritten; nothing was written"),
        "{}",
        again.stderr
    );
    assert_eq!((project.read("queries/french.json"), again.stdout.as_str()), ("mine".to_owned(), ""));
    project.run(&["import", "--dialect", "groups", "foreign/french.json", "--force"]).ok();
    assert!(project.read("queries/french.json").contains("\"French\""));

    // Elsewhere, nothing is in the way; here, another file is.
    project.write("foreign/french.json", &FRENCH.replace("\"name\": \"French\"", "\"id\": \"buyers\""));
    std::fs::rename(project.path("queries/buyers.json"), project.path("queries/people.json")).unwrap();
    let twice = project.run(&["import", "--dialect", "groups", "foreign/french.json"]).exits(2);
    assert!(twice.stderr.contains("`queries/people.json` defines the segment `buyers` already"), "{}", twice.stderr);
    project.run(&["import", "--dialect", "groups", "foreign/french.json", "--out", "drafts/new", "--offline"]).ok();
    assert!(project.read("drafts/new/buyers.json").contains("\"buyers\""));
}

fn what_cannot_be_imported_is_told() {
    let project = Project::new();
    let text = r#"[
  {"id": "good", "filters": [{"type": "location", "field": "country", "op": "eq", "value": "FR"}]},
  {"id": "code", "filters": [{"type": "behavior", "fn": "(u) => u.orders > 3"}]},
  {"id": "after-code", "compose": {"ref": "code"}},
  {"id": "typo", "filters": [{"type": "location", "field": "contry", "op": "eq", "value": "FR"}]}
]"#;
    project.write("audiences.json", text);
    let answer = project.run(&["import", "--dialect", "audience", "audiences.json"]).exits(3);
    assert!(answer.stdout.contains("queries/good.json"), "{}", answer.stdout);
    for part in [
        "untranslatable",
        "audiences.json:3:",
        "\"event_type\": \"order_completed\"",
        "broken-reference",
        "audiences.json:5:",
        "unknown property `contry`",
        "Did you mean `country`?",
        "error: definitions with errors were not written",
    ] {
        assert!(answer.stderr.replace("\n        ", " ").contains(part), "{part} is missing in {}", answer.stderr);
    }
    let written = |id: &str| project.path(&format!("queries/{id}.json")).exists();
    assert_eq!(["good", "code", "after-code", "typo"].map(written), [true, false, false, false]);
}

fn foreign_definitions_are_validated_and_previewed() {
    let project = Project::new();
    let condition = |attribute: &str, operator: &str, value: &str| {
        format!(r#"{{"type": "condition", "attribute": "{attribute}", "operator": "{operator}", "value": {value}}}"#)
    };
    let tree = format!(
        r#"{{"name": "Some", "rule": {{"type": "and", "conditions": [{}, {}]}}}}"#,
        condition("total_events", ">=", "1"),
        condition("country", "=", "\"DE\"")
    );
    project.write("tree.json", &tree);
    let answer = project.run(&["validate", "--dialect", "tree", "tree.json"]).ok();
    assert!(answer.stderr.contains("1 definition checked: 0 errors, 0 warnings"), "{}", answer.stderr);
    let preview = project.run(&["preview", "--dialect", "tree", "tree.json", "--format", "json"]).ok().json();
    let ids: Vec<&str> = preview["sample"].as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect();
    assert_eq!((preview["segment_id"].as_str(), ids), (Some("some"), vec!["u2", "u3"]));
    assert!(!project.path("queries/some.json").exists());

    project.write("wrong.json", &condition("country", ">", "\"DE\""));
    let wrong = project.run(&["validate", "--dialect", "tree", "wrong.json", "--format", "json"]).exits(3).json();
    assert_eq!((wrong[0]["code"].as_str(), wrong[0]["column"].as_u64()), (Some("wrong-operator"), Some(59)));
    project.run(&["preview", "--dialect", "tree", "wrong.json"]).exits(3);
    project.write("two.json", &format!("[{tree}, {}]", tree.replace("Some", "Other")));
    let two = project.run(&["preview", "--dialect", "tree", "two.json"]).exits(2);
    assert!(two.stderr.contains("holds 2 definitions: `some`, `other`"), "{}", two.stderr);

    project.run(&["validate", "--dialect", "tree"]).exits(2);
    let unknown = project.run(&["validate", "--dialect", "weights", "tree.json"]).exits(2);
    assert!(unknown.stderr.contains("[possible values: tree, groups, layered, weighted, audience]"), "{}", unknown.stderr);
}

fn names_of_foreign_fields_are_configured() {
    let project = Project::new();
    let config = project.read("scheduler.toml");
    let dialects = "[tenants.dialects]\ntree.total_renders = { event_type = \"order\" }\ngroups.fields = { land = \"country\" }\n";
    project.write("scheduler.toml", &format!("{config}\n{dialects}"));
    project.write("renders.json", r#"{"type": "condition", "attribute": "total_renders", "operator": ">", "value": 1}"#);
    project.write("land.json", &FRENCH.replace("\"country\"", "\"land\""));
    let count = |dialect: &str, file: &str| {
        project.run(&["preview", "--dialect", dialect, file, "--format", "json"]).ok().json()["count"].as_u64()
    };
    assert_eq!((count("tree", "renders.json"), count("groups", "land.json")), (Some(1), Some(2)));
}

fn definitions_are_exported_or_refused() {
    let project = Project::new();
    let exported = project.run(&["export", "--dialect", "groups", "in-france"]).ok();
    let rules = json!([{"groupIndex": 0, "field": "country", "operator": "equals", "value": "FR"}]);
    assert_eq!(exported.json()["rules"], rules);
    let refused = project.run(&["export", "--dialect", "groups", "big"]).exits(3);
    for part in
        ["the form has no references to segments", "the form has no events", "queries/big.json:1:", "cannot say the segment `big`"]
    {
        assert!(refused.stderr.contains(part), "{part} is missing in {}", refused.stderr);
    }
    assert_eq!(refused.stdout, "");
    let unknown = project.run(&["export", "--dialect", "tree", "bigg"]).exits(2);
    assert!(unknown.stderr.contains("has no segment `bigg`"), "{}", unknown.stderr);
    let tagged = r#"{"id": "tagged", "tags": ["x"], "icon": "i", "logic": "and", "conditions": [
        {"type": "user_attribute", "property": "country", "operator": "eq", "value": "FR"}]}"#;
    project.write("queries/tagged.json", tagged);
    let tagged = project.run(&["export", "--dialect", "tree", "tagged"]).ok();
    assert!(tagged.stderr.contains("the form `tree` has no place for `icon`, `tags`, left out"), "{}", tagged.stderr);
}
