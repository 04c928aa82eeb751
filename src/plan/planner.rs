//! Joins requests into a [`Batch`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::{
    Batch, BatchComparison, BatchFeature, BatchMeasure, BatchRanking, BatchRowTest, BatchSequence, BatchSignal, BatchStep,
    BatchTest, BatchValue, Given, GivenSet, Leaf, Output, OutputName,
};
use crate::check::Reading;
use crate::ir::{
    Aggregate, Comparator, Comparison, DateTest, Degree, EventStep, Feature, Formula, MeasureFeature, NumberTest, Ranking, RowTest,
    Scored, SequenceFeature, SignalFeature, SubjectTest, Test, Value, WeightedDegree,
};
use crate::model::calendar::Calendar;
use crate::model::catalog::{Access, Catalog, Universe};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use crate::model::manual::{Override, Verdict};
use crate::model::window::{Interval, Window};

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

/// What is asked at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The sets that are wanted.
    pub requests: &'a [Request],
    /// Of whom people had decided then.
    pub overridden: &'a Overridden,
    /// The instant, and what counts back from it.
    pub calendar: &'a Calendar,
}

/// Which subjects there are at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Population<'a> {
    /// Those of a table, whatever the instant.
    Table,
    /// Those of whom there is an event before it.
    Events,
    /// Those of whom there is an event before it, or a row. The key of the rows.
    EventsOrRows(&'a Access),
}

impl<'a> Population<'a> {
    /// Which subjects of a kind a tenant has.
    #[must_use]
    pub fn of(catalog: &'a Catalog, subject: Subject) -> Self {
        let has_events = catalog.events.as_ref().is_some_and(|events| events.key(subject).is_some());
        match catalog.subjects(subject).map(|table| (table.universe, &table.key)) {
            // Without events there is nobody beside the rows, at no instant.
            _ if !has_events => Self::Table,
            Some((Universe::Table, _)) => Self::Table,
            Some((Universe::Union, key)) => Self::EventsOrRows(key),
            Some((Universe::Events, _)) | None => Self::Events,
        }
    }
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
    // Who is evaluated at one instant alone is in the universe of that instant.
    plan_all(subject, Population::Table, &[Question { requests, overridden, calendar }], references, timezone)
}

