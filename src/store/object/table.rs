//! Parquet files of rows: written once with fixed settings, so that the same rows give the same bytes, and read back with proof that
//! they are what was written.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::async_writer::AsyncFileWriter;
use datafusion::parquet::arrow::{AsyncArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::statistics::Statistics;
use datafusion::parquet::schema::types::ColumnPath;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use tokio::io::AsyncWriteExt;

use super::place::{Place, failed};
use super::record::FileRef;
use crate::store::{LedgerError, RowStream};

/// Rows of one group: small enough that finding one subject among millions reads little.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Files up to this size are read whole and compared with their checksum; of larger ones only the size is compared, and `verify`
/// looks at the rest.
const WHOLE_UP_TO: u64 = 32 * 1024 * 1024;

/// Writes a new file.
pub(super) struct TableWriter {
    writer: AsyncArrowWriter<HashedUpload>,
    path: Path,
    rows: u64,
}

impl TableWriter {
    pub(super) fn create(place: &Place, path: Path, schema: SchemaRef) -> Result<Self, LedgerError> {
        let upload = HashedUpload { upload: place.upload(&path), hasher: blake3::Hasher::new(), size: 0 };
        let writer = AsyncArrowWriter::try_new(upload, schema, Some(properties()));
        let writer = writer.map_err(|error| failed("write", &path, error))?;
        Ok(Self { writer, path, rows: 0 })
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), LedgerError> {
        self.writer.write(batch).await.map_err(|error| failed("write", &self.path, error))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Puts the file in place, whole.
    pub(super) async fn finish(mut self) -> Result<FileRef, LedgerError> {
        self.writer.finish().await.map_err(|error| failed("write", &self.path, error))?;
        let HashedUpload { hasher, size, .. } = self.writer.into_inner();
        Ok(FileRef { path: self.path.to_string(), size, rows: self.rows, blake3: hasher.finalize().to_hex().to_string() })
    }
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by("segmenta".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Ids hardly repeat: a dictionary of them would only be built to be thrown away.
        .set_column_dictionary_enabled(ColumnPath::from("subject_id"), false)
        .build()
}

struct HashedUpload {
    upload: BufWriter,
    hasher: blake3::Hasher,
    size: u64,
}

impl AsyncFileWriter for HashedUpload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ParquetError>> {
        async move {
            self.hasher.update(&bytes);
            self.size += bytes.len() as u64;
            self.upload.put(bytes).await.map_err(external)
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<(), ParquetError>> {
        async move { self.upload.shutdown().await.map_err(external) }.boxed()
    }
}

/// How closely a file is looked at before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Its checksum, for files that are read from beginning to end and not too large to be held.
    Whole,
    /// Its size, for a look at one subject.
    Size,
}

/// A file that was found to be there, and to be what it was when it was written.
#[derive(Clone)]
pub(super) struct Table {
    place: Place,
    path: Path,
    rows: u64,
    size: u64,
    bytes: Option<Bytes>,
}

impl Table {
    /// Opens the file at `path` as `file` describes it; `None` when it does not exist.
    pub(super) async fn open(place: &Place, path: Path, file: &FileRef, look: Look) -> Result<Option<Self>, LedgerError> {
        let bytes = if look == Look::Whole && file.size <= WHOLE_UP_TO {
            let Some(bytes) = place.read(&path).await? else { return Ok(None) };
            check_size(&path, file, bytes.len() as u64)?;
            check_hash(&path, file, blake3::hash(&bytes))?;
            Some(bytes)
        } else {
            let Some(size) = place.size(&path).await? else { return Ok(None) };
            check_size(&path, file, size)?;
            None
        };
        Ok(Some(Self { place: place.clone(), path, rows: file.rows, size: file.size, bytes }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All rows, in the columns named.
    pub(super) async fn rows_of(&self, columns: &[&str]) -> Result<RowStream, LedgerError> {
        let builder = self.builder().await?;
        let projection = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        self.stream(builder.with_projection(projection))
    }

    /// All rows and columns.
    pub(super) async fn all_rows(&self) -> Result<RowStream, LedgerError> {
        self.stream(self.builder().await?)
    }

    /// The rows of one subject in a file that is sorted by `subject_id`, reading only the groups that can hold it.
    pub(super) async fn rows_of_subject(&self, subject_id: &str) -> Result<Vec<RecordBatch>, LedgerError> {
        let builder = self.builder().await?;
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| may_hold(group, subject_id)).map(|(position, _)| position).collect();
        let mut rows = self.stream(builder.with_row_groups(groups))?;
        let mut found = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            let ids: &StringArray = column(&self.path, &batch, "subject_id")?;
            for row in (0..ids.len()).filter(|&row| ids.value(row) == subject_id) {
                found.push(batch.slice(row, 1));
            }
        }
        Ok(found)
    }

    async fn builder(&self) -> Result<ParquetRecordBatchStreamBuilder<TableReader>, LedgerError> {
        let reader = TableReader { table: self.clone() };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| unreadable(&self.path, error))?;
        let rows = builder.metadata().file_metadata().num_rows();
        if u64::try_from(rows) != Ok(self.rows) {
            let problem = format!("it has {rows} rows instead of {}", self.rows);
            return Err(LedgerError::Corrupt { path: self.path.to_string(), problem });
        }
        Ok(builder)
    }

    fn stream(&self, builder: ParquetRecordBatchStreamBuilder<TableReader>) -> Result<RowStream, LedgerError> {
        let path = self.path.clone();
        let stream = builder.build().map_err(|error| unreadable(&path, error))?;
        Ok(stream.map_err(move |error| unreadable(&path, error)).boxed())
    }
}

/// Compares the whole of a file with its description.
pub(super) async fn check_whole(place: &Place, path: &Path, file: &FileRef) -> Result<(), LedgerError> {
    /// Bytes that are held at once.
    const STEP: u64 = 8 * 1024 * 1024;
    let absent = || LedgerError::Corrupt { path: path.to_string(), problem: "it is missing".to_owned() };
    let size = place.size(path).await?.ok_or_else(absent)?;
    check_size(path, file, size)?;
    let mut hasher = blake3::Hasher::new();
    let mut start = 0;
    while start < size {
        let range = start..size.min(start + STEP);
        start = range.end;
        for bytes in place.read_ranges(path, &[range]).await.map_err(|source| failed("read", path, source))? {
            hasher.update(&bytes);
        }
    }
    check_hash(path, file, hasher.finalize())
}

fn check_size(path: &Path, file: &FileRef, size: u64) -> Result<(), LedgerError> {
    if size == file.size {
        return Ok(());
    }
    let problem = format!("it has {size} bytes instead of {}", file.size);
    Err(LedgerError::Corrupt { path: path.to_string(), problem })
}

fn check_hash(path: &Path, file: &FileRef, hash: blake3::Hash) -> Result<(), LedgerError> {
    if hash.to_hex().as_str() == file.blake3 {
        return Ok(());
    }
    Err(LedgerError::Corrupt { path: path.to_string(), problem: "its checksum differs".to_owned() })
}

/// A column of a batch that was read from `path`, as the type that the table says.
pub(super) fn column<'a, T: Array + 'static>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a T, LedgerError> {
    let found = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    found.ok_or_else(|| LedgerError::Corrupt {
        path: path.to_string(),
        problem: format!("its column `{name}` is missing or of another type"),
    })
}

fn may_hold(group: &RowGroupMetaData, subject_id: &str) -> bool {
    let column = group.columns().iter().find(|column| column.column_path().string() == "subject_id");
    match column.and_then(|column| column.statistics()) {
        Some(Statistics::ByteArray(bounds)) => {
            let id = subject_id.as_bytes();
            bounds.min_opt().is_none_or(|min| min.data() <= id) && bounds.max_opt().is_none_or(|max| id <= max.data())
        }
        Some(_) | None => true,
    }
}

struct TableReader {
    table: Table,
}

impl AsyncFileReader for TableReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let mut found = self.get_byte_ranges(vec![range]).await?;
            found.pop().ok_or_else(|| ParquetError::EOF("a range without bytes".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            match &self.table.bytes {
                Some(bytes) => ranges.into_iter().map(|range| part(bytes, &range)).collect(),
                None => self.table.place.read_ranges(&self.table.path, &ranges).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.table.size;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn part(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes, ParquetError> {
    let beyond = || ParquetError::EOF(format!("bytes {range:?} of {}", bytes.len()));
    let start = usize::try_from(range.start).map_err(|_| beyond())?;
    let end = usize::try_from(range.end).map_err(|_| beyond())?;
    if start <= end && end <= bytes.len() { Ok(bytes.slice(start..end)) } else { Err(beyond()) }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// What the store said is passed on; everything else says that the bytes are not what was written.
fn unreadable(path: &Path, error: ParquetError) -> LedgerError {
    match error {
        ParquetError::External(source) if source.is::<object_store::Error>() => failed("read", path, source),
        error => LedgerError::Corrupt { path: path.to_string(), problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::builders::SnapshotWriter;
    use super::super::merge::Member;
    use super::*;
    use crate::store::{Run, RunKind};

    fn place() -> Place {
        Place::new(Arc::new(InMemory::new()), Path::default(), "test")
    }

    async fn written(place: &Place, rows: i64) -> FileRef {
        let as_of = "2026-01-01T00:00:00Z".parse().unwrap();
        let evaluation_date = jiff::civil::date(2026, 1, 1);
        let tenant = "demo".parse().unwrap();
        let run = Run { run_id: uuid::Uuid::nil(), tenant, kind: RunKind::Run, as_of, evaluation_date };
        let mut writer = SnapshotWriter::create(place, Path::from("x.parquet"), &run, &"vip".parse().unwrap()).unwrap();
        for number in 0..rows {
            let subject_id = subject(number);
            let member =
                Member { subject_id: &subject_id, entered_at: number, score: None, confidence: None, reason: "rule_match" };
            writer.push(member).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    /// Ascending ids that do not compress.
    fn subject(number: i64) -> String {
        format!("{number:07}{}", blake3::hash(&number.to_le_bytes()))
    }

    #[tokio::test]
    async fn the_same_rows_give_the_same_bytes() {
        let (first, second) = (place(), place());
        assert_eq!(written(&first, 10_000).await, written(&second, 10_000).await);
    }

    #[tokio::test]
    async fn a_file_too_large_for_one_upload_is_read_in_parts() {
        let place = place();
        let file = written(&place, 300_000).await;
        assert!(file.size > 10 * 1024 * 1024, "{}", file.size);
        check_whole(&place, &file.location(), &file).await.unwrap();

        let table = Table::open(&place, file.location(), &file, Look::Size).await.unwrap().unwrap();
        assert!(table.bytes.is_none());
        let rows = table.rows_of(&["subject_id"]).await.unwrap();
        let rows = rows.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await.unwrap();
        assert_eq!(rows, 300_000);
        for number in [0, 131_071, 131_072, 299_999] {
            let found = table.rows_of_subject(&subject(number)).await.unwrap();
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
            let entered_at: &datafusion::arrow::array::TimestampMicrosecondArray =
                column(&table.path, &found[0], "entered_at").unwrap();
            assert_eq!(entered_at.value(0), number);
        }
        assert!(table.rows_of_subject("0000001 is not there").await.unwrap().is_empty());
        let builder = table.builder().await.unwrap();
        let holding = |id: &str| builder.metadata().row_groups().iter().filter(|group| may_hold(group, id)).count();
        assert_eq!((builder.metadata().num_row_groups(), holding(&subject(150_000)), holding("zzz")), (3, 1, 0));
    }

    #[tokio::test]
    async fn another_size_is_noticed_without_reading_the_file() {
        let place = place();
        place.replace(&Path::from("x.parquet"), Bytes::from_static(b"PAR1")).await.unwrap();
        let file = FileRef { path: "x.parquet".to_owned(), size: 5, rows: 1, blake3: String::new() };
        for look in [Look::Size, Look::Whole] {
            let opened = Table::open(&place, file.location(), &file, look).await.map(|_| ());
            assert_eq!(opened.unwrap_err().to_string(), "`x.parquet` in the store is damaged: it has 4 bytes instead of 5");
        }
        assert!(Table::open(&place, Path::from("y.parquet"), &file, Look::Size).await.unwrap().is_none());
    }
}
