//! `plan`: what a refresh would execute.

use serde::Serialize;

use crate::backend::Backend as _;
use crate::backend::clickhouse::{Imagined, show_plan_offline};
use crate::cli::args::{BackendName, PlanArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::{Column, Document, Listing};
use crate::model::condition::Subject;
use crate::plan::{OutputName, Request};
use crate::refresh::Error;
use crate::refresh::config::BackendKind;
use crate::refresh::place::{Planned, ReadablePlace, calendar_of};

#[derive(Debug, Serialize)]
struct Row {
    subject: &'static str,
    segments: String,
    plan: String,
}

/// Plans segments together and prints the plan of each kind of subject.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &PlanArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let as_of = context.as_of(tenant, arguments.as_of);
    let (asked, configured) = (arguments.backend, context.config.backend);
    if (asked, configured) == (Some(BackendName::Datafusion), BackendKind::ClickHouse) {
        return Err(CliError::Usage {
            problem: "the tables of this configuration are on a ClickHouse server, and `datafusion` reads files".to_owned(),
            help: Some("Leave out `--backend`, or name the files with `source` and set `backend = \"datafusion\"`.".to_owned()),
        });
    }
    let is_imagined = (asked, configured) == (Some(BackendName::Clickhouse), BackendKind::DataFusion);
    let named = context.open_named(tenant, &arguments.segments, as_of).await?;
    let mut rows = Vec::new();
    let calendar = calendar_of(tenant, as_of);
    let requests_of = |subject: Subject| -> Vec<Request> {
        named.ready().filter(|ready| ready.record.subject == subject).filter_map(|ready| named.opened.request_for(ready)).collect()
    };
    let (users, products) = (requests_of(Subject::User), requests_of(Subject::Product));
    for Planned { requests, batch } in named.opened.plan_in_order(users, products, &[calendar])? {
        let backend = &named.opened.backend;
        let shown = if is_imagined {
            let database = context.config.clickhouse.as_ref().map_or("default", |server| &server.settings.database);
            let (tenant, tables) = (&tenant.id, &tenant.tables);
            show_plan_offline(&batch, Imagined { tenant, tables, catalog: backend.catalog(), database })
        } else {
            backend.show_plan(&batch).await
        };
        let plan = shown.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
        let ids = requests.iter().filter_map(|request| match &request.name {
            OutputName::Segment(id) => Some(id.to_string()),
            OutputName::Node(..) | OutputName::Degree(..) => None,
        });
        let segments = ids.collect::<Vec<_>>().join(", ");
        rows.push(Row { subject: batch.subject.keyword(), segments, plan });
    }
    if rows.is_empty() {
        context.screen.note("there is nothing to plan: members of static segments are added by hand");
    }
    let text = rows.iter().map(|row| format!("{}: {}\n{}\n", row.subject, row.segments, row.plan.trim_end()));
    let text = text.collect::<Vec<_>>().join("\n");
    let listing = Listing { columns: vec![("subject", Column::Text), ("segments", Column::Text), ("plan", Column::Text)], rows };
    let json = serde_json::json!({ "as_of": as_of, "plans": listing.rows });
    context.screen.document(&Document { text, json, rows: listing.batch()? })
}
