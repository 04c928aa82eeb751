//! Text to model and back: JSON, TOML and YAML to one tree of nodes with spans, that tree to a [`Definition`], and a definition to
//! canonical JSON.
//!
//! ```
//! use segmenta::diagnostic::Source;
//! use segmenta::syntax::{Format, parse, print_json};
//!
//! let text = r#"{"id": "all", "logic": "and", "conditions": [{"type": "everyone"}]}"#;
//! let document = parse(&Source::new("all.json", text), Format::Json).unwrap();
//! assert_eq!(document.definition().id.as_str(), "all");
//!
//! let again = parse(&Source::new("again.json", print_json(document.definition())), Format::Json).unwrap();
//! assert_eq!(again.definition(), document.definition());
//! ```

pub mod date;
mod decode;
pub mod dialect;
mod expression;
mod json;
mod members;
mod node;
mod print;
mod schema;
pub mod subjects;
mod toml;
mod yaml;

use std::ops::Range;
use std::sync::Arc;

pub use expression::{parse_expression, print_expression};
pub use print::print_json;
pub use schema::json_schema;

use crate::diagnostic::{Finding, Report, Source};
use crate::model::id::SegmentId;
use crate::model::path::{DocPath, Step};
use crate::model::segment::Definition;
use decode::{Decoder, IdRead, Place, Read};
use node::Node;

/// A definition, where its parts stand in its text, and what is wrong with its form.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    source: Arc<Source>,
    definition: Arc<Definition>,
    root: Node,
    /// Bytes of the text that defines it in this language.
    size: usize,
    report: Report,
    form: TextForm,
}

/// What a text is, for advice on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextForm {
    /// A tree of keys and values.
    Document,
    /// An expression in the syntax of SQL.
    Expression,
}

