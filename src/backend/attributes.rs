//! Columns of the subjects table that stand beside members, and the order of rows of members.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};

use crate::model::catalog::{Access, ColumnType};

/// A value of the row of a subject, shown beside its membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What its column is called.
    pub name: String,
    /// Where it stands in the subjects table.
    pub access: Access,
    /// The type of its column.
    pub data_type: DataType,
}

impl Attribute {
    /// The value of a resolved path; `None` for a struct, a map, or a list of those, which have no column of their own.
    #[must_use]
    pub fn new(name: impl Into<String>, access: Access) -> Option<Self> {
        let data_type = if access.json.is_some() { DataType::Utf8 } else { data_type(&access.stored)? };
        Some(Self { name: name.into(), access, data_type })
    }

    /// Its column.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), true)
    }

    /// Whether rows can be put in the order of its values. Inside of JSON they are of many types, and lists have none.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.access.json.is_none() && !matches!(self.access.stored, ColumnType::List(_))
    }
}

/// As what Arrow holds a column.
fn data_type(stored: &ColumnType) -> Option<DataType> {
    Some(match stored {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Unsigned => DataType::UInt64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Decimal { precision, scale } if *precision <= 38 => DataType::Decimal128(*precision, *scale),
        ColumnType::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
        ColumnType::Text | ColumnType::Json => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        ColumnType::List(element) => match element.as_ref() {
            ColumnType::List(_) => return None,
            element => DataType::List(Field::new_list_field(data_type(element)?, true).into()),
        },
        ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_) => return None,
    })
}

/// What rows of members are put in order by. Rows without a value come last, and those of equal values by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The value.
    pub by: OrderBy,
    /// Greatest first.
    pub descends: bool,
}

/// A value that rows of members are put in order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderBy {
    /// A column of the members themselves.
    Column(&'static str),
    /// An attribute beside them, by its number.
    Attribute(usize),
}

/// The name of an attribute's column on the way, where those of tables cannot be taken for it.
pub(crate) fn column_of(attribute: usize) -> String {
    format!("attribute {attribute}")
}
