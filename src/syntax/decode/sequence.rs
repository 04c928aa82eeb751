//! Sequence leaves: events that follow each other.

use super::{Decoder, Fields, Place, keys};
use crate::model::condition::{SequenceLeaf, SequenceStep};

impl Decoder<'_> {
    pub(super) fn sequence(&mut self, fields: &Fields<'_>) -> Option<SequenceLeaf> {
        let steps = self.required(fields, "steps", keys::SEQUENCE).and_then(|place| self.list(&place));
        let steps = steps.map(|steps| steps.iter().map(|place| self.step(place)).collect::<Vec<_>>());
        // What cannot be read is left out, so that the steps are looked at all the same.
        let within = fields.get("within").and_then(|place| self.short_duration(&place));
        let same = fields.get("same").and_then(|place| self.list(&place)).unwrap_or_default();
        let same = same.iter().filter_map(|place| self.path(place)).collect();
        let window = fields.get("window").and_then(|place| self.window(&place)).unwrap_or_default();
        let steps = steps?.into_iter().collect::<Option<Vec<_>>>();
        Some(SequenceLeaf { steps: steps?, within, same, window })
    }

    fn step(&mut self, place: &Place<'_>) -> Option<SequenceStep> {
        let fields = self.object(place)?;
        self.known_keys(&fields, keys::SEQUENCE_STEP);
        let (event_type, filter) = self.selection(&fields);
        let absent = fields.get("absent").map_or(Some(false), |place| self.boolean(&place));
        Some(SequenceStep { event_type, filter, absent: absent? })
    }
}
