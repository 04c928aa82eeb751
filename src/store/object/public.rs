//! [`PublicFiles`]: the files that other tools read, for a ledger that is kept elsewhere: snapshots, changes and history at the same paths
//! and in the same columns. Here is no log of commits: how far the files of a tenant have come is one number.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::AsyncArrowWriter;
use futures::StreamExt as _;
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;
use uuid::Uuid;

use super::chunk::properties;
use super::gc;
use super::layout::{self, PublicName};
use super::place::{Place, failed};
use super::record::FileRef;
use super::table::{Look, Table};
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

/// A snapshot of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicSnapshot<'s> {
    /// Of which segment.
    pub segment: &'s SegmentId,
    /// The instant of the run that it is the outcome of.
    pub at: Timestamp,
    /// What it is the outcome of.
    pub of: SnapshotOf,
}

/// What a snapshot of the past is the outcome of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotOf {
    /// A run.
    Run,
    /// A run when an earlier one of the same instant is kept, with its last commit.
    RunAgain(u64),
    /// A backfill, with the id of its run.
    Backfill(Uuid),
}

impl PublicSnapshot<'_> {
    /// Where its file is.
    #[must_use]
    pub fn name(&self, tenant: &TenantId) -> String {
        self.path(tenant).to_string()
    }

    fn path(&self, tenant: &TenantId) -> Path {
        match self.of {
            SnapshotOf::Run => layout::kept(tenant, self.segment, self.at),
            SnapshotOf::RunAgain(number) => layout::kept_again(tenant, self.segment, self.at, number),
            SnapshotOf::Backfill(run_id) => layout::backfilled(tenant, self.segment, self.at, run_id),
        }
    }
}

/// The tables of which each commit has files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublicTable {
    /// Entries and exits.
    Changes,
    /// A row for each segment and run.
    History,
}

impl PublicTable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Changes, Self::History];

    fn folder_of(self, tenant: &TenantId) -> Path {
        let [_, _, changes, history, _] = layout::public_folders(tenant);
        match self {
            Self::Changes => changes,
            Self::History => history,
        }
    }

    fn schema(self) -> SchemaRef {
        match self {
            Self::Changes => change_schema(),
            Self::History => history_schema(),
        }
    }

    fn path(self, tenant: &TenantId, commit: PublicCommit) -> Path {
        let PublicCommit { number, run_id, date } = commit;
        match self {
            Self::Changes => layout::changes(tenant, date, number, run_id),
            Self::History => layout::history(tenant, date, number, run_id),
        }
    }
}

/// What a file is by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicEntry {
    /// The members of a segment. Anybody may name a file so.
    Members(SegmentId),
    /// What people decided about a segment, likewise.
    Overrides(SegmentId),
    /// The rows of a commit.
    Rows(PublicTable, u64),
    /// A snapshot of the past.
    Kept,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicFile {
    path: Path,
    /// How large it is.
    pub bytes: u64,
}

