//! A tree of nodes to a [`Definition`]: every error of form in one pass.
//!
//! A part that is wrong becomes a finding, and something harmless takes its place in the definition, so that `check` can look at the
//! rest in the same pass. Such a definition never becomes a checked segment.

mod condition;
mod definition;
mod event;
mod fields;
mod lifecycle;
mod quantity;
mod scoring;
mod sequence;
mod signal;
mod value;

use std::ops::Range;
use std::sync::Arc;

pub(super) use definition::{IdRead, Read, definition};
pub(super) use event::{Stars, event_type_pattern};
pub(super) use fields::{Fields, Place};

use super::node::NodeKind;
use crate::diagnostic::{Code, Finding, Source, nearest};

/// The keys of each form of object, in the order in which they are printed.
pub(super) mod keys {
    pub(crate) const DEFINITION: &[&str] = &[
        "id",
        "name",
        "description",
        "subject",
        "kind",
        "status",
        "refresh_interval",
        "schedule",
        "cache_ttl",
        "max_change",
        "tags",
        "icon",
        "color",
        "logic",
        "conditions",
        "scoring",
        "metadata",
        "keep_snapshots",
        "keep_changes",
        "keep_history",
    ];
    pub(crate) const GROUP: &[&str] = &["logic", "conditions", "description"];
    pub(crate) const AT_LEAST: &[&str] = &["at_least", "of", "description"];
    pub(crate) const NOT: &[&str] = &["not", "description"];
    pub(crate) const ATTRIBUTE: &[&str] =
        &["type", "description", "property", "operator", "value", "value2", "value_type", "ignore_case"];
    pub(crate) const EVENT: &[&str] = &[
        "type",
        "description",
        "event_type",
        "where",
        "measure",
        "operator",
        "value",
        "value2",
        "value_type",
        "ignore_case",
        "window",
    ];
    pub(crate) const EVENT_PROPERTY: &[&str] =
        &["property", "operator", "value", "value2", "value_type", "ignore_case", "description"];
    pub(crate) const SEGMENT: &[&str] = &["type", "description", "segment_id", "operator"];
    pub(crate) const EVERYONE: &[&str] = &["type", "description"];
    pub(crate) const LIFECYCLE: &[&str] = &["type", "description", "event_type", "where", "pattern"];
    pub(crate) const STOPPED: &[&str] = &["active", "quiet"];
    pub(crate) const RESTARTED: &[&str] = &["quiet", "recent"];
    pub(crate) const REGULAR: &[&str] = &["period", "periods", "at_least", "count"];
    pub(crate) const SEQUENCE: &[&str] = &["type", "description", "steps", "within", "same", "window"];
    pub(crate) const SEQUENCE_STEP: &[&str] = &["event_type", "where", "absent"];
    pub(crate) const COMPARE: &[&str] = &["type", "description", "left", "operator", "right", "factor"];
    pub(crate) const TOP: &[&str] = &["type", "description", "by", "order", "count", "percent"];
    pub(crate) const QUANTITY_OF_EVENTS: &[&str] = &["type", "event_type", "where", "measure", "window"];
    pub(crate) const QUANTITY_OF_PROPERTY: &[&str] = &["property", "value_type"];
    pub(crate) const SAMPLE: &[&str] = &["type", "description", "percent", "salt"];
    pub(crate) const USER_BEHAVIOR_SIGNAL: &[&str] = &[
        "type",
        "description",
        "signal",
        "segment_id",
        "event_type",
        "product_id_property",
        "operator",
        "value",
        "value2",
        "value_type",
        "ignore_case",
        "window",
    ];
    pub(crate) const AI_VISIBILITY_METRIC: &[&str] =
        &["type", "description", "metric", "operator", "value", "value2", "value_type", "ignore_case"];
    pub(crate) const SCORING: &[&str] = &["combination", "threshold", "rules"];
    pub(crate) const SCORING_RULE: &[&str] = &["condition", "weight", "description"];
    pub(crate) const WINDOW: &[&str] = &["last", "from", "to"];
}

/// Collects what is wrong while a tree is read.
pub(super) struct Decoder<'a> {
    source: &'a Arc<Source>,
    findings: Vec<Finding>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(source: &'a Arc<Source>) -> Self {
        Self { source, findings: Vec::new() }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    pub(in crate::syntax) fn refuse(&mut self, place: &Place<'_>, finding: Finding) {
        let span = first_line(self.source, place.node.span.clone());
        self.findings.push(finding.at(self.source, span).with_path(&place.path));
    }

    pub(in crate::syntax) fn wrong_kind(&mut self, place: &Place<'_>, expected: &str) {
        let message = format!("{} must be {expected}, not {}", place.title(), place.node.noun());
        self.refuse(place, Finding::new(Code::WrongKind, message));
    }

    pub(in crate::syntax) fn text<'n>(&mut self, place: &Place<'n>) -> Option<&'n str> {
        match &place.node.kind {
            NodeKind::Text(text) => Some(text),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a text");
                None
            }
        }
    }

    pub(in crate::syntax) fn boolean(&mut self, place: &Place<'_>) -> Option<bool> {
        match &place.node.kind {
            NodeKind::Boolean(value) => Some(*value),
            NodeKind::Null | NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "true or false");
                None
            }
        }
    }

    pub(in crate::syntax) fn list<'n>(&mut self, place: &Place<'n>) -> Option<Vec<Place<'n>>> {
        match &place.node.kind {
            NodeKind::List(elements) => Some(place.elements(elements)),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a list");
                None
            }
        }
    }

    /// One of a few words; `what` says in the plural what they are.
    pub(in crate::syntax) fn word<T: Copy>(&mut self, place: &Place<'_>, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(place)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words = choices.iter().map(|(word, _)| *word);
        let help = match nearest(text, words.clone()) {
            Some(word) => format!("Did you mean `{word}`?"),
            None => format!("The {what} are {}.", list_words(words)),
        };
        self.refuse(place, Finding::new(Code::UnknownWord, format!("`{text}` is none of the {what}")).with_help(help));
        None
    }
}

/// The part of a span in its first line: a mark over a whole block hides what it marks.
pub(super) fn first_line(source: &Source, span: Range<usize>) -> Range<usize> {
    let text = source.text.get(span.clone()).unwrap_or_default();
    let line = text.split('\n').next().unwrap_or_default().trim_end();
    span.start..span.start + line.len()
}

/// `a`, `b` and `c`, each in backticks.
pub(in crate::syntax) fn list_words<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
