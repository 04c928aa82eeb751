//! Files of the store that are something else: empty, another's, of another store, no record and no table. Each is named, and none is taken
//! for what it is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use segmenta::model::manual::{Origin, Verdict};
use segmenta::store::{
    Basis, EditAction, Ledger, LedgerError, Outcome, OverrideEdit, ReadFilter, Run, RunKind, StagedSegment, Transaction,
};

use super::stage::{
    AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, local, refresh, run, segment, tenant, text_rows, within, write_scope,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a file that is something else is named, in every place", something_else_in_every_place()),
        trial("a file that changed is named, in every place", something_changed_in_every_place()),
        trial("a commit of another store is named, whatever it says", a_commit_of_another_store()),
        trial("files that nobody knows are let alone", files_that_nobody_knows_are_let_alone()),
    ]
}

fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::foreign: {name}"), move || {
        within(test);
        Ok(())
    })
}

/// A store with checkpoints and indexes, commits after them, members, decisions, changes and history.
async fn lived_in(store: Arc<dyn ObjectStore>, members_of: &[&[&str]], decided: &[&str]) -> ObjectStage {
    let stage = ObjectStage::new(store);
    for members in members_of {
        refresh(&stage, &stage.open(), &[("vip", "h1", members), ("calm", "h1", &["eve"])]).await.unwrap();
        stage.clock.advance(Duration::from_secs(60));
    }
    for subject in decided {
        let ledger = stage.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let run = Run { kind: RunKind::Manual, ..run(stage.clock()) };
        let mut transaction = ledger.begin(&lease, run).await.unwrap();
        let subjects = BTreeSet::from([(*subject).to_owned()]);
        let edit = OverrideEdit { action: EditAction::Decide(Verdict::Add), origin: Origin::Import, subjects };
        let overrides = transaction.edit_overrides(&segment("calm"), &edit).await.unwrap().overrides;
        let members: Vec<&str> = ["eve"].into_iter().chain(decided.iter().copied().take_while(|other| other <= subject)).collect();
        let outcome = Outcome::Members { members: local(&members), universe: local(&EVERYONE), overrides, basis: Basis::Evaluated };
        let staged = StagedSegment { outcome, ..evaluated("calm", "h1", local(&[]), local(&[])) };
        transaction.stage(staged).await.unwrap();
        transaction.commit().await.unwrap();
        ledger.release(lease).await.unwrap();
        stage.clock.advance(Duration::from_secs(60));
    }
    stage
}

/// The store whose files are replaced: nine commits, checkpoints after four and eight.
async fn ours() -> (Arc<InMemory>, ObjectStage) {
    let store = Arc::new(InMemory::new());
    let members: [&[&str]; 7] = [&["ann"], &["ann", "bob"], &["bob"], &["bob", "cid"], &["cid"], &["ann", "cid"], &["dan"]];
    let stage = lived_in(Arc::clone(&store) as _, &members, &["ann", "bob"]).await;
    (store, stage)
}

/// Another store, with a life of the same length, and the same names.
async fn theirs() -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    let members: [&[&str]; 7] = [&["eve"], &["dan", "eve"], &["dan"], &["cid", "dan"], &["eve"], &["bob", "eve"], &["ann"]];
    lived_in(Arc::clone(&store) as _, &members, &["cid", "dan"]).await;
    store
}

/// Everything that a reader can ask for, as text.
async fn everything(stage: &ObjectStage) -> Result<String, LedgerError> {
    let ledger = stage.open();
    let state = ledger.state(&tenant()).await?;
    let mut rows = Vec::new();
    for id in ["vip", "calm"] {
        rows.extend(text_rows(ledger.read_members(&tenant(), &segment(id)).await?).await?);
        ledger.recount(&tenant(), &segment(id)).await?;
        ledger.stored(&tenant(), &segment(id)).await?;
    }
    let found = ledger.segments_of(&tenant(), "ann").await?;
    rows.extend(text_rows(ledger.read_changes(&tenant(), &ReadFilter::default()).await?).await?);
    rows.extend(text_rows(ledger.read_history(&tenant(), &ReadFilter::default()).await?).await?);
    rows.extend(text_rows(ledger.read_overrides(&tenant(), &ReadFilter::default()).await?).await?);
    for at in ["2026-01-01T00:07:30Z", "2027-01-01T00:00:00Z"] {
        let decided = ledger.overrides(&tenant(), at.parse().unwrap()).await?;
        let decided = decided.values().flat_map(|overrides| overrides.iter());
        let decided = decided.map(|(decision, members)| format!("{decision:?} {:?}", members.iter().collect::<Vec<_>>()));
        rows.extend(decided.map(|line| [("decided".to_owned(), line)].into()));
    }
    Ok(format!("{state:?} {rows:?} {found:?}"))
}

