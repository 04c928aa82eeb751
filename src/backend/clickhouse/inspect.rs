//! One subject as a batch sees it: the value of every feature as a text that loses nothing, and that text as people read it.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use jiff::Timestamp;
use serde::Deserialize;

use super::form::{Form, Typed};
use super::sql::{Expr, formula};
use crate::backend::DAY_MICROS;
use crate::backend::{Datum, Inspection, shown_quotient};
use crate::model::scoring::Score;

/// The row of a subject: values, tests, outputs, and scores in billionths.
#[derive(Debug, Deserialize)]
pub(super) struct Row(Vec<Option<String>>, Vec<u8>, Vec<u8>, Vec<Option<i64>>);

impl Row {
    /// What the row says, where values have these forms.
    pub(super) fn inspection(self, forms: &[Form]) -> Inspection {
        let Self(values, tests, outputs, scores) = self;
        let told = |flags: Vec<u8>| flags.into_iter().map(|flag| flag > 0).collect();
        Inspection {
            in_universe: true,
            values: values
                .iter()
                .zip(forms)
                .map(|(text, form)| text.as_deref().map_or(Datum::Missing, |text| shown(form, text)))
                .collect(),
            tests: told(tests),
            outputs: told(outputs),
            scores: scores.into_iter().map(|score| Score::of_billionths(score?)).collect(),
        }
    }
}

/// A value as a text; NULL when it is missing.
pub(super) fn text(value: &Typed) -> Expr {
    let expr = &value.expr;
    match &value.form {
        Form::Text => formula!("toNullable({0})", expr),
        Form::Boolean | Form::Instant | Form::Age { .. } | Form::Integer { .. } | Form::Exact { .. } => {
            formula!("toString(toNullable({0}))", expr)
        }
        Form::Float => formula!("toString(reinterpretAsUInt64(toNullable({0})))", expr),
        Form::Mixed => formula!(
            "multiIf(isNotNull(tupleElement({0}, 1)), toString(tupleElement({0}, 1)), isNotNull(tupleElement({0}, 2)), \
             concat('bits ', toString(reinterpretAsUInt64(assumeNotNull(tupleElement({0}, 2))))), NULL)",
            expr
        ),
        Form::Average { count, .. } => {
            formula!("if(ifNull({1}, 0) > 0, concat(toString({0}), '/', toString({1})), NULL)", expr, count.as_ref())
        }
        Form::Stored { text } => text.as_ref().clone(),
        Form::List(element) => {
            let element = text_of_element(element);
            formula!("toNullable(toJSONString(arrayMap(e -> {1}, {0})))", expr, element)
        }
    }
}

fn text_of_element(form: &Form) -> Expr {
    text(&Typed { expr: formula!("e"), form: form.clone() })
}

/// A text of [`text`] for people.
fn shown(form: &Form, text: &str) -> Datum {
    let number = |text: String| Datum::Number(text);
    let double = |bits: &str| bits.parse().map_or_else(|_| bits.to_owned(), |bits: u64| f64::from_bits(bits).to_string());
    let quotient = |dividend: &str, scale: i64, divisor: BigDecimal| {
        let digits: BigInt = dividend.parse().unwrap_or_default();
        number(shown_quotient(&BigDecimal::new(digits, scale), &divisor))
    };
    match form {
        Form::Text | Form::Stored { .. } => Datum::Text(text.to_owned()),
        Form::Boolean => Datum::Boolean(text == "1" || text == "true"),
        Form::Instant => {
            let at = text.parse().ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
            Datum::Instant(at.map_or_else(|| format!("{text} µs"), |at| at.to_string()))
        }
        Form::Integer { .. } => number(text.to_owned()),
        Form::Float => number(double(text)),
        Form::Exact { scale } => {
            let digits: BigInt = text.parse().unwrap_or_default();
            number(BigDecimal::new(digits, i64::from(*scale)).normalized().to_plain_string())
        }
        Form::Mixed => number(text.strip_prefix("bits ").map_or_else(|| text.to_owned(), double)),
        Form::Age { as_of } => {
            let since: i64 = text.parse().unwrap_or_default();
            let age = i128::from(as_of.as_microsecond()) - i128::from(since);
            quotient(&age.to_string(), 0, BigDecimal::from(DAY_MICROS))
        }
        Form::Average { scale, .. } => match text.split_once('/') {
            Some((digits, count)) => quotient(digits, i64::from(*scale), BigDecimal::new(count.parse().unwrap_or_default(), 0)),
            None => Datum::Missing,
        },
        Form::List(element) => {
            let elements: Vec<Option<String>> = serde_json::from_str(text).unwrap_or_default();
            let shown = |text: Option<String>| text.map_or_else(|| "null".to_owned(), |text| shown(element, &text).to_string());
            Datum::List(elements.into_iter().map(shown).collect())
        }
    }
}
