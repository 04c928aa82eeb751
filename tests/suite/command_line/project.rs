//! A small project in a folder of its own, and the program run in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_segmenta");

/// Users with an order: `u1`, `u2` and `u3`.
pub(crate) const BUYERS: &str = "buyers";
/// Buyers who spent 50 or more: `u1`.
pub(crate) const BIG: &str = "big";
/// Users without an order and, as far as is known, without a plan: `u4`.
pub(crate) const NO_ORDERS: &str = "no-orders";
/// Users in France: `u1` and `u4`.
pub(crate) const UNCHANGED_IN_FRANCE: &str = "in-france";

const CONFIG: &str = r#"
[store]
url = "out"

[[tenants]]
id = "shop"
definitions = ["queries/"]
as_of = "2026-01-01T00:00:00Z"

[tenants.users]
source = "users.csv"
key = "user_id"

[tenants.events]
source = "events.ndjson"
user_key = "user_id"
event_type = "type"
timestamp = "at"
columns = { amount = "float", at = "timestamp" }
"#;

const USERS: &str = "user_id,country,plan,age\nu1,FR,gold,31\nu2,DE,,\nu3,DE,free,52\nu4,FR,,40\n";

const EVENTS: &str = r#"{"user_id": "u1", "type": "order", "at": "2025-12-01T10:00:00Z", "amount": 30}
{"user_id": "u1", "type": "order", "at": "2025-12-20T10:00:00Z", "amount": 25.5}
{"user_id": "u2", "type": "order", "at": "2025-12-10T10:00:00Z", "amount": 12}
{"user_id": "u3", "type": "order", "at": "2025-12-31T23:59:59Z", "amount": 49.99}
{"user_id": "u4", "type": "visit", "at": "2025-12-31T10:00:00Z"}
"#;

const DEFINITIONS: [(&str, &str); 5] = [
    (
        "buyers.json",
        r#"{"id": "buyers", "logic": "and", "conditions": [{"type": "event", "event_type": "order", "operator": "gte", "value": 1}]}"#,
    ),
    (
        "big.json",
        r#"{"id": "big", "logic": "and", "conditions": [{"type": "segment", "segment_id": "buyers"},
            {"type": "event", "event_type": "order", "measure": {"sum": "amount"}, "operator": "gte", "value": 50}]}"#,
    ),
    (
        "no-orders.json",
        r#"{"id": "no-orders", "logic": "and", "conditions": [
            {"type": "event", "event_type": "order", "operator": "eq", "value": 0},
            {"type": "user_attribute", "property": "plan", "operator": "neq", "value": "gold"}]}"#,
    ),
    (
        "in-france.json",
        r#"{"id": "in-france", "logic": "and", "conditions": [
            {"type": "user_attribute", "property": "country", "operator": "eq", "value": "FR"}]}"#,
    ),
    ("rests.json", r#"{"id": "rests", "status": "paused", "logic": "and", "conditions": [{"type": "everyone"}]}"#),
];

/// A project in a folder of its own.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// Four users, a few events and five definitions, of which four are active; the clock stands at the start of 2026.
    pub(crate) fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(project.path("queries")).unwrap();
        project.write("scheduler.toml", CONFIG);
        project.write("users.csv", USERS);
        project.write("events.ndjson", EVENTS);
        for (name, text) in DEFINITIONS {
            project.write(&format!("queries/{name}"), text);
        }
        project
    }

    /// The same after its first refresh.
    pub(crate) fn refreshed() -> Self {
        let project = Self::new();
        project.run(&["refresh", "--all"]).ok();
        project
    }

    /// The demo of the repository, with a store of its own.
    pub(crate) fn of_the_repository() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        let root = env!("CARGO_MANIFEST_DIR");
        let config = fs::read_to_string(Path::new(root).join("scheduler.toml")).unwrap();
        let config =
            config.replace("\"fixtures/", &format!("\"{root}/fixtures/")).replace("\"queries/", &format!("\"{root}/queries/"));
        project.write("scheduler.toml", &config);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text_path(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.text_path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(crate) fn append_order(&self, user: &str, at: &str, amount: u32) {
        let event = format!(r#"{{"user_id": "{user}", "type": "order", "at": "{at}", "amount": {amount}}}"#);
        self.write("events.ndjson", &format!("{}{event}\n", self.read("events.ndjson")));
    }

    /// Runs the program in the folder of the project.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// Runs the program with more in its environment.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments).envs(environment.iter().copied()))
    }

    /// Runs the program in another folder.
    pub(crate) fn run_in(&self, folder: &str, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments).current_dir(folder))
    }

    /// Runs the program with a standard output that nobody reads.
    pub(crate) fn run_without_reader(&self, arguments: &[&str]) -> Answer {
        let mut child = self.spawn(arguments);
        drop(child.stdout.take());
        Answer::from(child.wait_with_output().unwrap())
    }

    /// Starts the program and leaves it running.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a file is there, which a program that still runs is to write.
    pub(crate) fn wait_for(&self, name: &str, program: &mut Child) {
        for _ in 0..1200 {
            if self.path(name).exists() {
                return;
            }
            assert!(program.try_wait().unwrap().is_none(), "the program ended before it wrote {name}");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} was not written within a minute");
    }

    /// The list of segments, by id.
    pub(crate) fn list(&self) -> BTreeMap<String, Value> {
        let rows = self.run(&["list", "--format", "json"]).ok().json();
        rows.as_array().unwrap().iter().map(|row| (row["segment_id"].as_str().unwrap().to_owned(), row.clone())).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.folder.path()).env_remove("SEGMENTA_CONFIG").env_remove("SEGMENTA_TENANT").args(arguments);
        command
    }
}

/// Tells a program to stop, and waits until it did.
pub(crate) fn terminate(program: Child) -> Answer {
    let killed = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(killed.success());
    Answer::from(program.wait_with_output().unwrap())
}

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

impl Answer {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
