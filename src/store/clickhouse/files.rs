//! Whether the files of other tools are what the tables say: each of them there, with the same rows, and none beside them. What is not so is
//! written anew.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;
use uuid::Uuid;

use super::compact::table;
use super::log::{self, Base, KeptSnapshot, Records, named};
use super::publish::{commits_after, publish};
use super::read::{self, is_committed};
use super::server::Server;
use super::{overrides, verify};
use crate::backend::clickhouse::OVERRIDES;
use crate::clickhouse::Statement;
use crate::model::id::{SegmentId, TenantId};
use crate::store::object::{PublicCommit, PublicEntry, PublicFile, PublicFiles, PublicTable};
use crate::store::{Fault, LedgerError, ReadFilter, RowStream};

/// Files that stand for nothing.
#[derive(Default)]
pub(super) struct Strays {
    /// Those that the store wrote, and why nobody needs them.
    pub(super) waste: Vec<(PublicFile, &'static str)>,
    /// Those of others.
    pub(super) foreign: Vec<String>,
}

/// What puts a file right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileFix {
    Reached(u64),
    Members(SegmentId),
    Overrides(SegmentId),
    Kept(Box<KeptSnapshot>),
    Rows(PublicTable, PublicCommit),
    Delete(PublicFile),
}

impl FileFix {
    /// What it does, in words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Reached(_) => "set to the last commit; the files are written from the tables",
            Self::Members(_) | Self::Overrides(_) | Self::Kept(_) | Self::Rows(..) => "written anew from the tables",
            Self::Delete(_) => "deleted: nothing in the tables stands for it",
        }
    }

    pub(super) async fn apply(&self, server: &Server, files: &PublicFiles, tenant: &TenantId) -> Result<(), LedgerError> {
        match self {
            Self::Reached(number) => files.set_reached(tenant, *number).await,
            Self::Members(segment) => {
                let rows = read::members(server, tenant, segment).await?;
                files.put_members(tenant, segment, rows).await.map(drop)
            }
            Self::Overrides(segment) => {
                let rows = overrides::read(server, tenant, &ReadFilter::of(segment)).await?;
                files.put_overrides(tenant, segment, rows).await.map(drop)
            }
            Self::Kept(kept) => files.put_kept(tenant, kept.public(), read::kept(server, tenant, kept).await?).await.map(drop),
            Self::Rows(table, commit) => {
                let statement = Statement::default().number("number", "UInt64", commit.number);
                let condition = format!(" AND commit_number = {{number:UInt64}}{}", verify::is_left(*table));
                let rows = read::rows_where(server, tenant, *table, &condition, statement).await?;
                files.put_commit(tenant, *table, *commit, rows).await.map(drop)
            }
            Self::Delete(file) => files.delete(file).await,
        }
    }
}

/// The files that stand for nothing, when all commits are published; otherwise some may be about to be written.
pub(super) async fn strays(server: &Server, files: &PublicFiles, tenant: &TenantId) -> Result<Strays, LedgerError> {
    let base = log::read(server, tenant).await?;
    let is_settled = match files.reached(tenant).await {
        Ok(reached) => reached == base.commit_number,
        Err(LedgerError::Corrupt { .. }) => false,
        Err(error) => return Err(error),
    };
    let records = log::read_records(server, tenant).await?;
    let expected = Expected::read(server, tenant, &base, &records).await?;
    let mut strays = Strays::default();
    for (file, entry) in files.entries(tenant).await? {
        let why = match entry {
            None => None,
            Some(PublicEntry::Members(segment)) if expected.members.contains(&segment) => continue,
            Some(PublicEntry::Members(segment)) => {
                files.is_ours(&file, tenant, &segment).await?.then_some("the segment has no members any more")
            }
            Some(PublicEntry::Overrides(segment)) if expected.overrides.contains(&segment) => continue,
            Some(PublicEntry::Overrides(segment)) => {
                files.is_ours(&file, tenant, &segment).await?.then_some("nothing is decided about the segment any more")
            }
            Some(PublicEntry::Rows(table, number)) => {
                let is_there = expected.rows.get(&table).is_some_and(|commits| commits.contains_key(&number));
                if is_there || number > base.commit_number {
                    continue;
                }
                Some("its rows are kept no longer")
            }
            Some(PublicEntry::Kept) if expected.kept.contains_key(file.path()) => continue,
            Some(PublicEntry::Kept) => Some("it is kept no longer"),
        };
        match why {
            Some(why) if is_settled => strays.waste.push((file, why)),
            Some(_) => {}
            None => strays.foreign.push(file.path().to_owned()),
        }
    }
    strays.foreign.sort();
    Ok(strays)
}

/// What files there should be.
struct Expected {
    members: BTreeSet<SegmentId>,
    overrides: BTreeSet<SegmentId>,
    /// By their paths.
    kept: BTreeMap<String, KeptSnapshot>,
    /// The commits that have rows, by their numbers.
    rows: BTreeMap<PublicTable, BTreeMap<u64, Uuid>>,
}

