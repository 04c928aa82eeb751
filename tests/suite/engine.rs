//! Checked segments through the pipeline: lower, normalize, plan, evaluate on DataFusion or on a ClickHouse server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use futures::StreamExt as _;
use jiff::Timestamp;
use segmenta::backend::clickhouse::{ClickHouseBackend, EVALUATIONS, Evaluations, Kept, NewTable, RemoteMembers, order_of};
use segmenta::backend::datafusion::{DataFusionBackend, MemoryTables, Tables};
use segmenta::backend::tables::{Declared, EngineSettings, EventSource, ServerTable, SubjectSource, TenantTables};
use segmenta::backend::{Backend, BackendError, Inspection, LocalMembers, MemberSet as _, SortedIds, TableRole};
use segmenta::check::CheckedSegment;
use segmenta::clickhouse::{Connection, Statement, Value as ServerValue, quoted};
use segmenta::ir::{self, Formula, LogicalRule, LogicalSegment, SubjectTest};
use segmenta::model::calendar::Calendar;
use segmenta::model::catalog::{Catalog, ColumnType, SubjectTable, Table};
use segmenta::model::condition::Subject;
use segmenta::model::id::{SegmentId, TenantId};
use segmenta::model::segment::Status;
use segmenta::plan::{self, Batch, GivenSet, OutputName, Overridden, Population, Question, Reference, Request};
use segmenta::store::clickhouse::{Layout, ddl};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::clickhouse::Server;
use crate::reference::value::Row;
use crate::scenario::{Members, Scenario, Scores};
use crate::tables;

/// Opened tables, and what it takes to evaluate over them.
pub(crate) struct Engine {
    runtime: Runtime,
    backend: Tested,
}

/// What evaluates.
enum Tested {
    DataFusion(DataFusionBackend),
    ClickHouse { backend: ClickHouseBackend, connection: Connection },
}

/// The members of a set, and the scores of those that have one.
type Told = (BTreeSet<String>, BTreeMap<String, u32>);

impl Tested {
    fn catalog(&self) -> &Catalog {
        match self {
            Self::DataFusion(backend) => backend.catalog(),
            Self::ClickHouse { backend, .. } => backend.catalog(),
        }
    }

    /// The universe, and what was found of each output.
    async fn evaluate(&self, batch: &Batch, given: &[BTreeSet<String>]) -> Result<(BTreeSet<String>, Vec<Told>), String> {
        let failed = |error: BackendError| with_causes(&error);
        match self {
            Self::DataFusion(backend) => {
                let given: Vec<LocalMembers> = given.iter().map(local).collect();
                let evaluation = backend.evaluate(batch, &given).await.map_err(failed)?;
                let told = |members: &LocalMembers| {
                    let scores = members.iter_with_scores().filter_map(|(id, score)| Some((id.to_owned(), score?.billionths())));
                    (members.iter().map(str::to_owned).collect(), scores.collect())
                };
                Ok((told(&evaluation.universe).0, evaluation.outputs.iter().map(told).collect()))
            }
            Self::ClickHouse { backend, connection } => {
                let given = kept(backend, given).await?;
                let evaluation = backend.evaluate(batch, &given).await.map_err(failed)?;
                let mut told = Vec::new();
                for members in std::iter::once(&evaluation.universe).chain(&evaluation.outputs) {
                    let Kept::Evaluated { evaluation, output } = members.kept() else { continue };
                    let rows = Statement::new(format!(
                        "SELECT subject_id, score FROM {}.{EVALUATIONS} WHERE evaluation = {{e:UUID}} AND output = {{o:UInt32}}",
                        quoted(connection.database())
                    ));
                    let rows = rows.bind("e", "UUID", ServerValue::Text(evaluation.to_string())).number("o", "UInt32", output);
                    let rows = connection.rows::<(String, Option<u32>)>(rows).await.map_err(|error| with_causes(&error))?.rows;
                    let ids: BTreeSet<String> = rows.iter().map(|(id, _)| id.clone()).collect();
                    if (ids.len(), members.count()) != (rows.len(), rows.len() as u64) {
                        return Err(format!("output {output} has {} rows of {} ids", rows.len(), ids.len()));
                    }
                    told.push((ids, rows.into_iter().filter_map(|(id, score)| Some((id, score?))).collect()));
                }
                Ok((told.remove(0).0, told))
            }
        }
    }

