//! What every ledger does, whatever its place.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use libtest_mimic::Trial;
use object_store::memory::InMemory;
use segmenta::backend::MemberSet;
use segmenta::clock::Clock as _;
use segmenta::model::manual::{Origin, Verdict};
use segmenta::model::segment::Status;
use segmenta::store::{
    Audience, Basis, Change, ChangeReason, DefinitionNote, EditAction, Edited, Erased, ErasedFrom, Figures, Horizon, Horizons,
    LeaseScope, Ledger, LedgerError, Outcome, OverrideEdit, Overrides, Past, PastSnapshot, Provenance, ReadFilter, Retention, Run,
    RunKind, RunStatus, SetOperation, Staged, StagedSegment, Transaction, Waste,
};

use super::clickhouse::ClickHouseStage;
use super::s3::S3Stage;
use super::stage::{
    AT_ONCE, DiskStage, EVERYONE, MemoryStage, ObjectStage, Stage, definition, evaluated, figures, lines, refresh, refresh_under,
    refresh_within, run, segment, tenant, text_rows, within, write_scope,
};
use super::upkeep;
use crate::clickhouse;

/// A case of the contract.
type Case<S> = for<'a> fn(&'a S) -> BoxFuture<'a, ()>;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(cases("memory ledger", MemoryStage::new, all()));
    trials.extend(cases("objects in memory", || ObjectStage::new(Arc::new(InMemory::new())), lasting()));
    trials.extend(cases("objects on disk", DiskStage::new, lasting()));
    trials.extend(cases("objects on a server of S3", S3Stage::new, lasting()));
    trials.extend(clickhouse_cases());
    trials
}

fn cases<S: Stage + 'static>(place: &'static str, stage: fn() -> S, cases: Vec<(&'static str, Case<S>)>) -> Vec<Trial> {
    let trial = |(name, case): (&str, Case<S>)| {
        Trial::test(format!("store::contract::{place}: {name}"), move || {
            within(async { case(&stage()).await });
            Ok(())
        })
    };
    cases.into_iter().map(trial).collect()
}

/// As [`cases`], ignored where there is no server.
fn clickhouse_cases() -> Vec<Trial> {
    let trial = |(name, case): (&str, Case<ClickHouseStage>)| {
        clickhouse::trial(format!("store::contract::clickhouse: {name}"), move |server| {
            let stage = ClickHouseStage::new(server)?;
            within(async { case(&stage).await });
            Ok(())
        })
    };
    lasting().into_iter().map(trial).collect()
}

fn all<S: Stage + 'static>() -> Vec<(&'static str, Case<S>)> {
    vec![
        ("an unknown tenant is empty", |stage| Box::pin(an_unknown_tenant_is_empty(stage))),
        ("a run becomes visible", |stage| Box::pin(a_run_becomes_visible(stage))),
        ("without a commit nothing happened", |stage| Box::pin(without_a_commit_nothing_happened(stage))),
        ("who stays keeps the instant of the enter", |stage| Box::pin(who_stays_keeps_the_instant_of_the_enter(stage))),
        ("changes carry their reasons", |stage| Box::pin(changes_carry_their_reasons(stage))),
        ("a run that changes nobody leaves the snapshot", |stage| Box::pin(a_run_that_changes_nobody_leaves_the_snapshot(stage))),
        ("a failed segment keeps its members", |stage| Box::pin(a_failed_segment_keeps_its_members(stage))),
        ("archived and deleted segments end", |stage| Box::pin(archived_and_deleted_segments_end(stage))),
        ("notes, jobs, daily rows and counts", |stage| Box::pin(notes_jobs_daily_rows_and_counts(stage))),
        ("rows are read by segment, subject and time", |stage| Box::pin(rows_are_read_by_segment_subject_and_time(stage))),
        ("rows are read by direction, reason, kind and status", |stage| {
            Box::pin(rows_are_read_by_direction_reason_kind_and_status(stage))
        }),
        ("segments are put together", |stage| Box::pin(segments_are_put_together(stage))),
        ("a subject finds its segments", |stage| Box::pin(a_subject_finds_its_segments(stage))),
        ("a lease keeps others out", |stage| Box::pin(a_lease_keeps_others_out(stage))),
        ("a newer lease fences an older one off", |stage| Box::pin(a_newer_lease_fences_an_older_one_off(stage))),
        ("a reader goes on with what it began", |stage| Box::pin(a_reader_goes_on_with_what_it_began(stage))),
        ("what people decide wins", |stage| Box::pin(what_people_decide_wins(stage))),
        ("an edit is seen as it was at any instant", |stage| Box::pin(an_edit_is_seen_as_it_was_at_any_instant(stage))),
        ("a deleted segment leaves no decision", |stage| Box::pin(a_deleted_segment_leaves_no_decision(stage))),
        ("nothing is left of an erased subject", |stage| Box::pin(nothing_is_left_of_an_erased_subject(stage))),
        ("too great a change is held", |stage| Box::pin(too_great_a_change_is_held(stage))),
        ("time may go back", |stage| Box::pin(time_may_go_back(stage))),
        ("members of the past are told", |stage| Box::pin(members_of_the_past_are_told(stage))),
        ("backfills leave snapshots", |stage| Box::pin(backfills_leave_snapshots(stage))),
        ("a long life of many runs", |stage| Box::pin(a_long_life_of_many_runs(stage))),
    ]
}

/// What every ledger does, and what those do that keep things for years: the one in memory keeps every row.
fn lasting<S: Stage + 'static>() -> Vec<(&'static str, Case<S>)> {
    let mut cases = all();
    cases.extend::<[(&str, Case<S>); 6]>([
        ("rows that are kept no longer go, and every law holds", |stage| Box::pin(upkeep::rows_go_and_every_law_holds(stage))),
        ("the last snapshot of a day is kept", |stage| {
            Box::pin(upkeep::the_last_snapshot_of_a_day_is_kept(stage, |_| Box::pin(async { None })))
        }),
        ("members of the past are told by what is kept, though the clock went back", |stage| {
            Box::pin(upkeep::members_of_the_past(stage, 5, 4))
        }),
        ("what died is garbage, and nothing else", |stage| Box::pin(what_died_is_garbage(stage))),
        ("nothing is repaired that is whole", |stage| Box::pin(nothing_is_repaired_that_is_whole(stage))),
        ("nothing of the past is left of an erased subject", |stage| Box::pin(nothing_of_the_past_is_left(stage))),
    ]);
    cases
}

/// Every law holds, seen by a process that starts now.
async fn assert_lawful<S: Stage>(stage: &S) {
    assert_eq!(stage.open().verify(&tenant()).await.unwrap(), []);
}

async fn members<S: Stage>(stage: &S, id: &str) -> Vec<String> {
    lines(stage.open().read_members(&tenant(), &segment(id)).await.unwrap(), &["subject_id"]).await
}

async fn changes<S: Stage>(stage: &S, filter: ReadFilter) -> Vec<String> {
    let rows = stage.open().read_changes(&tenant(), &filter).await.unwrap();
    lines(rows, &["segment_id", "subject_id", "change", "reason"]).await
}

