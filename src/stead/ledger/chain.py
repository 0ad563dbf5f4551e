"""The chain that ties every record to all before it.

The digest of a record is SHA-256 over a label, the record's number, the digest of the
record before it, and the record's own bytes. The first follows a digest of the store's
own SID, so that a trail cannot be passed off as another store's. Only the body varies
in length, and it comes last: different records are never hashed as the same bytes.

What the chain cannot show by itself: that the *end* of the trail was cut off, or that
somebody who may write the store made the whole of it anew. For that, an outside witness
is needed: keep the count and head that `verify` returns somewhere else (on paper, in
a mail, on another machine) and hand them to a later `verify`.

The twin in C (`_sealing.c`), where it can run, makes digests; what verifies them is
done here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Final, Self

from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger.ports import Entry
from stead.ledger.twins import SEALING

_RECORD_LABEL: Final = b"stead ledger record 1\0"
_GENESIS_LABEL: Final = b"stead ledger genesis 1\0"
_WITNESS: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was verified: the first `count` records, whose last digest is `head`.

    Attributes:
        count: how many records there are.
        head: the digest of the last one; of the genesis if there is none.
    """

    count: int
    head: bytes

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read what `str` printed.

        Raises:
            InvalidRequestError: the text is no count and head.
        """
        match = _WITNESS.fullmatch(text)
        if match is None:
            raise InvalidRequestError(f"`{text[:80]}` is not a witness of a trail")
        return cls(int(match[1]), bytes.fromhex(match[2]))

    def __str__(self) -> str:
        return f"{self.count}:{self.head.hex()}"


def seal(last: Entry | None, bodies: list[bytes], genesis: bytes) -> list[Entry]:
    """Number and chain `bodies` so that they follow `last`.

    Args:
        last: the last entry of the trail; None if it is empty.
        bodies: canonical records, in order.
        genesis: the bytes of the store's own SID.
    """
    sequence = 0 if last is None else last.sequence
    digest = _start(genesis) if last is None else last.digest
    digests = _digests(sequence, digest, bodies)
    return list(map(Entry, count(sequence + 1), bodies, digests))


def pure_digests(sequence: int, digest: bytes, bodies: list[bytes]) -> list[bytes]:
    """Return the digests of bodies that follow an entry, by Python alone.

    Args:
        sequence: the entry's number.
        digest: its digest.
        bodies: what follows it, in order.
    """
    found = []
    for number, body in enumerate(bodies, start=sequence + 1):
        digest = _digest(number, digest, body)
        found.append(digest)
    return found


_digests: Final[Callable[[int, bytes, list[bytes]], list[bytes]]] = getattr(
    SEALING, "digests", pure_digests
)


def verify(
    entries: Iterable[Entry],
    genesis: bytes,
    *,
    witness: Verification | None = None,
    start: Verification | None = None,
) -> Verification:
    """Check every link from the first record on.

    Args:
        entries: the whole trail, from record 1, or from the one after `start`.
        genesis: the bytes of the store's own SID.
        witness: what an earlier `verify` returned, kept outside the store; with it,
            a trail that was cut off or made anew is found as well.
        start: the end of what was removed on purpose, as its seal says.

    Returns:
        The count and head, to be kept as the next witness.

    Raises:
        LedgerCorruptError: names the first record that is changed, missing, doubled
            or out of order. If whoever changed record N also made a new digest for
            it, it is record N + 1 that no longer follows.
    """
    seen = beginning(genesis) if start is None else start
    _require_witness(seen, witness)
    for entry in entries:
        seen = follow(seen, entry)
        _require_witness(seen, witness)
    if witness is not None and seen.count < witness.count:
        raise LedgerCorruptError(
            f"record {seen.count + 1} is missing: a witness knows {witness.count}",
            sequence=seen.count + 1,
        )
    return seen


def beginning(genesis: bytes) -> Verification:
    """Return what an empty trail verifies as."""
    return Verification(0, _start(genesis))


def follow(seen: Verification, entry: Entry) -> Verification:
    """Return what the trail up to this entry verifies as.

    Raises:
        LedgerCorruptError: the entry does not follow.
    """
    expected = seen.count + 1
    if entry.sequence > expected:
        raise LedgerCorruptError(f"record {expected} is missing", sequence=expected)
    if entry.sequence < expected:
        raise LedgerCorruptError(
            f"record {entry.sequence} is doubled or out of order",
            sequence=entry.sequence,
        )
    if entry.digest != _digest(expected, seen.head, entry.body):
        raise LedgerCorruptError(
            f"record {expected} is changed, or does not follow the one before it",
            sequence=expected,
        )
    return Verification(expected, entry.digest)


def _require_witness(seen: Verification, witness: Verification | None) -> None:
    if witness is None or seen.count != witness.count or seen.head == witness.head:
        return
    raise LedgerCorruptError(
        f"record {seen.count} is not the one that the witness knows",
        sequence=seen.count,
    )


def _start(genesis: bytes) -> bytes:
    return sha256(_GENESIS_LABEL + genesis).digest()


def _digest(sequence: int, previous: bytes, body: bytes) -> bytes:
    return sha256(
        _RECORD_LABEL + sequence.to_bytes(8, "big") + previous + body
    ).digest()
