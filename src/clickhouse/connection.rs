//! [`Connection`]: statements on their way to a server and back. A statement that may be sent twice is sent again when the connection
//! breaks or the server is busy; each carries an id that names the run it belongs to; what runs when its caller gives up is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use clickhouse::query::{BytesCursor, Query};
use clickhouse::{Client, Compression};
use clickhouse_ext_arrow::ArrowQueryExt as _;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::{BoxStream, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use uuid::Uuid;

use super::answer::Remedy;
use super::error::Error;
use super::form;
use super::settings::Settings;
use super::statement::{Statement, Value, quoted};

/// The oldest version that has every function that is used.
const LEAST_VERSION: (u32, u32) = (25, 3);

/// The first pause before a statement is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How much longer than its limit on the server a query is waited for.
const GRACE: Duration = Duration::from_secs(30);

/// What is meant with every query, whatever the server's defaults are.
const MEANING: &[(&str, &str)] = &[
    ("join_use_nulls", "1"),
    ("transform_null_in", "0"),
    ("union_default_mode", "ALL"),
    ("session_timezone", "UTC"),
    ("enable_positional_arguments", "0"),
    ("asterisk_include_alias_columns", "1"),
    ("asterisk_include_materialized_columns", "1"),
    ("prefer_column_name_to_alias", "0"),
    ("aggregate_functions_null_for_empty", "0"),
    // Statements may be long, and what is computed of one value is not computed again in each branch that mentions it.
    ("max_query_size", "1073741824"),
    ("max_ast_elements", "10000000"),
    ("max_expanded_ast_elements", "10000000"),
    ("short_circuit_function_evaluation", "disable"),
    ("use_variant_as_common_type", "0"),
    ("least_greatest_legacy_null_behavior", "0"),
    ("output_format_json_quote_64bit_integers", "0"),
    ("output_format_arrow_string_as_string", "1"),
    ("output_format_arrow_low_cardinality_as_dictionary", "0"),
];

/// A way to a server, cheap to clone. All clones count their statements together, and know which are running.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    /// What is set for every query.
    set: BTreeMap<String, String>,
    settings: Arc<Settings>,
    /// What the ids of its queries begin with.
    name: String,
    sent: Arc<AtomicU64>,
    running: Arc<Mutex<BTreeSet<String>>>,
}

/// What a statement took, as the server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Rows that were read.
    pub rows: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Rows that were written.
    pub written: u64,
    /// Bytes of the answer, as they came.
    pub received: u64,
    /// How long the server took.
    pub elapsed: Duration,
}

/// Rows, and what they took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What it took.
    pub effort: Effort,
}

/// Whether a statement does the same when it is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It only reads, or what it writes is the same.
    Harmless,
    /// It would write twice.
    Unwanted,
}

impl Connection {
    /// A way to a server; nothing is sent yet. `run` is part of the ids of its queries.
    #[must_use]
    pub fn new(settings: Settings, run: Uuid) -> Self {
        let compression = if settings.compression { Compression::Lz4 } else { Compression::None };
        let mut client = Client::default()
            .with_url(&settings.url)
            .with_user(&settings.user)
            .with_password(settings.password.reveal())
            .with_database(&settings.database)
            .with_compression(compression)
            .with_product_info("segmenta", env!("CARGO_PKG_VERSION"));
        let own = settings.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut set = BTreeMap::new();
        for (name, value) in own.chain(MEANING.iter().copied()) {
            client.set_setting(name, value);
            set.insert(name.to_owned(), value.to_owned());
        }
        let limits = [
            ("max_execution_time", settings.query_timeout.map(|limit| limit.as_secs().max(1).to_string())),
            ("max_memory_usage", settings.memory_limit.map(|bytes| bytes.to_string())),
            ("max_threads", settings.threads.filter(|threads| *threads > 0).map(|threads| threads.to_string())),
        ];
        for (name, value) in limits {
            if let Some(value) = value {
                client.set_setting(name, &value);
                set.insert(name.to_owned(), value);
            }
        }
        Self {
            client,
            set,
            settings: Arc::new(settings),
            name: format!("segmenta-{run}"),
            sent: Arc::default(),
            running: Arc::default(),
        }
    }

    /// The same server, for the queries of another run. The statements are counted on, so that no id is used twice.
    #[must_use]
    pub fn for_run(&self, run: Uuid) -> Self {
        Self { name: format!("segmenta-{run}"), ..self.clone() }
    }

    /// The same server, with more settings for every query, whatever the configuration says of them.
    #[must_use]
    pub fn with_settings(&self, settings: &[(&str, &str)]) -> Self {
        let mut with = self.clone();
        for (name, value) in settings {
            with.client.set_setting(*name, *value);
            with.set.insert((*name).to_owned(), (*value).to_owned());
        }
        with
    }