async fn history<S: Stage>(stage: &S, filter: ReadFilter) -> Vec<String> {
    let rows = stage.open().read_history(&tenant(), &filter).await.unwrap();
    lines(rows, &["segment_id", "kind", "status", "member_count", "added_count", "removed_count"]).await
}

async fn an_unknown_tenant_is_empty<S: Stage>(stage: &S) {
    let ledger = stage.open();
    assert!(ledger.state(&tenant()).await.unwrap().segments.is_empty());
    assert_eq!(ledger.stored(&tenant(), &segment("vip")).await.unwrap().count(), 0);
    assert_eq!(ledger.recount(&tenant(), &segment("vip")).await.unwrap(), 0);
    assert_eq!(ledger.segments_of(&tenant(), "ann").await.unwrap(), []);
    assert!(members(stage, "vip").await.is_empty());
    assert!(changes(stage, ReadFilter::default()).await.is_empty());
    assert!(history(stage, ReadFilter::default()).await.is_empty());
    assert_lawful(stage).await;
}

async fn a_run_becomes_visible<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let found = refresh(stage, &ledger, &[("vip", "h1", &["bob", "ann", "Ünal 🦊"]), ("none", "h2", &[])]).await.unwrap();
    assert_eq!(found, [figures(3, 3, 0), figures(0, 0, 0)]);

    let state = stage.open().state(&tenant()).await.unwrap();
    let vip = &state.segments[&segment("vip")];
    assert_eq!((vip.member_count, vip.errors, vip.duration_ms), (3, 0, 7));
    assert_eq!((vip.computed_at, vip.attempted_at), (Some(vip.attempted_at), "2026-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!((&vip.definition, &vip.note, &vip.last_error), (&definition("h1"), &DefinitionNote::Present, &None));
    assert_eq!(state.segments[&segment("none")].member_count, 0);

    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(
        lines(rows, &["tenant", "segment_id", "subject_id", "entered_at", "score", "confidence", "reason", "as_of"]).await,
        ["ann", "bob", "Ünal 🦊"].map(|id| format!("demo vip {id} 2026-01-01T00:00:00Z null null rule_match 2026-01-01T00:00:00Z"))
    );
    let rows = stage.open().read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(rows, &["tenant", "segment_id", "subject_id", "change", "at", "reason", "score", "definition_hash"]).await,
        ["ann", "bob", "Ünal 🦊"].map(|id| format!("demo vip {id} enter 2026-01-01T00:00:00Z initial null h1"))
    );
    let rows = stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    let columns =
        ["segment_id", "kind", "evaluation_date", "status", "member_count", "added_count", "duration_ms", "definition_hash"];
    assert_eq!(lines(rows, &columns).await, ["vip run 2026-01-01 ok 3 3 7 h1", "none run 2026-01-01 ok 0 0 7 h2"]);

    let stored = stage.open().stored(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!((stored.count(), stage.ids(&stored).await), (3, vec!["ann".to_owned(), "bob".to_owned(), "Ünal 🦊".to_owned()]));
    assert_eq!(stage.open().recount(&tenant(), &segment("vip")).await.unwrap(), 3);
    assert_lawful(stage).await;
}

async fn without_a_commit_nothing_happened<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    transaction.stage(evaluated("vip", "h1", stage.members(&["bob"]).await, stage.members(&EVERYONE).await)).await.unwrap();
    transaction.stage(evaluated("new", "h1", stage.members(&["bob"]).await, stage.members(&EVERYONE).await)).await.unwrap();
    transaction.note_job("count_sync", stage.clock().at());
    assert_eq!(members(stage, "vip").await, ["ann"]);
    drop(transaction);
    ledger.release(lease).await.unwrap();
    assert_eq!(members(stage, "vip").await, ["ann"]);
    assert!(members(stage, "new").await.is_empty());
    assert!(ledger.state(&tenant()).await.unwrap().jobs.is_empty());
    assert_lawful(stage).await;
    assert_eq!(refresh(stage, &ledger, &[("vip", "h1", &["cid"])]).await.unwrap(), [figures(1, 1, 1)]);
    assert_lawful(stage).await;
}

async fn who_stays_keeps_the_instant_of_the_enter<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let hour = Duration::from_secs(3600);
    for members in [&["ann", "bob"][..], &["ann", "bob", "cid"], &["ann", "cid"], &["ann", "bob", "cid"]] {
        refresh(stage, &ledger, &[("vip", "h1", members)]).await.unwrap();
        assert_lawful(stage).await;
        stage.clock().advance(hour);
    }
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(
        lines(rows, &["subject_id", "entered_at", "as_of"]).await,
        [
            "ann 2026-01-01T00:00:00Z 2026-01-01T03:00:00Z",
            "bob 2026-01-01T03:00:00Z 2026-01-01T03:00:00Z",
            "cid 2026-01-01T01:00:00Z 2026-01-01T03:00:00Z"
        ]
    );
}

async fn changes_carry_their_reasons<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob", "cid"])]).await.unwrap();
    refresh_within(stage, &ledger, &["ann", "bob", "dan"], &[("vip", "h1", &["ann", "dan"])]).await.unwrap();
    refresh_within(stage, &ledger, &["bob", "dan", "eve"], &[("vip", "h2", &["bob", "eve"])]).await.unwrap();
    assert_eq!(
        changes(stage, ReadFilter::default()).await,
        [
            "vip ann enter initial",
            "vip bob enter initial",
            "vip cid enter initial",
            "vip bob exit rule_ended",
            "vip cid exit left_universe",
            "vip dan enter rule_match",
            "vip ann exit left_universe",
            "vip bob enter definition_changed",
            "vip dan exit definition_changed",
            "vip eve enter definition_changed",
        ]
    );
    assert_lawful(stage).await;
}

async fn a_run_that_changes_nobody_leaves_the_snapshot<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"]), ("none", "h1", &[])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    assert_eq!(
        refresh(stage, &ledger, &[("vip", "h1", &["ann"]), ("none", "h1", &[])]).await.unwrap(),
        [figures(1, 0, 0), figures(0, 0, 0)]
    );
    let rows = stage.open().read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id", "as_of"]).await, ["ann 2026-01-01T00:00:00Z"]);
    let computed_at = stage.open().state(&tenant()).await.unwrap().segments[&segment("vip")].computed_at;
    assert_eq!(computed_at, "2026-01-01T00:01:00Z".parse().ok());
    assert_eq!(changes(stage, ReadFilter::default()).await.len(), 1);
    assert_eq!(
        history(stage, ReadFilter::default()).await,
        ["vip run ok 1 1 0", "none run ok 0 0 0", "vip run ok 1 0 0", "none run ok 0 0 0"]
    );
    assert_lawful(stage).await;
}

async fn fail<S: Stage>(stage: &S, ledger: &S::Ledger, id: &str, hash: &str) {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let outcome = Outcome::Failed { error: "the column `plan` is gone".to_owned() };
    let definition = Some(definition(hash));
    let staged = StagedSegment { segment: segment(id), definition, outcome, duration: Duration::ZERO, max_change: None };
    transaction.stage(staged).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
}

