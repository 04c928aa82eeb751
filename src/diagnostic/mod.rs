//! Where and why an author's text is wrong: findings with codes, spans and help, collected into a [`Report`] that holds all of them.
//!
//! Nothing here knows what a definition is: a finding is a span of a text, and words about it.

mod code;
mod render;
mod suggest;

use std::ops::Range;
use std::sync::Arc;

pub use code::Code;
pub use render::{Charset, Colour, Style, render_text, to_json};
pub use suggest::nearest;

/// A text that an author wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, or what stands for one.
    pub name: String,
    /// All of it.
    pub text: Arc<str>,
}

impl Source {
    /// A text under a name.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// The line and the column of a byte, both from 1, columns in characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> Position {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        Position { line, column }
    }
}

/// A place in a text, as an editor shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
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
    /// The place in the document as a JSON Pointer, when the text has such places.
    pub path: Option<String>,
}

impl Finding {
    /// A finding without a place.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), message: message.into(), help: None, source: None, span: 0..0, path: None }
    }

    /// The same at bytes of a text.
    #[must_use]
    pub fn at(self, source: &Arc<Source>, span: Range<usize>) -> Self {
        Self { source: Some(Arc::clone(source)), span, ..self }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same with the place in the document.
    #[must_use]
    pub fn with_path(self, path: &impl ToString) -> Self {
        Self { path: Some(path.to_string()), ..self }
    }
}

/// Everything that was found, in the order of the texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report on one text: its findings in the order of their places, each once.
    ///
    /// A part of a text that is used twice, as an alias of YAML is, is wrong once.
    #[must_use]
    pub fn of_text(mut findings: Vec<Finding>) -> Self {
        findings
            .sort_by(|a, b| (a.span.start, a.span.end, a.code, &a.message).cmp(&(b.span.start, b.span.end, b.code, &b.message)));
        findings.dedup_by(|a, b| a.span == b.span && a.code == b.code && a.message == b.message);
        Self { findings }
    }

    /// Whether anything makes a definition unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Adds the findings of another report at the end.
    pub fn append(&mut self, other: Self) {
        self.findings.extend(other.findings);
    }
}

impl From<Finding> for Report {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_of_the_line() {
        let source = Source::new("x", "ab\näö!c");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 2, column: 1 });
        assert_eq!(source.position(7), Position { line: 2, column: 3 });
        assert_eq!(source.position(999), Position { line: 2, column: 5 });
    }

    #[test]
    fn a_report_on_a_text_is_ordered_and_says_everything_once() {
        let source = Source::new("x", "abcdef");
        let finding = |at: usize| Finding::new(Code::UnknownKey, "unknown").at(&source, at..at + 1);
        let report = Report::of_text(vec![finding(3), finding(1), finding(3)]);
        assert_eq!(report.findings.iter().map(|finding| finding.span.start).collect::<Vec<_>>(), [1, 3]);
    }
}
