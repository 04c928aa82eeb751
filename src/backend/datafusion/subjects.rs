//! The subjects table of a batch: one scan, the attributes that the batch reads.

use std::collections::BTreeMap;

use datafusion::common::Result;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlanBuilder, lit, or};

use super::date::Local;
use super::form::Typed;
use super::json::Wanted;
use super::reads::{Reads, named, plain_column};
use super::tables::CountedScan;
use super::text::text_literal;
use crate::backend::ObservationKind;
use crate::check::Reading;
use crate::model::catalog::{ColumnType, SubjectTable};
use crate::plan::{Batch, BatchFeature};

/// The subject of a row.
pub(super) const KEY: &str = "subject of table";

/// One row per row of the subjects table.
#[derive(Debug)]
pub(super) struct SubjectSide {
    /// With the column [`KEY`], those of `attributes` and of `observations`.
    pub(super) plan: LogicalPlanBuilder,
    /// The value of each attribute, by its index among the features of the batch.
    pub(super) attributes: BTreeMap<usize, Typed>,
    /// What is counted, and the boolean column that is true where it occurs.
    pub(super) observations: Vec<(ObservationKind, Expr)>,
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
    let scan = match (subject_id, plain_column(&table.key)) {
        (Some(subject_id), Some(column)) if table.key.stored == ColumnType::Text => {
            rows.filter(column.eq(text_literal(subject_id)))?
        }
        _ => rows,
    };
    let mut reads = Reads::new(local.clone(), presences);
    let key = reads.key(&table.key)?;
    let mut attributes = BTreeMap::new();
    for (index, feature) in batch.features.iter().enumerate() {
        if let BatchFeature::Attribute(value) = feature {
            attributes.insert(index, reads.value(value)?);
        }
    }
    let mut versions = Vec::new();
    if let Some(version) = &table.version {
        // Inside JSON a version may be a number or text; numbers are greater.
        let wanted = if version.json.is_some() {
            vec![Wanted::As(Reading::Number), Wanted::As(Reading::Text)]
        } else {
            vec![Wanted::As(Reading::Stored)]
        };
        for wanted in wanted {
            versions.push(reads.stored(version, wanted)?.expr);
        }
    }
    let (mut plan, observations) = reads.project(scan)?;
    if let Some(subject_id) = subject_id {
        plan = plan.filter(key.clone().eq(text_literal(subject_id)))?;
    }
    if !versions.is_empty() {
        // Rows of the same greatest version share the first rank: they stay, and show as duplicates.
        let greatest = versions.into_iter().map(|version| version.sort(false, false)).collect();
        let rank = rank().partition_by(vec![key.clone()]).order_by(greatest).build()?.alias("rank of version");
        plan = plan.window(vec![rank])?.filter(or(named("rank of version").eq(lit(1u64)), key.clone().is_null()))?;
    }
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).filter(|column| *column != key).collect();
    columns.push(key.alias(KEY));
    let keyless = (ObservationKind::MissingKey, named(KEY).is_null());
    Ok(SubjectSide { plan: plan.project(columns)?, attributes, observations: observations.into_iter().chain([keyless]).collect() })
}