async fn a_failed_segment_keeps_its_members<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    for id in ["vip", "new", "vip"] {
        fail(stage, &ledger, id, "h2").await;
    }
    let state = stage.open().state(&tenant()).await.unwrap();
    let vip = &state.segments[&segment("vip")];
    assert_eq!((vip.member_count, vip.errors, vip.last_error.as_deref()), (1, 2, Some("the column `plan` is gone")));
    assert_eq!(vip.computed_at, "2026-01-01T00:00:00Z".parse().ok());
    assert_eq!(vip.attempted_at, "2026-01-01T00:01:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(vip.definition, definition("h2"));
    let new = &state.segments[&segment("new")];
    assert_eq!((new.member_count, new.errors, new.computed_at), (0, 1, None));
    assert_eq!(members(stage, "vip").await, ["ann"]);
    assert_lawful(stage).await;

    refresh(stage, &ledger, &[("vip", "h2", &["bob"]), ("new", "h2", &["bob"])]).await.unwrap();
    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!((state.segments[&segment("vip")].errors, &state.segments[&segment("vip")].last_error), (0, &None));
    assert_eq!(
        changes(stage, ReadFilter::default()).await[1..],
        ["vip ann exit definition_changed", "vip bob enter definition_changed", "new bob enter initial"]
    );
    let rows = stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(rows, &["segment_id", "status", "member_count", "error"]).await,
        [
            "vip ok 1 null",
            "vip failed 1 the column `plan` is gone",
            "new failed 0 the column `plan` is gone",
            "vip failed 1 the column `plan` is gone",
            "vip ok 1 null",
            "new ok 1 null"
        ]
    );
    assert_lawful(stage).await;
}

async fn end<S: Stage>(stage: &S, ledger: &S::Ledger, id: &str, reason: ChangeReason) -> Result<(), LedgerError> {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await?;
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await?;
    let outcome = Outcome::Ended { reason };
    let staged = transaction
        .stage(StagedSegment { segment: segment(id), definition: None, outcome, duration: Duration::ZERO, max_change: None })
        .await;
    let ended = match staged {
        Ok(_) => transaction.commit().await,
        Err(error) => Err(error),
    };
    ledger.release(lease).await?;
    ended
}

async fn archived_and_deleted_segments_end<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let everyone: [(&str, &str, &[&str]); 2] = [("old", "h1", &["ann", "bob"]), ("bad", "h1", &["ann"])];
    refresh(stage, &ledger, &everyone).await.unwrap();
    end(stage, &ledger, "old", ChangeReason::Archived).await.unwrap();
    end(stage, &ledger, "bad", ChangeReason::SegmentDeleted).await.unwrap();
    let unknown = end(stage, &ledger, "bad", ChangeReason::SegmentDeleted).await;
    assert!(matches!(unknown, Err(LedgerError::UnknownSegment { .. })), "{unknown:?}");

    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!(state.segments.keys().map(ToString::to_string).collect::<Vec<_>>(), ["old"]);
    let old = &state.segments[&segment("old")];
    assert_eq!((old.member_count, old.definition.status), (0, Status::Archived));
    assert!(members(stage, "old").await.is_empty());
    assert!(members(stage, "bad").await.is_empty());
    assert_eq!(
        changes(stage, ReadFilter::default()).await[3..],
        ["old ann exit archived", "old bob exit archived", "bad ann exit segment_deleted"]
    );
    assert_eq!(history(stage, ReadFilter::default()).await[2..], ["old run ok 0 0 2", "bad run ok 0 0 1"]);
    assert_lawful(stage).await;

    refresh(stage, &ledger, &everyone).await.unwrap();
    assert_eq!(
        changes(stage, ReadFilter::default()).await[6..],
        ["old ann enter rule_match", "old bob enter rule_match", "bad ann enter initial"]
    );
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("old")].definition.status, Status::Active);
    assert_lawful(stage).await;
}

async fn notes_jobs_daily_rows_and_counts<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob"]), ("other", "h1", &["ann"])]).await.unwrap();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    transaction.record_daily(&segment("vip")).await.unwrap();
    transaction.correct_count(&segment("other"), 5).await.unwrap();
    transaction.note_definition(&segment("other"), DefinitionNote::Missing);
    transaction.note_definition(&segment("vip"), DefinitionNote::Invalid("unknown property `contry`".to_owned()));
    transaction.note_job("history_record", stage.clock().at());
    for unknown in [transaction.record_daily(&segment("no")).await, transaction.correct_count(&segment("no"), 1).await] {
        assert!(matches!(unknown, Err(LedgerError::UnknownSegment { .. })), "{unknown:?}");
    }
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();

    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!(state.segments[&segment("other")].member_count, 5);
    assert_eq!(state.segments[&segment("other")].note, DefinitionNote::Missing);
    assert_eq!(state.segments[&segment("vip")].note, DefinitionNote::Invalid("unknown property `contry`".to_owned()));
    assert_eq!(state.jobs["history_record"], stage.clock().at());
    assert_eq!(history(stage, ReadFilter::default()).await[2..], ["vip daily ok 2 0 0"]);
    assert_eq!(stage.open().verify(&tenant()).await.unwrap().len(), 1, "the wrong count is found");

    // A run counts what is there, whatever the record said.
    assert_eq!(refresh(stage, &ledger, &[("other", "h1", &["ann"])]).await.unwrap(), [figures(1, 0, 0)]);
    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!(state.segments[&segment("other")].note, DefinitionNote::Missing, "a note stays until another is made");
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    let rows = stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    let remark = "its file is invalid, and the last valid form is in force: unknown property `contry`";
    assert_eq!(
        lines(rows, &["segment_id", "kind", "status", "error"]).await[2..],
        [format!("vip daily ok {remark}"), "other run ok null".to_owned(), format!("vip run ok {remark}")],
        "the history of an invalid definition says so"
    );
    assert_lawful(stage).await;
}

async fn rows_are_read_by_segment_subject_and_time<S: Stage>(stage: &S) {
    let ledger = stage.open();
    for members in [&["ann", "bob"][..], &["ann"], &["bob"]] {
        refresh(stage, &ledger, &[("a", "h1", members), ("b", "h1", &["ann"])]).await.unwrap();
        stage.clock().advance(Duration::from_secs(86_400));
    }
    let by_segment = ReadFilter { segments: vec![segment("b")], ..ReadFilter::default() };
    assert_eq!(changes(stage, by_segment.clone()).await, ["b ann enter initial"]);
    assert_eq!(history(stage, by_segment).await, ["b run ok 1 1 0", "b run ok 1 0 0", "b run ok 1 0 0"]);
    let by_subject = ReadFilter { segments: vec![segment("a")], subject: Some("bob".to_owned()), ..ReadFilter::default() };
    assert_eq!(changes(stage, by_subject).await, ["a bob enter initial", "a bob exit rule_ended", "a bob enter rule_match"]);
    let second =
        ReadFilter { from: "2026-01-02T00:00:00Z".parse().ok(), to: "2026-01-03T00:00:00Z".parse().ok(), ..ReadFilter::default() };
    assert_eq!(changes(stage, second.clone()).await, ["a bob exit rule_ended"]);
    assert_eq!(history(stage, second).await, ["a run ok 1 0 1", "b run ok 1 0 0"]);
    let nothing = ReadFilter { from: "2027-01-01T00:00:00Z".parse().ok(), ..ReadFilter::default() };
    assert!(changes(stage, nothing).await.is_empty());
}

