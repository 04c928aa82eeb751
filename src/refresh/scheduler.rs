//! The loop that keeps segments fresh: looks at every tenant's files and times, and runs what is due, until it is told to stop.
//!
//! It keeps nothing that a restart would lose: what was done when is read from the store. The wall clock is never trusted to run
//! forward: when it jumps back, everything is looked at anew.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};

use super::config::{Config, Jobs, TenantConfig};
use super::definitions::{InvalidFile, read_definitions};
use super::due::{Due, Timing, agenda, job_due, length_of, pause_after};
use super::error::Error;
use super::jobs::{StoreJob, do_store_job};
use super::place::{Place, calendar_of};
use super::run::{OnExcess, OnInvalid, RunRequest, Selection, Silent, refresh, release};
use crate::clock::Clock;
use crate::store::{LeaseScope, Ledger};

/// The name of the job that evaluates everything from all data, in configuration, state and logs.
const FULL_EVALUATION: &str = "full_evaluation";

/// How the loop behaves besides its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long at most between two looks at the files and the clock.
    pub look_every: Duration,
    /// How long a run waits for another writer of its tenant.
    pub wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { look_every: Duration::from_secs(1), wait: Duration::from_secs(60) }
    }
}

/// Keeps the segments of all tenants fresh. The first item of `stop` ends it after the runs in progress; a second one abandons
/// those, which leaves nothing of them visible.
///
/// # Errors
/// When another scheduler of the same store lives: the error names it.
pub async fn keep_fresh<P: Place>(
    place: &P,
    config: &Config,
    pace: Pace,
    clock: &dyn Clock,
    stop: impl Stream<Item = ()> + Unpin,
) -> Result<(), Error> {
    let lease = place.ledger().acquire(&LeaseScope::Scheduler, Duration::ZERO).await?;
    tracing::info!(tenants = config.tenants.len(), store = %config.store, "scheduler started");
    Scheduler { place, config, pace, clock }.work(stop).await;
    release(place, lease).await;
    tracing::info!("scheduler stopped");
    Ok(())
}

struct Scheduler<'a, P> {
    place: &'a P,
    config: &'a Config,
    pace: Pace,
    clock: &'a dyn Clock,
}

/// What the loop remembers of a tenant between two turns.
#[derive(Debug, Default)]
struct Desk {
    /// Whether a turn is in progress.
    busy: bool,
    /// The files as they were at the last turn; `None` before the first.
    files: Option<blake3::Hash>,
    /// When the next segment is due.
    next_due: Option<Timestamp>,
    /// When each job was last done.
    jobs_done: BTreeMap<String, Timestamp>,
    /// Turns that failed since one succeeded, and no retry before this time of [`Clock::elapsed`].
    failures: u32,
    retry_at: Duration,
    /// The invalid files that were logged.
    invalid: Vec<InvalidFile>,
}

/// What a turn of a tenant has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Work {
    full_evaluation: bool,
    store_jobs: Vec<StoreJob>,
}

/// What came of a turn.
struct Turn {
    tenant: usize,
    result: Result<Done, Error>,
}

struct Done {
    invalid: Vec<InvalidFile>,
    next_due: Option<Timestamp>,
    jobs_done: BTreeMap<String, Timestamp>,
}

/// The loop never spins.
const SHORTEST_REST: Duration = Duration::from_millis(1);

