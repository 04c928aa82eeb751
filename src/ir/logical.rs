//! The types of the logical segment.

use serde::Serialize;

use super::score::Scored;
use crate::check::{Element, ElementType, Reading};
use crate::model::catalog::Access;
use crate::model::condition::{EventTypePattern, RankOrder, Subject, TopShare};
use crate::model::decimal::Decimal;
use crate::model::id::SegmentId;
use crate::model::property::DatePart;
use crate::model::window::{DateExpr, Duration, Window};

/// What a segment means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct LogicalSegment {
    /// The segment.
    pub id: SegmentId,
    /// What it contains.
    pub subject: Subject,
    /// Who it contains.
    pub rule: LogicalRule,
}

/// Who a segment contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum LogicalRule {
    /// Whoever was added by hand.
    Static,
    /// The subjects of the universe for which the formula holds.
    Formula(Formula<SubjectTest>),
}

/// Two-valued logic over leaves of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Formula<L> {
    /// Always, or never.
    Constant(bool),
    /// Every one holds.
    All(Vec<Self>),
    /// At least one holds.
    Any(Vec<Self>),
    /// At least `count` hold.
    AtLeast {
        /// How many.
        count: usize,
        /// Of these.
        of: Vec<Self>,
    },
    /// It does not hold.
    Not(Box<Self>),
    /// The leaf holds.
    Leaf(L),
}

impl<L> Formula<L> {
    /// The formula with each leaf replaced.
    pub fn map<M>(&self, leaf: &mut impl FnMut(&L) -> M) -> Formula<M> {
        match self {
            Self::Constant(value) => Formula::Constant(*value),
            Self::All(of) => Formula::All(of.iter().map(|formula| formula.map(leaf)).collect()),
            Self::Any(of) => Formula::Any(of.iter().map(|formula| formula.map(leaf)).collect()),
            Self::AtLeast { count, of } => {
                Formula::AtLeast { count: *count, of: of.iter().map(|formula| formula.map(leaf)).collect() }
            }
            Self::Not(inner) => Formula::Not(Box::new(inner.map(leaf))),
            Self::Leaf(inner) => Formula::Leaf(leaf(inner)),
        }
    }

    /// Calls `visit` with every leaf, from the left.
    pub fn for_each_leaf<'a>(&'a self, visit: &mut impl FnMut(&'a L)) {
        match self {
            Self::Constant(_) => {}
            Self::All(of) | Self::Any(of) | Self::AtLeast { of, .. } => {
                for formula in of {
                    formula.for_each_leaf(visit);
                }
            }
            Self::Not(inner) => inner.for_each_leaf(visit),
            Self::Leaf(leaf) => visit(leaf),
        }
    }
}

/// A leaf of a segment's formula.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SubjectTest {
    /// The feature passes the test.
    Feature(Feature, Test),
    /// The subject is in the other segment.
    Member(SegmentId),
    /// The subject is among the first of a ranking.
    Top(Ranking),
    /// The subject's score is enough. The whole formula of a scored segment.
    Scored(Box<Scored>),
    /// Two numbers of the subject compare as stated.
    Compare(Comparison),
}

/// `left comparator factor * right`; false when a side is missing. A double stays what it is, and what it is compared with is rounded
/// to the nearest double; any other two numbers compare exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Comparison<F = Feature> {
    /// On the left.
    pub left: F,
    /// How.
    pub comparator: Comparator,
    /// On the right.
    pub right: F,
    /// What the right side is multiplied by, exactly.
    pub factor: Decimal,
}

/// The subjects of the universe that have a value, by that number. A subject is among the first when fewer than k have a strictly
/// better value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Ranking<F = Feature> {
    /// The number.
    pub by: F,
    /// A count that must be at least 1 for the number to be a value; `None` when a missing number says so.
    pub present: Option<F>,
    /// Which end comes first.
    pub order: RankOrder,
    /// What k is.
    pub share: TopShare,
}

