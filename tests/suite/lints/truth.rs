//! What is said to hold never or always does so for the reference: conditions by chance on one value, over rows that hold every value
//! that the conditions can tell apart.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use segmenta::check::{Limits, check};
use segmenta::diagnostic::{Code, Finding, Source};
use segmenta::lint::lint;
use segmenta::model::calendar::Calendar;
use segmenta::model::condition::Subject;
use segmenta::syntax::{Document, Format, parse};
use serde_json::{Value as Json, json};

use crate::differential::seed;
use crate::generator::dice::Dice;
use crate::reference;
use crate::scenario::{Scenario, all_valid};

/// Definitions of a batch, and batches.
const DEFINITIONS: usize = 300;
const BATCHES: u64 = 6;

/// What must be said at least, for the test to say anything.
const CLAIMS: usize = 600;

const AS_OF: &str = "2026-01-20T12:00:00Z";

pub(super) fn what_is_said_is_so() -> Result<(), Failed> {
    let mut claims = [0, 0];
    for batch in 0..BATCHES {
        let mut dice = Dice::new(seed(), batch);
        let mut scenario = world()?;
        scenario.segments = (0..DEFINITIONS).map(|number| definition(&mut dice, number)).collect();
        let documents: Vec<Document> = scenario.segments.iter().map(document).collect();
        let checked = check(&documents, &scenario.catalog, &Limits::default());
        let segments = all_valid(&checked)?;
        let calendar = Calendar::new(scenario.as_of, &scenario.catalog.timezone)?;
        let report = lint(&documents, &checked, &calendar, None);
        let universe = reference::universe(Subject::User, &scenario.tables, scenario.context());
        for finding in &report.findings {
            let (claim, expected) = match finding.code {
                Code::NeverHolds => (0, BTreeSet::new()),
                Code::AlwaysHolds => (1, universe.clone()),
                _ => continue,
            };
            let name = &finding.source.as_ref().ok_or("a place")?.name;
            let segment = segments.iter().find(|segment| segment.id().as_str() == name).ok_or("a segment")?;
            let nodes = reference::evaluate_nodes(segment, &segments, &scenario.tables, scenario.context());
            let node = node_of(finding);
            let members = nodes.iter().find(|(path, _)| path.to_string() == node).map(|(_, members)| members);
            if members != Some(&expected) {
                let text = &finding.source.as_ref().ok_or("a place")?.text;
                return Err(format!("{}, but {node} holds for {members:?}\n{text}", finding.message).into());
            }
            claims[claim] += 1;
        }
    }
    if claims.iter().any(|claims| *claims < CLAIMS / 10) || claims.iter().sum::<usize>() < CLAIMS {
        return Err(format!("only {claims:?} claims").into());
    }
    Ok(())
}

/// The node that a finding is about: the one where it stands, or the group around it.
fn node_of(finding: &Finding) -> String {
    let path = finding.path.clone().unwrap_or_default();
    let message = &finding.message;
    let is_of_group =
        message.ends_with("exclude each other") || message.contains("` or `") || message.contains("decides the group");
    if !is_of_group {
        return path;
    }
    let (above, _) = path.rsplit_once('/').unwrap_or_default();
    above.rsplit_once('/').map_or_else(String::new, |(group, _)| group.to_owned())
}

fn document(definition: &Json) -> Document {
    let name = definition["id"].as_str().unwrap_or_default();
    parse(&Source::new(name, definition.to_string()), Format::Json).unwrap()
}

/// What conditions compare, with operators and constants.
struct Compared {
    /// The condition without its comparison.
    condition: fn() -> Json,
    operators: &'static [&'static str],
    constants: fn() -> Vec<Json>,
    /// Whether case may be ignored.
    text: bool,
}

const NUMERIC: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "between", "not_between", "in", "not_in", "is_set", "is_not_set"];
const MEASURED: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "between", "not_between", "in", "not_in"];
const TEXTUAL: &[&str] =
    &["eq", "neq", "contains", "does_not_contain", "starts_with", "ends_with", "matches", "in", "not_in", "is_set", "is_not_set"];
const DATED: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "is_set", "is_not_set"];

fn numbers() -> Vec<Json> {
    vec![json!(0), json!(0.1), json!("0.10000000000000000001"), json!(0.5), json!(1), json!(2), json!(3)]
}

