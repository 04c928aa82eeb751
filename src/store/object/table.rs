//! Parquet files of rows: written once with fixed settings, so that the same rows give the same bytes, and read back with proof that
//! they are what was written.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::parquet::data_type::ByteArray;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use datafusion::parquet::file::statistics::{Statistics, ValueStatistics};
use datafusion::parquet::file::writer::SerializedFileWriter;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::chunk::{Layout, RowGroup};
use super::place::{Place, failed};
use super::record::FileRef;
use crate::store::{LedgerError, RowStream};

/// Files up to this size are read whole and compared with their checksum; of larger ones only the size is compared, and `verify`
/// looks at the rest.
pub(super) const WHOLE_UP_TO: u64 = 32 * 1024 * 1024;

/// Writes a new file, a row group at a time.
pub(super) struct TableWriter {
    file: SerializedFileWriter<Vec<u8>>,
    upload: BufWriter,
    hasher: blake3::Hasher,
    size: u64,
    path: Path,
    rows: u64,
}

impl TableWriter {
    pub(super) fn create(place: &Place, path: Path, layout: &Layout) -> Result<Self, LedgerError> {
        let file = layout.file().map_err(|error| failed("write", &path, error))?;
        let upload = place.upload(&path);
        Ok(Self { file, upload, hasher: blake3::Hasher::new(), size: 0, path, rows: 0 })
    }

    pub(super) async fn append(&mut self, group: RowGroup) -> Result<(), LedgerError> {
        self.rows += group.rows as u64;
        group.append_to(&mut self.file).map_err(|error| failed("write", &self.path, error))?;
        let bytes = std::mem::take(self.file.inner_mut());
        self.put(bytes).await
    }

    /// Ends the file, which is then known as it will be, and yet to be put in place.
    pub(super) async fn close(mut self) -> Result<ClosedTable, LedgerError> {
        self.file.finish().map_err(|error| failed("write", &self.path, error))?;
        self.file.flush().map_err(|error| failed("write", &self.path, error))?;
        let bytes = std::mem::take(self.file.inner_mut());
        self.put(bytes).await?;
        let Self { upload, hasher, size, path, rows, .. } = self;
        let file = FileRef { path: path.to_string(), size, rows, blake3: hasher.finalize().to_hex().to_string() };
        Ok(ClosedTable { upload, path, file })
    }

    /// Ends the file and puts it in place, whole.
    pub(super) async fn finish(self) -> Result<FileRef, LedgerError> {
        self.close().await?.put_in_place().await
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.hasher.update(&bytes);
        self.size += bytes.len() as u64;
        self.upload.put(Bytes::from(bytes)).await.map_err(|error| failed("write", &self.path, error))
    }
}

/// A file that was written to its end. Small ones are still in memory.
pub(super) struct ClosedTable {
    upload: BufWriter,
    path: Path,
    file: FileRef,
}

impl ClosedTable {
    /// Puts the file in place, whole.
    pub(super) async fn put_in_place(mut self) -> Result<FileRef, LedgerError> {
        self.upload.shutdown().await.map_err(|error| failed("write", &self.path, error))?;
        Ok(self.file)
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
    metadata: Arc<OnceCell<ArrowReaderMetadata>>,
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
        Ok(Some(Self { place: place.clone(), path, rows: file.rows, size: file.size, bytes, metadata: Arc::default() }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// All rows, in the columns named.
    pub(super) async fn rows_of(&self, columns: &[&str]) -> Result<RowStream, LedgerError> {
        let builder = self.builder().await?;
        let projection = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        self.stream(builder.with_projection(projection))
    }

    /// Rows that follow one another, in the columns named.
    pub(super) async fn rows_between(&self, columns: &[&str], rows: Range<u64>) -> Result<RecordBatch, LedgerError> {
        let builder = self.builder().await?;
        let projection = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let (mut groups, mut first, mut start) = (Vec::new(), None, 0);
        for (position, group) in builder.metadata().row_groups().iter().enumerate() {
            let end = start + u64::try_from(group.num_rows()).unwrap_or_default();
            if start < rows.end && rows.start < end {
                groups.push(position);
                first.get_or_insert(start);
            }
            start = end;
        }
        let beyond = |_| LedgerError::Corrupt { path: self.path.to_string(), problem: format!("it has no rows {rows:?}") };
        let skipped = usize::try_from(rows.start - first.unwrap_or(rows.start)).map_err(beyond)?;
        let wanted = usize::try_from(rows.end - rows.start).map_err(beyond)?;
        let selection = RowSelection::from(vec![RowSelector::skip(skipped), RowSelector::select(wanted)]);
        let builder =
            builder.with_projection(projection).with_row_groups(groups).with_row_selection(selection).with_batch_size(wanted);
        let schema = Arc::new(
            builder
                .schema()
                .project(&builder_columns(builder.schema(), columns))
                .map_err(|error| unreadable(&self.path, error.into()))?,
        );
        let batches: Vec<RecordBatch> = self.stream(builder)?.try_collect().await?;
        concat_batches(&schema, &batches).map_err(|error| unreadable(&self.path, error.into()))
    }

    /// The text that stands in every row of a column, when the end of the file says so.
    pub(super) async fn text_of_all(&self, column: &str) -> Result<Option<String>, LedgerError> {
        let bytes = self.value_of_all(column).await?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The instant that stands in every row of a column, when the end of the file says so.
    pub(super) async fn instant_of_all(&self, column: &str) -> Result<Option<i64>, LedgerError> {
        let bytes = self.value_of_all(column).await?;
        Ok(bytes.and_then(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?))))
    }

    /// All rows, of a file of which nobody knows beforehand how many there are.
    pub(super) async fn rows_there(&self) -> Result<RowStream, LedgerError> {
        let mut reader = TableReader { table: self.clone() };
        let metadata = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::default()).await;
        let metadata = metadata.map_err(|error| unreadable(&self.path, error))?;
        self.stream(ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata))
    }

