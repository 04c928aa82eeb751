//! A second ledger, which keeps everything in this process: it proves that the traits of the store carry more than one place, and
//! shows the contract without the work of making it durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Date32Array, Float64Array, StringArray, TimestampMicrosecondArray, UInt64Array};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use segmenta::backend::MemberSet;
use segmenta::clock::SharedClock;
use segmenta::model::id::{SegmentId, TenantId};
use segmenta::model::manual::{Origin, Override, Verdict};
use segmenta::model::segment::Status;
use segmenta::store::rows::{audience_schema, change_schema, history_schema, membership_schema, override_schema};
use segmenta::store::{
    Audience, Basis, ChangeReason, CompactRequest, Compacted, DefinitionNote, DefinitionRecord, EditAction, Edited, Erased, Fault,
    Figures, Garbage, Lease, LeaseScope, Ledger, LedgerError, Membership, Outcome, OverrideEdit, Overrides, Past, PastSnapshot,
    Provenance, ReadFilter, RowStream, Run, RunKind, RunStatus, SegmentState, SetOperation, Staged, StagedSegment, TenantState,
    Transaction,
};
use uuid::Uuid;

/// How long a lease lasts; nothing renews it.
const EXPIRY: SignedDuration = SignedDuration::from_secs(60);

/// A set of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdSet(pub(crate) BTreeSet<String>);

impl MemberSet for IdSet {
    fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

/// The ledger. Copies share what they keep.
#[derive(Clone)]
pub(crate) struct MemoryLedger {
    clock: SharedClock,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    leases: BTreeMap<LeaseScope, LeaseEntry>,
    tenants: BTreeMap<TenantId, Tenant>,
}

struct LeaseEntry {
    number: u64,
    acquired_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Debug, Clone, Default)]
struct Tenant {
    state: TenantState,
    snapshots: BTreeMap<SegmentId, Snapshot>,
    changes: Vec<ChangeRow>,
    history: Vec<HistoryRow>,
    /// Every decision, in the order in which they were made.
    decisions: Vec<DecisionRow>,
    /// What backfills left, in the order of their commits.
    past: Vec<PastRow>,
}

/// A snapshot of the past.
#[derive(Debug, Clone)]
struct PastRow {
    segment: SegmentId,
    at: Timestamp,
    snapshot: Snapshot,
}

#[derive(Debug, Clone)]
struct DecisionRow {
    segment: SegmentId,
    subject: String,
    decision: Override,
    since: Timestamp,
    until: Option<Timestamp>,
    run: Run,
}

#[derive(Debug, Clone)]
struct Snapshot {
    /// Each member with the instant of its enter.
    members: BTreeMap<String, Timestamp>,
    /// Why those are in of whom people decided.
    reasons: BTreeMap<String, ChangeReason>,
    /// The hash of the definition that they come from.
    hash: String,
    /// The run that changed them last.
    run: Run,
}

#[derive(Debug, Clone)]
struct ChangeRow {
    segment: SegmentId,
    subject: String,
    change: &'static str,
    reason: ChangeReason,
    hash: String,
    run: Run,
}

#[derive(Debug, Clone)]
struct HistoryRow {
    segment: SegmentId,
    kind: RunKind,
    figures: Figures,
    duration_ms: u64,
    hash: String,
    status: RunStatus,
    error: Option<String>,
    run: Run,
}

/// A copy of the tenant that takes the place of the original.
pub(crate) struct MemoryTransaction {
    ledger: MemoryLedger,
    lease: u64,
    run: Run,
    before: Tenant,
    next: Tenant,
    notes: BTreeMap<SegmentId, DefinitionNote>,
    edits: BTreeMap<SegmentId, OverrideEdit>,
}

impl MemoryLedger {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant(&self, tenant: &TenantId) -> Tenant {
        self.kept().tenants.get(tenant).cloned().unwrap_or_default()
    }

    fn rows_of_members(found: &Tenant, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        Self::rows_of_snapshot(found.snapshots.get(segment), tenant, segment)
    }

