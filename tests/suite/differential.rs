//! Generated batches: the reference evaluator against the backends. `SEGMENTA_TEST_CASES` says how many, `SEGMENTA_TEST_SEED`
//! which; `SEGMENTA_TEST_MINIMIZE=0` reports what fails as it is.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use libtest_mimic::{Failed, Trial};
use segmenta::backend::Datum;
use segmenta::backend::tables::EngineSettings;
use segmenta::check::Reading;
use segmenta::ir::Value;
use segmenta::model::condition::Subject;
use segmenta::plan::{BatchFeature, BatchValue};

use crate::clickhouse::server;
use crate::engine::{Engine, Order, normalized};
use crate::evaluators::{self, Evaluator, disagreements};
use crate::generator::{self, all_combinations};
use crate::minimize::minimize;
use crate::scenario::{Scenario, all_valid};

/// Batches of a usual run.
const CASES: u64 = 256;

/// Batches of one trial.
const CHUNK: u64 = 16;

/// Batches of a usual run on a server, which plans each for a second or more.
const SERVER_CASES: u64 = 48;

/// Batches whose subjects are looked at one by one on a server.
const INSPECTED: [u64; 2] = [0, 2];

/// Of so many batches, one is also evaluated segment by segment, and with other settings.
const ONE_BY_ONE_EVERY: u64 = 8;

/// Threads, rows of a batch and bytes of memory that no result may depend on.
const SETTINGS: [(usize, usize, Option<u64>); 3] = [(1, 1, None), (3, 5, Some(128 << 20)), (8, 64, Some(256 << 20))];

pub(crate) fn trials() -> Vec<Trial> {
    let (seed, cases) = (seed(), setting("SEGMENTA_TEST_CASES").unwrap_or(CASES));
    let server_cases = setting("SEGMENTA_TEST_CASES").unwrap_or(SERVER_CASES);
    let mut trials = vec![Trial::test("differential::the_generator_has_teeth", move || has_teeth(seed, cases))];
    let alike = move || INSPECTED.into_iter().try_for_each(|batch| seen_alike(seed, batch));
    trials.push(Evaluator::ClickHouse.trial("differential::one_subject_looks_alike_on_both".to_owned(), alike));
    for evaluator in [Evaluator::DataFusion, Evaluator::ClickHouse] {
        let batches = if evaluator == Evaluator::DataFusion { cases / 16 } else { server_cases / 24 };
        let all = move || with_room(move || (0..batches).try_for_each(|batch| seen_from_several_instants(seed, batch, evaluator)));
        trials.push(evaluator.trial(format!("differential::instants_in_one_pass_on_{}", evaluator.name()), all));
    }
    let mut start = 0;
    while start < cases {
        let end = (start + CHUNK).min(cases);
        let batches = format!("batches_{start:05}_to_{:05}", end - 1);
        let all = move |evaluator| (start..end).try_for_each(|batch| agree(seed, batch, evaluator));
        trials.push(Trial::test(format!("differential::{batches}"), move || all(Evaluator::DataFusion)));
        if start < server_cases {
            trials.push(
                Evaluator::ClickHouse.trial(format!("differential::clickhouse_{batches}"), move || all(Evaluator::ClickHouse)),
            );
        }
        start = end;
    }
    trials
}

