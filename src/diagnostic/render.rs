//! Shows a [`Report`]: as text with the wrong characters underlined, and as data.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents, ThemeCharacters, ThemeStyles,
};
use serde::Serialize;

use super::{Code, Finding, Report, Severity, Source};

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// With which characters lines are drawn.
    pub charset: Charset,
    /// Whether severity shows in colour.
    pub colour: Colour,
}

/// With which characters lines are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// Those of every terminal and log.
    Ascii,
    /// Box drawing.
    #[default]
    Unicode,
}

/// Whether a text carries escape sequences of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// It does not.
    #[default]
    Plain,
    /// It does.
    Ansi,
}

/// Shows every finding with file, line and column, the text around it underlined, and its help; one blank line between them.
#[must_use]
pub fn render_text(report: &Report, width: usize, style: Style) -> String {
    let characters = match style.charset {
        Charset::Ascii => ThemeCharacters::ascii(),
        Charset::Unicode => ThemeCharacters::unicode(),
    };
    let styles = match style.colour {
        Colour::Plain => ThemeStyles::none(),
        Colour::Ansi => ThemeStyles::ansi(),
    };
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme { characters, styles })
        .with_width(width.max(MIN_WIDTH))
        .with_context_lines(1)
        .with_links(false);
    let mut text = String::new();
    for (index, finding) in report.findings.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        // Writing to a text cannot fail but by a fault of the renderer; the plain line is right in any case.
        if handler.render_report(&mut text, &View::of(finding)).is_err() {
            text.push_str(&finding.message);
            text.push('\n');
        }
    }
    text.lines().map(str::trim_end).flat_map(|line| [line, "\n"]).collect()
}

/// Below this, wrapping would break words of the messages.
const MIN_WIDTH: usize = 40;

/// The findings as data, in order: `code`, `severity`, `message` and, as far as they are known, `help`, `file`, `line`, `column`,
/// `end_line`, `end_column` and `path` (a JSON Pointer). Lines and columns count from 1, columns in characters; the end is exclusive.
#[must_use]
pub fn to_json(report: &Report) -> serde_json::Value {
    let rows = report.findings.iter().map(|finding| {
        let places =
            finding.source.as_ref().map(|source| (source, source.position(finding.span.start), source.position(finding.span.end)));
        let row = Row {
            code: finding.code,
            severity: finding.severity,
            message: &finding.message,
            help: finding.help.as_deref(),
            file: places.map(|(source, _, _)| source.name.as_str()),
            line: places.map(|(_, start, _)| start.line),
            column: places.map(|(_, start, _)| start.column),
            end_line: places.map(|(_, _, end)| end.line),
            end_column: places.map(|(_, _, end)| end.column),
            path: finding.path.as_deref(),
        };
        // Numbers, texts and names alone: nothing that JSON cannot say.
        serde_json::to_value(row).unwrap_or_default()
    });
    serde_json::Value::Array(rows.collect())
}

#[derive(Serialize)]
struct Row<'a> {
    code: Code,
    severity: Severity,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

/// A text whose columns count characters, as people do; miette counts bytes.
#[derive(Debug)]
struct InCharacters<'a>(&'a Source);

impl SourceCode for InCharacters<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let Source { name, text } = self.0;
        let read = text.read_span(span, before, after)?;
        let start = read.span().offset();
        let column = self.0.position(start).column.saturating_sub(1);
        let (name, line, lines) = (name.clone(), read.line(), read.line_count());
        Ok(Box::new(MietteSpanContents::new_named(name, read.data(), *read.span(), line, column, lines)))
    }
}

/// A finding as miette sees it.
#[derive(Debug)]
struct View<'a> {
    finding: &'a Finding,
    source: Option<InCharacters<'a>>,
}

impl<'a> View<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self { finding, source: finding.source.as_deref().map(InCharacters) }
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for View<'_> {}

impl Diagnostic for View<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.finding.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let span = self.finding.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new(None, span.start, span.len()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let source = Source::new("queries/a.json", "{\n  \"id\": \"a\",\n  \"nmae\": \"ä b\"\n}\n");
        let finding = Finding::new(Code::UnknownKey, "unknown key `nmae`")
            .at(&source, 17..23)
            .with_help("Did you mean `name`?")
            .with_path(&"/nmae");
        Report { findings: vec![finding, Finding::new(Code::MissingTable, "no definition was found")] }
    }

    #[test]
    fn text_names_the_place_and_underlines_it() {
        let text = render_text(&report(), 100, Style { charset: Charset::Ascii, colour: Colour::Plain });
        assert!(text.contains("queries/a.json:3:3"), "{text}");
        assert!(text.contains("unknown key `nmae`"), "{text}");
        assert!(text.contains("Did you mean `name`?"), "{text}");
        assert!(text.contains("^^^^^^"), "{text}");
        assert!(text.is_ascii() || text.contains('ä'), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::new("a.sql", "東京 = x");
        let finding = Finding::new(Code::UnknownProperty, "unknown property `x`").at(&source, 9..10);
        let report = Report { findings: vec![finding] };
        let text = render_text(&report, 100, Style { charset: Charset::Ascii, colour: Colour::Plain });
        assert!(text.contains("a.sql:1:6"), "{text}");
        assert_eq!(to_json(&report)[0]["column"], 6);
    }

    #[test]
    fn colour_is_asked_for() {
        let text = render_text(&report(), 100, Style { charset: Charset::Unicode, colour: Colour::Ansi });
        assert!(text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn data_says_the_same() {
        let expected = serde_json::json!([
            {"code": "unknown-key", "severity": "error", "message": "unknown key `nmae`", "help": "Did you mean `name`?",
             "file": "queries/a.json", "line": 3, "column": 3, "end_line": 3, "end_column": 9, "path": "/nmae"},
            {"code": "missing-table", "severity": "error", "message": "no definition was found"}
        ]);
        assert_eq!(to_json(&report()), expected);
    }
}
