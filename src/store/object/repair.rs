//! Puts right what `verify` finds, as far as what is lost stands elsewhere: files from their copies, members from changes, counts from
//! rows, indexes from records of commits. Nothing that is whole is touched, and what stands nowhere else stays reported.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use uuid::Uuid;

use super::log::{self, LogState};
use super::record::Purpose;
use super::rewrite::{Output, Rewrite};
use super::verify::{Findings, Fix, findings};
use super::{ObjectLedger, layout, read};
use crate::model::id::{SegmentId, TenantId};
use crate::store::replay::Folded;
use crate::store::rows::membership_schema;
use crate::store::{Fault, Lease, LedgerError, ReadFilter, Remedy};

/// What is found to be wrong.
pub(super) async fn verify(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
    let mut faults = Vec::new();
    let Some(state) = log_faults(ledger, &mut faults).await? else {
        return Ok(faults.into_iter().map(|(fault, _)| fault).collect());
    };
    let found = findings(ledger, tenant, &state).await?;
    // What a damaged index hides would be said of it twice.
    let known: Vec<_> = faults.iter().map(|(fault, _)| fault.place.clone()).collect();
    let others = found.0.into_iter().map(|(fault, _)| fault).filter(|fault| !known.contains(&fault.place));
    Ok(faults.into_iter().map(|(fault, _)| fault).chain(others).collect())
}

/// What is found to be wrong, after everything was done about it that can be.
pub(super) async fn repair(
    ledger: &ObjectLedger,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
) -> Result<Vec<Fault>, LedgerError> {
    ledger.check_newest(tenant, lease.number).await?;
    let mut found = Vec::new();
    // One fault of the log may hide another.
    loop {
        let mut faults = Vec::new();
        log_faults(ledger, &mut faults).await?;
        let mut done = Vec::new();
        for (fault, fix) in faults {
            match fix {
                Some(fix) if !found.iter().any(|known: &Fault| known.place == fault.place) => {
                    fix.apply(ledger).await?;
                    done.push(fault.with(Remedy::Done(fix.words())));
                }
                Some(_) | None => {
                    found.push(fault);
                }
            }
        }
        if done.is_empty() {
            break;
        }
        found.extend(done);
    }
    if found.iter().any(Fault::remains) {
        return Ok(found);
    }
    let state = ledger.log().await?;
    let Findings(faults) = findings(ledger, tenant, &state).await?;
    // What stands in two places comes first: whatever is rebuilt reads it.
    for (fault, fix) in &faults {
        let remedy = match fix {
            Some(fix @ Fix::Copy { from, to }) => {
                ledger.place().copy(from, to).await?;
                ledger.place().persist(std::slice::from_ref(to)).await?;
                Some(Remedy::Done(fix.words()))
            }
            Some(fix @ Fix::Delete(path)) => {
                ledger.place().delete(path).await?;
                Some(Remedy::Done(fix.words()))
            }
            Some(Fix::Rebuild(_) | Fix::Count(..)) => None,
            None => Some(Remedy::None),
        };
        if let Some(remedy) = remedy {
            found.push(fault.clone().with(remedy));
        }
    }
    let committed = faults.iter().filter_map(|(fault, fix)| match fix {
        Some(fix @ (Fix::Rebuild(_) | Fix::Count(..))) => Some((fault, fix)),
        Some(Fix::Copy { .. } | Fix::Delete(_)) | None => None,
    });
    let committed: Vec<_> = committed.collect();
    if !committed.is_empty() {
        found.extend(recorded(ledger, lease, tenant, rewrite_id, &committed).await?);
    }
    Ok(found)
}

/// Repairs that the log has to know of.
async fn recorded(
    ledger: &ObjectLedger,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
    faults: &[(&Fault, &Fix)],
) -> Result<Vec<Fault>, LedgerError> {
    let state = ledger.settle(lease, tenant).await?;
    let mut rewrite = Rewrite::new(ledger, tenant, lease, Arc::clone(&state), rewrite_id);
    let mut found = Vec::new();
    for (fault, fix) in faults {
        let is_done = match fix {
            Fix::Rebuild(segment) => rebuild(ledger, &mut rewrite, tenant, &state, segment).await?,
            Fix::Count(segment, rows) => {
                rewrite.counts.insert(segment.clone(), *rows);
                true
            }
            Fix::Copy { .. } | Fix::Delete(_) => false,
        };
        let remedy = if is_done { Remedy::Done(fix.words()) } else { Remedy::None };
        found.push((*fault).clone().with(remedy));
    }
    if !rewrite.snapshots.is_empty() || !rewrite.counts.is_empty() {
        let index = log::index_of(ledger.place(), &state, tenant).await?;
        rewrite.commit(Purpose::Repair, &index, state.number).await?;
    }
    Ok(found)
}

