//! `explain`: why a subject is or is not in a segment.

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use futures::StreamExt as _;
use indexmap::IndexSet;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::preview::{evaluated_request, node_request};
use crate::backend::{Backend as _, Datum, Inspection};
use crate::check::CheckedRule;
use crate::cli::args::ExplainArguments;
use crate::cli::context::{Context, only_ready};
use crate::cli::error::CliError;
use crate::cli::render::{Column, Document, Listing};
use crate::ir::{OutlineNode, degree_alone, normalize_degree, outline};
use crate::model::decimal::Decimal;
use crate::model::id::SegmentId;
use crate::model::scoring::Score;
use crate::plan::{Batch, Leaf, Output, OutputName, Request};
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::ReadySegment;
use crate::refresh::place::ReadablePlace;
use crate::refresh::place::calendar_of;
use crate::store::{Ledger as _, ReadFilter};

/// A node with what it came to for the subject.
#[derive(Debug, Serialize)]
struct Explained {
    path: String,
    label: String,
    holds: bool,
    /// The value that a leaf compares; a node that compares none has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Datum>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    true_because_missing: bool,
    /// How well the node holds, in a segment that scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    degree: Option<f64>,
    /// How much it counts, when it is the condition of a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Self>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    path: &'a str,
    label: &'a str,
    holds: bool,
    value: Option<String>,
    true_because_missing: bool,
    degree: Option<f64>,
    weight: Option<f64>,
}

/// What people decided about the subject.
#[derive(Debug, Serialize)]
struct ByHand {
    action: String,
    reason: String,
    since: Timestamp,
}

impl ByHand {
    /// In words, to be read after who is or is not in the segment.
    fn text(&self) -> String {
        let Self { action, reason, since } = self;
        let how = match action.as_str() {
            "add" => "added",
            _ => "removed",
        };
        let source = if reason == "import" { "from a file" } else { "by hand" };
        format!(", {how} {source} on {since}")
    }
}

/// Evaluates every node of a segment for one subject and prints the tree.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &ExplainArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let as_of = context.as_of(tenant, arguments.as_of);
    let named = context.open_named(tenant, std::slice::from_ref(&arguments.segment), as_of).await?;
    let ready = only_ready(&named, tenant)?;
    let mut requests = vec![evaluated_request(&named.opened, ready)?];
    let tree = outline(&ready.checked);
    if let Some(tree) = &tree {
        tree.walk(&mut |node| {
            requests.push(node_request(ready, node));
            requests.extend(degree_request(ready, node));
        });
    }
    let batch = named.opened.plan(ready.record.subject, &requests, &calendar_of(tenant, as_of))?;
    let given = named.opened.given(&context.place, tenant, &batch).await?;
    let inspected = named.opened.backend.inspect(&batch, &given, &arguments.subject).await;
    let inspection = inspected.map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })?;
    let segment_id = &ready.logical.id;
    let found = Found { batch: &batch, inspection: &inspection, segment_id };
    let found_segment = found.output(&OutputName::Segment(segment_id.clone()));
    let member = found_segment.is_some_and(|(_, holds, _)| holds);
    let score = found_segment.and_then(|(_, _, score)| score);
    let in_universe = inspection.in_universe;
    // Of a subject that no segment can contain, no node says anything.
    let tree = tree.as_ref().filter(|_| in_universe).map(|tree| found.explain(tree));
    let subject_id = &arguments.subject;
    let verdict = match (in_universe, member) {
        (false, _) => format!("is not in the universe, so not in `{segment_id}`"),
        (true, true) => format!("is in `{segment_id}`"),
        (true, false) => format!("is not in `{segment_id}`"),
    };
    let scored = score.map(|score| format!(", with a score of {:.3} ({})", score.shown(), score.confidence().label()));
    let scored = scored.unwrap_or_default();
    let by_hand = by_hand(context, tenant, (segment_id, subject_id), as_of).await?;
    let decided = by_hand.as_ref().map(ByHand::text).unwrap_or_default();
    let mut text = format!("{} `{subject_id}` {verdict} as of {as_of}{scored}{decided}\n", ready.record.subject.keyword());
    let mut rows = Vec::new();
    if let Some(tree) = &tree {
        write_tree(tree, 0, &mut text);
        collect_rows(tree, &mut rows);
    }
    let columns = vec![
        ("path", Column::Text),
        ("label", Column::Text),
        ("holds", Column::Flag),
        ("value", Column::Text),
        ("true_because_missing", Column::Flag),
        ("degree", Column::Number),
        ("weight", Column::Number),
    ];
    let rows = Listing { columns, rows }.batch()?;
    let mut json = json!({
        "segment_id": segment_id,
        "subject_id": subject_id,
        "as_of": as_of,
        "in_universe": in_universe,
        "member": member,
        "rule": tree,
    });
    if let (Some(by_hand), Some(object)) = (&by_hand, json.as_object_mut()) {
        object.insert("override".to_owned(), json!(by_hand));
    }
    if let (CheckedRule::Scoring(scoring), Some(object)) = (ready.checked.rule(), json.as_object_mut()) {
        object.insert("score".to_owned(), json!(score.map(Score::shown)));
        object.insert("threshold".to_owned(), json!(scoring.threshold.to_f64()));
        object.insert("confidence".to_owned(), json!(score.map(|score| score.confidence().label())));
    }
    context.screen.document(&Document { text, json, rows })
}

