//! The naive evaluator: the executable form of the language's meaning, over rows in memory.
//!
//! It reads the checked definition before any lowering, and shares no value reading, date, JSON, number or regex code with the product.
//! Speed does not matter here; that each line can be compared with the language reference does.

pub(crate) mod compare;
pub(crate) mod dates;
mod examples;
pub(crate) mod events;
pub(crate) mod json;
pub(crate) mod read;
pub(crate) mod score;
pub(crate) mod value;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::{BigDecimal, RoundingMode};
use jiff::Timestamp;
use segmenta::check::{
    CheckedCompare, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedMeasure, CheckedQuantity, CheckedRule, CheckedSample,
    CheckedSegment, CheckedSignal, CheckedTop, Operand, Reading, RowMeasure, Test,
};
use segmenta::model::catalog::{Catalog, SubjectTable, Universe};
use segmenta::model::condition::{Logic, RankOrder, Subject, TopShare};
use segmenta::model::id::SegmentId;
use segmenta::model::operator::Operator;
use segmenta::model::path::DocPath;
use segmenta::model::segment::Status;

use dates::Calendar;
use events::Event;
pub(crate) use examples::trials;
use read::Seen;
use value::{Number, Row};

/// The rows of a tenant's tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MemoryTables {
    pub(crate) users: Vec<Row>,
    pub(crate) products: Vec<Row>,
    pub(crate) events: Vec<Row>,
}

impl MemoryTables {
    fn subjects(&self, subject: Subject) -> &[Row] {
        match subject {
            Subject::User => &self.users,
            Subject::Product => &self.products,
        }
    }
}

/// What besides rows decides who is in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// Which tables there are, with which roles.
    pub(crate) catalog: &'a Catalog,
    /// When.
    pub(crate) as_of: Timestamp,
    /// The stored members of static and paused segments.
    pub(crate) stored: &'a BTreeMap<SegmentId, BTreeSet<String>>,
}

/// The members of each segment. What a segment refers to is among `segments`, or stored.
pub(crate) fn evaluate(
    segments: &[&CheckedSegment],
    tables: &MemoryTables,
    context: Context<'_>,
) -> BTreeMap<SegmentId, BTreeSet<String>> {
    let evaluator = Evaluator::new(segments, tables, context);
    segments.iter().map(|segment| (segment.id().clone(), evaluator.members(segment))).collect()
}

/// The score of every subject of the universe in each segment that scores.
pub(crate) fn evaluate_scores(
    segments: &[&CheckedSegment],
    tables: &MemoryTables,
    context: Context<'_>,
) -> BTreeMap<SegmentId, BTreeMap<String, BigDecimal>> {
    let evaluator = Evaluator::new(segments, tables, context);
    let scored = segments.iter().filter_map(|segment| match segment.rule() {
        CheckedRule::Scoring(scoring) => Some((segment.id().clone(), evaluator.scores(segment.subject(), scoring))),
        CheckedRule::Static | CheckedRule::Conditions(_) => None,
    });
    scored.collect()
}

/// The subjects for which each node of a segment's definition holds.
pub(crate) fn evaluate_nodes(
    segment: &CheckedSegment,
    segments: &[&CheckedSegment],
    tables: &MemoryTables,
    context: Context<'_>,
) -> BTreeMap<DocPath, BTreeSet<String>> {
    let evaluator = Evaluator::new(segments, tables, context);
    let mut found = BTreeMap::new();
    let mut waiting: Vec<&CheckedCondition> = match segment.rule() {
        CheckedRule::Static => Vec::new(),
        CheckedRule::Conditions(condition) => vec![condition],
        CheckedRule::Scoring(scoring) => scoring.rules.iter().map(|rule| &rule.condition).collect(),
    };
    {
        while let Some(node) = waiting.pop() {
            found.insert(node.path().clone(), evaluator.matching(segment.subject(), node));
            match node {
                CheckedCondition::Group { conditions, .. } | CheckedCondition::AtLeast { of: conditions, .. } => {
                    waiting.extend(conditions);
                }
                CheckedCondition::Not { condition, .. } => waiting.push(condition),
                CheckedCondition::Leaf { .. } => {}
            }
        }
    }
    found
}