impl Document {
    /// The text.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// What it says. Where [`Document::report`] has errors, the parts that could not be read are left out.
    #[must_use]
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// What the text alone shows to be wrong. [`check`](crate::check::check) repeats it, and refuses a definition with errors.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many bytes of text define it in this language: of a definition of another system, those of its canonical form.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes that stand at a path; those of the nearest place around it that was written when nothing was written there.
    #[must_use]
    pub fn locate(&self, path: &DocPath) -> Range<usize> {
        let mut node = &self.root;
        for step in path.steps() {
            let inner = match step {
                Step::Key(key) => node.member(key).map(|member| &member.value),
                Step::Index(index) => node.element(*index),
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.span.clone()
    }

    /// The same definition in the place of another, whose id and name it goes by, whatever it says of its own.
    #[must_use]
    pub fn in_place_of(mut self, identity: &Identity) -> Self {
        let definition = Arc::make_mut(&mut self.definition);
        definition.id = identity.id.clone();
        definition.name.clone_from(&identity.name);
        self
    }

    /// The finding at a path of this document, marked in the first line of what stands there.
    pub(crate) fn place(&self, finding: Finding, path: &DocPath) -> Finding {
        let finding = finding.at(&self.source, decode::first_line(&self.source, self.locate(path))).with_path(path);
        match self.form {
            TextForm::Document => finding,
            TextForm::Expression => expression::reworded(finding),
        }
    }
}

/// What tells a segment from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: SegmentId,
    /// Its name; `None` = the id.
    pub name: Option<String>,
}

/// The languages of a definition's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.json`.
    Json,
    /// `.toml`.
    Toml,
    /// `.yaml`, `.yml`.
    Yaml,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Toml, Self::Yaml];

    /// The format that a file's name ends in; `None` for a file that is no definition.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        if stem.is_empty() || stem.ends_with('/') {
            return None;
        }
        match extension {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// A text that defines no segment.
#[derive(Debug)]
pub struct Unreadable {
    /// Every error that the text alone shows.
    pub report: Report,
    /// What it would define, but for an id; `None` when it is no tree. Its id stands for none, and its report is the one above.
    pub nameless: Option<Box<Document>>,
}

/// Reads one definition.
///
/// A document is returned whenever its id can be read, so that its other errors can be told of that segment, and so that what can be
/// read of it is checked in the same pass: look at [`Document::report`].
///
/// # Errors
/// The text is no tree, or the tree has no readable id.
pub fn parse(source: &Arc<Source>, format: Format) -> Result<Document, Unreadable> {
    let (mut document, id, about_id) = read_document(source, format).map_err(|report| Unreadable { report, nameless: None })?;
    match id {
        IdRead::Yes => Ok(document),
        IdRead::No => {
            document.report = Report::of_text(document.report.findings.into_iter().chain(about_id).collect());
            Err(Unreadable { report: document.report.clone(), nameless: Some(Box::new(document)) })
        }
    }
}

/// Reads one definition that is to take the place of another, as [`Document::in_place_of`] does; it may have no id.
///
/// # Errors
/// The text is no tree.
pub fn parse_in_place_of(source: &Arc<Source>, format: Format, identity: &Identity) -> Result<Document, Report> {
    read_document(source, format).map(|(document, ..)| document.in_place_of(identity))
}

/// The document of a text, whether its id could be read, and why not, which its report leaves out.
fn read_document(source: &Arc<Source>, format: Format) -> Result<(Document, IdRead, Vec<Finding>), Report> {
    let mut findings = Vec::new();
    let root = read_tree(source, format, &mut findings);
    let Some(root) = root else { return Err(Report::of_text(findings)) };
    let mut decoder = Decoder::new(source);
    let read = decode::definition(&mut decoder, &Place::root(&root));
    findings.extend(decoder.into_findings());
    let report = Report::of_text(findings);
    let Some(Read { definition, id, about_id }) = read else { return Err(report) };
    let (form, size, definition) = (TextForm::Document, source.text.len(), Arc::new(definition));
    Ok((Document { source: Arc::clone(source), definition, root, size, report, form }, id, about_id))
}

/// The tree of a text; `None`, and why, when it has none.
fn read_tree(source: &Arc<Source>, format: Format, findings: &mut Vec<Finding>) -> Option<Node> {
    match format {
        Format::Json => json::read(source, findings),
        Format::Toml => toml::read(source, findings),
        Format::Yaml => yaml::read(source, findings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_end_of_the_name() {
        assert_eq!(Format::from_file_name("queries/a.json"), Some(Format::Json));
        assert_eq!(Format::from_file_name("a.b.toml"), Some(Format::Toml));
        assert_eq!(Format::from_file_name("a.yml"), Some(Format::Yaml));
        assert_eq!(Format::from_file_name("a.yaml"), Some(Format::Yaml));
        for name in ["a", "a.jsonc", ".json", "queries/.toml", "a.JSON~"] {
            assert_eq!(Format::from_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_text_takes_the_place_of_another_definition() {
        let identity = Identity { id: "vip".parse().unwrap(), name: Some("Important".to_owned()) };
        let read = |head: &str| {
            let text = format!(r#"{{{head}"logic": "and", "conditions": [{{"type": "everyone"}}]}}"#);
            parse_in_place_of(&Source::new("a.json", text), Format::Json, &identity).unwrap()
        };
        for head in
            ["", r#""id": "vip", "name": "New", "#, r#""id": "other", "name": "Other", "#, r#""id": "No Id", "#, r#""id": 7, "#]
        {
            let document = read(head);
            let definition = document.definition();
            assert_eq!((&definition.id, definition.name.as_deref()), (&identity.id, Some("Important")), "{head}");
            assert_eq!(document.report(), &Report::default(), "{head}");
        }
        assert!(read(r#""nam": "x", "#).report().has_errors());
    }

    #[test]
    fn a_path_finds_its_text_or_the_nearest_around_it() {
        let text = r#"{"id": "a", "logic": "and", "conditions": [{"type": "everyone"}]}"#;
        let document = parse(&Source::new("a.json", text), Format::Json).unwrap();
        let at = |path: &DocPath| document.source().text.get(document.locate(path)).unwrap().to_owned();
        let leaf = DocPath::root().key("conditions").index(0);
        assert_eq!(at(&leaf.key("type")), "\"everyone\"");
        assert_eq!(at(&leaf.key("window").key("last")), "{\"type\": \"everyone\"}");
        assert_eq!(at(&DocPath::root()), text);
    }
}
