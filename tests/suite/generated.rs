//! The demo data generator: deterministic, believable, bounded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use segmenta::generate::{GenerateError, Options, Progress, generate};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("generate::the_same_options_give_the_same_bytes", the_same_options_give_the_same_bytes),
        Trial::test("generate::another_seed_gives_other_bytes", another_seed_gives_other_bytes),
        Trial::test("generate::the_demo_is_what_the_defaults_give", the_demo_is_what_the_defaults_give),
        Trial::test("generate::progress_grows_to_all_events", progress_grows_to_all_events),
        Trial::test("generate::a_folder_with_something_in_it_is_left_alone", a_folder_with_something_in_it_is_left_alone),
    ]
}

const SMALL: Options = Options { users: 300, events: 5_000, days: 9, products: 40, seed: 11, end: jiff::civil::date(2024, 3, 3) };

fn the_same_options_give_the_same_bytes() -> Result<(), Failed> {
    let (first, second) = (files(&SMALL)?, files(&SMALL)?);
    assert_eq!(first.len(), 2 + 9);
    assert!(first.contains_key(Path::new("events/date=2024-02-29/part-0.parquet")));
    assert_eq!(first, second);
    Ok(())
}

fn another_seed_gives_other_bytes() -> Result<(), Failed> {
    let (first, second) = (files(&SMALL)?, files(&Options { seed: 12, ..SMALL })?);
    assert!(first.keys().eq(second.keys()));
    assert!(first.iter().all(|(name, bytes)| second.get(name) != Some(bytes)));
    Ok(())
}

fn the_demo_is_what_the_defaults_give() -> Result<(), Failed> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo");
    let (committed, generated) = (read_all(&demo)?, files(&Options::default())?);
    assert!(committed.keys().eq(generated.keys()), "other files");
    let size: usize = committed.values().map(Vec::len).sum();
    assert!(size < 2 * 1024 * 1024, "{size} bytes");
    for (name, bytes) in &generated {
        assert_eq!(committed.get(name), Some(bytes), "{}", name.display());
    }
    Ok(())
}

fn progress_grows_to_all_events() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut seen = Vec::new();
    let summary = generate(&SMALL, folder.path(), &mut |progress| seen.push(progress))?;
    assert!(seen.is_sorted_by(|a, b| a.events < b.events));
    assert_eq!(seen.last(), Some(&Progress { events: 5_000, of: 5_000 }));
    assert_eq!((summary.users, summary.events, summary.products), (300, 5_000, 40));
    let size: usize = read_all(folder.path())?.values().map(Vec::len).sum();
    assert_eq!(summary.bytes, size as u64);
    Ok(())
}

fn a_folder_with_something_in_it_is_left_alone() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("precious"), "data")?;
    let refused = generate(&SMALL, folder.path(), &mut |_| {});
    assert!(matches!(refused, Err(GenerateError::NotEmpty { .. })), "{refused:?}");
    assert_eq!(read_all(folder.path())?.len(), 1);
    Ok(())
}

fn files(options: &Options) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
    let folder = tempfile::tempdir()?;
    generate(options, folder.path(), &mut |_| {})?;
    read_all(folder.path())
}

fn read_all(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failed> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
