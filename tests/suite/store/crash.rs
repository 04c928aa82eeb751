//! A script of several runs, broken off at every single operation of its store: whatever happens, the store is as it was before a run
//! or as it is after it, and the next writer puts everything in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::ToSpan;
use libtest_mimic::Trial;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use segmenta::model::manual::{Origin, Verdict};
use segmenta::store::{
    Basis, ChangeReason, EditAction, Ledger, LedgerError, Outcome, OverrideEdit, Overrides, Past, PastSnapshot, ReadFilter, Run,
    RunKind, StagedSegment, Transaction,
};

use super::faulty::{After, Effect, FaultyStore};
use super::s3::{BUCKET, S3Server};
use super::stage::{
    AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, figures, lines, local, refresh, run, segment, tenant, within, write_scope,
};

/// What befalls an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Fails(Effect, After),
    /// It is done twice.
    Twice,
    /// It waits until the lease is over and somebody else has run; then it is done.
    HeldUp,
    /// The same, and nothing works after it.
    HeldUpAndDead,
    /// There is no room for it, and there may be for smaller ones.
    Full,
}

pub(crate) fn trials() -> Vec<Trial> {
    let faults =
        [(Effect::None, After::Fails), (Effect::Done, After::Fails), (Effect::None, After::Works), (Effect::Done, After::Works)];
    let mut trials: Vec<Trial> = faults
        .into_iter()
        .map(|(effect, after)| trial("memory", effect, after, every_operation::<Memory>(effect, after)))
        .collect();
    trials.push(trial("disk", Effect::Done, After::Fails, every_operation::<Disk>(Effect::Done, After::Fails)));
    let troubles = [
        ("it is done twice", Trouble::Twice),
        ("it comes after the end of the lease and a run of another", Trouble::HeldUp),
        ("it is the last, and comes after the end of the lease and a run of another", Trouble::HeldUpAndDead),
        ("there is no room for it", Trouble::Full),
    ];
    for (name, trouble) in troubles {
        trials.push(named(&format!("memory: {name}"), every_trouble::<Memory>(trouble, ALL, 1)));
    }
    // Of the runs the one in which segments stay, change and go, and of its operations some: each is a request, and takes its time.
    let fails = Trouble::Fails(Effect::Done, After::Works);
    trials.push(named("a server of S3: it is done and reported as failed", every_trouble::<Remote>(fails, 3..4, 7)));
    trials
}

fn trial(place: &str, effect: Effect, after: After, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    named(&format!("{place}: the operation has effect {effect:?}, then everything {after:?}"), test)
}

fn named(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::crash::{name}"), move || {
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

/// What is there after those runs: an import into `a`, what `a` was at an instant of the past, and a run that keeps what was imported.
const DECIDED: [Members; 3] = [
    [("a", Some(&["ann", "cid", "eve"])), ("b", Some(&["ann"])), ("c", Some(&["bob"]))],
    [("a", Some(&["ann", "cid", "eve"])), ("b", Some(&["ann"])), ("c", Some(&["bob"]))],
    [("a", Some(&["cid", "dan"])), ("b", Some(&["ann"])), ("c", Some(&["bob"]))],
];

/// The runs.
const ALL: Range<usize> = 1..SCRIPT.len() + DECIDED.len();

/// The runs that edit, look back, and come after an edit.
const IMPORT: usize = SCRIPT.len();
const BACKFILL: usize = IMPORT + 1;
const AFTER_IMPORT: usize = IMPORT + 2;

/// What a reader meets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    members: BTreeMap<&'static str, Option<Vec<String>>>,
    /// What is decided about whom, in `a`.
    decided: Vec<String>,
    /// For how many instants of the past there are figures.
    past: usize,
    /// Who was in `a` at the instant of the past, where that is known.
    then: Option<Vec<String>>,
}

/// What a reader meets after so many runs.
fn expected(runs: usize) -> Met {
    let members = SCRIPT.iter().chain(&DECIDED).nth(runs).unwrap();
    let members =
        members.iter().map(|(id, members)| (*id, members.map(|members| members.iter().map(|&id| id.to_owned()).collect())));
    let decided = if runs >= IMPORT { vec!["cid add import".to_owned()] } else { Vec::new() };
    let then = (runs >= BACKFILL).then(|| THEN.1.map(str::to_owned).to_vec());
    Met { members: members.collect(), decided, past: usize::from(runs >= BACKFILL), then }
}