    fn rows_of_snapshot(found: Option<&Snapshot>, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        let Some(Snapshot { members, reasons, run, .. }) = found else {
            return Ok(futures::stream::empty().boxed());
        };
        let n = members.len();
        let columns: Vec<ArrayRef> = vec![
            texts(vec![tenant.to_string(); n]),
            texts(vec![segment.to_string(); n]),
            texts(members.keys()),
            instants(members.values().copied()),
            Arc::new(Float64Array::from(vec![None; n])),
            optional_texts(vec![None; n]),
            texts(members.keys().map(|id| reasons.get(id).copied().unwrap_or(ChangeReason::RuleMatch).keyword())),
            texts(vec![run.run_id.to_string(); n]),
            instants(vec![run.as_of; n]),
        ];
        Ok(stream(membership_schema(), columns))
    }

    fn check_newest(&self, tenant: &TenantId, number: u64) -> Result<(), LedgerError> {
        let newest = self.kept().leases.get(&LeaseScope::Tenant(tenant.clone())).map(|lease| lease.number);
        if newest == Some(number) { Ok(()) } else { Err(LedgerError::Fenced { tenant: tenant.clone(), number }) }
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    type Members = IdSet;
    type Transaction = MemoryTransaction;

    async fn acquire(&self, scope: &LeaseScope, _wait: Duration) -> Result<Lease, LedgerError> {
        let now = self.clock.now();
        let mut kept = self.kept();
        let number = match kept.leases.get(scope) {
            Some(held) if held.expires_at >= now => {
                let what = match scope {
                    LeaseScope::Scheduler => "the scheduler of this store".to_owned(),
                    LeaseScope::Tenant(tenant) => format!("tenant `{tenant}`"),
                };
                return Err(LedgerError::Held { what, holder: "this process".to_owned(), since: held.acquired_at.to_string() });
            }
            Some(over) => over.number + 1,
            None => 1,
        };
        kept.leases.insert(scope.clone(), LeaseEntry { number, acquired_at: now, expires_at: now + EXPIRY });
        Ok(Lease::new(scope.clone(), number))
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        if let Some(held) = self.kept().leases.get_mut(&lease.scope).filter(|held| held.number == lease.number) {
            held.expires_at = Timestamp::MIN;
        }
        Ok(())
    }

    async fn state(&self, tenant: &TenantId) -> Result<TenantState, LedgerError> {
        Ok(self.tenant(tenant).state)
    }

    async fn stored(&self, tenant: &TenantId, segment: &SegmentId) -> Result<IdSet, LedgerError> {
        let members = self.tenant(tenant).snapshots.remove(segment).map(|snapshot| snapshot.members).unwrap_or_default();
        Ok(IdSet(members.into_keys().collect()))
    }

    async fn overrides(&self, tenant: &TenantId, at: Timestamp) -> Result<BTreeMap<SegmentId, Overrides<IdSet>>, LedgerError> {
        let found = self.tenant(tenant);
        let segments: BTreeSet<&SegmentId> = found.decisions.iter().map(|row| &row.segment).collect();
        let overrides = segments.into_iter().map(|segment| (segment.clone(), decided(&found.decisions, segment, at)));
        Ok(overrides.filter(|(_, overrides)| !overrides.is_empty()).collect())
    }

    async fn read_overrides(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        let mut rows = self.tenant(tenant).decisions;
        rows.retain(|row| {
            (filter.segments.is_empty() || filter.segments.contains(&row.segment))
                && filter.subject.as_ref().is_none_or(|wanted| *wanted == row.subject)
        });
        rows.sort_by_key(|row| (row.segment.clone(), row.subject.clone(), row.since));
        let until: TimestampMicrosecondArray = rows.iter().map(|row| row.until.map(Timestamp::as_microsecond)).collect();
        let columns: Vec<ArrayRef> = vec![
            texts(rows.iter().map(|row| row.run.tenant.to_string())),
            texts(rows.iter().map(|row| row.segment.to_string())),
            texts(rows.iter().map(|row| row.subject.clone())),
            texts(rows.iter().map(|row| row.decision.verdict.keyword())),
            texts(rows.iter().map(|row| row.decision.origin.keyword())),
            instants(rows.iter().map(|row| row.since)),
            Arc::new(until.with_timezone("UTC")),
            texts(rows.iter().map(|row| row.run.run_id.to_string())),
        ];
        Ok(stream(override_schema(), columns))
    }

    async fn begin(&self, lease: &Lease, run: Run) -> Result<MemoryTransaction, LedgerError> {
        if lease.scope != LeaseScope::Tenant(run.tenant.clone()) {
            return Err(LedgerError::Fenced { tenant: run.tenant, number: lease.number });
        }
        self.check_newest(&run.tenant, lease.number)?;
        let before = self.tenant(&run.tenant);
        Ok(MemoryTransaction {
            ledger: self.clone(),
            lease: lease.number,
            next: before.clone(),
            before,
            run,
            notes: BTreeMap::new(),
            edits: BTreeMap::new(),
        })
    }

    async fn read_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        Self::rows_of_members(&self.tenant(tenant), tenant, segment)
    }

