//! Dates of a definition to instants: a tenant's timezone, its local days and their starts.
//!
//! Zones come from the database compiled into the program, never from the machine. A local time that a clock change skips moves
//! later by what was skipped; one that happens twice is the earlier.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp, ToSpan};

use super::window::{Anchor, DateExpr, Duration, Interval, Offset, Truncation, Unit, Window};

/// The compiled-in database; it keeps the zones that were read from it.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A timezone that the compiled-in database does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown timezone `{name}`")]
pub struct UnknownTimeZone {
    /// What was asked for.
    pub name: String,
}

/// The zone of an IANA name, such as `Europe/Berlin`.
///
/// # Errors
/// When the compiled-in database has no such zone.
pub fn time_zone(name: &str) -> Result<TimeZone, UnknownTimeZone> {
    ZONES.get(name).map_err(|_| UnknownTimeZone { name: name.to_owned() })
}

/// An instant to count back from, and the timezone of local days.
///
/// ```
/// use segmenta::model::calendar::Calendar;
/// use segmenta::model::window::{Duration, Unit, Window};
///
/// let calendar = Calendar::new("2026-03-31T12:00:00Z".parse().unwrap(), "UTC").unwrap();
/// let window = calendar.window(&Window::Last(Duration { amount: 1, unit: Unit::Month }));
/// assert_eq!(window.from.unwrap().to_string(), "2026-02-28T12:00:00Z");
/// ```
#[derive(Debug, Clone)]
pub struct Calendar {
    as_of: Timestamp,
    zone: TimeZone,
}

/// What a date in a definition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A whole local day: from its start up to the start of the next.
    Day {
        /// Its first instant.
        start: Timestamp,
        /// The first instant after it.
        end: Timestamp,
    },
    /// One instant.
    Instant(Timestamp),
}

impl Moment {
    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        match self {
            Self::Day { start, .. } => start,
            Self::Instant(instant) => instant,
        }
    }

    /// The first instant after it: a microsecond after a single instant.
    #[must_use]
    pub fn end(self) -> Timestamp {
        match self {
            Self::Day { end, .. } => end,
            Self::Instant(instant) => instant.saturating_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX),
        }
    }
}

/// A date on its way to a [`Moment`]: a day stays one until a step of an exact unit or a truncation makes it an instant.
enum Place {
    Day(Date),
    Instant(Timestamp),
}

impl Calendar {
    /// The calendar of a run.
    ///
    /// # Errors
    /// When the timezone is unknown.
    pub fn new(as_of: Timestamp, timezone: &str) -> Result<Self, UnknownTimeZone> {
        Ok(Self { as_of, zone: time_zone(timezone)? })
    }

    /// The calendar of a run in a zone that was looked up before, by [`time_zone`].
    #[must_use]
    pub fn in_zone(as_of: Timestamp, zone: TimeZone) -> Self {
        Self { as_of, zone }
    }

    /// The instant that everything counts back from.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// The timezone of local days.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The local day of an instant.
    #[must_use]
    pub fn date_of(&self, instant: Timestamp) -> Date {
        self.zone.to_datetime(instant).date()
    }

    /// The first instant of a local day.
    #[must_use]
    pub fn start_of(&self, date: Date) -> Timestamp {
        self.instant_of(date.at(0, 0, 0, 0))
    }

    /// What a date in a definition names. Dates beyond the range of instants (the years -9999 to 9999) stop at its ends.
    #[must_use]
    pub fn resolve(&self, date: &DateExpr) -> Moment {
        let mut place = match date.anchor {
            Anchor::Now => Place::Instant(self.as_of),
            Anchor::Today => Place::Day(self.date_of(self.as_of)),
            Anchor::Yesterday => Place::Day(self.date_of(self.as_of).saturating_sub(1.day())),
            Anchor::Tomorrow => Place::Day(self.date_of(self.as_of).saturating_add(1.day())),
            Anchor::Day(day) => Place::Day(day),
            Anchor::Instant(instant) => Place::Instant(instant),
        };
        for offset in &date.offsets {
            place = self.step(&place, *offset);
        }
        if let Some(truncation) = date.truncation {
            let day = match place {
                Place::Day(day) => day,
                Place::Instant(instant) => self.date_of(instant),
            };
            let first = first_day(day, truncation);
            place = match truncation {
                Truncation::Day => Place::Day(first),
                Truncation::Week | Truncation::Month | Truncation::Quarter | Truncation::Year => {
                    Place::Instant(self.start_of(first))
                }
            };
        }
        match place {
            Place::Day(day) => Moment::Day { start: self.start_of(day), end: self.start_of(day.saturating_add(1.day())) },
            Place::Instant(instant) => Moment::Instant(instant),
        }
    }

