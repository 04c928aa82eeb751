//! Joins requests into a [`Batch`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::{
    Batch, BatchComparison, BatchFeature, BatchMeasure, BatchRanking, BatchSequence, BatchSignal, BatchTest, Given, Leaf, Output,
    OutputName,
};
use crate::ir::{
    Comparator, Comparison, DateTest, Degree, EventStep, Feature, Formula, MeasureFeature, Ranking, RowTest, Scored,
    SequenceFeature, SignalFeature, SubjectTest, Test, WeightedDegree,
};
use crate::model::calendar::Calendar;
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::manual::{Override, Verdict};
use crate::model::window::Interval;

/// A set of subjects that someone wants.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks.
    pub name: OutputName,
    /// Who is in it.
    pub formula: Formula<SubjectTest>,
}

/// Where the members of a segment that others refer to come from.
#[derive(Debug, Clone)]
pub enum Reference {
    /// They are evaluated in this batch: an active dynamic segment.
    Evaluated(Formula<SubjectTest>),
    /// They are read as stored: a static or paused segment.
    Stored,
}

/// Of whom people decided by hand: for each segment the decisions that there are.
pub type Overridden = BTreeMap<SegmentId, BTreeSet<Override>>;

/// Why requests cannot be joined. `check` finds both before; a plan never guesses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A formula refers to a segment that was not handed in.
    #[error("segment `{0}` is referred to and not known")]
    UnknownReference(SegmentId),
    /// Segments refer to each other in a circle.
    #[error("segments refer to each other in a circle: {0}")]
    Cycle(String),
}

/// Joins requests for one kind of subject. The outputs of the batch begin with what the requests refer to, in the order of the
/// references, and hold every request once; segments that are only referred to are outputs too. Whoever was added to a segment or removed
/// from it by hand is in it, or is not, wherever its members are asked for.
///
/// # Errors
/// [`PlanError`] when references lead nowhere or in a circle.
pub fn plan(
    subject: Subject,
    requests: &[Request],
    references: &BTreeMap<SegmentId, Reference>,
    overridden: &Overridden,
    calendar: &Calendar,
    timezone: &str,
) -> Result<Batch, PlanError> {
    let mut planner = Planner {
        calendar,
        references,
        overridden,
        requested: requests
            .iter()
            .filter_map(|request| match &request.name {
                OutputName::Segment(id) => Some((id, &request.formula)),
                OutputName::Node(..) | OutputName::Degree(..) => None,
            })
            .collect(),
        batch: Batch {
            subject,
            as_of: calendar.as_of(),
            timezone: timezone.to_owned(),
            features: Vec::new(),
            tests: Vec::new(),
            rankings: Vec::new(),
            scores: Vec::new(),
            comparisons: Vec::new(),
            given: Vec::new(),
            outputs: Vec::new(),
        },
        features: HashMap::new(),
        tests: HashMap::new(),
        rankings: HashMap::new(),
        scores: HashMap::new(),
        comparisons: HashMap::new(),
        segments: HashMap::new(),
        open: Vec::new(),
    };
    for request in requests {
        match &request.name {
            OutputName::Segment(id) => {
                planner.segment(id, &request.formula)?;
            }
            OutputName::Node(..) | OutputName::Degree(..) => {
                let formula = planner.formula(&request.formula)?;
                let score = score_of(&formula);
                planner.batch.outputs.push(Output { name: request.name.clone(), formula, score });
            }
        }
    }
    Ok(planner.batch)
}

struct Planner<'a> {
    calendar: &'a Calendar,
    references: &'a BTreeMap<SegmentId, Reference>,
    overridden: &'a Overridden,
    requested: HashMap<&'a SegmentId, &'a Formula<SubjectTest>>,
    batch: Batch,
    features: HashMap<BatchFeature, usize>,
    tests: HashMap<BatchTest, usize>,
    rankings: HashMap<BatchRanking, usize>,
    scores: HashMap<Scored<Leaf>, usize>,
    comparisons: HashMap<BatchComparison, usize>,
    /// Outputs of segments that stand in the batch.
    segments: HashMap<SegmentId, Leaf>,
    /// Segments whose references are being planned, outermost first.
    open: Vec<SegmentId>,
}

