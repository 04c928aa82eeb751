//! The events of a batch: one scan, one aggregate by subject, every measure a filtered aggregate in it. Events that name their product
//! in another property than the mapped one are a scan and an aggregate of their own.
//!
//! No row is dropped after the scan's own filter: an event without a key falls into the group of NULL, one without a time into no
//! window, and both are counted there.

use std::collections::BTreeMap;

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, first_value, last_value, max, min, sum};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder, SortExpr, and, lit, or, when};
use indexmap::IndexSet;
use jiff::Timestamp;

use super::bounds::{conjunction, disjunction};
use super::date::{Local, LocalUnit};
use super::form::{Form, Typed};
use super::function::call;
use super::json::Wanted;
use super::members::GivenMembers;
use super::number::Canonical;
use super::occurrences::{count_distinct, most_frequent};
use super::order::OrderText;
use super::predicate::{formula, in_interval, instant_literal, test};
use super::reads::{Reads, named, plain_column, with_columns};
use super::sequence::Pattern;
use super::tables::CountedScan;
use super::text::{text_literal, text_test};
use crate::backend::{LocalMembers, ObservationKind};
use crate::check::Reading;
use crate::ir::{Aggregate, DistinctUnit, Formula, RowTest, TextMatch, TextTest};
use crate::model::catalog::{Access, ColumnType, EventTable};
use crate::model::condition::{EventTypePattern, Subject};
use crate::model::window::Interval;
use crate::plan::{Batch, BatchFeature, BatchMeasure, BatchSequence, BatchSignal};

/// The subject of the events of a group.
pub(super) const KEY: &str = "subject of events";

/// Whether the group has an event before `as_of`.
pub(super) const EXISTS: &str = "has events";

/// Which events a plan needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Those of one subject, or of all.
    pub(super) subject_id: Option<&'a str>,
    /// Whether a subject is in the universe for its events, so that every event counts.
    pub(super) universe: EventsInUniverse,
}

/// Whether events make subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventsInUniverse {
    /// A subject with an event is in the universe.
    Yes,
    /// Only a row of the subjects table is.
    No,
}

/// One row per subject of the events.
#[derive(Debug)]
pub(super) struct EventSide {
    /// With the columns [`KEY`], [`EXISTS`], those of `measures` and of `observations`.
    pub(super) plan: LogicalPlanBuilder,
    /// The value of each measure, by its index among the features of the batch.
    pub(super) measures: BTreeMap<usize, Measured>,
    /// What was counted, and the column with the count of each subject.
    pub(super) observations: Vec<(ObservationKind, Expr)>,
}

