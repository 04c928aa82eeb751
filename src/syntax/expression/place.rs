//! Where the parts of a tree stand: the tree of sqlparser has places of names and literals, the tokens have the rest.

use std::ops::Range;

use sqlparser::ast::{Expr, Spanned as _};

use super::grammar::bytes;
use super::read::Reader;

impl Reader<'_> {
    /// The bytes of an expression.
    pub(super) fn extent(&self, expr: &Expr) -> Range<usize> {
        let start = self.start(expr);
        start..self.end(expr).max(start)
    }

    /// The end of the bracket that closes the first one opened at or after a byte.
    pub(super) fn closing(&self, byte: usize) -> usize {
        self.tokens.closing(byte).unwrap_or(self.source.text.len())
    }

    /// The bytes of the first token after an expression: of the operator, when it is a left side.
    pub(super) fn token_after(&self, expr: &Expr) -> Range<usize> {
        let end = self.end(expr);
        self.tokens.at_or_after(end).unwrap_or(end..end)
    }

    fn start(&self, expr: &Expr) -> usize {
        let mut leftmost = expr;
        let mut tokens_before = 0_usize;
        loop {
            leftmost = match leftmost {
                Expr::BinaryOp { left, .. } => left,
                Expr::Between { expr, .. } | Expr::InList { expr, .. } => expr,
                Expr::IsTrue(expr)
                | Expr::IsNotTrue(expr)
                | Expr::IsFalse(expr)
                | Expr::IsNotFalse(expr)
                | Expr::IsNull(expr)
                | Expr::IsNotNull(expr) => expr,
                Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => {
                    tokens_before += 1;
                    expr
                }
                leaf => {
                    let mut start = bytes(leaf_span(leaf)).start.min(self.source.text.len());
                    for _ in 0..tokens_before {
                        start = self.tokens.before(start).map_or(start, |token| token.start);
                    }
                    return start;
                }
            };
        }
    }

    fn end(&self, expr: &Expr) -> usize {
        let mut rightmost = expr;
        let mut tokens_after = 0_usize;
        loop {
            rightmost = match rightmost {
                Expr::BinaryOp { right, .. } => right,
                Expr::UnaryOp { expr, .. } => expr,
                Expr::Between { high, .. } => high,
                Expr::IsTrue(expr) | Expr::IsFalse(expr) | Expr::IsNull(expr) => {
                    tokens_after += 2;
                    expr
                }
                Expr::IsNotTrue(expr) | Expr::IsNotFalse(expr) | Expr::IsNotNull(expr) => {
                    tokens_after += 3;
                    expr
                }
                Expr::Nested(expr) => {
                    tokens_after += 1;
                    expr
                }
                leaf => {
                    let mut end = match leaf {
                        Expr::InList { expr, .. } => self.closing(self.end(expr)),
                        Expr::Function(function) => self.closing(bytes(function.name.span()).start),
                        other => bytes(leaf_span(other)).end.min(self.source.text.len()),
                    };
                    // A key in brackets ends with its bracket.
                    if let Expr::CompoundIdentifier(_) = leaf
                        && let Some(next) = self.tokens.at_or_after(end)
                        && self.source.text.get(next.clone()) == Some("]")
                        && self
                            .tokens
                            .before(end)
                            .and_then(|key| self.tokens.before(key.start))
                            .is_some_and(|open| self.source.text.get(open) == Some("["))
                    {
                        end = next.end;
                    }
                    for _ in 0..tokens_after {
                        end = self.tokens.at_or_after(end).map_or(end, |token| token.end);
                    }
                    return end;
                }
            };
        }
    }
}

fn leaf_span(expr: &Expr) -> sqlparser::tokenizer::Span {
    match expr {
        Expr::Function(function) => function.name.span(),
        other => other.span(),
    }
}
