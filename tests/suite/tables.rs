//! Rows in memory to Arrow and back, and to the JSON of scenario files.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int64Array, ListArray,
    MapArray, RecordBatch, RecordBatchOptions, StringViewArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Fields, Float64Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type, i256,
};
use indexmap::IndexMap;
use jiff::Timestamp;
use jiff::civil::Date;
use segmenta::model::catalog::ColumnType;
use serde_json::json;

use crate::reference::value::{Row, Value};

/// Columns by name.
pub(crate) type Columns = IndexMap<String, ColumnType>;

/// The rows as a batch of the canonical types.
pub(crate) fn to_batch(columns: &Columns, rows: &[Row]) -> RecordBatch {
    let null = Value::Null;
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, column_type) in columns {
        let values: Vec<&Value> = rows.iter().map(|row| row.get(name).unwrap_or(&null)).collect();
        fields.push(Field::new(name, data_type(column_type), true));
        arrays.push(to_array(column_type, &values));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).expect("columns of one length")
}

fn data_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Unsigned => DataType::UInt64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Decimal { precision, scale } if *precision <= 38 => DataType::Decimal128(*precision, *scale),
        ColumnType::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
        ColumnType::Text | ColumnType::Json => DataType::Utf8View,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::List(element) => DataType::List(Arc::new(Field::new_list_field(data_type(element), true))),
        ColumnType::Struct(fields) => DataType::Struct(struct_fields(fields)),
        ColumnType::Map(value) => DataType::Map(map_entries(value), false),
        ColumnType::Other(name) => panic!("no rows hold {name}"),
    }
}

fn struct_fields(fields: &[(String, ColumnType)]) -> Fields {
    fields.iter().map(|(name, field)| Field::new(name, data_type(field), true)).collect()
}

fn map_entries(value: &ColumnType) -> Arc<Field> {
    let fields = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", data_type(value), true)];
    Arc::new(Field::new("entries", DataType::Struct(fields.into()), false))
}

fn to_array(column_type: &ColumnType, values: &[&Value]) -> ArrayRef {
    let nulls = || NullBuffer::from_iter(values.iter().map(|value| **value != Value::Null));
    let misfit = |value: &Value| -> ! { panic!("{value:?} is no {column_type}") };
    macro_rules! column {
        ($array:ty, $($pattern:pat => $found:expr),+) => {
            values
                .iter()
                .map(|value| match value {
                    Value::Null => None,
                    $($pattern => Some($found),)+
                    other => misfit(other),
                })
                .collect::<$array>()
        };
    }
    match column_type {
        ColumnType::Boolean => Arc::new(column!(BooleanArray, Value::Bool(value) => *value)),
        ColumnType::Integer => Arc::new(column!(Int64Array, Value::I64(value) => *value)),
        ColumnType::Unsigned => Arc::new(column!(UInt64Array, Value::U64(value) => *value)),
        ColumnType::Float => Arc::new(column!(Float64Array, Value::F64(value) => *value)),
        ColumnType::Decimal { precision, scale } => {
            let digits = |unscaled: &BigInt| i256::from_string(&unscaled.to_string()).expect("at most 76 digits");
            if *precision <= 38 {
                let array =
                    column!(Decimal128Array, Value::Decimal { unscaled, .. } => digits(unscaled).to_i128().expect("38 digits"));
                Arc::new(array.with_precision_and_scale(*precision, *scale).expect("a DECIMAL"))
            } else {
                let array = column!(Decimal256Array, Value::Decimal { unscaled, .. } => digits(unscaled));
                Arc::new(array.with_precision_and_scale(*precision, *scale).expect("a DECIMAL"))
            }
        }
        ColumnType::Text | ColumnType::Json => Arc::new(column!(StringViewArray, Value::Text(text) => text.as_str())),
        ColumnType::Date => Arc::new(column!(Date32Array, Value::Date(days) => *days)),
        ColumnType::Timestamp => {
            Arc::new(column!(TimestampMicrosecondArray, Value::Timestamp(micros) => *micros).with_timezone("UTC"))
        }
        ColumnType::List(element) => {
            let empty = Vec::new();
            let lists: Vec<&Vec<Value>> = values
                .iter()
                .map(|value| match value {
                    Value::Null => &empty,
                    Value::List(elements) => elements,
                    other => misfit(other),
                })
                .collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
            let elements = to_array(element, &lists.into_iter().flatten().collect::<Vec<_>>());
            Arc::new(ListArray::new(Arc::new(Field::new_list_field(data_type(element), true)), offsets, elements, Some(nulls())))
        }
        ColumnType::Struct(fields) => {
            let columns = fields.iter().map(|(name, field)| {
                let members: Vec<&Value> = values.iter().map(|value| member(value, name)).collect();
                to_array(field, &members)
            });
            Arc::new(StructArray::new(struct_fields(fields), columns.collect(), Some(nulls())))
        }
        ColumnType::Map(value_type) => {
            let empty = Vec::new();
            let maps: Vec<&Vec<(String, Value)>> = values
                .iter()
                .map(|value| match value {
                    Value::Null => &empty,
                    Value::Object(members) => members,
                    other => misfit(other),
                })
                .collect();
            let offsets = OffsetBuffer::from_lengths(maps.iter().map(|map| map.len()));
            let keys: StringViewArray = maps.iter().flat_map(|map| map.iter()).map(|(key, _)| Some(key.as_str())).collect();
            let held: Vec<&Value> = maps.iter().flat_map(|map| map.iter()).map(|(_, value)| value).collect();
            let entries = map_entries(value_type);
            let DataType::Struct(entry_fields) = entries.data_type() else { unreachable!("entries are structs") };
            let pairs = StructArray::new(entry_fields.clone(), vec![Arc::new(keys), to_array(value_type, &held)], None);
            Arc::new(MapArray::new(entries, offsets, pairs, Some(nulls()), false))
        }
        ColumnType::Other(name) => panic!("no rows hold {name}"),
    }
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Object(members) => members.iter().find(|(key, _)| key == name).map_or(&Value::Null, |(_, value)| value),
        _ => &Value::Null,
    }
}

