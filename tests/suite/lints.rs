//! What is valid and doubtful: each warning at its place, and what is close to it and raises none.

mod truth;

use libtest_mimic::{Failed, Trial};
use segmenta::check::{Limits, check};
use segmenta::diagnostic::{Report, Source};
use segmenta::lint::{DataFacts, EventFacts, PropertyFacts, TableFacts, lint};
use segmenta::model::calendar::Calendar;
use segmenta::syntax::{Document, Format, parse, parse_expression};

use crate::language::catalog;

type Test = fn() -> Result<(), Failed>;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 13] = [
        ("conditions_that_exclude_each_other_never_hold", conditions_that_exclude_each_other),
        ("alternatives_that_leave_nothing_out_always_hold", alternatives_that_leave_nothing_out),
        ("conditions_that_nothing_decides_are_told_alone", conditions_that_nothing_decides),
        ("what_follows_from_a_mistake_is_not_told_again", what_follows_from_a_mistake),
        ("numbers_are_told_apart_as_the_engine_does", numbers_are_told_apart),
        ("repeated_conditions_are_told", repeated_conditions),
        ("groups_of_one_are_told", groups_of_one),
        ("segments_that_mean_the_same_are_told", segments_that_mean_the_same),
        ("segments_that_differ_in_one_condition_are_told", segments_that_differ_in_one_condition),
        ("what_the_data_has_nothing_of_is_told", what_the_data_has_nothing_of),
        ("what_was_not_looked_at_is_not_told", what_was_not_looked_at),
        ("what_is_nested_is_looked_at", what_is_nested_is_looked_at),
        ("what_is_said_of_conditions_by_chance_is_so", truth::what_is_said_is_so),
    ];
    tests.into_iter().map(|(name, test)| Trial::test(format!("lints::{name}"), test)).collect()
}

const AS_OF: &str = "2026-01-01T00:00:00Z";

/// What time it is in all tests.
pub(crate) fn calendar() -> Calendar {
    Calendar::new(AS_OF.parse().unwrap(), &catalog().timezone).unwrap()
}

fn report(documents: &[Document], facts: Option<&DataFacts>) -> Report {
    let checked = check(documents, &catalog(), &Limits::default());
    assert!(!checked.report.has_errors(), "{:?}", checked.report);
    lint(documents, &checked, &calendar(), facts)
}

fn document(text: &str) -> Document {
    parse(&Source::new("text.json", text), Format::Json).unwrap()
}

/// `code path`, and the message where asked for.
fn found(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{} {}", finding.code, finding.path.as_deref().unwrap_or("?"))).collect()
}

/// What is found in a rule that an expression in the syntax of SQL says.
fn of_expression(expression: &str) -> Vec<String> {
    let source = Source::new("expression", expression);
    let subject = segmenta::model::condition::Subject::User;
    found(&report(&[parse_expression(&source, &"a".parse().unwrap(), subject).unwrap()], None))
}

