//! Checked definition to logical segment, node by node: defaults become explicit, negative operators become `Not`, and texts that
//! compare without regard to case are folded. The shape of the author's tree is kept.

use bigdecimal::{BigDecimal, RoundingMode};

use super::logical::{
    Aggregate, Comparator, Comparison, DateTest, DistinctUnit, ElementsTest, EventStep, Feature, Formula, LogicalRule,
    LogicalSegment, MeasureFeature, NumberTest, Ranking, RowTest, SequenceFeature, SignalFeature, SubjectTest, Test, TextMatch,
    TextTest, Value,
};
use super::score::lower_scoring;
use crate::check::{
    CheckedAttribute, CheckedCompare, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedLifecycle, CheckedMeasure,
    CheckedProperty, CheckedQuantity, CheckedRow, CheckedRule, CheckedSample, CheckedSegment, CheckedSequence, CheckedSignal,
    CheckedStep, CheckedTop, Element, NumberMeasure, Operand, Reading, RowMeasure, ValueMeasure,
};
use crate::model::condition::{LifecyclePattern, Logic};
use crate::model::decimal::Decimal;
use crate::model::operator::Operator;
use crate::model::window::{DateExpr, Window};

/// What a checked definition means.
#[must_use]
pub fn lower(segment: &CheckedSegment) -> LogicalSegment {
    let rule = match segment.rule() {
        CheckedRule::Static => LogicalRule::Static,
        CheckedRule::Conditions(condition) => LogicalRule::Formula(lower_condition(condition)),
        CheckedRule::Scoring(scoring) => LogicalRule::Formula(lower_scoring(scoring)),
    };
    LogicalSegment { id: segment.id().clone(), subject: segment.subject(), rule }
}

/// A text as it compares without regard to case: full lower-casing, then every final sigma as a sigma.
///
/// ```
/// use segmenta::ir::fold_case;
/// assert_eq!(fold_case("ΟΔΟΣ"), fold_case("οδοσ"));
/// ```
#[must_use]
pub fn fold_case(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}

pub(super) fn lower_condition(condition: &CheckedCondition) -> Formula<SubjectTest> {
    match condition {
        CheckedCondition::Group { logic, conditions, .. } => join(*logic, conditions.iter().map(lower_condition).collect()),
        CheckedCondition::AtLeast { count, of, .. } => {
            Formula::AtLeast { count: *count, of: of.iter().map(lower_condition).collect() }
        }
        CheckedCondition::Not { condition, .. } => negate(lower_condition(condition)),
        CheckedCondition::Leaf { leaf, .. } => lower_leaf(leaf),
    }
}

pub(super) fn lower_leaf(leaf: &CheckedLeaf) -> Formula<SubjectTest> {
    match leaf {
        CheckedLeaf::Everyone => Formula::Constant(true),
        CheckedLeaf::Nobody => Formula::Constant(false),
        CheckedLeaf::Lifecycle(lifecycle) => lower_lifecycle(lifecycle),
        CheckedLeaf::Sample(sample) => lower_sample(sample),
        CheckedLeaf::Top(top) => Formula::Leaf(SubjectTest::Top(lower_top(top))),
        CheckedLeaf::Compare(compare) => lower_compare(compare),
        CheckedLeaf::Sequence(sequence) => {
            Formula::Leaf(SubjectTest::Feature(Feature::Sequence(lower_sequence(sequence)), Test::Boolean(true)))
        }
        CheckedLeaf::Signal(signal) => {
            let feature = Feature::Signal(lower_signal(signal));
            lower_test(&signal.test, |test| SubjectTest::Feature(feature, test))
        }
        CheckedLeaf::Segment { segment_id, negated } => {
            let member = Formula::Leaf(SubjectTest::Member(segment_id.clone()));
            if *negated { negate(member) } else { member }
        }
        CheckedLeaf::Attribute(attribute) => {
            let feature = Feature::Attribute(lower_property(&attribute.property, attribute.reading));
            lower_test(&attribute.test, |test| SubjectTest::Feature(feature, test))
        }
        CheckedLeaf::Events(events) => {
            let feature = Feature::Measure(lower_measure(events));
            lower_test(&events.test, |test| SubjectTest::Feature(feature, test))
        }
    }
}

