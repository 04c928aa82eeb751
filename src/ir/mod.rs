//! The logical segment: what a definition means, independent of any backend, of `as_of` and of how it was written.
//!
//! A segment is a [`Formula`] over tests of features, where a [`Feature`] is one value per subject. Formulas are two-valued: a test on
//! a missing value does not hold, and `Not` is the complement over the universe, never the NOT of SQL over NULL. Negative operators
//! of the language (`neq`, `not_in`, ...) are `Not` over their positive here, so a [`Test`] is always positive.
//!
//! | feature | value of a subject without events, or without the property |
//! |---|---|
//! | attribute | missing |
//! | `count`, `active_*`, `sum`, `count_distinct` | 0 |
//! | every other measure | missing |
//!
//! A segment that scores is one leaf, [`Scored`]: the subjects whose score is enough. [`Degree`] tells what a score is made of.
//!
//! [`lower`] keeps the author's tree, [`normalize`] brings equal meanings to one form, [`outline`] keeps a formula per node to explain.

mod fingerprint;
mod logical;
mod lower;
mod normalize;
mod outline;
mod score;

pub use fingerprint::fingerprint;
pub use logical::{
    Aggregate, Comparator, Comparison, DateTest, DistinctUnit, ElementsTest, EventStep, Feature, Formula, LogicalRule,
    LogicalSegment, MeasureFeature, NumberTest, Ranking, RowTest, SequenceFeature, SignalFeature, SubjectTest, Test, TextMatch,
    TextTest, Value,
};
pub use lower::{fold_case, lower};
pub use normalize::{normalize, normalize_degree, normalize_formula, normalize_rows};
pub use outline::{OutlineNode, RowOutlineNode, outline, outline_rows};
pub use score::{Degree, Nearness, Scored, WeightedDegree, degree_alone, nth_greatest, weighted_mean};
