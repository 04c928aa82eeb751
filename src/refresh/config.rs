//! `scheduler.toml`: where tables, definitions and the store are, and when work is done. Reads text that it is handed; the
//! environment comes in as a function, because only the command line may look at it.

mod server;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::server::{Placed, ServerSection, refuse_shared, refuse_without_source};
use crate::backend::TableRole;
use crate::backend::tables::{EngineSettings, EventSource, SubjectSource, TenantTables};
use crate::check::Limits;
use crate::clock::floor_to_micros;
use crate::diagnostic::nearest;
use crate::model::calendar::time_zone;
use crate::model::guard::MaxChange;
use crate::model::id::TenantId;
use crate::model::segment::{Keep, Keeping};
use crate::model::window::{Duration, Unit};
use crate::syntax::dialect;

pub use self::server::ServerConfig;

/// Everything that `scheduler.toml` says, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// What evaluates.
    pub backend: BackendKind,
    /// URL of the store, or its path seen from the working folder; where it is on a server, that server and its database.
    pub store: String,
    /// How the embedded engine works.
    pub engine: EngineSettings,
    /// The ClickHouse server, when one is configured, whether it evaluates or not.
    pub clickhouse: Option<ServerConfig>,
    /// When the scheduler works.
    pub scheduler: SchedulerConfig,
    /// At least one; ids are unique.
    pub tenants: Vec<TenantConfig>,
    /// The folder of the file, which the paths of tables are relative to.
    pub folder: PathBuf,
}

impl Config {
    /// The tenant with this id.
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<&TenantConfig> {
        self.tenants.iter().find(|tenant| tenant.id.as_str() == id)
    }

    /// The server that evaluates and keeps; `None` when that is done here.
    #[must_use]
    pub fn server(&self) -> Option<&ServerConfig> {
        match self.backend {
            BackendKind::DataFusion => None,
            BackendKind::ClickHouse => self.clickhouse.as_ref(),
        }
    }
}

/// What evaluates segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendKind {
    /// The embedded engine, over files.
    DataFusion,
    /// A ClickHouse server, where its tables are.
    ClickHouse,
}

/// When the scheduler works.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// How often a segment is recomputed that does not say so itself.
    pub default_refresh_interval: Duration,
    /// How many tenants are worked on at once; at least 1.
    pub max_concurrent_tenants: usize,
    /// When whole jobs are done.
    pub jobs: Jobs,
}

/// Cron expressions of the jobs of the scheduler, in each tenant's timezone; `None` = never.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Evaluates every active segment from all data.
    #[serde(default, deserialize_with = "cron")]
    pub full_evaluation: Option<Cron>,
    /// Recounts the snapshots, repairs recorded counts and logs the differences.
    #[serde(default, deserialize_with = "cron")]
    pub count_sync: Option<Cron>,
    /// Writes one daily history row per segment.
    #[serde(default, deserialize_with = "cron")]
    pub history_record: Option<Cron>,
    /// Puts the files of finished days together, and lets go of what is kept no longer.
    #[serde(default, deserialize_with = "cron")]
    pub compact: Option<Cron>,
    /// Deletes what nothing refers to any more.
    #[serde(default, deserialize_with = "cron")]
    pub gc: Option<Cron>,
    /// Checks the laws of the store, and logs what breaks them.
    #[serde(default, deserialize_with = "cron")]
    pub verify: Option<Cron>,
}

