//! [`RemoteMembers`]: sets of subjects that stay on the server. What is known of them here is where they stand and how many there are.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::events::ID;
use super::sql::{Expr, Query, Source, TableName, formula};
use crate::backend::MemberSet;
use crate::model::id::{SegmentId, TenantId};
use crate::model::manual::Override;

/// The table of what evaluations found: `evaluation UUID, output UInt32, subject_id String, score Nullable(Int64)` in billionths.
pub const EVALUATIONS: &str = "segmenta_evaluations";

/// The table of snapshots: `tenant String, segment_id String, run_id UUID, subject_id String, ...`.
pub const MEMBERS: &str = "segmenta_members";

/// The table of edits of what people decide by hand: `tenant String, segment_id String, subject_id String, action String, reason String,
/// since DateTime64, run_id UUID, commit_number UInt64, ...`.
pub const OVERRIDES: &str = "segmenta_overrides";

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
    /// Those of whom people decided by hand, in [`OVERRIDES`].
    Decided {
        /// By which edits.
        edits: Arc<Edits>,
        /// What is decided of them after the last of these; everyone whom they are about when absent.
        decision: Option<Override>,
    },
}

/// Edits of what people decide about the subjects of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits {
    /// Whose.
    pub tenant: TenantId,
    /// Of which segment.
    pub segment: SegmentId,
    /// The instant up to which edits count.
    pub at: Timestamp,
    /// The runs that made them.
    pub runs: Vec<Uuid>,
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
            Kept::Decided { edits, decision: _ } => {
                let Edits { tenant, segment, at, runs } = edits.as_ref();
                let runs: Vec<String> = runs.iter().map(Uuid::to_string).collect();
                let of = [
                    formula!("{0} = {1}", Expr::column("tenant"), Expr::text(tenant.as_str())),
                    formula!("{0} = {1}", Expr::column("segment_id"), Expr::text(segment.as_str())),
                    formula!("toString({0}) IN {1}", Expr::column("run_id"), Expr::texts(runs.iter().map(String::as_str))),
                    formula!(
                        "{0} <= fromUnixTimestamp64Micro({1}, 'UTC')",
                        Expr::column("since"),
                        Expr::number("Int64", at.as_microsecond())
                    ),
                ];
                (Expr::column("subject_id"), formula!("CAST(NULL AS Nullable(Int64))"), from(OVERRIDES), Expr::all(of))
            }
        };
        let (group, having) = match &self.kept {
            Kept::Decided { edits: _, decision } => (vec![Expr::column("subject_id")], decision.map(is_last)),
            Kept::Nobody | Kept::Evaluated { .. } | Kept::Stored { .. } => (Vec::new(), None),
        };
        let columns = vec![(id, ID.to_owned()), (score, "score".to_owned())];
        Query { filter: Some(filter), group, having, ..Query::select(columns, source) }
    }
}

/// That the last edit decides so.
fn is_last(decision: Override) -> Expr {
    let words = format!("{} {}", decision.verdict.keyword(), decision.origin.keyword());
    let edit = formula!("concat({0}, ' ', {1})", Expr::column("action"), Expr::column("reason"));
    formula!("argMax({0}, {1}) = {2}", edit, Expr::column("commit_number"), Expr::text(&words))
}

impl MemberSet for RemoteMembers {
    fn count(&self) -> u64 {
        self.count
    }
}
