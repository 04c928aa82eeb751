//! One tenant's tables, opened for one run: what the configuration names, listed anew, with every column in one type.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionContext;
use jiff::tz::TimeZone;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::session::session;
use super::source::{Empty, Opened, Presence, Settings, Zones, fault, open, scanned_table};
use crate::backend::mapping::{event_table, subject_table};
use crate::backend::tables::{Declared, EngineSettings, EventSource, Locations, SubjectSource, TenantTables};
use crate::backend::{BackendError, Scan, TableRole};
use crate::model::catalog::Catalog;

/// Where tables of the memory stand, instead of files.
const MEMORY: &str = "memory:///";

/// One tenant's tables, and the session that reads them. What was listed and the schemas that were found do not change.
pub struct Tables {
    catalog: Catalog,
    session: SessionContext,
    users: Option<Opened>,
    events: Option<Opened>,
    products: Option<Opened>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// Rows in memory that take the place of a tenant's files.
#[derive(Debug, Clone, Default)]
pub struct MemoryTables {
    /// The users.
    pub users: Vec<RecordBatch>,
    /// The events.
    pub events: Vec<RecordBatch>,
    /// The products.
    pub products: Vec<RecordBatch>,
}

/// All rows of a table, for plans that count what did not fit.
pub(super) struct CountedScan {
    /// The columns of [`Tables::scan`], and the presences.
    pub(super) rows: LogicalPlanBuilder,
    /// Where values are that may be lost to what their columns were declared to be.
    pub(super) presences: Vec<Presence>,
}

impl Tables {
    /// Lists the sources, looks into their files, and resolves the properties that the configuration names. Relative paths start
    /// from `base`. Stores are configured by the environment, in the way of their own tools.
    ///
    /// # Errors
    /// [`BackendError::Source`] when a source is missing, empty, unreadable, or holds files that do not go together;
    /// [`BackendError::Mapping`] when the configuration names what the source does not have.
    pub async fn open(tables: &TenantTables, base: &Path, settings: &EngineSettings) -> Result<Self, BackendError> {
        Self::open_in(session(settings)?, tables, base).await
    }

    /// The same from rows in memory, a file for each batch: the `source` of each table is not looked at.
    ///
    /// # Errors
    /// As [`Tables::open`].
    pub async fn from_batches(
        tables: &TenantTables,
        batches: &MemoryTables,
        settings: &EngineSettings,
    ) -> Result<Self, BackendError> {
        let session = session(settings)?;
        let store = InMemory::new();
        let mut tables = tables.clone();
        for (table, batches) in
            [(TableRole::Users, &batches.users), (TableRole::Events, &batches.events), (TableRole::Products, &batches.products)]
        {
            for (number, batch) in batches.iter().enumerate() {
                let bytes = stream_of(batch).map_err(|cause| fault(table, MEMORY, "cannot be kept").cause(cause))?;
                let path = format!("{table}/{number:06}.arrow").into();
                store.put(&path, bytes.into()).await.map_err(|cause| fault(table, MEMORY, "cannot be kept").cause(cause))?;
            }
        }
        let place = |table: TableRole| Locations(vec![format!("{MEMORY}{table}/")]);
        if let Some(users) = &mut tables.users {
            users.source = place(TableRole::Users);
        }
        if let Some(events) = &mut tables.events {
            events.source = place(TableRole::Events);
        }
        if let Some(products) = &mut tables.products {
            products.source = place(TableRole::Products);
        }
        if let Ok(url) = Url::parse(MEMORY) {
            session.runtime_env().register_object_store(&url, Arc::new(store) as Arc<dyn ObjectStore>);
        }
        Self::open_in(session, &tables, Path::new("")).await
    }

    async fn open_in(session: SessionContext, tables: &TenantTables, base: &Path) -> Result<Self, BackendError> {
        let runtime = session.runtime_env();
        let local = |table| zone(table, &tables.timezone);
        let mut catalog = Catalog { timezone: tables.timezone.clone(), users: None, products: None, events: None };
        let (mut users, mut events, mut products) = (None, None, None);
        if let Some(source) = &tables.users {
            let opened = open(&subject_settings(TableRole::Users, source, local(TableRole::Users)?)?, base, &runtime).await?;
            catalog.users = Some(subject_table(TableRole::Users, source, &opened.columns)?);
            users = Some(opened);
        }
        if let Some(source) = &tables.events {
            let opened = open(&event_settings(source, local(TableRole::Events)?)?, base, &runtime).await?;
            catalog.events = Some(event_table(source, &opened.columns)?);
            events = Some(opened);
        }
        if let Some(source) = &tables.products {
            let opened = open(&subject_settings(TableRole::Products, source, local(TableRole::Products)?)?, base, &runtime).await?;
            catalog.products = Some(subject_table(TableRole::Products, source, &opened.columns)?);
            products = Some(opened);
        }
        Ok(Self { catalog, session, users, events, products })
    }