async fn met(stage: &ObjectStage) -> Met {
    let ledger = stage.open();
    let state = ledger.state(&tenant()).await.unwrap();
    let mut members = BTreeMap::new();
    for (id, _) in SCRIPT[0] {
        let rows = ledger.read_members(&tenant(), &segment(id)).await.unwrap();
        let found = lines(rows, &["subject_id"]).await;
        members.insert(id, state.segments.contains_key(&segment(id)).then_some(found));
    }
    let rows = ledger.read_overrides(&tenant(), &ReadFilter::default()).await.unwrap();
    let decided = lines(rows, &["subject_id", "override", "reason", "until"]).await;
    let decided = decided.iter().filter_map(|line| line.strip_suffix(" null").map(str::to_owned)).collect();
    let history = ledger.read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    let history = lines(history, &["kind", "as_of"]).await;
    let past: BTreeSet<_> = history.iter().filter(|line| line.starts_with("backfill")).collect();
    let then = match ledger.members_at(&tenant(), &segment("a"), THEN.0.parse().unwrap()).await.unwrap() {
        Past::Members { rows, .. } => Some(lines(rows, &["subject_id"]).await),
        Past::Unknown => None,
    };
    Met { members, decided, past: past.len(), then }
}

/// Goes from one state of the script to the next.
async fn play(stage: &ObjectStage, ledger: &<ObjectStage as Stage>::Ledger, to: usize) -> Result<(), LedgerError> {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let kind = match to {
        IMPORT => RunKind::Manual,
        BACKFILL => RunKind::Backfill,
        _ => RunKind::Run,
    };
    let this_run = Run { kind, ..run(stage.clock()) };
    let overrides = ledger.overrides(&tenant(), this_run.as_of).await?.remove(&segment("a")).unwrap_or_default();
    let as_of = this_run.as_of;
    let this_run = if to == BACKFILL { past(this_run) } else { this_run };
    let mut transaction = ledger.begin(&lease, this_run).await?;
    match to {
        IMPORT => {
            let subjects = BTreeSet::from(["cid".to_owned()]);
            let edit = OverrideEdit { action: EditAction::Decide(Verdict::Add), origin: Origin::Import, subjects };
            let edited = transaction.edit_overrides(&segment("a"), &edit).await?;
            transaction.stage(decided(&["ann", "cid", "eve"], edited.overrides)).await?;
        }
        BACKFILL => {
            transaction.record_past(&segment("a"), figures(2, 2, 0), "h1", Duration::ZERO);
            let (definition_hash, members) = ("h1".to_owned(), local(&THEN.1));
            let overrides = Overrides::default();
            let snapshot = PastSnapshot { segment: segment("a"), definition_hash, members, overrides, follows: None };
            transaction.keep_past(vec![snapshot]).await?;
        }
        AFTER_IMPORT => {
            transaction.stage(decided(&["cid", "dan"], overrides)).await?;
            transaction.note_job("count_sync", as_of);
        }
        _ => {
            for ((id, before), (_, after)) in SCRIPT[to - 1].iter().zip(SCRIPT[to]) {
                match (before, after) {
                    (_, Some(members)) => {
                        transaction.stage(evaluated(id, "h1", local(members), local(&EVERYONE))).await?;
                    }
                    (Some(_), None) => match transaction.stage(deleted(id)).await {
                        // The attempt before this one was committed, although it was told that something failed.
                        Ok(_) | Err(LedgerError::UnknownSegment { .. }) => {}
                        Err(error) => return Err(error),
                    },
                    (None, None) => {}
                }
            }
        }
    }
    transaction.commit().await?;
    // What fails now only makes the next writer wait for the lease to expire.
    ledger.release(lease).await.ok();
    Ok(())
}

/// An instant two days before the first run, and who was in `a` then.
const THEN: (&str, [&str; 2]) = ("2025-12-30T00:00:00Z", ["bob", "eve"]);

/// A run that looks at the instant of the past.
fn past(run: Run) -> Run {
    let as_of = THEN.0.parse().unwrap();
    Run { as_of, evaluation_date: jiff::civil::date(2026, 1, 1) - 2.days(), ..run }
}

fn deleted(id: &str) -> StagedSegment<segmenta::backend::LocalMembers> {
    let outcome = Outcome::Ended { reason: ChangeReason::SegmentDeleted };
    StagedSegment { segment: segment(id), definition: None, outcome, duration: Duration::ZERO, max_change: None }
}

