//! Where tables are evaluated and members are kept: a backend and the ledger of its place, opened for a tenant together.

use std::collections::BTreeMap;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, AsArray as _};
use datafusion::arrow::compute::concat;
use futures::future::{self, BoxFuture};
use futures::{FutureExt as _, TryStreamExt as _};
use jiff::Timestamp;
use uuid::Uuid;

use super::audience::{AudienceRequest, AudienceRows};
use super::config::TenantConfig;
use super::definitions::{DefinitionFile, Definitions, Form, ReadySegment, is_evaluated};
use super::error::Error;
use crate::backend::sets::Sets;
use crate::backend::{Backend, BackendError, Evaluation, MemberSet, SortedIds};
use crate::ir::{Formula, LogicalRule, SubjectTest};
use crate::model::calendar::Calendar;
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::{SegmentId, TenantId};
use crate::model::manual::Override;
use crate::model::segment::Status;
use crate::plan::{Batch, Given, GivenSet, OutputName, Overridden, PlanError, Population, Question, Reference, Request, plan_all};
use crate::store::{Ledger, LedgerError, Overrides, Past, Provenance, RowStream, SegmentState, TenantState};

/// A backend and the ledger that takes its members without moving them.
#[async_trait]
pub trait Place: Send + Sync {
    /// The members that both know.
    type Members: MemberSet;
    /// What evaluates.
    type Backend: Backend<Members = Self::Members>;
    /// What keeps.
    type Ledger: Ledger<Members = Self::Members>;

    /// Opens the tables of a tenant as they are now, on behalf of a run or a command, which queries of a server are named after.
    ///
    /// # Errors
    /// When a table is missing, empty or unreadable.
    async fn open(&self, tenant: &TenantConfig, run: Uuid) -> Result<Self::Backend, BackendError>;

    /// What keeps the members.
    fn ledger(&self) -> &Self::Ledger;

    /// Subjects by their ids, as the backend takes them, on behalf of a run or a command.
    ///
    /// # Errors
    /// When the place of the members cannot be written.
    async fn gather(&self, run: Uuid, ids: SortedIds) -> Result<Self::Members, BackendError>;

    /// Keeps the catalog of a tenant for checks without the tables.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError>;

    /// Lets go of what was evaluated for a run or a command and is needed no more. What cannot be let go of is logged, and does no harm.
    async fn forget(&self, _run: Uuid) {}

    /// Stops what is still being done elsewhere on behalf of this process, and lets go of all that it evaluated.
    async fn stop(&self) {}
}

/// A place that commands look into.
#[async_trait]
pub trait ReadablePlace: Place {
    /// What looks into members.
    type Sets: Sets<Members = Self::Members>;

    /// What looks into members, on behalf of a run or a command.
    fn sets(&self, run: Uuid) -> Self::Sets;

    /// Members with attributes of their subjects, in an order. `tables` are those of the tenant, which only attributes need.
    ///
    /// # Errors
    /// When the store or a table cannot be read, or a subject has several rows that count.
    async fn read_audience<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        tables: Option<&'a Self::Backend>,
    ) -> Result<AudienceRows<'a>, Error>;

    /// The same of members that are known, by id, in the columns of [`AudienceRequest::own_schema`].
    ///
    /// # Errors
    /// When the rows or a table cannot be read, or a subject has several rows that count.
    async fn arrange<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        rows: RowStream,
        tables: Option<&'a Self::Backend>,
    ) -> Result<AudienceRows<'a>, Error>;

    /// The catalog of a tenant that the last run kept; `None` when there was none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError>;
}

/// A tenant with its tables open, its definitions resolved and its committed state at hand.
pub struct Opened<B: Backend> {
    /// What the store has committed.
    pub state: TenantState,
    /// What people had decided by hand at the instant that is evaluated at.
    pub overrides: BTreeMap<SegmentId, Overrides<B::Members>>,
    /// The same at other instants that are evaluated at.
    pub earlier: BTreeMap<Timestamp, BTreeMap<SegmentId, Overrides<B::Members>>>,
    /// The tables.
    pub backend: B,
    /// The definitions in force.
    pub definitions: Definitions,
    /// The run or the command that all of this is for.
    pub run: Uuid,
}

/// Requests, and the batch that they came to.
#[derive(Debug)]
pub struct Planned {
    /// At least one.
    pub requests: Vec<Request>,
    /// For the subjects of all of them.
    pub batch: Batch,
}

