//! Leases: claims in the log, the one with the highest number being the one that counts, and of several of one number the first. A lease is
//! over when it was given back, when its process is known to be dead, or when it was neither claimed nor renewed for a while, by the
//! time of the server. What a lease that was wrongly taken for over may still do is the log's business: it fences such a writer off.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::ddl::LOG;
use super::log::damaged;
use super::server::Server;
use crate::clickhouse::Statement;
use crate::store::holder::{Holder, LeaseTiming, Liveness, ProcessRecord};
use crate::store::{Lease, LeaseScope, LedgerError};

/// Everything that leases depend on.
#[derive(Clone)]
pub(super) struct Leases {
    pub(super) server: Server,
    pub(super) holder: Holder,
    pub(super) timing: LeaseTiming,
}

/// The newest lease of a scope.
struct Newest {
    number: u64,
    nonce: Uuid,
    holder: String,
    process: Option<ProcessRecord>,
    since: Timestamp,
    is_over: bool,
}

impl Leases {
    pub(super) async fn acquire(&self, scope: &LeaseScope, wait: Duration) -> Result<Lease, LedgerError> {
        let mut over = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            let newest = self.newest(scope).await?;
            let number = newest.as_ref().map_or(0, |newest| newest.number) + 1;
            match newest.filter(|newest| !self.is_over(newest)) {
                None => {
                    if let Some(lease) = self.claim(scope, number).await? {
                        return Ok(lease);
                    }
                }
                Some(newest) => tokio::select! {
                    biased;
                    () = &mut over => {
                        let (what, since) = (scope.to_string(), newest.since.to_string());
                        return Err(LedgerError::Held { what, holder: newest.holder, since });
                    }
                    () = tokio::time::sleep(self.timing.poll) => {}
                },
            }
        }
    }

    /// Notes that a lease was given back.
    pub(super) async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        let (scope, number) = (lease.scope.clone(), lease.number);
        drop(lease);
        self.write("give the lease back", "release", &scope, number, Uuid::nil()).await
    }

    /// Whether a lease is the newest of its scope.
    pub(super) async fn is_newest(&self, scope: &LeaseScope, number: u64) -> Result<bool, LedgerError> {
        Ok(self.newest(scope).await?.is_some_and(|newest| newest.number == number))
    }

    /// The number of the first lease of a scope that may still be in use: the newest, or the next one when that is over.
    pub(super) async fn first_alive(&self, scope: &LeaseScope) -> Result<u64, LedgerError> {
        Ok(self.newest(scope).await?.map_or(0, |newest| newest.number + u64::from(self.is_over(&newest))))
    }

    fn is_over(&self, newest: &Newest) -> bool {
        newest.is_over || self.holder.liveness(newest.process.as_ref()) == Liveness::Dead
    }

    async fn newest(&self, scope: &LeaseScope) -> Result<Option<Newest>, LedgerError> {
        let text = format!(
            "SELECT lease, toString(argMinIf(nonce, block, kind = 'claim')), argMinIf(holder, block, kind = 'claim'),
    argMinIf(process, block, kind = 'claim'), toUnixTimestamp64Micro(argMinIf(at, block, kind = 'claim')),
    countIf(kind = 'release') > 0 OR toUnixTimestamp64Micro(max(at)) + {{expiry:Int64}} < toUnixTimestamp64Micro({})
FROM (
    SELECT log.kind AS kind, log.lease AS lease, log.nonce AS nonce, log.holder AS holder, log.process AS process, log.at AS at,
        log._block_number AS block
    FROM {LOG} AS log WHERE log.tenant = {{tenant:String}} AND log.kind IN ('claim', 'renewal', 'release')
)
GROUP BY lease HAVING countIf(kind = 'claim') > 0
ORDER BY lease DESC LIMIT 1",
            self.server.now()
        );
        let expiry = i64::try_from(self.timing.expiry.as_micros()).unwrap_or(i64::MAX / 2);
        let asked = Statement::new(text).text("tenant", written(scope)).number("expiry", "Int64", expiry);
        let found = self.server.rows::<(u64, Uuid, String, String, i64, u8)>("look at the lease", self.server.timed(asked)).await?;
        let Some((number, nonce, holder, process, since, is_over)) = found.into_iter().next() else { return Ok(None) };
        let process = serde_json::from_str(&process).map_err(|error| damaged(&holder, &error))?;
        let since = Timestamp::from_microsecond(since).map_err(|error| damaged(&holder, &error))?;
        Ok(Some(Newest { number, nonce, holder, process, since, is_over: is_over != 0 }))
    }

    /// Claims a number; `None` when someone else did so before.
    async fn claim(&self, scope: &LeaseScope, number: u64) -> Result<Option<Lease>, LedgerError> {
        let nonce = self.server.clock.run_id(self.server.clock.now());
        self.write("take the lease", "claim", scope, number, nonce).await?;
        let ours = self.newest(scope).await?.is_some_and(|newest| newest.number == number && newest.nonce == nonce);
        Ok(ours.then(|| self.renewed(Lease::new(scope.clone(), number), nonce)))
    }

    /// Starts the renewal of a lease. It ends with the lease, or when a newer one was taken.
    fn renewed(&self, lease: Lease, nonce: Uuid) -> Lease {
        let leases = self.clone();
        let (scope, number) = (lease.scope.clone(), lease.number);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(leases.timing.renewal).await;
                let renewed = async {
                    let is_newest = leases.is_newest(&scope, number).await?;
                    if is_newest {
                        leases.write("renew the lease", "renewal", &scope, number, nonce).await?;
                    }
                    Ok::<_, LedgerError>(is_newest)
                };
                match renewed.await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(%error, number, "a lease could not be renewed; it is tried again"),
                }
            }
        });
        lease.renewed_by(task.abort_handle())
    }

    /// Adds a row of a lease. One that is added twice means the same.
    async fn write(
        &self,
        operation: &'static str,
        kind: &str,
        scope: &LeaseScope,
        number: u64,
        nonce: Uuid,
    ) -> Result<(), LedgerError> {
        let process = serde_json::to_string(&self.holder.process()).map_err(|error| damaged(self.holder.name(), &error))?;
        let text = format!(
            "INSERT INTO {LOG} (tenant, kind, lease, nonce, holder, process, at)
SELECT {{tenant:String}}, {{kind:String}}, {{lease:UInt64}}, toUUID({{nonce:String}}), {{holder:String}}, {{process:String}}, {}",
            self.server.now()
        );
        let row = Statement::new(text)
            .text("tenant", written(scope))
            .text("kind", kind)
            .number("lease", "UInt64", number)
            .text("nonce", nonce.to_string())
            .text("holder", self.holder.name())
            .text("process", process);
        self.server.execute(operation, self.server.timed(row)).await
    }
}

/// The scope in the log: no tenant has an empty id.
fn written(scope: &LeaseScope) -> &str {
    match scope {
        LeaseScope::Scheduler => "",
        LeaseScope::Tenant(tenant) => tenant.as_str(),
    }
}
