"""Fills the values in that a workload leaves open, so that its segments together have the wanted number of members.

What a feature is compared with is a quantile of it. One factor on all the shares is searched for until the total fits; this is not
timed, and its result is kept beside the data. Values lie where rounding cannot decide: a sum of prices is a multiple of a cent, and no
value that it is compared with is; the same holds of an average and its number of events.
"""

import dataclasses
import math

import duckdb_ways
import sql

POINTS = 1000
STEPS = 14


def calibrate(data, workload, wanted):
    """The workload with every value, and how many members each segment has."""
    connection = duckdb_ways.connect(data)
    duckdb_ways.wide_by_type(connection, workload)
    users = connection.execute("SELECT count(*) FROM wide").fetchall()[0][0]
    # A part of the users is enough to search with, unless there are few.
    part = max(1, users // 200_000)
    connection.execute(f"CREATE TEMP TABLE part AS SELECT * FROM wide WHERE hash(user_id) % {part} = 0")
    quantiles = read_quantiles(connection, workload.features)
    low, high, best = 0.001, 5.0, None
    for _ in range(STEPS):
        factor = math.sqrt(low * high)
        resolved = resolve(workload, quantiles, factor)
        total = sum(counts(connection, resolved, "part").values()) * part
        if best is None or abs(total - wanted) < best[0]:
            best = (abs(total - wanted), resolved)
        low, high = (factor, high) if total < wanted else (low, factor)
    return best[1], counts(connection, best[1], "wide")


def read_quantiles(connection, features):
    """Of each feature its quantiles among the users that have a value; a time as days before now."""
    quantiles = []
    for number, feature in enumerate(features):
        if feature.measure == "last":
            quantiles.append(None)
            continue
        column = f"f{number}"
        if feature.measure == "days_since_last":
            column = f"epoch_us({sql.DuckDB.now}) - epoch_us({column})"
        present = connection.execute(f"SELECT count({column}) FROM part").fetchall()[0][0]
        # One sort per feature; quantile_disc of so many points took longer.
        positions = [1 + round(point / POINTS * (present - 1)) for point in range(POINTS + 1)]
        picked = f"SELECT list_select(list_sort(list({column})), {positions}) FROM part"
        values = connection.execute(picked).fetchall()[0][0] if present else [0] * (POINTS + 1)
        quantiles.append([float(value) for value in values])
    return quantiles


def resolve(workload, quantiles, factor):
    def fill(node):
        if node.parts:
            return dataclasses.replace(node, parts=tuple(fill(part) for part in node.parts))
        if node.kind != "feature" or node.value is not None:
            return node
        share = min(0.97, node.share * factor)
        feature = workload.features[node.feature]
        return dataclasses.replace(node, value=value_at(feature, quantiles[node.feature], share))

    return dataclasses.replace(workload, segments={name: fill(node) for name, node in workload.segments.items()})


def value_at(feature, quantiles, share):
    if feature.measure == "days_since_last":
        return max(1, math.ceil(quantiles[round(share * POINTS)] / sql.DAY_MICROS))
    value = quantiles[round((1 - share) * POINTS)]
    if feature.is_whole:
        return max(1, int(value))
    if feature.measure == "sum":
        return round(math.floor(value * 100) / 100 + 0.005, 3)
    if feature.measure == "avg":
        return round(math.floor(value) + 0.00377, 5)
    return math.floor(value)


def counts(connection, workload, table):
    """Members of each segment."""
    predicates = sql.Predicates(sql.DuckDB(), workload, sql.attributes_of(workload.segments))
    names, result = list(workload.segments), {}
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        columns = ", ".join(f"count(*) FILTER ({predicates.of(name)})" for name in some)
        result |= dict(zip(some, connection.execute(f"SELECT {columns} FROM {table}").fetchall()[0]))
    return result
