"""A program that forgets to close its server, and ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys

from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent

PROGRAM = """
import atexit, os, sys
from stead import Enforcement, ProtectedServer

server = ProtectedServer("notes", sys.argv[1], enforcement=Enforcement.TOKEN)
server.accounts.add("alice")
alice = server.client_for("alice", authenticated_by="test")
if sys.argv[2] == "naive":
    atexit._clear()
if os.fork() == 0:
    sys.exit(0)  # the fork's end is not the server's
os.wait()
held = alice.impersonate().__enter__()  # and whoever is left in force ends nothing
with alice.impersonate():
    sys.exit(3)
"""
ENDS = (AuditEvent.LOGOFF, AuditEvent.TRAIL_STOPPED)


def test_the_last_ends_are_in_the_trail_of_a_server_that_is_not_closed(
    open_server, tmp_path
):
    tmp_path.chmod(0o700)
    told = {}
    for which in ("naive", "ours"):
        store = tmp_path / f"{which}.db"
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(store), which],
            env={k: v for k, v in os.environ.items() if "COVERAGE" not in k},
            timeout=60,
            check=False,
        )
        assert 3 == ran.returncode
        events = [r.event for _, r in open_server(store=store).trail.find(Query())]
        told[which] = [events.count(event) for event in ENDS]
    assert {"naive": [0, 0], "ours": [1, 1]} == told
