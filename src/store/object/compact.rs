//! Putting together what many runs of a day wrote, and letting go of what is kept no longer.
//!
//! The changes and the history of runs that follow each other, of one finished day, become one file each, with the rows in the order of
//! the commits. That order is the one that readers are promised, and since it is that of time as well, the bounds of row groups and pages
//! say which part of a day they hold; which segments a file tells of stands in the index, so that those of other days are not opened.
//!
//! Rows go by whole days, from the oldest on. Before the changes of a segment go, they are laid over the baseline before them; the new
//! baseline is committed with the files that lack them. Of history rows that go, the last count stays in the index.
//!
//! One step is bounded by the files and rows that it reads, so that a run that waits for the lease does not wait long.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{BooleanArray, StringArray, UInt64Array};
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use object_store::path::Path;
use uuid::Uuid;

use super::log::{self, Reach};
use super::read::{Rows, filtered, run_table};
use super::record::{FileRef, Index, KeptSnapshot, Merged, Publication, Purpose, RunFiles};
use super::rewrite::{Output, Rewrite};
use super::table::{Table, column};
use super::{ObjectLedger, layout};
use crate::model::id::{SegmentId, TenantId};
use crate::store::replay::Folded;
use crate::store::rows::{change_schema, history_schema, membership_schema};
use crate::store::{CompactRequest, Compacted, Lease, LedgerError, Retention, RunKind};

/// Files that are read at the same time.
const READ_AT_ONCE: usize = 8;

/// Does one step.
pub(super) async fn step(
    ledger: &ObjectLedger,
    lease: &Lease,
    tenant: &TenantId,
    rewrite_id: Uuid,
    request: &CompactRequest,
) -> Result<Compacted, LedgerError> {
    let state = ledger.settle(lease, tenant).await?;
    let budget = ledger.options.compact_runs;
    let enough = |index: &Index| {
        let waiting: usize =
            groups(&index.runs, request.today).filter(|group| group.is_mergeable()).map(|group| group.runs.len()).sum();
        if waiting >= budget { Reach::Enough } else { Reach::Further }
    };
    let (index, through) = log::index_up_to(ledger.place(), &state, tenant, enough).await?;
    let is_last = through == state.number;
    let mut step = Step {
        rewrite: Rewrite::new(ledger, tenant, lease, state, rewrite_id),
        tenant: tenant.clone(),
        retention: &request.retention,
        folded: BTreeMap::new(),
        counts: index.counts.clone(),
        erased: None,
        done: Compacted { is_unfinished: !is_last, ..Compacted::default() },
    };
    let mut next = Index { counts: BTreeMap::new(), kept: index.kept, runs: Vec::new() };
    let (mut oldest, mut runs_read, mut rows_read) = (Reaching::default(), 0, 0);
    for group in groups(&index.runs, request.today) {
        oldest.over(&group);
        let dropped = step.dropped(&group, oldest);
        let is_wanted = group.is_mergeable() || dropped != Dropped::None;
        if !is_wanted || runs_read >= budget || rows_read >= ledger.options.compact_rows {
            step.done.is_unfinished |= is_wanted;
            next.runs.extend(group.runs.iter().cloned());
            continue;
        }
        runs_read += group.runs.len();
        rows_read += group.runs.iter().flat_map(|run| [&run.changes, &run.history]).flatten().map(|file| file.rows).sum::<u64>();
        next.runs.extend(step.put_together(&group, oldest).await?);
    }
    step.write_baselines(&mut next).await?;
    step.forget_snapshots(&mut next);
    if step.done == (Compacted { is_unfinished: step.done.is_unfinished, ..Compacted::default() }) {
        return Ok(step.done);
    }
    next.counts = step.counts;
    step.rewrite.commit(Purpose::Compaction, &next, through).await?;
    Ok(step.done)
}

/// Runs that follow each other and whose rows can stand in one file.
struct Group<'a> {
    runs: &'a [RunFiles],
    date: Date,
    /// Whether the day is over, and no run that is not read yet can belong to it.
    is_finished: bool,
}

impl Group<'_> {
    fn is_mergeable(&self) -> bool {
        self.is_finished && self.runs.len() > 1
    }

    fn last(&self) -> Option<&RunFiles> {
        self.runs.last()
    }
}

