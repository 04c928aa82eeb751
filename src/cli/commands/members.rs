//! `members` and `changes`: rows of the store, as they come.

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use futures::{StreamExt as _, future};

use super::list::{Standing, is_stale};
use crate::cli::args::{ChangesArguments, MembersArguments, RangeArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::model::id::SegmentId;
use crate::model::segment::Kind;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::read_definitions;
use crate::refresh::place::ReadablePlace;
use crate::store::{Ledger as _, LedgerError, ReadFilter, RowStream, TenantState, rows};

/// Prints the members of a segment, by id.
pub(crate) async fn members<P: ReadablePlace>(context: &Context<P>, arguments: &MembersArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let segment = &arguments.segment;
    let state = context.place.ledger().state(&tenant.id).await.map_err(Error::from)?;
    if let Err(unknown) = refuse_unknown(tenant, &state, segment) {
        note_uncomputed(context, tenant, segment).ok_or(unknown)?;
    }
    note_staleness(context, tenant, &state, segment);
    let mut rows = context.place.ledger().read_members(&tenant.id, segment).await.map_err(Error::from)?;
    if let Some(after) = arguments.after.clone() {
        rows = rows.map(move |batch| Ok(ids_after(&batch?, &after))).boxed();
    }
    if let Some(limit) = arguments.limit {
        rows = first(rows, limit);
    }
    context.screen.stream(rows::membership_schema(), rows).await
}

/// Prints entries and exits.
pub(crate) async fn changes<P: ReadablePlace>(context: &Context<P>, arguments: &ChangesArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let ChangesArguments { segment, subject, range } = arguments;
    if let Some(segment) = segment {
        refuse_unheard_of(context, tenant, segment).await?;
    }
    let filter = filter_of(segment.as_ref(), subject.clone(), range);
    let rows = context.place.ledger().read_changes(&tenant.id, &filter).await.map_err(Error::from)?;
    let rows = latest(rows, range.limit).await?;
    context.screen.stream(rows::change_schema(), rows).await
}

/// The rows that were asked for.
pub(crate) fn filter_of(segment: Option<&SegmentId>, subject: Option<String>, range: &RangeArguments) -> ReadFilter {
    ReadFilter { segment: segment.cloned(), subject, from: range.from, to: range.to }
}

/// Refuses a segment of which the store knows nothing now.
pub(crate) fn refuse_unknown(tenant: &TenantConfig, state: &TenantState, segment: &SegmentId) -> Result<(), Error> {
    if state.segments.contains_key(segment) {
        return Ok(());
    }
    let near = crate::diagnostic::nearest(segment.as_str(), state.segments.keys().map(SegmentId::as_str));
    let near = near.and_then(|near| near.parse().ok());
    Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near })
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
    let filter = ReadFilter { segment: Some(segment.clone()), ..ReadFilter::default() };
    let mut rows = ledger.read_history(&tenant.id, &filter).await?;
    while let Some(batch) = rows.next().await {
        if batch?.num_rows() > 0 {
            return Ok(());
        }
    }
    note_uncomputed(context, tenant, segment).ok_or(unknown)
}

/// Says that a segment which is defined was never computed; `None` when it is not defined either.
fn note_uncomputed<P: ReadablePlace>(context: &Context<P>, tenant: &TenantConfig, segment: &SegmentId) -> Option<()> {
    let files = read_definitions(&tenant.definitions).ok()?;
    let mut documents = files.iter().filter_map(|file| file.parse().ok());
    let document = documents.find(|document| document.definition().id == *segment)?;
    let why = match document.definition().kind {
        Kind::Dynamic => "was not computed yet",
        Kind::Static => "is static, and nobody was added to it",
    };
    context.screen.note(&format!("`{segment}` {why}"));
    Some(())
}

fn note_staleness<P: ReadablePlace>(context: &Context<P>, tenant: &TenantConfig, state: &TenantState, segment: &SegmentId) {
    let Some(stored) = state.segments.get(segment) else { return };
    let now = context.as_of(tenant, None);
    let standing = Standing { tenant, now, default_interval: context.config.scheduler.default_refresh_interval };
    if is_stale(&standing, stored) {
        let computed = stored.computed_at.map_or_else(|| "never computed".to_owned(), |at| format!("last computed as of {at}"));
        context.screen.note(&format!("stale: {computed}"));
    }
}

fn ids_after(batch: &RecordBatch, after: &str) -> RecordBatch {
    let Some(ids) = batch.column_by_name("subject_id").and_then(|column| column.as_string_opt::<i32>()) else {
        return batch.clone();
    };
    let from = ids.iter().position(|id| id.is_some_and(|id| id > after)).unwrap_or(batch.num_rows());
    batch.slice(from, batch.num_rows() - from)
}

fn first(rows: RowStream, limit: usize) -> RowStream {
    rows.scan(limit, |left, batch| {
        let batch = match batch {
            _ if *left == 0 => return future::ready(None),
            Ok(batch) => {
                let taken = batch.num_rows().min(*left);
                *left -= taken;
                Ok(batch.slice(0, taken))
            }
            Err(error) => Err(error),
        };
        future::ready(Some(batch))
    })
    .boxed()
}

/// The last rows of a stream, in its order; all of them without a limit.
pub(crate) async fn latest(mut rows: RowStream, limit: Option<usize>) -> Result<RowStream, CliError> {
    let Some(limit) = limit else { return Ok(rows) };
    let mut kept: std::collections::VecDeque<RecordBatch> = std::collections::VecDeque::new();
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
