//! A batch as one query: the universe, the features of its subjects beside it, tests of those, and a row for each subject and output that it
//! is in.

use std::collections::BTreeMap;

use super::events::{Asked, Grouped, ID, grouped};
use super::form::{Form, Typed};
use super::lets::Lets;
use super::number;
use super::predicate::{Quotient, Unsuited, logic, test};
use super::reads::Reads;
use super::score;
use super::sql::{Expr, Query, Source, formula};
use super::time::Times;
use crate::backend::{ObservationKind, TableRole};
use crate::ir::{Degree, Formula, Test};
use crate::model::catalog::{Access, Catalog, Universe};
use crate::model::condition::{RankOrder, TopShare};
use crate::model::decimal::Decimal;
use crate::plan::{Batch, BatchFeature, BatchRanking, Leaf};

/// What a batch is compiled for.
pub(super) struct Compiled {
    /// Rows of `output`, the index of an output; `id`, a subject that is in it; and `score`, in billionths, NULL unless it scores.
    pub(super) members: Query,
    /// Rows of `id`, a key of the subjects table or NULL; `rows`, how many have it; and `winners`, how many of them count.
    pub(super) keys: Option<Query>,
    /// What is observed: of the first, rows of the output [`OBSERVED`] say as `score` how often a subject has it, and so on.
    pub(super) observations: Vec<(TableRole, ObservationKind)>,
}

/// The output of the first observation.
pub(super) const OBSERVED: u32 = 1 << 31;

/// The output that all subjects of the universe are in.
pub(super) const UNIVERSE: u32 = u32::MAX;

/// The tables of a tenant on the server.
pub(super) struct Tables<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) subjects: Option<Source>,
    pub(super) events: Option<Source>,
    /// For each given segment the rows of its members, of one column.
    pub(super) given: Vec<Query>,
    /// The only subject that is asked for.
    pub(super) subject_id: Option<&'a str>,
}

/// Compiles a batch.
///
/// # Errors
/// When a test does not suit a value: the batch was not made for these tables.
pub(super) fn compile(batch: &Batch, tables: &Tables<'_>, times: &Times) -> Result<Compiled, Unsuited> {
    let mut compiler = Compiler { batch, tables, times, values: BTreeMap::new(), sources: Vec::new(), observed: Vec::new() };
    let (universe, keys) = compiler.universe()?;
    compiler.events()?;
    let rows = compiler.joined(&universe);
    let members = compiler.outputs(rows)?;
    let observations = compiler.observed.into_iter().map(|(table, kind, _)| (table, kind)).collect();
    Ok(Compiled { members, keys, observations })
}

/// What a batch says of one subject.
pub(super) struct Inspected {
    /// At most one row of `values`, `tests`, `outputs` and `scores`.
    pub(super) query: Query,
    /// The forms of the values.
    pub(super) forms: Vec<Form>,
}

/// Compiles what a batch says of one subject.
///
/// # Errors
/// As [`compile`].
pub(super) fn inspect(batch: &Batch, tables: &Tables<'_>, times: &Times, subject_id: &str) -> Result<Inspected, Unsuited> {
    let mut compiler = Compiler { batch, tables, times, values: BTreeMap::new(), sources: Vec::new(), observed: Vec::new() };
    let (universe, _) = compiler.universe()?;
    compiler.events()?;
    let rows = compiler.joined(&universe);
    compiler.inspected(rows, subject_id)
}

fn no_score() -> Expr {
    formula!("CAST(NULL AS Nullable(Int64))")
}

/// A query of the ids of another.
fn ids(of: Query) -> Query {
    Query::select(vec![(Expr::column(ID), ID.to_owned())], Source::Query(Box::new(of)))
}

