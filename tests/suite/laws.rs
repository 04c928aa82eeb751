//! What must hold of sets, whatever the data: on DataFusion, over generated batches.

mod scores;

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};
use segmenta::check::CheckedSegment;
use segmenta::ir;
use segmenta::model::condition::Subject;
use segmenta::model::id::SegmentId;
use segmenta::model::scoring::Score;
use segmenta::plan::{OutputName, Request};
use serde_json::{Value as Json, json};

use crate::differential::seed;
use crate::engine::{Engine, Order, normalized};
use crate::evaluators::asked;
use crate::generator;
use crate::reference;
use crate::scenario::{Members, Scenario, all_valid};

/// Batches that a law is tried on.
const BATCHES: std::ops::Range<u64> = 0..6;

pub(crate) fn trials() -> Vec<Trial> {
    let law = |name: &str, law: fn(&Scenario) -> Result<(), String>| {
        let run = move || {
            BATCHES.into_iter().try_for_each(|batch| {
                let scenario = generator::generate(seed(), batch).scenario;
                law(&scenario).map_err(|broken| Failed::from(format!("{}: {broken}\n{}", scenario.what, scenario.print())))
            })
        };
        Trial::test(format!("laws::{name}"), run)
    };
    let mut laws = vec![
        law("negation_partitions_the_universe", negation_partitions_the_universe),
        law("logic_is_that_of_sets", logic_is_that_of_sets),
        law("shorter_windows_count_less", shorter_windows_count_less),
        law("samples_nest", samples_nest),
        law("the_top_grows_to_everyone_with_a_value", the_top_grows_to_everyone_with_a_value),
        law("within_only_takes_sequences_away", within_only_takes_sequences_away),
        law("comparisons_are_an_order", comparisons_are_an_order),
        law("stopped_and_restarted_exclude_each_other", stopped_and_restarted_exclude_each_other),
        law("normalizing_keeps_members", normalizing_keeps_members),
        law("threads_do_not_matter", threads_do_not_matter),
        law("every_node_holds_where_the_reference_says", every_node_holds_where_the_reference_says),
        law("one_subject_looks_as_in_the_crowd", one_subject_looks_as_in_the_crowd),
    ];
    laws.extend(scores::LAWS.map(|(name, of_scores)| law(name, of_scores)));
    laws
}

fn order<'a>(scenario: &'a Scenario, segments: &'a [&'a CheckedSegment]) -> Order<'a> {
    Order { segments, as_of: scenario.as_of, stored: &scenario.stored }
}

/// The members of all segments of a scenario with some definitions more.
fn members_with(scenario: &Scenario, more: Vec<Json>) -> Result<(Members, BTreeSet<String>), String> {
    let mut scenario = scenario.clone();
    scenario.segments.push(json!({"id": "everyone", "logic": "and", "conditions": [{"type": "everyone"}]}));
    scenario.segments.extend(more);
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let members = Engine::over_rows(&scenario, 2)?.members(order(&scenario, &segments), &asked(&segments))?;
    let everyone = members.get(&id("everyone")).cloned().unwrap_or_default();
    let universe = reference::universe(Subject::User, &scenario.tables, scenario.context());
    if everyone == universe { Ok((members, universe)) } else { Err(format!("everyone is {everyone:?}, not {universe:?}")) }
}

fn id(text: &str) -> SegmentId {
    text.parse().expect("an id")
}

/// The rules of the segments of users, by id.
fn user_rules(scenario: &Scenario) -> Vec<(String, Json)> {
    let of_users = |segment: &&Json| segment.get("subject") == Some(&json!("user")) && segment.get("conditions").is_some();
    let users = scenario.segments.iter().filter(of_users);
    let rule = |segment: &Json| {
        let id = segment.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
        let mut rule = json!({"logic": segment["logic"], "conditions": segment["conditions"]});
        // In another segment the same sample would be another.
        name_samples(&mut rule, &id);
        (id, rule)
    };
    users.map(rule).collect()
}

