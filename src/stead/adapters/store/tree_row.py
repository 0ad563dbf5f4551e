"""The tree's right edge, in one row, advanced in the same transaction as the entries.

So several processes keep one tree. A process of an older version appends without
advancing it; the next one that does catches up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from stead.errors import InvalidProofError, StoreUnavailableError
from stead.ledger.ports import Entry
from stead.ledger.tree import CompactRange, leaf_hash

_EDGE: Final = "SELECT CAST(edge AS BLOB) FROM tree"
_SET: Final = "UPDATE tree SET edge = ?"
_BODIES: Final = (
    "SELECT sequence, CAST(body AS BLOB) FROM entry "
    "WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
)

Execute = Callable[[str, tuple[Any, ...]], Any]
"""Executes SQL in the driver's own words and returns its cursor."""


def advance_tree(
    execute: Execute,
    last: Entry | None,
    added: Sequence[Entry],
    edge: CompactRange | None = None,
) -> CompactRange:
    """Put entries into the tree that have just been appended, in the transaction.

    Args:
        execute: of the transaction's connection.
        last: the entry before them.
        added: the entries.
        edge: the tree's edge before them, where it is known; else it is read.

    Returns:
        the edge after them.

    Raises:
        StoreUnavailableError: the tree knows more than there is. Nothing may be added
            to such a trail.
    """
    if edge is None:
        edge = read_edge(execute)
    end = 0 if last is None else last.sequence
    if edge.size > end:
        raise StoreUnavailableError(
            f"the trail's tree has {edge.size} records and the store {end}",
            advice="keep the store as evidence and look with `stead audit verify`",
        )
    if edge.size < end:
        edge = edge.extend(_missed(execute, edge.size, end))
    edge = edge.extend([leaf_hash(entry.body) for entry in added])
    execute(_SET, (edge.to_bytes(),))
    return edge


def build_tree(execute: Execute) -> CompactRange:
    """Return the tree over all entries, for a store that has none yet."""
    row = execute("SELECT MAX(sequence) FROM entry", ()).fetchone()
    return CompactRange().extend(_missed(execute, 0, row[0] or 0))


def read_edge(execute: Execute) -> CompactRange:
    """Return the tree's right edge; raises `StoreUnavailableError`."""
    row = execute(_EDGE, ()).fetchone()
    try:
        return CompactRange.from_bytes(row[0] if row and row[0] else b"")
    except InvalidProofError as error:
        raise StoreUnavailableError(
            f"the trail's tree is damaged: {error}",
            advice="keep the store as evidence and look with `stead audit verify`",
        ) from error


def _missed(execute: Execute, start: int, end: int) -> Iterator[bytes]:
    number = start
    for sequence, body in execute(_BODIES, (start, end)):
        number += 1
        if sequence != number:
            break
        yield leaf_hash(body)
    if number != end:
        raise StoreUnavailableError(
            f"record {number} is missing, so the trail's tree cannot be gone on with",
            advice="keep the store as evidence and look with `stead audit verify`",
        )
