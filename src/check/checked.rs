//! The checked definition: what an author said, with every name resolved and every literal read. It keeps the author's tree and
//! operators; nothing is rewritten, so that it can be evaluated, explained and printed as it was meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::catalog::{Access, ColumnType};
use crate::model::condition::{EventTypePattern, LifecyclePattern, Logic, RankOrder, Subject, TopShare};
use crate::model::decimal::Decimal;
use crate::model::id::SegmentId;
use crate::model::operator::Operator;
use crate::model::path::DocPath;
use crate::model::property::DatePart;
use crate::model::scoring::Combination;
use crate::model::segment::Definition;
use crate::model::window::{DateExpr, Duration, Window};

/// A definition that fits its catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedSegment {
    definition: Arc<Definition>,
    rule: CheckedRule,
}

impl CheckedSegment {
    /// Only `check` makes one.
    pub(super) fn new(definition: Arc<Definition>, rule: CheckedRule) -> Self {
        Self { definition, rule }
    }

    /// The id of the segment.
    #[must_use]
    pub fn id(&self) -> &SegmentId {
        &self.definition.id
    }

    /// What the segment contains.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.definition.subject
    }

    /// The document as the author wrote it.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Who it contains.
    #[must_use]
    pub fn rule(&self) -> &CheckedRule {
        &self.rule
    }

    /// The segments that the rule refers to.
    #[must_use]
    pub fn references(&self) -> BTreeSet<SegmentId> {
        let mut found = BTreeSet::new();
        match &self.rule {
            CheckedRule::Static => {}
            CheckedRule::Conditions(condition) => collect_references(condition, &mut found),
            CheckedRule::Scoring(scoring) => {
                scoring.rules.iter().for_each(|rule| collect_references(&rule.condition, &mut found));
            }
        }
        found
    }
}

fn collect_references(condition: &CheckedCondition, found: &mut BTreeSet<SegmentId>) {
    match condition {
        CheckedCondition::Group { conditions, .. } | CheckedCondition::AtLeast { of: conditions, .. } => {
            for condition in conditions {
                collect_references(condition, found);
            }
        }
        CheckedCondition::Not { condition, .. } => collect_references(condition, found),
        CheckedCondition::Leaf { leaf, .. } => match leaf {
            CheckedLeaf::Segment { segment_id, .. } => {
                found.insert(segment_id.clone());
            }
            CheckedLeaf::Everyone
            | CheckedLeaf::Nobody
            | CheckedLeaf::Attribute(_)
            | CheckedLeaf::Events(_)
            | CheckedLeaf::Lifecycle(_)
            | CheckedLeaf::Sample(_)
            | CheckedLeaf::Top(_)
            | CheckedLeaf::Sequence(_)
            | CheckedLeaf::Compare(_) => {}
            CheckedLeaf::Signal(signal) => {
                found.insert(signal.segment_id.clone());
            }
        },
    }
}

/// Who a segment contains.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckedRule {
    /// Whoever was added by hand.
    Static,
    /// The subjects for which the condition holds.
    Conditions(CheckedCondition),
    /// The subjects whose score reaches a threshold.
    Scoring(CheckedScoring),
}

/// Rules with weights, and the score from which on a subject is a member.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedScoring {
    /// Where it stands.
    pub path: DocPath,
    /// How the degrees of the rules become one score.
    pub combination: Combination,
    /// Members are the subjects whose score is at least this, from 0 to 1.
    pub threshold: Decimal,
    /// At least one, of which at least one has a weight above 0.
    pub rules: Vec<CheckedScoringRule>,
}

/// One rule of a scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedScoringRule {
    /// Where it stands.
    pub path: DocPath,
    /// What is graded.
    pub condition: CheckedCondition,
    /// How much it counts: 0, or a number whose double is far from the ends of what doubles hold.
    pub weight: Decimal,
    /// The author's remark.
    pub description: Option<String>,
}

/// A node of the author's tree.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckedCondition {
    /// All, or one, of the conditions hold.
    Group {
        /// Where it stands.
        path: DocPath,
        /// How they join.
        logic: Logic,
        /// At least one.
        conditions: Vec<Self>,
    },
    /// At least `count` of the conditions hold; `count` is from 1 to their number.
    AtLeast {
        /// Where it stands.
        path: DocPath,
        /// How many.
        count: usize,
        /// Of these.
        of: Vec<Self>,
    },
    /// The condition does not hold.
    Not {
        /// Where it stands.
        path: DocPath,
        /// What must not hold.
        condition: Box<Self>,
    },
    /// A leaf.
    Leaf {
        /// Where it stands.
        path: DocPath,
        /// What it says.
        leaf: CheckedLeaf,
    },
}

impl CheckedCondition {
    /// Where the node stands in the definition.
    #[must_use]
    pub fn path(&self) -> &DocPath {
        match self {
            Self::Group { path, .. } | Self::AtLeast { path, .. } | Self::Not { path, .. } | Self::Leaf { path, .. } => path,
        }
    }
}

