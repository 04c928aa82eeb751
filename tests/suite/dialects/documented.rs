//! The pages on dialects: each foreign example comes to the canonical one below it.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use segmenta::syntax::dialect::{Dialect, Mapping, Settings, export};
use serde_json::Value as Json;

use super::{canonical, read_one};
use crate::scenario::explain;

pub(crate) fn trials() -> Vec<Trial> {
    let of = |dialect: Dialect| {
        Trial::test(format!("dialects::{}::the_examples_of_its_page_hold", dialect.keyword()), move || examples_hold(dialect))
    };
    Dialect::READABLE.map(of).into()
}

fn examples_hold(dialect: Dialect) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/dialects/{}.md", dialect.keyword()));
    let page = fs::read_to_string(path)?;
    let blocks: Vec<&str> = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let settings = Settings::default();
    let mapping = Mapping { settings: &settings, users: None };
    let pairs = blocks.chunks_exact(2);
    if !pairs.remainder().is_empty() || pairs.len() == 0 {
        return Err(format!("{} blocks are no pairs", blocks.len()).into());
    }
    for pair in pairs {
        let [foreign, expected] = pair else { return Err("no pair".into()) };
        let document = read_one("example.json", foreign, dialect, mapping)?;
        let expected: Json = serde_json::from_str(expected)?;
        if canonical(&document) != expected {
            return Err(format!("{foreign}\nbecomes\n{:#}", canonical(&document)).into());
        }
        let back = export(&document, dialect, mapping).map_err(|report| explain(&report))?;
        let again = read_one("again.json", &back.text, dialect, mapping)?;
        let again = canonical(&again);
        if again["conditions"] != expected["conditions"] || again["scoring"] != expected["scoring"] {
            return Err(format!("{}\nbecomes\n{:#}", back.text, again).into());
        }
    }
    Ok(())
}
