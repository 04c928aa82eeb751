//! The whole plan of a batch: subjects and events joined, tests, outputs, sorted by subject.
//!
//! Tests are computed before the join, so that it carries booleans and no values. The join is full: a subject without events must
//! appear, and so must what was counted of events whose subject is not in the table, to be counted and left out.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{JoinType, Result, ScalarValue, plan_err};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, and, cast, lit, or};

use super::compare::compare;
use super::events::{self, EventSide, Measured};
use super::form::{Form, Typed};
use super::function::call;
use super::hash::SaltedHash;
use super::outputs::outputs;
use super::predicate::test;
use super::ranking::{key, key_column, rankings};
use super::reads::{named, with_columns};
use super::score::{degree, degree_column, graded_tests, score_column};
use super::subjects::{self, SubjectSide};
use crate::backend::{LocalMembers, ObservationKind, TableRole};
use crate::model::catalog::Universe;
use crate::plan::{Batch, BatchComparison, BatchFeature, BatchTest};

/// The column with the subject; NULL in rows that only carry counts.
pub(super) const SUBJECT: &str = "subject_id";

/// The column that is true for the subjects that a segment can contain.
pub(super) const IN_UNIVERSE: &str = "in_universe";

/// A plan and what its columns are.
#[derive(Debug)]
pub(super) struct Assembled {
    /// One row per subject, by ascending [`SUBJECT`], and rows that only carry counts.
    pub(super) plan: LogicalPlan,
    /// What the columns [`observation_column`] count.
    pub(super) observations: Vec<(TableRole, ObservationKind)>,
    /// How the columns [`value_column`] store the features; empty unless they were asked for.
    pub(super) values: Vec<Form>,
}

/// Whether the values of features are columns of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only outputs.
    Outputs,
    /// Values and tests as well.
    Values,
}

