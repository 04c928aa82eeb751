//! The tables and views of a store in ClickHouse: what each holds, and the statements that create them. Columns and words that stand
//! here are the ones that every statement of this ledger uses.

use super::layout::{Layout, Replication};
use super::log::{Tenants, commits, states};
use super::overrides::decisions;
use crate::backend::clickhouse::{EVALUATIONS, MEMBERS, OVERRIDES};
use crate::clickhouse::quoted;

/// Leases, runs, commits and states, in the order of their block numbers.
pub(super) const LOG: &str = "segmenta_log";

/// Every entry and exit.
pub(super) const CHANGES: &str = "segmenta_changes";

/// A row for each segment and run.
pub(super) const HISTORY: &str = "segmenta_history";

/// What a run is about to compare.
pub(super) const STAGED: &str = "segmenta_staged";

/// The statements that create what is not there yet, in their order. Doing them again changes nothing but the views, which are replaced by
/// those of this version.
///
/// ```
/// use segmenta::store::clickhouse::{Layout, ddl};
/// let layout = Layout { database: "marketing".to_owned(), ..Layout::default() };
/// assert!(ddl(&layout)[0].starts_with("CREATE TABLE IF NOT EXISTS `marketing`.segmenta_log"));
/// ```
#[must_use]
pub fn ddl(layout: &Layout) -> Vec<String> {
    let tables =
        [log_table(), members_table(), overrides_table(), changes_table(), history_table(), staged_table(), evaluations_table()];
    let mut statements: Vec<String> = tables.iter().map(|table| table.statement(layout)).collect();
    statements.extend(views(layout).iter().map(|view| view.statement(layout)));
    statements
}

struct Table {
    name: &'static str,
    columns: &'static str,
    /// What follows on the engine.
    storage: &'static str,
}

struct View {
    name: &'static str,
    query: String,
}

impl Table {
    fn statement(&self, layout: &Layout) -> String {
        let engine = match layout.replication {
            Replication::None => "MergeTree",
            Replication::Replicated => "ReplicatedMergeTree",
        };
        let Self { name, columns, storage } = self;
        format!(
            "CREATE TABLE IF NOT EXISTS {}{}\n(\n{columns}\n)\nENGINE = {engine}\n{storage}",
            place(layout, name),
            on_cluster(layout)
        )
    }
}

impl View {
    fn statement(&self, layout: &Layout) -> String {
        format!("CREATE OR REPLACE VIEW {}{} AS\n{}", place(layout, self.name), on_cluster(layout), self.query)
    }
}

fn place(layout: &Layout, name: &str) -> String {
    format!("{}.{name}", quoted(&layout.database))
}

fn on_cluster(layout: &Layout) -> String {
    layout.cluster.as_ref().map(|cluster| format!(" ON CLUSTER {}", quoted(cluster))).unwrap_or_default()
}

/// INVARIANT: no partitions, so that block numbers count the inserts of the whole table, and persisted, so that they outlive merges.
fn log_table() -> Table {
    Table {
        name: LOG,
        columns: "    tenant String COMMENT 'whose; empty for the scheduler',
    kind LowCardinality(String) COMMENT 'claim, renewal, release, begin, commit, state, job, kept, cut, abandoned or catalog',
    lease UInt64 COMMENT 'the lease that it was written under',
    nonce UUID COMMENT 'tells claims of one number apart',
    holder String COMMENT 'who holds the lease, for people',
    process String COMMENT 'the process that holds the lease, as JSON',
    run_id UUID COMMENT 'the run that it is of',
    commit_number UInt64 COMMENT 'the number of the commit among those of the tenant, from 1',
    segment_id String COMMENT 'the segment of a state, or the name of a job',
    state String COMMENT 'what is so from the commit on, as JSON; of a commit its run; empty when the segment was deleted, or the snapshot is kept no longer',
    snapshot UUID COMMENT 'the run that wrote the current members of the segment, or those that are kept; zero when there are none',
    subject LowCardinality(String) COMMENT 'user or product',
    member_count UInt64 COMMENT 'members of the segment',
    at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'when it was written'",
        storage: "ORDER BY (tenant, kind, commit_number, segment_id)
SETTINGS enable_block_number_column = 1
COMMENT 'segmenta: the log, the one source of truth of what is committed'",
    }
}

fn members_table() -> Table {
    Table {
        name: MEMBERS,
        columns: "    tenant String,
    segment_id String,
    run_id UUID COMMENT 'the run that wrote the row',
    subject_id String,
    entered_at DateTime64(6, 'UTC') COMMENT 'as_of of the run in which the subject last entered',
    score Nullable(Float64),
    confidence LowCardinality(Nullable(String)),
    reason LowCardinality(String),
    as_of DateTime64(6, 'UTC')",
        storage: "PARTITION BY run_id
ORDER BY (tenant, segment_id, subject_id)
COMMENT 'segmenta: members as runs wrote them; segment_memberships and product_memberships show the current ones'",
    }
}

fn overrides_table() -> Table {
    Table {
        name: OVERRIDES,
        columns: "    tenant String,
    segment_id String,
    subject_id String,
    action LowCardinality(String) COMMENT 'add, remove or clear',
    reason LowCardinality(String) COMMENT 'manual or import',
    since DateTime64(6, 'UTC') COMMENT 'as_of of the run',
    run_id UUID,
    commit_number UInt64",
        storage: "ORDER BY (tenant, segment_id, subject_id, commit_number)
COMMENT 'segmenta: every edit of what people decided by hand; segment_overrides shows what holds when'",
    }
}

