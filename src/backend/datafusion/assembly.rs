//! The plan of a batch: subjects with what is computed of their rows and events, then tests of what needs more than one of them. Outputs
//! are told from its columns.
//!
//! Tests are computed where their values are, so that rows carry booleans and no values.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, when};

use super::compare::compare;
use super::events::EventSide;
use super::form::{Form, Typed};
use super::function::call;
use super::hash::SaltedHash;
use super::measure::{OutputColumn, Side, Spec, SubjectReads, SubjectsNode};
use super::predicate::test;
use super::ranking::{is_counted, key, key_column, ranking_column, rankings};
use super::reads::{named, with_columns};
use super::score::{degree, degree_column, graded_tests};
use super::subjects::SubjectSide;
use crate::backend::{ObservationKind, TableRole};
use crate::model::catalog::Universe;
use crate::plan::{Batch, BatchComparison, BatchFeature, BatchRanking, BatchTest};

/// The column with the subject.
pub(super) const SUBJECT: &str = "subject_id";

/// The column that is true for the subjects that a segment can contain.
pub(super) const IN_UNIVERSE: &str = "in_universe";

/// A plan and what its columns are.
#[derive(Debug)]
pub(super) struct Assembled {
    /// One row per subject, by ascending [`SUBJECT`].
    pub(super) plan: LogicalPlan,
    /// What is counted while it runs.
    pub(super) observations: Observed,
    /// How the columns [`value_column`] store the features; empty unless they were asked for.
    pub(super) values: Vec<Form>,
}

/// What an execution counts, in the order in which the operator does.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// The subjects table.
    pub(super) role: Option<TableRole>,
    /// Of its rows, besides rows without a key.
    pub(super) subjects: Vec<ObservationKind>,
    /// Of the events, besides rows without a key and rows without a time; `None` without events.
    pub(super) events: Option<Vec<ObservationKind>>,
}

/// Whether the values of features are columns of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only tests.
    Outputs,
    /// Values as well.
    Values,
}

/// The column of a test of the batch.
pub(super) fn test_column(index: usize) -> String {
    format!("test {index}")
}

/// The column of a comparison of the batch.
pub(super) fn comparison_column(index: usize) -> String {
    format!("comparison {index}")
}

/// The column of a feature of the batch.
pub(super) fn value_column(index: usize) -> String {
    format!("value {index}")
}

/// The column with the count that an average divides by.
pub(super) fn count_column(index: usize) -> String {
    format!("count {index}")
}

/// The two tables of a batch, as far as it needs them.
#[derive(Debug)]
pub(super) struct Sides {
    /// The subjects table and its role.
    pub(super) subjects: Option<(TableRole, SubjectSide)>,
    /// The events.
    pub(super) events: Option<EventSide>,
    /// Events grouped by products that other properties name.
    pub(super) signals: Vec<EventSide>,
    /// Who is in the universe.
    pub(super) universe: Universe,
}