    async fn read_audience(&self, tenant: &TenantId, audience: &Audience) -> Result<RowStream, LedgerError> {
        let found = self.tenant(tenant);
        if let Some(only) = audience.only() {
            let mut rows = found;
            if let (Some(after), Some(snapshot)) = (&audience.after, rows.snapshots.get_mut(only)) {
                snapshot.members.retain(|id, _| id > after);
            }
            return Self::rows_of_members(&rows, tenant, only);
        }
        let sets: Vec<BTreeMap<String, Timestamp>> = audience
            .segments
            .iter()
            .map(|segment| found.snapshots.get(segment).map(|snapshot| snapshot.members.clone()).unwrap_or_default())
            .collect();
        let ids: BTreeSet<&String> = sets.iter().flat_map(BTreeMap::keys).collect();
        let ids = ids.into_iter().filter(|id| audience.after.as_ref().is_none_or(|after| *id > after));
        let rows: Vec<(&String, Timestamp)> = ids
            .filter_map(|id| {
                let entries: Vec<Timestamp> = sets.iter().filter_map(|set| set.get(id).copied()).collect();
                let since = match audience.operation {
                    SetOperation::Union => entries.iter().min(),
                    SetOperation::Intersection => entries.iter().max().filter(|_| entries.len() == sets.len()),
                    SetOperation::Difference => entries.first().filter(|_| entries.len() == 1 && sets[0].contains_key(id)),
                };
                Some((id, *since?))
            })
            .collect();
        let columns: Vec<ArrayRef> = vec![texts(rows.iter().map(|(id, _)| id)), instants(rows.iter().map(|(_, at)| *at))];
        Ok(stream(audience_schema(), columns))
    }

    async fn read_changes(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        let mut rows = self.tenant(tenant).changes;
        rows.retain(|row| {
            passes(filter, &row.segment, &row.run)
                && filter.subject.as_ref().is_none_or(|subject| *subject == row.subject)
                && filter.change.is_none_or(|change| change.keyword() == row.change)
                && (filter.reasons.is_empty() || filter.reasons.contains(&row.reason))
        });
        let columns: Vec<ArrayRef> = vec![
            texts(rows.iter().map(|row| row.run.tenant.to_string())),
            texts(rows.iter().map(|row| row.segment.to_string())),
            texts(rows.iter().map(|row| row.subject.clone())),
            texts(rows.iter().map(|row| row.change)),
            instants(rows.iter().map(|row| row.run.as_of)),
            texts(rows.iter().map(|row| row.reason.keyword())),
            Arc::new(Float64Array::from(vec![None; rows.len()])),
            optional_texts(rows.iter().map(|row| Some(row.hash.clone()))),
            texts(rows.iter().map(|row| row.run.run_id.to_string())),
        ];
        Ok(stream(change_schema(), columns))
    }

    async fn read_history(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        let mut rows = self.tenant(tenant).history;
        rows.retain(|row| {
            passes(filter, &row.segment, &row.run)
                && (filter.kinds.is_empty() || filter.kinds.contains(&row.kind))
                && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        });
        let epoch = jiff::civil::date(1970, 1, 1);
        let day = |row: &HistoryRow| i32::try_from(row.run.evaluation_date.duration_since(epoch).as_hours() / 24).unwrap();
        let columns: Vec<ArrayRef> = vec![
            texts(rows.iter().map(|row| row.run.tenant.to_string())),
            texts(rows.iter().map(|row| row.segment.to_string())),
            texts(rows.iter().map(|row| row.run.run_id.to_string())),
            texts(rows.iter().map(|row| row.kind.keyword())),
            instants(rows.iter().map(|row| row.run.as_of)),
            Arc::new(rows.iter().map(|row| Some(day(row))).collect::<Date32Array>()),
            texts(rows.iter().map(|row| row.status.keyword())),
            numbers(rows.iter().map(|row| row.figures.member_count)),
            numbers(rows.iter().map(|row| row.figures.added_count)),
            numbers(rows.iter().map(|row| row.figures.removed_count)),
            numbers(rows.iter().map(|row| row.duration_ms)),
            optional_texts(rows.iter().map(|row| Some(row.hash.clone()))),
            optional_texts(rows.iter().map(|row| row.error.clone())),
        ];
        Ok(stream(history_schema(), columns))
    }

