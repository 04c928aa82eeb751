//! A project whose store is in an object store: the endpoint and the keys come from the usual environment variables.

use libtest_mimic::Trial;
use serde_json::Value;

use super::project::{Answer, BUYERS, Project};
use crate::store::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

pub(super) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 2] = [
        ("a store in an object store is used like one on a disk", a_store_in_an_object_store_is_used_like_one_on_a_disk),
        ("what is wrong with an object store is told", what_is_wrong_with_an_object_store_is_told),
    ];
    super::named("command_line::object_store::", trials)
}

/// A project with its store at a prefix of a bucket.
fn project() -> Project {
    let project = Project::new();
    let config = project.read("scheduler.toml").replace("url = \"out\"", &format!("url = \"s3://{BUCKET}/some/where\""));
    project.write("scheduler.toml", &config);
    project
}

fn run(project: &Project, server: &S3Server, secret: &str, arguments: &[&str]) -> Answer {
    let environment = [
        ("AWS_ENDPOINT", server.endpoint()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
    ];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    project.run_with(&environment, arguments)
}

fn a_store_in_an_object_store_is_used_like_one_on_a_disk() {
    let (project, server) = (project(), S3Server::new());
    let run = |arguments: &[&str]| run(&project, &server, SECRET_KEY, arguments);
    run(&["refresh", "--all"]).ok();
    project.write("list.csv", "user_id\nu4\n");
    run(&["override", "add", BUYERS, "--file", "list.csv"]).ok();
    project.append_order("u4", "2025-12-31T12:00:00Z", 7);
    run(&["refresh", "--all"]).ok();
    run(&["backfill", BUYERS, "--from", "2025-12-15T00:00:00Z", "--to", "2025-12-17T00:00:00Z"]).ok();

    let rows = run(&["members", BUYERS, "--format", "json"]).ok().json();
    let members: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect();
    assert_eq!(members, ["u1", "u2", "u3", "u4"]);
    let rows = run(&["history", BUYERS, "--format", "json"]).ok().json();
    let kinds: Vec<&str> = rows.as_array().unwrap().iter().map(|row: &Value| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "manual", "run", "backfill", "backfill", "backfill"]);
    let sound = run(&["verify"]).ok().stdout;
    assert!(sound.ends_with("segments of 1 tenant are in order\n"), "{sound}");

    let table = format!("s3://{BUCKET}/handed/over.csv");
    run(&["members", BUYERS, "--output", &table]).ok();
    let object = |path: &str| server.folder().join(BUCKET).join(path);
    assert_eq!(std::fs::read_to_string(object("handed/over.csv")).unwrap().lines().count(), 1 + 4);
    for public in ["memberships/shop/buyers.parquet", "overrides/shop/buyers.parquet", "log/published"] {
        assert!(object("some/where").join(public).exists(), "{public}");
    }
    assert!(!project.path("out").exists() && !project.path("s3:").exists(), "nothing is kept on the disk");

    std::fs::write(object("some/where/memberships/shop/buyers.parquet"), "damaged").unwrap();
    let told = run(&["verify"]).exits(1);
    assert!(format!("{}{}", told.stdout, told.stderr).contains("memberships/shop/buyers.parquet"), "{told:?}");
}

fn what_is_wrong_with_an_object_store_is_told() {
    let (project, server) = (project(), S3Server::new());
    let refused = run(&project, &server, "guessed", &["refresh", "--all"]).exits(1);
    let first_lines = "error: the store cannot be used\n  because cannot read `log/published` in the store\n";
    assert!(refused.stderr.starts_with(first_lines), "{}", refused.stderr);
    assert!(!refused.stderr.contains("guessed"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(server.folder().join(BUCKET)).unwrap().count(), 0, "nothing was written");
}
