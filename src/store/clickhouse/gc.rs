//! What nothing refers to any more: rows and partitions that the log does not name, rows of the log that say nothing any more, and files
//! that stand for nothing.
//!
//! What a run tidies up at its beginning when there is much of it, this finds whole, and tells it before and after. What somebody who reads
//! may still know of, a snapshot that was replaced or is kept no longer, goes after the grace period. A run that goes on under the newest
//! lease is left alone; those of older leases will never commit.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::clean::Cleaner;
use super::compact::{self, table};
use super::ddl::{CHANGES, HISTORY, LOG, STAGED};
use super::files;
use super::log::{self, Tenants, commits};
use super::read::is_committed;
use super::server::uuids;
use super::{ClickHouseLedger, LeaseScope};
use crate::backend::clickhouse::{MEMBERS, OVERRIDES};
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicFile, PublicTable};
use crate::store::{Garbage, Lease, LedgerError, Waste};

const DEAD: &str = "its run was never committed";
const REPLACED: &str = "a snapshot that was replaced, or is kept no longer";

/// What there is, without doing anything about it.
pub(super) async fn garbage(ledger: &ClickHouseLedger, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
    let lease = ledger.leases.first_alive(&LeaseScope::Tenant(tenant.clone())).await?;
    let found = Search::new(ledger, tenant, lease, grace).find().await?;
    Ok(Garbage { waste: sorted(found.waste), foreign: found.foreign })
}

/// Deletes what there is.
pub(super) async fn collect(
    ledger: &ClickHouseLedger,
    lease: &Lease,
    tenant: &TenantId,
    grace: Duration,
) -> Result<Garbage, LedgerError> {
    ledger.check_newest(&LeaseScope::Tenant(tenant.clone()), tenant, lease.number).await?;
    let search = Search::new(ledger, tenant, lease.number, grace);
    let found = search.find().await?;
    for (_, deed) in &found.waste {
        search.delete(deed).await?;
    }
    search.note_dead_runs(&found).await?;
    Ok(Garbage { waste: sorted(found.waste), foreign: found.foreign })
}

fn sorted(waste: Vec<(Waste, Deed)>) -> Vec<Waste> {
    let mut waste: Vec<Waste> = waste.into_iter().map(|(waste, _)| waste).collect();
    waste.sort();
    waste
}

/// What was found, each with how it is deleted.
#[derive(Default)]
struct Found {
    waste: Vec<(Waste, Deed)>,
    foreign: Vec<String>,
}

/// How something is deleted.
enum Deed {
    /// Rows of a run in a table.
    Rows {
        table: &'static str,
        run: Uuid,
    },
    /// All members that a run wrote.
    Partition(Uuid),
    /// Those of some segments.
    Members {
        run: Uuid,
        segments: BTreeSet<String>,
    },
    /// Rows of a segment up to a commit.
    Cut {
        table: PublicTable,
        segment: SegmentId,
        through: u64,
    },
    Staged,
    Leases,
    SchedulerLeases,
    Begins,
    States,
    Records,
    File(PublicFile),
}

struct Search<'l> {
    cleaner: Cleaner<'l>,
}

impl Deed {
    /// The run whose rows it deletes, all that there are of it in a table.
    fn run(&self) -> Option<Uuid> {
        match self {
            Self::Rows { table: _, run } | Self::Partition(run) => Some(*run),
            Self::Members { .. }
            | Self::Cut { .. }
            | Self::Staged
            | Self::Leases
            | Self::SchedulerLeases
            | Self::Begins
            | Self::States
            | Self::Records
            | Self::File(_) => None,
        }
    }
}

impl Found {
    fn add(&mut self, path: impl Into<String>, bytes: u64, why: &'static str, deed: Deed) {
        self.waste.push((Waste { path: path.into(), bytes, why }, deed));
    }
}

/// The bytes that a row of a table takes on the disk, as SQL.
fn bytes_of_row(table: &str) -> String {
    format!(
        "(SELECT ifNull(sum(bytes_on_disk) / greatest(sum(rows), 1), 0) FROM system.parts
    WHERE database = currentDatabase() AND table = '{table}' AND active)"
    )
}