    /// The database that a table is in that names none.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.settings.database
    }

    /// Bytes that one query may use on the server, when that is said.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.settings.memory_limit
    }

    /// What the ids of all of its queries begin with.
    #[must_use]
    pub fn query_prefix(&self) -> &str {
        &self.name
    }

    /// Looks whether a server answers that is new enough; returns its version.
    ///
    /// # Errors
    /// When it does not, or is not.
    pub async fn check(&self) -> Result<String, Error> {
        let asked = self.rows::<(String,)>(Statement::new("SELECT version()"));
        let Ok(answer) = timeout(self.settings.connect_timeout, asked).await else {
            let source = format!("no answer within {} s", self.settings.connect_timeout.as_secs()).into();
            return Err(Error::Unreachable { url: self.settings.url.clone(), source });
        };
        let version = answer?.rows.pop().map(|(version,)| version).unwrap_or_default();
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if found < LEAST_VERSION {
            let least = format!("{}.{}", LEAST_VERSION.0, LEAST_VERSION.1);
            return Err(Error::Version { url: self.settings.url.clone(), found: version, least });
        }
        Ok(version)
    }

    /// The rows of a query, few enough to be held; each is a tuple of its columns.
    ///
    /// # Errors
    /// When the server refuses, or its rows are not of this shape.
    pub async fn rows<T: DeserializeOwned>(&self, statement: Statement) -> Result<Answer<T>, Error> {
        let (bytes, effort) = self.send(&statement, Repeat::Harmless).await?;
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<T>().collect::<Result<Vec<T>, _>>();
        let rows = rows.map_err(|source| Error::Answer { source: Box::new(source) })?;
        Ok(Answer { rows, effort })
    }

    /// The only row of a query.
    ///
    /// # Errors
    /// As [`Connection::rows`], and when there is none.
    pub async fn row<T: DeserializeOwned>(&self, statement: Statement) -> Result<T, Error> {
        let row = self.rows(statement).await?.rows.pop();
        row.ok_or_else(|| Error::Answer { source: "a row was expected, and there is none".into() })
    }

    /// Does a statement that does the same when it is done twice.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute(&self, statement: Statement) -> Result<Effort, Error> {
        Ok(self.send(&statement, Repeat::Harmless).await?.1)
    }

    /// Does a statement that must not be done twice: it is sent again only when it surely was not begun.
    ///
    /// # Errors
    /// When the server refuses, or nobody knows what came of it.
    pub async fn execute_once(&self, statement: Statement) -> Result<Effort, Error> {
        Ok(self.send(&statement, Repeat::Unwanted).await?.1)
    }

    /// The rows of a query as they come, as Arrow.
    ///
    /// # Errors
    /// When the server refuses; later ones come with the rows.
    pub async fn stream(
        &self,
        statement: Statement,
    ) -> Result<(Option<SchemaRef>, BoxStream<'static, Result<RecordBatch, Error>>), Error> {
        let query_id = self.next_id();
        let (url, user) = (self.settings.url.clone(), self.settings.user.clone());
        let fail = move |error, query_id: &str| Error::of(error, &url, &user, query_id);
        let query = self.query(&statement, &query_id);
        let mut cursor = query.fetch_arrow().map_err(|error| fail(error, &query_id))?;
        let first = cursor.next().await.map_err(|error| fail(error, &query_id))?;
        let schema = cursor.schema();
        let guard = self.guard(&query_id);
        let rest = futures::stream::unfold((cursor, guard, false), move |(mut cursor, mut guard, ended)| {
            let fail = fail.clone();
            async move {
                if ended {
                    return None;
                }
                match cursor.next().await {
                    Ok(Some(batch)) => Some((Ok(batch), (cursor, guard, false))),
                    Ok(None) => {
                        guard.done();
                        None
                    }
                    Err(error) => {
                        let error = fail(error, &guard.query_id);
                        Some((Err(error), (cursor, guard, true)))
                    }
                }
            }
        });
        Ok((schema, futures::stream::iter(first.map(Ok)).chain(rest).boxed()))
    }

    /// Puts batches into columns of the same names of a table, as they come.
    ///
    /// # Errors
    /// When the server refuses, or a batch is an error.
    pub async fn insert<E: From<Error>>(
        &self,
        table: &str,
        schema: &SchemaRef,
        mut batches: BoxStream<'_, Result<RecordBatch, E>>,
    ) -> Result<u64, E> {
        let columns = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
        let query_id = self.next_id();
        let fail = |error| E::from(Error::of(error, &self.settings.url, &self.settings.user, &query_id));
        let unwritten = |error: datafusion::arrow::error::ArrowError| E::from(Error::Answer { source: Box::new(error) });
        // Batches are compressed by themselves.
        let client = self.client.clone().with_setting("query_id", &query_id).with_compression(Compression::None);
        let compression = self.settings.compression.then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(compression).map_err(unwritten)?;
        let mut insert = client.insert_formatted_with(format!("INSERT INTO {table} ({columns}) FORMAT ArrowStream"));
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options).map_err(unwritten)?;
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            writer.write(&batch).map_err(unwritten)?;
            insert.send(std::mem::take(writer.get_mut()).into()).await.map_err(fail)?;
        }
        writer.finish().map_err(unwritten)?;
        insert.send(std::mem::take(writer.get_mut()).into()).await.map_err(fail)?;
        insert.end().await.map_err(fail)?;
        Ok(rows)
    }

    /// Stops the statements that are running, and waits until the server knows.
    pub async fn stop(&self) {
        let running: Vec<String> = self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        if !running.is_empty() {
            kill(&self.client, &running).await;
        }
    }

    fn next_id(&self) -> String {
        format!("{}-{}", self.name, self.sent.fetch_add(1, Ordering::Relaxed))
    }

    fn query(&self, statement: &Statement, query_id: &str) -> Query {
        let mut query = self.client.query_raw(&statement.text).with_setting("query_id", query_id);
        for (name, bound) in &statement.parameters {
            query = match &bound.value {
                Value::Text(text) => query.param(name, text),
                Value::Number(digits) => query.param(name, digits),
                Value::Texts(texts) => query.param(name, texts),
                Value::Integers(integers) => query.param(name, integers),
            };
        }
        query
    }

    /// The answer to a statement, whole.
    async fn send(&self, statement: &Statement, repeat: Repeat) -> Result<(Vec<u8>, Effort), Error> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let error = match self.send_once(statement).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match error.remedy() {
                Remedy::NotStarted => true,
                Remedy::Unclear => repeat == Repeat::Harmless,
                Remedy::None => false,
            };
            if !again || tries == self.settings.retries {
                return Err(error);
            }
            tries += 1;
            tracing::warn!(error = &error as &dyn std::error::Error, pause_ms = pause.as_millis(), "a statement is sent again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn send_once(&self, statement: &Statement) -> Result<(Vec<u8>, Effort), Error> {
        let query_id = self.next_id();
        tracing::debug!(query_id, "asks ClickHouse");
        let mut guard = self.guard(&query_id);
        let fail = |error| Error::of(error, &self.settings.url, &self.settings.user, &query_id);
        let answer = async {
            if form::is_long(statement) {
                let in_url = self.in_url(&query_id);
                return form::send(&self.settings, &in_url, statement).await.map_err(fail);
            }
            let query = self.query(statement, &query_id).with_setting("wait_end_of_query", "1");
            let mut cursor: BytesCursor = query.fetch_bytes("JSONCompactEachRow").map_err(fail)?;
            let bytes = cursor.collect().await.map_err(fail)?.to_vec();
            let summary = cursor.summary();
            let effort = Effort {
                rows: summary.and_then(|summary| summary.read_rows()).unwrap_or(0),
                bytes: summary.and_then(|summary| summary.read_bytes()).unwrap_or(0),
                written: summary.and_then(|summary| summary.written_rows()).unwrap_or(0),
                received: cursor.received_bytes(),
                elapsed: Duration::from_nanos(summary.and_then(|summary| summary.elapsed_ns()).unwrap_or(0)),
            };
            Ok((bytes, effort))
        };
        let found = match self.settings.query_timeout {
            Some(limit) => match timeout(limit + GRACE, answer).await {
                Ok(found) => found,
                // What is not done is stopped by the guard.
                Err(_) => return Err(Error::Timeout { query_id }),
            },
            None => answer.await,
        };
        guard.done();
        found
    }

    /// What stands in the URL of a statement that the client does not send.
    fn in_url(&self, query_id: &str) -> Vec<(String, String)> {
        let own = [
            ("database", self.settings.database.as_str()),
            ("default_format", "JSONCompactEachRow"),
            ("query_id", query_id),
            ("wait_end_of_query", "1"),
        ];
        let set = self.set.iter().map(|(name, value)| (name.clone(), value.clone()));
        own.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(set).collect()
    }

    fn guard(&self, query_id: &str) -> Running {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(query_id.to_owned());
        Running { client: self.client.clone(), running: Arc::clone(&self.running), query_id: query_id.to_owned(), done: false }
    }
}

/// Tells the server to stop statements. One that is over already is fine.
async fn kill(client: &Client, query_ids: &[String]) {
    let killed = client.query_raw("KILL QUERY WHERE query_id IN {ids:Array(String)} ASYNC").param("ids", query_ids).execute().await;
    if let Err(error) = killed {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, ?query_ids, "what nobody waits for any more could not be stopped on the server");
    }
}

/// A query that runs; it is stopped when nobody waits for it any more.
struct Running {
    client: Client,
    running: Arc<Mutex<BTreeSet<String>>>,
    query_id: String,
    done: bool,
}

impl Running {
    fn done(&mut self) {
        self.done = true;
        forget(&self.running, &self.query_id);
    }
}

fn forget(running: &Mutex<BTreeSet<String>>, query_id: &str) {
    running.lock().unwrap_or_else(PoisonError::into_inner).remove(query_id);
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (client, running, query_id) = (self.client.clone(), Arc::clone(&self.running), self.query_id.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                kill(&client, std::slice::from_ref(&query_id)).await;
                forget(&running, &query_id);
            });
        }
    }
}