async fn rows_are_read_by_direction_reason_kind_and_status<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("a", "h1", &["ann", "bob"]), ("b", "h1", &["ann"])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    refresh(stage, &ledger, &[("a", "h1", &["bob", "cid"]), ("b", "h2", &["bob"])]).await.unwrap();
    fail(stage, &ledger, "b", "h2").await;
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    transaction.record_daily(&segment("a")).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();

    let all = ReadFilter::default;
    let exits = ReadFilter { change: Some(Change::Exit), ..all() };
    assert_eq!(changes(stage, exits).await, ["a ann exit rule_ended", "b ann exit definition_changed"]);
    let reasons = vec![ChangeReason::RuleMatch, ChangeReason::DefinitionChanged];
    let enters = ReadFilter { change: Some(Change::Enter), reasons, ..all() };
    assert_eq!(changes(stage, enters).await, ["a cid enter rule_match", "b bob enter definition_changed"]);
    let of_both = ReadFilter { segments: vec![segment("b"), segment("a")], subject: Some("ann".to_owned()), ..all() };
    assert_eq!(
        changes(stage, of_both).await,
        ["a ann enter initial", "b ann enter initial", "a ann exit rule_ended", "b ann exit definition_changed"]
    );
    let nobody = ReadFilter { reasons: vec![ChangeReason::Erased], ..all() };
    assert!(changes(stage, nobody).await.is_empty());

    let failed = ReadFilter { statuses: vec![RunStatus::Failed], ..all() };
    assert_eq!(history(stage, failed).await, ["b run failed 1 0 0"]);
    let daily = ReadFilter { kinds: vec![RunKind::Daily, RunKind::Erase], ..all() };
    assert_eq!(history(stage, daily).await, ["a daily ok 2 0 0"]);
    let runs = ReadFilter {
        segments: vec![segment("a")],
        kinds: vec![RunKind::Run],
        statuses: vec![RunStatus::Ok, RunStatus::Held],
        ..all()
    };
    assert_eq!(history(stage, runs).await, ["a run ok 2 2 0", "a run ok 2 1 1"]);
}

async fn segments_are_put_together<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("a", "h1", &["ann", "bob", "dan"]), ("b", "h1", &["bob"]), ("none", "h1", &[])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    refresh(
        stage,
        &ledger,
        &[("a", "h1", &["ann", "bob", "dan", "Ünal 🦊"]), ("b", "h1", &["bob", "dan", "eve"]), ("c", "h1", &["ann", "eve"])],
    )
    .await
    .unwrap();
    let of = async |segments: &[&str], operation: SetOperation, after: Option<&str>| {
        let segments = segments.iter().map(|id| segment(id)).collect();
        let audience = Audience { segments, operation, after: after.map(str::to_owned) };
        let rows = stage.open().read_audience(&tenant(), &audience).await.unwrap();
        lines(rows, &["subject_id", "entered_at"]).await
    };
    let (first, second) = (" 2026-01-01T00:00:00Z", " 2026-01-01T00:01:00Z");
    let line = |id: &str, at: &str| format!("{id}{at}");
    let union = [line("ann", first), line("bob", first), line("dan", first), line("eve", second), line("Ünal 🦊", second)];
    assert_eq!(of(&["a", "b", "c"], SetOperation::Union, None).await, union);
    assert_eq!(of(&["c", "never", "b", "a"], SetOperation::Union, Some("bob")).await, union[2..]);
    assert_eq!(of(&["b", "a"], SetOperation::Intersection, None).await, [line("bob", first), line("dan", second)]);
    assert!(of(&["a", "b", "c"], SetOperation::Intersection, None).await.is_empty());
    assert!(of(&["a", "none"], SetOperation::Intersection, None).await.is_empty());
    assert_eq!(of(&["a", "b"], SetOperation::Difference, None).await, [line("ann", first), line("Ünal 🦊", second)]);
    assert_eq!(of(&["b", "c", "none"], SetOperation::Difference, None).await, [line("bob", first), line("dan", second)]);
    assert_eq!(of(&["b", "c"], SetOperation::Difference, Some("bob")).await, [line("dan", second)]);
    assert!(of(&["none", "a"], SetOperation::Difference, None).await.is_empty());

    let alone = Audience { after: Some("bob".to_owned()), ..Audience::of(&segment("a")) };
    let rows = stage.open().read_audience(&tenant(), &alone).await.unwrap();
    assert_eq!(
        lines(rows, &["tenant", "segment_id", "subject_id", "reason"]).await,
        ["demo a dan rule_match", "demo a Ünal 🦊 rule_match"]
    );
    let never = stage.open().read_audience(&tenant(), &Audience::of(&segment("never"))).await.unwrap();
    assert!(text_rows(never).await.unwrap().is_empty());
}

async fn a_subject_finds_its_segments<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("a", "h1", &["ann", "bob"]), ("b", "h1", &["ann", "Ünal 🦊"]), ("c", "h1", &[])]).await.unwrap();
    let of = async |id: &str| {
        let found = stage.open().segments_of(&tenant(), id).await.unwrap();
        found.into_iter().map(|found| format!("{} {} {}", found.segment_id, found.entered_at, found.reason)).collect::<Vec<_>>()
    };
    assert_eq!(of("ann").await, ["a 2026-01-01T00:00:00Z rule_match", "b 2026-01-01T00:00:00Z rule_match"]);
    assert_eq!(of("Ünal 🦊").await, ["b 2026-01-01T00:00:00Z rule_match"]);
    assert!(of("nobody").await.is_empty());
}

async fn a_lease_keeps_others_out<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let scheduler = ledger.acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let other = ledger.acquire(&LeaseScope::Tenant("other".parse().unwrap()), AT_ONCE).await.unwrap();
    let refused = stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap_err();
    assert_eq!(refused.to_string().split(" is held by ").next(), Some("tenant `demo`"));
    let refused = stage.open().acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap_err();
    assert!(matches!(&refused, LedgerError::Held { since, .. } if since == "2026-01-01T00:00:00Z"), "{refused:?}");
    let first = lease.number;
    ledger.release(lease).await.unwrap();
    let second = stage.open().acquire(&write_scope(), AT_ONCE).await.unwrap();
    assert!(second.number > first);
    for lease in [scheduler, second, other] {
        stage.open().release(lease).await.unwrap();
    }
    let wrong = ledger.acquire(&LeaseScope::Scheduler, AT_ONCE).await.unwrap();
    let refused = ledger.begin(&wrong, run(stage.clock())).await.err();
    assert!(matches!(refused, Some(LedgerError::Fenced { .. })), "{refused:?}");
    ledger.release(wrong).await.unwrap();
}

