//! `overlap`: how many subjects segments share, pair by pair.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::list::{Standing, is_stale};
use super::members::refuse_unknown;
use super::preview::unread;
use super::share;
use crate::backend::sets::Sets as _;
use crate::cli::args::OverlapArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::observations;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing, matrix};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::segment::{Definition, Kind};
use crate::plan::{OutputName, Request};
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::read_definitions;
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::store::Ledger as _;

/// What two segments have in common.
#[derive(Debug, Serialize)]
struct Row<'a> {
    left: &'a SegmentId,
    right: &'a SegmentId,
    left_count: u64,
    right_count: u64,
    intersection: u64,
    union: u64,
    /// Of two empty segments there is none.
    jaccard: Option<f64>,
}

/// Segments, and how many each shares with each.
struct Shared {
    ids: Vec<SegmentId>,
    counts: Vec<Vec<u64>>,
}

/// Prints the sizes of intersections and unions, and their quotients.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &OverlapArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let mut seen = BTreeSet::new();
    let ids: Vec<SegmentId> = arguments.segments.iter().filter(|id| seen.insert((*id).clone())).cloned().collect();
    if ids.len() < 2 {
        return Err(CliError::Usage { problem: "name at least two different segments".to_owned(), help: None });
    }
    let members = if arguments.evaluate || arguments.as_of.is_some() {
        evaluated(context, tenant, &ids, arguments).await?
    } else {
        stored(context, tenant, &ids).await?
    };
    let counts = context.place.sets(context.run).shared(&members).await.map_err(unread(tenant))?;
    let shared = Shared { ids, counts };
    let rows = pairs(&shared);
    let (text, json) = (matrices(&shared), serde_json::to_value(&rows).unwrap_or_default());
    let columns = vec![
        ("left", Column::Text),
        ("right", Column::Text),
        ("left_count", Column::Count),
        ("right_count", Column::Count),
        ("intersection", Column::Count),
        ("union", Column::Count),
        ("jaccard", Column::Number),
    ];
    context.screen.document(&Document { text, json, rows: Listing { columns, rows }.batch()? })
}

/// The members that the last runs wrote.
async fn stored<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    ids: &[SegmentId],
) -> Result<Vec<P::Members>, CliError> {
    let ledger = context.place.ledger();
    let state = ledger.state(&tenant.id).await.map_err(Error::from)?;
    let default_interval = context.config.scheduler.default_refresh_interval;
    let standing = Standing { tenant, now: context.as_of(tenant, None), default_interval };
    let mut subjects = Vec::new();
    let mut members = Vec::new();
    for id in ids {
        let subject = match state.segments.get(id) {
            Some(segment) if segment.computed_at.is_some() || segment.definition.kind == Kind::Static => {
                if let (true, Some(at)) = (is_stale(&standing, segment), segment.computed_at) {
                    context.screen.note(&format!("`{id}` is stale: last computed as of {at}"));
                }
                segment.definition.subject
            }
            Some(_) => return Err(uncomputed(id)),
            None => match defined(tenant, id) {
                Some(definition) if definition.kind == Kind::Static => definition.subject,
                Some(_) => return Err(uncomputed(id)),
                None => return Err(refuse_unknown(tenant, &state, id).map_or_else(Into::into, |()| uncomputed(id))),
            },
        };
        subjects.push(subject);
        members.push(ledger.stored(&tenant.id, id).await.map_err(Error::from)?);
    }
    refuse_mixed(ids, &subjects)?;
    Ok(members)
}

fn uncomputed(id: &SegmentId) -> CliError {
    let help = Some("Run `segmenta refresh`, or evaluate the definitions now with `--evaluate`.".to_owned());
    CliError::Usage { problem: format!("`{id}` was not computed yet"), help }
}

/// The definition of a segment in the files of a tenant.
fn defined(tenant: &TenantConfig, id: &SegmentId) -> Option<Arc<Definition>> {
    let files = read_definitions(&tenant.definitions).ok()?;
    let mut documents = files.iter().filter_map(|file| file.parse().ok());
    documents.find(|document| document.definition().id == *id).map(|document| Arc::clone(document.definition()))
}

