"""Sessions as leases: what one process ends, every process that shares the store ends.

Each test asks, beside ours, a naive server that remembers who was logged on.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from tests.soak.faulty_disk import FaultyDisk

from stead.errors import AccessDeniedError, UnknownAccountError, UnknownSessionError
from stead.ledger.query import Query
from stead.model.access_mask import Rights
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.luid import Luid
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

LEASE_SECONDS = 1.0
GRANTED, ENDED = "granted", "LogonSessionEndedError"


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2


@pytest.fixture
def place(world):
    folder = world / "store"
    folder.mkdir(mode=0o700)
    return folder / "notes.db"


@pytest.fixture
def ours(place):
    with ProtectedServer("notes", store=place, enforcement=Enforcement.TOKEN) as server:
        for name, uid in (("alice", 70001), ("bob", 70002)):
            server.accounts.add(name, uid=uid)
        server.accounts.add_group("readers")
        server.accounts.add_member("readers", "alice")
        server.protect("plan", Doc, [allow("alice", Doc.READ), allow("bob", Doc.READ)])
        yield server


class Theirs:
    """A server in another process."""

    def __init__(self, place, *names):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.shared_server", place, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
        )
        self.logon_ids = [Luid(int(word, 0)) for word in self._line()]

    def _line(self):
        return self._process.stdout.readline().split()

    def say(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._line()

    def use(self, name):
        """Return what ours says, and what the naive one does."""
        return tuple(self.say(f"use {name}"))

    def settled(self, name):
        """Return what both say once the lease of now is over."""
        time.sleep(LEASE_SECONDS)
        return self.use(name)

    def signal(self, number):
        self._process.send_signal(number)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def theirs(ours, place):
    other = Theirs(place, "alice", "bob")
    assert (GRANTED, GRANTED) == other.use("alice") == other.use("bob")
    yield other
    other.close()


def listed(ours, count):
    """Return the sessions of all processes once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := ours.sessions.list()) != count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


# --- revoked --------------------------------------------------------------------------

REVOCATIONS = {
    "disabled": lambda ours, _id: ours.accounts.disable("alice"),
    "deleted": lambda ours, _id: ours.accounts.delete("alice"),
    "out of a group": lambda ours, _id: ours.accounts.remove_member("readers", "alice"),
    "its time is over": lambda ours, _id: ours.accounts.times.set_end(
        "alice", datetime.now(UTC)
    ),
    "ended by its number": lambda ours, logon_id: ours.sessions.end(logon_id),
    "all ended": lambda ours, _id: ours.sessions.end_all("alice"),
}


@pytest.mark.parametrize("revoke", REVOCATIONS.values(), ids=REVOCATIONS)
def test_what_is_revoked_here_is_refused_there_when_the_lease_is_over(
    ours, theirs, revoke
):
    listed(ours, 2)
    revoke(ours, theirs.logon_ids[0])
    assert (ENDED, GRANTED) == theirs.settled("alice")
    assert (GRANTED, GRANTED) == theirs.use("bob")


def test_sessions_of_every_process_are_seen_with_whose_they_are(ours, theirs):
    here = ours.client_for("bob", authenticated_by="oauth")
    found = {s.record.logon_id: s for s in listed(ours, 3)}
    assert {*theirs.logon_ids, here.token.logon_id} == set(found)
    there = found[theirs.logon_ids[0]]
    assert ("alice", "asserted", "test") == (
        there.record.name,
        there.record.package,
        there.record.authenticated_by,
    )
    assert ("jobs", theirs._process.pid) == (there.process.name, there.process.pid)
    assert ("notes", os.getpid()) == (
        found[here.token.logon_id].process.name,
        found[here.token.logon_id].process.pid,
    )
    here.close()
    assert set(theirs.logon_ids) == {s.record.logon_id for s in listed(ours, 2)}


def test_a_session_nobody_uses_is_struck_off_when_it_was_ended(ours, theirs):
    listed(ours, 2)
    ours.sessions.end(theirs.logon_ids[0])
    assert [theirs.logon_ids[1]] == [s.record.logon_id for s in listed(ours, 1)]


def test_a_session_that_is_opened_after_all_were_ended_lives(ours):
    ours.sessions.end_all("alice")
    alice = ours.client_for("alice", authenticated_by="test")
    ours._house.guard.liveness.expire()
    ours.check(alice, ours.find_object("plan"), Doc.READ)


def test_ending_is_recorded_before_with_who_asked_for_it(ours, theirs):
    listed(ours, 2)
    ours.accounts.add("root of the store")
    ours.accounts.add_member("Administrators", "root of the store")
    admin = ours.client_for("root of the store", authenticated_by="test")
    desk = ours.sessions_for(admin)
    assert "alice" == desk.end(theirs.logon_ids[0]).name
    assert desk.end_all("bob") == 1
    ended = [
        (r.client.name, r.object_name, r.detail["account"])
        for r in _records(ours, AuditEvent.LOGOFF_ASKED)
    ]
    assert [
        ("root of the store", str(theirs.logon_ids[0]), "alice"),
        ("root of the store", "all", "bob"),
    ] == ended


def _records(server, event):
    return [record for _, record in server.trail.find(Query(event=event))]


def test_who_may_not_change_accounts_sees_and_ends_no_session(ours, theirs):
    listed(ours, 2)
    bob = ours.client_for("bob", authenticated_by="test")
    desk = ours.sessions_for(bob)
    for act in (
        desk.list,
        lambda: desk.end(theirs.logon_ids[0]),
        lambda: desk.end_all("alice"),
    ):
        with pytest.raises(AccessDeniedError):
            act()
    assert (GRANTED, GRANTED) == theirs.settled("alice")


