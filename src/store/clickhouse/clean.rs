//! What the beginning of a run tidies up: rows of runs that died, snapshots that were replaced, and rows of the log that say nothing any
//! more. Nobody sees them, so that a run goes on when they cannot be deleted; the next one tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::ClickHouseLedger;
use super::ddl::{CHANGES, HISTORY, LOG};
use super::log::{Tenants, commits, records};
use super::server::{SEGMENTS_AT_ONCE, Server, uuids};
use crate::backend::clickhouse::{MEMBERS, OVERRIDES};
use crate::clickhouse::{Statement, Value};
use crate::model::id::TenantId;
use crate::store::LedgerError;

/// Notes that a run begins, before anything is written of it.
pub(super) async fn note_begin(server: &Server, tenant: &TenantId, run: Uuid, lease: u64) -> Result<(), LedgerError> {
    note(server, "begin", tenant, lease, &[run]).await
}

/// Tidies up under the newest lease of a tenant.
pub(super) async fn clean(ledger: &ClickHouseLedger, tenant: &TenantId, lease: u64) {
    let cleaner = Cleaner { ledger, server: &ledger.server, tenant, lease, grace: ledger.options.grace };
    for (what, cleaned) in [
        ("dead runs", cleaner.dead_runs().await),
        ("replaced snapshots", cleaner.snapshots().await),
        ("the log", cleaner.log().await),
    ] {
        if let Err(error) = cleaned {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                tenant = tenant.as_str(),
                what,
                "cannot tidy up; the next run tries again"
            );
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Cleaner<'l> {
    pub(super) ledger: &'l ClickHouseLedger,
    pub(super) server: &'l Server,
    pub(super) tenant: &'l TenantId,
    /// Those before it are over.
    pub(super) lease: u64,
    /// How long a snapshot stays that is not current any more.
    pub(super) grace: Duration,
}

/// A snapshot that someone may read.
pub(super) type Needed = BTreeMap<Uuid, BTreeMap<String, u64>>;

impl Cleaner<'_> {
    /// Deletes what runs of older leases wrote that were never committed. One that is only held up may write more; nobody will see it.
    async fn dead_runs(&self) -> Result<(), LedgerError> {
        let text = format!(
            "SELECT DISTINCT toString(log.run_id) FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'begin' AND log.lease < {{lease:UInt64}}
    AND log.run_id NOT IN (SELECT run_id FROM ({}))
    AND log.run_id NOT IN (SELECT l.run_id FROM {LOG} AS l WHERE l.tenant = {{tenant:String}} AND l.kind = 'abandoned')",
            commits(LOG, Tenants::One)
        );
        let found = self.server.rows::<(Uuid,)>("look for dead runs", self.bound(text)).await?;
        let runs: Vec<Uuid> = found.into_iter().map(|(run,)| run).collect();
        if runs.is_empty() {
            return Ok(());
        }
        tracing::info!(tenant = self.tenant.as_str(), runs = runs.len(), "runs that were not committed are cleared away");
        for table in [CHANGES, HISTORY, OVERRIDES] {
            let condition = "WHERE tenant = {tenant:String} AND run_id IN {runs:Array(UUID)}";
            let of_runs = |text: String| self.bound(text).bind("runs", "Array(UUID)", uuids(runs.iter().copied()));
            let count = of_runs(format!("SELECT count() FROM {table} {condition}"));
            if self.server.row::<(u64,)>("look for dead runs", count).await?.0 > 0 {
                self.server.execute("delete dead runs", of_runs(format!("DELETE FROM {table} {condition}"))).await?;
            }
        }
        for run in &runs {
            self.drop_partition(*run).await?;
        }
        self.note_abandoned(&runs).await
    }

    /// Notes that nothing is left of runs that were never committed.
    pub(super) async fn note_abandoned(&self, runs: &[Uuid]) -> Result<(), LedgerError> {
        note(self.server, "abandoned", self.tenant, self.lease, runs).await
    }

    /// Drops snapshots that were replaced a while ago, and deletes those that share a partition with current ones once they are most of it.
    async fn snapshots(&self) -> Result<(), LedgerError> {
        let needed = self.needed().await?;
        let text = format!(
            "SELECT partition, sum(rows) FROM system.parts
WHERE database = currentDatabase() AND table = '{MEMBERS}' AND active AND toUUIDOrZero(partition) IN (
    SELECT log.run_id FROM {LOG} AS log WHERE log.tenant = {{tenant:String}} AND (log.kind = 'commit' OR log.kind = 'begin')
        AND (log.lease < {{lease:UInt64}} OR log.run_id IN (SELECT run_id FROM ({})))
)
GROUP BY partition",
            commits(LOG, Tenants::One)
        );
        for (run, rows) in self.server.rows::<(Uuid, u64)>("look for replaced snapshots", self.bound(text)).await? {
            let Some(segments) = needed.get(&run) else {
                self.drop_partition(run).await?;
                continue;
            };
            let alive: u64 = segments.values().sum();
            let dead = rows.saturating_sub(alive);
            if dead > alive && dead >= self.ledger.options.worth_deleting {
                self.delete_others(run, &segments.keys().cloned().collect()).await?;
            }
        }
        Ok(())
    }

    /// The snapshots that are current or kept, or were until a while ago, with their segments and members.
    pub(super) async fn needed(&self) -> Result<Needed, LedgerError> {
        let text = format!(
            "SELECT toString(snapshot), segment_id, max(member_count) FROM (
    SELECT snapshot, segment_id, member_count FROM ({}) WHERE is_needed
    UNION ALL
    SELECT snapshot, segment_id, member_count FROM ({})
    WHERE kind = 'kept' AND (state != '' OR toUnixTimestamp64Micro(at) + {{grace:Int64}} > toUnixTimestamp64Micro({}))
)
WHERE snapshot != toUUID('{}')
GROUP BY snapshot, segment_id",
            self.states(),
            records(),
            self.server.now(),
            Uuid::nil()
        );
        let mut needed = Needed::new();
        for (run, segment, count) in
            self.server.rows::<(Uuid, String, u64)>("look for current snapshots", self.graced(text)).await?
        {
            needed.entry(run).or_default().insert(segment, count);
        }
        Ok(needed)
    }

    /// Every state of every segment, and whether it is current, or was until a while ago.
    fn states(&self) -> String {
        format!(
            "SELECT log.segment_id AS segment_id, log.snapshot AS snapshot, log.member_count AS member_count,
    log.commit_number AS commit_number, toUnixTimestamp64Micro(
        leadInFrame(log.at, 1, toDateTime64('2299-12-31 00:00:00', 6, 'UTC')) OVER (
            PARTITION BY log.segment_id ORDER BY log.commit_number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        )
    ) + {{grace:Int64}} > toUnixTimestamp64Micro({}) AS is_needed
FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'state'
    AND (log.commit_number, log.run_id) IN (SELECT commit_number, run_id FROM ({}))",
            self.server.now(),
            commits(LOG, Tenants::One)
        )
    }

    pub(super) async fn drop_partition(&self, run: Uuid) -> Result<(), LedgerError> {
        let text = format!("ALTER TABLE {MEMBERS} DROP PARTITION {{run:String}}");
        self.server.execute("drop a replaced snapshot", Statement::new(text).text("run", run.to_string())).await
    }

    /// Deletes the rows of a run that are of other segments than these.
    async fn delete_others(&self, run: Uuid, segments: &BTreeSet<String>) -> Result<(), LedgerError> {
        let text = format!("SELECT DISTINCT segment_id FROM {MEMBERS} WHERE run_id = {{run:UUID}}");
        let of_run = |text: String| Statement::new(text).uuid("run", run);
        let found = self.server.rows::<(String,)>("look for replaced snapshots", of_run(text)).await?;
        let others = found.into_iter().map(|(segment,)| segment).filter(|segment| !segments.contains(segment)).collect();
        self.delete_segments(run, &others).await
    }

    /// Deletes the rows of a run that are of some segments.
    pub(super) async fn delete_segments(&self, run: Uuid, segments: &BTreeSet<String>) -> Result<(), LedgerError> {
        let segments: Vec<&String> = segments.iter().collect();
        for some in segments.chunks(SEGMENTS_AT_ONCE) {
            let text = format!("DELETE FROM {MEMBERS} WHERE run_id = {{run:UUID}} AND segment_id IN {{segments:Array(String)}}");
            let statement = Statement::new(text).uuid("run", run).texts("segments", some.iter().map(|segment| segment.as_str()));
            self.server.execute("delete replaced snapshots", statement).await?;
        }
        Ok(())
    }

    /// Deletes rows of the log that say nothing any more, when there are many.
    async fn log(&self) -> Result<(), LedgerError> {
        let count = format!(
            "SELECT countIf(log.kind IN ('claim', 'renewal', 'release') AND log.lease < {{lease:UInt64}}),
    countIf(log.kind IN ('state', 'job')), uniqExactIf((log.kind, log.segment_id), log.kind IN ('state', 'job'))
FROM {LOG} AS log WHERE log.tenant = {{tenant:String}}"
        );
        let (leases, states, distinct) = self.server.row::<(u64, u64, u64)>("look at the log", self.bound(count)).await?;
        let worth = self.ledger.options.worth_deleting;
        if leases >= worth {
            self.delete_leases().await?;
        }
        if states.saturating_sub(2 * distinct) >= worth {
            self.delete_states().await?;
        }
        Ok(())
    }

    /// Deletes older leases.
    ///
    /// INVARIANT: void commits go first, because the claims that are deleted here are what makes them void.
    pub(super) async fn delete_leases(&self) -> Result<(), LedgerError> {
        let void = format!(
            "SELECT DISTINCT toString(log.run_id) FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'commit' AND log.lease < {{lease:UInt64}}
    AND (log.commit_number, log.run_id) NOT IN (SELECT commit_number, run_id FROM ({}))",
            commits(LOG, Tenants::One)
        );
        let void = self.server.rows::<(Uuid,)>("look at the log", self.bound(void)).await?;
        if !void.is_empty() {
            let text = format!(
                "DELETE FROM {LOG} WHERE tenant = {{tenant:String}} AND kind IN ('commit', 'state', 'job', 'kept', 'cut')
    AND run_id IN {{runs:Array(UUID)}}"
            );
            let runs = uuids(void.into_iter().map(|(run,)| run));
            self.server.execute("tidy up the log", self.bound(text).bind("runs", "Array(UUID)", runs)).await?;
        }
        let text = format!(
            "DELETE FROM {LOG} WHERE tenant = {{tenant:String}} AND kind IN ('claim', 'renewal', 'release') AND lease < {{lease:UInt64}}"
        );
        self.server.execute("tidy up the log", self.bound(text)).await
    }

    /// Deletes states from before the first that is still needed of their segment.
    pub(super) async fn delete_states(&self) -> Result<(), LedgerError> {
        let text = format!("SELECT segment_id, min(commit_number) FROM ({}) WHERE is_needed GROUP BY segment_id", self.states());
        let first = self.server.rows::<(String, i64)>("look at the log", self.graced(text)).await?;
        for some in first.chunks(SEGMENTS_AT_ONCE) {
            let text = format!(
                "DELETE FROM {LOG} WHERE tenant = {{tenant:String}} AND kind = 'state'
    AND commit_number < transform(segment_id, {{segments:Array(String)}}, {{first:Array(UInt64)}}, toUInt64(0))"
            );
            let first = Value::Integers(some.iter().map(|(_, number)| *number).collect());
            let statement = self.bound(text).texts("segments", some.iter().map(|(segment, _)| segment.as_str()));
            self.server.execute("tidy up the log", statement.bind("first", "Array(UInt64)", first)).await?;
        }
        Ok(())
    }

    /// The states from before the first that is still needed of their segment.
    pub(super) fn old_states(&self) -> String {
        let needed =
            format!("SELECT segment_id, min(commit_number) AS first FROM ({}) WHERE is_needed GROUP BY segment_id", self.states());
        format!(
            "tenant = {{tenant:String}} AND kind = 'state' AND (segment_id, commit_number) IN (
    SELECT l.segment_id, l.commit_number FROM {LOG} AS l INNER JOIN ({needed}) AS needed ON l.segment_id = needed.segment_id
    WHERE l.tenant = {{tenant:String}} AND l.kind = 'state' AND l.commit_number < needed.first
)"
        )
    }

    pub(super) fn bound(&self, text: String) -> Statement {
        Statement::new(text).text("tenant", self.tenant.as_str()).number("lease", "UInt64", self.lease)
    }

    /// With the present, and how long before it still counts.
    pub(super) fn graced(&self, text: String) -> Statement {
        let grace = i64::try_from(self.grace.as_micros()).unwrap_or(i64::MAX / 4);
        self.server.timed(self.bound(text).number("grace", "Int64", grace))
    }
}

/// Adds a row for each of some runs. One that is added twice means the same.
async fn note(server: &Server, kind: &str, tenant: &TenantId, lease: u64, runs: &[Uuid]) -> Result<(), LedgerError> {
    let text = format!(
        "INSERT INTO {LOG} (tenant, kind, lease, run_id, at)
SELECT {{tenant:String}}, {{kind:String}}, {{lease:UInt64}}, arrayJoin({{runs:Array(UUID)}}), {}",
        server.now()
    );
    let rows = Statement::new(text).text("tenant", tenant.as_str()).text("kind", kind).number("lease", "UInt64", lease).bind(
        "runs",
        "Array(UUID)",
        uuids(runs.iter().copied()),
    );
    server.execute("begin the run", server.timed(rows)).await
}
