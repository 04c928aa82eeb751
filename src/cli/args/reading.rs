//! Arguments of the commands that read the store.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use jiff::Timestamp;
use jiff::civil::Date;

use super::instant;
use crate::model::calendar::Calendar;
use crate::model::id::SegmentId;
use crate::store::{Change, ChangeReason, RunKind, RunStatus};

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// List archived segments as well
    #[arg(long)]
    pub(crate) archived: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The segment
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("operation").multiple(false))]
pub(crate) struct MembersArguments {
    /// The segments: one, or several with `--union`, `--intersect` or `--except`
    #[arg(value_name = "ID", required = true)]
    pub(crate) segments: Vec<SegmentId>,
    /// Who is in at least one of the segments
    #[arg(long, group = "operation")]
    pub(crate) union: bool,
    /// Who is in all of the segments
    #[arg(long, group = "operation")]
    pub(crate) intersect: bool,
    /// Who is in the first segment and in none of the others
    #[arg(long, group = "operation")]
    pub(crate) except: bool,
    /// Show these columns of the subjects table as well, or dotted paths into them
    #[arg(long, value_name = "COL,...")]
    pub(crate) with: Option<String>,
    /// Put the rows in this order: `entered_at`, `score`, `reason`, or a column of `--with`; with a minus before it, greatest first
    #[arg(long, value_name = "KEY,...", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// As they were after the last run at or before this instant; attributes are those of now
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
    /// Only those whose id comes after this one: the next page
    #[arg(long, value_name = "SUBJECT", conflicts_with = "sort")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ChangesArguments {
    /// The segments; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segments: Vec<SegmentId>,
    /// Only of this subject
    #[arg(long, value_name = "ID")]
    pub(crate) subject: Option<String>,
    /// Only entries, or only exits
    #[arg(long, value_name = "KIND", value_parser = words(&Change::ALL, Change::keyword))]
    pub(crate) change: Option<Change>,
    /// Only for these reasons
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = words(&ChangeReason::ALL, ChangeReason::keyword))]
    pub(crate) reason: Vec<ChangeReason>,
    #[command(flatten)]
    pub(crate) range: RangeArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The segment; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segment: Option<SegmentId>,
    /// A row for each day in place of one for each run
    #[arg(long)]
    pub(crate) daily: bool,
    /// Only rows of these kinds; with `--daily`, `backfill` shows the days of backfills
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = words(&RunKind::ALL, RunKind::keyword))]
    pub(crate) kind: Vec<RunKind>,
    /// Only rows of these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',', conflicts_with = "daily", value_parser = words(&RunStatus::ALL, RunStatus::keyword))]
    pub(crate) status: Vec<RunStatus>,
    #[command(flatten)]
    pub(crate) range: RangeArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// One of the words of a table.
fn words<T: Copy + Send + Sync + 'static>(all: &'static [T], keyword: fn(T) -> &'static str) -> impl TypedValueParser<Value = T> {
    let names = all.iter().map(move |value| keyword(*value)).collect::<Vec<_>>();
    PossibleValuesParser::new(names).try_map(move |word| {
        let found = all.iter().copied().find(|value| keyword(*value) == word);
        found.ok_or_else(|| format!("`{word}` is none of the words"))
    })
}

/// Which rows of a log to read.
#[derive(Debug, Args)]
pub(crate) struct RangeArguments {
    /// Only at or after this instant, or from this day on
    #[arg(long, value_name = "INSTANT or DATE", value_parser = edge)]
    pub(crate) from: Option<Edge>,
    /// Only before this instant, or up to the end of this day
    #[arg(long, value_name = "INSTANT or DATE", value_parser = edge)]
    pub(crate) to: Option<Edge>,
    /// At most this many rows, the latest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Where a range of time begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// An instant.
    Instant(Timestamp),
    /// A day of the tenant, which belongs to the range.
    Day(Date),
}

impl Edge {
    /// The first instant of a range that begins with it.
    pub(crate) fn start(self, calendar: &Calendar) -> Timestamp {
        match self {
            Self::Instant(at) => at,
            Self::Day(date) => calendar.start_of(date),
        }
    }

    /// The first instant after a range that ends with it.
    pub(crate) fn end(self, calendar: &Calendar) -> Timestamp {
        match self {
            Self::Instant(at) => at,
            Self::Day(date) => date.tomorrow().map_or(Timestamp::MAX, |next| calendar.start_of(next)),
        }
    }
}

fn edge(text: &str) -> Result<Edge, String> {
    if let Ok(at) = instant(text) {
        return Ok(Edge::Instant(at));
    }
    // A date with a time and no offset is taken for a date by its reader.
    let is_date = text.len() <= "-009999-01-01".len() && !text.contains([':', 'T', 't', ' ']);
    let date = text.parse().ok().filter(|_| is_date);
    date.map(Edge::Day).ok_or_else(|| "write RFC 3339, such as 2026-01-01T00:00:00Z, or a date, such as 2026-01-01".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct SegmentsOfArguments {
    /// The subject's id
    #[arg(value_name = "SUBJECT")]
    pub(crate) subject: String,
    /// As it was after the last runs at or before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) as_of: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Where rows go other than to standard output.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Write the rows to a file or object store; the format is that of `--format`, or of the ending: .csv .ndjson .json .parquet .arrow
    #[arg(long = "output", id = "output", value_name = "URL or FILE")]
    pub(crate) to: Option<String>,
    /// Replace what is there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}
