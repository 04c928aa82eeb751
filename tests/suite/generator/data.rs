//! Tables: users, products and events, with everything that data gets wrong.

use jiff::Timestamp;
use segmenta::model::catalog::{Access, Catalog, ColumnType, EventTable, SubjectTable, Table, Universe};
use segmenta::model::window::{Anchor, DateExpr, Offset, Truncation, Unit};

use super::dice::Dice;
use super::values::{self, MISSING_PERCENT};
use crate::reference::MemoryTables;
use crate::reference::dates::Calendar;
use crate::reference::value::{Row, Value};
use crate::tables::Columns;

/// Zones and instants near which their clocks change, or a day or month ends.
const PLACES: &[(&str, &[&str])] = &[
    ("UTC", &["2026-03-31T00:00:00Z", "2024-02-29T12:34:56.789012Z", "2026-01-01T00:00:00Z"]),
    ("Europe/Berlin", &["2026-03-29T12:00:00Z", "2026-03-30T00:30:00Z", "2026-10-25T23:00:00Z", "2026-10-26T01:30:00Z"]),
    ("America/Sao_Paulo", &["2018-11-05T02:00:00Z", "2018-11-04T03:00:00Z", "2018-02-18T12:00:00Z"]),
    ("America/Havana", &["2018-11-05T05:00:00Z", "2018-03-11T12:00:00Z"]),
    ("Pacific/Apia", &["2011-12-31T10:00:00Z", "2012-01-05T00:00:00Z"]),
    ("America/St_Johns", &["2008-11-02T12:00:00Z", "2008-11-02T02:45:00Z"]),
    ("Asia/Kathmandu", &["2026-07-15T18:15:00Z"]),
    ("Australia/Lord_Howe", &["2026-04-05T03:00:00Z", "2026-10-04T12:00:00.000001Z"]),
];

/// A tenant's tables, and what definitions take their literals from.
pub(crate) struct Data {
    pub(crate) catalog: Catalog,
    pub(crate) as_of: Timestamp,
    pub(crate) tables: MemoryTables,
    /// Dates of every form.
    pub(crate) dates: Vec<DateExpr>,
    /// Instants on the edges of those dates and a microsecond off, as text.
    pub(crate) instants: Vec<String>,
}

pub(crate) fn generate(dice: &mut Dice) -> Data {
    let (zone, moments) = dice.pick(PLACES);
    let as_of: Timestamp = dice.pick(moments).parse().expect("an instant");
    let calendar = Calendar { zone: zone.parse().expect("a zone"), as_of: as_of.as_microsecond() };
    let dates = dates(dice, as_of);
    let times = times(dice, &calendar, &dates);
    let instants: Vec<String> = times.iter().map(|at| instant_text(dice, *at)).collect();
    let numeric_keys = dice.chance(20);
    let mut maker = Maker { dice, times: &times, instants: &instants, calendar: &calendar, numeric_keys };
    let users = maker.subjects("u", user_columns(numeric_keys), "user_id");
    let products = maker.subjects("p", product_columns(), "product_id");
    let events = maker.events();
    let mut catalog = Catalog { timezone: (*zone).to_owned(), users: None, products: None, events: Some(events.0) };
    let mut tables = MemoryTables { events: events.1, ..MemoryTables::default() };
    // Without a table, who exists is known from the events alone.
    if !dice.chance(10) {
        (catalog.users, tables.users) = (Some(users.0), users.1);
    }
    if !dice.chance(15) {
        (catalog.products, tables.products) = (Some(products.0), products.1);
        if let Some(products) = &mut catalog.products {
            products.table.data = Some("data".to_owned());
        }
    }
    Data { catalog, as_of, tables, dates, instants }
}

fn columns(of: Vec<(&str, ColumnType)>) -> Columns {
    of.into_iter().map(|(name, column_type)| (name.to_owned(), column_type)).collect()
}

fn list(element: ColumnType) -> ColumnType {
    ColumnType::List(Box::new(element))
}

fn fields(of: Vec<(&str, ColumnType)>) -> ColumnType {
    ColumnType::Struct(of.into_iter().map(|(name, field)| (name.to_owned(), field)).collect())
}

