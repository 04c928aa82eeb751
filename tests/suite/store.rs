//! One contract for every ledger, and what survives a crash.

mod broken_upkeep;
mod clickhouse;
mod contract;
mod counting;
mod crash;
mod damage;
mod erasure;
mod faulty;
mod foreign;
mod kill;
mod large;
mod long_life;
mod proxy;
mod races;
pub(crate) mod s3;
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
        erasure::trials(),
        foreign::trials(),
        kill::trials(),
        large::trials(),
        long_life::trials(),
        races::trials(),
        s3::trials(),
        tables::trials(),
        upkeep::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
