//! Time from outside. The only reader of wall time: everything else is handed an instant, or a [`Clock`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

/// A source of the current time, of pauses and of run ids.
pub trait Clock: Send + Sync {
    /// Now, to the microsecond.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, never going back.
    fn elapsed(&self) -> Duration;

    /// A fresh UUIDv7 for an instant.
    fn run_id(&self, at: Timestamp) -> Uuid;

    /// Waits this long.
    fn pause(&self, length: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(length))
    }
}

/// A clock that parts of the program share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// A clock whose `elapsed` counts from now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of wall time")]
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of wall time")]
    fn now(&self) -> Timestamp {
        floor_to_micros(Timestamp::now())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn run_id(&self, _at: Timestamp) -> Uuid {
        Uuid::now_v7()
    }
}

/// The instant without what is finer than a microsecond.
#[must_use]
pub fn floor_to_micros(at: Timestamp) -> Timestamp {
    let nanos = at.as_nanosecond();
    let floored = nanos - nanos.rem_euclid(1000);
    Timestamp::from_nanosecond(floored).unwrap_or(at)
}
