//! `audience`: filters that must all hold, and compositions of other segments.

use super::super::decode::{Fields, Place};
use super::super::node::{Member, Node, NodeKind};
use super::super::print;
use super::export::{Leaving, Writer};
use super::head::whole_text;
use super::{Body, Mapping, Translator, build, given, is_static, snake};
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{AttributeTest, Comparison, Condition, Leaf, Logic, Node as Rule, SegmentLeaf, Subject};
use crate::model::operator::{Operator, ValueType};
use crate::model::path::DocPath;
use crate::model::property::{Property, PropertyPath};
use crate::model::value::Literal;
use crate::model::window::{Anchor, DateExpr, Offset, Unit};
use crate::syntax::date::parse_date;

const CREATED_AT: &str = "created_at";
const LAST_ACTIVE_AT: &str = "last_active_at";
const FEATURE_USAGE: &str = "feature_usage";

/// How a filter compares.
#[derive(Clone, Copy)]
enum Test {
    Operator(Operator),
    /// On or after the local day that many days ago.
    WithinDays,
}

const OPERATORS: [(&str, Operator); 8] = [
    ("eq", Operator::Eq),
    ("neq", Operator::Neq),
    ("gt", Operator::Gt),
    ("gte", Operator::Gte),
    ("lt", Operator::Lt),
    ("lte", Operator::Lte),
    ("in", Operator::In),
    ("contains", Operator::Contains),
];

/// What a comparison of the tenure says of the day on which the account was made: the more days, the earlier.
const TENURE: [(&str, Operator); 6] = [
    ("eq", Operator::Eq),
    ("neq", Operator::Neq),
    ("gt", Operator::Lt),
    ("gte", Operator::Lte),
    ("lt", Operator::Gt),
    ("lte", Operator::Gte),
];

const WITHIN: [&str; 2] = ["within-days", "used-within"];

/// What a filter looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FilterType {
    /// A column that `field` names.
    Column,
    /// The number of local midnights since the account was made.
    Tenure,
    /// When the user was last active.
    LastActive,
    /// A key of `feature_usage`.
    FeatureUsage,
    /// A column, unless it holds code.
    Behavior,
}

const FILTER_TYPES: [(&str, FilterType); 7] = [
    ("demographics", FilterType::Column),
    ("location", FilterType::Column),
    ("role", FilterType::Column),
    ("account-tenure", FilterType::Tenure),
    ("last-active", FilterType::LastActive),
    ("behavior", FilterType::Behavior),
    ("feature-usage", FilterType::FeatureUsage),
];

const RULE_KEYS: &[&str] =
    &["filters", "compose", "cache", "cache-config", "cache_config", "cacheConfig", "refresh-schedule", "refreshSchedule"];
const FILTER_KEYS: &[&str] = &["type", "field", "op", "value"];
const COMPOSE_KEYS: &[&str] = &["and", "or", "not", "ref"];

