"""How far each sink has got, and the trail as sinks read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import LargeBinary, bindparam, cast, delete, insert, select

from stead.adapters.store.database import Database
from stead.adapters.store.entries import SqlLedgerStore, mapped
from stead.adapters.store.evidence import SqlEvidenceStore
from stead.adapters.store.schema import SINK
from stead.ledger.ports import Entry
from stead.ledger.remaining import Remaining
from stead.ledger.sinks import Cursor

_OF: Final = select(SINK.c.number, cast(SINK.c.digest, LargeBinary)).where(
    SINK.c.name == bindparam("sink")
)
_FORGET: Final = delete(SINK).where(SINK.c.name == bindparam("sink"))
_ADD: Final = insert(SINK)


class SqlSinkStore:
    """The `SinkStore` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trail = Remaining(SqlLedgerStore(database), SqlEvidenceStore(database))

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered above `after`, in order."""
        return self._trail.entries(after, limit)

    def last(self) -> Entry | None:
        """Return the entry with the highest number, or None."""
        return self._trail.last()

    def cursor(self, sink: str) -> Cursor:
        """Return how far a sink has got.

        Raises:
            LedgerUnavailableError: the store cannot be read.
        """
        with mapped(), self._database.reading() as connection:
            row = connection.execute(_OF, {"sink": sink}).first()
        return Cursor() if row is None else Cursor(row[0], row[1])

    def move(self, sink: str, cursor: Cursor) -> None:
        """Keep how far a sink has got.

        Raises:
            LedgerUnavailableError: it was not kept.
        """
        row = {"name": sink, "number": cursor.number, "digest": cursor.digest}
        with mapped(), self._database.writing() as connection:
            connection.execute(_FORGET, {"sink": sink})
            connection.execute(_ADD, row)
