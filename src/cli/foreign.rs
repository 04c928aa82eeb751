//! Definitions of other systems in files: read as canonical ones, and checked beside those of the tenant.

use std::path::Path;

use super::context::{CatalogSource, Context};
use super::error::CliError;
use crate::check::{Checked, Limits, check};
use crate::diagnostic::Source;
use crate::model::catalog::Catalog;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::{DefinitionFile, Language, read_definition, read_definitions};
use crate::refresh::place::ReadablePlace;
use crate::syntax::dialect::{Dialect, Import, Mapping, import};
use crate::syntax::{Document, Format, Identity, print_json};

/// Reads every definition of the files.
pub(crate) fn import_files(files: &[DefinitionFile], dialect: Dialect, tenant: &TenantConfig, catalog: &Catalog) -> Import {
    let mapping = mapping_of(tenant, catalog);
    let mut all = Import::default();
    for file in files {
        // An expression is in no other system's form.
        let Language::Document(format) = file.language else { continue };
        let Import { documents, report } = import(&file.source, format, dialect, mapping);
        all.documents.extend(documents);
        all.report.append(report);
    }
    all
}

/// What foreign names stand for in a tenant.
pub(crate) fn mapping_of<'a>(tenant: &'a TenantConfig, catalog: &'a Catalog) -> Mapping<'a> {
    Mapping { settings: &tenant.dialects, users: catalog.users.as_ref().map(|users| &users.table) }
}

/// The readable definitions of a tenant of which none of the documents is another form.
pub(crate) fn canonical_beside(tenant: &TenantConfig, documents: &[Document]) -> Vec<Document> {
    let is_other = |document: &Document| documents.iter().all(|named| named.definition().id != document.definition().id);
    let files = read_definitions(&tenant.definitions).unwrap_or_default();
    files.iter().filter_map(|file| file.parse().ok()).filter(is_other).collect()
}

/// Checks imported definitions with others beside them; what is found is of the imported ones alone.
pub(crate) fn check_foreign(imported: &Import, others: &[Document], catalog: &Catalog, limits: &Limits) -> Checked {
    let documents: Vec<Document> = imported.documents.iter().chain(others).cloned().collect();
    let mut checked = check(&documents, catalog, limits);
    let is_imported = |name: &str| imported.documents.iter().any(|document| document.source().name == name);
    checked.report.findings.retain(|finding| finding.source.as_ref().is_some_and(|source| is_imported(&source.name)));
    let mut report = imported.report.clone();
    report.append(std::mem::take(&mut checked.report));
    Checked { report, ..checked }
}

/// The only definition of a file, in canonical form.
pub(crate) async fn only_definition<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    path: &Path,
    dialect: Dialect,
) -> Result<DefinitionFile, CliError> {
    let catalog = context.catalog(tenant, CatalogSource::Tables).await?;
    only_definition_of(context, tenant, path, dialect, &catalog, None)
}

/// The only definition of a file, in canonical form, in the place of another if one is given.
pub(crate) fn only_definition_of<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    path: &Path,
    dialect: Dialect,
    catalog: &Catalog,
    place: Option<&Identity>,
) -> Result<DefinitionFile, CliError> {
    let file = read_definition(path)?;
    let mut imported = import_files(std::slice::from_ref(&file), dialect, tenant, catalog);
    if let (Some(identity), [_]) = (place, imported.documents.as_slice()) {
        imported.documents = imported.documents.into_iter().map(|document| document.in_place_of(identity)).collect();
    }
    let others = canonical_beside(tenant, &imported.documents);
    let checked = check_foreign(&imported, &others, catalog, &tenant.limits);
    if checked.report.has_errors() {
        let problem = format!("`{}` has errors", path.display());
        return Err(CliError::Untranslated { problem, report: checked.report });
    }
    context.screen.remarks(&checked.report);
    let [document] = imported.documents.as_slice() else {
        let ids: Vec<String> = imported.documents.iter().map(|document| format!("`{}`", document.definition().id)).collect();
        return Err(CliError::Usage {
            problem: format!("`{}` holds {} definitions: {}", path.display(), ids.len(), ids.join(", ")),
            help: Some("Import them, and look at one of the files.".to_owned()),
        });
    };
    let source = Source::new(file.source.name.clone(), print_json(document.definition()));
    Ok(DefinitionFile { source, language: Language::Document(Format::Json) })
}
