//! [`Lets`]: expressions with names, so that what is needed several times is written and computed once.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;

use super::sql::{Expr, Query, Source, formula};

/// Named expressions over the columns of a table and over each other.
///
/// The server puts what a name stands for in each place of the same query that mentions it, so that names of names grow without bound.
/// Therefore they stand in queries one around the other: each mentions only what the query inside of it names.
#[derive(Debug, Clone, Default)]
pub(super) struct Lets {
    names: IndexMap<Expr, String>,
    bound: BTreeSet<String>,
    /// Names that mean something else: the columns of the table.
    taken: BTreeSet<String>,
}

impl Lets {
    pub(super) fn new(columns: impl IntoIterator<Item = String>) -> Self {
        Self { taken: columns.into_iter().collect(), ..Self::default() }
    }

    /// The name of an expression, which is made from a hint when it has none yet. What is short already stays what it is.
    pub(super) fn bind(&mut self, hint: String, expr: Expr) -> Expr {
        if matches!(expr, Expr::Column(_) | Expr::Bound(_)) {
            return expr;
        }
        if let Some(name) = self.names.get(&expr) {
            return Expr::column(name);
        }
        let is_free = |name: &String| !self.taken.contains(name);
        let numbered = (2..).map(|number: usize| format!("{hint} {number}"));
        let name = std::iter::once(hint.clone()).chain(numbered).find(is_free).unwrap_or(hint);
        self.taken.insert(name.clone());
        self.bound.insert(name.clone());
        self.names.insert(expr, name.clone());
        Expr::column(name)
    }

    /// The query over a source, with what it mentions of the expressions in queries between the two. What one place alone mentions
    /// stands there.
    pub(super) fn beneath(&self, mut query: Query, source: &Source) -> Query {
        let mut wanted: BTreeSet<String> = query.mentions();
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let mut kept: Vec<(&Expr, &str)> = Vec::new();
        // Those that are mentioned, the last first: each is mentioned by later ones alone.
        let mut reached: BTreeSet<&str> = wanted.iter().filter_map(|name| self.own(name)).collect();
        for (expr, name) in self.names.iter().rev() {
            if reached.contains(name.as_str()) {
                expr.for_each_mention(&mut |inner| {
                    if let Some(inner) = self.own(inner) {
                        *uses.entry(inner).or_default() += 1;
                        reached.insert(inner);
                    }
                });
                kept.push((expr, name));
            }
        }
        kept.reverse();
        let mut inlined: HashMap<&str, Expr> = HashMap::new();
        let mut depths: HashMap<&str, usize> = HashMap::new();
        let mut layers: Vec<Vec<(Expr, String)>> = Vec::new();
        for (expr, name) in kept {
            let expr = expr.with_columns(&|column| inlined.get(column).cloned());
            if !wanted.contains(name) && uses.get(name) == Some(&1) {
                inlined.insert(name, formula!("({0})", expr));
                continue;
            }
            let mut depth = 0;
            expr.for_each_column(&mut |inner| depth = depth.max(depths.get(inner).map_or(0, |inner| inner + 1)));
            depths.insert(name, depth);
            if layers.len() <= depth {
                layers.resize_with(depth + 1, Vec::new);
            }
            layers[depth].push((expr, name.to_owned()));
        }
        // From the outermost in: each selects what those around it mention.
        let mut selected: Vec<Vec<(Expr, String)>> = Vec::new();
        for layer in layers.into_iter().rev() {
            for (_, name) in &layer {
                wanted.remove(name);
            }
            let mut columns: Vec<(Expr, String)> = wanted.iter().map(|name| (Expr::column(name), name.clone())).collect();
            for (expr, _) in &layer {
                expr.for_each_column(&mut |inner| {
                    wanted.insert(inner.to_owned());
                });
            }
            columns.extend(layer);
            selected.push(columns);
        }
        let nested = |inner, columns| Source::Query(Box::new(Query::select(columns, inner)));
        query.from = Some(selected.into_iter().rev().fold(source.clone(), nested));
        query
    }

    fn own(&self, name: &str) -> Option<&str> {
        self.bound.get(name).map(String::as_str)
    }
}
