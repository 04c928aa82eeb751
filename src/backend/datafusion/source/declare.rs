//! Reads the values of a column as the type that the configuration declares. What does not fit is missing.

use std::sync::Arc;

use bigdecimal::num_bigint::BigInt;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, PrimitiveArray, StringViewArray, new_null_array,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type, TimestampMicrosecondType,
    UInt64Type, i256,
};
use datafusion::arrow::error::ArrowError;

use super::convert::plain_cast;
use super::instant::{Micros, Zones, count_to_micros, day_to_micros, micros_to_day, text_to_day, text_to_micros, trim};
use crate::backend::tables::{Declared, EpochUnit};
use crate::model::catalog::ColumnType;
use crate::model::decimal::{Decimal, is_json_number};

/// 2^63, from which on a double is no signed integer of 64 bits.
const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0;

/// Whether a column of this type can be declared so at all.
pub(super) fn can_read(stored: &ColumnType, declared: Declared) -> bool {
    use ColumnType as C;
    let number = matches!(stored, C::Integer | C::Unsigned | C::Float | C::Decimal { .. });
    match declared {
        Declared::Text => number || matches!(stored, C::Text | C::Json | C::Boolean | C::Date | C::Timestamp),
        Declared::Integer | Declared::Float | Declared::Decimal { .. } => number || matches!(stored, C::Text | C::Json),
        Declared::Boolean => matches!(stored, C::Boolean | C::Text | C::Json),
        Declared::Date => matches!(stored, C::Date | C::Timestamp | C::Text | C::Json),
        Declared::Timestamp(_) => number || matches!(stored, C::Timestamp | C::Date | C::Text | C::Json),
        Declared::Json => matches!(stored, C::Text | C::Json | C::Integer | C::Unsigned | C::Boolean),
    }
}

/// Whether a column of this type that is declared so may hold a value that does not fit, and then is missing.
pub(super) fn may_lose(stored: &ColumnType, declared: Declared) -> bool {
    use ColumnType as C;
    match declared {
        // The digits of times that are too far away for a calendar cannot be written.
        Declared::Text => matches!(stored, C::Float | C::Date | C::Timestamp),
        Declared::Float => !matches!(stored, C::Float | C::Integer | C::Unsigned),
        Declared::Integer | Declared::Boolean | Declared::Decimal { .. } | Declared::Date | Declared::Timestamp(_) => {
            *stored != declared.column_type()
        }
        Declared::Json => false,
    }
}

/// Canonical `values` of another type, or timestamps, as the declared type, delivered as `target`.
pub(super) fn read_as(values: &ArrayRef, declared: Declared, target: &DataType, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    Ok(match declared {
        Declared::Text | Declared::Json => as_text(values, target)?,
        Declared::Integer => as_integer(values)?,
        Declared::Float => as_float(values)?,
        Declared::Boolean => as_boolean(values),
        Declared::Decimal { precision, scale } => match target {
            DataType::Decimal128(..) => {
                as_decimal::<Decimal128Type>(values, precision, scale, |digits| i128::try_from(digits).ok())?
            }
            _ => as_decimal::<Decimal256Type>(values, precision, scale, |digits| i256::from_string(&digits.to_string()))?,
        },
        Declared::Date => as_date(values, zones),
        Declared::Timestamp(unit) => as_timestamp(values, unit, zones)?,
    })
}

fn as_text(values: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        // Keys that passed a tool which knows no integers with NULLs arrive as doubles.
        DataType::Float64 => plain_cast(&as_integer(values)?, target),
        _ => plain_cast(values, target),
    }
}

fn as_integer(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match values.data_type() {
        DataType::Float64 => Arc::new(values.as_primitive::<Float64Type>().unary_opt::<_, Int64Type>(whole)),
        DataType::Utf8View => Arc::new(texts(values).map(|text| integer(trim(text?))).collect::<Int64Array>()),
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            let digits = plain_cast(values, &DataType::Utf8View)?;
            Arc::new(texts(&digits).map(|text| text?.parse::<Decimal>().ok()?.to_i64()).collect::<Int64Array>())
        }
        _ => plain_cast(values, &DataType::Int64)?,
    })
}

fn integer(text: &str) -> Option<i64> {
    if is_json_number(text) { text.parse().ok() } else { None }
}

#[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "the value is whole and within the range")]
fn whole(value: f64) -> Option<i64> {
    if value.trunc() == value && (-INTEGERS_END..INTEGERS_END).contains(&value) { Some(value as i64) } else { None }
}

fn as_float(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match values.data_type() {
        DataType::Utf8View => Arc::new(texts(values).map(|text| float(trim(text?))).collect::<Float64Array>()),
        // Through the digits: the nearest double, where dividing the scaled integer would round twice.
        DataType::Decimal128(..) | DataType::Decimal256(..) => as_float(&plain_cast(values, &DataType::Utf8View)?)?,
        _ => plain_cast(values, &DataType::Float64)?,
    })
}

