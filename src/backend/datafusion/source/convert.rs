//! Values as a file holds them to the one form in which a column of that type is delivered, whatever the file. A value that does not
//! fit is missing, never an error.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, ListArray, MapArray, OffsetSizeTrait, PrimitiveArray, StructArray, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{CastOptions, cast_with_options, take};
use datafusion::arrow::datatypes::{DataType, Date32Type, Date64Type, FieldRef, Fields, Int32Type};
use datafusion::arrow::error::ArrowError;

use super::declare::read_as;
use super::instant::{Zones, timestamps_to_micros};
use super::types::{arrow_type, column_type};
use crate::backend::tables::Declared;

/// Milliseconds of a day.
const DAY_MILLIS: i64 = 86_400_000;

/// How a column becomes what is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    /// What it is delivered as.
    pub(super) target: DataType,
    /// What it was declared to be.
    pub(super) declared: Option<Declared>,
    /// The zones of times without one.
    pub(super) zones: Arc<Zones>,
}

impl Conversion {
    /// The values in the form in which they are delivered.
    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self.declared {
            None => deliver(values, &self.target, &self.zones),
            Some(declared) => {
                let Some(natural) = arrow_type(&column_type(values.data_type())) else {
                    return Ok(new_null_array(&self.target, values.len()));
                };
                let values = deliver(values, &natural, &self.zones)?;
                if natural == self.target && !matches!(declared, Declared::Timestamp(_)) {
                    return Ok(values);
                }
                read_as(&values, declared, &self.target, &self.zones)
            }
        }
    }
}

/// `values` as `target`, which holds all of them.
fn deliver(values: &ArrayRef, target: &DataType, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    if values.data_type() == target {
        return Ok(Arc::clone(values));
    }
    match (values.data_type(), target) {
        (DataType::Dictionary(_, inner), _) => deliver(&plain_cast(values, inner)?, target, zones),
        (DataType::RunEndEncoded(_, inner), _) => deliver(&plain_cast(values, inner.data_type())?, target, zones),
        (DataType::Null, _) => Ok(new_null_array(target, values.len())),
        (DataType::Timestamp(unit, zone), DataType::Timestamp(..)) => {
            let naive = if zone.is_none() { Some(&zones.naive) } else { None };
            Ok(Arc::new(timestamps_to_micros(values, *unit, naive).with_timezone("UTC")))
        }
        (DataType::Date64, DataType::Date32) => {
            let days: PrimitiveArray<Date32Type> =
                values.as_primitive::<Date64Type>().unary_opt(|millis| i32::try_from(millis.div_euclid(DAY_MILLIS)).ok());
            Ok(Arc::new(days))
        }
        (DataType::List(_), DataType::List(element)) => deliver_list(values.as_list::<i32>(), element, zones),
        (DataType::LargeList(_), DataType::List(element)) => deliver_list(values.as_list::<i64>(), element, zones),
        (DataType::FixedSizeList(inner, _) | DataType::ListView(inner) | DataType::LargeListView(inner), DataType::List(_)) => {
            deliver(&plain_cast(values, &DataType::List(Arc::clone(inner)))?, target, zones)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => deliver_struct(values.as_struct(), fields, zones),
        (DataType::Map(..), DataType::Map(entries, _)) => deliver_map(values.as_map(), entries, zones),
        _ => plain_cast(values, target),
    }
}

/// A cast of the engine in which what does not fit is missing.
pub(super) fn plain_cast(values: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(values, target, &CastOptions { safe: true, ..CastOptions::default() })
}

fn deliver_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, element: &FieldRef, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    let (first, last) = (list.value_offsets().first(), list.value_offsets().last());
    let first = first.map_or(0, |offset| offset.as_usize());
    let last = last.map_or(0, |offset| offset.as_usize());
    let offsets = OffsetBuffer::<i32>::from_lengths(list.offsets().lengths());
    let values = deliver(&list.values().slice(first, last - first), element.data_type(), zones)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, list.nulls().cloned())?))
}

/// Fields by name: those that a file lacks are missing.
fn deliver_struct(values: &StructArray, fields: &Fields, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    let columns = fields.iter().map(|field| match values.column_by_name(field.name()) {
        Some(column) => deliver(column, field.data_type(), zones),
        None => Ok(new_null_array(field.data_type(), values.len())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, values.nulls().cloned())?))
}

fn deliver_map(map: &MapArray, entries: &FieldRef, zones: &Zones) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("a map without entries".to_owned()));
    };
    let kept = used_entries(map);
    let columns = [map.keys(), map.values()].into_iter().zip(fields).map(|(column, field)| {
        let column = match &kept {
            Some(kept) => take(column, kept, None)?,
            None => Arc::clone(column),
        };
        deliver(&column, field.data_type(), zones)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let offsets = match kept {
        Some(_) => OffsetBuffer::from_lengths((0..map.len()).map(|row| used_length(map, row))),
        None => map.offsets().clone(),
    };
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, map.nulls().cloned(), false)?))
}

/// The positions of the entries that rows refer to, when there are others: below a NULL map a key may be NULL, which the form that is
/// delivered forbids.
fn used_entries(map: &MapArray) -> Option<PrimitiveArray<Int32Type>> {
    if map.keys().null_count() == 0 && map.null_count() == 0 {
        return None;
    }
    let mut kept = Vec::new();
    for row in 0..map.len() {
        if let (Some(start), length) = (map.value_offsets().get(row), used_length(map, row)) {
            kept.extend((*start..).take(length));
        }
    }
    Some(kept.into())
}

fn used_length(map: &MapArray, row: usize) -> usize {
    let present = map.nulls().is_none_or(|nulls: &NullBuffer| nulls.is_valid(row));
    if present { usize::try_from(map.value_length(row)).unwrap_or(0) } else { 0 }
}
