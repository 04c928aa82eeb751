//! `schema` and `completions`: what other programs need to help an author.

use clap::CommandFactory as _;

use crate::cli::args::{Arguments, CompletionsArguments};
use crate::cli::error::CliError;
use crate::cli::render::Screen;

/// Prints the JSON Schema of definitions.
pub(crate) fn print_schema(screen: Screen) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(&crate::syntax::json_schema()).map_err(std::io::Error::from)?;
    screen.text(&text)
}

/// Prints the completions of a shell.
pub(crate) fn print_completions(screen: Screen, arguments: &CompletionsArguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "segmenta", &mut script);
    screen.text(&String::from_utf8_lossy(&script))
}
