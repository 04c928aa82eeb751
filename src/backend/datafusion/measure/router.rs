//! Which measures an event meets, by its type.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, StringViewArray};
use indexmap::IndexMap;

use super::numbering::hash_of_view;
use crate::model::condition::EventTypePattern;

/// Event types by the set of measures that look at them: each event meets one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Router {
    exact: HashMap<String, usize>,
    /// Longest first.
    prefixes: Vec<(String, usize)>,
    /// Of every other type.
    other: usize,
    /// The measures of each route, ascending.
    routes: Vec<Vec<usize>>,
}

impl Router {
    /// The routes of measures with these event types; `None` = any.
    pub(super) fn of(measures: &[Option<Vec<EventTypePattern>>]) -> Self {
        let patterns = || measures.iter().flatten().flatten();
        let mut routes: IndexMap<Vec<usize>, ()> = IndexMap::new();
        let mut route = |matches: &dyn Fn(&EventTypePattern) -> bool| {
            let meets = |types: &Option<Vec<EventTypePattern>>| types.as_ref().is_none_or(|types| types.iter().any(matches));
            let set = measures.iter().enumerate().filter(|(_, types)| meets(types)).map(|(measure, _)| measure).collect();
            routes.insert_full(set, ()).0
        };
        let begins = |name: &str, pattern: &EventTypePattern| matches!(pattern, EventTypePattern::Prefix(start) if name.starts_with(start.as_str()));
        let mut exact = HashMap::new();
        let mut prefixes = Vec::new();
        for pattern in patterns() {
            match pattern {
                EventTypePattern::Exact(name) => {
                    let is = |other: &EventTypePattern| {
                        matches!(other, EventTypePattern::Exact(other) if other == name) || begins(name, other)
                    };
                    exact.insert(name.clone(), route(&is));
                }
                // The longest prefix of a name says which others it has.
                EventTypePattern::Prefix(start) => prefixes.push((start.clone(), route(&|other| begins(start, other)))),
            }
        }
        prefixes.sort_unstable_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        prefixes.dedup();
        let other = route(&|_| false);
        Self { exact, prefixes, other, routes: routes.into_keys().collect() }
    }

    /// The measures of each route.
    pub(super) fn routes(&self) -> &[Vec<usize>] {
        &self.routes
    }

    /// The route of events of a type, `None` for those without one.
    pub(super) fn route(&self, event_type: Option<&str>) -> usize {
        let Some(name) = event_type else { return self.other };
        let exact = self.exact.get(name).copied();
        let prefix = || self.prefixes.iter().find(|(start, _)| name.starts_with(start.as_str())).map(|(_, route)| *route);
        exact.or_else(prefix).unwrap_or(self.other)
    }

    /// The route of every event of a batch.
    pub(super) fn of_batch(&self, types: Option<&StringViewArray>) -> Vec<u16> {
        // INVARIANT: there are no more routes than measures, which `Program` bounds.
        let number = |route: usize| u16::try_from(route).unwrap_or(u16::MAX);
        let Some(types) = types else { return Vec::new() };
        // Equal views of one batch are equal texts; few types make up most events.
        let mut seen = [(0u128, u16::MAX); 256];
        let routes = types.views().iter().enumerate().map(|(row, view)| {
            if types.is_null(row) {
                return number(self.other);
            }
            let Some(place) = seen.get_mut((hash_of_view(*view) >> 56) as usize) else { return number(self.other) };
            if place.1 == u16::MAX || place.0 != *view {
                *place = (*view, number(self.route(Some(types.value(row)))));
            }
            place.1
        });
        routes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Option<Vec<EventTypePattern>> {
        let pattern = |text: &&str| match text.strip_suffix('*') {
            Some(start) => EventTypePattern::Prefix(start.to_owned()),
            None => EventTypePattern::Exact((*text).to_owned()),
        };
        Some(texts.iter().map(pattern).collect())
    }

    #[test]
    fn an_event_meets_the_measures_of_its_type() {
        let measures =
            [None, patterns(&["a"]), patterns(&["a", "b"]), patterns(&["ab*"]), patterns(&["abc*", "x"]), patterns(&["abc"])];
        let router = Router::of(&measures);
        let met = |name: Option<&str>| router.routes()[router.route(name)].clone();
        assert_eq!(met(None), [0]);
        assert_eq!(met(Some("")), [0]);
        assert_eq!(met(Some("a")), [0, 1, 2]);
        assert_eq!(met(Some("b")), [0, 2]);
        assert_eq!(met(Some("abz")), [0, 3]);
        assert_eq!(met(Some("abc")), [0, 3, 4, 5]);
        assert_eq!(met(Some("abcd")), [0, 3, 4]);
        assert_eq!(met(Some("x")), [0, 4]);
        let types = StringViewArray::from(vec![Some("a"), None, Some("abcdefghijklmnop"), Some("a"), Some("q")]);
        let expected: Vec<u16> =
            [Some("a"), None, Some("abcd"), Some("a"), Some("q")].map(|name| u16::try_from(router.route(name)).unwrap()).to_vec();
        assert_eq!(router.of_batch(Some(&types)), expected);
    }
}
