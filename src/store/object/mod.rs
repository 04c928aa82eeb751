//! [`ObjectLedger`]: the ledger of plain Parquet on an object store, a local disk included.
//!
//! # How a run becomes visible
//! 1. Its files are written below `log/files/`, in a folder of the transaction. They are immutable, and nothing refers to them yet.
//! 2. One record is put, if absent, as the next number of `log/commits/`. From here on the run is visible through this module: readers
//!    take the state from the log and open only immutable files that it refers to.
//! 3. The files are copied to their public paths (`memberships/`, `changes/`, `history/`), each whole, for everyone else.
//! 4. `log/published` takes the number. All commits up to it are in place.
//!
//! Who finds commits beyond `log/published` does the steps 3 and 4 for them first. A writer that died before step 2 leaves files that
//! nothing refers to; the next writer of the tenant deletes them, after a `Claim` record has fenced the old lease off: from then on
//! a writer that was only held up finds its number taken, and gives up.
//!
//! # How files are replaced
//! A rewrite takes the same steps: its files, and an index of everything that the tenant has up to some commit, are written first; then
//! comes one record; then new files are put in place, and only after them the old ones are deleted. Compaction, retention, repair and
//! erasure are rewrites.
//!
//! # Who may write
//! Leases are numbered files put if absent (see `lease`). They keep writers apart as long as everybody's clock and network behave; the
//! log is what holds when they do not, since a commit that was computed without knowing a newer one of its tenant is refused.
//!
//! # What readers meet
//! A snapshot that was replaced stays for a while, so that a slow reader is not cut off; one that was opened too late reads the state
//! anew. Rows of changes and history are read at their public path, or where they were staged until they are published; where both are
//! gone, a rewrite has put others in their place, in which the reader goes on.

mod catalog;
mod chunk;
mod compact;
mod compare;
mod delay;
mod encode;
mod erase;
mod gc;
mod hand;
mod history;
mod layout;
mod lease;
mod log;
mod overrides;
mod packing;
mod past;
mod place;
mod public;
mod publish;
mod read;
mod record;
mod repair;
mod rewrite;
mod state;
mod table;
mod transaction;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use self::lease::Leases;
use self::log::{Entry, LogState};
use self::record::{Action, FileRef, LeaseCondition};
use self::table::{Look, Table};
use super::{
    Audience, CompactRequest, Compacted, Erased, Fault, Garbage, Lease, LeaseScope, Ledger, LedgerError, Membership, Overrides,
    Past, ReadFilter, RowStream, Run, TenantState,
};
use crate::backend::LocalMembers;
use crate::clock::SharedClock;
use crate::model::id::{SegmentId, TenantId};

pub use self::place::Place;
pub use self::public::{PublicCommit, PublicEntry, PublicFile, PublicFiles, PublicSnapshot, PublicTable, SnapshotOf};
pub use self::state::rewritten_commit;
pub use self::transaction::ObjectTransaction;
pub use super::holder::{Holder, LeaseTiming};

/// The ledger of one store. Copies share what they know.
#[derive(Clone)]
pub struct ObjectLedger {
    leases: Leases,
    options: Options,
    attempts: Arc<AtomicU64>,
    known: Arc<Mutex<Option<Arc<LogState>>>>,
}

/// What can be set of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How leases are kept alive and waited for.
    pub leases: LeaseTiming,
    /// How long a snapshot stays after it was replaced.
    pub grace: Duration,
    /// After how many commits the whole state is written again.
    pub checkpoint_every: u64,
    /// After how many runs one step of a compaction ends, at the end of a day.
    pub compact_runs: usize,
    /// After how many rows it does.
    pub compact_rows: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            leases: LeaseTiming::default(),
            grace: Duration::from_secs(15 * 60),
            checkpoint_every: 64,
            compact_runs: 2048,
            compact_rows: 4 * 1024 * 1024,
        }
    }
}

