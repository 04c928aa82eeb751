//! The outputs of a batch as columns: each once, after those that it refers to.

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use super::assembly::{SUBJECT, comparison_column, output_column, test_column};
use super::function::call;
use super::members::GivenMembers;
use super::predicate::formula;
use super::ranking::ranking_column;
use super::reads::{named, with_columns};
use crate::backend::LocalMembers;
use crate::plan::{Batch, Leaf};

/// Adds a column for each output to a plan with the columns of all tests.
///
/// # Errors
/// When an output refers to one that is not before it.
pub(super) fn outputs(mut plan: LogicalPlanBuilder, batch: &Batch, given: &[LocalMembers]) -> Result<LogicalPlanBuilder> {
    let given = batch.given.iter().enumerate().map(|(index, segment)| {
        let lookup = GivenMembers { segment: segment.clone(), members: given.get(index).cloned() };
        call(lookup, vec![named(SUBJECT)]).alias(given_column(index))
    });
    let given: Vec<Expr> = given.collect();
    plan = with_columns(plan, given)?;
    // Outputs of one level refer to lower levels only, and stand in one projection.
    let mut levels: Vec<Vec<Expr>> = Vec::new();
    let mut level_of: Vec<usize> = Vec::with_capacity(batch.outputs.len());
    for (index, output) in batch.outputs.iter().enumerate() {
        let mut level = 0;
        let holds = formula(&output.formula, &mut |leaf| match leaf {
            Leaf::Test(test) => Ok(named(test_column(*test))),
            Leaf::Compare(comparison) => Ok(named(comparison_column(*comparison))),
            Leaf::Rank(ranking) => Ok(named(ranking_column(*ranking))),
            Leaf::Given(segment) => Ok(named(given_column(*segment))),
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

fn given_column(index: usize) -> String {
    format!("given {index}")
}