/// Rows of `id`, a key of a table or NULL; `rows`, how many have it; and `winners`, how many of them count: of the rows with the greatest
/// version there must be one.
pub(super) fn keys(lets: &Lets, key: &Expr, version: Option<&[Expr]>, rows: &Source) -> Query {
    let place = version.map_or_else(|| formula!("1"), |version| place_of_version(key, version));
    let of_key = vec![(key.clone(), ID.to_owned()), (place, "place".to_owned())];
    let of_key = lets.beneath(Query { columns: of_key, ..Query::default() }, rows);
    let columns = vec![
        (Expr::column(ID), ID.to_owned()),
        (formula!("count()"), "rows".to_owned()),
        (formula!("countIf({0} = 1)", Expr::column("place")), "winners".to_owned()),
    ];
    Query { group: vec![Expr::column(ID)], ..Query::select(columns, Source::Query(Box::new(of_key))) }
}

struct Compiler<'a> {
    batch: &'a Batch,
    tables: &'a Tables<'a>,
    times: &'a Times,
    /// The value of each feature, by its index in the batch, over the columns of the joined rows.
    values: BTreeMap<usize, Typed>,
    /// What stands beside the universe.
    sources: Vec<Query>,
    /// How often a subject has what does not fit, over the columns of the joined rows.
    observed: Vec<(TableRole, ObservationKind, Expr)>,
}

