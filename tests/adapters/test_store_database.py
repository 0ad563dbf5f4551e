"""A database whose disk could not flush is written to no more."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import suppress

import pytest
from sqlalchemy import select

from stead.adapters.store import Store
from stead.adapters.store.database import Database, connect_aside, connect_file
from stead.adapters.store.schema import STORE
from stead.errors import StoreUnavailableError, StoreUnflushedError

NEXT_RID = select(STORE.c.next_rid)


class Unflushed(sqlite3.Connection):
    """SQLite as it answers when the disk refuses to flush."""

    fails = False

    def cursor(self, *_):
        return super().cursor(UnflushedCursor)


class UnflushedCursor(sqlite3.Cursor):
    """What runs the statements."""

    def execute(self, statement, *values):
        if self.connection.fails and statement == "COMMIT":
            super().execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(statement, *values)


@pytest.fixture
def disk(place):
    """The connection, and the database over it."""
    Store.open(place).close()
    made = sqlite3.connect(
        place, factory=Unflushed, isolation_level=None, check_same_thread=False
    )
    database = Database(lambda: made)
    yield made, database
    database.close()


def fill(database):
    database.append(
        lambda driver: driver.execute("UPDATE store SET next_rid = next_rid + 1")
    )


def test_after_a_flush_that_failed_nothing_is_written_till_it_is_opened_anew(
    disk, place
):
    connection, database = disk
    fill(database)
    connection.fails = True
    with pytest.raises(StoreUnflushedError, match="cannot flush"):
        fill(database)
    connection.fails = False  # the next flush would succeed, and mean nothing
    for write in (lambda: fill(database), lambda: database.writing().__enter__()):
        with pytest.raises(StoreUnavailableError, match="nothing is written") as caught:
            write()
        assert "restart the server" in caught.value.advice
    with database.reading() as read:
        assert read.exec_driver_sql("SELECT COUNT(*) FROM store").scalar() == 1
    anew = Database(lambda: connect_file(place))
    fill(anew)
    anew.close()


def test_a_store_flushes_what_it_finds_when_it_is_opened(place):
    first = Store.open(place)
    first._databases[1].append(
        lambda driver: driver.execute("UPDATE store SET next_rid = 4242")
    )
    Store.open(place).close()
    # The main file alone, without the log beside it.
    alone = place.with_name("copy.db")
    alone.write_bytes(place.read_bytes())
    first.close()
    with sqlite3.connect(alone) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        assert [(4242,)] == connection.execute("SELECT next_rid FROM store").fetchall()
    connection.close()


def how_it_waits(database):
    """Return SQLite's own word on whether commits wait for the disk: 2 is FULL."""
    return database.append(
        lambda driver: driver.execute("PRAGMA synchronous").fetchone()[0]
    )


def test_what_is_noted_is_seen_at_once_and_the_next_change_waits_again(place):
    Store.open(place).close()
    database, other = (Database(lambda: connect_file(place)) for _ in range(2))

    def change(driver):
        assert 1 == driver.execute("PRAGMA synchronous").fetchone()[0]
        driver.execute("UPDATE store SET next_rid = 4242")

    def change_and_fail(driver):
        driver.execute("UPDATE store SET next_rid = 1")
        raise ZeroDivisionError

    database.note(change)
    assert [(4242,)] == other.rows(NEXT_RID)
    assert 2 == how_it_waits(database)
    with suppress(ZeroDivisionError):
        database.note(change_and_fail)
    assert [(4242,)] == other.rows(NEXT_RID)
    assert 2 == how_it_waits(database)
    for each in (database, other):
        each.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        database.note(change)
    with pytest.raises(StoreUnavailableError, match="closed"):
        other.rows(NEXT_RID)


def test_what_shall_be_durable_waits_for_the_disk_after_what_need_not(place):
    """How it waits is the connection's: what follows a note must not inherit it."""
    Store.open(place).close()
    database = Database(lambda: connect_file(place))
    waits = []

    def work(driver):
        waits.append(driver.execute("PRAGMA synchronous").fetchone()[0])

    try:
        for _ in range(2):
            database.note(work)
            database.note(work)
            database.append(work)
            database.note(work)
            with database.writing() as connection:
                waits.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    finally:
        database.close()
    does_not, does = 1, 2  # NORMAL, FULL
    assert [does_not, does_not, does, does_not, does] * 2 == waits


@pytest.mark.parametrize("is_appended", [True, False])
def test_a_note_in_the_middle_of_what_shall_wait_changes_nothing_of_that(
    place, is_appended
):
    """A finalizer's, on the thread that writes, which has the lock already."""
    Store.open(place).close()
    database, waits, noted = Database(lambda: connect_file(place)), [], []

    def finalize(frame, event, _argument):
        # Right before the transaction begins; whoever asked first has looked.
        is_there = frame.f_code.co_name in {"_append", "_transaction"}
        if is_there and event == "call" and not noted:
            noted.append(True)
            database.note(lambda _driver: None)

    def work(driver):
        waits.append(driver.execute("PRAGMA synchronous").fetchone()[0])

    def write():
        if is_appended:
            database.append(work)
            return
        with database.writing() as connection:
            waits.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    try:
        write()
        before = sys.getprofile()
        sys.setprofile(finalize)
        try:
            write()
        finally:
            sys.setprofile(before)
        database.note(work)  # and does not wait, as ever
        write()
    finally:
        database.close()
    assert ([True], [2, 2, 1, 2]) == (noted, waits)


def test_a_connection_that_waits_for_nothing_stays_so(place):
    Store.open(place).close()
    database = Database(lambda: connect_aside(place))
    waits = []

    def work(driver):
        waits.append(driver.execute("PRAGMA synchronous").fetchone()[0])

    try:
        database.note(work)
        database.append(work)
    finally:
        database.close()
    assert [1, 1] == waits


def test_a_note_that_fails_leaves_nothing_that_does_not_wait(place):
    Store.open(place).close()
    database = Database(lambda: connect_file(place))
    waits = []
    try:
        with pytest.raises(StoreUnavailableError):
            database.note(lambda driver: driver.execute("no such words"))
        database.append(
            lambda driver: waits.extend(driver.execute("PRAGMA synchronous").fetchone())
        )
    finally:
        database.close()
    assert [2] == waits
