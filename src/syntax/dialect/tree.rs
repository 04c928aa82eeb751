//! `tree`: nested `and` and `or` over attributes of persons and counts of their events.

use super::super::decode::{Fields, Place};
use super::super::node::Node;
use super::super::print::{self, Object};
use super::export::{Leaving, Writer};
use super::settings::Feature;
use super::{Body, Mapping, Translator, build, given, is_static};
use crate::model::condition::{
    AttributeTest, Comparison, Condition, EventCondition, EventLeaf, EventTypePattern, Leaf, Logic, Measure, Node as Rule, Subject,
};
use crate::model::operator::{Operator, ValueType};
use crate::model::path::DocPath;
use crate::model::property::{Property, PropertyPath};
use crate::model::value::Literal;
use crate::model::window::{Duration, Unit, Window};

const OPERATORS: [(&str, Operator); 9] = [
    (">", Operator::Gt),
    (">=", Operator::Gte),
    ("<", Operator::Lt),
    ("<=", Operator::Lte),
    ("=", Operator::Eq),
    ("!=", Operator::Neq),
    ("contains", Operator::Contains),
    ("starts_with", Operator::StartsWith),
    ("in", Operator::In),
];

/// How far events are looked back for when a condition does not say.
const DAYS: u32 = 30;

/// The property of events that `event_type` of a condition compares.
const EVENT_PROPERTY: &str = "event_type";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Number(PersonNumber),
    Text(&'static str),
    CustomProperty,
    Event,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PersonNumber {
    TotalEvents,
    ActiveDays,
    TotalRenders,
    PricingPageViews,
}

impl PersonNumber {
    const ALL: [Self; 4] = [Self::TotalEvents, Self::ActiveDays, Self::TotalRenders, Self::PricingPageViews];

    fn keyword(self) -> &'static str {
        match self {
            Self::TotalEvents => "total_events",
            Self::ActiveDays => "active_days",
            Self::TotalRenders => "total_renders",
            Self::PricingPageViews => "pricing_page_views",
        }
    }

    /// What it stands for: what is configured, else a column of its name, else what is counted of events.
    fn feature(self, mapping: Mapping<'_>) -> Feature {
        let tree = &mapping.settings.tree;
        let configured = match self {
            Self::TotalEvents => &tree.total_events,
            Self::ActiveDays => &tree.active_days,
            Self::TotalRenders => &tree.total_renders,
            Self::PricingPageViews => &tree.pricing_page_views,
        };
        if let Some(feature) = configured {
            return feature.clone();
        }
        if mapping.is_column(self.keyword())
            && let Some(path) = PropertyPath::from_keys(vec![self.keyword().to_owned()])
        {
            return Feature::Property(path);
        }
        match self {
            Self::TotalEvents => Feature::count(&[]),
            Self::ActiveDays => Feature::measure(&[], Measure::ActiveDays),
            Self::TotalRenders => Feature::count(&["video_rendered", "first_render_completed"]),
            Self::PricingPageViews => Feature::count(&["pricing_view"]),
        }
    }
}

const ATTRIBUTES: [(&str, Attribute); 9] = [
    ("total_events", Attribute::Number(PersonNumber::TotalEvents)),
    ("active_days", Attribute::Number(PersonNumber::ActiveDays)),
    ("total_renders", Attribute::Number(PersonNumber::TotalRenders)),
    ("pricing_page_views", Attribute::Number(PersonNumber::PricingPageViews)),
    ("email", Attribute::Text("email")),
    ("country", Attribute::Text("country")),
    ("subscription_status", Attribute::Text("subscription_status")),
    ("custom_property", Attribute::CustomProperty),
    ("event", Attribute::Event),
];

const GROUP_KEYS: &[&str] = &["type", "conditions"];
const CONDITION_KEYS: &[&str] = &["type", "attribute", "operator", "value"];
const CUSTOM_KEYS: &[&str] = &["type", "attribute", "operator", "value", "property"];
const EVENT_KEYS: &[&str] = &["type", "attribute", "operator", "value", "days", "event_name", "event_type"];
const RULE_KEYS: &[&str] =
    &["type", "conditions", "attribute", "operator", "value", "property", "days", "event_name", "event_type"];

#[derive(Clone, Copy)]
enum NodeType {
    Group(Logic),
    Condition,
}

/// Whether other keys than those of a node may stand in its object.
#[derive(Clone, Copy)]
enum Others {
    /// They are errors.
    Refused,
    /// They are read as those of the definition around it.
    OfDefinition,
}

