//! `segments-of`: the segments that a subject is in, or was at an instant.

use jiff::Timestamp;
use serde::Serialize;

use super::past;
use crate::cli::args::SegmentsOfArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{deliver, refuse_undeliverable};
use crate::cli::render::{Column, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::store::{Ledger as _, Membership};

/// A membership.
#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    entered_at: String,
    /// Seconds since then.
    duration: u64,
    score: Option<f64>,
    confidence: Option<String>,
    reason: String,
}

/// Prints the memberships of a subject.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &SegmentsOfArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    refuse_undeliverable(context, &arguments.output)?;
    let found = match arguments.as_of {
        Some(as_of) => past::segments_of(context, tenant, &arguments.subject, as_of).await?,
        None => context.place.ledger().segments_of(&tenant.id, &arguments.subject).await.map_err(Error::from)?,
    };
    let now = context.as_of(tenant, arguments.as_of);
    let columns = vec![
        ("segment_id", Column::Text),
        ("entered_at", Column::Instant),
        ("duration", Column::Span),
        ("score", Column::Score),
        ("confidence", Column::Text),
        ("reason", Column::Text),
    ];
    let listing = Listing { columns, rows: found.into_iter().map(|membership| row(membership, now)).collect() };
    if arguments.output.to.is_none() {
        return context.screen.listing(&listing);
    }
    let rows = listing.batch()?;
    deliver(context, &arguments.output, rows.schema(), futures::stream::iter([Ok::<_, CliError>(rows)])).await
}

fn row(membership: Membership, now: Timestamp) -> Row {
    let Membership { segment_id, entered_at, score, confidence, reason } = membership;
    // Who entered in a run later than now, as the clock has it, has been in it for no time.
    let duration = u64::try_from(now.duration_since(entered_at).as_secs()).unwrap_or(0);
    Row { segment_id: segment_id.to_string(), entered_at: entered_at.to_string(), duration, score, confidence, reason }
}
