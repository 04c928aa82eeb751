//! The events of a batch: one scan and one program over it, in which features that differ in their windows alone are one measure. Events
//! that name their product in another property than the mapped one are a scan and a program of their own.
//!
//! What the files are pruned by only skips what cannot matter: a row without a key, without a time or outside of every window is met,
//! counted where that is called for, and left out by the program.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder, SortExpr, lit, or};
use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;

use super::bounds::{conjunction, disjunction};
use super::date::{Local, LocalUnit};
use super::form::{Form, Typed};
use super::function::call;
use super::json::Wanted;
use super::measure::{End, Existence, Kind, MeasureColumns, Met, Pattern, Places, PlannedMeasure, Program, Route, Routes};
use super::members::GivenMembers;
use super::number::Canonical;
use super::order::OrderText;
use super::predicate::{formula, instant_literal, test};
use super::reads::{Reads, named, plain_column};
use super::source::Presence;
use super::step_mask::StepMask;
use super::tables::CountedScan;
use super::text::{text_literal, text_test};
use crate::backend::{BackendError, LocalMembers, ObservationKind};
use crate::check::Reading;
use crate::ir::{Aggregate, DistinctUnit, Formula, TextMatch, TextTest};
use crate::model::catalog::{Access, ColumnType, EventTable};
use crate::model::condition::{EventTypePattern, Subject};
use crate::model::window::Interval;
use crate::plan::{Batch, BatchFeature, BatchMeasure, BatchRowTest, BatchSequence, BatchSignal, BatchStep};

/// Which events a plan needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Those of one subject, or of all.
    pub(super) subject_id: Option<&'a str>,
    /// Whether a subject is in the universe for its events, so that every event counts.
    pub(super) existence: Existence,
}

/// The events of a batch.
#[derive(Debug)]
pub(super) struct EventSide {
    /// The rows, with the columns that the program reads.
    pub(super) plan: LogicalPlanBuilder,
    /// What is computed of them.
    pub(super) program: Program,
    /// The value of each measure, by its index among the features of the batch, over the columns of the program.
    pub(super) measures: BTreeMap<usize, Typed>,
    /// What the program counts, besides rows without a key and without a time.
    pub(super) observations: Vec<ObservationKind>,
}

/// By what the events of a side are grouped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grouping<'a> {
    /// By the subject, as the table maps it.
    Subject(&'a Access),
    /// By the product that a property names.
    Product(&'a Access),
}

impl<'a> Grouping<'a> {
    fn key(self) -> &'a Access {
        match self {
            Self::Subject(key) | Self::Product(key) => key,
        }
    }

    /// Whether a feature is computed from events so grouped.
    pub(super) fn computes(self, feature: &BatchFeature) -> bool {
        match feature {
            BatchFeature::Measure(_) | BatchFeature::Sequence(_) => matches!(self, Self::Subject(_)),
            BatchFeature::Signal(signal) => signal.product == *self.key(),
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => false,
        }
    }
}

/// What the events of a batch are planned for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The batch.
    pub(super) batch: &'a Batch,
    /// The members of its given segments.
    pub(super) given: &'a [LocalMembers],
    /// Where days are.
    pub(super) local: &'a Local,
    /// By what events are grouped.
    pub(super) grouping: Grouping<'a>,
    /// Which are needed.
    pub(super) scope: Scope<'a>,
}

impl<'a> Asked<'a> {
    /// The features that are computed of these events, with their indices in the batch.
    fn features(&self) -> impl Iterator<Item = (usize, &'a BatchFeature)> {
        let grouping = self.grouping;
        self.batch.features.iter().enumerate().filter(move |(_, feature)| grouping.computes(feature))
    }
}

/// Plans the events of a batch. `scan` gives their rows, of which those may be missing that a condition excludes.
pub(super) fn events(
    scan: impl FnOnce(Vec<Expr>) -> Result<CountedScan, BackendError>,
    table: &EventTable,
    asked: Asked<'_>,
) -> Result<Result<EventSide>, BackendError> {
    let needed = needed(table, asked);
    Ok(planned(scan(needed)?, table, asked))
}