impl Translator<'_> {
    /// A definition: a rule under `rule`, or alone.
    pub(super) fn tree(&mut self, fields: &Fields<'_>) -> Body {
        let body = |rule_keys, rule| Body { rule_keys, rule, members: Vec::new() };
        if let Some(place) = given(fields, "rule") {
            return body(&["rule"], self.tree_node(&place, Others::Refused));
        }
        if is_static(fields) {
            return body(&["rule"], None);
        }
        if fields.has_any(&["conditions", "attribute", "type"]) && !fields.has("rule") {
            return body(RULE_KEYS, self.tree_node(&fields.place, Others::OfDefinition));
        }
        self.decoder.required(fields, "rule", RULE_KEYS);
        if fields.has("rule") {
            // It is there, and null.
            self.untranslatable(
                &fields.place,
                "a definition has no rule",
                "Write `\"type\": \"static\"` for members added by hand.",
            );
        }
        body(&["rule"], None)
    }

    fn tree_node(&mut self, place: &Place<'_>, others: Others) -> Option<Node> {
        let fields = self.decoder.object(place)?;
        let types = [("and", NodeType::Group(Logic::And)), ("or", NodeType::Group(Logic::Or)), ("condition", NodeType::Condition)];
        let word = self.decoder.required(&fields, "type", RULE_KEYS)?;
        match self.decoder.word(&word, "types of nodes", &types)? {
            NodeType::Group(logic) => {
                self.tree_keys(&fields, GROUP_KEYS, others);
                let list = self.decoder.required(&fields, "conditions", GROUP_KEYS)?;
                let places = self.decoder.list(&list)?;
                let conditions = self.each(&places, |translator, place| translator.tree_node(place, Others::Refused))?;
                Some(build::group(&place.node.span, (logic, &word.node.span), conditions))
            }
            NodeType::Condition => self.tree_condition(&fields, others),
        }
    }

    fn tree_keys(&mut self, fields: &Fields<'_>, known: &[&str], others: Others) {
        match others {
            Others::Refused => self.decoder.known_keys(fields, known),
            // What is none of a rule is looked at with the rest of the definition.
            Others::OfDefinition => {
                for member in fields.members {
                    let key = member.key.as_str();
                    if RULE_KEYS.contains(&key) && !known.contains(&key) {
                        let help = "Such a key is of another type of node, or of another attribute.".to_owned();
                        self.decoder.unknown_key(fields, member, help);
                    }
                }
            }
        }
    }

    fn tree_condition(&mut self, fields: &Fields<'_>, others: Others) -> Option<Node> {
        let attribute = self.decoder.required(fields, "attribute", CONDITION_KEYS);
        let attribute = attribute.and_then(|place| Some((self.decoder.word(&place, "attributes", &ATTRIBUTES)?, place)));
        let known = match attribute {
            None => RULE_KEYS,
            Some((Attribute::Number(_) | Attribute::Text(_), _)) => CONDITION_KEYS,
            Some((Attribute::CustomProperty, _)) => CUSTOM_KEYS,
            Some((Attribute::Event, _)) => EVENT_KEYS,
        };
        self.tree_keys(fields, known, others);
        let operator = self.decoder.required(fields, "operator", known);
        let operator = operator.and_then(|place| {
            let operator = self.decoder.word(&place, "operators", &OPERATORS)?;
            Some(build::text(&place.node.span, operator.keyword()))
        });
        let value = self.decoder.required(fields, "value", known).map(|place| place.node.clone());
        let (attribute, place) = attribute?;
        let span = &fields.place.node.span;
        let stands = &place.node.span;
        let members = match attribute {
            Attribute::Number(number) => match number.feature(self.mapping) {
                Feature::Property(path) => {
                    Some(property_members(span, build::text(stands, &path.to_string()), Some(ValueType::Number)))
                }
                Feature::Events(events) => {
                    let mut object = Object::default();
                    print::event_members(&EventLeaf { events, comparison: None }, &mut object);
                    Some(build::at(stands, object.into_node()))
                }
            },
            Attribute::Text(name) => {
                let path = self.tree_path(name).map_or_else(|| name.to_owned(), |path| path.to_string());
                Some(property_members(span, build::text(stands, &path), Some(ValueType::String)))
            }
            Attribute::CustomProperty => self.decoder.required(fields, "property", known).and_then(|place| {
                let name = self.decoder.text(&place)?;
                let path = self.tree_path(name).map_or_else(|| name.to_owned(), |path| path.to_string());
                Some(property_members(span, build::text(&place.node.span, &path), None))
            }),
            Attribute::Event => self.tree_events(fields),
        };
        let mut node = members?;
        let comparison = [("operator", operator?), ("value", value?)];
        build::extend(&mut node, comparison.into_iter().map(|(key, value)| build::member(key, value)));
        if attribute == Attribute::Text("email") {
            build::extend(&mut node, [build::member("ignore_case", build::boolean(stands, true))]);
        }
        Some(Node { span: span.clone(), ..node })
    }

    fn tree_path(&self, name: &str) -> Option<PropertyPath> {
        self.mapping.settings.tree.fields.get(name).cloned()
    }

    /// The measure of a condition on events: how many in the last days, of a name, and with a type.
    fn tree_events(&mut self, fields: &Fields<'_>) -> Option<Node> {
        let span = &fields.place.node.span;
        let (name, kind) = (given(fields, "event_name"), given(fields, "event_type"));
        if name.is_none() && kind.is_none() {
            let message = "a condition on events has neither `event_name` nor `event_type`";
            self.untranslatable(&fields.place, message, "Say which events are counted; the attribute `total_events` counts all.");
            return None;
        }
        let days = match given(fields, "days") {
            None => Some((span.clone(), i64::from(DAYS))),
            Some(place) => self.whole(&place).map(|days| (place.node.span.clone(), days)),
        };
        let mut members = vec![("type", build::text(span, "event"))];
        let mut complete = true;
        if let Some(place) = name {
            match self.decoder.text(&place) {
                // A star in a name is itself.
                Some(name) => members.push(("event_type", build::text(&place.node.span, &name.replace('*', "\\*")))),
                None => complete = false,
            }
        }
        if let Some(place) = kind {
            let stands = &place.node.span;
            complete &= self.decoder.text(&place).is_some();
            let test = vec![
                ("property", build::text(stands, EVENT_PROPERTY)),
                ("operator", build::text(stands, Operator::Eq.keyword())),
                ("value", place.node.clone()),
                ("value_type", build::text(stands, ValueType::String.keyword())),
            ];
            members.push(("where", build::list(stands, vec![build::object(stands, test)])));
        }
        let (stands, days) = days?;
        if days < 1 {
            let place = given(fields, "days").unwrap_or_else(|| fields.place.clone());
            self.untranslatable(&place, format!("the last {days} days hold no event"), "Use at least 1 day.");
            return None;
        }
        members.push(("window", build::object(&stands, vec![("last", build::text(&stands, &format!("{days}d")))])));
        complete.then(|| build::object(span, members))
    }
}

