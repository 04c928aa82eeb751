//! What must hold of scores.

use std::collections::BTreeMap;

use segmenta::ir;
use segmenta::model::condition::Subject;
use segmenta::plan::{OutputName, Request};
use serde_json::{Value as Json, json};

use super::{id, order, user_rules};
use crate::engine::{Engine, normalized};
use crate::evaluators::asked;
use crate::reference::score::billionths;
use crate::scenario::{Members, Scenario, Scores, all_valid};

/// The greatest score, in billionths.
const ONE: u32 = 1_000_000_000;

type Law = fn(&Scenario) -> Result<(), String>;

pub(super) const LAWS: [(&str, Law); 5] = [
    ("the_least_degree_the_mean_and_the_greatest_come_in_this_order", combinations_are_in_order),
    ("a_higher_threshold_holds_less", thresholds_nest),
    ("what_holds_has_the_degree_one_and_a_negation_no_degree_in_between", negations_are_crisp),
    ("weights_count_by_their_shares", weights_count_by_their_shares),
    ("every_node_has_the_degree_that_the_reference_says", every_node_has_its_degree),
];

/// The members and scores of all segments of a scenario with some definitions more.
fn with(scenario: &Scenario, more: Vec<Json>) -> Result<(Members, Scores), String> {
    let mut scenario = scenario.clone();
    scenario.segments.extend(more);
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    Engine::over_rows(&scenario, 2)?.members_and_scores(order(&scenario, &segments), &asked(&segments))
}

/// Numbers of the users' events, which are most often near something, and two rules of the scenario's own.
fn conditions(scenario: &Scenario) -> Vec<Json> {
    let count = |least: u32| json!({"type": "event", "operator": "gte", "value": least});
    let since = json!({"type": "event", "measure": "days_since_last", "operator": "between", "value": 2, "value2": 5.5});
    let days = json!({"type": "event", "measure": "active_days", "operator": "lt", "value": 2, "window": {"last": "60d"}});
    let mut conditions = vec![count(3), since, days, count(7)];
    conditions.extend(user_rules(scenario).into_iter().take(2).map(|(_, rule)| rule));
    conditions
}

fn scored(id: &str, combination: &str, threshold: f64, rules: &[(Json, f64)]) -> Json {
    let rules: Vec<Json> = rules.iter().map(|(condition, weight)| json!({"condition": condition, "weight": weight})).collect();
    json!({"id": id, "scoring": {"combination": combination, "threshold": threshold, "rules": rules}})
}

fn combinations_are_in_order(scenario: &Scenario) -> Result<(), String> {
    let rules: Vec<(Json, f64)> = conditions(scenario).into_iter().zip([0.5, 1.0, 2.0, 0.1, 3.0, 0.0]).collect();
    let more = ["all", "weighted", "any"].map(|combination| scored(combination, combination, 0.0, &rules));
    let (_, scores) = with(scenario, more.into())?;
    let [all, mean, any] = ["all", "weighted", "any"].map(|name| &scores[&id(name)]);
    for (who, score) in mean {
        if all[who] > *score || *score > any[who] {
            return Err(format!("{who}: {} to {score} to {}", all[who], any[who]));
        }
    }
    let telling = mean.values().any(|score| (1..ONE).contains(score));
    if telling || mean.is_empty() { Ok(()) } else { Err(format!("no score lies in between: {mean:?}")) }
}

fn thresholds_nest(scenario: &Scenario) -> Result<(), String> {
    let rules: Vec<(Json, f64)> = conditions(scenario).into_iter().map(|condition| (condition, 1.0)).collect();
    let thresholds = [0.0, 0.25, 0.5, 0.75, 1.0];
    let more = thresholds.iter().enumerate().map(|(at, threshold)| scored(&format!("from-{at}"), "weighted", *threshold, &rules));
    let (members, scores) = with(scenario, more.collect())?;
    let everyone = &scores[&id("from-0")];
    for (at, threshold) in thresholds.iter().enumerate() {
        let found = &members[&id(&format!("from-{at}"))];
        let enough = everyone.iter().filter(|(_, score)| f64::from(**score) >= threshold * f64::from(ONE)).map(|(who, _)| who);
        if !found.iter().eq(enough) || scores[&id(&format!("from-{at}"))].iter().any(|(who, score)| everyone[who] != *score) {
            return Err(format!("from {threshold} on there are {found:?}, of {everyone:?}"));
        }
    }
    Ok(())
}

