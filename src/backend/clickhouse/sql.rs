//! SQL of ClickHouse as a tree, and its printing. Whatever an author wrote is a parameter that the server binds: no text of theirs is part
//! of the SQL. Names of tables and columns come from the configuration and the server, and are quoted. What is neither is text of ours.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use uuid::Uuid;

use crate::backend::tables::ServerTable;
use crate::clickhouse::{Bound, FIELD, Statement, Value, pieces, quoted};
use crate::model::id::TenantId;

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Expr {
    /// A value that the server binds.
    Bound(Bound),
    /// A column, or what the same query gave a name before.
    Column(String),
    /// Text of ours, with `{0}`, `{1}`, ... for the operands. It is printed in parentheses where it is an operand itself.
    Formula(&'static str, Vec<Self>),
    /// A function of ours over any number of operands.
    Call(&'static str, Vec<Self>),
    /// An operator between operands, in parentheses; of none, what it starts from.
    Infix(Infix, Vec<Self>),
    /// Expressions between commas.
    List(Vec<Self>),
    /// The rows of a query: what stands on the right of `IN`, or the value of a query of one row and column.
    Rows(Box<Query>),
}

/// An operator that joins any number of operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Infix {
    And,
    Or,
    Plus,
    /// Not between but around: an array.
    Array,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Query {
    /// What it selects, each with its name.
    pub(super) columns: Vec<(Expr, String)>,
    /// What it reads; `None` is one row.
    pub(super) from: Option<Source>,
    /// What a row must fulfil before it is grouped.
    pub(super) filter: Option<Expr>,
    /// What rows are grouped by.
    pub(super) group: Vec<Expr>,
    /// What a group must fulfil.
    pub(super) having: Option<Expr>,
    /// Its order, each with whether it descends.
    pub(super) order: Vec<(Expr, bool)>,
    /// How many rows at most of those that share a value.
    pub(super) limit_by: Option<(u64, Expr)>,
    /// How many rows at most.
    pub(super) limit: Option<u64>,
    /// Queries whose rows come after its own.
    pub(super) union: Vec<Self>,
}

/// What a query reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A table of a database.
    Table(TableName),
    /// A query.
    Query(Box<Query>),
    /// A row.
    One,
    /// A source, and others whose rows are put beside those of the first that have the same value in a column of one name; rows of the
    /// first are kept when there is none.
    Joined {
        /// The first.
        first: Box<Self>,
        /// The others.
        others: Vec<Self>,
        /// The column.
        by: String,
    },
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableName {
    pub(super) database: String,
    pub(super) table: String,
}

impl TableName {
    /// The table of a tenant; in this database when the configuration names none.
    pub(super) fn of_tenant(tenant: &TenantId, on_server: ServerTable<'_>, database: &str) -> Self {
        let (database, table) = on_server.name(tenant, database);
        Self { database, table }
    }

    /// The name as SQL has it.
    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.table))
    }
}

impl Expr {
    /// A column, or a name that the query gave.
    pub(super) fn column(name: impl Into<String>) -> Self {
        Self::Column(name.into())
    }

    /// A text that is bound.
    pub(super) fn text(value: &str) -> Self {
        Self::bound("String", Value::Text(value.to_owned()))
    }

    /// A UUID that is bound.
    pub(super) fn uuid(value: Uuid) -> Self {
        Self::bound("UUID", Value::Text(value.to_string()))
    }

