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

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pattern: &str) -> String {
        expand(pattern, Case::Kept).unwrap()
    }

    #[test]
    fn flags_classes_and_case_are_written_out() {
        for (pattern, expanded) in [
            ("abc", "abc"),
            ("a.c", r"a[\x{0}-\x{9}\x{B}-\x{10FFFF}]c"),
            ("(?s)a.c", r"a[\x{0}-\x{10FFFF}]c"),
            ("^a$", r"\Aa\z"),
            ("(?m)^a$", "(?m:^)a(?m:$)"),
            ("(?i)k", r"[Kk\x{212A}]"),
            ("[^a-z]", r"[\x{0}-\`\{-\x{10FFFF}]"),
            (r"(?-u:\d)+", "(?:[0-9])+"),
            (r"(?-u:\b)a(?-u:\B)", r"(?-u:\b)a(?-u:\B)"),
            ("(a|bc)*?", "(?:(?:(?:a|bc)))*"),
            ("a{2,5}b{3}c{1,}d?", "(?:a){2,5}(?:b){3}(?:c)+(?:d)?"),
            (r"a\.b%_-'😀", r"a\.b%_\-\'\x{1F600}"),
            ("a||b", "(?:a|(?:)|b)"),
            (r"[^\x{0}-\x{10FFFF}]", r"[^\x{0}-\x{10FFFF}]"),
            ("", "(?:)"),
        ] {
            assert_eq!(kept(pattern), expanded, "{pattern}");
        }
        assert_eq!(expand("ß", Case::Ignored).unwrap(), r"[\x{DF}\x{1E9E}]");
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for pattern in [
            "a(?=b)",
            "(?<!a)b",
            r"(a)\1",
            r"\bword",
            r"\Bword",
            "(?mR)a$",
            r"\<word",
            r"\b{start}a",
            "(a",
            "a{2,1}",
            r"(?-u:\xff)",
        ] {
            assert!(expand(pattern, Case::Kept).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_engines_cannot_hold_is_refused() {
        assert!(expand("a{1000}", Case::Kept).is_ok());
        for pattern in ["a{1001}", "a{1001,}", "(a{40}){40}"] {
            assert_eq!(expand(pattern, Case::Kept), Err(InvalidPattern::Repetition), "{pattern}");
        }
        for pattern in [r"\w{500}", r"(\w{10}\d{10}){10}\w{100}"] {
            assert_eq!(expand(pattern, Case::Kept), Err(InvalidPattern::TooLarge), "{pattern}");
        }
        assert!(expand(&"(".repeat(10_000), Case::Kept).is_err());
        assert!(expand(&format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000)), Case::Kept).is_err());
    }

    /// The longest repetition of a class that is let through fits the engine with its limits as they are by default.
    #[test]
    fn what_is_let_through_compiles() {
        for class in [r"\w", r"\d", r"\s", ".", r"\pL", r"\P{Greek}", "[a-z]"] {
            let (mut fits, mut refused) = (1, 1_001);
            while refused - fits > 1 {
                let middle = (fits + refused) / 2;
                if expand(&format!("{class}{{{middle}}}"), Case::Ignored).is_ok() { fits = middle } else { refused = middle }
            }
            let longest = expand(&format!("{class}{{{fits}}}"), Case::Ignored).unwrap();
            assert!(regex::Regex::new(&longest).is_ok(), "{class}{{{fits}}}");
        }
    }

    #[test]
    fn expanded_patterns_match_what_was_written() {
        let patterns = [
            r"^\w+@\w+\.com$",
            "(?i)straße",
            "a.c",
            "(?s)a.c",
            "(?m)^b$",
            r"\d{2,3}",
            r"[[:alpha:]]+",
            r"\p{Greek}",
            "x*",
            "(?i)ſ",
            r"(?-u:\b)b(?-u:\b)",
            "a|^$",
            r"\s",
            r"[\^\-\]]",
            "(?x) a b # c",
        ];
        let texts = [
            "",
            "a",
            "b",
            "ab",
            "a\nc",
            "abc",
            "a\nb\nc",
            "me@host.com",
            "me@host.com\n",
            "STRASSE",
            "straße",
            "STRAẞE",
            "12",
            "１２",
            "αβγ",
            "ſ",
            "S",
            "-",
            "]",
            "^",
            "\u{85}",
            " ",
            "a b",
            "éb é",
            "K",
        ];
        for pattern in patterns {
            for case in [Case::Kept, Case::Ignored] {
                let written = regex::RegexBuilder::new(pattern).case_insensitive(case == Case::Ignored).build().unwrap();
                let expanded = regex::Regex::new(&expand(pattern, case).unwrap()).unwrap();
                for text in texts {
                    assert_eq!(expanded.is_match(text), written.is_match(text), "{pattern} {case:?} on {text:?}");
                }
            }
        }
    }
}
