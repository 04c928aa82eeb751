//! Putting files together, letting rows go, and the members of the past: whatever was done to the files, what readers are told is what a
//! plain replay of everything that ever happened says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segmenta::clock::Clock as _;
use segmenta::store::{
    CompactRequest, Compacted, Horizon, Horizons, Ledger, LedgerError, Past, Provenance, ReadFilter, Retention, Transaction as _,
};

use super::stage::{AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, lines, refresh, run, segment, tenant, within, write_scope};

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a finished day becomes one file, and every row is read as before", a_finished_day_becomes_one_file()),
        trial("a reader that began before goes on where it was", a_reader_goes_on_where_it_was()),
        trial("steps are bounded, and together do what one does", steps_are_bounded()),
        trial("one baseline takes the place of the other", one_baseline_takes_the_place_of_the_other()),
        trial("the last snapshot of a day is a file", the_last_snapshot_of_a_day_is_a_file()),
        trial("members of the past are those of a plain replay", members_of_the_past_are_those_of_a_replay()),
    ]
}

fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::upkeep: {name}"), move || {
        within(test);
        Ok(())
    })
}

/// The present day on the clock of a stage.
pub(crate) fn today<S: Stage>(stage: &S) -> Date {
    stage.clock().at().to_zoned(TimeZone::UTC).date()
}

/// One step of a compaction, under a lease of its own.
pub(crate) async fn step<S: Stage>(stage: &S, retention: &Retention) -> Result<Compacted, LedgerError> {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let request = CompactRequest { today: today(stage), retention: retention.clone() };
    let done = ledger.compact(&lease, &tenant(), stage.clock().run_id(stage.clock().at()), &request).await;
    // What fails now only makes the next writer wait for the lease to expire.
    ledger.release(lease).await.ok();
    done
}

/// Steps until there is no more to do.
pub(crate) async fn compact<S: Stage>(stage: &S, retention: &Retention) -> Compacted {
    let mut all = Compacted::default();
    loop {
        all = all.then(step(stage, retention).await.unwrap());
        if !all.is_unfinished {
            return all;
        }
    }
}

/// All changes and history rows, as text.
pub(crate) async fn rows<S: Stage>(stage: &S, filter: &ReadFilter) -> [Vec<String>; 2] {
    let ledger = stage.open();
    let changes = ledger.read_changes(&tenant(), filter).await.unwrap();
    let history = ledger.read_history(&tenant(), filter).await.unwrap();
    [
        lines(changes, &["tenant", "segment_id", "subject_id", "change", "at", "reason", "score", "definition_hash", "run_id"])
            .await,
        lines(history, &["segment_id", "run_id", "kind", "as_of", "status", "member_count", "added_count", "removed_count"]).await,
    ]
}

async fn files(stage: &ObjectStage, folder: &str) -> Vec<String> {
    let mut paths = stage.paths().await;
    paths.retain(|path| path.starts_with(folder));
    paths.sort();
    paths
}

/// Which of everyone are drawn.
pub(crate) fn drawn(random: &mut ChaCha8Rng) -> Vec<&'static str> {
    EVERYONE.into_iter().filter(|_| random.random_bool(0.5)).collect()
}

/// A few days of runs at a distance of hours.
async fn lived<S: Stage>(stage: &S, days: u32, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..days * 4 {
        let (a, b) = (drawn(&mut random), drawn(&mut random));
        refresh(stage, &stage.open(), &[("a", "h1", &a), ("b", "h1", &b)]).await.unwrap();
        stage.clock().advance(DAY / 4);
    }
}

