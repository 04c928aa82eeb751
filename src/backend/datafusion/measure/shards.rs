//! Subjects in shards, each with its own tallies, so that threads seldom wait for each other and memory is touched in one place.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

use datafusion::arrow::array::BooleanBufferBuilder;
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::machine::Machine;
use super::program::Existence;
use super::tally::Tally;

/// Bytes by which tallies may grow before the memory is asked for.
const STEP: usize = 1 << 20;

/// The tallies of all subjects, or of a run of them.
#[derive(Debug)]
pub(super) struct Shards {
    /// The number of the first subject.
    first: u32,
    /// Subjects of a shard, as a power of two.
    bits: u32,
    shards: RwLock<Vec<Arc<Mutex<Shard>>>>,
    beyond: Beyond,
    memory: Memory,
}

/// What happens when memory does not suffice for all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// That is an error.
    Fails,
    /// The last shards are given up, as long as one is left; their subjects need another pass.
    GivesUp,
}

/// What the tallies take, and what of it is reserved.
#[derive(Debug)]
struct Memory {
    /// May be below zero for a moment, when what one thread frees another has not added yet.
    taken: AtomicI64,
    /// What all tallies share.
    shared: AtomicUsize,
    reserved: Mutex<MemoryReservation>,
}

/// The tallies of a run of subjects.
#[derive(Debug)]
pub(super) struct Shard {
    /// The number of its first subject.
    pub(super) first: u32,
    /// One for each measure.
    pub(super) tallies: Vec<Box<dyn Tally>>,
    /// Who has an event, where that counts.
    exists: Option<BooleanBufferBuilder>,
    size: usize,
    is_given_up: bool,
}

impl Shard {
    fn new(first: u32, subjects: usize, machine: &Machine) -> Result<Self> {
        let exists = (machine.existence == Existence::Counts).then(|| {
            let mut exists = BooleanBufferBuilder::new(subjects);
            exists.append_n(subjects, false);
            exists
        });
        let tallies = machine.measures.iter().map(|measure| measure.tally(subjects)).collect::<Result<Vec<_>>>()?;
        Ok(Self { first, tallies, exists, size: 0, is_given_up: false })
    }

    /// Notes that these subjects have events.
    pub(super) fn exist(&mut self, subjects: &[u32]) {
        if let Some(exists) = &mut self.exists {
            for subject in subjects {
                exists.set_bit((subject - self.first) as usize, true);
            }
        }
    }

    /// Whether a subject of the shard has an event.
    pub(super) fn exists(&self, subject: usize) -> bool {
        self.exists.as_ref().is_some_and(|exists| subject < exists.len() && exists.get_bit(subject))
    }

    fn measure(&mut self) -> (usize, usize) {
        let before = self.size;
        self.size = self.tallies.iter().map(|tally| tally.size()).sum::<usize>()
            + self.exists.as_ref().map_or(0, |exists| exists.capacity() / 8);
        (before, self.size)
    }
}

impl Shards {
    /// Shards of so many subjects each, a power of two, from a first one on.
    pub(super) fn new(first: u32, bits: u32, beyond: Beyond, reserved: MemoryReservation) -> Self {
        let memory = Memory { taken: AtomicI64::new(0), shared: AtomicUsize::new(0), reserved: Mutex::new(reserved) };
        Self { first, bits, shards: RwLock::new(Vec::new()), beyond, memory }
    }

    /// Makes room for subjects below a number, or for as many of them as there is memory for.
    pub(super) fn grow(&self, end: usize, machine: &Machine) -> Result<()> {
        let wanted = end.saturating_sub(self.first as usize).div_ceil(1 << self.bits);
        while self.count() < wanted {
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            if shards.len() >= wanted {
                break;
            }
            // INVARIANT: numbers of subjects fit in 32 bits.
            let first = u32::try_from(self.first as usize + (shards.len() << self.bits)).unwrap_or(u32::MAX);
            let mut shard = Shard::new(first, 1 << self.bits, machine)?;
            let (before, after) = shard.measure();
            shards.push(Arc::new(Mutex::new(shard)));
            let count = shards.len();
            drop(shards);
            self.account(before, after)?;
            if self.count() < count {
                break;
            }
        }
        Ok(())
    }

