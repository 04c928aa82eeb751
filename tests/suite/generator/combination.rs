//! What must occur: every leaf with every operator of every value type.

use segmenta::model::condition::Subject;
use segmenta::model::operator::{Operator, ValueType};
use segmenta::model::property::DatePart;

/// One thing that a definition can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Combination {
    /// A stored value compares as stated.
    Value { place: Place, value_type: ValueType, operator: Operator },
    /// A number derived from stored values compares as stated.
    Derived { place: Place, derived: Derived, operator: Operator },
    /// A measure of the events themselves compares as stated.
    Rows { measure: RowMeasure, operator: Operator },
    /// A measure of a property that is a number compares as stated.
    Number { measure: &'static str, operator: Operator },
    /// Always.
    Everyone,
    /// A pattern of events over time.
    Lifecycle(Pattern),
    /// A pseudo-random share.
    Sample,
    /// The first by an attribute of the subject, or by a measure.
    Top(Ranked),
    /// A number beside another.
    Compare(Ranked),
    /// Events in an order.
    Sequence(Steps),
    /// What members of a segment did with a product.
    Signal(&'static str, ProductId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Steps {
    Any,
    Within,
    Same,
    Absent,
}

/// Where an event names its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProductId {
    /// Where the table says.
    Mapped,
    /// In some other property.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ranked {
    Attribute(Subject),
    Derived(Subject),
    Rows(RowMeasure),
    Number(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    FirstTime,
    Stopped,
    Restarted,
    Regular,
}

/// Where a property is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the subject's own row.
    Attribute(Subject),
    /// In `where`.
    Where,
    /// As a measure over events.
    Value(ValueMeasure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ValueMeasure {
    First,
    Last,
    MostFrequent,
}

impl ValueMeasure {
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::MostFrequent => "most_frequent",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Derived {
    DaysSince,
    DaysToAnniversary,
    Part(DatePart),
    Mean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowMeasure {
    Count,
    ActiveDays,
    ActiveWeeks,
    ActiveMonths,
    DaysSinceFirst,
    DaysSinceLast,
}

impl RowMeasure {
    const ALL: [Self; 6] =
        [Self::Count, Self::ActiveDays, Self::ActiveWeeks, Self::ActiveMonths, Self::DaysSinceFirst, Self::DaysSinceLast];

    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::ActiveDays => "active_days",
            Self::ActiveWeeks => "active_weeks",
            Self::ActiveMonths => "active_months",
            Self::DaysSinceFirst => "days_since_first",
            Self::DaysSinceLast => "days_since_last",
        }
    }
}

/// Everything, in a fixed order.
pub(crate) fn all() -> Vec<Combination> {
    let places = [
        Place::Attribute(Subject::User),
        Place::Attribute(Subject::Product),
        Place::Where,
        Place::Value(ValueMeasure::First),
        Place::Value(ValueMeasure::Last),
        Place::Value(ValueMeasure::MostFrequent),
    ];
    let numbers = ValueType::Number.operators();
    let mut found = vec![Combination::Everyone, Combination::Sample];
    let mut ranked: Vec<Ranked> = RowMeasure::ALL.map(Ranked::Rows).to_vec();
    ranked.extend(["sum", "avg", "min", "max", "count_distinct", "first", "last", "most_frequent"].map(Ranked::Number));
    for subject in [Subject::User, Subject::Product] {
        ranked.extend([Ranked::Attribute(subject), Ranked::Derived(subject)]);
    }
    found.extend(ranked.iter().copied().map(Combination::Top));
    found.extend(ranked.into_iter().map(Combination::Compare));
    found.extend([Steps::Any, Steps::Within, Steps::Same, Steps::Absent].map(Combination::Sequence));
    for signal in ["purchased_by_segment", "viewed_by_segment"] {
        found.extend([ProductId::Mapped, ProductId::Other].map(|product| Combination::Signal(signal, product)));
    }
    found.extend([Pattern::FirstTime, Pattern::Stopped, Pattern::Restarted, Pattern::Regular].map(Combination::Lifecycle));
    for place in places {
        // Single values are chosen among events, not arrays.
        let chosen = matches!(place, Place::Value(_));
        for value_type in ValueType::ALL.into_iter().filter(|value_type| !chosen || *value_type != ValueType::Array) {
            let operators = value_type.operators().iter();
            found.extend(operators.map(|&operator| Combination::Value { place, value_type, operator }));
        }
    }
    let parts = DatePart::ALL.map(Derived::Part);
    for derived in [Derived::DaysSince, Derived::DaysToAnniversary, Derived::Mean].into_iter().chain(parts) {
        for place in [Place::Attribute(Subject::User), Place::Attribute(Subject::Product), Place::Where] {
            found.extend(numbers.iter().map(|&operator| Combination::Derived { place, derived, operator }));
        }
    }
    for measure in RowMeasure::ALL {
        found.extend(numbers.iter().map(|&operator| Combination::Rows { measure, operator }));
    }
    for measure in ["sum", "avg", "min", "max", "count_distinct"] {
        found.extend(numbers.iter().map(|&operator| Combination::Number { measure, operator }));
    }
    found
}
