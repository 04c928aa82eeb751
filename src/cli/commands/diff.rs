//! `diff`: who would enter and leave if a definition became another, without writing anything.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::preview::{evaluated_request, sample_of, unread};
use crate::backend::sets::Sets as _;
use crate::backend::{Backend, Evaluation, MemberSet};
use crate::cli::args::{Against, DiffArguments};
use crate::cli::context::{Context, EXPRESSION, free_id, put_first, refuse_unready};
use crate::cli::error::CliError;
use crate::cli::foreign;
use crate::cli::observations;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::diagnostic::Source;
use crate::ir::LogicalRule;
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::segment::Kind;
use crate::plan::{OutputName, Request};
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::{
    DefinitionFile, Definitions, Form, KnownSegment, Language, ReadySegment, read_definition, read_definitions,
};
use crate::refresh::place::{Opened, ReadablePlace, calendar_of};
use crate::store::{DefinitionNote, Ledger as _, SegmentState};
use crate::syntax::Identity;

/// A subject, and what would happen to it.
#[derive(Debug, Serialize)]
struct Row {
    subject_id: String,
    change: &'static str,
}

/// The members before and after a change, and what each definition means.
struct Change<M> {
    before: M,
    after: M,
    /// Before and after; what a failed run left is of no known definition.
    hashes: (Option<String>, String),
    evaluation: Evaluation<M>,
    subject: Subject,
}

/// Evaluates both definitions and prints who enters, leaves and stays.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &DiffArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let as_of = context.as_of(tenant, arguments.as_of);
    let bar = Bar::new(context.screen);
    bar.say("evaluating");
    let Change { before, after, hashes, evaluation, subject } = evaluate(context, tenant, arguments, as_of).await?;
    drop(bar);
    observations::note_all(context.screen, subject, &evaluation.observations);
    let (hash_before, hash_after) = hashes;
    let (sets, unread) = (context.place.sets(context.run), unread(tenant));
    let entering = sets.difference(&after, &before).await.map_err(unread)?;
    let leaving = sets.difference(&before, &after).await.map_err(unread)?;
    let staying = sets.intersection(&after, &before).await.map_err(unread)?;
    let parts = [("entering", "enter", &entering), ("leaving", "exit", &leaving), ("staying", "stay", &staying)];
    let segment_id = &arguments.segment;
    let is_same = hash_before.as_ref() == Some(&hash_after);
    let mut json = json!({
        "segment_id": segment_id, "as_of": as_of, "against": arguments.against,
        "definition_hash": { "before": hash_before, "after": hash_after }, "same_meaning": is_same,
        "universe": evaluation.universe.count(), "before": before.count(), "after": after.count(),
        "entering": entering.count(), "leaving": leaving.count(), "staying": staying.count(),
    });
    let from = match arguments.against {
        Against::Current => "before",
        Against::Stored => "stored",
    };
    let noun = subject.keyword();
    let mut text = format!("{segment_id}: {} {noun}s {from}, {} after the change, as of {as_of}\n", before.count(), after.count());
    if is_same {
        text.push_str("both definitions mean the same\n");
    }
    let mut samples = serde_json::Map::new();
    let mut rows = Vec::new();
    // Writing to a text does not fail.
    for (name, _, members) in &parts {
        writeln!(text, "{:>10}  {name}", members.count()).ok();
    }
    for (name, change, members) in parts {
        let sample = sample_of(&sets, members, arguments.sample).await.map_err(unread)?;
        let sample: Vec<String> = sample.into_iter().map(|(id, _)| id).collect();
        if !sample.is_empty() {
            let all = if sample.len() as u64 == members.count() { "" } else { ", a sample" };
            writeln!(text, "{name}{all}:").ok();
            sample.iter().for_each(|id| writeln!(text, "  {id}").unwrap_or_default());
        }
        samples.insert(name.to_owned(), sample.iter().map(|id| json!({ "subject_id": id })).collect());
        rows.extend(sample.into_iter().map(|subject_id| Row { subject_id, change }));
    }
    if let Some(object) = json.as_object_mut() {
        object.insert("sample".to_owned(), samples.into());
    }
    let columns = vec![("subject_id", Column::Text), ("change", Column::Text)];
    context.screen.document(&Document { text, json, rows: Listing { columns, rows }.batch()? })
}

