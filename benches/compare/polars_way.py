"""What Polars does: lazy frames, one per event type, joined to the users and collected once; then a file per segment."""

from datetime import datetime, timedelta, timezone
from functools import reduce

import polars as pl

import sql
from workload import TENANT

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def by_type(data, workload, out):
    events = pl.scan_parquet(f"{data}/events/*/*.parquet", hive_partitioning=False)
    wide = pl.scan_parquet(data / "users.parquet").select("user_id", *(value.alias(name) for name, value in attributes_of(workload).items()))
    for types, numbered in sql.by_types(workload.features).items():
        wide = wide.join(grouped(events, types, numbered), on="user_id", how="left", maintain_order="left")
    zeros = [pl.col(f"f{number}").fill_null(0) for number, feature in enumerate(workload.features) if feature.is_zero_without_events]
    wide = wide.with_columns(zeros).sort("user_id").collect(engine="streaming")
    frames = Frames(workload)
    for name in workload.segments:
        write(wide.filter(frames.of(name)), name, out)


def floor(data, _workload, _out):
    """What reading the events and grouping them by user costs at all."""
    events = pl.scan_parquet(f"{data}/events/*/*.parquet", hive_partitioning=False)
    events.group_by("user_id").len().collect(engine="streaming")


def grouped(events, types, numbered):
    kept = pl.col("user_id").is_not_null() & (pl.col("timestamp") < NOW)
    if types is not None:
        kept &= pl.col("event_type").is_in(list(types)) if len(types) > 1 else pl.col("event_type") == types[0]
    if all(feature.days is not None for _, feature in numbered):
        kept &= pl.col("timestamp") >= NOW - timedelta(days=max(feature.days for _, feature in numbered))
    paths = sorted({path for _, feature in numbered for path in feature.json_paths()})
    taken = [pl.col("properties").str.json_path_match(f"$.{path.partition('.')[2]}").alias(sql.json_name(path)) for path in paths]
    aggregates = [aggregate(feature).alias(f"f{number}") for number, feature in numbered]
    return events.filter(kept).with_columns(taken).group_by("user_id").agg(aggregates)


def aggregate(feature):
    passes = []
    if feature.days is not None:
        passes.append(pl.col("timestamp") >= NOW - timedelta(days=feature.days))
    if feature.where is not None:
        column = pl.col(sql.json_name(feature.where.property))
        if "." in feature.where.property and not isinstance(feature.where.value, str):
            column = column.cast(pl.Float64, strict=False)
        passes.append(column == feature.where.value if feature.where.operator == "eq" else column >= feature.where.value)
    passed = reduce(lambda one, other: one & other, passes) if passes else None

    def kept(column):
        return column if passed is None else pl.when(passed).then(column)

    value = pl.col(sql.json_name(feature.property)) if feature.property else None
    match feature.measure:
        case "count":
            return pl.len() if passed is None else passed.sum()
        case "sum":
            return kept(value).sum()
        case "avg":
            return kept(value).mean()
        case "min":
            return kept(value).min()
        case "max":
            return kept(value).max()
        case "count_distinct":
            return kept(value).drop_nulls().n_unique()
        case "active_days":
            return kept(pl.col("timestamp").dt.date()).drop_nulls().n_unique()
        case "days_since_last":
            return kept(pl.col("timestamp")).max()
        case "last":
            there = value.is_not_null() if passed is None else value.is_not_null() & passed
            return value.filter(there).sort_by(pl.col("timestamp").filter(there)).last()


def attributes_of(workload):
    """What is taken out of a user's row, by the name of its column."""
    taken = {}
    for name, column in sql.attributes_of(workload.segments).items():
        outer, _, inner = name.partition(".")
        if outer == "attributes":
            taken[column] = pl.col(outer).str.json_path_match(f"$.{inner}")
        elif outer == "interests":
            taken[column] = pl.col(outer).map.get(inner)
        elif inner:
            taken[column] = pl.col(outer).struct.field(inner)
        else:
            taken[column] = pl.col(outer)
    return taken


class Frames:
    """Predicates of segments over the frame with everything, in which a reference is the rule that it refers to."""

    def __init__(self, workload):
        self.workload = workload
        self.attributes = sql.attributes_of(workload.segments)

    def of(self, name):
        return self.predicate(self.workload.segments[name])

    def predicate(self, node):
        parts = [self.predicate(part) for part in node.parts]
        match node.kind:
            case "and":
                return reduce(lambda one, other: one & other, parts)
            case "or":
                return reduce(lambda one, other: one | other, parts)
            case "not":
                return ~parts[0]
            case "at_least":
                return pl.sum_horizontal(part.cast(pl.Int32) for part in parts) >= node.count
            case "reference":
                referred = self.of(node.segment)
                return referred if node.operator == "in" else ~referred
            case "attribute":
                return self.attribute(node.attribute).fill_null(False)
            case "feature":
                return self.feature(node).fill_null(False)

    def attribute(self, attribute):
        column, value = pl.col(self.attributes[attribute.name]), attribute.value
        match attribute.operator:
            case "in":
                return column.is_in(list(value))
            case "not_in":
                return ~column.is_in(list(value)).fill_null(False)
            case "gte":
                return column >= value
            case "days_since_gte":
                return column <= NOW - timedelta(days=value)
            case "days_since_lte":
                return column >= NOW - timedelta(days=value)
            case "is_true":
                return column
            case "neq_false":
                return column.fill_null(True)
            case "contains":
                return column.list.contains(value)
            case "ends_with":
                return column.str.ends_with(value)

    def feature(self, node):
        feature, column = self.workload.features[node.feature], pl.col(f"f{node.feature}")
        if feature.measure == "days_since_last":
            bound = NOW - timedelta(days=node.value)
            return column <= bound if node.operator == "gte" else column >= bound
        if feature.measure == "sum":
            column = column.cast(pl.Float64)
        if node.operator == "in":
            return column.is_in(list(node.value))
        return column == node.value if node.operator == "eq" else column >= node.value


def write(members, segment, out):
    members.select(
        pl.lit(TENANT).alias("tenant"),
        pl.lit(segment).alias("segment_id"),
        pl.col("user_id").alias("subject_id"),
        pl.lit(NOW).dt.cast_time_unit("us").alias("entered_at"),
        pl.lit(None, dtype=pl.Float64).alias("score"),
        pl.lit(None, dtype=pl.String).alias("confidence"),
        pl.lit("rule_match").alias("reason"),
        pl.lit(sql.RUN_ID).alias("run_id"),
        pl.lit(NOW).dt.cast_time_unit("us").alias("as_of"),
    ).write_parquet(out / f"{segment}.parquet", compression="zstd")


