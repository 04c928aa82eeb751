//! How often each value occurs: how many different ones there are, and which is the most frequent.
//!
//! Occurrences are a log that is sorted and joined when it has doubled, which is smaller than a table of them and needs no lookups.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::common::Result;

use super::value::{Codec, Key, KeyBytes, Longer};
use super::{Argument, Slice, Tally, Window};
use crate::backend::datafusion::failure::internal;

/// Entries of a log that is not joined yet, however few of them differ.
const LEAST: usize = 16 * 1024;

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
    subjects: usize,
    log: Vec<Occurrence>,
    /// The log is joined when it has so many entries.
    limit: usize,
    /// Whether the log is joined.
    joined: bool,
}

/// That a value occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    subject: u32,
    key: Key,
    band: u16,
    count: u32,
}

impl Occurrence {
    fn place(&self) -> (u32, Key, u16) {
        (self.subject, self.key, self.band)
    }
}

impl Occurrences {
    pub(super) fn new(subjects: usize, wanted: Wanted, codec: Arc<Codec>, longer: Arc<Longer>) -> Self {
        Self { wanted, codec, longer, subjects, log: Vec::new(), limit: LEAST, joined: true }
    }

    /// Joins the entries of the same place.
    fn join(&mut self) {
        self.sort();
        self.log.dedup_by(|next, kept| {
            let count = kept.count.checked_add(next.count).filter(|_| next.place() == kept.place());
            if let Some(count) = count {
                kept.count = count;
            }
            count.is_some()
        });
        self.limit = (self.log.len() * 2).max(LEAST);
        self.joined = true;
    }

    /// Sorts the log by place: by subject as numbers are, since there are few, then the few entries of each.
    fn sort(&mut self) {
        let mut next = vec![0usize; self.subjects + 1];
        for entry in &self.log {
            next[entry.subject as usize + 1] += 1;
        }
        for subject in 0..self.subjects {
            next[subject + 1] += next[subject];
        }
        let starts = next.clone();
        let Some(first) = self.log.first().copied() else { return };
        let mut sorted = vec![first; self.log.len()];
        for entry in &self.log {
            let place = &mut next[entry.subject as usize];
            sorted[*place] = *entry;
            *place += 1;
        }
        for range in starts.windows(2).map(|pair| pair[0]..pair[1]).filter(|range| range.len() > 1) {
            if let Some(of_subject) = sorted.get_mut(range) {
                of_subject.sort_unstable();
            }
        }
        self.log = sorted;
    }

    /// The entries of each subject that has some; the log is joined.
    fn by_subject(&self) -> impl Iterator<Item = (usize, &[Occurrence])> {
        let runs = self.log.chunk_by(|one, next| one.subject == next.subject);
        runs.filter_map(|run| Some((run.first()?.subject as usize, run)))
    }

    fn distinct(&self, bands: &Range<usize>) -> ArrayRef {
        let mut counts = vec![0i64; self.subjects];
        for (subject, entries) in self.by_subject() {
            let values = entries.chunk_by(|one, next| one.key == next.key);
            let values = values.filter(|value| value.iter().any(|entry| bands.contains(&usize::from(entry.band)))).count();
            if let Some(count) = counts.get_mut(subject) {
                *count = i64::try_from(values).unwrap_or(i64::MAX);
            }
        }
        Arc::new(Int64Array::from(counts))
    }

    fn most_frequent(&self, bands: &Range<usize>) -> Result<ArrayRef> {
        let mut best: Vec<Option<KeyBytes>> = vec![None; self.subjects];
        for (subject, entries) in self.by_subject() {
            let Some(best) = best.get_mut(subject) else { continue };
            let mut most = 0;
            for value in entries.chunk_by(|one, next| one.key == next.key) {
                let count = value
                    .iter()
                    .filter(|entry| bands.contains(&usize::from(entry.band)))
                    .map(|entry| u64::from(entry.count))
                    .sum::<u64>();
                let Some(key) = value.first().map(|entry| entry.key).filter(|_| count > 0 && count >= most) else { continue };
                let bytes = key.bytes(&self.longer);
                if count > most || best.as_ref().is_none_or(|best| bytes.as_ref() < best.as_ref()) {
                    most = count;
                    *best = Some(bytes);
                }
            }
        }
        self.codec.decode(best.iter().map(|value| value.as_ref().map(AsRef::as_ref)))
    }
}

impl Tally for Occurrences {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Values(values)] = arguments else { return Err(internal("values are counted of one column")) };
        let mut failure = None;
        let before = self.log.len();
        slice.for_each(|row, subject, band| {
            let Some(bytes) = values.get(row) else { return };
            match Key::of(bytes, &self.longer) {
                Ok(key) => {
                    // INVARIANT: a shard has fewer than 2^32 subjects, and a measure fewer than 2^16 bands.
                    let (subject, band) = (u32::try_from(subject).unwrap_or(u32::MAX), u16::try_from(band).unwrap_or(u16::MAX));
                    self.log.push(Occurrence { subject, key, band, count: 1 });
                }
                Err(error) => failure = Some(error),
            }
        });
        self.joined &= self.log.len() == before;
        if self.log.len() >= self.limit {
            self.join();
        }
        failure.map_or(Ok(()), Err)
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        if !self.joined {
            self.join();
        }
        Ok(vec![match self.wanted {
            Wanted::Distinct => self.distinct(&window.bands),
            Wanted::MostFrequent => self.most_frequent(&window.bands)?,
        }])
    }

    fn size(&self) -> usize {
        self.log.capacity() * size_of::<Occurrence>()
    }
}