    /// Whether the end of the file says that it has rows, and that these texts stand in every row of their columns; how many rows there
    /// are, nobody needs to know before.
    pub(super) async fn says_all(&self, texts: &[(&str, &str)]) -> Result<bool, LedgerError> {
        let mut reader = TableReader { table: self.clone() };
        let metadata = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::default()).await;
        let metadata = metadata.map_err(|error| unreadable(&self.path, error))?;
        Ok(texts.iter().all(|(column, text)| {
            let mut chunks = chunks_of(metadata.metadata(), column).peekable();
            let says = |chunk: &ColumnChunkMetaData| chunk.statistics().and_then(only_value) == Some(text.as_bytes());
            chunks.peek().is_some() && chunks.all(says)
        }))
    }

    /// Whether every row of a column is known to hold NULL.
    pub(super) async fn is_absent(&self, column: &str) -> Result<bool, LedgerError> {
        let metadata = self.metadata().await?;
        Ok(chunks_of(metadata.metadata(), column).all(|chunk| {
            let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
            nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(chunk.num_values()))
        }))
    }

    async fn value_of_all(&self, column: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let metadata = self.metadata().await?;
        let mut values = chunks_of(metadata.metadata(), column).map(|chunk| chunk.statistics().and_then(only_value));
        let Some(first) = values.next().flatten() else { return Ok(None) };
        Ok(values.all(|value| value == Some(first)).then(|| first.to_vec()))
    }

    /// All rows and columns.
    pub(super) async fn all_rows(&self) -> Result<RowStream, LedgerError> {
        self.stream(self.builder().await?)
    }

    /// The rows of one subject in a file that is sorted by `subject_id`, reading only the groups that can hold it.
    pub(super) async fn rows_of_subject(&self, subject_id: &str) -> Result<Vec<RecordBatch>, LedgerError> {
        let builder = self.builder().await?;
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| may_hold(group, "subject_id", subject_id)).map(|(position, _)| position).collect();
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

    /// All rows and columns, without groups of rows that the end of the file says hold none of the texts that are wanted of a column. Rows
    /// of others may be among them.
    pub(super) async fn rows_near(&self, wanted: &[(&str, Vec<&str>)]) -> Result<RowStream, LedgerError> {
        let builder = self.builder().await?;
        let groups = builder.metadata().row_groups().iter().enumerate();
        let may_hold_some =
            |group: &RowGroupMetaData| wanted.iter().all(|(column, texts)| texts.iter().any(|text| may_hold(group, column, text)));
        let groups = groups.filter(|(_, group)| may_hold_some(group)).map(|(position, _)| position).collect();
        self.stream(builder.with_row_groups(groups))
    }

    /// The rows of a file that is sorted by `subject_id`, in the columns named or in all, without groups of rows that end at or before an
    /// id. Rows up to it may be among them.
    pub(super) async fn rows_after(&self, columns: Option<&[&str]>, after: Option<&str>) -> Result<RowStream, LedgerError> {
        let mut builder = self.builder().await?;
        if let Some(columns) = columns {
            let projection = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(projection);
        }
        if let Some(after) = after {
            let groups = builder.metadata().row_groups().iter().enumerate();
            let groups = groups.filter(|(_, group)| may_go_beyond(group, after)).map(|(position, _)| position).collect();
            builder = builder.with_row_groups(groups);
        }
        self.stream(builder)
    }

    async fn builder(&self) -> Result<ParquetRecordBatchStreamBuilder<TableReader>, LedgerError> {
        let metadata = self.metadata().await?.clone();
        Ok(ParquetRecordBatchStreamBuilder::new_with_metadata(TableReader { table: self.clone() }, metadata))
    }

    /// What the end of the file says of it, which is read once.
    async fn metadata(&self) -> Result<&ArrowReaderMetadata, LedgerError> {
        let read = async {
            let mut reader = TableReader { table: self.clone() };
            let metadata = ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::default()).await;
            let metadata = metadata.map_err(|error| unreadable(&self.path, error))?;
            let rows = metadata.metadata().file_metadata().num_rows();
            if u64::try_from(rows) != Ok(self.rows) {
                let problem = format!("it has {rows} rows instead of {}", self.rows);
                return Err(LedgerError::Corrupt { path: self.path.to_string(), problem });
            }
            Ok(metadata)
        };
        self.metadata.get_or_try_init(|| read).await
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