impl Compiler<'_> {
    /// The subjects that a segment can contain, with the attributes that features are read from.
    fn universe(&mut self) -> Result<(Query, Option<Query>), Unsuited> {
        let subject = self.batch.subject;
        let table = self.tables.catalog.subjects(subject).zip(self.tables.subjects.clone());
        let universe = table.as_ref().map_or(Universe::Events, |(table, _)| table.universe);
        let (mut queries, mut keys) = (Vec::new(), None);
        if let Some((table, rows)) = table {
            let mut reads = Reads::new(&table.table, self.times);
            let key = reads.key(&table.key);
            let mut columns = vec![(key.clone(), ID.to_owned())];
            for (index, feature) in self.batch.features.iter().enumerate() {
                if let BatchFeature::Attribute(value) = feature {
                    let read = reads.value(value).ok_or_else(|| Unsuited::of_value(&value.value))?;
                    columns.push((read.expr, format!("feature {index}")));
                    let mut form = read.form;
                    if let Some(companion) = form.companion().filter(|companion| matches!(companion, Expr::Column(_))) {
                        let beside = format!("feature {index} beside");
                        columns.push((companion.clone(), beside.clone()));
                        *companion = Expr::column(beside);
                    }
                    self.values.insert(index, Typed { expr: Expr::column(format!("feature {index}")), form });
                }
            }
            for (number, (kind, holds)) in reads.observations().into_iter().enumerate() {
                let name = format!("observed {number}");
                columns.push((formula!("toUInt64({0})", holds), name.clone()));
                self.observed.push((TableRole::of(subject), kind, Expr::column(name)));
            }
            let version = table.version.as_ref().map(|version| reads.versions(version));
            let lets = reads.finish();
            let only = self.tables.subject_id.map(|id| formula!("ifNull({0} = {1}, 0)", key, Expr::text(id)));
            let filter = Expr::all(std::iter::once(formula!("isNotNull({0})", key)).chain(only));
            let mut found = Query { columns, filter: Some(filter), ..Query::default() };
            keys = Some(self::keys(&lets, &key, version.as_deref(), &rows));
            if let Some(version) = version {
                found.order = version.into_iter().map(|version| (version, true)).collect();
                found.limit_by = Some((1, Expr::column(ID)));
            }
            queries.push(lets.beneath(found, &rows));
        }
        if universe != Universe::Table
            && let (Some(events), Some(rows)) = (&self.tables.catalog.events, &self.tables.events)
            && let Some(key) = events.key(subject)
        {
            queries.push(self.seen(events, rows, key));
        }
        let universe = match (queries.len(), universe) {
            (2, Universe::Union | Universe::Table) => {
                // A subject of the events alone has no attributes.
                let (events, table) = (queries.pop().unwrap_or_default(), queries.pop().unwrap_or_default());
                let known = ids(table.clone());
                let mut others = ids(events);
                others.filter = Some(formula!("{0} NOT IN {1}", Expr::column(ID), Expr::Rows(Box::new(known))));
                for (_, name) in table.columns.iter().skip(1) {
                    others.columns.push((self.missing_of(name), name.clone()));
                }
                Query { union: vec![others], ..table }
            }
            (2, Universe::Events) => {
                // Attributes count for those alone who have events.
                let (events, table) = (queries.pop().unwrap_or_default(), queries.pop().unwrap_or_default());
                self.sources.push(table);
                events
            }
            _ => queries.pop().unwrap_or_default(),
        };
        Ok((universe, keys))
    }

    /// What a column of the subjects table holds for those who have no row.
    fn missing_of(&self, name: &str) -> Expr {
        let column = Expr::column(name);
        if let Some(value) = self.values.values().find(|value| value.expr == column) {
            return value.form.missing();
        }
        if self.observed.iter().any(|(.., count)| *count == column) { formula!("toUInt64(0)") } else { Form::Text.missing() }
    }

    /// The distinct ids in the events before `as_of`.
    fn seen(&self, events: &crate::model::catalog::EventTable, rows: &Source, key: &Access) -> Query {
        let mut reads = Reads::new(&events.table, self.times);
        let (key, time) = (reads.key(key), reads.time(&events.timestamp));
        let lets = reads.finish();
        let before = formula!("ifNull({0} < {1}, 0)", time, Expr::number("Int64", self.batch.as_of.as_microsecond()));
        let only = self.tables.subject_id.map(|id| formula!("{0} = {1}", key, Expr::text(id)));
        let filter = Expr::all([formula!("isNotNull({0})", key), before].into_iter().chain(only));
        let columns = vec![(key.clone(), ID.to_owned())];
        lets.beneath(Query { columns, filter: Some(filter), group: vec![key], ..Query::default() }, rows)
    }

    /// What is computed of events.
    fn events(&mut self) -> Result<(), Unsuited> {
        let (Some(table), Some(rows)) = (&self.tables.catalog.events, &self.tables.events) else { return Ok(()) };
        let mut by_key: BTreeMap<&Access, Vec<(usize, &BatchFeature)>> = BTreeMap::new();
        for (index, feature) in self.batch.features.iter().enumerate() {
            let key = match feature {
                BatchFeature::Measure(_) | BatchFeature::Sequence(_) => table.key(self.batch.subject),
                BatchFeature::Signal(signal) => Some(&signal.product),
                BatchFeature::Attribute(_) | BatchFeature::Hash { .. } => None,
            };
            if let Some(key) = key {
                by_key.entry(key).or_default().push((index, feature));
            }
        }
        for (number, (key, features)) in by_key.into_iter().enumerate() {
            let subject_id = self.tables.subject_id;
            let asked = Asked { batch: self.batch, table, rows, times: self.times, key, given: &self.tables.given, subject_id };
            let Grouped { queries, values, observations } = grouped(asked, &format!("events {number}"), &features)?;
            self.sources.extend(queries);
            self.values.extend(values);
            self.observed.extend(observations.into_iter().map(|(kind, count)| (TableRole::Events, kind, count)));
        }
        Ok(())
    }

    /// The universe with everything beside it.
    fn joined(&mut self, universe: &Query) -> Query {
        let others = self.sources.iter().map(|query| Source::Query(Box::new(query.clone()))).collect();
        let from = Source::Joined { first: Box::new(Source::Query(Box::new(universe.clone()))), others, by: ID.to_owned() };
        let mut columns = vec![(Expr::column(ID), ID.to_owned())];
        for (index, feature) in self.batch.features.iter().enumerate() {
            let name = format!("value {index}");
            if let BatchFeature::Hash { salt } = feature {
                let hash = formula!("xxh3(concat({1}, ':', {0}))", Expr::column(ID), Expr::text(salt));
                columns.push((hash, name.clone()));
                self.values.insert(index, Typed { expr: Expr::column(name), form: Form::Integer { unsigned: true } });
            } else if let Some(Typed { expr, form }) = self.values.get_mut(&index) {
                columns.push((expr.clone(), name.clone()));
                if let Some(companion) = form.companion().filter(|companion| !matches!(companion, Expr::Bound(_))) {
                    let beside = format!("beside {index}");
                    columns.push((companion.clone(), beside.clone()));
                    *companion = Expr::column(beside);
                }
                *expr = Expr::column(name);
            }
        }
        for (number, (.., count)) in self.observed.iter_mut().enumerate() {
            let name = format!("observation {number}");
            columns.push((std::mem::replace(count, Expr::column(&name)), name));
        }
        Query::select(columns, from)
    }

    /// Whether each output holds over the joined rows, with what is named on the way.
    fn told<'c>(&'c self, lets: &'c mut Lets) -> Result<(Leaves<'c, 'c>, Vec<Option<Expr>>), Unsuited> {
        let mut leaves = Leaves { compiler: self, lets, outputs: Vec::new(), scores: BTreeMap::new() };
        let mut scores = Vec::new();
        for (index, output) in self.batch.outputs.iter().enumerate() {
            let holds = logic(&output.formula, &mut |leaf| leaves.leaf(*leaf))?;
            let holds = leaves.lets.bind(format!("output {index}"), holds);
            leaves.outputs.push(holds);
            scores.push(output.score.map(|score| leaves.score(score)).transpose()?);
        }
        Ok((leaves, scores))
    }

    /// A row for each subject and output.
    fn outputs(&self, rows: Query) -> Result<Query, Unsuited> {
        let mut lets = Lets::new(rows.columns.iter().map(|(_, name)| name.clone()));
        let (leaves, scores) = self.told(&mut lets)?;
        // Everyone is in the last output.
        let mut pairs = vec![formula!("tuple({0}, 1, {1})", Expr::number("UInt32", UNIVERSE), no_score())];
        for (number, (.., count)) in (OBSERVED..).zip(&self.observed) {
            let count = formula!("ifNull({0}, 0)", count);
            pairs.push(formula!("tuple({0}, {1} > 0, toNullable(toInt64({1})))", Expr::number("UInt32", number), count));
        }
        for ((index, holds), score) in leaves.outputs.iter().enumerate().zip(scores) {
            let score = score.map_or_else(no_score, |score| formula!("toNullable({0})", score));
            pairs.push(formula!("tuple({0}, {1}, {2})", Expr::number("UInt32", index), holds, score));
        }
        let mut columns = vec![(Expr::column(ID), ID.to_owned())];
        columns.push((formula!("arrayJoin(arrayFilter(x -> tupleElement(x, 2), {0}))", Expr::array(pairs)), "found".to_owned()));
        let found = lets.beneath(Query { columns, ..Query::default() }, &Source::Query(Box::new(rows)));
        let columns = vec![
            (formula!("tupleElement(`found`, 1)"), "output".to_owned()),
            (Expr::column(ID), ID.to_owned()),
            (formula!("tupleElement(`found`, 3)"), "score".to_owned()),
        ];
        Ok(Query::select(columns, Source::Query(Box::new(found))))
    }

    /// The row of one subject: the texts of its values, its tests, its outputs and its scores.
    fn inspected(&self, rows: Query, subject_id: &str) -> Result<Inspected, Unsuited> {
        let mut lets = Lets::new(rows.columns.iter().map(|(_, name)| name.clone()));
        let (mut leaves, scores) = self.told(&mut lets)?;
        let tests = (0..self.batch.tests.len()).map(|test| leaves.leaf(Leaf::Test(test))).collect::<Result<Vec<_>, _>>()?;
        let features = 0..self.batch.features.len();
        let values = features.map(|feature| self.value(feature)).collect::<Result<Vec<_>, _>>()?;
        let flags = |of: &[Expr]| {
            formula!("CAST({0} AS Array(UInt8))", Expr::array(of.iter().map(|holds| formula!("toUInt8({0})", holds))))
        };
        let texts = Expr::array(values.iter().map(|value| super::inspect::text(value)));
        let scores = scores.into_iter().map(|score| score.map_or_else(no_score, |score| formula!("toNullable({0})", score)));
        let columns = vec![
            (Expr::column(ID), ID.to_owned()),
            (formula!("CAST({0} AS Array(Nullable(String)))", texts), "values".to_owned()),
            (flags(&tests), "tests".to_owned()),
            (flags(&leaves.outputs), "outputs".to_owned()),
            (formula!("CAST({0} AS Array(Nullable(Int64)))", Expr::array(scores)), "scores".to_owned()),
        ];
        let told = lets.beneath(Query { columns, ..Query::default() }, &Source::Query(Box::new(rows)));
        let columns = ["values", "tests", "outputs", "scores"].map(|name| (Expr::column(name), name.to_owned()));
        // Rankings are over everyone: the one who is asked for is picked out after them.
        let mut query = Query::select(columns.into(), Source::Query(Box::new(told)));
        query.filter = Some(formula!("{0} = {1}", Expr::column(ID), Expr::text(subject_id)));
        Ok(Inspected { query, forms: values.into_iter().map(|value| value.form.clone()).collect() })
    }

    fn value(&self, feature: usize) -> Result<&Typed, Unsuited> {
        self.values.get(&feature).ok_or_else(|| Unsuited::of_feature(feature))
    }
}

