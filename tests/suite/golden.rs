//! Every example definition at every stage, over the demo tables: one snapshot a file. The members are the reference's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bigdecimal::BigDecimal;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use jiff::Timestamp;
use libtest_mimic::{Failed, Trial};
use segmenta::backend::tables::{Locations, TenantTables};
use segmenta::check::{self, Checked, CheckedRule, CheckedSegment, Limits};
use segmenta::diagnostic::Source;
use segmenta::ir::{self, OutlineNode};
use segmenta::model::id::SegmentId;
use segmenta::syntax::{self, Document, Format};

use crate::engine::{Engine, Order};
use crate::reference::score::{billionths, shown};
use crate::reference::value::Row;
use crate::reference::{self, Context, MemoryTables};
use crate::scenario::{Members, explain};
use crate::tables;

/// Ids on a line of a snapshot.
const IDS_A_LINE: usize = 12;

/// Ids with their scores on a line of a snapshot.
const SCORES_A_LINE: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    definition_files()
        .into_iter()
        .map(|file| {
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            Trial::test(format!("golden::{stem}"), move || snapshot(&stem, &file))
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn definition_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("queries")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| format_of(path).is_some());
    files.sort();
    files
}

pub(crate) fn format_of(path: &Path) -> Option<Format> {
    Format::from_file_name(path.file_name()?.to_str()?)
}

/// The demo tenant: opened once, read once.
pub(crate) struct Demo {
    pub(crate) engine: Engine,
    pub(crate) as_of: Timestamp,
    checked: Checked,
    pub(crate) rows: MemoryTables,
    members: Members,
    scores: BTreeMap<SegmentId, BTreeMap<String, BigDecimal>>,
}

pub(crate) fn demo() -> Result<&'static Demo, Failed> {
    static DEMO: OnceLock<Result<Demo, String>> = OnceLock::new();
    DEMO.get_or_init(open).as_ref().map_err(|error| error.clone().into())
}

/// The members of every definition of the library over the demo tables, as the reference finds them.
pub(crate) fn demo_members() -> Result<&'static Members, Failed> {
    Ok(&demo()?.members)
}

fn open() -> Result<Demo, String> {
    let (tables, as_of) = configuration()?;
    let engine = Engine::over_files(&tables, root())?;
    let documents = documents()?;
    let checked = check::check(&documents, engine.catalog(), &Limits::default());
    let rows = MemoryTables {
        users: tables.users.iter().map(|users| rows(&users.source)).collect::<Result<Vec<_>, _>>()?.concat(),
        products: tables.products.iter().map(|products| rows(&products.source)).collect::<Result<Vec<_>, _>>()?.concat(),
        events: tables.events.iter().map(|events| rows(&events.source)).collect::<Result<Vec<_>, _>>()?.concat(),
    };
    let mut demo = Demo { engine, as_of, checked, rows, members: Members::new(), scores: BTreeMap::new() };
    let context = Context { catalog: demo.engine.catalog(), as_of, stored: &Members::new() };
    demo.members = reference::evaluate(&segments(&demo.checked), &demo.rows, context);
    demo.scores = reference::evaluate_scores(&segments(&demo.checked), &demo.rows, context);
    Ok(demo)
}

/// The definitions of the library.
pub(crate) fn documents() -> Result<Vec<Document>, String> {
    let documents = definition_files().into_iter().map(|file| {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let source = Arc::new(Source { name: file.display().to_string(), text: text.into() });
        let format = format_of(&file).unwrap_or(Format::Json);
        syntax::parse(&source, format).map_err(|text| explain(&text.report))
    });
    documents.collect()
}

fn segments(checked: &Checked) -> Vec<&CheckedSegment> {
    checked.segments.values().flatten().collect()
}

/// The tables of the first tenant of the repository's configuration, and the instant that its clock is pinned to.
fn configuration() -> Result<(TenantTables, Timestamp), String> {
    let text = fs::read_to_string(root().join("scheduler.toml")).map_err(|error| error.to_string())?;
    let mut file: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let tenants = file.remove("tenants").ok_or("no tenants")?;
    let mut tenant = tenants.as_array().and_then(|tenants| tenants.first()?.as_table()).cloned().ok_or("no tenant")?;
    let as_of = tenant.get("as_of").and_then(toml::Value::as_str).unwrap_or("2026-01-01T00:00:00Z");
    let as_of = as_of.parse().map_err(|error: jiff::Error| error.to_string())?;
    tenant.retain(|key, _| ["timezone", "users", "events", "products"].contains(&key));
    let tables = toml::Value::Table(tenant).try_into().map_err(|error: toml::de::Error| error.to_string())?;
    Ok((tables, as_of))
}

