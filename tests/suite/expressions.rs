//! Expressions in the syntax of SQL: what each form means, that every rule prints as one and is read again, and what is said of wrong
//! ones.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on fails")]

mod forms;

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;

use libtest_mimic::{Failed, Trial};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use segmenta::check::{Limits, check};
use segmenta::diagnostic::{Charset, Code, Colour, Report, Source, Style, render_text};
use segmenta::model::condition::{Condition, Leaf, Node, Subject};
use segmenta::model::segment::{Definition, Rule};
use segmenta::syntax::{Document, Format, parse, parse_expression, print_expression};

use crate::language::catalog;
use crate::language::generated::{Fragment, definition, fragment};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("expressions::every_form_means_its_condition", every_form_means_its_condition),
        Trial::test("expressions::other_spellings_mean_the_same", other_spellings_mean_the_same),
        Trial::test("expressions::print_then_parse_is_identity", print_then_parse_is_identity),
        Trial::test("expressions::examples_print_as_expressions", examples_print),
        Trial::test("expressions::the_examples_of_the_documentation_are_read", documented_examples),
        Trial::test("expressions::errors_are_shown_at_their_places", errors_are_shown),
        Trial::test("expressions::one_pass_finds_errors_of_form_and_of_meaning", one_pass),
        Trial::test("expressions::hostile_texts_are_findings", hostile_texts),
        Trial::test("expressions::texts_never_panic", texts_never_panic),
    ]
}

fn read(text: &str, subject: Subject) -> Result<Document, Report> {
    parse_expression(&Source::new("--where", text), &"where".parse().unwrap(), subject)
}

/// The rule of a text without errors.
fn rule(text: &str, subject: Subject) -> Rule {
    let document = read(text, subject).unwrap_or_else(|report| panic!("{text}\n{}", shown(&report)));
    assert!(!document.report().has_errors(), "{text}\n{}", shown(document.report()));
    document.definition().rule.clone().unwrap()
}