    /// The instants of a window; its end is at most `as_of`.
    #[must_use]
    pub fn window(&self, window: &Window) -> Interval {
        let (from, to) = match window {
            Window::All => (None, None),
            Window::Last(duration) => (Some(self.before(*duration)), None),
            Window::Range { from, to } => (
                from.as_ref().map(|from| self.resolve(from).start()),
                to.as_ref().map(|to| match self.resolve(to) {
                    Moment::Day { end, .. } => end,
                    Moment::Instant(instant) => instant,
                }),
            ),
        };
        Interval { from, to: Some(to.map_or(self.as_of, |to| to.min(self.as_of))) }
    }

    /// The instant this long before `as_of`.
    #[must_use]
    pub fn before(&self, duration: Duration) -> Timestamp {
        self.step_instant(self.as_of, Offset { amount: -i64::from(duration.amount), unit: duration.unit })
    }

    /// The instant this long after another one.
    #[must_use]
    pub fn after(&self, instant: Timestamp, duration: Duration) -> Timestamp {
        self.step_instant(instant, Offset { amount: i64::from(duration.amount), unit: duration.unit })
    }

    fn step(&self, place: &Place, offset: Offset) -> Place {
        match place {
            Place::Day(day) if offset.unit.exact_seconds().is_none() => {
                let moved = calendar_span(offset).map(|span| day.saturating_add(span));
                Place::Day(moved.unwrap_or(if offset.amount < 0 { Date::MIN } else { Date::MAX }))
            }
            Place::Day(day) => Place::Instant(self.step_instant(self.start_of(*day), offset)),
            Place::Instant(instant) => Place::Instant(self.step_instant(*instant, offset)),
        }
    }

    fn step_instant(&self, from: Timestamp, offset: Offset) -> Timestamp {
        let limit = if offset.amount < 0 { Timestamp::MIN } else { Timestamp::MAX };
        match offset.unit.exact_seconds() {
            Some(seconds) => seconds
                .checked_mul(offset.amount)
                .and_then(|seconds| from.checked_add(SignedDuration::from_secs(seconds)).ok())
                .unwrap_or(limit),
            None => calendar_span(offset)
                .and_then(|span| self.zone.to_datetime(from).checked_add(span).ok())
                .map_or(limit, |local| self.instant_of(local)),
        }
    }

    fn instant_of(&self, local: DateTime) -> Timestamp {
        let limit = if local.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
        self.zone.to_ambiguous_timestamp(local).compatible().unwrap_or(limit)
    }
}

/// A step of the wall clock; `None` when it is beyond any date.
fn calendar_span(offset: Offset) -> Option<Span> {
    let span = Span::new();
    match offset.unit {
        Unit::Second => span.try_seconds(offset.amount),
        Unit::Minute => span.try_minutes(offset.amount),
        Unit::Hour => span.try_hours(offset.amount),
        Unit::Day => span.try_days(offset.amount),
        Unit::Week => span.try_weeks(offset.amount),
        Unit::Month => span.try_months(offset.amount),
        Unit::Quarter => return span.try_months(offset.amount.checked_mul(3)?).ok(),
        Unit::Year => span.try_years(offset.amount),
    }
    .ok()
}

