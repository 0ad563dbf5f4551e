"""`make demo-domain`: what it claims is so, and it says when it is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

DEMO = Path(__file__).parents[2] / "demo" / "domain.py"

# It says of each request what would be right, and does nothing of it.
PRETENDER = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
said = json.loads(sys.stdin.readline())

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        name = self.path.strip("/")
        who = name.removesuffix("-q3")
        body = json.dumps({
            "client": f"{who}@AD.STEAD.TEST", "principal": f"{who}@AD.STEAD.TEST",
            "rows": [[who, name]],
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass

listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=listener.serve_forever, daemon=True).start()
print(json.dumps({"port": listener.server_port}), flush=True)
sys.stdin.read()
"""


def run(demo, **variables):
    return subprocess.run(
        [sys.executable, str(demo)], env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_it_shows_what_it_claims_and_leaves_nothing(tmp_path):
    done = run(DEMO, TMPDIR=str(tmp_path))
    assert 0 == done.returncode, done.stdout + done.stderr
    said = done.stdout
    assert "all of it held" in said
    assert "  NO " not in said
    assert 15 == sum(line.startswith("  yes  ") for line in said.splitlines())
    assert "delegated     success  client alice@AD.STEAD.TEST" in said
    assert [] == list(tmp_path.iterdir())


def test_a_server_that_only_pretends_is_found_out(tmp_path):
    demo = Path(shutil.copy(DEMO, tmp_path))
    demo.with_name("domain_front.py").write_text(PRETENDER, encoding="utf-8")
    done = run(demo)
    assert 1 == done.returncode
    assert "  yes  the database saw alice@AD.STEAD.TEST" in done.stdout
    assert "  NO   alice owns the file (None)" in done.stdout
    assert "  NO   alice owns the row" in done.stdout


def test_what_is_missing_is_said(tmp_path):
    done = run(DEMO, PATH=str(tmp_path))
    assert 1 == done.returncode
    assert "the program `curl` is missing: apt-get install curl" in done.stderr
