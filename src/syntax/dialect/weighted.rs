//! `weighted`: rules with weights, whose degrees make a score that is compared with a threshold.

use super::super::decode::{Fields, Place};
use super::super::expression::{condition_of, print_condition};
use super::super::node::{Node, NodeKind};
use super::super::print;
use super::export::Writer;
use super::{Body, Mapping, Translator, build, is_static, snake};
use crate::diagnostic::{Code, Finding, Severity, nearest};
use crate::model::condition::{AttributeTest, Condition, Leaf, Node as Rule, Subject};
use crate::model::decimal::Decimal;
use crate::model::operator::Operator;
use crate::model::path::DocPath;
use crate::model::property::{Property, PropertyPath};
use crate::model::scoring::{Combination, Scoring, ScoringRule};
use crate::model::value::Literal;

const LAST_SEEN: &str = "lastSeen";
const PRICES: [&str; 2] = ["pricePreferences.minObserved", "pricePreferences.maxObserved"];

/// What a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleType {
    /// A number, or another value, of the profile.
    Value,
    /// A yes or no of the profile.
    Trait,
    /// The mean of the least and the greatest price.
    PriceRange,
    /// Days since the user was last seen.
    Recency,
    /// Whatever an expression says.
    Expression,
}

const RULE_TYPES: [(&str, RuleType); 8] = [
    ("CategoryInterest", RuleType::Value),
    ("BrandAffinity", RuleType::Value),
    ("PriceRange", RuleType::PriceRange),
    ("Trait", RuleType::Trait),
    ("Statistic", RuleType::Value),
    ("TagAffinity", RuleType::Value),
    ("Recency", RuleType::Recency),
    ("Expression", RuleType::Expression),
];

/// The first of several words for an operator is the one that is written.
const OPERATORS: [(&str, Operator); 13] = [
    ("Equal", Operator::Eq),
    ("Equals", Operator::Eq),
    ("NotEqual", Operator::Neq),
    ("NotEquals", Operator::Neq),
    ("GreaterThan", Operator::Gt),
    ("GreaterOrEqual", Operator::Gte),
    ("GreaterThanOrEqual", Operator::Gte),
    ("LessThan", Operator::Lt),
    ("LessOrEqual", Operator::Lte),
    ("LessThanOrEqual", Operator::Lte),
    ("Between", Operator::Between),
    ("Contains", Operator::Contains),
    ("In", Operator::In),
];

const COMBINATIONS: [(&str, Combination); 3] =
    [("All", Combination::All), ("Any", Combination::Any), ("Weighted", Combination::Weighted)];

const RULE_KEYS: &[&str] = &[
    "Rules",
    "rules",
    "Combination",
    "combination",
    "MembershipThreshold",
    "membershipThreshold",
    "membership_threshold",
    "membership-threshold",
];

/// The keys of a rule, in snake case.
const KEYS: [&str; 6] = ["type", "field", "operator", "value", "weight", "description"];

