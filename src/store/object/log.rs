//! The commit log: numbered records, each put if absent, that replay to the state of every tenant. Every so
//! many commits the whole state is written as a checkpoint, with an index of the files that the commits since the last one added, so
//! that neither reading the state nor finding the rows takes longer the older the store is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::layout;
use super::overrides::OverrideRecord;
use super::place::{Created, Place};
use super::record::{
    Action, CommitRecord, FileRef, Index, Progress, RewriteHistory, RunFiles, RunRecord, SegmentRecord, SnapshotChange, decode,
    encode,
};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{DefinitionNote, DefinitionRecord, LedgerError, SegmentState, TenantState};

/// How many records are asked for at once beyond those that are known.
const READ_AHEAD: usize = 8;

/// How often a reader starts over when the files it was told of are gone, because a writer went on meanwhile.
const ATTEMPTS: usize = 5;

/// What the log says up to one commit.
#[derive(Debug, Clone, Default)]
pub(super) struct LogState {
    /// The last commit.
    pub(super) number: u64,
    /// The bytes of its record, by hash; another hash means another log.
    head: Option<blake3::Hash>,
    pub(super) tenants: BTreeMap<TenantId, TenantEntry>,
    /// The last commit that a checkpoint covers.
    pub(super) checkpoint: u64,
    /// The indexes that cover the commits up to the checkpoint, in order, but for those that tenants have their own in place of.
    pub(super) indexes: Vec<IndexRef>,
    /// The files of the commits after it, likewise.
    pub(super) recent: Vec<RunFiles>,
}

/// The state of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TenantEntry {
    /// The newest lease that committed.
    pub(super) lease: u64,
    /// The last commit.
    pub(super) last_commit: u64,
    pub(super) segments: BTreeMap<SegmentId, SegmentEntry>,
    pub(super) jobs: BTreeMap<String, Timestamp>,
    /// Snapshots and the like that were replaced, and are kept a while for those who still read them.
    pub(super) superseded: Vec<Superseded>,
    /// The index of its own, once something was rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<Base>,
}

/// The index of a tenant: it tells of all files of its commits up to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    /// The last commit that it tells of.
    pub(super) through: u64,
    /// The file.
    pub(super) index: String,
    /// The commit that made it.
    pub(super) number: u64,
}

/// An index of the commits of all tenants, from one checkpoint to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyIndexRef")]
pub(super) struct IndexRef {
    /// The last commit before it; unknown for one of the first format.
    pub(super) after: Option<u64>,
    /// Its last commit.
    pub(super) number: u64,
    /// Whose files it tells of; unknown for one of the first format.
    pub(super) tenants: Option<BTreeSet<TenantId>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyIndexRef {
    First(u64),
    Named { after: Option<u64>, number: u64, tenants: Option<BTreeSet<TenantId>> },
}

impl From<AnyIndexRef> for IndexRef {
    fn from(any: AnyIndexRef) -> Self {
        match any {
            AnyIndexRef::First(number) => Self { after: None, number, tenants: None },
            AnyIndexRef::Named { after, number, tenants } => Self { after, number, tenants },
        }
    }
}

impl IndexRef {
    pub(super) fn path(&self) -> Path {
        layout::index(self.after, self.number)
    }

    /// Whether it may tell of files of a tenant that the tenant's own index does not.
    fn may_tell_of(&self, tenant: &TenantId, entry: &TenantEntry) -> bool {
        self.number > entry.through() && self.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant))
    }
}

/// The state of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    pub(super) definition: DefinitionRecord,
    pub(super) note: DefinitionNote,
    pub(super) progress: Progress,
    pub(super) member_count: u64,
    pub(super) snapshot: Option<FileRef>,
    /// What people decided by hand; `None` when they never did.
    #[serde(default)]
    pub(super) overrides: Option<OverrideRecord>,
}

/// A file of a segment that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Superseded {
    pub(super) path: String,
    pub(super) since: Timestamp,
}

/// The state of all tenants as of one commit.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    number: u64,
    tenants: BTreeMap<TenantId, TenantEntry>,
    indexes: Vec<IndexRef>,
}

/// What one writer commits.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) tenant: TenantId,
    pub(super) lease: u64,
    pub(super) attempt: u64,
    pub(super) committed_at: Timestamp,
    pub(super) action: Action,
}

