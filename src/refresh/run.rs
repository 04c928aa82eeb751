//! One run of one tenant: what was asked for, evaluated at one instant and committed as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::config::TenantConfig;
use super::definitions::{DefinitionFile, Form, InvalidFile, KnownSegment, read_definitions};
use super::due::{Candidate, Timing, agenda};
use super::error::Error;
use super::place::{Opened, Place, Planned, calendar_of, members_by_segment};
use super::upkeep;
use crate::backend::{Backend, Effort, Evaluation, MemberSet, Observation, Scan};
use crate::clock::Clock;
use crate::model::calendar::Calendar;
use crate::model::condition::Subject;
use crate::model::guard::MaxChange;
use crate::model::id::SegmentId;
use crate::model::segment::{Kind, Status};
use crate::model::window;
use crate::plan::{OutputName, Request};
use crate::store::{
    Basis, ChangeReason, DefinitionNote, Figures, Lease, LeaseScope, Ledger, Outcome, Overrides, Run, RunKind, StagedSegment,
    Transaction,
};

/// What one run is asked to do.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Which segments.
    pub selection: Selection,
    /// At which instant; `None` = now.
    pub as_of: Option<Timestamp>,
    /// What to do about invalid definitions.
    pub on_invalid: OnInvalid,
    /// How long to wait for another writer.
    pub wait: Duration,
    /// The job of the scheduler that this run does, to be noted as done.
    pub job: Option<&'static str>,
    /// What to do about a segment of which more changes than it may.
    pub on_excess: OnExcess,
}

/// Which segments a run computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those that are due.
    Due {
        /// How often a segment is recomputed that does not say so itself.
        default_interval: window::Duration,
        /// Since when the clock is known to have run forward only.
        steady_since: Timestamp,
    },
    /// Every active one.
    All,
    /// Those whose last result is held.
    Held,
    /// These.
    Named(BTreeSet<SegmentId>),
}

/// What a run does about invalid definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// Does nothing and fails.
    Refuse,
    /// Goes on with their last valid forms.
    UseLastValid,
}

/// What a run does about a segment of which more changes than `max_change` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExcess {
    /// Holds its result: nothing changes, until it is accepted.
    Hold,
    /// Takes it over.
    Accept,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The run; `None` when there was nothing to do.
    pub run_id: Option<Uuid>,
    /// The instant that was evaluated at.
    pub as_of: Timestamp,
    /// Every segment that was computed, failed or ended, by id.
    pub segments: Vec<SegmentReport>,
    /// What was left out of the tables or did not fit, for each kind of subject that was evaluated.
    pub observations: Vec<(Subject, Vec<Observation>)>,
    /// What was read.
    pub scans: Vec<Scan>,
    /// What was shared and where the time went, for each kind of subject that was evaluated.
    pub efforts: Vec<(Subject, Effort)>,
    /// Segments whose file is invalid or gone, with why.
    pub notes: BTreeMap<SegmentId, DefinitionNote>,
    /// Files whose text is not in force.
    pub invalid: Vec<InvalidFile>,
    /// What decides when each segment is due next.
    pub candidates: BTreeMap<SegmentId, Candidate>,
    /// How long it took.
    pub duration: Duration,
}

impl RunReport {
    /// How many segments failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.segments.iter().filter(|segment| matches!(segment.status, SegmentStatus::Failed(_))).count()
    }

    /// Of how many segments the result is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.segments.iter().filter(|segment| matches!(segment.status, SegmentStatus::Held(_))).count()
    }
}

/// What a run came to for one segment.
#[derive(Debug, Clone)]
pub struct SegmentReport {
    /// The segment.
    pub segment: SegmentId,
    /// What it contains.
    pub subject: Subject,
    /// What came of it.
    pub status: SegmentStatus,
    /// Members after it, who entered, who left.
    pub figures: Figures,
    /// Who could be in it.
    pub universe: u64,
    /// How long it took, with an even part of the shared work.
    pub duration: Duration,
}