/// Where the members before the change come from.
enum Before {
    /// The definition in force is evaluated under this name.
    Evaluated(OutputName),
    /// They are stored, and count as they are.
    Stored,
    /// They were added by hand, and count while they are in the universe.
    ByHand,
}

/// One batch for both definitions. What either refers to never refers back to the segment, so that it is the same for both.
async fn evaluate<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    arguments: &DiffArguments,
    as_of: Timestamp,
) -> Result<Change<P::Members>, CliError> {
    let id = &arguments.segment;
    let mut files = read_definitions(&tenant.definitions)?;
    let mut opened = Opened::open(&context.place, tenant, &files, as_of, context.run).await?;
    let known = known(&opened, tenant, id)?;
    let subject = known.record().subject;
    let identity = Identity { id: id.clone(), name: known.definition().and_then(|definition| definition.name.clone()) };
    let draft = draft(context, tenant, arguments, subject, &identity, opened.backend.catalog())?;
    put_first(&mut files, draft)?;
    let changed = Definitions::resolve(&files, &opened.state, opened.backend.catalog(), &tenant.limits);
    let current = std::mem::replace(&mut opened.definitions, changed);
    refuse_unready(&opened, tenant, id)?;
    let after = ready(&opened.definitions, id)?;
    refuse_other_subject(after, subject)?;

    let mut requests = vec![evaluated_request(&opened, after)?];
    let (before, hash_before) = match arguments.against {
        Against::Stored => (Before::Stored, stored_hash(&opened, id)?),
        Against::Current => {
            let before = ready(&current, id)?;
            note_invalid(context, &current, id);
            let source = match before.logical.rule {
                LogicalRule::Static => Before::ByHand,
                LogicalRule::Formula(_) => {
                    let taken = opened.definitions.segments.keys().cloned().collect();
                    let current = free_id("current", &taken)?;
                    // What people decided holds before the change as after it.
                    if let Some(overrides) = opened.overrides.get(id).cloned() {
                        opened.overrides.insert(current.clone(), overrides);
                    }
                    let name = OutputName::Segment(current);
                    requests.push(Request { name: name.clone(), ..evaluated_request(&opened, before)? });
                    Before::Evaluated(name)
                }
            };
            (source, Some(before.record.hash.clone()))
        }
    };
    let hashes = (hash_before, after.record.hash.clone());
    let batch = opened.plan(subject, &requests, &calendar_of(tenant, as_of))?;
    let evaluation = opened.evaluate(&context.place, tenant, &batch).await?;
    let output = |name: &OutputName| {
        let found = batch.position(name).and_then(|index| evaluation.outputs.get(index)).cloned();
        // Every request of a batch is one of its outputs.
        found.ok_or_else(|| CliError::Usage { problem: format!("`{id}` was not evaluated"), help: None })
    };
    let after = output(&OutputName::Segment(id.clone()))?;
    let before = match before {
        Before::Evaluated(name) => output(&name)?,
        Before::Stored => stored(context, tenant, id).await?,
        Before::ByHand => {
            let stored = stored(context, tenant, id).await?;
            context.place.sets(context.run).intersection(&evaluation.universe, &stored).await.map_err(unread(tenant))?
        }
    };
    Ok(Change { before, after, hashes, evaluation, subject })
}

