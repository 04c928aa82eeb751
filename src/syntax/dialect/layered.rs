//! `layered`: conditions on products. Its attributes are those of the canonical language; only what stands around them differs.

use super::super::decode::{Fields, Place};
use super::super::node::Node;
use super::super::print;
use super::export::Writer;
use super::{Body, Translator, build, given};
use crate::model::condition::{Condition, Leaf, Logic, Node as Rule, Subject};
use crate::model::path::DocPath;

const GROUP_KEYS: &[&str] = &["logic", "conditions"];

/// The leaves of the form.
const LEAF_TYPES: [(&str, ()); 3] = [("product_attribute", ()), ("user_behavior_signal", ()), ("ai_visibility_metric", ())];

impl Translator<'_> {
    /// A definition: a group under `definition`, or alone.
    pub(super) fn layered(&mut self, fields: &Fields<'_>) -> Body {
        let span = &fields.place.node.span;
        let members = vec![build::member("subject", build::text(span, Subject::Product.keyword()))];
        match given(fields, "definition") {
            Some(place) => {
                let inner = self.decoder.object(&place);
                let rule = inner.and_then(|inner| {
                    self.decoder.known_keys(&inner, GROUP_KEYS);
                    self.layer(&inner)
                });
                Body { rule_keys: &["definition"], rule, members }
            }
            None => Body { rule_keys: GROUP_KEYS, rule: self.layer(fields), members },
        }
    }

    fn layer(&mut self, fields: &Fields<'_>) -> Option<Node> {
        let logic = self.decoder.required(fields, "logic", GROUP_KEYS).and_then(|place| self.logic(&place));
        let places = self.decoder.required(fields, "conditions", GROUP_KEYS).and_then(|place| self.decoder.list(&place));
        let conditions = self.each(&places?, Self::layer_entry);
        let (logic, word) = logic?;
        Some(build::group(&fields.place.node.span, (logic, &word), conditions?))
    }

    fn layer_entry(&mut self, place: &Place<'_>) -> Option<Node> {
        let fields = self.decoder.object(place)?;
        if fields.has_any(GROUP_KEYS) {
            self.decoder.known_keys(&fields, GROUP_KEYS);
            return self.layer(&fields);
        }
        let word = self.decoder.required(&fields, "type", &["type"])?;
        self.decoder.word(&word, "types of conditions", &LEAF_TYPES)?;
        Some(place.node.clone())
    }
}

/// Writes a rule as the form has it.
pub(super) fn write(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition]) -> Vec<(&'static str, Node)> {
    vec![("definition", write_layer(writer, logic, conditions, &DocPath::root().key("conditions")))]
}

fn write_layer(writer: &mut Writer<'_>, logic: Logic, conditions: &[Condition], place: &DocPath) -> Node {
    let nodes = conditions.iter().enumerate().map(|(index, condition)| {
        let path = place.index(index);
        match &condition.node {
            Rule::Group { logic, conditions } => {
                writer.leave_description(condition);
                write_layer(writer, *logic, conditions, &path.key("conditions"))
            }
            Rule::Leaf(
                Leaf::Attribute { subject: Subject::Product, .. } | Leaf::UserBehaviorSignal(_) | Leaf::AiVisibilityMetric(_),
            ) => print::condition_node(condition),
            Rule::Leaf(_) | Rule::AtLeast { .. } | Rule::Not(_) => {
                writer.refuse_node::<()>(&condition.node, &path);
                build::object(&(0..0), Vec::new())
            }
        }
    });
    let nodes = nodes.collect();
    build::object(&(0..0), vec![("logic", build::text(&(0..0), logic.keyword())), ("conditions", build::list(&(0..0), nodes))])
}
