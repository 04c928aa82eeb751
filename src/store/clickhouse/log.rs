//! The log of a store: what is committed, and how a commit is made.
//!
//! Rows of the log are in the order of their block numbers. A claim of a lease with a higher number that stands before a commit makes it
//! void; of commits of one number, the first that is not void counts. Whoever reads the log decides so by himself, so that a writer
//! cannot be wrong about what others see: it inserts, and looks what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::TimestampMicrosecondArray;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ddl::{HISTORY, LOG};
use super::read::is_committed;
use super::server::{Server, batch, numbers, texts};
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicSnapshot, SnapshotOf};
use crate::store::{LedgerError, Run, RunKind, SegmentState, TenantState};

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

/// The runs that are committed of the tenant of the parameter `tenant`, whatever became of their rows: `commit_number, run_id, as_of,
/// evaluation_date, is_present`, the instant in microseconds, the day as text, and whether it is a run of the present.
pub(super) fn runs() -> String {
    let (backfill, commits) = (RunKind::Backfill.keyword(), commits(LOG, Tenants::One));
    // Commits of earlier versions do not say of which run they are, but their history rows do.
    format!(
        "SELECT log.commit_number AS commit_number, log.run_id AS run_id, JSONExtractInt(log.state, 'as_of') AS as_of,
    JSONExtractString(log.state, 'evaluation_date') AS evaluation_date, JSONExtractString(log.state, 'kind') != '{backfill}' AS is_present
FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind = 'commit' AND log.state != ''
    AND (log.commit_number, log.run_id) IN (SELECT commit_number, run_id FROM ({commits}))
UNION ALL
SELECT history.commit_number, history.run_id, max(toUnixTimestamp64Micro(history.as_of)), toString(max(history.evaluation_date)),
    max(history.kind != '{backfill}')
FROM {HISTORY} AS history
WHERE history.tenant = {{tenant:String}} AND {}
    AND history.commit_number IN (
        SELECT log.commit_number FROM {LOG} AS log WHERE log.tenant = {{tenant:String}} AND log.kind = 'commit' AND log.state = ''
    )
GROUP BY history.commit_number, history.run_id",
        is_committed("history")
    )
}

/// What the log keeps of the past of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) kept: Vec<KeptSnapshot>,
    pub(super) cuts: BTreeMap<SegmentId, Cut>,
}

/// A snapshot of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptSnapshot {
    pub(super) segment: SegmentId,
    /// What wrote its rows.
    pub(super) snapshot: Uuid,
    pub(super) member_count: u64,
    pub(super) record: KeptRecord,
}

/// What the log keeps of it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptRecord {
    /// The last commit whose changes it contains; of one that a backfill evaluated, the last one before it.
    pub(super) number: u64,
    /// The run that it is the outcome of.
    pub(super) run_id: Uuid,
    /// `as_of` of that run.
    pub(super) at: Timestamp,
    /// `as_of` of the run that replaced it, when that is known.
    pub(super) until: Option<Timestamp>,
    /// Whether an earlier one of the same instant was kept, because the clock went back.
    pub(super) is_again: bool,
    /// Whether the changes up to it are gone, so that whoever replays begins with it.
    pub(super) is_baseline: bool,
    /// The hash of the definition that a backfill evaluated it by. It says what was at its own instant, and no change that was recorded
    /// follows on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backfilled_by: Option<String>,
}

impl KeptRecord {
    /// Whether it is the outcome of a run, and changes of later ones follow on it.
    pub(super) fn is_recorded(&self) -> bool {
        self.backfilled_by.is_none()
    }
}

impl KeptSnapshot {
    /// As it is published.
    pub(super) fn public(&self) -> PublicSnapshot<'_> {
        let KeptRecord { number, at, is_again, .. } = self.record;
        let occasion = match () {
            () if !self.record.is_recorded() => SnapshotOf::Backfill(self.snapshot),
            () if is_again => SnapshotOf::RunAgain(number),
            () => SnapshotOf::Run,
        };
        PublicSnapshot { segment: &self.segment, at, of: occasion }
    }
}

/// How far rows of a segment are gone: those of commits up to a number are kept no longer, and are deleted after the commit that says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) changes: u64,
    pub(super) history: u64,
    /// The last count of the history rows that are gone.
    pub(super) count: Option<u64>,
}

impl Records {
    /// The snapshot that a replay of a segment begins with.
    pub(super) fn baseline(&self, segment: &SegmentId) -> Option<&KeptSnapshot> {
        self.kept.iter().find(|kept| kept.record.is_baseline && kept.segment == *segment)
    }

