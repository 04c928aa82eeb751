//! A script of several runs, broken off at every single operation of its store: whatever happens, the store is as it was before a run
//! or as it is after it, and the next writer puts everything in order.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use segmenta::store::{ChangeReason, Ledger, LedgerError, Outcome, ReadFilter, StagedSegment, Transaction};

use super::faulty::{After, Effect, FaultyStore};
use super::stage::{
    AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, lines, local, refresh, run, segment, tenant, within, write_scope,
};

pub(crate) fn trials() -> Vec<Trial> {
    let faults =
        [(Effect::None, After::Fails), (Effect::Done, After::Fails), (Effect::None, After::Works), (Effect::Done, After::Works)];
    let mut trials: Vec<Trial> = faults
        .into_iter()
        .map(|(effect, after)| trial("memory", effect, after, every_operation::<Memory>(effect, after)))
        .collect();
    trials.push(trial("disk", Effect::Done, After::Fails, every_operation::<Disk>(Effect::Done, After::Fails)));
    trials
}

fn trial(place: &str, effect: Effect, after: After, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::crash::{place}: the operation has effect {effect:?}, then everything {after:?}"), move || {
        within(test);
        Ok(())
    })
}

/// The members of every segment; none for a segment that the store does not know.
type Members = [(&'static str, Option<&'static [&'static str]>); 3];

/// What is there after each run.
const SCRIPT: [Members; 5] = [
    [("a", None), ("b", None), ("c", None)],
    [("a", Some(&["ann", "bob"])), ("b", Some(&["cid"])), ("c", None)],
    [("a", Some(&["bob", "dan"])), ("b", Some(&["cid"])), ("c", Some(&["Ünal 🦊"]))],
    [("a", Some(&["bob", "dan"])), ("b", Some(&[])), ("c", None)],
    [("a", Some(&["ann", "eve"])), ("b", Some(&["ann"])), ("c", Some(&["bob"]))],
];

/// Goes from one state of the script to the next.
async fn play(stage: &ObjectStage, ledger: &<ObjectStage as Stage>::Ledger, to: usize) -> Result<(), LedgerError> {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await?;
    for ((id, before), (_, after)) in SCRIPT[to - 1].iter().zip(SCRIPT[to]) {
        match (before, after) {
            (_, Some(members)) => {
                transaction.stage(evaluated(id, "h1", local(members), local(&EVERYONE))).await?;
            }
            (Some(_), None) => {
                let outcome = Outcome::Ended { reason: ChangeReason::SegmentDeleted };
                let staged =
                    StagedSegment { segment: segment(id), definition: None, outcome, duration: Duration::ZERO, max_change: None };
                match transaction.stage(staged).await {
                    // The attempt before this one was committed, although it was told that something failed.
                    Ok(_) | Err(LedgerError::UnknownSegment { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            (None, None) => {}
        }
    }
    transaction.commit().await?;
    // What fails now only makes the next writer wait for the lease to expire.
    ledger.release(lease).await.ok();
    Ok(())
}

/// Which state of the script a reader meets. Panics when it is none of them.
async fn place_in_script(stage: &ObjectStage) -> usize {
    let ledger = stage.open();
    let state = ledger.state(&tenant()).await.unwrap();
    let mut found = Vec::new();
    for (id, _) in SCRIPT[0] {
        let rows = ledger.read_members(&tenant(), &segment(id)).await.unwrap();
        let members = lines(rows, &["subject_id"]).await;
        found.push(state.segments.contains_key(&segment(id)).then_some(members));
    }
    let same = |script: &Members| {
        script.iter().zip(&found).all(|((_, expected), found)| match (expected, found) {
            (Some(expected), Some(found)) => expected == found,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    };
    SCRIPT.iter().position(same).unwrap_or_else(|| panic!("{found:?} is no state of the script"))
}

/// The changes of every segment, applied one after the other, give the members; also before anybody put things in order.
async fn assert_changes_give_members(stage: &ObjectStage, place: usize) {
    let rows = stage.open().read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    let mut members = std::collections::BTreeSet::new();
    for line in lines(rows, &["change", "segment_id", "subject_id"]).await {
        match line.split_once(' ').unwrap() {
            ("enter", member) => assert!(members.insert(member.to_owned()), "{member} entered twice"),
            (_, member) => assert!(members.remove(member), "{member} left without being in"),
        }
    }
    let expected = SCRIPT[place]
        .iter()
        .flat_map(|(id, members)| members.unwrap_or_default().iter().map(move |member| format!("{id} {member}")));
    assert_eq!(members, expected.collect());
}

/// Breaks every run of the script off at every one of its operations, in copies of the store as the runs before it left it.
async fn every_operation<P: Copies>(effect: Effect, after: After) {
    let origin = P::new();
    let healthy = ObjectStage::new(origin.store());
    for to in 1..SCRIPT.len() {
        let mut operations = 0;
        for at in 1.. {
            let copy = origin.copy();
            operations = broken_off(&healthy, copy.store(), to, at, effect, after).await;
            if operations < at {
                break;
            }
        }
        assert!(operations > 20, "the run {to} has only {operations} operations");
        play(&healthy, &healthy.open(), to).await.unwrap();
    }
}

/// One run that is broken off, and what is found and put in order after it. Returns how many operations there were.
async fn broken_off(origin: &ObjectStage, store: Arc<dyn ObjectStore>, to: usize, at: u64, effect: Effect, after: After) -> u64 {
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), at, effect, after));
    let with = |store| ObjectStage { store, clock: Arc::clone(&origin.clock), options: origin.options };
    let (broken, healed) = (with(Arc::clone(&faulty) as _), with(store));
    let ledger = broken.open();
    broken.clock.advance(Duration::from_secs(60));
    let done = play(&broken, &ledger, to).await;
    let operations = faulty.operations();
    let mut found = place_in_script(&healed).await;
    match (&done, effect, after) {
        (Ok(()), _, _) => assert_eq!(found, to, "run {to}, operation {at}: it was done"),
        // The record may have been written, and nobody was left to see it.
        (Err(_), Effect::Done, After::Fails) => assert!(found == to || found == to - 1, "run {to}, operation {at}: {found}"),
        (Err(error), _, _) => assert_eq!(found, to - 1, "run {to}, operation {at}: it failed: {error}"),
    }
    assert_changes_give_members(&healed, found).await;
    if done.is_err() && after == After::Works {
        // The process goes on: its lease expires, and the run is tried again.
        broken.clock.advance(Duration::from_secs(120));
        play(&broken, &ledger, to).await.unwrap();
        found = to;
    }

    healed.clock.advance(Duration::from_secs(3600));
    let ledger = healed.open();
    refresh(&healed, &ledger, &[]).await.unwrap();
    assert_eq!(place_in_script(&healed).await, found, "run {to}, operation {at}: putting things in order changed them");
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), [], "run {to}, operation {at}");
    assert_eq!(orphans(&healed).await, Vec::<String>::new(), "run {to}, operation {at}");
    play(&healed, &ledger, to).await.unwrap();
    assert_eq!(place_in_script(&healed).await, to);
    operations
}

/// Immutable files that nothing refers to: besides the snapshots, which `verify` looks at, only superseded ones may be there.
async fn orphans(stage: &ObjectStage) -> Vec<String> {
    let files = stage.paths().await.into_iter().filter(|path| path.contains("log/files/") && !path.ends_with(".members.parquet"));
    files.collect()
}

/// A store of which there can be copies.
trait Copies {
    fn new() -> Self;
    fn copy(&self) -> Self;
    fn store(&self) -> Arc<dyn ObjectStore>;
}

struct Memory(Arc<InMemory>);

impl Copies for Memory {
    fn new() -> Self {
        Self(Arc::new(InMemory::new()))
    }

    fn copy(&self) -> Self {
        Self(Arc::new(self.0.fork()))
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0) as _
    }
}

struct Disk(tempfile::TempDir);

impl Copies for Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(self.0.path(), copy.0.path());
        copy
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new_with_prefix(self.0.path()).unwrap())
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
