//! When an active segment is recomputed.

use super::window::Duration;

/// How often a segment is recomputed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// `refresh_interval`: this long after the last run; at least one second.
    Every(Duration),
    /// `schedule`: a cron expression of five fields (six with seconds first) in the tenant's timezone.
    Cron(String),
}
