//! [`ObjectTransaction`]: stages what a run came to in a folder of its own and commits it with one record of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Float64Array, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use tokio::task::JoinError;

use super::ObjectLedger;
use super::chunk::{RowGroup, Value};
use super::compare::Comparison;
use super::encode::{GROUP_ROWS, Job, Occasion, RunTables, Work, jobs, jobs_of_members};
use super::hand::Decided;
use super::history::write_history;
use super::layout;
use super::log::{self, Entry, LogState, SegmentEntry, TenantEntry};
use super::overrides;
use super::past;
use super::place::{FILES_AT_ONCE, failed};
use super::record::{Action, FileRef, Index, KeptSnapshot, OverrideRecord, Progress, RunRecord, SegmentRecord, SnapshotChange};
use super::table::{ClosedTable, Look, Table, TableWriter, column};
use crate::backend::LocalMembers;
use crate::model::guard::MaxChange;
use crate::model::id::SegmentId;
use crate::model::manual::Origin;
use crate::model::segment::Status;
use crate::store::history::HistoryRow;
use crate::store::rows::membership_schema;
use crate::store::{
    Basis, ChangeReason, DefinitionNote, DefinitionRecord, Edited, Figures, LedgerError, Outcome, OverrideEdit, PastSnapshot, Run,
    RunStatus, Staged, StagedSegment, Transaction,
};

/// Rows, of snapshots before and after, that are in memory at the same time. A segment of more is written by itself, and read and
/// written in parts.
const WINDOW_ROWS: u64 = 4 * 1024 * 1024;

/// Segments that are compared and written at the same time.
const WINDOW_SEGMENTS: usize = 256;

/// Changes of one tenant that become visible together.
pub struct ObjectTransaction {
    ledger: ObjectLedger,
    run: Run,
    lease: u64,
    attempt: u64,
    /// The log as it was at the beginning.
    base: Arc<LogState>,
    folder: Path,
    tables: Arc<RunTables>,
    segments: BTreeMap<SegmentId, SegmentRecord>,
    edits: BTreeMap<SegmentId, PendingEdit>,
    changes: Changes,
    history: Vec<HistoryRow>,
    counts: BTreeMap<SegmentId, u64>,
    jobs: BTreeMap<String, Timestamp>,
    notes: BTreeMap<SegmentId, DefinitionNote>,
    /// Snapshots of the past that this run evaluated.
    past: Vec<KeptSnapshot>,
    /// The segments whose snapshots of runs before an instant are kept.
    keeps: Option<(BTreeSet<SegmentId>, Timestamp)>,
}

/// The file of changes, which all segments of a run share.
enum Changes {
    /// Nobody entered or left yet.
    None,
    /// Some did.
    Open(Box<TableWriter>),
    /// Writing failed midway: what the file holds is not a whole number of segments, and nothing of the run can be committed.
    Broken,
}

/// A segment that was evaluated.
struct Evaluated {
    segment: SegmentId,
    definition: DefinitionRecord,
    members: LocalMembers,
    universe: LocalMembers,
    decided: Decided,
    basis: Basis,
    max_change: Option<MaxChange>,
    /// How long the evaluation took.
    duration: Duration,
}

/// An edit of what people decided about a segment.
struct PendingEdit {
    record: OverrideRecord,
    subjects: LocalMembers,
    origin: Origin,
}

/// What came of a segment, for its record and its history row.
struct Settled {
    definition: DefinitionRecord,
    progress: Progress,
    figures: Figures,
    snapshot: SnapshotChange,
    status: RunStatus,
    /// Why it is not `ok`.
    error: Option<String>,
}

