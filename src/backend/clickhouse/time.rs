//! Instants in SQL: microseconds since 1970, what texts and days say of them, and the local clock of the tenant's timezone.
//!
//! The engine's own timezones are not asked. The distance from UTC comes from two lists of equal length, computed here: the instants, or
//! local times, from which on a distance holds, and the distances. Beyond the last change that a zone's history names, rules repeat
//! every 400 years, as the calendar does.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::lets::Lets;
use super::sql::{Expr, formula};
use crate::backend::DAY_MICROS;
use crate::ir::DistinctUnit;
use crate::model::calendar::Calendar;
use crate::model::property::DatePart;
use crate::model::window::{Duration, Unit};

/// Microseconds of 400 years, after which the calendar, and so every rule, repeats.
const CYCLE_MICROS: i64 = 146_097 * DAY_MICROS;

/// Where the cycle begins that stands for all later ones: no zone's history reaches so far.
const CYCLE_START: i64 = 4_102_444_800_000_000;

/// A day, or an instant as RFC 3339 writes it.
const DATE: &str =
    r"^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.]([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$";

/// The local clock.
#[derive(Debug)]
pub(super) struct Times {
    calendar: Calendar,
    /// `None` when the distance from UTC never changes.
    changes: Option<Changes>,
    /// The distance from UTC before the first change, in microseconds.
    first: i64,
}

#[derive(Debug)]
struct Changes {
    /// From which instants on the distances hold.
    instants: Vec<i64>,
    /// From which local times on they hold: one that a change skips moves later by what is skipped, one that happens twice is the earlier.
    locals: Vec<i64>,
    distances: Vec<i64>,
}

impl Times {
    pub(super) fn new(calendar: Calendar) -> Self {
        let zone = calendar.zone();
        let first = offset_at(zone, Timestamp::MIN);
        let changes = changes(zone, first);
        Self { calendar, changes, first }
    }

    /// When everything counts back from.
    pub(super) fn as_of(&self) -> Timestamp {
        self.calendar.as_of()
    }

    /// The local day of an instant.
    pub(super) fn date_of(&self, instant: Timestamp) -> Date {
        self.calendar.date_of(instant)
    }

