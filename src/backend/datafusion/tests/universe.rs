//! Who is in the universe, references between segments, duplicates, and what an evaluation reports.

use datafusion::arrow::array::StringArray;
use roaring::RoaringBitmap;

use super::measures::measure;
use super::*;
use crate::backend::{BackendError, Datum, Effort, MemberSet, Observation, ObservationKind, SortedIds};
use crate::ir::Aggregate;
use crate::model::condition::EventTypePattern;
use crate::plan::{BatchMeasure, Given, GivenSet};

fn count(expected: &str) -> (BatchFeature, Test<Interval>) {
    (BatchFeature::Measure(measure(Aggregate::Count)), equals(expected))
}

fn universe_of(evaluation: &Evaluation<LocalMembers>) -> String {
    evaluation.universe.iter().collect::<Vec<_>>().join(" ")
}

/// Users `7`, `8` and one without a key; events of `7`, of an unknown user, of nobody, without a time, and of the future.
fn world(universe: Universe) -> World {
    World {
        users: vec![texts("id", &[Some("7"), Some("8"), None, Some("")]), integers("n", &[Some(1), Some(2), Some(3), Some(4)])],
        events: vec![
            integers("user", &[Some(7), Some(9), None, Some(7), Some(10), Some(11)]),
            instants(
                "at",
                &[
                    Some("2026-01-01T00:00:00Z"),
                    Some("2026-01-01T00:00:00Z"),
                    Some("2026-01-01T00:00:00Z"),
                    None,
                    Some(AS_OF),
                    None,
                ],
            ),
        ],
        universe,
        ..World::default()
    }
}

#[tokio::test]
async fn a_universe_is_the_table_the_events_or_both() {
    for (universe, expected, with_one, with_none) in
        [(Universe::Table, "7 8", "7", "8"), (Universe::Events, "7 9", "7 9", ""), (Universe::Union, "7 8 9", "7 9", "8")]
    {
        let world = world(universe);
        let evaluation = world.evaluate(&world.batch(vec![count("1"), count("0")])).await;
        assert_eq!(universe_of(&evaluation), expected, "{universe:?}");
        assert_eq!(shown(&evaluation), [with_one, with_none], "{universe:?}");
    }
}

#[tokio::test]
async fn without_a_table_the_events_make_the_universe() {
    let world = World { users: Vec::new(), ..world(Universe::Table) };
    let evaluation = world.evaluate(&world.batch(vec![count("1")])).await;
    assert_eq!((universe_of(&evaluation).as_str(), shown(&evaluation)), ("7 9", vec!["7 9".to_owned()]));
}

#[tokio::test]
async fn rows_without_key_or_time_are_counted() {
    let world = world(Universe::Table);
    let evaluation = world.evaluate(&world.batch(vec![count("1")])).await;
    let observation = |table, kind, count| Observation { table, kind, count };
    assert_eq!(
        evaluation.observations,
        [
            observation(TableRole::Users, ObservationKind::MissingKey, 2),
            observation(TableRole::Events, ObservationKind::MissingKey, 1),
            observation(TableRole::Events, ObservationKind::MissingTime, 2),
        ]
    );
}

#[tokio::test]
async fn keys_compare_as_text() {
    let world = World {
        users: vec![texts("id", &[Some("7"), Some("07"), Some("7.0")])],
        events: vec![integers("user", &[Some(7)]), instants("at", &[Some("2026-01-01T00:00:00Z")])],
        ..World::default()
    };
    assert_eq!(world.members(vec![count("1"), count("0")]).await, ["7", "07 7.0"]);
}

