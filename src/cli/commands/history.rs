//! `history`: the figures of every run, drawn as a chart for a person who asks about one segment.

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use futures::{StreamExt as _, stream};
use textplots::{Chart, Plot as _, Shape};

use super::members::{filter_of, latest, refuse_unheard_of};
use crate::cli::args::HistoryArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;
use crate::store::{Ledger as _, LedgerError, rows};

/// Prints history rows.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &HistoryArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let HistoryArguments { segment, range } = arguments;
    if let Some(segment) = segment {
        refuse_unheard_of(context, tenant, segment).await?;
    }
    let filter = filter_of(segment.as_ref(), None, range);
    let rows = context.place.ledger().read_history(&tenant.id, &filter).await.map_err(Error::from)?;
    let mut rows = latest(rows, range.limit).await?;
    if segment.is_none() || !context.screen.is_for_people() {
        return context.screen.stream(rows::history_schema(), rows).await;
    }
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch.map_err(Error::from)?);
    }
    if let Some(chart) = chart(&counts(&batches)) {
        context.screen.text(&chart)?;
    }
    let batches: Vec<Result<RecordBatch, LedgerError>> = batches.into_iter().map(Ok).collect();
    context.screen.stream(rows::history_schema(), stream::iter(batches)).await
}

/// The instant, in seconds, and the member count of every row that succeeded.
fn counts(batches: &[RecordBatch]) -> Vec<(i64, u64)> {
    let mut counts = Vec::new();
    for batch in batches {
        let times = batch.column_by_name("as_of").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let members = batch.column_by_name("member_count").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let status = batch.column_by_name("status").and_then(|column| column.as_string_opt::<i32>());
        let (Some(times), Some(members), Some(status)) = (times, members, status) else { continue };
        for row in 0..batch.num_rows() {
            if !times.is_null(row) && status.value(row) == "ok" {
                counts.push((times.value(row).div_euclid(1_000_000), members.value(row)));
            }
        }
    }
    counts
}

/// The counts over days since the first, in Braille dots; `None` when there are no two instants.
fn chart(counts: &[(i64, u64)]) -> Option<String> {
    let first = counts.iter().map(|(at, _)| *at).min()?;
    let last = counts.iter().map(|(at, _)| *at).max()?;
    if first == last {
        return None;
    }
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a chart has a few hundred dots")]
    let points: Vec<(f32, f32)> =
        counts.iter().map(|(at, members)| (((at - first) as f64 / 86_400.0) as f32, *members as f32)).collect();
    let end = points.iter().map(|(day, _)| *day).fold(f32::MIN, f32::max);
    let top = points.iter().map(|(_, members)| *members).fold(1.0, f32::max);
    let shape = Shape::Steps(&points);
    let mut chart = Chart::new_with_y_range(120, 40, 0.0, end, 0.0, top);
    let chart = chart.lineplot(&shape);
    chart.axis();
    chart.figures();
    Some(format!("members over days since the first row\n{chart}"))
}
