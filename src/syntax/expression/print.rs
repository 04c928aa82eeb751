//! A rule to one expression. What is read from it is the same rule, but for remarks, which an expression has no place for.

use std::fmt::Write as _;

use super::grammar::RESERVED;
use crate::model::condition::{
    AiVisibilityLeaf, AttributeTest, CompareLeaf, Comparison, Condition, EventCondition, EventLeaf, EventMeasure, EventTypePattern,
    Leaf, LifecycleLeaf, LifecyclePattern, Logic, Measure, Node, Quantity, RankOrder, SampleLeaf, SegmentLeaf, SequenceLeaf,
    SignalLeaf, TopLeaf, TopShare,
};
use crate::model::operator::Operator;
use crate::model::property::{Property, PropertyPath};
use crate::model::scoring::{Combination, Scoring};
use crate::model::segment::{Definition, Rule};
use crate::model::value::Literal;
use crate::model::window::{DateExpr, Duration, Window};

/// Prints the rule of a definition as one expression; `None` for a static segment, which has none.
///
/// What [`parse_expression`](super::parse_expression) reads from it for the same subject is the same rule, but for remarks, and for
/// attributes of the other subject, which `check` refuses in any case.
#[must_use]
pub fn print_expression(definition: &Definition) -> Option<String> {
    match definition.rule.as_ref()? {
        Rule::Conditions { logic, conditions } => Some(match (logic, conditions.as_slice()) {
            (Logic::And, [only]) if !is_group(&only.node) => condition(only, Around::Nothing),
            (logic, conditions) => group(*logic, conditions, Around::Nothing, condition),
        }),
        Rule::Scoring(scoring) => Some(self::scoring(scoring)),
    }
}

/// Prints one condition as an expression, without its remarks.
pub(in crate::syntax) fn print_condition(condition: &Condition) -> String {
    self::condition(condition, Around::Nothing)
}

fn scoring(scoring: &Scoring) -> String {
    let rules = scoring.rules.iter().map(|rule| {
        let condition = condition(&rule.condition, Around::Nothing);
        match &rule.weight {
            Some(weight) => call("rule", [condition, named("weight", &weight.to_string())]),
            None => condition,
        }
    });
    let combination = match scoring.combination {
        Combination::Weighted => None,
        Combination::All | Combination::Any => Some(named("combination", &text(scoring.combination.keyword()))),
    };
    let threshold = scoring.threshold.as_ref().map(|threshold| named("threshold", &threshold.to_string()));
    call("scoring", rules.chain(combination).chain(threshold))
}

/// What stands around a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// It is all there is, or an argument of a call.
    Nothing,
    /// `AND` or `OR`.
    Chain,
    /// `NOT`.
    Negation,
}

fn is_group(node: &Node) -> bool {
    match node {
        Node::Group { .. } => true,
        Node::AtLeast { .. } | Node::Not(_) | Node::Leaf(_) => false,
    }
}

fn condition(condition: &Condition, around: Around) -> String {
    match &condition.node {
        Node::Group { logic, conditions } => group(*logic, conditions, around, self::condition),
        Node::AtLeast { count, of } => at_least(*count, of, self::condition),
        Node::Not(inner) => format!("NOT {}", self::condition(inner, Around::Negation)),
        Node::Leaf(leaf) => self::leaf(leaf, around),
    }
}

fn event_condition(condition: &EventCondition, around: Around) -> String {
    match condition {
        EventCondition::Group { logic, conditions } => group(*logic, conditions, around, event_condition),
        EventCondition::AtLeast { count, of } => at_least(*count, of, event_condition),
        EventCondition::Not(inner) => format!("NOT {}", event_condition(inner, Around::Negation)),
        EventCondition::Test(test) => attribute(test).within(around),
    }
}

/// A chain of two or more; fewer conditions make a group only by a name.
fn group<C>(logic: Logic, conditions: &[C], around: Around, print: fn(&C, Around) -> String) -> String {
    let (separator, name) = match logic {
        Logic::And => (" AND ", "all_of"),
        Logic::Or => (" OR ", "any_of"),
    };
    if conditions.len() < 2 {
        return call(name, conditions.iter().map(|condition| print(condition, Around::Nothing)));
    }
    let printed: Vec<String> = conditions.iter().map(|condition| print(condition, Around::Chain)).collect();
    let chain = printed.join(separator);
    match around {
        Around::Nothing => chain,
        Around::Chain | Around::Negation => format!("({chain})"),
    }
}

fn at_least<C>(count: u64, of: &[C], print: fn(&C, Around) -> String) -> String {
    call("at_least", std::iter::once(count.to_string()).chain(of.iter().map(|condition| print(condition, Around::Nothing))))
}

