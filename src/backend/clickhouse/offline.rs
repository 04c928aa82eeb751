//! What a batch would execute on a server that is not asked: the tables are taken to be those of a catalog, under the names that the
//! configuration gives them or means.

use super::sql::{Expr, Query, Source, TableName, formula};
use super::statement::{self, compile};
use super::time::Times;
use crate::backend::tables::{TenantTables, default_table};
use crate::backend::{BackendError, TableRole};
use crate::model::calendar::Calendar;
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
    let planning = |source| BackendError::Engine { operation: "planning", source };
    let calendar = Calendar::new(batch.as_of, &batch.timezone).map_err(|error| planning(Box::new(error)))?;
    let Imagined { catalog, tables, .. } = imagined;
    let (role, source) = match batch.subject {
        Subject::User => (TableRole::Users, &tables.users),
        Subject::Product => (TableRole::Products, &tables.products),
    };
    let subjects = catalog.subjects(batch.subject).zip(source.as_ref()).map(|(table, source)| {
        let names = (source.table.as_deref(), source.database.as_deref(), source.tenant_column.as_deref());
        rows(imagined, role, names, &table.table)
    });
    let events = catalog.events.as_ref().zip(tables.events.as_ref()).map(|(table, source)| {
        let names = (source.table.as_deref(), source.database.as_deref(), source.tenant_column.as_deref());
        rows(imagined, TableRole::Events, names, &table.table)
    });
    let given = batch.given.iter().map(|_| nobody()).collect();
    let tables = statement::Tables { catalog, subjects, events, given, subject_id: None };
    let compiled = compile(batch, &tables, &Times::new(calendar)).map_err(|error| planning(Box::new(error)))?;
    Ok(compiled.members.print().to_string())
}

/// The rows of a table; those of the tenant alone where a column tells.
fn rows(imagined: Imagined<'_>, role: TableRole, names: (Option<&str>, Option<&str>, Option<&str>), table: &Table) -> Source {
    let (name, database, tenant_column) = names;
    let source = Source::Table(TableName {
        database: database.unwrap_or(imagined.database).to_owned(),
        table: name.map_or_else(|| default_table(imagined.tenant, role), str::to_owned),
    });
    let Some(tenant_column) = tenant_column else { return source };
    let columns = table.columns.keys().filter(|column| *column != tenant_column);
    let columns = columns.map(|column| (Expr::column(column), column.clone())).collect();
    let of_tenant = formula!("{0} = {1}", Expr::column(tenant_column), Expr::text(imagined.tenant.as_str()));
    Source::Query(Box::new(Query { filter: Some(of_tenant), ..Query::select(columns, source) }))
}

fn nobody() -> Query {
    Query { filter: Some(formula!("0")), ..Query::select(vec![(formula!("''"), "id".to_owned())], Source::One) }
}
