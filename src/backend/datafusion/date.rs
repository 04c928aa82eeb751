//! Instants: how data writes them, and local days, parts and anniversaries in the tenant's timezone.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type, Decimal128Type, TimestampMicrosecondType};
use datafusion::common::Result;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::form::instant_type;
use super::function::{Kernel, argument, text_argument};
use crate::backend::DAY_MICROS;
use crate::ir::DistinctUnit;
use crate::model::calendar::Calendar;
use crate::model::property::DatePart;

/// A calendar with its zone's name.
#[derive(Debug, Clone)]
pub(super) struct Local {
    /// IANA name.
    pub(super) timezone: String,
    /// The zone and `as_of`.
    pub(super) calendar: Calendar,
}

impl Local {
    /// The same, seen from another instant.
    pub(super) fn at(&self, as_of: Timestamp) -> Self {
        Self { timezone: self.timezone.clone(), calendar: Calendar::in_zone(as_of, self.calendar.zone().clone()) }
    }
}

impl PartialEq for Local {
    fn eq(&self, other: &Self) -> bool {
        self.timezone == other.timezone && self.calendar.as_of() == other.calendar.as_of()
    }
}

impl Eq for Local {}

impl Hash for Local {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.timezone, self.calendar.as_of()).hash(state);
    }
}

impl Local {
    /// The microseconds of an RFC 3339 instant, floored, or of the start of the local day `YYYY-MM-DD`.
    pub(super) fn micros_of_text(&self, text: &str) -> Option<i64> {
        let bytes = text.as_bytes();
        let day = date(bytes.get(..10)?)?;
        match bytes.get(10..)? {
            [] => self.micros_of_day(day),
            [b'T' | b't', time @ ..] => instant(day, time),
            _ => None,
        }
    }

    fn micros_of_day(&self, day: Date) -> Option<i64> {
        Some(self.calendar.start_of(day).as_microsecond())
    }
}

/// The microseconds of milliseconds since 1970; `None` beyond the years that instants have.
pub(super) fn micros_of_millis(millis: i128) -> Option<i64> {
    i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).map(Timestamp::as_microsecond)
}

/// Two or more ASCII digits as a number.
fn digits<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn date(bytes: &[u8]) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else {
        return None;
    };
    Date::new(digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?).ok()
}

/// `HH:MM:SS`, a fraction, and `Z` or an offset `+HH:MM`.
fn instant(day: Date, time: &[u8]) -> Option<i64> {
    let ([h1, h2, b':', m1, m2, b':', s1, s2], rest) = time.split_first_chunk::<8>()? else {
        return None;
    };
    let (hour, minute, second): (i8, i8, i8) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    let (micros, zone) = match rest {
        [b'.', fraction @ ..] => {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits_of_second, zone) = fraction.split_at(length);
            if length == 0 {
                return None;
            }
            // What is finer than microseconds is cut off, which floors: fractions count forward, before 1970 as well.
            let micros =
                digits_of_second.iter().chain(b"000000").take(6).fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            (micros, zone)
        }
        zone => (0, zone),
    };
    let offset = match *zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes): (i64, i64) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let local = jiff::civil::Time::new(hour, minute, second, 0).ok().map(|time| day.to_datetime(time))?;
    let utc = local.duration_since(Date::constant(1970, 1, 1).at(0, 0, 0, 0)).checked_sub(SignedDuration::from_secs(offset))?;
    let micros = i64::try_from(utc.as_micros()).ok()? + micros;
    Timestamp::from_microsecond(micros).ok().map(Timestamp::as_microsecond)
}

fn instants(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn instant_argument(arguments: &[ArrayRef]) -> Result<&TimestampMicrosecondArray> {
    Ok(argument(arguments, 0)?.as_primitive::<TimestampMicrosecondType>())
}

/// Reads text as an instant.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct InstantInText(pub(super) Local);

impl Kernel for InstantInText {
    fn name(&self) -> String {
        format!("instant_in_text[{}]", self.0.timezone)
    }

    fn return_type(&self) -> DataType {
        instant_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        Ok(instants(texts.iter().map(|text| text.and_then(|text| self.0.micros_of_text(text)))))
    }
}

/// Reads integers as milliseconds since 1970.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct InstantOfMillis;

impl Kernel for InstantOfMillis {
    fn name(&self) -> String {
        "instant_of_milliseconds".to_owned()
    }

    fn return_type(&self) -> DataType {
        instant_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let wide = cast(argument(arguments, 0)?, &DataType::Decimal128(38, 0))?;
        Ok(instants(wide.as_primitive::<Decimal128Type>().iter().map(|millis| millis.and_then(micros_of_millis))))
    }
}

/// The first instant of local days.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct StartOfDay(pub(super) Local);

impl Kernel for StartOfDay {
    fn name(&self) -> String {
        format!("start_of_day[{}]", self.0.timezone)
    }

    fn return_type(&self) -> DataType {
        instant_type()
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let days = argument(arguments, 0)?.as_primitive::<Date32Type>();
        let start = |day: i32| self.0.micros_of_day(civil(i64::from(day))?);
        Ok(instants(days.iter().map(|day| day.and_then(start))))
    }
}

/// Numbers local days, weeks or months, so that instants of one unit have one number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LocalUnit {
    /// Where.
    pub(super) local: Local,
    /// Of what.
    pub(super) unit: DistinctUnit,
}

