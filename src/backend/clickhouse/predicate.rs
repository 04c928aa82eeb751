//! Tests and formulas as SQL. Each test is two-valued, so that NULL never reaches a NOT.

use std::ops::Bound;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use super::form::{Form, Typed, integer_limits};
use super::sql::{Expr, formula};
use crate::backend::DAY_MICROS;
use crate::backend::bounds::{Range, digits_equal_to, integer_equal_to, nearest, ranges, unsigned_equal_to};
use crate::check::Element;
use crate::ir::{Aggregate, ElementsTest, Formula, NumberTest, Test, TextMatch, TextTest, Value};
use crate::model::decimal::Decimal;
use crate::model::window::Interval;

/// A test that does not suit the form of a value: the plan is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the test {test} on a value stored as {form:?}")]
pub(super) struct Unsuited {
    test: String,
    form: Form,
}

impl Unsuited {
    pub(super) fn new(test: impl std::fmt::Debug, form: &Form) -> Self {
        Self { test: format!("{test:?}"), form: form.clone() }
    }

    /// A value that no row has.
    pub(super) fn of_value(value: &Value) -> Self {
        Self::new(value, &Form::Text)
    }

    /// An aggregate of what is no number.
    pub(super) fn of_aggregate(aggregate: &Aggregate) -> Self {
        Self::new(aggregate, &Form::Text)
    }

    /// A feature that was not computed.
    pub(super) fn of_feature(feature: usize) -> Self {
        Self::new(format!("of feature {feature}"), &Form::Text)
    }
}

/// Whether the value passes the test: two-valued.
///
/// # Errors
/// When the test does not suit the value.
pub(super) fn test(value: &Typed, test: &Test<Interval>) -> Result<Expr, Unsuited> {
    let expr = &value.expr;
    match (test, &value.form) {
        (Test::IsSet, form) => Ok(is_set(expr, form)),
        (Test::Number(number), _) => number_test(value, number),
        (Test::Elements(elements), Form::List(element)) => elements_test(expr, element, elements),
        (Test::Text(text), Form::Text) => Ok(text_test(expr, text)),
        (Test::Boolean(true), Form::Boolean) => Ok(formula!("ifNull({0} = 1, 0)", expr)),
        (Test::Boolean(false), Form::Boolean) => Ok(formula!("ifNull({0} = 0, 0)", expr)),
        (Test::Date(interval), Form::Instant) => Ok(in_interval(expr, *interval)),
        (Test::Text(_) | Test::Boolean(_) | Test::Date(_) | Test::Elements(_), form) => Err(Unsuited::new(test, form)),
    }
}

/// The formula over two-valued leaves.
///
/// # Errors
/// What `leaf` returns.
pub(super) fn logic<L, E>(of: &Formula<L>, leaf: &mut impl FnMut(&L) -> Result<Expr, E>) -> Result<Expr, E> {
    let mut each = |of: &[Formula<L>]| of.iter().map(|inner| logic(inner, leaf)).collect::<Result<Vec<_>, E>>();
    Ok(match of {
        Formula::Constant(true) => Expr::all([]),
        Formula::Constant(false) => Expr::any([]),
        Formula::All(of) => Expr::all(each(of)?),
        Formula::Any(of) => Expr::any(each(of)?),
        Formula::AtLeast { count, of } => formula!("({0} >= {1})", Expr::sum(each(of)?), Expr::number("UInt64", count)),
        Formula::Not(inner) => formula!("(NOT {0})", logic(inner, leaf)?),
        Formula::Leaf(inner) => leaf(inner)?,
    })
}

/// Whether microseconds since 1970 lie in the interval: two-valued.
pub(super) fn in_interval(instant: &Expr, interval: Interval) -> Expr {
    let bound = |at: jiff::Timestamp| Expr::number("Int64", at.as_microsecond());
    let from = interval.from.map(|from| formula!("ifNull({0} >= {1}, 0)", instant, bound(from)));
    let to = interval.to.map(|to| formula!("ifNull({0} < {1}, 0)", instant, bound(to)));
    if from.is_none() && to.is_none() {
        return formula!("isNotNull({0})", instant);
    }
    Expr::all(from.into_iter().chain(to))
}

