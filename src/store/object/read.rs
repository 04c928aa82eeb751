//! Reading: members from immutable snapshots, changes and history run by run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, BooleanArray, Float64Array, StringArray, StringBuilder, TimestampMicrosecondArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;

use super::layout;
use super::log::{self, SegmentEntry};
use super::overrides::Decisions;
use super::record::{FileRef, Index, RunFiles};
use super::table::{Look, Table, WHOLE_UP_TO, column};
use super::{ObjectLedger, Place};
use crate::backend::{LocalMembers, SortedIds};
use crate::model::id::{SegmentId, TenantId};
use crate::store::audience::{Audience, merged, rows_after};
use crate::store::{LedgerError, Membership, Overrides, ReadFilter, RowStream};

/// How often a reader takes the state anew because a file of an older one is gone.
const ATTEMPTS: usize = 5;

pub(super) async fn stored(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId) -> Result<LocalMembers, LedgerError> {
    let mut path = layout::memberships(tenant, segment);
    let mut ids = StringBuilder::new();
    if let Some(table) = snapshot(ledger, tenant, segment, Look::Whole).await? {
        path = table.path().clone();
        let mut rows = table.rows_of(&["subject_id"]).await?;
        while let Some(batch) = rows.try_next().await? {
            for id in column::<StringArray>(&path, &batch, "subject_id")?.iter().flatten() {
                ids.append_value(id);
            }
        }
    }
    let ids = SortedIds::new(ids.finish())
        .map_err(|error| LedgerError::Corrupt { path: path.to_string(), problem: error.to_string() })?;
    Ok(LocalMembers::all(Arc::new(ids)))
}

pub(super) async fn members(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
    match snapshot(ledger, tenant, segment, Look::Whole).await? {
        Some(table) => table.all_rows().await,
        None => Ok(futures::stream::empty().boxed()),
    }
}

/// Whom an audience contains. Its snapshots are those of one state of the log.
pub(super) async fn audience(ledger: &ObjectLedger, tenant: &TenantId, audience: &Audience) -> Result<RowStream, LedgerError> {
    let tables = snapshots(ledger, tenant, &audience.segments).await?;
    let after = audience.after.clone();
    if audience.only().is_some() {
        let Some(table) = tables.into_iter().flatten().next() else { return Ok(futures::stream::empty().boxed()) };
        let rows = table.rows_after(None, after.as_deref()).await?;
        return Ok(rows_after(rows, after));
    }
    let mut streams = Vec::with_capacity(tables.len());
    for table in tables {
        streams.push(match table {
            Some(table) => table.rows_after(Some(&["subject_id", "entered_at"]), after.as_deref()).await?,
            None => futures::stream::empty().boxed(),
        });
    }
    Ok(merged(audience.operation, after, streams, audience.schema()))
}

pub(super) async fn recount(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
    let Some(table) = snapshot(ledger, tenant, segment, Look::Whole).await? else { return Ok(0) };
    let rows = table.rows_of(&["subject_id"]).await?;
    rows.try_fold(0, |count, batch| async move { Ok(count + batch.num_rows() as u64) }).await
}

pub(super) async fn segments_of(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    subject_id: &str,
) -> Result<Vec<Membership>, LedgerError> {
    let state = ledger.log().await?;
    let segments = state.tenants.get(tenant).into_iter().flat_map(|entry| entry.segments.keys());
    let mut found = Vec::new();
    for segment in segments {
        let Some(table) = snapshot(ledger, tenant, segment, Look::Size).await? else { continue };
        for row in table.rows_of_subject(subject_id).await? {
            found.push(membership(segment, table.path(), &row)?);
        }
    }
    Ok(found)
}

