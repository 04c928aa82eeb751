//! Text to the tree of sqlparser: which part of SQL an expression is, and which bytes each piece of it is made of.
//!
//! The parser reads whole dialects of SQL; an expression needs names, literals, calls, comparisons and three logical words. Everything
//! else is shut out here, so that what follows meets no other form, and a word such as `date` or `case` is a name like any other.

use std::cell::Cell;
use std::ops::Range;

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList, FunctionArguments};
use sqlparser::ast::{Ident, ObjectName};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::diagnostic::Code;

/// The words that are no names unless they are quoted.
pub(super) const RESERVED: [(&str, Keyword); 9] = [
    ("and", Keyword::AND),
    ("or", Keyword::OR),
    ("not", Keyword::NOT),
    ("in", Keyword::IN),
    ("between", Keyword::BETWEEN),
    ("is", Keyword::IS),
    ("true", Keyword::TRUE),
    ("false", Keyword::FALSE),
    ("null", Keyword::NULL),
];

/// The name of the call that stands for a list in brackets: the tree of sqlparser keeps no place for the brackets of a list.
pub(super) const LIST: &str = "[";

/// How many parentheses, calls and negations may stand in each other. The parser recurses; its thread has room for so many.
const MAX_NESTING: usize = 160;

/// How many operators a text may have. A chain of them is a tree as deep as it is long, which is dropped by recursion.
const MAX_OPERATORS: usize = 5_000;

/// A tree, and the tokens that it is made of. Every span of the tree is in line 1, its columns counting bytes.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) expr: Expr,
    pub(super) tokens: Tokens,
}

/// Why a text is no expression.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) span: Range<usize>,
}

/// Parses a text. The caller's stack must have room for [`MAX_NESTING`] levels.
pub(super) fn parse(text: &str) -> Result<Parsed, Flaw> {
    let (pieces, tokens) = tokenize(text)?;
    let dialect = Expressions { operators: Cell::new(0) };
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(pieces);
    let parsed = parser.parse_expr().and_then(|expr| match parser.peek_token_ref().token {
        Token::EOF => Ok(expr),
        _ => expected(&parser, "`AND`, `OR` or the end"),
    });
    match parsed {
        Ok(expr) => Ok(Parsed { expr, tokens }),
        Err(error) => Err(flaw(text, &tokens, &parser, &error)),
    }
}

/// The bytes of a span of the tree.
pub(super) fn bytes(span: Span) -> Range<usize> {
    let byte = |location: Location| usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
    byte(span.start)..byte(span.end)
}

/// What parses as an expression, and as nothing more.
#[derive(Debug)]
struct Expressions {
    operators: Cell<usize>,
}

impl Dialect for Expressions {
    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_'
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"'
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    /// A word that is kept as a keyword is never tried as a name: what fails once would be read twice at every level.
    fn is_reserved_for_identifier(&self, _keyword: Keyword) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => Some(name(parser)),
                Keyword::NOT | Keyword::TRUE | Keyword::FALSE | Keyword::NULL => None,
                _ => Some(expected(parser, "a condition or a value")),
            },
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Minus | Token::LParen => None,
            Token::LBracket => Some(list(parser)),
            _ => Some(expected(parser, "a condition or a value")),
        }
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        let is_operator = match &parser.peek_token_ref().token {
            Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq | Token::Mul => true,
            Token::Word(word) => {
                matches!(word.keyword, Keyword::AND | Keyword::OR | Keyword::IS | Keyword::IN | Keyword::BETWEEN | Keyword::NOT)
            }
            _ => false,
        };
        if is_operator { None } else { Some(Ok(self.prec_unknown())) }
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        self.operators.set(self.operators.get() + 1);
        if self.operators.get() > MAX_OPERATORS {
            return Some(expected(parser, TOO_MANY));
        }
        let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
        let negated = is(&parser.peek_token_ref().token, Keyword::NOT);
        if is(&parser.peek_nth_token_ref(usize::from(negated)).token, Keyword::IN) {
            return Some(in_list(parser, left, negated));
        }
        None
    }
}

/// Stands for what is expected where there is an operator too many.
const TOO_MANY: &str = "the end of so long an expression";

fn expected<T>(parser: &Parser<'_>, what: &str) -> Result<T, ParserError> {
    parser.expected_ref(what, parser.peek_token_ref())
}

/// A property, or a call.
fn name(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let first = key(parser)?;
    if first.quote_style.is_none() && parser.consume_token(&Token::LParen) {
        return call(parser, first, &Token::RParen, "`,` or `)`");
    }
    let mut keys = vec![first];
    loop {
        if parser.consume_token(&Token::Period) {
            keys.push(key(parser)?);
        } else if parser.consume_token(&Token::LBracket) {
            let is_key = match &parser.peek_token_ref().token {
                Token::Word(word) => word.quote_style.is_some(),
                _ => false,
            };
            if !is_key {
                return expected(parser, "a key in double quotes");
            }
            keys.push(key(parser)?);
            if !parser.consume_token(&Token::RBracket) {
                return expected(parser, "`]`");
            }
        } else {
            break;
        }
    }
    Ok(match <[Ident; 1]>::try_from(keys) {
        Ok([only]) => Expr::Identifier(only),
        Err(keys) => Expr::CompoundIdentifier(keys),
    })
}

