//! `weighted`: what its documents mean, and documents by chance.

use std::collections::{BTreeMap, BTreeSet};

use segmenta::syntax::dialect::Dialect;
use serde_json::{Map, Value as Json, json};

use super::Form;
use super::meaning::{self, numbers_compare};
use super::world::{Row, World};
use crate::generator::dice::Dice;

pub(crate) const FORM: Form = Form { dialect: Dialect::Weighted, write, members, scores: Some(scores), shows };

const TYPES: [&str; 8] =
    ["CategoryInterest", "BrandAffinity", "PriceRange", "Trait", "Statistic", "TagAffinity", "Recency", "Expression"];

/// The words for comparisons, with what they mean.
const COMPARISONS: [(&str, &str); 4] =
    [("GreaterThan", "gt"), ("GreaterOrEqual", "gte"), ("LessThan", "lt"), ("LessOrEqual", "lte")];

fn shows() -> Vec<String> {
    let pascal = TYPES.map(|word| format!("\"Type\":\"{word}\""));
    let camel = TYPES.map(|word| format!("\"type\":\"{word}\""));
    let operators = ["Equal", "NotEqual", "GreaterThan", "GreaterOrEqual", "LessThan", "LessOrEqual", "Between"];
    let operators = operators.map(|word| format!("\"Operator\":\"{word}\""));
    let others = ["\"Combination\":\"All\"", "\"Combination\":\"Any\"", "\"combination\":\"Weighted\"", "\"MembershipThreshold\":"];
    pascal.into_iter().chain(camel).chain(operators).chain(others.map(str::to_owned)).collect()
}

fn write(dice: &mut Dice, _: &World, index: usize) -> Json {
    let rules: Vec<Json> = (0..1 + dice.below(4)).map(|at| rule(dice, at)).collect();
    let mut document = json!({"Name": format!("S{index}"), "Rules": rules});
    if dice.chance(70) {
        document["Id"] = json!(format!("s{index}"));
    }
    if dice.chance(70) {
        document["Combination"] = json!(*dice.pick(&["All", "Any", "Weighted", "Weighted"]));
    }
    if dice.chance(80) {
        document["MembershipThreshold"] = json!(*dice.pick(&[0.0, 0.2, 0.35, 0.5, 0.75, 1.0]));
    }
    if dice.chance(30) {
        document["Tags"] = json!(["a", "b"]);
        document["Icon"] = json!("🔧");
    }
    if dice.chance(40) { in_camel_case(document) } else { document }
}

/// The same with keys that begin in small letters.
fn in_camel_case(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let small = |key: String| key[..1].to_lowercase() + &key[1..];
            Json::Object(members.into_iter().map(|(key, value)| (small(key), in_camel_case(value))).collect())
        }
        Json::Array(values) => values.into_iter().map(in_camel_case).collect(),
        other => other,
    }
}

fn rule(dice: &mut Dice, at: usize) -> Json {
    let mut rule = Map::new();
    let rule_type = *dice.pick(&TYPES);
    let (field, value) = match rule_type {
        "CategoryInterest" => (Some(*dice.pick(&["interests.tech", "interests.home"])), json!(*dice.pick(&[0.2, 0.4, 0.72]))),
        "BrandAffinity" | "Statistic" => (Some(*dice.pick(&["age", "loginCount"])), json!(*dice.pick(&[1, 7, 34, 51]))),
        "TagAffinity" => (Some("score"), json!(*dice.pick(&[0.25, 0.5, 8.0]))),
        "Trait" => (Some("traits.prefersDeals"), dice.pick_owned(&[json!(true), json!(false), json!("True")])),
        "PriceRange" => (None, json!(*dice.pick(&[100, 1_275, 5_000]))),
        "Recency" => (None, json!(*dice.pick(&[1.0, 7.0, 13.5, 30.0]))),
        _ => (None, json!(expression(dice))),
    };
    rule.insert("Type".to_owned(), json!(rule_type));
    rule.extend(field.map(|field| ("Field".to_owned(), json!(field))));
    let mut value = value;
    match rule_type {
        "Trait" => {
            if dice.chance(50) {
                rule.insert("Operator".to_owned(), json!(*dice.pick(&["Equal", "NotEqual"])));
            }
        }
        "Expression" => {}
        _ => match dice.below(8) {
            0 => drop(rule.insert("Operator".to_owned(), json!("NotEqual"))),
            1 if rule_type != "PriceRange" => {}
            2 => drop(rule.insert("Operator".to_owned(), json!("Equal"))),
            3 | 4 => {
                value = range(dice, &value);
                rule.insert("Operator".to_owned(), json!("Between"));
            }
            1 => value = range(dice, &value),
            _ => {
                let (word, _) = *dice.pick(&COMPARISONS);
                rule.insert("Operator".to_owned(), json!(word));
                if dice.chance(20) {
                    value = json!(value.to_string());
                }
            }
        },
    }
    rule.insert("Value".to_owned(), value);
    if dice.chance(80) {
        // The first weight is above 0, so that one of them is.
        let weights = [0.6, 0.2, 1.0, 2.5, 0.0];
        rule.insert("Weight".to_owned(), json!(*dice.pick(if at == 0 { &weights[..4] } else { &weights[..] })));
    }
    if dice.chance(30) {
        rule.insert("Description".to_owned(), json!("why"));
    }
    Json::Object(rule)
}