fn lower_lifecycle(lifecycle: &CheckedLifecycle) -> Formula<SubjectTest> {
    let test = |aggregate, window, test| {
        let measure =
            MeasureFeature { event_type: lifecycle.event_type.clone(), filter: lower_rows(&lifecycle.filter), window, aggregate };
        Formula::Leaf(SubjectTest::Feature(Feature::Measure(measure), test))
    };
    let some = |window, count: u64| {
        let enough = NumberTest::Compare(Comparator::Gte, Decimal::from(count));
        test(Aggregate::Count, window, Test::Number(enough))
    };
    let between = |from: Option<DateExpr>, to: Option<DateExpr>| Window::Range { from, to };
    match &lifecycle.pattern {
        LifecyclePattern::FirstTime(window) => {
            test(Aggregate::FirstTime, Window::All, Test::Date(DateTest::Within(window.clone())))
        }
        LifecyclePattern::Stopped { active, quiet } => Formula::All(vec![
            some(between(Some(active.ago(1)), Some(quiet.ago(1))), 1),
            negate(some(between(Some(quiet.ago(1)), None), 1)),
        ]),
        LifecyclePattern::Restarted { quiet, recent } => Formula::All(vec![
            some(between(None, Some(quiet.ago(1))), 1),
            negate(some(between(Some(quiet.ago(1)), Some(recent.ago(1))), 1)),
            some(between(Some(recent.ago(1)), None), 1),
        ]),
        LifecyclePattern::Regular { period, periods, at_least, count } => {
            let end = |index: u64| (index > 0).then(|| period.ago(index));
            let windows = (0..*periods).map(|index| between(Some(period.ago(index + 1)), end(index)));
            let of = windows.map(|window| some(window, count.unwrap_or(1))).collect();
            Formula::AtLeast { count: usize::try_from(*at_least).unwrap_or(usize::MAX), of }
        }
    }
}

/// A hash is below `percent / 100` of 2^64 when it is below the next whole number from there.
fn lower_sample(sample: &CheckedSample) -> Formula<SubjectTest> {
    let share = sample.percent.as_big() * BigDecimal::from(1u128 << 64) / BigDecimal::from(100);
    let bound = Decimal::from(share.with_scale_round(0, RoundingMode::Ceiling));
    let below = Test::Number(NumberTest::Compare(Comparator::Lt, bound));
    Formula::Leaf(SubjectTest::Feature(Feature::Hash { salt: sample.salt.clone() }, below))
}

fn lower_property(property: &CheckedProperty, reading: Reading) -> Value {
    match property {
        CheckedProperty::Stored(access) => Value::Stored(access.clone(), reading),
        CheckedProperty::DaysSince(access) => Value::DaysSince(access.clone()),
        CheckedProperty::DaysToAnniversary(access) => Value::DaysToAnniversary(access.clone()),
        CheckedProperty::Part(part, access) => Value::Part(*part, access.clone()),
        CheckedProperty::Mean(accesses) => Value::Mean(accesses.clone()),
    }
}

/// In a ranking what counts events is missing where there are none.
fn lower_top(top: &CheckedTop) -> Ranking {
    let by = lower_quantity(&top.by);
    let present = match &by {
        Feature::Measure(measure) if is_zero_of_none(&measure.aggregate) => {
            Some(Feature::Measure(MeasureFeature { aggregate: Aggregate::Count, ..measure.clone() }))
        }
        Feature::Attribute(_) | Feature::Measure(_) | Feature::Sequence(_) | Feature::Signal(_) | Feature::Hash { .. } => None,
    };
    Ranking { by, present, order: top.order, share: top.share.clone() }
}

fn lower_quantity(quantity: &CheckedQuantity) -> Feature {
    match quantity {
        CheckedQuantity::Property(property) => Feature::Attribute(lower_property(property, Reading::Number)),
        CheckedQuantity::Events { event_type, filter, window, measure } => Feature::Measure(MeasureFeature {
            event_type: event_type.clone(),
            filter: lower_rows(filter),
            window: window.clone(),
            aggregate: lower_aggregate(measure),
        }),
    }
}

fn lower_compare(compare: &CheckedCompare) -> Formula<SubjectTest> {
    let (operator, negative) = positive_of(compare.operator);
    let (left, right) = (lower_quantity(&compare.left), lower_quantity(&compare.right));
    let formula = match comparator_of(operator) {
        Some(comparator) => {
            Formula::Leaf(SubjectTest::Compare(Comparison { left, comparator, right, factor: compare.factor.clone() }))
        }
        // INVARIANT: `check` lets no other operator stand between two numbers.
        None => Formula::Constant(false),
    };
    if negative { negate(formula) } else { formula }
}

/// The positive form of an operator, and whether the operator is its negation.
fn positive_of(operator: Operator) -> (Operator, bool) {
    operator.complement_of().map_or((operator, false), |positive| (positive, true))
}

/// How an operator compares two values, when it does.
fn comparator_of(operator: Operator) -> Option<Comparator> {
    match operator {
        Operator::Eq => Some(Comparator::Eq),
        Operator::Gt => Some(Comparator::Gt),
        Operator::Gte => Some(Comparator::Gte),
        Operator::Lt => Some(Comparator::Lt),
        Operator::Lte => Some(Comparator::Lte),
        Operator::Neq
        | Operator::Between
        | Operator::NotBetween
        | Operator::In
        | Operator::NotIn
        | Operator::Contains
        | Operator::DoesNotContain
        | Operator::StartsWith
        | Operator::EndsWith
        | Operator::Matches
        | Operator::IsSet
        | Operator::IsNotSet
        | Operator::IsTrue
        | Operator::IsFalse
        | Operator::ContainsAny
        | Operator::ContainsAll => None,
    }
}

