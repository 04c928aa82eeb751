//! [`parts`]: the events of a table apart by their types, so that an event is read once for all measures that count it, and by no measure
//! that does not.

use std::collections::BTreeSet;

use indexmap::{IndexMap, IndexSet};

use super::sql::{Expr, formula};
use crate::model::condition::EventTypePattern;

/// The events of these types; `None` = of any.
pub(super) type Types<'a> = Option<&'a [EventTypePattern]>;

/// Events that belong to the same sets of types. No event is in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    slices: Vec<Slice<'a>>,
    /// The sets that have events of the part, by their place.
    pub(super) sets: BTreeSet<usize>,
    /// Those that have all of them.
    pub(super) whole: BTreeSet<usize>,
}

/// Events of a pattern, or of any, that are of none of some others.
#[derive(Debug, PartialEq, Eq)]
struct Slice<'a> {
    of: Option<&'a EventTypePattern>,
    but: Vec<&'a EventTypePattern>,
}

/// The parts of all events that some sets have, at most so many.
///
/// Of two patterns one lies in the other or they share nothing. So each event has one narrowest pattern, and the sets that have the event
/// are those that have the pattern.
pub(super) fn parts<'a>(sets: &[Types<'a>], most: usize) -> Vec<Part<'a>> {
    let mut patterns: IndexSet<Option<&EventTypePattern>> = IndexSet::new();
    for set in sets {
        match set {
            Some(of) => patterns.extend(of.iter().map(Some)),
            None => {
                patterns.insert(None);
            }
        }
    }
    let holders = |pattern: Option<&EventTypePattern>| -> BTreeSet<usize> {
        let holds = |set: &Types<'_>| set.is_none_or(|of| of.iter().any(|wider| pattern.is_some_and(|own| lies_in(own, wider))));
        sets.iter().enumerate().filter(|(_, set)| holds(set)).map(|(place, _)| place).collect()
    };
    let held: Vec<BTreeSet<usize>> = patterns.iter().map(|pattern| holders(*pattern)).collect();
    let mut by_holders: IndexMap<&BTreeSet<usize>, Vec<Slice<'_>>> = IndexMap::new();
    for (pattern, own) in patterns.iter().zip(&held) {
        let is_inside = |other: &EventTypePattern| pattern.is_none_or(|wider| lies_in(other, wider));
        let others = patterns.iter().zip(&held).filter(|(_, held)| *held != own);
        let but = others.filter_map(|(other, _)| other.filter(|other| is_inside(other))).collect();
        by_holders.entry(own).or_default().push(Slice { of: *pattern, but });
    }
    by_holders.sort_unstable_keys();
    let found: Vec<(&BTreeSet<usize>, Vec<Slice<'_>>)> = by_holders.into_iter().collect();
    let size = found.len().div_ceil(most.max(1)).max(1);
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (number, (own, slices)) in found.into_iter().enumerate() {
        match parts.last_mut().filter(|_| number % size > 0) {
            Some(part) => {
                part.slices.extend(slices);
                part.sets.extend(own);
                part.whole = &part.whole & own;
            }
            None => parts.push(Part { slices, sets: own.clone(), whole: own.clone() }),
        }
    }
    // Who counts events of no type at all counts none.
    let empty = sets.iter().enumerate().filter(|(_, set)| set.is_some_and(<[_]>::is_empty)).map(|(place, _)| place);
    let empty: BTreeSet<usize> = empty.collect();
    if !empty.is_empty() {
        parts.push(Part { slices: Vec::new(), sets: empty.clone(), whole: empty });
    }
    parts
}

impl Part<'_> {
    /// Whether an event of a type is in the part, as a filter: NULL is no. Without a column of types no event has one.
    pub(super) fn filter(&self, event_type: Option<&Expr>) -> Expr {
        let (plain, cut): (Vec<_>, Vec<_>) = self.slices.iter().partition(|slice| slice.of.is_some() && slice.but.is_empty());
        let cut = cut.into_iter().map(|slice| {
            let others = is_of(event_type, slice.but.iter().copied());
            match (slice.of, event_type) {
                (Some(of), _) => formula!("({0} AND NOT {1})", is_of(event_type, [of]), others),
                (None, Some(event_type)) if !slice.but.is_empty() => formula!("(isNull({0}) OR NOT {1})", event_type, others),
                (None, _) => Expr::all([]),
            }
        });
        let plain: Vec<_> = plain.into_iter().filter_map(|slice| slice.of).collect();
        let plain = (!plain.is_empty()).then(|| is_of(event_type, plain));
        Expr::any(plain.into_iter().chain(cut))
    }
}

