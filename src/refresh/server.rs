//! The place on a ClickHouse server: tables, evaluations and members are all there, and only figures come back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

use super::config::{ServerConfig, TenantConfig};
use super::place::{Place, ReadablePlace};
use crate::backend::clickhouse::{ClickHouseBackend, Evaluations, RemoteMembers, RemoteSets};
use crate::backend::{Backend, BackendError, Evaluation, Inspection, TableProfile, TableRole};
use crate::clickhouse::Connection;
use crate::clock::SharedClock;
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::plan::Batch;
use crate::store::LedgerError;
use crate::store::clickhouse::{ClickHouseLedger, Holder};

/// Evaluates and keeps members on a ClickHouse server.
pub struct ClickHousePlace {
    connection: Connection,
    ledger: ClickHouseLedger,
    /// What runs have evaluated that is not forgotten yet.
    evaluations: Mutex<BTreeMap<Uuid, Evaluations>>,
}

impl ClickHousePlace {
    /// The place on a server, used on behalf of `user`. Nothing is sent yet. `run` stands in the ids of the queries that belong to no
    /// other run.
    #[must_use]
    pub fn new(config: &ServerConfig, clock: SharedClock, user: &str, run: Uuid) -> Self {
        let connection = Connection::new(config.settings.clone(), run);
        let ledger = ClickHouseLedger::new(&connection, clock, Holder::current(user));
        Self { connection, ledger, evaluations: Mutex::default() }
    }

    fn evaluations_of(&self, run: Uuid) -> Evaluations {
        self.evaluations.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default().clone()
    }
}

#[async_trait]
impl Place for ClickHousePlace {
    type Members = RemoteMembers;
    type Backend = ServerBackend;
    type Ledger = ClickHouseLedger;

    async fn open(&self, tenant: &TenantConfig, run: Uuid) -> Result<ServerBackend, BackendError> {
        let connection = self.connection.for_run(run);
        let database = connection.database().to_owned();
        let backend = ClickHouseBackend::open(connection, &tenant.id, &tenant.tables).await?;
        Ok(ServerBackend { backend, database, evaluations: self.evaluations_of(run) })
    }

    fn ledger(&self) -> &ClickHouseLedger {
        &self.ledger
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
}

#[async_trait]
impl ReadablePlace for ClickHousePlace {
    type Sets = RemoteSets;

    fn sets(&self, run: Uuid) -> RemoteSets {
        RemoteSets::new(self.connection.for_run(run), self.evaluations_of(run))
    }

    async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        self.ledger.kept_catalog(tenant).await
    }
}

/// The backend of the server, which notes what it evaluates.
#[derive(Debug)]
pub struct ServerBackend {
    backend: ClickHouseBackend,
    database: String,
    evaluations: Evaluations,
}

#[async_trait]
impl Backend for ServerBackend {
    type Members = RemoteMembers;

    fn catalog(&self) -> &Catalog {
        self.backend.catalog()
    }

    async fn evaluate(&self, batch: &Batch, given: &[RemoteMembers]) -> Result<Evaluation<RemoteMembers>, BackendError> {
        let evaluation = self.backend.evaluate(batch, given).await?;
        self.evaluations.note(&evaluation.universe);
        Ok(evaluation)
    }

    async fn inspect(&self, batch: &Batch, given: &[RemoteMembers], subject_id: &str) -> Result<Inspection, BackendError> {
        self.backend.inspect(batch, given, subject_id).await
    }

    async fn show_plan(&self, batch: &Batch) -> Result<String, BackendError> {
        self.backend.show_plan(batch).await
    }

    async fn profile(&self, table: TableRole) -> Result<TableProfile, BackendError> {
        Err(BackendError::Source {
            table,
            location: self.database.clone(),
            problem: "is on a ClickHouse server, where tables cannot be looked into yet".to_owned(),
            help: Some("Look at their files, with `source` and `backend = \"datafusion\"`, or ask the server itself.".to_owned()),
            source: None,
        })
    }
}