/// What came of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentStatus {
    /// It was computed.
    Computed,
    /// It could not be computed and keeps its members; why.
    Failed(String),
    /// More of it would change than may; it keeps its members until that is accepted. Why.
    Held(String),
    /// It was archived; its members left.
    Archived,
}

/// Is told how far a run is.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn step(&self, step: Step<'_>);
}

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Waits for the right to write.
    Waiting,
    /// Opens the tables.
    Opening,
    /// Evaluates segments.
    Evaluating {
        /// Of what.
        subject: Subject,
        /// How many.
        segments: usize,
    },
    /// Compares a segment with what the store has, and writes it.
    Writing {
        /// Which.
        segment: &'a SegmentId,
        /// How many were written before it.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// Writes the figures of an instant of the past.
    Recording {
        /// Which.
        as_of: Timestamp,
        /// How many of those at hand were written before it.
        done: usize,
        /// How many there are in all.
        of: usize,
    },
    /// Makes everything visible.
    Committing,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: Step<'_>) {}
}

/// Does one run of one tenant under a write lease of its own. A segment that cannot be evaluated fails alone; when a table or the
/// store cannot be used, nothing is changed.
///
/// # Errors
/// When nothing could be committed; the store is then as it was before.
pub async fn refresh<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    request: &RunRequest,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<RunReport, Error> {
    let files = read_definitions(&tenant.definitions)?;
    progress.step(Step::Waiting);
    let lease = place.ledger().acquire(&LeaseScope::Tenant(tenant.id.clone()), request.wait).await?;
    // The run is known before the tables are opened, so that what is asked of a server can be named after it.
    let run_id = clock.run_id(request.as_of.or(tenant.as_of).unwrap_or_else(|| clock.now()));
    let report = refresh_under(place, tenant, &files, request, (&lease, run_id), clock, progress).await;
    place.forget(run_id).await;
    release(place, lease).await;
    report
}

/// Gives a lease back; one that cannot be given back expires by itself.
pub(super) async fn release<P: Place>(place: &P, lease: Lease) {
    if let Err(error) = place.ledger().release(lease).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a lease could not be given back and has to expire");
    }
}

