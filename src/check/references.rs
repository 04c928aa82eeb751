//! Definitions among each other: ids and names that stand twice, references that lead nowhere, in circles, or to broken definitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};

use super::{Entry, Mention};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::model::segment::{Definition, Status};
use crate::syntax::Document;

/// Adds what the definitions say against each other to their findings.
pub(super) fn check(entries: &mut [Entry<'_>]) {
    duplicates(entries, Code::DuplicateId, "id", |definition| definition.id.as_str());
    duplicates(entries, Code::DuplicateName, "name", Definition::display_name);
    let known = first_of_each_id(entries);
    targets(entries);
    cycles(entries, &known);
    broken(entries, &known);
}

fn first_of_each_id(entries: &[Entry<'_>]) -> BTreeMap<SegmentId, usize> {
    let mut known = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        known.entry(entry.document.definition().id.clone()).or_insert(index);
    }
    known
}

fn duplicates(entries: &mut [Entry<'_>], code: Code, key: &str, text: impl Fn(&Definition) -> &str) {
    let mut users: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        users.entry(text(entry.document.definition()).to_owned()).or_default().push(index);
    }
    let mut found = Vec::new();
    for (text, users) in users.iter().filter(|(_, users)| users.len() > 1) {
        for &user in users {
            let id = |index: usize| entries.get(index).map(|entry| &entry.document.definition().id);
            // Two definitions with one id have one name as well, when they leave it out; that is one mistake.
            let other = users.iter().copied().find(|&other| other != user && (code == Code::DuplicateId || id(other) != id(user)));
            let Some(other) = other.and_then(|other| entries.get(other)) else { continue };
            let source = other.document.source();
            let line = source.position(other.document.locate(&DocPath::root().key(key)).start).line;
            let message = format!("the {key} `{text}` is also that of the definition in {} (line {line})", source.name);
            found.push((user, Finding::new(code, message).with_help(format!("Give one of them another `{key}`."))));
        }
    }
    for (user, finding) in found {
        push(entries, user, finding, &DocPath::root().key(key));
    }
}

/// References to what does not exist, is archived, or contains other subjects.
fn targets(entries: &mut [Entry<'_>]) {
    let documents: Vec<&Document> = entries.iter().map(|entry| entry.document).collect();
    let known = by_id(documents.into_iter());
    for entry in entries {
        targets_of(entry, &known);
    }
}

/// Adds what a definition that nothing refers to says against the `others`.
pub(super) fn check_targets(entry: &mut Entry<'_>, others: &[Document]) {
    targets_of(entry, &by_id(others.iter()));
}

/// The first definition of each id.
fn by_id<'a>(documents: impl Iterator<Item = &'a Document>) -> BTreeMap<&'a SegmentId, &'a Definition> {
    let mut known = BTreeMap::new();
    for document in documents {
        known.entry(&document.definition().id).or_insert(document.definition().as_ref());
    }
    known
}

fn targets_of(entry: &mut Entry<'_>, known: &BTreeMap<&SegmentId, &Definition>) {
    let own = entry.document.definition();
    for Mention { target, contains, path } in &entry.references {
        let finding = match known.get(target) {
            None => Some(unknown(target, own, known)),
            Some(other) => unsuitable(own, *contains, other),
        };
        entry.findings.extend(finding.map(|finding| entry.document.place(finding, path)));
    }
}

fn unknown(target: &SegmentId, own: &Definition, known: &BTreeMap<&SegmentId, &Definition>) -> Finding {
    let finding = Finding::new(Code::UnknownSegment, format!("unknown segment `{target}`"));
    match nearest(target.as_str(), known.keys().filter(|id| ***id != own.id).map(|id| id.as_str())) {
        Some(near) => finding.with_help(format!("Did you mean `{near}`?")),
        None => finding.with_help("A reference names the `id` of another definition of the tenant."),
    }
}

fn unsuitable(own: &Definition, contains: Subject, other: &Definition) -> Option<Finding> {
    if other.subject != contains {
        let (own, wanted, subject) = (own.subject, contains.keyword(), other.subject.keyword());
        let message = if own == contains {
            format!("`{}` is a segment of {subject}s, and this one of {wanted}s", other.id)
        } else {
            format!("`{}` is a segment of {subject}s, where one of {wanted}s is asked", other.id)
        };
        return Some(Finding::new(Code::WrongSubject, message));
    }
    match other.status {
        Status::Archived => {
            let finding = Finding::new(Code::ArchivedReference, format!("the segment `{}` is archived", other.id));
            Some(finding.with_help("Only active and paused segments have members to refer to."))
        }
        Status::Active | Status::Paused => None,
    }
}

fn cycles(entries: &mut [Entry<'_>], known: &BTreeMap<SegmentId, usize>) {
    let mut found = Vec::new();
    for (&start, id) in known.iter().map(|(id, index)| (index, id)) {
        let Some(cycle) = shortest_cycle(start, entries, known) else { continue };
        let ids: Vec<&str> =
            cycle.iter().filter_map(|index| entries.get(*index)).map(|e| e.document.definition().id.as_str()).collect();
        let message = format!("segments refer to each other in a circle: `{} -> {id}`", ids.join(" -> "));
        let next = cycle.get(1).copied().unwrap_or(start);
        let path = entries.get(start).and_then(|entry| {
            let reference = entry.references.iter().find(|mention| known.get(&mention.target) == Some(&next));
            reference.map(|mention| mention.path.clone())
        });
        found.push((start, Finding::new(Code::ReferenceCycle, message).with_help("Leave one of these references out."), path));
    }
    for (index, finding, path) in found {
        push(entries, index, finding, &path.unwrap_or_default());
    }
}

/// The shortest way from a segment back to itself, without its end; the first of equals by the order of references.
fn shortest_cycle(start: usize, entries: &[Entry<'_>], known: &BTreeMap<SegmentId, usize>) -> Option<Vec<usize>> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for Mention { target, .. } in entries.get(at).map(|entry| entry.references.as_slice()).unwrap_or_default() {
            let Some(&next) = known.get(target) else { continue };
            if next == start {
                let mut way = vec![at];
                while let Some(&previous) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(previous);
                }
                way.reverse();
                return Some(way);
            }
            if let btree_map::Entry::Vacant(new) = came_from.entry(next) {
                new.insert(at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Definitions without errors of their own that refer, over others or not, to one that has some.
fn broken(entries: &mut [Entry<'_>], known: &BTreeMap<SegmentId, usize>) {
    loop {
        let failed: BTreeSet<usize> =
            entries.iter().enumerate().filter(|(_, entry)| entry.has_errors()).map(|(index, _)| index).collect();
        let mut found = Vec::new();
        for (index, entry) in entries.iter().enumerate().filter(|(index, _)| !failed.contains(index)) {
            for Mention { target, path, .. } in &entry.references {
                let other = known.get(target).filter(|other| failed.contains(other)).and_then(|other| entries.get(*other));
                if let Some(other) = other {
                    let finding = Finding::new(Code::BrokenReference, format!("the segment `{target}` has errors"))
                        .with_help(format!("It is defined in {}.", other.document.source().name));
                    found.push((index, finding, path.clone()));
                }
            }
        }
        if found.is_empty() {
            return;
        }
        for (index, finding, path) in found {
            push(entries, index, finding, &path);
        }
    }
}

fn push(entries: &mut [Entry<'_>], index: usize, finding: Finding, path: &DocPath) {
    if let Some(entry) = entries.get_mut(index) {
        let finding = entry.document.place(finding, path);
        entry.findings.push(finding);
    }
}
