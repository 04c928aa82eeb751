//! Processes that meet in one store, and a process that meets the end of what it may write.

use std::collections::BTreeSet;
use std::process::{Child, Command};

use libtest_mimic::Trial;
use serde_json::Value;

use super::project::{self, Answer, BUYERS, NO_ORDERS, PROGRAM, Project};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 2] = [
        ("commands work while the scheduler does, and nothing is lost", commands_work_while_the_scheduler_does),
        ("a file that cannot be written to its end changes nothing", a_file_that_cannot_be_written_changes_nothing),
    ];
    super::named("command_line::at_once::", trials)
}

/// The rows that a command prints, as texts of some columns.
fn rows(project: &Project, arguments: &[&str], columns: &[&str]) -> Vec<String> {
    let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
    let rows = project.run(&arguments).ok().json();
    let text = |row: &Value, column: &&str| row[*column].as_str().map_or_else(|| row[*column].to_string(), str::to_owned);
    let row = |row: &Value| columns.iter().map(|column| text(row, column)).collect::<Vec<_>>().join(" ");
    rows.as_array().unwrap().iter().map(row).collect()
}

fn commands_work_while_the_scheduler_does() {
    let project = Project::new();
    let config = project.read("scheduler.toml").replace("as_of = \"2026-01-01T00:00:00Z\"", "");
    project.write("scheduler.toml", &format!("{config}\n[scheduler]\ndefault_refresh_interval = \"1s\"\n"));
    project.write("list.csv", "user_id\nu1\nu2\n");
    let mut scheduler = project.spawn(&["run"]);
    project.wait_for("out/memberships/shop/buyers.parquet", &mut scheduler);
    let second = project.run(&["run"]).exits(1);
    assert!(second.stderr.contains("held by") && second.stderr.contains(&scheduler.id().to_string()), "{}", second.stderr);

    let commands: [&[&str]; 8] = [
        &["refresh", "--all", "--wait", "5min"],
        &["override", "add", BUYERS, "--subject", "u4", "--wait", "5min"],
        &["members", BUYERS],
        &["refresh", "--all", "--full", "--wait", "5min"],
        &["override", "add", NO_ORDERS, "--file", "list.csv", "--wait", "5min"],
        &["backfill", BUYERS, "--from", "2025-12-15T00:00:00Z", "--to", "2025-12-18T00:00:00Z", "--wait", "5min"],
        &["history", BUYERS],
        &["refresh", "--all", "--wait", "5min"],
    ];
    let running: Vec<Child> = commands.iter().map(|arguments| project.spawn(arguments)).collect();
    for (arguments, child) in commands.iter().zip(running) {
        let answer = Answer::from(child.wait_with_output().unwrap());
        assert_eq!(answer.code, Some(0), "{arguments:?}\n{}\n{}", answer.stdout, answer.stderr);
    }
    assert!(scheduler.try_wait().unwrap().is_none(), "the scheduler goes on");
    let stopped = project::terminate(scheduler).ok();
    assert!(!stopped.stderr.contains("panicked"), "{}", stopped.stderr);

    project.run(&["verify"]).ok();
    assert_eq!(rows(&project, &["members", BUYERS], &["subject_id"]), ["u1", "u2", "u3", "u4"]);
    assert_eq!(rows(&project, &["members", NO_ORDERS], &["subject_id", "reason"]), ["u1 import", "u2 import", "u4 rule_match"]);
    let history = rows(&project, &["history", BUYERS], &["run_id", "kind", "status"]);
    let of = |kind: &str| history.iter().filter(|row| row.contains(&format!(" {kind} "))).count();
    assert!(history.iter().all(|row| row.ends_with(" ok")), "{history:#?}");
    assert_eq!((of("manual"), of("backfill")), (1, 4), "{history:#?}");
    assert!(of("run") >= 4, "one of the scheduler, and three by hand: {history:#?}");
    let runs: BTreeSet<&str> =
        history.iter().filter(|row| !row.contains("backfill")).filter_map(|row| row.split(' ').next()).collect();
    assert_eq!(runs.len(), of("run") + of("manual"), "no run counts twice");
}

/// The program with the largest size that its files may have, in units of 512 bytes; to exceed it is an error, as on a full disk.
fn limited(project: &Project, blocks: u32, arguments: &[&str]) -> Answer {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, PROGRAM]).args(arguments).current_dir(project.path(""));
    Answer::of(command.env_remove("SEGMENTA_CONFIG").env_remove("SEGMENTA_TENANT"))
}

fn a_file_that_cannot_be_written_changes_nothing() {
    if !cfg!(unix) {
        return;
    }
    let project = Project::refreshed();
    let mut before = rows(&project, &["members", BUYERS], &["subject_id", "reason"]);
    project.append_order("u4", "2025-12-31T12:00:00Z", 7);
    project.write("list.csv", "user_id\nu4\n");
    let commands: [&[&str]; 3] = [
        &["refresh", "--all"],
        &["override", "add", BUYERS, "--file", "list.csv"],
        &["backfill", BUYERS, "--from", "2025-12-15T00:00:00Z", "--to", "2025-12-16T00:00:00Z"],
    ];
    let mut failed = 0;
    for blocks in [0, 1, 2, 3] {
        for arguments in commands {
            let answer = limited(&project, blocks, arguments);
            let members = rows(&project, &["members", BUYERS], &["subject_id", "reason"]);
            match answer.code {
                // Small files had room enough.
                Some(0) => before = members,
                Some(1) => {
                    failed += 1;
                    assert!(answer.stderr.contains("cannot write `"), "{arguments:?} {blocks}: {}", answer.stderr);
                    assert_eq!(members, before, "{arguments:?} {blocks}");
                }
                _ => panic!("{arguments:?} {blocks}: {answer:?}"),
            }
            project.run(&["verify"]).ok();
        }
    }
    assert!(failed >= 6, "only {failed} commands met the limit");
    for arguments in commands {
        project.run(arguments).ok();
    }
    assert_eq!(
        rows(&project, &["members", BUYERS], &["subject_id", "reason"]),
        ["u1 rule_match", "u2 rule_match", "u3 rule_match", "u4 import"]
    );
    project.run(&["verify"]).ok();
}