/// Reads the log to its end, on from `known` when that is still a part of it.
pub(super) async fn read(place: &Place, mut known: Option<Arc<LogState>>) -> Result<Arc<LogState>, LedgerError> {
    let (mut missing, mut end) = (1, 0);
    for _ in 0..ATTEMPTS {
        // INVARIANT: this is read before the records are, so that a commit between the two cannot look like a loss.
        let published = published(place).await?;
        let mut state = match known.take() {
            Some(known) if is_current(place, &known).await? => known,
            Some(_) | None => Arc::new(newest_checkpoint(place).await?),
        };
        let first = state.number + 1;
        let mut records = futures::stream::iter(first..).map(|number| read_bytes(place, number)).buffered(READ_AHEAD);
        while let Some(bytes) = records.try_next().await? {
            let Some(bytes) = bytes else { break };
            let record = decode_commit(place, state.number + 1, &bytes)?;
            Arc::make_mut(&mut state).apply(record, blake3::hash(&bytes));
        }
        if published <= state.number {
            return Ok(state);
        }
        // Records of long ago are deleted: whoever comes from so far behind starts over at a checkpoint.
        (missing, end) = (state.number + 1, published);
    }
    Err(LedgerError::Corrupt {
        path: layout::commit(missing).to_string(),
        problem: format!("it is missing, although commits up to {end} were published"),
    })
}

/// One commit, which is known to exist.
pub(super) async fn commit(place: &Place, number: u64) -> Result<CommitRecord, LedgerError> {
    match read_bytes(place, number).await? {
        Some(bytes) => decode_commit(place, number, &bytes),
        None => Err(LedgerError::Corrupt { path: layout::commit(number).to_string(), problem: "it is missing".to_owned() }),
    }
}

/// Reads bytes as the record of a commit, as every reader of the log does, and writes what they say anew: for those who try what becomes of
/// any bytes.
///
/// # Errors
/// When the bytes are no record that this version reads.
pub fn rewritten_commit(bytes: &[u8]) -> Result<Bytes, LedgerError> {
    let path = layout::commit(1);
    let record: CommitRecord = decode("here", &path, bytes)?;
    let rewritten = encode(&path, &record)?;
    LogState::default().apply(record, blake3::hash(bytes));
    Ok(rewritten)
}

/// Adds a commit after `base`. Other tenants may commit meanwhile; a record of the same tenant that is newer than `base` and of no older
/// lease fences this one off. For a run or a rewrite, any record of the same tenant does, since it was computed without it.
pub(super) async fn append(place: &Place, base: Arc<LogState>, entry: Entry) -> Result<Arc<LogState>, LedgerError> {
    let seen = base.tenants.get(&entry.tenant).map_or(0, |tenant| tenant.last_commit);
    let mut state = base;
    loop {
        let number = state.number + 1;
        let Entry { tenant, lease, attempt, committed_at, action } = entry.clone();
        let record = CommitRecord { number, tenant, lease, attempt, committed_at, action };
        let bytes = encode(&layout::commit(number), &record)?;
        let mut created = place.create(&layout::commit(number), bytes.clone()).await;
        if let Ok(Created::New) = created {
            if !is_late(place, number).await {
                return Ok(state.after(record, &bytes));
            }
            place.delete(&layout::commit(number)).await?;
            created = Ok(Created::Taken);
        }
        // A store may report a failure, or its own retry may find the name taken, although this very record was written.
        match (read_bytes(place, number).await?, created) {
            (Some(found), _) if found == bytes && !is_late(place, number).await => {
                place.persist(&[layout::commit(number)]).await?;
                return Ok(state.after(record, &bytes));
            }
            (_, Err(error)) => return Err(error),
            (_, Ok(_)) => {}
        }
        state = read(place, Some(state)).await?;
        if let Some(tenant) = state.tenants.get(&entry.tenant) {
            let fenced = match entry.action {
                Action::Claim => tenant.lease > entry.lease,
                Action::Run(_) | Action::Rewrite(_) => tenant.last_commit > seen,
            };
            if fenced {
                return Err(LedgerError::Fenced { tenant: entry.tenant, number: entry.lease });
            }
        }
    }
}

/// Whether others have gone on for so long that a record of this number was published and deleted before this one was written: then
/// nobody will ever read it. Where that cannot be told it is not assumed, since the record is there.
async fn is_late(place: &Place, number: u64) -> bool {
    published(place).await.is_ok_and(|published| published >= number)
}