/// The members of `a` that the rule and what people decided give together.
fn decided(
    members: &[&str],
    overrides: Overrides<segmenta::backend::LocalMembers>,
) -> StagedSegment<segmenta::backend::LocalMembers> {
    let outcome = Outcome::Members { members: local(members), universe: local(&EVERYONE), overrides, basis: Basis::Evaluated };
    StagedSegment { outcome, ..evaluated("a", "h1", local(&[]), local(&[])) }
}

/// The members of `a` after the run of another writer, unless something is decided about more.
const ANOTHER: [&str; 2] = ["dan", "eve"];

/// The run of another writer, who waited until the lease was over.
async fn another_runs(stage: ObjectStage) {
    stage.clock.advance(Duration::from_secs(120));
    let ledger = stage.open_as("another@elsewhere pid 2");
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let this_run = run(stage.clock());
    let overrides = ledger.overrides(&tenant(), this_run.as_of).await.unwrap().remove(&segment("a")).unwrap_or_default();
    let members: Vec<&str> = if overrides.is_empty() { ANOTHER.to_vec() } else { [&["cid"][..], &ANOTHER].concat() };
    let mut transaction = ledger.begin(&lease, this_run).await.unwrap();
    transaction.stage(decided(&members, overrides)).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
}

/// What was met, with the members of `a` that the other writer left.
fn as_another_left_it(met: Met) -> Met {
    let by_hand = (!met.decided.is_empty()).then_some("cid");
    let members = by_hand.into_iter().chain(ANOTHER).map(str::to_owned).collect();
    let mut met = met;
    met.members.insert("a", Some(members));
    met
}

/// Which state of the script a reader meets. Panics when it is none of them.
async fn place_in_script(stage: &ObjectStage) -> usize {
    let met = met(stage).await;
    (0..ALL.end).find(|runs| expected(*runs) == met).unwrap_or_else(|| panic!("{met:?} is no state of the script"))
}

/// The changes of every segment, applied one after the other, give the members; also before anybody put things in order.
async fn assert_changes_give_members(stage: &ObjectStage, met: &Met) {
    let rows = stage.open().read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    let mut members = BTreeSet::new();
    for line in lines(rows, &["change", "segment_id", "subject_id"]).await {
        match line.split_once(' ').unwrap() {
            ("enter", member) => assert!(members.insert(member.to_owned()), "{member} entered twice"),
            (_, member) => assert!(members.remove(member), "{member} left without being in"),
        }
    }
    let expected =
        met.members.iter().flat_map(|(id, members)| members.iter().flatten().map(move |member| format!("{id} {member}")));
    assert_eq!(members, expected.collect());
}

/// Breaks every run of the script off at every one of its operations, in copies of the store as the runs before it left it.
async fn every_operation<P: Copies>(effect: Effect, after: After) {
    every_trouble::<P>(Trouble::Fails(effect, after), ALL, 1).await;
}

/// Meets trouble at every operation, or every so many, of some runs of the script, in copies of the store as the runs before them left it.
async fn every_trouble<P: Copies>(trouble: Trouble, runs: Range<usize>, stride: usize) {
    let origin = P::new();
    let healthy = ObjectStage::new(origin.store());
    for to in 1..runs.end {
        let rooms =
            if runs.contains(&to) && trouble == Trouble::Full { rooms(&healthy, &origin.copy(), to).await } else { Vec::new() };
        let mut operations = 0;
        for at in (1..).step_by(stride) {
            if !runs.contains(&to) || (trouble == Trouble::Full && at > rooms.len()) {
                break;
            }
            let copy = origin.copy();
            let room = rooms.get(at - 1).copied();
            let at = at as u64;
            let step = Step { origin: &healthy, to, at, room };
            operations = match trouble {
                Trouble::Fails(effect, after) => step.broken_off(copy.store(), effect, after).await,
                Trouble::Twice => step.twice(copy.store()).await,
                Trouble::HeldUp => step.held_up(copy.store(), After::Works).await,
                Trouble::HeldUpAndDead => step.held_up(copy.store(), After::Fails).await,
                Trouble::Full => step.full(copy.store()).await,
            };
            if operations < at {
                break;
            }
        }
        assert!(!runs.contains(&to) || operations >= 6, "the run {to} has only {operations} operations");
        play(&healthy, &healthy.open(), to).await.unwrap();
    }
}

/// Just too little room for each of the files of a run.
async fn rooms<P: Copies>(origin: &ObjectStage, copy: &P, to: usize) -> Vec<u64> {
    let endless = Arc::new(FaultyStore::full(copy.store(), u64::MAX));
    let stage = ObjectStage { store: Arc::clone(&endless) as _, clock: Arc::clone(&origin.clock), options: origin.options };
    play(&stage, &stage.open(), to).await.unwrap();
    let ends = endless.taken().into_iter().scan(0, |end, size| {
        *end += size;
        Some(*end - 1)
    });
    ends.collect()
}

