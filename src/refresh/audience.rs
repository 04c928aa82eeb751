//! Members for those who use them elsewhere: of one segment or of several together, with attributes of their subjects, in an order.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, AsArray as _, StringArray};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, future};
use serde_json::Value;

use super::error::Error;
use crate::backend::BackendError;
use crate::backend::attributes::{Attribute, Order};
use crate::backend::datafusion::MemberRows;
use crate::model::condition::Subject;
use crate::model::id::TenantId;
use crate::store::rows::partly_known;
use crate::store::{Audience, LedgerError, RowStream};

/// Rows of members.
pub type AudienceRows<'a> = BoxStream<'a, Result<RecordBatch, Error>>;

/// What is asked of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRequest {
    /// Who.
    pub audience: Audience,
    /// What they are.
    pub subject: Subject,
    /// What stands beside each member. One whose subject is not in the table has none of it.
    pub with: Vec<Attribute>,
    /// What the rows are put in order by; by id without it.
    pub order: Vec<Order>,
    /// At most so many rows.
    pub limit: Option<usize>,
    /// Of when they are.
    pub tense: Tense,
}

/// Of when members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tense {
    /// As they are stored.
    Present,
    /// As they were at an instant, of which not everything may be known.
    Past,
}

impl AudienceRequest {
    /// The columns of the members themselves.
    #[must_use]
    pub fn own_schema(&self) -> SchemaRef {
        match self.tense {
            Tense::Present => self.audience.schema(),
            Tense::Past => partly_known(&self.audience.schema()),
        }
    }

    /// The columns of the rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let own = self.own_schema();
        let attributes = self.with.iter().map(|attribute| Arc::new(attribute.field()));
        Arc::new(Schema::new(own.fields().iter().cloned().chain(attributes).collect::<Vec<_>>()))
    }
}

/// What came of rows on their way through an engine, to which an error of the store is an error like any other.
#[derive(Debug, Clone, Default)]
pub(super) struct Broken(Arc<Mutex<Option<LedgerError>>>);

impl Broken {
    /// The rows of the store for an engine, which is told of an error in words.
    pub(super) fn watched(&self, rows: RowStream) -> MemberRows {
        let noted = Arc::clone(&self.0);
        let told = rows.map_err(move |error| {
            let text = error.to_string();
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            text.into()
        });
        told.boxed()
    }

    /// What an error of the engine is: that of the store, if there was one.
    pub(super) fn cause(&self, tenant: &TenantId, source: BackendError) -> Error {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Error::from(error),
            None => Error::Backend { tenant: tenant.clone(), source },
        }
    }
}

/// The first rows of a stream, which is read no further.
pub(super) fn first(rows: RowStream, limit: Option<usize>) -> RowStream {
    let Some(limit) = limit else { return rows };
    rows.scan(limit, |left, batch| {
        let batch = match batch {
            _ if *left == 0 => return future::ready(None),
            Ok(batch) => {
                let taken = batch.num_rows().min(*left);
                *left -= taken;
                Ok(batch.slice(0, taken))
            }
            Err(error) => Err(error),
        };
        future::ready(Some(batch))
    })
    .boxed()
}

/// The rows with what stands inside of JSON as people read it: a text as it is, everything else as JSON without spaces.
pub(super) fn readable<'a>(request: &AudienceRequest, rows: AudienceRows<'a>) -> AudienceRows<'a> {
    let own = request.audience.schema().fields().len();
    let json = request.with.iter().zip(own..).filter(|(attribute, _)| attribute.access.json.is_some());
    let json: Vec<usize> = json.map(|(_, column)| column).collect();
    if json.is_empty() {
        return rows;
    }
    let readable = move |batch: RecordBatch| {
        let columns = batch.columns().iter().enumerate().map(|(place, column)| match column.as_string_opt::<i32>() {
            Some(texts) if json.contains(&place) => {
                Arc::new(texts.iter().map(|text| text.map(readable_text)).collect::<StringArray>()) as ArrayRef
            }
            Some(_) | None => Arc::clone(column),
        });
        // INVARIANT: texts took the place of texts.
        RecordBatch::try_new(batch.schema(), columns.collect()).unwrap_or(batch)
    };
    rows.map_ok(readable).boxed()
}

fn readable_text(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        Ok(value) => plain(value).to_string(),
        // What was read of a table is valid.
        Err(_) => json.to_owned(),
    }
}

/// The value with numbers as every place writes them: a server writes what is whole without a fraction.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().and_then(|number| number.to_string().parse::<i64>().ok());
            whole.map_or(Value::Number(number), Value::from)
        }
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(values) => values.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::readable_text;

    #[test]
    fn json_is_shown_as_people_read_it() {
        let shown = [
            (r#""Köln \u0041""#, "Köln A"),
            ("10", "10"),
            ("10.0", "10"),
            ("1.50", "1.5"),
            ("1e300", "1e+300"),
            ("18446744073709551615", "18446744073709551615"),
            ("true", "true"),
            (r#"[ 1.0, "a b" , {"x y": "\\\" ,"}]"#, r#"[1,"a b",{"x y":"\\\" ,"}]"#),
        ];
        for (json, text) in shown {
            assert_eq!(readable_text(json), text);
        }
    }
}
