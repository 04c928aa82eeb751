//! [`Literal`]: a value as an author wrote it, before anyone asked what type it should have.

use serde::{Serialize, Serializer};

use super::decimal::Decimal;

/// A value in a definition. `null` and objects are not values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Literal {
    /// `true` or `false`.
    Boolean(bool),
    /// A number, exactly as written.
    Number(Decimal),
    /// A text.
    Text(String),
    /// A list of values that are not lists.
    List(Vec<Self>),
}

impl Literal {
    /// What the value is, in an author's words.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
        }
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Number(value) => serializer.collect_str(value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => serializer.collect_seq(values),
        }
    }
}
