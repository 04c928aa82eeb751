//! The ledger of ClickHouse: what its contract does not say, because it is of its place.

use std::cmp;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::TryStreamExt as _;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use segmenta::backend::MemberSet as _;
use segmenta::backend::clickhouse::{EVALUATIONS, Evaluations, Kept, MEMBERS, RemoteMembers, RemoteSets};
use segmenta::backend::sets::Sets as _;
use segmenta::clickhouse::{Connection, Settings, Statement, Value};
use segmenta::clock::Clock as _;
use segmenta::model::catalog::Catalog;
use segmenta::model::scoring::Score;
use segmenta::store::clickhouse::{ClickHouseLedger, Holder, Layout, LeaseTiming, Options, Replication, Times, ddl};
use segmenta::store::object::{Place, PublicFiles};
use segmenta::store::{
    ChangeReason, CompactRequest, Fault, Horizon, Horizons, LeaseScope, Ledger, LedgerError, Outcome, ReadFilter, Remedy,
    Retention, StagedSegment, Transaction,
};
use uuid::Uuid;

use super::proxy::{Fate, Proxy};
use super::stage::{
    AT_ONCE, EVERYONE, ManualClock, Stage, evaluated, figures, lines, refresh, run, segment, tenant, within, write_scope,
};
use super::upkeep;
use crate::clickhouse::{Server, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        of_stage("of two who claim a lease one gets it", |stage| within(of_two_who_claim_a_lease_one_gets_it(stage))),
        of_stage("a commit that is fenced off at the last moment leaves nothing", |stage| {
            within(a_commit_that_is_fenced_off_at_the_last_moment(stage));
        }),
        of_stage("a commit whose answer is lost is found", |stage| within(a_commit_whose_answer_is_lost_is_found(stage))),
        of_stage("of two runs under one lease the first to commit counts", |stage| within(of_two_runs_under_one_lease(stage))),
        of_stage("a run that died at any moment is all there or not at all", |stage| {
            within(a_run_that_died_at_any_moment(stage));
        }),
        of_stage("what a dead run wrote is deleted", |stage| within(what_a_dead_run_wrote_is_deleted(stage))),
        of_stage("one call stages whatever came of segments", |stage| within(one_call_stages_whatever_came(stage))),
        of_stage("a lease that is renewed is not over", |stage| within(a_lease_that_is_renewed_is_not_over(stage))),
        of_stage("ids are any text", |stage| within(ids_are_any_text(stage))),
        of_stage("scores are kept as they are shown", |stage| within(scores_are_kept_as_they_are_shown(stage))),
        of_stage("members stay on the server", |stage| within(members_stay_on_the_server(stage))),
        of_stage("what nobody needs is deleted", |stage| within(what_nobody_needs_is_deleted(stage))),
        of_stage("a compaction that died at any moment is finished by the next", |stage| {
            within(a_compaction_that_died_at_any_moment(stage));
        }),
        of_stage("files follow what is let go of, and are put right", |stage| within(files_follow_and_are_put_right(stage))),
        of_stage("what is lost in the tables is rebuilt where it can be", |stage| within(what_is_lost_is_rebuilt(stage))),
        of_stage("tables are created once", |stage| within(tables_are_created_once(stage))),
        of_stage("a store without tables says so", |stage| within(a_store_without_tables_says_so(stage))),
        of_stage("the catalog is kept", |stage| within(the_catalog_is_kept(stage))),
        Trial::test("store::clickhouse: tables of a cluster are copied", || {
            tables_of_a_cluster_are_copied();
            Ok(())
        }),
    ]
}

fn of_stage(name: &str, test: impl FnOnce(&mut ClickHouseStage) + Send + 'static) -> Trial {
    trial(format!("store::clickhouse: {name}"), move |server| {
        test(&mut ClickHouseStage::new(server)?);
        Ok(())
    })
}

/// A database of a server, with the tables of a store.
pub(crate) struct ClickHouseStage {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) options: Options,
    is_engine: bool,
    /// What a backend would use.
    pub(crate) connection: Connection,
}

impl ClickHouseStage {
    pub(crate) fn new(server: &Server) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let settings = server.database(&runtime)?;
        let setup = Connection::new(settings.clone(), Uuid::nil());
        for statement in ddl(&Layout { database: settings.database.clone(), ..Layout::default() }) {
            runtime.block_on(setup.execute(Statement::new(statement))).map_err(|error| format!("{error:?}"))?;
        }
        let leases = LeaseTiming { poll: Duration::from_millis(5), ..LeaseTiming::default() };
        let options = Options { leases, times: Times::Clock, ..Options::default() };
        // A connection of its own: that of the preparations belongs to a runtime that ends here.
        let connection = Connection::new(settings.clone(), Uuid::nil());
        Ok(Self { settings, clock: ManualClock::new(), options, is_engine: server.is_engine, connection })
    }

    pub(crate) fn open_as(&self, holder: &str) -> ClickHouseLedger {
        let connection = Connection::new(self.settings.clone(), Uuid::nil());
        ClickHouseLedger::with_options(&connection, Arc::clone(&self.clock) as _, Holder::named(holder), self.options)
    }
}

impl Stage for ClickHouseStage {
    type Ledger = ClickHouseLedger;

