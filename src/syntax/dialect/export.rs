//! A canonical definition in the form of another system, where that can say it; else what it cannot say.

use std::collections::{BTreeMap, BTreeSet};

use super::super::node::Node;
use super::super::{Document, print};
use super::{Dialect, Mapping, audience, build, groups, layered, tree, weighted};
use crate::diagnostic::{Code, Finding, Report};
use crate::model::condition::{Comparison, Condition, Leaf, Node as Rule, Subject};
use crate::model::operator::{Operator, ValueType};
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;
use crate::model::schedule::Schedule;
use crate::model::segment::{Definition, Kind, Rule as DefinitionRule, Status};
use crate::model::value::Literal;
use crate::model::window::{Duration, Unit};

/// A definition in a foreign form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// JSON, with a newline at its end.
    pub text: String,
    /// What the form has no place for and who matches does not depend on, such as `tags`.
    pub left_out: BTreeSet<&'static str>,
}

/// Writes a definition in a foreign form.
///
/// What [`import`](super::import) makes of it has the same members.
///
/// # Errors
/// Every node that the form cannot say, marked in the text of the definition.
pub fn export(document: &Document, dialect: Dialect, mapping: Mapping<'_>) -> Result<Exported, Report> {
    let definition = document.definition();
    let mut writer = Writer { document, dialect, mapping, left_out: BTreeSet::new(), findings: Vec::new() };
    let mut members = writer.head(definition);
    let subject = match dialect {
        Dialect::Layered => Subject::Product,
        Dialect::Tree | Dialect::Groups | Dialect::Audience | Dialect::Weighted => Subject::User,
    };
    if definition.subject != subject {
        let message = format!("the form has no segments of {}s", definition.subject.keyword());
        writer.refuse::<()>(&DocPath::root().key("subject"), message);
    }
    match &definition.rule {
        None => writer.static_segment(),
        Some(DefinitionRule::Scoring(scoring)) => match dialect {
            Dialect::Weighted => members.extend(weighted::write(&mut writer, scoring)),
            Dialect::Tree | Dialect::Groups | Dialect::Layered | Dialect::Audience => {
                writer.refuse::<()>(&DocPath::root().key("scoring"), "the form has no scores");
            }
        },
        Some(DefinitionRule::Conditions { logic, conditions }) => members.extend(match dialect {
            Dialect::Tree => tree::write(&mut writer, *logic, conditions),
            Dialect::Groups => groups::write(&mut writer, *logic, conditions),
            Dialect::Layered => layered::write(&mut writer, *logic, conditions),
            Dialect::Audience => audience::write(&mut writer, *logic, conditions),
            Dialect::Weighted => {
                let problem = "the form has scores alone, and no rule that holds or not";
                writer.refuse::<()>(&DocPath::root().key("conditions"), problem);
                Vec::new()
            }
        }),
    }
    if !writer.findings.is_empty() {
        return Err(Report::of_text(writer.findings));
    }
    let mut text = String::new();
    print::write_node(&mut text, &build::object(&(0..0), members), 0);
    text.push('\n');
    Ok(Exported { text, left_out: writer.left_out })
}

/// The members that say a condition; `None` when the form cannot, which was reported.
pub(super) type Leaving = Option<Vec<(&'static str, Node)>>;

/// Collects what a form cannot say while a definition is written in it.
pub(super) struct Writer<'a> {
    document: &'a Document,
    dialect: Dialect,
    pub(super) mapping: Mapping<'a>,
    left_out: BTreeSet<&'static str>,
    findings: Vec<Finding>,
}

