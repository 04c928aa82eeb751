//! The jobs of the scheduler besides evaluation: keeping counts right, a history row a day, and upkeep of the store.

use std::time::Duration;

use jiff::Timestamp;

use super::config::TenantConfig;
use super::error::Error;
use super::place::{Place, calendar_of};
use super::run::release;
use super::upkeep::{GRACE, collect, compact_step};
use crate::clock::Clock;
use crate::model::id::SegmentId;
use crate::model::segment::Status;
use crate::store::{Lease, LeaseScope, Ledger, Run, RunKind, Transaction};

/// A job that only reads and writes the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreJob {
    /// Recounts the snapshots, repairs recorded counts and logs the differences.
    CountSync,
    /// Writes one daily history row per segment.
    HistoryRecord,
    /// Puts the files of finished days together, and lets go of what is kept no longer.
    Compact,
    /// Deletes what nothing refers to any more.
    Gc,
    /// Checks the laws of the store, and logs what breaks them.
    Verify,
}

impl StoreJob {
    /// Its name in configuration, state and logs.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::CountSync => "count_sync",
            Self::HistoryRecord => "history_record",
            Self::Compact => "compact",
            Self::Gc => "gc",
            Self::Verify => "verify",
        }
    }
}

/// A recorded count that was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The segment.
    pub segment: SegmentId,
    /// What was recorded.
    pub recorded: u64,
    /// What the snapshot holds.
    pub actual: u64,
}

/// Does a job for a tenant, under a write lease of its own; returns the counts that it repaired. Of a compaction it does one step; it is
/// only noted as done when there is no more to do, so that what is due comes between the steps.
///
/// # Errors
/// When nothing could be committed; the store is then as it was before.
pub async fn do_store_job<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    job: StoreJob,
    at: Timestamp,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<Vec<Difference>, Error> {
    match job {
        StoreJob::CountSync | StoreJob::HistoryRecord => {}
        StoreJob::Compact => {
            if compact_step(place, tenant, at, wait, clock).await?.is_unfinished {
                return Ok(Vec::new());
            }
        }
        StoreJob::Gc => {
            collect(place, tenant, GRACE, wait).await?;
        }
        StoreJob::Verify => {
            for fault in place.ledger().verify(&tenant.id).await? {
                tracing::error!(tenant = %tenant.id, place = %fault.place, problem = fault.problem, "the store is not as its laws say");
            }
        }
    }
    let lease = place.ledger().acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let differences = do_under(place, tenant, job, at, &lease, clock).await;
    release(place, lease).await;
    differences
}

async fn do_under<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    job: StoreJob,
    at: Timestamp,
    lease: &Lease,
    clock: &dyn Clock,
) -> Result<Vec<Difference>, Error> {
    let ledger = place.ledger();
    let run_id = clock.run_id(at);
    let kind = match job {
        StoreJob::CountSync | StoreJob::Compact | StoreJob::Gc | StoreJob::Verify => RunKind::Manual,
        StoreJob::HistoryRecord => RunKind::Daily,
    };
    let evaluation_date = calendar_of(tenant, at).date_of(at);
    let run = Run { run_id, tenant: tenant.id.clone(), kind, as_of: at, evaluation_date };
    // Recovery comes first: what an earlier writer left behind is finished before anything is counted.
    let mut transaction = ledger.begin(lease, run).await?;
    let state = ledger.state(&tenant.id).await?;
    let mut differences = Vec::new();
    for (segment, state) in &state.segments {
        match job {
            StoreJob::CountSync => {
                let actual = ledger.recount(&tenant.id, segment).await?;
                let recorded = state.member_count;
                if actual != recorded {
                    tracing::warn!(%run_id, tenant = %tenant.id, %segment, recorded, actual, "a recorded count was wrong");
                    transaction.correct_count(segment, actual).await?;
                    differences.push(Difference { segment: segment.clone(), recorded, actual });
                }
            }
            StoreJob::HistoryRecord => {
                if state.definition.status != Status::Archived {
                    transaction.record_daily(segment).await?;
                }
            }
            StoreJob::Compact | StoreJob::Gc | StoreJob::Verify => {}
        }
    }
    transaction.note_job(job.keyword(), at);
    transaction.commit().await?;
    let (job, segments, repaired) = (job.keyword(), state.segments.len(), differences.len());
    tracing::info!(%run_id, tenant = %tenant.id, job, segments, repaired, "job done");
    Ok(differences)
}