fn planned(scan: CountedScan, table: &EventTable, asked: Asked<'_>) -> Result<EventSide> {
    let CountedScan { rows: scan, presences } = scan;
    let key = asked.grouping.key();
    let scan = of_subject(scan, key, asked.scope)?;
    let mut measures = Measures::default();
    for (index, feature) in asked.features() {
        measures.add(index, feature);
    }
    let mut reader = Reader { table, asked, presences: &presences, measures: &measures, kinds: IndexSet::new() };
    let mut reads = reader.reads();
    let places = Places {
        key: reads.key(key)?,
        time: reads.time(&table.timestamp)?,
        event_type: table.event_type.as_ref().map(|access| reads.text(access)).transpose()?,
    };
    let base = reads.steps(&mut reader.kinds);
    let described = measures.described(&reader)?;
    let Described { planned, outputs, values } = described;
    let as_of = asked.batch.as_of.as_microsecond();
    let program = Program::new(base, places, as_of, planned, outputs, asked.scope.existence, &mut reader)?;
    let observations = reader.kinds.into_iter().collect();

    let mut plan = scan;
    if table.deduplicate
        && let Some(event_id) = &table.event_id
    {
        plan = deduplicated(plan, table, key, event_id, Reads::new(asked.local.clone(), presences))?;
    }
    let read: Vec<Expr> = program.columns_read().into_iter().map(named).collect();
    Ok(EventSide { plan: plan.project(read)?, program, measures: values, observations })
}

/// What must hold of a row that can matter, by what files can be pruned by: times and types in columns of their own.
fn needed(table: &EventTable, asked: Asked<'_>) -> Vec<Expr> {
    let needs: Vec<Need<'_>> = asked.features().filter_map(|(_, feature)| Need::of(feature)).collect();
    let only_measured = asked.scope.existence == Existence::Ignored;
    let mut needed = Vec::new();
    if let (Some(time), ColumnType::Timestamp) = (plain_column(&table.timestamp), &table.timestamp.stored) {
        // The first of duplicates may lie before every window, and then hides the others.
        let from = if only_measured && !table.deduplicate { needs.iter().map(|need| need.from).min().flatten() } else { None };
        let mut bounds = vec![time.clone().lt(instant_literal(asked.batch.as_of))];
        bounds.extend(from.map(|from| time.clone().gt_eq(instant_literal(from))));
        needed.push(or(conjunction(bounds), time.is_null()));
    }
    if only_measured
        && let Some(event_type) =
            table.event_type.as_ref().filter(|access| access.stored == ColumnType::Text).and_then(plain_column)
        && let Some(types) = exact_types(&needs)
    {
        needed.push(text_test(&event_type, &TextTest { matches: TextMatch::OneOf(types), ignore_case: false }));
    }
    needed
}

/// The events of one subject, when one is asked for.
fn of_subject(scan: LogicalPlanBuilder, key: &Access, scope: Scope<'_>) -> Result<LogicalPlanBuilder> {
    let (Some(subject_id), Some(column)) = (scope.subject_id, plain_column(key)) else { return Ok(scan) };
    match key.stored {
        ColumnType::Text => scan.filter(column.eq(text_literal(subject_id))),
        ColumnType::Integer => match subject_id.parse::<i64>() {
            Ok(id) => scan.filter(column.eq(lit(id))),
            Err(_) => Ok(scan),
        },
        _ => Ok(scan),
    }
}

/// The events that a feature looks at.
struct Need<'a> {
    /// Since when; `None` = since ever.
    from: Option<Timestamp>,
    /// Of which types; `None` = of any.
    types: Vec<Option<&'a [EventTypePattern]>>,
}

