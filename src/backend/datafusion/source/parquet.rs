//! Parquet: for each file, the expressions of a plan over delivered columns become expressions over the columns of the file.
//!
//! Where a column needs no conversion, the expression stays as it is; where a cast does, the engine moves it to the literal of a
//! comparison; and comparisons of timestamps of other units are rewritten here. So conditions still skip row groups and pages.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use jiff::tz::TimeZone;

use super::columns::Columns;
use super::convert::Conversion;
use super::types::instant;

/// Makes the adapter of each file.
#[derive(Debug)]
pub(super) struct DeliveredColumns(pub(super) Arc<Columns>);

impl PhysicalExprAdapterFactory for DeliveredColumns {
    fn create(&self, logical: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(FileColumns { columns: Arc::clone(&self.0), logical, file }))
    }
}

/// Rewrites expressions for one file.
#[derive(Debug)]
struct FileColumns {
    columns: Arc<Columns>,
    logical: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for FileColumns {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = expr.transform_down(|expr| {
            if let Some(comparison) = self.timestamp_comparison(&expr) {
                return Ok(Transformed::new(comparison, true, TreeNodeRecursion::Jump));
            }
            match expr.downcast_ref::<Column>() {
                Some(column) => Ok(Transformed::new(self.column(column)?, true, TreeNodeRecursion::Jump)),
                None => Ok(Transformed::no(expr)),
            }
        });
        rewritten.data()
    }
}

impl FileColumns {
    /// What a delivered column is in the file.
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        if let Some(presence) = self.columns.presence(column.name()) {
            return Ok(self.presence(&presence.column));
        }
        let delivered = self.logical.field_with_name(column.name())?.data_type();
        let Ok(index) = self.file.index_of(column.name()) else {
            return Ok(Arc::new(Literal::new(ScalarValue::try_from(delivered)?)));
        };
        let stored = self.file.field(index).data_type();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), index));
        if stored == delivered {
            return Ok(column);
        }
        let Some(conversion) = self.columns.conversion(self.file.field(index).name()) else {
            return Err(DataFusionError::Internal("a column that is not delivered".to_owned()));
        };
        if is_exact_cast(stored, conversion) {
            return Ok(Arc::new(CastExpr::new(column, delivered.clone(), None)));
        }
        Ok(Arc::new(Delivered { values: column, conversion: Arc::new(conversion.clone()) }))
    }

    /// Whether a value of the column is stored in the file.
    fn presence(&self, column: &str) -> Arc<dyn PhysicalExpr> {
        match self.file.index_of(column) {
            Ok(index) => Arc::new(IsNotNullExpr::new(Arc::new(Column::new(column, index)))),
            Err(_) => Arc::new(Literal::new(ScalarValue::Boolean(Some(false)))),
        }
    }

    /// A comparison of a timestamp with an instant, in the unit of the file.
    fn timestamp_comparison(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        let (column, operator, literal) = match (binary.left().downcast_ref::<Column>(), binary.right().downcast_ref::<Column>()) {
            (Some(column), None) => (column, *binary.op(), binary.right().downcast_ref::<Literal>()?),
            (None, Some(column)) => (column, binary.op().swap()?, binary.left().downcast_ref::<Literal>()?),
            _ => return None,
        };
        let ScalarValue::TimestampMicrosecond(Some(micros), _) = literal.value() else { return None };
        let index = self.file.index_of(column.name()).ok()?;
        let DataType::Timestamp(unit, zone) = self.file.field(index).data_type() else { return None };
        if zone.is_none() && self.columns.conversion(column.name())?.zones.naive != TimeZone::UTC {
            return None;
        }
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), index));
        let compare = |operator, count| {
            let count = match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(Some(count), zone.clone()),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(count), zone.clone()),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(count), zone.clone()),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(count), zone.clone()),
            };
            Arc::new(BinaryExpr::new(Arc::clone(&column), operator, Arc::new(Literal::new(count)))) as Arc<dyn PhysicalExpr>
        };
        let from = first_count(*micros, *unit)?;
        let after = first_count(micros.checked_add(1)?, *unit)?;
        match operator {
            Operator::GtEq => Some(compare(Operator::GtEq, from)),
            Operator::Lt => Some(compare(Operator::Lt, from)),
            Operator::Gt => Some(compare(Operator::GtEq, after)),
            Operator::LtEq => Some(compare(Operator::Lt, after)),
            Operator::Eq => {
                let (from, after) = (compare(Operator::GtEq, from), compare(Operator::Lt, after));
                Some(Arc::new(BinaryExpr::new(from, Operator::And, after)))
            }
            _ => None,
        }
    }
}

/// The least count of a unit that is delivered as this instant or a later one.
fn first_count(micros: i64, unit: TimeUnit) -> Option<i64> {
    let ceiling = |factor: i64| micros.div_euclid(factor) + i64::from(micros.rem_euclid(factor) > 0);
    match unit {
        TimeUnit::Second => Some(ceiling(1_000_000)),
        TimeUnit::Millisecond => Some(ceiling(1_000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000),
    }
}

/// Whether a cast of the engine delivers every value as it is.
fn is_exact_cast(stored: &DataType, conversion: &Conversion) -> bool {
    if conversion.declared.is_some() {
        return false;
    }
    match (stored, &conversion.target) {
        (DataType::Dictionary(_, values), target) => values.as_ref() == target || is_exact_cast(values, conversion),
        (stored, DataType::Int64) => stored.is_integer() && *stored != DataType::UInt64,
        (stored, DataType::Float64) => stored.is_floating(),
        (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8View) => true,
        (DataType::Timestamp(TimeUnit::Microsecond, zone), target) if *target == instant() => {
            zone.is_some() || conversion.zones.naive == TimeZone::UTC
        }
        _ => false,
    }
}

/// The delivered values of a column of a file.
#[derive(Debug, Clone)]
struct Delivered {
    values: Arc<dyn PhysicalExpr>,
    conversion: Arc<Conversion>,
}

impl PartialEq for Delivered {
    fn eq(&self, other: &Self) -> bool {
        self.values.eq(&other.values) && self.conversion == other.conversion
    }
}

impl Eq for Delivered {}

impl Hash for Delivered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
        self.conversion.target.hash(state);
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivered({})", self.values)
    }
}

impl PhysicalExpr for Delivered {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.conversion.target.clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.values.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(self.conversion.apply(&values)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.values]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([values]) => Ok(Arc::new(Self { values, conversion: Arc::clone(&self.conversion) })),
            Err(_) => Err(DataFusionError::Internal("a delivered column has one child".to_owned())),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_begin_an_instant() {
        assert_eq!(first_count(1_500, TimeUnit::Millisecond), Some(2));
        assert_eq!(first_count(-1_500, TimeUnit::Millisecond), Some(-1));
        assert_eq!(first_count(-1, TimeUnit::Second), Some(0));
        assert_eq!(first_count(-1, TimeUnit::Nanosecond), Some(-1_000));
        assert_eq!(first_count(i64::MAX, TimeUnit::Nanosecond), None);
    }
}