    async fn inspect(&self, batch: &Batch, given: &[BTreeSet<String>], subject_id: &str) -> Result<Inspection, String> {
        let inspection = match self {
            Self::DataFusion(backend) => {
                let given: Vec<LocalMembers> = given.iter().map(local).collect();
                backend.inspect(batch, &given, subject_id).await
            }
            Self::ClickHouse { backend, .. } => backend.inspect(batch, &kept(backend, given).await?, subject_id).await,
        };
        inspection.map_err(|error| with_causes(&error))
    }

    async fn show_plan(&self, batch: &Batch) -> Result<String, String> {
        let plan = match self {
            Self::DataFusion(backend) => backend.show_plan(batch).await,
            Self::ClickHouse { backend, .. } => backend.show_plan(batch).await,
        };
        plan.map_err(|error| with_causes(&error))
    }
}

/// Sets on the server.
async fn kept(backend: &ClickHouseBackend, sets: &[BTreeSet<String>]) -> Result<Vec<RemoteMembers>, String> {
    let mut kept = Vec::new();
    for set in sets {
        let ids: Vec<&str> = set.iter().map(String::as_str).collect();
        kept.push(backend.keep(&ids).await.map_err(|error| with_causes(&error))?);
    }
    Ok(kept)
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Tested::ClickHouse { connection, .. } = &self.backend {
            let drop = Statement::new(format!("DROP DATABASE {}", quoted(connection.database())));
            // One that stays is litter, and no reason to fail.
            self.runtime.block_on(connection.execute(drop)).ok();
        }
    }
}

/// The segments of a batch, and what stands around them.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    /// What is asked for, and all that it refers to.
    pub(crate) segments: &'a [&'a CheckedSegment],
    pub(crate) as_of: Timestamp,
    /// The members of static and paused segments.
    pub(crate) stored: &'a Members,
}

/// How a checked segment becomes a logical one.
pub(crate) type Lowering = fn(&CheckedSegment) -> LogicalSegment;

/// The pipeline's own way.
pub(crate) fn normalized(segment: &CheckedSegment) -> LogicalSegment {
    ir::normalize(ir::lower(segment))
}

/// What was found of the requests for one subject.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) universe: BTreeSet<String>,
    pub(crate) outputs: BTreeMap<OutputName, BTreeSet<String>>,
    /// The scores of the members, in billionths, of what scores.
    pub(crate) scores: BTreeMap<OutputName, BTreeMap<String, u32>>,
}

impl Engine {
    /// Opens the rows of a scenario, with this many threads.
    pub(crate) fn over_rows(scenario: &Scenario, threads: usize) -> Result<Self, String> {
        Self::with_settings(scenario, &EngineSettings { threads, ..EngineSettings::default() })
    }

    /// Opens the rows of a scenario.
    pub(crate) fn with_settings(scenario: &Scenario, settings: &EngineSettings) -> Result<Self, String> {
        let (tables, batches) = (configuration(&scenario.catalog), batches_of(scenario));
        Self::open(async || Tables::from_batches(&tables, &batches, settings).await)
    }

