//! The events of a batch as queries that group them by subject: one for all features over the same event types, so that a table ordered by
//! type is read once, whatever the number of features.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::form::{Form, Typed};
use super::predicate::{Unsuited, in_interval, logic, test, text_test};
use super::reads::Reads;
use super::sequence::sequence;
use super::sql::{Expr, Query, Source, formula};
use super::time::Times;
use crate::backend::ObservationKind;
use crate::check::Reading;
use crate::ir::{Aggregate, TextMatch, TextTest};
use crate::model::catalog::{Access, ColumnType, EventTable};
use crate::model::condition::EventTypePattern;
use crate::model::window::Interval;
use crate::plan::{Batch, BatchFeature, BatchMeasure, BatchSignal};

/// The column of the subject's id in every query.
pub(super) const ID: &str = "id";

/// Features that are computed by one query, with their values over its columns.
pub(super) struct Grouped {
    pub(super) query: Query,
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

/// The index of a feature, its measure, and the given segment whose members' events it counts, when not everyone's.
type Measured<'a> = (usize, &'a BatchMeasure, Option<usize>);

/// The events of these types; `None` = of any.
type Types<'a> = Option<&'a [EventTypePattern]>;

/// The queries for all features that are computed of the events of a key.
///
/// # Errors
/// When a test does not suit a value.
pub(super) fn grouped(asked: Asked<'_>, features: &[(usize, &BatchFeature)]) -> Result<Vec<Grouped>, Unsuited> {
    let mut queries = Vec::new();
    let mut by_type: IndexMap<Types<'_>, Vec<Measured<'_>>> = IndexMap::new();
    for (index, feature) in features {
        match feature {
            BatchFeature::Measure(measure) => {
                by_type.entry(measure.event_type.as_deref()).or_default().push((*index, measure, None));
            }
            BatchFeature::Signal(BatchSignal { measure, members, .. }) => {
                by_type.entry(measure.event_type.as_deref()).or_default().push((*index, measure, Some(*members)));
            }
            BatchFeature::Sequence(of) => queries.push(sequence(asked, *index, of)?),
            BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => {}
        }
    }
    for (types, measures) in by_type {
        queries.push(measured(asked, types, &measures)?);
    }
    Ok(queries)
}

/// The rows of events of some types, with what is read of them, before they are grouped.
pub(super) struct Rows<'a> {
    asked: Asked<'a>,
    pub(super) reads: Reads<'a>,
    pub(super) key: Expr,
    pub(super) time: Expr,
}

impl<'a> Rows<'a> {
    pub(super) fn new(asked: Asked<'a>) -> Self {
        let mut reads = Reads::new(&asked.table.table, asked.times);
        let key = reads.key(asked.key);
        let time = reads.time(&asked.table.timestamp);
        Self { asked, reads, key, time }
    }

    /// Whether an event is of one of the types: two-valued. One without a type is of none.
    pub(super) fn is_of_type(&mut self, patterns: &[EventTypePattern]) -> Expr {
        let Some(access) = &self.asked.table.event_type else { return Expr::any([]) };
        let event_type = self.reads.stored(access, Reading::Text).expr;
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
        Expr::any(tests.into_iter().map(|matches| text_test(&event_type, &TextTest { matches, ignore_case: false })))
    }

    /// What a query selects, by its groups, of the rows that exist and lie in a window, under a condition.
    pub(super) fn query(self, window: Interval, condition: Expr, columns: Vec<(Expr, String)>, group: Vec<Expr>) -> Query {
        let end = self.asked.batch.as_of;
        let window = Interval { to: Some(window.to.map_or(end, |to| to.min(end))), ..window };
        let only = self.asked.subject_id.map(|id| formula!("{0} = {1}", self.key, Expr::text(id)));
        let exists = [formula!("isNotNull({0})", self.key), in_interval(&self.time, window), condition].into_iter().chain(only);
        let lets = self.reads.finish();
        let query = Query { columns, filter: Some(Expr::all(exists)), group, ..Query::default() };
        lets.beneath(query, self.asked.rows)
    }
}

/// The events of a table without those that repeat another: of one subject, type and id the earliest is kept, of one time the least by all
/// columns in the order of their names.
pub(super) fn deduplicated(table: &EventTable, rows: &Source, times: &Times, key: &Access) -> Source {
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
    let own = table.table.columns.iter().filter(|(_, stored)| !matches!(stored, ColumnType::Other(_)));
    let own = own.map(|(name, _)| (Expr::column(name), name.clone())).collect();
    let query = Query { columns: own, filter: Some(filter), ..Query::default() };
    Source::Query(Box::new(lets.beneath(query, rows)))
}

