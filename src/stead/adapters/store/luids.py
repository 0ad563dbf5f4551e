"""Numbers that a store gives out once: a block of the database's at a time."""

from __future__ import annotations

from threading import Lock
from typing import Final

from sqlalchemy import select, update

from stead.adapters.store.database import Database
from stead.adapters.store.schema import STORE
from stead.model.luid import Luid

_BLOCK: Final = 1000


class Luids:
    """Gives out the store's numbers to one process.

    What the process has not given out of its block when it ends, nobody ever gets.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._left = range(0)

    def allocate(self) -> Luid:
        """Return a number that this store never gave out before and never will."""
        # A forked child would give out its parent's block a second time.
        self._database.require_own_process()
        with self._lock:
            if not self._left:
                self._left = self._take()
            luid, self._left = self._left[0], self._left[1:]
        return Luid(luid)

    def _take(self) -> range:
        with self._database.writing() as connection:
            first = connection.execute(select(STORE.c.next_luid)).scalar_one()
            connection.execute(update(STORE).values(next_luid=first + _BLOCK))
        return range(first, first + _BLOCK)
