//! The JSON Schema of a definition, for editors. Generated from the types below, which have the shape of the text where the model has
//! the shape of the meaning; the words come from the model.
//!
//! The schema describes what is supported. It cannot know a catalog, so that a text it accepts may still be refused by `check`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::model::operator::{Operator, ValueType};
use crate::model::segment::{Kind, Status};

/// The JSON Schema (draft 2020-12) of a definition.
#[must_use]
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<Definition>().to_value()
}

/// What may be left out is left out: null stands for nothing in a definition.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|word| word != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({"type": "null"}));
        if let [only] = choices.as_slice()
            && let Some(only) = only.as_object().cloned()
        {
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

/// A segment: a declarative definition of a set of users or products.
#[derive(JsonSchema)]
#[schemars(title = "segment", deny_unknown_fields, example = example())]
#[expect(dead_code, reason = "the type is its schema")]
struct Definition {
    /// Unique in the tenant.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,127}$"))]
    id: String,
    /// A name to show; the id when it is left out.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// What the segment is for.
    description: Option<String>,
    /// What it contains; `user` when it is left out.
    subject: Option<Subject>,
    /// Where its members come from; `dynamic` when it is left out.
    kind: Option<Kind>,
    /// Whether it is recomputed, listed and referenced; `active` when it is left out.
    status: Option<Status>,
    /// How long after a run the segment is due again.
    refresh_interval: Option<Interval>,
    /// When the segment is due, as a cron expression in the tenant's timezone; instead of `refresh_interval`.
    #[schemars(example = &"0 6 * * 1")]
    schedule: Option<String>,
    /// How long a membership counts as fresh; as long as `refresh_interval` when it is left out.
    cache_ttl: Option<Interval>,
    /// How many members may enter and leave in one run, in percent of those before it, or `none`; a run of more is held until it is
    /// accepted. What the tenant says when it is left out.
    #[schemars(example = &"50%")]
    max_change: Option<String>,
    /// Free labels.
    tags: Option<Vec<String>>,
    /// An emoji, or the name of one.
    icon: Option<String>,
    /// A colour, such as `#8b5cf6`.
    color: Option<String>,
    /// How the conditions join.
    logic: Option<Logic>,
    /// Who is in the segment.
    #[schemars(length(min = 1))]
    conditions: Option<Vec<Condition>>,
    /// How well subjects fit, and from which score on they are in the segment; instead of `logic` and `conditions`.
    scoring: Option<Scoring>,
    /// An object of the author's own; carried, never read.
    metadata: Option<BTreeMap<String, Value>>,
    /// How long the last snapshot of each day is kept after it was replaced; as the tenant's configuration says when it is left out.
    keep_snapshots: Option<Kept>,
    /// How long changes are kept; as the tenant's configuration says when it is left out.
    keep_changes: Option<Kept>,
    /// How long history rows are kept; as the tenant's configuration says when it is left out.
    keep_history: Option<Kept>,
}

fn example() -> Value {
    json!({
        "id": "engaged-in-europe",
        "description": "Opened a mail in the last 30 days, lives in Germany or France, and did not churn",
        "logic": "and",
        "conditions": [
            {"type": "event", "event_type": "email_opened", "window": {"last": "30d"}},
            {"type": "user_attribute", "property": "country", "operator": "in", "value": ["DE", "FR"]},
            {"not": {"type": "segment", "segment_id": "churned"}}
        ]
    })
}

/// Users or products.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum Subject {
    User,
    Product,
}

/// `and`: all must hold; `or`: one must.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum Logic {
    And,
    Or,
}

/// Rules with weights, whose degrees make a score.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, example = example_of_scoring())]
#[expect(dead_code, reason = "the type is its schema")]
struct Scoring {
    /// How the degrees of the rules become one score; `weighted` when it is left out.
    combination: Option<Combination>,
    /// Members are the subjects whose score is at least this; 0.3 when it is left out.
    #[schemars(range(min = 0, max = 1))]
    threshold: Option<f64>,
    /// What the score is made of.
    #[schemars(length(min = 1))]
    rules: Vec<ScoringRule>,
}

fn example_of_scoring() -> Value {
    json!({
        "threshold": 0.35,
        "rules": [
            {"condition": {"type": "user_attribute", "property": "interests.tech", "operator": "gte", "value": 0.4}, "weight": 0.6},
            {"condition": {"type": "event", "event_type": "order_completed", "operator": "gte", "value": 3}, "weight": 0.4}
        ]
    })
}

/// `weighted`: the mean of the degrees by weight; `all`: the least degree; `any`: the greatest.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum Combination {
    Weighted,
    All,
    Any,
}

