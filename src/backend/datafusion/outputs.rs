//! The outputs of a batch and its scores, from the columns of a plan: formulas over bits, a word at a time.
//!
//! The engine's own logic of many columns is no choice: where the left side of an `AND` holds for few rows, it filters whole batches before
//! it looks at the right one, and these have a column for every test of a thousand segments.

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result};

use super::assembly::{SUBJECT, comparison_column, test_column};
use super::collect::column;
use super::function::{Kernel, holds};
use super::members::GivenMembers;
use super::ranking::ranking_column;
use super::score::{combined, degree_column, nearest_billionths, picked};
use crate::backend::LocalMembers;
use crate::ir::{Degree, Formula, Scored};
use crate::model::scoring::Score;
use crate::plan::{Batch, Given, Leaf, OutputName};

/// What evaluates the outputs of a batch.
pub(super) struct Outputs<'a> {
    batch: &'a Batch,
    given: Vec<GivenMembers>,
}

/// What was found of some rows.
pub(super) struct Found {
    /// Who is in each output.
    pub(super) outputs: Vec<BooleanBuffer>,
    /// The scores of the batch that some output asks for, in billionths.
    pub(super) scores: Vec<Option<ArrayRef>>,
}

impl<'a> Outputs<'a> {
    /// `given` are the sets that the batch is given.
    pub(super) fn new(batch: &'a Batch, given: &[LocalMembers]) -> Self {
        let lookup = |(index, set): (usize, &Given)| GivenMembers::new(set.clone(), given.get(index).cloned());
        Self { batch, given: batch.given.iter().enumerate().map(lookup).collect() }
    }

    /// Evaluates all outputs over rows with the columns of a plan.
    ///
    /// # Errors
    /// When an output refers to one that is not before it, or to a column that is not there.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<Found> {
        let found = Found { outputs: Vec::new(), scores: vec![None; self.batch.scores.len()] };
        let mut evaluator = Evaluator { outputs: self, rows, found };
        for output in &self.batch.outputs {
            let holds = evaluator.formula(&output.formula)?;
            evaluator.found.outputs.push(holds);
        }
        Ok(evaluator.found)
    }
}

struct Evaluator<'a> {
    outputs: &'a Outputs<'a>,
    rows: &'a RecordBatch,
    found: Found,
}

impl Evaluator<'_> {
    fn formula(&mut self, formula: &Formula<Leaf>) -> Result<BooleanBuffer> {
        let rows = self.rows.num_rows();
        let constant = |value: bool| if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
        match formula {
            Formula::Constant(value) => Ok(constant(*value)),
            Formula::All(of) => of.iter().try_fold(constant(true), |holds, part| Ok(&holds & &self.formula(part)?)),
            Formula::Any(of) => of.iter().try_fold(constant(false), |holds, part| Ok(&holds | &self.formula(part)?)),
            Formula::AtLeast { count, of } => {
                let mut holding = vec![0usize; rows];
                for part in of {
                    self.formula(part)?.set_indices().for_each(|row| holding[row] += 1);
                }
                Ok(holding.iter().map(|holding| holding >= count).collect())
            }
            Formula::Not(inner) => Ok(!&self.formula(inner)?),
            Formula::Leaf(leaf) => self.leaf(leaf),
        }
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<BooleanBuffer> {
        match leaf {
            Leaf::Test(test) => self.column(&test_column(*test)),
            Leaf::Rank(ranking) => self.column(&ranking_column(*ranking)),
            Leaf::Compare(comparison) => self.column(&comparison_column(*comparison)),
            Leaf::Given(index) => {
                let members = self.outputs.given.get(*index).ok_or_else(|| unknown("set that is given", *index))?;
                holds(members.apply(&[Arc::clone(column(self.rows, SUBJECT)?)])?.as_ref())
            }
            Leaf::Output(other) => self.found.outputs.get(*other).cloned().ok_or_else(|| unknown("output before it", *other)),
            Leaf::Score(index) => {
                let scored = self.outputs.batch.scores.get(*index).ok_or_else(|| unknown("score", *index))?;
                let scores = self.score(*index, scored)?;
                let Some(least) = Score::least_reaching(&scored.threshold) else {
                    return Ok(BooleanBuffer::new_unset(self.rows.num_rows()));
                };
                let least = i64::from(least.billionths());
                Ok(scores.as_primitive::<Int64Type>().values().iter().map(|score| *score >= least).collect())
            }
        }
    }

    /// A score of the batch, computed at the first time.
    fn score(&mut self, index: usize, scored: &Scored<Leaf>) -> Result<ArrayRef> {
        if let Some(Some(known)) = self.found.scores.get(index) {
            return Ok(Arc::clone(known));
        }
        let degrees = scored.rules.iter().map(|rule| self.degree(&rule.degree)).collect::<Result<Vec<_>>>()?;
        let scores = nearest_billionths(&combined(scored, &degrees)?);
        if let Some(place) = self.found.scores.get_mut(index) {
            *place = Some(Arc::clone(&scores));
        }
        Ok(scores)
    }

    fn degree(&mut self, degree: &Degree<Leaf>) -> Result<ArrayRef> {
        match degree {
            Degree::Least(of) | Degree::Greatest(of) | Degree::NthGreatest { of, .. } => {
                let parts = of.iter().map(|part| self.degree(part)).collect::<Result<Vec<_>>>()?;
                picked(degree, &parts)
            }
            Degree::Crisp(of) => {
                let degrees = self.formula(of)?.iter().map(|holds| f64::from(u8::from(holds))).collect::<Vec<_>>();
                Ok(Arc::new(Float64Array::from(degrees)))
            }
            Degree::Graded(Leaf::Test(test)) => Ok(Arc::clone(column(self.rows, &degree_column(*test))?)),
            Degree::Graded(
                Leaf::Rank(other) | Leaf::Compare(other) | Leaf::Score(other) | Leaf::Output(other) | Leaf::Given(other),
            ) => Err(unknown("degree", *other)),
        }
    }

    fn column(&self, name: &str) -> Result<BooleanBuffer> {
        holds(column(self.rows, name)?.as_ref())
    }
}