/// Whether a text passes the test: two-valued.
pub(super) fn text_test(text: &Expr, test: &TextTest) -> Expr {
    let text = if test.ignore_case { folded(text) } else { text.clone() };
    match &test.matches {
        TextMatch::OneOf(values) => match values.as_slice() {
            [value] => formula!("ifNull({0} = {1}, 0)", text, Expr::text(value)),
            values => formula!("ifNull(has({1}, {0}), 0)", text, Expr::texts(values.iter().map(String::as_str))),
        },
        TextMatch::Contains(part) => formula!("ifNull(position({0}, {1}) > 0, 0)", text, Expr::text(part)),
        TextMatch::StartsWith(start) => formula!("ifNull(startsWith({0}, {1}), 0)", text, Expr::text(start)),
        TextMatch::EndsWith(end) => formula!("ifNull(endsWith({0}, {1}), 0)", text, Expr::text(end)),
        TextMatch::Pattern(pattern) => formula!("ifNull(match({0}, {1}), 0)", text, Expr::text(pattern)),
    }
}

/// The text in lower case, with the final sigma as any other.
fn folded(text: &Expr) -> Expr {
    formula!("replaceAll(lowerUTF8({0}), 'ς', 'σ')", text)
}

fn is_set(expr: &Expr, form: &Form) -> Expr {
    match form {
        Form::Text => formula!("ifNull({0} != '', 0)", expr),
        Form::Stored { .. } => formula!("ifNull({0}, 0)", expr),
        Form::List(_) => formula!("notEmpty({0})", expr),
        Form::Mixed => formula!("(isNotNull(tupleElement({0}, 1)) OR isNotNull(tupleElement({0}, 2)))", expr),
        Form::Average { count, .. } => formula!("(isNotNull({0}) AND ifNull({1}, 0) > 0)", expr, count.as_ref()),
        Form::Boolean | Form::Instant | Form::Integer { .. } | Form::Float | Form::Exact { .. } | Form::Age { .. } => {
            formula!("isNotNull({0})", expr)
        }
    }
}

/// Whether a number passes the test: two-valued.
fn number_test(value: &Typed, test: &NumberTest) -> Result<Expr, Unsuited> {
    let ranges = ranges(test);
    let expr = &value.expr;
    Ok(match &value.form {
        Form::Integer { unsigned } => {
            let data_type = if *unsigned { "UInt64" } else { "Int64" };
            whole(expr, &ranges, &BigDecimal::from(1), Some(&integer_limits(*unsigned)), data_type)
        }
        Form::Exact { scale } => whole(expr, &ranges, &unit_of(*scale), None, "Int256"),
        Form::Age { as_of } => {
            // The age grows as the instant falls: as_of - t >= age is t <= as_of - age.
            let end = BigInt::from(as_of.as_microsecond());
            let ages = ranges.iter().map(|range| range.scaled(&BigDecimal::from(DAY_MICROS)));
            let instants =
                ages.map(|Range { low, high }| Range { low: high.map(|age| &end - age), high: low.map(|age| &end - age) });
            any_range(expr, &instants.filter_map(|range| range.within(&integer_limits(false))).collect::<Vec<_>>(), &|bound| {
                Expr::number("Int64", bound)
            })
        }
        Form::Float => doubles(expr, &ranges),
        Form::Mixed => {
            let integer = formula!("tupleElement({0}, 1)", expr);
            let double = formula!("tupleElement({0}, 2)", expr);
            let limits = (BigInt::from(i64::MIN), BigInt::from(u64::MAX));
            Expr::any([whole(&integer, &ranges, &BigDecimal::from(1), Some(&limits), "Int128"), doubles(&double, &ranges)])
        }
        Form::Average { scale, count } => Expr::any(ranges.iter().map(|range| average(expr, count, *scale, range))),
        form @ (Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored { .. }) => {
            return Err(Unsuited::new(test, form));
        }
    })
}

/// How many whole units of 10^-scale a number has.
fn unit_of(scale: i8) -> BigDecimal {
    BigDecimal::new(BigInt::from(1), -i64::from(scale))
}

