"""What the works came to, as the Markdown that stands in docs/performance.md."""

import os
import subprocess


def table(result):
    """The table of one work with its ratios."""
    lines = [f"### {result.title}", ""]
    if result.facts:
        lines += ["; ".join(result.facts) + "; medians of the turns.", ""]
    lines += ["| | what it does | turns | process, s | inside, s | peak memory, GB |", "|---|---|---|---|---|---|"]
    for row in result.contestants:
        inside = "" if row.inside is None else f"{row.inside:.2f}"
        lines.append(f"| {row.name} | {row.note} | {len(row.processes)} | {row.process:.2f} | {inside} | {row.peak / 1e9:.2f} |")
    lines += ["", "| ratio | |", "|---|---|"] if result.ratios else []
    lines += [f"| {name} | {value:.2f} |" for name, value in result.ratios]
    return "\n".join(lines) + "\n"


def heading(setting):
    """What was measured, on and with what."""
    size = f"{setting.users:,} users, {setting.events:,} events over {setting.days} days, {setting.products:,} products"
    return f"{size}; {machine()}; {versions(setting)}.\n"


def machine():
    """Cores, model and memory."""
    model, kilobytes = "unknown processor", 0
    with open("/proc/cpuinfo") as opened:
        for line in opened:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo") as opened:
        kilobytes = int(opened.readline().split()[1])
    return f"{os.cpu_count()} cores of {model}, {kilobytes / 2**20:.1f} GiB of memory"


def versions(setting):
    """segmenta's own and those of the peers."""
    ours = subprocess.run([setting.binary, "--version"], capture_output=True, text=True).stdout.strip().splitlines()[0]
    program = "import importlib.metadata as m; print(', '.join(f'{n} {m.version(p)}' for n, p in (('DuckDB', 'duckdb'), ('chdb', 'chdb'), ('Polars', 'polars'))))"
    theirs = subprocess.run([setting.python, "-c", program], capture_output=True, text=True).stdout.strip()
    return f"{ours}, {theirs}"