async fn a_finished_day_becomes_one_file() {
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    lived(&stage, 3, 1).await;
    // A run of the present day, which is not over.
    refresh(&stage, &stage.open(), &[("a", "h1", &["ann"])]).await.unwrap();
    let filters = [
        ReadFilter::default(),
        ReadFilter::of(&segment("b")),
        ReadFilter { subject: Some("bob".to_owned()), ..ReadFilter::default() },
        ReadFilter { from: "2026-01-01T12:00:00Z".parse().ok(), to: "2026-01-03T06:00:00Z".parse().ok(), ..ReadFilter::default() },
    ];
    let mut before = Vec::new();
    for filter in &filters {
        before.push(rows(&stage, filter).await);
    }
    assert_eq!(files(&stage, "history/").await.len(), 13);
    let done = compact(&stage, &Retention::default()).await;
    assert_eq!((done.written, done.changes_dropped, done.history_dropped), (6, 0, 0), "{done:?}");
    for folder in ["changes/demo/", "history/demo/"] {
        let paths = files(&stage, folder).await;
        let days: Vec<&str> = paths.iter().map(|path| path.split('/').nth(2).unwrap()).collect();
        assert_eq!(days, ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"], "{folder}");
    }
    for (filter, before) in filters.iter().zip(&before) {
        assert_eq!(rows(&stage, filter).await, *before, "{filter:?}");
    }
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(compact(&stage, &Retention::default()).await, Compacted::default(), "there is nothing more to do");
    lived(&stage, 2, 2).await;
    let after = rows(&stage, &ReadFilter::default()).await;
    assert_eq!(after[0][..before[0][0].len()], before[0][0]);
    compact(&stage, &Retention::default()).await;
    assert_eq!(rows(&stage, &ReadFilter::default()).await, after);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn a_reader_goes_on_where_it_was() {
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    lived(&stage, 3, 3).await;
    let whole = rows(&stage, &ReadFilter::default()).await;
    for taken in 0..9 {
        let stage = ObjectStage::new(Arc::new(InMemory::new()));
        lived(&stage, 3, 3).await;
        let ledger = stage.open();
        let mut reading = ledger.read_history(&tenant(), &ReadFilter::default()).await.unwrap();
        let mut batches = Vec::new();
        for _ in 0..taken {
            batches.extend(reading.try_next().await.unwrap());
        }
        compact(&stage, &Retention::default()).await;
        batches.extend(reading.try_collect::<Vec<_>>().await.unwrap());
        let read = futures::stream::iter(batches.into_iter().map(Ok));
        let columns = ["segment_id", "run_id", "kind", "as_of", "status", "member_count", "added_count", "removed_count"];
        assert_eq!(lines(Box::pin(read), &columns).await, whole[1], "after {taken} batches");
    }
}

async fn steps_are_bounded() {
    let mut stage = ObjectStage::new(Arc::new(InMemory::new()));
    lived(&stage, 6, 4).await;
    let whole = rows(&stage, &ReadFilter::default()).await;
    stage.options.compact_runs = 4;
    let mut steps = 0;
    loop {
        let done = step(&stage, &Retention::default()).await.unwrap();
        assert!(done.replaced <= 16, "{done:?}");
        assert_eq!(rows(&stage, &ReadFilter::default()).await, whole);
        assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
        steps += 1;
        if !done.is_unfinished {
            break;
        }
    }
    assert!(steps >= 5, "{steps}");
    assert_eq!(files(&stage, "history/").await.len(), 6);
}

pub(crate) fn since<S: Stage>(stage: &S, days: u32) -> Horizon {
    Horizon::Since(stage.clock().at() - DAY * days)
}

async fn one_baseline_takes_the_place_of_the_other() {
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    rows_go_and_every_law_holds(&stage).await;
    assert_eq!(files(&stage, "snapshots/").await.len(), 1);
}

pub(crate) async fn rows_go_and_every_law_holds<S: Stage>(stage: &S) {
    lived(stage, 8, 5).await;
    for round in 0..3 {
        let whole = rows(stage, &ReadFilter::default()).await;
        let short = Horizons { changes: since(stage, 3), history: since(stage, 5), ..Horizons::default() };
        let retention = Retention { segments: [(segment("a"), short)].into(), ..Retention::default() };
        let done = compact(stage, &retention).await;
        assert!(done.changes_dropped > 0 && done.history_dropped > 0 && done.baselines == 1, "{done:?}");
        assert_eq!(stage.open().verify(&tenant()).await.unwrap(), [], "round {round}");
        let left = rows(stage, &ReadFilter::default()).await;
        // Rows go by whole days.
        let cut = |days: u32| (stage.clock().at() - DAY * days).to_zoned(TimeZone::UTC).start_of_day().unwrap().timestamp();
        let is_kept = |line: &str, of: &str, at: usize, cut: Timestamp| {
            let words: Vec<&str> = line.split(' ').collect();
            !words.contains(&of) || words[at].parse::<Timestamp>().unwrap() >= cut
        };
        let stay = |lines: &[String], at: usize, days: u32| -> Vec<String> {
            lines.iter().filter(|line| is_kept(&line.replace("Ünal 🦊", "Ünal"), "a", at, cut(days))).cloned().collect()
        };
        assert_eq!(left[0], stay(&whole[0], 4, 3));
        assert_eq!(left[1], stay(&whole[1], 3, 5));
        lived(stage, 2, 6 + round).await;
    }
}

/// A run of both segments; of one of them the last snapshot of each day is kept.
pub(crate) async fn refresh_keeping<S: Stage>(stage: &S, members: [&[&str]; 2]) {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    for (id, members) in ["a", "b"].into_iter().zip(members) {
        let (members, everyone) = (stage.members(members).await, stage.members(&EVERYONE).await);
        transaction.stage(evaluated(id, "h1", members, everyone)).await.unwrap();
    }
    let midnight = stage.clock().at().to_zoned(TimeZone::UTC).start_of_day().unwrap().timestamp();
    transaction.keep_snapshots([segment("b")].into(), midnight);
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
}

async fn the_last_snapshot_of_a_day_is_a_file() {
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    the_last_snapshot_of_a_day_is_kept(&stage, |stage| Box::pin(async { Some(files(stage, "snapshots/").await) })).await;
}

/// The files of a stage that hold kept snapshots, where there are files.
type Names<S> = for<'a> fn(&'a S) -> BoxFuture<'a, Option<Vec<String>>>;

pub(crate) async fn the_last_snapshot_of_a_day_is_kept<S: Stage>(stage: &S, names: Names<S>) {
    let kept = ["20260101T120000.000000Z", "20260102T120000.000000Z", "20260103T120000.000000Z"];
    let kept = kept.map(|name| format!("snapshots/demo/b/{name}.parquet"));
    let of_days: [&[&str]; 4] = [&["ann"], &["ann", "bob"], &["ann", "bob"], &["cid"]];
    for members in of_days {
        for members in [members, &["dan", "eve"], members] {
            refresh_keeping(stage, [members, members]).await;
            stage.clock().advance(DAY / 4);
        }
        stage.clock().advance(DAY / 4);
    }
    // The third day has a snapshot of its own, since others stood between.
    assert_eq!(names(stage).await.unwrap_or(kept.to_vec()), kept);
    for (day, members) in (1..=3).zip(of_days) {
        let night: Timestamp = format!("2026-01-0{day}T23:00:00Z").parse().unwrap();
        let (found, provenance) = told(stage, "b", night).await;
        assert_eq!(found.unwrap().keys().collect::<Vec<_>>(), members);
        let at = format!("2026-01-0{day}T12:00:00Z").parse().unwrap();
        assert_eq!(provenance, Some(Provenance::Kept { at, changes: 0 }));
    }
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    // Changes of two days ago go: the snapshot of that night is the baseline. The others are kept until their time is over.
    let keeping = |snapshots| Horizons { snapshots, changes: since(stage, 2), history: Horizon::Everything };
    let retention = |snapshots| Retention { segments: [(segment("b"), keeping(snapshots))].into(), ..Retention::default() };
    let done = compact(stage, &retention(Horizon::Everything)).await;
    assert_eq!((done.baselines, done.snapshots_dropped), (0, 0), "{done:?}");
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(names(stage).await.unwrap_or(kept.to_vec()), kept);
    let (noon, _) = told(stage, "b", "2026-01-01T07:00:00Z".parse().unwrap()).await;
    assert_eq!(noon, None, "of the hours of that day nothing is known any more");
    let (night, _) = told(stage, "b", "2026-01-01T23:00:00Z".parse().unwrap()).await;
    assert_eq!(night.unwrap().keys().collect::<Vec<_>>(), ["ann"]);
    let done = compact(stage, &retention(Horizon::Nothing)).await;
    assert_eq!(done.snapshots_dropped, 2, "{done:?}");
    assert_eq!(names(stage).await.unwrap_or(kept[1..2].to_vec()), kept[1..2], "whoever replays begins with it");
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    refresh_keeping(stage, [&["ann"], &["ann"]]).await;
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

/// The members of a segment after a run, each with the instant of its enter.
pub(crate) type Members = BTreeMap<String, Timestamp>;

/// What the ledger says of an instant.
pub(crate) async fn told<S: Stage>(stage: &S, id: &str, at: Timestamp) -> (Option<Members>, Option<Provenance>) {
    match stage.open().members_at(&tenant(), &segment(id), at).await.unwrap() {
        Past::Members { rows, provenance } => {
            let rows = lines(rows, &["entered_at", "subject_id"]).await;
            let ids: Vec<&str> = rows.iter().map(|line| line.split_once(' ').unwrap().1).collect();
            assert!(ids.is_sorted(), "{ids:?}");
            let members = rows.iter().map(|line| {
                let (entered_at, id) = line.split_once(' ').unwrap();
                (id.to_owned(), entered_at.parse().unwrap())
            });
            (Some(members.collect()), Some(provenance))
        }
        Past::Unknown => (None, None),
    }
}

async fn members_of_the_past_are_those_of_a_replay() {
    for seed in 0..6 {
        members_of_the_past(&ObjectStage::new(Arc::new(InMemory::new())), seed, 1).await;
    }
}

/// From the second seed on some snapshots are kept, from the fourth on changes go; of odd ones the clock jumps back. One instant of so many is
/// looked at.
pub(crate) async fn members_of_the_past<S: Stage>(stage: &S, seed: u64, of: usize) {
    let mut random = ChaCha8Rng::seed_from_u64(100 + seed);
    // What a plain list of everything says: the instant of each run, and the members of both segments after it.
    let mut truth: Vec<(Timestamp, [Members; 2])> = Vec::new();
    let mut sources = BTreeSet::new();
    for number in 0..40 {
        let now = stage.clock().at();
        let mut after = truth.last().map(|(_, members)| members.clone()).unwrap_or_default();
        let next = [drawn(&mut random), drawn(&mut random)];
        for (members, next) in after.iter_mut().zip(&next) {
            // Some runs change nobody.
            if random.random_bool(0.3) && number > 0 {
                continue;
            }
            members.retain(|id, _| next.contains(&id.as_str()));
            for id in next {
                members.entry((*id).to_owned()).or_insert(now);
            }
        }
        let ids: Vec<Vec<&str>> = after.iter().map(|members| members.keys().map(String::as_str).collect()).collect();
        if seed >= 2 {
            refresh_keeping(stage, [&ids[0], &ids[1]]).await;
        } else {
            refresh(stage, &stage.open(), &[("a", "h1", &ids[0]), ("b", "h1", &ids[1])]).await.unwrap();
        }
        truth.push((now, after));
        if seed % 2 == 1 && random.random_bool(0.1) {
            stage.clock().jump_back(Duration::from_secs(random.random_range(0..50_000)));
        } else {
            stage.clock().advance(Duration::from_secs(random.random_range(600..40_000)));
        }
        if random.random_bool(0.15) {
            let short = Horizons { changes: since(stage, 2), ..Horizons::default() };
            let segments = if seed >= 4 { [(segment("a"), short)].into() } else { BTreeMap::new() };
            let forever = Horizons { snapshots: Horizon::Everything, ..Horizons::default() };
            compact(stage, &Retention { segments, default: forever }).await;
        }
    }
    let first = truth.iter().map(|(at, _)| *at).min().unwrap();
    let mut instants: Vec<Timestamp> = truth.iter().map(|(at, _)| *at).collect();
    instants.extend((0..40).map(|_| first + Duration::from_secs(random.random_range(0..900_000))));
    let mut unknown = 0;
    for at in instants.into_iter().step_by(of) {
        let (_, expected) = truth.iter().rfind(|(run, _)| *run <= at).unwrap();
        for (id, expected) in ["a", "b"].iter().zip(expected) {
            let (members, provenance) = told(stage, id, at).await;
            if members.is_none() && seed >= 4 && *id == "a" {
                unknown += 1;
                continue;
            }
            assert_eq!(members.as_ref(), Some(expected), "seed {seed}, `{id}` at {at}: {provenance:?}");
            sources.insert(match provenance.unwrap() {
                Provenance::Current => "current",
                Provenance::Kept { .. } => "kept",
                Provenance::Replayed { .. } => "replayed",
                Provenance::Backfilled => "backfilled",
            });
        }
    }
    let (before, _) = told(stage, "a", first - Duration::from_secs(1)).await;
    assert_eq!(before, None, "nothing is known of the time before the first run");
    assert!(sources.len() >= 2 && (unknown > 0) == (seed >= 4), "seed {seed}: {sources:?}, {unknown} unknown");
}
