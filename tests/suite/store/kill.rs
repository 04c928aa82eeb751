//! The real program, killed at random moments of a refresh whose store is slowed down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segmenta::clock::{Clock, SystemClock};
use segmenta::store::object::{Holder, ObjectLedger};
use segmenta::store::{LeaseScope, Ledger, ReadFilter, Transaction};

use super::stage::{lines, run, segment, tenant, within};

/// How often the program is killed.
const KILLS: usize = 60;

/// The pause before each operation of the store.
const PAUSE: Duration = Duration::from_millis(8);

const SEGMENTS: [&str; 4] = ["east", "west", "rich", "none"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::kill: the program is killed at random moments", || {
        within(killed_at_random_moments());
        Ok(())
    })]
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

    fn refresh(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_segmenta"))
            .args(["refresh", "--all", "--config"])
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
    async fn members(&self) -> Members {
        let ledger = self.ledger();
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

#[expect(clippy::print_stdout, reason = "the histogram is for whoever runs this test alone")]
async fn killed_at_random_moments() {
    let project = Project::new();
    let mut random = ChaCha8Rng::seed_from_u64(2026);

    // One refresh in peace shows how long the writing takes.
    let mut current = project.draw(&mut random);
    let mut child = project.refresh();
    first_write(&project, &mut child, &BTreeSet::new());
    let clock = SystemClock::new();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut writing = clock.elapsed();
    assert_eq!(project.members().await, current);

    let mut histogram: BTreeMap<Moment, usize> = BTreeMap::new();
    for round in 0..KILLS {
        let next = project.draw(&mut random);
        let (staged, commits) = (project.staged(), project.commits());
        let mut child = project.refresh();
        // One in six dies at any time of its life, the others after they began to write.
        if round % 6 == 0 {
            std::thread::sleep(writing.mul_f64(random.random_range(0.0..2.0)));
        } else {
            first_write(&project, &mut child, &staged);
            std::thread::sleep(writing.mul_f64(random.random_range(0.0..0.9)));
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let moment = match (project.commits() > commits, project.staged().is_subset(&staged)) {
            (false, true) => Moment::BeforeTheFirstWrite,
            (false, false) => Moment::WhileStaging,
            (true, _) if project.published() < project.commits() => Moment::WhilePublishing,
            (true, _) => Moment::AfterTheLastPublish,
        };
        *histogram.entry(moment).or_default() += 1;
        // The machine may be faster now than it was in the beginning, or slower.
        match moment {
            Moment::AfterTheLastPublish => writing = writing.mul_f64(0.85),
            Moment::WhileStaging => writing = writing.mul_f64(1.05),
            Moment::BeforeTheFirstWrite | Moment::WhilePublishing => {}
        }
        let found = project.members().await;
        match moment {
            Moment::BeforeTheFirstWrite | Moment::WhileStaging => assert_eq!(found, current, "round {round}: {moment:?}"),
            Moment::WhilePublishing | Moment::AfterTheLastPublish => assert_eq!(found, next, "round {round}: {moment:?}"),
        }
        project.recover().await;
        assert_eq!(project.members().await, found, "round {round}: putting things in order changed them");
        current = found;
    }
    let between = [Moment::WhileStaging, Moment::WhilePublishing].iter().filter_map(|moment| histogram.get(moment)).sum::<usize>();
    println!("{KILLS} kills: {histogram:?}");
    assert!(between * 2 >= KILLS, "too few kills between the first write and the last publish: {histogram:?}");

    let next = project.draw(&mut random);
    let output = project.refresh().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(project.members().await, next);
    project.recover().await;
}
