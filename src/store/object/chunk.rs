//! Column chunks of Parquet files, encoded here where more is known of the rows than a general writer could know: columns of one value
//! or of few, whose rows are runs, and ids that ascend, of which each repeats the beginning of the one before it. What is neither goes
//! through the writer of the parquet crate. The same rows give the same bytes.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use datafusion::parquet::basic::{BoundaryOrder, Compression, Encoding, Type, ZstdLevel};
use datafusion::parquet::column::page::{CompressedPage, Page, PageWriter};
use datafusion::parquet::column::writer::ColumnCloseResult;
use datafusion::parquet::data_type::ByteArray;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::statistics::Statistics;
use datafusion::parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use datafusion::parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::packing::{codes_packed, delta_packed, level_run, runs_packed, width_of};
use crate::backend::{Heads, SortedIds, part_of, shared_prefix, told};

/// Texts of one page: what a reader has to decode to find one of them.
const PAGE_TEXTS: usize = 20_000;

/// The level of zstd: the fastest; higher ones take longer and save next to nothing after the encodings.
const LEVEL: i32 = 1;

/// How the row groups of one kind of table are encoded.
pub(super) struct Layout {
    schema: SchemaRef,
    columns: Vec<ColumnDescPtr>,
    general: ArrowRowGroupWriterFactory,
    /// Those that nobody uses at the moment: to make one takes as long as to compress a page.
    compressors: Mutex<Vec<Compressor<'static>>>,
}

/// The rows of one column of a row group.
pub(super) enum Column {
    /// NULL in every row.
    Absent,
    /// One value in every row.
    Same(Value),
    /// A few values, each in many rows that follow one another.
    Runs(Runs),
    /// A few values, which change from row to row.
    Codes(Codes),
    /// Texts that were encoded already.
    Texts(Pages),
    /// Anything.
    Array(ArrayRef),
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Arc<str>),
    /// Microseconds since 1970.
    Instant(i64),
}

/// Rows of few different values, as runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    values: Vec<Value>,
    /// For each run which value it has, and its rows.
    runs: Vec<(u32, usize)>,
}

/// Rows of few different values, each as the number of its value.
#[derive(Debug, Clone, Default)]
pub(super) struct Codes {
    pub(super) values: Vec<Value>,
    pub(super) codes: Vec<u8>,
}

/// Texts of an array, at positions of it.
pub(super) struct Texts<'a> {
    array: &'a StringArray,
    heads: Cow<'a, Heads>,
    positions: Cow<'a, [u32]>,
}

/// The encoded pages of a column, which can stand in any file in which the column has the same rows.
#[derive(Clone)]
pub(super) struct Pages {
    bytes: Bytes,
    close: ColumnCloseResult,
}

/// An encoded row group.
pub(super) struct RowGroup {
    pub(super) rows: usize,
    chunks: Vec<Chunk>,
}

enum Chunk {
    Own(Pages),
    General(ArrowColumnChunk),
}

impl Layout {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, ParquetError> {
        let (file, general) = file_writer(&schema)?;
        Ok(Self { schema, columns: file.schema_descr().columns().to_vec(), general, compressors: Mutex::default() })
    }

    /// A file of this layout, without rows.
    pub(super) fn file(&self) -> Result<SerializedFileWriter<Vec<u8>>, ParquetError> {
        file_writer(&self.schema).map(|(file, _)| file)
    }

