//! What the readers of files that are read from their start to their end have in common.

use bytes::Bytes;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

/// Turns the bytes of one file, in pieces of any size, into batches. A batch holds those of the wanted columns that the file has,
/// in types of the file.
pub(super) trait Decode: Send {
    /// The batches that the next piece completes.
    fn push(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError>;

    /// The rest, when there are no more bytes.
    fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError>;
}
