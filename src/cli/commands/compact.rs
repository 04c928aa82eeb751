//! `compact`: fewer files, and none of rows that are kept no longer.

use serde::Serialize;

use crate::cli::args::CompactArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Listing};
use crate::refresh::place::ReadablePlace;
use crate::refresh::upkeep::compact;
use crate::store::Compacted;

#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    replaced: u64,
    written: u64,
    changes_dropped: u64,
    history_dropped: u64,
    baselines: u64,
    snapshots_dropped: u64,
}

/// Compacts the store of every tenant, or of the one that was named.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &CompactArguments) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let bar = Bar::new(context.screen);
    for tenant in context.tenants()? {
        let so_far = |done: &Compacted| bar.say(format!("`{}`: {} files became {}", tenant.id, done.replaced, done.written));
        let Compacted { replaced, written, changes_dropped, history_dropped, baselines, snapshots_dropped, is_unfinished: _ } =
            compact(&context.place, tenant, arguments.wait, context.clock.as_ref(), &so_far).await?;
        let tenant = tenant.id.to_string();
        rows.push(Row { tenant, replaced, written, changes_dropped, history_dropped, baselines, snapshots_dropped });
    }
    drop(bar);
    let columns = vec![
        ("tenant", Column::Text),
        ("replaced", Column::Count),
        ("written", Column::Count),
        ("changes_dropped", Column::Count),
        ("history_dropped", Column::Count),
        ("baselines", Column::Count),
        ("snapshots_dropped", Column::Count),
    ];
    context.screen.listing(&Listing { columns, rows })
}