/// A leaf with its names resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedLeaf {
    /// Always.
    Everyone,
    /// Never: a metric that no source provides.
    Nobody,
    /// A property of the subject.
    Attribute(CheckedAttribute),
    /// A measure over the subject's events.
    Events(CheckedEvents),
    /// A pattern of the subject's events over time.
    Lifecycle(CheckedLifecycle),
    /// A stable pseudo-random share of the subjects.
    Sample(CheckedSample),
    /// The first subjects by a number.
    Top(CheckedTop),
    /// Events of the user in an order.
    Sequence(CheckedSequence),
    /// Two numbers.
    Compare(CheckedCompare),
    /// What members of a user segment did with the product.
    Signal(CheckedSignal),
    /// Membership of another segment.
    Segment {
        /// The other segment.
        segment_id: SegmentId,
        /// Must not be in it.
        negated: bool,
    },
}

/// A property, and the test on it. `where` entries are of this shape too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedAttribute {
    /// Where the value comes from.
    pub property: CheckedProperty,
    /// How it is read.
    pub reading: Reading,
    /// What must hold of it.
    pub test: Test,
}

/// A property with its paths resolved. All but `Stored` are numbers; the paths of the date forms are read as dates, those of the
/// mean as numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckedProperty {
    /// The stored value.
    Stored(Access),
    /// Fractional days of 24 hours from the date up to `as_of`.
    DaysSince(Access),
    /// Whole local days to the next yearly return of the date.
    DaysToAnniversary(Access),
    /// A part of the local date and time.
    Part(DatePart, Access),
    /// The mean of numbers.
    Mean(Vec<Access>),
}

/// What a stored value is read as. A value that does not fit is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Reading {
    /// Strings, and integers as their digits. `string` and `url`.
    Text,
    /// `number` and `price`.
    Number,
    /// `boolean`.
    Boolean,
    /// `date`: an instant, or the start of a local day.
    Date,
    /// `array`, each element read as this; a scalar is an array of one.
    Elements(ElementType),
    /// The value as it is stored, for `is_set` on a JSON path without `value_type`: set unless null, `""` or `[]`.
    Stored,
}

impl Reading {
    /// What a column's values are read as when nothing else is asked for; `None` for what only is there or not.
    #[must_use]
    pub fn natural(column_type: &ColumnType) -> Option<Self> {
        match column_type {
            ColumnType::Text => Some(Self::Text),
            ColumnType::Boolean => Some(Self::Boolean),
            ColumnType::Integer | ColumnType::Unsigned | ColumnType::Float | ColumnType::Decimal { .. } => Some(Self::Number),
            ColumnType::Date | ColumnType::Timestamp => Some(Self::Date),
            ColumnType::List(_) => Some(Self::Elements(ElementType::Any)),
            ColumnType::Json | ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_) => None,
        }
    }
}

/// What an element of an array is read as: the type of the literal that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum ElementType {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A boolean.
    Boolean,
    /// Not compared: the test is `is_set` or `is_not_set`.
    Any,
}

/// An operator of the author's, with its operands read. `operator` suits the reading, `operand` suits the operator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Test {
    /// How; may be a negative operator.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
    /// Compares text without regard to case; false where no text is compared.
    pub ignore_case: bool,
}

/// What stands on the right of an operator, read as the type of the left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// Nothing: `is_set`, `is_not_set`, `is_true`, `is_false`.
    None,
    /// A text: `eq`, `neq`, `contains`, `does_not_contain`, `starts_with`, `ends_with`.
    Text(String),
    /// A regular expression: `matches`.
    Pattern {
        /// As the author wrote it; `ignore_case` of the test applies to it.
        written: String,
        /// In explicit code-point ranges and literals, case folding included: the same in every engine.
        expanded: String,
    },
    /// Texts: `in`, `not_in`. Not empty.
    Texts(Vec<String>),
    /// A number: `eq` to `lte`.
    Number(Decimal),
    /// Two numbers: `between`, `not_between`, both included; the first is at most the second.
    NumberRange(Decimal, Decimal),
    /// Numbers: `in`, `not_in`. Not empty.
    Numbers(Vec<Decimal>),
    /// `eq`, `neq` on booleans.
    Boolean(bool),
    /// A date: `eq` to `lte`.
    Date(DateExpr),
    /// Two dates: `between`, `not_between`, both included.
    DateRange(DateExpr, DateExpr),
    /// Elements, all of one type: one for `contains` and `does_not_contain`, at least one for `contains_any` and `contains_all`.
    Elements(Vec<Element>),
}

/// A literal that an array may hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Element {
    /// A text.
    Text(String),
    /// A number.
    Number(Decimal),
    /// A boolean.
    Boolean(bool),
}

/// A measure over the subject's events, and the test on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedEvents {
    /// The type patterns; `None` = any event, also one without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event, all of which must hold.
    pub filter: Vec<CheckedRow>,
    /// When.
    pub window: Window,
    /// What is measured.
    pub measure: CheckedMeasure,
    /// What must hold of it.
    pub test: Test,
}

