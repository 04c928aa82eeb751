//! TOML to [`Node`].

use std::sync::Arc;

use ::toml::Spanned;
use ::toml::de::{DeFloat, DeInteger, DeTable, DeValue};
use bigdecimal::num_bigint::BigInt;

use super::json::too_deep;
use super::node::{MAX_NESTING, Member, Node, NodeKind};
use crate::diagnostic::{Code, Finding, Source};
use crate::model::decimal::is_json_number;

/// Reads a text. Dates and times become texts in the form of TOML, which is that of definitions.
pub(super) fn read(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        findings.extend(errors.iter().map(|error| malformed(error, source)));
        return None;
    }
    let mut reader = Reader { source, findings };
    let members = reader.members(table.into_inner(), 1)?;
    Some(Node { kind: NodeKind::Object(members), span: 0..source.text.len() })
}

fn malformed(error: &::toml::de::Error, source: &Arc<Source>) -> Finding {
    let message = error.message();
    let code = match message {
        // The parser reports keys that stand twice, and its own bound on nesting, among its errors of grammar.
        "duplicate key" => Code::DuplicateKey,
        _ if message.contains("recursion") => Code::TooDeep,
        _ => Code::Syntax,
    };
    let message = match code {
        Code::DuplicateKey => {
            let key = error.span().and_then(|span| source.text.get(span)).unwrap_or_default();
            format!("the key `{}` stands twice in one object", key.trim_matches(['"', '\'']))
        }
        Code::TooDeep => too_deep(),
        _ => format!("not valid TOML: {message}"),
    };
    Finding::new(code, message).at(source, error.span().unwrap_or(0..0))
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    /// The table is sorted by key; the tree has the order of the text.
    fn members(&mut self, table: DeTable<'_>, depth: usize) -> Option<Vec<Member>> {
        let mut members = Vec::with_capacity(table.len());
        for (key, value) in table {
            let key_span = key.span();
            let value = self.node(value, depth + 1)?;
            members.push(Member { key: key.into_inner().into_owned(), key_span, value });
        }
        members.sort_by_key(|member| member.key_span.start);
        Some(members)
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, depth: usize) -> Option<Node> {
        let span = value.span();
        if depth > MAX_NESTING {
            self.findings.push(Finding::new(Code::TooDeep, too_deep()).at(self.source, span.start..span.start));
            return None;
        }
        let kind = match value.into_inner() {
            DeValue::String(text) => NodeKind::Text(text.into_owned()),
            DeValue::Boolean(value) => NodeKind::Boolean(value),
            DeValue::Datetime(datetime) => NodeKind::Text(datetime.to_string()),
            DeValue::Integer(integer) => NodeKind::Number(integer_digits(&integer)?),
            DeValue::Float(float) => match float_digits(&float) {
                Some(digits) => NodeKind::Number(digits),
                None => {
                    let message = format!("`{}` is not a number that data can equal", float.as_str());
                    self.findings.push(Finding::new(Code::InvalidNumber, message).at(self.source, span));
                    return None;
                }
            },
            DeValue::Array(elements) => {
                let mut nodes = Vec::with_capacity(elements.len());
                for element in elements {
                    nodes.push(self.node(element, depth + 1)?);
                }
                NodeKind::List(nodes)
            }
            DeValue::Table(table) => NodeKind::Object(self.members(table, depth)?),
        };
        Some(Node { kind, span })
    }
}

fn integer_digits(integer: &DeInteger<'_>) -> Option<String> {
    BigInt::parse_bytes(integer.as_str().as_bytes(), integer.radix()).map(|value| value.to_string())
}

fn float_digits(float: &DeFloat<'_>) -> Option<String> {
    let digits = float.as_str().trim_start_matches('+');
    is_json_number(digits).then(|| digits.to_owned())
}
