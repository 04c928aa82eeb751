//! Where tables are evaluated and members are kept: a backend and the ledger of its place, opened for a tenant together.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::config::TenantConfig;
use super::definitions::{DefinitionFile, Definitions, Form, ReadySegment, is_evaluated};
use super::error::Error;
use crate::backend::{Backend, BackendError, Evaluation, MemberSet};
use crate::ir::LogicalRule;
use crate::model::calendar::Calendar;
use crate::model::catalog::Catalog;
use crate::model::condition::Subject;
use crate::model::id::{SegmentId, TenantId};
use crate::plan::{Batch, OutputName, Reference, Request, plan};
use crate::store::{Ledger, LedgerError, TenantState};

/// A backend and the ledger that takes its members without moving them.
#[async_trait]
pub trait Place: Send + Sync {
    /// The members that both know.
    type Members: MemberSet;
    /// What evaluates.
    type Backend: Backend<Members = Self::Members>;
    /// What keeps.
    type Ledger: Ledger<Members = Self::Members>;

    /// Opens the tables of a tenant as they are now.
    ///
    /// # Errors
    /// When a table is missing, empty or unreadable.
    async fn open(&self, tenant: &TenantConfig) -> Result<Self::Backend, BackendError>;

    /// What keeps the members.
    fn ledger(&self) -> &Self::Ledger;

    /// Keeps the catalog of a tenant for checks without the tables.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError>;
}

/// A tenant with its tables open, its definitions resolved and its committed state at hand.
#[derive(Debug)]
pub struct Opened<B> {
    /// What the store has committed.
    pub state: TenantState,
    /// The tables.
    pub backend: B,
    /// The definitions in force.
    pub definitions: Definitions,
}

impl<B: Backend> Opened<B> {
    /// Opens the tables of a tenant and resolves its definitions against them.
    ///
    /// # Errors
    /// When the store or a table cannot be read.
    pub async fn open<P: Place<Backend = B>>(place: &P, tenant: &TenantConfig, files: &[DefinitionFile]) -> Result<Self, Error> {
        let state = place.ledger().state(&tenant.id).await?;
        let opened = place.open(tenant).await;
        let backend = opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
        let definitions = Definitions::resolve(files, &state, backend.catalog(), &tenant.limits);
        Ok(Self { state, backend, definitions })
    }

    /// Joins requests for one kind of subject with the segments that they refer to.
    ///
    /// # Errors
    /// When references lead nowhere, which resolved definitions rule out.
    pub fn plan(&self, subject: Subject, requests: &[Request], calendar: &Calendar) -> Result<Batch, Error> {
        let ready = |(id, known): (&SegmentId, &super::definitions::KnownSegment)| match &known.form {
            Form::Ready(ready) if ready.record.subject == subject => Some((id.clone(), reference_to(ready))),
            Form::Ready(_) | Form::Failed { .. } | Form::Missing(_) => None,
        };
        let references: BTreeMap<SegmentId, Reference> = self.definitions.segments.iter().filter_map(ready).collect();
        Ok(plan(subject, requests, &references, calendar, &self.backend.catalog().timezone)?)
    }

    /// The stored members that a batch refers to.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn stored<P>(&self, place: &P, tenant: &TenantConfig, batch: &Batch) -> Result<Vec<P::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let mut stored = Vec::with_capacity(batch.stored.len());
        for segment in &batch.stored {
            stored.push(place.ledger().stored(&tenant.id, segment).await?);
        }
        Ok(stored)
    }

    /// Evaluates a batch.
    ///
    /// # Errors
    /// When a table or the store cannot be read.
    pub async fn evaluate<P>(&self, place: &P, tenant: &TenantConfig, batch: &Batch) -> Result<Evaluation<B::Members>, Error>
    where
        P: Place<Backend = B, Members = B::Members>,
    {
        let stored = self.stored(place, tenant, batch).await?;
        let evaluated = self.backend.evaluate(batch, &stored).await;
        evaluated.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })
    }
}

/// The request for the members of a segment by its rule; `None` for a static one.
#[must_use]
pub fn request_for(ready: &ReadySegment) -> Option<Request> {
    match &ready.logical.rule {
        LogicalRule::Static => None,
        LogicalRule::Formula(formula) => {
            Some(Request { name: OutputName::Segment(ready.logical.id.clone()), formula: formula.clone() })
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
