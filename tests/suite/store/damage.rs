//! Files that are not what they were, stores that cannot be written, and stores of a newer version.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use segmenta::clock::Clock as _;
use segmenta::store::{Audience, Fault, Horizon, Horizons, Ledger, LedgerError, ReadFilter, Retention, SetOperation};

use super::faulty::FaultyStore;
use super::stage::{AT_ONCE, DiskStage, ObjectStage, Stage, figures, refresh, segment, tenant, text_rows, within, write_scope};
use super::upkeep::compact;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every damaged file is noticed, and nothing panics", every_damaged_file_is_noticed()),
        trial("a damaged file of one of several segments is noticed", a_damaged_file_of_several_segments_is_noticed()),
        trial("a store of a newer version is left alone", a_newer_store_is_left_alone()),
        trial("a store of the first format is read and goes on", a_store_of_the_first_format_goes_on()),
        trial("a store that cannot be written is still read", a_store_that_cannot_be_written_is_still_read()),
        trial("a store that was deleted and made anew is seen as it is", a_store_made_anew_is_seen_as_it_is()),
        trial("nothing half-written and no empty folder stays on a disk", nothing_half_written_stays()),
        trial("what can be put right is, and what cannot stays reported", what_can_be_put_right_is()),
        trial("garbage is found, and foreign files stay", garbage_is_found()),
        trial("public files that somebody changed come back with the next change", public_files_are_repaired()),
    ]
}

fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::damage: {name}"), move || {
        within(test);
        Ok(())
    })
}

/// A store with a checkpoint, commits after it, members, changes and history.
async fn lived_in(store: Arc<dyn ObjectStore>) -> ObjectStage {
    let stage = ObjectStage::new(store);
    for members in [&["ann"][..], &["ann", "bob"], &["bob"], &["bob", "cid"], &["cid"], &["ann", "cid"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members), ("calm", "h1", &["eve"])]).await.unwrap();
        stage.clock.advance(Duration::from_secs(60));
    }
    stage
}

/// Everything that a reader can ask for, as text.
async fn everything(stage: &ObjectStage) -> Result<String, LedgerError> {
    let ledger = stage.open();
    let state = ledger.state(&tenant()).await?;
    let mut rows = Vec::new();
    for id in ["vip", "calm"] {
        rows.extend(text_rows(ledger.read_members(&tenant(), &segment(id)).await?).await?);
        rows.extend([ledger.recount(&tenant(), &segment(id)).await?].map(|count| [("count".to_owned(), count.to_string())].into()));
        ledger.stored(&tenant(), &segment(id)).await?;
    }
    let found = ledger.segments_of(&tenant(), "ann").await?;
    rows.extend(text_rows(ledger.read_changes(&tenant(), &ReadFilter::default()).await?).await?);
    rows.extend(text_rows(ledger.read_history(&tenant(), &ReadFilter::default()).await?).await?);
    Ok(format!("{state:?} {rows:?} {found:?}"))
}

async fn every_damaged_file_is_noticed() {
    let origin = Arc::new(InMemory::new());
    let stage = lived_in(Arc::clone(&origin) as _).await;
    let intact = everything(&stage).await.unwrap();
    let mut noticed = 0;
    for path in stage.paths().await {
        let location = Path::from(format!("some/prefix/{path}"));
        let bytes = origin.get(&location).await.unwrap().bytes().await.unwrap();
        let mut flipped = bytes.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x20;
        let cut = bytes.slice(..bytes.len() / 2);
        for (damage, content) in [("flipped", Some(flipped.into())), ("cut", Some(cut)), ("gone", None)] {
            let copy = Arc::new(origin.fork());
            match content {
                Some(content) => drop(copy.put(&location, object_store::PutPayload::from_bytes(content)).await.unwrap()),
                None => copy.delete(&location).await.unwrap(),
            }
            let damaged = ObjectStage { store: copy, clock: Arc::clone(&stage.clock), options: stage.options };
            let what = format!("{path} {damage}");
            match everything(&damaged).await {
                Ok(read) => assert_eq!(read, intact, "{what}: read as something else"),
                Err(LedgerError::Corrupt { path: named, .. }) => {
                    noticed += 1;
                    assert!(!named.is_empty(), "{what}");
                }
                Err(error) => panic!("{what}: {error:?}"),
            }
            let verified = damaged.open().verify(&tenant()).await;
            let matters = path.starts_with("memberships/") || path.starts_with("changes/") || path.starts_with("history/");
            assert!(!matters || verified.as_ref().is_ok_and(|faults| !faults.is_empty()), "{what}: {verified:?}");
            let written = refresh(&damaged, &damaged.open(), &[("vip", "h1", &["dan"]), ("calm", "h1", &["eve"])]).await;
            match written {
                Ok(written) => assert_eq!(written, [figures(1, 1, 2), figures(1, 0, 0)], "{what}"),
                Err(LedgerError::Corrupt { .. }) => {}
                Err(error) => panic!("{what}: {error:?}"),
            }
        }
    }
    assert!(noticed > 30, "only {noticed} kinds of damage were noticed");
}

