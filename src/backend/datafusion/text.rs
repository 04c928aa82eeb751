//! Text: folding of case, and tests that know no special characters.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, StringViewArray};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::regex::expr_fn::regexp_like;
use datafusion::functions::string::expr_fn::{contains, ends_with, starts_with};
use datafusion::logical_expr::{Expr, is_true, lit};

use super::function::{Kernel, call, text_argument};
use crate::ir::{TextMatch, TextTest};

/// Flags for [`regexp_like`] that change nothing: without them DataFusion would rewrite simple patterns as `LIKE`, where a backslash is
/// an escape.
const NO_FLAGS: &str = "u";

/// Whether a text passes the test: two-valued.
pub(super) fn text_test(text: &Expr, test: &TextTest) -> Expr {
    let text = if test.ignore_case { call(FoldCase, vec![text.clone()]) } else { text.clone() };
    is_true(match &test.matches {
        TextMatch::OneOf(values) => match values.as_slice() {
            [value] => text.eq(text_literal(value)),
            values => text.in_list(values.iter().map(|value| text_literal(value)).collect(), false),
        },
        TextMatch::Contains(part) => contains(text, text_literal(part)),
        TextMatch::StartsWith(start) => starts_with(text, text_literal(start)),
        TextMatch::EndsWith(end) => ends_with(text, text_literal(end)),
        TextMatch::Pattern(pattern) => regexp_like(text, lit(pattern.as_str()), Some(lit(NO_FLAGS))),
    })
}

/// A literal of the type in which plans hold text.
pub(super) fn text_literal(value: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(value.to_owned())))
}

/// The text in lower case, with the final sigma as any other.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}

/// `true` or `false`, in any case.
pub(super) fn boolean_of_text(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// [`fold`] of a column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FoldCase;

impl Kernel for FoldCase {
    fn name(&self) -> String {
        "fold_case".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Utf8View
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        Ok(Arc::new(texts.iter().map(|text| text.map(fold)).collect::<StringViewArray>()))
    }
}

/// The text, missing where it is empty.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NotEmpty;

impl Kernel for NotEmpty {
    fn name(&self) -> String {
        "not_empty".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Utf8View
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        // The lowest bytes of a view are the length.
        let is_empty = |view: &u128| view & u128::from(u32::MAX) == 0;
        if !texts.views().iter().any(is_empty) {
            return Ok(Arc::new(texts));
        }
        let empty = BooleanArray::from_iter(texts.views().iter().map(|view| Some(is_empty(view))));
        Ok(nullif(&texts, &empty)?)
    }
}

/// Reads text as a boolean.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct BooleanInText;

impl Kernel for BooleanInText {
    fn name(&self) -> String {
        "boolean_in_text".to_owned()
    }

    fn return_type(&self) -> DataType {
        DataType::Boolean
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        Ok(Arc::new(texts.iter().map(|text| text.and_then(boolean_of_text)).collect::<BooleanArray>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_full_lower_casing_with_one_sigma() {
        assert_eq!(fold("ÄB"), "äb");
        assert_eq!(fold("ΟΔΟΣ"), "οδοσ");
        assert_eq!(fold("οδος"), fold("ΟΔΟΣ"));
        assert_eq!(fold("İ"), "i\u{307}");
    }

    #[test]
    fn empty_texts_are_missing() {
        let texts = |texts: Vec<Option<&str>>| Arc::new(StringViewArray::from(texts)) as ArrayRef;
        let long = "longer than what a view holds";
        let full = texts(vec![Some("a"), Some(long)]);
        assert_eq!(&NotEmpty.apply(std::slice::from_ref(&full)).unwrap(), &full);
        let some = texts(vec![Some(""), Some("a"), None, Some(long), Some("")]);
        assert_eq!(&NotEmpty.apply(&[some.slice(1, 4)]).unwrap(), &texts(vec![Some("a"), None, Some(long), None]));
        assert_eq!(&NotEmpty.apply(&[some]).unwrap(), &texts(vec![None, Some("a"), None, Some(long), None]));
    }

    #[test]
    fn booleans_are_two_words_without_spaces() {
        assert_eq!(boolean_of_text("TRUE"), Some(true));
        assert_eq!(boolean_of_text("False"), Some(false));
        for text in ["", "1", "yes", " true", "true\n", "ｔrue"] {
            assert_eq!(boolean_of_text(text), None, "{text}");
        }
    }
}
