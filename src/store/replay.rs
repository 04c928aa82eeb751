//! Changes of one segment, folded one after the other, and laid over the snapshot that they follow: who was a member after them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray, UInt32Array};
use datafusion::arrow::compute::{SortOptions, concat_batches, filter_record_batch, sort_to_indices, take_record_batch};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::rows::membership_schema;
use super::{ChangeReason, LedgerError, RowStream};
use crate::model::id::{SegmentId, TenantId};
use crate::model::scoring::Score;

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, LedgerError> {
    let found = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    found.ok_or_else(|| damaged(format!("the column `{name}` is missing or of another type")))
}

fn damaged(problem: impl std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt { path: "changes".to_owned(), problem: problem.to_string() }
}

/// What changes came to, by subject.
#[derive(Debug, Default)]
pub(in crate::store) struct Folded {
    /// Those whom they tell of: who entered last, and who left last.
    subjects: BTreeMap<String, Option<Entered>>,
    /// How many there were.
    pub(super) changes: u64,
    /// The instant of the last one, in microseconds, and its run.
    pub(super) last: Option<(i64, String)>,
}

/// A member by its latest entry.
#[derive(Debug)]
struct Entered {
    at: i64,
    score: Option<f64>,
    reason: &'static str,
}

impl Folded {
    /// Adds rows of changes, one after the other; those of a segment alone.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), LedgerError> {
        let [subjects, changes, reasons, runs] =
            ["subject_id", "change", "reason", "run_id"].map(|name| column::<StringArray>(batch, name));
        let (subjects, changes, reasons, runs) = (subjects?, changes?, reasons?, runs?);
        let instants: &TimestampMicrosecondArray = column(batch, "at")?;
        let scores: &Float64Array = column(batch, "score")?;
        for row in 0..batch.num_rows() {
            let state = match changes.value(row) {
                "enter" => {
                    let score = scores.is_valid(row).then(|| scores.value(row));
                    Some(Entered { at: instants.value(row), score, reason: reason_of_member(reasons.value(row)) })
                }
                _ => None,
            };
            match self.subjects.entry(subjects.value(row).to_owned()) {
                Entry::Occupied(mut known) => drop(known.insert(state)),
                Entry::Vacant(new) => drop(new.insert(state)),
            }
        }
        self.changes += batch.num_rows() as u64;
        if let Some(last) = batch.num_rows().checked_sub(1) {
            self.last = Some((instants.value(last), runs.value(last).to_owned()));
        }
        Ok(())
    }

    /// The members after the changes, by subject id: those of `before`, which is sorted likewise, whom no change tells of, and those who
    /// entered last.
    pub(super) fn over(self, before: Option<RowStream>, tenant: &TenantId, segment: &SegmentId) -> RowStream {
        let before = before.unwrap_or_else(|| futures::stream::empty().boxed());
        let (at, run_id) = self.last.unwrap_or_default();
        let rows = Rows { tenant: tenant.to_string(), segment: segment.to_string(), run_id, as_of: at };
        let laid = Laid { before: Some(before), rest: self.subjects, rows };
        futures::stream::try_unfold(laid, Laid::next).try_filter(|batch| futures::future::ready(batch.num_rows() > 0)).boxed()
    }
}

/// Why a member is in, by why it entered.
fn reason_of_member(of_change: &str) -> &'static str {
    [ChangeReason::Manual, ChangeReason::Import]
        .map(ChangeReason::keyword)
        .into_iter()
        .find(|reason| *reason == of_change)
        .unwrap_or(ChangeReason::RuleMatch.keyword())
}

/// Changes that are being laid over a snapshot.
struct Laid {
    /// The snapshot as far as it is to be read yet.
    before: Option<RowStream>,
    /// What changes came to, for subjects that were not given yet.
    rest: BTreeMap<String, Option<Entered>>,
    rows: Rows,
}

/// What all new rows have in common.
struct Rows {
    tenant: String,
    segment: String,
    run_id: String,
    as_of: i64,
}

impl Laid {
    /// A batch of the snapshot, with everyone who stands among its rows.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>, LedgerError> {
        let unmade = |error: ArrowError| damaged(error);
        let Some(before) = &mut self.before else { return Ok(None) };
        let Some(batch) = before.try_next().await? else {
            self.before = None;
            let batch = self.rows.batch(std::mem::take(&mut self.rest)).map_err(unmade)?;
            return Ok(Some((batch, self)));
        };
        let ids: &StringArray = column(&batch, "subject_id")?;
        let Some(last) = ids.len().checked_sub(1).map(|last| ids.value(last).to_owned()) else { return Ok(Some((batch, self))) };
        let beyond = self.rest.split_off(&last);
        let mut here = std::mem::replace(&mut self.rest, beyond);
        if let Some(state) = self.rest.remove(&last) {
            here.insert(last, state);
        }
        if here.is_empty() {
            return Ok(Some((batch, self)));
        }
        let stay: BooleanArray = ids.iter().map(|id| Some(id.is_none_or(|id| !here.contains_key(id)))).collect();
        let stayed = filter_record_batch(&batch, &stay).map_err(unmade)?;
        let entered = self.rows.batch(here).map_err(unmade)?;
        let both = concat_batches(&membership_schema(), [&stayed, &entered]).map_err(unmade)?;
        let ids: &ArrayRef = both.column_by_name("subject_id").unwrap_or(both.column(0));
        let order: UInt32Array = sort_to_indices(ids, Some(SortOptions::default()), None).map_err(unmade)?;
        Ok(Some((take_record_batch(&both, &order).map_err(unmade)?, self)))
    }
}

impl Rows {
    /// The rows of those who entered last.
    fn batch(&self, subjects: BTreeMap<String, Option<Entered>>) -> Result<RecordBatch, ArrowError> {
        let members: Vec<(String, Entered)> = subjects.into_iter().filter_map(|(id, state)| Some((id, state?))).collect();
        let count = members.len();
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, count))) };
        let instants =
            |instants: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("UTC")) };
        let confidence = |score: f64| Score::nearest(score).confidence().label();
        let columns: Vec<ArrayRef> = vec![
            same(&self.tenant),
            same(&self.segment),
            Arc::new(StringArray::from_iter_values(members.iter().map(|(id, _)| id))),
            instants(members.iter().map(|(_, member)| member.at).collect()),
            Arc::new(members.iter().map(|(_, member)| member.score).collect::<Float64Array>()),
            Arc::new(members.iter().map(|(_, member)| member.score.map(confidence)).collect::<StringArray>()),
            Arc::new(StringArray::from_iter_values(members.iter().map(|(_, member)| member.reason))),
            same(&self.run_id),
            instants(vec![self.as_of; count]),
        ];
        RecordBatch::try_new(membership_schema(), columns)
    }
}