/// One rule of a scoring.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct ScoringRule {
    /// What is graded.
    condition: Condition,
    /// How much it counts; 1 when it is left out.
    #[schemars(range(min = 0))]
    weight: Option<f64>,
    /// A remark; carried, never read.
    description: Option<String>,
}

/// A node of the rule.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Condition {
    Group(Group<Self>),
    AtLeast(AtLeast<Self>),
    Not(Not<Self>),
    Leaf(Leaf),
}

/// All, or one, of the conditions hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "GroupOf{C}")]
#[expect(dead_code, reason = "the type is its schema")]
struct Group<C> {
    logic: Logic,
    #[schemars(length(min = 1))]
    conditions: Vec<C>,
    /// A remark; carried, never read.
    description: Option<String>,
}

/// At least so many of the conditions hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "AtLeastOf{C}")]
#[expect(dead_code, reason = "the type is its schema")]
struct AtLeast<C> {
    #[schemars(range(min = 1))]
    at_least: u64,
    #[schemars(length(min = 1))]
    of: Vec<C>,
    /// A remark; carried, never read.
    description: Option<String>,
}

/// The condition does not hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "NotOf{C}")]
#[expect(dead_code, reason = "the type is its schema")]
struct Not<C> {
    not: Box<C>,
    /// A remark; carried, never read.
    description: Option<String>,
}

