//! A world for the scheduler: a clock that jumps from pause to pause and acts out a script, tables that are sets of ids, definition
//! files in a folder of their own, and the ledger in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use segmenta::backend::{Backend, BackendError, Effort, Evaluation, Inspection, SortedIds, TableProfile, TableRole};
use segmenta::clock::{Clock, SharedClock};
use segmenta::ir::{Formula, Value};
use segmenta::model::catalog::{Access, Catalog, ColumnType, SubjectTable, Table, Universe};
use segmenta::model::id::TenantId;
use segmenta::plan::{Batch, BatchFeature, BatchValue, Leaf, OutputName};
use segmenta::refresh::Error;
use segmenta::refresh::config::{Config, TenantConfig, parse_config};
use segmenta::refresh::place::Place;
use segmenta::refresh::scheduler::{Pace, keep_fresh};
use segmenta::store::{Ledger, LedgerError, ReadFilter, TenantState};
use uuid::Uuid;

use crate::memory_ledger::{IdSet, MemoryLedger};

/// Something that happens at an instant of the steady time.
type Event = (Duration, Box<dyn FnOnce(&World) + Send>);

/// A clock that stands still but for pauses, which pass as soon as everyone else had a few turns. Copies share the time.
#[derive(Clone)]
pub(crate) struct ScriptClock(Arc<Script>);

struct Script {
    time: Mutex<Time>,
    script: Arc<Mutex<Vec<Event>>>,
    world: Mutex<Option<World>>,
}

/// How often a pause lets everyone else have a turn: enough for a run over tables in memory to come to its end.
const TURNS: usize = 64;

struct Time {
    now: Timestamp,
    elapsed: Duration,
    runs: u128,
}

impl ScriptClock {
    fn locked(&self) -> MutexGuard<'_, Time> {
        self.0.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the wall clock back; the steady time goes on.
    pub(crate) fn jump_back(&self, by: SignedDuration) {
        let mut time = self.locked();
        time.now -= by;
    }

    /// Lets time pass up to the next event of the script, and that happen.
    fn advance(&self, length: Duration) {
        let events: Vec<Event> = {
            let mut script = self.0.script.lock().unwrap_or_else(PoisonError::into_inner);
            let mut time = self.locked();
            let end = time.elapsed + length;
            let until = script.iter().map(|(at, _)| *at).filter(|at| *at <= end).min().unwrap_or(end).max(time.elapsed);
            let passed = SignedDuration::try_from(until - time.elapsed).unwrap();
            time.now += passed;
            time.elapsed = until;
            let (due, later) = script.drain(..).partition(|(at, _)| *at <= until);
            *script = later;
            due
        };
        let world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, event) in events {
            event(world.as_ref().unwrap());
        }
    }
}

impl Clock for ScriptClock {
    fn now(&self) -> Timestamp {
        self.locked().now
    }

    fn elapsed(&self) -> Duration {
        self.locked().elapsed
    }

    fn run_id(&self, _at: Timestamp) -> Uuid {
        let mut time = self.locked();
        time.runs += 1;
        Uuid::from_u128(time.runs)
    }

    fn pause(&self, length: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            clock.advance(length);
        })
    }
}

/// What the tables hold, and what was asked of them.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// The boolean columns of the users, each with the ids for which it is true.
    pub(crate) columns: BTreeMap<String, BTreeSet<String>>,
    /// Whether the source is gone.
    pub(crate) is_gone: bool,
    /// How long it takes to open them, and to evaluate a batch.
    pub(crate) opening_takes: Duration,
    pub(crate) evaluating_takes: Duration,
    /// Whether an evaluation never comes to an end.
    pub(crate) hangs: bool,
    /// Whether an evaluation that begins stops the scheduler.
    stops_when_evaluating: bool,
    /// How many evaluations are in progress, and how many were at most.
    pub(crate) in_progress: usize,
    pub(crate) most_in_progress: usize,
    /// The instant and the segments of every evaluation, in the order of the batch.
    pub(crate) evaluations: Vec<(Timestamp, Vec<String>)>,
}

