"""A store of an earlier version is brought up to date when it is opened.

Version by version, all of it in one transaction: two processes that open the store at
once upgrade it once, and a crash leaves the old store whole. A process of the old
version that has the store open goes on, and its changes count there from the next
second on as they did before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text, update

from stead.adapters.store.creation import DEFAULT_RIGHTS
from stead.adapters.store.database import Database
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    ALIAS,
    AUDIT_LOSABLE,
    AUDIT_SETTING,
    CHECKPOINT,
    GLOBAL_SACL,
    LIVE_SESSION,
    LOGON_FAILURE,
    METADATA,
    OBJECT,
    PASSWORD,
    SCRAM,
    SCRAM_KEY,
    SEGMENT,
    SERVER_PROCESS,
    SESSION_END,
    SINK,
    STORE,
    TREE,
    VERSION,
)
from stead.adapters.store.scram import write_scram_key
from stead.adapters.store.tree_row import build_tree
from stead.errors import StoreUnavailableError
from stead.model.access_mask import mapping_of
from stead.model.ace import Ace
from stead.model.acl import Acl, NoAcl
from stead.model.security_descriptor import SecurityDescriptor

_TRAIL: Final = "stead:trail"
_OLD_TRAIL_RIGHTS: Final = {"READ": 0x1}
_TRAIL_RIGHTS: Final = {"READ": 0x1, "CLEAR": 0x2}


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


def _add_trail(connection: Connection) -> None:
    """Make version 3 of version 2: all that belongs to the trail beside its entries.

    The tree, its checkpoints and segments; how far each sink has got; what is recorded
    beyond what always is.
    """
    _add_audit_policy(connection)
    new = [TREE, CHECKPOINT, SEGMENT, SINK]
    METADATA.create_all(connection, tables=new, checkfirst=False)
    tree = build_tree(connection.exec_driver_sql)
    connection.execute(insert(TREE).values(id=1, edge=tree.to_bytes()))
    _widen_trail(connection)


def _widen_trail(connection: Connection) -> None:
    """Give the trail its new rights, to whoever had every right to it before."""
    query = select(OBJECT.c.rights, OBJECT.c.descriptor).where(OBJECT.c.name == _TRAIL)
    row = connection.execute(query).first()
    if row is None or json.loads(row.rights) != _OLD_TRAIL_RIGHTS:
        return
    descriptor = SecurityDescriptor.from_bytes(row.descriptor)
    wider = replace(
        descriptor,
        dacl=_widened(descriptor.dacl),
        sacl=_widened(descriptor.sacl),
    )
    connection.execute(
        update(OBJECT)
        .where(OBJECT.c.name == _TRAIL)
        .values(
            rights=json.dumps(_TRAIL_RIGHTS, sort_keys=True),
            descriptor=wider.to_bytes(),
            version=OBJECT.c.version + 1,
        )
    )


def _widened(acl: Acl | NoAcl) -> Acl | NoAcl:
    if isinstance(acl, NoAcl):
        return acl
    return Acl(tuple(map(_wider, acl)), revision=acl.revision)


def _wider(ace: Ace) -> Ace:
    old, new = (mapping_of(r).all for r in (_OLD_TRAIL_RIGHTS, _TRAIL_RIGHTS))
    return replace(ace, mask=ace.mask | new) if ace.mask & old == old else ace


def _add_audit_policy(connection: Connection) -> None:
    # Objects can be deleted by now, and made again.
    connection.execute(
        text(
            "ALTER TABLE store ADD COLUMN next_object_version BIGINT DEFAULT 1 NOT NULL"
        )
    )
    new = [AUDIT_SETTING, GLOBAL_SACL, AUDIT_LOSABLE]
    METADATA.create_all(connection, tables=new, checkfirst=False)


def _add_network(connection: Connection) -> None:
    """Make version 4 of version 3: names elsewhere, times, live sessions, SCRAM."""
    new = [ALIAS, SERVER_PROCESS, LIVE_SESSION, SESSION_END, SCRAM, SCRAM_KEY]
    METADATA.create_all(connection, tables=new, checkfirst=False)
    write_scram_key(connection, os.urandom)
    for column in (
        "expires_at BIGINT",
        "logon_hours BLOB",
        "password_lasts BOOLEAN DEFAULT 0 NOT NULL",
    ):
        connection.execute(text(f"ALTER TABLE principal ADD COLUMN {column}"))


_STEPS: Final[Mapping[int, Callable[[Connection], None]]] = MappingProxyType(
    {1: _add_passwords, 2: _add_trail, 3: _add_network}
)
"""By the version that a store has: what makes the next one of it."""
