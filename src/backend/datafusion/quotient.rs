//! Averages: a sum and a count, compared with a literal as `sum` with `literal * count`, without rounding.

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::{BigDecimal, ToPrimitive};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int8Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::Expr;

use super::form::decimal_at;
use super::function::{Kernel, argument, call};
use crate::model::decimal::Decimal;

/// -1, 0 or 1 as sum / count is less than, equal to or greater than the bound; NULL when there is nothing to divide.
pub(super) fn compare_quotient(sum: Expr, count: Expr, bound: &Decimal) -> Expr {
    call(CompareQuotient { bound: bound.clone() }, vec![sum, count])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CompareQuotient {
    bound: Decimal,
}

impl Kernel for CompareQuotient {
    fn name(&self) -> String {
        format!("compare_quotient[{}]", self.bound)
    }

    fn return_type(&self) -> DataType {
        DataType::Int8
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (sums, counts) = (argument(arguments, 0)?, argument(arguments, 1)?.as_primitive::<Int64Type>());
        let narrow = Narrow::of(&self.bound, sums);
        let orderings = (0..sums.len()).map(|row| {
            if sums.is_null(row) || counts.is_null(row) || counts.value(row) == 0 {
                return Ok(None);
            }
            if let Some(order) = narrow.as_ref().and_then(|narrow| narrow.compare(row, counts.value(row))) {
                return Ok(Some(order as i8));
            }
            let product = self.bound.as_big() * BigDecimal::from(counts.value(row));
            Ok(Some(match decimal_at(sums, row)?.cmp(&product) {
                Ordering::Less => -1i8,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            }))
        });
        Ok(Arc::new(orderings.collect::<Result<Int8Array>>()?))
    }
}

/// The comparison in 128 bits, as far as they suffice.
struct Narrow<'a> {
    sums: &'a [i128],
    /// What a sum is multiplied by to have the scale of the bound, and the digits of the bound in the scale of the sum.
    factors: (i128, i128),
}

impl<'a> Narrow<'a> {
    fn of(bound: &Decimal, sums: &'a ArrayRef) -> Option<Self> {
        let DataType::Decimal128(_, scale) = sums.data_type() else { return None };
        let (digits, bound_scale) = bound.as_big().as_bigint_and_exponent();
        let power = |exponent: i64| 10i128.checked_pow(u32::try_from(exponent.max(0)).ok()?);
        let (sum_factor, bound_factor) = (power(bound_scale - i64::from(*scale))?, power(i64::from(*scale) - bound_scale)?);
        let digits = digits.to_i128()?.checked_mul(bound_factor)?;
        Some(Self { sums: sums.as_primitive::<Decimal128Type>().values(), factors: (sum_factor, digits) })
    }

    /// `None` when 128 bits do not suffice.
    fn compare(&self, row: usize, count: i64) -> Option<Ordering> {
        let (sum_factor, bound) = self.factors;
        Some(self.sums.get(row)?.checked_mul(sum_factor)?.cmp(&bound.checked_mul(i128::from(count))?))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Decimal128Array, Int64Array};

    use super::*;

    #[test]
    fn quotients_compare_without_rounding() {
        let sums: ArrayRef = Arc::new(
            Decimal128Array::from(vec![Some(100), Some(99), Some(101), None, Some(5)]).with_precision_and_scale(38, 2).unwrap(),
        );
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![3, 3, 3, 1, 0]));
        // 1.00 / 3 against a literal just below a third.
        let kernel = CompareQuotient { bound: "0.33333333333333333333333333333333333333333333".parse().unwrap() };
        let compared = kernel.apply(&[Arc::clone(&sums), Arc::clone(&counts)]).unwrap();
        assert_eq!(
            compared.as_primitive::<datafusion::arrow::datatypes::Int8Type>(),
            &Int8Array::from(vec![Some(1), Some(-1), Some(1), None, None])
        );
        let kernel = CompareQuotient { bound: "0.33".parse().unwrap() };
        let compared = kernel.apply(&[sums, counts]).unwrap();
        assert_eq!(compared.as_primitive::<datafusion::arrow::datatypes::Int8Type>().value(1), 0);
    }
}
