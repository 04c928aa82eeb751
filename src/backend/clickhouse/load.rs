//! Tables of a tenant made on the server from rows that come as Arrow.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::sql::TableName;
use super::tables::failure;
use crate::backend::tables::ServerTable;
use crate::backend::{BackendError, TableRole};
use crate::clickhouse::{Connection, Statement, quoted};
use crate::model::catalog::{Access, Catalog};
use crate::model::id::TenantId;

/// A table that is made.
#[derive(Debug, Clone)]
pub struct NewTable {
    name: TableName,
    schema: SchemaRef,
    order: Vec<String>,
    /// Columns of texts that have few different values.
    repetitive: BTreeSet<String>,
    /// The time by whose months rows are kept apart.
    months_of: Option<String>,
    cluster: Option<String>,
    engine: &'static str,
}

impl NewTable {
    /// The table of a tenant with these columns, whose rows are ordered by some of them; in this database when none is named for it.
    #[must_use]
    pub fn new(tenant: &TenantId, on_server: ServerTable<'_>, database: &str, schema: SchemaRef, order: Vec<String>) -> Self {
        let fields: Vec<FieldRef> = Arc::unwrap_or_clone(schema).fields.iter().map(plain_texts).collect();
        Self {
            name: TableName::of_tenant(tenant, on_server, database),
            schema: Arc::new(Schema::new(fields)),
            order,
            repetitive: BTreeSet::new(),
            months_of: None,
            cluster: None,
            engine: "MergeTree",
        }
    }

    /// The same with a value in every row of these columns, so that the server needs not look for missing ones.
    #[must_use]
    pub fn with_complete(mut self, columns: &[String]) -> Self {
        let fields = self.schema.fields().iter().map(|field| {
            let is_complete = columns.contains(field.name());
            if is_complete { Arc::new(field.as_ref().clone().with_nullable(false)) } else { Arc::clone(field) }
        });
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self
    }

    /// The same with numbers in the place of texts in a column that has few different ones.
    #[must_use]
    pub fn with_repetitive(mut self, column: &str) -> Self {
        self.repetitive.insert(column.to_owned());
        self
    }

    /// The same with the rows of each month of a column apart, so that those of other months are not read.
    #[must_use]
    pub fn by_months_of(mut self, column: &str) -> Self {
        self.months_of = Some(column.to_owned());
        self
    }

    /// The same on all servers of a cluster.
    #[must_use]
    pub fn on_cluster(mut self, cluster: Option<&str>) -> Self {
        self.cluster = cluster.map(str::to_owned);
        self
    }

    /// The same with copies on the other servers of its shard.
    #[must_use]
    pub fn replicated(mut self) -> Self {
        self.engine = "ReplicatedMergeTree";
        self
    }

    /// Its name, for people: `database.table`.
    #[must_use]
    pub fn shown_name(&self) -> String {
        format!("{}.{}", self.name.database, self.name.table)
    }

    /// Whether the server has a table of this name.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn exists(&self, connection: &Connection) -> Result<bool, BackendError> {
        let found =
            Statement::new("SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}");
        let found = found.text("database", &self.name.database).text("table", &self.name.table);
        let found = connection.row::<(u64,)>(found).await.map_err(|error| failure("looking for a table", error))?;
        Ok(found.0 > 0)
    }

    /// The statement that makes it.
    ///
    /// # Errors
    /// When a column holds what the server has no type for.
    pub fn ddl(&self) -> Result<String, BackendError> {
        let columns =
            self.schema.fields().iter().map(|field| Ok(format!("    {} {}", quoted(field.name()), self.column_type(field)?)));
        let columns = columns.collect::<Result<Vec<_>, BackendError>>()?.join(",\n");
        let order: Vec<String> = self.order.iter().map(|column| quoted(column)).collect();
        let order = if order.is_empty() { "tuple()".to_owned() } else { format!("({})", order.join(", ")) };
        let partition = self.months_of.as_ref().map(|column| format!("PARTITION BY toYYYYMM({})\n", quoted(column)));
        Ok(format!(
            "CREATE TABLE {}{} (\n{columns}\n)\nENGINE = {}\n{}ORDER BY {order}\nSETTINGS allow_nullable_key = 1",
            self.name.qualified(),
            self.everywhere(),
            self.engine,
            partition.unwrap_or_default()
        ))
    }

    /// Makes the table, in the place of one that is there already, and fills it; returns how many rows it has.
    ///
    /// # Errors
    /// When the server refuses, or a batch is an error.
    pub async fn fill(
        &self,
        connection: &Connection,
        batches: BoxStream<'_, Result<RecordBatch, BackendError>>,
    ) -> Result<u64, BackendError> {
        self.drop(connection, &self.name).await?;
        connection.execute(Statement::new(self.ddl()?)).await.map_err(refused)?;
        let batches = batches.map(|batch| in_columns_of(&self.schema, &batch?));
        connection.insert(&self.name.qualified(), &self.schema, batches.boxed()).await
    }

    /// The same beside one that is there already, which is replaced when the new one is whole: until then nobody sees it.
    ///
    /// # Errors
    /// As [`NewTable::fill`]; the table that is there stays then.
    pub async fn replace(
        &self,
        connection: &Connection,
        batches: BoxStream<'_, Result<RecordBatch, BackendError>>,
    ) -> Result<u64, BackendError> {
        let name = TableName { table: format!("{}_loading", self.name.table), ..self.name.clone() };
        let beside = Self { name, ..self.clone() };
        let rows = beside.fill(connection, batches).await?;
        self.drop(connection, &self.name).await?;
        let rename = format!("RENAME TABLE {} TO {}{}", beside.name.qualified(), self.name.qualified(), self.everywhere());
        connection.execute_once(Statement::new(rename)).await.map_err(refused)?;
        Ok(rows)
    }

    async fn drop(&self, connection: &Connection, name: &TableName) -> Result<(), BackendError> {
        let drop = Statement::new(format!("DROP TABLE IF EXISTS {}{} SYNC", name.qualified(), self.everywhere()));
        connection.execute(drop).await.map(|_| ()).map_err(refused)
    }

    fn everywhere(&self) -> String {
        self.cluster.as_ref().map(|cluster| format!(" ON CLUSTER {}", quoted(cluster))).unwrap_or_default()
    }

    fn column_type(&self, field: &Field) -> Result<String, BackendError> {
        let plain = server_type(field)?;
        let is_repetitive = self.repetitive.contains(field.name()) && field.data_type() == &DataType::Utf8;
        Ok(if is_repetitive { format!("LowCardinality({plain})") } else { plain })
    }
}