/// The rows of a batch of any Arrow types that hold such values.
pub(crate) fn from_batch(batch: &RecordBatch) -> Vec<Row> {
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    (0..batch.num_rows())
        .map(|row| names.iter().zip(batch.columns()).map(|(name, column)| (name.clone(), from_array(column, row))).collect())
        .collect()
}

fn from_array(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let one = || array.slice(row, 1);
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Value::I64(cast(&one(), &DataType::Int64).expect("an integer").as_primitive::<Int64Type>().value(0)),
        DataType::UInt64 => Value::U64(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Value::F64(cast(&one(), &DataType::Float64).expect("a float").as_primitive::<Float64Type>().value(0))
        }
        DataType::Decimal128(_, scale) => {
            Value::Decimal { unscaled: array.as_primitive::<Decimal128Type>().value(row).into(), scale: (*scale).into() }
        }
        DataType::Decimal256(_, scale) => {
            let digits = array.as_primitive::<Decimal256Type>().value(row).to_string();
            Value::Decimal { unscaled: digits.parse().expect("digits"), scale: (*scale).into() }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Value::Text(cast(&one(), &DataType::Utf8View).expect("text").as_string_view().value(0).to_owned())
        }
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(unit, _) => Value::Timestamp(match unit {
            TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row) * 1_000_000,
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row) * 1_000,
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000),
        }),
        DataType::Dictionary(_, value) => from_array(&cast(&one(), value).expect("an entry of the dictionary"), 0),
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            Value::List((0..elements.len()).map(|element| from_array(&elements, element)).collect())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            Value::Object(
                fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), from_array(column, row))).collect(),
            )
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let pair = |entry: usize| match from_array(keys, entry) {
                Value::Text(key) => (key, from_array(values, entry)),
                other => panic!("{other:?} is no key"),
            };
            Value::Object((0..entries.len()).map(pair).collect())
        }
        other => panic!("no rows are read from {other}"),
    }
}

/// A value as it stands in a scenario file.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null | Value::NoText => json!(null),
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U64(value) => json!(value),
        // As text: it keeps every bit, and names what JSON has no number for.
        Value::F64(value) => json!(format!("{value:?}")),
        Value::Decimal { unscaled, scale } => json!(BigDecimal::new(unscaled.clone(), *scale).to_plain_string()),
        Value::Text(text) | Value::JsonNumber(text) => json!(text),
        Value::Date(days) => json!((Date::constant(1970, 1, 1) + jiff::Span::new().days(*days)).to_string()),
        Value::Timestamp(micros) => json!(Timestamp::from_microsecond(*micros).expect("an instant").to_string()),
        Value::List(elements) => elements.iter().map(to_json).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), to_json(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

/// The value of a column that stands in a scenario file.
pub(crate) fn from_json(column_type: &ColumnType, json: &serde_json::Value) -> Value {
    let misfit = || -> ! { panic!("{json} is no {column_type}") };
    let text = || match json {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => misfit(),
    };
    if json.is_null() {
        return Value::Null;
    }
    match column_type {
        ColumnType::Boolean => Value::Bool(json.as_bool().unwrap_or_else(|| misfit())),
        ColumnType::Integer => Value::I64(text().parse().unwrap_or_else(|_| misfit())),
        ColumnType::Unsigned => Value::U64(text().parse().unwrap_or_else(|_| misfit())),
        ColumnType::Float => Value::F64(text().parse().unwrap_or_else(|_| misfit())),
        ColumnType::Decimal { scale, .. } => {
            let value: BigDecimal = text().parse().unwrap_or_else(|_| misfit());
            let (unscaled, scale) = value.with_scale((*scale).into()).into_bigint_and_exponent();
            Value::Decimal { unscaled, scale }
        }
        ColumnType::Text | ColumnType::Json => Value::Text(json.as_str().unwrap_or_else(|| misfit()).to_owned()),
        ColumnType::Date => {
            let date: Date = text().parse().unwrap_or_else(|_| misfit());
            Value::Date((date - Date::constant(1970, 1, 1)).get_days())
        }
        ColumnType::Timestamp => {
            let at: Timestamp = text().parse().unwrap_or_else(|_| misfit());
            Value::Timestamp(at.as_microsecond())
        }
        ColumnType::List(element) => {
            let elements = json.as_array().unwrap_or_else(|| misfit());
            Value::List(elements.iter().map(|json| from_json(element, json)).collect())
        }
        ColumnType::Struct(fields) => {
            let members = json.as_object().unwrap_or_else(|| misfit());
            let field = |(name, field): &(String, ColumnType)| {
                (name.clone(), members.get(name).map_or(Value::Null, |json| from_json(field, json)))
            };
            Value::Object(fields.iter().map(field).collect())
        }
        ColumnType::Map(value) => {
            let members = json.as_object().unwrap_or_else(|| misfit());
            Value::Object(members.iter().map(|(key, json)| (key.clone(), from_json(value, json))).collect())
        }
        ColumnType::Other(name) => panic!("no rows hold {name}"),
    }
}
