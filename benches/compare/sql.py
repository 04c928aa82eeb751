"""The workload as SQL, for DuckDB and for ClickHouse: aggregates of features, predicates of segments, the nine columns of a snapshot.

What the two write differently stands in a class each, so that the ways of `duckdb_ways.py` and `clickhouse_way.py` are the same work.
"""

from workload import AS_OF, TENANT

DAY_MICROS = 86_400_000_000
RUN_ID = "019b76da-a800-7000-8000-000000000000"


class DuckDB:
    """What DuckDB's dialect says in its own way."""

    now = "TIMESTAMPTZ '2026-01-01 00:00:00+00'"
    nothing = "NULL::DOUBLE AS score, NULL::VARCHAR AS confidence"

    def days_ago(self, days):
        return f"({self.now} - INTERVAL {days * 24} HOUR)"

    def json(self, column, path, _type):
        return f"{column}->>'$.{path}'"

    def number(self, text):
        return f"TRY_CAST({text} AS DOUBLE)"

    def aggregate(self, feature, condition):
        """The feature over the rows that pass, which a list of conditions says."""
        kept = f" FILTER ({condition})" if condition else ""
        value = json_name(feature.property)
        match feature.measure:
            case "count":
                return f"count(*){kept}"
            case "sum" | "avg" | "min" | "max":
                return f"{feature.measure}({value}){kept}"
            case "count_distinct":
                return f"count(DISTINCT {value}){kept}"
            case "active_days":
                # Days as bits, which takes DuckDB less time than count(DISTINCT ...) of them; the data has fewer than 128 days.
                first_day = f"(epoch_us({self.now}) // {DAY_MICROS} - 127)"
                return f"bit_count(bit_or(1::HUGEINT << (epoch_us(timestamp) // {DAY_MICROS} - {first_day})::INT){kept})"
            case "days_since_last":
                return f"max(timestamp){kept}"
            case "last":
                return f"arg_max({value}, timestamp){kept}"

    def attribute(self, name):
        """The value of an attribute of the table of users."""
        if name.startswith("attributes."):
            return self.json("attributes", name.partition(".")[2], "String")
        if name.startswith("interests."):
            return f"interests['{name.partition('.')[2]}']"
        return name

    def holds_attribute(self, column, operator, value):
        match operator:
            case "contains":
                return f"list_contains({column}, {literal(value)})"
            case "ends_with":
                return f"suffix({column}, {literal(value)})"
            case "neq_false":
                return f"({column} IS DISTINCT FROM false)"
            case _:
                return common_operator(self, column, operator, value)


class ClickHouse:
    """What ClickHouse's dialect says in its own way."""

    now = "toDateTime64('2026-01-01 00:00:00', 6, 'UTC')"
    nothing = "CAST(NULL AS Nullable(Float64)) AS score, CAST(NULL AS Nullable(String)) AS confidence"

    def days_ago(self, days):
        return f"({self.now} - INTERVAL {days * 24} HOUR)"

    def json(self, column, path, type):
        keys = ", ".join(f"'{key}'" for key in path.split("."))
        return f"JSONExtract(assumeNotNull({column}), {keys}, 'Nullable({type})')"

    def number(self, text):
        return f"toFloat64OrNull({text})"

    def aggregate(self, feature, condition):
        value = json_name(feature.property)
        condition = condition or "1"
        match feature.measure:
            case "count":
                return f"countIf({condition})"
            case "sum":
                return f"sumIf({value}, {condition})"
            case "avg" | "min" | "max":
                return f"{feature.measure}OrNullIf({value}, {condition})"
            case "count_distinct":
                return f"uniqExactIf({value}, {condition})"
            case "active_days":
                first_day = f"(toUnixTimestamp({self.now}) / 86400 - 127)"
                return f"bitCount(groupBitOrIf(bitShiftLeft(toUInt128(1), toUInt8(toRelativeDayNum(timestamp) - {first_day})), {condition}))"
            case "days_since_last":
                return f"maxOrNullIf(timestamp, {condition})"
            case "last":
                return f"argMaxOrNullIf({value}, timestamp, {value} IS NOT NULL AND {condition})"

    def attribute(self, name):
        if name.startswith("attributes."):
            return self.json("attributes", name.partition(".")[2], "String")
        if name.startswith("interests."):
            key = name.partition(".")[2]
            return f"if(mapContains(interests, '{key}'), interests['{key}'], NULL)"
        if name.startswith("affinities."):
            return f"tupleElement(affinities, '{name.partition('.')[2]}')"
        return name

    def holds_attribute(self, column, operator, value):
        match operator:
            case "contains":
                return f"has({column}, {literal(value)})"
            case "ends_with":
                return f"endsWith({column}, {literal(value)})"
            case "neq_false":
                return f"(coalesce({column}, true) != false)"
            case _:
                return common_operator(self, column, operator, value)


