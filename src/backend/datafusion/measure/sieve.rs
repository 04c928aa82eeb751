//! What some measure takes of the events of a batch, told before anything is known of subjects.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringViewArray, UInt32Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{take, take_record_batch};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;

use super::machine::Machine;
use super::program::Existence;
use super::worker::Seen;
use crate::backend::datafusion::failure::internal;

/// Takes events out of batches.
pub(super) struct Sieve {
    machine: Arc<Machine>,
}

/// The events of a batch that some measure takes.
pub(super) struct Sifted {
    pub(super) batch: RecordBatch,
    pub(super) keys: StringViewArray,
    /// Instants in microseconds.
    pub(super) times: Vec<i64>,
    /// Their rows in the batch, whose keys those are.
    pub(super) rows: Vec<u32>,
    pub(super) spans: Vec<u16>,
    /// The span of all events of the batch, where it is one.
    pub(super) same_span: Option<u16>,
    pub(super) routes: Vec<u32>,
}

impl Sieve {
    pub(super) fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// The events that some measure takes: those that exist, and have a subject, a time and a type that one asks for.
    pub(super) fn sift(&self, batch: RecordBatch, observed: &mut Seen) -> Result<Sifted> {
        let machine = &self.machine;
        let read = machine.base.read(&batch, None, &mut observed.counts)?;
        let base = machine.base(&read)?;
        observed.keyless += base.keys.null_count() as u64;
        observed.timeless += base.times.null_count() as u64;
        let times = base.times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| internal("times are instants"))?;
        let same_span = self.same_span(times.values());
        let mut routes = machine.router.of_batch(base.types.as_ref());
        let exists = machine.existence == Existence::Counts;
        let missing = NullBuffer::union(base.keys.nulls(), base.times.nulls());
        let mut sifted = Sifted {
            keys: base.keys,
            times: Vec::new(),
            rows: Vec::new(),
            spans: Vec::new(),
            same_span,
            routes: Vec::new(),
            batch,
        };
        for (row, time) in times.values().iter().enumerate() {
            let route = routes.route(row);
            let Some(of_route) = machine.routes.get(usize::from(route)).filter(|of_route| exists || of_route.is_met) else {
                continue;
            };
            let span = same_span.unwrap_or_else(|| self.span(*time));
            let is_met = of_route.spans.get(usize::from(span)).copied().unwrap_or(false);
            let is_there = missing.as_ref().is_none_or(|missing| missing.is_valid(row));
            if (is_met || exists) && *time < machine.as_of && is_there {
                // INVARIANT: a batch has fewer than 2^32 rows.
                sifted.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                sifted.times.push(*time);
                sifted.spans.push(span);
                sifted.routes.push(u32::from(route));
            }
        }
        Ok(sifted)
    }

    /// The span of time that all of these instants lie in.
    fn same_span(&self, times: &[i64]) -> Option<u16> {
        let (least, greatest) =
            times.iter().fold((i64::MAX, i64::MIN), |(least, greatest), time| (least.min(*time), greatest.max(*time)));
        let first = self.span(least);
        (first == self.span(greatest)).then_some(first)
    }

    fn span(&self, time: i64) -> u16 {
        // INVARIANT: `Program` bounds how many there are.
        u16::try_from(self.machine.bounds.span(time)).unwrap_or(u16::MAX)
    }
}

impl Sifted {
    /// Keeps the first so many events.
    pub(super) fn truncate(&mut self, events: usize) {
        self.rows.truncate(events);
        self.times.truncate(events);
        self.spans.truncate(events);
        self.routes.truncate(events);
    }

    /// The same without the rows that nobody takes, where that is most of them.
    pub(super) fn compact(mut self) -> Result<Self> {
        if self.rows.len() * 2 > self.batch.num_rows() {
            return Ok(self);
        }
        let rows = UInt32Array::from(std::mem::take(&mut self.rows));
        self.batch = take_record_batch(&self.batch, &rows)?;
        self.keys = take(&self.keys, &rows, None)?.as_string_view().clone();
        // INVARIANT: a batch has fewer than 2^32 rows.
        self.rows = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        Ok(self)
    }
}
