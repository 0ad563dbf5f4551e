"""Sessions of every process that shares a store, and files that were exchanged."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from stead.adapters.store import Store
from stead.authority.roster import FoundSession, ListedSession, ServerProcess
from stead.errors import StoreUnavailableError
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import Luid
from stead.model.sid import Sid

ALICE, BOB = (Sid.from_string(f"S-1-5-21-1-2-3-{rid}") for rid in (1001, 1002))
HERE = ServerProcess(Luid(7), "notes", "host", 42, 100)
THERE = ServerProcess(Luid(8), "jobs", "host", 43, 200)


@pytest.fixture
def roster(store):
    return store.open_roster()


def listed(number, user=ALICE, *, generation=1):
    record = LogonRecord(
        Luid(number), user, "alice", LogonType.NETWORK, "asserted", "test", number
    )
    return ListedSession(record, generation)


def test_sessions_are_written_down_found_and_struck_off(roster):
    roster.enter(HERE, 100)
    roster.enter(THERE, 200)
    assert roster.write(HERE.number, [listed(1), listed(2, BOB)], [], 300)
    assert roster.write(THERE.number, [listed(3)], [], 400)
    assert (
        FoundSession(listed(1).record, HERE, 300),
        FoundSession(listed(2, BOB).record, HERE, 300),
        FoundSession(listed(3).record, THERE, 400),
    ) == roster.sessions()
    assert roster.write(HERE.number, [], [Luid(1), Luid(99)], 500)
    assert [2, 3] == [found.record.logon_id for found in roster.sessions()]
    assert {HERE.number: 3, THERE.number: 2} == roster.beats()


def test_what_is_written_down_again_is_there_once(roster):
    """As when a commit went through and its answer did not."""
    roster.enter(HERE, 1)
    for _ in range(2):
        assert roster.write(HERE.number, [listed(1), listed(2)], [], 1)
    assert [1, 2] == [found.record.logon_id for found in roster.sessions()]


def test_a_process_that_leaves_takes_its_sessions_along(roster):
    for process in (HERE, THERE):
        roster.enter(process, 1)
        roster.write(process.number, [listed(process.pid)], [], 1)
    roster.leave(HERE.number)
    assert [43] == [found.record.logon_id for found in roster.sessions()]
    assert not roster.write(HERE.number, [listed(1)], [], 2)


def test_a_process_that_was_given_up_has_no_generation(roster, store):
    now = store.accounts.generation()
    assert now == roster.generation(None)
    assert roster.generation(HERE.number) is None
    roster.enter(HERE, 1)
    assert now == roster.generation(HERE.number)
    roster.leave(HERE.number)
    assert roster.generation(HERE.number) is None


def test_a_session_is_ended_by_its_number(roster, store):
    roster.enter(HERE, 1)
    roster.write(HERE.number, [listed(1), listed(2)], [], 1)
    before = store.accounts.generation()
    store.session_ends.end_session(Luid(2))
    assert store.accounts.generation() > before
    assert roster.was_ended(Luid(2), ALICE, before)
    assert roster.was_ended(Luid(2), None, 10**9)
    assert not roster.was_ended(Luid(1), ALICE, before)
    assert (2,) == roster.ended_of(HERE.number)
    assert () == roster.ended_of(THERE.number)


def test_the_end_of_a_session_is_forgotten_when_it_is_struck_off(roster, store):
    roster.enter(HERE, 1)
    roster.write(HERE.number, [listed(1), listed(2), listed(3)], [], 1)
    for number in (1, 2):
        store.session_ends.end_session(Luid(number))
    assert roster.was_ended(Luid(1), None, 0)
    roster.write(HERE.number, [], [Luid(1)], 2)
    store.session_ends.end_session(Luid(3))
    assert not roster.was_ended(Luid(1), None, 0)
    assert (2, 3) == roster.ended_of(HERE.number)


def test_all_sessions_of_a_user_that_there_are_by_now_end(roster, store):
    before = store.accounts.generation()
    roster.enter(HERE, 1)
    store.session_ends.end_sessions_of(ALICE)
    by_now = store.accounts.generation()
    sessions = [
        listed(1, generation=before),
        listed(2, generation=by_now),
        listed(3, BOB, generation=before),
    ]
    roster.write(HERE.number, sessions, [], 1)
    assert roster.was_ended(Luid(1), ALICE, before)
    assert not roster.was_ended(Luid(2), ALICE, by_now)
    assert not roster.was_ended(Luid(3), BOB, before)
    assert (1,) == roster.ended_of(HERE.number)
    store.session_ends.end_sessions_of(ALICE)
    assert roster.was_ended(Luid(2), ALICE, by_now)
    assert (1, 2) == tuple(sorted(roster.ended_of(HERE.number)))


def steps(database, act):
    """Return how many steps SQLite takes for something, in thousands."""
    driver, count = database._driver(), []
    driver.set_progress_handler(lambda: count.append(1), 10)
    act()
    driver.set_progress_handler(None, 0)
    return len(count)


def test_one_session_is_found_and_ended_without_a_look_at_all_others(roster, store):
    """With sixty thousand, that took four seconds for each."""
    roster.enter(HERE, 1)
    roster.enter(THERE, 2)
    ours, naive = [], []
    for first, last in ((1, 10), (10, 1000)):
        roster.write(HERE.number, [listed(n) for n in range(first, last)], [], 1)
        found = steps(roster._asking, lambda: roster.session(Luid(3)))
        ended = steps(
            store._databases[0], lambda: store.session_ends.end_session(Luid(4))
        )
        ours.append(found + ended)
        naive.append(steps(roster._asking, roster.sessions))
    assert ours[1] < 2 * ours[0] + 10
    assert naive[1] > 20 * naive[0]
    assert listed(3).record == roster.session(Luid(3)).record
    assert roster.session(Luid(5000)) is None
    assert (4,) == roster.ended_of(HERE.number)
    assert () == roster.ended_of(THERE.number)
    roster.write(THERE.number, [listed(2000, BOB)], [], 1)
    assert {2000} == roster.numbers_of(BOB)


# --- partitions ---------------------------------------------------------------------


@pytest.fixture
def open_store(place):
    with Store.open(place) as opened:
        yield opened


@pytest.fixture
def naive(open_store, place):
    """Give what reads on: its file has a descriptor, whatever is at its place."""
    connection = sqlite3.connect(place, isolation_level=None)

    def generation():
        (found,) = connection.execute("SELECT generation FROM store").fetchone()
        return found

    assert open_store.accounts.generation() == generation()
    yield generation
    connection.close()


@pytest.fixture(params=["lease", "logon"])
def generation(request, open_store):
    """Give what a lease asks for, and what a logon does."""
    roster, accounts = open_store.open_roster(), open_store.accounts
    leases = {"lease": lambda: roster.generation(None), "logon": accounts.generation}
    return leases[request.param]


def test_who_writes_holds_up_nobody_who_asks(open_store, place):
    roster = open_store.open_roster()
    before = roster.generation(None)
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE store SET generation = generation + 1")
    # Whoever waited for the lock would be refused: it is held until there is an answer.
    naive = sqlite3.connect(place, isolation_level=None, timeout=0.1)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        naive.execute("BEGIN IMMEDIATE")
    naive.close()
    assert before == roster.generation(None)
    other.execute("COMMIT")
    assert before + 1 == roster.generation(None)
    other.close()


def test_a_store_that_was_moved_away_is_not_believed(naive, generation, place):
    assert naive() == generation()
    away = place.with_name("away.db")
    place.rename(away)
    assert naive()
    with pytest.raises(StoreUnavailableError, match="is not at its place"):
        generation()
    away.rename(place)
    assert naive() == generation()


def test_an_earlier_copy_in_the_open_file_is_not_believed(
    open_store, naive, generation, place
):
    """The naive one believes it again as soon as its number is the one of before."""
    accounts = open_store.accounts
    sid = accounts.add_account("alice", None, None).sid
    with sqlite3.connect(":memory:") as copy, sqlite3.connect(place) as file:
        file.backup(copy)
        for name in ("bob", "carol"):
            accounts.add_account(name, None, None)
        seen = generation()
        copy.backup(file)
    with pytest.raises(StoreUnavailableError, match="an earlier copy"):
        generation()
    accounts.set_account_disabled(sid, is_disabled=True)
    assert seen == naive()  # what it knows is of this very number
    with pytest.raises(StoreUnavailableError, match="an earlier copy"):
        generation()


@pytest.mark.parametrize("tail", ["", "-wal", "-shm"])
def test_a_store_in_whose_place_another_was_put_is_not_believed(
    naive, generation, place, tail
):
    assert generation()
    file = place.with_name(place.name + tail)
    copy = place.with_name("copy")
    shutil.copyfile(file, copy)
    copy.rename(file)
    assert naive()
    with pytest.raises(StoreUnavailableError, match="another file was put"):
        generation()
