//! One JSON value, as its text, read as what a condition asks for.

use std::borrow::Cow;

use super::number::{canonical, integer_of_text, key_of_text};
use super::text::boolean_of_text;

/// The text without space, tab, CR and LF around it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number, as written.
    Number(&'a str),
    /// A string; `None` when it holds half of a surrogate pair, which no text can.
    Text(Option<Cow<'a, str>>),
    /// An array, as written.
    Array(&'a str),
    /// An object, as written.
    Object(&'a str),
}

impl<'a> Json<'a> {
    /// Of a text that is one valid JSON value without space around it.
    pub(super) fn of(raw: &'a str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => Self::Text(string(raw)),
            Some(b'[') => Self::Array(raw),
            Some(b'{') => Self::Object(raw),
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number(raw),
        }
    }

    /// As text: strings, and integers of 64 bits.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(raw) => integer_of_text(raw).map(|integer| Cow::Owned(integer.to_string())),
            Self::Null | Self::Boolean(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// As the key of a number: numbers, and text that is one between spaces.
    pub(super) fn number(&self) -> Option<i128> {
        match self {
            Self::Number(raw) => key_of_text(raw),
            Self::Text(text) => key_of_text(trimmed(text.as_deref()?)),
            Self::Null | Self::Boolean(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// As a boolean: booleans, and text that is one.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Text(text) => boolean_of_text(text.as_deref()?),
            Self::Null | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// As it is stored: the text of the value, the empty array and text without any space; missing for `null`.
    pub(super) fn stored(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Null => None,
            Self::Boolean(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Number(raw) | Self::Object(raw) => Some(Cow::Borrowed(raw)),
            Self::Text(Some(text)) if text.is_empty() => Some(Cow::Borrowed("\"\"")),
            Self::Text(text) => Some(Cow::Owned(serde_json::Value::from(text.as_deref().unwrap_or("\u{fffd}")).to_string())),
            Self::Array(raw) if elements(raw).is_empty() => Some(Cow::Borrowed("[]")),
            Self::Array(raw) => Some(Cow::Borrowed(raw)),
        }
    }

    /// A text that equal scalars share and no others: a number never equals a text.
    pub(super) fn identity(&self) -> Option<String> {
        match self {
            Self::Boolean(value) => Some(value.to_string()),
            Self::Number(raw) => key_of_text(raw).map(|key| canonical(key).to_string()),
            Self::Text(text) => text.as_deref().map(|text| format!("\"{text}")),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// What a person is shown of an element.
    pub(super) fn shown(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(Some(text)) => Some(text.clone()),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Text(None) | Self::Array(_) | Self::Object(_) => self.stored(),
        }
    }
}

/// The elements of a JSON array, each as its text.
pub(super) fn elements(array: &str) -> Vec<&str> {
    let raw: Vec<&serde_json::value::RawValue> = serde_json::from_str(array).unwrap_or_default();
    raw.into_iter().map(serde_json::value::RawValue::get).collect()
}

fn string(raw: &str) -> Option<Cow<'_, str>> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_strings_and_integers_of_64_bits() {
        let text = |raw| Json::of(raw).text().map(Cow::into_owned);
        assert_eq!(text(r#""a\u00e4\n""#).as_deref(), Some("aä\n"));
        assert_eq!(text(r#""""#).as_deref(), Some(""));
        assert_eq!(text("18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(text("-0").as_deref(), Some("0"));
        for raw in ["18446744073709551616", "1.0", "1e3", "true", "null", "[]", "{}", r#""\ud800""#] {
            assert_eq!(text(raw), None, "{raw}");
        }
    }

    #[test]
    fn identities_tell_numbers_from_texts_and_join_equal_numbers() {
        let identity = |raw| Json::of(raw).identity();
        assert_eq!(identity("1"), identity("1.0"));
        assert_eq!(identity("0"), identity("-0.0"));
        assert_ne!(identity("1"), identity(r#""1""#));
        assert_ne!(identity("true"), identity(r#""true""#));
        assert_ne!(identity("9007199254740993"), identity("9007199254740992"));
        assert_eq!(identity("[1]"), None);
        assert_eq!(identity("1e999"), None);
    }

    #[test]
    fn stored_values_show_emptiness() {
        let stored = |raw| Json::of(raw).stored().map(Cow::into_owned);
        assert_eq!(stored("null"), None);
        assert_eq!(stored("[ \n]").as_deref(), Some("[]"));
        assert_eq!(stored("[null]").as_deref(), Some("[null]"));
        assert_eq!(stored(r#""""#).as_deref(), Some(r#""""#));
        assert_eq!(stored("0").as_deref(), Some("0"));
        assert_eq!(stored("{}").as_deref(), Some("{}"));
    }
}