    fn open(&self) -> ClickHouseLedger {
        self.open_as("tester@here pid 1")
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn members(&self, ids: &[&str]) -> RemoteMembers {
        if ids.is_empty() {
            return RemoteMembers::new(Kept::Nobody, 0);
        }
        let evaluation = Uuid::now_v7();
        let text = format!(
            "INSERT INTO {EVALUATIONS} (evaluation, output, subject_id) SELECT {{evaluation:UUID}}, 3, arrayJoin({{ids:Array(String)}})"
        );
        let rows = Statement::new(text).bind("evaluation", "UUID", Value::Text(evaluation.to_string()));
        self.connection.execute_once(rows.texts("ids", ids.iter().copied())).await.unwrap();
        RemoteMembers::new(Kept::Evaluated { evaluation, output: 3 }, ids.len() as u64)
    }

    async fn ids(&self, members: &RemoteMembers) -> Vec<String> {
        let asked = match members.kept() {
            Kept::Nobody => return Vec::new(),
            Kept::Evaluated { evaluation, output } => {
                let text =
                    format!("SELECT subject_id FROM {EVALUATIONS} WHERE evaluation = {{id:UUID}} AND output = {{output:UInt32}}");
                Statement::new(text).bind("id", "UUID", Value::Text(evaluation.to_string())).number("output", "UInt32", output)
            }
            Kept::Decided { .. } => {
                let sets = RemoteSets::new(self.connection.clone(), Evaluations::default());
                let mut ids: Vec<String> =
                    sets.sample(members, None).await.unwrap().into_iter().map(|(subject, _)| subject).collect();
                ids.sort();
                return ids;
            }
            Kept::Stored { tenant, segment, run_id } => {
                let text = format!(
                    "SELECT subject_id FROM {MEMBERS} WHERE run_id = {{id:UUID}} AND tenant = {{tenant:String}} AND segment_id = {{segment:String}}"
                );
                let statement = Statement::new(text).bind("id", "UUID", Value::Text(run_id.to_string()));
                statement.text("tenant", tenant.as_str()).text("segment", segment.as_str())
            }
        };
        let mut ids: Vec<String> =
            self.connection.rows::<(String,)>(asked).await.unwrap().rows.into_iter().map(|(id,)| id).collect();
        assert_eq!(ids.len() as u64, members.count());
        ids.sort();
        ids
    }
}

impl ClickHouseStage {
    /// The first column of a query of ours.
    async fn column(&self, query: &str) -> Vec<String> {
        let rows = self.connection.rows::<(String,)>(Statement::new(query)).await.unwrap().rows;
        rows.into_iter().map(|(value,)| value).collect()
    }

    async fn count(&self, query: &str) -> u64 {
        self.connection.row::<(u64,)>(Statement::new(query)).await.unwrap().0
    }

    /// Members with scores in billionths.
    async fn scored(&self, scores: &[(&str, u32)]) -> RemoteMembers {
        let evaluation = Uuid::now_v7();
        let text = format!(
            "INSERT INTO {EVALUATIONS} (evaluation, output, subject_id, score) SELECT {{evaluation:UUID}}, 0, tupleElement(row, 1), \
             tupleElement(row, 2) FROM (SELECT arrayJoin(arrayZip({{ids:Array(String)}}, {{scores:Array(Int64)}})) AS row)"
        );
        let rows = Statement::new(text)
            .bind("evaluation", "UUID", Value::Text(evaluation.to_string()))
            .texts("ids", scores.iter().map(|(id, _)| *id))
            .bind("scores", "Array(Int64)", Value::Integers(scores.iter().map(|(_, score)| i64::from(*score)).collect()));
        self.connection.execute_once(rows).await.unwrap();
        RemoteMembers::new(Kept::Evaluated { evaluation, output: 0 }, scores.len() as u64)
    }

    /// What analysts see of the members of `vip`.
    async fn shown(&self) -> Vec<String> {
        self.column("SELECT subject_id FROM segment_memberships WHERE tenant = 'demo' AND segment_id = 'vip' ORDER BY subject_id")
            .await
    }

