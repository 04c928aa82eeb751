//! `gc`: what nothing refers to any more.

use serde::Serialize;

use crate::cli::args::GcArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::refresh::upkeep::collect;
use crate::store::Ledger as _;

#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    path: String,
    bytes: u64,
    why: &'static str,
}

/// Deletes the garbage of every tenant, or of the one that was named, or only prints it.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &GcArguments) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut foreign = Vec::new();
    for tenant in context.tenants()? {
        let found = if arguments.dry_run {
            context.place.ledger().garbage(&tenant.id, arguments.grace).await.map_err(Error::from)?
        } else {
            collect(&context.place, tenant, arguments.grace, arguments.wait).await?
        };
        let row = |waste: crate::store::Waste| Row {
            tenant: tenant.id.to_string(),
            path: waste.path,
            bytes: waste.bytes,
            why: waste.why,
        };
        rows.extend(found.waste.into_iter().map(row));
        foreign.extend(found.foreign);
    }
    let bytes: u64 = rows.iter().map(|row| row.bytes).sum();
    let done = if arguments.dry_run { "would be deleted" } else { "deleted" };
    context.screen.note(&format!("{} pieces of {bytes} bytes {done}", rows.len()));
    for path in foreign {
        context.screen.note(&format!("`{path}` is not of segmenta, and stays"));
    }
    let columns = vec![("tenant", Column::Text), ("path", Column::Text), ("bytes", Column::Count), ("why", Column::Text)];
    context.screen.listing(&Listing { columns, rows })
}
