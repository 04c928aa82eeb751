//! Letting go of what is kept no longer. The server puts its tables together by itself.
//!
//! Rows go by whole days, from the oldest on: of each segment those of all commits up to a number. First comes a commit that says so, with
//! the members after the changes that go, for whoever replays those that stay, and with the last count of history rows that go. From then on
//! nobody needs the rows. Then the files of other tools are written anew, and the rows go last, so that the next one who comes finds what
//! somebody who died left undone.
//!
//! One step is bounded by the segments that it cuts, so that a run that waits for the lease does not wait long.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::ddl::{CHANGES, HISTORY};
use super::log::{self, Commit, Cut, Keeping, KeptRecord, KeptSnapshot, Records, damaged, named};
use super::read::{self, baselines, is_committed};
use super::server::{SEGMENTS_AT_ONCE, Server};
use super::staged::confidence;
use super::{ClickHouseLedger, clean};
use crate::backend::clickhouse::MEMBERS;
use crate::clickhouse::{Statement, Value};
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicFiles, PublicTable};
use crate::store::{ChangeReason, CompactRequest, Compacted, Horizon, Lease, LeaseScope, LedgerError, RunKind};

/// Does one step.
pub(super) async fn step(
    ledger: &ClickHouseLedger,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
    request: &CompactRequest,
) -> Result<Compacted, LedgerError> {
    ledger.check_newest(&LeaseScope::Tenant(tenant.clone()), tenant, lease.number).await?;
    clean::clean(ledger, tenant, lease.number).await;
    let server = ledger.server.for_run(rewrite_id);
    let base = log::read(&server, tenant).await?;
    let records = log::read_records(&server, tenant).await?;
    let days = days(&server, tenant).await?;
    let reach = |horizon: Horizon| reach(&days, request.today, horizon).unwrap_or(base.commit_number);
    let mut done = Compacted::default();
    let mut going = [Going::default(), Going::default()];
    for (going, rows) in going.iter_mut().zip([PublicTable::Changes, PublicTable::History]) {
        for (segment, first) in first_commits(&server, tenant, rows).await? {
            let horizons = request.retention.of(&segment);
            let (horizon, cut) = match rows {
                PublicTable::Changes => (horizons.changes, records.cut(&segment).changes),
                PublicTable::History => (horizons.history, records.cut(&segment).history),
            };
            // What was cut before and is still there was left undone.
            let through = reach(horizon).max(cut);
            if first > through {
                continue;
            }
            if going.through.len() == SEGMENTS_AT_ONCE {
                done.is_unfinished = true;
                break;
            }
            going.through.insert(segment.clone(), through);
            going.after.insert(segment, cut);
        }
    }
    let [changes, history] = going;
    let (server, records) = (&server, &records);
    let mut step = Step { server, tenant, lease: lease.number, rewrite_id, records, cuts: BTreeMap::new(), kept: Vec::new(), done };
    step.cut_changes(&changes).await?;
    step.cut_history(&history).await?;
    step.forget_snapshots(request);
    let Step { cuts, kept, done, .. } = step;
    if !cuts.is_empty() || !kept.is_empty() {
        let commit = Commit {
            tenant,
            lease: lease.number,
            run_id: rewrite_id,
            number: base.commit_number + 1,
            segments: &BTreeMap::new(),
            jobs: &BTreeMap::new(),
            run: None,
            kept: &kept,
            cuts: &cuts,
        };
        commit.done(server).await?;
        ledger.publish(server, tenant).await;
    }
    for (rows, going) in [(PublicTable::Changes, changes), (PublicTable::History, history)] {
        going.delete(server, ledger.files.as_ref(), tenant, rows).await?;
    }
    Ok(done)
}

/// A local day of runs.
struct Day {
    date: Date,
    /// The first commit of it.
    first: u64,
    /// The latest instant of its runs.
    latest: Timestamp,
}

async fn days(server: &Server, tenant: &TenantId) -> Result<Vec<Day>, LedgerError> {
    let text = format!("SELECT evaluation_date, min(commit_number), max(as_of) FROM ({}) GROUP BY evaluation_date", log::runs());
    let found = Statement::new(text).text("tenant", tenant.as_str());
    let day = |(date, first, latest): (String, u64, i64)| {
        let named = format!("run of {date}");
        let latest = Timestamp::from_microsecond(latest).map_err(|error| damaged(&named, &error))?;
        Ok(Day { date: date.parse().map_err(|error| damaged(&named, &error))?, first, latest })
    };
    server.rows::<(String, u64, i64)>("read the log", found).await?.into_iter().map(day).collect()
}

