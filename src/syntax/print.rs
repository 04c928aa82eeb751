//! A definition to canonical JSON: keys in the order of the language reference, defaults left out, two spaces of indent.

use std::fmt::Write;

use super::node::{Member, Node, NodeKind};
use crate::model::condition::{
    AiVisibilityLeaf, AttributeTest, CompareLeaf, Comparison, Condition, EventCondition, EventLeaf, EventTypePattern, Leaf,
    LifecycleLeaf, LifecyclePattern, Measure, Node as Rule, Quantity, RankOrder, SampleLeaf, SegmentLeaf, SequenceLeaf, SignalLeaf,
    Subject, TopLeaf, TopShare,
};
use crate::model::property::{Property, PropertyPath};
use crate::model::schedule::Schedule;
use crate::model::scoring::{Combination, Scoring, ScoringRule};
use crate::model::segment::{self, Definition, Keeping, Kind, Status};
use crate::model::value::Literal;
use crate::model::window::Window;

/// Prints a definition as canonical JSON, with a newline at its end.
///
/// What [`parse`](super::parse) reads from it is the same definition, but for leaves that are not evaluated yet: of these only the
/// name is kept.
#[must_use]
pub fn print_json(definition: &Definition) -> String {
    let mut text = String::new();
    write_node(&mut text, &definition_node(definition), 0);
    text.push('\n');
    text
}

fn definition_node(definition: &Definition) -> Node {
    let mut object = Object::default();
    object.text("id", definition.id.as_str());
    object.optional("name", definition.name.as_deref().map(text));
    object.optional("description", definition.description.as_deref().map(text));
    match definition.subject {
        Subject::User => {}
        Subject::Product => object.text("subject", definition.subject.keyword()),
    }
    match definition.kind {
        Kind::Dynamic => {}
        Kind::Static => object.text("kind", "static"),
    }
    match definition.status {
        Status::Active => {}
        Status::Paused => object.text("status", "paused"),
        Status::Archived => object.text("status", "archived"),
    }
    match &definition.schedule {
        None => {}
        Some(Schedule::Every(interval)) => object.text("refresh_interval", &interval.to_string()),
        Some(Schedule::Cron(expression)) => object.text("schedule", expression),
    }
    object.optional("cache_ttl", definition.cache_ttl.map(|ttl| text(&ttl.to_string())));
    object.optional("max_change", definition.max_change.as_ref().map(|change| text(&change.to_string())));
    if !definition.tags.is_empty() {
        object.push("tags", list(definition.tags.iter().map(|tag| text(tag))));
    }
    object.optional("icon", definition.icon.as_deref().map(text));
    object.optional("color", definition.color.as_deref().map(text));
    match &definition.rule {
        None => {}
        Some(segment::Rule::Conditions { logic, conditions }) => {
            object.text("logic", logic.keyword());
            object.push("conditions", list(conditions.iter().map(condition_node)));
        }
        Some(segment::Rule::Scoring(scoring)) => object.push("scoring", scoring_node(scoring)),
    }
    object.optional("metadata", definition.metadata.as_ref().map(carried_object));
    let Keeping { snapshots, changes, history } = definition.keeping;
    for (key, keep) in [("keep_snapshots", snapshots), ("keep_changes", changes), ("keep_history", history)] {
        object.optional(key, keep.map(|keep| text(&keep.to_string())));
    }
    object.into_node()
}

pub(super) fn condition_node(condition: &Condition) -> Node {
    let mut object = Object::default();
    match &condition.node {
        Rule::Group { logic, conditions } => {
            object.text("logic", logic.keyword());
            object.push("conditions", list(conditions.iter().map(condition_node)));
        }
        Rule::AtLeast { count, of } => {
            object.push("at_least", number(count));
            object.push("of", list(of.iter().map(condition_node)));
        }
        Rule::Not(condition) => object.push("not", condition_node(condition)),
        Rule::Leaf(leaf) => leaf_members(leaf, &mut object),
    }
    object.optional("description", condition.description.as_deref().map(text));
    object.into_node()
}

