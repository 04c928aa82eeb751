//! One expression in the syntax of SQL, and a rule as such an expression: `country IN ('US', 'CA') AND NOT in_segment('churned')`.
//!
//! An expression is parsed and never executed as SQL. It becomes the tree that a definition has in JSON, TOML and YAML, with the places of
//! its own text, so that whatever is wrong with a definition is found, and shown, the same way here.
//!
//! ```
//! use segmenta::diagnostic::Source;
//! use segmenta::model::condition::Subject;
//! use segmenta::syntax::{parse_expression, print_expression};
//!
//! let text = "country IN ('US', 'CA') AND events('order_completed', sum => 'price', last => '30d') >= 500";
//! let source = Source::new("expression", text);
//! let document = parse_expression(&source, &"big-spenders".parse().unwrap(), Subject::User).unwrap();
//! assert_eq!(print_expression(document.definition()).as_deref(), Some(text));
//! ```

mod build;
mod called;
mod events;
mod functions;
mod grammar;
mod place;
mod print;
mod read;
mod value;
mod wording;

use std::sync::Arc;
use std::thread;

pub(super) use print::print_condition;
pub use print::print_expression;
pub(super) use wording::reworded;

use super::decode::{self, Decoder, Place};
use super::node::{Member, Node, NodeKind};
use super::{Document, TextForm};
use crate::diagnostic::{Code, Finding, Report, Source};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use read::Reader;

/// Room for the parser, which recurses with large frames.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Reads the definition of a segment with one expression as its rule: every error of form in one pass.
///
/// As with [`parse`](super::parse), look at [`Document::report`]: what can be read of an expression with errors is checked with the
/// rest.
///
/// # Errors
/// The text is no expression.
pub fn parse_expression(source: &Arc<Source>, id: &SegmentId, subject: Subject) -> Result<Document, Report> {
    let work = || read_document(source, id, subject);
    thread::scope(|scope| match thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => {
            let finding = Finding::new(Code::TooLarge, "there is no memory to read an expression");
            Err(finding.at(source, 0..source.text.len()).into())
        }
    })
}

/// One expression as the condition of a definition; its places are those of the expression's own text.
///
/// # Errors
/// Everything that is wrong with its form.
pub(super) fn condition_of(text: &str, subject: Subject) -> Result<Node, Report> {
    let source = Source::new("expression", text);
    // INVARIANT: the text of the id is one.
    let id = "expression".parse::<SegmentId>().map_err(|_| Report::default())?;
    let document = parse_expression(&source, &id, subject)?;
    if document.report.has_errors() {
        return Err(document.report);
    }
    let NodeKind::Object(mut members) = document.root.kind else { return Err(Report::default()) };
    members.retain(|member| ["logic", "conditions"].contains(&member.key.as_str()));
    // What is no chain of conditions stands there as the only one.
    if let [Member { value: Node { kind: NodeKind::Text(logic), .. }, .. }, Member { value, .. }] = members.as_slice()
        && let ("and", NodeKind::List(conditions)) = (logic.as_str(), &value.kind)
        && let [only] = conditions.as_slice()
    {
        return Ok(only.clone());
    }
    Ok(Node { kind: NodeKind::Object(members), span: document.root.span })
}

