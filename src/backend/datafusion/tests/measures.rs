//! Measures over events.

use super::*;
use crate::backend::{BackendError, MemberSet, ObservationKind};
use crate::ir::{Aggregate, DistinctUnit, RowTest};
use crate::model::condition::EventTypePattern;
use crate::plan::BatchMeasure;

pub(super) fn measure(aggregate: Aggregate) -> BatchMeasure {
    let window = Interval { from: None, to: Some(instant(AS_OF)) };
    let as_of = matches!(aggregate, Aggregate::DaysSinceFirst | Aggregate::DaysSinceLast).then(|| instant(AS_OF));
    BatchMeasure { event_type: None, filter: Formula::Constant(true), window, aggregate, as_of }
}

fn of(aggregate: Aggregate, test: Test<Interval>) -> (BatchFeature, Test<Interval>) {
    (BatchFeature::Measure(measure(aggregate)), test)
}

/// Users `a`, `b`, `z` without events, and these events: `user` and `at` by the row.
fn world(rows: &[(&'static str, &'static str)], columns: Vec<TestColumn>) -> World {
    let user: Vec<_> = rows.iter().map(|(user, _)| Some(*user)).collect();
    let at: Vec<_> = rows.iter().map(|(_, at)| Some(*at)).collect();
    let mut events = vec![texts("user", &user), instants("at", &at)];
    events.extend(columns);
    World { users: vec![texts("id", &[Some("z"), Some("a"), Some("b")])], events, ..World::default() }
}

/// Five events of `a`, an hour apart, and one of `b`.
fn five(columns: Vec<TestColumn>) -> World {
    let rows = [
        ("a", "2026-03-30T05:00:00Z"),
        ("a", "2026-03-30T04:00:00Z"),
        ("b", "2026-03-30T09:00:00Z"),
        ("a", "2026-03-30T03:00:00Z"),
        ("a", "2026-03-30T02:00:00Z"),
        ("a", "2026-03-30T01:00:00Z"),
    ];
    world(&rows, columns)
}

fn access(column: &TestColumn) -> Access {
    Access { json: None, ..Access::column(column.0, column.1.clone()) }
}

#[tokio::test]
async fn counts_of_no_events_are_zero() {
    let world = five(Vec::new());
    let tests = vec![
        of(Aggregate::Count, equals("5")),
        of(Aggregate::Count, compare(Comparator::Lt, "3")),
        of(Aggregate::Count, equals("0")),
        of(Aggregate::Active(DistinctUnit::Day), equals("0")),
        of(Aggregate::Active(DistinctUnit::Day), equals("1")),
        of(Aggregate::DaysSinceLast, Test::IsSet),
        of(Aggregate::DaysSinceLast, compare(Comparator::Lt, "100")),
    ];
    assert_eq!(world.members(tests).await, ["a", "b z", "z", "z", "a b", "a b", "a b"]);
}

#[tokio::test]
async fn windows_hold_their_first_instant_and_not_their_last() {
    let rows = [
        ("a", "2026-03-01T00:00:00Z"),
        ("b", "2026-02-28T23:59:59.999999Z"),
        ("c", "2026-03-09T23:59:59.999999Z"),
        ("d", "2026-03-10T00:00:00Z"),
        ("e", AS_OF),
        ("f", "2026-03-30T09:59:59.999999Z"),
    ];
    let mut world = world(&rows, Vec::new());
    world.users = vec![letters("id", 6)];
    let within = |from: Option<&str>, to: &str| {
        let window = Interval { from: from.map(instant), to: Some(instant(to)) };
        (BatchFeature::Measure(BatchMeasure { window, ..measure(Aggregate::Count) }), compare(Comparator::Gte, "1"))
    };
    let march = || within(Some("2026-03-01T00:00:00Z"), "2026-03-10T00:00:00Z");
    let empty = within(Some("2026-03-10T00:00:00Z"), "2026-03-01T00:00:00Z");
    assert_eq!(world.members(vec![march(), within(None, AS_OF), empty]).await, ["a c", "a b c d f", ""]);
    // Alone, the window prunes the scan.
    assert_eq!(world.members(vec![march()]).await, ["a c"]);
}

