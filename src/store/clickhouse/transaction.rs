//! [`ClickHouseTransaction`]: writes what a run came to beside what is visible, and commits it with one block of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Date32Array, StringArray, TimestampMicrosecondArray, UInt32Array};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::ClickHouseLedger;
use super::ddl::HISTORY;
use super::log::{self, Base, Commit, Entry, Keeping, KeptRecord, KeptSnapshot, Record};
use super::server::{Server, batch, numbers, texts};
use super::staged::{Batch, Counts, Reasons, Rows, Segment};
use super::{overrides, read};
use crate::backend::MemberSet as _;
use crate::backend::clickhouse::{Kept, RemoteMembers};
use crate::model::guard::MaxChange;
use crate::model::id::SegmentId;
use crate::model::segment::Status;
use crate::store::history::HistoryRow;
use crate::store::{
    Basis, ChangeReason, DefinitionNote, DefinitionRecord, Edited, Figures, LeaseScope, LedgerError, Outcome, OverrideEdit,
    PastSnapshot, Run, RunStatus, SegmentState, Staged, StagedSegment, Transaction,
};

/// Changes of one tenant that become visible together.
pub struct ClickHouseTransaction {
    ledger: ClickHouseLedger,
    server: Server,
    run: Run,
    lease: u64,
    /// What was committed at the beginning.
    base: Base,
    /// What this run makes of segments; `None` for one that is deleted.
    segments: BTreeMap<SegmentId, Option<Entry>>,
    history: Vec<HistoryRow>,
    counts: BTreeMap<SegmentId, u64>,
    jobs: BTreeMap<String, Timestamp>,
    notes: BTreeMap<SegmentId, DefinitionNote>,
    /// Of how many subjects people decide after the edits of this run.
    edits: BTreeMap<SegmentId, u64>,
    /// The segments whose snapshots of runs before an instant are kept.
    keeps: Option<(BTreeSet<SegmentId>, Timestamp)>,
    /// Snapshots of the past that this run evaluated.
    past: Vec<KeptSnapshot>,
    /// The batches that were compared.
    batches: u32,
    /// The segments that were staged.
    positions: u32,
    condition: Condition,
}

/// Whether what a transaction wrote can be committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Whole,
    /// Writing failed midway, or is not done: nobody knows what is there.
    Broken,
}

/// A segment on its way through a batch.
struct Work {
    segment: SegmentId,
    position: u32,
    definition: DefinitionRecord,
    outcome: Found,
    duration: Duration,
    max_change: Option<MaxChange>,
}

/// Segments that are compared at the same time.
#[derive(Default)]
struct Window {
    rows: Rows,
    works: Vec<Work>,
    /// Members before and after.
    weight: u64,
}

/// What came of a segment, without its members.
enum Found {
    Members { count: u64, basis: Basis },
    Failed(String),
    Ended(ChangeReason),
}

impl ClickHouseTransaction {
    pub(super) fn new(ledger: ClickHouseLedger, run: Run, lease: u64, base: Base) -> Self {
        let server = ledger.server.clone();
        Self {
            ledger,
            server,
            run,
            lease,
            base,
            segments: BTreeMap::new(),
            history: Vec::new(),
            counts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            notes: BTreeMap::new(),
            edits: BTreeMap::new(),
            keeps: None,
            past: Vec::new(),
            batches: 0,
            positions: 0,
            condition: Condition::Whole,
        }
    }

    fn known(&self, segment: &SegmentId) -> Result<&Entry, LedgerError> {
        let unknown = || LedgerError::UnknownSegment { tenant: self.run.tenant.clone(), segment: segment.clone() };
        self.base.segments.get(segment).ok_or_else(unknown)
    }

    /// Members before and after.
    fn weight(&self, staged: &StagedSegment<RemoteMembers>) -> u64 {
        let before = self.base.segments.get(&staged.segment).map_or(0, |entry| entry.record.state.member_count);
        match &staged.outcome {
            Outcome::Members { members, universe: _, overrides: _, basis: _ } => before.saturating_add(members.count()),
            Outcome::Ended { reason: _ } => before,
            Outcome::Failed { error: _ } => 0,
        }
    }

