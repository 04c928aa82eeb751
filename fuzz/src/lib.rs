//! The floors of segmenta that read text, without the engine below them, and what must hold of any text.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the floors are used in part")]

// The properties name the floors by the name of the package, here and in its tests.
extern crate self as segmenta;

#[path = "../../src/check/mod.rs"]
pub mod check;
#[path = "../../src/clock.rs"]
pub mod clock;
#[path = "../../src/diagnostic/mod.rs"]
pub mod diagnostic;
#[path = "../../src/ir/mod.rs"]
pub mod ir;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/syntax/mod.rs"]
pub mod syntax;

pub mod properties;
