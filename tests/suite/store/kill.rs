//! The real program, killed at random moments of what it does, while its store is slowed down. A longer run is asked for with the
//! environment: `SEGMENTA_TEST_KILLS=200`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Span, Timestamp, ToSpan};
use libtest_mimic::Trial;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segmenta::clock::{Clock, SystemClock};
use segmenta::store::object::{Holder, ObjectLedger, Options, Place};
use segmenta::store::{LeaseScope, Ledger, Past, ReadFilter, RunKind, Transaction};

use super::stage::{lines, run, segment, tenant, within};

/// How often the program is killed, unless this variable says it.
const KILLS: usize = 36;
const KILLS_VARIABLE: &str = "SEGMENTA_TEST_KILLS";

/// The pause before each operation of the store.
const PAUSE: Duration = Duration::from_millis(8);

/// The same while garbage is deleted: many files go at the same time, and it should be seen how some are gone and some are not.
const LONG_PAUSE: Duration = Duration::from_millis(30);

const SEGMENTS: [&str; 4] = ["east", "west", "rich", "none"];

/// The segment that is edited and looked back at.
const EDITED: &str = "east";

/// How many instants of the past one round looks at.
const INSTANTS: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::kill: the program is killed at random moments", || {
        within(killed_at_random_moments());
        Ok(())
    })]
}

/// What the program does when it is killed. The rounds take them in turns.
const WORKS: [Work; 6] = [
    Work { name: "refresh", writes: Writes::Runs(1), pause: PAUSE, prepared: refresh },
    Work { name: "import", writes: Writes::Runs(1), pause: PAUSE, prepared: import },
    Work { name: "backfill", writes: Writes::Runs(INSTANTS as u64), pause: PAUSE, prepared: backfill },
    Work { name: "compact", writes: Writes::Rewrite(Rewritten::FinishedDays), pause: PAUSE, prepared: compact },
    Work { name: "gc", writes: Writes::Deletions, pause: LONG_PAUSE, prepared: gc },
    Work { name: "erase", writes: Writes::Rewrite(Rewritten::Subject), pause: PAUSE, prepared: erase },
];

/// A command, and what comes of it.
struct Work {
    name: &'static str,
    writes: Writes,
    pause: Duration,
    prepared: fn(&Project, &mut ChaCha8Rng, &Kept) -> Prepared,
}

/// How a command changes the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    /// It stages and publishes so many commits.
    Runs(u64),
    /// It stages and publishes one commit, and then deletes what that took the place of.
    Rewrite(Rewritten),
    /// It deletes what nothing refers to, and commits nothing.
    Deletions,
}

/// What a rewrite writes anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewritten {
    /// The changes and the history of finished days.
    FinishedDays,
    /// Whatever a subject stands in.
    Subject,
}

impl Writes {
    fn commits(self) -> u64 {
        match self {
            Self::Runs(commits) => commits,
            Self::Rewrite(_) => 1,
            Self::Deletions => 0,
        }
    }
}

/// A command of one round.
struct Prepared {
    arguments: Vec<String>,
    /// What is kept when all of it was committed.
    after: Kept,
    /// Who is erased.
    erased: Option<String>,
}

impl Prepared {
    fn new(arguments: &[&str], after: Kept) -> Self {
        Self { arguments: arguments.iter().map(|word| (*word).to_owned()).collect(), after, erased: None }
    }
}

/// What the store keeps, and what the tables say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kept {
    members: Members,
    /// Whom the rules give over the present table.
    rules: Members,
    /// Who was added by hand.
    added: BTreeSet<String>,
    /// The figures of the past, by instant.
    past: BTreeMap<String, usize>,
}

impl Kept {
    /// The members of a segment by its rule and by hand.
    fn decided(&self, id: &'static str) -> BTreeSet<String> {
        let added = self.added.iter().filter(|_| id == EDITED).cloned();
        self.rules.get(id).into_iter().flatten().cloned().chain(added).collect()
    }
}

