//! `groups`: what its documents mean, and documents by chance.

use std::collections::{BTreeMap, BTreeSet};

use segmenta::syntax::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::Form;
use super::meaning::{self, entries, numbers_compare};
use super::world::{Row, World};
use crate::generator::dice::Dice;

pub(crate) const FORM: Form = Form { dialect: Dialect::Groups, write, members, scores: None, shows };

/// A field of the form, the column behind it, what it holds, and the data types that are said of it (or none).
struct Field {
    name: &'static str,
    path: &'static [&'static str],
    holds: Holds,
    said: &'static [Option<&'static str>],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    Number,
    Boolean,
    Date,
    List,
    Json,
}

const FIELDS: [Field; 17] = [
    Field { name: "email", path: &["email"], holds: Holds::Text, said: &[None, Some("string")] },
    Field { name: "status", path: &["status"], holds: Holds::Text, said: &[None, Some("string")] },
    Field { name: "firstName", path: &["first_name"], holds: Holds::Text, said: &[None, Some("string")] },
    Field { name: "first_name", path: &["first_name"], holds: Holds::Text, said: &[Some("string")] },
    Field { name: "age", path: &["age"], holds: Holds::Number, said: &[None, Some("number"), Some("string")] },
    Field { name: "score", path: &["score"], holds: Holds::Number, said: &[None, Some("number")] },
    Field { name: "loginCount", path: &["loginCount"], holds: Holds::Number, said: &[None, Some("number")] },
    Field { name: "optedIn", path: &["opted_in"], holds: Holds::Boolean, said: &[None, Some("boolean")] },
    Field { name: "tags", path: &["tags"], holds: Holds::List, said: &[None] },
    Field { name: "createdAt", path: &["created_at"], holds: Holds::Date, said: &[None, Some("date"), Some("relative_date")] },
    Field { name: "lastEmailOpenedAt", path: &["last_email_opened_at"], holds: Holds::Date, said: &[Some("relative_date")] },
    Field { name: "lastActiveAt", path: &["last_active_at"], holds: Holds::Text, said: &[Some("relative_date"), Some("date")] },
    Field { name: "birthDay", path: &["birth_day"], holds: Holds::Date, said: &[Some("date")] },
    Field { name: "attributes.tier", path: &["attributes", "tier"], holds: Holds::Json, said: &[None, Some("string")] },
    Field {
        name: "attributes.lifetime_value",
        path: &["attributes", "lifetime_value"],
        holds: Holds::Json,
        said: &[Some("number")],
    },
    Field { name: "attributes.flag", path: &["attributes", "flag"], holds: Holds::Json, said: &[Some("boolean"), None] },
    Field { name: "attributes.list", path: &["attributes", "list"], holds: Holds::Json, said: &[None] },
];

fn shows() -> Vec<String> {
    let operators = [
        "equals",
        "not_equals",
        "contains",
        "not_contains",
        "starts_with",
        "ends_with",
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "not_in",
        "is_set",
        "is_not_set",
        "is_null",
        "is_not_null",
        "between",
    ];
    let types = ["string", "number", "boolean", "date", "relative_date"];
    let forms = ["\"rulesOperator\":\"OR\"", "\"rulesOperator\":\"AND\"", "\"groups\":[", "\"rules\":{", "\"groupIndex\":null"];
    let operators = operators.map(|word| format!("\"operator\":\"{word}\""));
    let types = types.map(|word| format!("\"dataType\":\"{word}\""));
    let fields = FIELDS.map(|field| format!("\"field\":\"{}\"", field.name));
    operators.into_iter().chain(types).chain(forms.map(str::to_owned)).chain(fields).collect()
}

fn write(dice: &mut Dice, _: &World, index: usize) -> Json {
    let mut document = match dice.below(5) {
        0..3 => {
            let mut rules: Vec<Json> =
                (0..1 + dice.below(5)).map(|_| if dice.chance(10) { nested(dice, 1) } else { rule(dice) }).collect();
            for rule in &mut rules {
                match dice.below(8) {
                    0 => {}
                    1 => rule["groupIndex"] = Json::Null,
                    _ => rule["groupIndex"] = json!(dice.below(3)),
                }
            }
            json!({"rulesOperator": *dice.pick(&["AND", "OR"]), "rules": rules})
        }
        3 => json!({"rules": nested(dice, 2)}),
        _ => nested(dice, 2),
    };
    match dice.below(3) {
        0 => {}
        1 => document["name"] = json!(format!("S{index}")),
        _ => {
            document["id"] = json!(format!("s{index}"));
            document["type"] = json!("dynamic");
            document["computedCount"] = json!(7);
        }
    }
    document
}

