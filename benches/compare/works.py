"""The works: what is run in turn, what is compared with what, and what must agree."""

import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import one
import products
import project
import server
import workload as definitions
from kinds import KINDS, MEMBERSHIPS_PER_USER, load
from workload import TENANT

HERE = Path(__file__).resolve().parent
SEGMENTA = "segmenta"


@dataclass
class Contestant:
    """One who takes turns, and what each turn came to."""

    name: str
    note: str = ""
    # Whether it takes part in the first turn only: far from the best of its kind, and only its members are of interest.
    once: bool = False
    processes: list = field(default_factory=list)
    insides: list = field(default_factory=list)
    peaks: list = field(default_factory=list)

    @property
    def process(self):
        return statistics.median(self.processes)

    @property
    def inside(self):
        return statistics.median(self.insides) if self.insides else None

    @property
    def strict(self):
        """What counts against segmenta: the time inside where there is one."""
        return self.inside if self.insides else self.process

    @property
    def peak(self):
        return max(self.peaks)


@dataclass
class Result:
    """What a work came to: a row for each contestant, ratios as (what, value), and lines of facts."""

    title: str
    contestants: list
    ratios: list = field(default_factory=list)
    facts: list = field(default_factory=list)
    disagreements: list = field(default_factory=list)


def take_turns(setting, runs):
    """Each of the runs, (contestant, function), in every turn that it takes part in; a function gives seconds, those inside or None, and peak bytes."""
    for turn in range(1, setting.repeats + 1):
        line = []
        for contestant, run in runs:
            if contestant.once and turn > 1:
                continue
            seconds, inside, peak = run()
            contestant.processes.append(seconds)
            contestant.peaks.append(peak)
            if inside is not None:
                contestant.insides.append(inside)
            line.append(f"{contestant.name} {seconds:.2f}" + (f" ({inside:.2f} inside)" if inside is not None else ""))
        print(f"turn {turn}: " + ", ".join(line), flush=True)


def refresh(setting, work, *, fresh):
    """A function that refreshes every segment of a project: into an empty store, or over what the last run left."""
    def run():
        if fresh:
            shutil.rmtree(work / "out", ignore_errors=True)
        command = [setting.binary, "refresh", "--all", "--config", work / "scheduler.toml", "-v"]
        seconds, peak = project.measure(command, work / "segmenta.log")
        return seconds, None, peak

    return run


def peer(setting, work, way):
    """A function that lets a peer do its way of the work, into a folder of its own."""
    def run():
        out = work / way
        shutil.rmtree(out, ignore_errors=True)
        seconds, peak = project.measure([setting.python, HERE / "peers.py", way, setting.data, work, out], work / f"{way}.log")
        return seconds, json.loads((out / "inside.json").read_text())["seconds"], peak

    return run


def agree(setting, ours, *theirs):
    """Members in all of the first folder, and where the other folders differ from it."""
    output = subprocess.run([setting.python, HERE / "agree.py", ours, *theirs], check=True, capture_output=True, text=True).stdout
    answer = json.loads(output)
    return answer["members"], answer["disagreements"]


def members_of(work):
    return work / f"out/memberships/{TENANT}"


def prepare(setting, name, data=None, folder=None, memory_limit=None):
    """The project of `hundred` or `thousand`, its values calibrated once per data."""
    work = setting.data.parent / name
    work.mkdir(exist_ok=True)
    kind = KINDS[name]
    # Values are those of these features and segments: another workload is calibrated anew.
    open_workload = definitions.workload(kind.segments, kind.features)
    if (work / "workload.txt").exists() and (work / "workload.txt").read_text() != repr(open_workload):
        (work / "values.json").unlink(missing_ok=True)
    if not (work / "values.json").exists():
        print(f"calibrating {name} ...", flush=True)
        peer(setting, work, "calibration")()
        (work / "workload.txt").write_text(repr(open_workload))
    workload, _ = load(open_workload, work / "values.json")
    documents = [definitions.definition(segment, node, workload.features) for segment, node in workload.segments.items()]
    target = folder or work
    target.mkdir(exist_ok=True)
    project.write_project(target, data or setting.data, documents, memory_limit)
    return target


