//! Checked segments through the pipeline: lower, normalize, plan, evaluate on DataFusion.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use jiff::Timestamp;
use segmenta::backend::datafusion::{DataFusionBackend, MemoryTables, Tables};
use segmenta::backend::tables::{Declared, EngineSettings, EventSource, SubjectSource, TenantTables};
use segmenta::backend::{Backend, Inspection, LocalMembers, SortedIds};
use segmenta::check::CheckedSegment;
use segmenta::ir::{self, Formula, LogicalRule, LogicalSegment, SubjectTest};
use segmenta::model::calendar::Calendar;
use segmenta::model::catalog::{Catalog, ColumnType, SubjectTable, Table};
use segmenta::model::condition::Subject;
use segmenta::model::id::SegmentId;
use segmenta::model::segment::Status;
use segmenta::plan::{self, Batch, OutputName, Reference, Request};
use tokio::runtime::Runtime;

use crate::reference::value::Row;
use crate::scenario::{Members, Scenario, Scores};
use crate::tables;

/// Opened tables, and what it takes to evaluate over them.
pub(crate) struct Engine {
    runtime: Runtime,
    backend: DataFusionBackend,
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
        let tables = configuration(&scenario.catalog);
        let rows = |table: Option<&Table>, rows: &[Row]| {
            let Some(table) = table else { return Vec::new() };
            // Several batches, so that partial results meet.
            let size = rows.len().div_ceil(3).max(1);
            let mut batches: Vec<_> = rows.chunks(size).map(|rows| tables::to_batch(&table.columns, rows)).collect();
            if batches.is_empty() {
                batches.push(tables::to_batch(&table.columns, &[]));
            }
            batches
        };
        let of = |table: &'_ Option<SubjectTable>| table.as_ref().map(|table| table.table.clone());
        let batches = MemoryTables {
            users: rows(of(&scenario.catalog.users).as_ref(), &scenario.tables.users),
            events: rows(scenario.catalog.events.as_ref().map(|events| &events.table), &scenario.tables.events),
            products: rows(of(&scenario.catalog.products).as_ref(), &scenario.tables.products),
        };
        Self::open(async || Tables::from_batches(&tables, &batches, settings).await)
    }

    /// Opens the files that a configuration names.
    pub(crate) fn over_files(tables: &TenantTables, base: &Path) -> Result<Self, String> {
        Self::open(async || Tables::open(tables, base, &EngineSettings::default()).await)
    }

    fn open<E: std::error::Error>(tables: impl AsyncFnOnce() -> Result<Tables, E>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let tables = runtime.block_on(tables()).map_err(|error| with_causes(&error))?;
        Ok(Self { backend: DataFusionBackend::new(tables), runtime })
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
        let evaluation = self.runtime.block_on(self.backend.evaluate(&batch, &given)).map_err(|error| with_causes(&error))?;
        let ids = |members: &LocalMembers| members.iter().map(str::to_owned).collect();
        let outputs = batch.outputs.iter().zip(&evaluation.outputs).map(|(output, members)| (output.name.clone(), ids(members)));
        let scores = batch.outputs.iter().zip(&evaluation.outputs).filter(|(output, _)| output.score().is_some());
        let scores = scores.map(|(output, members)| {
            let found = members.iter_with_scores().map(|(id, score)| (id.to_owned(), score.expect("a score").billionths()));
            (output.name.clone(), found.collect())
        });
        Ok(Found { universe: ids(&evaluation.universe), outputs: outputs.collect(), scores: scores.collect() })
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
        let inspection =
            self.runtime.block_on(self.backend.inspect(&batch, &given, subject_id)).map_err(|error| with_causes(&error))?;
        Ok((batch, inspection))
    }

    /// The plan of the segments that are asked for, as text.
    pub(crate) fn plan(&self, subject: Subject, order: Order<'_>, asked: &BTreeSet<SegmentId>) -> Result<String, String> {
        let batch = self.batch(subject, order, &requests_for(subject, order, asked, normalized), normalized)?;
        self.runtime.block_on(self.backend.show_plan(&batch)).map_err(|error| with_causes(&error))
    }

    /// The members that a batch is given: stored ones, and those of evaluated segments of users that products ask for.
    fn given(&self, batch: &Batch, order: Order<'_>, lowering: Lowering) -> Result<Vec<LocalMembers>, String> {
        let audience = |id: &SegmentId| {
            let segment = order.segments.iter().find(|segment| segment.id() == id && segment.subject() != batch.subject)?;
            let by_rule = dynamic(order, lowering).find(|(segment, _)| segment.id() == id);
            let by_rule = by_rule.filter(|_| segment.definition().status == Status::Active).map(|(_, formula)| formula);
            let formula = by_rule.unwrap_or_else(|| Formula::Leaf(SubjectTest::Member(id.clone())));
            Some(Request { name: OutputName::Segment(id.clone()), formula })
        };
        let nobody = BTreeSet::new();
        let mut given = Vec::new();
        for id in &batch.given {
            if let Some(request) = audience(id) {
                let name = request.name.clone();
                let found = self.requests(Subject::User, order, &[request], lowering)?;
                let members = found.outputs.into_iter().find_map(|(found, members)| (found == name).then_some(members));
                given.push(local(&members.ok_or("an audience without members")?));
            } else {
                given.push(local(order.stored.get(id).unwrap_or(&nobody)));
            }
        }
        Ok(given)
    }

    fn batch(&self, subject: Subject, order: Order<'_>, requests: &[Request], lowering: Lowering) -> Result<Batch, String> {
        let stored = order.segments.iter().map(|segment| (segment.id().clone(), Reference::Stored));
        let active = dynamic(order, lowering).filter(|(segment, _)| segment.definition().status == Status::Active);
        let evaluated = active.map(|(segment, formula)| (segment.id().clone(), Reference::Evaluated(formula)));
        let references: BTreeMap<SegmentId, Reference> = stored.chain(evaluated).collect();
        let timezone = &self.catalog().timezone;
        let calendar = Calendar::new(order.as_of, timezone).map_err(|error| error.to_string())?;
        plan::plan(subject, requests, &references, &calendar, timezone).map_err(|error| error.to_string())
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
