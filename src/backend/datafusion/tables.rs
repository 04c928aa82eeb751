//! The tables of one tenant, as plans scan them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use crate::backend::{BackendError, Scan, TableRole};
use crate::model::catalog::Catalog;

/// One tenant's tables, opened for one run.
pub struct Tables {
    catalog: Catalog,
    providers: BTreeMap<TableRole, Arc<dyn TableProvider>>,
    session: SessionContext,
}

impl Tables {
    /// What the tables are.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// A scan of a table, in the canonical column types.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn scan(&self, role: TableRole) -> Result<LogicalPlanBuilder, BackendError> {
        let provider = self.providers.get(&role).ok_or_else(|| BackendError::Mapping {
            table: role,
            problem: "there is no such table".to_owned(),
            help: None,
        })?;
        LogicalPlanBuilder::scan(role.keyword(), provider_as_source(Arc::clone(provider)), None)
            .map_err(|error| self.failure("planning a scan", error))
    }

    /// The session that plans run in.
    #[must_use]
    pub fn session(&self) -> &SessionContext {
        &self.session
    }

    /// How much of each table an executed plan read.
    #[must_use]
    pub fn scans(&self, plan: &Arc<dyn ExecutionPlan>) -> Vec<Scan> {
        let mut found: BTreeMap<TableRole, Scan> = BTreeMap::new();
        let mut open = vec![plan];
        while let Some(node) = open.pop() {
            open.extend(node.children());
            let schema = node.schema();
            let of = |provider: &Arc<dyn TableProvider>| {
                schema.fields().iter().all(|field| provider.schema().field_with_name(field.name()).is_ok())
            };
            let table = self.providers.iter().find(|(_, provider)| of(provider));
            if let Some((table, _)) = table.filter(|_| node.children().is_empty()) {
                let rows = node.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
                let scan = found.entry(*table).or_insert(Scan { table: *table, passes: 0, rows: 0 });
                scan.passes += 1;
                scan.rows += rows as u64;
            }
        }
        found.into_values().collect()
    }

    /// What a failure of the engine means.
    #[must_use]
    pub fn failure(&self, operation: &'static str, failure: DataFusionError) -> BackendError {
        BackendError::Engine { operation, source: Box::new(failure) }
    }
}

#[cfg(test)]
impl Tables {
    /// Tables in memory, for tests.
    #[expect(clippy::disallowed_methods, reason = "tests over rows in memory need no configured session")]
    pub(crate) fn of_rows(catalog: Catalog, batches: Vec<(TableRole, Vec<datafusion::arrow::record_batch::RecordBatch>)>) -> Self {
        use datafusion::datasource::MemTable;
        let providers = batches
            .into_iter()
            .map(|(role, batches)| {
                let schema = batches[0].schema();
                // Two partitions, so that partial results are merged.
                let (left, right) = batches.split_at(batches.len() / 2);
                let table = MemTable::try_new(schema, vec![left.to_vec(), right.to_vec()]).unwrap();
                (role, Arc::new(table) as Arc<dyn TableProvider>)
            })
            .collect();
        let config = datafusion::prelude::SessionConfig::new().with_target_partitions(3);
        Self { catalog, providers, session: SessionContext::new_with_config(config) }
    }
}