def hundred(setting):
    work = prepare(setting, "hundred")
    ours = Contestant(SEGMENTA, "whole process, snapshots, changes and history written")
    ways = {
        "duckdb-each": ("duckdb", Contestant("DuckDB, a query per segment", "a file per segment", once=True)),
        "duckdb-once": ("duckdb", Contestant("DuckDB, one query", "a file per segment", once=True)),
        "duckdb-by-type": ("duckdb", Contestant("DuckDB, by hand per event type", "a file per segment")),
        "duckdb-floor": ("duckdb", Contestant("DuckDB, bare GROUP BY", "nothing written")),
        "clickhouse": ("clickhouse", Contestant("ClickHouse, one query", "a file per segment", once=True)),
        "polars": ("polars", Contestant("Polars, lazy, collected once", "a file per segment", once=True)),
    }
    ways = {way: contestant for way, (peer_name, contestant) in ways.items() if peer_name in setting.peers}
    take_turns(setting, [(ours, refresh(setting, work, fresh=True))] + [(who, peer(setting, work, way)) for way, who in ways.items()])
    written = [way for way in ways if not way.endswith("floor")]
    total, disagreements = agree(setting, members_of(work), *(work / way for way in written))
    result = Result("100 segments, 100 event features", [ours, *ways.values()], disagreements=disagreements)
    result.facts = [f"{total:,} memberships"]
    if "duckdb-each" in ways:
        best = min((ways[way] for way in ways if way.startswith("duckdb") and not way.endswith("floor")), key=lambda way: way.strict)
        result.ratios.append((f"segmenta / best of DuckDB's three ways ({best.name})", ours.process / best.strict))
        result.ratios.append(("segmenta / DuckDB's bare GROUP BY", ours.process / ways["duckdb-floor"].strict))
    return result


def thousand(setting):
    small, large = prepare(setting, "hundred"), prepare(setting, "thousand")
    base = Contestant(f"{SEGMENTA}, 100 segments", "first run")
    first = Contestant(f"{SEGMENTA}, 1,000 segments", "first run")
    second = Contestant(f"{SEGMENTA}, 1,000 segments, again", "nothing changed")
    take_turns(setting, [
        (base, refresh(setting, small, fresh=True)),
        (first, refresh(setting, large, fresh=True)),
        (second, refresh(setting, large, fresh=False)),
    ])
    judge = Contestant("DuckDB, by hand per event type", "once, to compare members")
    judge.processes, judge.insides, judge.peaks = ([figure] for figure in peer(setting, large, "duckdb-by-type")())
    total, disagreements = agree(setting, members_of(large), large / "duckdb-by-type")
    return Result(
        "1,000 segments, 500 event features",
        [base, first, second, judge],
        [
            ("first run of 1,000 / 100 segments", first.process / base.process),
            ("second run of 1,000, nothing changed / 100 segments", second.process / base.process),
        ],
        [f"{total:,} memberships of the 1,000"],
        disagreements,
    )


def one_segment(setting):
    work = setting.data.parent / "one"
    work.mkdir(exist_ok=True)
    project.write_project(work, setting.data, [one.DEFINITION])
    preview = [setting.binary, "preview", one.SEGMENT, "--config", work / "scheduler.toml", "--format", "json", "--quiet"]

    def ours_once():
        seconds, peak = project.measure(preview, work / "segmenta.log")
        return seconds, None, peak

    ours, theirs = Contestant(f"{SEGMENTA} preview", "whole process"), Contestant("DuckDB, its own query", "counts the members")
    take_turns(setting, [(ours, ours_once), (theirs, peer(setting, work, "duckdb-one"))])
    peer(setting, work, "duckdb-one-members")()
    previewed = json.loads(subprocess.run([*preview, "--sample", "all"], check=True, capture_output=True, text=True).stdout)
    sampled = {row["subject_id"] for row in previewed["sample"]}
    program = "import duckdb, json, sys; print(json.dumps([row[0] for row in duckdb.sql(f\"SELECT subject_id FROM '{sys.argv[1]}'\").fetchall()]))"
    output = subprocess.run([setting.python, "-c", program, work / "duckdb-one-members/one.parquet"], check=True, capture_output=True, text=True)
    expected = set(json.loads(output.stdout))
    result = Result("One segment, previewed", [ours, theirs])
    result.ratios = [("segmenta / DuckDB", ours.process / theirs.strict)]
    result.facts = [f"{len(sampled):,} members"]
    if sampled != expected:
        result.disagreements = [f"one: {len(sampled - expected):,} only in segmenta, {len(expected - sampled):,} only in DuckDB"]
    return result


