//! `validate`: every error and warning of every definition.

use std::path::PathBuf;

use crate::backend::Backend as _;
use crate::check::{Limits, check, check_nameless};
use crate::cli::args::{OutputFormat, ValidateArguments};
use crate::cli::context::{CatalogSource, Context};
use crate::cli::error::CliError;
use crate::cli::progress::Bar;
use crate::cli::{facts, foreign};
use crate::diagnostic::{Finding, Report, Severity};
use crate::lint::{DataFacts, lint};
use crate::model::calendar::Calendar;
use crate::model::catalog::Catalog;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::{DefinitionFile, read_definitions};
use crate::refresh::place::{ReadablePlace, calendar_of};
use crate::syntax::dialect::Dialect;
use crate::syntax::{Document, Unreadable};

/// What definitions are compared with.
struct Against {
    catalog: Catalog,
    /// What the tables hold, if they were looked at.
    facts: Option<DataFacts>,
    calendar: Calendar,
}

/// Checks definitions and prints what is wrong.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &ValidateArguments) -> Result<(), CliError> {
    let mut report = Report::default();
    let mut files = 0;
    let tenants = if arguments.paths.is_empty() { context.tenants()? } else { vec![context.tenant()?] };
    for tenant in tenants {
        let against = against(context, tenant, arguments).await?;
        let (checked, found) = match arguments.dialect {
            None => validate(tenant, &arguments.paths, &against)?,
            Some(dialect) => validate_foreign(tenant, &arguments.paths, dialect, &against)?,
        };
        files += checked;
        report.findings.extend(found.findings);
    }
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if !(report.findings.is_empty() && context.screen.format == OutputFormat::Table) {
        CliError::unless_unread(context.screen.report(&report))?;
    }
    let count = |n: usize, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
    let (errors_in_words, warnings) = (count(errors, "error"), count(warnings, "warning"));
    context.screen.note(&format!("{} checked: {errors_in_words}, {warnings}", count(files, "definition")));
    if errors > 0 { Err(CliError::Invalid) } else { Ok(()) }
}

async fn against<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    arguments: &ValidateArguments,
) -> Result<Against, CliError> {
    let calendar = calendar_of(tenant, context.as_of(tenant, None));
    if !arguments.data {
        let source = if arguments.offline { CatalogSource::Kept } else { CatalogSource::Tables };
        return Ok(Against { catalog: context.catalog(tenant, source).await?, facts: None, calendar });
    }
    let bar = Bar::new(context.screen);
    bar.say("looking at the tables");
    let opened = context.place.open(tenant, context.run).await;
    let backend = opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
    let facts = facts::look(&backend, tenant).await?;
    Ok(Against { catalog: backend.catalog().clone(), facts: Some(facts), calendar })
}

/// Checks definitions of another system; how many, and what is wrong with them.
fn validate_foreign(
    tenant: &TenantConfig,
    paths: &[PathBuf],
    dialect: Dialect,
    against: &Against,
) -> Result<(usize, Report), Error> {
    let imported = foreign::import_files(&read_definitions(paths)?, dialect, tenant, &against.catalog);
    let others = foreign::canonical_beside(tenant, &imported.documents);
    let mut checked = foreign::check_foreign(&imported, &others, &against.catalog, &tenant.limits);
    let mut report = std::mem::take(&mut checked.report);
    let documents: Vec<Document> = imported.documents.iter().cloned().chain(others).collect();
    let doubtful = lint(&documents, &checked, &against.calendar, against.facts.as_ref());
    let is_imported = |finding: &Finding| {
        let source = finding.source.as_ref().map(|source| &source.name);
        imported.documents.iter().any(|document| Some(&document.source().name) == source)
    };
    report.findings.extend(doubtful.findings.into_iter().filter(is_imported));
    Ok((imported.documents.len(), report))
}

/// Checks the files at the paths, or all that are configured; how many, and what is wrong in them. Those that are configured are
/// there for the references of the others in any case.
fn validate(tenant: &TenantConfig, paths: &[PathBuf], against: &Against) -> Result<(usize, Report), Error> {
    let configured = read_definitions(&tenant.definitions);
    if paths.is_empty() {
        let files = configured?;
        return Ok((files.len(), check_files(&files, against, &tenant.limits)));
    }
    let named = read_definitions(paths)?;
    let id_of = |file: &DefinitionFile| file.parse().ok().map(|document| document.definition().id.clone());
    let is_same_file =
        |a: &str, b: &str| a == b || std::fs::canonicalize(a).ok().is_some_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b));
    let ids: Vec<_> = named.iter().filter_map(id_of).collect();
    let others = configured.unwrap_or_default().into_iter().filter(|file| {
        let is_named = named.iter().any(|other| is_same_file(&other.source.name, &file.source.name));
        !is_named && id_of(file).is_none_or(|id| !ids.contains(&id))
    });
    let all: Vec<DefinitionFile> = named.iter().cloned().chain(others).collect();
    let mut report = check_files(&all, against, &tenant.limits);
    report
        .findings
        .retain(|finding| finding.source.as_ref().is_none_or(|source| named.iter().any(|file| file.source.name == source.name)));
    Ok((named.len(), report))
}

fn check_files(files: &[DefinitionFile], against: &Against, limits: &Limits) -> Report {
    let mut report = Report::default();
    let mut documents = Vec::new();
    let mut unreadable = Vec::new();
    for file in files {
        match file.parse() {
            Ok(document) => documents.push(document),
            Err(text) => unreadable.push(text),
        }
    }
    for Unreadable { report: of_text, nameless } in unreadable {
        report.append(nameless.map_or(of_text, |document| check_nameless(&document, &documents, &against.catalog, limits)));
    }
    let mut checked = check(&documents, &against.catalog, limits);
    report.append(std::mem::take(&mut checked.report));
    report.append(lint(&documents, &checked, &against.calendar, against.facts.as_ref()));
    report
}