fn doubles(expr: &Expr, ranges: &[Range<Decimal>]) -> Expr {
    // A bound beyond all doubles is infinite, which every finite number compares with as it should.
    let literal = |bound: &f64| Expr::number("Float64", if bound.is_infinite() { infinity(*bound) } else { format!("{bound:e}") });
    any_range(expr, &ranges.iter().map(Range::doubles).collect::<Vec<_>>(), &literal)
}

fn infinity(bound: f64) -> String {
    if bound > 0.0 { "inf" } else { "-inf" }.to_owned()
}

fn whole(
    expr: &Expr,
    ranges: &[Range<Decimal>],
    unit: &BigDecimal,
    limits: Option<&(BigInt, BigInt)>,
    data_type: &'static str,
) -> Expr {
    let widest = BigInt::from(1) << 255u32;
    let widest = (-widest.clone(), widest - 1);
    let ranges = ranges.iter().filter_map(|range| range.scaled(unit).within(limits.unwrap_or(&widest)));
    any_range(expr, &ranges.collect::<Vec<_>>(), &|bound: &BigInt| Expr::number(data_type, bound))
}

/// Whether a value lies in one of the ranges; single values become one list.
fn any_range<T: PartialOrd>(expr: &Expr, ranges: &[Range<T>], literal: &dyn Fn(&T) -> Expr) -> Expr {
    let (mut points, mut tests) = (Vec::new(), Vec::new());
    for range in ranges {
        if range.is_empty() {
            continue;
        }
        if let Some(point) = range.point() {
            points.push(literal(point));
            continue;
        }
        let low = match &range.low {
            Bound::Included(low) => Some(formula!("ifNull({0} >= {1}, 0)", expr, literal(low))),
            Bound::Excluded(low) => Some(formula!("ifNull({0} > {1}, 0)", expr, literal(low))),
            Bound::Unbounded => None,
        };
        let high = match &range.high {
            Bound::Included(high) => Some(formula!("ifNull({0} <= {1}, 0)", expr, literal(high))),
            Bound::Excluded(high) => Some(formula!("ifNull({0} < {1}, 0)", expr, literal(high))),
            Bound::Unbounded => None,
        };
        tests.push(match (low, high) {
            (None, None) => formula!("isNotNull({0})", expr),
            (low, high) => Expr::all(low.into_iter().chain(high)),
        });
    }
    match points.len() {
        0 => {}
        1 => tests.extend(points.pop().map(|point| formula!("ifNull({0} = {1}, 0)", expr, point))),
        _ => tests.push(formula!("ifNull(has({1}, {0}), 0)", expr, Expr::array(points))),
    }
    Expr::any(tests)
}

/// Whether digits / count lies in the range: `digits comparator bound * count`, where all is whole.
fn average(digits: &Expr, count: &Expr, scale: i8, range: &Range<Decimal>) -> Expr {
    let bound = |bound: &Decimal| Quotient::of(bound, scale);
    if let Some(point) = range.point() {
        return bound(point).compared("equal", digits, count);
    }
    let low = match &range.low {
        Bound::Included(low) => Some(bound(low).compared("at least", digits, count)),
        Bound::Excluded(low) => Some(bound(low).compared("above", digits, count)),
        Bound::Unbounded => None,
    };
    let high = match &range.high {
        Bound::Included(high) => Some(bound(high).compared("at most", digits, count)),
        Bound::Excluded(high) => Some(bound(high).compared("below", digits, count)),
        Bound::Unbounded => None,
    };
    Expr::all(low.into_iter().chain(high))
}

/// A literal that quotients of digits and counts are compared with. A quotient is `q + r / c`, where `c` is the count, `q` whole and
/// `0 <= r < c`; the literal is `whole + part`. No fraction whose denominator is a count lies between `numerator / denominator` and `part`,
/// so that two products of integers decide, however many digits the literal has.
pub(super) struct Quotient {
    whole: BigInt,
    numerator: BigInt,
    denominator: BigInt,
    /// Whether that fraction is `part` itself.
    exact: bool,
}

