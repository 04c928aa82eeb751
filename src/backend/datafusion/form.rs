//! [`Form`]: how the column of a value that was read stores it, and what a person is shown of it.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use jiff::Timestamp;

use super::number;
use crate::backend::{DAY_MICROS, Datum, shown_quotient};

/// A value in a plan: its column, and how that stores it. A missing value is NULL in every form.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    /// The column.
    pub(super) expr: Expr,
    /// How it stores the value.
    pub(super) form: Form,
}

/// How a column stores values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `Utf8View`.
    Text,
    /// `Boolean`.
    Boolean,
    /// `Timestamp(µs, UTC)`.
    Instant,
    /// A number: `Int64`.
    Integer,
    /// A number: `UInt64`.
    Unsigned,
    /// A number: `Float64`, finite, without -0.0.
    Float,
    /// A number: `Decimal128`, above 38 digits `Decimal256`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// A number that is an exact integer or a double: the key of [`number`], a `Decimal128(38, 0)`.
    Mixed,
    /// A list of values of one form.
    List(Box<Self>),
    /// Any JSON value as its text; `[]` and `""` are the empty array and text.
    Stored,
    /// A number, the days from an instant up to `as_of`: stored as the instant.
    Age {
        /// The end.
        as_of: Timestamp,
    },
    /// A number, the quotient of an exact sum and a count: stored as the sum, a DECIMAL.
    Average {
        /// The count.
        count: Box<Expr>,
    },
}

impl Form {
    /// The type of a column of this form; of an average, whose sums have many, the widest.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Text | Self::Stored => DataType::Utf8View,
            Self::Boolean => DataType::Boolean,
            Self::Instant | Self::Age { .. } => instant_type(),
            Self::Integer => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::Decimal { precision, scale } if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            Self::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Mixed => number::key_type(),
            Self::List(element) => DataType::List(Field::new_list_field(element.data_type(), true).into()),
            Self::Average { .. } => DataType::Decimal256(76, 9),
        }
    }

    /// What a person is shown of a row. `count` is the count of an average.
    ///
    /// # Errors
    /// When the column is not of this form.
    pub(super) fn show(&self, values: &dyn Array, row: usize, count: Option<i64>) -> Result<Datum> {
        if values.is_null(row) {
            return Ok(Datum::Missing);
        }
        Ok(match self {
            Self::Text | Self::Stored => Datum::Text(text_at(values, row)?.to_owned()),
            Self::Boolean => Datum::Boolean(values.as_boolean_opt().ok_or_else(|| unexpected(values))?.value(row)),
            Self::Instant => {
                let micros = micros_at(values, row)?;
                Datum::Instant(Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} µs"), |at| at.to_string()))
            }
            Self::Integer => {
                Datum::Number(values.as_primitive_opt::<Int64Type>().ok_or_else(|| unexpected(values))?.value(row).to_string())
            }
            Self::Unsigned => {
                Datum::Number(values.as_primitive_opt::<UInt64Type>().ok_or_else(|| unexpected(values))?.value(row).to_string())
            }
            Self::Float => {
                Datum::Number(values.as_primitive_opt::<Float64Type>().ok_or_else(|| unexpected(values))?.value(row).to_string())
            }
            Self::Decimal { .. } => Datum::Number(decimal_at(values, row)?.normalized().to_plain_string()),
            Self::Mixed => {
                let key = values.as_primitive_opt::<Decimal128Type>().ok_or_else(|| unexpected(values))?.value(row);
                Datum::Number(number::text_of_key(key))
            }
            Self::List(element) => {
                let list = values.as_list_opt::<i32>().ok_or_else(|| unexpected(values))?.value(row);
                let texts = (0..list.len()).map(|at| Ok(element.show(&list, at, None)?.to_string()));
                Datum::List(texts.collect::<Result<_>>()?)
            }
            Self::Age { as_of } => {
                let micros = i128::from(as_of.as_microsecond()) - i128::from(micros_at(values, row)?);
                Datum::Number(shown_quotient(&BigDecimal::from(micros), &BigDecimal::from(DAY_MICROS)))
            }
            Self::Average { .. } => match count {
                Some(count) if count > 0 => Datum::Number(shown_quotient(&decimal_at(values, row)?, &BigDecimal::from(count))),
                Some(_) | None => Datum::Missing,
            },
        })
    }
}

/// The type of instants.
pub(super) fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn text_at(values: &dyn Array, row: usize) -> Result<&str> {
    if let Some(texts) = values.as_string_view_opt() {
        return Ok(texts.value(row));
    }
    Ok(values.as_string_opt::<i32>().ok_or_else(|| unexpected(values))?.value(row))
}

fn micros_at(values: &dyn Array, row: usize) -> Result<i64> {
    Ok(values.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| unexpected(values))?.value(row))
}

/// The exact value of a DECIMAL.
pub(super) fn decimal_at(values: &dyn Array, row: usize) -> Result<BigDecimal> {
    let (digits, scale) = match values.data_type() {
        DataType::Decimal128(_, scale) => (BigInt::from(values.as_primitive::<Decimal128Type>().value(row)), *scale),
        DataType::Decimal256(_, scale) => {
            (BigInt::from_signed_bytes_le(&values.as_primitive::<Decimal256Type>().value(row).to_le_bytes()), *scale)
        }
        _ => return Err(unexpected(values)),
    };
    Ok(BigDecimal::new(digits, i64::from(scale)))
}

fn unexpected(values: &dyn Array) -> DataFusionError {
    DataFusionError::Internal(format!("a column has the unexpected type {}", values.data_type()))
}