    /// Writes a window of segments.
    async fn window(&mut self, window: Window, begins: &(dyn Fn(usize) + Sync)) -> Result<Vec<Staged>, LedgerError> {
        let Window { rows, works, weight: _ } = window;
        let clock = Arc::clone(&self.server.clock);
        let began = clock.elapsed();
        let found = self.written(&rows, &works, begins).await?;
        self.batches += 1;
        let duration = clock.elapsed().saturating_sub(began) / u32::try_from(works.len()).unwrap_or(u32::MAX).max(1);
        let staged = works.into_iter().map(|work| {
            let counts = found.get(&work.position).copied().unwrap_or_default();
            let (figures, held) = self.remember(work, counts);
            Staged { figures, duration, held }
        });
        Ok(staged.collect())
    }

    /// Takes a segment into a batch.
    fn taken(&mut self, rows: &mut Rows, staged: StagedSegment<RemoteMembers>) -> Result<Work, LedgerError> {
        let StagedSegment { segment, definition, outcome, duration, max_change } = staged;
        let definition = match definition {
            Some(definition) => definition,
            None => self.known(&segment)?.record.state.definition.clone(),
        };
        let position = self.positions;
        self.positions += 1;
        let entry = self.base.segments.get(&segment);
        let snapshot = entry.and_then(|entry| entry.snapshot);
        let row = |members: Kept, universe: u32, reasons: Reasons, by_hand: bool| Segment {
            position,
            segment: segment.to_string(),
            members,
            snapshot,
            universe,
            reasons,
            definition_hash: definition.hash.clone(),
            by_hand,
        };
        let outcome = match outcome {
            Outcome::Members { members, universe, overrides, basis } => {
                if matches!(members.kept(), Kept::Decided { .. }) {
                    let problem = "decisions of people are no members before they were evaluated".to_owned();
                    return Err(LedgerError::Corrupt { path: format!("the members of segment `{segment}`"), problem });
                }
                let universe = rows.universe(&universe);
                let by_hand = !overrides.is_empty() || self.edits.contains_key(&segment);
                rows.push(row(members.kept().clone(), universe, reasons(entry, &definition), by_hand));
                Found::Members { count: members.count(), basis }
            }
            Outcome::Failed { error } => Found::Failed(error),
            Outcome::Ended { reason } => {
                self.known(&segment)?;
                if snapshot.is_some() {
                    rows.push(row(Kept::Nobody, 0, Reasons { enter: reason, exit: reason, vanish: reason }, false));
                }
                Found::Ended(reason)
            }
        };
        Ok(Work { segment, position, definition, outcome, duration, max_change })
    }

    /// Compares the segments of a batch, and writes their changes and snapshots; returns what was found.
    async fn written(
        &self,
        rows: &Rows,
        works: &[Work],
        begins: &(dyn Fn(usize) + Sync),
    ) -> Result<BTreeMap<u32, Counts>, LedgerError> {
        let commit_number = self.base.commit_number + 1;
        let batch = Batch { run: &self.run, number: self.batches, commit_number, rows };
        let found = if rows.is_empty() {
            BTreeMap::new()
        } else {
            batch.write(&self.server).await?;
            batch.compare(&self.server).await?
        };
        let counts = |work: &Work| found.get(&work.position).copied().unwrap_or_default();
        for work in works {
            if let Found::Members { count, basis: _ } = work.outcome
                && counts(work).members != count
            {
                let problem = format!(
                    "{} members were found, and {count} are counted: its evaluation is gone, or another",
                    counts(work).members
                );
                return Err(LedgerError::Corrupt { path: format!("the evaluation of segment `{}`", work.segment), problem });
            }
        }
        (0..works.len()).for_each(begins);
        for work in works.iter().filter(|work| matches!(work.outcome, Found::Ended(ChangeReason::SegmentDeleted))) {
            overrides::clear_all(&self.server, &self.run, commit_number, &work.segment).await?;
        }
        let chosen = |condition: fn(&Counts) -> bool| -> Vec<u32> {
            let taken_over = works.iter().filter(|work| self.objection(work, &counts(work)).is_none());
            taken_over.filter(|work| condition(&counts(work))).map(|work| work.position).collect()
        };
        let changed = chosen(|counts| counts.entered + counts.left > 0);
        if !changed.is_empty() {
            batch.write_changes(&self.server, &changed, &chosen(|counts| counts.left > 0)).await?;
        }
        let replaced = chosen(|counts| counts.members > 0 && counts.is_another());
        if !replaced.is_empty() {
            batch.write_members(&self.server, &replaced).await?;
            let written = read::written(&self.server, &self.run.tenant, self.run.run_id).await?;
            for work in works.iter().filter(|work| replaced.contains(&work.position)) {
                let rows = written.get(&work.segment).copied().unwrap_or(0);
                refuse_another_count(&work.segment, counts(work).members, rows)?;
            }
        }
        Ok(found)
    }

