//! What upkeep of a store is asked to do, and what it says it did: how long rows are kept, files put together, and what was found to be
//! wrong. How it is done is each ledger's own.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::RowStream;
use crate::model::id::SegmentId;

/// How far back something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Horizon {
    /// Forever.
    Everything,
    /// What is of this instant or later.
    Since(Timestamp),
    /// Not at all.
    Nothing,
}

impl Horizon {
    /// Whether what is of an instant is kept no longer.
    #[must_use]
    pub fn is_past(self, at: Timestamp) -> bool {
        match self {
            Self::Everything => false,
            Self::Since(since) => at < since,
            Self::Nothing => true,
        }
    }

    /// The same of a snapshot that a backfill left of an instant. It was asked for, and stays where nothing is said of snapshots.
    #[must_use]
    pub fn is_past_backfill(self, at: Timestamp) -> bool {
        self != Self::Nothing && self.is_past(at)
    }
}

/// How far back the records of a segment are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    /// Snapshots that were replaced.
    pub snapshots: Horizon,
    /// Changes.
    pub changes: Horizon,
    /// History rows.
    pub history: Horizon,
}

/// Changes and history forever, and no snapshot but the current one.
impl Default for Horizons {
    fn default() -> Self {
        Self { snapshots: Horizon::Nothing, changes: Horizon::Everything, history: Horizon::Everything }
    }
}

/// How far back the records of a tenant are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Of segments that say nothing of their own, and of those that are gone.
    pub default: Horizons,
    /// Of segments that do.
    pub segments: BTreeMap<SegmentId, Horizons>,
}

impl Retention {
    /// How far back the records of a segment are kept.
    #[must_use]
    pub fn of(&self, segment: &SegmentId) -> Horizons {
        self.segments.get(segment).copied().unwrap_or(self.default)
    }
}

/// What is to be put together, and what is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactRequest {
    /// The tenant's present day: the files of earlier ones are put together.
    pub today: Date,
    /// How far back rows are kept.
    pub retention: Retention,
}

/// What one step of a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compacted {
    /// Files of changes and history that were replaced.
    pub replaced: u64,
    /// Files that took their place.
    pub written: u64,
    /// Changes that are kept no longer.
    pub changes_dropped: u64,
    /// History rows that are kept no longer.
    pub history_dropped: u64,
    /// Snapshots that were written for those who replay changes.
    pub baselines: u64,
    /// Snapshots that are kept no longer.
    pub snapshots_dropped: u64,
    /// Whether there is more to do.
    pub is_unfinished: bool,
}

impl Compacted {
    /// Both together; what the later one left undone is undone.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            replaced: self.replaced + later.replaced,
            written: self.written + later.written,
            changes_dropped: self.changes_dropped + later.changes_dropped,
            history_dropped: self.history_dropped + later.history_dropped,
            baselines: self.baselines + later.baselines,
            snapshots_dropped: self.snapshots_dropped + later.snapshots_dropped,
            is_unfinished: later.is_unfinished,
        }
    }
}

/// The members of a segment at an instant of the past, as far as the records tell.
pub enum Past {
    /// As they were.
    Members {
        /// By subject id, in the columns of [`super::rows::membership_schema`]. `subject_id` and `entered_at` are exact; a score that
        /// changed while its subject stayed is the one of the snapshot or of the entry that it is known from.
        rows: RowStream,
        /// Where they are known from.
        provenance: Provenance,
    },
    /// The records do not reach back that far: only an evaluation can tell.
    Unknown,
}

/// Where the members of the past are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Provenance {
    /// The current snapshot: nobody entered or left since.
    Current,
    /// A kept snapshot, and changes after it.
    Kept {
        /// The instant of the run that it is the outcome of.
        at: Timestamp,
        /// How many changes.
        changes: u64,
    },
    /// All changes from the beginning.
    Replayed {
        /// How many changes.
        changes: u64,
    },
    /// A snapshot that a backfill of just that instant left.
    Backfilled,
}

/// As it stands in messages: `the snapshot of 2026-01-01T00:00:00Z and 3 changes after it`.
impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the current members, who have not changed since"),
            Self::Kept { at, changes: 0 } => write!(f, "the snapshot of {at}"),
            Self::Kept { at, changes: 1 } => write!(f, "the snapshot of {at} and 1 change after it"),
            Self::Kept { at, changes } => write!(f, "the snapshot of {at} and {changes} changes after it"),
            Self::Backfilled => f.write_str("the snapshot of a backfill"),
            Self::Replayed { changes: 1 } => f.write_str("1 change from the beginning"),
            Self::Replayed { changes } => write!(f, "{changes} changes from the beginning"),
        }
    }
}

/// What an erasure touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    /// The segments that knew the subject.
    pub segments: BTreeMap<SegmentId, ErasedFrom>,
    /// Files that were written anew without it, or are gone.
    pub files: u64,
}

/// What a segment knew of a subject that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasedFrom {
    /// Whether it was a member.
    pub was_member: bool,
    /// Its entries and exits.
    pub changes: u64,
    /// Snapshots of the past that it stood in.
    pub snapshots: u64,
    /// Decisions about it by hand.
    pub overrides: u64,
}

/// What nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Garbage {
    /// What the store itself wrote.
    pub waste: Vec<Waste>,
    /// Files among those of the store that it did not write; they are never touched.
    pub foreign: Vec<String>,
}

/// A file that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Waste {
    /// Where it is.
    pub path: String,
    /// How large it is.
    pub bytes: u64,
    /// Why nobody needs it.
    pub why: &'static str,
}

/// Something that is not as the laws of the store say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: FaultPlace,
    /// What is wrong.
    pub problem: String,
    /// What can be done about it.
    pub remedy: Remedy,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultPlace {
    /// In a file.
    File(String),
    /// With a segment, whatever its files.
    Segment(SegmentId),
}

/// What can be done about a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: what is lost stands nowhere else.
    None,
    /// A repair would do this.
    Possible(&'static str),
    /// A repair did this.
    Done(&'static str),
}

impl Fault {
    /// A fault of a file that nothing can be done about.
    #[must_use]
    pub fn of_file(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: FaultPlace::File(path.into()), problem: problem.into(), remedy: Remedy::None }
    }

    /// A fault of a segment that nothing can be done about.
    #[must_use]
    pub fn of_segment(segment: &SegmentId, problem: impl Into<String>) -> Self {
        Self { place: FaultPlace::Segment(segment.clone()), problem: problem.into(), remedy: Remedy::None }
    }

    /// The fault with what a repair would do.
    #[must_use]
    pub fn with(self, remedy: Remedy) -> Self {
        Self { remedy, ..self }
    }

    /// Whether it is still there.
    #[must_use]
    pub fn remains(&self) -> bool {
        match self.remedy {
            Remedy::None | Remedy::Possible(_) => true,
            Remedy::Done(_) => false,
        }
    }
}

/// As it stands in messages: ``segment `vip`: the snapshot has ...``.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl fmt::Display for FaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{path}`"),
            Self::Segment(segment) => write!(f, "segment `{segment}`"),
        }
    }
}
