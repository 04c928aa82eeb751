//! What a statement reads of the rows of a table: values by the readings that definitions ask for, each with a name.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::form::{Form, Typed, read_name};
use super::json::{self, Document, Place};
use super::lets::Lets;
use super::number;
use super::sql::{Expr, formula};
use super::time::Times;
use crate::backend::ObservationKind;
use crate::check::{ElementType, Reading};
use crate::ir::Value;
use crate::model::catalog::{Access, ColumnType, Table};
use crate::model::window::Interval;
use crate::plan::BatchValue;

/// Reads rows of one table.
#[derive(Debug)]
pub(super) struct Reads<'a> {
    table: &'a Table,
    times: &'a Times,
    lets: Lets,
    /// Where a value is there and does not fit, and where a text is no JSON.
    observations: BTreeMap<ObservationKind, Expr>,
}

/// A value on its way: how it is stored, and whether one that is there may not fit.
struct Read {
    value: Typed,
    misfit: Option<Expr>,
}

impl<'a> Reads<'a> {
    /// Nothing yet.
    pub(super) fn new(table: &'a Table, times: &'a Times) -> Self {
        let lets = Lets::new(table.columns.keys().cloned());
        Self { table, times, lets, observations: BTreeMap::new() }
    }

    /// Where values are there and do not fit, so far.
    pub(super) fn observations(&self) -> Vec<(ObservationKind, Expr)> {
        self.observations.iter().map(|(kind, holds)| (kind.clone(), holds.clone())).collect()
    }

    pub(super) fn finish(self) -> Lets {
        self.lets
    }

    /// What was named so far.
    pub(super) fn lets_so_far(&self) -> &Lets {
        &self.lets
    }

    /// A value.
    pub(super) fn value(&mut self, BatchValue { value, as_of }: &BatchValue) -> Option<Typed> {
        let (name, times) = (shown(value), self.times);
        let as_of = as_of.unwrap_or_else(|| times.as_of());
        Some(match value {
            Value::Stored(access, reading) => self.stored(access, *reading),
            Value::DaysSince(access) => {
                let Typed { expr, .. } = self.stored(access, Reading::Date);
                Typed { expr, form: Form::Age { as_of } }
            }
            Value::DaysToAnniversary(access) => {
                let instant = self.stored(access, Reading::Date).expr;
                let days = times.days_to_anniversary(&mut self.lets, &access.to_string(), &instant, as_of);
                self.named(format!("{name} from {}", times.date_of(as_of)), days, Form::Integer { unsigned: false })
            }
            Value::Part(part, access) => {
                let instant = self.stored(access, Reading::Date).expr;
                let value = times.part(&mut self.lets, &access.to_string(), *part, &instant);
                self.named(name, value, Form::Integer { unsigned: false })
            }
            Value::Mean(paths) => {
                let terms = paths.iter().map(|access| self.addend(access)).collect::<Option<Vec<_>>>()?;
                let scale = terms.iter().map(|(_, scale)| *scale).max().unwrap_or(0);
                // A missing term is NULL, and so is the sum.
                let scaled = terms.into_iter().map(|(digits, own)| times_ten(&digits, scale - own));
                let sum = self.lets.bind(format!("sum for the {name}"), Expr::sum(scaled));
                let count = Box::new(Expr::number("UInt64", paths.len()));
                Typed { expr: sum, form: Form::Average { scale, count } }
            }
        })
    }

    /// A stored value; where one is there that does not fit is noted.
    pub(super) fn stored(&mut self, access: &Access, reading: Reading) -> Typed {
        let Read { value, misfit } = self.read(access, reading);
        if let Some(misfit) = misfit {
            let kind = ObservationKind::Misfit { property: access.to_string(), reading };
            self.observations.entry(kind).or_insert(misfit);
        }
        value
    }

    /// A stored value as it stands in its column, which is no JSON.
    pub(super) fn raw(&self, access: &Access) -> Expr {
        field(self.table, access)
    }

