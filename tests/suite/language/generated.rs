//! Definitions of any form, whether they mean anything or not, and texts to break them with.

use proptest::prelude::*;
use segmenta::model::condition::{
    AiVisibilityLeaf, AttributeTest, CompareLeaf, Comparison, Condition, EventCondition, EventLeaf, EventMeasure, EventTypePattern,
    Leaf, LifecycleLeaf, LifecyclePattern, Logic, Measure, Node, Quantity, RankOrder, SampleLeaf, SegmentLeaf, SequenceLeaf,
    SequenceStep, Signal, SignalLeaf, Subject, TopLeaf, TopShare,
};
use segmenta::model::decimal::Decimal;
use segmenta::model::guard::MaxChange;
use segmenta::model::operator::{Operator, ValueType};
use segmenta::model::property::{DatePart, Property, PropertyPath};
use segmenta::model::schedule::Schedule;
use segmenta::model::scoring::{Combination, Scoring, ScoringRule};
use segmenta::model::segment::{Definition, Keep, Keeping, Kind, Rule, Status};
use segmenta::model::value::Literal;
use segmenta::model::window::{Anchor, DateExpr, Duration, Offset, Truncation, Unit, Window};
use segmenta::syntax::{Format, print_json};

pub(crate) fn definition() -> impl Strategy<Value = Definition> {
    let head = ("[a-z0-9][a-z0-9_-]{0,20}", option(text(1)), option(text(0)), prop::bool::ANY, status(), option(schedule()));
    let tail = (
        (option(interval()), option(max_change())),
        prop::collection::vec(text(0), 0..3),
        option(text(0)),
        option(text(0)),
        option(rule()),
        metadata(),
    );
    let all = (head, tail, keeping());
    all.prop_map(
        |(
            (id, name, description, user, status, schedule),
            ((cache_ttl, max_change), tags, icon, color, rule, metadata),
            keeping,
        )| {
            Definition {
                id: id.parse().unwrap(),
                name,
                description,
                subject: if user { Subject::User } else { Subject::Product },
                kind: if rule.is_some() { Kind::Dynamic } else { Kind::Static },
                status,
                schedule,
                cache_ttl,
                max_change,
                tags,
                icon,
                color,
                rule,
                metadata,
                keeping,
            }
        },
    )
}

fn max_change() -> impl Strategy<Value = MaxChange> {
    prop_oneof![
        Just(MaxChange::Unlimited),
        (0..1_000u32).prop_map(|tenths| format!("{}.{}%", tenths / 10, tenths % 10).parse().unwrap())
    ]
}

fn keeping() -> impl Strategy<Value = Keeping> {
    let keep = || option(prop_oneof![Just(Keep::Forever), interval().prop_map(Keep::For)]);
    (keep(), keep(), keep()).prop_map(|(snapshots, changes, history)| Keeping { snapshots, changes, history })
}

/// A text to put into another, and how many characters it replaces.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    pub(crate) inserted: String,
    pub(crate) removed: usize,
}

pub(crate) fn fragment() -> impl Strategy<Value = Fragment> {
    const MARKS: &[&str] = &[
        "", "\"", "'", "{", "}", "[", "]", ",", ":", "\n", "  ", "\t", "-", "- ", "? ", "*a", "&a ", "!", "!!str ", "<<: ", "|",
        ">", "#", "---\n", "\\", "\\u", "\\ud800", "null", "1e999", "-", ".", "0", "not", "\u{feff}", "\u{0}", "\r", "ä", "😀",
        "@", "%", "=", "[[a]]\n", "\"\"\"",
    ];
    let inserted = prop_oneof![prop::sample::select(MARKS).prop_map(str::to_owned), ".{0,4}"];
    (inserted, 0_usize..12).prop_map(|(inserted, removed)| Fragment { inserted, removed })
}

/// A definition as a text of each language.
pub(crate) fn print(definition: &Definition, format: Format) -> String {
    let json = print_json(definition);
    match format {
        Format::Json => json,
        // What TOML cannot say is said in JSON, which is then a text that is no TOML.
        Format::Toml => {
            serde_json::from_str::<toml::Value>(&json).ok().and_then(|tree| toml::to_string(&tree).ok()).unwrap_or(json)
        }
        Format::Yaml => block_style(&serde_json::from_str(&json).unwrap(), 0),
    }
}

