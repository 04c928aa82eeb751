//! Signals that ask the program to stop.

use std::io;

use futures::{Stream, stream};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT, as by Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Stop {
    /// The code that a shell shows for a program that the signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Every SIGTERM and SIGINT from now on, none of which ends the process by itself any more.
pub(crate) fn signals() -> Result<impl Stream<Item = Stop> + Send, io::Error> {
    let both = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(stream::unfold(both, |mut both: (Signal, Signal)| async move {
        let (terminate, interrupt) = &mut both;
        let stop = tokio::select! {
            came = terminate.recv() => came.map(|()| Stop::Terminated),
            came = interrupt.recv() => came.map(|()| Stop::Interrupted),
        }?;
        Some((stop, both))
    }))
}
