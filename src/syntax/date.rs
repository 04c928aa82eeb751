//! Reads lengths of time and dates: `30d`, `-7d`, `today-1w@month`, `2026-01-15`, `2026-01-15T10:00:00+02:00`.
//!
//! The forms of [`DateExpr`] and [`Duration`] print what these functions read.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::floor_to_micros;
use crate::diagnostic::nearest;
use crate::model::window::{Anchor, DateExpr, Duration, Offset, Truncation, Unit};

/// Why a text is no length of time, or no date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTime {
    /// What is wrong: lower case, one line.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Whether `m`, which is months, may stand in a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Months {
    /// It may.
    Allowed,
    /// It is taken for minutes too easily here.
    Refused,
}

/// Longest step in time. Nothing that data holds is further away, and every sum of dates and steps stays a date.
const MAX_YEARS: i64 = 10_000;

/// Reads a positive length of time such as `30d`.
///
/// # Errors
/// The text is of another form, zero, or longer than 10,000 years; or it is of months where they are refused.
pub fn parse_duration(text: &str, months: Months) -> Result<Duration, InvalidTime> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    if number.is_empty() {
        return Err(not_a_duration(text));
    }
    let unit = unit_of(unit).ok_or_else(|| not_a_duration(text))?;
    if unit == Unit::Month && months == Months::Refused {
        return Err(InvalidTime {
            message: format!("`{text}` is a number of months, which is seldom meant here"),
            help: format!("Did you mean `{number}min`? Months can be written in days or years."),
        });
    }
    let amount: u32 = number.parse().map_err(|_| too_long(text))?;
    if i64::from(amount) > max_amount(unit) {
        return Err(too_long(text));
    }
    if amount == 0 {
        return Err(InvalidTime {
            message: format!("`{text}` is no time at all"),
            help: format!("Use at least `1{}`.", unit.keyword()),
        });
    }
    Ok(Duration { amount, unit })
}

/// Reads a date, relative or absolute.
///
/// # Errors
/// The text is of no such form, or names a day that no calendar has.
pub fn parse_date(text: &str) -> Result<DateExpr, InvalidTime> {
    if let Some(instant) = parse_instant(text) {
        return Ok(DateExpr { anchor: Anchor::Instant(instant), offsets: Vec::new(), truncation: None });
    }
    let (steps, truncation) = match text.split_once('@') {
        Some((steps, unit)) => (steps, Some(truncation_of(unit, text)?)),
        None => (text, None),
    };
    let (anchor, mut rest) = anchor_of(steps, text)?;
    let mut offsets = Vec::new();
    while !rest.is_empty() {
        let (offset, after) = leading_offset(rest, text)?;
        offsets.push(offset);
        rest = after;
    }
    Ok(DateExpr { anchor, offsets, truncation })
}

/// The instant that an integer names: milliseconds since 1970 in UTC; `None` beyond the years that have a calendar.
#[must_use]
pub fn instant_of_millis(millis: i64) -> Option<DateExpr> {
    let instant = Timestamp::from_millisecond(millis).ok()?;
    Some(DateExpr { anchor: Anchor::Instant(instant), offsets: Vec::new(), truncation: None })
}

fn anchor_of<'a>(steps: &'a str, text: &str) -> Result<(Anchor, &'a str), InvalidTime> {
    const WORDS: [(&str, Anchor); 4] =
        [("now", Anchor::Now), ("today", Anchor::Today), ("yesterday", Anchor::Yesterday), ("tomorrow", Anchor::Tomorrow)];
    if steps.starts_with(['-', '+']) {
        return Ok((Anchor::Now, steps));
    }
    for (word, anchor) in WORDS {
        if let Some(rest) = steps.strip_prefix(word) {
            return Ok((anchor, rest));
        }
    }
    if let Some((day, rest)) = steps.split_at_checked(10)
        && has_form(day, "dddd-dd-dd")
    {
        return match day.parse::<Date>() {
            Ok(day) => Ok((Anchor::Day(day), rest)),
            Err(_) => {
                Err(InvalidTime { message: format!("there is no day `{day}`"), help: "A day is written `YYYY-MM-DD`.".to_owned() })
            }
        };
    }
    let mut invalid = not_a_date(text);
    if parse_duration(steps, Months::Allowed).is_ok() {
        invalid.help = format!("Did you mean `-{text}`, in the past?");
    } else if let Some(word) = nearest(steps, WORDS.map(|(word, _)| word)) {
        invalid.help = format!("Did you mean `{word}`?");
    }
    Err(invalid)
}

