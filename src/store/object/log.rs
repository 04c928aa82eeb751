//! The commit log: numbered records, each put if absent, that replay to the state of every tenant. Every so
//! many commits the whole state is written as a checkpoint, with an index of the files that the commits since the last one added, so
//! that neither reading the state nor finding the rows takes longer the older the store is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::layout;
use super::place::{Created, Place};
use super::record::{Action, CommitRecord, Index, RunFiles, decode, encode};

pub(super) use super::state::{IndexRef, LogState, SegmentEntry, TenantEntry};
use crate::model::id::TenantId;
use crate::store::LedgerError;

/// How many records are asked for at once beyond those that are known.
const READ_AHEAD: usize = 8;

/// How often a reader starts over when the files it was told of are gone, because a writer went on meanwhile.
const ATTEMPTS: usize = 5;

/// The state of all tenants as of one commit.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    number: u64,
    /// BLAKE3 of the bytes of the record of the last commit, hex; absent in those of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<String>,
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
            check_follows(&state, &record)?;
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

/// Fails unless a record is the one that was written after the last one of a state, as far as both tell.
fn check_follows(state: &LogState, record: &CommitRecord) -> Result<(), LedgerError> {
    let head = state.head.map(|head| head.to_hex());
    match (&head, &record.previous) {
        (Some(head), Some(previous)) if head.as_str() != previous => Err(LedgerError::Corrupt {
            path: layout::commit(record.number).to_string(),
            problem: "it does not follow on the commit before it: one of the two is of another store".to_owned(),
        }),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// One commit, which is known to exist.
pub(super) async fn commit(place: &Place, number: u64) -> Result<CommitRecord, LedgerError> {
    match read_bytes(place, number).await? {
        Some(bytes) => decode_commit(place, number, &bytes),
        None => Err(LedgerError::Corrupt { path: layout::commit(number).to_string(), problem: "it is missing".to_owned() }),
    }
}

/// Adds a commit after `base`. Other tenants may commit meanwhile; a record of the same tenant that is newer than `base` and of no older
/// lease fences this one off. For a run or a rewrite, any record of the same tenant does, since it was computed without it.
pub(super) async fn append(place: &Place, base: Arc<LogState>, entry: Entry) -> Result<Arc<LogState>, LedgerError> {
    let seen = base.tenants.get(&entry.tenant).map_or(0, |tenant| tenant.last_commit);
    let mut state = base;
    loop {
        let number = state.number + 1;
        let Entry { tenant, lease, attempt, committed_at, action } = entry.clone();
        let previous = state.head.map(|head| head.to_hex().to_string());
        let record = CommitRecord { number, tenant, lease, attempt, committed_at, previous, action };
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
    let checkpoint = Checkpoint { number, head: head.map(|head| head.to_hex().to_string()), tenants, indexes };
    place.replace(&path, encode(&path, &checkpoint)?).await?;
    place.persist(&[path]).await?;
    for older in checkpoint_numbers(place).await?.into_iter().filter(|&older| older < previous) {
        place.delete(&layout::checkpoint(older)).await?;
    }
    let Checkpoint { number, tenants, indexes, .. } = checkpoint;
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
        let Checkpoint { number, head, tenants, indexes } = decode(place.location(), &path, &bytes)?;
        let head = match head.and_then(|head| blake3::Hash::from_hex(head).ok()) {
            Some(head) => Some(head),
            None => read_bytes(place, number).await?.map(|bytes| blake3::hash(&bytes)),
        };
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

impl Index {
    fn add(&mut self, runs: impl Iterator<Item = RunFiles>) {
        for mut files in runs {
            self.kept.append(&mut files.kept);
            self.runs.push(files);
        }
    }
}