fn attribute(property: &Json) -> Json {
    json!({"type": "user_attribute", "property": property})
}

fn measure(measure: &Json) -> Json {
    json!({"type": "event", "event_type": "a", "measure": measure})
}

const COMPARED: [Compared; 16] = [
    Compared { condition: || attribute(&json!("i")), operators: NUMERIC, constants: numbers, text: false },
    Compared { condition: || attribute(&json!("f")), operators: NUMERIC, constants: numbers, text: false },
    Compared { condition: || attribute(&json!("d")), operators: NUMERIC, constants: numbers, text: false },
    Compared {
        condition: || json!({"type": "user_attribute", "property": "j.n", "value_type": "number"}),
        operators: NUMERIC,
        constants: numbers,
        text: false,
    },
    Compared {
        condition: || attribute(&json!("t")),
        operators: TEXTUAL,
        constants: || ["a", "A", "ab", "b", "ss", "ß"].map(Json::from).to_vec(),
        text: true,
    },
    Compared {
        condition: || attribute(&json!("b")),
        operators: &["is_true", "is_false", "is_set", "is_not_set"],
        constants: Vec::new,
        text: false,
    },
    Compared {
        condition: || attribute(&json!("b")),
        operators: &["eq", "neq"],
        constants: || vec![json!(true), json!(false)],
        text: false,
    },
    Compared {
        condition: || attribute(&json!("at")),
        operators: DATED,
        constants: || ["2026-01-01", "2026-01-10", "2026-01-01T12:00:00Z"].map(Json::from).to_vec(),
        text: false,
    },
    Compared {
        condition: || attribute(&json!("at")),
        operators: DATED,
        constants: || ["-7d", "-10d", "today", "today-7d", "now@month"].map(Json::from).to_vec(),
        text: false,
    },
    Compared {
        condition: || attribute(&json!("tags")),
        operators: &["contains", "does_not_contain", "contains_any", "contains_all", "is_set", "is_not_set"],
        constants: || ["a", "b", "A"].map(Json::from).to_vec(),
        text: true,
    },
    Compared {
        condition: || attribute(&json!({"weekday": "at"})),
        operators: NUMERIC,
        constants: || [0, 1, 3, 7, 8].map(Json::from).to_vec(),
        text: false,
    },
    Compared {
        condition: || attribute(&json!({"hour": "at"})),
        operators: NUMERIC,
        constants: || [0, 1, 12, 23, 24].map(Json::from).to_vec(),
        text: false,
    },
    Compared { condition: || measure(&json!("count")), operators: MEASURED, constants: numbers, text: false },
    Compared { condition: || measure(&json!("active_days")), operators: MEASURED, constants: numbers, text: false },
    Compared { condition: || measure(&json!({"sum": "x"})), operators: MEASURED, constants: numbers, text: false },
    Compared { condition: || measure(&json!({"min": "x"})), operators: MEASURED, constants: numbers, text: false },
];

fn definition(dice: &mut Dice, number: usize) -> Json {
    let compared = dice.pick(&COMPARED);
    let (logic, conditions) = (logic(dice), (0..2 + dice.below(2)).map(|_| tree(dice, compared, 2)).collect::<Vec<_>>());
    json!({"id": format!("s{number}"), "logic": logic, "conditions": conditions})
}

fn logic(dice: &mut Dice) -> &'static str {
    dice.pick_owned(&["and", "or"])
}

fn tree(dice: &mut Dice, compared: &Compared, depth: usize) -> Json {
    let several = |dice: &mut Dice| (0..2 + dice.below(2)).map(|_| tree(dice, compared, depth - 1)).collect::<Vec<_>>();
    match dice.below(if depth == 0 { 6 } else { 10 }) {
        0..6 => leaf(dice, compared),
        6 => json!({"logic": logic(dice), "conditions": several(dice)}),
        7 => json!({"not": tree(dice, compared, depth - 1)}),
        8 => {
            let of = several(dice);
            json!({"at_least": 1 + dice.below(of.len()), "of": of})
        }
        _ => json!({"type": "everyone"}),
    }
}