/// A leaf: a call, or operands with an operator between them.
enum Printed {
    Call(String),
    Infix(String),
}

impl Printed {
    fn within(self, around: Around) -> String {
        match (self, around) {
            (Self::Infix(text), Around::Negation) => format!("({text})"),
            (Self::Infix(text), Around::Nothing | Around::Chain)
            | (Self::Call(text), Around::Nothing | Around::Chain | Around::Negation) => text,
        }
    }
}

fn leaf(leaf: &Leaf, around: Around) -> String {
    match leaf {
        Leaf::Attribute { subject: _, test } => attribute(test).within(around),
        Leaf::Event(EventLeaf { events, comparison }) => measured(&Left::Events(events), comparison.as_ref()).within(around),
        Leaf::Segment(SegmentLeaf { segment_id, negated }) => {
            call(if *negated { "not_in_segment" } else { "in_segment" }, [text(segment_id.as_str())])
        }
        Leaf::Everyone => call("everyone", []),
        Leaf::Lifecycle(lifecycle) => self::lifecycle(lifecycle),
        Leaf::Sample(SampleLeaf { percent, salt }) => {
            let salt = salt.as_ref().map(|salt| named("salt", &text(salt)));
            call("sample", std::iter::once(percent.to_string()).chain(salt))
        }
        Leaf::AiVisibilityMetric(AiVisibilityLeaf { metric, comparison }) => {
            let left = Left::Call("ai_visibility_metric", metric.iter().map(|metric| text(metric)).collect());
            measured(&left, comparison.as_ref()).within(around)
        }
        Leaf::Top(TopLeaf { by, order, share }) => {
            let share = match share {
                TopShare::Count(count) => named("count", &count.to_string()),
                TopShare::Percent(percent) => named("percent", &percent.to_string()),
            };
            let order = match order {
                RankOrder::Descending => None,
                RankOrder::Ascending => Some(named("order", &text(order.keyword()))),
            };
            call("top", [quantity(by), share].into_iter().chain(order))
        }
        Leaf::Sequence(sequence) => self::sequence(sequence),
        Leaf::Compare(compare) => self::compare(compare).within(around),
        Leaf::UserBehaviorSignal(signal) => self::signal(signal).within(around),
    }
}

fn attribute(test: &AttributeTest) -> Printed {
    compared(&Left::Property(&test.property), &test.comparison)
}

/// A left side that is a condition without a comparison, too.
fn measured(left: &Left<'_>, comparison: Option<&Comparison>) -> Printed {
    match comparison {
        Some(comparison) => compared(left, comparison),
        None => Printed::Call(left.print(&[])),
    }
}

fn lifecycle(lifecycle: &LifecycleLeaf) -> String {
    let mut arguments = event_types(lifecycle.event_type.as_deref());
    arguments.extend(filter(&lifecycle.filter));
    let length = |name: &str, length: &Duration| named(name, &text(&length.to_string()));
    match &lifecycle.pattern {
        LifecyclePattern::FirstTime(window) => arguments.extend(self::window(window)),
        LifecyclePattern::Stopped { active, quiet } => arguments.extend([length("active", active), length("quiet", quiet)]),
        LifecyclePattern::Restarted { quiet, recent } => arguments.extend([length("quiet", quiet), length("recent", recent)]),
        LifecyclePattern::Regular { period, periods, at_least, count } => {
            arguments.push(length("period", period));
            arguments.push(named("periods", &periods.to_string()));
            arguments.push(named("at_least", &at_least.to_string()));
            arguments.extend(count.map(|count| named("count", &count.to_string())));
        }
    }
    call(lifecycle.pattern.keyword(), arguments)
}

fn sequence(sequence: &SequenceLeaf) -> String {
    let steps = sequence.steps.iter().map(|step| {
        let mut arguments = event_types(step.event_type.as_deref());
        arguments.extend(filter(&step.filter));
        arguments.extend(step.absent.then(|| named("absent", "TRUE")));
        call("step", arguments)
    });
    let mut arguments: Vec<String> = steps.collect();
    arguments.extend(sequence.within.map(|within| named("within", &text(&within.to_string()))));
    match sequence.same.as_slice() {
        [] => {}
        [only] => arguments.push(named("same", &path(only))),
        several => arguments.push(named("same", &format!("[{}]", several.iter().map(path).collect::<Vec<_>>().join(", ")))),
    }
    arguments.extend(window(&sequence.window));
    call("sequence", arguments)
}

fn compare(compare: &CompareLeaf) -> Printed {
    let CompareLeaf { left, operator, right, factor } = compare;
    let (left, right) = (quantity(left), quantity(right));
    let right = factor.as_ref().map_or_else(|| right.clone(), |factor| format!("{factor} * {right}"));
    Printed::Infix(format!("{left} {} {right}", sign(*operator)))
}

