//! Small tables with definitions whose members were worked out by hand, one file each, on every evaluator.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::scenario::{Members, Scenario, all_valid};

pub(crate) fn trials() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut trials = Vec::new();
    for file in files {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let on_reference = file.clone();
        trials.push(Trial::test(format!("scenarios::{name}::reference"), move || {
            compare(&on_reference, |scenario| {
                let checked = scenario.check()?;
                Ok(scenario.reference(&all_valid(&checked)?))
            })
        }));
    }
    trials
}

fn compare(file: &Path, evaluate: impl Fn(&Scenario) -> Result<Members, String>) -> Result<(), Failed> {
    let scenario = Scenario::parse(&fs::read_to_string(file)?)?;
    let found = evaluate(&scenario)?;
    if scenario.expected.is_empty() {
        return Err("a scenario without expected members shows nothing".into());
    }
    for (segment, expected) in &scenario.expected {
        if found.get(segment) != Some(expected) {
            return Err(format!("{}: `{segment}` expected {expected:?}, got {:?}", scenario.what, found.get(segment)).into());
        }
    }
    Ok(())
}