impl Planner<'_> {
    /// The leaf of a segment by its formula; plans it once.
    fn segment(&mut self, id: &SegmentId, formula: &Formula<SubjectTest>) -> Result<Leaf, PlanError> {
        if let Some(leaf) = self.segments.get(id) {
            return Ok(*leaf);
        }
        if let Some(start) = self.open.iter().position(|open| open == id) {
            let circle = self.open.iter().skip(start).chain([id]).map(SegmentId::as_str).collect::<Vec<_>>();
            return Err(PlanError::Cycle(circle.join(" -> ")));
        }
        self.open.push(id.clone());
        let formula = self.formula(formula)?;
        self.open.pop();
        let score = score_of(&formula);
        let formula = self.decided(id, formula);
        let leaf = Leaf::Output(self.batch.outputs.len());
        self.batch.outputs.push(Output { name: OutputName::Segment(id.clone()), formula, score });
        self.segments.insert(id.clone(), leaf);
        Ok(leaf)
    }

    /// The members of a segment by its formula, and by what people decided: those who were added, without those who were removed.
    fn decided(&mut self, id: &SegmentId, formula: Formula<Leaf>) -> Formula<Leaf> {
        let overridden = self.overridden;
        let mut sets = |verdict| {
            let decisions = overridden.get(id).into_iter().flatten().filter(|decision| decision.verdict == verdict);
            let given = decisions.map(|decision| self.given(Given::Overridden(id.clone(), *decision)));
            given.map(|given| Formula::Leaf(Leaf::Given(given))).collect::<Vec<_>>()
        };
        let (added, removed) = (sets(Verdict::Add), sets(Verdict::Remove));
        let with_added = if added.is_empty() { formula } else { Formula::Any(std::iter::once(formula).chain(added).collect()) };
        if removed.is_empty() {
            return with_added;
        }
        let kept = removed.into_iter().map(|removed| Formula::Not(Box::new(removed)));
        Formula::All(std::iter::once(with_added).chain(kept).collect())
    }

    fn formula(&mut self, formula: &Formula<SubjectTest>) -> Result<Formula<Leaf>, PlanError> {
        Ok(match formula {
            Formula::Constant(value) => Formula::Constant(*value),
            Formula::All(of) => Formula::All(self.formulas(of)?),
            Formula::Any(of) => Formula::Any(self.formulas(of)?),
            Formula::AtLeast { count, of } => Formula::AtLeast { count: *count, of: self.formulas(of)? },
            Formula::Not(inner) => Formula::Not(Box::new(self.formula(inner)?)),
            Formula::Leaf(test) => Formula::Leaf(self.leaf(test)?),
        })
    }

    fn leaf(&mut self, test: &SubjectTest) -> Result<Leaf, PlanError> {
        match test {
            SubjectTest::Feature(feature, test) => self.test(feature, test),
            SubjectTest::Top(ranking) => self.ranking(ranking),
            SubjectTest::Compare(compare) => self.comparison(compare),
            SubjectTest::Member(id) => self.reference(id),
            SubjectTest::Scored(scored) => self.score(scored),
        }
    }

    fn score(&mut self, scored: &Scored) -> Result<Leaf, PlanError> {
        let rules = scored
            .rules
            .iter()
            .map(|WeightedDegree { degree, weight }| Ok(WeightedDegree { degree: self.degree(degree)?, weight: weight.clone() }));
        let rules = rules.collect::<Result<_, PlanError>>()?;
        let bound = Scored { combination: scored.combination, threshold: scored.threshold.clone(), rules };
        Ok(Leaf::Score(intern(&mut self.scores, &mut self.batch.scores, bound)))
    }

    fn degree(&mut self, degree: &Degree) -> Result<Degree<Leaf>, PlanError> {
        let mut each = |of: &[Degree]| of.iter().map(|part| self.degree(part)).collect::<Result<Vec<_>, _>>();
        Ok(match degree {
            Degree::Least(of) => Degree::Least(each(of)?),
            Degree::Greatest(of) => Degree::Greatest(each(of)?),
            Degree::NthGreatest { n, of } => Degree::NthGreatest { n: *n, of: each(of)? },
            Degree::Crisp(formula) => Degree::Crisp(self.formula(formula)?),
            Degree::Graded(test) => Degree::Graded(self.leaf(test)?),
        })
    }

    fn formulas(&mut self, of: &[Formula<SubjectTest>]) -> Result<Vec<Formula<Leaf>>, PlanError> {
        of.iter().map(|formula| self.formula(formula)).collect()
    }

    /// What a reference means is the same whether the segment is asked for as well or not.
    fn reference(&mut self, id: &SegmentId) -> Result<Leaf, PlanError> {
        match self.references.get(id) {
            Some(Reference::Evaluated(formula)) => self.segment(id, formula),
            Some(Reference::Stored) => Ok(Leaf::Given(self.given(Given::Members(id.clone())))),
            None => match self.requested.get(id) {
                Some(formula) => self.segment(id, formula),
                None => Err(PlanError::UnknownReference(id.clone())),
            },
        }
    }

    /// The index of a set that is handed in.
    fn given(&mut self, set: Given) -> usize {
        let given = &mut self.batch.given;
        given.iter().position(|known| *known == set).unwrap_or_else(|| {
            given.push(set);
            given.len() - 1
        })
    }

    fn ranking(&mut self, ranking: &Ranking) -> Result<Leaf, PlanError> {
        let bound = BatchRanking {
            by: self.feature(&ranking.by)?,
            present: ranking.present.as_ref().map(|present| self.feature(present)).transpose()?,
            order: ranking.order,
            share: ranking.share.clone(),
        };
        Ok(Leaf::Rank(intern(&mut self.rankings, &mut self.batch.rankings, bound)))
    }

    fn comparison(&mut self, compare: &Comparison) -> Result<Leaf, PlanError> {
        let bound = BatchComparison {
            left: self.feature(&compare.left)?,
            comparator: compare.comparator,
            right: self.feature(&compare.right)?,
            factor: compare.factor.clone(),
        };
        Ok(Leaf::Compare(intern(&mut self.comparisons, &mut self.batch.comparisons, bound)))
    }

    fn test(&mut self, feature: &Feature, test: &Test) -> Result<Leaf, PlanError> {
        let feature = self.feature(feature)?;
        let test = BatchTest { feature, test: bind_test(test, self.calendar) };
        Ok(Leaf::Test(intern(&mut self.tests, &mut self.batch.tests, test)))
    }

    fn feature(&mut self, feature: &Feature) -> Result<usize, PlanError> {
        let feature = match feature {
            Feature::Attribute(value) => BatchFeature::Attribute(value.clone()),
            Feature::Measure(measure) => BatchFeature::Measure(bind_measure(measure, self.calendar)),
            Feature::Sequence(sequence) => BatchFeature::Sequence(bind_sequence(sequence, self.calendar)),
            Feature::Signal(signal) => BatchFeature::Signal(self.signal(signal)?),
            Feature::Hash { salt } => BatchFeature::Hash { salt: salt.clone() },
        };
        Ok(intern(&mut self.features, &mut self.batch.features, feature))
    }

    /// The members of a segment of users are known before products are evaluated, whether it is evaluated in this run or not.
    fn signal(&mut self, signal: &SignalFeature) -> Result<BatchSignal, PlanError> {
        if !self.references.contains_key(&signal.segment) {
            return Err(PlanError::UnknownReference(signal.segment.clone()));
        }
        let members = self.given(Given::Members(signal.segment.clone()));
        Ok(BatchSignal { members, product: signal.product.clone(), measure: bind_measure(&signal.measure, self.calendar) })
    }
}