impl Translator<'_> {
    /// A definition: its rules, how they combine, and from which score on a user is a member.
    pub(super) fn weighted(&mut self, fields: &Fields<'_>) -> Body {
        let body = |rule| Body { rule_keys: RULE_KEYS, rule, members: Vec::new() };
        let combination = self.spelled(fields, "combination");
        let threshold = self.spelled(fields, "membership_threshold");
        let Some(place) = self.spelled(fields, "rules") else {
            if !is_static(fields) {
                let finding = Finding::new(Code::RuleMismatch, "a definition has no rules").with_help("Add the key `Rules`.");
                self.decoder.refuse(&fields.place, finding);
            }
            return body(None);
        };
        let rules = self.decoder.list(&place).and_then(|places| self.each(&places, Self::weighted_rule));
        let combination = combination.map(|place| {
            let combination = self.chosen(&place, "combinations", &COMBINATIONS)?;
            Some(build::text(&place.node.span, combination.keyword()))
        });
        let Some(rules) = rules else { return body(None) };
        let mut scoring = Vec::new();
        match combination {
            Some(Some(node)) => scoring.push(("combination", node)),
            Some(None) => return body(None),
            None => {}
        }
        scoring.extend(threshold.map(|place| ("threshold", place.node.clone())));
        scoring.push(("rules", build::list(&place.node.span, rules)));
        let scoring = build::object(&place.node.span, scoring);
        body(Some(build::object(&fields.place.node.span, vec![("scoring", scoring)])))
    }

    fn weighted_rule(&mut self, place: &Place<'_>) -> Option<Node> {
        let fields = self.decoder.object(place)?;
        self.known_spellings(&fields);
        let [rule_type, field, operator, value, weight, description] = KEYS.map(|key| self.spelled(&fields, key));
        let Some(rule_type) = rule_type else {
            let finding = Finding::new(Code::MissingKey, "a rule has no `Type`")
                .with_help("It says what the rule looks at, such as `CategoryInterest` or `Statistic`.");
            self.decoder.refuse(place, finding);
            return None;
        };
        let rule_type = self.chosen(&rule_type, "types of rules", &RULE_TYPES)?;
        let test = match &operator {
            Some(place) => self.chosen(place, "operators", &OPERATORS)?,
            None => Operator::Eq,
        };
        let Some(value) = value else {
            let finding = Finding::new(Code::MissingKey, "a rule has no `Value`").with_help("It says what is compared with.");
            self.decoder.refuse(place, finding);
            return None;
        };
        let condition = match rule_type {
            RuleType::Expression => self.expression(test, operator.as_ref(), &value)?,
            RuleType::Value | RuleType::Trait | RuleType::PriceRange | RuleType::Recency => {
                let property = self.weighted_property(rule_type, &fields, field.as_ref())?;
                let (test, operands) = self.operands(rule_type, test, &value)?;
                let stands = operator.as_ref().map_or(&place.node.span, |operator| &operator.node.span);
                let mut members = vec![
                    ("type", build::text(&place.node.span, "user_attribute")),
                    ("property", property),
                    ("operator", build::text(stands, test.keyword())),
                ];
                members.extend(["value", "value2"].into_iter().zip(operands));
                build::object(&place.node.span, members)
            }
        };
        let mut members = vec![("condition", condition)];
        members.extend(weight.map(|weight| ("weight", weight.node.clone())));
        members.extend(description.map(|description| ("description", description.node.clone())));
        Some(build::object(&place.node.span, members))
    }

    /// What a rule compares; the types that look at one thing only say nothing by their field.
    fn weighted_property(&mut self, rule_type: RuleType, fields: &Fields<'_>, field: Option<&Place<'_>>) -> Option<Node> {
        let mapping = self.mapping;
        let span = field.map_or(&fields.place.node.span, |field| &field.node.span);
        let path = |name: &str| path_of(mapping, name);
        Some(match rule_type {
            RuleType::Recency => {
                let path = self.found(&fields.place, path(LAST_SEEN))?;
                build::object(span, vec![("days_since", build::text(span, &path.to_string()))])
            }
            RuleType::PriceRange => {
                let paths = PRICES.map(|name| self.found(&fields.place, path(name)));
                let paths = paths.into_iter().collect::<Option<Vec<_>>>()?;
                let texts = paths.iter().map(|path| build::text(span, &path.to_string())).collect();
                build::object(span, vec![("mean", build::list(span, texts))])
            }
            RuleType::Value | RuleType::Trait | RuleType::Expression => {
                let Some(field) = field else {
                    let finding = Finding::new(Code::MissingKey, "a rule has no `Field`").with_help("It says what is compared.");
                    self.decoder.refuse(&fields.place, finding);
                    return None;
                };
                let name = self.decoder.text(field)?;
                let path = self.found(field, path(name))?;
                build::text(span, &path.to_string())
            }
        })
    }

    /// What is compared with, and how: a range is written as one text.
    fn operands(&mut self, rule_type: RuleType, operator: Operator, value: &Place<'_>) -> Option<(Operator, Vec<Node>)> {
        let span = &value.node.span;
        let text = match &value.node.kind {
            NodeKind::Text(text) => Some(text.trim()),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => None,
        };
        let range = || text.and_then(range_of).map(|ends| ends.map(|end| build::number(span, &end)).into());
        let number = || text.and_then(number_of).map(|number| vec![build::number(span, &number)]);
        let as_it_is = || Some(vec![value.node.clone()]);
        let operands = match (rule_type, operator) {
            (_, Operator::Between) => {
                let Some(range) = range() else {
                    let help = "Write the two ends with a `-` between them, such as `\"100-10000\"`.";
                    self.untranslatable(value, "`Between` compares with a range", help);
                    return None;
                };
                return Some((Operator::Between, range));
            }
            (RuleType::PriceRange, Operator::Eq) => match range() {
                Some(range) => return Some((Operator::Between, range)),
                None => number().or_else(as_it_is),
            },
            (RuleType::PriceRange | RuleType::Recency, _) | (_, Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte) => {
                number().or_else(as_it_is)
            }
            (RuleType::Trait, _) => {
                let flag = text.and_then(|text| text.to_ascii_lowercase().parse::<bool>().ok());
                flag.map(|flag| vec![build::boolean(span, flag)]).or_else(as_it_is)
            }
            _ => as_it_is(),
        };
        Some((operator, operands?))
    }

    /// The condition that an expression is.
    fn expression(&mut self, test: Operator, operator: Option<&Place<'_>>, value: &Place<'_>) -> Option<Node> {
        if let Some(operator) = operator.filter(|_| test != Operator::Eq) {
            let help = "An expression holds or not; leave `Operator` out.";
            self.untranslatable(operator, "an expression is compared with nothing", help);
            return None;
        }
        let text = self.decoder.text(value)?;
        match condition_of(text, Subject::User) {
            Ok(condition) => Some(build::at(&value.node.span, condition)),
            Err(report) => {
                for finding in report.findings.into_iter().filter(|finding| finding.severity == Severity::Error) {
                    let told = Finding::new(finding.code, format!("in the expression: {}", finding.message));
                    let told = finding.help.map_or_else(|| told.clone(), |help| told.clone().with_help(help));
                    self.decoder.refuse(value, told);
                }
                None
            }
        }
    }

    /// The value of a key, however it is spelled: in Pascal, camel, snake or kebab case. Null is the same as no key.
    fn spelled<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<Place<'n>> {
        let spelled = |member: &&super::Member| snake(&member.key.replace('-', "_")) == key && member.value.kind != NodeKind::Null;
        let mut members = fields.members.iter().filter(spelled);
        let first = members.next()?;
        if let Some(second) = members.next() {
            let message = format!("`{}` and `{}` say the same thing", first.key, second.key);
            self.decoder.conflict(fields, &second.key, message, "Keep one of them.");
        }
        fields.get(&first.key)
    }

    fn known_spellings(&mut self, fields: &Fields<'_>) {
        for member in fields.members {
            let key = snake(&member.key.replace('-', "_"));
            if !KEYS.contains(&key.as_str()) {
                let pascal = ["Type", "Field", "Operator", "Value", "Weight", "Description"];
                let help = match nearest(&key, KEYS) {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None => format!("The keys here are {}.", super::super::decode::list_words(pascal)),
                };
                self.decoder.unknown_key(fields, member, help);
            }
        }
    }

    /// One of a few words in Pascal case, which may begin in small letters.
    fn chosen<T: Copy>(&mut self, place: &Place<'_>, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        if let NodeKind::Text(text) = &place.node.kind
            && let Some((_, choice)) = choices.iter().find(|(word, _)| snake(word) == snake(text))
        {
            return Some(*choice);
        }
        self.decoder.word(place, what, choices)
    }
}

