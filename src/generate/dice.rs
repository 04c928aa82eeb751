//! Chance that is the same on every machine: integers only, and floats only by division.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of chance is for. Streams do not disturb each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Who a user is.
    Profile,
    /// What stands in the user's row besides.
    User,
    /// A product.
    Product,
    /// The events of a part of a day.
    Events,
    /// What another system knows of a user.
    Insight,
}

/// A stream of chance.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream with these two numbers.
    pub(super) fn new(seed: u64, stream: Stream, major: u64, minor: u64) -> Self {
        let purpose: u64 = match stream {
            Stream::Profile => 1,
            Stream::User => 2,
            Stream::Product => 3,
            Stream::Events => 4,
            Stream::Insight => 5,
        };
        let mut key = [0; 32];
        for (chunk, word) in key.chunks_exact_mut(8).zip([seed, purpose, major, minor]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// From 0 to `end`, without `end`; 0 when there is nothing between.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        scale(self.0.next_u64(), end)
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.saturating_sub(low).saturating_add(1).unsigned_abs();
        low.saturating_add_unsigned(self.below(width))
    }

    /// True in so many of a thousand cases.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// True in so many of a thousand cases, and not known at all in so many others.
    pub(super) fn flag(&mut self, missing_per_mille: u64, true_per_mille: u64) -> Option<bool> {
        let value = self.chance(true_per_mille);
        (!self.chance(missing_per_mille)).then_some(value)
    }

    /// One of the items, each as likely.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// The position of one of so many items.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// The position of one of the weights, the heavier the more likely.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let mut left = self.below(weights.clone().sum());
        for (position, weight) in weights.enumerate() {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return position,
            }
        }
        0
    }
}

/// A well mixed number of a seed and an index, without a stream: for what is asked many millions of times.
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    // The finalizer of SplitMix64, once per input.
    let mut hash = 0;
    for word in [seed, index] {
        hash ^= word;
        hash = u64::wrapping_add(hash, 0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

/// Maps a uniform number to 0..`end`.
fn scale(uniform: u64, end: u64) -> u64 {
    ((u128::from(uniform) * u128::from(end)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |stream, major, minor| {
            let mut dice = Dice::new(7, stream, major, minor);
            [dice.below(1 << 40), dice.below(1 << 40)]
        };
        assert_eq!(draw(Stream::User, 1, 0), draw(Stream::User, 1, 0));
        assert_ne!(draw(Stream::User, 1, 0), draw(Stream::Product, 1, 0));
        assert_ne!(draw(Stream::User, 1, 0), draw(Stream::User, 2, 0));
        assert_ne!(draw(Stream::User, 1, 0), draw(Stream::User, 1, 1));
    }

    #[test]
    fn ranges_hold_their_ends() {
        let mut dice = Dice::new(1, Stream::Events, 0, 0);
        let drawn: Vec<i64> = (0..200).map(|_| dice.between(-1, 1)).collect();
        assert_eq!(drawn.iter().min(), Some(&-1));
        assert_eq!(drawn.iter().max(), Some(&1));
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.weighted([0, 0, 5].into_iter()), 2);
    }
}
