//! Arrays: their elements read as the type of the literals, and tests of them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::functions_nested::expr_fn::{array_empty, array_has_any};
use datafusion::logical_expr::{Expr, is_true, lit, not};

use super::bounds::{conjunction, decimal_equal_to, keys_equal_to};
use super::form::{Form, Typed};
use super::function::{Kernel, argument, call};
use super::number::{Finite, NumberInText};
use super::text::{BooleanInText, FoldCase};
use crate::backend::bounds::unsigned_equal_to;
use crate::check::{Element, ElementType};
use crate::ir::ElementsTest;
use crate::model::catalog::ColumnType;

/// How an element of a column's type is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Conversion {
    /// It is what it should be.
    Same,
    /// An integer as its digits.
    Digits,
    /// A double that may be no number.
    Finite,
    /// Text that may be a number.
    Number,
    /// Text that may be a boolean.
    Boolean,
    /// It never fits.
    Never,
}

impl Conversion {
    /// How elements of a stored type become the type that is asked for, and the form that gives.
    pub(super) fn of(stored: &ColumnType, element: ElementType) -> (Self, Form) {
        let never = match element {
            ElementType::Text | ElementType::Any => (Self::Never, Form::Text),
            ElementType::Number => (Self::Never, Form::Integer),
            ElementType::Boolean => (Self::Never, Form::Boolean),
        };
        // Of `Any` only presence is asked for; what can be shown is.
        let number = |conversion, form: Form, as_text| match element {
            ElementType::Text => as_text,
            ElementType::Number | ElementType::Any => (conversion, form),
            ElementType::Boolean => (Self::Never, Form::Boolean),
        };
        match stored {
            ColumnType::Text => match element {
                ElementType::Text | ElementType::Any => (Self::Same, Form::Text),
                ElementType::Number => (Self::Number, Form::Mixed),
                ElementType::Boolean => (Self::Boolean, Form::Boolean),
            },
            ColumnType::Integer => number(Self::Same, Form::Integer, (Self::Digits, Form::Text)),
            ColumnType::Unsigned => number(Self::Same, Form::Unsigned, (Self::Digits, Form::Text)),
            ColumnType::Float => number(Self::Finite, Form::Float, never),
            ColumnType::Decimal { precision, scale } => {
                number(Self::Same, Form::Decimal { precision: *precision, scale: *scale }, never)
            }
            ColumnType::Boolean => match element {
                ElementType::Boolean | ElementType::Any => (Self::Same, Form::Boolean),
                ElementType::Text | ElementType::Number => never,
            },
            ColumnType::Timestamp => match element {
                ElementType::Any => (Self::Same, Form::Instant),
                ElementType::Text | ElementType::Number | ElementType::Boolean => never,
            },
            ColumnType::Date
            | ColumnType::Json
            | ColumnType::List(_)
            | ColumnType::Struct(_)
            | ColumnType::Map(_)
            | ColumnType::Other(_) => never,
        }
    }

    fn apply(self, values: &ArrayRef, form: &DataType) -> Result<ArrayRef> {
        let arguments = std::slice::from_ref(values);
        match self {
            Self::Same | Self::Digits => Ok(cast(values, form)?),
            Self::Finite => Finite.apply(arguments),
            Self::Number => NumberInText.apply(arguments),
            Self::Boolean => BooleanInText.apply(arguments),
            Self::Never => Ok(new_null_array(form, values.len())),
        }
    }
}

/// Reads a list, or a scalar as a list of one, element by element. An element that does not fit is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ReadElements {
    /// How.
    pub(super) conversion: Conversion,
    /// To what.
    pub(super) element: DataType,
}

impl Kernel for ReadElements {
    fn name(&self) -> String {
        format!("read_elements[{:?}]", self.conversion).to_lowercase()
    }

    fn return_type(&self) -> DataType {
        list_of(&self.element)
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let values = argument(arguments, 0)?;
        let list = match values.as_list_opt::<i32>() {
            Some(list) => list.clone(),
            None => singletons(values)?,
        };
        each(&list, |elements| self.conversion.apply(elements, &self.element))
    }
}

