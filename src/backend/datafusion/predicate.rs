//! Tests and formulas as expressions. Each test is two-valued, so that NULL never reaches a NOT.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, and, cast, is_true, lit, not};
use jiff::Timestamp;

use super::bounds::{conjunction, disjunction, number_test};
use super::elements::{elements_test, is_not_empty};
use super::form::{Form, Typed};
use super::text::{text_literal, text_test};
use crate::ir::{Formula, Test};
use crate::model::window::Interval;

/// Whether the value passes the test: two-valued.
///
/// # Errors
/// When the test does not suit the value.
pub(super) fn test(value: &Typed, test: &Test<Interval>) -> Result<Expr> {
    let expr = &value.expr;
    match (test, &value.form) {
        (Test::IsSet, form) => Ok(is_set(expr, form)),
        (Test::Number(number), _) => number_test(value, number),
        (Test::Elements(elements), _) => elements_test(value, elements),
        (Test::Text(text), Form::Text) => Ok(text_test(expr, text)),
        (Test::Boolean(wanted), Form::Boolean) => Ok(is_true(expr.clone().eq(lit(*wanted)))),
        (Test::Date(interval), Form::Instant) => Ok(in_interval(expr, *interval)),
        (Test::Text(_) | Test::Boolean(_) | Test::Date(_), form) => plan_err!("the test {test:?} on {form:?}"),
    }
}

/// Whether an instant lies in the interval: two-valued.
pub(super) fn in_interval(instant: &Expr, interval: Interval) -> Expr {
    let from = interval.from.map(|from| instant.clone().gt_eq(instant_literal(from)));
    let to = interval.to.map(|to| instant.clone().lt(instant_literal(to)));
    let bounds: Vec<Expr> = from.into_iter().chain(to).collect();
    if bounds.is_empty() { instant.clone().is_not_null() } else { is_true(conjunction(bounds)) }
}

/// A literal of the type in which plans hold instants.
pub(super) fn instant_literal(at: Timestamp) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at.as_microsecond()), Some("UTC".into())))
}

/// The formula over two-valued leaves.
///
/// # Errors
/// What `leaf` returns.
pub(super) fn formula<L>(of: &Formula<L>, leaf: &mut impl FnMut(&L) -> Result<Expr>) -> Result<Expr> {
    let mut each = |of: &[Formula<L>]| of.iter().map(|inner| formula(inner, leaf)).collect::<Result<Vec<_>>>();
    Ok(match of {
        Formula::Constant(value) => lit(*value),
        Formula::All(of) => conjunction(each(of)?),
        Formula::Any(of) => disjunction(each(of)?),
        Formula::AtLeast { count, of } => {
            let holding = each(of)?.into_iter().map(|holds| cast(holds, DataType::Int64)).collect();
            sum(holding).gt_eq(lit(i64::try_from(*count).unwrap_or(i64::MAX)))
        }
        Formula::Not(inner) => not(formula(inner, leaf)?),
        Formula::Leaf(inner) => leaf(inner)?,
    })
}

fn is_set(expr: &Expr, form: &Form) -> Expr {
    match form {
        Form::Text => is_true(expr.clone().not_eq(text_literal(""))),
        Form::Stored => is_true(and(expr.clone().not_eq(text_literal("\"\"")), expr.clone().not_eq(text_literal("[]")))),
        Form::List(_) => is_not_empty(expr),
        Form::Average { count } => is_true(and(expr.clone().is_not_null(), count.as_ref().clone().gt(lit(0i64)))),
        Form::Boolean
        | Form::Instant
        | Form::Integer
        | Form::Unsigned
        | Form::Float
        | Form::Decimal { .. }
        | Form::Mixed
        | Form::Age { .. } => expr.clone().is_not_null(),
    }
}

/// The sum of integers; balanced, so that long lists do not nest deeply.
fn sum(mut of: Vec<Expr>) -> Expr {
    if of.len() > 1 {
        let rest = of.split_off(of.len() / 2);
        return sum(of) + sum(rest);
    }
    of.pop().unwrap_or_else(|| lit(0i64))
}
