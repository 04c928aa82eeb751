//! Whether what a condition sees passes its test. A negative operator holds exactly where its positive does not.

use std::cmp::Ordering;

use regex::RegexBuilder;
use segmenta::check::{Element, Operand, Test};
use segmenta::model::decimal::Decimal;
use segmenta::model::operator::Operator;
use segmenta::model::window::DateExpr;

use super::dates::Calendar;
use super::read::{self, Seen};
use super::value::{Number, Value};

/// Whether the test holds of what is seen; `None` is missing.
pub(crate) fn holds(seen: Option<&Seen>, test: &Test, calendar: &Calendar) -> bool {
    match test.operator.complement_of() {
        Some(positive) => !positive_holds(seen, positive, test, calendar),
        None => positive_holds(seen, test.operator, test, calendar),
    }
}

fn positive_holds(seen: Option<&Seen>, operator: Operator, test: &Test, calendar: &Calendar) -> bool {
    let Some(seen) = seen else { return false };
    if operator == Operator::IsSet {
        return is_set(seen);
    }
    match seen {
        Seen::Text(text) => text_holds(text, operator, test),
        Seen::Number(number) => number_holds(number, operator, &test.operand),
        Seen::Boolean(value) => match (operator, &test.operand) {
            (Operator::IsTrue, Operand::None) => *value,
            (Operator::IsFalse, Operand::None) => !*value,
            (Operator::Eq, Operand::Boolean(literal)) => value == literal,
            other => unreachable!("no test of a boolean: {other:?}"),
        },
        Seen::Date(at) => date_holds(*at, operator, &test.operand, calendar),
        Seen::Elements(elements) => elements_hold(elements, operator, test),
        Seen::Stored(_) => unreachable!("a value as stored is only asked whether it is set"),
    }
}

fn is_set(seen: &Seen) -> bool {
    match seen {
        Seen::Text(text) | Seen::Stored(Value::Text(text)) => !text.is_empty(),
        Seen::Elements(elements) | Seen::Stored(Value::List(elements)) => !elements.is_empty(),
        Seen::Number(_) | Seen::Boolean(_) | Seen::Date(_) | Seen::Stored(_) => true,
    }
}

fn text_holds(text: &str, operator: Operator, test: &Test) -> bool {
    let fold = |text: &str| if test.ignore_case { fold(text) } else { text.to_owned() };
    let value = fold(text);
    match (operator, &test.operand) {
        (Operator::Eq, Operand::Text(literal)) => value == fold(literal),
        (Operator::Contains, Operand::Text(literal)) => value.contains(&fold(literal)),
        (Operator::StartsWith, Operand::Text(literal)) => value.starts_with(&fold(literal)),
        (Operator::EndsWith, Operand::Text(literal)) => value.ends_with(&fold(literal)),
        (Operator::In, Operand::Texts(literals)) => literals.iter().any(|literal| value == fold(literal)),
        (Operator::Matches, Operand::Pattern { written, .. }) => RegexBuilder::new(written)
            .case_insensitive(test.ignore_case)
            .size_limit(1 << 30)
            .build()
            .expect("a checked pattern")
            .is_match(text),
        other => unreachable!("no test of a text: {other:?}"),
    }
}

/// Text without regard to case: every character in lower case, the final sigma as the other.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|char| if char == 'ς' { 'σ' } else { char }).collect()
}

fn number_holds(number: &Number, operator: Operator, operand: &Operand) -> bool {
    let compare = |literal: &Decimal| number.compare_literal(literal.as_big());
    match (operator, operand) {
        (Operator::Eq, Operand::Number(literal)) => compare(literal) == Ordering::Equal,
        (Operator::Gt, Operand::Number(literal)) => compare(literal) == Ordering::Greater,
        (Operator::Gte, Operand::Number(literal)) => compare(literal) != Ordering::Less,
        (Operator::Lt, Operand::Number(literal)) => compare(literal) == Ordering::Less,
        (Operator::Lte, Operand::Number(literal)) => compare(literal) != Ordering::Greater,
        (Operator::Between, Operand::NumberRange(low, high)) => {
            compare(low) != Ordering::Less && compare(high) != Ordering::Greater
        }
        (Operator::In, Operand::Numbers(literals)) => literals.iter().any(|literal| compare(literal) == Ordering::Equal),
        other => unreachable!("no test of a number: {other:?}"),
    }
}

fn date_holds(at: i64, operator: Operator, operand: &Operand, calendar: &Calendar) -> bool {
    let from_start = |date: &DateExpr| at >= calendar.span(date).start;
    let before_start = |date: &DateExpr| !from_start(date);
    let after_end = |date: &DateExpr| {
        let span = calendar.span(date);
        match span.end {
            Some(end) => at >= end,
            None => at > span.start,
        }
    };
    let until_end = |date: &DateExpr| !after_end(date);
    match (operator, operand) {
        (Operator::Eq, Operand::Date(date)) => from_start(date) && until_end(date),
        (Operator::Gt, Operand::Date(date)) => after_end(date),
        (Operator::Gte, Operand::Date(date)) => from_start(date),
        (Operator::Lt, Operand::Date(date)) => before_start(date),
        (Operator::Lte, Operand::Date(date)) => until_end(date),
        (Operator::Between, Operand::DateRange(low, high)) => from_start(low) && until_end(high),
        other => unreachable!("no test of a date: {other:?}"),
    }
}

fn elements_hold(elements: &[Value], operator: Operator, test: &Test) -> bool {
    let Operand::Elements(literals) = &test.operand else { unreachable!("no test of an array: {test:?}") };
    let held = |literal: &Element| elements.iter().any(|element| element_equals(element, literal, test.ignore_case));
    match operator {
        Operator::Contains | Operator::ContainsAny => literals.iter().any(held),
        Operator::ContainsAll => literals.iter().all(held),
        other => unreachable!("no test of an array: {other:?}"),
    }
}

/// Whether an element, read as the literal's type, equals it.
fn element_equals(element: &Value, literal: &Element, ignore_case: bool) -> bool {
    match literal {
        Element::Text(literal) => {
            read::text(element).is_some_and(|text| if ignore_case { fold(&text) == fold(literal) } else { text == *literal })
        }
        Element::Number(literal) => {
            read::number(element).is_some_and(|number| number.compare_literal(literal.as_big()) == Ordering::Equal)
        }
        Element::Boolean(literal) => read::boolean(element) == Some(*literal),
    }
}
