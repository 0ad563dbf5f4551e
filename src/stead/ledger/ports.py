"""What the ledger asks of whatever keeps its entries.

The ledger numbers, chains and batches; a `LedgerStore` only keeps, in order, and says
what came last. Everything a store is handed is opaque to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stead.ledger.segments import Seal
from stead.ledger.tree import CompactRange


class Entry(NamedTuple):
    """One numbered and chained record, as it is kept.

    A tuple, because they are made by the hundred thousand, and are a database's rows.

    Attributes:
        sequence: its number: 1, 2, 3 and so on without a gap.
        body: the record in its canonical bytes.
        digest: what ties it to everything before it.
    """

    sequence: int
    body: bytes
    digest: bytes


class LedgerStore(Protocol):
    """Where entries are kept. Every failure is a `LedgerUnavailableError`."""

    def append(self, build: Callable[[Entry | None], Sequence[Entry]]) -> None:
        """Keep what `build` makes of the last entry: all of it, or none.

        Between reading the last entry and keeping the new ones, nobody else appends,
        in this process or another. What was kept is durable when this returns.

        Args:
            build: given the last entry, or None in an empty store, returns the
                entries that follow it.

        Raises:
            LedgerUnavailableError: nothing was kept; whatever `build` raises is
                passed on, and then nothing was kept either.
        """

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered above `after`, in order, without loading all."""
        ...  # a body that is a docstring alone returns None to pyright

    def backwards(self, before: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered below `before`, the last first, as `entries`."""
        ...

    def picked(self, sequences: Sequence[int]) -> list[Entry]:
        """Return those entries of these numbers that there are, in order."""
        ...

    def last(self) -> Entry | None:
        """Return the entry with the highest number, or None."""


class Room(Protocol):
    """Room on the trail's disk that only administrators' records may take.

    While some of it was given away, nothing else is written: what is free then is
    meant for those who can make more room.
    """

    def is_whole(self) -> bool:
        """Tell whether all of it is there; asked before each batch, so cheap."""
        ...

    def refill(self) -> bool:
        """Take it again where the disk has enough; tell whether it is whole."""
        ...

    def release(self) -> bool:
        """Give some of it to the disk; tell whether there was some."""
        ...

    def close(self) -> None:
        """Let go of it; what it takes of the disk stays."""


class NoRoom:
    """The room of a trail that lies on no disk."""

    def is_whole(self) -> bool:
        """Nothing is kept, so nothing is missing."""
        return True

    def refill(self) -> bool:
        """As `is_whole`."""
        return True

    def release(self) -> bool:
        """Nothing is there to give."""
        return False

    def close(self) -> None:
        """Nothing is there to let go of."""


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """What a witness signed, as the store keeps it.

    Attributes:
        note: the signed note.
        tree: the right edge of the tree that it speaks of.
    """

    note: str
    tree: CompactRange


class EvidenceStore(Protocol):
    """What is known of the entries, kept beside them.

    Whoever can write the store can write all of this: it is believed as far as a
    witness's signature goes, or as what it is derived from says the same.

    Failures are `LedgerUnavailableError`s; what is no tree, an `InvalidProofError`.
    """

    def tree(self) -> CompactRange:
        """Return the right edge of the tree over all entries that were ever kept."""
        ...

    def checkpoints(self) -> Iterator[KeptCheckpoint]:
        """Yield what is kept of the witness's checkpoints, the smallest first."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Return the checkpoints' notes as they are kept, readable or not."""
        ...

    def last_checkpoint(self) -> KeptCheckpoint | None:
        """Return the checkpoint of the largest tree."""

    def keep_checkpoint(self, kept: KeptCheckpoint) -> None:
        """Keep a checkpoint; those between may be thinned out."""

    def has_witness(self) -> bool:
        """Tell whether this trail ever had a witness, one that answered or not."""
        ...

    def set_witness(self) -> None:
        """Note that it has one."""

    def seals(self) -> tuple[Seal, ...]:
        """Return the seals of all segments, the first segment first."""
        ...

    def last_removed(self) -> Seal | None:
        """Return the seal of the last segment that was removed; None if none was."""

    def add_seal(self, seal: Seal) -> bool:
        """Keep a seal that follows the last one; False if another was faster."""
        ...

    def set_archived(self, seal: Seal, by: int) -> None:
        """Note that record `by` says where the segment was archived."""

    def clear(self, seals: Sequence[Seal], by: int) -> None:
        """Remove segments' entries, and note that record `by` says so.

        What was noted stays so if this is interrupted; doing it again finishes it.
        """


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an index goes.

    Attributes:
        sequence: the last entry that it holds; 0 for none.
        digest: that entry's digest, by which an index of another trail is known.
    """

    sequence: int = 0
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class TermUse:
    """What an index keeps of one term.

    Attributes:
        kind: the term's kind, as a number.
        value: its value.
        first: the lowest number of an entry that has it.
        last: the highest.
        count: how many entries have it; by this, what to look at first is chosen.
    """

    kind: int
    value: bytes
    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Block:
    """Which entries of one stretch of the trail have a term.

    Attributes:
        term: the term's number.
        chunk: which stretch.
        postings: their places in it (`stead.ledger.postings`).
    """

    term: int
    chunk: int
    postings: bytes


class TrailIndex(Protocol):
    """Where an index of the trail is kept: derived, and never believed.

    Every failure is a `StoreUnavailableError`; what is damaged is made anew, empty.
    """

    def reached(self) -> Reached:
        """Return how far it goes."""
        ...

    def add(
        self,
        since: Reached,
        upto: Reached,
        uses: Sequence[TermUse],
        blocks: Sequence[Block],
    ) -> bool:
        """Take in what follows `since`, all of it or nothing.

        Returns:
            False if it goes elsewhere by now: somebody else was faster.
        """
        ...

    def clear(self) -> None:
        """Forget everything."""

    def uses(
        self, kind: int, low: bytes, high: bytes | None, limit: int
    ) -> list[TermUse]:
        """Return what is kept of the terms from `low` to below `high`, at most some."""
        ...

    def uses_of(self, kind: int, values: Sequence[bytes]) -> list[TermUse]:
        """Return what is kept of these terms, as far as there is anything."""
        ...

    def bounds(
        self, kind: int, low: bytes, high: bytes | None
    ) -> tuple[int, int] | None:
        """Return the first and last entry that has any of these terms, or None."""
        ...

    def chunks(
        self,
        terms: Sequence[int],
        first: int,
        last: int,
        *,
        limit: int,
        newest_first: bool = False,
    ) -> list[int]:
        """Return the next stretches from `first` to `last` that have any of these."""
        ...

    def blocks(self, terms: Sequence[int], chunks: Sequence[int]) -> list[Block]:
        """Return what these terms have in these stretches."""
        ...
