//! What every ledger does, whatever its place.

use std::sync::Arc;

use libtest_mimic::Trial;
use object_store::memory::InMemory;
use segmenta::store::{Ledger, ReadFilter};

use super::stage::{ObjectStage, Stage, figures, lines, refresh, segment, tenant};

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("store::contract::memory::a_run_becomes_visible", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(a_run_becomes_visible(&ObjectStage::new(Arc::new(InMemory::new()))));
        Ok(())
    })]
}

async fn a_run_becomes_visible<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let found = refresh(stage, &ledger, &[("vip", "h1", &["bob", "ann"]), ("none", "h2", &[])]).await.unwrap();
    assert_eq!(found, [figures(2, 2, 0), figures(0, 0, 0)]);
    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!(state.segments[&segment("vip")].member_count, 2);
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(
        lines(rows, &["tenant", "segment_id", "subject_id", "entered_at", "reason", "score"]).await,
        ["demo vip ann 2026-01-01T00:00:00Z rule_match null", "demo vip bob 2026-01-01T00:00:00Z rule_match null"]
    );
    let rows = ledger.read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(rows, &["segment_id", "subject_id", "change", "reason", "definition_hash"]).await,
        ["vip ann enter initial h1", "vip bob enter initial h1"]
    );
    assert_eq!(ledger.verify(&tenant()).await.unwrap(), Vec::<String>::new());
}