fn leading_offset<'a>(rest: &'a str, text: &str) -> Result<(Offset, &'a str), InvalidTime> {
    let sign = match rest.as_bytes().first() {
        Some(b'-') => -1,
        Some(b'+') => 1,
        _ => return Err(not_a_date(text)),
    };
    let unsigned = rest.get(1..).unwrap_or_default();
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = unsigned.split_at_checked(digits).unwrap_or((unsigned, ""));
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (unit, rest) = rest.split_at_checked(letters).unwrap_or((rest, ""));
    if number.is_empty() {
        return Err(not_a_date(text));
    }
    let unit = unit_of(unit).ok_or_else(|| not_a_date(text))?;
    let amount: i64 = number.parse().map_err(|_| too_long(text))?;
    if amount > max_amount(unit) {
        return Err(too_long(text));
    }
    Ok((Offset { amount: sign * amount, unit }, rest))
}

fn unit_of(word: &str) -> Option<Unit> {
    Unit::ALL.into_iter().find(|unit| unit.keyword() == word)
}

fn truncation_of(word: &str, text: &str) -> Result<Truncation, InvalidTime> {
    let units = Truncation::ALL.map(Truncation::keyword);
    Truncation::ALL.into_iter().find(|truncation| truncation.keyword() == word).ok_or_else(|| InvalidTime {
        message: format!("`{text}` is not a date: `@{word}` is no unit to go back to"),
        help: match nearest(word, units) {
            Some(unit) => format!("Did you mean `@{unit}`?"),
            None => "Use `@day`, `@week`, `@month`, `@quarter` or `@year`.".to_owned(),
        },
    })
}

fn max_amount(unit: Unit) -> i64 {
    let days = MAX_YEARS * 365;
    match unit {
        Unit::Second => days * 86_400,
        Unit::Minute => days * 1_440,
        Unit::Hour => days * 24,
        Unit::Day => days,
        Unit::Week => days / 7,
        Unit::Month => MAX_YEARS * 12,
        Unit::Quarter => MAX_YEARS * 4,
        Unit::Year => MAX_YEARS,
    }
}

/// An instant as RFC 3339 has it, with its offset. Digits finer than microseconds are dropped, which floors.
fn parse_instant(text: &str) -> Option<Timestamp> {
    let (local, rest) = text.split_at_checked(19)?;
    if !(has_form(local, "dddd-dd-ddTdd:dd:dd") || has_form(local, "dddd-dd-ddtdd:dd:dd") || has_form(local, "dddd-dd-dd dd:dd:dd"))
    {
        return None;
    }
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, offset) = rest.split_at_checked(digits).filter(|(fraction, _)| !fraction.is_empty())?;
            (fraction.get(..6).unwrap_or(fraction), offset)
        }
        None => ("0", rest),
    };
    if !(offset == "Z" || offset == "z" || has_form(offset, "+dd:dd") || has_form(offset, "-dd:dd")) {
        return None;
    }
    let canonical = format!("{}T{}.{fraction}{}", local.get(..10)?, local.get(11..)?, offset.to_ascii_uppercase());
    canonical.parse().ok().map(floor_to_micros)
}

/// Whether a text has the form, in which `d` is a digit and everything else itself.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| if form == b'd' { byte.is_ascii_digit() } else { byte == form })
}