fn read_document(source: &Arc<Source>, id: &SegmentId, subject: Subject) -> Result<Document, Report> {
    let parsed = grammar::parse(&source.text).map_err(|flaw| {
        let finding = Finding::new(flaw.code, flaw.message).at(source, decode::first_line(source, flaw.span));
        Report::from(match flaw.help {
            Some(help) => finding.with_help(help),
            None => finding,
        })
    })?;
    let mut reader = Reader { source, tokens: &parsed.tokens, findings: Vec::new() };
    let root = reader.definition(&parsed.expr, id, subject);
    let mut findings = reader.findings;
    let mut decoder = Decoder::new(source);
    let read = decode::definition(&mut decoder, &Place::root(&root));
    findings.extend(decoder.into_findings());
    let report = Report::of_text(findings);
    match read {
        Some(read) => Ok(Document {
            source: Arc::clone(source),
            definition: Arc::new(read.definition),
            root,
            size: source.text.len(),
            report,
            form: TextForm::Expression,
        }),
        // INVARIANT: what the reader makes is an object with an id.
        None => Err(report),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::syntax::node::{Node, NodeKind};

    fn plain(node: &Node) -> Value {
        match &node.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Boolean(value) => json!(value),
            NodeKind::Number(digits) => serde_json::from_str(digits).unwrap(),
            NodeKind::Text(text) => json!(text),
            NodeKind::List(values) => values.iter().map(plain).collect(),
            NodeKind::Object(members) => members.iter().map(|member| (member.key.clone(), plain(&member.value))).collect(),
        }
    }

    /// What an expression is translated to, before it is decoded: also of leaves that are not evaluated yet.
    #[test]
    fn an_expression_becomes_the_tree_of_a_definition() {
        for (text, expected) in [
            (
                "events('a', last => '30d') > 2.5 * events('b', sum => x)",
                json!({"type": "compare", "left": {"type": "event", "event_type": ["a"], "window": {"last": "30d"}}, "operator": "gt",
                    "right": {"type": "event", "event_type": ["b"], "measure": {"sum": "x"}}, "factor": 2.5}),
            ),
            (
                "value(spent, type => 'price') <> plan.price * 2",
                json!({"type": "compare", "left": {"property": "spent", "value_type": "price"}, "operator": "neq",
                    "right": {"property": "plan.price"}, "factor": 2}),
            ),
            (
                "days_since(seen) <= mean(a, b)",
                json!({"type": "compare", "left": {"property": {"days_since": "seen"}}, "operator": "lte",
                    "right": {"property": {"mean": ["a", "b"]}}}),
            ),
            (
                "top(events('a', sum => 'price', where => (x = 1)), count => 100)",
                json!({"type": "top", "by": {"type": "event", "event_type": ["a"], "where": [{"property": "x", "operator": "eq",
                    "value": 1}], "measure": {"sum": "price"}}, "count": 100}),
            ),
            (
                "top(value(spent, type => 'number'), percent => 0.5, order => 'asc')",
                json!({"type": "top", "by": {"property": "spent", "value_type": "number"}, "order": "asc", "percent": 0.5}),
            ),
            (
                "sequence(step('a', 'b'), step(where => (x = 1 AND y = 2)), step('c', absent => TRUE), within => '7d', same => p, \
                 from => '-60d')",
                json!({"type": "sequence", "steps": [{"event_type": ["a", "b"]}, {"where": [
                    {"property": "x", "operator": "eq", "value": 1}, {"property": "y", "operator": "eq", "value": 2}]},
                    {"event_type": ["c"], "absent": true}], "within": "7d", "same": ["p"], "window": {"from": "-60d"}}),
            ),
            (
                "sequence(step('a'), step('b'), same => ['p', q.\"r.s\"])",
                json!({"type": "sequence", "steps": [{"event_type": ["a"]}, {"event_type": ["b"]}], "same": ["p", "q[\"r.s\"]"]}),
            ),
            (
                "purchased_by_segment('vip', last => '30d') >= 10",
                json!({"type": "user_behavior_signal", "signal": "purchased_by_segment", "segment_id": "vip",
                    "window": {"last": "30d"}, "operator": "gte", "value": 10}),
            ),
            (
                "viewed_by_segment('vip', event_type => 'seen', product_id_property => item.id)",
                json!({"type": "user_behavior_signal", "signal": "viewed_by_segment", "segment_id": "vip", "event_type": "seen",
                    "product_id_property": "item.id"}),
            ),
        ] {
            let source = Source::new("expression", text);
            let document = parse_expression(&source, &"a".parse().unwrap(), Subject::User).unwrap();
            assert_eq!(plain(&document.root)["conditions"][0], expected, "{text}");
            assert_eq!(document.report.findings, [], "{text}");
        }
    }
}