fn user_columns(numeric_keys: bool) -> Columns {
    let inner = fields(vec![("flag", ColumnType::Boolean), ("code", ColumnType::Text)]);
    columns(vec![
        ("user_id", if numeric_keys { ColumnType::Integer } else { ColumnType::Text }),
        ("country", ColumnType::Text),
        ("note", ColumnType::Text),
        ("age", ColumnType::Integer),
        ("points", ColumnType::Unsigned),
        ("score", ColumnType::Float),
        ("balance", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("wealth", ColumnType::Decimal { precision: 45, scale: 5 }),
        ("active", ColumnType::Boolean),
        ("born", ColumnType::Date),
        ("seen", ColumnType::Timestamp),
        ("tags", list(ColumnType::Text)),
        ("numbers", list(ColumnType::Integer)),
        ("ratios", list(ColumnType::Float)),
        ("flags", list(ColumnType::Boolean)),
        (
            "profile",
            fields(vec![
                ("city", ColumnType::Text),
                ("level", ColumnType::Integer),
                ("since", ColumnType::Timestamp),
                ("inner", inner),
            ]),
        ),
        ("traits", ColumnType::Map(Box::new(ColumnType::Float))),
        ("labels", ColumnType::Map(Box::new(ColumnType::Text))),
        ("props", ColumnType::Json),
        ("raw", ColumnType::Text),
        ("revision", ColumnType::Integer),
    ])
}

fn product_columns() -> Columns {
    columns(vec![
        ("product_id", ColumnType::Text),
        ("title", ColumnType::Text),
        ("price", ColumnType::Decimal { precision: 10, scale: 2 }),
        ("stock", ColumnType::Integer),
        ("weight", ColumnType::Float),
        ("listed", ColumnType::Boolean),
        ("launched", ColumnType::Date),
        ("tags", list(ColumnType::Text)),
        ("data", ColumnType::Json),
        ("revision", ColumnType::Integer),
    ])
}

fn event_columns(numeric_keys: bool) -> Columns {
    columns(vec![
        ("event_id", ColumnType::Text),
        ("user_id", if numeric_keys { ColumnType::Integer } else { ColumnType::Text }),
        ("product_id", ColumnType::Text),
        ("event_type", ColumnType::Text),
        ("timestamp", ColumnType::Timestamp),
        ("price", ColumnType::Float),
        ("amount", ColumnType::Decimal { precision: 20, scale: 4 }),
        ("quantity", ColumnType::Integer),
        ("serial", ColumnType::Unsigned),
        ("channel", ColumnType::Text),
        ("ok", ColumnType::Boolean),
        ("due", ColumnType::Date),
        ("shipped", ColumnType::Timestamp),
        ("tags", list(ColumnType::Text)),
        ("context", fields(vec![("page", ColumnType::Text), ("depth", ColumnType::Integer)])),
        ("props", ColumnType::Json),
        ("raw", ColumnType::Text),
    ])
}

/// Dates of every form, steps of every unit, truncations of every size.
fn dates(dice: &mut Dice, as_of: Timestamp) -> Vec<DateExpr> {
    let date = |anchor, offsets: &[(i64, Unit)], truncation| DateExpr {
        anchor,
        offsets: offsets.iter().map(|&(amount, unit)| Offset { amount, unit }).collect(),
        truncation,
    };
    let mut dates = vec![
        date(Anchor::Now, &[], None),
        date(Anchor::Today, &[], None),
        date(Anchor::Yesterday, &[], None),
        date(Anchor::Tomorrow, &[], None),
        date(Anchor::Today, &[(-7, Unit::Day)], None),
        date(Anchor::Today, &[(-1, Unit::Day), (3, Unit::Hour)], None),
        date(Anchor::Now, &[(-1, Unit::Month)], Some(Truncation::Month)),
    ];
    for unit in Unit::ALL {
        let amount = -dice.between(1, 6);
        dates.push(date(Anchor::Now, &[(amount, unit)], None));
        let anchor = dice.pick_owned(&[Anchor::Today, Anchor::Yesterday, Anchor::Tomorrow]);
        dates.push(date(anchor, &[(dice.between(-4, 2), unit)], None));
        dates.push(date(Anchor::Now, &[(-dice.between(1, 3), unit), (dice.between(-30, 30), *dice.pick(&Unit::ALL))], None));
    }
    for truncation in Truncation::ALL {
        dates.push(date(Anchor::Now, &[], Some(truncation)));
        dates.push(date(Anchor::Now, &[(-dice.between(1, 3), *dice.pick(&Unit::ALL))], Some(truncation)));
        dates.push(date(Anchor::Today, &[(-dice.between(1, 40), Unit::Day)], Some(truncation)));
    }
    let day = as_of.to_zoned(jiff::tz::TimeZone::UTC).date();
    for days in [0, 1, 3, 30] {
        dates.push(date(Anchor::Day(day - jiff::Span::new().days(days)), &[], None));
    }
    let minutes = dice.between(1, 50_000);
    dates.push(date(Anchor::Instant(as_of - jiff::SignedDuration::from_mins(minutes)), &[], None));
    // `+0d` and its like are `now` in disguise; authors do not write them.
    dates.retain(|date| date.offsets.iter().all(|offset| offset.amount != 0));
    dates
}

/// Instants that matter: the edges of the dates, `as_of`, and anything in the months before it.
fn times(dice: &mut Dice, calendar: &Calendar, dates: &[DateExpr]) -> Vec<i64> {
    let mut times = vec![calendar.as_of - 1, calendar.as_of - 1, calendar.as_of, calendar.as_of + 1];
    for date in dates {
        let span = calendar.span(date);
        for edge in std::iter::once(span.start).chain(span.end) {
            times.push(edge + dice.between(-1, 1));
        }
    }
    for _ in 0..times.len() {
        let days = *dice.pick(&[1, 3, 10, 40, 400]);
        times.push(calendar.as_of - dice.between(1, days * 86_400_000_000));
    }
    times
}

/// RFC 3339, in UTC or with an offset.
fn instant_text(dice: &mut Dice, at: i64) -> String {
    let at = Timestamp::from_microsecond(at).expect("an instant");
    let offset = *dice.pick(&[0, 0, 2, -3]);
    if offset == 0 {
        return at.to_string();
    }
    let zoned = at.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(offset)));
    zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

