//! Batches by chance: tables, and definitions that fit them. The same seed and number give the same batch.

mod combination;
mod data;
mod definitions;
pub(crate) mod dice;
mod properties;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use segmenta::model::condition::Subject;
use serde_json::{Value as Json, json};

use crate::scenario::{Members, Scenario};
pub(crate) use combination::{Combination, all as all_combinations};
use combination::{Place, Ranked};
use definitions::Author;
use dice::Dice;

/// Segments of a batch, besides the static and the paused one.
const SEGMENTS: usize = 14;

/// How many of a hundred segments score.
const SCORED: usize = 30;

/// A batch, and which combinations its definitions show.
pub(crate) struct Generated {
    pub(crate) scenario: Scenario,
    pub(crate) combinations: BTreeSet<Combination>,
}

/// The batch of a number in the run of a seed.
pub(crate) fn generate(seed: u64, batch: u64) -> Generated {
    let mut dice = Dice::new(seed, batch);
    let data = data::generate(&mut dice);
    let every = all_combinations();
    let first = usize::try_from(batch).expect("a small number") * SEGMENTS;
    let mut shown = BTreeSet::new();
    let mut author = Author::new(&mut dice, &data);
    let mut segments = kept_segments();
    for number in 0..SEGMENTS {
        let subject = if number % 3 == 2 { Subject::Product } else { Subject::User };
        // Each combination has its turn; where these tables cannot show it, the next run around finds others.
        let combination = every[(first + number) % every.len()];
        let subject = match combination {
            Combination::Value { place: Place::Attribute(of), .. }
            | Combination::Derived { place: Place::Attribute(of), .. }
            | Combination::Top(Ranked::Attribute(of) | Ranked::Derived(of))
            | Combination::Compare(Ranked::Attribute(of) | Ranked::Derived(of)) => of,
            Combination::Sequence(_) => Subject::User,
            Combination::Signal(..) => Subject::Product,
            _ => subject,
        };
        let leaf = write(&mut author, subject, combination, &mut shown);
        let condition = leaf.unwrap_or_else(|| json!({"type": "everyone"}));
        segments.push(segment(&mut author, number, subject, condition, &every, &mut shown));
    }
    let scenario = Scenario {
        what: format!("batch {batch} of seed {seed}"),
        as_of: data.as_of,
        catalog: data.catalog.clone(),
        stored: stored_members(),
        segments,
        expected: BTreeMap::new(),
        expected_scores: BTreeMap::new(),
        tables: data.tables,
    };
    Generated { scenario, combinations: shown }
}

/// Segments that contribute their stored members.
fn kept_segments() -> Vec<Json> {
    let rule = json!([{"type": "everyone"}]);
    vec![
        json!({"id": "vip", "kind": "static"}),
        json!({"id": "paused", "status": "paused", "logic": "and", "conditions": rule}),
        json!({"id": "shelf", "subject": "product", "kind": "static"}),
    ]
}

fn stored_members() -> Members {
    let stored = [("vip", ["u0", "u1", "3", "nobody"]), ("paused", ["u1", "u2", "4", "7"]), ("shelf", ["p0", "p3", "4", "9"])];
    stored.into_iter().map(|(id, members)| (id.parse().expect("an id"), members.map(str::to_owned).into())).collect()
}

fn write(author: &mut Author<'_>, subject: Subject, combination: Combination, shown: &mut BTreeSet<Combination>) -> Option<Json> {
    let possible = match combination {
        Combination::Value { place, .. } | Combination::Derived { place, .. } => author.can_write(subject, place),
        Combination::Top(ranked) | Combination::Compare(ranked) => author.can_rank(subject, ranked),
        Combination::Sequence(_) => subject == Subject::User,
        Combination::Signal(..) => subject == Subject::Product,
        Combination::Rows { .. }
        | Combination::Number { .. }
        | Combination::Lifecycle(_)
        | Combination::Sample
        | Combination::Everyone => true,
    };
    if !possible {
        return None;
    }
    shown.insert(combination);
    Some(author.leaf(subject, combination))
}

/// A segment around a condition: that alone, or among others.
fn segment(
    author: &mut Author<'_>,
    number: usize,
    subject: Subject,
    condition: Json,
    every: &[Combination],
    shown: &mut BTreeSet<Combination>,
) -> Json {
    let mut segment = json!({"id": format!("s{number}"), "subject": subject.keyword()});
    let conditions = if author.dice.chance(50) {
        vec![condition]
    } else {
        let mut conditions = vec![condition];
        for _ in 0..1 + author.dice.below(2) {
            conditions.push(tree(author, subject, 2, every, shown));
        }
        conditions
    };
    if author.dice.chance(SCORED) {
        segment["scoring"] = scoring(author, conditions);
    } else {
        segment["logic"] = json!(*author.dice.pick(&["and", "or"]));
        segment["conditions"] = json!(conditions);
    }
    author.written.push((format!("s{number}"), subject));
    segment
}

/// A scoring whose rules hold the conditions.
fn scoring(author: &mut Author<'_>, conditions: Vec<Json>) -> Json {
    let mut rules = Vec::new();
    for condition in conditions {
        let mut rule = json!({"condition": condition});
        if author.dice.chance(70) {
            // The first weight is above 0, so that one of them is.
            let weights = [0.6, 0.2, 1.0, 3.0, 1e-9, 0.1, 0.0];
            let choice = if rules.is_empty() { &weights[..6] } else { &weights[..] };
            rule["weight"] = json!(*author.dice.pick(choice));
        }
        rules.push(rule);
    }
    let mut scoring = json!({"rules": rules});
    if author.dice.chance(70) {
        scoring["combination"] = json!(*author.dice.pick(&["all", "any", "weighted", "weighted"]));
    }
    if author.dice.chance(80) {
        scoring["threshold"] = json!(*author.dice.pick(&[0.0, 0.001, 0.1, 0.25, 0.333333333, 0.5, 0.6, 0.75, 1.0]));
    }
    scoring
}

/// A condition of some depth.
fn tree(author: &mut Author<'_>, subject: Subject, depth: usize, every: &[Combination], shown: &mut BTreeSet<Combination>) -> Json {
    let branches = |author: &mut Author<'_>, shown: &mut BTreeSet<Combination>| -> Vec<Json> {
        let count = 1 + author.dice.below(3);
        (0..count).map(|_| tree(author, subject, depth - 1, every, shown)).collect()
    };
    match author.dice.below(if depth == 0 { 5 } else { 9 }) {
        0 => reference(author, subject),
        1..5 => {
            let combination = author.dice.pick_owned(every);
            write(author, subject, combination, shown).unwrap_or_else(|| json!({"type": "everyone"}))
        }
        5 | 6 => {
            let logic = *author.dice.pick(&["and", "or"]);
            json!({"logic": logic, "conditions": branches(author, shown)})
        }
        7 => {
            let of = branches(author, shown);
            json!({"at_least": 1 + author.dice.below(of.len()), "of": of})
        }
        _ => json!({"not": tree(author, subject, depth - 1, every, shown)}),
    }
}

/// A reference to a segment of the same subject before this one, or to a kept one.
fn reference(author: &mut Author<'_>, subject: Subject) -> Json {
    let id = author.segment_of(subject);
    match author.dice.below(3) {
        0 => json!({"type": "segment", "segment_id": id}),
        1 => json!({"type": "segment", "segment_id": id, "operator": "in"}),
        _ => json!({"type": "segment", "segment_id": id, "operator": "not_in"}),
    }
}
