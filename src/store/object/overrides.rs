//! Files of what people decided by hand: a row for each decision about a subject, with the time in which it holds. An edit writes the
//! file of its segment anew; earlier decisions stay in it, so that any instant can be seen as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;

use super::chunk::{Column, Layout, Texts, Value};
use super::encode::GROUP_ROWS;
use super::place::failed;
use super::record::{FileRef, OverrideRecord};
use super::table::{Table, TableWriter, column};
use super::{ObjectLedger, layout};
use crate::backend::{LocalMembers, SortedIds};
use crate::model::id::SegmentId;
use crate::model::manual::{Origin, Override, Verdict};
use crate::store::rows::override_schema;
use crate::store::{EditAction, LedgerError, OverrideEdit, Overrides, Run};

/// Where `subject_id` stands among the columns.
const SUBJECT_ID: usize = 2;

/// A decision about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decision {
    what: Override,
    /// Microseconds since 1970.
    since: i64,
    /// When it was decided otherwise.
    until: Option<i64>,
    run_id: String,
}

impl Decision {
    fn holds_at(&self, at: i64) -> bool {
        self.since <= at && self.until.is_none_or(|until| at < until)
    }
}

/// Everything that was ever decided about the subjects of a segment.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<String, Vec<Decision>>);

impl Decisions {
    /// Reads the file of a segment.
    pub(super) async fn read(table: &Table) -> Result<Self, LedgerError> {
        let mut rows = table.all_rows().await?;
        let mut decisions = Self::default();
        while let Some(batch) = rows.try_next().await? {
            decisions.add(table.path(), &batch)?;
        }
        Ok(decisions)
    }

    fn add(&mut self, path: &Path, batch: &RecordBatch) -> Result<(), LedgerError> {
        let [subjects, verdicts, origins, runs] =
            ["subject_id", "override", "reason", "run_id"].map(|name| column::<StringArray>(path, batch, name));
        let (subjects, verdicts, origins, runs) = (subjects?, verdicts?, origins?, runs?);
        let since: &TimestampMicrosecondArray = column(path, batch, "since")?;
        let until: &TimestampMicrosecondArray = column(path, batch, "until")?;
        for row in 0..batch.num_rows() {
            let what = decision_of(verdicts.value(row), origins.value(row)).ok_or_else(|| LedgerError::Corrupt {
                path: path.to_string(),
                problem: format!("`{}` for `{}` is no decision", verdicts.value(row), origins.value(row)),
            })?;
            let until = until.is_valid(row).then(|| until.value(row));
            let decision = Decision { what, since: since.value(row), until, run_id: runs.value(row).to_owned() };
            self.0.entry(subjects.value(row).to_owned()).or_default().push(decision);
        }
        Ok(())
    }

    /// Applies an edit of a run; returns those that it should have left to the rule, and that were.
    pub(super) fn edit(&mut self, edit: &OverrideEdit, run: &Run) -> Vec<String> {
        let at = run.as_of.as_microsecond();
        let mut undecided = Vec::new();
        for subject in &edit.subjects {
            let known = self.0.entry(subject.clone()).or_default();
            let mut ended = known.iter_mut().filter(|decision| decision.until.is_none()).peekable();
            if ended.peek().is_none() && edit.action == EditAction::Clear {
                undecided.push(subject.clone());
            }
            // The clock may have gone back since: then it held for no time at all.
            ended.for_each(|decision| decision.until = Some(at.max(decision.since)));
            if let EditAction::Decide(verdict) = edit.action {
                let what = Override { verdict, origin: edit.origin };
                known.push(Decision { what, since: at, until: None, run_id: run.run_id.to_string() });
            }
        }
        self.0.retain(|_, decisions| !decisions.is_empty());
        undecided
    }

    /// Forgets what was decided about a subject; returns how often.
    pub(super) fn forget(&mut self, subject: &str) -> u64 {
        self.0.remove(subject).map_or(0, |decisions| decisions.len() as u64)
    }

    /// About how many subjects something is decided now.
    pub(super) fn in_force(&self) -> u64 {
        self.0.values().filter(|decisions| decisions.iter().any(|decision| decision.until.is_none())).count() as u64
    }

