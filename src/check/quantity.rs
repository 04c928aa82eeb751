//! Numbers per subject that are ranked, or compared with each other.

use super::scope::Scope;
use super::{CheckedCompare, CheckedMeasure, CheckedProperty, CheckedQuantity, CheckedTop, Reading};
use crate::diagnostic::{Code, Finding};
use crate::model::condition::{CompareLeaf, EventMeasure, Quantity, TopLeaf, TopShare};
use crate::model::decimal::Decimal;
use crate::model::operator::ValueType;
use crate::model::path::DocPath;
use crate::model::property::Property;

use super::event::Measured;

impl Scope<'_> {
    pub(super) fn top(&mut self, leaf: &TopLeaf, path: &DocPath, depth: usize) -> Option<CheckedTop> {
        let by = self.quantity(&leaf.by, &path.key("by"), depth);
        if let TopShare::Percent(percent) = &leaf.share {
            self.percent(percent, &path.key("percent"))?;
        }
        Some(CheckedTop { by: by?, order: leaf.order, share: leaf.share.clone() })
    }

    pub(super) fn compare(&mut self, leaf: &CompareLeaf, path: &DocPath, depth: usize) -> Option<CheckedCompare> {
        // Each side is a feature of its own.
        self.leaves = self.leaves.saturating_add(1);
        let left = self.quantity(&leaf.left, &path.key("left"), depth);
        let right = self.quantity(&leaf.right, &path.key("right"), depth);
        let factor = leaf.factor.clone().unwrap_or_else(|| Decimal::from(1i64));
        Some(CheckedCompare { left: left?, operator: leaf.operator, right: right?, factor })
    }

    fn quantity(&mut self, quantity: &Quantity, place: &DocPath, depth: usize) -> Option<CheckedQuantity> {
        match quantity {
            Quantity::Events(events) => self.quantity_of_events(events, place, depth),
            Quantity::Property { property, value_type } => {
                let property = self.quantity_of_property(property, place);
                match value_type {
                    None | Some(ValueType::Number | ValueType::Price) => property.map(CheckedQuantity::Property),
                    Some(other) => {
                        let message = format!("what is ranked or compared is a number, not of type `{}`", other.keyword());
                        let finding = Finding::new(Code::WrongValueType, message)
                            .with_help("Leave `value_type` out; of a date take `{\"days_since\": ...}`.");
                        self.report(&place.key("value_type"), finding);
                        None
                    }
                }
            }
        }
    }

    fn quantity_of_events(&mut self, events: &EventMeasure, place: &DocPath, depth: usize) -> Option<CheckedQuantity> {
        let table = self.event_table(place)?;
        let event_type = self.event_types(events.event_type.as_deref(), table, place);
        let filter = self.rows(&events.filter, &table.table, &place.key("where"), depth);
        let window = self.window(&events.window, &place.key("window"));
        let measure = match self.measure(&events.measure, &table.table, &place.key("measure"))? {
            Measured::Number(measure) => measure,
            Measured::Value(measure, access) => {
                let property = events.measure.property()?;
                let place = place.key("measure").key(events.measure.keyword());
                self.number_access(property, &table.table, "events", &place)?;
                CheckedMeasure::Value(measure, access, Reading::Number)
            }
        };
        Some(CheckedQuantity::Events { event_type: event_type?, filter: filter?, window: window?, measure })
    }

    fn quantity_of_property(&mut self, property: &Property, place: &DocPath) -> Option<CheckedProperty> {
        let place = place.key("property");
        let (table, noun) = self.subjects_table(&place)?;
        match property {
            Property::Path(path) => self.number_access(path, table, noun, &place).map(CheckedProperty::Stored),
            Property::DaysSince(_) | Property::DaysToAnniversary(_) | Property::Part(..) | Property::Mean(_) => {
                self.property(property, table, noun, &place)
            }
        }
    }
}
