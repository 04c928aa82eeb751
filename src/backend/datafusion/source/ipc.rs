//! Arrow IPC, as a stream and as a file. A file is a stream between a magic word and an index that only random access needs, so that
//! both are read from their start to their end.

use arrow_ipc::reader::StreamDecoder;
use bytes::{Buf, Bytes, BytesMut};
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

use super::decode::Decode;

const MAGIC: &[u8] = b"ARROW1";

/// Bytes of the word with which a file begins and ends.
pub(super) const MAGIC_LENGTH: u64 = 6;

/// The word that begins a file is padded to a multiple of so many bytes, with zeros.
const PADDING: usize = 8;

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
    Padding,
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
        matches!(self.place, Place::Padding | Place::InFile | Place::AfterStream)
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
        if !matches!(self.place, Place::Start | Place::Padding) {
            return self.decode(piece);
        }
        self.start.extend_from_slice(&piece);
        if self.place == Place::Start && self.start.len() >= PADDING {
            self.place = Place::InStream;
            if self.start.starts_with(MAGIC) {
                self.place = Place::Padding;
                self.start.advance(PADDING);
            }
        }
        while self.place == Place::Padding
            && let Some(word) = self.start.get(..PADDING)
        {
            if word.iter().all(|&byte| byte == 0) {
                self.start.advance(PADDING);
            } else {
                self.place = Place::InFile;
            }
        }
        match self.place {
            Place::Start | Place::Padding => Ok(Vec::new()),
            Place::InStream | Place::InFile | Place::AfterStream => {
                let start = std::mem::take(&mut self.start).freeze();
                self.decode(start)
            }
        }
    }

    fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        if matches!(self.place, Place::Start | Place::Padding) {
            return Err(ArrowError::IpcError("too short for Arrow IPC".to_owned()));
        }
        self.stream.finish().map(|()| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn rows(bytes: &[u8], size: usize) -> Result<usize, ArrowError> {
        let mut decoder = IpcDecoder::new(None);
        let mut rows = 0;
        for piece in bytes.chunks(size) {
            rows += decoder.push(Bytes::copy_from_slice(piece))?.iter().map(RecordBatch::num_rows).sum::<usize>();
        }
        decoder.end()?;
        Ok(rows)
    }

    #[test]
    fn pieces_of_any_size_and_paddings_of_any_width() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        stream.write(&batch).unwrap();
        let mut files = vec![stream.into_inner().unwrap()];
        for alignment in [8, 64] {
            let options = IpcWriteOptions::try_new(alignment, false, arrow_ipc::MetadataVersion::V5).unwrap();
            let mut file = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
            file.write(&batch).unwrap();
            file.write(&batch).unwrap();
            files.push(file.into_inner().unwrap());
        }
        for (file, expected) in files.iter().zip([5, 10, 10]) {
            for size in [1, 7, 8, 9, 64, 100, file.len()] {
                assert_eq!(rows(file, size).unwrap(), expected, "in pieces of {size}");
            }
            assert!(rows(&file[..file.len() / 2], 50).is_err());
        }
        assert!(rows(b"ARR", 1).is_err());
    }
}
