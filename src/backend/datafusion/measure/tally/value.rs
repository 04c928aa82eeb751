//! Values as bytes that compare as they do, and as keys of fixed size.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder, new_null_array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{HashMap, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::backend::datafusion::failure::{internal, too_many};
use crate::backend::datafusion::measure::numbering::halves;

/// Turns a column's values to bytes that compare as they do, and back.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Codec {
    value_type: DataType,
    /// `None` for text, whose bytes are what they are.
    converter: Option<RowConverter>,
}

impl Codec {
    /// For values of that type.
    pub(super) fn new(value_type: DataType) -> Result<Self> {
        let converter = match value_type {
            DataType::Utf8View => None,
            _ => Some(RowConverter::new(vec![SortField::new(value_type.clone())])?),
        };
        Ok(Self { value_type, converter })
    }

    /// The values of a column.
    pub(super) fn encode(&self, column: &ArrayRef) -> Result<Values> {
        match &self.converter {
            None => {
                let texts = column.as_any().downcast_ref::<StringViewArray>();
                Ok(Values::Texts(texts.ok_or_else(|| internal("text of another type"))?.clone()))
            }
            Some(converter) => {
                Ok(Values::Rows { rows: converter.convert_columns(&[Arc::clone(column)])?, nulls: column.logical_nulls() })
            }
        }
    }

    /// The column of such bytes; `None` is NULL.
    pub(super) fn decode<'a>(&self, values: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
        let Some(converter) = &self.converter else {
            let mut texts = StringViewBuilder::with_capacity(values.len());
            for value in values {
                let text = value.map(std::str::from_utf8).transpose();
                texts.append_option(text.map_err(|_| internal("text that is none"))?);
            }
            return Ok(Arc::new(texts.finish()));
        };
        let none = converter.convert_columns(&[new_null_array(&self.value_type, 1)])?;
        let parser = converter.parser();
        let rows = values.map(|value| parser.parse(value.unwrap_or_else(|| none.row(0).data())));
        let mut columns = converter.convert_rows(rows)?;
        columns.pop().ok_or_else(|| internal("a row without a column"))
    }
}

/// A column's values as bytes.
#[derive(Debug)]
pub(in crate::backend::datafusion) enum Values {
    /// Of text.
    Texts(StringViewArray),
    /// Of anything else.
    Rows {
        /// The bytes.
        rows: Rows,
        /// Which are missing.
        nulls: Option<NullBuffer>,
    },
}

impl Values {
    /// The bytes of a value, `None` of a missing one.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Texts(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
            Self::Rows { rows, nulls } => nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then(|| rows.row(row).data()),
        }
    }
}

/// Bytes that a [`Key`] holds itself.
const INLINE: usize = 15;

/// In the last place: the key is the number of longer bytes.
const NUMBERED: u8 = u8::MAX;

/// Bytes of any length, in 16: short ones themselves, longer ones by their number among a [`Longer`]. Equal bytes have equal keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key([u64; 2]);

impl Key {
    /// The key of bytes.
    pub(super) fn of(bytes: &[u8], longer: &Longer) -> Result<Self> {
        let mut key = [0u8; 16];
        if let Some(place) = key.get_mut(..bytes.len()).filter(|_| bytes.len() <= INLINE) {
            place.copy_from_slice(bytes);
            key[INLINE] = u8::try_from(bytes.len()).unwrap_or_default();
        } else {
            key[..8].copy_from_slice(&longer.number(bytes)?.to_be_bytes());
            key[INLINE] = NUMBERED;
        }
        Ok(Self::from_bytes(key))
    }

    /// Appends the key in as few bytes as it needs.
    pub(super) fn put(self, bytes: &mut Vec<u8>) {
        let key = self.to_bytes();
        bytes.push(key[INLINE]);
        bytes.extend_from_slice(key.get(..self.size() - 1).unwrap_or_default());
    }

    /// Bytes that it is put in.
    pub(super) fn size(self) -> usize {
        let tag = self.to_bytes()[INLINE];
        1 + if tag == NUMBERED { size_of::<u64>() } else { usize::from(tag) }
    }

