#!/usr/bin/env python3
"""Serves the ClickHouse engine of the package chdb over HTTP, as far as tests need the interface of a server.

Usage: serve.py [--folder DIR] [--port N] [--user NAME --password WORD]

Prints the port on a line of its own once it listens, and ends with its standard input, so that no server outlives its tests.

- `GET /ping`.
- Queries from the URL, the body or the part `query` of a form; `param_*`, `database`, `default_format` and `query_id` from the URL or the
  form; whatever else stands in the URL is a setting of this query alone. Data of an INSERT comes as the body. One query runs at a time.
- Errors are status 500 with the text, and their code in the header `X-ClickHouse-Exception-Code`; wrong credentials are code 516.
- `GET /log` is what a server keeps in `system.query_log`: a JSON line for each query with what it read and how many bytes it answered.
"""

import argparse
import email.parser
import email.policy
import json
import os
import re
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

# What the URL says beside parameters and settings.
CONTROL = {"query", "query_id", "database", "default_format", "user", "password", "session_id", "role", "compress", "decompress", "wait_end_of_query", "buffer_size"}
INSERT_OF_DATA = re.compile(r"\A\s*INSERT\s+INTO\s+(.*?)\s+FORMAT\s+(\w+)\s*\Z", re.IGNORECASE | re.DOTALL)
CODE = re.compile(r"Code: (\d+)\.")


class Engine:
    """One session; queries wait for each other."""

    def __init__(self, folder, user, password):
        self.session = Session(folder)
        self.credentials = (user, password)
        self.lock = threading.Lock()
        self.log = []
        # The settings that are not the engine's own now.
        self.settings = {}
        self.rows = self.rows_so_far()

    def rows_so_far(self):
        """The rows that were read from tables since the engine began; its answers tell them for no INSERT."""
        return int(str(self.session.query("SELECT value FROM system.events WHERE event = 'SelectedRows'")) or 0)

    def run(self, query, options, data):
        """The answer in bytes, and what it took; raises what the engine raises."""
        parameters = {name.removeprefix("param_"): value for name, value in options.items() if name.startswith("param_")}
        settings = {name: value for name, value in options.items() if name not in CONTROL and not name.startswith("param_")}
        with self.lock, tempfile.NamedTemporaryFile() as file:
            insert = INSERT_OF_DATA.match(query)
            if insert and data:
                file.write(data)
                file.flush()
                query = f"INSERT INTO {insert[1]} FROM INFILE '{file.name}' FORMAT {insert[2]}"
            elif data:
                query = query + "\n" + data.decode() if query else data.decode()
            self.session.query(f"USE {quoted(options.get('database', 'default'))}")
            self.change(settings)
            return self.timed(query, options, parameters)

    def change(self, settings):
        """Makes these the only settings that are not the engine's own."""
        for name in [name for name in self.settings if name not in settings]:
            self.session.query(f"SET {quoted(name)} = DEFAULT")
            del self.settings[name]
        for name, value in settings.items():
            if self.settings.get(name) != value:
                self.session.query(f"SET {quoted(name)} = {literal(value)}")
                self.settings[name] = value

    def timed(self, query, options, parameters):
        entry = {"query_id": options.get("query_id", ""), "query": query, "result_bytes": 0, "read_rows": 0, "exception_code": 0}
        self.log.append(entry)
        began = time.monotonic()
        try:
            answer = self.session.query(query, options.get("default_format", "TabSeparated"), params=parameters)
            found, before = answer.bytes(), self.rows
            self.rows = self.rows_so_far()
            entry.update(result_bytes=len(found), read_rows=self.rows - before)
            return found, entry
        except Exception as error:
            entry["exception_code"] = code_of(str(error))
            raise
        finally:
            entry["query_duration_ms"] = round((time.monotonic() - began) * 1000)


def quoted(name):
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def code_of(text):
    found = CODE.search(text)
    return int(found[1]) if found else 1002


# What a server takes in one field of a form, unless the profile of a user says otherwise.
LONGEST_FIELD = 128 * 1024


def form(content_type, body):
    """The parts of a form by their names; those of one name are put together, as a server does with `query`."""
    header = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + body)
    parts = {}
    for part in message.iter_parts():
        value = part.get_payload(decode=True)
        if len(value) > LONGEST_FIELD:
            raise ValueError("Code: 1000. DB::Exception: HTML Form Exception: Field value too long. (POCO_EXCEPTION)")
        name = part.get_param("name", header="content-disposition")
        parts[name] = parts.get(name, b"") + value
    return parts


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def do_GET(self):
        if urlsplit(self.path).path == "/ping":
            return self.answer(200, b"Ok.\n")
        if urlsplit(self.path).path == "/log":
            lines = "".join(json.dumps(entry) + "\n" for entry in self.engine.log)
            return self.answer(200, lines.encode())
        return self.query(b"")

    def do_POST(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self.query(b"".join(self.chunks()))
        return self.query(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def query(self, body):
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            try:
                options |= {name: value.decode() for name, value in form(content_type, body).items()}
            except ValueError as error:
                return self.answer(400, str(error).encode(), {"X-ClickHouse-Exception-Code": "1000"})
            body = b""
        given = (
            self.headers.get("X-ClickHouse-User", options.get("user", "default")),
            self.headers.get("X-ClickHouse-Key", options.get("password", "")),
        )
        if given != self.engine.credentials:
            text = f"Code: 516. DB::Exception: {given[0]}: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)"
            return self.answer(403, text.encode(), {"X-ClickHouse-Exception-Code": "516"})
        try:
            found, entry = self.engine.run(options.get("query", ""), options, body)
        except Exception as error:
            return self.answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": str(code_of(str(error)))})
        elapsed = str(entry["query_duration_ms"] * 1_000_000)
        summary = {"read_rows": str(entry["read_rows"]), "result_bytes": str(entry["result_bytes"]), "elapsed_ns": elapsed}
        self.answer(200, found, {"X-ClickHouse-Summary": json.dumps(summary), "X-ClickHouse-Query-Id": entry["query_id"]})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: tests read what they ask for."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where databases are kept; a temporary one when left out")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    arguments = parser.parse_args()
    Handler.engine = Engine(arguments.folder, arguments.user, arguments.password)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    # The engine's own threads would keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