impl Quotient {
    /// A literal in units of 10^-scale.
    fn of(literal: &Decimal, scale: i8) -> Self {
        let scaled = literal.as_big() * unit_of(scale);
        let whole = scaled.with_scale_round(0, bigdecimal::RoundingMode::Floor);
        let (part, places) = (scaled - &whole).normalized().into_bigint_and_exponent();
        let power = |exponent: i64| BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(0));
        let (part, unit) = (part * power(-places), power(places));
        let (numerator, denominator) = greatest_fraction(&part, &unit, &BigInt::from(i64::MAX));
        let exact = &numerator * &unit == &part * &denominator;
        Self { whole: whole.into_bigint_and_exponent().0, numerator, denominator, exact }
    }

    /// What orders quotients: rounded down, and the rest in parts so small that no two fractions share one.
    pub(super) fn key(digits: &Expr, count: &Expr) -> Expr {
        formula!(
            "if(ifNull({1}, 0) > 0 AND isNotNull({0}), \
             intDiv({0} - positiveModulo({0}, {2}), {2}) * bitShiftLeft(toInt256(1), 128) \
             + intDiv(positiveModulo({0}, {2}) * bitShiftLeft(toInt256(1), 128), {2}), NULL)",
            digits,
            count,
            divisor(count)
        )
    }

    /// Whether a quotient compares so with the literal: two-valued.
    fn compared(&self, relation: &'static str, digits: &Expr, count: &Expr) -> Expr {
        let fits = self.whole.bits() < 255;
        let whole = if fits { self.whole.clone() } else { BigInt::from(0) };
        let there = formula!("(isNotNull({0}) AND ifNull({1}, 0) > 0)", digits, count);
        // Beyond all digits, only the sign of the literal matters.
        if !fits {
            let above = self.whole.sign() == bigdecimal::num_bigint::Sign::Minus;
            let holds = matches!((relation, above), ("above" | "at least", true) | ("below" | "at most", false));
            return if holds { there } else { Expr::any([]) };
        }
        // Rounded down, whatever the sign.
        let count = &divisor(count);
        let floor = formula!("intDiv({0} - positiveModulo({0}, {1}), {1})", digits, count);
        let rest = formula!("positiveModulo({0}, {1})", digits, count);
        let whole = Expr::number("Int256", whole);
        let left = formula!("({0} * {1})", rest, Expr::number("Int256", &self.denominator));
        let right = formula!("({0} * {1})", Expr::number("Int256", &self.numerator), count);
        let same = match (relation, self.exact) {
            ("equal", true) => formula!("{0} = {1}", left, right),
            ("equal", false) => Expr::any([]),
            ("at least", true) => formula!("{0} >= {1}", left, right),
            ("above" | "at least", _) => formula!("{0} > {1}", left, right),
            ("below", true) => formula!("{0} < {1}", left, right),
            _ => formula!("{0} <= {1}", left, right),
        };
        let whole_decides = match relation {
            "equal" => Expr::any([]),
            "at least" | "above" => formula!("{0} > {1}", floor, whole),
            _ => formula!("{0} < {1}", floor, whole),
        };
        let equal = formula!("({0} = {1} AND {2})", floor, whole, same);
        formula!("if({0}, {1}, 0)", there, Expr::any([whole_decides, equal]))
    }
}

/// The greatest fraction that is at most `part / unit`, which is at least 0 and below 1, with a denominator of at most `most`.
fn greatest_fraction(part: &BigInt, unit: &BigInt, most: &BigInt) -> (BigInt, BigInt) {
    let zero = BigInt::from(0);
    let mut low = (BigInt::from(0), BigInt::from(1));
    let mut high = (BigInt::from(1), BigInt::from(1));
    loop {
        // Both distances are of numerators over the product of the denominators: by them each end goes as far as it can at once.
        let above = &high.0 * unit - part * &high.1;
        let below = part * &low.1 - &low.0 * unit;
        let steps = (&below / &above).min((most - &low.1) / &high.1);
        low = (&low.0 + &steps * &high.0, &low.1 + &steps * &high.1);
        let below = part * &low.1 - &low.0 * unit;
        if below == zero {
            return low;
        }
        let other: BigInt = ((&above - 1u8) / &below).min((most - &high.1) / &low.1);
        if steps == zero && other == zero {
            return low;
        }
        high = (&high.0 + &other * &low.0, &high.1 + &other * &low.1);
    }
}

