//! Advice that was given for a definition, in the words of an expression.

use crate::diagnostic::{Code, Finding};
use crate::model::operator::ValueType;

/// What stands otherwise in an expression: advice names keys of a definition where an expression has arguments.
const WORDS: [(&str, &str); 7] = [
    ("`{\"type\": \"everyone\"}`", "`everyone()`"),
    ("Leave `value_type` out.", "Leave `type` out."),
    ("Add a `value_type`.", "Add a `type`, such as `type => 'number'`."),
    ("Set `\"subject\": \"product\"`: the condition holds for products.", "It holds for products: ask with `--of products`."),
    (
        "Set `\"subject\": \"user\"`, or count events with conditions of type `event`.",
        "Ask with `--of users`, or count `events(...)`.",
    ),
    ("For a single event write a condition of type `event`.", "For a single event write `events(...)`."),
    ("`value` is the lower end and `value2` the upper; exchange them.", "The lower end stands first; exchange them."),
];

/// The same finding with its advice in the words of an expression.
pub(in crate::syntax) fn reworded(finding: Finding) -> Finding {
    if finding.code == Code::UnknownProperty && finding.path.as_deref().is_some_and(|path| path.ends_with("/right/property")) {
        let help = finding.help.clone().map(|help| format!(" {help}")).unwrap_or_default();
        return finding.with_help(format!("A text stands in single quotes, such as `'US'`.{help}"));
    }
    let Some(mut help) = finding.help.clone() else { return finding };
    for (in_a_definition, in_an_expression) in WORDS {
        help = help.replace(in_a_definition, in_an_expression);
    }
    for value_type in ValueType::ALL {
        let asked = format!("Add `\"value_type\": \"{value_type}\"`");
        help = help.replace(&asked, &format!("Write `value(property, type => '{value_type}')`"));
    }
    finding.with_help(help)
}