/// The leaves of outputs, over the joined rows.
struct Leaves<'c, 'l> {
    compiler: &'c Compiler<'c>,
    lets: &'l mut Lets,
    /// Those before.
    outputs: Vec<Expr>,
    scores: BTreeMap<usize, Expr>,
}

impl Leaves<'_, '_> {
    fn leaf(&mut self, leaf: Leaf) -> Result<Expr, Unsuited> {
        let batch = self.compiler.batch;
        match leaf {
            Leaf::Test(index) => {
                let of = &batch.tests[index];
                let holds = test(self.compiler.value(of.feature)?, &of.test)?;
                Ok(self.lets.bind(format!("test {index}"), holds))
            }
            Leaf::Rank(index) => {
                let first = self.ranking(index, &batch.rankings[index])?;
                Ok(self.lets.bind(format!("ranking {index}"), first))
            }
            Leaf::Score(index) => {
                let scored = self.score(index)?;
                let least = crate::model::scoring::Score::least_reaching(&batch.scores[index].threshold);
                Ok(match least {
                    Some(least) => formula!("({0} >= {1})", scored, Expr::number("Int64", least.billionths())),
                    None => Expr::any([]),
                })
            }
            Leaf::Output(index) => Ok(self.outputs[index].clone()),
            Leaf::Compare(index) => {
                let comparison = &batch.comparisons[index];
                let (left, right) = (self.compiler.value(comparison.left)?, self.compiler.value(comparison.right)?);
                let holds = super::compare::compare(left, comparison.comparator, right, &comparison.factor)?;
                Ok(self.lets.bind(format!("comparison {index}"), holds))
            }
            Leaf::Given(index) => {
                let members = Expr::Rows(Box::new(self.compiler.tables.given[index].clone()));
                Ok(formula!("({0} IN {1})", Expr::column(ID), members))
            }
        }
    }

