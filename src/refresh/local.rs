//! The place inside this process: tables read by DataFusion, members kept as Parquet on an object store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::audience::{AudienceRequest, AudienceRows, Broken, first, readable};
use super::config::{Config, TenantConfig};
use super::error::Error;
use super::place::{Place, ReadablePlace};
use crate::backend::datafusion::{DataFusionBackend, Tables, in_order};
use crate::backend::sets::LocalSets;
use crate::backend::tables::EngineSettings;
use crate::backend::{BackendError, LocalMembers, SortedIds};
use crate::clock::SharedClock;
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::store::object::{self, Holder, ObjectLedger};
use crate::store::{Ledger as _, LedgerError, RowStream};

/// Evaluates with DataFusion and keeps members on an object store.
pub struct LocalPlace {
    engine: EngineSettings,
    folder: PathBuf,
    ledger: ObjectLedger,
}

impl LocalPlace {
    /// The place that a configuration describes, used on behalf of `user`. Nothing is created until something is written.
    /// `slowed` is a pause before each operation of the store, for tests that interrupt it.
    ///
    /// # Errors
    /// When the store's location cannot be used.
    pub fn open(config: &Config, clock: SharedClock, user: &str, slowed: Option<Duration>) -> Result<Self, Error> {
        let mut store = object::Place::open(&config.store)?;
        if let Some(pause) = slowed {
            store = store.delayed(pause);
        }
        let ledger = ObjectLedger::new(store, clock, Holder::current(user), object::Options::default());
        Ok(Self { engine: config.engine.clone(), folder: config.folder.clone(), ledger })
    }
}

#[async_trait]
impl Place for LocalPlace {
    type Members = LocalMembers;
    type Backend = DataFusionBackend;
    type Ledger = ObjectLedger;

    async fn open(&self, tenant: &TenantConfig, _run: Uuid) -> Result<DataFusionBackend, BackendError> {
        Ok(DataFusionBackend::new(Tables::open(&tenant.tables, &self.folder, &self.engine).await?))
    }

    fn ledger(&self) -> &ObjectLedger {
        &self.ledger
    }

    async fn gather(&self, _run: Uuid, ids: SortedIds) -> Result<LocalMembers, BackendError> {
        Ok(LocalMembers::all(Arc::new(ids)))
    }

    async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError> {
        self.ledger.keep_catalog(tenant, catalog).await
    }
}

#[async_trait]
impl ReadablePlace for LocalPlace {
    type Sets = LocalSets;

    fn sets(&self, _run: Uuid) -> LocalSets {
        LocalSets
    }

    async fn read_audience<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        tables: Option<&'a DataFusionBackend>,
    ) -> Result<AudienceRows<'a>, Error> {
        let rows = self.ledger.read_audience(&tenant.id, &request.audience).await?;
        self.arrange(tenant, request, rows, tables).await
    }

    async fn arrange<'a>(
        &'a self,
        tenant: &TenantConfig,
        request: &AudienceRequest,
        rows: RowStream,
        tables: Option<&'a DataFusionBackend>,
    ) -> Result<AudienceRows<'a>, Error> {
        let AudienceRequest { subject, with, order, limit, .. } = request;
        let tables = tables.filter(|_| !with.is_empty());
        if tables.is_none() && order.is_empty() {
            return Ok(first(rows, *limit).map_err(Error::from).boxed());
        }
        let broken = Broken::default();
        let members = (request.own_schema(), broken.watched(rows));
        let rows = match tables {
            Some(tables) => tables.with_attributes(*subject, with, members, order, *limit).await,
            None => in_order(&self.engine, members, None, order, *limit).await,
        };
        let id = tenant.id.clone();
        let told = move |source| broken.cause(&id, source);
        Ok(readable(request, rows.map_err(&told)?.map_err(told).boxed()))
    }

    async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        self.ledger.kept_catalog(tenant).await
    }
}
