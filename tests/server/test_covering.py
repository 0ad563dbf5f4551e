"""A client's blocks in its own operation wait for no record of their own."""

from __future__ import annotations

import contextlib
import contextvars
import sqlite3
import threading
from datetime import timedelta
from functools import partial

import pytest

from stead.errors import LedgerUnavailableError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Principal
from stead.monitor import passing
from stead.monitor.covering import covering, is_covered
from stead.server.client_context import ClientContext

ENTERED, LEFT = AuditEvent.IMPERSONATION_ENTERED, AuditEvent.IMPERSONATION_LEFT
SECONDS = 60


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch):
    """Let a pass be good for a minute: how fast this machine is says nothing."""
    monkeypatch.setattr(passing, "UNTOLD", 60_000_000_000)


@pytest.fixture
def served(open_server, world):
    """A server whose trail is a file, so that somebody else can keep it busy."""
    folder = world / "store"
    folder.mkdir(mode=0o700)
    server = open_server(store=folder / "notes.db")
    for name in ("alice", "bob"):
        server.accounts.add(name)
    return server


class Busy:
    """Nothing can be written to the trail until it is let go."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self):
        self.connection.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *exc):
        self.connection.close()


@pytest.fixture
def busy(world):
    return lambda: Busy(world / "store" / "notes.db")


@pytest.fixture
def trouble(served, monkeypatch):
    """Give what makes each try to write the trail fail for a while."""

    @contextlib.contextmanager
    def make():
        def fails(*_arguments):
            raise OSError(5, "the disk is gone")

        with monkeypatch.context() as patch:
            writer = served._house.guard.sink._ledger._writer
            patch.setattr(type(writer._store), "append", fails)
            with pytest.raises(LedgerUnavailableError):
                served.accounts.add("dave")
            yield

    return make


def waits(act):
    """Tell whether it waits; it goes on by itself, and ends with the test."""
    done = threading.Event()

    def work():
        act()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    is_done = done.wait(0.3)
    return thread, not is_done


def enter(client):
    with client.impersonate():
        pass


def test_a_clients_block_in_its_operation_does_not_wait_for_the_disk(
    served, client_of, busy
):
    found = {}
    bob, trail = client_of(served, "bob"), busy()

    @served.operation("work")
    def work(client: ClientContext) -> None:
        with trail:
            enter(client)  # waits for nothing
            # Naive: a block of somebody else's here has nothing that announces it.
            context = contextvars.copy_context()
            found["bob"] = waits(lambda: context.run(enter, bob))
        found["bob"][0].join(SECONDS)

    served.call(client_of(served, "alice"), "work")
    thread, did_wait = found["bob"]
    assert did_wait
    assert not thread.is_alive()


def test_the_trail_is_as_whole_as_before(served, client_of):
    @served.operation("work")
    def work(client: ClientContext) -> None:
        for _ in range(3):
            enter(client)

    alice = client_of(served, "alice").for_request(7, "work")
    served.call(alice, "work")
    events = [
        record.event
        for _, record in served.trail.find(Query())
        if record.correlation == alice.subject.correlation
    ]
    requested, ended = AuditEvent.OPERATION_REQUESTED, AuditEvent.OPERATION_ENDED
    # The second and third block at one line are told of together (docs/adr/0102).
    assert [requested, *[ENTERED, LEFT] * 2, ended] == events
    entered = [r for _, r in served.trail.find(Query()) if r.event is ENTERED]
    assert {("alice", "work", "impersonation")} == {
        (r.client.name, r.operation, r.detail["level"]) for r in entered
    }
    assert all("test_covering.py" in r.detail["where"] for r in entered)


def test_a_copied_context_is_covered_no_longer_than_the_operation(
    served, client_of, busy
):
    kept = []

    @served.operation("work")
    def work(client: ClientContext) -> None:
        kept.append(contextvars.copy_context())

    alice = client_of(served, "alice")
    served.call(alice, "work")
    sink = served._house.guard.sink
    assert not kept[0].run(is_covered, alice.subject, sink)
    with busy():
        thread, did_wait = waits(lambda: kept[0].run(enter, alice))
        assert did_wait
    thread.join(SECONDS)


@pytest.mark.parametrize("who", ["bob", "another session", "another request", "grant"])
def test_only_the_very_client_of_the_operation_is_covered(served, client_of, who):
    sink, alice = served._house.guard.sink, client_of(served, "alice")
    others = {
        "bob": lambda: client_of(served, "bob"),
        "another session": lambda: client_of(served, "alice"),
        "another request": lambda: alice.with_correlation("other"),
        "grant": lambda: alice.limited(expires=timedelta(hours=1)),
    }
    other = others[who]()
    with covering(alice.subject, sink):
        assert is_covered(alice.subject, sink)
        assert not is_covered(other.subject, sink)
        assert not is_covered(alice.subject, object())
    assert not is_covered(alice.subject, sink)
    assert isinstance(other.subject.principal, Principal)


def test_a_trail_that_is_in_trouble_lets_nobody_in(served, client_of, trouble):
    refused = []

    @served.operation("work")
    def work(client: ClientContext) -> None:
        with trouble(), pytest.raises(LedgerUnavailableError):
            enter(client)
        refused.append(True)

    served.call(client_of(served, "alice"), "work")
    assert [True] == refused


def test_what_may_be_lost_is_lost_and_counted_in_an_operation_too(
    served, client_of, trouble
):
    served.audit_policy.set_losable([ENTERED])
    entered = []

    @served.operation("work")
    def work(client: ClientContext) -> None:
        with trouble():
            enter(client)  # refused, if a block that is covered were never lost
        entered.append(True)

    served.call(client_of(served, "alice"), "work")
    assert [True] == entered
    (lost,) = served.trail.find(Query(event=AuditEvent.RECORDS_LOST))
    assert "1" == lost[1].detail[ENTERED.name]


def test_an_operation_whose_record_is_lost_covers_nothing(
    served, client_of, trouble, busy
):
    served.audit_policy.set_losable([AuditEvent.OPERATION_REQUESTED])
    found, alice, trail = [], client_of(served, "alice"), busy()

    @served.operation("work")
    def work(client: ClientContext) -> None:
        fails.close()
        served.accounts.add("carol")  # the trail is well again, and says what it lost
        with trail:
            # Naive: nothing on the disk says that alice asked for anything.
            context = contextvars.copy_context()
            found.append(waits(lambda: context.run(enter, client)))
        found[0][0].join(SECONDS)

    with contextlib.ExitStack() as fails:
        fails.enter_context(trouble())
        served.call(alice, "work")
    assert found[0][1]


def test_nobody_who_stands_between_is_covered(served, client_of, busy):
    found, bob, trail = {}, client_of(served, "bob"), busy()

    @served.operation("work")
    def work(client: ClientContext) -> None:
        with bob.impersonate():
            carried = client.carry(lambda: None)
            context = contextvars.copy_context()
            with trail:
                # Naive: it is alice's block, in alice's operation.
                found["in bob's block"] = waits(lambda: context.run(carried))
        found["in bob's block"][0].join(SECONDS)

    served.call(client_of(served, "alice"), "work")
    assert found["in bob's block"][1]
    *_, entered = [r for _, r in served.trail.find(Query()) if r.event is ENTERED]
    assert ["notes", "bob", "alice"] == [each.name for each in entered.chain]


def test_a_nested_block_in_somebody_elses_is_announced_by_itself(
    served, client_of, busy
):
    bob, refused = client_of(served, "bob"), []

    @served.operation("work")
    def work(client: ClientContext) -> None:
        ledger = served._house.guard.sink._ledger
        with bob.impersonate():
            before = ledger.cover
            ledger.cover = refused.append
            try:
                enter(client)
                # On another thread bob's block is not open, and is in the chain.
                carried = client.carry(partial(enter, client))
                context = contextvars.copy_context()
                thread = threading.Thread(target=context.run, args=(carried,))
                thread.start()
                thread.join(SECONDS)
            finally:
                ledger.cover = before

    served.call(client_of(served, "alice"), "work")
    assert [] == refused
    entered = [r for _, r in served.trail.find(Query()) if r.event is ENTERED]
    between = [["notes", "bob"], *[["notes", "bob", "alice"]] * 2]
    chains = [[each.name for each in record.chain] for record in entered]
    assert between == chains[:3]


def test_an_operation_inside_an_operation_leaves_the_outer_ones_cover(
    served, client_of, law
):
    @served.operation("inner")
    def inner(client: ClientContext) -> None:
        enter(client)

    @served.operation("outer")
    def outer(client: ClientContext) -> None:
        served.call(client, "inner")
        enter(client)

    served.call(client_of(served, "alice"), "outer")
    assert [] == law.take()