/// One key of a path, whatever the word.
fn key(parser: &mut Parser<'_>) -> Result<Ident, ParserError> {
    if !matches!(parser.peek_token_ref().token, Token::Word(_)) {
        return expected(parser, "a name");
    }
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => Ok(Ident { value: word.value, quote_style: word.quote_style, span: token.span }),
        _ => expected(parser, "a name"),
    }
}

fn list(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let open = parser.next_token();
    call(parser, Ident { value: LIST.to_owned(), quote_style: None, span: open.span }, &Token::RBracket, "`,` or `]`")
}

/// What follows the opening bracket of a call, up to the closing one.
fn call(parser: &mut Parser<'_>, name: Ident, close: &Token, next: &str) -> Result<Expr, ParserError> {
    let mut args = Vec::new();
    while !parser.consume_token(close) {
        if !args.is_empty() && !parser.consume_token(&Token::Comma) {
            return expected(parser, next);
        }
        args.push(argument(parser)?);
    }
    Ok(Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}

fn argument(parser: &mut Parser<'_>) -> Result<FunctionArg, ParserError> {
    let is_name = matches!(&parser.peek_token_ref().token, Token::Word(word) if word.quote_style.is_none());
    if is_name && parser.peek_nth_token_ref(1).token == Token::RArrow {
        let name = key(parser)?;
        parser.advance_token();
        let arg = FunctionArgExpr::Expr(parser.parse_expr()?);
        return Ok(FunctionArg::Named { name, arg, operator: FunctionArgOperator::RightArrow });
    }
    parser.parse_expr().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)))
}

/// `[NOT] IN (...)`. The list may be empty: that it says nothing is told where definitions are checked.
fn in_list(parser: &mut Parser<'_>, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    // The left side is copied, so that it may be no chain.
    if !matches!(left, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_) | Expr::Nested(_) | Expr::Value(_)) {
        return expected(parser, "`AND`, `OR` or the end");
    }
    for _ in 0..=usize::from(negated) {
        parser.advance_token();
    }
    if !parser.consume_token(&Token::LParen) {
        return expected(parser, "a list in parentheses");
    }
    let mut list = Vec::new();
    while !parser.consume_token(&Token::RParen) {
        if !list.is_empty() && !parser.consume_token(&Token::Comma) {
            return expected(parser, "`,` or `)`");
        }
        list.push(parser.parse_expr()?);
    }
    Ok(Expr::InList { expr: Box::new(left.clone()), list, negated })
}

/// What a token is to a search for brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Other,
}

/// The tokens of a text but for blanks and remarks, in order.
#[derive(Debug)]
pub(super) struct Tokens(Vec<(Range<usize>, Kind)>);

impl Tokens {
    /// The first token at or after a byte.
    pub(super) fn at_or_after(&self, byte: usize) -> Option<Range<usize>> {
        self.0.get(self.index(byte)).map(|(span, _)| span.clone())
    }

    /// The last token that ends at or before a byte.
    pub(super) fn before(&self, byte: usize) -> Option<Range<usize>> {
        self.0.get(..self.index(byte))?.iter().rev().map(|(span, _)| span.clone()).find(|span| span.end <= byte)
    }

    /// The end of the bracket that closes the first one opened at or after a byte.
    pub(super) fn closing(&self, byte: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (span, kind) in self.0.get(self.index(byte)..)? {
            match kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.checked_sub(1)?,
                Kind::Other => continue,
            }
            if depth == 0 {
                return Some(span.end);
            }
        }
        None
    }

    fn index(&self, byte: usize) -> usize {
        self.0.partition_point(|(span, _)| span.start < byte)
    }
}

/// The tokens for the parser, with columns that count bytes, and the same for us.
fn tokenize(text: &str) -> Result<(Vec<TokenWithSpan>, Tokens), Flaw> {
    let dialect = Expressions { operators: Cell::new(0) };
    let mut offsets = Offsets { rest: text.char_indices(), line: 1, column: 1, byte: 0, length: text.len() };
    let mut pieces = match Tokenizer::new(&dialect, text).tokenize_with_location() {
        Ok(pieces) => pieces,
        Err(error) => {
            let start = offsets.byte_at(error.location);
            let message = match error.message.as_str() {
                "Unterminated string literal" => "a text in single quotes does not end".to_owned(),
                message if message.starts_with("Expected close delimiter") => "a name in double quotes does not end".to_owned(),
                message => lower_first(message.trim_end_matches('.')),
            };
            let span = start..text.len().max(start);
            return Err(Flaw { code: Code::Syntax, message: format!("not an expression: {message}"), help: None, span });
        }
    };
    let mut tokens = Vec::new();
    for piece in &mut pieces {
        let start = offsets.byte_at(piece.span.start);
        let end = offsets.byte_at(piece.span.end);
        piece.span = Span { start: column(start), end: column(end) };
        let kind = match &piece.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::LParen | Token::LBracket => Kind::Open,
            Token::RParen | Token::RBracket => Kind::Close,
            _ => Kind::Other,
        };
        tokens.push((start..end, kind));
        if let Token::Word(word) = &mut piece.token
            && !RESERVED.iter().any(|(_, reserved)| *reserved == word.keyword)
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
    Ok((pieces, Tokens(tokens)))
}

