//! JSON text: every value that a batch reads from a column, found and read in one pass over each text.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanBuilder, Decimal128Builder, ListBuilder, StringViewArray, StringViewBuilder, StructArray,
    TimestampMicrosecondBuilder, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::cast::as_string_view_array;
use datafusion::common::{HashMap, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::date::{Local, micros_of_millis};
use super::form::{Form, instant_type};
use super::function::{Kernel, text_argument};
use super::number::{integer_of_text, key_type};
use super::scalar::{Json, elements};
use crate::check::{ElementType, Reading};

/// The field of the result that is true where the text is not one valid JSON value.
pub(super) const INVALID: &str = "invalid";

/// The field of the result with the value of a read.
pub(super) fn value_field(read: usize) -> String {
    format!("value_{read}")
}

/// The field of the result that is true where a value is there and does not fit its read.
pub(super) fn misfit_field(read: usize) -> String {
    format!("misfit_{read}")
}

/// What is read at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct JsonRead {
    /// Keys of objects, outermost first.
    pub(super) keys: Vec<String>,
    /// As what.
    pub(super) wanted: Wanted,
}

/// What a stored value is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wanted {
    /// As a condition asks.
    As(Reading),
    /// As something that equal scalars share and no others.
    Identity,
}

impl Wanted {
    /// How a read from JSON stores its value.
    pub(super) fn form(self) -> Form {
        match self {
            Self::As(Reading::Text) | Self::Identity => Form::Text,
            Self::As(Reading::Number) => Form::Mixed,
            Self::As(Reading::Boolean) => Form::Boolean,
            Self::As(Reading::Date) => Form::Instant,
            Self::As(Reading::Elements(element)) => Form::List(Box::new(match element {
                ElementType::Text | ElementType::Any => Form::Text,
                ElementType::Number => Form::Mixed,
                ElementType::Boolean => Form::Boolean,
            })),
            Self::As(Reading::Stored) => Form::Stored,
        }
    }
}

/// Reads JSON text into a struct: [`INVALID`], and for each read its value and whether it did not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadJson {
    /// What is read.
    pub(super) reads: Vec<JsonRead>,
    /// Where days are.
    pub(super) local: Local,
}

impl ReadJson {
    fn fields(&self) -> Fields {
        let reads = self.reads.iter().enumerate().flat_map(|(index, read)| {
            let value = Field::new(value_field(index), read.wanted.form().data_type(), true);
            [value, Field::new(misfit_field(index), DataType::Boolean, true)]
        });
        std::iter::once(Field::new(INVALID, DataType::Boolean, true)).chain(reads).collect()
    }
}

impl Kernel for ReadJson {
    fn name(&self) -> String {
        let reads = self.reads.iter().map(|read| format!("{}: {:?}", read.keys.join("."), read.wanted));
        format!("read_json[{}]", reads.collect::<Vec<_>>().join(", "))
    }

    fn return_type(&self) -> DataType {
        DataType::Struct(self.fields())
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        match repeats(&texts) {
            Some(Repeats { distinct, places }) => {
                let read = self.read(&take(&texts, &distinct, None)?)?;
                Ok(take(&read, &places, None)?)
            }
            None => self.read(&texts),
        }
    }
}

/// Texts that occur again and again, as those of a dictionary do.
struct Repeats {
    /// A row of each.
    distinct: UInt32Array,
    /// For each row the place of its text among them.
    places: UInt32Array,
}

/// Rows after which it shows whether texts repeat.
const SAMPLE: usize = 1024;

/// How often texts of at least this many rows repeat; `None` when most of them do not. Equal views are equal texts: a reader of files
/// delivers every text of a dictionary with one view.
fn repeats(texts: &StringViewArray) -> Option<Repeats> {
    if texts.len() < SAMPLE {
        return None;
    }
    let mut known: HashMap<Option<u128>, u32> = HashMap::default();
    let mut distinct = Vec::new();
    let mut places = Vec::with_capacity(texts.len());
    for (row, view) in texts.views().iter().enumerate() {
        if row == SAMPLE && distinct.len() > SAMPLE / 2 {
            return None;
        }
        let place = known.entry(texts.is_valid(row).then_some(*view)).or_insert_with(|| {
            // INVARIANT: a batch has fewer than 2^32 rows.
            distinct.push(u32::try_from(row).unwrap_or(u32::MAX));
            u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
        });
        places.push(*place);
    }
    Some(Repeats { distinct: distinct.into(), places: places.into() })
}