#[tokio::test]
async fn ages_compare_whole_microseconds() {
    let rows = [("a", "2026-03-29T10:00:00Z"), ("b", "2026-03-29T09:59:59.999999Z"), ("a", "2026-01-01T00:00:00Z")];
    let world = world(&rows, Vec::new());
    let tests = vec![
        of(Aggregate::DaysSinceLast, equals("1")),
        of(Aggregate::DaysSinceLast, compare(Comparator::Gt, "1")),
        of(Aggregate::DaysSinceLast, compare(Comparator::Gte, "1.00000000001")),
        of(Aggregate::DaysSinceLast, compare(Comparator::Lte, "1.00000000001")),
        of(Aggregate::DaysSinceFirst, compare(Comparator::Gt, "80")),
        of(Aggregate::DaysSinceFirst, compare(Comparator::Lt, "1e300")),
    ];
    assert_eq!(world.members(tests).await, ["a", "b", "b", "a", "a", "a b"]);
}

#[tokio::test]
async fn sums_are_exact_and_zero_of_none() {
    let big = i64::MAX;
    let columns = vec![
        integers("i", &[Some(big), Some(big), None, Some(1), None, None]),
        floats("f", &[Some(0.1), Some(0.2), Some(f64::NAN), Some(1e18), Some(-0.0), None]),
        decimals("d", 38, 2, &[Some(10i128.pow(38) - 1), Some(10i128.pow(38) - 1), Some(0), None, None, None]),
        texts("t", &[Some("18446744073709551615"), Some("0.5"), Some("x"), None, None, None]),
    ];
    let [i, f, d, t] = [0, 1, 2, 3].map(|index| access(&columns[index]));
    let world = five(columns);
    let tests = vec![
        of(Aggregate::Sum(i.clone()), equals("18446744073709551615")),
        of(Aggregate::Sum(i), equals("0")),
        of(Aggregate::Sum(f.clone()), equals("0.3")),
        of(Aggregate::Sum(f), equals("0")),
        of(Aggregate::Sum(d.clone()), equals("1999999999999999999999999999999999999.98")),
        of(Aggregate::Sum(d), compare(Comparator::Lt, "1999999999999999999999999999999999999.98")),
        of(Aggregate::Sum(t.clone()), equals("18446744073709551615.5")),
        of(Aggregate::Sum(t), Test::IsSet),
    ];
    let evaluation = world.evaluate(&world.batch(tests)).await;
    assert_eq!(shown(&evaluation), ["a", "b z", "a", "b z", "a", "b z", "a", "a b z"]);
    let misfits: Vec<_> = evaluation
        .observations
        .iter()
        .map(|observation| match &observation.kind {
            ObservationKind::Misfit { property, .. } => (property.as_str(), observation.count),
            other => panic!("{other:?}"),
        })
        .collect();
    // NaN, a double too large for a sum, and a text that is no number.
    assert_eq!(misfits, [("f", 2), ("t", 1)]);
}

#[tokio::test]
async fn averages_divide_without_rounding() {
    let columns = vec![integers("i", &[Some(1), Some(0), None, Some(0), None, None])];
    let i = access(&columns[0]);
    let world = five(columns);
    let tests = vec![
        of(Aggregate::Avg(i.clone()), compare(Comparator::Gt, "0.3333333333333333333333333333333333333333")),
        of(Aggregate::Avg(i.clone()), compare(Comparator::Lt, "0.3333333333333333333333333333333333333334")),
        of(Aggregate::Avg(i.clone()), Test::IsSet),
        of(Aggregate::Avg(i), equals("0")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "a", ""]);
}