/// The same for what is asked at several instants: one batch, which shares what does not depend on them. At least one question; the
/// outputs of each follow on those of the one before. The subjects are those of the latest instant; who was none yet at an earlier one is in no
/// output of that.
///
/// # Errors
/// As [`plan`].
pub fn plan_all(
    subject: Subject,
    population: Population<'_>,
    questions: &[Question<'_>],
    references: &BTreeMap<SegmentId, Reference>,
    timezone: &str,
) -> Result<Batch, PlanError> {
    let mut batch = Batch {
        subject,
        as_of: questions.iter().map(|question| question.calendar.as_of()).max().unwrap_or_default(),
        timezone: timezone.to_owned(),
        features: Vec::new(),
        tests: Vec::new(),
        rankings: Vec::new(),
        scores: Vec::new(),
        comparisons: Vec::new(),
        given: Vec::new(),
        outputs: Vec::new(),
    };
    let mut known = Known::default();
    for question in questions {
        let requested = question.requests.iter().filter_map(|request| match &request.name {
            OutputName::Segment(id) => Some((id, &request.formula)),
            OutputName::Node(..) | OutputName::Degree(..) => None,
        });
        let is_earlier = question.calendar.as_of() < batch.as_of;
        let mut planner = Planner {
            population: if is_earlier { population } else { Population::Table },
            calendar: question.calendar,
            references,
            overridden: question.overridden,
            requested: requested.collect(),
            batch: &mut batch,
            known: &mut known,
            segments: HashMap::new(),
            open: Vec::new(),
        };
        for request in question.requests {
            match &request.name {
                OutputName::Segment(id) => {
                    planner.segment(id, &request.formula)?;
                }
                OutputName::Node(..) | OutputName::Degree(..) => {
                    let formula = planner.formula(&request.formula)?;
                    planner.put(request.name.clone(), score_of(&formula), formula)?;
                }
            }
        }
    }
    Ok(batch)
}

/// What stands in a batch already, by what it is.
#[derive(Default)]
struct Known {
    features: HashMap<BatchFeature, usize>,
    tests: HashMap<BatchTest, usize>,
    rankings: HashMap<BatchRanking, usize>,
    scores: HashMap<Scored<Leaf>, usize>,
    comparisons: HashMap<BatchComparison, usize>,
}

/// Plans what is asked at one instant.
struct Planner<'a> {
    /// Who of the subjects of the batch there are at the instant.
    population: Population<'a>,
    calendar: &'a Calendar,
    references: &'a BTreeMap<SegmentId, Reference>,
    overridden: &'a Overridden,
    requested: HashMap<&'a SegmentId, &'a Formula<SubjectTest>>,
    batch: &'a mut Batch,
    known: &'a mut Known,
    /// Outputs of segments that stand in the batch, as they are seen from the instant.
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
        let leaf = self.put(OutputName::Segment(id.clone()), score, formula)?;
        self.segments.insert(id.clone(), leaf);
        Ok(leaf)
    }

    fn put(&mut self, name: OutputName, score: Option<usize>, formula: Formula<Leaf>) -> Result<Leaf, PlanError> {
        let formula = match self.exists()? {
            Some(exists) => Formula::All(vec![exists, formula]),
            None => formula,
        };
        self.batch.outputs.push(Output { name, as_of: self.calendar.as_of(), formula, score });
        Ok(Leaf::Output(self.batch.outputs.len() - 1))
    }

    /// That the subject is one at the instant; `None` where all are.
    fn exists(&mut self) -> Result<Option<Formula<Leaf>>, PlanError> {
        let key = match self.population {
            Population::Table => return Ok(None),
            Population::Events => None,
            Population::EventsOrRows(key) => Some(key),
        };
        let one = NumberTest::Compare(Comparator::Gte, 1_i64.into());
        let of_events = Formula::Leaf(self.test(&Feature::Measure(all_events()), &Test::Number(one))?);
        let Some(key) = key else { return Ok(Some(of_events)) };
        let key = Feature::Attribute(Value::Stored(key.clone(), Reading::Stored));
        Ok(Some(Formula::Any(vec![Formula::Leaf(self.test(&key, &Test::IsSet)?), of_events])))
    }

    /// The members of a segment by its formula, and by what people decided: those who were added, without those who were removed.
    fn decided(&mut self, id: &SegmentId, formula: Formula<Leaf>) -> Formula<Leaf> {
        let overridden = self.overridden;
        let mut sets = |verdict| {
            let decisions = overridden.get(id).into_iter().flatten().filter(|decision| decision.verdict == verdict);
            let given = decisions.map(|decision| self.given(GivenSet::Overridden(id.clone(), *decision)));
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
        Ok(Leaf::Score(intern(&mut self.known.scores, &mut self.batch.scores, bound)))
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
            Some(Reference::Stored) => Ok(Leaf::Given(self.given(GivenSet::Members(id.clone())))),
            None => match self.requested.get(id) {
                Some(formula) => self.segment(id, formula),
                None => Err(PlanError::UnknownReference(id.clone())),
            },
        }
    }

    /// The index of a set that is handed in.
    fn given(&mut self, set: GivenSet) -> usize {
        let (set, given) = (Given { set, as_of: self.calendar.as_of() }, &mut self.batch.given);
        given.iter().position(|known| *known == set).unwrap_or_else(|| {
            given.push(set);
            given.len() - 1
        })
    }

    fn ranking(&mut self, ranking: &Ranking) -> Result<Leaf, PlanError> {
        // Whom events alone make a subject has no place before the first of them. What is counted there is missing anyway.
        let present = match (&ranking.present, self.population) {
            (None, Population::Events) => Some(Feature::Measure(all_events())),
            (present, _) => present.clone(),
        };
        let bound = BatchRanking {
            by: self.feature(&ranking.by)?,
            present: present.map(|present| self.feature(&present)).transpose()?,
            order: ranking.order,
            share: ranking.share.clone(),
        };
        Ok(Leaf::Rank(intern(&mut self.known.rankings, &mut self.batch.rankings, bound)))
    }

    fn comparison(&mut self, compare: &Comparison) -> Result<Leaf, PlanError> {
        let bound = BatchComparison {
            left: self.feature(&compare.left)?,
            comparator: compare.comparator,
            right: self.feature(&compare.right)?,
            factor: compare.factor.clone(),
        };
        Ok(Leaf::Compare(intern(&mut self.known.comparisons, &mut self.batch.comparisons, bound)))
    }

    fn test(&mut self, feature: &Feature, test: &Test) -> Result<Leaf, PlanError> {
        let feature = self.feature(feature)?;
        let test = BatchTest { feature, test: bind_test(test, self.calendar) };
        Ok(Leaf::Test(intern(&mut self.known.tests, &mut self.batch.tests, test)))
    }

    fn feature(&mut self, feature: &Feature) -> Result<usize, PlanError> {
        let feature = match feature {
            Feature::Attribute(value) => BatchFeature::Attribute(BatchValue::new(value.clone(), self.calendar.as_of())),
            Feature::Measure(measure) => BatchFeature::Measure(bind_measure(measure, self.calendar)),
            Feature::Sequence(sequence) => BatchFeature::Sequence(bind_sequence(sequence, self.calendar)),
            Feature::Signal(signal) => BatchFeature::Signal(self.signal(signal)?),
            Feature::Hash { salt } => BatchFeature::Hash { salt: salt.clone() },
        };
        Ok(intern(&mut self.known.features, &mut self.batch.features, feature))
    }

    /// The members of a segment of users are known before products are evaluated, whether it is evaluated in this run or not.
    fn signal(&mut self, signal: &SignalFeature) -> Result<BatchSignal, PlanError> {
        if !self.references.contains_key(&signal.segment) {
            return Err(PlanError::UnknownReference(signal.segment.clone()));
        }
        let members = self.given(GivenSet::Members(signal.segment.clone()));
        Ok(BatchSignal { members, product: signal.product.clone(), measure: bind_measure(&signal.measure, self.calendar) })
    }
}