/// The request for how well a node holds, when it has degrees.
fn degree_request(ready: &ReadySegment, node: &OutlineNode) -> Option<Request> {
    let name = OutputName::Degree(ready.logical.id.clone(), node.path.clone());
    let formula = degree_alone(normalize_degree(node.degree.as_ref()?));
    Some(Request { name, formula })
}

/// A batch and what it came to for the subject.
struct Found<'a> {
    batch: &'a Batch,
    inspection: &'a Inspection,
    segment_id: &'a SegmentId,
}

impl<'a> Found<'a> {
    /// What is asked for under a name, whether it holds, and its score when it has one.
    fn output(&self, name: &OutputName) -> Option<(&'a Output, bool, Option<Score>)> {
        let index = self.batch.position(name)?;
        let score = self.inspection.scores.get(index).copied().flatten();
        Some((self.batch.outputs.get(index)?, *self.inspection.outputs.get(index)?, score))
    }

    fn explain(&self, node: &OutlineNode) -> Explained {
        let found = self.output(&OutputName::Node(self.segment_id.clone(), node.path.clone()));
        let holds = found.is_some_and(|(_, holds, _)| holds);
        let degree = self.output(&OutputName::Degree(self.segment_id.clone(), node.path.clone()));
        let seen = match found {
            Some((_, _, Some(score))) => Some((Datum::Number(score.shown().to_string()), false)),
            Some((output, _, None)) if node.children.is_empty() => self.value(output),
            Some((_, _, None)) | None => None,
        };
        let (value, is_missing) = seen.map_or((None, false), |(value, is_missing)| (Some(value), is_missing));
        Explained {
            path: node.path.to_string(),
            label: node.label.clone(),
            holds,
            true_because_missing: holds && is_missing,
            value,
            degree: degree.and_then(|(_, _, degree)| degree).map(Score::shown),
            weight: node.weight.as_ref().map(Decimal::to_f64),
            children: node.children.iter().map(|child| self.explain(child)).collect(),
        }
    }

