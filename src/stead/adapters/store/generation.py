"""How often what a logon depends on was changed: a number that only grows."""

from __future__ import annotations

from sqlalchemy import Connection, update

from stead.adapters.store.schema import STORE

_COUNT = update(STORE).values(generation=STORE.c.generation + 1)


def count_change(connection: Connection) -> None:
    """Count a change, in the transaction that makes it."""
    connection.execute(_COUNT)
