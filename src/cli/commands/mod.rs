//! One file a command, or a few that show the same things.

pub(crate) mod backfill;
pub(crate) mod changes;
pub(crate) mod clickhouse;
pub(crate) mod compact;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod erase;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod members;
pub(crate) mod overlap;
pub(crate) mod overrides;
pub(crate) mod past;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod refresh;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod segments_of;
pub(crate) mod validate;
pub(crate) mod verify;

/// A part of a whole, from 0 to 1; `None` of an empty whole.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
    (whole > 0).then(|| part as f64 / whole as f64)
}
