//! The subjects table of a batch: one scan, the attributes that the batch reads.

use std::collections::BTreeMap;

use datafusion::common::Result;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder, lit, or};
use indexmap::IndexSet;

use super::date::Local;
use super::form::Typed;
use super::json::Wanted;
use super::reads::{Reads, Steps, named, plain_column};
use super::tables::CountedScan;
use super::text::text_literal;
use crate::backend::ObservationKind;
use crate::check::Reading;
use crate::model::catalog::{ColumnType, SubjectTable};
use crate::plan::{Batch, BatchFeature};

/// The rows of the subjects table, and what is read of them.
#[derive(Debug)]
pub(super) struct SubjectSide {
    /// The columns of the table that are read.
    pub(super) plan: LogicalPlanBuilder,
    /// The values, over those.
    pub(super) reads: Steps,
    /// The value that is the key.
    pub(super) key: Expr,
    /// The value of each attribute, by its index among the features of the batch.
    pub(super) attributes: BTreeMap<usize, Typed>,
    /// What is counted, besides rows without a key.
    pub(super) observations: Vec<ObservationKind>,
}

/// Plans the subjects of a batch over a scan of their table; of one of them, or of all.
pub(super) fn subjects(
    scan: CountedScan,
    table: &SubjectTable,
    batch: &Batch,
    local: &Local,
    subject_id: Option<&str>,
) -> Result<SubjectSide> {
    let CountedScan { rows, presences } = scan;
    let mut plan = rows;
    let plain = plain_column(&table.key).filter(|_| table.key.stored == ColumnType::Text);
    if let (Some(subject_id), Some(column)) = (subject_id, &plain) {
        plan = plan.filter(column.clone().eq(text_literal(subject_id)))?;
    }
    if table.version.is_some() || (subject_id.is_some() && plain.is_none()) {
        plan = of_rows(plan, table, Reads::new(local.clone(), presences.clone()), subject_id)?;
    }
    let mut reads = Reads::new(local.clone(), presences);
    let key = reads.key(&table.key)?;
    let mut attributes = BTreeMap::new();
    for (index, feature) in batch.features.iter().enumerate() {
        if let BatchFeature::Attribute(value) = feature {
            attributes.insert(index, reads.value(value)?);
        }
    }
    versions(table, &mut reads)?;
    let mut kinds = IndexSet::new();
    let reads = reads.steps(&mut kinds);
    let read: Vec<Expr> = reads.columns_read().into_iter().map(named).collect();
    Ok(SubjectSide { plan: plan.project(read)?, reads, key, attributes, observations: kinds.into_iter().collect() })
}

/// Keeps the rows of the subject, when one is asked for, and of several versions of one subject the greatest.
pub(super) fn of_rows(
    plan: LogicalPlanBuilder,
    table: &SubjectTable,
    mut reads: Reads,
    subject_id: Option<&str>,
) -> Result<LogicalPlanBuilder> {
    let key = reads.key(&table.key)?;
    let versions = versions(table, &mut reads)?;
    let mut plan = reads.beside(plan)?;
    if let Some(subject_id) = subject_id {
        plan = plan.filter(key.clone().eq(text_literal(subject_id)))?;
    }
    if versions.is_empty() {
        return Ok(plan);
    }
    // Rows of the same greatest version share the first rank: they stay, and show as duplicates.
    let greatest = versions.into_iter().map(|version| version.sort(false, false)).collect();
    let rank = rank().partition_by(vec![key.clone()]).order_by(greatest).build()?.alias("rank of version");
    plan.window(vec![rank])?.filter(or(named("rank of version").eq(lit(1u64)), key.is_null()))
}

/// What versions of a subject compare by.
fn versions(table: &SubjectTable, reads: &mut Reads) -> Result<Vec<Expr>> {
    let Some(version) = &table.version else { return Ok(Vec::new()) };
    // Inside JSON a version may be a number or text; numbers are greater.
    let wanted = match &version.json {
        Some(_) => [Wanted::As(Reading::Number), Wanted::As(Reading::Text)].as_slice(),
        None => &[Wanted::As(Reading::Stored)],
    };
    wanted.iter().map(|wanted| Ok(reads.stored(version, *wanted)?.expr)).collect()
}
