//! The paths of the store, relative to its root: every one of them is built and parsed here and nowhere else. Numbers are padded, so
//! that names sort as the numbers do.

use jiff::Timestamp;
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
pub(super) fn folders(tenant: &TenantId) -> [Path; 6] {
    ["memberships", "overrides", "changes", "history", "snapshots", "log/files"]
        .map(|folder| Path::from(format!("{folder}/{tenant}")))
}

/// The folders of a tenant that are for other tools.
pub(super) fn public_folders(tenant: &TenantId) -> [Path; 5] {
    ["memberships", "overrides", "changes", "history", "snapshots"].map(|folder| Path::from(format!("{folder}/{tenant}")))
}

/// A kept snapshot of a segment, for other tools.
pub(super) fn kept(tenant: &TenantId, segment: &SegmentId, at: Timestamp) -> Path {
    Path::from(format!("snapshots/{tenant}/{segment}/{}.parquet", at.strftime("%Y%m%dT%H%M%S%.6fZ")))
}

/// The same, of a commit that is not the first with a snapshot at that instant: the clock went back.
pub(super) fn kept_again(tenant: &TenantId, segment: &SegmentId, at: Timestamp, commit: u64) -> Path {
    Path::from(format!("snapshots/{tenant}/{segment}/{}-{commit:012}.parquet", at.strftime("%Y%m%dT%H%M%S%.6fZ")))
}

/// A snapshot of a segment that a backfill evaluated, for other tools.
pub(super) fn backfilled(tenant: &TenantId, segment: &SegmentId, at: Timestamp, run_id: Uuid) -> Path {
    Path::from(format!("snapshots/{tenant}/{segment}/{}-backfill-{run_id}.parquet", at.strftime("%Y%m%dT%H%M%S%.6fZ")))
}

/// The rows of several commits of a day in one of the folders `changes` and `history`; `commit` is the last.
pub(super) fn compacted(folder: &str, tenant: &TenantId, date: Date, commit: u64, rewrite_id: Uuid) -> Path {
    Path::from(format!("{folder}/{tenant}/{date}/{commit:012}-compacted-{rewrite_id}.parquet"))
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

/// The folder of the records of commits.
pub(super) fn commits() -> Path {
    Path::from("log/commits")
}

/// The folder of the indexes.
pub(super) fn indexes() -> Path {
    Path::from("log/index")
}

/// The files of the commits of all tenants up to one, after another. An index of the first format does not say which.
pub(super) fn index(after: Option<u64>, number: u64) -> Path {
    match after {
        Some(after) => Path::from(format!("log/index/{after:012}-{number:012}.json")),
        None => Path::from(format!("log/index/{number:012}.json")),
    }
}

/// The files of a tenant in the folder of the transaction that rewrote them.
pub(super) fn tenant_index(transaction: &Path) -> Path {
    Path::from(format!("{transaction}/index.json"))
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

/// The number in the name of a commit, a checkpoint or a lease; of an index the last one.
pub(super) fn numbered(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.rsplit('-').next()?.parse().ok()
}

/// What a public file is by its name; `None` for one that no store would name so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicName {
    /// Of the current members of a segment. Anybody may name a file so.
    Members(SegmentId),
    /// Of what people decided about a segment, likewise.
    Overrides(SegmentId),
    /// Of changes or history up to a commit.
    Rows(u64),
    /// Of a kept snapshot.
    Kept,
}

/// Reads the name of a file in the public folders of a tenant.
pub(super) fn public_name(path: &Path) -> Option<PublicName> {
    let parts: Vec<_> = path.parts().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        ["memberships", _, name] => name.strip_suffix(".parquet")?.parse().ok().map(PublicName::Members),
        ["overrides", _, name] => name.strip_suffix(".parquet")?.parse().ok().map(PublicName::Overrides),
        ["changes" | "history", _, day, name] => {
            day.parse::<Date>().ok()?;
            let (commit, rest) = name.strip_suffix(".parquet")?.split_once('-')?;
            let id = rest.strip_prefix("compacted-").unwrap_or(rest);
            (commit.len() == 12 && id.parse::<Uuid>().is_ok()).then(|| commit.parse().ok().map(PublicName::Rows))?
        }
        ["snapshots", _, segment, name] => {
            segment.parse::<SegmentId>().ok()?;
            let name = name.strip_suffix(".parquet")?;
            let instant = name.split('-').next()?;
            let shape: String = instant.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
            (shape == "00000000T000000.000000Z").then_some(PublicName::Kept)
        }
        _ => None,
    }
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

/// A snapshot of the past that a backfill evaluated, in the folder of its transaction.
pub(super) fn past_file(transaction: &Path, segment: &SegmentId) -> Path {
    Path::from(format!("{transaction}/{segment}.past.parquet"))
}

/// The changes in the folder of their transaction.
pub(super) fn changes_file(transaction: &Path) -> Path {
    Path::from(format!("{transaction}/changes.parquet"))
}

/// The rows of several commits up to one, of one of the folders `changes` and `history`, in the folder of the transaction that puts
/// them together.
pub(super) fn compacted_file(transaction: &Path, folder: &str, commit: u64) -> Path {
    Path::from(format!("{transaction}/{folder}.{commit:012}.parquet"))
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
    fn public_names_are_told_from_foreign_ones() {
        let date = jiff::civil::date(2026, 1, 1);
        let at: Timestamp = "2026-01-01T00:00:00.000007Z".parse().unwrap();
        let vip: SegmentId = "vip".parse().unwrap();
        assert_eq!(kept(&tenant(), &vip, at).as_ref(), "snapshots/demo/vip/20260101T000000.000007Z.parquet");
        for (path, name) in [
            (memberships(&tenant(), &vip), PublicName::Members(vip.clone())),
            (overrides(&tenant(), &vip), PublicName::Overrides(vip.clone())),
            (changes(&tenant(), date, 7, Uuid::nil()), PublicName::Rows(7)),
            (compacted("history", &tenant(), date, 9, Uuid::nil()), PublicName::Rows(9)),
            (kept(&tenant(), &vip, at), PublicName::Kept),
            (kept_again(&tenant(), &vip, at, 3), PublicName::Kept),
            (backfilled(&tenant(), &vip, at, Uuid::nil()), PublicName::Kept),
        ] {
            assert_eq!(public_name(&path), Some(name), "{path}");
        }
        for foreign in [
            "memberships/demo/notes.txt",
            "memberships/demo/x/vip.parquet",
            "changes/demo/2026-01-01/mine.parquet",
            "changes/demo/2026-01-01/000000000007-mine.parquet",
            "changes/demo/today/000000000007-00000000-0000-0000-0000-000000000000.parquet",
            "snapshots/demo/vip/20260101.parquet",
        ] {
            assert_eq!(public_name(&Path::from(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn numbers_are_read_back_from_names() {
        assert_eq!(numbered(&checkpoint(64)), Some(64));
        assert_eq!(numbered(&lease(&LeaseScope::Tenant(tenant()), 3)), Some(3));
        assert_eq!(numbered(&published()), None);
        assert_eq!((numbered(&index(Some(3), 64)), numbered(&index(None, 64))), (Some(64), Some(64)));
        let folder = transaction(&tenant(), 12, 3);
        assert_eq!(lease_of_file(&snapshot_file(&folder, &"vip".parse().unwrap())), Some(12));
        assert_eq!(lease_of_file(&changes_file(&folder)), Some(12));
    }
}
