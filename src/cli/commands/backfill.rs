//! `backfill`: what segments were at instants of the past.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::cli::args::BackfillArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::observations;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::refresh::backfill::{BackfillRequest, Leaves, PastFigures, backfill};
use crate::refresh::place::ReadablePlace;

#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    as_of: Timestamp,
    members: u64,
    entered: u64,
    left: u64,
}

/// Records figures of the past, and prints those that were not known.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &BackfillArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let BackfillArguments { segments, from, to, step, snapshots, wait } = arguments;
    let leaves = if *snapshots { Leaves::FiguresAndSnapshots } else { Leaves::Figures };
    let request = BackfillRequest { segments: segments.clone(), from: *from, to: *to, step: *step, leaves, wait: *wait };
    let bar = Bar::new(context.screen);
    let report = backfill(&context.place, tenant, &request, context.clock.as_ref(), &bar).await;
    drop(bar);
    let report = report?;
    observations::detail_scans(context.screen, &report.scans);
    if report.known > 0 {
        context.screen.note(&format!("{} figures stand in the history already", report.known));
    }
    if *snapshots {
        let written = report.snapshots;
        context.screen.note(&if written == 1 {
            "1 snapshot was written".to_owned()
        } else {
            format!("{written} snapshots were written")
        });
    }
    let counts = ["members", "entered", "left"].map(|name| (name, Column::Count));
    let columns = [("segment_id", Column::Text), ("as_of", Column::Instant)].into_iter().chain(counts).collect();
    let listing = Listing { columns, rows: report.rows.into_iter().map(row).collect() };
    let json = json!({ "known": report.known, "snapshots": report.snapshots, "rows": listing.rows });
    context.screen.document(&Document { text: listing.text(), json, rows: listing.batch()? })
}

fn row(PastFigures { segment, as_of, figures }: PastFigures) -> Row {
    let (members, entered, left) = (figures.member_count, figures.added_count, figures.removed_count);
    Row { segment_id: segment.to_string(), as_of, members, entered, left }
}
