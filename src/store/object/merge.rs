//! The sorted merge of a segment's previous members with its new ones: who stays, who enters, who leaves. It holds one batch of the
//! previous members at a time.

use std::cmp::Ordering;
use std::iter::Peekable;

use datafusion::arrow::array::{Array, Float64Array, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use object_store::path::Path;

use super::table::{Table, column};
use crate::model::scoring::Score;
use crate::store::{Figures, LedgerError, RowStream};

/// A member as its row says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) subject_id: &'a str,
    /// Microseconds since 1970.
    pub(super) entered_at: i64,
    pub(super) score: Option<f64>,
    pub(super) confidence: Option<&'a str>,
    pub(super) reason: &'a str,
}

/// What happened to one subject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step<'a> {
    /// With the score that it has now.
    Stays(Member<'a>, Option<Score>),
    Enters(&'a str, Option<Score>),
    Leaves(Member<'a>),
}

/// A new member, with its score.
type Next<'m> = (&'m str, Option<Score>);

/// The merge, one subject at a time, ascending.
pub(super) struct Merge<'m, I: Iterator<Item = Next<'m>>> {
    previous: Option<Cursor>,
    next: Peekable<I>,
}

impl<'m, I: Iterator<Item = Next<'m>>> Merge<'m, I> {
    pub(super) async fn new(previous: Option<&Table>, next: I) -> Result<Self, LedgerError> {
        let previous = match previous {
            Some(table) => Some(Cursor::open(table).await?),
            None => None,
        };
        Ok(Self { previous, next: next.peekable() })
    }

    /// The next subject; `None` after the last.
    pub(super) async fn step(&mut self) -> Result<Option<Step<'_>>, LedgerError> {
        let head = match &mut self.previous {
            Some(cursor) => cursor.head().await?,
            None => None,
        };
        let Some(head) = head else { return Ok(self.next.next().map(|(id, score)| Step::Enters(id, score))) };
        let order = self.next.peek().map_or(Ordering::Less, |(next, _)| head.subject_id().cmp(next));
        match order {
            Ordering::Greater => Ok(self.next.next().map(|(id, score)| Step::Enters(id, score))),
            Ordering::Equal => {
                let score = self.next.next().and_then(|(_, score)| score);
                Ok(Some(Step::Stays(head.take(), score)))
            }
            Ordering::Less => Ok(Some(Step::Leaves(head.take()))),
        }
    }
}

impl Member<'_> {
    /// The member with this score.
    pub(super) fn scored(self, score: Option<Score>) -> Self {
        Self { score: score.map(Score::shown), confidence: score.map(|score| score.confidence().label()), ..self }
    }

    /// Whether the member had this score.
    pub(super) fn has(&self, score: Option<Score>) -> bool {
        self.score.map(f64::to_bits) == score.map(|score| score.shown().to_bits())
    }
}

/// What a merge comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Comparison {
    pub(super) figures: Figures,
    /// Members that stay with another score.
    pub(super) rescored: u64,
}

impl Comparison {
    /// Whether the rows before say all that the rows after would.
    pub(super) fn is_same(&self) -> bool {
        self.figures.added_count == 0 && self.figures.removed_count == 0 && self.rescored == 0
    }
}

/// Counts what a merge comes to; reading everything once, it also shows that everything can be read.
pub(super) async fn compare<'m>(previous: Option<&Table>, next: impl Iterator<Item = Next<'m>>) -> Result<Comparison, LedgerError> {
    let mut merge = Merge::new(previous, next).await?;
    let mut comparison = Comparison::default();
    let figures = &mut comparison.figures;
    while let Some(step) = merge.step().await? {
        match step {
            Step::Stays(member, score) => {
                figures.member_count += 1;
                comparison.rescored += u64::from(!member.has(score));
            }
            Step::Enters(..) => {
                figures.member_count += 1;
                figures.added_count += 1;
            }
            Step::Leaves(_) => figures.removed_count += 1,
        }
    }
    Ok(comparison)
}

/// The rows of a snapshot, one at a time.
struct Cursor {
    path: Path,
    rows: RowStream,
    batch: Option<MemberBatch>,
    row: usize,
}

/// A batch with its columns at hand.
struct MemberBatch {
    ids: StringArray,
    entered_at: TimestampMicrosecondArray,
    scores: Float64Array,
    confidences: StringArray,
    reasons: StringArray,
}

impl Cursor {
    async fn open(table: &Table) -> Result<Self, LedgerError> {
        let rows = table.rows_of(&["subject_id", "entered_at", "score", "confidence", "reason"]).await?;
        Ok(Self { path: table.path().clone(), rows, batch: None, row: 0 })
    }

    /// The row that comes next; `None` after the last.
    async fn head(&mut self) -> Result<Option<Head<'_>>, LedgerError> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.ids.len()) {
            let Some(batch) = self.rows.try_next().await? else { return Ok(None) };
            self.batch = Some(MemberBatch::new(&self.path, &batch)?);
            self.row = 0;
        }
        Ok(self.batch.as_ref().map(|batch| Head { batch, row: &mut self.row }))
    }
}

/// The row that comes next.
struct Head<'a> {
    batch: &'a MemberBatch,
    row: &'a mut usize,
}

impl<'a> Head<'a> {
    fn subject_id(&self) -> &str {
        self.batch.ids.value(*self.row)
    }

    /// The row, going on to the one after it.
    fn take(self) -> Member<'a> {
        let member = self.batch.member(*self.row);
        *self.row += 1;
        member
    }
}

impl MemberBatch {
    fn new(path: &Path, batch: &RecordBatch) -> Result<Self, LedgerError> {
        Ok(Self {
            ids: column::<StringArray>(path, batch, "subject_id")?.clone(),
            entered_at: column::<TimestampMicrosecondArray>(path, batch, "entered_at")?.clone(),
            scores: column::<Float64Array>(path, batch, "score")?.clone(),
            confidences: column::<StringArray>(path, batch, "confidence")?.clone(),
            reasons: column::<StringArray>(path, batch, "reason")?.clone(),
        })
    }

    fn member(&self, row: usize) -> Member<'_> {
        Member {
            subject_id: self.ids.value(row),
            entered_at: self.entered_at.value(row),
            score: self.scores.is_valid(row).then(|| self.scores.value(row)),
            confidence: self.confidences.is_valid(row).then(|| self.confidences.value(row)),
            reason: self.reasons.value(row),
        }
    }
}