impl<'a> Need<'a> {
    fn of(feature: &'a BatchFeature) -> Option<Self> {
        match feature {
            BatchFeature::Measure(measure) | BatchFeature::Signal(BatchSignal { measure, .. }) => {
                Some(Self { from: measure.window.from, types: vec![measure.event_type.as_deref()] })
            }
            // What must be absent follows what must be there.
            BatchFeature::Sequence(sequence) => {
                let steps = steps_of(sequence);
                Some(Self { from: sequence.window.from, types: steps.map(|step| step.event_type.as_deref()).collect() })
            }
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => None,
        }
    }
}

/// Every event type that is needed, when all of them are named exactly.
fn exact_types(needs: &[Need<'_>]) -> Option<Vec<String>> {
    let mut types = BTreeSet::new();
    for patterns in needs.iter().flat_map(|need| &need.types) {
        for pattern in (*patterns)? {
            match pattern {
                EventTypePattern::Exact(name) => types.insert(name.clone()),
                EventTypePattern::Prefix(_) => return None,
            };
        }
    }
    (!types.is_empty()).then(|| types.into_iter().collect())
}

/// Keeps the first of the events of one subject, type and id.
fn deduplicated(
    plan: LogicalPlanBuilder,
    table: &EventTable,
    key: &Access,
    event_id: &Access,
    mut reads: Reads,
) -> Result<LogicalPlanBuilder> {
    let (key, time, event_id) = (reads.key(key)?, reads.time(&table.timestamp)?, reads.text(event_id)?);
    let event_type = table.event_type.as_ref().map(|access| reads.text(access)).transpose()?;
    let order = order_of_duplicates(table, &mut reads);
    let same = [key.clone(), event_id.clone()].into_iter().chain(event_type).collect();
    // An event without a time does not exist, so that it hides no other.
    let first = std::iter::once(time.clone().sort(true, false)).chain(order).collect();
    let occurrence = row_number().partition_by(same).order_by(first).build()?.alias("occurrence");
    let unique = disjunction(vec![named("occurrence").eq(lit(1u64)), event_id.is_null(), time.is_null(), key.is_null()]);
    reads.beside(plan)?.window(vec![occurrence])?.filter(unique)
}

/// Every column of the source by name, least first: what tells the first of duplicates of one time.
fn order_of_duplicates(table: &EventTable, reads: &mut Reads) -> Vec<SortExpr> {
    let columns: BTreeMap<&String, &ColumnType> = table.table.columns.iter().collect();
    let keys = columns.into_iter().filter_map(|(name, column_type)| {
        let column = named(name);
        let key = match column_type {
            ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(_) => call(OrderText, vec![column]),
            ColumnType::Boolean
            | ColumnType::Integer
            | ColumnType::Unsigned
            | ColumnType::Float
            | ColumnType::Decimal { .. }
            | ColumnType::Text
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::Json => column,
            // No scan delivers what nothing reads.
            ColumnType::Other(_) => return None,
        };
        Some(reads.raw(format!("column {name}"), key).sort(true, true))
    });
    keys.collect()
}

/// What tells measures apart that no window could join.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity<'a> {
    /// Over the events of these types that pass the filter, of members of the given segment with that index.
    Events {
        event_type: Option<&'a [EventTypePattern]>,
        filter: &'a Formula<BatchRowTest>,
        members: Option<usize>,
        aggregate: Joined<'a>,
    },
    /// A sequence, with its window.
    Sequence(&'a BatchSequence),
}

/// What is computed, where aggregates that are told from one thing are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Joined<'a> {
    Count,
    Active(DistinctUnit),
    Time(End),
    Sum(&'a Access),
    Extreme(End, &'a Access),
    Distinct(&'a Access),
    Edge(End, &'a Access, Reading),
    Frequent(&'a Access, Reading),
}

impl<'a> Joined<'a> {
    fn of(aggregate: &'a Aggregate) -> Self {
        match aggregate {
            Aggregate::Count => Self::Count,
            Aggregate::Active(unit) => Self::Active(*unit),
            Aggregate::FirstTime | Aggregate::DaysSinceFirst => Self::Time(End::Least),
            Aggregate::DaysSinceLast => Self::Time(End::Greatest),
            Aggregate::Sum(access) | Aggregate::Avg(access) => Self::Sum(access),
            Aggregate::Min(access) => Self::Extreme(End::Least, access),
            Aggregate::Max(access) => Self::Extreme(End::Greatest, access),
            Aggregate::CountDistinct(access) => Self::Distinct(access),
            Aggregate::First(access, reading) => Self::Edge(End::Least, access, *reading),
            Aggregate::Last(access, reading) => Self::Edge(End::Greatest, access, *reading),
            Aggregate::MostFrequent(access, reading) => Self::Frequent(access, *reading),
        }
    }
}

/// The measures of a side, each with all of its windows and the features that are told from it.
#[derive(Debug, Default)]
struct Measures<'a> {
    all: IndexMap<Identity<'a>, Asking<'a>>,
}

/// Who asks for a measure.
#[derive(Debug, Default)]
struct Asking<'a> {
    windows: IndexSet<Interval>,
    /// Whether an average is told from it.
    counted: bool,
    /// The index of each feature, its window, and what it is told as; `None` for a sequence.
    features: Vec<(usize, usize, Option<&'a BatchMeasure>)>,
}

impl<'a> Measures<'a> {
    fn add(&mut self, index: usize, feature: &'a BatchFeature) {
        let (measure, members) = match feature {
            BatchFeature::Measure(measure) => (measure, None),
            BatchFeature::Signal(signal) => (&signal.measure, Some(signal.members)),
            BatchFeature::Sequence(sequence) => {
                let asking = self.all.entry(Identity::Sequence(sequence)).or_default();
                asking.windows.insert(hull(sequence));
                asking.features.push((index, 0, None));
                return;
            }
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => return,
        };
        let BatchMeasure { event_type, filter, window, aggregate, as_of: _ } = measure;
        let event_type = event_type.as_deref();
        let identity = Identity::Events { event_type, filter, members, aggregate: Joined::of(aggregate) };
        let asking = self.all.entry(identity).or_default();
        let (window, _) = asking.windows.insert_full(*window);
        asking.counted |= matches!(aggregate, Aggregate::Avg(_));
        asking.features.push((index, window, Some(measure)));
    }

    /// What each measure computes, the columns that come out, and the values that features are in them.
    fn described(&self, reader: &Reader<'_>) -> Result<Described> {
        let mut described = Described { planned: Vec::new(), outputs: Vec::new(), values: BTreeMap::new() };
        for (measure, (identity, asking)) in self.all.iter().enumerate() {
            let Computed { kind, form, .. } = reader.computed(&mut reader.reads(), identity, asking)?;
            let counted = matches!(kind, Kind::Sum { counted: true, .. });
            for window in 0..asking.windows.len() {
                let (value, count) = (column_name(measure, window), count_name(measure, window));
                let mut columns = vec![(value, form.data_type())];
                if counted {
                    columns.push((count, DataType::Int64));
                }
                described.outputs.push(MeasureColumns { measure, window, columns });
            }
            for (feature, window, told) in &asking.features {
                let value = named(column_name(measure, *window));
                let value = match told.map(|told| (&told.aggregate, told.as_of)) {
                    // Of no addends the sum is 0 and the mean missing.
                    Some((Aggregate::Sum(_), _)) if counted => {
                        let zero = ScalarValue::new_zero(&form.data_type())?;
                        Typed { expr: coalesce(vec![value, lit(zero)]), form: form.clone() }
                    }
                    Some((Aggregate::Avg(_), _)) => {
                        let count = Box::new(named(count_name(measure, *window)));
                        Typed { expr: value, form: Form::Average { count } }
                    }
                    Some((_, Some(as_of))) => Typed { expr: value, form: Form::Age { as_of } },
                    Some((_, None)) | None => Typed { expr: value, form: form.clone() },
                };
                described.values.insert(*feature, value);
            }
            let event_type = match identity {
                Identity::Events { event_type, .. } => event_type.map(<[EventTypePattern]>::to_vec),
                Identity::Sequence(sequence) => types_of(sequence),
            };
            described.planned.push(PlannedMeasure { event_type, kind, windows: asking.windows.iter().copied().collect() });
        }
        Ok(described)
    }
}

/// The measures of a side, described.
struct Described {
    planned: Vec<PlannedMeasure>,
    outputs: Vec<MeasureColumns>,
    values: BTreeMap<usize, Typed>,
}

fn column_name(measure: usize, window: usize) -> String {
    format!("measure {measure} window {window}")
}

fn count_name(measure: usize, window: usize) -> String {
    format!("{} count", column_name(measure, window))
}

/// When an event of a sequence can be: what must be absent follows what must be there.
fn hull(sequence: &BatchSequence) -> Interval {
    let until = |(_, as_of): &(BatchStep, Timestamp)| Interval { to: Some(*as_of), ..sequence.window };
    sequence.absent.as_ref().map_or(sequence.window, until)
}

/// What must be there, and after it what must be absent.
fn steps_of(sequence: &BatchSequence) -> impl Iterator<Item = &BatchStep> {
    sequence.steps.iter().chain(sequence.absent.as_ref().map(|(step, _)| step))
}

/// The types of the events of a sequence.
fn types_of(sequence: &BatchSequence) -> Option<Vec<EventTypePattern>> {
    let mut types = BTreeSet::new();
    for step in steps_of(sequence) {
        types.extend(step.event_type.as_ref()?.iter().cloned());
    }
    Some(types.into_iter().collect())
}

/// What a measure is, and what it computes with.
struct Computed {
    kind: Kind,
    form: Form,
    arguments: Vec<Expr>,
}

/// Reads events for measures.
struct Reader<'a> {
    table: &'a EventTable,
    asked: Asked<'a>,
    presences: &'a [Presence],
    measures: &'a Measures<'a>,
    kinds: IndexSet<ObservationKind>,
}

impl Routes for Reader<'_> {
    fn route(&mut self, measures: &[usize]) -> Result<Route> {
        let mut reads = self.reads();
        let mut met = Vec::new();
        let mut id = None;
        for measure in measures {
            let Some((identity, asking)) = self.measures.all.get_index(*measure) else { return plan_err!("no measure {measure}") };
            let Computed { kind, arguments, .. } = self.computed(&mut reads, identity, asking)?;
            if let Some(access) = self.table.event_id.as_ref().filter(|_| kind.needs_ids()) {
                id = Some(reads.text(access)?);
            }
            met.push(Met { measure: *measure, filter: self.filter(&mut reads, identity)?, arguments });
        }
        Ok(Route { reads: reads.steps(&mut self.kinds), id, met })
    }
}

impl Reader<'_> {
    fn reads(&self) -> Reads {
        Reads::new(self.asked.local.clone(), self.presences.to_vec())
    }

    /// Which events a measure looks at, besides their type and time.
    fn filter(&self, reads: &mut Reads, identity: &Identity<'_>) -> Result<Option<Expr>> {
        let Identity::Events { filter, members, .. } = identity else { return Ok(None) };
        let mut conditions = Vec::new();
        if let Some(members) = members {
            let Some(user_key) = self.table.key(Subject::User) else {
                return plan_err!("the events do not say which user they are of");
            };
            let Some(set) = self.asked.batch.given.get(*members) else { return plan_err!("a segment that is not given") };
            let members = GivenMembers::new(set.clone(), self.asked.given.get(*members).cloned());
            conditions.push(call(members, vec![reads.key(user_key)?]));
        }
        if !matches!(filter, Formula::Constant(true)) {
            conditions.push(formula(filter, &mut |row| test(&reads.value(&row.value)?, &row.test))?);
        }
        Ok(if conditions.is_empty() { None } else { Some(conjunction(conditions)) })
    }

    fn computed(&self, reads: &mut Reads, identity: &Identity<'_>, asking: &Asking<'_>) -> Result<Computed> {
        let Identity::Events { aggregate, .. } = identity else {
            let Identity::Sequence(sequence) = identity else { return plan_err!("a measure of nothing") };
            return self.sequence(reads, sequence);
        };
        let of = |kind, form, arguments| Ok(Computed { kind, form, arguments });
        match aggregate {
            Joined::Count => of(Kind::Count, Form::Integer, Vec::new()),
            Joined::Active(unit) => {
                let units = LocalUnit { local: self.asked.local.clone(), unit: *unit };
                of(Kind::Units(units), Form::Integer, vec![self.unit(reads, *unit)?])
            }
            Joined::Time(end) => of(Kind::Time(*end), Form::Instant, Vec::new()),
            Joined::Sum(access) => {
                let addend = reads.addend(access)?;
                let form = sum_form(&addend.form);
                let kind = Kind::Sum { sum: form.data_type(), counted: asking.counted };
                of(kind, form, vec![addend.expr])
            }
            Joined::Extreme(end, access) => {
                let Typed { expr, form } = reads.stored(access, Wanted::As(Reading::Number))?;
                of(Kind::Extreme(*end), form, vec![expr])
            }
            Joined::Distinct(access) => {
                let value = reads.stored(access, Wanted::Identity)?;
                of(Kind::Distinct, Form::Integer, vec![value.expr])
            }
            Joined::Edge(end, access, reading) => {
                let Typed { expr, form } = reads.stored(access, Wanted::As(*reading))?;
                of(Kind::Edge(*end), form, vec![expr])
            }
            Joined::Frequent(access, reading) => {
                let Typed { expr, form } = reads.stored(access, Wanted::As(*reading))?;
                let value = if form == Form::Mixed { call(Canonical, vec![expr]) } else { expr };
                of(Kind::Frequent, form, vec![value])
            }
        }
    }

    fn sequence(&self, reads: &mut Reads, sequence: &BatchSequence) -> Result<Computed> {
        let event_type = self.table.event_type.as_ref().map(|access| reads.text(access)).transpose()?;
        let steps = steps_of(sequence).map(|BatchStep { event_type: types, filter }| {
            let of_type = types.as_ref().map(|types| is_of_type(event_type.as_ref(), types));
            let passes = formula(filter, &mut |row| test(&reads.value(&row.value)?, &row.test))?;
            Ok(conjunction(of_type.into_iter().chain([passes]).collect()))
        });
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let same = sequence.same.iter().map(|access| Ok(reads.stored(access, Wanted::Identity)?.expr));
        let same = same.collect::<Result<Vec<_>>>()?;
        let pattern = Pattern {
            steps: sequence.steps.len(),
            absent: sequence.absent.is_some(),
            within: sequence.within,
            window: sequence.window,
            local: sequence.absent.as_ref().map_or_else(|| self.asked.local.clone(), |(_, as_of)| self.asked.local.at(*as_of)),
        };
        let arguments = std::iter::once(call(StepMask, steps)).chain(same).collect();
        Ok(Computed { kind: Kind::Sequence(pattern), form: Form::Boolean, arguments })
    }

    fn unit(&self, reads: &mut Reads, unit: DistinctUnit) -> Result<Expr> {
        let name = match unit {
            DistinctUnit::Day => "local day",
            DistinctUnit::Week => "local week",
            DistinctUnit::Month => "local month",
        };
        let number = |time| call(LocalUnit { local: self.asked.local.clone(), unit }, vec![time]);
        Ok(reads.derived(name.to_owned(), &self.table.timestamp, number, Form::Integer)?.expr)
    }
}

/// Whether an event is of one of the types: two-valued. One without a type is of none.
fn is_of_type(event_type: Option<&Expr>, patterns: &[EventTypePattern]) -> Expr {
    let Some(event_type) = event_type else {
        return lit(false);
    };
    disjunction(TextTest::of_event_types(patterns).iter().map(|test| text_test(event_type, test)).collect())
}

/// The form of a sum: DataFusion widens a DECIMAL by ten digits.
fn sum_form(addend: &Form) -> Form {
    let Form::Decimal { precision, scale } = addend else {
        return addend.clone();
    };
    let most = if *precision <= 38 { 38 } else { 76 };
    Form::Decimal { precision: (precision + 10).min(most), scale: *scale }
}
