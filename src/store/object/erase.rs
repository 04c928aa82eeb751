//! The erasure of a subject: every file that holds its id is written anew without it, the new ones are committed together, and the old
//! ones are deleted before it is said to be done, those included that readers would usually find for a while.

use datafusion::arrow::array::{BooleanArray, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::path::Path;

use super::compact::without;
use super::encode::RunTables;
use super::history::write_history;
use super::log::{self, TenantEntry};
use super::overrides::Decisions;
use super::place::{Place, failed};
use super::publish::{delete_all, publish};
use super::read::{Rows, filtered, run_table};
use super::record::{FileRef, Index, OverrideRecord, Publication, Purpose, RewriteHistory, RunFiles};
use super::rewrite::{Output, Rewrite};
use super::table::{Look, Table, column};
use super::{ObjectLedger, layout};
use crate::store::history::HistoryRow;
use crate::store::rows::membership_schema;
use crate::store::{Erased, Figures, Lease, LedgerError, Run, RunKind};

pub(super) async fn erase(ledger: &ObjectLedger, lease: &Lease, run: &Run, subject: &str) -> Result<Erased, LedgerError> {
    let Run { run_id, tenant, as_of, evaluation_date, .. } = run;
    let state = ledger.settle(lease, tenant).await?;
    let place = ledger.place();
    // What writers left half-written when they died may hold the id as well.
    place.sweep(&layout::folders(tenant)).await?;
    let Some(entry) = state.tenants.get(tenant).cloned() else { return Ok(Erased::default()) };
    let index = log::index_of(place, &state, tenant).await?;
    let mut rewrite = Rewrite::new(ledger, tenant, lease, state.clone(), *run_id);
    let mut erased = Erased::default();
    rewrite = rewritten_members(place, rewrite, &entry, subject, &mut erased).await?;
    rewrite = rewritten_overrides(ledger, rewrite, &entry, run, subject, &mut erased).await?;
    let mut next = Index { counts: index.counts.clone(), ..Index::default() };
    for files in &index.runs {
        if holds_changes_of(place, files, subject, &mut erased).await? {
            let (done, files) = without(rewrite, tenant, files, subject).await?;
            rewrite = done;
            next.runs.extend(files);
            erased.files += 1;
        } else {
            next.runs.push(files.clone());
        }
    }
    for (number, kept) in index.kept.iter().enumerate() {
        let mut kept = kept.clone();
        let public = Path::from(kept.public.as_str());
        let table = run_table(place, &public, &kept.file).await?.ok_or_else(|| missing(&public))?;
        if !table.rows_of_subject(subject).await?.is_empty() {
            let path = Path::from(format!("{}/{number:06}.kept.parquet", rewrite.folder));
            kept.file = rewritten(place, &table, path, membership_schema(), subject).await?;
            rewrite.published.push(Publication { file: kept.file.clone(), public: kept.public.clone() });
            erased.segments.entry(kept.segment.clone()).or_default().snapshots += 1;
            erased.files += 1;
        }
        next.kept.push(kept);
    }
    if erased.segments.is_empty() {
        return Ok(erased);
    }
    // Nobody needs a snapshot that was replaced but for a reader who began before: the id may stand in it.
    rewrite.discarded.extend(entry.superseded.iter().map(|old| old.path.clone()));
    let rows: Vec<HistoryRow> = history_rows(&entry, &erased);
    let tables = RunTables::new(run).map_err(|error| failed("write", &rewrite.folder, error))?;
    let file = write_history(place, layout::history_file(&rewrite.folder), &tables, run, &rows).await?;
    rewrite.history = Some(RewriteHistory { kind: RunKind::Erase, as_of: *as_of, evaluation_date: *evaluation_date, file });
    let gone: Vec<Path> = rewrite.retracted.iter().chain(&rewrite.discarded).map(|path| Path::from(path.as_str())).collect();
    let staged: Vec<Path> = rewrite.published.iter().map(|publication| publication.file.location()).collect();
    rewrite.commit(Purpose::Erasure, &next, state.number).await?;
    // The next writer would finish what failed now; but then it could not be said that nothing is left.
    publish(place, ledger.log().await?).await?;
    delete_all(place, gone).await?;
    delete_all(place, staged).await?;
    Ok(erased)
}

/// The current snapshots without the subject.
async fn rewritten_members(
    place: &Place,
    mut rewrite: Rewrite,
    entry: &TenantEntry,
    subject: &str,
    erased: &mut Erased,
) -> Result<Rewrite, LedgerError> {
    for (segment, state) in &entry.segments {
        let Some(file) = &state.snapshot else { continue };
        let table = Table::open(place, file.location(), file, Look::Whole).await?.ok_or_else(|| missing(&file.location()))?;
        if table.rows_of_subject(subject).await?.is_empty() {
            continue;
        }
        let path = layout::snapshot_file(&rewrite.folder, segment);
        let new = rewritten(place, &table, path, membership_schema(), subject).await?;
        rewrite.discarded.push(file.path.clone());
        rewrite.counts.insert(segment.clone(), new.rows);
        rewrite.snapshots.insert(segment.clone(), new);
        erased.segments.entry(segment.clone()).or_default().was_member = true;
        erased.files += 1;
    }
    Ok(rewrite)
}

/// What people decided, without what they decided about the subject.
async fn rewritten_overrides(
    ledger: &ObjectLedger,
    mut rewrite: Rewrite,
    entry: &TenantEntry,
    run: &Run,
    subject: &str,
    erased: &mut Erased,
) -> Result<Rewrite, LedgerError> {
    for (segment, state) in &entry.segments {
        let Some(OverrideRecord { file, .. }) = &state.overrides else { continue };
        let mut decisions = Decisions::read(&ledger.open_present(file).await?).await?;
        let count = decisions.forget(subject);
        if count == 0 {
            continue;
        }
        let record = decisions.write(ledger, layout::overrides_file(&rewrite.folder, segment), run, segment).await?;
        rewrite.discarded.push(file.path.clone());
        rewrite.overrides.insert(segment.clone(), record);
        erased.segments.entry(segment.clone()).or_default().overrides += count;
        erased.files += 1;
    }
    Ok(rewrite)
}

/// A file without the rows of the subject.
async fn rewritten(place: &Place, table: &Table, path: Path, schema: SchemaRef, subject: &str) -> Result<FileRef, LedgerError> {
    let mut output = Output::create(place, path, schema)?;
    let mut rows = table.all_rows().await?;
    while let Some(batch) = rows.try_next().await? {
        let ids: &StringArray = column(table.path(), &batch, "subject_id")?;
        let others: BooleanArray = ids.iter().map(|id| Some(id != Some(subject))).collect();
        output.add(filtered(table.path(), &batch, &others)?).await?;
    }
    output.finish().await
}

/// Whether changes of the subject are among those of a run; counts them.
async fn holds_changes_of(place: &Place, run: &RunFiles, subject: &str, erased: &mut Erased) -> Result<bool, LedgerError> {
    let Some(file) = &run.changes else { return Ok(false) };
    let public = Rows::Changes.public(run);
    let table = run_table(place, &public, file).await?.ok_or_else(|| missing(&public))?;
    let mut rows = table.rows_of(&["segment_id", "subject_id"]).await?;
    let mut found = false;
    while let Some(batch) = rows.try_next().await? {
        let [segments, subjects] = ["segment_id", "subject_id"].map(|name| column::<StringArray>(&public, &batch, name));
        let (segments, subjects) = (segments?, subjects?);
        for row in (0..batch.num_rows()).filter(|&row| subjects.value(row) == subject) {
            let segment = segments.value(row).parse().map_err(|_| LedgerError::Corrupt {
                path: public.to_string(),
                problem: format!("`{}` is no segment", segments.value(row)),
            })?;
            erased.segments.entry(segment).or_default().changes += 1;
            found = true;
        }
    }
    Ok(found)
}

/// A row for each segment that knew the subject.
fn history_rows(entry: &TenantEntry, erased: &Erased) -> Vec<HistoryRow> {
    let row = |(segment, from): (&crate::model::id::SegmentId, &crate::store::ErasedFrom)| {
        let known = entry.segments.get(segment);
        let removed_count = u64::from(from.was_member);
        let member_count = known.map_or(0, |known| known.member_count).saturating_sub(removed_count);
        let figures = Figures { member_count, added_count: 0, removed_count };
        HistoryRow::erased(segment, figures, known.map(|known| known.definition.hash.as_str()))
    };
    erased.segments.iter().map(row).collect()
}

fn missing(path: &Path) -> LedgerError {
    LedgerError::Corrupt { path: path.to_string(), problem: "it is missing".to_owned() }
}
