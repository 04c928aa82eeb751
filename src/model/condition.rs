//! The rule tree of a definition: groups, negations and leaves.

use super::decimal::Decimal;
use super::id::SegmentId;
use super::operator::{Operator, ValueType};
use super::property::{Property, PropertyPath};
use super::value::Literal;
use super::window::{Duration, Window};

/// A node of the rule tree, with the author's remark on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    /// What it says.
    pub node: Node,
    /// The author's remark; carried, never read.
    pub description: Option<String>,
}

impl From<Node> for Condition {
    fn from(node: Node) -> Self {
        Self { node, description: None }
    }
}

impl From<Leaf> for Condition {
    fn from(leaf: Leaf) -> Self {
        Node::Leaf(leaf).into()
    }
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// `{"logic": ..., "conditions": [...]}`.
    Group {
        /// How the conditions join.
        logic: Logic,
        /// At least one.
        conditions: Vec<Condition>,
    },
    /// `{"at_least": n, "of": [...]}`.
    AtLeast {
        /// How many must hold.
        count: u64,
        /// Of these.
        of: Vec<Condition>,
    },
    /// `{"not": node}`.
    Not(Box<Condition>),
    /// A leaf, with `type`.
    Leaf(Leaf),
}

/// How the conditions of a group join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Logic {
    /// All must hold.
    And,
    /// One must hold.
    Or,
}

impl Logic {
    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
        }
    }
}

/// A condition on one feature of the subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// `user_attribute`, `product_attribute`: a property of the subject compares as stated.
    Attribute {
        /// The subject that the type names.
        subject: Subject,
        /// The comparison.
        test: AttributeTest,
    },
    /// `event`: a measure over the subject's events compares as stated.
    Event(EventLeaf),
    /// `lifecycle`: the subject's events follow a pattern over time.
    Lifecycle(LifecycleLeaf),
    /// `sequence`: the user's events contain the steps in order.
    Sequence(SequenceLeaf),
    /// `segment`: the subject is or is not in another segment.
    Segment(SegmentLeaf),
    /// `compare`: one measure or attribute compares with another.
    Compare(CompareLeaf),
    /// `top`: the subject ranks among the first.
    Top(TopLeaf),
    /// `sample`: the subject falls into a stable pseudo-random share.
    Sample(SampleLeaf),
    /// `everyone`: always.
    Everyone,
    /// `user_behavior_signal`: members of a user segment did something with the product.
    UserBehaviorSignal(SignalLeaf),
    /// `ai_visibility_metric`: never, until a source of such metrics exists.
    AiVisibilityMetric(AiVisibilityLeaf),
}

/// What a segment contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Users.
    User,
    /// Products.
    Product,
}

impl Subject {
    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Product => "product",
        }
    }
}

/// A property compares as stated: an attribute leaf without its type, and an entry of `where`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttributeTest {
    /// What is looked at.
    pub property: Property,
    /// The comparison with it.
    pub comparison: Comparison,
}

/// An operator and what the author put beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// How.
    pub operator: Operator,
    /// With what; absent for `is_set` and its like.
    pub value: Option<Literal>,
    /// The upper end of `between`.
    pub value2: Option<Literal>,
    /// What the property is read as; absent = the column's type, or the type of `value`.
    pub value_type: Option<ValueType>,
    /// Compares text without regard to case.
    pub ignore_case: bool,
}

/// A measure over events, and how it compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventLeaf {
    /// The measure.
    pub events: EventMeasure,
    /// The comparison; absent only for `count`, where it means `gte 1`.
    pub comparison: Option<Comparison>,
}

/// A measure over the subject's events in a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventMeasure {
    /// Which types of events; `None` = any, also events without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event's own properties, all of which must hold.
    pub filter: Vec<EventCondition>,
    /// What is measured.
    pub measure: Measure,
    /// When.
    pub window: Window,
}

/// Which event types one entry of `event_type` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum EventTypePattern {
    /// This type.
    Exact(String),
    /// Every type that begins so: the entry had a trailing `*`.
    Prefix(String),
}

