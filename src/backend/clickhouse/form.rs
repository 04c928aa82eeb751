//! [`Typed`]: a value in SQL, and how it is stored there.

use bigdecimal::num_bigint::BigInt;
use jiff::Timestamp;

use super::sql::{Expr, formula};
use crate::check::Reading;

/// A value of a row or group.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    /// An expression, short enough to be repeated: a column or a name.
    pub(super) expr: Expr,
    /// How it stores the value.
    pub(super) form: Form,
}

/// How an expression stores values. What is missing is NULL, but for numbers of two kinds and lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `String`.
    Text,
    /// `UInt8` or `Bool`.
    Boolean,
    /// `Int64`: microseconds since 1970.
    Instant,
    /// A number: an integer of at most 64 bits.
    Integer {
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// A number: `Float64`, finite, without -0.0.
    Float,
    /// A number: `Int256`, its digits with so many of them after the point.
    Exact {
        /// Digits after the point.
        scale: i8,
    },
    /// A number: `Tuple(Nullable(Int128), Nullable(Float64))`, an exact integer of 64 bits or a double. Both are NULL when it is missing.
    Mixed,
    /// `Array` of values of one form, which may be missing. A missing array is the empty one: no test tells them apart.
    List(Box<Self>),
    /// `UInt8`: whether a JSON value is set, as it is stored.
    Stored {
        /// The value as JSON, for people.
        text: Box<Expr>,
    },
    /// A number, the days from an instant up to `as_of`: stored as the instant.
    Age {
        /// The end.
        as_of: Timestamp,
    },
    /// A number, the quotient of digits and a count: stored as the digits.
    Average {
        /// Digits after the point.
        scale: i8,
        /// The count.
        count: Box<Expr>,
    },
}

/// A name for a value that is read so.
pub(super) fn read_name(value: &str, reading: Reading) -> String {
    let noun = match reading {
        Reading::Text => "text",
        Reading::Number => "number",
        Reading::Boolean => "boolean",
        Reading::Date => "instant",
        Reading::Stored => "set",
        Reading::Elements(_) => "elements",
    };
    format!("{value} as {noun}")
}

impl Form {
    /// What stands beside the value and belongs to it.
    pub(super) fn companion(&mut self) -> Option<&mut Expr> {
        match self {
            Self::Average { count: companion, .. } | Self::Stored { text: companion } => Some(companion),
            _ => None,
        }
    }

    /// A form in which a value that never fits is stored as missing, and that value.
    pub(super) fn missing(&self) -> Expr {
        match self {
            Self::Mixed => formula!("tuple(CAST(NULL AS Nullable(Int128)), CAST(NULL AS Nullable(Float64)))"),
            Self::List(element) => match element.as_ref() {
                Self::Text => formula!("CAST([] AS Array(Nullable(String)))"),
                Self::Boolean | Self::Stored { .. } => formula!("CAST([] AS Array(Nullable(UInt8)))"),
                Self::Instant | Self::Age { .. } | Self::Integer { unsigned: false } => {
                    formula!("CAST([] AS Array(Nullable(Int64)))")
                }
                Self::Integer { unsigned: true } => formula!("CAST([] AS Array(Nullable(UInt64)))"),
                Self::Float => formula!("CAST([] AS Array(Nullable(Float64)))"),
                Self::Exact { .. } | Self::Average { .. } => formula!("CAST([] AS Array(Nullable(Int256)))"),
                Self::Mixed => formula!("CAST([] AS Array(Tuple(Nullable(Int128), Nullable(Float64))))"),
                Self::List(_) => formula!("[]"),
            },
            Self::Text => formula!("CAST(NULL AS Nullable(String))"),
            Self::Boolean | Self::Stored { .. } => formula!("CAST(NULL AS Nullable(UInt8))"),
            Self::Instant | Self::Age { .. } | Self::Integer { unsigned: false } => formula!("CAST(NULL AS Nullable(Int64))"),
            Self::Integer { unsigned: true } => formula!("CAST(NULL AS Nullable(UInt64))"),
            Self::Float => formula!("CAST(NULL AS Nullable(Float64))"),
            Self::Exact { .. } | Self::Average { .. } => formula!("CAST(NULL AS Nullable(Int256))"),
        }
    }
}

/// The least and the greatest of 64 bits.
pub(super) fn integer_limits(unsigned: bool) -> (BigInt, BigInt) {
    if unsigned { (BigInt::from(0), BigInt::from(u64::MAX)) } else { (BigInt::from(i64::MIN), BigInt::from(i64::MAX)) }
}
