//! What the parts of the evaluator do, against examples worked out by hand.

use std::cmp::Ordering;

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use libtest_mimic::{Failed, Trial};
use segmenta::model::window::{Anchor, DateExpr, Duration, Offset, Truncation, Unit, Window};

use super::compare::fold;
use super::dates::{Calendar, NEVER, parse_day, parse_instant};
use super::json;
use super::read;
use super::value::{Value, number_of_double, number_of_json};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn()| {
        Trial::test(format!("reference::{name}"), move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    vec![
        trial("json_is_read_strictly", json_is_read_strictly),
        trial("numbers_compare_exactly", numbers_compare_exactly),
        trial("doubles_enter_sums_as_billionths", doubles_enter_sums_as_billionths),
        trial("values_are_read_by_type", values_are_read_by_type),
        trial("text_folds", text_folds),
        trial("dates_are_read", dates_are_read),
        trial("days_start_in_gaps_and_overlaps", days_start_in_gaps_and_overlaps),
        trial("steps_follow_the_local_clock", steps_follow_the_local_clock),
        trial("truncation_goes_back_to_local_units", truncation_goes_back_to_local_units),
        trial("windows_are_half_open", windows_are_half_open),
        trial("anniversaries_return", anniversaries_return),
    ]
}

fn at(text: &str) -> i64 {
    parse_instant(text).unwrap_or_else(|| panic!("{text} is an instant"))
}

fn calendar(zone: &str, as_of: &str) -> Calendar {
    Calendar { zone: zone.parse().expect("a timezone"), as_of: at(as_of) }
}

fn relative(anchor: Anchor, offsets: &[(i64, Unit)], truncation: Option<Truncation>) -> DateExpr {
    DateExpr { anchor, offsets: offsets.iter().map(|&(amount, unit)| Offset { amount, unit }).collect(), truncation }
}

fn json_is_read_strictly() {
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(
        json::parse(r#" {"a": 1, "b": [true, null], "a": 2} "#),
        Some(Value::Object(vec![
            ("a".to_owned(), Value::JsonNumber("1".to_owned())),
            ("b".to_owned(), Value::List(vec![Value::Bool(true), Value::Null])),
        ]))
    );
    assert_eq!(json::parse(r#""\u0041\ud83d\ude00\n""#), Some(text("A😀\n")));
    for invalid in ["", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "NaN", "'a'", "\"\t\"", "1 2", "tru", "[1 2]"] {
        assert_eq!(json::parse(invalid), None, "{invalid}");
    }
    assert_eq!(
        json::parse(r#"["\ud800", "\ud83d\ude00"]"#),
        Some(Value::List(vec![Value::NoText, text("😀")])),
        "valid, and no text"
    );
    for valid in ["0", "-0", "1e3", "1E+3", "-1.5e-7", "123456789012345678901234567890"] {
        assert_eq!(json::parse(valid), Some(Value::JsonNumber(valid.to_owned())));
    }
}

fn numbers_compare_exactly() {
    let literal: BigDecimal = "9007199254740993".parse().unwrap();
    let compare = |text: &str| number_of_json(text).unwrap().compare_literal(&literal);
    assert_eq!(compare("9007199254740993"), Ordering::Equal);
    assert_eq!(compare("9007199254740992"), Ordering::Less);
    assert_eq!(compare("9007199254740992.0"), Ordering::Equal, "a double compares with the literal's nearest double");
    assert_eq!(compare("18446744073709551615"), Ordering::Greater);
    assert!(number_of_json("1e400").is_none());
    let (integer, double) = (number_of_json("9007199254740993").unwrap(), number_of_json("9007199254740992.0").unwrap());
    assert_eq!(integer.compare(&double), Ordering::Greater, "stored values compare by their real values");
    assert_eq!(number_of_double(-0.0).unwrap().compare_literal(&BigDecimal::from(0)), Ordering::Equal);
    assert_eq!(number_of_double(0.1).unwrap().compare_literal(&"0.1".parse().unwrap()), Ordering::Equal);
    assert_eq!(read::days(43_200_000_000).compare_literal(&"0.5".parse().unwrap()), Ordering::Equal);
    assert_eq!(read::days(43_200_000_001).compare_literal(&"0.5".parse().unwrap()), Ordering::Greater);
    assert!(number_of_double(f64::NAN).is_none() && number_of_double(f64::INFINITY).is_none());
}

fn doubles_enter_sums_as_billionths() {
    let addend = |value: f64| number_of_double(value).unwrap().addend();
    let decimal = |text: &str| Some(text.parse::<BigDecimal>().unwrap());
    assert_eq!(addend(0.1), decimal("0.1"));
    assert_eq!(addend(-2.5), decimal("-2.5"));
    assert_eq!(addend(5e-324), decimal("0"));
    // 0.5 and 1.5 billionths cannot be stored; 2^-10 * 10^9 = 976562.5 is a tie, and 976562 is even.
    assert_eq!(addend(0.000_976_562_5), decimal("0.000976562"));
    assert_eq!(addend(1e18), None);
    assert_eq!(addend(999_999_999_999_999_900.0), decimal("999999999999999872"));
}

fn values_are_read_by_type() {
    let calendar = calendar("UTC", "2026-01-01T00:00:00Z");
    let text = |text: &str| Value::Text(text.to_owned());
    let digits = |digits: &str| Value::JsonNumber(digits.to_owned());
    assert_eq!(read::text(&Value::I64(7)), Some("7".to_owned()));
    assert_eq!(read::text(&digits("-0")), Some("0".to_owned()));
    assert_eq!(read::text(&digits("1.0")), None);
    assert_eq!(read::text(&digits("18446744073709551616")), None);
    assert_eq!(read::text(&Value::Bool(true)), None);
    assert!(read::number(&text(" \t12\r\n")).is_some());
    for no_number in ["", "1 2", "0x10", "inf", "+1", "01", "\u{a0}1", "1_000"] {
        assert!(read::number(&text(no_number)).is_none(), "{no_number}");
    }
    assert!(read::number(&Value::Bool(true)).is_none());
    assert_eq!(read::boolean(&text("TRUE")), Some(true));
    assert_eq!(read::boolean(&text(" true")), None);
    assert_eq!(read::boolean(&Value::I64(1)), None);
    assert_eq!(read::date(&Value::I64(1000), &calendar), Some(1_000_000));
    assert_eq!(read::date(&text("1000"), &calendar), None);
    assert_eq!(read::date(&digits("1e3"), &calendar), None);
    assert_eq!(read::date(&Value::Date(1), &calendar), Some(86_400_000_000));
}

fn text_folds() {
    assert_eq!(fold("ΟΔΥΣΣΕΥΣ"), fold("οδυσσευς"));
    assert_eq!(fold("İ"), "i\u{307}");
    assert_ne!(fold("ß"), fold("SS"), "lower-casing, not folding");
}

fn dates_are_read() {
    assert_eq!(parse_instant("1970-01-01T00:00:01.0000019Z"), Some(1_000_001));
    assert_eq!(parse_instant("1969-12-31T23:59:59.9999999Z"), Some(-1));
    assert_eq!(parse_instant("1970-01-01T02:00:00+02:00"), Some(0));
    for invalid in ["1970-01-01T00:00:00", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00Z", "1970-01-01T24:00:00Z"] {
        assert_eq!(parse_instant(invalid), None, "{invalid}");
    }
    assert_eq!(parse_day("2024-02-29"), NaiveDate::from_ymd_opt(2024, 2, 29));
    for invalid in ["2023-02-29", "2023-2-9", "20230209", "2023-02-09T", " 2023-02-09"] {
        assert_eq!(parse_day(invalid), None, "{invalid}");
    }
}

fn days_start_in_gaps_and_overlaps() {
    let start = |zone: &str, day: &str| calendar(zone, "2020-01-01T00:00:00Z").day_start(parse_day(day).unwrap());
    assert_eq!(start("America/Sao_Paulo", "2017-10-15"), at("2017-10-15T03:00:00Z"), "00:00 is skipped: 01:00 at -02:00");
    assert_eq!(start("America/Havana", "2018-11-04"), at("2018-11-04T04:00:00Z"), "00:00 happens twice: the first, at -04:00");
    assert_eq!(
        start("Pacific/Apia", "2011-12-30"),
        at("2011-12-30T10:00:00Z"),
        "a day that was skipped starts where the next does"
    );
    assert_eq!(start("Pacific/Apia", "2011-12-31"), at("2011-12-30T10:00:00Z"));
    assert_eq!(start("Europe/Berlin", "2026-03-29"), at("2026-03-28T23:00:00Z"));
}

fn steps_follow_the_local_clock() {
    let step =
        |zone: &str, as_of: &str, steps: &[(i64, Unit)]| calendar(zone, as_of).span(&relative(Anchor::Now, steps, None)).start;
    assert_eq!(step("UTC", "2020-03-31T12:00:00Z", &[(-1, Unit::Month)]), at("2020-02-29T12:00:00Z"));
    assert_eq!(step("UTC", "2020-02-29T12:00:00Z", &[(-1, Unit::Year)]), at("2019-02-28T12:00:00Z"));
    assert_eq!(step("UTC", "2020-01-31T00:00:00Z", &[(-1, Unit::Quarter)]), at("2019-10-31T00:00:00Z"));
    // Berlin leaps from 02:00 to 03:00 on 29 March 2026: a day is 23 hours, and 02:30 moves to 03:30.
    assert_eq!(step("Europe/Berlin", "2026-03-29T10:00:00Z", &[(-1, Unit::Day)]), at("2026-03-28T11:00:00Z"));
    assert_eq!(step("Europe/Berlin", "2026-03-29T10:00:00Z", &[(-24, Unit::Hour)]), at("2026-03-28T10:00:00Z"));
    assert_eq!(step("Europe/Berlin", "2026-03-30T00:30:00Z", &[(-1, Unit::Day)]), at("2026-03-29T01:30:00Z"));
    // 02:30 happens twice on 25 October 2026; the earlier is meant.
    assert_eq!(step("Europe/Berlin", "2026-10-26T01:30:00Z", &[(-1, Unit::Day)]), at("2026-10-25T00:30:00Z"));
    assert_eq!(step("UTC", "2026-01-10T00:00:00Z", &[(-1, Unit::Day), (2, Unit::Hour)]), at("2026-01-09T02:00:00Z"));
}

fn truncation_goes_back_to_local_units() {
    let calendar = calendar("Europe/Berlin", "2026-08-12T22:30:00Z");
    let start = |truncation| calendar.span(&relative(Anchor::Now, &[], Some(truncation)));
    assert_eq!(start(Truncation::Day).start, at("2026-08-12T22:00:00Z"));
    assert_eq!(start(Truncation::Day).end, Some(at("2026-08-13T22:00:00Z")), "`@day` names the day");
    assert_eq!(start(Truncation::Week).start, at("2026-08-09T22:00:00Z"), "Monday the tenth");
    assert_eq!(start(Truncation::Month).start, at("2026-07-31T22:00:00Z"));
    assert_eq!(start(Truncation::Quarter).start, at("2026-06-30T22:00:00Z"));
    assert_eq!(start(Truncation::Year).start, at("2025-12-31T23:00:00Z"));
    assert_eq!(start(Truncation::Year).end, None);
}

fn windows_are_half_open() {
    let calendar = calendar("UTC", "2026-01-31T06:00:00Z");
    let last = Window::Last(Duration { amount: 30, unit: Unit::Day });
    assert_eq!(calendar.window(&last), (at("2026-01-01T06:00:00Z"), calendar.as_of));
    assert_eq!(calendar.window(&Window::All), (NEVER, calendar.as_of));
    let yesterday = || Some(relative(Anchor::Yesterday, &[], None));
    let day = Window::Range { from: yesterday(), to: yesterday() };
    assert_eq!(
        calendar.window(&day),
        (at("2026-01-30T00:00:00Z"), at("2026-01-31T00:00:00Z")),
        "the day that `to` names is inside"
    );
    let future = Window::Range { from: None, to: Some(relative(Anchor::Tomorrow, &[], None)) };
    assert_eq!(calendar.window(&future), (NEVER, calendar.as_of));
}

fn anniversaries_return() {
    let days = |as_of: &str, born: &str| calendar("UTC", as_of).days_to_anniversary(at(born));
    assert_eq!(days("2026-05-01T12:00:00Z", "1990-05-01T00:00:00Z"), 0);
    assert_eq!(days("2026-05-01T12:00:00Z", "1990-04-30T00:00:00Z"), 364);
    assert_eq!(days("2026-02-01T00:00:00Z", "2000-02-29T00:00:00Z"), 27);
    assert_eq!(days("2028-02-01T00:00:00Z", "2000-02-29T00:00:00Z"), 28);
}
