//! What the commit log says: the state of every tenant, as records come to it one after the other. Nothing here reads or writes a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::layout;
use super::record::{
    Action, CommitRecord, FileRef, OverrideRecord, Progress, RewriteHistory, RunFiles, RunRecord, SegmentRecord, SnapshotChange,
    decode, encode,
};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{DefinitionNote, DefinitionRecord, LedgerError, SegmentState, TenantState};

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

/// What the log says up to one commit.
#[derive(Debug, Clone, Default)]
pub(super) struct LogState {
    /// The last commit.
    pub(super) number: u64,
    /// The bytes of its record, by hash; another hash means another log.
    pub(super) head: Option<blake3::Hash>,
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
    pub(super) fn may_tell_of(&self, tenant: &TenantId, entry: &TenantEntry) -> bool {
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

impl LogState {
    /// Whether an index still tells of files that no tenant's own index does. What is said here of one that a checkpoint refers to holds for
    /// whoever begins with that checkpoint: the records after it are read before the index is.
    pub(super) fn needs(&self, index: &IndexRef) -> bool {
        self.tenants.iter().any(|(tenant, entry)| index.may_tell_of(tenant, entry))
    }

    pub(super) fn after(&self, record: CommitRecord, bytes: &[u8]) -> Arc<Self> {
        let mut next = self.clone();
        next.apply(record, blake3::hash(bytes));
        Arc::new(next)
    }

    pub(super) fn apply(&mut self, record: CommitRecord, hash: blake3::Hash) {
        let CommitRecord { number, tenant, lease, attempt: _, committed_at, previous: _, action } = record;
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
