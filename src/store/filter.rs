//! [`ReadFilter`]: which rows of the records of changes and runs a reader wants.

use jiff::Timestamp;

use super::{ChangeReason, RunKind};
use crate::model::id::SegmentId;

/// Which rows to read; an absent field selects all, and so does an empty list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadFilter {
    /// Of one of these segments.
    pub segments: Vec<SegmentId>,
    /// Of this subject; history rows have none.
    pub subject: Option<String>,
    /// Of runs whose `as_of` is at or after this.
    pub from: Option<Timestamp>,
    /// Of runs whose `as_of` is before this.
    pub to: Option<Timestamp>,
    /// Changes in this direction; of history rows all.
    pub change: Option<Change>,
    /// Changes for one of these reasons; of history rows all.
    pub reasons: Vec<ChangeReason>,
    /// History rows of one of these kinds; of changes all.
    pub kinds: Vec<RunKind>,
    /// History rows of one of these statuses; of changes all.
    pub statuses: Vec<RunStatus>,
}

impl ReadFilter {
    /// The rows of a segment.
    #[must_use]
    pub fn of(segment: &SegmentId) -> Self {
        Self { segments: vec![segment.clone()], ..Self::default() }
    }

    /// Whether it selects rows as of this instant.
    #[must_use]
    pub fn holds_at(&self, as_of: Timestamp) -> bool {
        self.from.is_none_or(|from| as_of >= from) && self.to.is_none_or(|to| as_of < to)
    }

    /// What it says of the texts of a change: each column with the values that are wanted.
    pub(super) fn texts_of_changes(&self) -> Vec<(&'static str, Vec<&str>)> {
        let columns = [
            ("segment_id", self.segments.iter().map(SegmentId::as_str).collect()),
            ("subject_id", self.subject.iter().map(String::as_str).collect()),
            ("change", self.change.iter().map(|change| change.keyword()).collect()),
            ("reason", self.reasons.iter().map(|reason| reason.keyword()).collect::<Vec<_>>()),
        ];
        columns.into_iter().filter(|(_, wanted)| !wanted.is_empty()).collect()
    }

    /// The same of a decision by hand.
    pub(super) fn texts_of_overrides(&self) -> Vec<(&'static str, Vec<&str>)> {
        let columns = [
            ("segment_id", self.segments.iter().map(SegmentId::as_str).collect::<Vec<_>>()),
            ("subject_id", self.subject.iter().map(String::as_str).collect()),
        ];
        columns.into_iter().filter(|(_, wanted)| !wanted.is_empty()).collect()
    }

    /// The same of a history row.
    pub(super) fn texts_of_history(&self) -> Vec<(&'static str, Vec<&str>)> {
        let columns = [
            ("segment_id", self.segments.iter().map(SegmentId::as_str).collect()),
            ("kind", self.kinds.iter().map(|kind| kind.keyword()).collect()),
            ("status", self.statuses.iter().map(|status| status.keyword()).collect::<Vec<_>>()),
        ];
        columns.into_iter().filter(|(_, wanted)| !wanted.is_empty()).collect()
    }
}

/// The direction of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A subject entered.
    Enter,
    /// A subject left.
    Exit,
}

impl Change {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Enter, Self::Exit];

    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Exit => "exit",
        }
    }
}

/// What came of a segment in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunStatus {
    /// It was evaluated.
    Ok,
    /// It could not be, and kept its members.
    Failed,
    /// It was evaluated, and its members were kept until somebody accepts the result.
    Held,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Held];

    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}
