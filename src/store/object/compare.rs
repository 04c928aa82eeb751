//! What became of a segment: its previous members, as they stand in the snapshot, found among the ids that the new ones refer to, so that
//! who stays, who enters and who leaves is a matter of bitmaps. It reads one batch of the snapshot at a time.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Range;

use datafusion::arrow::array::{Array, Float64Array, StringArray, StringBuilder};
use futures::TryStreamExt;
use roaring::RoaringBitmap;

use super::table::{Table, column};
use crate::backend::LocalMembers;
use crate::model::scoring::Score;
use crate::store::{Figures, LedgerError};

/// The previous members of a segment beside the new ones.
pub(super) struct Comparison {
    pub(super) figures: Figures,
    pub(super) members: LocalMembers,
    pub(super) before: Option<Table>,
    /// Members that stay with another score.
    rescored: u64,
    /// The previous members, by their positions among the ids of the new ones.
    previous: RoaringBitmap,
    /// Those who entered or left, likewise.
    changed: RoaringBitmap,
    /// Those of them who left because they are gone from the universe.
    gone: RoaringBitmap,
    /// Previous members who are not among these ids. They all left.
    outsiders: Vec<Outsider>,
    outsider_ids: StringArray,
}

/// A previous member who is not among the ids of the new ones.
struct Outsider {
    /// The id before which it would stand.
    before: u32,
    /// Whether it is in the universe, which may have ids of its own.
    in_universe: bool,
}

/// One who entered or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    /// The position among the ids of the members, or among those of the outsiders.
    pub(super) id: Position,
    pub(super) kind: Move,
}

/// Where an id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Listed(u32),
    Outside(u32),
}

/// What happened to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Enters,
    Leaves,
    /// It leaves because it is gone from the universe.
    Vanishes,
}

impl Comparison {
    /// Reads the previous members once; this also shows that they can be read.
    pub(super) async fn new(before: Option<Table>, members: LocalMembers, universe: &LocalMembers) -> Result<Self, LedgerError> {
        let mut walk = Walk::new(&members);
        if let Some(table) = &before {
            let scored = members.scores().is_some() || !table.is_absent("score").await?;
            let columns: &[&str] = if scored { &["subject_id", "score"] } else { &["subject_id"] };
            let mut rows = table.rows_of(columns).await?;
            while let Some(batch) = rows.try_next().await? {
                let ids: &StringArray = column(table.path(), &batch, "subject_id")?;
                let scores = if scored { Some(column::<Float64Array>(table.path(), &batch, "score")?) } else { None };
                walk.meet(ids, scores);
            }
        }
        let Walk { previous, outsiders, mut outsider_ids, rescored, .. } = walk;
        let outsider_ids = outsider_ids.finish();
        let stay = members.positions().intersection_len(&previous);
        let left = &previous - members.positions();
        let gone = match &left {
            left if left.is_empty() => RoaringBitmap::new(),
            left => left - universe.positions_in(members.ids()).as_ref(),
        };
        let outsiders: Vec<Outsider> = outsiders
            .into_iter()
            .enumerate()
            .map(|(number, before)| Outsider { before, in_universe: universe.contains(outsider_ids.value(number)) })
            .collect();
        let figures = Figures {
            member_count: members.positions().len(),
            added_count: members.positions().len() - stay,
            removed_count: left.len() + outsiders.len() as u64,
        };
        let changed = members.positions() ^ &previous;
        Ok(Self { figures, members, before, rescored, previous, changed, gone, outsiders, outsider_ids })
    }

    /// Whether the rows before say all that the rows after would.
    pub(super) fn is_same(&self) -> bool {
        self.before.is_some() && self.changes() == 0 && self.rescored == 0
    }

    /// How many entered or left.
    pub(super) fn changes(&self) -> u64 {
        self.figures.added_count + self.figures.removed_count
    }

    /// Whether the members are those who entered, and nobody left.
    pub(super) fn all_enter(&self) -> bool {
        self.figures.removed_count == 0 && self.figures.added_count == self.figures.member_count
    }

