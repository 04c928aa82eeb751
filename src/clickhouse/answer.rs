//! What the client says of a statement that failed, as an [`Error`], and whether it may be sent again.

use super::codes;
use super::error::Error;

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
