//! Edits of what people decide by hand: who is added to a segment, removed from it, or left to its rule again. An edit is a run of its
//! segment: what is visible after it is what a refresh at the same instant would give.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::config::TenantConfig;
use super::definitions::{ReadySegment, read_definitions};
use super::error::Error;
use super::place::{Known, Opened, ReadablePlace, calendar_of, members_by_segment, membership_of};
use super::run::{Progress, Step, release};
use crate::backend::sets::Sets as _;
use crate::clock::Clock;
use crate::model::id::SegmentId;
use crate::model::segment::{Kind, Status};
use crate::plan::{OutputName, Request};
use crate::store::{
    Basis, EditAction, Figures, Lease, LeaseScope, Ledger, Outcome, OverrideEdit, Run, RunKind, StagedSegment, Transaction,
};

/// What an edit is asked to do.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// Of which segment.
    pub segment: SegmentId,
    /// What is done, and with whom.
    pub edit: OverrideEdit,
    /// What to do about subjects that nobody knows.
    pub on_unknown: OnUnknown,
    /// How long to wait for another writer.
    pub wait: Duration,
}

/// What an edit does about subjects that are not in the universe, or that it would leave to a rule to which they are left already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// Does nothing and fails.
    Refuse,
    /// Leaves them out.
    Skip,
    /// Decides about them as well: it takes effect when they appear.
    Keep,
}

/// What an edit came to.
#[derive(Debug, Clone)]
pub struct EditReport {
    /// Its run; `None` when nobody was left of whom something could be decided.
    pub run_id: Option<Uuid>,
    /// Its instant.
    pub as_of: Timestamp,
    /// Of how many subjects something was decided.
    pub subjects: usize,
    /// Those that nobody knows, ascending.
    pub unknown: Vec<String>,
    /// Members after it, who entered, who left.
    pub figures: Figures,
}

