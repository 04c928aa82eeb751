//! The value of the first or last event that has one; events in the order of (time, id with none first, value).

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::common::Result;

use super::extreme::End;
use super::value::Codec;
use super::{Argument, Cells, Slice, Tally, Window};
use crate::backend::datafusion::failure::{internal, too_many};

/// The place in the list of events of a cell that has none.
const NONE: u32 = u32::MAX;

/// The first or last event by subject and band.
#[derive(Debug)]
pub(super) struct Edges {
    end: End,
    codec: Arc<Codec>,
    /// Positions in `events`.
    cells: Cells<u32>,
    events: Vec<Event>,
    /// Bytes outside of `events`.
    bytes: usize,
}

/// An event that is the first or last so far.
#[derive(Debug)]
struct Event {
    time: i64,
    /// The bytes of the id, then those of the value.
    bytes: Vec<u8>,
    /// How many bytes the id has; `None` when there is none.
    id: Option<u32>,
}

impl Event {
    fn id(&self) -> Option<&[u8]> {
        self.bytes.get(..self.id? as usize)
    }

    fn value(&self) -> &[u8] {
        self.bytes.get(self.id.unwrap_or(0) as usize..).unwrap_or_default()
    }

    /// Where an event comes relative to this one.
    fn order_of(&self, time: i64, id: Option<&[u8]>, value: &[u8]) -> Ordering {
        time.cmp(&self.time).then_with(|| id.cmp(&self.id())).then_with(|| value.cmp(self.value()))
    }

    fn set(&mut self, time: i64, id: Option<&[u8]>, value: &[u8]) {
        self.time = time;
        self.bytes.clear();
        self.bytes.extend_from_slice(id.unwrap_or_default());
        self.bytes.extend_from_slice(value);
        self.id = id.and_then(|id| u32::try_from(id.len()).ok());
    }
}

impl Edges {
    pub(super) fn new(subjects: usize, bands: usize, end: End, codec: Arc<Codec>) -> Self {
        Self { end, codec, cells: Cells::new(subjects, bands, NONE), events: Vec::new(), bytes: 0 }
    }

    fn better(&self, order: Ordering) -> bool {
        match self.end {
            End::Least => order == Ordering::Less,
            End::Greatest => order == Ordering::Greater,
        }
    }

    fn meet(&mut self, subject: usize, band: usize, time: i64, id: Option<&[u8]>, value: &[u8]) -> Result<()> {
        let position = *self.cells.at(subject, band).1;
        let Some(known) = self.events.get(position as usize).filter(|_| position != NONE) else {
            let position = u32::try_from(self.events.len()).ok().filter(|position| *position != NONE);
            *self.cells.at(subject, band).1 = position.ok_or_else(|| too_many("events"))?;
            let mut event = Event { time, bytes: Vec::with_capacity(id.map_or(0, <[u8]>::len) + value.len()), id: None };
            event.set(time, id, value);
            self.bytes += event.bytes.capacity();
            self.events.push(event);
            return Ok(());
        };
        if self.better(known.order_of(time, id, value))
            && let Some(known) = self.events.get_mut(position as usize)
        {
            self.bytes -= known.bytes.capacity();
            known.set(time, id, value);
            self.bytes += known.bytes.capacity();
        }
        Ok(())
    }
}

impl Tally for Edges {
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()> {
        let [Argument::Values(values)] = arguments else { return Err(internal("the first and last are of one column")) };
        let mut failure = None;
        slice.for_each(|row, subject, band| {
            let (Some(value), Some(time)) = (values.get(row), slice.times.get(row)) else { return };
            let id = slice.ids.filter(|ids| ids.is_valid(row)).map(|ids| ids.value(row).as_bytes());
            if let Err(error) = self.meet(subject, band, *time, id, value) {
                failure = Some(error);
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>> {
        let rows = self.cells.rows().map(|row| {
            let mut best: Option<&Event> = None;
            for position in row.get(window.bands.clone()).unwrap_or_default() {
                let Some(event) = self.events.get(*position as usize).filter(|_| *position != NONE) else { continue };
                if best.is_none_or(|best| self.better(best.order_of(event.time, event.id(), event.value()))) {
                    best = Some(event);
                }
            }
            best.filter(|event| window.contains(event.time)).map(Event::value)
        });
        let rows: Vec<Option<&[u8]>> = rows.collect();
        Ok(vec![self.codec.decode(rows.into_iter())?])
    }

    fn size(&self) -> usize {
        self.cells.size() + self.events.capacity() * size_of::<Event>() + self.bytes
    }
}
