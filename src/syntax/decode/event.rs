//! Event leaves: types of events, conditions on them, and measures.

use super::super::node::NodeKind;
use super::condition::Form;
use super::{Decoder, Fields, Place, keys, list_words};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::condition::{EventCondition, EventLeaf, EventMeasure, EventTypePattern, Logic, Measure};
use crate::model::property::PropertyPath;

/// The measures that a word names.
const ROW_MEASURES: [Measure; 6] = [
    Measure::Count,
    Measure::ActiveDays,
    Measure::ActiveWeeks,
    Measure::ActiveMonths,
    Measure::DaysSinceFirst,
    Measure::DaysSinceLast,
];

/// The measures of a property, by their keys.
const PROPERTY_MEASURES: [&str; 8] = ["sum", "avg", "min", "max", "count_distinct", "first", "last", "most_frequent"];

impl Decoder<'_> {
    pub(super) fn event(&mut self, fields: &Fields<'_>) -> EventLeaf {
        let (event_type, filter) = self.selection(fields);
        let measure = fields.get("measure").map_or(Some(Measure::Count), |place| self.measure(&place));
        let window = fields.get("window").and_then(|place| self.window(&place)).unwrap_or_default();
        let comparison = if Self::has_comparison(fields) {
            self.required(fields, "operator", keys::EVENT);
            self.comparison(fields)
        } else {
            None
        };
        EventLeaf { events: EventMeasure { event_type, filter, measure: measure.unwrap_or(Measure::Count), window }, comparison }
    }

    /// Which events are looked at: their types, and the conditions on them.
    pub(super) fn selection(&mut self, fields: &Fields<'_>) -> (Option<Vec<EventTypePattern>>, Vec<EventCondition>) {
        let event_type = fields.get("event_type").and_then(|place| self.event_types(&place));
        let filter = fields.get("where").map(|place| self.filter(&place)).unwrap_or_default();
        (event_type, filter)
    }

    fn event_types(&mut self, place: &Place<'_>) -> Option<Vec<EventTypePattern>> {
        match &place.node.kind {
            NodeKind::Text(text) => self.event_type(place, text, Stars::Plain).map(|pattern| vec![pattern]),
            NodeKind::List(elements) => {
                let mut patterns = Vec::new();
                for element in place.elements(elements) {
                    let text = self.text(&element);
                    patterns.push(text.and_then(|text| self.event_type(&element, text, Stars::Escaped)));
                }
                patterns.into_iter().collect()
            }
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a text or a list of texts");
                None
            }
        }
    }

    fn event_type(&mut self, place: &Place<'_>, text: &str, stars: Stars) -> Option<EventTypePattern> {
        match event_type_pattern(text, stars) {
            Some(pattern) => Some(pattern),
            None => {
                let finding = if text.is_empty() {
                    Finding::new(Code::InvalidEventType, "a type of events is not empty")
                        .with_help("Leave `event_type` out for events of any type.")
                } else {
                    Finding::new(Code::InvalidEventType, format!("`{text}` has a `*` that is not at its end"))
                        .with_help("A `*` at the end matches every rest; write `\\*` for a star of the name.")
                };
                self.refuse(place, finding);
                None
            }
        }
    }

    fn filter(&mut self, place: &Place<'_>) -> Vec<EventCondition> {
        let entries = self.list(place).unwrap_or_default();
        entries.iter().map(|entry| self.event_condition(entry)).collect()
    }

    /// A node of `where`. What cannot be read becomes an empty group, on which `check` is silent where something was found already.
    fn event_condition(&mut self, place: &Place<'_>) -> EventCondition {
        let unreadable = EventCondition::Group { logic: Logic::And, conditions: Vec::new() };
        let Some(fields) = self.object(place) else { return unreadable };
        let Some(form) = self.form(&fields, "property") else { return unreadable };
        // Remarks are allowed on every node, and have no place in the model of these.
        if let Some(description) = fields.get("description") {
            self.text(&description);
        }
        match form {
            Form::Group => {
                self.known_keys(&fields, keys::GROUP);
                let (logic, conditions) = self.group(&fields);
                EventCondition::Group { logic, conditions: conditions.iter().map(|place| self.event_condition(place)).collect() }
            }
            Form::AtLeast => {
                self.known_keys(&fields, keys::AT_LEAST);
                let (count, of) = self.at_least(&fields);
                EventCondition::AtLeast { count, of: of.iter().map(|place| self.event_condition(place)).collect() }
            }
            Form::Not => {
                self.known_keys(&fields, keys::NOT);
                match fields.get("not") {
                    Some(place) => EventCondition::Not(Box::new(self.event_condition(&place))),
                    None => unreadable,
                }
            }
            Form::Leaf => {
                self.known_keys(&fields, keys::EVENT_PROPERTY);
                self.attribute_test(&fields, keys::EVENT_PROPERTY).map_or(unreadable, EventCondition::Test)
            }
        }
    }

    pub(super) fn measure(&mut self, place: &Place<'_>) -> Option<Measure> {
        match &place.node.kind {
            NodeKind::Text(word) => match ROW_MEASURES.iter().find(|measure| measure.keyword() == word) {
                Some(measure) => Some(measure.clone()),
                None => {
                    let words = ROW_MEASURES.iter().map(Measure::keyword);
                    let help = if PROPERTY_MEASURES.contains(&word.as_str()) {
                        format!("`{word}` measures a property: write `{{\"{word}\": \"price\"}}`.")
                    } else if let Some(near) = nearest(word, words.clone().chain(PROPERTY_MEASURES)) {
                        format!("Did you mean `{near}`?")
                    } else {
                        format!(
                            "The measures are {}, and {} of a property.",
                            list_words(words),
                            list_words(PROPERTY_MEASURES.iter().copied())
                        )
                    };
                    self.refuse(place, Finding::new(Code::UnknownWord, format!("`{word}` is no measure")).with_help(help));
                    None
                }
            },
            NodeKind::Object(_) => {
                let (key, inner) = self.single_member(place, &PROPERTY_MEASURES)?;
                let path = self.path(&inner)?;
                property_measure(key, path)
            }
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Number(_) | NodeKind::List(_) => {
                self.wrong_kind(place, "a text such as `\"count\"` or an object such as `{\"sum\": \"price\"}`");
                None
            }
        }
    }
}

