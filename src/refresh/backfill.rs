//! The past: what segments would have been at earlier instants, by their definitions of now. Many instants share the pass over the events.
//! Nothing of the present is touched: a backfill adds rows to the history, and on request snapshots, one commit for each instant, so that
//! what was interrupted goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt as _;
use jiff::Timestamp;

use super::config::TenantConfig;
use super::definitions::{ReadySegment, read_definitions};
use super::error::Error;
use super::place::{Known, Opened, Planned, ReadablePlace, calendar_of, members_by_segment};
use super::run::{Progress, Step, release};
use crate::backend::sets::Sets as _;
use crate::backend::{BackendError, MemberSet as _, Scan};
use crate::clock::Clock;
use crate::model::calendar::Calendar;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::window::{self, Anchor, DateExpr, Offset};
use crate::plan::Request;
use crate::store::{Figures, Lease, LeaseScope, Ledger, PastSnapshot, ReadFilter, Run, RunKind, Transaction};

/// Instants that share a pass: what is kept of the events of a subject grows with them.
const INSTANTS_AT_ONCE: usize = 32;

/// Instants of one backfill: more are more likely a slip of the step than what was meant.
const MOST_INSTANTS: usize = 100_000;

/// What a backfill is asked to do.
#[derive(Debug, Clone)]
pub struct BackfillRequest {
    /// Of which segments; at least one.
    pub segments: Vec<SegmentId>,
    /// The first instant.
    pub from: Timestamp,
    /// The last instant, if a step meets it.
    pub to: Timestamp,
    /// How far apart they are.
    pub step: window::Duration,
    /// What is left of them.
    pub leaves: Leaves,
    /// How long to wait for another writer.
    pub wait: Duration,
}

/// What a backfill leaves of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaves {
    /// Figures, in the history.
    Figures,
    /// The members as well, as snapshots of the past.
    FiguresAndSnapshots,
}

/// What a backfill came to.
#[derive(Debug, Clone)]
pub struct BackfillReport {
    /// Every figure that was recorded, by instant and segment.
    pub rows: Vec<PastFigures>,
    /// Figures that stood in the history already.
    pub known: usize,
    /// Snapshots that were written.
    pub snapshots: usize,
    /// What was read.
    pub scans: Vec<Scan>,
}

/// A segment's figures at an instant of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFigures {
    /// The segment.
    pub segment: SegmentId,
    /// The instant.
    pub as_of: Timestamp,
    /// Members then, and who entered and left since the instant before; at the first one everyone entered.
    pub figures: Figures,
}

/// Records what segments were at instants of the past. What stands in the history already, by the same definition, is not computed again.
///
/// # Errors
/// When a segment cannot be evaluated, the instants make no sense, or a table or the store cannot be used. What was recorded stays.
pub async fn backfill<P: ReadablePlace>(
    place: &P,
    tenant: &TenantConfig,
    request: &BackfillRequest,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<BackfillReport, Error> {
    let instants = instants_of(tenant, request, tenant.as_of.unwrap_or_else(|| clock.now()))?;
    progress.step(Step::Opening);
    let files = read_definitions(&tenant.definitions)?;
    let run = clock.run_id(clock.now());
    let opened = Opened::open(place, tenant, &files, request.to, run).await?;
    let done = Backfill { place, tenant, request, opened, clock, progress, at_once: usize::MAX }.done(&instants).await;
    place.forget(run).await;
    done
}

/// The instants of a backfill, ascending.
fn instants_of(tenant: &TenantConfig, request: &BackfillRequest, now: Timestamp) -> Result<Vec<Timestamp>, Error> {
    let BackfillRequest { from, to, step, .. } = request;
    let refused = |problem: String, help: &str| Err(Error::Backfill { problem, help: help.to_owned() });
    if from > to {
        return refused(format!("{from} is after {to}"), "Give the earlier instant as `--from`.");
    }
    if *to > now {
        return refused(format!("{to} is not over: it is {now}"), "A backfill is of the past; `refresh` computes the present.");
    }
    let calendar = calendar_of(tenant, *from);
    let mut instants = Vec::new();
    for number in 0.. {
        // Each is counted from the first: a month after 31 January is in February, and two are in March.
        let offset = Offset { amount: i64::from(step.amount) * number, unit: step.unit };
        let expression = DateExpr { anchor: Anchor::Instant(*from), offsets: vec![offset], truncation: None };
        let instant = calendar.resolve(&expression).start();
        if instant > *to || instants.last().is_some_and(|last| *last >= instant) {
            break;
        }
        if instants.len() == MOST_INSTANTS {
            let problem = format!("there are more than {MOST_INSTANTS} instants between {from} and {to}");
            return refused(problem, "Take a longer `--step`, or a part of the time.");
        }
        instants.push(instant);
    }
    Ok(instants)
}

/// A backfill at work.
struct Backfill<'a, P: ReadablePlace> {
    place: &'a P,
    tenant: &'a TenantConfig,
    request: &'a BackfillRequest,
    opened: Opened<P::Backend>,
    clock: &'a dyn Clock,
    progress: &'a dyn Progress,
    /// Instants that share a pass at most: fewer, once more of them did not fit into memory.
    at_once: usize,
}