struct Maker<'a> {
    dice: &'a mut Dice,
    times: &'a [i64],
    instants: &'a [String],
    calendar: &'a Calendar,
    numeric_keys: bool,
}

impl Maker<'_> {
    fn subjects(&mut self, prefix: &str, columns: Columns, key: &str) -> (SubjectTable, Vec<Row>) {
        let count = 3 + self.dice.below(12);
        let versioned = self.dice.chance(15);
        let mut rows = Vec::new();
        for number in 0..count {
            let mut row = self.row(&columns);
            row.insert(key.to_owned(), self.key(&columns[key], prefix, number));
            row.insert("revision".to_owned(), Value::I64(1));
            if versioned && self.dice.chance(40) {
                let mut older = self.row(&columns);
                older.insert(key.to_owned(), row[key].clone());
                let revision = if self.dice.chance(30) { Value::Null } else { Value::I64(self.dice.between(-5, 0)) };
                older.insert("revision".to_owned(), revision);
                rows.push(older);
            }
            rows.push(row);
        }
        for nobody in [Value::Null, Value::Text(String::new())] {
            let fits = nobody == Value::Null || columns[key] == ColumnType::Text;
            if fits && self.dice.chance(25) {
                let mut row = self.row(&columns);
                row.insert(key.to_owned(), nobody);
                rows.push(row);
            }
        }
        let key = Access::column(key, columns[key].clone());
        let version = versioned.then(|| Access::column("revision", ColumnType::Integer));
        let universe =
            self.dice.pick_owned(&[Universe::Table, Universe::Table, Universe::Table, Universe::Events, Universe::Union]);
        (SubjectTable { table: Table { columns, data: None }, key, version, universe }, rows)
    }

    fn key(&mut self, column_type: &ColumnType, prefix: &str, number: usize) -> Value {
        match column_type {
            ColumnType::Integer => Value::I64(i64::try_from(number).expect("a small number")),
            _ => Value::Text(if number % 5 == 4 { format!("{number}") } else { format!("{prefix}{number}") }),
        }
    }

    fn events(&mut self) -> (EventTable, Vec<Row>) {
        let columns = event_columns(self.numeric_keys);
        let count = self.dice.below(90);
        let deduplicate = self.dice.chance(25);
        let mut rows: Vec<Row> = Vec::new();
        for number in 0..count {
            if deduplicate && self.dice.chance(25) && !rows.is_empty() {
                let mut twin = self.dice.pick_owned(&rows);
                match self.dice.below(4) {
                    0 => {}
                    1 => drop(twin.insert("timestamp".to_owned(), Value::Timestamp(*self.dice.pick(self.times)))),
                    2 => drop(twin.insert("price".to_owned(), self.value(&ColumnType::Float))),
                    _ => drop(twin.insert("event_type".to_owned(), self.event_type())),
                }
                rows.push(twin);
                continue;
            }
            let mut row = self.row(&columns);
            let user = self.dice.below(17);
            let product = self.dice.below(17);
            row.insert("user_id".to_owned(), self.key(&columns["user_id"], "u", user));
            row.insert("product_id".to_owned(), self.key(&columns["product_id"], "p", product));
            row.insert("timestamp".to_owned(), Value::Timestamp(*self.dice.pick(self.times)));
            row.insert("event_type".to_owned(), self.event_type());
            let id = if self.dice.chance(10) { Value::Null } else { Value::Text(format!("e{}", (number * 7) % 100)) };
            row.insert("event_id".to_owned(), id);
            for key in ["user_id", "product_id", "timestamp"] {
                if self.dice.chance(5) {
                    row.insert(key.to_owned(), Value::Null);
                }
            }
            rows.push(row);
        }
        let access = |name: &str| Access::column(name, columns[name].clone());
        let table = EventTable {
            user_key: Some(access("user_id")),
            product_key: Some(access("product_id")),
            event_type: Some(access("event_type")),
            timestamp: access("timestamp"),
            event_id: Some(access("event_id")),
            deduplicate,
            table: Table { data: if self.dice.chance(30) { Some("props".to_owned()) } else { None }, columns: columns.clone() },
        };
        (table, rows)
    }

    fn event_type(&mut self) -> Value {
        if self.dice.chance(8) { Value::Null } else { Value::Text((*self.dice.pick(values::EVENT_TYPES)).to_owned()) }
    }

    fn row(&mut self, columns: &Columns) -> Row {
        columns
            .iter()
            .map(|(name, column_type)| {
                let value = if name == "raw" {
                    self.or_missing(|maker| Value::Text(values::json(maker.dice, maker.instants)))
                } else {
                    self.value(column_type)
                };
                (name.clone(), value)
            })
            .collect()
    }

    fn or_missing(&mut self, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.dice.chance(MISSING_PERCENT) { Value::Null } else { make(self) }
    }

    fn value(&mut self, column_type: &ColumnType) -> Value {
        self.or_missing(|maker| match column_type {
            ColumnType::Boolean => Value::Bool(maker.dice.chance(50)),
            ColumnType::Integer => Value::I64(values::integer(maker.dice)),
            ColumnType::Unsigned => Value::U64(*maker.dice.pick(values::UNSIGNED)),
            ColumnType::Float => Value::F64(*maker.dice.pick(values::FLOATS)),
            ColumnType::Decimal { precision, scale } => {
                let unscaled = match (maker.dice.below(4), precision) {
                    (0, 39..) => "-9007199254740993000000000000000000000001".parse().expect("digits"),
                    (1, 16..) => 90_071_992_547_409_930_000_i128.into(),
                    _ => maker.dice.between(-500, 2000).into(),
                };
                Value::Decimal { unscaled, scale: (*scale).into() }
            }
            ColumnType::Text => Value::Text(values::text(maker.dice)),
            ColumnType::Json => Value::Text(values::json(maker.dice, maker.instants)),
            ColumnType::Date => {
                let around = maker.calendar.local_date(*maker.dice.pick(maker.times));
                let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
                let years = if maker.dice.chance(30) { maker.dice.between(-40, 2) * 365 } else { 0 };
                Value::Date(i32::try_from((around - epoch).num_days() + years).expect("a date of this age"))
            }
            ColumnType::Timestamp => Value::Timestamp(*maker.dice.pick(maker.times)),
            ColumnType::List(element) => {
                let count = maker.dice.below(4);
                Value::List((0..count).map(|_| maker.value(element)).collect())
            }
            ColumnType::Struct(fields) => {
                Value::Object(fields.iter().map(|(name, field)| (name.clone(), maker.value(field))).collect())
            }
            ColumnType::Map(value) => {
                let mut members = Vec::new();
                for key in ["a", "x.y", "Z"] {
                    if maker.dice.chance(60) {
                        members.push((key.to_owned(), maker.value(value)));
                    }
                }
                Value::Object(members)
            }
            ColumnType::Other(name) => panic!("no rows hold {name}"),
        })
    }
}
