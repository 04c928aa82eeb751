//! What may stand behind `override`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::model::id::SegmentId;
use crate::refresh::config::parse_wait;

#[derive(Debug, Args)]
pub(crate) struct OverrideArguments {
    #[command(subcommand)]
    pub(crate) command: OverrideCommand,
}

/// What is done with what people decide.
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideCommand {
    /// Put subjects into a segment, whatever its rule says
    #[command(after_help = "Examples:\n  segmenta override add advisory-board --subject u42 --subject u43\n  \
                            segmenta override add advisory-board --file board.csv --column user_id\n  \
                            segmenta override add advisory-board --file crm.csv --skip-unknown")]
    Add(OverrideEditArguments),
    /// Keep subjects out of a segment, whatever its rule says
    #[command(after_help = "Example:\n  segmenta override remove vip --subject u42")]
    Remove(OverrideEditArguments),
    /// Leave subjects to the rule of a segment again
    #[command(after_help = "Example:\n  segmenta override clear vip --subject u42")]
    Clear(OverrideEditArguments),
    /// Print what is decided by hand
    #[command(after_help = "Examples:\n  segmenta override list\n  segmenta override list vip --all --format csv")]
    List(OverrideListArguments),
}

#[derive(Debug, Args)]
pub(crate) struct OverrideEditArguments {
    /// The segment
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
    /// The id of a subject; may be given several times
    #[arg(long = "subject", value_name = "ID", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) subjects: Vec<String>,
    /// A CSV file of subjects; the reason is `import` then
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The column of the file that holds the ids: its name, or its number together with `--no-header`
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) column: Option<String>,
    /// The first line of the file is a subject, too
    #[arg(long, requires = "file")]
    pub(crate) no_header: bool,
    /// What stands between the values of the file
    #[arg(long, value_name = "CHAR", requires = "file", default_value = ",", value_parser = delimiter)]
    pub(crate) delimiter: u8,
    /// Leave out subjects that are not in the universe, instead of changing nothing
    #[arg(long, conflicts_with = "keep_unknown")]
    pub(crate) skip_unknown: bool,
    /// Decide about subjects that are not in the universe as well: it takes effect when they appear
    #[arg(long)]
    pub(crate) keep_unknown: bool,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" || text == "tab" => Ok(b'\t'),
        _ => Err("give one character, such as `;`, or `tab`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct OverrideListArguments {
    /// The segment; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segment: Option<SegmentId>,
    /// Only about this subject
    #[arg(long, value_name = "ID")]
    pub(crate) subject: Option<String>,
    /// Also what was decided otherwise since
    #[arg(long)]
    pub(crate) all: bool,
}