fn lower_sequence(sequence: &CheckedSequence) -> SequenceFeature {
    SequenceFeature {
        steps: sequence.steps.iter().map(lower_step).collect(),
        absent: sequence.absent.as_ref().map(lower_step),
        within: sequence.within,
        same: sorted(sequence.same.clone()),
        window: sequence.window.clone(),
    }
}

fn lower_step(step: &CheckedStep) -> EventStep {
    EventStep { event_type: step.event_type.clone(), filter: lower_rows(&step.filter) }
}

fn lower_signal(signal: &CheckedSignal) -> SignalFeature {
    let measure = MeasureFeature {
        event_type: Some(signal.event_type.clone()),
        filter: Formula::All(Vec::new()),
        window: signal.window.clone(),
        aggregate: Aggregate::Count,
    };
    SignalFeature { segment: signal.segment_id.clone(), product: signal.product.clone(), measure }
}

/// Whether a measure has a value over no events.
fn is_zero_of_none(aggregate: &Aggregate) -> bool {
    match aggregate {
        Aggregate::Count | Aggregate::Active(_) | Aggregate::Sum(_) | Aggregate::CountDistinct(_) => true,
        Aggregate::FirstTime
        | Aggregate::DaysSinceFirst
        | Aggregate::DaysSinceLast
        | Aggregate::Avg(_)
        | Aggregate::Min(_)
        | Aggregate::Max(_)
        | Aggregate::First(..)
        | Aggregate::Last(..)
        | Aggregate::MostFrequent(..) => false,
    }
}

fn lower_measure(events: &CheckedEvents) -> MeasureFeature {
    MeasureFeature {
        event_type: events.event_type.clone(),
        filter: lower_rows(&events.filter),
        window: events.window.clone(),
        aggregate: lower_aggregate(&events.measure),
    }
}

fn lower_aggregate(measure: &CheckedMeasure) -> Aggregate {
    match measure {
        CheckedMeasure::Rows(RowMeasure::Count) => Aggregate::Count,
        CheckedMeasure::Rows(RowMeasure::ActiveDays) => Aggregate::Active(DistinctUnit::Day),
        CheckedMeasure::Rows(RowMeasure::ActiveWeeks) => Aggregate::Active(DistinctUnit::Week),
        CheckedMeasure::Rows(RowMeasure::ActiveMonths) => Aggregate::Active(DistinctUnit::Month),
        CheckedMeasure::Rows(RowMeasure::DaysSinceFirst) => Aggregate::DaysSinceFirst,
        CheckedMeasure::Rows(RowMeasure::DaysSinceLast) => Aggregate::DaysSinceLast,
        CheckedMeasure::Number(NumberMeasure::Sum, access) => Aggregate::Sum(access.clone()),
        CheckedMeasure::Number(NumberMeasure::Avg, access) => Aggregate::Avg(access.clone()),
        CheckedMeasure::Number(NumberMeasure::Min, access) => Aggregate::Min(access.clone()),
        CheckedMeasure::Number(NumberMeasure::Max, access) => Aggregate::Max(access.clone()),
        CheckedMeasure::Number(NumberMeasure::CountDistinct, access) => Aggregate::CountDistinct(access.clone()),
        CheckedMeasure::Value(ValueMeasure::First, access, reading) => Aggregate::First(access.clone(), *reading),
        CheckedMeasure::Value(ValueMeasure::Last, access, reading) => Aggregate::Last(access.clone(), *reading),
        CheckedMeasure::Value(ValueMeasure::MostFrequent, access, reading) => Aggregate::MostFrequent(access.clone(), *reading),
    }
}

fn lower_rows(rows: &[CheckedRow]) -> Formula<RowTest> {
    Formula::All(rows.iter().map(lower_row).collect())
}

pub(super) fn lower_row(row: &CheckedRow) -> Formula<RowTest> {
    match row {
        CheckedRow::Group { logic, conditions } => join(*logic, conditions.iter().map(lower_row).collect()),
        CheckedRow::AtLeast { count, of } => Formula::AtLeast { count: *count, of: of.iter().map(lower_row).collect() },
        CheckedRow::Not(inner) => negate(lower_row(inner)),
        CheckedRow::Test(CheckedAttribute { property, reading, test }) => {
            let value = lower_property(property, *reading);
            lower_test(test, |test| RowTest { value, test })
        }
    }
}

