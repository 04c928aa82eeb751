//! `evaluate`: one subject against all, or the named, segments.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::backend::Backend as _;
use crate::cli::args::EvaluateArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Listing};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::scoring::Score;
use crate::model::segment::Status;
use crate::plan::{OutputName, Request};
use crate::refresh::Error;
use crate::refresh::definitions::{Definitions, Form};
use crate::refresh::place::{ReadablePlace, calendar_of, membership_of};

#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    subject: &'static str,
    matches: bool,
    score: Option<f64>,
}

/// Evaluates segments for one subject and prints which match.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &EvaluateArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let as_of = context.as_of(tenant, arguments.as_of);
    let names: Vec<String> = arguments.segments.iter().map(ToString::to_string).collect();
    let named = context.open_named(tenant, &names, as_of).await?;
    if named.ids.is_empty() {
        note_invalid(context, &named.opened.definitions);
    }
    let asked: Option<BTreeSet<SegmentId>> = (!named.ids.is_empty()).then(|| named.ids.iter().cloned().collect());
    let mut rows = Vec::new();
    let mut is_known = false;
    for subject in [Subject::User, Subject::Product] {
        let requests = requests_of(&named.opened.definitions, subject, asked.as_ref());
        if requests.is_empty() {
            continue;
        }
        let batch = named.opened.plan(subject, &requests, &calendar_of(tenant, as_of))?;
        let given = named.opened.given(&context.place, tenant, &batch).await?;
        let inspected = named.opened.backend.inspect(&batch, &given, &arguments.subject).await;
        let inspection = inspected.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
        is_known |= inspection.in_universe;
        if !inspection.in_universe && asked.is_none() {
            continue;
        }
        let wanted: BTreeSet<&OutputName> = requests.iter().map(|request| &request.name).collect();
        let found = inspection.outputs.into_iter().zip(inspection.scores);
        for (output, (matches, score)) in batch.outputs.iter().zip(found) {
            if let (true, OutputName::Segment(segment)) = (wanted.contains(&output.name), &output.name) {
                let (segment_id, score) = (segment.to_string(), score.map(Score::shown));
                rows.push(Row { segment_id, subject: subject.keyword(), matches, score });
            }
        }
    }
    if !is_known {
        context.screen.note(&format!("`{}` is not in the universe of these segments", arguments.subject));
    }
    rows.sort_by(|a, b| a.segment_id.cmp(&b.segment_id));
    let columns =
        vec![("segment_id", Column::Text), ("subject", Column::Text), ("matches", Column::Flag), ("score", Column::Score)];
    context.screen.listing(&Listing { columns, rows })
}

/// Says which segments are evaluated by an earlier form, or not at all.
fn note_invalid<P: ReadablePlace>(context: &Context<P>, definitions: &Definitions) {
    for file in &definitions.invalid {
        let ready = file.segment.as_ref().and_then(|segment| definitions.segments.get(segment));
        let how = if ready.is_some() { "evaluated by its last valid form" } else { "left out" };
        context.screen.note(&format!("`{}` is invalid, {how}: {}", file.file, file.error));
    }
    for (id, known) in &definitions.segments {
        if let Form::Failed { error, .. } = &known.form {
            context.screen.note(&format!("`{id}` cannot be evaluated, left out: {error}"));
        }
    }
}

/// The segments of a kind of subject that were asked for, or all that are listed; static and paused ones with the members that they have.
fn requests_of(definitions: &Definitions, subject: Subject, asked: Option<&BTreeSet<SegmentId>>) -> Vec<Request> {
    let mut requests = Vec::new();
    for (id, known) in &definitions.segments {
        let Form::Ready(ready) = &known.form else { continue };
        let is_asked = asked.map_or(ready.record.status != Status::Archived, |asked| asked.contains(id));
        if is_asked && ready.record.subject == subject {
            requests.push(membership_of(ready));
        }
    }
    requests
}
