//! `clickhouse init` and `clickhouse load`: what a server needs before it can evaluate.

use serde::Serialize;
use serde_json::json;

use crate::cli::args::{ServerCommand, ServerInitArguments, ServerLoadArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::clickhouse::{Connection, Settings};
use crate::refresh::Error;
use crate::refresh::config::ServerConfig;
use crate::refresh::load::{Existing, Loaded, SYSTEM, load};
use crate::store::clickhouse::{Made, database_ddl, ddl, init};

/// A table or view of the store.
#[derive(Debug, Serialize)]
struct MadeRow {
    name: String,
    state: &'static str,
}

/// A table of a tenant.
#[derive(Debug, Serialize)]
struct LoadedRow {
    tenant: String,
    table: String,
    role: &'static str,
    rows: u64,
    duration_ms: u64,
}

/// Does what is asked of the server.
pub(crate) async fn execute(context: &Context<()>, command: &ServerCommand) -> Result<(), CliError> {
    let server = context.config.clickhouse.as_ref().ok_or_else(|| CliError::Usage {
        problem: "the configuration has no `[clickhouse]`".to_owned(),
        help: Some("Add it with the place of the server, such as `url = \"http://localhost:8123\"`.".to_owned()),
    })?;
    match command {
        ServerCommand::Init(arguments) => init_store(context, server, arguments).await,
        ServerCommand::Load(arguments) => load_tables(context, server, arguments).await,
    }
}

/// Makes the store, or prints the statements that do.
async fn init_store(context: &Context<()>, server: &ServerConfig, arguments: &ServerInitArguments) -> Result<(), CliError> {
    let layout = server.layout();
    if arguments.print {
        let statements: Vec<String> = std::iter::once(database_ddl(&layout)).chain(ddl(&layout)).collect();
        let text = statements.iter().map(|statement| format!("{statement};\n")).collect::<Vec<_>>().join("\n");
        let json = json!(statements);
        let rows = statements.into_iter().map(|statement| json!({ "statement": statement })).collect();
        let rows = Listing { columns: vec![("statement", Column::Text)], rows }.batch()?;
        return context.screen.document(&Document { text, json, rows });
    }
    // The database is not there yet, perhaps.
    let settings = Settings { database: SYSTEM.to_owned(), ..server.settings.clone() };
    let made = init(&Connection::new(settings, context.run), &layout).await.map_err(Error::from)?;
    let row = |Made { name, was_there }| MadeRow { name, state: if was_there { "was there" } else { "created" } };
    let rows = made.into_iter().map(row).collect();
    context.screen.listing(&Listing { columns: vec![("name", Column::Text), ("state", Column::Text)], rows })?;
    context.screen.note(&format!("the store in `{}` is ready", layout.database));
    Ok(())
}

/// Makes and fills the tables of the tenants.
async fn load_tables(context: &Context<()>, server: &ServerConfig, arguments: &ServerLoadArguments) -> Result<(), CliError> {
    let existing = if arguments.replace { Existing::Replace } else { Existing::Refuse };
    let mut rows = Vec::new();
    for tenant in context.tenants()? {
        let bar = Bar::new(context.screen);
        bar.say(format!("looking at the files of {}", tenant.id));
        let begins = |role| bar.say(format!("loading the {role} of {}", tenant.id));
        let loaded = load(&context.config, server, tenant, existing, context.clock.as_ref(), &begins).await?;
        drop(bar);
        rows.extend(loaded.into_iter().map(|Loaded { role, name, rows, duration }| LoadedRow {
            tenant: tenant.id.to_string(),
            table: name,
            role: role.keyword(),
            rows,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    let columns = vec![
        ("tenant", Column::Text),
        ("table", Column::Text),
        ("role", Column::Text),
        ("rows", Column::Count),
        ("duration_ms", Column::Count),
    ];
    context.screen.listing(&Listing { columns, rows })
}
