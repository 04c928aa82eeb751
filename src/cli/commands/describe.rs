//! `describe`: what definitions can be written about.

use std::fmt::Write as _;

use serde::Serialize;

use crate::backend::{Backend as _, TableProfile, TableRole};
use crate::cli::args::DescribeArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::refresh::Error;
use crate::refresh::place::ReadablePlace;

/// A property of a table.
#[derive(Debug, Serialize)]
struct Row {
    table: &'static str,
    property: String,
    #[serde(rename = "type")]
    type_name: String,
    missing: Option<f64>,
    top: String,
}

/// Prints what the tables hold.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &DescribeArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let backend = |source| Error::Backend { tenant: tenant.id.clone(), source };
    let tables = context.place.open(tenant, context.run).await.map_err(backend)?;
    let catalog = tables.catalog();
    let there = [
        (TableRole::Users, catalog.users.is_some()),
        (TableRole::Events, catalog.events.is_some()),
        (TableRole::Products, catalog.products.is_some()),
    ];
    let there: Vec<TableRole> = there.into_iter().filter(|(_, is_there)| *is_there).map(|(role, _)| role).collect();
    let asked = match arguments.table {
        None => there,
        Some(role) if there.contains(&role) => vec![role],
        Some(role) => {
            return Err(CliError::Usage {
                problem: format!("tenant `{}` has no {role} table", tenant.id),
                help: Some(format!("Configure it under `[tenants.{role}]`.")),
            });
        }
    };
    let mut profiles = Vec::new();
    let bar = Bar::new(context.screen);
    for role in asked {
        bar.say(format!("reading the {role}"));
        profiles.push(tables.profile(role).await.map_err(backend)?);
    }
    drop(bar);
    let rows = Listing { columns: columns(), rows: profiles.iter().flat_map(rows_of).collect() }.batch()?;
    let text = profiles.iter().map(text_of).collect::<Vec<_>>().join("\n");
    let json = serde_json::to_value(&profiles).map_err(std::io::Error::from)?;
    context.screen.document(&Document { text, json, rows })
}

fn columns() -> Vec<(&'static str, Column)> {
    vec![
        ("table", Column::Text),
        ("property", Column::Text),
        ("type", Column::Text),
        ("missing", Column::Share),
        ("top", Column::Text),
    ]
}

fn rows_of(profile: &TableProfile) -> Vec<Row> {
    let row = |property: &crate::backend::PropertyProfile| Row {
        table: profile.table.keyword(),
        property: property.property.clone(),
        type_name: property.type_name.clone(),
        missing: super::share(property.missing, property.looked_at),
        top: property.top.iter().map(|(value, rows)| format!("{value} ({rows})")).collect::<Vec<_>>().join(", "),
    };
    profile.properties.iter().map(row).collect()
}

fn text_of(profile: &TableProfile) -> String {
    let mut text = format!("{}: {} rows", profile.table, profile.rows);
    // Writing to a text does not fail.
    if let Some(files) = profile.files {
        write!(text, " in {files} {}", if files == 1 { "file" } else { "files" }).ok();
    }
    if let Some((first, last)) = &profile.time_range {
        write!(text, ", from {first} to {last}").ok();
    }
    if profile.sampled_rows < profile.rows {
        write!(text, "; frequent values, and paths, from a sample of {} rows", profile.sampled_rows).ok();
    }
    text.push('\n');
    for (event_type, rows) in &profile.event_types {
        writeln!(text, "  {event_type} ({rows})").ok();
    }
    let columns = columns().into_iter().filter(|(name, _)| *name != "table").collect();
    text.push_str(&Listing { columns, rows: rows_of(profile) }.text());
    text
}