/// A leaf of a formula over the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RowTest<D = DateTest, V = Value> {
    /// What is tested.
    pub value: V,
    /// What must hold of it.
    pub test: Test<D>,
}

/// One value per subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Feature {
    /// Read from the subject's row.
    Attribute(Value),
    /// Measured over the subject's events.
    Measure(MeasureFeature),
    /// Whether the subject's events contain the steps of a sequence: a boolean, never missing.
    Sequence(SequenceFeature),
    /// Measured over events of the members of a user segment that name the product.
    Signal(SignalFeature),
    /// `xxh3_64(salt ":" subject_id)`: XXH3 of 64 bits, seed 0, of the UTF-8 bytes. An unsigned integer.
    Hash {
        /// What tells samples apart.
        salt: String,
    },
}

/// One value per row of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Value {
    /// The stored value, read as stated.
    Stored(Access, Reading),
    /// Fractional days of 24 hours from the date up to `as_of`: a number, exact to the microsecond.
    DaysSince(Access),
    /// Whole local days from the day of `as_of` to the next yearly return of the date: an integer.
    DaysToAnniversary(Access),
    /// A part of the local date and time: an integer.
    Part(DatePart, Access),
    /// The exact mean of numbers; missing when one of them is.
    Mean(Vec<Access>),
}

impl Value {
    /// Whether it is another when it is seen from another instant.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        match self {
            Self::DaysSince(_) | Self::DaysToAnniversary(_) => true,
            Self::Stored(..) | Self::Part(..) | Self::Mean(_) => false,
        }
    }
}

/// A measure over the subject's events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MeasureFeature {
    /// The event types; sorted, without repeats; `None` = any event.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// What must hold of the event.
    pub filter: Formula<RowTest>,
    /// When.
    pub window: Window,
    /// What is computed.
    pub aggregate: Aggregate,
}

/// Events of the subject at strictly increasing times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SequenceFeature {
    /// What must be there, in this order; at least one.
    pub steps: Vec<EventStep>,
    /// What must not follow the last of them strictly later and at most `within` after it, while that time is over by `as_of`.
    pub absent: Option<EventStep>,
    /// How long after the first event the last one may be.
    pub within: Option<Duration>,
    /// Properties that are equal on all of the events: as numbers, or as the same text, boolean or instant. An event that lacks one
    /// takes no part. Sorted, without repeats.
    pub same: Vec<Access>,
    /// When; the absent step is looked for outside as well.
    pub window: Window,
}

/// One event of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EventStep<D = DateTest, V = Value> {
    /// The event types; sorted, without repeats; `None` = any event.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// What must hold of the event.
    pub filter: Formula<RowTest<D, V>>,
}

/// A measure over the events of the members of a user segment that name the product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SignalFeature {
    /// The segment of users.
    pub segment: SegmentId,
    /// What holds the id of the product, read as text.
    pub product: Access,
    /// What is measured.
    pub measure: MeasureFeature,
}

/// What is computed over the events of a measure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Aggregate {
    /// How many; an integer, 0 of none.
    Count,
    /// Distinct local units; an integer, 0 of none.
    Active(DistinctUnit),
    /// The time of the first; an instant, missing of none.
    FirstTime,
    /// Days since the first; exact to the microsecond; missing of none.
    DaysSinceFirst,
    /// Days since the last; likewise.
    DaysSinceLast,
    /// Exact sum of a number; 0 of none.
    Sum(Access),
    /// Exact mean of a number; missing of none.
    Avg(Access),
    /// Least number; missing of none.
    Min(Access),
    /// Greatest number; missing of none.
    Max(Access),
    /// Distinct scalar values; an integer, 0 of none.
    CountDistinct(Access),
    /// Value on the earliest event that carries it, events ordered by (time, event id as text with none first, value).
    First(Access, Reading),
    /// Value on the latest such event.
    Last(Access, Reading),
    /// Most frequent value, the smallest of equals.
    MostFrequent(Access, Reading),
}