    /// Whether everyone who was a member is among the ids of the new ones.
    pub(super) fn all_are_listed(&self) -> bool {
        self.outsiders.is_empty()
    }

    /// The members from one number to another, by their positions.
    pub(super) fn members_between(&self, numbers: &Range<u64>) -> Vec<u32> {
        between(self.members.positions(), numbers)
    }

    /// Which of these members stay, and the rows of the snapshot that tell of them; rows between them tell of others.
    pub(super) fn stayers(&self, members: &[u32]) -> Option<Stayers> {
        let (first, last) = members.first().zip(members.last())?;
        if self.previous.range_cardinality(*first..=*last) == 0 {
            return None;
        }
        let base = rank_below(&self.previous, *first);
        let previous = within(&self.previous, *first, *last);
        let (mut at, mut outside) = (0, 0);
        let (mut rows, mut start) = (vec![None; members.len()], None);
        for (row, &member) in rows.iter_mut().zip(members) {
            while at < previous.len() && previous[at] < member {
                at += 1;
            }
            if at < previous.len() && previous[at] == member {
                if !self.outsiders.is_empty() {
                    outside = self.outsiders.partition_point(|outsider| outsider.before <= member);
                }
                let found = base + (at + outside) as u64;
                *row = Some(found - *start.get_or_insert(found));
            }
        }
        let start = start?;
        let end = start + rows.iter().rev().find_map(|row| *row)? + 1;
        Some(Stayers { rows, table_rows: start..end })
    }

    /// Those who entered or left, from one number to another, by their ids.
    pub(super) fn changed_between(&self, numbers: &Range<u64>) -> Vec<Changed> {
        let (mut outside, end) = (self.outsiders_before(numbers.start), self.outsiders_before(numbers.end));
        let listed = numbers.start - outside as u64..numbers.end - end as u64;
        let mut changed = Vec::with_capacity(usize::try_from(numbers.end - numbers.start).unwrap_or_default());
        let positions = between(&self.changed, &listed);
        let entering = match positions.first().zip(positions.last()) {
            Some((first, last)) => within(self.members.positions(), *first, *last),
            None => Vec::new(),
        };
        let mut at = 0;
        for position in positions {
            while outside < end && self.outsiders[outside].before <= position {
                changed.push(self.outsider(outside));
                outside += 1;
            }
            while at < entering.len() && entering[at] < position {
                at += 1;
            }
            let kind = if at < entering.len() && entering[at] == position {
                Move::Enters
            } else if !self.gone.is_empty() && self.gone.contains(position) {
                Move::Vanishes
            } else {
                Move::Leaves
            };
            changed.push(Changed { id: Position::Listed(position), kind });
        }
        changed.extend((outside..end).map(|number| self.outsider(number)));
        changed
    }

    /// The id at a position.
    pub(super) fn id(&self, position: Position) -> &str {
        match position {
            Position::Listed(position) => self.members.ids().get(position as usize),
            Position::Outside(number) => self.outsider_ids.value(number as usize),
        }
    }

    /// For each of those who left the row of the snapshot that told of it, ascending; `None` for those who entered.
    pub(super) fn rows_before(&self, changed: &[Changed]) -> Vec<Option<u64>> {
        let mut listed = Numbers::new(&self.previous);
        let mut row = |one: &Changed| match one.id {
            Position::Listed(position) => {
                let outside = self.outsiders.partition_point(|outsider| outsider.before <= position);
                listed.below(position) + outside as u64
            }
            Position::Outside(number) => listed.below(self.outsiders[number as usize].before) + u64::from(number),
        };
        changed.iter().map(|one| (one.kind != Move::Enters).then(|| row(one))).collect()
    }

