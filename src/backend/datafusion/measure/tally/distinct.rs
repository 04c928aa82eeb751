//! How often each value occurs: how many different ones there are, and which is the most frequent.
//!
//! Occurrences are a log. When it is long enough it is sorted and joined with what is known already, of which each value of a subject
//! is kept once, as bytes: that is smaller than a table of them and needs no lookups.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::common::Result;

use super::value::{Codec, Key, KeyBytes, Longer};
use super::{Argument, Slice, Tally, Window};
use crate::backend::datafusion::failure::{internal, too_many};
use crate::backend::datafusion::measure::bucket::by_bucket;

/// Entries of a log that is not joined yet, however little is known and however few the subjects.
const LEAST: usize = 16 * 1024;

/// The log is joined when it has an entry for every so many subjects and known values: a greater number takes less memory and more time.
const SHARE: usize = 4;

/// What is told of the occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Distinct,
    MostFrequent,
}

/// The occurrences of values, by subject.
#[derive(Debug)]
pub(super) struct Occurrences {
    wanted: Wanted,
    codec: Arc<Codec>,
    longer: Arc<Longer>,
    known: Known,
    log: Vec<Occurrence>,
}

/// That a value occurs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    subject: u32,
    key: Key,
    band: u16,
}

/// A value of a subject, as often as it occurs in a band.
#[derive(Debug, Clone, Copy)]
struct Value {
    key: Key,
    band: u16,
    count: u32,
}

impl Value {
    fn place(&self) -> (Key, u16) {
        (self.key, self.band)
    }
}

/// The values of each subject, in the order of their keys and bands.
#[derive(Debug)]
struct Known {
    layout: Layout,
    /// How many bytes the values of each subject take.
    lengths: Vec<u32>,
    bytes: Vec<u8>,
    values: usize,
}

/// What is kept of a value beside its key.
#[derive(Debug, Clone, Copy)]
struct Layout {
    has_band: bool,
    has_count: bool,
}

impl Layout {
    fn put(self, value: &Value, bytes: &mut Vec<u8>) {
        value.key.put(bytes);
        if self.has_band {
            bytes.extend_from_slice(&value.band.to_le_bytes());
        }
        if self.has_count {
            bytes.extend_from_slice(&value.count.to_le_bytes());
        }
    }

    /// Bytes that a value of the key takes.
    fn size(self, key: Key) -> usize {
        key.size() + if self.has_band { size_of::<u16>() } else { 0 } + if self.has_count { size_of::<u32>() } else { 0 }
    }

    /// Takes the value off the front of bytes.
    fn take(self, bytes: &mut &[u8]) -> Option<Value> {
        let key = Key::take(bytes)?;
        let band = if self.has_band { u16::from_le_bytes(front(bytes)?) } else { 0 };
        let count = if self.has_count { u32::from_le_bytes(front(bytes)?) } else { 1 };
        Some(Value { key, band, count })
    }
}

/// Takes some bytes off the front of others.
fn front<const SIZE: usize>(bytes: &mut &[u8]) -> Option<[u8; SIZE]> {
    let (front, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*front)
}

impl Known {
    fn new(subjects: usize, layout: Layout) -> Self {
        Self { layout, lengths: vec![0; subjects], bytes: Vec::new(), values: 0 }
    }

    /// The values of each subject.
    fn by_subject(&self) -> impl Iterator<Item = impl Iterator<Item = Value>> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            let (mut values, after) = rest.split_at_checked(*length as usize).unwrap_or((rest, &[]));
            rest = after;
            std::iter::from_fn(move || self.layout.take(&mut values))
        })
    }

    /// What is known when these occurrences are, too.
    fn joined(&self, log: &[Occurrence]) -> Result<Self> {
        let most = self.bytes.len() + log.iter().map(|entry| self.layout.size(entry.key)).sum::<usize>();
        let (lengths, bytes) = (Vec::with_capacity(self.lengths.len()), Vec::with_capacity(most));
        let mut joined = Self { layout: self.layout, lengths, bytes, values: 0 };
        let mut log = log.chunk_by(|one, next| one.subject == next.subject).peekable();
        for (subject, values) in (0u32..).zip(self.by_subject()) {
            let new = log.next_if(|entries| entries.first().is_some_and(|entry| entry.subject == subject)).unwrap_or_default();
            joined.push(values, new)?;
        }
        Ok(joined)
    }

    /// Adds a subject that has these values and occurrences, both in their order.
    fn push(&mut self, values: impl Iterator<Item = Value>, new: &[Occurrence]) -> Result<()> {
        let start = self.bytes.len();
        let new = new.iter().map(|entry| Value { key: entry.key, band: entry.band, count: 1 });
        let mut last: Option<Value> = None;
        for value in merge(values.peekable(), new.peekable()) {
            // A count that becomes too large goes on in a second value of the same place.
            let count = last.filter(|last| last.place() == value.place()).and_then(|last| last.count.checked_add(value.count));
            match (&mut last, count) {
                (Some(last), Some(count)) => last.count = if self.layout.has_count { count } else { 1 },
                _ => last.replace(value).iter().for_each(|last| self.put(last)),
            }
        }
        last.iter().for_each(|last| self.put(last));
        self.lengths.push(u32::try_from(self.bytes.len() - start).map_err(|_| too_many("values of a subject"))?);
        Ok(())
    }

    fn put(&mut self, value: &Value) {
        self.layout.put(value, &mut self.bytes);
        self.values += 1;
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.lengths.capacity() * size_of::<u32>()
    }
}