    /// A value inside of JSON as JSON; NULL where there is none.
    pub(super) fn json_text(&mut self, access: &Access) -> Expr {
        let value = self.stored(access, Reading::Stored);
        match value.form {
            Form::Stored { text } => *text,
            _ => value.expr,
        }
    }

    /// The time of an event, which is counted as such where there is none.
    pub(super) fn time(&mut self, access: &Access) -> Expr {
        self.read(access, Reading::Date).value.expr
    }

    /// A subject's key: text, NULL when there is none.
    pub(super) fn key(&mut self, access: &Access) -> Expr {
        let text = self.read(access, Reading::Text).value.expr;
        self.lets.bind(format!("key {access}"), formula!("nullIf({0}, '')", text))
    }

    /// A subject's key for those rows that have one, and whether they do, as a filter. A column of texts is taken as it stands, so that the
    /// server can go by its order.
    pub(super) fn present_key(&mut self, access: &Access) -> (Expr, Expr) {
        if let Some(column) = column_of(access, &ColumnType::Text) {
            return (column.clone(), formula!("{0} != ''", column));
        }
        let key = self.key(access);
        (key.clone(), formula!("isNotNull({0})", key))
    }

    /// A text; a column of texts as it stands.
    pub(super) fn plain_text(&mut self, access: &Access) -> Expr {
        column_of(access, &ColumnType::Text).unwrap_or_else(|| self.stored(access, Reading::Text).expr)
    }

    /// Whether a column of instants lies in an interval, as a filter by which the server passes over what does not; `None` for what is no
    /// such column.
    pub(super) fn plain_window(&self, access: &Access, interval: Interval) -> Option<Expr> {
        let column = column_of(access, &ColumnType::Timestamp)?;
        let bound = |at: Timestamp| formula!("fromUnixTimestamp64Micro({0}, 'UTC')", Expr::number("Int64", at.as_microsecond()));
        let from = interval.from.map(|from| formula!("{0} >= {1}", column, bound(from)));
        let to = interval.to.map(|to| formula!("{0} < {1}", column, bound(to)));
        Some(Expr::all(from.into_iter().chain(to)))
    }

    /// What a number adds to a sum: digits, and how many of them stand after the point.
    pub(super) fn addend(&mut self, access: &Access) -> Option<(Expr, i8)> {
        let name = access.to_string();
        let value = self.stored(access, Reading::Number);
        let (digits, scale) = number::addend(&mut self.lets, &name, &value)?;
        let digits = self.lets.bind(format!("addend of {name}"), digits);
        if matches!(value.form, Form::Float | Form::Mixed) {
            let there = match value.form {
                Form::Float => formula!("isNotNull({0})", value.expr),
                _ => formula!("(isNotNull(tupleElement({0}, 1)) OR isNotNull(tupleElement({0}, 2)))", value.expr),
            };
            let too_large = formula!("({0} AND isNull({1}))", there, digits);
            let kind = ObservationKind::Misfit { property: name, reading: Reading::Number };
            let misfit = self.observations.remove(&kind);
            self.observations.insert(kind, Expr::any(misfit.into_iter().chain([too_large])));
        }
        Some((digits, scale))
    }

    /// A text that equal scalars share and no others; NULL for what is no scalar.
    pub(super) fn identity(&mut self, access: &Access) -> Typed {
        if access.json.is_some() {
            return self.place(access).identity(&mut self.lets);
        }
        let Some(reading) = Reading::natural(&access.stored) else {
            return Typed { expr: Form::Text.missing(), form: Form::Text };
        };
        let value = self.read(access, reading).value;
        let text = match value.form {
            Form::Mixed => number::identity_of_mixed(&value.expr),
            _ => formula!("toString({0})", value.expr),
        };
        self.named(format!("identity of {access}"), text, Form::Text)
    }

