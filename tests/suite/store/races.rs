//! Writers that meet: in leases, in the log, and after they were taken for dead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use segmenta::model::id::TenantId;
use segmenta::store::object::{Holder, ObjectLedger};
use segmenta::store::{LeaseScope, Ledger, LedgerError, Retention, Run, Transaction};
use tokio::sync::Notify;

use super::s3::S3Server;
use super::stage::{
    AT_ONCE, EVERYONE, ObjectStage, Stage, evaluated, figures, lines, local, refresh, run, segment, tenant, within, write_scope,
};
use super::upkeep::{compact, step};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a writer that was only held up finds its place in the log taken", a_held_up_writer_finds_its_place_taken(stage())),
        trial("on S3, a writer that was only held up finds its place in the log taken", async {
            let server = S3Server::new();
            a_held_up_writer_finds_its_place_taken(ObjectStage::new(server.store())).await;
        }),
        trial("a writer that was held up for days is refused, though its number is free again", a_writer_of_days_ago_is_refused()),
        trial("a compaction that was held up gives way to a run", a_held_up_compaction_gives_way()),
        trial("many tenants share one log", many_tenants_share_one_log(stage())),
        trial("on S3, many tenants share one log", async {
            let server = S3Server::new();
            many_tenants_share_one_log(ObjectStage::new(server.store())).await;
        }),
        trial("a number of what is published that goes back harms nobody", a_number_that_goes_back_harms_nobody()),
        trial("a waiter gets the lease when it is given back", a_waiter_gets_the_lease()),
        trial("a lease that stands still is over, whatever the clocks say", a_lease_that_stands_still_is_over()),
        trial("the lease of a dead process is free at once", the_lease_of_a_dead_process_is_free_at_once()),
        trial("a lease that is renewed is not over", a_lease_that_is_renewed_is_not_over()),
        trial("leases that were deleted by hand do not fool the log", deleted_leases_do_not_fool_the_log()),
        trial("leases do not pile up", leases_do_not_pile_up()),
    ]
}

fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(format!("store::races: {name}"), move || {
        within(test);
        Ok(())
    })
}

fn stage() -> ObjectStage {
    ObjectStage::new(Arc::new(InMemory::new()))
}

/// A store that stops before it writes a commit, until it is let go on.
#[derive(Debug)]
struct GatedStore {
    store: Arc<dyn ObjectStore>,
    reached: Notify,
    opened: Notify,
}

