//! Every test that needs the whole library, in one binary: DataFusion links slowly. Each module builds its tests at run time, so that
//! what cannot run here shows as ignored and never as passed.

// A test with a harness of its own is no test to Clippy, so that `clippy.toml` does not reach it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod clickhouse;
mod command_line;
mod diagnostics;
mod dialects;
mod differential;
mod documentation;
mod engine;
mod evaluators;
mod expressions;
mod fuzzed;
mod generated;
mod generator;
mod golden;
mod hostile;
mod laws;
mod lints;
mod language;
mod library;
mod memory_ledger;
mod minimize;
mod python;
mod real_data;
mod reference;
mod scenario;
mod scenarios;
mod scheduling;
mod sources;
mod store;
mod tables;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        cases::trials(),
        command_line::trials(),
        diagnostics::trials(),
        dialects::trials(),
        differential::trials(),
        documentation::trials(),
        expressions::trials(),
        fuzzed::trials(),
        generated::trials(),
        golden::trials(),
        hostile::trials(),
        language::trials(),
        laws::trials(),
        library::trials(),
        lints::trials(),
        real_data::trials(),
        reference::trials(),
        scenarios::trials(),
        scheduling::trials(),
        sources::trials(),
        store::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
