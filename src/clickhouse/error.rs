//! What may come of a statement, told so that a reader knows what to do.

use std::error::Error as StdError;

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

/// Numbers of errors, as ClickHouse lists them in `src/Common/ErrorCodes.cpp`.
mod codes {
    pub(super) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(super) const TIMEOUT_EXCEEDED: u32 = 159;
    pub(super) const MEMORY_LIMIT_EXCEEDED: u32 = 241;
    pub(super) const QUERY_WAS_CANCELLED: u32 = 394;
    /// Wrong password; required password; no such user.
    pub(super) const CREDENTIALS: [u32; 4] = [516, 193, 194, 192];
    /// No such column, identifier, table, database; not enough rights.
    pub(super) const ABSENT: [u32; 6] = [16, 36, 47, 60, 81, 497];
    /// The connection between servers broke, a replica or the coordinator is not there for a moment, merges lag behind.
    pub(super) const TRANSIENT: [u32; 14] = [
        TOO_MANY_SIMULTANEOUS_QUERIES,
        209, // SOCKET_TIMEOUT
        210, // NETWORK_ERROR
        212, // NO_ZOOKEEPER
        225, // NO_ZOOKEEPER
        242, // TABLE_IS_READ_ONLY
        252, // TOO_MANY_PARTS
        279, // ALL_CONNECTION_TRIES_FAILED
        285, // TOO_FEW_LIVE_REPLICAS
        286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319, // UNKNOWN_STATUS_OF_INSERT
        439, // CANNOT_SCHEDULE_TASK
        745, // SERVER_OVERLOADED
        999, // KEEPER_EXCEPTION
    ];
    /// Those of them that are told before anything is done.
    pub(super) const NOT_STARTED: [u32; 4] = [TOO_MANY_SIMULTANEOUS_QUERIES, 439, 745, 252];
}

/// Whether a statement that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It was not begun.
    NotStarted,
    /// It may have been done, in part or whole.
    Unclear,
    /// It would fail again.
    None,
}

impl Error {
    /// From what the client says of a query.
    pub(super) fn of(error: clickhouse::error::Error, url: &str, user: &str, query_id: &str) -> Self {
        use clickhouse::error::Error as Client;
        let text = match error {
            Client::BadResponse(text) => text,
            Client::Network(source) => return Self::Unreachable { url: url.to_owned(), source },
            Client::TimedOut => return Self::Timeout { query_id: query_id.to_owned() },
            other => return Self::Answer { source: Box::new(other) },
        };
        let (url, user, query_id) = (url.to_owned(), user.to_owned(), query_id.to_owned());
        let (code, message) = code_and_message(&text);
        match code {
            _ if codes::CREDENTIALS.contains(&code) => Self::Credentials { url, user },
            _ if codes::ABSENT.contains(&code) => Self::Absent { code, message },
            codes::TIMEOUT_EXCEEDED => Self::Timeout { query_id },
            codes::MEMORY_LIMIT_EXCEEDED => Self::Memory { query_id, message },
            codes::QUERY_WAS_CANCELLED => Self::Killed { query_id },
            _ => Self::Server { code, query_id, message },
        }
    }

    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { source, .. } => {
                let connects = source.downcast_ref::<hyper_util::client::legacy::Error>();
                let long = source.downcast_ref::<reqwest::Error>();
                if connects.is_some_and(hyper_util::client::legacy::Error::is_connect)
                    || long.is_some_and(reqwest::Error::is_connect)
                {
                    Remedy::NotStarted
                } else {
                    Remedy::Unclear
                }
            }
            Self::Server { code, .. } if codes::NOT_STARTED.contains(code) => Remedy::NotStarted,
            Self::Server { code, .. } if codes::TRANSIENT.contains(code) => Remedy::Unclear,
            _ => Remedy::None,
        }
    }

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

/// `Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE) (version 26.9)` as the number and what is between.
fn code_and_message(text: &str) -> (u32, String) {
    let after = text.split_once("Code: ").map(|(_, after)| after);
    let code = after.and_then(|after| after.split_once('.')?.0.parse().ok()).unwrap_or(0);
    let message = text.rsplit_once("DB::Exception: ").map_or(text, |(_, message)| message);
    let message = message.split(". (version ").next().unwrap_or(message);
    let message = message.split(" (version ").next().unwrap_or(message).trim();
    // One line: the server adds the query to some messages.
    let line = message.split(": In scope ").next().unwrap_or(message).split(": While ").next().unwrap_or(message);
    (code, line.lines().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Error {
        Error::of(clickhouse::error::Error::BadResponse(text.to_owned()), "http://h:8123", "me", "segmenta-1")
    }

    #[test]
    fn messages_say_what_is_wrong() {
        let unknown =
            of("Code: 60. DB::Exception: Table default.x does not exist. (UNKNOWN_TABLE) (version 26.9.1.1 (official build))");
        assert_eq!(unknown.to_string(), "Table default.x does not exist. (UNKNOWN_TABLE)");
        assert_eq!(unknown.remedy(), Remedy::None);
        let refused = of("Code: 516. DB::Exception: me: Authentication failed (AUTHENTICATION_FAILED)");
        assert_eq!(refused.to_string(), "the ClickHouse server at http://h:8123 does not accept the user `me` with this password");
        assert_eq!(of("Code: 202. DB::Exception: Too many simultaneous queries").remedy(), Remedy::NotStarted);
        assert_eq!(of("Code: 319. DB::Exception: Unknown status").remedy(), Remedy::Unclear);
        assert!(matches!(of("Code: 241. DB::Exception: Memory limit exceeded"), Error::Memory { .. }));
        assert_eq!(of("what").code(), Some(0));
    }
}
