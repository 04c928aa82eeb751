//! Rows in memory on their way to a file: they are handed over as batches of bounded size.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Builder, Float64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use jiff::civil::Date;
use object_store::path::Path;

use super::merge::Member;
use super::place::{Place, failed};
use super::record::FileRef;
use super::table::TableWriter;
use crate::model::id::SegmentId;
use crate::store::rows::{change_schema, history_schema, membership_schema};
use crate::store::{ChangeReason, Figures, LedgerError, Run, RunKind};

/// Rows that are kept in memory before they go to the file.
const BATCH_ROWS: usize = 8 * 1024;

/// Rows of a table before they are a batch.
trait Columns {
    /// The schema of the table.
    fn schema() -> SchemaRef;

    /// The columns of the rows that were gathered, which are forgotten here.
    fn take(&mut self, rows: usize) -> Vec<ArrayRef>;
}

/// A file that is handed its rows a batch at a time.
struct Buffered<C> {
    table: TableWriter,
    path: Path,
    rows: usize,
    columns: C,
}

impl<C: Columns> Buffered<C> {
    fn create(place: &Place, path: Path, columns: C) -> Result<Self, LedgerError> {
        Ok(Self { table: TableWriter::create(place, path.clone(), C::schema())?, path, rows: 0, columns })
    }

    /// Counts a row whose values were appended to the columns.
    async fn count_row(&mut self) -> Result<(), LedgerError> {
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), LedgerError> {
        let columns = self.columns.take(std::mem::take(&mut self.rows));
        let batch = RecordBatch::try_new(C::schema(), columns).map_err(|error| failed("write", &self.path, error))?;
        self.table.write(&batch).await
    }

    async fn finish(mut self) -> Result<FileRef, LedgerError> {
        self.flush().await?;
        self.table.finish().await
    }
}

/// Writes the snapshot of a segment.
pub(super) struct SnapshotWriter(Buffered<SnapshotColumns>);

struct SnapshotColumns {
    tenant: String,
    segment: String,
    run_id: String,
    as_of: i64,
    subject_id: StringBuilder,
    entered_at: TimestampMicrosecondBuilder,
    score: Float64Builder,
    confidence: StringBuilder,
    reason: StringBuilder,
}

impl SnapshotWriter {
    pub(super) fn create(place: &Place, path: Path, run: &Run, segment: &SegmentId) -> Result<Self, LedgerError> {
        let columns = SnapshotColumns {
            tenant: run.tenant.to_string(),
            segment: segment.to_string(),
            run_id: run.run_id.to_string(),
            as_of: run.as_of.as_microsecond(),
            subject_id: StringBuilder::new(),
            entered_at: instants(),
            score: Float64Builder::new(),
            confidence: StringBuilder::new(),
            reason: StringBuilder::new(),
        };
        Ok(Self(Buffered::create(place, path, columns)?))
    }

    pub(super) async fn push(&mut self, member: Member<'_>) -> Result<(), LedgerError> {
        let Member { subject_id, entered_at, score, confidence, reason } = member;
        let columns = &mut self.0.columns;
        columns.subject_id.append_value(subject_id);
        columns.entered_at.append_value(entered_at);
        columns.score.append_option(score);
        columns.confidence.append_option(confidence);
        columns.reason.append_value(reason);
        self.0.count_row().await
    }

    pub(super) async fn finish(self) -> Result<FileRef, LedgerError> {
        self.0.finish().await
    }
}

impl Columns for SnapshotColumns {
    fn schema() -> SchemaRef {
        membership_schema()
    }

    fn take(&mut self, rows: usize) -> Vec<ArrayRef> {
        let mut as_of = instants();
        as_of.append_value_n(self.as_of, rows);
        vec![
            repeated(&self.tenant, rows),
            repeated(&self.segment, rows),
            Arc::new(self.subject_id.finish()),
            Arc::new(self.entered_at.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.confidence.finish()),
            Arc::new(self.reason.finish()),
            repeated(&self.run_id, rows),
            Arc::new(as_of.finish()),
        ]
    }
}

/// Whether a change is an enter or an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Enter,
    Exit,
}

impl Change {
    fn keyword(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Exit => "exit",
        }
    }
}

/// Writes the changes of a run.
pub(super) struct ChangeWriter(Buffered<ChangeColumns>);

struct ChangeColumns {
    tenant: String,
    run_id: String,
    at: i64,
    segment_id: StringBuilder,
    subject_id: StringBuilder,
    change: StringBuilder,
    reason: StringBuilder,
    score: Float64Builder,
    definition_hash: StringBuilder,
}

