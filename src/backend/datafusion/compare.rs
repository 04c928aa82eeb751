//! How two numbers of a subject compare, whatever form each is stored in: exactly, or as the nearest doubles when one is a double.

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, ToPrimitive};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, is_true, lit};

use super::form::{Form, Typed, decimal_at};
use super::function::{Kernel, argument, call};
use super::number;
use crate::backend::DAY_MICROS;
use crate::ir::Comparator;
use crate::model::decimal::Decimal;

/// Whether `left comparator factor * right`: two-valued.
///
/// # Errors
/// When a side is no number.
pub(super) fn compare(left: &Typed, comparator: Comparator, right: &Typed, factor: &Decimal) -> Result<Expr> {
    let is_plain = |form: &Form| matches!(form, Form::Integer | Form::Float);
    if left.form == right.form && is_plain(&left.form) && *factor == Decimal::from(1i64) {
        return Ok(between(left.expr.clone(), comparator, right.expr.clone()));
    }
    let mut arguments = Vec::new();
    let sides = [Side::of(left, &mut arguments)?, Side::of(right, &mut arguments)?];
    let order = call(Order { sides, factor: factor.clone() }, arguments);
    Ok(between(order, comparator, lit(0i64)))
}

fn between(left: Expr, comparator: Comparator, right: Expr) -> Expr {
    is_true(match comparator {
        Comparator::Eq => left.eq(right),
        Comparator::Gt => left.gt(right),
        Comparator::Gte => left.gt_eq(right),
        Comparator::Lt => left.lt(right),
        Comparator::Lte => left.lt_eq(right),
    })
}

/// How the left of two numbers compares with the right times a factor: -1, 0 or 1; NULL where one is missing.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Order {
    sides: [Side; 2],
    factor: Decimal,
}

impl Kernel for Order {
    fn name(&self) -> String {
        format!("order[factor {}]", self.factor)
    }

    fn return_type(&self) -> DataType {
        DataType::Int64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let [left, right] = &self.sides;
        let (lefts, rights) = arguments.split_at(left.columns().min(arguments.len()));
        let factor = Factor::of(&self.factor)?;
        let rows = argument(arguments, 0)?.len();
        let orders = (0..rows).map(|row| {
            let (Some(left), Some(right)) = (left.at(lefts, row)?, right.at(rights, row)?) else { return Ok(None) };
            Ok(Some(factor.order(&left, &right) as i64))
        });
        Ok(Arc::new(orders.collect::<Result<Int64Array>>()?))
    }
}

/// How one side is stored.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Side {
    Integer,
    Unsigned,
    Float,
    Decimal,
    Mixed,
    /// Days up to an instant, in microseconds.
    Age {
        until: i64,
    },
    /// A sum and a count.
    Quotient,
}

impl Side {
    /// The side of a value, whose columns are added to the arguments.
    fn of(value: &Typed, arguments: &mut Vec<Expr>) -> Result<Self> {
        arguments.push(value.expr.clone());
        Ok(match &value.form {
            Form::Integer => Self::Integer,
            Form::Unsigned => Self::Unsigned,
            Form::Float => Self::Float,
            Form::Decimal { .. } => Self::Decimal,
            Form::Mixed => Self::Mixed,
            Form::Age { as_of } => Self::Age { until: as_of.as_microsecond() },
            Form::Average { count } => {
                arguments.push(count.as_ref().clone());
                Self::Quotient
            }
            Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored => {
                return plan_err!("a comparison of {:?}", value.form);
            }
        })
    }

    fn columns(&self) -> usize {
        match self {
            Self::Quotient => 2,
            Self::Integer | Self::Unsigned | Self::Float | Self::Decimal | Self::Mixed | Self::Age { .. } => 1,
        }
    }

