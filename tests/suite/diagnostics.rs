//! Every kind of finding, with a minimal definition and what is shown for it.
//!
//! A case is a file of `diagnostics/`, or a folder of files that are checked together, named by the code that it shows (and a word
//! more, after a dot, when a code has several cases; when that word is the name of a dialect, it is in that form). What is shown for it is the snapshot of that name. `INSTA_UPDATE=always`
//! accepts what is shown now.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use segmenta::check::{Limits, check, check_nameless};
use segmenta::diagnostic::{Charset, Code, Colour, Report, Source, Style, render_text, to_json};
use segmenta::lint::lint;
use segmenta::syntax::dialect::{Dialect, Import, Mapping, Settings, import};
use segmenta::syntax::{Document, Format, Unreadable, parse};

use crate::language::{catalog, events_alone};
use crate::lints::{calendar, facts};

const FOLDER: &str = "tests/suite/diagnostics";

/// Small, so that a case can exceed them.
const LIMITS: Limits = Limits { leaves: 6, depth: 4, list: 4, text: 1_500 };

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("diagnostics::every_code_has_a_case", every_code_has_a_case)];
    for case in cases() {
        let name = case.name.clone();
        trials.push(Trial::test(format!("diagnostics::{name}"), move || shows_as_accepted(&case)));
    }
    trials.push(Trial::test("diagnostics::languages_agree", languages_agree));
    trials
}

struct Case {
    name: String,
    /// The files that are checked together, in order.
    files: Vec<PathBuf>,
}