def common_operator(dialect, column, operator, value):
    match operator:
        case "in":
            return one_of(column, value)
        case "not_in":
            return f"coalesce(NOT {one_of(column, value)}, true)"
        case "gte":
            return f"{column} >= {literal(value)}"
        case "days_since_gte":
            return f"{column} <= {dialect.days_ago(value)}"
        case "days_since_lte":
            return f"{column} >= {dialect.days_ago(value)}"
        case "is_true":
            return f"{column} = true"


def one_of(column, values):
    """`IN` as alternatives: of a longer list DuckDB makes a join, which loses the order of ids, and every file would be sorted anew."""
    return "(" + " OR ".join(f"{column} = {literal(value)}" for value in values) + ")"


def literal(value):
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def json_name(property):
    """The name under which a value out of JSON stands in the rows that are aggregated."""
    return property.replace("properties.", "json_").replace(".", "_") if property else property


def condition_of(dialect, feature, with_types, since=None):
    """What a row must be to be counted, but for what the whole query asks of its rows already."""
    parts = []
    if with_types and feature.types is not None:
        parts.append(type_test(feature.types))
    if feature.where is not None:
        column = json_name(feature.where.property)
        if "." in feature.where.property and not isinstance(feature.where.value, str):
            column = dialect.number(column)
        parts.append(f"{column} {'=' if feature.where.operator == 'eq' else '>='} {literal(feature.where.value)}")
    if feature.days is not None and feature.days != since:
        parts.append(f"timestamp >= {dialect.days_ago(feature.days)}")
    return " AND ".join(parts)


def type_test(types):
    if len(types) == 1:
        return f"event_type = {literal(types[0])}"
    return f"event_type IN ({', '.join(literal(event_type) for event_type in types)})"


def grouped(dialect, source, numbered, same_types):
    """One query over the events: a row per user with a column f<n> for each of the features, which may all be of the same types."""
    features = [feature for _, feature in numbered]
    since = None if any(feature.days is None for feature in features) else max(feature.days for feature in features)
    where = ["user_id IS NOT NULL", f"timestamp < {dialect.now}"]
    if since is not None:
        where.append(f"timestamp >= {dialect.days_ago(since)}")
    if all(feature.types is not None for feature in features):
        where.append(type_test(sorted({event_type for feature in features for event_type in feature.types})))
    columns = ",\n  ".join(
        f"{dialect.aggregate(feature, condition_of(dialect, feature, not same_types, since))} AS f{number}" for number, feature in numbered
    )
    return f"SELECT user_id,\n  {columns}\nFROM ({rows(dialect, source, features, same_types)})\nWHERE {' AND '.join(where)}\nGROUP BY user_id"