    async fn assert_lawful(&self) {
        assert_eq!(self.open().verify(&tenant()).await.unwrap(), []);
    }
}

async fn of_two_who_claim_a_lease_one_gets_it(stage: &mut ClickHouseStage) {
    for number in 0..25 {
        let scope = LeaseScope::Tenant(format!("t{number}").parse().unwrap());
        let (one, other) = (stage.open_as("one"), stage.open_as("other"));
        let (one, other) = tokio::join!(one.acquire(&scope, AT_ONCE), other.acquire(&scope, AT_ONCE));
        match (one, other) {
            (Ok(lease), Err(LedgerError::Held { holder, .. })) if holder == "one" => assert_eq!(lease.number, 1),
            (Err(LedgerError::Held { holder, .. }), Ok(lease)) if holder == "other" => assert_eq!(lease.number, 1),
            both => panic!("{both:?}"),
        }
    }
}

/// The lease is lost after the writer made sure of it for the last time.
async fn a_commit_that_is_fenced_off_at_the_last_moment(stage: &mut ClickHouseStage) {
    refresh(stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    let claims = Connection::new(stage.settings.clone(), Uuid::nil());
    let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, goes_on) = mpsc::channel();
    let goes_on = Mutex::new(goes_on);
    let proxy = Proxy::start(&stage.settings.url, move |request| {
        if request.contains("segmenta_log") && request.contains("ArrowStream") {
            reached.send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
        }
        Fate::Answered
    });
    let slow = ClickHouseLedger::with_options(
        &Connection::new(Settings { url: proxy.url(), ..stage.settings.clone() }, Uuid::nil()),
        Arc::clone(&stage.clock) as _,
        Holder::named("slow"),
        stage.options,
    );
    let lease = slow.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = slow.begin(&lease, run(stage.clock())).await.unwrap();
    let (bob, everyone) = (stage.members(&["bob"]).await, stage.members(&EVERYONE).await);
    transaction.stage(evaluated("vip", "h1", bob, everyone)).await.unwrap();
    let meanwhile = async {
        is_reached.recv().await.unwrap();
        let claim = format!(
            "INSERT INTO segmenta_log (tenant, kind, lease, process, at) VALUES ('demo', 'claim', {}, 'null', '2026-01-01 00:00:00')",
            lease.number + 1
        );
        claims.execute_once(Statement::new(claim)).await.unwrap();
        go_on.send(()).unwrap();
    };
    let (refused, ()) = tokio::join!(transaction.commit(), meanwhile);
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    assert_eq!(stage.shown().await, ["ann"]);
    assert_eq!(stage.count("SELECT count() FROM segment_changes").await, 1);
    assert_eq!(stage.count("SELECT count() FROM segment_history").await, 1);
    assert_eq!(stage.count("SELECT count() FROM segmenta_changes").await, 3, "they are there, and nobody sees them");
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id"]).await, ["ann"]);
    stage.assert_lawful().await;
    drop(lease);

    stage.clock.advance(Duration::from_secs(120));
    assert_eq!(refresh(stage, &stage.open(), &[("vip", "h1", &["cid"])]).await.unwrap(), [figures(1, 1, 1)]);
    assert_eq!(stage.count("SELECT count() FROM segmenta_changes").await, 3, "what was not committed is gone");
    stage.assert_lawful().await;
}

async fn a_commit_whose_answer_is_lost_is_found(stage: &mut ClickHouseStage) {
    let lost = AtomicUsize::new(0);
    let proxy = Proxy::start(&stage.settings.url, move |request| {
        let commits = request.contains("segmenta_log") && request.contains("ArrowStream");
        if commits && lost.fetch_add(1, Ordering::SeqCst) == 0 { Fate::Unanswered } else { Fate::Answered }
    });
    let connection = Connection::new(Settings { url: proxy.url(), ..stage.settings.clone() }, Uuid::nil());
    let ledger = ClickHouseLedger::with_options(&connection, Arc::clone(&stage.clock) as _, Holder::named("tester"), stage.options);
    assert_eq!(refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap(), [figures(1, 1, 0)]);
    assert_eq!(stage.shown().await, ["ann"]);
    assert_eq!(stage.count("SELECT count() FROM segmenta_log WHERE kind = 'commit'").await, 1);
    stage.assert_lawful().await;
}

async fn of_two_runs_under_one_lease(stage: &mut ClickHouseStage) {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transactions = Vec::new();
    for id in ["ann", "bob"] {
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        let (members, everyone) = (stage.members(&[id]).await, stage.members(&EVERYONE).await);
        transaction.stage(evaluated("vip", "h1", members, everyone)).await.unwrap();
        transactions.push(transaction);
    }
    let (first, second) = (transactions.remove(0), transactions.remove(0));
    second.commit().await.unwrap();
    let refused = first.commit().await;
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    ledger.release(lease).await.unwrap();
    assert_eq!(stage.shown().await, ["bob"]);
    stage.assert_lawful().await;
    refresh(stage, &ledger, &[("vip", "h1", &["bob"])]).await.unwrap();
    assert_eq!(stage.count("SELECT count() FROM segmenta_changes").await, 1, "what the void one wrote is gone");
}

/// The connection of a run breaks at one statement after the other, before or after the server did it.
async fn a_run_that_died_at_any_moment(stage: &mut ClickHouseStage) {
    stage.settings.retries = 0;
    stage.options.grace = Duration::ZERO;
    let mut before: Vec<&str> = vec!["ann", "bob"];
    let after = [["bob", "cid"], ["ann", "bob"]];
    refresh(stage, &stage.open(), &[("vip", "h1", &before)]).await.unwrap();
    let (mut number, mut committed, mut lost) = (0, 0, 0);
    loop {
        let fate = if number % 2 == 0 { Fate::Unheard } else { Fate::Unanswered };
        let seen = AtomicUsize::new(0);
        let dies_at = number / 2;
        let proxy = Proxy::start(&stage.settings.url, move |request| {
            // That a query is stopped which nobody waits for is no step of the run.
            if request.contains("KILL") {
                return Fate::Unheard;
            }
            match seen.fetch_add(1, Ordering::SeqCst).cmp(&dies_at) {
                cmp::Ordering::Less => Fate::Answered,
                cmp::Ordering::Equal => fate,
                cmp::Ordering::Greater => Fate::Unheard,
            }
        });
        let wanted = after[committed % 2];
        let dying = ClickHouseLedger::with_options(
            &Connection::new(Settings { url: proxy.url(), ..stage.settings.clone() }, Uuid::nil()),
            Arc::clone(&stage.clock) as _,
            Holder::named("dying"),
            stage.options,
        );
        let played = refresh(stage, &dying, &[("vip", "h1", &wanted), ("new", "h1", &wanted)]).await;
        stage.clock.advance(Duration::from_secs(120));
        let shown = stage.shown().await;
        if shown == wanted {
            committed += 1;
            before = wanted.to_vec();
        } else {
            lost += 1;
        }
        assert_eq!(shown, before, "after statement {dies_at}, {fate:?}: {played:?}");
        let changes =
            stage.count("SELECT toUInt64(sum(if(change = 'enter', 1, -1))) FROM segment_changes WHERE segment_id = 'vip'").await;
        assert_eq!(changes, 2, "after statement {dies_at}, {fate:?}");
        stage.assert_lawful().await;
        if played.is_ok() {
            break;
        }
        number += 1;
    }
    assert!(lost > 20 && committed > 1, "{lost} runs were lost, and {committed} committed");
    refresh(stage, &stage.open(), &[("vip", "h1", &["dan"])]).await.unwrap();
    let runs = "SELECT count() FROM segmenta_changes WHERE run_id NOT IN (SELECT run_id FROM segmenta_log WHERE kind = 'commit')";
    assert_eq!(stage.count(runs).await, 0);
    stage.assert_lawful().await;
}

async fn what_a_dead_run_wrote_is_deleted(stage: &mut ClickHouseStage) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let (members, everyone) = (stage.members(&["ann", "bob", "cid"]).await, stage.members(&EVERYONE).await);
    transaction.stage(evaluated("vip", "h1", members, everyone)).await.unwrap();
    drop((transaction, lease));
    assert_eq!(stage.count(&format!("SELECT count() FROM {MEMBERS}")).await, 4);
    assert_eq!(stage.count("SELECT count() FROM segmenta_changes").await, 3);
    assert_eq!(stage.shown().await, ["ann"]);
    assert_eq!(stage.column("SELECT subject_id FROM segment_changes").await, ["ann"]);