/// Whether a type is one of these, in a form that the order of a table is looked up by.
pub(super) fn is_of<'a>(event_type: Option<&Expr>, patterns: impl IntoIterator<Item = &'a EventTypePattern>) -> Expr {
    let Some(event_type) = event_type else { return Expr::any([]) };
    let (mut exact, mut tests) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match pattern {
            EventTypePattern::Exact(name) => exact.push(name.as_str()),
            EventTypePattern::Prefix(start) => tests.push(formula!("startsWith({0}, {1})", event_type, Expr::text(start))),
        }
    }
    match exact.as_slice() {
        [] => {}
        [name] => tests.insert(0, formula!("{0} = {1}", event_type, Expr::text(name))),
        names => tests.insert(0, formula!("{0} IN {1}", event_type, Expr::texts(names.iter().copied()))),
    }
    match tests.len() {
        1 => formula!("({0})", tests.remove(0)),
        _ => Expr::any(tests),
    }
}

/// Whether every event of a pattern is of another.
fn lies_in(pattern: &EventTypePattern, wider: &EventTypePattern) -> bool {
    match (pattern, wider) {
        (EventTypePattern::Exact(own), EventTypePattern::Exact(name)) => own == name,
        (EventTypePattern::Exact(own) | EventTypePattern::Prefix(own), EventTypePattern::Prefix(start)) => own.starts_with(start),
        (EventTypePattern::Prefix(_), EventTypePattern::Exact(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(written: &str) -> Vec<EventTypePattern> {
        let pattern = |word: &str| match word.strip_suffix('*') {
            Some(start) => EventTypePattern::Prefix(start.to_owned()),
            None => EventTypePattern::Exact(word.to_owned()),
        };
        written.split_whitespace().map(pattern).collect()
    }

    fn has(of: &[EventTypePattern], event_type: &str) -> bool {
        of.iter().any(|pattern| lies_in(&EventTypePattern::Exact(event_type.to_owned()), pattern))
    }

    impl Part<'_> {
        fn has(&self, event_type: &str) -> bool {
            let is_of = |pattern: &EventTypePattern| has(std::slice::from_ref(pattern), event_type);
            self.slices.iter().any(|slice| slice.of.is_none_or(is_of) && !slice.but.iter().any(|pattern| is_of(pattern)))
        }
    }

    /// Each event is in one part, and that tells which sets have it.
    #[test]
    fn parts_divide_the_events_of_all_sets() {
        let written = [Some("a b"), Some("b* c"), None, Some("ba* d"), Some("bad"), Some("a b"), Some(""), Some("d e")];
        let owned: Vec<Option<Vec<EventTypePattern>>> = written.iter().map(|set| set.map(patterns)).collect();
        for count in 0..=owned.len() {
            for most in [1, 2, 3, 100] {
                let sets: Vec<Types<'_>> = owned[..count].iter().map(Option::as_deref).collect();
                let parts = parts(&sets, most);
                assert!(parts.len() <= most + 1, "{parts:?}");
                for event_type in ["", "a", "b", "ba", "bad", "badly", "bus", "c", "d", "e", "f"] {
                    let holders: BTreeSet<usize> =
                        (0..count).filter(|set| sets[*set].is_none_or(|of| has(of, event_type))).collect();
                    let found: Vec<&Part<'_>> = parts.iter().filter(|part| part.has(event_type)).collect();
                    assert_eq!(found.len(), usize::from(!holders.is_empty()), "{event_type} {sets:?}");
                    for part in found {
                        assert!(holders.is_subset(&part.sets) && part.whole.is_subset(&holders), "{event_type} {part:?}");
                        assert!(most < 100 || part.whole == part.sets, "{part:?}");
                    }
                }
                for (place, set) in sets.iter().enumerate() {
                    let is_covered = parts.iter().any(|part| part.sets.contains(&place));
                    assert!(is_covered, "{set:?}");
                }
            }
        }
    }
}
