//! JSON text as values. The engine's own functions read it, after what they refuse or change was written in another way.
//!
//! A text that holds half of a surrogate pair or a number beyond all doubles is valid JSON, and so are its other values; to the engine it is
//! no JSON at all. An integer beyond 64 bits is a double; the engine takes it for a text. Both are rare and cost a second look at the text
//! only where they may stand: what is no value becomes `[null]`, which no reading of a scalar fits, and such an integer gets a fraction.

use super::form::{Form, Typed, read_name};
use super::lets::Lets;
use super::number;
use super::sql::{Expr, formula};
use super::time::Times;
use crate::check::{ElementType, Reading};

/// Strings, numbers, and what stands between them.
const TOKENS: &str = r#"(?s)"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[^"0-9-]+|."#;

/// A string as JSON writes it, whatever halves of surrogate pairs it escapes.
const STRING: &str = r#"^"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"$"#;

/// Digits that may be an integer beyond 64 bits.
const MANY_DIGITS: &str = "[0-9]{19}";

/// An integer as JSON writes it.
const INTEGER: &str = "^-?(0|[1-9][0-9]*)$";

/// What stands before the value of a key.
const AFTER_KEY: &str = r"^[ \t\r\n]*:";

/// What takes the place of a key that is no text. Nobody looks it up.
const NO_KEY: &str = "\"\\u0000 no key \\u0000\"";

/// A document that the engine reads as it is meant.
#[derive(Clone)]
pub(super) struct Document {
    /// The text that is read.
    text: Expr,
    /// Whether what stands in the column is no JSON, two-valued.
    pub(super) is_invalid: Expr,
}

impl Document {
    /// The document in a column of texts.
    pub(super) fn new(lets: &mut Lets, source: &str, stored: &Expr) -> Self {
        let text = lets.bind(format!("text of {source}"), formula!("ifNull(toString({0}), '')", stored));
        let is_plain = formula!("(isValidJSON({0}) AND NOT match({0}, {1}))", text, Expr::text(MANY_DIGITS));
        let is_plain = lets.bind(format!("{source} is plain JSON"), is_plain);
        // Of what need not be rewritten nothing is looked at: every branch is computed for every row.
        let odd = lets.bind(format!("odd text of {source}"), formula!("if({0}, '', {1})", is_plain, text));
        let tokens = lets.bind(format!("tokens of {source}"), formula!("extractAll({0}, {1})", odd, Expr::text(TOKENS)));
        let integer = formula!(
            "if(match(t, {0}) AND isNull(toInt64OrNull(t)) AND isNull(toUInt64OrNull(t)), concat(t, '.0'), t)",
            Expr::text(INTEGER)
        );
        let token = formula!(
            "multiIf(startsWith(t, '\"'), multiIf(isValidJSON(t) OR NOT match(t, {4}), t, match(next, {0}), {1}, '[null]'), \
             match(t, {2}), if(isValidJSON({3}), {3}, '[null]'), t)",
            Expr::text(AFTER_KEY),
            Expr::text(NO_KEY),
            Expr::text(number::NUMBER),
            integer,
            Expr::text(STRING)
        );
        let rewritten = formula!("arrayStringConcat(arrayMap((t, next) -> {0}, {1}, arrayShiftLeft({1}, 1, '')))", token, tokens);
        let rewritten = lets.bind(format!("rewritten {source}"), rewritten);
        let document = lets.bind(format!("JSON of {source}"), formula!("if({0}, {1}, {2})", is_plain, text, rewritten));
        let is_invalid = formula!("(isNotNull({0}) AND NOT {1} AND NOT isValidJSON({2}))", stored, is_plain, rewritten);
        Self { text: document, is_invalid }
    }
}

/// A value of a document, read.
pub(super) struct Place {
    document: Document,
    keys: Vec<Expr>,
    /// The engine's name of the type of the value; `Null` where there is none.
    kind: Expr,
    name: String,
}

