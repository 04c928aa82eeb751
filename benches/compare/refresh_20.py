#!/usr/bin/env python3
"""Compares one full refresh of twenty segments with DuckDB running the same twenty queries one after another.

Usage: refresh_20.py [--binary target/release/segmenta] [--users N] [--events N] [--repeats N]

Both read the same Parquet files with all cores and a memory limit of 2 GB, in processes of their own that take turns. segmenta also
writes members, changes and history; DuckDB only keeps the members in temporary tables. Members must agree, or the script fails.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from project import ROOT, generate, install_peers, measure, write_project
from segments import SEGMENTS, definition


def main():
    arguments = parse_arguments()
    if arguments.duckdb_child:
        return duckdb_child(Path(arguments.duckdb_child))
    binary = arguments.binary.resolve()
    if not binary.exists():
        sys.exit(f"{binary} is missing: run `cargo build --release` first")
    python = install_peers(["duckdb"])
    data = generate(binary, arguments.users, arguments.events, arguments.days, arguments.products)
    work = data.parent / "twenty"
    write_project(work, data, [definition(segment) for segment in SEGMENTS], memory_limit="2GB")

    ours, theirs = [], []
    for turn in range(1, arguments.repeats + 1):
        shutil.rmtree(work / "out", ignore_errors=True)
        ours.append(measure([binary, "refresh", "--all", "--config", work / "scheduler.toml", "--format", "json"], work / "segmenta.log"))
        theirs.append(measure([python, __file__, "--duckdb-child", work], work / "duckdb.log"))
        inside = json.loads((work / "duckdb.json").read_text())["seconds"]
        theirs[-1] = (inside, theirs[-1][1])
        print(f"turn {turn}: segmenta {ours[-1][0]:.2f} s, DuckDB {theirs[-1][0]:.2f} s", flush=True)

    disagreements = compare_members(python, work)
    report(arguments, ours, theirs, disagreements)
    sys.exit(1 if disagreements else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/segmenta")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--duckdb-child", help=argparse.SUPPRESS)
    return parser.parse_args()


def duckdb_child(work):
    """Runs the queries one after another; keeps the members for the comparison after the clock was stopped."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": "2GB"})
    connection.execute("SET TimeZone = 'UTC'")
    data = work.parent / "data"
    started = time.perf_counter()
    for view, files in {"u": "users.parquet", "p": "products.parquet", "e": "events/*/*.parquet"}.items():
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{data / files}', hive_partitioning = false)")
    seconds = {}
    for segment, (_, query) in SEGMENTS.items():
        before = time.perf_counter()
        connection.execute(f'CREATE TEMP TABLE "members_{segment}" AS {query}')
        seconds[segment] = time.perf_counter() - before
    total = time.perf_counter() - started
    expected = work / "expected"
    expected.mkdir(exist_ok=True)
    for segment in SEGMENTS:
        connection.execute(f"COPY (SELECT id FROM \"members_{segment}\") TO '{expected / segment}.parquet'")
    (work / "duckdb.json").write_text(json.dumps({"seconds": total, "segments": seconds}))


def compare_members(python, work):
    """Segments whose members differ, with how many are on one side only."""
    program = """
import json, sys, duckdb
work, segments = sys.argv[1], sys.argv[2:]
for segment in segments:
    ours = f"SELECT subject_id AS id FROM '{work}/out/memberships/bench/{segment}.parquet'"
    theirs = f"SELECT id FROM '{work}/expected/{segment}.parquet'"
    count = lambda query: duckdb.sql(f"SELECT count(*) FROM ({query})").fetchall()[0][0]
    print(json.dumps([segment, count(theirs), count(f"{ours} EXCEPT ALL {theirs}"), count(f"{theirs} EXCEPT ALL {ours}")]))
"""
    output = subprocess.run([python, "-c", program, work, *SEGMENTS], check=True, capture_output=True, text=True).stdout
    disagreements = []
    for line in output.splitlines():
        segment, members, only_ours, only_theirs = json.loads(line)
        print(f"{segment:20} {members:8,} members{'' if only_ours == only_theirs == 0 else '  DIFFERS'}")
        if only_ours or only_theirs:
            disagreements.append(f"{segment}: {only_ours} only in segmenta, {only_theirs} only in DuckDB")
    return disagreements


def report(arguments, ours, theirs, disagreements):
    ours_seconds, theirs_seconds = (statistics.median(seconds for seconds, _ in runs) for runs in (ours, theirs))
    ours_bytes, theirs_bytes = (max(peak for _, peak in runs) for runs in (ours, theirs))
    print(f"\n{arguments.users:,} users, {arguments.events:,} events, {len(SEGMENTS)} segments, median of {arguments.repeats} turns")
    print(f"segmenta  {ours_seconds:6.2f} s  peak {ours_bytes / 1e6:6.0f} MB  (one process, members, changes and history written)")
    print(f"DuckDB    {theirs_seconds:6.2f} s  peak {theirs_bytes / 1e6:6.0f} MB  (queries alone)")
    print(f"ratio     {ours_seconds / theirs_seconds:6.2f}")
    for line in disagreements:
        print(line)


if __name__ == "__main__":
    main()
