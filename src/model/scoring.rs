//! Fuzzy membership: weighted rules whose degrees combine to a score.

use super::condition::Condition;
use super::decimal::Decimal;

/// The `scoring` of a definition. It decodes, and is refused by `check` until scores are evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scoring {
    /// How the degrees of the rules become one score.
    pub combination: Combination,
    /// Members are the subjects whose score is at least this, in [0, 1]; absent = 0.3.
    pub threshold: Option<Decimal>,
    /// At least one.
    pub rules: Vec<ScoringRule>,
}

/// How the degrees of the rules become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Combination {
    /// The least degree.
    All,
    /// The greatest degree.
    Any,
    /// The mean of the degrees by weight.
    #[default]
    Weighted,
}

/// One rule of a scoring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScoringRule {
    /// What is graded.
    pub condition: Condition,
    /// How much it counts, at least 0; absent = 1.
    pub weight: Option<Decimal>,
    /// The author's remark.
    pub description: Option<String>,
}
