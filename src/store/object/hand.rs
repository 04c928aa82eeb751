//! [`Hand`]: what people decided about the members that are being compared, found among the ids that these refer to, so that the reason
//! of a member or of a move is a look at bitmaps.

use roaring::RoaringBitmap;

use super::compare::Move;
use crate::backend::LocalMembers;
use crate::model::manual::{Origin, Override, Verdict};
use crate::store::{ChangeReason, Overrides};

/// What people decided, and what they decide just now.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided {
    pub(super) overrides: Overrides<LocalMembers>,
    /// The subjects of the edit of this run, and how it came about.
    pub(super) edit: Option<(LocalMembers, Origin)>,
}

/// The same, by positions among the ids of the members.
pub(super) struct Hand {
    decided: Decided,
    added: Vec<(Origin, RoaringBitmap)>,
    removed: Vec<(Origin, RoaringBitmap)>,
    edited: Option<(Origin, RoaringBitmap)>,
}

impl Hand {
    /// `None` when nothing was decided.
    pub(super) fn new(decided: Decided, members: &LocalMembers) -> Option<Self> {
        if decided.overrides.is_empty() && decided.edit.is_none() {
            return None;
        }
        let ids = members.ids();
        let of = |verdict| {
            let sets = decided.overrides.iter().filter(move |(decision, _)| decision.verdict == verdict);
            sets.map(|(decision, set)| (decision.origin, set.positions_in(ids).into_owned())).collect()
        };
        let (added, removed) = (of(Verdict::Add), of(Verdict::Remove));
        let edited = decided.edit.as_ref().map(|(subjects, origin)| (*origin, subjects.positions_in(ids).into_owned()));
        Some(Self { decided, added, removed, edited })
    }

    /// Why the member at a position is in.
    pub(super) fn of_member(&self, position: u32) -> ChangeReason {
        origin_in(&self.added, position).map_or(ChangeReason::RuleMatch, Into::into)
    }

    /// Why the subject at a position, of this id, entered or left, when that was decided by hand.
    pub(super) fn of_move(&self, position: Option<u32>, id: &str, one: Move) -> Option<ChangeReason> {
        let verdict = match one {
            Move::Enters => Verdict::Add,
            Move::Leaves | Move::Vanishes => Verdict::Remove,
        };
        let origin = match position {
            Some(position) => {
                let sets = if verdict == Verdict::Add { &self.added } else { &self.removed };
                let edited = self.edited.as_ref().filter(|(_, subjects)| subjects.contains(position));
                edited.map(|(origin, _)| *origin).or_else(|| origin_in(sets, position))
            }
            None => {
                let edited = self.decided.edit.as_ref().filter(|(subjects, _)| subjects.contains(id));
                edited.map(|(_, origin)| *origin).or_else(|| self.origin_of(verdict, id))
            }
        };
        origin.map(Into::into)
    }

    fn origin_of(&self, verdict: Verdict, id: &str) -> Option<Origin> {
        let holds = |decision: &Override| self.decided.overrides.get(decision).is_some_and(|set| set.contains(id));
        Override::ALL.into_iter().find(|decision| decision.verdict == verdict && holds(decision)).map(|decision| decision.origin)
    }
}

fn origin_in(sets: &[(Origin, RoaringBitmap)], position: u32) -> Option<Origin> {
    sets.iter().find(|(_, positions)| positions.contains(position)).map(|(origin, _)| *origin)
}
