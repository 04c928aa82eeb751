//! Published cases of other projects, restated, where they are at hand: next to the repository, or where `SEGMENTA_SHARED` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use segmenta::model::catalog::{Access, Catalog, ColumnType, EventTable, SubjectTable, Table, Universe};
use segmenta::model::id::SegmentId;
use segmenta::model::scoring::Score;
use segmenta::syntax::dialect::{Dialect, Mapping, Settings};
use segmenta::syntax::print_json;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::dialects;
use crate::evaluators::{self, Evaluator};
use crate::reference::MemoryTables;
use crate::reference::value::Row;
use crate::scenario::{Members, Scenario};
use crate::tables::{self, Columns};
/// One line of a file of cases.
#[derive(Debug, Deserialize)]
struct Suite {
    suite: String,
    timezone: String,
    /// `None` when there is no such table.
    users: Option<Vec<Map<String, Json>>>,
    #[serde(default)]
    products: Vec<Map<String, Json>>,
    #[serde(default)]
    events: Vec<Map<String, Json>>,
    as_of: jiff::Timestamp,
    definitions: Vec<Json>,
    expected: Members,
    #[serde(default)]
    expected_scores: BTreeMap<SegmentId, BTreeMap<String, f64>>,
    #[serde(default)]
    expected_confidence: BTreeMap<SegmentId, BTreeMap<String, String>>,
    /// A definition of another system, which comes to one of `definitions`.
    dialect: Option<String>,
    input: Option<Json>,
    canonical_equivalent: Option<Json>,
    #[serde(default)]
    stored: Members,
    #[serde(default)]
    added: BTreeMap<String, Json>,
    #[serde(default)]
    removed: BTreeMap<String, Json>,
}

pub(crate) fn trials() -> Vec<Trial> {
    let folder = shared_folder().join("cases");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    if files.is_empty() {
        return vec![Trial::test("cases::no_folder_of_cases_is_at_hand", || Ok(())).with_ignored_flag(true)];
    }
    files.iter().flat_map(|file| of_file(file)).collect()
}

/// The folder of cases and data next to the repository.
pub(crate) fn shared_folder() -> PathBuf {
    std::env::var_os("SEGMENTA_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
}

fn of_file(file: &Path) -> Vec<Trial> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut trials = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let suite = match serde_json::from_str::<Suite>(line) {
            Ok(suite) => Arc::new(suite),
            Err(error) => {
                let error = error.to_string();
                trials.push(Trial::test(format!("cases::{stem}::line_{}", number + 1), move || Err(error.into())));
                continue;
            }
        };
        // Manual changes are not evaluated yet.
        let needs_more = !suite.added.is_empty() || !suite.removed.is_empty();
        for evaluator in Evaluator::ALL {
            let name = format!("cases::{stem}::{}::{}", suite.suite, evaluator.name());
            let suite = Arc::clone(&suite);
            let trial = evaluator.trial(name, move || run(&suite, evaluator));
            trials.push(if needs_more { trial.with_ignored_flag(true) } else { trial });
        }
        if let Some(dialect) = suite.dialect.as_deref().and_then(Dialect::from_keyword) {
            let name = format!("cases::{stem}::{}::imported", suite.suite);
            let suite = Arc::clone(&suite);
            trials.push(Trial::test(name, move || run_imported(&suite, dialect)).with_ignored_flag(needs_more));
        }
    }
    trials
}

/// The foreign definition of a case has the members that the case expects.
fn run_imported(suite: &Suite, dialect: Dialect) -> Result<(), Failed> {
    let mut scenario = to_scenario(suite);
    let (Some(input), Some(equivalent)) = (&suite.input, &suite.canonical_equivalent) else {
        return Err("the case lacks its foreign or its canonical form".into());
    };
    let settings = Settings::default();
    let mapping = Mapping { settings: &settings, users: scenario.catalog.users.as_ref().map(|users| &users.table) };
    let document = dialects::read_one("case.json", &serde_json::to_string_pretty(input)?, dialect, mapping)?;
    let mut definition: Json = serde_json::from_str(&print_json(document.definition()))?;
    definition["id"] = equivalent["id"].clone();
    let place = scenario.segments.iter_mut().find(|segment| segment["id"] == equivalent["id"]);
    *place.ok_or("no definition has the id of the canonical form")? = definition;
    Evaluator::available().try_for_each(|evaluator| compare(suite, &scenario, evaluator))
}

fn run(suite: &Suite, evaluator: Evaluator) -> Result<(), Failed> {
    compare(suite, &to_scenario(suite), evaluator)
}

