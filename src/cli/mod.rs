//! The command line: arguments to work, results to text, errors to exit codes.

mod args;
mod chart;
mod commands;
mod context;
mod error;
mod facts;
mod foreign;
mod observations;
mod progress;
mod output;
mod render;
mod signals;
mod sink;
mod templates;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind as ArgumentErrorKind;
use futures::StreamExt as _;
use tracing_subscriber::EnvFilter;

use args::{Arguments, Command, GlobalArguments, LogFormat};
use context::Context;
use error::CliError;
use render::{Chatter, Screen, complain, complain_of};

use crate::refresh::place::ReadablePlace;

/// Formulas nest up to 32 deep and references chain freely: planning recurses, in us and in the engine.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Does what the arguments say; the first one is the name of the program.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return answer_of_parser(&error),
    };
    let chatter = match (arguments.global.quiet, arguments.global.verbose) {
        (true, _) => Chatter::Quiet,
        (false, 0) => Chatter::Normal,
        (false, _) => Chatter::Verbose,
    };
    let asked = arguments.global.format;
    let screen = Screen { format: asked.unwrap_or_default(), asked, chatter };
    match dispatch(arguments, screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            complain_of(&error);
            error.exit_code()
        }
    }
}

/// Help and version are answers, everything else is wrong usage.
fn answer_of_parser(error: &clap::Error) -> ExitCode {
    let text = error.render();
    match error.kind() {
        ArgumentErrorKind::DisplayHelp | ArgumentErrorKind::DisplayVersion => {
            // That nobody reads the help is no failure.
            Screen { format: args::OutputFormat::Table, asked: None, chatter: Chatter::Normal }.text(&text.to_string()).ok();
            ExitCode::SUCCESS
        }
        _ => {
            complain(&text.to_string());
            ExitCode::from(2)
        }
    }
}

fn dispatch(arguments: Arguments, screen: Screen) -> Result<(), CliError> {
    let Arguments { global, command } = arguments;
    start_log(&global, &command);
    match command {
        Command::Schema => commands::schema::print_schema(screen),
        Command::Completions(arguments) => commands::schema::print_completions(screen, &arguments),
        Command::Generate(arguments) => commands::generate::execute(screen, &arguments),
        Command::Init(arguments) => commands::init::execute(screen, &arguments),
        other => with_runtime(&global, screen, other),
    }
}

/// Runs a command on a runtime with room for deep recursion, on its own thread as well as on those of the runtime.
fn with_runtime(global: &GlobalArguments, screen: Screen, command: Command) -> Result<(), CliError> {
    let context = Context::load(global, screen)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_stack_size(STACK_BYTES);
    if context.config.engine.threads > 0 {
        builder.worker_threads(context.config.engine.threads);
    }
    let runtime = builder.build().map_err(CliError::Runtime)?;
    let work = move || {
        let done = runtime.block_on(at_its_place(context, command));
        // What a command was stopped in the middle of is not waited for.
        runtime.shutdown_background();
        done
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map_err(CliError::Runtime)?;
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Does a command where the configuration has tables and members.
async fn at_its_place(context: Context<()>, command: Command) -> Result<(), CliError> {
    if let Command::Clickhouse(arguments) = &command {
        return commands::clickhouse::execute(&context, &arguments.command).await;
    }
    match context.config.server().cloned() {
        None => at(&context.open_local()?, command).await,
        Some(server) => at(&context.open_server(&server).await?, command).await,
    }
}

/// Does a command, and lets go of what it evaluated, whatever came of it. A signal ends it; what it asked of a server is stopped there.
async fn at<P: ReadablePlace>(context: &Context<P>, command: Command) -> Result<(), CliError> {
    // The scheduler listens to signals itself: it stops after the runs in progress.
    let is_scheduler = matches!(command, Command::Run(_));
    let mut stops = std::pin::pin!(signals::signals().map_err(CliError::Runtime)?);
    let done = tokio::select! {
        done = execute(context, command) => done,
        Some(stop) = stops.next(), if !is_scheduler => Err(CliError::Stopped(stop)),
    };
    context.uploads.abort().await;
    context.place.stop().await;
    context.place.forget(context.run).await;
    done
}

async fn execute<P: ReadablePlace>(context: &Context<P>, command: Command) -> Result<(), CliError> {
    match command {
        Command::Validate(arguments) => commands::validate::execute(context, &arguments).await,
        Command::Describe(arguments) => commands::describe::execute(context, &arguments).await,
        Command::Preview(arguments) => commands::preview::execute(context, &arguments).await,
        Command::Diff(arguments) => commands::diff::execute(context, &arguments).await,
        Command::Overlap(arguments) => commands::overlap::execute(context, &arguments).await,
        Command::Explain(arguments) => commands::explain::execute(context, &arguments).await,
        Command::Evaluate(arguments) => commands::evaluate::execute(context, &arguments).await,
        Command::Plan(arguments) => commands::plan::execute(context, &arguments).await,
        Command::Refresh(arguments) => commands::refresh::execute(context, &arguments).await,
        Command::Run(_) => commands::run::execute(context).await,
        Command::List(arguments) => commands::list::list(context, &arguments).await,
        Command::Show(arguments) => commands::list::show(context, &arguments).await,
        Command::Members(arguments) => commands::members::execute(context, &arguments).await,
        Command::Changes(arguments) => commands::changes::execute(context, &arguments).await,
        Command::History(arguments) => commands::history::execute(context, &arguments).await,
        Command::SegmentsOf(arguments) => commands::segments_of::execute(context, &arguments).await,
        Command::Backfill(arguments) => commands::backfill::execute(context, &arguments).await,
        Command::Override(arguments) => commands::overrides::execute(context, &arguments).await,
        Command::Verify(arguments) => commands::verify::execute(context, &arguments).await,
        Command::Compact(arguments) => commands::compact::execute(context, &arguments).await,
        Command::Gc(arguments) => commands::gc::execute(context, &arguments).await,
        Command::Erase(arguments) => commands::erase::execute(context, &arguments).await,
        Command::Delete(arguments) => commands::delete::execute(context, &arguments).await,
        Command::Import(arguments) => commands::import::execute(context, &arguments).await,
        Command::Export(arguments) => commands::export::execute(context, &arguments).await,
        // It works before there is a place.
        Command::Clickhouse(_) => Ok(()),
        Command::Schema => commands::schema::print_schema(context.screen),
        Command::Completions(arguments) => commands::schema::print_completions(context.screen, &arguments),
        Command::Generate(arguments) => commands::generate::execute(context.screen, &arguments),
        Command::Init(arguments) => commands::init::execute(context.screen, &arguments),
    }
}

/// Sends the log to standard error. The scheduler tells what it does, everything else only what is out of order.
fn start_log(global: &GlobalArguments, command: &Command) {
    let (usual, format) = if let Command::Run(arguments) = command {
        ("warn,segmenta=info", arguments.log_format)
    } else {
        ("error,segmenta=warn", LogFormat::Text)
    };
    let filter = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => usual,
        (false, 1) => "warn,segmenta=debug",
        (false, _) => "info,segmenta=trace",
    };
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr).with_target(false);
    let log = log.with_ansi(std::io::stderr().is_terminal());
    // A log that another part of the process has started already stays.
    match format {
        LogFormat::Text => log.try_init().ok(),
        LogFormat::Json => log.json().flatten_event(true).try_init().ok(),
    };
}
