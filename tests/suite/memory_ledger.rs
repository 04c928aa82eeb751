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
use segmenta::model::segment::Status;
use segmenta::store::rows::{change_schema, history_schema, membership_schema};
use segmenta::store::{
    ChangeReason, DefinitionNote, DefinitionRecord, Fault, Figures, Lease, LeaseScope, Ledger, LedgerError, Membership, Outcome,
    ReadFilter, RowStream, Run, RunKind, SegmentState, Staged, StagedSegment, TenantState, Transaction,
};

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
}

#[derive(Debug, Clone)]
struct Snapshot {
    /// Each member with the instant of its enter.
    members: BTreeMap<String, Timestamp>,
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
    failed: bool,
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
        })
    }

    async fn read_members(&self, tenant: &TenantId, segment: &SegmentId) -> Result<RowStream, LedgerError> {
        let found = self.tenant(tenant);
        let Some(Snapshot { members, run, .. }) = found.snapshots.get(segment) else { return Ok(futures::stream::empty().boxed()) };
        let n = members.len();
        let columns: Vec<ArrayRef> = vec![
            texts(vec![tenant.to_string(); n]),
            texts(vec![segment.to_string(); n]),
            texts(members.keys()),
            instants(members.values().copied()),
            Arc::new(Float64Array::from(vec![None; n])),
            optional_texts(vec![None; n]),
            texts(vec!["rule_match"; n]),
            texts(vec![run.run_id.to_string(); n]),
            instants(vec![run.as_of; n]),
        ];
        Ok(stream(membership_schema(), columns))
    }

    async fn read_changes(&self, tenant: &TenantId, filter: &ReadFilter) -> Result<RowStream, LedgerError> {
        let mut rows = self.tenant(tenant).changes;
        rows.retain(|row| {
            passes(filter, &row.segment, &row.run) && filter.subject.as_ref().is_none_or(|subject| *subject == row.subject)
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
        rows.retain(|row| passes(filter, &row.segment, &row.run));
        let epoch = jiff::civil::date(1970, 1, 1);
        let day = |row: &HistoryRow| i32::try_from(row.run.evaluation_date.duration_since(epoch).as_hours() / 24).unwrap();
        let columns: Vec<ArrayRef> = vec![
            texts(rows.iter().map(|row| row.run.tenant.to_string())),
            texts(rows.iter().map(|row| row.segment.to_string())),
            texts(rows.iter().map(|row| row.run.run_id.to_string())),
            texts(rows.iter().map(|row| row.kind.keyword())),
            instants(rows.iter().map(|row| row.run.as_of)),
            Arc::new(rows.iter().map(|row| Some(day(row))).collect::<Date32Array>()),
            texts(rows.iter().map(|row| if row.failed { "failed" } else { "ok" })),
            numbers(rows.iter().map(|row| row.figures.member_count)),
            numbers(rows.iter().map(|row| row.figures.added_count)),
            numbers(rows.iter().map(|row| row.figures.removed_count)),
            numbers(rows.iter().map(|row| row.duration_ms)),
            optional_texts(rows.iter().map(|row| Some(row.hash.clone()))),
            optional_texts(rows.iter().map(|row| row.error.clone())),
        ];
        Ok(stream(history_schema(), columns))
    }

    async fn segments_of(&self, tenant: &TenantId, subject_id: &str) -> Result<Vec<Membership>, LedgerError> {
        let found = self.tenant(tenant);
        let memberships = found.snapshots.iter().filter_map(|(segment, snapshot)| {
            let entered_at = *snapshot.members.get(subject_id)?;
            Some(Membership { segment_id: segment.clone(), entered_at, score: None, reason: "rule_match".to_owned() })
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
            if matches!(kind, RunKind::Run | RunKind::Manual | RunKind::Erase) {
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

    fn evaluated(&mut self, segment: &SegmentId, hash: &str, members: &IdSet, universe: &IdSet) -> Figures {
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
                    self.change(segment, &subject, "enter", reason, hash);
                }
                (true, false) => {
                    figures.removed_count += 1;
                    let reason = match (universe.0.contains(&subject), redefined) {
                        (false, _) => ChangeReason::LeftUniverse,
                        (true, true) => ChangeReason::DefinitionChanged,
                        (true, false) => ChangeReason::RuleEnded,
                    };
                    self.change(segment, &subject, "exit", reason, hash);
                }
            }
        }
        let unchanged = figures.added_count + figures.removed_count == 0;
        let run = previous.filter(|_| unchanged).map_or_else(|| self.run.clone(), |snapshot| snapshot.run);
        let kept = members.0.iter().map(|id| (id.clone(), old.get(id).copied().unwrap_or(self.run.as_of))).collect();
        self.next.snapshots.insert(segment.clone(), Snapshot { members: kept, hash: hash.to_owned(), run });
        figures
    }

    fn ended(&mut self, segment: &SegmentId, hash: &str, reason: ChangeReason) -> Figures {
        let members = self.next.snapshots.remove(segment).map(|snapshot| snapshot.members).unwrap_or_default();
        for subject in members.keys() {
            self.change(segment, subject, "exit", reason, hash);
        }
        Figures { removed_count: members.len() as u64, ..Figures::default() }
    }

    fn stage_one(&mut self, staged: StagedSegment<IdSet>) -> Result<Figures, LedgerError> {
        let StagedSegment { segment, definition, outcome, duration } = staged;
        let known = self.before.state.segments.get(&segment).cloned();
        let deleted = matches!(outcome, Outcome::Ended { reason: ChangeReason::SegmentDeleted });
        let mut definition: DefinitionRecord = match definition {
            Some(definition) => definition,
            None => self.known(&segment)?.definition.clone(),
        };
        let mut computed_at = known.as_ref().and_then(|state| state.computed_at);
        let (mut errors, mut error) = (0, None);
        let figures = match outcome {
            Outcome::Members { members, universe } => {
                computed_at = Some(self.run.as_of);
                self.evaluated(&segment, &definition.hash, &members, &universe)
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
        let failed = error.is_some();
        let row = HistoryRow { segment: segment.clone(), kind, figures, duration_ms, hash, failed, error: error.clone(), run };
        self.next.history.push(row);
        let state = SegmentState {
            definition,
            note: known.map(|state| state.note).unwrap_or_default(),
            member_count: figures.member_count,
            computed_at,
            attempted_at: self.run.as_of,
            errors,
            last_error: error,
            run_id: self.run.run_id,
            duration_ms,
        };
        self.next.state.segments.insert(segment.clone(), state);
        if deleted {
            self.next.state.segments.remove(&segment);
        }
        Ok(figures)
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
            Ok(Staged { figures: self.stage_one(segment)?, duration: Duration::ZERO })
        });
        one_after_the_other.collect()
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
            failed: false,
            error: None,
            run,
        };
        self.next.history.push(row);
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
        for row in history.iter_mut().filter(|row| row.run.run_id == self.run.run_id && !row.failed) {
            row.error = state.segments.get(&row.segment).and_then(|segment| segment.note.remark());
        }
        self.ledger.kept().tenants.insert(self.run.tenant.clone(), self.next);
        Ok(())
    }
}

fn passes(filter: &ReadFilter, segment: &SegmentId, run: &Run) -> bool {
    filter.segment.as_ref().is_none_or(|wanted| wanted == segment)
        && filter.from.is_none_or(|from| run.as_of >= from)
        && filter.to.is_none_or(|to| run.as_of < to)
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
