//! `groups`: flat rules, of which those with one number are joined by AND and the groups by an operator; and their nested forms.

use std::ops::Range;

use super::super::decode::{Fields, Place};
use super::super::node::{Node, NodeKind};
use super::super::print;
use super::export::{Leaving, Writer};
use super::head::is_carried;
use super::{Body, Translator, build, given, is_static, snake};
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{AttributeTest, Condition, Leaf, Logic, Node as Rule, Subject};
use crate::model::operator::{Operator, ValueType};
use crate::model::path::DocPath;
use crate::model::property::{Property, PropertyPath};
use crate::model::value::Literal;
use crate::syntax::date::parse_date;

/// More rules than this are warned of.
const MANY_RULES: usize = 20;

const OPERATORS: [(&str, Operator); 15] = [
    ("equals", Operator::Eq),
    ("not_equals", Operator::Neq),
    ("contains", Operator::Contains),
    ("not_contains", Operator::DoesNotContain),
    ("starts_with", Operator::StartsWith),
    ("ends_with", Operator::EndsWith),
    ("gt", Operator::Gt),
    ("gte", Operator::Gte),
    ("lt", Operator::Lt),
    ("lte", Operator::Lte),
    ("in", Operator::In),
    ("not_in", Operator::NotIn),
    ("is_set", Operator::IsSet),
    ("is_not_set", Operator::IsNotSet),
    ("between", Operator::Between),
];

/// An operator of a rule.
#[derive(Clone, Copy)]
enum Test {
    /// One that the canonical language has.
    Operator(Operator),
    /// No value at all: unlike `is_not_set` it is false for an empty text.
    Null,
    /// Some value, an empty text included.
    NotNull,
}

const DATA_TYPES: [(&str, ValueType); 5] = [
    ("string", ValueType::String),
    ("number", ValueType::Number),
    ("boolean", ValueType::Boolean),
    ("date", ValueType::Date),
    ("relative_date", ValueType::Date),
];

const RULE_KEYS: &[&str] = &["rulesOperator", "rules", "logic", "groups"];
const LEAF_KEYS: &[&str] = &["groupIndex", "field", "operator", "value", "dataType"];
const NESTED_KEYS: &[&str] = &["logic", "groups", "rules"];
const NESTED_IN_FLAT_KEYS: &[&str] = &["groupIndex", "logic", "groups", "rules"];

/// Which rules of a nested form there are so far.
#[derive(Default)]
struct Count {
    rules: usize,
}