    /// Puts the rows of a scenario into tables of a ClickHouse server, and opens those.
    pub(crate) fn on_server(scenario: &Scenario, server: &Server) -> Result<Self, String> {
        let runtime = runtime()?;
        let connection = Connection::new(server.database(&runtime)?, Uuid::now_v7());
        let tenant: TenantId = "t".parse().expect("an id");
        let (tables, batches) = (configuration(&scenario.catalog), batches_of(scenario));
        let backend = runtime.block_on(async {
            let failed = |error: BackendError| with_causes(&error);
            let layout = Layout { database: connection.database().to_owned(), ..Layout::default() };
            let create = format!("CREATE TABLE IF NOT EXISTS {}.", quoted(connection.database()));
            for ddl in ddl(&layout).into_iter().filter(|ddl| ddl.starts_with(&create) && ddl.contains(EVALUATIONS)) {
                connection.execute(Statement::new(ddl)).await.map_err(|error| with_causes(&error))?;
            }
            let order = order_of(&scenario.catalog, TableRole::Events);
            let roles = [
                (TableRole::Users, batches.users, Vec::new()),
                (TableRole::Events, batches.events, order),
                (TableRole::Products, batches.products, Vec::new()),
            ];
            for (role, rows, order) in roles {
                let Some(first) = rows.first() else { continue };
                let on_server = ServerTable { role, table: None, database: None, tenant_column: None };
                let table = NewTable::new(&tenant, on_server, connection.database(), first.schema(), order);
                table.fill(&connection, futures::stream::iter(rows.into_iter().map(Ok)).boxed()).await.map_err(failed)?;
            }
            ClickHouseBackend::open(connection.clone(), &tenant, &tables, Evaluations::default()).await.map_err(failed)
        })?;
        Ok(Self { backend: Tested::ClickHouse { backend, connection }, runtime })
    }

    /// Opens the files that a configuration names.
    pub(crate) fn over_files(tables: &TenantTables, base: &Path) -> Result<Self, String> {
        Self::open(async || Tables::open(tables, base, &EngineSettings::default()).await)
    }

    fn open<E: std::error::Error>(tables: impl AsyncFnOnce() -> Result<Tables, E>) -> Result<Self, String> {
        let runtime = runtime()?;
        let tables = runtime.block_on(tables()).map_err(|error| with_causes(&error))?;
        Ok(Self { backend: Tested::DataFusion(DataFusionBackend::new(tables)), runtime })
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.backend.catalog()
    }

    /// The members of the segments that are asked for.
    pub(crate) fn members(&self, order: Order<'_>, asked: &BTreeSet<SegmentId>) -> Result<Members, String> {
        Ok(self.members_and_scores(order, asked)?.0)
    }

    /// The members of the segments that are asked for, and the scores of those that score.
    pub(crate) fn members_and_scores(&self, order: Order<'_>, asked: &BTreeSet<SegmentId>) -> Result<(Members, Scores), String> {
        let of_segment = |name| match name {
            OutputName::Segment(id) if asked.contains(&id) => Some(id),
            OutputName::Segment(_) | OutputName::Node(..) | OutputName::Degree(..) => None,
        };
        let (mut members, mut scores) = (Members::new(), Scores::new());
        for subject in [Subject::User, Subject::Product] {
            let found = self.segments(subject, order, asked, normalized)?;
            members.extend(found.outputs.into_iter().filter_map(|(name, found)| Some((of_segment(name)?, found))));
            scores.extend(found.scores.into_iter().filter_map(|(name, found)| Some((of_segment(name)?, found))));
        }
        Ok((members, scores))
    }

    /// The universe of a subject, and the members of its segments that are asked for and of those they refer to.
    pub(crate) fn segments(
        &self,
        subject: Subject,
        order: Order<'_>,
        asked: &BTreeSet<SegmentId>,
        lowering: Lowering,
    ) -> Result<Found, String> {
        let requests = requests_for(subject, order, asked, lowering);
        self.requests(subject, order, &requests, lowering)
    }

    /// What requests come to.
    pub(crate) fn requests(
        &self,
        subject: Subject,
        order: Order<'_>,
        requests: &[Request],
        lowering: Lowering,
    ) -> Result<Found, String> {
        if requests.is_empty() {
            return Ok(Found::default());
        }
        let batch = self.batch(subject, order, requests, lowering)?;
        let given = self.given(&batch, order, lowering)?;
        let (universe, told) = self.runtime.block_on(self.backend.evaluate(&batch, &given))?;
        let mut found = Found { universe, ..Found::default() };
        for (output, (members, scores)) in batch.outputs.iter().zip(told) {
            if output.score.is_some() {
                found.scores.insert(output.name.clone(), scores);
            }
            found.outputs.insert(output.name.clone(), members);
        }
        Ok(found)
    }