/// The seed of generated batches.
pub(crate) fn seed() -> u64 {
    setting("SEGMENTA_TEST_SEED").unwrap_or(2026)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// The backend and the reference find the same members; segments alone have the same members as together.
fn agree(seed: u64, batch: u64, backend: Evaluator) -> Result<(), Failed> {
    let scenario = generator::generate(seed, batch).scenario;
    let complaint = |scenario: &Scenario| complaint_of(scenario, backend);
    let first = match complaint(&scenario) {
        Ok(None) if backend == Evaluator::DataFusion => return one_by_one(&scenario, batch),
        Ok(None) => return Ok(()),
        Ok(Some(first)) | Err(first) => first,
    };
    if setting("SEGMENTA_TEST_MINIMIZE") == Some(0) {
        return Err(format!("seed {seed}, batch {batch}: {first}").into());
    }
    let wanted = kind(&complaint(&scenario));
    let small = minimize(scenario, &|smaller| kind(&complaint(smaller)) == wanted);
    let small_complaint = match complaint(&small) {
        Ok(Some(complaint)) | Err(complaint) => complaint,
        Ok(None) => "it comes and goes".to_owned(),
    };
    let text = format!("seed {seed}, batch {batch}: {first}\n\nminimized: {small_complaint}\n{}", small.print());
    Err(text.into())
}

/// Does something on a thread with room for deep recursion, as the program does: the plan of a batch grows with its instants.
fn with_room(test: impl FnOnce() -> Result<(), Failed> + Send) -> Result<(), Failed> {
    std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, test);
        match spawned.map_err(|error| error.to_string())?.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What one pass finds at several instants is what is found at each of them alone.
fn seen_from_several_instants(seed: u64, batch: u64, backend: Evaluator) -> Result<(), Failed> {
    let scenario = generator::generate(seed, batch).scenario;
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let asked = evaluators::asked(&segments);
    let engine = match backend {
        Evaluator::ClickHouse => Engine::on_server(&scenario, server()?)?,
        Evaluator::DataFusion | Evaluator::Reference => Engine::over_rows(&scenario, 2)?,
    };
    // Before, at and after what is at the edges of windows; the first events of all have not happened yet.
    let shifts = [SignedDuration::from_hours(24 * 45), SignedDuration::from_hours(24 * 7), SignedDuration::from_micros(1)];
    let mut instants: Vec<Timestamp> = shifts.iter().map(|shift| scenario.as_of - *shift).collect();
    instants.push(scenario.as_of);
    for subject in [Subject::User, Subject::Product] {
        let order = Order { segments: &segments, as_of: scenario.as_of, stored: &scenario.stored };
        let together = engine.members_at(subject, order, &asked, &instants)?;
        for (instant, together) in instants.iter().zip(together) {
            let alone = engine.segments(subject, Order { as_of: *instant, ..order }, &asked, normalized)?.outputs;
            if alone != together {
                let differing = alone.iter().find(|(name, members)| together.get(name) != Some(members));
                let text = format!("seed {seed}, batch {batch}, {subject:?} at {instant}: {differing:?}\n{}", scenario.print());
                return Err(text.into());
            }
        }
    }
    Ok(())
}

/// What explains a membership is the same on both backends: every value, test, output and score of a subject.
fn seen_alike(seed: u64, batch: u64) -> Result<(), Failed> {
    let scenario = generator::generate(seed, batch).scenario;
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let order = Order { segments: &segments, as_of: scenario.as_of, stored: &scenario.stored };
    let asked = evaluators::asked(&segments);
    let (local, server) = (Engine::over_rows(&scenario, 2)?, Engine::on_server(&scenario, server()?)?);
    let universe = crate::reference::universe(Subject::User, &scenario.tables, scenario.context());
    for id in universe.iter().map(String::as_str).take(3).chain(["nobody"]) {
        let (of_batch, mut one) = local.inspect(Subject::User, order, &asked, id)?;
        let (_, mut other) = server.inspect(Subject::User, order, &asked, id)?;
        for inspection in [&mut one, &mut other] {
            // The server has no missing arrays, and shows JSON in its own spacing.
            for (value, feature) in inspection.values.iter_mut().zip(&of_batch.features) {
                let is_stored =
                    matches!(feature, BatchFeature::Attribute(BatchValue { value: Value::Stored(_, Reading::Stored), .. }));
                if *value == Datum::List(Vec::new()) || is_stored {
                    *value = Datum::Missing;
                }
            }
        }
        if one != other {
            let text = format!("`{id}` of batch {batch}: {one:?} on {}, {other:?} on the server", Evaluator::DataFusion.name());
            return Err(text.into());
        }
    }
    Ok(())
}

/// Of which kind a complaint is: smaller scenarios must fail in the same way.
fn kind(complaint: &Result<Option<String>, String>) -> String {
    match complaint {
        Ok(None) => "agreement".to_owned(),
        Ok(Some(_)) => "disagreement".to_owned(),
        Err(failure) => failure
            .split(['`', '\n', '['])
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .filter(|char| char.is_alphabetic())
            .take(120)
            .collect(),
    }
}

/// What is wrong with a scenario: how the evaluators disagree, or that one of them fails.
pub(crate) fn complaint_of(scenario: &Scenario, backend: Evaluator) -> Result<Option<String>, String> {
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let (reference, scores) = evaluators::evaluate(scenario, &segments, Evaluator::Reference)?;
    let (engine, engine_scores) = evaluators::evaluate(scenario, &segments, backend)?;
    if reference == engine && scores != engine_scores {
        return Ok(Some(format!("scores by the reference: {scores:?}, by {}: {engine_scores:?}", backend.name())));
    }
    let found = disagreements(&reference, &engine);
    if found.is_empty() {
        return Ok(None);
    }
    let line =
        |(id, (reference, engine))| format!("`{id}`: only the reference has {reference:?}, only {} has {engine:?}", backend.name());
    Ok(Some(found.into_iter().map(line).collect::<Vec<_>>().join("\n")))
}

fn one_by_one(scenario: &Scenario, batch: u64) -> Result<(), Failed> {
    if !batch.is_multiple_of(ONE_BY_ONE_EVERY) {
        return Ok(());
    }
    let checked = scenario.check()?;
    let segments = all_valid(&checked)?;
    let engine = Engine::over_rows(scenario, 2)?;
    let order = Order { segments: &segments, as_of: scenario.as_of, stored: &scenario.stored };
    let all = evaluators::asked(&segments);
    let together = engine.members(order, &all)?;
    for (threads, batch_rows, memory_limit) in SETTINGS {
        let settings = EngineSettings { threads, batch_rows, memory_limit, ..EngineSettings::default() };
        let engine = Engine::with_settings(scenario, &settings)?;
        let members = engine.members(order, &all)?;
        if members != together {
            let found = disagreements(&together, &members);
            return Err(format!(
                "{threads} threads, batches of {batch_rows}, {memory_limit:?} bytes: {found:?}\n{}",
                scenario.print()
            )
            .into());
        }
    }
    for id in all {
        let alone = engine.members(order, &BTreeSet::from([id.clone()]))?;
        if alone.get(&id) != together.get(&id) {
            let text = format!("`{id}` alone: {:?}, in the batch: {:?}\n{}", alone.get(&id), together.get(&id), scenario.print());
            return Err(text.into());
        }
    }
    Ok(())
}

/// The batches say everything that can be said, and most of them tell subjects apart.
fn has_teeth(seed: u64, cases: u64) -> Result<(), Failed> {
    let mut missing: BTreeSet<_> = all_combinations().into_iter().collect();
    let mut telling = 0;
    for batch in 0..cases {
        let generated = generator::generate(seed, batch);
        missing.retain(|combination| !generated.combinations.contains(combination));
        let checked = generated.scenario.check()?;
        let segments = all_valid(&checked)?;
        let members = generated.scenario.reference(&segments);
        let tells = |segment: &&segmenta::check::CheckedSegment| {
            let universe = crate::reference::universe(segment.subject(), &generated.scenario.tables, generated.scenario.context());
            let count = members.get(segment.id()).map_or(0, BTreeSet::len);
            count > 0 && count < universe.len()
        };
        telling += u64::from(segments.iter().any(tells));
    }
    if cases >= CASES && !missing.is_empty() {
        return Err(format!("never generated: {missing:?}").into());
    }
    if telling * 100 < cases * 60 {
        return Err(format!("only {telling} of {cases} batches have a segment that is neither empty nor full").into());
    }
    Ok(())
}
