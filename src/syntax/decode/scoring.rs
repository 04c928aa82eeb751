//! `scoring`: weighted rules.

use super::super::node::NodeKind;
use super::{Decoder, Place, keys};
use crate::model::condition::{Condition, Logic, Node};
use crate::model::decimal::Decimal;
use crate::model::scoring::{Combination, Scoring, ScoringRule};

impl Decoder<'_> {
    pub(super) fn scoring(&mut self, place: &Place<'_>) -> Scoring {
        let unreadable = Scoring { combination: Combination::default(), threshold: None, rules: Vec::new() };
        let Some(fields) = self.object(place) else { return unreadable };
        self.known_keys(&fields, keys::SCORING);
        let combinations = [("all", Combination::All), ("any", Combination::Any), ("weighted", Combination::Weighted)];
        let combination = fields.get("combination").and_then(|place| self.word(&place, "combinations", &combinations));
        let threshold = fields.get("threshold").and_then(|place| self.number(&place));
        let rules = self.required(&fields, "rules", keys::SCORING).and_then(|place| self.list(&place)).unwrap_or_default();
        Scoring {
            combination: combination.unwrap_or_default(),
            threshold,
            rules: rules.iter().map(|place| self.scoring_rule(place)).collect(),
        }
    }

    fn scoring_rule(&mut self, place: &Place<'_>) -> ScoringRule {
        let unreadable = || Condition::from(Node::Group { logic: Logic::And, conditions: Vec::new() });
        let Some(fields) = self.object(place) else {
            return ScoringRule { condition: unreadable(), weight: None, description: None };
        };
        self.known_keys(&fields, keys::SCORING_RULE);
        ScoringRule {
            condition: match self.required(&fields, "condition", keys::SCORING_RULE) {
                Some(place) => self.condition(&place),
                None => unreadable(),
            },
            weight: fields.get("weight").and_then(|place| self.number(&place)),
            description: fields.get("description").and_then(|place| self.text(&place)).map(str::to_owned),
        }
    }

    pub(super) fn number(&mut self, place: &Place<'_>) -> Option<Decimal> {
        match &place.node.kind {
            NodeKind::Number(digits) => self.decimal(place, digits),
            NodeKind::Null | NodeKind::Boolean(_) | NodeKind::Text(_) | NodeKind::List(_) | NodeKind::Object(_) => {
                self.wrong_kind(place, "a number");
                None
            }
        }
    }
}
