//! Arguments of the commands that read the store.

use clap::Args;
use jiff::Timestamp;

use super::instant;
use crate::model::id::SegmentId;

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
pub(crate) struct MembersArguments {
    /// The segment
    #[arg(value_name = "ID")]
    pub(crate) segment: SegmentId,
    /// At most this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only those whose id comes after this one
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ChangesArguments {
    /// The segment; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segment: Option<SegmentId>,
    /// Only of this subject
    #[arg(long, value_name = "ID")]
    pub(crate) subject: Option<String>,
    #[command(flatten)]
    pub(crate) range: RangeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The segment; all when left out
    #[arg(value_name = "ID")]
    pub(crate) segment: Option<SegmentId>,
    #[command(flatten)]
    pub(crate) range: RangeArguments,
}

/// Which rows of a log to read.
#[derive(Debug, Args)]
pub(crate) struct RangeArguments {
    /// Only at or after this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) from: Option<Timestamp>,
    /// Only before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) to: Option<Timestamp>,
    /// At most this many rows, the latest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct SegmentsOfArguments {
    /// The subject's id
    #[arg(value_name = "SUBJECT")]
    pub(crate) subject: String,
}
