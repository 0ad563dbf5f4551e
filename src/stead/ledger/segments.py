"""Segments: stretches of the trail that are sealed, archived, and at last removed.

A seal says where a segment ends, the digest of its last record, and the tree's right
edge there: all that verifying what follows needs. So the records of a segment can go,
and those behind it still verify; that they were removed on purpose is a record of its
own, which must stand in what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidRecordError, InvalidRequestError
from stead.ledger.canonical import read_record
from stead.ledger.tree import CompactRange
from stead.model.audit_record import AuditEvent, Outcome

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a segment ends, and what is known there.

    Attributes:
        number: of the segment, from 1 on.
        first: its first record.
        last: its last record.
        digest: the chain's digest of the last record.
        tree: the right edge of the tree there.
        sealed_at: nanoseconds since the epoch.
        note: the witness's signed checkpoint of just that size; empty without one.
        archived_by: the record that says where it was archived; 0 if it was not.
        cleared_by: the record that says that its entries were removed; 0 if not.
    """

    number: int
    first: int
    last: int
    digest: bytes
    tree: CompactRange
    sealed_at: int
    note: str = ""
    archived_by: int = 0
    cleared_by: int = 0

    def named(self) -> dict[str, str]:
        """Return what a record of archiving or clearing says of it."""
        return {
            "segment": str(self.number),
            "first": str(self.first),
            "last": str(self.last),
            "digest": self.digest.hex(),
            "root": self.tree.root().hex(),
        }


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """When a segment is sealed: by size or by age, whichever comes first.

    Attributes:
        records: how many records are enough.
        seconds: how long after the last seal (or the first record) any are.
    """

    records: int = 100_000
    seconds: float = 86_400.0

    def __post_init__(self) -> None:
        """Refuse what could not be meant; raises `InvalidRequestError`."""
        if self.records < 1 or self.seconds <= 0:
            raise InvalidRequestError("a segment has a record at least, and an age")

    def is_due(self, seals: tuple[Seal, ...], end: int, now: int, began: int) -> bool:
        """Tell whether the records up to `end` shall be sealed.

        Args:
            seals: those that are there.
            end: the record that would be the last.
            now: nanoseconds since the epoch.
            began: when the record after the last seal was made, the same way.
        """
        start = seals[-1].last if seals else 0
        if end <= start:
            return False
        since = seals[-1].sealed_at if seals else began
        # A clock that was set back must not keep a segment open for as long.
        is_old = abs(now - since) >= self.seconds * _NANOSECONDS
        return is_old or end - start >= self.records


@dataclass(frozen=True, slots=True)
class Before:
    """What came before a segment.

    Attributes:
        digest: the chain's digest there; the genesis's before the first record.
        tree: the tree's right edge there.
    """

    digest: bytes
    tree: CompactRange


def cleared_until(seals: tuple[Seal, ...]) -> Seal | None:
    """Return the seal of the last segment that was removed; None if none was."""
    return next((seal for seal in reversed(seals) if seal.cleared_by), None)


def tells_removal(body: bytes, seal: Seal) -> bool:
    """Tell whether a record says that the records up to this seal were removed.

    Args:
        body: the record that the seal names, in its canonical bytes.
        seal: of the last segment that was removed.
    """
    return _tells(AuditEvent.TRAIL_CLEARED, body, seal)


def tells_archive(body: bytes, seal: Seal) -> bool:
    """Tell whether a record says that this very segment was archived."""
    return _tells(AuditEvent.TRAIL_ARCHIVED, body, seal)


def _tells(event: AuditEvent, body: bytes, seal: Seal) -> bool:
    try:
        record = read_record(body)
    except InvalidRecordError:
        return False
    is_told = (record.event, record.outcome) == (event, Outcome.SUCCESS)
    return is_told and seal.named().items() <= record.detail.items()
