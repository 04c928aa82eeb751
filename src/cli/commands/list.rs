//! `list` and `show`: definitions beside their state.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::args::{ListArguments, ShowArguments};
use crate::cli::context::{CatalogSource, Context};
use crate::cli::error::CliError;
use crate::cli::render::{Column, Document, Listing};
use crate::model::id::SegmentId;
use crate::model::segment::{Kind, Status};
use crate::model::window::Duration;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::{Definitions, Form, KnownSegment, read_definitions, stored_form, timetable_of};
use crate::refresh::due::{Due, Timing, fresh_until, segment_due};
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::store::{DefinitionNote, Ledger as _, SegmentState, TenantState};
use crate::syntax::print_expression;

/// A line of the list.
#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    name: Option<String>,
    subject: &'static str,
    kind: &'static str,
    status: &'static str,
    members: Option<u64>,
    overrides: Option<u64>,
    computed_at: Option<Timestamp>,
    next_due: Option<Timestamp>,
    stale: bool,
    note: Option<String>,
    last_error: Option<String>,
}

/// What is needed to tell how fresh something is.
pub(crate) struct Standing<'a> {
    pub(crate) tenant: &'a TenantConfig,
    pub(crate) now: Timestamp,
    pub(crate) default_interval: Duration,
}

impl Standing<'_> {
    fn timing(&self) -> Timing {
        Timing { calendar: calendar_of(self.tenant, self.now), steady_since: self.now, default_interval: self.default_interval }
    }
}

/// Whether the members of a segment do not count as fresh any more.
pub(crate) fn is_stale(standing: &Standing<'_>, state: &SegmentState) -> bool {
    let Some(computed_at) = state.computed_at else { return true };
    let Some(document) = stored_form(state) else { return true };
    let definition = document.definition();
    let timetable = timetable_of(definition).unwrap_or(None);
    let until = fresh_until(definition.cache_ttl, timetable.as_ref(), computed_at, &standing.timing());
    until.is_some_and(|until| until < standing.now)
}

/// Prints a line per segment.
pub(crate) async fn list<P: ReadablePlace>(context: &Context<P>, arguments: &ListArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let (state, definitions) = resolve(context, tenant).await?;
    let standing = standing_of(context, tenant);
    let is_listed = |known: &KnownSegment| arguments.archived || status_of(known) != Status::Archived;
    let listed = definitions.segments.iter().filter(|(_, known)| is_listed(known));
    let rows = listed.map(|(id, known)| row(&standing, id, known, state.segments.get(id))).collect();
    for file in &definitions.invalid {
        context.screen.note(&format!("`{}` is invalid: {}", file.file, file.error));
    }
    context.screen.listing(&Listing { columns: columns(), rows })
}

/// Prints one segment: its line, and the definition in force.
pub(crate) async fn show<P: ReadablePlace>(context: &Context<P>, arguments: &ShowArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let (state, definitions) = resolve(context, tenant).await?;
    let id = &arguments.segment;
    let unknown = |near| Error::UnknownSegment { tenant: tenant.id.clone(), segment: id.clone(), near };
    let known = definitions.get(id).map_err(unknown)?;
    let stored = state.segments.get(id);
    let listing = Listing { columns: columns(), rows: vec![row(&standing_of(context, tenant), id, known, stored)] };
    let rows = listing.batch()?;
    let text = known.definition().map_or_else(|| known.record().json.clone(), |definition| crate::syntax::print_json(definition));
    let definition: Value = serde_json::from_str(&text).map_err(std::io::Error::from)?;
    let mut fields = listing.rows.first().and_then(|row| serde_json::to_value(row).ok()).unwrap_or_default();
    let mut people = String::new();
    if let Some(object) = fields.as_object_mut() {
        for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            people.push_str(&format!("{:<12}  {value}\n", name.replace('_', " ")));
        }
        let expression = known.definition().and_then(|definition| print_expression(definition));
        if let Some(expression) = &expression {
            people.push_str(&format!("\n{:<12}  {expression}\n", "where"));
        }
        object.insert("where".to_owned(), json!(expression));
        object.insert("definition_hash".to_owned(), json!(known.record().hash));
        object.insert("definition".to_owned(), definition);
    }
    people.push_str(&format!("\n{}\n", text.trim_end()));
    context.screen.document(&Document { text: people, json: fields, rows })
}

