//! Makes a failing scenario small: fewer segments, fewer rows, fewer conditions, fewer values, as long as it fails.

use serde_json::{Map, Value as Json};

use crate::reference::MemoryTables;
use crate::reference::value::{Row, Value};
use crate::scenario::Scenario;
use crate::tables::Columns;

/// Attempts at most: each evaluates a scenario.
const ATTEMPTS: usize = 600;

/// The smallest scenario that was found for which `fails` still holds.
pub(crate) fn minimize(scenario: Scenario, fails: &dyn Fn(&Scenario) -> bool) -> Scenario {
    let mut search = Search { best: scenario, fails, left: ATTEMPTS };
    loop {
        let before = search.left;
        let mut progress = search.segments();
        progress |= search.rows(|tables| &mut tables.events);
        progress |= search.rows(|tables| &mut tables.users);
        progress |= search.rows(|tables| &mut tables.products);
        progress |= search.conditions();
        progress |= search.values(|tables| &mut tables.events);
        progress |= search.values(|tables| &mut tables.users);
        progress |= search.values(|tables| &mut tables.products);
        progress |= search.columns();
        if !progress || search.left == 0 || search.left == before {
            return search.best;
        }
    }
}

type Rows = fn(&mut MemoryTables) -> &mut Vec<Row>;

type ColumnsOf = fn(&mut Scenario) -> Option<&mut Columns>;

struct Search<'a> {
    best: Scenario,
    fails: &'a dyn Fn(&Scenario) -> bool,
    left: usize,
}

impl Search<'_> {
    /// Keeps a smaller scenario when it fails too.
    fn attempt(&mut self, smaller: Scenario) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.best = smaller;
        }
        fails
    }

    fn segments(&mut self) -> bool {
        let mut progress = false;
        for at in (0..self.best.segments.len()).rev() {
            let mut smaller = self.best.clone();
            smaller.segments.remove(at);
            progress |= self.attempt(smaller);
        }
        progress
    }

    /// Drops rows in halves, quarters and so on.
    fn rows(&mut self, rows: Rows) -> bool {
        let mut progress = false;
        let mut size = rows(&mut self.best.tables).len();
        while size > 0 {
            let mut start = 0;
            while start < rows(&mut self.best.tables).len() {
                let mut smaller = self.best.clone();
                let all = rows(&mut smaller.tables);
                let end = (start + size).min(all.len());
                all.drain(start..end);
                if self.attempt(smaller) {
                    progress = true;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
        progress
    }

    /// Empties columns, then single values.
    fn values(&mut self, rows: Rows) -> bool {
        let mut progress = false;
        let names: Vec<String> = rows(&mut self.best.tables).first().map(|row| row.keys().cloned().collect()).unwrap_or_default();
        for name in names {
            let held = rows(&mut self.best.tables).iter().any(|row| row.get(&name).is_some_and(|value| *value != Value::Null));
            if !held {
                continue;
            }
            let mut smaller = self.best.clone();
            for row in rows(&mut smaller.tables) {
                row.insert(name.clone(), Value::Null);
            }
            if self.attempt(smaller) {
                progress = true;
                continue;
            }
            for at in 0..rows(&mut self.best.tables).len() {
                let mut smaller = self.best.clone();
                if rows(&mut smaller.tables)[at].insert(name.clone(), Value::Null) != Some(Value::Null) {
                    progress |= self.attempt(smaller);
                }
            }
        }
        progress
    }

    /// Drops columns that no definition and no role needs.
    fn columns(&mut self) -> bool {
        let mut progress = false;
        let tables: [(Rows, ColumnsOf); 3] = [
            (|tables| &mut tables.users, |scenario| scenario.catalog.users.as_mut().map(|users| &mut users.table.columns)),
            (
                |tables| &mut tables.products,
                |scenario| scenario.catalog.products.as_mut().map(|products| &mut products.table.columns),
            ),
            (|tables| &mut tables.events, |scenario| scenario.catalog.events.as_mut().map(|events| &mut events.table.columns)),
        ];
        for (rows, columns) in tables {
            let names: Vec<String> = columns(&mut self.best).map(|columns| columns.keys().cloned().collect()).unwrap_or_default();
            for name in names {
                let mut smaller = self.best.clone();
                if let Some(columns) = columns(&mut smaller) {
                    columns.shift_remove(&name);
                }
                for row in rows(&mut smaller.tables) {
                    row.remove(&name);
                }
                progress |= self.attempt(smaller);
            }
        }
        progress
    }

    fn conditions(&mut self) -> bool {
        let mut progress = false;
        for at in 0..self.best.segments.len() {
            'again: loop {
                for definition in smaller_forms(&self.best.segments[at]) {
                    let mut smaller = self.best.clone();
                    smaller.segments[at] = definition;
                    if self.attempt(smaller) {
                        progress = true;
                        continue 'again;
                    }
                }
                break;
            }
        }
        progress
    }
}

/// Every form of a value with one thing less, or one node in the place of the node around it.
fn smaller_forms(json: &Json) -> Vec<Json> {
    match json {
        Json::Object(members) => {
            let mut found = Vec::new();
            for child in ["not", "conditions", "of", "condition"].iter().filter_map(|key| members.get(*key)) {
                let is_definition = members.contains_key("id");
                match child {
                    Json::Array(nodes) if !is_definition => found.extend(nodes.iter().cloned()),
                    Json::Array(_) => {}
                    node => found.push(node.clone()),
                }
            }
            for optional in ["window", "event_type", "where", "ignore_case", "description"] {
                if members.contains_key(optional) {
                    let mut less = members.clone();
                    less.shift_remove(optional);
                    found.push(Json::Object(less));
                }
            }
            for (key, value) in members {
                let with = |value: Json| {
                    let mut changed: Map<String, Json> = members.clone();
                    changed.insert(key.clone(), value);
                    Json::Object(changed)
                };
                found.extend(smaller_forms(value).into_iter().map(with));
            }
            found
        }
        Json::Array(elements) => {
            let mut found = Vec::new();
            for at in 0..elements.len() {
                if elements.len() > 1 {
                    let mut fewer = elements.clone();
                    fewer.remove(at);
                    found.push(Json::Array(fewer));
                }
                for smaller in smaller_forms(&elements[at]) {
                    let mut changed = elements.clone();
                    changed[at] = smaller;
                    found.push(Json::Array(changed));
                }
            }
            found
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    }
}