/// What is found in a definition with these conditions.
fn of_conditions(logic: &str, conditions: &str) -> Vec<String> {
    found(&report(&[document(&format!(r#"{{"id": "a", "logic": "{logic}", "conditions": [{conditions}]}}"#))], None))
}

/// Each expression has one finding, at its second condition, or none at all.
fn each(code: &str, expressions: &[(&str, bool)]) -> Result<(), Failed> {
    let mut failed = Vec::new();
    for (expression, is_doubtful) in expressions {
        let found = of_expression(expression);
        let expected = if *is_doubtful { vec![format!("{code} /conditions/1")] } else { Vec::new() };
        if found != expected {
            failed.push(format!("{expression}: {found:?}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn conditions_that_exclude_each_other() -> Result<(), Failed> {
    each(
        "never-holds",
        &[
            ("visits = 1 AND visits = 2", true),
            ("visits > 5 AND visits < 3", true),
            ("visits > 5 AND visits < 7", false),
            ("visits >= 5 AND visits <= 5", false),
            ("visits > 5 AND visits <= 5", true),
            ("visits BETWEEN 1 AND 3 AND visits IN (4, 5)", true),
            ("visits BETWEEN 1 AND 3 AND visits IN (3, 5)", false),
            ("visits > 5 AND balance < 3", false),
            ("visits = 1 AND is_not_set(visits)", true),
            ("visits <> 1 AND is_not_set(visits)", false),
            ("visits = 1 AND visits <> 1", true),
            ("visits <> 1 AND visits <> 2", false),
            ("country = 'FR' AND country = 'DE'", true),
            ("country = 'FR' AND country IN ('FR', 'DE')", false),
            ("country IN ('FR', 'DE') AND country NOT IN ('DE', 'FR', 'UK')", true),
            ("country IN ('FR', 'DE', 'US') AND country NOT IN ('DE', 'FR', 'UK')", false),
            ("country = 'FR' AND starts_with(country, 'D')", true),
            ("country = 'FR' AND starts_with(country, 'F')", false),
            ("country = 'FR' AND is_not_set(country)", true),
            ("country = '' AND is_not_set(country)", false),
            ("country = '' AND is_set(country)", true),
            ("contains(country, 'F') AND is_not_set(country)", true),
            ("country = 'FR' AND value(country, ignore_case => TRUE) = 'fr'", false),
            ("country = 'FR' AND value(country, ignore_case => TRUE) = 'de'", true),
            ("contains(country, 'F') AND NOT contains(country, 'FR')", false),
            ("active = TRUE AND active = FALSE", true),
            ("active <> TRUE AND active <> FALSE", false),
            ("signed_up_at > '2026-01-01' AND signed_up_at < '2025-01-01'", true),
            ("signed_up_at > '2025-01-01' AND signed_up_at < '2026-01-01'", false),
            ("signed_up_at > '-7d' AND signed_up_at < '-30d'", true),
            ("signed_up_at < '-7d' AND signed_up_at > '-30d'", false),
            ("signed_up_at > '-30d' AND signed_up_at < '2020-01-01'", false),
            ("contains(tags, 'a') AND contains(tags, 'b')", false),
            ("contains(tags, 'a') AND NOT contains(tags, 'a')", true),
            ("contains(tags, 'a') AND is_not_set(tags)", true),
            ("contains(tags, 'a') AND NOT contains_any(tags, ['a', 'b'])", true),
            ("contains_any(tags, ['a', 'b']) AND NOT contains(tags, 'a')", false),
            ("events('a') >= 1 AND events('a') = 0", true),
            ("events('a') >= 1 AND events('a', last => '7d') = 0", false),
            ("events('a') > 2 AND events('a') < 3", true),
            ("events('a', sum => 'price') > 2 AND events('a', sum => 'price') < 3", false),
            ("events('a', last => '30d') >= 1 AND events('a', from => '-30d') = 0", true),
            ("hour(signed_up_at) >= 22 AND hour(signed_up_at) < 5", true),
            ("profile.n = 1 AND profile.n = '1'", false),
        ],
    )?;
    let nested = r#"{"type": "user_attribute", "property": "visits", "operator": "gt", "value": 5},
        {"logic": "and", "conditions": [{"type": "user_attribute", "property": "visits", "operator": "lt", "value": 3}, {"type": "event"}]}"#;
    assert_eq!(of_conditions("and", nested), ["never-holds /conditions/1"]);
    let three = "visits IN (1, 2) AND visits IN (2, 3) AND visits IN (1, 3)";
    assert_eq!(of_expression(three), ["never-holds "], "no two of them exclude each other");
    let opposed = r#"{"at_least": 2, "of": [{"type": "event"}, {"type": "event", "event_type": "a"}, {"type": "event", "event_type": "b"}]},
        {"not": {"at_least": 2, "of": [{"type": "event", "event_type": "b"}, {"type": "event", "event_type": "a"}, {"type": "event"}]}}"#;
    assert_eq!(of_conditions("and", opposed), ["never-holds /conditions/1"]);
    let filter = r#"{"type": "event", "where": [{"property": "price", "operator": "gte", "value": 50},
        {"logic": "and", "conditions": [{"property": "price", "operator": "lt", "value": 50}, {"property": "properties.a", "operator": "is_set"}]}]}"#;
    assert_eq!(of_conditions("and", filter), ["never-holds /conditions/0/where/1"]);
    assert!(of_conditions("and", &filter.replace("\"lt\"", "\"lte\"")).is_empty());
    Ok(())
}

fn alternatives_that_leave_nothing_out() -> Result<(), Failed> {
    each(
        "always-holds",
        &[
            ("country <> 'FR' OR country <> 'DE'", true),
            ("country <> 'FR' OR country = 'DE'", false),
            ("country = 'FR' OR country <> 'FR'", true),
            ("visits > 5 OR visits <= 5", false),
            ("visits <= 5 OR NOT visits <= 5", true),
            ("NOT visits > 5 OR visits > 3", true),
            ("NOT visits > 5 OR visits > 7", false),
            ("is_not_set(country) OR country <> 'FR'", false),
            ("is_set(country) OR country <> 'FR'", true),
            ("events('a') > 2 OR events('a') < 3", true),
            ("events('a') > 2 OR events('a') < 2", false),
            ("events('a', min => 'price') > 2 OR events('a', min => 'price') < 3", false),
        ],
    )
}

fn conditions_that_nothing_decides() -> Result<(), Failed> {
    for (expression, code) in [
        ("events('a') >= 0", Some("always-holds")),
        ("events('a') < 0", Some("never-holds")),
        ("events('a') = 1.5", Some("never-holds")),
        ("events('a') <> 1.5", Some("always-holds")),
        ("events('a', sum => 'price') >= 0", None),
        ("events('a', measure => 'days_since_last') >= 0", None),
        ("weekday(signed_up_at) = 0", Some("never-holds")),
        ("weekday(signed_up_at) = 7", None),
        ("hour(signed_up_at) = 24", Some("never-holds")),
        ("hour(signed_up_at) >= 0", None),
        ("month(signed_up_at) IN (0, 13)", Some("never-holds")),
        ("days_since(signed_up_at) < 0", None),
        ("sample(100)", Some("always-holds")),
        ("sample(99.9)", None),
        ("sample(0)", Some("never-holds")),
        ("top(visits, percent => 0)", Some("never-holds")),
        ("top(visits, percent => 100)", None),
        ("everyone()", None),
    ] {
        let expected: Vec<String> = code.iter().map(|code| format!("{code} /conditions/0")).collect();
        let found = of_expression(expression);
        if found != expected {
            return Err(format!("{expression}: {found:?}").into());
        }
    }
    Ok(())
}

fn what_follows_from_a_mistake() -> Result<(), Failed> {
    assert_eq!(
        of_expression("(weekday(signed_up_at) = 8 AND visits > 1) OR (weekday(signed_up_at) = 9 AND visits > 2)"),
        ["never-holds /conditions/0/conditions/0", "never-holds /conditions/1/conditions/0"]
    );
    assert_eq!(of_expression("visits > 1 OR everyone()"), ["always-holds /conditions/1"]);
    assert_eq!(of_expression("visits > 1 AND NOT everyone()"), ["never-holds /conditions/1"]);
    assert!(of_expression("visits > 1 AND everyone()").is_empty());
    assert_eq!(of_expression("NOT everyone()"), ["never-holds /conditions/0"]);
    let at_least = |count: u8| {
        let of = r#"{"type": "everyone"}, {"type": "event"}, {"type": "event", "event_type": "a"}"#;
        of_conditions("and", &format!(r#"{{"at_least": {count}, "of": [{of}]}}"#))
    };
    assert_eq!(at_least(1), ["always-holds /conditions/0"]);
    assert!(at_least(2).is_empty());
    let metric = r#"{"id": "a", "subject": "product", "logic": "and", "conditions": [{"type": "ai_visibility_metric", "metric": "a"},
        {"type": "ai_visibility_metric", "metric": "b"}, {"type": "product_attribute", "property": "title", "operator": "is_set"}]}"#;
    assert!(report(&[document(metric)], None).findings.is_empty(), "metrics have a warning of their own");
    Ok(())
}

fn numbers_are_told_apart() -> Result<(), Failed> {
    // As doubles the two are one number, which a column of doubles can hold.
    each(
        "never-holds",
        &[
            ("ratio = 0.1 AND ratio = 0.10000000000000000001", false),
            ("ratio >= 0.10000000000000000001 AND ratio <= 0.1", false),
            ("ratio > 0.10000000000000000001 AND ratio <= 0.1", true),
            ("ratio = 0.1 AND ratio = 0.2", true),
            ("ratio = 9007199254740993 AND ratio = 9007199254740992", false),
            ("ratio >= 0 AND ratio <= -0.0", false),
        ],
    )
}

fn repeated_conditions() -> Result<(), Failed> {
    let order = r#"{"type": "event", "event_type": "order"}"#;
    let alike = r#"{"type": "event", "event_type": ["order"], "operator": "gte", "value": 1}"#;
    let other = r#"{"type": "event", "event_type": "visit"}"#;
    assert_eq!(of_conditions("and", &format!("{order}, {other}, {alike}")), ["repeated-condition /conditions/2"]);
    assert_eq!(
        of_conditions("or", &format!("{order}, {alike}, {order}")),
        ["repeated-condition /conditions/1", "repeated-condition /conditions/2"]
    );
    assert!(of_conditions("and", &format!("{order}, {other}")).is_empty());
    let counted = format!(r#"{{"at_least": 2, "of": [{order}, {other}, {alike}]}}"#);
    assert_eq!(of_conditions("and", &counted), ["repeated-condition /conditions/0/of/2"]);
    let filter = r#"{"type": "event", "where": [{"property": "price", "operator": "gt", "value": 5},
        {"property": "price", "operator": "gt", "value": 5.0}, {"property": "price", "operator": "gt", "value": 6}]}"#;
    assert_eq!(of_conditions("and", filter), ["repeated-condition /conditions/0/where/1"]);
    Ok(())
}

fn groups_of_one() -> Result<(), Failed> {
    let order = r#"{"type": "event", "event_type": "order"}"#;
    let other = r#"{"type": "event", "event_type": "visit"}"#;
    assert!(of_conditions("and", order).is_empty());
    assert_eq!(of_conditions("or", order), ["single-alternative /logic"]);
    assert!(of_conditions("or", &format!("{order}, {other}")).is_empty());
    let group = |logic: &str, conditions: &str| format!(r#"{other}, {{"logic": "{logic}", "conditions": [{conditions}]}}"#);
    assert_eq!(of_conditions("and", &group("or", order)), ["single-alternative /conditions/1/logic"]);
    assert_eq!(of_conditions("or", &group("and", order)), ["idle-group /conditions/1/logic"]);
    assert!(of_conditions("or", &group("and", &format!("{order}, {}", order.replace("order", "return")))).is_empty());
    assert_eq!(
        of_conditions("and", &format!(r#"{{"at_least": 1, "of": [{order}]}}"#)),
        ["single-alternative /conditions/0/at_least"]
    );
    assert!(of_conditions("and", &format!(r#"{{"not": {order}}}"#)).is_empty());
    let filter =
        r#"{"type": "event", "where": [{"logic": "or", "conditions": [{"property": "price", "operator": "gt", "value": 5}]}]}"#;
    assert_eq!(of_conditions("and", filter), ["single-alternative /conditions/0/where/0/logic"]);
    Ok(())
}

fn among(definitions: &[String]) -> Vec<String> {
    let documents: Vec<Document> = definitions.iter().map(|text| document(text)).collect();
    let report = report(&documents, None);
    report
        .findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.code, finding.path.as_deref().unwrap(), finding.message))
        .collect()
}

fn segments_that_mean_the_same() -> Result<(), Failed> {
    let order = r#"{"type": "event", "event_type": "order"}"#;
    let rich = r#"{"type": "user_attribute", "property": "balance", "operator": "gte", "value": 10}"#;
    let define = |id: &str, conditions: &str| format!(r#"{{"id": "{id}", "logic": "and", "conditions": [{conditions}]}}"#);
    let (a, b) = (define("a", &format!("{order}, {rich}")), define("b", &format!("{}, {order}", rich.replace("10", "10.0"))));
    assert_eq!(
        among(&[a.clone(), b.clone()]),
        ["duplicate-segment /id: this segment means the same as `b`", "duplicate-segment /id: this segment means the same as `a`"]
    );
    assert!(among(&[a.clone(), define("b", order)]).is_empty());
    assert!(among(&[a, b.replace("\"logic\"", "\"status\": \"archived\", \"logic\"")]).is_empty(), "who is not listed is no twin");
    let sample = r#"{"type": "sample", "percent": 10}"#;
    assert!(among(&[define("a", sample), define("b", sample)]).is_empty(), "each has a salt of its own");
    let by_hand = |id: &str| format!(r#"{{"id": "{id}", "kind": "static"}}"#);
    assert!(among(&[by_hand("a"), by_hand("b")]).is_empty());
    let titled = |subject: &str, id: &str| {
        format!(r#"{{"id": "{id}", "subject": "{subject}", "logic": "and", "conditions": [{{"type": "everyone"}}]}}"#)
    };
    assert!(among(&[titled("user", "a"), titled("product", "b")]).is_empty());
    Ok(())
}

fn segments_that_differ_in_one_condition() -> Result<(), Failed> {
    let condition = |name: &str| format!(r#"{{"type": "event", "event_type": "{name}"}}"#);
    let define = |id: &str, logic: &str, names: &[&str]| {
        let conditions: Vec<String> = names.iter().map(|name| condition(name)).collect();
        format!(r#"{{"id": "{id}", "logic": "{logic}", "conditions": [{}]}}"#, conditions.join(", "))
    };
    let one = define("one", "and", &["a", "b", "c", "d"]);
    assert_eq!(
        among(&[one.clone(), define("two", "and", &["x", "c", "b", "a"])]),
        [
            "similar-segment /conditions/3: but for this, `two` has the same 3 conditions, and one of its own",
            "similar-segment /conditions/0: but for this, `one` has the same 3 conditions, and one of its own"
        ]
    );
    assert_eq!(
        among(&[one.clone(), define("two", "and", &["c", "b", "a"])]),
        [
            "similar-segment /conditions/3: but for this, `two` has the same 3 conditions",
            "similar-segment /id: `one` has the same 3 conditions, and one more"
        ]
    );
    for other in [
        define("two", "or", &["x", "c", "b", "a"]),
        define("two", "and", &["x", "y", "b", "a"]),
        define("two", "and", &["a", "b", "c", "x", "y"]),
    ] {
        assert!(among(&[one.clone(), other.clone()]).is_empty(), "{other}");
    }
    let shared = ["a", "b", "c"].map(condition).join(", ");
    let of_country = |id: &str, value: &str| {
        let country = format!(r#"{{"type": "user_attribute", "property": "country", "operator": "in", "value": [{value}]}}"#);
        format!(r#"{{"id": "{id}", "logic": "and", "conditions": [{shared}, {country}]}}"#)
    };
    assert!(among(&[of_country("fr", r#""FR""#), of_country("de", r#""DE""#)]).is_empty(), "a family without a common member");
    assert_eq!(among(&[of_country("fr", r#""FR""#), of_country("both", r#""DE", "FR""#)]).len(), 2);
    let three = define("three", "and", &["a", "b", "c"]);
    assert!(among(&[three, define("four", "and", &["a", "b", "x"])]).is_empty(), "two are not many");
    Ok(())
}

fn property(keys: &[&str], present: u64, looked_at: u64) -> PropertyFacts {
    let opened = matches!(keys, ["profile" | "properties" | "scores" | "data"]);
    PropertyFacts { keys: keys.iter().map(|&key| key.to_owned()).collect(), present, looked_at, opened }
}

/// Of 1,000 users and 500 events, of which 100 were looked at closely; the events begin on 23 September 2025, local time.
pub(crate) fn facts() -> DataFacts {
    let users = TableFacts {
        rows: 1_000,
        sampled_rows: 100,
        properties: vec![
            property(&["country"], 990, 1_000),
            property(&["plan_price"], 0, 1_000),
            property(&["address", "city"], 10, 1_000),
            property(&["scores"], 1_000, 1_000),
            property(&["scores", "sport"], 30, 100),
            property(&["profile"], 1_000, 1_000),
            property(&["profile", "lifetime_value"], 90, 100),
            property(&["profile", "loyalty", "tier"], 90, 100),
        ],
        crowded: Vec::new(),
    };
    let events = TableFacts {
        rows: 500,
        sampled_rows: 500,
        properties: vec![
            property(&["price"], 400, 500),
            property(&["properties"], 500, 500),
            property(&["properties", "stars"], 20, 500),
        ],
        crowded: Vec::new(),
    };
    let instant = |text: &str| text.parse().unwrap();
    DataFacts {
        users: Some(users),
        products: None,
        events: Some(EventFacts {
            table: events,
            event_types: ["page_viewed", "order_completed", "email_opened"].map(str::to_owned).to_vec(),
            more_event_types: false,
            times: Some((instant("2025-09-23T07:30:00Z"), instant("2025-12-31T22:00:00Z"))),
        }),
    }
}

fn with_facts(expression: &str, facts: &DataFacts) -> Vec<String> {
    let source = Source::new("expression", expression);
    let subject = segmenta::model::condition::Subject::User;
    let report = report(&[parse_expression(&source, &"a".parse().unwrap(), subject).unwrap()], Some(facts));
    let help = |finding: &segmenta::diagnostic::Finding| finding.help.clone().unwrap();
    report.findings.iter().map(|finding| format!("{}: {} {}", finding.code, finding.message, help(finding))).collect()
}

fn what_the_data_has_nothing_of() -> Result<(), Failed> {
    let begin = "The events of the data begin on 2025-09-23.";
    for (expression, expected) in [
        ("events('order_completed')", None),
        ("events('order_complete')", Some("unseen-event-type: no event of the data has the type `order_complete` Did you mean `order_completed`?".to_owned())),
        ("events('order_*')", None),
        ("events()", None),
        ("events('cart_*')", Some("unseen-event-type: no event of the data has a type that begins with `cart_` The most frequent types are `page_viewed`, `order_completed`, `email_opened`.".to_owned())),
        ("country = 'FR'", None),
        ("plan_price = '5'", Some("unseen-property: none of the 1000 users has a value at `plan_price` `segmenta describe users` shows what there is.".to_owned())),
        ("address.city = 'Berlin'", None),
        ("scores.sport > 0.5", None),
        ("scores.chess > 0.5", Some("unseen-property: none of the 100 users that were looked at has a value at `scores.chess` There are 1000 rows: others may have one. `segmenta describe users` shows what was seen.".to_owned())),
        ("profile.lifetime_value > 5", None),
        ("profile.lifetime_valu > 5", Some("unseen-property: none of the 100 users that were looked at has a value at `profile.lifetime_valu` Did you mean `profile.lifetime_value`?".to_owned())),
        ("is_set(profile.loyalty)", None),
        ("profile.loyalty.tier = 'gold'", None),
        ("profile.loyalty.tier.name = 'gold'", None),
        ("is_set(profile)", None),
        ("events(where => (properties.stars = 5))", None),
        ("events(sum => 'properties.points') > 3", Some("unseen-property: none of the 500 events has a value at `properties.points` `segmenta describe events` shows what there is.".to_owned())),
        ("events(where => (NOT properties.points = 3))", Some("unseen-property: none of the 500 events has a value at `properties.points` `segmenta describe events` shows what there is.".to_owned())),
        ("events(last => '90d')", None),
        ("events(last => '100d')", None),
        ("events(last => '101d')", Some(format!("long-window: the window begins on 2025-09-22, before the first event {begin}"))),
        ("events(from => '2025-09-23')", None),
        ("events(from => '2025-09-01', to => '2025-10-01')", Some(format!("long-window: the window begins on 2025-09-01, before the first event {begin}"))),
        ("events(to => '2025-10-01')", None),
        ("events(to => '2025-09-01')", Some(format!("long-window: the window ends before the first event {begin}"))),
    ] {
        let found = with_facts(expression, &facts());
        let expected: Vec<String> = expected.into_iter().collect();
        if found != expected {
            return Err(format!("{expression}: {found:#?}").into());
        }
    }
    let pattern = |pattern: &str| {
        let text = format!(
            r#"{{"id": "a", "logic": "and", "conditions": [{{"type": "lifecycle", "event_type": "page_viewed", "pattern": {pattern}}}]}}"#
        );
        found(&report(&[document(&text)], Some(&facts())))
    };
    assert_eq!(pattern(r#"{"stopped": {"active": "6m", "quiet": "30d"}}"#), ["long-window /conditions/0/pattern/stopped/active"]);
    assert!(pattern(r#"{"stopped": {"active": "60d", "quiet": "30d"}}"#).is_empty());
    assert_eq!(
        pattern(r#"{"restarted": {"quiet": "6m", "recent": "30d"}}"#),
        ["long-window /conditions/0/pattern/restarted/quiet"]
    );
    assert_eq!(
        pattern(r#"{"regular": {"period": "1m", "periods": 5, "at_least": 2}}"#),
        ["long-window /conditions/0/pattern/regular/periods"]
    );
    assert_eq!(pattern(r#"{"first_time": {"last": "1y"}}"#), ["long-window /conditions/0/pattern/first_time"]);
    assert!(pattern(r#"{"first_time": {"last": "30d"}}"#).is_empty());
    let listed = r#"{"id": "a", "logic": "and", "conditions": [{"type": "top", "by": {"type": "event", "event_type": ["page_viewed", "nothing"],
        "where": [{"not": {"property": "properties.points", "operator": "is_set"}}]}, "count": 3}]}"#;
    assert_eq!(
        found(&report(&[document(listed)], Some(&facts()))),
        ["unseen-event-type /conditions/0/by/event_type/1", "unseen-property /conditions/0/by/where/0/not/property"]
    );
    Ok(())
}

/// Leaves that hold others, and scores.
fn what_is_nested_is_looked_at() -> Result<(), Failed> {
    let told = |rule: &str| found(&report(&[document(&format!(r#"{{"id": "a", {rule}}}"#))], Some(&facts())));
    let sequence = r#""logic": "and", "conditions": [{"type": "sequence", "window": {"last": "1y"}, "same": ["properties.session"], "steps": [
        {"event_type": "page_viewed"}, {"event_type": "nothing", "where": [{"property": "price", "operator": "gt", "value": 5},
        {"property": "price", "operator": "lt", "value": 4}]}]}]"#;
    assert_eq!(
        told(sequence),
        [
            "long-window /conditions/0/window",
            "unseen-property /conditions/0/same/0",
            "unseen-event-type /conditions/0/steps/1/event_type/0",
            "never-holds /conditions/0/steps/1/where/1"
        ]
    );
    let compared = r#""logic": "and", "conditions": [{"type": "compare", "left": {"type": "event", "event_type": "nothing"}, "operator": "gt",
        "right": {"property": "plan_price"}}]"#;
    assert_eq!(
        told(compared),
        ["unseen-event-type /conditions/0/left/event_type/0", "unseen-property /conditions/0/right/property"]
    );
    let scored = |second: &str| {
        format!(
            r#""scoring": {{"rules": [{{"condition": {{"logic": "and", "conditions": [
            {{"type": "user_attribute", "property": "visits", "operator": "gt", "value": 5}}, {second}]}}}}]}}"#
        )
    };
    let near = r#"{"type": "user_attribute", "property": "visits", "operator": "lt", "value": 3}"#;
    assert!(told(&scored(near)).is_empty(), "both may be near");
    let same = r#"{"type": "user_attribute", "property": "visits", "operator": "gt", "value": 5.0}"#;
    assert_eq!(told(&scored(same)), ["repeated-condition /scoring/rules/0/condition/conditions/1"]);
    Ok(())
}

fn what_was_not_looked_at() -> Result<(), Failed> {
    let mut facts = facts();
    let none = |facts: &DataFacts, expression: &str| {
        let found = with_facts(expression, facts);
        if found.is_empty() { Ok(()) } else { Err(Failed::from(format!("{expression}: {found:?}"))) }
    };
    let products = r#"{"id": "a", "subject": "product", "logic": "and", "conditions": [
        {"type": "product_attribute", "property": "title", "operator": "is_set"}]}"#;
    assert!(report(&[document(products)], Some(&facts)).findings.is_empty(), "a table that nobody looked at");
    none(&facts, "country.name = 'x'")?;
    if let Some(users) = &mut facts.users {
        users.crowded = vec!["profile".to_owned()];
    }
    none(&facts, "profile.anything = 'x'")?;
    if let Some(users) = &mut facts.users {
        users.sampled_rows = 0;
    }
    none(&facts, "scores.chess > 1")?;
    if let Some(events) = &mut facts.events {
        events.more_event_types = true;
        events.times = None;
    }
    none(&facts, "events('whatever', last => '9y')")?;
    none(&DataFacts::default(), "events('whatever', last => '9y') AND plan_price = '5'")
}