    stage.clock.advance(Duration::from_secs(120));
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    assert_eq!(stage.count(&format!("SELECT count() FROM {MEMBERS}")).await, 1);
    assert_eq!(stage.count("SELECT count() FROM segmenta_changes").await, 1);
    assert_eq!(stage.count("SELECT count() FROM segmenta_log WHERE kind = 'abandoned'").await, 1);
    stage.assert_lawful().await;
}

/// Some segments are compared together, and some by themselves.
async fn one_call_stages_whatever_came(stage: &mut ClickHouseStage) {
    stage.options.window_rows = 6;
    let ledger = stage.open();
    let all: [&str; 3] = ["ann", "bob", "cid"];
    refresh(stage, &ledger, &[("old", "h1", &all), ("bad", "h1", &all), ("vip", "h1", &all), ("lost", "h1", &all)]).await.unwrap();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let stored = ledger.stored(&tenant(), &segment("vip")).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let (members, universe) = (stage.members(&["ann", "dan"]).await, stage.members(&["ann", "bob", "dan"]).await);
    let outcome = |id: &str, outcome| StagedSegment {
        outcome,
        definition: None,
        segment: segment(id),
        duration: Duration::ZERO,
        max_change: None,
    };
    let nobody = RemoteMembers::new(Kept::Nobody, 0);
    let segments = vec![
        evaluated("vip", "h1", members, universe.clone()),
        outcome("old", Outcome::Ended { reason: ChangeReason::Archived }),
        outcome("lost", Outcome::Failed { error: "its column is gone".to_owned() }),
        evaluated("none", "h1", nobody.clone(), nobody),
        outcome("bad", Outcome::Ended { reason: ChangeReason::SegmentDeleted }),
        // What was stored before the run, as a segment that refers to another has it.
        evaluated("copy", "h1", stored, universe),
    ];
    let begun = Mutex::new(Vec::new());
    let staged = transaction.stage_all(segments, &|number| begun.lock().unwrap().push(number)).await.unwrap();
    let found: Vec<_> = staged.iter().map(|staged| staged.figures).collect();
    let expected = [figures(2, 1, 2), figures(0, 0, 3), figures(3, 0, 0), figures(0, 0, 0), figures(0, 0, 3), figures(3, 3, 0)];
    assert_eq!(found, expected);
    assert_eq!(*begun.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    let changes = ledger.read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(changes, &["segment_id", "subject_id", "change", "reason"]).await[12..],
        [
            "vip bob exit rule_ended",
            "vip cid exit left_universe",
            "vip dan enter rule_match",
            "old ann exit archived",
            "old bob exit archived",
            "old cid exit archived",
            "bad ann exit segment_deleted",
            "bad bob exit segment_deleted",
            "bad cid exit segment_deleted",
            "copy ann enter initial",
            "copy bob enter initial",
            "copy cid enter initial",
        ]
    );
    let states = stage.open().state(&tenant()).await.unwrap().segments;
    assert_eq!(states.keys().map(ToString::to_string).collect::<Vec<_>>(), ["copy", "lost", "none", "old", "vip"]);
    assert_eq!(
        stage.column("SELECT DISTINCT segment_id FROM segment_memberships ORDER BY segment_id").await,
        ["copy", "lost", "vip"]
    );
    stage.assert_lawful().await;

    // A set that is not what its count says is no set to compare with.
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let gone = RemoteMembers::new(Kept::Evaluated { evaluation: Uuid::now_v7(), output: 0 }, 2);
    let refused = transaction.stage(evaluated("vip", "h1", gone.clone(), gone)).await;
    assert!(matches!(refused, Err(LedgerError::Corrupt { .. })), "{refused:?}");
    assert!(transaction.commit().await.is_err(), "a run that failed midway cannot be committed");
    assert_eq!(stage.shown().await, ["ann", "dan"]);
}

async fn a_lease_that_is_renewed_is_not_over(stage: &mut ClickHouseStage) {
    stage.options.leases.renewal = Duration::from_millis(1);
    let lease = stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap();
    let waiter = stage.open_as("waiter@here pid 2");
    let scope = write_scope();
    let renewed = async || stage.count("SELECT count() FROM segmenta_log WHERE kind = 'renewal'").await;
    let mut seen = 0;
    for _ in 0..5 {
        let refused = waiter.acquire(&scope, AT_ONCE).await;
        assert!(matches!(refused, Err(LedgerError::Held { .. })), "{refused:?}");
        stage.clock.advance(Duration::from_secs(50));
        while renewed().await < seen + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen = renewed().await;
    }
    stage.open().release(lease).await.unwrap();
    waiter.acquire(&scope, Duration::from_secs(10)).await.unwrap();
}

