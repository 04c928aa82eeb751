//! What a batch would execute on a server that is not asked: the tables are taken to be those of a catalog, under the names that the
//! configuration gives them or means.

use super::backend::{times, unplanned};
use super::members::RemoteMembers;
use super::sql::{Expr, Query, Source, TableName};
use super::statement::{self, compile};
use super::tables::of_tenant;
use crate::backend::tables::{ServerTable, TenantTables};
use crate::backend::{BackendError, TableRole};
use crate::model::catalog::{Catalog, Table};
use crate::model::condition::Subject;
use crate::model::id::TenantId;
use crate::plan::Batch;

/// The tables of a tenant, as its configuration and a catalog of its files tell.
#[derive(Debug, Clone, Copy)]
pub struct Imagined<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// What the configuration says of them.
    pub tables: &'a TenantTables,
    /// Their columns.
    pub catalog: &'a Catalog,
    /// The database of those that name none.
    pub database: &'a str,
}

/// The statement of a batch with its parameters, as text for people; deterministic. Members that the batch is given are nobody.
///
/// # Errors
/// When the batch was not made for these tables.
pub fn show_plan_offline(batch: &Batch, imagined: Imagined<'_>) -> Result<String, BackendError> {
    let Imagined { catalog, tables, .. } = imagined;
    let role = TableRole::of(batch.subject);
    let source = match batch.subject {
        Subject::User => &tables.users,
        Subject::Product => &tables.products,
    };
    let subjects = catalog.subjects(batch.subject).zip(source.as_ref());
    let subjects = subjects.map(|(table, source)| rows(imagined, source.on_server(role), &table.table));
    let events = catalog.events.as_ref().zip(tables.events.as_ref());
    let events = events.map(|(table, source)| rows(imagined, source.on_server(), &table.table));
    let nobody = RemoteMembers::nobody().ids(imagined.database);
    let given = batch.given.iter().map(|_| nobody.clone()).collect();
    let tables = statement::Tables { catalog, subjects, events, given, subject_id: None };
    let compiled = compile(batch, &tables, &times(batch)?).map_err(unplanned)?;
    Ok(compiled.members.print().to_string())
}

/// The rows of a table; those of the tenant alone where a column tells.
fn rows(imagined: Imagined<'_>, on_server: ServerTable<'_>, table: &Table) -> Source {
    let source = Source::Table(TableName::of_tenant(imagined.tenant, on_server, imagined.database));
    let Some(tenant_column) = on_server.tenant_column else { return source };
    let columns = table.columns.keys().filter(|column| *column != tenant_column);
    let columns = columns.map(|column| (Expr::column(column), column.clone())).collect();
    Source::Query(Box::new(Query { filter: Some(of_tenant(tenant_column, imagined.tenant)), ..Query::select(columns, source) }))
}
