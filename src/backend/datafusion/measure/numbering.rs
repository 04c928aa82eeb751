//! Subjects numbered, so that everything after the first look at an id works on small integers.

use datafusion::arrow::array::{Array, StringViewArray};
use datafusion::common::{DataFusionError, Result};
use xxhash_rust::xxh3::xxh3_64;

/// No subject.
pub(in crate::backend::datafusion) const UNKNOWN: u32 = u32::MAX;

/// Bytes up to which a view of Arrow holds the text itself.
const INLINE: usize = 12;

/// The ids of subjects, each with the number of its place in the order in which they came.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Numbering {
    /// Where the bytes of each id end.
    ends: Vec<u64>,
    bytes: Vec<u8>,
    /// Open addressing.
    slots: Vec<Slot>,
}

/// An id and its number side by side, so that one look into memory mostly tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    id: Id,
    /// [`UNKNOWN`] of a slot that is free.
    number: u32,
}

/// An id in two words: the view of one that fits in it, else the hash and a length that no view of a short one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id([u64; 2]);

/// In place of a length: the id is longer than a view holds.
const LONGER: u64 = u32::MAX as u64;

/// Ids that are looked up together.
const BLOCK: usize = 64;

/// A slot without an id.
const FREE: Slot = Slot { id: Id([0; 2]), number: UNKNOWN };

/// Room for so many ids in a new table.
const LEAST_SLOTS: usize = 1024;

impl Numbering {
    /// For about so many ids.
    pub(super) fn with_capacity(ids: usize) -> Self {
        let slots = (ids.saturating_mul(3) / 2).next_power_of_two().max(LEAST_SLOTS);
        Self { ends: Vec::with_capacity(ids), bytes: Vec::new(), slots: vec![FREE; slots] }
    }

    /// Distinct ids, numbered in their order.
    ///
    /// # Errors
    /// When there are more ids than numbers.
    pub(in crate::backend::datafusion) fn of(ids: &StringViewArray) -> Result<Self> {
        let mut numbering = Self::with_capacity(ids.len());
        for row in 0..ids.len() {
            numbering.add(ids, row)?;
        }
        Ok(numbering)
    }

    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of an id.
    pub(super) fn id(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(number).copied().unwrap_or(start);
        let place = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
        self.bytes.get(place).unwrap_or_default()
    }

    /// The number of the id in a row, or [`UNKNOWN`].
    pub(in crate::backend::datafusion) fn find(&self, ids: &StringViewArray, row: usize) -> u32 {
        self.look_up(Id::of(ids, row), ids, row)
    }

    /// The numbers of the ids in some rows, or [`UNKNOWN`]. They are looked up by the block, so that what one waits for in memory is
    /// fetched while others are.
    pub(super) fn find_all(&self, ids: &StringViewArray, rows: &[u32], numbers: &mut Vec<u32>) {
        numbers.clear();
        numbers.reserve(rows.len());
        let mask = self.slots.len() - 1;
        for rows in rows.chunks(BLOCK) {
            let mut wanted = [Id([0; 2]); BLOCK];
            for (id, row) in wanted.iter_mut().zip(rows) {
                *id = Id::of(ids, *row as usize);
            }
            let mut slots = [FREE; BLOCK];
            for (slot, id) in slots.iter_mut().zip(&wanted) {
                *slot = self.slots.get(place_of(id.hash(), mask)).copied().unwrap_or(FREE);
            }
            for ((row, id), slot) in rows.iter().zip(wanted).zip(slots) {
                let is_known = slot.number != UNKNOWN && slot.id == id && id.is_whole();
                numbers.push(if is_known { slot.number } else { self.look_up(id, ids, *row as usize) });
            }
        }
    }

    /// The number of the id in a row, which is given one when it has none.
    ///
    /// # Errors
    /// When there are more ids than numbers.
    pub(super) fn number(&mut self, ids: &StringViewArray, row: usize) -> Result<u32> {
        let known = self.find(ids, row);
        if known != UNKNOWN { Ok(known) } else { self.add(ids, row) }
    }

    /// The number of an id that has none yet.
    fn add(&mut self, ids: &StringViewArray, row: usize) -> Result<u32> {
        let number = u32::try_from(self.len()).ok().filter(|number| *number < UNKNOWN - 1);
        let number = number.ok_or_else(|| DataFusionError::ResourcesExhausted("there are more than 2^32 subjects".to_owned()))?;
        if (self.len() + 1) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        let id = ids.value(row).as_bytes();
        self.bytes.extend_from_slice(id);
        self.ends.push(self.bytes.len() as u64);
        put(&mut self.slots, Slot { id: Id::of(ids, row), number });
        Ok(number)
    }