fn negations_are_crisp(scenario: &Scenario) -> Result<(), String> {
    let mut more = Vec::new();
    for (at, condition) in conditions(scenario).into_iter().enumerate() {
        let not = json!({"not": condition});
        more.push(json!({"id": format!("holds-{at}"), "logic": "and", "conditions": [condition]}));
        more.push(scored(&format!("plain-{at}"), "all", 0.0, &[(condition, 1.0)]));
        more.push(scored(&format!("not-{at}"), "all", 0.0, &[(not.clone(), 1.0)]));
        more.push(scored(&format!("not-not-{at}"), "all", 0.0, &[(json!({"not": not}), 1.0)]));
    }
    let (members, scores) = with(scenario, more)?;
    for at in 0..conditions(scenario).len() {
        let holds = &members[&id(&format!("holds-{at}"))];
        let [plain, not, twice] = ["plain", "not", "not-not"].map(|name| &scores[&id(&format!("{name}-{at}"))]);
        for who in plain.keys() {
            let crisp = if holds.contains(who) { (0, ONE) } else { (ONE, 0) };
            if (not[who], twice[who]) != crisp || (holds.contains(who) && plain[who] != ONE) {
                return Err(format!("{who} of {at}: {} {} {}", plain[who], not[who], twice[who]));
            }
        }
    }
    Ok(())
}

/// Twice the weights, and a rule twice with half the weight, change nothing; a rule without weight neither.
fn weights_count_by_their_shares(scenario: &Scenario) -> Result<(), String> {
    let conditions = conditions(scenario);
    let rules: Vec<(Json, f64)> = conditions.iter().cloned().zip([0.5, 1.0, 2.0, 0.25, 4.0, 1.0]).collect();
    let doubled: Vec<(Json, f64)> = rules.iter().map(|(condition, weight)| (condition.clone(), weight * 2.0)).collect();
    let mut split = rules.clone();
    split[1].1 /= 2.0;
    split.push(split[1].clone());
    split.push((json!({"type": "everyone"}), 0.0));
    let more = [("once", rules), ("doubled", doubled), ("split", split)].map(|(name, rules)| scored(name, "weighted", 0.0, &rules));
    let (_, scores) = with(scenario, more.into())?;
    let [once, doubled, split] = ["once", "doubled", "split"].map(|name| &scores[&id(name)]);
    // Sums in another order may round another way.
    let near = |who: &String| once[who].abs_diff(split[who]) <= 1;
    if once == doubled && once.keys().all(near) { Ok(()) } else { Err(format!("{once:?}\n{doubled:?}\n{split:?}")) }
}

fn every_node_has_its_degree(scenario: &Scenario) -> Result<(), String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let engine = Engine::over_rows(scenario, 2)?;
    for subject in [Subject::User, Subject::Product] {
        let mut requests = Vec::new();
        let mut alone = scenario.clone();
        let mut names = BTreeMap::new();
        for segment in segments.iter().filter(|segment| segment.subject() == subject) {
            let Some(root) = ir::outline(segment) else { continue };
            let written = scenario.segments.iter().find(|json| json["id"] == segment.id().as_str()).ok_or("no such segment")?;
            root.walk(&mut |node| {
                let Some(degree) = &node.degree else { return };
                let name = OutputName::Degree(segment.id().clone(), node.path.clone());
                requests.push(Request { name: name.clone(), formula: ir::degree_alone(degree.clone()) });
                // The node is a segment of its own for the reference.
                let mut condition = written.pointer(&node.path.to_string()).cloned().unwrap_or_default();
                super::name_samples(&mut condition, segment.id().as_str());
                let own = format!("node-{}", names.len());
                let mut definition = scored(&own, "all", 0.0, &[(condition, 1.0)]);
                definition["subject"] = json!(subject.keyword());
                alone.segments.push(definition);
                names.insert(name, own);
            });
        }
        let found = engine.requests(subject, order(scenario, &segments), &requests, normalized)?;
        let checked = alone.check()?;
        let expected = alone.reference_scores(&all_valid(&checked)?);
        for (name, own) in names {
            let expected: BTreeMap<String, u32> =
                expected[&id(&own)].iter().map(|(who, score)| (who.clone(), billionths(score))).collect();
            if found.scores.get(&name) != Some(&expected) {
                return Err(format!("{name:?} has {:?}, not {expected:?}", found.scores.get(&name)));
            }
        }
    }
    Ok(())
}