fn block_style(value: &serde_json::Value, indent: usize) -> String {
    let pad = "  ".repeat(indent);
    match value {
        serde_json::Value::Array(values) if !values.is_empty() => {
            values.iter().map(|value| format!("{pad}-\n{}", block_style(value, indent + 1))).collect()
        }
        serde_json::Value::Object(members) if !members.is_empty() => members
            .iter()
            .map(|(key, value)| format!("{pad}{}:\n{}", serde_json::json!(key), block_style(value, indent + 1)))
            .collect(),
        scalar => format!("{pad}{scalar}\n"),
    }
}

fn option<T: Clone + std::fmt::Debug>(inner: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, inner)
}

fn text(least: usize) -> impl Strategy<Value = String> {
    let plain = "[a-zA-Z _.-]{0,12}";
    let marks = r#"["'\\/%*{}\[\]:,#&!|>?@`\n\r\t\u{0}\u{1f}\u{7f}\u{85}\u{2028}äß😀-]{0,6}"#;
    (plain, marks).prop_map(move |(plain, marks)| format!("{plain}{marks}{}", "x".repeat(least)))
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![Status::Active, Status::Paused, Status::Archived])
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let cron = prop::sample::select(vec!["0 6 * * 1", "*/5 * * * *", "30 0 6 * * 1"]);
    prop_oneof![interval().prop_map(Schedule::Every), cron.prop_map(|cron| Schedule::Cron(cron.to_owned()))]
}

/// Months are refused as an interval.
fn interval() -> impl Strategy<Value = Duration> {
    duration().prop_filter("months", |duration| duration.unit != Unit::Month)
}

fn duration() -> impl Strategy<Value = Duration> {
    (1_u32..10_000, prop::sample::select(Unit::ALL.to_vec())).prop_map(|(amount, unit)| Duration { amount, unit })
}

fn metadata() -> impl Strategy<Value = Option<serde_json::Map<String, serde_json::Value>>> {
    let scalar = prop_oneof![
        text(0).prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        prop::num::f64::NORMAL.prop_map(serde_json::Value::from),
        prop::bool::ANY.prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    let value = scalar.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::vec((text(0), inner), 0..3)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    option(prop::collection::vec((text(0), value), 0..3).prop_map(|members| members.into_iter().collect()))
}

fn logic() -> impl Strategy<Value = Logic> {
    prop::sample::select(vec![Logic::And, Logic::Or])
}

fn rule() -> impl Strategy<Value = Rule> {
    let conditions = (logic(), prop::collection::vec(condition(), 1..4));
    prop_oneof![
        4 => conditions.prop_map(|(logic, conditions)| Rule::Conditions { logic, conditions }),
        1 => scoring().prop_map(Rule::Scoring),
    ]
}

fn scoring() -> impl Strategy<Value = Scoring> {
    let combination = prop::sample::select(vec![Combination::All, Combination::Any, Combination::Weighted]);
    let rule = (condition(), option(percent()), option(text(0))).prop_map(|(condition, weight, description)| ScoringRule {
        condition,
        weight,
        description,
    });
    let threshold = r"1|0(\.[0-9]{1,9})?".prop_map(|digits| digits.parse().unwrap());
    (combination, option(threshold), prop::collection::vec(rule, 1..4)).prop_map(|(combination, threshold, rules)| Scoring {
        combination,
        threshold,
        rules,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let described =
        |node: BoxedStrategy<Node>| (node, option(text(0))).prop_map(|(node, description)| Condition { node, description });
    described(leaf().prop_map(Node::Leaf).boxed()).prop_recursive(3, 12, 3, move |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        described(
            prop_oneof![
                (logic(), several.clone()).prop_map(|(logic, conditions)| Node::Group { logic, conditions }),
                (1_u64..9, several).prop_map(|(count, of)| Node::AtLeast { count, of }),
                inner.prop_map(|condition| Node::Not(Box::new(condition))),
            ]
            .boxed(),
        )
    })
}

fn leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        (prop::bool::ANY, attribute_test())
            .prop_map(|(user, test)| Leaf::Attribute { subject: if user { Subject::User } else { Subject::Product }, test }),
        event().prop_map(Leaf::Event),
        ("[a-z0-9][a-z0-9_-]{0,9}", prop::bool::ANY)
            .prop_map(|(id, negated)| Leaf::Segment(SegmentLeaf { segment_id: id.parse().unwrap(), negated })),
        Just(Leaf::Everyone),
        (option(prop::collection::vec(event_type(), 1..3)), prop::collection::vec(event_condition(), 0..3), lifecycle_pattern())
            .prop_map(|(event_type, filter, pattern)| Leaf::Lifecycle(LifecycleLeaf { event_type, filter, pattern })),
        (quantity(), prop::bool::ANY, prop_oneof![(1_u64..999).prop_map(TopShare::Count), percent().prop_map(TopShare::Percent)])
            .prop_map(|(by, ascending, share)| {
                let order = if ascending { RankOrder::Ascending } else { RankOrder::Descending };
                Leaf::Top(TopLeaf { by, order, share })
            }),
        (percent(), option(text(0))).prop_map(|(percent, salt)| Leaf::Sample(SampleLeaf { percent, salt })),
        (option(text(0)), option(comparison()))
            .prop_map(|(metric, comparison)| Leaf::AiVisibilityMetric(AiVisibilityLeaf { metric, comparison })),
        compare().prop_map(Leaf::Compare),
        sequence().prop_map(Leaf::Sequence),
        signal().prop_map(Leaf::UserBehaviorSignal),
    ]
}

