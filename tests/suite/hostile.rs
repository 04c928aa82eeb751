//! Texts that mean something to SQL, to JSON or to patterns, in every place where an author can write one: the members are right, and the
//! data is as it was.

use libtest_mimic::{Failed, Trial};
use segmenta::clickhouse::{Connection, Statement};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::clickhouse::{Server, trial};
use crate::differential::complaint_of;
use crate::evaluators::Evaluator;
use crate::scenario::Scenario;

/// What may stand in a text.
const CORPUS: &[&str] = &[
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    "\\\\'; --",
    "'; DROP TABLE t_users; --",
    "') OR 1=1 --",
    "' OR '1'='1",
    "\" OR \"\"=\"",
    "`; DROP DATABASE default; --",
    "{p1:String}",
    "{p1}",
    "{",
    "}",
    "}{0}{1}{",
    "$1",
    "${HOME}",
    "?",
    "??",
    "%",
    "_",
    "*",
    "%' ESCAPE '\\",
    "/* */",
    "-- ",
    "#",
    ";",
    "\t",
    "\n",
    "\r\n",
    "\u{0}",
    "a\u{0}b",
    "\u{1b}[31m",
    "\\N",
    "\\x27",
    "\\u0027",
    "\\0",
    "NULL",
    "null",
    "nan",
    "inf",
    "0x10",
    "1e400",
    "[]",
    "['a']",
    "('a')",
    "[1, 2",
    "{\"a\": 1}",
    "<script>",
    "&amp;",
    "a=b&c=d",
    "%27",
    "%00",
    "é",
    "ÄÖß",
    "ΟΔΥΣΣΕΥΣ",
    "İ",
    "\u{fe0f}",
    "\u{200b}",
    "\u{202e}abc",
    "💎",
    "\u{10ffff}",
    "\u{feff}",
    ".*",
    "(?i)",
    "[a-z]",
    "a|b",
    "\\Q",
    "system.tables",
    "toUInt8(1)",
    "x' UNION ALL SELECT 1 --",
];

pub(crate) fn trials() -> Vec<Trial> {
    let of = |evaluator: Evaluator| {
        let name = format!("hostile::texts_of_authors_are_values::{}", evaluator.name());
        evaluator.trial(name, move || CORPUS.chunks(12).try_for_each(|texts| values(texts, evaluator)))
    };
    let names = |evaluator: Evaluator| {
        let name = format!("hostile::names_of_columns_are_quoted::{}", evaluator.name());
        evaluator.trial(name, move || columns(evaluator))
    };
    let long = trial("hostile::long_statements_bind_texts_too", long_statements);
    let both = [Evaluator::DataFusion, Evaluator::ClickHouse].into_iter().flat_map(|evaluator| [of(evaluator), names(evaluator)]);
    both.chain([long]).collect()
}

/// What is too long for one field of a form says and means what a short statement does.
fn long_statements(server: &'static Server) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connection = Connection::new(server.settings().clone(), Uuid::nil());
    for length in [0, 1_000_000] {
        let space = " ".repeat(length);
        let statement = Statement::new(format!("SELECT {{text:String}},{space} {{list:Array(String)}}, {{number:UInt8}}"));
        for text in CORPUS {
            let statement = statement.clone().text("text", *text).texts("list", [*text, "", text]).number("number", "UInt8", 7);
            let row = runtime.block_on(connection.row::<(String, Vec<String>, u8)>(statement))?;
            let expected = ((*text).to_owned(), [*text, "", *text].map(str::to_owned).to_vec(), 7);
            if row != expected {
                return Err(format!("{row:?} came back for {expected:?} in a statement of {length} bytes").into());
            }
        }
        let wrong = runtime.block_on(connection.execute(Statement::new(format!("SELECT{space} no_such_column"))));
        let code = wrong.err().and_then(|error| error.code());
        if code != Some(47) {
            return Err(format!("the error of a statement of {length} bytes is {code:?}").into());
        }
    }
    Ok(())
}

