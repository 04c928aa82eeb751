//! What the configuration says of foreign names: `[tenants.dialects.<name>]`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::super::date::{Months, parse_duration};
use super::super::decode::{Stars, event_type_pattern};
use crate::model::condition::{EventMeasure, EventTypePattern, Measure};
use crate::model::property::PropertyPath;
use crate::model::window::Window;

/// What foreign names stand for, by dialect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Of `tree`.
    pub tree: TreeSettings,
    /// Of `groups`.
    pub groups: GroupsSettings,
    /// Of `weighted`.
    pub weighted: WeightedSettings,
    /// Of `audience`.
    pub audience: AudienceSettings,
}

/// What the names of `tree` stand for. A feature that is not set is a column of its name, or has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreeSettings {
    /// `total_events`.
    pub total_events: Option<Feature>,
    /// `active_days`.
    pub active_days: Option<Feature>,
    /// `total_renders`.
    pub total_renders: Option<Feature>,
    /// `pricing_page_views`.
    pub pricing_page_views: Option<Feature>,
    /// Properties by foreign name: `email`, `country`, `subscription_status`, and those of `custom_property`.
    #[serde(deserialize_with = "fields")]
    pub fields: BTreeMap<String, PropertyPath>,
}

/// What the names of `groups` stand for. A field that is not set is the column of that name, or else of the name in snake case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupsSettings {
    /// Properties by foreign name.
    #[serde(deserialize_with = "fields")]
    pub fields: BTreeMap<String, PropertyPath>,
}

/// What the names of `weighted` stand for. A field that is not set is the column of that name, or else of the name in snake case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeightedSettings {
    /// Properties by foreign name, or by the beginning of one, such as `interests`; also `lastSeen`, `pricePreferences.minObserved` and
    /// `pricePreferences.maxObserved`, which some rules read.
    #[serde(deserialize_with = "fields")]
    pub fields: BTreeMap<String, PropertyPath>,
}

/// What the names of `audience` stand for. A field that is not set is the column of that name, with `_` for `-`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AudienceSettings {
    /// Properties by foreign name; also `created_at` and `last_active_at`, which some filters read, and `feature_usage.<field>`.
    #[serde(deserialize_with = "fields")]
    pub fields: BTreeMap<String, PropertyPath>,
}

/// A number of a person that a foreign name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenFeature")]
pub enum Feature {
    /// A property of the user.
    Property(PropertyPath),
    /// A measure over the user's events that no subject lacks: a count, or active units.
    Events(EventMeasure),
}

/// A feature as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFeature {
    property: Option<String>,
    event_type: Option<OneOrMany>,
    measure: Option<String>,
    last: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<WrittenFeature> for Feature {
    type Error = String;

    fn try_from(written: WrittenFeature) -> Result<Self, String> {
        let WrittenFeature { property, event_type, measure, last } = written;
        if let Some(property) = property {
            if event_type.is_some() || measure.is_some() || last.is_some() {
                return Err("a feature is a `property`, or a measure of events, not both".to_owned());
            }
            return property.parse().map(Self::Property).map_err(|error| format!("{error}"));
        }
        let event_type = event_type.map(patterns).transpose()?;
        let measures = [Measure::Count, Measure::ActiveDays, Measure::ActiveWeeks, Measure::ActiveMonths];
        let measure = match measure {
            None => Measure::Count,
            Some(word) => measures.into_iter().find(|measure| measure.keyword() == word).ok_or_else(|| {
                format!("`{word}` is no measure of a feature: use `count`, `active_days`, `active_weeks` or `active_months`")
            })?,
        };
        let window = match last {
            None => Window::All,
            Some(text) => Window::Last(parse_duration(&text, Months::Allowed).map_err(|invalid| invalid.message)?),
        };
        Ok(Self::Events(EventMeasure { event_type, filter: Vec::new(), measure, window }))
    }
}

fn patterns(written: OneOrMany) -> Result<Vec<EventTypePattern>, String> {
    let (names, stars) = match written {
        OneOrMany::One(name) => (vec![name], Stars::Plain),
        OneOrMany::Many(names) => (names, Stars::Escaped),
    };
    if names.is_empty() {
        return Err("`event_type` is an empty list".to_owned());
    }
    let read = |name: &String| event_type_pattern(name, stars).ok_or_else(|| format!("`{name}` is no type of events"));
    names.iter().map(read).collect()
}

fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, PropertyPath>, D::Error> {
    let written = BTreeMap::<String, String>::deserialize(deserializer)?;
    let parse = |(name, path): (String, String)| Ok((name, path.parse().map_err(|error| D::Error::custom(format!("{error}")))?));
    written.into_iter().map(parse).collect()
}

impl Feature {
    /// The number of events of these types; of all without types.
    pub(super) fn count(types: &[&str]) -> Self {
        Self::measure(types, Measure::Count)
    }

    /// A measure over all events of these types; over all events without types.
    pub(super) fn measure(types: &[&str], measure: Measure) -> Self {
        let exact = |name: &&str| EventTypePattern::Exact((*name).to_owned());
        let event_type = (!types.is_empty()).then(|| types.iter().map(exact).collect());
        Self::Events(EventMeasure { event_type, filter: Vec::new(), measure, window: Window::All })
    }
}
