//! Scores in SQL: the degrees of tests in doubles, what they combine to, and that in billionths. Every operation is one of the engine's on
//! doubles, in the order in which the definition has them, so that it rounds as everywhere.

use super::form::{Form, Typed};
use super::lets::Lets;
use super::number;
use super::predicate::Unsuited;
use super::sql::{Expr, formula};
use crate::ir::{Nearness, NumberTest};
use crate::model::scoring::Combination;

/// The degree of a test of a value, where `holds` says whether it passes; never NULL.
pub(super) fn degree(lets: &mut Lets, name: &str, value: &Typed, test: &NumberTest, holds: &Expr) -> Result<Expr, Unsuited> {
    let value = lets.bind(format!("double of {name}"), double(value)?);
    let rising = |bound: f64| -> Expr {
        let bound = if bound > 0.0 { bound } else { return formula!("0.") };
        formula!("least(greatest({0} / {1}, 0.), 1.)", value, literal(bound))
    };
    let falling = |bound: f64| -> Expr {
        let bound = if bound > 0.0 { bound } else { return formula!("0.") };
        formula!("least(greatest(1. - ({0} - {1}) / {1}, 0.), 1.)", value, literal(bound))
    };
    let near = match Nearness::to(test) {
        Nearness::Rising(bound) => rising(bound),
        Nearness::Falling(bound) => falling(bound),
        Nearness::Inside(low, high) => formula!(
            "multiIf({0} <= {1}, {2}, {0} >= {3}, {4}, 1.)",
            value,
            literal(low),
            rising(low),
            literal(high),
            falling(high)
        ),
        Nearness::Crisp => formula!("0."),
    };
    Ok(formula!("multiIf({0}, 1., isNull({1}) OR isNaN({1}), 0., assumeNotNull({2}))", holds, value, near))
}

/// What the degrees of the rules come to, in billionths.
pub(super) fn score(lets: &mut Lets, name: &str, combination: Combination, weights: &[f64], degrees: Vec<Expr>) -> Expr {
    let combined = match combination {
        Combination::All => least(degrees),
        Combination::Any => greatest(degrees),
        Combination::Weighted => {
            let terms = weights.iter().zip(degrees).map(|(weight, degree)| formula!("{0} * {1}", literal(*weight), degree));
            let sum = terms.fold(formula!("0."), |sum, term| formula!("({0} + {1})", sum, term));
            formula!("({0} / {1})", sum, literal(weights.iter().fold(0.0, |sum, weight| sum + weight)))
        }
    };
    let combined = lets.bind(format!("combined {name}"), formula!("least(greatest({0}, 0.), 1.)", combined));
    let billionths = number::billionths(lets, name, &combined);
    lets.bind(name.to_owned(), formula!("toInt64(assumeNotNull({0}))", billionths))
}

/// The least of degrees.
pub(super) fn least(degrees: Vec<Expr>) -> Expr {
    formula!("arrayMin({0})", Expr::array(degrees))
}

/// The greatest of degrees.
pub(super) fn greatest(degrees: Vec<Expr>) -> Expr {
    formula!("arrayMax({0})", Expr::array(degrees))
}

/// The n-th greatest of degrees, from 1; 0 when there are fewer.
pub(super) fn nth_greatest(n: usize, degrees: Vec<Expr>) -> Expr {
    formula!("arrayElement(arrayReverseSort({0}), {1})", Expr::array(degrees), Expr::number("UInt64", n))
}

fn literal(value: f64) -> Expr {
    Expr::number("Float64", format!("{value:e}"))
}

/// The double nearest to a number; of a quotient, that of what is divided divided by that of what divides.
pub(super) fn double(value: &Typed) -> Result<Expr, Unsuited> {
    let expr = &value.expr;
    Ok(match &value.form {
        Form::Float => expr.clone(),
        Form::Integer { .. } => formula!("toFloat64({0})", expr),
        Form::Exact { scale } => of_digits(expr, i64::from(*scale)),
        Form::Mixed => formula!(
            "coalesce(tupleElement({0}, 2), if(tupleElement({0}, 1) < 0, toFloat64(toInt64(tupleElement({0}, 1))), \
             toFloat64(toUInt64(tupleElement({0}, 1)))))",
            expr
        ),
        Form::Age { as_of } => {
            formula!("toFloat64(toInt128({1}) - {0}) / 86400000000.", expr, Expr::number("Int64", as_of.as_microsecond()))
        }
        Form::Average { scale, count } => formula!("({0} / toFloat64({1}))", of_digits(expr, i64::from(*scale)), count.as_ref()),
        form @ (Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored { .. }) => {
            return Err(Unsuited::new("a degree", form));
        }
    })
}

/// The double nearest to digits with so many of them after the point: read as text, so that it is rounded once.
pub(super) fn of_digits(digits: &Expr, scale: i64) -> Expr {
    formula!("toFloat64OrNull(concat(toString({0}), {1}))", digits, Expr::text(&format!("e{}", -scale)))
}
