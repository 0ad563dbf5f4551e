"""Ending sessions of every process that shares the store, within a transaction."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from stead.adapters.store.database import Database
from stead.adapters.store.generation import count_change
from stead.adapters.store.schema import LIVE_SESSION, SESSION_END, STORE
from stead.model.luid import Luid
from stead.model.sid import Sid

_GENERATION: Final = select(STORE.c.generation)
_FORGET: Final = delete(SESSION_END).where(SESSION_END.c.whose == bindparam("key"))
_NUMBERS: Final = select(SESSION_END.c.whose).where(SESSION_END.c.whose.like("0x%"))
_IS_LIVE: Final = select(LIVE_SESSION.c.logon_id).where(
    LIVE_SESSION.c.logon_id == bindparam("number")
)


class SqlSessionEnds:
    """The `SessionEnds` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def end_session(self, logon_id: Luid) -> None:
        """End one.

        What was said of sessions that live no more is forgotten with it: a process
        strikes its session off when it has ended, and one that was given up ends all.
        """
        with self._database.writing() as connection:
            for whose in connection.execute(_NUMBERS).scalars().all():
                number = {"number": int(whose, 0)}
                if connection.execute(_IS_LIVE, number).first() is None:
                    connection.execute(_FORGET, {"key": whose})
            _end(connection, str(logon_id))

    def end_sessions_of(self, user: Sid) -> None:
        """End all of a user's that there are by now."""
        with self._database.writing() as connection:
            end_sessions_of(connection, user)


def end_sessions_of(connection: Connection, user: Sid) -> None:
    """End all sessions of a user, in the transaction that gives the reason."""
    _end(connection, str(user))


def _end(connection: Connection, whose: str) -> None:
    count_change(connection)
    generation = connection.execute(_GENERATION).scalar_one()
    connection.execute(_FORGET, {"key": whose})
    connection.execute(insert(SESSION_END).values(whose=whose, generation=generation))