/// The property that a foreign name stands for: the one that is configured for it or for its first keys, else the column of that name or
/// of its name in snake case, whichever there is.
fn path_of(mapping: Mapping<'_>, name: &str) -> Result<PropertyPath, String> {
    let path: PropertyPath = name.parse().map_err(|error| format!("{error}"))?;
    let keys = path.keys();
    let fields = &mapping.settings.weighted.fields;
    for length in (1..=keys.len()).rev() {
        let (begin, rest) = keys.split_at(length);
        let written = PropertyPath::from_keys(begin.to_vec()).map(|begin| begin.to_string());
        if let Some(configured) = written.and_then(|written| fields.get(&written)) {
            let all = configured.keys().iter().chain(rest).cloned().collect();
            return Ok(PropertyPath::from_keys(all).unwrap_or(path));
        }
    }
    let Some(users) = mapping.users else { return Ok(path) };
    let snaked = |from: usize| {
        let keys = keys.iter().enumerate().map(|(at, key)| if at < from { snake(key) } else { key.clone() });
        PropertyPath::from_keys(keys.collect())
    };
    let forms = [Some(path.clone()), snaked(1), snaked(keys.len())];
    Ok(forms.into_iter().flatten().find(|form| users.resolve(form).is_ok()).unwrap_or(path))
}

