//! Puts the tables of a tenant onto a ClickHouse server: read by the embedded reader from their files, written as they are read.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::config::{Config, ServerConfig, TenantConfig};
use super::error::Error;
use crate::backend::clickhouse::{NewTable, order_of};
use crate::backend::datafusion::Tables;
use crate::backend::tables::{ServerTable, TenantTables};
use crate::backend::{BackendError, TableRole};
use crate::clickhouse::{Connection, Settings};
use crate::clock::Clock;
use crate::model::catalog::Access;
use crate::store::clickhouse::{Layout, Replication, make_database};

/// A database that every server has: what makes a database cannot be in it.
pub const SYSTEM: &str = "system";

/// What to do about a table that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing is loaded.
    Refuse,
    /// It is replaced when the new one is whole.
    Replace,
}

/// A table that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its part.
    pub role: TableRole,
    /// Where it is: `database.table`.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long that took.
    pub duration: Duration,
}

/// Makes and fills the tables of a tenant that have a source. `begins` is told which one is next.
///
/// # Errors
/// When a source cannot be read, a table is there and may not be replaced, or the server refuses.
pub async fn load(
    config: &Config,
    server: &ServerConfig,
    tenant: &TenantConfig,
    existing: Existing,
    clock: &dyn Clock,
    begins: &(dyn Fn(TableRole) + Sync),
) -> Result<Vec<Loaded>, Error> {
    let failed = |source| Error::Load { tenant: tenant.id.clone(), source: Box::new(source) };
    let connection = connection(server, clock.run_id(clock.now()));
    let sources = with_sources(&tenant.tables);
    refuse_unloadable(tenant, &sources)?;
    connection.check().await.map_err(|source| failed(refused("connecting", source)))?;
    let databases = sources.on_server().map(|table| table.name(&tenant.id, &server.settings.database).0);
    for database in databases.chain([server.settings.database.clone()]).collect::<BTreeSet<_>>() {
        let layout = Layout { database, ..server.layout() };
        make_database(&connection, &layout).await.map_err(|source| failed(refused("making a database", source)))?;
    }
    let tables = Tables::open(&sources, &config.folder, &config.engine).await.map_err(failed)?;
    let mut new = Vec::new();
    for on_server in sources.on_server() {
        let role = on_server.role;
        let table = new_table(server, tenant, &tables, on_server).await.map_err(failed)?;
        if existing == Existing::Refuse && table.exists(&connection).await.map_err(failed)? {
            return Err(failed(BackendError::Source {
                table: role,
                location: table.shown_name(),
                problem: "is on the server already; nothing was loaded".to_owned(),
                help: Some("Give `--replace` to load it anew: what it holds is lost then.".to_owned()),
                source: None,
            }));
        }
        new.push((role, table));
    }
    let mut loaded = Vec::new();
    for (role, table) in new {
        begins(role);
        let started = clock.elapsed();
        let rows = tables.rows(role).await.map_err(failed)?;
        let rows = table.replace(&connection, rows).await.map_err(failed)?;
        let duration = clock.elapsed().saturating_sub(started);
        tracing::info!(tenant = %tenant.id, table = table.shown_name(), rows, duration_ms = duration.as_millis(), "table loaded");
        loaded.push(Loaded { role, name: table.shown_name(), rows, duration });
    }
    Ok(loaded)
}

/// A way to the server that needs none of its databases. The time limit of queries does not count: loading takes as long as it takes.
fn connection(server: &ServerConfig, run: Uuid) -> Connection {
    let settings = Settings { query_timeout: None, ..server.settings.clone() };
    // Months of many years may stand in one block of rows.
    Connection::new(Settings { database: SYSTEM.to_owned(), ..settings }, run)
        .with_settings(&[("max_partitions_per_insert_block", "0")])
}

fn refused(operation: &'static str, source: crate::clickhouse::Error) -> BackendError {
    BackendError::Server { operation, help: source.help(), source: Box::new(source) }
}

/// The tables that have files to be loaded from.
fn with_sources(tables: &TenantTables) -> TenantTables {
    let mut tables = tables.clone();
    tables.users = tables.users.filter(|users| !users.source.0.is_empty());
    tables.events = tables.events.filter(|events| !events.source.0.is_empty());
    tables.products = tables.products.filter(|products| !products.source.0.is_empty());
    tables
}

fn refuse_unloadable(tenant: &TenantConfig, sources: &TenantTables) -> Result<(), Error> {
    let mapping = |table, problem: &str, help: String| Error::Load {
        tenant: tenant.id.clone(),
        source: Box::new(BackendError::Mapping { table, problem: problem.to_owned(), help: Some(help) }),
    };
    if (&sources.users, &sources.events, &sources.products) == (&None, &None, &None) {
        let help = "Name the files with `source`, beside the table on the server.".to_owned();
        return Err(mapping(TableRole::Users, "no table of the tenant has a `source` to be loaded from", help));
    }
    for table in sources.on_server() {
        if let Some(column) = table.tenant_column {
            let help = format!("Leave out `tenant_column = \"{column}\"`, or fill the shared table by your own means.");
            return Err(mapping(table.role, "a table that tenants share is not made from the files of one", help));
        }
    }
    Ok(())
}

/// The table of a role, made for what batches ask of it: see `docs/clickhouse.md`.
async fn new_table(
    server: &ServerConfig,
    tenant: &TenantConfig,
    tables: &Tables,
    on_server: ServerTable<'_>,
) -> Result<NewTable, BackendError> {
    let (catalog, role) = (tables.catalog(), on_server.role);
    let order = order_of(catalog, role);
    let complete = tables.complete(role, &order).await?;
    let table = NewTable::new(&tenant.id, on_server, &server.settings.database, tables.columns(role)?, order);
    let mut table = table.with_complete(&complete).on_cluster(server.cluster.as_deref());
    if let (TableRole::Events, Some(events)) = (role, &catalog.events) {
        if let Some(event_type) = events.event_type.as_ref().and_then(Access::plain_column) {
            table = table.with_repetitive(event_type);
        }
        if let Some(timestamp) = events.timestamp.plain_column().filter(|column| complete.iter().any(|complete| complete == column))
        {
            table = table.by_months_of(timestamp);
        }
    }
    Ok(match server.replication {
        Replication::None => table,
        Replication::Replicated => table.replicated(),
    })
}
