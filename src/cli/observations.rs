//! Tells people what was left out of the tables or did not fit.

use super::render::Screen;
use crate::backend::{Observation, ObservationKind, TableRole};
use crate::check::Reading;
use crate::model::condition::Subject;

/// Notes every observation of an evaluation of users, or of products, in a line.
pub(crate) fn note_all(screen: Screen, subject: Subject, observations: &[Observation]) {
    for observation in observations {
        let text = in_words(subject, observation);
        if is_expected(subject, observation) { screen.detail(&text) } else { screen.note(&text) }
    }
}

/// Events that concern no product are nothing to worry about; those of no user are.
fn is_expected(subject: Subject, observation: &Observation) -> bool {
    (subject, observation.table, &observation.kind) == (Subject::Product, TableRole::Events, &ObservationKind::MissingKey)
}

fn in_words(subject: Subject, observation: &Observation) -> String {
    let Observation { table, kind, count } = observation;
    let rows = if *count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    match kind {
        ObservationKind::MissingKey => format!("{table}: {rows} without a {} key left out", subject.keyword()),
        ObservationKind::MissingTime => format!("{table}: {rows} without a time left out"),
        ObservationKind::Misfit { property, reading } => {
            format!("{table}: `{property}` is not {} in {rows}, and counts as missing there", reading_in_words(*reading))
        }
        ObservationKind::InvalidJson { column } => {
            format!("{table}: `{column}` is not valid JSON in {rows}, and has no paths there")
        }
    }
}

fn reading_in_words(reading: Reading) -> &'static str {
    match reading {
        Reading::Text => "a text",
        Reading::Number => "a number",
        Reading::Boolean => "a boolean",
        Reading::Date => "a date",
        Reading::Elements(_) => "an array",
        Reading::Stored => "a value",
    }
}
