//! Tests of numbers as comparisons of a column with constants, exact whatever the column stores.
//!
//! The ranges are those of [`crate::backend::bounds`]; those of numbers of two kinds become ranges of keys.

use std::ops::Bound;
use std::str::FromStr;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, ToPrimitive};
use datafusion::arrow::datatypes::i256;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, and, is_true, lit, not, or};

use super::form::{Form, Typed};
use super::number::{double_of_key, key_of_double, key_of_integer};
use super::quotient::compare_quotient;
use crate::backend::DAY_MICROS;
use crate::backend::bounds::{Range, digits_equal_to, integer_equal_to, nearest, ranges};
use crate::ir::NumberTest;
use crate::model::decimal::Decimal;

/// Whether a number passes the test: two-valued.
///
/// # Errors
/// When the value is no number.
pub(super) fn number_test(value: &Typed, test: &NumberTest) -> Result<Expr> {
    let ranges = ranges(test);
    let expr = &value.expr;
    Ok(match &value.form {
        Form::Integer => {
            let (least, greatest) = (BigInt::from(i64::MIN), BigInt::from(i64::MAX));
            let literal = |bound: &BigInt| bound.to_i64().map(|value| ScalarValue::Int64(Some(value)));
            integers(expr, &ranges, &BigDecimal::from(1), &(least, greatest), &literal)
        }
        Form::Unsigned => {
            let literal = |bound: &BigInt| bound.to_u64().map(|value| ScalarValue::UInt64(Some(value)));
            integers(expr, &ranges, &BigDecimal::from(1), &(BigInt::from(0), BigInt::from(u64::MAX)), &literal)
        }
        Form::Decimal { precision, scale } => {
            let greatest: BigInt = BigInt::from(10).pow(u32::from(*precision)) - 1;
            let unit = BigDecimal::new(BigInt::from(1), -i64::from(*scale));
            let literal = |bound: &BigInt| decimal_literal(bound, *precision, *scale);
            integers(expr, &ranges, &unit, &(-greatest.clone(), greatest), &literal)
        }
        Form::Age { as_of } => {
            // The age grows as the instant falls: as_of - t >= age is t <= as_of - age.
            let end = BigInt::from(as_of.as_microsecond());
            let ages = ranges.iter().map(|range| range.scaled(&BigDecimal::from(DAY_MICROS)));
            let instants =
                ages.map(|Range { low, high }| Range { low: high.map(|age| &end - age), high: low.map(|age| &end - age) });
            let literal =
                |bound: &BigInt| bound.to_i64().map(|value| ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())));
            let limits = (BigInt::from(i64::MIN), BigInt::from(i64::MAX));
            any_range(expr, instants.filter_map(|range| range.within(&limits)).collect(), &literal)
        }
        Form::Float => {
            any_range(expr, ranges.iter().map(Range::doubles).collect(), &|bound: &f64| Some(ScalarValue::Float64(Some(*bound))))
        }
        Form::Mixed => disjunction(ranges.iter().map(|range| mixed(expr, range)).collect()),
        Form::Average { count } => disjunction(ranges.iter().map(|range| average(expr, count, range)).collect()),
        Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored => {
            return plan_err!("a test of a number on {:?}", value.form);
        }
    })
}

/// The keys of the mixed numbers that equal a literal: at most an integer and a double.
pub(super) fn keys_equal_to(literal: &Decimal) -> Vec<i128> {
    let (integer, double) = (integer_equal_to(literal), nearest(literal));
    let double = double.is_finite().then(|| key_of_double(double));
    integer.map(key_of_integer).into_iter().chain(double).collect()
}

/// The digits of a literal as a DECIMAL of that type; `None` when it has more.
pub(super) fn decimal_equal_to(literal: &Decimal, precision: u8, scale: i8) -> Option<ScalarValue> {
    decimal_literal(&digits_equal_to(literal, precision, scale)?, precision, scale)
}

/// At least one holds; balanced, so that long lists do not nest deeply.
pub(super) fn disjunction(of: Vec<Expr>) -> Expr {
    balanced(of, or).unwrap_or_else(|| lit(false))
}

/// All hold.
pub(super) fn conjunction(of: Vec<Expr>) -> Expr {
    balanced(of, and).unwrap_or_else(|| lit(true))
}

