//! `segments-of`: the segments that a subject is in now.

use crate::cli::args::SegmentsOfArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::store::Ledger as _;

/// Prints the memberships of a subject.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &SegmentsOfArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let rows = context.place.ledger().segments_of(&tenant.id, &arguments.subject).await.map_err(Error::from)?;
    let columns =
        vec![("segment_id", Column::Text), ("entered_at", Column::Instant), ("score", Column::Score), ("reason", Column::Text)];
    context.screen.listing(&Listing { columns, rows })
}