/// The value of a measure.
#[derive(Debug)]
pub(super) struct Measured {
    /// Its column.
    pub(super) value: Typed,
    /// Its value for a subject without events.
    pub(super) of_none: ScalarValue,
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

/// Plans the events of a batch over a scan of their table. `given` are the members of the batch's given segments.
pub(super) fn events(
    scan: CountedScan,
    table: &EventTable,
    grouping: Grouping<'_>,
    batch: &Batch,
    given: &[LocalMembers],
    local: &Local,
    scope: Scope<'_>,
) -> Result<EventSide> {
    let CountedScan { rows: scan, presences } = scan;
    let key = grouping.key();
    let features = batch.features.iter().enumerate().filter(|(_, feature)| grouping.computes(feature));
    let features: Vec<(usize, &BatchFeature)> = features.collect();
    let scan = prune(scan, table, key, &features, batch, scope)?;
    let mut reads = Reads::new(local.clone(), presences);
    let mut rows = Rows {
        key: reads.key(key)?,
        time: reads.time(&table.timestamp)?,
        event_type: table.event_type.as_ref().map(|access| reads.text(access)).transpose()?,
        event_id: table.event_id.as_ref().map(|access| reads.text(access)).transpose()?,
        user_key: table.key(Subject::User),
        batch,
        given,
        timestamp: &table.timestamp,
        local,
        reads,
        conditions: IndexSet::new(),
    };
    let mut measures = Vec::new();
    for (index, feature) in features {
        let planned = match feature {
            BatchFeature::Measure(measure) => rows.measure(index, measure, Vec::new())?,
            BatchFeature::Signal(signal) => rows.signal(index, signal)?,
            BatchFeature::Sequence(sequence) => rows.sequence(index, sequence)?,
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => continue,
        };
        measures.push((index, planned));
    }
    let order = if table.deduplicate { rows.order_of_duplicates(table) } else { Vec::new() };
    let Rows { key, time, event_type, event_id, reads, conditions, .. } = rows;

    let (mut plan, misfits) = reads.project(scan)?;
    if let Some(event_id) = event_id.filter(|_| table.deduplicate) {
        plan = deduplicate(plan, &key, &time, event_type, &event_id, order)?;
    }
    if let Some(subject_id) = scope.subject_id {
        plan = plan.filter(key.clone().eq(text_literal(subject_id)))?;
    }
    let conditions = conditions.into_iter().enumerate().map(|(index, condition)| condition.alias(condition_name(index)));
    plan = with_columns(plan, conditions.collect())?;

    let before = in_interval(&time, Interval { from: None, to: Some(batch.as_of) });
    let mut aggregates =
        vec![count(lit(1)).alias("rows"), count_where(before)?.alias("existing"), count_where(time.is_null())?.alias("timeless")];
    for (index, (_, occurs)) in misfits.iter().enumerate() {
        aggregates.push(count_where(occurs.clone())?.alias(format!("count of observation {index}")));
    }
    for (_, measured) in &measures {
        aggregates.extend(measured.aggregates.iter().cloned());
    }
    plan = plan.aggregate(vec![key.clone()], aggregates)?;

    let keyless = when(key.clone().is_null(), named("rows")).otherwise(lit(0i64))?;
    let mut observations =
        vec![(ObservationKind::MissingKey, named("rows without key")), (ObservationKind::MissingTime, named("timeless"))];
    let mut columns =
        vec![key.alias(KEY), named("existing").gt(lit(0i64)).alias(EXISTS), keyless.alias("rows without key"), named("timeless")];
    for (index, (kind, _)) in misfits.into_iter().enumerate() {
        let name = format!("count of observation {index}");
        columns.push(named(&name));
        observations.push((kind, named(name)));
    }
    let mut values = BTreeMap::new();
    for (index, measured) in measures {
        columns.extend(measured.columns);
        values.insert(index, measured.result);
    }
    Ok(EventSide { plan: plan.project(columns)?, measures: values, observations })
}

/// Keeps what cannot matter out of the scan, by what files can be pruned by: times and types in columns of their own.
fn prune(
    scan: LogicalPlanBuilder,
    table: &EventTable,
    key: &Access,
    features: &[(usize, &BatchFeature)],
    batch: &Batch,
    scope: Scope<'_>,
) -> Result<LogicalPlanBuilder> {
    let needs: Vec<Need<'_>> = features.iter().filter_map(|(_, feature)| Need::of(feature)).collect();
    let only_measured = scope.universe == EventsInUniverse::No;
    let mut filters = Vec::new();
    if let (Some(time), ColumnType::Timestamp) = (plain_column(&table.timestamp), &table.timestamp.stored) {
        // The first of duplicates may lie before every window, and then hides the others.
        let from = if only_measured && !table.deduplicate { needs.iter().map(|need| need.from).min().flatten() } else { None };
        let mut bounds = vec![time.clone().lt(instant_literal(batch.as_of))];
        bounds.extend(from.map(|from| time.clone().gt_eq(instant_literal(from))));
        filters.push(or(conjunction(bounds), time.is_null()));
    }
    if only_measured
        && let Some(event_type) =
            table.event_type.as_ref().filter(|access| access.stored == ColumnType::Text).and_then(plain_column)
        && let Some(types) = exact_types(&needs)
    {
        filters.push(text_test(&event_type, &TextTest { matches: TextMatch::OneOf(types), ignore_case: false }));
    }
    if let (Some(subject_id), Some(column)) = (scope.subject_id, plain_column(key)) {
        if key.stored == ColumnType::Text {
            filters.push(column.eq(text_literal(subject_id)));
        } else if key.stored == ColumnType::Integer {
            filters.extend(subject_id.parse::<i64>().map(|id| column.eq(lit(id))));
        }
    }
    if filters.is_empty() { Ok(scan) } else { scan.filter(conjunction(filters)) }
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
                let steps = sequence.steps.iter().chain(&sequence.absent);
                Some(Self { from: sequence.window.from, types: steps.map(|step| step.event_type.as_deref()).collect() })
            }
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => None,
        }
    }
}