fn nested(dice: &mut Dice, depth: usize) -> Json {
    let logic = *dice.pick(&["AND", "OR", "and", "or"]);
    let count = 1 + dice.below(3);
    if depth > 0 && dice.chance(60) {
        let groups: Vec<Json> = (0..count).map(|_| nested(dice, depth - 1)).collect();
        return json!({"logic": logic, "groups": groups});
    }
    let rules: Vec<Json> = (0..count).map(|_| rule(dice)).collect();
    json!({"logic": logic, "rules": rules})
}

/// What a rule reads its field as.
fn read_as(field: &Field, said: Option<&str>) -> Holds {
    match said {
        None => field.holds,
        Some("string") => Holds::Text,
        Some("number") => Holds::Number,
        Some("boolean") => Holds::Boolean,
        Some(_) => Holds::Date,
    }
}

fn rule(dice: &mut Dice) -> Json {
    let field = dice.pick(&FIELDS);
    let said = *dice.pick(field.said);
    let mut rule = json!({"field": field.name});
    if let Some(said) = said {
        rule["dataType"] = json!(said);
    }
    let holds = read_as(field, said);
    let literals: Vec<Json> = match holds {
        Holds::Text | Holds::List => {
            ["active", "gold", "o", "Johanna", "vip", "beta", "ada@example.com", "34", "A"].map(|text| json!(text)).into()
        }
        Holds::Number => vec![json!(0), json!(0.5), json!(10000), json!("10000"), json!(34), json!(25000.5), json!(1)],
        Holds::Boolean => vec![json!(true), json!(false), json!("true")],
        Holds::Date if said == Some("relative_date") => {
            ["-30d", "-7d", "-2w", "-1m", "-1y", "today", "yesterday", "today-14d", "tomorrow"].map(|text| json!(text)).into()
        }
        Holds::Date => ["2026-01-15", "2025-12-31", "2026-03-01", "2026-01-01T00:00:00Z"].map(|text| json!(text)).into(),
        // Without a data type the literal says what it is read as.
        Holds::Json => match field.name {
            "attributes.tier" => vec![json!("gold"), json!("silver"), json!("ol")],
            "attributes.flag" => vec![json!(true), json!(false)],
            _ => vec![json!("a")],
        },
    };
    let null = ["is_null", "is_not_null"];
    let operators: Vec<&str> = match holds {
        Holds::Text => {
            [&["equals", "not_equals", "contains", "not_contains", "starts_with", "ends_with", "in", "not_in"][..], &null].concat()
        }
        Holds::Number => [&["equals", "not_equals", "gt", "gte", "lt", "lte", "between", "in", "not_in"][..], &null].concat(),
        Holds::Boolean => [&["equals", "not_equals", "in", "not_in"][..], &null].concat(),
        Holds::Date => [&["equals", "not_equals", "gt", "gte", "lt", "lte", "between", "in", "not_in"][..], &null].concat(),
        Holds::List => vec!["contains", "not_contains"],
        Holds::Json => match field.name {
            "attributes.tier" => vec!["equals", "contains", "not_equals", "in"],
            "attributes.flag" => vec!["equals", "not_equals"],
            _ => vec!["equals", "not_equals"],
        },
    };
    let operator = if dice.chance(20) { *dice.pick(&["is_set", "is_not_set"]) } else { *dice.pick(&operators) };
    rule["operator"] = json!(operator);
    match operator {
        "is_set" | "is_not_set" | "is_null" | "is_not_null" => {
            if dice.chance(40) {
                rule["value"] = dice.pick_owned(&[Json::Null, json!("")]);
            }
        }
        "in" | "not_in" => rule["value"] = json!([dice.pick_owned(&literals), dice.pick_owned(&literals)]),
        "between" if holds == Holds::Number => rule["value"] = json!([*dice.pick(&[0, 1, 10]), *dice.pick(&[34, 10000, 12000])]),
        "between" if said == Some("relative_date") => {
            rule["value"] = json!([*dice.pick(&["-1y", "-30d"]), *dice.pick(&["-7d", "today"])])
        }
        "between" => rule["value"] = json!([*dice.pick(&["2000-02-29", "2025-12-31"]), *dice.pick(&["2026-01-15", "2026-03-01"])]),
        _ => rule["value"] = dice.pick_owned(&literals),
    }
    rule
}

