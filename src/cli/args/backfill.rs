//! What may stand behind `backfill`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::instant;
use crate::model::id::SegmentId;
use crate::model::window;
use crate::refresh::config::{parse_duration, parse_wait};

#[derive(Debug, Args)]
pub(crate) struct BackfillArguments {
    /// The segments
    #[arg(value_name = "ID", required = true)]
    pub(crate) segments: Vec<SegmentId>,
    /// The first instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) from: Timestamp,
    /// The last instant, if a step meets it
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(crate) to: Timestamp,
    /// How far apart the instants are, such as `1d`, `6h` or `1w`
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
    pub(crate) step: window::Duration,
    /// Leave the members of each instant as snapshots too, and not figures alone
    #[arg(long)]
    pub(crate) snapshots: bool,
    /// How long to wait for another writer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_wait)]
    pub(crate) wait: Duration,
}
