//! A place in the tree, and the members of an object that may stand there.

use super::super::node::{Member, Node, NodeKind};
use super::{Decoder, list_words};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::path::{DocPath, Step};

/// A node and the way to it.
#[derive(Debug, Clone)]
pub(in crate::syntax) struct Place<'n> {
    pub(in crate::syntax) node: &'n Node,
    pub(in crate::syntax) path: DocPath,
}

impl<'n> Place<'n> {
    pub(in crate::syntax) fn root(node: &'n Node) -> Self {
        Self { node, path: DocPath::root() }
    }

    pub(in crate::syntax) fn elements(&self, nodes: &'n [Node]) -> Vec<Self> {
        nodes.iter().enumerate().map(|(index, node)| Self { node, path: self.path.index(index) }).collect()
    }

    /// What stands here, as a subject of a sentence.
    pub(in crate::syntax) fn title(&self) -> String {
        match self.path.steps().last() {
            None => "a definition".to_owned(),
            Some(Step::Key(key)) => format!("`{key}`"),
            Some(Step::Index(_)) => {
                let list = self.path.steps().iter().rev().find_map(|step| match step {
                    Step::Key(key) => Some(key.as_str()),
                    Step::Index(_) => None,
                });
                list.map_or_else(|| "a definition".to_owned(), |list| format!("an entry of `{list}`"))
            }
        }
    }
}

/// The members of an object, all of them known.
#[derive(Debug)]
pub(in crate::syntax) struct Fields<'n> {
    pub(in crate::syntax) place: Place<'n>,
    pub(in crate::syntax) members: &'n [Member],
}

impl<'n> Fields<'n> {
    pub(in crate::syntax) fn get(&self, key: &str) -> Option<Place<'n>> {
        let member = self.members.iter().find(|member| member.key == key)?;
        Some(Place { node: &member.value, path: self.place.path.key(key) })
    }

    pub(in crate::syntax) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    pub(in crate::syntax) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.has(key))
    }

    pub(in crate::syntax) fn keys(&self) -> impl Iterator<Item = &'n str> + use<'n> {
        self.members.iter().map(|member| member.key.as_str())
    }
}

impl Decoder<'_> {
    /// The members of an object, whatever their keys.
    pub(in crate::syntax) fn object<'n>(&mut self, place: &Place<'n>) -> Option<Fields<'n>> {
        match &place.node.kind {
            NodeKind::Object(members) => Some(Fields { place: place.clone(), members }),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::List(_) => {
                self.wrong_kind(place, "an object");
                None
            }
        }
    }

    /// Refuses every key that is none of the known ones.
    pub(in crate::syntax) fn known_keys(&mut self, fields: &Fields<'_>, known: &[&str]) {
        let absent: Vec<&str> = known.iter().copied().filter(|key| !fields.has(key)).collect();
        for member in fields.members {
            let key = member.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let help = match nearest(key, absent.iter().copied()) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("The keys here are {}.", list_words(known.iter().copied())),
            };
            self.unknown_key(fields, member, help);
        }
    }

    /// A key that means nothing here; it is marked itself, and not its value.
    pub(in crate::syntax) fn unknown_key(&mut self, fields: &Fields<'_>, member: &Member, help: String) {
        let finding = Finding::new(Code::UnknownKey, format!("unknown key `{}`", member.key))
            .at(self.source, member.key_span.clone())
            .with_help(help)
            .with_path(&fields.place.path.key(&member.key));
        self.findings.push(finding);
    }

    /// The value of a key that must be there. A key that nearly is the missing one is reported alone, as unknown.
    pub(in crate::syntax) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, known: &[&str]) -> Option<Place<'n>> {
        let found = fields.get(key);
        let misspelled = || fields.keys().any(|written| !known.contains(&written) && nearest(written, [key]).is_some());
        if found.is_none() && !misspelled() {
            let message = format!("{} lacks the key `{key}`", fields.place.title());
            self.refuse(&fields.place, Finding::new(Code::MissingKey, message));
        }
        found
    }

    /// Refuses keys that exclude each other.
    pub(in crate::syntax) fn conflict(&mut self, fields: &Fields<'_>, second: &str, message: String, help: &str) {
        if let Some(place) = fields.get(second) {
            self.refuse(&place, Finding::new(Code::ConflictingKeys, message).with_help(help));
        }
    }
}
