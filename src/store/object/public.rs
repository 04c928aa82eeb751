//! [`PublicFiles`]: the files that other tools read, for a ledger that is kept elsewhere: snapshots, changes and history at the same paths
//! and in the same columns. Here is no log of commits: how far the files of a tenant have come is one number.

use std::fmt;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::AsyncArrowWriter;
use futures::StreamExt as _;
use jiff::civil::Date;
use object_store::path::Path;
use uuid::Uuid;

use super::chunk::properties;
use super::layout;
use super::place::{Place, failed};
use crate::model::id::{SegmentId, TenantId};
use crate::store::rows::{change_schema, history_schema, membership_schema, override_schema};
use crate::store::{LedgerError, RowStream};

/// The public files below a place. Every file appears whole; rows are written as they come, so that memory is bounded.
#[derive(Clone)]
pub struct PublicFiles {
    place: Place,
}

impl fmt::Debug for PublicFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// A commit whose rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicCommit {
    /// Its number.
    pub number: u64,
    /// Its run.
    pub run_id: Uuid,
    /// The local day of the run.
    pub date: Date,
}

impl PublicFiles {
    /// The files at a place. A ledger of files must not be there: each would write over the other's.
    ///
    /// # Errors
    /// When one is, or nobody can look.
    pub async fn open(place: Place) -> Result<Self, LedgerError> {
        if place.list(&layout::checkpoints()).await?.is_empty() && place.size(&layout::commit(1)).await?.is_none() {
            return Ok(Self { place });
        }
        let problem = "a store of files is kept there, with commits of its own; name another folder".to_owned();
        Err(LedgerError::Corrupt { path: place.location().to_owned(), problem })
    }

    /// What the place is called in messages.
    #[must_use]
    pub fn location(&self) -> &str {
        self.place.location()
    }

    /// The number of the last commit of a tenant whose files are in place; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn reached(&self, tenant: &TenantId) -> Result<u64, LedgerError> {
        let path = layout::reached(tenant);
        let Some(bytes) = self.place.read(&path).await? else { return Ok(0) };
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| LedgerError::Corrupt { path: path.to_string(), problem: "it holds no number".to_owned() })
    }

    /// Notes that the files of all commits of a tenant up to a number are in place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_reached(&self, tenant: &TenantId, number: u64) -> Result<(), LedgerError> {
        let path = layout::reached(tenant);
        self.place.replace(&path, Bytes::from(format!("{number}\n"))).await?;
        self.place.persist(&[path]).await
    }

    /// Writes the current members of a segment, in the columns of [`membership_schema`] and by subject id.
    ///
    /// # Errors
    /// When a row cannot be read, or the file not be written.
    pub async fn put_members(&self, tenant: &TenantId, segment: &SegmentId, rows: RowStream) -> Result<u64, LedgerError> {
        self.write(layout::memberships(tenant, segment), &membership_schema(), rows).await
    }

    /// Deletes the members of a segment that is gone.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub async fn delete_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<(), LedgerError> {
        self.place.delete(&layout::memberships(tenant, segment)).await
    }

    /// Writes what people decided by hand about a segment, in the columns of [`override_schema`]; no file when they never did.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_overrides(&self, tenant: &TenantId, segment: &SegmentId, rows: RowStream) -> Result<u64, LedgerError> {
        self.write_some(layout::overrides(tenant, segment), &override_schema(), rows).await
    }

    /// Deletes what people decided about a segment that is gone.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub async fn delete_overrides(&self, tenant: &TenantId, segment: &SegmentId) -> Result<(), LedgerError> {
        self.place.delete(&layout::overrides(tenant, segment)).await
    }

    /// Writes the changes of a commit; no file when there is none.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_changes(&self, tenant: &TenantId, commit: PublicCommit, rows: RowStream) -> Result<u64, LedgerError> {
        let PublicCommit { number, run_id, date } = commit;
        self.write_some(layout::changes(tenant, date, number, run_id), &change_schema(), rows).await
    }

    /// Writes the history rows of a commit; no file when there is none.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_history(&self, tenant: &TenantId, commit: PublicCommit, rows: RowStream) -> Result<u64, LedgerError> {
        let PublicCommit { number, run_id, date } = commit;
        self.write_some(layout::history(tenant, date, number, run_id), &history_schema(), rows).await
    }

    async fn write_some(&self, path: Path, schema: &SchemaRef, rows: RowStream) -> Result<u64, LedgerError> {
        let mut rows = rows.peekable();
        while let Some(Ok(batch)) = std::pin::Pin::new(&mut rows).peek().await {
            if batch.num_rows() > 0 {
                return self.write(path, schema, rows.boxed()).await;
            }
            rows.next().await;
        }
        match rows.next().await {
            Some(Err(error)) => Err(error),
            // An earlier one may have had rows.
            Some(Ok(_)) | None => self.place.delete(&path).await.map(|()| 0),
        }
    }

    async fn write(&self, path: Path, schema: &SchemaRef, mut rows: RowStream) -> Result<u64, LedgerError> {
        let unwritten = |error| failed("write", &path, error);
        let writer = AsyncArrowWriter::try_new(self.place.upload(&path), schema.clone(), Some(properties()));
        let mut writer = writer.map_err(unwritten)?;
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            count += batch.num_rows() as u64;
            writer.write(&batch).await.map_err(unwritten)?;
        }
        writer.close().await.map_err(unwritten)?;
        self.place.persist(&[path]).await?;
        Ok(count)
    }
}