/// A range up to a number, from a lesser one.
fn range(dice: &mut Dice, high: &Json) -> Json {
    let low = *dice.pick(&["-2.5", "-1", "0", "0.125"]);
    let line = *dice.pick(&["-", " - "]);
    json!(format!("{low}{line}{high}"))
}

/// One of a few expressions; [`expression_degree`] knows what each means.
fn expression(dice: &mut Dice) -> String {
    let (age, count, score) = (*dice.pick(&[18, 35, 51]), 1 + dice.below(3), *dice.pick(&[0.5, 8.0]));
    match dice.below(7) {
        0 => format!("age >= {age}"),
        1 => "country IN ('US', 'CA')".to_owned(),
        2 => format!("age >= {age} AND score >= {score}"),
        3 => format!("country = 'US' OR age <= {age}"),
        4 => format!("NOT (age >= {age})"),
        5 => format!("at_least(2, age >= {age}, score >= {score}, country = 'US')"),
        _ => format!("events('pricing_view') >= {count}"),
    }
}

fn members(document: &Json, world: &World, _: &[BTreeSet<String>]) -> BTreeSet<String> {
    scores(document, world).into_keys().collect()
}

/// The member of an object, in either spelling of its key.
fn of<'a>(object: &'a Json, key: &str) -> Option<&'a Json> {
    object.get(key).or_else(|| object.get(key[..1].to_lowercase() + &key[1..]))
}

fn scores(document: &Json, world: &World) -> BTreeMap<String, u32> {
    let rules = of(document, "Rules").and_then(Json::as_array).expect("rules");
    let threshold = of(document, "MembershipThreshold").and_then(Json::as_f64).unwrap_or(0.3);
    let combination = of(document, "Combination").and_then(Json::as_str).unwrap_or("Weighted");
    let mut found = BTreeMap::new();
    for user in &world.users {
        let degrees: Vec<f64> = rules.iter().map(|rule| rule_degree(rule, world, user)).collect();
        let weights: Vec<f64> = rules.iter().map(|rule| of(rule, "Weight").and_then(Json::as_f64).unwrap_or(1.0)).collect();
        let score = match combination {
            "All" => degrees.iter().copied().fold(1.0, f64::min),
            "Any" => degrees.iter().copied().fold(0.0, f64::max),
            _ => {
                let sum: f64 = degrees.iter().zip(&weights).map(|(degree, weight)| degree * weight).sum();
                sum / weights.iter().sum::<f64>()
            }
        };
        let billionths = (score * 1e9).round_ties_even();
        if billionths >= (threshold * 1e9).round() {
            let id = user["user_id"].as_str().expect("an id").to_owned();
            found.insert(id, format!("{billionths}").parse().expect("a whole number"));
        }
    }
    found
}