/// Every event type that is needed, when all of them are named exactly.
fn exact_types(needs: &[Need<'_>]) -> Option<Vec<String>> {
    let mut types = std::collections::BTreeSet::new();
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
fn deduplicate(
    plan: LogicalPlanBuilder,
    key: &Expr,
    time: &Expr,
    event_type: Option<Expr>,
    event_id: &Expr,
    order: Vec<SortExpr>,
) -> Result<LogicalPlanBuilder> {
    let same = [key.clone(), event_id.clone()].into_iter().chain(event_type).collect();
    // An event without a time does not exist, so that it hides no other.
    let first = std::iter::once(time.clone().sort(true, false)).chain(order).collect();
    let occurrence = row_number().partition_by(same).order_by(first).build()?.alias("occurrence");
    let unique = disjunction(vec![
        named("occurrence").eq(lit(1u64)),
        event_id.clone().is_null(),
        time.clone().is_null(),
        key.clone().is_null(),
    ]);
    plan.window(vec![occurrence])?.filter(unique)
}

/// A measure on its way through the plan.
struct Planned {
    aggregates: Vec<Expr>,
    columns: Vec<Expr>,
    result: Measured,
}

/// The rows of the events: what is read from them, and the conditions on them.
struct Rows<'a> {
    key: Expr,
    time: Expr,
    event_type: Option<Expr>,
    event_id: Option<Expr>,
    /// Where the user of an event stands.
    user_key: Option<&'a Access>,
    batch: &'a Batch,
    given: &'a [LocalMembers],
    timestamp: &'a Access,
    local: &'a Local,
    reads: Reads,
    conditions: IndexSet<Expr>,
}

impl Rows<'_> {
    /// A measure of the events that match, and for which some more conditions hold.
    fn measure(&mut self, index: usize, measure: &BatchMeasure, mut conditions: Vec<Expr>) -> Result<Planned> {
        conditions.push(self.condition(in_interval(&self.time, measure.window)));
        self.select(measure.event_type.as_deref(), &measure.filter, &mut conditions)?;
        self.aggregate(index, conjunction(conditions), &measure.aggregate)
    }

    /// A measure of the events of members of a segment.
    fn signal(&mut self, index: usize, signal: &BatchSignal) -> Result<Planned> {
        let Some(user_key) = self.user_key else { return plan_err!("the events do not say which user they are of") };
        let Some(segment) = self.batch.given.get(signal.members) else { return plan_err!("a segment that is not given") };
        let members = GivenMembers { segment: segment.clone(), members: self.given.get(signal.members).cloned() };
        let user = self.reads.key(user_key)?;
        let is_member = self.condition(call(members, vec![user]));
        self.measure(index, &signal.measure, vec![is_member])
    }

    fn sequence(&mut self, index: usize, sequence: &BatchSequence) -> Result<Planned> {
        let in_window = self.condition(in_interval(&self.time, sequence.window));
        let before = self.condition(in_interval(&self.time, Interval { from: None, to: Some(self.batch.as_of) }));
        let present = sequence.steps.iter().map(|step| (step, in_window.clone()));
        let steps = present.chain(sequence.absent.iter().map(|step| (step, before.clone())));
        let steps = steps.map(|(step, when)| {
            let mut conditions = vec![when];
            self.select(step.event_type.as_deref(), &step.filter, &mut conditions)?;
            Ok(conjunction(conditions))
        });
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let same = sequence.same.iter().map(|access| Ok(self.reads.stored(access, Wanted::Identity)?.expr));
        let same = same.collect::<Result<Vec<_>>>()?;
        let pattern = Pattern {
            steps: sequence.steps.len(),
            absent: sequence.absent.is_some(),
            within: sequence.within,
            local: self.local.clone(),
        };
        let matches = disjunction(steps.clone());
        let aggregate = super::sequence::sequence(pattern, self.time.clone(), steps, same);
        plain(format!("measure {index}"), aggregate, matches, Form::Boolean, Some(ScalarValue::Boolean(Some(false))))
    }

    /// Adds the conditions on the type of an event, and on its properties.
    fn select(
        &mut self,
        event_type: Option<&[EventTypePattern]>,
        filter: &Formula<RowTest<Interval>>,
        conditions: &mut Vec<Expr>,
    ) -> Result<()> {
        if let Some(patterns) = event_type {
            conditions.push(self.condition(is_of_type(self.event_type.as_ref(), patterns)));
        }
        conditions.push(formula(filter, &mut |row| {
            let holds = test(&self.reads.value(&row.value)?, &row.test)?;
            Ok(self.condition(holds))
        })?);
        Ok(())
    }

    /// A column with a condition, one for all that are the same.
    fn condition(&mut self, condition: Expr) -> Expr {
        if matches!(condition, Expr::Literal(..)) {
            return condition;
        }
        let (index, _) = self.conditions.insert_full(condition);
        named(condition_name(index))
    }

    fn aggregate(&mut self, index: usize, matches: Expr, aggregate: &Aggregate) -> Result<Planned> {
        let name = format!("measure {index}");
        let age = Form::Age { as_of: self.local.calendar.as_of() };
        match aggregate {
            Aggregate::Count => plain(name, count(lit(1)), matches, Form::Integer, Some(ScalarValue::Int64(Some(0)))),
            Aggregate::Active(unit) => {
                let units = count_distinct(self.unit(*unit)?);
                plain(name, units, matches, Form::Integer, Some(ScalarValue::Int64(Some(0))))
            }
            Aggregate::FirstTime => plain(name, min(self.time.clone()), matches, Form::Instant, None),
            Aggregate::DaysSinceFirst => plain(name, min(self.time.clone()), matches, age, None),
            Aggregate::DaysSinceLast => plain(name, max(self.time.clone()), matches, age, None),
            Aggregate::Sum(access) => {
                let addend = self.reads.addend(access)?;
                let form = sum_form(&addend.form);
                let zero = ScalarValue::new_zero(&form.data_type())?;
                let mut planned = plain(name.clone(), sum(addend.expr), matches, form, Some(zero.clone()))?;
                // The sum over events of which none has a number is 0 as well.
                planned.columns = vec![coalesce(vec![named(&name), lit(zero)]).alias(&name)];
                Ok(planned)
            }
            Aggregate::Avg(access) => {
                let addend = self.reads.addend(access)?;
                let counted = format!("{name} count");
                let form = Form::Average { count: Box::new(named(&counted)) };
                let of_none = ScalarValue::try_new_null(&sum_form(&addend.form).data_type())?;
                let mut planned = plain(name, sum(addend.expr.clone()), matches.clone(), form, Some(of_none))?;
                planned.aggregates.push(count(addend.expr).filter(matches).build()?.alias(&counted));
                planned.columns.push(named(counted));
                Ok(planned)
            }
            Aggregate::Min(access) => {
                let Typed { expr, form } = self.reads.stored(access, Wanted::As(Reading::Number))?;
                plain(name, min(expr), matches, form, None)
            }
            Aggregate::Max(access) => {
                let Typed { expr, form } = self.reads.stored(access, Wanted::As(Reading::Number))?;
                plain(name, max(expr), matches, form, None)
            }
            Aggregate::CountDistinct(access) => {
                let values = count_distinct(self.reads.stored(access, Wanted::Identity)?.expr);
                plain(name, values, matches, Form::Integer, Some(ScalarValue::Int64(Some(0))))
            }
            Aggregate::First(access, reading) => {
                let Carried { value, form, order } = self.carried(access, *reading)?;
                let carries = and(matches, value.clone().is_not_null());
                plain(name, first_value(value, Vec::new()).order_by(order), carries, form, None)
            }
            Aggregate::Last(access, reading) => {
                let Carried { value, form, order } = self.carried(access, *reading)?;
                let carries = and(matches, value.clone().is_not_null());
                plain(name, last_value(value, Vec::new()).order_by(order), carries, form, None)
            }
            Aggregate::MostFrequent(access, reading) => {
                let Typed { expr, form } = self.reads.stored(access, Wanted::As(*reading))?;
                let value = if form == Form::Mixed { call(Canonical, vec![expr]) } else { expr };
                plain(name, most_frequent(value), matches, form, None)
            }
        }
    }

    /// A value in the order of the events that carry it. Arrays order element by element, a missing element first.
    fn carried(&mut self, access: &Access, reading: Reading) -> Result<Carried> {
        let Typed { expr, form } = self.reads.stored(access, Wanted::As(reading))?;
        // Each once: the value may be the id, and the engine takes no key twice.
        let order: IndexSet<Expr> = std::iter::once(self.time.clone()).chain(self.event_id.clone()).chain([expr.clone()]).collect();
        let order = order.into_iter().map(|key| key.sort(true, true)).collect();
        Ok(Carried { value: expr, form, order })
    }

    fn unit(&mut self, unit: DistinctUnit) -> Result<Expr> {
        let name = match unit {
            DistinctUnit::Day => "local day",
            DistinctUnit::Week => "local week",
            DistinctUnit::Month => "local month",
        };
        let number = |time| call(LocalUnit { local: self.local.clone(), unit }, vec![time]);
        Ok(self.reads.derived(name.to_owned(), self.timestamp, number, Form::Integer)?.expr)
    }

    /// Every column of the source by name, least first: what tells the first of duplicates of one time.
    fn order_of_duplicates(&mut self, table: &EventTable) -> Vec<SortExpr> {
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
            Some(self.reads.raw(format!("column {name}"), key).sort(true, true))
        });
        keys.collect()
    }
}

