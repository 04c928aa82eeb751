//! Functions of ours inside DataFusion plans. A [`Kernel`] reads values and never decides whether a condition holds: tests and logic
//! are DataFusion's own expressions, so that plans can be read.

use std::fmt::Debug;
use std::hash::Hash;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::as_string_view_array;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// A deterministic function of columns.
pub(super) trait Kernel: Debug + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// What a plan shows, with the parameters that are no columns.
    fn name(&self) -> String;

    /// The type of the result.
    fn return_type(&self) -> DataType;

    /// The result for each row of the arguments, which all have the same length.
    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef>;
}

/// The kernel, applied to columns.
pub(super) fn call<K: Kernel>(kernel: K, arguments: Vec<Expr>) -> Expr {
    let signature = Signature::any(arguments.len(), Volatility::Immutable);
    ScalarUDF::new_from_impl(Function { name: kernel.name(), kernel, signature }).call(arguments)
}

/// The argument as text.
pub(super) fn text_argument(arguments: &[ArrayRef], index: usize) -> Result<StringViewArray> {
    let array = argument(arguments, index)?;
    if array.data_type() == &DataType::Utf8View {
        return Ok(as_string_view_array(array)?.clone());
    }
    Ok(as_string_view_array(&cast(array, &DataType::Utf8View)?)?.clone())
}

/// The argument.
pub(super) fn argument(arguments: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    arguments.get(index).ok_or_else(|| DataFusionError::Internal(format!("argument {index} is missing")))
}

/// Where a condition holds: NULL is no.
///
/// # Errors
/// When the column is not boolean.
pub(super) fn holds(condition: &dyn Array) -> Result<BooleanBuffer> {
    let condition = condition.as_boolean_opt();
    let condition = condition.ok_or_else(|| DataFusionError::Internal("a condition that is not boolean".to_owned()))?;
    Ok(match condition.nulls() {
        Some(nulls) => condition.values() & nulls.inner(),
        None => condition.values().clone(),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function<K> {
    name: String,
    kernel: K,
    signature: Signature,
}

impl<K: Kernel> ScalarUDFImpl for Function<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.kernel.return_type())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = call.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arguments = ColumnarValue::values_to_arrays(&call.args)?;
        let result = self.kernel.apply(&arguments)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