fn rule_degree(rule: &Json, world: &World, user: &Row) -> f64 {
    let number_at = |path: &[&str]| meaning::value(user, path).as_ref().and_then(meaning::number);
    let wanted = of(rule, "Value").expect("a value");
    let actual = match of(rule, "Type").and_then(Json::as_str).expect("a type") {
        "Expression" => return expression_degree(wanted.as_str().expect("a text"), world, user),
        "Trait" => {
            let is = meaning::value(user, &["traits", "prefersDeals"]).as_ref().and_then(meaning::boolean);
            let equal = is.is_some() && is == meaning::boolean(wanted);
            let negated = of(rule, "Operator").is_some_and(|operator| operator == "NotEqual");
            return f64::from(u8::from(equal != negated));
        }
        "PriceRange" => {
            let [least, greatest] = ["minObserved", "maxObserved"].map(|key| number_at(&["pricePreferences", key]));
            least.zip(greatest).map(|(least, greatest)| (least + greatest) / 2.0)
        }
        "Recency" => {
            let seen = meaning::value(user, &["lastSeen"]).and_then(|value| world.clock.at(&value));
            seen.map(|at| (world.clock.now() - at) as f64 / 86_400_000_000.0)
        }
        _ => {
            let path: Vec<&str> = of(rule, "Field").and_then(Json::as_str).expect("a field").split('.').collect();
            number_at(&path)
        }
    };
    let range = wanted.as_str().and_then(ends);
    let operator = of(rule, "Operator").and_then(Json::as_str).unwrap_or("Equal");
    let Some(actual) = actual else { return f64::from(u8::from(operator == "NotEqual")) };
    if let Some((low, high)) = range {
        return if actual < low {
            rising(actual, low)
        } else if actual > high {
            falling(actual, high)
        } else {
            1.0
        };
    }
    compared(actual, operator, meaning::number(wanted).expect("a number"))
}

/// The two ends of a range: the line between them is the first that does not begin a number.
fn ends(text: &str) -> Option<(f64, f64)> {
    let at = text.get(1..)?.find('-')? + 1;
    Some((text[..at].trim().parse().ok()?, text[at + 1..].trim().parse().ok()?))
}

fn compared(actual: f64, operator: &str, bound: f64) -> f64 {
    let comparison = COMPARISONS.iter().find(|(word, _)| *word == operator).map(|(_, comparison)| *comparison);
    match comparison {
        None => f64::from(u8::from(numbers_compare(actual, "eq", bound) == (operator == "Equal"))),
        Some(comparison) if numbers_compare(actual, comparison, bound) => 1.0,
        Some("gt" | "gte") => rising(actual, bound),
        Some(_) => falling(actual, bound),
    }
}

fn rising(actual: f64, bound: f64) -> f64 {
    if bound > 0.0 { (actual / bound).clamp(0.0, 1.0) } else { 0.0 }
}

fn falling(actual: f64, bound: f64) -> f64 {
    if bound > 0.0 { (1.0 - (actual - bound) / bound).max(0.0) } else { 0.0 }
}

/// The degree of what [`expression`] writes, told apart by how it begins.
fn expression_degree(text: &str, world: &World, user: &Row) -> f64 {
    let number_at = |column: &str| meaning::value(user, &[column]).as_ref().and_then(meaning::number);
    let last: f64 = text.rsplit(' ').next().expect("a word").trim_end_matches(')').parse().unwrap_or_default();
    let country = meaning::value(user, &["country"]).and_then(|value| value.as_str().map(str::to_owned));
    let flag = |holds: bool| f64::from(u8::from(holds));
    let is_us = flag(country.as_deref() == Some("US"));
    let at_least = |column: &str, bound: f64| number_at(column).map_or(0.0, |value| compared(value, "GreaterOrEqual", bound));
    let bound_after = |word: &str| -> f64 {
        let rest = text.split(word).nth(1).expect("the word");
        rest.split([' ', ',', ')']).next().expect("a number").parse().expect("a number")
    };
    match text {
        _ if text.starts_with("events") => {
            let views = world.events_of(user).filter(|event| event["name"] == "pricing_view").count();
            compared(views as f64, "GreaterOrEqual", last)
        }
        _ if text.starts_with("at_least") => {
            let mut degrees = [at_least("age", bound_after("age >= ")), at_least("score", bound_after("score >= ")), is_us];
            degrees.sort_by(f64::total_cmp);
            degrees[1]
        }
        _ if text.starts_with("NOT") => flag(number_at("age").is_none_or(|age| age < last)),
        _ if text.contains(" OR ") => is_us.max(number_at("age").map_or(0.0, |age| compared(age, "LessOrEqual", last))),
        _ if text.contains(" AND ") => at_least("age", bound_after("age >= ")).min(at_least("score", last)),
        _ if text.starts_with("country") => flag(matches!(country.as_deref(), Some("US" | "CA"))),
        _ => at_least("age", last),
    }
}
