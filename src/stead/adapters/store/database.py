"""One connection to the database, used by one thread at a time.

The connection is opened with the store, by the server as itself, and stays: a thread
that impersonates a client could not open the file, and must not be the one to create
SQLite's files beside it. No error of SQLAlchemy or of the driver leaves this module.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, Final, TypeVar

from sqlalchemy import ClauseElement, Connection, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from stead.errors import (
    InvalidRequestError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnflushedError,
)

BUSY_SECONDS: Final = 5.0
"""How long a transaction waits for another process's before it is refused."""

_RETRY_SECONDS: Final = 0.01
_PRIMARY_CODE: Final = 0xFF

# SQLite's primary result codes, what they mean to an operator, and what helps.
_CAUSES: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space on the store's disk"),
    sqlite3.SQLITE_BUSY: (
        "another process holds it",
        "find the process that keeps the store locked",
    ),
    sqlite3.SQLITE_LOCKED: (
        "another transaction holds it",
        "find what keeps the store locked",
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "check the mount and the mode of the store's file",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk fails, is full, or a size limit is reached",
        "check the kernel's log, the free space, and the limits of the process",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "its files cannot be opened",
        "check that the server may write the store's file and folder",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "its file is damaged",
        "keep the file as evidence and restore a copy",
    ),
    sqlite3.SQLITE_NOTADB: (
        "its file is not a database",
        "name the file of a store, or one that does not exist yet",
    ),
}


# What Linux could not flush it does not try again, and a later flush that succeeds says
# nothing about it.
_UNFLUSHED: Final = frozenset({
    sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC,
})  # fmt: skip


_T = TypeVar("_T")


class Database:
    """A connection, its lock, and transactions that map every failure.

    Once the disk could not flush, nothing is written any more: whatever is written
    after that might stand on what is lost when power fails. Opened anew, a store first
    flushes what it finds (`flush_anew`).
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Connect at once; raises `StoreUnavailableError`."""
        self._pid = os.getpid()
        self._lock = RLock()
        self._is_doubtful = False
        self._usual: int | None = None  # how commits wait, if they do not by now
        self._cursor: sqlite3.Cursor | None = None
        with _mapped_driver():
            plain = connect()
        self._plain: sqlite3.Connection | None = plain  # until it is closed
        # One connection for good: `StaticPool` hands the same one to everybody.
        self._engine = create_engine(
            "sqlite://", creator=lambda: plain, poolclass=StaticPool
        )
        with _mapped():
            self._connection = self._engine.connect()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the database."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run a transaction that excludes other writers from its beginning.

        It is durable when the block was left. An error raised in it undoes it.
        """
        self.require_own_process()  # before the lock: see `_transaction`
        with self._lock:
            self._require_sound()
            self._wait_as_usual()
            with self._transaction("BEGIN IMMEDIATE") as connection:
                yield connection

    def append(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        """Run a transaction as `writing` does, in the driver's own words.

        For the one path on which every request waits: there, what SQLAlchemy does
        around each statement takes longer than SQLite itself, and so do a cursor for
        each statement and a generator for each `with`. Text of statements comes from
        `plain_text`.

        Args:
            work: what is done in it, with a cursor that it does not keep.

        Returns:
            what `work` returned.
        """
        self.require_own_process()
        with self._lock:
            self._wait_as_usual()
            return self._append(work)

    def _append(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        driver = self._cursor or self._sound_cursor()
        self._cursor = None  # till all went well
        try:
            driver.execute("BEGIN IMMEDIATE")
            done = work(driver)
            driver.execute("COMMIT")
        except BaseException:
            with self._doubting(), _mapped_driver():
                # SQLite has undone it by itself where the disk was full or failed.
                if driver.connection.in_transaction:
                    driver.execute("ROLLBACK")
                raise
        self._cursor = driver
        return done

    def _sound_cursor(self) -> sqlite3.Cursor:
        self._require_sound()
        return self._driver().cursor()

    def note(self, work: Callable[[sqlite3.Cursor], _T]) -> _T:
        """Run a transaction as `append` does, which does not wait for the disk.

        Everybody sees it at once. It is durable when something is flushed after it,
        over whatever connection: SQLite flushes its whole log. Power that fails before
        that undoes it, with all that came after it.
        """
        self.require_own_process()
        # A finalizer's, in the middle of what shall wait, changes nothing of that.
        is_amid = self._lock._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001
        with self._lock:
            if not is_amid:
                self._wait_for_nothing()
            return self._append(work)

    def _wait_for_nothing(self) -> None:
        """Have commits not wait for the disk, until the next that shall.

        To change that takes as long as a note itself, and notes come one after another.
        """
        if self._usual is None:
            with _mapped_driver():
                driver = self._driver()
                (usual,) = driver.execute("PRAGMA synchronous").fetchone()
                # First: what comes between must not leave it so for whatever waits.
                self._usual = usual
                driver.execute("PRAGMA synchronous = NORMAL")

    def _wait_as_usual(self) -> None:
        """Have commits wait as the connection was opened to; before each that shall."""
        if self._usual is not None:
            with _mapped_driver():
                self._driver().execute(f"PRAGMA synchronous = {self._usual}")
            self._usual = None

    def rows(self, query: ClauseElement, values: Sequence[Any] = ()) -> list[Any]:
        """Return what one query finds, which sees one state of the database.

        In the driver's own words, as `append`: for what every logon asks.

        Args:
            query: one that is made once.
            values: of its parameters, in the order in which it names them.
        """
        self.require_own_process()
        with self._lock:
            try:
                return self._driver().execute(text_of(query), values).fetchall()
            except sqlite3.Error:
                with self._doubting(), _mapped_driver():
                    raise

    def flush_anew(self) -> None:
        """Put into the main file, and flush, what lies in the write-ahead log.

        An earlier process may have written there what the disk could not flush: it can
        be read, and would be gone after a power cut. Waits for no other process.

        Raises:
            StoreUnavailableError: the disk still fails.
        """
        with self._lock, _mapped_driver():
            self._driver().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _require_sound(self) -> None:
        if self._is_doubtful:
            raise StoreUnavailableError(
                "the disk could not flush, so nothing is written any more",
                advice="see to the disk, then restart the server",
            )

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Remember that the disk could not flush."""
        try:
            yield
        except StoreUnflushedError:
            self._is_doubtful = True
            self._cursor = None
            raise

    def _driver(self) -> sqlite3.Connection:
        if self._plain is None:
            raise StoreUnavailableError("the store is closed")
        return self._plain

    def close(self) -> None:
        """Close the connection. In a forked child: forget it, it is the parent's."""
        with self._lock:
            self._plain = self._cursor = None
            if os.getpid() == self._pid:
                self._connection.close()
                self._engine.dispose()
            else:
                self._engine.dispose(close=False)

    def require_own_process(self) -> None:
        """Refuse in a forked child; raises `StoreUnavailableError`."""
        if os.getpid() != self._pid:
            raise StoreUnavailableError(
                "the store belongs to the process that opened it, not to its forks",
                advice="open the store again in the child",
            )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        # Before the lock: a fork may have copied it while another thread held it.
        self.require_own_process()
        with self._lock, self._doubting(), _mapped():
            self._driver()  # it is open
            try:
                with self._connection.begin():
                    self._connection.exec_driver_sql(begin)
                    yield self._connection
            except BaseException:
                # An interrupt may have come between beginning and the block itself.
                if self._connection.in_transaction():
                    self._connection.rollback()
                raise


