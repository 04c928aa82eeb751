//! The stage that the tests of the store play on: places, a clock that only the test moves, and shorthands for runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use datafusion::arrow::datatypes::{Date32Type, TimestampMicrosecondType, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringBitmap;
use segmenta::backend::{LocalMembers, SortedIds};
use segmenta::clock::Clock;
use segmenta::model::condition::Subject;
use segmenta::model::id::{SegmentId, TenantId};
use segmenta::model::segment::{Kind, Status};
use segmenta::store::object::{Holder, LeaseTiming, ObjectLedger, Options, Place};
use segmenta::store::{
    DefinitionRecord, Figures, Lease, LeaseScope, Ledger, LedgerError, Outcome, RowStream, Run, RunKind, StagedSegment, Transaction,
};
use uuid::Uuid;

use crate::memory_ledger::{IdSet, MemoryLedger};

/// How long tests wait for a lease: not at all.
pub(crate) const AT_ONCE: Duration = Duration::ZERO;

/// A clock that stands still until it is moved. Its run ids count up.
#[derive(Debug)]
pub(crate) struct ManualClock {
    micros: AtomicI64,
    elapsed_micros: AtomicU64,
    ids: AtomicU64,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        Arc::new(Self { micros: AtomicI64::new(start.as_microsecond()), elapsed_micros: AtomicU64::new(0), ids: AtomicU64::new(0) })
    }

    /// Time passes, on the wall as in truth.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap();
        self.micros.fetch_add(i64::try_from(by).unwrap(), Ordering::SeqCst);
        self.elapsed_micros.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.now()
    }

    /// Somebody sets the clock on the wall back.
    pub(crate) fn jump_back(&self, by: Duration) {
        self.micros.fetch_sub(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros.load(Ordering::SeqCst)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_micros.load(Ordering::SeqCst))
    }

    fn run_id(&self, _at: Timestamp) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)))
    }
}

/// What the contract needs to know of a ledger's place.
pub(crate) trait Stage: Send + Sync {
    type Ledger: Ledger;

    /// The ledger, as a process that starts now opens it.
    fn open(&self) -> Self::Ledger;

    fn clock(&self) -> &ManualClock;

    /// Members as a backend of the same place hands them over.
    fn members(&self, ids: &[&str]) -> impl Future<Output = <Self::Ledger as Ledger>::Members> + Send;

    /// Who is in a set, by id.
    fn ids(&self, members: &<Self::Ledger as Ledger>::Members) -> impl Future<Output = Vec<String>> + Send;
}

/// An object store.
pub(crate) struct ObjectStage {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) options: Options,
}

impl ObjectStage {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        let leases = LeaseTiming { poll: Duration::from_millis(5), ..LeaseTiming::default() };
        // So few that every test meets checkpoints.
        Self { store, clock: ManualClock::new(), options: Options { leases, checkpoint_every: 4, ..Options::default() } }
    }

    pub(crate) fn place(&self) -> Place {
        Place::new(Arc::clone(&self.store), Path::from("some/prefix"), "test")
    }

    /// The paths of all files, below the prefix.
    pub(crate) async fn paths(&self) -> Vec<String> {
        let found: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        found.iter().map(|meta| meta.location.as_ref().trim_start_matches("some/prefix/").to_owned()).collect()
    }

    /// Puts a file there, as somebody from outside.
    pub(crate) async fn put(&self, path: &str, content: &'static str) {
        self.store.put(&Path::from(format!("some/prefix/{path}")), content.into()).await.unwrap();
    }

    /// Deletes a file, as somebody from outside.
    pub(crate) async fn delete(&self, path: &str) {
        self.store.delete(&Path::from(format!("some/prefix/{path}"))).await.unwrap();
    }

    pub(crate) fn open_as(&self, holder: &str) -> ObjectLedger {
        ObjectLedger::new(self.place(), Arc::clone(&self.clock) as _, Holder::named(holder), self.options)
    }
}

impl Stage for ObjectStage {
    type Ledger = ObjectLedger;

    fn open(&self) -> ObjectLedger {
        self.open_as("tester@here pid 1")
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn members(&self, ids: &[&str]) -> LocalMembers {
        local(ids)
    }

    async fn ids(&self, members: &LocalMembers) -> Vec<String> {
        members.iter().map(str::to_owned).collect()
    }
}

/// A folder of the local disk, which goes with the stage.
pub(crate) struct DiskStage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

impl DiskStage {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: ManualClock::new() }
    }

    /// The folder of the store, which the first write makes.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("out put")
    }
}

impl Stage for DiskStage {
    type Ledger = ObjectLedger;

    fn open(&self) -> ObjectLedger {
        ObjectLedger::open(self.root().to_str().unwrap(), Arc::clone(&self.clock) as _, Holder::named("tester@here pid 1")).unwrap()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn members(&self, ids: &[&str]) -> LocalMembers {
        local(ids)
    }

    async fn ids(&self, members: &LocalMembers) -> Vec<String> {
        members.iter().map(str::to_owned).collect()
    }
}

/// A ledger of this process.
pub(crate) struct MemoryStage {
    ledger: MemoryLedger,
    clock: Arc<ManualClock>,
}

impl MemoryStage {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Self { ledger: MemoryLedger::new(Arc::clone(&clock) as _), clock }
    }
}

impl Stage for MemoryStage {
    type Ledger = MemoryLedger;