/// A node of `where`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventCondition {
    /// `{"logic": ..., "conditions": [...]}`.
    Group {
        /// How the conditions join.
        logic: Logic,
        /// At least one.
        conditions: Vec<Self>,
    },
    /// `{"at_least": n, "of": [...]}`.
    AtLeast {
        /// How many must hold.
        count: u64,
        /// Of these.
        of: Vec<Self>,
    },
    /// `{"not": node}`.
    Not(Box<Self>),
    /// A property of the event compares as stated.
    Test(AttributeTest),
}

/// A number, or a value, per subject over the events of a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// How many events.
    Count,
    /// On how many distinct local days.
    ActiveDays,
    /// In how many distinct local ISO weeks.
    ActiveWeeks,
    /// In how many distinct local months.
    ActiveMonths,
    /// Fractional days of 24 hours from the first event up to `as_of`.
    DaysSinceFirst,
    /// Fractional days of 24 hours from the last event up to `as_of`.
    DaysSinceLast,
    /// The sum of a property.
    Sum(PropertyPath),
    /// Its mean.
    Avg(PropertyPath),
    /// Its least value.
    Min(PropertyPath),
    /// Its greatest value.
    Max(PropertyPath),
    /// How many distinct values it has.
    CountDistinct(PropertyPath),
    /// Its value on the earliest event that carries it.
    First(PropertyPath),
    /// Its value on the latest event that carries it.
    Last(PropertyPath),
    /// Its most frequent value, the smallest of equals.
    MostFrequent(PropertyPath),
}

impl Measure {
    /// The word in a definition: a text, or the key of an object that holds the property.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::ActiveDays => "active_days",
            Self::ActiveWeeks => "active_weeks",
            Self::ActiveMonths => "active_months",
            Self::DaysSinceFirst => "days_since_first",
            Self::DaysSinceLast => "days_since_last",
            Self::Sum(_) => "sum",
            Self::Avg(_) => "avg",
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::CountDistinct(_) => "count_distinct",
            Self::First(_) => "first",
            Self::Last(_) => "last",
            Self::MostFrequent(_) => "most_frequent",
        }
    }

    /// The property that is measured, for the measures that have one.
    #[must_use]
    pub fn property(&self) -> Option<&PropertyPath> {
        match self {
            Self::Count
            | Self::ActiveDays
            | Self::ActiveWeeks
            | Self::ActiveMonths
            | Self::DaysSinceFirst
            | Self::DaysSinceLast => None,
            Self::Sum(path)
            | Self::Avg(path)
            | Self::Min(path)
            | Self::Max(path)
            | Self::CountDistinct(path)
            | Self::First(path)
            | Self::Last(path)
            | Self::MostFrequent(path) => Some(path),
        }
    }
}

/// Events of the subject follow a pattern over time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LifecycleLeaf {
    /// Which types of events; `None` = any, also events without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event's own properties, all of which must hold.
    pub filter: Vec<EventCondition>,
    /// What they do over time.
    pub pattern: LifecyclePattern,
}

/// What events do over time. Lengths count back from `as_of`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifecyclePattern {
    /// The earliest of them ever lies in the window.
    FirstTime(Window),
    /// At least one in `[as_of - active, as_of - quiet)`, none since.
    Stopped {
        /// How far back the activity is looked for.
        active: Duration,
        /// How long there was none.
        quiet: Duration,
    },
    /// At least one before `as_of - quiet`, none in `[as_of - quiet, as_of - recent)`, at least one since.
    Restarted {
        /// Since when, and up to `recent`, there was none.
        quiet: Duration,
        /// How recent the return is.
        recent: Duration,
    },
    /// In at least `at_least` of the last `periods` periods at least `count`; period i is
    /// `[as_of - (i + 1) * period, as_of - i * period)`.
    Regular {
        /// How long a period is.
        period: Duration,
        /// How many are looked at.
        periods: u64,
        /// In how many of them there must be events.
        at_least: u64,
        /// How many events there must be in such a period; `None` = 1.
        count: Option<u64>,
    },
}