impl Translator<'_> {
    /// A definition: flat rules, or a nested form under `rules` or beside the other keys.
    pub(super) fn groups(&mut self, fields: &Fields<'_>) -> Body {
        let mut count = Count::default();
        let rules = given(fields, "rules");
        let is_list = rules.as_ref().is_some_and(|place| matches!(place.node.kind, NodeKind::List(_)));
        let no_rules = rules.as_ref().is_none_or(|place| matches!(&place.node.kind, NodeKind::List(rules) if rules.is_empty()));
        let is_nested = given(fields, "logic").is_some() || given(fields, "groups").is_some();
        let rule = match &rules {
            _ if is_static(fields) && no_rules && !is_nested => None,
            _ if is_nested => {
                let message = "the joining word of flat rules stands beside a nested form".to_owned();
                self.decoder.conflict(fields, "rulesOperator", message, "Keep `logic` or `rulesOperator`.");
                self.nested(fields, &mut count)
            }
            Some(place) if is_list => self.flat(fields, place, &mut count),
            Some(place) => {
                let inner = self.decoder.object(place);
                inner.and_then(|inner| {
                    self.decoder.known_keys(&inner, NESTED_KEYS);
                    self.nested(&inner, &mut count)
                })
            }
            None => {
                self.decoder.required(fields, "rules", RULE_KEYS);
                None
            }
        };
        if count.rules > MANY_RULES {
            let message = format!("the definition has {} rules, more than {MANY_RULES}", count.rules);
            let place = rules.or_else(|| given(fields, "groups")).unwrap_or_else(|| fields.place.clone());
            let help = "Parts of it may be segments of their own, which this one refers to.";
            self.decoder.refuse(&place, Finding::new(Code::ManyRules, message).with_help(help));
        }
        Body { rule_keys: RULE_KEYS, rule, members: Vec::new() }
    }

    /// Rules, or nested forms in their place, with group numbers; in the order in which the numbers first stand.
    fn flat(&mut self, fields: &Fields<'_>, place: &Place<'_>, count: &mut Count) -> Option<Node> {
        let span = &place.node.span;
        let rules = self.decoder.list(place)?;
        let mut groups: Vec<(Option<i64>, Vec<Option<Node>>)> = Vec::new();
        let mut complete = true;
        for rule in &rules {
            let fields = self.decoder.object(rule);
            let number = fields.as_ref().and_then(|fields| given(fields, "groupIndex"));
            let index = match number {
                None => None,
                Some(place) => match self.whole(&place) {
                    Some(index) => Some(index),
                    None => {
                        complete = false;
                        None
                    }
                },
            };
            let node = fields.and_then(|fields| match is_nested(&fields) {
                true => {
                    self.decoder.known_keys(&fields, NESTED_IN_FLAT_KEYS);
                    self.nested(&fields, count)
                }
                false => self.group_rule(&fields, count),
            });
            match groups.iter_mut().find(|(other, _)| index.is_some() && *other == index) {
                Some((_, group)) => group.push(node),
                None => groups.push((index, vec![node])),
            }
        }
        let join = match given(fields, "rulesOperator") {
            Some(place) => self.logic(&place),
            // Of one group, or none, nothing has to be said.
            None if groups.len() < 2 => Some((Logic::And, span.clone())),
            None => {
                self.decoder.required(fields, "rulesOperator", RULE_KEYS);
                None
            }
        };
        if let (Some((Logic::Or, _)), [(_, only)], Some(place)) = (&join, groups.as_slice(), given(fields, "rulesOperator")) {
            let (message, help) = match only.len() {
                1 => {
                    ("`OR` joins groups, and there is only one rule".to_owned(), "Leave `rulesOperator` out, or add alternatives.")
                }
                count => (
                    format!("`OR` joins groups, and all {count} rules are of one group: all of them must hold"),
                    "Give each alternative a `groupIndex` of its own.",
                ),
            };
            self.decoder.refuse(&place, Finding::new(Code::SingleAlternative, message).with_help(help));
        }
        let nodes: Option<Vec<Vec<Node>>> = groups.into_iter().map(|(_, group)| group.into_iter().collect()).collect();
        let (nodes, (logic, word)) = (nodes.filter(|_| complete)?, join?);
        let and = |group: Vec<Node>| build::joined(span, (Logic::And, span), group);
        let mut nodes = nodes;
        if nodes.len() == 1 {
            return nodes.pop().map(|only| build::group(span, (Logic::And, span), only));
        }
        Some(build::group(span, (logic, &word), nodes.into_iter().map(and).collect()))
    }

    /// A nested form: `logic` with `groups` or `rules`.
    fn nested(&mut self, fields: &Fields<'_>, count: &mut Count) -> Option<Node> {
        if given(fields, "groups").is_some() && given(fields, "rules").is_some() {
            let message = "`groups` and `rules` stand beside each other".to_owned();
            self.decoder.conflict(fields, "rules", message, "Put the rules into a group of their own.");
        }
        let list = given(fields, "groups").or_else(|| given(fields, "rules"));
        let Some(list) = list else {
            self.decoder.required(fields, "rules", NESTED_KEYS);
            return None;
        };
        let places = self.decoder.list(&list)?;
        let logic = match given(fields, "logic") {
            Some(place) => self.logic(&place),
            None if places.len() == 1 => Some((Logic::And, list.node.span.clone())),
            None => {
                self.decoder.required(fields, "logic", NESTED_KEYS);
                None
            }
        };
        if let (Some((Logic::Or, _)), [_], Some(place)) = (&logic, places.as_slice(), given(fields, "logic")) {
            let finding = Finding::new(Code::SingleAlternative, "`OR` joins alternatives, and there is only one");
            self.decoder.refuse(&place, finding.with_help("Leave `logic` out, or give each alternative an entry of its own."));
        }
        let conditions = self.each(&places, |translator, place| translator.nested_entry(place, count));
        let (logic, word) = logic?;
        Some(build::joined(&fields.place.node.span, (logic, &word), conditions?))
    }

    fn nested_entry(&mut self, place: &Place<'_>, count: &mut Count) -> Option<Node> {
        let fields = self.decoder.object(place)?;
        if is_nested(&fields) {
            self.decoder.known_keys(&fields, NESTED_KEYS);
            return self.nested(&fields, count);
        }
        if let Some(place) = given(&fields, "groupIndex") {
            let message = "a rule of a nested form has no `groupIndex`";
            self.untranslatable(&place, message, "It is of the group that it stands in; leave the number out.");
        }
        self.group_rule(&fields, count)
    }

    /// One rule: a property of the user compares as stated.
    fn group_rule(&mut self, fields: &Fields<'_>, count: &mut Count) -> Option<Node> {
        count.rules += 1;
        self.rule_keys(fields);
        let path = self.decoder.required(fields, "field", LEAF_KEYS).and_then(|place| {
            let path = self.group_field(&place)?;
            Some((build::text(&place.node.span, &path.to_string()), path))
        });
        let tests = || {
            let operators = OPERATORS.iter().map(|(word, operator)| (*word, Test::Operator(*operator)));
            operators.chain([("is_null", Test::Null), ("is_not_null", Test::NotNull)]).collect::<Vec<_>>()
        };
        let test = self.decoder.required(fields, "operator", LEAF_KEYS).and_then(|place| {
            let test = self.decoder.word(&place, "operators", &tests())?;
            Some((test, place))
        });
        let data_type = match given(fields, "dataType") {
            None => Some(None),
            Some(place) => {
                let value_type = self.decoder.word(&place, "data types", &DATA_TYPES);
                value_type.map(|value_type| Some((value_type, place.node.span.clone())))
            }
        };
        let ((property, path), (test, place), data_type) = (path?, test?, data_type?);
        let rule = GroupRule { span: fields.place.node.span.clone(), property, data_type, operator: place.node.span.clone() };
        let read_as = rule.data_type.as_ref().map(|(value_type, _)| *value_type).or_else(|| self.read_as(&path));
        match test {
            Test::Null => self.null_test(fields, &rule, read_as).map(|(null, _)| null),
            Test::NotNull => self.null_test(fields, &rule, read_as).map(|(_, not_null)| not_null),
            Test::Operator(operator) => self.group_test(fields, &rule, operator, read_as),
        }
    }

    /// Refuses keys that a rule does not have, but for those of records that systems keep of their rules.
    fn rule_keys(&mut self, fields: &Fields<'_>) {
        let known: Vec<&str> = LEAF_KEYS.iter().copied().chain(fields.keys().filter(|key| is_record_key(key))).collect();
        self.decoder.known_keys(fields, &known);
    }

    fn group_field(&mut self, place: &Place<'_>) -> Option<PropertyPath> {
        let name = self.decoder.text(place)?;
        self.found(place, field_path(self.mapping, name))
    }

    /// What a field is read as when its rule does not say; `None` inside JSON, and where no table says.
    fn read_as(&self, path: &PropertyPath) -> Option<ValueType> {
        let access = self.mapping.users?.resolve(path).ok()?;
        if access.json.is_some() { None } else { access.stored.value_type() }
    }

    /// That there is no value, and that there is one.
    fn null_test(&mut self, fields: &Fields<'_>, rule: &GroupRule, read_as: Option<ValueType>) -> Option<(Node, Node)> {
        if let Some(place) = given(fields, "value").filter(|place| !is_blank(place.node)) {
            let message = "a test of null takes no value";
            self.decoder.refuse(&place, Finding::new(Code::UnexpectedOperand, message).with_help("Leave `value` out."));
            return None;
        }
        match read_as {
            Some(ValueType::String | ValueType::Url) => {
                // A text that is there is set, or empty.
                let set = rule.leaf(Operator::IsSet, None, Some(ValueType::String));
                let empty = rule.leaf(Operator::Eq, Some(build::text(&rule.operator, "")), Some(ValueType::String));
                let either = build::group(&rule.span, (Logic::Or, &rule.operator), vec![set, empty]);
                Some((build::negation(either.clone()), either))
            }
            Some(ValueType::Number | ValueType::Price | ValueType::Boolean | ValueType::Date) => {
                Some((rule.leaf(Operator::IsNotSet, None, None), rule.leaf(Operator::IsSet, None, None)))
            }
            Some(ValueType::Array) => {
                let place = fields.get("operator")?;
                let message = "no condition tells a missing list from an empty one";
                self.untranslatable(&place, message, "Use `is_set` or `is_not_set`, for which an empty list is not set.");
                None
            }
            None => {
                let place = fields.get("operator")?;
                let message = "a test of null depends on the type of the field, which nothing says here";
                self.untranslatable(&place, message, "Add `dataType`, or use `is_set` or `is_not_set`.");
                None
            }
        }
    }

    fn group_test(
        &mut self,
        fields: &Fields<'_>,
        rule: &GroupRule,
        operator: Operator,
        read_as: Option<ValueType>,
    ) -> Option<Node> {
        let value = given(fields, "value");
        match operator {
            Operator::IsSet | Operator::IsNotSet => {
                let value = value.filter(|place| !is_blank(place.node)).map(|place| place.node.clone());
                Some(rule.leaf(operator, value, None))
            }
            Operator::Between => {
                let place = self.decoder.required(fields, "value", LEAF_KEYS)?;
                let ends = self.decoder.list(&place)?;
                let [low, high] = ends.as_slice() else {
                    let message = format!("`between` takes a list of two values, not of {}", ends.len());
                    let finding = Finding::new(Code::WrongLiteral, message).with_help("Write the lower and the upper end.");
                    self.decoder.refuse(&place, finding);
                    return None;
                };
                let mut leaf = rule.leaf(operator, Some(low.node.clone()), None);
                build::extend(&mut leaf, [build::member("value2", high.node.clone())]);
                Some(leaf)
            }
            Operator::In | Operator::NotIn => {
                let place = self.decoder.required(fields, "value", LEAF_KEYS)?;
                match (read_as, &place.node.kind) {
                    // Dates and booleans have no lists: one after the other is the same.
                    (Some(ValueType::Date | ValueType::Boolean), NodeKind::List(values)) if !values.is_empty() => {
                        let equal = values.iter().map(|value| rule.leaf(Operator::Eq, Some(value.clone()), None)).collect();
                        let any = build::joined(&rule.span, (Logic::Or, &rule.operator), equal);
                        Some(if operator == Operator::NotIn { build::negation(any) } else { any })
                    }
                    _ => Some(rule.leaf(operator, Some(place.node.clone()), None)),
                }
            }
            Operator::Eq
            | Operator::Neq
            | Operator::Gt
            | Operator::Gte
            | Operator::Lt
            | Operator::Lte
            | Operator::NotBetween
            | Operator::Contains
            | Operator::DoesNotContain
            | Operator::StartsWith
            | Operator::EndsWith
            | Operator::Matches
            | Operator::IsTrue
            | Operator::IsFalse
            | Operator::ContainsAny
            | Operator::ContainsAll => {
                let place = self.decoder.required(fields, "value", LEAF_KEYS)?;
                if place.node.kind == NodeKind::Null {
                    let message = "nothing compares with null";
                    self.untranslatable(&place, message, "Use `is_null` or `is_not_null`.");
                    return None;
                }
                Some(rule.leaf(operator, Some(place.node.clone()), None))
            }
        }
    }
}

