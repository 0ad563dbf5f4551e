"""A store of a version before this one is brought up to date when it is opened.

Version by version, all of it in one transaction: two processes that open the store at
once upgrade it once, and a crash leaves the old store whole. A process of the old
version that has the store open goes on, and its changes count there from the next
second on as they did before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update

from stead.adapters.store.creation import DEFAULT_RIGHTS
from stead.adapters.store.database import Database
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    LOGON_FAILURE,
    METADATA,
    PASSWORD,
    SINK,
    STORE,
    VERSION,
)
from stead.errors import StoreUnavailableError


def bring_up_to_date(database: Database, path: Path) -> None:
    """Return if this is a store of this version, or was made one.

    Raises:
        StoreUnavailableError: it is no store, or one of a version that is not known.
    """
    if _version(database, path) in _STEPS:
        with database.writing() as connection:
            # Read again: another process may have been faster.
            found = connection.execute(select(STORE.c.version)).scalar_one()
            while (step := _STEPS.get(found)) is not None:
                step(connection)
                found += 1
            connection.execute(update(STORE).values(version=found))
    version = _version(database, path)
    if version != VERSION:
        raise StoreUnavailableError(
            f"`{path}` has schema version `{version}`; this program knows `{VERSION}`",
            advice="open it with the version of Stead that wrote it",
        )


def _version(database: Database, path: Path) -> int | None:
    with database.reading() as connection:
        if not inspect(connection).has_table(STORE.name):
            raise StoreUnavailableError(
                f"`{path}` is not a store",
                advice="name the file of a store, or one that does not exist yet",
            )
        version: int | None = connection.execute(
            select(STORE.c.version)
        ).scalar_one_or_none()
    return version


def _add_passwords(connection: Connection) -> None:
    """Make version 2 of version 1: passwords, failed logons, rights to log on.

    Whoever could log on before still can: version 1 asked for no right.
    """
    connection.execute(
        text("ALTER TABLE store ADD COLUMN generation BIGINT DEFAULT 1 NOT NULL")
    )
    # A table that is there already is none of ours: an error, and nothing is changed.
    new = [PASSWORD, LOGON_FAILURE]
    METADATA.create_all(connection, tables=new, checkfirst=False)
    rights = select(ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name)
    held = {(row.holder, row.name) for row in connection.execute(rights)}
    for sid, right in DEFAULT_RIGHTS:
        if (sid, right.value) not in held:
            connection.execute(
                insert(ACCOUNT_RIGHT).values(holder=sid, name=right.value)
            )


def _add_sinks(connection: Connection) -> None:
    """Make version 3 of version 2: how far each sink has got."""
    METADATA.create_all(connection, tables=[SINK], checkfirst=False)


_STEPS: Final[dict[int, Callable[[Connection], None]]] = {
    1: _add_passwords,
    2: _add_sinks,
}
"""What makes the next version of each."""
