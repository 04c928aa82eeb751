//! `verify`: whether what the store keeps follows its own laws, and putting right what does not.

use serde::Serialize;

use crate::cli::args::VerifyArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::refresh::upkeep::repair;
use crate::store::{Fault, Ledger as _, Remedy};

/// What breaks a law.
#[derive(Debug, Serialize)]
struct Row {
    tenant: String,
    fault: String,
    repair: &'static str,
    how: Option<&'static str>,
}

/// Checks the store of every tenant, or of the one that was named.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &VerifyArguments) -> Result<(), CliError> {
    let tenants = context.tenants()?;
    let (mut rows, mut segments, mut remaining) = (Vec::new(), 0, 0);
    let bar = Bar::new(context.screen);
    for tenant in &tenants {
        bar.say(format!("checking `{}`", tenant.id));
        let ledger = context.place.ledger();
        let faults = if arguments.repair {
            repair(&context.place, tenant, arguments.wait, context.clock.as_ref()).await?
        } else {
            ledger.verify(&tenant.id).await.map_err(Error::from)?
        };
        if faults.is_empty() {
            segments += ledger.state(&tenant.id).await.map_err(Error::from)?.segments.len();
        }
        remaining += faults.iter().filter(|fault| fault.remains()).count();
        rows.extend(faults.iter().map(|fault| row(tenant.id.to_string(), fault)));
    }
    drop(bar);
    let json = serde_json::to_value(&rows).map_err(std::io::Error::from)?;
    let columns = vec![("tenant", Column::Text), ("fault", Column::Text), ("repair", Column::Text), ("how", Column::Text)];
    let listing = Listing { columns, rows };
    let of = if tenants.len() == 1 { "1 tenant".to_owned() } else { format!("{} tenants", tenants.len()) };
    let text = match listing.rows.len() {
        0 => format!("the records of {segments} segments of {of} are in order\n"),
        _ => listing.text(),
    };
    CliError::unless_unread(context.screen.document(&Document { text, json, rows: listing.batch()? }))?;
    if remaining > 0 { Err(CliError::Unlawful { faults: remaining }) } else { Ok(()) }
}

fn row(tenant: String, fault: &Fault) -> Row {
    let (repair, how) = match fault.remedy {
        Remedy::None => ("none", None),
        Remedy::Possible(how) => ("possible", Some(how)),
        Remedy::Done(how) => ("done", Some(how)),
    };
    Row { tenant, fault: fault.to_string(), repair, how }
}