fn not_a_duration(text: &str) -> InvalidTime {
    InvalidTime {
        message: format!("`{text}` is not a length of time"),
        help: "Write a whole number and a unit: `s`, `min`, `h`, `d`, `w`, `m` (months), `q` or `y`, such as `30d`.".to_owned(),
    }
}

fn not_a_date(text: &str) -> InvalidTime {
    let help = if has_form(text, "dddd-dd-ddTdd:dd:dd") {
        format!("An instant needs an offset from UTC, such as `{text}Z`.")
    } else {
        "Write a day such as `2026-01-31`, an instant such as `2026-01-31T10:00:00Z`, or a relative date such as `-7d`, `today` or `now@month`."
            .to_owned()
    };
    InvalidTime { message: format!("`{text}` is not a date"), help }
}

fn too_long(text: &str) -> InvalidTime {
    InvalidTime {
        message: format!("`{text}` is longer than 10,000 years"),
        help: "Leave the limit out to reach all of time.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_as_they_are_read() {
        for text in [
            "now",
            "today",
            "yesterday",
            "tomorrow",
            "-7d",
            "+1m",
            "today-7d",
            "now@month",
            "-1m@month",
            "-1y+2q-3w+4d-5h+6min-7s@quarter",
            "2026-01-15",
            "2026-01-15+1d",
            "2026-01-15T10:00:00Z",
            "2026-01-15T10:00:00.123456Z",
        ] {
            assert_eq!(parse_date(text).map(|date| date.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn instants_are_floored_to_microseconds_in_utc() {
        for (text, expected) in [
            ("2026-01-15T10:00:00+02:00", "2026-01-15T08:00:00Z"),
            ("2026-01-15t10:00:00.5z", "2026-01-15T10:00:00.5Z"),
            ("2026-01-15 10:00:00-00:30", "2026-01-15T10:30:00Z"),
            ("1969-12-31T23:59:59.9999999999Z", "1969-12-31T23:59:59.999999Z"),
            ("2026-01-15T10:00:00.000000999Z", "2026-01-15T10:00:00Z"),
        ] {
            assert_eq!(parse_date(text).map(|date| date.to_string()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "7d",
            "-d",
            "-7",
            "-7x",
            "today7d",
            "todayy",
            "2026-1-5",
            "2026-02-30",
            "2026-13-01",
            "2026-01-15T10:00:00",
            "2026-01-15T10:00Z",
            "2026-01-15T10:00:00+0200",
            "2026-01-15T25:00:00Z",
            "2026-01-15T10:00:00.Z",
            "2026-01-15T10:00:00Z-7d",
            "now@hour",
            "now@",
            "@day",
            "-7d@day@day",
            "-99999999999999999999d",
            "-4000000d",
            "1768471200000",
            "ä026-01-15",
        ] {
            assert!(parse_date(text).is_err(), "{text}");
        }
    }

    #[test]
    fn help_says_what_was_meant() {
        let help = |text: &str| parse_date(text).unwrap_err().help;
        assert_eq!(help("7d"), "Did you mean `-7d`, in the past?");
        assert_eq!(help("yestreday"), "Did you mean `yesterday`?");
        assert_eq!(help("now@mnth"), "Did you mean `@month`?");
        assert!(help("2026-01-15T10:00:00").contains("`2026-01-15T10:00:00Z`"));
    }

    #[test]
    fn durations_are_whole_and_positive() {
        let read = |text: &str| parse_duration(text, Months::Allowed).map(|duration| duration.to_string());
        for text in ["1s", "5min", "2h", "30d", "8w", "3m", "2q", "1y"] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        for text in ["", "d", "30", "-30d", "+30d", "0d", "1.5d", "30 d", "30D", "5mins", "4294967296s", "4000000d", "10001y"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn months_are_refused_where_minutes_are_meant() {
        assert!(parse_duration("5m", Months::Refused).unwrap_err().help.contains("`5min`"));
        assert!(parse_duration("5min", Months::Refused).is_ok());
    }
}
