//! Arrow IPC, as a stream and as a file. A file is a stream between a magic word and an index that only random access needs, so that
//! both are read from their start to their end.

use arrow_ipc::reader::StreamDecoder;
use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

use super::decode::Decode;

const MAGIC: &[u8] = b"ARROW1";

/// Bytes of the word with which a file begins and ends.
pub(super) const MAGIC_LENGTH: u64 = 6;

/// Bytes before the stream in a file: the word, padded.
const PREFIX: usize = 8;

/// Whether these last bytes of a file say that it is whole.
pub(super) fn ends_as_file(end: &[u8]) -> bool {
    end == MAGIC
}

/// Reads Arrow IPC.
pub(super) struct IpcDecoder {
    wanted: Option<Vec<String>>,
    start: BytesMut,
    place: Place,
    stream: StreamDecoder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    InStream,
    InFile,
    AfterStream,
}

impl IpcDecoder {
    /// Reads the wanted columns; all when absent.
    pub(super) fn new(wanted: Option<Vec<String>>) -> Self {
        Self { wanted, start: BytesMut::new(), place: Place::Start, stream: StreamDecoder::new() }
    }

    /// The columns of the file, once they are known.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.stream.schema()
    }

    /// Whether this is a file, whose end can be checked, and not a stream.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.place, Place::InFile | Place::AfterStream)
    }

    fn decode(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut buffer = Buffer::from(piece);
        let mut batches = Vec::new();
        while !buffer.is_empty() && self.place != Place::AfterStream {
            match self.stream.decode(&mut buffer) {
                Ok(Some(batch)) => batches.push(self.project(batch)?),
                Ok(None) => {}
                // What follows the end of the stream is the index of the file.
                Err(_) if self.place == Place::InFile && self.stream.finish().is_ok() => self.place = Place::AfterStream,
                Err(error) => return Err(error),
            }
        }
        Ok(batches)
    }

    fn project(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Some(wanted) = &self.wanted else { return Ok(batch) };
        let schema = batch.schema();
        let indices: Vec<usize> = wanted.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = indices.iter().map(|&index| batch.column(index).clone()).collect();
        RecordBatch::try_new_with_options(schema.project(&indices)?.into(), columns, &options)
    }
}

impl Decode for IpcDecoder {
    fn push(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        if self.place != Place::Start {
            return self.decode(piece);
        }
        self.start.extend_from_slice(&piece);
        if self.start.len() < PREFIX {
            return Ok(Vec::new());
        }
        let mut start = std::mem::take(&mut self.start).freeze();
        self.place = Place::InStream;
        if start.starts_with(MAGIC) {
            self.place = Place::InFile;
            start = start.split_off(PREFIX);
        }
        self.decode(start)
    }

    fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        if self.place == Place::Start {
            return Err(ArrowError::IpcError("too short for Arrow IPC".to_owned()));
        }
        self.stream.finish().map(|()| Vec::new())
    }
}
