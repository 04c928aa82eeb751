//! Tells people what was left out of the tables or did not fit.

use super::render::Screen;
use crate::backend::{Effort, Observation, ObservationKind, Scan, ServerRead, Stage, TableRole};
use crate::check::Reading;
use crate::model::condition::Subject;

/// Notes every observation of an evaluation of users, or of products, in a line.
pub(crate) fn note_all(screen: Screen, subject: Subject, observations: &[Observation]) {
    for observation in observations {
        let text = in_words(subject, observation);
        if is_expected(subject, observation) { screen.detail(&text) } else { screen.note(&text) }
    }
}

/// Tells those who want to know what an evaluation shared, and where its time went.
pub(crate) fn detail_effort(screen: Screen, subject: Subject, effort: &Effort) {
    let Effort { tests, features, measures, passes, stages, server } = effort;
    let subject = subject.keyword();
    screen.detail(&format!("{subject}s: {tests} tests of {features} distinct features, told from {measures} measures of events"));
    if *passes > 1 {
        screen.detail(&format!(
            "{subject}s: the events were read {passes} times, since memory does not suffice for all {subject}s at once"
        ));
    }
    if let Some(ServerRead { rows, bytes, time }) = server {
        screen.detail(&format!("{subject}s: the server read {rows} rows, {bytes} bytes, in {} ms", time.as_millis()));
    }
    for Stage { name, time } in stages {
        screen.detail(&format!("{subject}s: {name}: {} ms", time.as_millis()));
    }
}

/// Tells those who want to know what was read.
pub(crate) fn detail_scans(screen: Screen, scans: &[Scan]) {
    for Scan { table, passes, rows, columns, bytes } in scans {
        let passes = if *passes == 1 { "one pass".to_owned() } else { format!("{passes} passes") };
        screen.detail(&format!("{table}: {passes}, {rows} rows, {columns} columns, {bytes} bytes of files"));
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
        ObservationKind::DeclaredMisfit { column, declared } => {
            format!("{table}: `{column}` is not {declared} as declared in {rows}, and counts as missing there")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::TableRole;

    #[test]
    fn observations_in_words() {
        let words = |kind, count| in_words(Subject::User, &Observation { table: TableRole::Events, kind, count });
        let declared = |column: &str, declared: &str| ObservationKind::DeclaredMisfit {
            column: column.to_owned(),
            declared: declared.parse().unwrap(),
        };
        assert_eq!(
            words(declared("amount", "decimal(12,2)"), 17),
            "events: `amount` is not decimal(12,2) as declared in 17 rows, and counts as missing there"
        );
        assert_eq!(
            words(declared("at", "timestamp[s]"), 1),
            "events: `at` is not timestamp[s] as declared in 1 row, and counts as missing there"
        );
        let misfit = ObservationKind::Misfit { property: "props.n".to_owned(), reading: Reading::Number };
        assert_eq!(words(misfit, 2), "events: `props.n` is not a number in 2 rows, and counts as missing there");
        assert_eq!(words(ObservationKind::MissingKey, 1), "events: 1 row without a user key left out");
        assert_eq!(words(ObservationKind::MissingTime, 2), "events: 2 rows without a time left out");
        let invalid = ObservationKind::InvalidJson { column: "props".to_owned() };
        assert_eq!(words(invalid, 3), "events: `props` is not valid JSON in 3 rows, and has no paths there");
    }
}
