//! What was true when: the trait [`Ledger`] and the rows it keeps. One implementation per place; `object` is the one of plain
//! Parquet on an object store, `clickhouse` the one of tables in a ClickHouse database.
//!
//! # Contract
//! A ledger holds, per tenant, the committed state of every segment, its current members, and an append-only record of changes and
//! runs. Work on a tenant happens under a write [`Lease`], in a [`Transaction`]: everything staged in it becomes visible at once
//! when it commits, or never. A reader sees whole transactions only. After a crash the next writer finishes what was committed and
//! discards what was not; nothing that was committed is lost.
//!
//! The laws, which hold after every commit:
//! 1. changes replayed from the beginning (or the oldest kept baseline) give the current members;
//! 2. over history rows of kind `run`, `manual` and `erase`, `member_count` = previous + added - removed = rows of the snapshot;
//! 3. `entered_at` of a member is the `at` of its latest enter.

pub mod audience;
pub mod clickhouse;
pub mod daily;
mod error;
mod filter;
mod history;
mod holder;
pub mod object;
mod overrides;
mod record;
mod replay;
pub mod rows;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backend::MemberSet;
use crate::model::guard::MaxChange;
use crate::model::id::{SegmentId, TenantId};
use crate::model::manual::Origin;

pub use self::error::LedgerError;
pub use self::overrides::{Basis, EditAction, Edited, OverrideEdit, Overrides};
pub use self::record::{DefinitionNote, DefinitionRecord, Figures, LeaseScope, RunKind, SegmentState, TenantState};
pub use self::upkeep::{
    CompactRequest, Compacted, Erased, ErasedFrom, Fault, FaultPlace, Garbage, Horizon, Horizons, Past, Provenance, Remedy,
    Retention, Waste,
};
pub use audience::{Audience, SetOperation};
pub use filter::{Change, ReadFilter, RunStatus};

/// Rows of a table of the store, as they are read.
pub type RowStream = BoxStream<'static, Result<RecordBatch, LedgerError>>;

