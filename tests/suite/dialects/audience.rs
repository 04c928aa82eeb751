//! `audience`: what its documents mean, and documents by chance.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use segmenta::syntax::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::Form;
use super::meaning::{self, entries, numbers_compare};
use super::world::{Row, World};
use crate::generator::dice::Dice;

pub(crate) const FORM: Form = Form { dialect: Dialect::Audience, write, members, scores: None, shows };

const COMPARISONS: [&str; 6] = ["eq", "neq", "gt", "gte", "lt", "lte"];

fn shows() -> Vec<String> {
    let types = ["demographics", "location", "role", "account-tenure", "last-active", "behavior", "feature-usage"];
    let operators = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "contains", "within-days", "used-within"];
    let types = types.map(|word| format!("\"type\":\"{word}\""));
    let operators = operators.map(|word| format!("\"op\":\"{word}\""));
    let others = ["\"compose\":{\"and\":", "\"compose\":{\"or\":", "\"not\":", "\"ref\":", "\"cache\":", "\"cache-config\":"];
    types.into_iter().chain(operators).chain(others.map(str::to_owned)).collect()
}

fn write(dice: &mut Dice, _: &World, index: usize) -> Json {
    let mut document = json!({"label": format!("Segment {index}")});
    if dice.chance(70) {
        document["id"] = json!(format!("s{index}"));
    } else {
        document["label"] = json!(format!("S{index}"));
    }
    let composes = index > 4 && dice.chance(40);
    if !composes || dice.chance(50) {
        let filters: Vec<Json> = (0..1 + dice.below(2)).map(|_| filter(dice)).collect();
        document["filters"] = json!(filters);
    } else if dice.chance(50) {
        document["filters"] = json!([]);
    }
    if composes {
        document["compose"] = composition(dice, index, 2);
    }
    match dice.below(4) {
        0 => document["cache"] = json!({"ttl-minutes": 60}),
        1 => document["cache-config"] = json!({"ttl-minutes": 5, "refresh-schedule": "0 6 * * *"}),
        _ => {}
    }
    document
}

fn composition(dice: &mut Dice, index: usize, depth: usize) -> Json {
    if depth == 0 || dice.chance(20) {
        return json!({"ref": format!("s{}", dice.below(index))});
    }
    let many = |dice: &mut Dice| (0..1 + dice.below(3)).map(|_| composition(dice, index, depth - 1)).collect::<Vec<_>>();
    match dice.below(3) {
        0 => json!({"and": many(dice)}),
        1 => json!({"or": many(dice)}),
        _ => json!({"not": composition(dice, index, depth - 1)}),
    }
}

fn filter(dice: &mut Dice) -> Json {
    let of = |filter: &str, field: &str, op: &str, value: Json| json!({"type": filter, "field": field, "op": op, "value": value});
    let days = [0, 1, 7, 14, 30, 90];
    match dice.below(9) {
        0 => {
            let age = *dice.pick(&[17, 34, 51]);
            of(dice.pick_owned(&["demographics", "behavior"]), "age", dice.pick_owned(&COMPARISONS), json!(age))
        }
        1 => match dice.below(3) {
            0 => of("role", "plan", "in", json!(["free", *dice.pick(&["pro", "team"])])),
            1 => of("role", "plan", "contains", json!(*dice.pick(&["pre", "P", "r"]))),
            _ => of("role", "subscription-status", dice.pick_owned(&["eq", "neq"]), json!(*dice.pick(&["active", "past_due"]))),
        },
        2 => of("location", "country", dice.pick_owned(&["eq", "neq"]), json!(*dice.pick(&["US", "DE"]))),
        3 | 4 => {
            let op = if dice.chance(10) { "in" } else { *dice.pick(&COMPARISONS) };
            let value = if op == "in" { json!([*dice.pick(&days), *dice.pick(&days)]) } else { json!(*dice.pick(&days)) };
            json!({"type": "account-tenure", "op": op, "value": value})
        }
        5 => json!({"type": "last-active", "op": "within-days", "value": *dice.pick(&days)}),
        6 => {
            let day = *dice.pick(&["2026-01-15", "today", "-7d"]);
            json!({"type": "last-active", "op": *dice.pick(&COMPARISONS), "value": day})
        }
        7 => of("feature-usage", "export-pdf", "used-within", json!(*dice.pick(&days))),
        _ => of("feature-usage", "report-count", dice.pick_owned(&COMPARISONS), json!(*dice.pick(&[0, 3, 5, 7]))),
    }
}

