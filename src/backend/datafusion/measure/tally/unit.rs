//! How many different days, weeks or months: a bit for each.
//!
//! Every band of time has its bits. Neighbours have bits for the units that lie in both, and those of one more on either side: where
//! clocks are put back at midnight, a later instant has an earlier day. A band without a beginning has bits for
//! some time before its end, and more when older events are met; what is older than [`MOST`] units is kept one by one.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::common::Result;

use super::{Argument, Cells, Slice, Tally, Window};
use crate::backend::datafusion::failure::internal;

/// Bits of a word.
const WORD: i32 = 64;

/// Units before the end of a band without a beginning that have a bit: at first, and at most.
const FEWEST: i32 = 2 * WORD;
const MOST: i32 = 1 << 14;

/// The units of each band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    bands: Vec<Units>,
    /// Whether the first band has no beginning.
    is_open: bool,
    /// Words of a subject.
    words: usize,
}

/// The units of a band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Units {
    /// The first that has a bit.
    first: i32,
    last: i32,
    /// The first of its words.
    word: usize,
}

impl Units {
    /// The bit of a unit.
    fn place(&self, unit: i32) -> Option<Place> {
        let bit = usize::try_from(unit - self.first).ok().filter(|_| unit <= self.last)?;
        Some(Place { word: self.word + bit / 64, bit: 1 << (bit % 64) })
    }

    /// How many words its bits take.
    fn words(&self) -> usize {
        usize::try_from((self.last - self.first) / WORD + 1).unwrap_or(1)
    }
}

impl Layout {
    /// The layout of bands of which the first and last units are known; `None` is a band without a beginning.
    pub(super) fn of(bands: &[(Option<i32>, i32)]) -> Self {
        let is_open = bands.first().is_some_and(|(first, _)| first.is_none());
        let bands = bands.iter().map(|(first, last)| {
            let last = last.saturating_add(1);
            (first.map_or_else(|| last.saturating_sub(FEWEST - 1), |first| first.saturating_sub(1)).min(last), last)
        });
        Self::with(bands, is_open)
    }

    fn with(bands: impl Iterator<Item = (i32, i32)>, is_open: bool) -> Self {
        let mut layout = Self { bands: Vec::new(), is_open, words: 0 };
        for (first, last) in bands {
            let units = Units { first, last, word: layout.words };
            layout.words += units.words();
            layout.bands.push(units);
        }
        layout
    }

    /// A layout with a bit for an older unit, when there may be one.
    fn reaching(&self, unit: i32) -> Option<Self> {
        let oldest = self.bands.first().filter(|oldest| self.is_open && unit < oldest.first)?;
        let wanted = oldest.last.checked_sub(unit)?.checked_add(1).filter(|wanted| *wanted <= MOST)?;
        let wanted = i32::try_from(wanted.unsigned_abs().next_power_of_two()).ok()?;
        let first = oldest.last.checked_sub(wanted - 1)?;
        let bands = self.bands.iter().enumerate();
        Some(Self::with(bands.map(|(band, units)| (if band == 0 { first } else { units.first }, units.last)), true))
    }
}

/// The units in which each subject has events.
#[derive(Debug)]
pub(super) struct ActiveUnits {
    layout: Arc<Layout>,
    words: Cells<u64>,
    /// Subjects and units without a bit, of the first band.
    older: HashSet<(u32, i32)>,
}

impl ActiveUnits {
    pub(super) fn new(subjects: usize, layout: Arc<Layout>) -> Self {
        Self { words: Cells::new(subjects, layout.words, 0), layout, older: HashSet::new() }
    }

    /// Makes room for an older unit, when there may be a bit for it.
    fn reach(&mut self, oldest: i32) {
        let Some(layout) = self.layout.reaching(oldest) else { return };
        let (Some(before), Some(after)) = (self.layout.bands.first(), layout.bands.first()) else { return };
        let subjects = self.words.rows().len();
        let mut words = Cells::new(subjects, layout.words, 0u64);
        let moved = layout.words - self.layout.words;
        for (subject, row) in self.words.rows().enumerate() {
            for (word, bits) in row.iter().enumerate() {
                if word >= before.words() {
                    *words.at(subject, word + moved).1 = *bits;
                    continue;
                }
                // The bits of the first band begin at another unit.
                let mut bits = *bits;
                while bits != 0 {
                    let unit =
                        before.first + i32::try_from(word).unwrap_or(0) * WORD + i32::try_from(bits.trailing_zeros()).unwrap_or(0);
                    let bit = usize::try_from(unit - after.first).unwrap_or(0);
                    *words.at(subject, bit / 64).1 |= 1 << (bit % 64);
                    bits &= bits - 1;
                }
            }
        }
        self.words = words;
        self.layout = Arc::new(layout);
    }
}

