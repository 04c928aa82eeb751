//! Definitions of other systems. What a foreign document means is written down once more here, over rows of JSON, sharing nothing with
//! the importer: its members must be those of the definition that comes of it.

mod audience;
mod documented;
mod groups;
mod heads;
mod hostile;
mod layered;
mod meaning;
mod tree;
mod weighted;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libtest_mimic::{Failed, Trial};
use segmenta::diagnostic::Source;
use segmenta::model::id::SegmentId;
use segmenta::syntax::dialect::{Dialect, Import, Mapping, Settings, export, import};
use segmenta::syntax::{Document, Format, parse, print_json};
use serde_json::{Value as Json, json};

use crate::differential::seed;
use crate::evaluators::{self, Evaluator};
use crate::generator;
use crate::generator::dice::Dice;
use crate::scenario::{Scenario, all_valid, explain};
use world::World;

/// Worlds of each dialect, and foreign documents in each.
const WORLDS: u64 = 12;
const DOCUMENTS: usize = 50;

/// Of so many worlds, one is also evaluated by the engine.
const ENGINE_EVERY: u64 = 3;

/// Batches of canonical definitions that are exported.
const BATCHES: u64 = 64;

/// What a dialect is, told by the tests alone.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) dialect: Dialect,
    /// A document with this number; later ones may refer to earlier ones. Its id becomes `s<number>`, by its key or by its file's name.
    pub(crate) write: fn(&mut Dice, &World, usize) -> Json,
    /// The ids for which a document holds; `before` are those of the documents before it.
    pub(crate) members: fn(&Json, &World, before: &[BTreeSet<String>]) -> BTreeSet<String>,
    /// The scores of the members in billionths, where a form has scores.
    pub(crate) scores: Option<fn(&Json, &World) -> BTreeMap<String, u32>>,
    /// What the documents must show between them, each part by its text.
    pub(crate) shows: fn() -> Vec<String>,
}

const FORMS: [Form; 5] = [tree::FORM, groups::FORM, layered::FORM, weighted::FORM, audience::FORM];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for form in FORMS {
        let name = form.dialect.keyword();
        trials.push(Trial::test(format!("dialects::{name}::members_are_those_of_the_foreign_document"), move || agree(form)));
        trials.push(Trial::test(format!("dialects::{name}::what_is_exported_and_imported_has_the_same_members"), move || {
            exports_come_back(form.dialect)
        }));
    }
    trials.extend(heads::trials());
    trials.extend(hostile::trials());
    trials.extend(documented::trials());
    trials
}

/// A foreign text, imported.
pub(crate) fn read(name: &str, text: &str, dialect: Dialect, mapping: Mapping<'_>) -> Import {
    import(&Source::new(name, text), Format::Json, dialect, mapping)
}

/// The only definition of a foreign text, without errors.
pub(crate) fn read_one(name: &str, text: &str, dialect: Dialect, mapping: Mapping<'_>) -> Result<Document, String> {
    let Import { mut documents, mut report } = read(name, text, dialect, mapping);
    documents.iter().for_each(|document| report.append(document.report().clone()));
    match (documents.pop(), documents.is_empty(), report.has_errors()) {
        (Some(document), true, false) => Ok(document),
        _ => Err(format!("{}\nin {text}", explain(&report))),
    }
}

fn canonical(document: &Document) -> Json {
    serde_json::from_str(&print_json(document.definition())).expect("canonical JSON")
}

