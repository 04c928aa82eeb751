//! The events of subjects, and the measures over them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bigdecimal::BigDecimal;
use chrono::Datelike;
use segmenta::check::{
    CheckedEvents, CheckedLifecycle, CheckedMeasure, CheckedRow, CheckedSequence, CheckedSignal, CheckedStep, NumberMeasure,
    Reading, RowMeasure, ValueMeasure,
};
use segmenta::model::catalog::{Access, EventTable};
use segmenta::model::condition::{EventTypePattern, LifecyclePattern, Logic, Subject};

use super::compare;
use super::dates::{Calendar, NEVER};
use super::read::{self, Seen, days};
use super::value::{Number, Row, Value};

/// An event that exists: it has a key and a time, before `as_of`.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: i64,
    event_type: Option<String>,
    id: Option<String>,
    row: Row,
}

/// The events by subject.
pub(crate) fn by_subject(rows: &[Row], table: &EventTable, subject: Subject, calendar: &Calendar) -> BTreeMap<String, Vec<Event>> {
    table.key(subject).map(|key| by_key(rows, table, key, calendar)).unwrap_or_default()
}

/// The events by what stands in a property of theirs.
pub(crate) fn by_key(rows: &[Row], table: &EventTable, key: &Access, calendar: &Calendar) -> BTreeMap<String, Vec<Event>> {
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let text = |row: &Row, access: &Access| read::text(&read::stored(row, access)?);
    for row in rows {
        let Some(key) = text(row, key).filter(|key| !key.is_empty()) else { continue };
        let Some(at) = read::stored(row, &table.timestamp).and_then(|value| read::date(&value, calendar)) else { continue };
        if at >= calendar.as_of {
            continue;
        }
        let event_type = table.event_type.as_ref().and_then(|access| text(row, access));
        let id = table.event_id.as_ref().and_then(|access| text(row, access));
        events.entry(key).or_default().push(Event { at, event_type, id, row: row.clone() });
    }
    if table.deduplicate {
        for events in events.values_mut() {
            deduplicate(events);
        }
    }
    events
}

/// Keeps one event of each type and id: the earliest, then the least by its columns in the order of their names.
fn deduplicate(events: &mut Vec<Event>) {
    let all = std::mem::take(events);
    for event in all {
        let twin = events.iter_mut().find(|kept| event.id.is_some() && kept.id == event.id && kept.event_type == event.event_type);
        match twin {
            Some(kept) => {
                if event.at.cmp(&kept.at).then_with(|| compare_rows(&event.row, &kept.row)) == Ordering::Less {
                    *kept = event;
                }
            }
            None => events.push(event),
        }
    }
}

