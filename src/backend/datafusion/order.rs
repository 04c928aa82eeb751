//! An order for values that DataFusion cannot sort.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;

use super::function::{Kernel, argument};

/// The text of nested values: an order as good as any, the same on every machine.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OrderText;

impl Kernel for OrderText {
    fn name(&self) -> String {
        "order_text".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Utf8View
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let values = argument(arguments, 0)?;
        let formatter = ArrayFormatter::try_new(values.as_ref(), &FormatOptions::default())?;
        let texts = (0..values.len()).map(|row| values.is_valid(row).then(|| formatter.value(row).to_string()));
        Ok(Arc::new(texts.collect::<StringViewArray>()))
    }
}
