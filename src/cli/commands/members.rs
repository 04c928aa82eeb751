//! `members`: who is in a segment, or in several together, with attributes, in an order.

use super::list::{Standing, is_stale};
use super::past;
use crate::backend::Backend as _;
use crate::backend::attributes::{Attribute, Order, OrderBy};
use crate::cli::args::MembersArguments;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{deliver, refuse_undeliverable};
use crate::diagnostic::nearest;
use crate::model::catalog::{Catalog, ResolveError};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::property::PropertyPath;
use crate::model::segment::Kind;
use crate::refresh::Error;
use crate::refresh::audience::{AudienceRequest, Tense};
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::read_definitions;
use crate::refresh::place::ReadablePlace;
use crate::store::{Audience, Ledger as _, SetOperation, TenantState};

/// Prints the members of a segment, or of several together.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &MembersArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let operation = operation_of(arguments)?;
    let paths = arguments.with.as_deref().map(paths_of).transpose()?.unwrap_or_default();
    refuse_undeliverable(context, &arguments.output)?;
    let state = context.place.ledger().state(&tenant.id).await.map_err(Error::from)?;
    let subject = subject_of_all(context, tenant, &state, &arguments.segments)?;
    let tables = match paths.as_slice() {
        [] => None,
        _ => {
            let opened = context.place.open(tenant, context.run).await;
            Some(opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?)
        }
    };
    let audience = Audience { segments: arguments.segments.clone(), operation, after: arguments.after.clone() };
    let with = match &tables {
        Some(tables) => attributes(tables.catalog(), subject, &paths, &audience)?,
        None => Vec::new(),
    };
    let order = arguments.sort.as_deref().map_or(Ok(Vec::new()), |keys| order_of(keys, &audience, &paths, &with))?;
    let tense = if arguments.as_of.is_some() { Tense::Past } else { Tense::Present };
    let request = AudienceRequest { audience, subject, with, order, limit: arguments.limit, tense };
    let rows = match arguments.as_of {
        Some(as_of) => {
            let members = past::audience(context, tenant, &request.audience, as_of).await?;
            context.place.arrange(tenant, &request, members, tables.as_ref()).await?
        }
        None => {
            for segment in &arguments.segments {
                note_staleness(context, tenant, &state, segment, arguments.segments.len());
            }
            context.place.read_audience(tenant, &request, tables.as_ref()).await?
        }
    };
    deliver(context, &arguments.output, request.schema(), rows).await
}

/// How the segments are put together, which somebody has to say of several.
fn operation_of(arguments: &MembersArguments) -> Result<SetOperation, CliError> {
    let usage = |problem: String, help: &str| Err(CliError::Usage { problem, help: Some(help.to_owned()) });
    let MembersArguments { segments, union, intersect, except, .. } = arguments;
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = segments.iter().find(|segment| !seen.insert(*segment)) {
        return usage(format!("`{twice}` is named twice"), "Name each segment once.");
    }
    let said = [(*union, SetOperation::Union), (*intersect, SetOperation::Intersection), (*except, SetOperation::Difference)];
    let said = said.iter().find(|(is_said, _)| *is_said).map(|(_, operation)| *operation);
    match (said, segments.len()) {
        (None, 1) => Ok(SetOperation::Union),
        (Some(operation), 2..) => Ok(operation),
        (Some(_), _) => {
            usage("one segment alone cannot be put together with others".to_owned(), "Name another, or leave the option out.")
        }
        (None, _) => usage(
            "there are several segments, and nothing says how to put them together".to_owned(),
            "Say `--union` for who is in one of them, `--intersect` for who is in all, or `--except` for who is in the first alone.",
        ),
    }
}

/// What all of the segments contain.
fn subject_of_all<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    state: &TenantState,
    segments: &[SegmentId],
) -> Result<Subject, CliError> {
    let mut found: Option<(Subject, &SegmentId)> = None;
    for segment in segments {
        let subject = match state.segments.get(segment) {
            Some(stored) => stored.definition.subject,
            None => match (refuse_unknown(tenant, state, segment), note_uncomputed(context, tenant, segment)) {
                (_, Some(subject)) => subject,
                (Err(unknown), None) => return Err(unknown.into()),
                // INVARIANT: the store does not know it.
                (Ok(()), None) => continue,
            },
        };
        match found {
            Some((other, first)) if other != subject => {
                return Err(CliError::Usage {
                    problem: format!("`{first}` contains {}s, and `{segment}` {}s", other.keyword(), subject.keyword()),
                    help: Some("Segments of one kind of subject can be put together.".to_owned()),
                });
            }
            Some(_) => {}
            None => found = Some((subject, segment)),
        }
    }
    Ok(found.map_or(Subject::User, |(subject, _)| subject))
}