    /// Which tables there are, with which columns.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The session in which plans over these tables run.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        &self.session
    }

    /// A plan of all rows of a table. Its columns are qualified by the table's word (`users`, `events`, `products`) and are those of
    /// the catalog in their order, without those of [`ColumnType::Other`](crate::model::catalog::ColumnType::Other), each of one type:
    /// Boolean, Int64, UInt64, Float64, Decimal128 up to 38 digits and Decimal256 above, Utf8View for text and JSON, Date32,
    /// Timestamp of microseconds in `UTC`, and lists, structs and maps of these.
    ///
    /// # Errors
    /// [`BackendError::Mapping`] when the tenant has no such table.
    pub fn scan(&self, table: TableRole) -> Result<LogicalPlanBuilder, BackendError> {
        self.plan(table, self.opened(table)?.provider())
    }

    /// The same rows, with a column for each presence. Of rows for which one of the conditions does not hold some may be left out, as
    /// far as files can be skipped by them.
    pub(super) fn counted_scan(&self, table: TableRole, needed: Vec<Expr>) -> Result<CountedScan, BackendError> {
        let opened = self.opened(table)?;
        let rows = self.plan(table, opened.provider_with_presences(needed))?;
        Ok(CountedScan { rows, presences: opened.presences().to_vec() })
    }

