//! Averages: a sum and a count, compared with a literal as `sum` with `literal * count`, without rounding.

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::BigDecimal;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int8Array};
use datafusion::arrow::datatypes::{DataType, Int64Type};
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
        let orderings = (0..sums.len()).map(|row| {
            if sums.is_null(row) || counts.is_null(row) || counts.value(row) == 0 {
                return Ok(None);
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
