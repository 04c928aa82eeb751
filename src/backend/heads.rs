//! The beginnings of ids. Eight bytes after what all of them begin with tell most ids apart, and as one number they are compared at once.

use std::cmp::Ordering;
use std::ops::Range;

use datafusion::arrow::array::{Array, StringArray};

/// How many bytes a head tells.
const BYTES: usize = 8;

/// Of each text of an array the eight bytes after what all begin with, as a number. A text with a lesser head is less; equal heads leave
/// it open.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    /// What all texts begin with.
    common: Vec<u8>,
    heads: Vec<u64>,
    tell_all: bool,
}

impl Heads {
    /// The heads of texts that ascend.
    pub(crate) fn of_ascending(texts: &StringArray) -> Self {
        let common = match texts.len().checked_sub(1) {
            Some(last) => {
                let (first, last) = (part_of(texts.value_offsets(), 0), part_of(texts.value_offsets(), last));
                let shared = shared_prefix(texts.value_data(), first.start, last.start, first.len().min(last.len()));
                &texts.value_data()[first][..shared]
            }
            None => &[],
        };
        Self::after(common, texts)
    }

    /// The heads of texts in any order.
    pub(crate) fn of_any(texts: &StringArray) -> Self {
        Self::after(&[], texts)
    }

    fn after(common: &[u8], texts: &StringArray) -> Self {
        let (text, ends) = (texts.value_data(), texts.value_offsets());
        let mut tell_all = true;
        let heads = (0..texts.len()).map(|position| {
            let Range { start, end } = part_of(ends, position);
            let part = start + common.len()..end;
            let head = head(text, part.clone());
            tell_all &= part.len() == told(head);
            head
        });
        let heads = heads.collect();
        Self { common: common.to_vec(), heads, tell_all }
    }

    /// The head of each text.
    #[inline]
    pub(crate) fn all(&self) -> &[u64] {
        &self.heads
    }

    /// The head that a part of a text has among these; how it compares with all of them if it begins with something else.
    #[inline]
    pub(crate) fn of(&self, text: &[u8], part: Range<usize>) -> Result<u64, Ordering> {
        let start = part.start + self.common.len();
        if start <= part.end && text[part.start..start] == *self.common {
            Ok(head(text, start..part.end))
        } else {
            Err(text[part].cmp(&self.common))
        }
    }

    /// How many bytes all texts have in common.
    #[inline]
    pub(crate) fn common(&self) -> usize {
        self.common.len()
    }

    /// Whether each head tells all of its text: those are as long as [`told`] says.
    pub(crate) fn tell_all(&self) -> bool {
        self.tell_all
    }

    /// How long a text is at most of which the head tells all that the others do not have as well. Two of these with the same head differ
    /// in their length alone.
    #[inline]
    pub(crate) fn reach(&self) -> usize {
        self.common.len() + BYTES
    }
}

/// The first eight bytes of a part of a text, zeros after its end.
#[inline]
fn head(text: &[u8], part: Range<usize>) -> u64 {
    match text[part.start..].first_chunk() {
        Some(bytes) if part.len() >= BYTES => u64::from_be_bytes(*bytes),
        Some(bytes) => u64::from_be_bytes(*bytes) & !(u64::MAX >> (8 * part.len())),
        None => {
            let mut bytes = [0; BYTES];
            bytes[..part.len()].copy_from_slice(&text[part]);
            u64::from_be_bytes(bytes)
        }
    }
}

/// How many bytes a head tells, if the last of them is not zero.
#[inline]
pub(crate) fn told(head: u64) -> usize {
    BYTES - (head.trailing_zeros() / 8) as usize
}

/// Where one of the texts of an array stands.
#[inline]
pub(crate) fn part_of(ends: &[i32], position: usize) -> Range<usize> {
    // INVARIANT: the ends of an array are not negative, and ascend.
    ends[position].cast_unsigned() as usize..ends[position + 1].cast_unsigned() as usize
}

/// How many bytes, `most` at most, are the same from two places on.
pub(crate) fn shared_prefix(bytes: &[u8], one: usize, other: usize, most: usize) -> usize {
    let (one, other) = (&bytes[one..], &bytes[other..]);
    let mut shared = 0;
    while shared < most {
        let same = match (one[shared..].first_chunk::<8>(), other[shared..].first_chunk::<8>()) {
            (Some(left), Some(right)) => {
                let different = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
                (different.trailing_zeros() / 8) as usize
            }
            (None, _) | (_, None) => {
                let (left, right) = (&one[shared..most], &other[shared..most]);
                return shared + left.iter().zip(right).take_while(|(left, right)| left == right).count();
            }
        };
        shared += same;
        if same < 8 {
            break;
        }
    }
    shared.min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Heads are ordered as texts are, also with bytes of zero and texts that end early.
        #[test]
        fn heads_never_contradict_texts(texts in prop::collection::btree_set("(ab){0,2}[a-b\0]{0,12}", 0..60), other in "(ab){0,2}[a-b\0]{0,12}", behind in "[ab\0]{0,9}") {
            let array = StringArray::from_iter_values(&texts);
            let longer = format!("b\0{other}{behind}");
            for heads in [Heads::of_ascending(&array), Heads::of_any(&array)] {
                for (text, own) in texts.iter().zip(heads.all()) {
                    match heads.of(longer.as_bytes(), 2..2 + other.len()) {
                        Err(order) => prop_assert_eq!(other.as_str().cmp(text), order),
                        Ok(head) if head != *own => prop_assert_eq!(head.cmp(own), other.as_str().cmp(text)),
                        Ok(_) if text.len() <= heads.reach() && other.len() <= heads.reach() => {
                            prop_assert_eq!(other.len().cmp(&text.len()), other.as_str().cmp(text));
                        }
                        Ok(_) => prop_assert!(text.as_bytes().iter().zip(other.as_bytes()).take(heads.reach()).all(|(a, b)| a == b)),
                    }
                }
            }
        }
    }
}
