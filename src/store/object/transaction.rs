//! [`ObjectTransaction`]: stages what a run came to in a folder of its own and commits it with one record of the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;

use super::ObjectLedger;
use super::builders::{Change, ChangeWriter, HistoryRow, RowStatus, SnapshotWriter, write_history};
use super::layout;
use super::log::{self, Entry, LogState, SegmentEntry, TenantEntry};
use super::merge::{self, Member, Merge, Step};
use super::place::failed;
use super::publish;
use super::record::{Action, FileRef, Progress, RunRecord, SegmentRecord, SnapshotChange};
use super::table::Table;
use crate::backend::LocalMembers;
use crate::model::id::SegmentId;
use crate::model::segment::Status;
use crate::store::{
    ChangeReason, DefinitionNote, DefinitionRecord, Figures, LedgerError, Outcome, Run, RunKind, StagedSegment, Transaction,
};

/// Changes of one tenant that become visible together.
pub struct ObjectTransaction {
    ledger: ObjectLedger,
    run: Run,
    lease: u64,
    attempt: u64,
    /// The log as it was at the beginning.
    base: Arc<LogState>,
    folder: Path,
    segments: BTreeMap<SegmentId, SegmentRecord>,
    changes: Changes,
    history: Vec<HistoryRow>,
    counts: BTreeMap<SegmentId, u64>,
    jobs: BTreeMap<String, Timestamp>,
    notes: BTreeMap<SegmentId, DefinitionNote>,
}

/// The file of changes, which all segments of a run share.
enum Changes {
    /// Nobody entered or left yet.
    None,
    /// Some did.
    Open(Box<ChangeWriter>),
    /// Writing failed midway: what the file holds is not a whole number of segments, and nothing of the run can be committed.
    Broken,
}

/// What a segment's members are compared with.
struct Before<'a> {
    entry: Option<&'a SegmentEntry>,
    snapshot: Option<Table>,
}

/// Whether a diff starts a segment, follows a new definition, or neither.
#[derive(Clone, Copy)]
enum Occasion {
    First,
    NewDefinition,
    Same,
}

impl ObjectTransaction {
    pub(super) fn new(ledger: ObjectLedger, run: Run, lease: u64, attempt: u64, base: Arc<LogState>) -> Self {
        let folder = layout::transaction(&run.tenant, lease, attempt);
        Self {
            ledger,
            run,
            lease,
            attempt,
            base,
            folder,
            segments: BTreeMap::new(),
            changes: Changes::None,
            history: Vec::new(),
            counts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            notes: BTreeMap::new(),
        }
    }

    fn tenant(&self) -> Option<&TenantEntry> {
        self.base.tenants.get(&self.run.tenant)
    }

    fn known(&self, segment: &SegmentId) -> Result<&SegmentEntry, LedgerError> {
        self.tenant()
            .and_then(|tenant| tenant.segments.get(segment))
            .ok_or_else(|| LedgerError::UnknownSegment { tenant: self.run.tenant.clone(), segment: segment.clone() })
    }

    /// The definition that a segment is staged with: a new one, or the one that it has.
    fn definition(&self, segment: &SegmentId, staged: Option<DefinitionRecord>) -> Result<DefinitionRecord, LedgerError> {
        match staged {
            Some(definition) => Ok(definition),
            None => self.known(segment).map(|entry| entry.definition.clone()),
        }
    }

    async fn evaluated(
        &mut self,
        segment: &SegmentId,
        definition: DefinitionRecord,
        members: &LocalMembers,
        universe: &LocalMembers,
        duration: Duration,
    ) -> Result<Figures, LedgerError> {
        let base = Arc::clone(&self.base);
        let before = Before::open(&self.ledger, &self.run, &base, segment).await?;
        let comparison = merge::compare(before.snapshot.as_ref(), members.iter_with_scores()).await?;
        let figures = comparison.figures;
        let snapshot = if comparison.is_same() && before.snapshot.is_some() {
            SnapshotChange::Kept
        } else {
            let occasion = before.occasion(&definition);
            SnapshotChange::Replaced(self.write(segment, &definition, &before, occasion, members, universe).await?)
        };
        let progress =
            Progress { computed_at: Some(self.run.as_of), computed_hash: Some(definition.hash.clone()), ..self.progress(duration) };
        self.remember(segment, before.entry, definition, progress, figures, snapshot, None);
        Ok(figures)
    }