#[tokio::test]
async fn least_and_greatest_are_not_rounded() {
    let columns = vec![
        floats("f", &[Some(f64::NAN), Some(-0.0), None, Some(0.1), Some(f64::NEG_INFINITY), None]),
        texts("t", &[Some("9007199254740993"), Some("9007199254740992.0"), None, None, None, None]),
    ];
    let (f, t) = (access(&columns[0]), access(&columns[1]));
    let world = five(columns);
    let tests = vec![
        of(Aggregate::Min(f.clone()), equals("0")),
        of(Aggregate::Max(f), equals("0.1")),
        of(Aggregate::Max(t.clone()), equals("9007199254740993")),
        of(Aggregate::Max(t.clone()), equals("9007199254740992")),
        of(Aggregate::Min(t), equals("9007199254740992")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "a", "", "a"]);
}

#[tokio::test]
async fn distinct_values_are_equal_as_values() {
    let columns = vec![
        floats("f", &[Some(0.0), Some(-0.0), None, Some(f64::NAN), Some(1.0), Some(1.0)]),
        json(
            "j",
            &[
                Some(r#"{"v":1}"#),
                Some(r#"{"v":1.0}"#),
                Some("{}"),
                Some(r#"{"v":"1"}"#),
                Some(r#"{"v":[1]}"#),
                Some(r#"{"v":true}"#),
            ],
        ),
        texts("t", &[Some("x"), Some("X"), None, Some("x"), Some(""), None]),
    ];
    let (f, t) = (access(&columns[0]), access(&columns[2]));
    let world = five(columns);
    let tests = vec![
        of(Aggregate::CountDistinct(f), equals("2")),
        of(Aggregate::CountDistinct(json_access("j", "v")), equals("3")),
        of(Aggregate::CountDistinct(t.clone()), equals("3")),
        of(Aggregate::CountDistinct(t), equals("0")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "a", "b z"]);
}

#[tokio::test]
async fn local_units_are_those_of_the_timezone() {
    // Midnight in Berlin is 23:00 UTC in winter; 2026-03-02 is a Monday.
    let rows = [
        ("a", "2026-02-28T22:59:59.999999Z"),
        ("a", "2026-02-28T23:00:00Z"),
        ("a", "2026-03-01T22:59:59Z"),
        ("a", "2026-03-01T23:00:00Z"),
    ];
    let mut world = world(&rows, Vec::new());
    world.timezone = Some("Europe/Berlin");
    let tests = vec![
        of(Aggregate::Active(DistinctUnit::Day), equals("3")),
        of(Aggregate::Active(DistinctUnit::Week), equals("2")),
        of(Aggregate::Active(DistinctUnit::Month), equals("2")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "a"]);
}

#[tokio::test]
async fn first_and_last_go_by_time_then_id_then_value() {
    let rows = [
        ("a", "2026-03-01T00:00:00Z"),
        ("a", "2026-03-01T00:00:00Z"),
        ("a", "2026-03-01T00:00:00Z"),
        ("a", "2026-02-01T00:00:00Z"),
        ("a", "2026-03-02T00:00:00Z"),
        ("b", "2026-03-02T00:00:00Z"),
    ];
    let columns = vec![
        texts("event_id", &[Some("2"), None, Some("10"), None, None, None]),
        texts("v", &[Some("id 2"), Some("no id"), Some("id 10"), None, None, Some("")]),
        json("j", &[Some(r#"{"v":[1,2]}"#), Some(r#"{"v":["x"]}"#), Some("{}"), Some("{}"), Some("{}"), Some("{}")]),
    ];
    let v = access(&columns[1]);
    let world = world(&rows, columns);
    let elements = Reading::Elements(crate::check::ElementType::Text);
    let has = |word: &str| {
        Test::Elements(crate::ir::ElementsTest::Any { of: vec![crate::check::Element::Text(word.to_owned())], ignore_case: false })
    };
    let tests = vec![
        of(Aggregate::First(v.clone(), Reading::Text), is("no id")),
        of(Aggregate::Last(v.clone(), Reading::Text), is("id 2")),
        of(Aggregate::Last(v.clone(), Reading::Text), is("")),
        of(Aggregate::Last(v, Reading::Text), Test::IsSet),
        of(Aggregate::First(json_access("j", "v"), elements), has("x")),
        of(Aggregate::Last(json_access("j", "v"), elements), has("2")),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "b", "a", "a", "a"]);
}

#[tokio::test]
async fn the_most_frequent_value_is_the_smallest_of_equals() {
    let columns = vec![
        texts("t", &[Some("y"), Some("x"), None, Some("y"), Some("x"), Some("a")]),
        texts("n", &[Some("10"), Some("9"), None, Some("9.0"), Some("10"), None]),
        booleans("f", &[Some(true), Some(false), Some(true), None, None, None]),
        instants("d", &[Some("2026-01-02T00:00:00Z"), Some("2026-01-01T00:00:00Z"), None, None, None, None]),
    ];
    let [t, n, f, d] = [0, 1, 2, 3].map(|index| access(&columns[index]));
    let world = five(columns);
    let day = Test::Date(Interval { from: None, to: Some(instant("2026-01-01T00:00:00.000001Z")) });
    let tests = vec![
        of(Aggregate::MostFrequent(t, Reading::Text), is("x")),
        of(Aggregate::MostFrequent(n, Reading::Number), equals("9")),
        of(Aggregate::MostFrequent(f.clone(), Reading::Boolean), Test::Boolean(false)),
        of(Aggregate::MostFrequent(f, Reading::Boolean), Test::Boolean(true)),
        of(Aggregate::MostFrequent(d, Reading::Date), day),
    ];
    assert_eq!(world.members(tests).await, ["a", "a", "a", "b", "a"]);
}

#[tokio::test]
async fn types_match_exactly_or_by_prefix_and_conditions_are_two_valued() {
    let columns = vec![
        texts("type", &[Some("buy_now"), Some("buy"), None, Some("buy%"), Some("view"), None]),
        integers("price", &[Some(5), None, Some(5), Some(50), None, None]),
    ];
    let price = access(&columns[1]);
    let world = five(columns);
    let of_types = |patterns: Vec<EventTypePattern>, expected: &str| {
        let measure = BatchMeasure { event_type: Some(patterns), ..measure(Aggregate::Count) };
        (BatchFeature::Measure(measure), equals(expected))
    };
    let exact = |name: &str| EventTypePattern::Exact(name.to_owned());
    let prefix = |start: &str| EventTypePattern::Prefix(start.to_owned());
    let expensive = RowTest { value: seen(Value::Stored(price, Reading::Number)), test: compare(Comparator::Gte, "50") };
    let cheap = BatchMeasure { filter: Formula::Not(Box::new(Formula::Leaf(expensive))), ..measure(Aggregate::Count) };
    let tests = vec![
        of_types(vec![exact("buy")], "1"),
        of_types(vec![prefix("buy")], "3"),
        of_types(vec![prefix("buy%")], "1"),
        of_types(vec![prefix("")], "4"),
        of_types(vec![exact("view"), prefix("buy_")], "2"),
        (BatchFeature::Measure(cheap), equals("4")),
    ];
    assert_eq!(world.members(tests).await, ["a"; 6]);
    // With exact types alone the scan is pruned by them.
    assert_eq!(world.members(vec![of_types(vec![exact("buy"), exact("view")], "2")]).await, ["a"]);
}

/// Every kind of measure over users that take several shards, in as much memory as there is and in too little for all users at once.
#[tokio::test]
async fn what_does_not_fit_in_memory_takes_more_passes() {
    const USERS: usize = 30_000;
    let ids: Vec<String> = (0..USERS).map(|user| format!("u{user:05}")).collect();
    let events = 0..USERS * 3;
    let user = |event: usize| (event % 1_000 != 7).then(|| ids[(event * 7_919 + event * event / 977) % USERS].as_str());
    let user: Vec<_> = events.clone().map(user).collect();
    let minutes: Vec<_> = events.clone().map(|event| Some((event * 104_729 % 500_000) as i64)).collect();
    let at = TimestampMicrosecondArray::from_iter(
        minutes.iter().map(|minutes| minutes.map(|minutes| instant(AS_OF).as_microsecond() - minutes * 60_000_000)),
    );
    let prices: Vec<_> = events.clone().map(|event| (event % 11 != 0).then_some((event % 97) as i64)).collect();
    let words: Vec<_> = events.clone().map(|event| Some(["a", "b", "a much longer word than others"][event % 3])).collect();
    let (price, word) = (integers("price", &prices), texts("word", &words));
    let (price_access, word_access) = (access(&price), access(&word));
    let world = World {
        users: vec![texts("id", &ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>())],
        events: vec![texts("user", &user), ("at", ColumnType::Timestamp, Arc::new(at.with_timezone("UTC"))), price, word],
        ..World::default()
    };
    let is = |word: &str| Test::Text(TextTest { matches: TextMatch::OneOf(vec![word.to_owned()]), ignore_case: false });
    let mut tests = vec![
        of(Aggregate::Count, compare(Comparator::Gte, "3")),
        of(Aggregate::Active(DistinctUnit::Day), compare(Comparator::Gte, "3")),
        of(Aggregate::DaysSinceLast, compare(Comparator::Lt, "60")),
        of(Aggregate::Sum(price_access.clone()), compare(Comparator::Gte, "150")),
        of(Aggregate::Avg(price_access.clone()), compare(Comparator::Gte, "50")),
        of(Aggregate::Max(price_access.clone()), compare(Comparator::Gte, "90")),
        of(Aggregate::CountDistinct(word_access.clone()), compare(Comparator::Gte, "2")),
        of(Aggregate::MostFrequent(word_access.clone(), Reading::Text), is("a much longer word than others")),
        of(Aggregate::Last(word_access, Reading::Text), is("b")),
    ];
    let recent = Interval { from: Some(instant("2026-01-01T00:00:00Z")), to: Some(instant(AS_OF)) };
    for (feature, test) in tests.clone() {
        let BatchFeature::Measure(measure) = feature else { continue };
        tests.push((BatchFeature::Measure(BatchMeasure { window: recent, ..measure }), test));
    }
    let batch = world.batch(tests);
    let evaluated = async |memory_limit| {
        let backend = world.backend_with(&EngineSettings { threads: 2, memory_limit, ..EngineSettings::default() }).await;
        backend.evaluate(&batch, &[]).await
    };
    let whole = evaluated(None).await.unwrap();
    assert_eq!(whole.effort.passes, 1);
    assert_eq!(whole.observations.iter().map(|observation| observation.count).collect::<Vec<_>>(), [USERS as u64 * 3 / 1_000]);
    let counts: Vec<u64> = whole.outputs.iter().map(MemberSet::count).collect();
    assert!(counts.iter().filter(|count| (1..USERS as u64).contains(count)).count() >= 14, "{counts:?}");
    let mut passes = Vec::new();
    for megabytes in [1, 4, 6, 8, 12, 16, 64] {
        match evaluated(Some(megabytes << 20)).await {
            Ok(part) => {
                assert_eq!(shown(&part), shown(&whole), "{megabytes} MB");
                assert_eq!(part.observations, whole.observations, "{megabytes} MB");
                passes.push(part.effort.passes);
            }
            Err(error) => assert!(matches!(error, BackendError::Memory { .. }), "{error:?}"),
        }
    }
    assert!(passes.iter().any(|passes| *passes > 1) && passes.last() == Some(&1), "{passes:?}");
}
