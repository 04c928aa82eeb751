//! `[clickhouse]` of `scheduler.toml`: which server evaluates and keeps, and what a query of it may take. Also what that asks of the tables
//! of tenants. No value of `password` stands in any message.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;
use url::Url;

use super::{ConfigError, Place, Scalar, parse_wait, size};
use crate::backend::TableRole;
use crate::backend::tables::TenantTables;
use crate::clickhouse::{Secret, Settings};
use crate::model::id::TenantId;
use crate::store::clickhouse::{Layout, Replication};

/// The most retries that are allowed: each pause is twice the one before, and nobody waits for hours.
const MOST_RETRIES: u32 = 10;

/// A server, and how tables are kept there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// How it is reached, and what a query may take.
    pub settings: Settings,
    /// The cluster on all of whose servers tables are made; on the one at the URL when absent.
    pub cluster: Option<String>,
    /// How tables are kept.
    pub replication: Replication,
    /// Where the public files are written too; nowhere when absent.
    pub files: Option<String>,
}

impl ServerConfig {
    /// Where segmenta's own tables are, and how they are kept.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout { database: self.settings.database.clone(), cluster: self.cluster.clone(), replication: self.replication }
    }
}

/// Where it is, for people: `http://host:8123/database`.
impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.settings.url, self.settings.database)
    }
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerSection {
    url: Spanned<String>,
    #[serde(default = "default_word")]
    database: String,
    #[serde(default = "default_word")]
    user: String,
    #[serde(default)]
    password: Word,
    #[serde(default)]
    settings: IndexMap<String, Setting>,
    #[serde(default, deserialize_with = "limit")]
    query_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "limit")]
    connect_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "size")]
    memory_limit: Option<u64>,
    threads: Option<usize>,
    retries: Option<Spanned<u32>>,
    compression: Option<bool>,
    cluster: Option<String>,
    #[serde(default)]
    replicated: bool,
    publish_parquet: Option<Spanned<bool>>,
}

fn default_word() -> String {
    "default".to_owned()
}

/// A text that messages of the reader never quote.
#[derive(Default)]
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a password is a text")]
        enum Written {
            Text(String),
        }
        let Written::Text(text) = Written::deserialize(deserializer)?;
        Ok(Self(text))
    }
}