fn lifecycle_pattern() -> impl Strategy<Value = LifecyclePattern> {
    prop_oneof![
        window().prop_filter("it names a window", |window| *window != Window::All).prop_map(LifecyclePattern::FirstTime),
        (duration(), duration()).prop_map(|(active, quiet)| LifecyclePattern::Stopped { active, quiet }),
        (duration(), duration()).prop_map(|(quiet, recent)| LifecyclePattern::Restarted { quiet, recent }),
        (duration(), 1_u64..99, 1_u64..99, option(1_u64..99))
            .prop_map(|(period, periods, at_least, count)| { LifecyclePattern::Regular { period, periods, at_least, count } }),
    ]
    .boxed()
}

fn compare() -> impl Strategy<Value = CompareLeaf> {
    let operators = vec![Operator::Eq, Operator::Neq, Operator::Gt, Operator::Gte, Operator::Lt, Operator::Lte];
    (quantity(), prop::sample::select(operators), quantity(), option(number()))
        .prop_map(|(left, operator, right, factor)| CompareLeaf { left, operator, right, factor })
        .boxed()
}

fn sequence() -> impl Strategy<Value = SequenceLeaf> {
    let selection = (option(prop::collection::vec(event_type(), 1..3)), prop::collection::vec(event_condition(), 0..3));
    let step =
        (selection, prop::bool::ANY).prop_map(|((event_type, filter), absent)| SequenceStep { event_type, filter, absent }).boxed();
    // Months are refused, as in an interval.
    (prop::collection::vec(step, 2..5), option(interval()), prop::collection::vec(path(), 0..3), window())
        .prop_map(|(steps, within, same, window)| SequenceLeaf { steps, within, same, window })
        .boxed()
}

fn signal() -> impl Strategy<Value = SignalLeaf> {
    let signal = prop::sample::select(vec![Signal::Purchased, Signal::Viewed]);
    let event_type = option(prop::collection::vec(event_type(), 1..3));
    (signal, "[a-z0-9][a-z0-9_-]{0,9}", event_type, option(path()), window(), option(comparison()))
        .prop_map(|(signal, id, event_type, product_id_property, window, comparison)| SignalLeaf {
            signal,
            segment_id: id.parse().unwrap(),
            event_type,
            product_id_property,
            window,
            comparison,
        })
        .boxed()
}

fn quantity() -> impl Strategy<Value = Quantity> {
    let patterns = option(prop::collection::vec(event_type(), 1..3));
    let filter = prop::collection::vec(event_condition(), 0..3);
    prop_oneof![
        (patterns, filter, measure(), window()).prop_map(|(event_type, filter, measure, window)| Quantity::Events(EventMeasure {
            event_type,
            filter,
            measure,
            window
        })),
        (property(), option(prop::sample::select(ValueType::ALL.to_vec())))
            .prop_map(|(property, value_type)| Quantity::Property { property, value_type }),
    ]
    .boxed()
}

fn percent() -> impl Strategy<Value = Decimal> {
    r"100|[1-9]?[0-9](\.[0-9]{1,9})?".prop_map(|digits| digits.parse().unwrap())
}

fn number() -> impl Strategy<Value = Decimal> {
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?".prop_map(|digits| digits.parse().unwrap())
}

fn attribute_test() -> impl Strategy<Value = AttributeTest> {
    (property(), comparison()).prop_map(|(property, comparison)| AttributeTest { property, comparison })
}

fn path() -> impl Strategy<Value = PropertyPath> {
    prop::collection::vec(text(0), 1..4).prop_map(|keys| PropertyPath::from_keys(keys).unwrap())
}

// What many strategies have as a part is boxed: as values of their own they would fill the stack of a test.