/// What people had decided at an instant, of every segment of which they had.
pub(super) async fn overrides(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<BTreeMap<SegmentId, Overrides<LocalMembers>>, LedgerError> {
    let mut found = BTreeMap::new();
    for segment in overridden(ledger, tenant).await? {
        let Some(table) = file_of(ledger, tenant, &segment, override_file, Look::Whole).await? else { continue };
        let overrides = Decisions::read(&table).await?.at(Some(at));
        if !overrides.is_empty() {
            found.insert(segment, overrides);
        }
    }
    Ok(found)
}

/// The rows of what people decided, segment by segment.
pub(super) async fn override_rows(ledger: &ObjectLedger, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
    let mut segments = overridden(ledger, tenant).await?;
    segments.retain(|segment| filter.segments.is_empty() || filter.segments.contains(segment));
    let (ledger, tenant, subject) = (ledger.clone(), tenant.clone(), filter.subject.clone());
    let tables = futures::stream::iter(segments).then(move |segment| {
        let (ledger, tenant, subject) = (ledger.clone(), tenant.clone(), subject.clone());
        async move {
            let Some(table) = file_of(&ledger, &tenant, &segment, override_file, Look::Whole).await? else {
                return Ok(futures::stream::empty().boxed());
            };
            Ok::<_, LedgerError>(match subject {
                None => table.all_rows().await?,
                Some(subject) => futures::stream::iter(table.rows_of_subject(&subject).await?.into_iter().map(Ok)).boxed(),
            })
        }
    });
    Ok(tables.try_flatten().boxed())
}

/// The segments of a tenant of which people decided something once.
async fn overridden(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Vec<SegmentId>, LedgerError> {
    let state = ledger.log().await?;
    let segments = state.tenants.get(tenant).into_iter().flat_map(|entry| &entry.segments);
    Ok(segments.filter(|(_, entry)| entry.overrides.is_some()).map(|(id, _)| id.clone()).collect())
}

fn override_file(entry: &SegmentEntry) -> Option<&FileRef> {
    entry.overrides.as_ref().map(|overrides| &overrides.file)
}

/// Which of the two records of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Changes,
    History,
}

/// The rows of all runs that pass the filter, in the order of the commits.
pub(super) async fn rows(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    rows: Rows,
    filter: &ReadFilter,
) -> Result<RowStream, LedgerError> {
    let mut reading = Reading {
        ledger: ledger.clone(),
        tenant: tenant.clone(),
        rows,
        filter: filter.clone(),
        runs: VecDeque::new(),
        done: 0,
        day: None,
        given: Arc::default(),
    };
    reading.look_up().await?;
    Ok(futures::stream::try_unfold(reading, Reading::next).try_flatten().boxed())
}

/// What is known of the files of a tenant, as the log says now.
pub(super) async fn index(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Index, LedgerError> {
    for _ in 0..ATTEMPTS {
        let state = ledger.log().await?;
        match log::index_of(ledger.place(), &state, tenant).await {
            // Its file was replaced, if the log has gone on.
            Err(LedgerError::Corrupt { .. }) if ledger.log().await?.number > state.number => {}
            found => return found,
        }
    }
    Err(absent(&layout::indexes()))
}

/// Reading run after run. Where the files of some were put together meanwhile, it goes on in the new file where it was.
struct Reading {
    ledger: ObjectLedger,
    tenant: TenantId,
    rows: Rows,
    filter: ReadFilter,
    /// What is still to be read.
    runs: VecDeque<RunFiles>,
    /// The last commit that was read.
    done: u64,
    /// The day of the runs read last, and which of them were given: files are put together only within a day.
    day: Option<Date>,
    given: Arc<Mutex<BTreeSet<String>>>,
}

impl Reading {
    async fn look_up(&mut self) -> Result<(), LedgerError> {
        let Self { rows, ref filter, done, .. } = *self;
        let mut runs = index(&self.ledger, &self.tenant).await?.runs;
        runs.retain(|run| {
            run.number > done && rows.file(run).is_some() && rows.may_tell_of(run, &filter.segments) && in_time(filter, run)
        });
        self.runs = runs.into();
        Ok(())
    }

    /// The rows of the next run.
    async fn next(mut self) -> Result<Option<(RowStream, Self)>, LedgerError> {
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            let Some(run) = self.runs.pop_front() else { return Ok(None) };
            let Some(file) = self.rows.file(&run) else { continue };
            let public = self.rows.public(&run);
            let Some(table) = run_table(self.ledger.place(), &public, file).await? else {
                lost = Some(public);
                self.look_up().await?;
                continue;
            };
            if self.day.replace(run.evaluation_date) != Some(run.evaluation_date) {
                self.given = Arc::default();
            }
            let is_begun = run.first() <= self.done;
            self.done = run.number;
            let (rows, filter, given) = (self.rows, self.filter.clone(), Arc::clone(&self.given));
            let is_merged = run.merged.is_some();
            let path = table.path().clone();
            let selected = table.rows_near(&rows.texts(&self.filter)).await?.and_then(move |batch| {
                let kept =
                    if is_begun { not_given(&path, &given, &batch) } else { note_given(&path, &given, &batch).map(|()| batch) };
                let kept = kept.and_then(|batch| select(&path, rows, &filter, is_merged, &batch));
                async move { kept }
            });
            let some = selected.try_filter(|batch| futures::future::ready(batch.num_rows() > 0));
            return Ok(Some((some.boxed(), self)));
        }
        Err(absent(&lost.unwrap_or_else(layout::indexes)))
    }
}

/// Whether some run may have been at an instant that the filter asks for.
fn in_time(filter: &ReadFilter, run: &RunFiles) -> bool {
    filter.from.is_none_or(|from| run.as_of >= from) && filter.to.is_none_or(|to| run.from() < to)
}

/// Notes whose rows are given.
fn note_given(path: &Path, given: &Mutex<BTreeSet<String>>, batch: &RecordBatch) -> Result<(), LedgerError> {
    let runs: &StringArray = column(path, batch, "run_id")?;
    let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for run in runs.iter().flatten() {
        if last != Some(run) {
            if !given.contains(run) {
                given.insert(run.to_owned());
            }
            last = Some(run);
        }
    }
    Ok(())
}

/// The rows of runs that were not given before.
fn not_given(path: &Path, given: &Mutex<BTreeSet<String>>, batch: &RecordBatch) -> Result<RecordBatch, LedgerError> {
    let runs: &StringArray = column(path, batch, "run_id")?;
    let given = given.lock().unwrap_or_else(PoisonError::into_inner);
    let new: BooleanArray = runs.iter().map(|run| Some(run.is_none_or(|run| !given.contains(run)))).collect();
    filtered(path, batch, &new)
}

impl Rows {
    /// What a filter says of the texts of a row.
    fn texts(self, filter: &ReadFilter) -> Vec<(&'static str, Vec<&str>)> {
        match self {
            Self::Changes => filter.texts_of_changes(),
            Self::History => filter.texts_of_history(),
        }
    }

    pub(super) fn file(self, run: &RunFiles) -> Option<&FileRef> {
        match self {
            Self::Changes => run.changes.as_ref(),
            Self::History => run.history.as_ref(),
        }
    }

    pub(super) fn public(self, run: &RunFiles) -> Path {
        let RunFiles { number, tenant, run_id, evaluation_date: date, merged, .. } = run;
        match (self, merged) {
            (Self::Changes, None) => layout::changes(tenant, *date, *number, *run_id),
            (Self::History, None) => layout::history(tenant, *date, *number, *run_id),
            (_, Some(_)) => layout::compacted(self.folder(), tenant, *date, *number, *run_id),
        }
    }

    /// Whether rows of a segment may be among those of a run.
    pub(super) fn may_tell_of(self, run: &RunFiles, segments: &[SegmentId]) -> bool {
        let Some(merged) = run.merged.as_ref().filter(|_| !segments.is_empty()) else { return true };
        let told = match self {
            Self::Changes => &merged.changed,
            Self::History => &merged.recorded,
        };
        segments.iter().any(|segment| told.contains(segment))
    }

    /// The folder of the public files.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::History => "history",
        }
    }

    /// The column of the run's instant.
    pub(super) fn instant(self) -> &'static str {
        match self {
            Self::Changes => "at",
            Self::History => "as_of",
        }
    }
}