/// The rows of the log whose lease is over.
const OLD_LEASES: &str = "tenant = {tenant:String} AND kind IN ('claim', 'renewal', 'release') AND lease < {lease:UInt64}";

/// The same of the scheduler, whose leases are of no tenant.
fn old_schedulers() -> String {
    format!(
        "tenant = '' AND kind IN ('claim', 'renewal', 'release') AND lease < (
    SELECT max(lease) FROM {LOG} WHERE tenant = '' AND kind = 'claim'
)"
    )
}

impl<'l> Search<'l> {
    fn new(ledger: &'l ClickHouseLedger, tenant: &'l TenantId, lease: u64, grace: Duration) -> Self {
        Self { cleaner: Cleaner { ledger, server: &ledger.server, tenant, lease, grace } }
    }

    async fn find(&self) -> Result<Found, LedgerError> {
        let mut found = Found::default();
        for table in [CHANGES, HISTORY, OVERRIDES] {
            self.dead_rows(table, &mut found).await?;
        }
        self.partitions(&mut found).await?;
        self.cut_rows(&mut found).await?;
        self.staged(&mut found).await?;
        self.log(&mut found).await?;
        if let Some(files) = &self.cleaner.ledger.files {
            let strays = files::strays(self.cleaner.server, files, self.cleaner.tenant).await?;
            for (file, why) in strays.waste {
                found.add(file.path(), file.bytes, why, Deed::File(file.clone()));
            }
            found.foreign = strays.foreign;
        }
        Ok(found)
    }

    /// Runs that may go on: those that began under the newest lease.
    fn alive() -> String {
        format!(
            "SELECT log.run_id FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'begin' AND log.lease >= {{lease:UInt64}}"
        )
    }

    async fn dead_rows(&self, table: &'static str, found: &mut Found) -> Result<(), LedgerError> {
        let text = format!(
            "SELECT toString(t.run_id), count(), toUInt64(count() * {}) FROM {table} AS t
WHERE t.tenant = {{tenant:String}} AND NOT ({}) AND t.run_id NOT IN ({})
GROUP BY t.run_id ORDER BY t.run_id",
            bytes_of_row(table),
            is_committed("t"),
            Self::alive()
        );
        let rows = self.cleaner.server.rows::<(Uuid, u64, u64)>("look for dead runs", self.cleaner.bound(text)).await?;
        for (run, count, bytes) in rows {
            found.add(format!("{table}, {count} rows of run {run}"), bytes, DEAD, Deed::Rows { table, run });
        }
        Ok(())
    }

    async fn partitions(&self, found: &mut Found) -> Result<(), LedgerError> {
        let text = format!(
            "SELECT partition, sum(rows), sum(bytes_on_disk), toUUIDOrZero(partition) IN (SELECT run_id FROM ({})) FROM system.parts
WHERE database = currentDatabase() AND table = '{MEMBERS}' AND active AND rows > 0 AND toUUIDOrZero(partition) IN (
    SELECT log.run_id FROM {LOG} AS log WHERE log.tenant = {{tenant:String}} AND log.kind IN ('commit', 'begin')
)
    AND (toUUIDOrZero(partition) NOT IN ({}) OR toUUIDOrZero(partition) IN (SELECT run_id FROM ({})))
GROUP BY partition ORDER BY partition",
            commits(LOG, Tenants::One),
            Self::alive(),
            commits(LOG, Tenants::One)
        );
        let needed = self.cleaner.needed().await?;
        let server = self.cleaner.server;
        let rows = server.rows::<(Uuid, u64, u64, u8)>("look for replaced snapshots", self.cleaner.bound(text)).await?;
        for (run, rows, bytes, is_committed) in rows {
            let Some(segments) = needed.get(&run) else {
                let why = if is_committed == 0 { DEAD } else { REPLACED };
                found.add(format!("{MEMBERS}, {rows} rows of run {run}"), bytes, why, Deed::Partition(run));
                continue;
            };
            if rows == segments.values().sum::<u64>() {
                continue;
            }
            let text = format!("SELECT segment_id, count() FROM {MEMBERS} WHERE run_id = {{run:UUID}} GROUP BY segment_id");
            let mut others =
                server.rows::<(String, u64)>("look for replaced snapshots", self.cleaner.bound(text).uuid("run", run)).await?;
            others.retain(|(segment, _)| !segments.contains_key(segment));
            let dead: u64 = others.iter().map(|(_, rows)| rows).sum();
            if dead > 0 {
                let segments = others.into_iter().map(|(segment, _)| segment).collect();
                let path = format!("{MEMBERS}, {dead} of {rows} rows of run {run}");
                found.add(path, bytes.saturating_mul(dead) / rows.max(1), REPLACED, Deed::Members { run, segments });
            }
        }
        Ok(())
    }

