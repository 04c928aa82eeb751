//! A comparison: which type the value is read as, whether the operator suits it, and what the literals are as that type.

use super::pattern::{Case, expand};
use super::scope::Scope;
use super::{Element, ElementType, Operand, Reading, Test, literal};
use crate::diagnostic::{Code, Finding};
use crate::model::catalog::{Access, ColumnType};
use crate::model::condition::Comparison;
use crate::model::decimal::Decimal;
use crate::model::operator::{Operator, ValueType};
use crate::model::path::DocPath;
use crate::model::value::Literal;
use crate::model::window::DateExpr;

/// What stands on the left of an operator.
#[derive(Clone, Copy)]
pub(super) enum Compared<'a> {
    /// A stored value, read as the comparison says.
    Stored(&'a Access),
    /// A value of an event, which a measure chose. It must be of a type that has an order.
    Chosen(&'a Access),
    /// A number, whatever the comparison says.
    Number,
}

/// How many operands an operator takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arity {
    None,
    One,
    Two,
    Many,
}

impl Scope<'_> {
    /// A comparison whose object stands at `path`: what the left side is read as, and what must hold of it.
    pub(super) fn comparison(
        &mut self,
        comparison: &Comparison,
        compared: Compared<'_>,
        path: &DocPath,
    ) -> Option<(Reading, Test)> {
        let operands = self.operands(comparison, path);
        if let (Compared::Stored(Access { json: Some(_), .. }) | Compared::Chosen(Access { json: Some(_), .. }), None) =
            (compared, comparison.value_type)
        {
            // The operands are what the type is taken from.
            operands?;
        }
        let value_type = self.value_type(comparison, compared, path)?;
        let operator = comparison.operator;
        let Some(value_type) = value_type else {
            operands?;
            return Some((Reading::Stored, self.test(operator, Operand::None, Reading::Stored, comparison, path)));
        };
        if !value_type.operators().contains(&operator) {
            let finding = wrong_operator(comparison, value_type, compared);
            self.report(&path.key("operator"), finding);
            return None;
        }
        operands?;
        let operand = self.operand(comparison, value_type, path)?;
        let reading = reading(value_type, &operand);
        Some((reading, self.test(operator, operand, reading, comparison, path)))
    }

    fn test(&mut self, operator: Operator, operand: Operand, reading: Reading, comparison: &Comparison, path: &DocPath) -> Test {
        let compares_text = operand != Operand::None && matches!(reading, Reading::Text | Reading::Elements(ElementType::Text));
        if comparison.ignore_case && !compares_text {
            let finding =
                Finding::new(Code::IdleIgnoreCase, format!("`ignore_case` changes nothing: `{operator}` compares no text here"));
            self.report(&path.key("ignore_case"), finding);
        }
        Test { operator, operand, ignore_case: comparison.ignore_case && compares_text }
    }

    /// The values beside an operator are as many as it takes.
    fn operands(&mut self, comparison: &Comparison, path: &DocPath) -> Option<()> {
        let operator = comparison.operator;
        let arity = arity(operator);
        let mut fits = true;
        let mut refuse = |scope: &mut Self, place: &DocPath, code: Code, message: String| {
            scope.report(place, Finding::new(code, message));
            fits = false;
        };
        match (&comparison.value, arity) {
            (None, Arity::One | Arity::Two | Arity::Many) => {
                refuse(self, path, Code::MissingOperand, format!("`{operator}` needs a `value`"));
            }
            (Some(_), Arity::None) => {
                refuse(self, &path.key("value"), Code::UnexpectedOperand, format!("`{operator}` takes no `value`"));
            }
            (None, Arity::None) | (Some(_), Arity::One | Arity::Two | Arity::Many) => {}
        }
        match (&comparison.value2, arity) {
            (None, Arity::Two) => refuse(self, path, Code::MissingOperand, format!("`{operator}` needs a `value2`, the upper end")),
            (Some(_), Arity::None | Arity::One | Arity::Many) => {
                refuse(self, &path.key("value2"), Code::UnexpectedOperand, format!("`{operator}` takes no `value2`"));
            }
            (None, Arity::None | Arity::One | Arity::Many) | (Some(_), Arity::Two) => {}
        }
        fits.then_some(())
    }

    /// What the left side is read as; `Some(None)` is as it is stored.
    #[expect(clippy::option_option, reason = "unknown and as stored differ")]
    fn value_type(&mut self, comparison: &Comparison, compared: Compared<'_>, path: &DocPath) -> Option<Option<ValueType>> {
        let access = match compared {
            Compared::Number => {
                if let Some(other) = comparison.value_type.filter(|given| !matches!(given, ValueType::Number | ValueType::Price)) {
                    let message = format!("what is compared here is a number, not of type `{other}`");
                    self.report(
                        &path.key("value_type"),
                        Finding::new(Code::WrongValueType, message).with_help("Leave `value_type` out."),
                    );
                    return None;
                }
                return Some(Some(ValueType::Number));
            }
            Compared::Stored(access) | Compared::Chosen(access) => access,
        };
        let value_type = match (comparison.value_type, &access.json) {
            (Some(given), _) => Some(given),
            (None, None) => access.stored.value_type(),
            (None, Some(_)) => json_value_type(comparison),
        };
        if let Compared::Chosen(_) = compared {
            self.chosen_type(value_type, comparison, path)?;
        }
        Some(value_type)
    }

    /// Equal events are told apart by their values, and the most frequent by comparing them: arrays and values of no type have no order.
    fn chosen_type(&mut self, value_type: Option<ValueType>, comparison: &Comparison, path: &DocPath) -> Option<()> {
        let finding = match value_type {
            Some(ValueType::Array) => {
                Finding::new(Code::WrongValueType, "`first`, `last` and `most_frequent` choose single values, not arrays")
            }
            Some(_) => return Some(()),
            None => Finding::new(
                Code::WrongValueType,
                format!("`{}` does not show what the value is to be read as", comparison.operator),
            )
            .with_help("Add a `value_type`."),
        };
        let place = if comparison.value_type.is_some() { path.key("value_type") } else { path.key("measure") };
        self.report(&place, finding);
        None
    }

    fn operand(&mut self, comparison: &Comparison, value_type: ValueType, path: &DocPath) -> Option<Operand> {
        let place = path.key("value");
        let operator = comparison.operator;
        let Some(value) = &comparison.value else { return Some(Operand::None) };
        match (arity(operator), value_type) {
            (Arity::None, _) => Some(Operand::None),
            (Arity::Two, ValueType::Date) => {
                let low = self.date(value, &place);
                let high = comparison.value2.as_ref().and_then(|value| self.date(value, &path.key("value2")));
                self.date_range(low?, high?, path)
            }
            (Arity::Two, _) => {
                let low = self.number(value, value_type, &place);
                let high = comparison.value2.as_ref().and_then(|value| self.number(value, value_type, &path.key("value2")));
                self.number_range(low?, high?, path)
            }
            (Arity::Many, ValueType::Array) => self.elements(value, &place),
            (Arity::One, ValueType::Array) => self.one_element(value, &place),
            (Arity::Many, ValueType::Number | ValueType::Price) => self
                .each(value, operator, &place, |scope, value, place| scope.number(value, value_type, place))
                .map(Operand::Numbers),
            (Arity::Many, ValueType::String | ValueType::Url | ValueType::Boolean | ValueType::Date) => {
                self.each(value, operator, &place, |scope, value, place| scope.text(value, value_type, place)).map(Operand::Texts)
            }
            (Arity::One, ValueType::Number | ValueType::Price) => self.number(value, value_type, &place).map(Operand::Number),
            (Arity::One, ValueType::Boolean) => {
                self.fitting(value, literal::boolean(value), value_type, &place).map(Operand::Boolean)
            }
            (Arity::One, ValueType::Date) => self.date(value, &place).map(Operand::Date),
            (Arity::One, ValueType::String | ValueType::Url) => {
                let text = self.text(value, value_type, &place)?;
                self.text_operand(operator, text, comparison, &place)
            }
        }
    }

    fn text_operand(&mut self, operator: Operator, text: String, comparison: &Comparison, place: &DocPath) -> Option<Operand> {
        if text.is_empty() && matches!(operator, Operator::Contains | Operator::DoesNotContain) {
            let finding = Finding::new(Code::EmptyOperand, format!("`{operator}` of an empty text says nothing"))
                .with_help("Every text contains the empty one; use `is_set` to ask for a text.");
            self.report(place, finding);
            return None;
        }
        if operator != Operator::Matches {
            return Some(Operand::Text(text));
        }
        let case = if comparison.ignore_case { Case::Ignored } else { Case::Kept };
        match expand(&text, case) {
            Ok(expanded) => Some(Operand::Pattern { written: text, expanded }),
            Err(invalid) => {
                self.report(place, Finding::new(Code::InvalidPattern, invalid.to_string()));
                None
            }
        }
    }

    fn number_range(&mut self, low: Decimal, high: Decimal, path: &DocPath) -> Option<Operand> {
        if low <= high {
            return Some(Operand::NumberRange(low, high));
        }
        let finding = Finding::new(Code::EmptyRange, format!("nothing lies between {low} and {high}"))
            .with_help("`value` is the lower end and `value2` the upper; exchange them.");
        self.report(&path.key("value"), finding);
        None
    }

    fn date_range(&mut self, low: DateExpr, high: DateExpr, path: &DocPath) -> Option<Operand> {
        if !self.probes.is_empty_range(&low, &high) {
            return Some(Operand::DateRange(low, high));
        }
        let finding = Finding::new(Code::EmptyRange, format!("nothing lies between `{low}` and `{high}`"))
            .with_help("`value` is the earlier end and `value2` the later; exchange them.");
        self.report(&path.key("value"), finding);
        None
    }

    /// The entries of a list; refuses what is no list, or an empty or too long one.
    fn entries<'l>(&mut self, value: &'l Literal, operator: Operator, place: &DocPath) -> Option<&'l [Literal]> {
        let Literal::List(values) = value else {
            let finding = Finding::new(Code::WrongLiteral, format!("`{operator}` takes a list, not {}", value.noun()))
                .with_help("Put the value into `[` and `]`.");
            self.report(place, finding);
            return None;
        };
        self.list_size(values.len(), place)?;
        if values.is_empty() {
            let finding = Finding::new(Code::EmptyOperand, format!("`{operator}` of an empty list says nothing"));
            self.report(place, finding.with_help("List at least one value."));
            return None;
        }
        Some(values)
    }

    pub(super) fn list_size(&mut self, size: usize, place: &DocPath) -> Option<()> {
        if size <= self.limits.list {
            return Some(());
        }
        let message = format!("the list has {size} values, more than the limit of {}", self.limits.list);
        self.report(place, Finding::new(Code::TooLarge, message));
        None
    }

    fn each<T>(
        &mut self,
        value: &Literal,
        operator: Operator,
        place: &DocPath,
        read: impl Fn(&mut Self, &Literal, &DocPath) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = self.entries(value, operator, place)?;
        let read: Vec<_> = values.iter().enumerate().map(|(index, value)| read(self, value, &place.index(index))).collect();
        read.into_iter().collect()
    }

    fn one_element(&mut self, value: &Literal, place: &DocPath) -> Option<Operand> {
        let element = self.fitting(value, literal::element(value), ValueType::Array, place)?;
        Some(Operand::Elements(vec![element]))
    }

    /// A list of elements of one type; a single one is a list of one.
    fn elements(&mut self, value: &Literal, place: &DocPath) -> Option<Operand> {
        let Literal::List(_) = value else { return self.one_element(value, place) };
        let elements = self.each(value, Operator::ContainsAny, place, |scope, value, place| {
            scope.fitting(value, literal::element(value), ValueType::Array, place)
        })?;
        let first = elements.first().map(Element::element_type)?;
        if let Some(other) = elements.iter().position(|element| element.element_type() != first) {
            let finding = Finding::new(Code::WrongLiteral, "the elements of a list must be of one type")
                .with_help("Write texts, numbers or booleans; join two conditions for two types.");
            self.report(&place.index(other), finding);
            return None;
        }
        Some(Operand::Elements(elements))
    }

    fn text(&mut self, value: &Literal, value_type: ValueType, place: &DocPath) -> Option<String> {
        self.fitting(value, literal::text(value), value_type, place)
    }

    fn number(&mut self, value: &Literal, value_type: ValueType, place: &DocPath) -> Option<Decimal> {
        self.fitting(value, literal::number(value), value_type, place)
    }

    fn date(&mut self, value: &Literal, place: &DocPath) -> Option<DateExpr> {
        match literal::date(value) {
            Ok(date) => Some(date),
            Err(Some(invalid)) => {
                self.report(place, Finding::new(Code::InvalidDate, invalid.message).with_help(invalid.help));
                None
            }
            Err(None) => self.fitting(value, None, ValueType::Date, place),
        }
    }

    fn fitting<T>(&mut self, value: &Literal, read: Option<T>, value_type: ValueType, place: &DocPath) -> Option<T> {
        if read.is_none() {
            let message = format!("{} cannot be compared with a value of type `{value_type}`", value.noun());
            let finding = Finding::new(Code::WrongLiteral, message);
            let finding = match (value, value_type) {
                (Literal::List(_), _) => finding.with_help("Use `in` or `not_in` to compare with each of a list."),
                (_, ValueType::Number | ValueType::Price) => finding.with_help("Write a number, such as `42` or `9.5`."),
                (_, ValueType::Boolean) => finding.with_help("Write `true` or `false`."),
                (_, ValueType::Date) => finding.with_help("Write a date such as `\"2026-01-31\"` or `\"-7d\"`."),
                (_, ValueType::String | ValueType::Url) => finding.with_help("Quote it as a text."),
                (_, ValueType::Array) => finding,
            };
            self.report(place, finding);
        }
        read
    }
}