    fn failed(&mut self, segment: &SegmentId, definition: DefinitionRecord, error: String, duration: Duration) -> Figures {
        let base = Arc::clone(&self.base);
        let entry = entry_of(&base, &self.run, segment);
        let figures = Figures { member_count: entry.map_or(0, |entry| entry.member_count), ..Figures::default() };
        let progress = Progress {
            computed_at: entry.and_then(|entry| entry.progress.computed_at),
            computed_hash: entry.and_then(|entry| entry.progress.computed_hash.clone()),
            errors: entry.map_or(0, |entry| entry.progress.errors).saturating_add(1),
            last_error: Some(error.clone()),
            ..self.progress(duration)
        };
        self.remember(segment, entry, definition, progress, figures, SnapshotChange::Kept, Some(error));
        figures
    }

    async fn ended(
        &mut self,
        segment: &SegmentId,
        definition: Option<DefinitionRecord>,
        reason: ChangeReason,
        duration: Duration,
    ) -> Result<Figures, LedgerError> {
        let base = Arc::clone(&self.base);
        let known = self.known(segment)?;
        let before = Before::open(&self.ledger, &self.run, &base, segment).await?;
        let definition = DefinitionRecord { status: Status::Archived, ..definition.unwrap_or_else(|| known.definition.clone()) };
        let progress = Progress {
            computed_at: known.progress.computed_at,
            computed_hash: known.progress.computed_hash.clone(),
            ..self.progress(duration)
        };
        let figures = merge::compare(before.snapshot.as_ref(), std::iter::empty()).await?.figures;
        if figures.removed_count > 0 {
            let mut changes = self.take_changes()?;
            let mut merge = Merge::new(before.snapshot.as_ref(), std::iter::empty()).await?;
            while let Some(step) = merge.step().await? {
                if let Step::Leaves(member) = step {
                    changes.push(segment, member.subject_id, Change::Exit, reason, member.score, &definition.hash).await?;
                }
            }
            self.changes = Changes::Open(changes);
        }
        self.remember(segment, before.entry, definition, progress, figures, SnapshotChange::Removed, None);
        if reason == ChangeReason::SegmentDeleted {
            self.segments.insert(segment.clone(), SegmentRecord::Deleted);
        }
        Ok(figures)
    }

    /// Writes the snapshot and the changes of a segment whose members or scores changed, or that has no snapshot yet.
    async fn write(
        &mut self,
        segment: &SegmentId,
        definition: &DefinitionRecord,
        before: &Before<'_>,
        occasion: Occasion,
        members: &LocalMembers,
        universe: &LocalMembers,
    ) -> Result<FileRef, LedgerError> {
        let place = &self.ledger.place().clone();
        let path = layout::snapshot_file(&self.folder, segment);
        let mut snapshot = SnapshotWriter::create(place, path, &self.run, segment)?;
        let mut changes = None;
        let mut merge = Merge::new(before.snapshot.as_ref(), members.iter_with_scores()).await?;
        let entered_at = self.run.as_of.as_microsecond();
        while let Some(step) = merge.step().await? {
            let (subject_id, change, reason, score) = match step {
                Step::Stays(member, score) => {
                    snapshot.push(member.scored(score)).await?;
                    continue;
                }
                Step::Enters(subject_id, score) => {
                    let reason = ChangeReason::RuleMatch.keyword();
                    let member = Member { subject_id, entered_at, score: None, confidence: None, reason }.scored(score);
                    snapshot.push(member).await?;
                    (subject_id, Change::Enter, occasion.enter(), member.score)
                }
                Step::Leaves(member) => {
                    let reason = if universe.contains(member.subject_id) { occasion.exit() } else { ChangeReason::LeftUniverse };
                    (member.subject_id, Change::Exit, reason, member.score)
                }
            };
            if changes.is_none() {
                changes = Some(self.take_changes()?);
            }
            if let Some(changes) = &mut changes {
                changes.push(segment, subject_id, change, reason, score, &definition.hash).await?;
            }
        }
        let file = snapshot.finish().await?;
        if let Some(changes) = changes {
            self.changes = Changes::Open(changes);
        }
        Ok(file)
    }

