//! [`Audience`]: whom segments contain together, and the merge of sorted rows that answers it where members are sorted files.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringArray, StringBuilder, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};

use super::rows::{audience_schema, membership_schema};
use super::{LedgerError, RowStream};
use crate::model::id::SegmentId;

/// Whom one segment contains, or several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The segments, at least one, each once; of subjects of one kind.
    pub segments: Vec<SegmentId>,
    /// How several are put together.
    pub operation: SetOperation,
    /// Only those whose ids come after this one.
    pub after: Option<String>,
}

/// How the members of several segments are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetOperation {
    /// Who is in one of them, since the earliest entry.
    Union,
    /// Who is in all of them, since the latest entry.
    Intersection,
    /// Who is in the first and in none of the others, since the entry into the first.
    Difference,
}

impl Audience {
    /// The members of a segment.
    #[must_use]
    pub fn of(segment: &SegmentId) -> Self {
        Self { segments: vec![segment.clone()], operation: SetOperation::Union, after: None }
    }

    /// The only segment that it is about.
    #[must_use]
    pub fn only(&self) -> Option<&SegmentId> {
        match self.segments.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The columns of its rows: those of memberships for one segment, `subject_id` and `entered_at` for several.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        if self.only().is_some() { membership_schema() } else { audience_schema() }
    }
}

/// Rows of a merged batch.
const BATCH_ROWS: usize = 8192;

/// Merges the rows of segments, each with `subject_id`, ascending, and `entered_at`, to those of the audience, in the columns of a schema of
/// both. A batch of each is held, and nothing else. Rows up to `after` may be among them. Where it is not known since when somebody is in a
/// segment, it is not known either since when in the audience, as far as that depends on it.
#[must_use]
pub fn merged(operation: SetOperation, after: Option<String>, segments: Vec<RowStream>, schema: SchemaRef) -> RowStream {
    let cursors = segments.into_iter().map(|rows| Cursor { rows, held: None }).collect();
    let merge = Merge { operation, after, cursors, schema };
    let batches = stream::try_unfold(merge, |mut merge| async move {
        let batch = merge.next_batch().await?;
        Ok(batch.map(|batch| (batch, merge)))
    });
    batches.into_stream().boxed()
}

struct Merge {
    operation: SetOperation,
    after: Option<String>,
    cursors: Vec<Cursor>,
    schema: SchemaRef,
}

/// A place in the rows of a segment.
struct Cursor {
    rows: RowStream,
    held: Option<Held>,
}

/// A batch, and the first row of it that was not taken.
struct Held {
    ids: StringArray,
    entered_at: TimestampMicrosecondArray,
    next: usize,
}

impl Held {
    fn id(&self) -> &str {
        self.ids.value(self.next)
    }

    /// `None` when that is not known.
    fn entered_at(&self) -> Option<i64> {
        self.entered_at.is_valid(self.next).then(|| self.entered_at.value(self.next))
    }
}

impl Merge {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, LedgerError> {
        let mut ids = StringBuilder::new();
        let mut instants: Vec<Option<i64>> = Vec::new();
        while instants.len() < BATCH_ROWS {
            for cursor in &mut self.cursors {
                cursor.fill(self.after.as_deref()).await?;
            }
            // What comes after the last member of the first, or of any, is in no difference, or intersection.
            let is_over = match self.operation {
                SetOperation::Union => self.cursors.iter().all(|cursor| cursor.held.is_none()),
                SetOperation::Intersection => self.cursors.iter().any(|cursor| cursor.held.is_none()),
                SetOperation::Difference => self.cursors.first().is_none_or(|cursor| cursor.held.is_none()),
            };
            if is_over {
                break;
            }
            self.take_until_a_batch_ends(&mut ids, &mut instants);
        }
        if instants.is_empty() {
            return Ok(None);
        }
        let entered_at = TimestampMicrosecondArray::from(instants).with_timezone("UTC");
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(ids.finish()), Arc::new(entered_at)]);
        batch.map(Some).map_err(|error| unexpected(&error))
    }

    /// Takes ids, the least first, until one of the batches at hand is over.
    fn take_until_a_batch_ends(&mut self, ids: &mut StringBuilder, instants: &mut Vec<Option<i64>>) {
        let (count, operation) = (self.cursors.len(), self.operation);
        let mut found: Vec<(usize, Option<i64>)> = Vec::with_capacity(count);
        while instants.len() < BATCH_ROWS {
            let Some(least) = self.cursors.iter().filter_map(|cursor| cursor.held.as_ref()).map(Held::id).min() else { return };
            found.clear();
            for (place, cursor) in self.cursors.iter().enumerate() {
                if let Some(held) = cursor.held.as_ref().filter(|held| held.id() == least) {
                    found.push((place, held.entered_at()));
                }
            }
            let mut entries = found.iter().map(|(_, at)| *at);
            let since = match operation {
                SetOperation::Union => Some(entries.try_fold(i64::MAX, |least, at| Some(least.min(at?)))),
                SetOperation::Intersection if found.len() < count => None,
                SetOperation::Intersection => Some(entries.try_fold(i64::MIN, |greatest, at| Some(greatest.max(at?)))),
                SetOperation::Difference => match found.as_slice() {
                    [(0, at)] => Some(*at),
                    _ => None,
                },
            };
            if let Some(since) = since {
                ids.append_value(least);
                instants.push(since);
            }
            let mut is_over = false;
            for (place, _) in &found {
                is_over |= self.cursors.get_mut(*place).is_some_and(Cursor::step);
            }
            if is_over {
                return;
            }
        }
    }
}