async fn ids_are_any_text(stage: &mut ClickHouseStage) {
    let ids = [
        "",
        "'",
        "\\",
        "\\'",
        "\"",
        "`",
        "a\nb",
        "a\r\n",
        "\t",
        "nul \0 nul",
        "{tenant:String}",
        "'; DROP TABLE segmenta_log; --",
        "\\N",
        "NULL",
        "Ünal 🦊",
        "\u{202e}",
        "--boundary",
        "%00",
        "[]",
        "',\n'",
        "\\0",
        "\\n",
    ];
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    for (members, universe) in [(&ids[..], &ids[..]), (&ids[..1], &ids[..5]), (&ids[..], &ids[..])] {
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        let (members, universe) = (stage.members(members).await, stage.members(universe).await);
        transaction.stage(evaluated("vip", "h1", members, universe)).await.unwrap();
        transaction.commit().await.unwrap();
    }
    ledger.release(lease).await.unwrap();
    let mut sorted = ids.map(str::to_owned).to_vec();
    sorted.sort();
    let rows = ledger.read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id"]).await, sorted);
    assert_eq!(stage.shown().await, sorted);
    for (number, id) in ids.iter().enumerate() {
        let found = ledger.segments_of(&tenant(), id).await.unwrap();
        assert_eq!(found.len(), 1, "{id:?}");
        let filter = ReadFilter { subject: Some((*id).to_owned()), ..ReadFilter::default() };
        let changes = lines(ledger.read_changes(&tenant(), &filter).await.unwrap(), &["change", "reason"]).await;
        let left = if number < 5 { "exit rule_ended" } else { "exit left_universe" };
        let expected = if number == 0 { vec!["enter initial"] } else { vec!["enter initial", left, "enter rule_match"] };
        assert_eq!(changes, expected, "{id:?}");
    }
    stage.assert_lawful().await;
}

async fn scores_are_kept_as_they_are_shown(stage: &mut ClickHouseStage) {
    let billionths = [
        0,
        499_999,
        500_000,
        500_001,
        1_500_000,
        2_500_000,
        199_499_999,
        199_500_000,
        199_500_001,
        200_000_000,
        399_500_000,
        413_500_000,
        414_500_000,
        599_499_999,
        600_000_000,
        799_500_000,
        800_000_000,
        999_499_999,
        999_500_000,
        1_000_000_000,
    ];
    let ids: Vec<String> = (0..billionths.len()).map(|number| format!("s{number:02}")).collect();
    let scores: Vec<(&str, u32)> = ids.iter().map(String::as_str).zip(billionths).collect();
    let ledger = stage.open();
    let stay = async |stage: &ClickHouseStage, scores: &[(&str, u32)]| {
        stage.clock.advance(Duration::from_secs(60));
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        let (members, universe) = (stage.scored(scores).await, stage.scored(scores).await);
        let figures = transaction.stage(evaluated("vip", "h1", members, universe)).await.unwrap();
        transaction.commit().await.unwrap();
        ledger.release(lease).await.unwrap();
        figures
    };
    assert_eq!(stay(stage, &scores).await, figures(20, 20, 0));
    let columns = ["subject_id", "score", "confidence", "entered_at", "as_of"];
    let rows = async || lines(ledger.read_members(&tenant(), &segment("vip")).await.unwrap(), &columns).await;
    let first = "2026-01-01T00:01:00Z";
    let expected = |as_of: &str, scores: &[(&str, u32)]| -> Vec<String> {
        let line = |(id, billionths): &(&str, u32)| {
            let score = Score::of_billionths(i64::from(*billionths)).unwrap();
            format!("{id} {} {} {first} {as_of}", score.shown(), score.confidence().label())
        };
        scores.iter().map(line).collect()
    };
    assert_eq!(rows().await, expected(first, &scores));
    let mut near = scores.clone();
    near[1].1 -= 1;
    assert_eq!(stay(stage, &near).await, figures(20, 0, 0));
    assert_eq!(rows().await, expected(first, &scores), "nobody sees the difference");
    near[3].1 = 700_000_000;
    assert_eq!(stay(stage, &near).await, figures(20, 0, 0));
    assert_eq!(rows().await, expected("2026-01-01T00:03:00Z", &near));
    assert_eq!(stage.count("SELECT count() FROM segment_changes").await, 20, "a score is no entry");
    let left = &near[..3];
    assert_eq!(stay(stage, left).await, figures(3, 0, 17));
    let filter = ReadFilter { subject: Some("s03".to_owned()), ..ReadFilter::default() };
    let changes = lines(ledger.read_changes(&tenant(), &filter).await.unwrap(), &["change", "score"]).await;
    assert_eq!(changes, ["enter 0.001", "exit 0.7"]);
    stage.assert_lawful().await;
}

