//! Tests of numbers as ranges of what a column holds, exact whatever it holds: of whole units, where a bound of 2.5 is one of 2 or 3, and of
//! doubles, where it is the nearest double. No engine is in this: each prints the ranges in its own way.

use std::ops::Bound;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};

use crate::ir::{Comparator, NumberTest};
use crate::model::decimal::Decimal;

/// Values from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range<T> {
    pub(super) low: Bound<T>,
    pub(super) high: Bound<T>,
}

/// The least and the greatest value of a column of whole units.
pub(super) type Limits = (BigInt, BigInt);

/// The ranges in one of which a number passes the test.
pub(super) fn ranges(test: &NumberTest) -> Vec<Range<Decimal>> {
    let point = |value: &Decimal| Range { low: Bound::Included(value.clone()), high: Bound::Included(value.clone()) };
    match test {
        NumberTest::Compare(comparator, value) => {
            let value = value.clone();
            vec![match comparator {
                Comparator::Eq => point(&value),
                Comparator::Gt => Range { low: Bound::Excluded(value), high: Bound::Unbounded },
                Comparator::Gte => Range { low: Bound::Included(value), high: Bound::Unbounded },
                Comparator::Lt => Range { low: Bound::Unbounded, high: Bound::Excluded(value) },
                Comparator::Lte => Range { low: Bound::Unbounded, high: Bound::Included(value) },
            }]
        }
        NumberTest::Between(low, high) => vec![Range { low: Bound::Included(low.clone()), high: Bound::Included(high.clone()) }],
        NumberTest::OneOf(values) => values.iter().map(point).collect(),
    }
}

/// The double nearest to a literal, never -0.0.
pub(super) fn nearest(value: &Decimal) -> f64 {
    value.to_f64() + 0.0
}

impl Range<Decimal> {
    /// The range in whole units of which a number has `unit`.
    pub(super) fn scaled(&self, unit: &BigDecimal) -> Range<BigInt> {
        let round = |value: &Decimal, mode| (value.as_big() * unit).with_scale_round(0, mode).into_bigint_and_exponent().0;
        Range {
            low: match &self.low {
                Bound::Included(value) => Bound::Included(round(value, RoundingMode::Ceiling)),
                Bound::Excluded(value) => Bound::Excluded(round(value, RoundingMode::Floor)),
                Bound::Unbounded => Bound::Unbounded,
            },
            high: match &self.high {
                Bound::Included(value) => Bound::Included(round(value, RoundingMode::Floor)),
                Bound::Excluded(value) => Bound::Excluded(round(value, RoundingMode::Ceiling)),
                Bound::Unbounded => Bound::Unbounded,
            },
        }
    }

    /// The range of doubles.
    pub(super) fn doubles(&self) -> Range<f64> {
        Range { low: self.low.as_ref().map(nearest), high: self.high.as_ref().map(nearest) }
    }
}

impl Range<BigInt> {
    /// The part of the range that a column can hold: bounds that it cannot reach are none, a range that it cannot reach is `None`.
    pub(super) fn within(self, (least, greatest): &Limits) -> Option<Self> {
        let low = match self.low {
            Bound::Included(low) if low > *greatest => return None,
            Bound::Excluded(low) if low >= *greatest => return None,
            Bound::Included(low) if low <= *least => Bound::Unbounded,
            Bound::Excluded(low) if low < *least => Bound::Unbounded,
            low => low,
        };
        let high = match self.high {
            Bound::Included(high) if high < *least => return None,
            Bound::Excluded(high) if high <= *least => return None,
            Bound::Included(high) if high >= *greatest => Bound::Unbounded,
            Bound::Excluded(high) if high > *greatest => Bound::Unbounded,
            high => high,
        };
        Some(Self { low, high })
    }
}

impl<T: PartialOrd> Range<T> {
    /// Whether no value is in it, whatever lies between its bounds.
    pub(super) fn is_empty(&self) -> bool {
        matches!((&self.low, &self.high), (Bound::Included(low), Bound::Included(high)) if low > high)
    }

    /// The only value that is in it.
    pub(super) fn point(&self) -> Option<&T> {
        match (&self.low, &self.high) {
            (Bound::Included(low), Bound::Included(high)) if low == high => Some(low),
            _ => None,
        }
    }
}

/// The unsigned integer that a literal is.
pub(super) fn unsigned_equal_to(literal: &Decimal) -> Option<u64> {
    let (floor, exact) = literal.scaled_floor(0);
    if exact { floor.to_u64() } else { None }
}

/// The exact integer of 64 bits, signed or not, that a literal is.
pub(super) fn integer_equal_to(literal: &Decimal) -> Option<i128> {
    literal.to_i64().map(i128::from).or_else(|| unsigned_equal_to(literal).map(i128::from))
}

/// The digits of a literal with so many after the point; `None` when it has more of those, or more than `precision` in all.
pub(super) fn digits_equal_to(literal: &Decimal, precision: u8, scale: i8) -> Option<BigInt> {
    let (digits, exact) = literal.scaled_floor(i64::from(scale));
    let fits = digits.magnitude() < BigInt::from(10).pow(u32::from(precision)).magnitude();
    (exact && fits).then_some(digits)
}