impl ChangeWriter {
    pub(super) fn create(place: &Place, path: Path, run: &Run) -> Result<Self, LedgerError> {
        let columns = ChangeColumns {
            tenant: run.tenant.to_string(),
            run_id: run.run_id.to_string(),
            at: run.as_of.as_microsecond(),
            segment_id: StringBuilder::new(),
            subject_id: StringBuilder::new(),
            change: StringBuilder::new(),
            reason: StringBuilder::new(),
            score: Float64Builder::new(),
            definition_hash: StringBuilder::new(),
        };
        Ok(Self(Buffered::create(place, path, columns)?))
    }

    pub(super) async fn push(
        &mut self,
        segment: &SegmentId,
        subject_id: &str,
        change: Change,
        reason: ChangeReason,
        score: Option<f64>,
        definition_hash: &str,
    ) -> Result<(), LedgerError> {
        let columns = &mut self.0.columns;
        columns.segment_id.append_value(segment.as_str());
        columns.subject_id.append_value(subject_id);
        columns.change.append_value(change.keyword());
        columns.reason.append_value(reason.keyword());
        columns.score.append_option(score);
        columns.definition_hash.append_value(definition_hash);
        self.0.count_row().await
    }

    pub(super) async fn finish(self) -> Result<FileRef, LedgerError> {
        self.0.finish().await
    }
}

impl Columns for ChangeColumns {
    fn schema() -> SchemaRef {
        change_schema()
    }

    fn take(&mut self, rows: usize) -> Vec<ArrayRef> {
        let mut at = instants();
        at.append_value_n(self.at, rows);
        vec![
            repeated(&self.tenant, rows),
            Arc::new(self.segment_id.finish()),
            Arc::new(self.subject_id.finish()),
            Arc::new(self.change.finish()),
            Arc::new(at.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.definition_hash.finish()),
            repeated(&self.run_id, rows),
        ]
    }
}

/// What a run says of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistoryRow {
    pub(super) segment: SegmentId,
    pub(super) kind: RunKind,
    pub(super) figures: Figures,
    pub(super) duration_ms: u64,
    pub(super) definition_hash: Option<String>,
    pub(super) status: RowStatus,
    /// Why it failed, or what else there is to say.
    pub(super) error: Option<String>,
}

/// Whether a segment was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowStatus {
    Ok,
    Failed,
}

impl RowStatus {
    fn keyword(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// Writes the history rows of a run.
pub(super) async fn write_history(place: &Place, path: Path, run: &Run, rows: &[HistoryRow]) -> Result<FileRef, LedgerError> {
    let mut segment_id = StringBuilder::new();
    let mut kind = StringBuilder::new();
    let mut as_of = instants();
    let mut evaluation_date = Date32Builder::new();
    let mut status = StringBuilder::new();
    let [mut member_count, mut added_count, mut removed_count, mut duration_ms] = [(); 4].map(|()| UInt64Builder::new());
    let mut definition_hash = StringBuilder::new();
    let mut error = StringBuilder::new();
    as_of.append_value_n(run.as_of.as_microsecond(), rows.len());
    evaluation_date.append_value_n(days(run.evaluation_date), rows.len());
    for row in rows {
        segment_id.append_value(row.segment.as_str());
        kind.append_value(row.kind.keyword());
        status.append_value(row.status.keyword());
        member_count.append_value(row.figures.member_count);
        added_count.append_value(row.figures.added_count);
        removed_count.append_value(row.figures.removed_count);
        duration_ms.append_value(row.duration_ms);
        definition_hash.append_option(row.definition_hash.as_deref());
        error.append_option(row.error.as_deref());
    }
    let columns: Vec<ArrayRef> = vec![
        repeated(run.tenant.as_str(), rows.len()),
        Arc::new(segment_id.finish()),
        repeated(&run.run_id.to_string(), rows.len()),
        Arc::new(kind.finish()),
        Arc::new(as_of.finish()),
        Arc::new(evaluation_date.finish()),
        Arc::new(status.finish()),
        Arc::new(member_count.finish()),
        Arc::new(added_count.finish()),
        Arc::new(removed_count.finish()),
        Arc::new(duration_ms.finish()),
        Arc::new(definition_hash.finish()),
        Arc::new(error.finish()),
    ];
    let batch = RecordBatch::try_new(history_schema(), columns).map_err(|error| failed("write", &path, error))?;
    let mut table = TableWriter::create(place, path, history_schema())?;
    table.write(&batch).await?;
    table.finish().await
}

fn instants() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone("UTC")
}

fn repeated(value: &str, rows: usize) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows, rows * value.len());
    for _ in 0..rows {
        builder.append_value(value);
    }
    Arc::new(builder.finish())
}

/// Days since 1970.
fn days(date: Date) -> i32 {
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    i32::try_from(days).unwrap_or(i32::MAX)
}