/// Whether an entry of a list of rules is a nested form.
fn is_nested(fields: &Fields<'_>) -> bool {
    fields.has_any(NESTED_KEYS) && !fields.has("field")
}

/// The parts of a rule that each of its conditions has.
struct GroupRule {
    span: Range<usize>,
    property: Node,
    data_type: Option<(ValueType, Range<usize>)>,
    operator: Range<usize>,
}

impl GroupRule {
    /// A condition; `fixed` is what it is read as where the rule does not say.
    fn leaf(&self, operator: Operator, value: Option<Node>, fixed: Option<ValueType>) -> Node {
        let mut members = vec![
            ("type", build::text(&self.span, "user_attribute")),
            ("property", self.property.clone()),
            ("operator", build::text(&self.operator, operator.keyword())),
        ];
        members.extend(value.map(|value| ("value", value)));
        let given = self.data_type.as_ref().map(|(value_type, span)| (*value_type, span));
        let value_type = given.or(fixed.map(|value_type| (value_type, &self.operator)));
        members.extend(value_type.map(|(value_type, span)| ("value_type", build::text(span, value_type.keyword()))));
        build::object(&self.span, members)
    }
}

/// The property that a field names: as configured, else the column of that name, else its name in snake case. Keys inside of a
/// column are names of the data and stay as they are.
fn field_path(mapping: super::Mapping<'_>, name: &str) -> Result<PropertyPath, String> {
    if let Some(path) = mapping.settings.groups.fields.get(name) {
        return Ok(path.clone());
    }
    let path: PropertyPath = name.parse().map_err(|error| format!("{error}"))?;
    let mut keys = path.keys().to_vec();
    if let Some(column) = keys.first_mut().filter(|column| !mapping.is_column(column)) {
        *column = snake(column);
    }
    Ok(PropertyPath::from_keys(keys).unwrap_or(path))
}

