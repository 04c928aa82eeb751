//! The log of a store: what is committed, and how a commit is made.
//!
//! Rows of the log are in the order of their block numbers. A claim of a lease with a higher number that stands before a commit makes it
//! void; of commits of one number, the first that is not void counts. Whoever reads the log decides so by himself, so that a writer
//! cannot be wrong about what others see: it inserts, and looks what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::TimestampMicrosecondArray;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ddl::LOG;
use super::server::{Server, batch, numbers, texts};
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::{LedgerError, SegmentState, TenantState};

/// How often a commit is sent before nobody knows what came of it.
const ATTEMPTS: usize = 3;

/// Whose rows a query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenants {
    All,
    /// That of the parameter `tenant`.
    One,
}

impl Tenants {
    fn condition(self) -> &'static str {
        match self {
            Self::All => "",
            Self::One => " AND log.tenant = {tenant:String}",
        }
    }
}

/// The commits that count: `tenant, commit_number, run_id, at`.
pub(super) fn commits(log: &str, tenants: Tenants) -> String {
    let condition = tenants.condition();
    format!(
        "SELECT tenant, commit_number, run_id, at FROM (
    SELECT log.tenant AS tenant, log.kind AS kind, log.lease AS lease, log.commit_number AS commit_number, log.run_id AS run_id,
        log.at AS at, log._block_number AS block, max(if(log.kind = 'claim', log.lease, 0))
        OVER (PARTITION BY log.tenant ORDER BY log._block_number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS newest_lease
    FROM {log} AS log WHERE log.kind IN ('claim', 'commit'){condition}
)
WHERE kind = 'commit' AND lease >= newest_lease
ORDER BY tenant, commit_number, block LIMIT 1 BY tenant, commit_number"
    )
}

/// What is so after the last commit: `tenant, kind, segment_id, state, snapshot, subject, member_count`.
pub(super) fn states(log: &str, tenants: Tenants) -> String {
    let (condition, commits) = (tenants.condition(), commits(log, tenants));
    format!(
        "SELECT log.tenant AS tenant, log.kind AS kind, log.segment_id AS segment_id, argMax(log.state, log.commit_number) AS state,
    argMax(log.snapshot, log.commit_number) AS snapshot, argMax(log.subject, log.commit_number) AS subject,
    argMax(log.member_count, log.commit_number) AS member_count
FROM {log} AS log
WHERE log.kind IN ('state', 'job'){condition}
    AND (log.tenant, log.commit_number, log.run_id) IN (SELECT tenant, commit_number, run_id FROM ({commits}))
GROUP BY log.tenant, log.kind, log.segment_id
HAVING argMax(log.state, log.commit_number) != ''"
    )
}

/// The state of a tenant, as a run finds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Base {
    /// The number of the last commit.
    pub(super) commit_number: u64,
    pub(super) segments: BTreeMap<SegmentId, Entry>,
    pub(super) jobs: BTreeMap<String, Timestamp>,
}

/// The state of a segment.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// The run that wrote its current members; `None` when there are none.
    pub(super) snapshot: Option<Uuid>,
}

/// What the log keeps of a segment as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) state: SegmentState,
    /// The hash of the definition that the current members come from.
    pub(super) computed_hash: Option<String>,
}

impl Base {
    pub(super) fn public(self) -> TenantState {
        let segments = self.segments.into_iter().map(|(id, entry)| (id, entry.record.state)).collect();
        TenantState { segments, jobs: self.jobs }
    }
}

/// Reads what is committed of a tenant.
pub(super) async fn read(server: &Server, tenant: &TenantId) -> Result<Base, LedgerError> {
    // INVARIANT: the number is read before the states, so that a commit between the two makes this writer's own one void.
    let last = format!("SELECT max(commit_number) FROM ({})", commits(LOG, Tenants::One));
    let commit_number = server.row::<(u64,)>("read the log", Statement::new(last).text("tenant", tenant.as_str())).await?.0;
    let found = format!("SELECT kind, segment_id, state, toString(snapshot) FROM ({})", states(LOG, Tenants::One));
    let found = Statement::new(found).text("tenant", tenant.as_str());
    let mut base = Base { commit_number, ..Base::default() };
    for (kind, name, state, snapshot) in server.rows::<(String, String, String, Uuid)>("read the log", found).await? {
        if kind == "job" {
            base.jobs.insert(name.clone(), decode(&name, &state)?);
            continue;
        }
        let segment = name.parse().map_err(|_| damaged(&name, &"it is no segment"))?;
        let snapshot = Some(snapshot).filter(|run| !run.is_nil());
        base.segments.insert(segment, Entry { record: decode(&name, &state)?, snapshot });
    }
    Ok(base)
}

