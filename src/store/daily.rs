//! What became of segments day by day, from the rows of their history.
//!
//! # Meaning
//! A segment has one row for each local day between its first and its last row. `member_count` is that after the last run of the day,
//! `added_count` and `removed_count` are the sums over its runs; a day without a run carries the count on, with nobody added and nobody
//! removed. So every count is that of the day before, plus added, minus removed.
//!
//! Rows of kind `run`, `manual` and `erase` count that succeeded, in the order of their commits. A run whose clock had gone back counts on
//! the latest day that was reached before it: the order of days is that of commits. Rows of kind `daily` say what is known already.
//! Rows of kind `backfill` stand for a past that nobody saw change; they chain among themselves and not with the others. They make days of
//! their own, which are those of the segment when it has no other rows, or when they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{Date32Type, TimestampMicrosecondType, UInt64Type};

use super::rows::daily_schema;
use super::{LedgerError, RunKind};
use crate::model::id::TenantId;

/// Which rows of the history days are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DailyOf {
    /// Those of runs, edits and erasures; for a segment that has none, those of backfills.
    Runs,
    /// Those of backfills.
    Backfills,
}

impl DailyOf {
    /// The kinds of rows that are needed.
    #[must_use]
    pub fn kinds(self) -> Vec<RunKind> {
        match self {
            Self::Runs => vec![RunKind::Run, RunKind::Manual, RunKind::Erase, RunKind::Backfill],
            Self::Backfills => vec![RunKind::Backfill],
        }
    }
}

/// Figures of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day {
    /// Days since 1970.
    date: i32,
    members: u64,
    added: u64,
    removed: u64,
}

/// Days of segments, from rows of their history in the order of the commits.
#[derive(Debug, Default)]
pub struct Daily {
    segments: BTreeMap<String, Days>,
}

#[derive(Debug, Default)]
struct Days {
    /// From runs, ascending.
    runs: Vec<Day>,
    /// From backfills, by the instant that was evaluated at; one that was evaluated again counts as it was the last time.
    backfills: BTreeMap<i64, Day>,
}

impl Daily {
    /// Takes rows of the history, in the columns of [`super::rows::history_schema`], that come after those taken before. Those that do not
    /// count are passed over.
    ///
    /// # Errors
    /// When they are not in those columns.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<(), LedgerError> {
        let text = |name: &'static str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or(name);
        let count =
            |name: &'static str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt64Type>()).ok_or(name);
        let columns = || {
            let at = batch.column_by_name("as_of").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let dates = batch.column_by_name("evaluation_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
            let counts = [count("member_count")?, count("added_count")?, count("removed_count")?];
            Ok(([text("segment_id")?, text("kind")?, text("status")?], at.ok_or("as_of")?, dates.ok_or("evaluation_date")?, counts))
        };
        let ([segments, kinds, statuses], at, dates, [members, added, removed]) =
            columns().map_err(|name: &str| LedgerError::Corrupt {
                path: "history".to_owned(),
                problem: format!("its column `{name}` is missing or of another type"),
            })?;
        for row in (0..batch.num_rows()).filter(|&row| statuses.value(row) == "ok") {
            let day =
                Day { date: dates.value(row), members: members.value(row), added: added.value(row), removed: removed.value(row) };
            let counts = RunKind::COUNTING.map(RunKind::keyword).contains(&kinds.value(row));
            let is_backfill = kinds.value(row) == RunKind::Backfill.keyword();
            if !counts && !is_backfill {
                continue;
            }
            let days = match self.segments.get_mut(segments.value(row)) {
                Some(days) => days,
                None => self.segments.entry(segments.value(row).to_owned()).or_default(),
            };
            if is_backfill {
                days.backfills.insert(at.value(row), day);
            } else {
                add(&mut days.runs, day);
            }
        }
        Ok(())
    }

    /// The days, by segment and date, from one day to another, both included, in days since 1970.
    pub fn rows(
        self,
        tenant: &TenantId,
        of: DailyOf,
        from: Option<i32>,
        to: Option<i32>,
    ) -> impl Iterator<Item = Result<RecordBatch, LedgerError>> + Send + use<> {
        let tenant = tenant.clone();
        let days = self.segments.into_iter().flat_map(move |(segment, days)| {
            let segment: Arc<str> = segment.into();
            days.every(of)
                .filter(move |day| from.is_none_or(|from| day.date >= from) && to.is_none_or(|to| day.date <= to))
                .map(move |day| (Arc::clone(&segment), day))
        });
        let mut days = days.peekable();
        std::iter::from_fn(move || {
            days.peek()?;
            let page: Vec<(Arc<str>, Day)> = days.by_ref().take(BATCH_ROWS).collect();
            Some(batch(&tenant, &page))
        })
    }
}

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