fn compare(suite: &Suite, scenario: &Scenario, evaluator: Evaluator) -> Result<(), Failed> {
    let (found, scores) = evaluators::members(scenario, evaluator)?;
    let unexpected = evaluators::unexpected_scores(scenario, &scores);
    if !unexpected.is_empty() {
        return Err(unexpected.into());
    }
    for (segment, expected) in &suite.expected_confidence {
        let found: BTreeMap<String, &str> =
            scores.get(segment).into_iter().flatten().map(|(id, score)| (id.clone(), label(*score))).collect();
        let expected: BTreeMap<String, &str> = expected.iter().map(|(id, label)| (id.clone(), label.as_str())).collect();
        if found != expected {
            return Err(format!("confidence of `{segment}`: expected {expected:?}, got {found:?}").into());
        }
    }
    for (segment, expected) in &suite.expected {
        let found = found.get(segment);
        if found != Some(expected) {
            return Err(format!("`{segment}`: expected {expected:?}, got {found:?}").into());
        }
    }
    Ok(())
}

/// What a score in billionths is called.
fn label(billionths: u32) -> &'static str {
    Score::of_billionths(i64::from(billionths)).expect("a score").confidence().label()
}

fn to_scenario(suite: &Suite) -> Scenario {
    let mut memory = MemoryTables::default();
    let subjects = |rows: &[Map<String, Json>], key: &str| {
        let (columns, rows) = typed(rows, &[key]);
        let key = Access::column(key, columns[key].clone());
        (SubjectTable { table: Table { columns, data: None }, key, version: None, universe: Universe::Table }, rows)
    };
    let users = suite.users.as_ref().map(|rows| {
        let (table, rows) = subjects(rows, "user_id");
        memory.users = rows;
        table
    });
    let products = (!suite.products.is_empty()).then(|| {
        let (mut table, rows) = subjects(&suite.products, "product_id");
        memory.products = rows;
        table.table.data = table.table.columns.contains_key("data").then(|| "data".to_owned());
        table
    });
    let roles = ["event_id", "user_id", "product_id", "event_type", "timestamp"];
    let (columns, rows) = typed(&suite.events, &roles);
    memory.events = rows;
    let access = |name: &str| Access::column(name, columns[name].clone());
    let events = EventTable {
        user_key: Some(access("user_id")),
        product_key: Some(access("product_id")),
        event_type: Some(access("event_type")),
        timestamp: access("timestamp"),
        event_id: Some(access("event_id")),
        deduplicate: false,
        table: Table { columns: columns.clone(), data: None },
    };
    Scenario {
        what: suite.suite.clone(),
        as_of: suite.as_of,
        catalog: Catalog { timezone: suite.timezone.clone(), users, products, events: Some(events) },
        tables: memory,
        stored: suite.stored.clone(),
        segments: suite.definitions.clone(),
        expected: suite.expected.clone(),
        expected_scores: suite.expected_scores.clone(),
    }
}

/// Rows with the columns that they have, and `required` ones; the types by the values.
fn typed(rows: &[Map<String, Json>], required: &[&str]) -> (Columns, Vec<Row>) {
    let names: BTreeSet<&str> = rows.iter().flat_map(Map::keys).map(String::as_str).chain(required.iter().copied()).collect();
    let columns: Columns = names
        .into_iter()
        .map(|name| {
            let values = || rows.iter().filter_map(|row| row.get(name)).filter(|value| !value.is_null());
            (name.to_owned(), column_type(name, values))
        })
        .collect();
    let cell = |(name, json): (&String, &Json)| {
        let json = match (&columns[name], json) {
            (ColumnType::Json, value) if !value.is_null() => Json::String(value.to_string()),
            (_, value) => value.clone(),
        };
        (name.clone(), tables::from_json(&columns[name], &json))
    };
    let rows = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    (columns, rows)
}

fn column_type<'a, I: Iterator<Item = &'a Json>>(name: &str, values: impl Fn() -> I) -> ColumnType {
    if name == "timestamp" {
        ColumnType::Timestamp
    } else if values().next().is_none() || values().all(Json::is_string) {
        ColumnType::Text
    } else if values().all(Json::is_boolean) {
        ColumnType::Boolean
    } else if values().all(|value| value.as_i64().is_some()) {
        ColumnType::Integer
    } else if values().all(Json::is_number) {
        ColumnType::Float
    } else if values().all(|value| value.as_array().is_some_and(|elements| elements.iter().all(Json::is_string))) {
        ColumnType::List(Box::new(ColumnType::Text))
    } else {
        ColumnType::Json
    }
}