    /// For each of those who entered its number among the members, ascending; `None` for those who left.
    pub(super) fn numbers_now(&self, changed: &[Changed]) -> Vec<Option<u64>> {
        let mut numbers = Numbers::new(self.members.positions());
        let number = |one: &Changed| match (one.kind, one.id) {
            (Move::Enters, Position::Listed(position)) => Some(numbers.below(position)),
            (Move::Enters | Move::Leaves | Move::Vanishes, _) => None,
        };
        changed.iter().map(number).collect()
    }

    fn outsider(&self, number: usize) -> Changed {
        let kind = if self.outsiders[number].in_universe { Move::Leaves } else { Move::Vanishes };
        // INVARIANT: there are no more than rows, which positions can count.
        Changed { id: Position::Outside(u32::try_from(number).unwrap_or(u32::MAX)), kind }
    }

    /// How many outsiders are among the first so many who entered or left.
    fn outsiders_before(&self, number: u64) -> usize {
        let (mut low, mut high) = (0, self.outsiders.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if rank_below(&self.changed, self.outsiders[middle].before) + (middle as u64) < number {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Members who were there before.
pub(super) struct Stayers {
    /// For each member its row among those of the snapshot; `None` for one who was not there.
    pub(super) rows: Vec<Option<u64>>,
    /// The rows of the snapshot.
    pub(super) table_rows: Range<u64>,
}

/// How many positions are below others, which are asked for in ascending order.
struct Numbers<'p> {
    positions: &'p RoaringBitmap,
    upcoming: Option<Peekable<roaring::bitmap::Iter<'p>>>,
    number: u64,
}

impl<'p> Numbers<'p> {
    fn new(positions: &'p RoaringBitmap) -> Self {
        Self { positions, upcoming: None, number: 0 }
    }

    fn below(&mut self, position: u32) -> u64 {
        let upcoming = self.upcoming.get_or_insert_with(|| {
            self.number = rank_below(self.positions, position);
            self.positions.range(position..).peekable()
        });
        while upcoming.next_if(|next| *next < position).is_some() {
            self.number += 1;
        }
        self.number
    }
}

/// How many positions are below one.
fn rank_below(positions: &RoaringBitmap, position: u32) -> u64 {
    position.checked_sub(1).map_or(0, |last| positions.rank(last))
}

/// The positions from one number to another.
fn between(positions: &RoaringBitmap, numbers: &Range<u64>) -> Vec<u32> {
    let count = usize::try_from(numbers.end.saturating_sub(numbers.start)).unwrap_or_default();
    let first = u32::try_from(numbers.start).ok().and_then(|number| positions.select(number));
    let mut found = vec![0; count];
    let found_count = first.map_or(0, |first| positions.range(first..).next_many(&mut found).len());
    found.truncate(found_count);
    found
}

/// The positions from one to another, both included.
fn within(positions: &RoaringBitmap, first: u32, last: u32) -> Vec<u32> {
    let mut found = vec![0; usize::try_from(positions.range_cardinality(first..=last)).unwrap_or_default()];
    let count = positions.range(first..=last).next_many(&mut found).len();
    found.truncate(count);
    found
}

/// Meets the previous members, ascending, and finds each among the ids.
struct Walk<'m> {
    /// The ids, as one text and where each of them ends.
    text: &'m [u8],
    ends: &'m [i32],
    scores: Option<&'m [Score]>,
    upcoming: Upcoming<'m>,
    /// Where the rest of the ids begins.
    rest: usize,
    previous: RoaringBitmap,
    outsiders: Vec<u32>,
    outsider_ids: StringBuilder,
    rescored: u64,
}

/// The new members that come next, taken from their bitmap many at a time.
struct Upcoming<'m> {
    positions: roaring::bitmap::Iter<'m>,
    taken: Vec<u32>,
    at: usize,
    /// The number of the first that was taken.
    number: usize,
}

impl<'m> Upcoming<'m> {
    /// How many are taken at a time.
    const TAKEN: usize = 4 * 1024;

    fn new(positions: &'m RoaringBitmap) -> Self {
        let mut upcoming = Self { positions: positions.iter(), taken: Vec::new(), at: 0, number: 0 };
        upcoming.take();
        upcoming
    }

