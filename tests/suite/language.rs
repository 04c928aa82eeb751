//! Texts to definitions and back.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on fails")]

pub(crate) mod generated;

use std::fs;

use indexmap::IndexMap;
use libtest_mimic::{Failed, Trial};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use segmenta::check::{Checked, Limits, check};
use segmenta::diagnostic::{Code, Report, Source, Style, render_text, to_json};
use segmenta::model::catalog::{Access, Catalog, ColumnType, EventTable, SubjectTable, Table, Universe};
use segmenta::syntax::{Document, Format, json_schema, parse, print_json};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("language::the_example_of_the_schema_checks", the_example_checks),
        Trial::test("language::print_then_parse_is_identity", print_then_parse_is_identity),
        Trial::test("language::printed_definitions_fit_the_schema", printed_definitions_fit_the_schema),
        Trial::test("language::what_is_refused_does_not_fit_the_schema", refused_definitions_do_not_fit_the_schema),
        Trial::test("language::the_schema_is_up_to_date", the_schema_is_up_to_date),
        Trial::test("language::texts_never_panic", texts_never_panic),
        Trial::test("language::hostile_nesting_is_a_finding", hostile_nesting),
        Trial::test("language::hostile_aliases_are_a_finding", hostile_aliases),
        Trial::test("language::one_pass_finds_errors_of_form_and_of_meaning", one_pass),
        Trial::test("language::one_pass_looks_at_every_part_of_a_leaf", one_pass_over_every_part_of_a_leaf),
        Trial::test("language::a_broken_definition_stops_no_other", a_broken_definition_stops_no_other),
        Trial::test("language::values_read_alike_in_every_language", values_read_alike),
        Trial::test("language::a_byte_order_mark_is_no_part_of_a_text", byte_order_mark),
        Trial::test("language::ten_thousand_mistakes_are_reported", ten_thousand_mistakes),
    ]
}

