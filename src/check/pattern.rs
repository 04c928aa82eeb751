//! Regular expressions: parsed here once, and printed again in a form that every engine reads alike.
//!
//! The author writes the dialect of Rust's `regex`. What is printed has no flags, no classes by name and no case folding: those are
//! expanded to explicit ranges of code points, so that the tables of Unicode of another engine, or its idea of `.` and `$`, never show.
//!
//! | printed | means |
//! |---|---|
//! | a letter, a digit, `\.`, `\x{1F600}` | that code point |
//! | `[a-z\x{E9}]` | one code point of these ranges; `[^\x{0}-\x{10FFFF}]` is none |
//! | `(?:...)`, `\|`, `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}` | as everywhere; always greedy, since only whether there is a match counts |
//! | `\A`, `\z` | the start and the end of the text |
//! | `(?m:^)`, `(?m:$)` | the start and the end of a line |
//! | [`ASCII_BOUNDARY`], [`NOT_ASCII_BOUNDARY`] | an ASCII word boundary, or none |
//!
//! The last two are the one construct that has no common spelling: Rust's `(?-u:\b)` is the `\b` of RE2. No other printed construct
//! holds these characters, so that a backend on RE2 replaces them as text.

use std::fmt::Write;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Literal, Look, Repetition};

/// An ASCII word boundary, as it is printed.
pub const ASCII_BOUNDARY: &str = r"(?-u:\b)";

/// The absence of an ASCII word boundary, as it is printed.
pub const NOT_ASCII_BOUNDARY: &str = r"(?-u:\B)";

/// Largest count of a repetition, and of repetitions in each other: the bound of RE2.
const MAX_REPETITION: u32 = 1_000;

/// Largest expansion in bytes, repetitions written out: engines compile those.
const MAX_EXPANSION: usize = 1024 * 1024;

/// Whether letters match in their own case alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Kept,
    /// They match in any case.
    Ignored,
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It does not parse. Look-around and back-references do not.
    #[error("not a regular expression: {reason}")]
    Malformed {
        /// Why not.
        reason: String,
    },
    /// A construct that engines read differently.
    #[error("{construct} is not supported in a regular expression")]
    Unsupported {
        /// Which.
        construct: &'static str,
    },
    /// A repetition counts too far.
    #[error("a repetition in a regular expression, with those around it, counts at most to {MAX_REPETITION}")]
    Repetition,
    /// Its expansion is too large.
    #[error("the regular expression is larger than 1 MiB with its classes and repetitions written out")]
    TooLarge,
}

/// Prints a pattern in explicit ranges and literals, as the module says.
///
/// ```
/// use segmenta::check::{Case, expand};
/// assert_eq!(expand(r"^(?i)ab\d$", Case::Kept).unwrap().starts_with(r"\A[Aa][Bb][0-9"), true);
/// assert!(expand(r"a(?=b)", Case::Kept).is_err());
/// ```
///
/// # Errors
/// The pattern does not parse, holds what engines read differently, or is too large.
pub fn expand(pattern: &str, case: Case) -> Result<String, InvalidPattern> {
    let parsed = ParserBuilder::new()
        .case_insensitive(case == Case::Ignored)
        .nest_limit(MAX_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| InvalidPattern::Malformed { reason: reason_of(&error) })?;
    let mut printer = Printer { text: String::new() };
    printer.print(&parsed, 1)?;
    if expanded_size(&parsed) > MAX_EXPANSION {
        return Err(InvalidPattern::TooLarge);
    }
    Ok(printer.text)
}

/// How deep groups nest: every function over a pattern recurses at most so far.
const MAX_NESTING: u32 = 100;

fn reason_of(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "it cannot be parsed".to_owned(),
    }
}

struct Printer {
    text: String,
}

