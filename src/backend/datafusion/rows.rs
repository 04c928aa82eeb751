//! All rows of a table as they come, for whoever puts them elsewhere.

use std::sync::Arc;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::tables::Tables;
use crate::backend::{BackendError, TableRole};

/// Rows as they are read.
pub type Rows<'a> = BoxStream<'a, Result<RecordBatch, BackendError>>;

impl Tables {
    /// The columns of the rows of a table.
    ///
    /// # Errors
    /// When the tenant has no such table.
    pub fn columns(&self, table: TableRole) -> Result<SchemaRef, BackendError> {
        Ok(Arc::clone(self.scan(table)?.schema().inner()))
    }

    /// Every row of a table, in the columns of [`Tables::scan`].
    ///
    /// # Errors
    /// When the tenant has no such table, or it cannot be read.
    pub async fn rows(&self, table: TableRole) -> Result<Rows<'_>, BackendError> {
        let failed = |cause| self.failure("reading rows", cause);
        let plan = self.scan(table)?.build().map_err(failed)?;
        let rows = self.session().execute_logical_plan(plan).await.map_err(failed)?;
        let rows = rows.execute_stream().await.map_err(failed)?;
        Ok(rows.map(move |batch| batch.map_err(|cause| self.failure("reading rows", cause))).boxed())
    }

    /// Those of the columns that have a value in every row. Reads only them.
    ///
    /// # Errors
    /// As [`Tables::rows`].
    pub async fn complete(&self, table: TableRole, columns: &[String]) -> Result<Vec<String>, BackendError> {
        let failed = |cause| self.failure("looking for missing values", cause);
        let of = |column: &String| count(Expr::Column(Column::new(Some(table.keyword()), column)));
        let counts = columns.iter().map(of).enumerate().map(|(number, count)| count.alias(format!("{number}")));
        let counts = std::iter::once(count(lit(1)).alias("rows")).chain(counts);
        let plan = self.scan(table)?.aggregate(Vec::<Expr>::new(), counts).and_then(|plan| plan.build()).map_err(failed)?;
        let counts = self.counts(plan).await.map_err(failed)?;
        let Some((rows, counts)) = counts.split_first() else { return Ok(Vec::new()) };
        Ok(columns.iter().zip(counts).filter(|(_, count)| *count == rows).map(|(column, _)| column.clone()).collect())
    }

    /// The only row of a plan of counts.
    async fn counts(&self, plan: LogicalPlan) -> Result<Vec<i64>, DataFusionError> {
        let batches = self.session().execute_logical_plan(plan).await?.collect().await?;
        let row = batches.iter().find(|batch| batch.num_rows() > 0);
        let count =
            |column: &datafusion::arrow::array::ArrayRef| column.as_primitive_opt::<Int64Type>().map(|count| count.value(0));
        Ok(row.map_or_else(Vec::new, |row| row.columns().iter().filter_map(count).collect()))
    }
}
