//! [`Definition`]: the document an author writes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::condition::{Condition, Logic, Subject};
use super::guard::MaxChange;
use super::id::SegmentId;
use super::schedule::Schedule;
use super::scoring::Scoring;
use super::window::Duration;

/// A segment as its author defined it.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Unique in the tenant.
    pub id: SegmentId,
    /// 1 to 255 characters, unique in the tenant; absent = the id.
    pub name: Option<String>,
    /// What the segment is for.
    pub description: Option<String>,
    /// What it contains.
    pub subject: Subject,
    /// Where its members come from.
    pub kind: Kind,
    /// Whether it is recomputed, listed and referenced.
    pub status: Status,
    /// When it is recomputed; absent = the configured default.
    pub schedule: Option<Schedule>,
    /// How long its members count as fresh; absent = the refresh interval.
    pub cache_ttl: Option<Duration>,
    /// How much one run may change; absent = the tenant's.
    pub max_change: Option<MaxChange>,
    /// Free labels.
    pub tags: Vec<String>,
    /// An emoji or a name of one; carried, never read.
    pub icon: Option<String>,
    /// A colour; carried, never read.
    pub color: Option<String>,
    /// The rule; `None` only for a static segment.
    pub rule: Option<Rule>,
    /// An object of the author's own; carried, never read.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// How long its records are kept.
    pub keeping: Keeping,
}

/// How long the records of a segment are kept; what is absent is as the tenant's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeping {
    /// Snapshots that were replaced.
    pub snapshots: Option<Keep>,
    /// Changes.
    pub changes: Option<Keep>,
    /// History rows.
    pub history: Option<Keep>,
}

impl Keeping {
    /// What it says, and `default` where it says nothing.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            snapshots: self.snapshots.or(default.snapshots),
            changes: self.changes.or(default.changes),
            history: self.history.or(default.history),
        }
    }
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Forever.
    Forever,
    /// This long.
    For(Duration),
}

/// As it is written: `forever`, `90d`.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::For(duration) => duration.fmt(f),
        }
    }
}

impl Definition {
    /// The name to show.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Who a dynamic segment contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `logic` and `conditions`.
    Conditions {
        /// How the conditions join.
        logic: Logic,
        /// At least one.
        conditions: Vec<Condition>,
    },
    /// `scoring`.
    Scoring(Scoring),
}

/// Where the members of a segment come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Rules decide.
    #[default]
    Dynamic,
    /// Members are added by hand or import.
    Static,
}

/// Whether a segment is recomputed, listed and referenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Recomputed when due.
    #[default]
    Active,
    /// Not recomputed; members stay, may be referenced.
    Paused,
    /// Not listed, not referenced.
    Archived,
}
