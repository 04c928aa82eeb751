//! What the aggregates of ours have in common.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// A part of a state: for every group a list.
pub(super) fn list_state(name: &str, part: &str, element: DataType) -> FieldRef {
    Arc::new(Field::new_list(format_state_name(name, part), Field::new_list_field(element, true), true))
}

/// An aggregate of all groups that can be told that there is only one.
pub(super) trait Grouped: GroupsAccumulator + Debug + Sync {
    /// There is one group, whether it has rows or not.
    fn has_one_group(&mut self);
}

/// An aggregate without groups.
#[derive(Debug)]
pub(super) struct OneGroup<G>(pub(super) G);

impl<G: Grouped> Accumulator for OneGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |values| values.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |values| values.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.has_one_group();
        self.0.state(EmitTo::All)?.iter().map(|part| ScalarValue::try_from_array(part, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.has_one_group();
        ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

/// Whether an aggregate meets a row.
pub(super) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// Where the list of a row begins.
pub(super) fn offset(offsets: &[i32], row: usize) -> Result<usize> {
    offsets.get(row).and_then(|offset| usize::try_from(*offset).ok()).ok_or_else(|| internal("a list without a start"))
}

/// An error of ours.
pub(super) fn internal(problem: &str) -> DataFusionError {
    DataFusionError::Internal(problem.to_owned())
}

/// More groups or values than an aggregate can number.
pub(super) fn too_many(what: &str) -> DataFusionError {
    DataFusionError::ResourcesExhausted(format!("an aggregate meets more than 2^32 {what}"))
}