    /// Encodes a row group; the columns stand in the order of the schema.
    pub(super) fn encode(&self, columns: Vec<Column>, rows: usize) -> Result<RowGroup, ParquetError> {
        if columns.len() != self.columns.len() {
            return Err(ParquetError::General(format!("{} columns instead of {}", columns.len(), self.columns.len())));
        }
        let mut compressor = self.compressor()?;
        let chunks = columns.into_iter().enumerate().map(|(position, column)| {
            let description = &self.columns[position];
            match column {
                Column::Absent => absent(description, rows, &mut compressor).map(Chunk::Own),
                Column::Same(value) => few(description, &[value], &Rows::Runs(&[(0, rows)]), &mut compressor).map(Chunk::Own),
                Column::Runs(runs) => few(description, &runs.values, &Rows::Runs(&runs.runs), &mut compressor).map(Chunk::Own),
                Column::Codes(codes) => {
                    few(description, &codes.values, &Rows::Codes(&codes.codes), &mut compressor).map(Chunk::Own)
                }
                Column::Texts(pages) => Ok(Chunk::Own(pages)),
                Column::Array(array) => self.general(position, &array).map(Chunk::General),
            }
        });
        let chunks = chunks.collect::<Result<_, _>>()?;
        self.give_back(compressor);
        Ok(RowGroup { rows, chunks })
    }

    /// Encodes the texts of the column at a position, none of them NULL; they are the shorter the better they are sorted.
    pub(super) fn texts(&self, position: usize, texts: &Texts<'_>) -> Result<Pages, ParquetError> {
        let mut compressor = self.compressor()?;
        let mut writer = ChunkWriter::new(&self.columns[position], &mut compressor);
        let mut encoder = TextEncoder::default();
        let mut ascend = true;
        let mut bounds: Option<(&[u8], &[u8])> = None;
        for page in texts.positions.chunks(PAGE_TEXTS) {
            let (encoded, ascends) = encoder.encode(texts, page);
            let all = || page.iter().map(|position| texts.array.value(*position as usize).as_bytes());
            let ends = if ascends { all().next().zip(all().next_back()) } else { all().min().zip(all().max()) };
            let Some((low, high)) = ends else { continue };
            writer.data(&encoded, page.len(), Encoding::DELTA_BYTE_ARRAY, Some((low.to_vec(), high.to_vec())))?;
            ascend &= ascends && bounds.is_none_or(|(_, greatest)| greatest <= low);
            bounds = Some(bounds.map_or((low, high), |(least, greatest)| (least.min(low), greatest.max(high))));
        }
        let bounds = bounds.map(|(low, high)| (low.to_vec(), high.to_vec()));
        let pages = writer.finish(bounds, 0, if ascend { BoundaryOrder::ASCENDING } else { BoundaryOrder::UNORDERED })?;
        self.give_back(compressor);
        Ok(pages)
    }

    fn compressor(&self) -> Result<Compressor<'static>, ParquetError> {
        let idle = self.compressors.lock().ok().and_then(|mut idle| idle.pop());
        Ok(idle.map_or_else(|| Compressor::new(LEVEL), Ok)?)
    }

    fn give_back(&self, compressor: Compressor<'static>) {
        if let Ok(mut idle) = self.compressors.lock() {
            idle.push(compressor);
        }
    }

    fn general(&self, position: usize, array: &ArrayRef) -> Result<ArrowColumnChunk, ParquetError> {
        let mut writer = self.general.create_column_writers(0)?.swap_remove(position);
        for leaf in compute_leaves(self.schema.field(position), array)? {
            writer.write(&leaf)?;
        }
        writer.close()
    }
}

impl RowGroup {
    /// Puts the row group at the end of a file of the same layout.
    pub(super) fn append_to(self, file: &mut SerializedFileWriter<Vec<u8>>) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        for chunk in self.chunks {
            chunk.append_to(&mut group)?;
        }
        group.close()?;
        file.flush()?;
        Ok(())
    }
}

impl Chunk {
    fn append_to(self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        match self {
            Self::Own(pages) => group.append_column(&pages.bytes, pages.close),
            Self::General(chunk) => chunk.append_to_row_group(group),
        }
    }
}

