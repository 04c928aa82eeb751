//! The scheduler under an injected clock: weeks pass in milliseconds, over tables and a ledger in memory.

mod world;

use std::time::Duration;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp, ToSpan};
use libtest_mimic::Trial;
use segmenta::model::condition::Subject;
use segmenta::refresh::Error;
use segmenta::refresh::run::{OnExcess, OnInvalid, RunRequest, SegmentStatus, Selection, Silent, refresh};
use segmenta::store::{DefinitionNote, LeaseScope, Ledger, LedgerError, Run, RunKind, Transaction};
use uuid::Uuid;

use world::{World, hours, ids};

const START: &str = "2026-03-01T00:00:00Z";

pub(crate) fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 20] = [
        ("every tick of eight weeks is run once", every_tick_of_eight_weeks_is_run_once),
        ("cron follows the timezone across clock changes", cron_follows_the_timezone_across_clock_changes),
        ("all due segments of a tenant share one run", all_due_segments_of_a_tenant_share_one_run),
        ("a new and a changed definition are run at once", a_new_and_a_changed_definition_are_run_at_once),
        ("a change of a reference is a change of its dependants", a_change_of_a_reference_is_a_change_of_its_dependants),
        ("runs that take time keep their interval", runs_that_take_time_keep_their_interval),
        ("an invalid edit leaves the last valid form in force", an_invalid_edit_leaves_the_last_valid_form_in_force),
        ("a definition that disappears keeps its members", a_definition_that_disappears_keeps_its_members),
        ("a segment that does not fit fails alone with growing pauses", a_segment_that_does_not_fit_fails_alone),
        ("a vanished source changes nothing and is retried", a_vanished_source_changes_nothing_and_is_retried),
        ("paused and archived segments rest", paused_and_archived_segments_rest),
        ("jobs are done with their effects", jobs_are_done_with_their_effects),
        ("a job that was missed is done once on the next start", a_missed_job_is_done_once_on_the_next_start),
        ("a clock that jumps back neither stalls nor doubles", a_clock_that_jumps_back_neither_stalls_nor_doubles),
        ("a clock that stands still runs what is new alone", a_clock_that_stands_still_runs_what_is_new_alone),
        ("a second scheduler is refused", a_second_scheduler_is_refused),
        ("a run in progress is finished on the first signal", a_run_in_progress_is_finished_on_the_first_signal),
        ("a second signal abandons the run in progress", a_second_signal_abandons_the_run_in_progress),
        ("no more tenants at once than allowed", no_more_tenants_at_once_than_allowed),
        ("a refresh refuses invalid definitions and the past", a_refresh_refuses_invalid_definitions_and_the_past),
    ];
    trials
        .into_iter()
        .map(|(name, test)| {
            Trial::test(format!("scheduling::{name}"), move || {
                test();
                Ok(())
            })
        })
        .collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn gaps(instants: &[Timestamp]) -> Vec<i64> {
    instants.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect()
}

fn count_of(world: &World, segment: &str) -> u64 {
    world.state().segments[&segment.parse().unwrap()].member_count
}

