//! The root of a document.

use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};

use super::super::node::{Node, NodeKind};
use super::{Decoder, Fields, Place, keys};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::condition::{Condition, Logic, Subject};
use crate::model::guard::{InvalidMaxChange, MaxChange};
use crate::model::schedule::Schedule;
use crate::model::segment::{Definition, Keep, Keeping, Kind, Rule, Status};

/// Stands for the id of a definition that has none.
const NAMELESS: &str = "nameless";

/// Longest name of a segment, in characters.
const MAX_NAME: usize = 255;

/// A definition, and whether its id could be read: when not, it bears one that stands for none.
pub(in crate::syntax) struct Read {
    pub(in crate::syntax) definition: Definition,
    pub(in crate::syntax) id: IdRead,
    /// Why the id could not be read.
    pub(in crate::syntax) about_id: Vec<Finding>,
}

/// Whether the id of a definition could be read.
pub(in crate::syntax) enum IdRead {
    Yes,
    No,
}

/// Reads a definition; `None` when there is no object to read it from.
pub(in crate::syntax) fn definition(decoder: &mut Decoder<'_>, place: &Place<'_>) -> Option<Read> {
    let fields = decoder.object(place)?;
    decoder.known_keys(&fields, keys::DEFINITION);
    let before = decoder.findings.len();
    let id = decoder.required(&fields, "id", keys::DEFINITION).and_then(|place| decoder.segment_id(&place));
    let about_id = decoder.findings.split_off(before);
    let kind = decoder.kind(&fields);
    let rule = decoder.rule(&fields, kind);
    let (id, id_read) = match id {
        Some(id) => (id, IdRead::Yes),
        None => (NAMELESS.parse().ok()?, IdRead::No),
    };
    let definition = Definition {
        id,
        name: fields.get("name").and_then(|place| decoder.name(&place)),
        description: decoder.optional_text(&fields, "description"),
        subject: decoder.subject(&fields),
        kind,
        status: decoder.status(&fields),
        schedule: decoder.schedule(&fields),
        cache_ttl: fields.get("cache_ttl").and_then(|place| decoder.interval(&place)),
        max_change: fields.get("max_change").and_then(|place| decoder.max_change(&place)),
        tags: decoder.tags(&fields),
        icon: decoder.optional_text(&fields, "icon"),
        color: decoder.optional_text(&fields, "color"),
        rule,
        metadata: decoder.metadata(&fields),
        keeping: Keeping {
            snapshots: decoder.keep(&fields, "keep_snapshots"),
            changes: decoder.keep(&fields, "keep_changes"),
            history: decoder.keep(&fields, "keep_history"),
        },
    };
    Some(Read { definition, id: id_read, about_id })
}

