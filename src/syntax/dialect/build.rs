//! Nodes of a canonical definition that stand for places of a foreign text.

use std::ops::Range;

use super::super::node::{Member, Node, NodeKind};
use crate::model::condition::Logic;

pub(super) fn text(span: &Range<usize>, value: &str) -> Node {
    Node { kind: NodeKind::Text(value.to_owned()), span: span.clone() }
}

pub(super) fn number(span: &Range<usize>, value: &impl ToString) -> Node {
    Node { kind: NodeKind::Number(value.to_string()), span: span.clone() }
}

pub(super) fn boolean(span: &Range<usize>, value: bool) -> Node {
    Node { kind: NodeKind::Boolean(value), span: span.clone() }
}

pub(super) fn list(span: &Range<usize>, values: Vec<Node>) -> Node {
    Node { kind: NodeKind::List(values), span: span.clone() }
}

pub(super) fn member(key: &str, value: Node) -> Member {
    Member { key: key.to_owned(), key_span: value.span.clone(), value }
}

pub(super) fn object(span: &Range<usize>, members: Vec<(&str, Node)>) -> Node {
    let members = members.into_iter().map(|(key, value)| member(key, value)).collect();
    Node { kind: NodeKind::Object(members), span: span.clone() }
}

/// A group of conditions; `word` is where it says how they join.
pub(super) fn group(span: &Range<usize>, (logic, word): (Logic, &Range<usize>), conditions: Vec<Node>) -> Node {
    object(span, vec![("logic", text(word, logic.keyword())), ("conditions", list(span, conditions))])
}

/// A group of conditions, or the only one.
pub(super) fn joined(span: &Range<usize>, join: (Logic, &Range<usize>), mut conditions: Vec<Node>) -> Node {
    match (conditions.pop(), conditions.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            conditions.extend(last);
            group(span, join, conditions)
        }
    }
}

/// The negation of a condition.
pub(super) fn negation(condition: Node) -> Node {
    let span = condition.span.clone();
    object(&span, vec![("not", condition)])
}

/// The members of a definition that a rule comes to: a group or a scoring is the rule itself, anything else the only condition of one.
pub(super) fn root_rule(rule: Node) -> Vec<Member> {
    let span = rule.span.clone();
    let is_whole = rule.member("logic").is_some() || rule.member("scoring").is_some();
    match rule.kind {
        NodeKind::Object(members) if is_whole => members,
        kind @ (NodeKind::Null
        | NodeKind::Boolean(_)
        | NodeKind::Number(_)
        | NodeKind::Text(_)
        | NodeKind::List(_)
        | NodeKind::Object(_)) => {
            let rule = Node { kind, span: span.clone() };
            vec![member("logic", text(&span, "and")), member("conditions", list(&span, vec![rule]))]
        }
    }
}

/// The same node, all of which stands at one place.
pub(super) fn at(span: &Range<usize>, node: Node) -> Node {
    let kind = match node.kind {
        NodeKind::List(values) => NodeKind::List(values.into_iter().map(|value| at(span, value)).collect()),
        NodeKind::Object(members) => NodeKind::Object(
            members
                .into_iter()
                .map(|Member { key, value, .. }| Member { key, key_span: span.clone(), value: at(span, value) })
                .collect(),
        ),
        scalar @ (NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_)) => scalar,
    };
    Node { kind, span: span.clone() }
}

/// Adds members to an object.
pub(super) fn extend(node: &mut Node, more: impl IntoIterator<Item = Member>) {
    match &mut node.kind {
        NodeKind::Object(members) => members.extend(more),
        NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::List(_) => {}
    }
}
