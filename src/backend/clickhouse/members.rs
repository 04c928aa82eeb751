//! [`RemoteMembers`]: sets of subjects that stay on the server. What is known of them here is where they stand and how many there are.

use uuid::Uuid;

use super::events::ID;
use super::sql::{Expr, Query, Source, TableName, formula};
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

    /// The empty set.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new(Kept::Nobody, 0)
    }

    /// Where they stand.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The rows of their ids, as `id`. Segmenta's tables are in this database.
    pub(super) fn ids(&self, database: &str) -> Query {
        let mut rows = self.rows(database);
        rows.columns.truncate(1);
        rows
    }

    /// Their rows: `id`, and `score` in billionths.
    pub(super) fn rows(&self, database: &str) -> Query {
        let from = |table: &str| Source::Table(TableName { database: database.to_owned(), table: table.to_owned() });
        let (id, score, source, filter) = match &self.kept {
            Kept::Nobody => (formula!("''"), formula!("CAST(NULL AS Nullable(Int64))"), Source::One, Expr::any([])),
            Kept::Evaluated { evaluation, output } => {
                let of = [
                    formula!("{0} = {1}", Expr::column("evaluation"), Expr::uuid(*evaluation)),
                    formula!("{0} = {1}", Expr::column("output"), Expr::number("UInt32", output)),
                ];
                (Expr::column("subject_id"), Expr::column("score"), from(EVALUATIONS), Expr::all(of))
            }
            Kept::Stored { tenant, segment, run_id } => {
                let of = [
                    formula!("{0} = {1}", Expr::column("tenant"), Expr::text(tenant.as_str())),
                    formula!("{0} = {1}", Expr::column("segment_id"), Expr::text(segment.as_str())),
                    formula!("{0} = {1}", Expr::column("run_id"), Expr::uuid(*run_id)),
                ];
                let billionths = formula!("CAST(round({0} * 1000000000) AS Nullable(Int64))", Expr::column("score"));
                (Expr::column("subject_id"), billionths, from(MEMBERS), Expr::all(of))
            }
        };
        Query { filter: Some(filter), ..Query::select(vec![(id, ID.to_owned()), (score, "score".to_owned())], source) }
    }
}

impl MemberSet for RemoteMembers {
    fn count(&self) -> u64 {
        self.count
    }
}
