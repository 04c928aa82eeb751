//! Dates to instants, in microseconds since 1970 UTC: the steps, gaps, overlaps and truncations of the local wall clock.

use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use segmenta::model::window::{Anchor, DateExpr, Duration, Truncation, Unit, Window};

/// The end of time, for the ends of windows.
pub(crate) const FOREVER: i64 = i64::MAX;
/// Its beginning.
pub(crate) const NEVER: i64 = i64::MIN;

/// The instants of a date in a definition: `[start, end)` when it names a whole day, the one instant `start` when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    /// `None` for an instant.
    pub(crate) end: Option<i64>,
}

/// What a date stands for while its steps are taken.
#[derive(Clone, Copy)]
enum Moment {
    Day(NaiveDate),
    At(i64),
}

/// A local calendar at an instant.
pub(crate) struct Calendar {
    pub(crate) zone: Tz,
    pub(crate) as_of: i64,
}

impl Calendar {
    /// The local clock at an instant.
    pub(crate) fn local(&self, at: i64) -> NaiveDateTime {
        let utc = instant(at);
        utc.naive_utc() + TimeDelta::seconds(i64::from(self.offset(at)))
    }

    pub(crate) fn local_date(&self, at: i64) -> NaiveDate {
        self.local(at).date()
    }

    /// Seconds that the local clock is ahead of UTC at an instant.
    fn offset(&self, at: i64) -> i32 {
        self.zone.offset_from_utc_datetime(&instant(at).naive_utc()).fix().local_minus_utc()
    }

    /// The instant at which the local clock shows `local`: the earlier of two; one that is skipped moves later by the gap.
    pub(crate) fn resolve(&self, local: NaiveDateTime) -> i64 {
        let found = self.zone.from_local_datetime(&local);
        if let Some(earliest) = found.earliest() {
            return earliest.timestamp_micros();
        }
        // In a gap: read with the offset that held before it. The clock jumps over `local` somewhere within 48 hours around.
        let as_utc = local.and_utc().timestamp_micros();
        let two_days = 48 * 3_600_000_000;
        let (mut before, mut after) = (as_utc - two_days, as_utc + two_days);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.local(middle) < local {
                before = middle;
            } else {
                after = middle;
            }
        }
        as_utc - i64::from(self.offset(before)) * 1_000_000
    }

    /// The first instant of a local day.
    pub(crate) fn day_start(&self, day: NaiveDate) -> i64 {
        self.resolve(day.and_time(NaiveTime::MIN))
    }

    /// The instants that a date of a definition names.
    pub(crate) fn span(&self, date: &DateExpr) -> Span {
        let mut moment = match date.anchor {
            Anchor::Now => Moment::At(self.as_of),
            Anchor::Today => Moment::Day(self.local_date(self.as_of)),
            Anchor::Yesterday => Moment::Day(self.local_date(self.as_of) - Days::new(1)),
            Anchor::Tomorrow => Moment::Day(self.local_date(self.as_of) + Days::new(1)),
            Anchor::Day(day) => Moment::Day(
                NaiveDate::from_ymd_opt(
                    day.year().into(),
                    u32::from(day.month().unsigned_abs()),
                    u32::from(day.day().unsigned_abs()),
                )
                .expect("a checked date"),
            ),
            Anchor::Instant(at) => Moment::At(at.as_microsecond()),
        };
        for step in &date.offsets {
            moment = self.step(moment, step.amount, step.unit);
        }
        if let Some(truncation) = date.truncation {
            let day = match moment {
                Moment::Day(day) => day,
                Moment::At(at) => self.local_date(at),
            };
            let first = unit_start(day, truncation);
            moment = match truncation {
                Truncation::Day => Moment::Day(first),
                Truncation::Week | Truncation::Month | Truncation::Quarter | Truncation::Year => Moment::At(self.day_start(first)),
            };
        }
        match moment {
            Moment::Day(day) => Span { start: self.day_start(day), end: Some(self.day_start(day + Days::new(1))) },
            Moment::At(at) => Span { start: at, end: None },
        }
    }

    fn step(&self, moment: Moment, amount: i64, unit: Unit) -> Moment {
        let exact = |seconds: i64| match &moment {
            Moment::Day(day) => Moment::At(self.day_start(*day) + amount * seconds * 1_000_000),
            Moment::At(at) => Moment::At(at + amount * seconds * 1_000_000),
        };
        let on_the_clock = |step: &dyn Fn(NaiveDate) -> NaiveDate| match &moment {
            Moment::Day(day) => Moment::Day(step(*day)),
            Moment::At(at) => {
                let local = self.local(*at);
                Moment::At(self.resolve(step(local.date()).and_time(local.time())))
            }
        };
        match unit {
            Unit::Second => exact(1),
            Unit::Minute => exact(60),
            Unit::Hour => exact(3600),
            Unit::Day => on_the_clock(&|date| date + TimeDelta::days(amount)),
            Unit::Week => on_the_clock(&|date| date + TimeDelta::weeks(amount)),
            Unit::Month => on_the_clock(&|date| add_months(date, amount)),
            Unit::Quarter => on_the_clock(&|date| add_months(date, 3 * amount)),
            Unit::Year => on_the_clock(&|date| add_months(date, 12 * amount)),
        }
    }

    /// `as_of` minus a duration.
    fn back(&self, duration: Duration) -> i64 {
        self.ago(duration, 1)
    }

    /// `as_of` minus so many times a duration, in one step.
    pub(crate) fn ago(&self, duration: Duration, times: u64) -> i64 {
        let amount = i64::from(duration.amount) * i64::try_from(times).expect("not that many");
        match self.step(Moment::At(self.as_of), -amount, duration.unit) {
            Moment::At(at) => at,
            Moment::Day(day) => self.day_start(day),
        }
    }

    /// The instant this long after another one.
    pub(crate) fn after(&self, at: i64, duration: Duration) -> i64 {
        match self.step(Moment::At(at), i64::from(duration.amount), duration.unit) {
            Moment::At(at) => at,
            Moment::Day(day) => self.day_start(day),
        }
    }

    /// The instants of a window, `[from, to)`, cut at `as_of`.
    pub(crate) fn window(&self, window: &Window) -> (i64, i64) {
        match window {
            Window::All => (NEVER, self.as_of),
            Window::Last(duration) => (self.back(*duration), self.as_of),
            Window::Range { from, to } => {
                let from = from.as_ref().map_or(NEVER, |date| self.span(date).start);
                let to = to.as_ref().map_or(FOREVER, |date| {
                    let span = self.span(date);
                    span.end.unwrap_or(span.start)
                });
                (from, to.min(self.as_of))
            }
        }
    }

    /// Whole days from the local day of `as_of` to the next return of a date's day and month.
    pub(crate) fn days_to_anniversary(&self, at: i64) -> i64 {
        let (born, today) = (self.local_date(at), self.local_date(self.as_of));
        let in_year = |year: i32| {
            NaiveDate::from_ymd_opt(year, born.month(), born.day())
                .unwrap_or_else(|| NaiveDate::from_ymd_opt(year, 2, 28).expect("28 February"))
        };
        let this_year = in_year(today.year());
        let next = if this_year < today { in_year(today.year() + 1) } else { this_year };
        (next - today).num_days()
    }
}

