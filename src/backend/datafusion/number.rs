//! Numbers in text and JSON, where one column mixes exact integers with doubles, and numbers on their way into a sum.
//!
//! A mixed number is stored as a *key*: one integer of 128 bits whose order is the order of the exact values. It is
//! `rank << 33 + residual << 1 + flag`, where `rank` is the nearest double as an integer of the same order, `residual` what the
//! integer is above that double, and `flag` 1 for a double. So min, max and comparisons are those of integers, and an integer and the
//! double of the same value are neighbours.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Builder, Float64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, i256};
use datafusion::common::{DataFusionError, Result};

use super::function::{Kernel, argument, text_argument};
use super::scalar::trimmed;
use crate::model::decimal::{is_json_number, nano_units};

/// Digits after the point with which a double enters a sum.
pub(super) const SUM_SCALE: i8 = 9;

const RESIDUAL_BITS: u32 = 33;

/// The type of keys.
pub(super) fn key_type() -> DataType {
    DataType::Decimal128(38, 0)
}

/// The type in which mixed numbers and doubles are summed.
pub(super) fn addend_type() -> DataType {
    DataType::Decimal128(38, SUM_SCALE)
}

/// The key of an integer; of at most 64 bits, signed or unsigned.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "rounds to the nearest double, which is whole")]
pub(super) fn key_of_integer(value: i128) -> i128 {
    let nearest = value as f64;
    (rank(nearest) << RESIDUAL_BITS) + ((value - nearest as i128) << 1)
}

/// The key of a finite double.
pub(super) fn key_of_double(value: f64) -> i128 {
    (rank(value) << RESIDUAL_BITS) + 1
}

/// The double at or below a key, when the key is that of a double; the nearest one of an integer's.
pub(super) fn double_of_key(key: i128) -> f64 {
    unrank(split(key).0)
}

/// The integer of a key; `None` for a double's.
#[expect(clippy::cast_possible_truncation, reason = "the doubles next to 64-bit integers are whole")]
pub(super) fn integer_of_key(key: i128) -> Option<i128> {
    let (rank, low) = split(key);
    if low & 1 == 0 { Some(unrank(rank) as i128 + (low >> 1)) } else { None }
}

/// The key with which equal values are equal: a double that is an integer of 64 bits takes the integer's.
#[expect(clippy::cast_possible_truncation, reason = "the value was found to be whole and within 64 bits")]
pub(super) fn canonical(key: i128) -> i128 {
    let double = double_of_key(key);
    let whole = double.fract() == 0.0 && (-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&double);
    if integer_of_key(key).is_none() && whole { key_of_integer(double as i128) } else { key }
}

/// The number of a key, in digits.
pub(super) fn text_of_key(key: i128) -> String {
    integer_of_key(key).map_or_else(|| double_of_key(key).to_string(), |integer| integer.to_string())
}

/// The key of a number as JSON writes it; `None` for what is no such number, or beyond all doubles.
pub(super) fn key_of_text(text: &str) -> Option<i128> {
    if !is_json_number(text) {
        return None;
    }
    if let Some(integer) = integer_of_text(text) {
        return Some(key_of_integer(integer));
    }
    let double: f64 = text.parse().ok()?;
    double.is_finite().then(|| key_of_double(double))
}

/// The exact integer that a JSON number is: without fraction and exponent, and within 64 bits.
pub(super) fn integer_of_text(text: &str) -> Option<i128> {
    text.parse::<i64>().map(i128::from).or_else(|_| text.parse::<u64>().map(i128::from)).ok()
}

/// Reads text as a number: the key of a JSON number between spaces.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NumberInText;

impl Kernel for NumberInText {
    fn name(&self) -> String {
        "number_in_text".to_owned()
    }

    fn return_type(&self) -> DataType {
        key_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        let keys: Decimal128Array = texts.iter().map(|text| text.and_then(|text| key_of_text(trimmed(text)))).collect();
        Ok(Arc::new(keys.with_data_type(key_type())))
    }
}

/// Doubles without NaN and infinities, which are missing, and without -0.0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Finite;

