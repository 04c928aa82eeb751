//! A tenant's tables in memory, definitions over them, and who is in each: as data, so that a failure found by chance becomes a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bigdecimal::BigDecimal;
use jiff::Timestamp;
use segmenta::check::{self, Checked, CheckedSegment, Limits};
use segmenta::diagnostic::{Report, Source};
use segmenta::model::catalog::{Access, Catalog, EventTable, SubjectTable, Table, Universe};
use segmenta::model::id::SegmentId;
use segmenta::syntax::{self, Document, Format};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::reference::value::Row;
use crate::reference::{self, Context, MemoryTables};
use crate::tables::{self, Columns};

/// Members by segment.
pub(crate) type Members = BTreeMap<SegmentId, BTreeSet<String>>;

/// The scores of the members of segments that score, in billionths.
pub(crate) type Scores = BTreeMap<SegmentId, BTreeMap<String, u32>>;

/// Tables, definitions, and what was stored before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    /// What it is about.
    pub(crate) what: String,
    pub(crate) as_of: Timestamp,
    pub(crate) catalog: Catalog,
    pub(crate) tables: MemoryTables,
    /// The members of static and paused segments.
    pub(crate) stored: Members,
    /// The definitions, as JSON.
    pub(crate) segments: Vec<Json>,
    /// Who is in them, when that is known.
    pub(crate) expected: Members,
    /// With which scores, as they are shown.
    pub(crate) expected_scores: BTreeMap<SegmentId, BTreeMap<String, f64>>,
}

/// A scenario as it stands in a file. Properties that play a role are written as paths.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    timezone: String,
    as_of: Timestamp,
    users: Option<SubjectsFile>,
    products: Option<SubjectsFile>,
    events: Option<EventsFile>,
    #[serde(default)]
    stored: Members,
    segments: Vec<Json>,
    #[serde(default)]
    expected: Members,
    #[serde(default)]
    expected_scores: BTreeMap<SegmentId, BTreeMap<String, f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectsFile {
    columns: Columns,
    data: Option<String>,
    key: String,
    version: Option<String>,
    #[serde(default)]
    universe: Universe,
    rows: Vec<Map<String, Json>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsFile {
    columns: Columns,
    data: Option<String>,
    user_key: Option<String>,
    product_key: Option<String>,
    event_type: Option<String>,
    timestamp: String,
    event_id: Option<String>,
    #[serde(default)]
    deduplicate: bool,
    rows: Vec<Map<String, Json>>,
}

impl Scenario {
    /// The scenario of a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut memory = MemoryTables::default();
        let mut subjects = |file: Option<SubjectsFile>, into: fn(&mut MemoryTables) -> &mut Vec<Row>| -> Result<_, String> {
            let Some(file) = file else { return Ok(None) };
            *into(&mut memory) = rows_of(&file.columns, &file.rows)?;
            let table = Table { columns: file.columns, data: file.data };
            Ok(Some(SubjectTable {
                key: resolve(&table, &file.key)?,
                version: file.version.map(|path| resolve(&table, &path)).transpose()?,
                universe: file.universe,
                table,
            }))
        };
        let users = subjects(file.users, |tables| &mut tables.users)?;
        let products = subjects(file.products, |tables| &mut tables.products)?;
        let events = match file.events {
            None => None,
            Some(file) => {
                memory.events = rows_of(&file.columns, &file.rows)?;
                let table = Table { columns: file.columns, data: file.data };
                let role = |path: Option<String>| path.map(|path| resolve(&table, &path)).transpose();
                Some(EventTable {
                    user_key: role(file.user_key)?,
                    product_key: role(file.product_key)?,
                    event_type: role(file.event_type)?,
                    timestamp: resolve(&table, &file.timestamp)?,
                    event_id: role(file.event_id)?,
                    deduplicate: file.deduplicate,
                    table,
                })
            }
        };
        Ok(Self {
            what: file.what,
            as_of: file.as_of,
            catalog: Catalog { timezone: file.timezone, users, products, events },
            tables: memory,
            stored: file.stored,
            segments: file.segments,
            expected: file.expected,
            expected_scores: file.expected_scores,
        })
    }

    /// The text of a file.
    pub(crate) fn print(&self) -> String {
        let mut file = Map::new();
        let mut set = |key: &str, value: Json| file.insert(key.to_owned(), value);
        set("what", json!(self.what));
        set("timezone", json!(self.catalog.timezone));
        set("as_of", json!(self.as_of));
        let subjects = |table: &SubjectTable, rows: &[Row]| {
            json!({
                "columns": table.table.columns,
                "data": table.table.data,
                "key": table.key.to_string(),
                "version": table.version.as_ref().map(ToString::to_string),
                "universe": table.universe,
                "rows": rows_to_json(rows),
            })
        };
        if let Some(table) = &self.catalog.users {
            set("users", subjects(table, &self.tables.users));
        }
        if let Some(table) = &self.catalog.products {
            set("products", subjects(table, &self.tables.products));
        }
        if let Some(table) = &self.catalog.events {
            let role = |access: &Option<Access>| access.as_ref().map(ToString::to_string);
            let events = json!({
                "columns": table.table.columns,
                "data": table.table.data,
                "user_key": role(&table.user_key),
                "product_key": role(&table.product_key),
                "event_type": role(&table.event_type),
                "timestamp": table.timestamp.to_string(),
                "event_id": role(&table.event_id),
                "deduplicate": table.deduplicate,
                "rows": rows_to_json(&self.tables.events),
            });
            set("events", events);
        }
        set("stored", json!(self.stored));
        set("segments", json!(self.segments));
        set("expected", json!(self.expected));
        if !self.expected_scores.is_empty() {
            set("expected_scores", json!(self.expected_scores));
        }
        serde_json::to_string_pretty(&Json::Object(file)).expect("plain JSON")
    }

    /// The definitions, read and checked.
    pub(crate) fn check(&self) -> Result<Checked, String> {
        let documents: Vec<Document> = self.segments.iter().map(document).collect::<Result<_, _>>()?;
        Ok(check::check(&documents, &self.catalog, &Limits::default()))
    }

    /// The members by the reference evaluator.
    pub(crate) fn reference(&self, segments: &[&CheckedSegment]) -> Members {
        reference::evaluate(segments, &self.tables, self.context())
    }

    /// The scores of all subjects by the reference evaluator.
    pub(crate) fn reference_scores(&self, segments: &[&CheckedSegment]) -> BTreeMap<SegmentId, BTreeMap<String, BigDecimal>> {
        reference::evaluate_scores(segments, &self.tables, self.context())
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { catalog: &self.catalog, as_of: self.as_of, stored: &self.stored }
    }
}

