//! The author's tree with a formula per node, so that one evaluation tells of every node whether it holds.

use super::logical::{Formula, RowTest, SubjectTest};
use super::lower::{lower_condition, lower_row};
use super::score::{Degree, lower_degree, lower_scoring};
use crate::check::{
    CheckedCompare, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedLifecycle, CheckedMeasure, CheckedProperty,
    CheckedQuantity, CheckedRow, CheckedRule, CheckedScoring, CheckedSegment, CheckedSequence, CheckedSignal, CheckedStep,
    CheckedTop, Element, NumberMeasure, Operand, RowMeasure, Test, ValueMeasure,
};
use crate::model::catalog::Access;
use crate::model::condition::{EventTypePattern, LifecyclePattern, Logic, RankOrder, TopShare};
use crate::model::decimal::Decimal;
use crate::model::path::DocPath;
use crate::model::scoring::Combination;
use crate::model::window::Window;

/// A node of the author's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineNode {
    /// Where it stands in the definition.
    pub path: DocPath,
    /// What it says, in one line.
    pub label: String,
    /// When it holds.
    pub formula: Formula<SubjectTest>,
    /// How well it holds; `None` in a segment that does not score, and of the score itself.
    pub degree: Option<Degree>,
    /// How much it counts, when it is the condition of a rule of a score.
    pub weight: Option<Decimal>,
    /// The nodes below it.
    pub children: Vec<Self>,
}

impl OutlineNode {
    /// This node and all below it, each before its children.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }
}

/// A node of the conditions on an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutlineNode {
    /// Where it stands in the definition.
    pub path: DocPath,
    /// What it says, in one line.
    pub label: String,
    /// When it holds.
    pub formula: Formula<RowTest>,
    /// The nodes below it.
    pub children: Vec<Self>,
}

/// The trees of conditions on events whose list stands at `place`.
#[must_use]
pub fn outline_rows(rows: &[CheckedRow], place: &DocPath) -> Vec<RowOutlineNode> {
    rows.iter().enumerate().map(|(index, row)| outline_row(row, place.index(index))).collect()
}

fn outline_row(row: &CheckedRow, path: DocPath) -> RowOutlineNode {
    let children = match row {
        CheckedRow::Group { conditions, .. } => outline_rows(conditions, &path.key("conditions")),
        CheckedRow::AtLeast { of, .. } => outline_rows(of, &path.key("of")),
        CheckedRow::Not(inner) => vec![outline_row(inner, path.key("not"))],
        CheckedRow::Test(_) => Vec::new(),
    };
    RowOutlineNode { path, label: row_label(row), formula: lower_row(row), children }
}

/// The tree of a segment's rule; `None` for a static segment.
#[must_use]
pub fn outline(segment: &CheckedSegment) -> Option<OutlineNode> {
    match segment.rule() {
        CheckedRule::Static => None,
        CheckedRule::Conditions(condition) => Some(outline_condition(condition, Grading::None)),
        CheckedRule::Scoring(scoring) => Some(outline_scoring(scoring)),
    }
}

fn outline_scoring(scoring: &CheckedScoring) -> OutlineNode {
    let combined = match scoring.combination {
        Combination::All => "the least degree",
        Combination::Any => "the greatest degree",
        Combination::Weighted => "the weighted mean of the degrees",
    };
    let rules = scoring.rules.iter().map(|rule| {
        let weight = Some(rule.weight.clone());
        OutlineNode { weight, ..outline_condition(&rule.condition, Grading::Degrees) }
    });
    OutlineNode {
        path: scoring.path.clone(),
        label: format!("score, {combined}, gte {}", scoring.threshold),
        formula: lower_scoring(scoring),
        degree: None,
        weight: None,
        children: rules.collect(),
    }
}

/// Whether nodes have degrees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grading {
    None,
    Degrees,
}

fn outline_condition(condition: &CheckedCondition, grading: Grading) -> OutlineNode {
    let outline_condition = |condition| outline_condition(condition, grading);
    let (label, children) = match condition {
        CheckedCondition::Group { logic, conditions, .. } => {
            let label = match logic {
                Logic::And => "all of",
                Logic::Or => "any of",
            };
            (label.to_owned(), conditions.iter().map(outline_condition).collect())
        }
        CheckedCondition::AtLeast { count, of, .. } => {
            (format!("at least {count} of {}", of.len()), of.iter().map(outline_condition).collect())
        }
        CheckedCondition::Not { condition, .. } => ("not".to_owned(), vec![outline_condition(condition)]),
        CheckedCondition::Leaf { leaf, .. } => (leaf_label(leaf), Vec::new()),
    };
    OutlineNode {
        path: condition.path().clone(),
        label,
        formula: lower_condition(condition),
        degree: (grading == Grading::Degrees).then(|| lower_degree(condition)),
        weight: None,
        children,
    }
}