fn members(document: &Json, world: &World, _: &[BTreeSet<String>]) -> BTreeSet<String> {
    world.users_for(|user| holds(document, world, user))
}

fn holds(node: &Json, world: &World, user: &Row) -> bool {
    if node.get("field").is_some() {
        return rule_holds(node, world, user);
    }
    if let Some(logic) = node.get("logic") {
        let inner = node.get("groups").or_else(|| node.get("rules")).expect("a nested form");
        let mut all = entries(inner).iter().map(|inner| holds(inner, world, user));
        return if logic.as_str().expect("a word").eq_ignore_ascii_case("and") { all.all(|it| it) } else { all.any(|it| it) };
    }
    let rules = &node["rules"];
    if rules.is_object() {
        return holds(rules, world, user);
    }
    let mut groups: BTreeMap<String, bool> = BTreeMap::new();
    for (position, rule) in entries(rules).iter().enumerate() {
        let group = match rule.get("groupIndex").and_then(Json::as_i64) {
            Some(index) => format!("group {index}"),
            None => format!("alone {position}"),
        };
        *groups.entry(group).or_insert(true) &= holds(rule, world, user);
    }
    if node["rulesOperator"] == "AND" { groups.values().all(|it| *it) } else { groups.values().any(|it| *it) }
}

fn rule_holds(rule: &Json, world: &World, user: &Row) -> bool {
    let field = FIELDS.iter().find(|field| rule["field"] == field.name).expect("a field");
    let reads = read_as(field, rule.get("dataType").and_then(Json::as_str));
    let stored = meaning::value(user, field.path);
    let operator = rule["operator"].as_str().expect("an operator");
    let positive = match operator {
        "not_equals" => "equals",
        "not_contains" => "contains",
        "not_in" => "in",
        "is_not_set" => "is_set",
        "is_null" => "is_not_null",
        other => other,
    };
    positive_holds(positive, &rule["value"], stored, reads, world) == (positive == operator)
}

fn positive_holds(operator: &str, wanted: &Json, stored: Option<Json>, reads: Holds, world: &World) -> bool {
    let Some(stored) = stored else { return false };
    if operator == "in" {
        return entries(wanted).iter().any(|wanted| positive_holds("equals", wanted, Some(stored.clone()), reads, world));
    }
    match reads {
        Holds::Text => {
            let Some(value) = meaning::text(&stored) else { return false };
            text_holds(operator, wanted, &value)
        }
        Holds::Number => {
            let Some(value) = meaning::number(&stored) else { return false };
            let literal = |wanted: &Json| meaning::number(wanted).expect("a number");
            match operator {
                "is_set" | "is_not_null" => true,
                "between" => {
                    numbers_compare(value, "gte", literal(&wanted[0])) && numbers_compare(value, "lte", literal(&wanted[1]))
                }
                "equals" => numbers_compare(value, "eq", literal(wanted)),
                comparison => numbers_compare(value, comparison, literal(wanted)),
            }
        }
        Holds::Boolean => {
            let Some(value) = meaning::boolean(&stored) else { return false };
            operator != "equals" || Some(value) == meaning::boolean(wanted)
        }
        Holds::Date => {
            let Some(at) = world.clock.at(&stored) else { return false };
            let named = |wanted: &Json| world.clock.named(wanted.as_str().expect("a date"));
            match operator {
                "is_set" | "is_not_null" => true,
                "between" => named(&wanted[0]).compares(at, "gte") && named(&wanted[1]).compares(at, "lte"),
                "equals" => named(wanted).compares(at, "eq"),
                comparison => named(wanted).compares(at, comparison),
            }
        }
        Holds::List => match operator {
            "is_set" => !entries(&stored).is_empty(),
            _ => entries(&stored).contains(wanted),
        },
        Holds::Json => match (operator, wanted) {
            ("is_set", _) => stored != json!("") && stored != json!([]),
            (_, Json::Bool(wanted)) => meaning::boolean(&stored) == Some(*wanted),
            _ => meaning::text(&stored).is_some_and(|value| text_holds(operator, wanted, &value)),
        },
    }
}

fn text_holds(operator: &str, wanted: &Json, value: &str) -> bool {
    let literal = || meaning::text(wanted).expect("a text");
    match operator {
        "is_set" => !value.is_empty(),
        "is_not_null" => true,
        "equals" => value == literal(),
        "contains" => value.contains(&literal()),
        "starts_with" => value.starts_with(&literal()),
        "ends_with" => value.ends_with(&literal()),
        other => panic!("no operator {other} of texts"),
    }
}