    /// The number of an id, that in a row; the first slot is mostly the last that is looked at.
    fn look_up(&self, id: Id, ids: &StringViewArray, row: usize) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = place_of(id.hash(), mask);
        loop {
            let slot = self.slots.get(at).copied().unwrap_or(FREE);
            let is_equal = || id.is_whole() || self.id(slot.number as usize) == ids.value(row).as_bytes();
            if slot.number == UNKNOWN || (slot.id == id && is_equal()) {
                return slot.number;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mut slots = vec![FREE; self.slots.len() * 2];
        for slot in self.slots.iter().filter(|slot| slot.number != UNKNOWN) {
            put(&mut slots, *slot);
        }
        self.slots = slots;
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.ends.capacity() * size_of::<u64>() + self.bytes.capacity()
    }
}

impl Id {
    /// The id in a row.
    fn of(ids: &StringViewArray, row: usize) -> Self {
        let view = ids.views().get(row).copied().unwrap_or(0);
        let (high, low) = if is_short(view) { halves(view) } else { (xxh3_64(ids.value(row).as_bytes()), LONGER) };
        Self([high, low])
    }

    /// Whether nothing but an equal id is equal to it.
    fn is_whole(self) -> bool {
        self.0[1] != LONGER
    }

    /// A hash: of the halves of a view multiplied, so that each bit depends on all others.
    fn hash(self) -> u64 {
        let Self([high, low]) = self;
        if !self.is_whole() {
            return high;
        }
        let product = u128::from(low ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(u128::from(high ^ 0xD1B5_4A32_D192_ED03));
        let mixed = {
            let (high, low) = halves(product);
            high ^ low
        };
        // A product of zero says nothing of its other factor.
        (mixed ^ low.rotate_left(32) ^ high).wrapping_mul(0x2545_F491_4F6C_DD1D).rotate_left(29)
    }
}

fn put(slots: &mut [Slot], new: Slot) {
    let mask = slots.len() - 1;
    let mut at = place_of(new.id.hash(), mask);
    while slots.get(at).is_some_and(|slot| slot.number != UNKNOWN) {
        at = (at + 1) & mask;
    }
    if let Some(slot) = slots.get_mut(at) {
        *slot = new;
    }
}

/// Where a hash is looked for first.
fn place_of(hash: u64, mask: usize) -> usize {
    // INVARIANT: the mask is a usize, so that what it leaves is one.
    usize::try_from(hash & mask as u64).unwrap_or(0)
}

/// The upper and the lower half of 128 bits.
pub(super) fn halves(bits: u128) -> (u64, u64) {
    let [h0, h1, h2, h3, h4, h5, h6, h7, low @ ..] = bits.to_be_bytes();
    (u64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]), u64::from_be_bytes(low))
}

/// Whether a view holds the whole text.
pub(super) fn is_short(view: u128) -> bool {
    (view & u128::from(u32::MAX)) as usize <= INLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_numbers_whatever_their_length() {
        let texts: Vec<String> = (0..5_000).map(|number| format!("{}{number}", "u".repeat(number % 23))).collect();
        let ids = StringViewArray::from_iter_values(&texts);
        let mut numbering = Numbering::with_capacity(0);
        for row in 0..ids.len() {
            assert_eq!(numbering.find(&ids, row), UNKNOWN);
            assert_eq!(numbering.number(&ids, row).unwrap() as usize, row);
        }
        for (row, text) in texts.iter().enumerate() {
            assert_eq!((numbering.find(&ids, row) as usize, numbering.id(row)), (row, text.as_bytes()));
        }
        let mut numbers = Vec::new();
        let rows: Vec<u32> = (0..5_000).rev().collect();
        numbering.find_all(&ids, &rows, &mut numbers);
        assert_eq!(numbers, rows);
        let others = StringViewArray::from(vec!["", "u", "uuuuuuuuuuuuuuuuuuuuuuuuuuuu", "x"]);
        assert!((0..others.len()).all(|row| numbering.find(&others, row) == UNKNOWN));
        numbering.find_all(&others, &[0, 1, 2, 3], &mut numbers);
        assert_eq!(numbers, [UNKNOWN; 4]);
        assert_eq!(numbering.number(&others, 0).unwrap(), 5_000);
        assert_eq!(numbering.find(&others, 0), 5_000);
    }

    #[test]
    fn the_empty_id_is_none_of_the_longer_ones() {
        let texts: Vec<String> = (0..LEAST_SLOTS).map(|number| format!("a longer id than a view holds {number}")).collect();
        // In tables of many sizes, so that some longer id lies where the empty one is looked for.
        for ids in (1..texts.len()).step_by(7) {
            let numbering = Numbering::of(&StringViewArray::from_iter_values(&texts[..ids])).unwrap();
            let mut numbers = Vec::new();
            numbering.find_all(&StringViewArray::from(vec![""]), &[0], &mut numbers);
            assert_eq!(numbers, [UNKNOWN], "{ids}");
        }
    }

    #[test]
    fn hashes_of_similar_ids_differ() {
        let texts: Vec<String> = (0..100_000).map(|number| format!("u{number:06}")).collect();
        let ids = StringViewArray::from_iter_values(&texts);
        let mut hashes: Vec<u64> = (0..ids.len()).map(|row| Id::of(&ids, row).hash()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), texts.len());
        let mut places: Vec<u64> = hashes.iter().map(|hash| hash & 0x3_FFFF).collect();
        places.sort_unstable();
        places.dedup();
        // As many as random ones would have: 2^18 * (1 - e^(-100000 / 2^18)).
        assert!(places.len() > 80_000, "{}", places.len());
    }
}
