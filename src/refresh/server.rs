//! The place on a ClickHouse server: tables, evaluations and members are all there, and only figures come back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::audience::{AudienceRequest, AudienceRows, Broken, first, readable};
use super::config::{ServerConfig, TenantConfig};
use super::error::Error;
use super::place::{Place, ReadablePlace};
use crate::backend::attributes::Attribute;
use crate::backend::clickhouse::{ClickHouseBackend, Evaluations, RemoteMembers, RemoteSets};
use crate::backend::datafusion::in_order;
use crate::backend::tables::EngineSettings;
use crate::backend::{BackendError, SortedIds};
use crate::clickhouse::Connection;
use crate::clock::SharedClock;
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::store::clickhouse::{Arranged, Beside, ClickHouseLedger, Holder};
use crate::store::object::{self, PublicFiles};
use crate::store::{LedgerError, RowStream};

/// Evaluates and keeps members on a ClickHouse server.
pub struct ClickHousePlace {
    connection: Connection,
    ledger: ClickHouseLedger,
    /// How what is no longer on the server is put in order.
    engine: EngineSettings,
    /// What runs have evaluated that is not forgotten yet.
    evaluations: Mutex<BTreeMap<Uuid, Evaluations>>,
}

impl ClickHousePlace {
    /// The place on a server, used on behalf of `user`. Nothing is sent to it yet. `run` stands in the ids of the queries that belong to no
    /// other run.
    ///
    /// # Errors
    /// When there cannot be files at the place that is configured for them.
    pub async fn open(
        config: &ServerConfig,
        engine: &EngineSettings,
        clock: SharedClock,
        user: &str,
        run: Uuid,
    ) -> Result<Self, LedgerError> {
        let connection = Connection::new(config.settings.clone(), run);
        let mut ledger = ClickHouseLedger::new(&connection, clock, Holder::current(user));
        if let Some(location) = &config.files {
            ledger = ledger.with_files(PublicFiles::open(object::Place::open(location)?).await?);
        }
        Ok(Self { connection, ledger, engine: engine.clone(), evaluations: Mutex::default() })
    }

    fn evaluations_of(&self, run: Uuid) -> Evaluations {
        self.evaluations.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default().clone()
    }
}

#[async_trait]
impl Place for ClickHousePlace {
    type Members = RemoteMembers;
    type Backend = ClickHouseBackend;
    type Ledger = ClickHouseLedger;

    async fn open(&self, tenant: &TenantConfig, run: Uuid) -> Result<ClickHouseBackend, BackendError> {
        let connection = self.connection.for_run(run);
        ClickHouseBackend::open(connection, &tenant.id, &tenant.tables, self.evaluations_of(run)).await
    }

    fn ledger(&self) -> &ClickHouseLedger {
        &self.ledger
    }

    async fn gather(&self, run: Uuid, ids: SortedIds) -> Result<RemoteMembers, BackendError> {
        self.sets(run).gather(&ids).await
    }

    async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError> {
        self.ledger.keep_catalog(tenant, catalog).await
    }

    async fn forget(&self, run: Uuid) {
        let found = self.evaluations.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        let Some(evaluations) = found else { return };
        if let Err(error) = evaluations.forget(&self.connection.for_run(run)).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, %run, "what a run evaluated could not be deleted; the server does so after a day");
        }
    }

    async fn stop(&self) {
        self.connection.stop().await;
        let runs: Vec<Uuid> = self.evaluations.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for run in runs {
            self.forget(run).await;
        }
    }
}

#[async_trait]
impl ReadablePlace for ClickHousePlace {
    type Sets = RemoteSets;

    fn sets(&self, run: Uuid) -> RemoteSets {
        RemoteSets::new(self.connection.for_run(run), self.evaluations_of(run))
    }

    async fn read_audience<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        tables: Option<&'a ClickHouseBackend>,
    ) -> Result<AudienceRows<'a>, Error> {
        let AudienceRequest { audience, order, limit, .. } = request;
        let beside = beside(tenant, request, tables).await?;
        let limit = limit.map(|limit| limit as u64);
        let rows = self.ledger.read_arranged(&tenant.id, &Arranged { audience, beside, order, limit }).await?;
        Ok(readable(request, rows.map_err(Error::from).boxed()))
    }

    async fn arrange<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        rows: RowStream,
        tables: Option<&'a ClickHouseBackend>,
    ) -> Result<AudienceRows<'a>, Error> {
        let AudienceRequest { order, limit, with, .. } = request;
        let beside = beside(tenant, request, tables).await?;
        if beside.is_none() && order.is_empty() {
            return Ok(first(rows, *limit).map_err(Error::from).boxed());
        }
        let broken = Broken::default();
        let members = (request.own_schema(), broken.watched(rows));
        let beside = match beside {
            Some(beside) => Some((with.as_slice(), broken.watched(self.ledger.read_beside(beside).await?))),
            None => None,
        };
        let id = tenant.id.clone();
        let told = move |source| broken.cause(&id, source);
        let rows = in_order(&self.engine, members, beside, order, *limit).await.map_err(&told)?;
        Ok(readable(request, rows.map_err(told).boxed()))
    }

    async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        self.ledger.kept_catalog(tenant).await
    }
}

/// What stands beside members, as a statement; `None` when nothing does.
async fn beside(
    tenant: &TenantConfig,
    request: &AudienceRequest,
    tables: Option<&ClickHouseBackend>,
) -> Result<Option<Beside>, Error> {
    let AudienceRequest { subject, with, .. } = request;
    let Some(tables) = tables.filter(|_| !with.is_empty()) else { return Ok(None) };
    let statement = tables.attributes(*subject, with).await;
    let statement = statement.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
    Ok(Some(Beside { statement, fields: with.iter().map(Attribute::field).collect() }))
}
