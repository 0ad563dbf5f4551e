"""How often what a logon depends on was changed: a number that only grows."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from stead.adapters.store.database import Database
from stead.adapters.store.schema import STORE

_READ = select(STORE.c.generation)
_COUNT = update(STORE).values(generation=STORE.c.generation + 1)


def read_generation(database: Database) -> int:
    """Return the number."""
    with database.reading() as connection:
        number: int = connection.execute(_READ).scalar_one()
    return number


def count_change(connection: Connection) -> None:
    """Count a change, in the transaction that makes it."""
    connection.execute(_COUNT)
