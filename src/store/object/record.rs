//! What stands in the JSON files of the log, and how they are read and written. Each carries the number of its format, which a newer
//! version raises when an older one could misread it, and a checksum over the rest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::id::{SegmentId, TenantId};
use crate::store::holder::ProcessRecord;
use crate::store::{DefinitionNote, DefinitionRecord, Figures, LedgerError, RunKind};

/// The newest format that this version reads, and the one that it writes. Since 2 there are rewrites, which a version that knows only 1
/// would take for damage.
pub(super) const FORMAT: u32 = 2;

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CommitRecord {
    pub(super) number: u64,
    pub(super) tenant: TenantId,
    /// The write lease that the commit was made under.
    pub(super) lease: u64,
    /// Tells the commits of one lease apart, so that a writer recognises its own.
    pub(super) attempt: u64,
    pub(super) committed_at: Timestamp,
    /// BLAKE3 of the bytes of the record before it, hex: whoever reads one after the other notices one of another store. Absent in the first,
    /// and in those of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    pub(super) action: Action,
}

/// What a commit does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// Fences off every older lease of the tenant.
    Claim,
    /// Makes a run visible.
    Run(RunRecord),
    /// Puts other files in the place of those that commits added.
    Rewrite(RewriteRecord),
}

/// What a run changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunRecord {
    pub(super) run_id: Uuid,
    pub(super) kind: RunKind,
    pub(super) as_of: Timestamp,
    pub(super) evaluation_date: Date,
    pub(super) segments: BTreeMap<SegmentId, SegmentRecord>,
    pub(super) changes: Option<FileRef>,
    pub(super) history: Option<FileRef>,
    /// Counts that were found to differ from the rows of the snapshots.
    pub(super) counts: BTreeMap<SegmentId, u64>,
    pub(super) jobs: BTreeMap<String, Timestamp>,
    pub(super) notes: BTreeMap<SegmentId, DefinitionNote>,
    /// What people decided about segments, where this run edits it.
    #[serde(default)]
    pub(super) overrides: BTreeMap<SegmentId, OverrideRecord>,
    /// Superseded files that this run deletes.
    pub(super) discarded: Vec<String>,
    /// Snapshots that this run replaces and that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<KeptSnapshot>,
}

/// What people decided about a segment, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OverrideRecord {
    /// The decisions.
    pub(super) file: FileRef,
    /// About how many subjects something is decided after the last of them.
    pub(super) in_force: u64,
}

/// What a rewrite changes: which files hold the rows of the past, and not what they say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RewriteRecord {
    pub(super) rewrite_id: Uuid,
    /// What for.
    pub(super) purpose: Purpose,
    /// The last commit whose files the index tells of.
    pub(super) through: u64,
    /// The index of all files of the tenant up to that commit, in place of every index before it.
    pub(super) index: String,
    /// New files, each with its public path.
    pub(super) published: Vec<Publication>,
    /// Public files that they take the place of.
    pub(super) retracted: Vec<String>,
    /// Immutable files that nothing refers to any more.
    pub(super) discarded: Vec<String>,
    /// Current snapshots that take the place of damaged ones, with the same members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) snapshots: BTreeMap<SegmentId, FileRef>,
    /// What people decided about segments, without those whom it was decided about that are erased.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) overrides: BTreeMap<SegmentId, OverrideRecord>,
    /// Counts that were found to differ from the rows of the snapshots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) counts: BTreeMap<SegmentId, u64>,
    /// History rows of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) history: Option<RewriteHistory>,
}

/// The history rows of a rewrite that takes somebody away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RewriteHistory {
    pub(super) kind: RunKind,
    pub(super) as_of: Timestamp,
    pub(super) evaluation_date: Date,
    pub(super) file: FileRef,
}

/// What a rewrite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    /// Fewer files, and none of rows that are kept no longer.
    Compaction,
    /// What was damaged is whole again.
    Repair,
    /// Nothing is left of a subject.
    Erasure,
}