impl Cursor {
    /// Goes to the next row; true when the batch has no other.
    fn step(&mut self) -> bool {
        let Some(held) = &mut self.held else { return false };
        held.next += 1;
        if held.next < held.ids.len() {
            return false;
        }
        self.held = None;
        true
    }

    /// Sees to it that there is a row at hand, unless all were taken.
    async fn fill(&mut self, after: Option<&str>) -> Result<(), LedgerError> {
        while self.held.is_none() {
            let Some(batch) = self.rows.try_next().await? else { return Ok(()) };
            let ids = batch.column_by_name("subject_id").and_then(|ids| ids.as_string_opt::<i32>());
            let instants = batch.column_by_name("entered_at").and_then(|at| at.as_primitive_opt::<TimestampMicrosecondType>());
            let (Some(ids), Some(instants)) = (ids, instants) else {
                return Err(unexpected(&"members are not in the columns of memberships"));
            };
            let next = after.map_or(0, |after| first_after(ids, after));
            if next < ids.len() {
                self.held = Some(Held { ids: ids.clone(), entered_at: instants.clone(), next });
            }
        }
        Ok(())
    }
}

/// The rows of members, by id, whose ids come after one.
#[must_use]
pub fn rows_after(rows: RowStream, after: Option<String>) -> RowStream {
    let Some(after) = after else { return rows };
    let rest = rows.map(move |batch| {
        let batch = batch?;
        let ids = batch.column_by_name("subject_id").and_then(|ids| ids.as_string_opt::<i32>());
        let ids = ids.ok_or_else(|| unexpected(&"members are not in the columns of memberships"))?;
        let first = first_after(ids, &after);
        Ok(batch.slice(first, batch.num_rows() - first))
    });
    rest.boxed()
}