async fn a_damaged_file_of_several_segments_is_noticed() {
    let origin = Arc::new(InMemory::new());
    let stage = lived_in(Arc::clone(&origin) as _).await;
    let read = async |stage: &ObjectStage| {
        let mut found = Vec::new();
        for operation in [SetOperation::Union, SetOperation::Intersection, SetOperation::Difference] {
            let audience = Audience { segments: vec![segment("vip"), segment("calm")], operation, after: None };
            found.extend(text_rows(stage.open().read_audience(&tenant(), &audience).await?).await?);
        }
        Ok::<_, LedgerError>(found)
    };
    let intact = read(&stage).await.unwrap();
    assert_eq!(intact.len(), 3 + 2);
    let mut noticed = 0;
    for path in stage.paths().await.iter().filter(|path| path.starts_with("log/files/")) {
        let location = Path::from(format!("some/prefix/{path}"));
        let bytes = origin.get(&location).await.unwrap().bytes().await.unwrap();
        let mut flipped = bytes.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x20;
        for content in [Some(flipped.into()), Some(bytes.slice(..bytes.len() / 2)), None] {
            let copy = Arc::new(origin.fork());
            match content {
                Some(content) => drop(copy.put(&location, object_store::PutPayload::from_bytes(content)).await.unwrap()),
                None => copy.delete(&location).await.unwrap(),
            }
            let damaged = ObjectStage { store: copy, clock: Arc::clone(&stage.clock), options: stage.options };
            match read(&damaged).await {
                Ok(found) => assert_eq!(found, intact, "{path}"),
                Err(LedgerError::Corrupt { path: named, .. }) => {
                    noticed += 1;
                    assert_eq!(named, *path);
                }
                Err(error) => panic!("{path}: {error:?}"),
            }
        }
    }
    assert_eq!(noticed, 2 * 3, "both snapshots, in each way");
}

