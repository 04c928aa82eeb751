//! The definitions of `queries/` as a library: each says what it is for, is listed, and tells subjects of the demo apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use segmenta::diagnostic::Source;
use segmenta::model::condition::Subject;
use segmenta::model::id::SegmentId;
use segmenta::model::segment::{Definition, Kind};
use segmenta::syntax::{Format, parse};

use crate::golden::{definition_files, demo_members, format_of};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("library::every_definition_says_what_it_is_for", every_definition_says_what_it_is_for),
        Trial::test("library::every_definition_is_listed_once", every_definition_is_listed_once),
        Trial::test("library::every_definition_tells_subjects_apart", every_definition_tells_subjects_apart),
        Trial::test("library::recency_frequency_and_money_part_the_buyers", rfm_parts_the_buyers),
    ]
}

/// The definitions by the names of their files.
fn definitions() -> Result<BTreeMap<String, Definition>, Failed> {
    let mut found = BTreeMap::new();
    for path in definition_files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = Source::new(name.as_str(), fs::read_to_string(&path)?);
        let document = parse(&source, format_of(&path).unwrap_or(Format::Json)).map_err(|error| format!("{:?}", error.report))?;
        found.insert(name, Definition::clone(document.definition()));
    }
    Ok(found)
}

fn every_definition_says_what_it_is_for() -> Result<(), Failed> {
    let definitions = definitions()?;
    assert!(definitions.len() > 80, "only {}", definitions.len());
    for (file, definition) in definitions {
        assert_eq!(file.split('.').next(), Some(definition.id.as_str()));
        assert!(definition.name.is_some(), "{file} has no name");
        assert!(definition.description.is_some_and(|text| text.len() > 20), "{file} has no description");
        assert!(!definition.tags.is_empty(), "{file} has no tags");
    }
    Ok(())
}

fn every_definition_is_listed_once() -> Result<(), Failed> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples.md"))?;
    for (file, definition) in definitions()? {
        let row = format!("| [{}](../queries/{file}) |", definition.display_name());
        assert_eq!(page.matches(&row).count(), 1, "docs/examples.md has to have the row {row} once");
    }
    assert_eq!(page.matches("](../queries/").count(), definitions()?.len(), "docs/examples.md lists what is not there");
    Ok(())
}

fn every_definition_tells_subjects_apart() -> Result<(), Failed> {
    let members = demo_members()?;
    for (file, definition) in definitions()? {
        let universe = match definition.subject {
            Subject::User => 1_000,
            Subject::Product => 200,
        };
        let count = members.get(&definition.id).map_or(0, BTreeSet::len);
        let expected = match definition.kind {
            Kind::Dynamic => 1..universe,
            Kind::Static => 0..1,
        };
        assert!(expected.contains(&count), "{file} has {count} of {universe} subjects");
    }
    Ok(())
}

/// Nine cells of a grid: every buyer is in exactly one.
fn rfm_parts_the_buyers() -> Result<(), Failed> {
    let members = demo_members()?;
    let cells: Vec<_> = members.iter().filter(|(id, _)| id.as_str().starts_with("rfm-")).map(|(_, members)| members).collect();
    assert_eq!(cells.len(), 9);
    let together: BTreeSet<_> = cells.iter().copied().flatten().collect();
    assert_eq!(together.len(), cells.iter().map(|members| members.len()).sum::<usize>(), "two cells share someone");
    let never: SegmentId = "never-bought".parse()?;
    let never = members.get(&never).ok_or("`never-bought` was not evaluated")?;
    assert!(together.iter().all(|subject| !never.contains(*subject)));
    assert_eq!(together.len() + never.len(), 1_000);
    Ok(())
}
