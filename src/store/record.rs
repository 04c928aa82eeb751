//! What a ledger keeps of tenants, segments and runs beside their rows. Plain data; nothing here reads or writes.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::condition::Subject;
use crate::model::guard::MaxChange;
use crate::model::id::{SegmentId, TenantId};
use crate::model::segment::{Kind, Status};

/// What a lease protects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseScope {
    /// The one scheduler of a store, held for its life.
    Scheduler,
    /// Writing to a tenant, held for one run or edit.
    Tenant(TenantId),
}

/// As it stands in messages: `the scheduler of this store`, ``tenant `demo` ``.
impl fmt::Display for LeaseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduler => f.write_str("the scheduler of this store"),
            Self::Tenant(tenant) => write!(f, "tenant `{tenant}`"),
        }
    }
}

/// Why a history row was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A refresh.
    Run,
    /// The figures of a day.
    Daily,
    /// An edit by hand, or the end of a segment.
    Manual,
    /// A past instant.
    Backfill,
    /// The erasure of a person.
    Erase,
}

impl RunKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Run, Self::Daily, Self::Manual, Self::Backfill, Self::Erase];

    /// The kinds whose rows follow each from the one before: the count there, plus added, minus removed.
    pub const COUNTING: [Self; 3] = [Self::Run, Self::Manual, Self::Erase];

    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Daily => "daily",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
            Self::Erase => "erase",
        }
    }
}

/// A definition as it was in force in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionRecord {
    /// BLAKE3, hex, of the meaning: equal hashes have equal members.
    pub hash: String,
    /// Canonical JSON.
    pub json: String,
    /// What it contains.
    pub subject: Subject,
    /// Where its members come from.
    pub kind: Kind,
    /// Whether it is recomputed.
    pub status: Status,
}

/// A segment's figures in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Members after it.
    pub member_count: u64,
    /// Who entered.
    pub added_count: u64,
    /// Who left.
    pub removed_count: u64,
}

impl Figures {
    /// Why so many changes, of so many members before, are held; `None` when they are not too many.
    #[must_use]
    pub fn objection(&self, members: u64, max_change: &MaxChange) -> Option<String> {
        let allowed = max_change.allows(members, self.added_count.saturating_add(self.removed_count));
        (!allowed).then(|| max_change.objection(members, self.added_count, self.removed_count))
    }
}

/// What the store knows of a definition besides its members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionNote {
    /// It is there and valid.
    #[default]
    Present,
    /// It disappeared; the members stay until the segment is deleted.
    Missing,
    /// Its file is invalid now; the last valid form is in force. The first error, one line.
    Invalid(String),
}

impl DefinitionNote {
    /// What history rows that succeeded say of it in `error`; `None` when the file is in force as it is.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        match self {
            Self::Invalid(error) => Some(format!("its file is invalid, and the last valid form is in force: {error}")),
            Self::Present | Self::Missing => None,
        }
    }
}

/// The committed state of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantState {
    /// Every segment that the store knows.
    pub segments: BTreeMap<SegmentId, SegmentState>,
    /// When each job of the scheduler was last done.
    pub jobs: BTreeMap<String, Timestamp>,
}

/// The committed state of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentState {
    /// The definition of the last run, valid when it was run.
    pub definition: DefinitionRecord,
    /// What is known of its file.
    pub note: DefinitionNote,
    /// Members now.
    pub member_count: u64,
    /// `as_of` of the last run that succeeded.
    pub computed_at: Option<Timestamp>,
    /// `as_of` of the last run, whatever came of it.
    pub attempted_at: Timestamp,
    /// Runs that failed since one succeeded.
    pub errors: u32,
    /// Why the last run failed; `None` when it did not.
    pub last_error: Option<String>,
    /// Why the result of the last run is held; `None` when it is not.
    #[serde(default)]
    pub held: Option<String>,
    /// Of how many subjects people decided by hand, as it is after the last run.
    #[serde(default)]
    pub overrides: u64,
    /// The last run.
    pub run_id: Uuid,
    /// How long it took.
    pub duration_ms: u64,
}
