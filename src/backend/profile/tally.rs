//! Counts texts, in bounded memory.

use std::collections::BTreeMap;

/// How often each of a bounded number of texts occurs.
#[derive(Debug, Clone)]
pub(in crate::backend) struct Tally {
    counts: BTreeMap<String, u64>,
    most: usize,
}

impl Tally {
    /// Counts the first `most` distinct texts; further ones are passed over.
    pub(in crate::backend) fn new(most: usize) -> Self {
        Self { counts: BTreeMap::new(), most }
    }

    pub(in crate::backend) fn add(&mut self, text: &str) {
        if let Some(count) = self.counts.get_mut(text) {
            *count += 1;
        } else if self.counts.len() < self.most {
            self.counts.insert(text.to_owned(), 1);
        }
    }

    pub(in crate::backend) fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// The most frequent texts, most frequent first; of equals the least first.
    pub(in crate::backend) fn most_frequent(&self, many: usize) -> Vec<(String, u64)> {
        let mut counts: Vec<_> = self.counts.iter().map(|(text, count)| (text.clone(), *count)).collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        counts.truncate(many);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frequent_first_and_bounded() {
        let mut tally = Tally::new(2);
        for text in ["b", "a", "c", "a", "b"] {
            tally.add(text);
        }
        assert_eq!(tally.most_frequent(9), [("a".to_owned(), 2), ("b".to_owned(), 2)]);
        assert_eq!(tally.most_frequent(1).len(), 1);
    }
}
