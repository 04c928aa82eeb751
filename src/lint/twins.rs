//! Segments that mean the same, or nearly so.
//!
//! Two segments mean the same when their normal forms are equal. They are similar when both are groups of the same logic that have at
//! least [`SHARED`] conditions in common and each at most one besides; unless those two exclude each other, as in a family of segments
//! that share no member.

use std::collections::BTreeMap;

use super::branch::{collect, exclude};
use crate::check::{CheckedSegment, Probes};
use crate::diagnostic::{Code, Finding};
use crate::ir::{Formula, LogicalRule, LogicalSegment, SubjectTest, lower, normalize, normalize_formula, outline};
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::model::segment::Status;

/// From so many common conditions on it is worth a word that two segments differ in one.
const SHARED: usize = 3;

/// A segment that another is like.
pub(super) struct Twin<'a> {
    pub(super) segment: &'a SegmentId,
    pub(super) path: DocPath,
    pub(super) finding: Finding,
}

/// A segment with its normal form.
struct Side<'a> {
    checked: &'a CheckedSegment,
    logical: LogicalSegment,
}

impl Side<'_> {
    /// The conditions that the rule joins, in order, and how; `None` of a rule that joins none.
    fn members(&self) -> Option<(bool, &[Formula<SubjectTest>])> {
        match &self.logical.rule {
            LogicalRule::Formula(Formula::All(of)) => Some((true, of)),
            LogicalRule::Formula(Formula::Any(of)) => Some((false, of)),
            LogicalRule::Formula(Formula::Constant(_) | Formula::AtLeast { .. } | Formula::Not(_) | Formula::Leaf(_))
            | LogicalRule::Static => None,
        }
    }
}

/// Rules that hold for nobody, or for everybody, have nothing in common but that.
fn tells_subjects_apart(rule: &LogicalRule) -> bool {
    match rule {
        LogicalRule::Static | LogicalRule::Formula(Formula::Constant(_)) => false,
        LogicalRule::Formula(Formula::All(_) | Formula::Any(_) | Formula::AtLeast { .. } | Formula::Not(_) | Formula::Leaf(_)) => {
            true
        }
    }
}

/// What is to be said of segments that are like others: of each at most once, and of sameness rather than of likeness.
pub(super) fn twins<'a>(segments: impl Iterator<Item = &'a CheckedSegment>, probes: &Probes) -> Vec<Twin<'a>> {
    let sides: Vec<Side<'a>> = segments
        .filter(|segment| segment.definition().status != Status::Archived)
        .map(|checked| Side { checked, logical: normalize(lower(checked)) })
        .filter(|side| tells_subjects_apart(&side.logical.rule))
        .collect();
    let mut same: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, side) in sides.iter().enumerate() {
        same.entry(crate::ir::fingerprint(&side.logical)).or_default().push(index);
    }
    let mut twins = Vec::new();
    for (index, side) in sides.iter().enumerate() {
        let alike = same.values().find(|alike| alike.contains(&index));
        let other = alike.and_then(|alike| alike.iter().find(|other| **other != index)).and_then(|other| sides.get(*other));
        if let Some(other) = other {
            let id = other.checked.id();
            let finding = Finding::new(Code::DuplicateSegment, format!("this segment means the same as `{id}`"))
                .with_help(format!("Keep one of them, or refer to it: `{{\"type\": \"segment\", \"segment_id\": \"{id}\"}}`."));
            twins.push(Twin { segment: side.checked.id(), path: DocPath::root().key("id"), finding });
        } else if let Some(twin) = sides.iter().find_map(|other| similar(side, other, probes)) {
            twins.push(twin);
        }
    }
    twins
}

/// What is to be said of a segment that differs from another in one of several conditions.
fn similar<'a>(side: &Side<'a>, other: &Side<'_>, probes: &Probes) -> Option<Twin<'a>> {
    let ((joined, own), (other_joined, others)) = (side.members()?, other.members()?);
    if joined != other_joined || side.logical.subject != other.logical.subject || own.len().abs_diff(others.len()) > 1 {
        return None;
    }
    // Both are sorted and without repeats.
    let lacks = |of: &'_ [Formula<SubjectTest>], formula: &Formula<SubjectTest>| of.binary_search(formula).is_err();
    let mut besides = own.iter().filter(|formula| lacks(others, formula));
    let (first, second) = (besides.next(), besides.next());
    let theirs: Vec<_> = others.iter().filter(|formula| lacks(own, formula)).collect();
    let more = theirs.len();
    let shared = own.len() - usize::from(first.is_some());
    if second.is_some() || more > 1 || shared < SHARED || (first.is_none() && more == 0) {
        return None;
    }
    let mut apart = Vec::new();
    theirs.iter().copied().chain(first).for_each(|formula| collect(formula, true, &mut apart));
    if joined && exclude(&apart, probes) {
        return None;
    }
    let id = other.checked.id();
    let (path, message) = match first {
        Some(formula) => {
            let message = format!("but for this, `{id}` has the same {shared} conditions");
            (place_of(side.checked, formula), if more == 1 { format!("{message}, and one of its own") } else { message })
        }
        None => (DocPath::root().key("id"), format!("`{id}` has the same {shared} conditions, and one more")),
    };
    let finding = Finding::new(Code::SimilarSegment, message)
        .with_help("If both are meant, let one refer to what they share as a segment of its own.");
    Some(Twin { segment: side.checked.id(), path, finding })
}

/// Where the author wrote a condition of the normal form; the rule as a whole when it was written otherwise.
fn place_of(checked: &CheckedSegment, formula: &Formula<SubjectTest>) -> DocPath {
    let mut place = None;
    if let Some(tree) = outline(checked) {
        tree.walk(&mut |node| {
            if place.is_none() && normalize_formula(&node.formula) == *formula {
                place = Some(node.path.clone());
            }
        });
    }
    place.unwrap_or_else(|| DocPath::root().key("id"))
}
