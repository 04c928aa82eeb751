//! NDJSON: a JSON object a line. A column whose values are strings is text; any other holds its values as JSON text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatchOptions, StringViewBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use indexmap::IndexMap;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::Decode;
use super::inspect::{Contents, Rows};
use super::types::{column_type, settle, unify};
use crate::model::catalog::ColumnType;

/// How the values of a column are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Strings without their quotes, other values as they are written.
    Text,
    /// Every value as it is written.
    Json,
}

/// The columns that the lines at the start of a file name, in the order of their first appearance. `whole` when the start is all.
pub(super) fn contents(start: &[u8], whole: bool) -> Result<Contents, ArrowError> {
    let lines = match start.iter().rposition(|&byte| byte == b'\n') {
        Some(end) if !whole => start.get(..end).unwrap_or_default(),
        _ => start,
    };
    let mut columns = IndexMap::new();
    let mut rows = Rows::Exactly(0);
    for (number, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        rows = Rows::Some;
        read_object(line, number, |name, value| {
            let seen = columns.entry(name.to_owned()).or_insert_with(|| column_type(&DataType::Null));
            *seen = unify(seen, &value_type(value.get())).unwrap_or(ColumnType::Json);
        })?;
    }
    let columns = columns.into_iter().map(|(name, seen)| (name, settle(seen))).collect();
    Ok(Contents { columns, rows })
}

fn value_type(token: &str) -> ColumnType {
    match token.as_bytes().first() {
        Some(b'"') => ColumnType::Text,
        Some(b'n') => column_type(&DataType::Null),
        _ => ColumnType::Json,
    }
}

/// Reads NDJSON.
pub(super) struct NdjsonDecoder {
    columns: IndexMap<String, Form>,
    schema: SchemaRef,
    batch_size: usize,
    rest: Vec<u8>,
    lines: usize,
    rows: usize,
    builders: Vec<StringViewBuilder>,
}

impl NdjsonDecoder {
    pub(super) fn new(columns: IndexMap<String, Form>, batch_size: usize) -> Self {
        let fields: Vec<_> = columns.keys().map(|name| Field::new(name, DataType::Utf8View, true)).collect();
        let builders = columns.iter().map(|_| StringViewBuilder::new()).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)), batch_size, rest: Vec::new(), lines: 0, rows: 0, builders }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<RecordBatch>, ArrowError> {
        let number = self.lines;
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let mut cells: Vec<Option<&RawValue>> = vec![None; self.builders.len()];
        read_object(line, number, |name, value| {
            if let Some(cell) = self.columns.get_index_of(name).and_then(|index| cells.get_mut(index)) {
                // The first of equal keys counts.
                cell.get_or_insert(value);
            }
        })?;
        for ((builder, form), cell) in self.builders.iter_mut().zip(self.columns.values()).zip(cells) {
            builder.append_option(cell.and_then(|value| delivered(value.get(), *form)));
        }
        self.rows += 1;
        if self.rows >= self.batch_size { self.flush().map(Some) } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = self.builders.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

impl Decode for NdjsonDecoder {
    fn push(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut batches = Vec::new();
        let mut lines = piece.split(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                self.rest.extend_from_slice(line);
            } else if self.rest.is_empty() {
                batches.extend(self.line(line)?);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                batches.extend(self.line(&whole)?);
            }
        }
        Ok(batches)
    }

    fn end(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        let rest = std::mem::take(&mut self.rest);
        let mut batches: Vec<_> = self.line(&rest)?.into_iter().collect();
        if self.rows > 0 {
            batches.push(self.flush()?);
        }
        Ok(batches)
    }
}

fn delivered(token: &str, form: Form) -> Option<Cow<'_, str>> {
    match (form, token.as_bytes().first()) {
        (_, Some(b'n')) => None,
        (Form::Text, Some(b'"')) => serde_json::from_str::<String>(token).ok().map(Cow::Owned),
        (Form::Text | Form::Json, _) => Some(Cow::Borrowed(token)),
    }
}

/// Calls `visit` with every key of the object in a line, and its value as it is written.
fn read_object<'de>(line: &'de [u8], number: usize, visit: impl FnMut(&str, &'de RawValue)) -> Result<(), ArrowError> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = Object(visit).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| ArrowError::JsonError(format!("line {} is not a JSON object: {error}", number + 1)))
}

struct Object<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> DeserializeSeed<'de> for Object<F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Object<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            self.0(&name, map.next_value::<&'de RawValue>()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::util::pretty::pretty_format_batches;

    const LINES: &str = "{\"id\":1,\"name\":\"A\\nB\",\"tags\":[1, 2],\"none\":null}\r\n\n{\"name\":\"C\",\"id\":12345678901234567890,\"name\":\"D\",\"late\":\"x\"}";

    #[test]
    fn columns_of_lines() {
        let found = contents(LINES.as_bytes(), true).unwrap();
        let columns: Vec<_> = found.columns.iter().map(|(name, stored)| (name.as_str(), stored.to_string())).collect();
        let expected = [("id", "json"), ("name", "text"), ("tags", "json"), ("none", "text"), ("late", "text")];
        assert_eq!(columns, expected.map(|(name, stored)| (name, stored.to_owned())));
        assert_eq!(contents(b"", true).unwrap().rows, Rows::Exactly(0));
        assert_eq!(contents(b"{\"a\":1}\n{\"b\":", false).unwrap().columns.len(), 1);
        assert!(contents(b"{\"a\":1}\n[1]", true).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn pieces_of_any_size_give_the_same_rows() {
        let columns = [("id", Form::Json), ("name", Form::Text), ("tags", Form::Json), ("absent", Form::Text)];
        let columns: IndexMap<_, _> = columns.into_iter().map(|(name, form)| (name.to_owned(), form)).collect();
        let read = |size: usize| {
            let mut decoder = NdjsonDecoder::new(columns.clone(), 10);
            let mut batches = Vec::new();
            for piece in LINES.as_bytes().chunks(size) {
                batches.extend(decoder.push(Bytes::copy_from_slice(piece)).unwrap());
            }
            batches.extend(decoder.end().unwrap());
            pretty_format_batches(&batches).unwrap().to_string()
        };
        let whole = read(LINES.len());
        assert!(whole.contains("12345678901234567890") && whole.contains("[1, 2]") && whole.contains('C') && !whole.contains('D'));
        for size in 1..20 {
            assert_eq!(read(size), whole);
        }
    }
}
