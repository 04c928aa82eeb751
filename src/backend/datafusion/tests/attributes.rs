//! Attributes: readings and tests of every kind.

use datafusion::arrow::array::{Array, Float64Builder, Int64Builder};
use datafusion::arrow::array::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder, StringViewBuilder, StructArray};
use datafusion::arrow::buffer::NullBuffer;

use super::*;
use crate::check::{Element, ElementType};
use crate::ir::ElementsTest;
use crate::model::property::DatePart;

/// The members of one output per test of one column.
async fn members(column: TestColumn, reading: Reading, tests: Vec<Test<Interval>>) -> Vec<String> {
    let feature = attribute(&column, reading);
    let world = World { users: vec![letters("id", column.2.len()), column], ..World::default() };
    world.members(tests.into_iter().map(|test| (feature.clone(), test)).collect()).await
}

#[tokio::test]
async fn integers_compare_exactly_with_decimals() {
    let column = integers("n", &[Some(2), Some(3), None, Some(9_007_199_254_740_993), Some(i64::MIN)]);
    let tests = vec![
        compare(Comparator::Gt, "2.5"),
        compare(Comparator::Lte, "2.5"),
        equals("2.5"),
        equals("2.0"),
        equals("9007199254740993"),
        equals("9007199254740992"),
        compare(Comparator::Gte, "-9223372036854775808"),
        compare(Comparator::Lt, "-9223372036854775808"),
        compare(Comparator::Lt, "1e300"),
        compare(Comparator::Gt, "1e300"),
        Test::Number(NumberTest::Between(decimal("1.5"), decimal("3"))),
        Test::Number(NumberTest::OneOf(vec![decimal("2"), decimal("2.5"), decimal("3")])),
        Test::IsSet,
    ];
    let expected = ["b d", "a e", "", "a", "d", "", "a b d e", "", "a b d e", "", "a b", "a b", "a b d e"];
    assert_eq!(members(column, Reading::Number, tests).await, expected);
}

#[tokio::test]
async fn unsigned_integers_reach_beyond_signed_ones() {
    let column = unsigned("n", &[Some(0), Some(u64::MAX), None]);
    let tests =
        vec![equals("18446744073709551615"), compare(Comparator::Gt, "18446744073709551614.5"), compare(Comparator::Gte, "-1")];
    assert_eq!(members(column, Reading::Number, tests).await, ["b", "b", "a b"]);
}

#[tokio::test]
async fn doubles_compare_with_the_nearest_double_and_are_never_nan() {
    let column = floats("n", &[Some(-0.0), Some(f64::NAN), Some(0.1), Some(f64::INFINITY), Some(9_007_199_254_740_992.0), None]);
    let tests = vec![
        equals("0"),
        compare(Comparator::Lt, "0"),
        equals("0.1"),
        equals("0.1000000000000000055"),
        equals("9007199254740993"),
        compare(Comparator::Gt, "9007199254740993"),
        compare(Comparator::Lt, "1e400"),
        compare(Comparator::Gt, "1e400"),
        Test::IsSet,
    ];
    assert_eq!(members(column, Reading::Number, tests).await, ["a", "", "c", "c", "e", "", "a c e", "", "a c e"]);
}

#[tokio::test]
async fn decimals_compare_exactly() {
    let column = decimals("n", 20, 2, &[Some(1990), Some(1991), None, Some(-5)]);
    let tests = vec![equals("19.9"), equals("19.901"), compare(Comparator::Gt, "19.901"), compare(Comparator::Lt, "-0.049")];
    assert_eq!(members(column, Reading::Number, tests).await, ["a", "", "b", "d"]);
}

#[tokio::test]
async fn numbers_in_text_are_integers_or_doubles() {
    let column = texts(
        "n",
        &[
            Some(" 9007199254740993\r\n"),
            Some("9007199254740993.0"),
            Some("\u{a0}5"),
            Some("abc"),
            Some(""),
            None,
            Some("1e999"),
            Some("-0"),
        ],
    );
    let tests = vec![equals("9007199254740993"), equals("9007199254740992"), equals("0"), Test::IsSet];
    // The double 9007199254740993.0 is 9007199254740992, the nearest one of either literal; the integer is exact.
    assert_eq!(members(column, Reading::Number, tests).await, ["a b", "b", "h", "a b h"]);
}