    /// Keeps what came of a segment for the commit.
    fn remember(&mut self, work: Work, counts: Counts) -> (Figures, Option<String>) {
        let held = self.objection(&work, &counts);
        let Work { segment, mut definition, outcome, duration, .. } = work;
        let entry = self.base.segments.get(&segment);
        let before = entry.map(|entry| &entry.record);
        let mut figures = counts.figures();
        let mut attempted_at = self.run.as_of;
        let kept = Figures { member_count: before.map_or(0, |record| record.state.member_count), ..Figures::default() };
        let mut snapshot = entry.and_then(|entry| entry.snapshot);
        let mut computed_at = before.and_then(|record| record.state.computed_at);
        let mut computed_hash = before.and_then(|record| record.computed_hash.clone());
        let (mut errors, mut last_error) = (0, None);
        let mut is_deleted = false;
        match outcome {
            Found::Members { .. } if held.is_some() => figures = kept,
            Found::Members { count: _, basis } => {
                match basis {
                    Basis::Evaluated => {
                        computed_at = Some(self.run.as_of);
                        computed_hash = Some(definition.hash.clone());
                    }
                    Basis::Stored => attempted_at = before.map_or(attempted_at, |record| record.state.attempted_at),
                }
                if counts.is_another() {
                    snapshot = Some(self.run.run_id).filter(|_| counts.members > 0);
                }
            }
            Found::Failed(error) => {
                figures = kept;
                errors = before.map_or(0, |record| record.state.errors).saturating_add(1);
                last_error = Some(error);
            }
            Found::Ended(reason) => {
                definition.status = Status::Archived;
                snapshot = None;
                is_deleted = reason == ChangeReason::SegmentDeleted;
            }
        }
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.history.push(HistoryRow {
            segment: segment.clone(),
            kind: self.run.kind,
            figures,
            duration_ms,
            definition_hash: Some(definition.hash.clone()),
            status: match (&last_error, &held) {
                (Some(_), _) => RunStatus::Failed,
                (None, Some(_)) => RunStatus::Held,
                (None, None) => RunStatus::Ok,
            },
            error: last_error.clone().or_else(|| held.clone()),
        });
        let state = SegmentState {
            definition,
            note: before.map(|record| record.state.note.clone()).unwrap_or_default(),
            member_count: figures.member_count,
            computed_at,
            attempted_at,
            errors,
            last_error,
            held: held.clone(),
            overrides: self.edits.get(&segment).copied().unwrap_or(before.map_or(0, |record| record.state.overrides)),
            run_id: self.run.run_id,
            duration_ms,
        };
        let entry = Entry { record: Record { state, computed_hash }, snapshot };
        self.segments.insert(segment, Some(entry).filter(|_| !is_deleted));
        (figures, held)
    }

    /// Takes note that a segment forgets a subject: how many members its snapshot has without it, when it was one, and of how many
    /// others people decide, when they decided of it.
    pub(super) fn forget(&mut self, segment: &SegmentId, members: Option<u64>, overrides: Option<u64>) {
        let entry = self.base.segments.get(segment);
        let mut figures = Figures::default();
        if let Some(entry) = entry {
            let mut entry = entry.clone();
            let state = &mut entry.record.state;
            let before = state.member_count;
            state.member_count = members.map_or(before, |members| members.min(before));
            state.overrides = overrides.unwrap_or(state.overrides);
            figures = Figures { member_count: state.member_count, added_count: 0, removed_count: before - state.member_count };
            self.segments.insert(segment.clone(), Some(entry));
        }
        let definition_hash = entry.map(|entry| entry.record.state.definition.hash.as_str());
        self.history.push(HistoryRow::erased(segment, figures, definition_hash));
    }