async fn a_newer_store_is_left_alone() {
    for place in ["log/commits/000000000006.json", "log/checkpoints/000000000004.json", "log/index/000000000000-000000000004.json"]
    {
        let stage = lived_in(Arc::new(InMemory::new())).await;
        stage.put(place, r#"{"format":7,"novelty":true}"#).await;
        let before = stage.paths().await;
        let error = everything(&stage).await.unwrap_err();
        assert_eq!(error.to_string(), "the store at `test` has format 7, and this version reads up to 2", "{place}");
        if !place.contains("index") {
            let error = refresh(&stage, &stage.open(), &[("vip", "h1", &["dan"])]).await.unwrap_err();
            assert!(matches!(error, LedgerError::NewerFormat { found: 7, supported: 2, .. }), "{place}: {error:?}");
            assert_eq!(stage.paths().await, before, "{place}: something was written");
        }
    }
}

/// A store as the first format had it: indexes bore the last commit alone in their names, checkpoints listed those numbers, of a run nobody
/// noted the kind, and no record told which one it follows.
async fn of_the_first_format() -> ObjectStage {
    let stage = lived_in(Arc::new(InMemory::new())).await;
    for path in stage.paths().await.into_iter().filter(|path| path.ends_with(".json") && path.starts_with("log/")) {
        let location = Path::from(format!("some/prefix/{path}"));
        let bytes = stage.store.get(&location).await.unwrap().bytes().await.unwrap();
        let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(record["format"], 2, "{path}");
        let mut body = record["body"].clone();
        if path.contains("/checkpoints/") {
            let indexes = body["indexes"].as_array().unwrap().iter().map(|index| index["number"].clone()).collect::<Vec<_>>();
            assert!(!indexes.is_empty());
            body["indexes"] = indexes.into();
            body.as_object_mut().unwrap().remove("head").unwrap();
        }
        if path.contains("/commits/") {
            let is_first = path.ends_with("/000000000001.json");
            assert_eq!(body.as_object_mut().unwrap().remove("previous").is_none(), is_first);
        }
        let mut target = location.clone();
        if path.contains("/index/") {
            for run in body.as_array_mut().unwrap() {
                run.as_object_mut().unwrap().remove("kind").unwrap();
            }
            target = Path::from(format!("some/prefix/log/index/{}", path.rsplit('-').next().unwrap()));
        }
        stage.store.delete(&location).await.unwrap();
        let body = body.to_string();
        let text = format!(r#"{{"format":1,"blake3":"{}","body":{body}}}"#, blake3::hash(body.as_bytes()).to_hex());
        stage.store.put(&target, text.into()).await.unwrap();
    }
    assert!(stage.paths().await.iter().any(|path| path == "log/index/000000000004.json"));
    stage
}

async fn a_store_of_the_first_format_goes_on() {
    let stage = of_the_first_format().await;
    let intact = everything(&lived_in(Arc::new(InMemory::new())).await).await.unwrap();
    assert_eq!(everything(&stage).await.unwrap(), intact);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    stage.clock.advance(Duration::from_secs(86_400));
    assert_eq!(compact(&stage, &Retention::default()).await.replaced, 12);
    assert_eq!(everything(&stage).await.unwrap(), intact);
    for members in [&["ann"][..], &["bob"], &["dan"], &["eve"], &["ann"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(3600));
    }
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    ledger.collect(&lease, &tenant(), Duration::from_secs(3600)).await.unwrap();
    ledger.release(lease).await.unwrap();
    assert!(!stage.paths().await.iter().any(|path| path == "log/index/000000000004.json"));
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn a_store_that_cannot_be_written_is_still_read() {
    let stage = lived_in(Arc::new(InMemory::new())).await;
    let intact = everything(&stage).await.unwrap();
    let store = Arc::new(FaultyStore::read_only(Arc::clone(&stage.store)));
    let locked = ObjectStage { store, clock: Arc::clone(&stage.clock), options: stage.options };
    assert_eq!(everything(&locked).await.unwrap(), intact);
    let error = locked.open().acquire(&write_scope(), AT_ONCE).await.unwrap_err();
    assert!(matches!(error, LedgerError::Io { operation: "write", .. }), "{error:?}");
    assert_eq!(error.to_string(), "cannot write `log/leases/tenants/demo/000000000007.json` in the store");
}

async fn a_store_made_anew_is_seen_as_it_is() {
    let stage = lived_in(Arc::new(InMemory::new())).await;
    let ledger = stage.open();
    assert_eq!(ledger.state(&tenant()).await.unwrap().segments.len(), 2);
    for path in stage.paths().await {
        stage.delete(&path).await;
    }
    assert!(ledger.state(&tenant()).await.unwrap().segments.is_empty());
    assert_eq!(refresh(&stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap(), [figures(1, 1, 0)]);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

/// A store with a compacted day, a baseline, kept files of a run that is not compacted, and enough commits for checkpoints.
async fn long_lived_in(store: Arc<dyn ObjectStore>) -> ObjectStage {
    let stage = lived_in(store).await;
    stage.clock.advance(Duration::from_secs(86_400));
    let short = Horizons { changes: Horizon::Since(stage.clock.at()), ..Horizons::default() };
    compact(&stage, &Retention { segments: [(segment("vip"), short)].into(), ..Retention::default() }).await;
    refresh(&stage, &stage.open(), &[("vip", "h1", &["dan"]), ("calm", "h1", &["eve"])]).await.unwrap();
    stage
}

async fn repair(stage: &ObjectStage) -> Result<Vec<Fault>, LedgerError> {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let faults = ledger.repair(&lease, &tenant(), stage.clock.run_id(stage.clock.at())).await;
    ledger.release(lease).await?;
    faults
}

async fn what_can_be_put_right_is() {
    let origin = Arc::new(InMemory::new());
    let stage = long_lived_in(Arc::clone(&origin) as _).await;
    let intact = everything(&stage).await.unwrap();
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(repair(&stage).await.unwrap(), []);
    let (mut mended, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for path in stage.paths().await {
        for content in [Some("damaged"), None] {
            let copy = ObjectStage { store: Arc::new(origin.fork()), clock: Arc::clone(&stage.clock), options: stage.options };
            match content {
                Some(content) => copy.put(&path, content).await,
                None => copy.delete(&path).await,
            }
            let kind = path.split('/').take(2).collect::<Vec<_>>().join("/");
            let Ok(found) = copy.open().verify(&tenant()).await else { continue };
            let before = copy.paths().await;
            match repair(&copy).await {
                Ok(repaired) if repaired.iter().all(|fault| !fault.remains()) => {
                    assert_eq!(repaired.len(), found.len(), "{path}: {found:?} {repaired:?}");
                    assert_eq!(copy.open().verify(&tenant()).await.unwrap(), [], "{path}");
                    assert_eq!(everything(&copy).await.unwrap(), intact, "{path}");
                    if !found.is_empty() {
                        mended.insert(kind);
                    }
                }
                Ok(repaired) => {
                    assert!(!found.is_empty(), "{path}: {repaired:?}");
                    let left = copy.open().verify(&tenant()).await.unwrap();
                    assert!(!left.is_empty(), "{path}: what cannot be put right stays reported");
                    assert!(before.iter().all(|path| path.contains("leases") || copy_has(&copy, path)), "{path}");
                    lost.insert(kind);
                }
                Err(LedgerError::Corrupt { .. }) => assert!(!found.is_empty() || path.contains("leases"), "{path}"),
                Err(error) => panic!("{path}: {error:?}"),
            }
        }
    }
    let names = |kinds: &BTreeSet<String>| kinds.iter().cloned().collect::<Vec<_>>().join(" ");
    for kind in ["memberships/demo", "log/files", "log/published", "log/checkpoints"] {
        assert!(mended.contains(kind), "{kind}: {}", names(&mended));
    }
    for kind in ["changes/demo", "history/demo"] {
        assert!(lost.contains(kind), "{kind}: {}", names(&lost));
    }
}

fn copy_has(stage: &ObjectStage, path: &str) -> bool {
    let location = Path::from(format!("some/prefix/{path}"));
    futures::executor::block_on(async { stage.store.head(&location).await.is_ok() })
}

async fn garbage_is_found() {
    let stage = long_lived_in(Arc::new(InMemory::new())).await;
    let ledger = stage.open();
    let hour = Duration::from_secs(3600);
    let before = everything(&stage).await.unwrap();
    for foreign in ["changes/demo/notes.txt", "memberships/demo/mine.parquet", "history/demo/2026-01-01/x.parquet"] {
        stage.put(foreign, "somebody else's").await;
    }
    let dry = ledger.garbage(&tenant(), hour).await.unwrap();
    assert_eq!(dry.foreign, ["changes/demo/notes.txt", "history/demo/2026-01-01/x.parquet", "memberships/demo/mine.parquet"]);
    let paths = stage.paths().await;
    assert!(dry.waste.iter().any(|waste| waste.path == "log/commits/000000000001.json"), "{dry:#?}");
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let deleted = ledger.collect(&lease, &tenant(), hour).await.unwrap();
    ledger.release(lease).await.unwrap();
    assert_eq!(deleted.foreign, dry.foreign);
    let left = stage.paths().await;
    for waste in &dry.waste {
        assert!(!left.contains(&waste.path), "{waste:?}");
        assert!(deleted.waste.contains(waste), "{waste:?}: {deleted:#?}");
    }
    let gone = paths.iter().filter(|path| !left.contains(path)).count();
    assert_eq!(gone, deleted.waste.len());
    assert_eq!(everything(&stage).await.unwrap(), before);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    // Within the grace period nothing goes that a reader may know of.
    refresh(&stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    assert_eq!(ledger.garbage(&tenant(), hour).await.unwrap().waste, []);
    assert!(!ledger.garbage(&tenant(), Duration::ZERO).await.unwrap().waste.iter().any(|waste| waste.path.contains("published")));
    for path in stage.paths().await.into_iter().filter(|path| path.contains("log/commits")) {
        assert!(!path.ends_with("000000000001.json"), "{path}");
    }
}

async fn public_files_are_repaired() {
    let stage = lived_in(Arc::new(InMemory::new())).await;
    stage.put("memberships/demo/vip.parquet", "not a table").await;
    assert_eq!(stage.open().verify(&tenant()).await.unwrap().len(), 1);
    refresh(&stage, &stage.open(), &[("vip", "h1", &["dan"])]).await.unwrap();
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn nothing_half_written_stays() {
    let stage = DiskStage::new();
    for members in [&["ann"][..], &["bob"], &["cid"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock().advance(Duration::from_secs(3600));
    }
    // A process dies while the store of the local disk has its temporary files there.
    drop(stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap());
    for path in ["memberships/demo/vip.parquet#0", "log/files/demo/000000000004-000000/vip.members.parquet#1"] {
        std::fs::create_dir_all(stage.root().join(path).parent().unwrap()).unwrap();
        std::fs::write(stage.root().join(path), "half").unwrap();
    }
    stage.clock().advance(Duration::from_secs(3600));
    refresh(&stage, &stage.open(), &[("vip", "h1", &["dan"])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(3600));
    refresh(&stage, &stage.open(), &[("vip", "h1", &["eve"])]).await.unwrap();

    let mut folders = vec![stage.root()];
    while let Some(folder) = folders.pop() {
        let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!entries.is_empty() || folder.starts_with(stage.root().join("log/files")), "{} is empty", folder.display());
        for entry in entries {
            assert!(!entry.to_string_lossy().contains('#'), "{} is there", entry.display());
            if entry.is_dir() {
                folders.push(entry);
            }
        }
    }
    let kept = std::fs::read_dir(stage.root().join("log/files/demo")).unwrap().count();
    assert!(kept <= 3, "{kept} folders of transactions are kept");
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}
