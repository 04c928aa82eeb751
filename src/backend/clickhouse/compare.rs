//! How two numbers of a subject compare: exactly, or as the nearest doubles when one is a double.

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, ToPrimitive as _};

use super::form::{Form, Typed};
use super::predicate::Unsuited;
use super::score::{double, of_digits};
use super::sql::{Expr, formula};
use crate::backend::DAY_MICROS;
use crate::ir::Comparator;
use crate::model::decimal::Decimal;

/// `digits * 10^-scale / divisor`; the divisor is positive.
struct Fraction {
    digits: Expr,
    scale: i64,
    divisor: Expr,
}

/// Whether `left comparator factor * right`: two-valued.
///
/// # Errors
/// When a side is no number.
pub(super) fn compare(left: &Typed, comparator: Comparator, right: &Typed, factor: &Decimal) -> Result<Expr, Unsuited> {
    let doubles = || -> Result<Expr, Unsuited> { Ok(compared(&double(left)?, comparator, &product(right, factor)?)) };
    let holds = match (Fraction::of(left), Fraction::of(right)) {
        (Some(one), Some(other)) => {
            let exact = one.compared(comparator, &other, factor);
            // A number of two kinds is a double where it is no integer.
            let mixed = [left, right].into_iter().filter(|side| side.form == Form::Mixed);
            let is_double = Expr::any(mixed.map(|side| formula!("isNotNull(tupleElement({0}, 2))", side.expr)));
            match is_double {
                Expr::Infix(_, ref of) if of.is_empty() => exact,
                is_double => formula!("if({0}, {1}, {2})", is_double, doubles()?, exact),
            }
        }
        _ => doubles()?,
    };
    Ok(formula!("ifNull({0}, 0)", holds))
}

/// The double nearest to a number times a factor.
fn product(value: &Typed, factor: &Decimal) -> Result<Expr, Unsuited> {
    if *factor == Decimal::from(1i64) {
        return double(value);
    }
    let (digits, scale) = factor.as_big().as_bigint_and_exponent();
    let whole = |number: &Expr, own: i64| of_digits(&formula!("({0} * {1})", number, Expr::number("Int256", &digits)), own + scale);
    let expr = &value.expr;
    Ok(match &value.form {
        Form::Integer { .. } => whole(&formula!("toInt256({0})", expr), 0),
        Form::Exact { scale } => whole(expr, i64::from(*scale)),
        Form::Mixed => formula!(
            "if(isNotNull(tupleElement({0}, 1)), {1}, {2})",
            expr,
            whole(&formula!("toInt256(tupleElement({0}, 1))", expr), 0),
            times(&formula!("tupleElement({0}, 2)", expr), factor)
        ),
        _ => times(&double(value)?, factor),
    })
}

/// A double times a factor, rounded once: the product with the double next to the factor, what its rounding left out by the splitting of
/// Dekker (Numerische Mathematik 18, 1971), and the product with the rest of the factor.
fn times(double: &Expr, factor: &Decimal) -> Expr {
    let high = factor.to_f64();
    let rest = BigDecimal::try_from(high).ok().and_then(|high| (factor.as_big() - high).to_f64()).unwrap_or(0.0);
    let literal = |value: f64| Expr::number("Float64", format!("{value:e}"));
    let product = formula!("({0} * {1})", double, literal(high));
    // Halves of 26 bits, whose products are exact.
    let split = high * 134_217_729.0;
    let upper = split - (split - high);
    if rest == 0.0 || !upper.is_finite() {
        return product;
    }
    let left_out = formula!(
        "((({1} - (({1}) - {0})) * {2} - {4}) + ({1} - (({1}) - {0})) * {3} + ({0} - ({1} - (({1}) - {0}))) * {2} \
         + ({0} - ({1} - (({1}) - {0}))) * {3} + {0} * {5})",
        double,
        formula!("({0} * 134217729.)", double),
        literal(upper),
        literal(high - upper),
        product,
        literal(rest)
    );
    formula!("({0} + if(isFinite({1}), {1}, 0.))", product, left_out)
}

fn compared(left: &Expr, comparator: Comparator, right: &Expr) -> Expr {
    match comparator {
        Comparator::Eq => formula!("{0} = {1}", left, right),
        Comparator::Gt => formula!("{0} > {1}", left, right),
        Comparator::Gte => formula!("{0} >= {1}", left, right),
        Comparator::Lt => formula!("{0} < {1}", left, right),
        Comparator::Lte => formula!("{0} <= {1}", left, right),
    }
}

impl Fraction {
    /// Of a number that is one; `None` for doubles.
    fn of(value: &Typed) -> Option<Self> {
        let expr = &value.expr;
        let one = || formula!("toInt256(1)");
        Some(match &value.form {
            Form::Integer { .. } => Self { digits: formula!("toInt256({0})", expr), scale: 0, divisor: one() },
            Form::Exact { scale } => Self { digits: expr.clone(), scale: i64::from(*scale), divisor: one() },
            Form::Mixed => Self { digits: formula!("toInt256(tupleElement({0}, 1))", expr), scale: 0, divisor: one() },
            Form::Age { as_of } => Self {
                digits: formula!("(toInt256({1}) - {0})", expr, Expr::number("Int64", as_of.as_microsecond())),
                scale: 0,
                divisor: Expr::number("Int256", DAY_MICROS),
            },
            Form::Average { scale, count } => Self {
                digits: expr.clone(),
                scale: i64::from(*scale),
                divisor: formula!("nullIf(toInt256({0}), 0)", count.as_ref()),
            },
            Form::Float | Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored { .. } => return None,
        })
    }

    /// Both sides times both divisors and the powers of ten that make them whole.
    fn compared(&self, comparator: Comparator, other: &Self, factor: &Decimal) -> Expr {
        let (digits, scale) = factor.as_big().as_bigint_and_exponent();
        let shift = scale + other.scale - self.scale;
        let ten = |places: i64| BigInt::from(10).pow(u32::try_from(places.max(0)).unwrap_or(0));
        let left = formula!("({0} * {1} * {2})", self.digits, other.divisor, Expr::number("Int256", ten(shift)));
        let right = formula!("({0} * {1} * {2})", other.digits, self.divisor, Expr::number("Int256", digits * ten(-shift)));
        compared(&left, comparator, &right)
    }
}
