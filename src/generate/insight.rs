//! What another system, which watches the shop for its own ends, has gathered about users: traits, brands, totals, the last visit.
//!
//! It is a snapshot: it follows from who a user is, as the events do, but it is not computed from them. That system was put in
//! service [`WATCHED_DAYS`] before the end of the data, so its totals cover other days than the events do, and never more than the
//! lifetime value.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, MapBuilder, StringBuilder, StructBuilder,
    TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::MICROS_PER_DAY;
use super::dice::Dice;
use super::population::{Activity, Profile};
use super::session::HOURS;
use super::shelf::CATEGORIES;

/// Days before the end of the data in which the other system was watching.
const WATCHED_DAYS: i64 = 180;
/// What an order costs at least.
const LEAST_CENTS: u64 = 400;
/// The words for traits in the data, in the order of [`Insight::traits`].
const TRAITS: [&str; 4] = ["prefers_deals", "browses_extensively", "health_conscious", "early_adopter"];

/// What is known of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Insight {
    /// Brands with the hundredths of affinity to each; `None` when nothing is known.
    brands: Option<Vec<(&'static str, u64)>>,
    /// In the order of [`TRAITS`].
    traits: [Option<bool>; 4],
    /// `None` for a user whom the other system does not know.
    totals: Option<Totals>,
}

/// What was counted while the other system was watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Totals {
    sessions: i64,
    /// Everything that was done.
    signals: i64,
    cart_adds: i64,
    purchases: i64,
    spent_cents: u64,
    /// Microseconds before the end of the data; `None` for one who was never seen.
    last_seen: Option<i64>,
}

impl Insight {
    /// What is known of a user who has spent so much since joining.
    fn draw(dice: &mut Dice, activity: Activity, profile: &Profile, lifetime_cents: u64) -> Self {
        let brands = (!dice.chance(80)).then(|| brands(dice, profile));
        let traits = traits(dice, profile);
        let totals = (!dice.chance(30)).then(|| Totals::draw(dice, activity, profile, traits, lifetime_cents));
        Self { brands, traits, totals }
    }
}

fn brands(dice: &mut Dice, profile: &Profile) -> Vec<(&'static str, u64)> {
    let mut brands: Vec<(&str, u64)> = Vec::new();
    for brand in profile.favourite_category().brands {
        if dice.chance(700) {
            brands.push((brand, 20 + dice.below(71)));
        }
    }
    let category = &CATEGORIES[dice.index(CATEGORIES.len())];
    let other = *dice.pick(&category.brands);
    if dice.chance(400) && brands.iter().all(|(brand, _)| *brand != other) {
        brands.push((other, 5 + dice.below(30)));
    }
    brands
}

fn traits(dice: &mut Dice, profile: &Profile) -> [Option<bool>; 4] {
    // Who leaves most carts behind looks around most, and waits for offers.
    let hesitates = 950_u64.saturating_sub(profile.buys);
    let follows = |interests: &[&str], often, seldom| {
        if interests.contains(&profile.favourite_category().interest) { often } else { seldom }
    };
    [150 + hesitates / 2, 100 + hesitates * 6 / 10, follows(&["sports", "beauty"], 650, 150), follows(&["tech"], 550, 100)]
        .map(|per_mille| dice.flag(40, per_mille))
}

impl Totals {
    fn draw(dice: &mut Dice, activity: Activity, profile: &Profile, traits: [Option<bool>; 4], lifetime_cents: u64) -> Self {
        let days = (activity.joined - 1).clamp(0, WATCHED_DAYS);
        let (back, gone) = activity.away;
        let (back, gone) = (back.clamp(0, days), gone.clamp(0, days));
        let present = (days - (gone - back)).unsigned_abs();
        let sessions = shared_out(dice, activity.weight * present * 3, 65_536);
        if sessions == 0 {
            return Self { sessions: 0, signals: 0, cart_adds: 0, purchases: 0, spent_cents: 0, last_seen: None };
        }
        let [_, browses_extensively, ..] = traits;
        let signals_a_thousand = 2_000 + dice.below(if browses_extensively == Some(true) { 8_000 } else { 3_000 });
        let signals = shared_out(dice, sessions * signals_a_thousand, 1_000);
        let carts_a_thousand = 500 + dice.below(900);
        let cart_adds = shared_out(dice, sessions * carts_a_thousand, 1_000);
        let share_cents = lifetime_cents * present / activity.joined.unsigned_abs();
        let purchases = shared_out(dice, cart_adds * profile.buys * 7, 10_000).min(share_cents / LEAST_CENTS);
        let spent_cents = if purchases == 0 { 0 } else { share_cents };
        // The more often someone comes, the later the last time is.
        let day = i64::try_from(1 + dice.below((2 * present / (sessions + 1)).clamp(1, present))).unwrap_or(1);
        let day = if day <= back { day } else { day + (gone - back) };
        let hour = i64::try_from(dice.weighted(HOURS.into_iter())).unwrap_or(0);
        let utc_hour = (hour - profile.place.utc_offset).rem_euclid(24);
        let into_the_day = utc_hour * 3_600_000_000 + dice.between(0, 3_599_999) * 1_000;
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            sessions: count(sessions),
            signals: count(signals),
            cart_adds: count(cart_adds),
            purchases: count(purchases),
            spent_cents,
            last_seen: Some(day * MICROS_PER_DAY - into_the_day),
        }
    }
}

/// The columns that hold this.
pub(super) struct Columns {
    brand_affinities: MapBuilder<StringBuilder, Float64Builder>,
    traits: StructBuilder,
    total_sessions: Int64Builder,
    total_signals: Int64Builder,
    total_cart_adds: Int64Builder,
    total_purchases: Int64Builder,
    total_spent: Decimal128Builder,
    last_seen: TimestampMicrosecondBuilder,
}

