//! Prints results. The only place that writes to standard output; what is not a result goes to standard error.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt};
use serde::Serialize;

use super::args::OutputFormat;
use super::error::CliError;
use super::sink::Sink;
use crate::diagnostic::{Charset, Colour, Report, Style, render_text, to_json};

/// Where results go, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// How results are printed.
    pub(crate) format: OutputFormat,
    /// The same when somebody said so, which the name of a file does not change.
    pub(crate) asked: Option<OutputFormat>,
    /// How much is said besides results.
    pub(crate) chatter: Chatter,
}

/// How much is said besides results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chatter {
    /// Errors alone.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// Also what is rarely of interest.
    Verbose,
}

impl Screen {
    /// Whether a person looks at the results.
    pub(crate) fn is_for_people(self) -> bool {
        self.format == OutputFormat::Table && io::stdout().is_terminal()
    }

    /// Whether a person waits and would like to see how far it is.
    pub(crate) fn shows_progress(self) -> bool {
        self.chatter != Chatter::Quiet && io::stderr().is_terminal()
    }

    /// Says something besides the results.
    pub(crate) fn note(self, text: &str) {
        if self.chatter != Chatter::Quiet {
            complain(&format!("{text}\n"));
        }
    }

    /// Says something that only a person who asked for more wants to know.
    pub(crate) fn detail(self, text: &str) {
        if self.chatter == Chatter::Verbose {
            complain(&format!("{text}\n"));
        }
    }

    /// Says what is doubtful in definitions, besides the results.
    pub(crate) fn remarks(self, report: &Report) {
        if self.chatter != Chatter::Quiet && !report.findings.is_empty() {
            complain(&report_text(report, colour_of(&io::stderr())));
        }
    }

    /// Prints what is wrong in definitions as a result.
    pub(crate) fn report(self, report: &Report) -> Result<(), CliError> {
        match self.format {
            OutputFormat::Table => self.text(&report_text(report, colour_of(&io::stdout()))),
            OutputFormat::Json => self.json(&to_json(report)),
            OutputFormat::Ndjson | OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow => {
                let columns = [("file", DataType::Utf8), ("line", DataType::UInt64), ("column", DataType::UInt64)]
                    .into_iter()
                    .chain(["severity", "code", "message", "help", "path"].map(|name| (name, DataType::Utf8)));
                let fields: Vec<Field> = columns.map(|(name, data_type)| Field::new(name, data_type, true)).collect();
                let findings = to_json(report);
                let batch = to_batch(findings.as_array().map_or(&[], Vec::as_slice), Arc::new(Schema::new(fields)))?;
                self.batch(&batch)
            }
        }
    }

    /// Prints text as it is.
    pub(crate) fn text(self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }

    /// Prints a result that is one thing: as text for people, as one JSON value, or as rows.
    pub(crate) fn document(self, document: &Document) -> Result<(), CliError> {
        match self.format {
            OutputFormat::Table => self.text(&document.text),
            OutputFormat::Json => self.json(&document.json),
            OutputFormat::Ndjson | OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow => self.batch(&document.rows),
        }
    }

    /// Prints rows that are known as a whole.
    pub(crate) fn listing<R: Serialize>(self, listing: &Listing<R>) -> Result<(), CliError> {
        match self.format {
            OutputFormat::Table => self.text(&listing.text()),
            OutputFormat::Json => self.json(&listing.rows),
            OutputFormat::Ndjson | OutputFormat::Csv | OutputFormat::Parquet | OutputFormat::Arrow => {
                let batch = to_batch(&listing.rows, schema_of(&listing.columns))?;
                self.batch(&batch)
            }
        }
    }

    /// Prints rows as they come.
    pub(crate) async fn stream<E: Into<CliError>>(
        self,
        schema: SchemaRef,
        mut rows: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
    ) -> Result<(), CliError> {
        let mut sink = Sink::open(self.format, &schema, BufWriter::new(io::stdout()))?;
        while let Some(batch) = rows.next().await {
            sink.write(&batch.map_err(Into::into)?)?;
        }
        sink.finish().map(drop)
    }

    fn batch(self, batch: &RecordBatch) -> Result<(), CliError> {
        let mut sink = Sink::open(self.format, &batch.schema(), BufWriter::new(io::stdout()))?;
        sink.write(batch)?;
        sink.finish().map(drop)
    }

    fn json(self, value: &impl Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        text.push('\n');
        self.text(&text)
    }
}

/// Writes to standard error. That it cannot be written to is nothing that could be told to anyone.
pub(crate) fn complain(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Tells why a command failed: what is wrong in definitions as a whole, everything else in a few lines.
pub(crate) fn complain_of(error: &CliError) {
    if let Some(report) = error.report() {
        complain(&report_text(report, colour_of(&io::stderr())));
        complain("\n");
    }
    complain(&error.describe());
}

fn report_text(report: &Report, colour: Colour) -> String {
    let text = render_text(report, REPORT_WIDTH, Style { charset: Charset::default(), colour });
    if text.is_empty() { "no errors and no warnings\n".to_owned() } else { text }
}

fn colour_of(stream: &impl IsTerminal) -> Colour {
    if stream.is_terminal() { Colour::Ansi } else { Colour::Plain }
}

/// Wide enough for a message and its place, narrow enough for a log.
const REPORT_WIDTH: usize = 120;

/// A result that is one thing.
#[derive(Debug)]
pub(crate) struct Document {
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) json: serde_json::Value,
    /// For tools that read rows.
    pub(crate) rows: RecordBatch,
}

