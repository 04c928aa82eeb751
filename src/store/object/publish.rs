//! Puts the public files of committed runs in place, and deletes what nothing refers to any more. Everything here can be done again
//! from the start, by any writer, at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::layout;
use super::log::{self, LogState};
use super::place::{Copied, FILES_AT_ONCE, Place};
use super::record::{
    Action, CommitRecord, FileRef, Publication, RewriteHistory, RewriteRecord, RunRecord, SegmentRecord, SnapshotChange,
};
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

/// Deletes the immutable files of a commit that nothing reads after it was published.
pub(super) async fn discard(place: &Place, action: &Action) -> Result<(), LedgerError> {
    let files: Vec<Path> = match action {
        Action::Claim => Vec::new(),
        Action::Run(run) => {
            let staged = [&run.changes, &run.history].into_iter().flatten().map(FileRef::location);
            staged.chain(run.discarded.iter().map(|path| Path::from(path.as_str()))).collect()
        }
        Action::Rewrite(rewrite) => {
            let staged = rewrite.published.iter().map(|Publication { file, .. }| file.location());
            let staged = staged.chain(rewrite.history.iter().map(|history| history.file.location()));
            staged.chain(rewrite.discarded.iter().map(|path| Path::from(path.as_str()))).collect()
        }
    };
    delete_all(place, files).await
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
        referenced.extend(entry.base.iter().map(|base| Path::from(base.index.as_str())));
    }
    let mut found = place.list(&layout::files(tenant)).await?;
    found.retain(|path| layout::lease_of_file(path).is_some_and(|older| older < lease) && !referenced.contains(path));
    found.sort();
    Ok(found)
}

async fn place_commit(place: &Place, commit: &CommitRecord, state: &LogState, placed: &mut Vec<Path>) -> Result<(), LedgerError> {
    match &commit.action {
        Action::Claim => Ok(()),
        Action::Run(run) => place_run(place, commit, run, state, placed).await,
        Action::Rewrite(rewrite) => place_rewrite(place, commit, rewrite, state, placed).await,
    }
}

async fn place_run(
    place: &Place,
    commit: &CommitRecord,
    run: &RunRecord,
    state: &LogState,
    placed: &mut Vec<Path>,
) -> Result<(), LedgerError> {
    let CommitRecord { number, tenant, .. } = commit;
    let entry = state.tenants.get(tenant);
    let mut copies = Vec::new();
    let entry_of = |segment| entry.and_then(|entry| entry.segments.get(segment));
    for (segment, record) in &run.segments {
        let current = entry_of(segment).and_then(|entry| entry.snapshot.as_ref());
        let public = layout::memberships(tenant, segment);
        match record {
            SegmentRecord::Updated { snapshot: SnapshotChange::Replaced(file), .. } if current == Some(file) => {
                copies.push((file.clone(), public));
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
            copies.push((overrides.file.clone(), layout::overrides(tenant, segment)));
        }
    }
    // What was rewritten since has other files by now.
    if entry.is_none_or(|entry| entry.through() < *number) {
        let date = run.evaluation_date;
        copies.extend(run.changes.iter().map(|file| (file.clone(), layout::changes(tenant, date, *number, run.run_id))));
        copies.extend(run.history.iter().map(|file| (file.clone(), layout::history(tenant, date, *number, run.run_id))));
        copies.extend(run.kept.iter().map(|kept| (kept.file.clone(), Path::from(kept.public.as_str()))));
    }
    place_copies(place, copies, *number, placed).await
}

/// The new files come before the old ones go: for a moment other tools may see rows twice, and never miss one.
async fn place_rewrite(
    place: &Place,
    commit: &CommitRecord,
    rewrite: &RewriteRecord,
    state: &LogState,
    placed: &mut Vec<Path>,
) -> Result<(), LedgerError> {
    let entry = state.tenants.get(&commit.tenant);
    let mut copies = Vec::new();
    if entry.and_then(|entry| entry.base.as_ref()).is_some_and(|base| base.number == commit.number) {
        let published = rewrite.published.iter();
        copies.extend(published.map(|Publication { file, public }| (file.clone(), Path::from(public.as_str()))));
    }
    if let Some(RewriteHistory { evaluation_date, file, .. }) = &rewrite.history
        && entry.is_none_or(|entry| entry.through() < commit.number)
    {
        let public = layout::history(&commit.tenant, *evaluation_date, commit.number, rewrite.rewrite_id);
        copies.push((file.clone(), public));
    }
    for (segment, file) in &rewrite.snapshots {
        let current = entry.and_then(|entry| entry.segments.get(segment)).and_then(|entry| entry.snapshot.as_ref());
        if current == Some(file) {
            copies.push((file.clone(), layout::memberships(&commit.tenant, segment)));
        }
    }
    for (segment, overrides) in &rewrite.overrides {
        let current = entry.and_then(|entry| entry.segments.get(segment)).and_then(|entry| entry.overrides.as_ref());
        if current == Some(overrides) {
            copies.push((overrides.file.clone(), layout::overrides(&commit.tenant, segment)));
        }
    }
    place_copies(place, copies, commit.number, placed).await?;
    delete_all(place, rewrite.retracted.iter().map(|path| Path::from(path.as_str())).collect()).await
}

async fn place_copies(place: &Place, copies: Vec<(FileRef, Path)>, number: u64, placed: &mut Vec<Path>) -> Result<(), LedgerError> {
    let copies: Vec<(Place, FileRef, Path)> = copies.into_iter().map(|(file, public)| (place.clone(), file, public)).collect();
    let copied = futures::stream::iter(copies).map(|(place, file, public)| async move {
        let copied = place.copy(&file.location(), &public).await?;
        Ok((file, public, copied))
    });
    let copied: Vec<(FileRef, Path, Copied)> = copied.buffered(FILES_AT_ONCE).try_collect().await?;
    for (file, public, copied) in copied {
        match copied {
            Copied::Whole => placed.push(public),
            // Another writer has published this commit and gone on.
            Copied::SourceAbsent if log::published(place).await? >= number => {}
            Copied::SourceAbsent => match check_whole(place, &public, &file).await {
                // It did so before a writer that was held up took the number back.
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
