//! What an author may say: plain data, no I/O, no Arrow, no SQL.
//!
//! A [`Definition`](segment::Definition) is the document an author writes, after its text was decoded and before anything was
//! compared with a catalog. Nothing here knows where a document came from; places in it are named by [`path::DocPath`].

pub mod calendar;
pub mod catalog;
pub mod condition;
pub mod decimal;
pub mod guard;
pub mod id;
pub mod manual;
pub mod operator;
pub mod path;
pub mod property;
pub mod schedule;
pub mod scoring;
pub mod segment;
pub mod value;
pub mod window;
