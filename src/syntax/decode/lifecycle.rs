//! Lifecycle leaves: events that follow a pattern over time.

use super::value::whole;
use super::{Decoder, Fields, Place, keys};
use crate::model::condition::{LifecycleLeaf, LifecyclePattern};
use crate::model::window::Duration;

/// The patterns, by their keys.
const PATTERNS: [&str; 4] = ["first_time", "stopped", "restarted", "regular"];

impl Decoder<'_> {
    pub(super) fn lifecycle(&mut self, fields: &Fields<'_>) -> Option<LifecycleLeaf> {
        let (event_type, filter) = self.selection(fields);
        let pattern = self.required(fields, "pattern", keys::LIFECYCLE).and_then(|place| self.pattern(&place));
        Some(LifecycleLeaf { event_type, filter, pattern: pattern? })
    }

    fn pattern(&mut self, place: &Place<'_>) -> Option<LifecyclePattern> {
        let (key, place) = self.single_member(place, &PATTERNS)?;
        match key {
            "first_time" => self.window(&place).map(LifecyclePattern::FirstTime),
            "stopped" => {
                let fields = self.pattern_fields(&place, keys::STOPPED)?;
                let active = self.length(&fields, "active", keys::STOPPED);
                let quiet = self.length(&fields, "quiet", keys::STOPPED);
                Some(LifecyclePattern::Stopped { active: active?, quiet: quiet? })
            }
            "restarted" => {
                let fields = self.pattern_fields(&place, keys::RESTARTED)?;
                let quiet = self.length(&fields, "quiet", keys::RESTARTED);
                let recent = self.length(&fields, "recent", keys::RESTARTED);
                Some(LifecyclePattern::Restarted { quiet: quiet?, recent: recent? })
            }
            _ => {
                let fields = self.pattern_fields(&place, keys::REGULAR)?;
                let period = self.length(&fields, "period", keys::REGULAR);
                let periods = self.required(&fields, "periods", keys::REGULAR).and_then(|place| self.count(&place));
                let at_least = self.required(&fields, "at_least", keys::REGULAR).and_then(|place| self.count(&place));
                let count = whole(fields.get("count").map(|place| self.count(&place)));
                Some(LifecyclePattern::Regular { period: period?, periods: periods?, at_least: at_least?, count: count? })
            }
        }
    }

    fn pattern_fields<'n>(&mut self, place: &Place<'n>, known: &'static [&'static str]) -> Option<Fields<'n>> {
        let fields = self.object(place)?;
        self.known_keys(&fields, known);
        Some(fields)
    }

    fn length(&mut self, fields: &Fields<'_>, key: &'static str, known: &'static [&'static str]) -> Option<Duration> {
        self.required(fields, key, known).and_then(|place| self.duration(&place))
    }
}
