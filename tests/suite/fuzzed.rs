//! Texts that fuzzing kept, since each takes a way through the readers that no other does. What must hold of any text holds of them, and of
//! what comes of them when they are changed at random. A longer run is asked for with the environment: `SEGMENTA_TEST_FUZZ=600` changes
//! texts for so many seconds for each target, and prints what was found.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segmenta::clock::{Clock, SystemClock};

#[allow(unreachable_pub, reason = "the fuzz targets are crates of their own")]
#[path = "../../fuzz/src/properties.rs"]
mod properties;

/// A corpus that lost its files would prove nothing.
const LEAST_TEXTS: usize = 100;
/// The same, of readers with few ways through them.
const LEAST_TEXTS_OF_SMALL: usize = 20;
/// Bytes of all texts together: they are read with every checkout.
const MOST_BYTES: usize = 400 * 1024;

/// How often a text is changed, unless this variable says for how long.
const CHANGES: usize = 400;
const SECONDS_VARIABLE: &str = "SEGMENTA_TEST_FUZZ";
/// Where texts that came to something new are put, when a folder is named.
const KEPT_VARIABLE: &str = "SEGMENTA_TEST_FUZZ_KEEPS";
/// A larger pool would hold more of what a message quotes, and of little else.
const MOST_POOL: usize = 5_000;
/// What tells outcomes apart stands at their beginning.
const LONGEST_SHAPE: usize = 80;
/// A longer text says nothing that a shorter one does not.
const MOST_TEXT: usize = 4096;

/// What must hold of a text; panics where it does not. Returns what came of it.
type Property = fn(&[u8]) -> String;

/// A reader of texts from outside.
struct Target {
    name: &'static str,
    least: usize,
    property: Property,
    /// Words that its texts are made of.
    words: &'static [&'static str],
}