/// The rows of the Parquet files of a table, read without the product.
fn rows(source: &Locations) -> Result<Vec<Row>, String> {
    let mut waiting: Vec<PathBuf> = source.0.iter().map(|location| root().join(location)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(|error| error.to_string())?;
            waiting.extend(entries.flatten().map(|entry| entry.path()));
            continue;
        }
        let file = fs::File::open(&path).map_err(|error| error.to_string())?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
        for batch in reader.map_err(|error| error.to_string())? {
            found.extend(tables::from_batch(&batch.map_err(|error| error.to_string())?));
        }
    }
    Ok(found)
}

fn snapshot(stem: &str, file: &Path) -> Result<(), Failed> {
    let demo = demo()?;
    let text = fs::read_to_string(file)?;
    let source = Arc::new(Source { name: stem.to_owned(), text: text.into() });
    let document = syntax::parse(&source, format_of(file).unwrap_or(Format::Json)).map_err(|text| explain(&text.report))?;
    let id = &document.definition().id;
    let segment = match demo.checked.segments.get(id) {
        Some(Ok(segment)) => segment,
        Some(Err(report)) => return Err(explain(report).into()),
        None => return Err(format!("`{id}` was not checked").into()),
    };
    let facets = facets(demo, segment)?;
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/suite/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(stem, facets));
    Ok(())
}

/// Every stage, and the members; an error when the backend finds others than the reference.
fn facets(demo: &Demo, segment: &CheckedSegment) -> Result<String, Failed> {
    let id = segment.id();
    let mut text = String::new();
    text += "# checked\n";
    match ir::outline(segment) {
        Some(root) => print_node(&mut text, &root, 0)?,
        None => text += "by hand\n",
    }
    let plain = ir::lower(segment);
    let normal = ir::normalize(plain.clone());
    writeln!(text, "\n# ir\n{:#?}", plain.rule)?;
    match normal == plain {
        true => text += "\n# normalized\nthe same\n",
        false => writeln!(text, "\n# normalized\n{:#?}", normal.rule)?,
    }
    if *segment.rule() == CheckedRule::Static {
        return Ok(text);
    }
    let segments = segments(&demo.checked);
    let stored = Members::new();
    let order = Order { segments: &segments, as_of: demo.as_of, stored: &stored };
    let asked = BTreeSet::from([id.clone()]);
    writeln!(text, "\n# plan\n{}", demo.engine.plan(segment.subject(), order, &asked)?)?;
    let nobody = BTreeSet::new();
    let expected = demo.members.get(id).unwrap_or(&nobody);
    let (found, scores) = demo.engine.members_and_scores(order, &asked)?;
    if found.get(id) != Some(expected) {
        return Err(format!("`{id}`: the reference finds {expected:?}, DataFusion {:?}", found.get(id)).into());
    }
    if let Some(expected) = demo.scores.get(id) {
        let scores = scores.get(id).ok_or("no scores")?;
        if scores.iter().any(|(subject, score)| billionths(&expected[subject]) != *score) {
            return Err(format!("`{id}`: the reference scores {expected:?}, DataFusion {scores:?}").into());
        }
        writeln!(text, "\n# members and scores: {}", scores.len())?;
        let shown: Vec<String> = scores.keys().map(|subject| format!("{subject} {}", shown(&expected[subject]).0)).collect();
        shown.chunks(SCORES_A_LINE).try_for_each(|line| writeln!(text, "{}", line.join("  ")))?;
        return Ok(text);
    }
    writeln!(text, "\n# members: {}", expected.len())?;
    for line in expected.iter().collect::<Vec<_>>().chunks(IDS_A_LINE) {
        writeln!(text, "{}", line.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" "))?;
    }
    Ok(text)
}

fn print_node(text: &mut String, node: &OutlineNode, depth: usize) -> Result<(), std::fmt::Error> {
    writeln!(text, "{}{}", "  ".repeat(depth), node.label)?;
    node.children.iter().try_for_each(|child| print_node(text, child, depth + 1))
}
