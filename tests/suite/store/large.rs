//! Segments of more rows than a row group holds, beside many small ones: what stands in the files is what a ledger that keeps sets says,
//! and it is the same bytes on any number of threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::StringArray;
use futures::TryStreamExt;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringBitmap;
use segmenta::backend::{LocalMembers, SortedIds};
use segmenta::model::scoring::Score;
use segmenta::store::{Ledger, ReadFilter, Transaction};

use super::stage::{AT_ONCE, ObjectStage, Stage, evaluated, run, segment, tenant, text_rows, write_scope};

/// Ids of the first universe; later ones lack some and have others.
const IDS: u32 = 300_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::large: large and small segments are what a set would be, byte by byte on any threads", || {
        let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let beside = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        let (one, other) = (alone.block_on(lived()), beside.block_on(lived()));
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (path, bytes) in &one {
            assert!(bytes == &other[path], "{path} has other bytes");
        }
        Ok(())
    })]
}

/// The members of a segment, each with the instant of its enter and its score.
type Rows = BTreeMap<String, (String, Option<f64>)>;

/// A few runs, compared with sets after each; returns the tables.
async fn lived() -> BTreeMap<String, bytes::Bytes> {
    let stage = ObjectStage::new(Arc::new(InMemory::new()));
    let mut kept: BTreeMap<String, Rows> = BTreeMap::new();
    for turn in 0..3_u32 {
        // Later turns lack some of the ids, and have others again.
        let ids: Vec<String> =
            (0..IDS).filter(|number| turn == 0 || !mixed(*number, 90 + turn).is_multiple_of(50)).map(id).collect();
        let list = Arc::new(SortedIds::new(StringArray::from_iter_values(&ids)).unwrap());
        let universe = LocalMembers::all(Arc::clone(&list));
        let lease = stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap();
        let ledger = stage.open();
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        let mut staged = Vec::new();
        let mut expected = Vec::new();
        for name in names() {
            let members = chosen(&list, &name, turn);
            let now = stage.clock.at().to_string();
            let before = kept.remove(&name).unwrap_or_default();
            let rows: Rows = members
                .iter_with_scores()
                .map(|(id, score)| {
                    let since = before.get(id).map_or_else(|| now.clone(), |(since, _)| since.clone());
                    (id.to_owned(), (since, score.map(Score::shown)))
                })
                .collect();
            let added = rows.keys().filter(|id| !before.contains_key(*id)).count();
            let removed = before.keys().filter(|id| !rows.contains_key(*id)).count();
            expected.push((rows.len(), added, removed));
            let gone = before.keys().filter(|id| !rows.contains_key(*id) && list.position(id).is_none()).count();
            kept.insert(name.clone(), rows);
            staged.push((evaluated(&name, "h1", members, universe.clone()), gone));
        }
        let (staged, gone): (Vec<_>, Vec<usize>) = staged.into_iter().unzip();
        let figures = transaction.stage_all(staged, &|_| {}).await.unwrap();
        transaction.commit().await.unwrap();
        ledger.release(lease).await.unwrap();
        let found = figures.iter().map(|staged| staged.figures);
        let found: Vec<_> = found.map(|figures| [figures.member_count, figures.added_count, figures.removed_count]).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(all, added, removed)| [all, added, removed].map(|count| count as u64)).collect();
        assert_eq!(found, expected, "turn {turn}");
        let filter = ReadFilter { from: Some(stage.clock.at()), ..ReadFilter::default() };
        let changes = text_rows(ledger.read_changes(&tenant(), &filter).await.unwrap()).await.unwrap();
        let vanished = changes.iter().filter(|row| row["reason"] == "left_universe").count();
        assert_eq!(vanished, gone.iter().sum::<usize>(), "turn {turn}");
        assert_eq!(changes.len() as u64, expected.iter().map(|[_, added, removed]| added + removed).sum::<u64>());
        stage.clock.advance(Duration::from_secs(60));
    }
    for (name, rows) in &kept {
        let found = text_rows(stage.open().read_members(&tenant(), &segment(name)).await.unwrap()).await.unwrap();
        let found: Rows = found
            .into_iter()
            .map(|row| (row["subject_id"].clone(), (row["entered_at"].clone(), row["score"].parse().ok())))
            .collect();
        assert!(found == *rows, "segment {name}");
    }
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    tables(&stage).await
}

fn names() -> Vec<String> {
    let small = (0..12).map(|number| format!("small-{number:02}"));
    ["huge", "large", "scored"].map(str::to_owned).into_iter().chain(small).collect()
}

fn chosen(ids: &Arc<SortedIds>, name: &str, turn: u32) -> LocalMembers {
    let salt = name.bytes().map(u32::from).sum::<u32>();
    let of = match name {
        "huge" => 2,
        "large" => 4,
        "scored" => 6,
        _ => {
            let positions = (salt..u32::try_from(ids.len()).unwrap()).step_by(2_000 + (turn * salt % 3) as usize);
            return LocalMembers::new(Arc::clone(ids), positions.collect());
        }
    };
    let selected: RoaringBitmap = (0..u32::try_from(ids.len()).unwrap())
        .filter(|position| {
            let number: u32 = ids.get(*position as usize).trim_start_matches('u').parse().unwrap();
            // A tenth is drawn anew at each turn, and in the last one everyone of the largest.
            let anew = mixed(number, 7).is_multiple_of(10) || (turn == 2 && of == 2);
            mixed(number, if anew { salt + turn } else { salt }).is_multiple_of(of)
        })
        .collect();
    let count = u32::try_from(selected.len()).unwrap();
    let members = LocalMembers::new(Arc::clone(ids), selected);
    if name == "scored" {
        let scores = (0..count).map(|number| score(mixed(number / 10, turn / 2) % 1_001)).collect();
        members.with_scores(scores)
    } else {
        members
    }
}

fn id(number: u32) -> String {
    format!("u{number:07}")
}

fn score(thousandths: u32) -> Score {
    Score::of_billionths(i64::from(thousandths) * 1_000_000).unwrap()
}

fn mixed(number: u32, salt: u32) -> u32 {
    let number = (number ^ (salt << 20) ^ salt).wrapping_mul(0x9E37_79B1);
    let number = (number ^ (number >> 15)).wrapping_mul(0x85EB_CA77);
    number ^ (number >> 13)
}

/// The files of rows.
async fn tables(stage: &ObjectStage) -> BTreeMap<String, bytes::Bytes> {
    let found: Vec<_> = stage.store.list(None).try_collect().await.unwrap();
    let mut tables = BTreeMap::new();
    for meta in found.into_iter().filter(|meta| meta.location.as_ref().ends_with(".parquet")) {
        let bytes = stage.store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        tables.insert(meta.location.to_string(), bytes);
    }
    tables
}
