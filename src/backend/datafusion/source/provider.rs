//! The files of a source as one table of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, StringViewArray, new_null_array};
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Statistics, TableReference};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;

use super::columns::{Columns, Presence};
use super::inspect::Rows;
use super::locate::File;
use super::parquet::DeliveredColumns;
use super::sequential::SequentialSource;
use crate::backend::TableRole;
use crate::backend::tables::Format;

/// The files of a source, read as one table whose columns are delivered in one type each.
#[derive(Debug)]
pub(super) struct FileTable {
    table: TableRole,
    files: Vec<(File, Rows)>,
    columns: Arc<Columns>,
    delimiter: Option<char>,
    schema: TableSchema,
    /// Rows for which one of these does not hold are not needed.
    needed: Vec<Expr>,
}

impl FileTable {
    pub(super) fn new(table: TableRole, files: Vec<(File, Rows)>, columns: Columns, delimiter: Option<char>) -> Self {
        let schema = table_schema(&columns, &[]);
        Self { table, files, columns: Arc::new(columns), delimiter, schema, needed: Vec::new() }
    }

    /// The presences of its columns.
    pub(super) fn presences(&self) -> &[Presence] {
        &self.columns.presences
    }

    /// The table with the presences of its columns as further columns, of which only rows are needed for which the conditions hold.
    pub(super) fn with_presences(&self, needed: Vec<Expr>) -> Self {
        Self {
            table: self.table,
            files: self.files.clone(),
            columns: Arc::clone(&self.columns),
            delimiter: self.delimiter,
            schema: table_schema(&self.columns, &self.columns.presences),
            needed,
        }
    }

    /// The table of the file at a position alone.
    pub(super) fn only(&self, position: usize) -> Option<Self> {
        let file = self.files.get(position)?.clone();
        Some(Self {
            table: self.table,
            files: vec![file],
            columns: Arc::clone(&self.columns),
            delimiter: self.delimiter,
            schema: self.schema.clone(),
            needed: Vec::new(),
        })
    }

    /// The scan of the files of one format in one store.
    fn scan_part(
        &self,
        state: &dyn Session,
        store: &ObjectStoreUrl,
        format: Format,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = || self.files.iter().filter(|(file, _)| file.store == *store && file.format == format);
        let source: Arc<dyn FileSource> = match format {
            Format::Parquet => {
                let options =
                    TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
                let runtime = state.runtime_env();
                let cache = runtime.cache_manager.get_file_metadata_cache();
                let reader = CachedParquetFileReaderFactory::new(runtime.object_store(store)?, cache);
                let mut source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
                if let Some(needed) = conjunction(self.needed.iter().cloned()) {
                    let schema = DFSchema::try_from(Arc::clone(self.schema.table_schema()))?;
                    source = source.with_predicate(state.create_physical_expr(needed, &schema)?);
                }
                Arc::new(source.with_parquet_file_reader_factory(Arc::new(reader)))
            }
            Format::Arrow | Format::Csv | Format::Ndjson => {
                Arc::new(SequentialSource::new(self.table, self.schema.clone(), Arc::clone(&self.columns), self.delimiter))
            }
        };
        let group = FileGroup::new(files().map(|(file, _)| self.partitioned(file)).collect::<Result<_>>()?);
        let known = files().map(|(_, rows)| match rows {
            Rows::Exactly(rows) => usize::try_from(*rows).ok(),
            Rows::Some => None,
        });
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        if let Some(rows) = known.sum::<Option<usize>>() {
            // What a footer says is not what a file holds when it is read later: never an answer, only an estimate.
            statistics.num_rows = Precision::Inexact(rows);
        }
        let config = FileScanConfigBuilder::new(store.clone(), source)
            .with_file_groups(group.split_files(state.config().target_partitions()))
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(DeliveredColumns(Arc::clone(&self.columns)))))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn partitioned(&self, file: &File) -> Result<PartitionedFile> {
        let values = self.schema.table_partition_cols().iter().map(|field| self.folder_value(file, field));
        let partitioned = PartitionedFile::new_from_meta(file.meta.clone()).with_partition_values(values.collect::<Result<_>>()?);
        let table = TableReference::bare(self.table.keyword());
        Ok(partitioned.with_extension(file.clone()).with_table_reference(Some(table)))
    }

    /// What the name of a folder above the file says.
    fn folder_value(&self, file: &File, field: &FieldRef) -> Result<ScalarValue> {
        let written = |column: &String| file.partitions.iter().find(|(name, _)| name == column)?.1.as_deref();
        if let Some(presence) = self.columns.presence(field.name()) {
            return Ok(ScalarValue::Boolean(Some(written(&presence.column).is_some())));
        }
        let text = written(field.name());
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![text]));
        let value = match self.columns.conversion(field.name()) {
            Some(conversion) => conversion.apply(&text)?,
            None => new_null_array(field.data_type(), 1),
        };
        ScalarValue::try_from_array(&value, 0)
    }
}

/// The columns and these presences: of files first, of folders behind them.
fn table_schema(columns: &Columns, presences: &[Presence]) -> TableSchema {
    let (of_folders, of_files): (Vec<_>, Vec<_>) =
        presences.iter().partition(|presence| columns.partitions.iter().any(|field| *field.name() == presence.column));
    let in_files = columns.file_schema.fields().iter().cloned().chain(of_files.into_iter().map(Presence::field));
    let in_folders = columns.partitions.iter().cloned().chain(of_folders.into_iter().map(Presence::field));
    let file_schema = Arc::new(Schema::new(in_files.collect::<Vec<_>>()));
    TableSchema::builder(file_schema).with_table_partition_cols(in_folders.collect::<Vec<_>>()).build()
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The engine's rules hand filters to the files themselves; here they must stay, since files only skip what cannot match.
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut parts: BTreeMap<(&str, Format), &ObjectStoreUrl> = BTreeMap::new();
        for (file, _) in &self.files {
            parts.insert((file.store.as_str(), file.format), &file.store);
        }
        let mut plans = Vec::new();
        for ((_, format), store) in parts {
            plans.push(self.scan_part(state, store, format, projection, limit)?);
        }
        match plans.len() {
            0 => {
                let schema: Schema = match projection {
                    Some(projection) => self.schema.table_schema().project(projection)?,
                    None => self.schema.table_schema().as_ref().clone(),
                };
                Ok(Arc::new(EmptyExec::new(Arc::new(schema))))
            }
            1 => plans.pop().ok_or_else(|| DataFusionError::Internal("a plan went missing".to_owned())),
            _ => UnionExec::try_new(plans),
        }
    }
}

/// The table that a node of a plan scans, when it is one that scans.
pub(crate) fn scanned_table(plan: &dyn ExecutionPlan) -> Option<TableRole> {
    let scan = plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let file = scan.file_groups.iter().flat_map(FileGroup::iter).next()?;
    let table = file.table_reference.as_ref()?.table();
    [TableRole::Users, TableRole::Events, TableRole::Products].into_iter().find(|role| role.keyword() == table)
}
