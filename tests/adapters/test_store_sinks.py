"""Cursors of sinks, and reading for them beside who appends."""

from __future__ import annotations

import threading

import pytest

from stead.adapters.store import Store
from stead.errors import LedgerUnavailableError
from stead.ledger.chain import seal
from stead.ledger.sinks import Cursor


def append(store, *bodies):
    store.ledger.append(lambda last: seal(last, list(bodies), b"genesis"))


def test_a_cursor_is_kept_for_each_sink(store):
    sinks = store.open_for_sinks()
    assert Cursor() == sinks.cursor("one")
    sinks.move("one", Cursor(7, b"seven"))
    sinks.move("two", Cursor(9, b"nine"))
    sinks.move("one", Cursor(8, b"eight"))
    assert (Cursor(8, b"eight"), Cursor(9, b"nine")) == (
        sinks.cursor("one"),
        sinks.cursor("two"),
    )


def test_a_cursor_outlives_its_process(place):
    with Store.open(place) as store:
        store.open_for_sinks().move("one", Cursor(7, b"seven"))
    with Store.open(place) as store:
        assert Cursor(7, b"seven") == store.open_for_sinks().cursor("one")


def test_what_was_appended_is_read_in_order(store):
    append(store, b"a", b"b", b"c")
    sinks = store.open_for_sinks()
    assert [b"b", b"c"] == [entry.body for entry in sinks.entries(1)]
    assert [b"a"] == [entry.body for entry in sinks.entries(0, 1)]
    assert b"c" == sinks.last().body


def test_who_reads_for_a_sink_and_who_appends_do_not_wait_for_each_other(place):
    with Store.open(place) as store:
        append(store, b"a")
        sinks = store.open_for_sinks()
        read = iter(())

        def build(last):
            nonlocal read
            # In the middle of an append, with the store's write lock held.
            read = list(sinks.entries())
            return seal(last, [b"b"], b"genesis")

        store.ledger.append(build)
        assert [b"a"] == [entry.body for entry in read]
        with sinks._database.reading() as connection:
            # In the middle of a page that a sink reads.
            connection.exec_driver_sql("SELECT count(*) FROM entry").all()
            appended = threading.Thread(target=append, args=(store, b"c"))
            appended.start()
            appended.join(60)
            assert not appended.is_alive()
        assert [b"a", b"b", b"c"] == [entry.body for entry in sinks.entries()]


def test_a_cursor_costs_no_flush_of_its_own(place):
    def level(database):
        with database.reading() as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    with Store.open(place) as store:
        full, normal = 2, 1
        assert (full, normal) == (
            level(store.ledger._database),
            level(store.open_for_sinks()._database),
        )


def test_a_closed_store_is_the_ledgers_failure(place):
    with Store.open(place) as store:
        sinks = store.open_for_sinks()
    for use in (
        lambda: sinks.cursor("one"),
        lambda: sinks.move("one", Cursor(1, b"")),
        sinks.last,
        lambda: list(sinks.entries()),
    ):
        with pytest.raises(LedgerUnavailableError):
            use()