/// A file that is to be found at a public path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publication {
    pub(super) file: FileRef,
    pub(super) public: String,
}

/// A snapshot of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptSnapshot {
    pub(super) segment: SegmentId,
    /// The last commit whose changes it contains; of one that a backfill evaluated, the last one before it.
    pub(super) number: u64,
    /// `as_of` of the run that it is the outcome of.
    pub(super) at: Timestamp,
    /// `as_of` of the run that replaced it, when that is known.
    pub(super) until: Option<Timestamp>,
    pub(super) file: FileRef,
    pub(super) public: String,
    /// Whether the changes up to it are gone, so that whoever replays begins with it.
    pub(super) is_baseline: bool,
    /// The hash of the definition that a backfill evaluated it by. It says what was at its own instant, and no change that was recorded
    /// follows on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backfilled_by: Option<String>,
}

impl KeptSnapshot {
    /// Whether it is the outcome of a run, and changes of later ones follow on it.
    pub(super) fn is_recorded(&self) -> bool {
        self.backfilled_by.is_none()
    }
}

/// What a run makes of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SegmentRecord {
    /// It goes on.
    Updated {
        /// Its definition, when it is another than before.
        definition: Option<DefinitionRecord>,
        progress: Progress,
        figures: Figures,
        snapshot: SnapshotChange,
    },
    /// The store forgets it.
    Deleted,
}

/// What a run makes of a segment's snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SnapshotChange {
    Kept,
    Replaced(FileRef),
    Removed,
}

/// How far the evaluation of a segment came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) computed_at: Option<Timestamp>,
    /// The hash of the definition that the current members come from.
    pub(super) computed_hash: Option<String>,
    pub(super) attempted_at: Timestamp,
    pub(super) errors: u32,
    pub(super) last_error: Option<String>,
    /// Why the result of the last run is held.
    #[serde(default)]
    pub(super) held: Option<String>,
    pub(super) run_id: Uuid,
    pub(super) duration_ms: u64,
}

/// An immutable file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRef {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) rows: u64,
    /// BLAKE3 of the bytes, hex.
    pub(super) blake3: String,
}

impl SegmentRecord {
    /// The snapshot that the run wrote.
    pub(super) fn new_snapshot(&self) -> Option<&FileRef> {
        match self {
            Self::Updated { snapshot: SnapshotChange::Replaced(file), .. } => Some(file),
            Self::Updated { snapshot: SnapshotChange::Kept | SnapshotChange::Removed, .. } | Self::Deleted => None,
        }
    }
}

impl FileRef {
    pub(super) fn location(&self) -> Path {
        Path::from(self.path.as_str())
    }
}

/// The rows that one run added, or several that follow one another, of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunFiles {
    /// The commit; of several the last.
    pub(super) number: u64,
    pub(super) tenant: TenantId,
    /// The run; of several what put their rows together.
    pub(super) run_id: Uuid,
    /// Why there was a run; of several the first.
    #[serde(default = "a_run")]
    pub(super) kind: RunKind,
    /// The instant of the run; of several the last, which is the latest.
    pub(super) as_of: Timestamp,
    pub(super) evaluation_date: Date,
    pub(super) changes: Option<FileRef>,
    pub(super) history: Option<FileRef>,
    /// What is known of several runs, and not of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) merged: Option<Merged>,
    /// Snapshots that the run replaced and that are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<KeptSnapshot>,
}

/// Several runs whose rows stand in one file, in the order of their commits. Their instants do not go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Merged {
    /// The first commit.
    pub(super) first: u64,
    /// The instant of the first run.
    pub(super) from: Timestamp,
    /// The segments that the changes tell of.
    pub(super) changed: BTreeSet<SegmentId>,
    /// The segments that the history tells of.
    pub(super) recorded: BTreeSet<SegmentId>,
}

