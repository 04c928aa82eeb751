//! One expression in the syntax of SQL, and a rule as such an expression: `country IN ('US', 'CA') AND NOT in_segment('churned')`.
//!
//! An expression is parsed and never executed as SQL. It becomes the tree that a definition has in JSON, TOML and YAML, with the places of
//! its own text, so that whatever is wrong with a definition is found, and shown, the same way here.
//!
//! ```
//! use segmenta::diagnostic::Source;
//! use segmenta::model::condition::Subject;
//! use segmenta::syntax::{parse_expression, print_expression};
//!
//! let text = "country IN ('US', 'CA') AND events('order_completed', sum => 'price', last => '30d') >= 500";
//! let source = Source::new("expression", text);
//! let document = parse_expression(&source, &"big-spenders".parse().unwrap(), Subject::User).unwrap();
//! assert_eq!(print_expression(document.definition()).as_deref(), Some(text));
//! ```

mod build;
mod called;
mod events;
mod functions;
mod grammar;
mod place;
mod print;
mod read;
mod value;

use std::sync::Arc;
use std::thread;

pub use print::print_expression;

use super::Document;
use super::decode::{self, Decoder, Place};
use crate::diagnostic::{Code, Finding, Report, Source};
use crate::model::condition::Subject;
use crate::model::id::SegmentId;
use read::Reader;

/// Room for the parser, which recurses with large frames.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Reads the definition of a segment with one expression as its rule: every error of form in one pass.
///
/// As with [`parse`](super::parse), look at [`Document::report`]: what can be read of an expression with errors is checked with the
/// rest.
///
/// # Errors
/// The text is no expression.
pub fn parse_expression(source: &Arc<Source>, id: &SegmentId, subject: Subject) -> Result<Document, Report> {
    let work = || read_document(source, id, subject);
    thread::scope(|scope| match thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => {
            let finding = Finding::new(Code::TooLarge, "there is no memory to read an expression");
            Err(finding.at(source, 0..source.text.len()).into())
        }
    })
}

fn read_document(source: &Arc<Source>, id: &SegmentId, subject: Subject) -> Result<Document, Report> {
    let parsed = grammar::parse(&source.text).map_err(|flaw| {
        let finding = Finding::new(flaw.code, flaw.message).at(source, decode::first_line(source, flaw.span));
        Report::from(match flaw.help {
            Some(help) => finding.with_help(help),
            None => finding,
        })
    })?;
    let mut reader = Reader { source, tokens: &parsed.tokens, findings: Vec::new() };
    let root = reader.definition(&parsed.expr, id, subject);
    let mut findings = reader.findings;
    let mut decoder = Decoder::new(source);
    let read = decode::definition(&mut decoder, &Place::root(&root));
    findings.extend(decoder.into_findings());
    let report = Report::of_text(findings);
    match read {
        Some(read) => Ok(Document { source: Arc::clone(source), definition: Arc::new(read.definition), root, report }),
        // INVARIANT: what the reader makes is an object with an id.
        None => Err(report),
    }
}