/// The definitions of a tenant against the catalog that the last run kept, else against the tables.
async fn resolve<P: ReadablePlace>(context: &Context<P>, tenant: &TenantConfig) -> Result<(TenantState, Definitions), CliError> {
    // What the store knows can be listed without the files, too.
    let files = read_definitions(&tenant.definitions).unwrap_or_else(|error| {
        context.screen.note(&format!("{error}"));
        Vec::new()
    });
    let state = context.place.ledger().state(&tenant.id).await.map_err(Error::from)?;
    let catalog = match context.place.kept_catalog(&tenant.id).await.map_err(Error::from)? {
        Some(catalog) => catalog,
        None => context.catalog(tenant, CatalogSource::Tables).await?,
    };
    let definitions = Definitions::resolve(&files, &state, &catalog, &tenant.limits);
    Ok((state, definitions))
}

fn standing_of<'a, P: ReadablePlace>(context: &Context<P>, tenant: &'a TenantConfig) -> Standing<'a> {
    Standing { tenant, now: context.as_of(tenant, None), default_interval: context.config.scheduler.default_refresh_interval }
}

fn columns() -> Vec<(&'static str, Column)> {
    vec![
        ("segment_id", Column::Text),
        ("name", Column::Text),
        ("subject", Column::Text),
        ("kind", Column::Text),
        ("status", Column::Text),
        ("members", Column::Count),
        ("overrides", Column::Count),
        ("computed_at", Column::Instant),
        ("next_due", Column::Instant),
        ("stale", Column::Flag),
        ("note", Column::Text),
        ("last_error", Column::Text),
    ]
}

fn row(standing: &Standing<'_>, id: &SegmentId, known: &KnownSegment, state: Option<&SegmentState>) -> Row {
    let due = known.candidate().map_or(Due::Never, |candidate| segment_due(&candidate, state, &standing.timing()));
    let is_computed = (status_of(known), kind_of(known)) == (Status::Active, Kind::Dynamic);
    Row {
        segment_id: id.to_string(),
        name: known.definition().and_then(|definition| definition.name.clone()),
        subject: known.record().subject.keyword(),
        kind: match kind_of(known) {
            Kind::Dynamic => "dynamic",
            Kind::Static => "static",
        },
        status: match status_of(known) {
            Status::Active => "active",
            Status::Paused => "paused",
            Status::Archived => "archived",
        },
        members: state.map(|state| state.member_count),
        overrides: state.map(|state| state.overrides).filter(|overrides| *overrides > 0),
        computed_at: state.and_then(|state| state.computed_at),
        next_due: match due {
            Due::Now(_) => Some(standing.now),
            Due::At(at) => Some(at),
            Due::Never => None,
        },
        stale: is_computed && state.is_none_or(|state| is_stale(standing, state)),
        note: note(known, state),
        last_error: match &known.form {
            Form::Failed { error, .. } => Some(error.clone()),
            Form::Ready(_) | Form::Missing(_) => state.and_then(|state| state.last_error.clone()),
        },
    }
}

fn note(known: &KnownSegment, state: Option<&SegmentState>) -> Option<String> {
    match &known.note {
        DefinitionNote::Present => state.and_then(|state| state.held.as_ref()).map(|reason| format!("held: {reason}")),
        DefinitionNote::Missing => Some("missing".to_owned()),
        DefinitionNote::Invalid(error) => Some(format!("invalid: {error}")),
    }
}

fn status_of(known: &KnownSegment) -> Status {
    known.definition().map_or(known.record().status, |definition| definition.status)
}

fn kind_of(known: &KnownSegment) -> Kind {
    known.definition().map_or(known.record().kind, |definition| definition.kind)
}
