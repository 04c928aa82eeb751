"""What DuckDB does, in each of the ways in which one would do this work with it. Every way writes one sorted file per segment."""

import duckdb

import sql
from workload import leaves

DIALECT = sql.DuckDB()


def connect(data, **settings):
    """A connection in memory with the tables of generated data as views `u`, `e` and `p`."""
    connection = duckdb.connect(config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    for view, files in {"u": "users.parquet", "p": "products.parquet", "e": "events/*/*.parquet"}.items():
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{data / files}', hive_partitioning = false)")
    return connection


def copy(connection, query, file):
    connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")


def each(connection, workload, out):
    """One query per segment, written by hand: only its event types, its window and its columns; a reference reads the members' file."""
    for name in workload.segments:
        copy(connection, query_of_one(workload, name, out), out / f"{name}.parquet")


def query_of_one(workload, name, out):
    node = workload.segments[name]
    numbers = sorted({leaf.feature for leaf in leaves(node) if leaf.kind == "feature"})
    source = "u"
    if numbers:
        numbered = [(number, workload.features[number]) for number in numbers]
        same_types = len({feature.types for _, feature in numbered}) == 1
        source = f"u LEFT JOIN (\n{sql.grouped(DIALECT, 'e', numbered, same_types)}\n) f USING (user_id)"
    where = OwnQuery(workload, out).of(name)
    return f"SELECT {sql.snapshot_columns(DIALECT, name)} FROM {source} WHERE {where} ORDER BY user_id"


class OwnQuery(sql.Predicates):
    """Predicates in a segment's own query, where attributes are not taken out yet and features can be NULL for want of events."""

    def __init__(self, workload, out):
        attributes = {name: DIALECT.attribute(name) for name in sql.attributes_of(workload.segments)}
        super().__init__(DIALECT, workload, attributes)
        self.out = out

    def reference(self, node, exact):
        return f"user_id {'IN' if node.operator == 'in' else 'NOT IN'} (SELECT subject_id FROM '{self.out / node.segment}.parquet')"

    def feature(self, node, exact):
        feature = self.workload.features[node.feature]
        column = f"f{node.feature}"
        if feature.is_zero_without_events and (exact or node.operator == "eq"):
            column = f"coalesce({column}, 0)"
        test = sql.compare(DIALECT, column, feature, node)
        return f"coalesce({test}, false)" if exact and not feature.is_zero_without_events else test


def once(connection, workload, out):
    """One query with all aggregates, filtered, into a table; then a file per segment."""
    grouped = sql.grouped(DIALECT, "e", list(enumerate(workload.features)), same_types=False)
    wide(connection, workload, f"u LEFT JOIN (\n{grouped}\n) f USING (user_id)")
    write(connection, workload, out)


def by_type(connection, workload, out):
    """By hand: one query per event type with its aggregates, joined into a table; then a file per segment."""
    wide_by_type(connection, workload)
    write(connection, workload, out)


def wide_by_type(connection, workload):
    joined = "u"
    for position, numbered in enumerate(sql.by_types(workload.features).values()):
        connection.execute(f"CREATE TEMP TABLE g{position} AS {sql.grouped(DIALECT, 'e', numbered, same_types=True)}")
        joined += f" LEFT JOIN g{position} ON g{position}.user_id = u.user_id"
    wide(connection, workload, joined)


def wide(connection, workload, source):
    """The table with everything, in the order of ids, which a file of some of its rows then has without sorting again."""
    columns = sql.wide_columns(DIALECT, workload.features, sql.attributes_of(workload.segments))
    connection.execute(f"CREATE TEMP TABLE wide AS SELECT {columns} FROM {source} ORDER BY u.user_id")


def write(connection, workload, out):
    predicates = sql.Predicates(DIALECT, workload, sql.attributes_of(workload.segments))
    for name in workload.segments:
        copy(connection, f"SELECT {sql.snapshot_columns(DIALECT, name)} FROM wide WHERE {predicates.of(name)}", out / f"{name}.parquet")


def floor(connection, _workload, _out):
    """What reading the events and grouping them by user costs at all."""
    connection.execute("CREATE TEMP TABLE floor AS SELECT user_id, count(*) FROM e GROUP BY user_id")
