//! Numbers in SQL: text that is one, doubles on their way into exact sums, and orders over integers and doubles at once.

use super::form::{Form, Typed};
use super::lets::Lets;
use super::sql::{Expr, formula};

/// A number as JSON writes it.
pub(super) const NUMBER: &str = "^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$";

/// Digits after the point with which a double enters a sum.
pub(super) const SUM_SCALE: i8 = 9;

/// The text without space, tab, CR and LF around it.
pub(super) fn trimmed(text: &Expr) -> Expr {
    formula!("trimBoth({0}, ' \\t\\r\\n')", text)
}

/// The exact integer of 64 bits that a text is.
pub(super) fn integer_of_text(text: &Expr) -> Expr {
    formula!(
        "if(match({0}, {1}), coalesce(toInt128(toInt64OrNull({0})), toInt128(toUInt64OrNull({0}))), NULL)",
        text,
        Expr::text(NUMBER)
    )
}

/// The finite double that a text is, unless it is an integer of 64 bits.
pub(super) fn double_of_text(text: &Expr) -> Expr {
    formula!(
        "if(match({0}, {1}) AND isNull(toInt64OrNull({0})) AND isNull(toUInt64OrNull({0})) AND isFinite(ifNull(toFloat64OrNull({0}), nan)), \
         toFloat64OrNull({0}) + 0., NULL)",
        text,
        Expr::text(NUMBER)
    )
}

/// A text as a mixed number.
pub(super) fn mixed_of_text(text: &Expr) -> Expr {
    let text = trimmed(text);
    formula!("tuple({0}, {1})", integer_of_text(&text), double_of_text(&text))
}

/// Doubles without NaN and infinities, which are missing, and without -0.0.
pub(super) fn finite(double: &Expr) -> Expr {
    formula!("if(isFinite({0}), toFloat64({0}) + 0., NULL)", double)
}

/// The rank of a double among all: an integer of the same order.
fn rank(double: &Expr) -> Expr {
    formula!(
        "if(reinterpretAsInt64({0}) < 0, bitXor(reinterpretAsInt64({0}), 9223372036854775807), reinterpretAsInt64({0}))",
        double
    )
}

/// An integer that orders mixed numbers by their exact value, integers before the double that they equal: the rank of the nearest double,
/// what the integer is above that, and whether it is a double. NULL when the number is missing.
pub(super) fn key_of_mixed(lets: &mut Lets, name: &str, mixed: &Expr) -> Expr {
    let integer = formula!("tupleElement({0}, 1)", mixed);
    // Of 64 bits, signed or not, so that the conversion rounds once.
    let nearest = lets.bind(
        format!("nearest double of {name}"),
        formula!(
            "coalesce(tupleElement({0}, 2), if({1} < 0, toFloat64(toInt64({1})), toFloat64(toUInt64({1})))) + 0.",
            mixed,
            integer
        ),
    );
    formula!(
        "toInt256({0}) * 8589934592 + if(isNull({1}), toInt256(1), (toInt256({1}) - toInt256({2})) * 2)",
        rank(&nearest),
        integer,
        nearest
    )
}

/// A mixed number as the one of all equal ones: a double that is an integer of 64 bits is that integer.
pub(super) fn canonical(mixed: &Expr) -> Expr {
    // What is converted is one, whatever stands in rows for which the other branch is taken.
    let whole = formula!(
        "ifNull(tupleElement({0}, 2) = trunc(tupleElement({0}, 2)) AND tupleElement({0}, 2) >= -9223372036854775808. \
         AND tupleElement({0}, 2) < 18446744073709551616., 0)",
        mixed
    );
    formula!(
        "if({1}, tuple(CAST(toInt128(if({1}, assumeNotNull(tupleElement({0}, 2)), 0.)) AS Nullable(Int128)), \
         CAST(NULL AS Nullable(Float64))), {0})",
        mixed,
        whole
    )
}

/// A text that equal numbers share and no others.
pub(super) fn identity_of_mixed(mixed: &Expr) -> Expr {
    let one = canonical(mixed);
    formula!("coalesce(toString(tupleElement({0}, 1)), concat('~', hex(reinterpretAsUInt64(tupleElement({0}, 2)))))", one)
}

/// What a number adds to a sum: digits, and how many of them stand after the point.
pub(super) fn addend(lets: &mut Lets, name: &str, value: &Typed) -> Option<(Expr, i8)> {
    let expr = &value.expr;
    Some(match &value.form {
        Form::Integer { .. } => (formula!("toInt256({0})", expr), 0),
        Form::Exact { scale } => (expr.clone(), *scale),
        Form::Float => (billionths(lets, name, expr), SUM_SCALE),
        Form::Mixed => {
            let double = lets.bind(format!("double of {name}"), formula!("tupleElement({0}, 2)", expr));
            let billionths = billionths(lets, name, &double);
            (formula!("coalesce(toInt256(tupleElement({0}, 1)) * 1000000000, {1})", expr, billionths), SUM_SCALE)
        }
        Form::Text
        | Form::Boolean
        | Form::Instant
        | Form::List(_)
        | Form::Stored { .. }
        | Form::Age { .. }
        | Form::Average { .. } => {
            return None;
        }
    })
}

/// A double in billionths, ties to even; NULL from 10^18 on. Its bits are a whole number times a power of two: times 10^9 that is shifted.
pub(super) fn billionths(lets: &mut Lets, name: &str, double: &Expr) -> Expr {
    let mut bind = |what: &str, expr| lets.bind(format!("{what} of {name}"), expr);
    let bits = bind("bits", formula!("reinterpretAsUInt64(abs({0}))", double));
    let exponent = bind("exponent", formula!("greatest(bitShiftRight({0}, 52), 1) - 1075", bits));
    let whole = formula!("bitAnd({0}, 4503599627370495) + if(bitShiftRight({0}, 52) > 0, 4503599627370496, 0)", bits);
    let product = bind("product", formula!("toUInt256({0}) * 1000000000", whole));
    let shift = bind("shift", formula!("toUInt16(least(greatest(-{0}, 0), 200))", exponent));
    let floor = bind("floor", formula!("bitShiftRight({0}, {1})", product, shift));
    let rest = bind("rest", formula!("{0} - bitShiftLeft({1}, {2})", product, floor, shift));
    let half = bind("half", formula!("bitShiftRight(bitShiftLeft(toUInt256(1), {0}), 1)", shift));
    let up = formula!("{0} > {1} OR ({0} = {1} AND {1} > 0 AND bitAnd({2}, 1) = 1)", rest, half, floor);
    let rounded =
        formula!("if({0} > 0, bitShiftLeft({1}, toUInt16(greatest({0}, 0))), {2} + if({3}, 1, 0))", exponent, product, floor, up);
    formula!("if(abs({0}) < 1e18, toInt256({1}) * if({0} < 0, -1, 1), NULL)", double, rounded)
}
