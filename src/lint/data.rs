//! What the data has never seen: types of events, values of properties, and days before the first event.

use jiff::Timestamp;

use super::Found;
use super::facts::{DataFacts, EventFacts, PropertyFacts, TableFacts};
use super::uses::{EventUse, event_properties, event_uses, subject_properties};
use crate::check::CheckedSegment;
use crate::diagnostic::{Code, Finding, nearest};
use crate::model::calendar::Calendar;
use crate::model::catalog::{Access, ColumnType};
use crate::model::condition::{EventTypePattern, Subject};
use crate::model::path::DocPath;
use crate::model::property::PropertyPath;
use crate::model::window::Window;

/// How many event types a help text lists.
const LISTED: usize = 8;

/// Adds what a definition looks for and the data has nothing of.
pub(super) fn lint(segment: &CheckedSegment, calendar: &Calendar, facts: &DataFacts, found: &mut Found<'_>) {
    let (subjects, noun) = match segment.subject() {
        Subject::User => (&facts.users, "users"),
        Subject::Product => (&facts.products, "products"),
    };
    if let Some(table) = subjects {
        for (path, access) in subject_properties(segment) {
            unseen_property(&path, access, table, noun, found);
        }
    }
    let Some(events) = &facts.events else { return };
    for used in event_uses(segment) {
        unseen_types(&used, events, found);
        for (path, access) in event_properties(&used) {
            unseen_property(&path, access, &events.table, "events", found);
        }
        if let Some((first, _)) = events.times {
            for (path, window) in &used.windows {
                long_window(path, window, first, calendar, found);
            }
        }
    }
}

fn unseen_types(used: &EventUse<'_>, events: &EventFacts, found: &mut Found<'_>) {
    if events.more_event_types {
        return;
    }
    let known = || events.event_types.iter().map(String::as_str);
    for (index, pattern) in used.event_type.unwrap_or_default().iter().enumerate() {
        let (is_seen, message, near) = match pattern {
            EventTypePattern::Exact(name) => {
                let message = format!("no event of the data has the type `{name}`");
                (known().any(|known| known == name), message, nearest(name, known()))
            }
            EventTypePattern::Prefix(prefix) => {
                let message = format!("no event of the data has a type that begins with `{prefix}`");
                (known().any(|known| known.starts_with(prefix.as_str())), message, None)
            }
        };
        if is_seen {
            continue;
        }
        let finding = Finding::new(Code::UnseenEventType, message);
        let finding = match near {
            Some(near) => finding.with_help(format!("Did you mean `{near}`?")),
            None if events.event_types.is_empty() => finding.with_help("No event has a type at all."),
            None => {
                let listed: Vec<String> = known().take(LISTED).map(|name| format!("`{name}`")).collect();
                finding.with_help(format!("The most frequent types are {}.", listed.join(", ")))
            }
        };
        found.add(&used.path.key("event_type").index(index), finding);
    }
}

fn unseen_property(path: &DocPath, access: &Access, table: &TableFacts, noun: &str, found: &mut Found<'_>) {
    let Some(looked_at) = unseen_in(access, table) else { return };
    let message = if looked_at == table.rows {
        format!("none of the {} {noun} has a value at `{access}`", table.rows)
    } else {
        format!("none of the {looked_at} {noun} that were looked at has a value at `{access}`")
    };
    let finding = Finding::new(Code::UnseenProperty, message);
    let written: Vec<String> = table.properties.iter().filter(|known| known.present > 0).filter_map(written).collect();
    let finding = match nearest(&access.to_string(), written.iter().map(String::as_str)) {
        Some(near) => finding.with_help(format!("Did you mean `{near}`?")),
        None if looked_at == table.rows => finding.with_help(format!("`segmenta describe {noun}` shows what there is.")),
        None => finding.with_help(format!(
            "There are {} rows: others may have one. `segmenta describe {noun}` shows what was seen.",
            table.rows
        )),
    };
    found.add(path, finding);
}

/// In how many rows a value was looked for in vain; `None` when there is one, or when that cannot be told.
fn unseen_in(access: &Access, table: &TableFacts) -> Option<u64> {
    let keys: Vec<&String> = std::iter::once(&access.column).chain(&access.fields).chain(access.json.iter().flatten()).collect();
    let begins = |keys: &[&String], with: &[String]| keys.len() >= with.len() && keys.iter().zip(with).all(|(a, b)| *a == b);
    let is_here = |known: &&PropertyFacts| known.keys.len() == keys.len() && begins(&keys, &known.keys);
    let is_below = |known: &&PropertyFacts| known.keys.len() > keys.len() && keys.iter().zip(&known.keys).all(|(a, b)| **a == *b);
    let is_above = |known: &&PropertyFacts| known.keys.len() < keys.len() && begins(&keys, &known.keys);
    if table.properties.iter().filter(is_below).any(|known| known.present > 0) {
        return None;
    }
    if let Some(here) = table.properties.iter().find(is_here) {
        return (here.present == 0 && here.looked_at > 0).then_some(here.looked_at);
    }
    // What stands below something that was found itself was not looked for: only the column was opened.
    let mut above = table.properties.iter().filter(is_above);
    let (column, between) = (above.next()?, above.next());
    let reaches = access.stored == ColumnType::Json || access.json.is_none();
    let is_certain = column.opened && reaches && between.is_none() && !table.crowded.contains(&access.column);
    (is_certain && table.sampled_rows > 0).then_some(table.sampled_rows)
}

fn written(known: &PropertyFacts) -> Option<String> {
    PropertyPath::from_keys(known.keys.clone()).map(|path| path.to_string())
}

fn long_window(path: &DocPath, window: &Window, first: Timestamp, calendar: &Calendar, found: &mut Found<'_>) {
    let interval = calendar.window(window);
    let day = calendar.date_of(first);
    // Only days count: events seldom begin at midnight.
    let begins_before = interval.from.filter(|from| *from < calendar.start_of(day));
    let message = match (interval.to, begins_before) {
        (Some(to), _) if to <= first => "the window ends before the first event".to_owned(),
        (_, Some(from)) => format!("the window begins on {}, before the first event", calendar.date_of(from)),
        (_, None) => return,
    };
    let finding = Finding::new(Code::LongWindow, message).with_help(format!("The events of the data begin on {day}."));
    found.add(path, finding);
}