/// The kind of place that a file stands in.
fn place(path: &str) -> &str {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["log", "files", ..] => path.rsplit_once('/').map_or("", |(_, name)| name.split_once('.').map_or(name, |(_, kind)| kind)),
        ["log", place, ..] => place,
        [place, ..] => place,
        [] => "",
    }
}

/// What is found after a file was replaced: nothing else is read, and what is wrong is named.
struct Replaced {
    stage: ObjectStage,
    what: String,
    /// Read as it was before.
    intact: bool,
    /// What a reader was told, and what `verify` tells.
    told: Vec<String>,
}

async fn replaced(origin: &InMemory, stage: &ObjectStage, intact: &str, path: &str, how: &str, content: Option<Bytes>) -> Replaced {
    let location = Path::from(format!("some/prefix/{path}"));
    let copy = Arc::new(origin.fork());
    match content {
        Some(content) => drop(copy.put(&location, PutPayload::from_bytes(content)).await.unwrap()),
        None => copy.delete(&location).await.unwrap(),
    }
    let stage = ObjectStage { store: copy, clock: Arc::clone(&stage.clock), options: stage.options };
    let what = format!("{path} {how}");
    let mut told = Vec::new();
    let read = everything(&stage).await;
    let is_intact = match read {
        Ok(read) => read == intact,
        Err(error) => {
            told.push(problem(&what, &error));
            true
        }
    };
    match stage.open().verify(&tenant()).await {
        Ok(faults) => told.extend(faults.iter().map(|fault| fault.to_string())),
        Err(error) => told.push(problem(&what, &error)),
    }
    Replaced { stage, what, intact: is_intact, told }
}

/// Only damage, and what is of a newer version, may be told.
fn problem(what: &str, error: &LedgerError) -> String {
    match error {
        LedgerError::Corrupt { .. } | LedgerError::NewerFormat { .. } => error.to_string(),
        _ => panic!("{what}: {error:?}"),
    }
}

impl Replaced {
    /// The next run does what it should, or says what is wrong with which file.
    async fn is_written(&self) {
        let segments: [(&str, &str, &[&str]); 2] = [("vip", "h1", &["dan", "eve"]), ("calm", "h1", &["ann", "bob", "eve"])];
        if let Err(error) = refresh(&self.stage, &self.stage.open(), &segments).await {
            problem(&self.what, &error);
        }
    }
}

async fn something_else_in_every_place() {
    let (origin, stage) = ours().await;
    let theirs = theirs().await;
    let intact = everything(&stage).await.unwrap();
    let paths = stage.paths().await;
    let mut places = BTreeSet::new();
    let mut unnoticed = Vec::new();
    for path in &paths {
        let location = Path::from(format!("some/prefix/{path}"));
        let present = origin.get(&location).await.unwrap().bytes().await.unwrap();
        let mut others = vec![
            ("is empty".to_owned(), Bytes::new()),
            ("is a text".to_owned(), Bytes::from_static(b"not what it should be\n")),
            ("is JSON".to_owned(), Bytes::from_static(b"{\"format\":1,\"blake3\":\"\",\"body\":{}}")),
            ("is of a newer version".to_owned(), Bytes::from_static(b"{\"format\":99,\"novelty\":true}")),
            ("ends like a table".to_owned(), Bytes::from_static(b"PAR1\0\0\0\0\xff\xff\xff\x7fPAR1")),
        ];
        // A file of every place, the same one included.
        let mut kinds = BTreeSet::new();
        for other in paths.iter().filter(|other| *other != path && kinds.insert(place(other))) {
            let bytes = origin.get(&Path::from(format!("some/prefix/{other}"))).await.unwrap().bytes().await.unwrap();
            others.push((format!("is {other}"), bytes));
        }
        if let Ok(found) = theirs.get(&location).await {
            others.push(("is that of another store".to_owned(), found.bytes().await.unwrap()));
        }
        for (how, content) in others.into_iter().filter(|(_, content)| *content != present) {
            let replaced = replaced(&origin, &stage, &intact, path, &how, Some(content)).await;
            places.insert(place(path));
            if !replaced.intact {
                unnoticed.push(format!("{}: read as something else, and told {:?}", replaced.what, replaced.told));
            }
            let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
            let matters = !matches!(place(path), "leases" | "commits" | "checkpoints" | "index" | "published");
            let matters = matters && !is_superseded(&origin, path).await;
            if matters && !replaced.told.iter().any(|told| told.contains(name)) {
                unnoticed.push(format!("{}: not named: {:?}", replaced.what, replaced.told));
            }
            replaced.is_written().await;
        }
    }
    assert!(unnoticed.is_empty(), "{} were not noticed:\n{}", unnoticed.len(), unnoticed.join("\n"));
    let expected = [
        "changes",
        "checkpoints",
        "commits",
        "history",
        "index",
        "leases",
        "members.parquet",
        "memberships",
        "overrides",
        "overrides.parquet",
        "published",
    ];
    assert_eq!(places.into_iter().collect::<Vec<_>>(), expected);
}