impl fmt::Display for GatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gated {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for GatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if location.as_ref().contains("log/commits/") {
            self.reached.notify_one();
            self.opened.notified().await;
        }
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

async fn a_held_up_writer_finds_its_place_taken(stage: ObjectStage) {
    refresh(&stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    let gate = Arc::new(GatedStore { store: Arc::clone(&stage.store), reached: Notify::new(), opened: Notify::new() });
    let gated = ObjectStage { store: Arc::clone(&gate) as _, clock: Arc::clone(&stage.clock), options: stage.options };
    let slow = async {
        let ledger = gated.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(&*gated.clock)).await.unwrap();
        transaction.stage(evaluated("vip", "h1", local(&["bob"]), local(&EVERYONE))).await.unwrap();
        transaction.commit().await
    };
    let newer = async {
        gate.reached.notified().await;
        // The slow writer has made sure of its lease, and is about to write the record.
        stage.clock.advance(Duration::from_secs(120));
        let ledger = stage.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(&*stage.clock)).await.unwrap();
        gate.opened.notify_one();
        // Nothing of the newer run is committed yet, and still the older one must not come in between.
        tokio::task::yield_now().await;
        transaction.stage(evaluated("vip", "h1", local(&["ann", "cid"]), local(&EVERYONE))).await.unwrap();
        (transaction, ledger, lease)
    };
    let (refused, (transaction, ledger, lease)) = tokio::join!(slow, newer);
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id"]).await, ["ann", "cid"]);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

/// Compacts, collects and ends up with checkpoints, so that old records go.
async fn looked_after(stage: &ObjectStage) {
    for members in [&["ann"][..], &["bob"], &["ann"], &["bob"], &["ann"], &["bob"], &["ann"], &["bob"], &["ann"], &["cid"]] {
        refresh(stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(7200));
    }
    compact(stage, &Retention::default()).await;
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    ledger.collect(&lease, &tenant(), Duration::from_secs(3600)).await.unwrap();
    ledger.release(lease).await.unwrap();
}

async fn a_writer_of_days_ago_is_refused() {
    let stage = stage();
    refresh(&stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    let gate = Arc::new(GatedStore { store: Arc::clone(&stage.store), reached: Notify::new(), opened: Notify::new() });
    let gated = ObjectStage { store: Arc::clone(&gate) as _, clock: Arc::clone(&stage.clock), options: stage.options };
    let slow = async {
        let ledger = gated.open();
        let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
        let mut transaction = ledger.begin(&lease, run(&*gated.clock)).await.unwrap();
        transaction.stage(evaluated("vip", "h1", local(&["eve"]), local(&EVERYONE))).await.unwrap();
        let refused = transaction.commit().await;
        // The process reads on from where it was.
        (refused, lines(ledger.read_members(&tenant(), &segment("vip")).await.unwrap(), &["subject_id"]).await)
    };
    let others = async {
        gate.reached.notified().await;
        stage.clock.advance(Duration::from_secs(120));
        looked_after(&stage).await;
        assert!(!stage.paths().await.iter().any(|path| path.ends_with("log/commits/000000000002.json")), "its number is free");
        gate.opened.notify_one();
    };
    let ((refused, members), ()) = tokio::join!(slow, others);
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    assert_eq!(members, ["cid"]);
    assert!(!stage.paths().await.iter().any(|path| path.ends_with("log/commits/000000000002.json")), "nothing stays of it");
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    refresh(&stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn a_held_up_compaction_gives_way() {
    let stage = stage();
    for members in [&["ann"][..], &["bob"], &["cid"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(10_000));
    }
    stage.clock.advance(Duration::from_secs(86_400));
    let gate = Arc::new(GatedStore { store: Arc::clone(&stage.store), reached: Notify::new(), opened: Notify::new() });
    let gated = ObjectStage { store: Arc::clone(&gate) as _, clock: Arc::clone(&stage.clock), options: stage.options };
    let newer = async {
        gate.reached.notified().await;
        // The compaction has made sure of its lease, and is about to write the record.
        stage.clock.advance(Duration::from_secs(120));
        refresh(&stage, &stage.open(), &[("vip", "h1", &["dan"])]).await.unwrap();
        gate.opened.notify_one();
    };
    let retention = Retention::default();
    let (refused, ()) = tokio::join!(step(&gated, &retention), newer);
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
    assert_eq!(compact(&stage, &retention).await.written, 2);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn many_tenants_share_one_log(stage: ObjectStage) {
    let stage = Arc::new(stage);
    let writers = (0..6).map(|number| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            let tenant: TenantId = format!("tenant-{number}").parse().unwrap();
            let ledger = stage.open();
            for members in [&["ann"][..], &["ann", "bob"], &["bob"]] {
                let lease = ledger.acquire(&LeaseScope::Tenant(tenant.clone()), AT_ONCE).await.unwrap();
                let run = Run { tenant: tenant.clone(), ..run(&*stage.clock) };
                let mut transaction = ledger.begin(&lease, run).await.unwrap();
                transaction.stage(evaluated("vip", "h1", local(members), local(&EVERYONE))).await.unwrap();
                tokio::task::yield_now().await;
                transaction.commit().await.unwrap();
                ledger.release(lease).await.unwrap();
            }
        })
    });
    for done in futures::future::join_all(writers).await {
        done.unwrap();
    }
    for number in 0..6 {
        let tenant: TenantId = format!("tenant-{number}").parse().unwrap();
        let ledger = stage.open();
        let rows = ledger.read_members(&tenant, &segment("vip")).await.unwrap();
        assert_eq!(lines(rows, &["tenant", "subject_id"]).await, [format!("{tenant} bob")]);
        assert_eq!(ledger.verify(&tenant).await.unwrap(), []);
    }
    let published = stage.store.get_opts(&Path::from("some/prefix/log/published"), GetOptions::default()).await.unwrap();
    assert_eq!(published.bytes().await.unwrap().as_ref(), b"18\n");
}

/// Two writers of two tenants publish at the same time: who read the log first may write its number last, and its files are gone by then.
async fn a_number_that_goes_back_harms_nobody() {
    for published in ["0\n", "1\n", "3\n"] {
        let stage = stage();
        for members in [&["ann"][..], &["ann", "bob"], &["bob"], &["cid"]] {
            refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        }
        stage.put("log/published", published).await;
        assert_eq!(refresh(&stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap(), [figures(1, 1, 1)], "{published}");
        let faults = stage.open().verify(&tenant()).await.unwrap();
        assert!(faults.is_empty(), "{published}: {faults:?}");
        // What is missing in truth is still told.
        let changes = stage.paths().await.into_iter().filter(|path| path.starts_with("changes/")).min().unwrap();
        stage.delete(&changes).await;
        stage.put("log/published", published).await;
        let told = refresh(&stage, &stage.open(), &[("vip", "h1", &["bob"])]).await;
        let is_first = published == "0\n";
        assert_eq!(matches!(told, Err(LedgerError::Corrupt { .. })), is_first, "{published}: {told:?}");
    }
}

async fn a_waiter_gets_the_lease() {
    let stage = stage();
    let (holder, waiter) = (stage.open_as("first@here pid 1"), stage.open_as("second@here pid 2"));
    let lease = holder.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let refused = waiter.acquire(&write_scope(), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(refused.to_string(), "tenant `demo` is held by first@here pid 1 since 2026-01-01T00:00:00Z");
    let scope = write_scope();
    let (given_back, taken) = tokio::join!(holder.release(lease), waiter.acquire(&scope, Duration::from_secs(60)));
    given_back.unwrap();
    waiter.release(taken.unwrap()).await.unwrap();
}

async fn a_lease_that_stands_still_is_over() {
    let stage = stage();
    let lost = stage.open_as("lost@elsewhere pid 1").acquire(&write_scope(), AT_ONCE).await.unwrap();
    drop(lost);
    stage.clock.jump_back(Duration::from_secs(24 * 3600));
    let waiter = stage.open_as("waiter@here pid 2");
    let refused = waiter.acquire(&write_scope(), AT_ONCE).await;
    assert!(matches!(refused, Err(LedgerError::Held { .. })), "{refused:?}");
    let scope = write_scope();
    let mut taken = std::pin::pin!(waiter.acquire(&scope, Duration::from_secs(60)));
    let lease = loop {
        tokio::select! {
            biased;
            lease = &mut taken => break lease.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(5)) => stage.clock.advance(Duration::from_secs(20)),
        }
    };
    assert_eq!(lease.number, 2);
}

async fn the_lease_of_a_dead_process_is_free_at_once() {
    let stage = stage();
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let held_by = |holder| ObjectLedger::new(stage.place(), Arc::clone(&stage.clock) as _, holder, stage.options);
    let lost = held_by(Holder::of_process("tester", child.id())).acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap();
    drop(lost);
    let next = held_by(Holder::current("tester"));
    let refused = next.acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("pid {}", child.id())), "{refused}");
    child.kill().unwrap();
    child.wait().unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(next.acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap().number, 2);
    }
}