/// Everybody's place may be another by now.
fn refresh(project: &Project, random: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    let mut after = Kept { rules: project.draw(random), ..kept.clone() };
    after.members = SEGMENTS.into_iter().map(|id| (id, after.decided(id))).collect();
    Prepared::new(&["refresh", "--all"], after)
}

/// A file of some subjects is added to a segment.
fn import(project: &Project, random: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    let subjects: BTreeSet<String> = (0..4).map(|_| format!("user-{}", random.random_range(0..40))).collect();
    let list: String = subjects.iter().map(|subject| format!("{subject}\n")).collect();
    std::fs::write(project.path("list.csv"), format!("id\n{list}")).unwrap();
    let mut after = kept.clone();
    after.added.extend(subjects);
    after.members.insert(EDITED, after.decided(EDITED));
    let list = project.path("list.csv");
    Prepared::new(&["override", "add", EDITED, "--file", list.to_str().unwrap()], after)
}

/// Days that nobody looked at yet.
fn backfill(_: &Project, _: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    let first = jiff::civil::date(2020, 1, 1) + i64::try_from(kept.past.len()).unwrap().days();
    let days = (0..INSTANTS).map(|number| format!("{}T00:00:00Z", first + i64::try_from(number).unwrap().days()));
    let mut after = kept.clone();
    let days: Vec<String> = days.collect();
    // Decisions hold since they were made, and the table has always been what it is.
    let count = kept.rules[EDITED].len();
    after.past.extend(days.iter().map(|day| (day.clone(), count)));
    Prepared::new(&["backfill", EDITED, "--from", &days[0], "--to", &days[INSTANTS - 1], "--step", "1d", "--snapshots"], after)
}

/// Finished days become one file each, and changes of long ago go.
fn compact(_: &Project, _: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    Prepared::new(&["compact"], kept.clone())
}

/// Everything goes that nothing refers to.
fn gc(_: &Project, _: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    Prepared::new(&["gc", "--grace", "0"], kept.clone())
}

/// Somebody who is a member of something is erased. The table still has him, and the next refresh brings him back.
fn erase(_: &Project, random: &mut ChaCha8Rng, kept: &Kept) -> Prepared {
    let somebody: Vec<&String> = kept.members.values().flatten().collect();
    let subject = somebody[random.random_range(0..somebody.len())].clone();
    let mut after = kept.clone();
    after.members.values_mut().for_each(|members| {
        members.remove(&subject);
    });
    after.added.remove(&subject);
    Prepared { erased: Some(subject.clone()), ..Prepared::new(&["erase", "--subject", &subject], after) }
}

/// When the program died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeTheFirstWrite,
    WhileStaging,
    WhilePublishing,
    WhileDeleting,
    AfterTheLastWrite,
}

impl Moment {
    /// Whether it lies between the first write, or deletion, and the last.
    fn is_between(self) -> bool {
        match self {
            Self::WhileStaging | Self::WhilePublishing | Self::WhileDeleting => true,
            Self::BeforeTheFirstWrite | Self::AfterTheLastWrite => false,
        }
    }
}

/// The members of every segment.
type Members = BTreeMap<&'static str, BTreeSet<String>>;

/// Every row of the past, in the order in which readers are given it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Records {
    changes: Vec<String>,
    history: Vec<String>,
    /// What the changes of long ago came to that are kept no longer.
    gone: Members,
}

