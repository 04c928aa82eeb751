//! The outputs of a batch as columns: each once, after those that it refers to.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use super::assembly::{SUBJECT, output_column, test_column};
use super::function::{Kernel, call, text_argument};
use super::predicate::formula;
use super::ranking::ranking_column;
use super::reads::{named, with_columns};
use crate::backend::{LocalMembers, MemberSet};
use crate::model::id::SegmentId;
use crate::plan::{Batch, Leaf};

/// Adds a column for each output to a plan with the columns of all tests.
///
/// # Errors
/// When an output refers to one that is not before it.
pub(super) fn outputs(mut plan: LogicalPlanBuilder, batch: &Batch, stored: &[LocalMembers]) -> Result<LogicalPlanBuilder> {
    let stored = batch.stored.iter().enumerate().map(|(index, segment)| {
        let lookup = StoredMembers { segment: segment.clone(), members: stored.get(index).cloned() };
        call(lookup, vec![named(SUBJECT)]).alias(stored_column(index))
    });
    let stored: Vec<Expr> = stored.collect();
    plan = with_columns(plan, stored)?;
    // Outputs of one level refer to lower levels only, and stand in one projection.
    let mut levels: Vec<Vec<Expr>> = Vec::new();
    let mut level_of: Vec<usize> = Vec::with_capacity(batch.outputs.len());
    for (index, output) in batch.outputs.iter().enumerate() {
        let mut level = 0;
        let holds = formula(&output.formula, &mut |leaf| match leaf {
            Leaf::Test(test) => Ok(named(test_column(*test))),
            Leaf::Rank(ranking) => Ok(named(ranking_column(*ranking))),
            Leaf::Stored(segment) => Ok(named(stored_column(*segment))),
            Leaf::Output(other) => {
                let other_level = level_of.get(*other).ok_or_else(|| {
                    DataFusionError::Plan(format!("output {index} refers to output {other}, which is not before it"))
                })?;
                level = level.max(other_level + 1);
                Ok(named(output_column(*other)))
            }
        })?;
        level_of.push(level);
        if levels.len() <= level {
            levels.resize_with(level + 1, Vec::new);
        }
        levels[level].push(holds.alias(output_column(index)));
    }
    for level in levels {
        plan = with_columns(plan, level)?;
    }
    Ok(plan)
}

fn stored_column(index: usize) -> String {
    format!("stored {index}")
}

/// Whether a subject is among the stored members of a segment: a lookup in a set, however large.
#[derive(Debug)]
struct StoredMembers {
    segment: SegmentId,
    /// `None` in a plan that is only shown.
    members: Option<LocalMembers>,
}

impl PartialEq for StoredMembers {
    /// A plan has one set of members for a segment.
    fn eq(&self, other: &Self) -> bool {
        self.segment == other.segment && self.members.as_ref().map(MemberSet::count) == other.members.as_ref().map(MemberSet::count)
    }
}

impl Eq for StoredMembers {}

impl Hash for StoredMembers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.segment.hash(state);
    }
}

impl Kernel for StoredMembers {
    fn name(&self) -> String {
        format!("is_stored_member[{}]", self.segment)
    }

    fn return_type(&self) -> DataType {
        DataType::Boolean
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let subjects = text_argument(arguments, 0)?;
        let is_member = |subject: Option<&str>| {
            Some(self.members.as_ref().zip(subject).is_some_and(|(members, subject)| members.contains(subject)))
        };
        Ok(Arc::new(subjects.iter().map(is_member).collect::<BooleanArray>()))
    }
}
