//! What people decided by hand, as a ledger keeps it: who was added to a segment or removed from it, and how that is edited.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::MemberSet;
use crate::model::manual::{Origin, Override, Verdict};

/// The subjects of whom people decided for a segment, as it is at one instant. A subject is in one set at most.
#[derive(Debug, Clone)]
pub struct Overrides<M> {
    /// None of them is empty.
    sets: BTreeMap<Override, M>,
}

impl<M> Default for Overrides<M> {
    fn default() -> Self {
        Self { sets: BTreeMap::new() }
    }
}

impl<M: MemberSet> Overrides<M> {
    /// The sets of those of whom people decided so; empty ones are left out.
    #[must_use]
    pub fn new(sets: impl IntoIterator<Item = (Override, M)>) -> Self {
        Self { sets: sets.into_iter().filter(|(_, members)| members.count() > 0).collect() }
    }
}

impl<M> Overrides<M> {
    /// Whether nothing was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The decisions that there are.
    #[must_use]
    pub fn decisions(&self) -> BTreeSet<Override> {
        self.sets.keys().copied().collect()
    }

    /// Those of whom it was decided so; `None` when there are none.
    #[must_use]
    pub fn get(&self, decision: &Override) -> Option<&M> {
        self.sets.get(decision)
    }

    /// Every set with what was decided.
    pub fn iter(&self) -> impl Iterator<Item = (Override, &M)> {
        self.sets.iter().map(|(decision, members)| (*decision, members))
    }
}

/// What an edit does to its subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditAction {
    /// Decides so, whatever was decided before.
    Decide(Verdict),
    /// Leaves them to the rule.
    Clear,
}

impl EditAction {
    /// The word of the command line.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Decide(verdict) => verdict.keyword(),
            Self::Clear => "clear",
        }
    }
}

/// An edit of what people decided for a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideEdit {
    /// What is done.
    pub action: EditAction,
    /// How it came about.
    pub origin: Origin,
    /// Of whom.
    pub subjects: BTreeSet<String>,
}

/// What an edit came to, before anything of it is visible.
#[derive(Debug, Clone)]
pub struct Edited<M> {
    /// What is decided after it.
    pub overrides: Overrides<M>,
    /// The subjects of the edit.
    pub subjects: M,
    /// Subjects that should be left to the rule, and were.
    pub undecided: Vec<String>,
}

/// What the members of a segment come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Its rule, evaluated in this run.
    Evaluated,
    /// What was stored, with what people decided since.
    Stored,
}