/// Writes down the salt of each sample that leaves it to the id of its segment.
fn name_samples(node: &mut Json, id: &str) {
    match node {
        Json::Object(members) => {
            if members.get("type") == Some(&json!("sample")) {
                members.entry("salt").or_insert_with(|| json!(id));
            }
            members.values_mut().for_each(|value| name_samples(value, id));
        }
        Json::Array(values) => values.iter_mut().for_each(|value| name_samples(value, id)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn member(id: &str) -> Json {
    json!({"type": "segment", "segment_id": id})
}

fn with_rule(id: &str, rule: &Json) -> Json {
    json!({"id": id, "logic": "and", "conditions": [rule]})
}

/// A sequence without `within` holds for those for whom it holds with it, and a longer `within` for those with a shorter one.
fn within_only_takes_sequences_away(scenario: &Scenario) -> Result<(), String> {
    let lengths = [Some("45s"), Some("90min"), Some("1d"), Some("3w"), Some("1y"), None];
    let forms = [json!([{"event_type": "view*"}, {"event_type": "o*"}]), json!([{}, {"event_type": "view*"}, {}]), json!([{}, {}])];
    for same in [json!([]), json!(["channel"])] {
        for steps in &forms {
            let sequence = |within: &Option<&str>| {
                let mut leaf = json!({"type": "sequence", "steps": steps, "same": same});
                if let Some(within) = within {
                    leaf["within"] = json!(within);
                }
                leaf
            };
            let more = lengths.iter().enumerate().map(|(index, within)| with_rule(&format!("n{index}"), &sequence(within)));
            let (members, _) = members_with(scenario, more.collect())?;
            let of = |index: usize| &members[&id(&format!("n{index}"))];
            if let Some(index) = (1..lengths.len()).find(|&index| !of(index - 1).is_subset(of(index))) {
                return Err(format!("{steps} with {:?} lacks some of those with {:?}", lengths[index], lengths[index - 1]));
            }
        }
    }
    Ok(())
}

/// Of two numbers one is less, equal or greater, unless one is missing; exchanged sides exchange the signs.
fn comparisons_are_an_order(scenario: &Scenario) -> Result<(), String> {
    let sides = [json!({"type": "event", "measure": {"sum": "price"}}), json!({"type": "event", "measure": {"avg": "amount"}})];
    let compare = |left: usize, operator: &str, right: usize| json!({"type": "compare", "left": sides[left], "operator": operator, "right": sides[right]});
    let rules = [
        ("lt", compare(0, "lt", 1)),
        ("eq", compare(0, "eq", 1)),
        ("gt", compare(0, "gt", 1)),
        ("lte", compare(0, "lte", 1)),
        ("neq", compare(0, "neq", 1)),
        ("other-gt", compare(1, "gt", 0)),
        ("there", compare(1, "eq", 1)),
    ];
    let (members, universe) = members_with(scenario, rules.iter().map(|(id, rule)| with_rule(id, rule)).collect())?;
    let of = |name: &str| &members[&id(name)];
    let union = |left: &str, right: &str| of(left).union(of(right)).cloned().collect::<BTreeSet<String>>();
    let is_partition = of("lt").len() + of("eq").len() + of("gt").len() == of("there").len();
    if !is_partition || union("lt", "eq") != *of("lte") || of("lt") != of("other-gt") {
        return Err(format!("no order: {members:?}"));
    }
    let complement: BTreeSet<String> = universe.difference(of("eq")).cloned().collect();
    if complement == *of("neq") { Ok(()) } else { Err("neq is not the complement of eq".to_owned()) }
}

/// A larger share with the same salt holds a smaller one; none and all are what they say.
fn samples_nest(scenario: &Scenario) -> Result<(), String> {
    let shares = ["0", "12.5", "50", "99.999", "100"];
    let sample = |percent: &str| {
        let percent: Json = serde_json::from_str(percent).expect("a number");
        json!({"type": "sample", "percent": percent, "salt": "law"})
    };
    let more = shares.iter().enumerate().map(|(index, share)| with_rule(&format!("share-{index}"), &sample(share)));
    let (members, universe) = members_with(scenario, more.collect())?;
    let share = |index: usize| &members[&id(&format!("share-{index}"))];
    if !share(0).is_empty() || *share(4) != universe {
        return Err("the shares of 0 and 100 percent are not none and all".to_owned());
    }
    match (1..shares.len()).find(|&index| !share(index - 1).is_subset(share(index))) {
        Some(index) => Err(format!("the share of {} percent lacks some of that of {}", shares[index], shares[index - 1])),
        None => Ok(()),
    }
}

/// The first k are among the first k + 1; the first 100 percent are all who have a value, from either end.
fn the_top_grows_to_everyone_with_a_value(scenario: &Scenario) -> Result<(), String> {
    let by = json!({"type": "event", "measure": "days_since_last"});
    let top = |share: &str, value: u32, order: &str| json!({"type": "top", "by": by, "order": order, share: value});
    let mut more: Vec<Json> = (1..6).map(|count| with_rule(&format!("top-{count}"), &top("count", count, "desc"))).collect();
    more.extend(["desc", "asc"].map(|order| with_rule(&format!("all-{order}"), &top("percent", 100, order))));
    more.push(with_rule("none", &top("percent", 0, "desc")));
    let has_value = json!({"type": "event", "measure": "days_since_last", "operator": "is_set"});
    more.push(with_rule("has-value", &has_value));
    let (members, _) = members_with(scenario, more)?;
    let set = |name: &str| &members[&id(name)];
    if set("all-desc") != set("has-value") || set("all-asc") != set("has-value") || !set("none").is_empty() {
        return Err("the first 100 percent are not all who have a value, or the first 0 not none".to_owned());
    }
    for count in 1..6 {
        let top = set(&format!("top-{count}"));
        if top.len() < set("has-value").len().min(count) || (count < 5 && !top.is_subset(set(&format!("top-{}", count + 1)))) {
            return Err(format!("the first {count} are {top:?}"));
        }
    }
    Ok(())
}

/// As long as `recent` of the one is at most `quiet` of the other.
fn stopped_and_restarted_exclude_each_other(scenario: &Scenario) -> Result<(), String> {
    let lifecycle = |pattern: Json| json!({"type": "lifecycle", "pattern": pattern});
    let stopped = lifecycle(json!({"stopped": {"active": "1y", "quiet": "7d"}}));
    let restarted = lifecycle(json!({"restarted": {"quiet": "30d", "recent": "7d"}}));
    let (members, _) = members_with(scenario, vec![with_rule("stopped", &stopped), with_rule("restarted", &restarted)])?;
    let both: Vec<&String> = members[&id("stopped")].intersection(&members[&id("restarted")]).collect();
    if both.is_empty() { Ok(()) } else { Err(format!("{both:?} stopped and restarted")) }
}

fn negation_partitions_the_universe(scenario: &Scenario) -> Result<(), String> {
    let rules = user_rules(scenario);
    let mut more: Vec<Json> = rules.iter().map(|(id, rule)| with_rule(&format!("not-{id}"), &json!({"not": rule}))).collect();
    more.extend(rules.iter().map(|(id, _)| with_rule(&format!("out-{id}"), &json!({"not": member(id)}))));
    let (members, universe) = members_with(scenario, more)?;
    for (name, _) in &rules {
        let inside = &members[&id(name)];
        let outside: BTreeSet<String> = universe.difference(inside).cloned().collect();
        for negation in ["not", "out"] {
            if members[&id(&format!("{negation}-{name}"))] != outside {
                return Err(format!("`{negation}-{name}` is not the complement of `{name}`"));
            }
        }
    }
    Ok(())
}

fn logic_is_that_of_sets(scenario: &Scenario) -> Result<(), String> {
    let rules = user_rules(scenario);
    let names: Vec<&str> = rules.iter().map(|(name, _)| name.as_str()).collect();
    let mut more = Vec::new();
    for (at, three) in names.windows(3).enumerate() {
        let [a, b, c] = three else { continue };
        let rule_of = |name: &str| rules.iter().find(|(other, _)| other == name).map(|(_, rule)| rule.clone());
        more.push(with_rule(&format!("minus-{at}"), &json!({"logic": "and", "conditions": [rule_of(a), {"not": member(b)}]})));
        more.push(with_rule(&format!("union-{at}"), &json!({"logic": "or", "conditions": [rule_of(a), member(b)]})));
        more.push(with_rule(&format!("most-{at}"), &json!({"at_least": 2, "of": [member(a), rule_of(b), member(c)]})));
    }
    let (members, universe) = members_with(scenario, more)?;
    for (at, three) in names.windows(3).enumerate() {
        let [a, b, c] = [0, 1, 2].map(|which| &members[&id(three[which])]);
        let most = universe.iter().filter(|who| [a, b, c].iter().filter(|set| set.contains(*who)).count() >= 2);
        let expected: [(&str, BTreeSet<String>); 3] = [("minus", a - b), ("union", a | b), ("most", most.cloned().collect())];
        for (name, expected) in expected {
            let found = &members[&id(&format!("{name}-{at}"))];
            if *found != expected {
                return Err(format!("`{name}-{at}` of {three:?} is {found:?}, not {expected:?}"));
            }
        }
    }
    Ok(())
}

fn shorter_windows_count_less(scenario: &Scenario) -> Result<(), String> {
    let windows = ["1d", "7d", "30d", "1q", "1y", "9y"];
    let leaf = |window: &str, least: u32| json!({"type": "event", "operator": "gte", "value": least, "window": {"last": window}});
    let of = |window: &str, least: u32| with_rule(&format!("last-{window}-{least}"), &leaf(window, least));
    let more = windows.iter().flat_map(|window| [of(window, 1), of(window, 2)]).collect();
    let (members, _) = members_with(scenario, more)?;
    let set = |window: &str, least: u32| &members[&id(&format!("last-{window}-{least}"))];
    for (shorter, longer) in windows.iter().zip(&windows[1..]) {
        for least in [1, 2] {
            if !set(shorter, least).is_subset(set(longer, least)) {
                return Err(format!("{least} in {shorter} and not in {longer}"));
            }
        }
    }
    match windows.iter().all(|window| set(window, 2).is_subset(set(window, 1))) {
        true => Ok(()),
        false => Err("two and not one".to_owned()),
    }
}

fn normalizing_keeps_members(scenario: &Scenario) -> Result<(), String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    for segment in &segments {
        let once = ir::normalize(ir::lower(segment));
        if ir::normalize(once.clone()) != once {
            return Err(format!("normalizing `{}` again changes it", segment.id()));
        }
    }
    let engine = Engine::over_rows(scenario, 2)?;
    let asked = asked(&segments);
    for subject in [Subject::User, Subject::Product] {
        let plain = engine.segments(subject, order(scenario, &segments), &asked, ir::lower)?;
        let normal = engine.segments(subject, order(scenario, &segments), &asked, normalized)?;
        if (&plain.outputs, &plain.scores) != (&normal.outputs, &normal.scores) {
            return Err(format!("{:?} became {:?}", (plain.outputs, plain.scores), (normal.outputs, normal.scores)));
        }
    }
    Ok(())
}

fn threads_do_not_matter(scenario: &Scenario) -> Result<(), String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let with = |threads| Engine::over_rows(scenario, threads)?.members_and_scores(order(scenario, &segments), &asked(&segments));
    let (one, many) = (with(1)?, with(7)?);
    if one == many { Ok(()) } else { Err(format!("one thread finds {one:?}, seven {many:?}")) }
}

fn every_node_holds_where_the_reference_says(scenario: &Scenario) -> Result<(), String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let engine = Engine::over_rows(scenario, 2)?;
    for subject in [Subject::User, Subject::Product] {
        let mut requests = Vec::new();
        for segment in segments.iter().filter(|segment| segment.subject() == subject) {
            let Some(root) = ir::outline(segment) else { continue };
            root.walk(&mut |node| {
                let name = OutputName::Node(segment.id().clone(), node.path.clone());
                requests.push(Request { name, formula: node.formula.clone() });
            });
        }
        let found = engine.requests(subject, order(scenario, &segments), &requests, normalized)?;
        for segment in segments.iter().filter(|segment| segment.subject() == subject) {
            for (path, expected) in reference::evaluate_nodes(segment, &segments, &scenario.tables, scenario.context()) {
                let members = found.outputs.get(&OutputName::Node(segment.id().clone(), path.clone()));
                if members != Some(&expected) {
                    return Err(format!("{path} of `{}` holds for {members:?}, not {expected:?}", segment.id()));
                }
            }
        }
        let universe = reference::universe(subject, &scenario.tables, scenario.context());
        if !requests.is_empty() && found.universe != universe {
            return Err(format!("the universe is {:?}, not {universe:?}", found.universe));
        }
    }
    Ok(())
}

