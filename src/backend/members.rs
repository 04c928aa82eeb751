//! Sets of subjects. [`LocalMembers`] are those of a backend in this process: positions in a sorted list of ids that all sets of
//! one evaluation share.

use std::sync::Arc;

use datafusion::arrow::array::{Array, StringArray};
use roaring::RoaringBitmap;

use crate::model::scoring::Score;

/// The members of a segment, wherever they are kept.
pub trait MemberSet: Clone + Send + Sync + 'static {
    /// How many.
    fn count(&self) -> u64;
}

/// Distinct subject ids in ascending order of their bytes.
#[derive(Debug, Clone)]
pub struct SortedIds(StringArray);

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
        Ok(Self(ids))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The id at a position.
    ///
    /// # Panics
    /// When the position is not below [`SortedIds::len`].
    #[must_use]
    pub fn get(&self, position: usize) -> &str {
        self.0.value(position)
    }

    /// The position of an id.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.0.value(middle).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// All ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.0.len()).map(|position| self.0.value(position))
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
}

impl MemberSet for LocalMembers {
    fn count(&self) -> u64 {
        self.selected.len()
    }
}