fn first_day(day: Date, truncation: Truncation) -> Date {
    match truncation {
        Truncation::Day => day,
        Truncation::Week => day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days()),
        Truncation::Month => day.first_of_month(),
        Truncation::Quarter => {
            let months_into = (day.month() - 1) % 3;
            day.first_of_month().saturating_sub(i64::from(months_into).months())
        }
        Truncation::Year => day.first_of_year(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(as_of: &str, zone: &str) -> Calendar {
        Calendar::new(as_of.parse().unwrap(), zone).unwrap()
    }

    fn relative(anchor: Anchor, offsets: &[(i64, Unit)], truncation: Option<Truncation>) -> DateExpr {
        DateExpr { anchor, offsets: offsets.iter().map(|&(amount, unit)| Offset { amount, unit }).collect(), truncation }
    }

    #[track_caller]
    fn assert_start(calendar: &Calendar, date: &DateExpr, expected: &str) {
        assert_eq!(calendar.resolve(date).start().to_string(), expected, "{date}");
    }

    #[test]
    fn steps_clamp_to_the_end_of_the_month() {
        let calendar = calendar("2020-03-31T10:00:00Z", "UTC");
        assert_start(&calendar, &relative(Anchor::Now, &[(-1, Unit::Month)], None), "2020-02-29T10:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[(-1, Unit::Quarter)], None), "2019-12-31T10:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[(-1, Unit::Year)], None), "2019-03-31T10:00:00Z");
    }

    #[test]
    fn days_are_steps_of_the_wall_clock_and_hours_are_exact() {
        // Berlin lost 02:00 to 03:00 on 2026-03-29.
        let calendar = calendar("2026-03-29T12:00:00Z", "Europe/Berlin");
        assert_start(&calendar, &relative(Anchor::Now, &[(-1, Unit::Day)], None), "2026-03-28T13:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[(-24, Unit::Hour)], None), "2026-03-28T12:00:00Z");
    }

    #[test]
    fn steps_forward_go_by_the_wall_clock_too() {
        let calendar = calendar("2026-06-01T00:00:00Z", "Europe/Berlin");
        let day = Duration { amount: 1, unit: Unit::Day };
        assert_eq!(calendar.after("2026-03-28T13:00:00Z".parse().unwrap(), day).to_string(), "2026-03-29T12:00:00Z");
        let hours = Duration { amount: 24, unit: Unit::Hour };
        assert_eq!(calendar.after("2026-03-28T13:00:00Z".parse().unwrap(), hours).to_string(), "2026-03-29T13:00:00Z");
    }

    #[test]
    fn a_skipped_local_time_moves_later_and_a_repeated_one_is_the_earlier() {
        let spring = calendar("2026-03-30T00:30:00Z", "Europe/Berlin"); // 02:30 local
        assert_start(&spring, &relative(Anchor::Now, &[(-1, Unit::Day)], None), "2026-03-29T01:30:00Z");
        let autumn = calendar("2026-10-26T01:30:00Z", "Europe/Berlin"); // 02:30 local
        assert_start(&autumn, &relative(Anchor::Now, &[(-1, Unit::Day)], None), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_starts_at_its_first_instant() {
        // São Paulo skipped 00:00 to 01:00 on 2018-11-04.
        let calendar = calendar("2018-11-05T12:00:00Z", "America/Sao_Paulo");
        let yesterday = calendar.resolve(&relative(Anchor::Yesterday, &[], None));
        assert_eq!(yesterday.start().to_string(), "2018-11-04T03:00:00Z");
        assert_eq!(yesterday.end().to_string(), "2018-11-05T02:00:00Z");
        // Days stay days: stepping through the short day does not carry its 01:00 along.
        assert_start(&calendar, &relative(Anchor::Yesterday, &[(-1, Unit::Day)], None), "2018-11-03T03:00:00Z");
    }

    #[test]
    fn truncation_goes_back_to_the_start_of_the_local_unit() {
        let calendar = calendar("2026-08-20T22:30:00Z", "Europe/Berlin"); // Friday 2026-08-21 00:30 local
        assert_start(&calendar, &relative(Anchor::Now, &[], Some(Truncation::Day)), "2026-08-20T22:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[], Some(Truncation::Week)), "2026-08-16T22:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[], Some(Truncation::Month)), "2026-07-31T22:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[], Some(Truncation::Quarter)), "2026-06-30T22:00:00Z");
        assert_start(&calendar, &relative(Anchor::Now, &[], Some(Truncation::Year)), "2025-12-31T23:00:00Z");
        let last_month = relative(Anchor::Now, &[(-1, Unit::Month)], Some(Truncation::Month));
        assert_start(&calendar, &last_month, "2026-06-30T22:00:00Z");
    }

    #[test]
    fn a_window_is_cut_at_as_of_and_a_last_day_is_included() {
        let calendar = calendar("2026-01-20T08:00:00Z", "UTC");
        let day = |text: &str| Some(DateExpr { anchor: Anchor::Day(text.parse().unwrap()), offsets: vec![], truncation: None });
        let window = calendar.window(&Window::Range { from: day("2026-01-15"), to: day("2026-01-16") });
        assert_eq!(window.from, Some("2026-01-15T00:00:00Z".parse().unwrap()));
        assert_eq!(window.to, Some("2026-01-17T00:00:00Z".parse().unwrap()));
        let window = calendar.window(&Window::Range { from: None, to: day("2026-02-01") });
        assert_eq!(window, Interval { from: None, to: Some(calendar.as_of()) });
    }

    #[test]
    fn dates_beyond_all_instants_stop_at_the_ends() {
        let calendar = calendar("2026-01-20T08:00:00Z", "UTC");
        let far = Duration { amount: u32::MAX, unit: Unit::Year };
        assert_eq!(calendar.before(far), Timestamp::MIN);
        assert_start(&calendar, &relative(Anchor::Today, &[(i64::MIN, Unit::Quarter)], None), &Timestamp::MIN.to_string());
    }
}