    /// A number of which the order is that of the values; NULL where there is none. Doubles and integers share it only where one column
    /// mixes them.
    pub(super) fn order_of(&mut self, name: &str, value: &Typed) -> Expr {
        match value.form {
            Form::Mixed => {
                let key = number::key_of_mixed(&mut self.lets, name, &value.expr);
                self.lets.bind(format!("order of {name}"), key)
            }
            _ => value.expr.clone(),
        }
    }

    /// What versions of a subject compare by, greatest last. Inside JSON a version may be a number or text; numbers are greater.
    pub(super) fn versions(&mut self, version: &Access) -> Vec<Expr> {
        if version.json.is_none() {
            let value = self.stored(version, Reading::Stored);
            return vec![self.order_of(&version.to_string(), &value)];
        }
        let number = self.stored(version, Reading::Number);
        let number = self.order_of(&version.to_string(), &number);
        vec![number, self.stored(version, Reading::Text).expr]
    }

    /// A number that follows from an instant.
    pub(super) fn lets(&mut self) -> (&mut Lets, &'a Times) {
        (&mut self.lets, self.times)
    }

    fn named(&mut self, name: String, expr: Expr, form: Form) -> Typed {
        Typed { expr: self.lets.bind(name, expr), form }
    }

    fn place(&mut self, access: &Access) -> Place {
        let source = Access { json: None, ..access.clone() };
        let (source, text) = (source.to_string(), field(self.table, access));
        let document = Document::new(&mut self.lets, &source, &text);
        self.observations.entry(ObservationKind::InvalidJson { column: source }).or_insert(document.is_invalid.clone());
        Place::new(&mut self.lets, &access.to_string(), document, access.json.as_deref().unwrap_or_default())
    }

    fn read(&mut self, access: &Access, reading: Reading) -> Read {
        if access.json.is_some() {
            let place = self.place(access);
            let value = place.read(&mut self.lets, reading, self.times);
            let misfit = formula!("({0} AND {1})", place.is_there(), is_missing(&value));
            return Read { value, misfit: Some(misfit) };
        }
        let stored = field(self.table, access);
        let reading = match (reading, Reading::natural(&access.stored)) {
            (Reading::Stored, Some(natural)) => natural,
            (Reading::Stored, None) => {
                let is_set = self.lets.bind(format!("{access} as set"), is_there(&access.stored, &stored));
                let text = self
                    .lets
                    .bind(format!("{access} as JSON"), formula!("if({0}, toNullable(toJSONString({1})), NULL)", is_set, stored));
                return Read { value: Typed { expr: is_set, form: Form::Stored { text: Box::new(text) } }, misfit: None };
            }
            (reading, _) => reading,
        };
        self.native(access, &stored, reading)
    }

