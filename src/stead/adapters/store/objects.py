"""Descriptors of named objects in the database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from stead.adapters.store.database import Database
from stead.adapters.store.naming import is_text, require_text
from stead.adapters.store.schema import OBJECT, STORE
from stead.authority.ports import StoredObject
from stead.errors import StaleVersionError, UnknownObjectError

# Built once: building a statement costs more than SQLite takes to answer it.
_ALL: Final = select(OBJECT).order_by("name")
_BY_NAME: Final = select(OBJECT).where(OBJECT.c.name == bindparam("name"))


class SqlObjectStore:
    """The `ObjectStore` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def object_by_name(self, name: str) -> StoredObject | None:
        """Return the object of this name."""
        if not is_text(name):
            return None
        with self._database.reading() as connection:
            return _find(connection, name)

    def add_object(self, stored: StoredObject) -> StoredObject:
        """Keep a new object; if the name exists, return what is kept and keep that."""
        require_text(stored.name)
        require_text(stored.type_name)
        with self._database.writing() as connection:
            kept = _find(connection, stored.name)
            if kept is not None:
                return kept
            first = connection.execute(select(STORE.c.next_object_version)).scalar_one()
            made = replace(stored, version=max(stored.version, first))
            connection.execute(
                insert(OBJECT).values(
                    name=stored.name,
                    type_name=stored.type_name,
                    rights=json.dumps(stored.rights, sort_keys=True),
                    mapping=_write_mapping(stored.mapping),
                    descriptor=stored.descriptor,
                    version=made.version,
                )
            )
        return made

    def set_object_descriptor(
        self, name: str, descriptor: bytes, *, version: int
    ) -> StoredObject:
        """Replace a descriptor if its version is still `version`.

        Raises:
            UnknownObjectError: there is no such object.
            StaleVersionError: somebody else changed it meanwhile.
        """
        with self._database.writing() as connection:
            kept = _require(connection, name, version)
            connection.execute(
                update(OBJECT)
                .where(OBJECT.c.name == name)
                .values(descriptor=descriptor, version=version + 1)
            )
        return replace(kept, descriptor=descriptor, version=version + 1)

    def remove_object(self, name: str, *, version: int) -> None:
        """Forget an object if its version is still `version`.

        Raises:
            UnknownObjectError, StaleVersionError: as `set_object_descriptor`.
        """
        with self._database.writing() as connection:
            _require(connection, name, version)
            connection.execute(delete(OBJECT).where(OBJECT.c.name == name))
            # Whoever still holds the old one must not take the next for it.
            connection.execute(
                update(STORE)
                .where(STORE.c.next_object_version <= version)
                .values(next_object_version=version + 1)
            )

    def objects(self) -> tuple[StoredObject, ...]:
        """Return all objects, by name."""
        with self._database.reading() as connection:
            return tuple(map(_stored, connection.execute(_ALL)))


def _require(connection: Connection, name: str, version: int) -> StoredObject:
    kept = _find(connection, name) if is_text(name) else None
    if kept is None:
        raise UnknownObjectError(f"there is no object `{name}`")
    if kept.version != version:
        raise StaleVersionError(
            f"`{name}` has version {kept.version}, not {version}",
            advice="read it again and decide again",
        )
    return kept


def _find(connection: Connection, name: str) -> StoredObject | None:
    row = connection.execute(_BY_NAME, {"name": name}).first()
    return None if row is None else _stored(row)


def _stored(row: Row[Any]) -> StoredObject:
    return StoredObject(
        row.name,
        row.type_name,
        json.loads(row.rights),
        row.descriptor,
        row.version,
        None if row.mapping is None else _read_mapping(row.mapping),
    )


def _write_mapping(mapping: tuple[int, int, int, int] | None) -> str | None:
    return None if mapping is None else json.dumps(mapping)


def _read_mapping(text: str) -> tuple[int, int, int, int]:
    read, write, execute, every = json.loads(text)
    return read, write, execute, every
