//! Writing files that take the place of others: staged in a folder of their own, as those of a run are, and committed with one record.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use object_store::path::Path;
use uuid::Uuid;

use super::chunk::{Column, Layout};
use super::encode::GROUP_ROWS;
use super::log::{Entry, LogState};
use super::place::{Place, failed};
use super::record::{Action, FileRef, Index, OverrideRecord, Publication, Purpose, RewriteHistory, RewriteRecord, encode};
use super::table::TableWriter;
use super::{ObjectLedger, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{Lease, LedgerError};

/// A rewrite on its way.
pub(super) struct Rewrite {
    ledger: ObjectLedger,
    tenant: TenantId,
    lease: u64,
    attempt: u64,
    base: Arc<LogState>,
    pub(super) folder: Path,
    pub(super) rewrite_id: Uuid,
    pub(super) published: Vec<Publication>,
    pub(super) retracted: Vec<String>,
    pub(super) snapshots: BTreeMap<SegmentId, FileRef>,
    pub(super) overrides: BTreeMap<SegmentId, OverrideRecord>,
    pub(super) counts: BTreeMap<SegmentId, u64>,
    pub(super) history: Option<RewriteHistory>,
    /// Immutable files that nothing refers to after it.
    pub(super) discarded: Vec<String>,
}

impl Rewrite {
    /// Starts one of what the log says in `base`.
    pub(super) fn new(ledger: &ObjectLedger, tenant: &TenantId, lease: &Lease, base: Arc<LogState>, rewrite_id: Uuid) -> Self {
        let attempt = ledger.next_attempt();
        Self {
            ledger: ledger.clone(),
            tenant: tenant.clone(),
            lease: lease.number,
            attempt,
            base,
            folder: layout::transaction(tenant, lease.number, attempt),
            rewrite_id,
            published: Vec::new(),
            retracted: Vec::new(),
            snapshots: BTreeMap::new(),
            overrides: BTreeMap::new(),
            counts: BTreeMap::new(),
            history: None,
            discarded: Vec::new(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        self.ledger.place()
    }

    /// Writes the index that tells of everything up to a commit, and commits.
    pub(super) async fn commit(self, purpose: Purpose, index: &Index, through: u64) -> Result<(), LedgerError> {
        let place = self.ledger.place();
        let path = layout::tenant_index(&self.folder);
        place.replace(&path, encode(&path, index)?).await?;
        let mut files: Vec<Path> = self.published.iter().map(|publication| publication.file.location()).collect();
        files.extend(self.snapshots.values().map(FileRef::location));
        files.extend(self.overrides.values().map(|overrides| overrides.file.location()));
        files.extend(self.history.iter().map(|history| history.file.location()));
        files.push(path.clone());
        place.persist(&files).await?;
        let before = self.base.tenants.get(&self.tenant).and_then(|entry| entry.base.as_ref());
        let record = RewriteRecord {
            rewrite_id: self.rewrite_id,
            purpose,
            through,
            index: path.to_string(),
            discarded: self.discarded.into_iter().chain(before.map(|base| base.index.clone())).collect(),
            published: self.published,
            retracted: self.retracted,
            snapshots: self.snapshots,
            overrides: self.overrides,
            counts: self.counts,
            history: self.history,
        };
        self.ledger.check_newest(&self.tenant, self.lease).await?;
        let action = Action::Rewrite(record);
        let committed_at = self.ledger.now();
        let entry = Entry { tenant: self.tenant, lease: self.lease, attempt: self.attempt, committed_at, action };
        self.ledger.commit(self.base, entry).await
    }
}

/// A new file of rows, written as they come.
pub(super) struct Output {
    path: Path,
    schema: SchemaRef,
    layout: Layout,
    writer: TableWriter,
    waiting: Vec<RecordBatch>,
    rows: u64,
}

impl Output {
    pub(super) fn create(place: &Place, path: Path, schema: SchemaRef) -> Result<Self, LedgerError> {
        let layout = Layout::new(schema.clone()).map_err(|error| failed("write", &path, error))?;
        let writer = TableWriter::create(place, path.clone(), &layout)?;
        Ok(Self { path, schema, layout, writer, waiting: Vec::new(), rows: 0 })
    }

    pub(super) async fn add(&mut self, batch: RecordBatch) -> Result<(), LedgerError> {
        self.rows += batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            self.waiting.push(batch);
        }
        if self.rows >= GROUP_ROWS { self.flush().await } else { Ok(()) }
    }

    /// Ends the file and puts it in place, whole.
    pub(super) async fn finish(mut self) -> Result<FileRef, LedgerError> {
        self.flush().await?;
        self.writer.finish().await
    }

    async fn flush(&mut self) -> Result<(), LedgerError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let batches = std::mem::take(&mut self.waiting);
        self.rows = 0;
        let rows = concat_batches(&self.schema, &batches).map_err(|error| failed("write", &self.path, error))?;
        let columns = rows.columns().iter().map(|column| Column::Array(Arc::clone(column))).collect();
        let group = self.layout.encode(columns, rows.num_rows()).map_err(|error| failed("write", &self.path, error))?;
        self.writer.append(group).await
    }
}
