//! Why work could not be done, and what to do about it.

use std::path::PathBuf;

use jiff::Timestamp;

use super::config::ConfigError;
use crate::backend::BackendError;
use crate::clickhouse::Error as Server;
use crate::diagnostic::Report;
use crate::model::id::{SegmentId, TenantId};
use crate::plan::PlanError;
use crate::store::{EditAction, LedgerError};

/// Why work could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// Definitions are invalid, and nothing was done.
    #[error("{}", count_of_errors(.0))]
    Definitions(Report),
    /// Definitions are invalid, and a refresh of all of them was refused.
    #[error("{}", count_of_errors(.0))]
    Refused(Report),
    /// A place of definitions is missing, unreadable or empty.
    #[error("the definitions at `{path}` {problem}")]
    DefinitionFiles {
        /// The file, folder or glob.
        path: PathBuf,
        /// What is wrong, to be read after the path.
        problem: String,
        /// The cause below.
        #[source]
        source: Option<std::io::Error>,
    },
    /// There is no such segment.
    #[error("tenant `{tenant}` has no segment `{segment}`")]
    UnknownSegment {
        /// The tenant.
        tenant: TenantId,
        /// The segment.
        segment: SegmentId,
        /// One that may be meant.
        near: Option<SegmentId>,
    },
    /// What is asked for cannot be done with this segment.
    #[error("segment `{segment}` {problem}")]
    Segment {
        /// The segment.
        segment: SegmentId,
        /// Why not, to be read after the segment.
        problem: String,
    },
    /// A segment was computed at a later instant already.
    #[error("segment `{segment}` was computed as of {last}, which is later than {as_of}")]
    Past {
        /// The segment.
        segment: SegmentId,
        /// The instant of its last run.
        last: Timestamp,
        /// The instant that was asked for.
        as_of: Timestamp,
    },
    /// Instants of the past that make no sense.
    #[error("the instants make no sense: {problem}")]
    Backfill {
        /// What is wrong.
        problem: String,
        /// What to do instead.
        help: String,
    },
    /// An edit names subjects that are not there.
    #[error("{}", of_unknown(.segment, .subjects, *.action))]
    UnknownSubjects {
        /// The segment.
        segment: SegmentId,
        /// Those that are not in the universe; of an edit that clears, of whom nothing is decided. Ascending.
        subjects: Vec<String>,
        /// What should be done with them.
        action: EditAction,
    },
    /// Others refer to a segment that should end.
    #[error("segment `{segment}` cannot be deleted: {} refer to it", quoted(.referrers))]
    Referenced {
        /// The segment.
        segment: SegmentId,
        /// Who refers to it.
        referrers: Vec<SegmentId>,
    },
    /// Segments cannot be joined to a batch.
    #[error("the segments cannot be planned together")]
    Plan(#[from] PlanError),
    /// The tables cannot be evaluated.
    #[error("the tables of tenant `{tenant}` cannot be evaluated")]
    Backend {
        /// The tenant.
        tenant: TenantId,
        /// The cause below.
        #[source]
        source: BackendError,
    },
    /// The tables cannot be put onto a server.
    #[error("the tables of tenant `{tenant}` cannot be loaded")]
    Load {
        /// The tenant.
        tenant: TenantId,
        /// The cause below.
        #[source]
        source: Box<BackendError>,
    },
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Ledger(#[from] LedgerError),
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Correct a definition.
    Definition,
    /// Correct what was asked for, or the configuration.
    Request,
    /// Try again later: someone else is at work.
    Conflict,
    /// Make a file, table or service available.
    Unavailable,
    /// Repair the store, or use a newer version.
    Corrupt,
    /// Report a mistake of the program.
    Internal,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Definitions(_) | Self::Refused(_) => ErrorKind::Definition,
            Self::Config(_)
            | Self::UnknownSegment { .. }
            | Self::Segment { .. }
            | Self::Past { .. }
            | Self::UnknownSubjects { .. }
            | Self::Backfill { .. }
            | Self::Referenced { .. } => ErrorKind::Request,
            Self::DefinitionFiles { .. } => ErrorKind::Unavailable,
            Self::Plan(_) => ErrorKind::Internal,
            Self::Backend { source, .. } => kind_of(source),
            Self::Load { source, .. } => kind_of(source),
            Self::Ledger(source) => match source {
                LedgerError::Held { .. } | LedgerError::Fenced { .. } => ErrorKind::Conflict,
                LedgerError::NewerFormat { .. } | LedgerError::Corrupt { .. } => ErrorKind::Corrupt,
                LedgerError::Io { .. } => ErrorKind::Unavailable,
                LedgerError::UnknownSegment { .. } | LedgerError::Location { .. } | LedgerError::Uninitialised { .. } => {
                    ErrorKind::Request
                }
                LedgerError::Server { source, .. } => match source.as_ref() {
                    Server::Credentials { .. } | Server::Absent { .. } | Server::Version { .. } => ErrorKind::Request,
                    Server::Answer { .. } => ErrorKind::Internal,
                    Server::Unreachable { .. }
                    | Server::Timeout { .. }
                    | Server::Memory { .. }
                    | Server::Killed { .. }
                    | Server::Server { .. } => ErrorKind::Unavailable,
                },
            },
        }
    }

    /// What to do instead; a sentence of its own.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.help.clone(),
            Self::Definitions(_) => None,
            Self::Refused(_) => {
                Some("Correct them; `segmenta refresh --skip-invalid` goes on with their last valid forms.".to_owned())
            }
            Self::UnknownSegment { near, .. } => match near {
                Some(near) => Some(format!("Did you mean `{near}`?")),
                None => Some("`segmenta list` shows all of them.".to_owned()),
            },
            Self::Past { .. } => Some("A refresh goes forward only: give a later `--as-of`, or none.".to_owned()),
            Self::Backfill { help, .. } => Some(help.clone()),
            Self::UnknownSubjects { action, .. } => Some(match action {
                EditAction::Decide(_) => {
                    "Nothing was changed. `--skip-unknown` leaves them out, `--keep-unknown` decides about them for when they appear.".to_owned()
                }
                EditAction::Clear => "Nothing was changed. `--skip-unknown` leaves them out.".to_owned(),
            }),
            Self::Referenced { .. } => Some("Delete or change those first.".to_owned()),
            Self::Backend { source, .. } => help_of(source),
            Self::Load { source, .. } => help_of(source),
            Self::Ledger(error) => error.help(),
            Self::DefinitionFiles { .. } | Self::Segment { .. } | Self::Plan(_) => None,
        }
    }
}