fn arity(operator: Operator) -> Arity {
    match operator {
        Operator::IsSet | Operator::IsNotSet | Operator::IsTrue | Operator::IsFalse => Arity::None,
        Operator::Between | Operator::NotBetween => Arity::Two,
        Operator::In | Operator::NotIn | Operator::ContainsAny | Operator::ContainsAll => Arity::Many,
        Operator::Eq
        | Operator::Neq
        | Operator::Gt
        | Operator::Gte
        | Operator::Lt
        | Operator::Lte
        | Operator::Contains
        | Operator::DoesNotContain
        | Operator::StartsWith
        | Operator::EndsWith
        | Operator::Matches => Arity::One,
    }
}

/// The value type inside JSON, as the operator and the literal show it; `None` when they do not.
fn json_value_type(comparison: &Comparison) -> Option<ValueType> {
    match comparison.operator {
        Operator::IsSet | Operator::IsNotSet => None,
        Operator::IsTrue | Operator::IsFalse => Some(ValueType::Boolean),
        Operator::ContainsAny | Operator::ContainsAll => Some(ValueType::Array),
        Operator::Eq
        | Operator::Neq
        | Operator::Gt
        | Operator::Gte
        | Operator::Lt
        | Operator::Lte
        | Operator::Between
        | Operator::NotBetween
        | Operator::In
        | Operator::NotIn
        | Operator::Contains
        | Operator::DoesNotContain
        | Operator::StartsWith
        | Operator::EndsWith
        | Operator::Matches => {
            let value = match &comparison.value {
                Some(Literal::List(values)) => values.first(),
                other => other.as_ref(),
            };
            Some(match value {
                Some(Literal::Boolean(_)) => ValueType::Boolean,
                Some(Literal::Number(_)) => ValueType::Number,
                // Nothing but texts is left: operands were found to be there.
                Some(Literal::Text(_) | Literal::List(_)) | None => ValueType::String,
            })
        }
    }
}

