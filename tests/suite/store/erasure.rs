//! The erasure of a subject: afterwards no file holds its id, and nothing else has changed.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::AsArray as _;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use libtest_mimic::Trial;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use segmenta::store::{Erased, Horizon, Horizons, Ledger, LedgerError, ReadFilter, Retention, Run, RunKind};

use super::contract::{ADD, edit};
use super::stage::{AT_ONCE, ObjectStage, Stage, refresh, run, segment, tenant, within, write_scope};
use super::upkeep::{compact, drawn, refresh_keeping, rows, since, told};

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::erasure: nothing is left of a subject that is erased", || {
        within(nothing_is_left_of_a_subject());
        Ok(())
    })]
}

/// An erasure, under a lease of its own.
pub(crate) async fn erase(stage: &ObjectStage, subject: &str) -> Result<Erased, LedgerError> {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let run = Run { kind: RunKind::Erase, ..run(&*stage.clock) };
    let done = ledger.erase(&lease, &run, subject).await;
    ledger.release(lease).await.ok();
    done
}

/// The files that hold a subject, whatever they are, once they are decoded.
pub(crate) async fn holding(stage: &ObjectStage, subject: &str) -> Vec<String> {
    let mut holding = Vec::new();
    for path in stage.paths().await {
        let location = object_store::path::Path::from(format!("some/prefix/{path}"));
        let bytes = stage.store.get(&location).await.unwrap().bytes().await.unwrap();
        let is_in = if path.ends_with(".parquet") {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            reader.map(Result::unwrap).any(|batch| {
                let ids = batch.column_by_name("subject_id").map(|ids| ids.as_string::<i32>().clone());
                ids.is_some_and(|ids| ids.iter().flatten().any(|id| id == subject))
            })
        } else {
            String::from_utf8_lossy(&bytes).contains(subject)
        };
        if is_in {
            holding.push(path);
        }
    }
    holding
}

async fn nothing_is_left_of_a_subject() {
    let day = Duration::from_secs(86_400);
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    let mut random = ChaCha8Rng::seed_from_u64(17);
    for number in 0..24 {
        let (a, b) = (drawn(&mut random), drawn(&mut random));
        refresh_keeping(&stage, [&a, &b]).await;
        stage.clock.advance(day / 4);
        if number == 14 {
            let short = Horizons { changes: since(&stage, 2), ..Horizons::default() };
            let forever = Horizons { snapshots: Horizon::Everything, ..Horizons::default() };
            compact(&stage, &Retention { segments: [(segment("a"), short)].into(), default: forever }).await;
        }
    }
    refresh_keeping(&stage, [&["ann", "bob"], &["bob"]]).await;
    refresh_keeping(&stage, [&["ann", "bob"], &["cid"]]).await;
    edit(&stage, "a", ADD, &["bob", "ann"], &["ann", "bob"]).await;
    let before = rows(&stage, &ReadFilter::default()).await;
    assert!(holding(&stage, "bob").await.len() > 10);
    let erased = erase(&stage, "bob").await.unwrap();
    assert_eq!(holding(&stage, "bob").await, Vec::<String>::new());
    let (a, b) = (erased.segments[&segment("a")], erased.segments[&segment("b")]);
    assert!(a.was_member && !b.was_member && a.changes > 0 && b.changes > 0 && b.snapshots > 0, "{erased:?}");
    assert_eq!((a.overrides, b.overrides), (1, 0));
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("a")].overrides, 1, "ann's stays");
    let after = rows(&stage, &ReadFilter::default()).await;
    let others: Vec<String> = before[0].iter().filter(|line| !line.contains(" bob ")).cloned().collect();
    assert!(others.len() < before[0].len());
    assert_eq!(after[0], others, "the changes of nobody else are touched");
    let (past, new) = after[1].split_at(before[1].len());
    assert_eq!(past, before[1], "what was counted stays");
    let without_run =
        |line: &String| line.split(' ').enumerate().filter(|(at, _)| *at != 1).map(|(_, word)| word.to_owned()).collect();
    let new: Vec<Vec<String>> = new.iter().map(without_run).collect();
    let at = stage.clock.at();
    assert_eq!(
        new.iter().map(|words| words.join(" ")).collect::<Vec<_>>(),
        [format!("a erase {at} ok 1 0 1"), format!("b erase {at} ok 1 0 0"),]
    );
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(told(&stage, "a", at).await.0.unwrap().keys().collect::<Vec<_>>(), ["ann"]);
    assert_eq!(erase(&stage, "bob").await.unwrap(), Erased::default(), "there is nothing more to erase");
    stage.clock.advance(day);
    refresh(&stage, &stage.open(), &[("a", "h1", &["ann"]), ("b", "h1", &["cid", "dan"])]).await.unwrap();
    compact(&stage, &Retention::default()).await;
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("a")].member_count, 1);
}