/// The positions of columns in a schema.
fn builder_columns(schema: &SchemaRef, columns: &[&str]) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(position, _)| position).collect()
}

/// A column in every row group.
fn chunks_of<'a>(metadata: &'a ParquetMetaData, column: &'a str) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    let groups = metadata.row_groups().iter();
    groups.flat_map(move |group| group.columns().iter().filter(move |chunk| chunk.column_path().string() == column))
}

/// The value of all rows: that between bounds that are the same.
fn only_value(statistics: &Statistics) -> Option<&[u8]> {
    let exact = statistics.null_count_opt() == Some(0) && statistics.min_is_exact() && statistics.max_is_exact();
    statistics.min_bytes_opt().filter(|least| exact && Some(*least) == statistics.max_bytes_opt())
}

/// Whether a text may stand in a column of a group, by the bounds that the file gives.
fn may_hold(group: &RowGroupMetaData, column: &str, text: &str) -> bool {
    let text = text.as_bytes();
    bounds_of(group, column).is_none_or(|bounds| {
        let (least, greatest) = (bounds.min_opt(), bounds.max_opt());
        least.is_none_or(|least| least.data() <= text) && greatest.is_none_or(|greatest| text <= greatest.data())
    })
}

/// Whether a subject of a group may come after another.
fn may_go_beyond(group: &RowGroupMetaData, after: &str) -> bool {
    let greatest = bounds_of(group, "subject_id").and_then(|bounds| bounds.max_opt());
    greatest.is_none_or(|greatest| greatest.data() > after.as_bytes())
}

/// What a group's texts in a column are not less and not greater than.
fn bounds_of<'a>(group: &'a RowGroupMetaData, column: &str) -> Option<&'a ValueStatistics<ByteArray>> {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column);
    match chunk.and_then(|chunk| chunk.statistics()) {
        Some(Statistics::ByteArray(bounds)) => Some(bounds),
        Some(_) | None => None,
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
    use datafusion::arrow::array::TimestampMicrosecondArray;
    use object_store::memory::InMemory;

    use super::super::chunk::{Column, Texts, Value};
    use super::*;
    use crate::store::rows::membership_schema;

    fn place() -> Place {
        Place::new(Arc::new(InMemory::new()), Path::default(), "test")
    }

    async fn written(place: &Place, rows: i64) -> FileRef {
        let layout = Layout::new(membership_schema()).unwrap();
        let mut writer = TableWriter::create(place, Path::from("x.parquet"), &layout).unwrap();
        let numbers: Vec<i64> = (0..rows).collect();
        for numbers in numbers.chunks(128 * 1024) {
            let ids = StringArray::from_iter_values(numbers.iter().map(|number| subject(*number)));
            let entered_at = TimestampMicrosecondArray::from_iter_values(numbers.iter().copied()).with_timezone("UTC");
            let columns = vec![
                Column::Same(Value::text("demo")),
                Column::Same(Value::text("vip")),
                Column::Texts(layout.texts(2, &Texts::all(&ids)).unwrap()),
                Column::Array(Arc::new(entered_at)),
                Column::Absent,
                Column::Absent,
                Column::Same(Value::text("rule_match")),
                Column::Same(Value::text("run")),
                Column::Same(Value::Instant(7)),
            ];
            writer.append(layout.encode(columns, numbers.len()).unwrap()).await.unwrap();
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
            let entered_at: &TimestampMicrosecondArray = column(&table.path, &found[0], "entered_at").unwrap();
            assert_eq!(entered_at.value(0), number);
        }
        assert!(table.rows_of_subject("0000001 is not there").await.unwrap().is_empty());
        let builder = table.builder().await.unwrap();
        let holding = |id: &str| builder.metadata().row_groups().iter().filter(|group| may_hold(group, "subject_id", id)).count();
        assert_eq!((builder.metadata().num_row_groups(), holding(&subject(150_000)), holding("zzz")), (3, 1, 0));

        let counted = |rows: RowStream| rows.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) });
        for (after, expected) in [(subject(0), 300_000), (subject(131_072), 300_000 - 131_072), (subject(299_999), 0)] {
            let rows = table.rows_after(Some(&["subject_id"]), Some(&after)).await.unwrap();
            assert_eq!(counted(rows).await.unwrap(), expected, "whole groups are passed over");
        }
        let near = async |column, text: &str| counted(table.rows_near(&[(column, vec![text])]).await.unwrap()).await.unwrap();
        assert_eq!(near("subject_id", &subject(7)).await, 131_072);
        assert_eq!((near("segment_id", "vip").await, near("segment_id", "vio").await), (300_000, 0));
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