impl Place {
    pub(super) fn new(lets: &mut Lets, name: &str, document: Document, keys: &[String]) -> Self {
        let keys: Vec<Expr> = keys.iter().map(|key| Expr::text(key)).collect();
        let kind = lets.bind(format!("type of {name}"), at("JSONType", &document.text, &keys));
        Self { document, keys, kind, name: name.to_owned() }
    }

    /// What a function gives where the value is of a kind. Every branch is computed for every row: elsewhere there is no document to look
    /// into.
    fn at(&self, function: &'static str, kind: &'static str) -> Expr {
        let document = formula!("if({0} = {1}, {2}, '')", self.kind, Expr::text(kind), self.document.text);
        at(function, &document, &self.keys)
    }

    /// What a function gives wherever there is a value.
    fn anywhere(&self, function: &'static str) -> Expr {
        at(function, &self.document.text, &self.keys)
    }

    /// Whether there is a value.
    pub(super) fn is_there(&self) -> Expr {
        formula!("{0} != 'Null'", self.kind)
    }

    /// The value as what is asked for.
    pub(super) fn read(&self, lets: &mut Lets, reading: Reading, times: &Times) -> Typed {
        let (value, form) = match reading {
            Reading::Text => (self.text(), Form::Text),
            Reading::Number => (self.number(lets), Form::Mixed),
            Reading::Boolean => (self.boolean(), Form::Boolean),
            Reading::Date => (self.date(lets, times), Form::Instant),
            Reading::Stored => (self.is_set(), Form::Stored { text: Box::new(self.raw(lets)) }),
            Reading::Elements(element) => {
                let (values, form) = self.elements(lets, element);
                (values, Form::List(Box::new(form)))
            }
        };
        Typed { expr: lets.bind(read_name(&self.name, reading), value), form }
    }

    fn text(&self) -> Expr {
        formula!(
            "multiIf({0} = 'String', toNullable({1}), {0} = 'Int64', toString({2}), {0} = 'UInt64', toString({3}), NULL)",
            self.kind,
            self.at("JSONExtractString", "String"),
            self.at("JSONExtractInt", "Int64"),
            self.at("JSONExtractUInt", "UInt64")
        )
    }

    fn number(&self, lets: &mut Lets) -> Expr {
        let text = number::trimmed(&self.at("JSONExtractString", "String"));
        let text = lets.bind(format!("digits of {}", self.name), formula!("if({0} = 'String', {1}, '')", self.kind, text));
        let (integer, double) = (number::integer_of_text(&text), number::double_of_text(&text));
        formula!(
            "tuple(multiIf({0} = 'Int64', toInt128({1}), {0} = 'UInt64', toInt128({2}), {4}), \
             if({0} = 'Double', {3} + 0., {5}))",
            self.kind,
            self.at("JSONExtractInt", "Int64"),
            self.at("JSONExtractUInt", "UInt64"),
            self.at("JSONExtractFloat", "Double"),
            integer,
            double
        )
    }

    fn boolean(&self) -> Expr {
        formula!(
            "multiIf({0} = 'Bool', toNullable({1}), {0} = 'String', {2}, NULL)",
            self.kind,
            self.at("JSONExtractBool", "Bool"),
            boolean_of_text(&self.at("JSONExtractString", "String"))
        )
    }

    fn date(&self, lets: &mut Lets, times: &Times) -> Expr {
        let text = lets.bind(
            format!("date of {}", self.name),
            formula!("if({0} = 'String', {1}, NULL)", self.kind, self.at("JSONExtractString", "String")),
        );
        let instant = times.of_text(lets, &self.name, &text);
        formula!(
            "multiIf({0} = 'String', {1}, {0} = 'Int64', {2}, NULL)",
            self.kind,
            instant,
            times.of_millis(&self.at("JSONExtractInt", "Int64"))
        )
    }

    /// The value as JSON; NULL when there is none.
    fn raw(&self, lets: &mut Lets) -> Expr {
        let raw = formula!("if({0}, toNullable({1}), NULL)", self.is_there(), self.anywhere("JSONExtractRaw"));
        lets.bind(format!("{} as JSON", self.name), raw)
    }