/// The values of both, in the order of their places.
fn merge(
    mut one: Peekable<impl Iterator<Item = Value>>,
    mut other: Peekable<impl Iterator<Item = Value>>,
) -> impl Iterator<Item = Value> {
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(left), Some(right)) if left.place() <= right.place() => one.next(),
        (_, Some(_)) => other.next(),
        _ => one.next(),
    })
}

impl Occurrences {
    pub(super) fn new(subjects: usize, bands: usize, wanted: Wanted, codec: Arc<Codec>, longer: Arc<Longer>) -> Self {
        let layout = Layout { has_band: bands > 1, has_count: wanted == Wanted::MostFrequent };
        Self { wanted, codec, longer, known: Known::new(subjects, layout), log: Vec::new() }
    }

    /// Joins the log with what is known.
    fn join(&mut self) -> Result<()> {
        if !self.log.is_empty() {
            self.known = self.known.joined(&sorted(&self.log, self.known.lengths.len()))?;
            self.log.clear();
        }
        Ok(())
    }

    /// Entries with which the log is joined.
    fn limit(&self) -> usize {
        LEAST.max((self.known.lengths.len() + self.known.values) / SHARE)
    }

    fn distinct(&self, bands: &Range<usize>) -> ArrayRef {
        let counts = self.known.by_subject().map(|values| {
            let mut last = None;
            let wanted = values.filter(|value| bands.contains(&usize::from(value.band)));
            let distinct = wanted.filter(|value| last.replace(value.key) != Some(value.key)).count();
            i64::try_from(distinct).unwrap_or(i64::MAX)
        });
        Arc::new(Int64Array::from(counts.collect::<Vec<i64>>()))
    }

    fn most_frequent(&self, bands: &Range<usize>) -> Result<ArrayRef> {
        let best = self.known.by_subject().map(|values| {
            let mut best: Option<(u64, KeyBytes)> = None;
            let mut wanted = values.filter(|value| bands.contains(&usize::from(value.band))).peekable();
            while let Some(Value { key, count, .. }) = wanted.next() {
                let mut count = u64::from(count);
                while let Some(same) = wanted.next_if(|next| next.key == key) {
                    count += u64::from(same.count);
                }
                if best.as_ref().is_some_and(|(most, _)| count < *most) {
                    continue;
                }
                let bytes = key.bytes(&self.longer);
                if best.as_ref().is_none_or(|(most, best)| count > *most || bytes.as_ref() < best.as_ref()) {
                    best = Some((count, bytes));
                }
            }
            best.map(|(_, bytes)| bytes)
        });
        let best: Vec<Option<KeyBytes>> = best.collect();
        self.codec.decode(best.iter().map(|value| value.as_ref().map(AsRef::as_ref)))
    }
}

/// Occurrences in their order: by subject as numbers are sorted, since there are few, then the few of each.
fn sorted(log: &[Occurrence], subjects: usize) -> Vec<Occurrence> {
    let (mut sorted, _) = by_bucket(log.iter().map(|entry| (entry.subject, *entry)), subjects);
    sorted.chunk_by_mut(|one, next| one.subject == next.subject).for_each(<[Occurrence]>::sort_unstable);
    sorted
}