    /// The file of changes. Until it is given back it counts as broken, so that an error on the way leaves it so.
    fn take_changes(&mut self) -> Result<Box<ChangeWriter>, LedgerError> {
        let path = layout::changes_file(&self.folder);
        match std::mem::replace(&mut self.changes, Changes::Broken) {
            Changes::None => Ok(Box::new(ChangeWriter::create(self.ledger.place(), path, &self.run)?)),
            Changes::Open(changes) => Ok(changes),
            Changes::Broken => Err(broken(&self.folder)),
        }
    }

    /// The progress of a segment that this run evaluated without a fault.
    fn progress(&self, duration: Duration) -> Progress {
        Progress {
            computed_at: None,
            computed_hash: None,
            attempted_at: self.run.as_of,
            errors: 0,
            last_error: None,
            run_id: self.run.run_id,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "these are the fields of one record and of one history row")]
    fn remember(
        &mut self,
        segment: &SegmentId,
        entry: Option<&SegmentEntry>,
        definition: DefinitionRecord,
        progress: Progress,
        figures: Figures,
        snapshot: SnapshotChange,
        error: Option<String>,
    ) {
        self.history.push(HistoryRow {
            segment: segment.clone(),
            kind: self.run.kind,
            figures,
            duration_ms: progress.duration_ms,
            definition_hash: Some(definition.hash.clone()),
            status: if error.is_some() { RowStatus::Failed } else { RowStatus::Ok },
            error,
        });
        let definition = Some(definition).filter(|definition| entry.is_none_or(|entry| entry.definition != *definition));
        self.segments.insert(segment.clone(), SegmentRecord::Updated { definition, progress, figures, snapshot });
    }

    /// The record of the run, with every file that it refers to written and safe.
    async fn written(&mut self, now: Timestamp) -> Result<RunRecord, LedgerError> {
        let changes = match std::mem::replace(&mut self.changes, Changes::Broken) {
            Changes::None => None,
            Changes::Open(changes) => Some(changes.finish().await?),
            Changes::Broken => return Err(broken(&self.folder)),
        };
        for row in self.history.iter_mut().filter(|row| row.error.is_none()) {
            let stored = entry_of(&self.base, &self.run, &row.segment).map(|entry| &entry.note);
            row.error = self.notes.get(&row.segment).or(stored).and_then(DefinitionNote::remark);
        }
        let place = self.ledger.place();
        let history = match self.history.as_slice() {
            [] => None,
            rows => Some(write_history(place, layout::history_file(&self.folder), &self.run, rows).await?),
        };
        let files = self.segments.values().filter_map(SegmentRecord::new_snapshot).chain(&changes).chain(&history);
        place.persist(&files.map(FileRef::location).collect::<Vec<_>>()).await?;
        Ok(RunRecord {
            run_id: self.run.run_id,
            kind: self.run.kind,
            as_of: self.run.as_of,
            evaluation_date: self.run.evaluation_date,
            discarded: self.discarded(now),
            segments: std::mem::take(&mut self.segments),
            changes,
            history,
            counts: std::mem::take(&mut self.counts),
            jobs: std::mem::take(&mut self.jobs),
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// The superseded snapshots that no reader can be expected to need any more.
    fn discarded(&self, now: Timestamp) -> Vec<String> {
        let grace = SignedDuration::try_from(self.ledger.options.grace).unwrap_or(SignedDuration::MAX);
        let superseded = self.tenant().map(|tenant| tenant.superseded.as_slice()).unwrap_or_default();
        superseded.iter().filter(|old| now.duration_since(old.since) > grace).map(|old| old.path.clone()).collect()
    }
}

fn broken(folder: &Path) -> LedgerError {
    failed("write", &layout::changes_file(folder), "an earlier write of this run failed")
}

fn entry_of<'a>(base: &'a LogState, run: &Run, segment: &SegmentId) -> Option<&'a SegmentEntry> {
    base.tenants.get(&run.tenant)?.segments.get(segment)
}

#[async_trait]
impl Transaction for ObjectTransaction {
    type Members = LocalMembers;