/// The score that the members by a formula have: that which decides.
fn score_of(formula: &Formula<Leaf>) -> Option<usize> {
    if let Formula::Leaf(Leaf::Score(index)) = formula { Some(*index) } else { None }
}

/// The index of a value in `list`, where it is put when it is new.
fn intern<T: Clone + Eq + std::hash::Hash>(known: &mut HashMap<T, usize>, list: &mut Vec<T>, value: T) -> usize {
    *known.entry(value).or_insert_with_key(|value| {
        list.push(value.clone());
        list.len() - 1
    })
}

fn bind_measure(measure: &MeasureFeature, calendar: &Calendar) -> BatchMeasure {
    BatchMeasure {
        event_type: measure.event_type.clone(),
        filter: bind_rows(&measure.filter, calendar),
        window: calendar.window(&measure.window),
        aggregate: measure.aggregate.clone(),
    }
}

fn bind_sequence(sequence: &SequenceFeature, calendar: &Calendar) -> BatchSequence {
    let step = |step: &EventStep| EventStep { event_type: step.event_type.clone(), filter: bind_rows(&step.filter, calendar) };
    BatchSequence {
        steps: sequence.steps.iter().map(step).collect(),
        absent: sequence.absent.as_ref().map(step),
        within: sequence.within,
        same: sequence.same.clone(),
        window: calendar.window(&sequence.window),
    }
}