    /// Why the result of a segment is held.
    fn objection(&self, work: &Work, counts: &Counts) -> Option<String> {
        // The first run has nothing to be compared with.
        let entry = self.base.segments.get(&work.segment).filter(|entry| entry.record.state.computed_at.is_some())?;
        match work.outcome {
            Found::Members { .. } => counts.figures().objection(entry.record.state.member_count, work.max_change.as_ref()?),
            Found::Failed(_) | Found::Ended(_) => None,
        }
    }

    /// Adds what was noted to the states of the segments, those of other segments included.
    fn settle(&mut self) {
        let noted: Vec<SegmentId> = self.counts.keys().chain(self.notes.keys()).cloned().collect();
        for segment in noted {
            if !self.segments.contains_key(&segment)
                && let Some(entry) = self.base.segments.get(&segment)
            {
                self.segments.insert(segment, Some(entry.clone()));
            }
        }
        for (segment, entry) in &mut self.segments {
            let Some(entry) = entry else { continue };
            if let Some(count) = self.counts.get(segment) {
                entry.record.state.member_count = *count;
            }
            if let Some(note) = self.notes.get(segment) {
                entry.record.state.note = note.clone();
            }
        }
        for row in self.history.iter_mut().filter(|row| row.error.is_none()) {
            let stored = self.base.segments.get(&row.segment).map(|entry| &entry.record.state.note);
            row.error = self.notes.get(&row.segment).or(stored).and_then(DefinitionNote::remark);
        }
    }

    /// The snapshots that this run replaces and that are kept.
    async fn kept(&self) -> Result<Vec<(KeptSnapshot, Keeping)>, LedgerError> {
        let Some((keeping, before)) = &self.keeps else { return Ok(Vec::new()) };
        let replaced = |segment: &SegmentId, entry: &Option<Entry>| {
            let old = self.base.segments.get(segment)?;
            let snapshot = old.snapshot?;
            (entry.as_ref().and_then(|entry| entry.snapshot) != Some(snapshot)).then_some((snapshot, old.record.state.member_count))
        };
        let replaced: BTreeMap<&SegmentId, (Uuid, u64)> = self
            .segments
            .iter()
            .filter(|(segment, _)| keeping.contains(*segment))
            .filter_map(|(segment, entry)| Some((segment, replaced(segment, entry)?)))
            .collect();
        if replaced.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<(&SegmentId, Uuid)> = replaced.iter().map(|(segment, (snapshot, _))| (*segment, *snapshot)).collect();
        let instants = read::instants_of(&self.server, &self.run.tenant, &wanted).await?;
        let records = log::read_records(&self.server, &self.run.tenant).await?;
        let kept = replaced.into_iter().filter_map(|(segment, (snapshot, member_count))| {
            let at = *instants.get(segment).filter(|at| *at < before)?;
            let is_again = records.recorded(segment).any(|kept| kept.record.at == at);
            let (number, until, is_baseline, backfilled_by) = (self.base.commit_number, Some(self.run.as_of), false, None);
            let record = KeptRecord { number, run_id: snapshot, at, until, is_again, is_baseline, backfilled_by };
            Some((KeptSnapshot { segment: segment.clone(), snapshot, member_count, record }, Keeping::Kept))
        });
        Ok(kept.collect())
    }