/// The current snapshot of a segment; `None` when it has none.
pub(super) async fn current(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId) -> Result<Option<Table>, LedgerError> {
    snapshot(ledger, tenant, segment, Look::Whole).await
}

/// The snapshots of segments as one commit left them. When one of those was deleted since the state was read, all are looked up anew.
async fn snapshots(ledger: &ObjectLedger, tenant: &TenantId, segments: &[SegmentId]) -> Result<Vec<Option<Table>>, LedgerError> {
    let mut missing = Path::default();
    'attempts: for _ in 0..ATTEMPTS {
        let state = ledger.log().await?;
        let entries = state.tenants.get(tenant).map(|entry| &entry.segments);
        let file_of = |segment| entries.and_then(|entries| entries.get(segment)).and_then(|entry| entry.snapshot.as_ref());
        let files: Vec<Option<&FileRef>> = segments.iter().map(file_of).collect();
        // Of what is too large together, only parts are in memory at a time.
        let size: u64 = files.iter().flatten().map(|file| file.size).sum();
        let look = if size <= WHOLE_UP_TO { Look::Whole } else { Look::Size };
        let mut tables = Vec::with_capacity(segments.len());
        for file in files {
            let Some(file) = file else {
                tables.push(None);
                continue;
            };
            let Some(table) = Table::open(ledger.place(), file.location(), file, look).await? else {
                missing = file.location();
                continue 'attempts;
            };
            tables.push(Some(table));
        }
        return Ok(tables);
    }
    Err(absent(&missing))
}