    /// The members of the segments that are asked for as they are seen from several instants, all of them in one batch.
    pub(crate) fn members_at(
        &self,
        subject: Subject,
        order: Order<'_>,
        asked: &BTreeSet<SegmentId>,
        instants: &[Timestamp],
    ) -> Result<Vec<BTreeMap<OutputName, BTreeSet<String>>>, String> {
        let requests = requests_for(subject, order, asked, normalized);
        let batch = self.batch_at(subject, order, &requests, normalized, instants)?;
        let given = self.given(&batch, order, normalized)?;
        let (_, told) = self.runtime.block_on(self.backend.evaluate(&batch, &given))?;
        let mut found = vec![BTreeMap::new(); instants.len()];
        for (output, (members, _)) in batch.outputs.iter().zip(told) {
            let instant = instants.iter().position(|instant| *instant == output.as_of).ok_or("an output of no instant")?;
            found[instant].insert(output.name.clone(), members);
        }
        Ok(found)
    }

    /// What one subject looks like to the segments that are asked for.
    pub(crate) fn inspect(
        &self,
        subject: Subject,
        order: Order<'_>,
        asked: &BTreeSet<SegmentId>,
        subject_id: &str,
    ) -> Result<(Batch, Inspection), String> {
        let requests =
            dynamic(order, normalized).filter(|(segment, _)| segment.subject() == subject && asked.contains(segment.id()));
        let requests: Vec<Request> =
            requests.map(|(segment, formula)| Request { name: OutputName::Segment(segment.id().clone()), formula }).collect();
        let batch = self.batch(subject, order, &requests, normalized)?;
        let given = self.given(&batch, order, normalized)?;
        let inspection = self.runtime.block_on(self.backend.inspect(&batch, &given, subject_id))?;
        Ok((batch, inspection))
    }

    /// The plan of the segments that are asked for, as text.
    pub(crate) fn plan(&self, subject: Subject, order: Order<'_>, asked: &BTreeSet<SegmentId>) -> Result<String, String> {
        let batch = self.batch(subject, order, &requests_for(subject, order, asked, normalized), normalized)?;
        self.runtime.block_on(self.backend.show_plan(&batch))
    }

    /// The members that a batch is given: stored ones, and those of evaluated segments of users that products ask for.
    fn given(&self, batch: &Batch, order: Order<'_>, lowering: Lowering) -> Result<Vec<BTreeSet<String>>, String> {
        let audience = |id: &SegmentId| {
            let segment = order.segments.iter().find(|segment| segment.id() == id && segment.subject() != batch.subject)?;
            let by_rule = dynamic(order, lowering).find(|(segment, _)| segment.id() == id);
            let by_rule = by_rule.filter(|_| segment.definition().status == Status::Active).map(|(_, formula)| formula);
            let formula = by_rule.unwrap_or_else(|| Formula::Leaf(SubjectTest::Member(id.clone())));
            Some(Request { name: OutputName::Segment(id.clone()), formula })
        };
        let mut given = Vec::new();
        for set in &batch.given {
            let GivenSet::Members(id) = &set.set else { return Err(format!("nobody decided: {}", set.set)) };
            let order = Order { as_of: set.as_of, ..order };
            if let Some(request) = audience(id) {
                let name = request.name.clone();
                let found = self.requests(Subject::User, order, &[request], lowering)?;
                let members = found.outputs.into_iter().find_map(|(found, members)| (found == name).then_some(members));
                given.push(members.ok_or("an audience without members")?);
            } else {
                given.push(order.stored.get(id).cloned().unwrap_or_default());
            }
        }
        Ok(given)
    }

    fn batch(&self, subject: Subject, order: Order<'_>, requests: &[Request], lowering: Lowering) -> Result<Batch, String> {
        self.batch_at(subject, order, requests, lowering, &[order.as_of])
    }

