//! [`ClickHouseLedger`]: the ledger of tables in a ClickHouse database. Members never leave the server: they are compared and written
//! there, and only counts come back.
//!
//! # How a run becomes visible
//! 1. It is noted as begun in the log. Its members, changes and history rows are written with its id; nothing refers to them yet.
//! 2. Its commit and the states of its segments are inserted into the log as one block. From here on the run is visible: readers and views
//!    show rows of runs whose commit counts, and the members that the states name.
//!
//! A writer that died before step 2 leaves rows that nobody sees; the next writer of the tenant deletes them.
//!
//! # Who may write
//! The log is a table whose block numbers order its rows. Leases are claims in it (see `lease`). A commit that stands behind the claim of a
//! newer lease is void, and so is one that was computed without knowing another (see `log`).
//!
//! # What readers meet
//! A snapshot that was replaced stays for a while, so that a reader who knows of it is not cut off. Changes and history rows that are kept no
//! longer are deleted after the commit that says so (see `compact`): whoever replays looks afterwards whether it was so all the time.

mod catalog;
mod clean;
mod compact;
mod ddl;
mod erase;
mod files;
mod gc;
mod init;
mod layout;
mod lease;
mod log;
mod overrides;
mod past;
mod publish;
mod read;
mod repair;
mod server;
mod staged;
mod transaction;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use self::lease::Leases;
use self::server::Server;
use super::object::PublicFiles;
use super::{
    Audience, CompactRequest, Compacted, Erased, Fault, Garbage, Lease, LeaseScope, Ledger, LedgerError, Membership, Overrides,
    Past, ReadFilter, RowStream, Run, TenantState,
};
use crate::backend::clickhouse::{Kept, RemoteMembers};
use crate::clickhouse::Connection;
use crate::clock::SharedClock;
use crate::model::id::{SegmentId, TenantId};

pub use self::ddl::ddl;
pub use self::init::{Made, database_ddl, init, make_database};
pub use self::layout::{Layout, Replication};
pub use self::read::{Arranged, Beside};
pub use self::transaction::ClickHouseTransaction;
pub use super::holder::{Holder, LeaseTiming};

/// The ledger of one database. Copies share the connection.
#[derive(Clone)]
pub struct ClickHouseLedger {
    server: Server,
    leases: Leases,
    options: Options,
    /// The files that are written too, where that is wanted.
    files: Option<PublicFiles>,
}

/// What can be set of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How leases are kept alive and waited for.
    pub leases: LeaseTiming,
    /// Whose time tells when a lease is over.
    pub times: Times,
    /// How long a snapshot stays after it was replaced.
    pub grace: Duration,
    /// Members, before and after, that are compared by one statement, so that it takes memory for that many. A segment of more is
    /// compared by itself, and what does not fit goes to the server's disk.
    pub window_rows: u64,
    /// How many rows that nobody needs are worth a mutation.
    pub worth_deleting: u64,
}

/// Whose time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// The server's, which all writers share.
    #[default]
    Server,
    /// The clock's that the ledger is given.
    Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            leases: LeaseTiming::default(),
            times: Times::default(),
            grace: Duration::from_secs(15 * 60),
            window_rows: 4 * 1024 * 1024,
            worth_deleting: 100_000,
        }
    }
}

impl ClickHouseLedger {
    /// Whom an audience contains, as [`Ledger::read_audience`], in an order, with what stands beside each.
    ///
    /// # Errors
    /// As [`Ledger::state`].
    pub async fn read_arranged(&self, tenant: &TenantId, asked: &Arranged<'_>) -> Result<RowStream, LedgerError> {
        read::audience(&self.server, tenant, asked).await
    }

    /// What stands beside members, by their ids: `id`, then the columns of [`Beside::fields`].
    ///
    /// # Errors
    /// As [`Ledger::state`].
    pub async fn read_beside(&self, beside: Beside) -> Result<RowStream, LedgerError> {
        read::beside(&self.server, beside).await
    }

    /// The ledger in the database of a connection. Nothing is sent yet.
    #[must_use]
    pub fn new(connection: &Connection, clock: SharedClock, holder: Holder) -> Self {
        Self::with_options(connection, clock, holder, Options::default())
    }

    /// The same with options.
    #[must_use]
    pub fn with_options(connection: &Connection, clock: SharedClock, holder: Holder, options: Options) -> Self {
        let server = Server::new(connection, clock, options.times);
        let leases = Leases { server: server.clone(), holder, timing: options.leases };
        Self { server, leases, options, files: None }
    }

    /// The same with files for other tools, which follow every commit.
    #[must_use]
    pub fn with_files(self, files: PublicFiles) -> Self {
        Self { files: Some(files), ..self }
    }

    /// Brings the files up to the last commit. That they could not be written makes no commit undone.
    async fn publish(&self, server: &Server, tenant: &TenantId) {
        let Some(files) = &self.files else { return };
        if let Err(error) = publish::publish(server, files, tenant).await {
            let error = &error as &dyn std::error::Error;
            let location = files.location();
            tracing::warn!(error, %tenant, location, "the files could not be written; the next run of the tenant does so");
        }
    }