fn leaf_label(leaf: &CheckedLeaf) -> String {
    match leaf {
        CheckedLeaf::Everyone => "everyone".to_owned(),
        CheckedLeaf::Nobody => "nobody: no source provides such a metric".to_owned(),
        CheckedLeaf::Lifecycle(lifecycle) => lifecycle_label(lifecycle),
        CheckedLeaf::Top(top) => top_label(top),
        CheckedLeaf::Compare(compare) => compare_label(compare),
        CheckedLeaf::Sequence(sequence) => sequence_label(sequence),
        CheckedLeaf::Signal(signal) => signal_label(signal),
        CheckedLeaf::Sample(sample) => format!("in a sample of {} % by `{}`", sample.percent, sample.salt),
        CheckedLeaf::Segment { segment_id, negated: false } => format!("in segment {segment_id}"),
        CheckedLeaf::Segment { segment_id, negated: true } => format!("not in segment {segment_id}"),
        CheckedLeaf::Attribute(attribute) => format!("{} {}", property_label(&attribute.property), test_label(&attribute.test)),
        CheckedLeaf::Events(events) => format!("{} {}", events_label(events), test_label(&events.test)),
    }
}

fn events_label(events: &CheckedEvents) -> String {
    let CheckedEvents { event_type, filter, window, measure, .. } = events;
    measured_label(measure, event_type.as_deref(), filter, window)
}

fn measured_label(
    measure: &CheckedMeasure,
    event_type: Option<&[EventTypePattern]>,
    filter: &[CheckedRow],
    window: &Window,
) -> String {
    let mut label = match measure {
        CheckedMeasure::Rows(measure) => row_measure(*measure).to_owned(),
        CheckedMeasure::Number(measure, access) => format!("{} {access}", number_measure(*measure)),
        CheckedMeasure::Value(measure, access, _) => format!("{} {access}", value_measure(*measure)),
    };
    label.push_str(" of ");
    label.push_str(&selection_label(event_type, filter));
    label.push_str(&window_label(window));
    label
}

fn top_label(top: &CheckedTop) -> String {
    let by = quantity_label(&top.by);
    let end = match top.order {
        RankOrder::Descending => "highest",
        RankOrder::Ascending => "lowest",
    };
    match &top.share {
        TopShare::Count(count) => format!("among the {count} with the {end} {by}"),
        TopShare::Percent(percent) => format!("among the {percent} % with the {end} {by}"),
    }
}

fn quantity_label(quantity: &CheckedQuantity) -> String {
    match quantity {
        CheckedQuantity::Events { event_type, filter, window, measure } => {
            measured_label(measure, event_type.as_deref(), filter, window)
        }
        CheckedQuantity::Property(property) => property_label(property),
    }
}

fn compare_label(compare: &CheckedCompare) -> String {
    let (left, right) = (quantity_label(&compare.left), quantity_label(&compare.right));
    let factor = if compare.factor == Decimal::from(1i64) { String::new() } else { format!("{} times ", compare.factor) };
    format!("{left} {} {factor}{right}", compare.operator)
}

fn sequence_label(sequence: &CheckedSequence) -> String {
    let step = |step: &CheckedStep| selection_label(step.event_type.as_deref(), &step.filter);
    let mut label = sequence.steps.iter().map(step).collect::<Vec<_>>().join(", then ");
    match (&sequence.absent, sequence.within) {
        (Some(absent), Some(within)) => label.push_str(&format!(", then no {} within {within}", step(absent))),
        (None, Some(within)) => label.push_str(&format!(" within {within}")),
        (_, None) => {}
    }
    if !sequence.same.is_empty() {
        label.push_str(&format!(", with the same {}", joined(&sequence.same)));
    }
    label.push_str(&window_label(&sequence.window));
    label
}

fn signal_label(signal: &CheckedSignal) -> String {
    let events = selection_label(Some(&signal.event_type), &[]);
    let window = window_label(&signal.window);
    format!("count of {events} by members of {}{window} {}", signal.segment_id, test_label(&signal.test))
}

/// Which events are looked at.
fn selection_label(event_type: Option<&[EventTypePattern]>, filter: &[CheckedRow]) -> String {
    let mut label = match event_type {
        None => "any event".to_owned(),
        Some(patterns) => patterns.iter().map(pattern_label).collect::<Vec<_>>().join(" or "),
    };
    if !filter.is_empty() {
        label.push_str(" where ");
        label.push_str(&rows_label(filter, " and "));
    }
    label
}

/// When, with a space before it; nothing for all history.
fn window_label(window: &Window) -> String {
    match window {
        Window::All => String::new(),
        Window::Last(duration) => format!(" in the last {duration}"),
        Window::Range { from, to } => {
            let ends = [("from", from), ("to", to)].into_iter();
            ends.filter_map(|(word, end)| end.as_ref().map(|end| format!(" {word} {end}"))).collect()
        }
    }
}

