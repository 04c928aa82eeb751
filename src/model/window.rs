//! Durations, dates relative to `as_of`, and windows, as written: nothing here is resolved to an instant
//! ([`super::calendar`] does that, once `as_of` and the tenant's timezone are known).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;

/// A unit of a duration. `s`, `min` and `h` are exact, the others are steps of the local wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// `s`.
    Second,
    /// `min`.
    Minute,
    /// `h`.
    Hour,
    /// `d`.
    Day,
    /// `w`.
    Week,
    /// `m`.
    Month,
    /// `q`.
    Quarter,
    /// `y`.
    Year,
}

impl Unit {
    /// Every unit, smallest first.
    pub const ALL: [Self; 8] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The letters in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "m",
            Self::Quarter => "q",
            Self::Year => "y",
        }
    }

    /// Seconds of an exact unit; `None` for a step of the wall clock.
    #[must_use]
    pub fn exact_seconds(self) -> Option<i64> {
        match self {
            Self::Second => Some(1),
            Self::Minute => Some(60),
            Self::Hour => Some(3600),
            Self::Day | Self::Week | Self::Month | Self::Quarter | Self::Year => None,
        }
    }
}

/// A positive length of time: an amount of one unit, such as `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    /// How many; at least 1.
    pub amount: u32,
    /// Of what.
    pub unit: Unit,
}

impl Duration {
    /// The instant so many times this length before `as_of`.
    #[must_use]
    pub fn ago(self, times: u64) -> DateExpr {
        let amount = i64::from(self.amount).saturating_mul(i64::try_from(times).unwrap_or(i64::MAX)).saturating_neg();
        DateExpr { anchor: Anchor::Now, offsets: vec![Offset { amount, unit: self.unit }], truncation: None }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.amount, self.unit.keyword())
    }
}

/// A step forwards or backwards in time, such as `-7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset {
    /// How many, negative for the past.
    pub amount: i64,
    /// Of what.
    pub unit: Unit,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+}{}", self.amount, self.unit.keyword())
    }
}

/// What a relative or absolute date starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anchor {
    /// `as_of` itself.
    Now,
    /// Local midnight of the day of `as_of`.
    Today,
    /// The local midnight before that.
    Yesterday,
    /// The local midnight after it.
    Tomorrow,
    /// A calendar day, `YYYY-MM-DD`, in the tenant's timezone.
    Day(Date),
    /// An instant, RFC 3339 with its offset, floored to microseconds.
    Instant(Timestamp),
}

/// A local unit whose start a date goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truncation {
    /// `@day`.
    Day,
    /// `@week`: Monday, as in ISO 8601.
    Week,
    /// `@month`.
    Month,
    /// `@quarter`.
    Quarter,
    /// `@year`.
    Year,
}

impl Truncation {
    /// Every truncation, smallest first.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The word after `@`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }
}

/// A date in a definition: an anchor, steps from it in the order written, and at most one truncation at the end.
///
/// `-7d`, `today-7d`, `-1m@month`, `2026-01-15`, `2026-01-15T10:00:00+02:00`. Steps and truncation follow every anchor but an instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateExpr {
    /// Where it starts.
    pub anchor: Anchor,
    /// The steps, applied from the left.
    pub offsets: Vec<Offset>,
    /// Goes back to the start of this local unit, last of all.
    pub truncation: Option<Truncation>,
}

impl DateExpr {
    /// Whether this names a whole local day, and not an instant.
    ///
    /// True for a date, `today`, `yesterday`, `tomorrow`, one of these plus or minus `d w m q y`, and anything with `@day`.
    #[must_use]
    pub fn is_whole_day(&self) -> bool {
        match self.truncation {
            Some(Truncation::Day) => true,
            Some(Truncation::Week | Truncation::Month | Truncation::Quarter | Truncation::Year) => false,
            None => {
                let day = match self.anchor {
                    Anchor::Today | Anchor::Yesterday | Anchor::Tomorrow | Anchor::Day(_) => true,
                    Anchor::Now | Anchor::Instant(_) => false,
                };
                day && self.offsets.iter().all(|offset| offset.unit.exact_seconds().is_none())
            }
        }
    }

    /// Whether this names the same instant whatever `as_of` is.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        matches!(self.anchor, Anchor::Day(_) | Anchor::Instant(_))
    }
}

impl serde::Serialize for DateExpr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for DateExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.anchor {
            Anchor::Now if self.offsets.is_empty() => f.write_str("now")?,
            Anchor::Now => {}
            Anchor::Today => f.write_str("today")?,
            Anchor::Yesterday => f.write_str("yesterday")?,
            Anchor::Tomorrow => f.write_str("tomorrow")?,
            Anchor::Day(day) => write!(f, "{day}")?,
            Anchor::Instant(instant) => write!(f, "{instant}")?,
        }
        for offset in &self.offsets {
            write!(f, "{offset}")?;
        }
        match self.truncation {
            Some(truncation) => write!(f, "@{}", truncation.keyword()),
            None => Ok(()),
        }
    }
}

/// The events in time that a measure looks at; half-open, and always cut at `as_of`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub enum Window {
    /// All history.
    #[default]
    All,
    /// `[as_of - d, as_of)`.
    Last(Duration),
    /// `[from, to)`; a `to` that names a day includes that day.
    Range {
        /// The first instant; absent = the beginning of time.
        from: Option<DateExpr>,
        /// The end; absent = `as_of`.
        to: Option<DateExpr>,
    },
}

/// A half-open interval of instants, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first instant; `None` = the beginning of time.
    pub from: Option<Timestamp>,
    /// The first instant after it; `None` = the end of time.
    pub to: Option<Timestamp>,
}

impl Interval {
    /// Whether no instant lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!((self.from, self.to), (Some(from), Some(to)) if from >= to)
    }
}