    fn plan(&self, table: TableRole, provider: Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder, BackendError> {
        LogicalPlanBuilder::scan(table.keyword(), provider_as_source(provider), None)
            .map_err(|cause| self.failure("planning a scan", cause))
    }

    /// How many files a table has.
    ///
    /// # Errors
    /// [`BackendError::Mapping`] when the tenant has no such table.
    pub fn files(&self, table: TableRole) -> Result<usize, BackendError> {
        Ok(self.opened(table)?.files.len())
    }

    pub(super) fn opened(&self, table: TableRole) -> Result<&Opened, BackendError> {
        let opened = match table {
            TableRole::Users => self.users.as_ref(),
            TableRole::Events => self.events.as_ref(),
            TableRole::Products => self.products.as_ref(),
        };
        opened.ok_or_else(|| BackendError::Mapping {
            table,
            problem: "the tenant has no such table".to_owned(),
            help: Some(format!("Add `[tenants.{table}]` to the configuration.")),
        })
    }

    /// How much of each table an executed plan read, in the order of the tables' words.
    #[must_use]
    pub fn scans(&self, plan: &Arc<dyn ExecutionPlan>) -> Vec<Scan> {
        let mut nodes: Vec<Scan> = Vec::new();
        let visited = plan.apply(|node| {
            if let Some(table) = scanned_table(node.as_ref()) {
                let metrics = node.metrics();
                let count = |value: Option<usize>| u64::try_from(value.unwrap_or(0)).unwrap_or(u64::MAX);
                let rows = count(metrics.as_ref().and_then(MetricsSet::output_rows));
                let bytes = metrics.as_ref().and_then(|metrics| metrics.sum_by_name("bytes_scanned"));
                let bytes = count(bytes.map(|bytes| bytes.as_usize()));
                nodes.push(Scan { table, passes: 1, rows, columns: node.schema().fields().len(), bytes });
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visit cannot fail");
        let tables = [(TableRole::Events, &self.events), (TableRole::Products, &self.products), (TableRole::Users, &self.users)];
        let scans = tables.into_iter().filter_map(|(table, opened)| {
            let of_table = || nodes.iter().filter(|scan| scan.table == table);
            // A table of several formats or stores is one scan for each in every pass.
            let passes = of_table().count() / opened.as_ref()?.parts.max(1);
            let rows = of_table().map(|scan| scan.rows).sum();
            let columns = of_table().map(|scan| scan.columns).max().unwrap_or(0);
            let bytes = of_table().map(|scan| scan.bytes).sum();
            if passes == 0 { None } else { Some(Scan { table, passes, rows, columns, bytes }) }
        });
        scans.collect()
    }

    /// What a failure of the engine means: a source that vanished or broke, too little memory, or a fault of the engine itself.
    #[must_use]
    pub fn failure(&self, operation: &'static str, failure: DataFusionError) -> BackendError {
        enum Meaning {
            Told(TableRole, String, String, Option<String>),
            Vanished(String),
            Memory,
            Unknown,
        }
        let mut meaning = Meaning::Unknown;
        let mut cause: Option<&(dyn Error + 'static)> = Some(&failure);
        while let Some(error) = cause {
            if let Some(BackendError::Source { table, location, problem, help, .. }) = error.downcast_ref() {
                meaning = Meaning::Told(*table, location.clone(), problem.clone(), help.clone());
                break;
            }
            if let Some(object_store::Error::NotFound { path, .. }) = error.downcast_ref() {
                meaning = Meaning::Vanished(path.clone());
                break;
            }
            if let Some(DataFusionError::ResourcesExhausted(_)) = error.downcast_ref() {
                meaning = Meaning::Memory;
                break;
            }
            cause = error.source();
        }
        match meaning {
            Meaning::Told(table, location, problem, help) => {
                BackendError::Source { table, location, problem, help, source: Some(Box::new(failure)) }
            }
            Meaning::Vanished(path) => match self.file_at(&path) {
                Some((table, location)) => fault(table, location, "vanished while it was read").cause(failure).into(),
                None => BackendError::Engine { operation, source: Box::new(failure) },
            },
            Meaning::Memory => BackendError::Memory { source: Box::new(failure) },
            Meaning::Unknown => BackendError::Engine { operation, source: Box::new(failure) },
        }
    }

    /// The file at a path of its store, which stores of files give from the root of the machine.
    fn file_at(&self, path: &str) -> Option<(TableRole, &str)> {
        let tables = [(TableRole::Users, &self.users), (TableRole::Events, &self.events), (TableRole::Products, &self.products)];
        let files = tables
            .into_iter()
            .flat_map(|(table, opened)| opened.iter().flat_map(move |opened| opened.files.iter().map(move |file| (table, file))));
        let mut files = files.filter(|(_, file)| path.trim_start_matches('/') == file.place.as_ref() || path == file.location);
        files.next().map(|(table, file)| (table, file.location.as_str()))
    }
}

fn stream_of(batch: &RecordBatch) -> Result<Vec<u8>, datafusion::arrow::error::ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.into_inner()
}

fn subject_settings(table: TableRole, source: &SubjectSource, local: TimeZone) -> Result<Settings<'_>, BackendError> {
    let names = [Some(source.key.as_str()), source.version.as_deref()].into_iter().flatten().map(|path| (path, Declared::Text));
    Ok(Settings {
        table,
        source: &source.source.0,
        columns: &source.columns,
        implied: source.data.iter().map(|data| (data.as_str(), Declared::Json)).chain(names).collect(),
        zones: zones(table, local, source.naive_timezone.as_deref())?,
        empty: empty(source.allow_empty),
        format: source.format,
        delimiter: source.delimiter,
    })
}

fn event_settings(source: &EventSource, local: TimeZone) -> Result<Settings<'_>, BackendError> {
    let names = [&source.user_key, &source.product_key, &source.event_type, &source.event_id];
    let names = names.into_iter().flatten().map(|path| (path.as_str(), Declared::Text));
    let data = source.data.iter().map(|data| (data.as_str(), Declared::Json));
    Ok(Settings {
        table: TableRole::Events,
        source: &source.source.0,
        columns: &source.columns,
        implied: data.chain([(source.timestamp.as_str(), Declared::Timestamp(None))]).chain(names).collect(),
        zones: zones(TableRole::Events, local, source.naive_timezone.as_deref())?,
        empty: empty(source.allow_empty),
        format: source.format,
        delimiter: source.delimiter,
    })
}

fn empty(allowed: bool) -> Empty {
    if allowed { Empty::Allowed } else { Empty::Refused }
}

fn zones(table: TableRole, local: TimeZone, naive: Option<&str>) -> Result<Arc<Zones>, BackendError> {
    let naive = naive.map_or(Ok(TimeZone::UTC), |name| zone(table, name))?;
    Ok(Arc::new(Zones { local, naive }))
}

fn zone(table: TableRole, name: &str) -> Result<TimeZone, BackendError> {
    TimeZone::get(name).map_err(|_| BackendError::Mapping {
        table,
        problem: format!("there is no timezone `{name}`"),
        help: Some("Use a name of the IANA database, such as `Europe/Berlin`, or `UTC`.".to_owned()),
    })
}
