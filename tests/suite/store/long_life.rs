//! Months of runs with the upkeep of every night, at fewer runs a day than there may be: what is there, and what it takes to read it, is
//! bounded by days and not by runs. `cargo bench --bench year` does the same with a run a minute for a year.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use segmenta::clock::Clock as _;
use segmenta::store::{Ledger, ReadFilter, Retention};

use super::counting::CountingStore;
use super::stage::{AT_ONCE, EVERYONE, ObjectStage, Stage, refresh, segment, tenant, within, write_scope};
use super::upkeep::compact;

/// Runs of a day; more than there are between two checkpoints.
const RUNS: u32 = 10;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::long_life: files and requests grow with the days, not with the runs", || {
        within(files_and_requests_grow_with_the_days());
        Ok(())
    })]
}

/// Who is a member is decided by the number of the run.
fn members(number: u32, salt: u64) -> Vec<&'static str> {
    let drawn = u64::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ salt) >> 40;
    EVERYONE.iter().enumerate().filter(|(position, _)| drawn >> position & 1 == 1).map(|(_, id)| *id).collect()
}

/// What it takes to read.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    state: u64,
    changes_of_a_day: u64,
    history: u64,
}

async fn cost(stage: &ObjectStage) -> Cost {
    let counting = Arc::new(CountingStore::new(Arc::clone(&stage.store)));
    let counted = ObjectStage { store: Arc::clone(&counting) as _, clock: Arc::clone(&stage.clock), options: stage.options };
    counted.open().state(&tenant()).await.unwrap();
    let state = counting.taken();
    let day = stage.clock.at() - Duration::from_secs(5 * 86_400);
    let filter = ReadFilter { from: Some(day), to: Some(day + Duration::from_secs(86_400)), ..ReadFilter::default() };
    let rows: Vec<_> = counted.open().read_changes(&tenant(), &filter).await.unwrap().try_collect().await.unwrap();
    assert!(!rows.is_empty());
    let changes_of_a_day = counting.taken();
    let filter = ReadFilter::of(&segment("a"));
    let rows: Vec<_> = counted.open().read_history(&tenant(), &filter).await.unwrap().try_collect().await.unwrap();
    assert!(!rows.is_empty());
    Cost { state, changes_of_a_day, history: counting.taken() }
}

async fn files_and_requests_grow_with_the_days() {
    let mut stage = ObjectStage::new(Arc::new(InMemory::new()));
    stage.options.checkpoint_every = 8;
    let mut number = 0;
    let mut costs = Vec::new();
    for day in 1..=48_u64 {
        for _ in 0..RUNS {
            let (a, b) = (members(number, 1), members(number / 7, 2));
            refresh(&stage, &stage.open(), &[("a", "h1", &a), ("b", "h1", &b)]).await.unwrap();
            number += 1;
            stage.clock.advance(Duration::from_secs(86_400) / RUNS);
        }
        compact(&stage, &Retention::default()).await;
        let ledger = stage.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        ledger.collect(&lease, &tenant(), Duration::from_secs(3600)).await.unwrap();
        ledger.release(lease).await.unwrap();
        if day % 16 == 0 {
            let paths = stage.paths().await;
            let count = |folder: &str| paths.iter().filter(|path| path.starts_with(folder)).count() as u64;
            assert!(count("changes/") <= day && count("history/") == day, "{paths:#?}");
            let log = ["commits", "checkpoints", "index", "leases", "files"].map(|folder| count(&format!("log/{folder}/")));
            assert!(log[0] <= 3 * 8 + 2 && log[1] <= 3 && log[2] <= 4 && log[3] <= 2 && log[4] <= 6, "{log:?}");
            costs.push((day, cost(&stage).await));
        }
    }
    let state = costs.iter().map(|(_, cost)| cost.state).collect::<Vec<_>>();
    // How far it is published, the list of checkpoints, one of them and its record, and the records after it, some at a time.
    assert!(state.iter().all(|requests| *requests <= 4 + 8 + 8), "{costs:?}");
    for (day, Cost { state, changes_of_a_day, history }) in &costs {
        assert!(*changes_of_a_day <= state + 6, "{costs:?}");
        assert!(*history <= state + 6 + day, "{costs:?}");
    }
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert!(stage.clock.now() > "2026-02-17T00:00:00Z".parse().unwrap());
}