    /// Writes members of the past under the id of the run: those of the snapshot before who stay keep the instant of the entry.
    async fn written_past(&mut self, snapshots: Vec<PastSnapshot<RemoteMembers>>) -> Result<Vec<KeptSnapshot>, LedgerError> {
        let records = log::read_records(&self.server, &self.run.tenant).await?;
        let (mut rows, mut written, mut past) = (Rows::default(), Vec::new(), Vec::new());
        for PastSnapshot { segment, definition_hash, members, overrides, follows } in snapshots {
            let by_it = |kept: &&KeptSnapshot| kept.record.backfilled_by.as_ref() == Some(&definition_hash);
            let before = records.backfilled(&segment).filter(by_it).rfind(|kept| Some(kept.record.at) == follows);
            let position = self.positions;
            self.positions += 1;
            let (enter, exit, vanish) = (ChangeReason::RuleMatch, ChangeReason::RuleEnded, ChangeReason::LeftUniverse);
            rows.push(Segment {
                position,
                segment: segment.to_string(),
                members: members.kept().clone(),
                snapshot: before.map(|kept| kept.snapshot),
                universe: 0,
                reasons: Reasons { enter, exit, vanish },
                definition_hash: definition_hash.clone(),
                by_hand: !overrides.is_empty(),
            });
            if members.count() > 0 {
                written.push(position);
            }
            let record = KeptRecord {
                number: self.base.commit_number,
                run_id: self.run.run_id,
                at: self.run.as_of,
                until: None,
                is_again: false,
                is_baseline: false,
                backfilled_by: Some(definition_hash),
            };
            past.push(KeptSnapshot { segment, snapshot: self.run.run_id, member_count: members.count(), record });
        }
        let batch = Batch { run: &self.run, number: self.batches, commit_number: self.base.commit_number + 1, rows: &rows };
        self.batches += 1;
        if !written.is_empty() {
            batch.write(&self.server).await?;
            batch.write_members(&self.server, &written).await?;
            let counts = read::written(&self.server, &self.run.tenant, self.run.run_id).await?;
            for KeptSnapshot { segment, member_count, .. } in &past {
                refuse_another_count(segment, *member_count, counts.get(segment).copied().unwrap_or(0))?;
            }
        }
        Ok(past)
    }

    async fn write_history(&self) -> Result<(), LedgerError> {
        if self.history.is_empty() {
            return Ok(());
        }
        let (operation, rows, run) = ("write the history", &self.history, &self.run);
        let as_of = TimestampMicrosecondArray::from_value(run.as_of.as_microsecond(), rows.len()).with_timezone("UTC");
        let position = |row| u32::try_from(row).unwrap_or(u32::MAX);
        let columns = batch(
            operation,
            vec![
                ("tenant", texts(rows.iter().map(|_| run.tenant.as_str()))),
                ("segment_id", texts(rows.iter().map(|row| row.segment.as_str()))),
                ("run_id", texts(rows.iter().map(|_| run.run_id.to_string()))),
                ("kind", texts(rows.iter().map(|row| row.kind.keyword()))),
                ("as_of", Arc::new(as_of)),
                ("evaluation_date", Arc::new(Date32Array::from_value(days(run.evaluation_date), rows.len()))),
                ("status", texts(rows.iter().map(|row| row.status.keyword()))),
                ("member_count", numbers(rows.iter().map(|row| row.figures.member_count))),
                ("added_count", numbers(rows.iter().map(|row| row.figures.added_count))),
                ("removed_count", numbers(rows.iter().map(|row| row.figures.removed_count))),
                ("duration_ms", numbers(rows.iter().map(|row| row.duration_ms))),
                ("definition_hash", Arc::new(rows.iter().map(|row| row.definition_hash.as_deref()).collect::<StringArray>())),
                ("error", Arc::new(rows.iter().map(|row| row.error.as_deref()).collect::<StringArray>())),
                ("commit_number", numbers(rows.iter().map(|_| self.base.commit_number + 1))),
                ("position", Arc::new(UInt32Array::from_iter_values((0..rows.len()).map(position)))),
            ],
        )?;
        self.server.insert(operation, HISTORY, columns).await
    }
}

impl Counts {
    /// Whether the rows before do not say all that the rows after would.
    fn is_another(&self) -> bool {
        self.entered + self.left + self.altered > 0
    }

    fn figures(&self) -> Figures {
        Figures { member_count: self.members, added_count: self.entered, removed_count: self.left }
    }
}

/// Refuses a snapshot whose rows are not as many as its members.
fn refuse_another_count(segment: &SegmentId, members: u64, rows: u64) -> Result<(), LedgerError> {
    if rows == members {
        return Ok(());
    }
    let problem = format!("{rows} members were written, and there are {members}");
    Err(LedgerError::Corrupt { path: format!("the snapshot of segment `{segment}`"), problem })
}

/// Days since 1970.
fn days(date: Date) -> i32 {
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    i32::try_from(days).unwrap_or(i32::MAX)
}