    /// The number of a row; `None` when it is missing.
    fn at(&self, columns: &[ArrayRef], row: usize) -> Result<Option<Number>> {
        let column = argument(columns, 0)?;
        if column.is_null(row) {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::Integer => Number::whole(column.as_primitive::<Int64Type>().value(row).into()),
            Self::Unsigned => Number::whole(column.as_primitive::<UInt64Type>().value(row).into()),
            Self::Float => Number::Double(column.as_primitive::<Float64Type>().value(row)),
            Self::Decimal => Number::Exact(decimal(column, row)?),
            Self::Mixed => {
                let key = column.as_primitive::<Decimal128Type>().value(row);
                number::integer_of_key(key).map_or_else(|| Number::Double(number::double_of_key(key)), Number::whole)
            }
            Self::Age { until } => {
                let since = column.as_primitive::<TimestampMicrosecondType>().value(row);
                let micros = Digits::Narrow(i128::from(*until) - i128::from(since));
                Number::Exact(Fraction { digits: micros, scale: 0, divisor: DAY_MICROS })
            }
            Self::Quotient => {
                let counts = argument(columns, 1)?.as_primitive::<Int64Type>();
                if counts.is_null(row) || counts.value(row) <= 0 {
                    return Ok(None);
                }
                Number::Exact(Fraction { divisor: counts.value(row), ..decimal(column, row)? })
            }
        }))
    }
}

fn decimal(column: &ArrayRef, row: usize) -> Result<Fraction> {
    let (digits, scale) = match column.data_type() {
        DataType::Decimal128(_, scale) => (Digits::Narrow(column.as_primitive::<Decimal128Type>().value(row)), i64::from(*scale)),
        _ => {
            let (digits, scale) = decimal_at(column, row)?.into_bigint_and_exponent();
            (digits.to_i128().map_or(Digits::Wide(digits), Digits::Narrow), scale)
        }
    };
    Ok(Fraction { digits, scale, divisor: 1 })
}

#[derive(Debug)]
enum Number {
    Double(f64),
    Exact(Fraction),
}

impl Number {
    fn whole(value: i128) -> Self {
        Self::Exact(Fraction { digits: Digits::Narrow(value), scale: 0, divisor: 1 })
    }

    /// The nearest double.
    fn double(&self) -> f64 {
        match self {
            Self::Double(value) => *value,
            Self::Exact(fraction) => Decimal::from(fraction.quotient()).to_f64(),
        }
    }
}

/// `digits * 10^-scale / divisor`; the divisor is positive.
#[derive(Debug)]
struct Fraction {
    digits: Digits,
    scale: i64,
    divisor: i64,
}

#[derive(Debug)]
enum Digits {
    Narrow(i128),
    Wide(BigInt),
}

impl Digits {
    fn big(&self) -> BigInt {
        match self {
            Self::Narrow(digits) => BigInt::from(*digits),
            Self::Wide(digits) => digits.clone(),
        }
    }
}

impl Fraction {
    fn quotient(&self) -> BigDecimal {
        let dividend = BigDecimal::new(self.digits.big(), self.scale);
        if self.divisor == 1 { dividend } else { dividend / BigDecimal::from(self.divisor) }
    }
}

/// What the right side is multiplied by.
struct Factor<'a> {
    exact: &'a BigDecimal,
    digits: BigInt,
    scale: i64,
    narrow: Option<i128>,
    /// The double that it is, when it is one: a product with it is rounded once.
    double: Option<f64>,
}

impl<'a> Factor<'a> {
    fn of(factor: &'a Decimal) -> Result<Self> {
        let exact = factor.as_big();
        let (digits, scale) = exact.as_bigint_and_exponent();
        let double = factor.to_f64();
        let is_exact = BigDecimal::try_from(double).is_ok_and(|back| back == *exact);
        Ok(Self { exact, narrow: digits.to_i128(), digits, scale, double: is_exact.then_some(double) })
    }

    /// How a number compares with another times the factor.
    fn order(&self, left: &Number, right: &Number) -> Ordering {
        match (left, right) {
            (Number::Exact(left), Number::Exact(right)) => {
                self.narrow_order(left, right).unwrap_or_else(|| self.wide_order(left, right))
            }
            (Number::Double(_), _) | (_, Number::Double(_)) => {
                // Doubles that were read are numbers.
                left.double().partial_cmp(&self.times(right)).unwrap_or(Ordering::Equal)
            }
        }
    }

    /// The double that is nearest to the exact product.
    fn times(&self, right: &Number) -> f64 {
        let exact = match right {
            Number::Double(right) => match (self.double, BigDecimal::try_from(*right)) {
                (Some(factor), _) => return right * factor,
                (None, Ok(exact)) => exact,
                (None, Err(_)) => return *right,
            },
            Number::Exact(right) => right.quotient(),
        };
        Decimal::from(exact * self.exact).to_f64()
    }