/// Writes a checkpoint when the last one is `every` commits old, and deletes those that no reader starts from any more.
pub(super) async fn checkpoint(place: &Place, state: Arc<LogState>, every: u64) -> Result<Arc<LogState>, LedgerError> {
    if state.number < state.checkpoint + every {
        return Ok(state);
    }
    let LogState { number, head, tenants, checkpoint: previous, mut indexes, recent } = (*state).clone();
    if !recent.is_empty() {
        let index =
            IndexRef { after: Some(previous), number, tenants: Some(recent.iter().map(|files| files.tenant.clone()).collect()) };
        let path = index.path();
        place.replace(&path, encode(&path, &recent)?).await?;
        place.persist(&[path]).await?;
        indexes.push(index);
    }
    // What every tenant has its own index in place of is looked up no more.
    indexes.retain(|index| tenants.iter().any(|(tenant, entry)| index.may_tell_of(tenant, entry)));
    let path = layout::checkpoint(number);
    let checkpoint = Checkpoint { number, tenants, indexes };
    place.replace(&path, encode(&path, &checkpoint)?).await?;
    place.persist(&[path]).await?;
    for older in checkpoint_numbers(place).await?.into_iter().filter(|&older| older < previous) {
        place.delete(&layout::checkpoint(older)).await?;
    }
    let Checkpoint { number, tenants, indexes } = checkpoint;
    Ok(Arc::new(LogState { number, head, tenants, checkpoint: number, indexes, recent: Vec::new() }))
}

/// The number up to which the public files are in place.
pub(super) async fn published(place: &Place) -> Result<u64, LedgerError> {
    let path = layout::published();
    let Some(bytes) = place.read(&path).await? else { return Ok(0) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok());
    number.ok_or_else(|| LedgerError::Corrupt { path: path.to_string(), problem: "it holds no number".to_owned() })
}

/// Notes that the public files are in place up to `number`.
pub(super) async fn set_published(place: &Place, number: u64) -> Result<(), LedgerError> {
    place.replace(&layout::published(), Bytes::from(format!("{number}\n"))).await
}

/// Whether the log still holds the commit that `known` ends with: a store that was deleted and made anew does not, nor one whose
/// records of long ago were deleted.
async fn is_current(place: &Place, known: &LogState) -> Result<bool, LedgerError> {
    if known.number == 0 {
        return Ok(false);
    }
    let found = read_bytes(place, known.number).await?;
    Ok(found.map(|bytes| blake3::hash(&bytes)) == known.head)
}

/// What is known of the files of a tenant, up to its last commit.
pub(super) async fn index_of(place: &Place, state: &LogState, tenant: &TenantId) -> Result<Index, LedgerError> {
    index_up_to(place, state, tenant, |_| Reach::Further).await.map(|(index, _)| index)
}

/// Whether what was read of an index suffices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Further,
    Enough,
}

/// As [`index_of`], up to a commit where it is enough; returns that commit, too.
pub(super) async fn index_up_to(
    place: &Place,
    state: &LogState,
    tenant: &TenantId,
    enough: impl Fn(&Index) -> Reach,
) -> Result<(Index, u64), LedgerError> {
    let Some(entry) = state.tenants.get(tenant) else { return Ok((Index::default(), state.number)) };
    let mut index = match &entry.base {
        Some(base) => read_record(place, &Path::from(base.index.as_str())).await?,
        None => Index::default(),
    };
    let mut through = entry.through();
    let before = std::iter::once(0).chain(state.indexes.iter().map(|index| index.number));
    let told = state.indexes.iter().zip(before).filter(|(index, _)| index.may_tell_of(tenant, entry));
    let paths: Vec<(u64, u64, Path)> = told.map(|(index, before)| (before, index.number, index.path())).collect();
    let mut read = futures::stream::iter(paths)
        .map(|(before, number, path)| async move {
            let runs: Vec<RunFiles> = read_record(place, &path).await?;
            match runs.iter().find(|files| files.number <= before || files.number > number) {
                Some(files) => {
                    let problem = format!("it holds commit {}", files.number);
                    Err(LedgerError::Corrupt { path: path.to_string(), problem })
                }
                None => Ok((number, runs)),
            }
        })
        .buffered(READ_AHEAD);
    while let Some((number, runs)) = read.try_next().await? {
        index.add(runs.into_iter().filter(|files| files.tenant == *tenant && files.number > through));
        through = number;
        if enough(&index) == Reach::Enough {
            return Ok((index, through));
        }
    }
    index.add(state.recent.iter().filter(|files| files.tenant == *tenant && files.number > through).cloned());
    Ok((index, state.number))
}

/// The indexes that a checkpoint refers to.
pub(super) async fn indexes_of(place: &Place, number: u64) -> Result<Vec<IndexRef>, LedgerError> {
    let checkpoint: Checkpoint = read_record(place, &layout::checkpoint(number)).await?;
    Ok(checkpoint.indexes)
}

