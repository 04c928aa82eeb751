//! [`RemoteMembers`]: sets of subjects that stay on the server. What is known of them here is where they stand and how many there are.

use uuid::Uuid;

use crate::backend::MemberSet;
use crate::model::id::{SegmentId, TenantId};

/// The table of what evaluations found: `evaluation UUID, output UInt32, subject_id String, score Nullable(Int64)` in billionths.
pub const EVALUATIONS: &str = "segmenta_evaluations";

/// The table of snapshots: `tenant String, segment_id String, run_id UUID, subject_id String, ...`.
pub const MEMBERS: &str = "segmenta_members";

/// A set of subjects on the server.
#[derive(Debug, Clone)]
pub struct RemoteMembers {
    kept: Kept,
    count: u64,
}

/// Where subjects stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nobody is in the set.
    Nobody,
    /// The subjects of an output of an evaluation, in [`EVALUATIONS`].
    Evaluated {
        /// Which evaluation.
        evaluation: Uuid,
        /// Which output.
        output: u32,
    },
    /// The snapshot of a segment that a run wrote, in [`MEMBERS`].
    Stored {
        /// Whose.
        tenant: TenantId,
        /// Of which segment.
        segment: SegmentId,
        /// The run that wrote it.
        run_id: Uuid,
    },
}

impl RemoteMembers {
    /// So many subjects that stand there.
    #[must_use]
    pub fn new(kept: Kept, count: u64) -> Self {
        Self { kept, count }
    }

    /// Where they stand.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }
}

impl MemberSet for RemoteMembers {
    fn count(&self) -> u64 {
        self.count
    }
}