impl Runs {
    /// The number of a value. Values are looked for one by one: this is for few of them.
    pub(super) fn number(&mut self, value: &Value) -> u32 {
        let position = self.values.iter().position(|known| known == value).unwrap_or_else(|| {
            self.values.push(value.clone());
            self.values.len() - 1
        });
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// Adds rows of the value that has a number.
    pub(super) fn push(&mut self, number: u32, rows: usize) {
        match self.runs.last_mut() {
            _ if rows == 0 => {}
            Some((last, count)) if *last == number => *count += rows,
            Some(_) | None => self.runs.push((number, rows)),
        }
    }
}

impl Codes {
    /// The code of a value; `None` when there are too many.
    pub(super) fn code(&mut self, value: &Value) -> Option<u8> {
        let position = self.values.iter().position(|known| known == value).unwrap_or_else(|| {
            self.values.push(value.clone());
            self.values.len() - 1
        });
        u8::try_from(position).ok()
    }
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Instant(micros) => micros.to_le_bytes().to_vec(),
        }
    }

    fn append_plain(&self, to: &mut Vec<u8>) -> Result<(), ParquetError> {
        match self {
            Self::Text(text) => {
                to.extend_from_slice(&length(text.len())?.to_le_bytes());
                to.extend_from_slice(text.as_bytes());
            }
            Self::Instant(micros) => to.extend_from_slice(&micros.to_le_bytes()),
        }
        Ok(())
    }
}

fn file_writer(schema: &SchemaRef) -> Result<(SerializedFileWriter<Vec<u8>>, ArrowRowGroupWriterFactory), ParquetError> {
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties()))?.into_serialized_writer()
}

pub(super) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_created_by("segmenta".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build()
}

/// A column that is NULL in every row.
fn absent(column: &ColumnDescPtr, rows: usize, compressor: &mut Compressor<'_>) -> Result<Pages, ParquetError> {
    let mut writer = ChunkWriter::new(column, compressor);
    writer.data(&level_run(rows, 0), rows, Encoding::PLAIN, None)?;
    writer.finish(None, rows, BoundaryOrder::UNORDERED)
}

/// Which value each row has.
enum Rows<'a> {
    Runs(&'a [(u32, usize)]),
    Codes(&'a [u8]),
}

/// A column of few values: a dictionary, and one page of positions in it.
fn few(column: &ColumnDescPtr, values: &[Value], rows: &Rows<'_>, compressor: &mut Compressor<'_>) -> Result<Pages, ParquetError> {
    let mut writer = ChunkWriter::new(column, compressor);
    let mut dictionary = Vec::new();
    for value in values {
        value.append_plain(&mut dictionary)?;
    }
    writer.dictionary(&dictionary, values.len())?;
    let count = match rows {
        Rows::Runs(runs) => runs.iter().map(|(_, rows)| rows).sum(),
        Rows::Codes(codes) => codes.len(),
    };
    let mut page = if column.max_def_level() > 0 { level_run(count, 1) } else { Vec::new() };
    let width = width_of(u32::try_from(values.len().saturating_sub(1)).unwrap_or(u32::MAX));
    page.push(width);
    match rows {
        Rows::Runs(runs) => runs_packed(runs, width, &mut page),
        Rows::Codes(codes) => codes_packed(codes, width, &mut page),
    }
    let bounds = values.iter().min_by(|a, b| order(a, b)).zip(values.iter().max_by(|a, b| order(a, b)));
    let bounds = bounds.map(|(low, high)| (low.bytes(), high.bytes()));
    writer.data(&page, count, Encoding::RLE_DICTIONARY, bounds.clone())?;
    writer.finish(bounds, 0, BoundaryOrder::ASCENDING)
}

fn order(one: &Value, other: &Value) -> std::cmp::Ordering {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Instant(one), Value::Instant(other)) => one.cmp(other),
        // INVARIANT: the values of a column are of one type.
        (Value::Text(_), Value::Instant(_)) => std::cmp::Ordering::Less,
        (Value::Instant(_), Value::Text(_)) => std::cmp::Ordering::Greater,
    }
}

/// The least and the greatest value, as their bytes.
type Bounds = (Vec<u8>, Vec<u8>);

/// Writes the pages of one column, and notes what readers want to know of them.
struct ChunkWriter<'a, 'c> {
    column: &'a ColumnDescPtr,
    compressor: &'a mut Compressor<'c>,
    sink: TrackedWrite<Vec<u8>>,
    uncompressed: usize,
    rows: usize,
    dictionary_offset: Option<i64>,
    data_offset: Option<i64>,
    pages: Vec<PageEncodingStats>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
}