#[tokio::test]
async fn texts_know_no_special_characters() {
    let column =
        texts("t", &[Some("100%"), Some("100x"), Some(r"a\b"), Some("ab"), Some("it's \"q\"\n_"), Some("ΟΔΟΣ"), Some(""), None]);
    let folded = |value: &str| Test::Text(TextTest { matches: TextMatch::OneOf(vec![value.to_owned()]), ignore_case: true });
    let tests = vec![
        text(TextMatch::StartsWith("100%".to_owned())),
        text(TextMatch::StartsWith(r"a\".to_owned())),
        text(TextMatch::StartsWith("_".to_owned())),
        text(TextMatch::Contains("%".to_owned())),
        text(TextMatch::Contains(r"\b".to_owned())),
        text(TextMatch::Contains("'s \"".to_owned())),
        text(TextMatch::EndsWith("\n_".to_owned())),
        text(TextMatch::EndsWith("%%".to_owned())),
        text(TextMatch::OneOf(vec!["ab".to_owned(), "100_".to_owned()])),
        text(TextMatch::Pattern(r"a\\b".to_owned())),
        text(TextMatch::Pattern(r"^100.$".to_owned())),
        text(TextMatch::Pattern("".to_owned())),
        folded("οδοσ"),
        Test::IsSet,
    ];
    let expected = ["a", "c", "", "a", "c", "e", "e", "", "d", "c", "a b", "a b c d e f g", "f", "a b c d e f"];
    assert_eq!(members(column, Reading::Text, tests).await, expected);
}

#[tokio::test]
async fn integers_are_texts_of_their_digits_and_nothing_else_is() {
    let column = integers("t", &[Some(7), Some(-70), None]);
    assert_eq!(members(column, Reading::Text, vec![is("7"), is("07"), Test::IsSet]).await, ["a", "", "a b"]);
    let column = unsigned("t", &[Some(u64::MAX)]);
    assert_eq!(members(column, Reading::Text, vec![is("18446744073709551615")]).await, ["a"]);
    let column = floats("t", &[Some(7.0)]);
    assert_eq!(members(column, Reading::Text, vec![is("7"), Test::IsSet]).await, ["", ""]);
}

#[tokio::test]
async fn booleans_are_booleans_or_their_words() {
    let tests = || vec![Test::Boolean(true), Test::Boolean(false), Test::IsSet];
    let column = booleans("f", &[Some(true), Some(false), None]);
    assert_eq!(members(column, Reading::Boolean, tests()).await, ["a", "b", "a b"]);
    let column = texts("f", &[Some("TRUE"), Some("false"), Some(" true"), Some("1")]);
    assert_eq!(members(column, Reading::Boolean, tests()).await, ["a", "b", "a b"]);
    let column = integers("f", &[Some(1), Some(0)]);
    assert_eq!(members(column, Reading::Boolean, tests()).await, ["", "", ""]);
}

#[tokio::test]
async fn dates_are_instants_local_days_or_milliseconds() {
    let day = Test::Date(Interval { from: Some(instant("2026-01-14T23:00:00Z")), to: Some(instant("2026-01-15T23:00:00Z")) });
    let columns = [
        (
            instants("d", &[Some("2026-01-14T23:00:00Z"), Some("2026-01-14T22:59:59.999999Z"), None, Some("2026-01-15T23:00:00Z")]),
            "a",
        ),
        (dates("d", &[Some(20_467), Some(20_468), Some(20_469), None, Some(i32::MAX)]), "b"),
        (texts("d", &[Some("2026-01-15"), Some("2026-01-15T10:00:00+02:00"), Some("15/01/2026"), Some("")]), "a b"),
        (integers("d", &[Some(1_768_431_600_000), Some(1_768_431_599_999), Some(i64::MAX), None]), "a"),
    ];
    for (column, expected) in columns {
        let feature = attribute(&column, Reading::Date);
        let rows = column.2.len();
        let world = World { users: vec![letters("id", rows), column], timezone: Some("Europe/Berlin"), ..World::default() };
        assert_eq!(world.members(vec![(feature, day.clone())]).await, [expected]);
    }
}

#[tokio::test]
async fn derived_numbers_follow_the_local_calendar() {
    let column =
        instants("d", &[Some("2026-03-29T10:00:00Z"), Some("2026-03-30T10:00:00.000001Z"), Some("2025-12-31T23:30:00Z"), None]);
    let access = Access::column("d", ColumnType::Timestamp);
    let value = |value: Value, test| (BatchFeature::Attribute(seen(value)), test);
    let part = |part, test| value(Value::Part(part, access.clone()), test);
    let tests = vec![
        value(Value::DaysSince(access.clone()), equals("1")),
        value(Value::DaysSince(access.clone()), compare(Comparator::Lt, "0")),
        value(Value::DaysSince(access.clone()), compare(Comparator::Gte, "0.99999999999")),
        part(DatePart::Year, equals("2026")),
        part(DatePart::Month, equals("1")),
        part(DatePart::Day, equals("29")),
        part(DatePart::Weekday, equals("7")),
        part(DatePart::Hour, equals("0")),
        value(Value::DaysToAnniversary(access.clone()), equals("0")),
        value(Value::DaysToAnniversary(access.clone()), equals("277")),
        value(Value::DaysToAnniversary(access.clone()), equals("364")),
    ];
    let world = World { users: vec![letters("id", 4), column], timezone: Some("Europe/Berlin"), ..World::default() };
    let expected = ["a", "b", "a c", "a b c", "c", "a", "a", "c", "b", "c", "a"];
    assert_eq!(world.members(tests).await, expected);
}

#[tokio::test]
async fn a_mean_is_exact_over_all_kinds_of_numbers() {
    let world = World {
        users: vec![
            letters("id", 4),
            integers("i", &[Some(1), Some(9_007_199_254_740_993), None, Some(1)]),
            floats("f", &[Some(0.5), Some(0.0), Some(1.0), Some(1e18)]),
            decimals("d", 10, 2, &[Some(150), Some(0), Some(1), Some(1)]),
        ],
        ..World::default()
    };
    let mean = BatchFeature::Attribute(seen(Value::Mean(vec![
        Access::column("i", ColumnType::Integer),
        Access::column("f", ColumnType::Float),
        Access::column("d", ColumnType::Decimal { precision: 10, scale: 2 }),
    ])));
    let tests = vec![
        (mean.clone(), equals("1")),
        (mean.clone(), equals("3002399751580331")),
        (mean.clone(), compare(Comparator::Lt, "3002399751580331")),
        (mean, Test::IsSet),
    ];
    // A double of 10^18 does not enter a sum.
    assert_eq!(world.members(tests).await, ["a", "b", "a", "a b"]);
}

#[tokio::test]
async fn json_paths_go_through_objects_and_take_the_first_of_equal_keys() {
    let rows = [
        Some(r#"{"a":{"b":1,"b":2},"a":{"b":3}}"#),
        Some(r#"{"a":[{"b":1}]}"#),
        Some(r#"{"a":{"b":"1"}}"#),
        Some(r#"{"a":{"b":1.0}}"#),
        Some(r#"{"a":{"b":1}} x"#),
        Some(r#"{"a":{"b":null}}"#),
        Some("not json"),
        None,
        Some(" {\"x\": [1e999, \"\\ud800\"], \"a\" : {\"b\" : 9007199254740993 } } "),
        Some(r#"{"a":{"b":{}}}"#),
        Some(r#"{"a":1,"a":{"b":1}}"#),
    ];
    let world = World { users: vec![letters("id", rows.len()), json("j", &rows)], ..World::default() };
    let tests = vec![
        (at_path("j", "a.b", Reading::Number), equals("1")),
        (at_path("j", "a.b", Reading::Text), is("1")),
        (at_path("j", "a.b", Reading::Number), equals("9007199254740993")),
        (at_path("j", "a.b", Reading::Stored), Test::IsSet),
        (at_path("j", "a", Reading::Stored), Test::IsSet),
        (at_path("j", "", Reading::Stored), Test::IsSet),
    ];
    let evaluation = world.evaluate(&world.batch(tests)).await;
    assert_eq!(shown(&evaluation), ["a c d", "a c", "i", "a c d i j", "a b c d f i j k", "a b c d f i j k"]);
    let observed: Vec<String> =
        evaluation.observations.iter().map(|observation| format!("{:?} {}", observation.kind, observation.count)).collect();
    assert_eq!(
        observed,
        [
            r#"Misfit { property: "j.a.b", reading: Text } 2"#,
            r#"Misfit { property: "j.a.b", reading: Number } 1"#,
            r#"InvalidJson { column: "j" } 2"#,
        ]
    );
}

#[tokio::test]
async fn fields_of_structs_and_maps_are_missing_below_null() {
    let cities = texts("city", &[Some("Rome"), Some("Oslo"), None]);
    // The second struct is NULL although its child holds a value.
    let address = StructArray::try_new(
        vec![Field::new("city", cities.2.data_type().clone(), true)].into(),
        vec![cities.2],
        Some(NullBuffer::from(vec![true, false, true])),
    )
    .unwrap();
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut rates = MapBuilder::new(Some(names), StringBuilder::new(), Float64Builder::new());
    rates.keys().append_value("x.y");
    rates.values().append_value(0.5);
    rates.append(true).unwrap();
    rates.append(false).unwrap();
    rates.keys().append_value("other");
    rates.values().append_value(0.5);
    rates.append(true).unwrap();
    let world = World {
        users: vec![
            letters("id", 3),
            ("address", ColumnType::Struct(vec![("city".to_owned(), ColumnType::Text)]), Arc::new(address)),
            ("rates", ColumnType::Map(Box::new(ColumnType::Float)), Arc::new(rates.finish())),
        ],
        ..World::default()
    };
    let field = |column: &str, field: &str, stored, reading| {
        let access = Access { column: column.to_owned(), fields: vec![field.to_owned()], json: None, stored };
        BatchFeature::Attribute(seen(Value::Stored(access, reading)))
    };
    let tests = vec![
        (field("address", "city", ColumnType::Text, Reading::Text), Test::IsSet),
        (field("rates", "x.y", ColumnType::Float, Reading::Number), equals("0.5")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a"]);
}

fn any(of: Vec<Element>) -> Test<Interval> {
    Test::Elements(ElementsTest::Any { of, ignore_case: false })
}

fn all(of: Vec<Element>) -> Test<Interval> {
    Test::Elements(ElementsTest::All { of, ignore_case: false })
}

fn word(text: &str) -> Element {
    Element::Text(text.to_owned())
}

#[tokio::test]
async fn arrays_of_text_hold_elements() {
    let mut tags = ListBuilder::new(StringViewBuilder::new());
    for list in [Some(vec![Some("a%"), Some("B")]), Some(vec![None]), Some(vec![]), None, Some(vec![Some("b"), Some("a"), None])] {
        tags.append_option(list);
    }
    let tags: TestColumn = ("tags", ColumnType::List(Box::new(ColumnType::Text)), Arc::new(tags.finish()));
    let folded = |of| Test::Elements(ElementsTest::Any { of, ignore_case: true });
    let tests =
        vec![any(vec![word("a")]), any(vec![word("B"), word("a")]), all(vec![word("a"), word("b")]), folded(vec![word("b")])];
    assert_eq!(members(tags.clone(), Reading::Elements(ElementType::Text), tests).await, ["e", "a e", "e", "a e"]);
    let set = members(tags.clone(), Reading::Elements(ElementType::Any), vec![Test::IsSet]).await;
    assert_eq!(set, ["a b e"]);
    let numbers = members(tags, Reading::Elements(ElementType::Number), vec![any(vec![Element::Number(decimal("1"))])]).await;
    assert_eq!(numbers, [""]);
}

#[tokio::test]
async fn arrays_of_numbers_hold_exact_numbers() {
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(9_007_199_254_740_993), Some(2)]);
    list.append_value([Some(9_007_199_254_740_992), None]);
    let column: TestColumn = ("n", ColumnType::List(Box::new(ColumnType::Integer)), Arc::new(list.finish()));
    let number = |text: &str| Element::Number(decimal(text));
    let tests =
        vec![any(vec![number("9007199254740993")]), any(vec![number("2.5")]), all(vec![number("2.0"), number("9007199254740993")])];
    assert_eq!(members(column.clone(), Reading::Elements(ElementType::Number), tests).await, ["a", "", "a"]);
    let texts = members(column, Reading::Elements(ElementType::Text), vec![any(vec![word("2")])]).await;
    assert_eq!(texts, ["a"]);
}

#[tokio::test]
async fn scalars_are_arrays_of_one() {
    let column = texts("t", &[Some("x"), Some(""), None]);
    let tests = vec![any(vec![word("x")]), Test::IsSet];
    assert_eq!(members(column.clone(), Reading::Elements(ElementType::Text), tests).await, ["a", "a b"]);
    let column = floats("f", &[Some(-0.0), Some(f64::NAN)]);
    let tests = vec![any(vec![Element::Number(decimal("0"))]), Test::IsSet];
    assert_eq!(members(column, Reading::Elements(ElementType::Number), tests).await, ["a", "a"]);
}

#[tokio::test]
async fn elements_of_json_are_read_as_the_literals() {
    let rows = [
        Some(r#"{"t":["a",1,null]}"#),
        Some(r#"{"t":"a"}"#),
        Some(r#"{"t":[]}"#),
        Some(r#"{"t":{"a":1}}"#),
        Some(r#"{"t":[null]}"#),
        Some(r#"{"t":[1.0,"true"]}"#),
        Some(r#"{"t":null}"#),
    ];
    let world = World { users: vec![letters("id", rows.len()), json("j", &rows)], ..World::default() };
    let path = |element| at_path("j", "t", Reading::Elements(element));
    let tests = vec![
        (path(ElementType::Text), any(vec![word("a")])),
        (path(ElementType::Text), any(vec![word("1")])),
        (path(ElementType::Number), any(vec![Element::Number(decimal("1"))])),
        (path(ElementType::Boolean), any(vec![Element::Boolean(true)])),
        (path(ElementType::Any), Test::IsSet),
    ];
    assert_eq!(world.members(tests).await, ["a b", "a", "a f", "f", "a b e f"]);
}
