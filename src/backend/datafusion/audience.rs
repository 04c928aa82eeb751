//! Rows of members in an order, with attributes of their subjects beside them.
//!
//! Members come sorted by id, as they are stored, and the rows of the subjects table are sorted by key for them; the two are merged. What is
//! held is a batch of each and what a sort may take, which goes to the disk beyond the memory limit. Only an order of another kind, without
//! a limit, sorts the members as well. The members of a page are held, and the rows of the table pass by them.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column, DataFusionError, JoinType, Result};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use indexmap::IndexSet;
use jiff::Timestamp;

use super::backend::DataFusionBackend;
use super::date::Local;
use super::json::Wanted;
use super::reads::{Reads, Steps, named, with_columns};
use super::session::session;
use super::subjects::of_rows;
use super::tables::Tables;
use crate::backend::attributes::{Attribute, Order, OrderBy, column_of};
use crate::backend::tables::EngineSettings;
use crate::backend::{BackendError, TableRole};
use crate::check::Reading;
use crate::model::calendar::Calendar;
use crate::model::catalog::ColumnType;
use crate::model::condition::Subject;

/// Rows of members as they come, sorted by `subject_id`.
pub type MemberRows = BoxStream<'static, std::result::Result<RecordBatch, Box<dyn Error + Send + Sync>>>;

/// Rows in their order.
pub type ArrangedRows<'a> = BoxStream<'a, std::result::Result<RecordBatch, BackendError>>;

/// The column that says which of several rows of a subject one is.
const PLACE: &str = "place";

/// Members in an order, by id without one, each with attributes of its subject when there are such: rows of an id, ascending, and of their
/// columns.
///
/// # Errors
/// When there is no place to spill to, or the rows cannot be sorted.
pub async fn in_order(
    engine: &EngineSettings,
    (members, rows): (SchemaRef, MemberRows),
    beside: Option<(&[Attribute], MemberRows)>,
    order: &[Order],
    limit: Option<usize>,
) -> std::result::Result<ArrangedRows<'static>, BackendError> {
    let session = merging(&session(engine)?);
    let attributes = beside.as_ref().map_or(&[] as &[Attribute], |(attributes, _)| attributes);
    let schema = with_fields(&members, attributes);
    let planned = async {
        let mut plan = scan(MEMBERS, "subject_id", Arc::clone(&members), rows)?;
        if let Some((attributes, rows)) = beside {
            let fields = attributes.iter().enumerate().map(|(number, attribute)| attribute.field().with_name(column_of(number)));
            let fields = std::iter::once(Field::new(ID, DataType::Utf8, false)).chain(fields);
            let mut columns: Vec<Expr> =
                std::iter::once(ID.to_owned()).chain((0..attributes.len()).map(column_of)).map(named).collect();
            columns.push(lit(1_u64).alias(PLACE));
            let beside =
                scan("attributes", ID, Arc::new(Schema::new(fields.collect::<Vec<_>>())), rows)?.project(columns)?.build()?;
            let ids = (vec![Column::new(Some(MEMBERS), "subject_id")], vec![Column::new_unqualified(ID)]);
            plan = plan.join(beside, JoinType::Left, ids, None)?;
        }
        let plan = arranged(plan, attributes, &members, order, limit)?;
        session.execute_logical_plan(plan).await?.execute_stream().await
    };
    let rows = planned.await.map_err(failure)?;
    Ok(rows.map(move |batch| batch.and_then(|batch| in_schema(&batch, &schema)).map_err(failure)).boxed())
}

