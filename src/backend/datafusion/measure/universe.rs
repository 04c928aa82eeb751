//! The rows of the subjects table, numbered in the order of their ids.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array, new_null_array};
use datafusion::arrow::compute::{concat, filter, is_not_null, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};

use super::numbering::{Numbering, is_short};
use crate::backend::datafusion::failure::internal;

/// Keys that an error about duplicates names.
const EXAMPLES: usize = 3;

/// The subjects table has several rows of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::datafusion) struct Duplicates {
    /// How many subjects.
    pub(in crate::backend::datafusion) count: u64,
    /// The first of them.
    pub(in crate::backend::datafusion) examples: Vec<String>,
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys have more than one row, such as {}", self.count, self.examples.join(", "))
    }
}

impl Error for Duplicates {}

/// Rows of the subjects table, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct SubjectRows {
    /// Their keys.
    pub(super) keys: Vec<StringViewArray>,
    /// What was computed of them, column by column, each in the same pieces as the keys.
    pub(super) columns: Vec<Vec<ArrayRef>>,
}

/// The subjects that have a row, by ascending id, each once.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) ids: StringViewArray,
    pub(super) columns: Vec<ArrayRef>,
}

impl SubjectRows {
    /// The rows by ascending key, without those that have none.
    ///
    /// # Errors
    /// [`Duplicates`] when a key has several rows.
    pub(super) fn ordered(self, types: &[DataType]) -> Result<Ordered> {
        let keys: Vec<&dyn Array> = self.keys.iter().map(|keys| keys as &dyn Array).collect();
        let mut keys = if keys.is_empty() { new_null_array(&DataType::Utf8View, 0) } else { concat(&keys)? };
        let columns = self.columns.iter().zip(types).map(|(pieces, data_type)| {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            Ok(if pieces.is_empty() { new_null_array(data_type, 0) } else { concat(&pieces)? })
        });
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        drop(self);
        if keys.null_count() > 0 {
            let keyed = is_not_null(&keys)?;
            for column in std::iter::once(&mut keys).chain(&mut columns) {
                *column = filter(column, &keyed)?;
            }
        }
        if !is_ascending(keys.as_string_view()) {
            let order = order(keys.as_string_view())?;
            for column in std::iter::once(&mut keys).chain(&mut columns) {
                *column = take(column, &order, None)?;
            }
        }
        let ids = keys.as_string_view().clone();
        match duplicates(&ids) {
            Some(duplicates) => Err(DataFusionError::External(Box::new(duplicates))),
            None => Ok(Ordered { ids, columns }),
        }
    }
}

impl Ordered {
    /// Bytes that the subjects take.
    pub(super) fn size(&self) -> usize {
        self.ids.get_array_memory_size() + self.columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>()
    }
}

fn is_ascending(ids: &StringViewArray) -> bool {
    (1..ids.len()).all(|row| ids.value(row - 1) <= ids.value(row))
}

/// The rows in the order of their ids.
pub(super) fn order(ids: &StringViewArray) -> Result<UInt32Array> {
    let too_many = |_| DataFusionError::ResourcesExhausted("there are more than 2^32 subjects".to_owned());
    let rows = u32::try_from(ids.len()).map_err(too_many)?;
    if ids.views().iter().all(|view| is_short(*view)) {
        // Views that hold all of a text become numbers in the same order. Files are mostly in that order, and this sort finds their runs.
        let mut keyed: Vec<(u128, u32)> = ids.views().iter().copied().map(StringViewArray::inline_key_fast).zip(0..rows).collect();
        keyed.sort();
        return Ok(UInt32Array::from_iter_values(keyed.into_iter().map(|(_, row)| row)));
    }
    let mut order: Vec<u32> = (0..rows).collect();
    order.sort_unstable_by(|one, other| ids.value(*one as usize).cmp(ids.value(*other as usize)).then(one.cmp(other)));
    Ok(UInt32Array::from(order))
}

fn duplicates(ids: &StringViewArray) -> Option<Duplicates> {
    let mut found = Duplicates { count: 0, examples: Vec::new() };
    let is_repeated = |row: usize| row > 0 && ids.value(row - 1) == ids.value(row);
    for row in (1..ids.len()).filter(|row| is_repeated(*row) && !is_repeated(row - 1)) {
        found.count += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(ids.value(row).to_owned());
        }
    }
    (found.count > 0).then_some(found)
}

/// Ids of numbers from one on, as a column.
pub(super) fn ids_from(numbering: &Numbering, first: usize) -> Result<StringViewArray> {
    let ids = (first..numbering.len())
        .map(|number| std::str::from_utf8(numbering.id(number)).map_err(|_| internal("an id that is no text")));
    Ok(StringViewArray::from_iter_values(ids.collect::<Result<Vec<_>>>()?))
}

/// The same column for all subjects: what it is for those with a row, then that many times what it is for others.
pub(super) fn extended(column: &ArrayRef, absent: Option<&ScalarValue>, more: usize) -> Result<ArrayRef> {
    if more == 0 {
        return Ok(Arc::clone(column));
    }
    let rest = match absent {
        Some(value) => value.to_array_of_size(more)?,
        None => new_null_array(column.data_type(), more),
    };
    Ok(concat(&[column.as_ref(), rest.as_ref()])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_bytes_of_their_ids() {
        let short = ["b", "", "a\u{0}", "a", "ab", "é", "zzzzzzzzzzzz", "a\u{0}\u{0}"];
        let sorted = |texts: &[&str]| {
            let ids = StringViewArray::from(texts.to_vec());
            let order = order(&ids).unwrap();
            let sorted: Vec<&str> = order.values().iter().map(|row| ids.value(*row as usize)).collect();
            let mut expected = texts.to_vec();
            expected.sort_unstable();
            assert_eq!(sorted, expected);
        };
        sorted(&short);
        sorted(&[&short[..], &["zzzzzzzzzzzzz", "aaaaaaaaaaaaaaaaaaaaaaaa", "zzzzzzzzzzzzy"]].concat());
    }
}
