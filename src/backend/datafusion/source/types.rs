//! Which column type an Arrow type is, which Arrow type its values are delivered in, and what the types of several files come to.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use crate::model::catalog::ColumnType;

/// The name of the type of columns that hold nothing but NULL, until another file says what they hold.
const NOTHING: &str = "Null";

/// What holds every integer of 64 bits, signed or not.
const ANY_INTEGER: ColumnType = ColumnType::Decimal { precision: 20, scale: 0 };

/// Digits of a DECIMAL of 128 bits.
const NARROW_DIGITS: u8 = 38;

/// Digits of the widest DECIMAL.
const WIDEST_DIGITS: u8 = 76;

/// The instants that timestamps are delivered as.
pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// What a column of a file holds.
pub(super) fn column_type(stored: &DataType) -> ColumnType {
    match stored {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => ColumnType::Integer,
        DataType::UInt64 => ColumnType::Unsigned,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Float,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => ColumnType::Decimal { precision: *precision, scale: *scale },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Dictionary(_, values) => column_type(values),
        DataType::RunEndEncoded(_, values) => column_type(values.data_type()),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => ColumnType::List(Box::new(column_type(element.data_type()))),
        DataType::Struct(fields) => {
            ColumnType::Struct(fields.iter().map(|field| (field.name().clone(), column_type(field.data_type()))).collect())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => match fields.as_ref() {
                [keys, values] if column_type(keys.data_type()) == ColumnType::Text => {
                    ColumnType::Map(Box::new(column_type(values.data_type())))
                }
                _ => ColumnType::Other(stored.to_string()),
            },
            other => ColumnType::Other(other.to_string()),
        },
        DataType::Null => ColumnType::Other(NOTHING.to_owned()),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Union(..) => ColumnType::Other(stored.to_string()),
    }
}

/// The Arrow type in which the values of a column are delivered; `None` for what is not read. Fields that are not read are left out
/// of structs.
pub(super) fn arrow_type(column: &ColumnType) -> Option<DataType> {
    Some(match column {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Unsigned => DataType::UInt64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Decimal { precision, scale } if *precision <= NARROW_DIGITS => DataType::Decimal128(*precision, *scale),
        ColumnType::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
        ColumnType::Text | ColumnType::Json => DataType::Utf8View,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => instant(),
        ColumnType::List(element) => DataType::List(Arc::new(Field::new_list_field(arrow_type(element)?, true))),
        ColumnType::Struct(fields) => {
            let fields: Fields =
                fields.iter().filter_map(|(name, field)| Some(Field::new(name, arrow_type(field)?, true))).collect();
            if fields.is_empty() {
                return None;
            }
            DataType::Struct(fields)
        }
        ColumnType::Map(value) => {
            let entry =
                Fields::from(vec![Field::new("keys", DataType::Utf8View, false), Field::new("values", arrow_type(value)?, true)]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
        }
        ColumnType::Other(_) => return None,
    })
}

/// Two files hold different things under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    /// The keys below the column that lead to the difference.
    pub(super) keys: Vec<String>,
    /// What the first file holds there.
    pub(super) left: ColumnType,
    /// What the other holds.
    pub(super) right: ColumnType,
}

