//! The rows of a run, segment by segment, on their way to row groups: what they say is decided here, how it is encoded in `chunk`.
//! Encoding is work for all processors; the jobs of a segment, or of several small ones, can be done at the same time, and what they
//! give does not depend on which is done first.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use datafusion::parquet::errors::ParquetError;
use object_store::path::Path;

use super::chunk::{Codes, Column, Layout, Pages, RowGroup, Runs, Texts, Value};
use super::compare::{Changed, Comparison, Move, Stayers};
use super::hand::Hand;
use super::place::failed;
use super::table::{Table, column};
use crate::store::rows::{change_schema, history_schema, membership_schema};
use crate::store::{ChangeReason, LedgerError, Run};

/// Rows of one group: small enough that finding one subject among millions reads little.
pub(super) const GROUP_ROWS: u64 = 128 * 1024;

/// Changes of a segment that are worth row groups of their own; fewer share one with those of other segments.
const OWN_GROUP_ROWS: u64 = 32 * 1024;

/// Different instants in a column that are looked for one by one; a column of more is left to the general writer.
const FEW_INSTANTS: u8 = 64;

/// Where `subject_id` stands in memberships and changes.
const SUBJECT_ID: usize = 2;

/// The tables of a run, and what all its rows have in common.
pub(super) struct RunTables {
    pub(super) memberships: Layout,
    pub(super) changes: Layout,
    pub(super) history: Layout,
    pub(super) tenant: Value,
    pub(super) run_id: Value,
    /// Microseconds since 1970.
    pub(super) as_of: i64,
}

/// A segment that is to be written.
pub(super) struct Work {
    pub(super) path: Path,
    pub(super) segment: Value,
    pub(super) definition_hash: Value,
    pub(super) occasion: Occasion,
    pub(super) comparison: Comparison,
}

/// Whether a diff starts a segment, follows a new definition, or neither.
#[derive(Clone, Copy)]
pub(super) enum Occasion {
    First,
    NewDefinition,
    Same,
}

/// A part of the encoding. Jobs are numbered in the order in which their rows stand in the files.
pub(super) enum Job {
    /// Members of a segment, and when all of them entered just now, their changes as well.
    Members {
        /// The segment's number among those that are written.
        number: usize,
        work: Arc<Work>,
        members: Range<u64>,
        with_changes: bool,
    },
    /// Changes, of one segment or of several.
    Changes(Vec<Part>),
}

/// Some of the changes of a segment.
pub(super) struct Part {
    number: usize,
    work: Arc<Work>,
    changes: Range<u64>,
}

/// What a job gives.
pub(super) struct Done {
    /// A row group of the snapshot of the segment with this number.
    pub(super) members: Option<(usize, RowGroup)>,
    pub(super) changes: Option<RowGroup>,
    /// The numbers of the segments that it was done for.
    pub(super) segments: Vec<usize>,
}

impl RunTables {
    pub(super) fn new(run: &Run) -> Result<Self, ParquetError> {
        Ok(Self {
            memberships: Layout::new(membership_schema())?,
            changes: Layout::new(change_schema())?,
            history: Layout::new(history_schema())?,
            tenant: Value::text(run.tenant.as_str()),
            run_id: Value::text(&run.run_id.to_string()),
            as_of: run.as_of.as_microsecond(),
        })
    }

    /// Encodes changes of one segment whose columns are known.
    pub(super) fn exits(
        &self,
        segment: &str,
        ids: &StringArray,
        scores: &Float64Array,
        reason: ChangeReason,
        definition_hash: &str,
    ) -> Result<RowGroup, ParquetError> {
        let columns = vec![
            Column::Same(self.tenant.clone()),
            Column::Same(Value::text(segment)),
            Column::Texts(self.changes.texts(SUBJECT_ID, &Texts::all(ids))?),
            Column::Same(Value::text(Change::Exit.keyword())),
            Column::Same(Value::Instant(self.as_of)),
            Column::Same(Value::text(reason.keyword())),
            optional(scores.iter().collect()),
            Column::Same(Value::text(definition_hash)),
            Column::Same(self.run_id.clone()),
        ];
        self.changes.encode(columns, ids.len())
    }
}

