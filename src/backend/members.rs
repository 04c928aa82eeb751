//! Sets of subjects. [`LocalMembers`] are those of a backend in this process: positions in a sorted list of ids that all sets of
//! one evaluation share.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Array, StringArray};
use roaring::RoaringBitmap;

use super::heads::Heads;
use crate::model::scoring::Score;

/// The members of a segment, wherever they are kept.
pub trait MemberSet: Clone + Send + Sync + 'static {
    /// How many.
    fn count(&self) -> u64;
}

/// Distinct subject ids in ascending order of their bytes.
#[derive(Debug, Clone)]
pub struct SortedIds {
    array: StringArray,
    heads: OnceLock<Heads>,
}

/// Ids that are not in strictly ascending order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ids are not in strictly ascending order at position {position}")]
pub struct NotSorted {
    /// The first id that is not greater than the one before it.
    pub position: usize,
}

impl SortedIds {
    /// Proves that `ids` ascend strictly and hold no NULL.
    ///
    /// # Errors
    /// [`NotSorted`] names the first position that breaks the order, or holds NULL.
    pub fn new(ids: StringArray) -> Result<Self, NotSorted> {
        for position in 0..ids.len() {
            if ids.is_null(position) || (position > 0 && ids.value(position - 1) >= ids.value(position)) {
                return Err(NotSorted { position });
            }
        }
        Ok(Self::proven(ids))
    }

    /// No ids.
    #[must_use]
    pub fn none() -> Self {
        Self::proven(StringArray::from(Vec::<&str>::new()))
    }

    /// Ids that are known to ascend strictly.
    fn proven(array: StringArray) -> Self {
        Self { array, heads: OnceLock::new() }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty()
    }

    /// The id at a position.
    ///
    /// # Panics
    /// When the position is not below [`SortedIds::len`].
    #[must_use]
    pub fn get(&self, position: usize) -> &str {
        self.array.value(position)
    }

    /// The position of an id.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.array.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.array.value(middle).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// All ids, as an array.
    #[must_use]
    pub fn array(&self) -> &StringArray {
        &self.array
    }

    /// The beginnings of the ids, made when they are asked for first.
    pub(crate) fn heads(&self) -> &Heads {
        self.heads.get_or_init(|| Heads::of_ascending(&self.array))
    }

    /// All ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.array.len()).map(|position| self.array.value(position))
    }
}

/// A set of subjects in this process.
#[derive(Debug, Clone)]
pub struct LocalMembers {
    ids: Arc<SortedIds>,
    selected: Arc<RoaringBitmap>,
    /// How well each member fits, ascending; `None` when membership is all there is to say.
    scores: Option<Arc<[Score]>>,
}

impl LocalMembers {
    /// The subjects of `ids` at the positions `selected`; positions beyond the ids are dropped.
    #[must_use]
    pub fn new(ids: Arc<SortedIds>, mut selected: RoaringBitmap) -> Self {
        let end = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        selected.remove_range(end..);
        Self { ids, selected: Arc::new(selected), scores: None }
    }

    /// The same members with their scores, in the order of their ids; without them when there is not one for each.
    #[must_use]
    pub fn with_scores(self, scores: Vec<Score>) -> Self {
        let scores = (scores.len() as u64 == self.selected.len()).then(|| scores.into());
        Self { scores, ..self }
    }

    /// All of `ids`.
    #[must_use]
    pub fn all(ids: Arc<SortedIds>) -> Self {
        let mut selected = RoaringBitmap::new();
        selected.insert_range(0..u32::try_from(ids.len()).unwrap_or(u32::MAX));
        Self { ids, selected: Arc::new(selected), scores: None }
    }

    /// The ids that positions refer to.
    #[must_use]
    pub fn ids(&self) -> &Arc<SortedIds> {
        &self.ids
    }

    /// The positions of the members among the ids.
    #[must_use]
    pub fn positions(&self) -> &RoaringBitmap {
        &self.selected
    }

    /// How well each member fits, ascending by id; `None` unless the segment scores.
    #[must_use]
    pub fn scores(&self) -> Option<&[Score]> {
        self.scores.as_deref()
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.selected.iter().map(|position| self.ids.get(position as usize))
    }

    /// The members, ascending, each with its score, which only those of a segment that scores have.
    pub fn iter_with_scores(&self) -> impl Iterator<Item = (&str, Option<Score>)> {
        let scores = self.scores.as_deref().unwrap_or_default();
        self.iter().enumerate().map(|(index, id)| (id, scores.get(index).copied()))
    }

