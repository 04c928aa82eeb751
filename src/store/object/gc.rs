//! What nothing refers to any more: found by comparing what is there with what the log says.
//!
//! What can be proven dead goes at once: files staged under a lease that was fenced off, public files whose rows stand in another, indexes
//! that no checkpoint names. What somebody who reads or waits may still know of goes after the grace period: snapshots that were replaced,
//! and records of commits. Of those the ones from the second newest checkpoint on stay in any case, so that the state can be read even when
//! the newest one is damaged. In the public folders only what the store wrote itself is touched.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;

use super::layout::PublicName;
use super::log::{self, LogState};
use super::place::Place;
use super::publish::{self, delete_all};
use super::read::Rows;
use super::record::{FileRef, Index};
use super::table::{Look, Table};
use super::{ObjectLedger, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{Garbage, Lease, LeaseScope, LedgerError, Waste};

/// Why a file goes that only a local disk has, under a name that no store of this kind lists.
const HALF_WRITTEN: &str = "a writer died in the middle of it";

/// What there is, without doing anything about it.
pub(super) async fn garbage(ledger: &ObjectLedger, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
    let state = ledger.log().await?;
    let newest = ledger.leases.numbers(&LeaseScope::Tenant(tenant.clone())).await?.into_iter().max().unwrap_or(0);
    let fenced = state.tenants.get(tenant).map_or(0, |entry| entry.lease).max(newest);
    find(ledger, &state, tenant, fenced, grace).await
}

/// Deletes what there is.
pub(super) async fn collect(
    ledger: &ObjectLedger,
    lease: &Lease,
    tenant: &TenantId,
    grace: Duration,
) -> Result<Garbage, LedgerError> {
    ledger.check_newest(tenant, lease.number).await?;
    // What is settled away before anything is looked for was waste as well, unless it was committed at the last moment.
    let before = find(ledger, &*ledger.log().await?, tenant, lease.number, grace).await?;
    let state = ledger.settle(lease, tenant).await?;
    let mut found = find(ledger, &state, tenant, lease.number, grace).await?;
    let whole = found.waste.iter().filter(|waste| waste.why != HALF_WRITTEN);
    delete_all(ledger.place(), whole.map(|waste| Path::from(waste.path.as_str())).collect()).await?;
    ledger.place().sweep(&layout::folders(tenant)).await?;
    let known: BTreeSet<String> = found.waste.iter().map(|waste| waste.path.clone()).collect();
    for waste in before.waste.into_iter().filter(|waste| !known.contains(&waste.path)) {
        if ledger.place().size(&Path::from(waste.path.as_str())).await?.is_none() {
            found.waste.push(waste);
        }
    }
    found.waste.sort();
    Ok(found)
}

/// Everything that nothing refers to, where leases before `lease` are known to be over.
async fn find(
    ledger: &ObjectLedger,
    state: &LogState,
    tenant: &TenantId,
    lease: u64,
    grace: Duration,
) -> Result<Garbage, LedgerError> {
    let place = ledger.place();
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let before = ledger.now().checked_sub(grace).unwrap_or(Timestamp::MIN);
    let mut found = Garbage::default();
    immutable(place, state, tenant, lease, before, &mut found).await?;
    let index = log::index_of(place, state, tenant).await?;
    let published = log::published(place).await?;
    public(place, state, tenant, &index, published, &mut found).await?;
    records(ledger, state, published, before, &mut found).await?;
    leases(ledger, tenant, lease, &mut found).await?;
    for (path, bytes) in place.half_written(&layout::folders(tenant)).await? {
        found.waste.push(Waste { path: path.to_string_lossy().into_owned(), bytes, why: HALF_WRITTEN });
    }
    found.waste.sort();
    found.foreign.sort();
    Ok(found)
}

async fn immutable(
    place: &Place,
    state: &LogState,
    tenant: &TenantId,
    lease: u64,
    before: Timestamp,
    found: &mut Garbage,
) -> Result<(), LedgerError> {
    let old: BTreeSet<&str> = state
        .tenants
        .get(tenant)
        .into_iter()
        .flat_map(|entry| &entry.superseded)
        .filter(|old| old.since < before)
        .map(|old| old.path.as_str())
        .collect();
    let orphans: BTreeSet<Path> = publish::orphans(place, state, tenant, lease).await?.into_iter().collect();
    for (path, bytes) in place.list_sized(&layout::files(tenant)).await? {
        let why = if old.contains(path.as_ref()) {
            "a snapshot that was replaced"
        } else if orphans.contains(&path) {
            "its writer died or was fenced off, or it was replaced"
        } else {
            continue;
        };
        found.waste.push(Waste { path: path.to_string(), bytes, why });
    }
    Ok(())
}

/// Public files that the store wrote and that have no place in it any more, and foreign ones.
pub(super) async fn public(
    place: &Place,
    state: &LogState,
    tenant: &TenantId,
    index: &Index,
    published: u64,
    found: &mut Garbage,
) -> Result<(), LedgerError> {
    let entry = state.tenants.get(tenant);
    let mut referenced: BTreeSet<Path> = index.kept.iter().map(|kept| Path::from(kept.public.as_str())).collect();
    for run in &index.runs {
        let files = [Rows::Changes, Rows::History].into_iter().filter(|rows| rows.file(run).is_some());
        referenced.extend(files.map(|rows| rows.public(run)));
    }
    // Files of commits that are being published are those of commits that the log has.
    let is_settled = entry.is_none_or(|entry| entry.last_commit <= published);
    for folder in layout::public_folders(tenant) {
        for (path, bytes) in place.list_sized(&folder).await? {
            let why = match layout::public_name(&path) {
                None => None,
                Some(_) if referenced.contains(&path) => continue,
                Some(PublicName::Members(segment)) => {
                    if entry.and_then(|entry| entry.segments.get(&segment)).is_some_and(|entry| entry.snapshot.is_some()) {
                        continue;
                    }
                    let ours = is_ours(place, &path, bytes, tenant, &segment).await?;
                    ours.then_some("the segment has no members any more")
                }
                Some(PublicName::Overrides(segment)) => {
                    if entry.and_then(|entry| entry.segments.get(&segment)).is_some_and(|entry| entry.overrides.is_some()) {
                        continue;
                    }
                    let ours = is_ours(place, &path, bytes, tenant, &segment).await?;
                    ours.then_some("nothing is decided about the segment any more")
                }
                Some(PublicName::Rows(number)) => {
                    (number <= state.number).then_some("its rows stand in another file, or are kept no longer")
                }
                Some(PublicName::Kept) => Some("it is kept no longer"),
            };
            match why {
                Some(why) if is_settled => found.waste.push(Waste { path: path.to_string(), bytes, why }),
                Some(_) => {}
                None => found.foreign.push(path.to_string()),
            }
        }
    }
    Ok(())
}

/// Whether a file has the members of a segment, or what people decided about it, as the store would have written it.
pub(super) async fn is_ours(
    place: &Place,
    path: &Path,
    size: u64,
    tenant: &TenantId,
    segment: &SegmentId,
) -> Result<bool, LedgerError> {
    let file = FileRef { path: path.to_string(), size, rows: 0, blake3: String::new() };
    let Some(table) = Table::open(place, path.clone(), &file, Look::Size).await? else { return Ok(false) };
    match table.says_all(&[("tenant", tenant.as_str()), ("segment_id", segment.as_str())]).await {
        Ok(says) => Ok(says),
        Err(LedgerError::Corrupt { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Records, checkpoints and indexes that no reader begins with.
async fn records(
    ledger: &ObjectLedger,
    state: &LogState,
    published: u64,
    before: Timestamp,
    found: &mut Garbage,
) -> Result<(), LedgerError> {
    let place = ledger.place();
    let mut checkpoints = log::checkpoint_numbers(place).await?;
    checkpoints.sort_unstable();
    let [.., second, newest] = checkpoints.as_slice() else { return Ok(()) };
    let mut commits = place.list_sized(&layout::commits()).await?;
    commits.retain(|(path, _)| layout::numbered(path).is_some_and(|number| number <= *second && number <= published));
    commits.sort();
    // Commits are of their time in the order of their numbers, or nearly so: look for the first that is too young.
    let (mut low, mut high) = (0, commits.len());
    while low < high {
        let middle = low.midpoint(high);
        let number = commits.get(middle).and_then(|(path, _)| layout::numbered(path)).unwrap_or(0);
        let is_old = match log::commit(place, number).await {
            Ok(commit) => commit.committed_at < before,
            Err(LedgerError::Corrupt { .. }) => true,
            Err(error) => return Err(error),
        };
        if is_old { low = middle + 1 } else { high = middle }
    }
    let waste = |(path, bytes): (Path, u64), why| Waste { path: path.to_string(), bytes, why };
    let mut indexes = state.indexes.clone();
    for number in [second, newest] {
        indexes.extend(log::indexes_of(place, *number).await?);
    }
    let referenced: BTreeSet<Path> = indexes.iter().filter(|index| state.needs(index)).map(log::IndexRef::path).collect();
    let is_old = |path: &Path, than: u64| layout::numbered(path).is_some_and(|number| number < than);
    commits.truncate(low);
    found.waste.extend(commits.into_iter().map(|file| waste(file, "checkpoints stand for it")));
    let checkpoints = place.list_sized(&layout::checkpoints()).await?.into_iter().filter(|(path, _)| is_old(path, *second));
    found.waste.extend(checkpoints.map(|file| waste(file, "newer checkpoints stand for it")));
    let indexes = place.list_sized(&layout::indexes()).await?;
    let indexes = indexes.into_iter().filter(|(path, _)| is_old(path, *newest + 1) && !referenced.contains(path));
    found.waste.extend(indexes.map(|file| waste(file, "newer indexes stand for it")));
    Ok(())
}

/// Leases that are over: a newer one of the same scope was taken.
async fn leases(ledger: &ObjectLedger, tenant: &TenantId, lease: u64, found: &mut Garbage) -> Result<(), LedgerError> {
    let scheduler = ledger.leases.numbers(&LeaseScope::Scheduler).await?.into_iter().max().unwrap_or(0);
    for (scope, newest) in [(LeaseScope::Scheduler, scheduler), (LeaseScope::Tenant(tenant.clone()), lease)] {
        for (path, bytes) in ledger.place().list_sized(&layout::leases(&scope)).await? {
            if layout::numbered(&path).is_some_and(|number| number < newest) {
                found.waste.push(Waste { path: path.to_string(), bytes, why: "a newer lease was taken" });
            }
        }
    }
    Ok(())
}