/// An owner of definitions and tables.
#[derive(Debug, Clone)]
pub struct TenantConfig {
    /// Unique in the file.
    pub id: TenantId,
    /// The timezone of its local days and cron expressions.
    pub timezone: TimeZone,
    /// Files, folders and globs of definitions, as they are opened.
    pub definitions: Vec<PathBuf>,
    /// The instant at which the tenant's clock stands still, for demonstrations and tests.
    pub as_of: Option<Timestamp>,
    /// How much of a segment one run may change that does not say so itself; `None` = any part.
    pub max_change: Option<MaxChange>,
    /// How large its definitions may be.
    pub limits: Limits,
    /// How long records are kept of segments that do not say so themselves.
    pub keeping: Keeping,
    /// Where its tables are.
    pub tables: TenantTables,
    /// What names in definitions of other systems stand for.
    pub dialects: dialect::Settings,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{location}: {problem}")]
pub struct ConfigError {
    /// `file:line`, or the file alone.
    pub location: String,
    /// What is wrong: lower case, one line.
    pub problem: String,
    /// What to do instead; a sentence of its own.
    pub help: Option<String>,
}

/// Reads the text of a configuration file.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse_config(path: &Path, text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let place = Place { path, text };
    let mut table = DeTable::parse(text).map_err(|error| place.toml_error(&error))?;
    expand_table(table.get_mut(), environment, &place)?;
    let deserializer = toml::Deserializer::from(table);
    let file = FileConfig::deserialize(deserializer).map_err(|error| place.toml_error(&error))?;
    file.resolve(&place)
}

/// A text and where it stands, to say where something is wrong.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, span: Option<Range<usize>>, problem: impl Into<String>, help: Option<String>) -> ConfigError {
        let file = self.path.display();
        let location = match span.and_then(|span| self.text.as_bytes().get(..span.start)) {
            Some(before) => format!("{file}:{}", 1 + before.iter().filter(|&&byte| byte == b'\n').count()),
            None => file.to_string(),
        };
        ConfigError { location, problem: problem.into(), help }
    }

    /// The message of the TOML reader, with a suggestion when it is about an unknown key.
    fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let problem = error.message().lines().next().unwrap_or_default().to_owned();
        let quoted: Vec<&str> = problem.split('`').skip(1).step_by(2).collect();
        let help = match quoted.split_first() {
            Some((unknown, known)) if problem.starts_with("unknown field") => suggestion(unknown, known),
            Some(_) | None => None,
        };
        self.error(error.span(), problem, help)
    }

    /// The folder of the file, seen from the working folder.
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// A store of the file: a URL stays, a path is seen from the working folder.
    fn resolve_location(&self, written: &str) -> String {
        if written.contains("://") { written.to_owned() } else { self.folder().join(written).to_string_lossy().into_owned() }
    }
}

fn suggestion(unknown: &str, known: &[&str]) -> Option<String> {
    nearest(unknown, known.iter().copied()).map(|near| format!("Did you mean `{near}`?"))
}

/// Replaces `${NAME}` in every string below.
fn expand_table(
    table: &mut DeTable<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    table.iter_mut().try_for_each(|(_, value)| expand_value(value, environment, place))
}

fn expand_value(
    value: &mut Spanned<DeValue<'_>>,
    environment: &dyn Fn(&str) -> Option<String>,
    place: &Place<'_>,
) -> Result<(), ConfigError> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => {
            if text.contains("${") {
                let expanded = expand_text(text, environment)
                    .map_err(|problem| place.error(Some(span), problem, Some("Set it before you start segmenta.".to_owned())))?;
                *text = expanded.into();
            }
            Ok(())
        }
        DeValue::Array(values) => values.iter_mut().try_for_each(|value| expand_value(value, environment, place)),
        DeValue::Table(table) => expand_table(table, environment, place),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => Ok(()),
    }
}

