//! The history rows of a run.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, StringArray, UInt64Array};
use jiff::civil::Date;
use object_store::path::Path;

use super::chunk::{Column, Value};
use super::encode::RunTables;
use super::place::{Place, failed};
use super::record::FileRef;
use super::table::TableWriter;
use crate::store::history::HistoryRow;
use crate::store::{LedgerError, Run};

/// Writes the history rows of a run.
pub(super) async fn write_history(
    place: &Place,
    path: Path,
    tables: &RunTables,
    run: &Run,
    rows: &[HistoryRow],
) -> Result<FileRef, LedgerError> {
    let texts = |text: fn(&HistoryRow) -> Option<&str>| Column::Array(Arc::new(rows.iter().map(text).collect::<StringArray>()));
    let counts =
        |count: fn(&HistoryRow) -> u64| Column::Array(Arc::new(UInt64Array::from_iter_values(rows.iter().map(count))) as ArrayRef);
    let dates = Date32Array::from_value(days(run.evaluation_date), rows.len());
    let columns = vec![
        Column::Same(tables.tenant.clone()),
        texts(|row| Some(row.segment.as_str())),
        Column::Same(tables.run_id.clone()),
        texts(|row| Some(row.kind.keyword())),
        Column::Same(Value::Instant(tables.as_of)),
        Column::Array(Arc::new(dates)),
        texts(|row| Some(row.status.keyword())),
        counts(|row| row.figures.member_count),
        counts(|row| row.figures.added_count),
        counts(|row| row.figures.removed_count),
        counts(|row| row.duration_ms),
        texts(|row| row.definition_hash.as_deref()),
        texts(|row| row.error.as_deref()),
    ];
    let group = tables.history.encode(columns, rows.len()).map_err(|error| failed("write", &path, error))?;
    let mut table = TableWriter::create(place, path, &tables.history)?;
    table.append(group).await?;
    table.finish().await
}

/// Days since 1970.
fn days(date: Date) -> i32 {
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    i32::try_from(days).unwrap_or(i32::MAX)
}