impl ObjectLedger {
    /// The ledger at a local path, or an `s3://`, `gs://`, `az://` or `file://` URL. Nothing is created until something is written.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn open(location: &str, clock: SharedClock, holder: Holder) -> Result<Self, LedgerError> {
        Ok(Self::new(Place::open(location)?, clock, holder, Options::default()))
    }

    /// The ledger at a place.
    #[must_use]
    pub fn new(place: Place, clock: SharedClock, holder: Holder, options: Options) -> Self {
        let leases = Leases { place, clock, holder, timing: options.leases, writing: Arc::default() };
        Self { leases, options, attempts: Arc::default(), known: Arc::default() }
    }

    fn place(&self) -> &Place {
        &self.leases.place
    }

    fn now(&self) -> Timestamp {
        self.leases.clock.now()
    }

    /// The log to its end.
    async fn log(&self) -> Result<Arc<LogState>, LedgerError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = log::read(self.place(), known).await?;
        self.remember(&state);
        Ok(state)
    }

    /// The log to its end as a process finds it that starts now.
    async fn log_anew(&self) -> Result<Arc<LogState>, LedgerError> {
        let state = log::read(self.place(), None).await?;
        self.remember(&state);
        Ok(state)
    }

    fn remember(&self, state: &Arc<LogState>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(state));
    }

    /// An immutable file that the caller knows to be referred to.
    async fn open_present(&self, file: &FileRef) -> Result<Table, LedgerError> {
        let found = Table::open(self.place(), file.location(), file, Look::Whole).await?;
        found.ok_or_else(|| LedgerError::Corrupt { path: file.path.clone(), problem: "it is missing".to_owned() })
    }

    /// Finishes or discards what earlier writers of a tenant left behind, and makes sure that none of them commits any more.
    async fn settle(&self, lease: &Lease, tenant: &TenantId) -> Result<Arc<LogState>, LedgerError> {
        let (scope, number) = (&lease.scope, lease.number);
        if *scope != LeaseScope::Tenant(tenant.clone()) {
            return Err(LedgerError::Fenced { tenant: tenant.clone(), number });
        }
        self.check_newest(tenant, number).await?;
        let mut state = publish::publish(self.place(), self.log().await?).await?;
        let older: Vec<u64> = self.leases.numbers(scope).await?.into_iter().filter(|&older| older < number).collect();
        let mut orphans = publish::orphans(self.place(), &state, tenant, number).await?;
        let attempt = self.next_attempt();
        if self.predecessor_unreleased(scope, &older).await? == Predecessors::MayLive || !orphans.is_empty() {
            let tenant = tenant.clone();
            let entry = Entry { tenant: tenant.clone(), lease: number, attempt, committed_at: self.now(), action: Action::Claim };
            state = publish::publish(self.place(), log::append(self.place(), state, entry).await?).await?;
            self.place().sweep(&layout::folders(&tenant)).await?;
            // Only now is it certain that no older writer commits what it staged: some may have done so until this moment.
            orphans = publish::orphans(self.place(), &state, &tenant, number).await?;
        }
        publish::delete_all(self.place(), orphans).await?;
        for older in older {
            self.place().delete(&layout::lease(scope, older)).await?;
        }
        self.remember(&state);
        Ok(state)
    }

    /// Tells the commits of one lease apart.
    fn next_attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Commits what was staged, which is safe by now, and publishes it.
    async fn commit(&self, base: Arc<LogState>, entry: Entry) -> Result<(), LedgerError> {
        let place = self.place();
        let action = entry.action.clone();
        let state = log::append(place, base, entry).await?;
        // It is committed. What follows is done again by the next writer when it fails now.
        let number = state.number;
        let settled = async {
            let state = publish::publish(place, state).await?;
            self.remember(&state);
            publish::discard(place, &action).await?;
            self.remember(&log::checkpoint(place, state, self.options.checkpoint_every).await?);
            Ok::<_, LedgerError>(())
        };
        if let Err(error) = settled.await {
            tracing::warn!(%error, number, "it is committed; the next writer will finish its publishing");
        }
        Ok(())
    }

    /// Fails unless a write lease is the newest of its tenant.
    async fn check_newest(&self, tenant: &TenantId, number: u64) -> Result<(), LedgerError> {
        let newest = self.leases.numbers(&LeaseScope::Tenant(tenant.clone())).await?.into_iter().max();
        if newest == Some(number) { Ok(()) } else { Err(LedgerError::Fenced { tenant: tenant.clone(), number }) }
    }

    /// Whether some older lease was never given back; its holder may be alive, and only held up.
    async fn predecessor_unreleased(&self, scope: &LeaseScope, older: &[u64]) -> Result<Predecessors, LedgerError> {
        for &number in older {
            match self.leases.record(scope, number).await?.map(|record| record.condition) {
                Some(LeaseCondition::Held) => return Ok(Predecessors::MayLive),
                Some(LeaseCondition::Released) | None => {}
            }
        }
        Ok(Predecessors::Gone)
    }
}

