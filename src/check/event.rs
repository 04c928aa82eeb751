//! Event leaves: the table, the types, the conditions on events, the measure and its comparison.

use super::comparison::Compared;
use super::scope::Scope;
use super::{CheckedEvents, CheckedMeasure, CheckedRow, NumberMeasure, Operand, RowMeasure, Test, ValueMeasure};
use crate::diagnostic::{Code, Finding};
use crate::model::catalog::{Access, ColumnType, EventTable, Table};
use crate::model::condition::{Comparison, EventCondition, EventLeaf, EventTypePattern, Measure, Subject};
use crate::model::decimal::Decimal;
use crate::model::operator::Operator;
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;

const NOUN: &str = "events";

/// A measure whose property is resolved.
pub(super) enum Measured {
    Number(CheckedMeasure),
    Value(ValueMeasure, Access),
}

impl<'a> Scope<'a> {
    pub(super) fn event(&mut self, leaf: &EventLeaf, path: &DocPath, depth: usize) -> Option<CheckedEvents> {
        let table = self.event_table(path)?;
        let events = &leaf.events;
        let event_type = self.event_types(events.event_type.as_deref(), table, path);
        let filter = self.rows(&events.filter, &table.table, &path.key("where"), depth);
        let window = self.window(&events.window, &path.key("window"));
        let measured = self.measure(&events.measure, &table.table, &path.key("measure"));
        let (measure, test) = measured.and_then(|measured| self.measured_test(leaf, measured, path))?;
        Some(CheckedEvents { event_type: event_type?, filter: filter?, window: window?, measure, test })
    }