fn members(document: &Json, world: &World, before: &[BTreeSet<String>]) -> BTreeSet<String> {
    world.users_for(|user| {
        let filters = document.get("filters").map_or(&[][..], |filters| entries(filters));
        filters.iter().all(|filter| filter_holds(filter, world, user))
            && document.get("compose").is_none_or(|node| composition_holds(node, user, before))
    })
}

fn composition_holds(node: &Json, user: &Row, before: &[BTreeSet<String>]) -> bool {
    let (key, inner) = node.as_object().and_then(|node| node.iter().next()).expect("a composition");
    match key.as_str() {
        "and" => entries(inner).iter().all(|node| composition_holds(node, user, before)),
        "or" => entries(inner).iter().any(|node| composition_holds(node, user, before)),
        "not" => !composition_holds(inner, user, before),
        _ => {
            let number: usize = inner.as_str().and_then(|id| id.strip_prefix('s')).expect("an id").parse().expect("a number");
            before[number].contains(user["user_id"].as_str().expect("an id"))
        }
    }
}

fn filter_holds(filter: &Json, world: &World, user: &Row) -> bool {
    let (op, wanted) = (filter["op"].as_str().expect("an operator"), &filter["value"]);
    let field = filter.get("field").and_then(Json::as_str);
    let value = match (filter["type"].as_str().expect("a type"), field) {
        ("account-tenure", _) => {
            let created = meaning::value(user, &["created_at"]).and_then(|value| world.clock.at(&value));
            // A local midnight for each local day from the one to the other.
            let days = created.map(|at| (world.clock.today() - world.clock.local(at).date()).num_days());
            let equals = |wanted: &Json| days == wanted.as_i64();
            return match op {
                "in" => days.is_some() && entries(wanted).iter().any(equals),
                "eq" => equals(wanted),
                "neq" => !equals(wanted),
                _ => days.is_some_and(|days| {
                    let wanted = wanted.as_i64().expect("a number");
                    match op {
                        "gt" => days > wanted,
                        "gte" => days >= wanted,
                        "lt" => days < wanted,
                        _ => days <= wanted,
                    }
                }),
            };
        }
        ("last-active", _) => {
            let at = meaning::value(user, &["last_active_at"]).and_then(|value| world.clock.at(&value));
            return match op {
                "within-days" => within(at, wanted, world),
                "neq" => !at.is_some_and(|at| world.clock.named(wanted.as_str().expect("a date")).compares(at, "eq")),
                _ => at.is_some_and(|at| world.clock.named(wanted.as_str().expect("a date")).compares(at, op)),
            };
        }
        ("feature-usage", Some("export-pdf")) => {
            let at = meaning::value(user, &["feature_usage", "export_pdf"]).and_then(|value| world.clock.at(&value));
            return within(at, wanted, world);
        }
        ("feature-usage", _) => meaning::value(user, &["feature_usage", "report_count"]),
        (_, Some("subscription-status")) => meaning::value(user, &["subscription_status"]),
        (_, field) => meaning::value(user, &[field.expect("a field")]),
    };
    let equals = |wanted: &Json| match wanted {
        Json::String(wanted) => value.as_ref().and_then(meaning::text).as_ref() == Some(wanted),
        _ => value.as_ref().and_then(meaning::number) == meaning::number(wanted),
    };
    match op {
        "eq" => equals(wanted),
        "neq" => !equals(wanted),
        "in" => entries(wanted).iter().any(equals),
        "contains" => {
            let text = value.as_ref().and_then(meaning::text);
            text.is_some_and(|text| text.contains(wanted.as_str().expect("a text")))
        }
        _ => value
            .as_ref()
            .and_then(meaning::number)
            .is_some_and(|value| numbers_compare(value, op, meaning::number(wanted).expect("a number"))),
    }
}

/// On or after the local day that many days ago.
fn within(at: Option<i64>, days: &Json, world: &World) -> bool {
    let day = world.clock.today() - TimeDelta::days(days.as_i64().expect("a number"));
    at.is_some_and(|at| at >= world.clock.start_of_day(day))
}
