//! Texts that fuzzing kept, since each takes a way through the readers that no other does. What must hold of any text holds of them.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

#[allow(unreachable_pub, reason = "the fuzz targets are crates of their own")]
#[path = "../../fuzz/src/properties.rs"]
mod properties;

/// A corpus that lost its files would prove nothing.
const LEAST_TEXTS: usize = 100;
/// Bytes of all texts together: they are read with every checkout.
const MOST_BYTES: usize = 300 * 1024;

/// What must hold of a text; panics where it does not.
type Property = fn(&[u8]);

pub(crate) fn trials() -> Vec<Trial> {
    let targets: [(&str, Property); 3] = [
        ("where_expression", properties::where_expression),
        ("definition", properties::definition),
        ("dialect", properties::dialect),
    ];
    let replay = |(target, property)| Trial::test(format!("fuzzed::{target}"), move || replay(target, property));
    targets.into_iter().map(replay).chain([Trial::test("fuzzed::the_corpus_is_small", the_corpus_is_small)]).collect()
}

/// Every text of a target by its file name.
fn texts(target: &str) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        texts.push((path.display().to_string(), fs::read(&path)?));
    }
    texts.sort();
    Ok(texts)
}

fn replay(target: &str, property: Property) -> Result<(), Failed> {
    let texts = texts(target)?;
    assert!(texts.len() >= LEAST_TEXTS, "only {} texts", texts.len());
    for (name, text) in texts {
        if catch_unwind(|| property(&text)).is_err() {
            return Err(format!("{name} breaks a property: {}", String::from_utf8_lossy(&text)).into());
        }
    }
    Ok(())
}

fn the_corpus_is_small() -> Result<(), Failed> {
    let mut size = 0;
    for target in ["where_expression", "definition", "dialect"] {
        size += texts(target)?.iter().map(|(_, text)| text.len()).sum::<usize>();
    }
    if size <= MOST_BYTES { Ok(()) } else { Err(format!("{size} bytes; `cargo fuzz cmin` makes a corpus smaller").into()) }
}
