//! Leases: numbered files put if absent, the newest of a scope being the one that counts. A lease is over when it was released, when
//! its process is known to be dead, when its time has run out, or when it was watched for that long without being renewed: the last
//! needs no clock that two machines agree on, nor one that never jumps back. What a lease that was wrongly taken for over may still
//! do is the log's business: it fences such a writer off.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::layout;
use super::place::{Created, Place};
use super::record::{LeaseCondition, LeaseRecord, decode, encode};
use crate::clock::SharedClock;
use crate::store::holder::{Holder, LeaseTiming, Liveness};
use crate::store::{Lease, LeaseScope, LedgerError};

/// Everything that leases depend on.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) place: Place,
    pub(super) clock: SharedClock,
    pub(super) holder: Holder,
    pub(super) timing: LeaseTiming,
    /// Held while a renewal or a release writes, so that no renewal lands after the release of its lease.
    pub(super) writing: Arc<Mutex<()>>,
}

/// What was seen of another's lease, and when for the first time.
struct Watched {
    number: u64,
    renewals: u64,
    since: Duration,
}

impl Leases {
    /// Takes a lease of a scope with a number above `floor`, waiting at most `wait` for the one who holds it.
    pub(super) async fn acquire(&self, scope: &LeaseScope, floor: u64, wait: Duration) -> Result<Lease, LedgerError> {
        let mut over = std::pin::pin!(tokio::time::sleep(wait));
        let mut watched = None;
        loop {
            let newest = self.newest(scope).await?;
            let number = newest.as_ref().map_or(0, |(number, _)| *number).max(floor) + 1;
            let holder = match newest {
                Some((seen, record)) if !self.is_over(seen, &record, &mut watched) => Some(record),
                Some(_) | None => None,
            };
            match holder {
                None => {
                    if let Some(lease) = self.take(scope, number).await? {
                        return Ok(lease);
                    }
                }
                Some(record) => tokio::select! {
                    biased;
                    () = &mut over => return Err(held(scope, &record)),
                    () = tokio::time::sleep(self.timing.poll) => {}
                },
            }
        }
    }

    /// Marks a lease as given back.
    pub(super) async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        let path = layout::lease(&lease.scope, lease.number);
        let _guard = self.writing.lock().await;
        drop(lease);
        let Some(bytes) = self.place.read(&path).await? else { return Ok(()) };
        let record: LeaseRecord = decode(self.place.location(), &path, &bytes)?;
        let record = LeaseRecord { condition: LeaseCondition::Released, ..record };
        self.place.replace(&path, encode(&path, &record)?).await
    }

    /// The numbers of the leases of a scope that were not cleaned yet.
    pub(super) async fn numbers(&self, scope: &LeaseScope) -> Result<Vec<u64>, LedgerError> {
        Ok(self.place.list(&layout::leases(scope)).await?.iter().filter_map(layout::numbered).collect())
    }

    /// What a lease's file says; `None` when it was cleaned.
    pub(super) async fn record(&self, scope: &LeaseScope, number: u64) -> Result<Option<LeaseRecord>, LedgerError> {
        let path = layout::lease(scope, number);
        let Some(bytes) = self.place.read(&path).await? else { return Ok(None) };
        decode(self.place.location(), &path, &bytes).map(Some)
    }

    async fn newest(&self, scope: &LeaseScope) -> Result<Option<(u64, LeaseRecord)>, LedgerError> {
        // A lease that is cleaned between the list and the look has a newer one beside it: look again.
        loop {
            let Some(number) = self.numbers(scope).await?.into_iter().max() else { return Ok(None) };
            if let Some(record) = self.record(scope, number).await? {
                return Ok(Some((number, record)));
            }
        }
    }

    fn is_over(&self, number: u64, record: &LeaseRecord, watched: &mut Option<Watched>) -> bool {
        match record.condition {
            LeaseCondition::Released => return true,
            LeaseCondition::Held => {}
        }
        if self.holder.liveness(record.process.as_ref()) == Liveness::Dead || self.clock.now() > record.expires_at {
            return true;
        }
        let now = self.clock.elapsed();
        match watched {
            Some(seen) if seen.number == number && seen.renewals == record.renewals => {
                now.saturating_sub(seen.since) > self.timing.expiry
            }
            Some(_) | None => {
                *watched = Some(Watched { number, renewals: record.renewals, since: now });
                false
            }
        }
    }

    async fn take(&self, scope: &LeaseScope, number: u64) -> Result<Option<Lease>, LedgerError> {
        let now = self.clock.now();
        let record = LeaseRecord {
            holder: self.holder.name().to_owned(),
            process: self.holder.process().cloned(),
            token: self.clock.run_id(now),
            acquired_at: now,
            expires_at: expiry(now, self.timing.expiry),
            renewals: 0,
            condition: LeaseCondition::Held,
        };
        let path = layout::lease(scope, number);
        let bytes = encode(&path, &record)?;
        let created = self.place.create(&path, bytes.clone()).await;
        let ours = match created {
            Ok(Created::New) => true,
            // As for commits: what was reported as failed, or as taken, may have been written by this very call.
            Ok(Created::Taken) | Err(_) => self.place.read(&path).await?.is_some_and(|found| found == bytes),
        };
        match created {
            _ if ours => Ok(Some(self.renewed(Lease::new(scope.clone(), number), record))),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts the renewal of a lease. It ends with the lease, or when a newer one was taken.
    fn renewed(&self, lease: Lease, mut record: LeaseRecord) -> Lease {
        let leases = self.clone();
        let (scope, number) = (lease.scope.clone(), lease.number);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(leases.timing.renewal).await;
                record.renewals += 1;
                record.expires_at = expiry(leases.clock.now(), leases.timing.expiry);
                match leases.renew(&scope, number, &record).await {
                    Ok(Renewal::Done) => {}
                    Ok(Renewal::Replaced) => return,
                    Err(error) => tracing::warn!(%error, number, "a lease could not be renewed; it is tried again"),
                }
            }
        });
        lease.renewed_by(task.abort_handle())
    }

    async fn renew(&self, scope: &LeaseScope, number: u64, record: &LeaseRecord) -> Result<Renewal, LedgerError> {
        let _guard = self.writing.lock().await;
        if self.numbers(scope).await?.into_iter().any(|other| other > number) {
            return Ok(Renewal::Replaced);
        }
        let path = layout::lease(scope, number);
        self.place.replace(&path, encode(&path, record)?).await?;
        Ok(Renewal::Done)
    }
}

/// What became of a renewal.
enum Renewal {
    Done,
    Replaced,
}

fn held(scope: &LeaseScope, record: &LeaseRecord) -> LedgerError {
    LedgerError::Held { what: scope.to_string(), holder: record.holder.clone(), since: record.acquired_at.to_string() }
}

fn expiry(now: Timestamp, after: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(after).ok().and_then(|after| now.checked_add(after).ok()).unwrap_or(Timestamp::MAX)
}