/// The paths of a list with commas, each with its text. A comma between quotes belongs to a key.
fn paths_of(list: &str) -> Result<Vec<(String, PropertyPath)>, CliError> {
    let mut pieces = vec![String::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in list.chars() {
        if letter == ',' && !is_quoted {
            pieces.push(String::new());
            continue;
        }
        is_quoted ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    let mut paths: Vec<(String, PropertyPath)> = Vec::new();
    for piece in &pieces {
        let text = piece.trim();
        let path = text.parse::<PropertyPath>().map_err(|error| CliError::Usage {
            problem: format!("`{text}` is no column: {error}"),
            help: Some("Write columns, or dotted paths into them, with commas between them.".to_owned()),
        })?;
        if paths.iter().all(|(_, other)| *other != path) {
            paths.push((text.to_owned(), path));
        }
    }
    Ok(paths)
}

/// The attributes at these paths.
fn attributes(
    catalog: &Catalog,
    subject: Subject,
    paths: &[(String, PropertyPath)],
    audience: &Audience,
) -> Result<Vec<Attribute>, CliError> {
    let Some(table) = catalog.subjects(subject) else {
        return Err(CliError::Usage {
            problem: format!("the tenant has no table of {}s, whose columns could stand beside them", subject.keyword()),
            help: None,
        });
    };
    let own = audience.schema();
    let attribute = |(text, path): &(String, PropertyPath)| {
        let access = table.table.resolve(path).map_err(|error| unresolved(&error))?;
        let (stored, shown) = (access.stored.clone(), access.to_string());
        // What bears the name of a column of the members is told from it.
        let name = match own.column_with_name(text) {
            Some(_) => format!("{}s.{text}", subject.keyword()),
            None => text.clone(),
        };
        Attribute::new(name, access).ok_or_else(|| CliError::Usage {
            problem: format!("`{shown}` holds {stored}, which is not one value"),
            help: Some(format!("Name what is in it, such as `{shown}.city`.")),
        })
    };
    paths.iter().map(attribute).collect()
}

fn unresolved(error: &ResolveError) -> CliError {
    let near = match error {
        ResolveError::UnknownColumn { name, columns: names } | ResolveError::UnknownField { name, fields: names, .. } => {
            nearest(name, names.iter().map(String::as_str))
        }
        ResolveError::NoKeys { .. } | ResolveError::Unreadable { .. } => None,
    };
    let help = match (near, error.candidates()) {
        (Some(near), _) => Some(format!("Did you mean `{near}`?")),
        (None, []) => None,
        (None, names) => Some(format!("There are {}.", quoted(names))),
    };
    CliError::Usage { problem: error.to_string(), help }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What rows of members can be put in order by without attributes.
fn own_columns(audience: &Audience) -> &'static [&'static str] {
    match audience.only() {
        Some(_) => &["subject_id", "entered_at", "score", "confidence", "reason"],
        None => &["subject_id", "entered_at"],
    }
}

/// The keys of a list with commas; those with a minus before them descend.
fn order_of(keys: &str, audience: &Audience, paths: &[(String, PropertyPath)], with: &[Attribute]) -> Result<Vec<Order>, CliError> {
    let own = own_columns(audience);
    let key = |key: &str| {
        let key = key.trim();
        let (name, descends) = key.strip_prefix('-').map_or((key, false), |name| (name, true));
        if let Some(column) = own.iter().copied().find(|column| *column == name) {
            return Ok(Order { by: OrderBy::Column(column), descends });
        }
        let number = paths.iter().zip(with).position(|((text, _), attribute)| text == name || attribute.name == name);
        let Some((number, attribute)) = number.and_then(|number| Some((number, with.get(number)?))) else {
            let known = own.iter().copied().chain(with.iter().map(|attribute| attribute.name.as_str()));
            let known: Vec<String> = known.map(str::to_owned).collect();
            let near = nearest(name, known.iter().map(String::as_str)).map(|near| format!("Did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("There are {}, and what `--with` names.", quoted(&known)));
            return Err(CliError::Usage { problem: format!("there is nothing named `{name}` to sort by"), help: Some(help) });
        };
        if !attribute.has_order() {
            return Err(CliError::Usage {
                problem: format!("the values of `{name}` have no order, since they are {}", attribute.access.stored),
                help: Some("Sort by a column of one type, such as number, text or date.".to_owned()),
            });
        }
        Ok(Order { by: OrderBy::Attribute(number), descends })
    };
    let order: Vec<Order> = keys.split(',').map(key).collect::<Result<_, _>>()?;
    Ok(order)
}

/// Refuses a segment of which the store knows nothing now.
pub(crate) fn refuse_unknown(tenant: &TenantConfig, state: &TenantState, segment: &SegmentId) -> Result<(), Error> {
    if state.segments.contains_key(segment) {
        return Ok(());
    }
    let near = nearest(segment.as_str(), state.segments.keys().map(SegmentId::as_str));
    let near = near.and_then(|near| near.parse().ok());
    Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near })
}

/// Says that a segment which is defined was never computed, and returns what it contains; `None` when it is not defined either.
pub(crate) fn note_uncomputed<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    segment: &SegmentId,
) -> Option<Subject> {
    let files = read_definitions(&tenant.definitions).ok()?;
    let mut documents = files.iter().filter_map(|file| file.parse().ok());
    let document = documents.find(|document| document.definition().id == *segment)?;
    let why = match document.definition().kind {
        Kind::Dynamic => "was not computed yet",
        Kind::Static => "is static, and nobody was added to it",
    };
    context.screen.note(&format!("`{segment}` {why}"));
    Some(document.definition().subject)
}

fn note_staleness<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    state: &TenantState,
    segment: &SegmentId,
    of: usize,
) {
    let Some(stored) = state.segments.get(segment) else { return };
    let now = context.as_of(tenant, None);
    let standing = Standing { tenant, now, default_interval: context.config.scheduler.default_refresh_interval };
    if is_stale(&standing, stored) {
        let computed = stored.computed_at.map_or_else(|| "never computed".to_owned(), |at| format!("last computed as of {at}"));
        let which = if of > 1 { format!("`{segment}` is ") } else { String::new() };
        context.screen.note(&format!("{which}stale: {computed}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_paths_but_in_quotes() {
        let texts = |list: &str| paths_of(list).unwrap().into_iter().map(|(text, _)| text).collect::<Vec<_>>();
        assert_eq!(texts("country, address.city,country"), ["country", "address.city"]);
        assert_eq!(texts(r#"a["x,y"],b["q\",z"]"#), [r#"a["x,y"]"#, r#"b["q\",z"]"#]);
        assert!(paths_of("country,,plan").is_err() && paths_of("").is_err());
    }
}
