//! `diff` and `overlap`: against previews, against what a refresh then does, and against sets of members.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::project::{BIG, BUYERS, Project, UNCHANGED_IN_FRANCE};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 9] = [
        ("a diff counts and samples who enters, leaves and stays", a_diff_counts_and_samples),
        ("a diff is the difference of two previews", a_diff_is_the_difference_of_two_previews),
        ("a diff against the store is what the next refresh does", a_diff_against_the_store_is_what_the_next_refresh_does),
        ("a diff takes files as they come", a_diff_takes_files_as_they_come),
        ("a diff goes by the form in force", a_diff_goes_by_the_form_in_force),
        ("a diff tells what cannot be compared", a_diff_tells_what_cannot_be_compared),
        ("an overlap agrees with the members", an_overlap_agrees_with_the_members),
        ("an overlap is a matrix", an_overlap_is_a_matrix),
        ("an overlap tells what cannot be compared", an_overlap_tells_what_cannot_be_compared),
    ];
    super::named("command_line::", trials)
}

/// Users with an order of 20 or more, and everyone in France: `u1`, `u3` and `u4`.
const DRAFT: &str = r#"{"id": "buyers", "logic": "or", "conditions": [
    {"type": "event", "event_type": "order", "where": [{"property": "amount", "operator": "gte", "value": 20}]},
    {"type": "user_attribute", "property": "country", "operator": "eq", "value": "FR"}]}"#;

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect()
}

fn figures(diff: &Value) -> [u64; 5] {
    ["before", "after", "entering", "leaving", "staying"].map(|name| diff[name].as_u64().unwrap())
}

fn a_diff_counts_and_samples() {
    let project = Project::new();
    project.write("draft.json", DRAFT);
    let diff = project.run(&["diff", BUYERS, "draft.json", "--format", "json"]).ok().json();
    assert_eq!(figures(&diff), [3, 3, 1, 1, 2]);
    assert_eq!((&diff["segment_id"], &diff["universe"], &diff["against"]), (&json!(BUYERS), &json!(4), &json!("current")));
    assert_eq!((&diff["same_meaning"], &diff["as_of"]), (&json!(false), &json!("2026-01-01T00:00:00Z")));
    let sample = &diff["sample"];
    assert_eq!(
        (ids(&sample["entering"]), ids(&sample["leaving"]), ids(&sample["staying"])),
        (vec!["u4"], vec!["u2"], vec!["u1", "u3"])
    );
    let table = project.run(&["diff", BUYERS, "draft.json", "--sample", "1"]).ok().stdout;
    let expected = "buyers: 3 users before, 3 after the change, as of 2026-01-01T00:00:00Z\n         1  entering\n         1  leaving\n         \
                    2  staying\nentering:\n  u4\nleaving:\n  u2\nstaying, a sample:\n";
    assert!(table.starts_with(expected), "{table}");
    assert_eq!(table.lines().count(), expected.lines().count() + 1, "{table}");
    let csv = project.run(&["diff", BUYERS, "draft.json", "--sample", "all", "--format", "csv"]).ok().stdout;
    assert_eq!(csv, "subject_id,change\nu4,enter\nu2,exit\nu1,stay\nu3,stay\n");
    let lines = project.run(&["diff", BUYERS, "draft.json", "--format", "ndjson"]).ok().stdout;
    assert_eq!(lines.lines().count(), 4);
    let earlier = project.run(&["diff", BUYERS, "draft.json", "--as-of", "2025-12-11T00:00:00Z", "--format", "json"]).ok().json();
    assert_eq!(figures(&earlier), [2, 2, 1, 1, 1], "u3 had no order yet");
    assert!(!project.path("out").exists(), "a diff writes nothing");
}

