//! [`Node`]: the tree that JSON, TOML and YAML have in common, each part with the bytes where it stands.

use std::ops::Range;

/// How deep a text may nest, whatever the limits of a definition say: every function over a tree recurses at most so far.
pub(super) const MAX_NESTING: usize = 128;

/// A value in a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) kind: NodeKind,
    /// Where it stands.
    pub(crate) span: Range<usize>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeKind {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, by the grammar of JSON, with the digits that the author wrote.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object; its keys differ.
    Object(Vec<Member>),
}

/// A key of an object and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_span: Range<usize>,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// What the value is, in an author's words.
    pub(crate) fn noun(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "null",
            NodeKind::Boolean(_) => "a boolean",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(_) => "a text",
            NodeKind::List(_) => "a list",
            NodeKind::Object(_) => "an object",
        }
    }

    /// The member of an object with this key.
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        match &self.kind {
            NodeKind::Object(members) => members.iter().find(|member| member.key == key),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::List(_) => None,
        }
    }

    /// The element of a list at this position.
    pub(crate) fn element(&self, index: usize) -> Option<&Self> {
        match &self.kind {
            NodeKind::List(elements) => elements.get(index),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Object(_) => None,
        }
    }

    /// How many values it holds, itself included.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) => 1,
            NodeKind::List(elements) => 1 + elements.iter().map(Self::size).sum::<usize>(),
            NodeKind::Object(members) => 1 + members.iter().map(|member| member.value.size()).sum::<usize>(),
        }
    }

    /// How many values stand in each other at most, itself included.
    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) => 1,
            NodeKind::List(elements) => 1 + elements.iter().map(Self::depth).max().unwrap_or(0),
            NodeKind::Object(members) => 1 + members.iter().map(|member| member.value.depth()).max().unwrap_or(0),
        }
    }
}