async fn a_newer_lease_fences_an_older_one_off<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    let slow = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut held_up = ledger.begin(&slow, run(stage.clock())).await.unwrap();
    held_up.stage(evaluated("vip", "h1", stage.members(&["bob"]).await, stage.members(&EVERYONE).await)).await.unwrap();
    stage.clock().advance(Duration::from_secs(120));

    let newer = stage.open();
    assert_eq!(refresh(stage, &newer, &[("vip", "h1", &["ann", "cid"])]).await.unwrap(), [figures(2, 1, 0)]);
    let refused = held_up.commit().await;
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    let refused = refresh_under(stage, &ledger, &slow, &EVERYONE, &[("vip", "h1", &["bob"])]).await;
    assert!(matches!(refused, Err(LedgerError::Fenced { .. })), "{refused:?}");
    ledger.release(slow).await.unwrap();
    assert_eq!(members(stage, "vip").await, ["ann", "cid"]);
    assert_lawful(stage).await;
    assert_eq!(refresh(stage, &ledger, &[("vip", "h1", &["dan"])]).await.unwrap(), [figures(1, 1, 2)]);
    assert_lawful(stage).await;
}

async fn a_reader_goes_on_with_what_it_began<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob"])]).await.unwrap();
    let reader = stage.open();
    let rows = reader.read_members(&tenant(), &segment("vip")).await.unwrap();
    refresh(stage, &ledger, &[("vip", "h1", &["cid"])]).await.unwrap();
    refresh(stage, &ledger, &[("vip", "h1", &["dan"])]).await.unwrap();
    assert_eq!(lines(rows, &["subject_id"]).await, ["ann", "bob"]);
    let rows = reader.read_members(&tenant(), &segment("vip")).await.unwrap();
    assert_eq!(lines(rows, &["subject_id"]).await, ["dan"]);
}

async fn time_may_go_back<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob"])]).await.unwrap();
    stage.clock().jump_back(Duration::from_secs(7200));
    refresh(stage, &ledger, &[("vip", "h1", &["bob", "cid"])]).await.unwrap();
    refresh(stage, &stage.open(), &[("vip", "h1", &["cid"])]).await.unwrap();
    let rows = stage.open().read_changes(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(rows, &["subject_id", "change", "at"]).await,
        [
            "ann enter 2026-01-01T00:00:00Z",
            "bob enter 2026-01-01T00:00:00Z",
            "ann exit 2025-12-31T22:00:00Z",
            "cid enter 2025-12-31T22:00:00Z",
            "bob exit 2025-12-31T22:00:00Z",
        ]
    );
    assert_eq!(members(stage, "vip").await, ["cid"]);
    assert_lawful(stage).await;
}

async fn members_of_the_past_are_told<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let hour = Duration::from_secs(3600);
    for members in [&["ann", "bob"][..], &["bob"], &["bob"], &["ann", "cid"], &[]] {
        refresh(stage, &ledger, &[("vip", "h1", members)]).await.unwrap();
        stage.clock().advance(hour);
    }
    let told = async |id: &str, at: &str| match ledger.members_at(&tenant(), &segment(id), at.parse().unwrap()).await.unwrap() {
        Past::Members { rows, .. } => Some(lines(rows, &["tenant", "segment_id", "subject_id", "entered_at", "reason"]).await),
        Past::Unknown => None,
    };
    let row = |id: &str, at: &str| format!("demo vip {id} 2026-01-01T{at}Z rule_match");
    for (at, expected) in [
        ("2026-01-01T00:00:00Z", vec![row("ann", "00:00:00"), row("bob", "00:00:00")]),
        ("2026-01-01T00:59:59Z", vec![row("ann", "00:00:00"), row("bob", "00:00:00")]),
        ("2026-01-01T01:00:00Z", vec![row("bob", "00:00:00")]),
        ("2026-01-01T02:30:00Z", vec![row("bob", "00:00:00")]),
        ("2026-01-01T03:00:00Z", vec![row("ann", "03:00:00"), row("cid", "03:00:00")]),
        ("2026-01-01T04:00:00Z", vec![]),
        ("2027-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(told("vip", at).await, Some(expected), "{at}");
    }
    assert_eq!(told("vip", "2025-12-31T23:59:59Z").await, None, "before the first run");
    assert_eq!(told("other", "2026-01-01T03:00:00Z").await, None, "a segment that nobody knows");
}

/// Leaves a snapshot of an instant, which follows on that of another.
pub(crate) async fn leave<S: Stage>(stage: &S, hash: &str, (at, follows): (&str, Option<&str>), members: &[&str]) {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let as_of: Timestamp = at.parse().unwrap();
    let evaluation_date = as_of.to_zoned(jiff::tz::TimeZone::UTC).date();
    let run = Run { kind: RunKind::Backfill, as_of, evaluation_date, ..run(stage.clock()) };
    let mut transaction = ledger.begin(&lease, run).await.unwrap();
    let figures = figures(members.len() as u64, members.len() as u64, 0);
    transaction.record_past(&segment("vip"), figures, hash, Duration::ZERO);
    let snapshot = PastSnapshot {
        segment: segment("vip"),
        definition_hash: hash.to_owned(),
        members: stage.members(members).await,
        overrides: Overrides::default(),
        follows: follows.map(|at| at.parse().unwrap()),
    };
    transaction.keep_past(vec![snapshot]).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
}