    /// There is nothing to put together, and every row is kept.
    async fn compact(&self, lease: &Lease, tenant: &TenantId, _: Uuid, _: &CompactRequest) -> Result<Compacted, LedgerError> {
        self.check_newest(tenant, lease.number)?;
        Ok(Compacted::default())
    }

    async fn members_at(&self, tenant: &TenantId, segment: &SegmentId, at: Timestamp) -> Result<Past, LedgerError> {
        let found = self.tenant(tenant);
        // Instants may go back: what is before the last change at or before the instant counts, whatever its own instant is.
        let changes: Vec<&ChangeRow> = found.changes.iter().filter(|row| row.segment == *segment).collect();
        let counted = changes.iter().rposition(|row| row.run.as_of <= at).map_or(0, |last| last + 1);
        let was_there = |row: &HistoryRow| row.segment == *segment && row.kind != RunKind::Backfill && row.run.as_of <= at;
        if counted == 0 && !found.history.iter().any(was_there) {
            let of_then = found.past.iter().rfind(|past| past.segment == *segment && past.at == at);
            return Ok(match of_then {
                Some(past) => {
                    let rows = Self::rows_of_snapshot(Some(&past.snapshot), tenant, segment)?;
                    Past::Members { rows, provenance: Provenance::Backfilled }
                }
                None => Past::Unknown,
            });
        }
        let mut then: Option<Snapshot> = None;
        for ChangeRow { subject, change, reason, hash, run, .. } in &changes[..counted] {
            let (members, reasons) = (BTreeMap::new(), BTreeMap::new());
            let then = then.get_or_insert(Snapshot { members, reasons, hash: hash.clone(), run: run.clone() });
            then.run = run.clone();
            then.reasons.remove(subject);
            match *change {
                "enter" => {
                    then.members.insert(subject.clone(), run.as_of);
                    if matches!(reason, ChangeReason::Manual | ChangeReason::Import) {
                        then.reasons.insert(subject.clone(), *reason);
                    }
                }
                _ => drop(then.members.remove(subject)),
            }
        }
        let rows = Self::rows_of_snapshot(then.as_ref(), tenant, segment)?;
        Ok(Past::Members { rows, provenance: Provenance::Replayed { changes: counted as u64 } })
    }

    async fn backfilled(
        &self,
        tenant: &TenantId,
        segment: &SegmentId,
        definition_hash: &str,
    ) -> Result<BTreeSet<Timestamp>, LedgerError> {
        let past = self.tenant(tenant).past;
        Ok(past.iter().filter(|row| row.segment == *segment && row.snapshot.hash == definition_hash).map(|row| row.at).collect())
    }

    /// Nothing is left behind that nobody refers to.
    async fn garbage(&self, _: &TenantId, _: Duration) -> Result<Garbage, LedgerError> {
        Ok(Garbage::default())
    }

    async fn collect(&self, lease: &Lease, tenant: &TenantId, grace: Duration) -> Result<Garbage, LedgerError> {
        self.check_newest(tenant, lease.number)?;
        self.garbage(tenant, grace).await
    }

    /// Everything stands in one place.
    async fn repair(&self, lease: &Lease, tenant: &TenantId, _: Uuid) -> Result<Vec<Fault>, LedgerError> {
        self.check_newest(tenant, lease.number)?;
        self.verify(tenant).await
    }