/// The world of a test. Copies share it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: ScriptClock,
    pub(crate) ledger: MemoryLedger,
    tables: Arc<Mutex<Tables>>,
    script: Arc<Mutex<Vec<Event>>>,
    stop: UnboundedSender<()>,
    folder: Arc<tempfile::TempDir>,
    signals: Arc<Mutex<Option<futures::channel::mpsc::UnboundedReceiver<()>>>>,
}

/// Everyone there is.
pub(crate) const USERS: [&str; 4] = ["ann", "bob", "cid", "dan"];

impl World {
    /// A world that begins at an instant, with the column `vip` true for `ann`.
    pub(crate) fn new(start: &str) -> Self {
        let script: Arc<Mutex<Vec<Event>>> = Arc::default();
        let clock = ScriptClock(Arc::new(Script {
            time: Mutex::new(Time { now: start.parse().unwrap(), elapsed: Duration::ZERO, runs: 0 }),
            script: Arc::clone(&script),
            world: Mutex::default(),
        }));
        let shared: SharedClock = Arc::new(clock.clone());
        let (stop, signals) = unbounded();
        let world = Self {
            clock: clock.clone(),
            ledger: MemoryLedger::new(shared),
            tables: Arc::default(),
            script,
            stop,
            folder: Arc::new(tempfile::tempdir().unwrap()),
            signals: Arc::new(Mutex::new(Some(signals))),
        };
        fs::create_dir(world.definitions()).unwrap();
        world.tables().columns.insert("vip".to_owned(), ids(&["ann"]));
        *clock.0.world.lock().unwrap_or_else(PoisonError::into_inner) = Some(world.clone());
        world
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the definition files are.
    pub(crate) fn definitions(&self) -> PathBuf {
        self.folder.path().join("queries")
    }

    /// Writes a definition whose members are those of a column; `more` are further keys.
    pub(crate) fn define(&self, id: &str, column: &str, more: &str) {
        let condition = format!(r#"{{"type": "user_attribute", "property": "{column}", "operator": "is_true"}}"#);
        self.write(
            id,
            &format!(r#"{{"id": "{id}", {more}{comma}"logic": "and", "conditions": [{condition}]}}"#, comma = comma(more)),
        );
    }

    /// Writes a definition whose members are those of another.
    pub(crate) fn define_as(&self, id: &str, other: &str, more: &str) {
        let condition = format!(r#"{{"type": "segment", "segment_id": "{other}"}}"#);
        self.write(
            id,
            &format!(r#"{{"id": "{id}", {more}{comma}"logic": "and", "conditions": [{condition}]}}"#, comma = comma(more)),
        );
    }

    pub(crate) fn write(&self, id: &str, text: &str) {
        fs::write(self.definitions().join(format!("{id}.json")), text).unwrap();
    }

    pub(crate) fn remove(&self, id: &str) {
        fs::remove_file(self.definitions().join(format!("{id}.json"))).unwrap();
    }

    /// Lets something happen after a time.
    pub(crate) fn at(&self, after: Duration, event: impl FnOnce(&Self) + Send + 'static) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).push((after, Box::new(event)));
    }

    /// Tells the scheduler to stop.
    pub(crate) fn stop(&self) {
        self.stop.unbounded_send(()).unwrap();
    }

    /// The configuration, with more under `[scheduler]` and in the tenant.
    pub(crate) fn config(&self, scheduler: &str, tenant: &str) -> Config {
        self.config_of(scheduler, &[("demo", tenant)])
    }

    pub(crate) fn config_of(&self, scheduler: &str, tenants: &[(&str, &str)]) -> Config {
        let mut text = format!("[store]\nurl = \"out\"\n[scheduler]\n{scheduler}\n");
        for (id, more) in tenants {
            text.push_str(&format!("[[tenants]]\nid = \"{id}\"\ndefinitions = [\"queries\"]\n{more}\n"));
        }
        parse_config(&self.folder.path().join("scheduler.toml"), &text, &|_| None).unwrap()
    }

    /// Runs the scheduler for a time.
    pub(crate) fn run_for(&self, length: Duration, config: &Config) {
        self.at(length, Self::stop);
        self.run(config).unwrap();
    }

    /// Runs the scheduler until the script stops it.
    pub(crate) fn run(&self, config: &Config) -> Result<(), Error> {
        let pace = Pace { look_every: Duration::from_secs(600), wait: Duration::ZERO };
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(keep_fresh(self, config, pace, &self.clock, signals))
    }

    /// The same world after a time in which no scheduler lived.
    pub(crate) fn restarted(&self, after: Duration) -> Self {
        let (stop, signals) = unbounded();
        let world = Self { stop, signals: Arc::new(Mutex::new(Some(signals))), ..self.clone() };
        let passed = self.clock.elapsed();
        self.clock.advance(after - passed);
        *self.clock.0.world.lock().unwrap_or_else(PoisonError::into_inner) = Some(world.clone());
        world
    }

    /// Sends the signal as soon as an evaluation has begun.
    pub(crate) fn stop_when_evaluating(&self) {
        self.tables().stops_when_evaluating = true;
    }

    /// The committed state of the tenant `demo`.
    pub(crate) fn state(&self) -> TenantState {
        futures::executor::block_on(self.ledger.state(&"demo".parse().unwrap())).unwrap()
    }

    /// Every history row of a segment.
    pub(crate) fn history(&self, segment: &str) -> Vec<HistoryRow> {
        use datafusion::arrow::array::{Array, AsArray};
        use datafusion::arrow::datatypes::TimestampMicrosecondType;
        let filter = ReadFilter { segments: vec![segment.parse().unwrap()], ..ReadFilter::default() };
        let read = async {
            let stream = self.ledger.read_history(&"demo".parse().unwrap(), &filter).await.unwrap();
            stream.map(Result::unwrap).collect::<Vec<_>>().await
        };
        let mut rows = Vec::new();
        for batch in futures::executor::block_on(read) {
            let times = batch.column_by_name("as_of").unwrap().as_primitive::<TimestampMicrosecondType>();
            let [kinds, statuses, errors] = ["kind", "status", "error"].map(|name| batch[name].as_string::<i32>());
            for row in 0..batch.num_rows() {
                rows.push(HistoryRow {
                    at: Timestamp::from_microsecond(times.value(row)).unwrap(),
                    kind: kinds.value(row).to_owned(),
                    status: statuses.value(row).to_owned(),
                    error: errors.is_valid(row).then(|| errors.value(row).to_owned()),
                });
            }
        }
        rows
    }

    /// The instants at which runs computed a segment, whatever came of it.
    pub(crate) fn runs_of(&self, segment: &str) -> Vec<Timestamp> {
        self.history(segment).into_iter().filter(|row| row.kind == "run").map(|row| row.at).collect()
    }
}

/// What the ledger says of a segment in one run.
#[derive(Debug)]
pub(crate) struct HistoryRow {
    pub(crate) at: Timestamp,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) error: Option<String>,
}

fn comma(more: &str) -> &'static str {
    if more.is_empty() { "" } else { ", " }
}

/// A set of ids.
pub(crate) fn ids(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|id| (*id).to_owned()).collect()
}

/// Hours, as a length of time.
pub(crate) fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

#[async_trait]
impl Place for World {
    type Members = IdSet;
    type Backend = WorldBackend;
    type Ledger = MemoryLedger;

    async fn open(&self, tenant: &TenantConfig, _run: Uuid) -> Result<WorldBackend, BackendError> {
        let opening_takes = self.tables().opening_takes;
        self.clock.advance(opening_takes);
        let tables = self.tables();
        if tables.is_gone {
            let (location, problem) = ("users.parquet".to_owned(), "is not there".to_owned());
            return Err(BackendError::Source { table: TableRole::Users, location, problem, help: None, source: None });
        }
        let columns: IndexMap<String, ColumnType> = [("id".to_owned(), ColumnType::Text)]
            .into_iter()
            .chain(tables.columns.keys().map(|column| (column.clone(), ColumnType::Boolean)))
            .collect();
        let users = SubjectTable {
            table: Table { columns, data: None },
            key: Access::column("id", ColumnType::Text),
            version: None,
            universe: Universe::Table,
        };
        let timezone = tenant.tables.timezone.clone();
        Ok(WorldBackend { catalog: Catalog { timezone, users: Some(users), products: None, events: None }, world: self.clone() })
    }

    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }

    async fn gather(&self, _run: Uuid, ids: SortedIds) -> Result<IdSet, BackendError> {
        Ok(IdSet(ids.iter().map(str::to_owned).collect()))
    }

    async fn keep_catalog(&self, _tenant: &TenantId, _catalog: &Catalog) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// The tables, opened for one run.
pub(crate) struct WorldBackend {
    catalog: Catalog,
    world: World,
}

impl WorldBackend {
    fn holds(&self, batch: &Batch, formula: &Formula<Leaf>, id: &str, outputs: &[IdSet], given: &[IdSet]) -> bool {
        let below = |formula: &Formula<Leaf>| self.holds(batch, formula, id, outputs, given);
        match formula {
            Formula::Constant(value) => *value,
            Formula::All(of) => of.iter().all(below),
            Formula::Any(of) => of.iter().any(below),
            Formula::AtLeast { count, of } => of.iter().filter(|formula| below(formula)).count() >= *count,
            Formula::Not(inner) => !below(inner),
            Formula::Leaf(Leaf::Output(index)) => outputs[*index].0.contains(id),
            Formula::Leaf(Leaf::Rank(_) | Leaf::Compare(_)) => panic!("this world ranks and compares nobody"),
            Formula::Leaf(Leaf::Score(_)) => panic!("this world scores nobody"),
            Formula::Leaf(Leaf::Given(index)) => given[*index].0.contains(id),
            Formula::Leaf(Leaf::Test(index)) => match &batch.features[batch.tests[*index].feature] {
                BatchFeature::Attribute(BatchValue { value: Value::Stored(access, _), .. }) => {
                    self.world.tables().columns[&access.column].contains(id)
                }
                other => panic!("this world has no {other:?}"),
            },
        }
    }
}

#[async_trait]
impl Backend for WorldBackend {
    type Members = IdSet;

    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    async fn evaluate(&self, batch: &Batch, given: &[IdSet]) -> Result<Evaluation<IdSet>, BackendError> {
        let hangs = {
            let mut tables = self.world.tables();
            tables.in_progress += 1;
            tables.most_in_progress = tables.most_in_progress.max(tables.in_progress);
            let names = batch.outputs.iter().map(|output| match &output.name {
                OutputName::Segment(id) | OutputName::Node(id, _) | OutputName::Degree(id, _) => id.to_string(),
            });
            tables.evaluations.push((batch.as_of, names.collect()));
            if tables.stops_when_evaluating {
                self.world.stop();
            }
            tables.hangs
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        let evaluating_takes = self.world.tables().evaluating_takes;
        self.world.clock.advance(evaluating_takes);
        let mut outputs: Vec<IdSet> = Vec::new();
        for output in &batch.outputs {
            let members = USERS.iter().filter(|id| self.holds(batch, &output.formula, id, &outputs, given));
            outputs.push(IdSet(members.map(|id| (*id).to_owned()).collect()));
        }
        self.world.tables().in_progress -= 1;
        Ok(Evaluation {
            universe: IdSet(ids(&USERS)),
            outputs,
            observations: Vec::new(),
            scans: Vec::new(),
            effort: Effort::default(),
        })
    }

    async fn inspect(&self, _batch: &Batch, _given: &[IdSet], _subject_id: &str) -> Result<Inspection, BackendError> {
        panic!("the scheduler inspects nobody")
    }

    async fn show_plan(&self, _batch: &Batch) -> Result<String, BackendError> {
        panic!("the scheduler shows no plan")
    }

    async fn profile(&self, _table: TableRole) -> Result<TableProfile, BackendError> {
        panic!("the scheduler describes nothing")
    }
}