/// Their names and types.
pub(super) fn fields() -> Vec<Field> {
    let shares = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Float64, true)];
    let entries = Field::new("entries", DataType::Struct(Fields::from(shares)), false);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    vec![
        Field::new("brand_affinities", DataType::Map(Arc::new(entries), false), true),
        Field::new("traits", DataType::Struct(flags()), true),
        count("total_sessions"),
        count("total_signals"),
        count("total_cart_adds"),
        count("total_purchases"),
        Field::new("total_spent", DataType::Decimal128(12, 2), true),
        Field::new("last_seen", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]
}

fn flags() -> Fields {
    TRAITS.into_iter().map(|name| Field::new(name, DataType::Boolean, true)).collect()
}

impl Columns {
    pub(super) fn new() -> Self {
        Self {
            brand_affinities: MapBuilder::new(None, StringBuilder::new(), Float64Builder::new()),
            traits: StructBuilder::from_fields(flags(), 0),
            total_sessions: Int64Builder::new(),
            total_signals: Int64Builder::new(),
            total_cart_adds: Int64Builder::new(),
            total_purchases: Int64Builder::new(),
            total_spent: Decimal128Builder::new().with_data_type(DataType::Decimal128(12, 2)),
            last_seen: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
        }
    }

    /// Appends what is known of a user, for a data set that ends at this instant, in microseconds since 1970.
    pub(super) fn push(
        &mut self,
        dice: &mut Dice,
        end: i64,
        (activity, profile): (Activity, &Profile),
        lifetime_cents: u64,
    ) -> Result<(), ArrowError> {
        let Insight { brands, traits, totals } = Insight::draw(dice, activity, profile, lifetime_cents);
        for (brand, hundredths) in brands.iter().flatten() {
            self.brand_affinities.keys().append_value(brand);
            self.brand_affinities.values().append_value(*hundredths as f64 / 100.0);
        }
        self.brand_affinities.append(brands.is_some())?;
        for (position, holds) in traits.into_iter().enumerate() {
            if let Some(field) = self.traits.field_builder::<BooleanBuilder>(position) {
                field.append_option(holds);
            }
        }
        self.traits.append(true);
        self.total_sessions.append_option(totals.map(|totals| totals.sessions));
        self.total_signals.append_option(totals.map(|totals| totals.signals));
        self.total_cart_adds.append_option(totals.map(|totals| totals.cart_adds));
        self.total_purchases.append_option(totals.map(|totals| totals.purchases));
        self.total_spent.append_option(totals.map(|totals| i128::from(totals.spent_cents)));
        self.last_seen.append_option(totals.and_then(|totals| totals.last_seen).map(|before| end - before));
        Ok(())
    }

    /// In the order of [`fields`].
    pub(super) fn finish(mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.brand_affinities.finish()),
            Arc::new(self.traits.finish()),
            Arc::new(self.total_sessions.finish()),
            Arc::new(self.total_signals.finish()),
            Arc::new(self.total_cart_adds.finish()),
            Arc::new(self.total_purchases.finish()),
            Arc::new(self.total_spent.finish()),
            Arc::new(self.last_seen.finish()),
        ]
    }
}

/// A quotient, rounded up as often as its fraction says.
fn shared_out(dice: &mut Dice, dividend: u64, divisor: u64) -> u64 {
    (dividend + dice.below(divisor)) / divisor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::dice::Stream;
    use crate::generate::population::Population;

    const POPULATION: Population = Population { seed: 1, users: 5_000 };

    fn known() -> impl Iterator<Item = (Activity, Totals)> {
        (0..POPULATION.users).filter_map(|user| {
            let mut dice = Dice::new(POPULATION.seed, Stream::Insight, user, 0);
            let activity = POPULATION.activity(user);
            let insight = Insight::draw(&mut dice, activity, &POPULATION.profile(user), 123_456);
            Some((activity, insight.totals?))
        })
    }

    #[test]
    fn totals_tell_one_story() {
        for (activity, totals) in known() {
            let Totals { sessions, signals, cart_adds, purchases, spent_cents, last_seen } = totals;
            assert!(signals >= sessions && purchases <= cart_adds, "{totals:?}");
            assert_eq!(purchases > 0, spent_cents > 0, "{totals:?}");
            assert!(spent_cents <= 123_456 && spent_cents >= LEAST_CENTS * purchases.unsigned_abs(), "{totals:?}");
            assert_eq!(sessions > 0, last_seen.is_some(), "{totals:?}");
            assert!(activity.weight > 0 || sessions == 0, "{totals:?}");
        }
    }

    #[test]
    fn nobody_is_seen_before_joining_or_while_away() {
        let mut seen = 0;
        for (activity, totals) in known() {
            let Some(before) = totals.last_seen else { continue };
            assert!(before > 0, "{before}");
            let day = (before + MICROS_PER_DAY - 1) / MICROS_PER_DAY;
            assert!(activity.is_there(day) && day <= WATCHED_DAYS, "{activity:?} was seen {day} days before the end");
            seen += 1;
        }
        assert!(seen > 3_000, "only {seen} were seen");
    }

    #[test]
    fn a_brand_stands_once() {
        for user in 0..2_000 {
            let mut dice = Dice::new(POPULATION.seed, Stream::Insight, user, 0);
            let mut names: Vec<&str> = brands(&mut dice, &POPULATION.profile(user)).into_iter().map(|(brand, _)| brand).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
    }
}
