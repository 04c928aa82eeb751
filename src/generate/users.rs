//! The rows of the users table.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, ListBuilder, MapBuilder, RecordBatch,
    StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use serde_json::{Map, Value, json};

use super::dice::{Dice, Stream};
use super::population::{Activity, DEVICES, Plan, Population, Profile, user_id};
use super::shelf::CATEGORIES;
use super::{MICROS_PER_DAY, insight};

/// Names that make up addresses.
const NAMES: [&str; 16] = [
    "Ada", "Bruno", "Chloe", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kira", "Luca", "Maya", "Noor", "Olga",
    "Pablo",
];
/// What affinities are about, with the category they follow.
const AFFINITIES: [(&str, usize); 4] = [("gadgets", 0), ("electronics", 0), ("apparel", 1), ("outdoor", 2)];

/// The columns of the users table.
pub(super) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let entries = Field::new(
        "entries",
        DataType::Struct(Fields::from(vec![
            Field::new("keys", DataType::Utf8, false),
            Field::new("values", DataType::Float64, true),
        ])),
        false,
    );
    let mut fields = vec![
        Field::new("user_id", DataType::Utf8, false),
        text("email"),
        Field::new("email_verified", DataType::Boolean, true),
        text("country"),
        text("city"),
        text("timezone"),
        text("plan"),
        Field::new("created_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("birthday", DataType::Date32, true),
        Field::new("lifetime_value", DataType::Decimal128(12, 2), true),
        Field::new("marketing_consent", DataType::Boolean, true),
        Field::new("tags", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))), true),
        Field::new("interests", DataType::Map(Arc::new(entries), false), true),
        Field::new("affinities", DataType::Struct(numbers(AFFINITIES.map(|(name, _)| name))), true),
        Field::new("price_preferences", DataType::Struct(numbers(["min_observed", "max_observed"])), true),
        text("attributes"),
    ];
    fields.extend(insight::fields());
    Arc::new(Schema::new(fields))
}

/// Rows of the users table, for a data set that ends at the start of day `end` since 1970.
pub(super) fn rows(population: Population, end: i32, users: std::ops::Range<u64>) -> Result<RecordBatch, ArrowError> {
    let mut columns = Columns::new();
    for user in users {
        columns.push(population, end, user)?;
    }
    columns.finish()
}

struct Columns {
    user_id: StringBuilder,
    email: StringBuilder,
    email_verified: BooleanBuilder,
    country: StringBuilder,
    city: StringBuilder,
    timezone: StringBuilder,
    plan: StringBuilder,
    created_at: TimestampMicrosecondBuilder,
    birthday: Date32Builder,
    lifetime_value: Decimal128Builder,
    marketing_consent: BooleanBuilder,
    tags: ListBuilder<StringBuilder>,
    interests: MapBuilder<StringBuilder, Float64Builder>,
    affinities: StructBuilder,
    price_preferences: StructBuilder,
    attributes: StringBuilder,
    insight: insight::Columns,
}

impl Columns {
    fn new() -> Self {
        Self {
            user_id: StringBuilder::new(),
            email: StringBuilder::new(),
            email_verified: BooleanBuilder::new(),
            country: StringBuilder::new(),
            city: StringBuilder::new(),
            timezone: StringBuilder::new(),
            plan: StringBuilder::new(),
            created_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            birthday: Date32Builder::new(),
            lifetime_value: Decimal128Builder::new().with_data_type(DataType::Decimal128(12, 2)),
            marketing_consent: BooleanBuilder::new(),
            tags: ListBuilder::new(StringBuilder::new()),
            interests: MapBuilder::new(None, StringBuilder::new(), Float64Builder::new()),
            affinities: StructBuilder::from_fields(numbers(AFFINITIES.map(|(name, _)| name)), 0),
            price_preferences: StructBuilder::from_fields(numbers(["min_observed", "max_observed"]), 0),
            attributes: StringBuilder::new(),
            insight: insight::Columns::new(),
        }
    }

