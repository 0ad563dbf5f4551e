from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from tests.lives import long_enough

from stead.adapters.store import Store, database
from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
from stead.authority.password_credentials import PasswordCredentials
from stead.authority.roster import ListedSession
from stead.errors import (
    LogonSessionEndedError,
    SteadError,
    StoreUnavailableError,
)
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import Luid
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.server import session_keeper
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.server.session_keeper import SessionKeeper

ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")


class Recording:
    """What a process's sessions were told to do."""

    def __init__(self):
        self.ended = []

    def end(self, logon_id):
        self.ended.append(logon_id)
        return True

    def end_every(self):
        self.ended.append("every")

    def end_overdue(self):
        self.ended.append("overdue")


@pytest.fixture
def store(tmp_path):
    tmp_path.chmod(0o700)
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def roster(store):
    return store.open_roster()


@pytest.fixture
def keeper_of(store, roster):
    def make(name="notes"):
        return SessionKeeper(
            name,
            "host",
            roster,
            allocate=store.accounts.allocate_luid,
            clock=time.time_ns,
            tick=0.01,
        )

    return make


@pytest.fixture
def sessions():
    return Recording()


def listed(number, generation=1):
    record = LogonRecord(
        Luid(number), ALICE, "alice", LogonType.NETWORK, "asserted", "test", number
    )
    return ListedSession(record, generation)


def numbers(roster):
    return [found.record.logon_id for found in roster.sessions()]


def test_a_session_is_written_down_at_the_next_look(keeper_of, roster, sessions):
    keeper = keeper_of()
    keeper.look(sessions)
    assert {} == roster.beats()  # a process without sessions writes nothing
    keeper.opened(listed(1))
    keeper.opened(listed(2))
    keeper.ended(Luid(1))
    assert [] == numbers(roster)
    keeper.look(sessions)
    assert [2] == numbers(roster)
    keeper.ended(Luid(2))
    keeper.look(sessions)
    assert [] == numbers(roster)


def test_sessions_that_are_over_between_two_looks_cost_no_write(
    keeper_of, roster, sessions
):
    keeper = keeper_of()
    keeper.opened(listed(1))
    keeper.look(sessions)
    (beats,) = roster.beats().values()
    for number in range(2, 50):
        keeper.opened(listed(number))
        keeper.ended(Luid(number))
    keeper.look(sessions)
    assert [beats] == list(roster.beats().values())


def test_what_others_end_is_ended_here_at_the_next_look(
    store, keeper_of, roster, sessions
):
    keeper = keeper_of()
    keeper.opened(listed(1))
    keeper.opened(listed(2))
    keeper.look(sessions)
    with Store.open(store._path) as theirs:
        theirs.session_ends.end_session(Luid(2))
    keeper.look(sessions)
    assert [2] == sessions.ended


def test_what_others_end_is_ended_here_also_while_nothing_can_be_written(
    monkeypatch, store, keeper_of, roster, sessions
):
    """As on a disk that is full for this process alone, by a quota or a limit."""
    keeper = keeper_of()
    keeper.opened(listed(1))
    keeper.opened(listed(2))
    keeper.look(sessions)
    roster._writing._driver().execute("PRAGMA query_only = ON")
    monkeypatch.setattr(session_keeper, "BEAT_SECONDS", 0.0)
    with Store.open(store._path) as theirs:
        theirs.session_ends.end_session(Luid(2))
    naive = Recording()
    with pytest.raises(StoreUnavailableError):
        write_then_heed(keeper, roster, naive)
    assert [] == naive.ended
    with pytest.raises(StoreUnavailableError):
        keeper.look(sessions)
    assert [2] == sessions.ended
    with Store.open(store._path) as theirs:
        theirs.open_roster().leave(keeper._number)
    with pytest.raises(StoreUnavailableError):
        keeper.look(sessions)
    assert [2, "every", "every"] == sessions.ended


def write_then_heed(keeper, roster, sessions):
    """Look as a naive keeper does: one step after the other."""
    roster.write(keeper._number, [], [], 1)
    for logon_id in roster.ended_of(keeper._number):
        sessions.end(logon_id)