/// Tables with a column of every type.
pub(crate) fn catalog() -> Catalog {
    let text = || ColumnType::Text;
    let users = [
        ("user_id", text()),
        ("country", text()),
        ("plan_price", text()),
        ("joined", text()),
        ("active", ColumnType::Boolean),
        ("visits", ColumnType::Integer),
        ("balance", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("ratio", ColumnType::Float),
        ("signed_up_at", ColumnType::Timestamp),
        ("birthday", ColumnType::Date),
        ("tags", ColumnType::List(Box::new(text()))),
        ("address", ColumnType::Struct(vec![("city".to_owned(), text()), ("zip".to_owned(), text())])),
        ("scores", ColumnType::Map(Box::new(ColumnType::Float))),
        ("profile", ColumnType::Json),
        ("blob", ColumnType::Other("Binary".to_owned())),
    ];
    let products = [("product_id", text()), ("title", text()), ("data", ColumnType::Json)];
    Catalog {
        timezone: "Europe/Berlin".to_owned(),
        users: Some(subjects(&users, "user_id", None)),
        products: Some(subjects(&products, "product_id", Some("data"))),
        events: Some(events()),
    }
}

/// Events of users without types, and no other table.
pub(crate) fn events_alone() -> Catalog {
    let events = EventTable { event_type: None, ..events() };
    Catalog { timezone: "UTC".to_owned(), users: None, products: None, events: Some(events) }
}

fn events() -> EventTable {
    let columns = [
        ("user_id", ColumnType::Text),
        ("event_type", ColumnType::Text),
        ("at", ColumnType::Timestamp),
        ("price", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("items", ColumnType::List(Box::new(ColumnType::Text))),
        ("properties", ColumnType::Json),
    ];
    EventTable {
        table: table(&columns, None),
        user_key: Some(Access::column("user_id", ColumnType::Text)),
        product_key: None,
        event_type: Some(Access::column("event_type", ColumnType::Text)),
        timestamp: Access::column("at", ColumnType::Timestamp),
        event_id: None,
        deduplicate: false,
    }
}

fn subjects(columns: &[(&str, ColumnType)], key: &str, data: Option<&str>) -> SubjectTable {
    SubjectTable {
        table: table(columns, data),
        key: Access::column(key, ColumnType::Text),
        version: None,
        universe: Universe::Table,
    }
}

fn table(columns: &[(&str, ColumnType)], data: Option<&str>) -> Table {
    let columns: IndexMap<_, _> = columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect();
    Table { columns, data: data.map(str::to_owned) }
}

fn read(text: &str, format: Format) -> Result<Document, Report> {
    parse(&Source::new("text", text), format).map_err(|unreadable| unreadable.report)
}

fn checked(texts: &[&str]) -> Checked {
    let documents: Vec<Document> = texts.iter().map(|text| read(text, Format::Json).unwrap()).collect();
    check(&documents, &catalog(), &Limits::default())
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn runner() -> TestRunner {
    let default = Config::default();
    TestRunner::new(Config { cases: default.cases.max(512), failure_persistence: None, ..default })
}

fn the_example_checks() -> Result<(), Failed> {
    let example = r##"{
        "id": "high-value-prospects",
        "name": "High-Value Prospects",
        "subject": "user", "kind": "dynamic", "status": "active", "refresh_interval": "60s",
        "tags": ["value"], "icon": "💎", "color": "#8b5cf6",
        "logic": "and",
        "conditions": [
            {"type": "user_attribute", "property": "profile.lifetime_value", "operator": "gt", "value": 10000},
            {"type": "event", "event_type": "email_opened", "window": {"last": "30d"}},
            {"logic": "or", "conditions": [
                {"type": "user_attribute", "property": "country", "operator": "in", "value": ["US", "CA"]},
                {"not": {"type": "segment", "segment_id": "churned"}}
            ]}
        ]
    }"##;
    let churned = r#"{"id": "churned", "kind": "static"}"#;
    let checked = checked(&[example, churned]);
    assert_eq!(checked.report, Report::default());
    assert!(checked.segments.values().all(Result::is_ok));
    let printed = json_schema()["examples"][0].to_string();
    assert!(read(&printed, Format::Json).unwrap().report().findings.is_empty());
    Ok(())
}

fn print_then_parse_is_identity() -> Result<(), Failed> {
    runner().run(&generated::definition(), |definition| {
        let printed = print_json(&definition);
        let document = read(&printed, Format::Json).map_err(|report| TestCaseError::fail(format!("{report:?}\n{printed}")))?;
        prop_assert_eq!(&document.report().findings, &Vec::new());
        prop_assert_eq!(&**document.definition(), &definition);
        prop_assert_eq!(print_json(document.definition()), printed);
        Ok(())
    })?;
    Ok(())
}

fn printed_definitions_fit_the_schema() -> Result<(), Failed> {
    let validator = jsonschema::draft202012::new(&json_schema())?;
    runner().run(&generated::definition(), |definition| {
        let printed = print_json(&definition);
        let instance: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let errors: Vec<String> = validator.iter_errors(&instance).map(|error| error.to_string()).collect();
        prop_assert!(errors.is_empty(), "{:?}\n{}", errors, printed);
        Ok(())
    })?;
    Ok(())
}

fn refused_definitions_do_not_fit_the_schema() -> Result<(), Failed> {
    let validator = jsonschema::draft202012::new(&json_schema())?;
    for text in [
        r#"{"name": "no id"}"#,
        r#"{"id": "a", "nmae": "b"}"#,
        r#"{"id": "A b"}"#,
        r#"{"id": "a", "name": ""}"#,
        r#"{"id": "a", "name": null}"#,
        r#"{"id": "a", "refresh_interval": "5m"}"#,
        r#"{"id": "a", "logic": "and", "conditions": []}"#,
        r#"{"id": "a", "logic": "xor", "conditions": [{"type": "everyone"}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"type": "everyone", "value": 1}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"type": "event", "window": {"last": "30d", "to": "now"}}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"type": "event", "where": [{"property": "a"}]}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"type": "user_attribute", "property": "a", "operator": "equals"}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"type": "user_attribute", "operator": "is_set"}]}"#,
        r#"{"id": "a", "logic": "and", "conditions": [{"not": {"type": "everyone"}, "logic": "and"}]}"#,
    ] {
        let instance: serde_json::Value = serde_json::from_str(text)?;
        assert!(!validator.is_valid(&instance), "{text}");
        let refused = read(text, Format::Json).map_or(true, |document| {
            let checked = check(&[document], &catalog(), &Limits::default());
            checked.report.has_errors()
        });
        assert!(refused, "{text}");
    }
    Ok(())
}

fn the_schema_is_up_to_date() -> Result<(), Failed> {
    const PATH: &str = "docs/segment.schema.json";
    let generated = format!("{}\n", serde_json::to_string_pretty(&json_schema())?);
    if fs::read_to_string(PATH).is_ok_and(|kept| kept == generated) {
        return Ok(());
    }
    let fresh = "target/segment.schema.json";
    fs::write(fresh, generated)?;
    Err(format!("{PATH} is not what the types generate; `cp {fresh} {PATH}` brings it up to date").into())
}

/// Definitions with mistakes, broken at random places: whatever stands in a file, there is a report on it, and it can be shown.
fn texts_never_panic() -> Result<(), Failed> {
    let mutated = (generated::definition(), prop::collection::vec((any::<prop::sample::Index>(), generated::fragment()), 1..6));
    runner().run(&mutated, |(definition, edits)| {
        for format in Format::ALL {
            let mut text = generated::print(&definition, format);
            for (place, fragment) in &edits {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                let from = *place.get(&places);
                let to = text[from..].char_indices().nth(fragment.removed).map_or(text.len(), |(at, _)| from + at);
                text.replace_range(from..to, &fragment.inserted);
            }
            let report = match read(&text, format) {
                Ok(document) => check(&[document], &catalog(), &Limits::default()).report,
                Err(report) => {
                    prop_assert!(report.has_errors(), "{}", text);
                    report
                }
            };
            for finding in &report.findings {
                prop_assert!(text.get(finding.span.clone()).is_some(), "{:?}\n{}", finding, text);
            }
            let shown = render_text(&report, 80, Style::default());
            prop_assert!(report.findings.iter().all(|finding| shown.contains(finding.code.name())));
            prop_assert_eq!(to_json(&report).as_array().map(Vec::len), Some(report.findings.len()));
        }
        Ok(())
    })?;
    runner().run(&any::<String>(), |text| {
        for format in Format::ALL {
            if let Err(report) = read(&text, format) {
                prop_assert!(report.has_errors());
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn hostile_nesting() -> Result<(), Failed> {
    for levels in [130, 1_000, 100_000] {
        let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
        let texts = [
            (Format::Json, nested("[", "]")),
            (Format::Json, nested("{\"not\":", "}")),
            (Format::Json, "[".repeat(levels)),
            (Format::Toml, format!("id = {}", nested("[", "]"))),
            (Format::Toml, format!("id = {}", nested("{a=", "}"))),
            (Format::Toml, format!("{} = 1", vec!["a"; levels].join("."))),
            (Format::Toml, format!("[{}]", vec!["a"; levels].join("."))),
            (Format::Yaml, nested("[", "]")),
            (Format::Yaml, nested("{a: ", "}")),
            (Format::Yaml, nested("- ", "")),
            (Format::Yaml, nested("? ", "")),
        ];
        for (format, text) in texts {
            let report = match read(&text, format) {
                Ok(document) => document.report().clone(),
                Err(report) => report,
            };
            assert!(report.has_errors(), "{format:?} {levels}");
        }
    }
    let deep = format!("{}{}{}", "{\"not\": ".repeat(100), r#"{"type": "everyone"}"#, "}".repeat(100));
    let text = format!(r#"{{"id": "a", "logic": "and", "conditions": [{deep}]}}"#);
    assert_eq!(codes(&checked(&[&text]).report), [Code::TooDeep]);
    Ok(())
}

fn hostile_aliases() -> Result<(), Failed> {
    let mut text = "id: case\nkind: static\nmetadata:\n  l0: &l0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let alias = format!("*l{}", level - 1);
        text.push_str(&format!("  l{level}: &l{level} [{}]\n", vec![alias; 9].join(", ")));
    }
    let report = read(&text, Format::Yaml).unwrap_err();
    assert_eq!(codes(&report), [Code::TooLarge]);
    let itself = "id: case\nkind: static\nmetadata: &m\n  a: *m\n";
    assert_eq!(codes(&read(itself, Format::Yaml).unwrap_err()), [Code::UnsupportedYaml]);
    let shared = "id: case\nlogic: or\nconditions:\n  - &c {type: event, event_type: a}\n  - not: *c\n";
    let document = read(shared, Format::Yaml).unwrap();
    assert!(check(&[document], &catalog(), &Limits::default()).segments.values().all(Result::is_ok));
    Ok(())
}

fn one_pass() -> Result<(), Failed> {
    let text = r#"{
        "id": "a", "nmae": "b", "logic": "and",
        "conditions": [
            {"type": "user_attribute", "property": "contry", "operator": "eqq", "value": "x"},
            {"type": "user_attribute", "property": "visits", "operator": "gt", "value": "many"},
            {"type": "event", "window": {"last": "5 days"}, "measure": {"sum": "pirce"}, "operator": "gt", "value": 1},
            {"type": "segment", "segment_id": "b"}
        ]
    }"#;
    let report = checked(&[text]).report;
    let expected = [
        Code::UnknownKey,
        Code::UnknownProperty,
        Code::UnknownWord,
        Code::WrongLiteral,
        Code::InvalidDuration,
        Code::UnknownProperty,
        Code::UnknownSegment,
    ];
    assert_eq!(codes(&report), expected);
    Ok(())
}

fn one_pass_over_every_part_of_a_leaf() -> Result<(), Failed> {
    let text = r#"{"id": "a", "logic": "and", "conditions": [
        {"type": "sequence", "steps": [{"event_type": []}, {"event_type": "b", "absent": true}], "within": "2m", "same": ["prise", "a..b"]},
        {"type": "compare", "left": {"property": "contry"}, "operator": "foo", "right": {"type": "event", "event_type": []}, "factor": "x"}
    ]}"#;
    let expected = [
        Code::EmptyOperand,
        Code::InvalidDuration,
        Code::UnknownProperty,
        Code::InvalidPath,
        Code::UnknownProperty,
        Code::UnknownWord,
        Code::EmptyOperand,
        Code::WrongKind,
    ];
    assert_eq!(codes(&checked(&[text]).report), expected);
    Ok(())
}

fn a_broken_definition_stops_no_other() -> Result<(), Failed> {
    let good = r#"{"id": "good", "logic": "and", "conditions": [{"type": "everyone"}]}"#;
    let bad = r#"{"id": "bad", "logic": "and", "conditions": [{"type": "event", "measure": "active_days"}]}"#;
    let dependent = r#"{"id": "dependent", "logic": "and", "conditions": [{"type": "segment", "segment_id": "bad"}]}"#;
    let checked = checked(&[bad, dependent, good]);
    let outcome = |id: &str| checked.segments.get(&id.parse().unwrap()).unwrap();
    assert!(outcome("good").is_ok());
    assert_eq!(codes(outcome("bad").as_ref().unwrap_err()), [Code::MissingComparison]);
    assert_eq!(codes(outcome("dependent").as_ref().unwrap_err()), [Code::BrokenReference]);
    assert_eq!(checked.report.findings.len(), 2);
    Ok(())
}

/// The same definition in three languages, with the forms of numbers, dates and texts that each has of its own.
fn values_read_alike() -> Result<(), Failed> {
    let condition =
        |value: &str| format!(r#"{{"type": "user_attribute", "property": "visits", "operator": "eq", "value": {value}}}"#);
    let json = |value: &str| format!(r#"{{"id": "a", "logic": "and", "conditions": [{}]}}"#, condition(value));
    let toml = |value: &str| {
        format!(
            "id = \"a\"\nlogic = \"and\"\n[[conditions]]\ntype = \"user_attribute\"\nproperty = \"visits\"\noperator = \"eq\"\nvalue = {value}\n"
        )
    };
    let yaml = |value: &str| {
        format!("id: a\nlogic: and\nconditions:\n- type: user_attribute\n  property: visits\n  operator: eq\n  value: {value}\n")
    };
    for (in_json, in_toml, in_yaml) in [
        ("9007199254740993", "9_007_199_254_740_993", "+9007199254740993"),
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5", "0123456789012345678901234567890.50"),
        ("255", "0xff", "0xFF"),
        ("8", "0o10", "0o10"),
        ("-0.5", "-0.5", "-.5"),
        ("1000", "1e3", "1e3"),
        ("true", "true", "True"),
        ("\"no\"", "'no'", "no"),
        ("\"2026-01-15\"", "2026-01-15", "2026-01-15"),
        ("\"2026-01-15T10:00:00Z\"", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00Z"),
        ("\"a\\nb\"", "\"\"\"\na\nb\"\"\"", "|-\n    a\n    b"),
        ("\"ä\\u00e9😀\"", "\"ä\\u00e9😀\"", "\"ä\\u00e9😀\""),
        ("[\"a\", \"b\"]", "[\"a\", 'b',]", "[a, 'b']"),
    ] {
        let expected = read(&json(in_json), Format::Json).unwrap();
        assert_eq!(codes(expected.report()), [], "{in_json}");
        assert_eq!(read(&toml(in_toml), Format::Toml).unwrap().definition(), expected.definition(), "{in_toml}");
        assert_eq!(read(&yaml(in_yaml), Format::Yaml).unwrap().definition(), expected.definition(), "{in_yaml}");
    }
    Ok(())
}

/// Some editors begin a file with one.
fn byte_order_mark() -> Result<(), Failed> {
    let texts = [
        (Format::Json, r#"{"id": "a", "kind": "static", "nmae": "x"}"#),
        (Format::Toml, "id = \"a\"\nkind = \"static\"\nnmae = \"x\"\n"),
        (Format::Yaml, "id: a\nkind: static\nnmae: x\n"),
    ];
    for (format, text) in texts {
        let marked = format!("\u{feff}{text}");
        let document = read(&marked, format).unwrap();
        assert_eq!(codes(document.report()), [Code::UnknownKey], "{format:?}");
        let span = document.report().findings[0].span.clone();
        assert_eq!(marked[span].trim_matches('"'), "nmae", "{format:?}");
    }
    Ok(())
}

/// Nothing in reading a text takes longer than in proportion to its size.
fn ten_thousand_mistakes() -> Result<(), Failed> {
    let keys: String = (0..10_000).map(|key| format!("\"key {key}\": [],\n")).collect();
    let text = format!("{{\n{keys}\"id\": \"a\", \"kind\": \"static\"\n}}");
    let document = read(&text, Format::Json).unwrap();
    assert_eq!(document.report().findings.len(), 10_000);
    Ok(())
}