/// The last commit before the first whose day is not over, or has something that is kept; `None` when there is no such commit.
fn reach(days: &[Day], today: Date, horizon: Horizon) -> Option<u64> {
    let stays = |day: &&Day| day.date >= today || !horizon.is_past(day.latest);
    Some(days.iter().filter(stays).map(|day| day.first).min()?.saturating_sub(1))
}

/// The first commit that each segment has rows of.
pub(super) async fn first_commits(
    server: &Server,
    tenant: &TenantId,
    rows: PublicTable,
) -> Result<BTreeMap<SegmentId, u64>, LedgerError> {
    let text = format!(
        "SELECT t.segment_id, min(t.commit_number) FROM {} AS t WHERE t.tenant = {{tenant:String}} AND {} GROUP BY t.segment_id",
        table(rows),
        is_committed("t")
    );
    let found = Statement::new(text).text("tenant", tenant.as_str());
    let first = |(segment, first): (String, u64)| Ok((named(&segment)?, first));
    server.rows::<(String, u64)>("look for what is kept no longer", found).await?.into_iter().map(first).collect()
}

pub(super) fn table(rows: PublicTable) -> &'static str {
    match rows {
        PublicTable::Changes => CHANGES,
        PublicTable::History => HISTORY,
    }
}

/// Rows of segments that are kept no longer: those of commits after a number, which went before, up to another.
#[derive(Debug, Default)]
struct Going {
    after: BTreeMap<SegmentId, u64>,
    through: BTreeMap<SegmentId, u64>,
}

/// That a row is of a commit that is gone, as [`Going::bound`] binds it.
const IS_GONE: &str = "commit_number <= transform(segment_id, {segments:Array(String)}, {through:Array(UInt64)}, toUInt64(0))";

/// That it goes only now.
const GOES: &str = "commit_number > transform(segment_id, {segments:Array(String)}, {after:Array(UInt64)}, toUInt64(0))";

impl Going {
    fn bound(&self, text: String) -> Statement {
        Statement::new(text).texts("segments", self.through.keys().map(SegmentId::as_str)).bind(
            "through",
            "Array(UInt64)",
            integers(self.through.values().copied()),
        )
    }

    /// With the numbers after which rows go only now.
    fn bound_anew(&self, text: String, tenant: &TenantId) -> Statement {
        self.bound(text).text("tenant", tenant.as_str()).bind("after", "Array(UInt64)", integers(self.after.values().copied()))
    }

    /// Deletes the rows, and takes them out of the files before. Nobody needs them any more.
    async fn delete(
        &self,
        server: &Server,
        files: Option<&PublicFiles>,
        tenant: &TenantId,
        rows: PublicTable,
    ) -> Result<(), LedgerError> {
        if self.through.is_empty() {
            return Ok(());
        }
        if let Some(files) = files {
            self.take_out(server, files, tenant, rows).await?;
        }
        let text = format!(
            "ALTER TABLE {} DELETE WHERE tenant = {{tenant:String}} AND {IS_GONE} SETTINGS mutations_sync = 2",
            table(rows)
        );
        server.execute("delete what is kept no longer", self.bound(text).text("tenant", tenant.as_str())).await
    }

    async fn take_out(
        &self,
        server: &Server,
        files: &PublicFiles,
        tenant: &TenantId,
        rows: PublicTable,
    ) -> Result<(), LedgerError> {
        let operation = "look for what is kept no longer";
        let text = format!(
            "SELECT t.commit_number, countIf(NOT ({IS_GONE})) FROM {} AS t WHERE t.tenant = {{tenant:String}} AND {}
GROUP BY t.commit_number HAVING countIf({IS_GONE}) > 0 ORDER BY t.commit_number",
            table(rows),
            is_committed("t")
        );
        let commits = server.rows::<(u64, u64)>(operation, self.bound(text).text("tenant", tenant.as_str())).await?;
        if commits.is_empty() {
            return Ok(());
        }
        let there = files.of_commits(tenant, rows).await?;
        for (commit, staying) in commits {
            // What is not published yet will be, without them.
            let Some(file) = there.get(&commit) else { continue };
            if staying == 0 {
                files.delete(file).await?;
                continue;
            }
            let statement = self.bound(String::new()).number("number", "UInt64", commit);
            let condition = format!(" AND commit_number = {{number:UInt64}} AND NOT ({IS_GONE})");
            let left = read::rows_where(server, tenant, rows, &condition, statement).await?;
            files.put_again(rows, file, left).await?;
        }
        Ok(())
    }
}

/// Deletes the rows of a segment up to a commit, of which a commit says that they are kept no longer.
pub(super) async fn delete_up_to(
    server: &Server,
    files: Option<&PublicFiles>,
    tenant: &TenantId,
    table: PublicTable,
    segment: &SegmentId,
    through: u64,
) -> Result<(), LedgerError> {
    let going = Going { after: BTreeMap::new(), through: [(segment.clone(), through)].into() };
    going.delete(server, files, tenant, table).await
}

