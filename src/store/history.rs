//! What a run says of one segment: a row of the history, before a ledger writes it its own way.

use std::time::Duration;

use super::{Figures, RunKind, RunStatus};
use crate::model::id::SegmentId;

/// What a run says of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryRow {
    pub(super) segment: SegmentId,
    pub(super) kind: RunKind,
    pub(super) figures: Figures,
    pub(super) duration_ms: u64,
    /// Absent for a segment that is gone.
    pub(super) definition_hash: Option<String>,
    pub(super) status: RunStatus,
    /// Why it failed, or what else there is to say.
    pub(super) error: Option<String>,
}

impl HistoryRow {
    /// The committed count of a day.
    pub(super) fn daily(segment: &SegmentId, member_count: u64, definition_hash: &str) -> Self {
        let figures = Figures { member_count, ..Figures::default() };
        Self::counted(segment, RunKind::Daily, figures, Some(definition_hash))
    }

    /// What a segment was at an instant of the past.
    pub(super) fn past(segment: &SegmentId, figures: Figures, definition_hash: &str, duration: Duration) -> Self {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { duration_ms, ..Self::counted(segment, RunKind::Backfill, figures, Some(definition_hash)) }
    }

    /// That a subject is gone from a segment.
    pub(super) fn erased(segment: &SegmentId, figures: Figures, definition_hash: Option<&str>) -> Self {
        Self::counted(segment, RunKind::Erase, figures, definition_hash)
    }

    /// What took no time and did not fail.
    fn counted(segment: &SegmentId, kind: RunKind, figures: Figures, definition_hash: Option<&str>) -> Self {
        let definition_hash = definition_hash.map(str::to_owned);
        Self { segment: segment.clone(), kind, figures, duration_ms: 0, definition_hash, status: RunStatus::Ok, error: None }
    }
}
