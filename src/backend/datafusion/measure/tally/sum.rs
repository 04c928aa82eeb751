//! Exact sums, and with counts beside them averages.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use datafusion::common::Result;

use super::count::Counts;
use super::{Argument, Cells, Slice, Tally, Window};
use crate::backend::datafusion::failure::internal;

/// Sums by subject and band, of DECIMALs in 128 bits or in 256.
#[derive(Debug)]
pub(super) struct Sums {
    cells: SumCells,
    /// How many addends there are, for averages.
    counts: Option<Counts>,
    /// The type of the sum.
    sum: DataType,
}

#[derive(Debug)]
enum SumCells {
    /// Most sums fit in 64 bits. What does not is beside them, by cell.
    Narrow {
        cells: Cells<i64>,
        rest: HashMap<usize, i128>,
    },
    Wide(Cells<i256>),
}

impl Sums {
    /// Sums of the type; `counted` when averages are asked for.
    pub(super) fn new(subjects: usize, bands: usize, sum: DataType, counted: bool) -> Self {
        let cells = match sum {
            DataType::Decimal256(..) => SumCells::Wide(Cells::new(subjects, bands, i256::ZERO)),
            _ => SumCells::Narrow { cells: Cells::new(subjects, bands, 0), rest: HashMap::new() },
        };
        Self { cells, counts: counted.then(|| Counts::new(subjects, bands)), sum }
    }

    fn sums(&self, window: &Window, counts: Option<&[i64]>) -> Result<ArrayRef> {
        let there = |subject: usize| counts.is_none_or(|counts| counts.get(subject).is_some_and(|count| *count > 0));
        let too_large = || internal("a sum beyond 256 bits");
        Ok(match (&self.cells, &self.sum) {
            (SumCells::Narrow { cells, rest }, DataType::Decimal128(precision, scale)) => {
                let mut sums: Vec<i128> = cells
                    .rows()
                    .map(|row| row.get(window.bands.clone()).unwrap_or_default().iter().map(|part| i128::from(*part)).sum())
                    .collect();
                for (at, part) in rest {
                    let (subject, band) = cells.place(*at);
                    if let Some(sum) = sums.get_mut(subject).filter(|_| window.bands.contains(&band)) {
                        *sum += part;
                    }
                }
                let sums: Decimal128Array =
                    sums.into_iter().enumerate().map(|(subject, sum)| there(subject).then_some(sum)).collect();
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            (SumCells::Wide(cells), DataType::Decimal256(precision, scale)) => {
                let sums = cells.rows().enumerate().map(|(subject, row)| {
                    let parts = row.get(window.bands.clone()).unwrap_or_default().iter();
                    let sum = parts.copied().try_fold(i256::ZERO, i256::checked_add).ok_or_else(too_large)?;
                    Ok(there(subject).then_some(sum))
                });
                let sums: Decimal256Array = sums.collect::<Result<Vec<_>>>()?.into_iter().collect();
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            _ => return Err(internal("a sum of another type than its addends")),
        })
    }
}

impl Tally for Sums {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Column(addends)] = arguments else { return Err(internal("a sum takes one column")) };
        let nulls = addends.nulls();
        let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match &mut self.cells {
            SumCells::Narrow { cells, rest } => {
                let addends =
                    addends.as_primitive_opt::<Decimal128Type>().ok_or_else(|| internal("a sum of other values"))?.values();
                slice.for_each(|row, subject, band| {
                    if !is_valid(row) {
                        return;
                    }
                    let addend = addends.get(row).copied().unwrap_or_default();
                    let (at, cell) = cells.at(subject, band);
                    match i64::try_from(addend).ok().and_then(|addend| cell.checked_add(addend)) {
                        Some(sum) => *cell = sum,
                        None => {
                            *rest.entry(at).or_insert(0) += addend + i128::from(*cell);
                            *cell = 0;
                        }
                    }
                    if let Some(counts) = &mut self.counts {
                        counts.add(subject, band);
                    }
                });
            }
            SumCells::Wide(cells) => {
                let addends =
                    addends.as_primitive_opt::<Decimal256Type>().ok_or_else(|| internal("a sum of other values"))?.values();
                let mut overflow = false;
                slice.for_each(|row, subject, band| {
                    if !is_valid(row) {
                        return;
                    }
                    let addend = addends.get(row).copied().unwrap_or_default();
                    let (_, cell) = cells.at(subject, band);
                    match cell.checked_add(addend) {
                        Some(sum) => *cell = sum,
                        None => overflow = true,
                    }
                    if let Some(counts) = &mut self.counts {
                        counts.add(subject, band);
                    }
                });
                if overflow {
                    return Err(internal("a sum beyond 256 bits"));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        let Some(counts) = &self.counts else { return Ok(vec![self.sums(window, None)?]) };
        let counts = counts.window(&window.bands);
        Ok(vec![self.sums(window, Some(&counts))?, Arc::new(Int64Array::from(counts))])
    }

    fn size(&self) -> usize {
        let sums = match &self.cells {
            SumCells::Narrow { cells, rest } => cells.size() + rest.capacity() * size_of::<(usize, i128)>(),
            SumCells::Wide(cells) => cells.size(),
        };
        sums + self.counts.as_ref().map_or(0, Counts::size)
    }
}