    fn batch_at(
        &self,
        subject: Subject,
        order: Order<'_>,
        requests: &[Request],
        lowering: Lowering,
        instants: &[Timestamp],
    ) -> Result<Batch, String> {
        let stored = order.segments.iter().map(|segment| (segment.id().clone(), Reference::Stored));
        let active = dynamic(order, lowering).filter(|(segment, _)| segment.definition().status == Status::Active);
        let evaluated = active.map(|(segment, formula)| (segment.id().clone(), Reference::Evaluated(formula)));
        let references: BTreeMap<SegmentId, Reference> = stored.chain(evaluated).collect();
        let timezone = &self.catalog().timezone;
        let calendars = instants.iter().map(|instant| Calendar::new(*instant, timezone));
        let calendars: Vec<Calendar> = calendars.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let nobody = Overridden::new();
        let question = |calendar| Question { requests, overridden: &nobody, calendar };
        let questions: Vec<Question<'_>> = calendars.iter().map(question).collect();
        let population = Population::of(self.catalog(), subject);
        plan::plan_all(subject, population, &questions, &references, timezone).map_err(|error| error.to_string())
    }
}

fn requests_for(subject: Subject, order: Order<'_>, asked: &BTreeSet<SegmentId>, lowering: Lowering) -> Vec<Request> {
    dynamic(order, lowering)
        .filter(|(segment, _)| segment.subject() == subject && asked.contains(segment.id()))
        .map(|(segment, formula)| Request { name: OutputName::Segment(segment.id().clone()), formula })
        .collect()
}

/// The dynamic segments with their formulas.
fn dynamic<'a>(order: Order<'a>, lowering: Lowering) -> impl Iterator<Item = (&'a CheckedSegment, Formula<SubjectTest>)> {
    order.segments.iter().filter_map(move |segment| match lowering(segment).rule {
        LogicalRule::Static => None,
        LogicalRule::Formula(formula) => Some((*segment, formula)),
    })
}

fn runtime() -> Result<Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| error.to_string())
}

/// The rows of a scenario, in several batches, so that partial results meet.
fn batches_of(scenario: &Scenario) -> MemoryTables {
    let rows = |table: Option<&Table>, rows: &[Row]| {
        let Some(table) = table else { return Vec::new() };
        let size = rows.len().div_ceil(3).max(1);
        let mut batches: Vec<_> = rows.chunks(size).map(|rows| tables::to_batch(&table.columns, rows)).collect();
        if batches.is_empty() {
            batches.push(tables::to_batch(&table.columns, &[]));
        }
        batches
    };
    let of = |table: &'_ Option<SubjectTable>| table.as_ref().map(|table| table.table.clone());
    MemoryTables {
        users: rows(of(&scenario.catalog.users).as_ref(), &scenario.tables.users),
        events: rows(scenario.catalog.events.as_ref().map(|events| &events.table), &scenario.tables.events),
        products: rows(of(&scenario.catalog.products).as_ref(), &scenario.tables.products),
    }
}

fn local(ids: &BTreeSet<String>) -> LocalMembers {
    let ids = StringArray::from(ids.iter().map(String::as_str).collect::<Vec<_>>());
    LocalMembers::all(Arc::new(SortedIds::new(ids).expect("a sorted set")))
}

/// An error with everything below it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The configuration that leads to a catalog.
fn configuration(catalog: &Catalog) -> TenantTables {
    let declared = |table: &Table| {
        let json = table.columns.iter().filter(|(_, column_type)| **column_type == ColumnType::Json);
        json.map(|(name, _)| (name.clone(), Declared::Json)).collect()
    };
    let subjects = |table: &SubjectTable| SubjectSource {
        key: table.key.to_string(),
        version: table.version.as_ref().map(ToString::to_string),
        universe: table.universe,
        data: table.table.data.clone(),
        columns: declared(&table.table),
        allow_empty: true,
        ..SubjectSource::default()
    };
    let events = catalog.events.as_ref().map(|events| EventSource {
        user_key: events.user_key.as_ref().map(ToString::to_string),
        product_key: events.product_key.as_ref().map(ToString::to_string),
        event_type: events.event_type.as_ref().map(ToString::to_string),
        timestamp: events.timestamp.to_string(),
        event_id: events.event_id.as_ref().map(ToString::to_string),
        deduplicate: events.deduplicate,
        data: events.table.data.clone(),
        columns: declared(&events.table),
        allow_empty: true,
        ..EventSource::default()
    });
    TenantTables {
        timezone: catalog.timezone.clone(),
        users: catalog.users.as_ref().map(subjects),
        products: catalog.products.as_ref().map(subjects),
        events,
    }
}
