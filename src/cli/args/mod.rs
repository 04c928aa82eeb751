//! What may stand on the command line, as near the flags as can be.

mod backfill;
mod overrides;
mod reading;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::backend::TableRole;
use crate::clock::floor_to_micros;
use crate::model::id::SegmentId;
use crate::refresh::config::parse_wait;
use crate::syntax::dialect::Dialect;

pub(crate) use backfill::BackfillArguments;
pub(crate) use overrides::{OverrideArguments, OverrideCommand, OverrideEditArguments, OverrideListArguments};
pub(crate) use reading::{
    ChangesArguments, HistoryArguments, ListArguments, MembersArguments, OutputArguments, RangeArguments, SegmentsOfArguments,
    ShowArguments,
};

/// Who is in which segment, since when, and why.
#[derive(Debug, Parser)]
#[command(
    name = "segmenta",
    version,
    about = "Who is in which segment, since when, and why",
    long_about = "segmenta evaluates audience segments over Parquet, Arrow, CSV and NDJSON tables, and keeps their members, \
                  their entries and exits and their history as plain Parquet.\n\nIt reads `scheduler.toml` in the working folder: \
                  where the tables, the definitions and the store are.",
    after_help = "Examples:\n  segmenta validate                          check every definition\n  segmenta refresh --all                     \
                  compute every segment and print a table\n  segmenta preview lapsed-buyers --sample 5  look before you write\n  \
                  segmenta explain lapsed-buyers --subject u42\n  segmenta members lapsed-buyers --format csv > members.csv\n  \
                  segmenta run                               keep everything fresh until a signal comes\n\nExit codes: 0 done, \
                  1 failed, 2 wrong usage, 3 invalid definition.",
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArguments {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "scheduler.toml", env = "SEGMENTA_CONFIG")]
    pub(crate) config: PathBuf,
    /// The tenant; may be left out when there is one
    #[arg(long, global = true, value_name = "ID", env = "SEGMENTA_TENANT")]
    pub(crate) tenant: Option<String>,
    /// How results are printed: for people, unless this or the name of a file to write says otherwise
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Print nothing on standard error but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// One JSON value
    Json,
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a project: configuration, definitions and sample data in an empty folder
    #[command(
        long_about = "Start a project: a commented configuration, a few definitions and sample data in an empty folder.\n\nThe \
                      definitions are templates from the library that the program carries; those that they refer to come along. \
                      Nothing that is there is touched: a folder with anything in it but `.git` is refused.",
        after_help = "Examples:\n  segmenta init shop\n  segmenta init --list\n  \
                      segmenta init shop --template birthday-soon,win-back"
    )]
    Init(InitArguments),
    /// Check definitions: every error and warning, with its place and help
    #[command(
        after_help = "Examples:\n  segmenta validate\n  segmenta validate queries/vip.json --offline\n  segmenta validate --data\n  \
                            segmenta validate --format json | jq '.[].message'"
    )]
    Validate(ValidateArguments),
    /// Show what definitions can be written about: columns, JSON paths, event types, frequent values
    #[command(after_help = "Examples:\n  segmenta describe\n  segmenta describe events")]
    Describe(DescribeArguments),
    /// Count and sample who would be in a segment, without writing anything
    #[command(
        after_help = "Examples:\n  segmenta preview lapsed-buyers\n  segmenta preview draft.json --sample all --format json\n  \
                            segmenta preview lapsed-buyers --breakdown --as-of 2026-01-01T00:00:00Z\n  \
                            segmenta preview --where \"country IN ('US', 'CA') AND events('order_completed', last => '30d')\"\n  \
                            segmenta preview --of products --where \"stock < 10 AND is_set(brand)\""
    )]
    Preview(PreviewArguments),
    /// Show who would enter and leave a segment if its definition became another, without writing anything
    #[command(
        long_about = "Show who would enter and leave a segment if its definition became another, without writing anything.\n\nThe \
                      file takes the place of the definition; an id and a name of its own do not matter. It is compared with the \
                      definition in force, evaluated at the same instant, or with `--against stored` with the members that the \
                      last run wrote, which is what the next refresh would change.",
        after_help = "Examples:\n  segmenta diff vip-customers draft.json\n  segmenta diff vip-customers draft.json --sample all --format csv\n  \
                      segmenta diff vip-customers --where \"lifetime_value >= 2000\"\n  segmenta diff vip-customers \
                      --against stored queries/vip-customers.json\n  segmenta diff vip-customers --dialect groups exported.json"
    )]
    Diff(DiffArguments),
    /// Show how many subjects segments share, pair by pair
    #[command(
        long_about = "Show how many subjects segments share, pair by pair: the sizes of the intersection and of the union, and \
                      their quotient, the Jaccard index.\n\nThe members are those that the last runs wrote, as in `members`; with \
                      `--evaluate` or `--as-of` the definitions are evaluated instead, all of them in one pass.",
        after_help = "Examples:\n  segmenta overlap vip-customers repeat-buyers win-back\n  segmenta overlap vip-customers win-back \
                      --evaluate --format json\n  segmenta overlap vip-customers win-back --as-of 2026-01-01T00:00:00Z"
    )]
    Overlap(OverlapArguments),
    /// Show why a subject is or is not in a segment: every condition with the actual value
    #[command(after_help = "Example:\n  segmenta explain lapsed-buyers --subject u42")]
    Explain(ExplainArguments),
    /// Evaluate one subject against all, or the named, segments
    #[command(after_help = "Examples:\n  segmenta evaluate --subject u42\n  segmenta evaluate --subject u42 lapsed-buyers vip")]
    Evaluate(EvaluateArguments),
    /// Show what a refresh would execute
    #[command(after_help = "Examples:\n  segmenta plan lapsed-buyers\n  segmenta plan lapsed-buyers vip draft.json\n  \
                            segmenta plan lapsed-buyers --backend clickhouse")]
    Plan(PlanArguments),
    /// Compute segments once and commit what changed
    #[command(
        long_about = "Compute segments once and commit what changed.\n\nWithout ids, the segments that are due are computed; \
                      with --all, every active one. A segment that cannot be computed keeps its members, the others go on, and \
                      the exit code is 1. When a definition is invalid, nothing is run and the exit code is 3, unless \
                      --skip-invalid is given.",
        after_help = "Examples:\n  segmenta refresh --all\n  segmenta refresh lapsed-buyers vip\n  segmenta refresh --due --format json"
    )]
    Refresh(RefreshArguments),
    /// Keep segments fresh until a signal comes
    #[command(
        long_about = "Keep segments fresh until a signal comes.\n\nDefinitions are read again when their files change, every \
                      segment is computed when it is due, and the jobs of `[scheduler]` are done. On SIGTERM or SIGINT the run in \
                      progress is finished; a second signal abandons it. A second scheduler on the same store refuses to start.",
        after_help = "Examples:\n  segmenta run\n  segmenta run --log-format json"
    )]
    Run(RunArguments),
    /// List segments with status, count, last computed, next due and last error
    List(ListArguments),
    /// Show one segment: its definition and its state
    #[command(after_help = "Example:\n  segmenta show lapsed-buyers")]
    Show(ShowArguments),
    /// Print the members of a segment, or of several together
    #[command(
        long_about = "Print the members of a segment, or of several together.\n\nOf several segments, `entered_at` is the earliest entry for a \
                      union, the latest for an intersection, and that into the first for a difference. Rows come by id, and are shown or \
                      written as they are read; with `--sort` they are sorted first, on disk when memory does not suffice.",
        after_help = "Examples:\n  segmenta members vip --limit 10\n  segmenta members vip --limit 1000 --after u42    the next page\n  \
                      segmenta members vip --with country,lifetime_value --sort -lifetime_value --limit 20\n  \
                      segmenta members vip win-back --intersect --format csv\n  \
                      segmenta members vip churned --except --output s3://bucket/audience.parquet"
    )]
    Members(MembersArguments),
    /// Print who entered and left, when and why
    #[command(
        after_help = "Examples:\n  segmenta changes\n  segmenta changes vip repeat-buyers --from 2026-01-01 --change exit\n  \
                            segmenta changes --subject u42\n  segmenta changes --reason manual --output changes.parquet"
    )]
    Changes(ChangesArguments),
    /// Print the figures of every run or day; one segment in a terminal is drawn as a chart
    #[command(
        long_about = "Print the figures of every run or day; one segment in a terminal is drawn as a chart.\n\nWith `--daily` there is a row \
                      for each day from the first to the last, in the timezone of the tenant: the members at its end, and who entered and \
                      left in all of its runs, edits and erasures. A day without any carries the count on. The figures of a backfill \
                      are shown when a segment has no others, or with `--kind backfill`.",
        after_help = "Examples:\n  segmenta history vip\n  segmenta history vip --daily --from 2026-01-01 --to 2026-01-31\n  \
                      segmenta history --status failed\n  segmenta history --daily --output history.parquet"
    )]
    History(HistoryArguments),
    /// Print the segments that a subject is in
    #[command(name = "segments-of", after_help = "Examples:\n  segmenta segments-of u42\n  segmenta segments-of u42 --format json")]
    SegmentsOf(SegmentsOfArguments),
    /// Record what segments were at instants of the past
    #[command(
        long_about = "Record what segments were at instants of the past, by their definitions of now.\n\nMany instants share the pass over the \
                      events. Each becomes rows of the history, with the kind `backfill`; the present is not touched. What stands there \
                      already by the same definitions is not computed again, so that a backfill that was interrupted goes on when it is \
                      started anew.",
        after_help = "Examples:\n  segmenta backfill vip --from 2026-01-01T00:00:00Z --to 2026-01-31T00:00:00Z --step 1d\n  \
                      segmenta backfill vip win-back --from 2025-01-01T00:00:00Z --to 2026-01-01T00:00:00Z --step 1w"
    )]
    Backfill(BackfillArguments),
    /// Decide by hand who is in a segment and who is not
    #[command(
        long_about = "Decide by hand who is in a segment and who is not.\n\nWhat people decide wins over the rule, for static and dynamic \
                      segments alike, until it is cleared; refreshes keep it. An edit takes effect at once. Subjects that are not in the \
                      universe are refused, and nothing is changed then, unless `--skip-unknown` or `--keep-unknown` is given."
    )]
    Override(OverrideArguments),
    /// Check that members, changes and history of the store agree with each other
    #[command(
        long_about = "Check that members, changes and history of the store agree with each other.\n\nThe laws are that changes, replayed \
                      from the beginning, give the current members with the instants of their entries, and that counts follow from those \
                      before them. In a store of files every file is compared with what was committed; on a ClickHouse server the server \
                      compares. What is wrong is printed, with what would put it right, and the exit code is 1. With `--repair` what can \
                      be put right is: files from their copies, members from their changes, counts from rows, indexes from the records \
                      of commits. Nothing that is whole is lost.",
        after_help = "Examples:\n  segmenta verify\n  segmenta verify --repair\n  segmenta verify --tenant demo --format json"
    )]
    Verify(VerifyArguments),
    /// Put the files of finished days together, and let go of what is kept no longer
    #[command(
        long_about = "Put the files of finished days together, and let go of what is kept no longer.\n\nChanges and history of each \
                      finished day become one file each. Rows and snapshots older than `keep_changes`, `keep_history` and \
                      `keep_snapshots` of their segment go. It works in short steps, so that a scheduler may run meanwhile; whoever \
                      reads meanwhile reads every row once.",
        after_help = "Example:\n  segmenta compact"
    )]
    Compact(CompactArguments),
    /// Delete what nothing in the store refers to any more
    #[command(
        long_about = "Delete what nothing in the store refers to any more, and print it.\n\nThat is what writers left that died, \
                      snapshots that were replaced, files whose rows stand in another, and old records of commits. Files that \
                      segmenta did not write are reported and never deleted.",
        after_help = "Examples:\n  segmenta gc --dry-run\n  segmenta gc --grace 2h"
    )]
    Gc(GcArguments),
    /// Erase a subject: nothing of it is left in the store
    #[command(
        long_about = "Erase a subject: nothing of it is left in the store.\n\nIt is removed from members, kept snapshots and changes of \
                      all segments, of every tenant or of the one that is named. What runs counted stays as it was recorded; each segment \
                      that knew the subject gets a history row of kind `erase`. Every file that held it is gone when the command is \
                      done. A table that still holds it brings it back with the next refresh.",
        after_help = "Example:\n  segmenta erase --subject u42"
    )]
    Erase(EraseArguments),
    /// End a segment: everyone leaves, with the reason `segment_deleted`
    #[command(after_help = "Example:\n  rm queries/old.json && segmenta delete old")]
    Delete(DeleteArguments),
    /// Make a deterministic demonstration data set
    #[command(
        after_help = "Example:\n  segmenta generate --users 1000 --events 20000 --days 90 --products 200 --seed 7 --out data"
    )]
    Generate(GenerateArguments),
    /// Turn definitions of another system into definitions of segmenta
    #[command(
        long_about = "Turn definitions of another system into definitions of segmenta, without changing who matches.\n\nWhat cannot \
                      be said exactly is an error that shows the place, never an approximation. One file is written per definition; \
                      definitions with errors are left out, and the exit code is 3.",
        after_help = "Examples:\n  segmenta import --dialect groups exported.json\n  segmenta import --dialect tree rules/ --out drafts"
    )]
    Import(ImportArguments),
    /// Print a definition in the form of another system, where that can say it
    #[command(after_help = "Example:\n  segmenta export --dialect groups vip > vip.json")]
    Export(ExportArguments),
    /// Prepare a ClickHouse server: make segmenta's tables, and load those of tenants
    Clickhouse(ServerArguments),
    /// Print the JSON Schema of definitions
    Schema,
    /// Print a script of completions for a shell
    #[command(after_help = "Example:\n  segmenta completions bash > ~/.local/share/bash-completion/completions/segmenta")]
    Completions(CompletionsArguments),
}