/// Folds each text of a list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FoldElements;

impl Kernel for FoldElements {
    fn name(&self) -> String {
        "fold_case_of_elements".to_owned()
    }

    fn return_type(&self) -> DataType {
        list_of(&DataType::Utf8View)
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let list = argument(arguments, 0)?;
        let list = list.as_list_opt::<i32>().ok_or_else(|| DataFusionError::Internal("folding what is no list".to_owned()))?;
        each(list, |elements| FoldCase.apply(std::slice::from_ref(elements)))
    }
}

/// Whether an array passes the test: two-valued.
///
/// # Errors
/// When the value is no array.
pub(super) fn elements_test(value: &Typed, test: &ElementsTest) -> Result<Expr> {
    let Form::List(element) = &value.form else {
        return plan_err!("a test of an array on {:?}", value.form);
    };
    let (of, ignore_case) = match test {
        ElementsTest::Any { of, ignore_case } | ElementsTest::All { of, ignore_case } => (of, *ignore_case),
    };
    let list =
        if ignore_case && **element == Form::Text { call(FoldElements, vec![value.expr.clone()]) } else { value.expr.clone() };
    let has_any = |literals: Vec<ScalarValue>| {
        if literals.is_empty() {
            return lit(false);
        }
        let wanted = ScalarValue::List(ScalarValue::new_list_nullable(&literals, &element.data_type()));
        is_true(array_has_any(list.clone(), lit(wanted)))
    };
    let forms = of.iter().map(|literal| equal_to(literal, element)).collect::<Result<Vec<_>>>()?;
    Ok(match test {
        ElementsTest::Any { .. } => has_any(forms.into_iter().flatten().collect()),
        ElementsTest::All { .. } => conjunction(forms.into_iter().map(has_any).collect()),
    })
}

/// Whether an array is there and holds anything: two-valued.
pub(super) fn is_not_empty(list: &Expr) -> Expr {
    is_true(not(array_empty(list.clone())))
}

/// The elements of that form that equal the literal.
fn equal_to(literal: &Element, form: &Form) -> Result<Vec<ScalarValue>> {
    Ok(match literal {
        Element::Text(text) if *form == Form::Text => vec![ScalarValue::Utf8View(Some(text.clone()))],
        Element::Boolean(value) if *form == Form::Boolean => vec![ScalarValue::Boolean(Some(*value))],
        Element::Number(number) => match form {
            Form::Integer => number.to_i64().map(|value| ScalarValue::Int64(Some(value))).into_iter().collect(),
            Form::Unsigned => unsigned_equal_to(number).map(|value| ScalarValue::UInt64(Some(value))).into_iter().collect(),
            Form::Float => vec![ScalarValue::Float64(Some(number.to_f64() + 0.0))],
            Form::Decimal { precision, scale } => decimal_equal_to(number, *precision, *scale).into_iter().collect(),
            Form::Mixed => keys_equal_to(number).into_iter().map(|key| ScalarValue::Decimal128(Some(key), 38, 0)).collect(),
            Form::Text | Form::Boolean | Form::Instant | Form::List(_) | Form::Stored | Form::Age { .. } | Form::Average { .. } => {
                return plan_err!("a number among {form:?}");
            }
        },
        Element::Text(_) | Element::Boolean(_) => return plan_err!("an element {literal:?} among {form:?}"),
    })
}

fn list_of(element: &DataType) -> DataType {
    DataType::List(Field::new_list_field(element.clone(), true).into())
}

fn each(list: &ListArray, read: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ArrayRef> {
    let elements = read(list.values())?;
    let field = Field::new_list_field(elements.data_type().clone(), true);
    Ok(Arc::new(ListArray::try_new(field.into(), list.offsets().clone(), elements, list.nulls().cloned())?))
}

/// Each value as a list of one; NULL stays NULL.
fn singletons(values: &ArrayRef) -> Result<ListArray> {
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len()));
    let field = Field::new_list_field(values.data_type().clone(), true);
    Ok(ListArray::try_new(field.into(), offsets, Arc::clone(values), values.nulls().cloned())?)
}