fn instant(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at).expect("an instant that chrono can name")
}

/// The same day some months away, or the last of that month when it has no such day.
fn add_months(date: NaiveDate, amount: i64) -> NaiveDate {
    let months = Months::new(u32::try_from(amount.unsigned_abs()).expect("not that many months"));
    if amount < 0 { date - months } else { date + months }
}

fn unit_start(day: NaiveDate, unit: Truncation) -> NaiveDate {
    let first_of = |month: u32| NaiveDate::from_ymd_opt(day.year(), month, 1).expect("the first of a month");
    match unit {
        Truncation::Day => day,
        Truncation::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
        Truncation::Month => first_of(day.month()),
        Truncation::Quarter => first_of((day.month() - 1) / 3 * 3 + 1),
        Truncation::Year => first_of(1),
    }
}

/// `YYYY-MM-DD`.
pub(crate) fn parse_day(text: &str) -> Option<NaiveDate> {
    if shape(text) != "0000-00-00" {
        return None;
    }
    NaiveDate::from_ymd_opt(part(text, 0..4)?, part(text, 5..7)?, part(text, 8..10)?)
}

/// RFC 3339 with its offset; finer than microseconds is floored.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    let day = parse_day(text.get(..10)?)?;
    let rest = text.get(10..)?.strip_prefix(['T', 't'])?;
    let (clock, mut rest) = rest.split_at_checked(8)?;
    if shape(clock) != "00:00:00" {
        return None;
    }
    let time = NaiveTime::from_hms_opt(part(clock, 0..2)?, part(clock, 3..5)?, part(clock, 6..8)?)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.chars().take_while(char::is_ascii_digit).count();
        let (digits, zone) = fraction.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
        micros = part(&format!("{digits:0<6}"), 0..6)?;
        rest = zone;
    }
    let offset_minutes = match shape(rest).as_str() {
        "Z" | "z" => 0,
        "+00:00" | "-00:00" => {
            let (hours, minutes): (i64, i64) = (part(rest, 1..3)?, part(rest, 4..6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let size = hours * 60 + minutes;
            if rest.starts_with('-') { -size } else { size }
        }
        _ => return None,
    };
    Some(day.and_time(time).and_utc().timestamp_micros() - offset_minutes * 60_000_000 + micros)
}

/// The text with 0 for every digit.
fn shape(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect()
}

fn part<T: FromStr>(text: &str, range: Range<usize>) -> Option<T> {
    text.get(range)?.parse().ok()
}
