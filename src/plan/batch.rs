//! The types of a batch.

use std::fmt;

use jiff::Timestamp;

use crate::ir::{Aggregate, Comparison, EventStep, Formula, Ranking, RowTest, Scored, Test, Value};
use crate::model::catalog::Access;
use crate::model::condition::{EventTypePattern, Subject};
use crate::model::id::SegmentId;
use crate::model::manual::{Override, Verdict};
use crate::model::path::DocPath;
use crate::model::window::{Duration, Interval};

/// What a backend evaluates in one go: outputs over tests over features, for the subjects of one universe, seen from one instant or from
/// several. What depends on the instant carries its own.
///
/// INVARIANT: features and tests are distinct, each is used by an output, and an output refers only to outputs before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What is evaluated.
    pub subject: Subject,
    /// The instant, or the latest of them; an event at or after it does not exist. Windows end at the instant of whoever asks at the latest.
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
    /// The distinct comparisons of two features.
    pub comparisons: Vec<BatchComparison>,
    /// Sets that are handed in.
    pub given: Vec<Given>,
    /// What is asked for.
    pub outputs: Vec<Output>,
}

impl Batch {
    /// The index of an output, when the batch has it; of several instants that of the first.
    #[must_use]
    pub fn position(&self, name: &OutputName) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == *name)
    }

    /// The index of an output as it is seen from an instant.
    #[must_use]
    pub fn position_at(&self, name: &OutputName, as_of: Timestamp) -> Option<usize> {
        self.outputs.iter().position(|output| output.name == *name && output.as_of == as_of)
    }
}

/// A set of subjects that a batch is handed, rather than evaluating it, as it is at an instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Given {
    /// Which.
    pub set: GivenSet,
    /// When.
    pub as_of: Timestamp,
}

/// Which set of subjects a batch is handed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GivenSet {
    /// The members of a segment: of one of the same subject as they are stored, of one of users whose events are counted as they were
    /// evaluated or are stored.
    Members(SegmentId),
    /// Those of whom people decided so by hand for a segment.
    Overridden(SegmentId, Override),
}

/// As it stands in plans.
impl fmt::Display for GivenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members(segment) => write!(f, "stored members of `{segment}`"),
            Self::Overridden(segment, Override { verdict, origin }) => {
                let how = match verdict {
                    Verdict::Add => "added to",
                    Verdict::Remove => "removed from",
                };
                write!(f, "those {how} `{segment}`, {}", origin.keyword())
            }
        }
    }
}

/// A set of subjects that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Who asks.
    pub name: OutputName,
    /// The instant that it is seen from.
    pub as_of: Timestamp,
    /// Who is in it.
    pub formula: Formula<Leaf>,
    /// The index in [`Batch::scores`] of the score that its members have, when there is one. It decides who is in it, but for those of
    /// whom people decide.
    pub score: Option<usize>,
}

/// What an output is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputName {
    /// The members of a segment: by its rule, but for those of whom people decided by hand.
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
    /// The comparison with this index in [`Batch::comparisons`] holds.
    Compare(usize),
    /// The subject is in the set with this index in [`Batch::given`].
    Given(usize),
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

/// A comparison of features, by their indices in [`Batch::features`].
pub type BatchComparison = Comparison<usize>;

/// One value per subject, with its window resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchFeature {
    /// Read from the subject's row.
    Attribute(BatchValue),
    /// Measured over the subject's events.
    Measure(BatchMeasure),
    /// Whether the subject's events contain the steps of a sequence: a boolean, never missing.
    Sequence(BatchSequence),
    /// Measured over events of the members of a user segment that name the product.
    Signal(BatchSignal),
    /// `xxh3_64(salt ":" subject_id)`, an unsigned integer.
    Hash {
        /// What tells samples apart.
        salt: String,
    },
}

/// One value per row, seen from an instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchValue {
    /// The value.
    pub value: Value,
    /// The instant; absent where the value is the same from every one.
    pub as_of: Option<Timestamp>,
}

impl BatchValue {
    /// A value as it is seen from an instant.
    #[must_use]
    pub fn new(value: Value, as_of: Timestamp) -> Self {
        let as_of = value.depends_on_time().then_some(as_of);
        Self { value, as_of }
    }
}

/// A leaf of a formula over the rows of a table, with its dates resolved.
pub type BatchRowTest = RowTest<Interval, BatchValue>;

/// One event of a sequence, with its dates resolved.
pub type BatchStep = EventStep<Interval, BatchValue>;

/// A measure over the subject's events, with its window resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchMeasure {
    /// The event types; sorted, without repeats; `None` = any event.
    pub event_type: Option<Vec<EventTypePattern>>,
    /// What must hold of the event.
    pub filter: Formula<BatchRowTest>,
    /// When; its end is at most `as_of`.
    pub window: Interval,
    /// What is computed.
    pub aggregate: Aggregate,
    /// The instant that days are counted up to; absent where none are counted.
    pub as_of: Option<Timestamp>,
}

/// Events of the subject at strictly increasing times, with their window resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSequence {
    /// What must be there, in this order; at least one.
    pub steps: Vec<BatchStep>,
    /// What must not follow the last of them strictly later and at most `within` after it, while that time is over by an instant, at and
    /// after which no event exists.
    pub absent: Option<(BatchStep, Timestamp)>,
    /// How long after the first event the last one may be.
    pub within: Option<Duration>,
    /// Properties that are equal on all of the events.
    pub same: Vec<Access>,
    /// When; its end is at most `as_of`. The absent step is looked for outside as well.
    pub window: Interval,
}

/// A measure over the events of the members of a user segment that name the product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSignal {
    /// Index of the members of the segment in [`Batch::given`].
    pub members: usize,
    /// What holds the id of the product, read as text.
    pub product: Access,
    /// What is measured.
    pub measure: BatchMeasure,
}