def test_a_number_that_nobody_has_and_the_servers_own_are_refused(ours):
    for number in (Luid(0x3E7), ours.token.logon_id):
        with pytest.raises(UnknownSessionError):
            ours.sessions.end(number)
    with pytest.raises(UnknownAccountError):
        ours.sessions.end_all("nobody")


def test_a_process_that_was_killed_is_listed_until_it_is_given_up(ours, theirs):
    number = listed(ours, 2)[0].process.number
    theirs.signal(signal.SIGKILL)
    assert 2 == len(ours.sessions.list())
    ours._house.session_desk.roster.leave(number)
    assert () == ours.sessions.list()


# --- partitioned ----------------------------------------------------------------------

UNAVAILABLE, SILENT = "StoreUnavailableError", "StoreSilentError"


def test_a_process_that_was_given_up_denies_when_the_lease_is_over(ours, theirs):
    """As when it was stopped for a minute: nobody knows what it missed."""
    [number] = {s.process.number for s in listed(ours, 2)}
    theirs.signal(signal.SIGSTOP)
    ours._house.session_desk.roster.leave(number)
    theirs.signal(signal.SIGCONT)
    assert (ENDED, GRANTED) == theirs.settled("alice")


@pytest.mark.parametrize("how", ["away", "exchanged"])
def test_a_process_whose_store_is_gone_denies_when_the_lease_is_over(
    ours, theirs, place, how
):
    """A file that is open can be read when it has no name: what is read is the past."""
    away = place.with_name("away.db")
    place.rename(away)
    if how == "exchanged":
        shutil.copyfile(away, place)
    assert (UNAVAILABLE, GRANTED) == theirs.settled("alice")
    if how == "away":
        away.rename(place)
        assert (GRANTED, GRANTED) == theirs.use("alice")


@pytest.mark.parametrize("how", ["away", "exchanged"])
def test_a_process_whose_store_is_gone_lets_nobody_in(ours, theirs, place, how):
    """Whoever comes with each request never has a lease that is over."""
    away = place.with_name("away.db")
    place.rename(away)
    if how == "exchanged":
        shutil.copyfile(away, place)
    assert [UNAVAILABLE, GRANTED] == theirs.say("meet alice")
    if how == "away":
        away.rename(place)
        assert [GRANTED, GRANTED] == theirs.say("meet alice")


@pytest.mark.bypasses_the_law  # its own trail is of the past
def test_a_process_into_whose_store_an_earlier_copy_is_written_denies(
    ours, theirs, place
):
    """What is revoked then has the number of what was revoked before, and is missed."""
    listed(ours, 2)
    with sqlite3.connect(":memory:") as copy, sqlite3.connect(place) as file:
        file.backup(copy)
        ours.accounts.disable("bob")
        assert (GRANTED, GRANTED) == theirs.settled("alice")
        copy.backup(file)
    theirs.say("looked")  # nobody asks meanwhile: the keeper looks by itself
    ours._house.admission.store.set_account_disabled(
        ours.accounts.list()[0].sid, is_disabled=True
    )
    assert (UNAVAILABLE, GRANTED) == theirs.settled("alice")


def test_a_process_whose_disk_never_answers_denies(ours, theirs):
    theirs.say("patience 0.2")
    theirs.say("hang")
    assert (SILENT, GRANTED) == theirs.settled("alice")
    assert (SILENT, GRANTED) == theirs.use("bob")


def test_a_store_that_is_locked_by_who_writes_is_read_and_nothing_can_be_missed(
    ours, theirs, place
):
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert (GRANTED, GRANTED) == theirs.settled("alice")
    other.execute("UPDATE principal SET is_disabled = 1 WHERE name = 'alice'")
    other.execute("UPDATE store SET generation = generation + 1")
    assert (GRANTED, GRANTED) == theirs.settled("alice")  # it is not said yet
    other.execute("COMMIT")
    assert (ENDED, GRANTED) == theirs.settled("alice")
    other.close()


@pytest.mark.root
def test_a_process_whose_disk_hangs_or_is_torn_away_denies(world):
    """With a real disk that stops: the process goes on without it only in the past."""
    folder = world / "disk"
    folder.mkdir(mode=0o700)
    with FaultyDisk(folder) as disk:
        place = folder / "notes.db"
        with ProtectedServer(
            "notes", store=place, enforcement=Enforcement.TOKEN, trail_reserve=0
        ) as ours:
            ours.accounts.add("alice", uid=70001)
            ours.protect("plan", Doc, [allow("alice", Doc.READ)])
        theirs = Theirs(place, "alice")
        try:
            assert (GRANTED, GRANTED) == theirs.settled("alice")
            theirs.say("patience 0.3")
            os.kill(disk._pid, signal.SIGSTOP)
            assert (SILENT, GRANTED) == theirs.settled("alice")
            assert (SILENT, GRANTED) == theirs.use("alice")
            os.kill(disk._pid, signal.SIGCONT)
            theirs.say("patience 60")
            until_granted(theirs)
            os.kill(disk._pid, signal.SIGKILL)
            ours, naive = theirs.settled("alice")
            assert ours in {UNAVAILABLE, "LedgerUnavailableError"}
            assert GRANTED == naive
        finally:
            os.kill(disk._pid, signal.SIGKILL)  # a stopped one would hold what follows
            theirs.close()


def until_granted(theirs):
    """Wait until what was asked while the disk was silent is answered and dropped."""
    deadline = time.monotonic() + 60
    while theirs.use("alice") != (GRANTED, GRANTED):
        assert time.monotonic() < deadline, "it never comes back"
        time.sleep(0.1)
