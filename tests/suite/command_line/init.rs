//! A project from nothing: what `init` writes works, and it writes all of it or nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use super::project::{Answer, PROGRAM};

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 5] = [
        ("what it says to do next works", what_it_says_to_do_next_works),
        ("a folder that holds something is left alone", a_folder_that_holds_something_is_left_alone),
        ("an unknown template writes nothing", an_unknown_template_writes_nothing),
        ("every template works in one project", every_template_works_in_one_project),
        ("the templates are listed", the_templates_are_listed),
    ];
    super::named("command_line::init::", trials)
}

fn run(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = Command::new(PROGRAM);
    Answer::of(command.current_dir(folder).env_remove("SEGMENTA_CONFIG").env_remove("SEGMENTA_TENANT").args(arguments))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const WHOLE: [&str; 4] = [".gitignore", "data", "scheduler.toml", "segments"];

fn what_it_says_to_do_next_works() {
    let around = TempDir::new().unwrap();
    let told = run(around.path(), &["init", "my shops/first", "--format", "json"]).ok().json();
    let folder = around.path().join("my shops/first");
    assert_eq!(names(&folder), WHOLE);
    let next: Vec<&str> = told["next"].as_array().unwrap().iter().map(|command| command.as_str().unwrap()).collect();
    assert_eq!(next[0], "cd 'my shops/first'");
    for command in &next[1..] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[0], "segmenta");
        run(&folder, &words[1..]).ok();
    }
    let listed = run(&folder, &["list", "--format", "json"]).ok().json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), told["templates"].as_array().unwrap().len());
    let count = |row: &Value| row["members"].as_u64().unwrap();
    assert!(listed.iter().all(|row| count(row) > 0), "{listed:?}");
    assert!(fs::read_to_string(folder.join(".gitignore")).unwrap().contains("/out\n"));
    assert_eq!(names(&folder.join("out")).first().map(String::as_str), Some("changes"));

    let here = TempDir::new().unwrap();
    fs::create_dir(here.path().join(".git")).unwrap();
    let told = run(here.path(), &["init"]).ok().stdout;
    assert!(!told.contains("cd ") && told.contains("\n  segmenta refresh --all "), "{told}");
    assert_eq!(names(here.path())[1..], [".gitignore", "data", "scheduler.toml", "segments"]);
    run(here.path(), &["validate"]).ok();
}

fn a_folder_that_holds_something_is_left_alone() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes.txt"), "precious").unwrap();
    let refused = run(folder.path(), &["init"]).exits(2);
    assert!(refused.stderr.contains("is not empty: it has `notes.txt`") && refused.stdout.is_empty(), "{}", refused.stderr);
    assert_eq!(names(folder.path()), ["notes.txt"]);
    let refused = run(folder.path(), &["init", "notes.txt"]).exits(2);
    assert!(refused.stderr.contains("`notes.txt` is no folder"), "{}", refused.stderr);
    run(folder.path(), &["init", "notes.txt/shop"]).exits(2);
    run(folder.path(), &["init", "shop"]).ok();
    run(folder.path(), &["init", "shop"]).exits(2);
    assert_eq!(names(&folder.path().join("shop")), WHOLE);
}

fn an_unknown_template_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let refused = run(folder.path(), &["init", "shop", "--template", "vip-customers,birthday-son"]).exits(2);
    assert!(
        refused.stderr.contains("no template `birthday-son`") && refused.stderr.contains("`birthday-soon`"),
        "{}",
        refused.stderr
    );
    assert!(names(folder.path()).is_empty());
    run(folder.path(), &["init", "shop", "--template", "win-back"]).ok();
    let segments = names(&folder.path().join("shop/segments"));
    assert_eq!(segments, ["lapsed-buyers.json", "needs-attention.json", "unreachable.json", "win-back.json"]);
}

fn every_template_works_in_one_project() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &["init", "--template", "all"]).ok();
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    assert_eq!(names(&folder.path().join("segments")), names(&library));
    for name in names(&library) {
        let copy = fs::read_to_string(folder.path().join("segments").join(&name)).unwrap();
        assert_eq!(copy, fs::read_to_string(library.join(&name)).unwrap(), "{name}");
    }
    let report = run(folder.path(), &["refresh", "--all", "--format", "json"]).ok().json();
    assert!(report["segments"].as_array().unwrap().iter().all(|row| row["status"] == "ok"), "{report}");
}

fn the_templates_are_listed() {
    let folder = TempDir::new().unwrap();
    let rows = run(folder.path(), &["init", "--list", "--format", "json"]).ok().json();
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().any(|row| row["template"] == "rfm-champions" && row["subject"] == "user" && row["tags"] == "rfm, orders"));
    assert!(rows.iter().all(|row| row["description"].as_str().is_some_and(|text| !text.is_empty())));
    assert!(run(folder.path(), &["init", "--list"]).ok().stdout.contains("rfm-champions"));
    assert!(names(folder.path()).is_empty());
    run(folder.path(), &["init", "shop", "--list"]).exits(2);
}
