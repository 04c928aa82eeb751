//! `changes`: entries and exits, as they come; and what it shares with other commands that read rows of the past.

use std::collections::VecDeque;

use datafusion::arrow::array::RecordBatch;
use futures::StreamExt as _;
use jiff::Timestamp;

use super::members::{note_uncomputed, refuse_unknown};
use crate::cli::args::{ChangesArguments, RangeArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{deliver, refuse_undeliverable};
use crate::model::calendar::Calendar;
use crate::model::id::SegmentId;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::store::{Ledger as _, LedgerError, ReadFilter, RowStream, rows};

/// Prints entries and exits.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &ChangesArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let ChangesArguments { segments, subject, change, reason, range, output } = arguments;
    refuse_undeliverable(context, output)?;
    let (from, to) = range_of(range, &calendar_of(tenant, context.as_of(tenant, None)))?;
    for segment in segments {
        refuse_unheard_of(context, tenant, segment).await?;
    }
    let filter = ReadFilter {
        segments: segments.clone(),
        subject: subject.clone(),
        from,
        to,
        change: *change,
        reasons: reason.clone(),
        ..ReadFilter::default()
    };
    let rows = context.place.ledger().read_changes(&tenant.id, &filter).await.map_err(Error::from)?;
    deliver(context, output, rows::change_schema(), latest(rows, range.limit).await?).await
}

/// The instants of a range, the second of which is not in it any more.
pub(crate) fn range_of(range: &RangeArguments, calendar: &Calendar) -> Result<(Option<Timestamp>, Option<Timestamp>), CliError> {
    let (from, to) = (range.from.map(|edge| edge.start(calendar)), range.to.map(|edge| edge.end(calendar)));
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(CliError::Usage {
            problem: format!("nothing is at or after {from} and before {to}"),
            help: Some("`--from` stands for the beginning of the range, and `--to` for its end.".to_owned()),
        }),
        range => Ok(range),
    }
}

/// Refuses a segment that has no row in the logs either: one that was deleted still has.
pub(crate) async fn refuse_unheard_of<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    segment: &SegmentId,
) -> Result<(), Error> {
    let ledger = context.place.ledger();
    let state = ledger.state(&tenant.id).await?;
    let Err(unknown) = refuse_unknown(tenant, &state, segment) else { return Ok(()) };
    let mut rows = ledger.read_history(&tenant.id, &ReadFilter::of(segment)).await?;
    while let Some(batch) = rows.next().await {
        if batch?.num_rows() > 0 {
            return Ok(());
        }
    }
    note_uncomputed(context, tenant, segment).map(drop).ok_or(unknown)
}

/// The last rows of a stream, in its order; all of them without a limit.
pub(crate) async fn latest(mut rows: RowStream, limit: Option<usize>) -> Result<RowStream, CliError> {
    let Some(limit) = limit else { return Ok(rows) };
    let mut kept: VecDeque<RecordBatch> = VecDeque::new();
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Error::from)?;
        count += batch.num_rows();
        kept.push_back(batch);
        while kept.front().is_some_and(|first| count - first.num_rows() >= limit) {
            count -= kept.pop_front().map_or(0, |first| first.num_rows());
        }
    }
    if let Some(first) = kept.front_mut() {
        let surplus = count.saturating_sub(limit);
        *first = first.slice(surplus, first.num_rows() - surplus);
    }
    let kept: Vec<Result<RecordBatch, LedgerError>> = kept.into_iter().map(Ok).collect();
    Ok(futures::stream::iter(kept).boxed())
}
