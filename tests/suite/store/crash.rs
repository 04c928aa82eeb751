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
use super::stage::{AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, lines, refresh, run, segment, tenant, within, write_scope};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (effect, after) in
        [(Effect::None, After::Fails), (Effect::Done, After::Fails), (Effect::None, After::Works), (Effect::Done, After::Works)]
    {
        trials.push(Trial::test(
            format!("store::crash::memory: an operation has effect {effect:?}, then everything {after:?}"),
            move || {
                within(every_operation(effect, after, || (Arc::new(InMemory::new()), ())));
                Ok(())
            },
        ));
    }
    trials.push(Trial::test("store::crash::disk: an operation has effect None, then everything Fails", || {
        within(every_operation(Effect::None, After::Fails, || {
            let folder = tempfile::tempdir().unwrap();
            (Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()), folder)
        }));
        Ok(())
    }));
    trials
}

/// The members of every segment after each run of the script; none for a segment that the store does not know.
const SCRIPT: [[(&str, Option<&[&str]>); 3]; 5] = [
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
                transaction.stage(evaluated(id, "h1", ObjectStage::members(members), ObjectStage::members(&EVERYONE))).await?;
            }
            (Some(_), None) => {
                let outcome = Outcome::Ended { reason: ChangeReason::SegmentDeleted };
                let staged = StagedSegment { segment: segment(id), definition: None, outcome, duration: Duration::ZERO };
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
    ledger.release(lease).await
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
    let same = |script: &[(&str, Option<&[&str]>); 3]| {
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

async fn every_operation<G>(effect: Effect, after: After, fresh: impl Fn() -> (Arc<dyn ObjectStore>, G)) {
    let last = SCRIPT.len() - 1;
    for at in 1.. {
        let (store, _guard) = fresh();
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), at, effect, after));
        let broken = ObjectStage::new(Arc::clone(&faulty) as _);
        let healed = ObjectStage { store, clock: Arc::clone(&broken.clock), options: broken.options };
        let ledger = broken.open();
        let mut reached = 0;
        for to in 1..=last {
            broken.clock.advance(Duration::from_secs(60));
            let mut done = play(&broken, &ledger, to).await;
            if done.is_err() && after == After::Works {
                // The process goes on: its lease expires, and the run is tried again.
                broken.clock.advance(Duration::from_secs(120));
                done = play(&broken, &ledger, to).await;
                assert!(done.is_ok(), "operation {at}: the run {to} fails again: {done:?}");
            }
            if done.is_err() {
                break;
            }
            reached = to;
        }
        let found = place_in_script(&healed).await;
        assert!(found == reached || found == reached + 1, "operation {at}: {reached} runs were done, and {found} are there");
        assert_changes_give_members(&healed, found).await;

        healed.clock.advance(Duration::from_secs(3600));
        let ledger = healed.open();
        refresh(&healed, &ledger, &[]).await.unwrap();
        assert_eq!(place_in_script(&healed).await, found, "operation {at}: putting things in order changed them");
        assert_eq!(ledger.verify(&tenant()).await.unwrap(), Vec::<String>::new(), "operation {at}");
        for to in found + 1..=last {
            play(&healed, &ledger, to).await.unwrap();
        }
        assert_eq!(place_in_script(&healed).await, last);
        assert_eq!(ledger.verify(&tenant()).await.unwrap(), Vec::<String>::new(), "operation {at}");
        if faulty.operations() < at {
            assert!(at > 100, "the script has only {at} operations");
            return;
        }
    }
}
