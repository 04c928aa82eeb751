//! The catalog that the last run of a tenant saw, kept for checks without the tables. It is state that may be lost: no commit
//! refers to it.

use bytes::Bytes;

use super::{ObjectLedger, layout};
use crate::model::catalog::Catalog;
use crate::model::id::TenantId;
use crate::store::LedgerError;

impl ObjectLedger {
    /// Keeps the catalog of a tenant in place of the one before.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_catalog(&self, tenant: &TenantId, catalog: &Catalog) -> Result<(), LedgerError> {
        let path = layout::catalog(tenant);
        let unprintable = |error: serde_json::Error| LedgerError::Corrupt { path: path.to_string(), problem: error.to_string() };
        let text = serde_json::to_vec_pretty(catalog).map_err(unprintable)?;
        self.place().replace(&path, Bytes::from(text)).await
    }

    /// The catalog of a tenant that was kept last; `None` when none was, or when this version cannot read it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kept_catalog(&self, tenant: &TenantId) -> Result<Option<Catalog>, LedgerError> {
        let text = self.place().read(&layout::catalog(tenant)).await?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }
}
