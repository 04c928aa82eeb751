//! The events of a batch as queries that group them by subject: one for each part of the events, so that each event is read once and meets
//! the measures that count it alone, whatever the number of features.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::form::{Form, Typed};
use super::parts::{Part, Types, parts};
use super::predicate::{Unsuited, in_interval, logic, test, text_test};
use super::reads::Reads;
use super::sequence::sequence;
use super::sql::{Expr, Query, Source, formula};
use super::time::Times;
use crate::backend::ObservationKind;
use crate::check::Reading;
use crate::ir::{Aggregate, Formula, TextTest};
use crate::model::catalog::{Access, ColumnType, EventTable};
use crate::model::condition::EventTypePattern;
use crate::model::window::Interval;
use crate::plan::{Batch, BatchFeature, BatchMeasure, BatchSignal};

/// The column of the subject's id in every query.
pub(super) const ID: &str = "id";

/// Features that are computed of events, with their values over the columns of the queries.
#[derive(Default)]
pub(super) struct Grouped {
    /// Each a row for each subject.
    pub(super) queries: Vec<Query>,
    /// By the index of the feature.
    pub(super) values: BTreeMap<usize, Typed>,
    /// How many of the subject's events have a value that does not fit.
    pub(super) observations: Vec<(ObservationKind, Expr)>,
}

/// What events are read for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) batch: &'a Batch,
    pub(super) table: &'a EventTable,
    pub(super) rows: &'a Source,
    pub(super) times: &'a Times,
    /// What holds the subject's id.
    pub(super) key: &'a Access,
    /// The rows of the members of each given segment, of one column.
    pub(super) given: &'a [Query],
    /// The only subject that is asked for.
    pub(super) subject_id: Option<&'a str>,
}

/// More parts than these are put together: each is one more table that stands beside the universe.
const MOST_PARTS: usize = 32;

/// The index of a feature, its measure, and the given segment whose members' events it counts, when not everyone's.
type Measured<'a> = (usize, &'a BatchMeasure, Option<usize>);

/// The queries for all features that are computed of the events of a key. What they call their columns begins with this name.
///
/// # Errors
/// When a test does not suit a value.
pub(super) fn grouped(asked: Asked<'_>, name: &str, features: &[(usize, &BatchFeature)]) -> Result<Grouped, Unsuited> {
    let mut found = Grouped::default();
    let mut by_type: IndexMap<Types<'_>, Vec<Measured<'_>>> = IndexMap::new();
    for (index, feature) in features {
        match feature {
            BatchFeature::Measure(measure) => {
                by_type.entry(measure.event_type.as_deref()).or_default().push((*index, measure, None));
            }
            BatchFeature::Signal(BatchSignal { measure, members, .. }) => {
                by_type.entry(measure.event_type.as_deref()).or_default().push((*index, measure, Some(*members)));
            }
            BatchFeature::Sequence(of) => {
                let (query, value) = sequence(asked, *index, of)?;
                found.queries.push(query);
                found.values.insert(*index, value);
            }
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => {}
        }
    }
    let types: Vec<Types<'_>> = by_type.keys().copied().collect();
    let mut tallies: BTreeMap<usize, Tallies> = BTreeMap::new();
    let mut observed: BTreeMap<ObservationKind, Vec<Expr>> = BTreeMap::new();
    let parts = parts(&types, MOST_PARTS);
    let is_apart = |set: usize| parts.iter().filter(|part| part.sets.contains(&set)).count() > 1;
    for (number, part) in parts.iter().enumerate() {
        let measures = part.sets.iter().flat_map(|set| {
            let of_type = (!part.whole.contains(set)).then_some(types[*set]).flatten();
            by_type[*set].iter().map(move |measured| Counted { measured: *measured, of_type, is_apart: is_apart(*set) })
        });
        let measures: Vec<Counted<'_>> = measures.collect();
        let (query, observations) = counted(asked, &format!("{name} {number}"), part, &measures, &mut tallies)?;
        found.queries.push(query);
        for (kind, count) in observations {
            observed.entry(kind).or_default().push(formula!("ifNull({0}, 0)", count));
        }
    }
    found.values.extend(tallies.into_iter().map(|(index, tallies)| (index, tallies.value())));
    found.observations = observed.into_iter().map(|(kind, counts)| (kind, Expr::sum(counts))).collect();
    Ok(found)
}