    /// Whether a subject is among the first of those that have a value.
    fn ranking(&mut self, index: usize, ranking: &BatchRanking) -> Result<Expr, Unsuited> {
        let value = self.compiler.value(ranking.by)?.clone();
        let name = format!("value {}", ranking.by);
        let key = match &value.form {
            Form::Mixed => {
                let one = self.lets.bind(format!("canonical {name}"), number::canonical(&value.expr));
                number::key_of_mixed(self.lets, &name, &one)
            }
            Form::Average { count, .. } => Quotient::key(&value.expr, count),
            _ => value.expr.clone(),
        };
        let key = match ranking.present {
            Some(present) => formula!("if({0} > 0, {1}, NULL)", self.compiler.value(present)?.expr, key),
            None => key,
        };
        let key = self.lets.bind(format!("key of ranking {index}"), key);
        // An age is stored as the instant that it counts from: the greatest age is the least instant.
        let ascending = (ranking.order == RankOrder::Ascending) != matches!(value.form, Form::Age { .. });
        let place = if ascending {
            formula!("rank() OVER (PARTITION BY isNull({0}) ORDER BY {0} ASC)", key)
        } else {
            formula!("rank() OVER (PARTITION BY isNull({0}) ORDER BY {0} DESC)", key)
        };
        let most = match &ranking.share {
            TopShare::Count(count) => Expr::number("UInt64", count),
            TopShare::Percent(percent) => part_of(percent, &formula!("count({0}) OVER ()", key)),
        };
        Ok(formula!("(isNotNull({0}) AND {1} <= {2})", key, place, most))
    }

