#!/usr/bin/env python3
"""One peer doing one work, in a process of its own: `peers.py WAY DATA WORK OUT`. Only `all_segments.py` starts it.

The seconds inside, from the connection to the last file written, go to OUT/inside.json; imports are not in them.
"""

import json
import sys
import time
from pathlib import Path

import workload as definitions
from kinds import KINDS, load, save


def main():
    way, data, work, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    out.mkdir(parents=True, exist_ok=True)
    run = WAYS[way](data, work, out)
    started = time.perf_counter()
    more = run() or {}
    seconds = time.perf_counter() - started
    (out / "inside.json").write_text(json.dumps({"seconds": seconds} | more))


def known(work):
    """The workload of a folder, with its values."""
    kind = KINDS[work.name]
    return load(definitions.workload(kind.segments, kind.features), work / "values.json")[0]


def duckdb_way(name):
    def prepare(data, work, out):
        import duckdb_ways

        workload = known(work)
        return lambda: getattr(duckdb_ways, name)(duckdb_ways.connect(data), workload, out)

    return prepare


def calibration(data, work, _out):
    import calibrate

    kind = KINDS[work.name]

    def run():
        workload = definitions.workload(kind.segments, kind.features)
        workload, members = calibrate.calibrate(data, workload, kind.wanted(data))
        save(workload, members, work / "values.json")

    return run


def clickhouse_way(name):
    def prepare(data, work, out):
        import clickhouse_way

        workload = known(work)
        return lambda: getattr(clickhouse_way, name)(data, workload, out)

    return prepare


def polars_way(name):
    def prepare(data, work, out):
        import polars_way

        workload = known(work)
        return lambda: getattr(polars_way, name)(data, workload, out)

    return prepare


def duckdb_products(name):
    def prepare(data, _work, out):
        import duckdb_ways
        import products

        return lambda: getattr(products, name)(duckdb_ways.connect(data), out)

    return prepare


def duckdb_one(data, _work, _out):
    """One segment's own query, which counts as `preview` does."""
    import duckdb_ways
    import one

    def run():
        connection = duckdb_ways.connect(data)
        count = connection.execute(f"SELECT count(*) FROM ({one.QUERY})").fetchall()[0][0]
        return {"count": count}

    return run


def duckdb_one_members(data, _work, out):
    import duckdb_ways
    import one

    return lambda: duckdb_ways.copy(duckdb_ways.connect(data), f"{one.QUERY} ORDER BY subject_id", out / "one.parquet")


def duckdb_copy(_data, work, out):
    """Snapshots that segmenta wrote, from tables in memory into files; reading them is not timed."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    names = sorted(file.stem for file in (work / f"out/memberships/{definitions.TENANT}").glob("*.parquet"))
    for name in names:
        file = work / f"out/memberships/{definitions.TENANT}/{name}.parquet"
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{file}')")

    def run():
        for name in names:
            connection.execute(f"COPY {name} TO '{out / name}.parquet' (FORMAT parquet, COMPRESSION zstd)")

    return run


WAYS = {
    "calibration": calibration,
    "duckdb-each": duckdb_way("each"),
    "duckdb-once": duckdb_way("once"),
    "duckdb-by-type": duckdb_way("by_type"),
    "duckdb-products-each": duckdb_products("each"),
    "duckdb-products-each-written": duckdb_products("each_written"),
    "duckdb-products-once-written": duckdb_products("once_written"),
    "duckdb-one": duckdb_one,
    "duckdb-one-members": duckdb_one_members,
    "duckdb-copy": duckdb_copy,
    "duckdb-floor": duckdb_way("floor"),
    "clickhouse": clickhouse_way("once"),
    "clickhouse-by-type": clickhouse_way("by_type"),
    "clickhouse-floor": clickhouse_way("floor"),
    "polars": polars_way("by_type"),
    "polars-floor": polars_way("floor"),
}


if __name__ == "__main__":
    main()