impl<B: Backend> Opened<B> {
    /// Opens the tables of a tenant and resolves its definitions against them, for what is evaluated at an instant.
    ///
    /// # Errors
    /// When the store or a table cannot be read.
    pub async fn open<P>(
        place: &P,
        tenant: &TenantConfig,
        files: &[DefinitionFile],
        as_of: Timestamp,
        run: Uuid,
    ) -> Result<Self, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let state = place.ledger().state(&tenant.id).await?;
        let overrides = place.ledger().overrides(&tenant.id, as_of).await?;
        let opened = place.open(tenant, run).await;
        let backend = opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
        let definitions = Definitions::resolve(files, &state, backend.catalog(), &tenant.limits);
        Ok(Self { state, overrides, earlier: BTreeMap::new(), backend, definitions, run })
    }

    /// Joins requests for one kind of subject with the segments that they refer to.
    ///
    /// # Errors
    /// When references lead nowhere, which resolved definitions rule out.
    pub fn plan(&self, subject: Subject, requests: &[Request], calendar: &Calendar) -> Result<Batch, Error> {
        self.plan_all(subject, requests, std::slice::from_ref(calendar))
    }

    /// The same as it is seen from several instants, in one batch.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn plan_all(&self, subject: Subject, requests: &[Request], calendars: &[Calendar]) -> Result<Batch, Error> {
        let ready = |(id, known): (&SegmentId, &super::definitions::KnownSegment)| match &known.form {
            Form::Ready(ready) => Some((id.clone(), reference_to(ready))),
            Form::Failed { .. } | Form::Missing(_) => None,
        };
        let references: BTreeMap<SegmentId, Reference> = self.definitions.segments.iter().filter_map(ready).collect();
        let overridden: Vec<Overridden> =
            calendars.iter().map(|calendar| decisions(self.earlier.get(&calendar.as_of()).unwrap_or(&self.overrides))).collect();
        let questions: Vec<Question<'_>> =
            calendars.iter().zip(&overridden).map(|(calendar, overridden)| Question { requests, overridden, calendar }).collect();
        let catalog = self.backend.catalog();
        Ok(plan_all(subject, Population::of(catalog, subject), &questions, &references, &catalog.timezone)?)
    }

    /// A segment that somebody can be in: it is defined, can be evaluated, and is not archived.
    ///
    /// # Errors
    /// When it is not; says why.
    pub fn living(&self, tenant: &TenantConfig, segment: &SegmentId) -> Result<&ReadySegment, Error> {
        let unknown = |near| Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near };
        let known = self.definitions.get(segment).map_err(unknown)?;
        let problem = match &known.form {
            Form::Ready(ready) if ready.record.status != Status::Archived => return Ok(ready),
            Form::Ready(_) => "is archived: nobody is in it".to_owned(),
            Form::Failed { error, .. } => format!("cannot be evaluated: {error}"),
            Form::Missing(_) => "is missing: the file that defined it is gone".to_owned(),
        };
        Err(Error::Segment { segment: segment.clone(), problem })
    }

    /// The request for the members of a segment by its rule and by what people decided; `None` for a static one of which they decided
    /// nothing.
    #[must_use]
    pub fn request_for(&self, ready: &ReadySegment) -> Option<Request> {
        let id = &ready.logical.id;
        match &ready.logical.rule {
            LogicalRule::Formula(formula) => Some(Request { name: OutputName::Segment(id.clone()), formula: formula.clone() }),
            LogicalRule::Static => {
                let nobody = Request { name: OutputName::Segment(id.clone()), formula: Formula::Constant(false) };
                self.overrides.contains_key(id).then_some(nobody)
            }
        }
    }

    /// The request for the members of a segment by its rule and by what people decided; of a static one of which they decided nothing that
    /// for nobody.
    #[must_use]
    pub fn request_of(&self, ready: &ReadySegment) -> Request {
        let nobody = || Request { name: OutputName::Segment(ready.logical.id.clone()), formula: Formula::Constant(false) };
        self.request_for(ready).unwrap_or_else(nobody)
    }

    /// The segments of users whose members a batch of products is given, for their signals. Those that are stored are asked for too:
    /// only who is in the universe of the users counts.
    #[must_use]
    pub fn audiences(&self, batch: &Batch) -> Vec<Request> {
        let audience = |given: &Given| {
            let GivenSet::Members(id) = &given.set else { return None };
            match &self.definitions.segments.get(id)?.form {
                Form::Ready(ready) if ready.record.subject != batch.subject => Some(membership_of(ready)),
                Form::Ready(_) | Form::Failed { .. } | Form::Missing(_) => None,
            }
        };
        batch.given.iter().filter_map(audience).collect()
    }

    /// The batches of the requests for users and for products, each seen from some instants, in the order in which they are evaluated: users whose signals products
    /// ask for stand among the users, whether they are asked for as well or not.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn plan_in_order(
        &self,
        mut users: Vec<Request>,
        products: Vec<Request>,
        calendars: &[Calendar],
    ) -> Result<Vec<Planned>, Error> {
        let of_products = self.plan_all(Subject::Product, &products, calendars)?;
        for audience in self.audiences(&of_products) {
            if users.iter().all(|request| request.name != audience.name) {
                users.push(audience);
            }
        }
        let of_users = self.plan_all(Subject::User, &users, calendars)?;
        let both = [Planned { requests: users, batch: of_users }, Planned { requests: products, batch: of_products }];
        Ok(both.into_iter().filter(|planned| !planned.requests.is_empty()).collect())
    }

    /// The members that a batch is given: those of its audiences at the same instant, which are evaluated here, and stored ones.
    ///
    /// # Errors
    /// When a table or the store cannot be read.
    pub async fn given<P>(&self, place: &P, tenant: &TenantConfig, batch: &Batch) -> Result<Vec<P::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let audiences = self.audiences(batch);
        if audiences.is_empty() {
            return self.given_with(place, tenant, batch, &Known::new()).await;
        }
        let users = self.plan(Subject::User, &audiences, &calendar_of(tenant, batch.as_of))?;
        let stored = self.given_with(place, tenant, &users, &Known::new()).await?;
        let evaluation = self.evaluated(tenant, &users, &stored).await?;
        self.given_with(place, tenant, batch, &members_by_segment(&users, &evaluation)).await
    }

    /// The same with members that are known.
    async fn given_with<P>(
        &self,
        place: &P,
        tenant: &TenantConfig,
        batch: &Batch,
        known: &Known<P::Members>,
    ) -> Result<Vec<P::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let mut given = Vec::with_capacity(batch.given.len());
        for set in &batch.given {
            given.push(match &set.set {
                GivenSet::Members(segment) => match known.get(&(segment.clone(), set.as_of)) {
                    Some(members) => members.clone(),
                    None => self.stored(place, tenant, segment, set.as_of).await?,
                },
                GivenSet::Overridden(segment, decision) => self.decided(segment, set.as_of, *decision)?,
            });
        }
        Ok(given)
    }

    /// The members of a segment that is not evaluated, as they stood at an instant. Where the records do not reach back that far, they are
    /// evaluated after all.
    async fn stored<P>(&self, place: &P, tenant: &TenantConfig, segment: &SegmentId, as_of: Timestamp) -> Result<P::Members, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let ledger = place.ledger();
        if !self.state.segments.get(segment).is_some_and(|state| may_have_changed(state, as_of)) {
            return Ok(ledger.stored(&tenant.id, segment).await?);
        }
        match ledger.members_at(&tenant.id, segment, as_of).await? {
            // They need not be moved.
            Past::Members { provenance: Provenance::Current, .. } => Ok(ledger.stored(&tenant.id, segment).await?),
            Past::Members { rows, .. } => {
                let gathered = place.gather(self.run, ids_of(rows).await?).await;
                gathered.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })
            }
            Past::Unknown => self.evaluated_alone(place, tenant, segment, as_of).await,
        }
    }

    /// The members of a segment by its rule, and by what people had decided, at an instant.
    fn evaluated_alone<'a, P>(
        &'a self,
        place: &'a P,
        tenant: &'a TenantConfig,
        segment: &'a SegmentId,
        as_of: Timestamp,
    ) -> BoxFuture<'a, Result<P::Members, Error>>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let evaluated = async move {
            let ready = self.living(tenant, segment)?;
            let batch = self.plan(ready.record.subject, &[self.request_of(ready)], &calendar_of(tenant, as_of))?;
            let evaluation = self.evaluate(place, tenant, &batch).await?;
            let mut members = members_by_segment(&batch, &evaluation);
            members.remove(&(segment.clone(), as_of)).ok_or_else(|| Error::Plan(PlanError::UnknownReference(segment.clone())))
        };
        evaluated.boxed()
    }

    /// Those of whom people decided so.
    fn decided(&self, segment: &SegmentId, as_of: Timestamp, decision: Override) -> Result<B::Members, Error> {
        let overrides = self.earlier.get(&as_of).unwrap_or(&self.overrides);
        let decided = overrides.get(segment).and_then(|overrides| overrides.get(&decision)).cloned();
        // A batch asks for the decisions that there are.
        decided.ok_or_else(|| Error::Plan(PlanError::UnknownReference(segment.clone())))
    }

    /// Evaluates a batch, and its audiences before it.
    ///
    /// # Errors
    /// When a table or the store cannot be read.
    pub async fn evaluate<P>(&self, place: &P, tenant: &TenantConfig, batch: &Batch) -> Result<Evaluation<B::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let given = self.given(place, tenant, batch).await?;
        self.evaluated(tenant, batch, &given).await
    }

    /// Evaluates a batch whose audiences were evaluated before, at the same instant.
    ///
    /// # Errors
    /// When a table or the store cannot be read.
    pub async fn evaluate_after<P>(
        &self,
        place: &P,
        tenant: &TenantConfig,
        batch: &Batch,
        known: &Known<P::Members>,
    ) -> Result<Evaluation<B::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let given = self.given_with(place, tenant, batch, known).await?;
        self.evaluated(tenant, batch, &given).await
    }

    async fn evaluated(&self, tenant: &TenantConfig, batch: &Batch, given: &[B::Members]) -> Result<Evaluation<B::Members>, Error> {
        let evaluated = self.backend.evaluate(batch, given).await;
        evaluated.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })
    }
}