    /// Rows that a commit let go of, and that its writer did not come to delete.
    async fn cut_rows(&self, found: &mut Found) -> Result<(), LedgerError> {
        let records = log::read_records(self.cleaner.server, self.cleaner.tenant).await?;
        for public in PublicTable::ALL {
            let name = table(public);
            for (segment, first) in compact::first_commits(self.cleaner.server, self.cleaner.tenant, public).await? {
                let cut = records.cut(&segment);
                let through = match public {
                    PublicTable::Changes => cut.changes,
                    PublicTable::History => cut.history,
                };
                if first > through {
                    continue;
                }
                let text = format!(
                    "SELECT count(), toUInt64(count() * {}) FROM {name} AS t
WHERE t.tenant = {{tenant:String}} AND t.segment_id = {{segment:String}} AND t.commit_number <= {{through:UInt64}} AND {}",
                    bytes_of_row(name),
                    is_committed("t")
                );
                let asked = self.cleaner.bound(text).text("segment", segment.as_str()).number("through", "UInt64", through);
                let (count, bytes) = self.cleaner.server.row::<(u64, u64)>("look for what is kept no longer", asked).await?;
                let path = format!("{name}, {count} rows of segment `{segment}`");
                found.add(path, bytes, "it is kept no longer", Deed::Cut { table: public, segment, through });
            }
        }
        Ok(())
    }

    /// What runs that are over were about to compare. What they evaluated goes by itself after a day.
    async fn staged(&self, found: &mut Found) -> Result<(), LedgerError> {
        let text = format!("SELECT count(), toUInt64(count() * {}) FROM {STAGED} WHERE {}", bytes_of_row(STAGED), Self::over());
        let (count, bytes) = self.cleaner.server.row::<(u64, u64)>("look for dead runs", self.cleaner.bound(text)).await?;
        if count > 0 {
            found.add(format!("{STAGED}, {count} rows"), bytes, "the runs that compared them are over", Deed::Staged);
        }
        Ok(())
    }