fn signal(signal: &SignalLeaf) -> Printed {
    let SignalLeaf { signal, segment_id, event_type, product_id_property, window, comparison } = signal;
    let mut arguments = vec![text(segment_id.as_str())];
    arguments.extend(event_type.as_deref().map(|types| match types {
        [only] => named("event_type", &self::event_type(only)),
        several => named("event_type", &format!("[{}]", several.iter().map(self::event_type).collect::<Vec<_>>().join(", "))),
    }));
    arguments.extend(product_id_property.as_ref().map(|property| named("product_id_property", &path(property))));
    arguments.extend(self::window(window));
    measured(&Left::Call(signal.keyword(), arguments), comparison.as_ref())
}

fn quantity(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Events(measure) => events(measure, &[]),
        Quantity::Property { property, value_type } => {
            let read_as: Vec<String> = value_type.iter().map(|value_type| named("type", &text(value_type.keyword()))).collect();
            self::property(property, &read_as)
        }
    }
}

/// What stands on the left of a comparison.
enum Left<'a> {
    Property(&'a Property),
    Events(&'a EventMeasure),
    /// A call of a function with these arguments.
    Call(&'static str, Vec<String>),
}

impl Left<'_> {
    /// The left side with what it is read as.
    fn print(&self, read_as: &[String]) -> String {
        match self {
            Self::Property(property) => self::property(property, read_as),
            Self::Events(measure) => events(measure, read_as),
            Self::Call(name, arguments) => call(name, arguments.iter().chain(read_as).cloned()),
        }
    }
}

fn compared(left: &Left<'_>, comparison: &Comparison) -> Printed {
    let Comparison { operator, value, value2, value_type, ignore_case } = comparison;
    let mut read_as = Vec::new();
    if let Some(value_type) = value_type {
        read_as.push(named("type", &text(value_type.keyword())));
    }
    if *ignore_case {
        read_as.push(named("ignore_case", "TRUE"));
    }
    let infix = |operator: &str, right: String| Printed::Infix(format!("{} {operator}{right}", left.print(&read_as)));
    let between =
        |operator: &str, low: &Literal, high: &Literal| infix(operator, format!(" {} AND {}", literal(low), literal(high)));
    let name = operator.keyword();
    match (operator, value, value2) {
        (Operator::Eq | Operator::Neq | Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte, Some(value), None) => {
            infix(sign(*operator), format!(" {}", literal(value)))
        }
        (Operator::Between, Some(low), Some(high)) => between("BETWEEN", low, high),
        (Operator::NotBetween, Some(low), Some(high)) => between("NOT BETWEEN", low, high),
        (Operator::In, Some(Literal::List(values)), None) => infix("IN", format!(" ({})", literals(values))),
        (Operator::NotIn, Some(Literal::List(values)), None) => infix("NOT IN", format!(" ({})", literals(values))),
        (Operator::IsTrue, None, None) => infix("IS", " TRUE".to_owned()),
        (Operator::IsFalse, None, None) => infix("IS", " FALSE".to_owned()),
        (
            Operator::Contains
            | Operator::DoesNotContain
            | Operator::StartsWith
            | Operator::EndsWith
            | Operator::Matches
            | Operator::ContainsAny
            | Operator::ContainsAll,
            Some(value),
            None,
        ) => Printed::Call(call(name, [left.print(&[]), literal(value)].into_iter().chain(read_as))),
        (Operator::IsSet | Operator::IsNotSet, None, None) => {
            Printed::Call(call(name, [left.print(&[])].into_iter().chain(read_as)))
        }
        // Any operator with operands that it does not take: a definition that `check` refuses, and that prints all the same.
        (
            Operator::Eq
            | Operator::Neq
            | Operator::Gt
            | Operator::Gte
            | Operator::Lt
            | Operator::Lte
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
            | Operator::ContainsAll,
            value,
            value2,
        ) => {
            let values = [("value", value), ("value2", value2)];
            let values = values.into_iter().filter_map(|(name, value)| Some(named(name, &literal(value.as_ref()?))));
            Printed::Call(call("test", [left.print(&[]), text(name)].into_iter().chain(values).chain(read_as)))
        }
    }
}

/// The sign of SQL between two values; that of `eq` for an operator that has none.
fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Neq => "<>",
        Operator::Gt => ">",
        Operator::Gte => ">=",
        Operator::Lt => "<",
        Operator::Lte => "<=",
        _ => "=",
    }
}