    /// The snapshots of a segment that are outcomes of runs, in the order of their commits.
    pub(super) fn recorded<'r>(&'r self, segment: &'r SegmentId) -> impl DoubleEndedIterator<Item = &'r KeptSnapshot> {
        self.kept.iter().filter(move |kept| kept.segment == *segment && kept.record.is_recorded())
    }

    /// Those that backfills left of it, likewise.
    pub(super) fn backfilled<'r>(&'r self, segment: &'r SegmentId) -> impl DoubleEndedIterator<Item = &'r KeptSnapshot> {
        self.kept.iter().filter(move |kept| kept.segment == *segment && !kept.record.is_recorded())
    }

    /// How far rows of a segment are gone.
    pub(super) fn cut(&self, segment: &SegmentId) -> Cut {
        self.cuts.get(segment).copied().unwrap_or_default()
    }
}

/// What is so of the past: `kind, segment_id, snapshot, state, member_count`, the state being empty for a snapshot that is kept no longer,
/// and `at`, since when.
pub(super) fn records() -> String {
    format!(
        "SELECT log.kind AS kind, log.segment_id AS segment_id, log.snapshot AS snapshot, argMax(log.state, log.commit_number) AS state,
    argMax(log.member_count, log.commit_number) AS member_count, argMax(log.at, log.commit_number) AS at
FROM {LOG} AS log
WHERE log.tenant = {{tenant:String}} AND log.kind IN ('kept', 'cut')
    AND (log.commit_number, log.run_id) IN (SELECT commit_number, run_id FROM ({}))
GROUP BY log.kind, log.segment_id, log.snapshot",
        commits(LOG, Tenants::One)
    )
}

/// Reads what is kept of the past of a tenant, in the order of its commits.
pub(super) async fn read_records(server: &Server, tenant: &TenantId) -> Result<Records, LedgerError> {
    let text = format!(
        "SELECT kind, segment_id, toString(snapshot), state, member_count FROM ({}) WHERE state != '' ORDER BY segment_id, snapshot",
        records()
    );
    let found = Statement::new(text).text("tenant", tenant.as_str());
    let mut records = Records::default();
    for (kind, name, snapshot, state, member_count) in
        server.rows::<(String, String, Uuid, String, u64)>("read the log", found).await?
    {
        let segment = named(&name)?;
        if kind == "cut" {
            records.cuts.insert(segment, decode(&name, &state)?);
        } else {
            records.kept.push(KeptSnapshot { segment, snapshot, member_count, record: decode(&name, &state)? });
        }
    }
    records.kept.sort_by_key(|kept| kept.record.number);
    Ok(records)
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
        let segment = named(&name)?;
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
    /// The run whose rows they are; `None` for what is done to rows of others.
    pub(super) run: Option<&'r Run>,
    /// Snapshots of the past, each with whether it is kept from now on.
    pub(super) kept: &'r [(KeptSnapshot, Keeping)],
    /// How far rows are gone, of the segments of which that is another than before.
    pub(super) cuts: &'r BTreeMap<SegmentId, Cut>,
}

/// What becomes of a snapshot of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    Kept,
    Forgotten,
}

/// What a commit says of its run, as JSON.
#[derive(Serialize)]
struct RunNote {
    kind: RunKind,
    /// In microseconds.
    as_of: i64,
    evaluation_date: Date,
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
        if let (Some(run), Some(row)) = (self.run, rows.first_mut()) {
            let Run { kind, as_of, evaluation_date, run_id: _, tenant: _ } = run;
            let note = RunNote { kind: *kind, as_of: as_of.as_microsecond(), evaluation_date: *evaluation_date };
            row.state = encode("commit", &note)?;
        }
        for (kept, keeping) in self.kept {
            let KeptSnapshot { segment, snapshot, member_count, record } = kept;
            let state = match keeping {
                Keeping::Kept => encode(segment.as_str(), record)?,
                Keeping::Forgotten => String::new(),
            };
            let (name, snapshot, member_count) = (segment.as_str(), *snapshot, *member_count);
            rows.push(Row { kind: "kept", name, state, snapshot, member_count, ..Row::default() });
        }
        for (segment, cut) in self.cuts {
            rows.push(Row { kind: "cut", name: segment.as_str(), state: encode(segment.as_str(), cut)?, ..Row::default() });
        }
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

/// A name of the server as that of a segment.
pub(super) fn named(segment: &str) -> Result<SegmentId, LedgerError> {
    segment.parse().map_err(|_| damaged(segment, &"it is no segment"))
}

/// A row of the log that is not what this version writes.
pub(super) fn damaged(name: &str, problem: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt { path: format!("{LOG}, row of `{name}`"), problem: problem.to_string() }
}
