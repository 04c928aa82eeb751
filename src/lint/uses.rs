//! What a definition reads: which events in which windows, and which properties. The one place that knows every leaf.

use crate::check::{
    CheckedAttribute, CheckedCondition, CheckedEvents, CheckedLeaf, CheckedMeasure, CheckedProperty, CheckedQuantity, CheckedRow,
    CheckedRule, CheckedSegment, CheckedSequence,
};
use crate::model::catalog::Access;
use crate::model::condition::{EventTypePattern, LifecyclePattern};
use crate::model::path::DocPath;
use crate::model::window::Window;

/// Events that a definition looks at.
pub(super) struct EventUse<'a> {
    /// The object with `event_type` and `where`.
    pub(super) path: DocPath,
    pub(super) event_type: Option<&'a [EventTypePattern]>,
    pub(super) filter: &'a [CheckedRow],
    /// When, each with its place.
    pub(super) windows: Vec<(DocPath, Window)>,
    /// Properties that are looked at beside `where`, with their places.
    pub(super) properties: Vec<(DocPath, &'a Access)>,
}

/// Every set of events that a definition looks at.
pub(super) fn event_uses(segment: &CheckedSegment) -> Vec<EventUse<'_>> {
    let mut uses = Vec::new();
    for_each_leaf(segment, &mut |leaf, path| match leaf {
        CheckedLeaf::Events(CheckedEvents { event_type, filter, window, measure, .. }) => {
            uses.push(measured(path, event_type.as_deref(), filter, window, measure));
        }
        CheckedLeaf::Lifecycle(lifecycle) => uses.push(EventUse {
            path: path.clone(),
            event_type: lifecycle.event_type.as_deref(),
            filter: &lifecycle.filter,
            windows: pattern_windows(&lifecycle.pattern, &path.key("pattern")),
            properties: Vec::new(),
        }),
        CheckedLeaf::Sequence(sequence) => uses.extend(steps(sequence, path)),
        CheckedLeaf::Signal(signal) => uses.push(EventUse {
            path: path.clone(),
            event_type: Some(&signal.event_type),
            filter: &[],
            windows: vec![(path.key("window"), signal.window.clone())],
            properties: vec![(path.key("product_id_property"), &signal.product)],
        }),
        CheckedLeaf::Top(_) | CheckedLeaf::Compare(_) => {
            for (place, quantity) in quantities(leaf, path) {
                if let CheckedQuantity::Events { event_type, filter, window, measure } = quantity {
                    uses.push(measured(&place, event_type.as_deref(), filter, window, measure));
                }
            }
        }
        CheckedLeaf::Everyone
        | CheckedLeaf::Nobody
        | CheckedLeaf::Attribute(_)
        | CheckedLeaf::Sample(_)
        | CheckedLeaf::Segment { .. } => {}
    });
    uses
}

/// Every property of the subject that a definition looks at, with its place.
pub(super) fn subject_properties(segment: &CheckedSegment) -> Vec<(DocPath, &Access)> {
    let mut found = Vec::new();
    for_each_leaf(segment, &mut |leaf, path| {
        if let CheckedLeaf::Attribute(CheckedAttribute { property, .. }) = leaf {
            found.extend(accesses(property, &path.key("property")));
        }
        for (place, quantity) in quantities(leaf, path) {
            if let CheckedQuantity::Property(property) = quantity {
                found.extend(accesses(property, &place.key("property")));
            }
        }
    });
    found
}

/// The numbers per subject that a leaf ranks or compares, with their places.
fn quantities<'a>(leaf: &'a CheckedLeaf, path: &DocPath) -> Vec<(DocPath, &'a CheckedQuantity)> {
    match leaf {
        CheckedLeaf::Top(top) => vec![(path.key("by"), &top.by)],
        CheckedLeaf::Compare(compare) => vec![(path.key("left"), &compare.left), (path.key("right"), &compare.right)],
        CheckedLeaf::Everyone
        | CheckedLeaf::Nobody
        | CheckedLeaf::Attribute(_)
        | CheckedLeaf::Events(_)
        | CheckedLeaf::Lifecycle(_)
        | CheckedLeaf::Sequence(_)
        | CheckedLeaf::Signal(_)
        | CheckedLeaf::Sample(_)
        | CheckedLeaf::Segment { .. } => Vec::new(),
    }
}

