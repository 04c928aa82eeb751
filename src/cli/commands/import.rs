//! `import`: definitions of other systems to files of canonical ones.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::args::ImportArguments;
use crate::cli::context::{CatalogSource, Context};
use crate::cli::error::CliError;
use crate::cli::foreign;
use crate::cli::render::{Column, Listing};
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::read_definitions;
use crate::refresh::place::ReadablePlace;
use crate::syntax::{Document, print_json};

/// A definition that was written.
#[derive(Debug, Serialize)]
struct Row {
    segment_id: String,
    file: String,
    from: String,
}

/// Writes a file for each definition that is valid here, and tells what is wrong with the others.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &ImportArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let folder = match &arguments.out {
        Some(folder) => folder.clone(),
        None => own_folder(tenant)?,
    };
    let source = if arguments.offline { CatalogSource::Kept } else { CatalogSource::Tables };
    let catalog = context.catalog(tenant, source).await?;
    let files = read_definitions(std::slice::from_ref(&arguments.path))?;
    let imported = foreign::import_files(&files, arguments.dialect, tenant, &catalog);
    let others = foreign::canonical_beside(tenant, &imported.documents);
    let mut checked = foreign::check_foreign(&imported, &others, &catalog, &tenant.limits);
    let is_valid = |document: &&Document| checked.segments.get(&document.definition().id).is_some_and(Result::is_ok);
    let valid: Vec<&Document> = imported.documents.iter().filter(is_valid).collect();
    refuse_defined_elsewhere(tenant, &valid, &folder)?;
    let writes = if arguments.force { Writes::Replacing } else { Writes::New };
    let targets: Vec<(PathBuf, &Document)> =
        valid.iter().map(|document| (folder.join(format!("{}.json", document.definition().id)), *document)).collect();
    refuse_overwriting(&targets, writes)?;
    let mut rows = Vec::new();
    for (path, document) in targets {
        write(&path, &print_json(document.definition()), writes)?;
        rows.push(Row {
            segment_id: document.definition().id.to_string(),
            file: path.display().to_string(),
            from: document.source().name.clone(),
        });
    }
    let written = rows.len();
    let columns = vec![("segment_id", Column::Text), ("file", Column::Text), ("from", Column::Text)];
    context.screen.listing(&Listing { columns, rows })?;
    let definitions = if written == 1 { "definition" } else { "definitions" };
    context.screen.note(&format!("{written} {definitions} written, nothing approximated"));
    if checked.report.has_errors() {
        let problem = "definitions with errors were not written".to_owned();
        return Err(CliError::Untranslated { problem, report: std::mem::take(&mut checked.report) });
    }
    context.screen.remarks(&checked.report);
    Ok(())
}

/// Whether files that are there may be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    New,
    Replacing,
}

/// The first folder of definitions of a tenant.
fn own_folder(tenant: &TenantConfig) -> Result<PathBuf, CliError> {
    tenant.definitions.iter().find(|place| place.is_dir()).cloned().ok_or_else(|| CliError::Usage {
        problem: format!("the definitions of tenant `{}` are in no folder", tenant.id),
        help: Some("Name the folder to write to with `--out`.".to_owned()),
    })
}

/// Two files that define one segment would both be invalid.
fn refuse_defined_elsewhere(tenant: &TenantConfig, valid: &[&Document], folder: &Path) -> Result<(), CliError> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_own = tenant.definitions.iter().any(|place| real(folder).starts_with(real(place)));
    if !is_own {
        return Ok(());
    }
    for other in foreign::canonical_beside(tenant, &[]) {
        let id = &other.definition().id;
        let target = folder.join(format!("{id}.json"));
        let is_imported = valid.iter().any(|document| document.definition().id == *id);
        if is_imported && real(&target) != real(Path::new(&other.source().name)) {
            return Err(CliError::Usage {
                problem: format!("`{}` defines the segment `{id}` already; nothing was written", other.source().name),
                help: Some("Remove that file, or write to another folder with `--out`.".to_owned()),
            });
        }
    }
    Ok(())
}

fn refuse_overwriting(targets: &[(PathBuf, &Document)], writes: Writes) -> Result<(), CliError> {
    let there: Vec<String> =
        targets.iter().filter(|(path, _)| path.exists()).map(|(path, _)| format!("`{}`", path.display())).collect();
    match (there.as_slice(), writes) {
        ([], _) | (_, Writes::Replacing) => Ok(()),
        ([first, rest @ ..], Writes::New) => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more files", rest.len()) };
            Err(CliError::Usage {
                problem: format!("{first}{more} would be overwritten; nothing was written"),
                help: Some("Replace what is there with `--force`, or write to another folder with `--out`.".to_owned()),
            })
        }
    }
}

fn write(path: &Path, text: &str, writes: Writes) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.display().to_string(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    match writes {
        Writes::New => options.create_new(true),
        Writes::Replacing => options.create(true).truncate(true),
    };
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}