/// The members of a segment from its changes; `false` when those do not give as many as were recorded.
async fn rebuild(
    ledger: &ObjectLedger,
    rewrite: &mut Rewrite,
    tenant: &TenantId,
    state: &LogState,
    segment: &SegmentId,
) -> Result<bool, LedgerError> {
    if rewrite.snapshots.contains_key(segment) {
        return Ok(true);
    }
    let place = ledger.place();
    let index = log::index_of(place, state, tenant).await?;
    let baseline = index.kept.iter().find(|kept| kept.is_baseline && kept.segment == *segment);
    let before = match baseline {
        Some(kept) => match read::run_table(place, &Path::from(kept.public.as_str()), &kept.file).await {
            Ok(Some(table)) => Some(table.all_rows().await?),
            Ok(None) | Err(LedgerError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        },
        None => None,
    };
    let filter = ReadFilter::of(segment);
    let mut folded = Folded::default();
    let mut rows = read::rows(ledger, tenant, read::Rows::Changes, &filter).await?;
    loop {
        match rows.try_next().await {
            Ok(Some(batch)) => folded.add(&batch)?,
            Ok(None) => break,
            Err(LedgerError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    let mut output = Output::create(place, layout::snapshot_file(&rewrite.folder, segment), membership_schema())?;
    let mut rows = folded.over(before, tenant, segment);
    while let Some(batch) = rows.try_next().await? {
        output.add(batch).await?;
    }
    let file = output.finish().await?;
    let recorded = state.tenants.get(tenant).and_then(|entry| entry.segments.get(segment)).map(|entry| entry.member_count);
    if recorded != Some(file.rows) {
        return Ok(false);
    }
    rewrite.snapshots.insert(segment.clone(), file);
    Ok(true)
}

/// What puts a fault of the log right.
enum LogFix {
    /// How far publishing has come is told by the newest checkpoint, which is written after it.
    Published(u64),
    /// An older checkpoint, and the records after it, say the same.
    Checkpoint(Path),
    /// The records of its commits say the same.
    Index(log::IndexRef, u64),
}

impl LogFix {
    fn words(&self) -> &'static str {
        match self {
            Self::Published(_) => "written anew: checkpoints are written when all is published",
            Self::Checkpoint(_) => "deleted: the checkpoint before it and the records of commits say the same",
            Self::Index(..) => "rebuilt from the records of its commits",
        }
    }

    async fn apply(&self, ledger: &ObjectLedger) -> Result<(), LedgerError> {
        match self {
            Self::Published(number) => log::set_published(ledger.place(), *number).await,
            Self::Checkpoint(path) => ledger.place().delete(path).await,
            Self::Index(index, first) => log::rebuild_index(ledger.place(), index, *first).await,
        }
    }
}

/// The state, unless the log is so damaged that there is none, and what is wrong with the log.
async fn log_faults(
    ledger: &ObjectLedger,
    faults: &mut Vec<(Fault, Option<LogFix>)>,
) -> Result<Option<Arc<LogState>>, LedgerError> {
    let place = ledger.place();
    let mut add = |fault: Fault, fix: Option<LogFix>| {
        let remedy = fix.as_ref().map_or(Remedy::None, |fix| Remedy::Possible(fix.words()));
        faults.push((fault.with(remedy), fix));
    };
    let checkpoints = log::checkpoint_numbers(place).await?;
    let newest = checkpoints.iter().copied().max();
    let published = match log::published(place).await {
        Ok(published) => published,
        Err(LedgerError::Corrupt { path, problem }) => {
            add(Fault::of_file(path, problem), Some(LogFix::Published(newest.unwrap_or(0))));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Some(newest) = newest.filter(|newest| published < *newest) {
        let problem = format!("it says {published}, and a checkpoint of {newest} was written when all was published");
        add(Fault::of_file(layout::published().to_string(), problem), Some(LogFix::Published(newest)));
        return Ok(None);
    }
    let state = match ledger.log_anew().await {
        Ok(state) => state,
        Err(LedgerError::Corrupt { path, problem }) => {
            let is_newest = newest.is_some_and(|newest| layout::checkpoint(newest).as_ref() == path);
            let older = checkpoints.iter().copied().filter(|older| Some(*older) != newest).max();
            // Without an older one the log has to be there from its beginning.
            let stands_elsewhere = match older {
                Some(older) => log::indexes_of(place, older).await.is_ok(),
                None => place.size(&layout::commit(1)).await?.is_some(),
            };
            let fix = (is_newest && stands_elsewhere).then(|| LogFix::Checkpoint(Path::from(path.as_str())));
            add(Fault::of_file(path, problem), fix);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut after = 0;
    for index in &state.indexes {
        let first = index.after.unwrap_or(after) + 1;
        after = index.number;
        if !state.needs(index) {
            continue;
        }
        match log::check_index(place, index).await {
            Ok(()) => {}
            Err(LedgerError::Corrupt { path, problem }) => {
                let is_there = log::has_commits(place, first, index.number).await?;
                add(Fault::of_file(path, problem), is_there.then(|| LogFix::Index(index.clone(), first)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(state))
}
