//! `delete`: the end of a segment.

use serde::Serialize;

use crate::cli::args::DeleteArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Listing};
use crate::refresh::end::end_segment;
use crate::refresh::place::ReadablePlace;

#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    left: u64,
}

/// Ends a segment and prints who left.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &DeleteArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let DeleteArguments { segment, wait } = arguments;
    let ended = end_segment(&context.place, tenant, segment, *wait, context.clock.as_ref()).await?;
    if let Some(file) = &ended.still_defined_in {
        context
            .screen
            .note(&format!("`{file}` still defines `{segment}`: the next refresh begins it anew unless the file goes too"));
    }
    let rows = vec![Row { segment_id: segment.to_string(), left: ended.figures.removed_count }];
    context.screen.listing(&Listing { columns: vec![("segment_id", Column::Text), ("left", Column::Count)], rows })
}