/// The position of the first of ascending ids that comes after one.
fn first_after(ids: &StringArray, after: &str) -> usize {
    let (mut low, mut high) = (0, ids.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match ids.value(middle).cmp(after) {
            Ordering::Less | Ordering::Equal => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    low
}

fn unexpected(problem: &impl ToString) -> LedgerError {
    LedgerError::Corrupt { path: "memberships".to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Members in batches of so many rows; entered at instants that tell segment and subject.
    fn rows(segment: usize, ids: &[String], batch: usize) -> RowStream {
        let batches: Vec<_> = ids
            .chunks(batch)
            .map(|ids| {
                let instants: Vec<i64> = ids.iter().map(|id| entry(segment, id)).collect();
                let instants = TimestampMicrosecondArray::from(instants).with_timezone("UTC");
                let ids = StringArray::from_iter_values(ids);
                Ok(RecordBatch::try_new(audience_schema(), vec![Arc::new(ids), Arc::new(instants)]).unwrap())
            })
            .collect();
        stream::iter(batches).boxed()
    }

    fn entry(segment: usize, id: &str) -> i64 {
        let drawn = blake3::hash(format!("{segment} {id}").as_bytes());
        i64::from(drawn.as_bytes()[0]) * 1_000_000
    }

    /// The members by trying every id.
    fn expected(operation: SetOperation, after: Option<&str>, sets: &[Vec<String>]) -> BTreeMap<String, i64> {
        let all: std::collections::BTreeSet<&String> = sets.iter().flatten().collect();
        let mut found = BTreeMap::new();
        for id in all.into_iter().filter(|id| after.is_none_or(|after| id.as_str() > after)) {
            let entries: Vec<i64> = (0..sets.len()).filter(|&set| sets[set].contains(id)).map(|set| entry(set, id)).collect();
            let since = match operation {
                SetOperation::Union => entries.iter().min().copied(),
                SetOperation::Intersection if entries.len() == sets.len() => entries.iter().max().copied(),
                SetOperation::Difference if entries.len() == 1 && sets[0].contains(id) => Some(entries[0]),
                SetOperation::Intersection | SetOperation::Difference => None,
            };
            found.extend(since.map(|since| (id.clone(), since)));
        }
        found
    }

    #[tokio::test]
    async fn merging_is_what_trying_every_id_is() {
        for seed in 0..60_u64 {
            let count = usize::try_from(seed % 4).unwrap() + 1;
            let sets: Vec<Vec<String>> = (0..count)
                .map(|set| {
                    let is_in = |id: &u64| blake3::hash(format!("{seed} {set} {id}").as_bytes()).as_bytes()[0] > 80;
                    let mut ids: Vec<String> = (0..40).filter(is_in).map(|id| format!("ü{id}")).collect();
                    ids.truncate(usize::try_from(seed % 7).unwrap() * 8);
                    ids.sort();
                    ids
                })
                .collect();
            for operation in [SetOperation::Union, SetOperation::Intersection, SetOperation::Difference] {
                for after in [None, Some("ü2"), Some("zzz")] {
                    let streams = sets.iter().enumerate().map(|(set, ids)| rows(set, ids, set * 3 + 1)).collect();
                    let batches: Vec<RecordBatch> =
                        merged(operation, after.map(str::to_owned), streams, audience_schema()).try_collect().await.unwrap();
                    let mut found = Vec::new();
                    for batch in &batches {
                        let instants = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                        let ids = batch.column(0).as_string::<i32>();
                        found.extend(ids.iter().zip(instants).map(|(id, at)| (id.unwrap().to_owned(), at.unwrap())));
                    }
                    let expected: Vec<(String, i64)> = expected(operation, after, &sets).into_iter().collect();
                    assert_eq!(found, expected, "{operation:?} {after:?} of {sets:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_entry_that_nobody_knows_is_told_as_far_as_it_matters() {
        let schema = crate::store::rows::partly_known(&audience_schema());
        let rows = |rows: &[(&str, Option<i64>)]| -> RowStream {
            let ids = StringArray::from_iter_values(rows.iter().map(|(id, _)| id));
            let instants = TimestampMicrosecondArray::from_iter(rows.iter().map(|(_, at)| *at)).with_timezone("UTC");
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(instants)]).unwrap();
            stream::iter([Ok(batch)]).boxed()
        };
        for (operation, expected) in [
            (SetOperation::Union, vec![("a", None), ("b", Some(2)), ("c", None), ("d", Some(9))]),
            (SetOperation::Intersection, vec![("b", Some(5)), ("c", None)]),
            (SetOperation::Difference, vec![("a", None)]),
        ] {
            let (one, other) = ([("a", None), ("b", Some(2)), ("c", Some(3))], [("b", Some(5)), ("c", None), ("d", Some(9))]);
            let found = merged(operation, None, vec![rows(&one), rows(&other)], Arc::clone(&schema));
            let found: Vec<RecordBatch> = found.try_collect().await.unwrap();
            let found: Vec<(&str, Option<i64>)> = found
                .iter()
                .flat_map(|batch| {
                    let instants = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                    batch.column(0).as_string::<i32>().iter().flatten().zip(instants)
                })
                .collect();
            assert_eq!(found, expected, "{operation:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_no_end() {
        let broken = || LedgerError::Corrupt { path: "x".to_owned(), problem: "it is broken".to_owned() };
        for operation in [SetOperation::Union, SetOperation::Intersection, SetOperation::Difference] {
            let ids = ["a".to_owned(), "b".to_owned()];
            let failing = rows(1, &ids, 1).chain(stream::iter([Err(broken())])).boxed();
            let long: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).into();
            let segments = vec![rows(0, &long, 9), failing];
            let found: Result<Vec<RecordBatch>, _> = merged(operation, None, segments, audience_schema()).try_collect().await;
            assert!(found.is_err(), "{operation:?}");
        }
    }
}
