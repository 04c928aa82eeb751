//! Rankings: the subjects of the universe that have a value, by that value.
//!
//! Each side of the join delivers the key of a ranking, a column that orders as the number does and is NULL where there is none. After
//! the join a window over the ranked subjects gives each its rank; those of equal keys share one.

use std::sync::Arc;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, plan_err};
use datafusion::functions_aggregate::count::count_all_window;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder, and, cast, lit, when};

use super::assembly::IN_UNIVERSE;
use super::form::{Form, Typed, decimal_at};
use super::function::{Kernel, argument, call};
use super::number::Canonical;
use super::reads::{named, with_columns};
use crate::model::condition::{RankOrder, TopShare};
use crate::model::decimal::Decimal;
use crate::plan::{Batch, BatchRanking};

/// Fractional digits that tell any two quotients apart: they differ by more than 10^-40 as long as their counts have 15 digits.
const QUOTIENT_DIGITS: i64 = 40;

/// Bytes of a quotient's key: those of the greatest sum with [`QUOTIENT_DIGITS`] more.
const KEY_BYTES: usize = 64;

/// The column with the key of a ranking of the batch.
pub(super) fn key_column(index: usize) -> String {
    format!("key of ranking {index}")
}

/// The column that is true for the first of a ranking.
pub(super) fn ranking_column(index: usize) -> String {
    format!("ranking {index}")
}

/// The key of a value; NULL where the count that it is of is 0.
///
/// # Errors
/// When the value is no number.
pub(super) fn key(value: &Typed, present: Option<&Typed>) -> Result<Expr> {
    let expr = value.expr.clone();
    let key = match &value.form {
        Form::Integer | Form::Unsigned | Form::Float | Form::Decimal { .. } | Form::Age { .. } => expr,
        // A whole double is the integer: they share a place.
        Form::Mixed => call(Canonical, vec![expr]),
        Form::Average { count } => call(QuotientKey, vec![expr, count.as_ref().clone()]),
        Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored => {
            return plan_err!("a ranking by {:?}", value.form);
        }
    };
    match present {
        Some(present) => when(is_counted(present), key).end(),
        None => Ok(key),
    }
}

/// Whether a count is of something.
pub(super) fn is_counted(count: &Typed) -> Expr {
    count.expr.clone().gt(lit(0i64))
}

/// Adds a column for each ranking to a plan with their keys.
pub(super) fn rankings(mut plan: LogicalPlanBuilder, batch: &Batch, forms: &[Form]) -> Result<LogicalPlanBuilder> {
    for (index, ranking) in batch.rankings.iter().enumerate() {
        let (ranked, place, among) = (format!("ranked {index}"), format!("place {index}"), format!("among {index}"));
        let key = named(key_column(index));
        plan = with_columns(plan, vec![and(named(IN_UNIVERSE), key.clone().is_not_null()).alias(&ranked)])?;
        let ascending = is_ascending(ranking, forms);
        let place_of = rank().partition_by(vec![named(&ranked)]).order_by(vec![key.sort(ascending, false)]).build()?.alias(&place);
        // Windows of one node share their order.
        plan = plan.window(vec![place_of])?;
        if let TopShare::Percent(_) = ranking.share {
            plan = plan.window(vec![count_all_window().partition_by(vec![named(&ranked)]).build()?.alias(&among)])?;
        }
        let most = match &ranking.share {
            TopShare::Count(count) => lit(*count),
            TopShare::Percent(percent) => call(PartOf { percent: percent.clone() }, vec![cast(named(&among), DataType::Int64)]),
        };
        let first = and(named(&ranked), cast(named(&place), DataType::UInt64).lt_eq(most));
        plan = with_columns(plan, vec![first.alias(ranking_column(index))])?;
    }
    Ok(plan)
}

/// An age is stored as the instant that it counts from, so that the greatest age is the least instant.
fn is_ascending(ranking: &BatchRanking, forms: &[Form]) -> bool {
    let is_age = matches!(forms.get(ranking.by), Some(Form::Age { .. }));
    match ranking.order {
        RankOrder::Ascending => !is_age,
        RankOrder::Descending => is_age,
    }
}

/// A text of bytes that orders as the quotient of a sum and a count does; NULL when there is nothing to divide.
#[derive(Debug, PartialEq, Eq, Hash)]
struct QuotientKey;

