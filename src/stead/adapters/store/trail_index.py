"""The trail's index, in a database of its own beside the store.

It shares no lock with whoever appends. What it holds can be made again from the trail,
so a crash may cost it its last page, and what is damaged is thrown away: a file that is
no database, that is cut off, or that holds other tables than ours.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    cast,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects import sqlite

from stead.adapters.store.creation import touch
from stead.adapters.store.database import Database, connect_file, connect_memory
from stead.adapters.store.safety import COMPANIONS, require_safe_files
from stead.errors import (
    IndexDamagedError,
    InvalidRequestError,
    StoreUnavailableError,
)
from stead.ledger.ports import Block, Reached, TermUse
from stead.ledger.postings import damaged

SUFFIX: Final = "-trail-index"
"""What its file's name has after the store's."""

_FORMAT: Final = 1
_CACHE_KIB: Final = 65_536  # at most; taken as pages are touched
_HIGHEST: Final = b"\xff" * 1024  # above every value, which is shorter
_IN_ONE_STATEMENT: Final = 500
_PRIMARY_CODE: Final = 0xFF
_log: Final = logging.getLogger("stead.store")

# What SQLite says where the file is sound, and something else is wrong.
_SOUND: Final = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip

_METADATA: Final = MetaData()
_STATE: Final = Table(
    "state",
    _METADATA,
    Column("format", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
_TERM: Final = Table(
    "term",
    _METADATA,
    Column("kind", Integer, primary_key=True),
    Column("value", LargeBinary, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
_BLOCK: Final = Table(
    "block",
    _METADATA,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("postings", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


def _text(statement: sqlite.Insert) -> str:
    """Return a statement as the driver reads it.

    With rows by the thousand, what SQLAlchemy does for each value takes longer than
    what SQLite does.
    """
    return str(statement.compile(dialect=sqlite.dialect()))


_new_term = sqlite.insert(_TERM)
_ADD_USE: Final = _text(
    _new_term.on_conflict_do_update(
        index_elements=[_TERM.c.kind, _TERM.c.value],
        set_={
            "first": func.min(_TERM.c.first, _new_term.excluded.first),
            "last": func.max(_TERM.c.last, _new_term.excluded.last),
            "count": _TERM.c.count + _new_term.excluded.count,
        },
    )
)
_new_block = sqlite.insert(_BLOCK)
_ADD_BLOCK: Final = _text(
    _new_block.on_conflict_do_update(
        index_elements=[_BLOCK.c.term, _BLOCK.c.chunk],
        set_={
            # SQLite joins bytes as it joins text, byte for byte, and calls it text.
            "postings": cast(
                _BLOCK.c.postings.concat(_new_block.excluded.postings), LargeBinary
            )
        },
    )
)
_IN_SPAN: Final = (
    (_TERM.c.kind == bindparam("kind"))
    & (_TERM.c.value >= bindparam("low", type_=LargeBinary))
    & (_TERM.c.value < bindparam("high", type_=LargeBinary))
)
_USES: Final = select(_TERM).where(_IN_SPAN).limit(bindparam("limit"))
_USES_OF: Final = select(_TERM).where(
    _TERM.c.kind == bindparam("kind"),
    _TERM.c.value.in_(bindparam("values", expanding=True)),
)
_BOUNDS: Final = select(func.min(_TERM.c.first), func.max(_TERM.c.last)).where(_IN_SPAN)
_TERMS: Final[BindParameter[int]] = bindparam("terms", expanding=True)
_CHUNKS: Final = (
    select(_BLOCK.c.chunk)
    .where(
        _BLOCK.c.term.in_(_TERMS),
        _BLOCK.c.chunk.between(bindparam("first"), bindparam("last")),
    )
    .distinct()
    .limit(bindparam("limit"))
)
_OLDEST: Final = _CHUNKS.order_by(_BLOCK.c.chunk)
_NEWEST: Final = _CHUNKS.order_by(_BLOCK.c.chunk.desc())
_BLOCKS: Final = select(_BLOCK).where(
    _BLOCK.c.term.in_(_TERMS),
    _BLOCK.c.chunk.in_(bindparam("chunks", expanding=True)),
)


class SqlTrailIndex:
    """The `TrailIndex` of a store. It is opened when it is first used.

    Args:
        path: its file; None for one in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = RLock()
        self._database: Database | None = None
        self._is_closed = False

    def reached(self) -> Reached:
        """Return how far it goes."""
        with self._transaction() as connection:
            return _reached(connection)

    def add(
        self,
        since: Reached,
        upto: Reached,
        uses: Sequence[TermUse],
        blocks: Sequence[Block],
    ) -> bool:
        """Take in what follows `since`; see `TrailIndex.add`."""
        with self._transaction(is_writing=True) as connection:
            if _reached(connection) != since:
                return False
            connection.exec_driver_sql(_ADD_USE, [_row_of_use(use) for use in uses])
            if blocks:
                rows = [(one.term, one.chunk, one.postings) for one in blocks]
                connection.exec_driver_sql(_ADD_BLOCK, rows)
            connection.execute(
                _STATE.update(), {"sequence": upto.sequence, "digest": upto.digest}
            )
        return True

    def clear(self) -> None:
        """Forget everything."""
        with self._transaction(is_writing=True) as connection:
            _METADATA.drop_all(connection)
            _make_tables(connection)

    def uses(
        self, kind: int, low: bytes, high: bytes | None, limit: int
    ) -> list[TermUse]:
        """Return what is kept of some terms; see `TrailIndex.uses`."""
        values = {**_span(kind, low, high), "limit": limit}
        with self._transaction() as connection:
            return [_use(row) for row in connection.execute(_USES, values)]

    def uses_of(self, kind: int, values: Sequence[bytes]) -> list[TermUse]:
        """Return what is kept of these terms."""
        found: list[TermUse] = []
        with self._transaction() as connection:
            for at in range(0, len(values), _IN_ONE_STATEMENT):
                part = list(values[at : at + _IN_ONE_STATEMENT])
                rows = connection.execute(_USES_OF, {"kind": kind, "values": part})
                found += [_use(row) for row in rows]
        return found

    def bounds(
        self, kind: int, low: bytes, high: bytes | None
    ) -> tuple[int, int] | None:
        """Return the first and last entry of some terms; see `TrailIndex.bounds`."""
        with self._transaction() as connection:
            row = connection.execute(_BOUNDS, _span(kind, low, high)).one()
        return None if row[0] is None else (_number(row[0]), _number(row[1]))

    def chunks(
        self,
        terms: Sequence[int],
        first: int,
        last: int,
        *,
        limit: int,
        newest_first: bool = False,
    ) -> list[int]:
        """Return the next stretches that have any of the terms."""
        values = {"terms": list(terms), "first": first, "last": last, "limit": limit}
        statement = _NEWEST if newest_first else _OLDEST
        with self._transaction() as connection:
            return [_number(n) for n in connection.execute(statement, values).scalars()]

    def blocks(self, terms: Sequence[int], chunks: Sequence[int]) -> list[Block]:
        """Return what these terms have in these stretches."""
        found: list[Block] = []
        with self._transaction() as connection:
            for at in range(0, len(terms), _IN_ONE_STATEMENT):
                part = list(terms[at : at + _IN_ONE_STATEMENT])
                values = {"terms": part, "chunks": list(chunks)}
                found += [_block(row) for row in connection.execute(_BLOCKS, values)]
        return found

    def close(self) -> None:
        """Close it; a second call does nothing."""
        with self._lock:
            self._is_closed = True
            self._forget()

    # --- inside -----------------------------------------------------------------------

    @contextmanager
    def _transaction(self, *, is_writing: bool = False) -> Iterator[Connection]:
        """Run a transaction; what turns out to be damaged is thrown away."""
        with self._lock:
            try:
                database = self._opened()
                begun = database.writing() if is_writing else database.reading()
                with begun as connection:
                    yield connection
            except (StoreUnavailableError, InvalidRequestError) as error:
                if self._is_closed or not _is_damaged(error):
                    raise
                self._throw_away()
                raise IndexDamagedError(f"the trail's index: {error}") from error

    def _opened(self) -> Database:
        if self._is_closed:
            raise StoreUnavailableError("the trail's index is closed")
        if self._database is None:
            self._database = self._open()
        return self._database

    def _open(self) -> Database:
        database = Database(self._connect())
        try:
            with database.writing() as connection:
                if not inspect(connection).has_table(_STATE.name):
                    _make_tables(connection)
                elif _format(connection) != _FORMAT:
                    _METADATA.drop_all(connection)
                    _make_tables(connection)
        except BaseException:
            database.close()
            raise
        return database

    def _connect(self) -> Callable[[], sqlite3.Connection]:
        path = self._path
        if path is None:
            return connect_memory
        try:
            touch(path)
        except FileExistsError:
            require_safe_files(path)
        except OSError as error:
            raise StoreUnavailableError(
                f"the trail's index `{path}` cannot be made: {error.strerror}"
            ) from error
        return lambda: _connect_index(path)

    def _forget(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _throw_away(self) -> None:
        """Begin anew, next time, with an empty file."""
        _log.warning("the trail's index is damaged, and is made anew")
        self._forget()
        if self._path is not None:
            for tail in ("", *COMPANIONS):
                name = f"{self._path.name}{tail}"
                self._path.with_name(name).unlink(missing_ok=True)


def _connect_index(path: Path) -> sqlite3.Connection:
    connection = connect_file(path)
    # A crash may take the last pages: they are made again from the trail.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Of a long trail each transaction touches thousands of pages; those that do not fit
    # would be written, and read again, several times in one.
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def _make_tables(connection: Connection) -> None:
    _METADATA.create_all(connection)
    first = {"format": _FORMAT, "sequence": 0, "digest": b""}
    connection.execute(insert(_STATE), first)


def _format(connection: Connection) -> int | None:
    found: int | None = connection.execute(select(_STATE.c.format)).scalar()
    return found


def _reached(connection: Connection) -> Reached:
    row = connection.execute(select(_STATE.c.sequence, _STATE.c.digest)).one_or_none()
    if row is None or not isinstance(row.digest, bytes):
        raise damaged("no state")
    return Reached(_number(row.sequence), row.digest)


def _span(kind: int, low: bytes, high: bytes | None) -> dict[str, Any]:
    return {"kind": kind, "low": low, "high": _HIGHEST if high is None else high}


def _use(row: Any) -> TermUse:
    if not isinstance(row.value, bytes):
        raise damaged("a value that is no bytes")
    return TermUse(
        _number(row.kind),
        row.value,
        _number(row.first),
        _number(row.last),
        _number(row.count),
    )


def _row_of_use(use: TermUse) -> tuple[int, bytes, int, int, int]:
    return use.kind, use.value, use.first, use.last, use.count


def _block(row: Any) -> Block:
    if not isinstance(row.postings, bytes):
        raise damaged("postings that are no bytes")
    return Block(_number(row.term), _number(row.chunk), row.postings)


def _number(value: object) -> int:
    # SQLite keeps what it is given in a column of numbers, text too.
    if not isinstance(value, int):
        raise damaged(f"`{value!r}` in place of a number"[:120])
    return value


def _is_damaged(error: StoreUnavailableError | InvalidRequestError) -> bool:
    """Tell whether an error means that the file itself is not what it should be."""
    if isinstance(error, IndexDamagedError):
        return True
    cause = error.__cause__
    cause = getattr(cause, "orig", cause)
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE not in _SOUND