fn refused(error: crate::clickhouse::Error) -> BackendError {
    failure("making a table", error)
}

impl From<crate::clickhouse::Error> for BackendError {
    fn from(error: crate::clickhouse::Error) -> Self {
        failure("writing rows", error)
    }
}

/// The columns by which a table is ordered: events by their type first, since a batch reads those of one type at a time and groups them by
/// subject; subjects by their key, by which a batch joins what it finds.
#[must_use]
pub fn order_of(catalog: &Catalog, role: TableRole) -> Vec<String> {
    let mut parts: Vec<&Access> = Vec::new();
    match role {
        TableRole::Users => parts.extend(catalog.users.as_ref().map(|users| &users.key)),
        TableRole::Products => parts.extend(catalog.products.as_ref().map(|products| &products.key)),
        TableRole::Events => {
            if let Some(events) = &catalog.events {
                parts.extend([&events.event_type, &events.user_key, &events.product_key].into_iter().flatten());
                parts.push(&events.timestamp);
            }
        }
    }
    let mut columns: Vec<String> = Vec::new();
    for column in parts.into_iter().filter_map(Access::plain_column) {
        if columns.iter().all(|known| known != column) {
            columns.push(column.to_owned());
        }
    }
    columns
}

/// The field with texts in the form that the server reads.
fn plain_texts(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::List(element) => DataType::List(plain_texts(element)),
        DataType::LargeList(element) => DataType::List(plain_texts(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_texts).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_texts(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The rows with the types of a schema of the same columns.
fn in_columns_of(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, BackendError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = columns.and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options));
    batch.map_err(|error| BackendError::Engine { operation: "preparing rows for the server", source: Box::new(error) })
}

/// The type of a column for a field.
fn server_type(field: &Field) -> Result<String, BackendError> {
    let nullable = |name: String| if field.is_nullable() { format!("Nullable({name})") } else { name };
    Ok(match field.data_type() {
        DataType::Boolean => nullable("Bool".to_owned()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => nullable("Int64".to_owned()),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => nullable("UInt64".to_owned()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => nullable("Float64".to_owned()),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            nullable(format!("Decimal({precision}, {scale})"))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => nullable("String".to_owned()),
        DataType::Date32 => nullable("Date32".to_owned()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => nullable("DateTime64(6, 'UTC')".to_owned()),
        DataType::List(element) | DataType::LargeList(element) => format!("Array({})", server_type(element)?),
        DataType::Struct(fields) => {
            let elements = fields.iter().map(|field| Ok(format!("{} {}", quoted(field.name()), server_type(field)?)));
            format!("Tuple({})", elements.collect::<Result<Vec<_>, BackendError>>()?.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!("Map(String, {})", server_type(&fields[1])?),
            other => return Err(unsuited(field, other)),
        },
        other => return Err(unsuited(field, other)),
    })
}

fn unsuited(field: &Field, data_type: &DataType) -> BackendError {
    BackendError::Engine {
        operation: "making a table",
        source: format!("the column `{}` holds {data_type}, for which the server has no type", field.name()).into(),
    }
}
