"""A server and its witness: handed over, down, back, killed, and in disagreement."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from stead.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from stead.adapters.store import Store
from stead.adapters.witness_files import LeafFile, WitnessFolder
from stead.adapters.witness_service import WitnessService
from stead.errors import (
    InvalidCheckpointError,
    InvalidRequestError,
    LedgerUnavailableError,
    WitnessDisagreesError,
)
from stead.ledger.checkpoint import signed_checkpoint
from stead.ledger.query import Query
from stead.ledger.segments import SegmentPolicy
from stead.ledger.witness import Witness
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.server.trail_archive import RetentionPolicy, TrailArchive

SIGNER = Ed25519Signer("witness", bytes(range(32)))
VERIFIER = Ed25519Verifier(SIGNER.key)


class Running:
    """A witness on a socket, which a test can end and start again."""

    def __init__(self, folder):
        self.path = folder / "witness.sock"
        self.state = folder / "witness"
        self.reports = []
        self._service = None

    def start(self):
        self._folder = WitnessFolder(self.state)
        witness = Witness(self._folder, SIGNER, VERIFIER, self.reports.append)
        self._service = WitnessService(witness, self.reports.append)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._service.listen, args=(self.path, (), ready.set)
        )
        self._thread.start()
        assert ready.wait(30)

    def stop(self):
        if self._service is not None:
            self._service.stop()
            self._thread.join(30)
            self._folder.close()
            self._service = None


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def witness(folder):
    running = Running(folder)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def settings(folder, witness):
    return {
        "store": folder / "store.db",
        "enforcement": Enforcement.TOKEN,
        "witness": witness.path,
        "witness_key": str(SIGNER.key),
        "witness_seconds": 0.02,
    }


def _until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _said(server):
    query = Query(event=AuditEvent.WITNESS_REPORTED)
    return [record for _, record in server.trail.find(query)]


def test_what_is_recorded_is_witnessed_soon_and_at_the_end(settings, witness):
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("alice")
        size = server.trail.verify().count
        _until(lambda: server.trail.standing().witnessed >= size)
        report = server.trail.examine(VERIFIER)
        assert report.fault is None
        assert report.vouched.size >= size
        assert [] == _said(server)
    with Store.open(settings["store"]) as store:
        kept = store.evidence.last_checkpoint()
        assert kept.tree == store.evidence.tree()
        origin = f"stead/{store.accounts.domain()}"
        assert kept.tree.size == signed_checkpoint(kept.note, VERIFIER, origin).size
    file = LeafFile(witness.state)
    assert kept.tree.size == file.count()
    file.close()


def test_a_witness_that_is_down_is_said_once_holds_up_nothing_and_is_made_up_for(
    settings, witness, caplog
):
    with (
        caplog.at_level(logging.WARNING, "stead.trail"),
        ProtectedServer("notes", **settings) as server,
    ):
        witness.stop()
        server.accounts.add("alice")
        _until(lambda: len(_said(server)) == 1)
        server.accounts.add("bob")
        size = server.trail.verify().count
        witness.start()
        _until(lambda: server.trail.standing().witnessed >= size)
        _until(lambda: len(_said(server)) == 2)
        down, back = _said(server)
    assert (1722, 0) == (down.status, back.status)
    assert "does not answer" in down.detail["says"]
    assert "the witness is back" == back.detail["says"]
    assert 2 == len(caplog.records)


def test_a_server_starts_without_its_witness_and_says_so(settings, witness):
    witness.stop()
    with ProtectedServer("notes", **settings) as server:
        assert 1 == len(_said(server))
        assert 0 == server.trail.standing().witnessed


def _with_an_old_copy(settings, folder):
    """Run a server twice, and put back the store as it was between."""
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("alice")
    copy = folder / "copy.db"
    shutil.copy(settings["store"], copy)
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("bob")
    shutil.copy(copy, settings["store"])


def test_a_server_with_an_old_copy_of_its_store_does_not_start(
    settings, folder, caplog
):
    _with_an_old_copy(settings, folder)
    with pytest.raises(WitnessDisagreesError, match="the witness disagrees"):
        ProtectedServer("notes", **settings)
    assert "CRITICAL" in {record.levelname for record in caplog.records}
    # What it found is in the trail, for whoever looks.
    bare = {"store": settings["store"], "enforcement": Enforcement.TOKEN}
    with ProtectedServer("notes", **bare) as server:
        assert [1392] == [record.status for record in _said(server)]


def test_by_policy_it_goes_on_and_has_said_so(settings, folder):
    _with_an_old_copy(settings, folder)
    with ProtectedServer("notes", **settings, witness_halts=False) as server:
        server.accounts.add("carol")
        assert [1392] == [record.status for record in _said(server)]


def test_a_store_that_is_swapped_below_a_running_server_stops_it(settings, folder):
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("alice")
        size = server.trail.verify().count
        _until(lambda: server.trail.standing().witnessed >= size)
        # Somebody takes the end of the trail away, and its tree with it.
        with sqlite3.connect(settings["store"]) as connection:
            connection.execute("DELETE FROM entry WHERE sequence > 3")
            connection.execute("UPDATE tree SET edge = zeroblob(8)")
        connection.close()

        def work():
            for at in range(1000):
                server.accounts.add(f"user {at}")
                time.sleep(0.01)

        with pytest.raises(LedgerUnavailableError, match="nothing is done any more"):
            work()


def test_segments_are_sealed_where_the_witness_has_signed(settings):
    policy = SegmentPolicy(records=5)
    with ProtectedServer("notes", **settings, segments=policy) as server:
        for name in ("alice", "bob", "carol"):
            server.accounts.add(name)
        _until(lambda: server.trail.standing().segments >= 2)
        assert server.trail.examine(VERIFIER).fault is None
    with Store.open(settings["store"]) as store:
        for seal in store.evidence.seals():
            origin = f"stead/{store.accounts.domain()}"
            signed = signed_checkpoint(seal.note, VERIFIER, origin)
            assert (signed.size, signed.root) == (seal.last, seal.tree.root())


def _cleared(settings, folder, *, without_witness):
    """Seal, archive and remove all that may go, as a verb without a witness does."""
    bare = {"store": settings["store"], "enforcement": Enforcement.TOKEN}
    with ProtectedServer("notes", **bare) as server:
        name = f"archivist {time.time_ns()}"
        server.accounts.add(name)
        server.accounts.add_member("Administrators", name)
        server.accounts.grant(name, Privilege.SECURITY)
        with server.client_for(name, authenticated_by="test") as client:
            archivist = TrailArchive(
                server.trail_for(client), time.time_ns, without_witness
            )
            archivist.seal()
            archivist.archive(folder)
            return archivist.clear(RetentionPolicy())


def test_what_a_witness_that_never_answered_has_not_signed_is_not_removed(
    settings, witness, folder
):
    witness.stop()
    policy = SegmentPolicy(records=1)
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("alice")
    bare = {"store": settings["store"], "enforcement": Enforcement.TOKEN}
    with ProtectedServer("notes", **bare, segments=policy) as server:
        assert 1 == server.trail.standing().segments
    assert () == _cleared(settings, folder, without_witness=False)
    witness.start()
    with ProtectedServer("notes", **settings) as server:
        size = server.trail.verify().count
        _until(lambda: server.trail.standing().witnessed >= size)
        assert 0 == server.trail.standing().removed
    assert [] == witness.reports
    # By now it has signed, and what it has may go.
    assert () != _cleared(settings, folder, without_witness=False)


def test_a_trail_whose_witness_is_given_up_can_be_removed(settings, witness, folder):
    witness.stop()
    with ProtectedServer("notes", **settings) as server:
        server.accounts.add("alice")
    assert () != _cleared(settings, folder, without_witness=True)
    bare = {"store": settings["store"], "enforcement": Enforcement.TOKEN}
    with ProtectedServer("notes", **bare) as server:
        assert None is server.trail.examine().fault
        query = Query(event=AuditEvent.TRAIL_CLEARED)
        (record,) = [record for _, record in server.trail.find(query)]
    assert "yes" == record.detail["without witness"]


def test_servers_of_one_store_have_one_witness(settings, witness):
    with (
        ProtectedServer("notes", **settings) as one,
        ProtectedServer("notes", **settings) as other,
    ):
        for number in range(10):
            one.accounts.add(f"one {number}")
            other.accounts.add(f"other {number}")
        size = one.trail.verify().count
        for server in (one, other):
            _until(lambda server=server: server.trail.standing().witnessed >= size)
            assert [] == _said(server)
        assert None is one.trail.examine(VERIFIER).fault
    assert [] == witness.reports


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"witness": "/w"}, InvalidRequestError),
        ({"witness_key": str(SIGNER.key)}, InvalidRequestError),
        ({"witness": "/w", "witness_key": "x"}, InvalidCheckpointError),
        (
            {"witness": "/w", "witness_key": str(SIGNER.key), "witness_seconds": 0},
            InvalidRequestError,
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, error):
    with pytest.raises(error):
        ProtectedServer("notes", enforcement=Enforcement.TOKEN, **options)


PROGRAM = """
import sys, threading
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.server.trail_archive import RetentionPolicy, TrailArchive

store, path, key = sys.argv[1:]
server = ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN,
                         witness=path, witness_key=key, witness_seconds=0.01)
print("ready", flush=True)
number = 0
while True:
    server.accounts.add(f"user {number} of {id(server)}")
    number += 1
"""


@pytest.mark.slow
def test_a_server_that_is_killed_amid_handing_over_goes_on(settings, witness):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COVERAGE_")
    }
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, settings["store"], witness.path,
             str(SIGNER.key)],
            stdout=subprocess.PIPE,
            env=environment,
        )  # fmt: skip
        with process:
            assert b"ready\n" == process.stdout.readline()
            time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
    with ProtectedServer("notes", **settings) as server:
        size = server.trail.verify().count
        _until(lambda: server.trail.standing().witnessed >= size)
        leaves = LeafFile(witness.state)
        report = server.trail.examine(VERIFIER, leaves=leaves)
        leaves.close()
        assert report.fault is None
        assert size <= report.vouched.size
        assert [] == _said(server)
    assert [] == witness.reports
