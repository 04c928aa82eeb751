//! What must hold of any text, whatever stands in it: it is told what is wrong, at a place that exists; and what is accepted is printed
//! as a text that says the same. The fuzz targets ask this of texts that a machine makes up, `cargo test` of those that were kept.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use segmenta::check::{Limits, check};
use segmenta::diagnostic::{Report, Source, Style, render_text};
use segmenta::ir;
use segmenta::model::catalog::{Access, Catalog, ColumnType, EventTable, SubjectTable, Table, Universe};
use segmenta::model::condition::Subject;
use segmenta::model::id::SegmentId;
use segmenta::refresh::config::{ConfigError, parse_config};
use segmenta::store::object::rewritten_commit;
use segmenta::syntax::dialect::{Dialect, Mapping, Settings, export, import};
use segmenta::syntax::subjects::{Header, ListForm, NoList, read_subjects};
use segmenta::syntax::{Document, Format, parse, parse_expression, print_expression, print_json};

/// Of an expression: about users, and about products.
pub fn where_expression(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    for subject in [Subject::User, Subject::Product] {
        match parse_expression(&source, &id(), subject) {
            Ok(document) if !document.report().has_errors() => {
                let printed = print_expression(document.definition());
                assert!(printed.is_some(), "an expression that does not print");
                canonical_prints_as_itself(&document);
                if !is_found(&meaning(&document), &["not-yet-supported"]) {
                    expression_prints_as_itself(&document);
                }
            }
            Ok(document) => is_told(&source, document.report()),
            Err(report) => is_told(&source, &report),
        }
    }
}

/// Of a definition, in each of the languages.
pub fn definition(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    for format in Format::ALL {
        match parse(&source, format) {
            Ok(document) if !document.report().has_errors() => {
                canonical_prints_as_itself(&document);
                if !is_found(&meaning(&document), UNSPEAKABLE) {
                    expression_prints_as_itself(&document);
                }
            }
            Ok(document) => is_told(&source, document.report()),
            Err(unreadable) => is_told(&source, &unreadable.report),
        }
    }
}

/// Of a definition of another system, in each of their forms.
pub fn dialect(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    for dialect in Dialect::READABLE {
        let users = CATALOG.users.as_ref().map(|users| &users.table);
        let mapping = Mapping { settings: &SETTINGS, users };
        let imported = import(&source, Format::Json, dialect, mapping);
        assert!(!imported.documents.is_empty() || imported.report.has_errors(), "neither a definition nor an error");
        places_exist(&source, &imported.report);
        for document in &imported.documents {
            if document.report().has_errors() {
                is_told(&source, document.report());
                continue;
            }
            canonical_prints_as_itself(document);
            let found = meaning(document);
            let is_valid = found.findings.iter().all(|finding| finding.code.name() == "unknown-segment");
            if let (Ok(exported), true) = (export(document, dialect, mapping), is_valid) {
                let again = import(&Source::new("exported.json", exported.text.as_str()), Format::Json, dialect, mapping);
                let read = again.documents.iter().all(|document| !document.report().has_errors());
                assert!(
                    read && again.documents.len() == 1 && !again.report.has_errors(),
                    "exported and refused: {}",
                    exported.text
                );
            }
        }
    }
}

/// Of a list of subjects in CSV. Returns what came of it.
pub fn csv_import(bytes: &[u8]) -> String {
    let forms = [
        ListForm { column: None, header: Header::Guessed, delimiter: b',', keys: vec!["user_id"] },
        ListForm { column: Some("mail"), header: Header::Guessed, delimiter: b',', keys: Vec::new() },
        ListForm { column: Some("2"), header: Header::Absent, delimiter: b';', keys: vec!["user_id"] },
    ];
    let last = 1 + bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
    let mut came = String::new();
    for form in &forms {
        match read_subjects(bytes, form) {
            Ok(list) => {
                assert!(!list.lines.is_empty(), "a list of nobody");
                for (subject, line) in &list.lines {
                    assert!(!subject.is_empty() && (1..=last).contains(line), "`{subject}` on line {line} of {last}");
                }
                for (subject, line) in &list.repeats {
                    assert!(list.lines[subject] <= *line && *line <= last, "`{subject}` again on line {line} of {last}");
                }
                came.push_str(if list.repeats.is_empty() { "each once; " } else { "some again; " });
            }
            Err(NoList { problem, help }) => {
                assert!(!problem.is_empty() && help.is_none_or(|help| !help.is_empty()));
                came.push_str(&format!("{problem}; "));
            }
        }
    }
    came
}

/// Of a configuration. Returns what came of it.
pub fn configuration(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
    let environment = |name: &str| (name != "MISSING").then(|| format!("value of {name}"));
    let read = || parse_config(Path::new("scheduler.toml"), text, &environment);
    match read() {
        Ok(config) => {
            let ids: BTreeSet<&str> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            assert!(!ids.is_empty() && ids.len() == config.tenants.len(), "{} tenants, {} ids", config.tenants.len(), ids.len());
            assert_eq!(format!("{config:?}"), format!("{:?}", read().unwrap()), "read twice");
            "accepted".to_owned()
        }
        Err(ConfigError { location, problem, help }) => {
            let line = location.strip_prefix("scheduler.toml").expect("the file is named");
            let last = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
            let exists = line.strip_prefix(':').is_none_or(|line| (1..=last).contains(&line.parse().unwrap()));
            assert!(exists, "{location} of {last} lines");
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}");
            assert!(help.is_none_or(|help| !help.is_empty()));
            problem
        }
    }
}