impl Tally for ActiveUnits {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Column(units)] = arguments else { return Err(internal("units are of one column")) };
        let units = units.as_primitive_opt::<Int32Type>().ok_or_else(|| internal("units that are no numbers"))?;
        let nulls = units.nulls();
        if self.layout.is_open {
            let mut oldest = i32::MAX;
            slice.for_each(|row, _, band| {
                if band == 0 && nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                    oldest = oldest.min(units.values().get(row).copied().unwrap_or(i32::MAX));
                }
            });
            self.reach(oldest);
        }
        slice.for_each(|row, subject, band| {
            let (Some(unit), Some(units)) = (units.values().get(row), self.layout.bands.get(band)) else { return };
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                return;
            }
            // What lies in a band has a bit there, unless the band has no beginning.
            match units.place(*unit) {
                Some(place) => *self.words.at(subject, place.word).1 |= place.bit,
                None => drop(self.older.insert((u32::try_from(subject).unwrap_or(u32::MAX), *unit))),
            }
        });
        Ok(())
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        let bands = self.layout.bands.get(window.bands.clone()).unwrap_or_default();
        let shared = shared(bands);
        let words = bands.first().map_or(0, |band| band.word)..bands.last().map_or(0, |band| band.word + band.words());
        let counts = self.words.rows().map(|row| {
            let has = |place: &Place| row.get(place.word).is_some_and(|word| word & place.bit != 0);
            let bits: i64 = row.get(words.clone()).unwrap_or_default().iter().map(|word| i64::from(word.count_ones())).sum();
            let again = shared.iter().filter(|shared| has(&shared.place) && shared.before.iter().any(has)).count();
            bits - i64::try_from(again).unwrap_or(0)
        });
        let mut counts: Vec<i64> = counts.collect();
        if window.bands.contains(&0) {
            for (subject, _) in &self.older {
                if let Some(count) = counts.get_mut(*subject as usize) {
                    *count += 1;
                }
            }
        }
        Ok(vec![Arc::new(Int64Array::from(counts))])
    }

    fn size(&self) -> usize {
        self.words.size() + self.older.capacity() * (size_of::<(u32, i32)>() + 1)
    }
}

/// A bit of a subject.
#[derive(Debug, Clone, Copy)]
struct Place {
    word: usize,
    bit: u64,
}

/// A unit of a band of which an earlier band has a bit as well.
#[derive(Debug)]
struct Shared {
    place: Place,
    before: Vec<Place>,
}

/// The units of bands that several of them have bits of.
fn shared(bands: &[Units]) -> Vec<Shared> {
    let mut all = Vec::new();
    for (position, band) in bands.iter().enumerate() {
        let before = bands.get(..position).unwrap_or_default();
        let reach = before.iter().map(|band| band.last).max().unwrap_or(i32::MIN);
        for unit in band.first..=band.last.min(reach) {
            let places: Vec<Place> = before.iter().filter_map(|band| band.place(unit)).collect();
            if let Some(place) = band.place(unit).filter(|_| !places.is_empty()) {
                all.push(Shared { place, before: places });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int32Array;
    use jiff::Timestamp;

    use super::super::super::bands::{Bands, Bounds, Grain};
    use super::super::Spans;
    use super::*;
    use crate::model::window::Interval;

    /// Units of ten microseconds; windows that begin and end within them, and without a beginning.
    #[test]
    fn units_are_counted_once_however_bands_cut_them() {
        let window = |from: Option<i64>, to: i64| {
            let at = |micros: i64| Timestamp::from_microsecond(micros).unwrap();
            Interval { from: from.map(at), to: Some(at(to)) }
        };
        let windows =
            [window(None, 100_005), window(Some(99_963), 100_005), window(Some(99_967), 100_005), window(Some(50_000), 99_965)];
        let times: Vec<i64> =
            vec![10, 11, 42_000, 60_000, 60_009, 99_961, 99_964, 99_966, 99_969, 100_000, 100_004, 99_950, 50_000];
        let units: Vec<i32> = times.iter().map(|time| i32::try_from(time / 10).unwrap()).collect();
        let bounds = Bounds::of(windows.iter().copied());
        let bands = Bands::of(&bounds, &windows, Grain::Both).unwrap();
        let edges = bands
            .edges(&bounds)
            .into_iter()
            .map(|(from, to)| (from.map(|from| i32::try_from(from / 10).unwrap()), i32::try_from((to.unwrap() - 1) / 10).unwrap()));
        let layout = Arc::new(Layout::of(&edges.collect::<Vec<_>>()));
        // Several orders, so that older units come before and after later ones.
        for turn in 0..times.len() {
            let mut tally = ActiveUnits::new(2, Arc::clone(&layout));
            for at in (0..times.len()).map(|at| (at * 5 + turn) % times.len()) {
                let span = u16::try_from(bounds.span(times[at])).unwrap();
                let slice = Slice {
                    subjects: &[8],
                    first: 7,
                    times: &[times[at]],
                    ids: None,
                    spans: &Spans::Same(span),
                    bands: &bands,
                    filter: None,
                    rows: 0..1,
                };
                tally.add(&slice, &[Argument::Column(Arc::new(Int32Array::from(vec![units[at]])))]).unwrap();
            }
            for (position, window) in windows.iter().enumerate() {
                let inside = |time: &i64| {
                    window.from.is_none_or(|from| from.as_microsecond() <= *time) && *time < window.to.unwrap().as_microsecond()
                };
                let expected: HashSet<i64> = times.iter().filter(|time| inside(time)).map(|time| time / 10).collect();
                let window = Window { bands: bands.window(position), from: None, to: None };
                let counts = tally.finish(&window).unwrap();
                let counts = counts[0].as_primitive::<datafusion::arrow::datatypes::Int64Type>().values().to_vec();
                assert_eq!(counts, [0, i64::try_from(expected.len()).unwrap()], "turn {turn} window {position}");
            }
        }
    }
}
