//! Checks that the laws of the ledger hold, and that every file, public or not, is what was committed. For each fault it says what would
//! put it right; `repair` does it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray, UInt64Array};
use futures::TryStreamExt;
use object_store::path::Path;

use super::log::{self, LogState, TenantEntry};
use super::read::{self, Rows};
use super::record::{FileRef, Index};
use super::table::{Look, Table, check_whole, column};
use super::{ObjectLedger, gc, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{Fault, Garbage, LedgerError, ReadFilter, Remedy, RunKind};

/// The members of each segment, each with the instant of its enter in microseconds.
type Members = BTreeMap<SegmentId, BTreeMap<String, i64>>;

/// What was found to be wrong, each with what would put it right.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<(Fault, Option<Fix>)>);

/// What puts a fault right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// A file that is whole takes the place of another.
    Copy { from: Path, to: Path },
    /// A file that has no place goes.
    Delete(Path),
    /// Members come from the changes.
    Rebuild(SegmentId),
    /// A recorded count becomes that of the rows.
    Count(SegmentId, u64),
}

impl Fix {
    /// What it does, in words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Copy { .. } => "copied from the other place where it stands",
            Self::Delete(_) => "deleted: what it says stands elsewhere, or its segment is gone",
            Self::Rebuild(_) => "rebuilt from the changes; scores are those of the entries",
            Self::Count(..) => "set to the count of the rows",
        }
    }
}

impl Findings {
    fn add(&mut self, fault: Fault, fix: Option<Fix>) {
        let remedy = fix.as_ref().map_or(Remedy::None, |fix| Remedy::Possible(fix.words()));
        self.0.push((fault.with(remedy), fix));
    }