    /// How many places for shards there are among the subjects that are looked at.
    pub(super) fn slots(&self, subjects: &std::ops::Range<u32>) -> usize {
        match subjects.end {
            u32::MAX => self.count(),
            end => (end.saturating_sub(self.first) as usize).div_ceil(1 << self.bits),
        }
    }

    /// Notes what a shard takes now, and gives up shards when that is too much.
    fn account(&self, before: usize, after: usize) -> Result<()> {
        let mut changed = self.memory.change(before, after);
        while let Err(error) = changed {
            changed = match self.give_up() {
                Some(freed) => self.memory.change(freed, 0),
                None => return Err(error),
            };
        }
        Ok(())
    }

    /// Gives up the last shard, and says what it took. Whoever calls holds no shard.
    fn give_up(&self) -> Option<usize> {
        let last = {
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            if self.beyond == Beyond::Fails || shards.len() < 2 {
                return None;
            }
            shards.pop()?
        };
        // Another thread may have it in hand still.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_given_up = true;
        last.tallies = Vec::new();
        last.exists = None;
        Some(std::mem::take(&mut last.size))
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Turns the routes of events to buckets by route and shard, where there are so many shards.
    pub(super) fn buckets(&self, shards: usize, routes: &mut [u32], subjects: &[u32]) {
        let count = u32::try_from(shards).unwrap_or(u32::MAX);
        for (bucket, subject) in routes.iter_mut().zip(subjects) {
            *bucket = *bucket * count + ((subject - self.first) >> self.bits);
        }
    }

    /// Visits these shards, each alone.
    pub(super) fn visit(&self, mut waiting: Vec<usize>, mut visit: impl FnMut(usize, &mut Shard) -> Result<()>) -> Result<()> {
        let shards = self.all();
        while !waiting.is_empty() {
            // Those that another thread holds are left for later; when it holds all, the first is waited for.
            let mut busy = Vec::new();
            let free = waiting.iter().position(|index| shards.get(*index).is_some_and(|shard| shard.try_lock().is_ok()));
            waiting.rotate_left(free.unwrap_or(0));
            for (position, index) in waiting.into_iter().enumerate() {
                let Some(shard) = shards.get(index) else { continue };
                let locked = match shard.try_lock() {
                    Err(TryLockError::WouldBlock) if position > 0 => {
                        busy.push(index);
                        continue;
                    }
                    Err(TryLockError::WouldBlock) => shard.lock().unwrap_or_else(PoisonError::into_inner),
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                    Ok(locked) => locked,
                };
                let mut shard = locked;
                if shard.is_given_up {
                    continue;
                }
                visit(index, &mut shard)?;
                let (before, after) = shard.measure();
                drop(shard);
                self.account(before, after)?;
            }
            waiting = busy;
        }
        Ok(())
    }

    /// Notes how much all tallies share.
    pub(super) fn share(&self, bytes: usize) -> Result<()> {
        let before = self.memory.shared.swap(bytes, Ordering::Relaxed);
        self.account(before, bytes)
    }

    /// The shards, in the order of their subjects.
    pub(super) fn all(&self) -> Vec<Arc<Mutex<Shard>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Memory {
    fn change(&self, before: usize, after: usize) -> Result<()> {
        let bytes = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let change = bytes(after) - bytes(before);
        let taken = usize::try_from(self.taken.fetch_add(change, Ordering::Relaxed) + change).unwrap_or(0);
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        if taken > reserved.size() {
            reserved.try_resize(taken + STEP.min(taken))?;
        }
        Ok(())
    }
}
