//! Whether tests of one value exclude each other: no value, and no missing one, passes all of them.
//!
//! Values fall into cells that no test can tell apart: each constant, and what lies between two of them. Nothing passes when no cell
//! does. A literal compares exactly with integers and decimals and as the nearest double with floats, so that both ways must agree.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::check::Probes;
use crate::ir::{Aggregate, Comparator, DateTest, ElementsTest, Feature, NumberTest, Test, TextMatch, TextTest, Value, fold_case};
use crate::model::decimal::Decimal;
use crate::model::property::DatePart;
use crate::model::window::{DateExpr, Interval};
use crate::plan::bind_date;

/// A test that must pass, or must not.
pub(super) type Literal<'a> = (bool, &'a Test);

/// Which values there are at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Domain {
    /// There may be none.
    missing: bool,
    /// Whole numbers only.
    whole: bool,
    least: Option<Decimal>,
    greatest: Option<Decimal>,
}

/// Values of which nothing is known.
const ANY: Domain = Domain { missing: true, whole: false, least: None, greatest: None };

impl Domain {
    pub(super) fn of_feature(feature: &Feature) -> Self {
        let zero = || Some(Decimal::from(0u64));
        match feature {
            Feature::Attribute(value) => Self::of_value(value),
            Feature::Hash { .. } => Self { missing: false, whole: true, least: zero(), greatest: Some(Decimal::from(u64::MAX)) },
            Feature::Measure(measure) => Self::of_aggregate(&measure.aggregate),
            Feature::Signal(signal) => Self::of_aggregate(&signal.measure.aggregate),
            Feature::Sequence(_) => Self { missing: false, ..ANY },
        }
    }

    fn of_aggregate(aggregate: &Aggregate) -> Self {
        let zero = || Some(Decimal::from(0u64));
        match aggregate {
            Aggregate::Count | Aggregate::Active(_) | Aggregate::CountDistinct(_) => {
                Self { missing: false, whole: true, least: zero(), greatest: None }
            }
            Aggregate::DaysSinceFirst | Aggregate::DaysSinceLast => Self { least: zero(), ..ANY },
            Aggregate::Sum(_) => Self { missing: false, ..ANY },
            Aggregate::FirstTime
            | Aggregate::Avg(_)
            | Aggregate::Min(_)
            | Aggregate::Max(_)
            | Aggregate::First(..)
            | Aggregate::Last(..)
            | Aggregate::MostFrequent(..) => ANY,
        }
    }

    pub(super) fn of_value(value: &Value) -> Self {
        let within = |least: i64, greatest: i64| {
            let (least, greatest) = (Some(Decimal::from(least)), Some(Decimal::from(greatest)));
            Self { missing: true, whole: true, least, greatest }
        };
        match value {
            Value::Part(DatePart::Month, _) => within(1, 12),
            Value::Part(DatePart::Day, _) => within(1, 31),
            Value::Part(DatePart::Weekday, _) => within(1, 7),
            Value::Part(DatePart::Hour, _) => within(0, 23),
            Value::DaysToAnniversary(_) => within(0, 366),
            Value::Part(DatePart::Year, _) => Self { whole: true, ..ANY },
            Value::Stored(..) | Value::DaysSince(_) | Value::Mean(_) => ANY,
        }
    }
}