fn property_members(span: &std::ops::Range<usize>, property: Node, value_type: Option<ValueType>) -> Node {
    let stands = property.span.clone();
    let mut members = vec![("type", build::text(span, "user_attribute")), ("property", property)];
    members.extend(value_type.map(|value_type| ("value_type", build::text(&stands, value_type.keyword()))));
    build::object(span, members)
}

/// Writes a rule as the form has it.
pub(super) fn write(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition]) -> Vec<(&'static str, Node)> {
    let rule = match conditions {
        [only] => write_node(writer, only, &DocPath::root().key("conditions").index(0)),
        _ => write_group(writer, logic, conditions, &DocPath::root().key("conditions")),
    };
    vec![("rule", rule)]
}

fn write_group(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition], place: &DocPath) -> Node {
    let nodes = conditions.iter().enumerate().map(|(index, condition)| write_node(writer, condition, &place.index(index)));
    let nodes = nodes.collect();
    build::object(&(0..0), vec![("type", build::text(&(0..0), logic.keyword())), ("conditions", build::list(&(0..0), nodes))])
}

fn write_node(writer: &mut Writer<'_>, condition: &Condition, path: &DocPath) -> Node {
    writer.leave_description(condition);
    let members = match &condition.node {
        Rule::Group { logic, conditions } => return write_group(writer, *logic, conditions, &path.key("conditions")),
        Rule::AtLeast { .. } | Rule::Not(_) => writer.refuse_node(&condition.node, path),
        Rule::Leaf(Leaf::Attribute { subject: Subject::User, test }) => write_attribute(writer, test, path),
        Rule::Leaf(Leaf::Event(event)) => write_events(writer, event, path),
        Rule::Leaf(
            Leaf::Attribute { subject: Subject::Product, .. }
            | Leaf::Lifecycle(_)
            | Leaf::Sequence(_)
            | Leaf::Segment(_)
            | Leaf::Compare(_)
            | Leaf::Top(_)
            | Leaf::Sample(_)
            | Leaf::Everyone
            | Leaf::UserBehaviorSignal(_)
            | Leaf::AiVisibilityMetric(_),
        ) => writer.refuse_node(&condition.node, path),
    };
    let mut all = vec![("type", build::text(&(0..0), "condition"))];
    all.extend(members.unwrap_or_default());
    build::object(&(0..0), all)
}

