"""What is known of the trail's entries: tree, checkpoints and seals, in the database.

Checkpoints are written without waiting for the disk: a record that waits for its own
flush must not wait for theirs too, and what a crash loses of them the witness has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    Connection,
    LargeBinary,
    cast,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from stead.adapters.store.database import Database
from stead.adapters.store.schema import CHECKPOINT, ENTRY, SEGMENT, TREE
from stead.adapters.store.tree_row import read_edge
from stead.errors import (
    InvalidProofError,
    InvalidRequestError,
    LedgerUnavailableError,
    StoreUnavailableError,
)
from stead.ledger.ports import KeptCheckpoint
from stead.ledger.segments import Seal
from stead.ledger.tree import CompactRange

SPACING: Final = 1000
"""Between two checkpoints that are kept for good lie so many records at least."""

_REMOVED_AT_ONCE: Final = 1000
"""Entries that one transaction removes: a record waits for no more."""

# The casts: whoever tampers may put text where bytes belong.
_CHECKPOINT: Final = select(
    CHECKPOINT.c.size, CHECKPOINT.c.note, cast(CHECKPOINT.c.edge, LargeBinary)
)
_SEAL_ROW: Final = select(
    SEGMENT.c.number,
    SEGMENT.c.first,
    SEGMENT.c.last,
    cast(SEGMENT.c.digest, LargeBinary),
    cast(SEGMENT.c.edge, LargeBinary),
    SEGMENT.c.sealed_at,
    SEGMENT.c.note,
    SEGMENT.c.archived_by,
    SEGMENT.c.cleared_by,
)
_SEAL: Final = _SEAL_ROW.order_by(SEGMENT.c.number)
_LAST_REMOVED: Final = (
    _SEAL_ROW.where(SEGMENT.c.cleared_by != 0)
    .order_by(SEGMENT.c.number.desc())
    .limit(1)
)


class SqlEvidenceStore:
    """The `EvidenceStore` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tree(self) -> CompactRange:
        """Return the right edge of the tree over all entries that were ever kept."""
        with _mapped(), self._database.reading() as connection:
            return read_edge(connection.exec_driver_sql)

    def checkpoints(self) -> Iterator[KeptCheckpoint]:
        """Yield what is kept of the witness's checkpoints, the smallest first."""
        with _mapped(), self._database.reading() as connection:
            rows = connection.execute(_CHECKPOINT.order_by(CHECKPOINT.c.size)).all()
        yield from map(_kept, rows)

    def notes(self) -> tuple[str, ...]:
        """Return the notes of checkpoints as they are, readable or not."""
        query = select(CHECKPOINT.c.note).order_by(CHECKPOINT.c.size)
        with _mapped(), self._database.reading() as connection:
            return tuple(map(str, connection.execute(query).scalars()))

    def last_checkpoint(self) -> KeptCheckpoint | None:
        """Return the checkpoint of the largest tree."""
        with _mapped(), self._database.reading() as connection:
            query = _CHECKPOINT.order_by(CHECKPOINT.c.size.desc()).limit(1)
            row = connection.execute(query).first()
        return None if row is None else _kept(row)

    def keep_checkpoint(self, kept: KeptCheckpoint) -> None:
        """Keep a checkpoint, and thin out those before it."""
        values = {"note": kept.note, "edge": kept.tree.to_bytes()}
        add = insert_or_update(CHECKPOINT).values(size=kept.tree.size, **values)
        with _mapped(), self._database.writing() as connection:
            _thin_out(connection, kept.tree.size)
            connection.execute(
                add.on_conflict_do_update(index_elements=["size"], set_=values)
            )

    def has_witness(self) -> bool:
        """Tell whether this trail ever had a witness, one that answered or not."""
        noted = select(TREE.c.id).where(TREE.c.has_witness != 0)
        signed = select(CHECKPOINT.c.size).limit(1)
        with _mapped(), self._database.reading() as connection:
            found = (connection.execute(query).first() for query in (noted, signed))
            return any(row is not None for row in found)

    def set_witness(self) -> None:
        """Note that it has one."""
        with _mapped(), self._database.writing() as connection:
            connection.execute(update(TREE).values(has_witness=1))

    def seals(self) -> tuple[Seal, ...]:
        """Return the seals of all segments, the first segment first."""
        with _mapped(), self._database.reading() as connection:
            rows = connection.execute(_SEAL).all()
        return tuple(map(_seal, rows))

    def last_removed(self) -> Seal | None:
        """Return the seal of the last segment that was removed; None if none was."""
        with _mapped(), self._database.reading() as connection:
            row = connection.execute(_LAST_REMOVED).first()
        return None if row is None else _seal(row)

    def add_seal(self, seal: Seal) -> bool:
        """Keep a seal that follows the last one; False if another was faster."""
        with _mapped(), self._database.writing() as connection:
            rows = connection.execute(_SEAL).all()
            end = (rows[-1].number, rows[-1].last) if rows else (0, 0)
            if (seal.number - 1, seal.first - 1) != end:
                return False
            connection.execute(
                insert(SEGMENT).values(
                    number=seal.number,
                    first=seal.first,
                    last=seal.last,
                    digest=seal.digest,
                    edge=seal.tree.to_bytes(),
                    sealed_at=seal.sealed_at,
                    note=seal.note,
                )
            )
        return True

    def set_archived(self, seal: Seal, by: int) -> None:
        """Note that record `by` says where the segment was archived."""
        with _mapped(), self._database.writing() as connection:
            connection.execute(
                update(SEGMENT)
                .where(SEGMENT.c.number == seal.number)
                .values(archived_by=by)
            )

    def clear(self, seals: Sequence[Seal], by: int) -> None:
        """Remove segments' entries, and note that record `by` says so.

        Raises:
            LedgerUnavailableError: `by` is not among what stays.
        """
        end = max(seal.last for seal in seals)
        with _mapped(), self._database.writing() as connection:
            said = select(ENTRY.c.sequence).where(ENTRY.c.sequence == by)
            if by <= end or connection.execute(said).first() is None:
                raise InvalidRequestError(
                    f"record {by} does not stay, and cannot say what was removed"
                )
            connection.execute(
                update(SEGMENT).where(SEGMENT.c.last <= end).values(cleared_by=by)
            )
        while self._remove_some(end):
            pass

    def _remove_some(self, end: int) -> bool:
        some = (
            select(ENTRY.c.sequence)
            .where(ENTRY.c.sequence <= end)
            .order_by(ENTRY.c.sequence)
            .limit(_REMOVED_AT_ONCE)
        )
        with _mapped(), self._database.writing() as connection:
            gone = connection.execute(delete(ENTRY).where(ENTRY.c.sequence.in_(some)))
        return gone.rowcount > 0