    pub(super) fn event_table(&mut self, path: &DocPath) -> Option<&'a EventTable> {
        self.event_table_of(self.subject, path)
    }

    /// The events, which must say which subjects of a kind they are of.
    pub(super) fn event_table_of(&mut self, subject: Subject, path: &DocPath) -> Option<&'a EventTable> {
        let catalog = self.catalog;
        let Some(events) = &catalog.events else {
            let finding = Finding::new(Code::MissingTable, "the tenant has no table of events").with_help("Configure `events`.");
            self.report(&path.key("type"), finding);
            return None;
        };
        if events.key(subject).is_none() {
            let word = subject.keyword();
            let finding = Finding::new(Code::MissingRole, format!("the events do not say which {word} they are of"))
                .with_help(format!("Configure `{word}_key` of `events`."));
            self.report(&path.key("type"), finding);
            return None;
        }
        Some(events)
    }

    #[expect(clippy::option_option, reason = "any type and an unknown one differ")]
    pub(super) fn event_types(
        &mut self,
        patterns: Option<&[EventTypePattern]>,
        table: &EventTable,
        path: &DocPath,
    ) -> Option<Option<Vec<EventTypePattern>>> {
        let Some(patterns) = patterns else { return Some(None) };
        let place = path.key("event_type");
        self.list_size(patterns.len(), &place)?;
        if patterns.is_empty() {
            let finding = Finding::new(Code::EmptyOperand, "a list of no types holds no event")
                .with_help("Leave `event_type` out for events of any type.");
            self.report(&place, finding);
            return None;
        }
        if table.event_type.is_none() {
            let finding = Finding::new(Code::MissingRole, "the events do not say which type they have")
                .with_help("Configure `event_type` of `events`.");
            self.report(&place, finding);
            return None;
        }
        Some(Some(patterns.to_vec()))
    }

    pub(super) fn rows(
        &mut self,
        conditions: &[EventCondition],
        table: &Table,
        place: &DocPath,
        depth: usize,
    ) -> Option<Vec<CheckedRow>> {
        let rows: Vec<_> = conditions
            .iter()
            .enumerate()
            .map(|(index, condition)| self.row(condition, table, &place.index(index), depth + 1))
            .collect();
        rows.into_iter().collect()
    }

    fn row(&mut self, condition: &EventCondition, table: &Table, path: &DocPath, depth: usize) -> Option<CheckedRow> {
        match condition {
            EventCondition::Group { logic, conditions } => {
                self.not_too_deep(path, depth)?;
                self.not_empty(conditions.len(), path, "conditions")?;
                let conditions = self.rows(conditions, table, &path.key("conditions"), depth)?;
                Some(CheckedRow::Group { logic: *logic, conditions })
            }
            EventCondition::AtLeast { count, of } => {
                self.not_too_deep(path, depth)?;
                self.not_empty(of.len(), path, "of")?;
                let rows = self.rows(of, table, &path.key("of"), depth);
                let count = self.at_least(*count, of.len(), path);
                Some(CheckedRow::AtLeast { count: count?, of: rows? })
            }
            EventCondition::Not(inner) => {
                self.not_too_deep(path, depth)?;
                Some(CheckedRow::Not(Box::new(self.row(inner, table, &path.key("not"), depth + 1)?)))
            }
            EventCondition::Test(test) => {
                self.leaves += 1;
                self.attribute(test, table, NOUN, path).map(CheckedRow::Test)
            }
        }
    }

    pub(super) fn measure(&mut self, measure: &Measure, table: &Table, place: &DocPath) -> Option<Measured> {
        let place = match measure.property() {
            Some(_) => place.key(measure.keyword()),
            None => place.clone(),
        };
        let rows = |measure| Some(Measured::Number(CheckedMeasure::Rows(measure)));
        match measure {
            Measure::Count => rows(RowMeasure::Count),
            Measure::ActiveDays => rows(RowMeasure::ActiveDays),
            Measure::ActiveWeeks => rows(RowMeasure::ActiveWeeks),
            Measure::ActiveMonths => rows(RowMeasure::ActiveMonths),
            Measure::DaysSinceFirst => rows(RowMeasure::DaysSinceFirst),
            Measure::DaysSinceLast => rows(RowMeasure::DaysSinceLast),
            Measure::Sum(path) => self.number_measure(NumberMeasure::Sum, path, table, &place),
            Measure::Avg(path) => self.number_measure(NumberMeasure::Avg, path, table, &place),
            Measure::Min(path) => self.number_measure(NumberMeasure::Min, path, table, &place),
            Measure::Max(path) => self.number_measure(NumberMeasure::Max, path, table, &place),
            Measure::CountDistinct(path) => {
                let access = self.single_access(path, table, &place)?;
                Some(Measured::Number(CheckedMeasure::Number(NumberMeasure::CountDistinct, access)))
            }
            Measure::First(path) => self.value_measure(ValueMeasure::First, path, table, &place),
            Measure::Last(path) => self.value_measure(ValueMeasure::Last, path, table, &place),
            Measure::MostFrequent(path) => self.value_measure(ValueMeasure::MostFrequent, path, table, &place),
        }
    }

    /// Where a property of an event is stored whose values are told apart: no list.
    pub(super) fn single_access(&mut self, path: &PropertyPath, table: &Table, place: &DocPath) -> Option<Access> {
        let access = self.access(path, table, NOUN, place)?;
        if let ColumnType::List(_) = access.stored {
            let message = format!("`{path}` is of type {}; only single values are told apart", access.stored);
            self.report(place, Finding::new(Code::UnsuitableProperty, message));
            return None;
        }
        Some(access)
    }

    fn number_measure(&mut self, measure: NumberMeasure, path: &PropertyPath, table: &Table, place: &DocPath) -> Option<Measured> {
        let access = self.number_access(path, table, NOUN, place)?;
        Some(Measured::Number(CheckedMeasure::Number(measure, access)))
    }

    fn value_measure(&mut self, measure: ValueMeasure, path: &PropertyPath, table: &Table, place: &DocPath) -> Option<Measured> {
        self.access(path, table, NOUN, place).map(|access| Measured::Value(measure, access))
    }

    /// A count is compared as stated, or is at least 1.
    pub(super) fn count_test(&mut self, comparison: Option<&Comparison>, path: &DocPath) -> Option<Test> {
        let Some(comparison) = comparison else {
            let one = Operand::Number(Decimal::from(1i64));
            return Some(Test { operator: Operator::Gte, operand: one, ignore_case: false });
        };
        self.comparison(comparison, Compared::Number, path).map(|(_, test)| test)
    }

    fn measured_test(&mut self, leaf: &EventLeaf, measured: Measured, path: &DocPath) -> Option<(CheckedMeasure, Test)> {
        match (measured, &leaf.comparison) {
            (Measured::Number(measure @ CheckedMeasure::Rows(RowMeasure::Count)), comparison) => {
                Some((measure, self.count_test(comparison.as_ref(), path)?))
            }
            (Measured::Number(measure), Some(comparison)) => {
                let (_, test) = self.comparison(comparison, Compared::Number, path)?;
                Some((measure, test))
            }
            (Measured::Value(measure, access), Some(comparison)) => {
                let (reading, test) = self.comparison(comparison, Compared::Chosen(&access), path)?;
                Some((CheckedMeasure::Value(measure, access, reading), test))
            }
            (Measured::Number(_) | Measured::Value(..), None) => {
                let message = format!("the measure `{}` needs an `operator` to compare it", leaf.events.measure.keyword());
                let finding = Finding::new(Code::MissingComparison, message).with_help("Only `count` has a default, `gte` 1.");
                self.report(path, finding);
                None
            }
        }
    }
}