fn property_measure(key: &str, path: PropertyPath) -> Option<Measure> {
    Some(match key {
        "sum" => Measure::Sum(path),
        "avg" => Measure::Avg(path),
        "min" => Measure::Min(path),
        "max" => Measure::Max(path),
        "count_distinct" => Measure::CountDistinct(path),
        "first" => Measure::First(path),
        "last" => Measure::Last(path),
        "most_frequent" => Measure::MostFrequent(path),
        _ => return None,
    })
}

/// What a star that is neither escaped nor at the end is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::syntax) enum Stars {
    /// Itself: a single text is the name of a type.
    Plain,
    /// An error: in a list a star of a name is written `\*`.
    Escaped,
}

/// One entry of `event_type`; `None` when it is empty or has a star where none may stand.
pub(in crate::syntax) fn event_type_pattern(text: &str, stars: Stars) -> Option<EventTypePattern> {
    let mut name = String::new();
    let mut star_inside = false;
    let mut prefix = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&'*') => name.extend(characters.next()),
            '*' if characters.peek().is_none() => prefix = true,
            '*' => {
                star_inside = true;
                name.push('*');
            }
            other => name.push(other),
        }
    }
    if text.is_empty() || (star_inside && (prefix || stars == Stars::Escaped)) {
        return None;
    }
    Some(if prefix { EventTypePattern::Prefix(name) } else { EventTypePattern::Exact(name) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_star_matches_a_prefix_and_an_escaped_one_itself() {
        let exact = |name: &str| Some(EventTypePattern::Exact(name.to_owned()));
        let prefix = |name: &str| Some(EventTypePattern::Prefix(name.to_owned()));
        for (text, plain, listed) in [
            ("page_view", exact("page_view"), exact("page_view")),
            ("page_*", prefix("page_"), prefix("page_")),
            ("*", prefix(""), prefix("")),
            (r"50\*", exact("50*"), exact("50*")),
            (r"50\**", prefix("50*"), prefix("50*")),
            ("a*b", exact("a*b"), None),
            (r"a\*b", exact("a*b"), exact("a*b")),
            ("a*b*", None, None),
            (r"a\b", exact(r"a\b"), exact(r"a\b")),
            ("", None, None),
        ] {
            assert_eq!(event_type_pattern(text, Stars::Plain), plain, "{text}");
            assert_eq!(event_type_pattern(text, Stars::Escaped), listed, "{text} in a list");
        }
    }
}