/// Fails unless an index can be read.
pub(super) async fn check_index(place: &Place, index: &IndexRef) -> Result<(), LedgerError> {
    let _runs: Vec<RunFiles> = read_record(place, &index.path()).await?;
    Ok(())
}

/// Whether the records of commits from one to another are all there, whole.
pub(super) async fn has_commits(place: &Place, first: u64, last: u64) -> Result<bool, LedgerError> {
    for number in first..=last {
        match commit(place, number).await {
            Ok(_) => {}
            Err(LedgerError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Writes an index anew, from the records of its commits.
pub(super) async fn rebuild_index(place: &Place, index: &IndexRef, first: u64) -> Result<(), LedgerError> {
    let mut state = LogState { number: first - 1, ..LogState::default() };
    for number in first..=index.number {
        let record = commit(place, number).await?;
        state.apply(record, blake3::hash(&[]));
    }
    let path = index.path();
    place.replace(&path, encode(&path, &state.recent)?).await?;
    place.persist(&[path]).await
}

async fn read_record<T: serde::de::DeserializeOwned>(place: &Place, path: &Path) -> Result<T, LedgerError> {
    match place.read(path).await? {
        Some(bytes) => decode(place.location(), path, &bytes),
        None => Err(LedgerError::Corrupt { path: path.to_string(), problem: "it is missing".to_owned() }),
    }
}

async fn newest_checkpoint(place: &Place) -> Result<LogState, LedgerError> {
    for _ in 0..ATTEMPTS {
        let Some(number) = checkpoint_numbers(place).await?.into_iter().max() else { return Ok(LogState::default()) };
        let path = layout::checkpoint(number);
        let Some(bytes) = place.read(&path).await? else { continue };
        let Checkpoint { number, tenants, indexes } = decode(place.location(), &path, &bytes)?;
        let head = read_bytes(place, number).await?.map(|bytes| blake3::hash(&bytes));
        return Ok(LogState { number, head, tenants, checkpoint: number, indexes, recent: Vec::new() });
    }
    Err(LedgerError::Corrupt {
        path: layout::checkpoints().to_string(),
        problem: "its files vanish while they are read".to_owned(),
    })
}

/// The numbers of the checkpoints that there are.
pub(super) async fn checkpoint_numbers(place: &Place) -> Result<Vec<u64>, LedgerError> {
    Ok(place.list(&layout::checkpoints()).await?.iter().filter_map(layout::numbered).collect())
}

async fn read_bytes(place: &Place, number: u64) -> Result<Option<Bytes>, LedgerError> {
    place.read(&layout::commit(number)).await
}

fn decode_commit(place: &Place, number: u64, bytes: &[u8]) -> Result<CommitRecord, LedgerError> {
    let path: Path = layout::commit(number);
    let record: CommitRecord = decode(place.location(), &path, bytes)?;
    if record.number == number {
        Ok(record)
    } else {
        Err(LedgerError::Corrupt { path: path.to_string(), problem: format!("it holds commit {}", record.number) })
    }
}

impl LogState {
    /// Whether an index still tells of files that no tenant's own index does. What is said here of one that a checkpoint refers to holds for
    /// whoever begins with that checkpoint: the records after it are read before the index is.
    pub(super) fn needs(&self, index: &IndexRef) -> bool {
        self.tenants.iter().any(|(tenant, entry)| index.may_tell_of(tenant, entry))
    }

    fn after(&self, record: CommitRecord, bytes: &[u8]) -> Arc<Self> {
        let mut next = self.clone();
        next.apply(record, blake3::hash(bytes));
        Arc::new(next)
    }

    fn apply(&mut self, record: CommitRecord, hash: blake3::Hash) {
        let CommitRecord { number, tenant, lease, attempt: _, committed_at, action } = record;
        self.number = number;
        self.head = Some(hash);
        let entry = self.tenants.entry(tenant.clone()).or_default();
        entry.lease = entry.lease.max(lease);
        entry.last_commit = number;
        match action {
            Action::Claim => {}
            Action::Run(run) => {
                if run.changes.is_some() || run.history.is_some() || !run.kept.is_empty() {
                    self.recent.push(RunFiles {
                        number,
                        tenant,
                        run_id: run.run_id,
                        kind: run.kind,
                        as_of: run.as_of,
                        evaluation_date: run.evaluation_date,
                        changes: run.changes.clone(),
                        history: run.history.clone(),
                        merged: None,
                        kept: run.kept.clone(),
                    });
                }
                entry.apply(run, committed_at);
            }
            Action::Rewrite(rewrite) => {
                self.recent.retain(|files| files.tenant != tenant || files.number > rewrite.through);
                entry.base = Some(Base { through: rewrite.through, index: rewrite.index, number });
                for (id, file) in rewrite.snapshots {
                    if let Some(segment) = entry.segments.get_mut(&id)
                        && let Some(old) = segment.snapshot.replace(file)
                    {
                        entry.superseded.push(Superseded { path: old.path, since: committed_at });
                    }
                }
                for (id, record) in rewrite.overrides {
                    entry.replace_overrides(&id, record, committed_at);
                }
                for (id, count) in rewrite.counts {
                    if let Some(segment) = entry.segments.get_mut(&id) {
                        segment.member_count = count;
                    }
                }
                entry.superseded.retain(|superseded| !rewrite.discarded.contains(&superseded.path));
                if let Some(RewriteHistory { kind, as_of, evaluation_date, file }) = rewrite.history {
                    self.recent.push(RunFiles {
                        number,
                        tenant,
                        run_id: rewrite.rewrite_id,
                        kind,
                        as_of,
                        evaluation_date,
                        changes: None,
                        history: Some(file),
                        merged: None,
                        kept: Vec::new(),
                    });
                }
            }
        }
    }
}

impl Index {
    fn add(&mut self, runs: impl Iterator<Item = RunFiles>) {
        for mut files in runs {
            self.kept.append(&mut files.kept);
            self.runs.push(files);
        }
    }
}

impl TenantEntry {
    /// The last commit that the tenant's own index tells of.
    pub(super) fn through(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.through)
    }

    /// What everyone may know of it.
    pub(super) fn public(&self) -> TenantState {
        let segments = self.segments.iter().map(|(id, segment)| (id.clone(), segment.public())).collect();
        TenantState { segments, jobs: self.jobs.clone() }
    }

    fn apply(&mut self, run: RunRecord, committed_at: Timestamp) {
        self.superseded.retain(|superseded| !run.discarded.contains(&superseded.path));
        for (id, record) in run.segments {
            let previous = self.segments.remove(&id);
            let old_snapshot = previous.as_ref().and_then(|segment| segment.snapshot.clone());
            let previous_overrides = previous.as_ref().and_then(|segment| segment.overrides.clone());
            let next = match record {
                SegmentRecord::Deleted => None,
                SegmentRecord::Updated { definition, progress, figures, snapshot } => {
                    let note = previous.as_ref().map_or(DefinitionNote::Present, |segment| segment.note.clone());
                    // INVARIANT: the first record of a segment carries its definition.
                    definition.or_else(|| previous.map(|segment| segment.definition)).map(|definition| {
                        let snapshot = match snapshot {
                            SnapshotChange::Kept => old_snapshot.clone(),
                            SnapshotChange::Replaced(file) => Some(file),
                            SnapshotChange::Removed => None,
                        };
                        let overrides = previous_overrides.clone();
                        SegmentEntry { definition, note, progress, member_count: figures.member_count, snapshot, overrides }
                    })
                }
            };
            if let Some(old) = old_snapshot
                && next.as_ref().and_then(|segment| segment.snapshot.as_ref()) != Some(&old)
            {
                self.superseded.push(Superseded { path: old.path, since: committed_at });
            }
            match next {
                Some(next) => {
                    self.segments.insert(id, next);
                }
                None => self.supersede(previous_overrides, committed_at),
            }
        }
        for (id, record) in run.overrides {
            self.replace_overrides(&id, record, committed_at);
        }
        for (id, count) in run.counts {
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.member_count = count;
            }
        }
        for (id, note) in run.notes {
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.note = note;
            }
        }
        self.jobs.extend(run.jobs);
    }

    fn replace_overrides(&mut self, id: &SegmentId, record: OverrideRecord, since: Timestamp) {
        if let Some(segment) = self.segments.get_mut(id) {
            let replaced = segment.overrides.replace(record);
            self.supersede(replaced, since);
        }
    }

    fn supersede(&mut self, overrides: Option<OverrideRecord>, since: Timestamp) {
        self.superseded.extend(overrides.map(|old| Superseded { path: old.file.path, since }));
    }
}

impl SegmentEntry {
    fn public(&self) -> SegmentState {
        let Progress { computed_at, computed_hash: _, attempted_at, errors, last_error, held, run_id, duration_ms } =
            self.progress.clone();
        SegmentState {
            definition: self.definition.clone(),
            note: self.note.clone(),
            member_count: self.member_count,
            computed_at,
            attempted_at,
            errors,
            last_error,
            held,
            overrides: self.overrides.as_ref().map_or(0, |overrides| overrides.in_force),
            run_id,
            duration_ms,
        }
    }
}
