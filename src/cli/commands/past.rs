//! Members as they were: from what the store keeps, and where that does not reach back, by evaluation.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use jiff::Timestamp;

use super::preview::{evaluated_request, unread};
use crate::backend::sets::Sets as _;
use crate::cli::context::{Context, only_ready};
use crate::cli::error::CliError;
use crate::model::id::SegmentId;
use crate::model::scoring::Score;
use crate::plan::OutputName;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::store::audience::{merged, rows_after};
use crate::store::rows::{membership_schema, partly_known};
use crate::store::{Audience, Ledger as _, LedgerError, Membership, Past, RowStream};

/// Whom an audience contained at an instant, by id, as far as it is known since when; says from where each segment is known.
pub(crate) async fn audience<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    audience: &Audience,
    at: Timestamp,
) -> Result<RowStream, CliError> {
    let mut segments = Vec::with_capacity(audience.segments.len());
    for segment in &audience.segments {
        segments.push(members(context, tenant, segment, at).await?);
    }
    if audience.only().is_none() {
        return Ok(merged(audience.operation, audience.after.clone(), segments, partly_known(&audience.schema())));
    }
    let rows = segments.into_iter().next().unwrap_or_else(|| stream::empty().boxed());
    Ok(rows_after(rows, audience.after.clone()))
}

/// The members of a segment as they were after the last run at or before an instant, by id; says where they are known from.
async fn members<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    segment: &SegmentId,
    at: Timestamp,
) -> Result<RowStream, CliError> {
    let past = context.place.ledger().members_at(&tenant.id, segment, at).await.map_err(Error::from)?;
    let (rows, source) = match past {
        Past::Members { rows, provenance } => (rows, format!("from {provenance}")),
        Past::Unknown => {
            (evaluated(context, tenant, segment, at).await?, "by evaluation: the records do not reach back".to_owned())
        }
    };
    context.screen.note(&format!("`{segment}` as of {at}, {source}"));
    let schema = partly_known(&membership_schema());
    let relabelled = move |batch: RecordBatch| {
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        future::ready(batch.map_err(|error| LedgerError::Corrupt { path: "members".to_owned(), problem: error.to_string() }))
    };
    Ok(rows.and_then(relabelled).boxed())
}

/// Who is in a segment by its definition of now, as of an instant.
async fn evaluated<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    segment: &SegmentId,
    at: Timestamp,
) -> Result<RowStream, CliError> {
    let named = context.open_named(tenant, &[segment.to_string()], at).await?;
    let ready = only_ready(&named, tenant)?;
    let request = evaluated_request(&named.opened, ready)?;
    let batch = named.opened.plan(ready.record.subject, &[request], &calendar_of(tenant, at))?;
    let evaluation = named.opened.evaluate(&context.place, tenant, &batch).await?;
    let output = batch.position(&OutputName::Segment(segment.clone())).and_then(|index| evaluation.outputs.get(index));
    let Some(members) = output else { return Ok(stream::empty().boxed()) };
    let found = context.place.sets(context.run).sample(members, None).await.map_err(unread(tenant))?;
    let count = found.len();
    let same = |text: &str| Arc::new(StringArray::from(vec![text; count])) as ArrayRef;
    let scores = found.iter().map(|(_, score)| score.map(Score::shown)).collect::<Float64Array>();
    let words = found.iter().map(|(_, score)| score.map(|score| score.confidence().label())).collect::<StringArray>();
    let schema = partly_known(&membership_schema());
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "tenant" => same(tenant.id.as_str()),
        "segment_id" => same(segment.as_str()),
        "subject_id" => Arc::new(StringArray::from_iter_values(found.iter().map(|(id, _)| id))),
        "score" => Arc::new(scores.clone()),
        "confidence" => Arc::new(words.clone()),
        _ => new_null_array(field.data_type(), count),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let batch = RecordBatch::try_new(schema, columns)?;
    Ok(stream::iter([Ok(batch)]).boxed())
}

/// The segments that a subject was in at an instant, as far as the store keeps it; says of which it does not.
pub(crate) async fn segments_of<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    subject: &str,
    at: Timestamp,
) -> Result<Vec<Membership>, CliError> {
    let ledger = context.place.ledger();
    let state = ledger.state(&tenant.id).await.map_err(Error::from)?;
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for segment in state.segments.keys() {
        match ledger.members_at(&tenant.id, segment, at).await.map_err(Error::from)? {
            Past::Unknown => unknown.push(format!("`{segment}`")),
            Past::Members { mut rows, .. } => {
                while let Some(batch) = rows.try_next().await.map_err(Error::from)? {
                    found.extend(membership(segment, &batch, subject));
                }
            }
        }
    }
    if !unknown.is_empty() {
        context.screen.note(&format!(
            "the records of {} do not reach back to {at}; `segmenta evaluate --subject {subject} --as-of {at}` evaluates them",
            unknown.join(", ")
        ));
    }
    Ok(found)
}

fn membership(segment: &SegmentId, batch: &RecordBatch, subject: &str) -> Option<Membership> {
    let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let row = text("subject_id")?.iter().position(|id| id == Some(subject))?;
    let entered_at = batch.column_by_name("entered_at")?.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
    let scores = batch.column_by_name("score")?.as_any().downcast_ref::<Float64Array>()?;
    let confidence = text("confidence")?;
    Some(Membership {
        segment_id: segment.clone(),
        entered_at: Timestamp::from_microsecond(entered_at).ok()?,
        score: scores.is_valid(row).then(|| scores.value(row)),
        confidence: confidence.is_valid(row).then(|| confidence.value(row).to_owned()),
        reason: text("reason")?.value(row).to_owned(),
    })
}