fn expand_text(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| "a `${` without its `}`".to_owned())?;
        expanded.push_str(before);
        expanded.push_str(&environment(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    store: Option<StoreSection>,
    #[serde(default)]
    engine: EngineSection,
    clickhouse: Option<ServerSection>,
    #[serde(default)]
    scheduler: SchedulerSection,
    #[serde(default)]
    limits: LimitsSection,
    tenants: Spanned<Vec<TenantSection>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LimitsSection {
    leaves: Option<usize>,
    depth: Option<usize>,
    list: Option<usize>,
    #[serde(deserialize_with = "size")]
    text: Option<u64>,
}

impl LimitsSection {
    fn resolve(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            leaves: self.leaves.unwrap_or(usual.leaves),
            depth: self.depth.unwrap_or(usual.depth),
            list: self.list.unwrap_or(usual.list),
            text: self.text.map_or(usual.text, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreSection {
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EngineSection {
    backend: Spanned<String>,
    #[serde(deserialize_with = "size")]
    memory_limit: Option<u64>,
    threads: usize,
    spill: Option<String>,
}

impl Default for EngineSection {
    fn default() -> Self {
        Self { backend: Spanned::new(0..0, "datafusion".to_owned()), memory_limit: None, threads: 0, spill: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SchedulerSection {
    #[serde(deserialize_with = "duration")]
    default_refresh_interval: Duration,
    max_concurrent_tenants: Spanned<usize>,
    jobs: Jobs,
}

impl Default for SchedulerSection {
    fn default() -> Self {
        Self {
            default_refresh_interval: Duration { amount: 60, unit: Unit::Second },
            max_concurrent_tenants: Spanned::new(0..0, 2),
            jobs: Jobs::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantSection {
    id: Spanned<TenantId>,
    #[serde(default = "utc")]
    timezone: Spanned<String>,
    definitions: Spanned<Vec<String>>,
    as_of: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "max_change")]
    max_change: Option<MaxChange>,
    #[serde(default, deserialize_with = "keep")]
    keep_snapshots: Option<Keep>,
    #[serde(default, deserialize_with = "keep")]
    keep_changes: Option<Keep>,
    #[serde(default, deserialize_with = "keep")]
    keep_history: Option<Keep>,
    users: Option<Spanned<SubjectSource>>,
    events: Option<Spanned<EventSource>>,
    products: Option<Spanned<SubjectSource>>,
    #[serde(default)]
    dialects: dialect::Settings,
}

fn utc() -> Spanned<String> {
    Spanned::new(0..0, "UTC".to_owned())
}

impl FileConfig {
    fn resolve(self, place: &Place<'_>) -> Result<Config, ConfigError> {
        let mut tenants: Vec<TenantConfig> = Vec::new();
        let mut tables = Vec::new();
        let span = self.tenants.span();
        let limits = self.limits.resolve();
        for section in self.tenants.into_inner() {
            let id_span = section.id.span();
            tables.push(section.spans());
            let tenant = section.resolve(place, limits)?;
            if tenants.iter().any(|other| other.id == tenant.id) {
                return Err(place.error(Some(id_span), format!("tenant `{}` stands here twice", tenant.id), None));
            }
            tenants.push(tenant);
        }
        if tenants.is_empty() {
            return Err(place.error(Some(span), "there is no tenant", Some("Add a `[[tenants]]` table.".to_owned())));
        }
        let backend = self.engine.backend(place)?;
        let store = self.store.map(|store| place.resolve_location(&store.url));
        let clickhouse = self.clickhouse.map(|section| section.resolve(store.as_deref(), place)).transpose()?;
        let placed = tenants.iter().zip(tables).map(|(tenant, spans)| Placed { tenant: &tenant.id, tables: &tenant.tables, spans });
        let placed: Vec<Placed<'_>> = placed.collect();
        let store = match (backend, &clickhouse) {
            (BackendKind::ClickHouse, Some(server)) => {
                refuse_shared(&placed, server, place)?;
                server.to_string()
            }
            (BackendKind::ClickHouse, None) => {
                let help = "Add it with the place of the server, such as `url = \"http://localhost:8123\"`.".to_owned();
                return Err(place.error(Some(self.engine.backend.span()), "there is no `[clickhouse]`", Some(help)));
            }
            (BackendKind::DataFusion, _) => {
                refuse_without_source(&placed, place)?;
                let help = || "Add `[store]` with a `url`: a folder, or the URL of an object store.".to_owned();
                store.ok_or_else(|| place.error(None, "missing field `store`", Some(help())))?
            }
        };
        Ok(Config {
            backend,
            store,
            engine: self.engine.resolve(place),
            clickhouse,
            scheduler: self.scheduler.resolve(place)?,
            tenants,
            folder: place.folder().to_owned(),
        })
    }
}

impl EngineSection {
    fn backend(&self, place: &Place<'_>) -> Result<BackendKind, ConfigError> {
        match self.backend.get_ref().as_str() {
            "datafusion" => Ok(BackendKind::DataFusion),
            "clickhouse" => Ok(BackendKind::ClickHouse),
            other => {
                let help = "The backends are `datafusion` and `clickhouse`.".to_owned();
                Err(place.error(Some(self.backend.span()), format!("unknown backend `{other}`"), Some(help)))
            }
        }
    }

    fn resolve(self, place: &Place<'_>) -> EngineSettings {
        EngineSettings {
            memory_limit: self.memory_limit,
            threads: self.threads,
            spill: self.spill.map(|folder| place.folder().join(folder)),
            batch_rows: 0,
        }
    }
}

impl SchedulerSection {
    fn resolve(self, place: &Place<'_>) -> Result<SchedulerConfig, ConfigError> {
        if *self.max_concurrent_tenants.get_ref() == 0 {
            let span = self.max_concurrent_tenants.span();
            return Err(place.error(Some(span), "`max_concurrent_tenants` must be at least 1", None));
        }
        Ok(SchedulerConfig {
            default_refresh_interval: self.default_refresh_interval,
            max_concurrent_tenants: self.max_concurrent_tenants.into_inner(),
            jobs: self.jobs,
        })
    }
}

impl TenantSection {
    /// Where its tables stand in the file.
    fn spans(&self) -> BTreeMap<TableRole, Range<usize>> {
        let subjects = [(TableRole::Users, &self.users), (TableRole::Products, &self.products)];
        let subjects = subjects.into_iter().filter_map(|(role, table)| Some((role, table.as_ref()?.span())));
        subjects.chain(self.events.iter().map(|table| (TableRole::Events, table.span()))).collect()
    }

    fn resolve(self, place: &Place<'_>, limits: Limits) -> Result<TenantConfig, ConfigError> {
        let timezone = time_zone(self.timezone.get_ref()).map_err(|error| {
            place.error(Some(self.timezone.span()), error.to_string(), Some("Use an IANA name such as `Europe/Berlin`.".to_owned()))
        })?;
        if self.definitions.get_ref().is_empty() {
            let help = "Name the folder of the definitions, such as `definitions = [\"queries/\"]`.";
            return Err(place.error(Some(self.definitions.span()), "`definitions` is empty", Some(help.to_owned())));
        }
        let as_of = self.as_of.map(|written| parse_instant(&written, place)).transpose()?;
        let definitions = self.definitions.get_ref().iter().map(|written| place.folder().join(written)).collect();
        let tables = TenantTables {
            timezone: self.timezone.into_inner(),
            users: self.users.map(Spanned::into_inner),
            events: self.events.map(Spanned::into_inner),
            products: self.products.map(Spanned::into_inner),
        };
        let keeping = Keeping { snapshots: self.keep_snapshots, changes: self.keep_changes, history: self.keep_history };
        let (id, max_change, dialects) = (self.id.into_inner(), self.max_change, self.dialects);
        Ok(TenantConfig { id, timezone, definitions, as_of, max_change, limits, keeping, tables, dialects })
    }
}

fn parse_instant(written: &Spanned<String>, place: &Place<'_>) -> Result<Timestamp, ConfigError> {
    let parsed: Result<Timestamp, _> = written.get_ref().parse();
    parsed.map(floor_to_micros).map_err(|_| {
        let help = "Write RFC 3339, such as `2026-01-01T00:00:00Z`.".to_owned();
        place.error(Some(written.span()), format!("`{}` is not an instant", written.get_ref()), Some(help))
    })
}

/// A cron expression of five fields, or six with seconds first.
///
/// # Errors
/// Why it is none, one line.
pub fn parse_cron(text: &str) -> Result<Cron, String> {
    Cron::from_str(text).map_err(|error| format!("`{text}` is not a cron expression: {error}"))
}

fn cron<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cron>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_cron(&text).map(Some).map_err(D::Error::custom)
}

/// The part of a segment that one run may change, such as `50%`.
fn max_change<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MaxChange>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

/// A positive number of bytes, such as `8GiB`, `500MB` or a plain integer.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Number(bytes) if bytes > 0 => Ok(Some(bytes)),
        Scalar::Number(_) => Err(D::Error::custom("a size must be positive")),
        Scalar::Text(text) => parse_size(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a size: write it like `8GiB` or `500MB`"))),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (amount, unit) = split_amount(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    amount.parse::<u64>().ok()?.checked_mul(factor).filter(|&bytes| bytes > 0)
}

/// A length of time such as `60s` or `5min`, or whole seconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Number(seconds) => u32::try_from(seconds)
            .ok()
            .filter(|&amount| amount > 0)
            .map(|amount| Duration { amount, unit: Unit::Second })
            .ok_or_else(|| D::Error::custom("an interval must be at least 1 second")),
        Scalar::Text(text) => parse_duration(&text).map_err(D::Error::custom),
    }
}

/// A length of time, or `forever`.
fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Keep>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "forever" => Ok(Some(Keep::Forever)),
        text => parse_duration(text).map(|duration| Some(Keep::For(duration))).map_err(D::Error::custom),
    }
}

/// How long to wait for something: a length of exact units such as `60s`, or whole seconds.
///
/// # Errors
/// Why it is none, one line.
pub fn parse_wait(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let Duration { amount, unit } = parse_duration(text)?;
    let seconds = unit.exact_seconds().and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = seconds.ok_or_else(|| format!("`{text}` is no wait: write it like `60s`, `5min` or `2h`"))?;
    Ok(std::time::Duration::from_secs(seconds * u64::from(amount)))
}

/// A length of time between two runs, where minutes and months cannot be confused.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (amount, unit) = split_amount(text);
    if unit == "m" {
        return Err(format!("`{text}` is ambiguous, did you mean `{amount}min`?"));
    }
    let unit = Unit::ALL.into_iter().find(|known| known.keyword() == unit);
    match (amount.parse::<u32>(), unit) {
        (Ok(amount), Some(unit)) if amount > 0 => Ok(Duration { amount, unit }),
        _ => Err(format!("`{text}` is not a length of time: write it like `60s`, `5min` or `12h`")),
    }
}

fn split_amount(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    (amount, unit.trim_start())
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number, or a text with a unit")]
enum Scalar {
    Number(u64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[store]\nurl = \"out\"\n[[tenants]]\nid = \"demo\"\ndefinitions = [\"queries/\"]\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let environment = |name: &str| (name == "BUCKET").then(|| "s3://there".to_owned());
        parse_config(Path::new("place/scheduler.toml"), text, &environment)
    }

    #[track_caller]
    fn assert_refused(text: &str, location: &str, problem: &str, help: Option<&str>) {
        let error = parse(text).unwrap_err();
        assert_eq!(error.location, location, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert_eq!(error.help.as_deref(), help, "{error}");
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!((config.store.as_str(), config.folder.as_path()), ("place/out", Path::new("place")));
        assert_eq!(config.scheduler.default_refresh_interval, Duration { amount: 60, unit: Unit::Second });
        assert_eq!(config.scheduler.max_concurrent_tenants, 2);
        assert!(config.scheduler.jobs.full_evaluation.is_none());
        assert_eq!(config.engine, EngineSettings::default());
        let tenant = config.tenant("demo").unwrap();
        assert_eq!(tenant.definitions, [Path::new("place/queries/")]);
        assert_eq!((tenant.tables.timezone.as_str(), tenant.as_of), ("UTC", None));
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
            store = { url = "${BUCKET}/store" }
            engine = { backend = "datafusion", memory_limit = "8GiB", threads = 3, spill = "tmp" }
            [scheduler]
            default_refresh_interval = "5min"
            max_concurrent_tenants = 7
            
            [scheduler.jobs]
            full_evaluation = "0 2 * * *"
            count_sync = "0 * * * *"
            history_record = "0 23 * * *"
            compact = "15 3 * * *"
            gc = "45 3 * * *"
            verify = "0 4 * * 0"
            [[tenants]]
            id = "demo"
            keep_snapshots = "90d"
            keep_changes = "forever"
            timezone = "Europe/Berlin"
            definitions = ["a/", "/b/*.json"]
            as_of = "2026-01-01T00:00:00.1234567Z"
            max_change = "50%"
            users = { source = "users.parquet", key = "id" }
            events = { source = ["a/", "b/"], timestamp = "at" }
            products = { source = "products.parquet", key = "id" }
            [tenants.dialects]
            tree.total_renders = { event_type = ["render_*", "export"], measure = "active_days", last = "90d" }
            tree.pricing_page_views = { property = "stats.pricing" }
            groups.fields = { lastEmailOpenedAt = "email.last_opened_at" }
            audience.fields = { created_at = "signed_up_at" }
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.store, "s3://there/store");
        let spill = Some(PathBuf::from("place/tmp"));
        assert_eq!(config.engine, EngineSettings { memory_limit: Some(8 << 30), threads: 3, spill, batch_rows: 0 });
        assert_eq!(config.scheduler.default_refresh_interval, Duration { amount: 5, unit: Unit::Minute });
        assert!(config.scheduler.jobs.count_sync.is_some() && config.scheduler.jobs.history_record.is_some());
        assert!(
            [&config.scheduler.jobs.compact, &config.scheduler.jobs.gc, &config.scheduler.jobs.verify]
                .iter()
                .all(|job| job.is_some())
        );
        let snapshots = Some(Keep::For(Duration { amount: 90, unit: Unit::Day }));
        assert_eq!(config.tenants[0].keeping, Keeping { snapshots, changes: Some(Keep::Forever), history: None });
        let tenant = &config.tenants[0];
        assert_eq!(tenant.definitions, [Path::new("place/a/"), Path::new("/b/*.json")]);
        assert_eq!(tenant.as_of, Some("2026-01-01T00:00:00.123456Z".parse().unwrap()));
        assert_eq!(tenant.max_change, "50%".parse().ok());
        assert!(tenant.tables.users.is_some() && tenant.tables.events.is_some() && tenant.tables.products.is_some());
        let dialects = &tenant.dialects;
        assert!(
            matches!(&dialects.tree.total_renders, Some(dialect::Feature::Events(events)) if events.measure.keyword() == "active_days")
        );
        assert!(matches!(&dialects.tree.pricing_page_views, Some(dialect::Feature::Property(path)) if path.keys().len() == 2));
        assert_eq!(dialects.groups.fields["lastEmailOpenedAt"].to_string(), "email.last_opened_at");
        assert_eq!(dialects.audience.fields["created_at"].to_string(), "signed_up_at");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_help() {
        let with = |more: &str| format!("{MINIMAL}{more}\n");
        assert_refused(&with("timzone = \"UTC\""), "place/scheduler.toml:6", "`timzone`", Some("Did you mean `timezone`?"));
        assert_refused(
            &with("[tenants.users]\nsource = \"a\"\nkee = \"id\""),
            "place/scheduler.toml:8",
            "`kee`",
            Some("Did you mean `key`?"),
        );
        let zone = "Use an IANA name such as `Europe/Berlin`.";
        assert_refused(&with("timezone = \"Mars/Base\""), "place/scheduler.toml:6", "Mars/Base", Some(zone));
        let instant = "Write RFC 3339, such as `2026-01-01T00:00:00Z`.";
        assert_refused(&with("as_of = \"yesterday\""), "place/scheduler.toml:6", "`yesterday` is not an instant", Some(instant));
        assert_refused(&with("keep_history = \"3m\""), "place/scheduler.toml:6", "did you mean `3min`?", None);
        let twice = with("[[tenants]]\nid = \"demo\"\ndefinitions = [\"q\"]");
        assert_refused(&twice, "place/scheduler.toml:7", "tenant `demo` stands here twice", None);
        let set = "Set it before you start segmenta.";
        assert_refused(&MINIMAL.replace("out", "${NOWHERE}/x"), "place/scheduler.toml:2", "`NOWHERE` is not set", Some(set));
        assert_refused("[store", "place/scheduler.toml:1", "", None);
        let engine = |engine: &str| format!("{MINIMAL}[engine]\n{engine}\n");
        let backends = "The backends are `datafusion` and `clickhouse`.";
        assert_refused(&engine("backend = \"duckdb\""), "place/scheduler.toml:7", "unknown backend `duckdb`", Some(backends));
        let users = "Say where the users are: a path, glob or URL, or a list of them.";
        assert_refused(&with("[tenants.users]\nkey = \"id\""), "place/scheduler.toml:6", "missing field `source`", Some(users));
        assert_refused(&engine("memory_limit = \"8 bananas\""), "place/scheduler.toml:7", "not a size", None);
        assert_refused(&with("max_change = 0.5"), "place/scheduler.toml:6", "expected a string", None);
        assert_refused(&with("max_change = \"half\""), "place/scheduler.toml:6", "write it like `50%`", None);
        let dialects = |dialects: &str| with(&format!("[tenants.dialects]\n{dialects}"));
        for (wrong, problem) in [
            ("tre.total_renders = {}", "unknown field `tre`"),
            ("tree.renders = { property = \"a\" }", "unknown field `renders`"),
            ("tree.total_renders = { property = \"a\", last = \"1d\" }", "not both"),
            ("tree.total_renders = { measure = \"sum\" }", "`sum` is no measure of a feature"),
            ("tree.total_renders = { event_type = [\"a*b\"] }", "`a*b` is no type of events"),
            ("groups.fields = { a = \"b..c\" }", "`b..c` is not a property path"),
        ] {
            let help = if wrong.starts_with("tre.") { Some("Did you mean `tree`?") } else { None };
            assert_refused(&dialects(wrong), "place/scheduler.toml:7", problem, help);
        }
        let scheduler = |scheduler: &str| format!("{MINIMAL}[scheduler]\n{scheduler}\n");
        for (wrong, problem) in [
            ("default_refresh_interval = \"5m\"", "did you mean `5min`?"),
            ("default_refresh_interval = 0", "at least 1 second"),
            ("max_concurrent_tenants = 0", "at least 1"),
            ("jobs = { count_sync = \"every day\" }", "not a cron expression"),
        ] {
            assert_refused(&scheduler(wrong), "place/scheduler.toml:7", problem, None);
        }
    }

    #[test]
    fn sizes_and_waits_have_units() {
        let sizes = [("1", 1), ("500 MB", 500_000_000), ("2KiB", 2048), ("1TiB", 1 << 40)];
        assert!(sizes.into_iter().all(|(text, bytes)| parse_size(text) == Some(bytes)));
        assert!(["", "0GiB", "GiB", "-1MB", "99999999999TiB"].into_iter().all(|text| parse_size(text).is_none()));
        let waits = [("0", 0), ("90", 90), ("60s", 60), ("2min", 120), ("1h", 3600)];
        assert!(waits.into_iter().all(|(text, seconds)| parse_wait(text) == Ok(std::time::Duration::from_secs(seconds))));
        assert!(["", "1d", "5m", "-1", "s"].into_iter().all(|text| parse_wait(text).is_err()));
    }
}
