//! `export`: a definition in the form of another system.

use crate::check::check;
use crate::cli::args::ExportArguments;
use crate::cli::context::{CatalogSource, Context};
use crate::cli::error::CliError;
use crate::cli::foreign;
use crate::diagnostic::nearest;
use crate::refresh::Error;
use crate::refresh::definitions::read_definitions;
use crate::refresh::place::ReadablePlace;
use crate::syntax::Document;
use crate::syntax::dialect::export;

/// Prints the definition; notes what the form has no place for.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &ExportArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let segment = &arguments.segment;
    let files = read_definitions(&tenant.definitions)?;
    let documents: Vec<Document> = files.iter().filter_map(|file| file.parse().ok()).collect();
    let Some(document) = documents.iter().find(|document| document.definition().id == *segment) else {
        let near = nearest(segment.as_str(), documents.iter().map(|document| document.definition().id.as_str()));
        let near = near.and_then(|near| near.parse().ok());
        return Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near }.into());
    };
    let source = if arguments.offline { CatalogSource::Kept } else { CatalogSource::Tables };
    let catalog = context.catalog(tenant, source).await?;
    if let Some(Err(report)) = check(&documents, &catalog, &tenant.limits).segments.remove(segment) {
        return Err(Error::Definitions(report).into());
    }
    let exported = export(document, arguments.dialect, foreign::mapping_of(tenant, &catalog)).map_err(|report| {
        let problem = format!("the form `{}` cannot say the segment `{segment}`", arguments.dialect.keyword());
        CliError::Untranslated { problem, report }
    })?;
    context.screen.text(&exported.text)?;
    if !exported.left_out.is_empty() {
        let names: Vec<String> = exported.left_out.iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        context.screen.note(&format!("the form `{}` has no place for {names}, left out", arguments.dialect.keyword()));
    }
    Ok(())
}