/// The subjects that a segment can contain.
pub(crate) fn universe(subject: Subject, tables: &MemoryTables, context: Context<'_>) -> BTreeSet<String> {
    Evaluator::new(&[], tables, context).population(subject).subjects.keys().cloned().collect()
}

struct Evaluator<'a> {
    tables: &'a MemoryTables,
    catalog: &'a Catalog,
    segments: BTreeMap<&'a SegmentId, &'a CheckedSegment>,
    calendar: Calendar,
    users: Population,
    products: Population,
    stored: &'a BTreeMap<SegmentId, BTreeSet<String>>,
}

/// The subjects of one kind, each with its row and its events.
struct Population {
    subjects: BTreeMap<String, Individual>,
}

struct Individual {
    row: Row,
    events: Vec<Event>,
}

impl<'a> Evaluator<'a> {
    fn new(segments: &[&'a CheckedSegment], tables: &'a MemoryTables, context: Context<'a>) -> Self {
        let zone = context.catalog.timezone.parse().expect("a timezone");
        let calendar = Calendar { zone, as_of: context.as_of.as_microsecond() };
        Self {
            tables,
            catalog: context.catalog,
            segments: segments.iter().map(|segment| (segment.id(), *segment)).collect(),
            users: populate(Subject::User, tables, context.catalog, &calendar),
            products: populate(Subject::Product, tables, context.catalog, &calendar),
            calendar,
            stored: context.stored,
        }
    }

    fn population(&self, subject: Subject) -> &Population {
        match subject {
            Subject::User => &self.users,
            Subject::Product => &self.products,
        }
    }

    fn members(&self, segment: &CheckedSegment) -> BTreeSet<String> {
        match segment.rule() {
            CheckedRule::Static => self.stored_members(segment.id(), segment.subject()),
            CheckedRule::Conditions(condition) => self.matching(segment.subject(), condition),
            CheckedRule::Scoring(scoring) => {
                let scores = self.scores(segment.subject(), scoring).into_iter();
                scores.filter(|(_, found)| score::is_enough(found, scoring)).map(|(id, _)| id).collect()
            }
        }
    }

    /// The members that a reference to a segment means.
    fn referenced(&self, id: &SegmentId, subject: Subject) -> BTreeSet<String> {
        match self.segments.get(id) {
            Some(segment) if segment.definition().status == Status::Active => self.members(segment),
            Some(_) | None => self.stored_members(id, subject),
        }
    }

    fn stored_members(&self, id: &SegmentId, subject: Subject) -> BTreeSet<String> {
        let population = self.population(subject);
        let stored = self.stored.get(id).into_iter().flatten();
        stored.filter(|subject_id| population.subjects.contains_key(*subject_id)).cloned().collect()
    }

    /// The subjects of the universe for which a condition holds.
    fn matching(&self, subject: Subject, condition: &CheckedCondition) -> BTreeSet<String> {
        let everyone = || self.population(subject).subjects.iter();
        let sets = |conditions: &[CheckedCondition]| -> Vec<BTreeSet<String>> {
            conditions.iter().map(|condition| self.matching(subject, condition)).collect()
        };
        let in_at_least = |count: usize, sets: &[BTreeSet<String>]| -> BTreeSet<String> {
            let ids = everyone().map(|(id, _)| id);
            ids.filter(|id| sets.iter().filter(|set| set.contains(*id)).count() >= count).cloned().collect()
        };
        match condition {
            CheckedCondition::Group { logic: Logic::And, conditions, .. } => in_at_least(conditions.len(), &sets(conditions)),
            CheckedCondition::Group { logic: Logic::Or, conditions, .. } => in_at_least(1, &sets(conditions)),
            CheckedCondition::AtLeast { count, of, .. } => in_at_least(*count, &sets(of)),
            CheckedCondition::Not { condition, .. } => {
                let inside = self.matching(subject, condition);
                everyone().map(|(id, _)| id).filter(|id| !inside.contains(*id)).cloned().collect()
            }
            CheckedCondition::Leaf { leaf, .. } => match leaf {
                CheckedLeaf::Segment { segment_id, negated } => {
                    let members = self.referenced(segment_id, subject);
                    everyone().map(|(id, _)| id).filter(|id| members.contains(*id) != *negated).cloned().collect()
                }
                CheckedLeaf::Top(top) => self.first(subject, top),
                CheckedLeaf::Signal(signal) => self.signalled(signal),
                CheckedLeaf::Sample(sample) => everyone().map(|(id, _)| id).filter(|id| sampled(id, sample)).cloned().collect(),
                CheckedLeaf::Everyone
                | CheckedLeaf::Nobody
                | CheckedLeaf::Attribute(_)
                | CheckedLeaf::Events(_)
                | CheckedLeaf::Compare(_)
                | CheckedLeaf::Sequence(_)
                | CheckedLeaf::Lifecycle(_) => {
                    everyone().filter(|(_, individual)| self.leaf_holds(individual, leaf)).map(|(id, _)| id.clone()).collect()
                }
            },
        }
    }

    /// The subjects of the universe with a value, those in that fewer than k have a strictly better one than.
    fn first(&self, subject: Subject, top: &CheckedTop) -> BTreeSet<String> {
        let number = |who: &Individual| {
            if let CheckedQuantity::Events { event_type, filter, window, .. } = &top.by {
                let measure = CheckedMeasure::Rows(RowMeasure::Count);
                let (event_type, filter, window) = (event_type.clone(), filter.clone(), window.clone());
                let count = self.quantity(who, &CheckedQuantity::Events { event_type, filter, window, measure })?;
                if count.compare(&Number::integer(0)).is_eq() {
                    return None;
                }
            }
            self.quantity(who, &top.by)
        };
        let subjects = &self.population(subject).subjects;
        let values: Vec<(&String, Number)> = subjects.iter().filter_map(|(id, who)| Some((id, number(who)?))).collect();
        let better = |one: &Number, other: &Number| match top.order {
            RankOrder::Descending => one.compare(other).is_gt(),
            RankOrder::Ascending => one.compare(other).is_lt(),
        };
        let counted = |number: usize| BigDecimal::from(u64::try_from(number).expect("a count"));
        let k = match &top.share {
            TopShare::Count(count) => BigDecimal::from(*count),
            TopShare::Percent(percent) => {
                let percent: BigDecimal = percent.to_string().parse().expect("a number");
                (percent * counted(values.len()) / BigDecimal::from(100)).with_scale_round(0, RoundingMode::Ceiling)
            }
        };
        let ahead = |value: &Number| counted(values.iter().filter(|(_, other)| better(other, value)).count());
        values.iter().filter(|(_, value)| ahead(value) < k).map(|(id, _)| (*id).clone()).collect()
    }

    /// The number of a subject.
    fn quantity(&self, individual: &Individual, quantity: &CheckedQuantity) -> Option<Number> {
        let seen = match quantity {
            CheckedQuantity::Property(property) => read::property(&individual.row, property, Reading::Number, &self.calendar),
            CheckedQuantity::Events { event_type, filter, window, measure } => {
                let of = CheckedEvents {
                    event_type: event_type.clone(),
                    filter: filter.clone(),
                    window: window.clone(),
                    measure: measure.clone(),
                    test: Test { operator: Operator::IsSet, operand: Operand::None, ignore_case: false },
                };
                events::measure(&individual.events, &of, &self.calendar)
            }
        };
        if let Some(Seen::Number(number)) = seen { Some(number) } else { None }
    }

    fn compare_holds(&self, individual: &Individual, compare: &CheckedCompare) -> bool {
        let sides = (self.quantity(individual, &compare.left), self.quantity(individual, &compare.right));
        let (Some(left), Some(right)) = sides else { return compare.operator == Operator::Neq };
        let factor: BigDecimal = compare.factor.to_string().parse().expect("a number");
        let order = left.compare_product(&right, &factor);
        match compare.operator {
            Operator::Eq => order.is_eq(),
            Operator::Neq => order.is_ne(),
            Operator::Gt => order.is_gt(),
            Operator::Gte => order.is_ge(),
            Operator::Lt => order.is_lt(),
            Operator::Lte => order.is_le(),
            other => unreachable!("no comparison of numbers: {other}"),
        }
    }

    /// The products of which members of the segment have as many events as asked for.
    fn signalled(&self, signal: &CheckedSignal) -> BTreeSet<String> {
        let seen = self.signals(signal).into_iter();
        seen.filter(|(_, seen)| compare::holds(Some(seen), &signal.test, &self.calendar)).map(|(id, _)| id).collect()
    }

    /// What members of the segment did with each product, as a number.
    fn signals(&self, signal: &CheckedSignal) -> BTreeMap<String, Seen> {
        let members = self.referenced(&signal.segment_id, Subject::User);
        let table = self.catalog.events.as_ref().expect("a checked segment has its table");
        let events = events::by_key(&self.tables.events, table, &signal.product, &self.calendar);
        let seen = |id: &String| {
            let of_product = events.get(id).map(Vec::as_slice).unwrap_or_default();
            (id.clone(), events::signal(of_product, signal, &members, table, &self.calendar))
        };
        self.products.subjects.keys().map(seen).collect()
    }

    fn leaf_holds(&self, individual: &Individual, leaf: &CheckedLeaf) -> bool {
        match leaf {
            CheckedLeaf::Everyone => true,
            CheckedLeaf::Nobody => false,
            CheckedLeaf::Lifecycle(lifecycle) => events::lifecycle_holds(&individual.events, lifecycle, &self.calendar),
            CheckedLeaf::Attribute(attribute) => {
                let seen = read::property(&individual.row, &attribute.property, attribute.reading, &self.calendar);
                compare::holds(seen.as_ref(), &attribute.test, &self.calendar)
            }
            CheckedLeaf::Events(condition) => {
                let seen = events::measure(&individual.events, condition, &self.calendar);
                compare::holds(seen.as_ref(), &condition.test, &self.calendar)
            }
            CheckedLeaf::Compare(compare) => self.compare_holds(individual, compare),
            CheckedLeaf::Sequence(sequence) => events::sequence_holds(&individual.events, sequence, &self.calendar),
            CheckedLeaf::Segment { .. } | CheckedLeaf::Sample(_) | CheckedLeaf::Top(_) | CheckedLeaf::Signal(_) => {
                unreachable!("these look at more than the values of one subject")
            }
        }
    }
}

/// Whether a subject falls into a sample: `xxh3_64(salt ":" id) / 2^64 < percent / 100`.
fn sampled(id: &str, sample: &CheckedSample) -> bool {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{}:{id}", sample.salt).as_bytes());
    let percent: BigDecimal = sample.percent.to_string().parse().expect("a number");
    BigDecimal::from(hash) * BigDecimal::from(100) < percent * BigDecimal::from(2u128.pow(64))
}

/// The universe of one kind of subjects.
fn populate(subject: Subject, tables: &MemoryTables, catalog: &Catalog, calendar: &Calendar) -> Population {
    let mut events = match &catalog.events {
        Some(table) => events::by_subject(&tables.events, table, subject, calendar),
        None => BTreeMap::new(),
    };
    let table = catalog.subjects(subject);
    let rows = table.map(|table| rows_by_key(tables.subjects(subject), table)).unwrap_or_default();
    let ids: BTreeSet<String> = match table.map_or(Universe::Events, |table| table.universe) {
        Universe::Table => rows.keys().cloned().collect(),
        Universe::Events => events.keys().cloned().collect(),
        Universe::Union => rows.keys().chain(events.keys()).cloned().collect(),
    };
    let subjects = ids.into_iter().map(|id| {
        let individual =
            Individual { row: rows.get(&id).cloned().unwrap_or_default(), events: events.remove(&id).unwrap_or_default() };
        (id, individual)
    });
    Population { subjects: subjects.collect() }
}

/// The row of each subject: of several the one of the greatest version.
fn rows_by_key(rows: &[Row], table: &SubjectTable) -> BTreeMap<String, Row> {
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
    for row in rows {
        let Some(key) = read::stored(row, &table.key).and_then(|value| read::text(&value)).filter(|key| !key.is_empty()) else {
            continue;
        };
        let wins = match (found.get(&key), &table.version) {
            (None, _) => true,
            (Some(_), None) => panic!("two rows of the subject {key}"),
            (Some(other), Some(version)) => {
                let value = |row| read::stored(row, version).unwrap_or(value::Value::Null);
                match events::compare_stored(&value(row), &value(other)) {
                    Ordering::Less => false,
                    Ordering::Equal => panic!("two rows of the subject {key} with one version"),
                    Ordering::Greater => true,
                }
            }
        };
        if wins {
            found.insert(key, row.clone());
        }
    }
    found
}
