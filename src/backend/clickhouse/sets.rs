//! [`RemoteSets`]: looking into sets of subjects that stay on the server. Only what is shown comes back; a difference or an intersection
//! is kept there like what an evaluation finds.

use async_trait::async_trait;
use uuid::Uuid;

use super::evaluations::Evaluations;
use super::members::{EVALUATIONS, Kept, MEMBERS, RemoteMembers};
use super::tables::failure;
use crate::backend::sets::{Sampled, Sets};
use crate::backend::{BackendError, MemberSet as _};
use crate::clickhouse::{Connection, Statement, Value, quoted};
use crate::model::scoring::Score;

/// Looks into sets on a server.
#[derive(Debug, Clone)]
pub struct RemoteSets {
    connection: Connection,
    /// What it keeps on the server is noted here.
    evaluations: Evaluations,
}

impl RemoteSets {
    /// Sets in the database of a connection. What is kept there for them is noted among the evaluations.
    #[must_use]
    pub fn new(connection: Connection, evaluations: Evaluations) -> Self {
        Self { connection, evaluations }
    }

    /// Rows of `subject_id` and `score`, in billionths. Parameters bear the number, so that several sets fit into one statement.
    fn rows(&self, members: &RemoteMembers, number: usize) -> Statement {
        let database = quoted(self.connection.database());
        match members.kept() {
            Kept::Nobody => Statement::new("SELECT '' AS subject_id, CAST(NULL AS Nullable(Int64)) AS score WHERE 0"),
            Kept::Evaluated { evaluation, output } => Statement::new(format!(
                "SELECT subject_id, score FROM {database}.{EVALUATIONS} WHERE evaluation = {{evaluation_{number}:UUID}} AND output = \
                 {{output_{number}:UInt32}}"
            ))
            .bind(&format!("evaluation_{number}"), "UUID", uuid(*evaluation))
            .number(&format!("output_{number}"), "UInt32", output),
            Kept::Stored { tenant, segment, run_id } => Statement::new(format!(
                "SELECT subject_id, CAST(round(score * 1000000000) AS Nullable(Int64)) AS score FROM {database}.{MEMBERS} WHERE tenant = \
                 {{tenant_{number}:String}} AND segment_id = {{segment_{number}:String}} AND run_id = {{run_{number}:UUID}}"
            ))
            .text(&format!("tenant_{number}"), tenant.as_str())
            .text(&format!("segment_{number}"), segment.as_str())
            .bind(&format!("run_{number}"), "UUID", uuid(*run_id)),
        }
    }

    /// Keeps those of the first set for which `membership` of the second holds: `IN` or `NOT IN`.
    async fn keep(&self, one: &RemoteMembers, membership: &str, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        let evaluation = Uuid::now_v7();
        let kept = RemoteMembers::new(Kept::Evaluated { evaluation, output: 0 }, 0);
        self.evaluations.note(&kept);
        let (of_one, of_other) = (self.rows(one, 0), self.rows(other, 1));
        let statement = Statement::new(format!(
            "INSERT INTO {}.{EVALUATIONS} (evaluation, output, subject_id)\nSELECT {{evaluation:UUID}}, 0, subject_id FROM ({})\n\
             WHERE subject_id {membership} (SELECT subject_id FROM ({}))",
            quoted(self.connection.database()),
            of_one.text,
            of_other.text
        ));
        let statement = statement.with_parameters_of(&of_one).with_parameters_of(&of_other);
        let statement = statement.bind("evaluation", "UUID", uuid(evaluation));
        self.connection.execute_once(statement).await.map_err(|error| failure("comparing members", error))?;
        let rows = self.rows(&kept, 0);
        let count = Statement::new(format!("SELECT count() FROM ({})", rows.text)).with_parameters_of(&rows);
        let (count,) = self.connection.row::<(u64,)>(count).await.map_err(|error| failure("counting members", error))?;
        Ok(RemoteMembers::new(kept.kept().clone(), count))
    }
}

#[async_trait]
impl Sets for RemoteSets {
    type Members = RemoteMembers;

    async fn sample(&self, members: &RemoteMembers, limit: Option<usize>) -> Result<Vec<Sampled>, BackendError> {
        if members.count() == 0 || limit == Some(0) {
            return Ok(Vec::new());
        }
        let rows = self.rows(members, 0);
        let order = limit.map_or_else(String::new, |limit| format!("\nORDER BY xxh3(subject_id), subject_id LIMIT {limit}"));
        let text = format!("SELECT subject_id, score FROM ({}){order}", rows.text);
        let sample = self.connection.rows::<(String, Option<i64>)>(Statement::new(text).with_parameters_of(&rows)).await;
        let sample = sample.map_err(|error| failure("reading members", error))?.rows;
        let mut sample: Vec<Sampled> =
            sample.into_iter().map(|(id, billionths)| (id, billionths.and_then(Score::of_billionths))).collect();
        sample.sort_unstable();
        Ok(sample)
    }

    async fn difference(&self, one: &RemoteMembers, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        self.keep(one, "NOT IN", other).await
    }

    async fn intersection(&self, one: &RemoteMembers, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        self.keep(one, "IN", other).await
    }

    /// One pass over the rows of all sets: each subject with the numbers of the sets that it is in.
    async fn shared(&self, sets: &[RemoteMembers]) -> Result<Vec<Vec<u64>>, BackendError> {
        let mut shared: Vec<Vec<u64>> = sets.iter().map(|_| vec![0; sets.len()]).collect();
        for (number, (row, set)) in shared.iter_mut().zip(sets).enumerate() {
            if let Some(count) = row.get_mut(number) {
                *count = set.count();
            }
        }
        let rows: Vec<Statement> = sets.iter().enumerate().map(|(number, set)| self.rows(set, number)).collect();
        let texts =
            rows.iter().enumerate().map(|(number, rows)| format!("SELECT {number} AS place, subject_id FROM ({})", rows.text));
        let text = format!(
            "SELECT one, other, count() FROM (\n    SELECT one, arrayJoin(places) AS other FROM (\n        SELECT places, arrayJoin(places) AS one \
             FROM (\n            SELECT groupArray(place) AS places FROM (\n{}\n) GROUP BY subject_id\n        ) WHERE length(places) > 1\n    \
             )\n) WHERE one <> other GROUP BY one, other",
            texts.collect::<Vec<_>>().join("\nUNION ALL\n")
        );
        let statement = rows.iter().fold(Statement::new(text), |statement, rows| statement.with_parameters_of(rows));
        let pairs = self.connection.rows::<(usize, usize, u64)>(statement).await;
        for (one, other, count) in pairs.map_err(|error| failure("comparing members", error))?.rows {
            if let Some(place) = shared.get_mut(one).and_then(|row| row.get_mut(other)) {
                *place = count;
            }
        }
        Ok(shared)
    }
}

fn uuid(uuid: Uuid) -> Value {
    Value::Text(uuid.to_string())
}
