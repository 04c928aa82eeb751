//! The definitions that a project can start from: the files of `queries/`, which the program carries with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::CliError;
use crate::diagnostic::{Source, nearest};
use crate::model::segment::Definition;
use crate::syntax::{Document, Format, parse, print_json};

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What a project starts from when nothing else is asked for, and what these refer to.
const STARTERS: [&str; 9] = [
    "bestsellers",
    "birthday-soon",
    "cart-abandoners",
    "new-customers",
    "on-sale",
    "top-spenders",
    "vip-customers",
    "weekly-regulars",
    "win-back",
];
/// The word for every template.
const EVERY: &str = "all";

/// A definition to start from. Its name is its id.
pub(crate) struct Template {
    /// The name of its file.
    pub(crate) file: &'static str,
    /// What stands in it.
    pub(crate) text: &'static str,
    document: Document,
}

impl Template {
    /// What it says.
    pub(crate) fn definition(&self) -> &Definition {
        self.document.definition()
    }

    fn name(&self) -> &str {
        self.definition().id.as_str()
    }
}

/// Every template, in the order of their files.
pub(crate) fn library() -> Vec<Template> {
    let template = |(file, text): &(&'static str, &'static str)| {
        let document = parse(&Source::new(*file, *text), Format::from_file_name(file)?).ok()?;
        Some(Template { file, text, document })
    };
    FILES.iter().filter_map(template).collect()
}

/// The templates that are named, and those that they refer to; a choice of them when none is named.
pub(crate) fn choose(names: &[String]) -> Result<Vec<Template>, CliError> {
    let mut library = library();
    let mut open: Vec<String> = match names {
        [] => STARTERS.map(str::to_owned).to_vec(),
        names if names.iter().any(|name| name == EVERY) => return Ok(library),
        names => names.to_vec(),
    };
    let mut chosen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let Some(template) = library.iter().find(|template| template.name() == name) else { return Err(unknown(&name, &library)) };
        if chosen.insert(name) {
            open.extend(references(template.definition()));
        }
    }
    library.retain(|template| chosen.contains(template.name()));
    Ok(library)
}

fn unknown(name: &str, library: &[Template]) -> CliError {
    let near = nearest(name, library.iter().map(Template::name));
    let help = match near {
        Some(near) => format!("Did you mean `{near}`? `segmenta init --list` shows all of them."),
        None => "`segmenta init --list` shows all of them.".to_owned(),
    };
    CliError::Usage { problem: format!("there is no template `{name}`"), help: Some(help) }
}

/// The segments that a definition refers to, in whatever condition.
fn references(definition: &Definition) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Ok(Value::Object(mut members)) = serde_json::from_str(&print_json(definition)) {
        members.remove("metadata");
        members.values().for_each(|member| collect_references(member, &mut found));
    }
    found
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("segment_id").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect_references(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(templates: &[Template]) -> Vec<&str> {
        templates.iter().map(Template::name).collect()
    }

    #[test]
    fn every_file_is_a_template_of_its_name() {
        let library = library();
        assert_eq!(library.len(), FILES.len());
        for template in &library {
            assert_eq!(template.file.split('.').next(), Some(template.name()));
            assert!(!template.document.report().has_errors(), "{}", template.file);
        }
    }

    #[test]
    fn what_is_referred_to_comes_along() {
        let chosen = choose(&["win-back".to_owned()]).unwrap();
        assert_eq!(names(&chosen), ["lapsed-buyers", "needs-attention", "unreachable", "win-back"]);
        let chosen = choose(&["bought-by-vips".to_owned()]).unwrap();
        assert_eq!(names(&chosen), ["bought-by-vips", "vip-customers"]);
        let starters = choose(&[]).unwrap();
        assert!(STARTERS.iter().all(|name| names(&starters).contains(name)), "{:?}", names(&starters));
        assert!(names(&starters).contains(&"lapsed-buyers"));
        assert_eq!(choose(&["all".to_owned()]).unwrap().len(), FILES.len());
    }

    #[test]
    fn an_unknown_template_is_told_with_the_nearest() {
        let Err(CliError::Usage { problem, help }) = choose(&["birthday-son".to_owned()]) else { panic!("it was found") };
        assert_eq!(problem, "there is no template `birthday-son`");
        assert!(help.unwrap().contains("`birthday-soon`"));
    }
}
