//! `run`: the scheduler, until a signal.

use futures::Stream;
use futures::stream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::refresh::config::Config;
use crate::refresh::place::ReadablePlace;
use crate::refresh::scheduler::{Pace, keep_fresh};

/// Keeps the segments of all tenants, or of the one that was named, fresh.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>) -> Result<(), CliError> {
    let tenants = context.tenants()?.into_iter().cloned().collect();
    let config = Config { tenants, ..context.config.clone() };
    let stop = Box::pin(signals().map_err(CliError::Runtime)?);
    Ok(keep_fresh(&context.place, &config, Pace::default(), context.clock.as_ref(), stop).await?)
}

/// One item for every SIGTERM or SIGINT.
fn signals() -> Result<impl Stream<Item = ()>, std::io::Error> {
    let both = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(stream::unfold(both, |mut both: (Signal, Signal)| async move {
        let (terminate, interrupt) = &mut both;
        tokio::select! {
            came = terminate.recv() => came,
            came = interrupt.recv() => came,
        }?;
        Some(((), both))
    }))
}