/// The value of a setting of the server.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a setting is a text, a number or a boolean")]
enum Setting {
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Setting {
    fn text(self) -> String {
        match self {
            Self::Flag(flag) => u8::from(flag).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// A length of time above zero, such as `60s` or `5min`, or whole seconds.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = match Scalar::deserialize(deserializer)? {
        Scalar::Number(seconds) => seconds.to_string(),
        Scalar::Text(text) => text,
    };
    match parse_wait(&text).map_err(D::Error::custom)? {
        Duration::ZERO => Err(D::Error::custom("a timeout must be at least 1 second")),
        limit => Ok(Some(limit)),
    }
}

impl ServerSection {
    /// `store` is the place of files, when there is one.
    pub(super) fn resolve(self, store: Option<&str>, place: &Place<'_>) -> Result<ServerConfig, ConfigError> {
        let files = match (&self.publish_parquet, store) {
            (Some(publish), None) if *publish.get_ref() => {
                let help = "Add `[store]` with a `url`: a folder, or the URL of an object store.".to_owned();
                return Err(place.error(Some(publish.span()), "`publish_parquet` needs a place for the files", Some(help)));
            }
            (Some(publish), Some(store)) if *publish.get_ref() => Some(store.to_owned()),
            _ => None,
        };
        let url = plain_url(&self.url, place)?;
        let usual = Settings::new(url, self.database);
        let retries = match self.retries {
            Some(retries) if *retries.get_ref() > MOST_RETRIES => {
                let help = "Each pause is twice the one before; 4 retries take about three seconds.".to_owned();
                return Err(place.error(Some(retries.span()), format!("`retries` is at most {MOST_RETRIES}"), Some(help)));
            }
            Some(retries) => retries.into_inner(),
            None => usual.retries,
        };
        let settings = Settings {
            user: self.user,
            password: Secret::new(self.password.0),
            settings: self.settings.into_iter().map(|(name, value)| (name, value.text())).collect(),
            query_timeout: self.query_timeout,
            connect_timeout: self.connect_timeout.unwrap_or(usual.connect_timeout),
            memory_limit: self.memory_limit,
            threads: self.threads,
            retries,
            compression: self.compression.unwrap_or(usual.compression),
            ..usual
        };
        let replication = if self.replicated { Replication::Replicated } else { Replication::None };
        Ok(ServerConfig { settings, cluster: self.cluster, replication, files })
    }
}

/// The URL of a server without a slash at its end. What is wrong with one is told without showing it: it may hold a password.
fn plain_url(written: &Spanned<String>, place: &Place<'_>) -> Result<String, ConfigError> {
    let wrong = |problem: &str, help: &str| place.error(Some(written.span()), problem, Some(help.to_owned()));
    let form = "Write it like `http://localhost:8123` or `https://clickhouse.example.com:8443`.";
    let credentials = || {
        let help = "Put them into `user` and `password`, such as `password = \"${CLICKHOUSE_PASSWORD}\"`.";
        wrong("`url` holds credentials", help)
    };
    let url = Url::parse(written.get_ref()).map_err(|_| {
        if written.get_ref().contains('@') { credentials() } else { wrong("`url` is not the URL of a server", form) }
    })?;
    let is_credential = |name: &str| name.eq_ignore_ascii_case("user") || name.eq_ignore_ascii_case("password");
    if !url.username().is_empty() || url.password().is_some() || url.query_pairs().any(|(name, _)| is_credential(&name)) {
        return Err(credentials());
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("`url` begins neither with `http://` nor with `https://`", form));
    }
    if url.query().is_some() || url.fragment().is_some() {
        let help = "Settings of the server belong into `settings`, and the database into `database`.";
        return Err(wrong("`url` holds more than the place of a server", help));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The tables of a tenant as its section has them, each with its place in the file.
pub(super) struct Placed<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) tables: &'a TenantTables,
    pub(super) spans: BTreeMap<TableRole, Range<usize>>,
}

/// Refuses tables of files that name none.
pub(super) fn refuse_without_source(placed: &[Placed<'_>], place: &Place<'_>) -> Result<(), ConfigError> {
    for Placed { tables, spans, .. } in placed {
        let sources = [
            (TableRole::Users, tables.users.as_ref().map(|users| &users.source)),
            (TableRole::Events, tables.events.as_ref().map(|events| &events.source)),
            (TableRole::Products, tables.products.as_ref().map(|products| &products.source)),
        ];
        for (role, source) in sources {
            if source.is_some_and(|source| source.0.is_empty()) {
                let help = format!("Say where the {role} are: a path, glob or URL, or a list of them.");
                return Err(place.error(spans.get(&role).cloned(), "missing field `source`", Some(help)));
            }
        }
    }
    Ok(())
}

/// Refuses a table of the server that two tenants read whole: each would have the rows of the other.
pub(super) fn refuse_shared(placed: &[Placed<'_>], server: &ServerConfig, place: &Place<'_>) -> Result<(), ConfigError> {
    let mut readers: BTreeMap<(String, String), (&TenantId, bool)> = BTreeMap::new();
    for Placed { tenant, tables, spans } in placed {
        for on_server in tables.on_server() {
            let (database, table) = on_server.name(tenant, &server.settings.database);
            let (shown, is_filtered) = (format!("{database}.{table}"), on_server.tenant_column.is_some());
            match readers.get(&(database.clone(), table.clone())) {
                Some((other, is_other_filtered)) if other != tenant && !(is_filtered && *is_other_filtered) => {
                    let problem = format!("tenants `{other}` and `{tenant}` would both read all of `{shown}`");
                    let help = "Name the column that says whose a row is in both, with `tenant_column`, or give each a table.";
                    return Err(place.error(spans.get(&on_server.role).cloned(), problem, Some(help.to_owned())));
                }
                Some(_) => {}
                None => {
                    readers.insert((database, table), (tenant, is_filtered));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, parse_config};
    use super::*;

    const TENANT: &str = "[[tenants]]\nid = \"demo\"\ndefinitions = [\"queries/\"]\n[tenants.users]\nkey = \"id\"\n";

    fn parse(server: &str, tenants: &str) -> Result<Config, ConfigError> {
        let environment = |name: &str| (name == "WORD").then(|| "hush hush".to_owned());
        let text = format!("[engine]\nbackend = \"clickhouse\"\n[clickhouse]\n{server}\n{tenants}");
        parse_config(Path::new("scheduler.toml"), &text, &environment)
    }

    #[track_caller]
    fn refused(server: &str, tenants: &str) -> ConfigError {
        let error = parse(server, tenants).unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        error
    }

    #[test]
    fn every_key_is_read_and_the_password_is_not_shown() {
        let text = "url = \"https://ch.example.com:8443/\"\ndatabase = \"marketing\"\nuser = \"me\"\npassword = \"${WORD}\"
            settings = { max_bytes_before_external_sort = 1000, optimize_read_in_order = true, log_comment = \"segments\" }
            query_timeout = \"5min\"\nconnect_timeout = 3\nmemory_limit = \"8GiB\"\nthreads = 4\nretries = 2\ncompression = false
            cluster = \"main\"\nreplicated = true";
        let config = parse(text, TENANT).unwrap();
        let server = config.server().unwrap();
        let Settings { url, database, user, settings, query_timeout, connect_timeout, memory_limit, threads, .. } =
            &server.settings;
        assert_eq!((url.as_str(), database.as_str(), user.as_str()), ("https://ch.example.com:8443", "marketing", "me"));
        assert_eq!(settings.values().collect::<Vec<_>>(), ["segments", "1000", "1"]);
        assert_eq!((*query_timeout, *connect_timeout), (Some(Duration::from_secs(300)), Duration::from_secs(3)));
        assert_eq!((*memory_limit, *threads), (Some(8 << 30), Some(4)));
        assert_eq!((server.settings.retries, server.settings.compression), (2, false));
        assert_eq!(server.layout().cluster.as_deref(), Some("main"));
        assert_eq!(server.layout().replication, Replication::Replicated);
        assert!(!format!("{config:?}").contains("hush"));
        assert_eq!(config.store, "https://ch.example.com:8443/marketing");
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let config = parse("url = \"http://localhost:8123\"", TENANT).unwrap();
        assert_eq!(config.server().unwrap().settings, Settings::new("http://localhost:8123", "default"));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let url = |url: &str| refused(&format!("url = \"{url}\""), TENANT);
        for wrong in
            ["http://me:hush@host:8123", "http://host:8123?password=hush", "http://me:hush hush@ho st:8123", "http://hush@host"]
        {
            let error = url(wrong);
            assert_eq!(
                (error.location.as_str(), error.problem.as_str()),
                ("scheduler.toml:4", "`url` holds credentials"),
                "{wrong}"
            );
            assert!(error.help.unwrap().contains("`password = \"${CLICKHOUSE_PASSWORD}\"`"));
        }
        assert!(url("clickhouse://host:9000").problem.contains("`http://`"));
        assert!(url("localhost").problem.contains("not the URL"));
        assert!(url("http://host:8123/?database=x").help.unwrap().contains("`database`"));
        let with = |more: &str| refused(&format!("url = \"http://h\"\n{more}"), TENANT);
        for (wrong, problem) in [
            ("passwrd = \"hush\"", "unknown field `passwrd`"),
            ("password = [\"hush\"]", "a password is a text"),
            ("query_timeout = 0", "at least 1 second"),
            ("query_timeout = \"5m\"", "did you mean `5min`?"),
            ("memory_limit = \"8 bananas\"", "not a size"),
            ("retries = 11", "`retries` is at most 10"),
        ] {
            let error = with(wrong);
            assert_eq!(error.location, "scheduler.toml:5", "{error}");
            assert!(error.problem.contains(problem), "{error}");
        }
        let missing = "[engine]\nbackend = \"clickhouse\"\n".to_owned() + TENANT;
        let missing = parse_config(Path::new("scheduler.toml"), &missing, &|_| None).unwrap_err();
        assert_eq!((missing.location.as_str(), missing.problem.as_str()), ("scheduler.toml:2", "there is no `[clickhouse]`"));
        assert!(missing.help.unwrap().contains("url = "));
    }

    #[test]
    fn a_table_of_the_server_has_one_reader_or_a_column_that_tells() {
        let server = "url = \"http://h\"";
        let tenant = |id: &str, table: &str| {
            format!("[[tenants]]\nid = \"{id}\"\ndefinitions = [\"q\"]\n[tenants.users]\nkey = \"id\"\n{table}\n")
        };
        let both = |one: &str, other: &str| tenant("a", one) + &tenant("b", other);
        assert!(parse(server, &both("", "")).is_ok());
        let shared = refused(server, &both("table = \"users\"", "table = \"users\"\ntenant_column = \"owner\""));
        assert_eq!(shared.problem, "tenants `a` and `b` would both read all of `default.users`");
        assert_eq!(shared.location, "scheduler.toml:14");
        assert!(refused(server, &both("", "table = \"a_users\"")).problem.contains("`default.a_users`"));
        let filtered = "table = \"users\"\ntenant_column = \"owner\"";
        assert!(parse(server, &both(filtered, filtered)).is_ok());
        assert!(parse(server, &both("table = \"users\"", "table = \"users\"\ndatabase = \"other\"")).is_ok());
    }
}
