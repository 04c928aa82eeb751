"""What ClickHouse does, by its engine as a library."""

from chdb import session

import sql

DIALECT = sql.ClickHouse()
SETTINGS = "join_use_nulls = 1, output_format_parquet_compression_method = 'zstd', engine_file_truncate_on_insert = 1, session_timezone = 'UTC'"


def once(data, workload, out):
    """One query with all aggregates into a table; then a file per segment."""
    with connect(data) as run:
        grouped = sql.grouped(DIALECT, "e", list(enumerate(workload.features)), same_types=False)
        wide(run, workload, f"u LEFT JOIN (\n{grouped}\n) AS f ON u.user_id = f.user_id")
        write(run, workload, out)


def by_type(data, workload, out):
    """One query per event type with its aggregates, joined into a table; then a file per segment."""
    with connect(data) as run:
        joined = "u"
        for position, numbered in enumerate(sql.by_types(workload.features).values()):
            run(f"CREATE TABLE g{position} ENGINE = Memory AS {sql.grouped(DIALECT, 'e', numbered, same_types=True)}")
            joined += f" LEFT JOIN g{position} ON g{position}.user_id = u.user_id"
        wide(run, workload, joined)
        write(run, workload, out)


def floor(data, _workload, _out):
    """What reading the events and grouping them by user costs at all."""
    with connect(data) as run:
        run("CREATE TABLE floor ENGINE = Memory AS SELECT user_id, count(*) AS n FROM e GROUP BY user_id")


class connect:
    """A session with the tables of generated data as views, as a function that runs a statement."""

    def __init__(self, data):
        self.session = session.Session()
        self("CREATE DATABASE compare")
        self("USE compare")
        for view, files in {"u": "users.parquet", "p": "products.parquet", "e": "events/*/*.parquet"}.items():
            self(f"CREATE VIEW {view} AS SELECT * FROM file('{data / files}', 'Parquet')")

    def __call__(self, statement):
        return self.session.query(f"{statement}")

    def __enter__(self):
        for setting in SETTINGS.split(", "):
            self(f"SET {setting}")
        return self

    def __exit__(self, *_):
        self.session.close()


def wide(run, workload, source):
    columns = sql.wide_columns(DIALECT, workload.features, sql.attributes_of(workload.segments))
    run(f"CREATE TABLE wide ENGINE = Memory AS SELECT {columns} FROM {source}")


def write(run, workload, out):
    predicates = sql.Predicates(DIALECT, workload, sql.attributes_of(workload.segments))
    for name in workload.segments:
        columns = sql.snapshot_columns(DIALECT, name)
        run(f"INSERT INTO FUNCTION file('{out / name}.parquet', 'Parquet') SELECT {columns} FROM wide WHERE {predicates.of(name)} ORDER BY user_id")
