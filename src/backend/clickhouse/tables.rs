//! The tables of a tenant as they stand on the server: which columns they have, and how each is read.

use indexmap::IndexMap;

use super::sql::{Expr, Query, Source, TableName, formula};
use crate::backend::mapping::{event_table, subject_table};
use crate::backend::tables::{Declared, ServerTable, TenantTables};
use crate::backend::{BackendError, TableRole};
use crate::clickhouse::{Connection, Error, ServerType, Statement};
use crate::model::catalog::{Catalog, ColumnType};
use crate::model::id::TenantId;

/// The tables of one tenant, as they were found.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) catalog: Catalog,
    pub(super) users: Option<Found>,
    pub(super) events: Option<Found>,
    pub(super) products: Option<Found>,
}

/// A table of the server.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its rows, those of the tenant alone, each column as definitions see it.
    pub(super) rows: Source,
    columns: IndexMap<String, ColumnType>,
}

/// What the configuration says of a table.
struct Asked<'a> {
    on_server: ServerTable<'a>,
    declared: &'a IndexMap<String, Declared>,
    allow_empty: bool,
}

impl Tables {
    /// Looks at the tables that the configuration names.
    pub(super) async fn open(connection: &Connection, tenant: &TenantId, tables: &TenantTables) -> Result<Self, BackendError> {
        let mut catalog = Catalog { timezone: tables.timezone.clone(), users: None, products: None, events: None };
        let (mut users, mut events, mut products) = (None, None, None);
        if let Some(source) = &tables.users {
            let (on_server, declared) = (source.on_server(TableRole::Users), &source.columns);
            let found = open(connection, tenant, &Asked { on_server, declared, allow_empty: source.allow_empty }).await?;
            catalog.users = Some(subject_table(TableRole::Users, source, &found.columns)?);
            users = Some(found);
        }
        if let Some(source) = &tables.events {
            let (on_server, declared) = (source.on_server(), &source.columns);
            let found = open(connection, tenant, &Asked { on_server, declared, allow_empty: source.allow_empty }).await?;
            catalog.events = Some(event_table(source, &found.columns)?);
            events = Some(found);
        }
        if let Some(source) = &tables.products {
            let (on_server, declared) = (source.on_server(TableRole::Products), &source.columns);
            let found = open(connection, tenant, &Asked { on_server, declared, allow_empty: source.allow_empty }).await?;
            catalog.products = Some(subject_table(TableRole::Products, source, &found.columns)?);
            products = Some(found);
        }
        Ok(Self { catalog, users, events, products })
    }

    pub(super) fn of(&self, role: TableRole) -> Option<&Found> {
        match role {
            TableRole::Users => self.users.as_ref(),
            TableRole::Events => self.events.as_ref(),
            TableRole::Products => self.products.as_ref(),
        }
    }
}

/// The rows of a tenant in a table that a column tells them apart in.
pub(super) fn of_tenant(column: &str, tenant: &TenantId) -> Expr {
    formula!("{0} = {1}", Expr::column(column), Expr::text(tenant.as_str()))
}

async fn open(connection: &Connection, tenant: &TenantId, asked: &Asked<'_>) -> Result<Found, BackendError> {
    let ServerTable { role, tenant_column, .. } = asked.on_server;
    let name = TableName::of_tenant(tenant, asked.on_server, connection.database());
    let fault = |problem: &str, help: Option<&str>, source: Option<Error>| BackendError::Source {
        table: role,
        location: format!("{}.{}", name.database, name.table),
        problem: problem.to_owned(),
        help: help.map(str::to_owned),
        source: source.map(|source| Box::new(source).into()),
    };
    let mapping = |problem: String, help: Option<String>| BackendError::Mapping { table: role, problem, help };
    let columns = Statement::new(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position",
    );
    let columns = columns.text("database", &name.database).text("table", &name.table);
    let columns = connection.rows::<(String, String)>(columns).await.map_err(|error| failure("looking at a table", error))?.rows;
    if columns.is_empty() {
        let help = "Look at `table` and `database`; `segmenta clickhouse load` makes the tables of a tenant from its files.";
        return Err(fault("does not exist on the server, or the user may not see it", Some(help), None));
    }
    let mut found = IndexMap::new();
    let mut selected = Vec::new();
    let mut as_they_are = tenant_column.is_none();
    for (column, type_name) in columns {
        let server_type: ServerType = type_name.parse().unwrap_or(ServerType::Other(type_name));
        let (stored, read) = read_as(&server_type, Expr::column(&column));
        let stored = declared(asked.declared.get(&column).copied(), stored).map_err(|(declared, stored)| {
            mapping(
                format!("`{column}` is declared to be {declared}, and the server has it as {stored}"),
                Some(
                    "Change the column's type on the server, or read a view that does; text may be declared to be json.".to_owned(),
                ),
            )
        })?;
        as_they_are &= read == Expr::column(&column);
        if !matches!(stored, ColumnType::Other(_)) {
            selected.push((read, column.clone()));
        }
        found.insert(column, stored);
    }
    if let Some(unknown) = asked.declared.keys().find(|name| !found.contains_key(*name)) {
        return Err(mapping(format!("`columns` names `{unknown}`, and there is no such column"), None));
    }
    let table = Source::Table(name.clone());
    let rows = if as_they_are {
        table
    } else {
        let mut rows = Query::select(selected, table);
        if let Some(column) = tenant_column {
            if found.shift_remove(column).is_none() {
                return Err(mapping(format!("`tenant_column` is `{column}`, and there is no such column"), None));
            }
            rows.columns.retain(|(_, name)| name != column);
            rows.filter = Some(of_tenant(column, tenant));
        }
        Source::Query(Box::new(rows))
    };
    if !asked.allow_empty {
        let filter = tenant_column.map(|column| of_tenant(column, tenant));
        let any =
            Query { filter, limit: Some(1), ..Query::select(vec![(formula!("1"), "one".to_owned())], Source::Table(name.clone())) };
        let any = connection.rows::<(u8,)>(any.print()).await;
        let any = any.map_err(|error| fault("cannot be read", None, Some(error)))?;
        if any.rows.is_empty() {
            return Err(fault("has no rows", Some("Set `allow_empty = true` if that is what you expect."), None));
        }
    }
    Ok(Found { rows, columns: found })
}