    /// A list of texts that is bound.
    pub(super) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self::bound("Array(String)", Value::Texts(values.into_iter().map(str::to_owned).collect()))
    }

    /// A number that is bound, in the digits that the type takes.
    #[expect(clippy::needless_pass_by_value, reason = "numbers are written where they are bound")]
    pub(super) fn number(data_type: &str, digits: impl ToString) -> Self {
        Self::bound(data_type, Value::Number(digits.to_string()))
    }

    /// A list of integers that is bound.
    pub(super) fn integers(values: impl IntoIterator<Item = i64>) -> Self {
        Self::bound("Array(Int64)", Value::Integers(values.into_iter().collect()))
    }

    fn bound(data_type: &str, value: Value) -> Self {
        Self::Bound(Bound { data_type: data_type.to_owned(), value })
    }

    /// All hold; of none, true.
    pub(super) fn all(of: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(Infix::And, of)
    }

    /// At least one holds; of none, false.
    pub(super) fn any(of: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(Infix::Or, of)
    }

    /// The sum; of none, 0.
    pub(super) fn sum(of: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(Infix::Plus, of)
    }

    /// An array of these.
    pub(super) fn array(of: impl IntoIterator<Item = Self>) -> Self {
        Self::Infix(Infix::Array, of.into_iter().collect())
    }

    /// Calls `visit` with the name of each column that the expression mentions outside of queries.
    pub(super) fn for_each_column(&self, visit: &mut impl FnMut(&str)) {
        match self {
            Self::Column(name) => visit(name),
            Self::Formula(_, of) | Self::Call(_, of) | Self::Infix(_, of) | Self::List(of) => {
                of.iter().for_each(|inner| inner.for_each_column(visit))
            }
            Self::Bound(_) | Self::Rows(_) => {}
        }
    }

    /// Calls `visit` with the name of each column that the text of the expression mentions, as often as it does.
    pub(super) fn for_each_mention(&self, visit: &mut impl FnMut(&str)) {
        match self {
            Self::Formula(text, of) => {
                for (number, inner) in of.iter().enumerate() {
                    let place = format!("{{{number}}}");
                    text.matches(&place).for_each(|_| inner.for_each_mention(visit));
                }
            }
            Self::Call(_, of) | Self::Infix(_, of) | Self::List(of) => of.iter().for_each(|inner| inner.for_each_mention(visit)),
            Self::Column(name) => visit(name),
            Self::Bound(_) | Self::Rows(_) => {}
        }
    }

    /// The expression with others in the places of columns.
    pub(super) fn with_columns(&self, replaced: &impl Fn(&str) -> Option<Self>) -> Self {
        let each = |of: &[Self]| of.iter().map(|inner| inner.with_columns(replaced)).collect();
        match self {
            Self::Column(name) => replaced(name).unwrap_or_else(|| self.clone()),
            Self::Formula(text, of) => Self::Formula(text, each(of)),
            Self::Call(function, of) => Self::Call(function, each(of)),
            Self::Infix(infix, of) => Self::Infix(*infix, each(of)),
            Self::List(of) => Self::List(each(of)),
            Self::Bound(_) | Self::Rows(_) => self.clone(),
        }
    }

    fn joined(infix: Infix, of: impl IntoIterator<Item = Self>) -> Self {
        let mut of: Vec<Self> = of.into_iter().collect();
        if of.len() == 1 { of.swap_remove(0) } else { Self::Infix(infix, of) }
    }
}

/// Text of ours with operands.
macro_rules! formula {
    ($text:literal $(, $operand:expr)* $(,)?) => {
        $crate::backend::clickhouse::sql::Expr::Formula($text, vec![$($operand.clone()),*])
    };
}
pub(super) use formula;

impl Query {
    /// A query of these columns.
    pub(super) fn select(columns: Vec<(Expr, String)>, from: Source) -> Self {
        Self { columns, from: Some(from), ..Self::default() }
    }

    /// The columns that it mentions outside of other queries.
    pub(super) fn mentions(&self) -> BTreeSet<String> {
        let columns = self.columns.iter().map(|(expr, _)| expr);
        let clauses = self.filter.iter().chain(&self.having).chain(&self.group);
        let order = self.order.iter().map(|(expr, _)| expr).chain(self.limit_by.iter().map(|(_, expr)| expr));
        let mut mentioned = BTreeSet::new();
        for expr in columns.chain(clauses).chain(order) {
            expr.for_each_column(&mut |name| {
                mentioned.insert(name.to_owned());
            });
        }
        mentioned
    }

    /// The query as text, a clause or column to a line.
    pub(super) fn print(&self) -> Statement {
        let mut printer = Printer::default();
        printer.query(self, 0);
        printer.statement
    }
}