fn shown(report: &Report) -> String {
    render_text(report, 120, Style { charset: Charset::Unicode, colour: Colour::Plain })
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

/// Each expression against the condition in JSON that it stands for; printed, it is the same text again.
fn every_form_means_its_condition() -> Result<(), Failed> {
    for (subject, text, json) in forms::FORMS {
        let definition = |condition: &str| {
            let keyword = subject.keyword();
            format!(r#"{{"id": "where", "subject": "{keyword}", "logic": "and", "conditions": [{condition}]}}"#)
        };
        let expected = parse(&Source::new("a.json", definition(json)), Format::Json).unwrap();
        assert_eq!(codes(expected.report()), [], "{json}");
        assert_eq!(Some(rule(text, *subject)), expected.definition().rule, "{text}");
        assert_eq!(print_expression(expected.definition()).as_deref(), Some(*text));
    }
    Ok(())
}

fn other_spellings_mean_the_same() -> Result<(), Failed> {
    for (text, canonical) in forms::SPELLINGS {
        let definition = Definition { rule: Some(rule(text, Subject::User)), ..bare() };
        assert_eq!(print_expression(&definition).as_deref(), Some(*canonical), "{text}");
        assert_eq!(definition.rule, Some(rule(canonical, Subject::User)), "{text}");
    }
    Ok(())
}

fn bare() -> Definition {
    let text = r#"{"id": "where", "kind": "static"}"#;
    Definition::clone(parse(&Source::new("a.json", text), Format::Json).unwrap().definition())
}

fn print_then_parse_is_identity() -> Result<(), Failed> {
    let printed_rules = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 2_000, ..Config::default() });
    runner
        .run(&definition(), |definition| {
            let Some(printed) = print_expression(&definition) else { return Ok(()) };
            printed_rules.set(printed_rules.get() + 1);
            let read = read(&printed, definition.subject)
                .map_err(|report| TestCaseError::fail(format!("{printed}\n{}", shown(&report))))?;
            prop_assert!(!read.report().has_errors(), "{}\n{}", printed, shown(read.report()));
            let expected = definition.rule.clone().map(|rule| without_remarks(rule, definition.subject));
            prop_assert_eq!(&read.definition().rule, &expected, "{}", printed);
            prop_assert_eq!(print_expression(read.definition()), Some(printed));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
    let printed_rules = printed_rules.get();
    assert!(printed_rules > 400, "only {printed_rules} of the generated definitions have a rule");
    Ok(())
}

/// An expression has no place for remarks, and is about one subject.
fn without_remarks(rule: Rule, subject: Subject) -> Rule {
    fn strip(condition: Condition, subject: Subject) -> Condition {
        let each = |conditions: Vec<Condition>| conditions.into_iter().map(|condition| strip(condition, subject)).collect();
        Condition::from(match condition.node {
            Node::Group { logic, conditions } => Node::Group { logic, conditions: each(conditions) },
            Node::AtLeast { count, of } => Node::AtLeast { count, of: each(of) },
            Node::Not(inner) => Node::Not(Box::new(strip(*inner, subject))),
            Node::Leaf(Leaf::Attribute { subject: _, test }) => Node::Leaf(Leaf::Attribute { subject, test }),
            leaf @ Node::Leaf(_) => leaf,
        })
    }
    match rule {
        Rule::Conditions { logic, conditions } => {
            Rule::Conditions { logic, conditions: conditions.into_iter().map(|condition| strip(condition, subject)).collect() }
        }
        Rule::Scoring(mut scoring) => {
            for rule in &mut scoring.rules {
                rule.condition = strip(rule.condition.clone(), subject);
                rule.description = None;
            }
            Rule::Scoring(scoring)
        }
    }
}

/// Every definition of `queries/` prints as one expression, which is read as the same rule.
fn examples_print() -> Result<(), Failed> {
    let mut printed = 0;
    for entry in fs::read_dir("queries")? {
        let path = entry?.path();
        let Some(format) = Format::from_file_name(path.to_str().unwrap()) else { continue };
        let text = fs::read_to_string(&path)?;
        let document = parse(&Source::new(path.display().to_string(), text), format).unwrap();
        let definition = document.definition();
        let Some(expression) = print_expression(definition) else { continue };
        let expected = definition.rule.clone().map(|rule| without_remarks(rule, definition.subject));
        assert_eq!(Some(rule(&expression, definition.subject)), expected, "{}: {expression}", path.display());
        printed += 1;
    }
    assert!(printed >= 40, "only {printed} examples");
    Ok(())
}

/// Every block of SQL in the page on expressions is one, and every function is on the page.
fn documented_examples() -> Result<(), Failed> {
    const PAGE: &str = "docs/expressions.md";
    let page = fs::read_to_string(PAGE)?;
    let mut examples = 0;
    for block in page.split("```sql\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let subject = if text.contains("-- of products") { Subject::Product } else { Subject::User };
        let read_rule = rule(text, subject);
        let printed = print_expression(&Definition { rule: Some(read_rule.clone()), subject, ..bare() }).unwrap();
        assert_eq!(rule(&printed, subject), read_rule, "{text}");
        examples += 1;
    }
    assert!(examples >= 2, "only {examples} examples in {PAGE}");
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let form = line.split('`').nth(1).unwrap();
        rule(form, if line.contains("(products)") { Subject::Product } else { Subject::User });
        examples += 1;
    }
    assert!(examples >= 55, "only {examples} examples and forms in {PAGE}");
    Ok(())
}

/// Everything that is found in a text: in its form, and against tables with a column of every type.
fn findings(text: &str) -> Report {
    match read(text, Subject::User) {
        Ok(document) => check(&[document], &catalog(), &Limits::default()).report,
        Err(report) => report,
    }
}

fn errors_are_shown() -> Result<(), Failed> {
    let mut all = String::new();
    for text in forms::ERRORS {
        let report = findings(text);
        if !report.has_errors() {
            return Err(format!("nothing is wrong with {text}").into());
        }
        assert!(report.findings.iter().all(|finding| finding.source.is_some()), "{text}");
        writeln!(all, "{}", shown(&report))?;
    }
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("expressions/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("errors", all));
    Ok(())
}

fn one_pass() -> Result<(), Failed> {
    let text = "contry = 'x' AND visits > 'many' AND evnts('a') > 1 AND events('a', lst => '5d') > 1 \
                AND events('a', last => '5 days', sum => 'pirce') > 1 AND country = \"US\" AND in_segment('b')";
    let report = findings(text);
    let marked: Vec<(Code, &str)> = report.findings.iter().map(|finding| (finding.code, &text[finding.span.clone()])).collect();
    let expected = [
        (Code::UnknownProperty, "contry"),
        (Code::WrongLiteral, "'many'"),
        (Code::UnknownWord, "evnts"),
        (Code::UnknownKey, "lst"),
        (Code::InvalidDuration, "'5 days'"),
        (Code::UnknownProperty, "'pirce'"),
    ];
    assert_eq!(marked[..6], expected);
    assert_eq!(marked.last(), Some(&(Code::UnknownSegment, "'b'")));
    Ok(())
}

fn hostile_texts() -> Result<(), Failed> {
    let deep = |open: &str, close: &str, levels: usize| format!("{}everyone(){}", open.repeat(levels), close.repeat(levels));
    let megabyte = |part: &str| part.repeat(1024 * 1024 / part.len());
    let cases = [
        (deep("(", ")", 100_000), Code::TooDeep),
        (deep("NOT ", "", 100_000), Code::TooDeep),
        (deep("NOT (", ")", 100), Code::TooDeep),
        (deep("at_least(1, ", ")", 10_000), Code::TooDeep),
        (deep("events(where => (", "))", 10_000), Code::TooDeep),
        (deep("a IN (", ")", 10_000), Code::TooDeep),
        (deep("[", "]", 10_000), Code::TooDeep),
        (deep("- ", "", 10_000), Code::TooDeep),
        (deep("all_of(", ")", 61), Code::TooDeep),
        (megabyte("a = 1 AND "), Code::TooLarge),
        (megabyte("a * "), Code::TooLarge),
        (megabyte("a IS TRUE OR "), Code::TooLarge),
        (megabyte("a IN (1) "), Code::Syntax),
        (megabyte("("), Code::TooDeep),
        (megabyte(")"), Code::Syntax),
        (megabyte("a."), Code::Syntax),
        (megabyte("'"), Code::WrongKind),
        (format!("{}'", megabyte("'")), Code::Syntax),
        (megabyte("\""), Code::WrongKind),
        (format!("{}\"", megabyte("\"")), Code::Syntax),
        (megabyte("/*"), Code::Syntax),
        (megabyte("/* a */ -- b\n"), Code::Syntax),
        (String::new(), Code::Syntax),
        ("\u{feff}everyone()".to_owned(), Code::Syntax),
        ("everyone() \u{0}".to_owned(), Code::Syntax),
    ];
    for (text, code) in cases {
        let start: String = text.chars().take(40).collect();
        let report = match read(&text, Subject::User) {
            Ok(document) => document.report().clone(),
            Err(report) => report,
        };
        assert_eq!(report.findings.first().map(|finding| finding.code), Some(code), "{start}");
        assert!(report.findings.iter().all(|finding| text.get(finding.span.clone()).is_some()), "{start}");
        assert!(report.findings.iter().all(|finding| finding.message.len() < 200), "{start}");
    }
    let values = vec!["'a'"; 20_000].join(", ");
    let report = findings(&format!("country IN ({values})"));
    assert_eq!(codes(&report), [Code::TooLarge], "a list that is too long is read, and refused by the limits of definitions");
    let many = vec!["visits > 1"; 1_001].join(" AND ");
    assert_eq!(codes(&findings(&many)), [Code::TooLarge]);
    assert_eq!(codes(&findings(&deep("NOT (", ")", 40))), [Code::TooDeep], "the limit of definitions, not of the parser");
    assert_eq!(codes(&findings(&deep("NOT (", ")", 30))), []);
    Ok(())
}

fn texts_never_panic() -> Result<(), Failed> {
    let soup = prop::collection::vec(prop::sample::select(forms::TOKENS), 0..30).prop_map(|tokens| tokens.join(" "));
    let broken = (definition().boxed(), prop::collection::vec((any::<prop::sample::Index>(), fragment()), 1..5))
        .prop_map(|(definition, edits)| edited(&print_expression(&definition).unwrap_or_default(), &edits))
        .boxed();
    let strategy = prop_oneof![3 => broken, 2 => soup, 1 => ".{0,60}"];
    let mut runner = TestRunner::new(Config { cases: 3_000, ..Config::default() });
    runner
        .run(&strategy, |text| {
            let (document, report) = match read(&text, Subject::User) {
                Ok(document) => (Some(document.clone()), document.report().clone()),
                Err(report) => (None, report),
            };
            prop_assert!(document.is_some() || report.has_errors());
            prop_assert!(report.findings.iter().all(|finding| text.get(finding.span.clone()).is_some()), "{:?}", report);
            shown(&report);
            if let Some(document) = document.filter(|document| !document.report().has_errors()) {
                let printed = print_expression(document.definition()).unwrap();
                let again = read(&printed, Subject::User).map_err(|report| TestCaseError::fail(shown(&report)))?;
                prop_assert_eq!(&again.definition().rule, &document.definition().rule, "{} as {}", text, printed);
                prop_assert_eq!(check(&[document], &catalog(), &Limits::default()).segments.len(), 1);
            }
            Ok(())
        })
        .map_err(|error| error.to_string())?;
    Ok(())
}

fn edited(text: &str, edits: &[(prop::sample::Index, Fragment)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (at, Fragment { inserted, removed }) in edits {
        let at = at.index(characters.len() + 1);
        let end = (at + removed).min(characters.len());
        characters.splice(at..end, inserted.chars());
    }
    characters.into_iter().collect()
}