impl Days {
    /// Every day from the first to the last.
    fn every(self, of: DailyOf) -> impl Iterator<Item = Day> + Send + use<> {
        let known = match of {
            DailyOf::Runs if !self.runs.is_empty() => self.runs,
            DailyOf::Runs | DailyOf::Backfills => {
                let mut known = Vec::new();
                self.backfills.into_values().for_each(|day| add(&mut known, day));
                known
            }
        };
        let next_dates: Vec<i32> = known.iter().skip(1).map(|day| day.date).chain(known.last().map(|day| day.date + 1)).collect();
        known.into_iter().zip(next_dates).flat_map(|(day, next)| {
            let carried = (day.date + 1..next).map(move |date| Day { date, added: 0, removed: 0, ..day });
            std::iter::once(day).chain(carried)
        })
    }
}

/// Adds what a run came to.
fn add(days: &mut Vec<Day>, run: Day) {
    match days.last_mut() {
        Some(last) if run.date <= last.date => {
            *last =
                Day { date: last.date, members: run.members, added: last.added + run.added, removed: last.removed + run.removed };
        }
        Some(_) | None => days.push(run),
    }
}

fn batch(tenant: &TenantId, days: &[(Arc<str>, Day)]) -> Result<RecordBatch, LedgerError> {
    let counts = |of: fn(&Day) -> u64| -> ArrayRef { Arc::new(days.iter().map(|(_, day)| Some(of(day))).collect::<UInt64Array>()) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(days.iter().map(|_| tenant.as_str()))),
        Arc::new(StringArray::from_iter_values(days.iter().map(|(segment, _)| segment.as_ref()))),
        Arc::new(days.iter().map(|(_, day)| Some(day.date)).collect::<Date32Array>()),
        counts(|day| day.members),
        counts(|day| day.added),
        counts(|day| day.removed),
    ];
    RecordBatch::try_new(daily_schema(), columns)
        .map_err(|error| LedgerError::Corrupt { path: "history".to_owned(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, TimestampMicrosecondArray, new_null_array};
    use datafusion::arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::*;
    use crate::store::rows::history_schema;

    /// A row of the history: segment, kind, date, status, count, added, removed.
    type Row = (&'static str, &'static str, i32, &'static str, u64, u64, u64);

    fn history(rows: &[Row]) -> RecordBatch {
        let schema = history_schema();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            let texts =
                |of: fn(&Row) -> &str| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>()) };
            let counts =
                |of: fn(&Row) -> u64| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(of(row))).collect::<UInt64Array>()) };
            match field.name().as_str() {
                "segment_id" => texts(|row| row.0),
                "kind" => texts(|row| row.1),
                "status" => texts(|row| row.3),
                "tenant" | "run_id" => texts(|_| "x"),
                "as_of" => {
                    let at = rows.iter().map(|row| i64::from(row.2) * 86_400_000_000);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))
                }
                "evaluation_date" => Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Date32Array>()),
                "member_count" => counts(|row| row.4),
                "added_count" => counts(|row| row.5),
                "removed_count" => counts(|row| row.6),
                "duration_ms" => counts(|_| 0),
                _ => new_null_array(field.data_type(), rows.len()),
            }
        });
        RecordBatch::try_new(history_schema(), columns.collect()).unwrap()
    }

    /// Segment, date, count, added, removed.
    type Shown = (String, i32, u64, u64, u64);

    fn shown(rows: &[Row], of: DailyOf, from: Option<i32>, to: Option<i32>) -> Vec<Shown> {
        let mut daily = Daily::default();
        // In batches that do not end with a segment or a day.
        for rows in rows.chunks(3) {
            daily.take(&history(rows)).unwrap();
        }
        let mut shown = Vec::new();
        for batch in daily.rows(&"x".parse().unwrap(), of, from, to) {
            let batch = batch.unwrap();
            let count = |column: usize, row: usize| batch.column(column).as_primitive::<UInt64Type>().value(row);
            let date = |row: usize| batch.column(2).as_primitive::<Date32Type>().value(row);
            let segment = |row: usize| batch.column(1).as_string::<i32>().value(row).to_owned();
            shown.extend((0..batch.num_rows()).map(|row| (segment(row), date(row), count(3, row), count(4, row), count(5, row))));
        }
        shown
    }

    fn day(segment: &str, date: i32, members: u64, added: u64, removed: u64) -> Shown {
        (segment.to_owned(), date, members, added, removed)
    }

    #[test]
    fn days_add_runs_up_and_carry_counts_on() {
        let rows = [
            ("a", "run", 10, "ok", 5, 5, 0),
            ("b", "run", 10, "ok", 1, 1, 0),
            ("a", "run", 10, "ok", 4, 1, 2),
            ("a", "daily", 11, "ok", 4, 0, 0),
            ("a", "run", 12, "failed", 4, 0, 0),
            ("a", "run", 12, "held", 4, 90, 3),
            ("a", "manual", 13, "ok", 6, 2, 0),
            ("a", "erase", 13, "ok", 5, 0, 1),
            ("a", "run", 12, "ok", 7, 2, 0),
            ("a", "backfill", 9, "ok", 50, 50, 0),
        ];
        let of_a = [day("a", 10, 4, 6, 2), day("a", 11, 4, 0, 0), day("a", 12, 4, 0, 0), day("a", 13, 7, 4, 1)];
        let all: Vec<Shown> = of_a.iter().cloned().chain([day("b", 10, 1, 1, 0)]).collect();
        assert_eq!(shown(&rows, DailyOf::Runs, None, None), all);
        assert_eq!(shown(&rows, DailyOf::Runs, Some(11), Some(12)), of_a[1..3]);
        assert!(shown(&rows, DailyOf::Runs, Some(14), None).is_empty());
    }

    #[test]
    fn backfills_are_days_of_their_own() {
        let rows = [
            ("a", "backfill", 3, "ok", 7, 7, 0),
            ("a", "backfill", 5, "ok", 9, 2, 0),
            ("b", "backfill", 2, "ok", 1, 1, 0),
            // Once more, with other figures.
            ("a", "backfill", 3, "ok", 8, 8, 0),
            ("a", "backfill", 5, "ok", 9, 1, 0),
            ("a", "run", 7, "ok", 2, 2, 0),
        ];
        let of_a = [day("a", 3, 8, 8, 0), day("a", 4, 8, 0, 0), day("a", 5, 9, 1, 0)];
        let of_b = day("b", 2, 1, 1, 0);
        assert_eq!(shown(&rows, DailyOf::Runs, None, None), [day("a", 7, 2, 2, 0), of_b.clone()]);
        assert_eq!(shown(&rows, DailyOf::Backfills, None, None), of_a.into_iter().chain([of_b]).collect::<Vec<_>>());
    }

    #[test]
    fn rows_of_other_columns_are_no_history() {
        let batch = RecordBatch::try_from_iter([("kind", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
        assert_eq!(batch.schema().field(0).data_type(), &DataType::Float64);
        let error = Daily::default().take(&batch).unwrap_err().to_string();
        assert_eq!(error, "`history` in the store is damaged: its column `member_count` is missing or of another type");
    }

    /// What happens to a segment: days that pass, or go back, kind, who enters and who leaves.
    fn happenings() -> impl Strategy<Value = Vec<(usize, i32, usize, u64, u64)>> {
        prop::collection::vec((0..3_usize, -1..4_i32, 0..7_usize, 0..50_u64, 0..50_u64), 0..60)
    }

    proptest! {
        #[test]
        fn every_count_follows_from_the_day_before(happenings in happenings(), offset in 0..10_i32) {
            let mut counts = [[0_u64; 3]; 2];
            let mut rows: Vec<Row> = Vec::new();
            let mut date = offset;
            for (segment, days, kind, added, removed) in happenings {
                date = (date + days).max(0);
                let (id, kind, status) = (["a", "b", "c"][segment], ["run", "run", "manual", "erase", "daily", "run", "backfill"][kind],
                    if kind == 5 { "failed" } else { "ok" });
                let before = counts[usize::from(kind == "backfill")][segment];
                let (added, removed) = (added, removed.min(before + added));
                let changes = status == "ok" && kind != "daily";
                let after = if changes { before + added - removed } else { before };
                counts[usize::from(kind == "backfill")][segment] = after;
                // A clock that goes back would give backfills an order of their own.
                if kind != "backfill" || rows.iter().all(|row| row.1 != "backfill" || row.2 < date) {
                    rows.push((id, kind, date, status, after, added, removed));
                } else {
                    counts[1][segment] = before;
                }
            }
            for of in [DailyOf::Runs, DailyOf::Backfills] {
                let days = shown(&rows, of, None, None);
                for id in ["a", "b", "c"] {
                    let own = |kinds: &[&str]| rows.iter().filter(|row| row.0 == id && row.3 == "ok" && kinds.contains(&row.1)).copied().collect::<Vec<_>>();
                    let (runs, backfills) = (own(&["run", "manual", "erase"]), own(&["backfill"]));
                    let source = if of == DailyOf::Runs && !runs.is_empty() { runs } else { backfills };
                    let days: Vec<&Shown> = days.iter().filter(|day| day.0 == id).collect();
                    let (Some(first), Some(last)) = (days.first(), days.last()) else {
                        prop_assert!(source.is_empty());
                        continue;
                    };
                    prop_assert_eq!(first.2 + first.4, first.3, "everything begins with nobody");
                    for pair in days.windows(2) {
                        prop_assert_eq!(pair[0].1 + 1, pair[1].1, "no day is left out");
                        prop_assert_eq!(pair[0].2 + pair[1].3, pair[1].2 + pair[1].4);
                    }
                    prop_assert_eq!(Some(first.1), source.first().map(|row| row.2));
                    prop_assert_eq!(Some(last.1), source.iter().map(|row| row.2).max());
                    prop_assert_eq!(Some(last.2), source.last().map(|row| row.4));
                    let sums = |added: u64, removed: u64| (added, removed);
                    prop_assert_eq!(
                        sums(days.iter().map(|day| day.3).sum(), days.iter().map(|day| day.4).sum()),
                        sums(source.iter().map(|row| row.5).sum(), source.iter().map(|row| row.6).sum())
                    );
                }
            }
        }
    }
}
