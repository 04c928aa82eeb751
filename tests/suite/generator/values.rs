//! The values that tables and literals are made of: ordinary ones, and those on which implementations disagree.

use super::dice::Dice;

/// Texts of names, countries and the like: case, unicode, wildcards, quotes, numbers and dates in disguise.
#[rustfmt::skip]
pub(crate) const TEXTS: &[&str] = &[
    "US", "us", "DE", "Straße", "STRASSE", "ΟΔΥΣΣΕΥΣ", "οδυσσευς", "οδυσσεύς", "Σ", "ς", "é", "e\u{301}", "İstanbul",
    "istanbul", "K", "k", "\u{212a}", "ǅ", "100%", "a_b", "a*b", "a\\b", "o'neil", "say \"hi\"", "", " ", " US", "ada@example.com",
    "ADA@Example.COM", "line\nbreak", "null", "true", "FALSE", "True", "7", "07", " 8\t", "1e3", "1.0", "-0", "0x10", "inf",
    "NaN", "9007199254740993", "18446744073709551616", "2026-01-15", "2026-02-30", "2026-01-15T10:00:00+02:00",
    "2026-01-15T10:00:00", "2025-12-31T23:59:59.9999999Z", "https://example.com/a?b=c#d", "https://EXAMPLE.com/", "[1,2]",
    "{\"k\": 1}", "😀", "ab", "abab", "a.c", "abc",
];

/// Event types; one with a star in it, one that another begins with.
pub(crate) const EVENT_TYPES: &[&str] = &["view", "view_item", "order", "order_completed", "odd*", "Order", ""];

/// Integers, around and past the exact range of doubles, and the ends of 64 bits.
#[rustfmt::skip]
pub(crate) const INTEGERS: &[i64] = &[
    0, 1, 2, 3, 5, 7, 10, 18, 42, 100, 1000, -1, -5, 1 << 53, (1 << 53) + 1, (1 << 53) - 1, -(1 << 53) - 1, i64::MAX,
    i64::MAX - 1, i64::MIN,
];

/// Unsigned integers.
pub(crate) const UNSIGNED: &[u64] = &[0, 1, 2, 7, 42, 1000, (1 << 53) + 1, 1 << 63, u64::MAX, u64::MAX - 1];

/// Doubles: no numbers, both zeros, halves of billionths, the ends of the range.
#[rustfmt::skip]
pub(crate) const FLOATS: &[f64] = &[
    0.0, -0.0, 0.1, 0.2, 0.3, 0.30000000000000004, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 9.99, 19.99, 42.0, 1000.0, -1.0, -2.5, 1e9,
    9007199254740992.0, 9007199254740994.0, 1e18, 1e15, 1.7e308, 5e-324, 0.0009765625, f64::NAN, f64::INFINITY,
    f64::NEG_INFINITY,
];

/// Numbers as JSON may write them.
#[rustfmt::skip]
pub(crate) const JSON_NUMBERS: &[&str] = &[
    "0", "-0", "1", "2", "3", "7", "42", "1000", "1e3", "1E+3", "1.0", "1.50", "0.1", "0.30000000000000004", "-5", "2.5", "100",
    "-0.0", "9007199254740992", "9007199254740993", "9007199254740992.0", "9223372036854775807", "18446744073709551615",
    "18446744073709551616", "1e400", "-1e400", "1e-400", "123456789012345678901234567890", "1768471200000", "99.99",
];

/// Regular expressions.
#[rustfmt::skip]
pub(crate) const PATTERNS: &[&str] = &[
    "^a", "[0-9]+", "a.c", "(?i)straße", r"\d{1,4}", "^$", "b$", r"\p{Greek}+", "[^a-zA-Z]", "a|b|ß", r"\.", "(?s)e.b", "e.b",
    "(ab)+$", r"\s", r"\w+@\w+\.com$", r"^\S+$", "%|_", "[[:alpha:]]{2,}", "é", "ς", "K", r"\\", r"^\*|\*", "(?i)k", "[α-ω]",
    r"'|\x22", "(?m)^b", "x*", r"(?i)^us$", r"\A[A-Z]{2}\z", "(?:a|ab)(?:c|bab)?$",
];