impl DataFusionBackend {
    /// Members in an order, by id without one, each with attributes of its subject.
    ///
    /// # Errors
    /// When the tenant has no such table, or it cannot be read. Where the rows are read: when a member has several rows in it.
    pub async fn with_attributes(
        &self,
        subject: Subject,
        attributes: &[Attribute],
        (schema, members): (SchemaRef, MemberRows),
        order: &[Order],
        limit: Option<usize>,
    ) -> std::result::Result<ArrangedRows<'_>, BackendError> {
        let tables = self.tables();
        let failed = |cause| tables.failure("reading attributes", cause);
        let is_page = order.is_empty() && limit.is_some_and(|limit| limit <= PAGE);
        let beside = beside(tables, subject, attributes, if is_page { Numbered::Never } else { Numbered::ByKey })?;
        let planned = async {
            let ids = (vec![Column::new(Some(MEMBERS), "subject_id")], vec![Column::new_unqualified(ID)]);
            let members = scan(MEMBERS, "subject_id", Arc::clone(&schema), members)?;
            if is_page {
                // The rows of the table pass by those of the page, and need no order.
                let joined = members.limit(0, limit)?.join(beside, JoinType::Left, ids, None)?;
                let plan = arranged(joined, attributes, &schema, order, None)?;
                return tables.session().execute_logical_plan(plan).await?.execute_stream().await;
            }
            let joined = members.join(beside, JoinType::Left, ids, None)?;
            let plan = arranged(joined, attributes, &schema, order, limit)?;
            merging(tables.session()).execute_logical_plan(plan).await?.execute_stream().await
        };
        let rows = planned.await.map_err(failed)?;
        let schema = with_fields(&schema, attributes);
        let table = TableRole::of(subject);
        let mut last = None;
        Ok(rows
            .map(move |batch| {
                let batch = batch.map_err(failed)?;
                refuse_second(&batch, table)?;
                if is_page {
                    refuse_repeated(&batch, &mut last, table)?;
                }
                in_schema(&batch, &schema).map_err(failed)
            })
            .boxed())
    }
}

/// The columns of members with those of attributes behind them.
fn with_fields(members: &SchemaRef, attributes: &[Attribute]) -> SchemaRef {
    let fields = members.fields().iter().cloned().chain(attributes.iter().map(|attribute| Arc::new(attribute.field())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The key of the subjects table.
const ID: &str = "id of attributes";

/// What the members are called in plans.
const MEMBERS: &str = "members";

/// Rows up to which a page is held, so that the rows of the table need not be sorted.
const PAGE: usize = 100_000;

/// Whether rows say which of those of their key they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbered {
    ByKey,
    /// Rows of one key will stand next to each other.
    Never,
}

/// The rows of the subjects table: key, attributes, and which of the rows of its key one is.
fn beside(
    tables: &Tables,
    subject: Subject,
    attributes: &[Attribute],
    numbered: Numbered,
) -> std::result::Result<LogicalPlan, BackendError> {
    let role = TableRole::of(subject);
    let scan = tables.scan(role)?;
    let catalog = tables.catalog();
    let calendar = Calendar::new(Timestamp::UNIX_EPOCH, &catalog.timezone)
        .map_err(|error| BackendError::Engine { operation: "looking up the timezone", source: Box::new(error) })?;
    let local = Local { timezone: catalog.timezone.clone(), calendar };
    // INVARIANT: a table that can be scanned is in the catalog.
    let Some(table) = catalog.subjects(subject) else { return scan.build().map_err(|cause| tables.failure("planning", cause)) };
    let planned = || {
        let mut plan = scan;
        if table.version.is_some() {
            plan = of_rows(plan, table, Reads::new(local.clone(), Vec::new()), None)?;
        }
        let mut reads = Reads::new(local, Vec::new());
        let key = reads.key(&table.key)?;
        let mut columns = vec![key.clone().alias(ID)];
        for (number, attribute) in attributes.iter().enumerate() {
            let access = &attribute.access;
            let value = match access.stored {
                _ if access.json.is_some() => reads.stored(access, Wanted::As(Reading::Stored))?.expr,
                // What is no number is no value.
                ColumnType::Float => reads.stored(access, Wanted::As(Reading::Number))?.expr,
                _ => Reads::raw_value(access)?,
            };
            columns.push(cast(value, attribute.data_type.clone()).alias(column_of(number)));
        }
        let Steps { json, columns: values, .. } = {
            let steps = reads.steps(&mut IndexSet::new());
            // What versions were compared by has done its part.
            let mut read = steps.columns_read();
            read.extend(attributes.iter().map(|attribute| attribute.access.column.clone()));
            plan = plan.project(read.into_iter().map(named).collect::<Vec<_>>())?;
            steps
        };
        let aliased = |values: Vec<(String, Expr)>| values.into_iter().map(|(name, value)| value.alias(name)).collect();
        let plan = with_columns(with_columns(plan, aliased(json))?, aliased(values))?;
        let plan = plan.filter(key.is_not_null())?;
        if numbered == Numbered::Never {
            columns.push(lit(1_u64).alias(PLACE));
            return plan.project(columns)?.build();
        }
        let place = row_number().partition_by(vec![named(ID)]).order_by(vec![named(ID).sort(true, false)]).build()?.alias(PLACE);
        plan.project(columns)?.window(vec![place])?.build()
    };
    planned().map_err(|cause| tables.failure("planning", cause))
}

/// The rows in their order, in the columns of members and attributes.
fn arranged(
    rows: LogicalPlanBuilder,
    attributes: &[Attribute],
    members: &SchemaRef,
    order: &[Order],
    limit: Option<usize>,
) -> Result<LogicalPlan> {
    let own = |name: &str| Expr::Column(Column::new(Some(MEMBERS), name));
    let mut keys = Vec::new();
    for Order { by, descends } in order {
        let value = match by {
            OrderBy::Column(name) => own(name),
            OrderBy::Attribute(number) => named(column_of(*number)),
        };
        keys.push(value.sort(!descends, false));
    }
    keys.push(own("subject_id").sort(true, false));
    let mut columns: Vec<Expr> = members.fields().iter().map(|field| own(field.name())).collect();
    columns.extend((0..attributes.len()).map(|number| named(column_of(number))));
    if !attributes.is_empty() {
        columns.push(named(PLACE));
    }
    rows.sort(keys)?.limit(0, limit)?.project(columns)?.build()
}

/// A session that merges what is sorted, and shares everything else with another. One row after the other keeps the order of members.
fn merging(session: &SessionContext) -> SessionContext {
    let mut state = session.state();
    let options = state.config_mut().options_mut();
    options.optimizer.prefer_hash_join = false;
    options.execution.target_partitions = 1;
    SessionContext::new_with_state(state)
}

/// Rows that come once, sorted by an id, as a table of a name.
fn scan(name: &str, id: &str, schema: SchemaRef, rows: MemberRows) -> Result<LogicalPlanBuilder> {
    let partition = Rows { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) };
    let table = StreamingTable::try_new(schema, vec![Arc::new(partition)])?;
    let table = table.with_sort_order(vec![named(id).sort(true, false)]);
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)
}

