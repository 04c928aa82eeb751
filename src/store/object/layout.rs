//! The paths of the store, relative to its root: every one of them is built and parsed here and nowhere else. Numbers are padded, so
//! that names sort as the numbers do.

use jiff::civil::Date;
use object_store::path::Path;
use uuid::Uuid;

use crate::model::id::{SegmentId, TenantId};
use crate::store::LeaseScope;

/// The current members of a segment, for other tools.
pub(super) fn memberships(tenant: &TenantId, segment: &SegmentId) -> Path {
    Path::from(format!("memberships/{tenant}/{segment}.parquet"))
}

/// What people decided by hand about a segment, for other tools.
pub(super) fn overrides(tenant: &TenantId, segment: &SegmentId) -> Path {
    Path::from(format!("overrides/{tenant}/{segment}.parquet"))
}

/// The folders in which files of a tenant are put in place.
pub(super) fn folders(tenant: &TenantId) -> [Path; 5] {
    ["memberships", "overrides", "changes", "history", "log/files"].map(|folder| Path::from(format!("{folder}/{tenant}")))
}

/// The changes of one commit.
pub(super) fn changes(tenant: &TenantId, date: Date, commit: u64, run_id: Uuid) -> Path {
    Path::from(format!("changes/{tenant}/{date}/{commit:012}-{run_id}.parquet"))
}

/// The history rows of one commit.
pub(super) fn history(tenant: &TenantId, date: Date, commit: u64, run_id: Uuid) -> Path {
    Path::from(format!("history/{tenant}/{date}/{commit:012}-{run_id}.parquet"))
}

/// The catalog of a tenant that its last run saw.
pub(super) fn catalog(tenant: &TenantId) -> Path {
    Path::from(format!("state/{tenant}/catalog.json"))
}

/// How far the public files of a tenant have come whose ledger is kept elsewhere.
pub(super) fn reached(tenant: &TenantId) -> Path {
    Path::from(format!("state/{tenant}/published"))
}

/// The record of one commit.
pub(super) fn commit(number: u64) -> Path {
    Path::from(format!("log/commits/{number:012}.json"))
}

/// The folder of the checkpoints.
pub(super) fn checkpoints() -> Path {
    Path::from("log/checkpoints")
}

/// The whole state as of one commit.
pub(super) fn checkpoint(number: u64) -> Path {
    Path::from(format!("log/checkpoints/{number:012}.json"))
}

/// The files of the commits up to one, since the index before it.
pub(super) fn index(number: u64) -> Path {
    Path::from(format!("log/index/{number:012}.json"))
}

/// The number up to which the public files are in place.
pub(super) fn published() -> Path {
    Path::from("log/published")
}

/// The folder of the leases of a scope.
pub(super) fn leases(scope: &LeaseScope) -> Path {
    match scope {
        LeaseScope::Scheduler => Path::from("log/leases/scheduler"),
        LeaseScope::Tenant(tenant) => Path::from(format!("log/leases/tenants/{tenant}")),
    }
}

/// One lease of a scope.
pub(super) fn lease(scope: &LeaseScope, number: u64) -> Path {
    Path::from(format!("{}/{number:012}.json", leases(scope)))
}

/// The number in the name of a checkpoint or a lease.
pub(super) fn numbered(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// The folder of all immutable files of a tenant.
pub(super) fn files(tenant: &TenantId) -> Path {
    Path::from(format!("log/files/{tenant}"))
}

/// Where one transaction writes its immutable files.
pub(super) fn transaction(tenant: &TenantId, lease: u64, attempt: u64) -> Path {
    Path::from(format!("log/files/{tenant}/{lease:012}-{attempt:06}"))
}

/// The lease in the name of the transaction folder that holds an immutable file.
pub(super) fn lease_of_file(path: &Path) -> Option<u64> {
    let parts: Vec<_> = path.parts().collect();
    let folder = parts.get(3)?.as_ref();
    folder.split_once('-')?.0.parse().ok()
}

/// A snapshot in the folder of its transaction. Ids hold no `.`, so no segment can take the names of the other files.
pub(super) fn snapshot_file(transaction: &Path, segment: &SegmentId) -> Path {
    Path::from(format!("{transaction}/{segment}.members.parquet"))
}

/// What people decided about a segment, in the folder of the transaction that edits it.
pub(super) fn overrides_file(transaction: &Path, segment: &SegmentId) -> Path {
    Path::from(format!("{transaction}/{segment}.overrides.parquet"))
}

/// The changes in the folder of their transaction.
pub(super) fn changes_file(transaction: &Path) -> Path {
    Path::from(format!("{transaction}/changes.parquet"))
}

/// The history rows in the folder of their transaction.
pub(super) fn history_file(transaction: &Path) -> Path {
    Path::from(format!("{transaction}/history.parquet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "demo".parse().unwrap()
    }

    #[test]
    fn public_paths_are_those_that_people_are_told() {
        let date = jiff::civil::date(2026, 1, 1);
        assert_eq!(memberships(&tenant(), &"vip".parse().unwrap()).as_ref(), "memberships/demo/vip.parquet");
        assert_eq!(
            changes(&tenant(), date, 7, Uuid::nil()).as_ref(),
            "changes/demo/2026-01-01/000000000007-00000000-0000-0000-0000-000000000000.parquet"
        );
        assert_eq!(
            history(&tenant(), date, 7, Uuid::nil()).as_ref(),
            "history/demo/2026-01-01/000000000007-00000000-0000-0000-0000-000000000000.parquet"
        );
    }

    #[test]
    fn numbers_are_read_back_from_names() {
        assert_eq!(numbered(&checkpoint(64)), Some(64));
        assert_eq!(numbered(&lease(&LeaseScope::Tenant(tenant()), 3)), Some(3));
        assert_eq!(numbered(&published()), None);
        let folder = transaction(&tenant(), 12, 3);
        assert_eq!(lease_of_file(&snapshot_file(&folder, &"vip".parse().unwrap())), Some(12));
        assert_eq!(lease_of_file(&changes_file(&folder)), Some(12));
    }
}