/// An instant on the command line.
fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map(floor_to_micros).map_err(|_| "write RFC 3339, such as 2026-01-01T00:00:00Z".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The folder, which is made when it is not there; the current one when left out
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Definitions to start from, or `all`; a few that show the language when left out
    #[arg(long = "template", value_name = "NAME", value_delimiter = ',')]
    pub(crate) templates: Vec<String>,
    /// List the definitions that there are to start from, and write nothing
    #[arg(long, conflicts_with_all = ["folder", "templates"])]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// Files or folders to check; all configured definitions when left out
    pub(crate) paths: Vec<PathBuf>,
    /// Use the catalog that the last refresh kept, and open no table
    #[arg(long)]
    pub(crate) offline: bool,
    /// Also read the tables, each once, and warn of what they have nothing of
    #[arg(long, conflicts_with = "offline")]
    pub(crate) data: bool,
    /// The files are definitions of another system, in this form
    #[arg(long, value_name = "NAME", value_parser = dialect_parser(), requires = "paths")]
    pub(crate) dialect: Option<Dialect>,
}

/// One of the names of forms that are read.
fn dialect_parser() -> impl TypedValueParser<Value = Dialect> {
    let names = Dialect::READABLE.map(Dialect::keyword);
    PossibleValuesParser::new(names)
        .try_map(|word| Dialect::from_keyword(&word).ok_or_else(|| format!("no form is named `{word}`")))
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The form of the definitions
    #[arg(long, value_name = "NAME", value_parser = dialect_parser())]
    pub(crate) dialect: Dialect,
    /// A file, or a folder with all below it
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The folder to write to; the first folder of definitions of the tenant when left out
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
    /// Use the catalog that the last refresh kept, and open no table
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The form to write
    #[arg(long, value_name = "NAME", value_parser = dialect_parser())]
    pub(crate) dialect: Dialect,
    /// The segment
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
    /// Use the catalog that the last refresh kept, and open no table
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    #[command(subcommand)]
    pub(crate) command: ServerCommand,
}

