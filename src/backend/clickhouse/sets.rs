//! [`RemoteSets`]: looking into sets of subjects that stay on the server. Only what is shown comes back; a difference or an intersection
//! is kept there like what an evaluation finds.

use async_trait::async_trait;
use uuid::Uuid;

use super::evaluations::Evaluations;
use super::events::ID;
use super::members::{EVALUATIONS, Kept, RemoteMembers};
use super::sql::{Expr, Query, Source, formula};
use super::tables::failure;
use crate::backend::sets::{Sampled, Sets};
use crate::backend::{BackendError, MemberSet as _};
use crate::clickhouse::{Connection, quoted};
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

    fn rows(&self, members: &RemoteMembers) -> Source {
        Source::Query(Box::new(members.rows(self.connection.database())))
    }

    /// Keeps those of the first set that are in the second, or that are not.
    async fn keep(&self, one: &RemoteMembers, is_in: bool, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        let evaluation = Uuid::now_v7();
        let kept = Kept::Evaluated { evaluation, output: 0 };
        self.evaluations.note(&RemoteMembers::new(kept.clone(), 0));
        let (id, others) = (Expr::column(ID), Expr::Rows(Box::new(other.ids(self.connection.database()))));
        let chosen = if is_in { formula!("{0} IN {1}", id, others) } else { formula!("{0} NOT IN {1}", id, others) };
        let chosen = Query { filter: Some(chosen), ..Query::select(vec![(id, ID.to_owned())], self.rows(one)) };
        let insert = format!(
            "INSERT INTO {}.{EVALUATIONS} (evaluation, output, subject_id)\nSELECT {{evaluation:UUID}}, 0, `id` FROM ",
            quoted(self.connection.database())
        );
        let statement = chosen.print().within(&insert, "").uuid("evaluation", evaluation);
        self.connection.execute_once(statement).await.map_err(|error| failure("comparing members", error))?;
        let rows = self.rows(&RemoteMembers::new(kept.clone(), 0));
        let count = Query::select(vec![(formula!("count()"), "count".to_owned())], rows).print();
        let (count,) = self.connection.row::<(u64,)>(count).await.map_err(|error| failure("counting members", error))?;
        Ok(RemoteMembers::new(kept, count))
    }
}

#[async_trait]
impl Sets for RemoteSets {
    type Members = RemoteMembers;

    async fn sample(&self, members: &RemoteMembers, limit: Option<usize>) -> Result<Vec<Sampled>, BackendError> {
        if members.count() == 0 || limit == Some(0) {
            return Ok(Vec::new());
        }
        let columns = [ID, "score"].map(|column| (Expr::column(column), column.to_owned()));
        let mut sample = Query::select(columns.into(), self.rows(members));
        if let Some(limit) = limit {
            sample.order = vec![(formula!("xxh3({0})", Expr::column(ID)), false), (Expr::column(ID), false)];
            sample.limit = Some(limit as u64);
        }
        let sample = self.connection.rows::<(String, Option<i64>)>(sample.print()).await;
        let sample = sample.map_err(|error| failure("reading members", error))?.rows;
        let mut sample: Vec<Sampled> =
            sample.into_iter().map(|(id, billionths)| (id, billionths.and_then(Score::of_billionths))).collect();
        sample.sort_unstable();
        Ok(sample)
    }

    async fn difference(&self, one: &RemoteMembers, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        self.keep(one, false, other).await
    }

    async fn intersection(&self, one: &RemoteMembers, other: &RemoteMembers) -> Result<RemoteMembers, BackendError> {
        self.keep(one, true, other).await
    }

    /// One pass over the rows of all sets: each subject with the numbers of the sets that it is in.
    async fn shared(&self, sets: &[RemoteMembers]) -> Result<Vec<Vec<u64>>, BackendError> {
        let mut shared: Vec<Vec<u64>> = sets.iter().map(|_| vec![0; sets.len()]).collect();
        for (number, (row, set)) in shared.iter_mut().zip(sets).enumerate() {
            if let Some(count) = row.get_mut(number) {
                *count = set.count();
            }
        }
        let placed = |(number, set): (usize, &RemoteMembers)| {
            let place = (Expr::number("UInt32", number), "place".to_owned());
            Query::select(vec![place, (Expr::column(ID), ID.to_owned())], self.rows(set))
        };
        let mut rows = sets.iter().enumerate().map(placed);
        let Some(first) = rows.next() else { return Ok(shared) };
        let pairs = Query { union: rows.collect(), ..first }.print().within(
            "SELECT one, other, count() FROM (\n    SELECT one, arrayJoin(places) AS other FROM (\n        SELECT places, arrayJoin(places) AS one \
             FROM (\n            SELECT groupArray(place) AS places FROM ",
            " GROUP BY id\n        ) WHERE length(places) > 1\n    )\n) WHERE one <> other GROUP BY one, other",
        );
        let pairs = self.connection.rows::<(usize, usize, u64)>(pairs).await;
        for (one, other, count) in pairs.map_err(|error| failure("comparing members", error))?.rows {
            if let Some(place) = shared.get_mut(one).and_then(|row| row.get_mut(other)) {
                *place = count;
            }
        }
        Ok(shared)
    }
}