const TARGETS: [Target; 6] = [
    Target { name: "where_expression", least: LEAST_TEXTS, property: |text| told(properties::where_expression, text), words: &[] },
    Target { name: "definition", least: LEAST_TEXTS, property: |text| told(properties::definition, text), words: &[] },
    Target { name: "dialect", least: LEAST_TEXTS, property: |text| told(properties::dialect, text), words: &[] },
    Target {
        name: "configuration",
        least: LEAST_TEXTS_OF_SMALL,
        property: properties::configuration,
        words: &[
            "[[tenants]]\n",
            "[store]\n",
            "[engine]\n",
            "[scheduler]\n",
            "[limits]\n",
            "[clickhouse]\n",
            "[tenants.users]\n",
            "[tenants.events]\n",
            "[tenants.products]\n",
            "[tenants.dialects]\n",
            "id = ",
            "url = ",
            "source = ",
            "key = ",
            "columns = {",
            "}",
            "\"",
            "'",
            "${HOME}",
            "${MISSING}",
            "${",
            "true",
            "false",
            "-1",
            "18446744073709551616",
            "1e309",
            "nan",
            "\"8GiB\"",
            "\"0 2 * * *\"",
            "\"60s\"",
            "\"50%\"",
            "\"UTC\"",
            "\"2026-01-01T00:00:00Z\"",
            "\n",
            "#",
            "=",
            "[",
            "]",
            "\u{feff}",
            "\\u0000",
        ],
    },
    Target {
        name: "csv_import",
        least: LEAST_TEXTS_OF_SMALL,
        property: properties::csv_import,
        words: &[
            "user_id",
            "mail",
            "subject_id",
            "u1",
            ",",
            ";",
            "\"",
            "\"\"",
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "\u{feff}",
            "\u{a0}",
            "\0",
        ],
    },
    Target {
        name: "commit_record",
        least: LEAST_TEXTS_OF_SMALL,
        property: properties::commit_record,
        words: &[
            "null",
            "0",
            "-1",
            "18446744073709551615",
            "1e400",
            "\"\"",
            "{}",
            "[]",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"claim\"",
            "\"run\"",
            "\"deleted\"",
            "\"kept\"",
            "\"9999-12-31T23:59:59Z\"",
            "\"-009999-01-01T00:00:00Z\"",
            "\"../..\"",
            "\\ud800",
            "\"format\":3,",
        ],
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let replayed = TARGETS.iter().map(|target| Trial::test(format!("fuzzed::{}", target.name), || replay(target)));
    let changed = TARGETS.iter().map(|target| Trial::test(format!("fuzzed::changed::{}", target.name), || change(target)));
    replayed.chain(changed).chain([Trial::test("fuzzed::the_corpus_is_small", the_corpus_is_small)]).collect()
}

/// A property that does not say what came of a text.
fn told(property: fn(&[u8]), text: &[u8]) -> String {
    property(text);
    String::new()
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Every text of a target by its file name.
fn texts(target: &str) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(corpus(target))? {
        let path = entry?.path();
        texts.push((path.display().to_string(), fs::read(&path)?));
    }
    texts.sort();
    Ok(texts)
}

fn replay(target: &Target) -> Result<(), Failed> {
    let texts = texts(target.name)?;
    assert!(texts.len() >= target.least, "only {} texts", texts.len());
    for (name, text) in texts {
        if catch_unwind(|| (target.property)(&text)).is_err() {
            return Err(format!("{name} breaks a property: {}", String::from_utf8_lossy(&text)).into());
        }
    }
    Ok(())
}

/// Changes texts at random, and goes on with those that come to something new.
#[expect(clippy::print_stdout, reason = "the figures are for whoever asks for a long run")]
fn change(target: &Target) -> Result<(), Failed> {
    let seconds = std::env::var_os(SECONDS_VARIABLE).map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let (clock, seconds) = (SystemClock::new(), seconds.map(Duration::from_secs));
    let began = clock.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(2026);
    let mut pool: Vec<Vec<u8>> = texts(target.name)?.into_iter().map(|(_, text)| text).collect();
    let mut shapes: BTreeMap<String, usize> = BTreeMap::new();
    for text in &pool {
        *shapes.entry(shape(&(target.property)(text))).or_default() += 1;
    }
    let (kept, mut changes) = (pool.len(), 0);
    while seconds.map_or(changes < CHANGES, |seconds| clock.elapsed().saturating_sub(began) < seconds) {
        changes += 1;
        let text = changed(&mut random, &pool, target.words);
        let Ok(came) = catch_unwind(|| (target.property)(&text)) else {
            return Err(format!("breaks a property: {:?}", String::from_utf8_lossy(&text)).into());
        };
        let seen = shapes.entry(shape(&came)).or_default();
        *seen += 1;
        if *seen == 1 && pool.len() < MOST_POOL {
            if let Some(folder) = std::env::var_os(KEPT_VARIABLE) {
                let folder = Path::new(&folder).join(target.name);
                fs::create_dir_all(&folder)?;
                let name: String = blake3::hash(&text).to_hex().chars().take(16).collect();
                fs::write(folder.join(name), &text)?;
            }
            pool.push(text);
        }
    }
    if seconds.is_some() {
        println!("{}: {changes} texts, {} outcomes, {} of them new", target.name, shapes.len(), pool.len() - kept);
    }
    Ok(())
}

/// What came of a text without what it quotes: words and numbers of the text itself.
fn shape(came: &str) -> String {
    let (mut shape, mut quote) = (String::new(), None);
    for letter in came.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '`' | '"' | '\'') => quote = Some(letter),
            (None, letter) if letter.is_ascii_alphabetic() || letter == ' ' => shape.push(letter),
            (Some(_) | None, _) => {}
        }
    }
    shape.truncate(LONGEST_SHAPE);
    shape
}

fn changed(random: &mut ChaCha8Rng, pool: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut text = pool[random.random_range(0..pool.len())].clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=text.len());
        let end = text.len().min(at + random.random_range(1..40));
        match random.random_range(0..7) {
            0 if at < text.len() => text[at] ^= 1 << random.random_range(0..8),
            1 => text.insert(at, random.random_range(0..=255)),
            2 => drop(text.drain(at..end)),
            3 => {
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
            4 => {
                let other = &pool[random.random_range(0..pool.len())];
                let from = random.random_range(0..=other.len());
                let to = other.len().min(from + random.random_range(1..200));
                text.splice(at..end, other[from..to].iter().copied());
            }
            _ if !words.is_empty() => {
                let word = words[random.random_range(0..words.len())];
                let end = if random.random_bool(0.5) { at } else { end };
                text.splice(at..end, word.bytes());
            }
            _ => text.truncate(at),
        }
    }
    text.truncate(MOST_TEXT);
    text
}

fn the_corpus_is_small() -> Result<(), Failed> {
    let mut size = 0;
    for target in &TARGETS {
        size += texts(target.name)?.iter().map(|(_, text)| text.len()).sum::<usize>();
    }
    if size <= MOST_BYTES { Ok(()) } else { Err(format!("{size} bytes; `cargo fuzz cmin` makes a corpus smaller").into()) }
}