fn balanced(mut of: Vec<Expr>, join: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    if of.len() > 1 {
        let rest = of.split_off(of.len() / 2);
        return Some(join(balanced(of, join)?, balanced(rest, join)?));
    }
    of.pop()
}

fn decimal_literal(digits: &BigInt, precision: u8, scale: i8) -> Option<ScalarValue> {
    if precision <= 38 {
        return digits.to_i128().map(|digits| ScalarValue::Decimal128(Some(digits), precision, scale));
    }
    i256::from_str(&digits.to_string()).ok().map(|digits| ScalarValue::Decimal256(Some(digits), precision, scale))
}

fn integers(
    expr: &Expr,
    ranges: &[Range<Decimal>],
    unit: &BigDecimal,
    limits: &(BigInt, BigInt),
    literal: &impl Fn(&BigInt) -> Option<ScalarValue>,
) -> Expr {
    any_range(expr, ranges.iter().filter_map(|range| range.scaled(unit).within(limits)).collect(), literal)
}

/// Whether the column lies in one of the ranges; single values become one list.
fn any_range<T: PartialOrd>(expr: &Expr, ranges: Vec<Range<T>>, literal: &impl Fn(&T) -> Option<ScalarValue>) -> Expr {
    let mut points = Vec::new();
    let mut tests = Vec::new();
    for range in ranges {
        match (&range.low, &range.high) {
            (Bound::Included(low), Bound::Included(high)) if low > high => {}
            (Bound::Included(low), Bound::Included(high)) if low == high => points.extend(literal(low).map(lit)),
            (Bound::Unbounded, Bound::Unbounded) => tests.push(expr.clone().is_not_null()),
            _ => {
                let low = match &range.low {
                    Bound::Included(low) => literal(low).map(|low| expr.clone().gt_eq(lit(low))),
                    Bound::Excluded(low) => literal(low).map(|low| expr.clone().gt(lit(low))),
                    Bound::Unbounded => None,
                };
                let high = match &range.high {
                    Bound::Included(high) => literal(high).map(|high| expr.clone().lt_eq(lit(high))),
                    Bound::Excluded(high) => literal(high).map(|high| expr.clone().lt(lit(high))),
                    Bound::Unbounded => None,
                };
                tests.push(is_true(conjunction(low.into_iter().chain(high).collect())));
            }
        }
    }
    match points.len() {
        0 => {}
        1 => tests.extend(points.pop().map(|point| is_true(expr.clone().eq(point)))),
        _ => tests.push(is_true(expr.clone().in_list(points, false))),
    }
    disjunction(tests)
}

/// Whether a key lies in the range: integers compare exactly, doubles with the nearest doubles of the bounds.
fn mixed(expr: &Expr, range: &Range<Decimal>) -> Expr {
    let limits = (BigInt::from(i64::MIN), BigInt::from(u64::MAX));
    let integers = range.scaled(&BigDecimal::from(1)).within(&limits).and_then(|range| {
        let low = match range.low {
            Bound::Included(low) => low.to_i128()?,
            Bound::Excluded(low) => low.to_i128()? + 1,
            Bound::Unbounded => i128::from(i64::MIN),
        };
        let high = match range.high {
            Bound::Included(high) => high.to_i128()?,
            Bound::Excluded(high) => high.to_i128()? - 1,
            Bound::Unbounded => i128::from(u64::MAX),
        };
        (low <= high).then(|| (key_of_integer(low), key_of_integer(high)))
    });
    let low = match &range.low {
        Bound::Included(low) => nearest(low),
        Bound::Excluded(low) => nearest(low).next_up(),
        Bound::Unbounded => f64::MIN,
    };
    let high = match &range.high {
        Bound::Included(high) => nearest(high),
        Bound::Excluded(high) => nearest(high).next_down(),
        Bound::Unbounded => f64::MAX,
    };
    let (low, high) = (low.max(f64::MIN), high.min(f64::MAX));
    let doubles = (low <= high).then(|| (key_of_double(low), key_of_double(high)));
    let between = |(low, high): (i128, i128)| {
        let key = |key| lit(ScalarValue::Decimal128(Some(key), 38, 0));
        if low == high { expr.clone().eq(key(low)) } else { expr.clone().between(key(low), key(high)) }
    };
    if let Some(hull) = hull(integers, doubles)
        && integers_within(hull) == integers
        && doubles_within(hull) == doubles
    {
        return is_true(between(hull));
    }
    let flag = expr.clone() % lit(ScalarValue::Decimal128(Some(2), 38, 0));
    let is_integer = flag.eq(lit(ScalarValue::Decimal128(Some(0), 38, 0)));
    let integers = integers.map(|keys| is_true(and(is_integer.clone(), between(keys))));
    let doubles = doubles.map(|keys| is_true(and(not(is_integer), between(keys))));
    disjunction(integers.into_iter().chain(doubles).collect())
}

