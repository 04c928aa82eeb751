//! Signals: events of the members of a user segment that name a product.

use super::property::resolve;
use super::scope::Scope;
use super::{CheckedSignal, Mention};
use crate::diagnostic::{Code, Finding};
use crate::model::catalog::{Access, ColumnType, Table};
use crate::model::condition::{EventTypePattern, SignalLeaf, Subject};
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;

/// The property that holds the id of the product, unless the author names another.
const PRODUCT_ID: &str = "product_id";

impl Scope<'_> {
    pub(super) fn signal(&mut self, leaf: &SignalLeaf, path: &DocPath) -> Option<CheckedSignal> {
        self.references.push(Mention { target: leaf.segment_id.clone(), contains: Subject::User, path: path.key("segment_id") });
        if self.subject != Subject::Product {
            let finding = Finding::new(Code::WrongSubject, "a segment of users has no `user_behavior_signal`")
                .with_help("Set `\"subject\": \"product\"`: the condition holds for products.");
            self.report(&path.key("type"), finding);
            return None;
        }
        let table = self.event_table_of(Subject::User, path)?;
        let named = [EventTypePattern::Exact(leaf.signal.event_type().to_owned())];
        let patterns = leaf.event_type.as_deref().unwrap_or(&named);
        let event_type = self.event_types(Some(patterns), table, path);
        let product = match &leaf.product_id_property {
            Some(property) => {
                let place = path.key("product_id_property");
                let access = self.access(property, &table.table, "events", &place);
                access.and_then(|access| self.holding("ids", holds_ids, access, property, &place))
            }
            None => self.default_id_access(&table.table, &path.key("signal")),
        };
        let window = self.window(&leaf.window, &path.key("window"));
        let test = self.count_test(leaf.comparison.as_ref(), path);
        Some(CheckedSignal {
            segment_id: leaf.segment_id.clone(),
            product: product?,
            event_type: event_type??,
            window: window?,
            test: test?,
        })
    }

    fn default_id_access(&mut self, table: &Table, place: &DocPath) -> Option<Access> {
        let property = PropertyPath::from_keys(vec![PRODUCT_ID.to_owned()])?;
        match resolve(&property, table, "events") {
            Ok(access) => self.holding("ids", holds_ids, access, &property, place),
            Err(finding) => {
                let help = "Name the property of the events that holds the id of the product with `product_id_property`.";
                self.report(place, finding.with_help(help));
                None
            }
        }
    }
}

/// An id is something that can be read as text.
fn holds_ids(column: &ColumnType) -> bool {
    match column {
        ColumnType::Text | ColumnType::Integer | ColumnType::Unsigned | ColumnType::Json => true,
        ColumnType::Boolean
        | ColumnType::Float
        | ColumnType::Decimal { .. }
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::List(_)
        | ColumnType::Struct(_)
        | ColumnType::Map(_)
        | ColumnType::Other(_) => false,
    }
}