impl ObjectTransaction {
    pub(super) fn new(ledger: ObjectLedger, run: Run, lease: u64, attempt: u64, base: Arc<LogState>) -> Result<Self, LedgerError> {
        let folder = layout::transaction(&run.tenant, lease, attempt);
        let tables = Arc::new(RunTables::new(&run).map_err(|error| failed("write", &folder, error))?);
        Ok(Self {
            ledger,
            run,
            lease,
            attempt,
            base,
            folder,
            tables,
            segments: BTreeMap::new(),
            edits: BTreeMap::new(),
            changes: Changes::None,
            history: Vec::new(),
            counts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            notes: BTreeMap::new(),
            past: Vec::new(),
            keeps: None,
        })
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

    fn entry(&self, segment: &SegmentId) -> Option<&SegmentEntry> {
        entry_of(&self.base, &self.run, segment)
    }

    /// Stages segments at the same time. Their files are read and written in order, so that the operations of the store come in one
    /// order too; what lies between is work for all processors.
    async fn evaluated(&mut self, window: Vec<Evaluated>, begins: &(dyn Fn(usize) + Sync)) -> Result<Vec<Staged>, LedgerError> {
        let snapshots: Vec<Option<FileRef>> =
            window.iter().map(|one| self.entry(&one.segment).and_then(|entry| entry.snapshot.clone())).collect();
        let opened = futures::stream::iter(snapshots).map(|file| open(self.ledger.clone(), file)).buffered(FILES_AT_ONCE);
        let opened: Vec<Option<Table>> = opened.try_collect().await?;

        let clock = &self.ledger.leases.clock;
        let parts: Vec<_> =
            window.iter().map(|one| (one.members.clone(), one.universe.clone(), one.decided.clone())).zip(opened).collect();
        let mut compared = futures::stream::iter(parts)
            .map(|((members, universe, decided), before)| {
                let clock = Arc::clone(clock);
                tokio::spawn(async move {
                    let began = clock.elapsed();
                    let comparison = Comparison::new(before, members, &universe, decided).await?;
                    Ok((comparison, clock.elapsed().saturating_sub(began)))
                })
            })
            .buffered(workers());
        let (mut staged, mut works, mut replaced) = (Vec::with_capacity(window.len()), Vec::new(), Vec::new());
        while let Some(compared) = compared.next().await {
            let one = &window[staged.len()];
            begins(staged.len());
            let (comparison, duration) = joined(&self.folder, compared)?;
            let held = objection(self.entry(&one.segment), one.max_change.as_ref(), &comparison.figures);
            if held.is_some() {
                let member_count = self.entry(&one.segment).map_or(0, |entry| entry.member_count);
                staged.push(Staged { figures: Figures { member_count, ..Figures::default() }, duration, held });
            } else if !comparison.is_same() {
                replaced.push(staged.len());
                works.push(Arc::new(Work {
                    path: layout::snapshot_file(&self.folder, &one.segment),
                    segment: Value::text(one.segment.as_str()),
                    definition_hash: Value::text(&one.definition.hash),
                    occasion: occasion(self.entry(&one.segment), &one.definition),
                    comparison,
                }));
                staged.push(Staged { figures: works[works.len() - 1].comparison.figures, duration, held });
            } else {
                staged.push(Staged { figures: comparison.figures, duration, held });
            }
        }
        drop(compared);
        let mut files = vec![SnapshotChange::Kept; window.len()];
        for (number, (file, duration)) in replaced.into_iter().zip(self.write(&works, jobs(&works)).await?) {
            files[number] = SnapshotChange::Replaced(file);
            staged[number].duration += duration;
        }
        let base = Arc::clone(&self.base);
        for ((one, staged), snapshot) in window.into_iter().zip(&staged).zip(files) {
            let entry = entry_of(&base, &self.run, &one.segment);
            let unattempted = self.progress(one.duration);
            let known = entry.map(|entry| &entry.progress);
            let progress = match (&staged.held, one.basis) {
                (None, Basis::Evaluated) => {
                    Progress { computed_at: Some(self.run.as_of), computed_hash: Some(one.definition.hash.clone()), ..unattempted }
                }
                (None, Basis::Stored) => {
                    let kept = known.cloned().unwrap_or_else(|| unattempted.clone());
                    Progress { run_id: unattempted.run_id, duration_ms: unattempted.duration_ms, ..kept }
                }
                (Some(_), _) => Progress {
                    computed_at: known.and_then(|known| known.computed_at),
                    computed_hash: known.and_then(|known| known.computed_hash.clone()),
                    held: staged.held.clone(),
                    ..unattempted
                },
            };
            let status = if staged.held.is_some() { RunStatus::Held } else { RunStatus::Ok };
            let (definition, figures, error) = (one.definition, staged.figures, staged.held.clone());
            self.remember(&one.segment, entry, Settled { definition, progress, figures, snapshot, status, error });
        }
        Ok(staged)
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
        let (snapshot, status, error) = (SnapshotChange::Kept, RunStatus::Failed, Some(error));
        self.remember(segment, entry, Settled { definition, progress, figures, snapshot, status, error });
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
        let entry = entry_of(&base, &self.run, segment);
        let before = open(self.ledger.clone(), entry.and_then(|entry| entry.snapshot.clone())).await?;
        let definition = DefinitionRecord { status: Status::Archived, ..definition.unwrap_or_else(|| known.definition.clone()) };
        let progress = Progress {
            computed_at: known.progress.computed_at,
            computed_hash: known.progress.computed_hash.clone(),
            ..self.progress(duration)
        };
        let figures = Figures { removed_count: before.as_ref().map_or(0, Table::rows), ..Figures::default() };
        if let Some(before) = before.filter(|before| before.rows() > 0) {
            let mut changes = self.take_changes()?;
            let columns = ["subject_id", "score"];
            let mut rows = before.rows_of(&columns).await?;
            let mut batches = Vec::new();
            let mut count = 0;
            loop {
                let batch = rows.try_next().await?;
                let is_last = batch.is_none();
                count += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
                batches.extend(batch);
                if count >= GROUP_ROWS || (is_last && count > 0) {
                    let exits = self.exits(segment, before.path(), &batches, reason, &definition.hash)?;
                    changes.append(exits).await?;
                    batches.clear();
                    count = 0;
                }
                if is_last {
                    break;
                }
            }
            self.changes = Changes::Open(changes);
        }
        let (snapshot, status, error) = (SnapshotChange::Removed, RunStatus::Ok, None);
        self.remember(segment, entry, Settled { definition, progress, figures, snapshot, status, error });
        if reason == ChangeReason::SegmentDeleted {
            self.segments.insert(segment.clone(), SegmentRecord::Deleted);
        }
        Ok(figures)
    }

    /// The changes of members who all leave.
    fn exits(
        &self,
        segment: &SegmentId,
        path: &Path,
        batches: &[RecordBatch],
        reason: ChangeReason,
        definition_hash: &str,
    ) -> Result<RowGroup, LedgerError> {
        let unwritable = |error| failed("write", &layout::changes_file(&self.folder), error);
        let schema = batches.first().map(RecordBatch::schema).unwrap_or_else(membership_schema);
        let rows = concat_batches(&schema, batches).map_err(|error| unwritable(error.into()))?;
        let ids: &StringArray = column(path, &rows, "subject_id")?;
        let scores: &Float64Array = column(path, &rows, "score")?;
        self.tables.exits(segment.as_str(), ids, scores, reason, definition_hash).map_err(unwritable)
    }

    /// Writes the snapshots of segments, and their changes as far as jobs do; returns the snapshots, and how long each segment took.
    async fn write(&mut self, works: &[Arc<Work>], jobs: Vec<Job>) -> Result<Vec<(FileRef, Duration)>, LedgerError> {
        let place = self.ledger.place().clone();
        let create = |work: &Arc<Work>| TableWriter::create(&place, work.path.clone(), &self.tables.memberships).map(Some);
        let mut snapshots: Vec<Option<TableWriter>> = works.iter().map(create).collect::<Result<_, _>>()?;
        let mut durations = vec![Duration::ZERO; works.len()];
        let has_changes = jobs.iter().any(Job::has_changes);
        let mut changes = if has_changes { Some(self.take_changes()?) } else { None };
        let clock = Arc::clone(&self.ledger.leases.clock);
        let mut done = futures::stream::iter(jobs)
            .map(|job| {
                let (tables, clock) = (Arc::clone(&self.tables), Arc::clone(&clock));
                tokio::spawn(async move {
                    let began = clock.elapsed();
                    let done = job.done(tables).await?;
                    Ok((done, clock.elapsed().saturating_sub(began)))
                })
            })
            .buffered(workers());
        while let Some(done) = done.next().await {
            let (done, duration) = joined(&self.folder, done)?;
            let share = duration / u32::try_from(done.segments.len()).unwrap_or(u32::MAX).max(1);
            for number in done.segments {
                durations[number] += share;
            }
            if let Some((number, group)) = done.members
                && let Some(snapshot) = &mut snapshots[number]
            {
                snapshot.append(group).await?;
            }
            if let (Some(changes), Some(group)) = (&mut changes, done.changes) {
                changes.append(group).await?;
            }
        }
        drop(done);
        let mut closed = Vec::with_capacity(works.len());
        for snapshot in snapshots.into_iter().flatten() {
            closed.push(snapshot.close().await?);
        }
        let files = futures::stream::iter(closed).map(ClosedTable::put_in_place).buffered(FILES_AT_ONCE);
        let files: Vec<FileRef> = files.try_collect().await?;
        if let Some(changes) = changes {
            self.changes = Changes::Open(changes);
        }
        Ok(files.into_iter().zip(durations).collect())
    }

    /// The file of changes. Until it is given back it counts as broken, so that an error on the way leaves it so.
    fn take_changes(&mut self) -> Result<Box<TableWriter>, LedgerError> {
        let path = layout::changes_file(&self.folder);
        match std::mem::replace(&mut self.changes, Changes::Broken) {
            Changes::None => Ok(Box::new(TableWriter::create(self.ledger.place(), path, &self.tables.changes)?)),
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
            held: None,
            run_id: self.run.run_id,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn remember(&mut self, segment: &SegmentId, entry: Option<&SegmentEntry>, settled: Settled) {
        let Settled { definition, progress, figures, snapshot, status, error } = settled;
        self.history.push(HistoryRow {
            segment: segment.clone(),
            kind: self.run.kind,
            figures,
            duration_ms: progress.duration_ms,
            definition_hash: Some(definition.hash.clone()),
            status,
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
        let mut kept = Vec::new();
        for (segment, file) in self.replaced() {
            let Some(at) = instant_of(self.ledger.clone(), file.clone()).await? else { continue };
            if self.keeps.as_ref().is_some_and(|(_, before)| at < *before) {
                let public = layout::kept(&self.run.tenant, &segment, at).to_string();
                let (number, until) = (self.base.number, Some(self.run.as_of));
                let (is_baseline, backfilled_by) = (false, None);
                kept.push(KeptSnapshot { segment, number, at, until, file, public, is_baseline, backfilled_by });
            }
        }
        let place = self.ledger.place();
        let history = match self.history.as_slice() {
            [] => None,
            rows => Some(write_history(place, layout::history_file(&self.folder), &self.tables, &self.run, rows).await?),
        };
        let overrides = std::mem::take(&mut self.edits).into_iter().map(|(segment, edit)| (segment, edit.record));
        let overrides: BTreeMap<SegmentId, OverrideRecord> = overrides.collect();
        let written = overrides.values().map(|overrides| &overrides.file).chain(self.past.iter().map(|past| &past.file));
        let files = self.segments.values().filter_map(SegmentRecord::new_snapshot).chain(&changes).chain(&history).chain(written);
        place.persist(&files.map(FileRef::location).collect::<Vec<_>>()).await?;
        kept.append(&mut self.past);
        Ok(RunRecord {
            run_id: self.run.run_id,
            kind: self.run.kind,
            as_of: self.run.as_of,
            evaluation_date: self.run.evaluation_date,
            discarded: self.discarded(now),
            segments: std::mem::take(&mut self.segments),
            overrides,
            changes,
            history,
            counts: std::mem::take(&mut self.counts),
            jobs: std::mem::take(&mut self.jobs),
            notes: std::mem::take(&mut self.notes),
            kept,
        })
    }

    /// The snapshots that this run replaces, of segments that keep some.
    fn replaced(&self) -> Vec<(SegmentId, FileRef)> {
        let Some((segments, _)) = &self.keeps else { return Vec::new() };
        let replaced = self.segments.iter().filter(|(segment, record)| {
            let is_replaced = match record {
                SegmentRecord::Updated { snapshot, .. } => *snapshot != SnapshotChange::Kept,
                SegmentRecord::Deleted => true,
            };
            is_replaced && segments.contains(*segment)
        });
        let old = |segment: &SegmentId| self.entry(segment).and_then(|entry| entry.snapshot.clone());
        replaced.filter_map(|(segment, _)| Some((segment.clone(), old(segment)?))).collect()
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

    async fn stage_all(
        &mut self,
        segments: Vec<StagedSegment<LocalMembers>>,
        begins: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Staged>, LedgerError> {
        let mut staged = Vec::with_capacity(segments.len());
        let (mut window, mut rows) = (Vec::new(), 0);
        for StagedSegment { segment, definition, outcome, duration, max_change } in segments {
            let (kind, weight) = match outcome {
                Outcome::Members { members, universe, overrides, basis } => {
                    let edit = self.edits.get(&segment).map(|edit| (edit.subjects.clone(), edit.origin));
                    let decided = Decided { overrides, edit };
                    let before = self.entry(&segment).and_then(|entry| entry.snapshot.as_ref()).map_or(0, |file| file.rows);
                    let weight = members.positions().len() + before;
                    (Ok((members, universe, decided, basis)), weight)
                }
                Outcome::Failed { error } => (Err(Alone::Failed(error)), u64::MAX),
                Outcome::Ended { reason } => (Err(Alone::Ended(reason)), u64::MAX),
            };
            if !window.is_empty() && (weight > WINDOW_ROWS.saturating_sub(rows) || window.len() == WINDOW_SEGMENTS) {
                let before = staged.len();
                staged.extend(self.evaluated(std::mem::take(&mut window), &|number| begins(before + number)).await?);
                rows = 0;
            }
            match kind {
                Ok((members, universe, decided, basis)) => {
                    let definition = self.definition(&segment, definition)?;
                    window.push(Evaluated { segment, definition, members, universe, decided, basis, max_change, duration });
                    rows += weight;
                }
                Err(alone) => {
                    begins(staged.len());
                    let began = self.ledger.leases.clock.elapsed();
                    let figures = match alone {
                        Alone::Failed(error) => {
                            let definition = self.definition(&segment, definition)?;
                            self.failed(&segment, definition, error, duration)
                        }
                        Alone::Ended(reason) => self.ended(&segment, definition, reason, duration).await?,
                    };
                    let duration = self.ledger.leases.clock.elapsed().saturating_sub(began);
                    staged.push(Staged { figures, duration, held: None });
                }
            }
        }
        let before = staged.len();
        staged.extend(self.evaluated(window, &|number| begins(before + number)).await?);
        Ok(staged)
    }

    async fn edit_overrides(&mut self, segment: &SegmentId, edit: &OverrideEdit) -> Result<Edited<LocalMembers>, LedgerError> {
        let known = self.entry(segment).and_then(|entry| entry.overrides.as_ref()).map(|overrides| overrides.file.clone());
        let of = (segment, known.as_ref());
        let (record, overrides, undecided) = overrides::edited(&self.ledger, &self.folder, &self.run, of, edit).await?;
        let subjects = overrides::subjects_of(&edit.subjects);
        let pending = PendingEdit { record, subjects: subjects.clone(), origin: edit.origin };
        self.edits.insert(segment.clone(), pending);
        Ok(Edited { overrides, subjects, undecided })
    }

    async fn record_daily(&mut self, segment: &SegmentId) -> Result<(), LedgerError> {
        let entry = self.known(segment)?;
        let row = HistoryRow::daily(segment, entry.member_count, &entry.definition.hash);
        self.history.push(row);
        Ok(())
    }

    fn record_past(&mut self, segment: &SegmentId, figures: Figures, definition_hash: &str, duration: Duration) {
        self.history.push(HistoryRow::past(segment, figures, definition_hash, duration));
    }

    async fn keep_past(&mut self, snapshots: Vec<PastSnapshot<LocalMembers>>) -> Result<(), LedgerError> {
        let (mut works, mut kept) = (Vec::with_capacity(snapshots.len()), Vec::with_capacity(snapshots.len()));
        let index = if snapshots.iter().any(|snapshot| snapshot.follows.is_some()) {
            log::index_of(self.ledger.place(), &self.base, &self.run.tenant).await?
        } else {
            Index::default()
        };
        for PastSnapshot { segment, definition_hash, members, overrides, follows } in snapshots {
            let before = match follows {
                Some(at) => past::backfilled_table(&self.ledger, &index, (&segment, &definition_hash), at).await?,
                None => None,
            };
            let decided = Decided { overrides, edit: None };
            let comparison = Comparison::new(before, members.clone(), &members, decided).await?;
            works.push(Arc::new(Work {
                path: layout::past_file(&self.folder, &segment),
                segment: Value::text(segment.as_str()),
                definition_hash: Value::text(&definition_hash),
                occasion: Occasion::First,
                comparison,
            }));
            kept.push((segment, definition_hash));
        }
        let written = self.write(&works, jobs_of_members(&works)).await?;
        let (at, number) = (self.run.as_of, self.base.number);
        for ((segment, definition_hash), (file, _)) in kept.into_iter().zip(written) {
            let public = layout::backfilled(&self.run.tenant, &segment, at, self.run.run_id).to_string();
            let (until, is_baseline, backfilled_by) = (None, false, Some(definition_hash));
            self.past.push(KeptSnapshot { segment, number, at, until, file, public, is_baseline, backfilled_by });
        }
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

    fn keep_snapshots(&mut self, segments: BTreeSet<SegmentId>, before: Timestamp) {
        self.keeps = Some((segments, before));
    }

    async fn commit(mut self) -> Result<(), LedgerError> {
        let committed_at = self.ledger.now();
        let written = self.written(committed_at).await;
        // A newer writer may have deleted what this one staged: that the lease is lost says more than that a file is.
        self.ledger.check_newest(&self.run.tenant, self.lease).await?;
        let run = written?;
        let action = Action::Run(run);
        let entry = Entry { tenant: self.run.tenant, lease: self.lease, attempt: self.attempt, committed_at, action };
        self.ledger.commit(self.base, entry).await
    }
}

/// Why a run of so many changes is held.
fn objection(entry: Option<&SegmentEntry>, max_change: Option<&MaxChange>, figures: &Figures) -> Option<String> {
    // The first run has nothing to be compared with.
    let entry = entry.filter(|entry| entry.progress.computed_at.is_some())?;
    figures.objection(entry.member_count, max_change?)
}

/// A segment that is not compared with what was before.
enum Alone {
    Failed(String),
    Ended(ChangeReason),
}

/// A snapshot that is referred to.
async fn open(ledger: ObjectLedger, file: Option<FileRef>) -> Result<Option<Table>, LedgerError> {
    match file {
        Some(file) => ledger.open_present(&file).await.map(Some),
        None => Ok(None),
    }
}

/// The instant of the run that wrote a snapshot; one without rows does not tell.
async fn instant_of(ledger: ObjectLedger, file: FileRef) -> Result<Option<Timestamp>, LedgerError> {
    let table = Table::open(ledger.place(), file.location(), &file, Look::Size).await?;
    let missing = || LedgerError::Corrupt { path: file.path.clone(), problem: "it is missing".to_owned() };
    let at = table.ok_or_else(missing)?.instant_of_all("as_of").await?;
    Ok(at.and_then(|at| Timestamp::from_microsecond(at).ok()))
}

fn occasion(entry: Option<&SegmentEntry>, definition: &DefinitionRecord) -> Occasion {
    match entry.and_then(|entry| entry.progress.computed_hash.as_ref()) {
        None => Occasion::First,
        Some(hash) if *hash != definition.hash => Occasion::NewDefinition,
        Some(_) => Occasion::Same,
    }
}

/// How many jobs are worked on at the same time: one waits for each that is handed over.
fn workers() -> usize {
    tokio::runtime::Handle::current().metrics().num_workers() + 1
}

/// What a task gave; its panic goes on here.
fn joined<T>(folder: &Path, task: Result<Result<T, LedgerError>, JoinError>) -> Result<T, LedgerError> {
    match task {
        Ok(given) => given,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(failed("write", folder, error)),
        },
    }
}
