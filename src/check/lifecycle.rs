//! Lifecycle leaves: lengths of time in their order, and as many periods as can hold.

use super::CheckedLifecycle;
use super::scope::Scope;
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{LifecycleLeaf, LifecyclePattern};
use crate::model::path::DocPath;
use crate::model::window::Duration;

impl Scope<'_> {
    pub(super) fn lifecycle(&mut self, leaf: &LifecycleLeaf, path: &DocPath, depth: usize) -> Option<CheckedLifecycle> {
        let table = self.event_table(path)?;
        let event_type = self.event_types(leaf.event_type.as_deref(), table, path);
        let filter = self.rows(&leaf.filter, &table.table, &path.key("where"), depth);
        let pattern = self.pattern(&leaf.pattern, &path.key("pattern").key(leaf.pattern.keyword()));
        Some(CheckedLifecycle { event_type: event_type?, filter: filter?, pattern: pattern? })
    }

    fn pattern(&mut self, pattern: &LifecyclePattern, place: &DocPath) -> Option<LifecyclePattern> {
        match pattern {
            LifecyclePattern::FirstTime(window) => self.window(window, place).map(LifecyclePattern::FirstTime),
            LifecyclePattern::Stopped { active, quiet } => {
                self.shorter(("quiet", *quiet), ("active", *active), place)?;
                Some(pattern.clone())
            }
            LifecyclePattern::Restarted { quiet, recent } => {
                self.shorter(("recent", *recent), ("quiet", *quiet), place)?;
                Some(pattern.clone())
            }
            LifecyclePattern::Regular { periods, at_least, .. } => {
                // Every period is looked at by itself.
                self.leaves = self.leaves.saturating_add(usize::try_from(*periods).unwrap_or(usize::MAX).saturating_sub(1));
                if at_least <= periods {
                    return Some(pattern.clone());
                }
                let message = format!("in at least {at_least} periods there must be events, of {periods}");
                self.report(&place.key("at_least"), Finding::new(Code::CountOutOfRange, message));
                None
            }
        }
    }

    /// Whether one length of time ends before another, counted back from any instant.
    fn shorter(&mut self, one: (&str, Duration), other: (&str, Duration), place: &DocPath) -> Option<()> {
        if self.probes.is_shorter(one.1, other.1) {
            return Some(());
        }
        let message = format!("`{}` ({}) is not shorter than `{}` ({})", one.0, one.1, other.0, other.1);
        self.report(&place.key(one.0), Finding::new(Code::EmptyRange, message));
        None
    }
}