/// What a step has come to.
struct Step<'a> {
    server: &'a Server,
    tenant: &'a TenantId,
    lease: u64,
    rewrite_id: Uuid,
    records: &'a Records,
    cuts: BTreeMap<SegmentId, Cut>,
    kept: Vec<(KeptSnapshot, Keeping)>,
    done: Compacted,
}

impl Step<'_> {
    /// Writes the members after the changes that go.
    async fn cut_changes(&mut self, going: &Going) -> Result<(), LedgerError> {
        if going.through.is_empty() {
            return Ok(());
        }
        let text = format!(
            "SELECT changes.segment_id, count(), toString(argMax(changes.run_id, changes.commit_number)),
    toUnixTimestamp64Micro(argMax(changes.at, changes.commit_number))
FROM {CHANGES} AS changes WHERE changes.tenant = {{tenant:String}} AND {IS_GONE} AND {GOES} AND {} GROUP BY changes.segment_id",
            is_committed("changes")
        );
        let operation = "look for what is kept no longer";
        let found = self.server.rows::<(String, u64, Uuid, i64)>(operation, going.bound_anew(text, self.tenant)).await?;
        let mut written = BTreeMap::new();
        for (name, count, run_id, at) in found {
            let segment = named(&name)?;
            let through = going.through.get(&segment).copied().unwrap_or_default();
            self.cuts.insert(segment.clone(), Cut { changes: through, ..self.records.cut(&segment) });
            self.done.changes_dropped += count;
            if let Some(before) = self.records.baseline(&segment) {
                self.note(before, |record| record.is_baseline = false);
            }
            // The snapshot of the run that made the last of these changes says the same, and knows scores better.
            let same = self.records.recorded(&segment).find(|kept| kept.snapshot == run_id);
            if let Some(same) = same {
                self.note(same, |record| record.is_baseline = true);
                continue;
            }
            let at = Timestamp::from_microsecond(at).map_err(|error| damaged(&name, &error))?;
            let is_again = self.records.recorded(&segment).any(|kept| kept.record.at == at);
            let (until, is_baseline, backfilled_by) = (None, true, None);
            let record = KeptRecord { number: through, run_id, at, until, is_again, is_baseline, backfilled_by };
            let kept = KeptSnapshot { segment: segment.clone(), snapshot: self.rewrite_id, member_count: 0, record };
            self.kept.push((kept, Keeping::Kept));
            written.insert(segment, (through, at));
            self.done.baselines += 1;
        }
        if written.is_empty() {
            return Ok(());
        }
        clean::note_begin(self.server, self.tenant, self.rewrite_id, self.lease).await?;
        let counts = write_replayed(self.server, self.tenant, self.rewrite_id, self.records, &written).await?;
        for (kept, _) in self.kept.iter_mut().filter(|(kept, _)| kept.snapshot == self.rewrite_id) {
            kept.member_count = counts.get(&kept.segment).copied().unwrap_or(0);
        }
        Ok(())
    }

    /// Takes note of another record of a snapshot.
    fn note(&mut self, of: &KeptSnapshot, change: impl FnOnce(&mut KeptRecord)) {
        let noted = self.kept.iter().position(|(kept, _)| kept.segment == of.segment && kept.snapshot == of.snapshot);
        let noted = noted.unwrap_or_else(|| {
            self.kept.push((of.clone(), Keeping::Kept));
            self.kept.len() - 1
        });
        if let Some((kept, _)) = self.kept.get_mut(noted) {
            change(&mut kept.record);
        }
    }

    /// Remembers the last count of history rows that go.
    async fn cut_history(&mut self, going: &Going) -> Result<(), LedgerError> {
        if going.through.is_empty() {
            return Ok(());
        }
        let text = format!(
            "SELECT history.segment_id, count(), countIf(history.kind IN {{kinds:Array(String)}}),
    argMaxIf(history.member_count, (history.commit_number, history.position), history.kind IN {{kinds:Array(String)}})
FROM {HISTORY} AS history WHERE history.tenant = {{tenant:String}} AND {IS_GONE} AND {GOES} AND {} GROUP BY history.segment_id",
            is_committed("history")
        );
        let text = going.bound_anew(text, self.tenant).texts("kinds", RunKind::COUNTING.map(RunKind::keyword));
        for (name, count, counting, last) in
            self.server.rows::<(String, u64, u64, u64)>("look for what is kept no longer", text).await?
        {
            let segment = named(&name)?;
            let history = going.through.get(&segment).copied().unwrap_or_default();
            let known = self.records.cut(&segment);
            let cut = self.cuts.entry(segment).or_insert(known);
            cut.history = history;
            if counting > 0 {
                cut.count = Some(last);
            }
            self.done.history_dropped += count;
        }
        Ok(())
    }

    /// Forgets snapshots that are kept no longer, and that nobody begins a replay with. Those of backfills were asked for: they stay where
    /// nothing is said of snapshots, until another of the same instant takes their place.
    fn forget_snapshots(&mut self, request: &CompactRequest) {
        for known in &self.records.kept {
            let noted = self.kept.iter().position(|(kept, _)| kept.segment == known.segment && kept.snapshot == known.snapshot);
            let record = noted.and_then(|noted| self.kept.get(noted)).map_or(&known.record, |(kept, _)| &kept.record);
            let horizon = request.retention.of(&known.segment).snapshots;
            let is_past = if record.is_recorded() {
                horizon.is_past(record.until.unwrap_or(record.at))
            } else {
                horizon.is_past_backfill(record.at)
            };
            let last = self.records.backfilled(&known.segment).rfind(|kept| kept.record.at == record.at);
            let is_replaced = !record.is_recorded() && last.is_some_and(|last| last.snapshot != known.snapshot);
            if record.is_baseline || !(is_past || is_replaced) {
                continue;
            }
            match noted.and_then(|noted| self.kept.get_mut(noted)) {
                Some((_, keeping)) => *keeping = Keeping::Forgotten,
                None => self.kept.push((known.clone(), Keeping::Forgotten)),
            }
            self.done.snapshots_dropped += 1;
        }
    }
}