async fn refresh_under<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    files: &[DefinitionFile],
    request: &RunRequest,
    (lease, run_id): (&Lease, Uuid),
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<RunReport, Error> {
    let started = clock.elapsed();
    progress.step(Step::Opening);
    let as_of = request.as_of.or(tenant.as_of).unwrap_or_else(|| clock.now());
    let opened = Opened::open(place, tenant, files, as_of, run_id).await?;
    let definitions = &opened.definitions;
    if request.on_invalid == OnInvalid::Refuse && !definitions.invalid.is_empty() {
        return Err(Error::Refused(definitions.report.clone()));
    }
    let calendar = calendar_of(tenant, as_of);
    let targets = select(&opened, tenant, request, &calendar)?;
    let notes = definitions.segments.iter().map(|(id, known)| (id, &known.note));
    let changed_notes: Vec<(&SegmentId, &DefinitionNote)> =
        notes.clone().filter(|(id, note)| opened.state.segments.get(*id).is_some_and(|state| state.note != **note)).collect();
    let mut report = RunReport {
        run_id: None,
        as_of,
        segments: Vec::new(),
        observations: Vec::new(),
        scans: Vec::new(),
        efforts: Vec::new(),
        invalid: definitions.invalid.clone(),
        candidates: definitions.candidates(),
        notes: notes.filter(|(_, note)| **note != DefinitionNote::Present).map(|(id, note)| (id.clone(), note.clone())).collect(),
        duration: Duration::ZERO,
    };
    if targets.is_empty() && changed_notes.is_empty() && request.job.is_none() {
        return Ok(report);
    }
    let evaluations = evaluate(place, tenant, &opened, &targets, &calendar, clock, progress).await?;
    let run = Run { run_id, tenant: tenant.id.clone(), kind: RunKind::Run, as_of, evaluation_date: calendar.date_of(as_of) };
    let mut transaction = place.ledger().begin(lease, run).await?;
    for (segment, note) in changed_notes {
        log_note(run_id, tenant, segment, note);
        transaction.note_definition(segment, note.clone());
    }
    let records = definitions.segments.iter().map(|(id, known)| (id, known.record().json.as_str()));
    transaction.keep_snapshots(upkeep::with_snapshots(tenant, records), calendar.start_of(calendar.date_of(as_of)));
    if let Some(job) = request.job {
        transaction.note_job(job, as_of);
    }
    let (mut staged, mut reports) = (Vec::new(), Vec::new());
    for (segment, (outcome, universe, share)) in outcomes(&targets, evaluations, &opened.overrides, &mut report) {
        let Some(known) = definitions.segments.get(&segment) else { continue };
        let (status, subject) = (status_of(&outcome), known.record().subject);
        let (figures, duration) = (Figures::default(), share);
        reports.push(SegmentReport { segment: segment.clone(), subject, status, figures, universe, duration });
        let max_change = match request.on_excess {
            OnExcess::Hold => max_change_of(tenant, known),
            OnExcess::Accept => None,
        };
        let definition = Some(known.record().clone());
        staged.push(StagedSegment { segment, definition, outcome, duration: share, max_change });
    }
    let of = reports.len();
    let begins = |done: usize| {
        if let Some(SegmentReport { segment, .. }) = reports.get(done) {
            progress.step(Step::Writing { segment, done, of });
        }
    };
    let staged = transaction.stage_all(staged, &begins).await?;
    for (mut segment_report, staged) in reports.into_iter().zip(staged) {
        segment_report.figures = staged.figures;
        if let Some(reason) = staged.held {
            segment_report.status = SegmentStatus::Held(reason);
        }
        segment_report.duration += staged.duration;
        log_segment(run_id, tenant, &segment_report);
        report.segments.push(segment_report);
    }
    progress.step(Step::Committing);
    transaction.commit().await?;
    if let Err(error) = place.keep_catalog(&tenant.id, opened.backend.catalog()).await {
        // Nothing is lost: only a check without the tables misses what is new.
        tracing::warn!(error = &error as &dyn std::error::Error, tenant = %tenant.id, "the catalog could not be kept");
    }
    report.run_id = Some(run_id);
    report.duration = clock.elapsed().saturating_sub(started);
    log_run(tenant, &report);
    Ok(report)
}

fn log_note(run_id: Uuid, tenant: &TenantConfig, segment: &SegmentId, note: &DefinitionNote) {
    let message = match note {
        DefinitionNote::Present => "the definition is there and valid again",
        DefinitionNote::Missing => "the file of the definition is gone; its members stay",
        DefinitionNote::Invalid(_) => "the definition is invalid; its last valid form stays in force",
    };
    let error = if let DefinitionNote::Invalid(error) = note { Some(error) } else { None };
    tracing::info!(%run_id, tenant = %tenant.id, %segment, error, "{message}");
}

/// How much one run may change of a segment: what it says itself, else its tenant.
fn max_change_of(tenant: &TenantConfig, known: &KnownSegment) -> Option<MaxChange> {
    let own = known.definition().and_then(|definition| definition.max_change.clone());
    own.or_else(|| tenant.max_change.clone())
}

/// What is to be done with a segment.
enum Target<'a> {
    Evaluate(&'a KnownSegment, Request),
    Fail(String),
    Archive,
}

