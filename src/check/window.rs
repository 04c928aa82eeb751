//! Windows and ranges of dates that hold nothing, as far as that shows before `as_of` is known.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::scope::Scope;
use crate::diagnostic::{Code, Finding};
use crate::model::calendar::{Calendar, Moment};
use crate::model::path::DocPath;
use crate::model::window::{DateExpr, Duration, Interval, Window};

/// Instants to try relative dates at: the first and last microsecond and the noon of every day
/// of a leap year and a common one. What holds nothing at any of them is taken to hold nothing ever.
pub(crate) struct Probes(Vec<Calendar>);

impl Probes {
    pub(crate) fn new(timezone: &str) -> Self {
        // A timezone that is unknown is an error of the configuration, and told there.
        let Some(calendar) =
            Calendar::new(Timestamp::UNIX_EPOCH, timezone).or_else(|_| Calendar::new(Timestamp::UNIX_EPOCH, "UTC")).ok()
        else {
            return Self(Vec::new());
        };
        let mut instants = Vec::new();
        // Every day of a leap year and of a common one: `today-3d@month` is after `today-7d` on a few days of each month alone.
        for day in Date::constant(2024, 1, 1).series(jiff::Span::new().days(1)).take_while(|day| day.year() < 2026) {
            let start = calendar.start_of(day);
            let end = day.tomorrow().map_or(start, |next| calendar.start_of(next));
            let micro = SignedDuration::from_micros(1);
            instants.extend([start, start + SignedDuration::from_hours(12), end - micro]);
        }
        Self(instants.into_iter().map(|as_of| Calendar::in_zone(as_of, calendar.zone().clone())).collect())
    }

    /// A calendar at each of the instants.
    pub(crate) fn calendars(&self) -> &[Calendar] {
        &self.0
    }

    /// Whether a window holds nothing, whenever it is looked at.
    fn is_empty_window(&self, window: &Window) -> bool {
        let Window::Range { from, to } = window else { return false };
        let ends: Vec<&DateExpr> = from.iter().chain(to).collect();
        if ends.iter().all(|end| end.is_absolute()) {
            // The end at `as_of` is left aside: it comes, whenever that is.
            let Some(calendar) = self.0.first() else { return false };
            let to = to.as_ref().map(|to| match calendar.resolve(to) {
                Moment::Day { end, .. } => end,
                Moment::Instant(instant) => instant,
            });
            return Interval { from: from.as_ref().map(|from| calendar.resolve(from).start()), to }.is_empty();
        }
        let relative = ends.iter().all(|end| !end.is_absolute());
        relative && !self.0.is_empty() && self.0.iter().all(|calendar| calendar.window(window).is_empty())
    }

    /// Whether one length of time ends before another, whenever they are counted back.
    pub(super) fn is_shorter(&self, one: Duration, other: Duration) -> bool {
        let window = Window::Range { from: Some(other.ago(1)), to: Some(one.ago(1)) };
        self.0.iter().all(|calendar| !calendar.window(&window).is_empty())
    }

    /// Whether no date lies between two, both included, whenever they are looked at.
    pub(super) fn is_empty_range(&self, low: &DateExpr, high: &DateExpr) -> bool {
        let comparable = low.is_absolute() == high.is_absolute();
        let empty = |calendar: &Calendar| calendar.resolve(low).start() >= calendar.resolve(high).end();
        comparable && !self.0.is_empty() && self.0.iter().all(empty)
    }
}

impl Scope<'_> {
    pub(super) fn window(&mut self, window: &Window, place: &DocPath) -> Option<Window> {
        if !self.probes.is_empty_window(window) {
            return Some(window.clone());
        }
        let finding = Finding::new(Code::EmptyRange, "the window holds nothing: it does not start before it ends")
            .with_help("`from` is the earlier end and `to` the later; nothing after now is looked at.");
        self.report(place, finding);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::window::Unit;
    use crate::syntax::date::parse_date;

    fn window(from: Option<&str>, to: Option<&str>) -> Window {
        let date = |text: &str| parse_date(text).unwrap();
        Window::Range { from: from.map(date), to: to.map(date) }
    }

    #[test]
    fn windows_that_never_hold_anything_show() {
        let probes = Probes::new("Europe/Berlin");
        for (from, to) in [
            (Some("-30d"), Some("-60d")),
            (Some("now"), None),
            (Some("+1d"), None),
            (Some("today"), Some("-1d")),
            (Some("2026-01-02"), Some("2026-01-01")),
            (Some("2026-01-01T10:00:00Z"), Some("2026-01-01T10:00:00Z")),
            (Some("-1m"), Some("-1m")),
        ] {
            assert!(probes.is_empty_window(&window(from, to)), "{from:?} {to:?}");
        }
    }

    #[test]
    fn windows_that_sometimes_hold_something_do_not() {
        let probes = Probes::new("America/Sao_Paulo");
        for (from, to) in [
            (Some("-60d"), Some("-30d")),
            (Some("today"), None),
            (Some("today+23h"), Some("now")),
            (Some("now@month"), Some("today")),
            (Some("now@week"), Some("today-6d")),
            (Some("2026-01-01"), Some("2026-01-01")),
            (Some("2090-01-01"), None),
            (Some("2026-01-01"), Some("-30d")),
            (None, Some("-30d")),
            (Some("-1m"), Some("-30d")),
        ] {
            assert!(!probes.is_empty_window(&window(from, to)), "{from:?} {to:?}");
        }
        assert!(!probes.is_empty_window(&Window::All));
        assert!(!probes.is_empty_window(&Window::Last(Duration { amount: 1, unit: Unit::Second })));
    }

    #[test]
    fn ranges_include_both_ends() {
        let probes = Probes::new("UTC");
        let empty = |low: &str, high: &str| probes.is_empty_range(&parse_date(low).unwrap(), &parse_date(high).unwrap());
        assert!(!empty("2026-01-01", "2026-01-01"));
        assert!(!empty("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"));
        assert!(empty("2026-01-02", "2026-01-01"));
        assert!(empty("-7d", "-14d"));
        assert!(!empty("-7d", "2020-01-01"));
    }
}
