//! `tree`: what its documents mean, and documents by chance.

use std::collections::BTreeSet;

use segmenta::syntax::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::Form;
use super::meaning::{self, entries, numbers_compare, without_case};
use super::world::{COUNTS, Row, World};
use crate::generator::dice::Dice;

pub(crate) const FORM: Form = Form { dialect: Dialect::Tree, write, members, scores: None, shows };

const COMPARISONS: [&str; 6] = [">", ">=", "<", "<=", "=", "!="];

fn shows() -> Vec<String> {
    let attributes = ["email", "country", "subscription_status", "custom_property", "event"];
    let attributes = attributes.into_iter().chain(COUNTS).map(|attribute| format!("\"attribute\":\"{attribute}\""));
    let operators = COMPARISONS.into_iter().chain(["contains", "starts_with", "in"]);
    let others = ["\"rule\":", "\"days\":", "\"event_name\":", "\"event_type\":", "odd*name"].map(str::to_owned);
    attributes.chain(operators.map(|operator| format!("\"operator\":\"{operator}\""))).chain(others).collect()
}

fn write(dice: &mut Dice, _: &World, index: usize) -> Json {
    let rule = node(dice, 2);
    match dice.below(3) {
        // Alone, named by its file.
        0 => rule,
        1 => json!({"name": format!("S{index}"), "description": "by chance", "is_active": true, "rule": rule}),
        _ => json!({"id": format!("s{index}"), "name": format!("Segment {index}"), "rule": rule, "tenantId": 3}),
    }
}

fn node(dice: &mut Dice, depth: usize) -> Json {
    if depth == 0 || dice.chance(45) {
        return condition(dice);
    }
    let children: Vec<Json> = (0..1 + dice.below(3)).map(|_| node(dice, depth - 1)).collect();
    json!({"type": *dice.pick(&["and", "or"]), "conditions": children})
}

fn condition(dice: &mut Dice) -> Json {
    let mut node = json!({"type": "condition"});
    let text = |dice: &mut Dice, node: &mut Json, words: &[&str]| {
        let operator = *dice.pick(&["=", "!=", "contains", "starts_with", "in"]);
        node["operator"] = json!(operator);
        node["value"] = if operator == "in" { json!([*dice.pick(words), *dice.pick(words)]) } else { json!(*dice.pick(words)) };
    };
    let number = |dice: &mut Dice, node: &mut Json, numbers: &[i64]| {
        if dice.chance(10) {
            node["operator"] = json!("in");
            node["value"] = json!([*dice.pick(numbers), *dice.pick(numbers)]);
        } else {
            node["operator"] = json!(*dice.pick(&COMPARISONS));
            let value = *dice.pick(numbers);
            node["value"] = if dice.chance(10) { json!(value.to_string()) } else { json!(value) };
        }
    };
    match dice.below(11) {
        0..3 => {
            node["attribute"] = json!(*dice.pick(&COUNTS));
            number(dice, &mut node, &[0, 1, 2, 3, 5, 10]);
        }
        3 => {
            node["attribute"] = json!("email");
            text(dice, &mut node, &["ADA@example.com", "bob@example.org", "EXAMPLE", "eve+", "σοφος@example.gr", "ΣΟΦΟΣ"]);
        }
        4 => {
            node["attribute"] = json!("country");
            text(dice, &mut node, &["US", "us", "CA", "U"]);
        }
        5 => {
            node["attribute"] = json!("subscription_status");
            text(dice, &mut node, &["active", "trialing", "a", "past_due"]);
        }
        6 | 7 => {
            node["attribute"] = json!("custom_property");
            let property = *dice.pick(&["plan", "age", "attributes.tier", "attributes.year", "email"]);
            node["property"] = json!(property);
            match property {
                "age" => number(dice, &mut node, &[17, 34, 35]),
                "attributes.year" => {
                    number(dice, &mut node, &[2019, 2021]);
                    // Inside JSON the literal says what is compared: a text would be no number.
                    if node["value"].is_string() {
                        node["value"] = json!(2021);
                    }
                }
                _ => text(dice, &mut node, &["pro", "gold", "Gold", "p", "silver", "ada@example.com"]),
            }
        }
        _ => {
            node["attribute"] = json!("event");
            number(dice, &mut node, &[0, 1, 2, 3]);
            if dice.chance(70) {
                node["days"] = json!(*dice.pick(&[1, 7, 14, 30, 31, 90]));
            } else if dice.chance(50) {
                node["days"] = Json::Null;
            }
            let which = dice.below(3);
            if which != 1 {
                node["event_name"] = json!(*dice.pick(&["pricing_view", "video_rendered", "page_view", "odd*name", "odd*"]));
            }
            if which != 0 {
                node["event_type"] = json!(*dice.pick(&["purchase", "browse"]));
            }
        }
    }
    node
}

