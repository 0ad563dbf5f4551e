"""The door to a store: check it, create it if need be, open it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from stead.adapters.store.accounts import SqlAccountStore
from stead.adapters.store.audit_policy import SqlAuditPolicyStore
from stead.adapters.store.creation import create_file, write_first_rows
from stead.adapters.store.credentials import SqlCredentialStore
from stead.adapters.store.database import (
    Database,
    connect_aside,
    connect_file,
    connect_memory,
)
from stead.adapters.store.entries import SqlLedgerStore
from stead.adapters.store.evidence import SqlEvidenceStore
from stead.adapters.store.objects import SqlObjectStore
from stead.adapters.store.place import Place
from stead.adapters.store.reserve import Reserve
from stead.adapters.store.roster import SqlSessionRoster
from stead.adapters.store.safety import require_safe_files, require_safe_folder
from stead.adapters.store.session_ends import SqlSessionEnds
from stead.adapters.store.sinks import SqlSinkStore
from stead.adapters.store.trail_index import SUFFIX, SqlTrailIndex
from stead.adapters.store.upgrading import bring_up_to_date
from stead.errors import StoreUnavailableError
from stead.ledger.ports import NoRoom

_MEMORY: Final = ":memory:"


class Store:
    """An open store.

    Attributes:
        accounts: accounts, groups, memberships and account rights.
        credentials: verifiers of passwords, and failed logons.
        objects: descriptors of named objects.
        audit_policy: what is recorded beyond what always is.
        session_ends: ends sessions, of whichever process.
        ledger: the entries of the trail.
        reading: the same entries, read without ever holding up who appends.
        evidence: what is known of the entries: tree, checkpoints, seals.
        index: what finds entries of the trail, in a file of its own; derived.

    Example::

        with Store.open("/var/lib/notes/notes.db") as store:
            alice = store.accounts.account_by_name("alice")
    """

    def __init__(
        self,
        main: Database,
        trail: Database,
        aside: Database,
        path: Path | None = None,
        place: Place | None = None,
    ) -> None:
        """Take over open databases; `Store.open` is what makes them."""
        self._path = path
        self._place = place or Place(None)
        self._databases = [main, trail, aside]
        self.accounts = SqlAccountStore(main, self._place)
        self.credentials = SqlCredentialStore(main)
        self.objects = SqlObjectStore(main)
        self.audit_policy = SqlAuditPolicyStore(main)
        self.session_ends = SqlSessionEnds(main)
        self.ledger = SqlLedgerStore(trail)
        self.reading = SqlLedgerStore(aside)
        self.evidence = SqlEvidenceStore(aside)
        self.index = SqlTrailIndex(None if path is None else _index_of(path))

    @classmethod
    def open(
        cls,
        place: str | os.PathLike[str],
        *,
        create: bool = True,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Open a store, and create it if there is none.

        To be called on a thread that impersonates nobody.

        Args:
            place: a path, `sqlite:///<path>`, or `:memory:` for a store that ends
                with this process.
            create: whether to create a store that does not exist.
            entropy: returns that many random bytes, for the SID of a new store.

        Raises:
            UnsafeStoreError: somebody else may read or write the file, or write one
                of the folders it lies in. ``advice`` says what to do.
            StoreUnavailableError: it cannot be opened, or is no store of this version.
        """
        path = _path(os.fspath(place))
        if path is None:
            return cls._open_memory(entropy)
        path = require_safe_folder(path.parent) / path.name
        if create and not os.path.lexists(path):
            create_file(path, entropy)
        require_safe_files(path)
        require_safe_files(_index_of(path))
        return cls._open_file(path)

    def reserve(self, size: int) -> Reserve | NoRoom:
        """Return the room that is kept beside the store for administrators.

        Args:
            size: bytes; 0 for none.

        Raises:
            UnsafeStoreError: what has its file's name is no file of the server's.
        """
        if self._path is None or not size:
            return NoRoom()
        return Reserve(self._path, size)

    def open_for_sinks(self) -> SqlSinkStore:
        """Return the trail to read from, and the cursors, for what sends it elsewhere.

        Over a connection of its own: who reads never holds up who appends. It closes
        with the store.

        Raises:
            StoreUnavailableError: it cannot be opened.
        """
        path = self._path
        if path is None:
            return SqlSinkStore(self._databases[-1])
        database = Database(lambda: connect_aside(path))
        self._databases.append(database)
        return SqlSinkStore(database)

    def open_roster(self) -> SqlSessionRoster:
        """Return where this process writes down its sessions; closes with the store.

        Over connections of its own: whoever asks whether a session may go on waits for
        nobody who writes.

        Raises:
            StoreUnavailableError: it cannot be opened.
        """
        path = self._path
        if path is None:
            main = self._databases[0]
            return SqlSessionRoster(main, main, self._place)
        asking = Database(lambda: connect_aside(path))
        self._databases.append(asking)
        writing = Database(lambda: connect_aside(path))
        self._databases.append(writing)
        roster = SqlSessionRoster(asking, writing, self._place)
        roster.generation(None)  # from here on, what is exchanged is found
        return roster

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        self.index.close()
        for database in self._databases:
            database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the store."""
        self.close()

    @classmethod
    def _open_file(cls, path: Path) -> Self:
        with ExitStack() as opened:
            place = Place(path)
            main = Database(lambda: connect_file(path))
            opened.callback(main.close)
            bring_up_to_date(main, path)
            main.flush_anew()
            trail = Database(lambda: connect_file(path))
            opened.callback(trail.close)
            aside = Database(lambda: connect_aside(path))
            opened.callback(aside.close)
            store = cls(main, trail, aside, path, place)
            opened.pop_all()  # it stands: nothing is closed
        return store

    @classmethod
    def _open_memory(cls, entropy: Callable[[int], bytes]) -> Self:
        database = Database(connect_memory)
        with database.writing() as connection:
            write_first_rows(connection, entropy)
        return cls(database, database, database)


def _index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUFFIX}")


def _path(place: str) -> Path | None:
    """Return the file that is meant, or None for a store in memory."""
    if place == _MEMORY:
        return None
    if "://" not in place:
        return _file(place)
    try:
        url = make_url(place)
    except ArgumentError as error:
        raise StoreUnavailableError(f"`{place}` is not a place for a store") from error
    if url.drivername != "sqlite" or url.host or url.query:
        raise StoreUnavailableError(
            f"a store of kind `{url.drivername}` cannot be opened",
            advice="name a path, `sqlite:///<path>` or `:memory:`",
        )
    name = url.database or _MEMORY
    return None if name == _MEMORY else _file(name)


def _file(name: str) -> Path:
    path = Path(name).absolute()
    if path.name in {"", ".."} or "\0" in name:
        raise StoreUnavailableError(f"`{name!a}` names no file")
    return path
