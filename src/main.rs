//! The `segmenta` program.

fn main() {}