    /// Damage is a fault among others; that the store cannot be read is an error.
    fn catch<T>(&mut self, result: Result<T, LedgerError>, fix: Option<Fix>) -> Result<Option<T>, LedgerError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(LedgerError::Corrupt { path, problem }) => {
                let fault = Fault::of_file(path, problem);
                if !self.0.iter().any(|(known, _)| known.place == fault.place) {
                    self.add(fault, fix);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Looks at everything that the log refers to.
pub(super) async fn findings(ledger: &ObjectLedger, tenant: &TenantId, state: &LogState) -> Result<Findings, LedgerError> {
    let mut found = Findings::default();
    let Some(entry) = state.tenants.get(tenant) else { return Ok(found) };
    let place = ledger.place();
    let published = log::published(place).await?;
    let index = found.catch(log::index_of(place, state, tenant).await, None)?;
    let damaged = snapshots(ledger, tenant, entry, published, &mut found).await?;
    let (mut replayed, mut counted) = (None, None);
    if let Some(index) = &index {
        public_files(ledger, index, published, &mut found).await?;
        strays(ledger, tenant, state, index, published, &mut found).await?;
        replayed = found.catch(replay(ledger, tenant, index).await, None)?;
        counted = found.catch(chain(ledger, tenant, index).await, None)?;
    }
    let counted = counted.unwrap_or_default();
    for (segment, problem) in counted.breaks {
        found.add(Fault::of_segment(&segment, problem), None);
    }
    for (segment, state) in &entry.segments {
        if damaged.contains(segment) {
            continue;
        }
        let Some(members) = found.catch(members(ledger, tenant, segment).await, None)? else { continue };
        let rows = members.len() as u64;
        let last = counted.last.get(segment).copied();
        if rows != state.member_count {
            let problem = format!("the snapshot has {rows} rows, and the recorded count is {}", state.member_count);
            let fix = last.is_none_or(|last| last == rows).then(|| Fix::Count(segment.clone(), rows));
            found.add(Fault::of_segment(segment, problem), fix);
        }
        if let Some(count) = last
            && count != rows
        {
            let problem = format!("the snapshot has {rows} rows, and the last history row says {count}");
            found.add(Fault::of_segment(segment, problem), None);
        }
        let Some(replayed) = &replayed else { continue };
        let empty = BTreeMap::new();
        let replayed = replayed.get(segment).unwrap_or(&empty);
        let differing = members.iter().find(|(id, at)| replayed.get(*id) != Some(at)).map(|(id, _)| id);
        let differing = differing.or_else(|| replayed.keys().find(|id| !members.contains_key(*id)));
        if let Some(id) = differing {
            let problem = format!("the changes of subject `{id}` do not give its row of the snapshot");
            found.add(Fault::of_segment(segment, problem), None);
        }
    }
    let gone = replayed.iter().flatten();
    let gone = gone.filter(|(segment, members)| !members.is_empty() && !entry.segments.contains_key(*segment));
    for (segment, _) in gone {
        found.add(Fault::of_segment(segment, "it was deleted, and its changes leave members behind"), None);
    }
    Ok(found)
}

/// What the history rows of a tenant say.
#[derive(Default)]
struct Chain {
    /// The last count of each segment.
    last: BTreeMap<SegmentId, u64>,
    /// Where a count does not follow from the one before it.
    breaks: Vec<(SegmentId, String)>,
}

/// Adds the history rows up, from the first that is kept on.
async fn chain(ledger: &ObjectLedger, tenant: &TenantId, index: &Index) -> Result<Chain, LedgerError> {
    let path = Path::from("history");
    let kinds = RunKind::COUNTING.map(RunKind::keyword);
    let mut chain = Chain { last: index.counts.clone(), breaks: Vec::new() };
    let mut rows = read::rows(ledger, tenant, Rows::History, &ReadFilter::default()).await?;
    while let Some(batch) = rows.try_next().await? {
        let [segments, kind, runs] = ["segment_id", "kind", "run_id"].map(|name| column::<StringArray>(&path, &batch, name));
        let (segments, kind, runs) = (segments?, kind?, runs?);
        let [count, added, removed] =
            ["member_count", "added_count", "removed_count"].map(|name| column::<UInt64Array>(&path, &batch, name));
        let (count, added, removed) = (count?, added?, removed?);
        for row in (0..batch.num_rows()).filter(|&row| kinds.contains(&kind.value(row))) {
            let segment = segment_id(&path, segments.value(row))?;
            let previous = chain.last.get(&segment).copied().unwrap_or(0);
            if previous + added.value(row) != count.value(row) + removed.value(row) {
                let (run, count) = (runs.value(row), count.value(row));
                let problem = format!("the count {count} of run {run} does not follow from {previous} before it");
                chain.breaks.push((segment.clone(), problem));
            }
            chain.last.insert(segment, count.value(row));
        }
    }
    Ok(chain)
}

/// The members that the changes give, on from the snapshots that those before them were laid over.
async fn replay(ledger: &ObjectLedger, tenant: &TenantId, index: &Index) -> Result<Members, LedgerError> {
    let path = Path::from("changes");
    let mut members = Members::new();
    for kept in index.kept.iter().filter(|kept| kept.is_baseline) {
        let public = Path::from(kept.public.as_str());
        let missing = || LedgerError::Corrupt { path: public.to_string(), problem: "it is missing".to_owned() };
        let table = read::run_table(ledger.place(), &public, &kept.file).await?.ok_or_else(missing)?;
        members.insert(kept.segment.clone(), rows_of(&table).await?);
    }
    let mut rows = read::rows(ledger, tenant, Rows::Changes, &ReadFilter::default()).await?;
    while let Some(batch) = rows.try_next().await? {
        let [segments, subjects, changes] =
            ["segment_id", "subject_id", "change"].map(|name| column::<StringArray>(&path, &batch, name));
        let (segments, subjects, changes) = (segments?, subjects?, changes?);
        let at: &TimestampMicrosecondArray = column(&path, &batch, "at")?;
        for row in 0..batch.num_rows() {
            let segment = members.entry(segment_id(&path, segments.value(row))?).or_default();
            match changes.value(row) {
                "enter" => segment.insert(subjects.value(row).to_owned(), at.value(row)),
                _ => segment.remove(subjects.value(row)),
            };
        }
    }
    Ok(members)
}

/// The members that the snapshot holds.
async fn members(ledger: &ObjectLedger, tenant: &TenantId, segment: &SegmentId) -> Result<BTreeMap<String, i64>, LedgerError> {
    match read::current(ledger, tenant, segment).await? {
        Some(table) => rows_of(&table).await,
        None => Ok(BTreeMap::new()),
    }
}

async fn rows_of(table: &Table) -> Result<BTreeMap<String, i64>, LedgerError> {
    let path = table.path();
    let mut members = BTreeMap::new();
    let mut rows = table.rows_of(&["subject_id", "entered_at"]).await?;
    while let Some(batch) = rows.try_next().await? {
        let subjects: &StringArray = column(path, &batch, "subject_id")?;
        let entered_at: &TimestampMicrosecondArray = column(path, &batch, "entered_at")?;
        members.extend((0..batch.num_rows()).map(|row| (subjects.value(row).to_owned(), entered_at.value(row))));
    }
    Ok(members)
}

/// Compares the current snapshots, and what people decided, with what was committed, in both places; returns the segments whose snapshot
/// cannot be read.
async fn snapshots(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    entry: &TenantEntry,
    published: u64,
    found: &mut Findings,
) -> Result<BTreeSet<SegmentId>, LedgerError> {
    let mut damaged = BTreeSet::new();
    let is_published = entry.last_commit <= published;
    for (segment, state) in &entry.segments {
        if let Some(file) = &state.snapshot {
            let public = layout::memberships(tenant, segment);
            let rebuilt = Some(Fix::Rebuild(segment.clone()));
            if !in_both_places(ledger, file, public, is_published, rebuilt, found).await? {
                damaged.insert(segment.clone());
            }
        }
        if let Some(overrides) = &state.overrides {
            // What people decided stands nowhere else.
            in_both_places(ledger, &overrides.file, layout::overrides(tenant, segment), is_published, None, found).await?;
        }
    }
    Ok(damaged)
}

/// Compares a file where the store reads it, and where others do, with what was committed; `lost` is what can be done when it is whole in
/// neither place. Returns whether the store can read it.
async fn in_both_places(
    ledger: &ObjectLedger,
    file: &FileRef,
    public: Path,
    is_published: bool,
    lost: Option<Fix>,
    found: &mut Findings,
) -> Result<bool, LedgerError> {
    let (place, immutable) = (ledger.place(), file.location());
    let at_home = check_whole(place, &immutable, file).await;
    let outside = if is_published { check_whole(place, &public, file).await } else { Ok(()) };
    let copied = |from: &Path, to: &Path| Some(Fix::Copy { from: from.clone(), to: to.clone() });
    match (at_home.is_ok(), outside.is_ok()) {
        (true, true) => {}
        (true, false) => {
            found.catch(outside, copied(&immutable, &public))?;
        }
        (false, true) if is_published => {
            found.catch(at_home, copied(&public, &immutable))?;
            return Ok(false);
        }
        (false, _) => {
            found.catch(at_home, lost.clone())?;
            found.catch(outside, lost)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Compares every public file of changes, history and kept snapshots that is known to be in place with what was committed.
async fn public_files(ledger: &ObjectLedger, index: &Index, published: u64, found: &mut Findings) -> Result<(), LedgerError> {
    let place = ledger.place();
    let mut files: Vec<(Path, &FileRef)> = Vec::new();
    for run in index.runs.iter().filter(|run| run.number <= published) {
        files.extend([Rows::Changes, Rows::History].into_iter().filter_map(|rows| Some((rows.public(run), rows.file(run)?))));
    }
    // The run that replaced a snapshot may be the one that is not published yet; then the snapshot is where it was.
    for kept in &index.kept {
        let public = Path::from(kept.public.as_str());
        let is_waiting = place.size(&public).await?.is_none() && place.size(&kept.file.location()).await? == Some(kept.file.size);
        if !is_waiting {
            files.push((public, &kept.file));
        }
    }
    for (public, file) in files {
        let checked = check_whole(place, &public, file).await;
        if checked.is_err() {
            let staged = file.location();
            let is_there = Table::open(place, staged.clone(), file, Look::Whole).await.is_ok_and(|table| table.is_some());
            found.catch(checked, is_there.then_some(Fix::Copy { from: staged, to: public }))?;
        }
    }
    Ok(())
}

/// Public files of ours that have no place: whoever reads a folder reads their rows twice.
async fn strays(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    state: &LogState,
    index: &Index,
    published: u64,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let mut garbage = Garbage::default();
    gc::public(ledger.place(), state, tenant, index, published, &mut garbage).await?;
    for waste in garbage.waste {
        let problem = format!("it has no place in the store: {}", waste.why);
        let fix = Fix::Delete(Path::from(waste.path.as_str()));
        found.add(Fault::of_file(waste.path, problem), Some(fix));
    }
    Ok(())
}

fn segment_id(path: &Path, text: &str) -> Result<SegmentId, LedgerError> {
    text.parse().map_err(|_| LedgerError::Corrupt { path: path.to_string(), problem: format!("`{text}` is no segment") })
}
