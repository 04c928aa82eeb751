//! Definitions of other systems: foreign text to canonical definitions and back, without changing who matches.
//!
//! A foreign text becomes the tree of the canonical definition, every part of which keeps the bytes of the foreign text that it came
//! from; that tree is then decoded like any other. So whatever is found later, by `check` for instance, is marked in the author's
//! own file. What one form says and the other cannot say as exactly is refused; nothing is approximated.
//!
//! ```
//! use segmenta::diagnostic::Source;
//! use segmenta::syntax::Format;
//! use segmenta::syntax::dialect::{Dialect, Mapping, Settings, import};
//!
//! let text = r#"{"name": "Canadians", "rule": {"type": "condition", "attribute": "country", "operator": "=", "value": "CA"}}"#;
//! let settings = Settings::default();
//! let mapping = Mapping { settings: &settings, users: None };
//! let imported = import(&Source::new("canadians.json", text), Format::Json, Dialect::Tree, mapping);
//! assert_eq!(imported.documents[0].definition().id.as_str(), "canadians");
//! ```

mod audience;
mod build;
mod export;
mod groups;
mod head;
mod layered;
mod settings;
mod tree;
mod weighted;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use export::{Exported, export};
pub use settings::{AudienceSettings, Feature, GroupsSettings, Settings, TreeSettings, WeightedSettings};

use super::decode::{self, Decoder, Fields, IdRead, Place, Read};
use super::node::{Member, Node, NodeKind};
use super::{Document, Format, TextForm, print, read_tree};
use crate::diagnostic::{Code, Finding, Report, Severity, Source};
use crate::model::catalog::Table;
use crate::model::condition::Logic;
use crate::model::property::PropertyPath;

/// A form of definitions of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Nested `and` and `or` over attributes of persons and counts of their events.
    Tree,
    /// Flat rules with group numbers, and their nested forms.
    Groups,
    /// Conditions on products in layers.
    Layered,
    /// Weighted rules, whose score is compared with a threshold.
    Weighted,
    /// Filters that must all hold, and compositions of other segments.
    Audience,
}

impl Dialect {
    /// Every dialect that is read.
    pub const READABLE: [Self; 5] = [Self::Tree, Self::Groups, Self::Layered, Self::Weighted, Self::Audience];

    /// Its name.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Groups => "groups",
            Self::Layered => "layered",
            Self::Weighted => "weighted",
            Self::Audience => "audience",
        }
    }

    /// The dialect of a name.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Self::READABLE.into_iter().find(|dialect| dialect.keyword() == word)
    }
}

/// What foreign names stand for.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'a> {
    /// What the configuration says.
    pub settings: &'a Settings,
    /// The table of users: whether a foreign name is a column decides what some of them mean.
    pub users: Option<&'a Table>,
}

impl Mapping<'_> {
    fn is_column(&self, name: &str) -> bool {
        self.users.is_some_and(|table| table.columns.contains_key(name))
    }
}

/// What a foreign text came to.
#[derive(Debug, Default)]
pub struct Import {
    /// Every definition whose id can be told. One with errors in its [`Document::report`] says nothing but its id, and no check
    /// accepts it.
    pub documents: Vec<Document>,
    /// What is wrong with the text as a whole, and with definitions without an id.
    pub report: Report,
}

/// Turns a foreign text, which holds one definition or a list of them, into canonical definitions.
#[must_use]
pub fn import(source: &Arc<Source>, format: Format, dialect: Dialect, mapping: Mapping<'_>) -> Import {
    let mut findings = Vec::new();
    let root = read_tree(source, format, &mut findings);
    let Some(root) = root else { return Import { documents: Vec::new(), report: Report::of_text(findings) } };
    let mut import = Import::default();
    let stem = Path::new(&source.name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut add = |place: &Place<'_>| {
        // What the reader found, such as a key that stands twice, is wrong with the definition that it stands in.
        let span = &place.node.span;
        let of_text = findings.extract_if(.., |finding| span.start <= finding.span.start && finding.span.end <= span.end).collect();
        match translate(source, dialect, mapping, place, of_text, &stem) {
            Ok(document) => import.documents.push(document),
            Err(report) => import.report.append(report),
        }
    };
    match &root.kind {
        NodeKind::List(nodes) => {
            let places = Place::root(&root).elements(nodes);
            places.iter().for_each(&mut add);
            if places.is_empty() {
                let finding = Finding::new(Code::EmptyGroup, "the list has no definitions").at(source, root.span.clone());
                import.report.append(finding.into());
            }
        }
        NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Object(_) => {
            add(&Place::root(&root));
        }
    }
    import.report.append(Report::of_text(findings));
    import
}