fn groups(runs: &[RunFiles], today: Date) -> impl Iterator<Item = Group<'_>> {
    let of_one = |a: &RunFiles, b: &RunFiles| {
        let alike = (a.kind == RunKind::Backfill) == (b.kind == RunKind::Backfill);
        a.evaluation_date == b.evaluation_date && a.as_of <= b.from() && alike
    };
    runs.chunk_by(of_one).filter_map(move |runs| {
        let date = runs.first()?.evaluation_date;
        Some(Group { runs, date, is_finished: date < today })
    })
}

/// The latest instant so far, and whether all days so far are over: only rows before which nothing stays may go.
#[derive(Debug, Clone, Copy)]
struct Reaching {
    latest: Timestamp,
    all_finished: bool,
}

impl Default for Reaching {
    fn default() -> Self {
        Self { latest: Timestamp::MIN, all_finished: true }
    }
}

impl Reaching {
    fn over(&mut self, group: &Group<'_>) {
        self.all_finished &= group.is_finished;
        self.latest = group.last().map_or(self.latest, |last| self.latest.max(last.as_of));
    }
}

/// Whether rows of a group are kept no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    None,
    Some,
}

/// What a step has come to.
struct Step<'a> {
    rewrite: Rewrite,
    tenant: TenantId,
    retention: &'a Retention,
    /// The changes that go, by segment, with the last commit that they may be of.
    folded: BTreeMap<SegmentId, (Folded, u64)>,
    counts: BTreeMap<SegmentId, u64>,
    /// Whose changes go without a trace.
    erased: Option<&'a str>,
    done: Compacted,
}

/// The files of one run, or of several that were put together, without the changes of a subject.
pub(super) async fn without(
    rewrite: Rewrite,
    tenant: &TenantId,
    run: &RunFiles,
    subject: &str,
) -> Result<(Rewrite, Option<RunFiles>), LedgerError> {
    let retention = Retention::default();
    let (folded, counts, done) = (BTreeMap::new(), BTreeMap::new(), Compacted::default());
    let mut step = Step { rewrite, tenant: tenant.clone(), retention: &retention, folded, counts, erased: Some(subject), done };
    let group = Group { runs: std::slice::from_ref(run), date: run.evaluation_date, is_finished: false };
    let reaching = Reaching { all_finished: false, ..Reaching::default() };
    let rewritten = step.put_together(&group, reaching).await?;
    Ok((step.rewrite, rewritten))
}