impl PublicFile {
    /// Where it is, as people are told.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_ref()
    }

    /// As a file of which only the size is known.
    fn described(&self) -> FileRef {
        FileRef { path: self.path.to_string(), size: self.bytes, rows: 0, blake3: String::new() }
    }
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

    /// Writes the rows of a commit; no file when there is none.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_commit(
        &self,
        tenant: &TenantId,
        table: PublicTable,
        commit: PublicCommit,
        rows: RowStream,
    ) -> Result<u64, LedgerError> {
        self.write_some(table.path(tenant, commit), &table.schema(), rows).await
    }

    /// Writes the rows of a commit that is there anew; deletes the file when there is none.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_again(&self, table: PublicTable, file: &PublicFile, rows: RowStream) -> Result<u64, LedgerError> {
        self.write_some(file.path.clone(), &table.schema(), rows).await
    }

    /// The files of a table, by the numbers of their commits.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn of_commits(&self, tenant: &TenantId, table: PublicTable) -> Result<BTreeMap<u64, PublicFile>, LedgerError> {
        let folder = table.folder_of(tenant);
        let numbered = |(path, bytes): (Path, u64)| match layout::public_name(&path) {
            Some(PublicName::Rows(number)) => Some((number, PublicFile { path, bytes })),
            Some(PublicName::Members(_) | PublicName::Overrides(_) | PublicName::Kept) | None => None,
        };
        Ok(self.place.list_sized(&folder).await?.into_iter().filter_map(numbered).collect())
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete(&self, file: &PublicFile) -> Result<(), LedgerError> {
        self.place.delete(&file.path).await
    }

    /// Every file of a tenant, with what it is; `None` for one that no store would name so.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn entries(&self, tenant: &TenantId) -> Result<Vec<(PublicFile, Option<PublicEntry>)>, LedgerError> {
        let mut entries = Vec::new();
        for folder in layout::public_folders(tenant) {
            let table = PublicTable::ALL.into_iter().find(|table| folder == table.folder_of(tenant));
            for (path, bytes) in self.place.list_sized(&folder).await? {
                let entry = match (layout::public_name(&path), table) {
                    (Some(PublicName::Members(segment)), _) => Some(PublicEntry::Members(segment)),
                    (Some(PublicName::Overrides(segment)), _) => Some(PublicEntry::Overrides(segment)),
                    (Some(PublicName::Rows(number)), Some(table)) => Some(PublicEntry::Rows(table, number)),
                    (Some(PublicName::Kept), _) => Some(PublicEntry::Kept),
                    (Some(PublicName::Rows(_)), None) | (None, _) => None,
                };
                entries.push((PublicFile { path, bytes }, entry));
            }
        }
        Ok(entries)
    }

    /// The rows of a file, whatever wrote it.
    ///
    /// # Errors
    /// When it is missing, or no Parquet file; what is damaged in it shows when it is read.
    pub async fn rows(&self, file: &PublicFile) -> Result<RowStream, LedgerError> {
        let described = file.described();
        let table = Table::open(&self.place, file.path.clone(), &described, Look::Size).await?;
        let missing = || LedgerError::Corrupt { path: file.path.to_string(), problem: "it is missing".to_owned() };
        table.ok_or_else(missing)?.rows_there().await
    }

    /// Whether a file has rows of a segment as the store would have written it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn is_ours(&self, file: &PublicFile, tenant: &TenantId, segment: &SegmentId) -> Result<bool, LedgerError> {
        gc::is_ours(&self.place, &file.path, file.bytes, tenant, segment).await
    }

    /// Where the number is that tells how far the files have come.
    #[must_use]
    pub fn path_of_reached(tenant: &TenantId) -> String {
        layout::reached(tenant).to_string()
    }

    /// Where the members of a segment are.
    #[must_use]
    pub fn path_of_members(tenant: &TenantId, segment: &SegmentId) -> String {
        layout::memberships(tenant, segment).to_string()
    }

    /// Where that is which people decided about a segment.
    #[must_use]
    pub fn path_of_overrides(tenant: &TenantId, segment: &SegmentId) -> String {
        layout::overrides(tenant, segment).to_string()
    }

    /// Where the rows of a commit are.
    #[must_use]
    pub fn path_of(tenant: &TenantId, table: PublicTable, commit: PublicCommit) -> String {
        table.path(tenant, commit).to_string()
    }

    /// Writes a snapshot of the past, in the columns of [`membership_schema`] and by subject id.
    ///
    /// # Errors
    /// As [`PublicFiles::put_members`].
    pub async fn put_kept(&self, tenant: &TenantId, kept: PublicSnapshot<'_>, rows: RowStream) -> Result<u64, LedgerError> {
        self.write(kept.path(tenant), &membership_schema(), rows).await
    }

    /// Deletes a snapshot of the past.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub async fn delete_kept(&self, tenant: &TenantId, kept: PublicSnapshot<'_>) -> Result<(), LedgerError> {
        self.place.delete(&kept.path(tenant)).await
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
