//! Sequences: events of a subject, equal in some properties, folded over in the order of their times. Events of one time are one, since times
//! of a match ascend strictly. For every step the fold keeps the latest deadline that a match up to that step still has.

use super::events::{Asked, ID, Rows};
use super::form::{Form, Typed};
use super::parts::is_of;
use super::predicate::{Unsuited, in_interval, logic, test};
use super::sql::{Expr, Query, Source, formula};
use crate::model::window::Interval;
use crate::plan::{BatchSequence, BatchStep};

/// The query of one sequence.
pub(super) fn sequence(asked: Asked<'_>, index: usize, of: &BatchSequence) -> Result<(Query, Typed), Unsuited> {
    let types: Option<Vec<_>> =
        of.steps.iter().chain(of.absent.as_ref().map(|(step, _)| step)).map(|step| step.event_type.as_deref()).collect();
    let mut rows = Rows::new(asked, &|event_type| {
        types.as_ref().map_or_else(|| Expr::all([]), |types| is_of(event_type, types.iter().copied().flatten()))
    });
    let time = rows.time.clone();
    let step = |rows: &mut Rows<'_>, step: &BatchStep| {
        let of_type = step.event_type.as_ref().map(|types| rows.is_of_type(types));
        let passes = logic(&step.filter, &mut |row| {
            let value = rows.reads.value(&row.value).ok_or_else(|| Unsuited::of_value(&row.value.value))?;
            test(&value, &row.test)
        })?;
        Ok(Expr::all(of_type.into_iter().chain([passes])))
    };
    // A bit for each step, the lowest for the first; what must be absent is the one after the last.
    let in_window = in_interval(&time, of.window);
    let mut bits = Vec::new();
    for (number, one) in of.steps.iter().enumerate() {
        let passes = step(&mut rows, one)?;
        bits.push(formula!("if({0} AND {1}, toUInt64({2}), 0)", in_window, passes, Expr::number("UInt64", 1u64 << number)));
    }
    if let Some((absent, _)) = &of.absent {
        let passes = step(&mut rows, absent)?;
        bits.push(formula!("if({0}, toUInt64({1}), 0)", passes, Expr::number("UInt64", 1u64 << of.steps.len())));
    }
    let mask = rows.reads.lets().0.bind("steps".to_owned(), Expr::sum(bits));
    let deadline = match of.within {
        Some(within) => {
            let (lets, times) = rows.reads.lets();
            let later = times.after(lets, "the event", &time, within);
            lets.bind("deadline".to_owned(), later)
        }
        None => formula!("toInt64(9223372036854775807)"),
    };
    let same: Vec<Expr> = of.same.iter().map(|access| rows.reads.identity(access).expr).collect();
    let (key, there) = (rows.key.clone(), Expr::all(same.iter().map(|value| formula!("isNotNull({0})", value))));
    let until = of.absent.as_ref().map_or(asked.batch.as_of, |(_, as_of)| *as_of);
    let hull = if of.absent.is_some() { Interval { to: Some(until), ..of.window } } else { of.window };
    // Events of one time.
    let mut columns = vec![(key.clone(), ID.to_owned()), (time.clone(), "at".to_owned())];
    columns.push((formula!("any({0})", deadline), "until".to_owned()));
    columns.push((formula!("groupBitOr({0})", mask), "matched".to_owned()));
    columns.extend(same.iter().enumerate().map(|(number, value)| (value.clone(), same_column(number))));
    let group = [key.clone(), time.clone()].into_iter().chain(same.iter().cloned()).collect();
    let moments = rows.query(hull, Some(formula!("({0} > 0 AND {1})", mask, there)), columns, group);

    // Those of one subject and one value of what must be the same.
    let id = Expr::column(ID);
    let ordered = formula!("arraySort(groupArray(tuple(assumeNotNull(`at`), assumeNotNull(`until`), assumeNotNull(`matched`))))");
    let group: Vec<Expr> =
        std::iter::once(id.clone()).chain((0..same.len()).map(|number| Expr::column(same_column(number)))).collect();
    let columns = vec![(id.clone(), ID.to_owned()), (ordered, "events".to_owned())];
    let each = Query { group, ..Query::select(columns, Source::Query(Box::new(moments))) };

    let holds = holds(of, until.as_microsecond());
    let name = format!("feature {index}");
    let columns = vec![(id.clone(), ID.to_owned()), (formula!("max({0})", holds), name.clone())];
    let query = Query { group: vec![id], ..Query::select(columns, Source::Query(Box::new(each))) };
    Ok((query, Typed { expr: formula!("ifNull({0}, 0)", Expr::column(name)), form: Form::Boolean }))
}

/// Whether `events`, ascending, contain the steps.
fn holds(of: &BatchSequence, as_of: i64) -> Expr {
    let steps = Expr::number("UInt64", of.steps.len());
    // For each step the latest deadline of a match that ends with it; and the events that complete one, with their own deadlines.
    let folded = formula!(
        "arrayFold((acc, e) -> tuple(\
         arrayMap((own, before, step) -> if(bitTest(tupleElement(e, 3), step), greatest(own, if(step = 0, tupleElement(e, 2), \
         if(before >= tupleElement(e, 1), before, own))), own), \
         tupleElement(acc, 1), arrayShiftRight(tupleElement(acc, 1), 1, toInt64(-9223372036854775808)), range({0})), \
         if(bitTest(tupleElement(e, 3), {0} - 1) AND ({0} = 1 OR \
         arrayElement(arrayPushFront(tupleElement(acc, 1), toInt64(9223372036854775807)), {0}) >= tupleElement(e, 1)), \
         arrayPushBack(tupleElement(acc, 2), tuple(tupleElement(e, 1), tupleElement(e, 2))), tupleElement(acc, 2))), \
         `events`, tuple(arrayWithConstant({0}, toInt64(-9223372036854775808)), \
         CAST([] AS Array(Tuple(Int64, Int64)))))",
        steps
    );
    let completed = formula!("tupleElement({0}, 2)", folded);
    if of.absent.is_none() {
        return formula!("notEmpty({0})", completed);
    }
    // Nothing follows strictly later and up to the deadline, which is over.
    formula!(
        "arrayExists(last -> tupleElement(last, 2) <= {1} AND NOT arrayExists(e -> bitTest(tupleElement(e, 3), {2}) \
         AND tupleElement(e, 1) > tupleElement(last, 1) AND tupleElement(e, 1) <= tupleElement(last, 2), `events`), {0})",
        completed,
        Expr::number("Int64", as_of),
        steps
    )
}

fn same_column(number: usize) -> String {
    format!("same {number}")
}
