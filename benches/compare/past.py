#!/usr/bin/env python3
"""Compares a backfill of thirty daily instants with one of a single instant.

Usage: past.py [--binary target/release/segmenta] [--users N] [--events N] [--segments N] [--memory-limit SIZE] [--repeats N]

The segments of users among those of `segments.py`, over the same files, in processes of their own that take turns, each into an empty store.
The last instant is the same in both, and its figures must be too, or the script fails.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from project import ROOT, generate, measure, warm, write_project
from segments import SEGMENTS, definition
from workload import AS_OF


def main():
    arguments = parse_arguments()
    binary = arguments.binary.resolve()
    if not binary.exists():
        sys.exit(f"{binary} is missing: run `cargo build --release` first")
    data = generate(binary, arguments.users, arguments.events, arguments.days, arguments.products)
    warm(data)
    work = data.parent / "past"
    documents = [definition(segment) for segment in SEGMENTS]
    write_project(work, data, documents, memory_limit=arguments.memory_limit)
    names = [document["id"] for document in documents if document.get("subject", "user") == "user"][: arguments.segments]

    last = datetime.fromisoformat(AS_OF.replace("Z", "+00:00"))
    first = {1: last, arguments.instants: last - timedelta(days=arguments.instants - 1)}
    turns = {instants: [] for instants in first}
    figures = {}
    for turn in range(1, arguments.repeats + 1):
        for instants, since in first.items():
            shutil.rmtree(work / "out", ignore_errors=True)
            span = ["--from", since.isoformat(), "--to", last.isoformat(), "--step", "1d"]
            command = [binary, "backfill", *names, *span, *(["--snapshots"] if arguments.snapshots else [])]
            turns[instants].append(measure([*command, "--config", work / "scheduler.toml"], work / f"{instants}.log"))
            figures[instants] = last_counts(binary, work, len(names) * instants)
        print("turn", turn, ", ".join(f"{instants} instants {runs[-1][0]:.2f} s" for instants, runs in turns.items()), flush=True)
    if figures[1] != figures[arguments.instants]:
        sys.exit(f"the figures of {AS_OF} differ: {figures}")
    report(arguments, names, turns)


def last_counts(binary, work, expected):
    """The members of each segment at the last instant, as the history has them."""
    command = [binary, "history", "--kind", "backfill", "--config", work / "scheduler.toml", "--format", "json", "--quiet"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if len(rows) != expected:
        sys.exit(f"the history has {len(rows)} rows instead of {expected}")
    return {row["segment_id"]: row["member_count"] for row in rows if row["as_of"] == AS_OF}


def report(arguments, names, turns):
    print(
        f"\n{arguments.users:,} users, {arguments.events:,} events, {len(names)} segments, "
        f"limit {arguments.memory_limit or 'none'}, median of {arguments.repeats} turns"
    )
    medians = {instants: statistics.median(seconds for seconds, _ in runs) for instants, runs in turns.items()}
    for instants, runs in turns.items():
        print(f"{instants:3} instants  {medians[instants]:7.2f} s  peak {max(peak for _, peak in runs) / 1e6:6.0f} MB")
    print(f"ratio         {medians[arguments.instants] / medians[1]:7.2f}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/segmenta")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--segments", type=int, default=10)
    parser.add_argument("--instants", type=int, default=30)
    parser.add_argument("--memory-limit", default="2GB")
    parser.add_argument("--snapshots", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
