"""The trail without what was removed on purpose, whatever stands in its place.

Verifying begins behind the last segment that was removed, so nothing vouches for an
entry before that: it is left of a removal that was interrupted, or somebody who can
write the store has put it there. Neither is of the trail any more, and nobody who asks
the trail, or is sent it, is shown it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from stead.errors import InvalidProofError
from stead.ledger.ports import Entry, EvidenceStore, LedgerStore
from stead.ledger.segments import tells_removal


class Remaining:
    """A `LedgerStore` that shows what was not removed.

    A removal that no record tells hides nothing: `verify` says that it is none.
    """

    def __init__(self, store: LedgerStore, evidence: EvidenceStore) -> None:
        """Take the trail.

        Args:
            store: where entries are.
            evidence: says what was removed.
        """
        self._store = store
        self._evidence = evidence

    def append(self, build: Callable[[Entry | None], Sequence[Entry]]) -> None:
        """Keep what `build` makes of the last entry; see `LedgerStore.append`."""
        self._store.append(build)

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered above `after`, in order."""
        return self._store.entries(max(after, self._removed()), limit)

    def backwards(self, before: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered below `before`, the last first."""
        removed = self._removed()
        entries = self._store.backwards(before)
        return takewhile(lambda entry: entry.sequence > removed, entries)

    def picked(self, sequences: Sequence[int]) -> list[Entry]:
        """Return those entries of these numbers that there are, in order."""
        removed = self._removed()
        return self._store.picked([one for one in sequences if one > removed])

    def last(self) -> Entry | None:
        """Return the entry with the highest number, or None."""
        last = self._store.last()
        is_gone = last is not None and last.sequence <= self._removed()
        return None if is_gone else last

    def _removed(self) -> int:
        """Return the last record that was removed, and told to be; 0 if none was."""
        try:
            seal = self._evidence.last_removed()
        except InvalidProofError:
            return 0  # what is no seal, `verify` names
        if seal is None or seal.cleared_by <= seal.last:
            return 0
        told = self._store.picked((seal.cleared_by,))
        is_told = any(tells_removal(entry.body, seal) for entry in told)
        return seal.last if is_told else 0