    /// A score, in billionths.
    fn score(&mut self, index: usize) -> Result<Expr, Unsuited> {
        if let Some(known) = self.scores.get(&index) {
            return Ok(known.clone());
        }
        let scored = &self.compiler.batch.scores[index];
        let degrees = scored.rules.iter().map(|rule| self.degree(&rule.degree)).collect::<Result<Vec<_>, _>>()?;
        let weights: Vec<f64> = scored.rules.iter().map(|rule| rule.weight.to_f64()).collect();
        let found = score::score(self.lets, &format!("score {index}"), scored.combination, &weights, degrees);
        self.scores.insert(index, found.clone());
        Ok(found)
    }

    fn degree(&mut self, degree: &Degree<Leaf>) -> Result<Expr, Unsuited> {
        let mut parts = |of: &[Degree<Leaf>]| of.iter().map(|part| self.degree(part)).collect::<Result<Vec<_>, _>>();
        Ok(match degree {
            Degree::Least(of) => score::least(parts(of)?),
            Degree::Greatest(of) => score::greatest(parts(of)?),
            Degree::NthGreatest { n, of } => score::nth_greatest(*n, parts(of)?),
            Degree::Crisp(of) => {
                let holds = logic(of, &mut |leaf| self.leaf(*leaf))?;
                formula!("if({0}, 1., 0.)", holds)
            }
            Degree::Graded(Leaf::Test(index)) => {
                let holds = self.leaf(Leaf::Test(*index))?;
                let of = &self.compiler.batch.tests[*index];
                let Test::Number(number) = &of.test else { return Err(Unsuited::of_feature(of.feature)) };
                let value = self.compiler.value(of.feature)?;
                let degree = score::degree(self.lets, &format!("value {}", of.feature), value, number, &holds)?;
                self.lets.bind(format!("degree {index}"), degree)
            }
            Degree::Graded(leaf) => {
                let holds = logic(&Formula::Leaf(*leaf), &mut |leaf| self.leaf(*leaf))?;
                formula!("if({0}, 1., 0.)", holds)
            }
        })
    }
}

/// The place of a row among those of its key, from the greatest version on; a missing version is the least.
fn place_of_version(key: &Expr, version: &[Expr]) -> Expr {
    match version {
        [only] => formula!("rank() OVER (PARTITION BY {0} ORDER BY {1} DESC NULLS LAST)", key, only),
        [number, text, ..] => {
            formula!("rank() OVER (PARTITION BY {0} ORDER BY {1} DESC NULLS LAST, {2} DESC NULLS LAST)", key, number, text)
        }
        [] => formula!("1"),
    }
}

/// `ceil(percent * N / 100)` of a number N.
fn part_of(percent: &Decimal, number: &Expr) -> Expr {
    let (digits, scale) = percent.as_big().as_bigint_and_exponent();
    let ten = |places: i64| bigdecimal::num_bigint::BigInt::from(10).pow(u32::try_from(places.max(0)).unwrap_or(0));
    let (times, divisor) = (digits * ten(-scale), ten(scale) * 100);
    formula!("intDiv({0} * toInt256({1}) + {2} - 1, {2})", Expr::number("Int256", times), number, Expr::number("Int256", divisor))
}