impl Kernel for LocalUnit {
    fn name(&self) -> String {
        let unit = match self.unit {
            DistinctUnit::Day => "local_day",
            DistinctUnit::Week => "local_week",
            DistinctUnit::Month => "local_month",
        };
        format!("{unit}[{}]", self.local.timezone)
    }

    fn return_type(&self) -> DataType {
        DataType::Int32
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let mut offsets = self.offsets();
        let mut number = |instant: i64| self.number_at(instant, &mut offsets);
        let units: Int32Array = instant_argument(arguments)?.iter().map(|instant| instant.and_then(&mut number)).collect();
        Ok(Arc::new(units))
    }
}

impl LocalUnit {
    /// The number of the unit of an instant in microseconds; `None` beyond the years that instants have.
    pub(super) fn number(&self, instant: i64) -> Option<i32> {
        self.number_at(instant, &mut self.offsets())
    }

    fn number_at(&self, instant: i64, offsets: &mut Offsets<'_>) -> Option<i32> {
        let day = instant.checked_add(offsets.at(instant)?)?.div_euclid(DAY_MICROS);
        let number = match self.unit {
            DistinctUnit::Day => day,
            // 1970-01-01 was a Thursday.
            DistinctUnit::Week => (day + 3).div_euclid(7),
            DistinctUnit::Month => civil(day).map(|date| i64::from(date.year()) * 12 + i64::from(date.month()))?,
        };
        i32::try_from(number).ok()
    }

    fn offsets(&self) -> Offsets<'_> {
        Offsets { calendar: &self.local.calendar, valid: 0..0, micros: 0 }
    }
}

/// The zone's distance from UTC, looked up again only when an instant leaves the span between two clock changes.
struct Offsets<'a> {
    calendar: &'a Calendar,
    valid: std::ops::Range<i64>,
    micros: i64,
}

impl Offsets<'_> {
    fn at(&mut self, instant: i64) -> Option<i64> {
        if !self.valid.contains(&instant) {
            let at = Timestamp::from_microsecond(instant).ok()?;
            let zone = self.calendar.zone();
            // A change at the instant itself is in force already.
            let after = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
            let start = zone.preceding(after).next().map_or(i64::MIN, |change| change.timestamp().as_microsecond());
            let end = zone.following(at).next().map_or(i64::MAX, |change| change.timestamp().as_microsecond());
            self.valid = start..end;
            self.micros = i64::from(zone.to_offset(at).seconds()) * 1_000_000;
        }
        Some(self.micros)
    }
}

/// A part of the local date and time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LocalPart {
    /// Where.
    pub(super) local: Local,
    /// Which.
    pub(super) part: DatePart,
}

impl Kernel for LocalPart {
    fn name(&self) -> String {
        format!("local_{}[{}]", self.part.keyword(), self.local.timezone)
    }

    fn return_type(&self) -> DataType {
        DataType::Int64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let zone = self.local.calendar.zone();
        let part = |instant: i64| {
            let local = zone.to_datetime(Timestamp::from_microsecond(instant).ok()?);
            Some(match self.part {
                DatePart::Year => i64::from(local.year()),
                DatePart::Month => i64::from(local.month()),
                DatePart::Day => i64::from(local.day()),
                DatePart::Weekday => i64::from(local.weekday().to_monday_one_offset()),
                DatePart::Hour => i64::from(local.hour()),
            })
        };
        Ok(Arc::new(instant_argument(arguments)?.iter().map(|instant| instant.and_then(part)).collect::<Int64Array>()))
    }
}

/// Whole local days from the day of `as_of` to the next yearly return of an instant's local day.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DaysToAnniversary(pub(super) Local);

impl Kernel for DaysToAnniversary {
    fn name(&self) -> String {
        format!("days_to_anniversary[{}, {}]", self.0.timezone, self.0.calendar.date_of(self.0.calendar.as_of()))
    }

    fn return_type(&self) -> DataType {
        DataType::Int64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let calendar = &self.0.calendar;
        let today = calendar.date_of(calendar.as_of());
        let days = |instant: i64| days_to_anniversary(today, calendar.date_of(Timestamp::from_microsecond(instant).ok()?));
        Ok(Arc::new(instant_argument(arguments)?.iter().map(|instant| instant.and_then(days)).collect::<Int64Array>()))
    }
}

