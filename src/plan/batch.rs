//! The types of a batch.

use jiff::Timestamp;

use crate::ir::{Aggregate, Formula, Ranking, RowTest, Scored, Test, Value};
use crate::model::condition::{EventTypePattern, Subject};
use crate::model::id::SegmentId;
use crate::model::path::DocPath;
use crate::model::window::Interval;

/// What a backend evaluates in one go: outputs over tests over features, for the subjects of one universe at one instant.
///
/// INVARIANT: features and tests are distinct, each is used by an output, and an output refers only to outputs before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What is evaluated.
    pub subject: Subject,
    /// When; an event at or after it does not exist.
    pub as_of: Timestamp,
    /// IANA name of the timezone of local days.
    pub timezone: String,
    /// The values per subject that tests look at.
    pub features: Vec<BatchFeature>,
    /// The distinct leaves over features.
    pub tests: Vec<BatchTest>,
    /// The distinct rankings.
    pub rankings: Vec<BatchRanking>,
    /// The distinct scores. A graded leaf of theirs is the test of a number.
    pub scores: Vec<Scored<Leaf>>,
    /// Segments whose stored members are referred to.
    pub stored: Vec<SegmentId>,
    /// What is asked for.
    pub outputs: Vec<Output>,
}

/// A set of subjects that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Who asks.
    pub name: OutputName,
    /// Who is in it.
    pub formula: Formula<Leaf>,
}

impl Output {
    /// The index in [`Batch::scores`] of the score by which subjects are in it, when it is one that decides.
    #[must_use]
    pub fn score(&self) -> Option<usize> {
        if let Formula::Leaf(Leaf::Score(index)) = &self.formula { Some(*index) } else { None }
    }
}

/// What an output is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputName {
    /// The members by a segment's rule.
    Segment(SegmentId),
    /// The subjects for which a node of a segment's definition holds.
    Node(SegmentId, DocPath),
    /// Every subject, with how well a node of a scored segment's definition holds as its score.
    Degree(SegmentId, DocPath),
}

/// A leaf of an output's formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    /// The test with this index in [`Batch::tests`] passes.
    Test(usize),
    /// The subject is among the first of the ranking with this index in [`Batch::rankings`].
    Rank(usize),
    /// The score with this index in [`Batch::scores`] is enough.
    Score(usize),
    /// The subject is in the output with this index in [`Batch::outputs`].
    Output(usize),
    /// The subject is a stored member of the segment with this index in [`Batch::stored`].
    Stored(usize),
}

/// A test of a feature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchTest {
    /// Index in [`Batch::features`].
    pub feature: usize,
    /// What must hold of it.
    pub test: Test<Interval>,
}

/// A ranking of features, by their indices in [`Batch::features`].
pub type BatchRanking = Ranking<usize>;

/// One value per subject, with its window resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchFeature {
    /// Read from the subject's row.
    Attribute(Value),
    /// Measured over the subject's events.
    Measure(BatchMeasure),
    /// `xxh3_64(salt ":" subject_id)`, an unsigned integer.
    Hash {
        /// What tells samples apart.
        salt: String,
    },
}

/// A measure over the subject's events, with its window resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchMeasure {
    /// The event types; sorted, without repeats; `None` = any event.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// What must hold of the event.
    pub filter: Formula<RowTest<Interval>>,
    /// When; its end is at most `as_of`.
    pub window: Interval,
    /// What is computed.
    pub aggregate: Aggregate,
}
