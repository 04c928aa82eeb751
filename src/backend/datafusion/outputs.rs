//! The outputs of a batch and its scores as columns: each once, after those that it refers to.

use std::collections::HashMap;

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};

use super::assembly::{SUBJECT, comparison_column, output_column, test_column};
use super::function::call;
use super::members::GivenMembers;
use super::predicate::formula;
use super::ranking::ranking_column;
use super::reads::{named, with_columns};
use super::score::{is_enough, score, score_column};
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
    let mut columns = Columns { batch, levels: Vec::new(), outputs: Vec::new(), scores: HashMap::new() };
    for index in 0..batch.outputs.len() {
        columns.output(index)?;
    }
    for level in columns.levels {
        plan = with_columns(plan, level)?;
    }
    Ok(plan)
}

/// The columns of outputs and scores. Those of one level refer to lower levels only, and stand in one projection.
struct Columns<'a> {
    batch: &'a Batch,
    levels: Vec<Vec<Expr>>,
    /// The level of each output so far.
    outputs: Vec<usize>,
    /// The level of each score so far.
    scores: HashMap<usize, usize>,
}

impl Columns<'_> {
    fn output(&mut self, index: usize) -> Result<()> {
        let batch = self.batch;
        let Some(output) = batch.outputs.get(index) else { return plan_err!("output {index} is not in the batch") };
        let mut level = 0;
        let holds = formula(&output.formula, &mut |leaf| self.leaf(leaf, &mut level))?;
        self.put(level, holds.alias(output_column(index)));
        self.outputs.push(level);
        Ok(())
    }

    /// The level of the column of a score, which is put there when it is new.
    fn score(&mut self, index: usize) -> Result<usize> {
        if let Some(level) = self.scores.get(&index) {
            return Ok(*level);
        }
        let batch = self.batch;
        let Some(scored) = batch.scores.get(index) else { return plan_err!("score {index} is not in the batch") };
        let mut level = 0;
        let value = score(scored, &mut |leaf| self.leaf(leaf, &mut level))?;
        self.put(level, value.alias(score_column(index)));
        self.scores.insert(index, level);
        Ok(level)
    }

    fn put(&mut self, level: usize, column: Expr) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        self.levels[level].push(column);
    }

    /// Whether a leaf holds; raises the level above that of what it refers to.
    fn leaf(&mut self, leaf: &Leaf, level: &mut usize) -> Result<Expr> {
        Ok(match leaf {
            Leaf::Test(test) => named(test_column(*test)),
            Leaf::Rank(ranking) => named(ranking_column(*ranking)),
            Leaf::Compare(comparison) => named(comparison_column(*comparison)),
            Leaf::Given(segment) => named(given_column(*segment)),
            Leaf::Output(other) => {
                let Some(other_level) = self.outputs.get(*other) else {
                    return plan_err!("an output refers to output {other}, which is not before it");
                };
                *level = (*level).max(other_level + 1);
                named(output_column(*other))
            }
            Leaf::Score(index) => {
                *level = (*level).max(self.score(*index)? + 1);
                let threshold = self.batch.scores.get(*index).map(|scored| &scored.threshold);
                threshold.map_or_else(|| lit(false), |threshold| is_enough(named(score_column(*index)), threshold))
            }
        })
    }
}

fn given_column(index: usize) -> String {
    format!("given {index}")
}
