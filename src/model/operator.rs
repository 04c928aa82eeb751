//! Operators and value types, and which of them go together.

use std::fmt;

/// How a value compares with what the author wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal, or missing.
    Neq,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gte,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lte,
    /// From `value` to `value2`, both included.
    Between,
    /// Not between, or missing.
    NotBetween,
    /// One of a list.
    In,
    /// None of a list, or missing.
    NotIn,
    /// Holds the text, or the array holds the element.
    Contains,
    /// Does not contain, or missing.
    DoesNotContain,
    /// Begins with the text.
    StartsWith,
    /// Ends with the text.
    EndsWith,
    /// A regular expression is found in the text.
    Matches,
    /// There is a value.
    IsSet,
    /// There is none.
    IsNotSet,
    /// Explicitly true.
    IsTrue,
    /// Explicitly false.
    IsFalse,
    /// The array holds at least one of the elements.
    ContainsAny,
    /// The array holds each of the elements.
    ContainsAll,
}

impl Operator {
    /// Every operator, in the order of the language reference.
    pub const ALL: [Self; 21] = [
        Self::Eq,
        Self::Neq,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::Between,
        Self::NotBetween,
        Self::In,
        Self::NotIn,
        Self::Contains,
        Self::DoesNotContain,
        Self::StartsWith,
        Self::EndsWith,
        Self::Matches,
        Self::IsSet,
        Self::IsNotSet,
        Self::IsTrue,
        Self::IsFalse,
        Self::ContainsAny,
        Self::ContainsAll,
    ];

    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Between => "between",
            Self::NotBetween => "not_between",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Contains => "contains",
            Self::DoesNotContain => "does_not_contain",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Matches => "matches",
            Self::IsSet => "is_set",
            Self::IsNotSet => "is_not_set",
            Self::IsTrue => "is_true",
            Self::IsFalse => "is_false",
            Self::ContainsAny => "contains_any",
            Self::ContainsAll => "contains_all",
        }
    }

    /// The operator of a word.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.keyword() == word)
    }

    /// The operator whose exact complement this one is; `None` for a positive operator.
    ///
    /// `is_false` is positive: it matches an explicit false only.
    #[must_use]
    pub fn complement_of(self) -> Option<Self> {
        match self {
            Self::Neq => Some(Self::Eq),
            Self::NotBetween => Some(Self::Between),
            Self::NotIn => Some(Self::In),
            Self::DoesNotContain => Some(Self::Contains),
            Self::IsNotSet => Some(Self::IsSet),
            Self::Eq
            | Self::Gt
            | Self::Gte
            | Self::Lt
            | Self::Lte
            | Self::Between
            | Self::In
            | Self::Contains
            | Self::StartsWith
            | Self::EndsWith
            | Self::Matches
            | Self::IsSet
            | Self::IsTrue
            | Self::IsFalse
            | Self::ContainsAny
            | Self::ContainsAll => None,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// What a value is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// Text; integers are read as their digits.
    String,
    /// A number.
    Number,
    /// A number that is an amount of money; the same operators and meaning as [`ValueType::Number`].
    Price,
    /// True or false.
    Boolean,
    /// A list of scalars; a scalar is a list of one.
    Array,
    /// Text that is an address; fewer operators than [`ValueType::String`].
    Url,
    /// An instant, or a local day.
    Date,
}

impl ValueType {
    /// Every value type.
    pub const ALL: [Self; 7] = [Self::String, Self::Number, Self::Price, Self::Boolean, Self::Array, Self::Url, Self::Date];

    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Price => "price",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Url => "url",
            Self::Date => "date",
        }
    }

    /// The value type of a word.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value_type| value_type.keyword() == word)
    }

    /// The operators that a value of this type takes.
    #[must_use]
    pub fn operators(self) -> &'static [Operator] {
        use Operator as O;
        match self {
            Self::String => &[
                O::Eq,
                O::Neq,
                O::Contains,
                O::DoesNotContain,
                O::StartsWith,
                O::EndsWith,
                O::Matches,
                O::In,
                O::NotIn,
                O::IsSet,
                O::IsNotSet,
            ],
            Self::Number | Self::Price => {
                &[O::Eq, O::Neq, O::Gt, O::Gte, O::Lt, O::Lte, O::Between, O::NotBetween, O::In, O::NotIn, O::IsSet, O::IsNotSet]
            }
            Self::Boolean => &[O::IsTrue, O::IsFalse, O::Eq, O::Neq, O::IsSet, O::IsNotSet],
            Self::Array => &[O::Contains, O::DoesNotContain, O::ContainsAny, O::ContainsAll, O::IsSet, O::IsNotSet],
            Self::Url => &[O::Eq, O::Neq, O::Contains, O::StartsWith, O::IsSet, O::IsNotSet],
            Self::Date => &[O::Eq, O::Neq, O::Gt, O::Gte, O::Lt, O::Lte, O::Between, O::NotBetween, O::IsSet, O::IsNotSet],
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}
