//! One contract for every ledger, and what survives a crash.

mod contract;
mod crash;
mod faulty;
mod stage;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [contract::trials(), crash::trials()].into_iter().flatten().collect()
}
