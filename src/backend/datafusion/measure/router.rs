//! Which measures an event meets, by its type.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, StringViewArray};
use indexmap::IndexMap;

use super::numbering::halves;
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

    /// A look at the events of one batch.
    pub(super) fn of_batch<'a>(&'a self, types: Option<&'a StringViewArray>) -> BatchRoutes<'a> {
        BatchRoutes { router: self, types, other: number(self.other), seen: [(0, UNSEEN); 256] }
    }
}

/// The routes of the events of a batch. Equal views of one batch are equal texts, and few types make up most events.
pub(super) struct BatchRoutes<'a> {
    router: &'a Router,
    types: Option<&'a StringViewArray>,
    other: u16,
    seen: [(u128, u16); 256],
}

/// No route.
const UNSEEN: u16 = u16::MAX;

impl BatchRoutes<'_> {
    /// The route of the event in a row.
    pub(super) fn route(&mut self, row: usize) -> u16 {
        let Some((types, view)) = self.types.and_then(|types| Some((types, *types.views().get(row)?))) else { return self.other };
        if types.is_null(row) {
            return self.other;
        }
        let (high, low) = halves(view);
        let Some(place) = self.seen.get_mut(((high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize) else {
            return self.other;
        };
        if place.1 == UNSEEN || place.0 != view {
            *place = (view, number(self.router.route(Some(types.value(row)))));
        }
        place.1
    }
}

fn number(route: usize) -> u16 {
    // INVARIANT: there are no more routes than measures, which `Program` bounds.
    u16::try_from(route).unwrap_or(UNSEEN)
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
        let mut routes = router.of_batch(Some(&types));
        assert_eq!((0..types.len()).map(|row| routes.route(row)).collect::<Vec<_>>(), expected);
        assert_eq!(usize::from(router.of_batch(None).route(3)), router.route(None));
    }
}