/// The checked segments, when every definition fits.
pub(crate) fn all_valid(checked: &Checked) -> Result<Vec<&CheckedSegment>, String> {
    if checked.report.has_errors() {
        return Err(explain(&checked.report));
    }
    checked.segments.values().map(|segment| segment.as_ref().map_err(explain)).collect()
}

/// A definition's text, decoded.
fn document(definition: &Json) -> Result<Document, String> {
    let text = serde_json::to_string_pretty(definition).expect("plain JSON");
    let name = definition.get("id").and_then(Json::as_str).unwrap_or("definition").to_owned();
    syntax::parse(&Arc::new(Source { name, text: text.into() }), Format::Json).map_err(|text| explain(&text.report))
}

/// Every finding in a line, with the text it is about.
pub(crate) fn explain(report: &Report) -> String {
    let line = |finding: &segmenta::diagnostic::Finding| {
        let text = finding.source.as_ref().and_then(|source| source.text.get(finding.span.clone())).unwrap_or_default();
        format!("{:?}: {} at `{text}`", finding.code, finding.message)
    };
    report.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn resolve(table: &Table, path: &str) -> Result<Access, String> {
    let path = path.parse().map_err(|error| format!("{error}"))?;
    table.resolve(&path).map_err(|error| error.to_string())
}

fn rows_of(columns: &Columns, rows: &[Map<String, Json>]) -> Result<Vec<Row>, String> {
    let row = |row: &Map<String, Json>| {
        let cells = row.iter().map(|(name, json)| {
            let column_type = columns.get(name).ok_or_else(|| format!("no column `{name}`"))?;
            Ok((name.clone(), tables::from_json(column_type, json)))
        });
        cells.collect::<Result<Row, String>>()
    };
    rows.iter().map(row).collect()
}

fn rows_to_json(rows: &[Row]) -> Json {
    let row = |row: &Row| row.iter().map(|(name, value)| (name.clone(), tables::to_json(value))).collect::<Map<_, _>>();
    rows.iter().map(|cells| Json::Object(row(cells))).collect()
}