/// Rows that are read once.
struct Rows {
    schema: SchemaRef,
    rows: Mutex<Option<MemberRows>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = match rows {
            Some(rows) => rows.map(|batch| batch.map_err(DataFusionError::External)).boxed(),
            None => futures::stream::iter([Err(super::failure::internal("rows are read twice"))]).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// Refuses the second row of a subject.
fn refuse_second(batch: &RecordBatch, table: TableRole) -> std::result::Result<(), BackendError> {
    let places = batch.column_by_name(PLACE).and_then(|places| places.as_primitive_opt::<UInt64Type>());
    let second = places.and_then(|places| places.iter().position(|place| place.is_some_and(|place| place > 1)));
    let Some(row) = second else { return Ok(()) };
    let ids = batch.column_by_name("subject_id").and_then(|ids| ids.as_string_opt::<i32>());
    let examples = ids.filter(|ids| ids.is_valid(row)).map(|ids| format!("`{}`", ids.value(row))).unwrap_or_default();
    Err(BackendError::DuplicateKeys { table, count: 1, examples })
}

/// Refuses a subject that stood in the row before, of rows by id.
fn refuse_repeated(batch: &RecordBatch, last: &mut Option<String>, table: TableRole) -> std::result::Result<(), BackendError> {
    let Some(ids) = batch.column_by_name("subject_id").and_then(|ids| ids.as_string_opt::<i32>()) else { return Ok(()) };
    let mut before = last.as_deref();
    for id in ids.iter().flatten() {
        if before == Some(id) {
            return Err(BackendError::DuplicateKeys { table, count: 1, examples: format!("`{id}`") });
        }
        before = Some(id);
    }
    *last = before.map(str::to_owned);
    Ok(())
}

/// The first columns of a batch under names of their own.
fn in_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().take(schema.fields().len()).cloned().collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// What a failure means where there are no tables.
fn failure(failure: DataFusionError) -> BackendError {
    match failure.find_root() {
        DataFusionError::ResourcesExhausted(_) => BackendError::Memory { source: Box::new(failure) },
        _ => BackendError::Engine { operation: "sorting members", source: Box::new(failure) },
    }
}
