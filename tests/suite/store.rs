//! One contract for every ledger, and what survives a crash.

mod clickhouse;
mod contract;
mod crash;
mod damage;
mod faulty;
mod foreign;
mod kill;
mod large;
mod proxy;
mod races;
pub(crate) mod s3;
mod stage;
mod tables;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [
        clickhouse::trials(),
        contract::trials(),
        crash::trials(),
        damage::trials(),
        foreign::trials(),
        kill::trials(),
        large::trials(),
        races::trials(),
        s3::trials(),
        tables::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