impl Case {
    fn code(&self) -> &str {
        self.name.split('.').next().unwrap()
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = sorted(Path::new(FOLDER))
        .into_iter()
        .filter(|path| path.is_dir() || is_definition(path))
        .map(|path| Case {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            files: if path.is_dir() { sorted(&path) } else { vec![path] },
        })
        .collect();
    cases.retain(|case| case.name != "snapshots");
    cases
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_definition(path: &Path) -> bool {
    Format::from_file_name(path.to_str().unwrap()).is_some()
}

/// Everything that is found in texts that are checked together.
fn findings(texts: &[(String, String)]) -> Report {
    let mut report = Report::default();
    let mut documents: Vec<Document> = Vec::new();
    let mut nameless: Vec<Document> = Vec::new();
    for (name, text) in texts {
        let format = Format::from_file_name(name).unwrap();
        if let Some(dialect) = dialect_of(name) {
            return foreign_findings(&Source::new(name.clone(), text.clone()), format, dialect);
        }
        match parse(&Source::new(name.clone(), text.clone()), format) {
            Ok(document) => documents.push(document),
            Err(Unreadable { nameless: Some(document), .. }) => nameless.push(*document),
            Err(Unreadable { report: of_text, nameless: None }) => report.append(of_text),
        }
    }
    // What a definition carries for its author says which tables its case has.
    let says = |what: &str| {
        documents.iter().any(|document| {
            let metadata = document.definition().metadata.as_ref();
            metadata.is_some_and(|metadata| metadata.get("tables").is_some_and(|tables| tables == what))
        })
    };
    let catalog = if says("events") { events_alone() } else { catalog() };
    let facts = says("looked at").then(facts);
    for document in nameless {
        report.append(check_nameless(&document, &documents, &catalog, &LIMITS));
    }
    let mut checked = check(&documents, &catalog, &LIMITS);
    report.append(std::mem::take(&mut checked.report));
    report.append(lint(&documents, &checked, &calendar(), facts.as_ref()));
    report
}

/// The dialect that the name of a case says it is in.
fn dialect_of(name: &str) -> Option<Dialect> {
    Dialect::from_keyword(name.split('.').nth(1)?)
}

/// Everything that is found in a definition of another system.
fn foreign_findings(source: &Arc<Source>, format: Format, dialect: Dialect) -> Report {
    let (catalog, settings) = (catalog(), Settings::default());
    let mapping = Mapping { settings: &settings, users: catalog.users.as_ref().map(|users| &users.table) };
    let Import { documents, mut report } = import(source, format, dialect, mapping);
    report.append(check(&documents, &catalog, &Limits::default()).report);
    report
}

fn texts(case: &Case) -> Vec<(String, String)> {
    case.files
        .iter()
        .map(|path| (path.strip_prefix(FOLDER).unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn shows_as_accepted(case: &Case) -> Result<(), Failed> {
    let report = findings(&texts(case));
    let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code.name()).collect();
    if !codes.contains(&case.code()) {
        return Err(format!("the case shows {codes:?}").into());
    }
    let shown = render_text(&report, 100, Style { charset: Charset::Unicode, colour: Colour::Plain });
    let data = serde_json::to_string_pretty(&to_json(&report))?;
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("diagnostics/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(case.name.as_str(), format!("{shown}\n{data}")));
    Ok(())
}

fn every_code_has_a_case() -> Result<(), Failed> {
    let cases = cases();
    let shown: BTreeSet<&str> = cases.iter().map(Case::code).collect();
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    if shown == known {
        return Ok(());
    }
    let missing: Vec<_> = known.difference(&shown).collect();
    let unknown: Vec<_> = shown.difference(&known).collect();
    Err(format!("codes without a case: {missing:?}; cases of no code: {unknown:?}").into())
}

/// The same mistake gives the same finding in JSON, TOML and YAML: code, place in the document, message, help and the text marked.
fn languages_agree() -> Result<(), Failed> {
    let mut compared = 0;
    for case in cases() {
        let json = texts(&case);
        let trees: Option<Vec<serde_json::Value>> = json.iter().map(|(_, text)| serde_json::from_str(text).ok()).collect();
        let readable = |code: &str| !["syntax", "duplicate-key", "too-deep", "too-large"].contains(&code);
        if dialect_of(&case.name).is_some() {
            continue;
        }
        let Some(trees) = trees.filter(|trees| readable(case.code()) && !trees.iter().any(holds_null)) else { continue };
        let expected = essence(&findings(&json), &trees);
        for extension in ["toml", "yaml"] {
            let translated: Vec<(String, String)> = json
                .iter()
                .zip(&trees)
                .map(|((name, _), tree)| (name.replace(".json", &format!(".{extension}")), translate(tree, extension)))
                .collect();
            let found = essence(&findings(&translated), &trees);
            if found != expected {
                return Err(
                    format!("{} as {extension}:\n{found:#?}\ninstead of\n{expected:#?}\n{}", case.name, translated[0].1).into()
                );
            }
        }
        compared += 1;
    }
    if compared < 40 { Err(format!("only {compared} cases were compared").into()) } else { Ok(()) }
}

fn translate(tree: &serde_json::Value, extension: &str) -> String {
    if extension == "toml" { toml::to_string(tree).unwrap() } else { yaml(tree, 0) }
}

/// What the languages have in common. The text that is marked is compared where a scalar stands: lists and objects look different.
fn essence(report: &Report, trees: &[serde_json::Value]) -> BTreeSet<String> {
    let files = |text: &str| text.replace(".toml", ".json").replace(".yaml", ".json");
    let without_line = |text: String| text.split(" (line").next().unwrap().to_owned();
    let is_scalar =
        |path: &str| trees.iter().all(|tree| tree.pointer(path).is_some_and(|value| !value.is_array() && !value.is_object()));
    report
        .findings
        .iter()
        .map(|finding| {
            let source = finding.source.as_ref().unwrap();
            let path = finding.path.as_deref().unwrap();
            let raw = source.text.get(finding.span.clone()).unwrap();
            let marked = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.trim_matches('\'').to_owned());
            format!(
                "{} {} {path}: {} | {} | {}",
                files(&source.name),
                finding.code,
                without_line(files(&finding.message)),
                files(finding.help.as_deref().unwrap_or_default()),
                if is_scalar(path) { marked.as_str() } else { "..." },
            )
        })
        .collect()
}

fn holds_null(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Array(values) => values.iter().any(holds_null),
        serde_json::Value::Object(members) => members.values().any(holds_null),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => false,
    }
}

/// Block style, with scalars as in JSON.
fn yaml(value: &serde_json::Value, indent: usize) -> String {
    let pad = "  ".repeat(indent);
    match value {
        serde_json::Value::Array(values) if !values.is_empty() => {
            values.iter().map(|value| format!("{pad}-\n{}", yaml(value, indent + 1))).collect()
        }
        serde_json::Value::Object(members) if !members.is_empty() => {
            members.iter().map(|(key, value)| format!("{pad}{key}:\n{}", yaml(value, indent + 1))).collect()
        }
        scalar => format!("{pad}{scalar}\n"),
    }
}