def product_segments(setting):
    work = setting.data.parent / "products"
    work.mkdir(exist_ok=True)
    segments = products.segments()
    project.write_project(work, setting.data, [products.definition(name, conditions) for name, conditions in segments.items()])
    ours = Contestant(SEGMENTA, "whole process, snapshots, changes and history written")
    ways = {
        "duckdb-products-each": Contestant("DuckDB, a query per segment", "members in temporary tables"),
        "duckdb-products-each-written": Contestant("DuckDB, a query per segment", "a file per segment", once=True),
        "duckdb-products-once-written": Contestant("DuckDB, JSON taken apart once", "a file per segment"),
    }
    take_turns(setting, [(ours, refresh(setting, work, fresh=True))] + [(who, peer(setting, work, way)) for way, who in ways.items()])
    total, disagreements = agree(setting, members_of(work), *(work / way for way in ways if way.endswith("written")))
    result = Result(f"100 product segments over {setting.products:,} products", [ours, *ways.values()], disagreements=disagreements)
    result.ratios = [(f"segmenta / {who.name}, {who.note}", ours.process / who.strict) for who in ways.values()]
    result.facts = [f"{total:,} memberships"]
    return result


def memory(setting):
    limit = "1GiB"
    free, limited = prepare(setting, "hundred"), prepare(setting, "hundred", folder=setting.data.parent / "memory", memory_limit=limit)
    without, within = Contestant(f"{SEGMENTA}, no limit"), Contestant(f"{SEGMENTA}, limited", f"memory_limit = {limit}")
    take_turns(setting, [(without, refresh(setting, free, fresh=True)), (within, refresh(setting, limited, fresh=True))])
    _, disagreements = agree(setting, members_of(free), members_of(limited))
    ratios = [("with the limit / without", within.process / without.process)]
    return Result("100 segments within 1 GiB", [without, within], ratios, [], disagreements)


def growth(setting):
    factor, limit = 10, "8GiB"
    sizes = (setting.users * factor, setting.events * factor, setting.days, setting.products)
    large_data = project.generate(setting.binary, *sizes)
    project.warm(large_data)
    small = prepare(setting, "hundred", folder=setting.data.parent / "growth", memory_limit=limit)
    large = prepare(setting, "hundred", large_data, large_data.parent / "growth", limit)
    base = Contestant(f"{SEGMENTA}, {setting.users:,} users, {setting.events:,} events", f"memory_limit = {limit}")
    grown = Contestant(f"{SEGMENTA}, {sizes[0]:,} users, {sizes[1]:,} events", f"memory_limit = {limit}")
    take_turns(setting, [(base, refresh(setting, small, fresh=True)), (grown, refresh(setting, large, fresh=True))])
    ratios = [("ten times the users and events / once", grown.process / base.process)]
    facts = [f"{files_of(members_of(large)) / 1e6:,.0f} MB of snapshots at ten times the size"]
    return Result("Growth, 100 segments", [base, grown], ratios, facts)


def writing(setting):
    """Two sets of definitions under the same ids, of which no member of the one is a member of the other; each turn changes over."""
    work = setting.data.parent / "writing"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    share = MEMBERSHIPS_PER_USER
    first = [sampled(number, 0, share) for number in range(100)]
    second = [sampled(number, share, 2 * share) for number in range(100)]
    upcoming, written = iter([second, first] * setting.repeats), []

    def changed():
        project.write_project(work, setting.data, next(upcoming))
        seconds, inside, peak = refresh(setting, work, fresh=False)()
        written.append(seconds - evaluation(work / "segmenta.log"))
        return seconds, inside, peak

    project.write_project(work, setting.data, first)
    refresh(setting, work, fresh=True)()
    everything = Contestant(f"{SEGMENTA}, all changed", "snapshots, entries, exits and history written")
    nothing = Contestant(f"{SEGMENTA}, nothing changed", "the same evaluation, history written")
    copied = Contestant("DuckDB, COPY from tables in memory", "a file per segment; inside is COPY alone")
    take_turns(setting, [
        (everything, changed),
        (nothing, refresh(setting, work, fresh=False)),
        (copied, peer(setting, work, "duckdb-copy")),
    ])
    total, disagreements = agree(setting, members_of(work), work / "duckdb-copy")
    result = Result("Writing 100 changed snapshots", [everything, nothing, copied], disagreements=disagreements)
    result.ratios = [
        ("segmenta, whole process / DuckDB's COPY", everything.process / copied.strict),
        ("segmenta, all but its evaluation / DuckDB's COPY", statistics.median(written) / copied.strict),
    ]
    ours_bytes, theirs_bytes = files_of(members_of(work)), files_of(work / "duckdb-copy")
    result.facts = [
        f"{total:,} memberships, {total * 2:,} changes",
        f"segmenta's snapshots {ours_bytes / 1e6:,.0f} MB: {rate(ours_bytes, total, statistics.median(written))} of all but its evaluation",
        f"DuckDB's files {theirs_bytes / 1e6:,.0f} MB: {rate(theirs_bytes, total, copied.strict)}",
    ]
    return result


