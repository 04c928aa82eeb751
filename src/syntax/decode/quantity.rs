//! Numbers per subject that are ranked, or compared with each other.

use super::{Decoder, Fields, Place, keys};
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{CompareLeaf, EventMeasure, Measure, Quantity, RankOrder, TopLeaf, TopShare};
use crate::model::operator::Operator;

/// The operators between two numbers.
const OPERATORS: [Operator; 6] = [Operator::Eq, Operator::Neq, Operator::Gt, Operator::Gte, Operator::Lt, Operator::Lte];

impl Decoder<'_> {
    pub(super) fn compare(&mut self, fields: &Fields<'_>) -> Option<CompareLeaf> {
        let left = self.required(fields, "left", keys::COMPARE).and_then(|place| self.quantity(&place));
        let operators = OPERATORS.map(|operator| (operator.keyword(), operator));
        let operator = self.required(fields, "operator", keys::COMPARE);
        // What cannot be read is taken for something harmless, so that both sides are looked at all the same.
        let operator = operator.and_then(|place| self.word(&place, "operators between two numbers", &operators));
        let right = self.required(fields, "right", keys::COMPARE).and_then(|place| self.quantity(&place));
        let factor = fields.get("factor").and_then(|place| self.number(&place));
        Some(CompareLeaf { left: left?, operator: operator.unwrap_or(Operator::Eq), right: right?, factor })
    }

    pub(super) fn top(&mut self, fields: &Fields<'_>) -> Option<TopLeaf> {
        let by = self.required(fields, "by", keys::TOP).and_then(|place| self.quantity(&place));
        let orders = [RankOrder::Descending, RankOrder::Ascending].map(|order| (order.keyword(), order));
        let order = match fields.get("order") {
            Some(place) => self.word(&place, "orders", &orders),
            None => Some(RankOrder::default()),
        };
        let share = match (fields.get("count"), fields.get("percent")) {
            (Some(_), Some(_)) => {
                let message = "a ranking has `count` or `percent`, not both".to_owned();
                self.conflict(fields, "percent", message, "Keep one of them.");
                None
            }
            (Some(place), None) => self.count(&place).map(TopShare::Count),
            (None, Some(place)) => self.number(&place).map(TopShare::Percent),
            (None, None) => {
                let finding = Finding::new(Code::MissingKey, "a ranking does not say how many are in")
                    .with_help("Add `count`, such as 100, or `percent`, such as 5.");
                self.refuse(&fields.place, finding);
                None
            }
        };
        Some(TopLeaf { by: by?, order: order?, share: share? })
    }

    fn quantity(&mut self, place: &Place<'_>) -> Option<Quantity> {
        let fields = self.object(place)?;
        let Some(leaf_type) = fields.get("type") else {
            self.known_keys(&fields, keys::QUANTITY_OF_PROPERTY);
            let property = self.required(&fields, "property", keys::QUANTITY_OF_PROPERTY).and_then(|place| self.property(&place));
            let value_type = self.value_type(&fields);
            return Some(Quantity::Property { property: property?, value_type: value_type? });
        };
        self.word(&leaf_type, "types of numbers per subject", &[("event", ())])?;
        self.known_keys(&fields, keys::QUANTITY_OF_EVENTS);
        let (event_type, filter) = self.selection(&fields);
        let measure = fields.get("measure").map_or(Some(Measure::Count), |place| self.measure(&place));
        let window = fields.get("window").and_then(|place| self.window(&place)).unwrap_or_default();
        Some(Quantity::Events(EventMeasure { event_type, filter, measure: measure?, window }))
    }
}