/// The rows of events, with what is read of them, before they are grouped.
pub(super) struct Rows<'a> {
    asked: Asked<'a>,
    from: Source,
    pub(super) reads: Reads<'a>,
    pub(super) key: Expr,
    has_key: Expr,
    pub(super) time: Expr,
    /// Whether an event is of the wanted types.
    is_wanted: Expr,
}

impl<'a> Rows<'a> {
    /// The events that pass a test of their types, which is a filter.
    pub(super) fn new(asked: Asked<'a>, wanted: &dyn Fn(Option<&Expr>) -> Expr) -> Self {
        let mut reads = Reads::new(&asked.table.table, asked.times);
        let mut is_wanted = wanted_by(&mut reads, asked.table, wanted);
        let mut from = asked.rows.clone();
        if asked.table.deduplicate {
            let mut inner = Reads::new(&asked.table.table, asked.times);
            let filter = wanted_by(&mut inner, asked.table, wanted);
            let query = Query { columns: own_columns(asked.table), filter: Some(filter), ..Query::default() };
            let of_types = Source::Query(Box::new(inner.finish().beneath(query, &from)));
            from = deduplicated(asked.table, &of_types, asked.times, asked.key);
            is_wanted = Expr::all([]);
        }
        let (key, has_key) = reads.present_key(asked.key);
        let time = reads.time(&asked.table.timestamp);
        Self { asked, from, reads, key, has_key, time, is_wanted }
    }

    /// Whether an event is of one of the types: two-valued. One without a type is of none.
    pub(super) fn is_of_type(&mut self, patterns: &[EventTypePattern]) -> Expr {
        let Some(access) = &self.asked.table.event_type else { return Expr::any([]) };
        let event_type = self.reads.stored(access, Reading::Text).expr;
        Expr::any(TextTest::of_event_types(patterns).iter().map(|test| text_test(&event_type, test)))
    }

    /// What a query selects, by its groups, of the rows that exist and lie in a window, under a condition.
    pub(super) fn query(self, window: Interval, condition: Option<Expr>, columns: Vec<(Expr, String)>, group: Vec<Expr>) -> Query {
        let end = self.asked.batch.as_of;
        let window = Interval { to: Some(window.to.map_or(end, |to| to.min(end))), ..window };
        let in_window = self.reads.plain_window(&self.asked.table.timestamp, window);
        let in_window = in_window.unwrap_or_else(|| in_interval(&self.time, window));
        let only = self.asked.subject_id.map(|id| formula!("{0} = {1}", self.key, Expr::text(id)));
        let exists = [self.is_wanted, self.has_key, in_window].into_iter().chain(condition).chain(only);
        let lets = self.reads.finish();
        let query = Query { columns, filter: Some(Expr::all(exists)), group, ..Query::default() };
        lets.beneath(query, &self.from)
    }
}

/// A test of the types of events, over the column as it stands where there is one.
fn wanted_by(reads: &mut Reads<'_>, table: &EventTable, wanted: &dyn Fn(Option<&Expr>) -> Expr) -> Expr {
    let event_type = table.event_type.as_ref().map(|access| reads.plain_text(access));
    wanted(event_type.as_ref())
}

/// The columns of a table that can be read.
fn own_columns(table: &EventTable) -> Vec<(Expr, String)> {
    let own = table.table.columns.iter().filter(|(_, stored)| !matches!(stored, ColumnType::Other(_)));
    own.map(|(name, _)| (Expr::column(name), name.clone())).collect()
}

/// The events of a table without those that repeat another: of one subject, type and id the earliest is kept, of one time the least by all
/// columns in the order of their names.
fn deduplicated(table: &EventTable, rows: &Source, times: &Times, key: &Access) -> Source {
    let Some(event_id) = &table.event_id else { return rows.clone() };
    let mut reads = Reads::new(&table.table, times);
    let (key, time) = (reads.key(key), reads.time(&table.timestamp));
    let event_id = reads.stored(event_id, Reading::Text).expr;
    let event_type = table.event_type.as_ref().map(|access| reads.stored(access, Reading::Text).expr);
    let columns: BTreeMap<&String, &ColumnType> = table.table.columns.iter().collect();
    let of_column = |(name, column_type): (&String, &ColumnType)| {
        let column = Expr::column(name);
        match column_type {
            ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(_) => formula!("toString({0}) ASC NULLS FIRST", column),
            _ => formula!("{0} ASC NULLS FIRST", column),
        }
    };
    let order = std::iter::once(formula!("{0} ASC", time)).chain(columns.into_iter().map(of_column)).collect();
    let same = [key.clone(), event_id.clone()].into_iter().chain(event_type).collect();
    let number = formula!("row_number() OVER (PARTITION BY {0} ORDER BY {1})", Expr::List(same), Expr::List(order));
    let occurrence = reads.lets().0.bind("occurrence".to_owned(), number);
    let filter = formula!("({0} = 1 OR isNull({1}) OR isNull({2}) OR isNull({3}))", occurrence, event_id, time, key);
    let lets = reads.finish();
    let query = Query { columns: own_columns(table), filter: Some(filter), ..Query::default() };
    Source::Query(Box::new(lets.beneath(query, rows)))
}