fn members(document: &Json, world: &World, _: &[BTreeSet<String>]) -> BTreeSet<String> {
    let rule = document.get("rule").unwrap_or(document);
    world.users_for(|user| holds(rule, world, user))
}

fn holds(node: &Json, world: &World, user: &Row) -> bool {
    match node["type"].as_str().expect("a type") {
        "and" => entries(&node["conditions"]).iter().all(|inner| holds(inner, world, user)),
        "or" => entries(&node["conditions"]).iter().any(|inner| holds(inner, world, user)),
        _ => condition_holds(node, world, user),
    }
}

fn condition_holds(node: &Json, world: &World, user: &Row) -> bool {
    let attribute = node["attribute"].as_str().expect("an attribute");
    match attribute {
        "email" => {
            let value = meaning::value(user, &["email"]).and_then(|value| meaning::text(&value));
            text_holds(value.map(|text| without_case(&text)), node, without_case)
        }
        "country" | "subscription_status" => {
            let value = meaning::value(user, &[attribute]).and_then(|value| meaning::text(&value));
            text_holds(value, node, str::to_owned)
        }
        "custom_property" => {
            let property = node["property"].as_str().expect("a property");
            let value = meaning::value(user, &property.split('.').collect::<Vec<_>>());
            match property {
                "age" | "attributes.year" => number_holds(value.and_then(|value| meaning::number(&value)), node),
                _ => text_holds(value.and_then(|value| meaning::text(&value)), node, str::to_owned),
            }
        }
        "event" => number_holds(Some(count(node, world, user)), node),
        count if world.has_counts => number_holds(meaning::value(user, &[count]).and_then(|value| meaning::number(&value)), node),
        "active_days" => {
            let days =
                world.events_of(user).filter_map(|event| world.clock.at(&event["at"])).map(|at| world.clock.local(at).date());
            number_holds(Some(length(days.collect::<BTreeSet<_>>().len())), node)
        }
        counted => {
            let names: &[&str] = match counted {
                "total_renders" => &["video_rendered", "first_render_completed"],
                "pricing_page_views" => &["pricing_view"],
                _ => &[],
            };
            let counts = |event: &&Row| names.is_empty() || event["name"].as_str().is_some_and(|name| names.contains(&name));
            number_holds(Some(length(world.events_of(user).filter(counts).count())), node)
        }
    }
}

/// The events of the last days, of a name and with a type where they are given.
fn count(node: &Json, world: &World, user: &Row) -> f64 {
    let from = world.clock.back(node["days"].as_i64().unwrap_or(30));
    let asks = |key: &str, value: &Json| node.get(key).is_none_or(|wanted| wanted == value);
    let events = world.events_of(user).filter(|event| {
        world.clock.at(&event["at"]) >= Some(from) && asks("event_name", &event["name"]) && asks("event_type", &event["event_type"])
    });
    length(events.count())
}

fn length(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a few"))
}

fn number_holds(value: Option<f64>, node: &Json) -> bool {
    let literal = |value: &Json| meaning::number(value).expect("a number");
    let word = match node["operator"].as_str().expect("an operator") {
        "!=" => return !value.is_some_and(|value| numbers_compare(value, "eq", literal(&node["value"]))),
        "in" => {
            let among = |value| entries(&node["value"]).iter().any(|wanted| numbers_compare(value, "eq", literal(wanted)));
            return value.is_some_and(among);
        }
        ">" => "gt",
        ">=" => "gte",
        "<" => "lt",
        "<=" => "lte",
        _ => "eq",
    };
    value.is_some_and(|value| numbers_compare(value, word, literal(&node["value"])))
}

fn text_holds(value: Option<String>, node: &Json, fold: impl Fn(&str) -> String) -> bool {
    let literal = |value: &Json| fold(value.as_str().expect("a text"));
    let wanted = &node["value"];
    let operator = node["operator"].as_str().expect("an operator");
    let Some(value) = value else { return operator == "!=" };
    match operator {
        "=" => value == literal(wanted),
        "!=" => value != literal(wanted),
        "contains" => value.contains(&literal(wanted)),
        "starts_with" => value.starts_with(&literal(wanted)),
        "in" => entries(wanted).iter().any(|wanted| value == literal(wanted)),
        other => panic!("no operator {other}"),
    }
}
