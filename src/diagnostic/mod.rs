//! Where and why an author's text is wrong: findings with codes, spans and help, collected into a [`Report`] that holds all of them.

mod suggest;

use std::ops::Range;
use std::sync::Arc;

pub use suggest::nearest;

/// A text that an author wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, or what stands for one.
    pub name: String,
    /// All of it.
    pub text: Arc<str>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// It can, but probably means something else.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which kind of thing.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What is wrong: lower case, one line, user text in backticks.
    pub message: String,
    /// What to do instead; a sentence of its own.
    pub help: Option<String>,
    /// The text that it is about; `None` for what has no text, such as an empty folder.
    pub source: Option<Arc<Source>>,
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
}

/// Everything that was found, in the order of the texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether anything makes a definition unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Every kind of finding, with a stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The text is not well-formed JSON, TOML or YAML.
    Syntax,
}
