"""Which entries of a stretch of the trail have a term, as bytes that can be added to.

The trail is cut into stretches of `CHUNK` numbers. Within one, an entry is a place of
two bytes. What comes later has a higher place, so a list grows by appending to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from stead.errors import IndexDamagedError

CHUNK: Final = 4096
"""Entries of one stretch. It is part of the index's format."""

_PLACE_BYTES: Final = 2


def chunk_of(sequence: int) -> int:
    """Return the stretch that a number lies in."""
    return sequence // CHUNK


def write_places(sequences: Iterable[int]) -> bytes:
    """Return the places of numbers of one stretch, which come in order."""
    places = [sequence % CHUNK for sequence in sequences]
    return struct.pack(f"<{len(places)}H", *places)


def read_numbers(chunk: int, postings: bytes) -> set[int]:
    """Return the numbers that `write_places` made these bytes of, one after another.

    Raises:
        IndexDamagedError: the bytes are no such list; the index is damaged.
    """
    count, rest = divmod(len(postings), _PLACE_BYTES)
    if rest or count > CHUNK:
        raise damaged(f"a list of {len(postings)} bytes")
    places = struct.unpack(f"<{count}H", postings)
    if places and max(places) >= CHUNK:
        raise damaged(f"place {max(places)}")
    first = chunk * CHUNK
    return {first + place for place in places}


def damaged(what: str) -> IndexDamagedError:
    """Return the error of an index that holds what was never written to it."""
    return IndexDamagedError(
        f"the trail's index is damaged: it holds {what}",
        advice="`stead audit reindex` makes it anew",
    )