async fn a_lease_that_is_renewed_is_not_over() {
    let mut stage = stage();
    stage.options.leases.renewal = Duration::from_millis(1);
    let lease = stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap();
    let waiter = stage.open_as("waiter@here pid 2");
    let scope = write_scope();
    let mut taken = std::pin::pin!(waiter.acquire(&scope, Duration::from_secs(60)));
    for _ in 0..20 {
        tokio::select! {
            biased;
            lease = &mut taken => panic!("{lease:?} was taken"),
            () = tokio::time::sleep(Duration::from_millis(20)) => stage.clock.advance(Duration::from_secs(20)),
        }
    }
    stage.open().release(lease).await.unwrap();
    taken.await.unwrap();
}

async fn deleted_leases_do_not_fool_the_log() {
    let stage = stage();
    let ledger = stage.open();
    for members in [&["ann"][..], &["bob"], &["cid"]] {
        refresh(&stage, &ledger, &[("vip", "h1", members)]).await.unwrap();
    }
    for path in stage.paths().await.into_iter().filter(|path| path.contains("log/leases/")) {
        stage.delete(&path).await;
    }
    assert_eq!(refresh(&stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap(), [figures(1, 1, 1)]);
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), []);
}

async fn leases_do_not_pile_up() {
    let stage = stage();
    for members in [&["ann"][..], &["bob"], &["cid"], &["dan"]] {
        refresh(&stage, &stage.open(), &[("vip", "h1", members)]).await.unwrap();
        stage.clock.advance(Duration::from_secs(3600));
    }
    let paths = stage.paths().await;
    let count = |part: &str| paths.iter().filter(|path| path.contains(part)).count();
    assert_eq!((count("log/leases/"), count("log/checkpoints/"), count("memberships/")), (1, 1, 1), "{paths:#?}");
    assert_eq!(count("log/files/"), 2, "the current snapshot and the one before it: {paths:#?}");
}