async fn members_stay_on_the_server(stage: &mut ClickHouseStage) {
    let connection = Connection::new(stage.settings.clone(), Uuid::now_v7());
    let ledger = ClickHouseLedger::with_options(&connection, Arc::clone(&stage.clock) as _, Holder::named("tester"), stage.options);
    let ids: Vec<String> = (0..20_000).map(|number| format!("a subject with a long id {number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for members in [&ids[..], &ids[..10_000], &ids[5_000..]] {
        // Ids of this length and number would not all be bound at once.
        let evaluation = Uuid::now_v7();
        for (output, ids) in [members, &ids[..]].iter().enumerate() {
            for ids in ids.chunks(1_000) {
                let text = format!(
                    "INSERT INTO {EVALUATIONS} (evaluation, output, subject_id) SELECT '{evaluation}', {output}, arrayJoin({{ids:Array(String)}})"
                );
                stage.connection.execute_once(Statement::new(text).texts("ids", ids.iter().copied())).await.unwrap();
            }
        }
        let kept = |output| Kept::Evaluated { evaluation, output };
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        let set = RemoteMembers::new(kept(0), members.len() as u64);
        let universe = RemoteMembers::new(kept(1), ids.len() as u64);
        let segments = ["a", "b", "c"].map(|id| evaluated(id, "h1", set.clone(), universe.clone()));
        transaction.stage_all(segments.into(), &|_| {}).await.unwrap();
        transaction.commit().await.unwrap();
        ledger.release(lease).await.unwrap();
    }
    assert_eq!(stage.count("SELECT count() FROM segment_memberships").await, 45_000);
    stage.assert_lawful().await;
    let Some(log) = stage.engine_log(connection.query_prefix()) else { return };
    let received: u64 = log.iter().map(|entry| entry["result_bytes"].as_u64().unwrap()).sum();
    assert!(received < 20_000, "{received} bytes came from the server");
    assert!(log.len() < 90, "{} statements", log.len());
}

/// Every run replaces every snapshot, and nothing is worth keeping longer than the next one.
async fn what_nobody_needs_is_deleted(stage: &mut ClickHouseStage) {
    stage.options.grace = Duration::from_secs(60);
    stage.options.worth_deleting = 2;
    refresh(stage, &stage.open(), &[("still", "h1", &["ann"]), ("vip", "h1", &EVERYONE), ("wide", "h1", &EVERYONE)]).await.unwrap();
    for members in [&["ann"][..], &["bob"], &["cid"], &["dan"], &["eve"], &["ann"], &["bob"]] {
        stage.clock.advance(Duration::from_secs(3600));
        refresh(stage, &stage.open(), &[("vip", "h1", members), ("wide", "h1", members)]).await.unwrap();
        stage.assert_lawful().await;
    }
    let partitions = format!(
        "SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND table = '{MEMBERS}' AND active AND rows > 0"
    );
    assert_eq!(stage.column(&partitions).await.len(), 3, "the first, the one before, and the current one");
    let first = format!("SELECT DISTINCT segment_id FROM {MEMBERS} WHERE tenant = 'demo' ORDER BY segment_id");
    assert_eq!(stage.column(&first).await, ["still", "vip", "wide"]);
    assert_eq!(stage.count(&format!("SELECT count() FROM {MEMBERS}")).await, 5);
    let leases = stage.count("SELECT count() FROM segmenta_log WHERE kind IN ('claim', 'release', 'renewal')").await;
    let states = stage.count("SELECT count() FROM segmenta_log WHERE kind = 'state'").await;
    assert!(leases <= 6 && states <= 9, "{leases} rows of leases, {states} states");
    assert_eq!(stage.count("SELECT count() FROM segmenta_log WHERE kind = 'commit'").await, 8);
    // Merges keep the order of the log.
    stage.connection.execute(Statement::new("OPTIMIZE TABLE segmenta_log FINAL")).await.unwrap();
    assert_eq!(stage.shown().await, ["bob"]);
    stage.assert_lawful().await;
}

/// The connection breaks at one statement of a compaction after the other, before or after the server did it.
async fn a_compaction_that_died_at_any_moment(stage: &mut ClickHouseStage) {
    stage.settings.retries = 0;
    let day = Duration::from_secs(86_400);
    // The statements before only look.
    let (mut number, mut finished) = (8, false);
    for members in [["ann", "bob"], ["bob", "cid"], ["cid", "dan"]] {
        upkeep::refresh_keeping(stage, [&members, &members]).await;
        stage.clock.advance(day);
    }
    while !finished {
        let members: [&str; 2] = if number % 2 == 0 { ["ann", "bob"] } else { ["cid", "dan"] };
        upkeep::refresh_keeping(stage, [&members, &members]).await;
        let expected = upkeep::told(stage, "a", stage.clock.at()).await.0;
        let night = stage.clock.at();
        stage.clock.advance(day);
        let horizon = upkeep::since(stage, 2);
        let horizons = Horizons { snapshots: horizon, changes: horizon, history: horizon };
        let request =
            CompactRequest { today: upkeep::today(stage), retention: Retention { default: horizons, ..Retention::default() } };
        let seen = Arc::new(AtomicUsize::new(0));
        let (counted, dies_at, fate) = (Arc::clone(&seen), number, if number % 2 == 0 { Fate::Unheard } else { Fate::Unanswered });
        let proxy = Proxy::start(&stage.settings.url, move |request| {
            if request.contains("KILL") {
                return Fate::Unheard;
            }
            match counted.fetch_add(1, Ordering::SeqCst).cmp(&dies_at) {
                cmp::Ordering::Less => Fate::Answered,
                cmp::Ordering::Equal => fate,
                cmp::Ordering::Greater => Fate::Unheard,
            }
        });
        let ledger = stage.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let dying = ClickHouseLedger::with_options(
            &Connection::new(Settings { url: proxy.url(), ..stage.settings.clone() }, Uuid::nil()),
            Arc::clone(&stage.clock) as _,
            Holder::named("dying"),
            stage.options,
        );
        let died = dying.compact(&lease, &tenant(), stage.clock.run_id(stage.clock.at()), &request).await;
        finished = died.is_ok() && seen.load(Ordering::SeqCst) <= dies_at;
        ledger.release(lease).await.unwrap();
        stage.assert_lawful().await;
        assert_eq!(upkeep::told(stage, "a", night).await.0, expected, "after statement {dies_at}, {fate:?}: {died:?}");
        upkeep::compact(stage, &request.retention).await;
        stage.assert_lawful().await;
        assert_eq!(upkeep::told(stage, "a", night).await.0, expected, "after statement {dies_at}, {fate:?}: {died:?}");
        let [changes, history] = upkeep::rows(stage, &ReadFilter::default()).await;
        assert_eq!(history.len(), 4, "after statement {dies_at}: {history:?}");
        assert!(changes.len() <= 16, "after statement {dies_at}: {changes:?}");
        number += 1;
    }
    assert!(number > 15, "{number} statements");
}

/// A ledger with files beside it, and what it is called in them.
async fn with_files(stage: &ClickHouseStage, store: &Arc<InMemory>) -> ClickHouseLedger {
    let place = Place::new(Arc::clone(store) as _, object_store::path::Path::default(), "files");
    stage.open().with_files(PublicFiles::open(place).await.unwrap())
}

async fn paths(store: &InMemory) -> Vec<String> {
    let found: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut paths: Vec<String> = found.iter().map(|meta| meta.location.to_string()).collect();
    paths.sort();
    paths
}

async fn files_follow_and_are_put_right(stage: &mut ClickHouseStage) {
    let day = Duration::from_secs(86_400);
    let store = Arc::new(InMemory::new());
    let ledger = with_files(stage, &store).await;
    let whole = with_files(stage, &Arc::new(InMemory::new())).await;
    for members in [["ann", "bob"], ["bob", "cid"], ["cid", "dan"], ["ann", "dan"]] {
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
        for id in ["a", "b"] {
            let (members, everyone) = (stage.members(&members).await, stage.members(&EVERYONE).await);
            transaction.stage(evaluated(id, "h1", members, everyone)).await.unwrap();
        }
        transaction.keep_snapshots([segment("b")].into(), stage.clock.at());
        transaction.commit().await.unwrap();
        ledger.release(lease).await.unwrap();
        stage.clock.advance(day);
    }
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
    let all = paths(&store).await;
    assert_eq!(all.iter().filter(|path| path.starts_with("snapshots/demo/b/")).count(), 3, "{all:?}");
    // Of the segment that lets go of changes a snapshot stands for them; the files of two days keep those of the other.
    let short = Horizons { snapshots: Horizon::Nothing, changes: upkeep::since(stage, 2), history: upkeep::since(stage, 2) };
    let default = Horizons { history: upkeep::since(stage, 2), snapshots: Horizon::Everything, ..Horizons::default() };
    let retention = Retention { segments: [(segment("a"), short)].into(), default };
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let request = CompactRequest { today: upkeep::today(stage), retention };
    let done = ledger.compact(&lease, &tenant(), stage.clock.run_id(stage.clock.at()), &request).await.unwrap();
    assert_eq!((done.changes_dropped, done.history_dropped, done.baselines), (4, 4, 1), "{done:?}");
    ledger.release(lease).await.unwrap();
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
    let left = paths(&store).await;
    let count = |folder: &str| left.iter().filter(|path| path.starts_with(folder)).count();
    assert_eq!((count("changes/"), count("history/"), count("snapshots/demo/a/"), count("snapshots/demo/b/")), (4, 2, 1, 3));

    // Everything that can go wrong with files.
    let changes: Vec<&String> = left.iter().filter(|path| path.starts_with("changes/")).collect();
    let path = |path: &str| object_store::path::Path::from(path);
    store.delete(&path("memberships/demo/a.parquet")).await.unwrap();
    store.put(&path("memberships/demo/b.parquet"), "no Parquet".into()).await.unwrap();
    let other = store.get(&path(changes[0])).await.unwrap().bytes().await.unwrap();
    store.put(&path(changes[1]), other.into()).await.unwrap();
    store.delete(&path(changes[3])).await.unwrap();
    let snapshot = left.iter().find(|path| path.starts_with("snapshots/demo/b/")).unwrap();
    store.delete(&path(snapshot)).await.unwrap();
    let stray = format!("history/demo/2026-01-01/000000000001-{}.parquet", Uuid::nil());
    store.put(&path(&stray), "old".into()).await.unwrap();
    store.put(&path("changes/demo/notes.txt"), "mine".into()).await.unwrap();
    let faults = ledger.verify(&tenant()).await.unwrap();
    let mut places: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
    places.sort();
    let mut expected: Vec<String> =
        [changes[1], changes[3], &stray, "memberships/demo/a.parquet", "memberships/demo/b.parquet", snapshot]
            .map(|path: &str| format!("`{path}`"))
            .to_vec();
    expected.sort();
    assert_eq!(places, expected, "{faults:?}");
    assert!(faults.iter().all(|fault| matches!(fault.remedy, Remedy::Possible(_))), "{faults:?}");
    let garbage = ledger.garbage(&tenant(), Duration::ZERO).await.unwrap();
    assert_eq!(garbage.foreign, ["changes/demo/notes.txt"]);
    assert!(garbage.waste.iter().any(|waste| waste.path == stray), "{garbage:?}");

    let repaired = repair(stage, &ledger).await;
    assert!(repaired.len() == 6 && repaired.iter().all(|fault| matches!(fault.remedy, Remedy::Done(_))), "{repaired:?}");
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
    let after = paths(&store).await;
    assert_eq!(after.iter().filter(|path| *path != "changes/demo/notes.txt").collect::<Vec<_>>(), left.iter().collect::<Vec<_>>());

    // A number that nobody can read, and one that is ahead.
    for number in ["many", "99"] {
        store.put(&path("state/demo/published"), number.into()).await.unwrap();
        store.delete(&path("memberships/demo/a.parquet")).await.unwrap();
        let repaired = repair(stage, &ledger).await;
        assert_eq!(repaired.len(), 2, "{repaired:?}");
        assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
        assert_eq!(paths(&store).await, after);
    }
    // What was never published is no fault, and a repair publishes it.
    assert_eq!(whole.verify(&tenant()).await.unwrap(), []);
    assert_eq!(repair(stage, &whole).await, []);
    assert_eq!(whole.verify(&tenant()).await.unwrap(), []);
}

async fn repair(stage: &ClickHouseStage, ledger: &ClickHouseLedger) -> Vec<Fault> {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let faults = ledger.repair(&lease, &tenant(), stage.clock.run_id(stage.clock.at())).await.unwrap();
    ledger.release(lease).await.unwrap();
    faults
}

async fn what_is_lost_is_rebuilt(stage: &mut ClickHouseStage) {
    for members in [["ann", "bob"], ["bob", "cid"]] {
        refresh(stage, &stage.open(), &[("vip", "h1", &members), ("wide", "h1", &EVERYONE)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(60));
    }
    let done = |statement: &str| stage.connection.execute(Statement::new(statement));
    let mutated = "SETTINGS mutations_sync = 2";
    // Rows of a snapshot are lost: changes, history and the recorded count agree on what they were.
    done(&format!("ALTER TABLE {MEMBERS} DELETE WHERE segment_id = 'vip' AND subject_id = 'cid' {mutated}")).await.unwrap();
    let found = stage.open().verify(&tenant()).await.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|fault| matches!(fault.remedy, Remedy::Possible(how) if how.starts_with("rebuilt"))), "{found:?}");
    let repaired = repair(stage, &stage.open()).await;
    assert!(repaired.iter().all(|fault| !fault.remains()) && repaired.len() == 3, "{repaired:?}");
    assert_eq!(stage.shown().await, ["bob", "cid"]);
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id", "entered_at"]).await, ["bob 2026-01-01T00:00:00Z", "cid 2026-01-01T00:01:00Z"]);
    stage.assert_lawful().await;
    // A recorded count is wrong, and the rows agree with all else.
    done(&format!(
        "ALTER TABLE segmenta_log UPDATE state = replaceOne(state, '\"member_count\":6', '\"member_count\":7') \
         WHERE kind = 'state' AND segment_id = 'wide' {mutated}"
    ))
    .await
    .unwrap();
    let repaired = repair(stage, &stage.open()).await;
    assert_eq!(repaired.len(), 1, "{repaired:?}");
    assert_eq!(repaired[0].remedy, Remedy::Done("set to the count of the rows"));
    stage.assert_lawful().await;
    // What stands nowhere else stays reported, and nothing is touched.
    done(&format!("ALTER TABLE segmenta_changes DELETE WHERE segment_id = 'vip' AND subject_id = 'bob' {mutated}")).await.unwrap();
    let repaired = repair(stage, &stage.open()).await;
    assert_eq!(repaired, stage.open().verify(&tenant()).await.unwrap());
    assert_eq!(repaired.iter().map(|fault| fault.remedy.clone()).collect::<Vec<_>>(), [Remedy::None], "{repaired:?}");
    assert_eq!(stage.shown().await, ["bob", "cid"]);
}

