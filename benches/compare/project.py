"""What a comparison stands on: the Python that has the peers, the generated data, a project of segmenta, and a measured child."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from workload import AS_OF, TENANT

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("duckdb", "chdb", "polars")


def install_peers(peers=PEERS):
    """A Python that can import the peers, below target/; installs what is missing from PyPI."""
    folder = ROOT / "target/python"
    python = folder / "bin/python3"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for peer in peers:
        if subprocess.run([python, "-c", f"import {peer}"], capture_output=True).returncode != 0:
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer], check=True)
    return python


def generate(binary, users, events, days, products):
    """The folder of generated tables, made once; the same options give the same bytes."""
    data = ROOT / f"target/compare/{users}-{events}-{products}/data"
    if not (data / "complete").exists():
        shutil.rmtree(data, ignore_errors=True)
        options = {"users": users, "events": events, "days": days, "products": products, "seed": 7}
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        seconds, peak = measure([binary, "generate", *flags, "--out", data, "--quiet"], data.parent / "generate.log")
        (data / "complete").touch()
        print(f"generated {events:,} events in {seconds:.1f} s, peak {peak / 1e6:.0f} MB", flush=True)
    return data


def warm(data):
    """Reads every file once, so that the first turn finds them in the page cache as the others do."""
    for file in sorted(data.rglob("*.parquet")):
        with open(file, "rb") as opened:
            while opened.read(1 << 24):
                pass


def write_project(work, data, documents, memory_limit=None):
    """A folder with definitions and a configuration over the data."""
    definitions = work / "definitions"
    shutil.rmtree(definitions, ignore_errors=True)
    definitions.mkdir(parents=True)
    for document in documents:
        (definitions / f"{document['id']}.json").write_text(json.dumps(document, indent=2))
    engine = f'[engine]\nmemory_limit = "{memory_limit}"\n' if memory_limit else ""
    (work / "scheduler.toml").write_text(f"""[store]
url = "out"
{engine}[[tenants]]
id = "{TENANT}"
definitions = ["definitions/"]
as_of = "{AS_OF}"
[tenants.users]
source = "{data}/users.parquet"
key = "user_id"
[tenants.events]
source = "{data}/events/"
user_key = "user_id"
product_key = "product_id"
event_type = "event_type"
timestamp = "timestamp"
event_id = "event_id"
[tenants.products]
source = "{data}/products.parquet"
key = "product_id"
data = "data"
""")


def measure(command, log):
    """Seconds and peak bytes of a child, from before it starts until it has ended; what it prints goes to the log."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as output:
        started = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(str(part) for part in command)} failed:\n{Path(log).read_text()[-4000:]}")
    return seconds, usage.ru_maxrss * 1024
