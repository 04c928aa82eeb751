//! Scores: how well a subject fits, and not only whether.
//!
//! The degree of a node is in [0, 1], and 1 where the node holds. Where it does not:
//!
//! | node | degree |
//! |---|---|
//! | `gt t`, `gte t` of a number v | v / t, within [0, 1], when t > 0, else 0 |
//! | `lt t`, `lte t` of a number v | 1 - (v - t) / t, within [0, 1], when t > 0, else 0 |
//! | `between lo and hi` of a number v | below, that of `gte lo`; above, that of `lte hi` |
//! | any of these of a missing number, and every other leaf | 0 |
//! | `and`, `or`, `at_least n` | the least, the greatest, the n-th greatest degree of the parts |
//! | `not` | 0: its part holds, and 1 less the degree of that is 0 |
//!
//! A strict operator at equality does not hold and has the degree 1, when t > 0.
//!
//! Degrees are computed in IEEE doubles, every operation rounded by itself, so that they are the same everywhere: v and t are the
//! nearest doubles; a mean is its sum divided by its count, days are microseconds divided by those of a day, each of the two as the
//! nearest double. A weighted mean is the sum of weight * degree in the order of the rules, divided by the sum of the weights. The
//! score is that rounded to nine decimals, which leaves nothing of how doubles round.

use serde::Serialize;

use super::logical::{Comparator, Formula, NumberTest, SubjectTest, Test};
use super::lower::{lower_condition, lower_leaf};
use crate::check::{CheckedCondition, CheckedLeaf, CheckedScoring};
use crate::model::condition::Logic;
use crate::model::decimal::Decimal;
use crate::model::scoring::Combination;

/// A score, and from which on it is enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Scored<L = SubjectTest> {
    /// How the degrees of the rules become one score.
    pub combination: Combination,
    /// Enough is a score of at least this.
    pub threshold: Decimal,
    /// At least one, with a weight above 0 for at least one.
    pub rules: Vec<WeightedDegree<L>>,
}

/// A rule of a score.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WeightedDegree<L = SubjectTest> {
    /// How well it holds.
    pub degree: Degree<L>,
    /// How much it counts.
    pub weight: Decimal,
}

/// How well a condition holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Degree<L = SubjectTest> {
    /// 1 where it holds, else 0. A negation is of this kind, a double one too.
    Crisp(Formula<L>),
    /// A test of a number: the nearer the number, the greater.
    Graded(L),
    /// The least.
    Least(Vec<Self>),
    /// The greatest.
    Greatest(Vec<Self>),
    /// The n-th greatest.
    NthGreatest {
        /// From 1.
        n: usize,
        /// Of these.
        of: Vec<Self>,
    },
}

/// How near a number comes to a test that it does not pass.
///
/// ```
/// use segmenta::ir::{Comparator, Nearness, NumberTest};
/// let at_least_four = Nearness::to(&NumberTest::Compare(Comparator::Gte, 4u64.into()));
/// assert_eq!(at_least_four.degree(3.0), 0.75);
/// assert_eq!(at_least_four.degree(-3.0), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nearness {
    /// It should be greater than this.
    Rising(f64),
    /// It should be less than this.
    Falling(f64),
    /// It should lie between these.
    Inside(f64, f64),
    /// The test has no degrees in between.
    Crisp,
}

impl Nearness {
    /// That to a test.
    #[must_use]
    pub fn to(test: &NumberTest) -> Self {
        match test {
            NumberTest::Compare(Comparator::Gt | Comparator::Gte, bound) => Self::Rising(bound.to_f64()),
            NumberTest::Compare(Comparator::Lt | Comparator::Lte, bound) => Self::Falling(bound.to_f64()),
            NumberTest::Between(low, high) => Self::Inside(low.to_f64(), high.to_f64()),
            NumberTest::Compare(Comparator::Eq, _) | NumberTest::OneOf(_) => Self::Crisp,
        }
    }

    /// The degree of a number that does not pass.
    #[must_use]
    pub fn degree(self, value: f64) -> f64 {
        match self {
            Self::Rising(bound) if bound > 0.0 => (value / bound).clamp(0.0, 1.0),
            Self::Falling(bound) if bound > 0.0 => (1.0 - (value - bound) / bound).clamp(0.0, 1.0),
            Self::Inside(low, _) if value <= low => Self::Rising(low).degree(value),
            Self::Inside(_, high) if value >= high => Self::Falling(high).degree(value),
            // Outside by less than doubles can tell.
            Self::Inside(..) => 1.0,
            Self::Rising(_) | Self::Falling(_) | Self::Crisp => 0.0,
        }
    }
}

/// The mean of degrees by weight: both sums in the order of the rules.
#[must_use]
pub fn weighted_mean(weights: &[f64], degrees: &[f64]) -> f64 {
    let sum: f64 = weights.iter().zip(degrees).map(|(weight, degree)| weight * degree).fold(0.0, |sum, term| sum + term);
    sum / weights.iter().fold(0.0, |sum, weight| sum + weight)
}

/// The n-th greatest degree, from 1; 0 when there are fewer. Reorders them.
#[must_use]
pub fn nth_greatest(n: usize, degrees: &mut [f64]) -> f64 {
    degrees.sort_by(|one, other| other.total_cmp(one));
    n.checked_sub(1).and_then(|index| degrees.get(index)).copied().unwrap_or_default()
}