#[tokio::test]
async fn repeated_keys_fail_unless_a_version_decides() {
    let users =
        || vec![texts("id", &[Some("b"), Some("a"), Some("b"), None, None]), integers("v", &[None, Some(1), Some(0), None, None])];
    let version = attribute(&users()[1], Reading::Number);
    let world = World { users: users(), ..World::default() };
    let batch = world.batch(vec![(version.clone(), equals("0"))]);
    let error = world.backend().await.evaluate(&batch, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the users table has 1 keys with more than one row, such as `b`");

    let decided = World { users: users(), version: Some("v"), ..World::default() };
    assert_eq!(decided.members(vec![(version.clone(), equals("0"))]).await, ["b"]);

    let equal = World {
        users: vec![texts("id", &[Some("b"), Some("b")]), integers("v", &[Some(1), Some(1)])],
        version: Some("v"),
        ..World::default()
    };
    let error = equal.backend().await.evaluate(&equal.batch(vec![(version, Test::IsSet)]), &[]).await.unwrap_err();
    assert!(matches!(error, BackendError::DuplicateKeys { count: 1, .. }), "{error}");
}

#[tokio::test]
async fn duplicate_events_count_once_as_their_first() {
    let world = |deduplicate| World {
        users: vec![letters("id", 3)],
        events: vec![
            texts("user", &[Some("a"), Some("a"), Some("a"), Some("a"), Some("b"), Some("c"), Some("c")]),
            instants(
                "at",
                &[
                    Some("2026-01-02T00:00:00Z"),
                    Some("2026-01-01T00:00:00Z"),
                    Some("2026-01-02T00:00:00Z"),
                    Some("2026-01-02T00:00:00Z"),
                    Some("2026-01-02T00:00:00Z"),
                    Some("2026-01-02T00:00:00Z"),
                    None,
                ],
            ),
            texts("type", &[Some("x"), Some("x"), Some("y"), Some("x"), Some("x"), Some("x"), Some("x")]),
            texts("event_id", &[Some("1"), Some("1"), Some("1"), None, Some("1"), Some("1"), Some("1")]),
            integers("amount", &[Some(5), Some(7), Some(1), Some(1), Some(1), Some(1), Some(1)]),
        ],
        deduplicate,
        ..World::default()
    };
    let amount = Access::column("amount", ColumnType::Integer);
    let from_the_second = Interval { from: Some(instant("2026-01-02T00:00:00Z")), to: Some(instant(AS_OF)) };
    let tests = || {
        vec![
            count("3"),
            count("4"),
            (BatchFeature::Measure(measure(Aggregate::Sum(amount.clone()))), equals("9")),
            // The first of the duplicates lies before the window, and hides the one inside.
            (BatchFeature::Measure(BatchMeasure { window: from_the_second, ..measure(Aggregate::Count) }), equals("2")),
            count("1"),
        ]
    };
    assert_eq!(world(true).members(tests()).await, ["a", "", "a", "a", "b c"]);
    assert_eq!(world(false).members(tests()).await, ["", "a", "", "", "b c"]);
    let alone = tests().remove(3);
    assert_eq!(world(true).members(vec![alone]).await, ["a"]);
}

#[tokio::test]
async fn formulas_refer_to_tests_outputs_and_stored_members() {
    let world =
        World { users: vec![letters("id", 5), integers("n", &[Some(1), Some(2), Some(3), None, Some(5)])], ..World::default() };
    let n = attribute(&integers("n", &[]), Reading::Number);
    let mut batch = world.batch(vec![
        (n.clone(), compare(Comparator::Gte, "2")),
        (n.clone(), compare(Comparator::Gte, "3")),
        (n, compare(Comparator::Lte, "3")),
    ]);
    batch.given = ["kept", "none"].map(|id| Given { set: GivenSet::Members(id.parse().unwrap()), as_of: batch.as_of }).to_vec();
    let leaf = |leaf| Formula::Leaf(leaf);
    batch.outputs = vec![
        output(Formula::Not(Box::new(leaf(Leaf::Test(0))))),
        output(Formula::AtLeast { count: 2, of: vec![leaf(Leaf::Test(0)), leaf(Leaf::Test(1)), leaf(Leaf::Test(2))] }),
        output(Formula::All(vec![leaf(Leaf::Output(1)), leaf(Leaf::Given(0))])),
        output(Formula::Any(vec![leaf(Leaf::Output(2)), leaf(Leaf::Output(0)), leaf(Leaf::Given(1))])),
        output(Formula::Constant(true)),
        output(Formula::All(Vec::new())),
        output(Formula::Any(Vec::new())),
    ];
    let ids = Arc::new(SortedIds::new(StringArray::from(vec!["c", "d", "unknown"])).unwrap());
    let stored = [LocalMembers::all(Arc::clone(&ids)), LocalMembers::new(ids, RoaringBitmap::new())];
    let evaluation = world.backend().await.evaluate(&batch, &stored).await.unwrap();
    assert_eq!(shown(&evaluation), ["a d", "b c e", "c", "a c d", "a b c d e", "a b c d e", ""]);
    assert_eq!(evaluation.outputs[1].count(), 3);
}

#[tokio::test]
async fn many_segments_scan_the_events_once() {
    let rows = 40;
    let user: Vec<_> = (0..rows).map(|row| Some(["a", "b", "c"][row % 3])).collect();
    let at = vec![Some("2026-01-01T00:00:00Z"); rows];
    let types: Vec<_> = (0..rows).map(|row| Some(["x", "y"][row % 2])).collect();
    let world = World {
        users: vec![letters("id", 3)],
        events: vec![texts("user", &user), instants("at", &at), texts("type", &types)],
        ..World::default()
    };
    let tests = (0..20).map(|index| {
        let kind = EventTypePattern::Exact(["x", "y"][index % 2].to_owned());
        let measure = BatchMeasure { event_type: Some(vec![kind]), ..measure(Aggregate::Count) };
        (BatchFeature::Measure(measure), compare(Comparator::Gte, &index.to_string()))
    });
    let batch = world.batch(tests.collect());
    let evaluation = world.evaluate(&batch).await;
    let scans: Vec<_> = evaluation.scans.iter().map(|scan| (scan.table, scan.passes, scan.rows, scan.columns)).collect();
    assert_eq!(scans, [(TableRole::Events, 1, rows as u64, 3), (TableRole::Users, 1, 3, 1)]);
    // Twenty tests of two counts.
    let Effort { tests, features, measures, .. } = evaluation.effort;
    assert_eq!((tests, features, measures), (20, 20, 2));
    let backend = world.backend().await;
    assert_eq!(backend.show_plan(&batch).await.unwrap(), world.backend().await.show_plan(&batch).await.unwrap());
}

#[tokio::test]
async fn a_long_formula_is_no_deep_plan() {
    let world = World { users: vec![letters("id", 2), integers("n", &[Some(0), Some(999)])], ..World::default() };
    let n = attribute(&integers("n", &[]), Reading::Number);
    let mut batch = world.batch((0..1000).map(|value| (n.clone(), equals(&value.to_string()))).collect());
    let leaves = || (0..1000).map(|test| Formula::Leaf(Leaf::Test(test))).collect();
    batch.outputs = vec![output(Formula::Any(leaves())), output(Formula::AtLeast { count: 2, of: leaves() })];
    batch.features.truncate(1);
    for test in &mut batch.tests {
        test.feature = 0;
    }
    assert_eq!(shown(&world.evaluate(&batch).await), ["a b", ""]);
}

#[tokio::test]
async fn one_subject_shows_its_values() {
    let world = World {
        users: vec![
            integers("id", &[Some(7), Some(8)]),
            floats("f", &[Some(0.1), None]),
            texts("n", &[Some("9007199254740993"), Some("x")]),
            json("j", &[Some(r#"{"t":["a",1]}"#), None]),
            instants("d", &[Some("2026-03-30T04:00:00Z"), None]),
        ],
        events: vec![
            integers("user", &[Some(7), Some(7), Some(7), Some(8)]),
            instants("at", &[Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:00:00Z"), Some("2026-03-29T10:00:00Z"), None]),
            decimals("price", 10, 2, &[Some(100), Some(50), Some(50), None]),
        ],
        ..World::default()
    };
    let price = Access::column("price", ColumnType::Decimal { precision: 10, scale: 2 });
    let measured = |aggregate| (BatchFeature::Measure(measure(aggregate)), Test::IsSet);
    let column = |index: usize, reading| (attribute(&world.users[index], reading), Test::IsSet);
    let batch = world.batch(vec![
        column(1, Reading::Number),
        column(2, Reading::Number),
        (at_path("j", "t", Reading::Elements(crate::check::ElementType::Any)), Test::IsSet),
        column(4, Reading::Date),
        (BatchFeature::Attribute(seen(Value::DaysSince(Access::column("d", ColumnType::Timestamp)))), Test::IsSet),
        measured(Aggregate::Count),
        measured(Aggregate::Sum(price.clone())),
        measured(Aggregate::Avg(price.clone())),
        measured(Aggregate::DaysSinceLast),
        measured(Aggregate::Last(price, Reading::Number)),
    ]);
    let number = |text: &str| Datum::Number(text.to_owned());
    let backend = world.backend().await;
    let seven = backend.inspect(&batch, &[], "7").await.unwrap();
    assert!(seven.in_universe);
    assert_eq!(
        seven.values,
        [
            number("0.1"),
            number("9007199254740993"),
            Datum::List(vec!["a".to_owned(), "1".to_owned()]),
            Datum::Instant("2026-03-30T04:00:00Z".to_owned()),
            number("0.25"),
            number("3"),
            number("2"),
            number("0.666666667"),
            number("1"),
            number("0.5"),
        ]
    );
    assert_eq!((seven.tests, seven.outputs), (vec![true; 10], vec![true; 10]));

    let eight = backend.inspect(&batch, &[], "8").await.unwrap();
    assert!(eight.in_universe);
    assert_eq!(eight.values[5..8], [number("0"), number("0"), Datum::Missing]);
    assert_eq!(eight.outputs.iter().filter(|holds| **holds).count(), 2);

    let unknown = backend.inspect(&batch, &[], "07").await.unwrap();
    assert!(!unknown.in_universe);
    assert_eq!(unknown.values, vec![Datum::Missing; 10]);
}

/// Events make the subjects, by a key that no scan can select by.
#[tokio::test]
async fn one_subject_of_events_is_not_another() {
    let user: ArrayRef = Arc::new(UInt64Array::from(vec![7, 8, 7, 9]));
    let at = instants("at", &[Some("2026-01-01T00:00:00Z"); 4]);
    let world = World { events: vec![("user", ColumnType::Unsigned, user), at], ..World::default() };
    let batch = world.batch(vec![count("2")]);
    let backend = world.backend().await;
    for (subject, events) in [("7", "2"), ("8", "1"), ("9", "1")] {
        let inspection = backend.inspect(&batch, &[], subject).await.unwrap();
        assert!(inspection.in_universe);
        assert_eq!(inspection.values, [Datum::Number(events.to_owned())], "{subject}");
    }
    assert!(!backend.inspect(&batch, &[], "07").await.unwrap().in_universe);
}
