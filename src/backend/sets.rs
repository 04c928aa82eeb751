//! [`Sets`]: looking into sets of subjects, wherever they are kept. Commands that show members go through it; a refresh never does.

use std::collections::BinaryHeap;

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_64;

use super::{BackendError, LocalMembers, MemberSet};
use crate::model::scoring::Score;

/// A subject of a sample, with its score when the segment scores.
pub type Sampled = (String, Option<Score>);

/// Looks into sets that one backend yields.
#[async_trait]
pub trait Sets: Send + Sync {
    /// The sets.
    type Members: MemberSet;

    /// The members whose ids have the least hashes ([`xxh3_64`]), by id; all of them without a limit. A member stays in the sample as long
    /// as it is one of the segment, whoever else comes and goes, until one with a lesser hash takes its place.
    ///
    /// # Errors
    /// When the place of the members cannot be read.
    async fn sample(&self, members: &Self::Members, limit: Option<usize>) -> Result<Vec<Sampled>, BackendError>;

    /// Those of the first set that are not in the second, without scores.
    ///
    /// # Errors
    /// As [`Sets::sample`].
    async fn difference(&self, one: &Self::Members, other: &Self::Members) -> Result<Self::Members, BackendError>;

    /// Those of the first set that are in the second too, without scores.
    ///
    /// # Errors
    /// As [`Sets::sample`].
    async fn intersection(&self, one: &Self::Members, other: &Self::Members) -> Result<Self::Members, BackendError>;

    /// How many each set shares with each, in their order.
    ///
    /// # Errors
    /// As [`Sets::sample`].
    async fn shared(&self, sets: &[Self::Members]) -> Result<Vec<Vec<u64>>, BackendError>;
}

/// Sets in this process.
#[derive(Debug, Clone, Copy)]
pub struct LocalSets;

#[async_trait]
impl Sets for LocalSets {
    type Members = LocalMembers;

    async fn sample(&self, members: &LocalMembers, limit: Option<usize>) -> Result<Vec<Sampled>, BackendError> {
        let all = members.iter_with_scores();
        let Some(limit) = limit else { return Ok(all.map(|(id, score)| (id.to_owned(), score)).collect()) };
        let mut least = BinaryHeap::new();
        for (id, score) in all {
            least.push((xxh3_64(id.as_bytes()), id, score));
            if least.len() > limit {
                least.pop();
            }
        }
        let mut found: Vec<Sampled> = least.into_iter().map(|(_, id, score)| (id.to_owned(), score)).collect();
        found.sort_unstable();
        Ok(found)
    }

    async fn difference(&self, one: &LocalMembers, other: &LocalMembers) -> Result<LocalMembers, BackendError> {
        Ok(one.difference(other))
    }

    async fn intersection(&self, one: &LocalMembers, other: &LocalMembers) -> Result<LocalMembers, BackendError> {
        Ok(one.intersection(other))
    }

    async fn shared(&self, sets: &[LocalMembers]) -> Result<Vec<Vec<u64>>, BackendError> {
        let common = LocalMembers::on_common_ids(sets);
        Ok(common.iter().map(|one| common.iter().map(|other| one.intersection_count(other)).collect()).collect())
    }
}