/// What is known of the files of a tenant up to one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// In the order of the commits.
    pub(super) runs: Vec<RunFiles>,
    /// In the order of the commits.
    pub(super) kept: Vec<KeptSnapshot>,
    /// Of segments whose first history rows are gone, the count that the next one follows.
    pub(super) counts: BTreeMap<SegmentId, u64>,
}

/// What runs were when nobody wrote down what they were.
fn a_run() -> RunKind {
    RunKind::Run
}

impl RunFiles {
    /// The first commit.
    pub(super) fn first(&self) -> u64 {
        self.merged.as_ref().map_or(self.number, |merged| merged.first)
    }

    /// The instant of the first run.
    pub(super) fn from(&self) -> Timestamp {
        self.merged.as_ref().map_or(self.as_of, |merged| merged.from)
    }
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    /// For people.
    pub(super) holder: String,
    /// The machine, and on it the process, that holds it.
    pub(super) process: Option<ProcessRecord>,
    /// Tells leases of one number apart, so that a holder recognises its own.
    pub(super) token: Uuid,
    pub(super) acquired_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// Grows with each renewal: a waiter that sees it stand still knows without a clock that nobody renews.
    pub(super) renewals: u64,
    pub(super) condition: LeaseCondition,
}

/// Whether a lease is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LeaseCondition {
    Held,
    Released,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    blake3: String,
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Read<'a> {
    blake3: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The bytes of a file that holds `record`.
pub(super) fn encode<T: Serialize>(path: &Path, record: &T) -> Result<Bytes, LedgerError> {
    let encoded = serde_json::value::to_raw_value(record).and_then(|body| {
        let blake3 = blake3::hash(body.get().as_bytes()).to_hex().to_string();
        serde_json::to_vec(&Written { format: FORMAT, blake3, body: &body })
    });
    encoded.map(Bytes::from).map_err(|source| LedgerError::Io { operation: "write", path: path.to_string(), source: source.into() })
}

/// The record in the bytes of a file; `location` names the store in messages.
pub(super) fn decode<T: DeserializeOwned>(location: &str, path: &Path, bytes: &[u8]) -> Result<T, LedgerError> {
    let damaged = |problem: String| LedgerError::Corrupt { path: path.to_string(), problem };
    let Format { format } = serde_json::from_slice(bytes).map_err(|error| damaged(format!("it is no record: {error}")))?;
    if format > FORMAT {
        return Err(LedgerError::NewerFormat { location: location.to_owned(), found: format, supported: FORMAT });
    }
    let read: Read<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(format!("it is no record: {error}")))?;
    if blake3::hash(read.body.get().as_bytes()).to_hex().as_str() != read.blake3 {
        return Err(damaged("its checksum differs".to_owned()));
    }
    serde_json::from_str(read.body.get()).map_err(|error| damaged(format!("its record is not as expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        let path = Path::from("log/x.json");
        let bytes = encode(&path, &vec![1, 2, 3]).unwrap();
        assert_eq!(decode::<Vec<u32>>("here", &path, &bytes).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error() {
        let path = Path::from("log/x.json");
        let bytes = encode(&path, &vec![10, 20, 30]).unwrap();
        for position in 0..bytes.len() {
            assert!(decode::<Vec<u32>>("here", &path, &bytes[..position]).is_err());
            let mut flipped = bytes.to_vec();
            flipped[position] ^= 1;
            if let Ok(read) = decode::<Vec<u32>>("here", &path, &flipped) {
                assert_eq!(read, [10, 20, 30], "a flip at {position} went unnoticed");
            }
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let path = Path::from("log/x.json");
        let error = decode::<Vec<u32>>("here", &path, br#"{"format":9,"blake3":7,"surprise":{}}"#).unwrap_err();
        assert!(matches!(error, LedgerError::NewerFormat { found: 9, supported: FORMAT, .. }), "{error}");
    }
}
