//! `generate`: a deterministic data set to try things with.

use serde_json::json;

use crate::cli::args::GenerateArguments;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing, Screen};
use crate::generate::{Options, generate};

/// Writes the data set and prints what was written.
pub(crate) fn execute(screen: Screen, arguments: &GenerateArguments) -> Result<(), CliError> {
    let GenerateArguments { users, events, days, products, seed, end, out } = arguments;
    let options = Options { users: *users, events: *events, days: *days, products: *products, seed: *seed, end: *end };
    let bar = Bar::new(screen);
    bar.say("writing events");
    let summary = generate(&options, out, &mut |progress| bar.advance(progress.events, progress.of));
    drop(bar);
    let summary = summary.map_err(|error| CliError::Generate(Box::new(error)))?;
    let row = json!({
        "users": summary.users,
        "products": summary.products,
        "events": summary.events,
        "files": summary.files,
        "bytes": summary.bytes,
    });
    let columns = ["users", "products", "events", "files", "bytes"].map(|name| (name, Column::Count)).to_vec();
    let listing = Listing { columns, rows: vec![&row] };
    let text = format!("{}in {}\n", listing.text(), out.display());
    screen.document(&Document { text, rows: listing.batch()?, json: row.clone() })
}
