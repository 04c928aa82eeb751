//! `history`: the figures of every run or day, drawn as a chart for a person who asks about one segment.

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{Date32Type, SchemaRef, TimestampMicrosecondType, UInt64Type};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::civil::Date;

use super::changes::{latest, range_of, refuse_unheard_of};
use crate::cli::args::HistoryArguments;
use crate::cli::chart::chart;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{deliver, refuse_undeliverable};
use crate::model::calendar::Calendar;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::store::daily::{Daily, DailyOf};
use crate::store::{Ledger as _, LedgerError, ReadFilter, RowStream, RunKind, RunStatus, rows};

/// Prints history rows, or the days that they make.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &HistoryArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let HistoryArguments { segment, daily, kind, status, range, output } = arguments;
    refuse_undeliverable(context, output)?;
    let calendar = calendar_of(tenant, context.as_of(tenant, None));
    let (from, to) = range_of(range, &calendar)?;
    let filter = ReadFilter { segments: segment.iter().cloned().collect(), from, to, ..ReadFilter::default() };
    let of = daily.then(|| daily_of(kind)).transpose()?;
    if let Some(segment) = segment {
        refuse_unheard_of(context, tenant, segment).await?;
    }
    let (schema, rows) = match of {
        Some(of) => (rows::daily_schema(), days(context, tenant, filter, of, &calendar).await?),
        None => {
            let filter = ReadFilter { kinds: kind.clone(), statuses: status.clone(), ..filter };
            (rows::history_schema(), context.place.ledger().read_history(&tenant.id, &filter).await?)
        }
    };
    let rows = latest(rows, range.limit).await?;
    match segment {
        Some(segment) if output.to.is_none() && context.screen.is_for_people() => {
            drawn(context, &format!("members of `{segment}`"), schema, rows, &calendar).await
        }
        Some(_) | None => deliver(context, output, schema, rows).await,
    }
}

fn daily_of(kinds: &[RunKind]) -> Result<DailyOf, CliError> {
    match kinds {
        [] => Ok(DailyOf::Runs),
        [RunKind::Backfill] => Ok(DailyOf::Backfills),
        _ => Err(CliError::Usage {
            problem: "the figures of days are made of runs, edits and erasures together".to_owned(),
            help: Some("With `--daily`, leave out `--kind`, or say `--kind backfill`.".to_owned()),
        }),
    }
}

/// The days in a range. What they carry on comes from before it, so that all rows of the segments are read.
async fn days<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    filter: ReadFilter,
    of: DailyOf,
    calendar: &Calendar,
) -> Result<RowStream, CliError> {
    let micro = std::time::Duration::from_micros(1);
    let from = filter.from.and_then(|from| days_since_epoch(calendar.date_of(from)));
    // A day that the range ends in belongs to it.
    let to = filter.to.and_then(|to| days_since_epoch(calendar.date_of(to.checked_sub(micro).unwrap_or(to))));
    let filter = ReadFilter { from: None, to: None, kinds: of.kinds(), statuses: vec![RunStatus::Ok], ..filter };
    let mut rows = context.place.ledger().read_history(&tenant.id, &filter).await.map_err(Error::from)?;
    let mut daily = Daily::default();
    while let Some(batch) = rows.try_next().await? {
        daily.take(&batch)?;
    }
    Ok(stream::iter(daily.rows(&tenant.id, of, from, to)).boxed())
}

fn days_since_epoch(date: Date) -> Option<i32> {
    let days = (date - Date::constant(1970, 1, 1)).get_days();
    Some(days)
}

/// Shows a chart, and the rows below it.
async fn drawn<P>(
    context: &Context<P>,
    title: &str,
    schema: SchemaRef,
    rows: RowStream,
    calendar: &Calendar,
) -> Result<(), CliError> {
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    if let Some(chart) = chart(title, counts(&batches, calendar), calendar.zone()) {
        context.screen.text(&chart)?;
    }
    let batches = batches.into_iter().map(Ok::<_, LedgerError>);
    context.screen.stream(schema, stream::iter(batches)).await
}

/// The instant, in seconds, and the member count of every day, or of every row that succeeded. Backfills are a past of their own: where
/// there are other rows, these alone.
fn counts(batches: &[RecordBatch], calendar: &Calendar) -> Vec<(i64, u64)> {
    let (mut runs, mut backfills) = (Vec::new(), Vec::new());
    for batch in batches {
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let Some(members) = batch.column_by_name("member_count").and_then(|column| column.as_primitive_opt::<UInt64Type>()) else {
            continue;
        };
        let times = batch.column_by_name("as_of").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let dates = batch.column_by_name("evaluation_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
        for row in (0..batch.num_rows()).filter(|&row| members.is_valid(row)) {
            let seconds = match (times, dates) {
                (Some(times), _) => Some(times.value(row).div_euclid(1_000_000)),
                (None, Some(dates)) => local_midnight(dates.value(row), calendar),
                (None, None) => None,
            };
            let (Some(seconds), true) =
                (seconds, texts("status").is_none_or(|status| status.value(row) == RunStatus::Ok.keyword()))
            else {
                continue;
            };
            let is_backfill = texts("kind").is_some_and(|kind| kind.value(row) == RunKind::Backfill.keyword());
            if is_backfill { &mut backfills } else { &mut runs }.push((seconds, members.value(row)));
        }
    }
    if runs.is_empty() { backfills } else { runs }
}

fn local_midnight(days: i32, calendar: &Calendar) -> Option<i64> {
    let date = Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    Some(calendar.start_of(date).as_second())
}
