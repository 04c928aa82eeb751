//! The real program, killed at random moments of what it does, while its store is slowed down. A longer run is asked for with the
//! environment: `SEGMENTA_TEST_KILLS=200`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::ToSpan;
use libtest_mimic::Trial;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segmenta::clock::{Clock, SystemClock};
use segmenta::store::object::{Holder, ObjectLedger};
use segmenta::store::{LeaseScope, Ledger, ReadFilter, RunKind, Transaction};

use super::stage::{lines, run, segment, tenant, within};

/// How often the program is killed, unless this variable says it.
const KILLS: usize = 60;
const KILLS_VARIABLE: &str = "SEGMENTA_TEST_KILLS";

/// The pause before each operation of the store.
const PAUSE: Duration = Duration::from_millis(8);

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
const WORKS: [Work; 3] = [
    Work { name: "refresh", commits: 1, prepared: refresh },
    Work { name: "import", commits: 1, prepared: import },
    Work { name: "backfill", commits: INSTANTS as u64, prepared: backfill },
];

/// A command, and what comes of it.
struct Work {
    name: &'static str,
    /// How many commits it makes.
    commits: u64,
    prepared: fn(&Project, &mut ChaCha8Rng, &Kept) -> Prepared,
}

/// A command of one round.
struct Prepared {
    arguments: Vec<String>,
    /// What is kept when all of it was committed.
    after: Kept,
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
    Prepared { arguments: words(&["refresh", "--all"]), after }
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
    Prepared { arguments: words(&["override", "add", EDITED, "--file", list.to_str().unwrap()]), after }
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
    let arguments = words(&["backfill", EDITED, "--from", &days[0], "--to", &days[INSTANTS - 1], "--step", "1d"]);
    Prepared { arguments, after }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// When the program died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeTheFirstWrite,
    WhileStaging,
    WhilePublishing,
    AfterTheLastPublish,
}

/// The members of every segment.
type Members = BTreeMap<&'static str, BTreeSet<String>>;

/// A project with a table of users that changes from round to round.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
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
        let config = "[store]\nurl = \"./out\"\n[[tenants]]\nid = \"demo\"\ndefinitions = [\"queries/\"]\n\
                      [tenants.users]\nsource = \"users.csv\"\nkey = \"id\"\ncolumns = { spend = \"integer\" }\n";
        std::fs::write(project.path("scheduler.toml"), config).unwrap();
        project
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

    fn start(&self, arguments: &[String]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_segmenta"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("scheduler.toml"))
            .env("SEGMENTA_TEST_STORE_PAUSE", PAUSE.as_millis().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn ledger(&self) -> ObjectLedger {
        let location = self.path("out");
        ObjectLedger::open(location.to_str().unwrap(), std::sync::Arc::new(SystemClock::new()), Holder::current("tester")).unwrap()
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
        kept.members = self.members(&ledger).await;
        kept
    }

    async fn members(&self, ledger: &ObjectLedger) -> Members {
        let mut members = Members::new();
        let mut replayed: Members = SEGMENTS.into_iter().map(|id| (id, BTreeSet::new())).collect();
        for id in SEGMENTS {
            let rows = ledger.read_members(&tenant(), &segment(id)).await.unwrap();
            members.insert(id, lines(rows, &["subject_id"]).await.into_iter().collect());
            let filter = ReadFilter { segments: vec![segment(id)], ..ReadFilter::default() };
            for line in lines(ledger.read_changes(&tenant(), &filter).await.unwrap(), &["change", "subject_id"]).await {
                let replayed = replayed.entry(id).or_default();
                match line.split_once(' ').unwrap() {
                    ("enter", subject) => assert!(replayed.insert(subject.to_owned()), "{subject} entered twice"),
                    (_, subject) => assert!(replayed.remove(subject), "{subject} left without being in"),
                }
            }
        }
        assert_eq!(members, replayed, "the changes do not give the members");
        members
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

/// Waits until the program writes, or ends.
fn first_write(project: &Project, child: &mut Child, before: &BTreeSet<PathBuf>) {
    while child.try_wait().unwrap().is_none() && project.staged().is_subset(before) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets a command end in peace, and says how long it wrote.
fn in_peace(project: &Project, arguments: &[String]) -> Duration {
    let before = project.staged();
    let mut child = project.start(arguments);
    first_write(project, &mut child, &before);
    let clock = SystemClock::new();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    clock.elapsed()
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
    let mut writing = [Duration::ZERO; WORKS.len()];
    for (work, writing) in WORKS.iter().zip(&mut writing) {
        let Prepared { arguments, after } = (work.prepared)(&project, &mut random, &current);
        *writing = in_peace(&project, &arguments);
        current = project.kept(&after).await;
        assert_eq!(current, after, "{}", work.name);
    }

    let mut histograms = [const { BTreeMap::<Moment, usize>::new() }; WORKS.len()];
    for round in 0..kills {
        let turn = round % WORKS.len();
        let (work, writing, histogram) = (&WORKS[turn], &mut writing[turn], &mut histograms[turn]);
        let Prepared { arguments, after } = (work.prepared)(&project, &mut random, &current);
        let (staged, commits) = (project.staged(), project.commits());
        let mut child = project.start(&arguments);
        // One in six dies at any time of its life, the others after they began to write.
        if (round / WORKS.len()).is_multiple_of(6) {
            std::thread::sleep(writing.mul_f64(random.random_range(0.0..2.0)));
        } else {
            first_write(&project, &mut child, &staged);
            std::thread::sleep(writing.mul_f64(random.random_range(0.0..0.9)));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let committed = project.commits() - commits;
        let moment = match committed {
            0 if project.staged().is_subset(&staged) => Moment::BeforeTheFirstWrite,
            committed if committed < work.commits => Moment::WhileStaging,
            _ if project.published() < project.commits() => Moment::WhilePublishing,
            _ => Moment::AfterTheLastPublish,
        };
        *histogram.entry(moment).or_default() += 1;
        // The machine may be faster now than it was in the beginning, or slower.
        match moment {
            Moment::AfterTheLastPublish => *writing = writing.mul_f64(0.85),
            Moment::WhileStaging => *writing = writing.mul_f64(1.05),
            Moment::BeforeTheFirstWrite | Moment::WhilePublishing => {}
        }
        let what = format!("round {round}, {}: {moment:?}", work.name);
        let found = project.kept(&after).await;
        assert_eq!(found, expected(&current, &after, committed, work.commits), "{what}");
        project.recover().await;
        assert_eq!(project.kept(&after).await, found, "{what}: putting things in order changed them");
        current = found;
        if committed > 0 && committed < work.commits {
            // What was interrupted goes on where it stopped.
            in_peace(&project, &arguments);
            current = project.kept(&after).await;
            assert_eq!(current, after, "{what}: it went on");
        }
    }
    let mut between = 0;
    for (work, histogram) in WORKS.iter().zip(&histograms) {
        println!("{}: {histogram:?}", work.name);
        between += [Moment::WhileStaging, Moment::WhilePublishing].iter().filter_map(|moment| histogram.get(moment)).sum::<usize>();
    }
    println!("{between} of {kills} kills between the first write and the last publish");
    assert!(between * 2 >= kills, "too few kills between the first write and the last publish: {histograms:?}");

    for work in &WORKS {
        let Prepared { arguments, after } = (work.prepared)(&project, &mut random, &current);
        in_peace(&project, &arguments);
        current = project.kept(&after).await;
        assert_eq!(current, after, "{}", work.name);
    }
    project.recover().await;
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