fn every_tick_of_eight_weeks_is_run_once() {
    let world = World::new(START);
    world.define("three-hourly", "vip", r#""refresh_interval": "3h""#);
    world.define("odd", "vip", r#""refresh_interval": "100min""#);
    world.define("nightly", "vip", r#""schedule": "30 2 * * *""#);
    world.run_for(hours(24 * 56), &world.config("", ""));
    let three_hourly = world.runs_of("three-hourly");
    assert_eq!(three_hourly.len(), 56 * 8, "the run of the stopping instant is not begun");
    assert!(gaps(&three_hourly).iter().all(|gap| *gap == 3 * 3600), "{:?}", gaps(&three_hourly));
    assert!(gaps(&world.runs_of("odd")).iter().all(|gap| *gap == 6000));
    let nightly = world.runs_of("nightly");
    let expected: Vec<Timestamp> = std::iter::once(at(START))
        .chain((0..56).map(|day| at("2026-03-01T02:30:00Z") + SignedDuration::from_hours(24 * day)))
        .collect();
    assert_eq!(nightly, expected);
    assert!(block_on(world.ledger.verify(&"demo".parse().unwrap())).unwrap().is_empty());
}

fn cron_follows_the_timezone_across_clock_changes() {
    // Berlin loses 02:00 to 03:00 on 29 March, and repeats it on 25 October.
    for (start, changed) in [("2026-03-26T12:00:00Z", "2026-03-29"), ("2026-10-22T12:00:00Z", "2026-10-25")] {
        let world = World::new(start);
        world.define("nightly", "vip", r#""schedule": "30 2 * * *""#);
        world.run_for(hours(24 * 6), &world.config("", "timezone = \"Europe/Berlin\""));
        let zone = segmenta::model::calendar::time_zone("Europe/Berlin").unwrap();
        let days: Vec<String> =
            world.runs_of("nightly").into_iter().skip(1).map(|at| at.to_zoned(zone.clone()).date().to_string()).collect();
        let mut once = days.clone();
        once.dedup();
        assert_eq!(days, once, "no day has two runs");
        assert_eq!(days.len(), 6);
        assert!(days.contains(&changed.to_owned()), "{days:?}");
    }
}

fn all_due_segments_of_a_tenant_share_one_run() {
    let world = World::new(START);
    world.define_as("a-dependant", "z-reference", r#""refresh_interval": "1h""#);
    world.define("z-reference", "vip", r#""refresh_interval": "2h""#);
    world.run_for(hours(4), &world.config("", ""));
    let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = names(&["z-reference", "a-dependant"]);
    let evaluations = world.tables().evaluations.clone();
    assert_eq!(evaluations.len(), 4, "one evaluation an hour: {evaluations:?}");
    assert!(evaluations.iter().all(|(_, outputs)| *outputs == both), "references come first, due or not: {evaluations:?}");
    assert_eq!(world.runs_of("a-dependant").len(), 4);
    assert_eq!(world.runs_of("z-reference").len(), 2, "what is only referred to has no row of its own");
}

fn a_new_and_a_changed_definition_are_run_at_once() {
    let world = World::new(START);
    world.tables().columns.insert("loyal".to_owned(), ids(&["bob", "cid"]));
    world.define("first", "vip", r#""refresh_interval": "1w""#);
    world.at(hours(5), |world| world.define("second", "vip", r#""refresh_interval": "1w""#));
    world.at(hours(9), |world| world.define("first", "loyal", r#""refresh_interval": "1w""#));
    world.at(hours(12), |world| world.define("first", "loyal", r#""refresh_interval": "1w", "description": "no other meaning""#));
    world.run_for(hours(24), &world.config("", ""));
    assert_eq!(world.runs_of("first"), [at(START), at("2026-03-01T09:00:00Z")]);
    assert_eq!(world.runs_of("second"), [at("2026-03-01T05:00:00Z")]);
    assert_eq!(count_of(&world, "first"), 2);
}

fn a_change_of_a_reference_is_a_change_of_its_dependants() {
    let world = World::new(START);
    world.tables().columns.insert("loyal".to_owned(), ids(&["bob", "cid"]));
    world.define("base", "vip", r#""refresh_interval": "1w""#);
    world.define_as("dependant", "base", r#""refresh_interval": "1w""#);
    world.at(hours(2), |world| world.define("base", "loyal", r#""refresh_interval": "1w""#));
    world.run_for(hours(4), &world.config("", ""));
    assert_eq!(world.runs_of("dependant"), [at(START), at("2026-03-01T02:00:00Z")]);
    assert_eq!(count_of(&world, "dependant"), 2);
}

/// A run has the time of its own clock, which is later than that of the look that started it.
fn runs_that_take_time_keep_their_interval() {
    let world = World::new(START);
    world.define("often", "vip", r#""refresh_interval": "10s""#);
    world.define("seldom", "vip", r#""refresh_interval": "1min""#);
    world.tables().opening_takes = Duration::from_millis(300);
    world.run_for(Duration::from_secs(600), &world.config("", ""));
    let often = world.runs_of("often");
    assert!(often.len() > 55, "only {} runs", often.len());
    assert!(gaps(&often).iter().all(|gap| (10..=11).contains(gap)), "{:?}", gaps(&often));
    assert!((9..=10).contains(&world.runs_of("seldom").len()), "{:?}", world.runs_of("seldom"));

    // A run that takes longer than the interval is followed by the next at once.
    let world = World::new(START);
    world.define("often", "vip", r#""refresh_interval": "10s""#);
    world.tables().evaluating_takes = Duration::from_secs(15);
    world.run_for(Duration::from_secs(600), &world.config("", ""));
    assert!(world.runs_of("often").len() >= 35, "only {} runs", world.runs_of("often").len());
}

fn an_invalid_edit_leaves_the_last_valid_form_in_force() {
    for broken in [
        "{ \"id\": \"one\", ",
        r#"{"id": "one", "logic": "and", "conditions": [{"type": "user_attribute", "property": "vop", "operator": "is_true"}]}"#,
    ] {
        let world = World::new(START);
        world.define("one", "vip", r#""refresh_interval": "1h""#);
        world.define("other", "vip", r#""refresh_interval": "1h""#);
        world.at(Duration::from_secs(5400), move |world| world.write("one", broken));
        world.at(hours(3), |world| {
            let note = world.state().segments[&"one".parse().unwrap()].note.clone();
            assert!(matches!(note, DefinitionNote::Invalid(_)), "{note:?}");
        });
        world.at(Duration::from_secs(4 * 3600 + 60), |world| world.define("one", "vip", r#""refresh_interval": "1h""#));
        world.run_for(hours(6), &world.config("", ""));
        for segment in ["one", "other"] {
            assert_eq!(gaps(&world.runs_of(segment)), [3600; 5], "{segment} goes on as before");
            assert!(world.history(segment).iter().all(|row| row.status == "ok"));
            assert_eq!(world.state().segments[&segment.parse().unwrap()].note, DefinitionNote::Present);
        }
        let told: Vec<bool> = world.history("one").iter().map(|row| row.error.is_some()).collect();
        assert_eq!(told, [false, false, true, true, true, false], "the history says while the file is invalid");
        assert!(world.history("other").iter().all(|row| row.error.is_none()));
    }
}

fn a_definition_that_disappears_keeps_its_members() {
    let world = World::new(START);
    world.define("gone", "vip", r#""refresh_interval": "1h""#);
    world.define("stays", "vip", r#""refresh_interval": "1h""#);
    world.define_as("dependant", "gone", r#""refresh_interval": "1h""#);
    world.at(Duration::from_secs(5400), |world| world.remove("gone"));
    world.run_for(hours(4), &world.config("", ""));
    assert_eq!(world.runs_of("gone").len(), 2);
    assert_eq!(world.runs_of("stays").len(), 4);
    assert_eq!(world.state().segments[&"gone".parse().unwrap()].note, DefinitionNote::Missing);
    assert_eq!(count_of(&world, "gone"), 1);
    let dependant = &world.state().segments[&"dependant".parse().unwrap()];
    assert!(dependant.last_error.as_ref().is_some_and(|error| error.contains("gone")), "{:?}", dependant.last_error);
    assert_eq!(dependant.member_count, 1, "it keeps its members as well");
}

fn a_segment_that_does_not_fit_fails_alone() {
    let world = World::new(START);
    world.tables().columns.insert("shaky".to_owned(), ids(&["bob", "cid"]));
    world.define("shaky", "shaky", r#""refresh_interval": "1h""#);
    world.define_as("dependant", "shaky", r#""refresh_interval": "1h""#);
    world.define("steady", "vip", r#""refresh_interval": "1h""#);
    world.at(Duration::from_secs(1800), |world| {
        world.tables().columns.remove("shaky");
    });
    world.at(hours(24 * 6), |world| {
        assert_eq!(count_of(world, "shaky"), 2, "it keeps its members");
        world.tables().columns.insert("shaky".to_owned(), ids(&["dan"]));
    });
    world.run_for(hours(24 * 8), &world.config("", ""));
    let failed: Vec<Timestamp> =
        world.history("shaky").into_iter().filter(|row| row.status == "failed").map(|row| row.at).collect();
    assert_eq!(gaps(&failed), [2, 4, 8, 16, 24, 24, 24, 24].map(|pause| pause * 3600));
    assert_eq!(world.history("dependant").iter().filter(|row| row.status == "failed").count(), failed.len());
    assert_eq!(world.runs_of("steady").len(), 24 * 8);
    assert!(world.history("steady").iter().all(|row| row.status == "ok"));
    let state = &world.state().segments[&"shaky".parse().unwrap()];
    assert_eq!((state.errors, state.member_count, state.last_error.as_deref()), (0, 1, None));
}

fn a_vanished_source_changes_nothing_and_is_retried() {
    let world = World::new(START);
    world.define("hourly", "vip", r#""refresh_interval": "1h""#);
    world.at(Duration::from_secs(1800), |world| world.tables().is_gone = true);
    world.at(hours(10), |world| {
        assert_eq!(world.runs_of("hourly"), [at(START)], "nothing was committed");
        world.tables().is_gone = false;
    });
    world.run_for(hours(24), &world.config("default_refresh_interval = \"1h\"", ""));
    let runs = world.runs_of("hourly");
    // Failed at 1 h, then after 2, 4 and 8 hours more: the last one succeeds.
    assert_eq!(runs[1], at("2026-03-01T15:00:00Z"), "{runs:?}");
    assert!(gaps(&runs[1..]).iter().all(|gap| *gap == 3600), "{runs:?}");
}

fn paused_and_archived_segments_rest() {
    let world = World::new(START);
    world.define("rests", "vip", r#""refresh_interval": "1h""#);
    world.define("ends", "vip", r#""refresh_interval": "1h""#);
    world.define_as("uses", "rests", r#""refresh_interval": "1h""#);
    world.at(Duration::from_secs(5400), |world| {
        world.define("rests", "vip", r#""refresh_interval": "1h", "status": "paused""#);
        world.define("ends", "vip", r#""refresh_interval": "1h", "status": "archived""#);
        world.tables().columns.insert("vip".to_owned(), ids(&["bob", "cid"]));
    });
    world.run_for(hours(6), &world.config("", ""));
    assert_eq!(world.runs_of("rests").len(), 2);
    assert_eq!(world.runs_of("ends").len(), 3, "two runs, and its end");
    assert_eq!((count_of(&world, "rests"), count_of(&world, "ends")), (1, 0));
    assert_eq!(count_of(&world, "uses"), 1, "a paused segment is referred to as it is stored");
    assert!(block_on(world.ledger.verify(&"demo".parse().unwrap())).unwrap().is_empty());
}

const JOBS: &str = r#"jobs = { full_evaluation = "0 2 * * *", count_sync = "0 */6 * * *", history_record = "0 23 * * *", compact = "0 3 * * *", gc = "0 4 * * *", verify = "0 5 * * *" }"#;

fn jobs_are_done_with_their_effects() {
    let world = World::new(START);
    world.define("weekly", "vip", r#""refresh_interval": "1w""#);
    // Someone's mistake, which the next recount repairs.
    world.at(Duration::from_secs(13 * 3600), |world| {
        miscount(world, "weekly", 99);
        assert_eq!(count_of(world, "weekly"), 99);
    });
    world.at(hours(16), |world| assert_eq!(count_of(world, "weekly"), 1));
    world.run_for(hours(24 * 4), &world.config(JOBS, "timezone = \"Asia/Tokyo\""));
    // Tokyo is nine hours ahead: 02:00 there is 17:00 UTC of the day before.
    let expected = [START, "2026-03-01T17:00:00Z", "2026-03-02T17:00:00Z", "2026-03-03T17:00:00Z", "2026-03-04T17:00:00Z"];
    assert_eq!(world.runs_of("weekly"), expected.map(at), "everything is evaluated at 02:00");
    let daily: Vec<Timestamp> = world.history("weekly").into_iter().filter(|row| row.kind == "daily").map(|row| row.at).collect();
    let expected = ["2026-03-01T14:00:00Z", "2026-03-02T14:00:00Z", "2026-03-03T14:00:00Z", "2026-03-04T14:00:00Z"];
    assert_eq!(daily, expected.map(at), "a row a day at 23:00");
    assert_eq!(world.state().jobs["count_sync"], at("2026-03-04T21:00:00Z"));
    for (job, last) in [("compact", "2026-03-04T18:00:00Z"), ("gc", "2026-03-04T19:00:00Z"), ("verify", "2026-03-04T20:00:00Z")] {
        assert_eq!(world.state().jobs[job], at(last), "{job}");
    }
}

/// Records a wrong count.
fn miscount(world: &World, segment: &str, count: u64) {
    block_on(async {
        let tenant: segmenta::model::id::TenantId = "demo".parse().unwrap();
        let lease = world.ledger.acquire(&LeaseScope::Tenant(tenant.clone()), Duration::ZERO).await.unwrap();
        let as_of = at(START);
        let run = Run { run_id: Uuid::nil(), tenant, kind: RunKind::Manual, as_of, evaluation_date: jiff::civil::date(2026, 3, 1) };
        let mut transaction = world.ledger.begin(&lease, run).await.unwrap();
        transaction.correct_count(&segment.parse().unwrap(), count).await.unwrap();
        transaction.commit().await.unwrap();
        world.ledger.release(lease).await.unwrap();
    });
}

fn a_missed_job_is_done_once_on_the_next_start() {
    let world = World::new(START);
    world.define("weekly", "vip", r#""refresh_interval": "1w""#);
    let config = world.config(JOBS, "");
    world.run_for(hours(24), &config);
    let later = world.restarted(hours(24 * 5));
    later.run_for(hours(24 * 6 + 1), &config);
    let daily: Vec<Timestamp> = world.history("weekly").into_iter().filter(|row| row.kind == "daily").map(|row| row.at).collect();
    assert_eq!(daily, ["2026-03-01T23:00:00Z", "2026-03-06T00:00:00Z", "2026-03-06T23:00:00Z"].map(at));
}

fn a_clock_that_jumps_back_neither_stalls_nor_doubles() {
    // After 2 h 30 min it is an hour earlier, or after 12 h 30 min ten hours earlier.
    for (after, back, resumes, before) in [(150, 1, "2026-03-01T03:00:00Z", 3), (750, 10, "2026-03-01T03:30:00Z", 13)] {
        let world = World::new(START);
        world.define("hourly", "vip", r#""refresh_interval": "1h""#);
        world.define("nightly", "vip", r#""schedule": "0 2 * * *""#);
        world.at(Duration::from_secs(after * 60), move |world| world.clock.jump_back(SignedDuration::from_hours(back)));
        world.run_for(hours(24), &world.config("", ""));
        let runs = world.runs_of("hourly");
        assert!(gaps(&runs[..before]).iter().all(|gap| *gap == 3600), "{runs:?}");
        assert_eq!(runs[before], at(resumes), "{runs:?}");
        assert!(gaps(&runs[before..]).iter().all(|gap| *gap == 3600), "{runs:?}");
        assert_eq!(world.runs_of("nightly"), [at(START), at("2026-03-01T02:00:00Z")], "a tick that ran is not repeated");
    }
}

fn a_clock_that_stands_still_runs_what_is_new_alone() {
    let world = World::new(START);
    world.define("first", "vip", "");
    world.at(hours(3), |world| world.define("second", "vip", ""));
    world.run_for(hours(24), &world.config(JOBS, "as_of = \"2026-01-01T00:00:00Z\""));
    for segment in ["first", "second"] {
        assert_eq!(world.runs_of(segment), [at("2026-01-01T00:00:00Z")]);
    }
}

fn a_second_scheduler_is_refused() {
    let world = World::new(START);
    world.define("one", "vip", "");
    let held = block_on(world.ledger.acquire(&LeaseScope::Scheduler, Duration::ZERO)).unwrap();
    let refused = world.run(&world.config("", ""));
    assert!(matches!(&refused, Err(Error::Ledger(LedgerError::Held { holder, .. })) if !holder.is_empty()), "{refused:?}");
    assert!(world.tables().evaluations.is_empty());
    block_on(world.ledger.release(held)).unwrap();
}

fn a_run_in_progress_is_finished_on_the_first_signal() {
    let world = World::new(START);
    world.define("one", "vip", "");
    world.stop_when_evaluating();
    world.run(&world.config("", "")).unwrap();
    assert_eq!(world.runs_of("one"), [at(START)]);
    let free = block_on(world.ledger.acquire(&LeaseScope::Scheduler, Duration::ZERO));
    assert!(free.is_ok(), "the lease was given back");
}

fn a_second_signal_abandons_the_run_in_progress() {
    let world = World::new(START);
    world.define("one", "vip", "");
    world.tables().hangs = true;
    world.at(Duration::from_secs(600), |world| {
        world.stop();
        world.stop();
    });
    world.run(&world.config("", "")).unwrap();
    assert_eq!(world.tables().evaluations.len(), 1);
    assert!(world.runs_of("one").is_empty(), "nothing of it is visible");
    assert!(world.state().segments.is_empty());
}

fn no_more_tenants_at_once_than_allowed() {
    for (allowed, most) in [(1, 1), (2, 2), (5, 3)] {
        let world = World::new(START);
        world.define("one", "vip", r#""refresh_interval": "1h""#);
        let scheduler = format!("max_concurrent_tenants = {allowed}");
        world.run_for(hours(10), &world.config_of(&scheduler, &[("demo", ""), ("north", ""), ("south", "")]));
        assert_eq!(world.tables().most_in_progress, most);
        assert_eq!(world.tables().evaluations.len(), 30);
    }
}

fn a_refresh_refuses_invalid_definitions_and_the_past() {
    let world = World::new(START);
    world.define("good", "vip", "");
    world.write("bad", r#"{"id": "bad", "logic": "and", "conditions": []}"#);
    let config = world.config("", "");
    let tenant = config.tenant("demo").unwrap();
    let request = |on_invalid, as_of| RunRequest {
        selection: Selection::All,
        as_of,
        on_invalid,
        wait: Duration::ZERO,
        job: None,
        on_excess: OnExcess::Hold,
    };
    let run = |request: RunRequest| block_on(refresh(&world, tenant, &request, &world.clock, &Silent));
    let refused = run(request(OnInvalid::Refuse, None));
    assert!(matches!(&refused, Err(Error::Refused(report)) if report.has_errors()), "{refused:?}");
    assert!(world.tables().evaluations.is_empty(), "nothing ran");
    let report = run(request(OnInvalid::UseLastValid, None)).unwrap();
    let found: Vec<_> =
        report.segments.iter().map(|segment| (segment.segment.as_str(), segment.subject, &segment.status)).collect();
    assert_eq!(found, [("good", Subject::User, &SegmentStatus::Computed)]);
    assert_eq!(report.invalid.len(), 1);
    let past = run(request(OnInvalid::UseLastValid, Some(at(START) - 1.second())));
    assert!(matches!(past, Err(Error::Past { .. })), "{past:?}");
    run(request(OnInvalid::UseLastValid, Some(at(START)))).unwrap();
    world.remove("bad");
    world.remove("good");
    let empty = run(request(OnInvalid::Refuse, None));
    assert!(matches!(empty, Err(Error::DefinitionFiles { .. })), "{empty:?}");
    assert_eq!(count_of(&world, "good"), 1);
}