fn hull(integers: Option<(i128, i128)>, doubles: Option<(i128, i128)>) -> Option<(i128, i128)> {
    match (integers, doubles) {
        (Some((low, high)), Some((other_low, other_high))) => Some((low.min(other_low), high.max(other_high))),
        (Some(keys), None) | (None, Some(keys)) => Some(keys),
        (None, None) => None,
    }
}

/// The keys of the least and the greatest integer of 64 bits whose keys lie in the range.
fn integers_within((low, high): (i128, i128)) -> Option<(i128, i128)> {
    let (least, greatest) = (i128::from(i64::MIN), i128::from(u64::MAX));
    // The number of integers below a key: keys ascend with the integers.
    let below = |key: i128| {
        let (mut from, mut to) = (least, greatest + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            if key_of_integer(middle) < key { from = middle + 1 } else { to = middle }
        }
        from
    };
    let (first, last) = (below(low), below(high + 1) - 1);
    (first <= last).then(|| (key_of_integer(first), key_of_integer(last)))
}

/// The keys of the least and the greatest double whose keys lie in the range.
fn doubles_within((low, high): (i128, i128)) -> Option<(i128, i128)> {
    let at = |key| double_of_key(key);
    let first = if key_of_double(at(low)) < low { at(low).next_up() } else { at(low) };
    let last = if key_of_double(at(high)) > high { at(high).next_down() } else { at(high) };
    (first <= last && first.is_finite() && last.is_finite()).then(|| (key_of_double(first), key_of_double(last)))
}