/// Of the record of a commit, and of one with this body and a checksum that is right. Returns what came of it.
pub fn commit_record(bytes: &[u8]) -> String {
    let hash = blake3::hash(bytes).to_hex();
    let sealed = [format!(r#"{{"format":2,"blake3":"{hash}","body":"#).as_bytes(), bytes, b"}"].concat();
    let mut came = String::new();
    for bytes in [bytes, &sealed] {
        match rewritten_commit(bytes) {
            Ok(rewritten) => {
                assert_eq!(rewritten_commit(&rewritten).unwrap(), rewritten, "read and written again");
                came.push_str("accepted; ");
            }
            Err(error) => came.push_str(&format!("{error}; ")),
        }
    }
    came
}

fn source(bytes: &[u8]) -> Option<Arc<Source>> {
    Some(Source::new("text.json", std::str::from_utf8(bytes).ok()?))
}

fn id() -> SegmentId {
    "where".parse().expect("a word is an id")
}

/// Printed and read again, a definition is the same.
fn canonical_prints_as_itself(document: &Document) {
    let printed = print_json(document.definition());
    let again = parse(&Source::new("again.json", printed.as_str()), Format::Json);
    let again = again.unwrap_or_else(|unreadable| panic!("{printed}\n{:?}", unreadable.report));
    assert!(!again.report().has_errors(), "{printed}\n{:?}", again.report());
    assert_eq!(again.definition(), document.definition(), "{printed}");
}

/// A rule that prints as an expression is read from it.
fn expression_prints_as_itself(document: &Document) {
    let definition = document.definition();
    let Some(printed) = print_expression(definition) else { return };
    let again = parse_expression(&Source::new("--where", printed.as_str()), &definition.id, definition.subject);
    let again = again.unwrap_or_else(|report| panic!("{printed}\n{report:?}"));
    assert!(!again.report().has_errors(), "{printed}\n{:?}", again.report());
    assert_eq!(print_expression(again.definition()).as_deref(), Some(printed.as_str()));
}

/// What `check` finds in definitions that no expression says, and that it always refuses.
const UNSPEAKABLE: &[&str] = &["not-yet-supported", "empty-group", "wrong-subject"];

fn is_found(report: &Report, codes: &[&str]) -> bool {
    report.findings.iter().any(|finding| codes.contains(&finding.code.name()))
}

/// What is found over tables. What is accepted there can be lowered, and its normal form is one.
fn meaning(document: &Document) -> Report {
    let checked = check(std::slice::from_ref(document), &CATALOG, &Limits::default());
    places_exist(document.source(), &checked.report);
    for segment in checked.segments.values().flatten() {
        let normal = ir::normalize(ir::lower(segment));
        assert_eq!(ir::normalize(normal.clone()), normal);
    }
    checked.report
}

/// Something is wrong, it is said where, and it can be shown.
fn is_told(source: &Source, report: &Report) {
    assert!(report.has_errors(), "refused without an error");
    places_exist(source, report);
    let shown = render_text(report, 80, Style::default());
    assert!(report.findings.iter().all(|finding| shown.contains(finding.code.name())), "{shown}");
}

fn places_exist(source: &Source, report: &Report) {
    for finding in &report.findings {
        assert!(source.text.get(finding.span.clone()).is_some(), "{finding:?}");
    }
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(Settings::default);

/// Tables like those of the demo, with a column of every type.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let text = || ColumnType::Text;
    let number = || Box::new(ColumnType::Float);
    let field = |name: &str, column: ColumnType| (name.to_owned(), column);
    let users = vec![
        ("user_id", text()),
        ("email", text()),
        ("country", text()),
        ("plan", text()),
        ("marketing_consent", ColumnType::Boolean),
        ("total_events", ColumnType::Integer),
        ("lifetime_value", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("score", ColumnType::Float),
        ("created_at", ColumnType::Timestamp),
        ("birthday", ColumnType::Date),
        ("tags", ColumnType::List(Box::new(text()))),
        ("interests", ColumnType::Map(number())),
        ("affinities", ColumnType::Struct(vec![field("gadgets", ColumnType::Float), field("x.y", text())])),
        ("attributes", ColumnType::Json),
        ("blob", ColumnType::Other("Binary".to_owned())),
    ];
    let events = vec![
        ("user_id", text()),
        ("product_id", text()),
        ("event_type", text()),
        ("timestamp", ColumnType::Timestamp),
        ("price", ColumnType::Float),
        ("quantity", ColumnType::Unsigned),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("properties", ColumnType::Json),
    ];
    let column = |name: &str, stored: ColumnType| Access::column(name, stored);
    Catalog {
        timezone: "America/New_York".to_owned(),
        users: Some(subjects(users, "user_id", None)),
        products: Some(subjects(vec![("product_id", text()), ("data", ColumnType::Json)], "product_id", Some("data"))),
        events: Some(EventTable {
            table: table(events, Some("properties")),
            user_key: Some(column("user_id", text())),
            product_key: Some(column("product_id", text())),
            event_type: Some(column("event_type", text())),
            timestamp: column("timestamp", ColumnType::Timestamp),
            event_id: None,
            deduplicate: false,
        }),
    }
});

fn subjects(columns: Vec<(&str, ColumnType)>, key: &str, data: Option<&str>) -> SubjectTable {
    let key = Access::column(key, ColumnType::Text);
    SubjectTable { table: table(columns, data), key, version: None, universe: Universe::Table }
}

fn table(columns: Vec<(&str, ColumnType)>, data: Option<&str>) -> Table {
    let columns = columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect();
    Table { columns, data: data.map(str::to_owned) }
}