impl Writer<'_> {
    /// Says what the form cannot say.
    pub(super) fn refuse<T>(&mut self, path: &DocPath, problem: impl Into<String>) -> Option<T> {
        let help = format!("The form `{}` has no way to say this exactly.", self.dialect.keyword());
        let finding = Finding::new(Code::Untranslatable, problem).with_help(help);
        self.findings.push(self.document.place(finding, path));
        None
    }

    /// Says that the form has no such node.
    pub(super) fn refuse_node<T>(&mut self, node: &Rule, path: &DocPath) -> Option<T> {
        let (key, what) = match node {
            Rule::Group { .. } => ("logic", "groups here"),
            Rule::AtLeast { .. } => ("at_least", "n of m"),
            Rule::Not(_) => ("not", "negation"),
            Rule::Leaf(Leaf::Attribute { subject: Subject::User, .. }) => ("type", "attributes of users"),
            Rule::Leaf(Leaf::Attribute { subject: Subject::Product, .. }) => ("type", "attributes of products"),
            Rule::Leaf(Leaf::Event(_)) => ("type", "events"),
            Rule::Leaf(Leaf::Lifecycle(_)) => ("type", "lifecycles"),
            Rule::Leaf(Leaf::Sequence(_)) => ("type", "sequences"),
            Rule::Leaf(Leaf::Segment(_)) => ("type", "references to segments"),
            Rule::Leaf(Leaf::Compare(_)) => ("type", "comparisons of measures"),
            Rule::Leaf(Leaf::Top(_)) => ("type", "rankings"),
            Rule::Leaf(Leaf::Sample(_)) => ("type", "samples"),
            Rule::Leaf(Leaf::Everyone) => ("type", "condition that always holds"),
            Rule::Leaf(Leaf::UserBehaviorSignal(_)) => ("type", "signals of users"),
            Rule::Leaf(Leaf::AiVisibilityMetric(_)) => ("type", "such metrics"),
        };
        self.refuse(&path.key(key), format!("the form has no {what}"))
    }

    /// Notes that the remark on a node is left out.
    pub(super) fn leave_description(&mut self, condition: &Condition) {
        if condition.description.is_some() {
            self.left_out.insert("description of a condition");
        }
    }

    /// What a comparison reads a property as: what it says, else the type of the column or of the literal.
    pub(super) fn value_type(&self, property: &PropertyPath, comparison: &Comparison) -> Option<ValueType> {
        comparison.value_type.or_else(|| self.default_type(property, comparison))
    }

    fn default_type(&self, property: &PropertyPath, comparison: &Comparison) -> Option<ValueType> {
        let access = self.mapping.users?.resolve(property).ok()?;
        if access.json.is_some() { literal_type(comparison) } else { access.stored.value_type() }
    }

    /// Whether a comparison reads its property as the type that it would be read as unsaid.
    pub(super) fn is_default_type(&self, property: &PropertyPath, comparison: &Comparison) -> bool {
        comparison.value_type.is_none_or(|said| Some(said) == self.default_type(property, comparison))
    }

    /// Refuses a comparison that reads its property as another type than it would be read as unsaid.
    pub(super) fn only_default_type(&mut self, property: &PropertyPath, comparison: &Comparison, path: &DocPath) -> Option<()> {
        match comparison.value_type {
            None => Some(()),
            Some(_) if self.is_default_type(property, comparison) => Some(()),
            Some(said) => {
                self.refuse(&path.key("value_type"), format!("the form does not say that `{property}` is read as `{said}`"))
            }
        }
    }

    /// The foreign name of a property: the one that is configured for it, else its own, unless that stands for something else.
    pub(super) fn name_of(&self, property: &PropertyPath, fields: &BTreeMap<String, PropertyPath>) -> Option<String> {
        let configured = fields.iter().find(|(_, path)| *path == property).map(|(name, _)| name.clone());
        let own = property.to_string();
        configured.or_else(|| (!fields.contains_key(&own)).then_some(own))
    }

    /// The members that say everything but the rule.
    fn head(&mut self, definition: &Definition) -> Vec<(&'static str, Node)> {
        let text = |text: &str| build::text(&(0..0), text);
        let mut members = vec![("id", text(definition.id.as_str()))];
        let name_key = match self.dialect {
            Dialect::Audience => "label",
            Dialect::Tree | Dialect::Groups | Dialect::Layered | Dialect::Weighted => "name",
        };
        members.push((name_key, text(definition.display_name())));
        members.extend(definition.description.as_deref().map(|description| ("description", text(description))));
        let status = match definition.status {
            Status::Active => None,
            Status::Paused => Some("paused"),
            Status::Archived => Some("archived"),
        };
        match (self.dialect, definition.status) {
            (Dialect::Tree | Dialect::Layered, Status::Active) => members.push(("is_active", build::boolean(&(0..0), true))),
            (Dialect::Audience | Dialect::Weighted, Status::Active) => {}
            (Dialect::Tree | Dialect::Layered | Dialect::Audience | Dialect::Weighted, Status::Paused) => {
                members.push(("is_active", build::boolean(&(0..0), false)));
            }
            (Dialect::Groups, _) => {
                members.push(("type", text("dynamic")));
                members.push(("status", text(status.unwrap_or("active"))));
            }
            (Dialect::Tree | Dialect::Layered | Dialect::Audience | Dialect::Weighted, Status::Archived) => {
                self.refuse::<()>(&DocPath::root().key("status"), "the form has no segments that are archived");
            }
        }
        members.extend(self.times(definition));
        let shows = self.dialect == Dialect::Weighted;
        if shows {
            members.extend(definition.icon.as_deref().map(|icon| ("icon", text(icon))));
            members.extend(definition.color.as_deref().map(|color| ("color", text(color))));
            let tags: Vec<Node> = definition.tags.iter().map(|tag| text(tag)).collect();
            members.extend((!tags.is_empty()).then(|| ("tags", build::list(&(0..0), tags))));
        }
        let left = [
            ("tags", !shows && !definition.tags.is_empty()),
            ("icon", !shows && definition.icon.is_some()),
            ("color", !shows && definition.color.is_some()),
            ("metadata", definition.metadata.is_some()),
            ("keep_snapshots", definition.keeping.snapshots.is_some()),
            ("keep_changes", definition.keeping.changes.is_some()),
            ("keep_history", definition.keeping.history.is_some()),
        ];
        self.left_out.extend(left.into_iter().filter(|(_, there)| *there).map(|(key, _)| key));
        members
    }

    /// The members that say when a segment is computed, as far as the form has them.
    fn times(&mut self, definition: &Definition) -> Vec<(&'static str, Node)> {
        let text = |text: &str| build::text(&(0..0), text);
        let mut members = Vec::new();
        let mut cache = Vec::new();
        match (&definition.schedule, self.dialect) {
            (None, _) => {}
            (Some(Schedule::Every(interval)), Dialect::Layered) => members.push(("refresh_interval", text(&interval.to_string()))),
            (Some(Schedule::Cron(expression)), Dialect::Audience) => cache.push(("refresh-schedule", text(expression))),
            (Some(Schedule::Every(_)), Dialect::Tree | Dialect::Groups | Dialect::Weighted | Dialect::Audience) => {
                self.left_out.insert("refresh_interval");
            }
            (Some(Schedule::Cron(_)), Dialect::Tree | Dialect::Groups | Dialect::Weighted | Dialect::Layered) => {
                self.left_out.insert("schedule");
            }
        }
        match (definition.cache_ttl.map(whole_minutes), self.dialect) {
            (None, _) => {}
            (Some(Some(minutes)), Dialect::Audience) => cache.insert(0, ("ttl-minutes", build::number(&(0..0), &minutes))),
            (Some(None), Dialect::Audience) | (Some(_), Dialect::Tree | Dialect::Groups | Dialect::Weighted | Dialect::Layered) => {
                self.left_out.insert("cache_ttl");
            }
        }
        if definition.max_change.is_some() {
            self.left_out.insert("max_change");
        }
        if !cache.is_empty() {
            members.push(("cache", build::object(&(0..0), cache)));
        }
        members
    }

    fn static_segment(&mut self) {
        let Kind::Static = self.document.definition().kind else { return };
        self.refuse::<()>(&DocPath::root().key("kind"), "members that are added by hand are no definition");
    }
}

/// A length of time in minutes, when it is some.
fn whole_minutes(duration: Duration) -> Option<u64> {
    let amount = u64::from(duration.amount);
    match duration.unit {
        Unit::Second if amount.is_multiple_of(60) => Some(amount / 60),
        Unit::Minute => Some(amount),
        Unit::Hour => Some(amount * 60),
        Unit::Second | Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year => None,
    }
}

/// The type that a value inside JSON is read as when nothing says it.
fn literal_type(comparison: &Comparison) -> Option<ValueType> {
    let of = |literal: &Literal| match literal {
        Literal::Boolean(_) => Some(ValueType::Boolean),
        Literal::Number(_) => Some(ValueType::Number),
        Literal::Text(_) => Some(ValueType::String),
        Literal::List(_) => None,
    };
    match (comparison.operator, &comparison.value) {
        (Operator::IsSet | Operator::IsNotSet, _) | (_, None) => None,
        (Operator::IsTrue | Operator::IsFalse, _) => Some(ValueType::Boolean),
        (Operator::ContainsAny | Operator::ContainsAll, _) => Some(ValueType::Array),
        (_, Some(Literal::List(values))) => values.first().and_then(of),
        (_, Some(literal)) => of(literal),
    }
}