fn a_diff_is_the_difference_of_two_previews() {
    let project = Project::of_the_repository();
    let root = env!("CARGO_MANIFEST_DIR");
    let preview = |named: &str| {
        let preview = project.run(&["preview", named, "--sample", "all", "--format", "json"]).ok().json();
        ids(&preview["sample"]).into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    for (id, from, to) in [
        ("repeat-buyers", "\"value\": 2", "\"value\": 3"),
        ("cart-abandoners", "\"last\": \"2w\"", "\"last\": \"1m\""),
        ("win-back", "\"not_in\"", "\"in\""),
        ("trending", "\"value\": 4", "\"value\": 6"),
        ("ready-to-buy", "0.55", "0.7"),
        ("bought-by-vips", "purchased_by_segment", "viewed_by_segment"),
    ] {
        let text = std::fs::read_to_string(format!("{root}/queries/{id}.json")).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(text, changed);
        let draft = project.write("draft.json", &changed);
        let (before, after) = (preview(id), preview(&draft));
        assert_ne!(before, after, "{id}: a change that changes nothing proves nothing");
        let diff = project.run(&["diff", id, &draft, "--sample", "all", "--format", "json"]).ok().json();
        let part = |name: &str| ids(&diff["sample"][name]).into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
        assert_eq!(part("entering"), &after - &before, "{id}");
        assert_eq!(part("leaving"), &before - &after, "{id}");
        assert_eq!(part("staying"), &before & &after, "{id}");
        let sizes = [before.len(), after.len(), part("entering").len(), part("leaving").len(), part("staying").len()];
        assert_eq!(figures(&diff), sizes.map(|size| size as u64), "{id}");
    }
}

fn a_diff_against_the_store_is_what_the_next_refresh_does() {
    let project = Project::refreshed();
    // What the store holds is not what the definition gives now.
    project.append_order("u4", "2025-12-31T12:00:00Z", 5);
    project.write("draft.json", DRAFT);
    let against = |what: &str| {
        project.run(&["diff", BUYERS, "draft.json", "--against", what, "--sample", "all", "--format", "json"]).ok().json()
    };
    let (current, stored) = (against("current"), against("stored"));
    assert_eq!((figures(&current), figures(&stored)), ([4, 3, 0, 1, 3], [3, 3, 1, 1, 2]));
    let history = || project.run(&["history", BUYERS, "--format", "json"]).ok().json().as_array().unwrap().clone();
    assert_eq!(history().len(), 1, "a diff leaves no trace");
    project.write("queries/buyers.json", DRAFT);
    let same = project.run(&["diff", BUYERS, "draft.json", "--format", "json"]).ok().json();
    assert_eq!((&same["same_meaning"], figures(&same)), (&json!(true), [3, 3, 0, 0, 3]));
    project.run(&["refresh", "--all", "--as-of", "2026-01-01T00:00:00Z"]).ok();
    let last = history().last().unwrap().clone();
    let done = ["member_count", "added_count", "removed_count"].map(|name| last[name].as_u64().unwrap());
    assert_eq!(done.to_vec(), ["after", "entering", "leaving"].map(|name| stored[name].as_u64().unwrap()));
    let changes = project.run(&["changes", BUYERS, "--format", "json"]).ok().json();
    let latest: Vec<(&str, &str)> = changes.as_array().unwrap()[3..]
        .iter()
        .map(|row| (row["subject_id"].as_str().unwrap(), row["change"].as_str().unwrap()))
        .collect();
    assert_eq!(latest, [("u2", "exit"), ("u4", "enter")]);
    assert_eq!((ids(&stored["sample"]["entering"]), ids(&stored["sample"]["leaving"])), (vec!["u4"], vec!["u2"]));
}

fn a_diff_takes_files_as_they_come() {
    let project = Project::new();
    let diff = |arguments: &[&str]| {
        let all: Vec<&str> = ["diff", BUYERS].iter().chain(arguments).copied().chain(["--format", "json"]).collect();
        project.run(&all).ok().json()
    };
    let other = diff(&["queries/in-france.json"]);
    assert_eq!(figures(&other), [3, 2, 1, 2, 1], "a file of another id, which is a segment of its own");
    project.write("nameless.yaml", "logic: and\nconditions:\n  - {type: everyone}\n");
    assert_eq!(figures(&diff(&["nameless.yaml"])), [3, 4, 1, 0, 3]);
    assert_eq!(figures(&diff(&["--where", "country = 'FR' AND events('order')"])), [3, 1, 0, 2, 1]);
    let reworded = r#"{"id": "x", "name": "Someone Else", "logic": "or", "conditions": [{"logic": "and", "conditions": [
        {"type": "event", "event_type": ["order"]}]}]}"#;
    project.write("reworded.json", reworded);
    let same = diff(&["reworded.json"]);
    assert_eq!(same["same_meaning"], json!(true));
    assert_eq!(same["definition_hash"]["before"], same["definition_hash"]["after"]);
    let told = project.run(&["diff", BUYERS, "reworded.json"]).ok().stdout;
    assert!(told.contains("both definitions mean the same"), "{told}");
    // The name is that of the segment already, which does not stand in the way.
    let named = project.read("queries/buyers.json").replace("\"id\": \"buyers\"", "\"id\": \"buyers\", \"name\": \"Buyers\"");
    project.write("queries/buyers.json", &named);
    let foreign = r#"{"id": "77", "name": "Buyers", "rulesOperator": "AND", "rules": [{"field": "country", "operator": "equals", "value": "DE"}]}"#;
    project.write("foreign.json", foreign);
    assert_eq!(figures(&diff(&["foreign.json", "--dialect", "groups"])), [3, 2, 0, 1, 2]);
    // A sample without a salt of its own is that of the segment.
    let sample = |id: &str| format!(r#"{{"id": "{id}", "logic": "and", "conditions": [{{"type": "sample", "percent": 50}}]}}"#);
    project.write("own.json", &sample(BUYERS));
    project.write("other.json", &sample("other"));
    assert_eq!(diff(&["own.json"])["definition_hash"]["after"], diff(&["other.json"])["definition_hash"]["after"]);
}

