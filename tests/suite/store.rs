//! One contract for every ledger, and what survives a crash.

mod broken_upkeep;
mod clickhouse;
mod contract;
mod crash;
mod damage;
mod faulty;
mod kill;
mod large;
mod proxy;
mod races;
mod stage;
mod tables;
mod upkeep;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [
        broken_upkeep::trials(),
        clickhouse::trials(),
        contract::trials(),
        crash::trials(),
        damage::trials(),
        kill::trials(),
        large::trials(),
        races::trials(),
        tables::trials(),
        upkeep::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