fn bind_rows(rows: &Formula<RowTest>, calendar: &Calendar) -> Formula<RowTest<Interval>> {
    rows.map(&mut |row| RowTest { value: row.value.clone(), test: bind_test(&row.test, calendar) })
}

fn bind_test(test: &Test, calendar: &Calendar) -> Test<Interval> {
    match test {
        Test::IsSet => Test::IsSet,
        Test::Text(test) => Test::Text(test.clone()),
        Test::Number(test) => Test::Number(test.clone()),
        Test::Boolean(value) => Test::Boolean(*value),
        Test::Date(test) => Test::Date(bind_date(test, calendar)),
        Test::Elements(test) => Test::Elements(test.clone()),
    }
}

/// The instants for which a date test holds: a date that names a day is all of that day.
pub(crate) fn bind_date(test: &DateTest, calendar: &Calendar) -> Interval {
    match test {
        DateTest::Compare(comparator, date) => {
            let moment = calendar.resolve(date);
            match comparator {
                Comparator::Eq => Interval { from: Some(moment.start()), to: Some(moment.end()) },
                Comparator::Gt => Interval { from: Some(moment.end()), to: None },
                Comparator::Gte => Interval { from: Some(moment.start()), to: None },
                Comparator::Lt => Interval { from: None, to: Some(moment.start()) },
                Comparator::Lte => Interval { from: None, to: Some(moment.end()) },
            }
        }
        DateTest::Between(low, high) => {
            Interval { from: Some(calendar.resolve(low).start()), to: Some(calendar.resolve(high).end()) }
        }
        DateTest::Within(window) => calendar.window(window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Reading;
    use crate::ir::{Aggregate, NumberTest, Value};
    use crate::model::catalog::{Access, ColumnType};
    use crate::model::decimal::Decimal;
    use crate::model::window::{Duration, Unit, Window};

    fn id(text: &str) -> SegmentId {
        text.parse().unwrap()
    }

    fn calendar() -> Calendar {
        Calendar::new("2026-01-20T08:00:00Z".parse().unwrap(), "UTC").unwrap()
    }

    fn orders_at_least(count: i64) -> Formula<SubjectTest> {
        let measure = MeasureFeature {
            event_type: None,
            filter: Formula::Constant(true),
            window: Window::Last(Duration { amount: 7, unit: Unit::Day }),
            aggregate: Aggregate::Count,
        };
        let test = Test::Number(NumberTest::Compare(Comparator::Gte, Decimal::from(count)));
        Formula::Leaf(SubjectTest::Feature(Feature::Measure(measure), test))
    }

    fn member(text: &str) -> Formula<SubjectTest> {
        Formula::Leaf(SubjectTest::Member(id(text)))
    }

    fn request(text: &str, formula: Formula<SubjectTest>) -> Request {
        Request { name: OutputName::Segment(id(text)), formula }
    }

    #[test]
    fn a_feature_that_two_segments_ask_for_is_planned_once() {
        let requests = [request("a", orders_at_least(1)), request("b", orders_at_least(2)), request("c", orders_at_least(1))];
        let batch = plan(Subject::User, &requests, &BTreeMap::new(), &Overridden::new(), &calendar(), "UTC").unwrap();
        assert_eq!((batch.features.len(), batch.tests.len(), batch.outputs.len()), (1, 2, 3));
    }

    #[test]
    fn references_come_first_whether_requested_or_not() {
        let references = BTreeMap::from([(id("c"), Reference::Evaluated(orders_at_least(1))), (id("s"), Reference::Stored)]);
        let both = Formula::All(vec![member("b"), member("c"), member("s")]);
        let requests = [request("a", both), request("b", orders_at_least(2))];
        let batch = plan(Subject::User, &requests, &references, &Overridden::new(), &calendar(), "UTC").unwrap();
        let names: Vec<_> = batch.outputs.iter().map(|output| output.name.clone()).collect();
        assert_eq!(names, ["b", "c", "a"].map(|name| OutputName::Segment(id(name))));
        assert_eq!(batch.given, [Given::Members(id("s"))]);
        let expected = [Leaf::Output(0), Leaf::Output(1), Leaf::Given(0)].map(Formula::Leaf);
        assert_eq!(batch.outputs[2].formula, Formula::All(expected.to_vec()));
    }

    #[test]
    fn a_reference_means_stored_members_though_the_rule_is_asked_for_too() {
        let references = BTreeMap::from([(id("p"), Reference::Stored)]);
        for requests in [
            [request("a", member("p")), request("p", orders_at_least(1))],
            [request("p", orders_at_least(1)), request("a", member("p"))],
        ] {
            let batch = plan(Subject::User, &requests, &references, &Overridden::new(), &calendar(), "UTC").unwrap();
            let formula = |name: &str| {
                let wanted = OutputName::Segment(id(name));
                batch.outputs.iter().find(|output| output.name == wanted).map(|output| output.formula.clone())
            };
            assert_eq!(formula("a"), Some(Formula::Leaf(Leaf::Given(0))));
            assert_eq!(formula("p"), Some(Formula::Leaf(Leaf::Test(0))));
        }
    }

    #[test]
    fn what_people_decided_holds_wherever_a_segment_is_asked_for() {
        let decisions = |verdict| Override::ALL.into_iter().filter(move |decision| decision.verdict == verdict);
        let overridden = Overridden::from([
            (id("b"), decisions(Verdict::Add).chain(decisions(Verdict::Remove).take(1)).collect()),
            (id("s"), decisions(Verdict::Add).take(1).collect()),
        ]);
        let references = BTreeMap::from([(id("b"), Reference::Evaluated(orders_at_least(1))), (id("s"), Reference::Stored)]);
        let requests = [request("a", member("b")), request("s", member("s"))];
        let batch = plan(Subject::User, &requests, &references, &overridden, &calendar(), "UTC").unwrap();
        let set = |segment: &str, number: usize| Given::Overridden(id(segment), Override::ALL[number]);
        assert_eq!(batch.given, [set("b", 0), set("b", 1), set("b", 2), Given::Members(id("s")), set("s", 0)]);
        let given = |index| Formula::Leaf(Leaf::Given(index));
        let with_added = Formula::Any(vec![Formula::Leaf(Leaf::Test(0)), given(0), given(1)]);
        let formulas: Vec<_> = batch.outputs.into_iter().map(|output| output.formula).collect();
        let without_removed = Formula::All(vec![with_added, Formula::Not(Box::new(given(2)))]);
        let stored = Formula::Any(vec![given(3), given(4)]);
        assert_eq!(formulas, [without_removed, Formula::Leaf(Leaf::Output(0)), stored]);
    }

    #[test]
    fn circles_and_unknown_segments_are_refused() {
        let requests = [request("a", member("b")), request("b", member("a"))];
        let error = plan(Subject::User, &requests, &BTreeMap::new(), &Overridden::new(), &calendar(), "UTC").unwrap_err();
        assert_eq!(error, PlanError::Cycle("a -> b -> a".to_owned()));
        let error = plan(Subject::User, &[request("a", member("x"))], &BTreeMap::new(), &Overridden::new(), &calendar(), "UTC")
            .unwrap_err();
        assert_eq!(error, PlanError::UnknownReference(id("x")));
    }

    #[test]
    fn a_day_is_all_of_that_day() {
        let day = crate::model::window::DateExpr {
            anchor: crate::model::window::Anchor::Day("2026-01-15".parse().unwrap()),
            offsets: vec![],
            truncation: None,
        };
        let bound = |comparator| bind_date(&DateTest::Compare(comparator, day.clone()), &calendar());
        let (start, end) = ("2026-01-15T00:00:00Z".parse().unwrap(), "2026-01-16T00:00:00Z".parse().unwrap());
        assert_eq!(bound(Comparator::Eq), Interval { from: Some(start), to: Some(end) });
        assert_eq!(bound(Comparator::Gt), Interval { from: Some(end), to: None });
        assert_eq!(bound(Comparator::Lte), Interval { from: None, to: Some(end) });
    }

    #[test]
    fn attributes_are_features_too() {
        let access = Access::column("age", ColumnType::Integer);
        let test = SubjectTest::Feature(Feature::Attribute(Value::Stored(access, Reading::Number)), Test::IsSet);
        let batch =
            plan(Subject::User, &[request("a", Formula::Leaf(test))], &BTreeMap::new(), &Overridden::new(), &calendar(), "UTC")
                .unwrap();
        assert_eq!(batch.outputs[0].formula, Formula::Leaf(Leaf::Test(0)));
    }
}