/// A pattern of the subject's events over time. Its lengths are in the order that lets it hold, `at_least` is at most `periods`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedLifecycle {
    /// The type patterns; `None` = any event, also one without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event, all of which must hold.
    pub filter: Vec<CheckedRow>,
    /// What the events do over time.
    pub pattern: LifecyclePattern,
}

/// Events of the user at strictly increasing times. There are at least two steps, of which only the last may be absent, and then
/// `within` is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedSequence {
    /// The steps that must be there, in order.
    pub steps: Vec<CheckedStep>,
    /// What must not follow them.
    pub absent: Option<CheckedStep>,
    /// How long after the first event the last one may be; how long after the last one the absent one would have been seen.
    pub within: Option<Duration>,
    /// Properties that are equal on all of the events.
    pub same: Vec<Access>,
    /// When; the absent step is looked for outside as well.
    pub window: Window,
}

/// One event of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedStep {
    /// The type patterns; `None` = any event, also one without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event, all of which must hold.
    pub filter: Vec<CheckedRow>,
}

/// One number compares with another: `left operator factor * right`. With a missing side only `neq` holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedCompare {
    /// On the left.
    pub left: CheckedQuantity,
    /// `eq`, `neq`, `gt`, `gte`, `lt` or `lte`.
    pub operator: Operator,
    /// On the right.
    pub right: CheckedQuantity,
    /// What the right side is multiplied by.
    pub factor: Decimal,
}

/// How many events of members of a user segment name the product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedSignal {
    /// The segment of users.
    pub segment_id: SegmentId,
    /// The property of an event with the id of the product, read as text.
    pub product: Access,
    /// The type patterns.
    pub event_type: Vec<EventTypePattern>,
    /// When.
    pub window: Window,
    /// What must hold of the count.
    pub test: Test,
}

/// The first subjects by a number: a subject is in when fewer than k have a strictly better value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedTop {
    /// What is ranked.
    pub by: CheckedQuantity,
    /// Which end comes first.
    pub order: RankOrder,
    /// What k is; a percentage is from 0 to 100.
    pub share: TopShare,
}

/// A number per subject. Where it is ranked, a count, active units, a sum and distinct values over no events are missing; where it is
/// compared they are 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckedQuantity {
    /// Measured over its events; a value of a property is read as a number.
    Events {
        /// The type patterns; `None` = any event, also one without a type.
        event_type: Option<Vec<EventTypePattern>>,
        /// Conditions on the event, all of which must hold.
        filter: Vec<CheckedRow>,
        /// When.
        window: Window,
        /// What is measured.
        measure: CheckedMeasure,
    },
    /// Read from its row, as a number.
    Property(CheckedProperty),
}

/// A stable pseudo-random share of the subjects: those with `xxh3_64(salt ":" subject_id) / 2^64 < percent / 100`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckedSample {
    /// From 0 to 100.
    pub percent: Decimal,
    /// The author's, or the id of the segment.
    pub salt: String,
}

/// A node of `where`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckedRow {
    /// All, or one, of the conditions hold.
    Group {
        /// How they join.
        logic: Logic,
        /// At least one.
        conditions: Vec<Self>,
    },
    /// At least `count` of the conditions hold.
    AtLeast {
        /// How many.
        count: usize,
        /// Of these.
        of: Vec<Self>,
    },
    /// The condition does not hold.
    Not(Box<Self>),
    /// A property of the event.
    Test(CheckedAttribute),
}

/// What is measured over events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckedMeasure {
    /// A number that needs no property: a count of rows or of local units; 0 when there are no events.
    Rows(RowMeasure),
    /// A number over a numeric property (`count_distinct`: over any scalar property).
    Number(NumberMeasure, Access),
    /// A value of a property, read as stated; missing when no event carries one.
    Value(ValueMeasure, Access, Reading),
}

/// A measure of the events themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowMeasure {
    /// How many events; 0 of none.
    Count,
    /// Distinct local days; 0 of none.
    ActiveDays,
    /// Distinct local ISO weeks; 0 of none.
    ActiveWeeks,
    /// Distinct local months; 0 of none.
    ActiveMonths,
    /// Fractional days since the first; missing of none.
    DaysSinceFirst,
    /// Fractional days since the last; missing of none.
    DaysSinceLast,
}

/// A measure of a property that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberMeasure {
    /// Exact sum; 0 of none.
    Sum,
    /// Exact mean; missing of none.
    Avg,
    /// Least; missing of none.
    Min,
    /// Greatest; missing of none.
    Max,
    /// Distinct scalar values, equal as numbers, or as the same text, boolean or instant; 0 of none.
    CountDistinct,
}

/// A measure of a property that is one of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueMeasure {
    /// On the earliest event that carries it, by (time, event id as text with none first, value).
    First,
    /// On the latest such event.
    Last,
    /// The most frequent, the smallest of equals.
    MostFrequent,
}