/// One run of the script in which one operation meets trouble.
struct Step<'a> {
    origin: &'a ObjectStage,
    to: usize,
    at: u64,
    room: Option<u64>,
}

impl Step<'_> {
    fn stage(&self, store: Arc<dyn ObjectStore>) -> ObjectStage {
        ObjectStage { store, clock: Arc::clone(&self.origin.clock), options: self.origin.options }
    }

    fn stages(&self, faulty: &Arc<FaultyStore>, store: Arc<dyn ObjectStore>) -> (ObjectStage, ObjectStage) {
        self.origin.clock.advance(Duration::from_secs(60));
        (self.stage(Arc::clone(faulty) as _), self.stage(store))
    }

    /// One run that is broken off, and what is found and put in order after it. Returns how many operations there were.
    async fn broken_off(&self, store: Arc<dyn ObjectStore>, effect: Effect, after: After) -> u64 {
        let Self { to, at, .. } = *self;
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), at, effect, after));
        let (broken, healed) = self.stages(&faulty, store);
        let ledger = broken.open();
        let done = play(&broken, &ledger, to).await;
        let operations = faulty.operations();
        let mut found = place_in_script(&healed).await;
        match (&done, effect, after) {
            (Ok(()), _, _) => assert_eq!(found, to, "run {to}, operation {at}: it was done"),
            // The record may have been written, and nobody was left to see it.
            (Err(_), Effect::Done, After::Fails) => assert!(found == to || found == to - 1, "run {to}, operation {at}: {found}"),
            (Err(error), _, _) => assert_eq!(found, to - 1, "run {to}, operation {at}: it failed: {error}"),
        }
        assert_changes_give_members(&healed, &expected(found)).await;
        if done.is_err() && after == After::Works {
            // The process goes on: its lease expires, and the run is tried again.
            broken.clock.advance(Duration::from_secs(120));
            play(&broken, &ledger, to).await.unwrap();
            found = to;
        }
        self.put_in_order(&healed, &expected(found)).await;
        operations
    }

    /// One run in which an operation is done twice: nobody can tell.
    async fn twice(&self, store: Arc<dyn ObjectStore>) -> u64 {
        let Self { to, at, .. } = *self;
        let faulty = Arc::new(FaultyStore::twice(Arc::clone(&store), at));
        let (broken, healed) = self.stages(&faulty, store);
        let done = play(&broken, &broken.open(), to).await;
        assert!(done.is_ok(), "run {to}, operation {at}: {done:?}");
        let operations = faulty.operations();
        assert_eq!(met(&healed).await, expected(to), "run {to}, operation {at}");
        assert_changes_give_members(&healed, &expected(to)).await;
        self.put_in_order(&healed, &expected(to)).await;
        operations
    }

    /// One run in which an operation comes after the end of its lease, when another has run.
    async fn held_up(&self, store: Arc<dyn ObjectStore>, after: After) -> u64 {
        let Self { to, at, .. } = *self;
        let meanwhile = another_runs(self.stage(Arc::clone(&store))).boxed();
        let faulty = Arc::new(FaultyStore::held_up(Arc::clone(&store), at, meanwhile, after));
        let (broken, healed) = self.stages(&faulty, store);
        let ledger = broken.open();
        let done = play(&broken, &ledger, to).await;
        let operations = faulty.operations();
        if operations < at {
            return operations;
        }
        let found = met(&healed).await;
        let before = as_another_left_it(expected(to - 1));
        let lawful = match (&done, after) {
            (Ok(()), After::Works | After::Fails) => vec![as_another_left_it(expected(to)), expected(to)],
            (Err(_), After::Works) => vec![before],
            // It may have been written, and nobody was left to see it.
            (Err(_), After::Fails) => vec![before, as_another_left_it(expected(to)), expected(to)],
        };
        assert!(lawful.contains(&found), "run {to}, operation {at}: {done:?} {found:?}");
        assert_changes_give_members(&healed, &found).await;
        if after == After::Works {
            assert_eq!(lawless(&healed.open()).await, Vec::<String>::new(), "run {to}, operation {at}: {done:?}");
            self.put_in_order(&healed, &found).await;
        } else {
            // A copy that came too late is an older file at a public path. Nobody is left who knows; `verify` tells.
            self.put_in_order_but(&healed, &found, Some("memberships/")).await;
        }
        operations
    }

    /// One run that ends when there is no room any more, and is tried again when there is.
    async fn full(&self, store: Arc<dyn ObjectStore>) -> u64 {
        let Self { to, at, .. } = *self;
        let faulty = Arc::new(FaultyStore::full(Arc::clone(&store), self.room.unwrap()));
        let (broken, healed) = self.stages(&faulty, store);
        let ledger = broken.open();
        let done = play(&broken, &ledger, to).await;
        let operations = faulty.operations();
        let found = met(&healed).await;
        match &done {
            Ok(()) => assert_eq!(found, expected(to), "run {to}, file {at}: it was done"),
            Err(error) => {
                assert_eq!(found, expected(to - 1), "run {to}, file {at}: it failed: {error}");
                assert!(chain(error).contains("no space left on device"), "run {to}, file {at}: {error:?}");
            }
        }
        assert_changes_give_members(&healed, &found).await;
        faulty.make_room();
        broken.clock.advance(Duration::from_secs(120));
        play(&broken, &ledger, to).await.unwrap();
        self.put_in_order(&healed, &expected(to)).await;
        operations
    }

    /// The next writer puts everything in order, and the run can be done after it.
    async fn put_in_order(&self, healed: &ObjectStage, found: &Met) {
        self.put_in_order_but(healed, found, None).await;
    }

    /// As [`Self::put_in_order`], where the public files of a folder may be older ones until the next change.
    async fn put_in_order_but(&self, healed: &ObjectStage, found: &Met, stale: Option<&str>) {
        let Self { to, at, .. } = *self;
        let what = format!("run {to}, operation {at}");
        healed.clock.advance(Duration::from_secs(3600));
        let ledger = healed.open();
        refresh(healed, &ledger, &[]).await.unwrap();
        assert_eq!(met(healed).await, *found, "{what}: putting things in order changed them");
        let faults = lawless(&ledger).await;
        let of_stale = |fault: &String| stale.is_some_and(|stale| fault.starts_with(&format!("`{stale}")));
        assert!(faults.iter().all(of_stale), "{what}: {faults:?}");
        assert_eq!(orphans(healed).await, Vec::<String>::new(), "{what}");
        if !faults.is_empty() {
            somebody_else_is_in(healed).await;
            assert_eq!(lawless(&ledger).await, Vec::<String>::new(), "{what}: the next change");
        }
        let members = met(healed).await.members;
        play(healed, &ledger, to).await.unwrap();
        let expected = if to == BACKFILL { Met { members, ..expected(to) } } else { expected(to) };
        assert_eq!(met(healed).await, expected, "{what}");
    }
}