impl Expected {
    async fn read(server: &Server, tenant: &TenantId, base: &Base, records: &Records) -> Result<Self, LedgerError> {
        let with_members = base.segments.iter().filter(|(_, entry)| entry.snapshot.is_some());
        let kept = records.kept.iter().map(|kept| (kept.public().name(tenant), kept.clone())).collect();
        let decided = format!(
            "SELECT DISTINCT overrides.segment_id FROM {OVERRIDES} AS overrides
WHERE overrides.tenant = {{tenant:String}} AND overrides.action != 'clear' AND {}",
            is_committed("overrides")
        );
        let decided = Statement::new(decided).text("tenant", tenant.as_str());
        let mut overrides = BTreeSet::new();
        for (segment,) in server.rows::<(String,)>("read the overrides", decided).await? {
            overrides.insert(named(&segment)?);
        }
        overrides.retain(|segment| base.segments.contains_key(segment));
        let mut rows = BTreeMap::new();
        for public in PublicTable::ALL {
            let text = format!(
                "SELECT DISTINCT commit_number, toString(t.run_id) FROM {} AS t WHERE t.tenant = {{tenant:String}} AND {}{}",
                table(public),
                is_committed("t"),
                verify::is_left(public)
            );
            let found = Statement::new(text).text("tenant", tenant.as_str());
            rows.insert(public, server.rows::<(u64, Uuid)>("look for the rows", found).await?.into_iter().collect());
        }
        Ok(Self { members: with_members.map(|(segment, _)| segment.clone()).collect(), overrides, kept, rows })
    }
}

/// What is wrong with the files, each with what puts it right.
pub(super) async fn faults(server: &Server, files: &PublicFiles, tenant: &TenantId) -> Result<Vec<(Fault, FileFix)>, LedgerError> {
    let base = log::read(server, tenant).await?;
    let reached = |problem: String| {
        let fault = Fault::of_file(PublicFiles::path_of_reached(tenant), problem);
        vec![(fault, FileFix::Reached(base.commit_number))]
    };
    match files.reached(tenant).await {
        Ok(number) if number == base.commit_number => {}
        Ok(number) if number > base.commit_number => {
            return Ok(reached(format!("it says {number}, and the last commit is {}", base.commit_number)));
        }
        // The next run writes what is missing.
        Ok(_) => return Ok(Vec::new()),
        Err(LedgerError::Corrupt { problem, .. }) => return Ok(reached(problem)),
        Err(error) => return Err(error),
    }
    let records = log::read_records(server, tenant).await?;
    let expected = Expected::read(server, tenant, &base, &records).await?;
    let there: BTreeMap<String, PublicFile> =
        files.entries(tenant).await?.into_iter().map(|(file, _)| (file.path().to_owned(), file)).collect();
    let mut found = Vec::new();
    for segment in &expected.members {
        let path = PublicFiles::path_of_members(tenant, segment);
        let rows = read::members(server, tenant, segment).await?;
        let problem = difference(files, there.get(&path), rows).await?;
        found.extend(problem.map(|problem| (Fault::of_file(path, problem), FileFix::Members(segment.clone()))));
    }
    for segment in &expected.overrides {
        let path = PublicFiles::path_of_overrides(tenant, segment);
        let rows = overrides::read(server, tenant, &ReadFilter::of(segment)).await?;
        let problem = difference(files, there.get(&path), rows).await?;
        found.extend(problem.map(|problem| (Fault::of_file(path, problem), FileFix::Overrides(segment.clone()))));
    }
    for (path, kept) in &expected.kept {
        let problem = difference(files, there.get(path), read::kept(server, tenant, kept).await?).await?;
        found.extend(problem.map(|problem| (Fault::of_file(path, problem), FileFix::Kept(Box::new(kept.clone())))));
    }
    let commits: BTreeMap<u64, PublicCommit> =
        commits_after(server, tenant, 0).await?.into_iter().map(|commit| (commit.number, commit)).collect();
    for (public, numbers) in &expected.rows {
        let mut rows =
            Pieces::new(read::rows_where(server, tenant, *public, &verify::is_left(*public), Statement::default()).await?);
        for (number, run) in numbers {
            let Some(commit) = commits.get(number) else {
                rows.pass_over(*run).await?;
                continue;
            };
            let path = PublicFiles::path_of(tenant, *public, *commit);
            let problem = rows.difference(files, there.get(&path), *run).await?;
            found.extend(problem.map(|problem| (Fault::of_file(path, problem), FileFix::Rows(*public, *commit))));
        }
    }
    for (file, why) in strays(server, files, tenant).await?.waste {
        let fault = Fault::of_file(file.path(), format!("it has no place in the store: {why}"));
        found.push((fault, FileFix::Delete(file)));
    }
    Ok(found)
}