/// A local unit of time of which the distinct ones are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum DistinctUnit {
    /// Local days.
    Day,
    /// Local ISO weeks.
    Week,
    /// Local months.
    Month,
}

/// A positive test of a value; false when the value is missing. `D` is how a date is tested: symbolically here, by an interval of
/// instants once `as_of` is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Test<D = DateTest> {
    /// There is a value: for text not the empty one, for arrays not the empty one, for a value as stored not null, `""` or `[]`.
    IsSet,
    /// Of a text.
    Text(TextTest),
    /// Of a number.
    Number(NumberTest),
    /// Of a boolean: equals this.
    Boolean(bool),
    /// Of a date.
    Date(D),
    /// Of an array.
    Elements(ElementsTest),
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TextTest {
    /// How. With `ignore_case` its texts are folded already.
    pub matches: TextMatch,
    /// The value is folded (full lower-casing, then final sigma as sigma) before it is compared.
    pub ignore_case: bool,
}

impl TextTest {
    /// The tests one of which the type of an event passes when it is of one of these.
    #[must_use]
    pub fn of_event_types(patterns: &[EventTypePattern]) -> Vec<Self> {
        let mut exact = Vec::new();
        let mut tests = Vec::new();
        for pattern in patterns {
            match pattern {
                EventTypePattern::Exact(name) => exact.push(name.clone()),
                EventTypePattern::Prefix(start) => tests.push(TextMatch::StartsWith(start.clone())),
            }
        }
        if !exact.is_empty() {
            tests.push(TextMatch::OneOf(exact));
        }
        tests.into_iter().map(|matches| Self { matches, ignore_case: false }).collect()
    }
}

/// How a text compares. By code points; no character is special.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TextMatch {
    /// Is one of these; sorted, without repeats, not empty.
    OneOf(Vec<String>),
    /// Contains this.
    Contains(String),
    /// Begins with this.
    StartsWith(String),
    /// Ends with this.
    EndsWith(String),
    /// This regular expression is found in it: explicit ranges and literals, no flags, no classes by name; the same in every
    /// engine. Case folding is part of it, so that `ignore_case` is false.
    Pattern(String),
}

/// A test of a number. A literal compares exactly with integers and decimals, as the nearest double with floats.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum NumberTest {
    /// Compares so with this.
    Compare(Comparator, Decimal),
    /// Lies between these, both included.
    Between(Decimal, Decimal),
    /// Is one of these; sorted, without repeats, not empty.
    OneOf(Vec<Decimal>),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Comparator {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

/// A test of an instant against dates that are resolved when `as_of` is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum DateTest {
    /// Compares so with this; a whole day is that day.
    Compare(Comparator, DateExpr),
    /// Lies between these, both included; whole days with all of the day.
    Between(DateExpr, DateExpr),
    /// Lies in the window.
    Within(Window),
}

/// A test of an array, whose elements are read as the type of the literals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ElementsTest {
    /// Holds at least one of these; sorted, without repeats, not empty. With `ignore_case` texts are folded.
    Any {
        /// The elements.
        of: Vec<Element>,
        /// The array's texts are folded before they are compared.
        ignore_case: bool,
    },
    /// Holds each of these.
    All {
        /// The elements.
        of: Vec<Element>,
        /// The array's texts are folded before they are compared.
        ignore_case: bool,
    },
}

impl Value {
    /// What the value is read as, or what its derivation yields.
    #[must_use]
    pub fn reading(&self) -> Reading {
        match self {
            Self::Stored(_, reading) => *reading,
            Self::DaysSince(_) | Self::DaysToAnniversary(_) | Self::Part(..) | Self::Mean(_) => Reading::Number,
        }
    }
}

impl Element {
    /// The type that an array's elements are read as to compare with this.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::Text(_) => ElementType::Text,
            Self::Number(_) => ElementType::Number,
            Self::Boolean(_) => ElementType::Boolean,
        }
    }
}