fn kind_of(error: &BackendError) -> ErrorKind {
    match error {
        BackendError::Source { .. }
        | BackendError::DuplicateKeys { .. }
        | BackendError::Memory { .. }
        | BackendError::Server { .. } => ErrorKind::Unavailable,
        BackendError::Mapping { .. } => ErrorKind::Request,
        BackendError::Engine { .. } => ErrorKind::Internal,
    }
}

fn help_of(error: &BackendError) -> Option<String> {
    match error {
        BackendError::Source { help, .. } | BackendError::Mapping { help, .. } | BackendError::Server { help, .. } => help.clone(),
        BackendError::DuplicateKeys { .. } => {
            Some("Name the column that says which row wins, with `version = \"...\"`, or make the keys unique.".to_owned())
        }
        BackendError::Memory { source } => match source.downcast_ref::<Server>() {
            Some(server) => server.help(),
            None => Some("Raise `memory_limit` under `[engine]`.".to_owned()),
        },
        BackendError::Engine { .. } => None,
    }
}

fn count_of_errors(report: &Report) -> String {
    let errors = report.findings.iter().filter(|finding| finding.severity == crate::diagnostic::Severity::Error).count();
    match errors {
        1 => "a definition is invalid: 1 error".to_owned(),
        errors => format!("definitions are invalid: {errors} errors"),
    }
}

/// How many subjects a message names.
const NAMED: usize = 5;

fn of_unknown(segment: &SegmentId, subjects: &[String], action: EditAction) -> String {
    let named = subjects.iter().take(NAMED).map(|subject| format!("`{subject}`")).collect::<Vec<_>>().join(", ");
    let more = if subjects.len() > NAMED { ", ..." } else { "" };
    let count = subjects.len();
    let (subjects, are) = if count == 1 { ("subject", "is") } else { ("subjects", "are") };
    match action {
        EditAction::Decide(_) => format!("{count} {subjects} {are} not in the universe of segment `{segment}`: {named}{more}"),
        EditAction::Clear => format!("nothing is decided by hand about {count} {subjects} of segment `{segment}`: {named}{more}"),
    }
}

fn quoted(segments: &[SegmentId]) -> String {
    segments.iter().map(|segment| format!("`{segment}`")).collect::<Vec<_>>().join(", ")
}
