//! Definitions that fit the tables: every leaf, operator, value type, measure, window and date form.

use segmenta::model::catalog::{ColumnType, SubjectTable};
use segmenta::model::condition::Subject;
use segmenta::model::operator::{Operator, ValueType};
use segmenta::model::property::DatePart;
use segmenta::model::window::{Anchor, DateExpr};
use serde_json::{Value as Json, json};

use super::combination::{Combination, Derived, Pattern, Place, ProductId, Ranked, RowMeasure, Steps};
use super::data::Data;
use super::dice::Dice;
use super::properties::{self, Candidate, Kind};
use super::values;
use crate::reference::dates::Calendar;
use crate::reference::value::Row;

/// Writes conditions over the tables of a batch.
pub(crate) struct Author<'a> {
    pub(crate) dice: &'a mut Dice,
    pub(crate) data: &'a Data,
    pub(crate) calendar: Calendar,
    /// The segments so far, to refer to.
    pub(crate) written: Vec<(String, Subject)>,
    users: Vec<Candidate>,
    products: Vec<Candidate>,
    events: Vec<Candidate>,
}

impl<'a> Author<'a> {
    pub(crate) fn new(dice: &'a mut Dice, data: &'a Data) -> Self {
        let of = |table: Option<&SubjectTable>| table.map(|table| properties::candidates(&table.table));
        Self {
            dice,
            data,
            written: Vec::new(),
            calendar: Calendar { zone: data.catalog.timezone.parse().expect("a zone"), as_of: data.as_of.as_microsecond() },
            users: of(data.catalog.users.as_ref()).unwrap_or_default(),
            products: of(data.catalog.products.as_ref()).unwrap_or_default(),
            events: data.catalog.events.as_ref().map(|events| properties::candidates(&events.table)).unwrap_or_default(),
        }
    }

    /// Whether the tables have what a ranking needs.
    pub(crate) fn can_rank(&self, subject: Subject, ranked: Ranked) -> bool {
        match ranked {
            Ranked::Attribute(of) | Ranked::Derived(of) => self.can_write(subject, Place::Attribute(of)),
            Ranked::Rows(_) | Ranked::Number(_) => true,
        }
    }

    /// Whether the tables have what a leaf needs.
    pub(crate) fn can_write(&self, subject: Subject, place: Place) -> bool {
        match place {
            Place::Attribute(of) => of == subject && !self.subject_candidates(subject).is_empty(),
            Place::Where | Place::Value(_) => true,
        }
    }

    fn subject_candidates(&self, subject: Subject) -> &[Candidate] {
        match subject {
            Subject::User => &self.users,
            Subject::Product => &self.products,
        }
    }

