//! The values of rows in memory, and the numbers among them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, Zero};

/// A row: its columns by name. A column that is not there is missing.
pub(crate) type Row = BTreeMap<String, Value>;

/// A stored value: of a typed column, or from JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Decimal {
        unscaled: BigInt,
        scale: i64,
    },
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01, UTC.
    Timestamp(i64),
    /// A list of a column, or an array of JSON.
    List(Vec<Self>),
    /// A struct or map of a column, or an object of JSON, without repeated keys.
    Object(Vec<(String, Self)>),
    /// A string of JSON that is no text, since it escapes half of a surrogate pair.
    NoText,
    /// A number of JSON, as it is written.
    JsonNumber(String),
}

/// A number with the exactness of where it came from.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    /// An integer, a DECIMAL or a sum of such: exact.
    Exact(BigDecimal),
    /// A double, finite.
    Double(f64),
    /// The first over the second, which is positive: exact.
    Ratio(BigDecimal, BigDecimal),
}

impl Number {
    pub(crate) fn integer(value: impl Into<BigInt>) -> Self {
        Self::Exact(BigDecimal::from(value.into()))
    }

    /// The real value, as a fraction.
    fn fraction(&self) -> (BigDecimal, BigDecimal) {
        let one = BigDecimal::from(1);
        match self {
            Self::Exact(value) => (value.clone(), one),
            Self::Double(value) => (exact(*value), one),
            Self::Ratio(numerator, denominator) => (numerator.clone(), denominator.clone()),
        }
    }

    /// Compares real values.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let ((a, b), (c, d)) = (self.fraction(), other.fraction());
        (a * d).cmp(&(c * b))
    }

    /// Compares with a literal: as doubles when this is one, else exactly.
    pub(crate) fn compare_literal(&self, literal: &BigDecimal) -> Ordering {
        match self {
            Self::Exact(value) => value.cmp(literal),
            Self::Double(value) => value.partial_cmp(&nearest_double(literal)).expect("both are numbers"),
            Self::Ratio(numerator, denominator) => numerator.cmp(&(literal * denominator)),
        }
    }

    /// Compares with another number times a factor: as doubles when one of the two is one, else exactly.
    pub(crate) fn compare_product(&self, other: &Self, factor: &BigDecimal) -> Ordering {
        let ((a, b), (c, d)) = (self.fraction(), other.fraction());
        let c = c * factor;
        if matches!(self, Self::Double(_)) || matches!(other, Self::Double(_)) {
            let (left, right) = (nearest_double(&(a / b)), nearest_double(&(c / d)));
            return left.partial_cmp(&right).expect("both are numbers");
        }
        (a * d).cmp(&(c * b))
    }

    /// How the number enters a sum: exactly, a double as a multiple of 10^-9; `None` for a double of 10^18 or more.
    pub(crate) fn addend(&self) -> Option<BigDecimal> {
        match self {
            Self::Exact(value) => Some(value.clone()),
            Self::Double(value) if value.abs() < 1e18 => Some(exact(*value).with_scale_round(9, RoundingMode::HalfEven)),
            Self::Double(_) => None,
            Self::Ratio(..) => unreachable!("a ratio is never stored"),
        }
    }
}

/// The double as the decimal that it is.
fn exact(value: f64) -> BigDecimal {
    let bits = value.to_bits();
    let exponent = i64::from(u16::try_from((bits >> 52) & 0x7ff).expect("eleven bits"));
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, power) = if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
    let mut result = BigDecimal::from(mantissa);
    let factor = if power < 0 { BigDecimal::new(BigInt::from(5), 1) } else { BigDecimal::from(2) };
    for _ in 0..power.abs() {
        result *= &factor;
    }
    if value < 0.0 { -result } else { result }
}

/// The nearest double; the reader of the standard library rounds to it.
pub(crate) fn nearest_double(value: &BigDecimal) -> f64 {
    if value.is_zero() { 0.0 } else { value.to_scientific_notation().parse().expect("digits and an exponent") }
}

/// The number that JSON text such as `1e3` stands for: an integer that fits 64 bits when it is written as one, else a double.
pub(crate) fn number_of_json(text: &str) -> Option<Number> {
    if let Ok(value) = text.parse::<i64>() {
        return Some(Number::integer(value));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Number::integer(value));
    }
    number_of_double(text.parse().ok()?)
}

/// A double as a number; none of NaN and the infinities is one.
pub(crate) fn number_of_double(value: f64) -> Option<Number> {
    if value.is_finite() { Some(Number::Double(if value == 0.0 { 0.0 } else { value })) } else { None }
}