async fn tables_are_created_once(stage: &mut ClickHouseStage) {
    refresh(stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    for _ in 0..2 {
        for statement in ddl(&Layout { database: stage.settings.database.clone(), ..Layout::default() }) {
            stage.connection.execute(Statement::new(statement)).await.unwrap();
        }
    }
    assert_eq!(stage.shown().await, ["ann"]);
    assert_eq!(stage.count("SELECT count() FROM product_memberships").await, 0);
    stage.assert_lawful().await;
}

async fn a_store_without_tables_says_so(stage: &mut ClickHouseStage) {
    stage.connection.execute(Statement::new("DROP TABLE segmenta_log")).await.unwrap();
    let error = stage.open().state(&tenant()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Uninitialised { .. }), "{error:?}");
    assert!(error.to_string().contains("`segmenta clickhouse init`"), "{error}");
    let mut elsewhere = stage.settings.clone();
    elsewhere.database = "not_there".to_owned();
    let connection = Connection::new(elsewhere, Uuid::nil());
    let ledger = ClickHouseLedger::new(&connection, Arc::clone(&stage.clock) as _, Holder::named("tester"));
    let error = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Uninitialised { database, .. } if database == "not_there"), "{error:?}");
}

async fn the_catalog_is_kept(stage: &mut ClickHouseStage) {
    let ledger = stage.open();
    assert_eq!(ledger.kept_catalog(&tenant()).await.unwrap(), None);
    for timezone in ["UTC", "UTC", "Europe/Berlin"] {
        let catalog = Catalog { timezone: timezone.to_owned(), users: None, products: None, events: None };
        ledger.keep_catalog(&tenant(), &catalog).await.unwrap();
        assert_eq!(stage.open().kept_catalog(&tenant()).await.unwrap(), Some(catalog));
    }
    assert_eq!(stage.count("SELECT count() FROM segmenta_log WHERE kind = 'catalog'").await, 1);
}

