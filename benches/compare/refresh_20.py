#!/usr/bin/env python3
"""Compares one full refresh of twenty segments with DuckDB running the same twenty queries one after another.

Usage: refresh_20.py [--binary target/release/segmenta] [--users N] [--events N] [--repeats N]

Both read the same Parquet files with all cores and a memory limit of 2 GB, in processes of their own that take turns. segmenta also
writes members, changes and history; DuckDB only keeps the members in temporary tables. Members must agree, or the script fails.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from segments import AS_OF, SEGMENTS, definition

ROOT = Path(__file__).resolve().parents[2]
TENANT = "bench"


def main():
    arguments = parse_arguments()
    if arguments.duckdb_child:
        return duckdb_child(Path(arguments.duckdb_child))
    binary = arguments.binary.resolve()
    if not binary.exists():
        sys.exit(f"{binary} is missing: run `cargo build --release` first")
    python = install_duckdb()
    work = ROOT / "target/compare" / f"{arguments.users}-{arguments.events}"
    generate(binary, work / "data", arguments)
    write_project(work)

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


def install_duckdb():
    """A Python that can import duckdb, below target/."""
    folder = ROOT / "target/python"
    python = folder / "bin/python3"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import duckdb"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "duckdb"], check=True)
    return python


def generate(binary, folder, arguments):
    """Generates the tables once; the same options give the same bytes."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    options = {"users": arguments.users, "events": arguments.events, "days": arguments.days, "products": arguments.products, "seed": 7}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run([binary, "generate", *flags, "--out", folder, "--quiet"], check=True)
    (folder / "complete").touch()
    print(f"generated {arguments.events:,} events in {time.perf_counter() - started:.1f} s", flush=True)


def write_project(work):
    definitions = work / "definitions"
    shutil.rmtree(definitions, ignore_errors=True)
    definitions.mkdir(parents=True)
    for segment in SEGMENTS:
        (definitions / f"{segment}.json").write_text(json.dumps(definition(segment), indent=2))
    (work / "scheduler.toml").write_text(f"""
[store]
url = "out"
[engine]
memory_limit = "2GB"
[[tenants]]
id = "{TENANT}"
definitions = ["definitions/"]
as_of = "{AS_OF}"
[tenants.users]
source = "data/users.parquet"
key = "user_id"
[tenants.events]
source = "data/events/"
user_key = "user_id"
product_key = "product_id"
event_type = "event_type"
timestamp = "timestamp"
event_id = "event_id"
[tenants.products]
source = "data/products.parquet"
key = "product_id"
data = "data"
""")


def measure(command, log):
    """Seconds and peak bytes of a child."""
    with open(log, "wb") as output:
        started = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{Path(log).read_text()}")
    return seconds, usage.ru_maxrss * 1024


def duckdb_child(work):
    """Runs the queries one after another; keeps the members for the comparison after the clock was stopped."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": "2GB"})
    connection.execute("SET TimeZone = 'UTC'")
    data = work / "data"
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
