//! Texts that mean harm, or nothing: they are told of, and never panic. What is accepted can be printed, read again and checked.

use libtest_mimic::{Failed, Trial};
use segmenta::check::{Limits, check};
use segmenta::diagnostic::Source;
use segmenta::syntax::dialect::{Mapping, Settings, export};
use segmenta::syntax::{Format, parse, print_json};
use serde_json::{Value as Json, json};

use super::world::World;
use super::{FORMS, Form, read};
use crate::differential::seed;
use crate::generator::dice::Dice;

/// Broken texts and broken trees of each dialect.
const TEXTS: usize = 500;

pub(crate) fn trials() -> Vec<Trial> {
    let of = |form: Form| {
        let name = format!("dialects::{}::hostile_texts_are_told_of", form.dialect.keyword());
        Trial::test(name, move || survives(form))
    };
    FORMS.map(of).into()
}

fn survives(form: Form) -> Result<(), Failed> {
    let mut dice = Dice::new(seed(), 9_000);
    let world = World::generate(&mut dice, 0);
    let settings = Settings::default();
    let mapping = Mapping { settings: &settings, users: world.scenario.catalog.users.as_ref().map(|users| &users.table) };
    let (mut accepted, mut refused) = (0, 0);
    let mut attempt = |text: &str| -> Result<(), Failed> {
        let import = read("hostile.json", text, form.dialect, mapping);
        for finding in &import.report.findings {
            assert!(text.get(finding.span.clone()).is_some(), "{finding:?} is outside of {text}");
        }
        let checked = check(&import.documents, &world.scenario.catalog, &Limits::default());
        for document in &import.documents {
            for finding in &document.report().findings {
                assert!(text.get(finding.span.clone()).is_some(), "{finding:?} is outside of {text}");
            }
            if document.report().has_errors() {
                assert!(checked.segments[&document.definition().id].is_err());
                refused += 1;
                continue;
            }
            accepted += 1;
            let printed = print_json(document.definition());
            let again = parse(&Source::new("again.json", printed.as_str()), Format::Json);
            let again = again.map_err(|unreadable| format!("{:?}\n{printed}", unreadable.report))?;
            if again.definition() != document.definition() {
                return Err(format!("{text}\nis printed as\n{printed}").into());
            }
            // A refusal or a text, but an answer.
            export(document, form.dialect, mapping).ok();
        }
        Ok(())
    };
    for index in 0..TEXTS {
        let document = (form.write)(&mut dice, &world, 5 + index % 40);
        let mut tree = document.clone();
        for _ in 0..1 + dice.below(2) {
            spoil(&mut dice, &mut tree);
        }
        attempt(&tree.to_string())?;
        attempt(&cut(&mut dice, &document.to_string()))?;
    }
    let deep = |open: &str, inner: &str, close: &str, depth: usize| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
    for depth in [20, 31, 60, 100, 5_000] {
        attempt(&deep("[", "", "]", depth))?;
        attempt(&deep(r#"{"rule": "#, "1", "}", depth))?;
        attempt(&deep(r#"{"type": "and", "conditions": ["#, "", "]}", depth))?;
        attempt(&deep(r#"{"logic": "AND", "groups": ["#, "", "]}", depth))?;
        attempt(&deep(r#"{"logic": "and", "conditions": ["#, "", "]}", depth))?;
        let expression = json!(deep("NOT (", "age > 3", ")", depth));
        attempt(&format!(r#"{{"Id": "x", "Rules": [{{"Type": "Expression", "Value": {expression}}}]}}"#))?;
        attempt(&format!(r#"{{"id": "x", "compose": {}}}"#, deep(r#"{"not": "#, r#"{"ref": "y"}"#, "}", depth)))?;
    }
    for text in ["", "null", "[]", "{}", "[[]]", "\u{feff}{}", "{\"id\": \"\u{0}\"}", r#"{"id": "\ud800"}"#, "[{}, null, 1]"] {
        attempt(text)?;
    }
    if accepted < 30 || refused < 200 { Err(format!("{accepted} accepted, {refused} refused").into()) } else { Ok(()) }
}

/// Puts something else in the place of a part of a tree, or takes it out, or doubles it.
fn spoil(dice: &mut Dice, tree: &mut Json) {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(0.5),
        json!(9_007_199_254_740_993_i64),
        json!(""),
        json!("x".repeat(300)),
        json!("a\"]..[b"),
        json!("*"),
        json!("-99999999999d"),
        json!([]),
        json!([[1]]),
        json!([null, {}]),
        json!({}),
        json!({"not": 1}),
    ];
    let stays = dice.chance(60);
    match tree {
        Json::Object(members) if stays && !members.is_empty() => {
            let keys: Vec<String> = members.keys().cloned().collect();
            let key = dice.pick_owned(&keys);
            match dice.below(8) {
                0 => drop(members.remove(&key)),
                1 => {
                    let value = members.remove(&key).unwrap_or_default();
                    members.insert(format!("{key}s"), value);
                }
                _ => {
                    if let Some(value) = members.get_mut(&key) {
                        spoil(dice, value);
                    }
                }
            }
        }
        Json::Array(elements) if stays && !elements.is_empty() => {
            let at = dice.below(elements.len());
            match dice.below(6) {
                0 => drop(elements.remove(at)),
                1 => elements.push(elements[at].clone()),
                _ => spoil(dice, &mut elements[at]),
            }
        }
        whole => *whole = dice.pick_owned(&others),
    }
}

/// A text without, or with other, characters.
fn cut(dice: &mut Dice, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(letters.len());
        match dice.below(3) {
            0 => drop(letters.drain(at..(at + 1 + dice.below(5)).min(letters.len()))),
            1 => letters[at] = *dice.pick(&['"', '{', '}', '[', ',', '\\', '0', 'ä', '\u{0}', '\u{1f4a9}']),
            _ => letters.insert(at, *dice.pick(&['"', '}', ']', ',', '-', '\u{202e}'])),
        }
        if letters.is_empty() {
            break;
        }
    }
    letters.into_iter().collect()
}