/// Brings the files up to the last commit, all of them when nobody knows how far they have come.
pub(super) async fn catch_up(server: &Server, files: &PublicFiles, tenant: &TenantId) -> Result<(), LedgerError> {
    match files.reached(tenant).await {
        Ok(_) => publish(server, files, tenant).await,
        Err(LedgerError::Corrupt { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is wrong with a file of rows; `None` when it has the same ones.
async fn difference(files: &PublicFiles, file: Option<&PublicFile>, mut rows: RowStream) -> Result<Option<String>, LedgerError> {
    let Some(file) = file else { return Ok(Some("it is missing".to_owned())) };
    let mut reading = match Reading::open(files, file).await? {
        Ok(reading) => reading,
        Err(problem) => return Ok(Some(problem)),
    };
    while let Some(batch) = rows.try_next().await? {
        reading.expect(batch).await?;
    }
    reading.end().await
}

/// Rows of many commits, one after the other.
struct Pieces {
    rows: RowStream,
    rest: Option<RecordBatch>,
}

impl Pieces {
    fn new(rows: RowStream) -> Self {
        Self { rows, rest: None }
    }

    /// The next rows that are of a run; `None` when those that follow are of another.
    async fn next_of(&mut self, run: &str) -> Result<Option<RecordBatch>, LedgerError> {
        let batch = loop {
            match self.rest.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                Some(_) | None => match self.rows.try_next().await? {
                    Some(batch) => self.rest = Some(batch),
                    None => return Ok(None),
                },
            }
        };
        let runs = read::texts_of(&batch, "run_id")?;
        let count = runs.iter().take_while(|id| *id == Some(run)).count();
        self.rest = Some(batch.slice(count, batch.num_rows() - count));
        Ok((count > 0).then(|| batch.slice(0, count)))
    }

    /// Leaves out the rows of a run.
    async fn pass_over(&mut self, run: Uuid) -> Result<(), LedgerError> {
        let run = run.to_string();
        while self.next_of(&run).await?.is_some() {}
        Ok(())
    }

    /// What is wrong with the file of the run whose rows follow.
    async fn difference(
        &mut self,
        files: &PublicFiles,
        file: Option<&PublicFile>,
        run: Uuid,
    ) -> Result<Option<String>, LedgerError> {
        let run = run.to_string();
        let mut reading = match file {
            Some(file) => Reading::open(files, file).await?,
            None => Err("it is missing".to_owned()),
        };
        // The rows are passed over in any case, so that those of the next run follow.
        while let Some(batch) = self.next_of(&run).await? {
            if let Ok(reading) = &mut reading {
                reading.expect(batch).await?;
            }
        }
        match reading {
            Ok(reading) => reading.end().await,
            Err(problem) => Ok(Some(problem)),
        }
    }
}

/// A file that is compared with rows as both are read.
struct Reading {
    rows: RowStream,
    rest: Option<RecordBatch>,
    problem: Option<String>,
}

impl Reading {
    /// The file, or what is wrong with it.
    async fn open(files: &PublicFiles, file: &PublicFile) -> Result<Result<Self, String>, LedgerError> {
        match files.rows(file).await {
            Ok(rows) => Ok(Ok(Self { rows, rest: None, problem: None })),
            Err(LedgerError::Corrupt { problem, .. }) => Ok(Err(problem)),
            Err(error) => Err(error),
        }
    }

    /// The next rows of the file, `None` at its end or where it is damaged.
    async fn next(&mut self) -> Result<Option<RecordBatch>, LedgerError> {
        loop {
            if let Some(batch) = self.rest.take().filter(|batch| batch.num_rows() > 0) {
                return Ok(Some(batch));
            }
            match self.rows.try_next().await {
                Ok(Some(batch)) => self.rest = Some(batch),
                Ok(None) => return Ok(None),
                Err(LedgerError::Corrupt { problem, .. }) => {
                    self.problem = Some(problem);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Compares the next rows of the file with those that should follow.
    async fn expect(&mut self, mut expected: RecordBatch) -> Result<(), LedgerError> {
        while expected.num_rows() > 0 && self.problem.is_none() {
            let Some(batch) = self.next().await? else {
                self.problem.get_or_insert_with(|| "rows of the tables are missing in it".to_owned());
                break;
            };
            let count = batch.num_rows().min(expected.num_rows());
            if batch.slice(0, count).columns() != expected.slice(0, count).columns() {
                self.problem = Some("its rows are not those of the tables".to_owned());
                break;
            }
            self.rest = Some(batch.slice(count, batch.num_rows() - count));
            expected = expected.slice(count, expected.num_rows() - count);
        }
        Ok(())
    }

    /// What is wrong, after everything that should be there was compared.
    async fn end(mut self) -> Result<Option<String>, LedgerError> {
        if self.problem.is_none() && self.next().await?.is_some() {
            self.problem = Some("it has rows that the tables do not have".to_owned());
        }
        Ok(self.problem)
    }
}