/// A number as a text says it.
fn number_of(text: &str) -> Option<Decimal> {
    text.trim().parse().ok()
}

/// The two ends of a range such as `100-10000`, or `-5--1`.
fn range_of(text: &str) -> Option<[Decimal; 2]> {
    text.match_indices('-').find_map(|(at, _)| {
        let (low, high) = (text.get(..at)?, text.get(at + 1..)?);
        Some([number_of(low)?, number_of(high)?])
    })
}

/// Writes a scoring: attributes as rules of their own types, everything else as an expression.
pub(super) fn write(writer: &mut Writer<'_>, scoring: &Scoring) -> Vec<(&'static str, Node)> {
    let text = |text: &str| build::text(&(0..0), text);
    let combination = COMBINATIONS.iter().find(|(_, combination)| *combination == scoring.combination);
    let mut members = Vec::new();
    members.extend(combination.map(|(word, _)| ("combination", text(word))));
    members.extend(scoring.threshold.as_ref().map(|threshold| ("membershipThreshold", build::number(&(0..0), threshold))));
    let place = DocPath::root().key("scoring").key("rules");
    let rules = scoring.rules.iter().enumerate().map(|(index, rule)| write_rule(writer, rule, &place.index(index)));
    members.push(("rules", build::list(&(0..0), rules.collect())));
    members
}

fn write_rule(writer: &mut Writer<'_>, rule: &ScoringRule, path: &DocPath) -> Node {
    let mut members = written_condition(writer, &rule.condition, &path.key("condition"));
    members.extend(rule.weight.as_ref().map(|weight| ("weight", build::number(&(0..0), weight))));
    members.extend(rule.description.as_deref().map(|description| ("description", build::text(&(0..0), description))));
    build::object(&(0..0), members)
}

fn written_condition(writer: &mut Writer<'_>, condition: &Condition, path: &DocPath) -> Vec<(&'static str, Node)> {
    leave_descriptions(writer, condition);
    if let Rule::Leaf(Leaf::Attribute { subject: Subject::User, test }) = &condition.node
        && let Some(members) = written_test(writer, test)
    {
        return members;
    }
    if let Some(product) = attribute_of_a_product(condition) {
        writer.refuse_node::<()>(product, path);
    }
    let text = |text: &str| build::text(&(0..0), text);
    vec![("type", text("Expression")), ("value", text(&print_condition(condition)))]
}