async fn backfills_leave_snapshots<S: Stage>(stage: &S) {
    let ledger = stage.open();
    refresh(stage, &ledger, &[("vip", "h1", &["ann"])]).await.unwrap();
    let (first, second, third) = ("2025-12-01T00:00:00Z", "2025-12-02T00:00:00Z", "2025-12-03T00:00:00Z");
    leave(stage, "h1", (first, None), &["ann", "bob"]).await;
    leave(stage, "h1", (second, Some(first)), &["bob", "cid"]).await;
    leave(stage, "h1", (third, Some(second)), &[]).await;

    let told = async |at: &str| match stage.open().members_at(&tenant(), &segment("vip"), at.parse().unwrap()).await.unwrap() {
        Past::Members { rows, provenance } => {
            let rows = lines(rows, &["tenant", "segment_id", "subject_id", "entered_at", "score", "reason", "as_of"]).await;
            Some((rows, provenance))
        }
        Past::Unknown => None,
    };
    let row = |id: &str, since: &str, at: &str| format!("demo vip {id} {since} null rule_match {at}");
    let of_backfill = |rows: &[String]| Some((rows.to_vec(), Provenance::Backfilled));
    assert_eq!(told(first).await, of_backfill(&[row("ann", first, first), row("bob", first, first)]));
    assert_eq!(told(second).await, of_backfill(&[row("bob", first, second), row("cid", second, second)]));
    assert_eq!(told(third).await, of_backfill(&[]), "nobody, and that is known");
    assert_eq!(told("2025-12-01T12:00:00Z").await, None, "a snapshot tells of its own instant");
    let present = told("2026-01-01T00:00:00Z").await.unwrap();
    assert_eq!(present.0, [row("ann", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")], "runs are told by their records");

    let left = async |hash: &str| stage.open().backfilled(&tenant(), &segment("vip"), hash).await.unwrap();
    assert_eq!(left("h1").await, [first, second, third].map(|at| at.parse().unwrap()).into());
    assert!(left("h2").await.is_empty(), "another definition has a past of its own");
    leave(stage, "h2", (second, Some(first)), &["ann", "bob"]).await;
    assert_eq!(told(second).await, of_backfill(&[row("ann", second, second), row("bob", second, second)]), "the last one counts");
    assert_eq!(left("h2").await, [second.parse().unwrap()].into());

    assert_eq!(members(stage, "vip").await, ["ann"], "the present is not touched");
    assert_lawful(stage).await;
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob"])]).await.unwrap();
    let known = ErasedFrom { was_member: true, changes: 1, snapshots: 3, overrides: 0 };
    assert_eq!(erase(stage, "bob").await.segments, [(segment("vip"), known)].into());
    assert_eq!(told(first).await, of_backfill(&[row("ann", first, first)]));
    assert_lawful(stage).await;
}

/// Long enough for checkpoints, with the members of each run decided by its number.
async fn a_long_life_of_many_runs<S: Stage>(stage: &S) {
    let mut ledger = stage.open();
    let members_of = |number: u64, salt: u64| -> Vec<&str> {
        let drawn = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ salt) >> 40;
        EVERYONE.iter().enumerate().filter(|(position, _)| drawn >> position & 1 == 1).map(|(_, id)| *id).collect()
    };
    for number in 0..40 {
        if number % 9 == 8 {
            ledger = stage.open();
        }
        let (a, b) = (members_of(number, 1), members_of(number / 3, 2));
        refresh(stage, &ledger, &[("a", "h1", &a), ("b", "h1", &b)]).await.unwrap();
        stage.clock().advance(Duration::from_secs(60));
    }
    for (id, expected) in [("a", members_of(39, 1)), ("b", members_of(39 / 3, 2))] {
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(members(stage, id).await, expected);
    }
    let rows = stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(text_rows(rows).await.unwrap().len(), 80);
    assert_lawful(stage).await;
}

/// An edit, with the members that the rule gives and those that come of it, out of [`EVERYONE`].
pub(crate) async fn edit<S: Stage>(
    stage: &S,
    id: &str,
    (action, origin): (EditAction, Origin),
    subjects: &[&str],
    members: &[&str],
) -> (Figures, Vec<String>) {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let run = Run { kind: RunKind::Manual, ..run(stage.clock()) };
    let mut transaction = ledger.begin(&lease, run).await.unwrap();
    let edit = OverrideEdit { action, origin, subjects: subjects.iter().map(|id| (*id).to_owned()).collect() };
    let Edited { overrides, subjects: edited, undecided } = transaction.edit_overrides(&segment(id), &edit).await.unwrap();
    assert_eq!(stage.ids(&edited).await, edit.subjects.into_iter().collect::<Vec<_>>());
    let (members, universe) = (stage.members(members).await, stage.members(&EVERYONE).await);
    let outcome = Outcome::Members { members, universe, overrides, basis: Basis::Evaluated };
    let staged = StagedSegment { outcome, ..evaluated(id, "h1", stage.members(&[]).await, stage.members(&[]).await) };
    let figures = transaction.stage(staged).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    (figures, undecided)
}

/// A refresh of one segment with what is decided at the moment.
async fn refresh_decided<S: Stage>(stage: &S, id: &str, members: &[&str]) -> Figures {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let run = run(stage.clock());
    let overrides = ledger.overrides(&tenant(), run.as_of).await.unwrap().remove(&segment(id)).unwrap_or_default();
    let mut transaction = ledger.begin(&lease, run).await.unwrap();
    let (members, universe) = (stage.members(members).await, stage.members(&EVERYONE).await);
    let outcome = Outcome::Members { members, universe, overrides, basis: Basis::Evaluated };
    let staged = StagedSegment { outcome, ..evaluated(id, "h1", stage.members(&[]).await, stage.members(&[]).await) };
    let figures = transaction.stage(staged).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    figures
}

pub(crate) const ADD: (EditAction, Origin) = (EditAction::Decide(Verdict::Add), Origin::Manual);
const IMPORT: (EditAction, Origin) = (EditAction::Decide(Verdict::Add), Origin::Import);
const REMOVE: (EditAction, Origin) = (EditAction::Decide(Verdict::Remove), Origin::Manual);
const CLEAR: (EditAction, Origin) = (EditAction::Clear, Origin::Manual);

async fn reasons<S: Stage>(stage: &S, id: &str) -> Vec<String> {
    lines(stage.open().read_members(&tenant(), &segment(id)).await.unwrap(), &["subject_id", "reason"]).await
}

async fn what_people_decide_wins<S: Stage>(stage: &S) {
    refresh(stage, &stage.open(), &[("vip", "h1", &["ann", "bob"])]).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    // Bob is a member by the rule as well: nobody enters, and the reason is another.
    let (figures_of_edit, _) = edit(stage, "vip", ADD, &["bob", "cid"], &["ann", "bob", "cid"]).await;
    assert_eq!(figures_of_edit, figures(3, 1, 0));
    assert_eq!(reasons(stage, "vip").await, ["ann rule_match", "bob manual", "cid manual"]);
    let (figures_of_edit, _) = edit(stage, "vip", IMPORT, &["dan", "bob"], &["ann", "bob", "cid", "dan"]).await;
    assert_eq!(figures_of_edit, figures(4, 1, 0));
    assert_eq!(edit(stage, "vip", REMOVE, &["ann"], &["bob", "cid", "dan"]).await.0, figures(3, 0, 1));
    assert_eq!(reasons(stage, "vip").await, ["bob import", "cid manual", "dan import"]);
    assert_lawful(stage).await;
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("vip")].overrides, 4);

    // A refresh keeps what is decided; who enters by the rule does so for its reason.
    assert_eq!(refresh_decided(stage, "vip", &["bob", "cid", "dan", "eve"]).await, figures(4, 1, 0));
    assert_eq!(reasons(stage, "vip").await, ["bob import", "cid manual", "dan import", "eve rule_match"]);
    assert_eq!(refresh_decided(stage, "vip", &["bob", "cid", "dan", "eve"]).await, figures(4, 0, 0));
    // Ann is left to the rule, which has her; eve was never decided about.
    let (figures_of_edit, undecided) = edit(stage, "vip", CLEAR, &["ann", "cid", "eve"], &["ann", "bob", "dan", "eve"]).await;
    assert_eq!((figures_of_edit, undecided), (figures(4, 1, 1), vec!["eve".to_owned()]));
    assert_eq!(reasons(stage, "vip").await, ["ann rule_match", "bob import", "dan import", "eve rule_match"]);
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("vip")].overrides, 2);
    assert_eq!(
        changes(stage, ReadFilter::default()).await,
        [
            "vip ann enter initial",
            "vip bob enter initial",
            "vip cid enter manual",
            "vip dan enter import",
            "vip ann exit manual",
            "vip eve enter rule_match",
            "vip ann enter manual",
            "vip cid exit manual",
        ]
    );
    let kinds = lines(stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap(), &["kind", "member_count"]).await;
    assert_eq!(kinds, ["run 2", "manual 3", "manual 4", "manual 3", "run 4", "run 4", "manual 4"]);
    let entered = lines(stage.open().read_members(&tenant(), &segment("vip")).await.unwrap(), &["subject_id", "entered_at"]).await;
    assert_eq!(entered[1], "bob 2026-01-01T00:00:00Z", "who is added already stays since he entered");
    assert_lawful(stage).await;
}

