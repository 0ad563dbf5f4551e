"""Servers and receivers are killed again and again: the trail arrives whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.receivers import eventually, free_port

from stead.adapters.store import Store
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2
PROGRAM = Path(__file__).parent / "programs" / "sending.py"
# Tests that kill programs run those unmeasured.
UNMEASURED = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}


class Otlp:
    """The receiver of tests.otlp_receiver, as a process of its own."""

    def __init__(self, folder, certificate):
        self.output, self.port = folder / "otlp", free_port()
        self.certificate = certificate
        self.start()

    def start(self):
        arguments = [str(self.port), *map(str, self.certificate), str(self.output)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.otlp_receiver", *arguments],
            cwd=ROOT,
            env=UNMEASURED,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._listens)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ids(self):
        lines = self.output.read_bytes().split(b"\n") if self.output.exists() else []
        return [told["log.record.uid"] for told in map(_json, lines) if told]

    def _listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _json(line):
    """Read a line, if a kill did not cut it off."""
    try:
        return json.loads(line)
    except ValueError:
        return None


@pytest.fixture
def otlp(tmp_path, certificate):
    made = Otlp(tmp_path, certificate)
    yield made
    made.kill()


@pytest.fixture
def store(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "notes.db"


@pytest.fixture
def sinks(rsyslog, otlp, authority):
    return {
        f"syslog+tls://localhost:{rsyslog.port}": f"?ca={authority.file}",
        f"otlp+https://localhost:{otlp.port}/v1/logs": f"?ca={authority.file}",
    }


def length(store):
    with Store.open(store) as opened:
        last = opened.ledger.last()
        return 0 if last is None else last.sequence


def cursors(store, names):
    with Store.open(store) as opened:
        reading = opened.open_for_sinks()
        return [reading.cursor(name).number for name in names]


def identities(store):
    with Store.open(store) as opened:
        domain = opened.accounts.domain()
        return [
            f"{domain}/{entry.sequence}/{entry.digest.hex()}"
            for entry in opened.ledger.entries()
        ]


@pytest.mark.slow
def test_nothing_is_lost_and_doubles_have_one_identity(store, sinks, rsyslog, otlp):
    urls = [name + options for name, options in sinks.items()]

    def unconfirmed():
        return len(rsyslog.received()) - cursors(store, sinks)[0]

    for number in range(ROUNDS):
        server = subprocess.Popen(
            [sys.executable, PROGRAM, store, *urls],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=UNMEASURED,
        )
        assert b"ready\n" == server.stdout.readline()
        before = cursors(store, sinks)

        def have_moved(before=before):
            return all(map(int.__lt__, before, cursors(store, sinks)))

        eventually(have_moved)
        receiver = (rsyslog, otlp)[number]
        while True:
            at = length(store)
            eventually(lambda: unconfirmed() > 5)
            receiver.kill()
            # The trail goes on, whoever is down.
            eventually(lambda at=at: length(store) > at + 100)
            # More has arrived than was acknowledged: it will be sent again.
            is_enough = receiver is otlp or unconfirmed() > 0
            receiver.start()
            if is_enough:
                break
        server.send_signal(signal.SIGKILL if number < ROUNDS - 1 else signal.SIGTERM)
        server.wait()
        server.stdout.close()
    whole = length(store)
    with ProtectedServer(
        "notes", store=store, enforcement=Enforcement.TOKEN, sinks=urls
    ):
        eventually(lambda: min(cursors(store, sinks)) >= whole)
    expected = identities(store)[:whole]
    assert whole > 200
    by_syslog = [message["data"]["id"] for message in rsyslog.received()]
    for ids in (by_syslog, otlp.ids()):
        assert set(expected) <= set(ids)
        assert set(ids) <= set(identities(store))
    # Sent again, as the kills made it: at least once is no promise of just once.
    assert len(by_syslog) > len(set(by_syslog))