/// Edits what people decide about a segment, under a write lease of its own.
///
/// # Errors
/// [`Error::UnknownSubjects`] names those that nobody knows, when they are refused. When nothing could be committed; the store is then as
/// it was before.
pub async fn edit_overrides<P: ReadablePlace>(
    place: &P,
    tenant: &TenantConfig,
    request: &EditRequest,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<EditReport, Error> {
    progress.step(Step::Waiting);
    let lease = place.ledger().acquire(&LeaseScope::Tenant(tenant.id.clone()), request.wait).await?;
    let report = edit_under(place, tenant, request, &lease, clock, progress).await;
    release(place, lease).await;
    report
}

async fn edit_under<P: ReadablePlace>(
    place: &P,
    tenant: &TenantConfig,
    request: &EditRequest,
    lease: &Lease,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<EditReport, Error> {
    let mut edit = request.edit.clone();
    let mut skipped = Vec::new();
    loop {
        let as_of = tenant.as_of.unwrap_or_else(|| clock.now());
        let run_id = clock.run_id(as_of);
        let attempt = Attempt { place, tenant, segment: &request.segment, edit: &edit, run_id, as_of, lease, clock, progress };
        let done = attempt.done(request.on_unknown).await;
        place.forget(run_id).await;
        match done? {
            Done::Committed { figures, unknown } => {
                skipped.extend(unknown);
                skipped.sort();
                let subjects = edit.subjects.len();
                return Ok(EditReport { run_id: Some(run_id), as_of, subjects, unknown: skipped, figures });
            }
            // Nothing of it is visible: it is done again without them.
            Done::Unknown(unknown) => {
                unknown.iter().for_each(|subject| {
                    edit.subjects.remove(subject);
                });
                skipped.extend(unknown);
                if edit.subjects.is_empty() {
                    skipped.sort();
                    let figures =
                        Figures { member_count: stored_count(place, tenant, &request.segment).await?, ..Figures::default() };
                    return Ok(EditReport { run_id: None, as_of, subjects: 0, unknown: skipped, figures });
                }
            }
        }
    }
}

async fn stored_count<P: ReadablePlace>(place: &P, tenant: &TenantConfig, segment: &SegmentId) -> Result<u64, Error> {
    Ok(place.ledger().state(&tenant.id).await?.segments.get(segment).map_or(0, |state| state.member_count))
}

/// One run of an edit.
struct Attempt<'a, P> {
    place: &'a P,
    tenant: &'a TenantConfig,
    segment: &'a SegmentId,
    edit: &'a OverrideEdit,
    run_id: Uuid,
    as_of: Timestamp,
    lease: &'a Lease,
    clock: &'a dyn Clock,
    progress: &'a dyn Progress,
}

/// What a run of an edit came to.
enum Done {
    Committed {
        figures: Figures,
        /// Those of whom something is decided although nobody knows them.
        unknown: Vec<String>,
    },
    /// Some are unknown, and nothing is visible.
    Unknown(Vec<String>),
}

impl<P: ReadablePlace> Attempt<'_, P> {
    async fn done(&self, on_unknown: OnUnknown) -> Result<Done, Error> {
        let Self { place, tenant, segment, edit, run_id, as_of, .. } = *self;
        let began = self.clock.elapsed();
        self.progress.step(Step::Opening);
        let files = read_definitions(&tenant.definitions)?;
        let mut opened = Opened::open(place, tenant, &files, as_of, run_id).await?;
        let ready = opened.living(tenant, segment)?.clone();
        self.refuse_past(&opened)?;
        let evaluation_date = calendar_of(tenant, as_of).date_of(as_of);
        let run = Run { run_id, tenant: tenant.id.clone(), kind: RunKind::Manual, as_of, evaluation_date };
        let mut transaction = place.ledger().begin(self.lease, run).await?;
        let edited = transaction.edit_overrides(segment, edit).await?;
        opened.overrides.insert(segment.clone(), edited.overrides.clone());

        self.progress.step(Step::Evaluating { subject: ready.record.subject, segments: 1 });
        let (request, basis) = request_of(&ready);
        let mut known = Known::new();
        if basis == Basis::Stored {
            // Of those who are left to a rule that is not evaluated now, only what was decided so far is known.
            let stored = place.ledger().stored(&tenant.id, segment).await?;
            let others = place.sets(run_id).difference(&stored, &edited.subjects).await;
            known.insert((segment.clone(), as_of), others.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?);
        }
        let batch = opened.plan(ready.record.subject, std::slice::from_ref(&request), &calendar_of(tenant, as_of))?;
        let evaluation = match basis {
            Basis::Evaluated => opened.evaluate(place, tenant, &batch).await?,
            Basis::Stored => opened.evaluate_after(place, tenant, &batch, &known).await?,
        };
        let unknown = match edit.action {
            EditAction::Clear => edited.undecided,
            EditAction::Decide(_) => {
                let sets = place.sets(run_id);
                let failed = |source| Error::Backend { tenant: tenant.id.clone(), source };
                let outside = sets.difference(&edited.subjects, &evaluation.universe).await.map_err(failed)?;
                sets.sample(&outside, None).await.map_err(failed)?.into_iter().map(|(subject, _)| subject).collect()
            }
        };
        match (on_unknown, unknown.is_empty()) {
            (OnUnknown::Keep, _) | (_, true) => {}
            (OnUnknown::Skip, false) => return Ok(Done::Unknown(unknown)),
            (OnUnknown::Refuse, false) => {
                return Err(Error::UnknownSubjects { segment: segment.clone(), subjects: unknown, action: edit.action });
            }
        }
        let members = members_by_segment(&batch, &evaluation).remove(&(segment.clone(), as_of));
        let Some(members) = members else {
            return Err(Error::Segment { segment: segment.clone(), problem: "was not evaluated".to_owned() });
        };
        self.progress.step(Step::Writing { segment, done: 0, of: 1 });
        let outcome = Outcome::Members { members, universe: evaluation.universe, overrides: edited.overrides, basis };
        let duration = self.clock.elapsed().saturating_sub(began);
        let definition = Some(ready.record.clone());
        let staged = StagedSegment { segment: segment.clone(), definition, outcome, duration, max_change: None };
        let figures = transaction.stage(staged).await?;
        self.progress.step(Step::Committing);
        transaction.commit().await?;
        let Figures { member_count: members, added_count: entered, removed_count: left } = figures;
        let (action, subjects) = (edit.action.keyword(), edit.subjects.len());
        tracing::info!(%run_id, tenant = %tenant.id, %segment, action, subjects, members, entered, left, "overrides edited");
        Ok(Done::Committed { figures, unknown })
    }

    /// What was computed later already cannot be edited before.
    fn refuse_past(&self, opened: &Opened<P::Backend>) -> Result<(), Error> {
        let last = opened.state.segments.get(self.segment).and_then(|state| state.computed_at).filter(|last| self.as_of < *last);
        last.map_or(Ok(()), |last| Err(Error::Past { segment: self.segment.clone(), last, as_of: self.as_of }))
    }
}

/// What is evaluated for an edit, and what its members come from: the rule, or where that rests what is stored.
fn request_of(ready: &ReadySegment) -> (Request, Basis) {
    match (ready.record.kind, ready.record.status) {
        (Kind::Static, _) => {
            let name = OutputName::Segment(ready.logical.id.clone());
            (Request { name, formula: crate::ir::Formula::Constant(false) }, Basis::Evaluated)
        }
        (Kind::Dynamic, Status::Active) => (membership_of(ready), Basis::Evaluated),
        (Kind::Dynamic, Status::Paused | Status::Archived) => (membership_of(ready), Basis::Stored),
    }
}
