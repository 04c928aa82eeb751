//! Every test that needs the whole library, in one binary: DataFusion links slowly. Each module builds its tests at run time, so that
//! what cannot run here shows as ignored and never as passed.

mod cases;
mod command_line;
mod diagnostics;
mod differential;
mod generated;
mod golden;
mod laws;
mod language;
mod memory_ledger;
mod python;
mod real_data;
mod reference;
mod scheduling;
mod sources;
mod store;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        cases::trials(),
        command_line::trials(),
        diagnostics::trials(),
        differential::trials(),
        generated::trials(),
        golden::trials(),
        language::trials(),
        laws::trials(),
        real_data::trials(),
        scheduling::trials(),
        sources::trials(),
        store::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