impl Tally for Occurrences {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Values(values)] = arguments else { return Err(internal("values are counted of one column")) };
        let mut failure = None;
        slice.for_each(|row, subject, band| {
            let Some(bytes) = values.get(row) else { return };
            match Key::of(bytes, &self.longer) {
                Ok(key) => {
                    // INVARIANT: a shard has fewer than 2^32 subjects, and a measure fewer than 2^16 bands.
                    let (subject, band) = (u32::try_from(subject).unwrap_or(u32::MAX), u16::try_from(band).unwrap_or(u16::MAX));
                    self.log.push(Occurrence { subject, key, band });
                }
                Err(error) => failure = Some(error),
            }
        });
        failure.map_or(Ok(()), Err)?;
        if self.log.len() >= self.limit() { self.join() } else { Ok(()) }
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        self.join()?;
        Ok(vec![match self.wanted {
            Wanted::Distinct => self.distinct(&window.bands),
            Wanted::MostFrequent => self.most_frequent(&window.bands)?,
        }])
    }

    fn size(&self) -> usize {
        self.log.capacity() * size_of::<Occurrence>() + self.known.size()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use datafusion::arrow::array::{AsArray, StringViewArray};
    use datafusion::arrow::datatypes::{DataType, Int64Type};

    use super::*;

    const SUBJECTS: usize = 40;

    /// Enough of them that logs are joined several times, in no order, with few values, some of them long.
    fn occurrences(bands: usize) -> Vec<(usize, String, usize)> {
        let values = (0..LEAST * 5).map(|number| {
            let number = number.wrapping_mul(2_654_435_761) >> 7;
            let value = number / 3 % 97 % (number % 50 + 1);
            let text = if value.is_multiple_of(3) { format!("a value of many letters {value}") } else { format!("v{value}") };
            (number % (SUBJECTS - 1), text, number / 11 % bands)
        });
        values.collect()
    }

    fn tally(wanted: Wanted, bands: usize) -> Occurrences {
        let (codec, longer) = (Arc::new(Codec::new(DataType::Utf8View).unwrap()), Arc::new(Longer::default()));
        let mut tally = Occurrences::new(SUBJECTS, bands, wanted, codec, longer);
        for chunk in occurrences(bands).chunks(1000) {
            for (subject, text, band) in chunk {
                let (subject, band) = (u32::try_from(*subject).unwrap(), u16::try_from(*band).unwrap());
                tally.log.push(Occurrence { subject, key: Key::of(text.as_bytes(), &tally.longer).unwrap(), band });
            }
            if tally.log.len() >= tally.limit() {
                tally.join().unwrap();
            }
        }
        assert!(tally.known.values > 0 && !tally.log.is_empty());
        tally
    }

    /// How often each value of each subject occurs in bands.
    fn counted(bands: usize, within: &Range<usize>) -> Vec<BTreeMap<String, u64>> {
        let mut counted = vec![BTreeMap::new(); SUBJECTS];
        for (subject, text, _) in occurrences(bands).into_iter().filter(|(.., band)| within.contains(band)) {
            *counted[subject].entry(text).or_insert(0) += 1;
        }
        counted
    }

    #[test]
    fn what_is_joined_is_what_a_table_of_all_values_holds() {
        for (bands, within) in [(1, 0..1), (3, 0..3), (3, 1..2), (3, 0..0)] {
            let window = Window { bands: within.clone(), from: None, to: None };
            let expected = counted(bands, &within);

            let distinct = tally(Wanted::Distinct, bands).finish(&window).unwrap();
            let expected_counts: Vec<i64> = expected.iter().map(|values| i64::try_from(values.len()).unwrap()).collect();
            assert_eq!(distinct[0].as_primitive::<Int64Type>().values().to_vec(), expected_counts, "{within:?} of {bands}");

            let frequent = tally(Wanted::MostFrequent, bands).finish(&window).unwrap();
            let most = expected.iter().map(|values| {
                let most = values.values().max()?;
                values.iter().find(|(_, count)| *count == most).map(|(text, _)| text.as_str())
            });
            let texts: &StringViewArray = frequent[0].as_string_view();
            assert_eq!(texts.iter().collect::<Vec<_>>(), most.collect::<Vec<_>>(), "{within:?} of {bands}");
        }
    }

    #[test]
    fn a_count_goes_on_beyond_what_one_value_holds() {
        let layout = Layout { has_band: false, has_count: true };
        let longer = Longer::default();
        let value = |text: &str, count| Value { key: Key::of(text.as_bytes(), &longer).unwrap(), band: 0, count };
        let mut known = Known::new(0, layout);
        known.push([value("a", u32::MAX), value("a", u32::MAX), value("b", 7)].into_iter(), &[]).unwrap();
        let mut counts: HashMap<Key, u64> = HashMap::new();
        for value in known.by_subject().next().unwrap() {
            *counts.entry(value.key).or_insert(0) += u64::from(value.count);
        }
        assert_eq!(counts, HashMap::from([(value("a", 1).key, 2 * u64::from(u32::MAX)), (value("b", 1).key, 7)]));
    }
}
