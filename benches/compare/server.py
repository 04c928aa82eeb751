"""A ClickHouse server to compare on: the engine of the package chdb behind the HTTP interface that the tests use, with the tables of a project.

A database holds the tables, another one what segmenta keeps; the second begins anew whenever a turn asks for an empty store.
"""

import json
import re
import shutil
import subprocess
import urllib.request

import project

TABLES, STORE = "tables", "segmenta"


class Server:
    """A server that runs while it is entered, and the configuration of a project for it."""

    def __init__(self, setting, work, memory_limit):
        self.setting, self.work, self.memory_limit = setting, work, memory_limit
        self.folder = setting.data.parent / "server-data"

    def __enter__(self):
        script = project.ROOT / "tests/clickhouse/serve.py"
        command = [self.setting.python, script, "--folder", self.folder]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://localhost:{int(self.child.stdout.readline())}"
        self.configure()
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()

    def configure(self):
        """Lets the project of the folder run on the server."""
        text = (self.work / "scheduler.toml").read_text()
        head = f'[engine]\nbackend = "clickhouse"\n[clickhouse]\nurl = "{self.url}"\ndatabase = "{STORE}"\nmemory_limit = "{self.memory_limit}"\n'
        text = re.sub(r"\A.*?(?=\[\[tenants\]\])", head, text, flags=re.DOTALL)
        text = re.sub(r"^(\[tenants\.\w+\])$", rf'\1\ndatabase = "{TABLES}"', text, flags=re.MULTILINE)
        (self.work / "scheduler.toml").write_text(text)

    def load(self):
        """Loads the tables, once per data; seconds, or None when they were there."""
        marker = self.folder / "loaded"
        if marker.exists():
            return None
        self.ask(f"CREATE DATABASE IF NOT EXISTS {TABLES}")
        seconds, _ = self.segmenta("clickhouse", "load", "--replace")
        marker.touch()
        return seconds

    def empty(self):
        """Forgets what segmenta keeps."""
        self.ask(f"DROP DATABASE IF EXISTS {STORE} SYNC")
        self.segmenta("clickhouse", "init")

    def segmenta(self, *arguments):
        """Seconds and peak bytes of the program."""
        return project.measure([self.setting.binary, *arguments, "--config", self.work / "scheduler.toml"], self.work / "segmenta.log")

    def ask(self, query):
        """The answer to a query, in bytes."""
        with urllib.request.urlopen(f"{self.url}/", data=query.encode()) as answer:
            return answer.read()

    def queries(self):
        """What every query so far took, in order."""
        with urllib.request.urlopen(f"{self.url}/log") as answer:
            return [json.loads(line) for line in answer]

    def export(self, segments, folder):
        """Writes the current members of segments, a file for each."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for segment in segments:
            rows = f"SELECT subject_id FROM {STORE}.segment_memberships WHERE segment_id = '{segment}' ORDER BY subject_id"
            (folder / f"{segment}.parquet").write_bytes(self.ask(f"{rows} FORMAT Parquet"))


def is_evaluation(entry):
    return re.match(r"INSERT INTO \S+segmenta_evaluations", entry["query"]) is not None
