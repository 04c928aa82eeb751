//! Sorting by small numbers.

/// Items in the order of their buckets, those of one as they came, and where each bucket begins; the last place is the end of all.
pub(super) fn by_bucket<T: Copy + Default>(items: impl Iterator<Item = (u32, T)> + Clone, buckets: usize) -> (Vec<T>, Vec<usize>) {
    let mut starts = vec![0usize; buckets + 1];
    for (bucket, _) in items.clone() {
        starts[bucket as usize + 1] += 1;
    }
    for bucket in 0..buckets {
        starts[bucket + 1] += starts[bucket];
    }
    let mut next = starts.clone();
    let mut sorted = vec![T::default(); starts[buckets]];
    for (bucket, item) in items {
        let place = &mut next[bucket as usize];
        sorted[*place] = item;
        *place += 1;
    }
    (sorted, starts)
}