/// Whether no value of the domain passes the tests, nor its absence.
pub(super) fn nothing_passes(tests: &[Literal<'_>], domain: &Domain, probes: &Probes) -> bool {
    let Some(kind) = tests.iter().map(|(_, test)| *test).find(|test| **test != Test::IsSet) else {
        return has_both(tests);
    };
    if domain.missing && tests.iter().all(|(must, _)| !must) {
        return false;
    }
    match kind {
        Test::Number(_) if domain.whole => no_number_passes(tests, domain, Decimal::clone),
        Test::Number(_) => no_number_passes(tests, domain, Decimal::clone) && no_number_passes(tests, domain, Decimal::to_f64),
        Test::Text(_) => no_text_passes(tests),
        Test::Boolean(_) => no_boolean_passes(tests),
        Test::Date(_) => no_date_passes(tests, probes),
        Test::Elements(_) => no_array_passes(tests),
        Test::IsSet => false,
    }
}

fn has_both(tests: &[Literal<'_>]) -> bool {
    tests.iter().any(|(must, _)| *must) && tests.iter().any(|(must, _)| !must)
}

/// The cells that pass a test. Constant number `i` of the sorted ones is cell `2 * i + 1`; the cell before it holds what is less.
enum Cells {
    Range(RangeInclusive<usize>),
    Some(BTreeSet<usize>),
}

impl Cells {
    fn contains(&self, cell: usize) -> bool {
        match self {
            Self::Range(range) => range.contains(&cell),
            Self::Some(cells) => cells.contains(&cell),
        }
    }
}

/// Whether no present number of the domain passes, numbers being told apart by `key`.
fn no_number_passes<K: PartialOrd>(tests: &[Literal<'_>], domain: &Domain, key: impl Fn(&Decimal) -> K) -> bool {
    let mut constants: Vec<(K, &Decimal)> = domain.least.iter().chain(&domain.greatest).map(|bound| (key(bound), bound)).collect();
    for (_, test) in tests {
        match test {
            Test::Number(NumberTest::Compare(_, value)) => constants.push((key(value), value)),
            Test::Number(NumberTest::Between(low, high)) => constants.extend([(key(low), low), (key(high), high)]),
            Test::Number(NumberTest::OneOf(values)) => constants.extend(values.iter().map(|value| (key(value), value))),
            Test::IsSet => {}
            Test::Text(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_) => return false,
        }
    }
    let compare = |a: &K, b: &K| a.partial_cmp(b).unwrap_or(Ordering::Equal);
    constants.sort_by(|(a, _), (b, _)| compare(a, b));
    constants.dedup_by(|(a, _), (b, _)| compare(a, b) == Ordering::Equal);
    let end = 2 * constants.len();
    let cell = |value: &Decimal| {
        let value = key(value);
        // Every value that is asked for is one of the constants.
        constants.binary_search_by(|(constant, _)| compare(constant, &value)).map_or(0, |index| 2 * index + 1)
    };
    let cells = |test: &Test| match test {
        Test::Number(NumberTest::Compare(by, value)) => {
            let at = cell(value);
            Cells::Range(match by {
                Comparator::Eq => at..=at,
                Comparator::Gt => at + 1..=end,
                Comparator::Gte => at..=end,
                Comparator::Lt => 0..=at - 1,
                Comparator::Lte => 0..=at,
            })
        }
        Test::Number(NumberTest::Between(low, high)) => Cells::Range(cell(low)..=cell(high)),
        Test::Number(NumberTest::OneOf(values)) => Cells::Some(values.iter().map(cell).collect()),
        Test::IsSet | Test::Text(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_) => Cells::Range(0..=end),
    };
    let passing: Vec<(bool, Cells)> = tests.iter().map(|(must, test)| (*must, cells(test))).collect();
    let (first, last) = (domain.least.as_ref().map_or(0, cell), domain.greatest.as_ref().map_or(end, cell));
    let decimals: Vec<&Decimal> = constants.iter().map(|(_, constant)| *constant).collect();
    (first..=last)
        .filter(|&cell| !domain.whole || holds_whole(&decimals, cell))
        .all(|cell| passing.iter().any(|(must, cells)| cells.contains(cell) != *must))
}

/// Whether a whole number lies in a cell.
fn holds_whole(constants: &[&Decimal], cell: usize) -> bool {
    let index = cell / 2;
    if cell % 2 == 1 {
        return constants.get(index).is_none_or(|constant| constant.scaled_floor(0).1);
    }
    let below = index.checked_sub(1).and_then(|below| constants.get(below));
    let (Some(below), Some(above)) = (below, constants.get(index)) else { return true };
    let next = below.scaled_floor(0).0 + 1;
    let (floor, exact) = above.scaled_floor(0);
    next < floor || (next == floor && !exact)
}

/// Whether no present text passes, as far as that can be told from texts that are listed.
fn no_text_passes(tests: &[Literal<'_>]) -> bool {
    let lists = tests.iter().filter_map(|(must, test)| match test {
        Test::Text(TextTest { matches: TextMatch::OneOf(texts), ignore_case }) if *must => Some((texts, *ignore_case)),
        Test::IsSet | Test::Text(_) | Test::Number(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_) => None,
    });
    // A text stands for itself, a folded one for all that fold to it.
    if let Some((texts, folded)) = lists.min_by_key(|(_, folded)| *folded) {
        return texts.iter().all(|text| surely_fails(text, folded, tests));
    }
    let must_be_empty = tests.iter().any(|(must, test)| !must && **test == Test::IsSet);
    must_be_empty && surely_fails("", false, tests)
}

fn surely_fails(text: &str, folded: bool, tests: &[Literal<'_>]) -> bool {
    tests.iter().any(|(must, test)| text_passes(text, folded, test) == Some(!must))
}

/// Whether a text passes; `None` when that cannot be told.
fn text_passes(text: &str, folded: bool, test: &Test) -> Option<bool> {
    match test {
        Test::IsSet => Some(!text.is_empty()),
        Test::Text(TextTest { matches, ignore_case }) => {
            if folded && !ignore_case {
                return None;
            }
            let text = if *ignore_case { fold_case(text) } else { text.to_owned() };
            match matches {
                TextMatch::OneOf(texts) => Some(texts.binary_search(&text).is_ok()),
                TextMatch::Contains(part) => Some(text.contains(part.as_str())),
                TextMatch::StartsWith(part) => Some(text.starts_with(part.as_str())),
                TextMatch::EndsWith(part) => Some(text.ends_with(part.as_str())),
                TextMatch::Pattern(_) => None,
            }
        }
        Test::Number(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_) => None,
    }
}

fn no_boolean_passes(tests: &[Literal<'_>]) -> bool {
    let passes = |value: bool, test: &Test| match test {
        Test::Boolean(asked) => *asked == value,
        Test::IsSet | Test::Text(_) | Test::Number(_) | Test::Date(_) | Test::Elements(_) => true,
    };
    [true, false].into_iter().all(|value| tests.iter().any(|(must, test)| passes(value, test) != *must))
}

/// Whether no present instant passes: dates that stand fast are compared at once, relative ones whenever they may be looked at. One
/// kind is never compared with the other, which time may bring together.
fn no_date_passes(tests: &[Literal<'_>], probes: &Probes) -> bool {
    let mut dates: Vec<&DateExpr> = Vec::new();
    for (_, test) in tests {
        match test {
            Test::Date(DateTest::Compare(_, date)) => dates.push(date),
            Test::Date(DateTest::Between(low, high)) => dates.extend([low, high]),
            Test::IsSet => {}
            Test::Date(DateTest::Within(_)) | Test::Text(_) | Test::Number(_) | Test::Boolean(_) | Test::Elements(_) => {
                return false;
            }
        }
    }
    let calendars = if dates.iter().all(|date| date.is_absolute()) {
        probes.calendars().get(..1).unwrap_or_default()
    } else if dates.iter().any(|date| date.is_absolute()) {
        return false;
    } else {
        probes.calendars()
    };
    let bind = |test: &Test, calendar| match test {
        Test::Date(date) => bind_date(date, calendar),
        Test::IsSet | Test::Text(_) | Test::Number(_) | Test::Boolean(_) | Test::Elements(_) => Interval { from: None, to: None },
    };
    !calendars.is_empty()
        && calendars.iter().all(|calendar| {
            let intervals: Vec<(bool, Interval)> = tests.iter().map(|(must, test)| (*must, bind(test, calendar))).collect();
            no_instant_passes(&intervals)
        })
}

/// The ends of the intervals, and an instant before all of them, stand for all instants: nothing changes between two ends.
fn no_instant_passes(intervals: &[(bool, Interval)]) -> bool {
    let ends = intervals.iter().flat_map(|(_, interval)| interval.from.into_iter().chain(interval.to)).map(Some);
    let contains = |interval: &Interval, instant: Option<jiff::Timestamp>| match instant {
        None => interval.from.is_none(),
        Some(instant) => interval.from.is_none_or(|from| from <= instant) && interval.to.is_none_or(|to| instant < to),
    };
    std::iter::once(None).chain(ends).all(|instant| intervals.iter().any(|(must, interval)| contains(interval, instant) != *must))
}

/// Whether an array that must pass one of the tests cannot but pass one that it must not.
fn no_array_passes(tests: &[Literal<'_>]) -> bool {
    let asked = tests.iter().filter(|(must, _)| *must);
    asked.map(|(_, asked)| *asked).any(|asked| tests.iter().any(|(must, refused)| !must && implies(asked, refused)))
}

fn implies(one: &Test, other: &Test) -> bool {
    let (Test::Elements(one), other) = (one, other) else { return false };
    match (one, other) {
        // No list of elements is empty, so that an array that holds one of them is not.
        (_, Test::IsSet) => true,
        (
            ElementsTest::Any { of: few, ignore_case: one_folded },
            Test::Elements(ElementsTest::Any { of: many, ignore_case: folded }),
        ) => one_folded == folded && few.iter().all(|element| many.binary_search(element).is_ok()),
        (
            ElementsTest::All { of: many, ignore_case: one_folded },
            Test::Elements(ElementsTest::All { of: few, ignore_case: folded }),
        ) => one_folded == folded && few.iter().all(|element| many.binary_search(element).is_ok()),
        (
            ElementsTest::All { of: one, ignore_case: one_folded },
            Test::Elements(ElementsTest::Any { of: other, ignore_case: folded }),
        ) => one_folded == folded && one.iter().any(|element| other.binary_search(element).is_ok()),
        (ElementsTest::Any { .. }, Test::Elements(ElementsTest::All { .. }))
        | (_, Test::Text(_) | Test::Number(_) | Test::Boolean(_) | Test::Date(_)) => false,
    }
}
