//! Which segments and jobs are due, and when the next one will be. Pure: the instant, the definitions and the state come in.
//!
//! A segment is due when it is new, when its meaning changed, or when its next time has come: an interval after its last run, or
//! the first tick of its cron expression after it. Ticks that were missed collapse into one run. After failures the pause grows:
//! the interval times 2^errors, at most a day.
//!
//! A clock that jumps back leaves runs in the future of `now`. While they are, an interval counts from the instant at which the
//! clock is known to run forward again ([`Timing::steady_since`]), so that nothing waits for more than two intervals and nothing
//! runs before one is over; a tick of a cron expression that ran is not repeated, unless the jump is longer than a day, which only a
//! clock that was wrong before explains.

use std::collections::BTreeMap;

use croner::Cron;
use jiff::{SignedDuration, Timestamp};

use crate::model::calendar::Calendar;
use crate::model::id::SegmentId;
use crate::model::segment::{Kind, Status};
use crate::model::window::{Anchor, DateExpr, Duration, Offset};
use crate::store::{SegmentState, TenantState};

/// The longest pause after failures.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// When a segment is recomputed.
#[derive(Debug, Clone)]
pub enum Timetable {
    /// This long after the last run.
    Every(Duration),
    /// At the ticks of an expression, in the tenant's timezone.
    Cron(Box<Cron>),
}

/// What of a definition decides when it is due.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Whether it is recomputed at all.
    pub status: Status,
    /// Where its members come from.
    pub kind: Kind,
    /// Its own times; `None` = the default interval.
    pub timetable: Option<Timetable>,
    /// The hash of its meaning; `None` when it cannot be told now, so that it counts as unchanged.
    pub hash: Option<String>,
}

/// The time of one look at what is due.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Now, and the timezone of cron expressions and calendar units.
    pub calendar: Calendar,
    /// Since when the clock is known to have run forward only.
    pub steady_since: Timestamp,
    /// How often a segment is recomputed that does not say so itself.
    pub default_interval: Duration,
}

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now, for this reason.
    Now(Reason),
    /// Not before this instant.
    At(Timestamp),
    /// Not by the clock.
    Never,
}

/// Why something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was never run.
    New,
    /// Its meaning changed since the last run.
    Changed,
    /// It was archived, and its members have to leave.
    Archived,
    /// Its time came.
    Time,
    /// It failed, and the pause after that is over.
    Retry,
}

impl Reason {
    /// The word in logs.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Archived => "archived",
            Self::Time => "time",
            Self::Retry => "retry",
        }
    }
}

/// What is due now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agenda {
    /// The segments that are due.
    pub segments: BTreeMap<SegmentId, Reason>,
    /// The earliest instant at which another one is; `None` when none is by the clock.
    pub next: Option<Timestamp>,
}

/// What is due of a tenant's segments.
#[must_use]
pub fn agenda(candidates: &BTreeMap<SegmentId, Candidate>, state: &TenantState, timing: &Timing) -> Agenda {
    let mut agenda = Agenda::default();
    for (segment, candidate) in candidates {
        match segment_due(candidate, state.segments.get(segment), timing) {
            Due::Now(reason) => {
                agenda.segments.insert(segment.clone(), reason);
            }
            Due::At(at) => agenda.next = Some(agenda.next.map_or(at, |next| next.min(at))),
            Due::Never => {}
        }
    }
    agenda
}

/// When a segment is due.
#[must_use]
pub fn segment_due(candidate: &Candidate, state: Option<&SegmentState>, timing: &Timing) -> Due {
    match (candidate.status, candidate.kind) {
        (Status::Paused, _) => return Due::Never,
        // Who was added by hand is a member while in the universe, which may change.
        (Status::Active, Kind::Static) if state.is_none_or(|state| state.overrides == 0) => return Due::Never,
        (Status::Archived, _) => {
            let was_live = state.is_some_and(|state| state.definition.status != Status::Archived);
            return if was_live { Due::Now(Reason::Archived) } else { Due::Never };
        }
        (Status::Active, Kind::Dynamic | Kind::Static) => {}
    }
    let Some(state) = state else { return Due::Now(Reason::New) };
    if candidate.hash.as_ref().is_some_and(|hash| *hash != state.definition.hash) {
        return Due::Now(Reason::Changed);
    }
    if state.errors > 0 {
        return due_at(timing, after_failures(candidate, state, timing), Reason::Retry);
    }
    let next = match &candidate.timetable {
        Some(Timetable::Cron(cron)) => match next_tick(cron, state.attempted_at, timing) {
            Some(next) => next,
            None => return Due::Never,
        },
        Some(Timetable::Every(interval)) => after(*interval, interval_anchor(state.attempted_at, timing), timing),
        None => after(timing.default_interval, interval_anchor(state.attempted_at, timing), timing),
    };
    due_at(timing, next, Reason::Time)
}