/// How many events there are at all.
fn all_events() -> MeasureFeature {
    MeasureFeature { event_type: None, filter: Formula::Constant(true), window: Window::All, aggregate: Aggregate::Count }
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
        as_of: counts_days(&measure.aggregate).then(|| calendar.as_of()),
    }
}

/// Whether an aggregate is another when it is seen from another instant, though it is of the same events.
fn counts_days(aggregate: &Aggregate) -> bool {
    match aggregate {
        Aggregate::DaysSinceFirst | Aggregate::DaysSinceLast => true,
        Aggregate::Count
        | Aggregate::Active(_)
        | Aggregate::FirstTime
        | Aggregate::Sum(_)
        | Aggregate::Avg(_)
        | Aggregate::Min(_)
        | Aggregate::Max(_)
        | Aggregate::CountDistinct(_)
        | Aggregate::First(..)
        | Aggregate::Last(..)
        | Aggregate::MostFrequent(..) => false,
    }
}

fn bind_sequence(sequence: &SequenceFeature, calendar: &Calendar) -> BatchSequence {
    let step = |step: &EventStep| BatchStep { event_type: step.event_type.clone(), filter: bind_rows(&step.filter, calendar) };
    BatchSequence {
        steps: sequence.steps.iter().map(step).collect(),
        absent: sequence.absent.as_ref().map(|absent| (step(absent), calendar.as_of())),
        within: sequence.within,
        same: sequence.same.clone(),
        window: calendar.window(&sequence.window),
    }
}