fn write_attribute(writer: &mut Writer<'_>, test: &AttributeTest, path: &DocPath) -> Leaving {
    let Property::Path(property) = &test.property else {
        return writer.refuse(&path.key("property"), format!("the form has no `{}`", test.property));
    };
    let comparison = &test.comparison;
    let read_as = writer.value_type(property, comparison);
    let named = |name: &str| writer.mapping.settings.tree.fields.get(name).map_or_else(|| name.to_owned(), ToString::to_string);
    let is = |name: &str| named(name) == property.to_string();
    if read_as == Some(ValueType::String) && comparison.ignore_case && is("email") {
        return write_comparison(writer, "email", Vec::new(), comparison, path);
    }
    if comparison.ignore_case {
        return writer.refuse(&path.key("ignore_case"), "only `email` is compared without regard to case");
    }
    if read_as == Some(ValueType::String)
        && let Some(name) = ["country", "subscription_status"].into_iter().find(|name| is(name))
    {
        return write_comparison(writer, name, Vec::new(), comparison, path);
    }
    let stands_for = |number: &PersonNumber| number.feature(writer.mapping) == Feature::Property(property.clone());
    if let Some(number) = PersonNumber::ALL.into_iter().find(stands_for)
        && matches!(read_as, Some(ValueType::Number | ValueType::Price))
    {
        return write_comparison(writer, number.keyword(), Vec::new(), comparison, path);
    }
    writer.only_default_type(property, comparison, path)?;
    let Some(name) = writer.name_of(property, &writer.mapping.settings.tree.fields) else {
        return writer.refuse(&path.key("property"), format!("no name of the form stands for `{property}`"));
    };
    write_comparison(writer, "custom_property", vec![("property", build::text(&(0..0), &name))], comparison, path)
}

fn write_comparison(
    writer: &mut Writer<'_>,
    attribute: &str,
    others: Vec<(&'static str, Node)>,
    comparison: &Comparison,
    path: &DocPath,
) -> Leaving {
    let Some((word, _)) = OPERATORS.iter().find(|(_, operator)| *operator == comparison.operator) else {
        return writer.refuse(&path.key("operator"), format!("the form has no operator `{}`", comparison.operator));
    };
    let mut members = vec![("attribute", build::text(&(0..0), attribute))];
    members.extend(others);
    members.push(("operator", build::text(&(0..0), word)));
    members.extend(comparison.value.as_ref().map(|value| ("value", print::literal_node(value))));
    Some(members)
}

fn write_events(writer: &mut Writer<'_>, event: &EventLeaf, path: &DocPath) -> Leaving {
    let at_least_one = || Comparison {
        operator: Operator::Gte,
        value: Some(Literal::Number(1i64.into())),
        value2: None,
        value_type: None,
        ignore_case: false,
    };
    let comparison = event.comparison.clone().unwrap_or_else(at_least_one);
    let stands_for = |number: &PersonNumber| number.feature(writer.mapping) == Feature::Events(event.events.clone());
    if let Some(number) = PersonNumber::ALL.into_iter().find(stands_for) {
        return write_comparison(writer, number.keyword(), Vec::new(), &comparison, path);
    }
    if event.events.measure != Measure::Count {
        return writer.refuse(&path.key("measure"), format!("the form has no measure `{}`", event.events.measure.keyword()));
    }
    let days = match &event.events.window {
        Window::Last(Duration { amount, unit: Unit::Day }) => Some(u64::from(*amount)),
        Window::Last(Duration { amount, unit: Unit::Week }) => Some(u64::from(*amount) * 7),
        Window::All | Window::Last(_) | Window::Range { .. } => None,
    };
    let Some(days) = days else {
        return writer.refuse(&path.key("window"), "the form counts events of the last days, and no others");
    };
    let mut others = vec![("days", build::number(&(0..0), &days))];
    match event.events.event_type.as_deref() {
        None => {}
        Some([EventTypePattern::Exact(name)]) => others.push(("event_name", build::text(&(0..0), name))),
        Some(_) => return writer.refuse(&path.key("event_type"), "the form names one type of events"),
    }
    match event.events.filter.as_slice() {
        [] => {}
        [EventCondition::Test(test)] if text_equal_to(test).is_some() => {
            others.extend(text_equal_to(test).map(|text| ("event_type", build::text(&(0..0), text))));
        }
        _ => return writer.refuse(&path.key("where"), "the form compares no property of events but `event_type`, with one text"),
    }
    if others.len() == 1 {
        return writer.refuse(path, "the form counts events of a type, and all of them only over all time");
    }
    write_comparison(writer, "event", others, &comparison, path)
}

/// The text that the property of events must equal that the form compares.
fn text_equal_to(test: &AttributeTest) -> Option<&str> {
    let property = PropertyPath::from_keys(vec![EVENT_PROPERTY.to_owned()])?;
    let Comparison { operator: Operator::Eq, value: Some(Literal::Text(text)), value2: None, value_type, ignore_case: false } =
        &test.comparison
    else {
        return None;
    };
    let is_text = *value_type == Some(ValueType::String);
    (test.property == Property::Path(property) && is_text).then_some(text)
}