impl Translator<'_> {
    /// A definition: filters, a composition, or both, which must then both hold.
    pub(super) fn audience(&mut self, fields: &Fields<'_>) -> Body {
        let members = self.cache(fields);
        let span = fields.place.node.span.clone();
        let body = |rule| Body { rule_keys: RULE_KEYS, rule, members };
        let (filters, compose) = (given(fields, "filters"), given(fields, "compose"));
        let is_empty = |place: &Place<'_>| matches!(&place.node.kind, NodeKind::List(filters) if filters.is_empty());
        if compose.is_none() && filters.as_ref().is_none_or(is_empty) {
            if !is_static(fields) {
                let finding = Finding::new(Code::RuleMismatch, "a definition has neither filters nor `compose`")
                    .with_help("Add a filter; a segment without any would hold everyone.");
                self.decoder.refuse(filters.as_ref().unwrap_or(&fields.place), finding);
            }
            return body(None);
        }
        let conditions = filters.map_or(Some(Vec::new()), |place| self.filters(&place));
        let composed = compose.map_or(Some(None), |place| self.compose(&place).map(Some));
        body(conditions.zip(composed).map(|(mut conditions, composed)| {
            conditions.extend(composed);
            build::joined(&span, (Logic::And, &span), conditions)
        }))
    }

    /// How long members count as fresh, and when they are computed.
    fn cache(&mut self, fields: &Fields<'_>) -> Vec<Member> {
        let mut members = Vec::new();
        let is_cache = |key: &str| matches!(snake(&key.replace('-', "_")).as_str(), "cache" | "cache_config");
        let places = fields.keys().filter(|key| is_cache(key)).filter_map(|key| given(fields, key)).collect::<Vec<_>>();
        for place in &places {
            let Some(cache) = self.decoder.object(place) else { continue };
            for member in cache.members {
                let Some(inner) = given(&cache, &member.key) else { continue };
                match snake(&member.key.replace('-', "_")).as_str() {
                    "ttl_minutes" => {
                        if let Some(minutes) = self.whole(&inner) {
                            let ttl = build::text(&inner.node.span, &format!("{minutes}min"));
                            self.set_once(&mut members, &inner, build::member("cache_ttl", ttl));
                        }
                    }
                    "refresh_schedule" => {
                        self.set_once(&mut members, &inner, build::member("schedule", inner.node.clone()));
                    }
                    _ => {
                        let help = "The keys here are `ttl-minutes` and `refresh-schedule`.".to_owned();
                        self.decoder.unknown_key(&cache, member, help);
                    }
                }
            }
        }
        for key in ["refresh-schedule", "refreshSchedule"] {
            if let Some(place) = given(fields, key) {
                self.set_once(&mut members, &place, build::member("schedule", place.node.clone()));
            }
        }
        members
    }

    fn set_once(&mut self, members: &mut Vec<Member>, place: &Place<'_>, member: Member) {
        if members.iter().any(|other| other.key == member.key) {
            let finding = Finding::new(Code::ConflictingKeys, format!("{} stands twice", place.title()));
            self.decoder.refuse(place, finding.with_help("Keep one of them."));
            return;
        }
        members.push(member);
    }

    fn filters(&mut self, place: &Place<'_>) -> Option<Vec<Node>> {
        let places = self.decoder.list(place)?;
        self.each(&places, Self::filter)
    }

    fn filter(&mut self, place: &Place<'_>) -> Option<Node> {
        let fields = self.decoder.object(place)?;
        let filter_type = self.decoder.required(&fields, "type", FILTER_KEYS)?;
        let filter_type = self.decoder.word(&filter_type, "types of filters", &FILTER_TYPES)?;
        if filter_type == FilterType::Behavior && self.holds_code(&fields) {
            return None;
        }
        self.decoder.known_keys(&fields, FILTER_KEYS);
        let field = self.filter_field(&fields, filter_type);
        let tests = || {
            let operators = OPERATORS.iter().map(|(word, operator)| (*word, Test::Operator(*operator)));
            operators.chain(WITHIN.map(|word| (word, Test::WithinDays))).collect::<Vec<_>>()
        };
        let test = self.decoder.required(&fields, "op", FILTER_KEYS).and_then(|place| {
            let test = self.decoder.word(&place, "operators", &tests())?;
            Some((test, place))
        });
        let value = self.decoder.required(&fields, "value", FILTER_KEYS);
        let (property, (test, operator), value) = (field?, test?, value?);
        let parts = Parts { place: place.clone(), property, operator };
        match (test, filter_type) {
            (Test::WithinDays, _) => self.within_days(&parts, &value),
            (Test::Operator(operator), FilterType::Tenure) => self.tenure(&parts, operator, &value),
            (Test::Operator(operator), FilterType::LastActive) => {
                if let NodeKind::Number(_) = value.node.kind {
                    let message = "the time of the last activity is no number";
                    self.untranslatable(&value, message, "Use `within-days` for a number of days, or compare with a date.");
                    return None;
                }
                Some(parts.leaf(operator, value.node.clone(), Some(ValueType::Date)))
            }
            (Test::Operator(operator), FilterType::Column | FilterType::FeatureUsage | FilterType::Behavior) => {
                Some(parts.leaf(operator, value.node.clone(), None))
            }
        }
    }

    /// Refuses a filter that holds code, and says what to write instead.
    fn holds_code(&mut self, fields: &Fields<'_>) -> bool {
        let known = |key: &str| FILTER_KEYS.contains(&key);
        let other = fields.keys().find(|key| !known(key)).and_then(|key| fields.get(key));
        let code = given(fields, "value").filter(|place| is_code(place.node));
        let object = given(fields, "value").filter(|place| matches!(place.node.kind, NodeKind::Object(_)));
        let bare = given(fields, "field").is_none() || given(fields, "op").is_none();
        let Some(place) = other.or(code).or(object).or_else(|| bare.then(|| fields.place.clone())) else { return false };
        let message = "a filter of type `behavior` holds code, which no condition runs";
        let help = "Write what it looks for as a condition on events, such as `{\"type\": \"event\", \"event_type\": \
                    \"order_completed\", \"operator\": \"gte\", \"value\": 3, \"window\": {\"last\": \"30d\"}}`, in a canonical \
                    definition, and refer to that in `compose`.";
        self.untranslatable(&place, message, help);
        true
    }

    /// The property that a filter reads.
    fn filter_field(&mut self, fields: &Fields<'_>, filter_type: FilterType) -> Option<Node> {
        let fixed = match filter_type {
            FilterType::Tenure => Some(CREATED_AT),
            FilterType::LastActive => Some(LAST_ACTIVE_AT),
            FilterType::Column | FilterType::FeatureUsage | FilterType::Behavior => None,
        };
        if let Some(name) = fixed {
            if let Some(place) = given(fields, "field") {
                let written = self.decoder.text(&place)?;
                if column_name(written) != name {
                    let message = format!("this type of filters reads `{name}`, not `{written}`");
                    self.untranslatable(&place, message, "Leave `field` out, or use the type `demographics`.");
                    return None;
                }
            }
            let path = self.audience_path(&fields.place, name)?;
            return Some(build::text(&fields.place.node.span, &path.to_string()));
        }
        let place = self.decoder.required(fields, "field", FILTER_KEYS)?;
        let written = self.decoder.text(&place)?;
        let name = match filter_type {
            FilterType::FeatureUsage => format!("{FEATURE_USAGE}.{}", column_name(written)),
            FilterType::Column | FilterType::Tenure | FilterType::LastActive | FilterType::Behavior => column_name(written),
        };
        let path = match self.mapping.settings.audience.fields.get(written) {
            Some(path) if filter_type != FilterType::FeatureUsage => path.clone(),
            Some(_) | None => self.audience_path(&place, &name)?,
        };
        Some(build::text(&place.node.span, &path.to_string()))
    }

    fn audience_path(&mut self, place: &Place<'_>, name: &str) -> Option<PropertyPath> {
        self.found(place, path_of(self.mapping, name))
    }

    fn within_days(&mut self, parts: &Parts<'_>, value: &Place<'_>) -> Option<Node> {
        let days = self.whole(value)?;
        let day = build::text(&value.node.span, &day_ago(days));
        Some(parts.leaf(Operator::Gte, day, Some(ValueType::Date)))
    }

    /// The number of local midnights since a time is the number of days from its local day to today: the later the fewer.
    fn tenure(&mut self, parts: &Parts<'_>, operator: Operator, value: &Place<'_>) -> Option<Node> {
        if operator == Operator::In {
            let values = self.decoder.list(value)?;
            if values.is_empty() {
                let finding = Finding::new(Code::EmptyOperand, "`in` of an empty list says nothing");
                self.decoder.refuse(value, finding.with_help("List at least one value."));
                return None;
            }
            let equal = self.each(&values, |translator, value| translator.tenure(parts, Operator::Eq, value))?;
            return Some(build::joined(&parts.place.node.span, (Logic::Or, &parts.operator.node.span), equal));
        }
        let Some((_, reversed)) = TENURE.iter().find(|(word, _)| *word == operator.keyword()) else {
            let message = format!("the tenure is a number, which takes no `{operator}`");
            self.untranslatable(&parts.operator, message, "Use `eq`, `neq`, `gt`, `gte`, `lt`, `lte` or `in`.");
            return None;
        };
        let days = self.whole(value)?;
        let day = build::text(&value.node.span, &day_ago(days));
        Some(parts.leaf(*reversed, day, Some(ValueType::Date)))
    }

    fn compose(&mut self, place: &Place<'_>) -> Option<Node> {
        let (key, inner) = self.decoder.single_member(place, COMPOSE_KEYS)?;
        let span = &place.node.span;
        let logic = match key {
            "and" => Logic::And,
            "or" => Logic::Or,
            "not" => return self.compose(&inner).map(build::negation),
            _ => {
                // An id may be a number, there as here.
                let id = whole_text(inner.node);
                self.decoder.text(&Place { node: &id, path: inner.path.clone() })?;
                let members = vec![("type", build::text(span, "segment")), ("segment_id", id)];
                return Some(build::object(span, members));
            }
        };
        let places = self.decoder.list(&inner)?;
        let conditions = self.each(&places, Self::compose)?;
        Some(build::group(span, (logic, span), conditions))
    }
}