    fn open(&self) -> MemoryLedger {
        self.ledger.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn members(&self, ids: &[&str]) -> IdSet {
        IdSet(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    async fn ids(&self, members: &IdSet) -> Vec<String> {
        members.0.iter().cloned().collect()
    }
}

/// Runs a test to its end, on one thread, so that its steps come in one order.
pub(crate) fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Members as a backend hands them over: positions in a list of more ids than those.
pub(crate) fn local(ids: &[&str]) -> LocalMembers {
    let mut all: Vec<String> = ids.iter().flat_map(|id| [(*id).to_owned(), format!("{id}-other")]).collect();
    all.sort();
    all.dedup();
    let sorted = SortedIds::new(StringArray::from_iter_values(&all)).unwrap();
    let selected: RoaringBitmap = (0..all.len())
        .filter(|&position| ids.contains(&all[position].as_str()))
        .map(|position| u32::try_from(position).unwrap())
        .collect();
    LocalMembers::new(Arc::new(sorted), selected)
}

pub(crate) fn tenant() -> TenantId {
    "demo".parse().unwrap()
}

pub(crate) fn write_scope() -> LeaseScope {
    LeaseScope::Tenant(tenant())
}

pub(crate) fn segment(id: &str) -> SegmentId {
    id.parse().unwrap()
}

pub(crate) fn definition(hash: &str) -> DefinitionRecord {
    DefinitionRecord {
        hash: hash.to_owned(),
        json: format!("{{\"hash\":\"{hash}\"}}"),
        subject: Subject::User,
        kind: Kind::Dynamic,
        status: Status::Active,
    }
}

/// A run at the present moment.
pub(crate) fn run(clock: &dyn Clock) -> Run {
    let as_of = clock.now();
    let evaluation_date = as_of.to_zoned(jiff::tz::TimeZone::UTC).date();
    Run { run_id: clock.run_id(as_of), tenant: tenant(), kind: RunKind::Run, as_of, evaluation_date }
}

pub(crate) fn evaluated<M>(id: &str, hash: &str, members: M, universe: M) -> StagedSegment<M> {
    StagedSegment {
        segment: segment(id),
        definition: Some(definition(hash)),
        outcome: Outcome::evaluated(members, universe),
        duration: Duration::from_millis(7),
        max_change: None,
    }
}

/// Everyone who appears in the tests, unless they left.
pub(crate) const EVERYONE: [&str; 6] = ["ann", "bob", "cid", "dan", "eve", "Ünal 🦊"];

/// One whole run: each segment with its definition's hash and its members, out of [`EVERYONE`].
pub(crate) async fn refresh<S: Stage>(
    stage: &S,
    ledger: &S::Ledger,
    segments: &[(&str, &str, &[&str])],
) -> Result<Vec<Figures>, LedgerError> {
    refresh_within(stage, ledger, &EVERYONE, segments).await
}

/// As [`refresh`], with a universe of its own.
pub(crate) async fn refresh_within<S: Stage>(
    stage: &S,
    ledger: &S::Ledger,
    universe: &[&str],
    segments: &[(&str, &str, &[&str])],
) -> Result<Vec<Figures>, LedgerError> {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let figures = refresh_under(stage, ledger, &lease, universe, segments).await;
    ledger.release(lease).await?;
    figures
}

/// As [`refresh_within`], under a lease that is there already.
pub(crate) async fn refresh_under<S: Stage>(
    stage: &S,
    ledger: &S::Ledger,
    lease: &Lease,
    universe: &[&str],
    segments: &[(&str, &str, &[&str])],
) -> Result<Vec<Figures>, LedgerError> {
    let mut transaction = ledger.begin(lease, run(stage.clock())).await?;
    let mut figures = Vec::new();
    for (id, hash, members) in segments {
        let (members, universe) = (stage.members(members).await, stage.members(universe).await);
        figures.push(transaction.stage(evaluated(id, hash, members, universe)).await?);
    }
    transaction.commit().await?;
    Ok(figures)
}

pub(crate) fn figures(member_count: u64, added_count: u64, removed_count: u64) -> Figures {
    Figures { member_count, added_count, removed_count }
}

/// The rows of a table with every value as text, by column.
pub(crate) type TextRow = BTreeMap<String, String>;

/// All rows, in their order.
pub(crate) async fn text_rows(rows: RowStream) -> Result<Vec<TextRow>, LedgerError> {
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    Ok(batches.iter().flat_map(batch_rows).collect())
}

/// The rows with the columns named, joined by spaces.
pub(crate) async fn lines(rows: RowStream, columns: &[&str]) -> Vec<String> {
    let rows = text_rows(rows).await.unwrap();
    rows.iter().map(|row| columns.iter().map(|column| row[*column].as_str()).collect::<Vec<_>>().join(" ")).collect()
}

fn batch_rows(batch: &RecordBatch) -> Vec<TextRow> {
    let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let row = |row: usize| names.iter().zip(batch.columns()).map(|(name, column)| (name.clone(), text(column, row))).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.value(row).to_owned()
    } else if let Some(numbers) = column.as_primitive_opt::<UInt64Type>() {
        numbers.value(row).to_string()
    } else if let Some(instants) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        Timestamp::from_microsecond(instants.value(row)).unwrap().to_string()
    } else if let Some(days) = column.as_primitive_opt::<Date32Type>() {
        days.value_as_date(row).unwrap().to_string()
    } else if let Some(floats) = column.as_any().downcast_ref::<Float64Array>() {
        floats.value(row).to_string()
    } else {
        panic!("a column of type {}", column.data_type())
    }
}