/// One that refers to no file at all fits in the place of any other of its number, but for what stands before it.
async fn a_commit_of_another_store() {
    let lived = async |member: &'static str| {
        let store = Arc::new(InMemory::new());
        let stage = ObjectStage::new(Arc::clone(&store) as _);
        refresh(&stage, &stage.open(), &[("vip", "h1", &[member])]).await.unwrap();
        for _ in 0..2 {
            let ledger = stage.open();
            let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
            let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
            transaction.note_job(member, stage.clock.at());
            transaction.commit().await.unwrap();
            ledger.release(lease).await.unwrap();
        }
        (store, stage)
    };
    let ((ours, stage), (theirs, _)) = (lived("ann").await, lived("bob").await);
    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!(state.jobs.keys().collect::<Vec<_>>(), ["ann"]);
    for number in [2, 3] {
        let path = format!("log/commits/{number:012}.json");
        let location = Path::from(format!("some/prefix/{path}"));
        let content = theirs.get(&location).await.unwrap().bytes().await.unwrap();
        let replaced =
            replaced(&ours, &stage, &everything(&stage).await.unwrap(), &path, "is of another store", Some(content)).await;
        let told = format!("`{path}` in the store is damaged: it does not follow on the commit before it");
        assert!(replaced.intact && replaced.told[0].starts_with(&told), "{:?}", replaced.told);
    }
}

/// Whether nobody but a slow reader looks into a file any more.
async fn is_superseded(origin: &InMemory, path: &str) -> bool {
    let Some((folder, name)) = path.strip_prefix("log/files/").and_then(|rest| rest.rsplit_once('/')) else { return false };
    let listed = futures::TryStreamExt::try_collect::<Vec<_>>(origin.list(None)).await.unwrap();
    let later = |other: &str| {
        other
            .trim_start_matches("some/prefix/log/files/")
            .rsplit_once('/')
            .is_some_and(|(other, same)| same == name && other > folder)
    };
    listed.iter().any(|meta| meta.location.as_ref().contains("log/files/") && later(meta.location.as_ref()))
}

async fn something_changed_in_every_place() {
    let (origin, stage) = ours().await;
    let intact = everything(&stage).await.unwrap();
    let mut unnoticed = Vec::new();
    let mut damages = 0;
    for path in stage.paths().await {
        let bytes = origin.get(&Path::from(format!("some/prefix/{path}"))).await.unwrap().bytes().await.unwrap();
        let mut contents = vec![("gone".to_owned(), None)];
        for part in 0..4 {
            let at = bytes.len() * part / 4;
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x20;
            contents.push((format!("flipped at {at}"), Some(Bytes::from(flipped))));
            contents.push((format!("cut at {at}"), Some(bytes.slice(..at))));
        }
        contents.push(("longer".to_owned(), Some([&bytes[..], b"\0"].concat().into())));
        for (how, content) in contents {
            let replaced = replaced(&origin, &stage, &intact, &path, &how, content).await;
            damages += 1;
            if !replaced.intact {
                unnoticed.push(format!("{}: read as something else, and told {:?}", replaced.what, replaced.told));
            }
            let is_public = !path.starts_with("log/");
            let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
            if is_public && !replaced.told.iter().any(|told| told.contains(name)) {
                unnoticed.push(format!("{}: not named: {:?}", replaced.what, replaced.told));
            }
            replaced.is_written().await;
        }
    }
    assert!(damages > 200, "only {damages} kinds of damage");
    assert!(unnoticed.is_empty(), "{} were not noticed:\n{}", unnoticed.len(), unnoticed.join("\n"));
}

async fn files_that_nobody_knows_are_let_alone() {
    let (_, stage) = ours().await;
    let intact = everything(&stage).await.unwrap();
    let foreign = [
        "log/commits/notes.txt",
        "log/commits/000000000003.json.bak",
        "log/checkpoints/readme.md",
        "log/index/x.json",
        "log/leases/tenants/demo/who.txt",
        "log/leases/tenants/other/000000000001.json",
        "log/files/demo/notes.txt",
        "log/files/other/000000000001-000000/vip.members.parquet",
        "memberships/demo/notes.txt",
        "overrides/demo/vip.parquet.bak",
        "changes/demo/notes.txt",
        "history/readme.md",
        "state/demo/catalog.json",
        "readme.md",
    ];
    for path in foreign {
        stage.put(path, "somebody's own").await;
    }
    assert_eq!(everything(&stage).await.unwrap(), intact);
    for members in [&["dan", "eve"][..], &["ann"], &["bob"], &["cid"], &["dan"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(3600));
    }
    let faults = stage.open().verify(&tenant()).await.unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    let paths = stage.paths().await;
    let lost: Vec<&str> = foreign.into_iter().filter(|path| !paths.iter().any(|found| found == path)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
