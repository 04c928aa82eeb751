//! [`Scope`]: what is at hand while one definition is checked, and what was found so far.

use super::window::Probes;
use super::{CheckedRule, Entry, Limits, Mention};
use crate::diagnostic::{Code, Finding, Severity};
use crate::model::catalog::{Catalog, Table};
use crate::model::condition::Subject;
use crate::model::path::DocPath;
use crate::model::segment::{Kind, Rule};
use crate::syntax::Document;

pub(super) struct Scope<'a> {
    pub(super) document: &'a Document,
    pub(super) catalog: &'a Catalog,
    pub(super) limits: &'a Limits,
    pub(super) probes: &'a Probes,
    pub(super) subject: Subject,
    pub(super) leaves: usize,
    pub(super) references: Vec<Mention>,
    /// Where reading the text found errors already.
    faults: Vec<String>,
    findings: Vec<Finding>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(document: &'a Document, catalog: &'a Catalog, limits: &'a Limits, probes: &'a Probes) -> Self {
        let findings = document.report().findings.clone();
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        let faults = errors.filter_map(|finding| finding.path.clone()).collect();
        let subject = document.definition().subject;
        Self { document, catalog, limits, probes, subject, leaves: 0, references: Vec::new(), faults, findings }
    }

    /// Checks the definition against the catalog.
    pub(super) fn definition(mut self) -> Entry<'a> {
        let size = self.document.size();
        let rule = if size > self.limits.text {
            let message = format!("the text has {size} bytes, more than the limit of {}", self.limits.text);
            self.report(&DocPath::root(), Finding::new(Code::TooLarge, message));
            None
        } else {
            self.rule()
        };
        Entry { document: self.document, findings: self.findings, rule, references: self.references }
    }

    fn rule(&mut self) -> Option<CheckedRule> {
        let definition = self.document.definition();
        let root = DocPath::root();
        match (&definition.rule, definition.kind) {
            (None, Kind::Static) => Some(CheckedRule::Static),
            (None, Kind::Dynamic) => {
                self.report(&root, Finding::new(Code::RuleMismatch, "a dynamic segment has neither `conditions` nor `scoring`"));
                None
            }
            (Some(_), Kind::Static) => {
                self.report(&root, Finding::new(Code::RuleMismatch, "a static segment has no rule"));
                None
            }
            (Some(Rule::Scoring(scoring)), Kind::Dynamic) => {
                let universe = self.universe();
                let place = root.key("scoring");
                let rule = self.scoring(scoring, &place).map(CheckedRule::Scoring);
                self.not_too_many_leaves(&place.key("rules"))?;
                universe.and(rule)
            }
            (Some(Rule::Conditions { logic, conditions }), Kind::Dynamic) => {
                let universe = self.universe();
                let rule = self.group(*logic, conditions, &root, 1).map(CheckedRule::Conditions);
                self.not_too_many_leaves(&root.key("conditions"))?;
                universe.and(rule)
            }
        }
    }

    /// The leaves below `place`, which were counted on the way, are not more than the limit.
    fn not_too_many_leaves(&mut self, place: &DocPath) -> Option<()> {
        if self.leaves <= self.limits.leaves {
            return Some(());
        }
        let message = format!("the definition has {} leaves, more than the limit of {}", self.leaves, self.limits.leaves);
        self.report(place, Finding::new(Code::TooLarge, message));
        None
    }

    /// A segment needs a table of its subjects, or events that name them.
    fn universe(&mut self) -> Option<()> {
        let subject = self.subject;
        let events = self.catalog.events.as_ref().and_then(|events| events.key(subject));
        if self.catalog.subjects(subject).is_some() || events.is_some() {
            return Some(());
        }
        let word = subject.keyword();
        let finding = Finding::new(Code::MissingTable, format!("the tenant has neither a table of {word}s nor events of {word}s"))
            .with_help(format!("Configure `{word}s`, or `{word}_key` of `events`."));
        self.report(&DocPath::root(), finding);
        None
    }

    /// The table of the segment's subjects, and what its rows are, in the plural.
    pub(super) fn subjects_table(&mut self, place: &DocPath) -> Option<(&'a Table, &'static str)> {
        let noun = match self.subject {
            Subject::User => "users",
            Subject::Product => "products",
        };
        let catalog = self.catalog;
        let Some(subjects) = catalog.subjects(self.subject) else {
            let finding =
                Finding::new(Code::MissingTable, format!("the tenant has no table of {noun}, so that they have no attributes"))
                    .with_help(format!("Configure `{noun}`, or use conditions of type `event`."));
            self.report(place, finding);
            return None;
        };
        Some((&subjects.table, noun))
    }

    /// Adds a finding about what stands at a path.
    ///
    /// A finding about a whole is left out when a part of it could not be read: it would only follow from that.
    pub(super) fn report(&mut self, path: &DocPath, finding: Finding) {
        if !self.has_fault_in(path) {
            self.findings.push(self.document.place(finding, path));
        }
    }

    /// Whether a part of what stands at a path could not be read.
    pub(super) fn has_fault_in(&self, path: &DocPath) -> bool {
        let pointer = path.to_string();
        let inside = |fault: &String| fault.strip_prefix(&pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.faults.iter().any(inside)
    }
}