impl Kernel for Finite {
    fn name(&self) -> String {
        "finite".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Float64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let doubles = argument(arguments, 0)?.as_primitive::<Float64Type>();
        let finite: Float64Array =
            doubles.iter().map(|double| double.filter(|value| value.is_finite()).map(unsigned_zero)).collect();
        Ok(Arc::new(finite))
    }
}

/// What a double, or a mixed number, adds to a sum.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Addend;

impl Kernel for Addend {
    fn name(&self) -> String {
        "addend".to_owned()
    }

    fn return_type(&self) -> DataType {
        addend_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = argument(arguments, 0)?;
        let addends: Decimal128Array = match numbers.data_type() {
            DataType::Float64 => numbers.as_primitive::<Float64Type>().iter().map(|double| double.and_then(nano_units)).collect(),
            _ => {
                let keys = numbers.as_primitive::<Decimal128Type>();
                keys.iter().map(|key| key.and_then(addend_of_key)).collect()
            }
        };
        Ok(Arc::new(addends.with_data_type(addend_type())))
    }
}

fn addend_of_key(key: i128) -> Option<i128> {
    match integer_of_key(key) {
        Some(integer) => Some(integer * 1_000_000_000),
        None => nano_units(double_of_key(key)),
    }
}

/// A mixed number as the one of all equal ones.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Canonical;

impl Kernel for Canonical {
    fn name(&self) -> String {
        "canonical_number".to_owned()
    }

    fn return_type(&self) -> DataType {
        key_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let keys = argument(arguments, 0)?.as_primitive::<Decimal128Type>();
        // What stands in the place of NULL is no key.
        let canonical: Decimal128Array = keys.iter().map(|key| key.map(canonical)).collect();
        Ok(Arc::new(canonical.with_data_type(key_type())))
    }
}

/// The exact sum of DECIMAL columns, with the most digits after the point of all; missing when one is, or when it is beyond 76 digits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExactSum {
    /// Digits after the point.
    pub(super) scale: i8,
}

impl Kernel for ExactSum {
    fn name(&self) -> String {
        "exact_sum".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Decimal256(76, self.scale)
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let rows = argument(arguments, 0)?.len();
        let mut sums = Decimal256Builder::with_capacity(rows).with_data_type(self.return_type());
        for row in 0..rows {
            let mut sum = Some(i256::ZERO);
            for column in arguments {
                let term = decimal_at(column, row, self.scale)?;
                sum = sum.zip(term).and_then(|(sum, term)| sum.checked_add(term));
            }
            sums.append_option(sum);
        }
        Ok(Arc::new(sums.finish()))
    }
}

fn decimal_at(column: &ArrayRef, row: usize, scale: i8) -> Result<Option<i256>> {
    if column.is_null(row) {
        return Ok(None);
    }
    let (digits, own) = match column.data_type() {
        DataType::Decimal128(_, own) => (i256::from_i128(column.as_primitive::<Decimal128Type>().value(row)), *own),
        DataType::Decimal256(_, own) => (column.as_primitive::<Decimal256Type>().value(row), *own),
        other => return Err(DataFusionError::Internal(format!("a sum over {other}"))),
    };
    let step = u32::from(scale.abs_diff(own));
    Ok(i256::from_i128(10).checked_pow(step).and_then(|factor| digits.checked_mul(factor)))
}

/// 0.0 for -0.0.
fn unsigned_zero(value: f64) -> f64 {
    value + 0.0
}

/// The doubles as integers of the same order; those around zero are neighbours.
fn rank(value: f64) -> i128 {
    let bits = unsigned_zero(value).to_bits().cast_signed();
    i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
}

#[expect(clippy::cast_possible_truncation, reason = "ranks are of 64 bits")]
fn unrank(rank: i128) -> f64 {
    let bits = rank as i64;
    f64::from_bits((if bits < 0 { bits ^ i64::MAX } else { bits }).cast_unsigned())
}