fn decisions<M>(overrides: &BTreeMap<SegmentId, Overrides<M>>) -> Overridden {
    overrides.iter().map(|(id, overrides)| (id.clone(), overrides.decisions())).collect()
}

/// Whether a segment was touched after an instant. Edits by hand are runs too, and do not count as evaluations.
fn may_have_changed(state: &SegmentState, since: Timestamp) -> bool {
    let ran_at = state.run_id.get_timestamp().and_then(|at| {
        let (seconds, nanoseconds) = at.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    });
    state.attempted_at > since || ran_at.is_none_or(|at| at > since)
}

/// The ids of rows of members.
async fn ids_of(rows: RowStream) -> Result<SortedIds, LedgerError> {
    let unexpected = |problem: String| LedgerError::Corrupt { path: "members".to_owned(), problem };
    let ids = rows.and_then(|batch| {
        let ids = batch.column_by_name("subject_id").cloned();
        future::ready(ids.ok_or_else(|| unexpected("the column `subject_id` is missing".to_owned())))
    });
    let ids: Vec<ArrayRef> = ids.try_collect().await?;
    let ids: Vec<&dyn Array> = ids.iter().map(AsRef::as_ref).collect();
    if ids.is_empty() {
        return Ok(SortedIds::none());
    }
    let ids = concat(&ids).map_err(|error| unexpected(error.to_string()))?;
    let ids = ids.as_string_opt::<i32>().ok_or_else(|| unexpected("the column `subject_id` is of another type".to_owned()))?;
    SortedIds::new(ids.clone()).map_err(|error| unexpected(error.to_string()))
}