    /// Whether the subject is a member.
    #[must_use]
    pub fn contains(&self, subject_id: &str) -> bool {
        let position = self.ids.position(subject_id).and_then(|position| u32::try_from(position).ok());
        position.is_some_and(|position| self.selected.contains(position))
    }

    /// Those that are in the other set too, without scores.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::new(Arc::clone(&self.ids), self.selected.as_ref() & other.positions_in(&self.ids).as_ref())
    }

    /// Those that are not in the other set, without scores.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self::new(Arc::clone(&self.ids), self.selected.as_ref() - other.positions_in(&self.ids).as_ref())
    }

    /// How many are in both sets.
    #[must_use]
    pub fn intersection_count(&self, other: &Self) -> u64 {
        self.selected.intersection_len(&other.positions_in(&self.ids))
    }

    /// The same sets, without scores, over one list of ids, so that comparing any two of them walks no ids.
    #[must_use]
    pub fn on_common_ids(sets: &[Self]) -> Vec<Self> {
        if sets.windows(2).all(|pair| matches!(pair, [one, other] if Arc::ptr_eq(&one.ids, &other.ids))) {
            return sets.to_vec();
        }
        let all = sets.iter().fold(Vec::new(), |all, set| merged(&all, set));
        // INVARIANT: what was merged from ascending lists without repeats ascends.
        let ids = Arc::new(SortedIds::proven(StringArray::from_iter_values(all)));
        sets.iter().map(|set| Self::new(Arc::clone(&ids), set.positions_in(&ids).into_owned())).collect()
    }

    /// The positions of the members in a list of ids; those that it lacks have none.
    pub(crate) fn positions_in(&self, ids: &Arc<SortedIds>) -> Cow<'_, RoaringBitmap> {
        if Arc::ptr_eq(&self.ids, ids) {
            return Cow::Borrowed(&self.selected);
        }
        let mut found = RoaringBitmap::new();
        let mut members = self.iter().peekable();
        for (position, id) in (0u32..).zip(ids.iter()) {
            while members.next_if(|member| *member < id).is_some() {}
            if members.next_if_eq(&id).is_some() {
                found.insert(position);
            }
        }
        Cow::Owned(found)
    }
}

/// The ids of an ascending list and a set, ascending, each once.
fn merged<'a>(ids: &[&'a str], set: &'a LocalMembers) -> Vec<&'a str> {
    let mut all = Vec::with_capacity(ids.len());
    let mut members = set.iter().peekable();
    for &id in ids {
        while let Some(member) = members.next_if(|member| *member < id) {
            all.push(member);
        }
        members.next_if_eq(&id);
        all.push(id);
    }
    all.extend(members);
    all
}

impl MemberSet for LocalMembers {
    fn count(&self) -> u64 {
        self.selected.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> LocalMembers {
        LocalMembers::all(Arc::new(SortedIds::new(StringArray::from_iter_values(ids)).unwrap()))
    }

    fn shown(members: &LocalMembers) -> String {
        members.iter().collect::<Vec<_>>().join(" ")
    }

    /// Every pair of subsets of a few ids, over lists of ids of their own and over one list.
    #[test]
    fn sets_compare_whatever_ids_they_refer_to() {
        let all = ["a", "b", "c", "d"];
        let subset = |mask: usize| (0..4).filter(|bit| mask >> bit & 1 == 1).map(|bit| all[bit]).collect::<Vec<_>>();
        let own: Vec<LocalMembers> = (0..16).map(|mask| set(&subset(mask))).collect();
        let common = LocalMembers::on_common_ids(&own);
        for (one, other) in (0..16).flat_map(|one| (0..16).map(move |other| (one, other))) {
            for sets in [&own, &common] {
                let (left, right) = (&sets[one], &sets[other]);
                assert_eq!(shown(&left.intersection(right)), subset(one & other).join(" "));
                assert_eq!(shown(&left.difference(right)), subset(one & !other).join(" "));
                assert_eq!(left.intersection_count(right), subset(one & other).len() as u64);
            }
        }
    }

    #[test]
    fn common_ids_are_those_of_all_sets() {
        let sets = LocalMembers::on_common_ids(&[set(&["b", "d"]), set(&[]), set(&["a", "d", "e"])]);
        assert!(sets.windows(2).all(|pair| Arc::ptr_eq(pair[0].ids(), pair[1].ids())));
        assert_eq!(sets[0].ids().iter().collect::<Vec<_>>(), ["a", "b", "d", "e"]);
        assert_eq!(sets.iter().map(shown).collect::<Vec<_>>(), ["b d", "", "a d e"]);
        assert!(LocalMembers::on_common_ids(&[]).is_empty());
    }
}
