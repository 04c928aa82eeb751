//! Signals: what members of a user segment did with a product.

use super::value::whole;
use super::{Decoder, Fields, keys};
use crate::model::condition::{Signal, SignalLeaf};

impl Decoder<'_> {
    pub(super) fn signal(&mut self, fields: &Fields<'_>) -> Option<SignalLeaf> {
        let signals = [Signal::Purchased, Signal::Viewed].map(|signal| (signal.keyword(), signal));
        let signal = self.required(fields, "signal", keys::USER_BEHAVIOR_SIGNAL);
        let signal = signal.and_then(|place| self.word(&place, "signals", &signals));
        let segment_id = self.required(fields, "segment_id", keys::USER_BEHAVIOR_SIGNAL);
        let segment_id = segment_id.and_then(|place| self.segment_id(&place));
        let (event_type, _) = self.selection(fields);
        let product_id_property = whole(fields.get("product_id_property").map(|place| self.path(&place)));
        let window = fields.get("window").and_then(|place| self.window(&place)).unwrap_or_default();
        let comparison = if Self::has_comparison(fields) {
            self.required(fields, "operator", keys::USER_BEHAVIOR_SIGNAL);
            self.comparison(fields)
        } else {
            None
        };
        Some(SignalLeaf {
            signal: signal?,
            segment_id: segment_id?,
            event_type,
            product_id_property: product_id_property?,
            window,
            comparison,
        })
    }
}