/// What to do on a ClickHouse server.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Make the tables and views in which members, changes and history are kept
    #[command(
        long_about = "Make the database, tables and views in which members, changes and history are kept, as `[clickhouse]` has them. \
                      What is there stays as it is, but that views are made anew.",
        after_help = "Examples:\n  segmenta clickhouse init\n  segmenta clickhouse init --print > ddl.sql"
    )]
    Init(ServerInitArguments),
    /// Make the tables of tenants from the files that the configuration names, and fill them
    #[command(
        long_about = "Make the tables of tenants from the files that the configuration names with `source`, and fill them.\n\nA table \
                      that is there is not touched, unless `--replace` is given: then it is replaced once the new one is whole.",
        after_help = "Examples:\n  segmenta clickhouse load\n  segmenta clickhouse load --tenant shop --replace"
    )]
    Load(ServerLoadArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ServerInitArguments {
    /// Print the statements, and ask no server
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServerLoadArguments {
    /// Replace tables that are there
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// The table; all of them when left out
    #[arg(value_parser = table_role)]
    pub(crate) table: Option<TableRole>,
}

fn table_role(text: &str) -> Result<TableRole, String> {
    let known = [TableRole::Users, TableRole::Events, TableRole::Products];
    known.into_iter().find(|role| role.keyword() == text).ok_or_else(|| "use users, events or products".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArguments {
    /// The id of a segment, or a definition file
    #[arg(value_name = "ID or FILE", required_unless_present = "expression", conflicts_with = "expression")]
    pub(crate) segment: Option<String>,
    /// An expression in place of a definition, such as "country = 'FR' AND in_segment('buyers')"
    #[arg(long = "where", id = "expression", value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expression: Option<String>,
    /// What the expression is about
    #[arg(long, value_enum, default_value_t, conflicts_with = "segment")]
    pub(crate) of: Of,
    /// How many subjects to show, or `all`
    #[arg(long, value_name = "N", default_value = "10", value_parser = sample)]
    pub(crate) sample: Sample,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
    /// Show the count of every condition
    #[arg(long)]
    pub(crate) breakdown: bool,
    /// The file is a definition of another system, in this form
    #[arg(long, value_name = "NAME", value_parser = dialect_parser(), conflicts_with = "expression")]
    pub(crate) dialect: Option<Dialect>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The segment whose definition would change
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
    /// The definition file that would take its place
    #[arg(value_name = "FILE", required_unless_present = "expression", conflicts_with = "expression")]
    pub(crate) file: Option<PathBuf>,
    /// An expression in place of a file, such as "country = 'FR' AND in_segment('buyers')"
    #[arg(long = "where", id = "expression", value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expression: Option<String>,
    /// What the change is compared with
    #[arg(long, value_enum, default_value_t)]
    pub(crate) against: Against,
    /// How many subjects to show of those who enter, who leave and who stay, or `all`
    #[arg(long, value_name = "N", default_value = "10", value_parser = sample)]
    pub(crate) sample: Sample,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
    /// The file is a definition of another system, in this form
    #[arg(long, value_name = "NAME", value_parser = dialect_parser(), conflicts_with = "expression")]
    pub(crate) dialect: Option<Dialect>,
}

/// What a change of a definition is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Against {
    /// The definition in force, evaluated at the same instant; of a static segment its members
    #[default]
    Current,
    /// The members that the last run wrote
    Stored,
}

#[derive(Debug, Args)]
pub(crate) struct OverlapArguments {
    /// The segments, at least two, of one kind of subject
    #[arg(value_name = "ID", required = true, num_args = 2..)]
    pub(crate) segments: Vec<SegmentId>,
    /// Evaluate the definitions instead of reading the stored members
    #[arg(long)]
    pub(crate) evaluate: bool,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
}

/// What an expression is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Of {
    /// Users
    #[default]
    Users,
    /// Products
    Products,
}

/// How many subjects a sample shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// At most this many.
    First(usize),
    /// Every one.
    All,
}

fn sample(text: &str) -> Result<Sample, String> {
    match text {
        "all" => Ok(Sample::All),
        number => number.parse().map(Sample::First).map_err(|_| "give a number, or `all`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The id of a segment, or a definition file
    #[arg(value_name = "ID or FILE")]
    pub(crate) segment: String,
    /// The subject's id
    #[arg(long, value_name = "ID")]
    pub(crate) subject: String,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// The segments; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segments: Vec<SegmentId>,
    /// The subject's id
    #[arg(long, value_name = "ID")]
    pub(crate) subject: String,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Ids of segments, or definition files
    #[arg(value_name = "ID or FILE", required = true)]
    pub(crate) segments: Vec<String>,
    /// The backend to plan for; that of the configuration when left out
    #[arg(long, value_enum)]
    pub(crate) backend: Option<BackendName>,
    /// The instant to plan for; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
}

/// What evaluates segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// In this process, over files
    Datafusion,
    /// A ClickHouse server; where the configuration has files, the SQL over tables like them, without a server
    Clickhouse,
}

#[derive(Debug, Args)]
pub(crate) struct RefreshArguments {
    /// The segments; those that are due when left out
    #[arg(value_name = "ID", conflicts_with_all = ["due", "all"])]
    pub(crate) segments: Vec<SegmentId>,
    /// Compute what is due: new, changed, or its time has come (the default)
    #[arg(long, conflicts_with = "all")]
    pub(crate) due: bool,
    /// Compute every active segment
    #[arg(long)]
    pub(crate) all: bool,
    /// The instant to evaluate at; now when left out
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
    /// Compute from all data, using nothing that earlier runs kept, which is what this version always does
    #[arg(long)]
    pub(crate) full: bool,
    /// Take over results of which more changes than `max_change` allows; alone, those that are held
    #[arg(long)]
    pub(crate) accept: bool,
    /// Go on with the last valid forms of invalid definitions
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// How the log on standard error is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Put right what can be
    #[arg(long)]
    pub(crate) repair: bool,
    /// How long a repair waits for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArguments {
    /// How long to wait for another writer, before each step
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long what readers may still know of stays
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_wait)]
    pub(crate) grace: Duration,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct EraseArguments {
    /// The subject
    #[arg(long, value_name = "ID")]
    pub(crate) subject: String,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The segment
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// How many users
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) users: u64,
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) events: u64,
    /// Over how many days
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) days: u32,
    /// How many products
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) products: u64,
    /// Equal seeds make equal data
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The day after the last day of events
    #[arg(long, value_name = "DATE", default_value = "2026-01-01")]
    pub(crate) end: Date,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
