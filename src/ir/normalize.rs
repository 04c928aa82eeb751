//! Brings formulas of equal meaning to one form where that is cheap, so that segments share what they compute: nested groups are
//! flattened, children sorted without repeats, constants and double negations removed, equal windows written alike.
//!
//! Normalizing never changes a member, a degree or a score: the parts of a degree are joined only where the least or the greatest of
//! them stays the same.

use super::logical::{
    Comparator, Comparison, DateTest, EventStep, Feature, Formula, LogicalRule, LogicalSegment, MeasureFeature, NumberTest,
    Ranking, RowTest, SequenceFeature, SignalFeature, SubjectTest, Test,
};
use super::score::{Degree, Scored, WeightedDegree};
use crate::model::condition::EventTypePattern;
use crate::model::window::{Anchor, DateExpr, Duration, Window};

/// The segment in its normal form; normalizing again changes nothing.
#[must_use]
pub fn normalize(segment: LogicalSegment) -> LogicalSegment {
    let rule = match segment.rule {
        LogicalRule::Static => LogicalRule::Static,
        LogicalRule::Formula(formula) => LogicalRule::Formula(normalize_formula(&formula)),
    };
    LogicalSegment { rule, ..segment }
}

/// The formula in its normal form.
#[must_use]
pub fn normalize_formula(formula: &Formula<SubjectTest>) -> Formula<SubjectTest> {
    simplify(formula.map(&mut |leaf| match leaf {
        SubjectTest::Feature(feature, test) => SubjectTest::Feature(normalize_feature(feature), normalize_test(test)),
        SubjectTest::Member(segment) => SubjectTest::Member(segment.clone()),
        SubjectTest::Scored(scored) => SubjectTest::Scored(Box::new(Scored {
            combination: scored.combination,
            threshold: scored.threshold.clone(),
            rules: scored.rules.iter().map(normalize_rule).collect(),
        })),
        SubjectTest::Top(ranking) => SubjectTest::Top(Ranking {
            by: normalize_feature(&ranking.by),
            present: ranking.present.as_ref().map(normalize_feature),
            order: ranking.order,
            share: ranking.share.clone(),
        }),
        SubjectTest::Compare(compare) => SubjectTest::Compare(Comparison {
            left: normalize_feature(&compare.left),
            comparator: compare.comparator,
            right: normalize_feature(&compare.right),
            factor: compare.factor.clone(),
        }),
    }))
}

fn normalize_rule(rule: &WeightedDegree) -> WeightedDegree {
    WeightedDegree { degree: normalize_degree(&rule.degree), weight: rule.weight.clone() }
}

/// The degree in its normal form.
#[must_use]
pub fn normalize_degree(degree: &Degree) -> Degree {
    let each = |of: &[Degree]| of.iter().map(normalize_degree).collect::<Vec<_>>();
    match degree {
        Degree::Crisp(formula) => Degree::Crisp(normalize_formula(formula)),
        // The test stays as it is written: equal bounds of a range are no degrees apart, but what is beside them is.
        Degree::Graded(SubjectTest::Feature(feature, test)) => {
            Degree::Graded(SubjectTest::Feature(normalize_feature(feature), test.clone()))
        }
        Degree::Graded(other) => Degree::Graded(other.clone()),
        Degree::Least(of) => {
            let flat = each(of).into_iter().flat_map(|part| if let Degree::Least(parts) = part { parts } else { vec![part] });
            joined(flat.collect(), Degree::Least)
        }
        Degree::Greatest(of) => {
            let flat = each(of).into_iter().flat_map(|part| if let Degree::Greatest(parts) = part { parts } else { vec![part] });
            joined(flat.collect(), Degree::Greatest)
        }
        Degree::NthGreatest { n, of } => {
            // Repeats stay: each counts.
            let mut of = each(of);
            of.sort();
            Degree::NthGreatest { n: *n, of }
        }
    }
}

fn joined(mut of: Vec<Degree>, by: impl FnOnce(Vec<Degree>) -> Degree) -> Degree {
    of.sort();
    of.dedup();
    if of.len() > 1 {
        return by(of);
    }
    of.pop().unwrap_or_else(|| by(Vec::new()))
}

fn normalize_feature(feature: &Feature) -> Feature {
    match feature {
        Feature::Attribute(value) => Feature::Attribute(value.clone()),
        Feature::Hash { salt } => Feature::Hash { salt: salt.clone() },
        Feature::Measure(measure) => Feature::Measure(normalize_measure(measure)),
        Feature::Sequence(sequence) => Feature::Sequence(SequenceFeature {
            steps: sequence.steps.iter().map(normalize_step).collect(),
            absent: sequence.absent.as_ref().map(normalize_step),
            within: sequence.within,
            same: sequence.same.clone(),
            window: normalize_window(&sequence.window),
        }),
        Feature::Signal(signal) => Feature::Signal(SignalFeature { measure: normalize_measure(&signal.measure), ..signal.clone() }),
    }
}