/// The type that holds the values of both exactly.
pub(super) fn unify(left: &ColumnType, right: &ColumnType) -> Result<ColumnType, Clash> {
    use ColumnType as C;
    match (left, right) {
        (left, right) if left == right => Ok(left.clone()),
        (C::Other(nothing), other) | (other, C::Other(nothing)) if nothing == NOTHING => Ok(other.clone()),
        (C::Integer, C::Unsigned) | (C::Unsigned, C::Integer) => Ok(ANY_INTEGER),
        (any, C::Integer | C::Unsigned) | (C::Integer | C::Unsigned, any) if *any == ANY_INTEGER => Ok(ANY_INTEGER),
        (C::Decimal { precision: p, scale: s }, C::Decimal { precision: q, scale: t }) => {
            let whole = (i16::from(*p) - i16::from(*s)).max(i16::from(*q) - i16::from(*t));
            let scale = *s.max(t);
            match u8::try_from(whole + i16::from(scale)) {
                Ok(precision) if precision <= WIDEST_DIGITS => Ok(C::Decimal { precision, scale }),
                _ => Err(Clash { keys: Vec::new(), left: left.clone(), right: right.clone() }),
            }
        }
        // Only NDJSON knows JSON columns that nobody declared: of values that are not all strings.
        (C::Text, C::Json) | (C::Json, C::Text) => Ok(C::Json),
        (C::List(left), C::List(right)) => Ok(C::List(Box::new(unify(left, right)?))),
        (C::Map(left), C::Map(right)) => Ok(C::Map(Box::new(unify(left, right)?))),
        (C::Struct(left), C::Struct(right)) => {
            let mut fields = left.clone();
            for (name, field) in right {
                match fields.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => {
                        *known = unify(known, field).map_err(|mut clash| {
                            clash.keys.insert(0, name.clone());
                            clash
                        })?;
                    }
                    None => fields.push((name.clone(), field.clone())),
                }
            }
            Ok(C::Struct(fields))
        }
        _ => Err(Clash { keys: Vec::new(), left: left.clone(), right: right.clone() }),
    }
}

/// The type when no further file can say more: what holds nothing but NULL is text without values.
pub(super) fn settle(column: ColumnType) -> ColumnType {
    match column {
        ColumnType::Other(nothing) if nothing == NOTHING => ColumnType::Text,
        ColumnType::List(element) => ColumnType::List(Box::new(settle(*element))),
        ColumnType::Map(value) => ColumnType::Map(Box::new(settle(*value))),
        ColumnType::Struct(fields) => ColumnType::Struct(fields.into_iter().map(|(name, field)| (name, settle(field))).collect()),
        settled @ (ColumnType::Boolean
        | ColumnType::Integer
        | ColumnType::Unsigned
        | ColumnType::Float
        | ColumnType::Decimal { .. }
        | ColumnType::Text
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::Json
        | ColumnType::Other(_)) => settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, ColumnType)]) -> ColumnType {
        ColumnType::Struct(fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect())
    }

    #[test]
    fn unifies_what_loses_nothing() {
        let nothing = column_type(&DataType::Null);
        assert_eq!(unify(&nothing, &ColumnType::Date), Ok(ColumnType::Date));
        assert_eq!(settle(ColumnType::List(Box::new(nothing))), ColumnType::List(Box::new(ColumnType::Text)));
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        assert_eq!(unify(&ColumnType::Integer, &ColumnType::Unsigned), Ok(decimal(20, 0)));
        assert_eq!(unify(&decimal(10, 2), &decimal(9, 4)), Ok(decimal(12, 4)));
        assert!(unify(&decimal(76, 0), &decimal(76, 4)).is_err());
        assert!(unify(&ColumnType::Integer, &ColumnType::Float).is_err());
        assert!(unify(&ColumnType::Date, &ColumnType::Timestamp).is_err());
        let left = fields(&[("a", ColumnType::Integer), ("b", ColumnType::Text)]);
        let right = fields(&[("c", ColumnType::Date), ("a", ColumnType::Unsigned)]);
        let both = fields(&[("a", decimal(20, 0)), ("b", ColumnType::Text), ("c", ColumnType::Date)]);
        assert_eq!(unify(&left, &right), Ok(both));
        let clash = Clash { keys: vec!["a".to_owned()], left: ColumnType::Integer, right: ColumnType::Text };
        assert_eq!(unify(&left, &fields(&[("a", ColumnType::Text)])), Err(clash));
    }

    #[test]
    fn leaves_out_what_is_not_read() {
        let stored = fields(&[("a", ColumnType::Integer), ("b", ColumnType::Other("Binary".to_owned()))]);
        let delivered = DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into());
        assert_eq!(arrow_type(&stored), Some(delivered));
        assert_eq!(arrow_type(&fields(&[("b", ColumnType::Other("Binary".to_owned()))])), None);
        assert_eq!(arrow_type(&ColumnType::List(Box::new(ColumnType::Other("Binary".to_owned())))), None);
    }
}