#[derive(Debug, Default)]
struct Printer {
    statement: Statement,
    /// The numbers of parameters.
    known: HashMap<Bound, usize>,
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.statement.text.push_str(text);
    }

    fn line(&mut self, depth: usize) {
        self.push("\n");
        for _ in 0..depth {
            self.push("    ");
        }
    }

    fn list<T>(&mut self, items: &[T], separator: &str, mut each: impl FnMut(&mut Self, &T)) {
        for (position, item) in items.iter().enumerate() {
            if position > 0 {
                self.push(separator);
            }
            each(self, item);
        }
    }

    fn query(&mut self, query: &Query, depth: usize) {
        self.push("SELECT");
        for (position, (expr, name)) in query.columns.iter().enumerate() {
            self.push(if position == 0 { "" } else { "," });
            self.line(depth + 1);
            self.expr(expr, depth + 1);
            if *expr != Expr::Column(name.clone()) {
                self.push(" AS ");
                self.push(&quoted(name));
            }
        }
        if let Some(source) = &query.from {
            self.line(depth);
            self.push("FROM ");
            self.source(source, depth);
        }
        self.clause("WHERE ", query.filter.as_ref(), depth);
        if !query.group.is_empty() {
            self.line(depth);
            self.push("GROUP BY ");
            self.list(&query.group, ", ", |printer, expr| printer.expr(expr, depth));
        }
        self.clause("HAVING ", query.having.as_ref(), depth);
        if !query.order.is_empty() {
            self.line(depth);
            self.push("ORDER BY ");
            self.list(&query.order, ", ", |printer, (expr, descends)| {
                printer.expr(expr, depth);
                printer.push(if *descends { " DESC" } else { "" });
            });
        }
        if let Some((limit, by)) = &query.limit_by {
            self.line(depth);
            self.push(&format!("LIMIT {limit} BY "));
            self.expr(by, depth);
        }
        if let Some(limit) = query.limit {
            self.line(depth);
            self.push(&format!("LIMIT {limit}"));
        }
        for other in &query.union {
            self.line(depth);
            self.push("UNION ALL");
            self.line(depth);
            self.query(other, depth);
        }
    }

    fn clause(&mut self, clause: &str, condition: Option<&Expr>, depth: usize) {
        if let Some(condition) = condition {
            self.line(depth);
            self.push(clause);
            self.expr(condition, depth);
        }
    }

    fn source(&mut self, source: &Source, depth: usize) {
        match source {
            Source::Table(name) => self.push(&name.qualified()),
            Source::Query(query) => self.nested(query, depth),
            Source::One => self.push("system.one"),
            Source::Joined { first, others, by } => {
                self.source(first, depth);
                self.push(" AS `side 0`");
                for (number, other) in others.iter().enumerate() {
                    self.line(depth);
                    self.push("LEFT JOIN ");
                    self.source(other, depth);
                    self.push(&format!(" AS `side {}` USING ({})", number + 1, quoted(by)));
                }
            }
        }
    }

    fn nested(&mut self, query: &Query, depth: usize) {
        self.push("(");
        self.line(depth + 1);
        self.query(query, depth + 1);
        self.line(depth);
        self.push(")");
    }

    fn expr(&mut self, expr: &Expr, depth: usize) {
        match expr {
            Expr::Bound(bound) => self.bound(bound),
            Expr::Column(name) => self.push(&quoted(name)),
            Expr::Formula(text, operands) => self.formula(text, operands, depth),
            Expr::Call(function, of) => {
                self.push(function);
                self.push("(");
                self.list(of, ", ", |printer, expr| printer.expr(expr, depth));
                self.push(")");
            }
            Expr::Infix(Infix::Array, of) => {
                self.push("[");
                self.list(of, ", ", |printer, expr| printer.expr(expr, depth));
                self.push("]");
            }
            Expr::Infix(infix, of) => {
                let (operator, start) = match infix {
                    Infix::And => (" AND ", "1"),
                    Infix::Or => (" OR ", "0"),
                    Infix::Plus | Infix::Array => (" + ", "0"),
                };
                if of.is_empty() {
                    self.push(start);
                } else {
                    self.push("(");
                    self.list(of, operator, |printer, expr| printer.expr(expr, depth));
                    self.push(")");
                }
            }
            Expr::List(of) => self.list(of, ", ", |printer, expr| printer.expr(expr, depth)),
            Expr::Rows(query) => self.nested(query, depth),
        }
    }

    /// The text with the operands in their places.
    fn formula(&mut self, text: &str, operands: &[Expr], depth: usize) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            self.push(before);
            let Some((number, behind)) = after.split_once('}') else { break };
            if let Some(operand) = number.parse().ok().and_then(|number: usize| operands.get(number)) {
                self.expr(operand, depth);
            }
            rest = behind;
        }
        self.push(rest);
    }

    /// A value; one that is longer than what can be sent at a time in parts that are put together.
    fn bound(&mut self, bound: &Bound) {
        let data_type = &bound.data_type;
        let part = |value: Value| Bound { data_type: data_type.clone(), value };
        match &bound.value {
            Value::Text(text) if text.len() > FIELD / 2 => {
                let parts: Vec<Bound> = pieces(text).map(|piece| part(Value::Text(piece.to_owned()))).collect();
                self.together("concat", &parts);
            }
            Value::Texts(texts) if texts.iter().map(|text| text.len() + 4).sum::<usize>() > FIELD / 2 => self.texts(texts),
            Value::Integers(integers) if integers.len() > FIELD / 22 => {
                let parts: Vec<Bound> = integers.chunks(FIELD / 22).map(|chunk| part(Value::Integers(chunk.to_vec()))).collect();
                self.together("arrayConcat", &parts);
            }
            _ => self.parameter(bound),
        }
    }

    /// A long list: lists of what can be sent at a time, and of what cannot each by itself.
    fn texts(&mut self, texts: &[String]) {
        self.push("arrayConcat(");
        let mut rest = texts;
        while let Some(first) = rest.first() {
            if rest.len() < texts.len() {
                self.push(", ");
            }
            if first.len() + 4 > FIELD / 2 {
                self.push("[");
                self.bound(&Bound { data_type: "String".to_owned(), value: Value::Text(first.clone()) });
                self.push("]");
                rest = &rest[1..];
                continue;
            }
            let mut size = 0;
            let fits = rest.iter().take_while(|text| {
                size += text.len() + 4;
                size <= FIELD / 2
            });
            let (chunk, after) = rest.split_at(fits.count());
            self.parameter(&Bound { data_type: "Array(String)".to_owned(), value: Value::Texts(chunk.to_vec()) });
            rest = after;
        }
        self.push(")");
    }

    fn together(&mut self, function: &str, parts: &[Bound]) {
        self.push(function);
        self.push("(");
        self.list(parts, ", ", |printer, part| printer.parameter(part));
        self.push(")");
    }

    /// Equal values are one parameter.
    fn parameter(&mut self, bound: &Bound) {
        let next = self.known.len() + 1;
        let number = *self.known.entry(bound.clone()).or_insert_with(|| {
            self.statement.parameters.push((format!("p{next}"), bound.clone()));
            next
        });
        // Writing to a String does not fail.
        let _ = write!(self.statement.text, "{{p{number}:{}}}", bound.data_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_authors_are_parameters() {
        let hostile = "'; DROP TABLE users; -- {p1:String} \\ `x`\n";
        let name = TableName { database: "d`b".to_owned(), table: "t".to_owned() };
        let mut query = Query::select(vec![(Expr::column("user\\id"), "id".to_owned())], Source::Table(name));
        query.filter = Some(Expr::all([
            formula!("{0} = {1}", Expr::column("a"), Expr::text(hostile)),
            formula!("has({1}, {0})", Expr::column("a"), Expr::texts([hostile, "b"])),
            formula!("{0} != {1}", Expr::column("b"), Expr::text(hostile)),
        ]));
        let Statement { text, parameters } = query.print();
        assert_eq!(
            text,
            "SELECT\n    `user\\\\id` AS `id`\nFROM `d\\`b`.`t`\nWHERE (`a` = {p1:String} AND has({p2:Array(String)}, `a`) AND `b` != {p1:String})"
        );
        assert_eq!(parameters[0].1.value, Value::Text(hostile.to_owned()));
        assert_eq!(parameters[1].1.value, Value::Texts(vec![hostile.to_owned(), "b".to_owned()]));
        assert_eq!(parameters.len(), 2);
    }

    #[test]
    fn what_is_too_long_is_put_together() {
        // Equal pieces would be one parameter.
        let long: String = (0..FIELD / 4).map(|number| format!("ä{number} ")).collect();
        let many: Vec<String> = (0..20_000).map(|number| format!("value number {number}")).collect();
        let many = many.iter().map(String::as_str).chain([long.as_str(), "last"]);
        let integers = Expr::integers(0..10_000);
        let of = [Expr::text(&long), Expr::texts(many.clone()), integers];
        let query = Query::select(of.into_iter().map(|expr| (expr, "x".to_owned())).collect(), Source::One);
        let Statement { text, parameters } = query.print();
        assert!(text.contains("concat({p1:String}, {p2:String}") && text.contains("arrayConcat({p"), "{text}");
        let (mut texts, mut numbers, mut whole) = (Vec::new(), Vec::<i64>::new(), String::new());
        for (name, bound) in &parameters {
            assert!(text.contains(&format!("{{{name}:{}}}", bound.data_type)));
            match &bound.value {
                Value::Text(piece) => {
                    assert!(piece.len() <= FIELD);
                    whole += piece;
                }
                Value::Texts(chunk) => {
                    assert!(chunk.iter().map(|text| text.len() + 4).sum::<usize>() <= FIELD);
                    texts.extend(chunk.iter().map(String::as_str));
                }
                Value::Integers(chunk) => numbers.extend(chunk),
                Value::Number(_) => {}
            }
        }
        // The long text stands there twice, and its pieces are parameters once.
        assert_eq!(whole, long);
        assert_eq!(texts, many.filter(|text| *text != long).collect::<Vec<_>>());
        assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
    }
}