/// Days to the next return of a day; 29 February returns on the 28th in common years.
fn days_to_anniversary(today: Date, day: Date) -> Option<i64> {
    let in_year = |year: i16| Date::new(year, day.month(), day.day()).or_else(|_| Date::new(year, day.month(), day.day() - 1)).ok();
    let this_year = in_year(today.year())?;
    let next = if this_year < today { in_year(today.year().checked_add(1)?)? } else { this_year };
    Some(next.duration_since(today).as_hours() / 24)
}

/// The date that is this many days after 1970-01-01; `None` beyond the years that dates have.
fn civil(day: i64) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(SignedDuration::from_hours(day.checked_mul(24)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(timezone: &str) -> Local {
        let calendar = Calendar::new("2026-03-30T10:00:00Z".parse().unwrap(), timezone).unwrap();
        Local { timezone: timezone.to_owned(), calendar }
    }

    fn micros(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn text_is_rfc_3339_or_a_local_day() {
        let berlin = local("Europe/Berlin");
        let read = |text: &str| berlin.micros_of_text(text);
        assert_eq!(read("2026-01-15"), Some(micros("2026-01-14T23:00:00Z")));
        assert_eq!(read("2026-01-15T10:00:00Z"), Some(micros("2026-01-15T10:00:00Z")));
        assert_eq!(read("2026-01-15t10:00:00.5+02:00"), Some(micros("2026-01-15T08:00:00.5Z")));
        assert_eq!(read("2026-01-15T10:00:00-05:30"), Some(micros("2026-01-15T15:30:00Z")));
        // Finer than microseconds is floored, before 1970 too.
        assert_eq!(read("1969-12-31T23:59:59.9999999Z"), Some(-1));
        assert_eq!(read("2026-01-15T10:00:00.0000019Z"), Some(micros("2026-01-15T10:00:00.000001Z")));
        for text in [
            "",
            "2026-02-30",
            "2026-1-15",
            "20260115",
            "15/01/2026",
            " 2026-01-15",
            "2026-01-15T10:00:00",
            "2026-01-15 10:00:00Z",
            "2026-01-15T10:00Z",
            "2026-01-15T24:00:00Z",
            "2026-01-15T10:00:00.Z",
            "2026-01-15T10:00:00+0200",
            "2026-01-15T10:00:00+24:00",
            "2026-01-15T10:00:00Z ",
            "+002026-01-15",
            "1768471200000",
            "2026-01-1é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_starts_later() {
        assert_eq!(local("America/Sao_Paulo").micros_of_text("2018-11-04"), Some(micros("2018-11-04T03:00:00Z")));
    }

    #[test]
    fn milliseconds_beyond_all_years_do_not_fit() {
        assert_eq!(micros_of_millis(-1), Some(-1000));
        assert_eq!(micros_of_millis(i128::from(i64::MAX)), None);
        assert_eq!(micros_of_millis(i128::from(u64::MAX)), None);
    }

    #[test]
    fn units_follow_the_local_clock_through_changes() {
        // Berlin lost 02:00 to 03:00 on 2026-03-29, a Sunday; the next day begins a week.
        let instants = ["2026-03-28T22:59:59.999999Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"];
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(instants.map(micros).to_vec()).with_timezone("UTC"));
        let numbers = |unit| {
            let kernel = LocalUnit { local: local("Europe/Berlin"), unit };
            let numbers = kernel.apply(std::slice::from_ref(&column)).unwrap();
            let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Int32Type>();
            numbers.values().iter().map(|number| number - numbers.value(0)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(DistinctUnit::Day), [0, 1, 1, 2]);
        assert_eq!(numbers(DistinctUnit::Week), [0, 0, 0, 1]);
        assert_eq!(numbers(DistinctUnit::Month), [0, 0, 0, 0]);
    }

    #[test]
    fn offsets_hold_from_a_change_on_whatever_the_order() {
        let calendar = local("Europe/Berlin").calendar;
        let mut offsets = Offsets { calendar: &calendar, valid: 0..0, micros: 0 };
        let change = micros("2026-03-29T01:00:00Z");
        let hour = 3_600_000_000;
        assert_eq!(offsets.at(change), Some(2 * hour));
        assert_eq!(offsets.at(change - 1), Some(hour));
        assert_eq!(offsets.at(change + 1), Some(2 * hour));
        assert_eq!(offsets.at(i64::MAX), None);
    }

    #[test]
    fn anniversaries_of_29_february_fall_on_the_28th_in_common_years() {
        let days = |today: &str, day: &str| days_to_anniversary(today.parse().unwrap(), day.parse().unwrap()).unwrap();
        assert_eq!(days("2023-02-28", "2000-02-29"), 0);
        assert_eq!(days("2023-03-01", "2000-02-29"), 365);
        assert_eq!(days("2024-02-28", "2000-02-29"), 1);
        assert_eq!(days("2024-03-01", "2000-02-29"), 364);
        assert_eq!(days("2026-12-31", "1990-01-01"), 1);
        assert_eq!(days("2026-05-05", "2030-05-05"), 0);
    }
}
