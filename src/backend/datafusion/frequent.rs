//! The most frequent value of a group, the smallest of equals: an aggregate that DataFusion lacks.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

/// The most frequent value of a column; NULLs do not count.
pub(super) fn most_frequent(value: Expr) -> Expr {
    AggregateUDF::new_from_impl(MostFrequent { signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MostFrequent {
    signature: Signature,
}

impl AggregateUDFImpl for MostFrequent {
    fn name(&self) -> &str {
        "most_frequent"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.first().cloned().ok_or_else(|| DataFusionError::Internal("most_frequent of nothing".to_owned()))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Counts { value_type: arguments.return_type().clone(), counts: HashMap::new(), heap: 0 }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part, element| {
            Arc::new(Field::new_list(format_state_name(arguments.name, part), Field::new_list_field(element, true), true))
        };
        Ok(vec![list("values", arguments.return_field.data_type().clone()), list("counts", DataType::Int64)])
    }
}

#[derive(Debug)]
struct Counts {
    value_type: DataType,
    counts: HashMap<ScalarValue, i64>,
    /// Bytes of the values themselves.
    heap: usize,
}

impl Counts {
    fn add(&mut self, values: &ArrayRef, row: usize, count: i64) -> Result<()> {
        if values.is_null(row) {
            return Ok(());
        }
        let mut value = ScalarValue::try_from_array(values, row)?;
        if let Some(so_far) = self.counts.get_mut(&value) {
            *so_far += count;
        } else {
            value.compact();
            self.heap += value.size();
            self.counts.insert(value, count);
        }
        Ok(())
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for values in values.iter().take(1) {
            for row in 0..values.len() {
                self.add(values, row, 1)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else {
            return Err(DataFusionError::Internal("the state of most_frequent has two parts".to_owned()));
        };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        for group in 0..values.len() {
            if values.is_null(group) {
                continue;
            }
            let (values, counts) = (values.value(group), counts.value(group));
            let counts = counts.as_primitive::<Int64Type>();
            for row in 0..values.len() {
                self.add(&values, row, counts.value(row))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<_>, Vec<_>) =
            self.counts.iter().map(|(value, count)| (value.clone(), ScalarValue::Int64(Some(*count)))).unzip();
        Ok(vec![
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.value_type)),
            ScalarValue::List(ScalarValue::new_list_nullable(&counts, &DataType::Int64)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let best = self
            .counts
            .iter()
            .max_by(|(value, count), (other, other_count)| count.cmp(other_count).then_with(|| order(other, value)));
        best.map_or_else(|| ScalarValue::try_new_null(&self.value_type), |(value, _)| Ok(value.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.heap + self.counts.capacity() * size_of::<(ScalarValue, i64)>()
    }
}

/// Values of one type in their order. Arrays compare element by element; what has no order of its own goes by its text.
fn order(value: &ScalarValue, other: &ScalarValue) -> Ordering {
    value.partial_cmp(other).unwrap_or_else(|| value.to_string().cmp(&other.to_string()))
}