fn changes_table() -> Table {
    Table {
        name: CHANGES,
        columns: "    tenant String,
    segment_id String,
    subject_id String,
    change LowCardinality(String) COMMENT 'enter or exit',
    at DateTime64(6, 'UTC') COMMENT 'as_of of the run',
    reason LowCardinality(String),
    score Nullable(Float64),
    definition_hash LowCardinality(Nullable(String)),
    run_id UUID,
    commit_number UInt64,
    position UInt32 COMMENT 'the place of the segment in the run',
    INDEX run run_id TYPE bloom_filter",
        storage: "PARTITION BY toYYYYMM(at)
ORDER BY (tenant, segment_id, subject_id, commit_number)
COMMENT 'segmenta: every entry and exit; segment_changes shows those of committed runs'",
    }
}

fn history_table() -> Table {
    Table {
        name: HISTORY,
        columns: "    tenant String,
    segment_id String,
    run_id UUID,
    kind LowCardinality(String),
    as_of DateTime64(6, 'UTC'),
    evaluation_date Date32,
    status LowCardinality(String),
    member_count UInt64,
    added_count UInt64,
    removed_count UInt64,
    duration_ms UInt64,
    definition_hash LowCardinality(Nullable(String)),
    error Nullable(String),
    commit_number UInt64,
    position UInt32 COMMENT 'the place of the row in the run'",
        storage: "PARTITION BY toYYYYMM(as_of)
ORDER BY (tenant, segment_id, commit_number)
COMMENT 'segmenta: a row for each segment and run; segment_history shows those of committed runs'",
    }
}

fn staged_table() -> Table {
    Table {
        name: STAGED,
        columns: "    run_id UUID,
    batch UInt32 COMMENT 'what is compared at a time',
    kind LowCardinality(String) COMMENT 'segment, or universe',
    position UInt32 COMMENT 'the place of the segment in the run, or the number of the universe',
    segment_id String,
    source UUID COMMENT 'the evaluation, or the run whose snapshot it is, that has the new members; zero when there are none',
    source_output UInt32 COMMENT 'the output of the evaluation',
    source_segment String COMMENT 'the segment of the snapshot; empty for an evaluation',
    snapshot UUID COMMENT 'the run that wrote the old members; zero when there are none',
    universe UInt32 COMMENT 'the number of the universe; 0 for nobody',
    enter_reason LowCardinality(String),
    exit_reason LowCardinality(String),
    vanish_reason LowCardinality(String) COMMENT 'the reason for those who are not in the universe',
    definition_hash String,
    created_at DateTime DEFAULT now()",
        storage: "PARTITION BY toDate(created_at)
ORDER BY (run_id, batch, kind, position)
TTL created_at + INTERVAL 1 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'segmenta: what runs are about to compare; may be deleted while none runs'",
    }
}

fn evaluations_table() -> Table {
    Table {
        name: EVALUATIONS,
        columns: "    evaluation UUID,
    output UInt32,
    subject_id String,
    score Nullable(Int64) COMMENT 'in billionths',
    created_at DateTime DEFAULT now()",
        storage: "PARTITION BY evaluation
ORDER BY (output, subject_id)
TTL created_at + INTERVAL 1 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'segmenta: what evaluations found; may be deleted while none runs'",
    }
}

/// What analysts read: the tables that the other ledger publishes, by the same names of columns. Whole runs only.
fn views(layout: &Layout) -> [View; 5] {
    let [log, members, changes, history, overrides] = [LOG, MEMBERS, CHANGES, HISTORY, OVERRIDES].map(|name| place(layout, name));
    let commits = commits(&log, Tenants::All);
    let states = states(&log, Tenants::All);
    let memberships = |subject: &str| {
        format!(
            "SELECT tenant, segment_id, subject_id, entered_at, score, confidence, reason, toString(members.run_id) AS run_id, as_of
FROM {members} AS members
WHERE (tenant, segment_id, members.run_id) IN (
    SELECT tenant, segment_id, snapshot FROM ({states}) WHERE kind = 'state' AND subject = '{subject}'
)"
        )
    };
    let committed = |rows: &str| {
        format!("({rows}.tenant, {rows}.commit_number, {rows}.run_id) IN (SELECT tenant, commit_number, run_id FROM ({commits}))")
    };
    [
        View { name: "segment_memberships", query: memberships("user") },
        View { name: "product_memberships", query: memberships("product") },
        View { name: "segment_overrides", query: decisions(&overrides, &committed("overrides")) },
        View {
            name: "segment_changes",
            query: format!(
                "SELECT tenant, segment_id, subject_id, change, at, reason, score, definition_hash, toString(changes.run_id) AS run_id
FROM {changes} AS changes
WHERE {}",
                committed("changes")
            ),
        },
        View {
            name: "segment_history",
            query: format!(
                "SELECT tenant, segment_id, toString(history.run_id) AS run_id, kind, as_of, evaluation_date, status, member_count, added_count,
    removed_count, duration_ms, definition_hash, error
FROM {history} AS history
WHERE {}",
                committed("history")
            ),
        },
    ]
}