    async fn erase(&self, lease: &Lease, run: &Run, subject_id: &str) -> Result<Erased, LedgerError> {
        self.check_newest(&run.tenant, lease.number)?;
        let mut kept = self.kept();
        let Tenant { state, snapshots, changes, history, decisions, past } = kept.tenants.entry(run.tenant.clone()).or_default();
        let mut erased = Erased::default();
        for (segment, snapshot) in snapshots {
            if snapshot.members.remove(subject_id).is_some() {
                snapshot.reasons.remove(subject_id);
                erased.segments.entry(segment.clone()).or_default().was_member = true;
            }
        }
        for row in past {
            if row.snapshot.members.remove(subject_id).is_some() {
                row.snapshot.reasons.remove(subject_id);
                erased.segments.entry(row.segment.clone()).or_default().snapshots += 1;
            }
        }
        for row in changes.extract_if(.., |row| row.subject == subject_id) {
            erased.segments.entry(row.segment).or_default().changes += 1;
        }
        for row in decisions.extract_if(.., |row| row.subject == subject_id) {
            erased.segments.entry(row.segment).or_default().overrides += 1;
        }
        for (segment, from) in &erased.segments {
            let removed_count = u64::from(from.was_member);
            let mut figures = Figures { removed_count, ..Figures::default() };
            let mut hash = String::new();
            if let Some(state) = state.segments.get_mut(segment) {
                state.member_count -= removed_count;
                state.overrides = decisions.iter().filter(|row| row.segment == *segment && row.until.is_none()).count() as u64;
                figures.member_count = state.member_count;
                hash.clone_from(&state.definition.hash);
            }
            let row = HistoryRow {
                segment: segment.clone(),
                kind: RunKind::Erase,
                figures,
                duration_ms: 0,
                hash,
                status: RunStatus::Ok,
                error: None,
                run: run.clone(),
            };
            history.push(row);
        }
        Ok(erased)
    }

    async fn segments_of(&self, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
        let found = self.tenant(tenant);
        let memberships = found.snapshots.iter().filter_map(|(segment, snapshot)| {
            let entered_at = *snapshot.members.get(subject_id)?;
            let reason = snapshot.reasons.get(subject_id).copied().unwrap_or(ChangeReason::RuleMatch).keyword().to_owned();
            Some(Membership { segment_id: segment.clone(), entered_at, score: None, confidence: None, reason })
        });
        Ok(memberships.collect())
    }

    async fn recount(&self, tenant: &TenantId, segment: &SegmentId) -> Result<u64, LedgerError> {
        Ok(self.stored(tenant, segment).await?.count())
    }

    async fn verify(&self, tenant: &TenantId) -> Result<Vec<Fault>, LedgerError> {
        let found = self.tenant(tenant);
        let mut replayed: BTreeMap<&SegmentId, BTreeMap<String, Timestamp>> = BTreeMap::new();
        for ChangeRow { segment, subject, change, run, .. } in &found.changes {
            let members = replayed.entry(segment).or_default();
            if *change == "enter" {
                members.insert(subject.clone(), run.as_of)
            } else {
                members.remove(subject)
            };
        }
        let mut counts: BTreeMap<&SegmentId, u64> = BTreeMap::new();
        let mut faults = Vec::new();
        for HistoryRow { segment, kind, figures, .. } in &found.history {
            if RunKind::COUNTING.contains(kind) {
                let before = counts.insert(segment, figures.member_count).unwrap_or(0);
                if before + figures.added_count != figures.member_count + figures.removed_count {
                    faults.push(Fault::of_segment(segment, format!("{figures:?} does not follow from {before}")));
                }
            }
        }
        for (segment, state) in &found.state.segments {
            let members = found.snapshots.get(segment).map(|snapshot| snapshot.members.clone()).unwrap_or_default();
            if replayed.remove(segment).unwrap_or_default() != members {
                faults.push(Fault::of_segment(segment, "the changes do not give the members"));
            }
            let rows = members.len() as u64;
            if state.member_count != rows || counts.get(segment).is_some_and(|&count| count != rows) {
                faults.push(Fault::of_segment(segment, format!("{rows} members and another count")));
            }
        }
        let behind = replayed.into_iter().filter(|(_, members)| !members.is_empty());
        faults.extend(behind.map(|(id, _)| Fault::of_segment(id, "left behind")));
        Ok(faults)
    }
}

impl MemoryTransaction {
    fn known(&self, segment: &SegmentId) -> Result<&SegmentState, LedgerError> {
        let unknown = || LedgerError::UnknownSegment { tenant: self.run.tenant.clone(), segment: segment.clone() };
        self.before.state.segments.get(segment).ok_or_else(unknown)
    }

    fn change(&mut self, segment: &SegmentId, subject: &str, change: &'static str, reason: ChangeReason, hash: &str) {
        let (segment, subject, hash, run) = (segment.clone(), subject.to_owned(), hash.to_owned(), self.run.clone());
        self.next.changes.push(ChangeRow { segment, subject, change, reason, hash, run });
    }