def evaluation(log):
    """Seconds of a verbose run until members were known, which is no writing."""
    found = re.search(r"evaluate, from scan to members: (\d+) ms", log.read_text())
    return int(found[1]) / 1000


def sampled(number, low, high):
    """The users whose share of a sample lies from `low` to `high` percent: disjoint ranges are disjoint members."""
    def below(percent):
        return {"type": "sample", "percent": percent, "salt": f"writing-{number}"}

    conditions = [below(high)] + ([{"not": below(low)}] if low else [])
    return {"id": f"w{number:03}", "logic": "and", "conditions": conditions}


def on_server(setting):
    """The segments of `hundred` on a ClickHouse server: one after the other, and all at once."""
    limit = "8GiB"
    local = prepare(setting, "hundred")
    work = prepare(setting, "hundred", folder=setting.data.parent / "server")
    segments = sorted(file.stem for file in (work / "definitions").glob("*.json"))
    one = Contestant(f"{SEGMENTA}, one by one", "100 processes into an empty store; inside are their evaluations")
    batch = Contestant(f"{SEGMENTA}, all at once", "one process into an empty store; inside is its evaluation")
    rows = {}
    with server.Server(setting, work, limit) as served:
        loaded = served.load()

        def turn(contestant, commands):
            def run():
                served.empty()
                before = len(served.queries())
                runs = [served.segmenta("refresh", *command) for command in commands]
                evaluations = [entry for entry in served.queries()[before:] if server.is_evaluation(entry)]
                rows[contestant.name] = sum(entry["read_rows"] for entry in evaluations)
                inside = sum(entry["query_duration_ms"] for entry in evaluations) / 1000
                return sum(seconds for seconds, _ in runs), inside, max(peak for _, peak in runs)

            return contestant, run

        take_turns(setting, [turn(one, [[segment] for segment in segments]), turn(batch, [["--all"]])])
        served.export(segments, work / "members")
    refresh(setting, local, fresh=True)()
    total, disagreements = agree(setting, members_of(local), work / "members")
    result = Result("100 segments on a ClickHouse server", [one, batch], disagreements=disagreements)
    result.ratios = [
        ("evaluation, all at once / one by one", batch.inside / one.inside),
        ("whole processes, all at once / one by one", batch.process / one.process),
        ("rows read, all at once / events in the table", rows[batch.name] / setting.events),
        ("rows read, one by one / events in the table", rows[one.name] / setting.events),
    ]
    result.facts = [f"{total:,} memberships, the same as on files", f"`memory_limit = {limit}`"]
    result.facts += [f"`clickhouse load` took {loaded:.0f} s"] if loaded else []
    return result


def files_of(folder):
    """Bytes of the Parquet files of a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.parquet"))


def rate(size, rows, seconds):
    return f"{size / 1e6 / seconds:,.0f} MB/s, {rows / 1e6 / seconds:,.1f} million rows/s"


WORKS = {
    "hundred": hundred,
    "thousand": thousand,
    "one": one_segment,
    "products": product_segments,
    "memory": memory,
    "writing": writing,
    "growth": growth,
    "server": on_server,
}
DEFAULT = tuple(name for name in WORKS if name not in ("growth", "server"))


if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed")
