//! `preview`: who would be in a segment, without writing anything.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::backend::sets::{Sampled, Sets};
use crate::backend::{Backend, BackendError, MemberSet};
use crate::check::CheckedRule;
use crate::cli::args::{Of, PreviewArguments, Sample};
use crate::cli::context::{Context, Named, only_ready};
use crate::cli::error::CliError;
use crate::cli::foreign;
use crate::cli::observations;
use crate::cli::progress::Bar;
use crate::cli::render::{Column, Document, Listing};
use crate::ir::{OutlineNode, normalize_formula, outline};
use crate::model::decimal::Decimal;
use crate::model::scoring::Score;
use crate::plan::{OutputName, Request};
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;
use crate::refresh::definitions::ReadySegment;
use crate::refresh::place::{Opened, ReadablePlace, calendar_of};

#[derive(Debug, Serialize)]
struct Subject {
    subject_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// The count of a node.
#[derive(Debug, Serialize)]
struct Node {
    path: String,
    label: String,
    count: u64,
    /// How much it counts, when it is the condition of a rule of a score.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip)]
    depth: usize,
}

/// Evaluates a segment and prints its count, its share and a sample.
pub(crate) async fn execute<P: ReadablePlace>(context: &Context<P>, arguments: &PreviewArguments) -> Result<(), CliError> {
    let tenant = context.tenant()?;
    let as_of = context.as_of(tenant, arguments.as_of);
    let bar = Bar::new(context.screen);
    bar.say("evaluating");
    let named = open(context, tenant, arguments, as_of).await?;
    let ready = only_ready(&named, tenant)?;
    let mut requests = vec![evaluated_request(&named.opened, ready)?];
    let tree = arguments.breakdown.then(|| outline(&ready.checked)).flatten();
    if let Some(tree) = &tree {
        tree.walk(&mut |node| requests.push(node_request(ready, node)));
    }
    let batch = named.opened.plan(ready.record.subject, &requests, &calendar_of(tenant, as_of))?;
    let evaluation = named.opened.evaluate(&context.place, tenant, &batch).await?;
    drop(bar);
    observations::note_all(context.screen, ready.record.subject, &evaluation.observations);
    observations::detail_scans(context.screen, &evaluation.scans);
    observations::detail_effort(context.screen, ready.record.subject, &evaluation.effort);
    let members_of = |name: &OutputName| evaluation.outputs.get(batch.position(name)?);
    let segment_id = &ready.logical.id;
    let members = members_of(&OutputName::Segment(segment_id.clone()));
    let (count, universe) = (members.map_or(0, MemberSet::count), evaluation.universe.count());
    let sample = match members {
        Some(members) => {
            let sample = sample_of(&context.place.sets(context.run), members, arguments.sample).await;
            sample.map_err(unread(tenant))?
        }
        None => Vec::new(),
    };
    let nodes = tree.as_ref().map(|tree| {
        let mut nodes = Vec::new();
        collect_nodes(tree, 0, &mut nodes, &|node| {
            members_of(&OutputName::Node(segment_id.clone(), node.path.clone())).map_or(0, MemberSet::count)
        });
        nodes
    });
    let rows: Vec<Subject> =
        sample.into_iter().map(|(subject_id, score)| Subject { subject_id, score: score.map(Score::shown) }).collect();
    let mut json = json!({ "segment_id": segment_id, "as_of": as_of, "count": count, "universe": universe, "sample": rows });
    if let (Some(nodes), Some(object)) = (&nodes, json.as_object_mut()) {
        object.insert("breakdown".to_owned(), json!(nodes));
    }
    let share = super::share(count, universe).unwrap_or_default() * 100.0;
    let mut text =
        format!("{segment_id}: {count} of {universe} {}s ({share:.1} %) as of {as_of}\n", ready.record.subject.keyword());
    // Writing to a text does not fail.
    for node in nodes.iter().flatten() {
        let weight = node.weight.map(|weight| format!("   weight {weight}")).unwrap_or_default();
        writeln!(text, "{:>10}  {}{}{weight}", node.count, "  ".repeat(node.depth), node.label).ok();
    }
    if !rows.is_empty() {
        writeln!(text, "{}:", if rows.len() as u64 == count { "members" } else { "sample" }).ok();
        for Subject { subject_id, score } in &rows {
            let score = score.map(|score| format!("   {score:.3}")).unwrap_or_default();
            writeln!(text, "  {subject_id}{score}").ok();
        }
    }
    let is_scored = matches!(ready.checked.rule(), CheckedRule::Scoring(_));
    let rows = match &nodes {
        Some(nodes) => {
            let mut columns = vec![("path", Column::Text), ("label", Column::Text), ("count", Column::Count)];
            columns.extend(is_scored.then_some(("weight", Column::Number)));
            Listing { columns, rows: nodes.iter().collect() }.batch()?
        }
        None => {
            let mut columns = vec![("subject_id", Column::Text)];
            columns.extend(is_scored.then_some(("score", Column::Score)));
            Listing { columns, rows }.batch()?
        }
    };
    context.screen.document(&Document { text, json, rows })
}

/// The segment that is named, or the one that an expression defines.
async fn open<P: ReadablePlace>(
    context: &Context<P>,
    tenant: &TenantConfig,
    arguments: &PreviewArguments,
    as_of: Timestamp,
) -> Result<Named<P::Backend>, CliError> {
    let subject = match arguments.of {
        Of::Users => crate::model::condition::Subject::User,
        Of::Products => crate::model::condition::Subject::Product,
    };
    match (&arguments.expression, &arguments.segment, arguments.dialect) {
        (Some(expression), _, _) => context.open_expression(tenant, expression, subject, as_of).await,
        (None, Some(file), Some(dialect)) => {
            let draft = foreign::only_definition(context, tenant, Path::new(file), dialect).await?;
            context.open_draft(tenant, draft, as_of).await
        }
        (None, segment, _) => context.open_named(tenant, segment.as_slice(), as_of).await,
    }
}

/// The request for a segment that has a rule, or members that were added by hand.
pub(crate) fn evaluated_request<B: Backend>(opened: &Opened<B>, ready: &ReadySegment) -> Result<Request, CliError> {
    let problem = "is static: its members are added by hand, there is nothing to evaluate".to_owned();
    let is_static = || Error::Segment { segment: ready.logical.id.clone(), problem };
    Ok(opened.request_for(ready).ok_or_else(is_static)?)
}

/// The request for the subjects for which a node holds.
pub(crate) fn node_request(ready: &ReadySegment, node: &OutlineNode) -> Request {
    let name = OutputName::Node(ready.logical.id.clone(), node.path.clone());
    Request { name, formula: normalize_formula(&node.formula) }
}

fn collect_nodes(node: &OutlineNode, depth: usize, nodes: &mut Vec<Node>, count: &impl Fn(&OutlineNode) -> u64) {
    let weight = node.weight.as_ref().map(Decimal::to_f64);
    nodes.push(Node { path: node.path.to_string(), label: node.label.clone(), count: count(node), weight, depth });
    for child in &node.children {
        collect_nodes(child, depth + 1, nodes, count);
    }
}

/// As many members as were asked for.
pub(crate) async fn sample_of<S: Sets>(sets: &S, members: &S::Members, sample: Sample) -> Result<Vec<Sampled>, BackendError> {
    let limit = match sample {
        Sample::All => None,
        Sample::First(limit) => Some(limit),
    };
    sets.sample(members, limit).await
}

/// What a failure to look into members means to the command.
pub(crate) fn unread(tenant: &TenantConfig) -> impl Fn(BackendError) -> Error + Copy + '_ {
    |source| Error::Backend { tenant: tenant.id.clone(), source }
}
