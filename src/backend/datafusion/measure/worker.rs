//! One thread's part of a pass: batches of events to what the tallies of each shard meet.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::arrow::array::{Array, AsArray, UInt32Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::physical_plan::metrics::Time;

use super::machine::{Base, Machine, Told};
use super::numbering::{Numbering, UNKNOWN};
use super::program::Existence;
use super::shards::{Shard, Shards};
use super::tally::{Slice, Spans};
use crate::backend::datafusion::failure::internal;

/// What all threads of a pass share.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) machine: Arc<Machine>,
    pub(super) numbering: Arc<RwLock<Numbering>>,
    /// Whether subjects that are not numbered yet are given a number.
    pub(super) unknown: Unknown,
    /// The numbers of the subjects that are looked at.
    pub(super) subjects: Range<u32>,
    pub(super) shards: Shards,
    pub(super) counted: Arc<Counted>,
}

/// What becomes of subjects that have no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// They are left out.
    LeftOut,
    /// They are numbered.
    Numbered,
}

/// What is counted of the events of one side.
#[derive(Debug)]
pub(super) struct Counted {
    /// Rows without a subject.
    pub(super) keyless: AtomicU64,
    /// Rows without a time.
    pub(super) timeless: AtomicU64,
    /// What the program counts, by its own numbers.
    pub(super) observed: Vec<AtomicU64>,
    /// Where the time went.
    pub(super) times: Times,
}

/// How long all threads were in each step.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Waiting for batches of events, and decoding them.
    pub(super) scan: Time,
    /// Who, when, which type; and which subject that is.
    pub(super) look_up: Time,
    /// Reading values, testing filters.
    pub(super) read: Time,
    /// Meeting tallies.
    pub(super) tally: Time,
}

impl Counted {
    pub(super) fn new(observations: usize) -> Self {
        let observed = (0..observations).map(|_| AtomicU64::new(0)).collect();
        Self { keyless: AtomicU64::new(0), timeless: AtomicU64::new(0), observed, times: Times::default() }
    }
}

/// One thread of a pass.
pub(super) struct Worker<'a> {
    pass: &'a Pass,
    observed: Vec<u64>,
    /// The room of the last batch, for the next.
    taken: Taken,
}

/// The events of a batch that some measure takes.
#[derive(Default)]
struct Taken {
    rows: Vec<u32>,
    /// The span of time of each.
    spans: Vec<u16>,
    subjects: Vec<u32>,
    /// By route and shard.
    buckets: Vec<u32>,
    /// How many shards there are.
    shards: usize,
}

impl Taken {
    /// Forgets everything but the room, and makes room for so many.
    fn clear(&mut self, rows: usize) {
        for places in [&mut self.rows, &mut self.subjects, &mut self.buckets] {
            places.clear();
            places.reserve(rows);
        }
        self.spans.clear();
        self.spans.reserve(rows);
    }

    /// Keeps the events whose subjects are wanted, in their order.
    fn retain(&mut self, is_wanted: impl Fn(u32) -> bool) {
        let mut kept = 0;
        for at in 0..self.rows.len() {
            if is_wanted(self.subjects[at]) {
                self.rows[kept] = self.rows[at];
                self.spans[kept] = self.spans[at];
                self.subjects[kept] = self.subjects[at];
                self.buckets[kept] = self.buckets[at];
                kept += 1;
            }
        }
        self.rows.truncate(kept);
        self.spans.truncate(kept);
        self.subjects.truncate(kept);
        self.buckets.truncate(kept);
    }
}

