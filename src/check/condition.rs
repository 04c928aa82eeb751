//! The rule tree: groups, and the leaves that are no events.

use super::comparison::Compared;
use super::property::resolve;
use super::scope::Scope;
use super::{CheckedAttribute, CheckedCondition, CheckedLeaf, CheckedProperty, CheckedSample, Mention, Reading};
use crate::diagnostic::{Code, Finding};
use crate::model::catalog::{Access, ColumnType, Table};
use crate::model::condition::{AttributeTest, Condition, Leaf, Logic, Node, SampleLeaf, SegmentLeaf, Subject};
use crate::model::decimal::Decimal;
use crate::model::path::{DocPath, Step};
use crate::model::property::{Property, PropertyPath};

impl Scope<'_> {
    /// The conditions of a group whose object stands at `path`.
    pub(super) fn group(
        &mut self,
        logic: Logic,
        conditions: &[Condition],
        path: &DocPath,
        depth: usize,
    ) -> Option<CheckedCondition> {
        let conditions = self.conditions(conditions, path, "conditions", depth)?;
        Some(CheckedCondition::Group { path: path.clone(), logic, conditions })
    }

    fn conditions(&mut self, conditions: &[Condition], group: &DocPath, key: &str, depth: usize) -> Option<Vec<CheckedCondition>> {
        self.not_empty(conditions.len(), group, key)?;
        let place = group.key(key);
        let checked: Vec<_> = conditions
            .iter()
            .enumerate()
            .map(|(index, condition)| self.condition(condition, &place.index(index), depth + 1))
            .collect();
        checked.into_iter().collect()
    }

    pub(super) fn condition(&mut self, condition: &Condition, path: &DocPath, depth: usize) -> Option<CheckedCondition> {
        match &condition.node {
            Node::Group { logic, conditions } => {
                self.not_too_deep(path, depth)?;
                self.group(*logic, conditions, path, depth)
            }
            Node::AtLeast { count, of } => {
                self.not_too_deep(path, depth)?;
                let checked = self.conditions(of, path, "of", depth);
                let count = self.at_least(*count, of.len(), path);
                Some(CheckedCondition::AtLeast { path: path.clone(), count: count?, of: checked? })
            }
            Node::Not(inner) => {
                self.not_too_deep(path, depth)?;
                let condition = self.condition(inner, &path.key("not"), depth + 1)?;
                Some(CheckedCondition::Not { path: path.clone(), condition: Box::new(condition) })
            }
            Node::Leaf(leaf) => {
                self.leaves += 1;
                let leaf = self.leaf(leaf, path, depth)?;
                Some(CheckedCondition::Leaf { path: path.clone(), leaf })
            }
        }
    }

    /// The conditions under `key` of a group are some. A node that could not be read is an empty group, and was reported.
    pub(super) fn not_empty(&mut self, conditions: usize, group: &DocPath, key: &str) -> Option<()> {
        if conditions > 0 {
            return Some(());
        }
        if !self.has_fault_in(group) {
            let finding = Finding::new(Code::EmptyGroup, "a group has no conditions")
                .with_help("Add a condition; `{\"type\": \"everyone\"}` holds for every subject.");
            self.report(&group.key(key), finding);
        }
        None
    }

    pub(super) fn not_too_deep(&mut self, path: &DocPath, depth: usize) -> Option<()> {
        if depth <= self.limits.depth {
            return Some(());
        }
        let message = format!("conditions are nested more than {} levels deep", self.limits.depth);
        self.report(path, Finding::new(Code::TooDeep, message));
        None
    }

    /// How many of `of` conditions must hold.
    pub(super) fn at_least(&mut self, count: u64, of: usize, path: &DocPath) -> Option<usize> {
        let wanted = usize::try_from(count).ok().filter(|wanted| (1..=of).contains(wanted));
        // Without conditions the group is empty, and that was said.
        if wanted.is_none() && of > 0 {
            let message = format!("at least {count} conditions must hold, of {of}");
            self.report(&path.key("at_least"), Finding::new(Code::CountOutOfRange, message));
        }
        wanted
    }

    fn leaf(&mut self, leaf: &Leaf, path: &DocPath, depth: usize) -> Option<CheckedLeaf> {
        match leaf {
            Leaf::Everyone => Some(CheckedLeaf::Everyone),
            Leaf::Attribute { subject, test } => self.subject_attribute(*subject, test, path),
            Leaf::Event(event) => self.event(event, path, depth).map(CheckedLeaf::Events),
            Leaf::Segment(SegmentLeaf { segment_id, negated }) => {
                let place = path.key("segment_id");
                self.references.push(Mention { target: segment_id.clone(), contains: self.subject, path: place });
                Some(CheckedLeaf::Segment { segment_id: segment_id.clone(), negated: *negated })
            }
            Leaf::Lifecycle(lifecycle) => self.lifecycle(lifecycle, path, depth).map(CheckedLeaf::Lifecycle),
            Leaf::Sequence(sequence) => self.sequence(sequence, path, depth).map(CheckedLeaf::Sequence),
            Leaf::Compare(compare) => self.compare(compare, path, depth).map(CheckedLeaf::Compare),
            Leaf::Top(top) => self.top(top, path, depth).map(CheckedLeaf::Top),
            Leaf::Sample(sample) => self.sample(sample, path).map(CheckedLeaf::Sample),
            Leaf::UserBehaviorSignal(signal) => self.signal(signal, path).map(CheckedLeaf::Signal),
            Leaf::AiVisibilityMetric(_) => self.ai_visibility_metric(path),
        }
    }

    fn sample(&mut self, sample: &SampleLeaf, path: &DocPath) -> Option<CheckedSample> {
        let SampleLeaf { percent, salt } = sample;
        self.percent(percent, &path.key("percent"))?;
        let salt = salt.clone().unwrap_or_else(|| self.document.definition().id.to_string());
        Some(CheckedSample { percent: percent.clone(), salt })
    }

    /// A share is from 0 to 100 percent.
    pub(super) fn percent(&mut self, percent: &Decimal, place: &DocPath) -> Option<()> {
        if !percent.is_negative() && *percent <= Decimal::from(100i64) {
            return Some(());
        }
        self.report(place, Finding::new(Code::InvalidNumber, format!("a share is from 0 to 100 percent, not {percent}")));
        None
    }

    fn ai_visibility_metric(&mut self, path: &DocPath) -> Option<CheckedLeaf> {
        let place = path.key("type");
        if path.steps().iter().any(|step| matches!(step, Step::Key(key) if key == "not")) {
            let finding = Finding::new(Code::NegatedMetric, "an `ai_visibility_metric` stands under a `not`")
                .with_help("It holds for nobody as long as no source provides such metrics, and its negation for everybody.");
            self.report(&place, finding);
            return None;
        }
        let finding = Finding::new(Code::MetricWithoutSource, "no source provides metrics of AI visibility yet")
            .with_help("This condition holds for nobody.");
        self.report(&place, finding);
        Some(CheckedLeaf::Nobody)
    }

    fn subject_attribute(&mut self, subject: Subject, test: &AttributeTest, path: &DocPath) -> Option<CheckedLeaf> {
        if subject != self.subject {
            let (asked, own) = (subject.keyword(), self.subject.keyword());
            let finding = Finding::new(Code::WrongSubject, format!("a segment of {own}s has no `{asked}_attribute`"))
                .with_help(format!("Use `{own}_attribute`, or set `\"subject\": \"{asked}\"`."));
            self.report(&path.key("type"), finding);
            return None;
        }
        let (table, noun) = self.subjects_table(&path.key("type"))?;
        self.attribute(test, table, noun, path).map(CheckedLeaf::Attribute)
    }

    /// A property of a table's row, and the test on it. `noun` names what a row of the table is, in the plural.
    pub(super) fn attribute(
        &mut self,
        test: &AttributeTest,
        table: &Table,
        noun: &str,
        path: &DocPath,
    ) -> Option<CheckedAttribute> {
        let property = self.property(&test.property, table, noun, &path.key("property"))?;
        let (reading, test) = match &property {
            CheckedProperty::Stored(access) => self.comparison(&test.comparison, Compared::Stored(access), path)?,
            CheckedProperty::DaysSince(_)
            | CheckedProperty::DaysToAnniversary(_)
            | CheckedProperty::Part(..)
            | CheckedProperty::Mean(_) => {
                let test = self.comparison(&test.comparison, Compared::Number, path)?.1;
                (Reading::Number, test)
            }
        };
        Some(CheckedAttribute { property, reading, test })
    }

    pub(super) fn property(&mut self, property: &Property, table: &Table, noun: &str, place: &DocPath) -> Option<CheckedProperty> {
        match property {
            Property::Path(path) => self.access(path, table, noun, place).map(CheckedProperty::Stored),
            Property::DaysSince(path) => {
                self.date_access(path, table, noun, &place.key("days_since")).map(CheckedProperty::DaysSince)
            }
            Property::DaysToAnniversary(path) => {
                self.date_access(path, table, noun, &place.key("days_to_anniversary")).map(CheckedProperty::DaysToAnniversary)
            }
            Property::Part(part, path) => {
                let access = self.date_access(path, table, noun, &place.key(part.keyword()))?;
                Some(CheckedProperty::Part(*part, access))
            }
            Property::Mean(paths) => {
                let place = place.key("mean");
                let accesses: Vec<_> = paths
                    .iter()
                    .enumerate()
                    .map(|(index, path)| self.number_access(path, table, noun, &place.index(index)))
                    .collect();
                accesses.into_iter().collect::<Option<Vec<_>>>().map(CheckedProperty::Mean)
            }
        }
    }

    /// Where the value at a path is stored.
    pub(super) fn access(&mut self, path: &PropertyPath, table: &Table, noun: &str, place: &DocPath) -> Option<Access> {
        match resolve(path, table, noun) {
            Ok(access) => Some(access),
            Err(finding) => {
                self.report(place, finding);
                None
            }
        }
    }

    /// The same of a value that can be a number.
    pub(super) fn number_access(&mut self, path: &PropertyPath, table: &Table, noun: &str, place: &DocPath) -> Option<Access> {
        let access = self.access(path, table, noun, place)?;
        self.holding("numbers", holds_numbers, access, path, place)
    }

    /// The same of a value that can be a date.
    fn date_access(&mut self, path: &PropertyPath, table: &Table, noun: &str, place: &DocPath) -> Option<Access> {
        let access = self.access(path, table, noun, place)?;
        self.holding("dates", holds_dates, access, path, place)
    }

    /// A value whose stored type can hold what is asked of it.
    pub(super) fn holding(
        &mut self,
        what: &str,
        holds: fn(&ColumnType) -> bool,
        access: Access,
        path: &PropertyPath,
        place: &DocPath,
    ) -> Option<Access> {
        if holds(&access.stored) {
            return Some(access);
        }
        let message = format!("`{path}` holds no {what}: it is of type {}", access.stored);
        self.report(place, Finding::new(Code::UnsuitableProperty, message));
        None
    }
}

fn holds_numbers(column: &ColumnType) -> bool {
    match column {
        ColumnType::Integer
        | ColumnType::Unsigned
        | ColumnType::Float
        | ColumnType::Decimal { .. }
        | ColumnType::Text
        | ColumnType::Json => true,
        ColumnType::Boolean
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::List(_)
        | ColumnType::Struct(_)
        | ColumnType::Map(_)
        | ColumnType::Other(_) => false,
    }
}

fn holds_dates(column: &ColumnType) -> bool {
    match column {
        ColumnType::Integer
        | ColumnType::Unsigned
        | ColumnType::Text
        | ColumnType::Json
        | ColumnType::Date
        | ColumnType::Timestamp => true,
        ColumnType::Boolean
        | ColumnType::Float
        | ColumnType::Decimal { .. }
        | ColumnType::List(_)
        | ColumnType::Struct(_)
        | ColumnType::Map(_)
        | ColumnType::Other(_) => false,
    }
}