    fn push(&mut self, population: Population, end: i32, user: u64) -> Result<(), ArrowError> {
        let activity = population.activity(user);
        let profile = population.profile(user);
        let mut dice = Dice::new(population.seed, Stream::User, user, 0);
        let created = i64::from(end) * MICROS_PER_DAY - activity.joined * MICROS_PER_DAY + dice.between(0, MICROS_PER_DAY - 1);
        let spent_cents = lifetime_cents(&mut dice, activity, &profile);

        self.user_id.append_value(user_id(user));
        self.email.append_option(email(&mut dice, user));
        self.email_verified.append_option(dice.flag(30, 800));
        self.country.append_option((!dice.chance(20)).then_some(profile.place.country));
        self.city.append_option((!dice.chance(60)).then_some(profile.place.city));
        self.timezone.append_value(profile.place.timezone);
        self.plan.append_option((!dice.chance(10)).then_some(profile.plan.name()));
        self.created_at.append_value(created);
        let age_days = dice.between(18 * 365, 76 * 365);
        self.birthday.append_option((!dice.chance(150)).then_some(end.saturating_sub(i32::try_from(age_days).unwrap_or(0))));
        self.lifetime_value.append_option((!dice.chance(10)).then_some(i128::from(spent_cents)));
        self.marketing_consent.append_option(dice.flag(50, 700));
        self.push_tags(&mut dice, activity, &profile, spent_cents);
        self.push_interests(&mut dice, &profile)?;
        self.push_affinities(&mut dice, &profile);
        self.push_price_preferences(&mut dice, spent_cents);
        self.attributes.append_option(attributes(&mut dice, &profile, spent_cents));
        let mut dice = Dice::new(population.seed, Stream::Insight, user, 0);
        self.insight.push(&mut dice, i64::from(end) * MICROS_PER_DAY, (activity, &profile), spent_cents)
    }

    fn push_tags(&mut self, dice: &mut Dice, activity: Activity, profile: &Profile, spent_cents: u64) {
        let known = !dice.chance(80);
        if known {
            let facts = [
                ("vip", spent_cents > 500_000),
                ("newsletter", dice.chance(450)),
                ("beta", dice.chance(90)),
                ("wholesale", profile.plan == Plan::Business),
                ("new", activity.joined <= 30),
                ("referred", dice.chance(200)),
            ];
            for (tag, holds) in facts {
                if holds {
                    self.tags.values().append_value(tag);
                }
            }
        }
        self.tags.append(known);
    }

    fn push_interests(&mut self, dice: &mut Dice, profile: &Profile) -> Result<(), ArrowError> {
        let known = !dice.chance(100);
        if known {
            for (position, category) in CATEGORIES.iter().enumerate() {
                let favourite = position == profile.favourite;
                if favourite || dice.chance(600) {
                    self.interests.keys().append_value(category.interest);
                    let share = if favourite { 50 + dice.below(51) } else { dice.below(45) };
                    self.interests.values().append_value(share as f64 / 100.0);
                }
            }
        }
        self.interests.append(known)
    }

    fn push_affinities(&mut self, dice: &mut Dice, profile: &Profile) {
        let known = !dice.chance(120);
        for (position, (_, category)) in AFFINITIES.iter().enumerate() {
            let share = if *category == profile.favourite { 15 + dice.below(60) } else { dice.below(30) };
            append_number(&mut self.affinities, position, (known && !dice.chance(50)).then_some(share));
        }
        self.affinities.append(known);
    }