    /// Fails unless a write lease is the newest of its tenant.
    async fn check_newest(&self, scope: &LeaseScope, tenant: &TenantId, number: u64) -> Result<(), LedgerError> {
        if self.leases.is_newest(scope, number).await? {
            Ok(())
        } else {
            Err(LedgerError::Fenced { tenant: tenant.clone(), number })
        }
    }
}

#[async_trait]
impl Ledger for ClickHouseLedger {
    type Members = RemoteMembers;
    type Transaction = ClickHouseTransaction;

    async fn acquire(&self, scope: &LeaseScope, wait: Duration) -> Result<Lease, LedgerError> {
        self.leases.acquire(scope, wait).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        self.leases.release(lease).await
    }

    async fn state(&self, tenant: &TenantId) -> Result<TenantState, LedgerError> {
        Ok(log::read(&self.server, tenant).await?.public())
    }

    async fn stored(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RemoteMembers, LedgerError> {
        let entry = log::read(&self.server, tenant).await?.segments.remove(segment);
        let snapshot = entry.and_then(|entry| Some((entry.snapshot?, entry.record.state.member_count)));
        Ok(match snapshot {
            Some((run_id, count)) => {
                RemoteMembers::new(Kept::Stored { tenant: tenant.clone(), segment: segment.clone(), run_id }, count)
            }
            None => RemoteMembers::nobody(),
        })
    }

    async fn overrides(
        &self,
        tenant: &TenantId,
        at: Timestamp,
    ) -> Result<BTreeMap<SegmentId, Overrides<RemoteMembers>>, LedgerError> {
        overrides::at(&self.server, tenant, at).await
    }

    async fn backfilled(
        &self,
        tenant: &TenantId,
        segment: &SegmentId,
        definition_hash: &str,
    ) -> Result<BTreeSet<Timestamp>, LedgerError> {
        let records = log::read_records(&self.server, tenant).await?;
        let by_it = |kept: &&log::KeptSnapshot| kept.record.backfilled_by.as_deref() == Some(definition_hash);
        Ok(records.backfilled(segment).filter(by_it).map(|kept| kept.record.at).collect())
    }

    async fn begin(&self, lease: &Lease, run: Run) -> Result<ClickHouseTransaction, LedgerError> {
        let number = lease.number;
        if lease.scope != LeaseScope::Tenant(run.tenant.clone()) {
            return Err(LedgerError::Fenced { tenant: run.tenant, number });
        }
        self.check_newest(&lease.scope, &run.tenant, number).await?;
        clean::clean(self, &run.tenant, number).await;
        clean::note_begin(&self.server, &run.tenant, run.run_id, number).await?;
        let base = log::read(&self.server, &run.tenant).await?;
        let of_run = Self { server: self.server.for_run(run.run_id), ..self.clone() };
        Ok(ClickHouseTransaction::new(of_run, run, number, base))
    }

    async fn read_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        read::members(&self.server, tenant, segment).await
    }

    async fn read_audience(&self, tenant: &TenantId, audience: &Audience) -> Result<RowStream, LedgerError> {
        self.read_arranged(tenant, &Arranged { audience, beside: None, order: &[], limit: None }).await
    }

    async fn read_changes(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        read::changes(&self.server, tenant, filter).await
    }

    async fn read_history(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        read::history(&self.server, tenant, filter).await
    }

    async fn read_overrides(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        overrides::read(&self.server, tenant, filter).await
    }

    async fn segments_of(&self, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
        read::segments_of(&self.server, tenant, subject_id).await
    }

    async fn recount(&self, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
        read::recount(&self.server, tenant, segment).await
    }

    async fn members_at(&self, tenant: &TenantId, segment: &SegmentId, at: Timestamp) -> Result<Past, LedgerError> {
        past::members_at(&self.server, tenant, segment, at).await
    }

    async fn compact(
        &self,
        lease: &Lease,
        tenant: &TenantId,
        rewrite_id: Uuid,
        request: &CompactRequest,
    ) -> Result<Compacted, LedgerError> {
        compact::step(self, lease, tenant, rewrite_id, request).await
    }

    async fn erase(&self, lease: &Lease, run: &Run, subject_id: &str) -> Result<Erased, LedgerError> {
        erase::erase(self, lease, run, subject_id).await
    }

    async fn verify(&self, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
        verify::verify(&self.server, self.files.as_ref(), tenant).await
    }

    async fn garbage(&self, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
        gc::garbage(self, tenant, grace).await
    }

    async fn collect(&self, lease: &Lease, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
        gc::collect(self, lease, tenant, grace).await
    }

    async fn repair(&self, lease: &Lease, tenant: &TenantId, rewrite_id: Uuid) -> Result<Vec<Fault>, LedgerError> {
        repair::repair(self, lease, tenant, rewrite_id).await
    }
}