/// The column of an output of the batch.
pub(super) fn output_column(index: usize) -> String {
    format!("output {index}")
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

/// The column with a count of what was left out or did not fit.
pub(super) fn observation_column(index: usize) -> String {
    format!("observed {index}")
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

/// Joins the sides and computes the outputs. `given` are the members of the batch's given segments.
pub(super) fn assemble(batch: &Batch, sides: Sides, given: &[LocalMembers], detail: Detail) -> Result<Assembled> {
    let mut features: Vec<Option<Feature>> = vec![None; batch.features.len()];
    if let Some((_, side)) = &sides.subjects {
        for (index, value) in &side.attributes {
            features[*index] = Some(Feature { value: value.clone(), place: FeaturePlace::Subjects });
        }
    }
    for side in sides.events.iter().chain(&sides.signals) {
        for (index, Measured { value, of_none }) in &side.measures {
            features[*index] = Some(Feature { value: value.clone(), place: FeaturePlace::Events { of_none: of_none.clone() } });
        }
    }
    for (index, feature) in batch.features.iter().enumerate() {
        if let BatchFeature::Hash { salt } = feature {
            let hash = call(SaltedHash { salt: salt.clone() }, vec![named(SUBJECT)]);
            features[index] = Some(Feature { value: Typed { expr: hash, form: Form::Unsigned }, place: FeaturePlace::Joined });
        }
    }
    let Some(features) = features.into_iter().collect::<Option<Vec<Feature>>>() else {
        return plan_err!("a feature of the batch has no table");
    };
    let mut columns = Columns { batch, features: &features, detail, observations: Vec::new(), joined: Vec::new() };

    let in_table = named(subjects::KEY).is_not_null();
    let has_events = || coalesce(vec![named(events::EXISTS), lit(false)]);
    let (plan, subject, in_universe) = match (sides.subjects, sides.events) {
        (Some((role, subjects)), Some(events)) => {
            let subjects = columns.of_subjects(role, subjects)?;
            let events = columns.of_events(events)?;
            let on = (vec![subjects::KEY], vec![events::KEY]);
            let plan = subjects.join(events.build()?, JoinType::Full, on, None)?;
            let subject = coalesce(vec![named(subjects::KEY), named(events::KEY)]);
            let in_universe = match sides.universe {
                Universe::Table => in_table,
                Universe::Events => has_events(),
                Universe::Union => or(in_table, has_events()),
            };
            (plan, subject, in_universe)
        }
        (Some((role, subjects)), None) => (columns.of_subjects(role, subjects)?, named(subjects::KEY), in_table),
        (None, Some(events)) => (columns.of_events(events)?, named(events::KEY), has_events()),
        (None, None) => return plan_err!("a batch without tables"),
    };
    let in_universe = and(in_universe, subject.clone().is_not_null());
    let mut joined = std::mem::take(&mut columns.joined);
    joined.splice(0..0, [subject.alias(SUBJECT), in_universe.alias(IN_UNIVERSE)]);
    let mut plan = plan.project(joined)?;
    for side in sides.signals {
        plan = columns.with_signals(plan, side)?;
    }
    let Columns { observations, .. } = columns;
    let plan = with_hashes(plan, batch, &features, detail)?;
    let plan = with_comparisons(plan, batch, &features)?;
    let forms: Vec<Form> = features.iter().map(|feature| feature.value.form.clone()).collect();
    let plan = rankings(plan, batch, &forms)?;
    let kept = kept_columns(batch, &features, detail, observations.len());
    let plan = outputs(plan, batch, given)?.project(kept)?;
    let plan = plan.sort([named(SUBJECT).sort(true, true)])?.build()?;
    let values = match detail {
        Detail::Outputs => Vec::new(),
        Detail::Values => features.into_iter().map(|feature| feature.value.form).collect(),
    };
    Ok(Assembled { plan, observations, values })
}

/// A feature and where it is computed.
#[derive(Debug, Clone)]
struct Feature {
    value: Typed,
    place: FeaturePlace,
}

#[derive(Debug, Clone, PartialEq)]
enum FeaturePlace {
    /// From the row of the subjects table.
    Subjects,
    /// From the events.
    Events {
        /// Its value for a subject without events.
        of_none: ScalarValue,
    },
    /// From the id, after the join.
    Joined,
}

/// Adds the tests, and when they are asked for the values, of what is computed from the id alone.
fn with_hashes(plan: LogicalPlanBuilder, batch: &Batch, features: &[Feature], detail: Detail) -> Result<LogicalPlanBuilder> {
    let mut columns = Vec::new();
    let joined = |feature: &&Feature| feature.place == FeaturePlace::Joined;
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

/// Adds the comparisons of features, which may be of different sides.
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

/// The columns of the sides, and those made of them after the join.
struct Columns<'a> {
    batch: &'a Batch,
    features: &'a [Feature],
    detail: Detail,
    observations: Vec<(TableRole, ObservationKind)>,
    joined: Vec<Expr>,
}

impl Columns<'_> {
    fn of_subjects(&mut self, role: TableRole, side: SubjectSide) -> Result<LogicalPlanBuilder> {
        let mut columns = vec![named(subjects::KEY)];
        for (kind, occurs) in side.observations {
            let count = cast(coalesce(vec![occurs, lit(false)]), DataType::Int64);
            self.observe(role, kind, count, &mut columns);
        }
        let of_this_side = |_: usize, feature: &Feature| feature.place == FeaturePlace::Subjects;
        self.tests_and_values(&mut columns, of_this_side)?;
        self.keys(&mut columns, of_this_side)?;
        side.plan.project(columns)
    }

    fn of_events(&mut self, side: EventSide) -> Result<LogicalPlanBuilder> {
        let mut columns = vec![named(events::KEY), named(events::EXISTS)];
        self.of_measures(side, &mut columns)
    }

    /// Joins events that are grouped by another key. They add no subject to the universe.
    fn with_signals(&mut self, plan: LogicalPlanBuilder, side: EventSide) -> Result<LogicalPlanBuilder> {
        let before: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let side = self.of_measures(side, &mut vec![named(events::KEY)])?;
        let plan = plan.join(side.build()?, JoinType::Full, (vec![SUBJECT], vec![events::KEY]), None)?;
        let observed: Vec<String> = (0..self.observations.len()).map(observation_column).collect();
        let mut columns = std::mem::take(&mut self.joined);
        columns.extend(before.into_iter().map(|name| match name.as_str() {
            SUBJECT => coalesce(vec![named(SUBJECT), named(events::KEY)]).alias(SUBJECT),
            IN_UNIVERSE => coalesce(vec![named(IN_UNIVERSE), lit(false)]).alias(IN_UNIVERSE),
            _ if observed.contains(&name) => coalesce(vec![named(&name), lit(0i64)]).alias(name),
            _ => named(name),
        }));
        plan.project(columns)
    }

    fn of_measures(&mut self, side: EventSide, columns: &mut Vec<Expr>) -> Result<LogicalPlanBuilder> {
        for (kind, count) in side.observations {
            self.observe(TableRole::Events, kind, count, columns);
        }
        let of_this_side = |index: usize, _: &Feature| side.measures.contains_key(&index);
        self.tests_and_values(columns, of_this_side)?;
        self.keys(columns, of_this_side)?;
        side.plan.project(std::mem::take(columns))
    }

    fn observe(&mut self, role: TableRole, kind: ObservationKind, count: Expr, columns: &mut Vec<Expr>) {
        let name = observation_column(self.observations.len());
        self.observations.push((role, kind));
        columns.push(count.alias(&name));
        self.joined.push(coalesce(vec![named(&name), lit(0i64)]).alias(name));
    }

    /// The keys of the rankings by what one side computes. A subject without a row there has none.
    fn keys(&mut self, columns: &mut Vec<Expr>, of_this_side: impl Fn(usize, &Feature) -> bool) -> Result<()> {
        for (index, ranking) in self.batch.rankings.iter().enumerate() {
            let by = self.features.get(ranking.by).filter(|feature| of_this_side(ranking.by, feature));
            let Some(by) = by else { continue };
            let present = ranking.present.and_then(|present| self.features.get(present)).map(|feature| &feature.value);
            let name = key_column(index);
            columns.push(key(&by.value, present)?.alias(&name));
            self.joined.push(named(name));
        }
        Ok(())
    }

    fn tests_and_values(&mut self, columns: &mut Vec<Expr>, of_this_side: impl Fn(usize, &Feature) -> bool) -> Result<()> {
        let graded = graded_tests(self.batch);
        for (index, BatchTest { feature: tested, test: condition }) in self.batch.tests.iter().enumerate() {
            let Some(feature) = self.features.get(*tested).filter(|feature| of_this_side(*tested, feature)) else {
                continue;
            };
            let name = test_column(index);
            columns.push(test(&feature.value, condition)?.alias(&name));
            let without_row = match &feature.place {
                FeaturePlace::Events { of_none } => {
                    test(&Typed { expr: lit(of_none.clone()), form: of_none_form(&feature.value.form) }, condition)?
                }
                FeaturePlace::Subjects | FeaturePlace::Joined => lit(false),
            };
            if graded.contains(&index) {
                let degree_name = degree_column(index);
                columns.push(degree(&feature.value, condition, test(&feature.value, condition)?)?.alias(&degree_name));
                let of_none = match &feature.place {
                    FeaturePlace::Events { of_none } => {
                        let value = Typed { expr: lit(of_none.clone()), form: of_none_form(&feature.value.form) };
                        degree(&value, condition, without_row.clone())?
                    }
                    FeaturePlace::Subjects | FeaturePlace::Joined => lit(0.0),
                };
                self.joined.push(coalesce(vec![named(&degree_name), of_none]).alias(degree_name));
            }
            self.joined.push(coalesce(vec![named(&name), without_row]).alias(name));
        }
        let compared =
            |index: usize| self.batch.comparisons.iter().any(|compared| [compared.left, compared.right].contains(&index));
        for (index, feature) in self.features.iter().enumerate().filter(|(index, feature)| of_this_side(*index, feature)) {
            if self.detail == Detail::Outputs && !compared(index) {
                continue;
            }
            let name = value_column(index);
            columns.push(feature.value.expr.clone().alias(&name));
            let of_none = match &feature.place {
                FeaturePlace::Events { of_none } if !of_none.is_null() => Some(lit(of_none.clone())),
                FeaturePlace::Events { .. } | FeaturePlace::Subjects | FeaturePlace::Joined => None,
            };
            self.joined.push(coalesce(std::iter::once(named(&name)).chain(of_none).collect()).alias(&name));
            if let Form::Average { count } = &feature.value.form {
                let name = count_column(index);
                columns.push(count.as_ref().clone().alias(&name));
                self.joined.push(named(name));
            }
        }
        Ok(())
    }
}

/// The form of the value of a measure without events: no average has a count there.
fn of_none_form(form: &Form) -> Form {
    if matches!(form, Form::Average { .. }) { Form::Average { count: Box::new(lit(0i64)) } } else { form.clone() }
}

/// The columns that are read from the result.
fn kept_columns(batch: &Batch, features: &[Feature], detail: Detail, observations: usize) -> Vec<Expr> {
    let outputs = (0..batch.outputs.len()).map(output_column);
    let mut names: Vec<String> = [SUBJECT.to_owned(), IN_UNIVERSE.to_owned()].into_iter().chain(outputs).collect();
    names.extend((0..batch.scores.len()).map(score_column));
    names.extend((0..observations).map(observation_column));
    if detail == Detail::Values {
        names.extend((0..batch.tests.len()).map(test_column));
        for (index, feature) in features.iter().enumerate() {
            names.push(value_column(index));
            if matches!(feature.value.form, Form::Average { .. }) {
                names.push(count_column(index));
            }
        }
    }
    names.into_iter().map(named).collect()
}