def test_a_process_that_gives_no_sign_of_life_is_given_up_by_the_others(
    monkeypatch, keeper_of, roster, sessions
):
    ours, theirs = keeper_of("ours"), keeper_of("theirs")
    monkeypatch.setattr(session_keeper, "BEAT_SECONDS", 0.0)
    for number, keeper in enumerate((ours, theirs)):
        keeper.opened(listed(number))
        keeper.look(sessions)
    assert ours.generation() == theirs.generation()
    ours.look(sessions)
    monkeypatch.setattr(session_keeper, "GIVEN_UP_SECONDS", 0.0)
    ours.look(sessions)
    assert [0] == numbers(roster)
    ours.generation()
    with pytest.raises(LogonSessionEndedError, match="given this one up"):
        theirs.generation()
    assert [] == sessions.ended
    theirs.look(sessions)
    assert ["every", "every"] == sessions.ended
    monkeypatch.setattr(session_keeper, "GIVEN_UP_SECONDS", 60.0)
    theirs.opened(listed(5))
    theirs.look(sessions)
    theirs.generation()
    assert [0, 5] == numbers(roster)


def test_a_session_that_opens_while_the_process_starts_anew_is_written_down(
    monkeypatch, keeper_of, roster
):
    """One that is on no list is ended by nobody who goes by its number."""
    keeper = keeper_of()

    class Opening(Recording):
        def end_every(self):
            super().end_every()
            if 2 == len(self.ended):  # from here on nothing is ended any more
                keeper.opened(listed(9))

    sessions = Opening()
    keeper.opened(listed(1))
    keeper.look(sessions)
    roster.leave(keeper._number)
    monkeypatch.setattr(session_keeper, "BEAT_SECONDS", 0.0)
    keeper.look(sessions)
    assert ["every", "every"] == sessions.ended
    keeper.look(sessions)
    assert [9] == numbers(roster)


def test_silence_is_counted_from_the_last_sign_by_the_own_clock():
    """A wall clock that is set forward would give everybody up."""
    others, mine, yours = session_keeper._Others(), Luid(1), Luid(2)
    assert [] == others.silent({mine: 1, yours: 1}, 1000.0)
    assert [] == others.silent({mine: 2, yours: 1}, 1059.0)
    assert [yours] == others.silent({mine: 2, yours: 1}, 1060.0)
    assert [] == others.silent({mine: 3, yours: 2}, 1061.0)
    assert [] == others.silent({mine: 3}, 1062.0)
    assert [] == others.silent({mine: 3, yours: 2}, 1121.5 - 1)
    assert [mine] == others.silent({mine: 3, yours: 2}, 1121.5)


def test_who_stood_still_with_this_process_is_not_given_up(
    keeper_of, roster, monkeypatch
):
    """A machine that is paused stops all its servers: the first to wake ended the rest.

    By a clock that went on, every other one had been silent for as long.
    """
    now = [1000.0]
    monkeypatch.setattr(session_keeper.time, "monotonic", lambda: now[0])
    first, second, nobody = keeper_of("first"), keeper_of("second"), Recording()
    lives = Recording()
    first.opened(listed(1))
    second.opened(listed(2))
    for _ in range(3):
        first.look(nobody)
        second.look(lives)
        now[0] += 10.0
    now[0] += 3600.0
    first.look(nobody)
    assert 2 == len(roster.beats())
    second.look(lives)
    assert [] == lives.ended
    # It is when it gives none from then on.
    for _ in range(7):
        now[0] += 10.0
        first.look(nobody)
    assert 1 == len(roster.beats())
    second.look(lives)
    assert ["every", "every"] == lives.ended


