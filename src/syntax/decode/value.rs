//! The small parts: numbers, literals, paths, ids, lengths of time, dates and comparisons.

use super::super::date::{InvalidTime, Months, parse_date, parse_duration};
use super::super::node::NodeKind;
use super::{Decoder, Fields, Place};
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{AttributeTest, Comparison};
use crate::model::decimal::Decimal;
use crate::model::id::SegmentId;
use crate::model::operator::{Operator, ValueType};
use crate::model::property::{DatePart, Property, PropertyPath};
use crate::model::value::Literal;
use crate::model::window::{DateExpr, Duration, Unit, Window};

use super::keys;

/// The keys of a comparison.
pub(super) const COMPARISON: &[&str] = &["operator", "value", "value2", "value_type", "ignore_case"];

impl Decoder<'_> {
    pub(super) fn decimal(&mut self, place: &Place<'_>, digits: &str) -> Option<Decimal> {
        match digits.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                let message = format!("{} is a number of more than 400 digits, which no data can equal", place.title());
                self.refuse(place, Finding::new(Code::InvalidNumber, message));
                None
            }
        }
    }

    /// A whole number, at least 1.
    pub(super) fn count(&mut self, place: &Place<'_>) -> Option<u64> {
        let NodeKind::Number(digits) = &place.node.kind else {
            self.wrong_kind(place, "a whole number");
            return None;
        };
        let number = self.decimal(place, digits)?;
        match number.to_i64().and_then(|whole| u64::try_from(whole).ok()).filter(|whole| *whole >= 1) {
            Some(whole) => Some(whole),
            None => {
                let message = format!("{} must be a whole number, at least 1, not `{digits}`", place.title());
                self.refuse(place, Finding::new(Code::InvalidNumber, message));
                None
            }
        }
    }

    pub(super) fn segment_id(&mut self, place: &Place<'_>) -> Option<SegmentId> {
        let text = self.text(place)?;
        match text.parse() {
            Ok(id) => Some(id),
            Err(_) => {
                let finding = Finding::new(Code::InvalidId, format!("`{text}` is not an id"))
                    .with_help("Use 1 to 128 characters of a-z, 0-9, `_` and `-`, starting with a letter or digit.");
                self.refuse(place, finding);
                None
            }
        }
    }

    fn time<T>(&mut self, place: &Place<'_>, code: Code, read: Result<T, InvalidTime>) -> Option<T> {
        match read {
            Ok(time) => Some(time),
            Err(InvalidTime { message, help }) => {
                self.refuse(place, Finding::new(code, message).with_help(help));
                None
            }
        }
    }

    pub(super) fn duration(&mut self, place: &Place<'_>) -> Option<Duration> {
        let text = self.text(place)?;
        self.time(place, Code::InvalidDuration, parse_duration(text, Months::Allowed))
    }

    /// A length of time in which `m` is refused: it could be taken for minutes.
    pub(super) fn short_duration(&mut self, place: &Place<'_>) -> Option<Duration> {
        let text = self.text(place)?;
        self.time(place, Code::InvalidDuration, parse_duration(text, Months::Refused))
    }

    /// A length of time between runs: a text in which months are refused, or whole seconds.
    pub(super) fn interval(&mut self, place: &Place<'_>) -> Option<Duration> {
        match &place.node.kind {
            NodeKind::Text(_) => self.short_duration(place),
            NodeKind::Number(_) => {
                let seconds = self.count(place)?;
                self.time(
                    place,
                    Code::InvalidDuration,
                    parse_duration(&format!("{seconds}{}", Unit::Second.keyword()), Months::Refused),
                )
            }
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::List(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a length of time such as `\"5min\"`, or whole seconds");
                None
            }
        }
    }

    fn date(&mut self, place: &Place<'_>) -> Option<DateExpr> {
        let text = self.text(place)?;
        self.time(place, Code::InvalidDate, parse_date(text))
    }

    pub(super) fn window(&mut self, place: &Place<'_>) -> Option<Window> {
        let fields = self.object(place)?;
        self.known_keys(&fields, keys::WINDOW);
        if let Some(last) = fields.get("last") {
            for end in ["from", "to"] {
                let message = format!("a window has `last` or `{end}`, not both");
                self.conflict(&fields, end, message, "`last` is the time up to now; `from` and `to` name its ends.");
            }
            return self.duration(&last).map(Window::Last);
        }
        let (from, to) = (fields.get("from"), fields.get("to"));
        if from.is_none() && to.is_none() {
            self.required(&fields, "last", keys::WINDOW);
            return None;
        }
        let from = from.map(|place| self.date(&place));
        let to = to.map(|place| self.date(&place));
        match (from, to) {
            (Some(None), _) | (_, Some(None)) => None,
            (from, to) => Some(Window::Range { from: from.flatten(), to: to.flatten() }),
        }
    }

    pub(super) fn path(&mut self, place: &Place<'_>) -> Option<PropertyPath> {
        let text = self.text(place)?;
        match text.parse::<PropertyPath>() {
            Ok(path) => Some(path),
            Err(invalid) => {
                let finding = Finding::new(Code::InvalidPath, invalid.to_string())
                    .with_help("Write `column`, `column.key`, or `column[\"a key\"]`.");
                self.refuse(place, finding);
                None
            }
        }
    }

    pub(super) fn property(&mut self, place: &Place<'_>) -> Option<Property> {
        if matches!(place.node.kind, NodeKind::Text(_)) {
            return self.path(place).map(Property::Path);
        }
        if !matches!(place.node.kind, NodeKind::Object(_)) {
            self.wrong_kind(place, "a text or an object such as `{\"days_since\": \"signed_up_at\"}`");
            return None;
        }
        let (key, inner) = self.single_member(place, &PROPERTY_FORMS)?;
        match key {
            "days_since" => self.path(&inner).map(Property::DaysSince),
            "days_to_anniversary" => self.path(&inner).map(Property::DaysToAnniversary),
            "mean" => {
                let places = self.list(&inner)?;
                if places.is_empty() {
                    self.refuse(&inner, Finding::new(Code::EmptyOperand, "`mean` of no properties has no value"));
                    return None;
                }
                let paths: Vec<_> = places.iter().map(|place| self.path(place)).collect();
                paths.into_iter().collect::<Option<Vec<_>>>().map(Property::Mean)
            }
            part => {
                let part = DatePart::ALL.into_iter().find(|known| known.keyword() == part)?;
                self.path(&inner).map(|path| Property::Part(part, path))
            }
        }
    }

    /// The one member of an object whose key says what it is.
    pub(in crate::syntax) fn single_member<'n>(
        &mut self,
        place: &Place<'n>,
        known: &[&'static str],
    ) -> Option<(&'static str, Place<'n>)> {
        let fields = self.object(place)?;
        self.known_keys(&fields, known);
        let mut found = known.iter().filter_map(|key| fields.get(key).map(|place| (*key, place)));
        let first = found.next();
        let second = found.next();
        match (first, second) {
            (Some((one, _)), Some((other, _))) => {
                let message = format!("{} has `{one}` or `{other}`, not both", place.title());
                self.conflict(&fields, other, message, "Keep one of them.");
                None
            }
            (Some(only), None) => Some(only),
            (None, _) => {
                if fields.keys().next().is_none() {
                    let message = format!("{} is an empty object", place.title());
                    let help = format!("Its keys are {}.", super::list_words(known.iter().copied()));
                    self.refuse(place, Finding::new(Code::MissingKey, message).with_help(help));
                }
                None
            }
        }
    }

    pub(super) fn literal(&mut self, place: &Place<'_>) -> Option<Literal> {
        match &place.node.kind {
            NodeKind::List(elements) => {
                let literals: Vec<_> = place.elements(elements).iter().map(|element| self.scalar(element)).collect();
                literals.into_iter().collect::<Option<Vec<_>>>().map(Literal::List)
            }
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::Object(_) => {
                self.scalar(place)
            }
        }
    }

    fn scalar(&mut self, place: &Place<'_>) -> Option<Literal> {
        match &place.node.kind {
            NodeKind::Boolean(value) => Some(Literal::Boolean(*value)),
            NodeKind::Number(digits) => self.decimal(place, digits).map(Literal::Number),
            NodeKind::Text(text) => Some(Literal::Text(text.clone())),
            NodeKind::Null => {
                let message = format!("{} must be a text, a number or a boolean, not null", place.title());
                let help = "Use the operator `is_not_set` to find what is missing.";
                self.refuse(place, Finding::new(Code::WrongKind, message).with_help(help));
                None
            }
            NodeKind::List(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a text, a number or a boolean");
                None
            }
        }
    }

    /// A property and its comparison. With a comparison that is wrong the property alone is left, for its name to be looked up.
    pub(super) fn attribute_test(&mut self, fields: &Fields<'_>, known: &[&str]) -> Option<AttributeTest> {
        let property = self.required(fields, "property", known).and_then(|place| self.property(&place));
        let comparison = match self.required(fields, "operator", known) {
            Some(_) => self.comparison(fields),
            None => None,
        };
        let harmless = || Comparison { operator: Operator::IsSet, value: None, value2: None, value_type: None, ignore_case: false };
        Some(AttributeTest { property: property?, comparison: comparison.unwrap_or_else(harmless) })
    }

    /// What something is read as: `None` when that cannot be read, `Some(None)` when it is not said.
    #[expect(clippy::option_option, reason = "absent and unreadable differ")]
    pub(super) fn value_type(&mut self, fields: &Fields<'_>) -> Option<Option<ValueType>> {
        let value_types = ValueType::ALL.map(|value_type| (value_type.keyword(), value_type));
        whole(fields.get("value_type").map(|place| self.word(&place, "value types", &value_types)))
    }

    /// The comparison of an object that has an `operator`.
    pub(super) fn comparison(&mut self, fields: &Fields<'_>) -> Option<Comparison> {
        let operators = Operator::ALL.map(|operator| (operator.keyword(), operator));
        let operator = fields.get("operator").and_then(|place| self.word(&place, "operators", &operators));
        let value = fields.get("value").map(|place| self.literal(&place));
        let value2 = fields.get("value2").map(|place| self.literal(&place));
        let value_type = self.value_type(fields);
        let ignore_case = fields.get("ignore_case").map(|place| self.boolean(&place));
        Some(Comparison {
            operator: operator?,
            value: whole(value)?,
            value2: whole(value2)?,
            value_type: value_type?,
            ignore_case: whole(ignore_case)?.unwrap_or(false),
        })
    }
}

/// The objects that a property may be.
const PROPERTY_FORMS: [&str; 8] = ["days_since", "days_to_anniversary", "year", "month", "day", "weekday", "hour", "mean"];

/// An optional part that, if it is there, could be read.
#[expect(clippy::option_option, reason = "absent and unreadable differ")]
pub(super) fn whole<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        None => Some(None),
        Some(None) => None,
        Some(read) => Some(read),
    }
}