/// What the definitions give at an instant, all in one pass; of static segments their stored members in the universe.
async fn evaluated<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    ids: &[SegmentId],
    arguments: &OverlapArguments,
) -> Result<Vec<P::Members>, CliError> {
    let as_of = context.as_of(tenant, arguments.as_of);
    let bar = Bar::new(context.screen);
    bar.say("evaluating");
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let named = context.open_named(tenant, &names, as_of).await?;
    let of_ids = |id: &SegmentId| named.ready().find(|ready| ready.logical.id == *id);
    let subjects: Vec<Subject> = ids.iter().filter_map(of_ids).map(|ready| ready.record.subject).collect();
    let subject = refuse_mixed(ids, &subjects)?;
    let requests: Vec<Request> = ids.iter().filter_map(of_ids).filter_map(|ready| named.opened.request_for(ready)).collect();
    let batch = named.opened.plan(subject, &requests, &calendar_of(tenant, as_of))?;
    let evaluation = named.opened.evaluate(&context.place, tenant, &batch).await?;
    drop(bar);
    observations::note_all(context.screen, subject, &evaluation.observations);
    let mut members = Vec::with_capacity(ids.len());
    for id in ids {
        let name = OutputName::Segment(id.clone());
        let is_requested = requests.iter().any(|request| request.name == name);
        let output = batch.outputs.iter().zip(&evaluation.outputs).find(|(output, _)| is_requested && output.name == name);
        members.push(match output {
            Some((_, members)) => members.clone(),
            None => {
                let stored = context.place.ledger().stored(&tenant.id, id).await.map_err(Error::from)?;
                let sets = context.place.sets(context.run);
                sets.intersection(&evaluation.universe, &stored).await.map_err(unread(tenant))?
            }
        });
    }
    Ok(members)
}

/// The one kind of subject that all of the segments contain.
fn refuse_mixed(ids: &[SegmentId], subjects: &[Subject]) -> Result<Subject, CliError> {
    let mut sides = ids.iter().zip(subjects.iter().copied());
    let (first, subject) = sides.next().ok_or_else(|| CliError::Usage { problem: "name two segments".to_owned(), help: None })?;
    match sides.find(|(_, other)| *other != subject) {
        None => Ok(subject),
        Some((id, other)) => Err(CliError::Usage {
            problem: format!(
                "`{first}` contains {}s and `{id}` {}s: they have nothing in common",
                subject.keyword(),
                other.keyword()
            ),
            help: Some("Compare segments of one kind of subject.".to_owned()),
        }),
    }
}

/// Every two segments once, in the order in which they were named.
fn pairs(shared: &Shared) -> Vec<Row<'_>> {
    let count = shared.ids.len();
    (0..count).flat_map(|one| (one + 1..count).filter_map(move |other| compare(shared, one, other))).collect()
}

fn compare(shared: &Shared, one: usize, other: usize) -> Option<Row<'_>> {
    let count = |one: usize, other: usize| shared.counts.get(one).and_then(|row| row.get(other)).copied();
    let (left_count, right_count, intersection) = (count(one, one)?, count(other, other)?, count(one, other)?);
    let union = left_count + right_count - intersection;
    let jaccard = share(intersection, union);
    let (left, right) = (shared.ids.get(one)?, shared.ids.get(other)?);
    Some(Row { left, right, left_count, right_count, intersection, union, jaccard })
}

/// A matrix each of intersections, unions and Jaccard indexes. Columns bear the numbers of the rows, so that many segments fit.
fn matrices(shared: &Shared) -> String {
    let places = || 0..shared.ids.len();
    let figures = |title: &str, cell: &dyn Fn(&Row<'_>) -> String| {
        let mut header = vec![String::new(), title.to_owned()];
        header.extend(places().map(|place| (place + 1).to_string()));
        let rows = shared.ids.iter().enumerate().map(|(one, left)| {
            let mut row = vec![(one + 1).to_string(), left.to_string()];
            row.extend(places().filter_map(|other| compare(shared, one, other)).map(|compared| cell(&compared)));
            row
        });
        matrix(header, rows)
    };
    let intersections = figures("in both", &|row| row.intersection.to_string());
    let unions = figures("in either", &|row| row.union.to_string());
    let jaccard = figures("Jaccard index", &|row| row.jaccard.map_or_else(|| "-".to_owned(), |index| format!("{index:.3}")));
    format!("{intersections}\n{unions}\n{jaccard}")
}