impl Records {
    /// What is read after a command of which so much was committed: everything that was there before, but for what was to go.
    fn followed_by(&self, found: (Vec<String>, Vec<String>), work: &Work, committed: u64, erased: Option<&str>) -> Self {
        let (changes, history) = found;
        let mut gone = self.gone.clone();
        let mut before = self.changes.clone();
        match work.writes {
            Writes::Rewrite(Rewritten::FinishedDays) if committed > 0 => {
                let old = before.len().checked_sub(changes.len()).expect("a compaction added changes");
                before.drain(..old).for_each(|change| replay(&mut gone, &change));
                assert_eq!((&changes, &history), (&before, &self.history), "a compaction changed what is kept");
            }
            Writes::Rewrite(Rewritten::Subject) if committed > 0 => {
                let subject = erased.unwrap();
                before.retain(|change| change.split(' ').nth(2) != Some(subject));
                gone.values_mut().for_each(|members| {
                    members.remove(subject);
                });
                assert_eq!(changes, before, "other changes than those of the subject went");
                assert!(history.len() > self.history.len(), "the history does not tell of the erasure");
            }
            Writes::Runs(_) if committed > 0 => {
                assert!(changes.starts_with(&before), "a run took changes away");
                assert!(history.len() > self.history.len(), "the history does not tell of the run");
            }
            Writes::Runs(_) | Writes::Rewrite(_) | Writes::Deletions => {
                assert_eq!((&changes, &history), (&before, &self.history), "nothing was committed");
            }
        }
        assert!(history.starts_with(&self.history), "history rows went");
        Self { changes, history, gone }
    }

    /// The members that the changes give.
    fn members(&self) -> Members {
        let mut members: Members = SEGMENTS.into_iter().map(|id| (id, BTreeSet::new())).collect();
        members.extend(self.gone.clone());
        self.changes.iter().for_each(|change| replay(&mut members, change));
        members
    }
}

/// Lays a change over members.
fn replay(members: &mut Members, change: &str) {
    let words: Vec<&str> = change.split(' ').collect();
    let id = SEGMENTS.into_iter().find(|id| *id == words[0]).unwrap();
    let (members, subject) = (members.entry(id).or_default(), words[2]);
    match words[1] {
        "enter" => assert!(members.insert(subject.to_owned()), "{subject} entered {id} twice"),
        _ => assert!(members.remove(subject), "{subject} left {id} without being in"),
    }
}

/// A project with a table of users that changes from round to round, and a clock that goes on by itself only when it is told to.
struct Project {
    folder: tempfile::TempDir,
    clock: Cell<Timestamp>,
}

