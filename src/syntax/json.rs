//! JSON to [`Node`]: strict, as RFC 8259 has it, with each key of an object once.

use std::borrow::Cow;
use std::sync::Arc;

use jsonc_parser::ast::Value;
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::members::Members;
use super::node::{MAX_NESTING, Node, NodeKind};
use crate::diagnostic::{Code, Finding, Source};
use crate::model::decimal::is_json_number;

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a text. Keys that stand twice are findings, and the first of them counts.
pub(super) fn read(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Option<Node> {
    // A byte order mark is no part of the text; blanks of its length keep every span right.
    let text = match source.text.strip_prefix('\u{feff}') {
        Some(rest) => Cow::Owned(format!("{}{rest}", " ".repeat('\u{feff}'.len_utf8()))),
        None => Cow::Borrowed(&*source.text),
    };
    let parsed = match parse_to_ast(&text, &CollectOptions::default(), &STRICT) {
        Ok(parsed) => parsed,
        Err(error) => {
            findings.push(malformed(error.kind(), source, error.range()));
            return None;
        }
    };
    let Some(value) = parsed.value else {
        findings.push(Finding::new(Code::Syntax, "the text is empty").at(source, 0..source.text.len()));
        return None;
    };
    Reader { source, findings }.node(value, 1)
}

fn malformed(kind: &ParseErrorKind, source: &Arc<Source>, range: Range) -> Finding {
    if matches!(kind, ParseErrorKind::NestingDepthExceeded) {
        return Finding::new(Code::TooDeep, too_deep()).at(source, range.start..range.start);
    }
    let reason = kind.to_string();
    let mut letters = reason.chars();
    let reason: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    Finding::new(Code::Syntax, format!("not valid JSON: {reason}")).at(source, range.start..range.end)
}

pub(super) fn too_deep() -> String {
    format!("nested more than {MAX_NESTING} levels deep")
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn node(&mut self, value: Value<'_>, depth: usize) -> Option<Node> {
        let range = value.range();
        let span = range.start..range.end;
        if depth > MAX_NESTING {
            self.findings.push(Finding::new(Code::TooDeep, too_deep()).at(self.source, span.start..span.start));
            return None;
        }
        let kind = match value {
            Value::NullKeyword(_) => NodeKind::Null,
            Value::BooleanLit(literal) => NodeKind::Boolean(literal.value),
            Value::NumberLit(literal) if is_json_number(literal.value) => NodeKind::Number(literal.value.to_owned()),
            Value::NumberLit(literal) => {
                self.refuse(format!("not valid JSON: `{}` is not a number", literal.value), span);
                return None;
            }
            Value::StringLit(literal) => {
                self.refuse_control_characters(&span)?;
                NodeKind::Text(literal.value.into_owned())
            }
            Value::Array(array) => {
                let mut elements = Vec::with_capacity(array.elements.len());
                for element in array.elements {
                    elements.push(self.node(element, depth + 1)?);
                }
                NodeKind::List(elements)
            }
            Value::Object(object) => {
                let mut members = Members::default();
                for property in object.properties {
                    let key = property.name.range();
                    let key_span = key.start..key.end;
                    self.refuse_control_characters(&key_span)?;
                    let value = self.node(property.value, depth + 1)?;
                    members.push(property.name.into_string(), key_span, value, self.source, self.findings);
                }
                NodeKind::Object(members.into_vec())
            }
        };
        Some(Node { kind, span })
    }

    fn refuse(&mut self, message: String, span: std::ops::Range<usize>) {
        self.findings.push(Finding::new(Code::Syntax, message).at(self.source, span));
    }

    /// The parser lets raw control characters through, JSON does not.
    fn refuse_control_characters(&mut self, span: &std::ops::Range<usize>) -> Option<()> {
        let raw = self.source.text.get(span.clone())?;
        let Some(offset) = raw.find(|character: char| character < ' ') else { return Some(()) };
        let at = span.start + offset;
        self.refuse("not valid JSON: a control character in a text must be written as an escape".to_owned(), at..at + 1);
        None
    }
}