impl Step<'_> {
    /// Whether rows of a segment in a file that ends at an instant are kept no longer.
    fn is_past(&self, rows: Rows, segment: &SegmentId, reaching: Reaching) -> bool {
        let horizons = self.retention.of(segment);
        let horizon = match rows {
            Rows::Changes => horizons.changes,
            Rows::History => horizons.history,
        };
        reaching.all_finished && horizon.is_past(reaching.latest)
    }

    /// Whether rows of a group are kept no longer, as far as is known before they are read.
    fn dropped(&self, group: &Group<'_>, reaching: Reaching) -> Dropped {
        let some_horizon = || {
            let all = self.retention.segments.values().chain([&self.retention.default]);
            all.into_iter().any(|horizons| horizons.changes.is_past(reaching.latest) || horizons.history.is_past(reaching.latest))
        };
        let is_some = group.runs.iter().any(|run| match &run.merged {
            Some(merged) => {
                merged.changed.iter().any(|segment| self.is_past(Rows::Changes, segment, reaching))
                    || merged.recorded.iter().any(|segment| self.is_past(Rows::History, segment, reaching))
            }
            None => reaching.all_finished && some_horizon(),
        });
        if is_some { Dropped::Some } else { Dropped::None }
    }

    /// The rows of a group in one file each; `None` when none of them stays.
    async fn put_together(&mut self, group: &Group<'_>, reaching: Reaching) -> Result<Option<RunFiles>, LedgerError> {
        let (Some(first), Some(last)) = (group.runs.first(), group.last()) else { return Ok(None) };
        let (changes, changed) = self.write(Rows::Changes, group, reaching, last.number).await?;
        let (history, recorded) = self.write(Rows::History, group, reaching, last.number).await?;
        let run = RunFiles {
            number: last.number,
            tenant: self.tenant.clone(),
            run_id: self.rewrite.rewrite_id,
            kind: first.kind,
            as_of: last.as_of,
            evaluation_date: group.date,
            changes,
            history,
            merged: Some(Merged { first: first.first(), from: first.from(), changed, recorded }),
            kept: Vec::new(),
        };
        for rows in [Rows::Changes, Rows::History] {
            for old in group.runs.iter().filter(|run| rows.file(run).is_some()) {
                self.rewrite.retracted.push(rows.public(old).to_string());
                self.done.replaced += 1;
            }
            if let Some(file) = rows.file(&run) {
                self.rewrite.published.push(Publication { file: file.clone(), public: rows.public(&run).to_string() });
                self.done.written += 1;
            }
        }
        Ok(Some(run).filter(|run| run.changes.is_some() || run.history.is_some()))
    }

    /// One table of a group, and the segments that it tells of; `None` when it has no row.
    async fn write(
        &mut self,
        rows: Rows,
        group: &Group<'_>,
        reaching: Reaching,
        number: u64,
    ) -> Result<(Option<FileRef>, BTreeSet<SegmentId>), LedgerError> {
        let place = self.rewrite.place().clone();
        let path = layout::compacted_file(&self.rewrite.folder, rows.folder(), number);
        let schema = match rows {
            Rows::Changes => change_schema(),
            Rows::History => history_schema(),
        };
        let mut output = None;
        let mut told = Told::default();
        let sources: Vec<(Path, FileRef)> =
            group.runs.iter().filter_map(|run| Some((rows.public(run), rows.file(run)?.clone()))).collect();
        let mut tables = futures::stream::iter(sources)
            .map(|(public, file)| {
                let place = place.clone();
                async move {
                    let table = run_table(&place, &public, &file).await?;
                    table.ok_or_else(|| LedgerError::Corrupt { path: public.to_string(), problem: "it is missing".to_owned() })
                }
            })
            .buffered(READ_AT_ONCE);
        while let Some(table) = tables.try_next().await? {
            let mut batches = table.all_rows().await?;
            while let Some(batch) = batches.try_next().await? {
                let kept = self.kept(rows, &table, batch, reaching, number, &mut told)?;
                if kept.num_rows() > 0 {
                    let output = match &mut output {
                        Some(output) => output,
                        None => output.insert(Output::create(&place, path.clone(), schema.clone())?),
                    };
                    output.add(kept).await?;
                }
            }
        }
        let file = match output {
            Some(output) => Some(output.finish().await?),
            None => None,
        };
        Ok((file, told.kept))
    }

    /// The rows of a batch that stay. Changes that go are folded, and of history rows that go the last count is remembered.
    fn kept(
        &mut self,
        rows: Rows,
        table: &Table,
        batch: RecordBatch,
        reaching: Reaching,
        number: u64,
        told: &mut Told,
    ) -> Result<RecordBatch, LedgerError> {
        let path = table.path();
        let batch = match (self.erased, rows) {
            (Some(subject), Rows::Changes) => {
                let others = column::<StringArray>(path, &batch, "subject_id")?.iter();
                filtered(path, &batch, &others.map(|id| Some(id != Some(subject))).collect())?
            }
            (None, Rows::Changes) | (_, Rows::History) => batch,
        };
        let segments: &StringArray = column(path, &batch, "segment_id")?;
        let (mut stay, mut going) = (Vec::with_capacity(batch.num_rows()), BTreeSet::new());
        for text in segments.iter().flatten() {
            let is_known = told.last.as_ref().is_some_and(|(last, _)| last.as_str() == text);
            if !is_known {
                let segment: SegmentId = text
                    .parse()
                    .map_err(|_| LedgerError::Corrupt { path: path.to_string(), problem: format!("`{text}` is no segment") })?;
                let goes = self.is_past(rows, &segment, reaching);
                told.last = Some((segment, goes));
            }
            let Some((segment, goes)) = &told.last else { continue };
            if *goes {
                if !going.contains(segment) {
                    going.insert(segment.clone());
                }
            } else if !told.kept.contains(segment) {
                told.kept.insert(segment.clone());
            }
            stay.push(!*goes);
        }
        if going.is_empty() {
            return Ok(batch);
        }
        for segment in going {
            let of_it: BooleanArray = segments.iter().map(|text| Some(text == Some(segment.as_str()))).collect();
            let gone = filtered(path, &batch, &of_it)?;
            match rows {
                Rows::Changes => {
                    let (folded, last) = self.folded.entry(segment).or_default();
                    folded.add(&gone)?;
                    *last = number;
                    self.done.changes_dropped += gone.num_rows() as u64;
                }
                Rows::History => {
                    if let Some(count) = last_count(path, &gone)? {
                        self.counts.insert(segment, count);
                    }
                    self.done.history_dropped += gone.num_rows() as u64;
                }
            }
        }
        filtered(path, &batch, &BooleanArray::from(stay))
    }

    /// The members after the changes that go, for whoever replays those that stay.
    async fn write_baselines(&mut self, index: &mut Index) -> Result<(), LedgerError> {
        for (segment, (folded, number)) in std::mem::take(&mut self.folded) {
            let Some((at, _)) = folded.last.clone() else { continue };
            let at = Timestamp::from_microsecond(at)
                .map_err(|error| LedgerError::Corrupt { path: layout::indexes().to_string(), problem: error.to_string() })?;
            let of_segment = |kept: &&mut KeptSnapshot| kept.segment == segment && kept.is_recorded();
            let before = index.kept.iter_mut().filter(of_segment).find(|kept| kept.is_baseline);
            let before = match before {
                Some(kept) => {
                    kept.is_baseline = false;
                    Some(kept.clone())
                }
                None => None,
            };
            // The snapshot of the run that made the last of these changes says the same, and knows scores better.
            let same = index.kept.iter_mut().filter(of_segment).find(|kept| kept.at == at);
            if let Some(same) = same {
                same.is_baseline = true;
                continue;
            }
            let place = self.rewrite.place().clone();
            let before = match before {
                Some(kept) => {
                    let public = Path::from(kept.public.as_str());
                    let table = run_table(&place, &public, &kept.file).await?;
                    let missing = || LedgerError::Corrupt { path: public.to_string(), problem: "it is missing".to_owned() };
                    Some(table.ok_or_else(missing)?.all_rows().await?)
                }
                None => None,
            };
            let path = layout::snapshot_file(&self.rewrite.folder, &segment);
            let mut output = Output::create(&place, path, membership_schema())?;
            let mut rows = folded.over(before, &self.tenant, &segment);
            while let Some(batch) = rows.try_next().await? {
                output.add(batch).await?;
            }
            let file = output.finish().await?;
            let mut public = layout::kept(&self.tenant, &segment, at).to_string();
            if index.kept.iter().any(|kept| kept.public == public) {
                public = layout::kept_again(&self.tenant, &segment, at, number).to_string();
            }
            self.rewrite.published.push(Publication { file: file.clone(), public: public.clone() });
            let (until, is_baseline, backfilled_by) = (None, true, None);
            index.kept.push(KeptSnapshot { segment, number, at, until, file, public, is_baseline, backfilled_by });
            self.done.baselines += 1;
        }
        Ok(())
    }

    /// Forgets snapshots that are kept no longer, and that nobody begins a replay with. Those of backfills were asked for: they stay where
    /// nothing is said of snapshots, until another of the same instant takes their place.
    fn forget_snapshots(&mut self, index: &mut Index) {
        let retention = self.retention;
        let mut latest: BTreeMap<(SegmentId, Timestamp), u64> = BTreeMap::new();
        for kept in index.kept.iter().filter(|kept| !kept.is_recorded()) {
            latest.insert((kept.segment.clone(), kept.at), kept.number);
        }
        let (stay, go) = std::mem::take(&mut index.kept).into_iter().partition::<Vec<_>, _>(|kept| {
            let horizon = retention.of(&kept.segment).snapshots;
            let is_past =
                if kept.is_recorded() { horizon.is_past(kept.until.unwrap_or(kept.at)) } else { horizon.is_past_backfill(kept.at) };
            let is_replaced = !kept.is_recorded() && latest.get(&(kept.segment.clone(), kept.at)) != Some(&kept.number);
            kept.is_baseline || !(is_past || is_replaced)
        });
        index.kept = stay;
        self.done.snapshots_dropped += go.len() as u64;
        self.rewrite.retracted.extend(go.into_iter().map(|kept| kept.public));
    }
}

/// Which segments were met, and whether the rows of the last one go.
#[derive(Default)]
struct Told {
    kept: BTreeSet<SegmentId>,
    last: Option<(SegmentId, bool)>,
}

/// The count of the last row that counts members.
fn last_count(path: &Path, batch: &RecordBatch) -> Result<Option<u64>, LedgerError> {
    let kinds: &StringArray = column(path, batch, "kind")?;
    let counts: &UInt64Array = column(path, batch, "member_count")?;
    let counting = RunKind::COUNTING.map(RunKind::keyword);
    Ok((0..batch.num_rows()).rfind(|&row| counting.contains(&kinds.value(row))).map(|row| counts.value(row)))
}
