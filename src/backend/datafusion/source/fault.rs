//! What is wrong with a source, on its way to a [`BackendError`].

use std::fmt::Display;

use crate::backend::{BackendError, TableRole};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is wrong with one place of a source.
#[derive(Debug)]
pub(crate) struct Fault {
    table: TableRole,
    location: String,
    problem: String,
    help: Option<String>,
    cause: Option<Cause>,
}

/// The `table` source `location` has a problem, worded to be read after the location.
pub(crate) fn fault(table: TableRole, location: impl Display, problem: impl Into<String>) -> Fault {
    Fault { table, location: location.to_string(), problem: problem.into(), help: None, cause: None }
}

impl Fault {
    /// What to do about it, as a sentence.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What failed below.
    pub(crate) fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl From<Fault> for BackendError {
    fn from(fault: Fault) -> Self {
        let Fault { table, location, problem, help, cause } = fault;
        Self::Source { table, location, problem, help, source: cause }
    }
}
