//! Checks that the laws of the ledger hold, and that every file, public or not, is what was committed.

use std::collections::BTreeMap;

use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray, UInt64Array};
use futures::TryStreamExt;
use object_store::path::Path;

use super::log::{self, LogState, TenantEntry};
use super::read::{self, Rows};
use super::table::{check_whole, column};
use super::{ObjectLedger, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::{LedgerError, ReadFilter, RunKind};

/// The members of each segment, each with the instant of its enter in microseconds.
type Members = BTreeMap<SegmentId, BTreeMap<String, i64>>;

pub(super) async fn verify(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Vec<String>, LedgerError> {
    let state = ledger.log().await?;
    let Some(entry) = state.tenants.get(tenant) else { return Ok(Vec::new()) };
    let mut faults = Faults(Vec::new());
    public_files(ledger, tenant, &state, entry, &mut faults).await?;
    override_files(ledger, tenant, entry, &mut faults).await?;
    let replayed = faults.catch(replay(ledger, tenant).await)?.unwrap_or_default();
    let counted = faults.catch(chain(ledger, tenant).await)?.unwrap_or_default();
    faults.0.extend(counted.breaks);
    let counted = counted.last;
    for (segment, state) in &entry.segments {
        let Some(members) = faults.catch(members(ledger, tenant, segment).await)? else { continue };
        let rows = members.len() as u64;
        if rows != state.member_count {
            faults.add(format!(
                "segment `{segment}`: the snapshot has {rows} rows, and the recorded count is {}",
                state.member_count
            ));
        }
        match counted.get(segment) {
            Some(&count) if count != rows => {
                faults.add(format!("segment `{segment}`: the snapshot has {rows} rows, and the last history row says {count}"));
            }
            Some(_) | None => {}
        }
        let empty = BTreeMap::new();
        let replayed = replayed.get(segment).unwrap_or(&empty);
        let differing = members.iter().find(|(id, at)| replayed.get(*id) != Some(at)).map(|(id, _)| id);
        let differing = differing.or_else(|| replayed.keys().find(|id| !members.contains_key(*id)));
        if let Some(id) = differing {
            faults.add(format!("segment `{segment}`: the changes of subject `{id}` do not give its row of the snapshot"));
        }
    }
    let gone = replayed.iter().filter(|(segment, members)| !members.is_empty() && !entry.segments.contains_key(*segment));
    for (segment, _) in gone {
        faults.add(format!("segment `{segment}` was deleted, and its changes leave members behind"));
    }
    Ok(faults.0)
}

/// What was found to be wrong.
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    /// Damage is a fault among others; that the store cannot be read is an error.
    fn catch<T>(&mut self, result: Result<T, LedgerError>) -> Result<Option<T>, LedgerError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ LedgerError::Corrupt { .. }) => {
                self.add(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the history rows of a tenant say.
#[derive(Default)]
struct Chain {
    /// The last count of each segment.
    last: BTreeMap<SegmentId, u64>,
    /// Where a count does not follow from the one before it.
    breaks: Vec<String>,
}

/// Adds the history rows up.
async fn chain(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Chain, LedgerError> {
    let path = Path::from("history");
    let kinds = [RunKind::Run, RunKind::Manual, RunKind::Erase].map(RunKind::keyword);
    let mut chain = Chain::default();
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
                chain
                    .breaks
                    .push(format!("segment `{segment}`: the count {count} of run {run} does not follow from {previous} before it"));
            }
            chain.last.insert(segment, count.value(row));
        }
    }
    Ok(chain)
}

/// The members that the changes give.
async fn replay(ledger: &ObjectLedger, tenant: &TenantId) -> Result<Members, LedgerError> {
    let path = Path::from("changes");
    let mut members = Members::new();
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
    let path = layout::memberships(tenant, segment);
    let mut members = BTreeMap::new();
    let mut rows = read::members(ledger, tenant, segment).await?;
    while let Some(batch) = rows.try_next().await? {
        let subjects: &StringArray = column(&path, &batch, "subject_id")?;
        let entered_at: &TimestampMicrosecondArray = column(&path, &batch, "entered_at")?;
        members.extend((0..batch.num_rows()).map(|row| (subjects.value(row).to_owned(), entered_at.value(row))));
    }
    Ok(members)
}

/// Compares every public file that is known to be in place with what was committed.
async fn public_files(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    state: &LogState,
    entry: &TenantEntry,
    faults: &mut Faults,
) -> Result<(), LedgerError> {
    let place = ledger.place();
    let published = log::published(place).await?;
    for run in log::run_files(place, state, tenant).await?.iter().filter(|run| run.number <= published) {
        for rows in [Rows::Changes, Rows::History] {
            if let Some(file) = rows.file(run) {
                faults.catch(check_whole(place, &rows.public(run), file).await)?;
            }
        }
    }
    for (segment, state) in &entry.segments {
        let public = layout::memberships(tenant, segment);
        match &state.snapshot {
            Some(file) => {
                faults.catch(check_whole(place, &file.location(), file).await)?;
                if entry.last_commit <= published {
                    faults.catch(check_whole(place, &public, file).await)?;
                }
            }
            None if entry.last_commit <= published && place.size(&public).await?.is_some() => {
                faults.add(format!("`{public}` is there, although the segment has no members"));
            }
            None => {}
        }
    }
    Ok(())
}

/// Compares the files of what people decided with what was committed.
async fn override_files(
    ledger: &ObjectLedger,
    tenant: &TenantId,
    entry: &TenantEntry,
    faults: &mut Faults,
) -> Result<(), LedgerError> {
    let place = ledger.place();
    let is_published = entry.last_commit <= log::published(place).await?;
    for (segment, state) in &entry.segments {
        let public = layout::overrides(tenant, segment);
        match &state.overrides {
            Some(overrides) => {
                faults.catch(check_whole(place, &overrides.file.location(), &overrides.file).await)?;
                if is_published {
                    faults.catch(check_whole(place, &public, &overrides.file).await)?;
                }
            }
            None if is_published && place.size(&public).await?.is_some() => {
                faults.add(format!("`{public}` is there, although nothing was ever decided about the segment"));
            }
            None => {}
        }
    }
    Ok(())
}

fn segment_id(path: &Path, text: &str) -> Result<SegmentId, LedgerError> {
    text.parse().map_err(|_| LedgerError::Corrupt { path: path.to_string(), problem: format!("`{text}` is no segment") })
}
