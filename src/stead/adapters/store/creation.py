"""How a store comes into being.

1. A file with a name of its own is made beside the place, readable by its owner alone.
2. The tables and the first rows are written into it, in one transaction.
3. It is linked to the store's name. If the name is taken meanwhile, that one wins.

A store with the right name is therefore always whole: a crash leaves a file of another
name, and two processes that create the same store at once end up sharing one.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert

from stead.adapters.store.database import Database, connect_file
from stead.adapters.store.naming import name_key
from stead.adapters.store.safety import COMPANIONS
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    FIRST_LUID,
    FIRST_RID,
    MEMBERSHIP,
    METADATA,
    PRINCIPAL,
    STORE,
    TREE,
    VERSION,
)
from stead.adapters.store.scram import write_scram_key
from stead.errors import StoreUnavailableError
from stead.ledger.tree import CompactRange
from stead.model.privilege import LogonRight
from stead.model.sid import Sid
from stead.model.well_known import (
    ADMINISTRATORS,
    BACKUP_OPERATORS,
    EVERYONE,
    NAMES,
    USERS,
    unix_user,
)

_NT_AUTHORITY: Final = 5
_DOMAIN_RID: Final = 21
_DOMAIN_BYTES: Final = 12
_MODE: Final = 0o600

DEFAULT_RIGHTS: Final = (
    (EVERYONE, LogonRight.NETWORK),
    (USERS, LogonRight.INTERACTIVE),
    (ADMINISTRATORS, LogonRight.INTERACTIVE),
    (BACKUP_OPERATORS, LogonRight.INTERACTIVE),
    (ADMINISTRATORS, LogonRight.BATCH),
    (BACKUP_OPERATORS, LogonRight.BATCH),
)
"""Who may log on how in a new store, as on Windows; as a service, nobody."""


def create_file(path: Path, entropy: Callable[[int], bytes]) -> None:
    """Create a store of this name, unless there is one by now.

    Args:
        path: in a folder that only the server may write.
        entropy: returns that many random bytes.

    Raises:
        StoreUnavailableError: it cannot be created.
    """
    draft = path.with_name(f".{path.name}.{entropy(8).hex()}.new")
    try:
        touch(draft)
        try:
            _fill(draft, entropy)
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            _remove(draft)
        _flush_folder(path.parent)
    except OSError as error:
        raise StoreUnavailableError(
            f"the store `{path}` cannot be created: {error.strerror}",
            advice="check the folder's mode and the free space",
        ) from error


def write_first_rows(connection: Connection, entropy: Callable[[int], bytes]) -> None:
    """Make the tables, the store's own authority and the groups every store has.

    Whoever creates the store is its first administrator, as the bare Unix identity
    `S-1-22-1-<uid>`.
    """
    founder = os.geteuid()
    words = struct.unpack("<3I", entropy(_DOMAIN_BYTES))
    domain = Sid.from_parts(_NT_AUTHORITY, (_DOMAIN_RID, *words))
    METADATA.create_all(connection)
    connection.execute(
        insert(STORE).values(
            id=1,
            version=VERSION,
            domain=domain,
            founder=founder,
            next_rid=FIRST_RID,
            next_luid=FIRST_LUID,
        )
    )
    connection.execute(insert(TREE).values(id=1, edge=CompactRange().to_bytes()))
    write_scram_key(connection, entropy)
    connection.execute(
        insert(PRINCIPAL),
        [
            {
                "sid": sid,
                "is_group": True,
                "name": NAMES[sid],
                "name_key": name_key(NAMES[sid]),
            }
            for sid in (ADMINISTRATORS, USERS, BACKUP_OPERATORS)
        ],
    )
    connection.execute(
        insert(MEMBERSHIP).values(
            group_sid=ADMINISTRATORS, member_sid=unix_user(founder)
        )
    )
    connection.execute(
        insert(ACCOUNT_RIGHT),
        [{"holder": sid, "name": right.value} for sid, right in DEFAULT_RIGHTS],
    )


def _fill(draft: Path, entropy: Callable[[int], bytes]) -> None:
    database = Database(lambda: connect_file(draft))
    try:
        with database.writing() as connection:
            write_first_rows(connection, entropy)
    finally:
        database.close()
    # Closing moves the write-ahead log into the file and removes it. On a full disk
    # it cannot, and says nothing: the file alone would then be no store.
    if draft.with_name(draft.name + COMPANIONS[0]).exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def touch(path: Path) -> None:
    """Create an empty file that its owner alone may read; raises `OSError`."""
    # Never done to a file that exists: closing it would drop every lock that SQLite
    # holds on it in this process.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, _MODE)
    try:
        os.fchmod(descriptor, _MODE)  # a umask may have taken bits of the owner's
    finally:
        os.close(descriptor)


def _remove(draft: Path) -> None:
    for tail in ("", *COMPANIONS):
        draft.with_name(draft.name + tail).unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