/// A share of values that is missing everywhere.
pub(crate) const MISSING_PERCENT: usize = 20;

/// A text: mostly of the common ones, so that values meet.
pub(crate) fn text(dice: &mut Dice) -> String {
    let common = if dice.chance(50) { &TEXTS[..16] } else { TEXTS };
    (*dice.pick(common)).to_owned()
}

/// An integer, mostly small.
pub(crate) fn integer(dice: &mut Dice) -> i64 {
    if dice.chance(70) { dice.between(-3, 12) } else { *dice.pick(INTEGERS) }
}

/// JSON text of a value that stands under a key which most rows use for such values.
fn json_value(dice: &mut Dice, key: &str, instants: &[String]) -> String {
    let key = if dice.chance(15) { *dice.pick(&["n", "s", "b", "d", "a", "o", "null"]) } else { key };
    match key {
        "n" | "x" => (*dice.pick(JSON_NUMBERS)).to_owned(),
        "s" | "y.z" => json_text(&text(dice)),
        "b" => (*dice.pick(&["true", "false", "\"true\"", "\"FALSE\"", "\" true\"", "0", "1"])).to_owned(),
        "d" => match dice.below(4) {
            0 => json_text("2026-01-15"),
            1 => dice.between(1_700_000_000_000, 1_800_000_000_000).to_string(),
            _ => json_text(&dice.pick_owned(instants)),
        },
        "a" => {
            let count = dice.below(4);
            let kind = *dice.pick(&["n", "s", "b"]);
            let elements: Vec<String> =
                (0..count).map(|_| if dice.chance(15) { "null".to_owned() } else { json_value(dice, kind, instants) }).collect();
            format!("[{}]", elements.join(","))
        }
        "o" => {
            let members = [("x", "n"), ("y.z", "s")];
            let members = members.map(|(key, kind)| format!("{}: {}", json_text(key), json_value(dice, kind, instants)));
            format!("{{{}}}", members.join(", "))
        }
        _ => "null".to_owned(),
    }
}

/// The keys of JSON objects, each mostly with values of its own kind.
pub(crate) const JSON_KEYS: &[&str] = &["n", "s", "b", "d", "a", "o"];

/// JSON text: mostly an object, sometimes with a key twice, sometimes something else, sometimes not JSON.
pub(crate) fn json(dice: &mut Dice, instants: &[String]) -> String {
    match dice.below(20) {
        0 => {
            let broken =
                ["{", "{\"n\": 1", "{'n': 1}", "{\"n\": 01}", "{\"n\": NaN}", "{\"n\": 1} x", "", "[1,]", "{\"s\": \"\\ud800\"}"];
            (*dice.pick(&broken)).to_owned()
        }
        1 => (*dice.pick(&["null", "[1, \"a\"]", "\"text\"", "7", "true", "\"\"", "[]", "{}"])).to_owned(),
        _ => {
            let mut members = Vec::new();
            for key in JSON_KEYS {
                if dice.chance(MISSING_PERCENT) {
                    continue;
                }
                members.push(format!("{}: {}", json_text(key), json_value(dice, key, instants)));
                if dice.chance(5) {
                    members.push(format!("\"{key}\": {}", json_value(dice, key, instants)));
                }
            }
            let space = *dice.pick(&["", " ", "\n\t"]);
            format!("{space}{{{}}}{space}", members.join(","))
        }
    }
}

/// A JSON string; some characters are escaped though they need not be.
fn json_text(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            'é' | '\n' => format!("\\u{:04x}", u32::from(char)),
            '😀' => "\\ud83d\\uDE00".to_owned(),
            '/' => "\\/".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