fn one_subject_looks_as_in_the_crowd(scenario: &Scenario) -> Result<(), String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let engine = Engine::over_rows(scenario, 2)?;
    let asked = asked(&segments);
    let (members, scores) = engine.members_and_scores(order(scenario, &segments), &asked)?;
    let universe = reference::universe(Subject::User, &scenario.tables, scenario.context());
    let some = universe.iter().take(2).cloned().chain(["nobody".to_owned()]);
    for who in some {
        let (batch, inspection) = engine.inspect(Subject::User, order(scenario, &segments), &asked, &who)?;
        if inspection.in_universe != universe.contains(&who) {
            return Err(format!("`{who}` is in the universe: {}", inspection.in_universe));
        }
        for (output, score) in batch.outputs.iter().zip(&inspection.scores) {
            let OutputName::Segment(id) = &output.name else { continue };
            let expected = scores.get(id).and_then(|scores| scores.get(&who));
            if expected.is_some_and(|expected| score.map(Score::billionths) != Some(*expected)) {
                return Err(format!("`{id}` scores `{who}` {score:?}, and {expected:?} in the crowd"));
            }
        }
        for (output, holds) in batch.outputs.iter().zip(&inspection.outputs) {
            let expected = match &output.name {
                OutputName::Segment(id) => members.get(id).map(|members| members.contains(&who)),
                OutputName::Node(..) | OutputName::Degree(..) => None,
            };
            if expected.is_some_and(|expected| expected != *holds) {
                return Err(format!("{:?} holds for `{who}`: {holds}", output.name));
            }
        }
    }
    Ok(())
}