/// The jobs that write segments, in order.
pub(super) fn jobs(works: &[Arc<Work>]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut shared = Vec::new();
    let mut shared_rows = 0;
    for (number, work) in works.iter().enumerate() {
        let changes = work.comparison.changes();
        let own_groups = changes >= OWN_GROUP_ROWS;
        let with_changes = own_groups && work.comparison.all_enter();
        if !shared.is_empty() && (own_groups || shared_rows + changes > GROUP_ROWS) {
            jobs.push(Job::Changes(std::mem::take(&mut shared)));
            shared_rows = 0;
        }
        let members = groups(work.comparison.figures.member_count);
        jobs.extend(members.map(|members| Job::Members { number, work: Arc::clone(work), members, with_changes }));
        let part = |changes| Part { number, work: Arc::clone(work), changes };
        if own_groups && !with_changes {
            jobs.extend(groups(changes).map(|changes| Job::Changes(vec![part(changes)])));
        } else if !own_groups && changes > 0 {
            shared.push(part(0..changes));
            shared_rows += changes;
        }
    }
    if !shared.is_empty() {
        jobs.push(Job::Changes(shared));
    }
    jobs
}

/// The jobs that write the members of segments alone, in order.
pub(super) fn jobs_of_members(works: &[Arc<Work>]) -> Vec<Job> {
    let of_work = |(number, work): (usize, &Arc<Work>)| {
        let work = Arc::clone(work);
        groups(work.comparison.figures.member_count).map(move |members| {
            let work = Arc::clone(&work);
            Job::Members { number, work, members, with_changes: false }
        })
    };
    works.iter().enumerate().flat_map(of_work).collect()
}

fn groups(rows: u64) -> impl Iterator<Item = Range<u64>> {
    (0..rows.div_ceil(GROUP_ROWS)).map(move |group| group * GROUP_ROWS..rows.min((group + 1) * GROUP_ROWS))
}

impl Job {
    /// Whether it gives changes.
    pub(super) fn has_changes(&self) -> bool {
        match self {
            Self::Members { with_changes, .. } => *with_changes,
            Self::Changes(_) => true,
        }
    }

    pub(super) async fn done(self, tables: Arc<RunTables>) -> Result<Done, LedgerError> {
        match self {
            Self::Members { number, work, members, with_changes } => {
                let (group, ids) = member_group(&tables, &work, &members).await?;
                let changes = if with_changes {
                    let part = Part { number, work, changes: members };
                    Some(change_group(&tables, &[part], Some(ids)).await?)
                } else {
                    None
                };
                Ok(Done { members: Some((number, group)), changes, segments: vec![number] })
            }
            Self::Changes(parts) => {
                let changes = change_group(&tables, &parts, None).await?;
                Ok(Done { members: None, changes: Some(changes), segments: parts.iter().map(|part| part.number).collect() })
            }
        }
    }
}

/// A row group of a snapshot, with its ids.
async fn member_group(tables: &RunTables, work: &Work, numbers: &Range<u64>) -> Result<(RowGroup, Pages), LedgerError> {
    let comparison = &work.comparison;
    let unwritable = |error| failed("write", &work.path, error);
    let members = comparison.members_between(numbers);
    let ids = tables.memberships.texts(SUBJECT_ID, &Texts::at(comparison.members.ids(), &members)).map_err(unwritable)?;
    let entered_at = match (comparison.stayers(&members), &comparison.before) {
        (Some(stayers), Some(table)) => entered_at(&stayers, table, tables.as_of).await?,
        (_, None) | (None, _) => Column::Same(Value::Instant(tables.as_of)),
    };
    let (score, confidence) = match comparison.members.scores().and_then(|scores| scores.get(indexes(numbers))) {
        None => (Column::Absent, Column::Absent),
        Some(scores) => {
            let mut confidence = Runs::default();
            for score in scores {
                let number = confidence.number(&Value::text(score.confidence().label()));
                confidence.push(number, 1);
            }
            let shown: ArrayRef = Arc::new(Float64Array::from_iter_values(scores.iter().map(|score| score.shown())));
            (Column::Array(shown), Column::Runs(confidence))
        }
    };
    let columns = vec![
        Column::Same(tables.tenant.clone()),
        Column::Same(work.segment.clone()),
        Column::Texts(ids.clone()),
        entered_at,
        score,
        confidence,
        reason(comparison.hand.as_ref(), &members),
        Column::Same(tables.run_id.clone()),
        Column::Same(Value::Instant(tables.as_of)),
    ];
    Ok((tables.memberships.encode(columns, members.len()).map_err(unwritable)?, ids))
}