def _thin_out(connection: Connection, size: int) -> None:
    """Remove the last checkpoint but for what keeps those that stay apart."""
    query = (
        select(CHECKPOINT.c.size)
        .where(CHECKPOINT.c.size < size)
        .order_by(CHECKPOINT.c.size.desc())
        .limit(2)
    )
    sizes = [row.size for row in connection.execute(query)]
    if len(sizes) == 2 and sizes[0] - sizes[1] < SPACING:  # noqa: PLR2004 - both
        connection.execute(delete(CHECKPOINT).where(CHECKPOINT.c.size == sizes[0]))


def _kept(row: Any) -> KeptCheckpoint:
    _require_types("checkpoint", row, (int, str, bytes))
    return KeptCheckpoint(row[1], CompactRange.from_bytes(row[2]))


def _seal(row: Any) -> Seal:
    _require_types("seal", row, (int, int, int, bytes, bytes, int, str, int, int))
    number, first, last, digest, edge, *rest = row
    return Seal(number, first, last, digest, CompactRange.from_bytes(edge), *rest)


def _require_types(what: str, row: Any, types: tuple[type, ...]) -> None:
    """Refuse what SQLite lets whoever tampers put into any column."""
    for value, wanted in zip(row, types, strict=True):
        if type(value) is not wanted:
            raise InvalidProofError(
                f"a {what} has {type(value).__name__} where {wanted.__name__} belongs",
                advice="keep the store as evidence and look with `stead audit verify`",
            )


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (StoreUnavailableError, InvalidRequestError) as error:
        raise LedgerUnavailableError(str(error), advice=error.advice) from error