fn leaf_members(leaf: &Leaf, object: &mut Object) {
    match leaf {
        Leaf::Attribute { subject, test } => {
            object.text(
                "type",
                match subject {
                    Subject::User => "user_attribute",
                    Subject::Product => "product_attribute",
                },
            );
            test_members(test, object);
        }
        Leaf::Event(event) => event_members(event, object),
        Leaf::Segment(SegmentLeaf { segment_id, negated }) => {
            object.text("type", "segment");
            object.text("segment_id", segment_id.as_str());
            if *negated {
                object.text("operator", "not_in");
            }
        }
        Leaf::Everyone => object.text("type", "everyone"),
        Leaf::Lifecycle(lifecycle) => lifecycle_members(lifecycle, object),
        Leaf::Sequence(sequence) => sequence_members(sequence, object),
        Leaf::Compare(compare) => compare_members(compare, object),
        Leaf::Top(top) => top_members(top, object),
        Leaf::Sample(SampleLeaf { percent, salt }) => {
            object.text("type", "sample");
            object.push("percent", number(percent));
            object.optional("salt", salt.as_deref().map(text));
        }
        Leaf::UserBehaviorSignal(signal) => signal_members(signal, object),
        Leaf::AiVisibilityMetric(AiVisibilityLeaf { metric, comparison }) => {
            object.text("type", "ai_visibility_metric");
            object.optional("metric", metric.as_deref().map(text));
            if let Some(comparison) = comparison {
                comparison_members(comparison, object);
            }
        }
    }
}

fn test_members(test: &AttributeTest, object: &mut Object) {
    object.push("property", property_node(&test.property));
    comparison_members(&test.comparison, object);
}

fn property_node(property: &Property) -> Node {
    let of = |key: &str, path: &PropertyPath| single(key, text(&path.to_string()));
    match property {
        Property::Path(path) => text(&path.to_string()),
        Property::DaysSince(path) => of("days_since", path),
        Property::DaysToAnniversary(path) => of("days_to_anniversary", path),
        Property::Part(part, path) => of(part.keyword(), path),
        Property::Mean(paths) => single("mean", list(paths.iter().map(|path| text(&path.to_string())))),
    }
}

fn comparison_members(comparison: &Comparison, object: &mut Object) {
    object.text("operator", comparison.operator.keyword());
    object.optional("value", comparison.value.as_ref().map(literal_node));
    object.optional("value2", comparison.value2.as_ref().map(literal_node));
    object.optional("value_type", comparison.value_type.map(|value_type| text(value_type.keyword())));
    if comparison.ignore_case {
        object.push("ignore_case", node(NodeKind::Boolean(true)));
    }
}

pub(super) fn event_members(event: &EventLeaf, object: &mut Object) {
    let events = &event.events;
    object.text("type", "event");
    selection_members(events.event_type.as_deref(), &events.filter, object);
    object.optional("measure", measure_node(&events.measure));
    if let Some(comparison) = &event.comparison {
        comparison_members(comparison, object);
    }
    object.optional("window", window_node(&events.window));
}

/// Which events are looked at.
fn selection_members(event_type: Option<&[EventTypePattern]>, filter: &[EventCondition], object: &mut Object) {
    match event_type {
        None => {}
        Some([pattern]) => object.push("event_type", event_type_node(pattern)),
        Some(patterns) => object.push("event_type", list(patterns.iter().map(event_type_node))),
    }
    if !filter.is_empty() {
        object.push("where", list(filter.iter().map(event_condition_node)));
    }
}

/// `None` for a count.
fn measure_node(measure: &Measure) -> Option<Node> {
    match measure.property() {
        None if *measure == Measure::Count => None,
        None => Some(text(measure.keyword())),
        Some(path) => Some(single(measure.keyword(), text(&path.to_string()))),
    }
}

fn sequence_members(sequence: &SequenceLeaf, object: &mut Object) {
    object.text("type", "sequence");
    let steps = sequence.steps.iter().map(|step| {
        let mut object = Object::default();
        selection_members(step.event_type.as_deref(), &step.filter, &mut object);
        if step.absent {
            object.push("absent", node(NodeKind::Boolean(true)));
        }
        object.into_node()
    });
    object.push("steps", list(steps));
    object.optional("within", sequence.within.map(|within| text(&within.to_string())));
    if !sequence.same.is_empty() {
        object.push("same", list(sequence.same.iter().map(|path| text(&path.to_string()))));
    }
    object.optional("window", window_node(&sequence.window));
}

fn compare_members(compare: &CompareLeaf, object: &mut Object) {
    object.text("type", "compare");
    object.push("left", quantity_node(&compare.left));
    object.text("operator", compare.operator.keyword());
    object.push("right", quantity_node(&compare.right));
    object.optional("factor", compare.factor.as_ref().map(number));
}

