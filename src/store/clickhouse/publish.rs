//! Copies what is committed into public files, for those who read Parquet. What a run could not copy, the next one does: the files know how
//! far they have come.

use std::collections::BTreeSet;

use jiff::civil::Date;
use uuid::Uuid;

use super::ddl::LOG;
use super::log::{self, KeptSnapshot, damaged, named};
use super::overrides;
use super::read::{self, is_committed};
use super::server::Server;
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicCommit, PublicFiles, PublicTable};
use crate::store::{LedgerError, ReadFilter};

/// Brings the files of a tenant up to the last commit. Nobody else writes to the tenant meanwhile.
pub(super) async fn publish(server: &Server, files: &PublicFiles, tenant: &TenantId) -> Result<(), LedgerError> {
    let reached = files.reached(tenant).await?;
    let base = log::read(server, tenant).await?;
    for commit in commits_after(server, tenant, reached).await? {
        for table in PublicTable::ALL {
            files.put_commit(tenant, table, commit, read::rows_of(server, tenant, table, commit.number).await?).await?;
        }
    }
    publish_kept(server, files, tenant, reached).await?;
    let (rewritten, touched) = written_after(server, tenant, reached).await?;
    for (segment, entry) in &base.segments {
        match entry.snapshot {
            Some(run) if rewritten.contains(&run) => {
                files.put_members(tenant, segment, read::members(server, tenant, segment).await?).await?;
            }
            Some(_) => {}
            None if touched.contains(segment) => files.delete_members(tenant, segment).await?,
            None => {}
        }
    }
    for segment in touched.iter().filter(|segment| base.segments.contains_key(*segment)) {
        let filter = ReadFilter::of(segment);
        files.put_overrides(tenant, segment, overrides::read(server, tenant, &filter).await?).await?;
    }
    for gone in touched.iter().filter(|segment| !base.segments.contains_key(*segment)) {
        files.delete_members(tenant, gone).await?;
        files.delete_overrides(tenant, gone).await?;
    }
    if base.commit_number > reached {
        files.set_reached(tenant, base.commit_number).await?;
    }
    Ok(())
}

/// Writes the snapshots of the past that commits after a number keep, and deletes those that they forget.
async fn publish_kept(server: &Server, files: &PublicFiles, tenant: &TenantId, reached: u64) -> Result<(), LedgerError> {
    let text = format!(
        "SELECT log.segment_id, toString(log.snapshot), max(log.state) FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'kept' AND {}
GROUP BY log.segment_id, log.snapshot HAVING max(log.commit_number) > {{reached:UInt64}}",
        is_committed("log")
    );
    let found = server.rows::<(String, Uuid, String)>("read the log", after(text, tenant, reached)).await?;
    if found.is_empty() {
        return Ok(());
    }
    let records = log::read_records(server, tenant).await?;
    for (name, snapshot, noted) in found {
        let segment = named(&name)?;
        match records.kept.iter().find(|kept| kept.segment == segment && kept.snapshot == snapshot) {
            Some(kept) => {
                files.put_kept(tenant, kept.public(), read::kept(server, tenant, kept).await?).await?;
            }
            // What the log no longer says of it, `gc` finds by what is there.
            None if noted.is_empty() => {}
            None => {
                let record = serde_json::from_str(&noted).map_err(|error| damaged(&name, &error))?;
                let gone = KeptSnapshot { segment, snapshot, member_count: 0, record };
                files.delete_kept(tenant, gone.public()).await?;
            }
        }
    }
    Ok(())
}

/// The runs that were committed after a number, with the local day of each.
pub(super) async fn commits_after(server: &Server, tenant: &TenantId, reached: u64) -> Result<Vec<PublicCommit>, LedgerError> {
    let text = format!(
        "SELECT commit_number, toString(run_id), evaluation_date FROM ({}) WHERE commit_number > {{reached:UInt64}} ORDER BY commit_number",
        log::runs()
    );
    let found = server.rows::<(u64, Uuid, String)>("read the log", after(text, tenant, reached)).await?;
    let commit = |(number, run_id, day): (u64, Uuid, String)| {
        let date: Date = day.parse().map_err(|error| damaged(&format!("run {run_id}"), &error))?;
        Ok(PublicCommit { number, run_id, date })
    };
    found.into_iter().map(commit).collect()
}

/// The runs of the commits after a number, and the segments whose state they changed.
async fn written_after(
    server: &Server,
    tenant: &TenantId,
    reached: u64,
) -> Result<(BTreeSet<Uuid>, BTreeSet<SegmentId>), LedgerError> {
    let text = format!(
        "SELECT toString(log.run_id), log.segment_id FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'state' AND log.commit_number > {{reached:UInt64}} AND {}",
        is_committed("log")
    );
    let (mut runs, mut segments) = (BTreeSet::new(), BTreeSet::new());
    for (run, name) in server.rows::<(Uuid, String)>("read the log", after(text, tenant, reached)).await? {
        runs.insert(run);
        segments.insert(named(&name)?);
    }
    Ok((runs, segments))
}

fn after(text: String, tenant: &TenantId, reached: u64) -> Statement {
    Statement::new(text).text("tenant", tenant.as_str()).number("reached", "UInt64", reached)
}