    /// The value of the feature that a leaf tests, and whether it is missing; of a pattern over several features all of them, as they
    /// are tested, and of a comparison both sides, of which one that is missing decides.
    fn value(&self, output: &Output) -> Option<(Datum, bool)> {
        let mut features = IndexSet::new();
        let mut compares = false;
        output.formula.for_each_leaf(&mut |leaf| match leaf {
            Leaf::Test(test) => features.extend(self.batch.tests.get(*test).map(|test| test.feature)),
            Leaf::Rank(ranking) => features.extend(self.batch.rankings.get(*ranking).map(|ranking| ranking.by)),
            Leaf::Compare(index) => {
                let compared = self.batch.comparisons.get(*index);
                compares = true;
                features.extend(compared.into_iter().flat_map(|compared| [compared.left, compared.right]));
            }
            Leaf::Score(_) | Leaf::Output(_) | Leaf::Given(_) => {}
        });
        let mut values = features.into_iter().filter_map(|feature| self.inspection.values.get(feature));
        match (values.next(), values.collect::<Vec<_>>().as_slice()) {
            (None, _) => None,
            (Some(only), []) => Some((only.clone(), *only == Datum::Missing)),
            (Some(first), more) => {
                let all = || std::iter::once(first).chain(more.iter().copied());
                let is_missing = compares && all().any(|value| *value == Datum::Missing);
                Some((Datum::List(all().map(plain).collect()), is_missing))
            }
        }
    }
}

fn write_tree(node: &Explained, depth: usize, text: &mut String) {
    let mark = if node.holds { "yes" } else { " no" };
    let value = match (&node.value, node.true_because_missing) {
        (None, _) => String::new(),
        (Some(_), true) => "   true because missing".to_owned(),
        (Some(value), false) => format!("   {}", in_words(value)),
    };
    let degree = node.degree.map(|degree| format!("   degree {degree:.3}")).unwrap_or_default();
    let weight = node.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
    text.push_str(&format!("{mark}  {}{}{value}{degree}{weight}\n", "  ".repeat(depth), node.label));
    for child in &node.children {
        write_tree(child, depth + 1, text);
    }
}

/// A value among others.
fn plain(value: &Datum) -> String {
    match value {
        Datum::Missing => "missing".to_owned(),
        Datum::Boolean(value) => value.to_string(),
        Datum::Number(text) | Datum::Text(text) | Datum::Instant(text) => text.clone(),
        Datum::List(texts) => texts.join(", "),
    }
}

fn in_words(value: &Datum) -> String {
    match value {
        Datum::Missing => "missing".to_owned(),
        Datum::Boolean(value) => format!("is {value}"),
        Datum::Number(value) | Datum::Instant(value) => format!("is {value}"),
        Datum::Text(value) => format!("is {value:?}"),
        Datum::List(values) => format!("is {values:?}"),
    }
}

fn collect_rows<'a>(node: &'a Explained, rows: &mut Vec<Row<'a>>) {
    let value = node.value.as_ref().and_then(|value| serde_json::to_value(value).ok());
    rows.push(Row {
        path: &node.path,
        label: &node.label,
        holds: node.holds,
        value: value.filter(|value| !value.is_null()).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        true_because_missing: node.true_because_missing,
        degree: node.degree,
        weight: node.weight,
    });
    for child in &node.children {
        collect_rows(child, rows);
    }
}

/// What people had decided about a subject of a segment at an instant.
async fn by_hand<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    (segment, subject): (&SegmentId, &str),
    at: Timestamp,
) -> Result<Option<ByHand>, CliError> {
    let filter = ReadFilter { subject: Some(subject.to_owned()), ..ReadFilter::of(segment) };
    let mut rows = context.place.ledger().read_overrides(&tenant.id, &filter).await.map_err(Error::from)?;
    let at = at.as_microsecond();
    let mut found = None;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(Error::from)?;
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let instant =
            |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let columns = (text("override"), text("reason"), instant("since"), instant("until"));
        let (Some(actions), Some(reasons), Some(since), Some(until)) = columns else { continue };
        let holds = |row: &usize| since.value(*row) <= at && (until.is_null(*row) || at < until.value(*row));
        if let Some(row) = (0..batch.num_rows()).rev().find(holds) {
            let since = Timestamp::from_microsecond(since.value(row)).unwrap_or(Timestamp::MIN);
            found = Some(ByHand { action: actions.value(row).to_owned(), reason: reasons.value(row).to_owned(), since });
        }
    }
    Ok(found)
}
