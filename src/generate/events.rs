//! The events of one file: a day, or a part of a day that has very many.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Decimal128Builder, Float64Builder, Int32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::MICROS_PER_DAY;
use super::dice::{Dice, Stream, mix};
use super::population::{DEVICES, Population, user_id};
use super::session::{Actor, CAMPAIGNS, Detail, Event, HOURS, PAGES, TOPICS, VOUCHERS, play};
use super::shelf::{Shelf, product_id};

/// A file of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The day, since 1970.
    pub(super) day: i32,
    /// How many days it lies before the end of the data; 1 is the last day.
    pub(super) days_before_end: i32,
    /// Which part of the day.
    pub(super) number: u64,
    /// How many events.
    pub(super) events: u64,
}

/// The columns of the events table.
pub(super) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("event_id"),
        text("user_id"),
        text("product_id"),
        text("event_type"),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("session_id"),
        Field::new("price", DataType::Float64, true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("amount", DataType::Decimal128(12, 2), true),
        text("currency"),
        text("properties"),
    ]))
}

/// The events of a part, in the order of their times.
pub(super) fn play_part(population: Population, shelf: &Shelf, part: Part) -> Vec<Event> {
    let day = u64::from(part.day.unsigned_abs());
    let mut dice = Dice::new(population.seed, Stream::Events, day, part.number);
    let start = i64::from(part.day) * MICROS_PER_DAY;
    let wanted = usize::try_from(part.events).unwrap_or(usize::MAX);
    let mut events: Vec<Event> = Vec::with_capacity(wanted.saturating_add(32));
    let mut session = 0;
    while events.len() < wanted {
        let user = population.visitor(&mut dice, i64::from(part.days_before_end));
        let profile = population.profile(user);
        let actor = match dice.below(1_000) {
            0..6 => Actor::Nobody,
            // Someone whose account is gone.
            6..10 => Actor::User(population.users + user),
            _ => Actor::User(user),
        };
        let hour = i64::try_from(dice.weighted(HOURS.into_iter())).unwrap_or(0);
        let utc_hour = (hour - profile.place.utc_offset).rem_euclid(24);
        let at = start + utc_hour * 3_600_000_000 + dice.between(0, 3_599_999_999);
        let before = events.len();
        play(&mut dice, shelf, (actor, &profile), session, at, &mut events);
        // What would happen after midnight does not.
        let within = events[before..].partition_point(|event| event.at < start + MICROS_PER_DAY);
        events.truncate(before + within);
        session += 1;
    }
    events.truncate(wanted);
    events.sort_by_key(|event| event.at);
    events
}

/// Rows of the events table: some of the events of a part, from position `first` on.
pub(super) fn rows(part: Part, first: usize, events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let mut event_id = StringBuilder::new();
    let mut user = StringBuilder::new();
    let mut product = StringBuilder::new();
    let mut event_type = StringBuilder::new();
    let mut timestamp = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut session_id = StringBuilder::new();
    let mut price = Float64Builder::new();
    let mut quantity = Int32Builder::new();
    let mut amount = Decimal128Builder::new().with_data_type(DataType::Decimal128(12, 2));
    let mut currency = StringBuilder::new();
    let mut properties = StringBuilder::new();
    let text_failed = |_| ArrowError::ComputeError("text could not be appended".to_owned());
    for (position, event) in (first..).zip(events) {
        // A few events lost their type, or their properties, on the way.
        let lost = mix(event.at.unsigned_abs(), u64::from(event.session)) % 2_000;
        write!(event_id, "e{}-{}-{position}", part.day, part.number).map_err(text_failed)?;
        event_id.append_value("");
        match event.actor {
            Actor::User(number) => user.append_value(user_id(number)),
            Actor::Nobody => user.append_null(),
        }
        event_type.append_option((lost != 0).then_some(event.kind.name()));
        timestamp.append_value(event.at);
        write!(session_id, "s{}-{}-{}", part.day, part.number, event.session).map_err(text_failed)?;
        session_id.append_value("");
        match event.item {
            Some(item) => {
                product.append_value(product_id(item.product));
                price.append_value(item.cents as f64 / 100.0);
                quantity.append_option(i32::try_from(item.quantity).ok());
                let total = i128::from(item.cents) * i128::from(item.quantity);
                amount.append_option(event.kind.has_amount().then_some(total));
                currency.append_value(event.currency);
            }
            None => {
                product.append_null();
                price.append_null();
                quantity.append_null();
                amount.append_null();
                currency.append_null();
            }
        }
        if lost >= 10 {
            write_properties(&mut properties, event).map_err(text_failed)?;
            properties.append_value("");
        } else {
            properties.append_null();
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(event_id.finish()),
        Arc::new(user.finish()),
        Arc::new(product.finish()),
        Arc::new(event_type.finish()),
        Arc::new(timestamp.finish()),
        Arc::new(session_id.finish()),
        Arc::new(price.finish()),
        Arc::new(quantity.finish()),
        Arc::new(amount.finish()),
        Arc::new(currency.finish()),
        Arc::new(properties.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}

/// Writes the JSON of an event. Its texts are our own and hold nothing to escape.
fn write_properties(out: &mut impl Write, event: &Event) -> std::fmt::Result {
    write!(out, r#"{{"device":"{}""#, DEVICES[event.device])?;
    match event.detail {
        Detail::None => {}
        Detail::Page(page) => write!(out, r#","page":{{"path":"{}"}}"#, PAGES[page])?,
        Detail::Search(query) => write!(out, r#","query":"{query}""#)?,
        Detail::Mail(campaign) => write!(out, r#","campaign":"{}""#, CAMPAIGNS[campaign])?,
        Detail::Order { campaign, voucher } => {
            if let Some(campaign) = campaign {
                write!(out, r#","campaign":"{}""#, CAMPAIGNS[campaign])?;
            }
            match voucher {
                Some(voucher) => write!(out, r#","vouchers":["{}"]"#, VOUCHERS[voucher])?,
                None => out.write_str(r#","vouchers":[]"#)?,
            }
        }
        Detail::Ticket { topic, priority } => write!(out, r#","topic":"{}","priority":{priority}"#, TOPICS[topic])?,
        Detail::Review(stars) => write!(out, r#","stars":{stars}"#)?,
    }
    out.write_char('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const POPULATION: Population = Population { seed: 3, users: 500 };
    const PART: Part = Part { day: 20_000, days_before_end: 10, number: 0, events: 5_000 };

    #[test]
    fn a_part_has_its_events_in_order_within_its_day() {
        let events = play_part(POPULATION, &Shelf::new(3, 40), PART);
        assert_eq!(events.len(), 5_000);
        assert!(events.is_sorted_by_key(|event| event.at));
        let start = 20_000 * MICROS_PER_DAY;
        assert!(events.iter().all(|event| (start..start + MICROS_PER_DAY).contains(&event.at)));
    }

    #[test]
    fn users_come_only_when_they_are_there() {
        let events = play_part(POPULATION, &Shelf::new(3, 40), PART);
        for event in &events {
            if let Actor::User(user) = event.actor
                && user < POPULATION.users
            {
                let activity = POPULATION.activity(user);
                assert!(activity.weight > 0 && activity.is_there(10), "{user}");
            }
        }
        assert!(events.iter().any(|event| event.actor == Actor::Nobody));
        assert!(events.iter().any(|event| matches!(event.actor, Actor::User(user) if user >= POPULATION.users)));
    }

    #[test]
    fn properties_are_json() {
        for event in play_part(POPULATION, &Shelf::new(3, 40), PART) {
            let mut text = String::new();
            write_properties(&mut text, &event).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
}
