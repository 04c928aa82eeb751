//! What is valid and still doubtful: conditions that hold for nobody or for everybody, that say what others say already, or that
//! the data has never seen anything of.
//!
//! Everything here is a warning and is so: what cannot be told for certain is passed over in silence. It reads checked definitions
//! and plain facts about tables, never the tables.

mod branch;
mod data;
mod exclusion;
mod facts;
mod twins;
mod uses;

pub use facts::{DataFacts, EventFacts, PropertyFacts, TableFacts};

use crate::check::{Checked, CheckedSegment, Probes};
use crate::diagnostic::{Finding, Report};
use crate::model::calendar::Calendar;
use crate::model::path::DocPath;
use crate::syntax::Document;

/// Everything that is doubtful in the definitions that passed [`check`](crate::check::check), in the order of the documents.
/// `calendar` says when it is, `facts` what the tables hold, if they were looked at.
#[must_use]
pub fn lint(documents: &[Document], checked: &Checked, calendar: &Calendar, facts: Option<&DataFacts>) -> Report {
    let probes = Probes::new(calendar.zone().iana_name().unwrap_or("UTC"));
    let valid = |document: &Document| checked.segments.get(&document.definition().id)?.as_ref().ok();
    let segments: Vec<(&Document, &CheckedSegment)> =
        documents.iter().filter_map(|document| Some((document, valid(document)?))).collect();
    let twins = twins::twins(segments.iter().map(|(_, segment)| *segment), &probes);
    let mut report = Report::default();
    for (document, segment) in segments {
        let mut found = Found { document, findings: Vec::new() };
        branch::lint(segment, &probes, &mut found);
        if let Some(facts) = facts {
            data::lint(segment, calendar, facts, &mut found);
        }
        for twin in twins.iter().filter(|twin| twin.segment == segment.id()) {
            found.add(&twin.path, twin.finding.clone());
        }
        report.append(Report::of_text(found.findings));
    }
    report
}

/// What was found in one document.
struct Found<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, path: &DocPath, finding: Finding) {
        self.findings.push(self.document.place(finding, path));
    }
}