/// The parts of a filter that its condition has.
struct Parts<'n> {
    place: Place<'n>,
    property: Node,
    operator: Place<'n>,
}

impl Parts<'_> {
    fn leaf(&self, operator: Operator, value: Node, value_type: Option<ValueType>) -> Node {
        let span = &self.place.node.span;
        let stands = &self.operator.node.span;
        let mut members = vec![
            ("type", build::text(span, "user_attribute")),
            ("property", self.property.clone()),
            ("operator", build::text(stands, operator.keyword())),
            ("value", value),
        ];
        members.extend(value_type.map(|value_type| ("value_type", build::text(stands, value_type.keyword()))));
        build::object(span, members)
    }
}

fn column_name(field: &str) -> String {
    field.replace('-', "_")
}

fn path_of(mapping: Mapping<'_>, name: &str) -> Result<PropertyPath, String> {
    match mapping.settings.audience.fields.get(name) {
        Some(path) => Ok(path.clone()),
        None => name.parse().map_err(|error| format!("{error}")),
    }
}

/// The local day that many days ago, as a date of the language.
fn day_ago(days: i64) -> String {
    match days {
        0 => "today".to_owned(),
        ahead if ahead < 0 => format!("today+{}d", ahead.unsigned_abs()),
        ago => format!("today-{ago}d"),
    }
}

