//! One thread's part of a pass: batches of events to what the tallies of each shard meet.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::Time;

use super::bucket::by_bucket;
use super::machine::{Machine, Told};
use super::numbering::{Numbering, UNKNOWN};
use super::shards::{Shard, Shards};
use super::sieve::{Sieve, Sifted};
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
    /// How many threads meet in the shards.
    pub(super) threads: usize,
}

/// Whether what threads see in a pass is counted: in one of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    First,
    /// It was counted before.
    Again,
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
    observed: Mutex<Seen>,
    /// Where the time went.
    pub(super) times: Times,
}

/// What was seen of events.
#[derive(Debug, Clone, Default)]
pub(in crate::backend::datafusion) struct Seen {
    /// Rows without a subject.
    pub(in crate::backend::datafusion) keyless: u64,
    /// Rows without a time.
    pub(in crate::backend::datafusion) timeless: u64,
    /// What the program counts, by its own numbers.
    pub(in crate::backend::datafusion) counts: Vec<u64>,
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

impl Seen {
    /// Nothing, of what that many things are counted.
    pub(super) fn of(observations: usize) -> Self {
        Self { counts: vec![0; observations], ..Self::default() }
    }
}

impl Counted {
    pub(super) fn new(observations: usize) -> Self {
        Self { observed: Mutex::new(Seen::of(observations)), times: Times::default() }
    }

    /// What all threads saw.
    pub(super) fn observed(&self) -> Seen {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what was seen.
    pub(super) fn forget(&self) {
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        *observed = Seen::of(observed.counts.len());
    }

    /// Adds what a thread saw.
    pub(super) fn add(&self, seen: &Seen) {
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        observed.keyless += seen.keyless;
        observed.timeless += seen.timeless;
        for (total, count) in observed.counts.iter_mut().zip(&seen.counts) {
            *total += count;
        }
    }
}

/// Bytes of events that wait for each shard with all threads, before one visits the shards: the more events a shard meets at a time, the
/// less often its tallies have to come back from memory.
const WAITING_OF_SHARD: usize = 2 * 1024 * 1024;

/// Bytes of events that wait with one thread at most.
const MOST_WAITING: usize = 128 * 1024 * 1024;

/// One thread of a pass.
pub(super) struct Worker {
    sieve: Sieve,
    counted: Arc<Counted>,
    observed: Seen,
    /// Events that are ready to meet tallies.
    waiting: Vec<OnRoute>,
    /// For the batches that they come from.
    reserved: MemoryReservation,
}

/// The events of one route in a batch, in the order of their shards.
struct OnRoute {
    route: usize,
    subjects: Vec<u32>,
    times: Vec<i64>,
    spans: Spans,
    told: Told,
    /// The rows of each shard.
    shards: Vec<Range<usize>>,
}

impl Worker {
    pub(super) fn new(machine: Arc<Machine>, counted: Arc<Counted>, reserved: MemoryReservation) -> Self {
        let observed = Seen::of(machine.observations);
        Self { sieve: Sieve::new(machine), counted, observed, waiting: Vec::new(), reserved }
    }

    /// The events of a batch that some measure takes.
    pub(super) fn sift(&mut self, batch: RecordBatch) -> Result<Sifted> {
        let _looking_up = self.counted.times.look_up.timer();
        self.sieve.sift(batch, &mut self.observed)
    }

    /// Makes events ready, and lets them meet the tallies of a pass when enough of them wait.
    pub(super) fn meet(&mut self, pass: &Pass, sifted: Sifted) -> Result<()> {
        let wanted = self.reserved.size() + sifted.batch.get_array_memory_size();
        let is_room = wanted < pass.waiting_of_thread() && self.reserved.try_resize(wanted).is_ok();
        self.prepare(pass, sifted)?;
        if is_room { Ok(()) } else { self.tally(pass) }
    }

