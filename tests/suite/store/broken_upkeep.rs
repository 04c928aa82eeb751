//! Compaction with retention, garbage collection and repair, each broken off at every single operation of its store: readers are told the
//! same as before, and whoever comes next finishes it.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use segmenta::clock::Clock as _;
use segmenta::store::{Horizon, Horizons, Ledger, LedgerError, ReadFilter, Retention};

use super::erasure::{erase, holding};
use super::faulty::{After, Effect, FaultyStore};
use super::stage::{AT_ONCE, ObjectStage, Stage, lines, refresh, segment, tenant, within, write_scope};
use super::upkeep::{compact, step};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Days become files, and nothing else changes.
    Compact,
    /// Rows of long ago go as well.
    Forget,
    /// What nothing refers to goes.
    Collect,
    /// What is damaged is put right.
    Repair,
    /// Nothing is left of a subject.
    Erase,
}

pub(crate) fn trials() -> Vec<Trial> {
    let faults = [(Effect::Done, After::Fails), (Effect::None, After::Works)];
    let mut trials = Vec::new();
    for work in [Work::Compact, Work::Forget, Work::Collect, Work::Repair, Work::Erase] {
        for (effect, after) in faults {
            let name = format!("store::broken_upkeep: {work:?}, the operation has effect {effect:?}, then everything {after:?}");
            trials.push(Trial::test(name, move || {
                within(every_operation(work, effect, after));
                Ok(())
            }));
        }
    }
    trials
}

/// A store of two days and a bit, with a compacted day before, and what the work is about.
async fn origin(work: Work) -> (Arc<InMemory>, ObjectStage) {
    let store = Arc::new(InMemory::new());
    let stage = ObjectStage::new(Arc::clone(&store) as _);
    for (number, members) in [&["ann"][..], &["ann", "bob"], &["bob"], &[], &["cid", "dan"], &["dan"], &["eve"]].iter().enumerate()
    {
        refresh(&stage, &stage.open(), &[("a", "h1", members), ("b", "h1", &["eve"])]).await.unwrap();
        stage.clock.advance(Duration::from_secs(9 * 3600));
        if number == 2 {
            compact(&stage, &Retention::default()).await;
        }
    }
    match work {
        Work::Compact | Work::Forget | Work::Erase => {}
        Work::Collect => {
            compact(&stage, &Retention::default()).await;
            stage.put("changes/demo/2026-01-01/000000000001-00000000-0000-0000-0000-000000000000.parquet", "stray").await;
            stage.put("log/files/demo/000000000001-000777/changes.parquet", "orphan").await;
            stage.put("changes/demo/notes.txt", "foreign").await;
            stage.clock.advance(Duration::from_secs(86_400));
        }
        Work::Repair => {
            let snapshot = stage.paths().await.into_iter().find(|path| path.ends_with("/a.members.parquet")).unwrap();
            // The one that is current: others are superseded.
            let mut snapshots = stage.paths().await;
            snapshots.retain(|path| path.ends_with("/a.members.parquet"));
            snapshots.sort();
            stage.put("memberships/demo/a.parquet", "damaged").await;
            stage.delete(snapshots.last().unwrap_or(&snapshot)).await;
            stage.put("memberships/demo/b.parquet", "damaged").await;
        }
    }
    (store, stage)
}

async fn work_on(stage: &ObjectStage, work: Work) -> Result<(), LedgerError> {
    let short = Horizons {
        changes: Horizon::Since(stage.clock.at() - Duration::from_secs(24 * 3600)),
        history: Horizon::Since(stage.clock.at() - Duration::from_secs(24 * 3600)),
        ..Horizons::default()
    };
    match work {
        Work::Compact => step(stage, &Retention::default()).await.map(drop),
        Work::Forget => {
            step(stage, &Retention { segments: [(segment("a"), short)].into(), ..Retention::default() }).await.map(drop)
        }
        Work::Erase => erase(stage, "bob").await.map(drop),
        Work::Collect | Work::Repair => {
            let ledger = stage.open();
            let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
            let done = if work == Work::Collect {
                ledger.collect(&lease, &tenant(), Duration::from_secs(3600)).await.map(drop)
            } else {
                ledger.repair(&lease, &tenant(), stage.clock.run_id(stage.clock.at())).await.map(drop)
            };
            ledger.release(lease).await.ok();
            done
        }
    }
}

/// What a reader is told, in the state and of the rows.
async fn told(stage: &ObjectStage) -> (Vec<String>, Vec<String>, u64) {
    let ledger = stage.open();
    let changes = ledger.read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    let history = ledger.read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    let count = ledger.state(&tenant()).await.unwrap().segments.values().map(|state| state.member_count).sum();
    let changes = lines(changes, &["segment_id", "subject_id", "change", "run_id"]).await;
    (changes, lines(history, &["segment_id", "kind", "member_count", "removed_count"]).await, count)
}

async fn every_operation(work: Work, effect: Effect, after: After) {
    let (origin, stage) = origin(work).await;
    let with = |store: Arc<dyn ObjectStore>| ObjectStage { store, clock: Arc::clone(&stage.clock), options: stage.options };
    let before = told(&stage).await;
    let done = with(Arc::new(origin.fork()));
    work_on(&done, work).await.unwrap();
    let expected = told(&done).await;
    assert_eq!(matches!(work, Work::Forget | Work::Erase), before != expected, "{work:?}");
    let mut at = 1;
    loop {
        let copy: Arc<dyn ObjectStore> = Arc::new(origin.fork());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&copy), at, effect, after));
        let result = work_on(&with(Arc::clone(&faulty) as _), work).await;
        let healed = with(copy);
        let found = told(&healed).await;
        assert!(found == before || found == expected, "{work:?}, operation {at}: {found:?}");
        if result.is_ok() {
            assert_eq!(found, expected, "{work:?}, operation {at}: it was done");
            if work == Work::Erase {
                assert_eq!(holding(&healed, "bob").await, Vec::<String>::new(), "operation {at}: it was said to be done");
            }
        }
        // Whoever comes next, an hour later.
        healed.clock.advance(Duration::from_secs(3600));
        work_on(&healed, work).await.unwrap();
        assert_eq!(told(&healed).await, expected, "{work:?}, operation {at}");
        if work == Work::Erase {
            assert_eq!(holding(&healed, "bob").await, Vec::<String>::new(), "operation {at}");
        }
        if work == Work::Repair {
            let rows = healed.open().read_members(&tenant(), &segment("a")).await.unwrap();
            assert_eq!(lines(rows, &["subject_id"]).await, ["eve"], "{work:?}, operation {at}");
        }
        assert_eq!(healed.open().verify(&tenant()).await.unwrap(), [], "{work:?}, operation {at}");
        work_on(&healed, Work::Collect).await.unwrap();
        assert_eq!(told(&healed).await, expected, "{work:?}, operation {at}: nothing that is needed was deleted");
        let garbage = healed.open().garbage(&tenant(), Duration::from_secs(3600)).await.unwrap();
        assert_eq!(garbage.waste, [], "{work:?}, operation {at}");
        assert_eq!(garbage.foreign.len(), usize::from(work == Work::Collect), "{work:?}, operation {at}");
        assert_eq!(healed.open().verify(&tenant()).await.unwrap(), [], "{work:?}, operation {at}");
        healed.clock.jump_back(Duration::from_secs(3600));
        if faulty.operations() < at {
            break;
        }
        at += 1;
    }
    assert!(at > 15, "{work:?} has only {at} operations");
}