impl<'a, 'c> ChunkWriter<'a, 'c> {
    fn new(column: &'a ColumnDescPtr, compressor: &'a mut Compressor<'c>) -> Self {
        Self {
            column,
            compressor,
            sink: TrackedWrite::new(Vec::new()),
            uncompressed: 0,
            rows: 0,
            dictionary_offset: None,
            data_offset: None,
            pages: Vec::new(),
            column_index: ColumnIndexBuilder::new(column.physical_type()),
            offset_index: OffsetIndexBuilder::new(),
        }
    }

    fn dictionary(&mut self, plain: &[u8], values: usize) -> Result<(), ParquetError> {
        let buf = self.compressed(plain)?;
        let page = Page::DictionaryPage { buf, num_values: length(values)?, encoding: Encoding::PLAIN, is_sorted: false };
        let (offset, _) = self.page(page, plain.len())?;
        self.dictionary_offset = Some(offset);
        Ok(())
    }

    /// A page of rows, which are all NULL unless there are bounds.
    fn data(&mut self, body: &[u8], rows: usize, encoding: Encoding, bounds: Option<Bounds>) -> Result<(), ParquetError> {
        let page = Page::DataPage {
            buf: self.compressed(body)?,
            num_values: length(rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let (offset, size) = self.page(page, body.len())?;
        self.data_offset.get_or_insert(offset);
        self.offset_index.append_offset_and_size(offset, size);
        self.offset_index.append_row_count(signed(rows)?);
        match bounds {
            Some((low, high)) => self.column_index.append(false, low, high, 0),
            None => self.column_index.append(true, Vec::new(), Vec::new(), signed(rows)?),
        }
        self.rows += rows;
        Ok(())
    }

    fn compressed(&mut self, body: &[u8]) -> Result<Bytes, ParquetError> {
        Ok(Bytes::from(self.compressor.compress(body)?))
    }

    /// Where the page begins, and how large it is with its header.
    fn page(&mut self, page: Page, uncompressed: usize) -> Result<(i64, i32), ParquetError> {
        let (page_type, encoding) = (page.page_type(), page.encoding());
        let written = SerializedPageWriter::new(&mut self.sink).write_page(CompressedPage::new(page, uncompressed))?;
        self.uncompressed += written.uncompressed_size;
        match self.pages.last_mut() {
            Some(pages) if pages.page_type == page_type && pages.encoding == encoding => pages.count += 1,
            Some(_) | None => self.pages.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        let size = i32::try_from(written.compressed_size).map_err(|_| too_large())?;
        Ok((i64::try_from(written.offset).map_err(|_| too_large())?, size))
    }

    fn finish(mut self, bounds: Option<Bounds>, nulls: usize, order: BoundaryOrder) -> Result<Pages, ParquetError> {
        let bytes = Bytes::from(self.sink.into_inner()?);
        let mut encodings: Vec<Encoding> = self.pages.iter().map(|pages| pages.encoding).collect();
        encodings.push(Encoding::RLE);
        let metadata = ColumnChunkMetaData::builder(Arc::clone(self.column))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings(encodings)
            .set_page_encoding_stats(self.pages)
            .set_total_compressed_size(signed(bytes.len())?)
            .set_total_uncompressed_size(signed(self.uncompressed)?)
            .set_num_values(signed(self.rows)?)
            .set_data_page_offset(self.data_offset.unwrap_or_default())
            .set_dictionary_page_offset(self.dictionary_offset)
            .set_statistics(statistics(self.column.physical_type(), bounds, nulls as u64)?)
            .build()?;
        self.column_index.set_boundary_order(order);
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.column_index.build()?),
            offset_index: Some(self.offset_index.build()),
        };
        Ok(Pages { bytes, close })
    }
}

fn statistics(physical: Type, bounds: Option<Bounds>, nulls: u64) -> Result<Statistics, ParquetError> {
    let (low, high) = bounds.unzip();
    let instant = |bytes: Vec<u8>| Some(i64::from_le_bytes(bytes.try_into().ok()?));
    match physical {
        Type::BYTE_ARRAY => {
            Ok(Statistics::byte_array(low.map(ByteArray::from), high.map(ByteArray::from), None, Some(nulls), false))
        }
        Type::INT64 => Ok(Statistics::int64(low.and_then(instant), high.and_then(instant), None, Some(nulls), false)),
        Type::DOUBLE => Ok(Statistics::double(None, None, None, Some(nulls), false)),
        Type::BOOLEAN | Type::INT32 | Type::INT96 | Type::FLOAT | Type::FIXED_LEN_BYTE_ARRAY => {
            Err(ParquetError::General(format!("no column of the store is of type {physical}")))
        }
    }
}

impl<'a> Texts<'a> {
    /// The ids at positions.
    pub(super) fn at(ids: &'a SortedIds, positions: &'a [u32]) -> Self {
        Self { array: ids.array(), heads: Cow::Borrowed(ids.heads()), positions: Cow::Borrowed(positions) }
    }

