//! Which steps of a sequence an event matches.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::function::{Kernel, argument};

/// The steps that an event matches: bit i for condition i.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct StepMask;

impl Kernel for StepMask {
    fn name(&self) -> String {
        "matched_steps".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::UInt64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let mut masks = vec![0u64; argument(arguments, 0)?.len()];
        for (step, matches) in arguments.iter().enumerate() {
            let matches = matches.as_boolean();
            for (row, mask) in masks.iter_mut().enumerate() {
                if matches.is_valid(row) && matches.value(row) {
                    *mask |= 1 << step;
                }
            }
        }
        Ok(Arc::new(UInt64Array::from(masks)))
    }
}
