//! Literals, and paths to properties.

use sqlparser::ast::{Expr, Ident, UnaryOperator, Value};

use super::build::{list, member, text};
use super::functions::{Call, listed};
use super::grammar::bytes;
use super::read::{Reader, unnested};
use crate::diagnostic::{Code, Finding};
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;
use crate::syntax::node::{Member, Node, NodeKind};

impl Reader<'_> {
    /// A path to a property: a name, or the text that a definition has for it.
    pub(super) fn path(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let expr = unnested(expr);
        let keys: &[Ident] = match expr {
            Expr::Identifier(key) => std::slice::from_ref(key),
            Expr::CompoundIdentifier(keys) => keys,
            Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => return self.literal(expr, place),
            _ => {
                let finding = Finding::new(Code::WrongKind, "a property must stand here")
                    .with_help("Write a name such as `price`, or a path such as `attributes.\"home.page\"`.");
                self.refuse(self.extent(expr), place, finding);
                return None;
            }
        };
        let path = PropertyPath::from_keys(keys.iter().map(|key| key.value.clone()).collect())?;
        Some(text(&path.to_string(), self.extent(expr)))
    }

    /// The arguments of these names as members of these keys.
    pub(super) fn named_literals(&mut self, call: &Call<'_>, names: &[&str], place: &DocPath) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        let mut fits = true;
        for name in names {
            let Some((key_span, expr)) = call.named(name) else { continue };
            match self.literal(expr, &place.key(*name)) {
                Some(value) => members.push(Member { key: (*name).to_owned(), key_span, value }),
                None => fits = false,
            }
        }
        fits.then_some(members)
    }

    /// An operand of a comparison; left out when it cannot be read, which was said.
    pub(super) fn operand(&mut self, key: &str, expr: &Expr, place: &DocPath) -> Option<Member> {
        self.literal(expr, &place.key(key)).map(|value| member(key, value))
    }

    pub(super) fn literals(&mut self, exprs: Vec<&Expr>, place: &DocPath) -> Option<Vec<Node>> {
        let each = exprs.into_iter().enumerate();
        let values: Vec<_> = each.map(|(index, expr)| self.literal(expr, &place.index(index))).collect();
        values.into_iter().collect()
    }

    /// A text, a number, `TRUE`, `FALSE`, or a list of these in brackets.
    pub(super) fn literal(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let expr = unnested(expr);
        let span = self.extent(expr);
        let kind = match expr {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => NodeKind::Text(text.clone()),
                Value::Number(digits, _) => NodeKind::Number(json_number(digits)),
                Value::Boolean(value) => NodeKind::Boolean(*value),
                Value::Null => {
                    let finding = Finding::new(Code::WrongKind, "nothing compares with `NULL`")
                        .with_help("Write `is_not_set(property)` to find what is missing.");
                    self.refuse(span, place, finding);
                    return None;
                }
                _ => return self.no_literal(expr, place),
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match unnested(inner) {
                Expr::Value(value) if let Value::Number(digits, _) = &value.value => {
                    NodeKind::Number(format!("-{}", json_number(digits)))
                }
                _ => return self.no_literal(expr, place),
            },
            Expr::Function(function) => match listed(function) {
                Some((bracket, values)) => {
                    let values = self.literals(values, place)?;
                    let start = bytes(bracket.span).start;
                    return Some(list(values, start..self.closing(start)));
                }
                None => return self.no_literal(expr, place),
            },
            _ => return self.no_literal(expr, place),
        };
        Some(Node { kind, span })
    }

    fn no_literal(&mut self, expr: &Expr, place: &DocPath) -> Option<Node> {
        let help = match (self.quoted_name(expr), expr) {
            (Some(text), _) => format!("A text stands in single quotes: `{text}`."),
            (None, Expr::Tuple(_)) => "A list that is no operand of `IN` stands in brackets: `['a', 'b']`.".to_owned(),
            (None, _) => "Write a text in single quotes, a number, `TRUE` or `FALSE`.".to_owned(),
        };
        let message = format!("`{}` is no value", self.excerpt(expr));
        self.refuse(self.extent(expr), place, Finding::new(Code::WrongKind, message).with_help(help));
        None
    }

    /// The text that a name was probably meant to be.
    pub(super) fn quoted_name(&self, expr: &Expr) -> Option<String> {
        match unnested(expr) {
            Expr::Identifier(name) => Some(format!("'{}'", name.value.replace('\'', "''"))),
            _ => None,
        }
    }

    pub(super) fn is_literal(&self, expr: &Expr) -> bool {
        match unnested(expr) {
            Expr::Value(_) => true,
            Expr::UnaryOp { op: UnaryOperator::Minus, .. } => true,
            Expr::Function(function) => listed(function).is_some(),
            _ => false,
        }
    }
}

/// The digits of SQL as those of JSON, which has no `.5`, `5.` and `007`.
fn json_number(digits: &str) -> String {
    let exponent_at = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at_checked(exponent_at).unwrap_or((digits, ""));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}{exponent}")
}
