//! Reads literals as the type that they are compared as, by the rule by which values of data are read.

use super::Element;
use crate::model::decimal::Decimal;
use crate::model::value::Literal;
use crate::model::window::DateExpr;
use crate::syntax::date::{InvalidTime, instant_of_millis, parse_date};

/// Strings, and integers of 64 bits as their digits.
pub(super) fn text(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Text(value) => Some(value.clone()),
        Literal::Number(value) => {
            let (whole, exact) = value.scaled_floor(0);
            let fits = i64::try_from(&whole).is_ok() || u64::try_from(&whole).is_ok();
            (exact && fits).then(|| whole.to_string())
        }
        Literal::Boolean(_) | Literal::List(_) => None,
    }
}

/// Numbers, and texts that are one by the grammar of JSON once trimmed.
pub(super) fn number(literal: &Literal) -> Option<Decimal> {
    match literal {
        Literal::Number(value) => Some(value.clone()),
        Literal::Text(value) => value.trim_matches([' ', '\t', '\r', '\n']).parse().ok(),
        Literal::Boolean(_) | Literal::List(_) => None,
    }
}

/// True and false, and the words for them in any case.
pub(super) fn boolean(literal: &Literal) -> Option<bool> {
    match literal {
        Literal::Boolean(value) => Some(*value),
        Literal::Text(value) if value.eq_ignore_ascii_case("true") => Some(true),
        Literal::Text(value) if value.eq_ignore_ascii_case("false") => Some(false),
        Literal::Text(_) | Literal::Number(_) | Literal::List(_) => None,
    }
}

/// Dates, relative and absolute, and integers of milliseconds since 1970. With the reason when a text is no date.
pub(super) fn date(literal: &Literal) -> Result<DateExpr, Option<InvalidTime>> {
    match literal {
        Literal::Text(value) => parse_date(value).map_err(Some),
        Literal::Number(value) => value.to_i64().and_then(instant_of_millis).ok_or(None),
        Literal::Boolean(_) | Literal::List(_) => Err(None),
    }
}

/// What an array may hold.
pub(super) fn element(literal: &Literal) -> Option<Element> {
    match literal {
        Literal::Text(value) => Some(Element::Text(value.clone())),
        Literal::Number(value) => Some(Element::Number(value.clone())),
        Literal::Boolean(value) => Some(Element::Boolean(*value)),
        Literal::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(digits: &str) -> Literal {
        Literal::Number(digits.parse().unwrap())
    }

    fn words(words: &str) -> Literal {
        Literal::Text(words.to_owned())
    }

    #[test]
    fn texts_are_strings_and_integers_of_64_bits() {
        assert_eq!(text(&words(" a ")), Some(" a ".to_owned()));
        assert_eq!(text(&digits("18446744073709551615")), Some("18446744073709551615".to_owned()));
        assert_eq!(text(&digits("-9223372036854775808")), Some("-9223372036854775808".to_owned()));
        assert_eq!(text(&digits("18446744073709551616")), None);
        assert_eq!(text(&digits("1.5")), None);
        assert_eq!(text(&Literal::Boolean(true)), None);
    }

    #[test]
    fn numbers_may_be_written_as_text() {
        assert_eq!(number(&words(" 12.50\n")), Some("12.5".parse().unwrap()));
        assert_eq!(number(&digits("9007199254740993")).unwrap().to_string(), "9007199254740993");
        for other in ["", "+1", "1,000", "NaN", "0x10", "\u{a0}1"] {
            assert_eq!(number(&words(other)), None, "{other}");
        }
    }

    #[test]
    fn booleans_may_be_words_in_any_case() {
        assert_eq!(boolean(&words("TRUE")), Some(true));
        assert_eq!(boolean(&words("False")), Some(false));
        assert_eq!(boolean(&words("yes")), None);
        assert_eq!(boolean(&digits("1")), None);
    }

    #[test]
    fn dates_may_be_milliseconds_but_not_as_text() {
        assert_eq!(date(&digits("1768471200000")).unwrap().to_string(), "2026-01-15T10:00:00Z");
        assert!(date(&words("1768471200000")).is_err());
        assert!(date(&digits("1.5")).is_err());
        assert!(date(&digits("9223372036854775807")).is_err());
    }
}