fn tables_of_a_cluster_are_copied() {
    let layout = Layout { database: "a`b".to_owned(), cluster: Some("all".to_owned()), replication: Replication::Replicated };
    let statements = ddl(&layout);
    let (tables, views): (Vec<_>, Vec<_>) =
        statements.iter().partition(|statement| statement.starts_with("CREATE TABLE IF NOT EXISTS"));
    assert_eq!((tables.len(), views.len()), (7, 5));
    let names: BTreeSet<&str> = statements.iter().filter_map(|statement| statement.split(" ON CLUSTER `all`").next()).collect();
    assert_eq!(names.len(), statements.len());
    for statement in &statements {
        assert!(statement.contains(" `a\\`b`.") && statement.contains(" ON CLUSTER `all`"), "{statement}");
    }
    assert!(tables.iter().all(|table| table.contains("ENGINE = ReplicatedMergeTree\n")));
    assert!(views.iter().all(|view| view.starts_with("CREATE OR REPLACE VIEW")));
}

impl ClickHouseStage {
    /// What the engine of the tests says of the queries whose ids begin so; `None` when the server is another.
    fn engine_log(&self, prefix: &str) -> Option<Vec<serde_json::Value>> {
        if !self.is_engine {
            return None;
        }
        let address = self.settings.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /log HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let entries = body.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        Some(entries.filter(|entry| entry["query_id"].as_str().unwrap().starts_with(prefix)).collect())
    }
}