/// What a run commits.
pub(super) struct Commit<'r> {
    pub(super) tenant: &'r TenantId,
    pub(super) lease: u64,
    pub(super) run_id: Uuid,
    /// One more than the last.
    pub(super) number: u64,
    /// The segments whose state is another; `None` for one that was deleted.
    pub(super) segments: &'r BTreeMap<SegmentId, Option<Entry>>,
    pub(super) jobs: &'r BTreeMap<String, Timestamp>,
}

impl Commit<'_> {
    /// Inserts the commit, and looks whether it counts.
    pub(super) async fn done(&self, server: &Server) -> Result<(), LedgerError> {
        let operation = "commit the run";
        let mut attempt = 0;
        loop {
            attempt += 1;
            // A commit that is inserted twice is one: both have its number and its run.
            let inserted = server.insert(operation, LOG, self.rows(server, operation)?).await;
            match (self.counting(server).await, inserted) {
                (Ok(Some(run)), _) if run == self.run_id => return Ok(()),
                (Ok(_), Ok(())) | (Ok(Some(_)), Err(_)) => {
                    return Err(LedgerError::Fenced { tenant: self.tenant.clone(), number: self.lease });
                }
                (Ok(None), Err(error)) | (Err(_), Err(error)) | (Err(error), Ok(())) => {
                    if attempt == ATTEMPTS {
                        return Err(error);
                    }
                    tracing::warn!(%error, number = self.number, "nobody knows whether the run is committed; it is tried again");
                }
            }
        }
    }

    /// The run whose commit of this number counts.
    async fn counting(&self, server: &Server) -> Result<Option<Uuid>, LedgerError> {
        let found =
            format!("SELECT toString(run_id) FROM ({}) WHERE commit_number = {{number:UInt64}}", commits(LOG, Tenants::One));
        let found = Statement::new(found).text("tenant", self.tenant.as_str()).number("number", "UInt64", self.number);
        Ok(server.rows::<(Uuid,)>("read the log", found).await?.pop().map(|(run,)| run))
    }

    fn rows(&self, server: &Server, operation: &'static str) -> Result<datafusion::arrow::record_batch::RecordBatch, LedgerError> {
        let mut rows = vec![Row::default()];
        for (segment, entry) in self.segments {
            let mut row = Row { kind: "state", name: segment.as_str(), ..Row::default() };
            if let Some(Entry { record, snapshot }) = entry {
                row.state = encode(segment.as_str(), record)?;
                row.snapshot = snapshot.unwrap_or_default();
                row.subject = record.state.definition.subject.keyword();
                row.member_count = record.state.member_count;
            }
            rows.push(row);
        }
        for (job, at) in self.jobs {
            rows.push(Row { kind: "job", name: job, state: encode(job, at)?, ..Row::default() });
        }
        let mut columns = vec![
            ("tenant", texts(rows.iter().map(|_| self.tenant.as_str()))),
            ("kind", texts(rows.iter().map(|row| row.kind))),
            ("lease", numbers(rows.iter().map(|_| self.lease))),
            ("run_id", texts(rows.iter().map(|_| self.run_id.to_string()))),
            ("commit_number", numbers(rows.iter().map(|_| self.number))),
            ("segment_id", texts(rows.iter().map(|row| row.name))),
            ("state", texts(rows.iter().map(|row| &row.state))),
            ("snapshot", texts(rows.iter().map(|row| row.snapshot.to_string()))),
            ("subject", texts(rows.iter().map(|row| row.subject))),
            ("member_count", numbers(rows.iter().map(|row| row.member_count))),
        ];
        if let Some(at) = server.written_at() {
            let at = TimestampMicrosecondArray::from_value(at.as_microsecond(), rows.len()).with_timezone("UTC");
            columns.push(("at", Arc::new(at)));
        }
        batch(operation, columns)
    }
}

/// A row of a commit.
struct Row<'r> {
    kind: &'static str,
    name: &'r str,
    state: String,
    snapshot: Uuid,
    subject: &'static str,
    member_count: u64,
}

impl Default for Row<'_> {
    fn default() -> Self {
        Self { kind: "commit", name: "", state: String::new(), snapshot: Uuid::nil(), subject: "", member_count: 0 }
    }
}

fn encode<T: Serialize>(name: &str, value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| damaged(name, &error))
}

fn decode<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| damaged(name, &error))
}

/// A row of the log that is not what this version writes.
pub(super) fn damaged(name: &str, problem: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt { path: format!("{LOG}, row of `{name}`"), problem: problem.to_string() }
}
