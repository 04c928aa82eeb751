//! Small tables with definitions whose members were worked out by hand, one file each, on every evaluator.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::evaluators::{self, Evaluator};
use crate::scenario::Scenario;

pub(crate) fn trials() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut trials = Vec::new();
    for file in files {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        for evaluator in Evaluator::ALL {
            let file = file.clone();
            trials.push(evaluator.trial(format!("scenarios::{name}::{}", evaluator.name()), move || compare(&file, evaluator)));
        }
    }
    trials
}

fn compare(file: &Path, evaluator: Evaluator) -> Result<(), Failed> {
    let scenario = Scenario::parse(&fs::read_to_string(file)?)?;
    if scenario.expected.is_empty() {
        return Err("a scenario without expected members shows nothing".into());
    }
    let (found, scores) = evaluators::members(&scenario, evaluator)?;
    let mut wrong = evaluators::unexpected_scores(&scenario, &scores);
    for (segment, expected) in &scenario.expected {
        let found = found.get(segment);
        if found != Some(expected) {
            wrong += &format!("`{segment}`: expected {expected:?}, got {found:?}\n");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}\n{wrong}", scenario.what).into()) }
}
