//! The rule tree: groups, negations and leaves.

use super::value::COMPARISON;
use super::{Decoder, Fields, Place, keys, list_words};
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::condition::{AiVisibilityLeaf, Condition, Leaf, Logic, Node, SampleLeaf, SegmentLeaf, Subject};

/// The words of `logic`.
const LOGIC: [(&str, Logic); 2] = [("and", Logic::And), ("or", Logic::Or)];

/// What the keys of a node say that it is. Nodes of the rule and of `where` have these forms in common.
pub(super) enum Form {
    Group,
    AtLeast,
    Not,
    Leaf,
}

#[derive(Clone, Copy)]
enum LeafType {
    UserAttribute,
    ProductAttribute,
    Event,
    Lifecycle,
    Sequence,
    Segment,
    Compare,
    Top,
    Sample,
    Everyone,
    UserBehaviorSignal,
    AiVisibilityMetric,
}

const LEAF_TYPES: [(&str, LeafType); 12] = [
    ("user_attribute", LeafType::UserAttribute),
    ("product_attribute", LeafType::ProductAttribute),
    ("event", LeafType::Event),
    ("lifecycle", LeafType::Lifecycle),
    ("sequence", LeafType::Sequence),
    ("segment", LeafType::Segment),
    ("compare", LeafType::Compare),
    ("top", LeafType::Top),
    ("sample", LeafType::Sample),
    ("everyone", LeafType::Everyone),
    ("user_behavior_signal", LeafType::UserBehaviorSignal),
    ("ai_visibility_metric", LeafType::AiVisibilityMetric),
];