/// Whether a text is a piece of a program, in one of the languages that such filters are written in.
fn is_code(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Text(text) => {
            let text = text.trim_start();
            text.contains("=>") || ["(", "#(", "function", "lambda", "fn ", "def "].iter().any(|start| text.starts_with(start))
        }
        NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => false,
    }
}

/// Writes a rule: leaves on attributes as filters, references and what joins them as a composition.
pub(super) fn write(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition]) -> Vec<(&'static str, Node)> {
    let place = DocPath::root().key("conditions");
    let is_attribute = |condition: &Condition| matches!(condition.node, Rule::Leaf(Leaf::Attribute { .. }));
    let whole_composes = logic == Logic::Or && conditions.len() > 1;
    let mut filters = Vec::new();
    let mut compose = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = place.index(index);
        if is_attribute(condition) && !whole_composes {
            filters.push(write_filter(writer, condition, &path));
        } else {
            compose.push(write_composed(writer, condition, &path));
        }
    }
    let mut members = vec![("filters", build::list(&(0..0), filters))];
    let composed = match (compose.pop(), compose.is_empty()) {
        (None, _) => None,
        (Some(only), true) => Some(only),
        (Some(last), false) => {
            compose.push(last);
            let join = if whole_composes { Logic::Or } else { Logic::And };
            Some(build::object(&(0..0), vec![(join.keyword(), build::list(&(0..0), compose))]))
        }
    };
    members.extend(composed.map(|composed| ("compose", composed)));
    members
}

