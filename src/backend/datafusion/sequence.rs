//! Sequences: an aggregate that keeps the events of each subject that some step matches, puts them in order, and walks them once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Builder, ListBuilder, TimestampMicrosecondArray, UInt64Array,
    UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type, TimestampMicrosecondType, UInt64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};
use jiff::Timestamp;

use super::aggregate::{Grouped, OneGroup, internal, list_state, offset, passes, too_many};
use super::date::Local;
use super::function::{Kernel, argument, call};
use crate::model::window::Duration;

/// What a sequence asks of the events of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// How many steps must be there. Step i is bit i of a mask.
    pub(super) steps: usize,
    /// Whether the step after them, the next bit, must not follow.
    pub(super) absent: bool,
    /// How long after the first event the last one may be.
    pub(super) within: Option<Duration>,
    /// For lengths of time on the wall clock.
    pub(super) local: Local,
}

/// Whether the events of a group contain the sequence. `steps` are the conditions of the steps in order, the absent one last; `same`
/// the values that are equal on all events, NULL on an event that takes no part.
pub(super) fn sequence(pattern: Pattern, time: Expr, steps: Vec<Expr>, same: Vec<Expr>) -> Expr {
    let mask = call(StepMask, steps);
    let arguments: Vec<Expr> = [time, mask].into_iter().chain(same).collect();
    let signature = Signature::any(arguments.len(), Volatility::Immutable);
    AggregateUDF::new_from_impl(Sequence { pattern, signature }).call(arguments)
}

/// The steps that an event matches: bit i for condition i.
#[derive(Debug, PartialEq, Eq, Hash)]
struct StepMask;

impl Kernel for StepMask {
    fn name(&self) -> String {
        "matched_steps".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::UInt64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let mut masks = vec![0u64; argument(arguments, 0)?.len()];
        for (step, matches) in arguments.iter().enumerate() {
            let matches = matches.as_boolean();
            for (row, mask) in masks.iter_mut().enumerate() {
                if matches.is_valid(row) && matches.value(row) {
                    *mask |= 1 << step;
                }
            }
        }
        Ok(Arc::new(UInt64Array::from(masks)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sequence {
    pattern: Pattern,
    signature: Signature,
}

impl AggregateUDFImpl for Sequence {
    fn name(&self) -> &str {
        "has_sequence"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let parts = [("times", DataType::Int64), ("steps", DataType::UInt64), ("same", DataType::Binary)];
        Ok(parts.map(|(part, element)| list_state(arguments.name, part, element)).to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(self.groups(&arguments)?)))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&arguments)?))
    }
}

impl Sequence {
    fn groups(&self, arguments: &AccumulatorArgs) -> Result<Groups> {
        let same = arguments.exprs.get(2..).unwrap_or_default();
        let types = same.iter().map(|value| value.data_type(arguments.schema)).collect::<Result<Vec<_>>>()?;
        Groups::new(self.pattern.clone(), &types)
    }
}

/// The events of every group that some step matches.
#[derive(Debug)]
struct Groups {
    pattern: Pattern,
    /// Turns the values that must be equal to bytes.
    converter: RowConverter,
    /// Every combination of such values, numbered; the only one when there are none.
    numbers: HashMap<Arc<[u8]>, u32>,
    same: Vec<Arc<[u8]>>,
    /// How many bytes they have.
    bytes: usize,
    events: Vec<Matched>,
    /// How many groups there are, those without an event included.
    groups: usize,
}

/// An event that some step matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Matched {
    group: u32,
    same: u32,
    /// Microseconds.
    time: i64,
    steps: u64,
}

impl Groups {
    fn new(pattern: Pattern, types: &[DataType]) -> Result<Self> {
        Ok(Self {
            pattern,
            converter: RowConverter::new(types.iter().cloned().map(SortField::new).collect())?,
            numbers: HashMap::new(),
            same: Vec::new(),
            bytes: 0,
            events: Vec::new(),
            groups: 0,
        })
    }

