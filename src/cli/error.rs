//! Why a command failed, and the code that it exits with.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use datafusion::arrow::error::ArrowError;
use datafusion::parquet::errors::ParquetError;

use super::signals::Stop;
use crate::diagnostic::Report;
use crate::refresh::{Error, ErrorKind};
use crate::store::LedgerError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line asks for something that is not there.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// The work could not be done.
    #[error(transparent)]
    Work(Box<Error>),
    /// Subjects of a file are not what they should be.
    #[error("{error}; {places}")]
    Subjects {
        /// Where they stand in the file.
        places: String,
        /// What is wrong with them.
        error: Box<Error>,
    },
    /// A file that was named cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: String,
        /// The cause below.
        #[source]
        source: io::Error,
    },
    /// A file of results cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: String,
        /// The cause below.
        #[source]
        source: io::Error,
    },
    /// The demonstration data cannot be made.
    #[error("cannot make the data set")]
    Generate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The work was done, and some segments of it failed; they were reported.
    #[error("{failed} of {of} segments failed")]
    SegmentsFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// The work was done, and the results of some segments are held; they were reported.
    #[error("the results of {held} of {of} segments are held")]
    SegmentsHeld {
        /// Of how many.
        held: usize,
        /// Of how many that were computed.
        of: usize,
    },
    /// Records of the store break its laws; they were reported.
    #[error("the store breaks its laws in {faults} place{}", if *faults == 1 { "" } else { "s" })]
    Unlawful {
        /// How many.
        faults: usize,
    },
    /// A signal ended the command.
    #[error("stopped by a signal")]
    Stopped(Stop),
    /// Definitions are invalid; they were reported.
    #[error("invalid definitions")]
    Invalid,
    /// Definitions cannot be turned into another form.
    #[error("{problem}")]
    Untranslated {
        /// What came of it.
        problem: String,
        /// What is wrong with them.
        report: Report,
    },
    /// The program cannot start to work.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Results cannot be written.
    #[error("cannot write the results")]
    Output(#[from] io::Error),
    /// Results cannot be put into the format that was asked for.
    #[error("cannot format the results")]
    Format(#[source] ArrowError),
    /// Results cannot be put into Parquet.
    #[error("cannot format the results as Parquet")]
    Parquet(#[source] ParquetError),
}

impl From<ArrowError> for CliError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Self::Output(source),
            other => match csv_broken_pipe(&other) {
                true => Self::Output(io::Error::from(io::ErrorKind::BrokenPipe)),
                false => Self::Format(other),
            },
        }
    }
}

/// The CSV and JSON writers keep only the text of an error below them.
fn csv_broken_pipe(error: &ArrowError) -> bool {
    error.to_string().contains("Broken pipe")
}

impl From<ParquetError> for CliError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(source) => Self::Output(*source),
                Err(source) => Self::Parquet(ParquetError::External(source)),
            },
            other => Self::Parquet(other),
        }
    }
}

impl From<LedgerError> for CliError {
    fn from(error: LedgerError) -> Self {
        Error::from(error).into()
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Work(Box::new(error))
    }
}

impl CliError {
    /// Whether the reader of the results went away, which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What came of printing, where more is to be said after it: that nobody reads on changes no verdict.
    pub(crate) fn unless_unread(printed: Result<(), Self>) -> Result<(), Self> {
        match printed {
            Err(error) if error.is_broken_pipe() => Ok(()),
            other => other,
        }
    }

    /// What was wrong in definitions, when that is what it is about.
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Untranslated { report, .. } => Some(report),
            Self::Work(error) => match error.as_ref() {
                Error::Definitions(report) | Error::Refused(report) => Some(report),
                _ => None,
            },
            Self::Usage { .. }
            | Self::Subjects { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Generate(_)
            | Self::SegmentsFailed { .. }
            | Self::SegmentsHeld { .. }
            | Self::Unlawful { .. }
            | Self::Stopped(_)
            | Self::Invalid
            | Self::Runtime(_)
            | Self::Output(_)
            | Self::Format(_)
            | Self::Parquet(_) => None,
        }
    }

    /// The code to exit with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage { .. } => 2,
            Self::Work(error) if matches!(error.as_ref(), Error::UnknownSegment { .. }) => 2,
            Self::Invalid | Self::Untranslated { .. } => 3,
            Self::Work(error) => match error.kind() {
                ErrorKind::Definition => 3,
                ErrorKind::Request | ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Internal => 1,
            },
            Self::Subjects { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Generate(_)
            | Self::SegmentsFailed { .. }
            | Self::SegmentsHeld { .. }
            | Self::Unlawful { .. }
            | Self::Runtime(_)
            | Self::Output(_)
            | Self::Format(_)
            | Self::Parquet(_) => 1,
            Self::Stopped(stop) => stop.exit_code(),
        })
    }

    /// One line with the causes below it, and what to do.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("error: {self}\n");
        let mut cause = std::error::Error::source(self);
        while let Some(below) = cause {
            // Writing to a text does not fail.
            // Engines explain themselves at length: what follows the first line belongs under it.
            writeln!(text, "  because {}", below.to_string().trim_end().replace('\n', "\n    ")).ok();
            cause = below.source();
        }
        let help = match self {
            Self::Usage { help, .. } => help.clone(),
            Self::Work(error) => error.help(),
            Self::Subjects { error, .. } => error.help(),
            Self::SegmentsHeld { .. } => {
                Some("Look at them with `segmenta preview`; `segmenta refresh --accept` takes them over.".to_owned())
            }
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Generate(_)
            | Self::SegmentsFailed { .. }
            | Self::Unlawful { .. }
            | Self::Stopped(_)
            | Self::Invalid
            | Self::Untranslated { .. }
            | Self::Runtime(_)
            | Self::Output(_)
            | Self::Format(_)
            | Self::Parquet(_) => None,
        };
        if let Some(help) = help {
            writeln!(text, "  help: {help}").ok();
        }
        text
    }
}
