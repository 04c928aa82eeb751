//! What became of a segment: its previous members, as they stand in the snapshot, found among the ids that the new ones refer to, so that
//! who stays, who enters and who leaves is a matter of bitmaps. It reads one batch of the snapshot at a time.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Range;

use datafusion::arrow::array::{Array, Float64Array, StringArray, StringBuilder};
use futures::TryStreamExt;
use roaring::RoaringBitmap;

use super::hand::{Decided, Hand};
use super::table::{Table, column};
use crate::backend::{Heads, LocalMembers, part_of};
use crate::model::scoring::Score;
use crate::store::{ChangeReason, Figures, LedgerError};

/// Heads that are compared at a time without a branch, and how many times.
const NEAR: usize = 8;

/// The previous members of a segment beside the new ones.
pub(super) struct Comparison {
    pub(super) figures: Figures,
    pub(super) members: LocalMembers,
    pub(super) before: Option<Table>,
    /// What people decided about them.
    pub(super) hand: Option<Hand>,
    /// Members that stay with another score, or for another reason.
    altered: u64,
    /// The previous members, by their positions among the ids of the new ones.
    previous: RoaringBitmap,
    /// Those who entered or left, likewise.
    changed: RoaringBitmap,
    /// Those of them who entered.
    entered: RoaringBitmap,
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

/// Those who entered or left, ascending by id.
pub(super) struct Changed {
    /// Positions among the ids of the members; those of outsiders follow on them.
    pub(super) ids: Vec<u32>,
    pub(super) moves: Vec<Move>,
}

/// What happened to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Enters,
    Leaves,
    /// It leaves because it is gone from the universe.
    Vanishes,
}

impl Move {
    pub(super) const ALL: [Self; 3] = [Self::Enters, Self::Leaves, Self::Vanishes];
}