/// Since when members are in, of whom some stay.
async fn entered_at(stayers: &Stayers, table: &Table, as_of: i64) -> Result<Column, LedgerError> {
    let values: Vec<i64> = match table.instant_of_all("entered_at").await? {
        Some(before) => stayers.rows.iter().map(|row| if row.is_some() { before } else { as_of }).collect(),
        None => {
            let batch = table.rows_between(&["entered_at"], stayers.table_rows.clone()).await?;
            let before: &TimestampMicrosecondArray = column(table.path(), &batch, "entered_at")?;
            let value = |row: &Option<u64>| row.and_then(|row| before.values().get(index(row))).copied().unwrap_or(as_of);
            stayers.rows.iter().map(value).collect()
        }
    };
    let mut codes = Codes::default();
    codes.codes.reserve(values.len());
    let mut last = None;
    for &value in &values {
        let code = match last {
            Some((same, code)) if same == value => code,
            Some(_) | None => {
                let Some(code) = codes.code(&Value::Instant(value)).filter(|code| *code < FEW_INSTANTS) else {
                    return Ok(Column::Array(Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))));
                };
                last = Some((value, code));
                code
            }
        };
        codes.codes.push(code);
    }
    Ok(Column::Codes(codes))
}

/// Why members are in.
fn reason(hand: Option<&Hand>, members: &[u32]) -> Column {
    let Some(hand) = hand else { return Column::Same(Value::text(ChangeReason::RuleMatch.keyword())) };
    let mut runs = Runs::default();
    for &member in members {
        let number = runs.number(&Value::text(hand.of_member(member).keyword()));
        runs.push(number, 1);
    }
    Column::Runs(runs)
}

/// A row group of changes. `ids` are those of the rows, when they are encoded already.
async fn change_group(tables: &RunTables, parts: &[Part], ids: Option<Pages>) -> Result<RowGroup, LedgerError> {
    let unwritable = |error| failed("write", &parts.first().map_or_else(Path::default, |part| part.work.path.clone()), error);
    let [mut segments, mut hashes] = [(); 2].map(|()| Runs::default());
    let [mut changes, mut reasons] = [(); 2].map(|()| Codes::default());
    let mut scores = Vec::new();
    let mut all = Vec::with_capacity(parts.len());
    let mut rows = 0;
    for Part { work, changes: numbers, .. } in parts {
        let changed = work.comparison.changed_between(numbers);
        // INVARIANT: there are fewer words than codes.
        let code = |codes: &mut Codes, word| codes.code(&Value::text(word)).unwrap_or_default();
        let codes = Move::ALL.map(|one| {
            if !changed.moves.contains(&one) {
                return (0, 0);
            }
            let (change, reason) = match one {
                Move::Enters => (Change::Enter, work.occasion.enter()),
                Move::Leaves => (Change::Exit, work.occasion.exit()),
                Move::Vanishes => (Change::Exit, ChangeReason::LeftUniverse),
            };
            (code(&mut changes, change.keyword()), code(&mut reasons, reason.keyword()))
        });
        changes.codes.extend(changed.moves.iter().map(|one| codes[*one as usize].0));
        if work.comparison.hand.is_none() {
            reasons.codes.extend(changed.moves.iter().map(|one| codes[*one as usize].1));
        } else {
            for (id, one) in changed.ids.iter().zip(&changed.moves) {
                let by_hand = work.comparison.by_hand(*id, *one).map(|reason| code(&mut reasons, reason.keyword()));
                reasons.codes.push(by_hand.unwrap_or(codes[*one as usize].1));
            }
        }
        let (segment, hash) = (segments.number(&work.segment), hashes.number(&work.definition_hash));
        segments.push(segment, changed.ids.len());
        hashes.push(hash, changed.ids.len());
        if let Some(found) = scores_of(&work.comparison, &changed).await? {
            scores.resize(rows, None);
            scores.extend(found);
        }
        rows += changed.ids.len();
        all.push((&work.comparison, changed));
    }
    if !scores.is_empty() {
        scores.resize(rows, None);
    }
    let ids = match ids {
        Some(ids) => ids,
        None => encoded_ids(&tables.changes, &all).map_err(unwritable)?,
    };
    let columns = vec![
        Column::Same(tables.tenant.clone()),
        Column::Runs(segments),
        Column::Texts(ids),
        Column::Codes(changes),
        Column::Same(Value::Instant(tables.as_of)),
        Column::Codes(reasons),
        optional(scores),
        Column::Runs(hashes),
        Column::Same(tables.run_id.clone()),
    ];
    tables.changes.encode(columns, rows).map_err(unwritable)
}

