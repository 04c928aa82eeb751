//! Puts the public files of committed runs in place, and deletes what nothing refers to any more. Everything here can be done again
//! from the start, by any writer, at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::layout;
use super::log::{self, LogState};
use super::place::{Copied, FILES_AT_ONCE, Place};
use super::record::{Action, CommitRecord, FileRef, RunRecord, SegmentRecord, SnapshotChange};
use super::table::check_whole;
use crate::model::id::TenantId;
use crate::store::LedgerError;

/// Puts the public files of every commit in place, those of other writers included, and returns the state that they show.
pub(super) async fn publish(place: &Place, mut state: Arc<LogState>) -> Result<Arc<LogState>, LedgerError> {
    loop {
        let published = log::published(place).await?;
        let mut placed = Vec::new();
        for number in published + 1..=state.number {
            let commit = log::commit(place, number).await?;
            place_commit(place, &commit, &state, &mut placed).await?;
        }
        // What they name was made to last before it was committed: a copy on a disk is another name of the same content.
        place.persist_names(&placed).await?;
        if published < state.number {
            log::set_published(place, state.number).await?;
        }
        // A writer that was held up may just have put an older snapshot over a newer one: what was committed meanwhile is put in
        // place once more.
        let newer = log::read(place, Some(Arc::clone(&state))).await?;
        if newer.number == state.number {
            return Ok(newer);
        }
        state = newer;
    }
}

/// Deletes the immutable files of a run that nothing reads after it was published.
pub(super) async fn discard(place: &Place, run: &RunRecord) -> Result<(), LedgerError> {
    let staged = [&run.changes, &run.history].into_iter().flatten().map(FileRef::location);
    let superseded = run.discarded.iter().map(|path| Path::from(path.as_str()));
    delete_all(place, staged.chain(superseded).collect()).await
}

/// Deletes files, some at the same time.
pub(super) async fn delete_all(place: &Place, paths: Vec<Path>) -> Result<(), LedgerError> {
    let deleted = futures::stream::iter(paths).map(|path| {
        let place = place.clone();
        async move { place.delete(&path).await }
    });
    deleted.buffered(FILES_AT_ONCE).try_collect().await
}

/// The immutable files of a tenant, written under leases older than `lease`, to which nothing refers. All commits are published.
pub(super) async fn orphans(place: &Place, state: &LogState, tenant: &TenantId, lease: u64) -> Result<Vec<Path>, LedgerError> {
    let mut referenced = BTreeSet::new();
    if let Some(entry) = state.tenants.get(tenant) {
        referenced.extend(entry.segments.values().filter_map(|segment| segment.snapshot.as_ref()).map(FileRef::location));
        let overrides = entry.segments.values().filter_map(|segment| segment.overrides.as_ref());
        referenced.extend(overrides.map(|overrides| overrides.file.location()));
        referenced.extend(entry.superseded.iter().map(|superseded| Path::from(superseded.path.as_str())));
    }
    let mut found = place.list(&layout::files(tenant)).await?;
    found.retain(|path| layout::lease_of_file(path).is_some_and(|older| older < lease) && !referenced.contains(path));
    found.sort();
    Ok(found)
}

async fn place_commit(place: &Place, commit: &CommitRecord, state: &LogState, placed: &mut Vec<Path>) -> Result<(), LedgerError> {
    let CommitRecord { number, tenant, action, .. } = commit;
    let Action::Run(run) = action else { return Ok(()) };
    let mut copies = Vec::new();
    let entry_of = |segment| state.tenants.get(tenant).and_then(|entry| entry.segments.get(segment));
    for (segment, record) in &run.segments {
        let current = entry_of(segment).and_then(|entry| entry.snapshot.as_ref());
        let public = layout::memberships(tenant, segment);
        match record {
            SegmentRecord::Updated { snapshot: SnapshotChange::Replaced(file), .. } if current == Some(file) => {
                copies.push((file, public));
            }
            SegmentRecord::Deleted | SegmentRecord::Updated { snapshot: SnapshotChange::Removed, .. } if current.is_none() => {
                place.delete(&public).await?;
            }
            // A later commit of this round says what stands there.
            SegmentRecord::Deleted | SegmentRecord::Updated { .. } => {}
        }
        if entry_of(segment).is_none() {
            place.delete(&layout::overrides(tenant, segment)).await?;
        }
    }
    for (segment, overrides) in &run.overrides {
        if entry_of(segment).and_then(|entry| entry.overrides.as_ref()) == Some(overrides) {
            copies.push((&overrides.file, layout::overrides(tenant, segment)));
        }
    }
    copies.extend(run.changes.iter().map(|file| (file, layout::changes(tenant, run.evaluation_date, *number, run.run_id))));
    copies.extend(run.history.iter().map(|file| (file, layout::history(tenant, run.evaluation_date, *number, run.run_id))));
    let copies: Vec<(Place, FileRef, Path)> =
        copies.into_iter().map(|(file, public)| (place.clone(), file.clone(), public)).collect();
    let copied = futures::stream::iter(copies).map(|(place, file, public)| async move {
        let copied = place.copy(&file.location(), &public).await?;
        Ok((file, public, copied))
    });
    let copied: Vec<(FileRef, Path, Copied)> = copied.buffered(FILES_AT_ONCE).try_collect().await?;
    for (file, public, copied) in copied {
        match copied {
            Copied::Whole => placed.push(public),
            // Another writer has published this commit and gone on.
            Copied::SourceAbsent if log::published(place).await? >= *number => {}
            Copied::SourceAbsent => match check_whole(place, &public, &file).await {
                // The same, before a writer that was held up put an older number over the newer one.
                Ok(()) => {}
                Err(LedgerError::Corrupt { .. }) => {
                    return Err(LedgerError::Corrupt { path: file.path, problem: "it is missing".to_owned() });
                }
                Err(error) => return Err(error),
            },
        }
    }
    Ok(())
}
