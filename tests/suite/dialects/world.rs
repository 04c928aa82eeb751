//! Users, products and events by chance, for foreign documents to be about; as JSON, and as a scenario.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use segmenta::syntax::dialect::Dialect;
use serde_json::{Map, Value as Json, json};

use super::meaning::Clock;
use crate::generator::dice::Dice;
use crate::scenario::Scenario;

pub(crate) type Row = Map<String, Json>;

const USERS: usize = 30;
const PRODUCTS: usize = 24;
const EVENTS: usize = 160;

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) clock: Clock,
    pub(crate) users: Vec<Row>,
    pub(crate) products: Vec<Row>,
    pub(crate) events: Vec<Row>,
    /// Whether counts of events are columns of the users.
    pub(crate) has_counts: bool,
}

/// A segment of users that documents may refer to: those whose plan is `pro`.
pub(crate) const AUDIENCE: &str = "pros";

/// Columns that foreign systems keep of their users' events.
pub(crate) const COUNTS: [&str; 4] = ["total_events", "active_days", "total_renders", "pricing_page_views"];

impl World {
    pub(crate) fn generate(dice: &mut Dice, number: u64) -> Self {
        let zone: Tz = *dice.pick(&[Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York, Tz::Asia__Kathmandu]);
        let instants = [
            "2026-03-29T12:00:00Z",
            "2026-10-25T10:30:00Z",
            "2026-01-30T12:00:00Z",
            "2026-07-23T00:00:00Z",
            "2026-03-08T22:15:00.000001Z",
            "2026-02-28T23:30:00Z",
        ];
        let as_of: DateTime<Utc> = dice.pick(&instants).parse().expect("an instant");
        let clock = Clock { zone, as_of };
        let has_counts = number.is_multiple_of(2);
        let users = (0..USERS).map(|index| user(dice, &clock, index, has_counts)).collect::<Vec<_>>();
        let products = (0..PRODUCTS).map(|index| product(dice, index)).collect::<Vec<_>>();
        let events = (0..EVENTS).map(|index| event(dice, &clock, index)).collect::<Vec<_>>();
        let mut columns = json!({
            "user_id": "text", "email": "text", "country": "text", "subscription_status": "text", "plan": "text", "age": "integer",
            "score": "float", "opted_in": "boolean", "tags": {"list": "text"}, "status": "text", "first_name": "text",
            "loginCount": "integer", "created_at": "timestamp", "last_active_at": "text", "last_email_opened_at": "timestamp",
            "birth_day": "date", "attributes": "json", "feature_usage": "json",
            "lastSeen": "timestamp", "pricePreferences": "json", "interests": "json", "traits": "json",
        });
        if has_counts {
            COUNTS.iter().for_each(|count| columns[*count] = json!("integer"));
        }
        let pro = json!({"type": "user_attribute", "property": "plan", "operator": "eq", "value": "pro"});
        let audience = json!({"id": AUDIENCE, "logic": "and", "conditions": [pro]});
        let file = json!({
            "what": format!("world {number}"),
            "timezone": zone.name(),
            "as_of": as_of.to_rfc3339(),
            "users": {"columns": columns, "key": "user_id", "rows": users},
            "products": {"columns": {"product_id": "text", "data": "json"}, "data": "data", "key": "product_id", "rows": products},
            "events": {
                "columns": {
                    "event_id": "text", "user_id": "text", "product_id": "text", "name": "text", "event_type": "text", "at": "timestamp",
                },
                "user_key": "user_id", "event_type": "name", "timestamp": "at", "event_id": "event_id", "rows": events,
            },
            "segments": [audience],
        });
        let scenario = Scenario::parse(&file.to_string()).expect("a scenario");
        Self { scenario, clock, users, products, events, has_counts }
    }

    /// How many subjects there are of the kind that a dialect is about.
    pub(crate) fn size(&self, dialect: Dialect) -> usize {
        match dialect {
            Dialect::Layered => self.products.len(),
            Dialect::Tree | Dialect::Groups | Dialect::Weighted | Dialect::Audience => self.users.len(),
        }
    }

    /// The events of a user before now.
    pub(crate) fn events_of<'a>(&'a self, user: &'a Row) -> impl Iterator<Item = &'a Row> {
        let now = self.clock.now();
        self.events.iter().filter(move |event| event["user_id"] == user["user_id"] && self.clock.at(&event["at"]) < Some(now))
    }

    /// The ids of the users for which something holds.
    pub(crate) fn users_for(&self, mut holds: impl FnMut(&Row) -> bool) -> std::collections::BTreeSet<String> {
        let ids = self.users.iter().filter(|user| holds(user)).map(|user| user["user_id"].as_str().expect("an id").to_owned());
        ids.collect()
    }
}

