//! What a table holds, for authors: one pass over all rows, and a closer look at a sample.
//!
//! Rows, missing values, event types and the range of times are exact. Frequent values, and the paths below JSON and map columns, are
//! looked for in at most [`SAMPLE_ROWS`] rows: the first ones of up to [`SAMPLE_FILES`] files, evenly spread. Memory is bounded
//! whatever the table holds, and the same files give the same profile.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use serde_json::Value;

use super::source::{Zones, count_to_micros, text_to_micros, times};
use super::tables::Tables;
use crate::backend::profile::{Counts, EVENT_TYPES, SAMPLE_ROWS, Sample, Tally, instant, parts, properties};
use crate::backend::tables::EpochUnit;
use crate::backend::{BackendError, TableProfile, TableRole};
use crate::model::catalog::{Access, Table};

/// Files that the sample is spread over.
pub const SAMPLE_FILES: usize = 50;

/// What a table holds.
///
/// # Errors
/// When there is no such table, or it cannot be read.
pub async fn profile(tables: &Tables, table: TableRole) -> Result<TableProfile, BackendError> {
    let opened = tables.opened(table)?;
    let (columns, time, event_type) = parts(tables.catalog(), table)?;
    let read = |failure| tables.failure("looking at a table", failure);
    let mut pass =
        Pass { counts: Counts::default(), times: None, event_types: Tally::new(EVENT_TYPES), zones: Arc::clone(&opened.zones) };
    let plan = tables.scan(table)?.build().map_err(read)?;
    let frame = DataFrame::new(tables.session().state(), plan);
    let mut batches = frame.execute_stream().await.map_err(read)?;
    while let Some(batch) = batches.try_next().await.map_err(read)? {
        pass.add(&batch, columns, time, event_type).map_err(|error| read(error.into()))?;
    }
    let mut sample = Sample::default();
    let files = opened.files.len();
    let chosen = files.min(SAMPLE_FILES);
    for number in 0..chosen {
        let position = number * files / chosen;
        let Some(file) = opened.file(position) else { continue };
        let plan = LogicalPlanBuilder::scan(table.keyword(), provider_as_source(file), None)
            .and_then(|scan| scan.limit(0, Some(SAMPLE_ROWS / chosen)))
            .and_then(LogicalPlanBuilder::build);
        let batches = in_order(tables, plan.map_err(read)?).await.map_err(read)?;
        for batch in batches {
            sample.add(&batch, columns).map_err(|error| read(error.into()))?;
        }
    }
    Ok(TableProfile {
        table,
        rows: pass.counts.rows,
        files: Some(files),
        sampled_rows: sample.rows(),
        time_range: pass.times.and_then(|(first, last)| Some((instant(first)?, instant(last)?))),
        event_types: pass.event_types.most_frequent(EVENT_TYPES),
        more_event_types: pass.event_types.distinct() >= EVENT_TYPES,
        properties: properties(columns, &pass.counts, &sample),
        crowded: sample.crowded(),
    })
}

/// The rows of a plan on one thread, so that a limit takes the first ones.
async fn in_order(tables: &Tables, plan: LogicalPlan) -> Result<Vec<RecordBatch>, DataFusionError> {
    let state = tables.session().state();
    let config = state.config().clone().with_target_partitions(1);
    DataFrame::new(SessionStateBuilder::new_from_existing(state).with_config(config).build(), plan).collect().await
}

/// What is counted over all rows.
struct Pass {
    counts: Counts,
    times: Option<(i64, i64)>,
    event_types: Tally,
    zones: Arc<Zones>,
}

impl Pass {
    fn add(
        &mut self,
        batch: &RecordBatch,
        table: &Table,
        time: Option<&Access>,
        event_type: Option<&Access>,
    ) -> Result<(), ArrowError> {
        self.counts.rows += batch.num_rows() as u64;
        for name in table.columns.keys() {
            if let Some(column) = batch.column_by_name(name) {
                self.count_present(&mut vec![name.clone()], column, None);
            }
        }
        if let Some((access, values)) = time.and_then(|access| Some((access, reach(batch, access)?))) {
            for at in times_of(&values, access, &self.zones)? {
                let (first, last) = self.times.unwrap_or((at, at));
                self.times = Some((first.min(at), last.max(at)));
            }
        }
        if let Some((access, values)) = event_type.and_then(|access| Some((access, reach(batch, access)?))) {
            for name in names_of(&values, access)? {
                self.event_types.add(&name);
            }
        }
        Ok(())
    }

    fn count_present(&mut self, path: &mut Vec<String>, values: &ArrayRef, above: Option<&NullBuffer>) {
        let nulls = NullBuffer::union(above, values.logical_nulls().as_ref());
        let present = values.len() - nulls.as_ref().map_or(0, NullBuffer::null_count);
        *self.counts.present.entry(path.clone()).or_default() += present as u64;
        let Some(fields) = values.as_struct_opt() else { return };
        for (field, column) in fields.fields().iter().zip(fields.columns()) {
            path.push(field.name().clone());
            self.count_present(path, column, nulls.as_ref());
            path.pop();
        }
    }
}

/// The values at the end of the column and the fields of structs, NULL where one above is.
fn reach(batch: &RecordBatch, access: &Access) -> Option<ArrayRef> {
    let mut values = batch.column_by_name(&access.column)?.clone();
    for field in &access.fields {
        let inner = values.as_struct_opt()?;
        let nulls = NullBuffer::union(inner.nulls(), inner.column_by_name(field)?.nulls());
        let data = inner.column_by_name(field)?.to_data().into_builder().nulls(nulls);
        values = datafusion::arrow::array::make_array(data.build().ok()?);
    }
    Some(values)
}

/// The times that are there, as microseconds.
fn times_of(values: &ArrayRef, access: &Access, zones: &Zones) -> Result<Vec<i64>, ArrowError> {
    let Some(keys) = &access.json else {
        return Ok(times(values, zones)?.as_primitive::<TimestampMicrosecondType>().iter().flatten().collect());
    };
    let read = |value: Value| match value {
        Value::String(text) => text_to_micros(&text, None, zones),
        Value::Number(number) => number.as_i64().and_then(|count| count_to_micros(count, EpochUnit::Millisecond)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(json_values(values, keys).filter_map(read).collect())
}

/// The texts and integers that are there, as text.
fn names_of(values: &ArrayRef, access: &Access) -> Result<Vec<String>, ArrowError> {
    let Some(keys) = &access.json else {
        let formatter = ArrayFormatter::try_new(values, &FormatOptions::default())?;
        return (0..values.len()).filter(|&row| values.is_valid(row)).map(|row| formatter.value(row).try_to_string()).collect();
    };
    let read = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(json_values(values, keys).filter_map(read).collect())
}

fn json_values(values: &ArrayRef, keys: &[String]) -> impl Iterator<Item = Value> {
    values.as_string_view_opt().into_iter().flatten().flatten().filter_map(move |text| {
        let mut value: Value = serde_json::from_str(text).ok()?;
        for key in keys {
            value = value.get_mut(key)?.take();
        }
        Some(value)
    })
}