fn compare_rows(left: &Row, right: &Row) -> Ordering {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let value = |row: &Row, name: &String| row.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .map(|name| compare_stored(&value(left, name), &value(right, name)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The order of the values of one column, NULL first; NaN is the greatest of doubles here, as it is for IEEE 754.
pub(crate) fn compare_stored(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::F64(left), Value::F64(right)) => left.total_cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::List(left), Value::List(right)) => {
            let pairs = left.iter().zip(right).map(|(left, right)| compare_stored(left, right)).find(|order| order.is_ne());
            pairs.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (left, right) => match (read::number(left), read::number(right)) {
            (Some(left), Some(right)) => left.compare(&right),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        },
    }
}

/// What a condition sees of the events of one subject.
pub(crate) fn measure(events: &[Event], condition: &CheckedEvents, calendar: &Calendar) -> Option<Seen> {
    let (from, to) = calendar.window(&condition.window);
    let matching: Vec<&Event> = events
        .iter()
        .filter(|event| from <= event.at && event.at < to)
        .filter(|event| type_matches(event, condition.event_type.as_deref()))
        .filter(|event| condition.filter.iter().all(|node| row_holds(&event.row, node, calendar)))
        .collect();
    match &condition.measure {
        CheckedMeasure::Rows(measure) => row_measure(&matching, *measure, calendar),
        CheckedMeasure::Number(NumberMeasure::CountDistinct, access) => {
            Some(Seen::Number(Number::integer(count_distinct(&matching, access))))
        }
        CheckedMeasure::Number(measure, access) => number_measure(&matching, *measure, access),
        CheckedMeasure::Value(measure, access, reading) => value_measure(&matching, *measure, access, *reading, calendar),
    }
}

/// How many events of members name the product, of the events that do.
pub(crate) fn signal(
    events: &[Event],
    signal: &CheckedSignal,
    members: &BTreeSet<String>,
    table: &EventTable,
    calendar: &Calendar,
) -> Seen {
    let (from, to) = calendar.window(&signal.window);
    let user = |event: &Event| read::text(&read::stored(&event.row, table.user_key.as_ref()?)?);
    let counted = events
        .iter()
        .filter(|event| from <= event.at && event.at < to)
        .filter(|event| type_matches(event, Some(&signal.event_type)))
        .filter(|event| user(event).is_some_and(|user| members.contains(&user)));
    Seen::Number(Number::integer(u64::try_from(counted.count()).expect("a count")))
}

/// Whether events of one subject are the steps in order: every choice of events is tried.
pub(crate) fn sequence_holds(events: &[Event], sequence: &CheckedSequence, calendar: &Calendar) -> bool {
    let same = |event: &Event| -> Option<Vec<Seen>> {
        sequence.same.iter().map(|access| scalar(read::stored(&event.row, access)?)).collect()
    };
    let taking_part: Vec<(&Event, Vec<Seen>)> = events.iter().filter_map(|event| Some((event, same(event)?))).collect();
    let steps = sequence.steps.as_slice();
    let (from, to) = calendar.window(&sequence.window);
    let firsts =
        taking_part.iter().filter(|(event, _)| from <= event.at && event.at < to && step_matches(event, &steps[0], calendar));
    let ends_well = |first: &(&Event, Vec<Seen>)| {
        let (event, values) = first;
        let equal: Vec<&Event> =
            taking_part.iter().filter(|(_, other)| all_equal(other, values)).map(|(event, _)| *event).collect();
        let until = sequence.within.map_or(i64::MAX, |within| calendar.after(event.at, within));
        let allowed: Vec<&Event> =
            equal.iter().copied().filter(|event| from <= event.at && event.at < to && event.at <= until).collect();
        last_events(event, &steps[1..], &allowed, calendar).into_iter().any(|last| match (&sequence.absent, sequence.within) {
            (Some(absent), Some(within)) => {
                let end = calendar.after(last, within);
                let follows = |event: &&&Event| event.at > last && event.at <= end && step_matches(event, absent, calendar);
                end <= calendar.as_of && equal.iter().find(follows).is_none()
            }
            _ => true,
        })
    };
    firsts.into_iter().any(ends_well)
}

/// The times at which a sequence can end that goes on after an event with these steps.
fn last_events(event: &Event, steps: &[CheckedStep], allowed: &[&Event], calendar: &Calendar) -> BTreeSet<i64> {
    let Some((step, rest)) = steps.split_first() else { return BTreeSet::from([event.at]) };
    let next = allowed.iter().filter(|next| next.at > event.at && step_matches(next, step, calendar));
    next.flat_map(|next| last_events(next, rest, allowed, calendar)).collect()
}

fn step_matches(event: &Event, step: &CheckedStep, calendar: &Calendar) -> bool {
    type_matches(event, step.event_type.as_deref()) && step.filter.iter().all(|node| row_holds(&event.row, node, calendar))
}

fn all_equal(left: &[Seen], right: &[Seen]) -> bool {
    left.iter().zip(right).all(|(left, right)| compare_seen(left, right) == Some(Ordering::Equal))
}

/// Whether the events of one subject follow a pattern over time.
pub(crate) fn lifecycle_holds(events: &[Event], lifecycle: &CheckedLifecycle, calendar: &Calendar) -> bool {
    let times: Vec<i64> = events
        .iter()
        .filter(|event| type_matches(event, lifecycle.event_type.as_deref()))
        .filter(|event| lifecycle.filter.iter().all(|node| row_holds(&event.row, node, calendar)))
        .map(|event| event.at)
        .collect();
    let count = |from: i64, to: i64| times.iter().filter(|at| (from..to).contains(*at)).count();
    let now = calendar.as_of;
    match &lifecycle.pattern {
        LifecyclePattern::FirstTime(window) => {
            let (from, to) = calendar.window(window);
            times.iter().min().is_some_and(|first| (from..to).contains(first))
        }
        LifecyclePattern::Stopped { active, quiet } => {
            let (active, quiet) = (calendar.ago(*active, 1), calendar.ago(*quiet, 1));
            count(active, quiet) > 0 && count(quiet, now) == 0
        }
        LifecyclePattern::Restarted { quiet, recent } => {
            let (quiet, recent) = (calendar.ago(*quiet, 1), calendar.ago(*recent, 1));
            count(NEVER, quiet) > 0 && count(quiet, recent) == 0 && count(recent, now) > 0
        }
        LifecyclePattern::Regular { period, periods, at_least, count: wanted } => {
            let lively = (0..*periods).filter(|index| {
                let end = if *index == 0 { now } else { calendar.ago(*period, *index) };
                count(calendar.ago(*period, index + 1), end) as u64 >= wanted.unwrap_or(1)
            });
            lively.count() as u64 >= *at_least
        }
    }
}

fn type_matches(event: &Event, patterns: Option<&[EventTypePattern]>) -> bool {
    let Some(patterns) = patterns else { return true };
    let Some(event_type) = &event.event_type else { return false };
    patterns.iter().any(|pattern| match pattern {
        EventTypePattern::Exact(exact) => event_type == exact,
        EventTypePattern::Prefix(prefix) => event_type.starts_with(prefix),
    })
}

fn row_holds(row: &Row, node: &CheckedRow, calendar: &Calendar) -> bool {
    match node {
        CheckedRow::Group { logic: Logic::And, conditions } => conditions.iter().all(|node| row_holds(row, node, calendar)),
        CheckedRow::Group { logic: Logic::Or, conditions } => conditions.iter().any(|node| row_holds(row, node, calendar)),
        CheckedRow::AtLeast { count, of } => of.iter().filter(|node| row_holds(row, node, calendar)).count() >= *count,
        CheckedRow::Not(node) => !row_holds(row, node, calendar),
        CheckedRow::Test(attribute) => {
            let seen = read::property(row, &attribute.property, attribute.reading, calendar);
            compare::holds(seen.as_ref(), &attribute.test, calendar)
        }
    }
}

fn row_measure(events: &[&Event], measure: RowMeasure, calendar: &Calendar) -> Option<Seen> {
    let date = |event: &&Event| calendar.local_date(event.at);
    let since = |at: i64| days(i128::from(calendar.as_of) - i128::from(at));
    let count = |count: usize| Number::integer(u64::try_from(count).expect("a count"));
    Some(Seen::Number(match measure {
        RowMeasure::Count => count(events.len()),
        RowMeasure::ActiveDays => count(events.iter().map(date).collect::<BTreeSet<_>>().len()),
        RowMeasure::ActiveWeeks => {
            let weeks = events.iter().map(date).map(|date| (date.iso_week().year(), date.iso_week().week()));
            count(weeks.collect::<BTreeSet<_>>().len())
        }
        RowMeasure::ActiveMonths => {
            count(events.iter().map(date).map(|date| (date.year(), date.month())).collect::<BTreeSet<_>>().len())
        }
        RowMeasure::DaysSinceFirst => since(events.iter().map(|event| event.at).min()?),
        RowMeasure::DaysSinceLast => since(events.iter().map(|event| event.at).max()?),
    }))
}

fn number_measure(events: &[&Event], measure: NumberMeasure, access: &Access) -> Option<Seen> {
    let numbers: Vec<Number> = events.iter().filter_map(|event| read::number(&read::stored(&event.row, access)?)).collect();
    let addends: Vec<BigDecimal> = numbers.iter().filter_map(Number::addend).collect();
    let sum: BigDecimal = addends.iter().sum();
    let count = BigDecimal::from(u64::try_from(addends.len()).expect("a count"));
    Some(Seen::Number(match measure {
        NumberMeasure::Sum => Number::Exact(sum),
        NumberMeasure::Avg if addends.is_empty() => return None,
        NumberMeasure::Avg => Number::Ratio(sum, count),
        NumberMeasure::Min => numbers.into_iter().min_by(Number::compare)?,
        NumberMeasure::Max => numbers.into_iter().max_by(Number::compare)?,
        NumberMeasure::CountDistinct => unreachable!("it counts more than numbers"),
    }))
}

/// How many distinct scalars: equal as numbers, or as the same text, boolean or instant.
fn count_distinct(events: &[&Event], access: &Access) -> u64 {
    let mut distinct: Vec<Seen> = Vec::new();
    for event in events {
        let Some(value) = read::stored(&event.row, access) else { continue };
        let Some(scalar) = scalar(value) else { continue };
        if !distinct.iter().any(|other| compare_seen(other, &scalar) == Some(Ordering::Equal)) {
            distinct.push(scalar);
        }
    }
    u64::try_from(distinct.len()).expect("a count")
}

/// A single value, as what it is; `None` for what is none.
fn scalar(value: Value) -> Option<Seen> {
    match value {
        Value::Text(text) => Some(Seen::Text(text)),
        Value::Bool(value) => Some(Seen::Boolean(value)),
        Value::Timestamp(at) => Some(Seen::Date(at)),
        Value::Date(day) => Some(Seen::Date(day.into())),
        Value::I64(_) | Value::U64(_) | Value::F64(_) | Value::Decimal { .. } | Value::JsonNumber(_) => {
            read::number(&value).map(Seen::Number)
        }
        Value::Null | Value::NoText | Value::List(_) | Value::Object(_) => None,
    }
}

/// The order of values of one reading; `None` when they are of different kinds.
fn compare_seen(left: &Seen, right: &Seen) -> Option<Ordering> {
    match (left, right) {
        (Seen::Text(left), Seen::Text(right)) => Some(left.cmp(right)),
        (Seen::Number(left), Seen::Number(right)) => Some(left.compare(right)),
        (Seen::Boolean(left), Seen::Boolean(right)) => Some(left.cmp(right)),
        (Seen::Date(left), Seen::Date(right)) => Some(left.cmp(right)),
        (Seen::Elements(left), Seen::Elements(right)) => {
            Some(compare_stored(&Value::List(left.clone()), &Value::List(right.clone())))
        }
        (Seen::Stored(left), Seen::Stored(right)) => Some(compare_stored(left, right)),
        (Seen::Text(_) | Seen::Number(_) | Seen::Boolean(_) | Seen::Date(_) | Seen::Elements(_) | Seen::Stored(_), _) => None,
    }
}

fn value_measure(events: &[&Event], measure: ValueMeasure, access: &Access, reading: Reading, calendar: &Calendar) -> Option<Seen> {
    let order = |left: &Seen, right: &Seen| compare_seen(left, right).unwrap_or(Ordering::Equal);
    let mut carrying: Vec<(&Event, Seen)> = events
        .iter()
        .filter_map(|event| Some((*event, read::read(read::stored(&event.row, access)?, reading, calendar)?)))
        .collect();
    carrying.sort_by(|(left, left_value), (right, right_value)| {
        left.at.cmp(&right.at).then_with(|| left.id.cmp(&right.id)).then_with(|| order(left_value, right_value))
    });
    match measure {
        ValueMeasure::First => carrying.into_iter().next().map(|(_, value)| value),
        ValueMeasure::Last => carrying.into_iter().next_back().map(|(_, value)| value),
        ValueMeasure::MostFrequent => {
            let mut counts: Vec<(Seen, usize)> = Vec::new();
            for (_, value) in carrying {
                match counts.iter_mut().find(|(other, _)| order(other, &value).is_eq()) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((value, 1)),
                }
            }
            counts.sort_by(|(left, left_count), (right, right_count)| right_count.cmp(left_count).then_with(|| order(left, right)));
            counts.into_iter().next().map(|(value, _)| value)
        }
    }
}
