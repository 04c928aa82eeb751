//! Checked segments through the pipeline: lower, normalize, plan, evaluate on DataFusion.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use segmenta::backend::{Backend, LocalMembers, SortedIds};
use segmenta::check::CheckedSegment;
use segmenta::ir::{self, LogicalRule};
use segmenta::model::calendar::Calendar;
use segmenta::model::condition::Subject;
use segmenta::model::id::SegmentId;
use segmenta::model::segment::Status;
use segmenta::plan::{self, Batch, OutputName, Reference, Request};

use crate::scenario::{Members, Scenario};

/// The batch of the segments of one subject that are asked for; `None` when no dynamic one is.
pub(crate) fn batch(
    subject: Subject,
    segments: &[&CheckedSegment],
    asked: &BTreeSet<SegmentId>,
    as_of: jiff::Timestamp,
    timezone: &str,
) -> Result<Option<Batch>, String> {
    let mut requests = Vec::new();
    let mut references = BTreeMap::new();
    for segment in segments.iter().filter(|segment| segment.subject() == subject) {
        let normal = ir::normalize(ir::lower(segment));
        let formula = match normal.rule {
            LogicalRule::Static => None,
            LogicalRule::Formula(formula) => Some(formula),
        };
        let reference = match &formula {
            Some(formula) if segment.definition().status == Status::Active => Reference::Evaluated(formula.clone()),
            Some(_) | None => Reference::Stored,
        };
        references.insert(segment.id().clone(), reference);
        if let Some(formula) = formula.filter(|_| asked.contains(segment.id())) {
            requests.push(Request { name: OutputName::Segment(segment.id().clone()), formula });
        }
    }
    if requests.is_empty() {
        return Ok(None);
    }
    let calendar = Calendar::new(as_of, timezone).map_err(|error| error.to_string())?;
    plan::plan(subject, &requests, &references, &calendar, timezone).map(Some).map_err(|error| error.to_string())
}

/// The members of the segments that are asked for. `segments` holds these and all that they refer to.
pub(crate) fn evaluate_on<B: Backend<Members = LocalMembers>>(
    backend: &B,
    segments: &[&CheckedSegment],
    asked: &BTreeSet<SegmentId>,
    stored: &Members,
    as_of: jiff::Timestamp,
) -> Result<Members, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| error.to_string())?;
    let mut found = Members::new();
    for subject in [Subject::User, Subject::Product] {
        let Some(batch) = batch(subject, segments, asked, as_of, &backend.catalog().timezone)? else { continue };
        let kept: Vec<LocalMembers> = batch.stored.iter().map(|id| local(stored.get(id))).collect();
        let evaluation = runtime.block_on(backend.evaluate(&batch, &kept)).map_err(|error| with_causes(&error))?;
        for (output, members) in batch.outputs.iter().zip(&evaluation.outputs) {
            match &output.name {
                OutputName::Segment(id) if asked.contains(id) => {
                    found.insert(id.clone(), members.iter().map(str::to_owned).collect());
                }
                OutputName::Segment(_) | OutputName::Node(..) => {}
            }
        }
    }
    Ok(found)
}

/// An error with everything below it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn local(ids: Option<&BTreeSet<String>>) -> LocalMembers {
    let ids = StringArray::from_iter_values(ids.into_iter().flatten());
    LocalMembers::all(Arc::new(SortedIds::new(ids).expect("a sorted set")))
}

/// The members of the dynamic segments that are asked for, on DataFusion over the rows of a scenario.
pub(crate) fn evaluate(scenario: &Scenario, segments: &[&CheckedSegment], asked: &BTreeSet<SegmentId>) -> Result<Members, String> {
    let _ = (scenario, segments, asked, evaluate_on::<NoBackend>);
    Err("no backend yet".to_owned())
}
