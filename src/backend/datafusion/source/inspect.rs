//! What one file holds, before it is read: its columns with their types, and whether there is a row.
//!
//! Parquet is asked by its footer, Arrow by its schema, CSV by its line of names. NDJSON names its columns in every line: the first
//! [`SAMPLE`] bytes of each file are looked at, and a column that only appears later must be declared.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};

use super::decode::Decode;
use super::fault::{Fault, fault};
use super::ipc::{self, IpcDecoder};
use super::locate::File;
use super::types::column_type;
use super::{delimited, ndjson};
use crate::backend::tables::Format;
use crate::backend::{BackendError, TableRole};
use crate::model::catalog::ColumnType;

/// How much of a file without a schema is looked at.
pub(super) const SAMPLE: u64 = 4 * 1024 * 1024;

/// Files that are looked at at a time.
const AT_A_TIME: usize = 16;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contents {
    /// Its columns, in its order.
    pub(super) columns: Vec<(String, ColumnType)>,
    /// How many rows.
    pub(super) rows: Rows,
}

/// How many rows a file has, as far as that is known without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// So many.
    Exactly(u64),
    /// One or more.
    Some,
}

/// What each file holds, in their order.
pub(super) async fn inspect(
    table: TableRole,
    files: &[File],
    delimiter: Option<char>,
    runtime: &RuntimeEnv,
) -> Result<Vec<Contents>, BackendError> {
    // The futures are made before they are streamed: a closure in the stream would have to be one for files of any lifetime.
    let contents: Vec<_> = files.iter().map(|file| inspect_file(table, file, delimiter, runtime)).collect();
    futures::stream::iter(contents).buffered(AT_A_TIME).try_collect().await
}

async fn inspect_file(
    table: TableRole,
    file: &File,
    delimiter: Option<char>,
    runtime: &RuntimeEnv,
) -> Result<Contents, BackendError> {
    let store = runtime.object_store(&file.store).map_err(|cause| unreadable(table, file).cause(cause))?;
    let contents = match file.format {
        Format::Parquet => parquet(table, file, &store, runtime).await?,
        Format::Arrow => arrow(table, file, &store).await?,
        Format::Csv => {
            let start = start_of(table, file, &store).await?;
            delimited::contents(&start, delimited::separator(file, delimiter))
                .map_err(|cause| unreadable(table, file).cause(cause))?
        }
        Format::Ndjson => {
            let start = start_of(table, file, &store).await?;
            let whole = u64::try_from(start.len()).is_ok_and(|length| length == file.meta.size);
            ndjson::contents(&start, whole).map_err(|cause| unreadable(table, file).cause(cause))?
        }
    };
    let mut names: Vec<_> = contents.columns.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[_]>::first) {
        Some(twice) => Err(BackendError::from(fault(table, &file.location, format!("has two columns named `{twice}`")))),
        None => Ok(contents),
    }
}

fn unreadable(table: TableRole, file: &File) -> Fault {
    let form = match file.format {
        Format::Parquet => "Parquet",
        Format::Arrow => "Arrow IPC",
        Format::Csv => "CSV",
        Format::Ndjson => "NDJSON",
    };
    let help = "It may be truncated, still being written, or of another format: write it again, or take it away.";
    fault(table, &file.location, format!("cannot be read as {form}")).help(help)
}

async fn parquet(
    table: TableRole,
    file: &File,
    store: &Arc<dyn ObjectStore>,
    runtime: &RuntimeEnv,
) -> Result<Contents, BackendError> {
    let cache = runtime.cache_manager.get_file_metadata_cache();
    let reader = DFParquetMetadata::new(store.as_ref(), &file.meta).with_file_metadata_cache(Some(cache));
    let metadata = reader.fetch_metadata().await.map_err(|cause| unreadable(table, file).cause(cause))?;
    let footer = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(footer.schema_descr(), footer.key_value_metadata());
    let schema = schema.map_err(|cause| unreadable(table, file).cause(cause))?;
    let columns = schema.fields().iter().map(|field| (field.name().clone(), column_type(field.data_type()))).collect();
    Ok(Contents { columns, rows: Rows::Exactly(u64::try_from(footer.num_rows()).unwrap_or(0)) })
}

async fn arrow(table: TableRole, file: &File, store: &Arc<dyn ObjectStore>) -> Result<Contents, BackendError> {
    let broken = |cause: object_store::Error| unreadable(table, file).cause(cause);
    let wrong = |cause: datafusion::arrow::error::ArrowError| unreadable(table, file).cause(cause);
    let end = store.get_range(&file.meta.location, file.meta.size.saturating_sub(ipc::MAGIC_LENGTH)..file.meta.size);
    let end = if file.meta.size == 0 { Bytes::new() } else { end.await.map_err(broken)? };
    let mut decoder = IpcDecoder::new(None);
    let mut chunks = store.get(&file.meta.location).await.map_err(broken)?.into_stream();
    let mut rows = Rows::Exactly(0);
    while let Some(chunk) = chunks.try_next().await.map_err(broken)? {
        let batches = decoder.push(chunk).map_err(wrong)?;
        if batches.iter().any(|batch| batch.num_rows() > 0) {
            rows = Rows::Some;
            break;
        }
    }
    if rows == Rows::Exactly(0) {
        decoder.end().map_err(wrong)?;
    }
    if decoder.is_file() && !ipc::ends_as_file(&end) {
        return Err(unreadable(table, file).into());
    }
    let schema = decoder.schema().ok_or_else(|| unreadable(table, file))?;
    let columns = schema.fields().iter().map(|field| (field.name().clone(), column_type(field.data_type()))).collect();
    Ok(Contents { columns, rows })
}

async fn start_of(table: TableRole, file: &File, store: &Arc<dyn ObjectStore>) -> Result<Bytes, BackendError> {
    if file.meta.size == 0 {
        return Ok(Bytes::new());
    }
    let start = store.get_range(&file.meta.location, 0..file.meta.size.min(SAMPLE)).await;
    Ok(start.map_err(|cause| unreadable(table, file).cause(cause))?)
}