/// The record of one place.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The members that the backend of the same place yields.
    type Members: MemberSet;
    /// Changes that become visible together.
    type Transaction: Transaction<Members = Self::Members>;

    /// Takes a lease, waiting at most `wait` while another holder lives. A holder that died, or let its lease expire, is replaced.
    ///
    /// # Errors
    /// [`LedgerError::Held`] names the holder when the wait is over.
    async fn acquire(&self, scope: &LeaseScope, wait: Duration) -> Result<Lease, LedgerError>;

    /// Gives a lease back. Dropping one without this leaves it to expire.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn release(&self, lease: Lease) -> Result<(), LedgerError>;

    /// The committed state of a tenant; empty for one that the store does not know.
    ///
    /// # Errors
    /// When the store cannot be read, is corrupt, or was written by a newer version.
    async fn state(&self, tenant: &TenantId) -> Result<TenantState, LedgerError>;

    /// The current members of a segment as the backend of the same place takes them; the empty set for one without a snapshot.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn stored(&self, tenant: &TenantId, segment: &SegmentId) -> Result<Self::Members, LedgerError>;

    /// What people had decided by hand at an instant, for every segment of a tenant of which they had.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn overrides(
        &self,
        tenant: &TenantId,
        at: Timestamp,
    ) -> Result<BTreeMap<SegmentId, Overrides<Self::Members>>, LedgerError>;

    /// Starts a transaction under a write lease of its tenant; first finishes or discards what an earlier one left behind.
    ///
    /// # Errors
    /// When the lease is no longer the newest, or the store cannot be written.
    async fn begin(&self, lease: &Lease, run: Run) -> Result<Self::Transaction, LedgerError>;

    /// The current members of a segment, by subject id, in the columns of [`rows::membership_schema`].
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn read_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError>;

    /// Whom an audience contains, by subject id, in the columns of [`Audience::schema`]. All of its segments are seen as one commit left
    /// them; one without a snapshot is empty.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn read_audience(&self, tenant: &TenantId, audience: &Audience) -> Result<RowStream, LedgerError>;

    /// Changes in the order of their commits, in the columns of [`rows::change_schema`].
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn read_changes(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError>;

    /// History rows in the order of their commits, in the columns of [`rows::history_schema`].
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn read_history(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError>;

    /// What people decided by hand, that which was decided otherwise since included, by segment, subject and time, in the columns of
    /// [`rows::override_schema`]. Of the filter segment and subject count.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn read_overrides(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError>;

    /// The segments that a subject is a current member of.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn segments_of(&self, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError>;

    /// Counts the rows of a segment's snapshot.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn recount(&self, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError>;

    /// The members of a segment as they were after the last committed run at or before an instant.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn members_at(&self, tenant: &TenantId, segment: &SegmentId, at: Timestamp) -> Result<Past, LedgerError>;

    /// The instants of which a backfill by a definition left a snapshot ([`Transaction::keep_past`]).
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn backfilled(
        &self,
        tenant: &TenantId,
        segment: &SegmentId,
        definition_hash: &str,
    ) -> Result<BTreeSet<Timestamp>, LedgerError>;

    /// Does one bounded step of putting together what many runs wrote, and of letting go of what is kept no longer. Whoever reads
    /// meanwhile reads every row once.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    async fn compact(
        &self,
        lease: &Lease,
        tenant: &TenantId,
        rewrite_id: Uuid,
        request: &CompactRequest,
    ) -> Result<Compacted, LedgerError>;

    /// Removes a subject from members, kept snapshots and changes, as if it had never been there; what runs counted stays as it was recorded,
    /// and each segment that knew the subject gets a history row of the run, which is of kind `erase`. When it returns, no file holds the
    /// subject any more.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    async fn erase(&self, lease: &Lease, run: &Run, subject_id: &str) -> Result<Erased, LedgerError>;

    /// What nothing refers to any more, and is to be deleted once it is older than `grace` where readers may still know of it.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn garbage(&self, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError>;

    /// Deletes it, under a write lease; returns what was deleted.
    ///
    /// # Errors
    /// When the lease is no longer the newest, or the store cannot be written.
    async fn collect(&self, lease: &Lease, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError>;

    /// Checks the laws of the tenant's data; returns what breaks them, nothing when all hold.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    async fn verify(&self, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError>;

    /// As [`Ledger::verify`], under a write lease, and puts right what can be. Nothing that is whole is lost. The faults say what
    /// became of them.
    ///
    /// # Errors
    /// When the lease is no longer the newest, or the store cannot be written.
    async fn repair(&self, lease: &Lease, tenant: &TenantId, rewrite_id: Uuid) -> Result<Vec<Fault>, LedgerError>;
}

/// Changes of one tenant that become visible together. Dropped without a commit, it leaves nothing visible.
#[async_trait]
pub trait Transaction: Send {
    /// The members that the backend of the same place yields.
    type Members: MemberSet;

    /// Writes what segments came to beside the visible data: for each its snapshot when members, scores or reasons changed, its changes
    /// and its history row. Each segment at most once. `begins` is told the number of each, ascending, before it is written.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn stage_all(
        &mut self,
        segments: Vec<StagedSegment<Self::Members>>,
        begins: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Staged>, LedgerError>;

    /// As [`Transaction::stage_all`], for one segment.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn stage(&mut self, segment: StagedSegment<Self::Members>) -> Result<Figures, LedgerError> {
        let staged = self.stage_all(vec![segment], &|_| {}).await?;
        Ok(staged.into_iter().next().map(|staged| staged.figures).unwrap_or_default())
    }

    /// Edits what people decided by hand for a segment, from the instant of the run on. The segment has to be staged after it, with members
    /// that follow what is decided then; those of the edit who enter or leave do so for its reason. One edit of a segment at most.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn edit_overrides(&mut self, segment: &SegmentId, edit: &OverrideEdit) -> Result<Edited<Self::Members>, LedgerError>;

    /// Adds a history row of kind `daily` with the committed count of a segment.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn record_daily(&mut self, segment: &SegmentId) -> Result<(), LedgerError>;

    /// Adds a history row of kind `backfill` with what a segment was at the instant of the run; its state stays as it is, and it need have
    /// none.
    fn record_past(&mut self, segment: &SegmentId, figures: Figures, definition_hash: &str, duration: Duration);

    /// Writes what segments were at the instant of the run, which is of kind `backfill`, as snapshots of the past. Each segment at most once;
    /// nothing of its present changes.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn keep_past(&mut self, snapshots: Vec<PastSnapshot<Self::Members>>) -> Result<(), LedgerError>;

    /// Replaces the recorded count of a segment by the rows of its snapshot.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn correct_count(&mut self, segment: &SegmentId, actual: u64) -> Result<(), LedgerError>;

    /// Notes facts about definitions that change no member: whether a segment's definition is missing or invalid now. The history
    /// rows of a segment say so ([`DefinitionNote::remark`]), from this transaction on.
    fn note_definition(&mut self, segment: &SegmentId, note: DefinitionNote);

    /// Notes when a job of the scheduler was last done.
    fn note_job(&mut self, job: &str, at: Timestamp);

    /// Says of which segments snapshots that this transaction replaces are kept: those of runs before an instant, so that the last one of
    /// each day is. A ledger that keeps every change has no need of them.
    fn keep_snapshots(&mut self, _segments: BTreeSet<SegmentId>, _before: Timestamp) {}

    /// Makes everything staged visible at once, then puts the published files in place.
    ///
    /// # Errors
    /// [`LedgerError::Fenced`] when a newer lease was taken meanwhile: nothing of this transaction is visible then.
    async fn commit(self) -> Result<(), LedgerError>;
}

/// The right to do something until it is given back or expires. Renewed in the background while it lives.
#[derive(Debug)]
pub struct Lease {
    /// What it protects.
    pub scope: LeaseScope,
    /// Grows with every lease of the scope; a commit names it.
    pub number: u64,
    renewal: Option<tokio::task::AbortHandle>,
}