impl Comparison {
    /// Reads the previous members once; this also shows that they can be read.
    pub(super) async fn new(
        before: Option<Table>,
        members: LocalMembers,
        universe: &LocalMembers,
        decided: Decided,
    ) -> Result<Self, LedgerError> {
        let hand = Hand::new(decided, &members);
        let mut walk = Walk::new(&members, hand.as_ref());
        if let Some(table) = &before {
            let scored = members.scores().is_some() || !table.is_absent("score").await?;
            let rule_match = ChangeReason::RuleMatch.keyword();
            let reasoned = hand.is_some() || table.text_of_all("reason").await?.as_deref() != Some(rule_match);
            let asked = [("subject_id", true), ("score", scored), ("reason", reasoned)];
            let columns: Vec<&str> = asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(name, _)| name).collect();
            let mut rows = table.rows_of(&columns).await?;
            while let Some(batch) = rows.try_next().await? {
                let ids: &StringArray = column(table.path(), &batch, "subject_id")?;
                let scores = if scored { Some(column::<Float64Array>(table.path(), &batch, "score")?) } else { None };
                let reasons = if reasoned { Some(column::<StringArray>(table.path(), &batch, "reason")?) } else { None };
                walk.meet(ids, scores, reasons);
            }
        }
        let Walk { previous, outsiders, mut outsider_ids, altered, .. } = walk;
        let previous = RoaringBitmap::from_lsb0_bytes(0, &previous);
        let outsider_ids = outsider_ids.finish();
        let entered = members.positions() - &previous;
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
            added_count: entered.len(),
            removed_count: left.len() + outsiders.len() as u64,
        };
        let changed = &entered | &left;
        Ok(Self { figures, members, before, hand, entered, altered, previous, changed, gone, outsiders, outsider_ids })
    }

    /// Whether the rows before say all that the rows after would.
    pub(super) fn is_same(&self) -> bool {
        self.before.is_some() && self.changes() == 0 && self.altered == 0
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
        let (first, last) = members.first().zip(members.last()).filter(|_| self.figures.added_count < self.figures.member_count)?;
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

    /// Those who entered or left, from one number to another.
    pub(super) fn changed_between(&self, numbers: &Range<u64>) -> Changed {
        let (outside, end) = (self.outsiders_before(numbers.start), self.outsiders_before(numbers.end));
        let listed = numbers.start - outside as u64..numbers.end - end as u64;
        let ids = between(&self.changed, &listed);
        let entering = match ids.first().zip(ids.last()) {
            Some((first, last)) => within(&self.entered, *first, *last),
            None => Vec::new(),
        };
        let mut at = 0;
        let mut moves: Vec<Move> = ids
            .iter()
            .map(|id| {
                // Who enters is among those who changed, so that none is passed over. No branch: whether one enters is as good as random.
                let enters = entering.get(at) == Some(id);
                at += usize::from(enters);
                if enters { Move::Enters } else { Move::Leaves }
            })
            .collect();
        if !self.gone.is_empty() {
            for (one, _) in moves.iter_mut().zip(&ids).filter(|(_, id)| self.gone.contains(**id)) {
                *one = Move::Vanishes;
            }
        }
        let changed = Changed { ids, moves };
        if outside < end { self.with_outsiders(&changed, outside..end) } else { changed }
    }

    /// Those who entered or left, with outsiders where they stand among them.
    fn with_outsiders(&self, listed: &Changed, outsiders: Range<usize>) -> Changed {
        let rows = listed.ids.len() + outsiders.len();
        let mut all = Changed { ids: Vec::with_capacity(rows), moves: Vec::with_capacity(rows) };
        let mut outsiders = outsiders.peekable();
        let add = |number: usize, all: &mut Changed| {
            all.ids.push(self.of_outsider(number));
            all.moves.push(if self.outsiders[number].in_universe { Move::Leaves } else { Move::Vanishes });
        };
        for (&id, &one) in listed.ids.iter().zip(&listed.moves) {
            while let Some(number) = outsiders.next_if(|number| self.outsiders[*number].before <= id) {
                add(number, &mut all);
            }
            all.ids.push(id);
            all.moves.push(one);
        }
        outsiders.for_each(|number| add(number, &mut all));
        all
    }

    /// The position that stands for an outsider.
    fn of_outsider(&self, number: usize) -> u32 {
        // INVARIANT: an array of texts has fewer than 2^31 of them, and these are two arrays.
        narrow(self.members.ids().len() + number)
    }

    /// The number of the outsider that a position stands for.
    fn outsider(&self, id: u32) -> Option<usize> {
        (id as usize).checked_sub(self.members.ids().len())
    }

    /// Why one who entered or left did so, when that was decided by hand.
    pub(super) fn by_hand(&self, id: u32, one: Move) -> Option<ChangeReason> {
        let listed = self.outsider(id).is_none().then_some(id);
        self.hand.as_ref()?.of_move(listed, self.id(id), one)
    }

    /// The id that a position stands for.
    pub(super) fn id(&self, id: u32) -> &str {
        match self.outsider(id) {
            None => self.members.ids().get(id as usize),
            Some(number) => self.outsider_ids.value(number),
        }
    }

    /// For each of those who left the row of the snapshot that told of it, ascending; `None` for those who entered.
    pub(super) fn rows_before(&self, changed: &Changed) -> Vec<Option<u64>> {
        let mut listed = Numbers::new(&self.previous);
        let mut row = |id: u32| match self.outsider(id) {
            None => {
                let outside = self.outsiders.partition_point(|outsider| outsider.before <= id);
                listed.below(id) + outside as u64
            }
            Some(number) => listed.below(self.outsiders[number].before) + number as u64,
        };
        changed.ids.iter().zip(&changed.moves).map(|(id, one)| (*one != Move::Enters).then(|| row(*id))).collect()
    }

    /// For each of those who entered its number among the members, ascending; `None` for those who left.
    pub(super) fn numbers_now(&self, changed: &Changed) -> Vec<Option<u64>> {
        let mut numbers = Numbers::new(self.members.positions());
        changed.ids.iter().zip(&changed.moves).map(|(id, one)| (*one == Move::Enters).then(|| numbers.below(*id))).collect()
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

    /// The number of one of the positions; `None` for any other.
    fn of(&mut self, position: u32) -> Option<u64> {
        let number = self.below(position);
        (self.upcoming.as_mut()?.peek() == Some(&position)).then_some(number)
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
    heads: &'m Heads,
    /// The ids, as one text and where each of them ends.
    text: &'m [u8],
    ends: &'m [i32],
    scores: Option<&'m [Score]>,
    numbers: Numbers<'m>,
    /// Where the rest of the ids begins.
    rest: usize,
    /// A bit for each of the ids, from the lowest bit of the first byte on.
    previous: Vec<u8>,
    outsiders: Vec<u32>,
    outsider_ids: StringBuilder,
    hand: Option<&'m Hand>,
    altered: u64,
}

impl<'m> Walk<'m> {
    fn new(members: &'m LocalMembers, hand: Option<&'m Hand>) -> Self {
        Self {
            heads: members.ids().heads(),
            text: members.ids().array().value_data(),
            ends: members.ids().array().value_offsets(),
            scores: members.scores(),
            numbers: Numbers::new(members.positions()),
            rest: 0,
            previous: vec![0; members.ids().len().div_ceil(8)],
            outsiders: Vec::new(),
            outsider_ids: StringBuilder::new(),
            hand,
            altered: 0,
        }
    }

    fn meet(&mut self, ids: &StringArray, scores: Option<&Float64Array>, reasons: Option<&StringArray>) {
        let (text, ends) = (ids.value_data(), ids.value_offsets());
        for row in 0..ids.len() {
            match self.find(text, part_of(ends, row)) {
                Ok(position) => {
                    self.rest = position + 1;
                    self.previous[position / 8] |= 1 << (position % 8);
                    if (scores.is_some() || reasons.is_some())
                        && let Some(number) = self.numbers.of(narrow(position))
                    {
                        let rescored = scores.is_some_and(|scores| {
                            let before = scores.is_valid(row).then(|| scores.value(row).to_bits());
                            let now = self.scores.and_then(|scores| scores.get(usize::try_from(number).ok()?));
                            before != now.map(|score| score.shown().to_bits())
                        });
                        let reason = || self.hand.map_or(ChangeReason::RuleMatch, |hand| hand.of_member(narrow(position)));
                        let reasoned = reasons.is_some_and(|reasons| reasons.value(row) != reason().keyword());
                        self.altered += u64::from(rescored || reasoned);
                    }
                }
                Err(position) => {
                    self.rest = position;
                    self.outsiders.push(narrow(position));
                    self.outsider_ids.append_value(ids.value(row));
                }
            }
        }
    }

    /// The position of an id, a part of a text, in the rest of the ids, or the one that it would have.
    #[inline]
    fn find(&self, text: &[u8], id: Range<usize>) -> Result<usize, usize> {
        match self.heads.of(text, id.clone()) {
            Ok(head) => self.search(&text[id], head),
            Err(Ordering::Less) => Err(self.rest),
            Err(Ordering::Equal | Ordering::Greater) => Err(self.heads.all().len()),
        }
    }

    /// How the id at a position compares with another, whose head is known.
    #[inline]
    fn order(&self, position: usize, id: &[u8], head: u64) -> Ordering {
        self.heads.all()[position].cmp(&head).then_with(|| {
            let own = &self.text[part_of(self.ends, position)];
            if own.len().max(id.len()) <= self.heads.reach() { own.len().cmp(&id.len()) } else { own.cmp(id) }
        })
    }

    /// Looks for an id in the rest of the ids: heads first, since what is looked for is near, then in steps that grow.
    #[inline]
    fn search(&self, id: &[u8], head: u64) -> Result<usize, usize> {
        let (mut low, end) = (self.rest, self.heads.all().len());
        for heads in self.heads.all()[low..].chunks(NEAR).take(NEAR) {
            let less = heads.iter().filter(|other| **other < head).count();
            low += less;
            if less < heads.len() {
                break;
            }
        }
        let (mut high, mut step) = (low, 1);
        while high < end {
            match self.order(high, id, head) {
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
            match self.order(middle, id, head) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// A position that fits, as all positions of members do.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