impl ReadJson {
    /// Reads each text.
    fn read(&self, texts: &dyn Array) -> Result<ArrayRef> {
        let texts = as_string_view_array(texts)?;
        let (paths, slots) = Paths::new(&self.reads);
        let mut columns: Vec<_> = self.reads.iter().map(|read| (Column::new(read.wanted), BooleanBuilder::new())).collect();
        let mut invalid = BooleanBuilder::with_capacity(texts.len());
        let mut found = vec![None; paths.captures];
        for text in texts {
            found.fill(None);
            let valid = text.is_none_or(|text| paths.find(text, &mut found).is_ok());
            if !valid {
                found.fill(None);
            }
            invalid.append_value(!valid);
            for ((column, misfits), slot) in columns.iter_mut().zip(&slots) {
                let value = found.get(*slot).copied().flatten().map(Json::of).filter(|value| *value != Json::Null);
                let there = value.is_some();
                let fits = column.append(value.as_ref(), &self.local);
                misfits.append_value(there && !fits);
            }
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(invalid.finish())];
        for (column, mut misfits) in columns {
            arrays.push(column.finish());
            arrays.push(Arc::new(misfits.finish()));
        }
        Ok(Arc::new(StructArray::try_new(self.fields(), arrays, None)?))
    }
}

/// The paths of all reads as a tree of keys.
#[derive(Debug)]
struct Paths {
    root: Place,
    captures: usize,
}

/// A place in a document.
#[derive(Debug, Default)]
struct Place {
    /// Where its text is put.
    capture: Option<usize>,
    /// The keys below it, if it is an object.
    members: Vec<(String, Self)>,
}

impl Paths {
    /// The tree, and for each read the place of its text among those found.
    fn new(reads: &[JsonRead]) -> (Self, Vec<usize>) {
        let (mut root, mut captures) = (Place::default(), 0);
        let slots = reads
            .iter()
            .map(|read| {
                let place = read.keys.iter().fold(&mut root, |place, key| place.member(key));
                *place.capture.get_or_insert_with(|| {
                    captures += 1;
                    captures - 1
                })
            })
            .collect();
        (Self { root, captures }, slots)
    }

    /// Puts the texts of all places into `found`.
    ///
    /// # Errors
    /// When the text is not one valid JSON value.
    fn find<'a>(&self, text: &'a str, found: &mut [Option<&'a str>]) -> serde_json::Result<()> {
        let value = serde_json::from_str::<&RawValue>(text)?.get();
        self.root.visit(value, found)
    }
}

impl Place {
    fn member(&mut self, key: &str) -> &mut Self {
        let index = self.members.iter().position(|(own, _)| own == key).unwrap_or_else(|| {
            self.members.push((key.to_owned(), Self::default()));
            self.members.len() - 1
        });
        &mut self.members[index].1
    }

    /// Takes the text of one valid value.
    fn visit<'a>(&self, value: &'a str, found: &mut [Option<&'a str>]) -> serde_json::Result<()> {
        if let Some(slot) = self.capture.and_then(|capture| found.get_mut(capture)) {
            *slot = Some(value);
        }
        if self.members.is_empty() || !value.starts_with('{') {
            return Ok(());
        }
        let mut values: Vec<Option<&'a str>> = vec![None; self.members.len()];
        serde_json::Deserializer::from_str(value).deserialize_map(Members { place: self, values: &mut values })?;
        for ((_, member), value) in self.members.iter().zip(values) {
            if let Some(value) = value {
                member.visit(value, found)?;
            }
        }
        Ok(())
    }
}

/// Takes the texts of the wanted members of an object; of equal keys the first.
struct Members<'a, 'b> {
    place: &'b Place,
    values: &'b mut Vec<Option<&'a str>>,
}

impl<'a> Visitor<'a> for Members<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(member) = map.next_key_seed(MemberName(self.place))? {
            match member.and_then(|member| self.values.get_mut(member)).filter(|value| value.is_none()) {
                Some(value) => *value = Some(map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a key: which wanted member it is.
struct MemberName<'b>(&'b Place);

impl<'a> DeserializeSeed<'a> for MemberName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        // Taken raw: a key with half of a surrogate pair is valid JSON, although no text, and is simply no key that is wanted.
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
        let Json::Text(Some(key)) = Json::of(raw.get()) else {
            return Ok(None);
        };
        Ok(self.0.members.iter().position(|(own, _)| *own == key))
    }
}

