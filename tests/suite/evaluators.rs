//! Who can say who is in a segment: the reference, and the backends.

use std::collections::{BTreeMap, BTreeSet};

use segmenta::check::CheckedSegment;
use segmenta::model::id::SegmentId;

use crate::engine;
use crate::scenario::{Members, Scenario, all_valid};

/// Someone who evaluates scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evaluator {
    Reference,
    DataFusion,
}

impl Evaluator {
    pub(crate) const ALL: [Self; 2] = [Self::Reference, Self::DataFusion];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::DataFusion => "datafusion",
        }
    }
}

/// The members of every segment of a scenario, whose definitions must all fit.
pub(crate) fn members(scenario: &Scenario, evaluator: Evaluator) -> Result<Members, String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    evaluate(scenario, &segments, evaluator)
}

/// The members of checked segments, all of which are asked for together.
pub(crate) fn evaluate(scenario: &Scenario, segments: &[&CheckedSegment], evaluator: Evaluator) -> Result<Members, String> {
    match evaluator {
        Evaluator::Reference => Ok(scenario.reference(segments)),
        Evaluator::DataFusion => engine::evaluate(scenario, segments, &asked(segments)),
    }
}

/// The ids of segments.
pub(crate) fn asked(segments: &[&CheckedSegment]) -> BTreeSet<SegmentId> {
    segments.iter().map(|segment| segment.id().clone()).collect()
}

/// What two evaluators disagree on, by segment: the ids that only the first has, and those that only the second has.
pub(crate) fn disagreements(left: &Members, right: &Members) -> BTreeMap<SegmentId, (Vec<String>, Vec<String>)> {
    let nobody = BTreeSet::new();
    let ids: BTreeSet<&SegmentId> = left.keys().chain(right.keys()).collect();
    let mut found = BTreeMap::new();
    for id in ids {
        let (left, right) = (left.get(id).unwrap_or(&nobody), right.get(id).unwrap_or(&nobody));
        if left != right {
            let only = (left.difference(right).cloned().collect(), right.difference(left).cloned().collect());
            found.insert(id.clone(), only);
        }
    }
    found
}