/// A condition on one feature of the subject.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
enum Leaf {
    /// A property of the user compares as stated.
    UserAttribute {
        #[schemars(flatten)]
        test: AttributeTest,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// A property of the product compares as stated.
    ProductAttribute {
        #[schemars(flatten)]
        test: AttributeTest,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// A measure over the subject's events compares as stated.
    Event {
        /// Which types of events; any when it is left out.
        event_type: Option<EventTypes>,
        /// Conditions on the event's own properties, all of which must hold.
        #[schemars(rename = "where")]
        filter: Option<Vec<EventCondition>>,
        /// What is measured; `count` when it is left out.
        measure: Option<Measure>,
        /// How the measure compares; `gte` 1 when it is left out, which only `count` allows.
        operator: Option<Operator>,
        /// With what.
        value: Option<Literal>,
        /// The upper end of `between`.
        value2: Option<Literal>,
        /// What a value chosen by `first`, `last` or `most_frequent` is read as.
        value_type: Option<ValueType>,
        /// Compares text without regard to case.
        ignore_case: Option<bool>,
        /// When; all history when it is left out.
        window: Option<Window>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// The subject is, or is not, in another segment.
    Segment {
        /// The other segment.
        #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,127}$"))]
        segment_id: String,
        /// `in` when it is left out.
        operator: Option<MembershipOperator>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// Always.
    Everyone {
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// Events of the subject follow a pattern over time.
    Lifecycle {
        /// Which types of events; any when it is left out.
        event_type: Option<EventTypes>,
        /// Conditions on the event's own properties, all of which must hold.
        #[schemars(rename = "where")]
        filter: Option<Vec<EventCondition>>,
        pattern: LifecyclePattern,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// The user's events contain the steps in order, at strictly increasing times.
    Sequence {
        /// What follows what. The last step may be one that does not follow.
        #[schemars(length(min = 2))]
        steps: Vec<SequenceStep>,
        /// How long after the first event the last one may be; of an absent step, how long after the event before it.
        within: Option<ShortLength>,
        /// Properties that are equal on all of the events.
        #[schemars(example = &["product_id"])]
        same: Option<Vec<String>>,
        /// When; all history when it is left out.
        window: Option<Window>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// One number compares with another, times a factor.
    Compare {
        /// On the left.
        left: Quantity,
        operator: NumberOperator,
        /// On the right.
        right: Quantity,
        /// What the right side is multiplied by; 1 when it is left out.
        factor: Option<f64>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// Members of a user segment did something with the product.
    UserBehaviorSignal {
        signal: Signal,
        /// The segment of users.
        #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,127}$"))]
        segment_id: String,
        /// Which types of events say so; `order_completed` or `product_viewed` when it is left out.
        event_type: Option<EventTypes>,
        /// The property of an event that holds the id of the product; `product_id` when it is left out.
        product_id_property: Option<String>,
        /// How the number of events compares; `gte` 1 when it is left out.
        operator: Option<Operator>,
        /// With what.
        value: Option<Literal>,
        /// The upper end of `between`.
        value2: Option<Literal>,
        value_type: Option<ValueType>,
        ignore_case: Option<bool>,
        /// When; all history when it is left out.
        window: Option<Window>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// The subject ranks among the first by a number; those at the edge are all in.
    Top {
        /// What is ranked.
        by: Quantity,
        /// Which end comes first: `desc` the greatest, `asc` the least; `desc` when it is left out.
        order: Option<RankOrder>,
        /// How many are in; this or `percent`.
        #[schemars(range(min = 1))]
        count: Option<u64>,
        /// Which part of those with a value is in; this or `count`.
        #[schemars(range(min = 0, max = 100))]
        percent: Option<f64>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// The subject falls into a stable pseudo-random share.
    Sample {
        /// How large the share is.
        #[schemars(range(min = 0, max = 100), example = &10)]
        percent: f64,
        /// What tells samples apart; the id of the segment when it is left out.
        salt: Option<String>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
    /// A metric that no source provides yet: it holds for nobody.
    AiVisibilityMetric {
        /// The metric.
        metric: Option<String>,
        operator: Option<Operator>,
        value: Option<Literal>,
        value2: Option<Literal>,
        value_type: Option<ValueType>,
        ignore_case: Option<bool>,
        /// A remark; carried, never read.
        description: Option<String>,
    },
}

/// One event of a sequence.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct SequenceStep {
    /// Which types of events; any when it is left out.
    event_type: Option<EventTypes>,
    /// Conditions on the event's own properties, all of which must hold.
    #[schemars(rename = "where")]
    filter: Option<Vec<EventCondition>>,
    /// No such event follows; only on the last step.
    absent: Option<bool>,
}

/// How two numbers compare.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum NumberOperator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// What members of a segment did with a product.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum Signal {
    PurchasedBySegment,
    ViewedBySegment,
}

/// A number per subject.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Quantity {
    Events(QuantityOfEvents),
    Property(QuantityOfProperty),
}

/// A measure over the subject's events.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct QuantityOfEvents {
    r#type: EventWord,
    /// Which types of events; any when it is left out.
    event_type: Option<EventTypes>,
    /// Conditions on the event's own properties, all of which must hold.
    #[schemars(rename = "where")]
    filter: Option<Vec<EventCondition>>,
    /// What is measured; `count` when it is left out.
    measure: Option<Measure>,
    /// When; all history when it is left out.
    window: Option<Window>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum EventWord {
    Event,
}

/// A property of the subject, read as a number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct QuantityOfProperty {
    property: Property,
    value_type: Option<ValueType>,
}

/// Which end of a ranking comes first.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum RankOrder {
    Desc,
    Asc,
}

/// What events do over time. Lengths count back from now.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum LifecyclePattern {
    /// The earliest of them ever lies in the window.
    FirstTime(Window),
    /// At least one between `active` and `quiet` ago, none since.
    Stopped(Stopped),
    /// At least one longer than `quiet` ago, none from then until `recent` ago, at least one since.
    Restarted(Restarted),
    /// In at least `at_least` of the last `periods` periods at least `count`.
    Regular(Regular),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct Stopped {
    active: Length,
    /// Shorter than `active`.
    quiet: Length,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct Restarted {
    quiet: Length,
    /// Shorter than `quiet`.
    recent: Length,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct Regular {
    period: Length,
    /// How many periods are looked at, the last one ends now.
    #[schemars(range(min = 1))]
    periods: u64,
    /// At most `periods`.
    #[schemars(range(min = 1))]
    at_least: u64,
    /// 1 when it is left out.
    #[schemars(range(min = 1))]
    count: Option<u64>,
}

/// A whole number and a unit: `s`, `min`, `h`, `d`, `w`, `m` (months), `q` or `y`.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "the type is its schema")]
struct Length(#[schemars(regex(pattern = "^[0-9]+(s|min|h|d|w|m|q|y)$"), example = &"30d")] String);

/// A whole number and a unit: `s`, `min`, `h`, `d`, `w`, `q` or `y`. `m` is refused: it could be taken for minutes.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "the type is its schema")]
struct ShortLength(#[schemars(regex(pattern = "^[0-9]+(s|min|h|d|w|q|y)$"), example = &"7d")] String);

/// A property compares as stated.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is its schema")]
struct AttributeTest {
    property: Property,
    operator: Operator,
    /// With what; left out for `is_set`, `is_not_set`, `is_true` and `is_false`.
    value: Option<Literal>,
    /// The upper end of `between`.
    value2: Option<Literal>,
    /// What the property is read as; the type of the column, or inside JSON of `value`, when it is left out.
    value_type: Option<ValueType>,
    /// Compares text without regard to case.
    ignore_case: Option<bool>,
}

/// A node of `where`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum EventCondition {
    Group(Group<Self>),
    AtLeast(AtLeast<Self>),
    Not(Not<Self>),
    Test(EventProperty),
}

/// A property of the event compares as stated.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct EventProperty {
    #[schemars(flatten)]
    test: AttributeTest,
    /// A remark; carried, never read.
    description: Option<String>,
}

/// A column, a dotted path into one, or a number derived from one.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Property {
    /// A column, or a dotted path into a struct, a map or JSON; `a["x.y"]` quotes a key.
    #[schemars(example = &"country", example = &"attributes.lifetime_value")]
    Path(String),
    Derived(DerivedProperty),
}

/// A number derived from stored values.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum DerivedProperty {
    /// Fractional days of 24 hours since the date.
    DaysSince(String),
    /// Whole local days to the next yearly return of the date.
    DaysToAnniversary(String),
    /// The local year of the date.
    Year(String),
    /// The local month of the date, 1 to 12.
    Month(String),
    /// The local day of the month of the date.
    Day(String),
    /// The local day of the week of the date, 1 = Monday.
    Weekday(String),
    /// The local hour of the date.
    Hour(String),
    /// The mean of numbers; missing when one of them is.
    Mean(Vec<String>),
}

/// A type of events, or several; a `*` at the end matches every rest.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum EventTypes {
    One(#[schemars(length(min = 1))] String),
    Several(#[schemars(length(min = 1))] Vec<String>),
}

/// What is measured over the events.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Measure {
    Rows(RowMeasure),
    Property(PropertyMeasure),
}

/// A measure of the events themselves.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum RowMeasure {
    /// How many.
    Count,
    /// On how many distinct local days.
    ActiveDays,
    /// In how many distinct local ISO weeks.
    ActiveWeeks,
    /// In how many distinct local months.
    ActiveMonths,
    /// Fractional days since the first.
    DaysSinceFirst,
    /// Fractional days since the last.
    DaysSinceLast,
}

/// A measure of a property of the events.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum PropertyMeasure {
    /// Its sum.
    Sum(String),
    /// Its mean.
    Avg(String),
    /// Its least value.
    Min(String),
    /// Its greatest value.
    Max(String),
    /// How many distinct values it has.
    CountDistinct(String),
    /// Its value on the earliest event that carries it.
    First(String),
    /// Its value on the latest event that carries it.
    Last(String),
    /// Its most frequent value.
    MostFrequent(String),
}

/// Events from `from` to before `to`, or of the `last` length of time.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Window {
    Last(LastWindow),
    From(FromWindow),
    To(ToWindow),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct LastWindow {
    /// A whole number and a unit: `s`, `min`, `h`, `d`, `w`, `m` (months), `q` or `y`.
    #[schemars(regex(pattern = "^[0-9]+(s|min|h|d|w|m|q|y)$"), example = &"30d")]
    last: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct FromWindow {
    /// A date, relative such as `-60d` or `today`, or absolute.
    #[schemars(example = &"-60d", example = &"now@month")]
    from: String,
    /// A date; a day is included. Now when it is left out.
    #[schemars(example = &"-30d", example = &"2026-01-31")]
    to: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct ToWindow {
    /// A date; a day is included.
    to: String,
}

/// Whole seconds, or a whole number and a unit, of which `m` is refused.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Interval {
    Seconds(#[schemars(range(min = 1))] u32),
    Length(#[schemars(regex(pattern = "^[0-9]+(s|min|h|d|w|q|y)$"), example = &"5min")] String),
}

/// `forever`, whole seconds, or a whole number and a unit, of which `m` is refused.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Kept {
    Seconds(#[schemars(range(min = 1))] u32),
    Length(#[schemars(regex(pattern = "^(forever|[0-9]+(s|min|h|d|w|q|y))$"), example = &"90d")] String),
}

/// A value, or a list of values.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Literal {
    Scalar(Scalar),
    List(Vec<Scalar>),
}

/// A text, a number or a boolean.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the type is its schema")]
enum Scalar {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// Whether the subject must be in the other segment.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "the type is its schema")]
enum MembershipOperator {
    In,
    NotIn,
}

macro_rules! words {
    ($type:ident, $description:literal, $words:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $description, "enum": $words})
            }
        }
    };
}

words!(
    Operator,
    "How a value compares; which operators a type takes is listed in the reference.",
    Operator::ALL.map(Operator::keyword)
);
words!(ValueType, "What a value is read as.", ValueType::ALL.map(ValueType::keyword));
words!(Kind, "`dynamic`: rules decide; `static`: members are added by hand.", [Kind::Dynamic, Kind::Static]);
words!(
    Status,
    "`active`: recomputed when due; `paused`: not recomputed; `archived`: not listed, not referenced.",
    [Status::Active, Status::Paused, Status::Archived]
);