/// When a job of the scheduler is due. One that was never done waits for its first tick since the clock runs.
#[must_use]
pub fn job_due(cron: &Cron, last_done: Option<Timestamp>, timing: &Timing) -> Due {
    match next_tick(cron, last_done.unwrap_or(timing.steady_since), timing) {
        Some(next) => due_at(timing, next, Reason::Time),
        None => Due::Never,
    }
}

/// Until when members that were computed at an instant count as fresh: for the `cache_ttl`, else until they should have been
/// computed again; `None` = for ever.
#[must_use]
pub fn fresh_until(
    cache_ttl: Option<Duration>,
    timetable: Option<&Timetable>,
    computed_at: Timestamp,
    timing: &Timing,
) -> Option<Timestamp> {
    match (cache_ttl, timetable) {
        (Some(ttl), _) => Some(after(ttl, computed_at, timing)),
        (None, Some(Timetable::Every(interval))) => Some(after(*interval, computed_at, timing)),
        (None, Some(Timetable::Cron(cron))) => next_tick(cron, computed_at, timing),
        (None, None) => Some(after(timing.default_interval, computed_at, timing)),
    }
}

/// How long to wait after `errors` failures in a row of something that is done every `interval`.
#[must_use]
pub fn pause_after(interval: SignedDuration, errors: u32) -> SignedDuration {
    let factor = 2_i32.checked_pow(errors).unwrap_or(i32::MAX);
    interval.checked_mul(factor).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// The length of an interval that starts at an instant.
#[must_use]
pub fn length_of(interval: Duration, from: Timestamp, timing: &Timing) -> SignedDuration {
    after(interval, from, timing).duration_since(from)
}

fn due_at(timing: &Timing, at: Timestamp, reason: Reason) -> Due {
    if at <= timing.calendar.as_of() { Due::Now(reason) } else { Due::At(at) }
}

fn after_failures(candidate: &Candidate, state: &SegmentState, timing: &Timing) -> Timestamp {
    let interval = match &candidate.timetable {
        Some(Timetable::Every(interval)) => *interval,
        Some(Timetable::Cron(_)) | None => timing.default_interval,
    };
    let anchor = interval_anchor(state.attempted_at, timing);
    anchor.saturating_add(pause_after(length_of(interval, anchor, timing), state.errors)).unwrap_or(Timestamp::MAX)
}

fn interval_anchor(last: Timestamp, timing: &Timing) -> Timestamp {
    if last > timing.calendar.as_of() { timing.steady_since.min(timing.calendar.as_of()) } else { last }
}

fn after(interval: Duration, from: Timestamp, timing: &Timing) -> Timestamp {
    let step = Offset { amount: i64::from(interval.amount), unit: interval.unit };
    timing.calendar.resolve(&DateExpr { anchor: Anchor::Instant(from), offsets: vec![step], truncation: None }).start()
}

fn next_tick(cron: &Cron, last: Timestamp, timing: &Timing) -> Option<Timestamp> {
    let wrong_before = last.duration_since(timing.calendar.as_of()) > SignedDuration::from_hours(24);
    let anchor = if wrong_before { interval_anchor(last, timing) } else { last };
    let next = cron.find_next_occurrence(&anchor.to_zoned(timing.calendar.zone().clone()), false).ok()?;
    Some(next.timestamp())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use uuid::Uuid;

    use super::*;
    use crate::model::condition::Subject;
    use crate::model::window::Unit;
    use crate::store::{DefinitionNote, DefinitionRecord};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn timing(now: &str, zone: &str) -> Timing {
        Timing {
            calendar: Calendar::new(at(now), zone).unwrap(),
            steady_since: at("2026-01-01T00:00:00Z"),
            default_interval: Duration { amount: 60, unit: Unit::Second },
        }
    }

    fn candidate(timetable: Option<Timetable>) -> Candidate {
        Candidate { status: Status::Active, kind: Kind::Dynamic, timetable, hash: Some("a".to_owned()) }
    }

    fn every(amount: u32, unit: Unit) -> Option<Timetable> {
        Some(Timetable::Every(Duration { amount, unit }))
    }

    fn cron(text: &str) -> Option<Timetable> {
        Some(Timetable::Cron(Box::new(Cron::from_str(text).unwrap())))
    }

    fn state(attempted_at: &str, errors: u32) -> SegmentState {
        let definition = DefinitionRecord {
            hash: "a".to_owned(),
            json: "{}".to_owned(),
            subject: Subject::User,
            kind: Kind::Dynamic,
            status: Status::Active,
        };
        SegmentState {
            definition,
            note: DefinitionNote::Present,
            member_count: 1,
            computed_at: Some(at(attempted_at)),
            attempted_at: at(attempted_at),
            errors,
            last_error: None,
            held: None,
            overrides: 0,
            run_id: Uuid::nil(),
            duration_ms: 1,
        }
    }

    #[test]
    fn a_new_or_changed_definition_is_due_at_once() {
        let timing = timing("2026-01-02T00:00:00Z", "UTC");
        assert_eq!(segment_due(&candidate(None), None, &timing), Due::Now(Reason::New));
        let changed = Candidate { hash: Some("b".to_owned()), ..candidate(None) };
        let last = state("2026-01-01T23:59:59Z", 7);
        assert_eq!(segment_due(&changed, Some(&last), &timing), Due::Now(Reason::Changed));
        let unknown = Candidate { hash: None, ..candidate(None) };
        assert_eq!(segment_due(&unknown, Some(&state("2026-01-01T23:59:59Z", 0)), &timing), Due::At(at("2026-01-02T00:00:59Z")));
    }

    #[test]
    fn paused_static_and_archived_segments_are_not_due() {
        let timing = timing("2026-01-02T00:00:00Z", "UTC");
        let last = state("2026-01-01T00:00:00Z", 0);
        for (status, kind) in [(Status::Paused, Kind::Dynamic), (Status::Paused, Kind::Static), (Status::Active, Kind::Static)] {
            let resting = Candidate { status, kind, ..candidate(None) };
            assert_eq!(segment_due(&resting, Some(&last), &timing), Due::Never, "{status:?} {kind:?}");
        }
        let by_hand = SegmentState { overrides: 1, ..last.clone() };
        let fixed = Candidate { kind: Kind::Static, ..candidate(None) };
        assert_eq!(segment_due(&fixed, Some(&by_hand), &timing), Due::Now(Reason::Time), "the universe may be another");
        let archived = Candidate { status: Status::Archived, ..candidate(None) };
        assert_eq!(segment_due(&archived, None, &timing), Due::Never);
        assert_eq!(segment_due(&archived, Some(&last), &timing), Due::Now(Reason::Archived));
        let mut done = last;
        done.definition.status = Status::Archived;
        assert_eq!(segment_due(&archived, Some(&done), &timing), Due::Never);
    }

    #[test]
    fn missed_ticks_collapse_into_one() {
        let timing = timing("2026-01-02T00:00:30Z", "UTC");
        let last = state("2026-01-01T00:00:00Z", 0);
        assert_eq!(segment_due(&candidate(None), Some(&last), &timing), Due::Now(Reason::Time));
        assert_eq!(segment_due(&candidate(cron("*/5 * * * *")), Some(&last), &timing), Due::Now(Reason::Time));
        let ran = state("2026-01-02T00:00:30Z", 0);
        assert_eq!(segment_due(&candidate(None), Some(&ran), &timing), Due::At(at("2026-01-02T00:01:30Z")));
        assert_eq!(segment_due(&candidate(cron("*/5 * * * *")), Some(&ran), &timing), Due::At(at("2026-01-02T00:05:00Z")));
    }

    #[test]
    fn the_pause_after_failures_doubles_up_to_a_day() {
        let timing = timing("2026-01-01T00:00:01Z", "UTC");
        let pauses = |timetable: Option<Timetable>| {
            [1, 2, 3, 12, 40].map(|errors| {
                match segment_due(&candidate(timetable.clone()), Some(&state("2026-01-01T00:00:00Z", errors)), &timing) {
                    Due::At(next) => next.duration_since(at("2026-01-01T00:00:00Z")).as_secs(),
                    Due::Now(_) | Due::Never => panic!("the pause is over already"),
                }
            })
        };
        assert_eq!(pauses(None), [120, 240, 480, 86_400, 86_400]);
        assert_eq!(pauses(cron("* * * * *")), [120, 240, 480, 86_400, 86_400], "a tick does not cut the pause short");
        assert_eq!(pauses(every(1, Unit::Week)), [86_400; 5]);
    }

    #[test]
    fn calendar_intervals_follow_the_wall_clock() {
        // Berlin lost an hour on 2026-03-29.
        let timing = timing("2026-03-28T12:00:00Z", "Europe/Berlin");
        let last = state("2026-03-28T11:00:00Z", 0);
        assert_eq!(segment_due(&candidate(every(1, Unit::Day)), Some(&last), &timing), Due::At(at("2026-03-29T10:00:00Z")));
        assert_eq!(segment_due(&candidate(every(24, Unit::Hour)), Some(&last), &timing), Due::At(at("2026-03-29T11:00:00Z")));
    }

    #[test]
    fn a_cron_tick_in_a_gap_or_an_overlap_happens_once() {
        let next = |now: &str, last: &str| {
            segment_due(&candidate(cron("30 2 * * *")), Some(&state(last, 0)), &timing(now, "Europe/Berlin"))
        };
        let Due::At(in_gap) = next("2026-03-28T12:00:00Z", "2026-03-28T01:30:00Z") else { panic!("not due yet") };
        assert!(in_gap >= at("2026-03-29T01:00:00Z") && in_gap <= at("2026-03-29T01:30:00Z"), "{in_gap}");
        assert_eq!(next("2026-03-29T12:00:00Z", &in_gap.to_string()), Due::At(at("2026-03-30T00:30:00Z")));
        assert_eq!(next("2026-10-24T12:00:00Z", "2026-10-24T00:30:00Z"), Due::At(at("2026-10-25T00:30:00Z")));
        assert_eq!(next("2026-10-25T00:31:00Z", "2026-10-25T00:30:00Z"), Due::At(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn a_clock_that_jumped_back_neither_stalls_nor_doubles() {
        let steady_since = at("2026-01-01T10:00:00Z");
        let timing = Timing { steady_since, ..timing("2026-01-01T10:00:30Z", "UTC") };
        let ahead = state("2026-01-01T11:00:00Z", 0);
        assert_eq!(segment_due(&candidate(None), Some(&ahead), &timing), Due::At(at("2026-01-01T10:01:00Z")));
        let daily = candidate(cron("30 10 * * *"));
        assert_eq!(segment_due(&daily, Some(&ahead), &timing), Due::At(at("2026-01-02T10:30:00Z")), "its tick of today was run");
        let far_ahead = state("2027-01-01T11:00:00Z", 0);
        assert_eq!(segment_due(&daily, Some(&far_ahead), &timing), Due::At(at("2026-01-01T10:30:00Z")));
    }

    #[test]
    fn a_job_that_was_never_done_waits_for_its_first_tick() {
        let nightly = Cron::from_str("0 2 * * *").unwrap();
        assert_eq!(job_due(&nightly, None, &timing("2026-01-01T01:00:00Z", "UTC")), Due::At(at("2026-01-01T02:00:00Z")));
        assert_eq!(job_due(&nightly, None, &timing("2026-01-01T02:00:00Z", "UTC")), Due::Now(Reason::Time));
        let done = Some(at("2026-01-01T02:00:00Z"));
        assert_eq!(job_due(&nightly, done, &timing("2026-01-05T00:00:00Z", "UTC")), Due::Now(Reason::Time));
    }

    #[test]
    fn the_agenda_names_what_is_due_and_when_to_look_again() {
        let id = |text: &str| text.parse::<SegmentId>().unwrap();
        let candidates = [
            (id("due"), candidate(None)),
            (id("later"), candidate(every(1, Unit::Hour))),
            (id("soon"), candidate(every(10, Unit::Minute))),
        ];
        let mut tenant = TenantState::default();
        for segment in ["due", "later", "soon"] {
            tenant.segments.insert(id(segment), state("2026-01-01T00:00:00Z", 0));
        }
        let agenda = agenda(&candidates.into_iter().collect(), &tenant, &timing("2026-01-01T00:05:00Z", "UTC"));
        assert_eq!(agenda.segments, [(id("due"), Reason::Time)].into_iter().collect());
        assert_eq!(agenda.next, Some(at("2026-01-01T00:10:00Z")));
    }
}