impl Decoder<'_> {
    fn optional_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        fields.get(key).and_then(|place| self.text(&place)).map(str::to_owned)
    }

    fn name(&mut self, place: &Place<'_>) -> Option<String> {
        let name = self.text(place)?;
        let length = name.chars().count();
        if (1..=MAX_NAME).contains(&length) {
            return Some(name.to_owned());
        }
        let message = format!("a name has 1 to {MAX_NAME} characters, this one {length}");
        self.refuse(place, Finding::new(Code::InvalidName, message));
        None
    }

    fn max_change(&mut self, place: &Place<'_>) -> Option<MaxChange> {
        let text = self.text(place)?;
        text.parse()
            .map_err(|error: InvalidMaxChange| self.refuse(place, Finding::new(Code::InvalidNumber, error.to_string())))
            .ok()
    }

    fn subject(&mut self, fields: &Fields<'_>) -> Subject {
        let choices = [Subject::User, Subject::Product].map(|subject| (subject.keyword(), subject));
        fields.get("subject").and_then(|place| self.word(&place, "subjects", &choices)).unwrap_or(Subject::User)
    }

    fn kind(&mut self, fields: &Fields<'_>) -> Kind {
        let choices = [("dynamic", Kind::Dynamic), ("static", Kind::Static)];
        fields.get("kind").and_then(|place| self.word(&place, "kinds of segments", &choices)).unwrap_or_default()
    }

    fn status(&mut self, fields: &Fields<'_>) -> Status {
        let choices = [("active", Status::Active), ("paused", Status::Paused), ("archived", Status::Archived)];
        fields.get("status").and_then(|place| self.word(&place, "statuses", &choices)).unwrap_or_default()
    }

    /// A length of time between runs, or `forever`.
    fn keep(&mut self, fields: &Fields<'_>, key: &str) -> Option<Keep> {
        let place = fields.get(key)?;
        match &place.node.kind {
            NodeKind::Text(text) if text == "forever" => Some(Keep::Forever),
            _ => self.interval(&place).map(Keep::For),
        }
    }

    fn tags(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let places = fields.get("tags").and_then(|place| self.list(&place)).unwrap_or_default();
        places.iter().filter_map(|place| self.text(place)).map(str::to_owned).collect()
    }

    fn schedule(&mut self, fields: &Fields<'_>) -> Option<Schedule> {
        let every = fields.get("refresh_interval").and_then(|place| self.interval(&place)).map(Schedule::Every);
        let message = "a segment has `refresh_interval` or `schedule`, not both".to_owned();
        let Some(place) = fields.get("schedule") else { return every };
        if fields.has("refresh_interval") {
            self.conflict(fields, "schedule", message, "Keep the one that says when the segment is recomputed.");
        }
        let text = self.text(&place)?;
        match CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text) {
            Ok(_) => Some(Schedule::Cron(text.to_owned())),
            Err(_) => {
                let finding = Finding::new(Code::InvalidSchedule, format!("`{text}` is not a cron expression"))
                    .with_help("Write minute, hour, day of month, month and day of week, such as `0 6 * * 1` for Mondays at six.");
                self.refuse(&place, finding);
                None
            }
        }
    }

    /// The rule; exactly one of `conditions` and `scoring` for a dynamic segment, neither for a static one.
    fn rule(&mut self, fields: &Fields<'_>, kind: Kind) -> Option<Rule> {
        let tree = fields.has_any(&["logic", "conditions"]);
        let scoring = fields.get("scoring");
        match kind {
            Kind::Static => {
                for key in ["logic", "conditions", "scoring"] {
                    if let Some(place) = fields.get(key) {
                        let finding = Finding::new(Code::RuleMismatch, format!("a static segment has no `{key}`"))
                            .with_help("Its members are added by hand; leave `kind` out for a segment with a rule.");
                        self.refuse(&place, finding);
                        break;
                    }
                }
                None
            }
            Kind::Dynamic => {
                if tree && scoring.is_some() {
                    let message = "a segment has `conditions` or `scoring`, not both".to_owned();
                    self.conflict(fields, "scoring", message, "Put the conditions into rules of the scoring, or leave one out.");
                }
                if tree {
                    return Some(self.conditions(fields));
                }
                if let Some(place) = scoring {
                    return Some(Rule::Scoring(self.scoring(&place)));
                }
                self.no_rule(fields);
                None
            }
        }
    }

    fn conditions(&mut self, fields: &Fields<'_>) -> Rule {
        let (logic, conditions): (Logic, Vec<Place<'_>>) = self.group(fields);
        let conditions: Vec<Condition> = conditions.iter().map(|place| self.condition(place)).collect();
        Rule::Conditions { logic, conditions }
    }

    fn no_rule(&mut self, fields: &Fields<'_>) {
        let misspelled = |key: &str| !keys::DEFINITION.contains(&key) && nearest(key, ["conditions", "scoring"]).is_some();
        if !fields.keys().any(misspelled) {
            let finding = Finding::new(Code::RuleMismatch, "a dynamic segment has neither `conditions` nor `scoring`")
                .with_help("Add `logic` and `conditions`, or write `\"kind\": \"static\"` for members added by hand.");
            self.refuse(&fields.place, finding);
        }
    }

    fn metadata(&mut self, fields: &Fields<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
        let place = fields.get("metadata")?;
        self.object(&place)?;
        match self.carried(place.node, &place) {
            serde_json::Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A value of the author's own as it is.
    fn carried(&mut self, node: &Node, place: &Place<'_>) -> serde_json::Value {
        use serde_json::Value;
        match &node.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Boolean(value) => Value::Bool(*value),
            NodeKind::Number(digits) => match number(digits) {
                Some(number) => Value::Number(number),
                None => {
                    let message = format!("`{digits}` is too large a number to be carried");
                    self.refuse(place, Finding::new(Code::InvalidNumber, message).with_help("Quote it as a text."));
                    Value::Null
                }
            },
            NodeKind::Text(text) => Value::String(text.clone()),
            NodeKind::List(elements) => Value::Array(elements.iter().map(|element| self.carried(element, place)).collect()),
            NodeKind::Object(members) => {
                Value::Object(members.iter().map(|member| (member.key.clone(), self.carried(&member.value, place))).collect())
            }
        }
    }
}

/// The number of these digits: an integer of 64 bits, else the nearest double.
fn number(digits: &str) -> Option<serde_json::Number> {
    if let Ok(integer) = i64::from_str(digits) {
        return Some(integer.into());
    }
    if let Ok(integer) = u64::from_str(digits) {
        return Some(integer.into());
    }
    serde_json::Number::from_f64(digits.parse().ok()?)
}
