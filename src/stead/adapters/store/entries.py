"""The trail's entries in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Connection,
    Executable,
    LargeBinary,
    bindparam,
    cast,
    func,
    insert,
    select,
)

from stead.adapters.store.database import Database, plain_text
from stead.adapters.store.schema import ENTRY
from stead.adapters.store.tree_row import edge_behind, set_edge
from stead.errors import (
    InvalidRequestError,
    LedgerFullError,
    LedgerUnavailableError,
    SteadError,
    StoreFullError,
    StoreUnavailableError,
)
from stead.ledger.ports import Entry
from stead.ledger.tree import grown

_PAGE: Final = 500
_MOST_ROWS: Final = 64
_LARGEST: Final = (1 << 63) - 1

# Built once: building a statement costs more than SQLite takes to answer it.
# The casts because SQLite lets whoever tampers put text into a column of bytes: the
# trail must still be readable, for `verify` to say where.
_ENTRY: Final = select(
    ENTRY.c.sequence,
    cast(ENTRY.c.body, LargeBinary).label("body"),
    cast(ENTRY.c.digest, LargeBinary).label("digest"),
)
_LAST: Final = _ENTRY.where(
    ENTRY.c.sequence == select(func.max(ENTRY.c.sequence)).scalar_subquery()
)
_LAST_TEXT: Final = plain_text(_LAST)
_VERSION: Final = "PRAGMA data_version"
_ADD_TEXT: Final = plain_text(insert(ENTRY))
_AFTER: Final = (
    _ENTRY.where(ENTRY.c.sequence > bindparam("after"))
    .order_by(ENTRY.c.sequence)
    .limit(bindparam("size"))
)


_BEFORE: Final = (
    _ENTRY.where(ENTRY.c.sequence < bindparam("before"))
    .order_by(ENTRY.c.sequence.desc())
    .limit(_PAGE)
)
_PICKED: Final = _ENTRY.where(
    ENTRY.c.sequence.in_(bindparam("sequences", expanding=True))
).order_by(ENTRY.c.sequence)


class _Known(NamedTuple):
    """How the trail stands, as long as nobody else has written to the database.

    Attributes:
        version: what SQLite counts of the others' commits, seen in a transaction.
        last: the last entry.
        edge: the tree's edge, as it is kept.
    """

    version: object
    last: Entry | None
    edge: bytes


class SqlLedgerStore:
    """The `LedgerStore` of a database.

    It appends over a connection of its own, so that looking up an account never waits
    for the disk to flush a record.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: _Known | None = None

    def append(self, build: Callable[[Entry | None], Sequence[Entry]]) -> None:
        """Keep what `build` makes of the last entry: all of it, or none.

        Raises:
            LedgerUnavailableError: nothing was kept.
        """
        known, self._known = self._known, None
        try:
            self._known = self._database.append(partial(_append, build, known))
        except SteadError:
            with mapped():
                raise

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered above `after`, in order, without loading all.

        Each page is a short transaction: a slow reader holds up nobody.
        """
        if after >= _LARGEST:
            return
        left = limit
        while left is None or left > 0:
            page = self._page(after, _PAGE if left is None else min(left, _PAGE))
            if not page:
                return
            yield from page
            after = page[-1].sequence
            left = None if left is None else left - len(page)

    def backwards(self, before: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered below `before`, the last first, page by page.

        The very last number that the database can hold is no entry's.
        """
        place = _LARGEST if before is None else min(before, _LARGEST)
        while page := self._rows(_BEFORE, {"before": max(place, 0)}):
            yield from page
            place = page[-1].sequence

    def picked(self, sequences: Sequence[int]) -> list[Entry]:
        """Return those entries of these numbers that there are, in order."""
        found: list[Entry] = []
        for at in range(0, len(sequences), _PAGE):
            part = list(sequences[at : at + _PAGE])
            found += self._rows(_PICKED, {"sequences": part})
        return sorted(found, key=lambda entry: entry.sequence)

    def last(self) -> Entry | None:
        """Return the entry with the highest number, or None."""
        with mapped(), self._database.reading() as connection:
            return _last(connection)

    def _page(self, after: int, size: int) -> list[Entry]:
        return self._rows(_AFTER, {"after": after, "size": size})

    def _rows(self, statement: Executable, values: dict[str, Any]) -> list[Entry]:
        with mapped(), self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(statement, values)]


def _append(
    build: Callable[[Entry | None], Sequence[Entry]],
    known: _Known | None,
    driver: sqlite3.Cursor,
) -> _Known:
    """Do what `SqlLedgerStore.append` does, in a transaction; return what is known."""
    version = driver.execute(_VERSION).fetchone()
    if known is None or known.version != version:
        row = driver.execute(_LAST_TEXT).fetchone()
        last = None if row is None else Entry(*row)
        known = _Known(version, last, edge_behind(driver, last))
    added = build(known.last)
    if not added:
        return known
    _add(driver, added)
    edge = grown(known.edge, [entry.body for entry in added])
    set_edge(driver, edge)
    return _Known(version, added[-1], edge)


def _add(driver: sqlite3.Cursor, added: Sequence[Entry]) -> None:
    """Insert entries, many rows by one statement.

    While a statement runs, the interpreter's lock is let go once, and not for each row:
    to get it back is to wait for whoever is running then.
    """
    if len(added) == 1:
        driver.execute(_ADD_TEXT, added[0])
        return
    for at in range(0, len(added), _MOST_ROWS):
        rows = added[at : at + _MOST_ROWS]
        driver.execute(_adding(len(rows)), tuple(chain.from_iterable(rows)))


@cache
def _adding(count: int) -> str:
    """Return the statement that inserts so many rows."""
    return _ADD_TEXT + ", (?, ?, ?)" * (count - 1)


@contextmanager
def mapped() -> Iterator[None]:
    """Turn a store's failures into the ledger's."""
    try:
        yield
    except StoreFullError as error:
        raise LedgerFullError(str(error), advice=error.advice) from error
    except (StoreUnavailableError, InvalidRequestError) as error:
        raise LedgerUnavailableError(str(error), advice=error.advice) from error


def _last(connection: Connection) -> Entry | None:
    row = connection.execute(_LAST).first()
    return None if row is None else _entry(row)


def _entry(row: Any) -> Entry:
    return Entry(row.sequence, row.body, row.digest)