/// Why subjects of a segment enter and leave in a run.
fn reasons(entry: Option<&Entry>, definition: &DefinitionRecord) -> Reasons {
    let (enter, exit) = match entry.and_then(|entry| entry.record.computed_hash.as_ref()) {
        None => (ChangeReason::Initial, ChangeReason::RuleEnded),
        Some(hash) if *hash != definition.hash => (ChangeReason::DefinitionChanged, ChangeReason::DefinitionChanged),
        Some(_) => (ChangeReason::RuleMatch, ChangeReason::RuleEnded),
    };
    Reasons { enter, exit, vanish: ChangeReason::LeftUniverse }
}

#[async_trait]
impl Transaction for ClickHouseTransaction {
    type Members = RemoteMembers;

    async fn stage_all(
        &mut self,
        segments: Vec<StagedSegment<RemoteMembers>>,
        begins: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Staged>, LedgerError> {
        // Until all is written it counts as broken, so that an error on the way, or the end of this future, leaves it so.
        let before = std::mem::replace(&mut self.condition, Condition::Broken);
        let (mut staged, mut window) = (Vec::with_capacity(segments.len()), Window::default());
        for segment in segments {
            let weight = self.weight(&segment);
            if !window.works.is_empty() && window.weight.saturating_add(weight) > self.ledger.options.window_rows {
                let offset = staged.len();
                staged.extend(self.window(std::mem::take(&mut window), &|number| begins(offset + number)).await?);
            }
            let work = self.taken(&mut window.rows, segment)?;
            window.weight = window.weight.saturating_add(weight);
            window.works.push(work);
        }
        let offset = staged.len();
        staged.extend(self.window(window, &|number| begins(offset + number)).await?);
        self.condition = before;
        Ok(staged)
    }

    async fn edit_overrides(&mut self, segment: &SegmentId, edit: &OverrideEdit) -> Result<Edited<RemoteMembers>, LedgerError> {
        let before = std::mem::replace(&mut self.condition, Condition::Broken);
        let edited = overrides::edit(&self.server, &self.run, self.base.commit_number + 1, segment, edit).await?;
        let in_force = edited.overrides.iter().map(|(_, members)| members.count()).sum();
        self.edits.insert(segment.clone(), in_force);
        self.condition = before;
        Ok(edited)
    }

    async fn record_daily(&mut self, segment: &SegmentId) -> Result<(), LedgerError> {
        let state = &self.known(segment)?.record.state;
        let row = HistoryRow::daily(segment, state.member_count, &state.definition.hash);
        self.history.push(row);
        Ok(())
    }

    fn record_past(&mut self, segment: &SegmentId, figures: Figures, definition_hash: &str, duration: Duration) {
        self.history.push(HistoryRow::past(segment, figures, definition_hash, duration));
    }

    async fn keep_past(&mut self, snapshots: Vec<PastSnapshot<RemoteMembers>>) -> Result<(), LedgerError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.condition, Condition::Broken);
        self.past = self.written_past(snapshots).await?;
        self.condition = before;
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
        let scope = LeaseScope::Tenant(self.run.tenant.clone());
        // A newer writer may have deleted what this one staged: that the lease is lost says more than that rows are.
        self.ledger.check_newest(&scope, &self.run.tenant, self.lease).await?;
        if self.condition == Condition::Broken {
            let problem = "an earlier write of this run failed".to_owned();
            return Err(LedgerError::Corrupt { path: format!("run {}", self.run.run_id), problem });
        }
        self.settle();
        self.write_history().await?;
        let mut kept = self.kept().await?;
        kept.extend(std::mem::take(&mut self.past).into_iter().map(|past| (past, Keeping::Kept)));
        let commit = Commit {
            tenant: &self.run.tenant,
            lease: self.lease,
            run_id: self.run.run_id,
            number: self.base.commit_number + 1,
            segments: &self.segments,
            jobs: &self.jobs,
            run: Some(&self.run),
            kept: &kept,
            cuts: &BTreeMap::new(),
        };
        commit.done(&self.server).await?;
        self.ledger.publish(&self.server, &self.run.tenant).await;
        Ok(())
    }
}