fn bind_rows(rows: &Formula<RowTest>, calendar: &Calendar) -> Formula<BatchRowTest> {
    rows.map(&mut |row| BatchRowTest {
        value: BatchValue::new(row.value.clone(), calendar.as_of()),
        test: bind_test(&row.test, calendar),
    })
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
    use crate::ir::{NumberTest, Value};
    use crate::model::catalog::{Access, ColumnType};
    use crate::model::decimal::Decimal;
    use crate::model::window::{Duration, Unit, Window};

    fn id(text: &str) -> SegmentId {
        text.parse().unwrap()
    }

    fn calendar() -> Calendar {
        Calendar::new("2026-01-20T08:00:00Z".parse().unwrap(), "UTC").unwrap()
    }

    fn given_set(set: GivenSet) -> Given {
        Given { set, as_of: calendar().as_of() }
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
        assert_eq!(batch.given, [given_set(GivenSet::Members(id("s")))]);
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
        let set = |segment: &str, number: usize| given_set(GivenSet::Overridden(id(segment), Override::ALL[number]));
        assert_eq!(batch.given, [set("b", 0), set("b", 1), set("b", 2), given_set(GivenSet::Members(id("s"))), set("s", 0)]);
        let given = |index| Formula::Leaf(Leaf::Given(index));
        let with_added = Formula::Any(vec![Formula::Leaf(Leaf::Test(0)), given(0), given(1)]);
        let formulas: Vec<_> = batch.outputs.into_iter().map(|output| output.formula).collect();
        let without_removed = Formula::All(vec![with_added, Formula::Not(Box::new(given(2)))]);
        let stored = Formula::Any(vec![given(3), given(4)]);
        assert_eq!(formulas, [without_removed, Formula::Leaf(Leaf::Output(0)), stored]);
    }

    #[test]
    fn instants_share_what_does_not_depend_on_them() {
        let attribute = |value: fn(Access) -> Value| {
            let feature = Feature::Attribute(value(Access::column("born", ColumnType::Date)));
            Formula::Leaf(SubjectTest::Feature(feature, Test::IsSet))
        };
        let stored = attribute(|access| Value::Stored(access, Reading::Date));
        let formula = Formula::All(vec![stored, attribute(Value::DaysSince), orders_at_least(1), member("s")]);
        let requests = [request("a", formula)];
        let references = BTreeMap::from([(id("s"), Reference::Stored)]);
        let (later, nobody) = (calendar(), Overridden::new());
        let earlier = Calendar::new("2026-01-19T08:00:00Z".parse().unwrap(), "UTC").unwrap();
        let question = |calendar| Question { requests: &requests, overridden: &nobody, calendar };
        let batch =
            plan_all(Subject::User, Population::Table, &[question(&earlier), question(&later)], &references, "UTC").unwrap();
        assert_eq!((batch.features.len(), batch.given.len(), batch.outputs.len()), (5, 2, 2));
        assert_eq!(batch.as_of, later.as_of());
        let name = OutputName::Segment(id("a"));
        let places = [earlier.as_of(), later.as_of()].map(|as_of| batch.position_at(&name, as_of));
        assert_eq!(places, [Some(0), Some(1)]);
        let alone = plan(Subject::User, &requests, &references, &nobody, &earlier, "UTC").unwrap();
        assert_eq!(alone.outputs, batch.outputs[..1]);
    }

    #[test]
    fn who_is_no_subject_yet_is_in_no_output() {
        let requests = [request("a", Formula::Constant(true)), request("b", member("a"))];
        let (later, nobody, references) = (calendar(), Overridden::new(), BTreeMap::new());
        let earlier = Calendar::new("2026-01-19T08:00:00Z".parse().unwrap(), "UTC").unwrap();
        let question = |calendar| Question { requests: &requests, overridden: &nobody, calendar };
        let questions = [question(&earlier), question(&later)];
        let key = Access::column("id", ColumnType::Text);
        let formulas = |population| {
            let batch = plan_all(Subject::User, population, &questions, &references, "UTC").unwrap();
            let windows = batch.features.iter().filter_map(|feature| match feature {
                BatchFeature::Measure(measure) => Some(measure.window.to),
                _ => None,
            });
            (windows.collect::<Vec<_>>(), batch.outputs.into_iter().map(|output| output.formula).collect::<Vec<_>>())
        };
        let leaf = |leaf| Formula::Leaf(leaf);
        let all = || Formula::Constant(true);
        let at_the_latest = [all(), leaf(Leaf::Output(2))];
        assert_eq!(
            formulas(Population::Table).1,
            [all(), leaf(Leaf::Output(0)), at_the_latest[0].clone(), at_the_latest[1].clone()]
        );
        let restricted = |exists: Formula<Leaf>| {
            let outputs = [all(), leaf(Leaf::Output(0))].map(|formula| Formula::All(vec![exists.clone(), formula]));
            (vec![Some(earlier.as_of())], [outputs.to_vec(), at_the_latest.to_vec()].concat())
        };
        assert_eq!(formulas(Population::Events), restricted(leaf(Leaf::Test(0))));
        let row_or_event = Formula::Any(vec![leaf(Leaf::Test(1)), leaf(Leaf::Test(0))]);
        assert_eq!(formulas(Population::EventsOrRows(&key)), restricted(row_or_event));
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