/// The members of segments, as they are at instants.
pub type Known<M> = BTreeMap<(SegmentId, Timestamp), M>;

/// The members of the segments that a batch evaluated.
#[must_use]
pub fn members_by_segment<M: MemberSet>(batch: &Batch, evaluation: &Evaluation<M>) -> Known<M> {
    let outputs = batch.outputs.iter().zip(&evaluation.outputs);
    let of_segment = outputs.filter_map(|(output, members)| match &output.name {
        OutputName::Segment(id) => Some(((id.clone(), output.as_of), members.clone())),
        OutputName::Node(..) | OutputName::Degree(..) => None,
    });
    of_segment.collect()
}

/// The request for the members of a segment as others see them: by its rule, or for a static or paused one as they are stored, as far as
/// they are in the universe.
#[must_use]
pub fn membership_of(ready: &ReadySegment) -> Request {
    let id = ready.logical.id.clone();
    match &ready.logical.rule {
        LogicalRule::Formula(formula) if is_evaluated(ready) => Request { name: OutputName::Segment(id), formula: formula.clone() },
        LogicalRule::Formula(_) | LogicalRule::Static => {
            let formula = Formula::Leaf(SubjectTest::Member(id.clone()));
            Request { name: OutputName::Segment(id), formula }
        }
    }
}

fn reference_to(ready: &ReadySegment) -> Reference {
    match &ready.logical.rule {
        LogicalRule::Formula(formula) if is_evaluated(ready) => Reference::Evaluated(formula.clone()),
        LogicalRule::Formula(_) | LogicalRule::Static => Reference::Stored,
    }
}

/// The calendar of a tenant at an instant.
#[must_use]
pub fn calendar_of(tenant: &TenantConfig, at: Timestamp) -> Calendar {
    Calendar::in_zone(at, tenant.timezone.clone())
}