    fn add(&mut self, group: usize, time: i64, steps: u64, same: &[u8]) -> Result<()> {
        let numbered = u32::try_from(self.same.len()).map_err(|_| too_many("values"))?;
        let same = match self.numbers.entry(Arc::from(same)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.bytes += same.len();
                self.same.push(Arc::clone(new.key()));
                *new.insert(numbered)
            }
        };
        let group = u32::try_from(group).map_err(|_| too_many("groups"))?;
        self.events.push(Matched { group, same, time, steps });
        Ok(())
    }

    /// Takes the events of the groups that are emitted, in the order in which they are walked, and renumbers the others.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<Matched>, usize) {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups.min(self.groups),
        };
        self.groups -= groups;
        let limit = u32::try_from(groups).unwrap_or(u32::MAX);
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for event in std::mem::take(&mut self.events) {
            if event.group < limit {
                taken.push(event);
            } else {
                kept.push(Matched { group: event.group - limit, ..event });
            }
        }
        self.events = kept;
        taken.sort_unstable();
        (taken, groups)
    }
}

impl Grouped for Groups {
    fn has_one_group(&mut self) {
        self.groups = 1;
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        if !(0..group_indices.len()).any(|row| passes(filter, row)) {
            return Ok(());
        }
        let rows = Rows::of(&self.converter, values)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| passes(filter, *row)) {
            if let Some((time, steps, same)) = rows.get(row) {
                self.add(*group, time, steps, same)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = total_num_groups;
        let [times, steps, same] = states else { return Err(internal("the state has three parts")) };
        let (times, steps, same) = (times.as_list::<i32>(), steps.as_list::<i32>(), same.as_list::<i32>());
        let (at, masks) = (times.values().as_primitive::<Int64Type>(), steps.values().as_primitive::<UInt64Type>());
        let bytes = same.values().as_binary::<i32>();
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| times.is_valid(*row)) {
            let starts = [times.value_offsets(), steps.value_offsets(), same.value_offsets()];
            let [time_at, steps_at, same_at] = starts.map(|offsets| offset(offsets, row));
            let (time_at, steps_at, same_at) = (time_at?, steps_at?, same_at?);
            for index in 0..usize::try_from(times.value_length(row)).unwrap_or(0) {
                self.add(*group, at.value(time_at + index), masks.value(steps_at + index), bytes.value(same_at + index))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (events, groups) = self.take(emit_to);
        let mut holds = vec![false; groups];
        for run in events.chunk_by(|one, next| (one.group, one.same) == (next.group, next.same)) {
            let group = run.first().and_then(|event| holds.get_mut(event.group as usize));
            if let Some(holds) = group.filter(|holds| !**holds) {
                *holds = self.pattern.is_in(run);
            }
        }
        Ok(Arc::new(BooleanArray::from(holds)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (events, groups) = self.take(emit_to);
        let mut events = events.into_iter().peekable();
        let mut state = State::default();
        for group in 0..groups {
            while let Some(event) = events.next_if(|event| event.group as usize == group) {
                let same = self.same.get(event.same as usize).ok_or_else(|| internal("values without a number"))?;
                state.add(event.time, event.steps, same);
            }
            state.ends();
        }
        Ok(state.finish())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = Rows::of(&self.converter, values)?;
        let mut state = State::default();
        for row in 0..rows.times.len() {
            if let Some((time, steps, same)) = rows.get(row).filter(|_| passes(filter, row)) {
                state.add(time, steps, same);
            }
            state.ends();
        }
        Ok(state.finish())
    }

    fn size(&self) -> usize {
        let numbers = self.numbers.capacity() * size_of::<(Arc<[u8]>, u32)>();
        let same = self.same.capacity() * size_of::<Arc<[u8]>>() + self.bytes;
        size_of_val(self) + numbers + same + self.events.capacity() * size_of::<Matched>()
    }
}

impl Pattern {
    /// Whether events of one subject with equal values, by time, contain the sequence.
    fn is_in(&self, events: &[Matched]) -> bool {
        // Of the chains of so many steps up to now, until when the latest may go on: that one can do what any other can.
        let mut until: Vec<Option<i64>> = vec![None; self.steps];
        for simultaneous in events.chunk_by(|one, next| one.time == next.time) {
            let mut next = until.clone();
            for Matched { time, steps, .. } in simultaneous {
                for step in (0..self.steps).filter(|step| steps & (1 << step) != 0) {
                    let before = match step.checked_sub(1) {
                        None => Some(self.deadline(*time)),
                        // Only what is strictly earlier comes before.
                        Some(before) => until.get(before).copied().flatten().filter(|until| time <= until),
                    };
                    let Some(longest) = next.get_mut(step) else { continue };
                    *longest = (*longest).max(before);
                    let is_last = step + 1 == self.steps;
                    if is_last && before.is_some() && (!self.absent || self.is_absent_after(*time, events)) {
                        return true;
                    }
                }
            }
            until = next;
        }
        false
    }

    /// Whether the absent step does not follow an event, and the time in which it could is over.
    fn is_absent_after(&self, time: i64, events: &[Matched]) -> bool {
        let deadline = self.deadline(time);
        let later = events.partition_point(|event| event.time <= time);
        let follows = events.iter().skip(later).take_while(|event| event.time <= deadline);
        let mut follows = follows.filter(|event| event.steps & (1 << self.steps) != 0);
        deadline <= self.local.calendar.as_of().as_microsecond() && follows.next().is_none()
    }

    /// Until when a sequence that begins at a time may go on, in microseconds.
    fn deadline(&self, time: i64) -> i64 {
        let Some(within) = self.within else { return i64::MAX };
        if let Some(seconds) = within.unit.exact_seconds() {
            return time.saturating_add(seconds.saturating_mul(i64::from(within.amount)).saturating_mul(1_000_000));
        }
        Timestamp::from_microsecond(time).map_or(i64::MAX, |time| self.local.calendar.after(time, within).as_microsecond())
    }
}

/// The columns of an aggregate's input.
struct Rows<'a> {
    times: &'a TimestampMicrosecondArray,
    steps: &'a UInt64Array,
    /// `None` when nothing must be equal.
    same: Option<datafusion::arrow::row::Rows>,
    /// The values that must be equal.
    values: &'a [ArrayRef],
}

impl<'a> Rows<'a> {
    fn of(converter: &RowConverter, columns: &'a [ArrayRef]) -> Result<Self> {
        let (times, steps) = (argument(columns, 0)?, argument(columns, 1)?);
        let values = columns.get(2..).unwrap_or_default();
        let same = if values.is_empty() { None } else { Some(converter.convert_columns(values)?) };
        let times = times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| internal("times are instants"))?;
        Ok(Self { times, steps: steps.as_primitive::<UInt64Type>(), same, values })
    }

    /// An event that some step matches, and that has all values that must be equal.
    fn get(&self, row: usize) -> Option<(i64, u64, &[u8])> {
        let steps = self.steps.value(row);
        let takes_part = steps != 0 && self.times.is_valid(row) && self.values.iter().all(|values| values.is_valid(row));
        takes_part.then(|| (self.times.value(row), steps, self.same.as_ref().map_or(&[][..], |same| same.row(row).data())))
    }
}

/// The events of groups as they are handed from one step of an aggregate to the next.
#[derive(Default)]
struct State {
    times: ListBuilder<Int64Builder>,
    steps: ListBuilder<UInt64Builder>,
    same: ListBuilder<BinaryBuilder>,
}

impl State {
    fn add(&mut self, time: i64, steps: u64, same: &[u8]) {
        self.times.values().append_value(time);
        self.steps.values().append_value(steps);
        self.same.values().append_value(same);
    }

    /// No more of this group.
    fn ends(&mut self) {
        self.times.append(true);
        self.steps.append(true);
        self.same.append(true);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        vec![Arc::new(self.times.finish()), Arc::new(self.steps.finish()), Arc::new(self.same.finish())]
    }
}
