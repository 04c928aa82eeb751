//! Whether events are there in an order: the events that some step matches are kept, and walked once by time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use jiff::Timestamp;

use super::value::{Key, Longer, Values};
use super::{Argument, Slice, Tally, Window};
use crate::backend::datafusion::date::Local;
use crate::backend::datafusion::failure::internal;
use crate::model::window::{Duration, Interval};

/// What a sequence asks of the events of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::backend::datafusion) struct Pattern {
    /// How many steps must be there. Step i is bit i of a mask.
    pub(in crate::backend::datafusion) steps: usize,
    /// Whether the step after them, the next bit, must not follow.
    pub(in crate::backend::datafusion) absent: bool,
    /// How long after the first event the last one may be.
    pub(in crate::backend::datafusion) within: Option<Duration>,
    /// Where the steps are looked for; the absent one is, before `as_of`, outside as well.
    pub(in crate::backend::datafusion) window: Interval,
    /// For lengths of time on the wall clock.
    pub(in crate::backend::datafusion) local: Local,
}

/// The events of every subject that some step matches.
#[derive(Debug)]
pub(super) struct Sequences {
    pattern: Pattern,
    longer: Arc<Longer>,
    subjects: usize,
    events: Vec<Matched>,
}

/// An event that some step matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Matched {
    subject: u32,
    /// The values that are equal on all events.
    same: Key,
    /// Microseconds.
    time: i64,
    steps: u64,
}

/// The masks of the steps, and the values that must be equal as one.
pub(super) fn arguments(mut columns: Vec<ArrayRef>) -> Result<Vec<Argument>> {
    if columns.is_empty() {
        return Err(internal("a sequence without steps"));
    }
    let masks = columns.remove(0);
    if columns.is_empty() {
        return Ok(vec![Argument::Column(masks)]);
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    // An event that lacks one of the values takes no part.
    let nulls = columns
        .iter()
        .fold(None, |nulls, column| datafusion::arrow::buffer::NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()));
    Ok(vec![Argument::Column(masks), Argument::Values(Values::Rows { rows, nulls })])
}

impl Sequences {
    pub(super) fn new(subjects: usize, pattern: Pattern, longer: Arc<Longer>) -> Self {
        Self { pattern, longer, subjects, events: Vec::new() }
    }
}

impl Tally for Sequences {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let (masks, same) = match arguments {
            [Argument::Column(masks)] => (masks, None),
            [Argument::Column(masks), Argument::Values(same)] => (masks, Some(same)),
            _ => return Err(internal("a sequence takes masks and values")),
        };
        let masks = masks.as_primitive_opt::<UInt64Type>().ok_or_else(|| internal("steps that are no mask"))?.values();
        let mut failure = None;
        slice.for_each(|row, subject, _| {
            let (Some(mask), Some(time)) = (masks.get(row), slice.times.get(row)) else { return };
            let steps = mask & self.pattern.bits_at(*time);
            let bytes = same.map_or(Some(&[][..]), |same| same.get(row));
            let Some(bytes) = bytes.filter(|_| steps != 0) else { return };
            match Key::of(bytes, &self.longer) {
                Ok(same) => {
                    let subject = u32::try_from(subject).unwrap_or(u32::MAX);
                    self.events.push(Matched { subject, same, time: *time, steps });
                }
                Err(error) => failure = Some(error),
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn finish(&mut self, _window: &Window) -> Result<Vec<ArrayRef>> {
        self.events.sort_unstable();
        let mut holds = vec![false; self.subjects];
        for run in self.events.chunk_by(|one, next| (one.subject, one.same) == (next.subject, next.same)) {
            let subject = run.first().and_then(|event| holds.get_mut(event.subject as usize));
            if let Some(holds) = subject.filter(|holds| !**holds) {
                *holds = self.pattern.is_in(run);
            }
        }
        Ok(vec![Arc::new(BooleanArray::from(holds))])
    }

    fn size(&self) -> usize {
        self.events.capacity() * size_of::<Matched>()
    }
}

impl Pattern {
    /// The steps that an event of a time can be.
    fn bits_at(&self, time: i64) -> u64 {
        let Interval { from, to } = self.window;
        let inside = from.is_none_or(|from| from.as_microsecond() <= time) && to.is_none_or(|to| time < to.as_microsecond());
        let steps = if inside { (1 << self.steps) - 1 } else { 0 };
        if self.absent { steps | 1 << self.steps } else { steps }
    }

    /// Whether events of one subject with equal values, by time, contain the sequence.
    fn is_in(&self, events: &[Matched]) -> bool {
        // Of the chains of so many steps up to now, until when the latest may go on: that one can do what any other can.
        let mut until: Vec<Option<i64>> = vec![None; self.steps];
        for simultaneous in events.chunk_by(|one, next| one.time == next.time) {
            let mut next = until.clone();
            for Matched { time, steps, .. } in simultaneous {
                for step in (0..self.steps).filter(|step| steps & (1 << step) != 0) {
                    let before = match step.checked_sub(1) {
                        None => Some(self.deadline(*time)),
                        // Only what is strictly earlier comes before.
                        Some(before) => until.get(before).copied().flatten().filter(|until| time <= until),
                    };
                    let Some(longest) = next.get_mut(step) else { continue };
                    *longest = (*longest).max(before);
                    let is_last = step + 1 == self.steps;
                    if is_last && before.is_some() && (!self.absent || self.is_absent_after(*time, events)) {
                        return true;
                    }
                }
            }
            until = next;
        }
        false
    }

    /// Whether the absent step does not follow an event, and the time in which it could is over.
    fn is_absent_after(&self, time: i64, events: &[Matched]) -> bool {
        let deadline = self.deadline(time);
        let later = events.partition_point(|event| event.time <= time);
        let follows = events.iter().skip(later).take_while(|event| event.time <= deadline);
        let mut follows = follows.filter(|event| event.steps & (1 << self.steps) != 0);
        deadline <= self.local.calendar.as_of().as_microsecond() && follows.next().is_none()
    }

    /// Until when a sequence that begins at a time may go on, in microseconds.
    fn deadline(&self, time: i64) -> i64 {
        let Some(within) = self.within else { return i64::MAX };
        if let Some(seconds) = within.unit.exact_seconds() {
            return time.saturating_add(seconds.saturating_mul(i64::from(within.amount)).saturating_mul(1_000_000));
        }
        Timestamp::from_microsecond(time).map_or(i64::MAX, |time| self.local.calendar.after(time, within).as_microsecond())
    }
}