impl Project {
    fn new() -> Self {
        let clock = Cell::new("2026-01-01T12:00:00Z".parse().unwrap());
        let project = Self { folder: tempfile::tempdir().unwrap(), clock };
        std::fs::create_dir(project.path("queries")).unwrap();
        let test = |operator: &str, property: &str, value: &str| {
            format!(r#"{{"type": "user_attribute", "property": "{property}", "operator": "{operator}", "value": {value}}}"#)
        };
        for (id, condition) in SEGMENTS.into_iter().zip([
            test("eq", "region", "\"east\""),
            test("eq", "region", "\"west\""),
            test("gte", "spend", "50"),
            test("gt", "spend", "1000"),
        ]) {
            let definition = format!(r#"{{"id": "{id}", "logic": "and", "conditions": [{condition}]}}"#);
            std::fs::write(project.path(&format!("queries/{id}.json")), definition).unwrap();
        }
        project.pass(0.seconds());
        project
    }

    /// Time passes.
    fn pass(&self, time: Span) {
        self.clock.set(self.clock.get() + time);
        let config = format!(
            "[store]\nurl = \"./out\"\n[[tenants]]\nid = \"demo\"\ndefinitions = [\"queries/\"]\nas_of = \"{}\"\n\
             keep_changes = \"3d\"\nkeep_snapshots = \"2d\"\n\
             [tenants.users]\nsource = \"users.csv\"\nkey = \"id\"\ncolumns = {{ spend = \"integer\" }}\n",
            self.clock.get()
        );
        std::fs::write(self.path("scheduler.toml"), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Draws the users of a round, and says who is in which segment then.
    fn draw(&self, random: &mut ChaCha8Rng) -> Members {
        let mut members: Members = SEGMENTS.into_iter().map(|id| (id, BTreeSet::new())).collect();
        let mut table = "id,region,spend\n".to_owned();
        for number in 0..40 {
            let (id, region, spend) =
                (format!("user-{number}"), if random.random_bool(0.5) { "east" } else { "west" }, random.random_range(0..100));
            writeln!(table, "{id},{region},{spend}").unwrap();
            members.entry(region).or_default().insert(id.clone());
            if spend >= 50 {
                members.entry("rich").or_default().insert(id);
            }
        }
        std::fs::write(self.path("users.csv"), table).unwrap();
        members
    }

    fn start(&self, arguments: &[String], pause: Duration) -> Child {
        Command::new(env!("CARGO_BIN_EXE_segmenta"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("scheduler.toml"))
            .env("SEGMENTA_TEST_STORE_PAUSE", pause.as_millis().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn ledger(&self) -> ObjectLedger {
        let place = Place::open(self.path("out").to_str().unwrap()).unwrap();
        // So few that there are records of commits to be deleted in every round.
        let options = Options { checkpoint_every: 8, ..Options::default() };
        ObjectLedger::new(place, Arc::new(SystemClock::new()), Holder::current("tester"), options)
    }

    /// What a reader finds, with no writer there to put anything in order; it must be whole.
    async fn kept(&self, known: &Kept) -> Kept {
        let ledger = self.ledger();
        let mut kept = Kept { rules: known.rules.clone(), ..Kept::default() };
        let decided = ledger.read_overrides(&tenant(), &ReadFilter::default()).await.unwrap();
        let decided = lines(decided, &["segment_id", "override", "reason", "until", "subject_id"]).await;
        let added = decided.iter().filter_map(|line| line.strip_prefix(&format!("{EDITED} add import null ")));
        kept.added = added.map(str::to_owned).collect();
        let past = ReadFilter { kinds: vec![RunKind::Backfill], ..ReadFilter::default() };
        for line in lines(ledger.read_history(&tenant(), &past).await.unwrap(), &["as_of", "member_count"]).await {
            let (instant, count) = line.split_once(' ').unwrap();
            assert!(kept.past.insert(instant.to_owned(), count.parse().unwrap()).is_none(), "{instant} was recorded twice");
        }
        // A snapshot of the past is there with its figures, or not at all; who was erased since is counted and no longer in it.
        let state = ledger.state(&tenant()).await.unwrap();
        if let Some(edited) = state.segments.get(&segment(EDITED)) {
            for at in ledger.backfilled(&tenant(), &segment(EDITED), &edited.definition.hash).await.unwrap() {
                let Past::Members { rows, .. } = ledger.members_at(&tenant(), &segment(EDITED), at).await.unwrap() else {
                    panic!("there is no snapshot of {at}");
                };
                assert!(lines(rows, &["subject_id"]).await.len() <= kept.past[&at.to_string()], "{at}");
            }
        }
        for id in SEGMENTS {
            let rows = ledger.read_members(&tenant(), &segment(id)).await.unwrap();
            kept.members.insert(id, lines(rows, &["subject_id"]).await.into_iter().collect());
        }
        kept
    }

    /// The changes and the history, as a reader finds them.
    async fn rows(&self) -> (Vec<String>, Vec<String>) {
        let (ledger, every) = (self.ledger(), ReadFilter::default());
        let changes = ["segment_id", "change", "subject_id", "at", "reason", "run_id"];
        let history =
            ["segment_id", "run_id", "kind", "as_of", "evaluation_date", "member_count", "added_count", "removed_count", "status"];
        let changes = lines(ledger.read_changes(&tenant(), &every).await.unwrap(), &changes).await;
        (changes, lines(ledger.read_history(&tenant(), &every).await.unwrap(), &history).await)
    }

    /// What nothing refers to any more, for no reader either.
    async fn waste(&self) -> BTreeSet<String> {
        let garbage = self.ledger().garbage(&tenant(), Duration::ZERO).await.unwrap();
        assert!(garbage.foreign.is_empty(), "{:?}", garbage.foreign);
        garbage.waste.into_iter().map(|waste| waste.path).collect()
    }

    fn gone(&self, paths: &BTreeSet<String>) -> usize {
        paths.iter().filter(|path| !self.path("out").join(path).exists()).count()
    }

    /// The next writer puts things in order; then every law holds, and the public files are those that were committed.
    async fn recover(&self) {
        let ledger = self.ledger();
        let lease = ledger.acquire(&LeaseScope::Tenant(tenant()), Duration::from_secs(10)).await.unwrap();
        let clock: &dyn Clock = &SystemClock::new();
        ledger.begin(&lease, run(clock)).await.unwrap().commit().await.unwrap();
        ledger.release(lease).await.unwrap();
        assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
    }

    fn commits(&self) -> u64 {
        let names = |folder: &Path| {
            std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>())
        };
        let numbers = names(&self.path("out/log/commits")).unwrap_or_default();
        numbers.iter().filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok()).max().unwrap_or(0)
    }

    fn published(&self) -> u64 {
        let text = std::fs::read_to_string(self.path("out/log/published")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Files that the transaction of a run has staged, and their folders.
    fn staged(&self) -> BTreeSet<PathBuf> {
        let folders = std::fs::read_dir(self.path("out/log/files/demo")).into_iter().flatten();
        folders.map(|entry| entry.unwrap().path()).collect()
    }
}

/// What tells how far a command came: what was there before it.
struct Before {
    staged: BTreeSet<PathBuf>,
    commits: u64,
    waste: BTreeSet<String>,
}

impl Before {
    async fn of(project: &Project) -> Self {
        Self { staged: project.staged(), commits: project.commits(), waste: project.waste().await }
    }

    /// Whether something was written, or deleted, since then.
    fn is_over(&self, project: &Project, writes: Writes) -> bool {
        match writes {
            Writes::Runs(_) | Writes::Rewrite(_) => !project.staged().is_subset(&self.staged),
            Writes::Deletions => project.gone(&self.waste) > 0,
        }
    }

    /// When a command died that began after it, and how much of it was committed.
    async fn moment(&self, project: &Project, writes: Writes) -> (Moment, u64) {
        let committed = project.commits() - self.commits;
        let moment = match writes {
            Writes::Deletions => match project.gone(&self.waste) {
                0 => Moment::BeforeTheFirstWrite,
                some if some < self.waste.len() => Moment::WhileDeleting,
                _ => Moment::AfterTheLastWrite,
            },
            Writes::Runs(_) | Writes::Rewrite(_) if committed == 0 && !self.is_over(project, writes) => Moment::BeforeTheFirstWrite,
            Writes::Runs(_) | Writes::Rewrite(_) if committed < writes.commits() => Moment::WhileStaging,
            Writes::Runs(_) | Writes::Rewrite(_) if project.published() < project.commits() => Moment::WhilePublishing,
            // What the rewrite itself made waste goes last.
            Writes::Rewrite(_) if !project.waste().await.is_subset(&self.waste) => Moment::WhileDeleting,
            Writes::Runs(_) | Writes::Rewrite(_) => Moment::AfterTheLastWrite,
        };
        (moment, committed)
    }
}

/// How long a command wrote.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// From the first write, or deletion, on.
    writing: Duration,
    /// From its first commit on.
    publishing: Duration,
}

/// Waits until something is so, or the program ends.
fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    while child.try_wait().unwrap().is_none() && !is_so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets a command end in peace, and says how long it wrote.
async fn in_peace(project: &Project, work: &Work, arguments: &[String], pause: Duration) -> Times {
    let before = Before::of(project).await;
    let mut child = project.start(arguments, pause);
    wait_until(&mut child, || before.is_over(project, work.writes));
    let clock = SystemClock::new();
    let is_committed = || match work.writes {
        Writes::Runs(_) | Writes::Rewrite(_) => project.commits() > before.commits,
        Writes::Deletions => project.gone(&before.waste) == before.waste.len(),
    };
    wait_until(&mut child, is_committed);
    let committed = clock.elapsed();
    let output = child.wait_with_output().unwrap();
    let all = clock.elapsed();
    assert!(output.status.success(), "{}: {}", work.name, String::from_utf8_lossy(&output.stderr));
    match work.writes {
        Writes::Runs(_) | Writes::Rewrite(_) => Times { writing: all, publishing: all - committed },
        Writes::Deletions => {
            assert_eq!(project.gone(&before.waste), before.waste.len(), "garbage stays: {:?}", before.waste);
            Times { writing: committed, publishing: Duration::ZERO }
        }
    }
}

/// Two runs of a day that ends then, so that it has files that can be put together.
async fn busy_day(project: &Project, random: &mut ChaCha8Rng, mut current: Kept) -> Kept {
    for _ in 0..2 {
        project.pass(1.minute());
        let Prepared { arguments, after, .. } = refresh(project, random, &current);
        let output = project.start(&arguments, Duration::ZERO).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        current = after;
    }
    project.pass(24.hours());
    current
}

fn kills() -> usize {
    std::env::var_os(KILLS_VARIABLE).map_or(KILLS, |kills| kills.to_str().unwrap().parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "the histogram is for whoever runs this test alone")]
async fn killed_at_random_moments() {
    let (project, kills) = (Project::new(), kills());
    let mut random = ChaCha8Rng::seed_from_u64(2026);

    // Each command once in peace shows how long its writing takes.
    let mut current = Kept::default();
    let mut times = [Times::default(); WORKS.len()];
    for (work, times) in WORKS.iter().zip(&mut times) {
        (*times, current) = whole(&project, work, &mut random, current).await;
    }

    let mut records = Records::default();
    (records.changes, records.history) = project.rows().await;
    records.gone = beginning(&current.members, &records.changes);
    let mut histograms = [const { BTreeMap::<Moment, usize>::new() }; WORKS.len()];
    for round in 0..kills {
        let turn = round % WORKS.len();
        let (work, times, histogram) = (&WORKS[turn], &mut times[turn], &mut histograms[turn]);
        project.pass(1.minute());
        if work.writes == Writes::Rewrite(Rewritten::FinishedDays) {
            current = busy_day(&project, &mut random, current).await;
            records = records.followed_by(project.rows().await, &WORKS[0], 2, None);
        }
        let Prepared { arguments, after, erased } = (work.prepared)(&project, &mut random, &current);
        let before = Before::of(&project).await;
        let mut child = project.start(&arguments, work.pause);
        // A rewrite reads for long what it writes anew, and deletes within a moment what that takes the place of.
        let aims_at_commit = matches!(work.writes, Writes::Rewrite(_)) && (round / WORKS.len()) % 2 == 1;
        // One in six dies at any time of its life, the others after they began to write.
        if (round / WORKS.len()).is_multiple_of(6) {
            std::thread::sleep(times.writing.mul_f64(random.random_range(0.0..2.0)));
        } else if aims_at_commit {
            wait_until(&mut child, || project.commits() > before.commits);
            std::thread::sleep(times.publishing.mul_f64(random.random_range(0.0..0.9)));
        } else {
            wait_until(&mut child, || before.is_over(&project, work.writes));
            std::thread::sleep(times.writing.mul_f64(random.random_range(0.0..0.9)));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let (moment, committed) = before.moment(&project, work.writes).await;
        *histogram.entry(moment).or_default() += 1;
        // The machine may be faster now than it was in the beginning, or slower.
        let time = if aims_at_commit { &mut times.publishing } else { &mut times.writing };
        match moment {
            Moment::AfterTheLastWrite => *time = time.mul_f64(0.85),
            Moment::WhileStaging => *time = time.mul_f64(1.05),
            Moment::BeforeTheFirstWrite | Moment::WhilePublishing | Moment::WhileDeleting => {}
        }
        let what = format!("round {round}, {}: {moment:?}", work.name);
        let found = project.kept(&after).await;
        assert_eq!(found, expected(&current, &after, committed, work.writes.commits()), "{what}");
        records = records.followed_by(project.rows().await, work, committed, erased.as_deref());
        assert_eq!(found.members, records.members(), "{what}: the changes do not give the members");
        project.recover().await;
        assert_eq!(project.kept(&after).await, found, "{what}: putting things in order changed them");
        assert_eq!(project.rows().await, (records.changes.clone(), records.history.clone()), "{what}: and the rows");
        current = found;
        match work.writes {
            Writes::Runs(commits) if committed > 0 && committed < commits => {
                // What was interrupted goes on where it stopped.
                in_peace(&project, work, &arguments, Duration::ZERO).await;
                current = project.kept(&after).await;
                assert_eq!(current, after, "{what}: it went on");
                records = records.followed_by(project.rows().await, work, commits - committed, None);
            }
            Writes::Deletions => {
                in_peace(&project, work, &arguments, Duration::ZERO).await;
                assert_eq!(project.waste().await, BTreeSet::new(), "{what}: it went on");
            }
            // Readers do not wait for the files that the subject stood in, and they are gone.
            Writes::Rewrite(Rewritten::Subject) if committed > 0 => {
                let waste = project.waste().await;
                assert!(!waste.iter().any(|path| path.starts_with("log/files/")), "{what}: {waste:?}");
            }
            Writes::Runs(_) | Writes::Rewrite(_) => {}
        }
    }
    let mut between = 0;
    for (work, histogram) in WORKS.iter().zip(&histograms) {
        println!("{}: {histogram:?}", work.name);
        let of_it: usize = histogram.iter().filter(|(moment, _)| moment.is_between()).map(|(_, kills)| kills).sum();
        assert!(kills < 5 * WORKS.len() || of_it > 0, "{} was never killed while it wrote: {histogram:?}", work.name);
        between += of_it;
    }
    println!("{between} of {kills} kills between the first write and the last");
    assert!(between * 2 >= kills, "too few kills between the first write and the last: {histograms:?}");

    for work in &WORKS {
        (_, current) = whole(&project, work, &mut random, current).await;
    }
    project.recover().await;
}

/// A command that ends in peace: how long it wrote, and what is kept then.
async fn whole(project: &Project, work: &Work, random: &mut ChaCha8Rng, current: Kept) -> (Times, Kept) {
    let current = match work.writes {
        Writes::Rewrite(Rewritten::FinishedDays) => busy_day(project, random, current).await,
        Writes::Runs(_) | Writes::Rewrite(Rewritten::Subject) | Writes::Deletions => current,
    };
    project.pass(1.minute());
    let Prepared { arguments, after, .. } = (work.prepared)(project, random, &current);
    let times = in_peace(project, work, &arguments, work.pause).await;
    let found = project.kept(&after).await;
    assert_eq!(found, after, "{}", work.name);
    (times, found)
}

/// What members were before changes that came to these.
fn beginning(members: &Members, changes: &[String]) -> Members {
    let mut members = members.clone();
    for change in changes.iter().rev() {
        let words: Vec<&str> = change.split(' ').collect();
        let members = members.get_mut(words[0]).unwrap();
        match words[1] {
            "enter" => members.remove(words[2]),
            _ => members.insert(words[2].to_owned()),
        };
    }
    members
}

/// What is kept after some of the commits of a command: each is there whole, or not at all.
fn expected(before: &Kept, after: &Kept, committed: u64, of: u64) -> Kept {
    if committed == of {
        return after.clone();
    }
    // A command of several commits records instants of the past, one after the other.
    let new = after.past.iter().filter(|(instant, _)| !before.past.contains_key(*instant));
    let new = new.take(usize::try_from(committed).unwrap()).map(|(instant, count)| (instant.clone(), *count));
    let past = before.past.clone().into_iter().chain(new).collect();
    Kept { past, rules: after.rules.clone(), ..before.clone() }
}
