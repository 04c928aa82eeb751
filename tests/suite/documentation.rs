//! The page on the language: every example on it is one, and means what the page says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use segmenta::check::{Limits, check};
use segmenta::diagnostic::Source;
use segmenta::model::operator::ValueType;
use segmenta::syntax::{Format, parse};
use serde_json::{Value as Json, json};

use crate::evaluators::{self, Evaluator};
use crate::golden;
use crate::reference::{self, Context};
use crate::scenario::{Members, Scenario, all_valid, explain};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("documentation::every_example_runs_and_agrees", every_example_runs),
        Trial::test("documentation::every_leaf_and_operator_has_an_example", every_leaf_and_operator_has_an_example),
        Trial::test("documentation::operators_hold_as_documented", operators_hold_as_documented),
    ]
}

fn page() -> Result<String, Failed> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/language.md"))?)
}

/// The conditions that the page shows: in blocks of JSON, and in the first column of tables.
fn examples(page: &str) -> Result<Vec<Json>, Failed> {
    let mut found = Vec::new();
    for block in page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        if block.starts_with("\"where\"") {
            let mut leaf: Json = serde_json::from_str(&format!("{{{block}}}"))?;
            leaf["type"] = json!("event");
            found.push(leaf);
            continue;
        }
        for example in serde_json::Deserializer::from_str(block).into_iter::<Json>() {
            found.push(example?);
        }
    }
    let lines: Vec<&str> = page.lines().collect();
    let mut header = "";
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        let Some(cells) = line.strip_prefix("| ") else { continue };
        let cell = cells.split(" | ").next().unwrap_or_default();
        if next.starts_with("|---") {
            header = cell;
            continue;
        }
        for code in cell.split('`').skip(1).step_by(2) {
            match header {
                "`measure`" => found.push(measured(code)?),
                "`window`" => found.push(json!({"type": "event", "window": serde_json::from_str::<Json>(code)?})),
                "`pattern`" => found.push(json!({"type": "lifecycle", "pattern": serde_json::from_str::<Json>(code)?})),
                _ => {}
            }
        }
    }
    // A form is shown, not a node.
    found.retain(|example| example.get("type").is_some() || example.get("scoring").is_some());
    Ok(found)
}

fn measured(code: &str) -> Result<Json, Failed> {
    let measure: Json = serde_json::from_str(&code.replace("property", "\"amount\"").replace("...", "\"amount\""))?;
    Ok(json!({"type": "event", "measure": measure, "operator": "gte", "value": 1}))
}

/// Each example as a segment of users, or of products, of the demo.
fn every_example_runs() -> Result<(), Failed> {
    let page = page()?;
    let examples = examples(&page)?;
    if examples.len() < 35 {
        return Err(format!("only {} examples", examples.len()).into());
    }
    let demo = golden::demo()?;
    let mut documents = golden::documents()?;
    let known = documents.len();
    for (index, example) in examples.iter().enumerate() {
        let product = ["product_attribute", "user_behavior_signal", "ai_visibility_metric"].map(|leaf| json!(leaf));
        let subject = if product.contains(&example["type"]) { "product" } else { "user" };
        let mut definition = json!({"id": format!("example-{index}"), "subject": subject});
        match example.get("scoring") {
            Some(scoring) => definition["scoring"] = scoring.clone(),
            None => {
                definition["logic"] = json!("and");
                definition["conditions"] = json!([example]);
            }
        }
        let source = Source::new(format!("example-{index}.json"), definition.to_string());
        documents.push(parse(&source, Format::Json).map_err(|text| format!("{example:#}\n{}", explain(&text.report)))?);
    }
    let checked = check(&documents, demo.engine.catalog(), &Limits::default());
    let segments = all_valid(&checked)?;
    let asked: BTreeSet<_> = documents[known..].iter().map(|document| document.definition().id.clone()).collect();
    let nobody = Members::new();
    let context = Context { catalog: demo.engine.catalog(), as_of: demo.as_of, stored: &nobody };
    let mut expected = reference::evaluate(&segments, &demo.rows, context);
    expected.retain(|id, _| asked.contains(id));
    let order = crate::engine::Order { segments: &segments, as_of: demo.as_of, stored: &nobody };
    let found = demo.engine.members(order, &asked)?;
    let different = evaluators::disagreements(&expected, &found);
    if different.is_empty() { Ok(()) } else { Err(format!("reference and engine differ: {different:?}").into()) }
}

