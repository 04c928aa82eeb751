//! `override`: what people decide by hand about the members of a segment.

use std::collections::BTreeSet;
use std::path::Path;

use datafusion::arrow::array::{Array as _, BooleanArray};
use datafusion::arrow::compute::filter_record_batch;
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::json;

use super::members::refuse_unknown;
use crate::cli::args::{OverrideArguments, OverrideCommand, OverrideEditArguments, OverrideListArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::model::manual::{Origin, Verdict};
use crate::refresh::Error;
use crate::refresh::overrides::{EditReport, EditRequest, OnUnknown, edit_overrides};
use crate::refresh::place::ReadablePlace;
use crate::store::{EditAction, Ledger as _, LedgerError, OverrideEdit, ReadFilter, rows};
use crate::syntax::subjects::{Header, ListForm, NoList, SubjectList, read_subjects};

#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    action: &'static str,
    subjects: u64,
    unknown: u64,
    members: u64,
    entered: u64,
    left: u64,
}

/// Edits what is decided, or lists it.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &OverrideArguments) -> Result<(), CliError> {
    match &arguments.command {
        OverrideCommand::Add(arguments) => edit(context, EditAction::Decide(Verdict::Add), arguments).await,
        OverrideCommand::Remove(arguments) => edit(context, EditAction::Decide(Verdict::Remove), arguments).await,
        OverrideCommand::Clear(arguments) => edit(context, EditAction::Clear, arguments).await,
        OverrideCommand::List(arguments) => list(context, arguments).await,
    }
}

async fn edit<P: ReadablePlace>(
    context: &Context<P>,
    action: EditAction,
    arguments: &OverrideEditArguments,
) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let file = arguments.file.as_ref().map(|path| {
        let tables = [&tenant.tables.users, &tenant.tables.products];
        let keys = tables.into_iter().flatten().map(|table| table.key.as_str()).collect();
        let header = if arguments.no_header { Header::Absent } else { Header::Guessed };
        read_file(path, &ListForm { column: arguments.column.as_deref(), header, delimiter: arguments.delimiter, keys })
    });
    let file = file.transpose()?;
    let (origin, subjects) = match &file {
        Some(list) => (Origin::Import, list.lines.keys().cloned().collect()),
        None => (Origin::Manual, arguments.subjects.iter().cloned().collect::<BTreeSet<_>>()),
    };
    if subjects.contains("") {
        return Err(CliError::Usage { problem: "an id of a subject is not empty".to_owned(), help: None });
    }
    if let Some(list) = file.as_ref().filter(|list| !list.repeats.is_empty()) {
        context.screen.note(&format!(
            "subjects that stand in the file again, on {}, count once: {}",
            lines(list.repeats.len()),
            list.repeated()
        ));
    }
    let request = EditRequest {
        segment: arguments.segment.clone(),
        edit: OverrideEdit { action, origin, subjects },
        on_unknown: match (arguments.skip_unknown, arguments.keep_unknown) {
            (true, _) => OnUnknown::Skip,
            (false, true) => OnUnknown::Keep,
            (false, false) => OnUnknown::Refuse,
        },
        wait: arguments.wait,
    };
    let bar = Bar::new(context.screen);
    let report = edit_overrides(&context.place, tenant, &request, context.clock.as_ref(), &bar).await;
    drop(bar);
    let report = report.map_err(|error| placed(error, file.as_ref()))?;
    show(context, &request, &report, file.as_ref())
}

/// The subjects of a file.
fn read_file(path: &Path, form: &ListForm<'_>) -> Result<SubjectList, CliError> {
    let text = std::fs::read(path).map_err(|source| CliError::Read { path: path.display().to_string(), source })?;
    read_subjects(&text, form)
        .map_err(|NoList { problem, help }| CliError::Usage { problem: format!("`{}` {problem}", path.display()), help })
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// An error about subjects with the lines of the file on which they stand.
fn placed(error: Error, file: Option<&SubjectList>) -> CliError {
    match (&error, file) {
        (Error::UnknownSubjects { subjects, .. }, Some(list)) => {
            let places = list.places(subjects.iter().map(String::as_str));
            CliError::Subjects { places, error: Box::new(error) }
        }
        _ => error.into(),
    }
}

fn show<P: ReadablePlace>(
    context: &Context<P>,
    request: &EditRequest,
    report: &EditReport,
    file: Option<&SubjectList>,
) -> Result<(), CliError> {
    if !report.unknown.is_empty() {
        let unknown: Vec<&str> = report.unknown.iter().map(String::as_str).collect();
        let places = file.map_or_else(|| unknown.join(", "), |list| list.places(unknown.iter().copied()));
        let what = match (request.edit.action, request.on_unknown) {
            (EditAction::Decide(_), OnUnknown::Keep) => "not in the universe; decided for when they appear",
            (EditAction::Decide(_), OnUnknown::Skip | OnUnknown::Refuse) => "not in the universe, left out",
            (EditAction::Clear, _) => "left to the rule before already",
        };
        context.screen.note(&format!("{} {what}: {places}", unknown.len()));
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let row = Row {
        segment_id: request.segment.to_string(),
        action: request.edit.action.keyword(),
        subjects: count(report.subjects),
        unknown: count(report.unknown.len()),
        members: report.figures.member_count,
        entered: report.figures.added_count,
        left: report.figures.removed_count,
    };
    let counts = ["subjects", "unknown", "members", "entered", "left"].map(|name| (name, Column::Count));
    let columns = [("segment_id", Column::Text), ("action", Column::Text)].into_iter().chain(counts).collect();
    let listing = Listing { columns, rows: vec![row] };
    let mut json = serde_json::to_value(listing.rows.first()).map_err(std::io::Error::from)?;
    if let Some(object) = json.as_object_mut() {
        object.insert("run_id".to_owned(), json!(report.run_id));
        object.insert("as_of".to_owned(), json!(report.as_of));
        object.insert("unknown_subjects".to_owned(), json!(report.unknown));
    }
    context.screen.document(&Document { text: listing.text(), json, rows: listing.batch()? })
}

/// Prints what is decided now, or with `--all` everything that ever was.
async fn list<P: ReadablePlace>(context: &Context<P>, arguments: &OverrideListArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let ledger = context.place.ledger();
    if let Some(segment) = &arguments.segment {
        let state = ledger.state(&tenant.id).await.map_err(Error::from)?;
        refuse_unknown(tenant, &state, segment)?;
    }
    let filter = ReadFilter {
        segments: arguments.segment.iter().cloned().collect(),
        subject: arguments.subject.clone(),
        ..ReadFilter::default()
    };
    let found = ledger.read_overrides(&tenant.id, &filter).await.map_err(Error::from)?;
    let all = arguments.all;
    let shown = found.map(move |batch| {
        let batch = batch?;
        if all {
            return Ok(batch);
        }
        let Some(until) = batch.column_by_name("until") else { return Ok(batch) };
        let holds: BooleanArray = (0..batch.num_rows()).map(|row| Some(until.is_null(row))).collect();
        filter_record_batch(&batch, &holds)
            .map_err(|error| LedgerError::Corrupt { path: "overrides".to_owned(), problem: error.to_string() })
    });
    context.screen.stream(rows::override_schema(), shown.boxed()).await
}