    fn is_set(&self) -> Expr {
        formula!(
            "({0} != 'Null' AND NOT ({0} = 'String' AND {1} = '') AND NOT ({0} = 'Array' AND {2} = 0))",
            self.kind,
            self.at("JSONExtractString", "String"),
            self.at("JSONLength", "Array")
        )
    }

    /// The elements of an array, or a scalar as the only one.
    fn elements(&self, lets: &mut Lets, element: ElementType) -> (Expr, Form) {
        let raw = formula!(
            "multiIf({0} = 'Array', {1}, {0} IN ('Null', 'Object'), CAST([] AS Array(String)), [{2}])",
            self.kind,
            self.at("JSONExtractArrayRaw", "Array"),
            self.anywhere("JSONExtractRaw")
        );
        let raw = lets.bind(format!("elements of {}", self.name), raw);
        match element {
            ElementType::Text => (
                formula!(
                    "arrayMap(e -> multiIf(JSONType(e) = 'String', toNullable(JSONExtractString(e)), \
                     JSONType(e) IN ('Int64', 'UInt64'), toNullable(e), NULL), {0})",
                    raw
                ),
                Form::Text,
            ),
            ElementType::Number => {
                let text = formula!("if(JSONType(e) = 'String', {0}, '')", number::trimmed(&formula!("JSONExtractString(e)")));
                let numbers = formula!(
                    "arrayMap(e -> tuple(multiIf(JSONType(e) = 'Int64', toInt128(JSONExtractInt(e)), \
                     JSONType(e) = 'UInt64', toInt128(JSONExtractUInt(e)), {1}), \
                     if(JSONType(e) = 'Double', JSONExtractFloat(e) + 0., {2})), {0})",
                    raw,
                    number::integer_of_text(&text),
                    number::double_of_text(&text)
                );
                (numbers, Form::Mixed)
            }
            ElementType::Boolean => (
                formula!(
                    "arrayMap(e -> multiIf(JSONType(e) = 'Bool', toNullable(JSONExtractBool(e)), \
                     JSONType(e) = 'String', {1}, NULL), {0})",
                    raw,
                    boolean_of_text(&formula!("JSONExtractString(e)"))
                ),
                Form::Boolean,
            ),
            ElementType::Any => (formula!("arrayMap(e -> toNullable(e), {0})", raw), Form::Text),
        }
    }

    /// A text that equal scalars share and no others.
    pub(super) fn identity(&self, lets: &mut Lets) -> Typed {
        let number = formula!(
            "tuple(multiIf({0} = 'Int64', toInt128({1}), {0} = 'UInt64', toInt128({2}), NULL), \
             if({0} = 'Double', {3} + 0., NULL))",
            self.kind,
            self.at("JSONExtractInt", "Int64"),
            self.at("JSONExtractUInt", "UInt64"),
            self.at("JSONExtractFloat", "Double")
        );
        let number = lets.bind(format!("number of {}", self.name), number);
        let identity = formula!(
            "multiIf({0} = 'Bool', if({1}, 'true', 'false'), {0} = 'String', concat('\"', {2}), \
             {0} IN ('Int64', 'UInt64', 'Double'), {3}, NULL)",
            self.kind,
            self.at("JSONExtractBool", "Bool"),
            self.at("JSONExtractString", "String"),
            number::identity_of_mixed(&number)
        );
        Typed { expr: lets.bind(format!("identity of {}", self.name), identity), form: Form::Text }
    }
}

fn at(function: &'static str, document: &Expr, keys: &[Expr]) -> Expr {
    Expr::Call(function, std::iter::once(document).chain(keys).cloned().collect())
}

/// `true` or `false` in any case of ASCII letters.
pub(super) fn boolean_of_text(text: &Expr) -> Expr {
    formula!("multiIf(lower({0}) = 'true', toNullable(1), lower({0}) = 'false', 0, NULL)", text)
}