/// The steps of a sequence; its window and the properties that are to be the same are told of the first.
fn steps<'a>(sequence: &'a CheckedSequence, path: &DocPath) -> Vec<EventUse<'a>> {
    let steps = sequence.steps.iter().chain(&sequence.absent).enumerate();
    let mut uses: Vec<EventUse<'a>> = steps
        .map(|(index, step)| EventUse {
            path: path.key("steps").index(index),
            event_type: step.event_type.as_deref(),
            filter: &step.filter,
            windows: Vec::new(),
            properties: Vec::new(),
        })
        .collect();
    if let Some(first) = uses.first_mut() {
        first.windows.push((path.key("window"), sequence.window.clone()));
        let same = path.key("same");
        first.properties = sequence.same.iter().enumerate().map(|(index, access)| (same.index(index), access)).collect();
    }
    uses
}

/// Every property of events that is looked at, with its place.
pub(super) fn event_properties<'a>(events: &EventUse<'a>) -> Vec<(DocPath, &'a Access)> {
    let mut found = events.properties.clone();
    collect_rows(events.filter, &events.path.key("where"), &mut found);
    found
}

fn for_each_leaf<'a>(segment: &'a CheckedSegment, visit: &mut impl FnMut(&'a CheckedLeaf, &'a DocPath)) {
    match segment.rule() {
        CheckedRule::Static => {}
        CheckedRule::Conditions(condition) => visit_leaves(condition, visit),
        CheckedRule::Scoring(scoring) => scoring.rules.iter().for_each(|rule| visit_leaves(&rule.condition, visit)),
    }
}

fn visit_leaves<'a>(condition: &'a CheckedCondition, visit: &mut impl FnMut(&'a CheckedLeaf, &'a DocPath)) {
    match condition {
        CheckedCondition::Group { conditions, .. } | CheckedCondition::AtLeast { of: conditions, .. } => {
            conditions.iter().for_each(|condition| visit_leaves(condition, visit));
        }
        CheckedCondition::Not { condition, .. } => visit_leaves(condition, visit),
        CheckedCondition::Leaf { path, leaf } => visit(leaf, path),
    }
}

fn measured<'a>(
    path: &DocPath,
    event_type: Option<&'a [EventTypePattern]>,
    filter: &'a [CheckedRow],
    window: &Window,
    measure: &'a CheckedMeasure,
) -> EventUse<'a> {
    let properties = match measure {
        CheckedMeasure::Rows(_) => Vec::new(),
        CheckedMeasure::Number(_, access) | CheckedMeasure::Value(_, access, _) => vec![(path.key("measure"), access)],
    };
    EventUse { path: path.clone(), event_type, filter, windows: vec![(path.key("window"), window.clone())], properties }
}

/// The windows that a pattern looks back over, the longest of them.
fn pattern_windows(pattern: &LifecyclePattern, place: &DocPath) -> Vec<(DocPath, Window)> {
    let place = place.key(pattern.keyword());
    let back = |key: &str, from| vec![(place.key(key), Window::Range { from: Some(from), to: None })];
    match pattern {
        LifecyclePattern::FirstTime(window) => vec![(place, window.clone())],
        LifecyclePattern::Stopped { active, .. } => back("active", active.ago(1)),
        LifecyclePattern::Restarted { quiet, .. } => back("quiet", quiet.ago(1)),
        LifecyclePattern::Regular { period, periods, .. } => back("periods", period.ago(*periods)),
    }
}

fn collect_rows<'a>(rows: &'a [CheckedRow], place: &DocPath, found: &mut Vec<(DocPath, &'a Access)>) {
    for (index, row) in rows.iter().enumerate() {
        collect_row(row, &place.index(index), found);
    }
}

fn collect_row<'a>(row: &'a CheckedRow, path: &DocPath, found: &mut Vec<(DocPath, &'a Access)>) {
    match row {
        CheckedRow::Group { conditions, .. } => collect_rows(conditions, &path.key("conditions"), found),
        CheckedRow::AtLeast { of, .. } => collect_rows(of, &path.key("of"), found),
        CheckedRow::Not(inner) => collect_row(inner, &path.key("not"), found),
        CheckedRow::Test(attribute) => found.extend(accesses(&attribute.property, &path.key("property"))),
    }
}

fn accesses<'a>(property: &'a CheckedProperty, place: &DocPath) -> Vec<(DocPath, &'a Access)> {
    match property {
        CheckedProperty::Stored(access) => vec![(place.clone(), access)],
        CheckedProperty::DaysSince(access) => vec![(place.key("days_since"), access)],
        CheckedProperty::DaysToAnniversary(access) => vec![(place.key("days_to_anniversary"), access)],
        CheckedProperty::Part(part, access) => vec![(place.key(part.keyword()), access)],
        CheckedProperty::Mean(accesses) => {
            let place = place.key("mean");
            accesses.iter().enumerate().map(|(index, access)| (place.index(index), access)).collect()
        }
    }
}