fn select<'a, B: Backend>(
    opened: &'a Opened<B>,
    tenant: &TenantConfig,
    request: &RunRequest,
    calendar: &Calendar,
) -> Result<BTreeMap<SegmentId, Target<'a>>, Error> {
    let definitions = &opened.definitions;
    let selected: BTreeSet<SegmentId> = match &request.selection {
        Selection::Due { default_interval, steady_since } => {
            let timing = Timing { calendar: calendar.clone(), steady_since: *steady_since, default_interval: *default_interval };
            agenda(&definitions.candidates(), &opened.state, &timing).segments.into_keys().collect()
        }
        Selection::All => definitions.segments.keys().cloned().collect(),
        Selection::Held => {
            let held = opened.state.segments.iter().filter(|(_, state)| state.held.is_some());
            held.map(|(segment, _)| segment.clone()).collect()
        }
        Selection::Named(named) => {
            for segment in named {
                refuse_resting(opened, tenant, segment)?;
            }
            named.clone()
        }
    };
    let mut targets = BTreeMap::new();
    for segment in selected {
        let Some(known) = definitions.segments.get(&segment) else { continue };
        let state = opened.state.segments.get(&segment);
        if let Some(target) = target_of(opened, known, state.map(|state| state.definition.status)) {
            if let (Some(as_of), Some(last)) = (request.as_of, state.and_then(|state| state.computed_at))
                && as_of < last
            {
                return Err(Error::Past { segment, last, as_of });
            }
            targets.insert(segment, target);
        }
    }
    Ok(targets)
}

/// A segment that is named has to be one that is computed at all.
fn refuse_resting<B: Backend>(opened: &Opened<B>, tenant: &TenantConfig, segment: &SegmentId) -> Result<(), Error> {
    let unknown = |near| Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near };
    let known = opened.definitions.get(segment).map_err(unknown)?;
    let problem = match known.definition() {
        None => "is missing: the file that defined it is gone",
        Some(definition) => match (definition.status, definition.kind) {
            (Status::Paused, _) => "is paused, and is not recomputed",
            (Status::Active, Kind::Static) if opened.overrides.contains_key(segment) => return Ok(()),
            (Status::Active, Kind::Static) => "is static: its members are added by hand, there is nothing to compute",
            (Status::Archived, _) => "is archived, and is not recomputed",
            (Status::Active, Kind::Dynamic) => return Ok(()),
        },
    };
    Err(Error::Segment { segment: segment.clone(), problem: problem.to_owned() })
}

fn target_of<'a, B: Backend>(opened: &Opened<B>, known: &'a KnownSegment, stored_status: Option<Status>) -> Option<Target<'a>> {
    let definition = known.definition()?;
    match (definition.status, definition.kind) {
        (Status::Archived, _) => stored_status.is_some_and(|status| status != Status::Archived).then_some(Target::Archive),
        (Status::Paused, _) => None,
        // Whom people added to a static segment is a member while in the universe, which may be another now.
        (Status::Active, Kind::Dynamic | Kind::Static) => match &known.form {
            Form::Ready(ready) => opened.request_for(ready).map(|request| Target::Evaluate(known, request)),
            Form::Failed { error, .. } => Some(Target::Fail(error.clone())),
            Form::Missing(_) => None,
        },
    }
}

/// The evaluation of all segments of one kind of subject, and how long it took for each.
struct Evaluated<M> {
    subject: Subject,
    names: Vec<OutputName>,
    evaluation: Evaluation<M>,
    share: Duration,
}

async fn evaluate<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    opened: &Opened<P::Backend>,
    targets: &BTreeMap<SegmentId, Target<'_>>,
    calendar: &Calendar,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<Vec<Evaluated<P::Members>>, Error> {
    let requests_of = |subject: Subject| -> Vec<Request> {
        let of_subject = |target: &Target<'_>| match target {
            Target::Evaluate(known, request) if known.record().subject == subject => Some(request.clone()),
            Target::Evaluate(..) | Target::Fail(_) | Target::Archive => None,
        };
        targets.values().filter_map(of_subject).collect()
    };
    let planned =
        opened.plan_in_order(requests_of(Subject::User), requests_of(Subject::Product), std::slice::from_ref(calendar))?;
    let mut known = BTreeMap::new();
    let mut evaluations = Vec::new();
    for Planned { requests, batch } in planned {
        let subject = batch.subject;
        let Ok(segments) = u32::try_from(requests.len()) else { continue };
        progress.step(Step::Evaluating { subject, segments: requests.len() });
        let began = clock.elapsed();
        let evaluation = opened.evaluate_after(place, tenant, &batch, &known).await?;
        known.extend(members_by_segment(&batch, &evaluation));
        let share = clock.elapsed().saturating_sub(began) / segments;
        let names = batch.outputs.into_iter().map(|output| output.name).collect();
        evaluations.push(Evaluated { subject, names, evaluation, share });
    }
    Ok(evaluations)
}

