//! What each floor costs by itself: reading and checking definitions, planning a thousand segments, evaluating the demo, comparing and
//! writing a large snapshot. `cargo bench --bench floors`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use datafusion::arrow::array::StringArray;
use jiff::Timestamp;
use roaring::RoaringBitmap;
use segmenta::backend::clickhouse::{Imagined, show_plan_offline};
use segmenta::backend::datafusion::{DataFusionBackend, Tables};
use segmenta::backend::tables::EngineSettings;
use segmenta::backend::{Backend, LocalMembers, SortedIds};
use segmenta::check::{CheckedSegment, Limits, check};
use segmenta::clock::{Clock, SharedClock, SystemClock};
use segmenta::diagnostic::Source;
use segmenta::ir::{self, LogicalRule};
use segmenta::model::calendar::Calendar;
use segmenta::model::catalog::Catalog;
use segmenta::model::condition::Subject;
use segmenta::model::id::TenantId;
use segmenta::model::segment::{Kind, Status};
use segmenta::plan::{self, Batch, OutputName, Request};
use segmenta::refresh::config::{TenantConfig, parse_config};
use segmenta::refresh::definitions::{DefinitionFile, read_definitions};
use segmenta::store::object::{Holder, ObjectLedger};
use segmenta::store::{DefinitionRecord, LeaseScope, Ledger, Outcome, Run, RunKind, StagedSegment, Transaction};
use segmenta::syntax::{Document, Format, parse};

/// Segments that are planned together.
const SEGMENTS: usize = 1_000;

/// Members of the snapshot that is written, about.
const MEMBERS: u32 = 1_000_000;

const AS_OF: &str = "2026-01-01T00:00:00Z";

fn as_of() -> Timestamp {
    AS_OF.parse().unwrap()
}

fn demo() -> TenantConfig {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("scheduler.toml");
    let config = parse_config(&path, &std::fs::read_to_string(&path).unwrap(), &|_| None).unwrap();
    config.tenants.into_iter().next().unwrap()
}

fn tables(runtime: &tokio::runtime::Runtime, tenant: &TenantConfig) -> Tables {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    runtime.block_on(Tables::open(&tenant.tables, base, &EngineSettings::default())).unwrap()
}

fn texts(tenant: &TenantConfig) -> Vec<DefinitionFile> {
    read_definitions(&tenant.definitions).unwrap()
}

fn documents(texts: &[DefinitionFile]) -> Vec<Document> {
    texts.iter().map(|file| file.parse().unwrap()).collect()
}

/// A thousand definitions over a hundred features of events, each under a group with two attributes.
fn many() -> Vec<Document> {
    let events = ["order_completed", "product_viewed", "added_to_cart", "email_opened", "page_viewed"];
    let definition = |number: usize| {
        let event = events[number % events.len()];
        let (days, least) = (7 * (1 + number / 5 % 20), 1 + number / 100);
        format!(
            r#"{{"id": "segment-{number}", "logic": "and", "conditions": [
                {{"type": "event", "event_type": "{event}", "operator": "gte", "value": {least}, "window": {{"last": "{days}d"}}}},
                {{"logic": "or", "conditions": [
                    {{"type": "user_attribute", "property": "country", "operator": "in", "value": ["US", "CA"]}},
                    {{"not": {{"type": "user_attribute", "property": "lifetime_value", "operator": "lt", "value": {number}}}}}]}}]}}"#
        )
    };
    (0..SEGMENTS).map(|number| parse(&Source::new("many.json", definition(number)), Format::Json).unwrap()).collect()
}

fn checked(documents: &[Document], catalog: &Catalog) -> Vec<CheckedSegment> {
    check(documents, catalog, &Limits::default()).segments.into_values().map(Result::unwrap).collect()
}

fn requests(segments: &[CheckedSegment], subject: Subject) -> Vec<Request> {
    let of_subject = segments.iter().filter(|segment| segment.definition().subject == subject);
    let request = |segment: &CheckedSegment| match ir::normalize(ir::lower(segment)).rule {
        LogicalRule::Formula(formula) => Some(Request { name: OutputName::Segment(segment.definition().id.clone()), formula }),
        LogicalRule::Static => None,
    };
    of_subject.filter_map(request).collect()
}

fn batch(requests: &[Request], references: &BTreeMap<segmenta::model::id::SegmentId, plan::Reference>) -> Batch {
    plan::plan(Subject::User, requests, references, &plan::Overridden::new(), &Calendar::new(as_of(), "UTC").unwrap(), "UTC")
        .unwrap()
}

fn language(criterion: &mut Criterion) {
    let tenant = demo();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tables = tables(&runtime, &tenant);
    let texts = texts(&tenant);
    criterion
        .bench_function(&format!("parse {} definitions", texts.len()), |bencher| bencher.iter(|| documents(black_box(&texts))));
    let documents = documents(&texts);
    criterion.bench_function(&format!("check {} definitions", texts.len()), |bencher| {
        bencher.iter(|| check(black_box(&documents), tables.catalog(), &Limits::default()));
    });
}