/// What forms leave in a value that is not asked for.
fn is_blank(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Null => true,
        NodeKind::Text(text) => text.is_empty(),
        NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => false,
    }
}

fn is_record_key(key: &str) -> bool {
    key == "id" || key == "segmentId" || is_carried(key)
}

/// Writes a rule: flat where the form can, else nested.
pub(super) fn write(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition]) -> Vec<(&'static str, Node)> {
    let place = DocPath::root().key("conditions");
    let is_leaf = |condition: &Condition| matches!(condition.node, Rule::Leaf(_));
    let is_group = |condition: &Condition| match &condition.node {
        Rule::Group { logic: Logic::And, conditions } => conditions.iter().all(is_leaf),
        Rule::Group { logic: Logic::Or, .. } | Rule::AtLeast { .. } | Rule::Not(_) | Rule::Leaf(_) => false,
    };
    let flat = match logic {
        Logic::And => conditions.iter().all(is_leaf),
        Logic::Or => conditions.iter().all(|condition| is_leaf(condition) || is_group(condition)),
    };
    if !flat {
        return vec![("rules", write_nested(writer, logic, conditions, &place))];
    }
    let mut rules = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = place.index(index);
        let group = match logic {
            Logic::And => 0,
            Logic::Or => index,
        };
        match &condition.node {
            Rule::Group { conditions, .. } => {
                writer.leave_description(condition);
                for (inner, condition) in conditions.iter().enumerate() {
                    rules.push(write_rule(writer, condition, Some(group), &path.key("conditions").index(inner)));
                }
            }
            Rule::Leaf(_) | Rule::AtLeast { .. } | Rule::Not(_) => rules.push(write_rule(writer, condition, Some(group), &path)),
        }
    }
    vec![("rulesOperator", build::text(&(0..0), logic_word(logic))), ("rules", build::list(&(0..0), rules))]
}