impl Kernel for QuotientKey {
    fn name(&self) -> String {
        "quotient_key".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Binary
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (sums, counts) = (argument(arguments, 0)?, argument(arguments, 1)?.as_primitive::<Int64Type>());
        let mut keys = BinaryBuilder::new();
        for row in 0..sums.len() {
            if sums.is_null(row) || counts.is_null(row) || counts.value(row) <= 0 {
                keys.append_null();
                continue;
            }
            let (scaled, _) = (decimal_at(sums, row)? * BigDecimal::new(BigInt::from(1), -QUOTIENT_DIGITS))
                .with_scale_round(0, RoundingMode::Floor)
                .into_bigint_and_exponent();
            let count = BigInt::from(counts.value(row));
            // Rounded down, whatever the sign.
            let quotient = (&scaled - ((&scaled % &count) + &count) % &count) / &count;
            let (_, bytes) = (quotient + (BigInt::from(1) << (KEY_BYTES * 8 - 1))).to_bytes_be();
            let mut key = vec![0; KEY_BYTES.saturating_sub(bytes.len())];
            key.extend(bytes);
            keys.append_value(key);
        }
        Ok(Arc::new(keys.finish()))
    }
}

/// `ceil(percent * N / 100)` of a number N.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PartOf {
    percent: Decimal,
}

impl Kernel for PartOf {
    fn name(&self) -> String {
        format!("percent[{}]", self.percent)
    }

    fn return_type(&self) -> DataType {
        DataType::UInt64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let numbers = argument(arguments, 0)?.as_primitive::<Int64Type>();
        let part = |number: i64| {
            let hundredfold = self.percent.as_big() * BigDecimal::from(number);
            let part = (hundredfold / BigDecimal::from(100)).with_scale_round(0, RoundingMode::Ceiling);
            u64::try_from(part.into_bigint_and_exponent().0).unwrap_or(u64::MAX)
        };
        Ok(Arc::new(numbers.iter().map(|number| number.map(part)).collect::<UInt64Array>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Decimal128Array, Int64Array};

    #[test]
    fn keys_of_quotients_order_as_they_do() {
        let sums = [-200, -199, -1, 0, 100, 333, 334, 1_000];
        let counts = [3, 3, 1, 5, 300, 1_000, 1_000, 1];
        let sums: ArrayRef = Arc::new(Decimal128Array::from(sums.to_vec()).with_precision_and_scale(38, 2).unwrap());
        let counts: ArrayRef = Arc::new(Int64Array::from(counts.to_vec()));
        let keys = QuotientKey.apply(&[sums, counts]).unwrap();
        let keys: Vec<&[u8]> = keys.as_binary::<i32>().iter().flatten().collect();
        assert!(keys.windows(2).take(4).all(|pair| pair[0] < pair[1]), "{keys:?}");
        // 1.00 / 300 lies between 3.33 / 1000 and 3.34 / 1000.
        assert!(keys[5] < keys[4] && keys[4] < keys[6] && keys[6] < keys[7]);
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
    }

    #[test]
    fn equal_quotients_have_one_key() {
        let sums: ArrayRef = Arc::new(Decimal128Array::from(vec![100, 300, -700, -1_400]).with_precision_and_scale(38, 2).unwrap());
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![3, 9, 3, 6]));
        let keys = QuotientKey.apply(&[sums, counts]).unwrap();
        let keys = keys.as_binary::<i32>();
        assert_eq!(keys.value(0), keys.value(1));
        assert_eq!(keys.value(2), keys.value(3));
        assert_ne!(keys.value(0), keys.value(2));
    }

    #[test]
    fn parts_are_rounded_up_exactly() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 10, 30, 1_000]));
        let part = |percent: &str| {
            let parts = PartOf { percent: percent.parse().unwrap() }.apply(&[Arc::clone(&numbers)]).unwrap();
            parts.as_primitive::<datafusion::arrow::datatypes::UInt64Type>().values().to_vec()
        };
        assert_eq!(part("10"), [0, 1, 1, 3, 100]);
        assert_eq!(part("0.1"), [0, 1, 1, 1, 1]);
        assert_eq!(part("100"), [0, 1, 10, 30, 1_000]);
        assert_eq!(part("0"), [0; 5]);
        // Three tenths of a percent of a thousand are three, which doubles would make four.
        assert_eq!(part("0.3")[4], 3);
    }
}