fn float(text: &str) -> Option<f64> {
    if is_json_number(text) { text.parse().ok().filter(|value: &f64| value.is_finite()) } else { None }
}

fn as_boolean(values: &ArrayRef) -> ArrayRef {
    let read = |text: &str| match text {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    };
    match values.data_type() {
        DataType::Utf8View => Arc::new(texts(values).map(|text| read(trim(text?))).collect::<BooleanArray>()),
        _ => new_null_array(&DataType::Boolean, values.len()),
    }
}

/// Texts, integers and decimals must fit exactly; doubles are rounded to the scale.
fn as_decimal<T: DecimalType>(
    values: &ArrayRef,
    precision: u8,
    scale: i8,
    native: impl Fn(BigInt) -> Option<T::Native>,
) -> Result<ArrayRef, ArrowError> {
    let digits = match values.data_type() {
        DataType::Utf8View => Arc::clone(values),
        DataType::Float64 => {
            let places = usize::try_from(scale).unwrap_or(0);
            let rounded = values.as_primitive::<Float64Type>().iter();
            Arc::new(
                rounded
                    .map(|value| Some(format!("{:.places$}", value.filter(|value| value.is_finite())?)))
                    .collect::<StringViewArray>(),
            )
        }
        _ => plain_cast(values, &DataType::Utf8View)?,
    };
    let read = |text: &str| {
        let (scaled, exact) = trim(text).parse::<Decimal>().ok()?.scaled_floor(i64::from(scale));
        let fits = exact && scaled.magnitude().to_string().len() <= usize::from(precision);
        if fits { native(scaled) } else { None }
    };
    let read: PrimitiveArray<T> = texts(&digits).map(|text| read(text?)).collect();
    Ok(Arc::new(read.with_precision_and_scale(precision, scale)?))
}

fn as_date(values: &ArrayRef, zones: &Zones) -> ArrayRef {
    let days: PrimitiveArray<Date32Type> = match values.data_type() {
        DataType::Utf8View => texts(values).map(|text| text_to_day(text?)).collect(),
        DataType::Timestamp(..) => {
            values.as_primitive::<TimestampMicrosecondType>().unary_opt(|micros| micros_to_day(micros, &zones.local))
        }
        _ => return new_null_array(&DataType::Date32, values.len()),
    };
    Arc::new(days)
}

fn as_timestamp(values: &ArrayRef, unit: Option<EpochUnit>, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    let count_of = unit.unwrap_or(EpochUnit::Millisecond);
    let micros: Micros = match values.data_type() {
        DataType::Timestamp(..) => return Ok(Arc::clone(values)),
        DataType::Int64 => values.as_primitive::<Int64Type>().unary_opt(|count| count_to_micros(count, count_of)),
        DataType::UInt64 => {
            values.as_primitive::<UInt64Type>().unary_opt(|count| count_to_micros(i64::try_from(count).ok()?, count_of))
        }
        DataType::Float64 => values.as_primitive::<Float64Type>().unary_opt(|count| fraction_to_micros(count, count_of)),
        DataType::Date32 => values.as_primitive::<Date32Type>().unary_opt(|day| day_to_micros(day, &zones.local)),
        DataType::Utf8View => texts(values).map(|text| text_to_micros(text?, unit, zones)).collect(),
        _ => return as_timestamp(&as_float(values)?, unit, zones),
    };
    Ok(Arc::new(micros.with_timezone("UTC")))
}

/// A count with a fraction, as tools write that keep times as doubles; floored to microseconds.
fn fraction_to_micros(count: f64, unit: EpochUnit) -> Option<i64> {
    let micros = match unit {
        EpochUnit::Second => count * 1e6,
        EpochUnit::Millisecond => count * 1e3,
        EpochUnit::Microsecond => count,
        EpochUnit::Nanosecond => count / 1e3,
    };
    whole(micros.floor())
}