    /// All texts of an array.
    pub(super) fn all(array: &'a StringArray) -> Self {
        // INVARIANT: an array of texts has fewer than 2^31 of them.
        let end = u32::try_from(array.len()).unwrap_or(u32::MAX);
        Self { array, heads: Cow::Owned(Heads::of_any(array)), positions: (0..end).collect() }
    }
}

/// Encodes pages of texts as `DELTA_BYTE_ARRAY`: how much each repeats of the one before, and what follows.
#[derive(Default)]
struct TextEncoder {
    prefixes: Vec<i32>,
    suffixes: Vec<i32>,
    rest: Vec<u8>,
}

impl TextEncoder {
    /// A page of texts at positions, and whether they ascend.
    fn encode(&mut self, texts: &Texts<'_>, positions: &[u32]) -> (Vec<u8>, bool) {
        self.prefixes.resize(positions.len(), 0);
        self.suffixes.resize(positions.len(), 0);
        let (written, ascend) =
            if texts.heads.tell_all() { self.encode_heads(texts, positions) } else { self.encode_any(texts, positions) };
        let mut page = Vec::with_capacity(written + 2 * positions.len() + 64);
        delta_packed(&self.prefixes, &mut page);
        delta_packed(&self.suffixes, &mut page);
        page.extend_from_slice(&self.rest[..written]);
        (page, ascend)
    }

    /// Texts of which the heads tell all.
    #[inline(never)]
    fn encode_heads(&mut self, texts: &Texts<'_>, positions: &[u32]) -> (usize, bool) {
        let Some(&first) = positions.first() else { return (0, true) };
        let (heads, common) = (texts.heads.all(), texts.heads.common());
        let whole = texts.array.value(first as usize).as_bytes();
        // Eight bytes for each: copies of fixed size are the fastest, and what is too much is written over.
        let most = whole.len() + 8 * positions.len();
        self.rest.resize(most.max(self.rest.len()), 0);
        let out = self.rest.as_mut_slice();
        out[..whole.len()].copy_from_slice(whole);
        (self.prefixes[0], self.suffixes[0]) = (0, narrow(whole.len()).cast_signed());
        let (mut written, mut before, mut ascend) = (whole.len(), heads[first as usize], true);
        for ((&position, prefix), suffix) in positions.iter().zip(&mut self.prefixes).zip(&mut self.suffixes).skip(1) {
            let head = heads[position as usize];
            let length = told(head);
            let shared = ((head ^ before).leading_zeros() as usize / 8).min(length);
            let rest = head.checked_shl(8 * narrow(shared)).unwrap_or_default();
            if let Some(place) = out[written..].first_chunk_mut() {
                *place = rest.to_be_bytes();
            }
            *prefix = narrow(common + shared).cast_signed();
            *suffix = narrow(length - shared).cast_signed();
            written += length - shared;
            ascend &= before <= head;
            before = head;
        }
        (written, ascend)
    }

