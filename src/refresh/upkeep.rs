//! Upkeep of the store for a tenant: how long its records are kept, as definitions and configuration say, and the jobs that put files
//! together, delete what nobody needs and look after the laws.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::config::TenantConfig;
use super::error::Error;
use super::place::{Place, calendar_of};
use super::run::release;
use crate::clock::Clock;
use crate::diagnostic::Source;
use crate::model::calendar::Calendar;
use crate::model::id::SegmentId;
use crate::model::segment::{Keep, Keeping};
use crate::store::{
    CompactRequest, Compacted, Erased, Fault, Garbage, Horizon, Horizons, LeaseScope, Ledger, Retention, Run, RunKind, TenantState,
};
use crate::syntax::{Format, parse};

/// How long what nothing refers to any more stays, where readers may still know of it.
pub const GRACE: Duration = Duration::from_secs(3600);

/// How far back the records of a tenant are kept, as of the instant of a calendar.
#[must_use]
pub fn retention_of(tenant: &TenantConfig, state: &TenantState, calendar: &Calendar) -> Retention {
    let segments = state.segments.iter().filter_map(|(id, state)| {
        let own = keeping_of(&state.definition.json);
        (own != Keeping::default()).then(|| (id.clone(), horizons(own.or(tenant.keeping), calendar)))
    });
    Retention { default: horizons(tenant.keeping, calendar), segments: segments.collect() }
}

/// The segments whose snapshots are kept, of definitions as canonical JSON.
pub fn with_snapshots<'a>(tenant: &TenantConfig, records: impl Iterator<Item = (&'a SegmentId, &'a str)>) -> BTreeSet<SegmentId> {
    let keeps = records.filter(|(_, json)| keeping_of(json).or(tenant.keeping).snapshots.is_some());
    keeps.map(|(id, _)| id.clone()).collect()
}

/// What a definition, as canonical JSON, says of how long its records are kept.
fn keeping_of(json: &str) -> Keeping {
    // Most say nothing, and there may be thousands.
    if !json.contains("\"keep_") {
        return Keeping::default();
    }
    let document = parse(&Source::new("definition in force", json), Format::Json);
    document.map(|document| document.definition().keeping).unwrap_or_default()
}

fn horizons(keeping: Keeping, calendar: &Calendar) -> Horizons {
    let usual = Horizons::default();
    let horizon = |keep: Option<Keep>, usual: Horizon| match keep {
        None => usual,
        Some(Keep::Forever) => Horizon::Everything,
        Some(Keep::For(duration)) => Horizon::Since(calendar.before(duration)),
    };
    Horizons {
        snapshots: horizon(keeping.snapshots, usual.snapshots),
        changes: horizon(keeping.changes, usual.changes),
        history: horizon(keeping.history, usual.history),
    }
}

/// Puts the files of finished days together and lets go of what is kept no longer, in steps under leases of their own, so that nobody who
/// wants to write waits long. `done` is told what was done so far.
///
/// # Errors
/// When a step could not be committed; those before it are.
pub async fn compact<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    wait: Duration,
    clock: &dyn Clock,
    done: &(dyn Fn(&Compacted) + Sync),
) -> Result<Compacted, Error> {
    let mut all = Compacted::default();
    loop {
        let at = tenant.as_of.unwrap_or_else(|| clock.now());
        all = all.then(compact_step(place, tenant, at, wait, clock).await?);
        done(&all);
        if !all.is_unfinished {
            return Ok(all);
        }
    }
}

/// One step of it.
///
/// # Errors
/// When it could not be committed.
pub async fn compact_step<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    at: Timestamp,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<Compacted, Error> {
    let ledger = place.ledger();
    let calendar = calendar_of(tenant, at);
    let retention = retention_of(tenant, &ledger.state(&tenant.id).await?, &calendar);
    let request = CompactRequest { today: calendar.date_of(at), retention };
    let lease = ledger.acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let step = ledger.compact(&lease, &tenant.id, clock.run_id(at), &request).await;
    release(place, lease).await;
    if let Ok(Compacted { replaced, written, changes_dropped, history_dropped, snapshots_dropped, .. }) = &step {
        tracing::info!(tenant = %tenant.id, replaced, written, changes_dropped, history_dropped, snapshots_dropped, "files put together");
    }
    Ok(step?)
}

/// Deletes what nothing refers to any more, under a write lease; returns what was deleted.
///
/// # Errors
/// When the lease is not to be had, or the store cannot be written.
pub async fn collect<P: Place>(place: &P, tenant: &TenantConfig, grace: Duration, wait: Duration) -> Result<Garbage, Error> {
    let ledger = place.ledger();
    let lease = ledger.acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let collected = ledger.collect(&lease, &tenant.id, grace).await;
    release(place, lease).await;
    let collected = collected?;
    let (files, bytes) = (collected.waste.len(), collected.waste.iter().map(|waste| waste.bytes).sum::<u64>());
    tracing::info!(tenant = %tenant.id, files, bytes, "garbage deleted");
    Ok(collected)
}

/// Erases a subject from the store of a tenant, under a write lease; returns what was touched. A table that still holds it brings it back
/// with the next run.
///
/// # Errors
/// When the lease is not to be had, or the store cannot do it; it is then as it was before, or the subject is gone from what readers see
/// and files that hold it may still be there: the same again goes on.
pub async fn erase<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    subject_id: &str,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<Erased, Error> {
    let ledger = place.ledger();
    let as_of = tenant.as_of.unwrap_or_else(|| clock.now());
    let (run_id, evaluation_date) = (clock.run_id(as_of), calendar_of(tenant, as_of).date_of(as_of));
    let run = Run { run_id, tenant: tenant.id.clone(), kind: RunKind::Erase, as_of, evaluation_date };
    let lease = ledger.acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let erased = ledger.erase(&lease, &run, subject_id).await;
    release(place, lease).await;
    let erased = erased?;
    // The id is not logged: a log would be one more place where it stands.
    tracing::info!(%run_id, tenant = %tenant.id, segments = erased.segments.len(), files = erased.files, "a subject was erased");
    Ok(erased)
}

/// Puts right what can be, under a write lease; returns what was found.
///
/// # Errors
/// When the lease is not to be had, or the store cannot be written.
pub async fn repair<P: Place>(place: &P, tenant: &TenantConfig, wait: Duration, clock: &dyn Clock) -> Result<Vec<Fault>, Error> {
    let ledger = place.ledger();
    let lease = ledger.acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let faults = ledger.repair(&lease, &tenant.id, clock.run_id(clock.now())).await;
    release(place, lease).await;
    Ok(faults?)
}