    fn subject_rows(&self, subject: Subject) -> &'a [Row] {
        match subject {
            Subject::User => &self.data.tables.users,
            Subject::Product => &self.data.tables.products,
        }
    }

    /// A leaf that shows one combination.
    pub(crate) fn leaf(&mut self, subject: Subject, combination: Combination) -> Json {
        match combination {
            Combination::Value { place, value_type, operator } => self.value_leaf(subject, place, value_type, operator),
            Combination::Derived { place, derived, operator } => {
                let (candidates, rows) = self.source(subject, place);
                let test = self.derived_test(&candidates, rows, derived, operator);
                self.wrap(subject, place, test)
            }
            Combination::Rows { measure, operator } => {
                let mut leaf = self.event_leaf();
                if measure != RowMeasure::Count || self.dice.chance(50) {
                    leaf["measure"] = json!(measure.keyword());
                }
                let literal = |author: &mut Self| match measure {
                    RowMeasure::DaysSinceFirst | RowMeasure::DaysSinceLast => author.days_literal(),
                    RowMeasure::Count | RowMeasure::ActiveDays | RowMeasure::ActiveWeeks | RowMeasure::ActiveMonths => {
                        author.dice.below(5).to_string()
                    }
                };
                self.number_test(&mut leaf, operator, literal);
                leaf
            }
            Combination::Number { measure, operator } => {
                let list = |kind: &Kind| matches!(kind, Kind::Column(ColumnType::List(_)));
                let numeric = |candidate: &&Candidate| match measure {
                    "count_distinct" => !list(&candidate.kind),
                    _ => properties::fits(&candidate.kind, ValueType::Number),
                };
                let candidates: Vec<Candidate> = self.events.iter().filter(numeric).cloned().collect();
                let candidate = self.dice.pick_owned(&candidates);
                let rows = &self.data.tables.events;
                let mut leaf = self.event_leaf();
                leaf["measure"] = json!({ measure: candidate.path });
                let few = measure == "count_distinct";
                self.number_test(&mut leaf, operator, |author| {
                    if few { author.dice.below(4).to_string() } else { properties::number_of(author.dice, &candidate, rows) }
                });
                leaf
            }
            Combination::Everyone => json!({"type": "everyone"}),
            Combination::Lifecycle(pattern) => self.lifecycle(pattern),
            Combination::Top(ranked) => self.top(ranked),
            Combination::Compare(left) => self.compare(subject, left),
            Combination::Sequence(steps) => self.sequence(steps),
            Combination::Signal(signal, product) => self.signal(signal, product),
            Combination::Sample => {
                let mut leaf = json!({"type": "sample", "percent": *self.dice.pick(&[0.0, 0.5, 10.0, 33.3, 50.0, 99.9, 100.0])});
                if self.dice.chance(50) {
                    leaf["salt"] = json!(*self.dice.pick(&["exp-1", "", "Σ:", "a"]));
                }
                leaf
            }
        }
    }

    fn source(&self, subject: Subject, place: Place) -> (Vec<Candidate>, &'a [Row]) {
        match place {
            Place::Attribute(_) => (self.subject_candidates(subject).to_vec(), self.subject_rows(subject)),
            Place::Where | Place::Value(_) => (self.events.clone(), &self.data.tables.events),
        }
    }

    /// Puts a test of a property where it belongs.
    fn wrap(&mut self, subject: Subject, place: Place, mut test: Json) -> Json {
        match place {
            Place::Attribute(_) => {
                test["type"] = json!(format!("{}_attribute", subject.keyword()));
                test
            }
            Place::Where | Place::Value(_) => {
                let mut leaf = self.event_leaf();
                let test = match self.dice.below(5) {
                    0 => json!({"not": test}),
                    1 => {
                        let other = self.any_row_test();
                        json!({"logic": *self.dice.pick(&["and", "or"]), "conditions": [test, other]})
                    }
                    2 => {
                        let others = [self.any_row_test(), self.any_row_test()];
                        json!({"at_least": 2, "of": [others[0], test, others[1]]})
                    }
                    _ => test,
                };
                leaf["where"] = json!([test]);
                if self.dice.chance(30) {
                    leaf["operator"] = json!(*self.dice.pick(&["eq", "lt", "gte"]));
                    leaf["value"] = json!(self.dice.below(3));
                }
                leaf
            }
        }
    }

    fn value_leaf(&mut self, subject: Subject, place: Place, value_type: ValueType, operator: Operator) -> Json {
        let (candidates, rows) = self.source(subject, place);
        let fitting: Vec<Candidate> =
            candidates.into_iter().filter(|candidate| properties::fits(&candidate.kind, value_type)).collect();
        let candidate = self.dice.pick_owned(&fitting);
        let mut test = json!({});
        self.value_test(&mut test, &candidate, rows, value_type, operator);
        if matches!(place, Place::Value(_))
            && candidate.kind == Kind::Json
            && matches!(operator, Operator::IsSet | Operator::IsNotSet)
        {
            test["value_type"] = json!(value_type.keyword());
        }
        match place {
            Place::Attribute(_) | Place::Where => {
                test["property"] = json!(candidate.path);
                self.wrap(subject, place, test)
            }
            Place::Value(measure) => {
                let mut leaf = self.event_leaf();
                leaf["measure"] = json!({ measure.keyword(): candidate.path });
                for (key, value) in test.as_object().expect("an object") {
                    leaf[key] = value.clone();
                }
                leaf
            }
        }
    }

    /// A test of an event for company.
    fn any_row_test(&mut self) -> Json {
        json!({"property": *self.dice.pick(&["channel", "quantity", "ok", "price"]), "operator": *self.dice.pick(&["is_set", "is_not_set"])})
    }

    fn event_leaf(&mut self) -> Json {
        let mut leaf = json!({"type": "event"});
        if self.dice.chance(60) {
            let pattern = |author: &mut Self| {
                let event_type = *author.dice.pick(&["view", "view_item", "order", "order_completed", "odd\\*", "Order"]);
                if author.dice.chance(25) {
                    json!(*author.dice.pick(&["view*", "order_*", "*", "o*", "odd\\**"]))
                } else {
                    json!(event_type)
                }
            };
            leaf["event_type"] = if self.dice.chance(50) { pattern(self) } else { json!([pattern(self), pattern(self)]) };
        }
        if self.dice.chance(70) {
            leaf["window"] = self.window();
        }
        leaf
    }

    /// A segment of a subject before this one, or a kept one.
    pub(crate) fn segment_of(&mut self, subject: Subject) -> String {
        let mut ids: Vec<String> = match subject {
            Subject::User => vec!["vip".to_owned(), "paused".to_owned()],
            Subject::Product => vec!["shelf".to_owned()],
        };
        ids.extend(self.written.iter().filter(|(_, of)| *of == subject).map(|(id, _)| id.clone()));
        self.dice.pick_owned(&ids)
    }

    /// The candidates of a table in which a kind of values may stand.
    fn fitting(candidates: &[Candidate], wanted: &[ValueType]) -> Vec<Candidate> {
        let fits = |candidate: &&Candidate| wanted.iter().any(|wanted| properties::fits(&candidate.kind, *wanted));
        candidates.iter().filter(fits).cloned().collect()
    }

    fn compare(&mut self, subject: Subject, left: Ranked) -> Json {
        let left = self.quantity(left);
        let right = match self.dice.below(5) {
            // Both sides are often equal only when they are the same.
            0 => left.clone(),
            1 | 2 if self.can_write(subject, Place::Attribute(subject)) => {
                let ranked = *self.dice.pick(&[Ranked::Attribute(subject), Ranked::Derived(subject)]);
                self.quantity(ranked)
            }
            3 => self.quantity(Ranked::Rows(RowMeasure::Count)),
            _ => {
                let measure = *self.dice.pick(&["sum", "avg", "max", "count_distinct", "last"]);
                self.quantity(Ranked::Number(measure))
            }
        };
        let mut leaf = json!({"type": "compare", "left": left, "right": right});
        leaf["operator"] = json!(*self.dice.pick(&["eq", "neq", "gt", "gte", "lt", "lte"]));
        if self.dice.chance(50) {
            leaf["factor"] = json!(*self.dice.pick(&[2.0, 0.5, 1.0, 0.1, -1.0, 0.0, 3.3, 1e9]));
        }
        leaf
    }

    fn sequence(&mut self, steps: Steps) -> Json {
        let count = 2 + self.dice.below(2);
        let mut list: Vec<Json> = Vec::new();
        for _ in 0..count {
            let mut step = self.event_leaf();
            let object = step.as_object_mut().expect("an object");
            object.remove("type");
            object.remove("window");
            if self.dice.chance(30) {
                step["where"] = json!([self.any_row_test()]);
            }
            list.push(step);
        }
        let mut leaf = json!({"type": "sequence"});
        let lengths = ["45s", "90min", "12h", "1d", "7d", "3w", "1q", "1y"];
        match steps {
            Steps::Any => {}
            Steps::Within => leaf["within"] = json!(*self.dice.pick(&lengths)),
            Steps::Same => {
                let values = [ValueType::String, ValueType::Number, ValueType::Boolean, ValueType::Date];
                let single = |candidate: &Candidate| !matches!(candidate.kind, Kind::Column(ColumnType::List(_)));
                let candidates: Vec<Candidate> = Self::fitting(&self.events, &values).into_iter().filter(single).collect();
                let few = ["channel", "ok", "quantity", "product_id"];
                let count = 1 + self.dice.below(2);
                let path = |author: &mut Self| {
                    if author.dice.chance(60) {
                        (*author.dice.pick(&few)).to_owned()
                    } else {
                        author.dice.pick_owned(&candidates).path
                    }
                };
                leaf["same"] = (0..count).map(|_| json!(path(self))).collect();
                if self.dice.chance(50) {
                    leaf["within"] = json!(*self.dice.pick(&lengths));
                }
            }
            Steps::Absent => {
                leaf["within"] = json!(*self.dice.pick(&lengths));
                list.last_mut().expect("a step")["absent"] = json!(true);
                if self.dice.chance(30) {
                    leaf["same"] = json!(["channel"]);
                }
            }
        }
        leaf["steps"] = json!(list);
        if self.dice.chance(50) {
            leaf["window"] = self.window();
        }
        leaf
    }

    fn signal(&mut self, signal: &str, product: ProductId) -> Json {
        let segment = self.segment_of(Subject::User);
        let mut leaf = json!({"type": "user_behavior_signal", "signal": signal, "segment_id": segment});
        if self.dice.chance(80) {
            leaf["event_type"] = json!(*self.dice.pick(&["view*", "order_completed", "*", "o*"]));
        }
        if product == ProductId::Other {
            let candidates = self.events.iter().filter(|candidate| {
                let column = &candidate.kind;
                matches!(column, Kind::Json | Kind::Column(ColumnType::Text | ColumnType::Integer | ColumnType::Unsigned))
            });
            let candidates: Vec<Candidate> = candidates.cloned().collect();
            leaf["product_id_property"] = json!(match self.dice.below(3) {
                0 => "quantity".to_owned(),
                1 => "user_id".to_owned(),
                _ => self.dice.pick_owned(&candidates).path,
            });
        }
        if self.dice.chance(50) {
            leaf["operator"] = json!(*self.dice.pick(&["eq", "lt", "gte", "neq"]));
            leaf["value"] = json!(self.dice.below(3));
        }
        if self.dice.chance(50) {
            leaf["window"] = self.window();
        }
        leaf
    }

    fn top(&mut self, ranked: Ranked) -> Json {
        let by = self.quantity(ranked);
        let mut leaf = json!({"type": "top", "by": by});
        if self.dice.chance(50) {
            leaf["order"] = json!(*self.dice.pick(&["asc", "desc"]));
        }
        if self.dice.chance(50) {
            leaf["count"] = json!(1 + self.dice.below(8));
        } else {
            leaf["percent"] = json!(*self.dice.pick(&[0.5, 10.0, 33.3, 50.0, 66.7, 100.0]));
        }
        leaf
    }

    fn quantity(&mut self, ranked: Ranked) -> Json {
        let fitting = |candidates: &[Candidate], wanted: ValueType| -> Vec<Candidate> {
            candidates.iter().filter(|candidate| properties::fits(&candidate.kind, wanted)).cloned().collect()
        };
        match ranked {
            Ranked::Attribute(subject) => {
                let candidates = fitting(self.subject_candidates(subject), ValueType::Number);
                json!({"property": self.dice.pick_owned(&candidates).path})
            }
            Ranked::Derived(subject) => {
                let dates = fitting(self.subject_candidates(subject), ValueType::Date);
                let numbers = fitting(self.subject_candidates(subject), ValueType::Number);
                let date = self.dice.pick_owned(&dates).path;
                let means = [self.dice.pick_owned(&numbers).path, self.dice.pick_owned(&numbers).path];
                json!({"property": match self.dice.below(4) {
                    0 => json!({"days_since": date}),
                    1 => json!({"days_to_anniversary": date}),
                    2 => json!({"month": date}),
                    _ => json!({"mean": means}),
                }})
            }
            Ranked::Rows(measure) => {
                let mut by = self.event_leaf();
                by["measure"] = json!(measure.keyword());
                by
            }
            Ranked::Number(measure) => {
                let candidates = fitting(&self.events.clone(), ValueType::Number);
                let mut by = self.event_leaf();
                by["measure"] = json!({measure: self.dice.pick_owned(&candidates).path});
                by
            }
        }
    }

    fn lifecycle(&mut self, pattern: Pattern) -> Json {
        let mut leaf = self.event_leaf();
        leaf["type"] = json!("lifecycle");
        leaf.as_object_mut().expect("an object").remove("window");
        if self.dice.chance(30) {
            leaf["where"] = json!([self.any_row_test()]);
        }
        let lengths = [("1d", "7d"), ("12h", "36h"), ("1w", "3w"), ("30d", "60d"), ("1m", "1q"), ("45s", "90min"), ("1q", "1y")];
        let (short, long) = *self.dice.pick(&lengths);
        leaf["pattern"] = match pattern {
            Pattern::FirstTime => json!({"first_time": self.window()}),
            Pattern::Stopped => json!({"stopped": {"active": long, "quiet": short}}),
            Pattern::Restarted => json!({"restarted": {"quiet": long, "recent": short}}),
            Pattern::Regular => {
                let periods = 1 + self.dice.below(6);
                let mut regular = json!({"period": short, "periods": periods, "at_least": 1 + self.dice.below(periods)});
                if self.dice.chance(40) {
                    regular["count"] = json!(1 + self.dice.below(2));
                }
                json!({"regular": regular})
            }
        };
        leaf
    }

    fn window(&mut self) -> Json {
        match self.dice.below(4) {
            0 | 1 => {
                let last = ["1d", "7d", "30d", "1w", "3w", "1m", "2m", "1q", "1y", "12h", "36h", "90min", "45s", "23h", "400d"];
                json!({"last": *self.dice.pick(&last)})
            }
            2 => {
                let now = DateExpr { anchor: Anchor::Now, offsets: Vec::new(), truncation: None };
                let past: Vec<&DateExpr> = self.data.dates.iter().filter(|date| self.precedes(date, &now)).collect();
                json!({ *self.dice.pick(&["from", "to"]): self.dice.pick_owned(&past).to_string() })
            }
            _ => {
                let one = self.dice.pick_owned(&self.data.dates);
                let other = self.dice.pick_owned(&self.data.dates);
                let (from, to) = self.in_order(one, other);
                let now = DateExpr { anchor: Anchor::Now, offsets: Vec::new(), truncation: None };
                let holds = self.precedes(&from, &to) && self.precedes(&from, &now);
                if holds { json!({"from": from.to_string(), "to": to.to_string()}) } else { json!({"last": "7d"}) }
            }
        }
    }

    /// Whether a date comes before another, and not only because a clock was put back or forward in between: a definition whose dates
    /// are in order on such days alone is refused.
    fn precedes(&self, one: &DateExpr, other: &DateExpr) -> bool {
        let onward = |date: &DateExpr| date.anchor == Anchor::Tomorrow || date.offsets.iter().any(|offset| offset.amount > 0);
        let subtle = |date: &DateExpr| date.offsets.len() > 1 || onward(date);
        let margin = if subtle(one) || subtle(other) { 50 * 3_600_000_000 } else { 0 };
        self.start(one) + margin < self.start(other)
    }

    fn start(&self, date: &DateExpr) -> i64 {
        self.calendar.span(date).start
    }

    /// The dates, the earlier first; a day before an instant inside it.
    fn in_order(&self, one: DateExpr, other: DateExpr) -> (DateExpr, DateExpr) {
        let key = |date: &DateExpr| {
            let span = self.calendar.span(date);
            (span.start, span.end.is_none())
        };
        if key(&one) <= key(&other) { (one, other) } else { (other, one) }
    }

    /// The operator, literals and types of a test of a number.
    fn number_test(&mut self, test: &mut Json, operator: Operator, mut literal: impl FnMut(&mut Self) -> String) {
        test["operator"] = json!(operator.keyword());
        match operator {
            Operator::IsSet | Operator::IsNotSet => {}
            Operator::Between | Operator::NotBetween => {
                let (one, other) = (literal(self), literal(self));
                let number = |text: &str| text.parse::<bigdecimal::BigDecimal>().expect("a number");
                let (low, high) = if number(&one) <= number(&other) { (one, other) } else { (other, one) };
                test["value"] = self.number_literal(&low);
                test["value2"] = self.number_literal(&high);
            }
            Operator::In | Operator::NotIn => {
                let count = 1 + self.dice.below(4);
                let literals: Vec<String> = (0..count).map(|_| literal(self)).collect();
                test["value"] = literals.iter().map(|text| self.number_literal(text)).collect();
            }
            _ => {
                let text = literal(self);
                test["value"] = self.number_literal(&text);
            }
        }
    }

    /// A number as JSON, or as the text that says it; the text where JSON libraries would round it.
    fn number_literal(&mut self, text: &str) -> Json {
        if self.dice.chance(80) {
            if let Ok(value) = text.parse::<i64>() {
                return json!(value);
            }
            if let Ok(value) = text.parse::<f64>()
                && format!("{value:?}") == text
            {
                return json!(value);
            }
        }
        json!(text)
    }

    /// A number of days: whole, half, or exactly up to an instant that occurs.
    fn days_literal(&mut self) -> String {
        match self.dice.below(4) {
            0 => self.dice.below(40).to_string(),
            1 => format!("{}.5", self.dice.below(10)),
            _ => {
                let at: jiff::Timestamp = self.dice.pick(&self.data.instants).parse().expect("an instant");
                let micros = self.data.as_of.as_microsecond() - at.as_microsecond();
                let days = bigdecimal::BigDecimal::from(micros) / bigdecimal::BigDecimal::from(86_400_000_000_i64);
                days.with_scale_round(14, bigdecimal::RoundingMode::HalfEven).normalized().to_plain_string()
            }
        }
    }

    fn derived_test(&mut self, candidates: &[Candidate], rows: &[Row], derived: Derived, operator: Operator) -> Json {
        let wanted = if derived == Derived::Mean { ValueType::Number } else { ValueType::Date };
        let fitting: Vec<Candidate> =
            candidates.iter().filter(|candidate| properties::fits(&candidate.kind, wanted)).cloned().collect();
        let path = self.dice.pick_owned(&fitting).path;
        let mut test = json!({});
        test["property"] = match derived {
            Derived::DaysSince => json!({"days_since": path}),
            Derived::DaysToAnniversary => json!({"days_to_anniversary": path}),
            Derived::Part(part) => json!({part.keyword(): path}),
            Derived::Mean => {
                let count = 1 + self.dice.below(3);
                let paths: Vec<String> = (0..count).map(|_| self.dice.pick_owned(&fitting).path).collect();
                json!({"mean": paths})
            }
        };
        let any = Candidate { path, kind: Kind::Json };
        self.number_test(&mut test, operator, |author| match derived {
            Derived::DaysSince => author.days_literal(),
            Derived::DaysToAnniversary => author.dice.below(366).to_string(),
            Derived::Part(DatePart::Year) => author.dice.between(2008, 2026).to_string(),
            Derived::Part(DatePart::Month | DatePart::Day | DatePart::Weekday | DatePart::Hour) => {
                author.dice.below(24).to_string()
            }
            Derived::Mean => properties::number_of(author.dice, &any, rows),
        });
        test
    }

    /// The operator, literals and types of a test of a stored value.
    fn value_test(&mut self, test: &mut Json, candidate: &Candidate, rows: &[Row], value_type: ValueType, operator: Operator) {
        if properties::default_type(&candidate.kind) != Some(value_type) || self.dice.chance(20) {
            test["value_type"] = json!(value_type.keyword());
        }
        match value_type {
            ValueType::Number | ValueType::Price => {
                self.number_test(test, operator, |author| properties::number_of(author.dice, candidate, rows));
            }
            ValueType::String | ValueType::Url => self.text_test(test, candidate, rows, operator),
            ValueType::Boolean => {
                test["operator"] = json!(operator.keyword());
                if matches!(operator, Operator::Eq | Operator::Neq) {
                    test["value"] = json!(self.dice.chance(50));
                }
            }
            ValueType::Date => self.date_test(test, operator),
            ValueType::Array => self.array_test(test, candidate, rows, operator),
        }
        // The literal alone says the type where JSON has none.
        let said_by_value = match value_type {
            ValueType::String => {
                matches!(operator, Operator::Eq | Operator::Neq | Operator::Contains | Operator::In | Operator::StartsWith)
            }
            ValueType::Number => test.get("value").is_some_and(Json::is_number),
            ValueType::Boolean => matches!(operator, Operator::IsTrue | Operator::IsFalse | Operator::Eq),
            ValueType::Price | ValueType::Array | ValueType::Url | ValueType::Date => false,
        };
        let unsaid = said_by_value || matches!(operator, Operator::IsSet | Operator::IsNotSet);
        if candidate.kind == Kind::Json && unsaid && self.dice.chance(40) {
            test.as_object_mut().expect("an object").remove("value_type");
        }
    }

    fn text_test(&mut self, test: &mut Json, candidate: &Candidate, rows: &[Row], operator: Operator) {
        test["operator"] = json!(operator.keyword());
        let text = |author: &mut Self| {
            let text = properties::text_of(author.dice, candidate, rows);
            match author.dice.below(6) {
                0 => text.to_uppercase(),
                1 => text.to_lowercase(),
                _ => text,
            }
        };
        match operator {
            Operator::IsSet | Operator::IsNotSet => return,
            Operator::In | Operator::NotIn => {
                let count = 1 + self.dice.below(4);
                test["value"] = (0..count).map(|_| json!(text(self))).collect();
            }
            Operator::Matches => test["value"] = json!(*self.dice.pick(values::PATTERNS)),
            Operator::Eq | Operator::Neq => test["value"] = json!(text(self)),
            _ => {
                let whole: Vec<char> = text(self).chars().collect();
                let part: String = if whole.is_empty() {
                    (*self.dice.pick(&["%", "_", "*", "a", "7", "Σ"])).to_owned()
                } else {
                    let start = self.dice.below(whole.len());
                    let end = start + 1 + self.dice.below(whole.len() - start);
                    match operator {
                        Operator::StartsWith => whole[..end].iter().collect(),
                        Operator::EndsWith => whole[start..].iter().collect(),
                        _ => whole[start..end].iter().collect(),
                    }
                };
                test["value"] = json!(part);
            }
        }
        if self.dice.chance(30) {
            test["ignore_case"] = json!(true);
        }
    }

    fn date_test(&mut self, test: &mut Json, operator: Operator) {
        test["operator"] = json!(operator.keyword());
        match operator {
            Operator::IsSet | Operator::IsNotSet => {}
            Operator::Between | Operator::NotBetween => {
                let (one, other) = (self.dice.pick_owned(&self.data.dates), self.dice.pick_owned(&self.data.dates));
                let (low, high) = self.in_order(one, other);
                let span = self.calendar.span(&low);
                // A day that a zone skipped is empty, and a range of nothing but it is refused.
                let skipped = span.end == Some(span.start);
                let low = if skipped { DateExpr { anchor: Anchor::Yesterday, offsets: Vec::new(), truncation: None } } else { low };
                let high = if self.precedes(&low, &high) { high } else { low.clone() };
                test["value"] = json!(low.to_string());
                test["value2"] = json!(high.to_string());
            }
            _ if self.dice.chance(40) => test["value"] = json!(self.dice.pick_owned(&self.data.instants)),
            _ => test["value"] = json!(self.dice.pick_owned(&self.data.dates).to_string()),
        }
    }

    fn array_test(&mut self, test: &mut Json, candidate: &Candidate, rows: &[Row], operator: Operator) {
        test["operator"] = json!(operator.keyword());
        let kind = match &candidate.kind {
            Kind::Column(ColumnType::List(element)) => match element.as_ref() {
                ColumnType::Integer | ColumnType::Float => *self.dice.pick(&["number", "number", "text"]),
                ColumnType::Boolean => "boolean",
                _ => *self.dice.pick(&["text", "text", "text", "number"]),
            },
            _ => *self.dice.pick(&["text", "number", "boolean"]),
        };
        let element = |author: &mut Self| match kind {
            "number" => json!(author.dice.between(-3, 12)),
            "boolean" => json!(author.dice.chance(50)),
            _ => json!(properties::text_of(author.dice, candidate, rows)),
        };
        match operator {
            Operator::IsSet | Operator::IsNotSet => return,
            Operator::ContainsAny | Operator::ContainsAll => {
                let count = 1 + self.dice.below(3);
                test["value"] = (0..count).map(|_| element(self)).collect();
            }
            _ => test["value"] = element(self),
        }
        if kind == "text" && self.dice.chance(30) {
            test["ignore_case"] = json!(true);
        }
    }
}