impl LifecyclePattern {
    /// The key in a definition.
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::FirstTime(_) => "first_time",
            Self::Stopped { .. } => "stopped",
            Self::Restarted { .. } => "restarted",
            Self::Regular { .. } => "regular",
        }
    }
}

/// The user's events contain the steps in order, at strictly increasing times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SequenceLeaf {
    /// In this order; the last one may be absent.
    pub steps: Vec<SequenceStep>,
    /// How long after the first event the last one may be; of an absent step, how long after the event before it.
    pub within: Option<Duration>,
    /// Properties that are equal on all of the events.
    pub same: Vec<PropertyPath>,
    /// When.
    pub window: Window,
}

/// One event of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SequenceStep {
    /// Which types of events; `None` = any, also events without a type.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// Conditions on the event's own properties, all of which must hold.
    pub filter: Vec<EventCondition>,
    /// No such event follows.
    pub absent: bool,
}

/// One number compares with another: `left operator factor * right`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CompareLeaf {
    /// On the left.
    pub left: Quantity,
    /// `eq`, `neq`, `gt`, `gte`, `lt` or `lte`.
    pub operator: Operator,
    /// On the right.
    pub right: Quantity,
    /// What the right side is multiplied by; `None` = 1.
    pub factor: Option<Decimal>,
}

/// How often members of a user segment did something with the product.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignalLeaf {
    /// What they did.
    pub signal: Signal,
    /// The segment of users.
    pub segment_id: SegmentId,
    /// Which types of events say so; `None` = the one that the signal is named after.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// The property of an event that holds the id of the product; `None` = `product_id`.
    pub product_id_property: Option<PropertyPath>,
    /// When.
    pub window: Window,
    /// How the count compares; `None` = `gte 1`.
    pub comparison: Option<Comparison>,
}

/// What members of a segment did with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Bought it.
    Purchased,
    /// Looked at it.
    Viewed,
}

impl Signal {
    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Purchased => "purchased_by_segment",
            Self::Viewed => "viewed_by_segment",
        }
    }

    /// The type of the events that say so, unless the author names others.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Purchased => "order_completed",
            Self::Viewed => "product_viewed",
        }
    }
}

/// The subject ranks among the first by a number; those at the edge are all in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopLeaf {
    /// What is ranked.
    pub by: Quantity,
    /// Which end comes first.
    pub order: RankOrder,
    /// How many are in.
    pub share: TopShare,
}

/// A number per subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Measured over its events.
    Events(EventMeasure),
    /// Read from its row.
    Property {
        /// What is read.
        property: Property,
        /// As what; absent = a number.
        value_type: Option<ValueType>,
    },
}

/// Which end of a ranking comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub enum RankOrder {
    /// The greatest value.
    #[default]
    Descending,
    /// The least value.
    Ascending,
}

impl RankOrder {
    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Descending => "desc",
            Self::Ascending => "asc",
        }
    }
}

/// How many subjects of a ranking are in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum TopShare {
    /// So many.
    Count(u64),
    /// `ceil(percent * N / 100)` of the N subjects with a value.
    Percent(Decimal),
}

/// The subject falls into a stable pseudo-random share: `xxh3_64(salt ":" subject_id) / 2^64 < percent / 100`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SampleLeaf {
    /// How large the share is, from 0 to 100.
    pub percent: Decimal,
    /// What tells samples apart; `None` = the id of the segment.
    pub salt: Option<String>,
}

/// A metric that no source provides yet. What it says is carried, and never read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AiVisibilityLeaf {
    /// The metric.
    pub metric: Option<String>,
    /// How it would compare.
    pub comparison: Option<Comparison>,
}

/// Whether the subject must be in the other segment, or must not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SegmentLeaf {
    /// The other segment.
    pub segment_id: SegmentId,
    /// Must not be in it.
    pub negated: bool,
}
