//! Puts right what `verify` finds, as far as what is lost stands elsewhere: counts from rows, members from changes, files from the tables.
//! Nothing that is whole is touched, and what stands nowhere else stays reported.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::ddl::CHANGES;
use super::log::{self, Base, Commit, Entry, Records, damaged};
use super::read::is_committed;
use super::server::Server;
use super::verify::{Fix, laws};
use super::{ClickHouseLedger, clean, compact, files};
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::{Fault, Lease, LeaseScope, LedgerError, Remedy};

/// What is found to be wrong, after everything was done about it that can be.
pub(super) async fn repair(
    ledger: &ClickHouseLedger,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
) -> Result<Vec<Fault>, LedgerError> {
    ledger.check_newest(&LeaseScope::Tenant(tenant.clone()), tenant, lease.number).await?;
    let server = &ledger.server.for_run(rewrite_id);
    let base = log::read(server, tenant).await?;
    let faults = laws(server, tenant, &base).await?;
    let done = committed(server, lease, tenant, rewrite_id, &base, &faults).await?;
    let mut found: Vec<Fault> = faults
        .into_iter()
        .map(|(fault, fix)| match fix {
            Some(fix) if done.contains_key(fix.segment()) => fault.with(Remedy::Done(fix.words())),
            Some(_) | None => fault.with(Remedy::None),
        })
        .collect();
    let Some(public) = &ledger.files else { return Ok(found) };
    files::catch_up(server, public, tenant).await?;
    // How far the files have come comes first: as long as nobody knows, nothing can be said of them.
    loop {
        let faults = files::faults(server, public, tenant).await?;
        let is_known = !faults.iter().any(|(_, fix)| matches!(fix, files::FileFix::Reached(_)));
        for (fault, fix) in faults {
            fix.apply(server, public, tenant).await?;
            found.push(fault.with(Remedy::Done(fix.words())));
        }
        if is_known {
            return Ok(found);
        }
    }
}

/// Commits what can be put right in the tables; returns the segments of which that is so.
async fn committed(
    server: &Server,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
    base: &Base,
    faults: &[(Fault, Option<Fix>)],
) -> Result<BTreeMap<SegmentId, Option<Entry>>, LedgerError> {
    let (mut segments, mut lost) = (BTreeMap::new(), BTreeMap::new());
    let records = log::read_records(server, tenant).await?;
    for fix in faults.iter().filter_map(|(_, fix)| fix.as_ref()) {
        let Some(entry) = base.segments.get(fix.segment()) else { continue };
        match fix {
            Fix::Count(segment, rows) => {
                let mut entry = entry.clone();
                entry.record.state.member_count = *rows;
                segments.insert(segment.clone(), Some(entry));
            }
            Fix::Rebuild(segment) => {
                let at = last_change(server, tenant, segment, &records).await?;
                lost.insert(segment.clone(), (base.commit_number, at));
            }
        }
    }
    if !lost.is_empty() {
        clean::note_begin(server, tenant, rewrite_id, lease.number).await?;
        let written = compact::write_replayed(server, tenant, rewrite_id, &records, &lost).await?;
        for (segment, entry) in &base.segments {
            if lost.contains_key(segment) && written.get(segment).copied().unwrap_or(0) == entry.record.state.member_count {
                segments.insert(segment.clone(), Some(Entry { snapshot: Some(rewrite_id), ..entry.clone() }));
            }
        }
    }
    if !segments.is_empty() {
        let commit = Commit {
            tenant,
            lease: lease.number,
            run_id: rewrite_id,
            number: base.commit_number + 1,
            segments: &segments,
            jobs: &BTreeMap::new(),
            run: None,
            kept: &[],
            cuts: &BTreeMap::new(),
        };
        commit.done(server).await?;
    }
    Ok(segments)
}

/// The instant of the last change of a segment.
async fn last_change(server: &Server, tenant: &TenantId, segment: &SegmentId, records: &Records) -> Result<Timestamp, LedgerError> {
    let text = format!(
        "SELECT count(), toUnixTimestamp64Micro(argMax(changes.at, changes.commit_number)) FROM {CHANGES} AS changes
WHERE changes.tenant = {{tenant:String}} AND changes.segment_id = {{segment:String}} AND {}",
        is_committed("changes")
    );
    let asked = Statement::new(text).text("tenant", tenant.as_str()).text("segment", segment.as_str());
    let (count, at) = server.row::<(u64, i64)>("look for the changes", asked).await?;
    let at = Timestamp::from_microsecond(at).map_err(|error| damaged(segment.as_str(), &error))?;
    Ok(if count > 0 { at } else { records.baseline(segment).map_or(at, |kept| kept.record.at) })
}
