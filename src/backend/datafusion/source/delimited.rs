//! CSV: a line of names, then a record a line. Every value is text; an empty field is missing.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Decoder;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

use super::decode::Decode;
use super::inspect::{Contents, Rows};
use super::locate::File;
use crate::model::catalog::ColumnType;

/// What some tools put before text in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What separates the fields of a file.
pub(super) fn separator(file: &File, configured: Option<char>) -> u8 {
    let extension = Path::new(&file.location).extension().map(|extension| extension.to_ascii_lowercase());
    let by_name = if extension.is_some_and(|extension| extension == "tsv") { b'\t' } else { b',' };
    configured.and_then(|separator| u8::try_from(separator).ok()).unwrap_or(by_name)
}

/// The names of the columns, and whether a record follows.
pub(super) fn contents(start: &[u8], separator: u8) -> Result<Contents, csv::Error> {
    let mut records = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(start);
    let mut record = csv::StringRecord::new();
    let mut columns = Vec::new();
    if records.read_record(&mut record)? {
        let names = record.iter().map(|name| name.trim_start_matches(BYTE_ORDER_MARK).to_owned());
        columns = names.map(|name| (name, ColumnType::Text)).collect();
    }
    let rows = if records.read_byte_record(&mut csv::ByteRecord::new())? { Rows::Some } else { Rows::Exactly(0) };
    Ok(Contents { columns, rows })
}

/// Reads CSV.
pub(super) struct CsvDecoder {
    wanted: Vec<String>,
    batch_size: usize,
    separator: u8,
    start: Vec<u8>,
    records: Option<Decoder>,
}

impl CsvDecoder {
    pub(super) fn new(wanted: Vec<String>, batch_size: usize, separator: u8) -> Self {
        Self { wanted, batch_size, separator, start: Vec::new(), records: None }
    }

    fn decode(&mut self, mut bytes: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut batches = Vec::new();
        let Some(records) = &mut self.records else { return Ok(batches) };
        while !bytes.is_empty() {
            let read = records.decode(bytes)?;
            bytes = bytes.get(read..).unwrap_or_default();
            if records.capacity() == 0 {
                batches.extend(records.flush()?);
            }
        }
        Ok(batches)
    }

    /// Begins with the records, once the line of names is whole: a record after it, or the end of the file, shows that it is.
    fn begin(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        let contents = contents(&self.start, self.separator).map_err(|error| ArrowError::CsvError(error.to_string()))?;
        let fields: Vec<_> = contents.columns.iter().map(|(name, _)| Field::new(name, DataType::Utf8View, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let projection = self.wanted.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let reader = ReaderBuilder::new(schema).with_header(true).with_delimiter(self.separator);
        self.records = Some(reader.with_batch_size(self.batch_size).with_projection(projection).build_decoder());
        let start = std::mem::take(&mut self.start);
        self.decode(&start)
    }
}

impl Decode for CsvDecoder {
    fn push(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        if self.records.is_some() {
            return self.decode(&piece);
        }
        self.start.extend_from_slice(&piece);
        match contents(&self.start, self.separator) {
            Ok(Contents { rows: Rows::Some, .. }) => self.begin(),
            Ok(Contents { rows: Rows::Exactly(_), .. }) | Err(_) => Ok(Vec::new()),
        }
    }

    fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut batches = if self.records.is_none() && !self.start.is_empty() { self.begin()? } else { Vec::new() };
        if let Some(records) = &mut self.records {
            // An empty piece ends a last record that no line break ends.
            records.decode(&[])?;
            batches.extend(records.flush()?);
        }
        Ok(batches)
    }
}
