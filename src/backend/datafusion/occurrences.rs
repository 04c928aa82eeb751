//! Aggregates that count how often each value occurs in a group: the number of distinct values, and the most frequent one.
//!
//! DataFusion knows no most frequent value, and counts distinct ones with a table per group, which for texts takes tens of kilobytes a
//! group however few they are. Here all groups share one table of values, and one of their occurrences.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array, Int64Builder, ListBuilder, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{HashMap, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};

use super::aggregate::{Grouped, OneGroup, internal, list_state, offset, passes, too_many};

/// How many different values a column has; NULLs do not count.
pub(super) fn count_distinct(value: Expr) -> Expr {
    call(Wanted::Distinct, value)
}

/// The most frequent value of a column, the smallest of equals; NULLs do not count.
pub(super) fn most_frequent(value: Expr) -> Expr {
    call(Wanted::MostFrequent, value)
}

fn call(wanted: Wanted, value: Expr) -> Expr {
    AggregateUDF::new_from_impl(Occurrences { wanted, signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

/// What is told of the occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Distinct,
    MostFrequent,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Occurrences {
    wanted: Wanted,
    signature: Signature,
}

impl AggregateUDFImpl for Occurrences {
    fn name(&self) -> &str {
        match self.wanted {
            Wanted::Distinct => "count_distinct",
            Wanted::MostFrequent => "most_frequent",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match self.wanted {
            Wanted::Distinct => Ok(DataType::Int64),
            Wanted::MostFrequent => arguments.first().cloned().ok_or_else(|| internal("an aggregate of nothing")),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let parts = [("values", DataType::Binary), ("counts", DataType::Int64)];
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

impl Occurrences {
    fn groups(&self, arguments: &AccumulatorArgs) -> Result<Groups> {
        let value_type = match arguments.exprs {
            [value] => value.data_type(arguments.schema)?,
            _ => return Err(internal("an aggregate takes one column")),
        };
        Groups::new(self.wanted, value_type)
    }
}

/// The occurrences in every group.
#[derive(Debug)]
struct Groups {
    wanted: Wanted,
    value_type: DataType,
    /// Turns values to bytes that compare as they do, and back.
    converter: RowConverter,
    /// Every value that occurs, numbered.
    numbers: HashMap<Arc<[u8]>, u32>,
    values: Vec<Arc<[u8]>>,
    /// How many bytes the values have.
    bytes: usize,
    /// By group and value.
    counts: HashMap<(u32, u32), i64>,
    /// How many groups there are, those without an occurrence included.
    groups: usize,
}

/// A value of a group and how often it occurs.
struct Occurrence {
    group: u32,
    value: u32,
    count: i64,
}

impl Groups {
    fn new(wanted: Wanted, value_type: DataType) -> Result<Self> {
        Ok(Self {
            wanted,
            converter: RowConverter::new(vec![SortField::new(value_type.clone())])?,
            value_type,
            numbers: HashMap::default(),
            values: Vec::new(),
            bytes: 0,
            counts: HashMap::default(),
            groups: 0,
        })
    }

    fn add(&mut self, group: usize, value: &[u8], count: i64) -> Result<()> {
        let number = match self.numbers.get(value) {
            Some(number) => *number,
            None => self.number(value)?,
        };
        let group = u32::try_from(group).map_err(|_| too_many("groups"))?;
        *self.counts.entry((group, number)).or_insert(0) += count;
        Ok(())
    }

    fn number(&mut self, value: &[u8]) -> Result<u32> {
        let number = u32::try_from(self.values.len()).map_err(|_| too_many("values"))?;
        let value: Arc<[u8]> = value.into();
        self.bytes += value.len();
        self.numbers.insert(Arc::clone(&value), number);
        self.values.push(value);
        Ok(number)
    }

    /// Takes the occurrences of the groups that are to be emitted, by group, and how many groups those are.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<Occurrence>, usize) {
        let all = std::mem::take(&mut self.counts).into_iter();
        let all = all.map(|((group, value), count)| Occurrence { group, value, count });
        let (mut taken, groups) = match emit_to {
            EmitTo::All => (all.collect::<Vec<_>>(), std::mem::take(&mut self.groups)),
            EmitTo::First(groups) => {
                let (taken, kept): (Vec<_>, Vec<_>) = all.partition(|occurrence| (occurrence.group as usize) < groups);
                let shifted = |group: u32| u32::try_from(group as usize - groups).ok();
                let kept = kept.into_iter().filter_map(|kept| Some(((shifted(kept.group)?, kept.value), kept.count)));
                self.counts.extend(kept);
                self.groups = self.groups.saturating_sub(groups);
                (taken, groups)
            }
        };
        taken.sort_unstable_by_key(|occurrence| (occurrence.group, occurrence.value));
        (taken, groups)
    }

    /// Forgets the values when no group is left to have them.
    fn forget(&mut self) {
        if self.counts.is_empty() {
            self.numbers = HashMap::default();
            self.values = Vec::new();
            self.bytes = 0;
        }
    }

    fn bytes_of(&self, value: u32) -> Result<&[u8]> {
        self.values.get(value as usize).map(AsRef::as_ref).ok_or_else(|| internal("a value without a number"))
    }

    /// The value of each group that occurs most often.
    fn most_frequent(&self, occurrences: &[Occurrence], groups: usize) -> Result<ArrayRef> {
        let mut best: HashMap<u32, (i64, &[u8])> = HashMap::default();
        for Occurrence { group, value, count } in occurrences {
            let candidate = (*count, self.bytes_of(*value)?);
            best.entry(*group)
                .and_modify(|best| {
                    if candidate.0 > best.0 || (candidate.0 == best.0 && candidate.1 < best.1) {
                        *best = candidate;
                    }
                })
                .or_insert(candidate);
        }
        let none = self.converter.convert_columns(&[new_null_array(&self.value_type, 1)])?;
        let rows = (0..groups).map(|group| match u32::try_from(group).ok().and_then(|group| best.get(&group)) {
            Some((_, value)) => *value,
            None => none.row(0).data(),
        });
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(rows.map(|bytes| parser.parse(bytes)))?;
        columns.pop().ok_or_else(|| internal("a row without a column"))
    }

    /// Every value of a column as bytes, and the rows that have one and pass the filter.
    fn encoded<'a>(
        &self,
        columns: &[ArrayRef],
        filter: Option<&'a BooleanArray>,
    ) -> Result<(Rows, impl Fn(usize) -> bool + use<'a>)> {
        let [values] = columns else { return Err(internal("an aggregate takes one column")) };
        let nulls = values.logical_nulls();
        let counts = move |row| passes(filter, row) && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Ok((self.converter.convert_columns(columns)?, counts))
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
        let (rows, counts) = self.encoded(values, filter)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| counts(*row)) {
            self.add(*group, rows.row(row).data(), 1)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups = total_num_groups;
        let [values, counts] = states else { return Err(internal("the state has two parts")) };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        let (bytes, numbers) = (values.values().as_binary::<i32>(), counts.values().as_primitive::<Int64Type>());
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| values.is_valid(*row)) {
            let (value_at, count_at) = (offset(values.value_offsets(), row)?, offset(counts.value_offsets(), row)?);
            for index in 0..usize::try_from(values.value_length(row)).unwrap_or(0) {
                self.add(*group, bytes.value(value_at + index), numbers.value(count_at + index))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (occurrences, groups) = self.take(emit_to);
        let result = match self.wanted {
            Wanted::MostFrequent => self.most_frequent(&occurrences, groups)?,
            Wanted::Distinct => {
                let mut distinct = vec![0i64; groups];
                for occurrence in occurrences {
                    if let Some(distinct) = distinct.get_mut(occurrence.group as usize) {
                        *distinct += 1;
                    }
                }
                Arc::new(Int64Array::from(distinct))
            }
        };
        self.forget();
        Ok(result)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (occurrences, groups) = self.take(emit_to);
        let mut occurrences = occurrences.into_iter().peekable();
        let mut state = State::default();
        for group in 0..groups {
            while let Some(Occurrence { value, count, .. }) = occurrences.next_if(|occurrence| occurrence.group as usize == group) {
                state.occurs(self.bytes_of(value)?, count);
            }
            state.ends();
        }
        self.forget();
        Ok(state.finish())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (rows, counts) = self.encoded(values, filter)?;
        let mut state = State::default();
        for row in 0..rows.num_rows() {
            if counts(row) {
                state.occurs(rows.row(row).data(), 1);
            }
            state.ends();
        }
        Ok(state.finish())
    }

    fn size(&self) -> usize {
        let numbers = self.numbers.capacity() * size_of::<(Arc<[u8]>, u32)>();
        let values = self.values.capacity() * size_of::<Arc<[u8]>>() + self.bytes;
        size_of_val(self) + numbers + values + self.counts.capacity() * size_of::<((u32, u32), i64)>()
    }
}

/// The occurrences of groups as they are handed from one step of an aggregate to the next.
#[derive(Default)]
struct State {
    values: ListBuilder<BinaryBuilder>,
    counts: ListBuilder<Int64Builder>,
}

impl State {
    fn occurs(&mut self, value: &[u8], count: i64) {
        self.values.values().append_value(value);
        self.counts.values().append_value(count);
    }

    /// No more of this group.
    fn ends(&mut self) {
        self.values.append(true);
        self.counts.append(true);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        vec![Arc::new(self.values.finish()), Arc::new(self.counts.finish())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringViewArray;

    fn groups(wanted: Wanted) -> Groups {
        Groups::new(wanted, DataType::Utf8View).unwrap()
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().collect::<StringViewArray>())
    }

    /// Six values of three groups, one of them missing, one filtered out; a fourth group has none.
    fn filled(wanted: Wanted) -> Groups {
        let mut groups = groups(wanted);
        let values = texts(&[Some("b"), Some("a"), None, Some("a"), Some("c"), Some("b")]);
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(true), None, Some(true)]);
        groups.update_batch(&[values], &[0, 0, 1, 2, 2, 2], Some(&filter), 4).unwrap();
        groups
    }

    fn distinct(array: &ArrayRef) -> Vec<i64> {
        array.as_primitive::<Int64Type>().values().to_vec()
    }

    fn shown(array: &ArrayRef) -> Vec<Option<&str>> {
        array.as_string_view().iter().collect()
    }

    #[test]
    fn missing_and_filtered_values_do_not_count() {
        assert_eq!(distinct(&filled(Wanted::Distinct).evaluate(EmitTo::All).unwrap()), [2, 0, 2, 0]);
        // Of equals the smallest.
        let most = filled(Wanted::MostFrequent).evaluate(EmitTo::All).unwrap();
        assert_eq!(shown(&most), [Some("a"), None, Some("a"), None]);
    }

    #[test]
    fn states_merge_to_what_they_came_from() {
        for emit in [EmitTo::All, EmitTo::First(4)] {
            let state = filled(Wanted::Distinct).state(emit).unwrap();
            let mut merged = groups(Wanted::Distinct);
            // Groups have other numbers in the next step, and several states may come to one.
            merged.merge_batch(&state, &[1, 1, 0, 2], 3).unwrap();
            assert_eq!(distinct(&merged.evaluate(EmitTo::All).unwrap()), [2, 2, 0]);
        }
        let state = filled(Wanted::MostFrequent).state(EmitTo::All).unwrap();
        let mut merged = groups(Wanted::MostFrequent);
        merged.merge_batch(&state, &[0, 0, 0, 0], 1).unwrap();
        merged.update_batch(&[texts(&[Some("b")])], &[0], None, 1).unwrap();
        assert_eq!(shown(&merged.evaluate(EmitTo::All).unwrap()), [Some("b")]);
    }

    #[test]
    fn rows_are_states_of_their_own() {
        let rows = [texts(&[Some("x"), None, Some("x"), Some("y")])];
        let filter = BooleanArray::from(vec![true, true, true, false]);
        let state = groups(Wanted::Distinct).convert_to_state(&rows, Some(&filter)).unwrap();
        let mut merged = groups(Wanted::Distinct);
        merged.merge_batch(&state, &[0, 0, 1, 1], 2).unwrap();
        assert_eq!(distinct(&merged.evaluate(EmitTo::All).unwrap()), [1, 1]);
    }

    #[test]
    fn the_groups_that_stay_move_up() {
        let mut groups = filled(Wanted::Distinct);
        assert_eq!(distinct(&groups.evaluate(EmitTo::First(2)).unwrap()), [2, 0]);
        groups.update_batch(&[texts(&[Some("z"), Some("z")])], &[0, 1], None, 2).unwrap();
        assert_eq!(distinct(&groups.evaluate(EmitTo::All).unwrap()), [3, 1]);
        // Nothing of what was told is left.
        assert_eq!((groups.values.len(), groups.counts.len(), groups.groups), (0, 0, 0));
    }
}
