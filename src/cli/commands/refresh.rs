//! `refresh`: one run, and a table of what it came to.

use serde::Serialize;
use serde_json::json;

use crate::cli::args::{OutputFormat, RefreshArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::observations;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::refresh::place::ReadablePlace;
use crate::refresh::run::{OnExcess, OnInvalid, RunReport, RunRequest, SegmentReport, SegmentStatus, Selection, refresh};
use crate::store::DefinitionNote;

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    subject: &'static str,
    members: u64,
    share: Option<f64>,
    entered: u64,
    left: u64,
    duration_ms: u64,
    status: &'static str,
    error: Option<String>,
}

/// Does one run and prints what it came to.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &RefreshArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let selection = if arguments.all {
        Selection::All
    } else if arguments.accept && arguments.segments.is_empty() && !arguments.due {
        Selection::Held
    } else if arguments.segments.is_empty() {
        let default_interval = context.config.scheduler.default_refresh_interval;
        Selection::Due { default_interval, steady_since: context.as_of(tenant, arguments.as_of) }
    } else {
        Selection::Named(arguments.segments.iter().cloned().collect())
    };
    let request = RunRequest {
        selection,
        as_of: arguments.as_of,
        on_invalid: if arguments.skip_invalid { OnInvalid::UseLastValid } else { OnInvalid::Refuse },
        wait: arguments.wait,
        job: None,
        on_excess: if arguments.accept { OnExcess::Accept } else { OnExcess::Hold },
    };
    let bar = Bar::new(context.screen);
    let report = refresh(&context.place, tenant, &request, context.clock.as_ref(), &bar).await;
    drop(bar);
    let report = report?;
    show(context, &report, if request.selection == Selection::Held { Selected::Held } else { Selected::Others })?;
    match (report.failures(), report.held()) {
        (0, 0) => Ok(()),
        (0, held) => Err(CliError::SegmentsHeld { held, of: report.segments.len() }),
        (failed, _) => Err(CliError::SegmentsFailed { failed, of: report.segments.len() }),
    }
}

/// What there was to do.
#[derive(Clone, Copy)]
enum Selected {
    Held,
    Others,
}

fn show<P: ReadablePlace>(context: &Context<P>, report: &RunReport, selection: Selected) -> Result<(), CliError> {
    for file in &report.invalid {
        let in_force = if file.segment.as_ref().is_some_and(|segment| report.notes.contains_key(segment)) {
            "; its last valid form stays in force"
        } else {
            ""
        };
        context.screen.note(&format!("`{}` is invalid{in_force}: {}", file.file, file.error));
    }
    for (segment, note) in &report.notes {
        if *note == DefinitionNote::Missing {
            context.screen.note(&format!("the file of `{segment}` is gone; its members stay until `segmenta delete {segment}`"));
        }
    }
    for (subject, observations) in &report.observations {
        observations::note_all(context.screen, *subject, observations);
    }
    observations::detail_scans(context.screen, &report.scans);
    for (subject, effort) in &report.efforts {
        observations::detail_effort(context.screen, *subject, effort);
    }
    if report.segments.is_empty() && context.screen.format == OutputFormat::Table {
        let nothing = match selection {
            Selected::Held => "the result of no segment is held",
            Selected::Others => "nothing is due; `segmenta refresh --all` computes every active segment",
        };
        context.screen.note(nothing);
        return Ok(());
    }
    let listing = Listing { columns: columns(), rows: report.segments.iter().map(row).collect() };
    let rows = listing.batch()?;
    let json = json!({
        "run_id": report.run_id,
        "as_of": report.as_of,
        "duration_ms": milliseconds(report.duration),
        "segments": listing.rows,
    });
    context.screen.document(&Document { text: listing.text(), json, rows })
}

fn columns() -> Vec<(&'static str, Column)> {
    vec![
        ("segment_id", Column::Text),
        ("subject", Column::Text),
        ("members", Column::Count),
        ("share", Column::Share),
        ("entered", Column::Count),
        ("left", Column::Count),
        ("duration_ms", Column::Count),
        ("status", Column::Text),
        ("error", Column::Text),
    ]
}

fn row(report: &SegmentReport) -> Row {
    let (status, error) = match &report.status {
        SegmentStatus::Computed => ("ok", None),
        SegmentStatus::Failed(error) => ("failed", Some(error.clone())),
        SegmentStatus::Held(reason) => ("held", Some(reason.clone())),
        SegmentStatus::Archived => ("archived", None),
    };
    Row {
        segment_id: report.segment.to_string(),
        subject: report.subject.keyword(),
        members: report.figures.member_count,
        share: super::share(report.figures.member_count, report.universe),
        entered: report.figures.added_count,
        left: report.figures.removed_count,
        duration_ms: milliseconds(report.duration),
        status,
        error,
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
