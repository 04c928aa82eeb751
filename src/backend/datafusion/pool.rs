//! [`HoldersPool`]: the memory of an evaluation, shared by those who hold some of it.
//!
//! The fair pool of the engine gives everybody who can spill an equal part as soon as a plan is started, and all operators of a plan are
//! started at once. A batch with many rankings has as many sorts, one after the other, of which no more than two at a time hold rows: their
//! parts were too small for a single batch of rows, while most of the memory was free. Here only those share who hold something.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Of the limit, the part that is left to those who can spill: two operators with a few batches on each thread need no more.
const SPILLED_PART: usize = 8;

/// The memory of an evaluation.
///
/// - All of them together never hold more than the limit.
/// - Of what those who cannot spill leave, those who can and hold something have half, in equal parts: the next operator of a plan begins
///   while the one before it still holds its rows.
/// - Where there are some who can spill, each of the others leaves them an eighth.
#[derive(Debug)]
pub(super) struct HoldersPool {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many there are who can spill.
    spillers: usize,
    /// Bytes of everybody who holds some, by the number of the consumer.
    held: BTreeMap<usize, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    bytes: usize,
    can_spill: bool,
}

impl HoldersPool {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most that a consumer may hold.
    fn most(&self, state: &State, consumer: &MemoryConsumer) -> usize {
        if !consumer.can_spill() {
            return if state.spillers > 0 { self.limit - self.limit / SPILLED_PART } else { self.limit };
        }
        let others = state.held.iter().filter(|(id, held)| held.can_spill && **id != consumer.id()).count();
        self.limit.saturating_sub(state.bytes(|held| !held.can_spill)) / 2 / (others + 1)
    }
}

impl State {
    fn bytes(&self, of: impl Fn(&Held) -> bool) -> usize {
        self.held.values().filter(|held| of(held)).map(|held| held.bytes).sum()
    }

    fn add(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if bytes > 0 {
            self.held.entry(consumer.id()).or_insert(Held { bytes: 0, can_spill: consumer.can_spill() }).bytes += bytes;
        }
    }
}

impl MemoryPool for HoldersPool {
    fn name(&self) -> &str {
        "holders"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.state().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        state.spillers = state.spillers.saturating_sub(usize::from(consumer.can_spill()));
        state.held.remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.state().add(reservation.consumer(), additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let (mut state, id) = (self.state(), reservation.consumer().id());
        if let Some(held) = state.held.get_mut(&id) {
            held.bytes = held.bytes.saturating_sub(shrink);
            if held.bytes == 0 {
                state.held.remove(&id);
            }
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let (mut state, consumer) = (self.state(), reservation.consumer());
        let held = state.held.get(&consumer.id()).map_or(0, |held| held.bytes);
        let left = self.limit.saturating_sub(state.bytes(|_| true));
        let left = left.min(self.most(&state, consumer).saturating_sub(held));
        if additional > left {
            let name = consumer.name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{name} holds {held} bytes and needs {additional} more, of which {left} are left for it of {}",
                self.limit
            )));
        }
        state.add(consumer, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.state().bytes(|_| true)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for HoldersPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "holders (limit: {} bytes)", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool() -> Arc<dyn MemoryPool> {
        Arc::new(HoldersPool::new(1_000))
    }

    fn consumer(pool: &Arc<dyn MemoryPool>, can_spill: bool) -> MemoryReservation {
        MemoryConsumer::new("somebody").with_can_spill(can_spill).register(pool)
    }

    #[test]
    fn who_holds_nothing_takes_nothing_away() {
        let pool = pool();
        let idle: Vec<MemoryReservation> = (0..100).map(|_| consumer(&pool, true)).collect();
        let one = &idle[7];
        one.try_grow(500).unwrap();
        assert!(one.try_grow(1).is_err(), "half is kept for the one who comes after it");
        idle[8].try_grow(250).unwrap();
        assert!(idle[8].try_grow(1).is_err());
        assert_eq!((pool.reserved(), one.free()), (750, 500));
        idle[8].try_grow(250).unwrap();
        drop(idle);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn parts_of_a_reservation_are_of_one_holder() {
        let pool = pool();
        let mut one = consumer(&pool, true);
        one.try_grow(400).unwrap();
        let (part, rest) = (one.split(100), one.take());
        assert_eq!(one.size(), 0);
        one.try_grow(100).unwrap();
        assert!(one.try_grow(1).is_err(), "{}", pool.reserved());
        drop((part, rest));
        one.try_grow(400).unwrap();
    }

    #[test]
    fn those_who_cannot_spill_leave_something_to_those_who_can() {
        let pool = pool();
        let alone = consumer(&pool, false);
        alone.try_grow(1_000).unwrap();
        assert!(alone.try_grow(1).is_err());
        alone.free();
        let sort = consumer(&pool, true);
        assert!(alone.try_grow(876).is_err());
        alone.try_grow(875).unwrap();
        sort.try_grow(62).unwrap();
        let other = consumer(&pool, false);
        let told = other.try_grow(64).unwrap_err().to_string();
        assert!(told.contains("somebody holds 0 bytes and needs 64 more, of which 63 are left for it of 1000"), "{told}");
        other.try_grow(63).unwrap();
        assert!(sort.try_grow(1).is_err());
    }
}