fn normalize_measure(measure: &MeasureFeature) -> MeasureFeature {
    MeasureFeature {
        event_type: measure.event_type.as_deref().map(normalize_event_types),
        filter: normalize_rows(&measure.filter),
        window: normalize_window(&measure.window),
        aggregate: measure.aggregate.clone(),
    }
}

fn normalize_step(step: &EventStep) -> EventStep {
    EventStep { event_type: step.event_type.as_deref().map(normalize_event_types), filter: normalize_rows(&step.filter) }
}

/// The formula over rows in its normal form.
#[must_use]
pub fn normalize_rows(rows: &Formula<RowTest>) -> Formula<RowTest> {
    simplify(rows.map(&mut |row| RowTest { value: row.value.clone(), test: normalize_test(&row.test) }))
}

/// Sorted, without repeats and without what a prefix already says.
fn normalize_event_types(patterns: &[EventTypePattern]) -> Vec<EventTypePattern> {
    let mut kept = patterns.to_vec();
    kept.sort();
    kept.dedup();
    let covers = |prefix: &EventTypePattern, other: &EventTypePattern| match (prefix, other) {
        (EventTypePattern::Prefix(prefix), EventTypePattern::Exact(text) | EventTypePattern::Prefix(text)) => {
            text.starts_with(prefix.as_str())
        }
        (EventTypePattern::Exact(_), EventTypePattern::Exact(_) | EventTypePattern::Prefix(_)) => false,
    };
    let all = kept.clone();
    kept.retain(|pattern| !all.iter().any(|other| other != pattern && covers(other, pattern)));
    kept
}

/// `from: -30d` without an end, or up to `now`, is `last: 30d`; a range without ends is all history.
fn normalize_window(window: &Window) -> Window {
    let Window::Range { from, to } = window else { return window.clone() };
    let to = to.clone().filter(|to| *to != DateExpr { anchor: Anchor::Now, offsets: Vec::new(), truncation: None });
    match (from, to) {
        (None, None) => Window::All,
        (Some(from), None) => match single_step_back(from) {
            Some(duration) => Window::Last(duration),
            None => Window::Range { from: Some(from.clone()), to: None },
        },
        (from, to) => Window::Range { from: from.clone(), to },
    }
}

fn single_step_back(date: &DateExpr) -> Option<Duration> {
    match (date.anchor, date.offsets.as_slice(), date.truncation) {
        (Anchor::Now, [offset], None) if offset.amount < 0 => {
            Some(Duration { amount: u32::try_from(offset.amount.unsigned_abs()).ok()?, unit: offset.unit })
        }
        _ => None,
    }
}

fn normalize_test(test: &Test) -> Test {
    match test {
        Test::Number(NumberTest::Between(low, high)) if low == high => {
            Test::Number(NumberTest::Compare(Comparator::Eq, low.clone()))
        }
        Test::Number(NumberTest::OneOf(values)) if values.len() == 1 => match values.first() {
            Some(only) => Test::Number(NumberTest::Compare(Comparator::Eq, only.clone())),
            None => test.clone(),
        },
        Test::Date(DateTest::Between(low, high)) if low == high => Test::Date(DateTest::Compare(Comparator::Eq, low.clone())),
        Test::Date(DateTest::Within(window)) => Test::Date(DateTest::Within(normalize_window(window))),
        Test::IsSet | Test::Text(_) | Test::Number(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_) => test.clone(),
    }
}

fn simplify<L: Clone + Ord>(formula: Formula<L>) -> Formula<L> {
    match formula {
        Formula::Constant(_) | Formula::Leaf(_) => formula,
        Formula::Not(inner) => negate(simplify(*inner)),
        Formula::All(of) => join(of, Join::All),
        Formula::Any(of) => join(of, Join::Any),
        Formula::AtLeast { count, of } => at_least(count, of),
    }
}

