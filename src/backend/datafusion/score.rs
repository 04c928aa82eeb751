//! Scores: the degrees of tests as columns beside the tests, and what they combine to, in billionths.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float64Type, TimestampMicrosecondType};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, cast};

use super::form::{Form, Typed, decimal_at};
use super::function::{Kernel, argument, call};
use super::number::double_of_key;
use crate::backend::DAY_MICROS;
use crate::ir::{Degree, Nearness, NumberTest, Scored, Test, nth_greatest, weighted_mean};
use crate::model::decimal::Decimal;
use crate::model::scoring::{Combination, Score};
use crate::model::window::Interval;
use crate::plan::{Batch, Leaf};

/// The column with the degree of a test of the batch.
pub(super) fn degree_column(test: usize) -> String {
    format!("degree {test}")
}

/// The tests of which the scores of a batch want the degree.
pub(super) fn graded_tests(batch: &Batch) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&Degree<Leaf>> = batch.scores.iter().flat_map(|scored| &scored.rules).map(|rule| &rule.degree).collect();
    while let Some(degree) = waiting.pop() {
        match degree {
            Degree::Graded(Leaf::Test(test)) => drop(found.insert(*test)),
            Degree::Least(of) | Degree::Greatest(of) | Degree::NthGreatest { of, .. } => waiting.extend(of),
            Degree::Crisp(_)
            | Degree::Graded(Leaf::Rank(_) | Leaf::Compare(_) | Leaf::Score(_) | Leaf::Output(_) | Leaf::Given(_)) => {}
        }
    }
    found
}

/// The degree of a test of a value, where `holds` says whether it passes. Never NULL.
///
/// # Errors
/// When the test is not one of a number.
pub(super) fn degree(value: &Typed, test: &Test<Interval>, holds: Expr) -> Result<Expr> {
    let Test::Number(test) = test else { return plan_err!("the degree of {test:?}") };
    Ok(call(TestDegree { test: test.clone() }, vec![holds, double(value)?]))
}

/// What the degrees of the rules come to.
///
/// # Errors
/// When there are no rules.
pub(super) fn combined(scored: &Scored<Leaf>, degrees: &[ArrayRef]) -> Result<ArrayRef> {
    match scored.combination {
        Combination::All => least(degrees),
        Combination::Any => greatest(degrees),
        Combination::Weighted => {
            let weights: Vec<f64> = scored.rules.iter().map(|rule| rule.weight.to_f64()).collect();
            each_row(degrees, |degrees| weighted_mean(&weights, degrees))
        }
    }
}

/// The degree of a group, of the degrees of its parts.
///
/// # Errors
/// When it is no group, or has no parts.
pub(super) fn picked(group: &Degree<Leaf>, parts: &[ArrayRef]) -> Result<ArrayRef> {
    match group {
        Degree::Least(_) => least(parts),
        Degree::Greatest(_) => greatest(parts),
        Degree::NthGreatest { n, .. } => each_row(parts, |degrees| nth_greatest(*n, degrees)),
        Degree::Crisp(_) | Degree::Graded(_) => plan_err!("a degree that is no group"),
    }
}

/// Scores as they are kept: the nearest billionths.
pub(super) fn nearest_billionths(scores: &ArrayRef) -> ArrayRef {
    let scores = scores.as_primitive::<Float64Type>();
    let billionths = scores.values().iter().map(|score| i64::from(Score::nearest(*score).billionths()));
    Arc::new(Int64Array::from_iter_values(billionths))
}

/// The double nearest to a number; of a quotient, that of what is divided divided by that of what divides.
fn double(value: &Typed) -> Result<Expr> {
    let expr = value.expr.clone();
    Ok(match &value.form {
        Form::Float => expr,
        Form::Integer | Form::Unsigned => cast(expr, DataType::Float64),
        Form::Decimal { .. } => call(DoubleOfDecimal, vec![expr]),
        Form::Mixed => call(DoubleOfKey, vec![expr]),
        Form::Age { as_of } => call(Days { as_of: as_of.as_microsecond() }, vec![expr]),
        Form::Average { count } => call(DoubleOfDecimal, vec![expr]) / cast(count.as_ref().clone(), DataType::Float64),
        Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored => {
            return plan_err!("the degree of {:?}", value.form);
        }
    })
}

/// The degree of a test, of whether it passes and of the number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TestDegree {
    test: NumberTest,
}

impl Kernel for TestDegree {
    fn name(&self) -> String {
        match &self.test {
            NumberTest::Compare(comparator, bound) => format!("degree[{comparator:?} {bound}]"),
            NumberTest::Between(low, high) => format!("degree[between {low} and {high}]"),
            NumberTest::OneOf(_) => "degree[in]".to_owned(),
        }
    }

    fn return_type(&self) -> DataType {
        DataType::Float64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let (holds, values) = (argument(arguments, 0)?.as_boolean(), argument(arguments, 1)?.as_primitive::<Float64Type>());
        let nearness = Nearness::to(&self.test);
        let degrees = (0..values.len()).map(|row| {
            if holds.is_valid(row) && holds.value(row) {
                1.0
            } else if values.is_null(row) || values.value(row).is_nan() {
                0.0
            } else {
                nearness.degree(values.value(row))
            }
        });
        Ok(Arc::new(Float64Array::from_iter_values(degrees)))
    }
}

