"""The tree's right edge, in one row, advanced in the same transaction as the entries.

So several processes keep one tree. A process of an older version appends without
advancing it; the next one that does catches up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from stead.errors import InvalidProofError, StoreUnavailableError
from stead.ledger.ports import Entry
from stead.ledger.tree import CompactRange, leaf_hash

_EDGE: Final = "SELECT CAST(edge AS BLOB) FROM tree"
_SET: Final = "UPDATE tree SET edge = ? WHERE id = 1"
_BODIES: Final = (
    "SELECT sequence, CAST(body AS BLOB) FROM entry "
    "WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
)

Execute = Callable[[str, tuple[Any, ...]], Any]
"""Executes SQL in the driver's own words and returns its cursor."""


def set_edge(driver: sqlite3.Cursor, edge: bytes) -> None:
    """Keep the edge behind what was just appended, in the transaction."""
    driver.execute(_SET, (edge,))


def edge_behind(driver: sqlite3.Cursor, last: Entry | None) -> bytes:
    """Return the tree's edge behind the last entry, as it is to be kept.

    Raises:
        StoreUnavailableError: the tree knows more than there is. Nothing may be added
            to such a trail.
    """
    edge = read_edge(driver.execute)
    end = 0 if last is None else last.sequence
    if edge.size > end:
        raise StoreUnavailableError(
            f"the trail's tree has {edge.size} records and the store {end}",
            advice="keep the store as evidence and look with `stead audit verify`",
        )
    if edge.size < end:
        edge = edge.extend(_missed(driver.execute, edge.size, end))
    return edge.to_bytes()


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
