//! [`Sink`]: rows in one of the formats, as they come, to whatever takes bytes.

use std::io::Write;
use std::sync::Arc;

use comfy_table::CellAlignment;
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Float64Type, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited, Writer as JsonWriter, WriterBuilder};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use super::args::OutputFormat;
use super::error::CliError;
use super::render::{lines_of, plain_table, score_text};

/// Writes batches in one of the formats.
pub(super) enum Sink<W: Write + Send> {
    Table(Pages<W>),
    Json(JsonWriter<W, JsonArray>),
    Ndjson(JsonWriter<W, LineDelimited>),
    Csv(Box<csv::Writer<W>>),
    Parquet(Box<ArrowWriter<W>>),
    Arrow(StreamWriter<W>),
}

impl<W: Write + Send> Sink<W> {
    pub(super) fn open(format: OutputFormat, schema: &SchemaRef, out: W) -> Result<Self, CliError> {
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        Ok(match format {
            OutputFormat::Table => Self::Table(Pages { out, schema: Arc::clone(schema), held: Vec::new(), rows: 0, pages: 0 }),
            OutputFormat::Json => Self::Json(json().build(out)),
            OutputFormat::Ndjson => Self::Ndjson(json().build(out)),
            OutputFormat::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
                writer.write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
                Self::Csv(Box::new(writer))
            }
            OutputFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP));
                Self::Parquet(Box::new(ArrowWriter::try_new(out, Arc::clone(schema), Some(properties.build()))?))
            }
            OutputFormat::Arrow => Self::Arrow(StreamWriter::try_new(out, schema)?),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        match self {
            Self::Table(pages) => pages.write(batch)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Ndjson(writer) => writer.write(batch)?,
            Self::Csv(writer) => writer.write(&flat(batch)?)?,
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Ends the rows, and gives back what they were written to.
    pub(super) fn finish(self) -> Result<W, CliError> {
        let mut out = match self {
            Self::Table(pages) => pages.finish()?,
            Self::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                out.write_all(b"\n")?;
                out
            }
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Csv(writer) => writer.into_inner(),
            Self::Parquet(writer) => writer.into_inner()?,
            Self::Arrow(writer) => writer.into_inner()?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// The rows with lists as JSON: CSV has no others.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, CliError> {
    if !batch.columns().iter().any(|column| column.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        if !column.data_type().is_nested() {
            return Ok((field.name().clone(), Arc::clone(column), true));
        }
        let alone = RecordBatch::try_from_iter_with_nullable([("v", Arc::clone(column), true)])?;
        let mut writer: JsonWriter<Vec<u8>, LineDelimited> = WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
        writer.write(&alone)?;
        writer.finish()?;
        let lines = String::from_utf8_lossy(&writer.into_inner()).into_owned();
        let value = |line: &str| line.strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}')).map(str::to_owned);
        let texts: StringArray = lines.lines().map(|line| value(line).filter(|text| text != "null")).collect();
        Ok((field.name().clone(), Arc::new(texts) as ArrayRef, true))
    });
    let columns: Vec<_> = columns.collect::<Result<_, ArrowError>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Rows for people, in pages with columns of their own widths: nobody waits for the last row to see the first.
pub(super) struct Pages<W: Write + Send> {
    out: W,
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    rows: usize,
    pages: usize,
}

/// Rows of a group of Parquet, which are in memory until it is whole.
const ROW_GROUP: usize = 131_072;

/// Rows of a page.
const PAGE: usize = 10_000;

impl<W: Write + Send> Pages<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.rows += batch.num_rows();
        self.held.push(batch.clone());
        if self.rows >= PAGE { self.turn() } else { Ok(()) }
    }

    fn turn(&mut self) -> Result<(), CliError> {
        let page = concat_batches(&self.schema, &std::mem::take(&mut self.held))?;
        let gap = if self.pages > 0 { "\n" } else { "" };
        write!(self.out, "{gap}{}", table_of(&page)?)?;
        self.pages += 1;
        self.rows = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<W, CliError> {
        if self.rows > 0 {
            self.turn()?;
        }
        if self.pages == 0 {
            self.out.write_all(b"nothing\n")?;
        }
        Ok(self.out)
    }
}

/// The columns of the store that say the same in every row that a person asked for, or nothing at all, are left out.
const UNSHOWN: [&str; 5] = ["tenant", "run_id", "definition_hash", "confidence", "score"];

/// Those of them that say something of a segment that scores.
const SCORE_COLUMNS: [&str; 2] = ["score", "confidence"];

fn table_of(batch: &RecordBatch) -> Result<String, CliError> {
    let schema = batch.schema();
    let shown: Vec<usize> = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(index, field)| {
            let is_filled = batch.columns().get(*index).is_some_and(|column| column.null_count() < column.len());
            // A date that stands beside the instant says less than that.
            let is_said = field.name() == "evaluation_date" && schema.column_with_name("as_of").is_some();
            let is_shown = !is_said && !UNSHOWN.contains(&field.name().as_str());
            is_shown || (SCORE_COLUMNS.contains(&field.name().as_str()) && is_filled)
        })
        .map(|(index, _)| index)
        .collect();
    let options = FormatOptions::default().with_null("");
    let formatters: Vec<ArrayFormatter<'_>> = shown
        .iter()
        .filter_map(|&index| batch.columns().get(index))
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    let mut table = plain_table(shown.iter().map(|&index| schema.field(index).name().replace('_', " ")));
    for row in 0..batch.num_rows() {
        // Scores are the only fractions of the store.
        let cells = shown.iter().zip(&formatters).map(|(&index, formatter)| {
            let scores = batch.columns().get(index).and_then(|column| column.as_primitive_opt::<Float64Type>());
            match scores.filter(|scores| scores.is_valid(row)) {
                Some(scores) => score_text(scores.value(row)),
                None => formatter.value(row).to_string(),
            }
        });
        table.add_row(cells);
    }
    for (position, &index) in shown.iter().enumerate() {
        if let (true, Some(column)) = (schema.field(index).data_type().is_numeric(), table.column_mut(position)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(lines_of(&table))
}