/// Rows with their columns.
#[derive(Debug)]
pub(crate) struct Listing<R> {
    /// The name and type of each field of a row, in order.
    pub(crate) columns: Vec<(&'static str, Column)>,
    /// The rows; they serialize to objects with the columns as keys.
    pub(crate) rows: Vec<R>,
}

/// What a column of a listing holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text.
    Text,
    /// A count.
    Count,
    /// A number with a fraction.
    Number,
    /// A score, which people are shown with three decimals.
    Score,
    /// A part of a whole, from 0 to 1; a percentage for people.
    Share,
    /// True or false.
    Flag,
    /// How long: whole seconds; days, hours and minutes for people.
    Span,
    /// An instant, RFC 3339.
    Instant,
}

impl<R: Serialize> Listing<R> {
    /// The rows as a table for people. Columns that no row fills are left out.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<serde_json::Value> = self.rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect();
        let filled = |name: &str| rows.iter().any(|row| row.get(name).is_some_and(|value| !value.is_null()));
        let shown: Vec<(&str, Column)> = self.columns.iter().copied().filter(|(name, _)| filled(name)).collect();
        if shown.is_empty() {
            return "nothing\n".to_owned();
        }
        let mut table = plain_table(shown.iter().map(|(name, _)| name.replace('_', " ")));
        for row in &rows {
            table.add_row(shown.iter().map(|(name, column)| row.get(*name).map_or_else(String::new, |value| cell(value, *column))));
        }
        for (index, (_, column)) in shown.iter().enumerate() {
            if let (Column::Count | Column::Number | Column::Score | Column::Share | Column::Span, Some(cells)) =
                (*column, table.column_mut(index))
            {
                cells.set_cell_alignment(CellAlignment::Right);
            }
        }
        lines_of(&table)
    }
}

fn cell(value: &serde_json::Value, column: Column) -> String {
    match (value, column) {
        (serde_json::Value::Null, _) => String::new(),
        (serde_json::Value::Bool(flag), _) => if *flag { "yes" } else { "no" }.to_owned(),
        (serde_json::Value::Number(number), Column::Share) => {
            format!("{:.1} %", number.as_f64().unwrap_or_default() * 100.0)
        }
        (serde_json::Value::Number(number), Column::Span) => span_text(number.as_u64().unwrap_or_default()),
        (serde_json::Value::Number(number), Column::Score) => score_text(number.as_f64().unwrap_or_default()),
        (serde_json::Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}

/// How long, in the two largest units that it fills.
fn span_text(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let parts = units.iter().scan(seconds, |left, (unit, size)| {
        let count = *left / size;
        *left %= size;
        Some((count, *unit))
    });
    let mut parts = parts.skip_while(|(count, _)| *count == 0).take(2).filter(|(count, _)| *count > 0).peekable();
    if parts.peek().is_none() {
        return "0 s".to_owned();
    }
    parts.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// A score as people are shown it.
pub(super) fn score_text(score: f64) -> String {
    format!("{score:.3}")
}

fn schema_of(columns: &[(&'static str, Column)]) -> SchemaRef {
    let field = |(name, column): &(&'static str, Column)| {
        let data_type = match column {
            Column::Text => DataType::Utf8,
            Column::Count | Column::Span => DataType::UInt64,
            Column::Number | Column::Score | Column::Share => DataType::Float64,
            Column::Flag => DataType::Boolean,
            Column::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Rows that serialize to objects, as a batch.
pub(crate) fn to_batch<R: Serialize>(rows: &[R], schema: SchemaRef) -> Result<RecordBatch, CliError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

impl<R: Serialize> Listing<R> {
    /// The rows as a batch.
    pub(crate) fn batch(&self) -> Result<RecordBatch, CliError> {
        to_batch(&self.rows, schema_of(&self.columns))
    }
}

/// Rows of text under a header as a table for people; all columns but the second, which says what a row is, hold figures.
pub(crate) fn matrix(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = plain_table(header.into_iter());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        if index != 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines_of(&table)
}

pub(super) fn plain_table(header: impl Iterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

pub(super) fn lines_of(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::span_text;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        let spans = [0, 59, 60, 3_599, 3_600, 90_000, 86_400, 86_460, 12 * 86_400 + 3 * 3_600 + 59, u64::MAX];
        let texts = ["0 s", "59 s", "1 min", "59 min 59 s", "1 h", "1 d 1 h", "1 d", "1 d", "12 d 3 h", "213503982334601 d 7 h"];
        assert_eq!(spans.map(span_text), texts);
    }
}
