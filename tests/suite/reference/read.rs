//! From a row to a value as a condition reads it. What does not fit is `None`, missing.

use chrono::{Datelike, Days, NaiveDate, Timelike};
use segmenta::check::{CheckedProperty, ElementType, Reading};
use segmenta::model::catalog::Access;
use segmenta::model::property::DatePart;

use bigdecimal::BigDecimal;

use super::dates::{Calendar, parse_day, parse_instant};
use super::json;
use super::value::{Number, Row, Value, number_of_double, number_of_json};

/// Microseconds of a day of 24 hours.
pub(crate) const DAY: i64 = 86_400_000_000;

/// A value as a condition reads it.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    Text(String),
    Number(Number),
    Boolean(bool),
    /// An instant, microseconds.
    Date(i64),
    /// An array as it is stored: its elements are read when they are compared.
    Elements(Vec<Value>),
    /// The value as it is stored.
    Stored(Value),
}

/// The stored value at a place; `None` when its path does not exist, or leads to NULL or JSON null.
pub(crate) fn stored(row: &Row, access: &Access) -> Option<Value> {
    let mut value = row.get(&access.column)?.clone();
    for field in &access.fields {
        value = member(value, field)?;
    }
    if let Some(keys) = &access.json {
        let Value::Text(text) = value else { return None };
        value = json::parse(&text)?;
        for key in keys {
            value = member(value, key)?;
        }
    }
    if value == Value::Null { None } else { Some(value) }
}

fn member(value: Value, key: &str) -> Option<Value> {
    let Value::Object(members) = value else { return None };
    members.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// What a condition sees of a property.
pub(crate) fn property(row: &Row, property: &CheckedProperty, reading: Reading, calendar: &Calendar) -> Option<Seen> {
    match property {
        CheckedProperty::Stored(access) => read(stored(row, access)?, reading, calendar),
        CheckedProperty::DaysSince(access) => {
            let at = date(&stored(row, access)?, calendar)?;
            Some(Seen::Number(days(i128::from(calendar.as_of) - i128::from(at))))
        }
        CheckedProperty::DaysToAnniversary(access) => {
            let at = date(&stored(row, access)?, calendar)?;
            Some(Seen::Number(Number::integer(calendar.days_to_anniversary(at))))
        }
        CheckedProperty::Part(part, access) => {
            let local = calendar.local(date(&stored(row, access)?, calendar)?);
            Some(Seen::Number(Number::integer(match part {
                DatePart::Year => i64::from(local.year()),
                DatePart::Month => i64::from(local.month()),
                DatePart::Day => i64::from(local.day()),
                DatePart::Weekday => i64::from(local.weekday().number_from_monday()),
                DatePart::Hour => i64::from(local.hour()),
            })))
        }
        CheckedProperty::Mean(accesses) => {
            let mut sum = BigDecimal::from(0);
            for access in accesses {
                sum += number(&stored(row, access)?)?.addend()?;
            }
            Some(Seen::Number(Number::Ratio(sum, BigDecimal::from(u64::try_from(accesses.len()).expect("a short list")))))
        }
    }
}

/// A length of time in days of 24 hours.
pub(crate) fn days(micros: i128) -> Number {
    Number::Ratio(BigDecimal::from(micros), BigDecimal::from(DAY))
}

/// A stored value as it is read.
pub(crate) fn read(value: Value, reading: Reading, calendar: &Calendar) -> Option<Seen> {
    match reading {
        Reading::Text => text(&value).map(Seen::Text),
        Reading::Number => number(&value).map(Seen::Number),
        Reading::Boolean => boolean(&value).map(Seen::Boolean),
        Reading::Date => date(&value, calendar).map(Seen::Date),
        Reading::Elements(ElementType::Text | ElementType::Number | ElementType::Boolean | ElementType::Any) => {
            elements(value).map(Seen::Elements)
        }
        Reading::Stored => Some(Seen::Stored(value)),
    }
}

pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::I64(value) => Some(value.to_string()),
        Value::U64(value) => Some(value.to_string()),
        Value::JsonNumber(digits) => integer(digits).map(|value| value.to_string()),
        Value::Null
        | Value::NoText
        | Value::Bool(_)
        | Value::F64(_)
        | Value::Decimal { .. }
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::List(_)
        | Value::Object(_) => None,
    }
}

pub(crate) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::I64(value) => Some(Number::integer(*value)),
        Value::U64(value) => Some(Number::integer(*value)),
        Value::F64(value) => number_of_double(*value),
        Value::Decimal { unscaled, scale } => Some(Number::Exact(BigDecimal::new(unscaled.clone(), *scale))),
        Value::JsonNumber(digits) => number_of_json(digits),
        Value::Text(text) => {
            let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
            if json::is_number(trimmed) { number_of_json(trimmed) } else { None }
        }
        Value::Null | Value::NoText | Value::Bool(_) | Value::Date(_) | Value::Timestamp(_) | Value::List(_) | Value::Object(_) => {
            None
        }
    }
}

pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Value::Text(_)
        | Value::NoText
        | Value::Null
        | Value::I64(_)
        | Value::U64(_)
        | Value::F64(_)
        | Value::Decimal { .. }
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::List(_)
        | Value::Object(_)
        | Value::JsonNumber(_) => None,
    }
}

pub(crate) fn date(value: &Value, calendar: &Calendar) -> Option<i64> {
    match value {
        Value::Timestamp(micros) => Some(*micros),
        Value::Date(days) => Some(calendar.day_start(day(*days)?)),
        Value::Text(text) => parse_day(text).map(|day| calendar.day_start(day)).or_else(|| parse_instant(text)),
        Value::I64(millis) => instant_of_millis((*millis).into()),
        Value::U64(millis) => instant_of_millis((*millis).into()),
        Value::JsonNumber(digits) => instant_of_millis(integer(digits)?),
        Value::Null
        | Value::NoText
        | Value::Bool(_)
        | Value::F64(_)
        | Value::Decimal { .. }
        | Value::List(_)
        | Value::Object(_) => None,
    }
}

/// Epoch milliseconds; there are no instants before the year -9999 and after 9999.
fn instant_of_millis(millis: i128) -> Option<i64> {
    let (first, last) = (-377_705_023_201_000, 253_402_207_200_999);
    if (first..=last).contains(&millis) { i64::try_from(millis * 1000).ok() } else { None }
}

/// An array, or an array of the one scalar.
fn elements(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::List(elements) => Some(elements),
        Value::Null | Value::Object(_) => None,
        Value::F64(value) if !value.is_finite() => None,
        scalar @ (Value::Bool(_)
        | Value::I64(_)
        | Value::U64(_)
        | Value::F64(_)
        | Value::Decimal { .. }
        | Value::Text(_)
        | Value::NoText
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::JsonNumber(_)) => Some(vec![scalar]),
    }
}

/// The integer of 64 bits that a number of JSON is written as.
fn integer(digits: &str) -> Option<i128> {
    digits.parse::<i64>().map(i128::from).or_else(|_| digits.parse::<u64>().map(i128::from)).ok()
}

fn day(since_1970: i32) -> Option<NaiveDate> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let days = Days::new(since_1970.unsigned_abs().into());
    if since_1970 < 0 { epoch.checked_sub_days(days) } else { epoch.checked_add_days(days) }
}