    fn over() -> String {
        format!(
            "run_id IN (SELECT log.run_id FROM {LOG} AS log
    WHERE log.tenant = {{tenant:String}} AND log.kind = 'begin' AND log.lease < {{lease:UInt64}})"
        )
    }

    /// Rows of the log that say nothing any more.
    async fn log(&self, found: &mut Found) -> Result<(), LedgerError> {
        for (condition, what, why, deed) in [
            (OLD_LEASES.to_owned(), "leases", "newer leases were taken", Deed::Leases),
            (old_schedulers(), "leases of the scheduler", "newer leases were taken", Deed::SchedulerLeases),
            (Self::begun(), "runs that began", "they are committed", Deed::Begins),
            (self.cleaner.old_states(), "states", "newer states stand for them", Deed::States),
            (Self::old_records(), "jobs and of what is kept", "newer rows stand for them", Deed::Records),
        ] {
            let text = format!("SELECT count(), toUInt64(count() * {}) FROM {LOG} WHERE {condition}", bytes_of_row(LOG));
            let (count, bytes) = self.cleaner.server.row::<(u64, u64)>("look at the log", self.cleaner.graced(text)).await?;
            if count > 0 {
                found.add(format!("{LOG}, {count} rows of {what}"), bytes, why, deed);
            }
        }
        Ok(())
    }

    /// The beginnings of runs that are committed.
    fn begun() -> String {
        format!(
            "tenant = {{tenant:String}} AND kind = 'begin' AND lease < {{lease:UInt64}} AND run_id IN (SELECT run_id FROM ({}))",
            commits(LOG, Tenants::One)
        )
    }

    /// What later commits say otherwise of jobs, snapshots of the past, and of how far rows are gone.
    fn old_records() -> String {
        let last = format!(
            "SELECT log.kind, log.segment_id, log.snapshot, max(log.commit_number) FROM {LOG} AS log
    WHERE log.tenant = {{tenant:String}} AND log.kind IN ('job', 'kept', 'cut')
        AND (log.commit_number, log.run_id) IN (SELECT commit_number, run_id FROM ({}))
    GROUP BY log.kind, log.segment_id, log.snapshot",
            commits(LOG, Tenants::One)
        );
        format!(
            "tenant = {{tenant:String}} AND kind IN ('job', 'kept', 'cut') AND lease < {{lease:UInt64}}
    AND (kind, segment_id, snapshot, commit_number) NOT IN ({last})"
        )
    }

    async fn delete(&self, deed: &Deed) -> Result<(), LedgerError> {
        let Cleaner { ledger, server, tenant, .. } = self.cleaner;
        let tidied = async |condition: String| {
            let text = format!("DELETE FROM {LOG} WHERE {condition}");
            server.execute("tidy up the log", self.cleaner.graced(text)).await
        };
        match deed {
            Deed::Rows { table, run } => {
                let text = format!("DELETE FROM {table} WHERE tenant = {{tenant:String}} AND run_id = {{run:UUID}}");
                server.execute("delete dead runs", self.cleaner.bound(text).uuid("run", *run)).await
            }
            Deed::Partition(run) => self.cleaner.drop_partition(*run).await,
            Deed::Members { run, segments } => self.cleaner.delete_segments(*run, segments).await,
            Deed::Cut { table, segment, through } => {
                compact::delete_up_to(server, ledger.files.as_ref(), tenant, *table, segment, *through).await
            }
            Deed::Staged => {
                let text = format!("DELETE FROM {STAGED} WHERE {}", Self::over());
                server.execute("delete dead runs", self.cleaner.bound(text)).await
            }
            Deed::Leases => self.cleaner.delete_leases().await,
            Deed::SchedulerLeases => tidied(old_schedulers()).await,
            Deed::Begins => tidied(Self::begun()).await,
            Deed::States => self.cleaner.delete_states().await,
            Deed::Records => tidied(Self::old_records()).await,
            Deed::File(file) => match &ledger.files {
                Some(files) => files.delete(file).await,
                None => Ok(()),
            },
        }
    }

    /// Notes that dead runs have nothing left, so that the next run need not look for them.
    async fn note_dead_runs(&self, found: &Found) -> Result<(), LedgerError> {
        let dead = found.waste.iter().filter(|(waste, _)| waste.why == DEAD);
        let runs: BTreeSet<Uuid> = dead.filter_map(|(_, deed)| deed.run()).collect();
        if runs.is_empty() {
            return Ok(());
        }
        let known = format!(
            "SELECT DISTINCT toString(run_id) FROM {LOG}
WHERE tenant = {{tenant:String}} AND kind = 'abandoned' AND run_id IN {{runs:Array(UUID)}}"
        );
        let known = self.cleaner.bound(known).bind("runs", "Array(UUID)", uuids(runs.iter().copied()));
        let known = self.cleaner.server.rows::<(Uuid,)>("look for dead runs", known).await?;
        let known: BTreeSet<Uuid> = known.into_iter().map(|(run,)| run).collect();
        let new: Vec<Uuid> = runs.into_iter().filter(|run| !known.contains(run)).collect();
        if new.is_empty() { Ok(()) } else { self.cleaner.note_abandoned(&new).await }
    }
}
