//! `run`: the scheduler, until a signal.

use futures::StreamExt as _;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::signals::signals;
use crate::refresh::config::Config;
use crate::refresh::place::ReadablePlace;
use crate::refresh::scheduler::{Pace, keep_fresh};

/// Keeps the segments of all tenants, or of the one that was named, fresh.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>) -> Result<(), CliError> {
    let tenants = context.tenants()?.into_iter().cloned().collect();
    let config = Config { tenants, ..context.config.clone() };
    let stop = Box::pin(signals().map_err(CliError::Runtime)?.map(drop));
    Ok(keep_fresh(&context.place, &config, Pace::default(), context.clock.as_ref(), stop).await?)
}
