//! [`Decimal`]: a number as the author wrote it, of any length, without rounding.
//!
//! A literal is a decimal: it compares exactly with integers and DECIMAL columns, and as the nearest double with floats.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};

/// An exact decimal number. Two of them are equal when their values are, however they were written.
///
/// ```
/// use segmenta::model::decimal::Decimal;
/// let price: Decimal = "19.90".parse().unwrap();
/// assert_eq!(price, "1.99e1".parse().unwrap());
/// assert_eq!(price.to_string(), "19.9");
/// ```
#[derive(Debug, Clone)]
pub struct Decimal(BigDecimal);

/// Why a text is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a number")]
pub struct InvalidDecimal {
    /// What was written.
    pub text: String,
}

/// Largest power of ten, up or down, that a literal may carry: beyond it no data can tell it from zero or infinity.
const MAX_EXPONENT: i64 = 400;

/// A double of this size or more has no whole number of billionths that fits in 128 bits wherever it is summed.
const NANO_LIMIT: f64 = 1e18;

impl Decimal {
    /// The nearest double, ties to even; infinite when the value is beyond the range of doubles.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        // The text of a decimal parses to the nearest double; conversions through the scaled integer may round twice.
        self.0.to_scientific_notation().parse().unwrap_or(f64::NAN)
    }

    /// The value times `10^scale`, rounded down, and whether that was exact.
    #[must_use]
    pub fn scaled_floor(&self, scale: i64) -> (BigInt, bool) {
        let floor = self.0.with_scale_round(scale, RoundingMode::Floor);
        let exact = floor == self.0;
        (floor.into_bigint_and_exponent().0, exact)
    }

    /// The value as a 64-bit integer, when it is one.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        let (floor, exact) = self.scaled_floor(0);
        if exact { floor.to_i64() } else { None }
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.0.sign() == Sign::Minus
    }

    /// Whether the value is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.sign() == Sign::NoSign
    }

    /// The exact number behind it.
    #[must_use]
    pub fn as_big(&self) -> &BigDecimal {
        &self.0
    }

    fn normalized(value: &BigDecimal) -> Self {
        Self(value.normalized())
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    /// Reads a JSON number: no sign but `-`, no space, no infinity.
    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let invalid = || InvalidDecimal { text: text.to_owned() };
        if !is_json_number(text) {
            return Err(invalid());
        }
        let value: BigDecimal = text.parse().map_err(|_| invalid())?;
        let value = value.normalized();
        let digits = i64::try_from(value.digits()).unwrap_or(i64::MAX);
        let (_, exponent) = value.as_bigint_and_exponent();
        if exponent.abs() > MAX_EXPONENT || digits > MAX_EXPONENT {
            return Err(invalid());
        }
        Ok(Self(value))
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self(BigDecimal::from(value))
    }
}

impl From<BigDecimal> for Decimal {
    fn from(value: BigDecimal) -> Self {
        Self::normalized(&value)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::normalized(&BigDecimal::from(value))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}

impl fmt::Display for Decimal {
    /// Plain digits without trailing zeros; a JSON number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

/// The integer nearest to the value times 10^9, ties to even; `None` from 10^18 on.
#[expect(clippy::cast_sign_loss, reason = "the sign of the exponent was looked at")]
#[must_use]
pub fn nano_units(value: f64) -> Option<i128> {
    if value.is_nan() || value.abs() >= NANO_LIMIT {
        return None;
    }
    let bits = value.to_bits();
    let biased = ((bits >> 52) & 0x7ff) as i32;
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased - 1075) };
    let product = mantissa * 1_000_000_000; // below 2^83
    let magnitude = match exponent {
        0.. => product << exponent as u32, // below 10^27
        -126..=-1 => {
            let shift = exponent.unsigned_abs();
            let (floor, rest, half) = (product >> shift, product & ((1 << shift) - 1), 1i128 << (shift - 1));
            floor + i128::from(rest > half || (rest == half && floor & 1 == 1))
        }
        _ => 0,
    };
    Some(if value.is_sign_negative() { -magnitude } else { magnitude })
}

/// Whether `text` is a number by the grammar of JSON.
#[must_use]
pub fn is_json_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
        return false;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == bytes.len()
}