def plain_text(statement: ClauseElement) -> str:
    """Return a statement as SQLite's driver reads it, its values numbered by `?`.

    The values follow in the order in which the statement names them.
    """
    return str(statement.compile(dialect=sqlite.dialect()))


@cache
def text_of(statement: ClauseElement) -> str:
    """Return `plain_text` of a statement that is made once; so is its text, when used.

    To make it takes longer than SQLite takes to answer it a hundred times.
    """
    return plain_text(statement)


def connect_file(path: Path) -> sqlite3.Connection:
    """Open an existing store file: write-ahead log, every commit flushed."""
    return _connect_to(path, "FULL")


def connect_aside(path: Path) -> sqlite3.Connection:
    """Open a store for what may be lost in a crash: commits do not wait for the disk.

    What others committed is flushed all the same, and stays.
    """
    return _connect_to(path, "NORMAL")


def _connect_to(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = _connect(f"{path.as_uri()}?mode=rw")
    try:
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have a write-ahead log, which a store that was restored from a copy may lack.

    SQLite itself does not wait here: two that change the mode at once would each wait
    for the other.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def connect_memory() -> sqlite3.Connection:
    """Open an empty database that ends with its connection."""
    return _connect("file::memory:")


def _connect(uri: str) -> sqlite3.Connection:
    # No isolation level: the driver begins nothing by itself, `_transaction` does.
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    # What is removed is overwritten: verifiers of old passwords are guessed at as well.
    # Debian's SQLite does so by itself, others do not.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise InvalidRequestError(
            f"the store's rules forbid this change: {error.orig}"
        ) from error
    except DBAPIError as error:
        raise _unavailable(error.orig) from error
    except SQLAlchemyError as error:
        raise StoreUnavailableError(f"the store is not available: {error}") from error


@contextmanager
def _mapped_driver() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise InvalidRequestError(
            f"the store's rules forbid this change: {error}"
        ) from error
    except sqlite3.Error as error:
        raise _unavailable(error) from error


def _unavailable(error: BaseException | None) -> StoreUnavailableError:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    cause, advice = _CAUSES.get(code, (f"{error}", ""))
    kind = StoreFullError if code == sqlite3.SQLITE_FULL else StoreUnavailableError
    if getattr(error, "sqlite_errorcode", 0) in _UNFLUSHED:
        kind, cause = StoreUnflushedError, "the disk cannot flush what is written"
    return kind(f"the store is not available: {cause}", advice=advice)
