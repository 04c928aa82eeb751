//! ClickHouse: a batch as SQL that runs where the tables are. What each statement means is what the plans of the embedded engine mean; the
//! tests run both.

mod attributes;
mod backend;
mod compare;
mod evaluations;
mod events;
mod form;
mod inspect;
mod json;
mod lets;
mod load;
mod members;
mod number;
mod offline;
mod parts;
mod predicate;
mod profile;
mod reads;
mod score;
mod sequence;
mod sets;
mod sql;
mod statement;
mod tables;
mod time;

pub use backend::ClickHouseBackend;
pub use evaluations::Evaluations;
pub use load::{NewTable, order_of};
pub use members::{EVALUATIONS, Edits, Kept, MEMBERS, OVERRIDES, RemoteMembers};
pub use offline::{Imagined, show_plan_offline};
pub use sets::RemoteSets;