/// Which laws do not hold.
async fn lawless(ledger: &<ObjectStage as Stage>::Ledger) -> Vec<String> {
    ledger.verify(&tenant()).await.unwrap().iter().map(ToString::to_string).collect()
}

/// A run in which other members than ever are in `a`.
async fn somebody_else_is_in(stage: &ObjectStage) {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let this_run = run(stage.clock());
    let overrides = ledger.overrides(&tenant(), this_run.as_of).await.unwrap().remove(&segment("a")).unwrap_or_default();
    let members: &[&str] = if overrides.is_empty() { &["Ünal 🦊"] } else { &["cid", "Ünal 🦊"] };
    let mut transaction = ledger.begin(&lease, this_run).await.unwrap();
    transaction.stage(decided(members, overrides)).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
}

/// An error with everything below it.
fn chain(error: &LedgerError) -> String {
    let mut error: Option<&dyn std::error::Error> = Some(error);
    let mut text = String::new();
    while let Some(one) = error {
        text.push_str(&format!("{one}; "));
        error = one.source();
    }
    text
}

/// Immutable files that nothing refers to: besides the snapshots and what is decided, which `verify` looks at, only superseded ones may
/// be there.
async fn orphans(stage: &ObjectStage) -> Vec<String> {
    let is_known = |path: &String| path.ends_with(".members.parquet") || path.ends_with(".overrides.parquet");
    stage.paths().await.into_iter().filter(|path| path.contains("log/files/") && !is_known(path)).collect()
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

/// The bucket of a server.
struct Remote(S3Server);

impl Copies for Remote {
    fn new() -> Self {
        Self(S3Server::new())
    }

    fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(&self.0.folder().join(BUCKET), &folder.path().join(BUCKET));
        Self(S3Server::over(folder))
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.0.store()
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
