"""Whether engines agree on every member of every segment; run by the Python that has DuckDB: `agree.py OURS THEIRS...`.

Every argument is a folder with one Parquet file per segment, and the first is the one that the others are compared with. Prints a JSON
object: members in all, and each disagreement. A folder agrees when of every segment the count and two sums over hashes of ids are equal;
where they are not, the ids themselves are compared.
"""

import json
import sys
from pathlib import Path

import duckdb


def main():
    ours, *theirs = sys.argv[1:]
    expected, disagreements = digests(ours), []
    for folder in theirs:
        found = digests(folder)
        for segment in sorted(expected.keys() | found.keys()):
            if expected.get(segment) != found.get(segment):
                disagreements.append(difference(segment, ours, folder))
    print(json.dumps({"members": sum(digest[0] for digest in expected.values()), "disagreements": disagreements}))


def digests(folder):
    """Of each file its rows, two sums over its ids, and how often an id is not greater than the one before it."""
    result = {}
    for file in sorted(Path(folder).glob("*.parquet")):
        result[file.stem] = duckdb.execute(
            "SELECT count(*), sum(hash(id)), bit_xor(hash(id, 7)), count(*) FILTER (id <= before)"
            f" FROM (SELECT subject_id AS id, lag(subject_id) OVER () AS before FROM read_parquet('{file}'))"
        ).fetchall()[0]
    return result


def difference(segment, ours, folder):
    files = [Path(side) / f"{segment}.parquet" for side in (ours, folder)]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        return f"{segment}: {' and '.join(missing)} missing"
    one, other = (f"SELECT subject_id FROM read_parquet('{file}')" for file in files)
    count = lambda query: duckdb.sql(f"SELECT count(*) FROM ({query})").fetchall()[0][0]
    example = duckdb.sql(f"(({one}) EXCEPT ({other})) UNION ALL (({other}) EXCEPT ({one})) LIMIT 3").fetchall()
    return (
        f"{segment}: {count(one):,} in {files[0].parent}, {count(other):,} in {files[1].parent};"
        f" {count(f'{one} EXCEPT ALL {other}'):,} only in the first, {count(f'{other} EXCEPT ALL {one}'):,} only in the second,"
        f" such as {[row[0] for row in example]}; or one of them is not sorted"
    )


if __name__ == "__main__":
    main()