fn texts(values: &ArrayRef) -> impl Iterator<Item = Option<&str>> {
    values.as_string_view().iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::datafusion::source::types::{arrow_type, column_type};
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
    use jiff::tz::TimeZone;

    fn read(values: &ArrayRef, declared: &str) -> Vec<String> {
        let declared: Declared = declared.parse().unwrap();
        let zones = Zones { local: TimeZone::UTC, naive: TimeZone::UTC };
        let target = arrow_type(&declared.column_type()).unwrap();
        let read = read_as(values, declared, &target, &zones).unwrap();
        assert_eq!(read.data_type(), &target);
        let options = FormatOptions::new().with_null("-");
        let formatter = ArrayFormatter::try_new(&read, &options).unwrap();
        (0..read.len()).map(|row| formatter.value(row).to_string()).collect()
    }

    fn text(values: &[&str]) -> ArrayRef {
        Arc::new(values.iter().map(Some).collect::<StringViewArray>())
    }

    fn floats(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn numbers() {
        let written = text(&[" 7 ", "-9223372036854775808", "9223372036854775808", "007", "1.5", "1e3", "", "x"]);
        assert_eq!(read(&written, "integer"), ["7", "-9223372036854775808", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(read(&written, "float")[4..], ["1.5", "1000.0", "-", "-"]);
        assert_eq!(read(&text(&["1e999", "inf", "NaN", "-0"]), "float"), ["-", "-", "-", "-0.0"]);
        assert_eq!(
            read(&floats(&[3.0, 3.5, f64::NAN, 9.3e18, -9_223_372_036_854_775_808.0]), "integer"),
            ["3", "-", "-", "-", "-9223372036854775808"]
        );
    }

    #[test]
    fn decimals_fit_exactly_or_are_missing() {
        assert_eq!(
            read(&text(&["12.30", "1.005", "1234567890.12", "12345678901.1", "1e2", "-0.01"]), "decimal(12,2)"),
            ["12.30", "-", "1234567890.12", "-", "100.00", "-0.01"]
        );
        assert_eq!(read(&floats(&[12.34, 0.1 + 0.2, f64::INFINITY]), "decimal(12,2)"), ["12.34", "0.30", "-"]);
        let wide = "1234567890123456789012345678901234567890.5";
        assert_eq!(read(&text(&[wide]), "decimal(50,1)"), [wide]);
        assert_eq!(read(&text(&["1e999999999", "1e-999999999"]), "decimal(50,1)"), ["-", "-"]);
    }

    #[test]
    fn what_may_lose_a_value() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        let loses = |stored: &ColumnType, declared: &str| may_lose(stored, declared.parse().unwrap());
        for declared in ["integer", "float", "boolean", "decimal(12,2)", "date", "timestamp", "timestamp[s]"] {
            assert!(loses(&ColumnType::Text, declared) && loses(&ColumnType::Json, declared), "{declared}");
        }
        assert!(!loses(&ColumnType::Text, "string") && !loses(&ColumnType::Text, "json"));
        assert!(loses(&ColumnType::Float, "string") && !loses(&ColumnType::Float, "float"));
        assert!(loses(&decimal(10, 2), "decimal(12,2)") && !loses(&decimal(12, 2), "decimal(12,2)"));
        assert!(loses(&ColumnType::Integer, "timestamp") && !loses(&ColumnType::Timestamp, "timestamp[s]"));
    }

    #[test]
    fn what_loses_no_value_keeps_the_extremes() {
        let extremes: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
            Arc::new(PrimitiveArray::<UInt64Type>::from(vec![0, u64::MAX])),
            Arc::new(BooleanArray::from(vec![false, true])),
            Arc::new(PrimitiveArray::<Decimal128Type>::from(vec![1, -1]).with_precision_and_scale(38, 10).unwrap()),
        ];
        for values in &extremes {
            let stored = column_type(values.data_type());
            for declared in ["string", "integer", "float", "boolean", "date", "timestamp", "json"] {
                let parsed: Declared = declared.parse().unwrap();
                if can_read(&stored, parsed) && !may_lose(&stored, parsed) && stored != parsed.column_type() {
                    assert!(!read(values, declared).contains(&"-".to_owned()), "{stored} as {declared}");
                }
            }
        }
    }

    #[test]
    fn texts_of_numbers_are_their_digits() {
        assert_eq!(read(&(Arc::new(Int64Array::from(vec![10_115])) as ArrayRef), "string"), ["10115"]);
        assert_eq!(read(&floats(&[10_115.0, 0.5]), "string"), ["10115", "-"]);
        assert_eq!(read(&text(&["TRUE", " false", "1", "yes"]), "boolean"), ["true", "false", "-", "-"]);
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(read(&text(&["2024-02-29", "2023-02-29", "2024-02-29T00:00:00Z"]), "date"), ["2024-02-29", "-", "-"]);
        assert_eq!(
            read(&floats(&[0.5, -0.000_000_1]), "timestamp[s]"),
            ["1970-01-01T00:00:00.500Z", "1969-12-31T23:59:59.999999Z"]
        );
        assert_eq!(
            read(&(Arc::new(Int64Array::from(vec![1_500, i64::MAX])) as ArrayRef), "timestamp"),
            ["1970-01-01T00:00:01.500Z", "-"]
        );
        assert_eq!(read(&text(&["1500", "1970-01-01"]), "timestamp"), ["-", "1970-01-01T00:00:00Z"]);
        assert_eq!(read(&text(&["1500"]), "timestamp[ms]"), ["1970-01-01T00:00:01.500Z"]);
    }
}
