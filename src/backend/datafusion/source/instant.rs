//! Times as files hold them to microseconds of UTC: units, timestamps without a zone, and texts.

use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::backend::tables::EpochUnit;

/// Microseconds of UTC.
pub(super) type Micros = PrimitiveArray<TimestampMicrosecondType>;

/// The zones that times without one are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zones {
    /// Of dates: a date is the start of that local day.
    pub(crate) local: TimeZone,
    /// Of timestamps without a zone.
    pub(crate) naive: TimeZone,
}

/// Instants of a count of units since 1970; what is finer than a microsecond is floored, what is out of range is missing.
pub(crate) fn count_to_micros(count: i64, unit: EpochUnit) -> Option<i64> {
    match unit {
        EpochUnit::Second => count.checked_mul(1_000_000),
        EpochUnit::Millisecond => count.checked_mul(1_000),
        EpochUnit::Microsecond => Some(count),
        EpochUnit::Nanosecond => Some(count.div_euclid(1_000)),
    }
}

/// The unit of an Arrow timestamp.
pub(super) fn epoch_unit(unit: TimeUnit) -> EpochUnit {
    match unit {
        TimeUnit::Second => EpochUnit::Second,
        TimeUnit::Millisecond => EpochUnit::Millisecond,
        TimeUnit::Microsecond => EpochUnit::Microsecond,
        TimeUnit::Nanosecond => EpochUnit::Nanosecond,
    }
}

/// Timestamps of any unit; those without a zone are local times of `naive`.
pub(super) fn timestamps_to_micros(array: &ArrayRef, unit: TimeUnit, naive: Option<&TimeZone>) -> Micros {
    match unit {
        TimeUnit::Second => to_micros(array.as_primitive::<TimestampSecondType>(), unit, naive),
        TimeUnit::Millisecond => to_micros(array.as_primitive::<TimestampMillisecondType>(), unit, naive),
        TimeUnit::Microsecond => to_micros(array.as_primitive::<TimestampMicrosecondType>(), unit, naive),
        TimeUnit::Nanosecond => to_micros(array.as_primitive::<TimestampNanosecondType>(), unit, naive),
    }
}

fn to_micros<T: ArrowPrimitiveType<Native = i64>>(array: &PrimitiveArray<T>, unit: TimeUnit, naive: Option<&TimeZone>) -> Micros {
    let unit = epoch_unit(unit);
    match naive.filter(|zone| **zone != TimeZone::UTC) {
        None => array.unary_opt(|count| count_to_micros(count, unit)),
        Some(zone) => array.unary_opt(|count| count_to_micros(count, unit).and_then(|micros| wall_clock_to_micros(micros, zone))),
    }
}

/// The instant at which a clock in `zone` shows what a clock in UTC shows at `micros`: in a gap later by the gap, in an overlap the
/// earlier.
fn wall_clock_to_micros(micros: i64, zone: &TimeZone) -> Option<i64> {
    let shown = Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC).datetime();
    local_to_micros(shown, zone)
}

fn local_to_micros(shown: DateTime, zone: &TimeZone) -> Option<i64> {
    floor_micros(zone.to_ambiguous_timestamp(shown).compatible().ok()?)
}

fn floor_micros(at: Timestamp) -> Option<i64> {
    i64::try_from(at.as_nanosecond().div_euclid(1_000)).ok()
}

/// The start of a local day, given as days since 1970.
pub(super) fn day_to_micros(day: i32, zone: &TimeZone) -> Option<i64> {
    start_of_day(Date::constant(1970, 1, 1).checked_add(SignedDuration::from_hours(24 * i64::from(day))).ok()?, zone)
}

fn start_of_day(day: Date, zone: &TimeZone) -> Option<i64> {
    floor_micros(day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?.timestamp())
}

/// The local day of an instant, as days since 1970.
pub(super) fn micros_to_day(micros: i64, zone: &TimeZone) -> Option<i32> {
    let day = Timestamp::from_microsecond(micros).ok()?.to_zoned(zone.clone()).date();
    days_since_epoch(day)
}

