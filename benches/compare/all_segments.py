#!/usr/bin/env python3
"""Compares segmenta with DuckDB, ClickHouse and Polars on whole sets of segments, and prints the tables of docs/performance.md.

Usage: all_segments.py [WORK...] [--binary target/release/segmenta] [--users N] [--events N] [--products N] [--repeats N]

Works: hundred, thousand, one, products, memory, writing, growth, server; all but the last two when none is named. Every engine is a process of its
own; they take turns; the time of segmenta is that of its whole process. Members must agree, or the script fails.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import project
import report
import works


@dataclass(frozen=True)
class Setting:
    """What all works of a run share."""

    binary: Path
    python: Path
    data: Path
    users: int
    events: int
    days: int
    products: int
    repeats: int
    peers: tuple


def main():
    arguments = parse_arguments()
    binary = arguments.binary.resolve()
    if not binary.exists():
        sys.exit(f"{binary} is missing: run `cargo build --release` first")
    python = project.install_peers()
    sizes = (arguments.users, arguments.events, arguments.days, arguments.products)
    data = project.generate(binary, *sizes)
    project.warm(data)
    peers = () if arguments.peers == "none" else tuple(arguments.peers.split(","))
    setting = Setting(binary, python, data, *sizes, arguments.repeats, peers)

    # What is printed while it goes on is repeated at the end as one document, and kept beside the data work by work.
    document, disagreements = report.heading(setting), []
    kept = data.parent / "report.md"
    for name in arguments.works or works.DEFAULT:
        print(f"== {name}", flush=True)
        result = works.WORKS[name](setting)
        for line in result.disagreements:
            print(f"DISAGREEMENT {line}", flush=True)
        disagreements += result.disagreements
        document += "\n" + report.table(result)
        kept.write_text(document)
    print(f"\n{document}")
    if disagreements:
        sys.exit(f"members differ in {len(disagreements)} places, see above")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=", ".join(works.WORKS))
    parser.add_argument("--binary", type=Path, default=project.ROOT / "target/release/segmenta")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--products", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5, help="turns, of which the median counts")
    parser.add_argument("--peers", default="duckdb,clickhouse,polars", help="which peers take part in `hundred`, or `none`")
    arguments = parser.parse_args()
    for name in arguments.works:
        if name not in works.WORKS:
            parser.error(f"`{name}` is no work; there are {', '.join(works.WORKS)}")
    return arguments


if __name__ == "__main__":
    main()