fn reading(value_type: ValueType, operand: &Operand) -> Reading {
    match value_type {
        ValueType::String | ValueType::Url => Reading::Text,
        ValueType::Number | ValueType::Price => Reading::Number,
        ValueType::Boolean => Reading::Boolean,
        ValueType::Date => Reading::Date,
        ValueType::Array => Reading::Elements(match operand {
            Operand::Elements(elements) => elements.first().map_or(ElementType::Any, Element::element_type),
            Operand::None
            | Operand::Text(_)
            | Operand::Pattern { .. }
            | Operand::Texts(_)
            | Operand::Number(_)
            | Operand::NumberRange(..)
            | Operand::Numbers(_)
            | Operand::Boolean(_)
            | Operand::Date(_)
            | Operand::DateRange(..) => ElementType::Any,
        }),
    }
}

fn wrong_operator(comparison: &Comparison, value_type: ValueType, compared: Compared<'_>) -> Finding {
    let operator = comparison.operator;
    let row: Vec<String> = value_type.operators().iter().map(|operator| format!("`{operator}`")).collect();
    let mut help = format!("The type `{value_type}` takes {}.", row.join(", "));
    // Texts and JSON may hold another type, unless the author asked for this one.
    let open = match compared {
        Compared::Stored(access) | Compared::Chosen(access) => matches!(access.stored, ColumnType::Text | ColumnType::Json),
        Compared::Number => false,
    };
    if open
        && comparison.value_type.is_none()
        && let Some(other) = meant_type(comparison)
    {
        help.push_str(&format!(" Add `\"value_type\": \"{other}\"` to read the value as one."));
    }
    Finding::new(Code::WrongOperator, format!("`{operator}` does not suit a value of type `{value_type}`")).with_help(help)
}

/// The value type that operator and literal look like.
fn meant_type(comparison: &Comparison) -> Option<ValueType> {
    let value = comparison.value.as_ref()?;
    let types = [ValueType::Number, ValueType::Date, ValueType::Array, ValueType::String];
    types.into_iter().find(|value_type| {
        value_type.operators().contains(&comparison.operator)
            && match value_type {
                ValueType::Number | ValueType::Price => literal::number(value).is_some(),
                ValueType::Date => literal::date(value).is_ok(),
                ValueType::String | ValueType::Url => literal::text(value).is_some(),
                ValueType::Array => true,
                ValueType::Boolean => literal::boolean(value).is_some(),
            }
    })
}