    fn push_price_preferences(&mut self, dice: &mut Dice, spent_cents: u64) {
        let known = spent_cents > 0 && !dice.chance(50);
        let low = 500 + dice.below(4_000);
        let high = low + dice.below(60_000);
        append_number(&mut self.price_preferences, 0, known.then_some(low));
        append_number(&mut self.price_preferences, 1, known.then_some(high));
        self.price_preferences.append(known);
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.user_id.finish()),
            Arc::new(self.email.finish()),
            Arc::new(self.email_verified.finish()),
            Arc::new(self.country.finish()),
            Arc::new(self.city.finish()),
            Arc::new(self.timezone.finish()),
            Arc::new(self.plan.finish()),
            Arc::new(self.created_at.finish()),
            Arc::new(self.birthday.finish()),
            Arc::new(self.lifetime_value.finish()),
            Arc::new(self.marketing_consent.finish()),
            Arc::new(self.tags.finish()),
            Arc::new(self.interests.finish()),
            Arc::new(self.affinities.finish()),
            Arc::new(self.price_preferences.finish()),
            Arc::new(self.attributes.finish()),
        ];
        columns.extend(self.insight.finish());
        RecordBatch::try_new(schema(), columns)
    }
}

/// What the user has spent, in cents: what coming so often for so long, and buying so readily, adds up to.
fn lifetime_cents(dice: &mut Dice, activity: Activity, profile: &Profile) -> u64 {
    let days = activity.joined.unsigned_abs();
    let basket_cents = 2_000 + dice.below(9_000);
    activity.weight * days * profile.buys / 1_000 * basket_cents / 65_536 * 2
}

fn email(dice: &mut Dice, user: u64) -> Option<String> {
    let name = *dice.pick(&NAMES);
    let host = *dice.pick(&["example.com", "mail.example", "example.org", "Example.NET"]);
    match dice.below(100) {
        0..4 => None,
        4..16 => Some(format!("{name}.{user}@{host}")),
        16..18 => Some(format!("{}+shop{user}@{host}", name.to_lowercase())),
        _ => Some(format!("{}{user}@{}", name.to_lowercase(), host.to_lowercase())),
    }
}

/// The JSON of a user's loose attributes. Some have members of the wrong type, some have none.
fn attributes(dice: &mut Dice, profile: &Profile, spent_cents: u64) -> Option<String> {
    if dice.chance(30) {
        return None;
    }
    let spent = spent_cents as f64 / 100.0;
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    put(
        "lifetime_value",
        match dice.below(100) {
            0..3 => json!(format!(" {}.{:02} ", spent_cents / 100, spent_cents % 100)),
            3 => json!("unknown"),
            _ => json!(spent),
        },
    );
    let tier = match spent_cents {
        0..20_000 => "bronze",
        20_000..150_000 => "silver",
        150_000..500_000 => "gold",
        _ => "platinum",
    };
    put("loyalty", json!({"tier": tier, "points": spent_cents / 50}));
    if dice.chance(900) {
        put("newsletter", if dice.chance(50) { json!("True") } else { json!(dice.chance(550)) });
    }
    if dice.chance(400) {
        let nps = dice.below(11);
        put("nps", if dice.chance(60) { json!(nps.to_string()) } else { json!(nps) });
    } else if dice.chance(300) {
        put("nps", Value::Null);
    }
    put("referrer", json!(dice.pick(&["google", "direct", "instagram", "friend", "newsletter", ""])));
    let mut devices = vec![DEVICES[profile.device]];
    if dice.chance(300) {
        devices.push(DEVICES[dice.index(DEVICES.len())]);
    }
    put("devices", if dice.chance(50) { json!(devices[0]) } else { json!(devices) });
    if profile.plan == Plan::Business {
        put("company", json!({"name": format!("{} & Sons", dice.pick(&NAMES)), "employees": dice.between(2, 900)}));
    }
    put("home.page", json!(format!("/{}", profile.favourite_category().name)));
    Some(Value::Object(data).to_string())
}

fn numbers<const N: usize>(names: [&'static str; N]) -> Fields {
    names.into_iter().map(|name| Field::new(name, DataType::Float64, true)).collect()
}

/// Appends hundredths to a field of doubles.
fn append_number(fields: &mut StructBuilder, position: usize, hundredths: Option<u64>) {
    if let Some(field) = fields.field_builder::<Float64Builder>(position) {
        field.append_option(hundredths.map(|value| value as f64 / 100.0));
    }
}