fn write_composed(writer: &mut Writer<'_>, condition: &Condition, path: &DocPath) -> Node {
    writer.leave_description(condition);
    let reference = |id: &str| build::object(&(0..0), vec![("ref", build::text(&(0..0), id))]);
    let not = |node: Node| build::object(&(0..0), vec![("not", node)]);
    match &condition.node {
        Rule::Group { logic, conditions } => {
            let place = path.key("conditions");
            let nodes = conditions.iter().enumerate().map(|(index, inner)| write_composed(writer, inner, &place.index(index)));
            let nodes = nodes.collect();
            build::object(&(0..0), vec![(logic.keyword(), build::list(&(0..0), nodes))])
        }
        Rule::Not(inner) => not(write_composed(writer, inner, &path.key("not"))),
        Rule::Leaf(Leaf::Segment(SegmentLeaf { segment_id, negated: false })) => reference(segment_id.as_str()),
        Rule::Leaf(Leaf::Segment(SegmentLeaf { segment_id, negated: true })) => not(reference(segment_id.as_str())),
        Rule::Leaf(Leaf::Attribute { .. }) => {
            let problem = "filters of the form must all hold: one cannot stand in a composition";
            writer.refuse::<()>(path, problem);
            reference("")
        }
        Rule::AtLeast { .. } | Rule::Leaf(_) => {
            writer.refuse_node::<()>(&condition.node, path);
            reference("")
        }
    }
}

fn write_filter(writer: &mut Writer<'_>, condition: &Condition, path: &DocPath) -> Node {
    writer.leave_description(condition);
    let members = match &condition.node {
        Rule::Leaf(Leaf::Attribute { subject: Subject::User, test }) => write_test(writer, test, path),
        Rule::Group { .. } | Rule::AtLeast { .. } | Rule::Not(_) | Rule::Leaf(_) => writer.refuse_node(&condition.node, path),
    };
    build::object(&(0..0), members.unwrap_or_default())
}

fn write_test(writer: &mut Writer<'_>, test: &AttributeTest, path: &DocPath) -> Leaving {
    let Property::Path(property) = &test.property else {
        return writer.refuse(&path.key("property"), format!("the form has no `{}`", test.property));
    };
    let comparison = &test.comparison;
    if comparison.ignore_case {
        return writer.refuse(&path.key("ignore_case"), "the form compares text with regard to case");
    }
    let mapping = writer.mapping;
    let is = |name: &str| path_of(mapping, name).as_ref() == Ok(property);
    let text = |text: &str| build::text(&(0..0), text);
    let read_as = writer.value_type(property, comparison);
    let days = if read_as == Some(ValueType::Date) { days_ago(comparison) } else { None };
    if let Some(days) = days {
        let number = build::number(&(0..0), &days);
        let of = |filter: &str, word: &str| vec![("type", text(filter)), ("op", text(word)), ("value", number.clone())];
        let reversed = TENURE.iter().find(|(_, operator)| *operator == comparison.operator);
        if is(CREATED_AT)
            && let Some((word, _)) = reversed
        {
            return Some(of("account-tenure", word));
        }
        if comparison.operator == Operator::Gte && is(LAST_ACTIVE_AT) {
            return Some(of("last-active", "within-days"));
        }
    }
    let name = writer.name_of(property, &mapping.settings.audience.fields);
    let reads_back = |name: &String| {
        let fields = &mapping.settings.audience.fields;
        fields.get(name).cloned().map_or_else(|| path_of(mapping, &column_name(name)), Ok).as_ref() == Ok(property)
    };
    let Some(name) = name.filter(reads_back) else {
        return writer.refuse(&path.key("property"), format!("no field of the form stands for `{property}`"));
    };
    let mut members = vec![("type", text("demographics")), ("field", text(&name))];
    if let (Some(days), Operator::Gte) = (days, comparison.operator) {
        members.extend([("op", text("within-days")), ("value", build::number(&(0..0), &days))]);
        return Some(members);
    }
    writer.only_default_type(property, comparison, path)?;
    let Some((word, _)) = OPERATORS.iter().find(|(_, operator)| *operator == comparison.operator) else {
        return writer.refuse(&path.key("operator"), format!("the form has no operator `{}`", comparison.operator));
    };
    members.push(("op", text(word)));
    members.extend(comparison.value.as_ref().map(|value| ("value", print::literal_node(value))));
    Some(members)
}

/// How many days ago the local day is that a comparison names.
fn days_ago(comparison: &Comparison) -> Option<i64> {
    let Some(Literal::Text(text)) = &comparison.value else { return None };
    let DateExpr { anchor: Anchor::Today, offsets, truncation: None } = parse_date(text).ok()? else { return None };
    match offsets.as_slice() {
        [] => Some(0),
        [Offset { amount, unit: Unit::Day }] => Some(-amount),
        _ => None,
    }
}