fn logic_word(logic: Logic) -> &'static str {
    match logic {
        Logic::And => "AND",
        Logic::Or => "OR",
    }
}

fn write_nested(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition], place: &DocPath) -> Node {
    let all_rules = conditions.iter().all(|condition| matches!(condition.node, Rule::Leaf(_)));
    let nodes = conditions.iter().enumerate().map(|(index, condition)| {
        let path = place.index(index);
        match &condition.node {
            Rule::Group { logic, conditions } => {
                writer.leave_description(condition);
                write_nested(writer, *logic, conditions, &path.key("conditions"))
            }
            Rule::Leaf(_) | Rule::AtLeast { .. } | Rule::Not(_) => {
                let rule = write_rule(writer, condition, None, &path);
                if all_rules { rule } else { group_of(Logic::And, "rules", vec![rule]) }
            }
        }
    });
    let nodes = nodes.collect();
    group_of(logic, if all_rules { "rules" } else { "groups" }, nodes)
}

fn group_of(logic: Logic, key: &'static str, nodes: Vec<Node>) -> Node {
    build::object(&(0..0), vec![("logic", build::text(&(0..0), logic_word(logic))), (key, build::list(&(0..0), nodes))])
}

fn write_rule(writer: &mut Writer<'_>, condition: &Condition, group: Option<usize>, path: &DocPath) -> Node {
    writer.leave_description(condition);
    let members = match &condition.node {
        Rule::Leaf(Leaf::Attribute { subject: Subject::User, test }) => write_test(writer, test, path),
        Rule::Group { .. } | Rule::AtLeast { .. } | Rule::Not(_) | Rule::Leaf(_) => writer.refuse_node(&condition.node, path),
    };
    let mut all: Vec<(&str, Node)> = group.map(|group| ("groupIndex", build::number(&(0..0), &group))).into_iter().collect();
    all.extend(members.unwrap_or_default());
    build::object(&(0..0), all)
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
    let name = writer.name_of(property, &mapping.settings.groups.fields);
    let Some(name) = name.filter(|name| field_path(mapping, name).as_ref() == Ok(property)) else {
        return writer.refuse(&path.key("property"), format!("no field of the form stands for `{property}`"));
    };
    let text = |text: &str| build::text(&(0..0), text);
    let mut members = vec![("field", text(&name))];
    let (word, value) = match (comparison.operator, &comparison.value, &comparison.value2) {
        (Operator::IsTrue, ..) => ("equals", Some(build::boolean(&(0..0), true))),
        (Operator::IsFalse, ..) => ("equals", Some(build::boolean(&(0..0), false))),
        (Operator::Between, Some(low), Some(high)) => {
            ("between", Some(build::list(&(0..0), vec![print::literal_node(low), print::literal_node(high)])))
        }
        (operator, value, _) => match OPERATORS.iter().find(|(_, known)| *known == operator) {
            Some((word, _)) => (*word, value.as_ref().map(print::literal_node)),
            None => return writer.refuse(&path.key("operator"), format!("the form has no operator `{operator}`")),
        },
    };
    let is_boolean = matches!(comparison.operator, Operator::IsTrue | Operator::IsFalse);
    let value_type = comparison.value_type.or(is_boolean.then_some(ValueType::Boolean));
    members.push(("operator", text(word)));
    members.extend(value.map(|value| ("value", value)));
    let data_type = match value_type {
        None => None,
        Some(ValueType::String) => Some("string"),
        Some(ValueType::Number | ValueType::Price) => Some("number"),
        Some(ValueType::Boolean) => Some("boolean"),
        Some(ValueType::Date) => {
            let relative = [&comparison.value, &comparison.value2].into_iter().flatten().any(is_relative);
            Some(if relative { "relative_date" } else { "date" })
        }
        Some(other @ (ValueType::Array | ValueType::Url)) => {
            return writer.refuse(&path.key("value_type"), format!("the form has no data type `{other}`"));
        }
    };
    members.extend(data_type.map(|data_type| ("dataType", text(data_type))));
    Some(members)
}

fn is_relative(literal: &Literal) -> bool {
    match literal {
        Literal::Text(text) => parse_date(text).is_ok_and(|date| !date.is_absolute()),
        Literal::Number(_) | Literal::Boolean(_) | Literal::List(_) => false,
    }
}
