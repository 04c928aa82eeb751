//! Repeatable chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Random choices that a seed repeats.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The choices of one batch of a run.
    pub(crate) fn new(seed: u64, batch: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(batch);
        Self(rng)
    }

    /// From 0 to below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.0.next_u64() % end).expect("below a small number")
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.0.next_u64() % (high - low + 1).unsigned_abs()).expect("a small range")
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(crate) fn pick_owned<T: Clone>(&mut self, of: &[T]) -> T {
        self.pick(of).clone()
    }
}