    /// Reads what measures look at, of events in the order of their routes and shards.
    fn prepare(&mut self, pass: &Pass, mut sifted: Sifted) -> Result<()> {
        let machine = &pass.machine;
        let times_taken = &self.counted.times;
        let looking_up = times_taken.look_up.timer();
        let subjects = pass.number(&mut sifted)?;
        let shards = pass.shards.slots(&pass.subjects);
        let mut buckets = std::mem::take(&mut sifted.routes);
        pass.shards.buckets(shards, &mut buckets, &subjects);
        let (order, starts) = by_bucket(buckets.iter().copied().zip(0u32..), machine.routes.len() * shards);
        drop(looking_up);
        let _reading = times_taken.read.timer();
        for route in 0..machine.routes.len() {
            let bounds = starts.get(route * shards..=(route + 1) * shards).unwrap_or_default();
            let (Some(first), Some(last)) = (bounds.first().copied(), bounds.last().copied()) else { continue };
            if first == last {
                continue;
            }
            let of_route = order.get(first..last).unwrap_or_default();
            let indices: UInt32Array = of_route.iter().map(|at| sifted.rows[*at as usize]).collect::<Vec<_>>().into();
            let planned = machine.routes.get(route).ok_or_else(|| internal("a route that is not there"))?;
            self.waiting.push(OnRoute {
                route,
                subjects: of_route.iter().map(|at| subjects[*at as usize]).collect(),
                times: of_route.iter().map(|at| sifted.times[*at as usize]).collect(),
                spans: match sifted.same_span {
                    Some(span) => Spans::Same(span),
                    None => Spans::Each(of_route.iter().map(|at| sifted.spans[*at as usize]).collect()),
                },
                told: planned.tell(&sifted.batch, &indices, &machine.measures, &mut self.observed.counts)?,
                shards: bounds.windows(2).map(|pair| pair[0] - first..pair[1] - first).collect(),
            });
        }
        Ok(())
    }

    /// Lets the events that wait meet the tallies of a pass.
    pub(super) fn tally(&mut self, pass: &Pass) -> Result<()> {
        let _tallying = self.counted.times.tally.timer();
        let machine = &pass.machine;
        let waiting = std::mem::take(&mut self.waiting);
        self.reserved.free();
        let is_met = |shard: usize| waiting.iter().any(|on_route| on_route.of_shard(shard).is_some());
        let shards = (0..pass.shards.slots(&pass.subjects)).filter(|shard| is_met(*shard)).collect();
        pass.shards
            .visit(shards, |shard, tallies| waiting.iter().try_for_each(|on_route| on_route.meet(machine, shard, tallies)))?;
        pass.shards.share(machine.longer.size())
    }

    /// Ends the work of this thread; what it saw counts from then on, if it counts.
    pub(super) fn end(self, look: Look) {
        if look == Look::First {
            self.counted.add(&self.observed);
        }
    }
}

impl Pass {
    /// Bytes of events that wait with each thread.
    fn waiting_of_thread(&self) -> usize {
        (self.shards.slots(&self.subjects).saturating_mul(WAITING_OF_SHARD) / self.threads).min(MOST_WAITING)
    }

    /// The numbers of the subjects of events; those that are not looked at are taken away.
    fn number(&self, sifted: &mut Sifted) -> Result<Vec<u32>> {
        let mut subjects = Vec::new();
        let some_unknown = {
            let numbering = self.numbering.read().unwrap_or_else(PoisonError::into_inner);
            numbering.find_all(&sifted.keys, &sifted.rows, &mut subjects);
            self.unknown == Unknown::Numbered && subjects.contains(&UNKNOWN)
        };
        if some_unknown {
            let mut numbering = self.numbering.write().unwrap_or_else(PoisonError::into_inner);
            for (row, subject) in sifted.rows.iter().zip(&mut subjects).filter(|(_, subject)| **subject == UNKNOWN) {
                *subject = numbering.number(&sifted.keys, *row as usize)?;
            }
            self.shards.grow(numbering.len(), &self.machine)?;
        }
        let mut kept = 0;
        for at in 0..subjects.len() {
            if self.subjects.contains(&subjects[at]) {
                subjects[kept] = subjects[at];
                sifted.rows[kept] = sifted.rows[at];
                sifted.times[kept] = sifted.times[at];
                sifted.spans[kept] = sifted.spans[at];
                sifted.routes[kept] = sifted.routes[at];
                kept += 1;
            }
        }
        subjects.truncate(kept);
        sifted.truncate(kept);
        Ok(subjects)
    }
}

impl OnRoute {
    /// The rows of a shard, where there are some.
    fn of_shard(&self, shard: usize) -> Option<&Range<usize>> {
        self.shards.get(shard).filter(|rows| !rows.is_empty())
    }

    /// The events of one shard meet its tallies.
    fn meet(&self, machine: &Machine, shard: usize, tallies: &mut Shard) -> Result<()> {
        let Some(rows) = self.of_shard(shard) else { return Ok(()) };
        let Some(route) = machine.routes.get(self.route) else { return Ok(()) };
        tallies.exist(self.subjects.get(rows.clone()).unwrap_or_default());
        for (met, arguments) in route.met.iter().zip(&self.told.arguments) {
            let (Some(measure), Some(tally)) = (machine.measures.get(met.measure), tallies.tallies.get_mut(met.measure)) else {
                return Err(internal("a measure without a tally"));
            };
            let slice = Slice {
                subjects: &self.subjects,
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
