//! The columns of the tables that the store publishes.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// `memberships/` and `snapshots/`: one row per member, by `subject_id`.
#[must_use]
pub fn membership_schema() -> SchemaRef {
    schema(vec![
        required("tenant", DataType::Utf8),
        required("segment_id", DataType::Utf8),
        required("subject_id", DataType::Utf8),
        required("entered_at", instant()),
        optional("score", DataType::Float64),
        optional("confidence", DataType::Utf8),
        required("reason", DataType::Utf8),
        required("run_id", DataType::Utf8),
        required("as_of", instant()),
    ])
}

/// Who is in several segments together: one row per subject.
#[must_use]
pub fn audience_schema() -> SchemaRef {
    schema(vec![required("subject_id", DataType::Utf8), required("entered_at", instant())])
}

/// The same columns, none of which needs a value: of the past not everything may be known.
#[must_use]
pub fn partly_known(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| Field::clone(field).with_nullable(true)).collect::<Vec<_>>()))
}

/// What became of a segment day by day: one row per segment and local day.
#[must_use]
pub fn daily_schema() -> SchemaRef {
    schema(vec![
        required("tenant", DataType::Utf8),
        required("segment_id", DataType::Utf8),
        required("evaluation_date", DataType::Date32),
        required("member_count", DataType::UInt64),
        required("added_count", DataType::UInt64),
        required("removed_count", DataType::UInt64),
    ])
}

/// `changes/`: one row per enter and exit.
#[must_use]
pub fn change_schema() -> SchemaRef {
    schema(vec![
        required("tenant", DataType::Utf8),
        required("segment_id", DataType::Utf8),
        required("subject_id", DataType::Utf8),
        required("change", DataType::Utf8),
        required("at", instant()),
        required("reason", DataType::Utf8),
        optional("score", DataType::Float64),
        optional("definition_hash", DataType::Utf8),
        required("run_id", DataType::Utf8),
    ])
}

/// `overrides/`: one row per decision about a subject by hand, by `subject_id` and `since`.
#[must_use]
pub fn override_schema() -> SchemaRef {
    schema(vec![
        required("tenant", DataType::Utf8),
        required("segment_id", DataType::Utf8),
        required("subject_id", DataType::Utf8),
        required("override", DataType::Utf8),
        required("reason", DataType::Utf8),
        required("since", instant()),
        optional("until", instant()),
        required("run_id", DataType::Utf8),
    ])
}

/// `history/`: one row per segment and run.
#[must_use]
pub fn history_schema() -> SchemaRef {
    schema(vec![
        required("tenant", DataType::Utf8),
        required("segment_id", DataType::Utf8),
        required("run_id", DataType::Utf8),
        required("kind", DataType::Utf8),
        required("as_of", instant()),
        required("evaluation_date", DataType::Date32),
        required("status", DataType::Utf8),
        required("member_count", DataType::UInt64),
        required("added_count", DataType::UInt64),
        required("removed_count", DataType::UInt64),
        required("duration_ms", DataType::UInt64),
        optional("definition_hash", DataType::Utf8),
        optional("error", DataType::Utf8),
    ])
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// UTC, microseconds.
fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}