/// What is told of the events of a subject: columns of the groups, and others over those.
#[derive(Default)]
struct Told {
    grouped: Vec<(Expr, String)>,
    derived: Vec<(Expr, String)>,
}

fn measured(asked: Asked<'_>, types: Types<'_>, measures: &[Measured<'_>]) -> Result<Grouped, Unsuited> {
    let mut rows = Rows::new(asked);
    let mut told = Told::default();
    let mut values = BTreeMap::new();
    for (index, measure, members) in measures {
        let condition = condition(&mut rows, measure, *members)?;
        let condition = rows.reads.lets().0.bind(format!("feature {index} counts"), condition);
        let value = aggregate(&mut rows, *index, measure, &condition, &mut told);
        values.insert(*index, value.ok_or_else(|| Unsuited::of_aggregate(&measure.aggregate))?);
    }
    let of_type = types.map_or_else(|| Expr::all([]), |types| rows.is_of_type(types));
    let hull = measures.iter().map(|(_, measure, _)| measure.window).reduce(hull).unwrap_or(Interval { from: None, to: None });
    let key = rows.key.clone();
    let Told { mut grouped, derived } = told;
    grouped.insert(0, (key.clone(), ID.to_owned()));
    let mut observations = Vec::new();
    for (number, (kind, holds)) in rows.reads.observations().into_iter().enumerate() {
        let name = format!("observed {number} of {}", measures.first().map_or(0, |(index, ..)| *index));
        grouped.push((formula!("countIf({0})", holds), name.clone()));
        observations.push((kind, Expr::column(name)));
    }
    let mut selected: Vec<_> = grouped.iter().map(|(_, name)| (Expr::column(name), name.clone())).collect();
    let mut query = rows.query(hull, of_type, grouped, vec![key]);
    if !derived.is_empty() {
        selected.extend(derived);
        query = Query::select(selected, Source::Query(Box::new(query)));
    }
    Ok(Grouped { query, values, observations })
}

/// The smallest interval that holds both.
fn hull(one: Interval, other: Interval) -> Interval {
    Interval {
        from: one.from.zip(other.from).map(|(one, other)| one.min(other)),
        to: one.to.zip(other.to).map(|(one, other)| one.max(other)),
    }
}

/// Whether a measure counts an event of its types.
fn condition(rows: &mut Rows<'_>, measure: &BatchMeasure, members: Option<usize>) -> Result<Expr, Unsuited> {
    let mut conditions = vec![in_interval(&rows.time, measure.window)];
    if let Some(members) = members.and_then(|members| rows.asked.given.get(members)) {
        let user = rows.asked.table.user_key.as_ref().map(|access| rows.reads.key(access));
        conditions.push(
            user.map_or_else(
                || Expr::any([]),
                |user| formula!("ifNull({0} IN {1}, 0)", user, Expr::Rows(Box::new(members.clone()))),
            ),
        );
    }
    conditions.push(logic(&measure.filter, &mut |row| {
        let value = rows.reads.value(&row.value).ok_or_else(|| Unsuited::of_value(&row.value))?;
        test(&value, &row.test)
    })?);
    Ok(Expr::all(conditions))
}

/// The value of a measure, of columns that are added to those of the group; `None` when it is computed of no number.
fn aggregate(rows: &mut Rows<'_>, index: usize, measure: &BatchMeasure, condition: &Expr, told: &mut Told) -> Option<Typed> {
    let name = format!("feature {index}");
    let Told { grouped, derived } = told;
    let mut column = |expr: Expr, name: &str| {
        grouped.push((expr, name.to_owned()));
        Expr::column(name)
    };
    let mut derive = |expr: Expr| {
        derived.push((expr, name.clone()));
        Expr::column(&name)
    };
    let integer = Form::Integer { unsigned: false };
    Some(match &measure.aggregate {
        Aggregate::Count => Typed { expr: column(formula!("toInt64(countIf({0}))", condition), &name), form: integer },
        Aggregate::Active(unit) => {
            let time = rows.time.clone();
            let (lets, times) = rows.reads.lets();
            let number = times.unit(lets, "the event", *unit, &time);
            Typed { expr: column(formula!("toInt64(uniqExactIf({0}, {1}))", number, condition), &name), form: integer }
        }
        Aggregate::FirstTime | Aggregate::DaysSinceFirst | Aggregate::DaysSinceLast => {
            let end = if measure.aggregate == Aggregate::DaysSinceLast {
                formula!("maxOrNullIf({0}, {1})", rows.time, condition)
            } else {
                formula!("minOrNullIf({0}, {1})", rows.time, condition)
            };
            let is_age = measure.aggregate != Aggregate::FirstTime;
            let form = if is_age { Form::Age { as_of: rows.asked.batch.as_of } } else { Form::Instant };
            Typed { expr: column(end, &name), form }
        }
        Aggregate::Sum(access) | Aggregate::Avg(access) => {
            let (addend, scale) = rows.reads.addend(access)?;
            let sum = column(formula!("sumIf(ifNull({0}, 0), {1})", addend, condition), &name);
            if matches!(measure.aggregate, Aggregate::Sum(_)) {
                return Some(Typed { expr: sum, form: Form::Exact { scale } });
            }
            let count = column(formula!("countIf({1} AND isNotNull({0}))", addend, condition), &format!("{name} count"));
            Typed { expr: sum, form: Form::Average { scale, count: Box::new(count) } }
        }
        Aggregate::Min(access) | Aggregate::Max(access) => {
            let value = rows.reads.stored(access, Reading::Number);
            let is_min = matches!(measure.aggregate, Aggregate::Min(_));
            let expr = if value.form == Form::Mixed {
                let order = rows.reads.order_of(&access.to_string(), &value);
                let there = formula!("{0} AND isNotNull({1})", condition, order);
                if is_min {
                    formula!("argMinOrDefaultIf({0}, {1}, {2})", value.expr, order, there)
                } else {
                    formula!("argMaxOrDefaultIf({0}, {1}, {2})", value.expr, order, there)
                }
            } else if is_min {
                formula!("minOrNullIf({0}, {1})", value.expr, condition)
            } else {
                formula!("maxOrNullIf({0}, {1})", value.expr, condition)
            };
            Typed { expr: column(expr, &name), form: value.form }
        }
        Aggregate::CountDistinct(access) => {
            let identity = rows.reads.identity(access).expr;
            Typed { expr: column(formula!("toInt64(uniqExactIf({0}, {1}))", identity, condition), &name), form: integer }
        }
        Aggregate::First(access, reading) | Aggregate::Last(access, reading) => {
            let value = rows.reads.stored(access, *reading);
            let order = rows.reads.order_of(&access.to_string(), &value);
            let id = rows.asked.table.event_id.as_ref().map(|access| rows.reads.stored(access, Reading::Text).expr);
            let id = id.unwrap_or_else(|| Form::Text.missing());
            let there = formula!("{0} AND isNotNull({1})", condition, order);
            // An event without an id comes first of those at one time.
            let place = formula!("tuple({0}, isNotNull({1}), ifNull({1}, ''), {2})", rows.time, id, order);
            let expr = if matches!(measure.aggregate, Aggregate::First(..)) {
                formula!("argMinOrNullIf(tuple({0}), {1}, {2})", value.expr, place, there)
            } else {
                formula!("argMaxOrNullIf(tuple({0}), {1}, {2})", value.expr, place, there)
            };
            Typed { expr: column(formula!("tupleElement({0}, 1)", expr), &name), form: value.form }
        }
        Aggregate::MostFrequent(access, reading) => {
            let mut value = rows.reads.stored(access, *reading);
            if value.form == Form::Mixed {
                value.expr = rows.reads.lets().0.bind(format!("canonical {access}"), super::number::canonical(&value.expr));
            }
            let order = rows.reads.order_of(&format!("canonical {access}"), &value);
            let there = formula!("{0} AND isNotNull({1})", condition, order);
            // Counts by the order of the values, which ascends: the first of the greatest is the least value.
            let counts = formula!("sumMapIf([assumeNotNull({0})], [toUInt64(1)], {1})", order, there);
            let counts = column(counts, &format!("{name} tally"));
            let place = formula!("indexOf(tupleElement({0}, 2), arrayMax(tupleElement({0}, 2)))", counts);
            if value.form == Form::Mixed {
                let by_order = formula!("groupUniqArrayIf(tuple(assumeNotNull({0}), {1}), {2})", order, value.expr, there);
                let by_order = column(by_order, &format!("{name} values"));
                let found = formula!(
                    "tupleElement(arrayFirst(x -> tupleElement(x, 1) = arrayElement(tupleElement({0}, 1), {1}), {2}), 2)",
                    counts,
                    place,
                    by_order
                );
                return Some(Typed { expr: derive(found), form: value.form });
            }
            let found = formula!("if(empty(tupleElement({0}, 1)), NULL, arrayElement(tupleElement({0}, 1), {1}))", counts, place);
            Typed { expr: derive(found), form: value.form }
        }
    })
}