/// Whether sum / count lies in the range.
fn average(sum: &Expr, count: &Expr, range: &Range<Decimal>) -> Expr {
    let compared = |bound: &Decimal| compare_quotient(sum.clone(), count.clone(), bound);
    if let (Bound::Included(low), Bound::Included(high)) = (&range.low, &range.high)
        && low == high
    {
        return is_true(compared(low).eq(lit(0i8)));
    }
    let low = match &range.low {
        Bound::Included(low) => Some(compared(low).gt_eq(lit(0i8))),
        Bound::Excluded(low) => Some(compared(low).gt(lit(0i8))),
        Bound::Unbounded => None,
    };
    let high = match &range.high {
        Bound::Included(high) => Some(compared(high).lt_eq(lit(0i8))),
        Bound::Excluded(high) => Some(compared(high).lt(lit(0i8))),
        Bound::Unbounded => None,
    };
    is_true(conjunction(low.into_iter().chain(high).collect()))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::sync::Arc;

    use datafusion::arrow::array::{AsArray, Decimal128Array};
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::col;

    use super::*;
    use crate::backend::datafusion::session;
    use crate::backend::tables::EngineSettings;
    use crate::ir::Comparator;

    /// A stored number, and how it compares with a literal.
    #[derive(Debug, Clone, Copy)]
    enum Stored {
        Integer(i128),
        Double(f64),
    }

    impl Stored {
        fn key(self) -> i128 {
            match self {
                Self::Integer(value) => key_of_integer(value),
                Self::Double(value) => key_of_double(value),
            }
        }

        fn compare(self, literal: &Decimal) -> Ordering {
            match self {
                Self::Integer(value) => BigDecimal::from(value).cmp(literal.as_big()),
                Self::Double(value) => value.partial_cmp(&literal.to_f64()).unwrap(),
            }
        }
    }

    /// Around every edge: zero, the integers that doubles skip, the ends of 64 bits, and beyond.
    fn stored() -> Vec<Stored> {
        let edges = [0, 1, 1 << 53, 1 << 54, (1 << 54) + 4, (1 << 62) + 512, 1 << 63, 1 << 64];
        let near = edges.iter().flat_map(|edge: &i128| (-5..=5).flat_map(move |step| [edge + step, -edge + step]));
        let integers: Vec<i128> = near.filter(|value| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(value)).collect();
        let doubles = edges.iter().flat_map(|edge| {
            let double = *edge as f64;
            [double, double.next_up(), double.next_down(), -double, (-double).next_up(), double + 0.5]
        });
        let extremes = [f64::MIN, f64::MAX, 5e-324, -5e-324, 0.1, 2.5, -2.5, 1e300];
        let doubles = doubles.chain(extremes).map(|value| Stored::Double(value + 0.0));
        integers.into_iter().map(Stored::Integer).chain(doubles).collect()
    }

    fn literals() -> Vec<Decimal> {
        let written = [
            "0",
            "0.5",
            "-0.5",
            "1",
            "2.5",
            "-2.5",
            "0.1",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.4",
            "9007199254740994.7",
            "9007199254740995",
            "18014398509481984",
            "18014398509481985",
            "18014398509481985.5",
            "18014398509481986",
            "18014398509481986.5",
            "18014398509481987",
            "-18014398509481986",
            "-18014398509481985.5",
            "4611686018427388416",
            "4611686018427388417.5",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551615",
            "18446744073709551615.5",
            "18446744073709551616",
            "1e20",
            "-1e20",
            "1e300",
            "1e400",
            "-1e400",
            "1e-400",
            "-1e-400",
        ];
        written.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Which of the keys pass.
    fn passing(keys: &[i128], test: &NumberTest) -> Vec<bool> {
        let column = Decimal128Array::from(keys.to_vec()).with_precision_and_scale(38, 0).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("key", crate::backend::datafusion::number::key_type(), true)]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
        let expr = number_test(&Typed { expr: col("key"), form: Form::Mixed }, test).unwrap();
        let context = session(&EngineSettings::default()).unwrap();
        let physical = context.create_physical_expr(expr, &DFSchema::try_from(schema).unwrap()).unwrap();
        let result = physical.evaluate(&rows).unwrap().into_array(keys.len()).unwrap();
        result.as_boolean().values().iter().collect()
    }

    #[test]
    fn mixed_numbers_compare_as_what_they_are() {
        let stored = stored();
        let keys: Vec<i128> = stored.iter().map(|number| number.key()).collect();
        let holds = |comparator, ordering: Ordering| match comparator {
            Comparator::Eq => ordering.is_eq(),
            Comparator::Gt => ordering.is_gt(),
            Comparator::Gte => ordering.is_ge(),
            Comparator::Lt => ordering.is_lt(),
            Comparator::Lte => ordering.is_le(),
        };
        for literal in literals() {
            for comparator in [Comparator::Eq, Comparator::Gt, Comparator::Gte, Comparator::Lt, Comparator::Lte] {
                let passing = passing(&keys, &NumberTest::Compare(comparator, literal.clone()));
                for (number, passes) in stored.iter().zip(passing) {
                    assert_eq!(passes, holds(comparator, number.compare(&literal)), "{number:?} {comparator:?} {literal}");
                }
            }
        }
    }

    #[test]
    fn ranges_and_lists_of_mixed_numbers_hold_what_their_bounds_hold() {
        let stored = stored();
        let keys: Vec<i128> = stored.iter().map(|number| number.key()).collect();
        let literals = literals();
        for pair in literals.windows(2) {
            let [one, other] = pair else { continue };
            let (low, high) = (one.min(other), one.max(other));
            let between = passing(&keys, &NumberTest::Between(low.clone(), high.clone()));
            let listed = passing(&keys, &NumberTest::OneOf(vec![low.clone(), high.clone()]));
            for ((number, between), listed) in stored.iter().zip(between).zip(listed) {
                let (from, to) = (number.compare(low), number.compare(high));
                assert_eq!(between, from.is_ge() && to.is_le(), "{number:?} between {low} and {high}");
                assert_eq!(listed, from.is_eq() || to.is_eq(), "{number:?} in {low}, {high}");
            }
        }
    }
}
