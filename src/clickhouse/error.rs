//! What may come of a statement, told so that a reader knows what to do.

use std::error::Error as StdError;

use super::codes;

/// Why a statement did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server answers.
    #[error("the ClickHouse server at {url} cannot be reached")]
    Unreachable {
        /// Where, without credentials.
        url: String,
        /// The cause below.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// User and password are not accepted.
    #[error("the ClickHouse server at {url} does not accept the user `{user}` with this password")]
    Credentials {
        /// Where.
        url: String,
        /// Who.
        user: String,
    },
    /// A database, table or column is not there, or the user may not use it.
    #[error("{message}")]
    Absent {
        /// The server's number of the error.
        code: u32,
        /// What the server says.
        message: String,
    },
    /// The server is older than what is needed.
    #[error("the ClickHouse server at {url} has version {found}, and segmenta needs {least} or newer")]
    Version {
        /// Where.
        url: String,
        /// Its version.
        found: String,
        /// The oldest that will do.
        least: String,
    },
    /// It took too long.
    #[error("a query ran longer than `query_timeout` allows (query id {query_id})")]
    Timeout {
        /// Which.
        query_id: String,
    },
    /// It took too much memory.
    #[error("a query needs more memory than the server or `memory_limit` allows (query id {query_id}): {message}")]
    Memory {
        /// Which.
        query_id: String,
        /// What the server says.
        message: String,
    },
    /// Someone stopped it.
    #[error("the query {query_id} was stopped")]
    Killed {
        /// Which.
        query_id: String,
    },
    /// Whatever else the server says.
    #[error("ClickHouse error {code} (query id {query_id}): {message}")]
    Server {
        /// The server's number of the error.
        code: u32,
        /// Which query.
        query_id: String,
        /// What the server says.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("the answer of the ClickHouse server cannot be read")]
    Answer {
        /// The cause below.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// The number that the server gave the error; `None` when it is not the server's.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Absent { code, .. } | Self::Server { code, .. } => Some(*code),
            Self::Credentials { .. } => Some(516),
            Self::Timeout { .. } => Some(codes::TIMEOUT_EXCEEDED),
            Self::Memory { .. } => Some(codes::MEMORY_LIMIT_EXCEEDED),
            Self::Killed { .. } => Some(codes::QUERY_WAS_CANCELLED),
            Self::Unreachable { .. } | Self::Version { .. } | Self::Answer { .. } => None,
        }
    }

    /// What a reader can do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Unreachable { .. } => "Look at `url` in `[clickhouse]`; it is the HTTP port, usually 8123, or 8443 with https.",
            Self::Credentials { .. } => "Look at `user` and `password` in `[clickhouse]`.",
            Self::Absent { code: 497, .. } => "Grant the user what is missing.",
            Self::Absent { .. } => {
                "Look at `database` in `[clickhouse]` and at the tables of the tenant; `segmenta clickhouse init` creates segmenta's own."
            }
            Self::Version { .. } => "Update the server.",
            Self::Timeout { .. } => "Raise `query_timeout` in `[clickhouse]`, or look at what else the server does.",
            Self::Memory { .. } => "Raise `memory_limit` in `[clickhouse]`, or evaluate fewer segments at once.",
            Self::Killed { .. } | Self::Server { .. } | Self::Answer { .. } => return None,
        };
        Some(help.to_owned())
    }
}