async fn an_edit_is_seen_as_it_was_at_any_instant<S: Stage>(stage: &S) {
    let instants: Vec<Timestamp> = (0..4).map(|minute| stage.clock().at() + jiff::SignedDuration::from_mins(minute)).collect();
    edit(stage, "board", ADD, &["ann", "bob"], &["ann", "bob"]).await;
    edit(stage, "board", REMOVE, &["bob"], &["ann"]).await;
    edit(stage, "board", CLEAR, &["ann"], &[]).await;
    let ledger = stage.open();
    let mut found = Vec::new();
    for instant in instants.iter().chain([&Timestamp::UNIX_EPOCH]) {
        let overrides = ledger.overrides(&tenant(), *instant).await.unwrap().remove(&segment("board")).unwrap_or_default();
        let mut sets = Vec::new();
        for (decision, members) in overrides.iter() {
            assert_eq!(members.count(), stage.ids(members).await.len() as u64);
            sets.push(format!("{} {}", decision.verdict.keyword(), stage.ids(members).await.join("+")));
        }
        found.push(sets.join(", "));
    }
    assert_eq!(found, ["add ann+bob", "add ann, remove bob", "remove bob", "remove bob", ""]);
    let columns = ["segment_id", "subject_id", "override", "reason", "since", "until"];
    let all = lines(ledger.read_overrides(&tenant(), &ReadFilter::default()).await.unwrap(), &columns).await;
    assert_eq!(
        all,
        [
            "board ann add manual 2026-01-01T00:00:00Z 2026-01-01T00:02:00Z",
            "board bob add manual 2026-01-01T00:00:00Z 2026-01-01T00:01:00Z",
            "board bob remove manual 2026-01-01T00:01:00Z null",
        ]
    );
    let of_ann = ReadFilter { subject: Some("ann".to_owned()), ..ReadFilter::default() };
    assert_eq!(lines(ledger.read_overrides(&tenant(), &of_ann).await.unwrap(), &["subject_id"]).await, ["ann"]);
    assert_lawful(stage).await;
}

async fn a_deleted_segment_leaves_no_decision<S: Stage>(stage: &S) {
    edit(stage, "old", ADD, &["ann"], &["ann"]).await;
    edit(stage, "new", ADD, &["bob"], &["bob"]).await;
    let ledger = stage.open();
    end(stage, &ledger, "old", ChangeReason::SegmentDeleted).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    let left = stage.open().overrides(&tenant(), stage.clock().at()).await.unwrap();
    assert_eq!(left.keys().map(ToString::to_string).collect::<Vec<_>>(), ["new"]);
    assert_lawful(stage).await;
    edit(stage, "old", ADD, &["cid"], &["cid"]).await;
    assert_eq!(reasons(stage, "old").await, ["cid manual"]);
    assert_lawful(stage).await;
}

async fn erase<S: Stage>(stage: &S, subject: &str) -> Erased {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let run = Run { kind: RunKind::Erase, ..run(stage.clock()) };
    let erased = ledger.erase(&lease, &run, subject).await.unwrap();
    ledger.release(lease).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    erased
}

async fn nothing_is_left_of_an_erased_subject<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let begin = stage.clock().at();
    refresh(stage, &ledger, &[("vip", "h1", &["ann", "bob"]), ("news", "h1", &["bob"]), ("old", "h1", &["bob"])]).await.unwrap();
    refresh(stage, &ledger, &[("news", "h1", &["cid"])]).await.unwrap();
    end(stage, &ledger, "old", ChangeReason::SegmentDeleted).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    edit(stage, "vip", ADD, &["bob", "cid"], &["ann", "bob", "cid"]).await;
    let (all_changes, counted) = (changes(stage, ReadFilter::default()).await, history(stage, ReadFilter::default()).await);

    let from = |was_member, changes, overrides| ErasedFrom { was_member, changes, snapshots: 0, overrides };
    let known = [("news", from(false, 2, 0)), ("old", from(false, 2, 0)), ("vip", from(true, 1, 1))];
    assert_eq!(erase(stage, "bob").await.segments, known.map(|(id, from)| (segment(id), from)).into());

    assert_eq!(reasons(stage, "vip").await, ["ann rule_match", "cid manual"]);
    assert_eq!(stage.open().segments_of(&tenant(), "bob").await.unwrap(), []);
    let others: Vec<String> = all_changes.into_iter().filter(|line| !line.contains(" bob ")).collect();
    assert_eq!(changes(stage, ReadFilter::default()).await, others);
    let decided = stage.open().read_overrides(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(lines(decided, &["segment_id", "subject_id"]).await, ["vip cid"]);
    let state = stage.open().state(&tenant()).await.unwrap();
    assert_eq!((state.segments[&segment("vip")].member_count, state.segments[&segment("vip")].overrides), (2, 1));
    let told = ["news erase ok 1 0 0", "old erase ok 0 0 0", "vip erase ok 2 0 1"].map(str::to_owned);
    assert_eq!(history(stage, ReadFilter::default()).await, [counted, told.to_vec()].concat());
    match stage.open().members_at(&tenant(), &segment("vip"), begin).await.unwrap() {
        Past::Members { rows, provenance: _ } => assert_eq!(lines(rows, &["subject_id"]).await, ["ann"]),
        Past::Unknown => panic!("all changes are kept"),
    }
    assert_lawful(stage).await;

    assert_eq!(erase(stage, "bob").await, Erased::default(), "there is nothing more to erase");
    let again = refresh(stage, &stage.open(), &[("news", "h1", &["bob", "cid"])]).await.unwrap();
    assert_eq!(again, [figures(2, 1, 0)]);
    assert_lawful(stage).await;
}

async fn collect<S: Stage>(stage: &S, grace: Duration) -> Vec<Waste> {
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let collected = ledger.collect(&lease, &tenant(), grace).await.unwrap();
    ledger.release(lease).await.unwrap();
    assert_eq!(collected.foreign, Vec::<String>::new());
    collected.waste
}