/// One definition of a text; what is wrong with it when even its id cannot be told.
fn translate(
    source: &Arc<Source>,
    dialect: Dialect,
    mapping: Mapping<'_>,
    place: &Place<'_>,
    of_text: Vec<Finding>,
    stem: &str,
) -> Result<Document, Report> {
    let mut translator = Translator { decoder: Decoder::new(source), mapping };
    let span = place.node.span.clone();
    let parts = translator.decoder.object(place).map(|fields| {
        let body = match dialect {
            Dialect::Tree => translator.tree(&fields),
            Dialect::Groups => translator.groups(&fields),
            Dialect::Layered => translator.layered(&fields),
            Dialect::Audience => translator.audience(&fields),
            Dialect::Weighted => translator.weighted(&fields),
        };
        let head = translator.head(&fields, &body, stem);
        (head, body.members, body.rule)
    });
    let mut findings = of_text;
    findings.extend(translator.decoder.into_findings());
    let Some((mut members, others, rule)) = parts else { return Err(Report::of_text(findings)) };
    for member in others {
        if members.iter().any(|other| other.key == member.key) {
            let message = format!("the definition says its `{}` twice", member.key);
            findings
                .push(Finding::new(Code::ConflictingKeys, message).with_help("Keep one of them.").at(source, member.value.span));
        } else {
            members.push(member);
        }
    }
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    match rule {
        Some(rule) if !failed => members.extend(build::root_rule(rule)),
        // Something harmless stands for what could not be read, as in a canonical definition.
        Some(_) | None if failed => {
            members.retain(|member| member.key == "id");
            let anyone = build::object(&span, vec![("type", build::text(&span, "everyone"))]);
            members.extend(build::root_rule(anyone));
        }
        Some(_) | None => {}
    }
    let root = Node { kind: NodeKind::Object(members), span };
    let mut decoder = Decoder::new(source);
    // From here on paths are those of the canonical definition, as in all that `check` finds.
    let read = decode::definition(&mut decoder, &Place::root(&root));
    findings.extend(decoder.into_findings());
    findings.extend(read.iter().flat_map(|read| read.about_id.iter().cloned()));
    let report = Report::of_text(findings);
    match read {
        Some(Read { definition, id: IdRead::Yes, .. }) => {
            let size = print::print_json(&definition).len();
            Ok(Document {
                source: Arc::clone(source),
                definition: Arc::new(definition),
                root,
                size,
                report,
                form: TextForm::Document,
            })
        }
        Some(Read { id: IdRead::No, .. }) | None => Err(report),
    }
}

/// What the part of a definition that is of its dialect alone came to.
struct Body {
    /// The keys that are of its dialect alone.
    rule_keys: &'static [&'static str],
    /// The rule as a node; `None` when there is none, or when it could not be read, which was reported.
    rule: Option<Node>,
    /// Other members of the canonical definition.
    members: Vec<Member>,
}

/// Turns nodes of a foreign text into nodes of a canonical one.
struct Translator<'a> {
    decoder: Decoder<'a>,
    mapping: Mapping<'a>,
}

impl Translator<'_> {
    /// Says that the canonical language cannot say what stands here.
    fn untranslatable(&mut self, place: &Place<'_>, message: impl Into<String>, help: impl Into<String>) {
        self.decoder.refuse(place, Finding::new(Code::Untranslatable, message).with_help(help));
    }

    /// The entries of a list, each translated; `None` when one of them could not be.
    fn each(
        &mut self,
        places: &[Place<'_>],
        mut translate: impl FnMut(&mut Self, &Place<'_>) -> Option<Node>,
    ) -> Option<Vec<Node>> {
        let nodes: Vec<_> = places.iter().map(|place| translate(self, place)).collect();
        nodes.into_iter().collect()
    }

    /// The path that a foreign name stands for, or that it is none.
    fn found(&mut self, place: &Place<'_>, path: Result<PropertyPath, String>) -> Option<PropertyPath> {
        path.map_err(|problem| self.decoder.refuse(place, Finding::new(Code::InvalidPath, problem))).ok()
    }

    /// `and` or `or`, in small or in capital letters, and where that stands.
    fn logic(&mut self, place: &Place<'_>) -> Option<(Logic, Range<usize>)> {
        let words = [("and", Logic::And), ("or", Logic::Or), ("AND", Logic::And), ("OR", Logic::Or)];
        let logic = self.decoder.word(place, "words that join", &words)?;
        Some((logic, place.node.span.clone()))
    }

    /// A whole number, negative ones included.
    fn whole(&mut self, place: &Place<'_>) -> Option<i64> {
        let whole = match &place.node.kind {
            NodeKind::Number(digits) => digits.parse::<crate::model::decimal::Decimal>().ok().and_then(|number| number.to_i64()),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Text(_) | NodeKind::List(_) | NodeKind::Object(_) => None,
        };
        if whole.is_none() {
            let message = format!("{} must be a whole number", place.title());
            self.decoder.refuse(place, Finding::new(Code::InvalidNumber, message));
        }
        whole
    }
}

/// The value of a key, unless it is null: systems that write their records write what is not there so.
fn given<'n>(fields: &Fields<'n>, key: &str) -> Option<Place<'n>> {
    fields.get(key).filter(|place| place.node.kind != NodeKind::Null)
}

/// Whether a definition says that its members are added by hand.
fn is_static(fields: &Fields<'_>) -> bool {
    ["type", "kind"].into_iter().filter_map(|key| fields.get(key)).any(|place| match &place.node.kind {
        NodeKind::Text(word) => word.eq_ignore_ascii_case("static"),
        NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Object(_) => false,
    })
}

/// A name in small letters, with `_` where a word begins: `lastEmailOpenedAt` is `last_email_opened_at`.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| letters.get(index));
        let after = letters.get(index + 1);
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            });
        if begins {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_in_camel_case_are_parted() {
        for (camel, expected) in [
            ("lastEmailOpenedAt", "last_email_opened_at"),
            ("firstName", "first_name"),
            ("userID", "user_id"),
            ("HTMLContent", "html_content"),
            ("last_email_opened_at", "last_email_opened_at"),
            ("top10Brands", "top10_brands"),
            ("", ""),
            ("Ähnlich", "Ähnlich"),
        ] {
            assert_eq!(snake(camel), expected, "{camel}");
            assert_eq!(snake(&snake(camel)), snake(camel), "{camel}");
        }
    }

    #[test]
    fn every_dialect_that_is_read_has_a_name() {
        for dialect in Dialect::READABLE {
            assert_eq!(Dialect::from_keyword(dialect.keyword()), Some(dialect));
        }
        assert_eq!(Dialect::from_keyword("csv"), None);
    }
}
