//! `layered`: what its documents mean as far as they are evaluated, and documents by chance.

use std::collections::BTreeSet;

use segmenta::syntax::dialect::Dialect;
use serde_json::{Value as Json, json};

use super::Form;
use super::meaning::{self, entries, numbers_compare};
use super::world::{AUDIENCE, Row, World};
use crate::generator::dice::Dice;

pub(crate) const FORM: Form = Form { dialect: Dialect::Layered, write, members, scores: None, shows };

fn shows() -> Vec<String> {
    let operators = ["eq", "neq", "gt", "lte", "between", "contains", "starts_with", "in", "is_true", "is_set", "is_not_set"];
    let forms = ["purchased_by_segment", "viewed_by_segment", "\"definition\":", "\"is_active\":true", "\"refresh_interval\":"];
    operators.map(|word| format!("\"operator\":\"{word}\"")).into_iter().chain(forms.map(str::to_owned)).collect()
}

fn write(dice: &mut Dice, _: &World, index: usize) -> Json {
    let rule = layer(dice, 2);
    if dice.chance(40) {
        return rule;
    }
    json!({"name": format!("S{index}"), "is_active": true, "refresh_interval": 300, "definition": rule})
}

fn layer(dice: &mut Dice, depth: usize) -> Json {
    let conditions: Vec<Json> =
        (0..1 + dice.below(3)).map(|_| if depth > 0 && dice.chance(40) { layer(dice, depth - 1) } else { leaf(dice) }).collect();
    json!({"logic": *dice.pick(&["and", "or", "AND", "OR"]), "conditions": conditions})
}

fn leaf(dice: &mut Dice) -> Json {
    if dice.chance(25) {
        return signal(dice);
    }
    let mut leaf = json!({"type": "product_attribute"});
    let mut set = |key: &str, value: Json| leaf[key] = value;
    match dice.below(6) {
        0..3 => {
            set("property", json!(*dice.pick(&["brand", "data.brand"])));
            let operator = *dice.pick(&["eq", "neq", "contains", "starts_with", "in"]);
            set("operator", json!(operator));
            let brands = ["Acme", "acme", "Z", "&"];
            let value = if operator == "in" { json!([*dice.pick(&brands), "Zeta & Co"]) } else { json!(*dice.pick(&brands)) };
            set("value", value);
        }
        3 | 4 => {
            set("property", json!("price"));
            let operator = *dice.pick(&["eq", "neq", "gt", "gte", "lt", "lte", "between"]);
            set("operator", json!(operator));
            set("value", json!(*dice.pick(&[9.5, 10.0])));
            set("value_type", json!("price"));
            if operator == "between" {
                set("value2", json!(*dice.pick(&[10, 250])));
            }
        }
        _ => {
            set("property", json!("in_stock"));
            set("operator", json!(*dice.pick(&["is_true", "is_false", "is_set", "is_not_set"])));
            set("value_type", json!("boolean"));
        }
    }
    leaf
}

fn signal(dice: &mut Dice) -> Json {
    let signal = *dice.pick(&["purchased_by_segment", "viewed_by_segment"]);
    let mut leaf = json!({"type": "user_behavior_signal", "signal": signal, "segment_id": AUDIENCE});
    leaf["event_type"] = json!(*dice.pick(&["pricing_view", "page_view", "oddly"]));
    if dice.chance(50) {
        leaf["window"] = json!({"last": *dice.pick(&["30d", "365d"])});
    }
    if dice.chance(50) {
        leaf["operator"] = json!(*dice.pick(&["gte", "lt", "eq"]));
        leaf["value"] = json!(dice.below(3));
    }
    leaf
}

fn members(document: &Json, world: &World, _: &[BTreeSet<String>]) -> BTreeSet<String> {
    let rule = document.get("definition").unwrap_or(document);
    let products = world.products.iter().filter(|product| holds(rule, product, world));
    products.map(|product| product["product_id"].as_str().expect("an id").to_owned()).collect()
}

fn holds(node: &Json, product: &Row, world: &World) -> bool {
    if let Some(logic) = node.get("logic") {
        let mut inner = entries(&node["conditions"]).iter().map(|inner| holds(inner, product, world));
        return if logic.as_str().expect("a word").eq_ignore_ascii_case("and") { inner.all(|it| it) } else { inner.any(|it| it) };
    }
    if node["type"] == "user_behavior_signal" {
        let count = world.users.iter().filter(|user| user["plan"] == "pro").flat_map(|user| world.events_of(user));
        let since = node.get("window").map_or(i64::MIN, |window| {
            let days = window["last"].as_str().and_then(|last| last.strip_suffix('d')).expect("days");
            world.clock.back(days.parse().expect("a number"))
        });
        let matching = count
            .filter(|event| event["product_id"] == product["product_id"] && event["name"] == node["event_type"])
            .filter(|event| world.clock.at(&event["at"]).is_some_and(|at| at >= since));
        #[expect(clippy::cast_precision_loss, reason = "there are few events")]
        let count = matching.count() as f64;
        let operator = node.get("operator").map_or("gte", |operator| operator.as_str().expect("a word"));
        return numbers_compare(count, operator, node.get("value").map_or(1.0, |value| value.as_f64().expect("a number")));
    }
    let property = node["property"].as_str().expect("a property").trim_start_matches("data.");
    let value = meaning::value(product, &["data", property]);
    let (operator, wanted) = (node["operator"].as_str().expect("an operator"), &node["value"]);
    match property {
        "brand" => {
            let value = value.as_ref().and_then(meaning::text);
            let text = |wanted: &Json| wanted.as_str().expect("a text").to_owned();
            match operator {
                "neq" => value != Some(text(wanted)),
                "in" => value.is_some_and(|value| entries(wanted).contains(&json!(value))),
                _ => value.is_some_and(|value| match operator {
                    "eq" => value == text(wanted),
                    "contains" => value.contains(&text(wanted)),
                    _ => value.starts_with(&text(wanted)),
                }),
            }
        }
        "price" => {
            let value = value.as_ref().and_then(meaning::number);
            let is = |operator: &str, wanted: &Json| {
                value.is_some_and(|value| numbers_compare(value, operator, wanted.as_f64().expect("a number")))
            };
            match operator {
                "neq" => !is("eq", wanted),
                "between" => is("gte", wanted) && is("lte", &node["value2"]),
                _ => is(operator, wanted),
            }
        }
        _ => {
            let value = value.as_ref().and_then(meaning::boolean);
            match operator {
                "is_true" => value == Some(true),
                "is_false" => value == Some(false),
                "is_set" => value.is_some(),
                _ => value.is_none(),
            }
        }
    }
}