    /// Takes a key that was put off the front of bytes.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let length = if *tag == NUMBERED { size_of::<u64>() } else { usize::from(*tag) };
        let (held, rest) = rest.split_at_checked(length)?;
        *bytes = rest;
        let mut key = [0u8; 16];
        key.get_mut(..length)?.copy_from_slice(held);
        key[INLINE] = *tag;
        Some(Self::from_bytes(key))
    }

    // The halves, so that the key needs the alignment of words only.
    fn from_bytes(key: [u8; 16]) -> Self {
        let (high, low) = halves(u128::from_be_bytes(key));
        Self([high, low])
    }

    fn to_bytes(self) -> [u8; 16] {
        let [high, low] = self.0;
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// The bytes.
    pub(super) fn bytes(self, longer: &Longer) -> KeyBytes {
        let key = self.to_bytes();
        if key[INLINE] == NUMBERED { KeyBytes::Longer(longer.bytes(self.0[0])) } else { KeyBytes::Inline(key) }
    }
}

/// The bytes of a key. They compare as bytes do.
#[derive(Debug, Clone)]
pub(super) enum KeyBytes {
    Inline([u8; 16]),
    Longer(Arc<[u8]>),
}

impl AsRef<[u8]> for KeyBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Inline(key) => key.get(..usize::from(key[INLINE])).unwrap_or_default(),
            Self::Longer(bytes) => bytes,
        }
    }
}

/// Shards of a [`Longer`], so that threads seldom wait for each other.
const SHARDS: usize = 16;

/// Every distinct run of bytes that is too long for a key, numbered. All threads share it.
#[derive(Debug, Default)]
pub(in crate::backend::datafusion) struct Longer {
    shards: [Mutex<Numbered>; SHARDS],
}

#[derive(Debug, Default)]
struct Numbered {
    numbers: HashMap<Arc<[u8]>, usize>,
    values: Vec<Arc<[u8]>>,
    bytes: usize,
}

impl Longer {
    fn number(&self, bytes: &[u8]) -> Result<u64> {
        let index = usize::try_from(xxh3_64(bytes) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(index) else { return Err(internal("a shard that is not there")) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let position = match shard.numbers.get(bytes) {
            Some(position) => *position,
            None => {
                let position = shard.values.len();
                let value: Arc<[u8]> = bytes.into();
                shard.bytes += value.len();
                shard.numbers.insert(Arc::clone(&value), position);
                shard.values.push(value);
                position
            }
        };
        u64::try_from(position * SHARDS + index).map_err(|_| too_many("values"))
    }

    fn bytes(&self, number: u64) -> Arc<[u8]> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let shard = self.shards.get(number % SHARDS).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        // INVARIANT: numbers come from here.
        shard.and_then(|shard| shard.values.get(number / SHARDS).cloned()).unwrap_or_else(|| Arc::from([]))
    }

    /// Bytes that it takes, about.
    pub(in crate::backend::datafusion::measure) fn size(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.map(|shard| shard.bytes + shard.values.capacity() * (size_of::<Arc<[u8]>>() * 2 + size_of::<usize>() + 16)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_bytes_that_they_came_from() {
        let longer = Longer::default();
        let texts: [&[u8]; 7] =
            [b"", b"a", b"a\0", b"fifteen letters", b"sixteen letters!", b"seventeen letters", b"sixteen letters!"];
        let keys: Vec<Key> = texts.iter().map(|text| Key::of(text, &longer).unwrap()).collect();
        for (one, key) in texts.iter().zip(&keys) {
            assert_eq!(key.bytes(&longer).as_ref(), *one);
            let mut put = Vec::new();
            key.put(&mut put);
            assert_eq!(put.len(), key.size());
            assert_eq!(Key::take(&mut put.as_slice()), Some(*key));
            for (other, other_key) in texts.iter().zip(&keys) {
                assert_eq!(one == other, key == other_key);
            }
        }
    }
}
