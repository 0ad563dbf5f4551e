"""A store of an earlier version is brought up to date when it is opened.

All of it in one transaction: two processes that open the store at once upgrade it once,
and a crash leaves the old store whole. A process of the old version that has the store
open goes on, and its changes count there from the next second on as they did before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update

from stead.adapters.store.creation import DEFAULT_RIGHTS
from stead.adapters.store.database import Database
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    AUDIT_LOSABLE,
    AUDIT_SETTING,
    GLOBAL_SACL,
    LOGON_FAILURE,
    METADATA,
    PASSWORD,
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
            _upgrade(connection)
    version = _version(database, path)
    if version != VERSION:
        raise StoreUnavailableError(
            f"`{path}` has schema version `{version}`; this program knows `{VERSION}`",
            advice="open it with the version of Stead that wrote it",
        )


def _upgrade(connection: Connection) -> None:
    """Take one step after the other, all in one transaction."""
    known = select(STORE.c.version)
    # Read again: another process may have been faster.
    while (version := connection.execute(known).scalar_one()) in _STEPS:
        _STEPS[version](connection)
        connection.execute(update(STORE).values(version=version + 1))


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


def _add_audit_policy(connection: Connection) -> None:
    """Make version 3 of version 2: what is recorded beyond what always is.

    Objects can be deleted by now, and made again.
    """
    connection.execute(
        text(
            "ALTER TABLE store ADD COLUMN next_object_version BIGINT DEFAULT 1 NOT NULL"
        )
    )
    new = [AUDIT_SETTING, GLOBAL_SACL, AUDIT_LOSABLE]
    METADATA.create_all(connection, tables=new, checkfirst=False)


_STEPS: Final[Mapping[int, Callable[[Connection], None]]] = MappingProxyType(
    {1: _add_passwords, 2: _add_audit_policy}
)
"""By the version that a store has: what makes the next one of it."""