impl Lease {
    /// A lease that nothing renews.
    #[must_use]
    pub fn new(scope: LeaseScope, number: u64) -> Self {
        Self { scope, number, renewal: None }
    }

    /// The lease with the task that renews it, which ends with it.
    #[must_use]
    pub fn renewed_by(mut self, renewal: tokio::task::AbortHandle) -> Self {
        self.renewal = Some(renewal);
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

/// One evaluation of segments of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// UUIDv7.
    pub run_id: Uuid,
    /// Whose.
    pub tenant: TenantId,
    /// Why.
    pub kind: RunKind,
    /// The instant that was evaluated at.
    pub as_of: Timestamp,
    /// Its day in the tenant's timezone.
    pub evaluation_date: Date,
}

/// What a run found for one segment.
#[derive(Debug)]
pub struct StagedSegment<M> {
    /// The segment.
    pub segment: SegmentId,
    /// The definition in force; `None` when the segment ends.
    pub definition: Option<DefinitionRecord>,
    /// What came of it.
    pub outcome: Outcome<M>,
    /// How long it took; shared work is split evenly.
    pub duration: Duration,
    /// How many of its members may enter or leave; a run of more is held, and changes nothing of the segment. The first run is free.
    pub max_change: Option<MaxChange>,
}

/// What a segment was at an instant of the past, by a definition of now.
#[derive(Debug, Clone)]
pub struct PastSnapshot<M> {
    /// The segment.
    pub segment: SegmentId,
    /// The definition.
    pub definition_hash: String,
    /// Who was in it, with what people had decided.
    pub members: M,
    /// What people had decided.
    pub overrides: Overrides<M>,
    /// The instant before: who was in its snapshot by the same definition has been in since then, and everybody else entered now.
    pub follows: Option<Timestamp>,
}

/// What the ledger made of a segment in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Members after it, who entered, who left.
    pub figures: Figures,
    /// How long comparing and encoding took, by itself or beside others.
    pub duration: Duration,
    /// Why nothing of it was taken over; the figures are those of before then.
    pub held: Option<String>,
}

/// What came of a segment in a run.
#[derive(Debug)]
pub enum Outcome<M> {
    /// It was evaluated. The ledger compares with the previous members and decides the reasons: that of the edit for its subjects, that of
    /// the decision for those who were added or removed by hand, `initial` at the very first, `definition_changed` when the definition's
    /// hash differs, `left_universe` for those no longer in `universe`, else `rule_match` and `rule_ended`.
    Members {
        /// Who is in it, with what people decided.
        members: M,
        /// Who could be.
        universe: M,
        /// What people decided.
        overrides: Overrides<M>,
        /// What they come from.
        basis: Basis,
    },
    /// It could not be evaluated, and keeps its members. The reason, one line.
    Failed {
        /// Why.
        error: String,
    },
    /// It ends: everyone leaves, for this reason.
    Ended {
        /// `archived` or `segment_deleted`.
        reason: ChangeReason,
    },
}

impl<M> Outcome<M> {
    /// That a rule was evaluated of which people decided nothing.
    #[must_use]
    pub fn evaluated(members: M, universe: M) -> Self {
        Self::Members { members, universe, overrides: Overrides::default(), basis: Basis::Evaluated }
    }
}

/// Why a subject entered or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// The rule holds now.
    RuleMatch,
    /// The rule no longer holds.
    RuleEnded,
    /// The segment's very first run.
    Initial,
    /// The first run after its definition changed.
    DefinitionChanged,
    /// The subject is gone from the universe.
    LeftUniverse,
    /// By hand.
    Manual,
    /// By import.
    Import,
    /// The segment was archived.
    Archived,
    /// The segment was deleted.
    SegmentDeleted,
    /// The person was erased.
    Erased,
}

/// The reason of what was decided by hand.
impl From<Origin> for ChangeReason {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Manual => Self::Manual,
            Origin::Import => Self::Import,
        }
    }
}

impl ChangeReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Initial,
        Self::RuleMatch,
        Self::RuleEnded,
        Self::DefinitionChanged,
        Self::LeftUniverse,
        Self::Manual,
        Self::Import,
        Self::Archived,
        Self::SegmentDeleted,
        Self::Erased,
    ];

    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::RuleMatch => "rule_match",
            Self::RuleEnded => "rule_ended",
            Self::Initial => "initial",
            Self::DefinitionChanged => "definition_changed",
            Self::LeftUniverse => "left_universe",
            Self::Manual => "manual",
            Self::Import => "import",
            Self::Archived => "archived",
            Self::SegmentDeleted => "segment_deleted",
            Self::Erased => "erased",
        }
    }
}

/// A current member of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Membership {
    /// The segment.
    pub segment_id: SegmentId,
    /// Since when.
    pub entered_at: Timestamp,
    /// How well it fits; `None` unless the segment scores.
    pub score: Option<f64>,
    /// The same in words.
    pub confidence: Option<String>,
    /// `rule_match`, `manual` or `import`.
    pub reason: String,
}