/// What to stage per segment, with the size of its universe and its part of the shared time; the observations go to the report.
type Outcomes<M> = BTreeMap<SegmentId, (Outcome<M>, u64, Duration)>;

fn outcomes<M: MemberSet>(
    targets: &BTreeMap<SegmentId, Target<'_>>,
    evaluations: Vec<Evaluated<M>>,
    overrides: &BTreeMap<SegmentId, Overrides<M>>,
    report: &mut RunReport,
) -> Outcomes<M> {
    let mut outcomes = BTreeMap::new();
    for (segment, target) in targets {
        let outcome = match target {
            Target::Evaluate(..) => continue,
            Target::Fail(error) => Outcome::Failed { error: error.clone() },
            Target::Archive => Outcome::Ended { reason: ChangeReason::Archived },
        };
        outcomes.insert(segment.clone(), (outcome, 0, Duration::ZERO));
    }
    for Evaluated { subject, names, evaluation, share } in evaluations {
        for (name, members) in names.into_iter().zip(evaluation.outputs) {
            // Segments that are only referred to are evaluated too, and not for their own sake.
            if let OutputName::Segment(segment) = name
                && targets.contains_key(&segment)
            {
                let universe = evaluation.universe.clone();
                let size = universe.count();
                let overrides = overrides.get(&segment).cloned().unwrap_or_default();
                let outcome = Outcome::Members { members, universe, overrides, basis: Basis::Evaluated };
                outcomes.insert(segment, (outcome, size, share));
            }
        }
        report.observations.push((subject, evaluation.observations));
        report.scans.extend(evaluation.scans);
        report.efforts.push((subject, evaluation.effort));
    }
    outcomes
}

fn status_of<M>(outcome: &Outcome<M>) -> SegmentStatus {
    match outcome {
        Outcome::Members { .. } => SegmentStatus::Computed,
        Outcome::Failed { error } => SegmentStatus::Failed(error.clone()),
        Outcome::Ended { .. } => SegmentStatus::Archived,
    }
}

fn log_segment(run_id: Uuid, tenant: &TenantConfig, report: &SegmentReport) {
    let Figures { member_count: members, added_count: entered, removed_count: left } = report.figures;
    let (tenant, segment) = (&tenant.id, &report.segment);
    let duration_ms = report.duration.as_millis();
    match &report.status {
        SegmentStatus::Computed => {
            tracing::info!(%run_id, %tenant, %segment, members, entered, left, duration_ms, "segment computed")
        }
        SegmentStatus::Archived => tracing::info!(%run_id, %tenant, %segment, members, left, duration_ms, "segment archived"),
        SegmentStatus::Held(reason) => tracing::error!(%run_id, %tenant, %segment, members, reason, "segment held"),
        SegmentStatus::Failed(error) => tracing::error!(%run_id, %tenant, %segment, members, error, "segment failed"),
    }
}

fn log_run(tenant: &TenantConfig, report: &RunReport) {
    for (subject, observation) in report.observations.iter().flat_map(|(subject, all)| all.iter().map(move |one| (subject, one))) {
        let Observation { table, kind, count } = observation;
        tracing::info!(tenant = %tenant.id, subject = subject.keyword(), %table, ?kind, count, "values were left out or did not fit");
    }
    let run_id = report.run_id.unwrap_or_default();
    let (segments, failed, held) = (report.segments.len(), report.failures(), report.held());
    let duration_ms = report.duration.as_millis();
    tracing::info!(%run_id, tenant = %tenant.id, as_of = %report.as_of, segments, failed, held, duration_ms, "run committed");
}