/// A measure in one part.
#[derive(Clone, Copy)]
struct Counted<'a> {
    measured: Measured<'a>,
    /// Which of the part's events it counts, when not all.
    of_type: Types<'a>,
    /// Whether other parts have events that it counts.
    is_apart: bool,
}

/// The query of a part, and how many of the subject's events have a value that does not fit.
fn counted(
    asked: Asked<'_>,
    name: &str,
    part: &Part<'_>,
    measures: &[Counted<'_>],
    tallies: &mut BTreeMap<usize, Tallies>,
) -> Result<(Query, Vec<(ObservationKind, Expr)>), Unsuited> {
    let mut rows = Rows::new(asked, &|event_type| part.filter(event_type));
    let key = rows.key.clone();
    let mut columns = vec![(key.clone(), ID.to_owned())];
    let windows = measures.iter().map(|counted| counted.measured.1.window);
    let window = windows.reduce(hull).unwrap_or(Interval { from: None, to: None });
    for Counted { measured: (index, measure, members), of_type, is_apart } in measures {
        let of_type = of_type.map(|types| rows.is_of_type(types));
        let in_window = (measure.window != window).then(|| in_interval(&rows.time, measure.window));
        let filter = condition(&mut rows, measure, *members)?;
        let condition = Expr::all(of_type.into_iter().chain(in_window).chain(filter));
        let condition = rows.reads.lets().0.bind(format!("feature {index} counts"), condition);
        let Tally { calls, value } =
            tally(&mut rows, measure, &condition).ok_or_else(|| Unsuited::of_aggregate(&measure.aggregate))?;
        let none = || calls.iter().map(|(function, _)| (*function, Vec::new())).collect();
        let tallies = tallies.entry(*index).or_insert_with(|| Tallies { columns: none(), value });
        for (number, ((function, operands), (_, columns_of))) in calls.into_iter().zip(&mut tallies.columns).enumerate() {
            let column = format!("{name}: feature {index}.{number}");
            let function = if *is_apart { function.apart } else { function.whole };
            columns.push((Expr::Call(function, operands), column.clone()));
            columns_of.push(Expr::column(column));
        }
    }
    let mut observations = Vec::new();
    for (number, (kind, holds)) in rows.reads.observations().into_iter().enumerate() {
        let column = format!("{name}: observed {number}");
        columns.push((formula!("countIf({0})", holds), column.clone()));
        observations.push((kind, Expr::column(column)));
    }
    Ok((rows.query(window, None, columns, vec![key]), observations))
}

/// The smallest interval that holds both.
fn hull(one: Interval, other: Interval) -> Interval {
    Interval {
        from: one.from.zip(other.from).map(|(one, other)| one.min(other)),
        to: one.to.zip(other.to).map(|(one, other)| one.max(other)),
    }
}

/// What a measure asks of an event beside its type and time.
fn condition(rows: &mut Rows<'_>, measure: &BatchMeasure, members: Option<usize>) -> Result<Vec<Expr>, Unsuited> {
    let mut conditions = Vec::new();
    if let Some(members) = members.and_then(|members| rows.asked.given.get(members)) {
        let user = rows.asked.table.user_key.as_ref().map(|access| rows.reads.key(access));
        conditions.push(
            user.map_or_else(
                || Expr::any([]),
                |user| formula!("ifNull({0} IN {1}, 0)", user, Expr::Rows(Box::new(members.clone()))),
            ),
        );
    }
    if measure.filter != Formula::Constant(true) {
        conditions.push(logic(&measure.filter, &mut |row| {
            let value = rows.reads.value(&row.value).ok_or_else(|| Unsuited::of_value(&row.value.value))?;
            test(&value, &row.test)
        })?);
    }
    Ok(conditions)
}

/// An aggregate function of the server.
#[derive(Clone, Copy)]
struct Function {
    /// Its name where one part has all events.
    whole: &'static str,
    /// Its name where several parts have them.
    apart: &'static str,
    /// The value of what it gives for several parts.
    together: fn(&[Expr]) -> Expr,
}

const COUNT: Function = Function { whole: "countIf", apart: "countIf", together: plus };
const SUM: Function = Function { whole: "sumIf", apart: "sumIf", together: plus };
const LEAST: Function = Function { whole: "minOrNullIf", apart: "minOrNullIf", together: |of| Expr::Call("least", of.to_vec()) };
const GREATEST: Function =
    Function { whole: "maxOrNullIf", apart: "maxOrNullIf", together: |of| Expr::Call("greatest", of.to_vec()) };
const DISTINCT: Function = Function { whole: "uniqExactIf", apart: "groupUniqArrayIf", together: distinct };
const VALUE_OF_LEAST: Function = with_states("argMinOrDefaultIf", "argMinOrDefaultIfState");
const VALUE_OF_GREATEST: Function = with_states("argMaxOrDefaultIf", "argMaxOrDefaultIfState");
const FIRST: Function = with_states("argMinOrNullIf", "argMinOrNullIfState");
const LAST: Function = with_states("argMaxOrNullIf", "argMaxOrNullIfState");
const TALLIES: Function = with_states("sumMapIf", "sumMapIfState");
const VALUES: Function = with_states("groupUniqArrayIf", "groupUniqArrayIfState");

/// A function of which the states of several parts are put together.
const fn with_states(whole: &'static str, apart: &'static str) -> Function {
    Function { whole, apart, together: |of| formula!("finalizeAggregation({0})", Expr::sum(of.to_vec())) }
}

fn plus(of: &[Expr]) -> Expr {
    Expr::sum(of.iter().map(|number| formula!("ifNull({0}, 0)", number)))
}

fn distinct(of: &[Expr]) -> Expr {
    formula!("length(arrayDistinct({0}))", Expr::Call("arrayConcat", of.to_vec()))
}

/// What a measure takes of the events of a subject: aggregates, and the value that follows from them.
struct Tally {
    calls: Vec<(Function, Vec<Expr>)>,
    value: Follows,
}

/// The value that follows from aggregates. Where a subject has no event they are NULL, or 0 and empty.
type Follows = Box<dyn Fn(&[Expr]) -> Typed>;

/// The columns of a measure: for each of its aggregates one in every part.
struct Tallies {
    columns: Vec<(Function, Vec<Expr>)>,
    value: Follows,
}

impl Tallies {
    fn value(self) -> Typed {
        let together = |(function, mut columns): (Function, Vec<Expr>)| match columns.len() {
            1 => columns.remove(0),
            _ => (function.together)(&columns),
        };
        let aggregates: Vec<Expr> = self.columns.into_iter().map(together).collect();
        (self.value)(&aggregates)
    }
}

/// What a measure takes of the events for which a condition holds; `None` when its values are no numbers.
fn tally(rows: &mut Rows<'_>, measure: &BatchMeasure, condition: &Expr) -> Option<Tally> {
    let condition = condition.clone();
    let count: Follows =
        Box::new(|of| Typed { expr: formula!("ifNull(toInt64({0}), 0)", of[0]), form: Form::Integer { unsigned: false } });
    let as_it_is = |form: Form| -> Follows { Box::new(move |of| Typed { expr: of[0].clone(), form: form.clone() }) };
    let there = |order: &Expr| formula!("({0} AND isNotNull({1}))", condition, order);
    Some(match &measure.aggregate {
        Aggregate::Count => Tally { calls: vec![(COUNT, vec![condition])], value: count },
        Aggregate::Active(unit) => {
            let time = rows.time.clone();
            let (lets, times) = rows.reads.lets();
            let number = times.unit(lets, "the event", *unit, &time);
            Tally { calls: vec![(DISTINCT, vec![number, condition])], value: count }
        }
        Aggregate::FirstTime | Aggregate::DaysSinceFirst | Aggregate::DaysSinceLast => {
            let is_last = measure.aggregate == Aggregate::DaysSinceLast;
            let function = if is_last { GREATEST } else { LEAST };
            let form = measure.as_of.map_or(Form::Instant, |as_of| Form::Age { as_of });
            Tally { calls: vec![(function, vec![rows.time.clone(), condition])], value: as_it_is(form) }
        }
        Aggregate::Sum(access) => {
            let (addend, scale) = rows.reads.addend(access)?;
            let sum = (SUM, vec![formula!("ifNull({0}, 0)", addend), condition]);
            let value: Follows = Box::new(move |of| Typed { expr: formula!("ifNull({0}, 0)", of[0]), form: Form::Exact { scale } });
            Tally { calls: vec![sum], value }
        }
        Aggregate::Avg(access) => {
            let (addend, scale) = rows.reads.addend(access)?;
            let sum = (SUM, vec![formula!("ifNull({0}, 0)", addend), condition.clone()]);
            let number = (COUNT, vec![there(&addend)]);
            let value: Follows =
                Box::new(move |of| Typed { expr: of[0].clone(), form: Form::Average { scale, count: Box::new(of[1].clone()) } });
            Tally { calls: vec![sum, number], value }
        }
        Aggregate::Min(access) | Aggregate::Max(access) => {
            let value = rows.reads.stored(access, Reading::Number);
            let is_min = matches!(measure.aggregate, Aggregate::Min(_));
            let call = if value.form == Form::Mixed {
                let order = rows.reads.order_of(&access.to_string(), &value);
                let function = if is_min { VALUE_OF_LEAST } else { VALUE_OF_GREATEST };
                (function, vec![value.expr, order.clone(), there(&order)])
            } else {
                let function = if is_min { LEAST } else { GREATEST };
                (function, vec![value.expr, condition])
            };
            Tally { calls: vec![call], value: as_it_is(value.form) }
        }
        Aggregate::CountDistinct(access) => {
            let identity = rows.reads.identity(access).expr;
            Tally { calls: vec![(DISTINCT, vec![identity, condition])], value: count }
        }
        Aggregate::First(access, reading) | Aggregate::Last(access, reading) => {
            let value = rows.reads.stored(access, *reading);
            let order = rows.reads.order_of(&access.to_string(), &value);
            let id = rows.asked.table.event_id.as_ref().map(|access| rows.reads.stored(access, Reading::Text).expr);
            let id = id.unwrap_or_else(|| Form::Text.missing());
            // An event without an id comes first of those at one time.
            let place = formula!("tuple({0}, isNotNull({1}), ifNull({1}, ''), {2})", rows.time, id, order);
            let is_first = matches!(measure.aggregate, Aggregate::First(..));
            let function = if is_first { FIRST } else { LAST };
            let form = value.form;
            Tally {
                calls: vec![(function, vec![formula!("tuple({0})", value.expr), place, there(&order)])],
                value: Box::new(move |of| Typed { expr: formula!("tupleElement({0}, 1)", of[0]), form: form.clone() }),
            }
        }
        Aggregate::MostFrequent(access, reading) => {
            let mut value = rows.reads.stored(access, *reading);
            if value.form == Form::Mixed {
                value.expr = rows.reads.lets().0.bind(format!("canonical {access}"), super::number::canonical(&value.expr));
            }
            let order = rows.reads.order_of(&format!("canonical {access}"), &value);
            let there = there(&order);
            // Counts by the order of the values, which ascends: the first of the greatest is the least value.
            let one = formula!("[toUInt64(1)]");
            let counts = (TALLIES, vec![formula!("[assumeNotNull({0})]", order), one, there.clone()]);
            let form = value.form;
            if form == Form::Mixed {
                let by_order = formula!("tuple(assumeNotNull({0}), {1})", order, value.expr);
                let value: Follows = Box::new(move |of| {
                    let found =
                        formula!("tupleElement(arrayFirst(x -> tupleElement(x, 1) = {0}, {1}), 2)", most_frequent(&of[0]), of[1]);
                    Typed { expr: found, form: form.clone() }
                });
                Tally { calls: vec![counts, (VALUES, vec![by_order, there])], value }
            } else {
                let value: Follows = Box::new(move |of| {
                    let found = formula!("if(empty(tupleElement({0}, 1)), NULL, {1})", of[0], most_frequent(&of[0]));
                    Typed { expr: found, form: form.clone() }
                });
                Tally { calls: vec![counts], value }
            }
        }
    })
}

/// The first of the keys with the greatest count.
fn most_frequent(counts: &Expr) -> Expr {
    formula!("arrayElement(tupleElement({0}, 1), indexOf(tupleElement({0}, 2), arrayMax(tupleElement({0}, 2))))", counts)
}