    /// A value of a typed column.
    fn native(&mut self, access: &Access, stored: &Expr, reading: Reading) -> Read {
        let name = access.to_string();
        let times = self.times;
        let text = formula!("toString({0})", stored);
        let never = |form: Form| (form.missing(), form, true);
        let (expr, form, may_not_fit) = match (&access.stored, reading) {
            (ColumnType::List(inner), Reading::Elements(element)) => {
                let (list, form) = elements(stored, inner, element);
                (list, Form::List(Box::new(form)), false)
            }
            (column, Reading::Elements(element)) => {
                let (list, form) = elements(&formula!("[{0}]", stored), column, element);
                (
                    formula!("if(isNull({0}), {1}, {2})", stored, Form::List(Box::new(form.clone())).missing(), list),
                    Form::List(Box::new(form)),
                    false,
                )
            }
            (ColumnType::Text, Reading::Text | Reading::Stored) => (text, Form::Text, false),
            (ColumnType::Text, Reading::Number) => {
                let text = self.lets.bind(format!("text of {name}"), formula!("ifNull({0}, '')", text));
                (number::mixed_of_text(&text), Form::Mixed, true)
            }
            (ColumnType::Text, Reading::Boolean) => (json::boolean_of_text(&text), Form::Boolean, true),
            (ColumnType::Text, Reading::Date) => (times.of_text(&mut self.lets, &name, &text), Form::Instant, true),
            (ColumnType::Integer | ColumnType::Unsigned, Reading::Text) => (text, Form::Text, false),
            (ColumnType::Integer, Reading::Number | Reading::Stored) => {
                (formula!("toInt64({0})", stored), Form::Integer { unsigned: false }, false)
            }
            (ColumnType::Unsigned, Reading::Number | Reading::Stored) => {
                (formula!("toUInt64({0})", stored), Form::Integer { unsigned: true }, false)
            }
            (ColumnType::Integer | ColumnType::Unsigned, Reading::Date) => (times.of_millis(stored), Form::Instant, true),
            (ColumnType::Float, Reading::Number | Reading::Stored) => (number::finite(stored), Form::Float, true),
            (ColumnType::Decimal { scale, .. }, Reading::Number | Reading::Stored) => {
                let digits = formula!("reinterpretAsInt256(toDecimal256({0}, {1}))", stored, Expr::number("UInt8", scale));
                (digits, Form::Exact { scale: *scale }, false)
            }
            (ColumnType::Boolean, Reading::Boolean | Reading::Stored) => (formula!("toUInt8({0})", stored), Form::Boolean, false),
            (ColumnType::Date, Reading::Date | Reading::Stored) => {
                let days = formula!("toInt64(toInt32({0}))", stored);
                (times.start_of_day(&mut self.lets, &name, &days), Form::Instant, false)
            }
            (ColumnType::Timestamp, Reading::Date | Reading::Stored) => {
                (formula!("toUnixTimestamp64Micro(toDateTime64({0}, 6, 'UTC'))", stored), Form::Instant, false)
            }
            (_, Reading::Text) => never(Form::Text),
            (_, Reading::Number) => never(Form::Integer { unsigned: false }),
            (_, Reading::Boolean) => never(Form::Boolean),
            (_, Reading::Date) => never(Form::Instant),
            (_, Reading::Stored) => never(Form::Text),
        };
        let value = self.named(read_name(&name, reading), expr, form);
        let misfit = may_not_fit.then(|| formula!("(isNotNull({0}) AND {1})", stored, is_missing(&value)));
        Read { value, misfit }
    }
}

/// The column of a property that is one of this type.
fn column_of(access: &Access, stored: &ColumnType) -> Option<Expr> {
    access.plain_column().filter(|_| access.stored == *stored).map(Expr::column)
}

/// Digits with more of them after the point.
pub(super) fn times_ten(digits: &Expr, places: i8) -> Expr {
    if places == 0 {
        return digits.clone();
    }
    let factor = format!("1{}", "0".repeat(usize::from(places.unsigned_abs())));
    formula!("({0} * {1})", digits, Expr::number("Int256", factor))
}

/// What is stored at the end of a column's structs and maps.
fn field(table: &Table, access: &Access) -> Expr {
    let mut stored = table.columns.get(&access.column);
    access.fields.iter().fold(Expr::column(&access.column), |parent, key| {
        let name = Expr::text(key);
        match stored {
            Some(ColumnType::Map(value)) => {
                stored = Some(value);
                formula!("if(mapContains({0}, {1}), toNullable(arrayElement({0}, {1})), NULL)", parent, name)
            }
            Some(ColumnType::Struct(fields)) => {
                stored = fields.iter().find(|(own, _)| own == key).map(|(_, field)| field);
                formula!("tupleElement({0}, {1})", parent, name)
            }
            // INVARIANT: the path was resolved against the table.
            Some(_) | None => parent,
        }
    })
}