    /// In 128 bits; `None` when they do not suffice.
    fn narrow_order(&self, left: &Fraction, right: &Fraction) -> Option<Ordering> {
        let (Digits::Narrow(one), Digits::Narrow(other)) = (&left.digits, &right.digits) else { return None };
        // Both sides times both divisors and the powers of ten that make them whole.
        let shift = self.scale + right.scale - left.scale;
        let power = |exponent: i64| 10i128.checked_pow(u32::try_from(exponent.max(0)).ok()?);
        let one = one.checked_mul(right.divisor.into())?.checked_mul(power(shift)?)?;
        let other = other.checked_mul(self.narrow?)?.checked_mul(left.divisor.into())?.checked_mul(power(-shift)?)?;
        Some(one.cmp(&other))
    }

    fn wide_order(&self, left: &Fraction, right: &Fraction) -> Ordering {
        let one = BigDecimal::new(left.digits.big() * right.divisor, left.scale);
        let other = BigDecimal::new(right.digits.big() * &self.digits * left.divisor, right.scale + self.scale);
        one.cmp(&other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(digits: i128, scale: i64, divisor: i64) -> Number {
        Number::Exact(Fraction { digits: Digits::Narrow(digits), scale, divisor })
    }

    fn order(left: &Number, factor: &str, right: &Number) -> Ordering {
        let factor: Decimal = factor.parse().unwrap();
        Factor::of(&factor).unwrap().order(left, right)
    }

    #[test]
    fn exact_numbers_compare_exactly() {
        let two_53 = 9_007_199_254_740_992;
        assert_eq!(order(&Number::whole(two_53 + 1), "1", &Number::whole(two_53)), Ordering::Greater);
        assert_eq!(order(&exact(1_999, 2, 1), "1", &exact(19_990, 3, 1)), Ordering::Equal);
        // A third times three is one, and 0.333 times three is less.
        assert_eq!(order(&Number::whole(1), "3", &exact(1, 0, 3)), Ordering::Equal);
        assert_eq!(order(&Number::whole(1), "3", &exact(333, 3, 1)), Ordering::Greater);
        assert_eq!(order(&exact(3, 1, 1), "0.1", &Number::whole(3)), Ordering::Equal);
        assert_eq!(order(&Number::whole(-6), "-2", &Number::whole(3)), Ordering::Equal);
        assert_eq!(order(&Number::whole(1), "0", &Number::whole(7)), Ordering::Greater);
    }

    #[test]
    fn more_than_128_bits_suffice_for_any_number() {
        let huge = exact(i128::MAX, 0, 1);
        assert_eq!(order(&huge, "1", &exact(i128::MAX - 1, 0, 1)), Ordering::Greater);
        assert_eq!(order(&huge, "1000000000000", &huge), Ordering::Less);
        assert_eq!(order(&exact(i128::MAX, 38, 7), "0.5", &exact(i128::MAX, 38, 14)), Ordering::Greater);
        assert_eq!(order(&exact(i128::MAX, 38, 7), "2", &exact(i128::MAX, 38, 14)), Ordering::Equal);
    }

    #[test]
    fn a_double_is_compared_with_the_nearest_double() {
        // As with literals: a DECIMAL 19.99 equals the double that 19.99 is written as.
        assert_eq!(order(&Number::Double(19.99), "1", &exact(1_999, 2, 1)), Ordering::Equal);
        assert_eq!(order(&exact(1_999, 2, 1), "1", &Number::Double(19.99)), Ordering::Equal);
        assert_eq!(order(&Number::Double(0.3), "3", &exact(1, 1, 1)), Ordering::Equal);
        // The exact product of the double 0.1 and 3 is nearer to the next double.
        assert_eq!(order(&Number::Double(0.3), "3", &Number::Double(0.1)), Ordering::Less);
        assert_eq!(order(&Number::Double(0.1 * 3.0), "3", &Number::Double(0.1)), Ordering::Equal);
        assert_eq!(order(&Number::Double(0.011), "0.1", &Number::Double(0.11)), Ordering::Equal);
        assert_eq!(order(&Number::Double(0.0), "1", &Number::Double(-0.0)), Ordering::Equal);
        assert_eq!(order(&Number::Double(1e300), "1e300", &Number::Double(1e300)), Ordering::Less);
    }
}
