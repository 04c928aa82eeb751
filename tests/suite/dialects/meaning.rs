//! What values, texts and dates mean, over JSON: what the evaluators of foreign documents have in common. Written anew, so that it
//! shares nothing with what it judges.

use chrono::{
    DateTime, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde_json::Value as Json;

use super::world::Row;

/// Now, and the local clock.
pub(crate) struct Clock {
    pub(crate) zone: Tz,
    pub(crate) as_of: DateTime<Utc>,
}

/// What a date of a foreign document names: a day up to its end, or an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    start: i64,
    end: Option<i64>,
}

impl Clock {
    /// Microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.as_of.timestamp_micros()
    }

    pub(crate) fn today(&self) -> NaiveDate {
        self.local(self.now()).date()
    }

    pub(crate) fn local(&self, at: i64) -> NaiveDateTime {
        let utc = DateTime::from_timestamp_micros(at).expect("a moment").naive_utc();
        utc + TimeDelta::seconds(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into())
    }

    fn instant(&self, local: NaiveDateTime) -> i64 {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.timestamp_micros(),
            // The clock skips it: it is read as if it had not been put forward.
            LocalResult::None => {
                let before = self.zone.from_local_datetime(&(local - TimeDelta::hours(4))).earliest().expect("no gap is so long");
                before.timestamp_micros() + 4 * 3_600_000_000
            }
        }
    }

    pub(crate) fn start_of_day(&self, day: NaiveDate) -> i64 {
        self.instant(day.and_time(NaiveTime::MIN))
    }

    /// This time of the day, that many days ago.
    pub(crate) fn back(&self, days: i64) -> i64 {
        self.instant(self.local(self.now()) - TimeDelta::days(days))
    }

    fn day(&self, day: NaiveDate) -> Named {
        Named { start: self.start_of_day(day), end: Some(self.start_of_day(day + Days::new(1))) }
    }

    /// The moment that a value of the data is.
    pub(crate) fn at(&self, value: &Json) -> Option<i64> {
        let text = value.as_str()?;
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(self.start_of_day(day));
        }
        DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros())
    }

    /// What a date of a foreign document names.
    pub(crate) fn named(&self, text: &str) -> Named {
        let whole = |text: &str| -> i64 { text.parse().expect("a number") };
        match text {
            "today" => return self.day(self.today()),
            "yesterday" => return self.day(self.today() - Days::new(1)),
            "tomorrow" => return self.day(self.today() + Days::new(1)),
            _ => {}
        }
        if let Some(days) = text.strip_prefix("today-").and_then(|text| text.strip_suffix('d')) {
            return self.day(self.today() - TimeDelta::days(whole(days)));
        }
        if let Some(step) = text.strip_prefix('-') {
            let (amount, unit) = step.split_at(step.len() - 1);
            let local = self.local(self.now());
            let months = |months: i64| local.date() - Months::new(u32::try_from(months).expect("a few"));
            let date = match unit {
                "d" => local.date() - TimeDelta::days(whole(amount)),
                "w" => local.date() - TimeDelta::weeks(whole(amount)),
                "m" => months(whole(amount)),
                "y" => months(12 * whole(amount)),
                other => panic!("no unit {other}"),
            };
            return Named { start: self.instant(date.and_time(local.time())), end: None };
        }
        match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Ok(day) => self.day(day),
            Err(_) => Named { start: DateTime::parse_from_rfc3339(text).expect("a date").timestamp_micros(), end: None },
        }
    }
}

impl Named {
    /// Whether a moment compares so: with a day, it is before, inside or after.
    pub(crate) fn compares(self, at: i64, operator: &str) -> bool {
        let before = at < self.start;
        let after = self.end.map_or(at > self.start, |end| at >= end);
        match operator {
            "eq" => !before && !after,
            "gt" => after,
            "gte" => !before,
            "lt" => before,
            "lte" => !after,
            other => panic!("no comparison {other}"),
        }
    }
}

/// The value of a user at a column, or below a column that holds JSON; `None` is missing.
pub(crate) fn value(row: &Row, path: &[&str]) -> Option<Json> {
    let (column, keys) = path.split_first()?;
    let mut value = row.get(*column)?.clone();
    if !keys.is_empty() {
        value = serde_json::from_str(value.as_str()?).ok()?;
    }
    for key in keys {
        value = value.get(key)?.clone();
    }
    (!value.is_null()).then_some(value)
}

pub(crate) fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) if number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => {
            let text = text.trim();
            let digits = !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '.' | '-'));
            if digits { text.parse().ok() } else { None }
        }
        _ => None,
    }
}

pub(crate) fn boolean(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::String(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// Text as it compares when case does not matter.
pub(crate) fn without_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect()
}

#[expect(clippy::float_cmp, reason = "literals and values are the same few numbers")]
pub(crate) fn numbers_compare(value: f64, operator: &str, literal: f64) -> bool {
    match operator {
        "eq" => value == literal,
        "gt" => value > literal,
        "gte" => value >= literal,
        "lt" => value < literal,
        "lte" => value <= literal,
        other => panic!("no comparison {other}"),
    }
}

/// The entries of a list.
pub(crate) fn entries(value: &Json) -> &[Json] {
    value.as_array().expect("a list")
}
