//! How many events.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::common::Result;

use super::{Argument, Cells, Slice, Tally};

/// Counts, by subject and band.
#[derive(Debug)]
pub(super) struct Counts {
    /// As small as can be: most counts are, and what is touched at random should fit in the caches.
    cells: Cells<u8>,
    /// How often a cell went around.
    carries: HashMap<usize, u64>,
}

impl Counts {
    pub(super) fn new(subjects: usize, bands: usize) -> Self {
        Self { cells: Cells::new(subjects, bands, 0), carries: HashMap::new() }
    }

    /// Counts one more.
    pub(super) fn add(&mut self, subject: usize, band: usize) {
        let (at, cell) = self.cells.at(subject, band);
        *cell = cell.wrapping_add(1);
        if *cell == 0 {
            *self.carries.entry(at).or_insert(0) += 1;
        }
    }

    /// The counts of each subject in bands.
    pub(super) fn window(&self, bands: &std::ops::Range<usize>) -> Vec<i64> {
        let mut counts: Vec<i64> = self
            .cells
            .rows()
            .map(|row| row.get(bands.clone()).unwrap_or_default().iter().map(|count| i64::from(*count)).sum())
            .collect();
        for (at, carry) in &self.carries {
            let (subject, band) = self.cells.place(*at);
            if let Some(count) = counts.get_mut(subject).filter(|_| bands.contains(&band)) {
                *count += i64::try_from(*carry << u8::BITS).unwrap_or(i64::MAX);
            }
        }
        counts
    }

    pub(super) fn size(&self) -> usize {
        self.cells.size() + self.carries.capacity() * size_of::<(usize, u64)>()
    }
}

impl Tally for Counts {
    fn add(&mut self, slice: &Slice<'_>, _arguments: &[Argument]) -> Result<()> {
        slice.for_each(|_, subject, band| self.add(subject, band));
        Ok(())
    }

    fn finish(&mut self, window: &super::Window) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(self.window(&window.bands)))])
    }

    fn size(&self) -> usize {
        self.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_beyond_what_a_cell_holds() {
        let mut counts = Counts::new(3, 2);
        for _ in 0..100_000 {
            counts.add(1, 0);
        }
        for _ in 0..256 {
            counts.add(1, 1);
            counts.add(2, 1);
        }
        counts.add(0, 1);
        assert_eq!(counts.window(&(0..2)), [1, 100_256, 256]);
        assert_eq!(counts.window(&(0..1)), [0, 100_000, 0]);
        assert_eq!(counts.window(&(1..2)), [1, 256, 256]);
    }
}
