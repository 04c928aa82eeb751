//! How well subjects fit, word by word as the language reference says it.

use std::collections::BTreeMap;

use bigdecimal::{BigDecimal, RoundingMode};
use segmenta::check::{CheckedCondition, CheckedLeaf, CheckedScoring, Operand, Test};
use segmenta::model::condition::{Logic, Subject};
use segmenta::model::operator::Operator;
use segmenta::model::scoring::Combination;

use super::read::{self, Seen};
use super::value::{Number, nearest_double};
use super::{Evaluator, Individual, events};

impl Evaluator<'_> {
    /// The score of every subject of the universe, in decimals.
    pub(super) fn scores(&self, subject: Subject, scoring: &CheckedScoring) -> BTreeMap<String, BigDecimal> {
        let number = |text: String| text.parse::<f64>().expect("a number");
        let weights: Vec<f64> = scoring.rules.iter().map(|rule| number(rule.weight.to_string())).collect();
        let rules: Vec<BTreeMap<String, f64>> = scoring.rules.iter().map(|rule| self.degrees(subject, &rule.condition)).collect();
        let ids = self.population(subject).subjects.keys();
        ids.map(|id| {
            let degrees: Vec<f64> = rules.iter().map(|degrees| degrees[id]).collect();
            let score = match scoring.combination {
                Combination::All => least(&degrees),
                Combination::Any => greatest(&degrees),
                Combination::Weighted => {
                    let (mut sum, mut weight_sum) = (0.0, 0.0);
                    for (weight, degree) in weights.iter().zip(&degrees) {
                        sum += weight * degree;
                        weight_sum += weight;
                    }
                    sum / weight_sum
                }
            };
            // The formatter of the standard library rounds the exact value of a double, half to even.
            (id.clone(), format!("{score:.9}").parse().expect("a number"))
        })
        .collect()
    }

    /// The degree of every subject of the universe.
    fn degrees(&self, subject: Subject, condition: &CheckedCondition) -> BTreeMap<String, f64> {
        let holding = self.matching(subject, condition);
        let each = |conditions: &[CheckedCondition]| -> Vec<BTreeMap<String, f64>> {
            conditions.iter().map(|condition| self.degrees(subject, condition)).collect()
        };
        let of = |degrees: &[BTreeMap<String, f64>], id: &String| degrees.iter().map(|of| of[id]).collect::<Vec<f64>>();
        let everyone = self.population(subject).subjects.iter();
        let found: BTreeMap<String, f64> = match condition {
            CheckedCondition::Group { logic, conditions, .. } => {
                let parts = each(conditions);
                let combine = match logic {
                    Logic::And => least,
                    Logic::Or => greatest,
                };
                everyone.map(|(id, _)| (id.clone(), combine(&of(&parts, id)))).collect()
            }
            CheckedCondition::AtLeast { count, of: conditions, .. } => {
                let parts = each(conditions);
                let nth = |id| {
                    let mut degrees = of(&parts, id);
                    degrees.sort_by(f64::total_cmp);
                    degrees[degrees.len() - count]
                };
                everyone.map(|(id, _)| (id.clone(), nth(id))).collect()
            }
            CheckedCondition::Not { condition, .. } => {
                let inner = self.degrees(subject, condition);
                everyone.map(|(id, _)| (id.clone(), if holding.contains(id) { 1.0 } else { 1.0 - inner[id] })).collect()
            }
            CheckedCondition::Leaf { leaf, .. } => {
                let signals = if let CheckedLeaf::Signal(signal) = leaf { self.signals(signal) } else { BTreeMap::new() };
                let degree = |id: &String, individual: &Individual| {
                    let (seen, test) = match leaf {
                        CheckedLeaf::Attribute(attribute) => {
                            let seen = read::property(&individual.row, &attribute.property, attribute.reading, &self.calendar);
                            (seen, &attribute.test)
                        }
                        CheckedLeaf::Events(events) => (events::measure(&individual.events, events, &self.calendar), &events.test),
                        CheckedLeaf::Signal(signal) => (signals.get(id).cloned(), &signal.test),
                        _ => return 0.0,
                    };
                    if let Some(Seen::Number(number)) = seen { near(&number, test) } else { 0.0 }
                };
                everyone
                    .map(|(id, individual)| (id.clone(), if holding.contains(id) { 1.0 } else { degree(id, individual) }))
                    .collect()
            }
        };
        for (id, degree) in &found {
            assert!((0.0..=1.0).contains(degree), "{id} has the degree {degree}");
            assert!(!holding.contains(id) || *degree >= 1.0, "{id} satisfies a condition with the degree {degree}");
        }
        found
    }
}

/// Whether a score reaches a threshold.
pub(super) fn is_enough(score: &BigDecimal, scoring: &CheckedScoring) -> bool {
    *score >= scoring.threshold.to_string().parse::<BigDecimal>().expect("a number")
}

/// A score as it is shown, and what it is called.
pub(crate) fn shown(score: &BigDecimal) -> (BigDecimal, &'static str) {
    let shown = score.with_scale_round(3, RoundingMode::HalfEven);
    let steps = [("0.8", "Very High"), ("0.6", "High"), ("0.4", "Medium"), ("0.2", "Low")];
    let step = steps.iter().find(|(least, _)| shown >= least.parse::<BigDecimal>().expect("a number"));
    (shown, step.map_or("Very Low", |(_, label)| label))
}

fn least(degrees: &[f64]) -> f64 {
    degrees.iter().copied().fold(f64::INFINITY, f64::min)
}

fn greatest(degrees: &[f64]) -> f64 {
    degrees.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The degree of a number that does not satisfy a test.
fn near(number: &Number, test: &Test) -> f64 {
    let v = match number {
        Number::Exact(value) => nearest_double(value),
        Number::Double(value) => *value,
        Number::Ratio(numerator, denominator) => nearest_double(numerator) / nearest_double(denominator),
    };
    let rising = |bound: &BigDecimal| {
        let t = nearest_double(bound);
        if t > 0.0 { (v / t).clamp(0.0, 1.0) } else { 0.0 }
    };
    let falling = |bound: &BigDecimal| {
        let t = nearest_double(bound);
        // An average just above a bound may have a double just below it.
        if t > 0.0 { f64::max(0.0, 1.0 - (v - t) / t).min(1.0) } else { 0.0 }
    };
    match (test.operator, &test.operand) {
        (Operator::Gt | Operator::Gte, Operand::Number(bound)) => rising(bound.as_big()),
        (Operator::Lt | Operator::Lte, Operand::Number(bound)) => falling(bound.as_big()),
        (Operator::Between, Operand::NumberRange(low, high)) => {
            if number.compare_literal(low.as_big()).is_lt() {
                rising(low.as_big())
            } else {
                assert!(number.compare_literal(high.as_big()).is_gt(), "a number inside satisfies the test");
                falling(high.as_big())
            }
        }
        _ => 0.0,
    }
}

/// A score in whole billionths.
pub(crate) fn billionths(score: &BigDecimal) -> u32 {
    let (digits, _) = (score * BigDecimal::from(1_000_000_000u32)).with_scale(0).into_bigint_and_exponent();
    u32::try_from(digits).expect("a score is at most 1")
}
