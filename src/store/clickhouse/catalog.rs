//! The catalog that the last run of a tenant saw, kept for checks without the tables. It is state that may be lost: no commit
//! refers to it.

use super::ClickHouseLedger;
use super::ddl::LOG;
use super::log::damaged;
use super::server::{batch, texts};
use crate::clickhouse::Statement;
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::store::LedgerError;

impl ClickHouseLedger {
    /// Keeps the catalog of a tenant in place of the one before.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError> {
        let text = serde_json::to_string(catalog).map_err(|error| damaged("catalog", &error))?;
        if self.newest_catalog(tenant).await?.as_ref() == Some(&text) {
            return Ok(());
        }
        let operation = "keep the catalog";
        let row =
            batch(operation, vec![("tenant", texts([tenant.as_str()])), ("kind", texts(["catalog"])), ("state", texts([text]))])?;
        self.server.insert(operation, LOG, row).await?;
        // Those before say nothing any more; there are few, because catalogs seldom change.
        let older = format!(
            "DELETE FROM {LOG} WHERE tenant = {{tenant:String}} AND kind = 'catalog' AND _block_number < (
    SELECT max(_block_number) FROM {LOG} WHERE tenant = {{tenant:String}} AND kind = 'catalog'
)"
        );
        self.server.execute(operation, Statement::new(older).text("tenant", tenant.as_str())).await
    }

    /// The catalog of a tenant that was kept last; `None` when none was, or when this version cannot read it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        Ok(self.newest_catalog(tenant).await?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn newest_catalog(&self, tenant: &TenantId) -> Result<Option<String>, LedgerError> {
        let text = format!(
            "SELECT state FROM {LOG} WHERE tenant = {{tenant:String}} AND kind = 'catalog' ORDER BY _block_number DESC LIMIT 1"
        );
        let found = self.server.rows::<(String,)>("read the catalog", Statement::new(text).text("tenant", tenant.as_str())).await?;
        Ok(found.into_iter().next().map(|(text,)| text))
    }
}