fn integers(numbers: impl Iterator<Item = u64>) -> Value {
    Value::Integers(numbers.map(|number| i64::try_from(number).unwrap_or(i64::MAX)).collect())
}

/// Writes what the changes of segments come to, those of commits up to a number, the last of which was at an instant: as rows of members
/// under an id of their own. Returns how many each segment has.
pub(super) async fn write_replayed(
    server: &Server,
    tenant: &TenantId,
    id: Uuid,
    records: &Records,
    segments: &BTreeMap<SegmentId, (u64, Timestamp)>,
) -> Result<BTreeMap<SegmentId, u64>, LedgerError> {
    let text = format!(
        "INSERT INTO {MEMBERS} (tenant, segment_id, run_id, subject_id, entered_at, score, confidence, reason, as_of)
SELECT {{tenant:String}}, segment_id, {{id:UUID}}, subject_id, tupleElement(last, 2), tupleElement(last, 3) AS score_then,
    {},
    if(tupleElement(last, 4) IN {{by_hand:Array(String)}}, tupleElement(last, 4), '{}'),
    fromUnixTimestamp64Micro(transform(segment_id, {{segments:Array(String)}}, {{instants:Array(Int64)}}, toInt64(0)), 'UTC')
FROM (
    SELECT segment_id, subject_id, argMax((change, at, score, reason), number) AS last FROM (
        SELECT changes.segment_id AS segment_id, changes.subject_id AS subject_id, toString(changes.change) AS change, changes.at AS at,
            changes.score AS score, toString(changes.reason) AS reason, changes.commit_number AS number
        FROM {CHANGES} AS changes
        WHERE changes.tenant = {{tenant:String}} AND changes.segment_id IN {{segments:Array(String)}} AND {IS_GONE} AND {GOES} AND {}
        UNION ALL
        SELECT members.segment_id, members.subject_id, 'enter', members.entered_at, members.score, toString(members.reason), toUInt64(0)
        FROM {MEMBERS} AS members
        WHERE members.tenant = {{tenant:String}} AND members.segment_id IN {{segments:Array(String)}}
            AND (members.segment_id, members.run_id) IN ({})
    )
    GROUP BY segment_id, subject_id
)
WHERE tupleElement(last, 1) = 'enter'",
        confidence("score_then"),
        ChangeReason::RuleMatch.keyword(),
        is_committed("changes"),
        baselines(),
    );
    let by_hand = [ChangeReason::Manual, ChangeReason::Import].map(ChangeReason::keyword);
    let instants = segments.values().map(|(_, at)| at.as_microsecond()).collect();
    let statement = Statement::new(text)
        .text("tenant", tenant.as_str())
        .uuid("id", id)
        .texts("by_hand", by_hand)
        .texts("segments", segments.keys().map(SegmentId::as_str))
        .bind("instants", "Array(Int64)", Value::Integers(instants))
        .bind("through", "Array(UInt64)", integers(segments.values().map(|(through, _)| *through)))
        .bind("after", "Array(UInt64)", integers(segments.keys().map(|segment| records.cut(segment).changes)));
    server.execute_once("write the members", statement).await?;
    read::written(server, tenant, id).await
}
