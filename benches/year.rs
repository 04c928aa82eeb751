//! A year of refreshes a minute apart, with the upkeep of every night, by a clock that runs as fast as the work is done: how many files
//! there are then, how large they are, and how many requests it takes to read. `cargo bench --bench year -- 365`, with the number of days.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails by panicking, and prints its figures"
)]
#![allow(missing_docs, unreachable_pub, reason = "nobody uses it")]

#[path = "../tests/suite/store/counting.rs"]
mod counting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use datafusion::arrow::array::StringArray;
use futures::TryStreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use roaring::RoaringBitmap;
use segmenta::backend::{LocalMembers, SortedIds};
use segmenta::clock::{Clock, SystemClock};
use segmenta::model::condition::Subject;
use segmenta::model::id::TenantId;
use segmenta::model::segment::{Kind, Status};
use segmenta::store::object::{Holder, ObjectLedger, Options, Place};
use segmenta::store::{
    CompactRequest, DefinitionRecord, LeaseScope, Ledger, Outcome, ReadFilter, Retention, Run, RunKind, StagedSegment, Transaction,
};
use uuid::Uuid;

use counting::CountingStore;

/// Subjects, of whom a few change in every run.
const SUBJECTS: u32 = 1_000;

const SEGMENTS: [&str; 3] = ["often", "seldom", "never"];

#[derive(Debug)]
struct FastClock {
    micros: AtomicI64,
    ids: AtomicU64,
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros.load(Ordering::SeqCst)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn run_id(&self, _at: Timestamp) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)))
    }
}

fn main() {
    let days: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(365);
    tokio::runtime::Runtime::new().unwrap().block_on(live(days));
}

async fn live(days: u64) {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Arc::new(FastClock { micros: AtomicI64::new(start.as_microsecond()), ids: AtomicU64::new(0) });
    let counting = Arc::new(CountingStore::new(Arc::new(InMemory::new())));
    let place = Place::new(Arc::clone(&counting) as _, Path::default(), "year");
    let open = || ObjectLedger::new(place.clone(), Arc::clone(&clock) as _, Holder::named("bench"), Options::default());
    let ledger = open();
    let tenant: TenantId = "demo".parse().unwrap();
    let scope = LeaseScope::Tenant(tenant.clone());
    let ids: Vec<String> = (0..SUBJECTS).map(|number| format!("user-{number:06}")).collect();
    let ids = Arc::new(SortedIds::new(StringArray::from_iter_values(&ids)).unwrap());
    let universe = LocalMembers::all(Arc::clone(&ids));
    let wall = SystemClock::new();
    for day in 0..days {
        for minute in 0..1440 {
            let number = u32::try_from(day * 1440 + minute).unwrap();
            let as_of = clock.now();
            let evaluation_date = as_of.to_zoned(TimeZone::UTC).date();
            let run = Run { run_id: clock.run_id(as_of), tenant: tenant.clone(), kind: RunKind::Run, as_of, evaluation_date };
            let lease = ledger.acquire(&scope, Duration::ZERO).await.unwrap();
            let mut transaction = ledger.begin(&lease, run).await.unwrap();
            for (segment, pace) in SEGMENTS.into_iter().zip([1, 60, u32::MAX]) {
                let turn = number / pace;
                let members: RoaringBitmap = (0..SUBJECTS).filter(|id| (id + turn) % 100 < 40).collect();
                let definition = DefinitionRecord {
                    hash: "h".to_owned(),
                    json: "{}".to_owned(),
                    subject: Subject::User,
                    kind: Kind::Dynamic,
                    status: Status::Active,
                };
                let outcome = Outcome::evaluated(LocalMembers::new(Arc::clone(&ids), members), universe.clone());
                let segment = segment.parse().unwrap();
                let staged =
                    StagedSegment { segment, definition: Some(definition), outcome, duration: Duration::ZERO, max_change: None };
                transaction.stage(staged).await.unwrap();
            }
            transaction.commit().await.unwrap();
            ledger.release(lease).await.unwrap();
            clock.micros.fetch_add(60_000_000, Ordering::SeqCst);
        }
        let today = clock.now().to_zoned(TimeZone::UTC).date();
        let request = CompactRequest { today, retention: Retention::default() };
        loop {
            let lease = ledger.acquire(&scope, Duration::ZERO).await.unwrap();
            let done = ledger.compact(&lease, &tenant, clock.run_id(clock.now()), &request).await.unwrap();
            ledger.release(lease).await.unwrap();
            if !done.is_unfinished {
                break;
            }
        }
        let lease = ledger.acquire(&scope, Duration::ZERO).await.unwrap();
        ledger.collect(&lease, &tenant, Duration::from_secs(3600)).await.unwrap();
        ledger.release(lease).await.unwrap();
    }
    println!("{days} days, {} runs, lived in {:?}", days * 1440, wall.elapsed());

    let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for meta in counting.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let folder: Vec<_> = meta.location.parts().take(2).map(|part| part.as_ref().to_owned()).collect();
        let (files, bytes) = folders.entry(folder.join("/")).or_default();
        (*files, *bytes) = (*files + 1, *bytes + meta.size);
    }
    for (folder, (files, bytes)) in folders {
        println!("{folder}: {files} files, {bytes} bytes");
    }
    counting.taken();
    open().state(&tenant).await.unwrap();
    println!("the state: {} requests", counting.taken());
    let to = clock.now() - Duration::from_secs(86_400);
    let filter = ReadFilter { from: Some(to - Duration::from_secs(86_400)), to: Some(to), ..ReadFilter::default() };
    let began = wall.elapsed();
    let rows: Vec<_> = open().read_changes(&tenant, &filter).await.unwrap().try_collect().await.unwrap();
    let count = rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>();
    println!("the {count} changes of a day: {} requests, {:?}", counting.taken(), wall.elapsed() - began);
    let filter = ReadFilter::of(&"seldom".parse().unwrap());
    let began = wall.elapsed();
    let rows: Vec<_> = open().read_history(&tenant, &filter).await.unwrap().try_collect().await.unwrap();
    let count = rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>();
    println!("the {count} history rows of one segment: {} requests, {:?}", counting.taken(), wall.elapsed() - began);
}
