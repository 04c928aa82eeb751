//! Nodes with the places of an expression.

use std::ops::Range;

use crate::syntax::node::{Member, Node, NodeKind};

/// Stands for a condition that cannot be read.
pub(super) fn hole(span: Range<usize>) -> Node {
    let members = vec![word("logic", "and", span.clone()), member("conditions", list(Vec::new(), span.clone()))];
    object(span, members)
}

pub(super) fn member(key: &str, value: Node) -> Member {
    Member { key: key.to_owned(), key_span: value.span.clone(), value }
}

pub(super) fn word(key: &str, value: &str, span: Range<usize>) -> Member {
    member(key, text(value, span))
}

pub(super) fn text(value: &str, span: Range<usize>) -> Node {
    Node { kind: NodeKind::Text(value.to_owned()), span }
}

pub(super) fn list(values: Vec<Node>, span: Range<usize>) -> Node {
    Node { kind: NodeKind::List(values), span }
}

pub(super) fn object(span: Range<usize>, members: Vec<Member>) -> Node {
    Node { kind: NodeKind::Object(members), span }
}