fn least(degrees: &[ArrayRef]) -> Result<ArrayRef> {
    each_row(degrees, |degrees| degrees.iter().copied().fold(1.0, f64::min))
}

fn greatest(degrees: &[ArrayRef]) -> Result<ArrayRef> {
    each_row(degrees, |degrees| degrees.iter().copied().fold(0.0, f64::max))
}

/// What the degrees of each row come to.
fn each_row(arguments: &[ArrayRef], of: impl Fn(&mut [f64]) -> f64) -> Result<ArrayRef> {
    let columns: Vec<&Float64Array> = arguments.iter().map(|degrees| degrees.as_primitive::<Float64Type>()).collect();
    let rows = argument(arguments, 0)?.len();
    let mut degrees = Vec::with_capacity(columns.len());
    let found = (0..rows).map(|row| {
        degrees.clear();
        degrees.extend(columns.iter().map(|column| column.value(row)));
        of(&mut degrees)
    });
    Ok(Arc::new(Float64Array::from_iter_values(found)))
}

/// The double nearest to a DECIMAL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DoubleOfDecimal;

impl Kernel for DoubleOfDecimal {
    fn name(&self) -> String {
        "double_of_decimal".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Float64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let decimals = argument(arguments, 0)?;
        let nearest = (0..decimals.len()).map(|row| {
            if decimals.is_null(row) {
                return Ok(None);
            }
            match small_decimal(decimals, row) {
                Some(double) => Ok(Some(double)),
                None => decimal_at(decimals, row).map(|decimal| Some(Decimal::from(decimal).to_f64())),
            }
        });
        Ok(Arc::new(nearest.collect::<Result<Float64Array>>()?))
    }
}

/// The double nearest to a DECIMAL whose digits and power of ten are doubles themselves, so that one division rounds once.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn small_decimal(decimals: &ArrayRef, row: usize) -> Option<f64> {
    let DataType::Decimal128(_, scale) = decimals.data_type() else { return None };
    let digits = decimals.as_primitive::<Decimal128Type>().value(row);
    let exact = digits.unsigned_abs() < 1 << 53 && (0..=22).contains(scale);
    exact.then(|| digits as f64 / 10f64.powi(i32::from(*scale)))
}

/// The double nearest to a mixed number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DoubleOfKey;

impl Kernel for DoubleOfKey {
    fn name(&self) -> String {
        "double_of_key".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Float64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let keys = argument(arguments, 0)?.as_primitive::<Decimal128Type>();
        // What stands in the place of NULL is no key.
        Ok(Arc::new(keys.iter().map(|key| key.map(double_of_key)).collect::<Float64Array>()))
    }
}

/// Days of 24 hours from an instant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Days {
    /// To this, in microseconds since 1970.
    as_of: i64,
}

impl Kernel for Days {
    fn name(&self) -> String {
        format!("days_up_to[{}]", self.as_of)
    }

    fn return_type(&self) -> DataType {
        DataType::Float64
    }

    #[expect(clippy::cast_precision_loss, reason = "rounds to the nearest double")]
    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let instants = argument(arguments, 0)?.as_primitive::<TimestampMicrosecondType>();
        let days = |at: i64| (i128::from(self.as_of) - i128::from(at)) as f64 / DAY_MICROS as f64;
        Ok(Arc::new(instants.unary::<_, Float64Type>(days)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BooleanArray, Decimal128Array, Decimal256Array};
    use datafusion::arrow::datatypes::i256;

    use super::*;
    use crate::ir::Comparator;

    fn doubles(array: &ArrayRef) -> Vec<Option<f64>> {
        array.as_primitive::<Float64Type>().iter().collect()
    }

    #[test]
    fn degrees_are_never_null() {
        let kernel = TestDegree { test: NumberTest::Compare(Comparator::Gte, Decimal::from(4u64)) };
        let holds: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(false), None, Some(false)]));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(5.0), Some(3.0), None, Some(-1.0), Some(f64::NAN)]));
        let degrees = kernel.apply(&[holds, values]).unwrap();
        assert_eq!(doubles(&degrees), [1.0, 0.75, 0.0, 0.0, 0.0].map(Some));
    }

    #[test]
    fn decimals_are_the_nearest_doubles() {
        let small: ArrayRef =
            Arc::new(Decimal128Array::from(vec![Some(72), None, Some(-5)]).with_precision_and_scale(38, 2).unwrap());
        assert_eq!(doubles(&DoubleOfDecimal.apply(&[small]).unwrap()), [Some(0.72), None, Some(-0.05)]);
        let great = i256::from_i128(9_007_199_254_740_993).checked_mul(i256::from_i128(1_000_000_000)).unwrap();
        let great: ArrayRef = Arc::new(Decimal256Array::from(vec![great]).with_precision_and_scale(76, 9).unwrap());
        assert_eq!(doubles(&DoubleOfDecimal.apply(&[great]).unwrap()), [Some(9_007_199_254_740_992.0)]);
    }
}