/// The events of one route in a batch, in the order of their shards.
struct OnRoute<'a> {
    route: usize,
    subjects: &'a [u32],
    times: Vec<i64>,
    spans: Spans,
    told: Told,
    /// The rows of each shard.
    shards: Vec<Range<usize>>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(pass: &'a Pass) -> Self {
        Self { pass, observed: vec![0; pass.machine.observations], taken: Taken::default() }
    }

    /// Meets the events of a batch.
    pub(super) fn meet(&mut self, batch: &RecordBatch) -> Result<()> {
        let machine = &self.pass.machine;
        let times_taken = &self.pass.counted.times;
        let looking_up = times_taken.look_up.timer();
        let read = machine.base.read(batch, None, &mut self.observed)?;
        let base = machine.base(&read)?;
        self.pass.counted.keyless.fetch_add(base.keys.null_count() as u64, Ordering::Relaxed);
        self.pass.counted.timeless.fetch_add(base.times.null_count() as u64, Ordering::Relaxed);
        let times = base.times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| internal("times are instants"))?;
        let routes = machine.router.of_batch(base.types.as_ref());
        let same_span = self.same_span(times.values());
        let taken = self.take(&base, times.values(), same_span, &routes)?;
        let (order, starts) = self.sorted(&taken);
        let rows: Vec<u32> = order.iter().map(|at| taken.rows[*at as usize]).collect();
        let subjects: Vec<u32> = order.iter().map(|at| taken.subjects[*at as usize]).collect();
        let shards = taken.shards;
        drop(looking_up);
        let reading = times_taken.read.timer();
        let mut on_routes = Vec::new();
        for route in 0..machine.routes.len() {
            let bounds = starts.get(route * shards..=(route + 1) * shards).unwrap_or_default();
            let (Some(first), Some(last)) = (bounds.first().copied(), bounds.last().copied()) else { continue };
            if first == last {
                continue;
            }
            let of_route = rows.get(first..last).unwrap_or_default();
            let indices = UInt32Array::from(of_route.to_vec());
            let planned = machine.routes.get(route).ok_or_else(|| internal("a route that is not there"))?;
            on_routes.push(OnRoute {
                route,
                subjects: subjects.get(first..last).unwrap_or_default(),
                times: of_route.iter().map(|row| times.values()[*row as usize]).collect(),
                spans: match same_span {
                    Some(span) => Spans::Same(span),
                    None => Spans::Each(order.get(first..last).unwrap_or_default().iter().map(|at| taken.spans[*at as usize]).collect()),
                },
                told: planned.tell(batch, &indices, &machine.measures, &mut self.observed)?,
                shards: bounds.windows(2).map(|pair| pair[0] - first..pair[1] - first).collect(),
            });
        }
        drop(reading);
        let _tallying = times_taken.tally.timer();
        let is_met =
            |shard: usize| on_routes.iter().any(|on_route| on_route.shards.get(shard).is_some_and(|rows| !rows.is_empty()));
        self.pass.shards.visit((0..shards).filter(|shard| is_met(*shard)).collect(), |shard, tallies| {
            on_routes.iter().try_for_each(|on_route| on_route.meet(machine, shard, tallies))
        })?;
        self.taken = taken;
        self.pass.shards.share(machine.longer.size())
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
        u16::try_from(self.pass.machine.bounds.span(time)).unwrap_or(u16::MAX)
    }

    /// The events that some measure takes, with the numbers of their subjects.
    fn take(&mut self, base: &Base, times: &[i64], same_span: Option<u16>, routes: &[u16]) -> Result<Taken> {
        let Pass { machine, numbering, unknown, subjects, shards, .. } = self.pass;
        let other = u16::try_from(machine.router.route(None)).unwrap_or(u16::MAX);
        let exists = machine.existence == Existence::Counts;
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear(times.len());
        let missing = NullBuffer::union(base.keys.nulls(), base.times.nulls());
        for (row, time) in times.iter().enumerate() {
            let route = routes.get(row).copied().unwrap_or(other);
            let Some(of_route) = machine.routes.get(usize::from(route)).filter(|of_route| exists || of_route.is_met) else { continue };
            let span = same_span.unwrap_or_else(|| self.span(*time));
            let is_met = of_route.spans.get(usize::from(span)).copied().unwrap_or(false);
            let is_there = missing.as_ref().is_none_or(|missing| missing.is_valid(row));
            if (is_met || exists) && *time < machine.as_of && is_there {
                // INVARIANT: a batch has fewer than 2^32 rows.
                taken.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
                taken.spans.push(span);
                taken.buckets.push(u32::from(route));
            }
        }
        let some_unknown = {
            let numbering = numbering.read().unwrap_or_else(PoisonError::into_inner);
            numbering.find_all(&base.keys, &taken.rows, &mut taken.subjects);
            *unknown == Unknown::Numbered && taken.subjects.contains(&UNKNOWN)
        };
        if some_unknown {
            let mut numbering = numbering.write().unwrap_or_else(PoisonError::into_inner);
            for (row, subject) in taken.rows.iter().zip(&mut taken.subjects).filter(|(_, subject)| **subject == UNKNOWN) {
                *subject = numbering.number(&base.keys, *row as usize)?;
            }
            shards.grow(numbering.len(), machine)?;
        }
        taken.retain(|subject| subjects.contains(&subject));
        taken.shards = shards.count();
        shards.buckets(taken.shards, &mut taken.buckets, &taken.subjects);
        Ok(taken)
    }

    /// The order of events by bucket, and where each bucket begins.
    fn sorted(&self, taken: &Taken) -> (Vec<u32>, Vec<usize>) {
        let buckets = self.pass.machine.routes.len() * taken.shards;
        let mut starts = vec![0usize; buckets + 1];
        for bucket in &taken.buckets {
            starts[*bucket as usize + 1] += 1;
        }
        for bucket in 0..buckets {
            starts[bucket + 1] += starts[bucket];
        }
        let mut next = starts.clone();
        let mut order = vec![0u32; taken.rows.len()];
        for (at, bucket) in (0u32..).zip(&taken.buckets) {
            let place = &mut next[*bucket as usize];
            order[*place] = at;
            *place += 1;
        }
        (order, starts)
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        for (total, count) in self.pass.counted.observed.iter().zip(&self.observed) {
            total.fetch_add(*count, Ordering::Relaxed);
        }
    }
}

impl OnRoute<'_> {
    /// The events of one shard meet its tallies.
    fn meet(&self, machine: &Machine, shard: usize, tallies: &mut Shard) -> Result<()> {
        let Some(rows) = self.shards.get(shard).filter(|rows| !rows.is_empty()) else { return Ok(()) };
        let Some(route) = machine.routes.get(self.route) else { return Ok(()) };
        tallies.exist(self.subjects.get(rows.clone()).unwrap_or_default());
        for (met, arguments) in route.met.iter().zip(&self.told.arguments) {
            let (Some(measure), Some(tally)) = (machine.measures.get(met.measure), tallies.tallies.get_mut(met.measure)) else {
                return Err(internal("a measure without a tally"));
            };
            let slice = Slice {
                subjects: self.subjects,
                first: tallies.first,
                times: &self.times,
                ids: self.told.ids.as_ref(),
                spans: &self.spans,
                bands: &measure.bands,
                filter: met.filter.and_then(|filter| self.told.filters.get(filter)),
                rows: rows.clone(),
            };
            tally.add(&slice, arguments)?;
        }
        Ok(())
    }
}