fn column(byte: usize) -> Location {
    Location { line: 1, column: u64::try_from(byte).unwrap_or(u64::MAX).saturating_add(1) }
}

/// Lines and columns to bytes, for places that never go back.
struct Offsets<'t> {
    rest: std::str::CharIndices<'t>,
    line: u64,
    column: u64,
    byte: usize,
    length: usize,
}

impl Offsets<'_> {
    fn byte_at(&mut self, place: Location) -> usize {
        while (self.line, self.column) < (place.line, place.column) {
            match self.rest.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
            self.byte = self.rest.offset();
        }
        self.byte.min(self.length)
    }
}

fn flaw(text: &str, tokens: &Tokens, parser: &Parser<'_>, error: &ParserError) -> Flaw {
    let raw = match error {
        ParserError::ParserError(raw) | ParserError::TokenizerError(raw) => raw.as_str(),
        ParserError::RecursionLimitExceeded => {
            let span = bytes(parser.get_current_token().span);
            let message = format!("nested more than {MAX_NESTING} levels deep");
            return Flaw { code: Code::TooDeep, message, help: None, span };
        }
    };
    // The parser keeps the place of an error in its words alone. The end of the text has none.
    let (words, start) = match raw.rsplit_once(" at Line: 1, Column: ") {
        Some((words, column)) => (words, column.parse::<usize>().ok().map(|column| column.saturating_sub(1))),
        None => (raw, None),
    };
    let at = start.and_then(|start| tokens.at_or_after(start));
    let found = at.clone().map(|span| excerpt(text, span));
    // What the end of a text lacks is marked at the last thing before it: there is nothing else to mark.
    let span = at.or_else(|| tokens.before(text.len())).unwrap_or(0..text.len());
    let expected = words.strip_prefix("Expected: ").and_then(|words| words.split_once(", found: ")).map(|(expected, _)| expected);
    if expected == Some(TOO_MANY) {
        let message = format!("the expression has more than {MAX_OPERATORS} operators");
        return Flaw { code: Code::TooLarge, message, help: None, span };
    }
    let message = match expected {
        None => lower_first(words),
        Some(expected) => {
            let expected = match expected {
                ")" => "`,` or `)`",
                "AND" => "`AND`",
                after_is if after_is.starts_with("[NOT] NULL") => "`TRUE` or `FALSE` after `IS`",
                other => other,
            };
            let found = found.as_ref().map_or_else(|| "the end".to_owned(), |found| format!("`{found}`"));
            format!("expected {expected}, found {found}")
        }
    };
    let before = tokens.before(span.start).and_then(|before| text.get(before));
    let first = tokens.at_or_after(0).and_then(|first| text.get(first)).unwrap_or_default();
    let help =
        found.and_then(|found| hint(&found, before)).or_else(|| hint(first, None).filter(|_| first.eq_ignore_ascii_case("select")));
    Flaw { code: Code::Syntax, message: format!("not an expression: {message}"), help: help.map(str::to_owned), span }
}

/// What to write instead of what other dialects of SQL, and other languages, have.
fn hint(found: &str, before: Option<&str>) -> Option<&'static str> {
    Some(match found.to_ascii_uppercase().as_str() {
        "LIKE" | "ILIKE" | "SIMILAR" | "REGEXP" | "RLIKE" | "~" | "~*" => {
            "Use `contains`, `starts_with`, `ends_with` or `matches`, such as `contains(email, '@example.')`."
        }
        "||" => "Write `OR`.",
        "&&" => "Write `AND`.",
        "!" => "Write `NOT`.",
        "+" | "-" | "/" | "%" => "Nothing is computed here, but for a factor as in `a > 2 * b`.",
        "::" => "Write `value(property, type => 'number')` to read a value as a type.",
        ";" => "Leave the `;` out.",
        "`" => "Put a name into double quotes.",
        "SELECT" | "FROM" | "WHERE" | "GROUP" | "ORDER" | "LIMIT" | "HAVING" => {
            "Write the condition alone: nothing is selected from anywhere."
        }
        text if text.starts_with('\'') && before.is_some_and(is_name) => {
            "Compare a property with a text by an operator such as `=`; a date is a text alone: `'2026-01-31'`."
        }
        _ => return None,
    })
}

/// Whether a token is a name.
fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '"')
        && !RESERVED.iter().any(|(word, _)| word.eq_ignore_ascii_case(token))
}

/// A piece of a text for a message: its first line, and no more of it than a reader needs to know it again.
pub(super) fn excerpt(text: &str, span: Range<usize>) -> String {
    const SHOWN: usize = 40;
    let piece = text.get(span).unwrap_or_default();
    let line = piece.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < piece.len() {
        shown.push('…');
    }
    shown
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}