impl<P: Place> Scheduler<'_, P> {
    async fn work(&self, mut stop: impl Stream<Item = ()> + Unpin) {
        let mut desks: Vec<Desk> = self.config.tenants.iter().map(|_| Desk::default()).collect();
        let mut running = FuturesUnordered::new();
        let mut last_look = self.clock.now();
        let mut steady_since = last_look;
        // A signal comes before whatever became due with it.
        while stop.next().now_or_never().is_none() {
            let now = self.clock.now();
            if now < last_look {
                tracing::warn!(from = %last_look, to = %now, "the clock jumped back; everything is looked at anew");
                steady_since = now;
                desks.iter_mut().for_each(|desk| desk.files = None);
            }
            last_look = now;
            let mut wake = self.pace.look_every;
            for (index, (desk, tenant)) in desks.iter_mut().zip(&self.config.tenants).enumerate() {
                if desk.busy || running.len() >= self.config.scheduler.max_concurrent_tenants {
                    continue;
                }
                let timing = self.timing(tenant, now, steady_since);
                match self.look(desk, tenant, &timing) {
                    Some(work) => {
                        desk.busy = true;
                        running.push(self.turn(index, tenant, work, timing));
                    }
                    None => wake = wake.min(self.rest(desk, &timing)),
                }
            }
            tokio::select! {
                biased;
                _ = stop.next() => break,
                Some(turn) = running.next(), if !running.is_empty() => self.finish(&mut desks, turn),
                () = self.clock.pause(wake) => {}
            }
        }
        if !running.is_empty() {
            tracing::info!(runs = running.len(), "stopping after the runs in progress; a second signal abandons them");
        }
        while !running.is_empty() {
            tokio::select! {
                biased;
                _ = stop.next() => {
                    tracing::warn!(runs = running.len(), "abandoned the runs in progress; nothing of them is visible");
                    return;
                }
                Some(turn) = running.next() => self.finish(&mut desks, turn),
            }
        }
    }

    fn timing(&self, tenant: &TenantConfig, now: Timestamp, steady_since: Timestamp) -> Timing {
        // The clock of a tenant that stands still has been steady for ever.
        let (now, steady_since) = tenant.as_of.map_or((now, steady_since), |as_of| (as_of, as_of));
        let default_interval = self.config.scheduler.default_refresh_interval;
        Timing { calendar: calendar_of(tenant, now), steady_since, default_interval }
    }

    /// What there is to do for a tenant; `None` when nothing, or when a failure is too fresh.
    fn look(&self, desk: &mut Desk, tenant: &TenantConfig, timing: &Timing) -> Option<Work> {
        let files = files_as_they_are(tenant);
        let changed = desk.files.replace(files) != Some(files);
        let work = due_jobs(&self.config.scheduler.jobs, &desk.jobs_done, timing);
        let is_due = desk.next_due.is_some_and(|next| next <= timing.calendar.as_of()) || work != Work::default();
        let may_retry = self.clock.elapsed() >= desk.retry_at;
        let has_to_retry = desk.failures > 0;
        (changed || (may_retry && (is_due || has_to_retry))).then_some(work)
    }

    /// How long there is nothing to do for a tenant. After a failure that is up to the retry, however much is due by then.
    fn rest(&self, desk: &Desk, timing: &Timing) -> Duration {
        if desk.failures > 0 {
            desk.retry_at.saturating_sub(self.clock.elapsed()).max(SHORTEST_REST)
        } else {
            until(desk.next_due, timing.calendar.as_of())
        }
    }

    async fn turn(&self, index: usize, tenant: &TenantConfig, work: Work, timing: Timing) -> Turn {
        Turn { tenant: index, result: self.take_turn(tenant, work, &timing).await }
    }

    async fn take_turn(&self, tenant: &TenantConfig, work: Work, timing: &Timing) -> Result<Done, Error> {
        let selection = if work.full_evaluation {
            Selection::All
        } else {
            Selection::Due { default_interval: timing.default_interval, steady_since: timing.steady_since }
        };
        let request = RunRequest {
            selection,
            as_of: None,
            on_invalid: OnInvalid::UseLastValid,
            wait: self.pace.wait,
            job: work.full_evaluation.then_some(FULL_EVALUATION),
            on_excess: OnExcess::Hold,
        };
        let report = refresh(self.place, tenant, &request, self.clock, &Silent).await?;
        for job in work.store_jobs {
            do_store_job(self.place, tenant, job, timing.calendar.as_of(), self.pace.wait, self.clock).await?;
        }
        let state = self.place.ledger().state(&tenant.id).await?;
        // What was run has the time of its run, which a look at the time of the turn would take for one of the future.
        let now = self.timing(tenant, self.clock.now(), timing.steady_since);
        let agenda = agenda(&report.candidates, &state, &now);
        let next_due = if agenda.segments.is_empty() { agenda.next } else { Some(now.calendar.as_of()) };
        Ok(Done { invalid: report.invalid, next_due, jobs_done: state.jobs })
    }

    fn finish(&self, desks: &mut [Desk], turn: Turn) {
        let (Some(desk), Some(tenant)) = (desks.get_mut(turn.tenant), self.config.tenants.get(turn.tenant)) else { return };
        desk.busy = false;
        match turn.result {
            Ok(done) => {
                desk.failures = 0;
                desk.retry_at = Duration::ZERO;
                desk.next_due = done.next_due;
                desk.jobs_done = done.jobs_done;
                if desk.invalid != done.invalid {
                    log_invalid(tenant, &done.invalid);
                    desk.invalid = done.invalid;
                }
            }
            Err(error) => {
                desk.failures = desk.failures.saturating_add(1);
                let interval = self.config.scheduler.default_refresh_interval;
                let timing = self.timing(tenant, self.clock.now(), self.clock.now());
                let pause = pause_after(length_of(interval, timing.calendar.as_of(), &timing), desk.failures);
                let pause = Duration::try_from(pause).unwrap_or(self.pace.look_every);
                desk.retry_at = self.clock.elapsed().saturating_add(pause);
                let (kind, retry_in) = (error.kind(), pause.as_secs());
                let error = &error as &dyn std::error::Error;
                tracing::error!(tenant = %tenant.id, error, ?kind, retry_in, "run failed; nothing was changed");
            }
        }
    }
}

fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = next.map_or(SignedDuration::MAX, |next| next.duration_since(now));
    Duration::try_from(wait).unwrap_or(Duration::ZERO).max(SHORTEST_REST)
}

/// The definition files in one number; that they cannot be read is a state of them as well.
fn files_as_they_are(tenant: &TenantConfig) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    match read_definitions(&tenant.definitions) {
        Ok(files) => {
            for file in files {
                for part in [file.source.name.as_bytes(), file.source.text.as_bytes()] {
                    hasher.update(&part.len().to_le_bytes());
                    hasher.update(part);
                }
            }
        }
        Err(error) => {
            hasher.update(error.to_string().as_bytes());
        }
    }
    hasher.finalize()
}

fn due_jobs(jobs: &Jobs, done: &BTreeMap<String, Timestamp>, timing: &Timing) -> Work {
    let is_due = |cron: &Option<croner::Cron>, name: &str| {
        let due = cron.as_ref().map(|cron| job_due(cron, done.get(name).copied(), timing));
        matches!(due, Some(Due::Now(_)))
    };
    let mut work = Work { full_evaluation: is_due(&jobs.full_evaluation, FULL_EVALUATION), store_jobs: Vec::new() };
    for (job, cron) in [
        (StoreJob::CountSync, &jobs.count_sync),
        (StoreJob::HistoryRecord, &jobs.history_record),
        (StoreJob::Compact, &jobs.compact),
        (StoreJob::Gc, &jobs.gc),
        (StoreJob::Verify, &jobs.verify),
    ] {
        if is_due(cron, job.keyword()) {
            work.store_jobs.push(job);
        }
    }
    work
}

fn log_invalid(tenant: &TenantConfig, invalid: &[InvalidFile]) {
    for InvalidFile { file, segment, error } in invalid {
        let segment = segment.as_ref().map(ToString::to_string);
        tracing::warn!(tenant = %tenant.id, file, segment, error, "a definition is invalid; its last valid form stays in force");
    }
}