fn every_leaf_and_operator_has_an_example() -> Result<(), Failed> {
    let page = page()?;
    let shown: BTreeSet<String> =
        examples(&page)?.iter().filter_map(|example| Some(example.get("type")?.as_str()?.to_owned())).collect();
    let leaves = [
        "user_attribute",
        "event",
        "lifecycle",
        "sequence",
        "segment",
        "compare",
        "top",
        "sample",
        "everyone",
        "user_behavior_signal",
        "ai_visibility_metric",
    ];
    if let Some(leaf) = leaves.iter().find(|leaf| !shown.contains(**leaf)) {
        return Err(format!("no example of `{leaf}`").into());
    }
    let operators = documented_operators(&page)?;
    for value_type in ValueType::ALL.into_iter().filter(|value_type| *value_type != ValueType::Price) {
        for operator in value_type.operators() {
            let is_shown = |documented: &Documented| {
                documented.value_type == value_type.keyword() && documented.test["operator"] == operator.keyword()
            };
            if !operators.iter().any(is_shown) {
                return Err(format!("no example of `{operator}` on `{}`", value_type.keyword()).into());
            }
        }
    }
    Ok(())
}

/// A row of a table of operators.
struct Documented {
    value_type: String,
    test: Json,
    /// The values as JSON, `None` for missing, for which it holds, and for which it does not.
    holds: Vec<Option<Json>>,
    fails: Vec<Option<Json>>,
}

fn documented_operators(page: &str) -> Result<Vec<Documented>, Failed> {
    let mut value_type = String::new();
    let mut found = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("#### `") {
            value_type = heading.trim_end_matches('`').to_owned();
        }
        let Some(row) = line.strip_prefix("| `{\"operator\"") else { continue };
        let row = format!("`{{\"operator\"{}", row.trim_end_matches(" |"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let [test, holds, fails] = cells.as_slice() else { return Err(format!("three cells, not {cells:?}").into()) };
        let test = serde_json::from_str(test.trim_matches('`'))?;
        found.push(Documented { value_type: value_type.clone(), test, holds: values(holds)?, fails: values(fails)? });
    }
    Ok(found)
}

fn values(cell: &str) -> Result<Vec<Option<Json>>, Failed> {
    let coded = cell.split('`').skip(1).step_by(2).map(|code| Ok(Some(serde_json::from_str(code)?)));
    let missing = cell.split('`').step_by(2).any(|text| text.contains("missing")).then_some(Ok(None));
    coded.chain(missing).collect()
}

fn operators_hold_as_documented() -> Result<(), Failed> {
    let documented = documented_operators(&page()?)?;
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut id_of = |value: &Option<Json>| {
        let doc = value.as_ref().map_or_else(|| "{}".to_owned(), |value| json!({"x": value}).to_string());
        let next = format!("u{}", ids.len());
        ids.entry(doc).or_insert(next).clone()
    };
    let mut segments = Vec::new();
    let mut wanted = Vec::new();
    for (index, Documented { value_type, test, holds, fails }) in documented.iter().enumerate() {
        let mut leaf = test.clone();
        leaf["type"] = json!("user_attribute");
        leaf["property"] = json!("doc.x");
        leaf["value_type"] = json!(value_type);
        segments.push(json!({"id": format!("s{index}"), "logic": "and", "conditions": [leaf]}));
        let each = |values: &[Option<Json>], id_of: &mut dyn FnMut(&Option<Json>) -> String| values.iter().map(id_of).collect();
        let (holds, fails): (Vec<String>, Vec<String>) = (each(holds, &mut id_of), each(fails, &mut id_of));
        wanted.push((format!("s{index}").parse()?, holds, fails));
    }
    let rows: Vec<Json> = ids.iter().map(|(doc, id)| json!({"user_id": id, "doc": doc})).collect();
    let file = json!({
        "what": "operators by example",
        "timezone": "UTC",
        "as_of": "2026-06-01T12:00:00Z",
        "users": {"columns": {"user_id": "text", "doc": "json"}, "key": "user_id", "rows": rows},
        "segments": segments,
    });
    let scenario = Scenario::parse(&file.to_string())?;
    for evaluator in Evaluator::available() {
        let (members, _) = evaluators::members(&scenario, evaluator)?;
        for ((id, holds, fails), documented) in wanted.iter().zip(&documented) {
            let of = &members[id];
            if holds.iter().any(|id| !of.contains(id)) || fails.iter().any(|id| of.contains(id)) {
                let docs: Vec<&String> = ids.iter().filter(|(_, id)| of.contains(*id)).map(|(doc, _)| doc).collect();
                return Err(format!("{evaluator:?}: {} on `{}` holds for {docs:?}", documented.test, documented.value_type).into());
            }
        }
    }
    Ok(())
}