/// `YYYY-MM-DD` as days since 1970.
pub(super) fn text_to_day(text: &str) -> Option<i32> {
    days_since_epoch(plain_date(trim(text))?)
}

fn days_since_epoch(day: Date) -> Option<i32> {
    day.since(Date::constant(1970, 1, 1)).ok().map(|span| span.get_days())
}

fn plain_date(text: &str) -> Option<Date> {
    let plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    if plain { text.parse().ok() } else { None }
}

/// A text as an instant: RFC 3339 with its offset, a time without one, a date, or with a declared unit a count of it.
pub(crate) fn text_to_micros(text: &str, unit: Option<EpochUnit>, zones: &Zones) -> Option<i64> {
    let text = trim(text);
    if let Some(unit) = unit
        && let Ok(count) = text.parse()
    {
        return count_to_micros(count, unit);
    }
    if let Some(day) = plain_date(text) {
        return start_of_day(day, &zones.local);
    }
    // The parser also takes other forms of ISO 8601: a text that does not begin as a full date is none of ours.
    if text.get(..10).is_none_or(|date| plain_date(date).is_none()) {
        return None;
    }
    match text.parse::<Timestamp>() {
        Ok(at) => floor_micros(at),
        Err(_) => local_to_micros(text.parse::<DateTime>().ok()?, &zones.naive),
    }
}

/// Without the ASCII white space around it that no reading looks at.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn micros(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn finer_than_microseconds_is_floored_also_before_1970() {
        assert_eq!(count_to_micros(1_999, EpochUnit::Nanosecond), Some(1));
        assert_eq!(count_to_micros(-1, EpochUnit::Nanosecond), Some(-1));
        assert_eq!(count_to_micros(-1_000, EpochUnit::Nanosecond), Some(-1));
        assert_eq!(count_to_micros(i64::MAX, EpochUnit::Second), None);
        let zones = Zones { local: TimeZone::UTC, naive: TimeZone::UTC };
        assert_eq!(text_to_micros("1969-12-31T23:59:59.9999999Z", None, &zones), Some(-1));
    }

    #[test]
    fn local_times_in_gaps_and_overlaps() {
        let berlin = zone("Europe/Berlin");
        let shown = |text: &str| wall_clock_to_micros(micros(text), &berlin);
        assert_eq!(shown("2024-03-31T02:30:00Z"), Some(micros("2024-03-31T01:30:00Z")));
        assert_eq!(shown("2024-10-27T02:30:00Z"), Some(micros("2024-10-27T00:30:00Z")));
        assert_eq!(shown("2024-07-01T12:00:00Z"), Some(micros("2024-07-01T10:00:00Z")));
        assert_eq!(wall_clock_to_micros(i64::MAX, &berlin), None);
    }

    #[test]
    fn days_start_where_the_zone_says() {
        let sao_paulo = zone("America/Sao_Paulo");
        let day = text_to_day("2018-11-04").unwrap();
        assert_eq!(day_to_micros(day, &sao_paulo), Some(micros("2018-11-04T03:00:00Z")));
        assert_eq!(micros_to_day(micros("2018-11-04T02:59:59Z"), &sao_paulo), Some(day - 1));
        assert_eq!(text_to_day("1969-12-31"), Some(-1));
    }

    #[test]
    fn texts_of_every_form() {
        let zones = Zones { local: zone("Asia/Tokyo"), naive: zone("Europe/Berlin") };
        let read = |text: &str| text_to_micros(text, None, &zones);
        assert_eq!(read(" 2024-01-02T03:04:05.5+02:00\n"), Some(micros("2024-01-02T01:04:05.5Z")));
        assert_eq!(read("2024-01-02 03:04:05"), Some(micros("2024-01-02T02:04:05Z")));
        assert_eq!(read("2024-01-02"), Some(micros("2024-01-01T15:00:00Z")));
        for text in ["1700000000", "2024-02-30", "20240102", "02/01/2024", "", "2024-01-02T25:00:00Z", "noon"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(text_to_micros("1700000000", Some(EpochUnit::Second), &zones), Some(1_700_000_000_000_000));
    }
}
