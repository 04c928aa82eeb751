//! Sequence leaves: steps, and what all of their events have in common.

use super::scope::Scope;
use super::{CheckedSequence, CheckedStep};
use crate::diagnostic::{Code, Finding};
use crate::model::catalog::EventTable;
use crate::model::condition::{SequenceLeaf, SequenceStep, Subject};
use crate::model::path::DocPath;

/// More steps than anyone has: what a step matches is a bit of 64.
const MAX_STEPS: usize = 60;

impl Scope<'_> {
    pub(super) fn sequence(&mut self, leaf: &SequenceLeaf, path: &DocPath, depth: usize) -> Option<CheckedSequence> {
        if self.subject != Subject::User {
            let finding = Finding::new(Code::WrongSubject, "a sequence is of the events of one user")
                .with_help("Set `\"subject\": \"user\"`, or count events with conditions of type `event`.");
            self.report(&path.key("type"), finding);
            return None;
        }
        // Every step is looked at by itself.
        self.leaves = self.leaves.saturating_add(leaf.steps.len().saturating_sub(1));
        let form = self.form_of_sequence(leaf, path);
        let table = self.event_table(path)?;
        let place = path.key("steps");
        let steps: Vec<_> =
            leaf.steps.iter().enumerate().map(|(index, step)| self.step(step, table, &place.index(index), depth)).collect();
        let place = path.key("same");
        let same: Vec<_> = leaf
            .same
            .iter()
            .enumerate()
            .map(|(index, property)| self.single_access(property, &table.table, &place.index(index)))
            .collect();
        let window = self.window(&leaf.window, &path.key("window"));
        form?;
        let mut steps = steps.into_iter().collect::<Option<Vec<_>>>()?;
        let absent = if leaf.steps.last().is_some_and(|step| step.absent) { steps.pop() } else { None };
        let same = same.into_iter().collect::<Option<Vec<_>>>()?;
        Some(CheckedSequence { steps, absent, within: leaf.within, same, window: window? })
    }

    /// What must be so whatever the steps say.
    fn form_of_sequence(&mut self, leaf: &SequenceLeaf, path: &DocPath) -> Option<()> {
        let place = path.key("steps");
        let found = leaf.steps.len();
        if !(2..=MAX_STEPS).contains(&found) {
            let message = format!("a sequence has 2 to {MAX_STEPS} steps, this one {found}");
            let finding =
                Finding::new(Code::CountOutOfRange, message).with_help("For a single event write a condition of type `event`.");
            self.report(&place, finding);
            return None;
        }
        if let Some(index) = leaf.steps.iter().rev().skip(1).rev().position(|step| step.absent) {
            let finding = Finding::new(Code::MisplacedStep, "only the last step of a sequence may be absent")
                .with_help("Move it to the end, or say what must not be there with `not`.");
            self.report(&place.index(index).key("absent"), finding);
            return None;
        }
        let is_left_out = leaf.within.is_none() && !self.has_fault_in(&path.key("within"));
        if is_left_out && leaf.steps.last().is_some_and(|step| step.absent) {
            let finding = Finding::new(Code::MissingKey, "an absent step needs `within`: how long it is waited for")
                .with_help("Add `within`, such as `\"1d\"`.");
            self.report(&place.index(found - 1).key("absent"), finding);
            return None;
        }
        Some(())
    }

    fn step(&mut self, step: &SequenceStep, table: &EventTable, place: &DocPath, depth: usize) -> Option<CheckedStep> {
        let event_type = self.event_types(step.event_type.as_deref(), table, place);
        let filter = self.rows(&step.filter, &table.table, &place.key("where"), depth);
        Some(CheckedStep { event_type: event_type?, filter: filter? })
    }
}