/// The segment as it is; one whose file was never valid is refused with what is wrong in it.
fn known<'a, B: Backend>(opened: &'a Opened<B>, tenant: &TenantConfig, id: &SegmentId) -> Result<&'a KnownSegment, CliError> {
    match opened.definitions.get(id) {
        Ok(known) => Ok(known),
        Err(Some(near)) => Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: id.clone(), near: Some(near) }.into()),
        Err(None) => {
            refuse_unready(opened, tenant, id).map_err(|error| match error {
                Error::UnknownSegment { .. } => CliError::Usage {
                    problem: error.to_string(),
                    help: Some("`segmenta preview FILE` shows who would be in a new segment.".to_owned()),
                },
                other => other.into(),
            })?;
            Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: id.clone(), near: None }.into())
        }
    }
}

/// What takes the place of the definition.
fn draft<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    arguments: &DiffArguments,
    subject: Subject,
    identity: &Identity,
    catalog: &Catalog,
) -> Result<DefinitionFile, CliError> {
    match (&arguments.expression, &arguments.file, arguments.dialect) {
        (Some(text), _, _) => {
            let language = Language::Expression { id: identity.id.clone(), subject };
            Ok(DefinitionFile { source: Source::new(EXPRESSION, text.as_str()), language })
        }
        (None, Some(path), Some(dialect)) => foreign::only_definition_of(context, tenant, path, dialect, catalog, Some(identity)),
        (None, Some(path), None) => {
            let DefinitionFile { source, language } = read_definition(path)?;
            let language = match language {
                Language::Document(format) => Language::InPlaceOf(identity.clone(), format),
                other @ (Language::InPlaceOf(..) | Language::Expression { .. }) => other,
            };
            Ok(DefinitionFile { source, language })
        }
        (None, None, _) => Err(CliError::Usage { problem: "name a file, or give `--where`".to_owned(), help: None }),
    }
}

/// The form of a segment that is in force.
fn ready<'a>(definitions: &'a Definitions, id: &SegmentId) -> Result<&'a ReadySegment, CliError> {
    let problem = match definitions.segments.get(id).map(|known| &known.form) {
        Some(Form::Ready(ready)) => return Ok(ready),
        Some(Form::Failed { error, .. }) => format!("`{id}` cannot be evaluated as it is: {error}"),
        Some(Form::Missing(_)) | None => format!("`{id}` is missing: the file that defined it is gone"),
    };
    Err(CliError::Usage { problem, help: Some("Compare with its stored members: `--against stored`.".to_owned()) })
}

fn refuse_other_subject(after: &ReadySegment, subject: Subject) -> Result<(), CliError> {
    let other = after.record.subject;
    if other == subject {
        return Ok(());
    }
    let problem = format!("`{}` contains {}s, and would contain {}s", after.logical.id, subject.keyword(), other.keyword());
    Err(CliError::Usage {
        problem,
        help: Some("A segment keeps the kind of its subjects; give the change an id of its own.".to_owned()),
    })
}

fn note_invalid<P: ReadablePlace>(context: &Context<P>, definitions: &Definitions, id: &SegmentId) {
    if let Some(DefinitionNote::Invalid(_)) = definitions.segments.get(id).map(|known| &known.note) {
        context.screen.note(&format!("`{id}` is invalid as it stands: compared with its last valid form"));
    }
}

/// What the definition meant whose members are stored; `None` when a run failed since, whose definition it may not be.
fn stored_hash<B: Backend>(opened: &Opened<B>, id: &SegmentId) -> Result<Option<String>, CliError> {
    let computed = |state: &&SegmentState| state.computed_at.is_some() || state.definition.kind == Kind::Static;
    let state = opened.state.segments.get(id).filter(computed).ok_or_else(|| CliError::Usage {
        problem: format!("`{id}` was not computed yet"),
        help: Some("Leave out `--against stored` to compare with what its definition gives now.".to_owned()),
    })?;
    Ok((state.errors == 0).then(|| state.definition.hash.clone()))
}

async fn stored<P: ReadablePlace>(context: &Context<P>, tenant: &TenantConfig, id: &SegmentId) -> Result<P::Members, CliError> {
    Ok(context.place.ledger().stored(&tenant.id, id).await.map_err(Error::from)?)
}
