//! Compares definitions with a catalog and with each other. Holding a [`CheckedSegment`] is the proof that a definition fits:
//! every name is resolved, every operator suits its type, every literal is read.

mod checked;
mod comparison;
mod condition;
mod event;
mod lifecycle;
mod literal;
mod pattern;
mod property;
mod quantity;
mod references;
mod scope;
mod scoring;
mod sequence;
mod signal;
mod window;

pub use checked::{
    CheckedAttribute, CheckedCompare, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedLifecycle, CheckedMeasure,
    CheckedProperty, CheckedQuantity, CheckedRow, CheckedRule, CheckedSample, CheckedScoring, CheckedScoringRule, CheckedSegment,
    CheckedSequence, CheckedSignal, CheckedStep, CheckedTop, Element, ElementType, NumberMeasure, Operand, Reading, RowMeasure,
    Test, ValueMeasure,
};
pub use pattern::{ASCII_BOUNDARY, Case, InvalidPattern, NOT_ASCII_BOUNDARY, expand};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Finding, Report, Severity};
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::syntax::Document;
use scope::Scope;
pub(crate) use window::Probes;

/// What became of a set of definitions.
#[derive(Debug, Default)]
pub struct Checked {
    /// Every definition whose id could be read: checked, or the reasons why not.
    pub segments: BTreeMap<SegmentId, Result<CheckedSegment, Report>>,
    /// All findings of all definitions, warnings included, in the order of the documents.
    pub report: Report,
}

/// How large a definition may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Leaves of one definition, conditions on events included.
    pub leaves: usize,
    /// Nesting of groups. Texts that nest more than about 60 groups are refused when they are read, whatever stands here.
    pub depth: usize,
    /// Values in one list.
    pub list: usize,
    /// Bytes of the text of one definition.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { leaves: 1_000, depth: 32, list: 10_000, text: 1024 * 1024 }
    }
}

/// Checks a definition without a readable id, which no other can refer to, against the catalog and the `others`: all findings in one
/// pass, those of [`Document::report`] included.
#[must_use]
pub fn check_nameless(document: &Document, others: &[Document], catalog: &Catalog, limits: &Limits) -> Report {
    let probes = Probes::new(&catalog.timezone);
    let mut entry = Scope::new(document, catalog, limits, &probes).definition();
    references::check_targets(&mut entry, others);
    Report::of_text(entry.findings)
}

/// One document on its way: what was found in it, and what it became if nothing that is found later stands against it.
struct Entry<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
    rule: Option<CheckedRule>,
    references: Vec<Mention>,
}

/// A reference from one definition to another.
struct Mention {
    target: SegmentId,
    /// What the other one has to contain.
    contains: Subject,
    path: DocPath,
}

impl Entry<'_> {
    fn has_errors(&self) -> bool {
        self.rule.is_none() || self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Checks the definitions of one tenant against its catalog and each other: all findings in one pass, those of
/// [`Document::report`] included.
///
/// A definition with errors stops no other but those that refer to it.
#[must_use]
pub fn check(documents: &[Document], catalog: &Catalog, limits: &Limits) -> Checked {
    let probes = Probes::new(&catalog.timezone);
    let mut entries: Vec<Entry<'_>> =
        documents.iter().map(|document| Scope::new(document, catalog, limits, &probes).definition()).collect();
    references::check(&mut entries);

    let mut checked = Checked::default();
    for entry in entries {
        let failed = entry.has_errors();
        let definition = entry.document.definition();
        let report = Report::of_text(entry.findings);
        checked.report.append(report.clone());
        let outcome = match entry.rule {
            Some(rule) if !failed => Ok(CheckedSegment::new(Arc::clone(definition), rule)),
            Some(_) | None => Err(report),
        };
        match checked.segments.get_mut(&definition.id) {
            // INVARIANT: an id that two documents share is an error in both.
            Some(Err(earlier)) => earlier.append(outcome.err().unwrap_or_default()),
            Some(Ok(_)) | None => {
                checked.segments.insert(definition.id.clone(), outcome);
            }
        }
    }
    checked
}
