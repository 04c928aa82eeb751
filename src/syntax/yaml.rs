//! YAML 1.2 to [`Node`], by its core schema: `no` and `on` are texts. Anchors and aliases are resolved; merge keys, tags and several
//! documents in one text are refused, since no other language of definitions has them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bigdecimal::num_bigint::BigInt;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::json::too_deep;
use super::members::Members;
use super::node::{MAX_NESTING, Node, NodeKind};
use crate::diagnostic::{Code, Finding, Source};
use crate::model::decimal::is_json_number;

/// How many values a text may hold once its aliases are resolved: a few lines can ask for billions.
const MAX_VALUES: usize = 200_000;

/// Reads a text.
pub(super) fn read(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Option<Node> {
    let mut reader = Reader {
        parser: Parser::new_from_str(&source.text),
        offsets: byte_offsets(&source.text),
        source,
        findings,
        anchors: HashMap::new(),
        values: 0,
    };
    match reader.document() {
        Ok(node) => Some(node),
        Err(finding) => {
            let finding = *finding;
            reader.findings.push(finding);
            None
        }
    }
}

/// The parser counts characters; spans are bytes.
fn byte_offsets(text: &str) -> Vec<usize> {
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect()
}

type Outcome<T> = Result<T, Box<Finding>>;

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    offsets: Vec<usize>,
    source: &'a Arc<Source>,
    findings: &'a mut Vec<Finding>,
    anchors: HashMap<usize, Node>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Outcome<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            let span = self.bytes(span);
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(self.unsupported(
                        "a definition is one document",
                        span,
                        "Put each definition into a file of its own.",
                    ));
                }
                event => root = Some(self.node(event, span, 1)?),
            }
        }
        root.ok_or_else(|| Box::new(Finding::new(Code::Syntax, "the text is empty").at(self.source, 0..self.source.text.len())))
    }

    fn next(&mut self) -> Outcome<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Box::new(self.malformed(&error))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Outcome<Node> {
        self.count(1, &span)?;
        if depth > MAX_NESTING {
            return Err(Box::new(Finding::new(Code::TooDeep, too_deep()).at(self.source, span.start..span.start)));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err(self.tagged(span));
                }
                let kind = match style {
                    ScalarStyle::Plain => self.plain(&text, &span)?,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                        NodeKind::Text(text.into_owned())
                    }
                };
                (Node { kind, span: self.without_blank_end(span) }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                if tag.is_some() {
                    return Err(self.tagged(span));
                }
                (self.sequence(span, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    return Err(self.tagged(span));
                }
                (self.mapping(span, depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Box::new(Finding::new(Code::Syntax, "not valid YAML: a value is missing").at(self.source, span)));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Range<usize>, depth: usize) -> Outcome<Node> {
        let mut elements = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let span = self.bytes(span);
            if event == Event::SequenceEnd {
                let span = self.without_blank_end(start.start..span.end);
                return Ok(Node { kind: NodeKind::List(elements), span });
            }
            elements.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, start: Range<usize>, depth: usize) -> Outcome<Node> {
        let mut members = Members::default();
        loop {
            let (event, span) = self.next()?;
            let key_span = self.bytes(span);
            let key = match event {
                Event::MappingEnd => {
                    let span = self.without_blank_end(start.start..key_span.end);
                    return Ok(Node { kind: NodeKind::Object(members.into_vec()), span });
                }
                Event::Scalar(key, ScalarStyle::Plain, _, None) if key == "<<" => {
                    return Err(self.unsupported(
                        "merge keys are not supported",
                        key_span,
                        "Write the keys out, or share a whole value with an alias.",
                    ));
                }
                Event::Scalar(key, _, _, None) => key.into_owned(),
                Event::Scalar(..) => return Err(self.tagged(key_span)),
                _ => return Err(self.unsupported("a key must be a text", key_span, "Write a word before the colon.")),
            };
            let (event, span) = self.next()?;
            let span = self.bytes(span);
            let value = self.node(event, span, depth + 1)?;
            let key_span = self.without_blank_end(key_span);
            members.push(key, key_span, value, self.source, self.findings);
        }
    }

    fn alias(&mut self, anchor: usize, span: Range<usize>, depth: usize) -> Outcome<Node> {
        // An anchor is known once its value has ended, so that no value can hold itself.
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.unsupported("an alias stands inside the value that it names", span, "Write the value out."));
        };
        self.count(node.size(), &span)?;
        if depth + node.depth() > MAX_NESTING {
            return Err(Box::new(Finding::new(Code::TooDeep, too_deep()).at(self.source, span)));
        }
        Ok(node)
    }

    fn count(&mut self, values: usize, span: &Range<usize>) -> Outcome<()> {
        self.values += values;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let message = "the text holds more than 200,000 values once its aliases are resolved";
        Err(Box::new(Finding::new(Code::TooLarge, message).at(self.source, span.clone())))
    }

    /// A scalar without quotes, by the core schema of YAML 1.2.
    fn plain(&self, text: &str, span: &Range<usize>) -> Outcome<NodeKind> {
        Ok(match text {
            "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
            "true" | "True" | "TRUE" => NodeKind::Boolean(true),
            "false" | "False" | "FALSE" => NodeKind::Boolean(false),
            _ if is_infinite_or_nan(text) => {
                let message = format!("`{text}` is not a number that data can equal");
                return Err(Box::new(Finding::new(Code::InvalidNumber, message).at(self.source, span.clone())));
            }
            _ => match number(text) {
                Some(digits) => NodeKind::Number(digits),
                None => NodeKind::Text(text.to_owned()),
            },
        })
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let end = self.source.text.len();
        let byte = |index: usize| self.offsets.get(index).copied().unwrap_or(end);
        let start = byte(span.start.index());
        start..byte(span.end.index()).max(start)
    }

    /// Blocks end where the next token starts; the lines between belong to nobody.
    fn without_blank_end(&self, span: Range<usize>) -> Range<usize> {
        let kept = self.source.text.get(span.clone()).map_or(span.len(), |text| text.trim_end().len());
        span.start..span.start + kept
    }

    fn malformed(&self, error: &ScanError) -> Finding {
        let at = self.offsets.get(error.marker().index()).copied().unwrap_or(self.source.text.len());
        Finding::new(Code::Syntax, format!("not valid YAML: {}", error.info())).at(self.source, at..at)
    }

    fn tagged(&self, span: Range<usize>) -> Box<Finding> {
        self.unsupported("tags are not supported", span, "Leave the tag out; quote what is meant as a text.")
    }

    fn unsupported(&self, message: &str, span: Range<usize>, help: &str) -> Box<Finding> {
        Box::new(Finding::new(Code::UnsupportedYaml, message).at(self.source, span).with_help(help))
    }
}

fn is_infinite_or_nan(text: &str) -> bool {
    matches!(text.trim_start_matches(['-', '+']), ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// The number that a plain scalar is, by the grammar of JSON.
fn number(text: &str) -> Option<String> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let valid = !digits.is_empty() && digits.bytes().all(|byte| char::from(byte).is_digit(radix));
            return if valid { BigInt::parse_bytes(digits.as_bytes(), radix).map(|value| value.to_string()) } else { None };
        }
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, format!("e{exponent}")),
        None => (unsigned, String::new()),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let digits = format!("{sign}{whole}{point}{fraction}{exponent}");
    is_json_number(&digits).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("1", "1"),
            ("+1", "1"),
            ("-12", "-12"),
            ("007", "7"),
            ("0o17", "15"),
            ("0xFF", "255"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.50", "1.50"),
            ("1e3", "1e3"),
            ("-0", "-0"),
        ] {
            assert_eq!(number(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "-", "+", ".", "1_000", "0x", "0xg", "0b1", "1e", "no", "e5", "12:30", "--1", "+-1", "0x-1", "1.2.3"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