/// The instants of which there is something of a segment, by the hash of its definition.
type Recorded = BTreeMap<SegmentId, BTreeSet<Timestamp>>;

/// What there is of segments already.
struct Existing {
    figures: Recorded,
    /// Absent when nobody asks for snapshots.
    snapshots: Option<Recorded>,
}

impl Existing {
    fn has_figures(&self, segment: &SegmentId, instant: Timestamp) -> bool {
        self.figures.get(segment).is_some_and(|known| known.contains(&instant))
    }

    fn has_snapshot(&self, segment: &SegmentId, instant: Timestamp) -> bool {
        let has = |known: &Recorded| known.get(segment).is_some_and(|known| known.contains(&instant));
        self.snapshots.as_ref().is_none_or(has)
    }
}

/// What is left of an instant.
struct Left<'r, M> {
    as_of: Timestamp,
    figures: Vec<(&'r ReadySegment, Figures)>,
    snapshots: Vec<PastSnapshot<M>>,
}

impl<P: ReadablePlace> Backfill<'_, P> {
    async fn done(mut self, instants: &[Timestamp]) -> Result<BackfillReport, Error> {
        let segments = self.segments()?;
        let existing = self.existing(&segments).await?;
        let is_missing = |instant: Timestamp| {
            let mut ids = segments.iter().map(|segment| &segment.logical.id);
            ids.any(|id| !existing.has_figures(id, instant) || !existing.has_snapshot(id, instant))
        };
        let missing: Vec<usize> = (0..instants.len()).filter(|at| is_missing(instants[*at])).collect();
        let known = instants.len() * segments.len();
        let mut report = BackfillReport { rows: Vec::new(), known, snapshots: 0, scans: Vec::new() };
        // The members at the instant before, where they are known.
        let mut before: Option<(usize, Known<P::Members>)> = None;
        for chunk in missing.chunks(INSTANTS_AT_ONCE) {
            let first = chunk.first().copied().unwrap_or_default();
            let is_next = before.as_ref().is_some_and(|(last, _)| last + 1 == first);
            // What entered and left since the instant before needs its members.
            let mut wanted: BTreeSet<usize> = chunk.iter().flat_map(|at| [at.saturating_sub(1), *at]).collect();
            if is_next {
                wanted.remove(&(first - 1));
            }
            let asked: Vec<Timestamp> = wanted.iter().map(|at| instants[*at]).collect();
            let (mut found, duration) = self.evaluated(&segments, &asked, &mut report.scans).await?;
            if let Some((_, last)) = before.take().filter(|_| is_next) {
                found.extend(last);
            }
            let mut left = Vec::new();
            for at in chunk {
                let (earlier, as_of) = (at.checked_sub(1).map(|before| instants[before]), instants[*at]);
                let (mut figures, mut snapshots) = (Vec::new(), Vec::new());
                for segment in &segments {
                    let id = &segment.logical.id;
                    if !existing.has_figures(id, as_of) {
                        figures.push((segment, self.figures(&found, id, earlier, as_of).await?));
                    }
                    if !existing.has_snapshot(id, as_of) {
                        snapshots.extend(self.snapshot(&found, segment, earlier, as_of));
                    }
                }
                left.push(Left { as_of, figures, snapshots });
            }
            self.record(left, duration, &mut report, missing.len()).await?;
            if let Some(last) = chunk.last() {
                found.retain(|(_, instant), _| *instant == instants[*last]);
                before = Some((*last, found));
            }
        }
        report.known = known - report.rows.len();
        Ok(report)
    }

    /// The segments that were named, each once.
    fn segments(&self) -> Result<Vec<ReadySegment>, Error> {
        let distinct: BTreeSet<&SegmentId> = self.request.segments.iter().collect();
        distinct.into_iter().map(|segment| self.opened.living(self.tenant, segment).cloned()).collect()
    }

    /// What an earlier backfill by the same definitions has left.
    async fn existing(&self, segments: &[ReadySegment]) -> Result<Existing, Error> {
        let figures = self.recorded(segments).await?;
        let snapshots = match self.request.leaves {
            Leaves::Figures => None,
            Leaves::FiguresAndSnapshots => {
                let mut snapshots = Recorded::new();
                for segment in segments {
                    let (id, hash) = (&segment.logical.id, &segment.record.hash);
                    snapshots.insert(id.clone(), self.place.ledger().backfilled(&self.tenant.id, id, hash).await?);
                }
                Some(snapshots)
            }
        };
        Ok(Existing { figures, snapshots })
    }

    /// The figures that stand in the history.
    async fn recorded(&self, segments: &[ReadySegment]) -> Result<Recorded, Error> {
        let mut recorded = Recorded::new();
        for segment in segments {
            let (id, hash) = (&segment.logical.id, segment.record.hash.as_str());
            let filter = ReadFilter { from: Some(self.request.from), kinds: vec![RunKind::Backfill], ..ReadFilter::of(id) };
            let mut rows = self.place.ledger().read_history(&self.tenant.id, &filter).await?;
            while let Some(batch) = rows.try_next().await? {
                let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
                let times = batch.column_by_name("as_of");
                let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
                let (Some(hashes), Some(times)) = (text("definition_hash"), times) else { continue };
                for row in 0..batch.num_rows() {
                    let is_ours = hashes.is_valid(row) && hashes.value(row) == hash;
                    if let (true, Ok(instant)) = (is_ours, Timestamp::from_microsecond(times.value(row))) {
                        recorded.entry(id.clone()).or_default().insert(instant);
                    }
                }
            }
        }
        Ok(recorded)
    }

    /// The members of segments at some instants, and how long a segment took at one of them.
    async fn evaluated(
        &mut self,
        segments: &[ReadySegment],
        instants: &[Timestamp],
        scans: &mut Vec<Scan>,
    ) -> Result<(Known<P::Members>, Duration), Error> {
        let began = self.clock.elapsed();
        self.opened.earlier.clear();
        for instant in instants {
            let overrides = self.place.ledger().overrides(&self.tenant.id, *instant).await?;
            self.opened.earlier.insert(*instant, overrides);
        }
        let calendars: Vec<Calendar> = instants.iter().map(|instant| calendar_of(self.tenant, *instant)).collect();
        let mut found = Known::new();
        let mut passes: VecDeque<&[Calendar]> = calendars.chunks(self.at_once).collect();
        while let Some(calendars) = passes.pop_front() {
            // Where so many did not fit, as many of the others are not tried.
            if calendars.len() > self.at_once {
                calendars.chunks(self.at_once).rev().for_each(|part| passes.push_front(part));
                continue;
            }
            match self.pass(segments, calendars, &mut found, scans).await {
                Err(Error::Backend { source: BackendError::Memory { .. }, .. }) if calendars.len() > 1 => {
                    self.at_once = calendars.len().div_ceil(2);
                    tracing::info!(
                        instants = calendars.len(),
                        at_once = self.at_once,
                        "so many instants do not fit into memory together"
                    );
                    passes.push_front(calendars);
                }
                done => done?,
            }
        }
        let parts = u32::try_from(instants.len() * segments.len()).unwrap_or(u32::MAX).max(1);
        Ok((found, self.clock.elapsed().saturating_sub(began) / parts))
    }

    /// Finds the members of segments at some instants in one pass.
    async fn pass(
        &self,
        segments: &[ReadySegment],
        calendars: &[Calendar],
        found: &mut Known<P::Members>,
        scans: &mut Vec<Scan>,
    ) -> Result<(), Error> {
        let requests = |subject: Subject| -> Vec<Request> {
            let of_subject = segments.iter().filter(|segment| segment.record.subject == subject);
            of_subject.map(|segment| self.opened.request_of(segment)).collect()
        };
        for Planned { requests, batch } in
            self.opened.plan_in_order(requests(Subject::User), requests(Subject::Product), calendars)?
        {
            self.progress.step(Step::Evaluating { subject: batch.subject, segments: requests.len() });
            let evaluation = self.opened.evaluate_after(self.place, self.tenant, &batch, found).await?;
            found.extend(members_by_segment(&batch, &evaluation));
            scans.extend(evaluation.scans);
        }
        Ok(())
    }

    /// The figures of a segment at an instant, seen from the one before.
    async fn figures(
        &self,
        found: &Known<P::Members>,
        segment: &SegmentId,
        before: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Figures, Error> {
        let of = |instant: Timestamp| found.get(&(segment.clone(), instant)).cloned();
        let members = of(at);
        let count = members.as_ref().map_or(0, P::Members::count);
        let everyone = Figures { member_count: count, added_count: count, removed_count: 0 };
        let (Some(now), Some(earlier)) = (members, before.and_then(of)) else { return Ok(everyone) };
        let before = earlier.count();
        let shared = self.place.sets(uuid::Uuid::nil()).shared(&[earlier, now]).await;
        let shared = shared.map_err(|source| Error::Backend { tenant: self.tenant.id.clone(), source })?;
        let both = shared.first().and_then(|row| row.get(1)).copied().unwrap_or_default();
        Ok(Figures { member_count: count, added_count: count - both, removed_count: before - both })
    }

    /// The members of a segment at an instant, which follow on those of the one before.
    fn snapshot(
        &self,
        found: &Known<P::Members>,
        segment: &ReadySegment,
        follows: Option<Timestamp>,
        as_of: Timestamp,
    ) -> Option<PastSnapshot<P::Members>> {
        let id = &segment.logical.id;
        let members = found.get(&(id.clone(), as_of))?.clone();
        let overrides = self.opened.earlier.get(&as_of).and_then(|overrides| overrides.get(id)).cloned().unwrap_or_default();
        let definition_hash = segment.record.hash.clone();
        Some(PastSnapshot { segment: id.clone(), definition_hash, members, overrides, follows })
    }

    /// Commits what is left of some instants, each by itself, under one write lease.
    async fn record(
        &self,
        instants: Vec<Left<'_, P::Members>>,
        duration: Duration,
        report: &mut BackfillReport,
        of: usize,
    ) -> Result<(), Error> {
        self.progress.step(Step::Waiting);
        let lease = self.place.ledger().acquire(&LeaseScope::Tenant(self.tenant.id.clone()), self.request.wait).await?;
        let mut recorded = Ok(());
        for (done, Left { as_of, figures, snapshots }) in instants.into_iter().enumerate() {
            self.progress.step(Step::Recording { as_of, done, of });
            let written = snapshots.len();
            recorded = self.record_one(&lease, as_of, &figures, snapshots, duration).await;
            if recorded.is_err() {
                break;
            }
            report.snapshots += written;
            let figures = figures.into_iter();
            report.rows.extend(figures.map(|(ready, figures)| PastFigures { segment: ready.logical.id.clone(), as_of, figures }));
        }
        release(self.place, lease).await;
        recorded
    }

    async fn record_one(
        &self,
        lease: &Lease,
        as_of: Timestamp,
        rows: &[(&ReadySegment, Figures)],
        snapshots: Vec<PastSnapshot<P::Members>>,
        duration: Duration,
    ) -> Result<(), Error> {
        let tenant = self.tenant.id.clone();
        let evaluation_date = calendar_of(self.tenant, as_of).date_of(as_of);
        let run_id = self.clock.run_id(self.clock.now());
        let run = Run { run_id, tenant, kind: RunKind::Backfill, as_of, evaluation_date };
        let mut transaction = self.place.ledger().begin(lease, run).await?;
        for (ready, figures) in rows {
            transaction.record_past(&ready.logical.id, *figures, &ready.record.hash, duration);
        }
        transaction.keep_past(snapshots).await?;
        transaction.commit().await?;
        tracing::info!(%run_id, tenant = %self.tenant.id, %as_of, segments = rows.len(), "past figures recorded");
        Ok(())
    }
}