    async fn stage(&mut self, staged: StagedSegment<LocalMembers>) -> Result<Figures, LedgerError> {
        let StagedSegment { segment, definition, outcome, duration } = staged;
        match outcome {
            Outcome::Members { members, universe } => {
                let definition = self.definition(&segment, definition)?;
                self.evaluated(&segment, definition, &members, &universe, duration).await
            }
            Outcome::Failed { error } => {
                let definition = self.definition(&segment, definition)?;
                Ok(self.failed(&segment, definition, error, duration))
            }
            Outcome::Ended { reason } => self.ended(&segment, definition, reason, duration).await,
        }
    }

    async fn record_daily(&mut self, segment: &SegmentId) -> Result<(), LedgerError> {
        let entry = self.known(segment)?;
        let row = HistoryRow {
            segment: segment.clone(),
            kind: RunKind::Daily,
            figures: Figures { member_count: entry.member_count, ..Figures::default() },
            duration_ms: 0,
            definition_hash: Some(entry.definition.hash.clone()),
            status: RowStatus::Ok,
            error: None,
        };
        self.history.push(row);
        Ok(())
    }

    async fn correct_count(&mut self, segment: &SegmentId, actual: u64) -> Result<(), LedgerError> {
        self.known(segment)?;
        self.counts.insert(segment.clone(), actual);
        Ok(())
    }

    fn note_definition(&mut self, segment: &SegmentId, note: DefinitionNote) {
        self.notes.insert(segment.clone(), note);
    }

    fn note_job(&mut self, job: &str, at: Timestamp) {
        self.jobs.insert(job.to_owned(), at);
    }

    async fn commit(mut self) -> Result<(), LedgerError> {
        let place = self.ledger.place().clone();
        let committed_at = self.ledger.now();
        let written = self.written(committed_at).await;
        // A newer writer may have deleted what this one staged: that the lease is lost says more than that a file is.
        self.ledger.check_newest(&self.run.tenant, self.lease).await?;
        let run = written?;
        let action = Action::Run(run.clone());
        let entry = Entry { tenant: self.run.tenant, lease: self.lease, attempt: self.attempt, committed_at, action };
        let state = log::append(&place, self.base, entry).await?;
        // The run is committed. What follows is done again by the next writer when it fails now.
        let number = state.number;
        let settled = async {
            let state = publish::publish(&place, state).await?;
            self.ledger.remember(&state);
            publish::discard(&place, &run).await?;
            self.ledger.remember(&log::checkpoint(&place, state, self.ledger.options.checkpoint_every).await?);
            Ok::<_, LedgerError>(())
        };
        if let Err(error) = settled.await {
            tracing::warn!(%error, number, "the run is committed; the next one will finish its publishing");
        }
        Ok(())
    }
}

impl<'a> Before<'a> {
    async fn open(ledger: &ObjectLedger, run: &Run, base: &'a LogState, segment: &SegmentId) -> Result<Self, LedgerError> {
        let entry = entry_of(base, run, segment);
        let snapshot = match entry.and_then(|entry| entry.snapshot.as_ref()) {
            Some(file) => Some(ledger.open_present(file).await?),
            None => None,
        };
        Ok(Self { entry, snapshot })
    }

    fn occasion(&self, definition: &DefinitionRecord) -> Occasion {
        match self.entry.and_then(|entry| entry.progress.computed_hash.as_ref()) {
            None => Occasion::First,
            Some(hash) if *hash != definition.hash => Occasion::NewDefinition,
            Some(_) => Occasion::Same,
        }
    }
}

impl Occasion {
    fn enter(self) -> ChangeReason {
        match self {
            Self::First => ChangeReason::Initial,
            Self::NewDefinition => ChangeReason::DefinitionChanged,
            Self::Same => ChangeReason::RuleMatch,
        }
    }

    fn exit(self) -> ChangeReason {
        match self {
            Self::NewDefinition => ChangeReason::DefinitionChanged,
            Self::First | Self::Same => ChangeReason::RuleEnded,
        }
    }
}