/// The members of a scored segment: the subjects whose score is enough.
pub(super) fn lower_scoring(scoring: &CheckedScoring) -> Formula<SubjectTest> {
    let rules =
        scoring.rules.iter().map(|rule| WeightedDegree { degree: lower_degree(&rule.condition), weight: rule.weight.clone() });
    let scored = Scored { combination: scoring.combination, threshold: scoring.threshold.clone(), rules: rules.collect() };
    Formula::Leaf(SubjectTest::Scored(Box::new(scored)))
}

pub(super) fn lower_degree(condition: &CheckedCondition) -> Degree {
    let each = |conditions: &[CheckedCondition]| conditions.iter().map(lower_degree).collect();
    match condition {
        CheckedCondition::Group { logic: Logic::And, conditions, .. } => Degree::Least(each(conditions)),
        CheckedCondition::Group { logic: Logic::Or, conditions, .. } => Degree::Greatest(each(conditions)),
        CheckedCondition::AtLeast { count, of, .. } => Degree::NthGreatest { n: *count, of: each(of) },
        // These test one number that the author named; patterns over time count events below, and have no degrees.
        CheckedCondition::Leaf {
            leaf: leaf @ (CheckedLeaf::Attribute(_) | CheckedLeaf::Events(_) | CheckedLeaf::Signal(_)),
            ..
        } => match lower_leaf(leaf) {
            Formula::Leaf(test) if is_graded(&test) => Degree::Graded(test),
            formula => Degree::Crisp(formula),
        },
        CheckedCondition::Not { .. } | CheckedCondition::Leaf { .. } => Degree::Crisp(lower_condition(condition)),
    }
}

fn is_graded(test: &SubjectTest) -> bool {
    matches!(test, SubjectTest::Feature(_, Test::Number(number)) if Nearness::to(number) != Nearness::Crisp)
}

/// How well one node of a scored segment holds, as a score that is always enough.
#[must_use]
pub fn degree_alone(degree: Degree) -> Formula<SubjectTest> {
    let rules = vec![WeightedDegree { degree, weight: Decimal::from(1u64) }];
    Formula::Leaf(SubjectTest::Scored(Box::new(Scored { combination: Combination::All, threshold: Decimal::from(0u64), rules })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn degree(comparator: Comparator, bound: &str, value: f64) -> f64 {
        Nearness::to(&NumberTest::Compare(comparator, number(bound))).degree(value)
    }

    #[test]
    fn degrees_rise_to_the_bound_and_fall_behind_it() {
        for (comparator, bound, value, expected) in [
            (Comparator::Gte, "0.4", 0.3, 0.3 / 0.4),
            (Comparator::Gt, "5", 5.0, 1.0),
            (Comparator::Gte, "5", 0.0, 0.0),
            (Comparator::Gte, "5", -2.0, 0.0),
            (Comparator::Gte, "0", -1.0, 0.0),
            (Comparator::Gt, "0", 0.0, 0.0),
            (Comparator::Gte, "-4", -5.0, 0.0),
            (Comparator::Lte, "2", 3.0, 0.5),
            (Comparator::Lt, "2", 2.0, 1.0),
            (Comparator::Lte, "2", 4.0, 0.0),
            (Comparator::Lte, "2", 5.0, 0.0),
            (Comparator::Lte, "0", 1.0, 0.0),
            (Comparator::Lt, "-2", -1.0, 0.0),
            (Comparator::Eq, "5", 4.0, 0.0),
            (Comparator::Gte, "1e400", f64::MAX, 0.0),
            (Comparator::Lte, "1e-400", 1.0, 0.0),
            (Comparator::Lte, "1e-300", f64::MAX, 0.0),
            (Comparator::Gte, "1e-300", -f64::MAX, 0.0),
        ] {
            assert_eq!(degree(comparator, bound, value).to_bits(), f64::to_bits(expected), "{comparator:?} {bound} of {value}");
        }
    }

    #[test]
    fn ranges_have_a_degree_on_either_side() {
        let between =
            |low: &str, high: &str, value: f64| Nearness::to(&NumberTest::Between(number(low), number(high))).degree(value);
        assert_eq!(between("10", "20", 5.0), 0.5);
        assert_eq!(between("10", "20", 25.0), 0.75);
        assert_eq!(between("10", "20", 60.0), 0.0);
        assert_eq!(between("0", "20", -1.0), 0.0);
        assert_eq!(between("-5", "0", 1.0), 0.0);
        assert_eq!(between("-5", "8", -6.0), 0.0);
        assert_eq!(between("-5", "8", 10.0), 0.75);
        assert_eq!(between("7", "7", 3.5), 0.5);
    }

    #[test]
    fn degrees_combine() {
        assert_eq!(weighted_mean(&[0.6, 0.2, 0.2], &[1.0, 1.0, 0.75]), 0.6 + 0.2 + 0.2 * 0.75);
        assert_eq!(weighted_mean(&[3.0, 0.0, 1.0], &[0.5, 1.0, 0.1]), 0.4);
        assert_eq!(nth_greatest(2, &mut [0.1, 0.9, 0.5]), 0.5);
        assert_eq!(nth_greatest(1, &mut [0.1, 0.9, 0.5]), 0.9);
        assert_eq!(nth_greatest(4, &mut [0.1, 0.9, 0.5]), 0.0);
    }
}