/// A count to divide by: 1 where there is none, which nothing is told of.
fn divisor(count: &Expr) -> Expr {
    formula!("toInt256(greatest(ifNull({0}, 1), 1))", count)
}

fn elements_test(list: &Expr, element: &Form, test: &ElementsTest) -> Result<Expr, Unsuited> {
    let (of, ignore_case) = match test {
        ElementsTest::Any { of, ignore_case } | ElementsTest::All { of, ignore_case } => (of, *ignore_case),
    };
    let list = match element {
        Form::Text if ignore_case => formula!("arrayMap(x -> replaceAll(lowerUTF8(x), 'ς', 'σ'), {0})", list),
        _ => list.clone(),
    };
    let holds = of.iter().map(|literal| holds_element(&list, element, literal)).collect::<Result<Vec<_>, _>>()?;
    Ok(match test {
        ElementsTest::Any { .. } => Expr::any(holds),
        ElementsTest::All { .. } => Expr::all(holds),
    })
}

/// Whether a list holds an element that equals the literal.
fn holds_element(list: &Expr, element: &Form, literal: &Element) -> Result<Expr, Unsuited> {
    let has = |value: Expr| formula!("has({0}, {1})", list, value);
    let has_or_never = |value: Option<Expr>| value.map_or_else(|| Expr::any([]), has);
    Ok(match (literal, element) {
        (Element::Text(text), Form::Text) => has(Expr::text(text)),
        (Element::Boolean(value), Form::Boolean) => has(Expr::number("UInt8", u8::from(*value))),
        (Element::Number(number), Form::Integer { unsigned: false }) => {
            has_or_never(number.to_i64().map(|value| Expr::number("Int64", value)))
        }
        (Element::Number(number), Form::Integer { unsigned: true }) => {
            has_or_never(unsigned_equal_to(number).map(|value| Expr::number("UInt64", value)))
        }
        (Element::Number(number), Form::Float) => {
            let double = nearest(number);
            has_or_never(double.is_finite().then(|| Expr::number("Float64", format!("{double:e}"))))
        }
        (Element::Number(number), Form::Exact { scale }) => {
            has_or_never(digits_equal_to(number, 76, *scale).map(|digits| Expr::number("Int256", digits)))
        }
        (Element::Number(number), Form::Mixed) => {
            let integer = integer_equal_to(number).map(|value| Expr::number("Int128", value));
            let double = Some(nearest(number)).filter(|double| double.is_finite());
            let double = double.map(|double| Expr::number("Float64", format!("{double:e}")));
            let integer = integer.map(|value| formula!("arrayExists(x -> ifNull(tupleElement(x, 1) = {1}, 0), {0})", list, value));
            let double = double.map(|value| formula!("arrayExists(x -> ifNull(tupleElement(x, 2) = {1}, 0), {0})", list, value));
            Expr::any(integer.into_iter().chain(double))
        }
        (literal, form) => return Err(Unsuited::new(literal, form)),
    })
}

#[cfg(test)]
mod tests {
    use bigdecimal::ToPrimitive as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No fraction with a denominator up to the limit lies between the one that is found and the one that is looked for.
        #[test]
        fn the_greatest_fraction_is_the_next_one_below(part in 0..10_000_u32, most in 1..40_u32) {
            let unit = 10_000_u32;
            let (numerator, denominator) = greatest_fraction(&part.into(), &unit.into(), &most.into());
            let (numerator, denominator) = (numerator.to_u32().unwrap(), denominator.to_u32().unwrap());
            prop_assert!(denominator >= 1 && denominator <= most && numerator * unit <= part * denominator);
            for other in 1..=most {
                let best = part * other / unit;
                prop_assert!(best * denominator <= numerator * other, "{best}/{other} is nearer than {numerator}/{denominator}");
            }
        }
    }
}
