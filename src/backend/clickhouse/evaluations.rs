//! [`Evaluations`]: what the evaluations of one run left on the server, so that it can be forgotten when the run is over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::members::{EVALUATIONS, Kept, RemoteMembers};
use super::tables::failure;
use crate::backend::BackendError;
use crate::clickhouse::{Connection, Statement, quoted};

/// The evaluations of one run. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Evaluations(Arc<Mutex<BTreeSet<Uuid>>>);

impl Evaluations {
    /// Notes the evaluation that found a set; what a run has written is none.
    pub fn note(&self, members: &RemoteMembers) {
        match members.kept() {
            Kept::Evaluated { evaluation, output: _ } => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*evaluation);
            }
            Kept::Nobody | Kept::Stored { .. } | Kept::Decided { .. } => {}
        }
    }

    /// Deletes what was noted. Sets of these evaluations must not be used afterwards.
    ///
    /// # Errors
    /// When the server refuses; it deletes what is a day old by itself.
    pub async fn forget(&self, connection: &Connection) -> Result<(), BackendError> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return Ok(());
        }
        let dropped: Vec<String> = noted.iter().map(|evaluation| format!("DROP PARTITION '{evaluation}'")).collect();
        let text = format!("ALTER TABLE {}.{EVALUATIONS} {}", quoted(connection.database()), dropped.join(", "));
        let done = connection.execute(Statement::new(text)).await;
        done.map(drop).map_err(|error| failure("forgetting evaluations", error))
    }
}