/// A column of values on its way.
enum Column {
    Text(StringViewBuilder),
    Identity(StringViewBuilder),
    Stored(StringViewBuilder),
    Number(Decimal128Builder),
    Boolean(BooleanBuilder),
    Date(TimestampMicrosecondBuilder),
    Texts(ListBuilder<StringViewBuilder>),
    Shown(ListBuilder<StringViewBuilder>),
    Numbers(ListBuilder<Decimal128Builder>),
    Booleans(ListBuilder<BooleanBuilder>),
}

impl Column {
    fn new(wanted: Wanted) -> Self {
        let numbers = || Decimal128Builder::new().with_data_type(key_type());
        match wanted {
            Wanted::Identity => Self::Identity(StringViewBuilder::new()),
            Wanted::As(Reading::Text) => Self::Text(StringViewBuilder::new()),
            Wanted::As(Reading::Stored) => Self::Stored(StringViewBuilder::new()),
            Wanted::As(Reading::Number) => Self::Number(numbers()),
            Wanted::As(Reading::Boolean) => Self::Boolean(BooleanBuilder::new()),
            Wanted::As(Reading::Date) => Self::Date(TimestampMicrosecondBuilder::new().with_data_type(instant_type())),
            Wanted::As(Reading::Elements(ElementType::Text)) => Self::Texts(ListBuilder::new(StringViewBuilder::new())),
            Wanted::As(Reading::Elements(ElementType::Any)) => Self::Shown(ListBuilder::new(StringViewBuilder::new())),
            Wanted::As(Reading::Elements(ElementType::Number)) => Self::Numbers(ListBuilder::new(numbers())),
            Wanted::As(Reading::Elements(ElementType::Boolean)) => Self::Booleans(ListBuilder::new(BooleanBuilder::new())),
        }
    }

    /// Adds what a value is read as; returns whether it fits.
    fn append(&mut self, value: Option<&Json<'_>>, local: &Local) -> bool {
        fn option<T>(read: Option<T>, append: impl FnOnce(Option<T>)) -> bool {
            let fits = read.is_some();
            append(read);
            fits
        }
        match self {
            Self::Text(column) => option(value.and_then(Json::text), |text| column.append_option(text)),
            Self::Identity(column) => option(value.and_then(Json::identity), |text| column.append_option(text)),
            Self::Stored(column) => option(value.and_then(Json::stored), |text| column.append_option(text)),
            Self::Number(column) => option(value.and_then(Json::number), |key| column.append_option(key)),
            Self::Boolean(column) => option(value.and_then(Json::boolean), |value| column.append_option(value)),
            Self::Date(column) => option(value.and_then(|value| micros(value, local)), |micros| column.append_option(micros)),
            Self::Texts(column) => list(value, column, |column, element| column.append_option(element.text())),
            Self::Shown(column) => list(value, column, |column, element| column.append_option(element.shown())),
            Self::Numbers(column) => list(value, column, |column, element| column.append_option(element.number())),
            Self::Booleans(column) => list(value, column, |column, element| column.append_option(element.boolean())),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut column) | Self::Identity(mut column) | Self::Stored(mut column) => Arc::new(column.finish()),
            Self::Number(mut column) => Arc::new(column.finish()),
            Self::Boolean(mut column) => Arc::new(column.finish()),
            Self::Date(mut column) => Arc::new(column.finish()),
            Self::Texts(mut column) | Self::Shown(mut column) => Arc::new(column.finish()),
            Self::Numbers(mut column) => Arc::new(column.finish()),
            Self::Booleans(mut column) => Arc::new(column.finish()),
        }
    }
}

/// Adds the elements of an array, or a scalar as the only one; an object does not fit.
fn list<B: datafusion::arrow::array::ArrayBuilder>(
    value: Option<&Json<'_>>,
    column: &mut ListBuilder<B>,
    append: impl Fn(&mut B, &Json<'_>),
) -> bool {
    match value {
        Some(Json::Array(raw)) => {
            for element in elements(raw) {
                append(column.values(), &Json::of(element));
            }
            column.append(true);
            true
        }
        Some(scalar @ (Json::Boolean(_) | Json::Number(_) | Json::Text(_))) => {
            append(column.values(), scalar);
            column.append(true);
            true
        }
        Some(Json::Null | Json::Object(_)) | None => {
            column.append(false);
            false
        }
    }
}

/// As an instant: text that is one, and integers as milliseconds since 1970.
fn micros(value: &Json<'_>, local: &Local) -> Option<i64> {
    match value {
        Json::Text(text) => local.micros_of_text(text.as_deref()?),
        Json::Number(raw) => micros_of_millis(integer_of_text(raw)?),
        Json::Null | Json::Boolean(_) | Json::Array(_) | Json::Object(_) => None,
    }
}
