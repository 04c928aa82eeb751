//! `init`: a project to start from, in an empty folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::cli::args::InitArguments;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing, Screen};
use crate::cli::templates::{Template, choose, library};
use crate::generate::{Options, Summary, generate};

const CONFIG: &str = include_str!("init.toml");
const IGNORED: &str = "# What `segmenta refresh` writes: members, changes, history and the commit log.\n/out\n";
/// Where a project is made before it is moved to its place.
const STAGING: &str = ".segmenta-init";
/// What a project consists of. The configuration comes last: a folder that has one has all of it.
const PARTS: [&str; 4] = ["data", "segments", ".gitignore", "scheduler.toml"];

/// A template in the listing of all.
#[derive(Debug, Serialize)]
struct Row {
    template: String,
    subject: &'static str,
    tags: String,
    description: String,
}

/// Makes a project and says what to do next; or lists what one can start from.
pub(crate) fn execute(screen: Screen, arguments: &InitArguments) -> Result<(), CliError> {
    if arguments.list {
        return list(screen);
    }
    let templates = choose(&arguments.templates)?;
    let bar = Bar::new(screen);
    bar.say("making sample data");
    let made = make(&arguments.folder, &templates, &bar);
    drop(bar);
    tell(screen, &arguments.folder, &templates, made?)
}

fn list(screen: Screen) -> Result<(), CliError> {
    let row = |template: &Template| {
        let definition = template.definition();
        Row {
            template: definition.id.to_string(),
            subject: definition.subject.keyword(),
            tags: definition.tags.join(", "),
            description: definition.description.clone().unwrap_or_default(),
        }
    };
    let columns = ["template", "subject", "tags", "description"].map(|name| (name, Column::Text)).to_vec();
    screen.listing(&Listing { columns, rows: library().iter().map(row).collect() })
}

/// Makes a project in a folder that is empty or does not exist yet; in the end it is there whole, or nothing is.
fn make(folder: &Path, templates: &[Template], bar: &Bar) -> Result<Summary, CliError> {
    let is_new = refuse_occupied(folder)?;
    let staging = folder.join(STAGING);
    fs::create_dir_all(folder).and_then(|()| fs::create_dir(&staging)).map_err(cannot_write(&staging))?;
    let made = fill(&staging, templates, bar).and_then(|summary| move_up(&staging, folder).map(|()| summary));
    // What cannot be removed either is of less interest than why it was to be removed.
    fs::remove_dir_all(&staging).ok();
    if made.is_err() && is_new {
        fs::remove_dir(folder).ok();
    }
    made
}

/// Whether the folder is yet to be made. A repository without a file counts as empty.
fn refuse_occupied(folder: &Path) -> Result<bool, CliError> {
    let usage =
        |problem: String| CliError::Usage { problem, help: Some("Name a new folder, such as `segmenta init shop`.".to_owned()) };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(usage(format!("`{}` is no folder", folder.display())));
        }
        Err(source) => return Err(CliError::Read { path: folder.display().to_string(), source }),
    };
    for entry in entries {
        let entry = entry.map_err(|source| CliError::Read { path: folder.display().to_string(), source })?;
        if entry.file_name() != ".git" {
            let found = entry.file_name().to_string_lossy().into_owned();
            return Err(usage(format!("the folder `{}` is not empty: it has `{found}`; nothing was written", folder.display())));
        }
    }
    Ok(false)
}

fn fill(staging: &Path, templates: &[Template], bar: &Bar) -> Result<Summary, CliError> {
    let write = |name: &str, text: &str| {
        let path = staging.join(name);
        fs::write(&path, text).map_err(cannot_write(&path))
    };
    let segments = staging.join("segments");
    fs::create_dir(&segments).map_err(cannot_write(&segments))?;
    for template in templates {
        write(&format!("segments/{}", template.file), template.text)?;
    }
    write("scheduler.toml", CONFIG)?;
    write(".gitignore", IGNORED)?;
    let summary = generate(&Options::default(), &staging.join("data"), &mut |progress| bar.advance(progress.events, progress.of));
    summary.map_err(|error| CliError::Generate(Box::new(error)))
}

/// Moves the parts of a project to their places; when one cannot be moved, those that were are removed.
fn move_up(staging: &Path, folder: &Path) -> Result<(), CliError> {
    let mut moved: Vec<PathBuf> = Vec::new();
    for part in PARTS {
        let target = folder.join(part);
        if let Err(source) = fs::rename(staging.join(part), &target) {
            for path in moved {
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.ok();
            }
            return Err(cannot_write(&target)(source));
        }
        moved.push(target);
    }
    Ok(())
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> CliError + use<> {
    let path = path.display().to_string();
    move |source| CliError::Write { path, source }
}

fn tell(screen: Screen, folder: &Path, templates: &[Template], made: Summary) -> Result<(), CliError> {
    let Summary { users, products, events, .. } = made;
    let first = templates.first().map_or("ID", |template| template.definition().id.as_str());
    let mut next = vec![
        ("segmenta validate".to_owned(), "check the definitions in segments/"),
        ("segmenta refresh --all".to_owned(), "compute all of them; writes out/"),
        ("segmenta list".to_owned(), "how many are in each"),
        (format!("segmenta members {first} --limit 10"), "who is in one"),
        ("segmenta describe".to_owned(), "what the tables hold that definitions can be written about"),
    ];
    if folder != Path::new(".") {
        next.insert(0, (format!("cd {}", quoted(folder)), ""));
    }
    let width = next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let steps: Vec<String> =
        next.iter().map(|(command, what)| format!("  {command:width$}   {what}").trim_end().to_owned()).collect();
    let text = format!(
        "made in {}\n  scheduler.toml   the configuration: where tables, definitions and results are\n  segments/        {} {}\n  \
         data/            {users} users, {products} products, {events} events, up to the end of 2025\n\nnext\n{}\n\n`segmenta init --list` \
         shows more definitions to start from.\n",
        folder.display(),
        templates.len(),
        if templates.len() == 1 { "definition" } else { "definitions" },
        steps.join("\n"),
    );
    let names: Vec<&str> = templates.iter().map(|template| template.definition().id.as_str()).collect();
    let commands: Vec<&str> = next.iter().map(|(command, _)| command.as_str()).collect();
    let counts = ["templates", "users", "products", "events"];
    let columns = std::iter::once(("folder", Column::Text)).chain(counts.map(|name| (name, Column::Count))).collect();
    let row = json!({"folder": folder, "templates": names.len(), "users": users, "products": products, "events": events});
    let rows = Listing { columns, rows: vec![row] }.batch()?;
    let json = json!({
        "folder": folder, "templates": names, "users": users, "products": products, "events": events, "next": commands,
    });
    screen.document(&Document { text, rows, json })
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    if !text.starts_with('-') && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_break_it() {
        for (path, expected) in [("shop", "shop"), ("a/b-c_2", "a/b-c_2"), ("my shop", "'my shop'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn what_cannot_be_moved_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join(STAGING);
        fs::create_dir_all(staging.join("data")).unwrap();
        fs::create_dir_all(staging.join("segments")).unwrap();
        let failed = move_up(&staging, folder.path()).unwrap_err();
        assert!(failed.to_string().contains(".gitignore"), "{failed}");
        fs::remove_dir_all(&staging).unwrap();
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