/// The current snapshot of a segment. One that was superseded and deleted since the state was read is looked up anew.
async fn snapshot(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId, look: Look) -> Result<Option<Table>, LedgerError> {
    file_of(ledger, tenant, segment, |entry| entry.snapshot.as_ref(), look).await
}

/// A file of a segment. One that was superseded and deleted since the state was read is looked up anew.
async fn file_of(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    segment: &SegmentId,
    file: impl Fn(&SegmentEntry) -> Option<&FileRef>,
    look: Look,
) -> Result<Option<Table>, LedgerError> {
    let mut missing = layout::memberships(tenant, segment);
    for _ in 0..ATTEMPTS {
        let state = ledger.log().await?;
        let entry = state.tenants.get(tenant).and_then(|entry| entry.segments.get(segment));
        let Some(file) = entry.and_then(&file) else { return Ok(None) };
        if let Some(table) = Table::open(ledger.place(), file.location(), file, look).await? {
            return Ok(Some(table));
        }
        missing = file.location();
    }
    Err(absent(&missing))
}

/// The rows of a run: at their public path, or where they were staged until they are published. `None` when other files have taken their
/// place.
pub(super) async fn run_table(place: &Place, public: &Path, file: &FileRef) -> Result<Option<Table>, LedgerError> {
    // Between a look here and a look there it may have been published.
    for path in [public.clone(), file.location(), public.clone()] {
        if let Some(table) = Table::open(place, path, file, Look::Whole).await? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

fn absent(path: &Path) -> LedgerError {
    LedgerError::Corrupt { path: path.to_string(), problem: "it is missing".to_owned() }
}

/// The rows of a batch that pass the filter; that of time is applied to whole runs, unless rows of several stand in one file.
pub(super) fn select(
    path: &Path,
    rows: Rows,
    filter: &ReadFilter,
    is_merged: bool,
    batch: &RecordBatch,
) -> Result<RecordBatch, LedgerError> {
    let mut kept = batch.clone();
    for (name, wanted) in rows.texts(filter) {
        let texts = column::<StringArray>(path, &kept, name)?;
        let matches: BooleanArray = texts.iter().map(|found| Some(found.is_some_and(|found| wanted.contains(&found)))).collect();
        kept = filtered(path, &kept, &matches)?;
    }
    if is_merged && (filter.from.is_some() || filter.to.is_some()) {
        let (from, to) = (filter.from.map(Timestamp::as_microsecond), filter.to.map(Timestamp::as_microsecond));
        let instants: &TimestampMicrosecondArray = column(path, &kept, rows.instant())?;
        let matches: BooleanArray =
            instants.values().iter().map(|at| Some(from.is_none_or(|from| *at >= from) && to.is_none_or(|to| *at < to))).collect();
        kept = filtered(path, &kept, &matches)?;
    }
    Ok(kept)
}

pub(super) fn filtered(path: &Path, batch: &RecordBatch, wanted: &BooleanArray) -> Result<RecordBatch, LedgerError> {
    filter_record_batch(batch, wanted).map_err(|error| LedgerError::Corrupt { path: path.to_string(), problem: error.to_string() })
}

fn membership(segment_id: &SegmentId, path: &Path, row: &RecordBatch) -> Result<Membership, LedgerError> {
    let entered_at = column::<TimestampMicrosecondArray>(path, row, "entered_at")?.value(0);
    let scores: &Float64Array = column(path, row, "score")?;
    let confidences: &StringArray = column(path, row, "confidence")?;
    Ok(Membership {
        segment_id: segment_id.clone(),
        entered_at: Timestamp::from_microsecond(entered_at)
            .map_err(|error| LedgerError::Corrupt { path: path.to_string(), problem: error.to_string() })?,
        score: scores.is_valid(0).then(|| scores.value(0)),
        confidence: confidences.is_valid(0).then(|| confidences.value(0).to_owned()),
        reason: column::<StringArray>(path, row, "reason")?.value(0).to_owned(),
    })
}
