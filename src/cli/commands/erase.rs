//! `erase`: nothing of a subject is left in the store.

use serde::Serialize;

use crate::cli::args::EraseArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Listing};
use crate::refresh::place::ReadablePlace;
use crate::refresh::upkeep::erase;

#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    segment_id: String,
    was_member: bool,
    changes: u64,
    snapshots: u64,
    overrides: u64,
}

/// Erases a subject from every tenant, or from the one that was named, and prints what was touched.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &EraseArguments) -> Result<(), CliError> {
    let (mut rows, mut files) = (Vec::new(), 0);
    for tenant in context.tenants()? {
        let erased = erase(&context.place, tenant, &arguments.subject, arguments.wait, context.clock.as_ref()).await?;
        files += erased.files;
        rows.extend(erased.segments.into_iter().map(|(segment, from)| Row {
            tenant: tenant.id.to_string(),
            segment_id: segment.to_string(),
            was_member: from.was_member,
            changes: from.changes,
            snapshots: from.snapshots,
            overrides: from.overrides,
        }));
    }
    if files > 0 {
        context.screen.note(&format!("{files} files were written anew without it"));
    }
    let columns = vec![
        ("tenant", Column::Text),
        ("segment_id", Column::Text),
        ("was_member", Column::Flag),
        ("changes", Column::Count),
        ("snapshots", Column::Count),
        ("overrides", Column::Count),
    ];
    context.screen.listing(&Listing { columns, rows })
}