async fn what_died_is_garbage<S: Stage>(stage: &S) {
    let hour = Duration::from_secs(3600);
    let ledger = stage.open();
    for members in [["ann", "bob"], ["bob", "cid"]] {
        refresh(stage, &ledger, &[("vip", "h1", &members)]).await.unwrap();
        stage.clock().advance(Duration::from_secs(60));
    }
    // A run that goes on is nobody's garbage.
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let (members, universe) = (stage.members(&["dan"]).await, stage.members(&EVERYONE).await);
    transaction.stage(evaluated("vip", "h1", members, universe)).await.unwrap();
    let before = ledger.garbage(&tenant(), Duration::ZERO).await.unwrap().waste;
    assert!(!before.iter().any(|waste| waste.why.contains("died") || waste.why.contains("never committed")), "{before:?}");
    drop((transaction, lease));
    stage.clock().advance(hour / 2);
    let read = upkeep::rows(stage, &ReadFilter::default()).await;

    let dry = stage.open().garbage(&tenant(), hour).await.unwrap().waste;
    assert_eq!(stage.open().garbage(&tenant(), hour).await.unwrap().waste, dry, "looking deletes nothing");
    let deleted = collect(stage, hour).await;
    assert!(deleted.iter().any(|waste| waste.why.contains("died") || waste.why.contains("never committed")), "{deleted:?}");
    assert!(deleted.iter().all(|waste| !waste.why.starts_with("a snapshot that was replaced")), "{deleted:?}");
    stage.clock().advance(hour);
    let deleted = collect(stage, hour).await;
    assert!(deleted.iter().any(|waste| waste.why.starts_with("a snapshot that was replaced")), "{deleted:?}");
    let left: Vec<Waste> = collect(stage, Duration::ZERO).await;
    assert!(left.iter().all(|waste| waste.why.contains("lease")), "{left:?}");
    assert_eq!(upkeep::rows(stage, &ReadFilter::default()).await, read);
    assert_eq!(self::members(stage, "vip").await, ["bob", "cid"]);
    assert_lawful(stage).await;
    refresh(stage, &stage.open(), &[("vip", "h1", &["ann"])]).await.unwrap();
    assert_lawful(stage).await;
}

async fn nothing_is_repaired_that_is_whole<S: Stage>(stage: &S) {
    let day = Duration::from_secs(86_400);
    for members in [["ann", "bob"], ["bob", "cid"], ["ann", "bob"], ["ann", "cid"]] {
        upkeep::refresh_keeping(stage, [&members, &members]).await;
        stage.clock().advance(day);
    }
    let short = Horizons { changes: upkeep::since(stage, 2), history: upkeep::since(stage, 1), ..Horizons::default() };
    upkeep::compact(stage, &Retention { default: short, ..Retention::default() }).await;
    let (read, state) = (upkeep::rows(stage, &ReadFilter::default()).await, stage.open().state(&tenant()).await.unwrap());
    let ledger = stage.open();
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let id = stage.clock().run_id(stage.clock().at());
    assert_eq!(ledger.repair(&lease, &tenant(), id).await.unwrap(), []);
    ledger.release(lease).await.unwrap();
    assert_eq!(upkeep::rows(stage, &ReadFilter::default()).await, read);
    assert_eq!(stage.open().state(&tenant()).await.unwrap(), state);
    assert_lawful(stage).await;
}

async fn nothing_of_the_past_is_left<S: Stage>(stage: &S) {
    let day = Duration::from_secs(86_400);
    let mut nights = Vec::new();
    for members in [["ann", "bob"], ["bob", "cid"], ["ann", "bob"], ["ann", "cid"]] {
        upkeep::refresh_keeping(stage, [&members, &members]).await;
        nights.push(stage.clock().at());
        stage.clock().advance(day);
    }
    let short = Horizons { changes: upkeep::since(stage, 2), ..Horizons::default() };
    let forever = Horizons { snapshots: Horizon::Everything, ..Horizons::default() };
    let done = upkeep::compact(stage, &Retention { segments: [(segment("a"), short)].into(), default: forever }).await;
    assert_eq!((done.changes_dropped, done.baselines), (4, 1), "{done:?}");
    let erased = erase(stage, "bob").await;
    let (a, b) = (erased.segments[&segment("a")], erased.segments[&segment("b")]);
    assert_eq!((a.changes, a.snapshots, b.changes, b.snapshots), (1, 1, 2, 3));
    for (night, expected) in nights.iter().zip([["ann", ""], ["cid", ""], ["ann", ""], ["ann", "cid"]]) {
        let (members, provenance) = upkeep::told(stage, "b", *night).await;
        let members: Vec<String> = members.unwrap().into_keys().collect();
        assert_eq!(members, expected.into_iter().filter(|id| !id.is_empty()).collect::<Vec<_>>(), "{night}: {provenance:?}");
    }
    assert_lawful(stage).await;
}

async fn guarded<S: Stage>(stage: &S, ledger: &S::Ledger, max_change: Option<&str>, hash: &str, members: &[&str]) -> Staged {
    let lease = ledger.acquire(&write_scope(), AT_ONCE).await.unwrap();
    let mut transaction = ledger.begin(&lease, run(stage.clock())).await.unwrap();
    let (members, universe) = (stage.members(members).await, stage.members(&EVERYONE).await);
    let max_change = max_change.map(|text| text.parse().unwrap());
    let staged = vec![StagedSegment { max_change, ..evaluated("vip", hash, members, universe) }];
    let mut staged = transaction.stage_all(staged, &|_| {}).await.unwrap();
    transaction.commit().await.unwrap();
    ledger.release(lease).await.unwrap();
    stage.clock().advance(Duration::from_secs(60));
    staged.remove(0)
}

async fn too_great_a_change_is_held<S: Stage>(stage: &S) {
    let ledger = stage.open();
    let half = Some("50%");
    assert_eq!(guarded(stage, &ledger, half, "h1", &["ann", "bob"]).await.held, None, "the first run is free");
    assert_eq!(guarded(stage, &ledger, half, "h1", &["ann", "bob", "cid"]).await.held, None, "the edge is allowed");
    let held = guarded(stage, &ledger, half, "h2", &["dan"]).await;
    let reason = "1 would enter and 3 leave, of 3 members before, more than `max_change` = 50%";
    assert_eq!((held.held.as_deref(), held.figures), (Some(reason), figures(3, 0, 0)));
    assert_eq!(members(stage, "vip").await, ["ann", "bob", "cid"]);
    let vip = stage.open().state(&tenant()).await.unwrap().segments[&segment("vip")].clone();
    assert_eq!((vip.held.as_deref(), vip.errors, vip.member_count), (Some(reason), 0, 3));
    assert_eq!(vip.computed_at, "2026-01-01T00:01:00Z".parse().ok(), "nothing of it was taken over");
    assert_eq!((vip.definition.hash.as_str(), vip.attempted_at), ("h2", "2026-01-01T00:02:00Z".parse().unwrap()));
    assert_lawful(stage).await;

    assert_eq!(guarded(stage, &ledger, None, "h2", &["dan"]).await.held, None);
    assert_eq!(stage.open().state(&tenant()).await.unwrap().segments[&segment("vip")].held, None);
    assert_eq!(
        changes(stage, ReadFilter::default()).await[3..],
        [
            "vip ann exit definition_changed",
            "vip bob exit definition_changed",
            "vip cid exit definition_changed",
            "vip dan enter definition_changed"
        ]
    );
    let rows = stage.open().read_history(&tenant(), &ReadFilter::default()).await.unwrap();
    assert_eq!(
        lines(rows, &["status", "member_count", "added_count", "removed_count", "error"]).await,
        ["ok 2 2 0 null".to_owned(), "ok 3 1 0 null".to_owned(), format!("held 3 0 0 {reason}"), "ok 1 1 3 null".to_owned()]
    );
    assert_lawful(stage).await;
}