fn signal_members(signal: &SignalLeaf, object: &mut Object) {
    object.text("type", "user_behavior_signal");
    object.text("signal", signal.signal.keyword());
    object.text("segment_id", signal.segment_id.as_str());
    selection_members(signal.event_type.as_deref(), &[], object);
    object.optional("product_id_property", signal.product_id_property.as_ref().map(|path| text(&path.to_string())));
    if let Some(comparison) = &signal.comparison {
        comparison_members(comparison, object);
    }
    object.optional("window", window_node(&signal.window));
}

fn top_members(top: &TopLeaf, object: &mut Object) {
    object.text("type", "top");
    object.push("by", quantity_node(&top.by));
    match top.order {
        RankOrder::Descending => {}
        RankOrder::Ascending => object.text("order", top.order.keyword()),
    }
    match &top.share {
        TopShare::Count(count) => object.push("count", number(count)),
        TopShare::Percent(percent) => object.push("percent", number(percent)),
    }
}

fn quantity_node(quantity: &Quantity) -> Node {
    let mut object = Object::default();
    match quantity {
        Quantity::Events(events) => {
            object.text("type", "event");
            selection_members(events.event_type.as_deref(), &events.filter, &mut object);
            object.optional("measure", measure_node(&events.measure));
            object.optional("window", window_node(&events.window));
        }
        Quantity::Property { property, value_type } => {
            object.push("property", property_node(property));
            object.optional("value_type", value_type.map(|value_type| text(value_type.keyword())));
        }
    }
    object.into_node()
}

/// `None` for all history.
fn window_node(window: &Window) -> Option<Node> {
    match window {
        Window::All => None,
        Window::Last(duration) => Some(single("last", text(&duration.to_string()))),
        Window::Range { from, to } => {
            let mut window = Object::default();
            window.optional("from", from.as_ref().map(|date| text(&date.to_string())));
            window.optional("to", to.as_ref().map(|date| text(&date.to_string())));
            Some(window.into_node())
        }
    }
}

fn lifecycle_members(lifecycle: &LifecycleLeaf, object: &mut Object) {
    object.text("type", "lifecycle");
    selection_members(lifecycle.event_type.as_deref(), &lifecycle.filter, object);
    let mut pattern = Object::default();
    let inner = match &lifecycle.pattern {
        LifecyclePattern::FirstTime(window) => window_node(window).unwrap_or_else(|| Object::default().into_node()),
        LifecyclePattern::Stopped { active, quiet } => {
            pattern.text("active", &active.to_string());
            pattern.text("quiet", &quiet.to_string());
            pattern.into_node()
        }
        LifecyclePattern::Restarted { quiet, recent } => {
            pattern.text("quiet", &quiet.to_string());
            pattern.text("recent", &recent.to_string());
            pattern.into_node()
        }
        LifecyclePattern::Regular { period, periods, at_least, count } => {
            pattern.text("period", &period.to_string());
            pattern.push("periods", number(periods));
            pattern.push("at_least", number(at_least));
            pattern.optional("count", count.as_ref().map(number));
            pattern.into_node()
        }
    };
    object.push("pattern", single(lifecycle.pattern.keyword(), inner));
}

pub(super) fn event_type_node(pattern: &EventTypePattern) -> Node {
    match pattern {
        EventTypePattern::Exact(name) => text(&name.replace('*', "\\*")),
        EventTypePattern::Prefix(name) => text(&format!("{}*", name.replace('*', "\\*"))),
    }
}

fn event_condition_node(condition: &EventCondition) -> Node {
    let mut object = Object::default();
    match condition {
        EventCondition::Group { logic, conditions } => {
            object.text("logic", logic.keyword());
            object.push("conditions", list(conditions.iter().map(event_condition_node)));
        }
        EventCondition::AtLeast { count, of } => {
            object.push("at_least", number(count));
            object.push("of", list(of.iter().map(event_condition_node)));
        }
        EventCondition::Not(condition) => object.push("not", event_condition_node(condition)),
        EventCondition::Test(test) => test_members(test, &mut object),
    }
    object.into_node()
}