/// The formula of a test whose operator may be negative: the positive test, under `Not` when it is.
fn lower_test<L>(test: &crate::check::Test, leaf: impl FnOnce(Test) -> L) -> Formula<L> {
    let (operator, negative) = positive_of(test.operator);
    let formula = match positive_test(operator, &test.operand, test.ignore_case) {
        Some(positive) => Formula::Leaf(leaf(positive)),
        // INVARIANT: `check` pairs operators with their operands; a pair that it does not build never holds.
        None => Formula::Constant(false),
    };
    if negative { negate(formula) } else { formula }
}

fn positive_test(operator: Operator, operand: &Operand, ignore_case: bool) -> Option<Test> {
    let fold = |text: &String| if ignore_case { fold_case(text) } else { text.clone() };
    let text = |matches| Test::Text(TextTest { matches, ignore_case });
    let compare = |by| match operand {
        Operand::Number(value) => Some(Test::Number(NumberTest::Compare(by, value.clone()))),
        Operand::Date(date) => Some(Test::Date(DateTest::Compare(by, date.clone()))),
        Operand::Text(value) if by == Comparator::Eq => Some(text(TextMatch::OneOf(vec![fold(value)]))),
        Operand::Boolean(value) if by == Comparator::Eq => Some(Test::Boolean(*value)),
        Operand::None
        | Operand::Text(_)
        | Operand::Pattern { .. }
        | Operand::Texts(_)
        | Operand::NumberRange(..)
        | Operand::Numbers(_)
        | Operand::Boolean(_)
        | Operand::DateRange(..)
        | Operand::Elements(_) => None,
    };
    match operator {
        Operator::IsSet => Some(Test::IsSet),
        Operator::IsTrue => Some(Test::Boolean(true)),
        Operator::IsFalse => Some(Test::Boolean(false)),
        Operator::Eq | Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => comparator_of(operator).and_then(compare),
        Operator::Between => between(operand),
        Operator::In => one_of(operand, fold, text),
        Operator::Contains => match operand {
            Operand::Text(value) => Some(text(TextMatch::Contains(fold(value)))),
            operand => elements(operand, fold).map(|of| Test::Elements(ElementsTest::Any { of, ignore_case })),
        },
        Operator::ContainsAny => elements(operand, fold).map(|of| Test::Elements(ElementsTest::Any { of, ignore_case })),
        Operator::ContainsAll => elements(operand, fold).map(|of| Test::Elements(ElementsTest::All { of, ignore_case })),
        Operator::StartsWith => single_text(operand).map(|value| text(TextMatch::StartsWith(fold(value)))),
        Operator::EndsWith => single_text(operand).map(|value| text(TextMatch::EndsWith(fold(value)))),
        Operator::Matches => {
            let Operand::Pattern { expanded, .. } = operand else { return None };
            // Folding is part of the expanded pattern.
            Some(Test::Text(TextTest { matches: TextMatch::Pattern(expanded.clone()), ignore_case: false }))
        }
        Operator::Neq | Operator::NotBetween | Operator::NotIn | Operator::DoesNotContain | Operator::IsNotSet => None,
    }
}

fn single_text(operand: &Operand) -> Option<&String> {
    if let Operand::Text(value) = operand { Some(value) } else { None }
}

fn between(operand: &Operand) -> Option<Test> {
    if let Operand::NumberRange(low, high) = operand {
        Some(Test::Number(NumberTest::Between(low.clone(), high.clone())))
    } else if let Operand::DateRange(low, high) = operand {
        Some(Test::Date(DateTest::Between(low.clone(), high.clone())))
    } else {
        None
    }
}

fn one_of(operand: &Operand, fold: impl Fn(&String) -> String, text: impl Fn(TextMatch) -> Test) -> Option<Test> {
    if let Operand::Texts(values) = operand {
        Some(text(TextMatch::OneOf(sorted(values.iter().map(fold).collect()))))
    } else if let Operand::Numbers(values) = operand {
        Some(Test::Number(NumberTest::OneOf(sorted(values.clone()))))
    } else {
        None
    }
}

fn elements(operand: &Operand, fold: impl Fn(&String) -> String) -> Option<Vec<Element>> {
    let Operand::Elements(elements) = operand else { return None };
    let folded = elements.iter().map(|element| match element {
        Element::Text(text) => Element::Text(fold(text)),
        Element::Number(_) | Element::Boolean(_) => element.clone(),
    });
    Some(sorted(folded.collect()))
}

fn join<L>(logic: Logic, of: Vec<Formula<L>>) -> Formula<L> {
    match logic {
        Logic::And => Formula::All(of),
        Logic::Or => Formula::Any(of),
    }
}

fn negate<L>(formula: Formula<L>) -> Formula<L> {
    Formula::Not(Box::new(formula))
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values.dedup();
    values
}