/// A column as definitions see it, and the expression that reads it so.
fn read_as(server_type: &ServerType, column: Expr) -> (ColumnType, Expr) {
    match server_type {
        ServerType::Textual => (ColumnType::Text, formula!("toString({0})", column)),
        ServerType::Json => (ColumnType::Json, formula!("toString({0})", column)),
        ServerType::Wide => {
            (ColumnType::Decimal { precision: 76, scale: 0 }, formula!("toDecimal256OrNull(toString({0}), 0)", column))
        }
        // Finer than microseconds is floored.
        ServerType::DateTime64(digits) if *digits > 6 => (
            ColumnType::Timestamp,
            formula!(
                "fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Nano(toDateTime64({0}, 9, 'UTC')) \
                 - positiveModulo(toUnixTimestamp64Nano(toDateTime64({0}, 9, 'UTC')), 1000), 1000), 'UTC')",
                column
            ),
        ),
        plain => (column_type(plain), column),
    }
}

fn column_type(server_type: &ServerType) -> ColumnType {
    match server_type {
        ServerType::Bool => ColumnType::Boolean,
        ServerType::Int => ColumnType::Integer,
        ServerType::UInt => ColumnType::Unsigned,
        ServerType::Float => ColumnType::Float,
        ServerType::Decimal { precision, scale } => {
            ColumnType::Decimal { precision: *precision, scale: i8::try_from(*scale).unwrap_or(i8::MAX) }
        }
        ServerType::String => ColumnType::Text,
        ServerType::Date => ColumnType::Date,
        ServerType::DateTime | ServerType::DateTime64(_) => ColumnType::Timestamp,
        ServerType::Array(element) => match column_type(element) {
            ColumnType::Other(name) => ColumnType::Other(format!("array of {name}")),
            element => ColumnType::List(Box::new(element)),
        },
        ServerType::Tuple(elements) if elements.iter().all(|(name, _)| !name.is_empty()) => {
            ColumnType::Struct(elements.iter().map(|(name, element)| (name.clone(), column_type(element))).collect())
        }
        ServerType::Map(value) => ColumnType::Map(Box::new(column_type(value))),
        // Only a column of its own is turned into text.
        ServerType::Textual | ServerType::Json | ServerType::Wide => ColumnType::Other(format!("{server_type:?}").to_lowercase()),
        ServerType::Tuple(_) => ColumnType::Other("a tuple without names".to_owned()),
        ServerType::Other(name) => ColumnType::Other(name.clone()),
    }
}

/// The type that a column is declared to have, which the server's must be already, but that a text may be JSON.
fn declared(declared: Option<Declared>, stored: ColumnType) -> Result<ColumnType, (Declared, ColumnType)> {
    let Some(declared) = declared else { return Ok(stored) };
    match (declared.column_type(), stored) {
        (ColumnType::Json, ColumnType::Text) => Ok(ColumnType::Json),
        // Decimals hold what others with fewer digits do.
        (ColumnType::Decimal { .. }, stored @ ColumnType::Decimal { .. }) => Ok(stored),
        (wanted, stored) if wanted == stored => Ok(stored),
        (_, stored) => Err((declared, stored)),
    }
}

/// What a failure of the server means to an evaluation.
pub(super) fn failure(operation: &'static str, error: Error) -> BackendError {
    match error {
        Error::Memory { .. } => BackendError::Memory { source: Box::new(error) },
        error => BackendError::Server { operation, help: error.help(), source: Box::new(error) },
    }
}