impl Printer {
    /// `repeated` is how often this is repeated by what stands around it.
    fn print(&mut self, hir: &Hir, repeated: u32) -> Result<(), InvalidPattern> {
        if self.text.len() > MAX_EXPANSION {
            return Err(InvalidPattern::TooLarge);
        }
        match hir.kind() {
            HirKind::Empty => self.text.push_str("(?:)"),
            HirKind::Literal(Literal(bytes)) => {
                let literal =
                    std::str::from_utf8(bytes).map_err(|_| InvalidPattern::Unsupported { construct: "a byte that is no text" })?;
                for character in literal.chars() {
                    self.character(character);
                }
            }
            HirKind::Class(class) => self.class(class),
            HirKind::Look(look) => self.look(*look)?,
            HirKind::Repetition(repetition) => self.repetition(repetition, repeated)?,
            HirKind::Capture(capture) => {
                self.text.push_str("(?:");
                self.print(&capture.sub, repeated)?;
                self.text.push(')');
            }
            HirKind::Concat(parts) => {
                for part in parts {
                    self.print(part, repeated)?;
                }
            }
            HirKind::Alternation(parts) => {
                self.text.push_str("(?:");
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        self.text.push('|');
                    }
                    self.print(part, repeated)?;
                }
                self.text.push(')');
            }
        }
        Ok(())
    }

    fn character(&mut self, character: char) {
        if character.is_ascii_alphanumeric() || matches!(character, ' ' | '_' | '@' | '%' | ',' | '/' | ':' | ';' | '=') {
            self.text.push(character);
        } else if character.is_ascii_punctuation() {
            self.text.push('\\');
            self.text.push(character);
        } else {
            // Writing to a text does not fail.
            let _written = write!(self.text, "\\x{{{:X}}}", u32::from(character));
        }
    }

    fn class(&mut self, class: &Class) {
        let ranges: Vec<(char, char)> = match class {
            Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
            // INVARIANT: the parser admits only what matches text, so that ranges of bytes are ASCII.
            Class::Bytes(class) => {
                class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
            }
        };
        if ranges.is_empty() {
            self.text.push_str(r"[^\x{0}-\x{10FFFF}]");
            return;
        }
        self.text.push('[');
        for (start, end) in ranges {
            self.character(start);
            if start != end {
                self.text.push('-');
                self.character(end);
            }
        }
        self.text.push(']');
    }

    fn look(&mut self, look: Look) -> Result<(), InvalidPattern> {
        self.text.push_str(match look {
            Look::Start => r"\A",
            Look::End => r"\z",
            Look::StartLF => "(?m:^)",
            Look::EndLF => "(?m:$)",
            Look::WordAscii => ASCII_BOUNDARY,
            Look::WordAsciiNegate => NOT_ASCII_BOUNDARY,
            Look::StartCRLF | Look::EndCRLF => return Err(InvalidPattern::Unsupported { construct: "the flag `R`" }),
            Look::WordUnicode | Look::WordUnicodeNegate => {
                return Err(InvalidPattern::Unsupported { construct: r"`\b` of Unicode (write `(?-u:\b)` for that of ASCII)" });
            }
            Look::WordStartAscii
            | Look::WordEndAscii
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfAscii
            | Look::WordEndHalfAscii
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode => return Err(InvalidPattern::Unsupported { construct: "the start or end of a word" }),
        });
        Ok(())
    }

    fn repetition(&mut self, repetition: &Repetition, repeated: u32) -> Result<(), InvalidPattern> {
        let Repetition { min, max, sub, .. } = repetition;
        let most = max.unwrap_or(*min).max(1);
        let repeated = repeated.saturating_mul(most);
        if repeated > MAX_REPETITION {
            return Err(InvalidPattern::Repetition);
        }
        self.text.push_str("(?:");
        self.print(sub, repeated)?;
        self.text.push(')');
        match (min, max) {
            (0, None) => self.text.push('*'),
            (1, None) => self.text.push('+'),
            (0, Some(1)) => self.text.push('?'),
            (min, None) => self.text.push_str(&format!("{{{min},}}")),
            (min, Some(max)) if min == max => self.text.push_str(&format!("{{{min}}}")),
            (min, Some(max)) => self.text.push_str(&format!("{{{min},{max}}}")),
        }
        Ok(())
    }
}

/// About the bytes of the printed text with every repetition written out.
fn expanded_size(hir: &Hir) -> usize {
    /// A range of a class, such as `\x{1F600}-\x{1F64F}`.
    const RANGE: usize = 12;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 4,
        HirKind::Literal(Literal(bytes)) => bytes.len(),
        HirKind::Class(Class::Unicode(class)) => 2 + class.ranges().len() * RANGE,
        HirKind::Class(Class::Bytes(class)) => 2 + class.ranges().len() * RANGE,
        HirKind::Capture(capture) => expanded_size(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(expanded_size).fold(0, usize::saturating_add),
        HirKind::Repetition(repetition) => {
            let times = usize::try_from(repetition.max.unwrap_or(repetition.min).max(1)).unwrap_or(usize::MAX);
            expanded_size(&repetition.sub).saturating_mul(times)
        }
    }
}
