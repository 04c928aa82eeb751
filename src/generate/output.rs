//! The folder that the tables are written to, and how their files are encoded.

use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::{GenerateError, ROWS_PER_BATCH};

/// A folder to write to.
#[derive(Debug)]
pub(super) struct Output {
    folder: PathBuf,
    properties: WriterProperties,
}

impl Output {
    /// Makes the folder.
    pub(super) fn open(folder: &Path) -> Result<Self, GenerateError> {
        let failed = |operation| move |source| GenerateError::Io { operation, path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed("create"))?;
        if fs::read_dir(folder).map_err(failed("read"))?.next().is_some() {
            return Err(GenerateError::NotEmpty { folder: folder.to_owned() });
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(131_072))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        Ok(Self { folder: folder.to_owned(), properties })
    }

    /// Writes a file of so many rows, a batch of them at a time; returns its bytes.
    pub(super) fn write(
        &self,
        name: &str,
        schema: &SchemaRef,
        rows: u64,
        mut batch: impl FnMut(Range<u64>) -> Result<RecordBatch, ArrowError>,
    ) -> Result<u64, GenerateError> {
        let path = self.folder.join(name);
        let io = |operation| {
            let path = path.clone();
            move |source| GenerateError::Io { operation, path, source }
        };
        let parquet = |source| GenerateError::Parquet { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io("create"))?;
        }
        let file = BufWriter::new(File::create(&path).map_err(io("create"))?);
        let mut writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(self.properties.clone())).map_err(parquet)?;
        let mut first = 0;
        while first < rows {
            let last = rows.min(first + ROWS_PER_BATCH as u64);
            let rows = batch(first..last).map_err(|source| GenerateError::Rows { path: path.clone(), source })?;
            writer.write(&rows).map_err(parquet)?;
            first = last;
        }
        let file = writer.into_inner().map_err(parquet)?;
        let file = file.into_inner().map_err(|error| io("write")(error.into_error()))?;
        Ok(file.metadata().map_err(io("read"))?.len())
    }
}