/// Every text as a value, a part of one, an element, a key, a type of events, a salt.
fn values(texts: &[&str], evaluator: Evaluator) -> Result<(), Failed> {
    let mut users = vec![json!({"user_id": "plain", "name": "plain", "tags": ["plain"], "props": "{\"plain\": 1}"})];
    let mut events = Vec::new();
    let mut segments = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let around = format!("<{text}>");
        let props = json!({"key": text, *text: 7, "list": [text]}).to_string();
        users.push(json!({"user_id": text, "name": text, "tags": [text, "x"], "labels": {*text: "there"}, "props": props}));
        users.push(json!({"user_id": format!("around {number}"), "name": around, "tags": [around], "props": "{}"}));
        events.push(
            json!({"event_id": text, "user_id": text, "event_type": text, "timestamp": "2026-05-01T00:00:00Z", "note": text}),
        );
        let path = |of: &str| format!("{of}[\"{}\"]", text.replace('\\', "\\\\").replace('"', "\\\""));
        let attribute = |property: &str, operator: &str, value: Json| {
            let mut leaf = json!({"type": "user_attribute", "property": property, "operator": operator, "value": value});
            if property == "tags" || property == "props.list" {
                leaf["value_type"] = json!("array");
            }
            leaf
        };
        let pattern: String = text.chars().map(|char| format!("\\x{{{:x}}}", u32::from(char))).collect();
        let literal_type = text.replace('\\', "\\\\").replace('*', "\\*");
        let is_plain_type = !text.contains(['\\', '*']);
        let mut conditions = vec![
            attribute("name", "eq", json!(text)),
            attribute("name", "neq", json!(text)),
            attribute("name", "in", json!([text, "other"])),
            attribute("name", "contains", json!(text)),
            attribute("name", "does_not_contain", json!(text)),
            attribute("name", "starts_with", json!(text)),
            attribute("name", "ends_with", json!(text)),
            attribute("name", "matches", json!(pattern)),
            attribute("tags", "contains", json!(text)),
            attribute("tags", "contains_any", json!([text, "nobody"])),
            attribute("tags", "contains_all", json!([text, "x"])),
            attribute("props.key", "eq", json!(text)),
            attribute("props.list", "contains", json!(text)),
            json!({"type": "user_attribute", "property": path("props"), "operator": "eq", "value": 7, "value_type": "number"}),
            json!({"type": "user_attribute", "property": path("labels"), "operator": "is_set"}),
            json!({"type": "user_attribute", "property": "name", "operator": "eq", "value": text, "ignore_case": true}),
            json!({"type": "sample", "percent": 50, "salt": text}),
            json!({"type": "event", "where": [{"property": "note", "operator": "eq", "value": text}]}),
            json!({"type": "event", "measure": {"last": "note"}, "operator": "contains", "value": text}),
        ];
        if is_plain_type && !text.is_empty() {
            conditions.push(json!({"type": "event", "event_type": [literal_type]}));
        }
        for (kind, condition) in conditions.into_iter().enumerate() {
            segments.push(json!({"id": format!("s{number}-{kind}"), "name": format!("{number} {kind} {text}"), "logic": "and", "conditions": [condition]}));
        }
    }
    let columns = json!({"user_id": "text", "name": "text", "tags": {"list": "text"}, "labels": {"map": "text"}, "props": "json"});
    check(&columns, &users, &events, &segments, evaluator)
}

/// Columns and fields with such names.
fn columns(evaluator: Evaluator) -> Result<(), Failed> {
    let names = [
        "`",
        "a`; DROP TABLE t_users; --",
        "\\",
        "a'b",
        "a\"b",
        "e",
        "t",
        "x",
        "acc",
        "id",
        "found",
        "value 0",
        "feature 0",
        "{0}",
        "é",
        "a b",
        "SELECT",
    ];
    let mut columns = json!({"user_id": "text", "nested": {"struct": names.map(|name| json!([name, "integer"]))}});
    let mut row = json!({"user_id": "u1", "nested": {}});
    let mut segments = Vec::new();
    for (number, name) in names.iter().enumerate() {
        columns[name] = json!("integer");
        row[name] = json!(number);
        row["nested"][name] = json!(number);
        let quoted = format!("[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\""));
        for (kind, property) in [quoted.clone(), format!("nested{quoted}")].into_iter().enumerate() {
            let leaf = json!({"type": "user_attribute", "property": property, "operator": "eq", "value": number});
            segments.push(json!({"id": format!("c{number}-{kind}"), "logic": "and", "conditions": [leaf]}));
        }
    }
    check(&columns, &[row], &[], &segments, evaluator)
}

fn check(columns: &Json, users: &[Json], events: &[Json], segments: &[Json], evaluator: Evaluator) -> Result<(), Failed> {
    let file = json!({
        "what": "hostile texts",
        "timezone": "UTC",
        "as_of": "2026-06-01T12:00:00Z",
        "users": {"columns": columns, "key": "user_id", "rows": users},
        "events": {
            "columns": {"event_id": "text", "user_id": "text", "event_type": "text", "timestamp": "timestamp", "note": "text"},
            "user_key": "user_id", "event_type": "event_type", "timestamp": "timestamp", "event_id": "event_id", "rows": events,
        },
        "segments": segments,
    });
    let scenario = Scenario::parse(&file.to_string())?;
    match complaint_of(&scenario, evaluator)? {
        None => Ok(()),
        Some(complaint) => Err(complaint.into()),
    }
}