/// The ids of changes, taken from the list that they all stand in when there is one.
fn encoded_ids(layout: &Layout, parts: &[(&Comparison, Changed)]) -> Result<Pages, ParquetError> {
    if let [(first, _), ..] = parts
        && parts.iter().all(|(one, _)| Arc::ptr_eq(one.members.ids(), first.members.ids()) && one.all_are_listed())
    {
        let positions = match parts {
            [(_, changed)] => Cow::Borrowed(changed.ids.as_slice()),
            _ => Cow::Owned(parts.iter().flat_map(|(_, changed)| &changed.ids).copied().collect()),
        };
        return layout.texts(SUBJECT_ID, &Texts::at(first.members.ids(), &positions));
    }
    let ids = parts.iter().flat_map(|(comparison, changed)| changed.ids.iter().map(|id| comparison.id(*id)));
    let ids = StringArray::from_iter_values(ids.collect::<Vec<_>>());
    layout.texts(SUBJECT_ID, &Texts::all(&ids))
}

/// The scores of those who entered, and the last ones of those who left; `None` when there are none.
async fn scores_of(comparison: &Comparison, changed: &Changed) -> Result<Option<Vec<Option<f64>>>, LedgerError> {
    let mut scores = None;
    if let Some(table) = &comparison.before
        && !table.is_absent("score").await?
    {
        let rows = comparison.rows_before(changed);
        if let Some((first, last)) = rows.iter().flatten().next().zip(rows.iter().rev().flatten().next()) {
            let batch = table.rows_between(&["score"], *first..last + 1).await?;
            let before: &Float64Array = column(table.path(), &batch, "score")?;
            let score = |row: usize| (row < before.len() && before.is_valid(row)).then(|| before.value(row));
            scores = Some(rows.iter().map(|row| row.and_then(|row| score(index(row - first)))).collect::<Vec<_>>());
        }
    }
    if let Some(now) = comparison.members.scores() {
        let scores = scores.get_or_insert_with(|| vec![None; changed.ids.len()]);
        for (score, number) in scores.iter_mut().zip(comparison.numbers_now(changed)) {
            if let Some(number) = number {
                *score = now.get(index(number)).map(|score| score.shown());
            }
        }
    }
    Ok(scores)
}

/// A column of numbers that may be missing, all of them when there are none.
fn optional(values: Vec<Option<f64>>) -> Column {
    if values.iter().all(Option::is_none) { Column::Absent } else { Column::Array(Arc::new(Float64Array::from(values))) }
}

fn indexes(numbers: &Range<u64>) -> Range<usize> {
    index(numbers.start)..index(numbers.end)
}

/// A number of rows in memory.
fn index(number: u64) -> usize {
    // INVARIANT: rows in memory can be counted.
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whether a change is an enter or an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
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

impl Occasion {
    fn enter(self) -> ChangeReason {
        match self {
            Self::First => ChangeReason::Initial,
            Self::NewDefinition => ChangeReason::DefinitionChanged,
            Self::Same => ChangeReason::RuleMatch,
        }
    }

    fn exit(self) -> ChangeReason {
        match self {
            Self::NewDefinition => ChangeReason::DefinitionChanged,
            Self::First | Self::Same => ChangeReason::RuleEnded,
        }
    }
}