fn a_diff_goes_by_the_form_in_force() {
    let project = Project::refreshed();
    project.write("draft.json", DRAFT);
    let buyers = project.read("queries/buyers.json");
    for broken in [buyers.replace("gte", "gt_or_so"), buyers.replace('}', "")] {
        project.write("queries/buyers.json", &broken);
        let answer = project.run(&["diff", BUYERS, "draft.json", "--format", "json"]).ok();
        assert!(answer.stderr.contains("compared with its last valid form"), "{}", answer.stderr);
        assert_eq!(figures(&answer.json()), [3, 3, 1, 1, 2]);
    }
    project.remove("queries/buyers.json");
    project.remove("queries/big.json");
    let missing = project.run(&["diff", BUYERS, "draft.json"]).exits(2);
    assert!(missing.stderr.contains("`buyers` is missing") && missing.stderr.contains("--against stored"), "{}", missing.stderr);
    let stored = project.run(&["diff", BUYERS, "draft.json", "--against", "stored", "--format", "json"]).ok().json();
    assert_eq!(figures(&stored), [3, 3, 1, 1, 2]);
    project.write("queries/chosen.json", r#"{"id": "chosen", "kind": "static"}"#);
    let by_hand = project.run(&["diff", "chosen", "draft.json", "--format", "json"]).ok().json();
    assert_eq!(figures(&by_hand), [0, 3, 3, 0, 0], "nobody was added to it");
}

fn a_diff_tells_what_cannot_be_compared() {
    let project = Project::refreshed();
    project.write("draft.json", DRAFT);
    let fails = |arguments: &[&str], code: i32, parts: &[&str]| {
        let all: Vec<&str> = ["diff"].iter().chain(arguments).copied().collect();
        let answer = project.run(&all).exits(code);
        assert_eq!(answer.stdout, "");
        for part in parts {
            assert!(answer.stderr.contains(part), "{part} is missing in {}", answer.stderr);
        }
    };
    fails(&["buyrs", "draft.json"], 2, &["no segment `buyrs`", "Did you mean `buyers`?"]);
    fails(&["something-new", "draft.json"], 2, &["no segment `something-new`", "segmenta preview FILE"]);
    fails(&[BUYERS], 2, &["<FILE"]);
    fails(&[BUYERS, "draft.json", "--where", "everyone()"], 2, &["cannot be used with"]);
    fails(&[BUYERS, "no-such-file.json"], 1, &["no-such-file.json"]);
    project.write("wrong.json", &DRAFT.replace("country", "contry"));
    fails(&[BUYERS, "wrong.json"], 3, &["wrong.json:3", "Did you mean `country`?", "1 error"]);
    project.write("circle.json", r#"{"logic": "and", "conditions": [{"type": "segment", "segment_id": "big"}]}"#);
    fails(&[BUYERS, "circle.json"], 3, &["circle.json:1", "`buyers -> big -> buyers`"]);
    project.write("products.json", r#"{"subject": "product", "logic": "and", "conditions": [{"type": "everyone"}]}"#);
    fails(&[BUYERS, "products.json"], 3, &["missing-table"]);
    project.write("by-hand.json", r#"{"kind": "static"}"#);
    fails(&[BUYERS, "by-hand.json"], 1, &["nothing to evaluate"]);
    project.write("queries/new.json", &DRAFT.replace(BUYERS, "new"));
    fails(&["new", "draft.json", "--against", "stored"], 2, &["`new` was not computed yet"]);
}

fn an_overlap_agrees_with_the_members() {
    let project = Project::of_the_repository();
    project.run(&["refresh", "--all", "-q"]).ok();
    let segments = ["vip-customers", "repeat-buyers", "win-back", "lapsed-buyers", "advisory-board", "unreachable"];
    let sets = segments.map(|id| {
        let rows = project.run(&["members", id, "--format", "json"]).ok().json();
        ids(&rows).into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
    });
    let run = |options: &[&str]| {
        let all: Vec<&str> = ["overlap"].iter().chain(&segments).chain(options).copied().chain(["--format", "json"]).collect();
        project.run(&all).ok().json()
    };
    let mut expected = Vec::new();
    for (index, (left, ours)) in segments.iter().zip(&sets).enumerate() {
        for (right, theirs) in segments.iter().zip(&sets).skip(index + 1) {
            let (both, either) = ((ours & theirs).len(), (ours | theirs).len());
            let jaccard = if either == 0 { Value::Null } else { json!(both as f64 / either as f64) };
            expected.push(json!({"left": left, "right": right, "left_count": ours.len(), "right_count": theirs.len(),
                "intersection": both, "union": either, "jaccard": jaccard}));
        }
    }
    assert!(expected.iter().any(|row| row["intersection"].as_u64() > Some(10)), "sets that share nothing prove nothing");
    assert_eq!(run(&[]), json!(expected));
    assert_eq!(run(&["--evaluate"]), json!(expected), "nothing changed since the refresh");
    assert_ne!(run(&["--as-of", "2025-12-01T00:00:00Z"]), json!(expected));
}

fn an_overlap_is_a_matrix() {
    let project = Project::refreshed();
    project.write("queries/one.json", r#"{"id": "one", "kind": "static"}"#);
    project.write("queries/two.json", r#"{"id": "two", "kind": "static"}"#);
    let table = project.run(&["overlap", BUYERS, UNCHANGED_IN_FRANCE, "one", "two", BUYERS]).ok().stdout;
    let expected = "   in both    1  2  3  4
1  buyers     3  1  0  0
2  in-france  1  2  0  0
3  one        0  0  0  0
4  two        0  0  0  0

   in either  1  2  3  4
1  buyers     3  4  3  3
2  in-france  4  2  2  2
3  one        3  2  0  0
4  two        3  2  0  0

   Jaccard index      1      2      3      4
1  buyers         1.000  0.250  0.000  0.000
2  in-france      0.250  1.000  0.000  0.000
3  one            0.000  0.000      -      -
4  two            0.000  0.000      -      -
";
    assert_eq!(table, expected);
    let csv = project.run(&["overlap", BUYERS, BIG, "one", "two", "--format", "csv"]).ok().stdout;
    assert_eq!(csv.lines().next(), Some("left,right,left_count,right_count,intersection,union,jaccard"));
    assert_eq!((csv.lines().nth(1), csv.lines().last()), (Some("buyers,big,3,1,1,3,0.3333333333333333"), Some("one,two,0,0,0,0,")));
    // The definitions of now, whatever is stored.
    project.append_order("u4", "2025-12-31T12:00:00Z", 5);
    let count = |options: &[&str]| {
        let all: Vec<&str> = ["overlap", BUYERS, "rests", "--format", "json"].iter().chain(options).copied().collect();
        project.run(&all).ok().json()[0]["intersection"].as_u64()
    };
    assert_eq!((count(&["--evaluate"]), count(&["--as-of", "2025-12-15T00:00:00Z"])), (Some(4), Some(2)));
}

fn an_overlap_tells_what_cannot_be_compared() {
    let project = Project::refreshed();
    let fails = |arguments: &[&str], parts: &[&str]| {
        let all: Vec<&str> = ["overlap"].iter().chain(arguments).copied().collect();
        let answer = project.run(&all).exits(2);
        for part in parts {
            assert!(answer.stderr.contains(part), "{part} is missing in {}", answer.stderr);
        }
    };
    fails(&[], &["<ID>"]);
    fails(&[BUYERS], &["2 values required"]);
    fails(&[BUYERS, BUYERS], &["two different segments"]);
    fails(&[BUYERS, "bug"], &["no segment `bug`", "Did you mean `big`?"]);
    fails(&[BUYERS, "rests"], &["`rests` was not computed yet", "--evaluate"]);
    let demo = Project::of_the_repository();
    let mixed = demo.run(&["overlap", "vip-customers", "trending", "--evaluate"]).exits(2);
    assert!(mixed.stderr.contains("`vip-customers` contains users and `trending` products"), "{}", mixed.stderr);
}