fn unknown(what: &str, index: usize) -> DataFusionError {
    DataFusionError::Internal(format!("there is no {what} {index}"))
}

/// The outputs of a batch for people, each in a line.
pub(super) fn described(batch: &Batch) -> String {
    let mut text = String::new();
    for (index, output) in batch.outputs.iter().enumerate() {
        let name = match &output.name {
            OutputName::Segment(id) => format!("`{id}`"),
            OutputName::Node(id, path) => format!("`{id}` at {path}"),
            OutputName::Degree(id, path) => format!("degree of `{id}` at {path}"),
        };
        // Writing to a text does not fail.
        let _written = writeln!(text, "Output {index}, {name}: {}", shown(&output.formula, batch));
    }
    text
}

fn shown(formula: &Formula<Leaf>, batch: &Batch) -> String {
    let each = |of: &[Formula<Leaf>]| of.iter().map(|part| shown(part, batch)).collect::<Vec<_>>().join(", ");
    match formula {
        Formula::Constant(value) => value.to_string(),
        Formula::All(of) => format!("all({})", each(of)),
        Formula::Any(of) => format!("any({})", each(of)),
        Formula::AtLeast { count, of } => format!("at least {count} of({})", each(of)),
        Formula::Not(inner) => format!("not {}", shown(inner, batch)),
        Formula::Leaf(Leaf::Test(test)) => test_column(*test),
        Formula::Leaf(Leaf::Rank(ranking)) => ranking_column(*ranking),
        Formula::Leaf(Leaf::Compare(comparison)) => comparison_column(*comparison),
        Formula::Leaf(Leaf::Score(index)) => match batch.scores.get(*index) {
            Some(scored) => {
                let combination = format!("{:?}", scored.combination).to_lowercase();
                let rules = scored.rules.iter().map(|rule| format!("{} * {}", rule.weight, shown_degree(&rule.degree, batch)));
                let rules = rules.collect::<Vec<_>>().join(", ");
                format!("score {index} := {combination}({rules}) >= {}", scored.threshold)
            }
            None => format!("score {index}"),
        },
        Formula::Leaf(Leaf::Output(output)) => format!("output {output}"),
        Formula::Leaf(Leaf::Given(given)) => {
            batch.given.get(*given).map_or_else(|| format!("given {given}"), |given| given.set.to_string())
        }
    }
}

fn shown_degree(degree: &Degree<Leaf>, batch: &Batch) -> String {
    let each = |of: &[Degree<Leaf>]| of.iter().map(|part| shown_degree(part, batch)).collect::<Vec<_>>().join(", ");
    match degree {
        Degree::Least(of) => format!("least({})", each(of)),
        Degree::Greatest(of) => format!("greatest({})", each(of)),
        Degree::NthGreatest { n, of } => format!("{n}th greatest({})", each(of)),
        Degree::Crisp(formula) => format!("1 if {}", shown(formula, batch)),
        Degree::Graded(Leaf::Test(test)) => degree_column(*test),
        Degree::Graded(other) => shown(&Formula::Leaf(*other), batch),
    }
}