fn is_missing(value: &Typed) -> Expr {
    match &value.form {
        Form::Mixed => formula!("(isNull(tupleElement({0}, 1)) AND isNull(tupleElement({0}, 2)))", value.expr),
        Form::List(_) | Form::Stored { .. } => Expr::any([]),
        _ => formula!("isNull({0})", value.expr),
    }
}

/// Whether a struct or map is there: the server has none that is missing, but for those without any value.
pub(super) fn is_there(stored_as: &ColumnType, stored: &Expr) -> Expr {
    match stored_as {
        ColumnType::Map(_) => formula!("notEmpty({0})", stored),
        ColumnType::Struct(fields) => Expr::any(
            fields.iter().map(|(name, field)| is_there(field, &formula!("tupleElement({0}, {1})", stored, Expr::text(name)))),
        ),
        ColumnType::List(_) => formula!("notEmpty({0})", stored),
        _ => formula!("isNotNull({0})", stored),
    }
}

/// A list with each element read; one that does not fit is missing.
fn elements(list: &Expr, of: &ColumnType, element: ElementType) -> (Expr, Form) {
    let map = |text: &'static str| Expr::Formula(text, vec![list.clone()]);
    match (of, element) {
        (ColumnType::Text, ElementType::Text | ElementType::Any) => {
            (map("arrayMap(e -> toNullable(toString(e)), {0})"), Form::Text)
        }
        (ColumnType::Text, ElementType::Number) => {
            let text = formula!("ifNull(toString(e), '')");
            (formula!("arrayMap(e -> {1}, {0})", list, number::mixed_of_text(&text)), Form::Mixed)
        }
        (ColumnType::Text, ElementType::Boolean) => {
            (formula!("arrayMap(e -> {1}, {0})", list, json::boolean_of_text(&formula!("toString(e)"))), Form::Boolean)
        }
        (ColumnType::Integer | ColumnType::Unsigned, ElementType::Text) => {
            (map("arrayMap(e -> toNullable(toString(e)), {0})"), Form::Text)
        }
        (ColumnType::Integer, ElementType::Number | ElementType::Any) => {
            (map("arrayMap(e -> toNullable(toInt64(e)), {0})"), Form::Integer { unsigned: false })
        }
        (ColumnType::Unsigned, ElementType::Number | ElementType::Any) => {
            (map("arrayMap(e -> toNullable(toUInt64(e)), {0})"), Form::Integer { unsigned: true })
        }
        (ColumnType::Float, ElementType::Number | ElementType::Any) => {
            (map("arrayMap(e -> if(isFinite(e), toFloat64(e) + 0., NULL), {0})"), Form::Float)
        }
        (ColumnType::Decimal { scale, .. }, ElementType::Number | ElementType::Any) => {
            let digits = formula!(
                "arrayMap(e -> toNullable(reinterpretAsInt256(toDecimal256(e, {1}))), {0})",
                list,
                Expr::number("UInt8", scale)
            );
            (digits, Form::Exact { scale: *scale })
        }
        (ColumnType::Boolean, ElementType::Boolean | ElementType::Any) => {
            (map("arrayMap(e -> toNullable(toUInt8(e)), {0})"), Form::Boolean)
        }
        (_, ElementType::Text | ElementType::Any) => (map("arrayMap(e -> CAST(NULL AS Nullable(String)), {0})"), Form::Text),
        (_, ElementType::Number) => (map("arrayMap(e -> CAST(NULL AS Nullable(Int64)), {0})"), Form::Integer { unsigned: false }),
        (_, ElementType::Boolean) => (map("arrayMap(e -> CAST(NULL AS Nullable(UInt8)), {0})"), Form::Boolean),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Stored(access, _) => access.to_string(),
        Value::DaysSince(access) => format!("days since {access}"),
        Value::DaysToAnniversary(access) => format!("days to anniversary of {access}"),
        Value::Part(part, access) => format!("{} of {access}", part.keyword()),
        Value::Mean(paths) => {
            let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
            format!("mean of {}", names.join(", "))
        }
    }
}
