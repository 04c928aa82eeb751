//! [`RemoteSets`]: looking into sets of subjects that stay on the server. Only what is shown comes back; a difference or an intersection
//! is kept there like what an evaluation finds.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt as _;
use uuid::Uuid;

use super::evaluations::Evaluations;
use super::events::ID;
use super::members::{EVALUATIONS, Kept, RemoteMembers};
use super::sql::{Expr, Query, Source, formula};
use super::tables::failure;
use crate::backend::sets::{Sampled, Sets};
use crate::backend::{BackendError, MemberSet as _, SortedIds};
use crate::clickhouse::{Connection, Error, quoted};
use crate::model::scoring::Score;

/// Ids that are sent at a time.
const AT_ONCE: usize = 64 * 1024;

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

    /// Subjects that are known here, kept on the server like what an evaluation finds.
    ///
    /// # Errors
    /// When the server does not take them.
    pub async fn gather(&self, ids: &SortedIds) -> Result<RemoteMembers, BackendError> {
        if ids.is_empty() {
            return Ok(RemoteMembers::nobody());
        }
        let evaluation = Uuid::now_v7();
        let gathered = RemoteMembers::new(Kept::Evaluated { evaluation, output: 0 }, ids.len() as u64);
        self.evaluations.note(&gathered);
        let schema = Arc::new(Schema::new(vec![
            Field::new("evaluation", DataType::Utf8, false),
            Field::new("output", DataType::UInt32, false),
            Field::new("subject_id", DataType::Utf8, false),
        ]));
        let name = evaluation.to_string();
        let batches = (0..ids.len()).step_by(AT_ONCE).map(|start| {
            let ids = ids.array().slice(start, AT_ONCE.min(ids.len() - start));
            let evaluations = StringArray::from_iter_values(std::iter::repeat_n(&name, ids.len()));
            let outputs = UInt32Array::from_value(0, ids.len());
            let columns: Vec<ArrayRef> = vec![Arc::new(evaluations), Arc::new(outputs), Arc::new(ids)];
            RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| Error::Answer { source: Box::new(error) })
        });
        let table = format!("{}.{EVALUATIONS}", quoted(self.connection.database()));
        let inserted = self.connection.insert(&table, &schema, futures::stream::iter(batches).boxed()).await;
        inserted.map_err(|error| failure("keeping members", error))?;
        Ok(gathered)
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