@pytest.mark.parametrize("work", ["_work", "_watch_time"])
def test_its_threads_outlive_a_machine_that_has_no_memory_for_a_while(
    keeper_of, roster, sessions, monkeypatch, work
):
    """A process that gives no sign of life any more is given up, and all it opens."""
    keeper, failed = keeper_of(), []

    def fails(*_):
        failed.append(1)
        raise MemoryError

    where, name = (
        (sessions, "end_overdue") if work == "_watch_time" else (keeper, "_enter")
    )
    with monkeypatch.context() as patched:
        patched.setattr(where, name, fails)
        keeper.start(sessions)
        keeper.opened(listed(1))
        until(lambda: len(failed) > 1)
    until(lambda: numbers(roster) == [1])
    until(lambda: "overdue" in sessions.ended)
    keeper.close()
    assert {} == roster.beats()


def test_its_thread_writes_ends_and_strikes_the_process_off(
    store, keeper_of, roster, sessions
):
    keeper = keeper_of()
    keeper.start(sessions)
    keeper.opened(listed(1))
    until(lambda: numbers(roster) == [1])
    store.session_ends.end_sessions_of(ALICE)
    until(lambda: 1 in sessions.ended)
    keeper.close()
    assert [] == numbers(roster)
    assert {} == roster.beats()


def test_time_is_up_also_while_the_store_never_answers(roster, sessions):
    answers, asked = threading.Event(), threading.Event()

    def allocate():
        asked.set()
        answers.wait(60)
        return Luid(7)

    keeper = SessionKeeper(
        "notes", "host", roster, allocate=allocate, clock=time.time_ns, tick=0.01
    )
    keeper.opened(listed(1))
    keeper.start(sessions)
    assert asked.wait(30)
    sessions.ended.clear()
    until(lambda: 3 <= sessions.ended.count("overdue"))
    answers.set()
    keeper.close()


def test_a_session_s_password_is_wiped_in_its_time_while_the_store_is_locked(
    tmp_path, caplog, monkeypatch
):
    """The thread that wrote sessions down ended them as well, once it had written."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 60)
    tmp_path.chmod(0o700)
    path = tmp_path / "notes.db"
    with ProtectedServer(
        "notes", path, enforcement=Enforcement.TOKEN,
        issuers=[Issuer("KEYS.TEST", ["bearer"], names_accounts=True)],
    ) as server:  # fmt: skip
        server.accounts.add("alice")
        known = {"package": "bearer", "issuer": "KEYS.TEST", "name": "alice"}

        def locked(seconds):
            kept = PasswordCredentials("alice@KEYS.TEST", Secret("secret"))
            ends = time.time_ns() + int(seconds * 1e9)
            given = Authenticated(**known, credentials=kept, expires=ends)
            session = server.admit(given)
            locking.execute("begin immediate")
            if kept.is_closed:
                locking.execute("rollback")
                raise LogonSessionEndedError("it ended before the store was locked")
            return kept, session

        with closing(sqlite3.connect(path, isolation_level=None)) as locking:
            # By its end somebody waits for the store.
            kept, session = long_enough(locked, seconds=1.5, late=SteadError)
            until(lambda: kept.is_closed)
            # Whoever writes waits still, and has not given up.
            assert "cannot be written down" not in caplog.text
            locking.execute("rollback")
        with pytest.raises(LogonSessionEndedError):
            session.client.impersonate().__enter__()


def test_what_cannot_be_written_down_is_kept_for_the_next_time(
    store, keeper_of, roster, sessions, caplog
):
    keeper = keeper_of()
    keeper.opened(listed(1))
    keeper.look(sessions)
    roster._writing.close()
    keeper.opened(listed(2))
    keeper.ended(Luid(1))
    with pytest.raises(StoreUnavailableError):
        keeper.look(sessions)
    keeper._roster = store.open_roster()
    keeper.look(sessions)
    assert [2] == numbers(store.open_roster())


def test_a_store_that_fails_is_said_once(keeper_of, roster, sessions, caplog):
    keeper = keeper_of()
    keeper.opened(listed(1))
    roster._writing.close()
    keeper.start(sessions)
    until(lambda: "cannot be written down" in caplog.text)
    time.sleep(0.05)
    keeper.close()
    assert 1 == caplog.text.count("cannot be written down")


def until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never comes true"
        time.sleep(0.005)