fn lifecycle_label(lifecycle: &CheckedLifecycle) -> String {
    let events = selection_label(lifecycle.event_type.as_deref(), &lifecycle.filter);
    match &lifecycle.pattern {
        LifecyclePattern::FirstTime(window) => format!("first {events} ever{}", window_label(window)),
        LifecyclePattern::Stopped { active, quiet } => {
            format!("{events} in the last {active} and none in the last {quiet}")
        }
        LifecyclePattern::Restarted { quiet, recent } => {
            format!("{events} again in the last {recent} after none since {quiet} ago, and some before")
        }
        LifecyclePattern::Regular { period, periods, at_least, count } => {
            let count = count.unwrap_or(1);
            format!("at least {count} of {events} in {at_least} of the last {periods} periods of {period}")
        }
    }
}

fn pattern_label(pattern: &EventTypePattern) -> String {
    match pattern {
        EventTypePattern::Exact(text) => text.clone(),
        EventTypePattern::Prefix(text) => format!("{text}*"),
    }
}

fn rows_label(rows: &[CheckedRow], by: &str) -> String {
    rows.iter().map(row_label).collect::<Vec<_>>().join(by)
}

fn row_label(row: &CheckedRow) -> String {
    match row {
        CheckedRow::Group { logic: Logic::And, conditions } => format!("({})", rows_label(conditions, " and ")),
        CheckedRow::Group { logic: Logic::Or, conditions } => format!("({})", rows_label(conditions, " or ")),
        CheckedRow::AtLeast { count, of } => format!("at least {count} of ({})", rows_label(of, ", ")),
        CheckedRow::Not(inner) => format!("not {}", row_label(inner)),
        CheckedRow::Test(attribute) => format!("{} {}", property_label(&attribute.property), test_label(&attribute.test)),
    }
}

fn property_label(property: &CheckedProperty) -> String {
    match property {
        CheckedProperty::Stored(access) => access.to_string(),
        CheckedProperty::DaysSince(access) => format!("days_since({access})"),
        CheckedProperty::DaysToAnniversary(access) => format!("days_to_anniversary({access})"),
        CheckedProperty::Part(part, access) => format!("{}({access})", part.keyword()),
        CheckedProperty::Mean(accesses) => format!("mean({})", joined(accesses)),
    }
}

fn test_label(test: &Test) -> String {
    let operand = match &test.operand {
        Operand::None => return test.operator.to_string(),
        Operand::Text(text) | Operand::Pattern { written: text, .. } => quoted(text),
        Operand::Texts(texts) => list(texts.iter().map(|text| quoted(text))),
        Operand::Number(number) => number.to_string(),
        Operand::NumberRange(low, high) => format!("{low} and {high}"),
        Operand::Numbers(numbers) => list(numbers.iter().map(ToString::to_string)),
        Operand::Boolean(value) => value.to_string(),
        Operand::Date(date) => date.to_string(),
        Operand::DateRange(low, high) => format!("{low} and {high}"),
        Operand::Elements(elements) => list(elements.iter().map(|element| match element {
            Element::Text(text) => quoted(text),
            Element::Number(number) => number.to_string(),
            Element::Boolean(value) => value.to_string(),
        })),
    };
    let case = if test.ignore_case { " (ignoring case)" } else { "" };
    format!("{} {operand}{case}", test.operator)
}

/// How many values of a list a label shows.
const SHOWN: usize = 5;

fn list(values: impl ExactSizeIterator<Item = String>) -> String {
    let more = values.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = values.take(SHOWN).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    format!("[{}]", shown.join(", "))
}

fn joined(accesses: &[Access]) -> String {
    accesses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn row_measure(measure: RowMeasure) -> &'static str {
    match measure {
        RowMeasure::Count => "count",
        RowMeasure::ActiveDays => "active days",
        RowMeasure::ActiveWeeks => "active weeks",
        RowMeasure::ActiveMonths => "active months",
        RowMeasure::DaysSinceFirst => "days since the first",
        RowMeasure::DaysSinceLast => "days since the last",
    }
}

fn number_measure(measure: NumberMeasure) -> &'static str {
    match measure {
        NumberMeasure::Sum => "sum of",
        NumberMeasure::Avg => "mean of",
        NumberMeasure::Min => "least",
        NumberMeasure::Max => "greatest",
        NumberMeasure::CountDistinct => "distinct",
    }
}

fn value_measure(measure: ValueMeasure) -> &'static str {
    match measure {
        ValueMeasure::First => "first",
        ValueMeasure::Last => "last",
        ValueMeasure::MostFrequent => "most frequent",
    }
}