    /// Why a subject moved of whom people decided.
    fn by_hand(&self, segment: &SegmentId, subject: &str, verdict: Verdict, overrides: &Overrides<IdSet>) -> Option<ChangeReason> {
        let edited = self.edits.get(segment).filter(|edit| edit.subjects.contains(subject)).map(|edit| edit.origin);
        edited.or_else(|| origin_of(overrides, subject, verdict)).map(Into::into)
    }

    fn evaluated(
        &mut self,
        segment: &SegmentId,
        hash: &str,
        (members, universe): (&IdSet, &IdSet),
        overrides: &Overrides<IdSet>,
    ) -> Figures {
        let previous = self.before.snapshots.get(segment).cloned();
        let computed_before = self.before.state.segments.get(segment).is_some_and(|state| state.computed_at.is_some());
        let old = previous.as_ref().map(|snapshot| snapshot.members.clone()).unwrap_or_default();
        let redefined = previous.as_ref().is_some_and(|snapshot| snapshot.hash != hash);
        let mut figures = Figures { member_count: members.count(), ..Figures::default() };
        for subject in old.keys().chain(&members.0).cloned().collect::<BTreeSet<_>>() {
            match (old.contains_key(&subject), members.0.contains(&subject)) {
                (true, true) | (false, false) => {}
                (false, true) => {
                    figures.added_count += 1;
                    let reason = match (computed_before, redefined) {
                        (false, _) => ChangeReason::Initial,
                        (true, true) => ChangeReason::DefinitionChanged,
                        (true, false) => ChangeReason::RuleMatch,
                    };
                    let reason = self.by_hand(segment, &subject, Verdict::Add, overrides).unwrap_or(reason);
                    self.change(segment, &subject, "enter", reason, hash);
                }
                (true, false) => {
                    figures.removed_count += 1;
                    let reason = match (universe.0.contains(&subject), redefined) {
                        (false, _) => ChangeReason::LeftUniverse,
                        (true, true) => ChangeReason::DefinitionChanged,
                        (true, false) => ChangeReason::RuleEnded,
                    };
                    let reason = self.by_hand(segment, &subject, Verdict::Remove, overrides).unwrap_or(reason);
                    self.change(segment, &subject, "exit", reason, hash);
                }
            }
        }
        let added = members.0.iter().filter_map(|id| Some((id.clone(), origin_of(overrides, id, Verdict::Add)?.into())));
        let reasons: BTreeMap<String, ChangeReason> = added.collect();
        let same_reasons = previous.as_ref().is_none_or(|snapshot| snapshot.reasons == reasons);
        let unchanged = figures.added_count + figures.removed_count == 0 && same_reasons;
        let run = previous.filter(|_| unchanged).map_or_else(|| self.run.clone(), |snapshot| snapshot.run);
        let kept = members.0.iter().map(|id| (id.clone(), old.get(id).copied().unwrap_or(self.run.as_of))).collect();
        self.next.snapshots.insert(segment.clone(), Snapshot { members: kept, reasons, hash: hash.to_owned(), run });
        figures
    }

    fn ended(&mut self, segment: &SegmentId, hash: &str, reason: ChangeReason) -> Figures {
        let members = self.next.snapshots.remove(segment).map(|snapshot| snapshot.members).unwrap_or_default();
        for subject in members.keys() {
            self.change(segment, subject, "exit", reason, hash);
        }
        Figures { removed_count: members.len() as u64, ..Figures::default() }
    }

