//! Who can say who is in a segment: the reference, and the backends.

use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use libtest_mimic::{Failed, Trial};
use segmenta::check::{CheckedRule, CheckedSegment};
use segmenta::model::id::SegmentId;
use segmenta::model::segment::Status;

use crate::clickhouse::{self, server};
use crate::engine::{Engine, Order};
use crate::reference::score;
use crate::scenario::{Members, Scenario, Scores, all_valid};

/// Someone who evaluates scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evaluator {
    Reference,
    DataFusion,
    ClickHouse,
}

impl Evaluator {
    pub(crate) const ALL: [Self; 3] = [Self::Reference, Self::DataFusion, Self::ClickHouse];

    /// Those that can be asked here.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|evaluator| *evaluator != Self::ClickHouse || !clickhouse::is_missing())
    }

    /// A test of this evaluator, ignored where it cannot be asked.
    pub(crate) fn trial(self, name: String, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
        match self {
            Self::ClickHouse => clickhouse::trial(name, move |_| run()),
            Self::Reference | Self::DataFusion => Trial::test(name, run),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::DataFusion => "datafusion",
            Self::ClickHouse => "clickhouse",
        }
    }
}

/// The members of every active dynamic segment of a scenario, whose definitions must all fit, and the scores of those that score.
pub(crate) fn members(scenario: &Scenario, evaluator: Evaluator) -> Result<(Members, Scores), String> {
    let checked = scenario.check()?;
    evaluate(scenario, &all_valid(&checked)?, evaluator)
}

/// The members of every active dynamic segment, all asked for together, and the scores of those that score.
pub(crate) fn evaluate(
    scenario: &Scenario,
    segments: &[&CheckedSegment],
    evaluator: Evaluator,
) -> Result<(Members, Scores), String> {
    let asked = asked(segments);
    match evaluator {
        Evaluator::Reference => {
            let mut members = scenario.reference(segments);
            members.retain(|id, _| asked.contains(id));
            let mut scores = Scores::new();
            for (id, found) in scenario.reference_scores(segments) {
                let Some(members) = members.get(&id) else { continue };
                let of_members = found.into_iter().filter(|(subject, _)| members.contains(subject));
                scores.insert(id, of_members.map(|(subject, found)| (subject, score::billionths(&found))).collect());
            }
            Ok((members, scores))
        }
        Evaluator::DataFusion => {
            let order = Order { segments, as_of: scenario.as_of, stored: &scenario.stored };
            Engine::over_rows(scenario, 3)?.members_and_scores(order, &asked)
        }
        Evaluator::ClickHouse => {
            let order = Order { segments, as_of: scenario.as_of, stored: &scenario.stored };
            Engine::on_server(scenario, server()?)?.members_and_scores(order, &asked)
        }
    }
}

/// The active dynamic segments: what a run evaluates.
pub(crate) fn asked(segments: &[&CheckedSegment]) -> BTreeSet<SegmentId> {
    let active = segments.iter().filter(|segment| segment.definition().status == Status::Active);
    active.filter(|segment| *segment.rule() != CheckedRule::Static).map(|segment| segment.id().clone()).collect()
}

/// In what the scores that a scenario expects differ from those of an evaluator, in words; empty when in nothing.
pub(crate) fn unexpected_scores(scenario: &Scenario, found: &Scores) -> String {
    let mut wrong = String::new();
    for (segment, expected) in &scenario.expected_scores {
        let shown = |billionths: &u32| score::shown(&(BigDecimal::from(*billionths) / BigDecimal::from(1_000_000_000))).0;
        let found: BTreeMap<&String, BigDecimal> =
            found.get(segment).into_iter().flatten().map(|(id, of)| (id, shown(of))).collect();
        let written = |score: &f64| score.to_string().parse::<BigDecimal>().expect("a number");
        let expected: BTreeMap<&String, BigDecimal> = expected.iter().map(|(id, score)| (id, written(score))).collect();
        if found != expected {
            wrong += &format!("scores of `{segment}`: expected {expected:?}, got {found:?}\n");
        }
    }
    wrong
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
