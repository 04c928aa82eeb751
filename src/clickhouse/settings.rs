//! How a server is reached, and what a query of it may take.

use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;

/// What is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A server, a database of it, and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `http://host:8123` or `https://host:8443`, without credentials.
    pub url: String,
    /// Where the tables of tenants and those of segmenta are, unless a table names another.
    pub database: String,
    /// Who asks.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Settings of the server for every query, by their names.
    pub settings: IndexMap<String, String>,
    /// How long one query may take; without a limit when absent.
    pub query_timeout: Option<Duration>,
    /// How long to wait until a connection stands.
    pub connect_timeout: Duration,
    /// Bytes that one query may use on the server; as the server has it when absent.
    pub memory_limit: Option<u64>,
    /// Threads of one query on the server; as the server has it when absent.
    pub threads: Option<usize>,
    /// How often a statement is sent again when the connection breaks or the server says that it is busy.
    pub retries: u32,
    /// Whether answers are compressed.
    pub compression: bool,
}

impl Settings {
    /// A server without password or limits.
    #[must_use]
    pub fn new(url: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            database: database.into(),
            user: "default".to_owned(),
            password: Secret::default(),
            settings: IndexMap::new(),
            query_timeout: None,
            connect_timeout: Duration::from_secs(10),
            memory_limit: None,
            threads: None,
            retries: 4,
            compression: true,
        }
    }
}