def rows(dialect, source, features, same_types):
    """The columns that some feature reads, and each value out of JSON once, for the types of event that it is asked of."""
    columns = {"user_id", "timestamp", "event_type"}
    paths = {}
    for feature in features:
        columns |= {name for name in (feature.property, feature.where and feature.where.property) if name and "." not in name}
        for path in feature.json_paths():
            paths.setdefault(path, set()).update(feature.types or ())
    extracted = []
    for path, types in sorted(paths.items()):
        value = dialect.json("properties", path.partition(".")[2], "String")
        if not same_types:
            value = f"CASE WHEN {type_test(sorted(types))} THEN {value} END"
        extracted.append(f"{value} AS {json_name(path)}")
    return f"SELECT {', '.join(sorted(columns) + extracted)} FROM {source}"


def by_types(features):
    """Numbered features, those of the same event types together."""
    groups = {}
    for number, feature in enumerate(features):
        groups.setdefault(feature.types, []).append((number, feature))
    return groups


def attributes_of(segments):
    """The names of attributes that segments ask for, numbered."""
    from workload import leaves

    names = sorted({leaf.attribute.name for node in segments.values() for leaf in leaves(node) if leaf.kind == "attribute"})
    return {name: f"a{number}" for number, name in enumerate(names)}


def wide_columns(dialect, features, attributes):
    """The columns of one table with everything: features as they are compared, attributes taken out of structs and JSON."""
    columns = ["u.user_id AS user_id"]
    columns += [f"{dialect.attribute(name)} AS {column}" for name, column in attributes.items()]
    for number, feature in enumerate(features):
        columns.append(f"coalesce(f{number}, 0) AS f{number}" if feature.is_zero_without_events else f"f{number}")
    return ",\n  ".join(columns)


class Predicates:
    """Predicates of segments over one table with everything, in which a reference is the rule that it refers to."""

    def __init__(self, dialect, workload, attributes):
        self.dialect, self.workload, self.attributes = dialect, workload, attributes

    def of(self, name):
        return self.predicate(self.workload.segments[name], False)

    def predicate(self, node, exact):
        """`exact` asks for true or false and never NULL, which only matters below a negation or a sum."""
        match node.kind:
            case "and" | "or":
                return "(" + f" {node.kind.upper()} ".join(self.predicate(part, exact) for part in node.parts) + ")"
            case "not":
                return f"(NOT {self.predicate(node.parts[0], True)})"
            case "at_least":
                return "(" + " + ".join(f"CAST({self.predicate(part, True)} AS INT)" for part in node.parts) + f" >= {node.count})"
            case "reference":
                return self.reference(node, exact)
            case "attribute":
                attribute = node.attribute
                test = self.dialect.holds_attribute(self.attributes[attribute.name], attribute.operator, attribute.value)
                return f"coalesce({test}, false)" if exact else test
            case "feature":
                return self.feature(node, exact)

    def reference(self, node, exact):
        referred = self.workload.segments[node.segment]
        return self.predicate(referred, exact) if node.operator == "in" else f"(NOT {self.predicate(referred, True)})"

    def feature(self, node, exact):
        feature = self.workload.features[node.feature]
        test = compare(self.dialect, f"f{node.feature}", feature, node)
        return f"coalesce({test}, false)" if exact and not feature.is_zero_without_events else test


def compare(dialect, column, feature, node):
    if feature.measure == "days_since_last":
        return f"{column} {'<=' if node.operator == 'gte' else '>='} {dialect.days_ago(node.value)}"
    if node.operator == "in":
        return one_of(column, node.value)
    return f"{column} {'=' if node.operator == 'eq' else '>='} {literal(node.value)}"


def snapshot_columns(dialect, segment, subject="user_id"):
    """The nine columns of a snapshot of segmenta."""
    return (
        f"'{TENANT}' AS tenant, '{segment}' AS segment_id, {subject} AS subject_id, {dialect.now} AS entered_at, {dialect.nothing},"
        f" 'rule_match' AS reason, '{RUN_ID}' AS run_id, {dialect.now} AS as_of"
    )


assert AS_OF == "2026-01-01T00:00:00Z", "both dialects write this instant in their own way"