/// A value of events, in their order.
struct Carried {
    value: Expr,
    form: Form,
    order: Vec<SortExpr>,
}

/// A measure of one aggregate over the rows that match. `of_none` is its value for a subject without events, when there is one.
fn plain(
    name: String,
    aggregate: impl ExprFunctionExt,
    matches: Expr,
    form: Form,
    of_none: Option<ScalarValue>,
) -> Result<Planned> {
    let of_none = of_none.map_or_else(|| ScalarValue::try_new_null(&form.data_type()), Ok)?;
    Ok(Planned {
        aggregates: vec![aggregate.filter(matches).build()?.alias(&name)],
        columns: vec![named(&name)],
        result: Measured { value: Typed { expr: named(name), form }, of_none },
    })
}

fn condition_name(index: usize) -> String {
    format!("condition {index}")
}

fn count_where(holds: Expr) -> Result<Expr> {
    count(lit(1)).filter(holds).build()
}

/// Whether an event is of one of the types: two-valued. One without a type is of none.
fn is_of_type(event_type: Option<&Expr>, patterns: &[EventTypePattern]) -> Expr {
    let Some(event_type) = event_type else {
        return lit(false);
    };
    let mut exact = Vec::new();
    let mut tests = Vec::new();
    for pattern in patterns {
        match pattern {
            EventTypePattern::Exact(name) => exact.push(name.clone()),
            EventTypePattern::Prefix(start) => tests.push(TextMatch::StartsWith(start.clone())),
        }
    }
    if !exact.is_empty() {
        tests.push(TextMatch::OneOf(exact));
    }
    disjunction(tests.into_iter().map(|matches| text_test(event_type, &TextTest { matches, ignore_case: false })).collect())
}

/// The form of a sum: DataFusion widens a DECIMAL by ten digits.
fn sum_form(addend: &Form) -> Form {
    let Form::Decimal { precision, scale } = addend else {
        return addend.clone();
    };
    let most = if *precision <= 38 { 38 } else { 76 };
    Form::Decimal { precision: (precision + 10).min(most), scale: *scale }
}