/// A test as a rule of its type; `None` when only an expression says it.
fn written_test(writer: &Writer<'_>, test: &AttributeTest) -> Option<Vec<(&'static str, Node)>> {
    let mapping = writer.mapping;
    let text = |text: &str| build::text(&(0..0), text);
    let is = |name: &str, path: &PropertyPath| path_of(mapping, name).as_ref() == Ok(path);
    let comparison = &test.comparison;
    let literal = comparison.value.as_ref()?;
    let (word, _) = OPERATORS.iter().find(|(_, operator)| *operator == comparison.operator)?;
    if comparison.ignore_case {
        return None;
    }
    let (rule_type, field) = match &test.property {
        Property::Path(path) => {
            if !writer.is_default_type(path, comparison) {
                return None;
            }
            let name = writer.name_of(path, &mapping.settings.weighted.fields)?;
            is(&name, path).then_some(())?;
            let rule_type = match path.keys().first().map(|key| snake(key)).as_deref() {
                _ if matches!(literal, Literal::Boolean(_)) => "Trait",
                Some("interests") => "CategoryInterest",
                Some("brand_affinities") => "BrandAffinity",
                Some("affinities") => "TagAffinity",
                Some(_) | None => "Statistic",
            };
            (rule_type, Some(name))
        }
        Property::DaysSince(path) if comparison.value_type.is_none() && is(LAST_SEEN, path) => ("Recency", None),
        Property::Mean(paths) if comparison.value_type.is_none() => match paths.as_slice() {
            [least, greatest] if is(PRICES[0], least) && is(PRICES[1], greatest) => ("PriceRange", None),
            _ => return None,
        },
        Property::DaysSince(_) | Property::DaysToAnniversary(_) | Property::Part(..) | Property::Mean(_) => return None,
    };
    let value = match (comparison.operator, literal, &comparison.value2) {
        (Operator::Between, Literal::Number(low), Some(Literal::Number(high))) => text(&format!("{low}-{high}")),
        (Operator::Between, ..) => return None,
        _ => print::literal_node(literal),
    };
    let mut members = vec![("type", text(rule_type))];
    members.extend(field.map(|field| ("field", text(&field))));
    members.extend([("operator", text(word)), ("value", value)]);
    Some(members)
}

/// An attribute of a product, which no expression about users says.
fn attribute_of_a_product(condition: &Condition) -> Option<&Rule> {
    match &condition.node {
        Rule::Group { conditions, .. } | Rule::AtLeast { of: conditions, .. } => conditions.iter().find_map(attribute_of_a_product),
        Rule::Not(inner) => attribute_of_a_product(inner),
        node @ Rule::Leaf(Leaf::Attribute { subject: Subject::Product, .. }) => Some(node),
        Rule::Leaf(_) => None,
    }
}

fn leave_descriptions(writer: &mut Writer<'_>, condition: &Condition) {
    writer.leave_description(condition);
    match &condition.node {
        Rule::Group { conditions, .. } | Rule::AtLeast { of: conditions, .. } => {
            conditions.iter().for_each(|inner| leave_descriptions(writer, inner));
        }
        Rule::Not(inner) => leave_descriptions(writer, inner),
        Rule::Leaf(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_two_numbers_with_a_line_between() {
        let range = |text: &str| range_of(text).map(|ends| ends.map(|end| end.to_string()));
        for (text, expected) in [
            ("100-10000", Some(["100", "10000"])),
            ("0.5 - 2.25", Some(["0.5", "2.25"])),
            ("-5-10", Some(["-5", "10"])),
            ("-10--5", Some(["-10", "-5"])),
            ("1e-2-3", Some(["0.01", "3"])),
            ("100", None),
            ("-100", None),
            ("a-b", None),
            ("1-2-3", None),
            ("", None),
            ("ä-1", None),
        ] {
            assert_eq!(range(text), expected.map(|ends| ends.map(str::to_owned)), "{text}");
        }
    }
}