    /// What is decided at an instant; with `None` after the last decision.
    pub(super) fn at(&self, at: Option<Timestamp>) -> Overrides<LocalMembers> {
        let at = at.map(Timestamp::as_microsecond);
        let mut sets: BTreeMap<Override, Vec<&str>> = BTreeMap::new();
        for (subject, decisions) in &self.0 {
            let holds = |decision: &&Decision| at.map_or(decision.until.is_none(), |at| decision.holds_at(at));
            if let Some(decision) = decisions.iter().rev().find(holds) {
                sets.entry(decision.what).or_default().push(subject);
            }
        }
        // INVARIANT: the subjects of a map ascend.
        let sets = sets.into_iter().filter_map(|(what, subjects)| Some((what, members_of(subjects)?)));
        Overrides::new(sets)
    }

    /// Writes all of it.
    pub(super) async fn write(
        &self,
        ledger: &ObjectLedger,
        path: Path,
        run: &Run,
        segment: &SegmentId,
    ) -> Result<OverrideRecord, LedgerError> {
        let unwritable = |error| failed("write", &path, error);
        let layout = Layout::new(override_schema()).map_err(unwritable)?;
        let rows: Vec<(&str, &Decision)> = self
            .0
            .iter()
            .flat_map(|(subject, decisions)| decisions.iter().map(move |decision| (subject.as_str(), decision)))
            .collect();
        let mut writer = TableWriter::create(ledger.place(), path.clone(), &layout)?;
        for rows in rows.chunks(usize::try_from(GROUP_ROWS).unwrap_or(usize::MAX)) {
            let ids = StringArray::from_iter_values(rows.iter().map(|(subject, _)| subject));
            let texts = |text: fn(&Decision) -> &str| {
                Column::Array(Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, decision)| text(decision)))) as ArrayRef)
            };
            let instants = |instants: TimestampMicrosecondArray| Column::Array(Arc::new(instants.with_timezone("UTC")));
            let columns = vec![
                Column::Same(Value::text(run.tenant.as_str())),
                Column::Same(Value::text(segment.as_str())),
                Column::Texts(layout.texts(SUBJECT_ID, &Texts::all(&ids)).map_err(unwritable)?),
                texts(|decision| decision.what.verdict.keyword()),
                texts(|decision| decision.what.origin.keyword()),
                instants(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, decision)| decision.since))),
                instants(rows.iter().map(|(_, decision)| decision.until).collect()),
                texts(|decision| &decision.run_id),
            ];
            writer.append(layout.encode(columns, rows.len()).map_err(unwritable)?).await?;
        }
        Ok(OverrideRecord { file: writer.finish().await?, in_force: self.in_force() })
    }
}

/// The file of a segment in the folder of a transaction, with an edit of its run.
pub(super) async fn edited(
    ledger: &ObjectLedger,
    folder: &Path,
    run: &Run,
    (segment, known): (&SegmentId, Option<&FileRef>),
    edit: &OverrideEdit,
) -> Result<(OverrideRecord, Overrides<LocalMembers>, Vec<String>), LedgerError> {
    let mut decisions = match known {
        Some(file) => Decisions::read(&ledger.open_present(file).await?).await?,
        None => Decisions::default(),
    };
    let undecided = decisions.edit(edit, run);
    let record = decisions.write(ledger, layout::overrides_file(folder, segment), run, segment).await?;
    Ok((record, decisions.at(None), undecided))
}

/// Subjects of an edit, as a set.
pub(super) fn subjects_of(subjects: &BTreeSet<String>) -> LocalMembers {
    members_of(subjects.iter().map(String::as_str)).unwrap_or_else(|| LocalMembers::all(Arc::new(SortedIds::none())))
}

fn members_of<'a>(ascending: impl IntoIterator<Item = &'a str>) -> Option<LocalMembers> {
    let ids = SortedIds::new(StringArray::from_iter_values(ascending)).ok()?;
    Some(LocalMembers::all(Arc::new(ids)))
}

fn decision_of(verdict: &str, origin: &str) -> Option<Override> {
    let verdict = [Verdict::Add, Verdict::Remove].into_iter().find(|known| known.keyword() == verdict)?;
    let origin = [Origin::Manual, Origin::Import].into_iter().find(|known| known.keyword() == origin)?;
    Some(Override { verdict, origin })
}
