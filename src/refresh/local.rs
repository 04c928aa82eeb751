//! The place inside this process: tables read by DataFusion, members kept as Parquet on an object store.

use async_trait::async_trait;

use super::config::{Config, TenantConfig};
use super::error::Error;
use super::place::Place;
use crate::backend::datafusion::DataFusionBackend;
use crate::backend::tables::EngineSettings;
use crate::backend::{BackendError, LocalMembers};
use crate::clock::SharedClock;
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::store::LedgerError;
use crate::store::object::{Holder, ObjectLedger};

/// Evaluates with DataFusion and keeps members on an object store.
pub struct LocalPlace {
    engine: EngineSettings,
    ledger: ObjectLedger,
}

impl LocalPlace {
    /// The place that a configuration describes, used on behalf of `user`. Nothing is created until something is written.
    ///
    /// # Errors
    /// When the store's location cannot be used.
    pub fn open(config: &Config, clock: SharedClock, user: &str) -> Result<Self, Error> {
        let ledger = ObjectLedger::open(&config.store, clock, Holder::current(user))?;
        Ok(Self { engine: config.engine.clone(), ledger })
    }

    /// The catalog of a tenant that the last run kept; `None` when there was none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        self.ledger.kept_catalog(tenant).await
    }
}

#[async_trait]
impl Place for LocalPlace {
    type Members = LocalMembers;
    type Backend = DataFusionBackend;
    type Ledger = ObjectLedger;

    async fn open(&self, tenant: &TenantConfig) -> Result<DataFusionBackend, BackendError> {
        DataFusionBackend::open(&tenant.tables, &self.engine).await
    }

    fn ledger(&self) -> &ObjectLedger {
        &self.ledger
    }

    async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError> {
        self.ledger.keep_catalog(tenant, catalog).await
    }
}