fn negate<L>(formula: Formula<L>) -> Formula<L> {
    match formula {
        Formula::Constant(value) => Formula::Constant(!value),
        Formula::Not(inner) => *inner,
        Formula::All(_) | Formula::Any(_) | Formula::AtLeast { .. } | Formula::Leaf(_) => Formula::Not(Box::new(formula)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    All,
    Any,
}

fn join<L: Clone + Ord>(of: Vec<Formula<L>>, by: Join) -> Formula<L> {
    // The constant that decides the group alone; the other one adds nothing.
    let deciding = by == Join::Any;
    let mut flat = Vec::with_capacity(of.len());
    for child in of {
        match (simplify(child), by) {
            (Formula::Constant(value), _) if value == deciding => return Formula::Constant(deciding),
            (Formula::Constant(_), _) => {}
            (Formula::All(children), Join::All) | (Formula::Any(children), Join::Any) => flat.extend(children),
            (child, _) => flat.push(child),
        }
    }
    flat.sort();
    flat.dedup();
    let contradicts = |formula: &Formula<L>| match formula {
        Formula::Not(inner) => flat.binary_search(inner).is_ok(),
        Formula::Constant(_) | Formula::All(_) | Formula::Any(_) | Formula::AtLeast { .. } | Formula::Leaf(_) => false,
    };
    if flat.iter().any(contradicts) {
        return Formula::Constant(deciding);
    }
    if flat.len() <= 1 {
        return flat.pop().unwrap_or(Formula::Constant(!deciding));
    }
    match by {
        Join::All => Formula::All(flat),
        Join::Any => Formula::Any(flat),
    }
}

fn at_least<L: Clone + Ord>(count: usize, of: Vec<Formula<L>>) -> Formula<L> {
    let mut needed = count;
    let mut open = Vec::with_capacity(of.len());
    for child in of {
        match simplify(child) {
            Formula::Constant(true) => needed = needed.saturating_sub(1),
            Formula::Constant(false) => {}
            child => open.push(child),
        }
    }
    if needed == 0 {
        Formula::Constant(true)
    } else if needed > open.len() {
        Formula::Constant(false)
    } else if needed == 1 {
        join(open, Join::Any)
    } else if needed == open.len() {
        join(open, Join::All)
    } else {
        // Repeats stay: each counts.
        open.sort();
        Formula::AtLeast { count: needed, of: open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: u8) -> Formula<u8> {
        Formula::Leaf(name)
    }

    #[test]
    fn groups_flatten_sort_and_lose_repeats() {
        let formula = Formula::All(vec![leaf(2), Formula::All(vec![leaf(1), leaf(2)]), Formula::Constant(true)]);
        assert_eq!(simplify(formula), Formula::All(vec![leaf(1), leaf(2)]));
    }

    #[test]
    fn a_formula_and_its_negation_decide_the_group() {
        let both = |of| vec![leaf(1), Formula::Not(Box::new(leaf(1))), of];
        assert_eq!(simplify(Formula::All(both(leaf(2)))), Formula::Constant(false));
        assert_eq!(simplify(Formula::Any(both(leaf(2)))), Formula::Constant(true));
    }

    #[test]
    fn at_least_keeps_what_repeats_count() {
        let formula = Formula::AtLeast { count: 2, of: vec![leaf(3), leaf(1), leaf(1)] };
        assert_eq!(simplify(formula), Formula::AtLeast { count: 2, of: vec![leaf(1), leaf(1), leaf(3)] });
        assert_eq!(simplify(Formula::AtLeast { count: 1, of: vec![leaf(2), leaf(1)] }), Formula::Any(vec![leaf(1), leaf(2)]));
        assert_eq!(simplify(Formula::AtLeast { count: 2, of: vec![leaf(2), Formula::Constant(true)] }), leaf(2));
        assert_eq!(simplify(Formula::AtLeast { count: 3, of: vec![leaf(2), Formula::Constant(true)] }), Formula::Constant(false));
    }

    #[test]
    fn equal_windows_are_written_alike() {
        let step = |amount| DateExpr {
            anchor: Anchor::Now,
            offsets: vec![crate::model::window::Offset { amount, unit: crate::model::window::Unit::Day }],
            truncation: None,
        };
        let now = DateExpr { anchor: Anchor::Now, offsets: vec![], truncation: None };
        let last = Window::Last(Duration { amount: 30, unit: crate::model::window::Unit::Day });
        assert_eq!(normalize_window(&Window::Range { from: Some(step(-30)), to: Some(now.clone()) }), last);
        assert_eq!(normalize_window(&Window::Range { from: None, to: Some(now) }), Window::All);
        let open = Window::Range { from: Some(step(30)), to: None };
        assert_eq!(normalize_window(&open), open);
    }

    #[test]
    fn a_prefix_covers_what_begins_so() {
        let exact = |text: &str| EventTypePattern::Exact(text.to_owned());
        let prefix = |text: &str| EventTypePattern::Prefix(text.to_owned());
        let types = [exact("order_completed"), prefix("order_"), exact("visit"), prefix("order_c")];
        assert_eq!(normalize_event_types(&types), [exact("visit"), prefix("order_")]);
    }
}