    fn take(&mut self) {
        self.number += self.taken.len();
        self.taken.resize(Self::TAKEN, 0);
        let count = self.positions.next_many(&mut self.taken).len();
        self.taken.truncate(count);
        self.at = 0;
    }

    /// Goes on to the first member at or after a position.
    #[inline]
    fn skip_to(&mut self, position: u32) -> Option<u32> {
        loop {
            match self.taken.get(self.at) {
                Some(next) if *next >= position => return Some(*next),
                Some(_) => self.at += 1,
                None if self.taken.is_empty() => return None,
                None => self.take(),
            }
        }
    }

    /// The number of the member that it went on to.
    fn number(&self) -> usize {
        self.number + self.at
    }
}

impl<'m> Walk<'m> {
    fn new(members: &'m LocalMembers) -> Self {
        Self {
            text: members.ids().array().value_data(),
            ends: members.ids().array().value_offsets(),
            scores: members.scores(),
            upcoming: Upcoming::new(members.positions()),
            rest: 0,
            previous: RoaringBitmap::new(),
            outsiders: Vec::new(),
            outsider_ids: StringBuilder::new(),
            rescored: 0,
        }
    }

    fn meet(&mut self, ids: &StringArray, scores: Option<&Float64Array>) {
        let mut found = Vec::with_capacity(ids.len());
        let (text, ends) = (ids.value_data(), ids.value_offsets());
        for row in 0..ids.len() {
            match self.find(part(text, ends, row)) {
                Ok(position) => {
                    self.rest = position + 1;
                    let position = narrow(position);
                    found.push(position);
                    if let Some(scores) = scores
                        && self.upcoming.skip_to(position) == Some(position)
                    {
                        let before = scores.is_valid(row).then(|| scores.value(row).to_bits());
                        let now = self.scores.and_then(|scores| scores.get(self.upcoming.number()));
                        self.rescored += u64::from(before != now.map(|score| score.shown().to_bits()));
                    }
                }
                Err(position) => {
                    self.rest = position;
                    self.outsiders.push(narrow(position));
                    self.outsider_ids.append_value(ids.value(row));
                }
            }
        }
        // INVARIANT: each position is greater than the one before it, since the search goes on behind it.
        self.previous |= RoaringBitmap::from_sorted_iter(found).unwrap_or_default();
    }

    /// The position of an id in the rest of the ids, or the one that it would have. Most who were members are so now: the member who
    /// comes next is looked at first.
    fn find(&mut self, id: &[u8]) -> Result<usize, usize> {
        let end = self.ends.len() - 1;
        let Some(next) = self.upcoming.skip_to(narrow(self.rest)) else { return self.search(id, self.rest, end) };
        let next = next as usize;
        match id.cmp(part(self.text, self.ends, next)) {
            Ordering::Equal => Ok(next),
            Ordering::Less => self.search(id, self.rest, next),
            Ordering::Greater => self.search(id, next + 1, end),
        }
    }

    /// Looks for an id from a position on, in steps that grow, as what is looked for is near.
    fn search(&self, id: &[u8], start: usize, end: usize) -> Result<usize, usize> {
        let (mut low, mut high, mut step) = (start, start, 1);
        while high < end {
            match part(self.text, self.ends, high).cmp(id) {
                Ordering::Equal => return Ok(high),
                Ordering::Less => {
                    low = high + 1;
                    high = (high + step).min(end);
                    step *= 2;
                }
                Ordering::Greater => break,
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match part(self.text, self.ends, middle).cmp(id) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// One of the texts of an array.
#[inline]
fn part<'t>(text: &'t [u8], ends: &[i32], number: usize) -> &'t [u8] {
    // INVARIANT: the ends of an array are not negative.
    &text[ends[number].cast_unsigned() as usize..ends[number + 1].cast_unsigned() as usize]
}

/// A position that fits, as all positions of members do.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