    /// Any texts: where two heads are equal, the texts are looked at.
    fn encode_any(&mut self, texts: &Texts<'_>, positions: &[u32]) -> (usize, bool) {
        let (bytes, ends) = (texts.array.value_data(), texts.array.value_offsets());
        let (heads, common) = (texts.heads.all(), texts.heads.common());
        let (mut start_before, mut length_before) = (0, 0);
        let mut head_before = positions.first().map_or(0, |first| heads[*first as usize]);
        let mut written = 0;
        let mut ascend = true;
        for ((&position, prefix), suffix) in positions.iter().zip(&mut self.prefixes).zip(&mut self.suffixes) {
            let part = part_of(ends, position as usize);
            let (start, length) = (part.start, part.len());
            let head = heads[position as usize];
            let most = length.min(length_before);
            let shared = if head == head_before {
                let shared = shared_prefix(bytes, start_before, start, most);
                // Where the two part, the order is decided.
                ascend &= shared == length_before || (shared < length && bytes[start_before + shared] < bytes[start + shared]);
                shared
            } else {
                ascend &= head_before < head;
                (common + ((head ^ head_before).leading_zeros() / 8) as usize).min(most)
            };
            let rest = length - shared;
            if self.rest.len() < written + rest {
                self.rest.resize(2 * (written + rest), 0);
            }
            self.rest[written..written + rest].copy_from_slice(&bytes[start + shared..start + length]);
            *prefix = narrow(shared).cast_signed();
            *suffix = narrow(rest).cast_signed();
            written += rest;
            (head_before, start_before, length_before) = (head, start, length);
        }
        (written, ascend)
    }
}

/// A length of a part of a text.
#[inline]
fn narrow(length: usize) -> u32 {
    // INVARIANT: all texts of an array together have fewer than 2^31 bytes.
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn length(count: usize) -> Result<u32, ParquetError> {
    u32::try_from(count).map_err(|_| too_large())
}

fn signed(count: usize) -> Result<i64, ParquetError> {
    i64::try_from(count).map_err(|_| too_large())
}

fn too_large() -> ParquetError {
    ParquetError::General("a page is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, TimestampMicrosecondArray};
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::store::rows::membership_schema;

    /// A snapshot with one row group of these columns, read back.
    fn read_back(ids: &Texts<'_>, instants: Column, confidence: Column, scores: Option<Float64Array>) -> RecordBatch {
        let layout = Layout::new(membership_schema()).unwrap();
        let rows = ids.positions.len();
        let columns = vec![
            Column::Same(Value::text("demo")),
            Column::Same(Value::text("")),
            Column::Texts(layout.texts(2, ids).unwrap()),
            instants,
            scores.map_or(Column::Absent, |scores| Column::Array(Arc::new(scores))),
            confidence,
            Column::Same(Value::text("rule_match")),
            Column::Same(Value::text("run")),
            Column::Same(Value::Instant(-7)),
        ];
        let mut file = layout.file().unwrap();
        layout.encode(columns, rows).unwrap().append_to(&mut file).unwrap();
        let bytes = Bytes::from(file.into_inner().unwrap());
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().with_batch_size(rows);
        let mut batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 1);
        batches.remove(0)
    }

    fn texts_of(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        let array = batch.column_by_name(column).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
        array.iter().map(|text| text.map(str::to_owned)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Runs of any length, of any number of values, and texts in any order.
        #[test]
        fn what_is_encoded_is_read(
            ids in prop::collection::vec("[a-c]{0,12}|user-[0-9]{1,6}|\\PC{0,20}", 1..400),
            sorted in any::<bool>(),
            lengths in prop::collection::vec(1..40_usize, 400),
            kinds in prop::collection::vec(0..5_i64, 400),
            several in any::<bool>(),
        ) {
            let mut ids = ids;
            if sorted {
                ids.sort();
            }
            let (mut instants, mut labels) = (Runs::default(), Runs::default());
            let mut expected = Vec::new();
            for (length, kind) in lengths.iter().zip(&kinds) {
                let rows = (*length).min(ids.len() - expected.len());
                let kind = if several { *kind } else { 3 };
                let number = instants.number(&Value::Instant(kind));
                instants.push(number, rows);
                let number = labels.number(&Value::text(&format!("label {kind}")));
                labels.push(number, rows);
                expected.extend(std::iter::repeat_n(kind, rows));
            }
            let mut codes = Codes::default();
            for kind in &expected {
                let code = codes.code(&Value::Instant(*kind)).unwrap();
                codes.codes.push(code);
            }
            let instants = if sorted { Column::Runs(instants) } else { Column::Codes(codes) };
            let array = StringArray::from_iter_values(&ids);
            let batch = read_back(&Texts::all(&array), instants, Column::Runs(labels), None);
            let found: Vec<Option<String>> = texts_of(&batch, "subject_id");
            prop_assert_eq!(found, ids.iter().cloned().map(Some).collect::<Vec<_>>());
            let entered: &TimestampMicrosecondArray = batch.column(3).as_any().downcast_ref().unwrap();
            prop_assert_eq!(entered.values().to_vec(), expected.clone());
            let found = texts_of(&batch, "confidence");
            prop_assert_eq!(found, expected.iter().map(|kind| Some(format!("label {kind}"))).collect::<Vec<_>>());
            prop_assert_eq!(batch.column(4).null_count(), ids.len());
            prop_assert!(texts_of(&batch, "segment_id").iter().all(|text| text.as_deref() == Some("")));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Ids that begin alike or not, short and long, at positions that ascend or repeat.
        #[test]
        fn chosen_ids_are_read(
            beginning in "[a-c\0]{0,12}",
            ends in prop_oneof![
                prop::collection::btree_set("[0-9]{6}", 1..200),
                prop::collection::btree_set("[0-9]{0,8}", 1..200),
                prop::collection::btree_set("[a-b\0]{0,12}", 1..200),
                prop::collection::btree_set("\\PC{0,9}", 1..200),
            ],
            chosen in prop::collection::vec(any::<prop::sample::Index>(), 1..400),
            ascending in any::<bool>(),
        ) {
            let all: Vec<String> = ends.iter().map(|end| format!("{beginning}{end}")).collect();
            let ids = SortedIds::new(StringArray::from_iter_values(&all)).unwrap();
            let mut positions: Vec<u32> = chosen.iter().map(|index| u32::try_from(index.index(all.len())).unwrap()).collect();
            if ascending {
                positions.sort_unstable();
            }
            let same = || Column::Same(Value::Instant(0));
            let batch = read_back(&Texts::at(&ids, &positions), same(), Column::Absent, None);
            let expected: Vec<_> = positions.iter().map(|position| Some(all[*position as usize].clone())).collect();
            prop_assert_eq!(texts_of(&batch, "subject_id"), expected);
        }
    }

    #[test]
    fn many_pages_and_long_texts_are_read() {
        let ids: Vec<String> = (0..70_000).map(|number| format!("{}{number:08}", "long ".repeat(number / 10_000))).collect();
        let mut instants = Codes::default();
        for number in 0..70_000 {
            let code = instants.code(&Value::Instant(number % 3 * (number / 1_000 % 2))).unwrap();
            instants.codes.push(code);
        }
        let scores = Float64Array::from_iter((0..70_000).map(|number| (number % 7 > 0).then(|| f64::from(number) / 1_000.0)));
        let array = StringArray::from_iter_values(&ids);
        let batch = read_back(&Texts::all(&array), Column::Codes(instants), Column::Absent, Some(scores.clone()));
        assert_eq!(texts_of(&batch, "subject_id"), ids.into_iter().map(Some).collect::<Vec<_>>());
        let entered: &TimestampMicrosecondArray = batch.column(3).as_any().downcast_ref().unwrap();
        assert!(entered.values().iter().zip(0..).all(|(found, number)| *found == number % 3 * (number / 1_000 % 2)));
        assert_eq!(batch.column(4).as_any().downcast_ref::<Float64Array>().unwrap(), &scores);
    }
}