/// What is known of the holders of older leases.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Predecessors {
    Gone,
    MayLive,
}

#[async_trait]
impl Ledger for ObjectLedger {
    type Members = LocalMembers;
    type Transaction = ObjectTransaction;

    async fn acquire(&self, scope: &LeaseScope, wait: Duration) -> Result<Lease, LedgerError> {
        // Numbers go on from those in the log even when somebody deleted the files of the leases.
        let floor = match scope {
            LeaseScope::Scheduler => 0,
            LeaseScope::Tenant(tenant) => match self.log().await {
                Ok(state) => state.tenants.get(tenant).map_or(0, |entry| entry.lease),
                // Who repairs the log needs a lease, and nobody else gets further with one.
                Err(LedgerError::Corrupt { .. }) => 0,
                Err(error) => return Err(error),
            },
        };
        self.leases.acquire(scope, floor, wait).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        self.leases.release(lease).await
    }

    async fn state(&self, tenant: &TenantId) -> Result<TenantState, LedgerError> {
        Ok(self.log().await?.tenants.get(tenant).map(log::TenantEntry::public).unwrap_or_default())
    }

    async fn stored(&self, tenant: &TenantId, segment: &SegmentId) -> Result<LocalMembers, LedgerError> {
        read::stored(self, tenant, segment).await
    }

    async fn overrides(
        &self,
        tenant: &TenantId,
        at: Timestamp,
    ) -> Result<BTreeMap<SegmentId, Overrides<LocalMembers>>, LedgerError> {
        read::overrides(self, tenant, at).await
    }

    async fn begin(&self, lease: &Lease, run: Run) -> Result<ObjectTransaction, LedgerError> {
        let state = self.settle(lease, &run.tenant).await?;
        ObjectTransaction::new(self.clone(), run, lease.number, self.next_attempt(), state)
    }

    async fn read_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        read::members(self, tenant, segment).await
    }

    async fn read_audience(&self, tenant: &TenantId, audience: &Audience) -> Result<RowStream, LedgerError> {
        read::audience(self, tenant, audience).await
    }

    async fn read_changes(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        read::rows(self, tenant, read::Rows::Changes, filter).await
    }

    async fn read_history(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        read::rows(self, tenant, read::Rows::History, filter).await
    }

    async fn read_overrides(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        read::override_rows(self, tenant, filter).await
    }

    async fn segments_of(&self, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
        read::segments_of(self, tenant, subject_id).await
    }

    async fn recount(&self, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
        read::recount(self, tenant, segment).await
    }

    async fn members_at(&self, tenant: &TenantId, segment: &SegmentId, at: Timestamp) -> Result<Past, LedgerError> {
        past::members_at(self, tenant, segment, at).await
    }

    async fn backfilled(
        &self,
        tenant: &TenantId,
        segment: &SegmentId,
        definition_hash: &str,
    ) -> Result<BTreeSet<Timestamp>, LedgerError> {
        past::backfilled(self, tenant, segment, definition_hash).await
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

    async fn garbage(&self, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
        gc::garbage(self, tenant, grace).await
    }

    async fn collect(&self, lease: &Lease, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
        gc::collect(self, lease, tenant, grace).await
    }

    async fn verify(&self, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
        repair::verify(self, tenant).await
    }

    async fn repair(&self, lease: &Lease, tenant: &TenantId, rewrite_id: Uuid) -> Result<Vec<Fault>, LedgerError> {
        repair::repair(self, lease, tenant, rewrite_id).await
    }
}