fn planning(criterion: &mut Criterion) {
    let tenant = demo();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tables = tables(&runtime, &tenant);
    let segments = checked(&many(), tables.catalog());
    criterion.bench_function(&format!("plan {SEGMENTS} segments"), |bencher| {
        bencher.iter(|| batch(&requests(black_box(&segments), Subject::User), &BTreeMap::new()));
    });
    let batch = batch(&requests(&segments, Subject::User), &BTreeMap::new());
    let imagined = Imagined { tenant: &tenant.id, tables: &tenant.tables, catalog: tables.catalog(), database: "default" };
    criterion.bench_function(&format!("compile {SEGMENTS} segments to SQL"), |bencher| {
        bencher.iter(|| show_plan_offline(black_box(&batch), imagined).unwrap());
    });
}

fn evaluation(criterion: &mut Criterion) {
    let tenant = demo();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backend = DataFusionBackend::new(tables(&runtime, &tenant));
    let segments = checked(&many()[..20], backend.catalog());
    let batch = batch(&requests(&segments, Subject::User), &BTreeMap::new());
    let mut group = criterion.benchmark_group("evaluate");
    group.sample_size(20);
    group.bench_function("20 segments over the demo", |bencher| {
        bencher.iter(|| runtime.block_on(backend.evaluate(black_box(&batch), &[])).unwrap());
    });
    group.finish();
}

/// Ids like those of the demo, twice as many as members.
fn ids() -> Arc<SortedIds> {
    let ids = StringArray::from_iter_values((0..MEMBERS * 2).map(|number| format!("u{number:07}")));
    Arc::new(SortedIds::new(ids).unwrap())
}

/// One of every so many ids, in no order that repeats.
fn every(ids: &Arc<SortedIds>, of: u64, salt: u64) -> RoaringBitmap {
    let count = u32::try_from(ids.len()).unwrap();
    (0..count).filter(|position| mixed(u64::from(*position) + salt * u64::from(count)).is_multiple_of(of)).collect()
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

fn staged(name: &str, members: LocalMembers, universe: LocalMembers) -> StagedSegment<LocalMembers> {
    let definition = DefinitionRecord {
        hash: "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        json: "{}".to_owned(),
        subject: Subject::User,
        kind: Kind::Dynamic,
        status: Status::Active,
    };
    let outcome = Outcome::evaluated(members, universe);
    StagedSegment {
        segment: name.parse().unwrap(),
        definition: Some(definition),
        outcome,
        duration: Duration::ZERO,
        max_change: None,
    }
}

async fn commit(ledger: &ObjectLedger, segments: Vec<StagedSegment<LocalMembers>>) {
    let tenant: TenantId = "demo".parse().unwrap();
    let lease = ledger.acquire(&LeaseScope::Tenant(tenant.clone()), Duration::ZERO).await.unwrap();
    let now = SystemClock::new().now();
    let run = Run {
        run_id: SystemClock::new().run_id(now),
        tenant,
        kind: RunKind::Run,
        as_of: as_of(),
        evaluation_date: jiff::civil::date(2026, 1, 1),
    };
    let mut transaction = ledger.begin(&lease, run).await.unwrap();
    transaction.stage_all(segments, &|_| {}).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
}

/// The members of each segment in one run.
type Sets = Vec<RoaringBitmap>;

fn store(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ids = ids();
    let universe = LocalMembers::all(Arc::clone(&ids));
    let million = every(&ids, 2, 0);
    let tenth: RoaringBitmap =
        million.iter().filter(|position| mixed(u64::from(*position)) % 20 < 18).collect::<RoaringBitmap>() | every(&ids, 20, 1);
    let half: RoaringBitmap =
        million.iter().enumerate().filter(|(number, _)| number % 2 == 0).map(|(_, position)| position).collect();
    let half = half | every(&ids, 4, 1);
    let small: Sets = (0..1_000).map(|number| every(&ids, 2_000, number)).collect();
    let cases: Vec<(&str, Option<Sets>, Sets)> = vec![
        ("first snapshot of a million members", None, vec![million.clone()]),
        ("a million members, of which a tenth changed", Some(vec![million.clone()]), vec![tenth]),
        ("a million members, of which every other one changed", Some(vec![million.clone()]), vec![half]),
        ("a million members, of which none changed", Some(vec![million.clone()]), vec![million]),
        ("first snapshots of a thousand segments of a thousand members", None, small.clone()),
        ("a thousand segments of a thousand members, of which none changed", Some(small.clone()), small),
    ];
    let mut group = criterion.benchmark_group("store");
    group.sample_size(10);
    for (name, before, after) in cases {
        group.bench_function(name, |bencher| {
            let segments = |sets: &Sets| {
                let members = sets.iter().map(|set| LocalMembers::new(Arc::clone(&ids), set.clone()));
                members.enumerate().map(|(number, members)| staged(&format!("s{number}"), members, universe.clone())).collect()
            };
            let setup = || {
                let folder = tempfile::tempdir().unwrap();
                let clock: SharedClock = Arc::new(SystemClock::new());
                let ledger = ObjectLedger::open(folder.path().to_str().unwrap(), clock, Holder::named("bench")).unwrap();
                if let Some(before) = &before {
                    runtime.block_on(commit(&ledger, segments(before)));
                }
                (folder, ledger, segments(&after))
            };
            let run = |(folder, ledger, segments): (tempfile::TempDir, ObjectLedger, Vec<_>)| {
                runtime.block_on(commit(&ledger, segments));
                folder
            };
            bencher.iter_batched(setup, run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(floors, language, planning, evaluation, store);
criterion_main!(floors);