fn property() -> impl Strategy<Value = Property> {
    prop_oneof![
        3 => path().prop_map(Property::Path),
        1 => path().prop_map(Property::DaysSince),
        1 => path().prop_map(Property::DaysToAnniversary),
        1 => (prop::sample::select(DatePart::ALL.to_vec()), path()).prop_map(|(part, path)| Property::Part(part, path)),
        1 => prop::collection::vec(path(), 1..3).prop_map(Property::Mean),
    ]
    .boxed()
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let operator = prop::sample::select(Operator::ALL.to_vec());
    let value_type = option(prop::sample::select(ValueType::ALL.to_vec()));
    (operator, option(literal()), option(literal()), value_type, prop::bool::ANY)
        .prop_map(|(operator, value, value2, value_type, ignore_case)| Comparison {
            operator,
            value,
            value2,
            value_type,
            ignore_case,
        })
        .boxed()
}

fn literal() -> impl Strategy<Value = Literal> {
    let scalar = prop_oneof![
        prop::bool::ANY.prop_map(Literal::Boolean),
        number().prop_map(Literal::Number),
        text(0).prop_map(Literal::Text),
    ];
    prop_oneof![3 => scalar.clone(), 1 => prop::collection::vec(scalar, 0..4).prop_map(Literal::List)].boxed()
}

fn event() -> impl Strategy<Value = EventLeaf> {
    let patterns = option(prop::collection::vec(event_type(), 1..3));
    let filter = prop::collection::vec(event_condition(), 0..3);
    (patterns, filter, measure(), window(), option(comparison()))
        .prop_map(|(event_type, filter, measure, window, comparison)| EventLeaf {
            events: EventMeasure { event_type, filter, measure, window },
            comparison,
        })
        .boxed()
}

fn event_type() -> impl Strategy<Value = EventTypePattern> {
    prop_oneof![
        "[a-z*\\\\ä_]{1,8}".prop_map(EventTypePattern::Exact),
        "([a-z*ä_]{0,8}|[a-z\\\\]{0,4}[a-z])".prop_map(EventTypePattern::Prefix),
    ]
}

fn event_condition() -> impl Strategy<Value = EventCondition> {
    attribute_test().prop_map(EventCondition::Test).prop_recursive(2, 6, 2, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (logic(), several.clone()).prop_map(|(logic, conditions)| EventCondition::Group { logic, conditions }),
            (1_u64..5, several).prop_map(|(count, of)| EventCondition::AtLeast { count, of }),
            inner.prop_map(|condition| EventCondition::Not(Box::new(condition))),
        ]
    })
}

fn measure() -> impl Strategy<Value = Measure> {
    let rows = vec![
        Measure::Count,
        Measure::ActiveDays,
        Measure::ActiveWeeks,
        Measure::ActiveMonths,
        Measure::DaysSinceFirst,
        Measure::DaysSinceLast,
    ];
    let properties: Vec<fn(PropertyPath) -> Measure> = vec![
        Measure::Sum,
        Measure::Avg,
        Measure::Min,
        Measure::Max,
        Measure::CountDistinct,
        Measure::First,
        Measure::Last,
        Measure::MostFrequent,
    ];
    prop_oneof![prop::sample::select(rows), (prop::sample::select(properties), path()).prop_map(|(measure, path)| measure(path))]
        .boxed()
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        Just(Window::All),
        duration().prop_map(Window::Last),
        (date(), option(date())).prop_map(|(from, to)| Window::Range { from: Some(from), to }),
        date().prop_map(|to| Window::Range { from: None, to: Some(to) }),
    ]
    .boxed()
}

fn date() -> impl Strategy<Value = DateExpr> {
    let offset = (-9_999_i64..10_000, prop::sample::select(Unit::ALL.to_vec())).prop_map(|(amount, unit)| Offset { amount, unit });
    let offsets = prop::collection::vec(offset, 0..3);
    let truncation = option(prop::sample::select(Truncation::ALL.to_vec()));
    let day = (1_i16..9_999, 1_i8..13, 1_i8..29)
        .prop_map(|(year, month, day)| Anchor::Day(jiff::civil::Date::new(year, month, day).unwrap()));
    let word = prop::sample::select(vec![Anchor::Now, Anchor::Today, Anchor::Yesterday, Anchor::Tomorrow]);
    let instant = (-60_000_000_000_000_000_i64..200_000_000_000_000_000)
        .prop_map(|micros| Anchor::Instant(jiff::Timestamp::from_microsecond(micros).unwrap()));
    prop_oneof![
        3 => (prop_oneof![word, day], offsets, truncation)
            .prop_map(|(anchor, offsets, truncation)| DateExpr { anchor, offsets, truncation }),
        1 => instant.prop_map(|anchor| DateExpr { anchor, offsets: Vec::new(), truncation: None }),
    ]
}