fn agree(form: Form) -> Result<(), Failed> {
    let settings = Settings::default();
    let mut shown = String::new();
    let (mut telling, mut exported) = (0, 0);
    for number in 0..WORLDS {
        let mut dice = Dice::new(seed(), 7_000 + number);
        let world = World::generate(&mut dice, number);
        let mapping = Mapping { settings: &settings, users: world.scenario.catalog.users.as_ref().map(|users| &users.table) };
        let foreign: Vec<Json> = (0..DOCUMENTS).map(|index| (form.write)(&mut dice, &world, index)).collect();
        let mut wanted: Vec<BTreeSet<String>> = Vec::new();
        let wanted_scores: Vec<_> = foreign.iter().map(|foreign| form.scores.map(|scores| scores(foreign, &world))).collect();
        let mut documents = Vec::new();
        for (index, foreign) in foreign.iter().enumerate() {
            let text = serde_json::to_string_pretty(foreign)?;
            writeln!(shown, "{foreign}")?;
            let members = (form.members)(foreign, &world, &wanted);
            telling += usize::from(!members.is_empty() && members.len() < world.size(form.dialect));
            wanted.push(members);
            documents.push(read_one(&format!("in/s{index}.json"), &text, form.dialect, mapping)?);
        }
        let scenario = Scenario {
            segments: documents.iter().map(canonical).chain(world.scenario.segments.clone()).collect(),
            ..world.scenario.clone()
        };
        let compare = |scenario: &Scenario, evaluator: Evaluator, what: &str| -> Result<(), Failed> {
            let (found, scores) = evaluators::members(scenario, evaluator)?;
            for (index, wanted) in wanted.iter().enumerate() {
                let id: SegmentId = format!("s{index}").parse()?;
                if let Some(wanted) = wanted_scores[index].as_ref().filter(|wanted| scores.get(&id) != Some(*wanted)) {
                    let (foreign, found) = (&foreign[index], scores.get(&id));
                    return Err(format!(
                        "world {number}, {what} by {evaluator:?}\n{foreign:#}\nscores {wanted:?}\nfound  {found:?}"
                    )
                    .into());
                }
                if found.get(&id) != Some(wanted) {
                    let segment = &scenario.segments[index];
                    let text = format!(
                        "world {number}, {what} by {evaluator:?}\n{:#}\nbecame\n{segment:#}\nwanted {wanted:?}\nfound  {:?}\nusers {:#?}",
                        foreign[index],
                        found.get(&id),
                        world.users,
                    );
                    return Err(text.into());
                }
            }
            Ok(())
        };
        compare(&scenario, Evaluator::Reference, "import")?;
        if number.is_multiple_of(ENGINE_EVERY) {
            compare(&scenario, Evaluator::DataFusion, "import")?;
        }
        let mut again = scenario.clone();
        for (index, document) in documents.iter().enumerate() {
            if let Ok(written) = export(document, form.dialect, mapping) {
                again.segments[index] = canonical(&read_one("again.json", &written.text, form.dialect, mapping)?);
                exported += 1;
            }
        }
        compare(&again, Evaluator::Reference, "export and import")?;
    }
    let all = usize::try_from(WORLDS)? * DOCUMENTS;
    let unshown: Vec<String> = (form.shows)().into_iter().filter(|part| !shown.contains(part)).collect();
    if !unshown.is_empty() {
        return Err(format!("never written: {unshown:?}").into());
    }
    if telling * 100 < all * 50 || exported * 100 < all * 30 {
        return Err(format!("of {all} documents {telling} tell subjects apart and {exported} are exported").into());
    }
    Ok(())
}

/// Canonical definitions by chance: where a form can say one, what comes back has the same members.
fn exports_come_back(dialect: Dialect) -> Result<(), Failed> {
    let settings = Settings::default();
    let mut accepted = 0;
    for batch in 0..BATCHES {
        let mut scenario = generator::generate(seed(), batch).scenario;
        let leaves: Vec<(Json, Json)> = scenario.segments.iter().flat_map(|segment| leaves(segment, &segment["subject"])).collect();
        scenario.segments.extend(leaves.into_iter().enumerate().map(|(number, (subject, leaf))| {
            let subject = if subject.is_null() { json!("user") } else { subject };
            json!({"id": format!("leaf-{number}"), "subject": subject, "logic": "and", "conditions": [leaf]})
        }));
        let mapping = Mapping { settings: &settings, users: scenario.catalog.users.as_ref().map(|users| &users.table) };
        let mut again = scenario.clone();
        let mut changed = BTreeMap::new();
        for (index, segment) in scenario.segments.iter().enumerate() {
            let text = serde_json::to_string_pretty(segment)?;
            let document = parse(&Source::new("segment.json", text), Format::Json).map_err(|text| explain(&text.report))?;
            match export(&document, dialect, mapping) {
                Ok(written) => {
                    let back = read_one("back.json", &written.text, dialect, mapping)?;
                    again.segments[index] = canonical(&back);
                    changed.insert(document.definition().id.clone(), written.text);
                    accepted += 1;
                }
                Err(report) if report.has_errors() => {}
                Err(_) => return Err("a refusal without a reason".into()),
            }
        }
        let members = |scenario: &Scenario| -> Result<_, String> {
            let checked = scenario.check()?;
            let segments = all_valid(&checked)?;
            Ok((scenario.reference(&segments), scenario.reference_scores(&segments)))
        };
        let (before, scores_before) = members(&scenario)?;
        let (after, scores_after) = members(&again).map_err(|error| format!("{error}\n{changed:#?}"))?;
        for (id, written) in &changed {
            if scores_before.get(id) != scores_after.get(id) {
                let (before, after) = (scores_before.get(id), scores_after.get(id));
                return Err(format!("scores of `{id}` of batch {batch}: {before:?} became {after:?} by\n{written}").into());
            }
            if before.get(id) != after.get(id) {
                return Err(
                    format!("`{id}` of batch {batch}: {:?} became {:?} by\n{written}", before.get(id), after.get(id)).into()
                );
            }
        }
    }
    if accepted < 20 { Err(format!("only {accepted} definitions were exported").into()) } else { Ok(()) }
}

/// The leaves of a definition, each with the subject that it is about: few definitions can be said as a whole in other forms.
fn leaves(node: &Json, subject: &Json) -> Vec<(Json, Json)> {
    if node.get("type").is_some() {
        return vec![(subject.clone(), node.clone())];
    }
    let inner = ["conditions", "of", "rules"].into_iter().filter_map(|key| node.get(key)?.as_array()).flatten();
    let single = ["not", "scoring", "condition"].into_iter().filter_map(|key| node.get(key));
    inner.chain(single).flat_map(|inner| leaves(inner, subject)).collect()
}
