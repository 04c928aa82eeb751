//! Reads files from their start to their end: Arrow IPC, CSV and NDJSON.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use indexmap::IndexSet;
use object_store::{ObjectStore, ObjectStoreExt};

use super::columns::Columns;
use super::decode::Decode;
use super::delimited::{CsvDecoder, separator};
use super::fault::fault;
use super::ipc::IpcDecoder;
use super::locate::File;
use super::ndjson::{Form, NdjsonDecoder};
use crate::backend::TableRole;
use crate::backend::tables::{Declared, Format};

/// Rows of a batch when the engine does not say.
const BATCH_ROWS: usize = 8192;

/// Files of one table that are read from their start to their end.
#[derive(Clone)]
pub(super) struct SequentialSource {
    table: TableRole,
    schema: TableSchema,
    columns: Arc<Columns>,
    delimiter: Option<char>,
    batch_size: usize,
    projection: SplitProjection,
    metrics: ExecutionPlanMetricsSet,
}

impl SequentialSource {
    pub(super) fn new(table: TableRole, schema: TableSchema, columns: Arc<Columns>, delimiter: Option<char>) -> Self {
        let projection = SplitProjection::unprojected(&schema);
        Self { table, schema, columns, delimiter, batch_size: BATCH_ROWS, projection, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl FileSource for SequentialSource {
    fn create_file_opener(&self, store: Arc<dyn ObjectStore>, _: &FileScanConfig, _: usize) -> Result<Arc<dyn FileOpener>> {
        let wanted = Arc::new(self.schema.file_schema().project(&self.projection.file_indices)?);
        let opener = SequentialOpener {
            table: self.table,
            store,
            wanted,
            columns: Arc::clone(&self.columns),
            delimiter: self.delimiter,
            batch_size: self.batch_size,
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_size, ..self.clone() })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &'static str {
        "sequential"
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for projected in self.projection.source.iter() {
            if visit(&projected.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// Opens one file after the other.
#[derive(Clone)]
struct SequentialOpener {
    table: TableRole,
    store: Arc<dyn ObjectStore>,
    wanted: SchemaRef,
    columns: Arc<Columns>,
    delimiter: Option<char>,
    batch_size: usize,
}

impl FileOpener for SequentialOpener {
    fn open(&self, partitioned: PartitionedFile) -> Result<FileOpenFuture> {
        let opener = self.clone();
        Ok(Box::pin(async move {
            let Some(file) = partitioned.extension::<File>().cloned() else {
                return Err(DataFusionError::Internal("a file without its description".to_owned()));
            };
            let pieces = opener.store.get(&file.meta.location).await?.into_stream().map_err(DataFusionError::from);
            Ok(opener.batches(file, pieces.boxed()))
        }))
    }
}

impl SequentialOpener {
    fn batches(self, file: File, pieces: BoxStream<'static, Result<bytes::Bytes>>) -> BoxStream<'static, Result<RecordBatch>> {
        let decoder = self.decoder(&file);
        let state = (self, file, pieces, Some(decoder), VecDeque::new());
        let batches = futures::stream::try_unfold(state, |(opener, file, mut pieces, mut decoder, mut ready)| async move {
            loop {
                if let Some(batch) = ready.pop_front() {
                    let batch = opener.deliver(&batch).map_err(|cause| opener.broken(&file, cause))?;
                    return Ok(Some((batch, (opener, file, pieces, decoder, ready))));
                }
                let Some(open) = &mut decoder else { return Ok(None) };
                let decoded = match pieces.try_next().await? {
                    Some(piece) => open.push(piece),
                    None => {
                        let rest = open.end();
                        decoder = None;
                        rest
                    }
                };
                ready.extend(decoded.map_err(|cause| opener.broken(&file, cause))?);
            }
        });
        batches.boxed()
    }

    fn decoder(&self, file: &File) -> Box<dyn Decode> {
        let wanted = self.stored_columns();
        match file.format {
            Format::Csv => Box::new(CsvDecoder::new(wanted, self.batch_size, separator(file, self.delimiter))),
            Format::Ndjson => {
                let forms = wanted.into_iter().map(|name| {
                    let form = self.form(&name);
                    (name, form)
                });
                Box::new(NdjsonDecoder::new(forms.collect(), self.batch_size))
            }
            // Parquet is read by the engine's own reader, never by this one.
            Format::Arrow | Format::Parquet => Box::new(IpcDecoder::new(Some(wanted))),
        }
    }

    /// The columns of the file that are wanted, each once: a presence is made of the column that it is of.
    fn stored_columns(&self) -> Vec<String> {
        let names: IndexSet<&String> = self.wanted.fields().iter().map(|field| self.stored_column(field)).collect();
        names.into_iter().cloned().collect()
    }

    fn stored_column<'a>(&'a self, field: &'a FieldRef) -> &'a String {
        self.columns.presence(field.name()).map_or(field.name(), |presence| &presence.column)
    }

    fn form(&self, name: &str) -> Form {
        let json = match self.columns.conversion(name).and_then(|conversion| conversion.declared) {
            Some(declared) => declared == Declared::Json,
            None => self.columns.types.get(name) == Some(&crate::model::catalog::ColumnType::Json),
        };
        if json { Form::Json } else { Form::Text }
    }

    /// The batch of a file in the columns that are wanted and the types in which they are delivered.
    fn deliver(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.wanted.fields().iter().map(|field| self.column(batch, field));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.wanted), columns.collect::<Result<_, _>>()?, &options)
    }

    fn column(&self, batch: &RecordBatch, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
        let stored = batch.column_by_name(self.stored_column(field));
        if self.columns.presence(field.name()).is_some() {
            let there = stored.map_or_else(|| Ok(BooleanArray::from(vec![false; batch.num_rows()])), |values| is_not_null(values));
            return Ok(Arc::new(there?));
        }
        match (stored, self.columns.conversion(field.name())) {
            (Some(values), Some(conversion)) => conversion.apply(values),
            _ => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    }

    fn broken(&self, file: &File, cause: ArrowError) -> DataFusionError {
        let fault = fault(self.table, &file.location, "cannot be read to its end").cause(cause);
        DataFusionError::External(Box::new(crate::backend::BackendError::from(fault)))
    }
}