impl Decoder<'_> {
    /// A node of the rule. What cannot be read becomes an empty group, on which `check` is silent where something was found already.
    pub(super) fn condition(&mut self, place: &Place<'_>) -> Condition {
        let unreadable = Node::Group { logic: Logic::And, conditions: Vec::new() };
        let Some(fields) = self.object(place) else { return unreadable.into() };
        let Some(form) = self.form(&fields, "type") else { return unreadable.into() };
        let node = match form {
            Form::Group => {
                self.known_keys(&fields, keys::GROUP);
                let (logic, conditions) = self.group(&fields);
                let conditions = conditions.iter().map(|place| self.condition(place)).collect();
                Some(Node::Group { logic, conditions })
            }
            Form::AtLeast => {
                self.known_keys(&fields, keys::AT_LEAST);
                let (count, of) = self.at_least(&fields);
                Some(Node::AtLeast { count, of: of.iter().map(|place| self.condition(place)).collect() })
            }
            Form::Not => {
                self.known_keys(&fields, keys::NOT);
                fields.get("not").map(|place| Node::Not(Box::new(self.condition(&place))))
            }
            Form::Leaf => self.leaf(&fields).map(Node::Leaf),
        };
        let description = fields.get("description").and_then(|place| self.text(&place)).map(str::to_owned);
        Condition { node: node.unwrap_or(unreadable), description }
    }

    /// What a node is, by its keys; `leaf_key` is the key that only a leaf has.
    pub(super) fn form(&mut self, fields: &Fields<'_>, leaf_key: &str) -> Option<Form> {
        let forms = [
            (["logic", "conditions"], Form::Group),
            (["at_least", "of"], Form::AtLeast),
            (["not", "not"], Form::Not),
            ([leaf_key, leaf_key], Form::Leaf),
        ];
        let mut found = forms.into_iter().filter_map(|(keys, form)| Some((keys.into_iter().find(|key| fields.has(key))?, form)));
        let first = found.next();
        let second = found.next();
        match (first, second) {
            (Some((one, _)), Some((other, _))) => {
                let message = format!("a condition has `{one}` or `{other}`, not both");
                self.conflict(fields, other, message, "Nest one condition in the other.");
                None
            }
            (Some((_, form)), None) => Some(form),
            (None, _) => {
                self.no_form(fields, leaf_key);
                None
            }
        }
    }

    fn no_form(&mut self, fields: &Fields<'_>, leaf_key: &str) {
        let marks = [leaf_key, "logic", "at_least", "not"];
        let misspelled = fields.members.iter().find_map(|member| Some((member, nearest(&member.key, marks)?)));
        match misspelled {
            Some((member, near)) => self.unknown_key(fields, member, format!("Did you mean `{near}`?")),
            None => {
                let help = format!("It needs one of the keys {}.", list_words(marks));
                self.refuse(&fields.place, Finding::new(Code::MissingKey, "a condition does not say what it is").with_help(help));
            }
        }
    }

    /// `logic` and `conditions`. Without a readable logic the conditions are read as if it were `and`.
    pub(super) fn group<'n>(&mut self, fields: &Fields<'n>) -> (Logic, Vec<Place<'n>>) {
        let logic = self.required(fields, "logic", keys::GROUP).and_then(|place| self.word(&place, "words of `logic`", &LOGIC));
        let conditions = self.required(fields, "conditions", keys::GROUP).and_then(|place| self.list(&place));
        (logic.unwrap_or(Logic::And), conditions.unwrap_or_default())
    }

    /// `at_least` and `of`. A number that cannot be read counts as 1.
    pub(super) fn at_least<'n>(&mut self, fields: &Fields<'n>) -> (u64, Vec<Place<'n>>) {
        let count = self.required(fields, "at_least", keys::AT_LEAST).and_then(|place| self.count(&place));
        let of = self.required(fields, "of", keys::AT_LEAST).and_then(|place| self.list(&place));
        (count.unwrap_or(1), of.unwrap_or_default())
    }

    fn leaf(&mut self, fields: &Fields<'_>) -> Option<Leaf> {
        let place = fields.get("type")?;
        match self.word(&place, "types of conditions", &LEAF_TYPES)? {
            LeafType::UserAttribute => self.attribute(fields, Subject::User),
            LeafType::ProductAttribute => self.attribute(fields, Subject::Product),
            LeafType::Event => {
                self.known_keys(fields, keys::EVENT);
                Some(Leaf::Event(self.event(fields)))
            }
            LeafType::Segment => {
                self.known_keys(fields, keys::SEGMENT);
                let segment_id = self.required(fields, "segment_id", keys::SEGMENT).and_then(|place| self.segment_id(&place));
                let operators = [("in", false), ("not_in", true)];
                let negated = match fields.get("operator") {
                    Some(place) => self.word(&place, "operators of a reference", &operators),
                    None => Some(false),
                };
                Some(Leaf::Segment(SegmentLeaf { segment_id: segment_id?, negated: negated.unwrap_or(false) }))
            }
            LeafType::Everyone => {
                self.known_keys(fields, keys::EVERYONE);
                Some(Leaf::Everyone)
            }
            LeafType::Lifecycle => {
                self.known_keys(fields, keys::LIFECYCLE);
                self.lifecycle(fields).map(Leaf::Lifecycle)
            }
            LeafType::Top => {
                self.known_keys(fields, keys::TOP);
                self.top(fields).map(Leaf::Top)
            }
            LeafType::Sample => {
                self.known_keys(fields, keys::SAMPLE);
                let percent = self.required(fields, "percent", keys::SAMPLE).and_then(|place| self.number(&place));
                let salt = fields.get("salt").and_then(|place| self.text(&place)).map(str::to_owned);
                Some(Leaf::Sample(SampleLeaf { percent: percent?, salt }))
            }
            LeafType::AiVisibilityMetric => {
                self.known_keys(fields, keys::AI_VISIBILITY_METRIC);
                let metric = fields.get("metric").and_then(|place| self.text(&place)).map(str::to_owned);
                let comparison = if Self::has_comparison(fields) { self.comparison(fields) } else { None };
                Some(Leaf::AiVisibilityMetric(AiVisibilityLeaf { metric, comparison }))
            }
            LeafType::Sequence => {
                self.known_keys(fields, keys::SEQUENCE);
                self.sequence(fields).map(Leaf::Sequence)
            }
            LeafType::Compare => {
                self.known_keys(fields, keys::COMPARE);
                self.compare(fields).map(Leaf::Compare)
            }
            LeafType::UserBehaviorSignal => {
                self.known_keys(fields, keys::USER_BEHAVIOR_SIGNAL);
                self.signal(fields).map(Leaf::UserBehaviorSignal)
            }
        }
    }

    fn attribute(&mut self, fields: &Fields<'_>, subject: Subject) -> Option<Leaf> {
        self.known_keys(fields, keys::ATTRIBUTE);
        self.attribute_test(fields, keys::ATTRIBUTE).map(|test| Leaf::Attribute { subject, test })
    }

    /// Whether an object states a comparison, rightly or wrongly.
    pub(super) fn has_comparison(fields: &Fields<'_>) -> bool {
        fields.has_any(COMPARISON)
    }
}