fn property(property: &Property, read_as: &[String]) -> String {
    let of = |name: &str, paths: &[PropertyPath]| call(name, paths.iter().map(path).chain(read_as.iter().cloned()));
    match property {
        Property::Path(path) if read_as.is_empty() => self::path(path),
        Property::Path(path) => of("value", std::slice::from_ref(path)),
        Property::DaysSince(path) => of("days_since", std::slice::from_ref(path)),
        Property::DaysToAnniversary(path) => of("days_to_anniversary", std::slice::from_ref(path)),
        Property::Part(part, path) => of(part.keyword(), std::slice::from_ref(path)),
        Property::Mean(paths) => of("mean", paths),
    }
}

fn events(events: &EventMeasure, read_as: &[String]) -> String {
    let mut arguments = event_types(events.event_type.as_deref());
    arguments.extend(filter(&events.filter));
    arguments.extend(measure(&events.measure));
    arguments.extend(window(&events.window));
    call("events", arguments.into_iter().chain(read_as.iter().cloned()))
}

/// The types of events as arguments: none for events of any type.
fn event_types(patterns: Option<&[EventTypePattern]>) -> Vec<String> {
    match patterns {
        None => Vec::new(),
        Some([]) => vec!["[]".to_owned()],
        Some(patterns) => patterns.iter().map(event_type).collect(),
    }
}

fn event_type(pattern: &EventTypePattern) -> String {
    match pattern {
        EventTypePattern::Exact(name) => text(&name.replace('*', "\\*")),
        EventTypePattern::Prefix(name) => text(&format!("{}*", name.replace('*', "\\*"))),
    }
}

fn filter(conditions: &[EventCondition]) -> Option<String> {
    let is_group = |condition: &EventCondition| match condition {
        EventCondition::Group { .. } => true,
        EventCondition::AtLeast { .. } | EventCondition::Not(_) | EventCondition::Test(_) => false,
    };
    let printed = match conditions {
        [] => return None,
        [only] if !is_group(only) => event_condition(only, Around::Nothing),
        // An `OR` is one entry of `where`; entries that must all hold are not told from a group of them but by a name.
        [only @ EventCondition::Group { logic: Logic::Or, .. }] => event_condition(only, Around::Nothing),
        conditions => group(Logic::And, conditions, Around::Nothing, event_condition),
    };
    Some(named("where", &format!("({printed})")))
}

fn measure(measure: &Measure) -> Option<String> {
    let property = match measure {
        Measure::Count => return None,
        Measure::ActiveDays | Measure::ActiveWeeks | Measure::ActiveMonths | Measure::DaysSinceFirst | Measure::DaysSinceLast => {
            return Some(named("measure", &text(measure.keyword())));
        }
        Measure::Sum(path)
        | Measure::Avg(path)
        | Measure::Min(path)
        | Measure::Max(path)
        | Measure::CountDistinct(path)
        | Measure::MostFrequent(path) => named(measure.keyword(), &text(&path.to_string())),
        // `last` is a window.
        Measure::First(path) => named("first_value", &text(&path.to_string())),
        Measure::Last(path) => named("last_value", &text(&path.to_string())),
    };
    Some(property)
}

fn window(window: &Window) -> Vec<String> {
    match window {
        Window::All => Vec::new(),
        Window::Last(duration) => vec![named("last", &text(&duration.to_string()))],
        Window::Range { from, to } => {
            let end = |name: &str, date: &Option<_>| date.as_ref().map(|date: &DateExpr| named(name, &text(&date.to_string())));
            [end("from", from), end("to", to)].into_iter().flatten().collect()
        }
    }
}

fn path(path: &PropertyPath) -> String {
    let keys: Vec<String> = path.keys().iter().map(|key| name(key)).collect();
    keys.join(".")
}

/// A key as it is, or in double quotes when it reads as something else.
fn name(key: &str) -> String {
    let mut bytes = key.bytes();
    let is_plain = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !RESERVED.iter().any(|(word, _)| word.eq_ignore_ascii_case(key));
    if is_plain { key.to_owned() } else { format!("\"{}\"", key.replace('"', "\"\"")) }
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Boolean(true) => "TRUE".to_owned(),
        Literal::Boolean(false) => "FALSE".to_owned(),
        Literal::Number(number) => number.to_string(),
        Literal::Text(text) => self::text(text),
        Literal::List(values) => format!("[{}]", literals(values)),
    }
}

fn literals(values: &[Literal]) -> String {
    let values: Vec<String> = values.iter().map(literal).collect();
    values.join(", ")
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn named(name: &str, value: &str) -> String {
    format!("{name} => {value}")
}

fn call(name: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let mut printed = format!("{name}(");
    for (index, argument) in arguments.into_iter().enumerate() {
        // Writing to a text does not fail.
        write!(printed, "{}{argument}", if index > 0 { ", " } else { "" }).ok();
    }
    printed.push(')');
    printed
}
