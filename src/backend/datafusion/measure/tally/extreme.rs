//! The least and the greatest number, and the time of the first and the last event.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array, Float64Array, Int64Array,
    TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use datafusion::common::Result;

use super::{Argument, Cells, Slice, Tally, Window};
use crate::backend::datafusion::failure::internal;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::backend::datafusion) enum End {
    /// The least, the first.
    Least,
    /// The greatest, the last.
    Greatest,
}

/// A tally of the extreme of a column of that type.
pub(super) fn extremes(subjects: usize, bands: usize, end: End, of: &DataType) -> Result<Box<dyn Tally>> {
    Ok(match of {
        DataType::Int64 => Box::new(Extremes::<Int64Type>::new(subjects, bands, end)),
        DataType::UInt64 => Box::new(Extremes::<UInt64Type>::new(subjects, bands, end)),
        DataType::Float64 => Box::new(Extremes::<Float64Type>::new(subjects, bands, end)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Box::new(Extremes::<TimestampMicrosecondType>::new(subjects, bands, end)),
        DataType::Decimal128(precision, scale) => {
            Box::new(Extremes::<Decimal128Type> { digits: Some((*precision, *scale)), ..Extremes::new(subjects, bands, end) })
        }
        DataType::Decimal256(precision, scale) => {
            Box::new(Extremes::<Decimal256Type> { digits: Some((*precision, *scale)), ..Extremes::new(subjects, bands, end) })
        }
        other => return Err(internal(&format!("the extreme of values of type {other}"))),
    })
}

/// A type of numbers, with an order.
trait Ordered: datafusion::arrow::datatypes::ArrowPrimitiveType {
    /// Whether one is less than another.
    fn less(one: Self::Native, other: Self::Native) -> bool;

    /// The column of values.
    fn column(values: Vec<Option<Self::Native>>, digits: Option<(u8, i8)>) -> Result<ArrayRef>;
}

macro_rules! ordered {
    ($type:ty, $array:ty, |$column:ident, $digits:ident| $finish:expr) => {
        impl Ordered for $type {
            fn less(one: Self::Native, other: Self::Native) -> bool {
                one < other
            }

            fn column(values: Vec<Option<Self::Native>>, $digits: Option<(u8, i8)>) -> Result<ArrayRef> {
                let $column: $array = values.into_iter().collect();
                Ok(Arc::new($finish))
            }
        }
    };
}

ordered!(Int64Type, Int64Array, |column, _digits| column);
ordered!(UInt64Type, UInt64Array, |column, _digits| column);
// Values that were read are finite, so that they are in one order.
ordered!(Float64Type, Float64Array, |column, _digits| column);
ordered!(TimestampMicrosecondType, TimestampMicrosecondArray, |column, _digits| column.with_timezone("UTC"));
ordered!(Decimal128Type, Decimal128Array, |column, digits| match digits {
    Some((precision, scale)) => column.with_precision_and_scale(precision, scale)?,
    None => column,
});
ordered!(Decimal256Type, Decimal256Array, |column, digits| match digits {
    Some((precision, scale)) => column.with_precision_and_scale(precision, scale)?,
    None => column,
});

/// Extremes by subject and band.
#[derive(Debug)]
struct Extremes<T: Ordered> {
    end: End,
    cells: Cells<T::Native>,
    /// Which cells have a value.
    filled: BooleanBufferBuilder,
    digits: Option<(u8, i8)>,
}

impl<T: Ordered> Extremes<T> {
    fn new(subjects: usize, bands: usize, end: End) -> Self {
        let mut filled = BooleanBufferBuilder::new(subjects * bands);
        filled.append_n(subjects * bands, false);
        Self { end, cells: Cells::new(subjects, bands, T::Native::default()), filled, digits: None }
    }

    fn better(&self, one: T::Native, other: T::Native) -> bool {
        match self.end {
            End::Least => T::less(one, other),
            End::Greatest => T::less(other, one),
        }
    }
}

impl<T: Ordered + Debug> Tally for Extremes<T> {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Column(column)] = arguments else { return Err(internal("an extreme takes one column")) };
        let column = column.as_primitive_opt::<T>().ok_or_else(|| internal("an extreme of other values"))?;
        let (values, nulls) = (column.values(), column.nulls());
        slice.for_each(|row, subject, band| {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                return;
            }
            let Some(value) = values.get(row).copied() else { return };
            let (at, cell) = self.cells.at(subject, band);
            let known = *cell;
            if !self.filled.get_bit(at) {
                self.filled.set_bit(at, true);
                *cell = value;
            } else if self.better(value, known) {
                *self.cells.at(subject, band).1 = value;
            }
        });
        Ok(())
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        let width = self.cells.width();
        let best = self.cells.rows().enumerate().map(|(subject, row)| {
            let mut best = None;
            for band in window.bands.clone() {
                let Some(value) = row.get(band).copied().filter(|_| self.filled.get_bit(subject * width + band)) else { continue };
                if best.is_none_or(|best| self.better(value, best)) {
                    best = Some(value);
                }
            }
            best
        });
        let best: Vec<_> = best.collect();
        Ok(vec![T::column(best, self.digits)?])
    }

    fn size(&self) -> usize {
        self.cells.size() + self.filled.capacity() / 8
    }
}

/// The time of the first or last event, by subject and band. Its windows are those of [`Grain`](super::super::bands::Grain) of one end.
#[derive(Debug)]
pub(super) struct Times {
    end: End,
    /// [`NO_TIME`] where there is none.
    cells: Cells<i64>,
}

/// No event: no instant is as early.
const NO_TIME: i64 = i64::MIN;

impl Times {
    pub(super) fn new(subjects: usize, bands: usize, end: End) -> Self {
        Self { end, cells: Cells::new(subjects, bands, NO_TIME) }
    }
}

impl Tally for Times {
    fn add(&mut self, slice: &Slice<'_>, _arguments: &[Argument]) -> Result<()> {
        let times = slice.times;
        match self.end {
            End::Greatest => slice.for_each(|row, subject, band| {
                let (_, cell) = self.cells.at(subject, band);
                *cell = (*cell).max(times.get(row).copied().unwrap_or(NO_TIME));
            }),
            End::Least => slice.for_each(|row, subject, band| {
                let (_, cell) = self.cells.at(subject, band);
                let time = times.get(row).copied().unwrap_or(NO_TIME);
                if *cell == NO_TIME || time < *cell {
                    *cell = time;
                }
            }),
        }
        Ok(())
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        let times = self.cells.rows().map(|row| {
            let times = row.get(window.bands.clone()).unwrap_or_default().iter().copied().filter(|time| *time != NO_TIME);
            let time = match self.end {
                End::Greatest => times.max(),
                End::Least => times.min(),
            };
            time.filter(|time| window.contains(*time))
        });
        let times: TimestampMicrosecondArray = times.collect();
        Ok(vec![Arc::new(times.with_timezone("UTC"))])
    }

    fn size(&self) -> usize {
        self.cells.size()
    }
}