fn leaf(dice: &mut Dice, compared: &Compared) -> Json {
    let (mut condition, constants) = ((compared.condition)(), (compared.constants)());
    let operator = dice.pick_owned(compared.operators);
    condition["operator"] = json!(operator);
    match operator {
        "is_set" | "is_not_set" | "is_true" | "is_false" => {}
        "between" | "not_between" => {
            let low = dice.below(constants.len());
            condition["value"] = constants[low].clone();
            condition["value2"] = constants[low + dice.below(constants.len() - low)].clone();
        }
        "in" | "not_in" | "contains_any" | "contains_all" => {
            condition["value"] = (0..1 + dice.below(3)).map(|_| dice.pick_owned(&constants)).collect();
        }
        _ => condition["value"] = dice.pick_owned(&constants),
    }
    if compared.text && dice.chance(30) && !operator.starts_with("is_") {
        condition["ignore_case"] = json!(true);
    }
    condition
}

/// A user for every value of every column, each without the others, and users with events.
fn world() -> Result<Scenario, String> {
    let columns = json!({"user_id": "text", "i": "integer", "f": "float", "d": {"decimal": {"precision": 38, "scale": 22}}, "j": "json",
        "t": "text", "b": "boolean", "at": "timestamp", "tags": {"list": "text"}});
    let numbers = ["-1", "0", "0.05", "0.1", "0.10000000000000000001", "0.3", "0.5", "0.7", "1", "1.5", "2", "2.5", "3", "4"];
    let mut values: Vec<(&str, Json)> = (-1..=4).map(|value| ("i", json!(value))).collect();
    values.extend(numbers.map(|number| ("f", json!(number))));
    values.extend(["NaN", "inf"].map(|number| ("f", json!(number))));
    values.extend(numbers.map(|number| ("d", json!(number))));
    values.extend(numbers.map(|number| ("j", json!(format!("{{\"n\": {number}}}")))));
    values.extend(["\"1\"", "\"x\"", "null", "true"].map(|value| ("j", json!(format!("{{\"n\": {value}}}")))));
    values
        .extend(["", "a", "A", "ab", "AB", "aB", "b", "B", "ba", "bab", "ss", "SS", "ß", "xa", "x"].map(|text| ("t", json!(text))));
    values.extend([true, false].map(|value| ("b", json!(value))));
    values.extend(
        [
            json!([]),
            json!([null]),
            json!(["a"]),
            json!(["A"]),
            json!(["b"]),
            json!(["a", "b"]),
            json!(["a", "A", "b"]),
            json!(["x"]),
        ]
        .map(|tags| ("tags", tags)),
    );
    for day in 1..=31 {
        values.extend(
            ["00:00:00", "01:30:00", "12:00:00", "12:00:00.000001", "23:59:59.999999"]
                .map(|time| ("at", json!(format!("2026-01-{day:02}T{time}Z")))),
        );
    }
    values.extend(["2020-05-05T05:05:05Z", "2030-06-06T06:06:06Z"].map(|at| ("at", json!(at))));
    let mut users = vec![json!({"user_id": "none"})];
    users.extend(
        values.into_iter().enumerate().map(|(number, (column, value))| json!({"user_id": format!("u{number}"), column: value})),
    );
    let mut events = Vec::new();
    for (number, amount) in numbers.iter().enumerate() {
        events.push(json!({"user_id": format!("e{number}"), "type": "a", "x": amount, "at": "2026-01-02T00:00:00Z"}));
    }
    for count in 1..=4 {
        let days = (1..=count).map(
            |day| json!({"user_id": format!("c{count}"), "type": "a", "x": null, "at": format!("2026-01-{day:02}T10:00:00Z")}),
        );
        events.extend(days);
    }
    users.extend((0..numbers.len()).map(|number| json!({"user_id": format!("e{number}")})));
    users.extend((1..=4).map(|count| json!({"user_id": format!("c{count}")})));
    let world = json!({"what": "values of every kind", "timezone": "UTC", "as_of": AS_OF, "segments": [],
        "users": {"columns": columns, "key": "user_id", "rows": users},
        "events": {"columns": {"user_id": "text", "type": "text", "x": "float", "at": "timestamp"}, "user_key": "user_id",
            "event_type": "type", "timestamp": "at", "rows": events}});
    Scenario::parse(&world.to_string())
}