/// The rank of a key, and what lies below it: the residual and the flag.
fn split(key: i128) -> (i128, i128) {
    let rank = (key + (1 << (RESIDUAL_BITS - 1))) >> RESIDUAL_BITS;
    (rank, key - (rank << RESIDUAL_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_integers_and_doubles_by_exact_value() {
        let two_53 = 9_007_199_254_740_992_i128;
        let ascending = [
            key_of_double(f64::MIN),
            key_of_integer(i128::from(i64::MIN)),
            key_of_integer(-two_53 - 1),
            key_of_integer(-two_53),
            key_of_double(-(two_53 as f64)),
            key_of_double(-2.5),
            key_of_integer(-2),
            key_of_double(-5e-324),
            key_of_integer(0),
            key_of_double(0.0),
            key_of_double(5e-324),
            key_of_integer(1),
            key_of_double(1.0),
            key_of_double(1.5),
            key_of_integer(two_53),
            key_of_double(two_53 as f64),
            key_of_integer(two_53 + 1),
            key_of_integer(two_53 + 2),
            key_of_integer(i128::from(u64::MAX)),
            key_of_double(18_446_744_073_709_551_616.0),
            key_of_double(f64::MAX),
        ];
        assert!(ascending.is_sorted_by(|left, right| left < right), "{ascending:?}");
        assert_eq!(key_of_double(-0.0), key_of_double(0.0));
    }

    #[test]
    fn keys_give_back_their_number() {
        for integer in [0, 1, -1, 9_007_199_254_740_993, i128::from(i64::MIN), i128::from(i64::MAX), i128::from(u64::MAX)] {
            assert_eq!(integer_of_key(key_of_integer(integer)), Some(integer));
        }
        for double in [0.1, -2.5, 1e300, f64::MIN, 5e-324] {
            assert_eq!(integer_of_key(key_of_double(double)), None);
            assert_eq!(double_of_key(key_of_double(double)).to_bits(), double.to_bits());
        }
    }

    #[test]
    fn equal_values_have_one_canonical_key() {
        for integer in [0, 5, -5, 9_007_199_254_740_992, i128::from(i64::MIN)] {
            assert_eq!(canonical(key_of_double(integer as f64)), key_of_integer(integer));
            assert_eq!(canonical(key_of_integer(integer)), key_of_integer(integer));
        }
        for double in [0.5, 18_446_744_073_709_551_616.0, 1e300] {
            assert_eq!(canonical(key_of_double(double)), key_of_double(double));
        }
    }

    #[test]
    fn text_is_a_number_by_the_grammar_of_json() {
        assert_eq!(key_of_text("9007199254740993"), Some(key_of_integer(9_007_199_254_740_993)));
        assert_eq!(key_of_text("18446744073709551615"), Some(key_of_integer(i128::from(u64::MAX))));
        assert_eq!(key_of_text("18446744073709551616"), Some(key_of_double(18_446_744_073_709_551_616.0)));
        assert_eq!(key_of_text("-0"), Some(key_of_integer(0)));
        assert_eq!(key_of_text("-0.0"), Some(key_of_double(0.0)));
        assert_eq!(key_of_text("1e2"), Some(key_of_double(100.0)));
        for text in ["", "+1", "01", "1.", ".5", "0x10", "1e999", "-1e999", "NaN", "inf", "1_0", "1 2"] {
            assert_eq!(key_of_text(text), None, "{text}");
        }
    }

    #[test]
    fn doubles_enter_sums_rounded_half_to_even() {
        assert_eq!(nano_units(0.1), Some(100_000_000));
        assert_eq!(nano_units(-2.5), Some(-2_500_000_000));
        assert_eq!(nano_units(f64::from_bits(1)), Some(0));
        // 2^-10 * 10^9 = 976562.5, and three times that ends in .5 as well.
        assert_eq!(nano_units(1.0 / 1024.0), Some(976_562));
        assert_eq!(nano_units(3.0 / 1024.0), Some(2_929_688));
        assert_eq!(nano_units(-3.0 / 1024.0), Some(-2_929_688));
        assert_eq!(nano_units(999_999_999_999_999_872.0), Some(999_999_999_999_999_872_000_000_000));
        assert_eq!(nano_units(1e18), None);
        assert_eq!(nano_units(f64::NEG_INFINITY), None);
        assert_eq!(nano_units(f64::NAN), None);
    }
}