fn user(dice: &mut Dice, clock: &Clock, index: usize, has_counts: bool) -> Row {
    let emails = [
        "Ada@Example.com",
        "ada@example.com",
        "bob@Example.org",
        "eve+ada@example.net",
        "ΣΟΦΟΣ@example.gr",
        "σοφος@Example.gr",
        "",
    ];
    let attributes = json!({
        "tier": maybe(dice, &["gold", "Gold", "silver", ""].map(|tier| json!(tier))),
        "lifetime_value": maybe(dice, &[json!(12000), json!(10000), json!("25000.5"), json!(" 10000 "), json!("many"), json!(0.5), json!(true)]),
        "year": maybe(dice, &[json!(2019), json!(2021), json!(2024)]),
        "flag": maybe(dice, &[json!(true), json!(false), json!("TRUE"), json!("no")]),
        "list": maybe(dice, &[json!([]), json!(["a"]), json!("a")]),
        "when": some_date(dice, clock),
    });
    let usage = json!({
        "export_pdf": some_date(dice, clock),
        "report_count": maybe(dice, &[json!(0), json!(3), json!(5), json!("7")]),
    });
    let texts = |words: &[&str]| words.iter().map(|word| json!(word)).collect::<Vec<_>>();
    let mut row = json!({
        "user_id": format!("u{index}"),
        "email": maybe(dice, &texts(&emails)),
        "country": maybe(dice, &texts(&["US", "us", "CA", "DE"])),
        "subscription_status": maybe(dice, &texts(&["active", "trialing", "past_due", "canceled"])),
        "plan": maybe(dice, &texts(&["pro", "free", "team", "premium plus", ""])),
        "age": maybe(dice, &[17, 34, 35, 51].map(|age| json!(age))),
        "score": maybe(dice, &[0.25, 0.5, 10.0].map(|score| json!(score))),
        "opted_in": maybe(dice, &[json!(true), json!(false)]),
        "tags": maybe(dice, &[json!([]), json!(["vip"]), json!(["vip", "beta"]), json!(["beta", null])]),
        "status": maybe(dice, &texts(&["active", "inactive", "archived", ""])),
        "first_name": maybe(dice, &texts(&["John", "Johanna", "jane", ""])),
        "loginCount": maybe(dice, &[0, 1, 7].map(|count| json!(count))),
        "created_at": some_instant(dice, clock),
        "last_active_at": some_date(dice, clock),
        "last_email_opened_at": some_instant(dice, clock),
        "birth_day": maybe(dice, &texts(&["2026-01-15", "2025-12-31", "2000-02-29"])),
        "attributes": attributes.to_string(),
        "feature_usage": if dice.chance(10) { Json::Null } else { json!(usage.to_string()) },
    });
    row["lastSeen"] = some_instant(dice, clock);
    let share =
        |dice: &mut Dice| maybe(dice, &[json!(0.15), json!(0.31), json!(0.72), json!(1), json!("0.4"), json!(-0.5), json!("much")]);
    let interests = json!({"tech": share(dice), "home": share(dice)});
    row["interests"] = json!(interests.to_string());
    let price = |dice: &mut Dice| maybe(dice, &[json!(0), json!(50.25), json!(100), json!(2_500), json!("10000"), json!(30_000.5)]);
    let prices = json!({"minObserved": price(dice), "maxObserved": price(dice)});
    row["pricePreferences"] = json!(prices.to_string());
    let trait_of = |dice: &mut Dice| maybe(dice, &[json!(true), json!(false), json!("TRUE"), json!("no")]);
    row["traits"] = json!(json!({"prefersDeals": trait_of(dice)}).to_string());
    if has_counts {
        for count in COUNTS {
            row[count] = maybe(dice, &[0, 1, 2, 3, 5, 10, 12].map(|count| json!(count)));
        }
    }
    row.as_object().expect("a row").clone()
}

fn product(dice: &mut Dice, index: usize) -> Row {
    let data = json!({
        "brand": maybe(dice, &[json!("Acme"), json!("acme"), json!("Zeta & Co"), json!("")]),
        "price": maybe(dice, &[json!(9.5), json!(10), json!("10"), json!(250), json!("n/a")]),
        "in_stock": maybe(dice, &[json!(true), json!(false), json!("true")]),
        "tags": maybe(dice, &[json!([]), json!(["new"]), json!(["new", "sale"]), json!("sale")]),
    });
    json!({"product_id": format!("p{index}"), "data": data.to_string()}).as_object().expect("a row").clone()
}

fn event(dice: &mut Dice, clock: &Clock, index: usize) -> Row {
    let names = ["pricing_view", "video_rendered", "first_render_completed", "page_view", "odd*name", "oddly"];
    let names = names.map(|name| json!(name));
    json!({
        "event_id": format!("e{index}"),
        "user_id": format!("u{}", dice.below(USERS)),
        "product_id": if index.is_multiple_of(9) { Json::Null } else { json!(format!("p{}", index * 7 % PRODUCTS)) },
        "name": maybe(dice, &names),
        "event_type": maybe(dice, &[json!("purchase"), json!("browse"), json!("Purchase")]),
        "at": near_a_day(dice, clock).to_rfc3339(),
    })
    .as_object()
    .expect("a row")
    .clone()
}

fn maybe(dice: &mut Dice, values: &[Json]) -> Json {
    if dice.chance(15) { Json::Null } else { dice.pick_owned(values) }
}

fn some_instant(dice: &mut Dice, clock: &Clock) -> Json {
    if dice.chance(15) { Json::Null } else { json!(near_a_day(dice, clock).to_rfc3339()) }
}

/// A date as texts and JSON have it.
fn some_date(dice: &mut Dice, clock: &Clock) -> Json {
    let at = near_a_day(dice, clock);
    match dice.below(8) {
        0 => Json::Null,
        1 | 2 => json!(at.date_naive().to_string()),
        3 => json!("soon"),
        _ => json!(at.to_rfc3339()),
    }
}

/// A moment at the start of a local day of the last weeks, at the time of the day that it is now, or at any time.
fn near_a_day(dice: &mut Dice, clock: &Clock) -> DateTime<Utc> {
    let days = *dice.pick(&[-2, -1, 0, 1, 2, 6, 7, 8, 13, 14, 29, 30, 31, 60, 90, 365, 400]);
    let at = match dice.below(3) {
        0 => clock.start_of_day(clock.today() - TimeDelta::days(days)),
        1 => clock.back(days),
        _ => clock.now() - days * 86_400_000_000 + dice.between(-40_000, 40_000) * 1_000_000,
    };
    let at = at + dice.between(-1, 1);
    DateTime::from_timestamp_micros(at).expect("a moment")
}