    /// Integers as milliseconds since 1970; NULL beyond the years that instants have.
    pub(super) fn of_millis(&self, millis: &Expr) -> Expr {
        let (least, greatest) = (Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        formula!(
            "if({0} BETWEEN {1} AND {2}, toInt64({0}) * 1000, NULL)",
            millis,
            Expr::number("Int64", least),
            Expr::number("Int64", greatest)
        )
    }

    /// The first instant of local days since 1970.
    pub(super) fn start_of_day(&self, lets: &mut Lets, name: &str, days: &Expr) -> Expr {
        let midnight = lets.bind(format!("midnight of {name}"), formula!("{0} * 86400000000", days));
        self.of_local(lets, name, &midnight)
    }

    /// Text as an instant: RFC 3339, floored to microseconds, or the start of the local day `YYYY-MM-DD`; NULL when it is neither.
    pub(super) fn of_text(&self, lets: &mut Lets, name: &str, text: &Expr) -> Expr {
        let mut bind = |what: &str, expr| lets.bind(format!("{what} of {name}"), expr);
        let parts = bind("parts", formula!("extractGroups(ifNull({0}, ''), {1})", text, Expr::text(DATE)));
        let year = bind("year", formula!("toInt64OrZero(arrayElement({0}, 1))", parts));
        let month = bind("month", formula!("toInt64OrZero(arrayElement({0}, 2))", parts));
        let day = bind("day", formula!("toInt64OrZero(arrayElement({0}, 3))", parts));
        let days = bind("days", days_of(&year, &month, &day));
        let valid = bind(
            "validity",
            formula!(
                "(notEmpty({0}) AND {2} BETWEEN 1 AND 12 AND {3} BETWEEN 1 AND {4} AND toInt64OrZero(arrayElement({0}, 4)) < 24 \
                 AND toInt64OrZero(arrayElement({0}, 5)) < 60 AND toInt64OrZero(arrayElement({0}, 6)) < 60 \
                 AND toInt64OrZero(substring(arrayElement({0}, 8), 2, 2)) < 24 \
                 AND toInt64OrZero(substring(arrayElement({0}, 8), 5, 2)) < 60)",
                parts,
                year,
                month,
                day,
                days_of_month(&year, &month)
            ),
        );
        let of_day = formula!(
            "((toInt64OrZero(arrayElement({0}, 4)) * 60 + toInt64OrZero(arrayElement({0}, 5))) * 60 \
             + toInt64OrZero(arrayElement({0}, 6))) * 1000000 \
             + toInt64OrZero(substring(concat(arrayElement({0}, 7), '000000'), 1, 6))",
            parts
        );
        let ahead = formula!(
            "(toInt64OrZero(substring(arrayElement({0}, 8), 2, 2)) * 60 + toInt64OrZero(substring(arrayElement({0}, 8), 5, 2))) \
             * if(startsWith(arrayElement({0}, 8), '-'), -60000000, 60000000)",
            parts
        );
        let instant = bind("instant", formula!("{0} * 86400000000 + {1} - {2}", days, of_day, ahead));
        let start = self.start_of_day(lets, name, &days);
        formula!(
            "multiIf(NOT {0}, NULL, arrayElement({1}, 8) = '', {2}, {3} BETWEEN {4} AND {5}, {3}, NULL)",
            valid,
            parts,
            start,
            instant,
            Expr::number("Int64", Timestamp::MIN.as_microsecond()),
            Expr::number("Int64", Timestamp::MAX.as_microsecond())
        )
    }

    /// The local time of an instant, as microseconds of a clock without changes.
    fn local(&self, lets: &mut Lets, name: &str, instant: &Expr) -> Expr {
        let distance = match &self.changes {
            None => return shifted(instant, self.first),
            Some(changes) => looked_up(&changes.instants, &changes.distances, instant),
        };
        lets.bind(format!("local time of {name}"), formula!("{0} + {1}", instant, distance))
    }

    /// The instant of a local time.
    fn of_local(&self, lets: &mut Lets, name: &str, local: &Expr) -> Expr {
        let distance = match &self.changes {
            None => return shifted(local, -self.first),
            Some(changes) => looked_up(&changes.locals, &changes.distances, local),
        };
        lets.bind(format!("instant of local {name}"), formula!("{0} - {1}", local, distance))
    }

    fn local_day(&self, lets: &mut Lets, name: &str, instant: &Expr) -> Expr {
        let local = self.local(lets, name, instant);
        lets.bind(format!("local day of {name}"), formula!("intDiv({0} - positiveModulo({0}, 86400000000), 86400000000)", local))
    }

    /// A number that instants of one local unit share.
    pub(super) fn unit(&self, lets: &mut Lets, name: &str, unit: DistinctUnit, instant: &Expr) -> Expr {
        let day = self.local_day(lets, name, instant);
        let number = match unit {
            DistinctUnit::Day => return day,
            // 1970-01-01 was a Thursday.
            DistinctUnit::Week => formula!("intDiv({0} + 3 - positiveModulo({0} + 3, 7), 7)", day),
            DistinctUnit::Month => {
                let (year, month, _) = civil(lets, name, &day);
                formula!("{0} * 12 + {1}", year, month)
            }
        };
        let noun = if unit == DistinctUnit::Week { "week" } else { "month" };
        lets.bind(format!("local {noun} of {name}"), number)
    }

    /// A part of the local date and time.
    pub(super) fn part(&self, lets: &mut Lets, name: &str, part: DatePart, instant: &Expr) -> Expr {
        let day = self.local_day(lets, name, instant);
        match part {
            DatePart::Year => civil(lets, name, &day).0,
            DatePart::Month => civil(lets, name, &day).1,
            DatePart::Day => civil(lets, name, &day).2,
            DatePart::Weekday => formula!("toInt64(positiveModulo({0} + 3, 7) + 1)", day),
            DatePart::Hour => {
                let local = self.local(lets, name, instant);
                formula!("toInt64(intDiv(positiveModulo({0}, 86400000000), 3600000000))", local)
            }
        }
    }

    /// Whole local days from the day of `as_of` to the next yearly return of an instant's local day, from a list of all days of a year.
    pub(super) fn days_to_anniversary(&self, lets: &mut Lets, name: &str, instant: &Expr, as_of: Timestamp) -> Expr {
        let today = self.date_of(as_of);
        let distances = (1..=12).flat_map(|month| (1..=31).map(move |day| days_to_anniversary(today, month, day)));
        let distances = Expr::integers(distances.map(Option::unwrap_or_default));
        let day = self.local_day(lets, name, instant);
        let (_, month, day) = civil(lets, name, &day);
        formula!("if(isNull({1}), NULL, arrayElement({0}, assumeNotNull(({1} - 1) * 31 + {2})))", distances, month, day)
    }

    /// The instant that is a duration after another.
    pub(super) fn after(&self, lets: &mut Lets, name: &str, instant: &Expr, duration: Duration) -> Expr {
        let amount = i64::from(duration.amount);
        if let Some(seconds) = duration.unit.exact_seconds() {
            return formula!(
                "({0} + {1})",
                instant,
                Expr::number("Int64", amount.saturating_mul(seconds).saturating_mul(1_000_000))
            );
        }
        let local = self.local(lets, name, instant);
        let months = match duration.unit {
            Unit::Month => amount,
            Unit::Quarter => amount * 3,
            Unit::Year => amount * 12,
            Unit::Second | Unit::Minute | Unit::Hour | Unit::Day | Unit::Week => 0,
        };
        let later = if months > 0 {
            let day = self.local_day(lets, name, instant);
            let (year, month, of_month) = civil(lets, name, &day);
            let month = lets.bind(
                format!("month after {name}"),
                formula!("{0} * 12 + {1} - 1 + {2}", year, month, Expr::number("Int64", months)),
            );
            let year = formula!("intDiv({0}, 12)", month);
            let month = formula!("(positiveModulo({0}, 12) + 1)", month);
            let last = days_of_month(&year, &month);
            let days = days_of(&year, &month, &formula!("least({0}, {1})", of_month, last));
            formula!("({0}) * 86400000000 + positiveModulo({1}, 86400000000)", days, local)
        } else {
            let days = if duration.unit == Unit::Week { amount * 7 } else { amount };
            formula!("{0} + {1}", local, Expr::number("Int64", days.saturating_mul(DAY_MICROS)))
        };
        let later = lets.bind(format!("local time after {name}"), later);
        self.of_local(lets, &format!("time after {name}"), &later)
    }
}

fn shifted(micros: &Expr, by: i64) -> Expr {
    if by == 0 { micros.clone() } else { formula!("({0} + {1})", micros, Expr::number("Int64", by)) }
}

/// The distance that holds at a time: that of the last change up to it, within the cycle that stands for all.
fn looked_up(from: &[i64], distances: &[i64], time: &Expr) -> Expr {
    let (from, distances) = (Expr::integers(from.iter().copied()), Expr::integers(distances.iter().copied()));
    formula!(
        "transform(roundDown(if({0} < {3}, {0}, {3} + positiveModulo({0} - {3}, {4})), {1}), {1}, {2}, toInt64(0))",
        time,
        from,
        distances,
        Expr::number("Int64", CYCLE_START),
        Expr::number("Int64", CYCLE_MICROS)
    )
}

fn offset_at(zone: &TimeZone, at: Timestamp) -> i64 {
    i64::from(zone.to_offset(at).seconds()) * 1_000_000
}

fn changes(zone: &TimeZone, first: i64) -> Option<Changes> {
    // The first instant that can be, or close to it: what is added to it stays a number.
    let start = Timestamp::MIN.as_microsecond() - DAY_MICROS;
    let mut changes = Changes { instants: vec![start], locals: vec![start - DAY_MICROS], distances: vec![first] };
    let mut before = first;
    for change in zone.following(Timestamp::MIN) {
        let at = change.timestamp().as_microsecond();
        if at > CYCLE_START + CYCLE_MICROS {
            break;
        }
        let distance = i64::from(change.offset().seconds()) * 1_000_000;
        // Names and saving time change without the clock.
        if distance != before {
            changes.instants.push(at);
            changes.locals.push(at + before.max(distance));
            changes.distances.push(distance);
        }
        before = distance;
    }
    (changes.distances.len() > 1).then_some(changes)
}

fn is_leap(year: &Expr) -> Expr {
    formula!("(({0} % 4 = 0 AND {0} % 100 != 0) OR {0} % 400 = 0)", year)
}

fn days_of_month(year: &Expr, month: &Expr) -> Expr {
    formula!("multiIf({1} = 2, if({0}, 29, 28), {1} IN (4, 6, 9, 11), 30, 31)", is_leap(year), month)
}

/// The days from 1970-01-01 to a date of the years from 0 to 9999: years are counted from March, so that the leap day is the last.
fn days_of(year: &Expr, month: &Expr, day: &Expr) -> Expr {
    formula!(
        "(({0} - ({1} <= 2) + 400) * 365 + intDiv({0} - ({1} <= 2) + 400, 4) - intDiv({0} - ({1} <= 2) + 400, 100) \
         + intDiv({0} - ({1} <= 2) + 400, 400) + intDiv(153 * ({1} + if({1} > 2, -3, 9)) + 2, 5) + {2} - 1 - 865565)",
        year,
        month,
        day
    )
}

/// The year, month and day that are so many days after 1970-01-01.
fn civil(lets: &mut Lets, name: &str, days: &Expr) -> (Expr, Expr, Expr) {
    let mut bind = |what: &str, expr| lets.bind(format!("{what} of {name}"), expr);
    // Days since the first of March of a year that 400 divides, beyond all years that instants have.
    let shifted = bind("day count", formula!("{0} + 719468 + 146097 * 30", days));
    let day_of_cycle = bind("day of the cycle", formula!("{0} % 146097", shifted));
    let year_of_cycle = bind(
        "year of the cycle",
        formula!("intDiv({0} - intDiv({0}, 1460) + intDiv({0}, 36524) - intDiv({0}, 146096), 365)", day_of_cycle),
    );
    let day_of_year =
        bind("day of the year", formula!("{0} - (365 * {1} + intDiv({1}, 4) - intDiv({1}, 100))", day_of_cycle, year_of_cycle));
    let month = bind("month since March", formula!("intDiv(5 * {0} + 2, 153)", day_of_year));
    let day = bind("day of the month", formula!("{0} - intDiv(153 * {1} + 2, 5) + 1", day_of_year, month));
    let month = bind("month of the year", formula!("toInt64({0}) + if({0} < 10, 3, -9)", month));
    let year =
        bind("calendar year", formula!("{0} + 400 * (intDiv({1}, 146097) - 30) + ({2} <= 2)", year_of_cycle, shifted, month));
    (year, month, day)
}

/// Days to the next return of a day; 29 February returns on the 28th in common years.
fn days_to_anniversary(today: Date, month: i8, day: i8) -> Option<i64> {
    let in_year = |year: i16| Date::new(year, month, day).or_else(|_| Date::new(year, month, day - 1)).ok();
    let this_year = in_year(today.year())?;
    let next = if this_year < today { in_year(today.year().checked_add(1)?)? } else { this_year };
    Some(next.duration_since(today).as_hours() / 24)
}
