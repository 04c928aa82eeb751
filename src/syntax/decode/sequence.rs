//! Sequence leaves: events that follow each other.

use super::value::whole;
use super::{Decoder, Fields, Place, keys};
use crate::model::condition::{SequenceLeaf, SequenceStep};

impl Decoder<'_> {
    pub(super) fn sequence(&mut self, fields: &Fields<'_>) -> Option<SequenceLeaf> {
        let steps = self.required(fields, "steps", keys::SEQUENCE).and_then(|place| self.list(&place));
        let steps = steps.map(|steps| steps.iter().map(|place| self.step(place)).collect::<Vec<_>>());
        let within = whole(fields.get("within").map(|place| self.short_duration(&place)));
        let same = fields.get("same").map_or(Some(Vec::new()), |place| {
            let paths: Vec<_> = self.list(&place)?.iter().map(|place| self.path(place)).collect();
            paths.into_iter().collect()
        });
        let window = fields.get("window").and_then(|place| self.window(&place)).unwrap_or_default();
        let steps = steps?.into_iter().collect::<Option<Vec<_>>>();
        Some(SequenceLeaf { steps: steps?, within: within?, same: same?, window })
    }

    fn step(&mut self, place: &Place<'_>) -> Option<SequenceStep> {
        let fields = self.object(place)?;
        self.known_keys(&fields, keys::SEQUENCE_STEP);
        let (event_type, filter) = self.selection(&fields);
        let absent = fields.get("absent").map_or(Some(false), |place| self.boolean(&place));
        Some(SequenceStep { event_type, filter, absent: absent? })
    }
}