fn scoring_node(scoring: &Scoring) -> Node {
    let mut object = Object::default();
    match scoring.combination {
        Combination::Weighted => {}
        Combination::All => object.text("combination", "all"),
        Combination::Any => object.text("combination", "any"),
    }
    object.optional("threshold", scoring.threshold.as_ref().map(number));
    object.push("rules", list(scoring.rules.iter().map(scoring_rule_node)));
    object.into_node()
}

fn scoring_rule_node(rule: &ScoringRule) -> Node {
    let mut object = Object::default();
    object.push("condition", condition_node(&rule.condition));
    object.optional("weight", rule.weight.as_ref().map(number));
    object.optional("description", rule.description.as_deref().map(text));
    object.into_node()
}

pub(super) fn literal_node(literal: &Literal) -> Node {
    match literal {
        Literal::Boolean(value) => node(NodeKind::Boolean(*value)),
        Literal::Number(value) => number(value),
        Literal::Text(value) => text(value),
        Literal::List(values) => list(values.iter().map(literal_node)),
    }
}

fn carried_object(members: &serde_json::Map<String, serde_json::Value>) -> Node {
    let mut object = Object::default();
    for (key, value) in members {
        object.push(key, carried_node(value));
    }
    object.into_node()
}

fn carried_node(value: &serde_json::Value) -> Node {
    use serde_json::Value;
    match value {
        Value::Null => node(NodeKind::Null),
        Value::Bool(value) => node(NodeKind::Boolean(*value)),
        Value::Number(value) => number(value),
        Value::String(value) => text(value),
        Value::Array(values) => list(values.iter().map(carried_node)),
        Value::Object(members) => carried_object(members),
    }
}

/// Members in the order in which they are pushed.
#[derive(Default)]
pub(super) struct Object(Vec<Member>);

impl Object {
    pub(super) fn push(&mut self, key: &str, value: Node) {
        self.0.push(Member { key: key.to_owned(), key_span: 0..0, value });
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.push(key, text(value));
    }

    pub(super) fn optional(&mut self, key: &str, value: Option<Node>) {
        if let Some(value) = value {
            self.push(key, value);
        }
    }

    pub(super) fn into_node(self) -> Node {
        node(NodeKind::Object(self.0))
    }
}

fn node(kind: NodeKind) -> Node {
    Node { kind, span: 0..0 }
}

fn text(value: &str) -> Node {
    node(NodeKind::Text(value.to_owned()))
}

fn number(value: &impl ToString) -> Node {
    node(NodeKind::Number(value.to_string()))
}

fn list(values: impl Iterator<Item = Node>) -> Node {
    node(NodeKind::List(values.collect()))
}

fn single(key: &str, value: Node) -> Node {
    let mut object = Object::default();
    object.push(key, value);
    object.into_node()
}

pub(super) fn write_node(out: &mut String, node: &Node, indent: usize) {
    match &node.kind {
        NodeKind::Null => out.push_str("null"),
        NodeKind::Boolean(true) => out.push_str("true"),
        NodeKind::Boolean(false) => out.push_str("false"),
        NodeKind::Number(digits) => out.push_str(digits),
        NodeKind::Text(value) => write_text(out, value),
        NodeKind::List(values) => {
            let scalars = values.iter().all(|value| !matches!(value.kind, NodeKind::List(_) | NodeKind::Object(_)));
            let layout = if scalars { Layout::Line } else { Layout::Block };
            write_sequence(out, ['[', ']'], values, indent, layout, write_node);
        }
        NodeKind::Object(members) => {
            write_sequence(out, ['{', '}'], members, indent, Layout::Block, |out, member, indent| {
                write_text(out, &member.key);
                out.push_str(": ");
                write_node(out, &member.value, indent);
            });
        }
    }
}

/// Whether a sequence stands in one line.
#[derive(Clone, Copy)]
enum Layout {
    Line,
    Block,
}

fn write_sequence<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    indent: usize,
    layout: Layout,
    write: impl Fn(&mut String, &T, usize),
) {
    let separate = |out: &mut String, indent: usize| match layout {
        Layout::Line => {}
        Layout::Block => {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", indent));
        }
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
            if matches!(layout, Layout::Line) {
                out.push(' ');
            }
        }
        separate(out, indent + 1);
        write(out, item, indent + 1);
    }
    if !items.is_empty() {
        separate(out, indent);
    }
    out.push(close);
}

fn write_text(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a text does not fail.
                let _written = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