/// Puts the sides together, and computes what outputs are told from.
pub(super) fn assemble(batch: &Batch, sides: Sides, detail: Detail) -> Result<Assembled> {
    let mut features: Vec<Option<Feature>> = vec![None; batch.features.len()];
    let mut observed = Observed::default();
    let mut schemas = Schemas { subjects: None, events: Vec::new() };
    let mut inputs = Vec::new();
    let mut spec = Spec {
        subjects: None,
        programs: Vec::new(),
        universe: sides.universe,
        names: [SUBJECT.to_owned(), IN_UNIVERSE.to_owned()],
        columns: Vec::new(),
    };
    if let Some((role, side)) = sides.subjects {
        for (index, value) in side.attributes {
            features[index] = Some(Feature { value, place: Place::Side(Side::Subjects) });
        }
        observed.role = Some(role);
        observed.subjects = side.observations;
        let plan = side.plan.build()?;
        schemas.subjects = Some(side.reads.schema(plan.schema())?);
        spec.subjects = Some(SubjectReads { reads: side.reads, key: side.key });
        inputs.push(plan);
    }
    if let Some(events) = &sides.events {
        observed.events = Some(events.observations.clone());
    }
    for side in sides.events.into_iter().chain(sides.signals) {
        let place = Side::Events(spec.programs.len());
        for (index, value) in side.measures {
            features[index] = Some(Feature { value, place: Place::Side(place) });
        }
        schemas.events.push(DFSchema::try_from(side.program.schema())?);
        spec.programs.push(side.program);
        inputs.push(side.plan.build()?);
    }
    for (index, feature) in batch.features.iter().enumerate() {
        if let BatchFeature::Hash { salt } = feature {
            let hash = call(SaltedHash { salt: salt.clone() }, vec![named(SUBJECT)]);
            features[index] = Some(Feature { value: Typed { expr: hash, form: Form::Unsigned }, place: Place::Id });
        }
    }
    let Some(features) = features.into_iter().collect::<Option<Vec<Feature>>>() else {
        return plan_err!("a feature of the batch has no table");
    };
    spec.columns = columns(batch, &features, &schemas, detail)?;
    let node = Extension { node: Arc::new(SubjectsNode::new(inputs, spec)?) };
    let plan = LogicalPlanBuilder::from(LogicalPlan::Extension(node));
    let plan = with_hashes(plan, batch, &features, detail)?;
    let plan = with_comparisons(plan, batch, &features)?;
    let plan = with_keys(plan, batch, &features)?;
    let forms: Vec<Form> = features.iter().map(|feature| feature.value.form.clone()).collect();
    let plan = rankings(plan, batch, &forms)?;
    let kept = kept_columns(batch, &features, detail);
    let plan = plan.project(kept)?.sort([named(SUBJECT).sort(true, true)])?.build()?;
    let values = match detail {
        Detail::Outputs => Vec::new(),
        Detail::Values => features.into_iter().map(|feature| feature.value.form).collect(),
    };
    Ok(Assembled { plan, observations: observed, values })
}

/// A feature and where it is computed.
#[derive(Debug, Clone)]
struct Feature {
    value: Typed,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// From rows of an input.
    Side(Side),
    /// From the id.
    Id,
}

/// The columns that values are computed of.
struct Schemas {
    subjects: Option<DFSchema>,
    events: Vec<DFSchema>,
}

impl Schemas {
    fn of(&self, side: Side) -> Result<&DFSchema> {
        let schema = match side {
            Side::Subjects => self.subjects.as_ref(),
            Side::Events(program) => self.events.get(program),
        };
        schema.map_or_else(|| plan_err!("a column of no table"), Ok)
    }
}

/// What is computed of the inputs: tests, degrees, keys of rankings, and values where they are asked for.
fn columns(batch: &Batch, features: &[Feature], schemas: &Schemas, detail: Detail) -> Result<Vec<OutputColumn>> {
    let mut columns = Vec::new();
    let mut put = |name: String, side: Side, expr: Expr, absent: Option<ScalarValue>| {
        let data_type = expr.get_type(schemas.of(side)?)?;
        columns.push(OutputColumn { name, side, expr, absent, data_type });
        Ok::<_, datafusion::error::DataFusionError>(())
    };
    let place = |index: usize| match features.get(index) {
        Some(Feature { value, place: Place::Side(side) }) => Some((value, *side)),
        Some(Feature { place: Place::Id, .. }) | None => None,
    };
    let graded = graded_tests(batch);
    for (index, BatchTest { feature, test: condition }) in batch.tests.iter().enumerate() {
        let Some((value, side)) = place(*feature) else { continue };
        let holds = test(value, condition)?;
        if graded.contains(&index) {
            put(degree_column(index), side, degree(value, condition, holds.clone())?, Some(ScalarValue::Float64(Some(0.0))))?;
        }
        put(test_column(index), side, holds, Some(ScalarValue::Boolean(Some(false))))?;
    }
    for (index, ranking) in batch.rankings.iter().enumerate() {
        let Some((by, side)) = place(ranking.by) else { continue };
        match ranking.present.and_then(place) {
            Some((present, other)) if other != side => {
                put(bare_key_column(index), side, key(by, None)?, None)?;
                put(present_column(index), other, is_counted(present), Some(ScalarValue::Boolean(Some(false))))?;
            }
            present => put(key_column(index), side, key(by, present.map(|(present, _)| present))?, None)?,
        }
    }
    let compared = |index: usize| batch.comparisons.iter().any(|compared| [compared.left, compared.right].contains(&index));
    for index in (0..features.len()).filter(|index| detail == Detail::Values || compared(*index)) {
        let Some((value, side)) = place(index) else { continue };
        put(value_column(index), side, value.expr.clone(), None)?;
        if let Form::Average { count } = &value.form {
            put(count_column(index), side, count.as_ref().clone(), None)?;
        }
    }
    Ok(columns)
}

