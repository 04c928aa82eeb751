//! `verify`: whether what the store keeps follows its own laws.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::store::Ledger as _;

/// What breaks a law.
#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    fault: String,
}

/// Checks the store of every tenant, or of the one that was named.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>) -> Result<(), CliError> {
    let tenants = context.tenants()?;
    let (mut rows, mut segments) = (Vec::new(), 0);
    let bar = Bar::new(context.screen);
    for tenant in &tenants {
        bar.say(format!("checking `{}`", tenant.id));
        let ledger = context.place.ledger();
        segments += ledger.state(&tenant.id).await.map_err(Error::from)?.segments.len();
        let faults = ledger.verify(&tenant.id).await.map_err(Error::from)?;
        rows.extend(faults.into_iter().map(|fault| Row { tenant: tenant.id.to_string(), fault: fault.to_string() }));
    }
    drop(bar);
    let faults = rows.len();
    let json = serde_json::to_value(&rows).map_err(std::io::Error::from)?;
    let listing = Listing { columns: vec![("tenant", Column::Text), ("fault", Column::Text)], rows };
    let of = if tenants.len() == 1 { "1 tenant".to_owned() } else { format!("{} tenants", tenants.len()) };
    let text = match faults {
        0 => format!("the records of {segments} segments of {of} are in order\n"),
        _ => listing.text(),
    };
    CliError::unless_unread(context.screen.document(&Document { text, json, rows: listing.batch()? }))?;
    if faults > 0 { Err(CliError::Unlawful { faults }) } else { Ok(()) }
}
