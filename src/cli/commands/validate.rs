//! `validate`: every error and warning of every definition.

use std::path::PathBuf;

use crate::backend::Backend as _;
use crate::check::{Limits, check, check_nameless};
use crate::cli::args::{OutputFormat, ValidateArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::diagnostic::{Report, Severity};
use crate::model::catalog::Catalog;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::{DefinitionFile, read_definitions};
use crate::refresh::place::Place as _;
use crate::syntax::Unreadable;

/// Checks definitions and prints what is wrong.
pub(crate) async fn execute(context: &Context, arguments: &ValidateArguments) -> Result<(), CliError> {
    let mut report = Report::default();
    let mut files = 0;
    let tenants = if arguments.paths.is_empty() { context.tenants()? } else { vec![context.tenant()?] };
    for tenant in tenants {
        let catalog = catalog_of(context, tenant, arguments).await?;
        let (checked, found) = validate(tenant, &arguments.paths, &catalog)?;
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

async fn catalog_of(context: &Context, tenant: &TenantConfig, arguments: &ValidateArguments) -> Result<Catalog, CliError> {
    if !arguments.offline {
        let opened = context.place.open(tenant).await;
        return Ok(opened.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?.catalog().clone());
    }
    let kept = context.place.kept_catalog(&tenant.id).await.map_err(Error::from)?;
    kept.ok_or_else(|| CliError::Usage {
        problem: format!("no refresh of tenant `{}` has kept a catalog yet", tenant.id),
        help: Some("Leave out `--offline`, or run `segmenta refresh` once.".to_owned()),
    })
}

/// Checks the files at the paths, or all that are configured; how many, and what is wrong in them. Those that are configured are
/// there for the references of the others in any case.
fn validate(tenant: &TenantConfig, paths: &[PathBuf], catalog: &Catalog) -> Result<(usize, Report), Error> {
    let configured = read_definitions(&tenant.definitions);
    if paths.is_empty() {
        let files = configured?;
        return Ok((files.len(), check_files(&files, catalog, &tenant.limits)));
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
    let mut report = check_files(&all, catalog, &tenant.limits);
    report
        .findings
        .retain(|finding| finding.source.as_ref().is_none_or(|source| named.iter().any(|file| file.source.name == source.name)));
    Ok((named.len(), report))
}

fn check_files(files: &[DefinitionFile], catalog: &Catalog, limits: &Limits) -> Report {
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
        report.append(nameless.map_or(of_text, |document| check_nameless(&document, &documents, catalog, limits)));
    }
    report.append(check(&documents, catalog, limits).report);
    report
}