/// Adds the tests, and when they are asked for the values, of what is computed from the id alone.
fn with_hashes(plan: LogicalPlanBuilder, batch: &Batch, features: &[Feature], detail: Detail) -> Result<LogicalPlanBuilder> {
    let mut columns = Vec::new();
    let joined = |feature: &&Feature| feature.place == Place::Id;
    for (index, BatchTest { feature, test: condition }) in batch.tests.iter().enumerate() {
        if let Some(feature) = features.get(*feature).filter(joined) {
            columns.push(test(&feature.value, condition)?.alias(test_column(index)));
        }
    }
    if detail == Detail::Values {
        let values = features.iter().enumerate().filter(|(_, feature)| joined(feature));
        columns.extend(values.map(|(index, feature)| feature.value.expr.clone().alias(value_column(index))));
    }
    with_columns(plan, columns)
}

/// Adds the comparisons of features, which may be of different inputs.
fn with_comparisons(plan: LogicalPlanBuilder, batch: &Batch, features: &[Feature]) -> Result<LogicalPlanBuilder> {
    let value = |index: usize| {
        let Some(Feature { value, .. }) = features.get(index) else { return plan_err!("a comparison of no feature") };
        let form = match &value.form {
            Form::Average { .. } => Form::Average { count: Box::new(named(count_column(index))) },
            form => form.clone(),
        };
        Ok(Typed { expr: named(value_column(index)), form })
    };
    let comparisons = batch.comparisons.iter().enumerate().map(|(index, comparison)| {
        let BatchComparison { left, comparator, right, factor } = comparison;
        Ok(compare(&value(*left)?, *comparator, &value(*right)?, factor)?.alias(comparison_column(index)))
    });
    with_columns(plan, comparisons.collect::<Result<_>>()?)
}

/// Adds the keys of rankings by what is of another input than what says whether it counts.
fn with_keys(plan: LogicalPlanBuilder, batch: &Batch, features: &[Feature]) -> Result<LogicalPlanBuilder> {
    let place = |index: usize| features.get(index).map(|feature| feature.place);
    let apart = |ranking: &BatchRanking| ranking.present.is_some_and(|present| place(present) != place(ranking.by));
    let rankings = batch.rankings.iter().enumerate().filter(|(_, ranking)| apart(ranking));
    let keys = rankings.map(|(index, _)| {
        let key = when(named(present_column(index)), named(bare_key_column(index))).end()?;
        Ok(key.alias(key_column(index)))
    });
    with_columns(plan, keys.collect::<Result<_>>()?)
}

/// The key of a ranking before it is known whether it counts.
fn bare_key_column(index: usize) -> String {
    format!("bare key {index}")
}

/// Whether the key of a ranking counts.
fn present_column(index: usize) -> String {
    format!("present {index}")
}

/// The columns that are read from the result.
fn kept_columns(batch: &Batch, features: &[Feature], detail: Detail) -> Vec<Expr> {
    let mut names = vec![SUBJECT.to_owned(), IN_UNIVERSE.to_owned()];
    names.extend((0..batch.tests.len()).map(test_column));
    names.extend(graded_tests(batch).into_iter().map(degree_column));
    names.extend((0..batch.rankings.len()).map(ranking_column));
    names.extend((0..batch.comparisons.len()).map(comparison_column));
    if detail == Detail::Values {
        for (index, feature) in features.iter().enumerate() {
            names.push(value_column(index));
            if matches!(feature.value.form, Form::Average { .. }) {
                names.push(count_column(index));
            }
        }
    }
    names.into_iter().map(named).collect()
}