    fn stage_one(&mut self, staged: StagedSegment<IdSet>) -> Result<Staged, LedgerError> {
        let StagedSegment { segment, definition, outcome, duration, max_change } = staged;
        let known = self.before.state.segments.get(&segment).cloned();
        let deleted = matches!(outcome, Outcome::Ended { reason: ChangeReason::SegmentDeleted });
        let mut definition: DefinitionRecord = match definition {
            Some(definition) => definition,
            None => self.known(&segment)?.definition.clone(),
        };
        let mut computed_at = known.as_ref().and_then(|state| state.computed_at);
        let (mut errors, mut error) = (0, None);
        let mut held = None;
        let mut attempted_at = self.run.as_of;
        let figures = match outcome {
            Outcome::Members { members, universe, overrides, basis } => {
                let before = self.next.clone();
                let figures = self.evaluated(&segment, &definition.hash, (&members, &universe), &overrides);
                held = match (&known, &max_change) {
                    (Some(known), Some(max_change)) if known.computed_at.is_some() => {
                        figures.objection(known.member_count, max_change)
                    }
                    _ => None,
                };
                match (&held, basis) {
                    (Some(_), _) => {
                        self.next = before;
                        Figures { member_count: known.as_ref().map_or(0, |state| state.member_count), ..Figures::default() }
                    }
                    (None, Basis::Stored) => {
                        attempted_at = known.as_ref().map_or(attempted_at, |state| state.attempted_at);
                        figures
                    }
                    (None, Basis::Evaluated) => {
                        computed_at = Some(self.run.as_of);
                        figures
                    }
                }
            }
            Outcome::Failed { error: reason } => {
                errors = known.as_ref().map_or(0, |state| state.errors) + 1;
                error = Some(reason);
                Figures { member_count: known.as_ref().map_or(0, |state| state.member_count), ..Figures::default() }
            }
            Outcome::Ended { reason } => {
                self.known(&segment)?;
                definition.status = Status::Archived;
                self.ended(&segment, &definition.hash, reason)
            }
        };
        let duration_ms = u64::try_from(duration.as_millis()).unwrap();
        let hash = definition.hash.clone();
        let (kind, run) = (self.run.kind, self.run.clone());
        let status = if error.is_some() {
            RunStatus::Failed
        } else if held.is_some() {
            RunStatus::Held
        } else {
            RunStatus::Ok
        };
        let remark = error.clone().or_else(|| held.clone());
        let row = HistoryRow { segment: segment.clone(), kind, figures, duration_ms, hash, status, error: remark, run };
        self.next.history.push(row);
        let state = SegmentState {
            definition,
            note: known.map(|state| state.note).unwrap_or_default(),
            member_count: figures.member_count,
            computed_at,
            attempted_at,
            errors,
            last_error: error,
            held: held.clone(),
            overrides: in_force(&self.next.decisions, &segment),
            run_id: self.run.run_id,
            duration_ms,
        };
        self.next.state.segments.insert(segment.clone(), state);
        if deleted {
            self.next.state.segments.remove(&segment);
            self.next.decisions.retain(|row| row.segment != segment);
        }
        Ok(Staged { figures, duration: Duration::ZERO, held })
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    type Members = IdSet;

    async fn stage_all(
        &mut self,
        segments: Vec<StagedSegment<IdSet>>,
        begins: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Staged>, LedgerError> {
        let one_after_the_other = segments.into_iter().enumerate().map(|(number, segment)| {
            begins(number);
            self.stage_one(segment)
        });
        one_after_the_other.collect()
    }

    async fn edit_overrides(&mut self, segment: &SegmentId, edit: &OverrideEdit) -> Result<Edited<IdSet>, LedgerError> {
        let mut undecided = Vec::new();
        for subject in &edit.subjects {
            let open = self.next.decisions.iter_mut();
            let mut open = open.filter(|row| row.segment == *segment && row.subject == *subject && row.until.is_none());
            match (open.next(), edit.action) {
                (Some(row), _) => row.until = Some(self.run.as_of.max(row.since)),
                (None, EditAction::Clear) => undecided.push(subject.clone()),
                (None, EditAction::Decide(_)) => {}
            }
            if let EditAction::Decide(verdict) = edit.action {
                let decision = Override { verdict, origin: edit.origin };
                let (segment, subject, run) = (segment.clone(), subject.clone(), self.run.clone());
                self.next.decisions.push(DecisionRow { segment, subject, decision, since: run.as_of, until: None, run });
            }
        }
        self.edits.insert(segment.clone(), edit.clone());
        let overrides = decided(&self.next.decisions, segment, self.run.as_of);
        Ok(Edited { overrides, subjects: IdSet(edit.subjects.clone()), undecided })
    }

    async fn record_daily(&mut self, segment: &SegmentId) -> Result<(), LedgerError> {
        let state = self.known(segment)?;
        let figures = Figures { member_count: state.member_count, ..Figures::default() };
        let (hash, run) = (state.definition.hash.clone(), self.run.clone());
        let row = HistoryRow {
            segment: segment.clone(),
            kind: RunKind::Daily,
            figures,
            duration_ms: 0,
            hash,
            status: RunStatus::Ok,
            error: None,
            run,
        };
        self.next.history.push(row);
        Ok(())
    }

    fn record_past(&mut self, segment: &SegmentId, figures: Figures, definition_hash: &str, duration: Duration) {
        self.next.history.push(HistoryRow {
            segment: segment.clone(),
            kind: RunKind::Backfill,
            figures,
            duration_ms: u64::try_from(duration.as_millis()).unwrap(),
            hash: definition_hash.to_owned(),
            status: RunStatus::Ok,
            error: None,
            run: self.run.clone(),
        });
    }

    async fn keep_past(&mut self, snapshots: Vec<PastSnapshot<IdSet>>) -> Result<(), LedgerError> {
        for PastSnapshot { segment, definition_hash: hash, members, overrides, follows } in snapshots {
            let of_before = |row: &&PastRow| row.segment == segment && Some(row.at) == follows && row.snapshot.hash == hash;
            let before = self.next.past.iter().rfind(of_before).map(|row| row.snapshot.members.clone()).unwrap_or_default();
            let at = self.run.as_of;
            let since = |id: &String| before.get(id).copied().unwrap_or(at);
            let added = overrides.iter().filter(|(decision, _)| decision.verdict == Verdict::Add);
            let reasons = added.flat_map(|(decision, set)| set.0.iter().map(move |id| (id.clone(), decision.origin.into())));
            let reasons: BTreeMap<String, ChangeReason> = reasons.filter(|(id, _)| members.0.contains(id)).collect();
            let members = members.0.iter().map(|id| (id.clone(), since(id))).collect();
            let snapshot = Snapshot { members, reasons, hash, run: self.run.clone() };
            self.next.past.push(PastRow { segment, at, snapshot });
        }
        Ok(())
    }

    async fn correct_count(&mut self, segment: &SegmentId, actual: u64) -> Result<(), LedgerError> {
        self.known(segment)?;
        if let Some(state) = self.next.state.segments.get_mut(segment) {
            state.member_count = actual;
        }
        Ok(())
    }

    fn note_definition(&mut self, segment: &SegmentId, note: DefinitionNote) {
        self.notes.insert(segment.clone(), note);
    }

    fn note_job(&mut self, job: &str, at: Timestamp) {
        self.next.state.jobs.insert(job.to_owned(), at);
    }

    async fn commit(mut self) -> Result<(), LedgerError> {
        self.ledger.check_newest(&self.run.tenant, self.lease)?;
        for (segment, note) in self.notes {
            if let Some(state) = self.next.state.segments.get_mut(&segment) {
                state.note = note;
            }
        }
        let Tenant { history, state, .. } = &mut self.next;
        for row in history.iter_mut().filter(|row| row.run.run_id == self.run.run_id && row.status == RunStatus::Ok) {
            row.error = state.segments.get(&row.segment).and_then(|segment| segment.note.remark());
        }
        self.ledger.kept().tenants.insert(self.run.tenant.clone(), self.next);
        Ok(())
    }
}

/// What is decided about a segment at an instant.
fn decided(rows: &[DecisionRow], segment: &SegmentId, at: Timestamp) -> Overrides<IdSet> {
    let mut sets: BTreeMap<Override, BTreeSet<String>> = BTreeMap::new();
    let holds = |row: &&DecisionRow| row.segment == *segment && row.since <= at && row.until.is_none_or(|until| at < until);
    for row in rows.iter().filter(holds) {
        sets.entry(row.decision).or_default().insert(row.subject.clone());
    }
    Overrides::new(sets.into_iter().map(|(decision, subjects)| (decision, IdSet(subjects))))
}

fn in_force(rows: &[DecisionRow], segment: &SegmentId) -> u64 {
    rows.iter().filter(|row| row.segment == *segment && row.until.is_none()).count() as u64
}

fn origin_of(overrides: &Overrides<IdSet>, subject: &str, verdict: Verdict) -> Option<Origin> {
    let mut decided = overrides.iter().filter(|(decision, set)| decision.verdict == verdict && set.0.contains(subject));
    decided.next().map(|(decision, _)| decision.origin)
}

fn passes(filter: &ReadFilter, segment: &SegmentId, run: &Run) -> bool {
    (filter.segments.is_empty() || filter.segments.contains(segment)) && filter.holds_at(run.as_of)
}

fn stream(schema: SchemaRef, columns: Vec<ArrayRef>) -> RowStream {
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    futures::stream::iter([Ok(batch)]).boxed()
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional_texts(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn instants(values: impl IntoIterator<Item = Timestamp>) -> ArrayRef {
    let micros = values.into_iter().map(Timestamp::as_microsecond);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}
